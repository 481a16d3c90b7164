//! One Parquet file of flows, written to any sink.
//!
//! Files are written in the order of arrival and fast: a compaction makes them small later. What is chosen here was
//! measured (see `docs/STORAGE.md`): dictionaries only for text, LZ4 for the rest, statistics only for the times, by which
//! readers prune. Readers see 16-byte fixed arrays, signed 64-bit counters, UTC milliseconds, and nothing that needs our help.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::error::Error;
use crate::schema::{self, SCHEMA_VERSION, enriched_schema, stored_schema};

/// The key under which a file's metadata tells the version of its columns.
pub const VERSION_KEY: &str = "millrace.schema_version";

/// Rows of a row group: large enough for readers to work in long runs, small enough to be held in memory while it is filled.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Rows that the encoder takes at a time; large, since a page of a flow's narrow columns is.
const ENCODE_ROWS: usize = 8192;

/// Where the rows of a batch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number of the bundle.
    pub bundle: u64,
    /// Row in the bundle of the batch's first row.
    pub first_row: usize,
}

impl Place {
    /// The values of the columns that hold the place of so many rows.
    fn numbers(self, rows: usize) -> Result<(i64, Range<i32>), Error> {
        let bundle = i64::try_from(self.bundle).ok();
        let first = i32::try_from(self.first_row).ok();
        let end = self.first_row.checked_add(rows).and_then(|end| i32::try_from(end).ok());
        match (bundle, first, end) {
            (Some(bundle), Some(first), Some(end)) => Ok((bundle, first..end)),
            _ => Err(Error::Batch(format!(
                "bundle {}, row {} cannot be stored",
                self.bundle, self.first_row
            ))),
        }
    }
}

/// What a finished file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Flows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Lowest `time`.
    pub first_ms: i64,
    /// Highest `time`.
    pub last_ms: i64,
}

/// Writes enriched flows to one Parquet file.
#[derive(Debug)]
pub struct FlowWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    rows: u64,
    first_ms: i64,
    last_ms: i64,
}

impl<W: Write + Send> FlowWriter<W> {
    /// Starts a file.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails.
    pub fn new(sink: W) -> Result<Self, Error> {
        let writer = ArrowWriter::try_new(sink, stored_schema(), Some(properties()))?;
        Ok(Self {
            writer,
            rows: 0,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
        })
    }

    /// Whether a batch can be written: for callers who must know before they write a part of it.
    ///
    /// # Errors
    ///
    /// [`Error::Batch`] if the columns are not those of [`enriched_schema`] or the place does not fit the columns that
    /// hold it.
    pub fn check(batch: &RecordBatch, place: Place) -> Result<(), Error> {
        if batch.schema_ref().fields() != enriched_schema().fields() {
            return Err(Error::Batch("columns are not those of the enriched schema".to_owned()));
        }
        place.numbers(batch.num_rows()).map(|_| ())
    }

    /// Appends the rows of an enriched batch.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), and [`Error::Write`] if the sink fails; the file is then spoilt.
    pub fn write(&mut self, batch: &RecordBatch, place: Place) -> Result<(), Error> {
        Self::check(batch, place)?;
        let rows = batch.num_rows();
        let (bundle, numbers) = place.numbers(rows)?;
        let times = batch.column(0).as_primitive_opt::<TimestampMillisecondType>();
        let times = times.ok_or_else(|| Error::Batch(format!("no column {}", schema::TIME)))?;
        let (first_ms, last_ms) = times
            .values()
            .iter()
            .fold((self.first_ms, self.last_ms), |(first, last), &time| {
                (first.min(time), last.max(time))
            });

        let mut columns = batch.columns().to_vec();
        let bundles: ArrayRef = Arc::new(Int64Array::from(vec![bundle; rows]));
        let places: ArrayRef = Arc::new(Int32Array::from_iter_values(numbers));
        columns.extend([bundles, places]);
        let stored = RecordBatch::try_new(stored_schema(), columns).map_err(|error| Error::Batch(error.to_string()))?;
        self.writer.write(&stored)?;
        self.rows += rows as u64;
        (self.first_ms, self.last_ms) = (first_ms, last_ms);
        Ok(())
    }

    /// Flows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes so far: those that went to the sink and those that wait for their row group to be full.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Ends the file. What the sink is to be used for afterwards, the caller keeps a handle for.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails, [`Error::Batch`] if no row was written.
    pub fn finish(mut self) -> Result<Summary, Error> {
        if self.rows == 0 {
            return Err(Error::Batch("a file without rows".to_owned()));
        }
        self.writer.finish()?;
        let bytes = self.writer.bytes_written() as u64;
        Ok(Summary {
            rows: self.rows,
            bytes,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
        })
    }
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("millrace ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(
            VERSION_KEY.to_owned(),
            SCHEMA_VERSION.to_string(),
        )]))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_write_batch_size(ENCODE_ROWS)
        .set_data_page_row_count_limit(ROW_GROUP_ROWS)
        .set_compression(Compression::LZ4_RAW)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    for name in [schema::TIME, schema::FLOW_START, schema::FLOW_END] {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::Chunk);
    }
    for name in TEXT_COLUMNS {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    for name in [schema::TIME, schema::BUNDLE, schema::ROW] {
        properties = properties.set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// The columns of few distinct texts.
const TEXT_COLUMNS: [&str; 8] = [
    schema::PROBE,
    schema::AREA,
    schema::SRC_SUBNET,
    schema::SRC_ROUTER,
    schema::SRC_INTERFACE,
    schema::DST_SUBNET,
    schema::DST_ROUTER,
    schema::DST_INTERFACE,
];
