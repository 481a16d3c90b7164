//! From values to record batches.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, ListArray, NullArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema};

use crate::event_type::{EventType, arrow_type};
use crate::value::{Type, Value};

/// The rows as a batch with the names and types of the columns.
pub(crate) fn batch(rows: &[Arc<[Value]>], of: &EventType) -> RecordBatch {
    let fields: Vec<_> = of
        .schema()
        .fields()
        .iter()
        .zip(of.types())
        .map(|(field, value_type)| Field::new(field.name(), arrow_type(value_type), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let null = Value::Null;
    let columns: Vec<ArrayRef> = of
        .types()
        .iter()
        .enumerate()
        .map(|(column, value_type)| {
            let values: Vec<&Value> = rows.iter().map(|row| row.get(column).unwrap_or(&null)).collect();
            array(&values, value_type)
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .unwrap_or_else(|_| RecordBatch::new_empty(schema))
}

fn array(values: &[&Value], of: &Type) -> ArrayRef {
    match of {
        Type::Null => Arc::new(NullArray::new(values.len())),
        Type::Bool => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(value.as_bool()));
            Arc::new(builder.finish())
        }
        Type::Int => {
            let mut builder = Int32Builder::with_capacity(values.len());
            for value in values {
                builder.append_option(value.as_long().and_then(|value| i32::try_from(value).ok()));
            }
            Arc::new(builder.finish())
        }
        Type::Long => {
            let mut builder = Int64Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(value.as_long()));
            Arc::new(builder.finish())
        }
        Type::Double => {
            let mut builder = Float64Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(value.as_double()));
            Arc::new(builder.finish())
        }
        Type::Text => {
            let mut builder = StringBuilder::new();
            values.iter().for_each(|value| builder.append_option(value.as_text()));
            Arc::new(builder.finish())
        }
        Type::Address => {
            let octets = values.iter().map(|value| match value {
                Value::Address(octets) => Some(octets.as_slice()),
                _ => None,
            });
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(octets, 16).map_or_else(
                |_| arrow_array::new_null_array(&DataType::FixedSizeBinary(16), values.len()),
                |array| Arc::new(array) as ArrayRef,
            )
        }
        Type::List(item) => {
            let lengths = values.iter().map(|value| match value {
                Value::List(items) => items.len(),
                _ => 0,
            });
            let offsets = OffsetBuffer::from_lengths(lengths);
            let present = NullBuffer::from_iter(values.iter().map(|value| matches!(value, Value::List(_))));
            let items: Vec<&Value> = values
                .iter()
                .flat_map(|value| match value {
                    Value::List(items) => &items[..],
                    _ => &[],
                })
                .collect();
            let field = Arc::new(Field::new_list_field(arrow_type(item), true));
            Arc::new(ListArray::new(field, offsets, array(&items, item), Some(present)))
        }
        Type::Row(columns) => {
            let null = Value::Null;
            let present = NullBuffer::from_iter(values.iter().map(|value| matches!(value, Value::Row(_))));
            let arrays: Vec<ArrayRef> = columns
                .iter()
                .enumerate()
                .map(|(at, (_, of))| {
                    let values: Vec<&Value> = values
                        .iter()
                        .map(|value| match value {
                            Value::Row(columns) => columns.get(at).unwrap_or(&null),
                            _ => &null,
                        })
                        .collect();
                    array(&values, of)
                })
                .collect();
            let fields = columns
                .iter()
                .map(|(name, of)| Field::new(name, arrow_type(of), true))
                .collect();
            if arrays.is_empty() {
                Arc::new(StructArray::new_empty_fields(values.len(), Some(present)))
            } else {
                Arc::new(StructArray::new(fields, arrays, Some(present)))
            }
        }
    }
}
