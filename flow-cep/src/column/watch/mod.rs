//! Groups of a sliding window that are watched row by row: `having` with `output first every`, or with no output clause.
//!
//! Such a statement may give a group's row whenever a row of it comes or goes. A [`Watch`] keeps the rows of one window that
//! pass one filter ([`log`]); statements that group them by the same key share the [`groups`], and each is a [`rule`].

mod detail;
mod groups;
mod log;
mod ring;
mod rule;
mod scope;

use serde::{Deserialize, Serialize};

pub(crate) use detail::{Largest, place_of};
use groups::GroupsState;
pub(crate) use groups::{Given, Groups};
pub(crate) use log::Log;
use log::LogState;
pub(crate) use rule::{Found, GroupColumn, Operand, Quiet, Rule, Threshold};

use super::interner::Rows;
use super::keys::Keys;
use super::numbers::Numbers;

/// A window of the rows that pass one filter, and the groups that statements watch in it.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) filter: usize,
    pub(crate) span_ms: i64,
    pub(crate) log: Log,
    pub(crate) groups: Vec<Groups>,
}

/// What a checkpoint keeps of a watched window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WatchState {
    log: LogState,
    groups: Vec<GroupsState>,
}

impl Watch {
    /// A window of at most `limit` rows.
    pub(crate) fn new(filter: usize, span_ms: i64, limit: usize) -> Self {
        Self {
            filter,
            span_ms,
            log: Log::new(limit),
            groups: Vec::new(),
        }
    }

    /// When the next row leaves.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        let oldest = (self.log.len() > 0).then(|| self.log.times.get(self.log.first));
        oldest.map(|time_ms| time_ms.saturating_add(self.span_ms))
    }

    /// Takes the selected rows of a slice and lets time pass up to `now_ms`, which is not before the last of them.
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        numbers: &[&Numbers],
        now_ms: i64,
        given: &mut Vec<Given>,
    ) {
        let count = self.log.append(keys, times, rows, numbers);
        if count == 0 && self.next_ms().is_none_or(|next_ms| next_ms > now_ms) {
            return;
        }
        let mut staying = self.log.first;
        for groups in &mut self.groups {
            staying = groups.run(keys, &self.log, (rows, count), (self.span_ms, now_ms), given);
        }
        self.log.give_up(keys, staying);
    }

    pub(crate) fn save(&self) -> WatchState {
        WatchState {
            log: self.log.save(),
            groups: self.groups.iter().map(|groups| groups.save(&self.log)).collect(),
        }
    }

    /// Takes up what was saved of the same window. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, state: WatchState) -> Option<()> {
        if state.groups.len() != self.groups.len() {
            return None;
        }
        self.log.restore(keys, state.log)?;
        for (groups, state) in self.groups.iter_mut().zip(state.groups) {
            groups.restore(keys, &self.log, state)?;
        }
        Some(())
    }
}
