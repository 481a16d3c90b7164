//! Gathers flows by hour and commits them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use arrow_array::RecordBatch;
use flow_store::parquet::manifest::{BundleRange, Commit, File, Manifest, Sequences};
use flow_store::parquet::partition::{self, Hour};
use flow_store::parquet::writer::{FlowWriter, Place};

use crate::blocks::{Blocks, Pool, Sink};
use crate::dataset::{Dataset, Recovery};
use crate::error::Error;
use crate::retention::{self, Dropped, Retention};

/// How many times `max_rows` may wait while commits fail, before no more is taken.
const BACKLOG_FACTOR: u64 = 2;

/// When files are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Flows that are gathered at most before a commit is due.
    pub max_rows: u64,
    /// Encoded bytes that are gathered at most before a commit is due. They are held in memory.
    pub max_bytes: usize,
    /// Age of the oldest gathered flow at which a commit is due.
    pub max_age_ms: i64,
}

impl Default for Options {
    /// Files of up to two million flows or about 80 MB, and none older than a minute.
    fn default() -> Self {
        Self {
            max_rows: 2 << 20,
            max_bytes: 128 << 20,
            max_age_ms: 60_000,
        }
    }
}

/// What became of a bundle that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Its flows will be in the next commit.
    Taken,
    /// Its flows are committed or gathered already.
    Known,
}

/// What happened since the drain was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Flows committed.
    pub rows: u64,
    /// Bytes of the files committed.
    pub bytes: u64,
    /// Files committed.
    pub files: u64,
    /// Commits.
    pub commits: u64,
    /// Bundles skipped since they were known.
    pub skipped: u64,
    /// Writes to the disk that failed.
    pub errors: u64,
    /// Hours dropped by retention.
    pub dropped_hours: u64,
    /// Flows in the hours dropped.
    pub dropped_rows: u64,
}

/// A dataset that is being written.
#[derive(Debug)]
pub struct Drain {
    dataset: Dataset,
    options: Options,
    recovery: Recovery,
    /// Memory for the files.
    pool: Pool,
    open: BTreeMap<Hour, OpenFile>,
    /// Files that are whole, and whose commit failed so far or is under way.
    closed: Vec<ClosedFile>,
    /// Bundles in open and closed files.
    gathered: BTreeMap<String, Sequences>,
    gathered_rows: u64,
    /// When the oldest gathered bundle came.
    since_ms: Option<i64>,
    /// The encoder failed halfway: what is gathered is not what was handed over, and must never be committed.
    is_spoilt: bool,
    counters: Counters,
}

/// A file of one hour that is being gathered.
#[derive(Debug)]
struct OpenFile {
    writer: FlowWriter<Sink>,
    sink: Sink,
}

/// A whole file that is not yet committed.
#[derive(Debug)]
struct ClosedFile {
    entry: File,
    bytes: Blocks,
}

impl Drain {
    /// Opens the dataset in `folder`, making it if there is none, and cleans up what a crash left. No other process can
    /// open it meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if another process has it open, [`Error::NoManifest`] if there are files that no manifest tells
    /// of, [`Error::Store`] if the manifest is damaged or too new, [`Error::Io`] if the folder cannot be used.
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        let (dataset, recovery) = Dataset::open(folder)?;
        Ok(Self {
            dataset,
            options,
            recovery,
            pool: Pool::default(),
            open: BTreeMap::new(),
            closed: Vec::new(),
            is_spoilt: false,
            gathered: BTreeMap::new(),
            gathered_rows: 0,
            since_ms: None,
            counters: Counters::default(),
        })
    }

    /// What opening the dataset found to clean up.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What is committed: files, and the bundles that the log need not keep for this drain.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.dataset.manifest()
    }

    /// What happened since the drain was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Flows that wait for the next commit.
    #[must_use]
    pub fn gathered_rows(&self) -> u64 {
        self.gathered_rows
    }

    /// Takes the flows of a bundle, all of them at once. Touches no disk. `now_ms` is any clock that does not go back.
    ///
    /// # Errors
    ///
    /// [`Error::Backlog`] if commits have failed for so long that no more can be held, [`Error::Store`] if the batch
    /// does not have the enriched columns; the bundle is then not taken. [`Error::Spoilt`] after a failure of the encoder.
    pub fn append(&mut self, probe: &str, sequence: u64, flows: &RecordBatch, now_ms: i64) -> Result<Appended, Error> {
        let is_gathered = self
            .gathered
            .get(probe)
            .is_some_and(|sequences| sequences.contains(sequence));
        if is_gathered || self.manifest().holds(probe, sequence) {
            self.counters.skipped += 1;
            return Ok(Appended::Known);
        }
        if self.gathered_rows >= self.options.max_rows.saturating_mul(BACKLOG_FACTOR) {
            return Err(Error::Backlog {
                rows: self.gathered_rows,
            });
        }
        if self.is_spoilt {
            return Err(Error::Spoilt);
        }
        FlowWriter::<Sink>::check(
            flows,
            Place {
                bundle: sequence,
                first_row: 0,
            },
        )?;
        self.gather(sequence, flows).inspect_err(|_| self.is_spoilt = true)?;
        match self.gathered.get_mut(probe) {
            Some(sequences) => sequences.insert(sequence, sequence),
            None => self
                .gathered
                .entry(probe.to_owned())
                .or_default()
                .insert(sequence, sequence),
        }
        self.gathered_rows += flows.num_rows() as u64;
        self.since_ms.get_or_insert(now_ms);
        Ok(Appended::Taken)
    }

    /// Hands the flows of a bundle to the files of their hours.
    fn gather(&mut self, sequence: u64, flows: &RecordBatch) -> Result<(), Error> {
        for part in partition::split(flows)? {
            let rows = flows.slice(part.rows.start, part.rows.len());
            let file = match self.open.entry(part.hour) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let sink = Sink::new(&self.pool);
                    entry.insert(OpenFile {
                        writer: FlowWriter::new(sink.clone())?,
                        sink,
                    })
                }
            };
            file.writer.write(
                &rows,
                Place {
                    bundle: sequence,
                    first_row: part.rows.start,
                },
            )?;
        }
        Ok(())
    }

    /// Whether enough is gathered, or for long enough, that it should be committed.
    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        let bytes: usize = self.open.values().map(|file| file.writer.bytes()).sum();
        !self.closed.is_empty()
            || self.gathered_rows >= self.options.max_rows
            || bytes >= self.options.max_bytes
            || self
                .since_ms
                .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= self.options.max_age_ms)
    }

    /// Commits all that is gathered: closes the files of all open hours, writes them, and names them and the bundles that
    /// they hold in one line of the manifest. When this returns without an error, all of it is on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the disk refuses; what was gathered is kept, and the call can be repeated.
    pub fn commit(&mut self) -> Result<(), Error> {
        let outcome = self.try_commit();
        if outcome.is_err() {
            self.counters.errors += 1;
        }
        outcome
    }

    fn try_commit(&mut self) -> Result<(), Error> {
        if self.is_spoilt {
            return Err(Error::Spoilt);
        }
        if self.gathered.is_empty() {
            return Ok(());
        }
        let number = self.manifest().number() + 1;
        for (hour, file) in std::mem::take(&mut self.open) {
            let summary = file.writer.finish().inspect_err(|_| self.is_spoilt = true)?;
            // Counting on from the files that a failed commit left keeps their names and these apart.
            let path = format!("{hour}/{number:010}-{}.parquet", self.closed.len());
            let entry = File {
                path,
                rows: summary.rows,
                bytes: summary.bytes,
                first_ms: summary.first_ms,
                last_ms: summary.last_ms,
            };
            self.closed.push(ClosedFile {
                entry,
                bytes: file.sink.take(),
            });
        }
        for file in &self.closed {
            self.dataset.publish(&file.entry.path, &file.bytes)?;
        }
        let bundles = self.gathered.iter().flat_map(|(probe, sequences)| {
            sequences.ranges().map(|(first, last)| BundleRange {
                probe: probe.clone(),
                first,
                last,
            })
        });
        let add: Vec<File> = self.closed.iter().map(|file| file.entry.clone()).collect();
        let commit = Commit::new(number, add, Vec::new(), bundles.collect());
        self.dataset.commit(&commit)?;

        self.counters.commits += 1;
        self.counters.files += commit.add.len() as u64;
        self.counters.rows += commit.add.iter().map(|file| file.rows).sum::<u64>();
        self.counters.bytes += commit.add.iter().map(|file| file.bytes).sum::<u64>();
        self.closed.clear();
        self.gathered.clear();
        self.gathered_rows = 0;
        self.since_ms = None;
        self.dataset.shorten_manifest()
    }

    /// Drops the oldest hours as `retention` wants it, and says which and why. The newest hour always stays.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the disk refuses; the hours that are gone from the manifest are dropped all the same, their files
    /// at the latest by the next start.
    pub fn retain(&mut self, retention: &Retention, now_ms: i64) -> Result<Vec<Dropped>, Error> {
        let outcome = retention::apply(&mut self.dataset, retention, now_ms, &mut self.counters);
        if outcome.is_err() {
            self.counters.errors += 1;
        }
        outcome
    }

    /// Bytes that can still be written to the disk of the dataset.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system does not tell.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        self.dataset.free_bytes()
    }

    /// Where the dataset lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dataset.root()
    }
}

#[cfg(test)]
mod tests;
