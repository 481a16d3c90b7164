//! Arrays in the types in which they are delivered.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int32Array};
use arrow_schema::DataType;
use arrow_select::take::take;

use crate::event_type::type_of;
use crate::expr::column::{array_of, value_at};
use crate::value::{Type, Value};

/// An array in the Arrow type of a statement's column: the language may call a narrower type the result, and events may hold
/// theirs in other forms. None if the language cannot read the one as the other.
pub(crate) fn delivered(array: ArrayRef, to: &DataType) -> Option<ArrayRef> {
    if array.data_type() == to {
        return Some(array);
    }
    match (array.data_type(), to) {
        (DataType::Int64, DataType::Int32) => {
            let narrow: Int32Array = array
                .as_primitive::<Int64Type>()
                .unary_opt(|value| i32::try_from(value).ok());
            Some(Arc::new(narrow))
        }
        (DataType::Dictionary(..), _) => {
            let dictionary = array.as_any_dictionary();
            delivered(take(dictionary.values().as_ref(), dictionary.keys(), None).ok()?, to)
        }
        _ => {
            let of = type_of(to)?;
            let widen = |value: Value| match (&of, value) {
                (Type::Long, Value::Int(value)) => Value::Long(value.into()),
                (_, value) => value,
            };
            let values: Vec<Value> = (0..array.len()).map(|row| widen(value_at(&array, row))).collect();
            let made = array_of(&values, &of);
            (made.data_type() == to && made.null_count() == array.logical_null_count()).then_some(made)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::UInt8Type;
    use arrow_array::{DictionaryArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray, UInt16Array};

    #[test]
    fn what_events_hold_is_delivered_in_the_types_of_the_language() {
        let ports: ArrayRef = Arc::new(UInt16Array::from(vec![Some(80), None]));
        let wanted: ArrayRef = Arc::new(Int32Array::from(vec![Some(80), None]));
        assert_eq!(delivered(Arc::clone(&ports), &DataType::Int32), Some(wanted));
        let wanted: ArrayRef = Arc::new(Int64Array::from(vec![Some(80), None]));
        assert_eq!(delivered(Arc::clone(&ports), &DataType::Int64), Some(wanted));
        let wanted: ArrayRef = Arc::new(Float64Array::from(vec![Some(80.0), None]));
        assert_eq!(delivered(Arc::clone(&ports), &DataType::Float64), Some(wanted));
        assert_eq!(delivered(ports, &DataType::Utf8), None);

        let names: ArrayRef = Arc::new(
            [Some("a"), None, Some("a")]
                .into_iter()
                .collect::<DictionaryArray<UInt8Type>>(),
        );
        let wanted: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
        assert_eq!(delivered(names, &DataType::Utf8), Some(wanted));

        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![7]).with_timezone("UTC"));
        let wanted: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_eq!(delivered(times, &DataType::Int64), Some(wanted));

        let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None]));
        let wanted: ArrayRef = Arc::new(Int32Array::from(vec![Some(5), None]));
        assert_eq!(delivered(counts, &DataType::Int32), Some(wanted));
    }
}
