//! What can go wrong when flows are packed, unpacked, written or read.

use thiserror::Error as ThisError;

/// Why a bundle, a batch or a manifest was refused, or a write failed.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a bundle, or a damaged one.
    #[error("bundle: {what} at byte {offset}")]
    Bundle {
        /// Where in the bundle's bytes.
        offset: usize,
        /// What is wrong there.
        what: String,
    },
    /// The format is newer than this program.
    #[error("{what}: format version {found}, this program reads up to {supported}")]
    Version {
        /// Which format.
        what: &'static str,
        /// The version that was found.
        found: u32,
        /// The newest version that is understood.
        supported: u32,
    },
    /// The bytes are not a flow key.
    #[error("flow key: {what} at byte {offset}")]
    Key {
        /// Where in the key.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The manifest is damaged before its end, where a crash cannot have cut it.
    #[error("manifest: line {line}: {what}")]
    Manifest {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Writing to the sink failed.
    #[error("write: {0}")]
    Write(#[source] std::io::Error),
    /// The Parquet encoder refused.
    #[error("parquet: {0}")]
    Parquet(#[source] parquet::errors::ParquetError),
    /// A batch does not have the columns or values that its place demands.
    #[error("batch: {0}")]
    Batch(String),
}

impl Error {
    /// Whether the same call can succeed later without a change of its input: a full disk, a lost connection.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Write(_) => true,
            Self::Bundle { .. }
            | Self::Version { .. }
            | Self::Key { .. }
            | Self::Manifest { .. }
            | Self::Parquet(_)
            | Self::Batch(_) => false,
        }
    }
}

impl From<parquet::errors::ParquetError> for Error {
    /// The writer wraps the sink's own errors; they are taken out again, as they are the ones worth a retry.
    fn from(error: parquet::errors::ParquetError) -> Self {
        match error {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(inner) => Self::Write(*inner),
                Err(inner) => Self::Parquet(parquet::errors::ParquetError::External(inner)),
            },
            error => Self::Parquet(error),
        }
    }
}
