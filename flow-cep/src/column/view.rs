//! A window of a stream's rows and the groups that statements read from it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::groups::{Grouping, Places, ranks};
use super::interner::{NONE, Rows};
use super::keys::Keys;
use super::numbers::Numbers;
use super::packed;

/// Rows of a full chunk: few enough that a chunk stays in the cache while it is worked on.
pub(crate) const CHUNK_ROWS: usize = 1024;

/// Emptied chunks that are kept for the rows to come.
const SPARE_CHUNKS: usize = 4;

/// Consecutive rows of a window: when they came, where their groups are, and what to take out when they leave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// Time of the first row.
    pub(crate) base_ms: i64,
    /// Times after the base.
    #[serde(with = "packed")]
    pub(crate) times: Vec<u32>,
    /// By grouping.
    pub(crate) places: Vec<Places>,
    /// By argument.
    pub(crate) numbers: Vec<Numbers>,
    /// Rows that have left already.
    pub(crate) start: usize,
}

impl Chunk {
    fn clear(&mut self) {
        self.times.clear();
        self.places.iter_mut().for_each(Places::clear);
        self.numbers.iter_mut().for_each(Numbers::clear);
        self.start = 0;
    }
}

/// What a view keeps its rows for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Keeping {
    /// Rows leave after this time.
    Sliding { span_ms: i64 },
    /// Rows never leave one by one: a batch is cleared as a whole, a stream without window never.
    Together,
}

/// A window of the rows that pass one filter, shared by the statements that ask for the same.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) keeping: Keeping,
    pub(crate) groupings: Vec<Grouping>,
    /// Inputs whose numbers the groupings read.
    pub(crate) arguments: Vec<usize>,
    /// Whether an argument is in floating point.
    pub(crate) doubles: Vec<bool>,
    pub(crate) chunks: VecDeque<Chunk>,
    /// Rows that ever entered.
    pub(crate) sequence: u64,
    /// Rows in the window.
    pub(crate) rows: usize,
    /// Most rows of a sliding window, and how many it has refused.
    limit: usize,
    pub(crate) refused: u64,
    scratch: Vec<Places>,
    /// Emptied chunks: a window that has its size takes no more memory.
    spare: Vec<Chunk>,
}

impl View {
    pub(crate) const fn new(keeping: Keeping, limit: usize) -> Self {
        Self {
            keeping,
            groupings: Vec::new(),
            arguments: Vec::new(),
            doubles: Vec::new(),
            chunks: VecDeque::new(),
            sequence: 0,
            rows: 0,
            limit,
            refused: 0,
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// The position of an argument, the same for the same input.
    pub(crate) fn argument(&mut self, input: usize, double: bool) -> usize {
        if let Some(argument) = self.arguments.iter().position(|&known| known == input) {
            return argument;
        }
        self.arguments.push(input);
        self.doubles.push(double);
        self.arguments.len() - 1
    }

    /// Adds the rows between two places of the selection.
    pub(crate) fn add(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        (from, to): (usize, usize),
        numbers: &[&Numbers],
    ) {
        match self.keeping {
            Keeping::Together => {
                self.scratch.resize_with(self.groupings.len(), Places::default);
                for (grouping, places) in self.groupings.iter_mut().zip(&mut self.scratch) {
                    places.clear();
                    grouping.add(keys, rows, (from, to), numbers, self.sequence, places);
                }
                self.sequence += (to - from) as u64;
                self.rows += to - from;
            }
            Keeping::Sliding { .. } => {
                let end = to.min(from + self.limit.saturating_sub(self.rows));
                self.refused += (to - end) as u64;
                let mut next = from;
                while next < end {
                    next = self.add_to_chunk(keys, times, rows, (next, end), numbers);
                }
                self.rows += end - from;
            }
        }
    }

    /// Adds as many rows as the last chunk takes, or a new one; returns the place of the next.
    fn add_to_chunk(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        (from, to): (usize, usize),
        numbers: &[&Numbers],
    ) -> usize {
        let time = times[rows.row(from)];
        let fits = |chunk: &Chunk, time: i64| u32::try_from(time - chunk.base_ms).is_ok();
        if !self
            .chunks
            .back()
            .is_some_and(|chunk| chunk.times.len() < CHUNK_ROWS && fits(chunk, time))
        {
            let mut chunk = self.spare.pop().unwrap_or_else(|| Chunk {
                base_ms: time,
                times: Vec::new(),
                places: vec![Places::default(); self.groupings.len()],
                numbers: self.doubles.iter().map(|&double| Numbers::new(double)).collect(),
                start: 0,
            });
            chunk.base_ms = time;
            self.chunks.push_back(chunk);
        }
        let Some(chunk) = self.chunks.back_mut() else { return to };
        let mut end = to.min(from + CHUNK_ROWS - chunk.times.len());
        if end > from && !fits(chunk, times[rows.row(end - 1)]) {
            end = from + 1;
        }
        rows.each(from, end, |row| {
            chunk
                .times
                .push(u32::try_from(times[row] - chunk.base_ms).unwrap_or(u32::MAX));
        });
        for (grouping, places) in self.groupings.iter_mut().zip(&mut chunk.places) {
            grouping.add(keys, rows, (from, end), numbers, self.sequence, places);
        }
        for (kept, numbers) in chunk.numbers.iter_mut().zip(numbers) {
            kept.append(numbers, rows, (from, end));
        }
        self.sequence += (end - from) as u64;
        end
    }

    /// Takes out the rows that a sliding window no longer holds at a time.
    pub(crate) fn expire(&mut self, keys: &mut Keys, now_ms: i64) {
        if let Keeping::Sliding { span_ms } = self.keeping {
            self.expire_rows(keys, now_ms, span_ms);
        }
    }

    fn expire_rows(&mut self, keys: &mut Keys, now_ms: i64, span_ms: i64) {
        while let Some(chunk) = self.chunks.front_mut() {
            let last = now_ms.saturating_sub(span_ms).saturating_sub(chunk.base_ms);
            if last < 0 {
                return;
            }
            let end = match u32::try_from(last) {
                Ok(last) => chunk.times.partition_point(|&time| time <= last),
                Err(_) => chunk.times.len(),
            };
            if end > chunk.start {
                let numbers: Vec<&Numbers> = chunk.numbers.iter().collect();
                let sequence = self.sequence - self.rows as u64;
                for (grouping, places) in self.groupings.iter_mut().zip(&chunk.places) {
                    grouping.remove(keys, (chunk.start, end), places, &numbers, sequence);
                }
                self.rows -= end - chunk.start;
                chunk.start = end;
            }
            if end < chunk.times.len() {
                return;
            }
            if let Some(mut chunk) = self.chunks.pop_front()
                && self.spare.len() < SPARE_CHUNKS
            {
                chunk.clear();
                self.spare.push(chunk);
            }
        }
    }

    /// The rank of each group's oldest row among those of the other wanted groups, by slot; `usize::MAX` for groups that
    /// are not wanted. A group's slots were given in that order where rows leave together.
    pub(crate) fn appearance(&self, grouping: usize, wanted: &[u32]) -> Vec<usize> {
        let bound = self.groupings[grouping].index.bound();
        if self.keeping == Keeping::Together {
            return (0..bound).collect();
        }
        let slots = self
            .chunks
            .iter()
            .flat_map(|chunk| &chunk.places[grouping].slots[chunk.start..]);
        ranks(slots.copied().filter(|&slot| slot != NONE), wanted, bound)
    }
}
