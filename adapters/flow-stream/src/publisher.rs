//! Puts the parts' portions together, writes events and checkpoints.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bundle_log::Position;
use flow_cep::Delivery;
use flow_cep::spread::{Merge, Portion};
use serde_json::{Map, Value};

use crate::checkpoint::{Checkpoint, EventsEnd, Head};
use crate::events::{self, EventFile, Keep, is_for_want_of_room};
use crate::item::{FromPart, PartState, Place};
use crate::walk::Resume;
use crate::{Counters, Shared, json};

/// Called with each delivery: statement, the stream's time in ms, and its new rows.
pub type Deliver = Arc<dyn Fn(&str, i64, Vec<Map<String, Value>>) + Send + Sync>;

/// A checkpoint waits at least so many times what the last one took.
const CHECKPOINT_SHARE: u32 = 20;

/// The last operator of the statements.
pub(crate) struct Publisher {
    merge: Merge<Place>,
    events: EventFile,
    deliver: Deliver,
    folder: PathBuf,
    /// By part: the states that it has given, to be put into checkpoints.
    states: Vec<VecDeque<PartState>>,
    wanted: Option<Wanted>,
    checkpointed: Instant,
    /// What the last checkpoint took.
    checkpoint_took: Duration,
    /// The checkpoint that is being written.
    writing: Option<JoinHandle<anyhow::Result<Written>>>,
    shared: Arc<Shared>,
}

/// The checkpoint that the parts' next states belong to.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// Of windows that start empty: written before the first event, so that a run that is killed before its next one finds its
    /// own events again.
    Beginning,
    /// Of a time of the stream, before any event of a later time.
    At(i64),
}

/// A checkpoint that is on the disk.
struct Written {
    /// The oldest place in the log that a restart needs.
    needed: Position,
    /// How long the parts stood still for it and it was written.
    took: Duration,
}

impl Publisher {
    pub(crate) fn open(shared: Arc<Shared>) -> anyhow::Result<Self> {
        let (config, beginning) = (&shared.config, &shared.beginning);
        let keep = Keep {
            file_bytes: config.event_file_bytes,
            total_bytes: config.event_bytes,
        };
        let mut merge = beginning.spread.merge();
        let restored = beginning.restored.as_ref();
        if let Some(restored) = restored {
            merge.restore(&restored.delivered);
        }
        Ok(Self {
            merge,
            events: EventFile::open(
                &config.data.join("events"),
                keep,
                restored.map(|restored| restored.events),
            )?,
            deliver: Arc::clone(&config.deliver),
            folder: config.data.clone(),
            states: vec![VecDeque::new(); beginning.spread.parts()],
            wanted: restored.is_none().then_some(Wanted::Beginning),
            checkpointed: Instant::now(),
            checkpoint_took: Duration::ZERO,
            writing: None,
            shared,
        })
    }

    pub(crate) fn take(&mut self, given: FromPart) {
        match given {
            FromPart::Portion(given) => {
                let portion = Portion {
                    statement: given.statement,
                    time_ms: given.time_ms,
                    row: None,
                    new: given.new.0,
                    old: given.old.0,
                };
                self.merge.add(given.part, portion, given.place);
            }
            FromPart::State(state) => {
                if let Some(states) = self.states.get_mut(state.part) {
                    states.push_back(state);
                }
            }
        }
    }

    /// All parts have come to a time and given all that they had until then.
    pub(crate) fn advance(&mut self, time_ms: i64) -> anyhow::Result<()> {
        if !self.publish_to(time_ms)? {
            return Ok(());
        }
        self.shared.counters.set_time(time_ms);
        if self.wanted.is_some() || self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        self.finish_checkpoint()?;
        // Large windows are written less often, so that they cost no more than a small share of the time.
        let pause = self
            .shared
            .config
            .checkpoint_every
            .max(self.checkpoint_took * CHECKPOINT_SHARE);
        if time_ms > 0 && self.checkpointed.elapsed() >= pause {
            self.wanted = Some(Wanted::At(self.shared.barrier.ask()));
        }
        Ok(())
    }

    /// The parts have ended: publishes what they gave, and returns when a checkpoint of it is on the disk.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let Some(end_ms) = self.shared.end_ms() else {
            return self.finish_checkpoint();
        };
        self.publish_to(end_ms)?;
        self.finish_checkpoint()?;
        self.wanted = Some(Wanted::At(end_ms));
        self.publish_to(end_ms)?;
        self.finish_checkpoint()
    }

    /// Publishes deliveries up to a time; if there is a checkpoint to be taken before, that too. False if it lacks the state of a part.
    fn publish_to(&mut self, time_ms: i64) -> anyhow::Result<bool> {
        let started = Instant::now();
        match self.wanted {
            Some(Wanted::At(at_ms)) if at_ms > time_ms => {}
            Some(wanted) => {
                if let Wanted::At(at_ms) = wanted {
                    self.deliver_to(at_ms)?;
                }
                if self.states.iter().any(VecDeque::is_empty) {
                    return Ok(false);
                }
                let states = self.states.iter_mut().filter_map(VecDeque::pop_front).collect();
                self.wanted = None;
                self.begin_checkpoint(wanted, states)?;
            }
            None => {}
        }
        self.deliver_to(time_ms)?;
        Counters::add_time(&self.shared.counters.statement_ns, started);
        Ok(true)
    }

    fn deliver_to(&mut self, time_ms: i64) -> anyhow::Result<()> {
        while let Some(delivery) = self.merge.next_until(time_ms) {
            self.publish(&delivery)?;
        }
        self.events.flush()
    }

    fn publish(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        let new = json::rows(&delivery.new.to_batch(&delivery.row_type));
        rows.extend(new.iter().cloned().map(|row| (None, row)));
        if !delivery.old.is_empty() {
            let old = json::rows(&delivery.old.to_batch(&delivery.row_type));
            rows.extend(old.into_iter().map(|row| (Some("old"), row)));
        }
        let counters = &self.shared.counters;
        Counters::add(&counters.events, rows.len() as u64);
        counters.count_delivery(&delivery.statement, rows.len() as u64);
        self.events.add(events::Delivery {
            statement: &delivery.statement,
            number: delivery.number,
            time_ms: delivery.time_ms,
            rows: &rows,
        })?;
        (self.deliver)(&delivery.statement, delivery.time_ms, new);
        Ok(())
    }

    /// Has a checkpoint written by a thread of its own: the disk is not waited for, but with the first one, which comes before any
    /// event.
    fn begin_checkpoint(&mut self, wanted: Wanted, states: Vec<PartState>) -> anyhow::Result<()> {
        let started = Instant::now();
        self.checkpointed = started;
        let Some(events) = self.events.sync()? else {
            return Ok(());
        };
        let head = match wanted {
            Wanted::Beginning => Some(self.first_head(events)),
            Wanted::At(time_ms) => self.head(time_ms, &states, events),
        };
        let Some(head) = head else { return Ok(()) };
        let still = states.iter().map(|state| state.took).max().unwrap_or_default();
        let checkpoint = Checkpoint {
            head,
            windows: states.into_iter().map(|state| state.windows).collect(),
        };
        let folder = self.folder.clone();
        if matches!(wanted, Wanted::Beginning) {
            return checkpoint.write(&folder);
        }
        self.writing = Some(std::thread::spawn(move || {
            let needed = checkpoint.needed();
            checkpoint.write(&folder)?;
            Ok(Written {
                needed,
                took: still + started.elapsed(),
            })
        }));
        Ok(())
    }

    /// Of windows that start empty where an earlier run had come to, if there was one.
    fn first_head(&self, events: EventsEnd) -> Head {
        let Resume {
            time_ms,
            watermarks,
            read_to,
        } = self.shared.beginning.resume.clone();
        Head {
            time_ms,
            read_to: read_to.0,
            watermarks,
            needed: self.shared.beginning.needed.0,
            events,
            statements: self.shared.config.statements_id,
            delivered: self.merge.numbers(),
        }
    }

    /// Of a time of the stream; none if not all readers had begun then.
    fn head(&self, time_ms: i64, states: &[PartState], events: EventsEnd) -> Option<Head> {
        let progress: Option<Vec<_>> = states.iter().map(|state| state.progress.as_ref()).collect();
        let last = progress?.into_iter().min_by_key(|progress| progress.position)?;
        let oldest = states.iter().filter_map(|state| state.oldest).min();
        Some(Head {
            time_ms,
            read_to: last.read_to,
            watermarks: last.watermarks.clone(),
            needed: oldest.map_or(last.position, |oldest| oldest.min(last.position)),
            events,
            statements: self.shared.config.statements_id,
            delivered: self.merge.numbers(),
        })
    }

    /// Waits for a checkpoint that is being written, after which the log before its place is not needed here any more.
    fn finish_checkpoint(&mut self) -> anyhow::Result<()> {
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let written = writing
            .join()
            .map_err(|_| anyhow!("the writer of checkpoints panicked"))?;
        match written {
            Ok(written) => {
                self.shared.trim(|needed| needed.statements = written.needed);
                self.checkpoint_took = written.took;
                self.checkpointed = Instant::now();
            }
            Err(error) if is_for_want_of_room(&error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "no checkpoint: a restart goes back to the last one, and the log keeps what that needs"
                );
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
