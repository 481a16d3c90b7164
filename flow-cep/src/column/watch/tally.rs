//! How many different values a column has in the rows of a candidate, in windows of several lengths.
//!
//! A value leaves a window with the last row that has it. For each value only that row is kept, for all windows together: a row
//! that comes adds one to those windows that do not hold the value's last row, and a row that leaves takes one away unless a later
//! one has its value.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::chain::NO_ROW;
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

/// A value of a candidate: the number of its tally, then the id.
type Key = u64;

/// The last rows of values, by key: open addressing with linear probing.
///
/// Nothing is taken out. What has left is left behind when the table is made anew, as is what was known of tallies that ended.
#[derive(Debug, Default)]
struct Last {
    /// Keys and rows, in a power of two of places, or none; free ones have [`NO_ROW`].
    entries: Vec<(Key, u64)>,
    used: usize,
    hasher: RandomState,
}

impl Last {
    const FEW: usize = 64;

    #[expect(clippy::cast_possible_truncation, reason = "a hash of which only low bits count")]
    #[inline(always)]
    fn place(&self, key: Key) -> usize {
        self.hasher.hash_one(key) as usize & self.entries.len().wrapping_sub(1)
    }

    /// Makes a row the last of its value; returns the one that was.
    fn insert(&mut self, key: Key, row: u64) -> Option<u64> {
        let mut place = self.place(key);
        loop {
            let (known, last) = &mut self.entries[place];
            if *last == NO_ROW {
                (*known, *last) = (key, row);
                self.used += 1;
                return None;
            }
            if *known == key {
                return Some(std::mem::replace(last, row));
            }
            place = (place + 1) & (self.entries.len() - 1);
        }
    }

    /// Makes room for one more, leaving rows before `oldest` behind if there is none.
    #[inline(always)]
    fn reserve(&mut self, oldest: u64) {
        if self.used >= self.entries.len() / 4 * 3 {
            self.renew(oldest);
        }
    }

    #[cold]
    fn renew(&mut self, oldest: u64) {
        let holds = |&(_, row): &(Key, u64)| row >= oldest && row != NO_ROW;
        let held: Vec<(Key, u64)> = std::mem::take(&mut self.entries).into_iter().filter(holds).collect();
        self.entries = vec![(0, NO_ROW); (held.len() * 2).next_power_of_two().max(Self::FEW)];
        self.used = 0;
        for (key, row) in held {
            self.insert(key, row);
        }
    }

    /// Fetches what is known of a key into the cache.
    #[inline(always)]
    fn touch(&self, key: Key) -> u64 {
        self.entries.get(self.place(key)).map_or(0, |(_, row)| *row)
    }
}

/// A column of ids, as the candidates have it.
#[derive(Debug)]
struct Tally {
    /// Rows whose value a later row of the same candidate has.
    repeated: Marks,
    last: Last,
}

/// The columns whose distinct values some windows of a grouping count.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// The columns, as the log carries them.
    carried: Vec<usize>,
    tallies: Vec<Tally>,
    /// By candidate: the number of its tally; 0 if it is not tallied.
    numbers: Vec<u32>,
    /// Tallies that were begun.
    begun: u32,
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
            last: Last::default(),
        };
        self.tallies = self.carried.iter().map(tally).collect();
        self.numbers.clear();
    }

    /// Makes room for candidates.
    pub(super) fn grow(&mut self, candidates: usize) {
        self.numbers.resize(candidates, 0);
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
        self.numbers[candidate as usize] != 0
    }

    /// Begins to tally a candidate that has these rows.
    pub(super) fn begin(&mut self, candidate: u32, rows: &[u64]) {
        self.begun = self.begun.checked_add(1).unwrap_or(1);
        self.numbers[candidate as usize] = self.begun;
        for tally in &mut self.tallies {
            rows.iter().for_each(|&row| tally.repeated.unmark(row));
        }
    }

    /// Forgets what is known of a candidate.
    pub(super) fn end(&mut self, candidate: u32) {
        self.numbers[candidate as usize] = 0;
    }

    /// Fetches what is known of the values of rows of candidates into the cache.
    pub(super) fn touch(&self, log: &Log, rows: impl Iterator<Item = (u64, u32)>) {
        let known = rows.map(|(row, candidate)| {
            let number = self.numbers[candidate as usize];
            let values = self.tallies.iter().zip(&self.carried);
            values.fold(0, |all, (tally, &carried)| {
                all ^ tally.last.touch(key(number, log.id(carried, row)))
            })
        });
        // The result is of no use, but without it nothing would be fetched.
        std::hint::black_box(known.fold(0, |all, row| all ^ row));
    }

    /// Takes in a row of a candidate; tells for each column what it does. Rows before `oldest` have left.
    pub(super) fn enter(&mut self, log: &Log, (row, candidate): (u64, u32), oldest: u64, arrivals: &mut Vec<Arrival>) {
        arrivals.clear();
        let number = self.numbers[candidate as usize];
        for (tally, &carried) in self.tallies.iter_mut().zip(&self.carried) {
            let id = log.id(carried, row);
            if id == NULL || id == NONE {
                arrivals.push(Arrival::Null);
                continue;
            }
            tally.last.reserve(oldest);
            arrivals.push(match tally.last.insert(key(number, id), row) {
                None => Arrival::New,
                Some(last) => {
                    tally.repeated.mark(last);
                    Arrival::Again(last)
                }
            });
        }
    }

    /// Whether the value of a row that leaves a window leaves with it.
    #[inline(always)]
    pub(super) fn is_last(&self, log: &Log, column: usize, row: u64) -> bool {
        let id = log.id(self.carried[column], row);
        id != NULL && id != NONE && !self.tallies[column].repeated.holds(row)
    }
}

/// The key of a value in a tally.
#[inline(always)]
fn key(number: u32, id: u32) -> Key {
    u64::from(number) << 32 | u64::from(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_a_value_is_known_until_it_has_left() {
        let mut last = Last::default();
        let mut expected = std::collections::HashMap::new();
        for row in 0..20_000_u64 {
            let (id, oldest) = (u32::try_from(row * row % 977).unwrap(), row.saturating_sub(1500));
            last.reserve(oldest);
            let known = last.insert(key(7, id), row).filter(|&row| row >= oldest);
            assert_eq!(known, expected.insert(id, row).filter(|&row| row >= oldest));
        }
        assert!(last.entries.len() <= 4096);
    }
}
