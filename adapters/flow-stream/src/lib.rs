//! Stream processor: combine, resolve, statements and drain on timely workers.
//!
//! It reads the log from the oldest frame kept, resolves every bundle's addresses, feeds the statements in one order
//! (time, then place) and drains every flow to the Parquet dataset. A checkpoint holds the statements' windows together
//! with the place in the log that they belong to; the dataset's manifest names the bundles that it holds. So a process
//! that is killed at any moment and started again stores each flow once and reports the same events.

mod barrier;
mod beginning;
mod checkpoint;
mod claims;
mod combine;
mod counters;
mod draining;
mod events;
mod item;
mod json;
mod part;
mod publisher;
mod reader;
mod topology;
mod walk;
mod watermarks;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bundle_log::{Position, Tail, Trimmer};
use flow_cep::{Limits, Spread};
use flow_drain::Retention;
use flow_enrich::{AddressColumns, Enrichment, Resolver};
use flow_store::schema;
use timely::communication::WorkerGuards;

pub use counters::Counters;
pub use publisher::Deliver;
pub use topology::EVENT_TYPE;

use barrier::Barrier;
use beginning::Beginning;
use checkpoint::Checkpoint;
use claims::Claims;

/// The resolver in force; a new one takes its place between two bundles.
#[derive(Debug)]
pub struct CurrentResolver(Mutex<Arc<Resolver>>);

impl CurrentResolver {
    /// Begins with `resolver`.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self(Mutex::new(Arc::new(resolver)))
    }

    /// The resolver in force. Taken once per bundle, so that a bundle is never resolved by halves of two lists.
    #[must_use]
    pub fn current(&self) -> Arc<Resolver> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new resolver in force.
    pub fn replace(&self, resolver: Resolver) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(resolver);
    }
}

/// What a stream processor needs to run.
pub struct Config {
    /// The folder of the log.
    pub log_folder: PathBuf,
    /// The end of the log.
    pub tail: Tail,
    /// Deletes what is no longer needed of the log.
    pub trimmer: Trimmer,
    /// The folder that holds `flows/`, `events/` and the checkpoint.
    pub data: PathBuf,
    /// Worker threads.
    pub workers: usize,
    /// Where addresses belong.
    pub resolver: Arc<CurrentResolver>,
    /// Spreads the statements over so many parts.
    pub spread: Box<dyn Fn(NonZeroUsize) -> Spread + Send + Sync>,
    /// What each part of the statements holds at most.
    pub limits: Limits,
    /// Tells these statements from others: windows are kept over a restart only if it is the same.
    pub statements_id: u32,
    /// Called with each delivery.
    pub deliver: Deliver,
    /// How files of the dataset are closed.
    pub drain: flow_drain::Options,
    /// How long flows are kept.
    pub retention: Retention,
    /// How often old hours are looked for.
    pub retain_every: Duration,
    /// How often the windows are checkpointed.
    pub checkpoint_every: Duration,
    /// Bytes at which an event file is closed.
    pub event_file_bytes: u64,
    /// Most bytes of all event files.
    pub event_bytes: u64,
    /// End when the end of the log is reached, instead of waiting for more.
    pub stop_at_end: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("log_folder", &self.log_folder)
            .field("data", &self.data)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

/// What the workers share.
pub(crate) struct Shared {
    config: Config,
    enrichment: Enrichment,
    counters: Arc<Counters>,
    stopping: AtomicBool,
    under_way: AtomicUsize,
    claims: Claims,
    beginning: Beginning,
    barrier: Barrier,
    /// Where the log ended when this run began.
    replayed_to: Position,
    needed: Mutex<Needed>,
    failure: Mutex<Option<anyhow::Error>>,
}

/// The oldest places in the log that are still needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed {
    statements: Position,
    drain: Position,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends the run with an error; the first one counts.
    fn fail(&self, error: anyhow::Error) {
        tracing::error!(error = format!("{error:#}"), "stream processor stops");
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// When all readers have ended: the time of the stream that the last checkpoint is of. None if nothing came, or after a failure: what
    /// the statements hold then may be of no time of the stream, and what was to be published may be missing.
    fn end_ms(&self) -> Option<i64> {
        let end_ms = self.barrier.end_ms().filter(|&end_ms| end_ms > 0);
        end_ms.filter(|_| !self.has_failed())
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Flows left for a part of the statements or for the drain.
    fn departed(&self, rows: usize) {
        self.under_way.fetch_add(rows, Ordering::Relaxed);
    }

    /// Flows arrived there.
    fn arrived(&self, rows: usize) {
        self.under_way.fetch_sub(rows, Ordering::Relaxed);
    }

    /// One of the halves needs less of the log than before.
    fn trim(&self, change: impl FnOnce(&mut Needed)) {
        let mut needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut needed);
        let lowest = needed.statements.min(needed.drain);
        drop(needed);
        if let Err(error) = self.config.trimmer.trim(lowest) {
            tracing::error!(%error, "log not trimmed");
        }
    }
}

/// Stops a stream processor.
pub struct Stopper(Arc<Shared>);

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    /// Makes the workers stop where they are: checkpoint and commit, and leave the rest of the log to the next run.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }
}

/// A running stream processor.
pub struct Stream {
    shared: Arc<Shared>,
    workers: WorkerGuards<()>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

/// Where the log must at least begin so that its positions are not taken for ones that were read before.
///
/// # Errors
/// If the checkpoint in `data` cannot be read.
pub fn log_start(data: &std::path::Path) -> anyhow::Result<Position> {
    Ok(Checkpoint::read(data)?.map_or_else(Position::default, |checkpoint| checkpoint.resume().read_to))
}

impl Stream {
    /// Starts the workers.
    ///
    /// # Errors
    /// If the checkpoint cannot be read or the threads cannot be made. Later failures come out of [`join`](Self::join).
    pub fn start(mut config: Config, counters: Arc<Counters>) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::read(&config.data)?;
        let enrichment = Enrichment::new(
            &schema::flow_schema(),
            &[
                AddressColumns {
                    address: schema::SRC_ADDR,
                    internal: schema::SRC_INTERNAL,
                    subnet: schema::SRC_SUBNET,
                    router: schema::SRC_ROUTER,
                    interface: schema::SRC_INTERFACE,
                    vlan: schema::SRC_VLAN,
                },
                AddressColumns {
                    address: schema::DST_ADDR,
                    internal: schema::DST_INTERNAL,
                    subnet: schema::DST_SUBNET,
                    router: schema::DST_ROUTER,
                    interface: schema::DST_INTERFACE,
                    vlan: schema::DST_VLAN,
                },
            ],
        )?;
        config.workers = config.workers.max(1);
        let workers = config.workers;
        let beginning = Beginning::new(&config, checkpoint.as_ref());
        drop(checkpoint);
        let shared = Arc::new(Shared {
            replayed_to: config.tail.position(),
            config,
            enrichment,
            counters,
            stopping: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            claims: Claims::new(workers),
            barrier: Barrier::new(beginning.spread.parts(), workers, beginning.resume.time_ms),
            beginning,
            needed: Mutex::default(),
            failure: Mutex::default(),
        });
        let building = Arc::clone(&shared);
        let workers = timely::execute(timely::Config::process(workers), move |worker| {
            topology::build(worker, &building);
        })
        .map_err(|error| anyhow!(error))
        .context("stream workers")?;
        Ok(Self { shared, workers })
    }

    /// Whether a failure has made the workers stop.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// A handle that stops the workers from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Waits for the workers to end: after [`Stopper::stop`], at the end of a closed log, or after a failure.
    ///
    /// # Errors
    /// What made the workers stop, if it was a failure.
    pub fn join(self) -> anyhow::Result<()> {
        for result in self.workers.join() {
            result.map_err(|error| anyhow!("a stream worker died: {error}"))?;
        }
        match self
            .shared
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
