use std::io;
use std::path::{Path, PathBuf};

use crate::Position;

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log has reached its limit; nothing was written. Trimming makes room.
    #[error("log is full: {used} of {limit} bytes, frame of {wanted} bytes not written")]
    Full {
        /// Bytes on disk now.
        used: u64,
        /// The limit set in [`Options`](crate::Options).
        limit: u64,
        /// Size of the refused frame.
        wanted: u64,
    },
    /// The file system has no space left; the log is as it was before the append.
    #[error("no space left on device for log segment {path}")]
    NoSpace {
        /// The segment that could not grow.
        path: PathBuf,
    },
    /// The payload is longer than a frame can hold.
    #[error("frame of {length} bytes is over the limit of {limit} bytes")]
    TooLong {
        /// Length of the payload.
        length: u64,
        /// Longest payload, 256 MiB.
        limit: u64,
    },
    /// The position is before the oldest segment that is kept.
    #[error("log position {wanted} was trimmed, the oldest kept is {oldest}")]
    Trimmed {
        /// The position asked for.
        wanted: Position,
        /// The oldest position that can be read.
        oldest: Position,
    },
    /// Bytes in the middle of the log are not what was written.
    #[error("log segment {path}: damaged frame at byte {offset}: {what}")]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Byte offset in the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file that looks like a segment has another format.
    #[error("{path} is not a log segment of version 1: move it away or choose another folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A probe's name cannot be written into a session.
    #[error("probe name {name:?} is empty or has a line feed")]
    Name {
        /// The name.
        name: String,
    },
    /// Any other failure of the file system.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later: after trimming, or when the disk has space again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NoSpace { .. })
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| {
            if source.kind() == io::ErrorKind::StorageFull {
                Self::NoSpace { path: path.to_owned() }
            } else {
                Self::Io {
                    path: path.to_owned(),
                    source,
                }
            }
        }
    }
}
