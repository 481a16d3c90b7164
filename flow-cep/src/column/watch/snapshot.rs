//! Statements that look at watched groups every so often: `having` with `output snapshot every`.

use super::log::Log;
use super::rule::{Found, GroupColumn, Operand};
use super::span::{Count, Span};
use crate::column::clock::Clock;
use crate::column::emit::{self, GroupOutput};
use crate::column::groups;
use crate::column::interner::NONE;
use crate::column::keys::{KeyId, Keys};
use crate::column::numbers::Number;
use crate::column::query::Function;

/// A word of a candidate's record after the count of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// A sum, by its place in the window; what has no number counts as null.
    Sum(usize),
    /// A count of distinct values, by its place in the window.
    Distinct(usize),
}

/// A statement.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) statement: usize,
    /// When it looks.
    pub(super) clock: Clock,
    pub(super) output: GroupOutput,
    words: Vec<Word>,
}

/// How the columns of a statement are read from records of candidates.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    words: Vec<Word>,
}

impl Layout {
    /// The column as an output reads it; none for aggregates that records do not hold.
    pub(crate) fn column(&mut self, column: &GroupColumn, log: &Log) -> Option<emit::GroupColumn> {
        let GroupColumn::Aggregate {
            function,
            operand,
            found,
            ..
        } = column
        else {
            let GroupColumn::Key(atom) = column else { return None };
            return Some(emit::GroupColumn::Key(*atom));
        };
        let (Function::Count, Operand::Rows) = (function, operand) else {
            let &Found::Kept(place) = found else { return None };
            return self.kept(*function, *operand, place, log);
        };
        Some(emit::GroupColumn::Rows)
    }

    fn kept(&mut self, function: Function, operand: Operand, place: usize, log: &Log) -> Option<emit::GroupColumn> {
        let double = matches!(operand, Operand::Number(argument) if log.is_double(argument));
        let word = match function {
            Function::Count | Function::Sum | Function::Average => Word::Sum(place),
            Function::CountDistinct => Word::Distinct(place),
            _ => return None,
        };
        let nulls = super::place_of(&mut self.words, word);
        let offset = 1 + nulls;
        match function {
            Function::Count => Some(emit::GroupColumn::Count { nulls }),
            Function::Sum => Some(emit::GroupColumn::Sum { offset, nulls, double }),
            Function::Average => Some(emit::GroupColumn::Average { offset, nulls, double }),
            _ => Some(emit::GroupColumn::Distinct { offset }),
        }
    }
}

impl Snapshot {
    pub(crate) fn new(statement: usize, every_ms: i64, output: GroupOutput, layout: Layout) -> Self {
        Self {
            statement,
            clock: Clock::new(every_ms),
            output,
            words: layout.words,
        }
    }

    /// The records of the candidates as they stand in a window; `counts` are their rows.
    pub(super) fn records<'a>(&self, span: &Span, counts: impl Iterator<Item = Count>, keys: Ids<'a>) -> Records<'a> {
        let width = self.words.len();
        let mut words = Vec::new();
        for (place, count) in (0..).zip(counts) {
            let (sums, distinct) = (span.sums_of(place), span.distinct_of(place));
            words.push(i64::from(count.rows));
            words.extend(self.words.iter().map(|word| match *word {
                Word::Sum(sum) => sums[sum * 2],
                Word::Distinct(column) => i64::from(distinct[column]),
            }));
            words.extend(self.words.iter().map(|word| match *word {
                Word::Sum(sum) => i64::from(count.rows) - sums[sum * 2 + 1],
                Word::Distinct(_) => 0,
            }));
        }
        Records { words, width, keys }
    }
}

/// The key of the groups, and the id of each candidate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids<'a> {
    pub(super) key: KeyId,
    pub(super) ids: &'a [u32],
}

/// By candidate: the rows, the words of a statement, and for each of them how many rows are null.
#[derive(Debug)]
pub(super) struct Records<'a> {
    words: Vec<i64>,
    width: usize,
    keys: Ids<'a>,
}

impl groups::Groups for Records<'_> {
    fn is_grouped(&self) -> bool {
        true
    }

    fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32> {
        let ids: Vec<u32> = slots.iter().map(|&slot| self.keys.ids[slot as usize]).collect();
        debug_assert!(!ids.contains(&NONE), "vacant places have no rows");
        keys.part(self.keys.key, &ids, atom)
    }

    fn records(&self) -> (&[i64], usize) {
        (&self.words, 1 + self.width * 2)
    }

    fn has_nulls(&self, nulls: usize) -> bool {
        let (words, stride) = self.records();
        words
            .chunks_exact(stride)
            .any(|record| record[1 + self.width + nulls] != 0)
    }

    fn nulls_of(&self, slot: u32, nulls: usize) -> i64 {
        self.word(slot, 1 + self.width + nulls)
    }

    fn extreme(&self, _: usize, _: u32) -> Option<Number> {
        None
    }
}
