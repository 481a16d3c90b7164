//! From values to record batches.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, NullArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Schema};

use crate::event_type::{EventType, arrow_type};
use crate::value::{Type, Value};

/// The rows as a batch with the names and types of the columns.
pub(crate) fn batch(rows: &[Arc<[Value]>], of: &EventType) -> RecordBatch {
    let fields: Vec<_> = of
        .schema()
        .fields()
        .iter()
        .zip(of.types())
        .map(|(field, value_type)| arrow_schema::Field::new(field.name(), arrow_type(value_type), true))
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
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).unwrap_or_else(|_| RecordBatch::new_empty(schema))
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
        Type::List(item) => list(values, item),
    }
}

fn list(values: &[&Value], item: &Type) -> ArrayRef {
    macro_rules! lists {
        ($builder:expr, $append:expr) => {{
            let mut builder = ListBuilder::new($builder);
            for value in values {
                match value {
                    Value::List(items) => {
                        for item in items.iter() {
                            $append(builder.values(), item);
                        }
                        builder.append(true);
                    }
                    _ => builder.append(false),
                }
            }
            Arc::new(builder.finish())
        }};
    }
    match item {
        Type::Bool => lists!(BooleanBuilder::new(), |b: &mut BooleanBuilder, v: &Value| b.append_option(v.as_bool())),
        Type::Int => lists!(Int32Builder::new(), |b: &mut Int32Builder, v: &Value| b
            .append_option(v.as_long().and_then(|v| i32::try_from(v).ok()))),
        Type::Long => lists!(Int64Builder::new(), |b: &mut Int64Builder, v: &Value| b.append_option(v.as_long())),
        Type::Double => lists!(Float64Builder::new(), |b: &mut Float64Builder, v: &Value| b.append_option(v.as_double())),
        Type::Text => lists!(StringBuilder::new(), |b: &mut StringBuilder, v: &Value| b.append_option(v.as_text())),
        Type::Address => lists!(FixedSizeBinaryBuilder::new(16), |b: &mut FixedSizeBinaryBuilder, v: &Value| {
            let appended = match v {
                Value::Address(octets) => b.append_value(octets).is_ok(),
                _ => false,
            };
            if !appended {
                b.append_null();
            }
        }),
        Type::Null | Type::List(_) => {
            arrow_array::new_null_array(&arrow_type(&Type::List(Box::new(item.clone()))), values.len())
        }
    }
}
