//! The rows of a watched window: their times and what the groups look up of them later.

use serde::{Deserialize, Serialize};

use super::ring::Ring;
use crate::column::interner::{NONE, Rows};
use crate::column::keys::{KeyId, Keys};
use crate::column::numbers::{Number, Numbers, Values};
use crate::column::packed;

/// A column of numbers by row.
#[derive(Debug)]
struct Argument {
    /// Its place among the numbers of the inputs.
    number: usize,
    double: bool,
    /// Bits of doubles.
    values: Ring<i64>,
    /// From the first null on.
    nulls: Option<Ring<bool>>,
}

/// A column of ids by row, each held by its row.
#[derive(Debug)]
struct Carried {
    atom: KeyId,
    ids: Ring<u32>,
}

/// The rows of a sliding window, numbered as they came.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) times: Ring<i64>,
    arguments: Vec<Argument>,
    carried: Vec<Carried>,
    /// Number of the oldest row that is kept.
    pub(crate) first: u64,
    /// Number of the next row.
    pub(crate) next: u64,
    /// The length of the longest window.
    span_ms: i64,
    limit: u64,
    /// Rows that found no room since the last report.
    pub(crate) refused: u64,
}

/// What a checkpoint keeps of the rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogState {
    first: u64,
    #[serde(with = "packed")]
    times: Vec<i64>,
    /// By argument: its values, and which are null; none before the first null.
    #[serde(with = "packed::each")]
    values: Vec<Vec<i64>>,
    #[serde(with = "packed::each")]
    nulls: Vec<Vec<bool>>,
    #[serde(with = "packed::each")]
    carried: Vec<Vec<u32>>,
}

impl Log {
    /// A log of at most `limit` rows.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            times: Ring::starting_at(0),
            arguments: Vec::new(),
            carried: Vec::new(),
            first: 0,
            next: 0,
            span_ms: 0,
            limit: limit as u64,
            refused: 0,
        }
    }

    /// The column of an input's numbers, the same each time. Only before the first row.
    pub(crate) fn argument(&mut self, number: usize, double: bool) -> usize {
        if let Some(known) = self.arguments.iter().position(|argument| argument.number == number) {
            return known;
        }
        self.arguments.push(Argument {
            number,
            double,
            values: Ring::starting_at(0),
            nulls: None,
        });
        self.arguments.len() - 1
    }

    /// The column of an atom's ids, the same each time. Only before the first row.
    pub(crate) fn carry(&mut self, atom: KeyId) -> usize {
        if let Some(known) = self.carried.iter().position(|carried| carried.atom == atom) {
            return known;
        }
        self.carried.push(Carried {
            atom,
            ids: Ring::starting_at(0),
        });
        self.carried.len() - 1
    }

    /// The places of the numbers that rows keep, among the numbers of the inputs.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.arguments.iter().map(|argument| argument.number)
    }

    /// The atoms whose ids rows keep.
    pub(crate) fn atoms(&self) -> impl Iterator<Item = KeyId> {
        self.carried.iter().map(|carried| carried.atom)
    }

    /// The atom of a column of ids.
    pub(crate) fn atom(&self, carried: usize) -> KeyId {
        self.carried[carried].atom
    }

    /// Rows in the window.
    pub(crate) const fn len(&self) -> u64 {
        self.next - self.first
    }

    /// Adds the selected rows as far as there is room; returns how many.
    pub(crate) fn append(&mut self, keys: &mut Keys, times: &[i64], rows: &Rows, numbers: &[&Numbers]) -> usize {
        let room = usize::try_from(self.limit.saturating_sub(self.len())).unwrap_or(usize::MAX);
        let count = rows.len().min(room);
        self.refused += (rows.len() - count) as u64;
        rows.each(0, count, |row| self.times.push(times[row]));
        for (argument, numbers) in self.arguments.iter_mut().zip(numbers) {
            match &numbers.values {
                Values::Integer(values) => rows.each(0, count, |row| argument.values.push(values[row])),
                Values::Double(values) => {
                    rows.each(0, count, |row| {
                        argument.values.push(values[row].to_bits().cast_signed())
                    });
                }
            }
            if !numbers.nulls.is_empty() || argument.nulls.is_some() {
                let next = self.next;
                let nulls = argument.nulls.get_or_insert_with(|| Ring::starting_at(next));
                rows.each(0, count, |row| nulls.push(numbers.is_null(row)));
            }
        }
        for carried in &mut self.carried {
            let ids = keys.ids(carried.atom);
            rows.each(0, count, |row| carried.ids.push(ids[row]));
            let held = (self.next..self.next + count as u64).map(|row| carried.ids.get(row));
            keys.hold_all(carried.atom, held.filter(|&id| id != NONE));
        }
        self.next += count as u64;
        count
    }

    /// Lets rows stay for at least this long.
    pub(crate) fn lengthen(&mut self, span_ms: i64) {
        self.span_ms = self.span_ms.max(span_ms);
    }

    /// Whether the oldest row has left all windows at an instant.
    pub(crate) fn is_over(&self, now_ms: i64) -> bool {
        self.first < self.next && self.times.get(self.first).saturating_add(self.span_ms) <= now_ms
    }

    /// The oldest row that a window of a length still holds at an instant.
    pub(crate) fn oldest(&self, span_ms: i64, now_ms: i64) -> u64 {
        let (mut low, mut high) = (self.first, self.next);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.times.get(middle).saturating_add(span_ms) <= now_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Gives up the rows that have left all windows.
    pub(crate) fn give_up(&mut self, keys: &mut Keys, now_ms: i64) {
        if !self.is_over(now_ms) {
            return;
        }
        let before = self.oldest(self.span_ms, now_ms);
        for carried in &mut self.carried {
            let left = (self.first..before).map(|row| carried.ids.get(row));
            keys.release_all(carried.atom, left.filter(|&id| id != NONE));
            carried.ids.give_up(before);
        }
        for argument in &mut self.arguments {
            argument.values.give_up(before);
            if let Some(nulls) = &mut argument.nulls {
                nulls.give_up(before);
            }
        }
        self.times.give_up(before);
        self.first = before;
    }

    /// The id that a row carries.
    #[inline(always)]
    pub(crate) fn id(&self, carried: usize, row: u64) -> u32 {
        self.carried[carried].ids.get(row)
    }

    /// The number of a row, as its bits if it is in floating point; none for null.
    #[inline(always)]
    pub(crate) fn word(&self, argument: usize, row: u64) -> Option<i64> {
        let argument = &self.arguments[argument];
        let null = argument.nulls.as_ref().is_some_and(|nulls| nulls.get(row));
        (!null).then(|| argument.values.get(row))
    }

    /// Whether an argument is in floating point.
    #[inline(always)]
    pub(crate) fn is_double(&self, argument: usize) -> bool {
        self.arguments[argument].double
    }

    /// The number of a row; none for null.
    pub(crate) fn number(&self, argument: usize, row: u64) -> Option<Number> {
        let word = self.word(argument, row)?;
        Some(if self.is_double(argument) {
            Number::Double(f64::from_bits(word.cast_unsigned()))
        } else {
            Number::Integer(word)
        })
    }

    pub(crate) fn save(&self) -> LogState {
        let (from, to) = (self.first, self.next);
        LogState {
            first: from,
            times: self.times.span(from, to),
            values: self
                .arguments
                .iter()
                .map(|argument| argument.values.span(from, to))
                .collect(),
            nulls: self
                .arguments
                .iter()
                .map(|argument| {
                    let nulls = argument.nulls.as_ref().filter(|_| from < to);
                    nulls.map_or_else(Vec::new, |nulls| nulls.span(from, to))
                })
                .collect(),
            carried: self.carried.iter().map(|carried| carried.ids.span(from, to)).collect(),
        }
    }

    /// Takes up what was saved of a log of the same columns. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, state: LogState) -> Option<()> {
        let rows = state.times.len();
        if state.values.len() != self.arguments.len()
            || state.nulls.len() != self.arguments.len()
            || state.carried.len() != self.carried.len()
            || !state.times.is_sorted()
        {
            return None;
        }
        let ring = |values: Vec<i64>| {
            let mut ring = Ring::starting_at(state.first);
            values.into_iter().for_each(|value| ring.push(value));
            ring
        };
        self.first = state.first;
        self.next = state.first.checked_add(rows as u64)?;
        self.times = ring(state.times);
        let arguments = state.values.into_iter().zip(state.nulls);
        for (argument, (values, nulls)) in self.arguments.iter_mut().zip(arguments) {
            if values.len() != rows || !(nulls.is_empty() || nulls.len() == rows) {
                return None;
            }
            argument.values = ring(values);
            argument.nulls = (!nulls.is_empty()).then(|| {
                let mut ring = Ring::starting_at(state.first);
                nulls.into_iter().for_each(|null| ring.push(null));
                ring
            });
        }
        for (carried, ids) in self.carried.iter_mut().zip(state.carried) {
            let known = |&id: &u32| id == NONE || keys.knows(carried.atom, id);
            if ids.len() != rows || !ids.iter().all(known) {
                return None;
            }
            keys.hold_all(carried.atom, ids.iter().copied().filter(|&id| id != NONE));
            carried.ids = Ring::starting_at(state.first);
            ids.into_iter().for_each(|id| carried.ids.push(id));
        }
        Some(())
    }
}
