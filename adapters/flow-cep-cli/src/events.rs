//! Recorded events: CSV in the format of the cases, or Parquet, as batches and steps of the clock.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMillisecondBuilder, UInt8Builder, UInt16Builder, UInt32Builder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, TimeUnit};
use flow_cep::event_type::EventType;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

/// Rows that are gathered before they are handed on.
const BATCH_ROWS: usize = 8192;

/// One thing that a recording tells.
#[derive(Debug)]
pub(crate) enum Item {
    /// Rows of the event type, in the order of their time.
    Rows(RecordBatch),
    /// The clock goes on to this time.
    Clock(i64),
}

impl Item {
    /// The time of the first row, or that to which the clock goes.
    pub(crate) fn first_ms(&self, event_type: &EventType) -> Option<i64> {
        match self {
            Self::Clock(time_ms) => Some(*time_ms),
            Self::Rows(batch) => times(batch, event_type).and_then(|times| times.first().copied()),
        }
    }

    /// The time of the last row, or that to which the clock goes.
    pub(crate) fn last_ms(&self, event_type: &EventType) -> Option<i64> {
        match self {
            Self::Clock(time_ms) => Some(*time_ms),
            Self::Rows(batch) => times(batch, event_type).and_then(|times| times.last().copied()),
        }
    }
}

fn times<'b>(batch: &'b RecordBatch, event_type: &EventType) -> Option<&'b [i64]> {
    let column = batch.column(event_type.time_column()?);
    match column.data_type() {
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().values()),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Some(column.as_primitive::<TimestampMillisecondType>().values())
        }
        _ => None,
    }
}

/// Events of a CSV file: a header with some of the columns of the event type, then an event a line; `@MS` alone on a line
/// advances the clock, `#` begins a comment, an empty field is null.
pub(crate) struct CsvEvents<R> {
    lines: std::io::Lines<R>,
    line_number: usize,
    event_type: EventType,
    /// For each field of a line the column it belongs to.
    fields: Vec<usize>,
    pending_clock: Option<i64>,
    done: bool,
}

impl CsvEvents<BufReader<File>> {
    /// Opens a file.
    pub(crate) fn open(path: &Path, event_type: &EventType) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open events {}", path.display()))?;
        Self::new(BufReader::new(file), event_type)
    }
}

impl<R: BufRead> CsvEvents<R> {
    /// Reads the header.
    pub(crate) fn new(reader: R, event_type: &EventType) -> Result<Self> {
        let mut events = Self {
            lines: reader.lines(),
            line_number: 0,
            event_type: event_type.clone(),
            fields: Vec::new(),
            pending_clock: None,
            done: false,
        };
        let header = events
            .next_line()?
            .ok_or_else(|| anyhow!("the file is empty; its header is missing"))?;
        for name in header.split(',') {
            let name = name.trim();
            let column = event_type.column(name).ok_or_else(|| {
                anyhow!(
                    "line {}: event type {} has no column {name}",
                    events.line_number,
                    event_type.name()
                )
            })?;
            ensure!(
                !events.fields.contains(&column),
                "line {}: column {name} is named twice",
                events.line_number
            );
            events.fields.push(column);
        }
        let clock = event_type
            .time_column()
            .ok_or_else(|| anyhow!("event type {} has no time column", event_type.name()))?;
        ensure!(
            events.fields.contains(&clock),
            "line {}: the time column {} is not in the header",
            events.line_number,
            event_type.column_name(clock)
        );
        Ok(events)
    }

    /// The next line that is neither empty nor a comment.
    fn next_line(&mut self) -> Result<Option<String>> {
        for line in self.lines.by_ref() {
            self.line_number += 1;
            let line = line.with_context(|| format!("line {} cannot be read", self.line_number))?;
            let trimmed = line.trim();
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                return Ok(Some(trimmed.to_owned()));
            }
        }
        Ok(None)
    }

    fn read_item(&mut self) -> Result<Option<Item>> {
        if let Some(time_ms) = self.pending_clock.take() {
            return Ok(Some(Item::Clock(time_ms)));
        }
        let mut columns: Vec<ColumnBuilder> = Vec::with_capacity(self.fields.len());
        for &column in &self.fields {
            columns.push(ColumnBuilder::new(self.event_type.schema().field(column).data_type())?);
        }
        let mut rows = 0;
        while rows < BATCH_ROWS {
            let Some(line) = self.next_line()? else {
                self.done = true;
                break;
            };
            if let Some(clock) = line.strip_prefix('@') {
                let time_ms = clock
                    .trim()
                    .parse()
                    .map_err(|_| anyhow!("line {}: {line} is no time in milliseconds", self.line_number))?;
                if rows == 0 {
                    return Ok(Some(Item::Clock(time_ms)));
                }
                self.pending_clock = Some(time_ms);
                break;
            }
            let mut fields = Fields(Some(&line));
            for (at, builder) in columns.iter_mut().enumerate() {
                let field = fields.next().unwrap_or_default();
                builder.append(field).map_err(|wanted| {
                    let column = self.event_type.column_name(self.fields[at]);
                    anyhow!("line {}: column {column}: {field:?} is no {wanted}", self.line_number)
                })?;
            }
            ensure!(
                fields.0.is_none(),
                "line {}: more fields than the header names",
                self.line_number
            );
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let schema = self.event_type.schema();
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; schema.fields().len()];
        for (&column, builder) in self.fields.iter().zip(columns) {
            arrays[column] = Some(builder.finish(schema.field(column).data_type()));
        }
        let arrays = arrays
            .into_iter()
            .zip(schema.fields())
            .map(|(array, field)| array.unwrap_or_else(|| new_null_array(field.data_type(), rows)))
            .collect();
        Ok(Some(Item::Rows(RecordBatch::try_new(Arc::clone(schema), arrays)?)))
    }
}

impl<R: BufRead> Iterator for CsvEvents<R> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        if self.done && self.pending_clock.is_none() {
            return None;
        }
        let item = self.read_item();
        self.done |= item.is_err();
        item.transpose()
    }
}

/// The fields of a line; one in double quotes may hold commas.
struct Fields<'l>(Option<&'l str>);

impl<'l> Iterator for Fields<'l> {
    type Item = &'l str;

    fn next(&mut self) -> Option<&'l str> {
        let rest = self.0?;
        let quoted = rest.strip_prefix('"').and_then(|inner| inner.split_once('"'));
        if let Some((field, after)) = quoted {
            self.0 = after.strip_prefix(',');
            return Some(field);
        }
        let (field, after) = rest
            .split_once(',')
            .map_or((rest, None), |(field, after)| (field, Some(after)));
        self.0 = after;
        Some(field.trim())
    }
}

enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Address(FixedSizeBinaryBuilder),
    Time(TimestampMillisecondBuilder),
}

impl ColumnBuilder {
    fn new(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Self::Int8(Int8Builder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::UInt8 => Self::UInt8(UInt8Builder::new()),
            DataType::UInt16 => Self::UInt16(UInt16Builder::new()),
            DataType::UInt32 => Self::UInt32(UInt32Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Utf8 => Self::Text(StringBuilder::new()),
            DataType::FixedSizeBinary(16) => Self::Address(FixedSizeBinaryBuilder::new(16)),
            DataType::Timestamp(TimeUnit::Millisecond, _) => Self::Time(TimestampMillisecondBuilder::new()),
            other => bail!("columns of type {other} cannot be read from CSV"),
        })
    }

    /// Appends a field; an empty one is null. The error is what the column wants.
    fn append(&mut self, field: &str) -> Result<(), &'static str> {
        macro_rules! number {
            ($builder:expr, $wanted:expr) => {
                match field {
                    "" => $builder.append_null(),
                    _ => $builder.append_value(field.parse().map_err(|_| $wanted)?),
                }
            };
        }
        match self {
            Self::Boolean(builder) => number!(builder, "boolean"),
            Self::Int8(builder) => number!(builder, "integer of 8 bits"),
            Self::Int16(builder) => number!(builder, "integer of 16 bits"),
            Self::Int32(builder) => number!(builder, "integer of 32 bits"),
            Self::Int64(builder) => number!(builder, "integer of 64 bits"),
            Self::UInt8(builder) => number!(builder, "integer from 0 to 255"),
            Self::UInt16(builder) => number!(builder, "integer from 0 to 65535"),
            Self::UInt32(builder) => number!(builder, "integer from 0 to 4294967295"),
            Self::Double(builder) => number!(builder, "number"),
            Self::Time(builder) => number!(builder, "time in milliseconds"),
            Self::Text(builder) => match field {
                "" => builder.append_null(),
                _ => builder.append_value(field),
            },
            Self::Address(builder) => match field {
                "" => builder.append_null(),
                _ => {
                    let bytes = match field.parse().map_err(|_| "IP address")? {
                        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                        IpAddr::V6(v6) => v6.octets(),
                    };
                    builder.append_value(bytes).map_err(|_| "IP address")?;
                }
            },
        }
        Ok(())
    }

    fn finish(self, data_type: &DataType) -> ArrayRef {
        match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int8(mut builder) => Arc::new(builder.finish()),
            Self::Int16(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::UInt8(mut builder) => Arc::new(builder.finish()),
            Self::UInt16(mut builder) => Arc::new(builder.finish()),
            Self::UInt32(mut builder) => Arc::new(builder.finish()),
            Self::Double(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Address(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish().with_data_type(data_type.clone())),
        }
    }
}

/// The rows of a Parquet file; its schema is the event type.
pub(crate) struct ParquetEvents {
    reader: ParquetRecordBatchReader,
}

impl ParquetEvents {
    /// Opens a file; also yields its event type.
    pub(crate) fn open(path: &Path, name: &str, time_column: &str) -> Result<(Self, EventType)> {
        let file = File::open(path).with_context(|| format!("cannot open events {}", path.display()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .with_context(|| format!("{} is no Parquet file", path.display()))?
            .with_batch_size(BATCH_ROWS);
        let event_type = EventType::new(name, Arc::clone(builder.schema()), Some(time_column))?;
        let reader = builder.build()?;
        Ok((Self { reader }, event_type))
    }
}

impl Iterator for ParquetEvents {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        let batch = self.reader.next()?;
        Some(batch.map(Item::Rows).context("cannot read rows"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Int32Type;
    use arrow_array::{Array as _, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use flow_cep::event_type::EventType;

    use super::{CsvEvents, Item};

    fn event_type() -> EventType {
        let fields = vec![
            Field::new("ts", DataType::Int64, true),
            Field::new("ip", DataType::FixedSizeBinary(16), true),
            Field::new("port", DataType::Int32, true),
        ];
        EventType::new("Flow", Arc::new(Schema::new(fields)), Some("ts")).unwrap()
    }

    fn read(text: &str) -> Result<Vec<Item>, String> {
        let events = CsvEvents::new(text.as_bytes(), &event_type()).map_err(|error| error.to_string())?;
        events.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    fn rows(item: &Item) -> &RecordBatch {
        match item {
            Item::Rows(batch) => batch,
            Item::Clock(time_ms) => panic!("a step of the clock to {time_ms}"),
        }
    }

    #[test]
    fn clock_lines_divide_the_rows() {
        let items = read("# comment\nport,ts\n@5\n1,10\n,11\n\n@20\n3,30\n").unwrap();
        assert_eq!(items.len(), 4);
        assert!(matches!(items[0], Item::Clock(5)));
        let ports = rows(&items[1]).column(2).as_primitive::<Int32Type>();
        assert_eq!((ports.value(0), ports.is_null(1)), (1, true));
        assert_eq!(rows(&items[1]).column(1).null_count(), 2);
        assert!(matches!(items[2], Item::Clock(20)));
        assert_eq!(items[3].last_ms(&event_type()), Some(30));
    }

    #[test]
    fn addresses_of_both_families_fill_sixteen_bytes() {
        let items = read("ts,ip\n1,10.0.0.1\n2,2001:db8::1\n").unwrap();
        let addresses = rows(&items[0]).column(1).as_fixed_size_binary();
        assert_eq!(addresses.value(0)[10..], [0xff, 0xff, 10, 0, 0, 1]);
        assert_eq!(addresses.value(1)[..4], [0x20, 0x01, 0x0d, 0xb8]);
    }

    #[test]
    fn faults_name_line_and_column() {
        assert_eq!(
            read("ts,prt\n").unwrap_err(),
            "line 1: event type Flow has no column prt"
        );
        assert_eq!(
            read("port\n1\n").unwrap_err(),
            "line 1: the time column ts is not in the header"
        );
        assert_eq!(
            read("ts,port\n1,2\n2,x\n").unwrap_err(),
            "line 3: column port: \"x\" is no integer of 32 bits"
        );
        assert_eq!(
            read("ts\n1,2\n").unwrap_err(),
            "line 2: more fields than the header names"
        );
    }
}
