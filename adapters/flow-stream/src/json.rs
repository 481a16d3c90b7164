//! Rows as JSON objects, as they stand in the event files and go to the page.

use std::net::{IpAddr, Ipv6Addr};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value};

/// Columns as numbers, text and truth values; addresses as text, times in ms since 1970; what JSON has no number for
/// (NaN, infinities) as text.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        for (index, row) in rows.iter_mut().enumerate() {
            row.insert(field.name().clone(), value(column, index));
        }
    }
    rows
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).into(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().value(row).into()
        }
        DataType::FixedSizeBinary(16) => match column.as_fixed_size_binary().value(row).try_into() {
            Ok(octets) => address(octets).to_string().into(),
            Err(_) => Value::Null,
        },
        DataType::Dictionary(..) => {
            // Keys come in eight types, and only as a whole: so of this row alone.
            let row = column.slice(row, 1);
            let dictionary = row.as_any_dictionary();
            value(dictionary.values(), dictionary.normalized_keys()[0])
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>().value(row);
            (0..list.len()).map(|index| value(&list, index)).collect()
        }
        other => Value::String(format!("<{other}>")),
    }
}

fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

/// An address in its own form: `::ffff:a.b.c.d` is IPv4.
fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{FixedSizeBinaryArray, Float64Array, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn rows_keep_the_order_of_columns_and_say_null() {
        let addresses = [
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1],
            [32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ];
        let batch = RecordBatch::try_from_iter_with_nullable([
            (
                "host",
                Arc::new(FixedSizeBinaryArray::try_from_iter(addresses.iter()).unwrap()) as ArrayRef,
                false,
            ),
            (
                "total",
                Arc::new(Int64Array::from(vec![Some(5), None])) as ArrayRef,
                true,
            ),
            (
                "rate",
                Arc::new(Float64Array::from(vec![1.5, f64::INFINITY])) as ArrayRef,
                false,
            ),
            ("name", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef, false),
        ])
        .unwrap();
        let text: Vec<_> = rows(&batch)
            .iter()
            .map(|row| serde_json::to_string(row).unwrap())
            .collect();
        assert_eq!(text[0], r#"{"host":"192.0.2.1","total":5,"rate":1.5,"name":"a"}"#);
        assert_eq!(
            text[1],
            r#"{"host":"2001:db8::1","total":null,"rate":"inf","name":"b"}"#
        );
    }
}
