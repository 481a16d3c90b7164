//! Log entries: what the collector noticed about a stream.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

/// Entries of one kind and exporter written in one interval; the rest are counted into the last.
const ENTRIES_PER_INTERVAL: u32 = 5;
/// Length of that interval.
const INTERVAL_MS: i64 = 10_000;
/// Exporters and kinds that are held apart within an interval; the others share one count.
const MAX_KEYS: usize = 4_096;
/// Bytes at which an entry file is closed; the one before is kept, older ones are deleted.
const FILE_BYTES: u64 = 16 << 20;

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Noticed {
    /// Flows, datagrams or records are missing by the exporter's sequence numbers.
    Missed {
        /// Observation domain.
        domain: u32,
        /// Version, as `v5`, `v9`, `IPFIX`.
        version: String,
        /// The first number that is missing.
        expected: u32,
        /// The number that came after the gap.
        received: u32,
        /// How many are missing.
        missed: u64,
        /// What is counted: `flows`, `datagrams` or `records`.
        unit: &'static str,
    },
    /// The exporter began to count anew.
    Restarted {
        /// Observation domain.
        domain: u32,
        /// Version.
        version: String,
    },
    /// The exporter departs from its protocol in a way that is known and allowed for.
    Quirk {
        /// Observation domain.
        domain: u32,
        /// What it does.
        quirk: &'static str,
    },
    /// Records came before their template; they are kept for a while.
    DataBeforeTemplate {
        /// Observation domain.
        domain: u32,
        /// The template.
        template: u16,
    },
    /// A datagram, or a part of it, that cannot be decoded.
    Malformed {
        /// What is wrong, and where.
        error: String,
    },
    /// A datagram of something else.
    NotNetflow {
        /// What it looks like.
        looks_like: &'static str,
    },
    /// A datagram of an exporter that is not allowed.
    NotAllowed,
    /// The kernel dropped datagrams for want of room in the receive buffer.
    DroppedByKernel {
        /// The socket's address.
        socket: SocketAddr,
        /// How many.
        datagrams: u64,
    },
    /// A bundle could not be logged, as there is no room.
    DroppedForRoom {
        /// Flows in it.
        flows: u64,
        /// Why.
        error: String,
    },
    /// The host's clock was set.
    ClockSet {
        /// By how much.
        by_ms: i64,
    },
}

impl Noticed {
    fn kind(&self) -> &'static str {
        match self {
            Self::Missed { .. } => "missed",
            Self::Restarted { .. } => "restarted",
            Self::Quirk { .. } => "quirk",
            Self::DataBeforeTemplate { .. } => "data_before_template",
            Self::Malformed { .. } => "malformed",
            Self::NotNetflow { .. } => "not_netflow",
            Self::NotAllowed => "not_allowed",
            Self::DroppedByKernel { .. } => "dropped_by_kernel",
            Self::DroppedForRoom { .. } => "dropped_for_room",
            Self::ClockSet { .. } => "clock_set",
        }
    }
}

#[derive(Serialize)]
struct Entry<'e> {
    /// The collector's clock, ms since 1970.
    time: i64,
    probe: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exporter: Option<IpAddr>,
    #[serde(flatten)]
    noticed: &'e Noticed,
    /// Entries like this that were left out in the last interval.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The log queue of each probe in the all-in-one form: a file of JSON lines, bounded in length and rate.
#[derive(Debug)]
pub(crate) struct EntryLog {
    folder: PathBuf,
    files: HashMap<Arc<str>, (File, u64)>,
    recent: HashMap<(&'static str, Option<IpAddr>), Recent>,
    interval_start_ms: i64,
    /// Entries that failed to be written since one was.
    unwritten: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    written: u32,
    left_out: u64,
}

impl EntryLog {
    /// Entry files are kept in `folder`.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            files: HashMap::new(),
            recent: HashMap::new(),
            interval_start_ms: 0,
            unwritten: 0,
        })
    }

    /// Writes an entry, unless there were many like it. A failure to write is told once, and again when it is over.
    pub(crate) fn write(&mut self, time_ms: i64, probe: &Arc<str>, exporter: Option<IpAddr>, noticed: &Noticed) {
        if time_ms.saturating_sub(self.interval_start_ms) >= INTERVAL_MS {
            self.interval_start_ms = time_ms;
            self.recent.retain(|_, recent| {
                recent.written = 0;
                recent.left_out > 0
            });
        }
        let mut key = (noticed.kind(), exporter);
        if !self.recent.contains_key(&key) && self.recent.len() >= MAX_KEYS {
            key.1 = None;
        }
        let recent = self.recent.entry(key).or_default();
        // Losses are told one by one, as others add them up; all else only until it is plain.
        let is_loss = matches!(
            noticed,
            Noticed::Missed { .. } | Noticed::DroppedForRoom { .. } | Noticed::DroppedByKernel { .. }
        );
        if recent.written >= ENTRIES_PER_INTERVAL && !is_loss {
            recent.left_out += 1;
            return;
        }
        recent.written += 1;
        let left_out = std::mem::take(&mut recent.left_out);
        let entry = Entry {
            time: time_ms,
            probe,
            exporter,
            noticed,
            left_out,
        };
        match self.append(probe, &entry) {
            Ok(()) => {
                let entries = std::mem::take(&mut self.unwritten);
                if entries > 0 {
                    tracing::warn!(entries, "log entries are written again; these were not");
                }
            }
            Err(error) => {
                if self.unwritten == 0 {
                    tracing::error!(%error, "log entry not written, and none that follows until this is over");
                }
                self.unwritten += 1;
            }
        }
        let text = serde_json::to_string(noticed).unwrap_or_default();
        tracing::info!(
            probe = &**probe,
            exporter = exporter.map(tracing::field::display),
            entry = text,
            "noticed"
        );
    }

    fn append(&mut self, probe: &Arc<str>, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let path = self.folder.join(format!("{probe}.jsonl"));
        if !self.files.contains_key(probe) {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let bytes = file.metadata()?.len();
            self.files.insert(Arc::clone(probe), (file, bytes));
        }
        let Some((file, bytes)) = self.files.get_mut(probe) else {
            return Ok(());
        };
        file.write_all(&line)?;
        *bytes += line.len() as u64;
        if *bytes >= FILE_BYTES {
            self.files.remove(probe);
            fs::rename(&path, path.with_extension("old.jsonl"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(folder.join("north.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_flood_of_one_kind_is_counted_instead_of_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EntryLog::open(folder.path()).unwrap();
        let (probe, exporter) = (Arc::from("north"), "192.0.2.1".parse().ok());
        for time in 0..1000 {
            log.write(time, &probe, exporter, &Noticed::NotNetflow { looks_like: "sFlow" });
        }
        log.write(20_000, &probe, exporter, &Noticed::NotNetflow { looks_like: "sFlow" });
        let lines = lines(folder.path());
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[5]["left_out"], 995);
        assert_eq!(
            (&lines[0]["kind"], &lines[0]["exporter"]),
            (&"not_netflow".into(), &"192.0.2.1".into())
        );
    }

    #[test]
    fn every_loss_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EntryLog::open(folder.path()).unwrap();
        let missed = Noticed::Missed {
            domain: 1,
            version: "v5".into(),
            expected: 30,
            received: 90,
            missed: 60,
            unit: "flows",
        };
        for time in 0..100 {
            log.write(time, &"north".into(), None, &missed);
        }
        assert_eq!(
            lines(folder.path())
                .iter()
                .map(|line| line["missed"].as_u64().unwrap())
                .sum::<u64>(),
            6000
        );
    }
}
