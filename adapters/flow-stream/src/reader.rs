//! The source of the dataflow: walks along the log and resolves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use arrow_array::TimestampMillisecondArray;
use bundle_log::Position;
use flow_store::schema;
use timely::dataflow::operators::Capability;
use timely::scheduling::Activator;

use crate::item::{Batch, Flows, Item, Progress};
use crate::topology::{Time, to_time};
use crate::walk::{Packed, Step, Walk};
use crate::{Counters, Shared};

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

/// One worker's reader.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    index: usize,
    walk: Option<Walk>,
    capability: Option<Capability<Time>>,
    activator: Activator,
    told: Option<Position>,
}

impl Reader {
    pub(crate) fn open(shared: Arc<Shared>, index: usize, capability: Capability<Time>, activator: Activator) -> Self {
        let (config, resume) = (&shared.config, shared.beginning.resume.clone());
        let walk = match Walk::new(&config.log_folder, config.tail.clone(), resume) {
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

    /// Reads some frames and gives what they hold.
    pub(crate) fn turn(&mut self, mut give: impl FnMut(&Capability<Time>, Item)) {
        let (Some(walk), Some(capability)) = (self.walk.as_mut(), self.capability.as_mut()) else {
            return;
        };
        if self.shared.is_stopping() {
            self.shared.barrier.end(self.index, walk.time_ms());
            self.capability = None;
            return;
        }
        if self.told.is_none() {
            self.told = Some(walk.position());
            give(capability, Item::Progress(progress(self.index, walk)));
        }
        let (mut at_end, mut must_wait) = (false, false);
        for _ in 0..FRAMES_PER_TURN {
            if self.shared.under_way() >= MAX_FLOWS_UNDER_WAY
                || self.shared.claims.bytes_ahead(walk.position()) > MAX_BYTES_AHEAD
            {
                must_wait = true;
                break;
            }
            let started = Instant::now();
            // The statements may have been told that no flow before this time will come.
            let past_ms = walk.time_ms().max(self.shared.beginning.resume.time_ms);
            match walk.step() {
                Ok(Step::Bundle(packed)) => {
                    if self.shared.claims.take(packed.position(), packed.next()) {
                        match flows(&self.shared, *packed, past_ms, started) {
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
        self.shared.claims.walked(self.index, walk.position());
        if self.told != Some(walk.position()) {
            self.told = Some(walk.position());
            give(capability, Item::Progress(progress(self.index, walk)));
        }
        let time = to_time(walk.time_ms());
        if time > *capability.time() {
            capability.downgrade(&time);
        }
        if at_end && (walk.tail().is_closed() || self.shared.config.stop_at_end) {
            self.shared.barrier.end(self.index, walk.time_ms());
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

fn progress(worker: usize, walk: &Walk) -> Progress {
    Progress {
        worker,
        position: walk.position().0,
        read_to: walk.read_to().0,
        watermarks: walk.watermarks().clone(),
    }
}

/// Unpacks and resolves a bundle. Flows before `past_ms` are too late for the statements, or went into the windows of an earlier run.
fn flows(shared: &Shared, packed: Packed, past_ms: i64, started: Instant) -> anyhow::Result<Flows> {
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
    let times = batch
        .column_by_name(schema::TIME)
        .and_then(|times| times.as_any().downcast_ref::<TimestampMillisecondArray>())
        .context("flows without time")?;
    let passed = times.values().partition_point(|&time| time < past_ms);
    // What an earlier run has had is late in a replay, and no loss.
    if position >= shared.replayed_to {
        Counters::add(&counters.late_flows, passed as u64);
    }
    Ok(Flows {
        position: position.0,
        probe,
        sequence,
        passed,
        batch: Batch(batch),
    })
}
