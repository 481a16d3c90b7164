//! What travels between the workers.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bundle_log::Position;
use flow_cep::Rows;
use flow_cep::value::Value;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::watermarks::Watermarks;

/// One step of a worker's walk along the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Item {
    /// An enriched bundle.
    Flows(Flows),
    /// The worker has handed on all its bundles up to a place.
    Progress(Progress),
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
    /// Flows at its beginning that are not for the statements: they are too late, or an earlier run had them.
    pub(crate) passed: usize,
    /// Its flows, with the columns of the enriched schema.
    pub(crate) batch: Batch,
}

/// How far a worker has read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Which worker.
    pub(crate) worker: usize,
    /// All its bundles before this position are handed on.
    pub(crate) position: u64,
    /// Where its watermarks are those of the log: further on, while it repeats what an earlier run has read.
    pub(crate) read_to: u64,
    /// The watermarks there.
    pub(crate) watermarks: Watermarks,
}

impl Progress {
    pub(crate) fn position(&self) -> Position {
        Position(self.position)
    }
}

/// What a part of the statements is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ToPart {
    /// Flows that it needs.
    Share(Share),
    /// How far a worker has read: part and progress.
    Progress(usize, Progress),
}

impl ToPart {
    pub(crate) const fn part(&self) -> usize {
        match self {
            Self::Share(share) => share.part,
            Self::Progress(part, _) => *part,
        }
    }
}

/// The flows of a bundle that one part needs for the statements of one exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Which part.
    pub(crate) part: usize,
    /// Which exchange.
    pub(crate) channel: usize,
    /// Where the bundle starts in the log.
    pub(crate) position: u64,
    pub(crate) bundle: BundleId,
    /// Statements whose clocks start, and when.
    pub(crate) anchors: Vec<(usize, i64)>,
    /// Which rows of the bundle these are; none if they are all.
    pub(crate) rows: Option<Arc<[u32]>>,
    /// The rows, of the exchange's columns.
    pub(crate) batch: Batch,
}

/// A bundle's probe and its number within the probe.
pub(crate) type BundleId = (Arc<str>, u64);

/// What orders the flows of one time: bundle and row.
pub(crate) type Place = (BundleId, u32);

/// What a part of the statements gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum FromPart {
    /// What it adds to a delivery.
    Portion(GivenPortion),
    /// Its state at the time of a checkpoint.
    State(PartState),
}

/// What a part adds to a delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GivenPortion {
    /// Which part.
    pub(crate) part: usize,
    /// Which statement.
    pub(crate) statement: usize,
    /// The stream's time.
    pub(crate) time_ms: i64,
    /// The flow that brought it; none if time did.
    pub(crate) place: Option<Place>,
    /// Rows that have become true.
    pub(crate) new: GivenRows,
    /// Rows that are no longer true.
    pub(crate) old: GivenRows,
}

/// The state of a part and what it needs of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PartState {
    /// Which part.
    pub(crate) part: usize,
    /// The windows of its statements.
    pub(crate) windows: Vec<u8>,
    /// How far the worker that is last had read; none if it is not known of all.
    pub(crate) progress: Option<Progress>,
    /// The oldest bundle with flows that have not gone into the windows.
    pub(crate) oldest: Option<u64>,
    /// How long the part stood still for it.
    pub(crate) took: Duration,
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

/// Rows of a delivery on their way.
#[derive(Clone, Debug)]
pub(crate) struct GivenRows(pub(crate) Rows);

#[derive(Serialize, Deserialize)]
enum Form {
    Values(Vec<Vec<Value>>),
    Columns(Batch),
}

impl Serialize for GivenRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Rows::Values(rows) => Form::Values(rows.iter().map(|row| row.to_vec()).collect()),
            Rows::Columns(batch) => Form::Columns(Batch(batch.clone())),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GivenRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Form::deserialize(deserializer).map(|form| {
            Self(match form {
                Form::Values(rows) => Rows::Values(rows.into_iter().map(Arc::from).collect()),
                Form::Columns(batch) => Rows::Columns(batch.0),
            })
        })
    }
}
