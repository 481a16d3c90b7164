//! Between arrays and single values.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, new_null_array};
use arrow_schema::DataType;

use super::dictionary::with_dictionary;
use crate::event_type::arrow_type;
use crate::expr::Scope;
use crate::value::{Type, Value};

/// A row of a batch as a scope.
#[derive(Debug)]
pub struct BatchRow<'b> {
    /// The batch.
    pub batch: &'b RecordBatch,
    /// Which row.
    pub row: usize,
    /// The engine's time.
    pub now_ms: i64,
}

impl Scope for BatchRow<'_> {
    fn column(&self, _stream: usize, column: usize) -> Value {
        value_at(self.batch.column(column), self.row)
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }
}

/// The value of one place of an array; null beyond what the language has types for.
#[must_use]
pub fn value_at(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row)),
        DataType::UInt8 => Value::Int(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Value::Int(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Value::Long(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::Int64 => Value::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => Value::Long(array.as_primitive::<UInt64Type>().value(row).cast_signed()),
        DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, _) => {
            Value::Long(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Float32 => Value::Double(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => array
            .as_fixed_size_binary()
            .value(row)
            .try_into()
            .map_or(Value::Null, Value::Address),
        DataType::Dictionary(..) => {
            with_dictionary!(array, dictionary => {
                dictionary.key(row).map_or(Value::Null, |place| value_at(dictionary.values(), place))
            })
        }
        _ => Value::Null,
    }
}

/// Values as an array of the Arrow type of a type.
#[must_use]
pub fn array_of(values: &[Value], of: &Type) -> ArrayRef {
    match of {
        Type::Bool => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        Type::Int => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Int(value) => Some(*value),
                    _ => None,
                })
                .collect::<Int32Array>(),
        ),
        Type::Long => Arc::new(values.iter().map(Value::as_long).collect::<Int64Array>()),
        Type::Double => Arc::new(values.iter().map(Value::as_double).collect::<Float64Array>()),
        Type::Text => {
            let mut builder = StringBuilder::new();
            values.iter().for_each(|value| builder.append_option(value.as_text()));
            Arc::new(builder.finish())
        }
        Type::Address => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), 16);
            for value in values {
                match value {
                    // Sixteen bytes are what the builder was made for.
                    Value::Address(address) if builder.append_value(address).is_ok() => {}
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        Type::Null | Type::List(_) | Type::Row(_) => new_null_array(&arrow_type(of), values.len()),
    }
}
