//! From record batches to values.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray};
use arrow_schema::{DataType, TimeUnit};

use crate::value::Value;

/// How many texts of a column are kept to be shared between rows.
const TEXT_CACHE: usize = 1 << 16;

/// Texts seen lately, so that equal ones share their memory.
#[derive(Debug, Default)]
pub(crate) struct Texts(std::collections::HashSet<Arc<str>, foldhash::fast::RandomState>);

impl Texts {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= TEXT_CACHE {
            self.0.clear();
        }
        let text: Arc<str> = Arc::from(text);
        self.0.insert(text.clone());
        text
    }
}

/// A column of a batch, ready to be read by row.
#[derive(Debug)]
pub(crate) enum Column<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Time(&'a PrimitiveArray<TimestampMillisecondType>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Text(&'a StringArray),
    Address(&'a FixedSizeBinaryArray),
    /// The keys of a dictionary, none for null, and its values.
    Dictionary(Vec<Option<usize>>, Vec<Value>),
    /// Values made beforehand.
    Values(Vec<Value>),
}

impl<'a> Column<'a> {
    /// Takes a column of a batch; types that no event type may have read as null.
    pub(crate) fn new(array: &'a ArrayRef, texts: &mut Texts) -> Self {
        match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int8 => Self::Int8(array.as_primitive()),
            DataType::Int16 => Self::Int16(array.as_primitive()),
            DataType::Int32 => Self::Int32(array.as_primitive()),
            DataType::UInt8 => Self::UInt8(array.as_primitive()),
            DataType::UInt16 => Self::UInt16(array.as_primitive()),
            DataType::UInt32 => Self::UInt32(array.as_primitive()),
            DataType::Int64 => Self::Int64(array.as_primitive()),
            DataType::UInt64 => Self::UInt64(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => Self::Time(array.as_primitive()),
            DataType::Float32 => Self::Float32(array.as_primitive()),
            DataType::Float64 => Self::Float64(array.as_primitive()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::FixedSizeBinary(16) => Self::Address(array.as_fixed_size_binary()),
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                let values = Column::new(dictionary.values(), texts);
                let values = (0..dictionary.values().len())
                    .map(|row| values.value(row, texts))
                    .collect();
                let keys = if dictionary.values().is_empty() {
                    vec![None; array.len()]
                } else {
                    let normal = dictionary.normalized_keys();
                    normal
                        .into_iter()
                        .enumerate()
                        .map(|(row, key)| (!dictionary.keys().is_null(row)).then_some(key))
                        .collect()
                };
                Self::Dictionary(keys, values)
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let values = (0..lists.len())
                    .map(|row| {
                        if lists.is_null(row) {
                            return Value::Null;
                        }
                        let items = lists.value(row);
                        let column = Column::new(&items, texts);
                        Value::List((0..items.len()).map(|item| column.value(item, texts)).collect())
                    })
                    .collect();
                Self::Values(values)
            }
            DataType::Struct(_) => {
                let rows = array.as_struct();
                let columns: Vec<Column<'_>> = rows.columns().iter().map(|column| Column::new(column, texts)).collect();
                let values = (0..rows.len())
                    .map(|row| {
                        if rows.is_null(row) {
                            return Value::Null;
                        }
                        Value::Row(columns.iter().map(|column| column.value(row, texts)).collect())
                    })
                    .collect();
                Self::Values(values)
            }
            _ => Self::Null,
        }
    }

    /// The value of a row.
    pub(crate) fn value(&self, row: usize, texts: &mut Texts) -> Value {
        macro_rules! of {
            ($array:expr, $make:expr) => {
                if $array.is_null(row) {
                    Value::Null
                } else {
                    $make($array.value(row))
                }
            };
        }
        match self {
            Self::Null => Value::Null,
            Self::Bool(array) => of!(array, Value::Bool),
            Self::Int8(array) => of!(array, |value| Value::Int(i32::from(value))),
            Self::Int16(array) => of!(array, |value| Value::Int(i32::from(value))),
            Self::Int32(array) => of!(array, Value::Int),
            Self::UInt8(array) => of!(array, |value| Value::Int(i32::from(value))),
            Self::UInt16(array) => of!(array, |value| Value::Int(i32::from(value))),
            Self::UInt32(array) => of!(array, |value| Value::Long(i64::from(value))),
            Self::Int64(array) => of!(array, Value::Long),
            Self::UInt64(array) => of!(array, |value: u64| Value::Long(value.cast_signed())),
            Self::Time(array) => of!(array, Value::Long),
            Self::Float32(array) => of!(array, |value| Value::Double(f64::from(value))),
            Self::Float64(array) => of!(array, Value::Double),
            Self::Text(array) => of!(array, |value| Value::Text(texts.share(value))),
            Self::Address(array) => {
                if array.is_null(row) {
                    Value::Null
                } else {
                    array.value(row).try_into().map_or(Value::Null, Value::Address)
                }
            }
            Self::Dictionary(keys, values) => keys
                .get(row)
                .copied()
                .flatten()
                .and_then(|key| values.get(key))
                .cloned()
                .unwrap_or_default(),
            Self::Values(values) => values.get(row).cloned().unwrap_or_default(),
        }
    }
}
