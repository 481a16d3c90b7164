//! Schema files: the event types that statements may name.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use flow_cep::event_type::EventType;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    event_type: Vec<Definition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    name: String,
    time: Option<String>,
    columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    of: ColumnType,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ColumnType {
    Boolean,
    Int8,
    Int16,
    Int,
    Long,
    Uint8,
    Uint16,
    Uint32,
    Double,
    String,
    Address,
    Timestamp,
}

impl ColumnType {
    fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Uint8 => DataType::UInt8,
            Self::Uint16 => DataType::UInt16,
            Self::Uint32 => DataType::UInt32,
            Self::Double => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Address => DataType::FixedSizeBinary(16),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }
}

/// Reads the event types of a schema file.
pub(crate) fn read(path: &Path) -> Result<Vec<EventType>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read schema file {}", path.display()))?;
    parse(&text).with_context(|| format!("in schema file {}", path.display()))
}

/// The event type of Millrace's flows.
pub(crate) fn flow() -> Result<Vec<EventType>> {
    parse(include_str!("../schemas/flow.toml"))
}

/// Reads the event types of a schema.
pub(crate) fn parse(text: &str) -> Result<Vec<EventType>> {
    let file: File = toml::from_str(text)?;
    ensure!(!file.event_type.is_empty(), "no event type is defined");
    let mut types: Vec<EventType> = Vec::new();
    for definition in file.event_type {
        ensure!(
            !types.iter().any(|known| known.name() == definition.name),
            "event type {} is defined twice",
            definition.name
        );
        let mut fields: Vec<Field> = Vec::new();
        for column in &definition.columns {
            ensure!(
                !fields.iter().any(|field| *field.name() == column.name),
                "event type {} has two columns {}",
                definition.name,
                column.name
            );
            fields.push(Field::new(&column.name, column.of.data_type(), true));
        }
        let schema = Arc::new(Schema::new(fields));
        types.push(EventType::new(definition.name, schema, definition.time.as_deref())?);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::{flow, parse};

    #[test]
    fn shipped_schemas_are_read() {
        let esper = parse(include_str!("../schemas/esper_flow.toml")).unwrap();
        assert_eq!(esper[0].name(), "Flow");
        assert_eq!(esper[0].schema().fields().len(), 19);
        assert_eq!(esper[0].time_column(), Some(0));
        let flow = flow().unwrap();
        assert_eq!(flow[0].column("src_addr"), Some(3));
    }

    #[test]
    fn faults_are_named() {
        let twice = "[[event_type]]\nname = 'F'\ncolumns = [{name='a',type='int'},{name='a',type='int'}]";
        assert_eq!(parse(twice).unwrap_err().to_string(), "event type F has two columns a");
        let clock = "[[event_type]]\nname = 'F'\ntime = 't'\ncolumns = [{name='a',type='int'}]";
        assert!(parse(clock).unwrap_err().to_string().contains("time column t"));
        assert!(parse("[[event_type]]\nname = 'F'\ncolumns = [{name='a',type='intt'}]").is_err());
    }
}
