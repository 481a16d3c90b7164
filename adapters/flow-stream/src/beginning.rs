//! What a run begins with: how its statements are spread, and the windows of the run before.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use bundle_log::Position;
use flow_cep::spread::{self, Spread};

use crate::Config;
use crate::checkpoint::{Checkpoint, EventsEnd};
use crate::walk::Resume;

/// What all workers begin with.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) spread: Spread,
    /// Where an earlier run has come to; the start of all if there was none.
    pub(crate) resume: Resume,
    /// The oldest place in the log that is needed to go on from there.
    pub(crate) needed: Position,
    /// What an earlier run's statements knew; none if windows start empty.
    pub(crate) restored: Option<Restored>,
}

/// What the statements of an earlier run knew.
#[derive(Debug)]
pub(crate) struct Restored {
    /// By part, until the worker that runs it takes it.
    parts: Vec<Mutex<Option<spread::Part>>>,
    /// By statement: the number of its last delivery.
    pub(crate) delivered: Vec<u64>,
    /// Where the events end that belong to it.
    pub(crate) events: EventsEnd,
}

impl Beginning {
    /// Takes up a checkpoint. Its number of parts is kept with its windows, however many workers there are now; without windows
    /// there is a part for each worker but the last, which drains.
    pub(crate) fn new(config: &Config, checkpoint: Option<&Checkpoint>) -> Self {
        let (spread, restored) = match checkpoint.map(|checkpoint| Restored::new(config, checkpoint)) {
            Some(Ok((spread, restored))) => (spread, Some(restored)),
            failed => {
                if let Some(Err(reason)) = failed {
                    tracing::warn!(
                        reason,
                        "the windows of the last run are left, all statements start empty"
                    );
                }
                let parts = NonZeroUsize::new(config.workers - 1).unwrap_or(NonZeroUsize::MIN);
                ((config.spread)(parts), None)
            }
        };
        Self {
            spread,
            resume: checkpoint.map(Checkpoint::resume).unwrap_or_default(),
            needed: checkpoint.map(Checkpoint::needed).unwrap_or_default(),
            restored,
        }
    }

    /// A part with the windows of the earlier run, if there are such. Each can be taken once.
    pub(crate) fn take_part(&self, number: usize) -> anyhow::Result<Option<spread::Part>> {
        let Some(restored) = &self.restored else {
            return Ok(None);
        };
        let part = restored
            .parts
            .get(number)
            .and_then(|part| part.lock().unwrap_or_else(PoisonError::into_inner).take());
        part.map(Some)
            .with_context(|| format!("part {number} of the statements is taken"))
    }
}

impl Restored {
    fn new(config: &Config, checkpoint: &Checkpoint) -> Result<(Spread, Self), String> {
        let head = &checkpoint.head;
        if head.statements != config.statements_id {
            return Err("the statements have changed".to_owned());
        }
        let parts = NonZeroUsize::new(checkpoint.windows.len()).ok_or("there are none")?;
        let spread = (config.spread)(parts);
        let restore = |(number, windows): (usize, &Vec<u8>)| {
            let mut part = spread.part(number, head.time_ms, &config.limits);
            part.restore(windows).map_err(|error| error.to_string())?;
            Ok(Mutex::new(Some(part)))
        };
        let parts = checkpoint
            .windows
            .iter()
            .enumerate()
            .map(restore)
            .collect::<Result<_, String>>()?;
        let restored = Self {
            parts,
            delivered: head.delivered.clone(),
            events: head.events,
        };
        Ok((spread, restored))
    }
}
