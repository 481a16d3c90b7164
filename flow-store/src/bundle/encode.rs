//! A bundle to bytes. The record batch message is written here rather than by `arrow-ipc`'s writer, which would copy every
//! buffer twice: narrowed values go straight to their place in the output.

use std::collections::HashMap;
use std::io::Write;

use arrow_array::Array;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_ipc::{
    BodyCompressionBuilder, BodyCompressionMethod, Buffer as BodyBuffer, CompressionType, FieldNode, MessageBuilder,
    MessageHeader, MetadataVersion, RecordBatchBuilder,
};
use arrow_schema::{Field, Schema};
use flatbuffers::FlatBufferBuilder;

use super::column::{Packing, to_hex};
use super::{BUNDLE_VERSION, Bundle, Metadata};
use crate::error::Error;
use crate::schema::flow_schema;

/// How the buffers of a bundle are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: narrow columns alone.
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard at this level.
    Zstd(i32),
}

/// Marks the start of an IPC message.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
/// Length of the mark and the metadata length that go before a message's metadata.
pub(super) const PREFIX_LEN: usize = 8;
/// Everything in a stream is aligned to this.
pub(super) const ALIGNMENT: usize = 8;
/// Before a compressed buffer: its length uncompressed, or this if it is not compressed after all.
pub(super) const NOT_COMPRESSED: i64 = -1;
/// How many columns at the head of the flow schema are stored; `probe` and `area` come after them.
pub(super) const STORED_COLUMNS: usize = 20;

pub(super) mod key {
    pub(crate) const VERSION: &str = "millrace.version";
    pub(crate) const PROBE: &str = "probe";
    pub(crate) const AREA: &str = "area";
    pub(crate) const SEQUENCE: &str = "sequence";
    pub(crate) const WATERMARK: &str = "watermark_ms";
    pub(crate) const ROWS: &str = "rows";
    pub(crate) const FIRST: &str = "first_ms";
    pub(crate) const LAST: &str = "last_ms";
    pub(crate) const EXPORTER_STATE: &str = "exporter_state";
}

pub(super) fn bundle(bundle: &Bundle, compression: Compression, out: &mut Vec<u8>) -> Result<(), Error> {
    let batch = bundle.batch();
    let rows = batch.num_rows();
    let stored = if rows == 0 { 0 } else { STORED_COLUMNS };
    let logical = flow_schema();
    let mut packings = Vec::with_capacity(stored);
    let mut fields = Vec::with_capacity(stored);
    for (field, column) in logical.fields().iter().zip(batch.columns()).take(stored) {
        let packing = Packing::choose(column)?;
        fields.push(packing.field(field));
        packings.push(packing);
    }
    write_schema(bundle.metadata(), fields, out);
    if rows > 0 {
        write_batch(bundle, &packings, compression, out)?;
    }
    out.extend_from_slice(&CONTINUATION);
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

fn write_schema(metadata: &Metadata, fields: Vec<Field>, out: &mut Vec<u8>) {
    let header = &metadata.header;
    let mut words = HashMap::from([
        (key::VERSION.to_owned(), BUNDLE_VERSION.to_string()),
        (key::PROBE.to_owned(), header.probe.to_string()),
        (key::AREA.to_owned(), header.area.to_string()),
        (key::SEQUENCE.to_owned(), header.sequence.to_string()),
        (key::WATERMARK.to_owned(), header.watermark_ms.to_string()),
        (key::ROWS.to_owned(), metadata.rows.to_string()),
        (key::EXPORTER_STATE.to_owned(), to_hex(&header.exporter_state)),
    ]);
    if let Some(span) = metadata.span {
        words.insert(key::FIRST.to_owned(), span.first_ms.to_string());
        words.insert(key::LAST.to_owned(), span.last_ms.to_string());
    }
    let schema = Schema::new_with_metadata(fields, words);
    let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        &schema,
        &mut DictionaryTracker::new(false),
        &IpcWriteOptions::default(),
    );
    write_message(&message.ipc_message, 0, out);
}

/// Appends a message's metadata with its prefix, padded to at least `room` and so that what follows is aligned.
fn write_message(metadata: &[u8], room: usize, out: &mut Vec<u8>) {
    let padded = metadata.len().max(room).next_multiple_of(ALIGNMENT);
    out.extend_from_slice(&CONTINUATION);
    // An IPC message states its length in 32 bits; a schema or batch message of ours has a few thousand bytes, and
    // the exporter state is bounded by the reader.
    out.extend_from_slice(&u32::try_from(padded).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(metadata);
    out.resize(out.len() + padded - metadata.len(), 0);
}

fn write_batch(
    bundle: &Bundle,
    packings: &[Packing],
    compression: Compression,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let rows = bundle.batch().num_rows();
    let columns = || packings.iter().zip(bundle.batch().columns());
    let count = columns().filter(|(packing, _)| packing.has_buffers()).count();
    let nodes: Vec<FieldNode> = columns()
        .map(|(packing, column)| {
            let nulls = if packing.has_buffers() {
                column.null_count()
            } else {
                rows
            };
            FieldNode::new(to_i64(rows), to_i64(nulls))
        })
        .collect();

    // Where the buffers lie is known once they are written. Their places have a fixed width, so a message of
    // placeholders keeps the room that the real one needs; it may leave some, as a body of no bytes is not spelled out.
    let at = out.len();
    let placeholders = vec![BodyBuffer::new(1, 1); count * 2];
    write_message(&batch_message(rows, &nodes, &placeholders, 1, compression), 0, out);
    let body_at = out.len();

    let mut packer = Packer {
        compression,
        body_at,
        scratch: Vec::new(),
        buffers: Vec::with_capacity(count * 2),
    };
    for ((packing, column), field) in columns().zip(flow_schema().fields()) {
        if !packing.has_buffers() {
            continue;
        }
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        packer.append(out, nulls.map_or(0, |nulls| nulls.len().div_ceil(8)), |out| {
            if let Some(nulls) = nulls {
                out.extend_from_slice(nulls.inner().sliced().as_slice());
            }
            Ok(())
        })?;
        let len = packing.values_len(field.data_type(), rows)?;
        packer.append(out, len, |out| packing.pack(column, out))?;
    }

    let buffers = packer.buffers;
    let body_len = out.len() - body_at;
    let mut message = Vec::with_capacity(body_at - at);
    write_message(
        &batch_message(rows, &nodes, &buffers, body_len, compression),
        body_at - at - PREFIX_LEN,
        &mut message,
    );
    debug_assert_eq!(message.len(), body_at - at, "fixed-width placeholders");
    out[at..body_at].copy_from_slice(&message);
    Ok(())
}

fn batch_message(
    rows: usize,
    nodes: &[FieldNode],
    buffers: &[BodyBuffer],
    body_len: usize,
    compression: Compression,
) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::with_capacity(2048);
    let nodes = builder.create_vector(nodes);
    let buffers = builder.create_vector(buffers);
    let codec = match compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd(_) => Some(CompressionType::ZSTD),
    };
    let codec = codec.map(|codec| {
        let mut body = BodyCompressionBuilder::new(&mut builder);
        body.add_method(BodyCompressionMethod::BUFFER);
        body.add_codec(codec);
        body.finish()
    });
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(to_i64(rows));
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    if let Some(codec) = codec {
        batch.add_compression(codec);
    }
    let batch = batch.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(to_i64(body_len));
    message.add_header(batch);
    let root = message.finish();
    builder.finish(root, None);
    builder.finished_data().to_vec()
}

/// Appends buffers to a message's body and notes where they lie.
struct Packer {
    compression: Compression,
    body_at: usize,
    scratch: Vec<u8>,
    buffers: Vec<BodyBuffer>,
}

impl Packer {
    /// Appends one buffer of `len` bytes, which `fill` writes.
    fn append(
        &mut self,
        out: &mut Vec<u8>,
        len: usize,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let at = out.len();
        if self.compression == Compression::None || len == 0 {
            fill(out)?;
        } else {
            self.scratch.clear();
            fill(&mut self.scratch)?;
            out.extend_from_slice(&to_i64(len).to_le_bytes());
            compress(self.compression, &self.scratch, out)?;
            if out.len() - at > len {
                out.truncate(at);
                out.extend_from_slice(&NOT_COMPRESSED.to_le_bytes());
                out.extend_from_slice(&self.scratch);
            }
        }
        self.buffers
            .push(BodyBuffer::new(to_i64(at - self.body_at), to_i64(out.len() - at)));
        out.resize(self.body_at + (out.len() - self.body_at).next_multiple_of(ALIGNMENT), 0);
        Ok(())
    }
}

fn compress(compression: Compression, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Batch(format!("compress: {error}"));
    match compression {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Lz4 => {
            let mut frame = lz4_flex::frame::FrameEncoder::new(out);
            frame.write_all(bytes).map_err(|error| failed(&error))?;
            frame.finish().map_err(|error| failed(&error))?;
        }
        Compression::Zstd(level) => {
            let frame = zstd::bulk::compress(bytes, level).map_err(|error| failed(&error))?;
            out.extend_from_slice(&frame);
        }
    }
    Ok(())
}

/// Lengths in memory fit 63 bits.
fn to_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
