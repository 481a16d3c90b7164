//! Which rows of a window are marked.

use super::ring::Ring;

const BITS: u64 = 64;

/// Marks by the rows' numbers.
#[derive(Debug)]
pub(crate) struct Marks {
    /// By number divided by their bits.
    words: Ring<u64>,
    /// Number of the next word.
    next: u64,
}

impl Marks {
    /// None, of rows from a number on.
    pub(super) fn starting_at(row: u64) -> Self {
        Self {
            words: Ring::starting_at(row / BITS),
            next: row / BITS,
        }
    }

    /// Makes room for the rows before a number.
    pub(super) fn grow(&mut self, rows: u64) {
        while self.next * BITS < rows {
            self.words.push(0);
            self.next += 1;
        }
    }

    /// Marks a row for which there is room.
    pub(super) fn mark(&mut self, row: u64) {
        let word = self.words.get(row / BITS);
        self.words.set(row / BITS, word | 1 << (row % BITS));
    }

    pub(super) fn unmark(&mut self, row: u64) {
        let word = self.words.get(row / BITS);
        self.words.set(row / BITS, word & !(1 << (row % BITS)));
    }

    #[inline(always)]
    pub(super) fn holds(&self, row: u64) -> bool {
        self.words.get(row / BITS) & (1 << (row % BITS)) != 0
    }

    /// The first marked row that is not before a number.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        let first = self.words.get(from / BITS) & (u64::MAX << (from % BITS));
        if first != 0 {
            return Some(from - from % BITS + u64::from(first.trailing_zeros()));
        }
        let (at, word) = self.words.find(from / BITS + 1, |&word| word != 0)?;
        Some(at * BITS + u64::from(word.trailing_zeros()))
    }

    pub(super) fn give_up(&mut self, before: u64) {
        self.words.give_up(before / BITS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_mark_is_found_across_words_and_chunks() {
        let mut marks = Marks::starting_at(130);
        marks.grow(200_000);
        let marked = [131, 191, 192, 70_000, 199_999];
        for row in marked {
            marks.mark(row);
        }
        let found: Vec<u64> = std::iter::successors(marks.next(0), |row| marks.next(row + 1)).collect();
        assert_eq!(found, marked);
        marks.unmark(192);
        assert_eq!(marks.next(192), Some(70_000));
        marks.give_up(150_000);
        assert_eq!((marks.next(150_000), marks.next(200_000)), (Some(199_999), None));
    }
}
