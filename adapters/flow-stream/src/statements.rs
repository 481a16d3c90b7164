//! The half that runs statements: flows in, in one order; events out; checkpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bundle_log::Position;
use flow_cep::Engine;
use flow_store::schema;
use serde_json::{Map, Value};

use crate::checkpoint::{Checkpoint, EventsEnd, Head};
use crate::combine::Combiner;
use crate::events::{Delivery, EventFile, Keep, is_for_want_of_room};
use crate::item::Flows;
use crate::json;
use crate::watermarks::Watermarks;
use crate::{Counters, Shared};

/// Called with each delivery: statement, the stream's time in ms, and its new rows.
pub type Deliver = Arc<dyn Fn(&str, i64, Vec<Map<String, Value>>) + Send + Sync>;

/// A checkpoint waits at least so many times what the last one took.
const CHECKPOINT_SHARE: u32 = 20;

/// How far the workers have read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    pub(crate) read_to: Position,
    pub(crate) watermarks: Watermarks,
}

/// A place in the stream and in the log.
#[derive(Clone, Debug, Default)]
struct Place {
    time_ms: i64,
    reached: Reached,
    needed: Position,
}

/// Runs the statements on one worker.
pub(crate) struct Statements {
    combiner: Combiner,
    /// Made when the stream's first time is known: timers are anchored there.
    engine: Option<Engine>,
    /// Where windows that start empty begin: written as a checkpoint before the first event, so that a run that is killed before
    /// its next one finds its own events again.
    beginning: Option<Place>,
    events: EventFile,
    deliver: Deliver,
    folder: PathBuf,
    time_ms: i64,
    /// What each worker has handed on.
    reached: Vec<Option<Reached>>,
    checkpointed: Instant,
    /// What the last checkpoint took.
    checkpoint_took: Duration,
    checkpoint_every: Duration,
    /// The checkpoint that is being written.
    writing: Option<JoinHandle<anyhow::Result<Written>>>,
    shared: Arc<Shared>,
}

/// A checkpoint that is on the disk.
struct Written {
    /// The oldest place in the log that a restart needs.
    needed: Position,
    /// From when the state was taken.
    took: Duration,
}

impl Statements {
    pub(crate) fn open(shared: Arc<Shared>, workers: usize, checkpoint: Option<&Checkpoint>) -> anyhow::Result<Self> {
        let config = &shared.config;
        let (mut engine, mut time_ms, mut end) = (None, 0, None);
        let mut beginning = Some(Place::default());
        if let Some(checkpoint) = checkpoint {
            time_ms = checkpoint.head.time_ms;
            let mut made = (config.engine)(time_ms);
            let restored = if checkpoint.head.statements == config.statements_id {
                made.restore(&checkpoint.engine).map_err(|error| error.to_string())
            } else {
                Err("the statements have changed".to_owned())
            };
            match restored {
                Ok(()) => {
                    end = Some(checkpoint.head.events);
                    beginning = None;
                }
                Err(reason) => {
                    tracing::warn!(
                        reason,
                        "the windows of the last run are left, all statements start empty"
                    );
                    made = (config.engine)(time_ms);
                    let resume = checkpoint.resume();
                    beginning = Some(Place {
                        time_ms,
                        reached: Reached {
                            read_to: resume.read_to,
                            watermarks: resume.watermarks,
                        },
                        needed: checkpoint.needed(),
                    });
                }
            }
            engine = Some(made);
        }
        let schema = schema::enriched_schema();
        let columns = (0..schema.fields().len()).collect();
        let combiner = Combiner::new(&schema, columns, schema.index_of(schema::TIME)?, time_ms)?;
        let keep = Keep {
            file_bytes: config.event_file_bytes,
            total_bytes: config.event_bytes,
        };
        Ok(Self {
            combiner,
            engine,
            beginning,
            events: EventFile::open(&config.data.join("events"), keep, end)?,
            deliver: Arc::clone(&config.deliver),
            folder: config.data.clone(),
            time_ms,
            reached: vec![None; workers],
            checkpointed: Instant::now(),
            checkpoint_took: Duration::ZERO,
            checkpoint_every: config.checkpoint_every,
            writing: None,
            shared,
        })
    }

    pub(crate) fn take(&mut self, flows: Flows) -> anyhow::Result<()> {
        let position = flows.position();
        let late = self
            .combiner
            .insert(position, (flows.probe, flows.sequence), &flows.batch.0)?;
        // What an earlier run has had is late in a replay, and no loss.
        if position >= self.shared.replayed_to {
            Counters::add(&self.shared.counters.late_flows, late as u64);
        }
        Ok(())
    }

    pub(crate) fn reached(&mut self, worker: usize, reached: Reached) {
        if let Some(known) = self.reached.get_mut(worker) {
            *known = Some(reached);
        }
    }

    /// The stream's time has come to `time_ms`: no flow before it will come any more.
    pub(crate) fn advance(&mut self, time_ms: i64) -> anyhow::Result<()> {
        if time_ms <= self.time_ms {
            return Ok(());
        }
        let started = Instant::now();
        let mut rows = 0;
        let start_ms = self
            .reached
            .iter()
            .flatten()
            .map(|reached| reached.watermarks.start_ms())
            .max()
            .unwrap_or(0);
        let engine = self.engine.get_or_insert_with(|| (self.shared.config.engine)(start_ms));
        if let Some(beginning) = self.beginning.take()
            && let Some(events) = self.events.sync()?
        {
            let head = head(&self.shared, beginning, events);
            let engine = engine.checkpoint()?;
            Checkpoint { head, engine }.write(&self.folder)?;
        }
        let (events, deliver, counters) = (&mut self.events, &self.deliver, &self.shared.counters);
        self.combiner.release::<anyhow::Error>(time_ms, |batch| {
            rows += batch.num_rows();
            engine.push("Flow", batch)?;
            publish(engine, events, deliver, counters)
        })?;
        engine.advance(time_ms);
        publish(engine, events, deliver, counters)?;
        self.time_ms = time_ms;
        events.flush()?;
        Counters::add(&counters.statement_flows, rows as u64);
        Counters::add_time(&counters.statement_ns, started);
        counters.set_time(time_ms);
        Ok(())
    }

    /// Begins a checkpoint if the last one is old enough: large windows are written less often, so that they cost no more than
    /// a small share of the time. The disk is not waited for.
    pub(crate) fn checkpoint_if_due(&mut self) -> anyhow::Result<()> {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        self.finish_checkpoint()?;
        let pause = self.checkpoint_every.max(self.checkpoint_took * CHECKPOINT_SHARE);
        if self.checkpointed.elapsed() >= pause {
            self.begin_checkpoint()
        } else {
            Ok(())
        }
    }

    /// Writes a checkpoint, and returns when it is on the disk.
    pub(crate) fn checkpoint(&mut self) -> anyhow::Result<()> {
        self.finish_checkpoint()?;
        self.begin_checkpoint()?;
        self.finish_checkpoint()
    }

    /// Takes the state as it is and has it written by a thread of its own.
    fn begin_checkpoint(&mut self) -> anyhow::Result<()> {
        let Some(reached) = self.reached.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        let Some(reached) = reached.into_iter().min_by_key(|reached| reached.read_to) else {
            return Ok(());
        };
        let started = Instant::now();
        let needed = self
            .combiner
            .oldest()
            .map_or(reached.read_to, |oldest| oldest.min(reached.read_to));
        self.checkpointed = started;
        let Some(end) = self.events.sync()? else {
            return Ok(());
        };
        let Some(engine) = &self.engine else { return Ok(()) };
        let reached = Place {
            time_ms: self.time_ms,
            reached: reached.clone(),
            needed,
        };
        let head = head(&self.shared, reached, end);
        let checkpoint = Checkpoint {
            head,
            engine: engine.checkpoint()?,
        };
        let folder = self.folder.clone();
        self.writing = Some(std::thread::spawn(move || {
            let needed = checkpoint.needed();
            checkpoint.write(&folder)?;
            Ok(Written {
                needed,
                took: started.elapsed(),
            })
        }));
        Ok(())
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

    pub(crate) fn held_bundles(&self) -> usize {
        self.combiner.len()
    }
}

fn head(shared: &Shared, at: Place, events: EventsEnd) -> Head {
    Head {
        time_ms: at.time_ms,
        read_to: at.reached.read_to.0,
        watermarks: at.reached.watermarks,
        needed: at.needed.0,
        events,
        statements: shared.config.statements_id,
    }
}

/// Hands on what the statements have delivered.
fn publish(engine: &mut Engine, events: &mut EventFile, deliver: &Deliver, counters: &Counters) -> anyhow::Result<()> {
    while let Some(delivery) = engine.next_output() {
        let mut rows = Vec::new();
        let new = json::rows(&delivery.new.to_batch(&delivery.row_type));
        rows.extend(new.iter().cloned().map(|row| (None, row)));
        if !delivery.old.is_empty() {
            let old = json::rows(&delivery.old.to_batch(&delivery.row_type));
            rows.extend(old.into_iter().map(|row| (Some("old"), row)));
        }
        Counters::add(&counters.events, rows.len() as u64);
        counters.count_delivery(&delivery.statement, rows.len() as u64);
        events.add(Delivery {
            statement: &delivery.statement,
            number: delivery.number,
            time_ms: delivery.time_ms,
            rows: &rows,
        })?;
        deliver(&delivery.statement, delivery.time_ms, new);
    }
    Ok(())
}
