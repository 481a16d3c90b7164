//! How many different values a column has in the rows of a candidate, in windows of several lengths.
//!
//! A value leaves a window with the last row that has it. For each value only that row is kept, for all windows together: a row
//! that comes adds one to those windows that do not hold the value's last row, and a row that leaves takes one away unless a later
//! one has its value.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::detail::place_of;
use super::log::Log;
use super::marks::Marks;
use crate::column::interner::NONE;
use crate::column::keys::NULL;

/// What a row does to the distinct values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It has no value.
    Null,
    /// No row had its value.
    New,
    /// This one was the last that had it.
    Again(u64),
}

/// A column of ids, as the candidates have it.
#[derive(Debug)]
struct Tally {
    /// Rows whose value a later row of the same candidate has.
    repeated: Marks,
    /// By candidate the last row of each value.
    last: Vec<HashMap<u32, u64, RandomState>>,
}

/// The columns whose distinct values some windows of a grouping count.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// The columns, as the log carries them.
    carried: Vec<usize>,
    tallies: Vec<Tally>,
    /// By candidate: whether it is tallied.
    held: Vec<bool>,
}

impl Tallies {
    /// The place of a column, the same each time. Only before the first row.
    pub(super) fn column(&mut self, carried: usize) -> usize {
        place_of(&mut self.carried, carried)
    }

    /// Of rows from a number on.
    pub(super) fn start(&mut self, row: u64) {
        let tally = |_: &usize| Tally {
            repeated: Marks::starting_at(row),
            last: Vec::new(),
        };
        self.tallies = self.carried.iter().map(tally).collect();
        self.held.clear();
    }

    /// Makes room for candidates.
    pub(super) fn grow(&mut self, candidates: usize) {
        self.held.resize(candidates, false);
        for tally in &mut self.tallies {
            tally.last.resize_with(candidates, HashMap::default);
        }
    }

    /// Makes room for the rows before a number.
    pub(super) fn grow_rows(&mut self, rows: u64) {
        self.tallies.iter_mut().for_each(|tally| tally.repeated.grow(rows));
    }

    /// Forgets what is known of the rows before a number, which have left.
    pub(super) fn give_up(&mut self, before: u64) {
        self.tallies.iter_mut().for_each(|tally| tally.repeated.give_up(before));
    }

    /// Whether a candidate is tallied.
    #[inline(always)]
    pub(super) fn hold(&self, candidate: u32) -> bool {
        self.held[candidate as usize]
    }

    /// Begins to tally a candidate that has these rows.
    pub(super) fn begin(&mut self, candidate: u32, rows: &[u64]) {
        self.held[candidate as usize] = true;
        for tally in &mut self.tallies {
            rows.iter().for_each(|&row| tally.repeated.unmark(row));
        }
    }

    /// Forgets what is known of a candidate.
    pub(super) fn end(&mut self, candidate: u32) {
        self.held[candidate as usize] = false;
        for tally in &mut self.tallies {
            tally.last[candidate as usize] = HashMap::default();
        }
    }

    /// Takes in a row of a candidate; tells for each column what it does.
    pub(super) fn enter(&mut self, log: &Log, (row, candidate): (u64, u32), arrivals: &mut Vec<Arrival>) {
        arrivals.clear();
        for (tally, &carried) in self.tallies.iter_mut().zip(&self.carried) {
            let arrival = match log.id(carried, row) {
                NULL | NONE => Arrival::Null,
                id => match tally.last[candidate as usize].insert(id, row) {
                    None => Arrival::New,
                    Some(last) => {
                        tally.repeated.mark(last);
                        Arrival::Again(last)
                    }
                },
            };
            arrivals.push(arrival);
        }
    }

    /// Whether the value of a row that leaves a window leaves with it.
    #[inline(always)]
    pub(super) fn is_last(&self, log: &Log, column: usize, row: u64) -> bool {
        let id = log.id(self.carried[column], row);
        id != NULL && id != NONE && !self.tallies[column].repeated.holds(row)
    }

    /// A row of a candidate has left all windows that count values.
    pub(super) fn leave(&mut self, log: &Log, (row, candidate): (u64, u32)) {
        for (tally, &carried) in self.tallies.iter_mut().zip(&self.carried) {
            if !tally.repeated.holds(row) {
                tally.last[candidate as usize].remove(&log.id(carried, row));
            }
        }
    }
}
