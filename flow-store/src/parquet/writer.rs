//! One Parquet file of flows, written to any sink.
//!
//! Files are written in the order of arrival and fast: a compaction makes them small later. Each column has the encoding that
//! suits what it holds (see `docs/STORAGE.md`). Readers see 16-byte fixed arrays, signed 64-bit counters, UTC
//! milliseconds, and no encoding that DuckDB, pyarrow and Spark do not know.

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::chunk::{ChunkEncoder, Coding};
use crate::error::Error;
use crate::schema::{self, SCHEMA_VERSION, enriched_schema, stored_schema};

/// The key under which a file's metadata tells the version of its columns.
pub const VERSION_KEY: &str = "millrace.schema_version";

/// Rows of a row group: large enough for readers to work in long runs, small enough to be held in memory while it is filled.
const ROW_GROUP_ROWS: usize = 1 << 20;

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
///
/// A row group is gathered in memory, encoded; the sink sees it when it is full or the file ends.
pub struct FlowWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<ChunkEncoder>,
    /// Rows in the row group at hand.
    group_rows: usize,
    rows: u64,
    first_ms: i64,
    last_ms: i64,
}

impl<W: Write + Send> fmt::Debug for FlowWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowWriter")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send> FlowWriter<W> {
    /// Starts a file.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails.
    pub fn new(sink: W) -> Result<Self, Error> {
        let schema = stored_schema();
        let descr = ArrowSchemaConverter::new().convert(&schema)?;
        let columns = descr
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(descr, field)| ChunkEncoder::new(Arc::clone(descr), field.data_type(), coding(field)))
            .collect::<Result<_, _>>()?;
        let file = SerializedFileWriter::new(sink, descr.root_schema_ptr(), Arc::new(properties()))?;
        Ok(Self {
            file,
            columns,
            group_rows: 0,
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

        let bundles: ArrayRef = Arc::new(Int64Array::from(vec![bundle; rows]));
        let places: ArrayRef = Arc::new(Int32Array::from_iter_values(numbers));
        for (encoder, column) in self
            .columns
            .iter_mut()
            .zip(batch.columns().iter().chain([&bundles, &places]))
        {
            encoder.append(column)?;
        }
        self.group_rows += rows;
        self.rows += rows as u64;
        (self.first_ms, self.last_ms) = (first_ms, last_ms);
        if self.group_rows >= ROW_GROUP_ROWS {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), Error> {
        let mut group = self.file.next_row_group()?;
        for encoder in &mut self.columns {
            let (bytes, close) = encoder.finish()?;
            group.append_column(&bytes, close)?;
            encoder.reclaim(bytes);
        }
        group.close()?;
        self.group_rows = 0;
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
        self.file.bytes_written() + self.columns.iter().map(ChunkEncoder::bytes).sum::<usize>()
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
        if self.group_rows > 0 {
            self.end_group()?;
        }
        self.file.finish()?;
        let bytes = self.file.bytes_written() as u64;
        Ok(Summary {
            rows: self.rows,
            bytes,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
        })
    }
}

/// How each column of [`stored_schema`] is encoded, by what flows are known to be like.
fn coding(field: &Field) -> Coding {
    match (field.name().as_str(), field.data_type()) {
        (schema::SRC_ADDR | schema::DST_ADDR, _) => Coding::Prefix,
        (_, DataType::Boolean) => Coding::Bits,
        (schema::SAMPLING_RATE | schema::DOMAIN | schema::BUNDLE, _) => Coding::Dictionary,
        (_, DataType::Dictionary(..) | DataType::FixedSizeBinary(_) | DataType::UInt8 | DataType::UInt16) => {
            Coding::Dictionary
        }
        _ => Coding::Delta,
    }
}

fn properties() -> WriterProperties {
    let version = KeyValue::new(VERSION_KEY.to_owned(), SCHEMA_VERSION.to_string());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("millrace ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(vec![version]))
        .set_offset_index_disabled(true)
        .build();
    add_encoded_arrow_schema_to_metadata(&stored_schema(), &mut properties);
    properties
}
