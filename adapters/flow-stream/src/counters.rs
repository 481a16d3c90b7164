//! What the stream processor counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use flow_cep::Refusal;

/// Counters since the start of the process. Times are summed over workers, in ns of wall clock within the stage.
#[derive(Debug, Default)]
pub struct Counters {
    /// The stream's time, ms since 1970.
    pub time_ms: AtomicI64,
    /// Flows read from the log.
    pub read_flows: AtomicU64,
    /// Flows that the statements have had, once for each exchange that they went through: one, if one worker runs all.
    pub statement_flows: AtomicU64,
    /// Flows that came too late for the statements; they are stored all the same.
    pub late_flows: AtomicU64,
    /// Rows that statements delivered.
    pub events: AtomicU64,
    /// Bundles and parts of the log that could not be read.
    pub damaged: AtomicU64,
    /// Bundles that wait for other probes.
    pub held_bundles: AtomicU64,
    /// Time spent reading and unpacking.
    pub read_ns: AtomicU64,
    /// Time spent resolving addresses.
    pub resolve_ns: AtomicU64,
    /// Time spent on combining and on statements.
    pub statement_ns: AtomicU64,
    /// Time spent on encoding and writing Parquet.
    pub drain_ns: AtomicU64,
    /// The drain's own counters, as of its last commit.
    pub drain: Mutex<flow_drain::Counters>,
    deliveries: Mutex<BTreeMap<String, (u64, u64)>>,
    refusals: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn add_time(counter: &AtomicU64, since: Instant) {
        Self::add(counter, u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn set_time(&self, time_ms: i64) {
        self.time_ms.store(time_ms, Ordering::Relaxed);
    }

    pub(crate) fn count_delivery(&self, statement: &str, rows: u64) {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        match deliveries.get_mut(statement) {
            Some((count, total)) => (*count, *total) = (*count + 1, *total + rows),
            None => drop(deliveries.insert(statement.to_owned(), (1, rows))),
        }
    }

    /// A limit of a statement was reached; the first time is logged.
    pub(crate) fn count_refusal(&self, statement: &str, refusal: Refusal, count: u64) {
        let limit = refusal.limit();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let total = refusals.entry((statement.to_owned(), limit)).or_insert_with(|| {
            tracing::warn!(
                statement,
                limit,
                "limit reached: what is past it is left out and counted"
            );
            0
        });
        *total += count;
    }

    /// Of each statement that has reached a limit: its name, which limit, and how many times something was left out.
    #[must_use]
    pub fn refusals(&self) -> Vec<(String, &'static str, u64)> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = |((name, limit), &count): (&(String, &'static str), &u64)| (name.clone(), *limit, count);
        refusals.iter().map(refusal).collect()
    }

    /// Of each statement that has delivered: its name, its deliveries, their rows.
    #[must_use]
    pub fn deliveries(&self) -> Vec<(String, u64, u64)> {
        let deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries
            .iter()
            .map(|(name, &(count, rows))| (name.clone(), count, rows))
            .collect()
    }
}
