//! What a window keeps of each row, by the row's number.

use std::collections::VecDeque;

/// Entries of a chunk: full ones are never moved, and emptied ones are used again.
const CHUNK: usize = 1024;

/// Emptied chunks that are kept for the rows to come.
const SPARE_CHUNKS: usize = 2;

/// Values by consecutive numbers, added at the end and given up at the front.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    /// Number of the first entry of the first chunk; a multiple of the chunk's size.
    base: u64,
    /// All full but the last.
    chunks: VecDeque<Vec<T>>,
    spare: Vec<Vec<T>>,
}

#[expect(clippy::cast_possible_truncation, reason = "a distance within what lies in memory")]
#[inline(always)]
const fn place(base: u64, number: u64) -> (usize, usize) {
    let distance = number.wrapping_sub(base) as usize;
    (distance / CHUNK, distance % CHUNK)
}

impl<T: Copy + Default> Ring<T> {
    /// An empty ring whose first entry gets this number.
    pub(crate) fn starting_at(number: u64) -> Self {
        let base = number - number % CHUNK as u64;
        let mut ring = Self {
            base,
            chunks: VecDeque::new(),
            spare: Vec::new(),
        };
        for _ in base..number {
            ring.push(T::default());
        }
        ring
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, value: T) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => last.push(value),
            _ => self.extend(&[value]),
        }
    }

    pub(crate) fn extend(&mut self, mut values: &[T]) {
        while !values.is_empty() {
            let full = self.chunks.back().is_none_or(|last| last.len() == CHUNK);
            if full {
                let chunk = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK));
                self.chunks.push_back(chunk);
            }
            let Some(last) = self.chunks.back_mut() else { return };
            let (taken, left) = values.split_at(values.len().min(CHUNK - last.len()));
            last.extend_from_slice(taken);
            values = left;
        }
    }

    /// The entry of a number that has been added and not given up; the default for others.
    #[inline(always)]
    pub(crate) fn get(&self, number: u64) -> T {
        let (chunk, at) = place(self.base, number);
        self.chunks
            .get(chunk)
            .and_then(|chunk| chunk.get(at))
            .copied()
            .unwrap_or_default()
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, number: u64, value: T) {
        let (chunk, at) = place(self.base, number);
        if let Some(entry) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.get_mut(at)) {
            *entry = value;
        }
    }

    /// The first entry from a number on that is wanted, with its number.
    pub(crate) fn find(&self, from: u64, wanted: impl Fn(&T) -> bool) -> Option<(u64, T)> {
        let (chunk, at) = place(self.base, from.max(self.base));
        let mut start = at;
        for (chunk, entries) in self.chunks.iter().enumerate().skip(chunk) {
            if let Some(at) = entries.iter().skip(start).position(&wanted) {
                let at = start + at;
                return Some((self.base + (chunk * CHUNK + at) as u64, entries[at]));
            }
            start = 0;
        }
        None
    }

    /// Gives up the entries before a number, as far as they fill chunks.
    pub(crate) fn give_up(&mut self, before: u64) {
        while self.base + CHUNK as u64 <= before {
            let Some(mut chunk) = self.chunks.pop_front() else {
                return;
            };
            self.base += CHUNK as u64;
            if self.spare.len() < SPARE_CHUNKS {
                chunk.clear();
                self.spare.push(chunk);
            }
        }
    }

    /// The entries from one number up to another.
    pub(crate) fn span(&self, from: u64, to: u64) -> Vec<T> {
        (from..to).map(|number| self.get(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_numbers_while_the_front_is_given_up() {
        let mut ring = Ring::starting_at(3000);
        for number in 3000_u64..10_000 {
            ring.push(number * 2);
            if number >= 5000 {
                ring.give_up(number - 1500);
                assert_eq!(ring.get(number - 1500), (number - 1500) * 2);
            }
            assert_eq!(ring.get(number), number * 2);
        }
        ring.set(9_999, 7);
        assert_eq!(ring.span(9_998, 10_001), [19_996, 7, 0]);
        assert!(ring.chunks.len() <= 3);
    }
}
