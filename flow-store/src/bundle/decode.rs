//! Bytes to a bundle. The messages are walked here rather than by `arrow-ipc`'s reader, which trusts a schema's types and
//! a buffer's stated uncompressed length: foreign bytes must not make the process panic or allocate what they ask for.

use std::io::Read;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_ipc::{
    CompressionType, Field as WireField, Message, RecordBatch as WireBatch, Schema as WireSchema,
    TimeUnit as WireTimeUnit, Type, root_as_message,
};
use arrow_schema::{DataType, TimeUnit};

use super::column::{self, BASE, CONSTANT, PREFIX, Packing, from_hex};
use super::encode::{CONTINUATION, NOT_COMPRESSED, PREFIX_LEN, STORED_COLUMNS, key};
use super::{BUNDLE_VERSION, Bundle, Header, MAX_HEADER_LEN, MAX_ROWS, Metadata, Span, constant_text};
use crate::error::Error;
use crate::schema::flow_schema;

fn damaged(offset: usize, what: impl Into<String>) -> Error {
    Error::Bundle {
        offset,
        what: what.into(),
    }
}

pub(super) fn metadata(bytes: &[u8]) -> Result<Metadata, Error> {
    let mut stream = Stream { bytes, at: 0 };
    let (at, message) = stream.message()?.ok_or_else(|| damaged(0, "no schema"))?;
    let schema = message
        .header_as_schema()
        .ok_or_else(|| damaged(at, "first message is not a schema"))?;
    read_metadata(at, &schema)
}

pub(super) fn bundle(bytes: &Buffer) -> Result<Bundle, Error> {
    let mut stream = Stream {
        bytes: bytes.as_slice(),
        at: 0,
    };
    let (at, message) = stream.message()?.ok_or_else(|| damaged(0, "no schema"))?;
    let schema = message
        .header_as_schema()
        .ok_or_else(|| damaged(at, "first message is not a schema"))?;
    let metadata = read_metadata(at, &schema)?;
    let batch = if metadata.rows == 0 {
        RecordBatch::new_empty(flow_schema())
    } else {
        let packings = read_packings(at, &schema)?;
        let (at, message) = stream.message()?.ok_or_else(|| damaged(stream.at, "no record batch"))?;
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| damaged(at, "second message is not a record batch"))?;
        let body_at = stream.at;
        let body = stream.skip(message.bodyLength())?;
        Body {
            at: body_at,
            batch_at: at,
            bytes: bytes.slice_with_length(body.0, body.1),
            batch,
        }
        .read(&metadata, &packings)?
    };
    if stream.message()?.is_some() {
        return Err(damaged(stream.at, "more messages than a bundle has"));
    }
    if stream.at != bytes.len() {
        return Err(damaged(stream.at, "bytes after the end mark"));
    }
    let found = Bundle::new(metadata.header.clone(), batch)?;
    if found.metadata.span != metadata.span {
        return Err(damaged(at, "span of times is not that of the rows"));
    }
    Ok(found)
}

/// A walk over the messages of an IPC stream.
struct Stream<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Stream<'b> {
    /// The next message and where its metadata begins; none at the end mark.
    fn message(&mut self) -> Result<Option<(usize, Message<'b>)>, Error> {
        let at = self.at;
        let prefix = self
            .bytes
            .get(at..)
            .and_then(|rest| rest.get(..PREFIX_LEN))
            .ok_or_else(|| damaged(at, "cut short"))?;
        let (mark, len) = prefix.split_at(CONTINUATION.len());
        if mark != CONTINUATION {
            return Err(damaged(at, "no message starts here"));
        }
        let len = len.iter().rev().fold(0usize, |len, &byte| len << 8 | usize::from(byte));
        self.at = at + PREFIX_LEN;
        if len == 0 {
            return Ok(None);
        }
        let start = self.at;
        let metadata = self
            .bytes
            .get(start..)
            .and_then(|rest| rest.get(..len))
            .ok_or_else(|| damaged(start, format!("message of {len} bytes is cut short")))?;
        self.at = start + len;
        let message = root_as_message(metadata).map_err(|error| damaged(start, format!("message: {error}")))?;
        Ok(Some((start, message)))
    }

    /// Steps over a body: its offset and length.
    fn skip(&mut self, len: i64) -> Result<(usize, usize), Error> {
        let at = self.at;
        let left = self.bytes.len() - at;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                self.at = at + len;
                Ok((at, len))
            }
            _ => Err(damaged(at, format!("body of {len} bytes, {left} are left"))),
        }
    }
}

fn read_metadata(at: usize, schema: &WireSchema<'_>) -> Result<Metadata, Error> {
    let words = schema
        .custom_metadata()
        .ok_or_else(|| damaged(at, "no bundle metadata"))?;
    let find = |wanted: &'static str| {
        let word = words
            .iter()
            .find(|word| word.key() == Some(wanted))
            .and_then(|word| word.value());
        word.ok_or_else(|| damaged(at, format!("metadata lacks {wanted}")))
    };
    fn number<N: std::str::FromStr>(at: usize, name: &str, text: &str) -> Result<N, Error> {
        text.parse()
            .map_err(|_| damaged(at, format!("metadata {name} is not a number in range")))
    }

    let version = number(at, key::VERSION, find(key::VERSION)?)?;
    if version > BUNDLE_VERSION {
        return Err(Error::Version {
            what: "bundle",
            found: version,
            supported: BUNDLE_VERSION,
        });
    }
    let rows: usize = number(at, key::ROWS, find(key::ROWS)?)?;
    if rows > MAX_ROWS {
        return Err(damaged(at, format!("{rows} rows, a bundle holds at most {MAX_ROWS}")));
    }
    let (probe, area, state) = (find(key::PROBE)?, find(key::AREA)?, find(key::EXPORTER_STATE)?);
    if probe.len() + area.len() + state.len() > MAX_HEADER_LEN {
        return Err(damaged(at, format!("header longer than {MAX_HEADER_LEN} bytes")));
    }
    let span = if rows == 0 {
        None
    } else {
        Some(Span {
            first_ms: number(at, key::FIRST, find(key::FIRST)?)?,
            last_ms: number(at, key::LAST, find(key::LAST)?)?,
        })
    };
    let header = Header {
        probe: Arc::from(probe),
        area: Arc::from(area),
        sequence: number(at, key::SEQUENCE, find(key::SEQUENCE)?)?,
        watermark_ms: number(at, key::WATERMARK, find(key::WATERMARK)?)?,
        exporter_state: from_hex(state).ok_or_else(|| damaged(at, "exporter state is not hex"))?,
    };
    Ok(Metadata { header, rows, span })
}

/// The packing of each column, in the order of the flow schema.
fn read_packings(at: usize, schema: &WireSchema<'_>) -> Result<Vec<Packing>, Error> {
    let fields = schema.fields().ok_or_else(|| damaged(at, "schema has no fields"))?;
    if fields.len() != STORED_COLUMNS {
        return Err(damaged(
            at,
            format!("{} columns, a bundle has {STORED_COLUMNS}", fields.len()),
        ));
    }
    let logical = flow_schema();
    fields
        .iter()
        .zip(logical.fields())
        .map(|(field, logical)| {
            if field.name() != Some(logical.name()) {
                return Err(damaged(
                    at,
                    format!("column {:?} where {:?} belongs", field.name(), logical.name()),
                ));
            }
            let word = |wanted: &str| {
                field
                    .custom_metadata()?
                    .iter()
                    .find(|word| word.key() == Some(wanted))
                    .and_then(|word| word.value())
            };
            let packing = data_type(&field).and_then(|physical| {
                column::declared(logical.data_type(), &physical, word(BASE), word(CONSTANT), word(PREFIX))
            });
            packing
                .filter(|packing| logical.is_nullable() || *packing != Packing::Absent)
                .ok_or_else(|| {
                    damaged(
                        at,
                        format!("column {}: not a packing of {}", logical.name(), logical.data_type()),
                    )
                })
        })
        .collect()
}

/// The Arrow type that a field declares, if it is one that a bundle uses.
fn data_type(field: &WireField<'_>) -> Option<DataType> {
    match field.type_type() {
        Type::Null => Some(DataType::Null),
        Type::Int => {
            let int = field.type_as_int()?;
            match (int.is_signed(), int.bitWidth()) {
                (false, 8) => Some(DataType::UInt8),
                (false, 16) => Some(DataType::UInt16),
                (false, 32) => Some(DataType::UInt32),
                (true, 64) => Some(DataType::Int64),
                _ => None,
            }
        }
        Type::FixedSizeBinary => Some(DataType::FixedSizeBinary(
            field.type_as_fixed_size_binary()?.byteWidth(),
        )),
        Type::Timestamp => {
            let timestamp = field.type_as_timestamp()?;
            (timestamp.unit() == WireTimeUnit::MILLISECOND)
                .then(|| DataType::Timestamp(TimeUnit::Millisecond, timestamp.timezone().map(Arc::from)))
        }
        _ => None,
    }
}

/// The body of a record batch message.
struct Body<'b> {
    /// Where the body begins in the bundle.
    at: usize,
    /// Where the message begins in the bundle.
    batch_at: usize,
    bytes: Buffer,
    batch: WireBatch<'b>,
}

impl Body<'_> {
    fn read(&self, metadata: &Metadata, packings: &[Packing]) -> Result<RecordBatch, Error> {
        let rows = metadata.rows;
        if usize::try_from(self.batch.length()) != Ok(rows) {
            return Err(damaged(
                self.batch_at,
                format!("batch of {} rows, {rows} were announced", self.batch.length()),
            ));
        }
        if self
            .batch
            .variadicBufferCounts()
            .is_some_and(|counts| !counts.is_empty())
        {
            return Err(damaged(self.batch_at, "variadic buffers, a bundle has none"));
        }
        let nodes = self
            .batch
            .nodes()
            .ok_or_else(|| damaged(self.batch_at, "batch has no nodes"))?;
        if nodes.len() != packings.len() {
            return Err(damaged(
                self.batch_at,
                format!("{} nodes for {} columns", nodes.len(), packings.len()),
            ));
        }
        let buffers = self
            .batch
            .buffers()
            .ok_or_else(|| damaged(self.batch_at, "batch has no buffers"))?;
        let mut buffers = buffers.iter();
        let logical = flow_schema();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(logical.fields().len());
        for ((packing, node), field) in packings.iter().zip(nodes.iter()).zip(logical.fields()) {
            if usize::try_from(node.length()) != Ok(rows) {
                return Err(damaged(
                    self.batch_at,
                    format!("column {}: {} rows of {rows}", field.name(), node.length()),
                ));
            }
            let column = if packing.has_buffers() {
                let mut next = || {
                    buffers
                        .next()
                        .ok_or_else(|| damaged(self.batch_at, format!("column {}: no buffer", field.name())))
                };
                let validity = next()?;
                let values = next()?;
                let len = packing.values_len(field.data_type(), rows)?;
                let (_, validity) = self.buffer(field.name(), validity, rows.div_ceil(8))?;
                let nulls = validity.map(|bits| NullBuffer::new(BooleanBuffer::new(bits, 0, rows)));
                if nulls.is_some() && !field.is_nullable() {
                    return Err(damaged(
                        self.at,
                        format!("column {}: nulls where none may be", field.name()),
                    ));
                }
                let (at, values) = self.buffer(field.name(), values, len)?;
                let values = values.ok_or_else(|| damaged(at, format!("column {}: no values", field.name())))?;
                packing.unpack(field.data_type(), rows, nulls, &values)?
            } else {
                packing.unpack(field.data_type(), rows, None, &Buffer::from(&[]))?
            };
            columns.push(column);
        }
        if buffers.next().is_some() {
            return Err(damaged(self.batch_at, "more buffers than columns"));
        }
        columns.push(constant_text(&metadata.header.probe, rows));
        columns.push(constant_text(&metadata.header.area, rows));
        RecordBatch::try_new(logical, columns).map_err(|error| damaged(self.at, error.to_string()))
    }

    /// The place of one buffer and its bytes, of which there must be `len` or none.
    fn buffer(&self, name: &str, buffer: &arrow_ipc::Buffer, len: usize) -> Result<(usize, Option<Buffer>), Error> {
        let outside = || damaged(self.at, format!("column {name}: buffer outside the body"));
        let start = usize::try_from(buffer.offset()).map_err(|_| outside())?;
        let stored = usize::try_from(buffer.length()).map_err(|_| outside())?;
        let end = start
            .checked_add(stored)
            .filter(|&end| end <= self.bytes.len())
            .ok_or_else(outside)?;
        let at = self.at + start;
        if stored == 0 {
            return Ok((at, None));
        }
        let bytes = self.bytes.slice_with_length(start, end - start);
        let bytes = match self.batch.compression() {
            None => bytes,
            Some(compression) => inflate(at, name, compression.codec(), &bytes, len)?,
        };
        // Writers may pad a buffer and count the padding as part of it.
        if bytes.len() < len {
            return Err(damaged(
                at,
                format!("column {name}: {} bytes where {len} belong", bytes.len()),
            ));
        }
        Ok((at, Some(bytes.slice_with_length(0, len))))
    }
}

/// Uncompresses a buffer that must hold `len` bytes; never makes more than that.
fn inflate(at: usize, name: &str, codec: CompressionType, bytes: &Buffer, len: usize) -> Result<Buffer, Error> {
    let Some((prefix, frame)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(at, format!("column {name}: compressed buffer cut short")));
    };
    let stated = i64::from_le_bytes(*prefix);
    if stated == NOT_COMPRESSED {
        return Ok(bytes.slice(prefix.len()));
    }
    if usize::try_from(stated) != Ok(len) {
        return Err(damaged(
            at,
            format!("column {name}: {stated} bytes compressed where {len} belong"),
        ));
    }
    let failed = |error: std::io::Error| damaged(at, format!("column {name}: {error}"));
    let inflated = match codec {
        CompressionType::ZSTD => zstd::bulk::decompress(frame, len).map_err(failed)?,
        CompressionType::LZ4_FRAME => {
            let mut inflated = Vec::with_capacity(len);
            let limit = u64::try_from(len).unwrap_or(u64::MAX);
            lz4_flex::frame::FrameDecoder::new(frame)
                .take(limit)
                .read_to_end(&mut inflated)
                .map_err(failed)?;
            inflated
        }
        other => return Err(damaged(at, format!("column {name}: unknown compression {other:?}"))),
    };
    Ok(Buffer::from(inflated))
}
