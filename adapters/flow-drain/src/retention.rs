//! Which hours are dropped, and how: first from the manifest, then from the disk.

use std::collections::BTreeMap;
use std::fmt;

use flow_store::parquet::manifest::{Commit, File};
use flow_store::parquet::partition::Hour;

use crate::dataset::Dataset;
use crate::drain::Counters;
use crate::error::Error;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Hours that ended longer ago than this are dropped.
    pub max_age_ms: Option<i64>,
    /// The oldest hours are dropped while all files together have more bytes than this.
    pub max_bytes: Option<u64>,
    /// The oldest hours are dropped while the disk has less free bytes than this.
    pub min_free_bytes: u64,
}

/// Why an hour was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was too old.
    Age,
    /// All files together were too large.
    Size,
    /// The disk had too little room.
    FreeSpace,
}

/// An hour that was dropped. Displayed as a line for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Which hour.
    pub hour: Hour,
    /// Why.
    pub reason: Reason,
    /// Flows in it.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            Reason::Age => "is older than is kept",
            Reason::Size => "made the dataset larger than is kept",
            Reason::FreeSpace => "left the disk less room than is kept free",
        };
        write!(
            f,
            "dropped {} ({} flows, {} bytes), which {why}",
            self.hour, self.rows, self.bytes
        )
    }
}

pub(crate) fn apply(
    dataset: &mut Dataset,
    retention: &Retention,
    now_ms: i64,
    counters: &mut Counters,
) -> Result<Vec<Dropped>, Error> {
    let mut hours: BTreeMap<Hour, Vec<File>> = BTreeMap::new();
    for file in dataset.manifest().files() {
        if let Some(hour) = Hour::from_path(&file.path) {
            hours.entry(hour).or_default().push(file.clone());
        }
    }
    let mut total: u64 = dataset.manifest().files().map(|file| file.bytes).sum();
    let mut dropped = Vec::new();
    while hours.len() > 1
        && let Some((hour, files)) = hours.pop_first()
    {
        let is_old = retention
            .max_age_ms
            .is_some_and(|age| hour.span_ms().end < now_ms.saturating_sub(age));
        let reason = if is_old {
            Reason::Age
        } else if retention.max_bytes.is_some_and(|bytes| total > bytes) {
            Reason::Size
        } else if dataset.free_bytes()? < retention.min_free_bytes {
            Reason::FreeSpace
        } else {
            break;
        };
        let (rows, bytes) = files
            .iter()
            .fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        let paths: Vec<String> = files.into_iter().map(|file| file.path).collect();
        let number = dataset.manifest().number() + 1;
        dataset.commit_with_reserve(&Commit::new(number, Vec::new(), paths.clone(), Vec::new()))?;
        counters.dropped_hours += 1;
        counters.dropped_rows += rows;
        total -= bytes;
        dropped.push(Dropped {
            hour,
            reason,
            rows,
            bytes,
        });
        for path in &paths {
            dataset.remove(path)?;
        }
    }
    if !dropped.is_empty() {
        dataset.keep_reserve();
        dataset.shorten_manifest()?;
    }
    Ok(dropped)
}
