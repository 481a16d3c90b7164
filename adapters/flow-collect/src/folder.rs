//! The data folder: one process at a time.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};

/// A data folder that no other process may use meanwhile.
#[derive(Debug)]
pub struct FolderLock {
    _lock: Flock<File>,
}

impl FolderLock {
    /// Keeps other processes from the folder until this is dropped.
    ///
    /// # Errors
    /// If another process uses the folder, or it cannot be written.
    pub fn take(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(_) => bail!(
                "another process uses {}: stop it, or choose another folder with --data",
                data.display()
            ),
        }
    }
}
