//! The drain: every flow to the dataset.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bundle_log::Position;
use flow_drain::Drain;

use crate::item::Item;
use crate::{Counters, Shared};

/// The drain and what waits for it.
pub(crate) struct Draining {
    shared: Arc<Shared>,
    drain: Drain,
    pub(crate) waiting: VecDeque<Item>,
    /// Up to where each worker has handed on its bundles.
    reached: Vec<Option<Position>>,
    started: Instant,
    retained: Option<Instant>,
    retry: Option<Instant>,
    is_finished: bool,
}

impl Draining {
    pub(crate) fn new(shared: Arc<Shared>, peers: usize) -> Option<Self> {
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
    pub(crate) fn work(&mut self, is_last: bool) -> anyhow::Result<bool> {
        let started = Instant::now();
        let now_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        if self.retry.is_some_and(|retry| started < retry) {
            return Ok(true);
        }
        self.retry = None;
        while let Some(item) = self.waiting.pop_front() {
            match item {
                Item::Progress(progress) => {
                    if let Some(reached) = self.reached.get_mut(progress.worker) {
                        *reached = Some(progress.position());
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
        let committed = self.drain.commit();
        *self
            .shared
            .counters
            .drain
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.drain.counters();
        match committed {
            Ok(()) => {
                if self.waiting.iter().all(|item| matches!(item, Item::Progress(_)))
                    && let Some(reached) = self.reached.iter().copied().collect::<Option<Vec<_>>>()
                    && let Some(lowest) = reached.into_iter().min()
                {
                    self.shared.trim(|needed| needed.drain = lowest);
                }
                Ok(true)
            }
            Err(error) if error.is_retryable() => {
                tracing::error!(%error, "flows not stored yet; the log keeps them and this is tried again");
                self.retry = Some(now + Duration::from_secs(1));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
