//! The bundle: a sealed batch of one probe's flows, the unit of queueing, acknowledgement and de-duplication.
//!
//! # Format
//!
//! A bundle is one Arrow IPC stream: a schema message, at most one record batch message, the end mark. Any Arrow
//! library opens it. What is known once per bundle stands in the schema's metadata (`probe`, `area`, `sequence`,
//! `watermark_ms`, `rows`, `first_ms`, `last_ms`, `exporter_state` in hex, and `millrace.version`); the columns are
//! those of [`flow_schema`] without `probe` and `area`, in that order, each in the narrowest form that holds its values
//! in this bundle:
//!
//! | Physical type | Field metadata | Meaning |
//! |---|---|---|
//! | the column's own | – | as it is |
//! | `uint8`, `uint16`, `uint32` | `base` | value = base + stored |
//! | `fixed_size_binary[4]` | `prefix` | IPv4: the prefix `::ffff:0:0`, then the stored four bytes |
//! | `null` | `constant` | one value for all rows, an integer or 16 bytes in hex |
//! | `null` | – | null in all rows |
//!
//! A row of NetFlow v5 takes 136 bytes in the wide form and about 40 in this one. Writing a byte to a memory-backed file costs
//! several times what narrowing it does, so the narrow form is both the smaller and the faster one, before any compression.
//! The body may be compressed, buffer by buffer, as Arrow IPC defines it: LZ4 frame or ZSTD.
//!
//! A bundle without flows tells only its watermark; it has no fields and no record batch.

mod column;
mod decode;
mod encode;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow_buffer::Buffer;

use crate::error::Error;
use crate::schema::{self, flow_schema};

pub use encode::Compression;

/// The version of the bundle's format.
pub const BUNDLE_VERSION: u32 = 1;

/// Most rows that a bundle may hold. A constant column takes no bytes, so without a limit a few bytes could claim
/// any number of rows.
pub const MAX_ROWS: usize = 1 << 20;

/// Most bytes of text or state that a bundle's header may hold, all together.
pub const MAX_HEADER_LEN: usize = 64 << 20;

/// What the collector says about a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The probe's name.
    pub probe: Arc<str>,
    /// The probe's coverage area.
    pub area: Arc<str>,
    /// The bundle's number: rises within a probe, never repeats.
    pub sequence: u64,
    /// The collector's clock when it sealed the bundle: later bundles of this probe hold no earlier time.
    pub watermark_ms: i64,
    /// The collector's sequence trackers after this bundle, opaque here: what a restarted collector goes on from.
    pub exporter_state: Vec<u8>,
}

/// The first and the last `time` of a bundle's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Lowest time, milliseconds.
    pub first_ms: i64,
    /// Highest time, milliseconds.
    pub last_ms: i64,
}

/// What can be told of a bundle without unpacking its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What the collector said.
    pub header: Header,
    /// How many flows there are.
    pub rows: usize,
    /// The times of the flows; none if there are no flows.
    pub span: Option<Span>,
}

impl Metadata {
    /// Reads the metadata of an encoded bundle, leaving its flows packed.
    ///
    /// # Errors
    ///
    /// [`Error::Bundle`] if the bytes do not begin as a bundle does, [`Error::Version`] if the format is newer.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode::metadata(bytes)
    }
}

/// A sealed batch of one probe's flows.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::RecordBatch;
/// # use flow_store::bundle::{Bundle, Compression, Header};
/// # use flow_store::schema::flow_schema;
/// let header = Header {
///     probe: Arc::from("edge-1"),
///     area: Arc::from("north"),
///     sequence: 7,
///     watermark_ms: 1_700_000_000_000,
///     exporter_state: Vec::new(),
/// };
/// let bundle = Bundle::new(header, RecordBatch::new_empty(flow_schema()))?;
/// let mut bytes = Vec::new();
/// bundle.encode(Compression::None, &mut bytes)?;
/// assert_eq!(Bundle::decode(bytes.into())?, bundle);
/// # Ok::<(), flow_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    metadata: Metadata,
    batch: RecordBatch,
}

impl Bundle {
    /// Seals a batch.
    ///
    /// # Errors
    ///
    /// [`Error::Batch`] if the batch does not have the columns of [`flow_schema`], has more than [`MAX_ROWS`] rows, or
    /// its `probe` and `area` are not those of the header in every row.
    pub fn new(header: Header, batch: RecordBatch) -> Result<Self, Error> {
        if batch.schema_ref().fields() != flow_schema().fields() {
            return Err(Error::Batch("columns are not those of the flow schema".to_owned()));
        }
        if batch.num_rows() > MAX_ROWS {
            return Err(Error::Batch(format!(
                "{} rows, a bundle holds at most {MAX_ROWS}",
                batch.num_rows()
            )));
        }
        for (name, want) in [(schema::PROBE, &header.probe), (schema::AREA, &header.area)] {
            let found = batch.column_by_name(name);
            if batch.num_rows() > 0 && found.and_then(single_text).as_deref() != Some(want.as_ref()) {
                return Err(Error::Batch(format!("column {name} is not {want:?} in every row")));
            }
        }
        let span = span(&batch);
        let rows = batch.num_rows();
        Ok(Self {
            metadata: Metadata { header, rows, span },
            batch,
        })
    }

    /// What the collector said.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.metadata.header
    }

    /// Header, number of rows and span of times.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The flows, with the columns of [`flow_schema`].
    #[must_use]
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The flows, given away.
    #[must_use]
    pub fn into_batch(self) -> RecordBatch {
        self.batch
    }

    /// Appends the bundle's bytes to `out`, which should begin at a multiple of 8 bytes in the file or message, so that a
    /// reader can use full-width columns in place.
    ///
    /// # Errors
    ///
    /// [`Error::Batch`] if a compressor refuses its input.
    pub fn encode(&self, compression: Compression, out: &mut Vec<u8>) -> Result<(), Error> {
        encode::bundle(self, compression, out)
    }

    /// Reads a bundle. Every byte is treated as foreign: lengths, offsets and types are checked before use. Columns that
    /// were stored at full width are slices of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Bundle`] with the place of the damage, [`Error::Version`] if the format is newer.
    pub fn decode(bytes: Buffer) -> Result<Self, Error> {
        decode::bundle(&bytes)
    }
}

/// A text column with the same value in each of `rows` rows.
#[must_use]
pub fn constant_text(value: &str, rows: usize) -> ArrayRef {
    let keys = Int32Array::from(vec![0; rows]);
    let values: ArrayRef = Arc::new(StringArray::from(vec![value]));
    // Every key is 0, and there is one value.
    Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
}

/// The one value of a text column, if its dictionary shows that there is but one.
fn single_text(column: &ArrayRef) -> Option<String> {
    let column = column.as_dictionary_opt::<Int32Type>()?;
    let values = column.values().as_string_opt::<i32>()?;
    (values.len() == 1 && column.null_count() == 0 && values.null_count() == 0).then(|| values.value(0).to_owned())
}

fn span(batch: &RecordBatch) -> Option<Span> {
    let time = batch.column(0).as_primitive_opt::<TimestampMillisecondType>()?;
    let (first, rest) = time.values().split_first()?;
    let start = Span {
        first_ms: *first,
        last_ms: *first,
    };
    Some(rest.iter().fold(start, |span, &ms| Span {
        first_ms: span.first_ms.min(ms),
        last_ms: span.last_ms.max(ms),
    }))
}
