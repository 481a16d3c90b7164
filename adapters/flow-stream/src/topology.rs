//! The timely dataflow: read and resolve on every worker, statements and drain each on one.
//!
//! ```text
//! worker 0        worker 1  …
//! walk            walk            each along the whole log, unpacking the bundles that no other has taken
//! resolve         resolve
//!   │  exchange     │
//!   ├───────────────┤
//!   ▼               ▼
//! combine         drain           the first worker, and the last
//! statements
//! ```
//!
//! The timestamps are the stream's time in ms; its frontier at `combine` is the time before which all flows are there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bundle_log::Position;
use flow_drain::Drain;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OperatorInfo;
use timely::dataflow::operators::generic::operator::{Operator, source};
use timely::scheduling::Activator;
use timely::worker::Worker;

use crate::checkpoint::Checkpoint;
use crate::item::{Batch, Flows, Item};
use crate::statements::{Reached, Statements};
use crate::walk::{Packed, Resume, Step, Walk};
use crate::{Counters, Shared};

type Time = u64;
type Output = CapacityContainerBuilder<Vec<Item>>;

/// Frames read in one go before other operators get their turn.
const FRAMES_PER_TURN: usize = 16;
/// Flows on their way between workers past which reading waits.
const MAX_FLOWS_UNDER_WAY: usize = 1 << 20;
/// Bytes of the log that a reader may be ahead of the slowest: what it finds there waits in memory until that one has
/// come as far.
const MAX_BYTES_AHEAD: u64 = 16 << 20;
/// How long a reader waits for flows on their way or for a slower reader.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a reader at the end of the log looks for more.
const POLL: Duration = Duration::from_millis(10);
/// How often the drain looks at its clock, and tries again what failed.
const DRAIN_TICK: Duration = Duration::from_millis(250);

fn to_time(ms: i64) -> Time {
    Time::try_from(ms).unwrap_or(0)
}

fn to_ms(time: Time) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Builds the dataflow on one worker.
pub(crate) fn build(worker: &mut Worker, shared: &Arc<Shared>, checkpoint: Option<&Arc<Checkpoint>>) {
    let (index, peers) = (worker.index(), worker.peers());
    let resume = checkpoint.map(|checkpoint| checkpoint.resume());
    worker.dataflow::<Time, _, _>(|scope| {
        let reading = Arc::clone(shared);
        let flows: Stream<'_, Time, Vec<Item>> = source(scope, "Read and resolve", |capability, info: OperatorInfo| {
            let activator = scope.activator_for(info.address);
            let mut reader = Reader::open(reading, index, resume, capability, activator);
            move |output| reader.turn(|capability, item| output.session(capability).give(item))
        });

        let activations = scope;
        let stating = Arc::clone(shared);
        let statements =
            (index == 0).then(|| Statements::open(Arc::clone(shared), peers, checkpoint.map(AsRef::as_ref)));
        flows.clone().unary_frontier::<Output, _, _, _>(
            Exchange::new(|_: &Item| 0),
            "Combine and state",
            move |_, info| {
                let activator = activations.activator_for(info.address);
                let mut statements = match statements.transpose() {
                    Ok(statements) => statements,
                    Err(error) => {
                        stating.fail(error);
                        None
                    }
                };
                let mut finished = false;
                move |(input, frontier), _| {
                    let Some(statements) = statements.as_mut() else {
                        input.for_each(|_, items| items.clear());
                        return;
                    };
                    let mut work = || -> anyhow::Result<()> {
                        let mut result = Ok(());
                        input.for_each(|_, items| {
                            for item in items.drain(..) {
                                if result.is_ok() {
                                    result = take(statements, &stating, item);
                                }
                            }
                        });
                        result?;
                        match frontier.frontier().first() {
                            Some(&time) => {
                                statements.advance(to_ms(time))?;
                                statements.checkpoint_if_due()?;
                                activator.activate_after(DRAIN_TICK);
                            }
                            None if !finished => {
                                finished = true;
                                statements.checkpoint()?;
                            }
                            None => {}
                        }
                        stating
                            .counters
                            .held_bundles
                            .store(statements.held_bundles() as u64, Ordering::Relaxed);
                        Ok(())
                    };
                    if let Err(error) = work() {
                        stating.fail(error.context("statements"));
                    }
                }
            },
        );

        let activations = scope;
        let draining = Arc::clone(shared);
        let last = peers as u64 - 1;
        flows.unary_frontier::<Output, _, _, _>(Exchange::new(move |_: &Item| last), "Drain", move |_, info| {
            let activator = activations.activator_for(info.address);
            let mut drain = (index as u64 == last)
                .then(|| Draining::new(Arc::clone(&draining), peers))
                .flatten();
            move |(input, frontier), _| {
                let Some(drain) = drain.as_mut() else {
                    input.for_each(|_, items| items.clear());
                    return;
                };
                input.for_each(|_, items| drain.waiting.extend(items.drain(..)));
                let is_finished = frontier.frontier().is_empty();
                match drain.work(is_finished) {
                    Ok(true) => activator.activate_after(DRAIN_TICK),
                    Ok(false) => {}
                    Err(error) => draining.fail(error.context("drain")),
                }
            }
        });
    });
}

fn take(statements: &mut Statements, shared: &Shared, item: Item) -> anyhow::Result<()> {
    match item {
        Item::Flows(flows) => {
            shared.arrived(flows.batch.0.num_rows());
            statements.take(flows)
        }
        Item::Progress {
            worker,
            read_to,
            watermarks,
        } => {
            statements.reached(
                worker,
                Reached {
                    read_to: Position(read_to),
                    watermarks,
                },
            );
            Ok(())
        }
    }
}

/// The source: walks along the log and resolves.
struct Reader {
    shared: Arc<Shared>,
    index: usize,
    walk: Option<Walk>,
    capability: Option<Capability<Time>>,
    activator: Activator,
    told: Option<Position>,
}

impl Reader {
    fn open(
        shared: Arc<Shared>,
        index: usize,
        resume: Option<Resume>,
        capability: Capability<Time>,
        activator: Activator,
    ) -> Self {
        let walk = match Walk::new(&shared.config.log_folder, shared.config.tail.clone(), resume) {
            Ok(walk) => Some(walk),
            Err(error) => {
                shared.fail(anyhow!(error).context("log"));
                None
            }
        };
        Self {
            shared,
            index,
            walk,
            capability: Some(capability),
            activator,
            told: None,
        }
    }

    fn turn(&mut self, mut give: impl FnMut(&Capability<Time>, Item)) {
        let (Some(walk), Some(capability)) = (self.walk.as_mut(), self.capability.as_mut()) else {
            return;
        };
        if self.shared.is_stopping() {
            self.capability = None;
            return;
        }
        let (mut at_end, mut must_wait) = (false, false);
        for _ in 0..FRAMES_PER_TURN {
            if self.shared.under_way() >= MAX_FLOWS_UNDER_WAY
                || self.shared.share.bytes_ahead(walk.position()) > MAX_BYTES_AHEAD
            {
                must_wait = true;
                break;
            }
            let started = Instant::now();
            match walk.step() {
                Ok(Step::Bundle(packed)) => {
                    if self.shared.share.take(packed.position(), packed.next()) {
                        match flows(&self.shared, *packed, started) {
                            Ok(flows) => {
                                self.shared.departed(flows.batch.0.num_rows());
                                give(capability, Item::Flows(flows));
                            }
                            Err(error) => {
                                Counters::add(&self.shared.counters.damaged, 1);
                                tracing::error!(error = format!("{error:#}"), "bundle left out");
                            }
                        }
                    }
                }
                Ok(Step::Moved) => {}
                Ok(Step::Damaged(what)) => {
                    if self.index == 0 {
                        Counters::add(&self.shared.counters.damaged, 1);
                        tracing::error!(what, "part of the log left out");
                    }
                }
                Ok(Step::End) => {
                    at_end = true;
                    break;
                }
                Err(error) => {
                    self.shared.fail(anyhow!(error).context("log"));
                    self.capability = None;
                    return;
                }
            }
        }
        self.shared.share.walked(self.index, walk.position());
        if self.told != Some(walk.position()) {
            self.told = Some(walk.position());
            let progress = Item::Progress {
                worker: self.index,
                read_to: walk.position().0,
                watermarks: walk.watermarks().clone(),
            };
            give(capability, progress);
        }
        let time = to_time(walk.time_ms());
        if time > *capability.time() {
            capability.downgrade(&time);
        }
        if at_end && (walk.tail().is_closed() || self.shared.config.stop_at_end) {
            self.capability = None;
        } else if at_end {
            self.activator.activate_after(POLL);
        } else if must_wait {
            self.activator.activate_after(PAUSE);
        } else {
            self.activator.activate();
        }
    }
}

/// Unpacks and resolves a bundle.
fn flows(shared: &Shared, packed: Packed, started: Instant) -> anyhow::Result<Flows> {
    let position = packed.position();
    let (probe, sequence) = (
        Arc::clone(&packed.metadata.header.probe),
        packed.metadata.header.sequence,
    );
    let counters = &shared.counters;
    let bundle = packed
        .unpack()
        .with_context(|| format!("bundle {sequence} of probe {probe}"))?;
    Counters::add_time(&counters.read_ns, started);
    let resolving = Instant::now();
    let resolver = shared.config.resolver.current();
    let batch = shared.enrichment.resolve(&resolver, bundle.batch())?;
    Counters::add_time(&counters.resolve_ns, resolving);
    Counters::add(&counters.read_flows, batch.num_rows() as u64);
    Ok(Flows {
        position: position.0,
        probe,
        sequence,
        batch: Batch(batch),
    })
}

/// The drain and what waits for it.
struct Draining {
    shared: Arc<Shared>,
    drain: Drain,
    waiting: VecDeque<Item>,
    /// Up to where each worker has handed on its bundles.
    reached: Vec<Option<Position>>,
    started: Instant,
    retained: Option<Instant>,
    retry: Option<Instant>,
    is_finished: bool,
}

impl Draining {
    fn new(shared: Arc<Shared>, peers: usize) -> Option<Self> {
        let folder = shared.config.data.join("flows");
        match Drain::open(&folder, shared.config.drain) {
            Ok(drain) => {
                let recovery = drain.recovery();
                for path in &recovery.removed {
                    tracing::info!(path = %path.display(), "unfinished file removed");
                }
                for path in &recovery.missing {
                    tracing::error!(path = %path.display(), "file of the manifest is missing");
                }
                Some(Self {
                    shared,
                    drain,
                    waiting: VecDeque::new(),
                    reached: vec![None; peers],
                    started: Instant::now(),
                    retained: None,
                    retry: None,
                    is_finished: false,
                })
            }
            Err(error) => {
                shared.fail(anyhow!(error).context("drain"));
                None
            }
        }
    }

    /// Takes what it can and commits what is due. Says whether it wants to be called again soon.
    fn work(&mut self, is_last: bool) -> anyhow::Result<bool> {
        let started = Instant::now();
        let now_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        if self.retry.is_some_and(|retry| started < retry) {
            return Ok(true);
        }
        self.retry = None;
        while let Some(item) = self.waiting.pop_front() {
            match item {
                Item::Progress { worker, read_to, .. } => {
                    if let Some(reached) = self.reached.get_mut(worker) {
                        *reached = Some(Position(read_to));
                    }
                }
                Item::Flows(flows) => {
                    match self.drain.append(&flows.probe, flows.sequence, &flows.batch.0, now_ms) {
                        Ok(_) => self.shared.arrived(flows.batch.0.num_rows()),
                        Err(error) if error.is_retryable() => {
                            self.waiting.push_front(Item::Flows(flows));
                            if !self.commit(started)? {
                                return Ok(true);
                            }
                        }
                        Err(error) => return Err(error.into()),
                    }
                    if self.drain.is_due(now_ms) && !self.commit(started)? {
                        return Ok(true);
                    }
                }
            }
        }
        Counters::add_time(&self.shared.counters.drain_ns, started);
        if (self.drain.is_due(now_ms) || is_last && !self.is_finished) && !self.commit(started)? {
            return Ok(!is_last);
        }
        self.is_finished |= is_last;
        if self
            .retained
            .is_none_or(|retained| retained.elapsed() >= self.shared.config.retain_every)
        {
            self.retained = Some(started);
            let wall_ms = self.shared.counters.time_ms.load(Ordering::Relaxed);
            for dropped in self.drain.retain(&self.shared.config.retention, wall_ms)? {
                tracing::warn!(hour = %dropped.hour, rows = dropped.rows, bytes = dropped.bytes, reason = ?dropped.reason, "old hour dropped");
            }
        }
        Ok(!is_last)
    }

    /// Commits, and then lets the log go as far as it can. A full disk is told and tried again later.
    fn commit(&mut self, now: Instant) -> anyhow::Result<bool> {
        match self.drain.commit() {
            Ok(()) => {
                *self
                    .shared
                    .counters
                    .drain
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = self.drain.counters();
                if self.waiting.iter().all(|item| matches!(item, Item::Progress { .. }))
                    && let Some(reached) = self.reached.iter().copied().collect::<Option<Vec<_>>>()
                    && let Some(lowest) = reached.into_iter().min()
                {
                    self.shared.trim(|needed| needed.drain = lowest);
                }
                Ok(true)
            }
            Err(error) if error.is_retryable() => {
                *self
                    .shared
                    .counters
                    .drain
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = self.drain.counters();
                tracing::error!(%error, "flows not stored yet; the log keeps them and this is tried again");
                self.retry = Some(now + Duration::from_secs(1));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
