//! Groups of a sliding window that are watched row by row: `having` with `output first every`, or with no output clause, or with
//! `output snapshot every` where it takes many rows to be true.
//!
//! The first two may give a group's row whenever a row of it comes or goes. A [`Watch`] keeps the rows that pass one filter
//! for as long as its longest window ([`log`]); statements that group them by the same key share the [`groups`], those over a
//! window of the same length what is kept for these ([`span`]), and each is a [`rule`] or a [`snapshot`].

mod census;
mod chain;
mod detail;
mod groups;
mod log;
mod marks;
mod ring;
mod rule;
mod scope;
mod snapshot;
mod span;
mod tally;

use serde::{Deserialize, Serialize};

pub(crate) use detail::{Largest, place_of};
pub(crate) use groups::Groups;
use groups::GroupsState;
pub(crate) use log::Log;
use log::LogState;
pub(crate) use rule::{Found, GroupColumn, Operand, Quiet, Rule, Threshold};
pub(crate) use snapshot::{Layout, Snapshot};

use super::interner::Rows;
use super::keys::Keys;
use super::numbers::Numbers;
use super::runtime::Emission;

/// The rows that pass one filter, and the groups that statements watch of them in windows of several lengths.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) filter: usize,
    pub(crate) log: Log,
    pub(crate) groups: Vec<Groups>,
    /// Up to when time has passed.
    pub(crate) now_ms: i64,
}

/// What a checkpoint keeps of a watched window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WatchState {
    log: LogState,
    groups: Vec<GroupsState>,
}

impl Watch {
    /// Windows of at most `limit` rows.
    pub(crate) fn new(filter: usize, limit: usize) -> Self {
        Self {
            filter,
            log: Log::new(limit),
            groups: Vec::new(),
            now_ms: i64::MIN,
        }
    }

    /// When a row leaves a window next, of which rules may have something to say.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        let groups = self.groups.iter().map(Groups::due_ms);
        groups.min().filter(|&due_ms| due_ms != i64::MAX)
    }

    /// Whether something is to be done, though no row has come.
    pub(crate) fn is_due(&self) -> bool {
        self.log.is_over(self.now_ms) || self.next_ms().is_some_and(|next_ms| next_ms <= self.now_ms)
    }

    /// Takes the selected rows of a slice, of which none is later than now.
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        numbers: &[&Numbers],
        given: &mut Vec<Emission>,
    ) {
        let now_ms = self.now_ms;
        let count = self.log.append(keys, times, rows, numbers);
        for groups in &mut self.groups {
            groups.run(keys, &self.log, (rows, count), now_ms, given);
        }
        self.log.give_up(keys, now_ms);
        for groups in &mut self.groups {
            groups.give_up(self.log.first);
        }
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
