//! The rows of each group, linked from the newest to the oldest.

use super::ring::Ring;

/// No row.
pub(super) const NO_ROW: u64 = u64::MAX;

/// How far a row is from the one that was the newest of its group before; 0 if there was none.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is too long to be told becomes 0: it leads to a row that has left"
)]
#[inline(always)]
pub(super) fn distance(row: u64, newest: u64) -> u32 {
    let distance = row.wrapping_sub(newest);
    let told = (distance >> 32 == 0) & (newest != NO_ROW);
    distance as u32 * u32::from(told)
}

/// By row: how far before it the row lies that came before it in its group.
#[derive(Debug)]
pub(crate) struct Chain {
    back: Ring<u32>,
}

impl Chain {
    pub(super) fn starting_at(row: u64) -> Self {
        Self {
            back: Ring::starting_at(row),
        }
    }

    /// Adds the next rows, by how far each is from the one before it in its group.
    pub(super) fn extend(&mut self, distances: &[u32]) {
        self.back.extend(distances);
    }

    /// The rows of a group from one back to the oldest that is not before another, the newest first.
    pub(super) fn back_to(&self, row: u64, oldest: u64) -> impl Iterator<Item = u64> {
        let before = |&row: &u64| match self.back.get(row) {
            0 => None,
            back => row.checked_sub(u64::from(back)),
        };
        std::iter::successors(Some(row), before).take_while(move |&row| row >= oldest)
    }

    /// The same, the oldest first.
    pub(super) fn rows_from(&self, oldest: u64, row: u64) -> Vec<u64> {
        reversed(self.back_to(row, oldest))
    }

    /// The rows of a group that end with one, so many of them, the oldest first.
    pub(super) fn rows_to(&self, row: u64, count: u32) -> Vec<u64> {
        reversed(self.back_to(row, 0).take(count as usize))
    }

    pub(super) fn give_up(&mut self, before: u64) {
        self.back.give_up(before);
    }
}

fn reversed(rows: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut rows: Vec<u64> = rows.collect();
    rows.reverse();
    rows
}
