//! What travels between the workers.

use std::sync::Arc;

use crate::watermarks::Watermarks;
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bundle_log::Position;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One step of a worker's walk along the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Item {
    /// An enriched bundle.
    Flows(Flows),
    /// The worker has handed on all its bundles before this position, and knows these watermarks there.
    Progress {
        /// Which worker.
        worker: usize,
        /// Where it goes on reading.
        read_to: u64,
        /// The watermarks there.
        watermarks: Watermarks,
    },
}

/// An enriched bundle and its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Flows {
    /// Where the bundle starts in the log.
    pub(crate) position: u64,
    /// The bundle's probe.
    pub(crate) probe: Arc<str>,
    /// The bundle's number within the probe.
    pub(crate) sequence: u64,
    /// Its flows, with the columns of the enriched schema.
    pub(crate) batch: Batch,
}

impl Flows {
    pub(crate) fn position(&self) -> Position {
        Position(self.position)
    }
}

/// A record batch that crosses between processes as an Arrow IPC stream, and between threads as it is.
#[derive(Clone, Debug)]
pub(crate) struct Batch(pub(crate) RecordBatch);

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, self.0.schema_ref()).map_err(S::Error::custom)?;
        writer
            .write(&self.0)
            .and_then(|()| writer.finish())
            .map_err(S::Error::custom)?;
        drop(writer);
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).map_err(D::Error::custom)?;
        let batch = reader.next().ok_or_else(|| D::Error::custom("no record batch"))?;
        batch.map(Self).map_err(D::Error::custom)
    }
}
