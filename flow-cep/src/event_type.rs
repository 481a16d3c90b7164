//! Event types: the named schemas that statements read and write.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Schema, SchemaRef};

use crate::value::Type;

/// A named Arrow schema of which one column may be the stream's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType {
    name: String,
    schema: SchemaRef,
    types: Vec<Type>,
    time_column: Option<usize>,
}

/// Why a schema cannot be an event type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventTypeError {
    /// A column has an Arrow type that no type of the language stands for.
    #[error("event type {event_type}: column {column} has type {data_type}, which has no counterpart in statements")]
    UnsupportedColumn {
        /// The event type.
        event_type: String,
        /// The column.
        column: String,
        /// Its Arrow type.
        data_type: DataType,
    },
    /// The time column is not in the schema or holds no whole numbers.
    #[error("event type {event_type}: time column {column} is no column of milliseconds (timestamp or long)")]
    BadTimeColumn {
        /// The event type.
        event_type: String,
        /// The column named.
        column: String,
    },
}

/// The type of the language that an Arrow type is read as.
///
/// Narrow integers are `int`; unsigned 32 bits, 64 bits and timestamps (milliseconds) are `long`; sixteen fixed bytes are an
/// address. Unsigned 64 bits are read as `long` and wrap above 2^63 as Java's do.
#[must_use]
pub fn type_of(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Null => Type::Null,
        DataType::Boolean => Type::Bool,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Type::Int,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Type::Long,
        DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, _) => Type::Long,
        DataType::Float32 | DataType::Float64 => Type::Double,
        DataType::Utf8 => Type::Text,
        DataType::FixedSizeBinary(16) => Type::Address,
        DataType::Dictionary(key, value) if key.is_dictionary_key_type() => match value.as_ref() {
            DataType::Utf8 => Type::Text,
            DataType::FixedSizeBinary(16) => Type::Address,
            _ => return None,
        },
        DataType::List(field) => Type::List(Box::new(type_of(field.data_type())?)),
        DataType::Struct(fields) => {
            let columns = fields
                .iter()
                .map(|field| Some((field.name().clone(), type_of(field.data_type())?)));
            Type::Row(columns.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// The Arrow type in which a statement's result column of a type is delivered.
#[must_use]
pub fn arrow_type(value_type: &Type) -> DataType {
    match value_type {
        Type::Null => DataType::Null,
        Type::Bool => DataType::Boolean,
        Type::Int => DataType::Int32,
        Type::Long => DataType::Int64,
        Type::Double => DataType::Float64,
        Type::Text => DataType::Utf8,
        Type::Address => DataType::FixedSizeBinary(16),
        Type::Row(columns) => {
            let field = |(name, of): &(String, Type)| arrow_schema::Field::new(name, arrow_type(of), true);
            DataType::Struct(columns.iter().map(field).collect())
        }
        Type::List(of) => DataType::List(Arc::new(arrow_schema::Field::new_list_field(arrow_type(of), true))),
    }
}

impl EventType {
    /// Makes an event type; `time_column` names the column that holds the stream's time in milliseconds, if the type comes
    /// from outside (what statements insert needs none).
    ///
    /// # Errors
    /// When a column's Arrow type is not supported, or the time column is missing or of another type.
    pub fn new(name: impl Into<String>, schema: SchemaRef, time_column: Option<&str>) -> Result<Self, EventTypeError> {
        let name = name.into();
        let mut types = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let Some(found) = type_of(field.data_type()) else {
                return Err(EventTypeError::UnsupportedColumn {
                    event_type: name,
                    column: field.name().clone(),
                    data_type: field.data_type().clone(),
                });
            };
            types.push(found);
        }
        let time_column = match time_column {
            None => None,
            Some(column) => match schema.index_of(column) {
                Ok(index) if types[index] == Type::Long => Some(index),
                _ => {
                    return Err(EventTypeError::BadTimeColumn {
                        event_type: name,
                        column: column.to_owned(),
                    });
                }
            },
        };
        Ok(Self {
            name,
            schema,
            types,
            time_column,
        })
    }

    /// The name by which statements know it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Arrow schema.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The type of each column in the language.
    #[must_use]
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// The column that holds the stream's time.
    #[must_use]
    pub const fn time_column(&self) -> Option<usize> {
        self.time_column
    }

    /// The index of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.schema.fields().iter().position(|field| field.name() == name)
    }

    /// The name of a column.
    ///
    /// # Panics
    /// When there is no such column.
    #[must_use]
    pub fn column_name(&self, index: usize) -> &str {
        self.schema.field(index).name()
    }

    /// The columns as the type of a whole row.
    #[must_use]
    pub fn row_type(&self) -> Type {
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        Type::Row(names.zip(self.types.iter().cloned()).collect())
    }

    /// An event type from names and types of the language, as `insert into` and `create window` make them.
    #[must_use]
    pub fn from_columns(name: impl Into<String>, columns: &[(String, Type)]) -> Self {
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, of)| arrow_schema::Field::new(name, arrow_type(of), true))
            .collect();
        Self {
            name: name.into(),
            schema: Arc::new(Schema::new(fields)),
            types: columns.iter().map(|(_, of)| of.clone()).collect(),
            time_column: None,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (at, (field, of)) in self.schema.fields().iter().zip(&self.types).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {of}", field.name())?;
        }
        f.write_str(")")
    }
}
