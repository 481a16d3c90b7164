//! What a collector remembers of its last run: sequence numbers, templates, bundle numbers, its clock.
//!
//! Each bundle carries the sequence state of its exporters as of its sealing, so state and flows are logged as one: what
//! was received but not logged when the process died counts as lost. A file sums up the bundles up to a place in the
//! log; those behind it are read from the log.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bundle_log::record::Record;
use bundle_log::{LogReader, LogWriter, Position};
use flow_store::bundle::Metadata;
use netflow_codec::sequence::Tracker;
use netflow_codec::{Decoder, StreamKey, StreamSnapshot};
use serde::{Deserialize, Serialize};

const FILE: &str = "collector.json";
const TEMPLATES: &str = "templates.bin";
/// How often the file is written.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Everything logged before this place is in here.
    position: u64,
    clock_ms: i64,
    sequences: HashMap<Arc<str>, u64>,
    #[serde(with = "pairs")]
    trackers: HashMap<StreamKey, Tracker>,
    /// In a file of their own, as they change apart from the rest.
    #[serde(skip)]
    templates: Vec<StreamSnapshot>,
}

/// JSON has no keys that are objects.
mod pairs {
    use std::collections::HashMap;

    use netflow_codec::StreamKey;
    use netflow_codec::sequence::Tracker;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(map: &HashMap<StreamKey, Tracker>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HashMap<StreamKey, Tracker>, D::Error> {
        Ok(Vec::<(StreamKey, Tracker)>::deserialize(from)?.into_iter().collect())
    }
}

impl Memory {
    /// Reads the file in `folder`, and what the log says since.
    pub(crate) fn recall(folder: &Path, log: &LogWriter) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let mut memory = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{}: move it away to start without knowledge of exporters",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        memory.read_log(log)?;
        memory.templates = read_templates(folder);
        Ok(memory)
    }

    fn read_log(&mut self, log: &LogWriter) -> anyhow::Result<()> {
        let mut reader = LogReader::new(log.folder(), log.tail(), Position(self.position));
        loop {
            let frame = match reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                // The stream has taken more of the log than the file knows of.
                Err(bundle_log::Error::Trimmed { oldest, .. }) => {
                    reader = LogReader::new(log.folder(), log.tail(), oldest);
                    continue;
                }
                Err(error @ bundle_log::Error::Damaged { .. }) => {
                    tracing::error!(%error, "part of the log left out");
                    continue;
                }
                Err(error) => return Err(error).context("log"),
            };
            match Record::read(&frame.payload) {
                Ok(Record::Bundle(bytes)) => {
                    if let Ok(Metadata { header, .. }) = Metadata::decode(bytes) {
                        self.bundle(
                            &header.probe,
                            header.sequence,
                            header.watermark_ms,
                            &header.exporter_state,
                        );
                    }
                }
                Ok(Record::Heartbeat { watermark_ms }) => self.clock_ms = self.clock_ms.max(watermark_ms),
                Ok(Record::Session { start_ms, .. }) => self.clock_ms = self.clock_ms.max(start_ms),
                Err(_) => {}
            }
            self.position = frame.next.0;
        }
    }

    fn bundle(&mut self, probe: &Arc<str>, sequence: u64, watermark_ms: i64, state: &[u8]) {
        self.clock_ms = self.clock_ms.max(watermark_ms);
        self.sequences.insert(Arc::clone(probe), sequence);
        match postcard::from_bytes::<Vec<(StreamKey, Tracker)>>(state) {
            Ok(trackers) => self.trackers.extend(trackers),
            Err(error) if !state.is_empty() => tracing::error!(%error, "sequence state in a bundle left out"),
            Err(_) => {}
        }
    }

    /// The last stamp of the last run.
    pub(crate) fn clock_ms(&self) -> i64 {
        self.clock_ms
    }

    /// The first number for the bundles of a probe: behind all that were logged, and by the clock so that it does not
    /// repeat even if the disk was lost.
    pub(crate) fn next_sequence(&self, probe: &str, now_ms: i64) -> u64 {
        let by_clock = u64::try_from(now_ms).unwrap_or(0) << 20;
        self.sequences
            .get(probe)
            .map_or(by_clock, |last| by_clock.max(last + 1))
    }

    /// Teaches a decoder what is remembered.
    pub(crate) fn teach(&self, decoder: &mut Decoder) {
        for snapshot in &self.templates {
            // The sequence that was logged counts, not one that may know of flows that were not.
            let sequence = Tracker::new(snapshot.key.version);
            if let Err(error) = decoder.restore(StreamSnapshot {
                sequence,
                ..snapshot.clone()
            }) {
                tracing::warn!(%error, exporter = %snapshot.key.exporter, "templates of an exporter left out");
            }
        }
        for (key, tracker) in &self.trackers {
            if let Err(error) = decoder.restore_tracker(*key, tracker.clone(), self.clock_ms) {
                tracing::warn!(%error, exporter = %key.exporter, "sequence of an exporter left out");
            }
        }
    }
}

/// The sequences of some streams, for a bundle.
pub(crate) fn encode_trackers(decoder: &Decoder, keys: &[StreamKey]) -> Vec<u8> {
    let trackers: Vec<_> = keys
        .iter()
        .filter_map(|key| Some((key, decoder.tracker(key)?)))
        .collect();
    if trackers.is_empty() {
        return Vec::new();
    }
    postcard::to_allocvec(&trackers).unwrap_or_default()
}

/// The templates that a decoder knows, and what it knows of sampling.
pub(crate) fn encode_templates(decoder: &Decoder) -> Vec<u8> {
    let snapshots: Vec<_> = decoder
        .snapshot()
        .filter(|snapshot| !snapshot.templates.is_empty())
        .collect();
    postcard::to_allocvec(&snapshots).unwrap_or_default()
}

/// Reads the file of templates. Without one, exporters have to send them again, as they do from time to time.
fn read_templates(folder: &Path) -> Vec<StreamSnapshot> {
    let path = folder.join(TEMPLATES);
    match fs::read(&path) {
        Ok(bytes) => postcard::from_bytes(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "templates of the last run left out");
            Vec::new()
        }),
        Err(_) => Vec::new(),
    }
}

/// Puts a file in the place of another, whole or not at all.
fn replace(folder: &Path, name: &str, bytes: &[u8]) {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&new, &path)
    };
    if let Err(error) = write() {
        tracing::error!(%error, path = %path.display(), "state of the exporters not saved");
    }
}

/// Keeps the memory in a file.
#[derive(Debug)]
pub(crate) struct StateFile {
    folder: PathBuf,
    memory: Memory,
    saved: Instant,
}

impl StateFile {
    pub(crate) fn new(folder: PathBuf, memory: Memory) -> Self {
        Self {
            folder,
            memory,
            saved: Instant::now(),
        }
    }

    /// A bundle was logged.
    pub(crate) fn bundle(&mut self, probe: &Arc<str>, sequence: u64, watermark_ms: i64, state: &[u8]) {
        self.memory.bundle(probe, sequence, watermark_ms, state);
    }

    pub(crate) fn clock(&mut self, now_ms: i64) {
        self.memory.clock_ms = self.memory.clock_ms.max(now_ms);
    }

    /// Saves templates: a collector that knows them understands at once after a restart.
    pub(crate) fn templates(&self, templates: &[u8]) {
        replace(&self.folder, TEMPLATES, templates);
    }

    pub(crate) fn save_if_due(&mut self, position: Position) {
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save(position);
        }
    }

    /// Writes the file. A failure costs nothing but knowledge, and is tried again.
    pub(crate) fn save(&mut self, position: Position) {
        self.saved = Instant::now();
        self.memory.position = position.0;
        match serde_json::to_vec(&self.memory) {
            Ok(bytes) => replace(&self.folder, FILE, &bytes),
            Err(error) => tracing::error!(%error, "state of the exporters not saved"),
        }
    }
}
