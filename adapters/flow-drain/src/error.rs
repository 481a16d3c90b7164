//! What can go wrong on the way to the disk.

use std::io;
use std::path::{Path, PathBuf};

/// Why a dataset was not opened or flows were not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file or folder failed.
    #[error("{action} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the dataset open.
    #[error("{} is in use by another process: stop that one, or choose another data folder", path.display())]
    InUse {
        /// The dataset.
        path: PathBuf,
    },
    /// There are Parquet files, but no manifest that tells which of them count.
    #[error(
        "{} holds Parquet files ({}) but no manifest: restore _manifest.jsonl, or move the files away",
        path.display(), example.display()
    )]
    NoManifest {
        /// The dataset.
        path: PathBuf,
        /// One of the files.
        example: PathBuf,
    },
    /// So much waits to be committed that no more can be taken.
    #[error("{rows} flows wait to be committed, no more can be taken until a commit succeeds")]
    Backlog {
        /// How many flows wait.
        rows: u64,
    },
    /// The encoder failed while a bundle was being taken: what is in memory cannot be trusted.
    #[error("an earlier failure left a bundle half taken: open the dataset again and feed it from its last commit")]
    Spoilt,
    /// A format is damaged or too new, or a batch has other columns.
    #[error(transparent)]
    Store(#[from] flow_store::Error),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the same call can succeed later: the disk may have room again, the folder its permission.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } | Self::InUse { .. } | Self::Backlog { .. } => true,
            Self::NoManifest { .. } | Self::Spoilt => false,
            Self::Store(error) => error.is_retryable(),
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or let older hours be dropped (retention), it will be tried again"
        }
        io::ErrorKind::PermissionDenied => "; give this user the right to write there, it will be tried again",
        io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, it will be tried again",
        _ => "",
    }
}
