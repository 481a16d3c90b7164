//! One batch of any columns as an Arrow IPC stream: what workers on two hosts hand one another.
//!
//! It is for batches between our own processes. What may come from anywhere else is a [`Bundle`](crate::bundle::Bundle),
//! whose reader trusts nothing.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;

use crate::error::Error;

/// The bytes of a batch.
///
/// # Errors
///
/// [`Error::Batch`] if a column's type cannot be put into a stream.
pub fn write(batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let refused = |error: arrow_schema::ArrowError| Error::Batch(error.to_string());
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).map_err(refused)?;
    writer.write(batch).map_err(refused)?;
    writer.into_inner().map_err(refused)
}

/// The batch of such bytes, of which its columns are slices.
///
/// # Errors
///
/// [`Error::Bundle`] if the bytes are not a stream of exactly one batch.
pub fn read(mut bytes: Buffer) -> Result<RecordBatch, Error> {
    let len = bytes.len();
    let mut decoder = StreamDecoder::new();
    let batch = decoder
        .decode(&mut bytes)
        .map_err(|error| damaged(len - bytes.len(), error.to_string()))?;
    let batch = batch.ok_or_else(|| damaged(len - bytes.len(), "no batch".to_owned()))?;
    let more = decoder
        .decode(&mut bytes)
        .map_err(|error| damaged(len - bytes.len(), error.to_string()))?;
    if more.is_some() {
        return Err(damaged(len - bytes.len(), "a second batch".to_owned()));
    }
    Ok(batch)
}

fn damaged(offset: usize, what: String) -> Error {
    Error::Bundle { offset, what }
}
