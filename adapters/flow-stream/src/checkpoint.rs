//! What a restarted processor goes on from.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bundle_log::Position;
use serde::{Deserialize, Serialize};

use crate::walk::Resume;
use crate::watermarks::Watermarks;

const VERSION: u32 = 2;
const FILE: &str = "checkpoint";

/// The state of the statements together with the place in the log that it belongs to.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) head: Head,
    /// The windows of the statements, by part, in the engine's own form.
    pub(crate) windows: Vec<Vec<u8>>,
}

/// Everything but the windows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// All flows before this time have gone into the windows, and no other.
    pub(crate) time_ms: i64,
    /// Up to where the log had been read.
    pub(crate) read_to: u64,
    /// The watermarks there.
    pub(crate) watermarks: Watermarks,
    /// The oldest frame with flows that had not gone into the windows.
    pub(crate) needed: u64,
    /// Where the events that belong to this state end.
    pub(crate) events: EventsEnd,
    /// Tells the statements from others.
    pub(crate) statements: u32,
    /// By statement: the number of its last delivery.
    pub(crate) delivered: Vec<u64>,
}

/// The first line of the file: the head, and what the rest must be.
#[derive(Debug, Serialize, Deserialize)]
struct FirstLine {
    version: u32,
    /// By part: length in bytes, and CRC-32.
    windows: Vec<(usize, u32)>,
    head: Head,
}

/// A place in the event files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventsEnd {
    /// Number of the file.
    pub(crate) file: u64,
    /// Bytes in it.
    pub(crate) bytes: u64,
}

impl Checkpoint {
    pub(crate) fn resume(&self) -> Resume {
        Resume {
            time_ms: self.head.time_ms,
            watermarks: self.head.watermarks.clone(),
            read_to: Position(self.head.read_to),
        }
    }

    /// The oldest place in the log that a restart needs.
    pub(crate) fn needed(&self) -> Position {
        Position(self.head.needed)
    }

    /// Reads the checkpoint in `folder`, if there is one.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let hint = || format!("{}: move it away to start with empty windows", path.display());
        let line = bytes
            .iter()
            .position(|&byte| byte == b'\n')
            .context("no head")
            .with_context(hint)?;
        let (head, rest) = bytes.split_at(line);
        let first: FirstLine = serde_json::from_slice(head).with_context(hint)?;
        if first.version != VERSION {
            bail!(
                "{}: checkpoint of version {}, this program reads {VERSION}",
                hint(),
                first.version
            );
        }
        let mut rest = rest.get(1..).unwrap_or_default();
        let mut windows = Vec::with_capacity(first.windows.len());
        for (length, crc) in first.windows {
            match rest.split_at_checked(length) {
                Some((part, others)) if crc32fast::hash(part) == crc => {
                    windows.push(part.to_vec());
                    rest = others;
                }
                _ => bail!("{}: checkpoint is damaged", hint()),
            }
        }
        if !rest.is_empty() {
            bail!("{}: checkpoint is damaged", hint());
        }
        Ok(Some(Self {
            head: first.head,
            windows,
        }))
    }

    /// Puts this checkpoint in the place of the last one. A crash leaves either, whole.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let (path, new): (PathBuf, PathBuf) = (folder.join(FILE), folder.join("checkpoint.new"));
        let first = FirstLine {
            version: VERSION,
            windows: self
                .windows
                .iter()
                .map(|part| (part.len(), crc32fast::hash(part)))
                .collect(),
            head: self.head.clone(),
        };
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&first)?)?;
            file.write_all(b"\n")?;
            self.windows.iter().try_for_each(|part| file.write_all(part))?;
            file.sync_data()?;
            fs::rename(&new, &path)?;
            File::open(folder)?.sync_all()
        };
        write()
            .inspect_err(|_| drop(fs::remove_file(&new)))
            .with_context(|| format!("checkpoint {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(time_ms: i64) -> Checkpoint {
        let mut watermarks = Watermarks::default();
        watermarks.session(4, &["a"]);
        let events = EventsEnd { file: 1, bytes: 2 };
        let head = Head {
            time_ms,
            read_to: 30,
            watermarks,
            needed: 20,
            events,
            statements: 5,
            delivered: vec![3],
        };
        Checkpoint {
            head,
            windows: vec![b"win\ndows".to_vec(), Vec::new(), b"more".to_vec()],
        }
    }

    #[test]
    fn reads_what_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Checkpoint::read(folder.path()).unwrap().is_none());
        checkpoint(1).write(folder.path()).unwrap();
        checkpoint(9).write(folder.path()).unwrap();
        let found = Checkpoint::read(folder.path()).unwrap().unwrap();
        assert_eq!(
            (found.head.time_ms, found.needed(), found.windows),
            (9, Position(20), checkpoint(9).windows)
        );
    }

    #[test]
    fn a_damaged_checkpoint_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        checkpoint(9).write(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let error = Checkpoint::read(folder.path()).unwrap_err();
            assert!(format!("{error:#}").contains("move it away"), "{error:#}");
        }
    }
}
