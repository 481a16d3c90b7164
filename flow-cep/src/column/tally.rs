//! Counts and sums by pairs of keys, brought up to date when somebody looks.
//!
//! Who talks with whom has nearly as many groups as rows: a table of them lies outside of every cache, and each row that comes or
//! goes would wait for several places of it. A snapshot only asks every so often, so what has changed is listed meanwhile, and
//! then sorted and merged into the groups, which are kept in the order of their pairs. All of that runs through memory from one
//! end to the other.

use super::groups::Groups;
use super::interner::{NONE, Rows, for_each_row, id_from};
use super::keys::{KeyId, Keys, pack, unpack};
use super::numbers::{Number, Numbers, Values};

/// The pair of a row that takes no part: its keys found no room.
pub(crate) const NO_PAIR: u64 = u64::MAX;

/// So many changes may wait, or a quarter as many as there are groups.
const MOST_CHANGES: usize = 1 << 17;

/// How many values the digit has that is sorted by at a time: an octet.
const DIGITS: usize = 1 << u8::BITS;

/// Records of the same number of words, each with a pair.
#[derive(Debug, Default)]
struct Records {
    pairs: Vec<u64>,
    words: Vec<i64>,
}

impl Records {
    fn clear(&mut self) {
        self.pairs.clear();
        self.words.clear();
    }

    /// Appends a word of zero to each record.
    fn widen(&mut self, stride: usize) {
        let records = self.words.chunks_exact(stride);
        self.words = records.flat_map(|record| record.iter().copied().chain([0])).collect();
    }
}

/// An argument whose nulls are counted, and the word of their number once there was one.
#[derive(Debug)]
struct Nulls {
    argument: usize,
    word: Option<usize>,
}

/// Groups of a sliding window by a pair of keys, with the number of their rows and sums of integers.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The keys that pairs are made of.
    pub(crate) sides: (KeyId, KeyId),
    /// Words of a record: the first counts rows, then sums, then counts of nulls as these appear.
    stride: usize,
    /// By sum: its argument.
    sums: Vec<usize>,
    nulls: Vec<Nulls>,
    /// In the order of their pairs.
    groups: Records,
    /// What came and went since.
    changes: Records,
    /// Memory for the groups to be merged into.
    spare: Records,
    order: Order,
    /// The words of the changes in the order of their pairs.
    ordered: Vec<i64>,
    limit: usize,
    /// Rows that came since the groups were brought up to date.
    pub(crate) new_rows: usize,
}

impl Tally {
    /// No groups; there will be at most `limit`.
    pub(crate) fn new(sides: (KeyId, KeyId), limit: usize) -> Self {
        Self {
            sides,
            stride: 1,
            sums: Vec::new(),
            nulls: Vec::new(),
            groups: Records::default(),
            changes: Records::default(),
            spare: Records::default(),
            order: Order::default(),
            ordered: Vec::new(),
            limit,
            new_rows: 0,
        }
    }

    /// The word of the sum of an argument, the same each time. Only before the first row.
    pub(crate) fn sum(&mut self, argument: usize) -> usize {
        let known = self.sums.iter().position(|&known| known == argument);
        1 + known.unwrap_or_else(|| {
            self.sums.push(argument);
            self.stride += 1;
            self.sums.len() - 1
        })
    }

    /// The counts of the nulls of an argument.
    pub(crate) fn nulls(&mut self, argument: usize) -> usize {
        if let Some(nulls) = self.nulls.iter().position(|nulls| nulls.argument == argument) {
            return nulls;
        }
        self.nulls.push(Nulls { argument, word: None });
        self.nulls.len() - 1
    }

    /// Takes the rows between two places of the selection; `pairs` gets their pairs behind what it holds.
    pub(crate) fn add(
        &mut self,
        keys: &Keys,
        rows: &Rows,
        (from, to): (usize, usize),
        numbers: &[&Numbers],
        pairs: &mut Vec<u64>,
    ) {
        let (left, right) = (keys.ids(self.sides.0), keys.ids(self.sides.1));
        let first = pairs.len();
        for_each_row!(rows, from, to, row => {
            let refused = left[row] == NONE || right[row] == NONE;
            pairs.push(if refused { NO_PAIR } else { pack(left[row], right[row]) });
        });
        self.new_rows += to - from;
        match rows {
            Rows::All(_) => self.change(&pairs[first..], from..to, numbers, 1),
            Rows::Some(rows) => {
                let rows = rows[from..to].iter().map(|&row| row as usize);
                self.change(&pairs[first..], rows, numbers, 1);
            }
        }
    }

    /// Takes rows of these pairs, which a checkpoint held, with their numbers from `from` on. None if a pair is of ids that are
    /// not in use.
    pub(crate) fn restore(&mut self, keys: &Keys, pairs: &[u64], from: usize, numbers: &[&Numbers]) -> Option<()> {
        let known = |pair: u64| {
            let (left, right) = unpack(pair);
            pair == NO_PAIR || (keys.knows(self.sides.0, left) && keys.knows(self.sides.1, right))
        };
        if !pairs.iter().all(|&pair| known(pair)) {
            return None;
        }
        self.new_rows += pairs.len();
        self.change(pairs, from..from + pairs.len(), numbers, 1);
        Some(())
    }

    /// Takes out rows of these pairs, whose numbers start at `from`.
    pub(crate) fn remove(&mut self, pairs: &[u64], from: usize, numbers: &[&Numbers]) {
        self.change(pairs, from..from + pairs.len(), numbers, -1);
    }

    fn change(&mut self, pairs: &[u64], rows: impl Iterator<Item = usize> + Clone, numbers: &[&Numbers], sign: i64) {
        self.find_nulls(numbers);
        let sums = self.sums.iter().map(|&argument| integers(numbers[argument]));
        let sums: Vec<(&[i64], &Numbers)> = sums.collect();
        let mut nulls: Vec<&Nulls> = self.nulls.iter().filter(|nulls| nulls.word.is_some()).collect();
        nulls.sort_by_key(|nulls| nulls.word);
        let changes = &mut self.changes;
        changes.pairs.reserve(pairs.len());
        changes.words.reserve(pairs.len() * self.stride);
        if let ([(values, column)], []) = (&sums[..], &nulls[..])
            && column.nulls.is_empty()
            && !pairs.contains(&NO_PAIR)
        {
            changes.pairs.extend_from_slice(pairs);
            changes
                .words
                .extend(rows.flat_map(|row| [sign, sign.wrapping_mul(values[row])]));
            return;
        }
        for (&pair, row) in pairs.iter().zip(rows) {
            if pair == NO_PAIR {
                continue;
            }
            changes.pairs.push(pair);
            changes.words.push(sign);
            for (values, column) in &sums {
                let value = if column.is_null(row) { 0 } else { values[row] };
                changes.words.push(sign.wrapping_mul(value));
            }
            for nulls in &nulls {
                changes
                    .words
                    .push(sign * i64::from(numbers[nulls.argument].is_null(row)));
            }
        }
    }

    /// Gives the nulls of arguments a word when the first are seen.
    fn find_nulls(&mut self, numbers: &[&Numbers]) {
        for nulls in &mut self.nulls {
            if nulls.word.is_none() && numbers[nulls.argument].nulls.contains(&true) {
                self.groups.widen(self.stride);
                self.changes.widen(self.stride);
                nulls.word = Some(self.stride);
                self.stride += 1;
            }
        }
    }

    /// Whether so much has changed that it should not wait for a look.
    pub(crate) const fn is_due(&self) -> bool {
        let (changes, groups) = (self.changes.pairs.len(), self.groups.pairs.len());
        changes >= MOST_CHANGES && changes >= groups / 4
    }

    /// Brings the groups up to date. `refused` gets the pairs, in order, that found no room.
    pub(crate) fn settle(&mut self, refused: &mut Vec<u64>) {
        self.new_rows = 0;
        if self.changes.pairs.is_empty() {
            return;
        }
        self.order.sort(&self.changes.pairs);
        // As constants, so that records are copied word by word and not by calls.
        match self.stride {
            1 => self.merge::<1>(refused),
            2 => self.merge::<2>(refused),
            3 => self.merge::<3>(refused),
            _ => self.merge::<0>(refused),
        }
        std::mem::swap(&mut self.groups, &mut self.spare);
        self.changes.clear();
    }

    /// Merges the sorted changes and the groups into the spare records. `WORDS` is their stride, or zero for any.
    fn merge<const WORDS: usize>(&mut self, refused: &mut Vec<u64>) {
        let stride = if WORDS == 0 { self.stride } else { WORDS };
        // In a loop of its own, as nothing in it waits for a load and those of many changes overlap.
        self.ordered.clear();
        for (_, place) in self.order.pairs() {
            let change = &self.changes.words[place as usize * stride..][..stride];
            self.ordered.extend_from_slice(change);
        }
        let (old, new) = (&self.groups, &mut self.spare);
        new.clear();
        let mut at = 0;
        let mut changes = self
            .order
            .pairs()
            .map(|(pair, _)| pair)
            .zip(self.ordered.chunks_exact(stride))
            .peekable();
        while let Some((pair, change)) = changes.next() {
            let from = at;
            at += old.pairs[from..].iter().take_while(|&&other| other < pair).count();
            new.pairs.extend_from_slice(&old.pairs[from..at]);
            new.words.extend_from_slice(&old.words[from * stride..at * stride]);
            let start = new.words.len();
            new.words.extend_from_slice(change);
            let record = &mut new.words[start..];
            let mut add = |words: &[i64]| {
                for (word, &more) in record.iter_mut().zip(words) {
                    *word = word.wrapping_add(more);
                }
            };
            let known = old.pairs.get(at) == Some(&pair);
            if known {
                add(&old.words[at * stride..][..stride]);
                at += 1;
            }
            while let Some((_, change)) = changes.next_if(|&(other, _)| other == pair) {
                add(change);
            }
            let has_rows = record[0] != 0;
            let has_room = known || new.pairs.len() + old.pairs.len() - at < self.limit;
            if has_rows && has_room {
                new.pairs.push(pair);
            } else {
                new.words.truncate(start);
                if has_rows {
                    refused.push(pair);
                }
            }
        }
        new.pairs.extend_from_slice(&old.pairs[at..]);
        new.words.extend_from_slice(&old.words[at * stride..]);
    }

    /// Groups when they were brought up to date last.
    pub(crate) const fn len(&self) -> usize {
        self.groups.pairs.len()
    }

    /// Calls `visit` with the ids of one of the keys that the groups are made of, as of when they were brought up to date.
    pub(crate) fn each_part(&self, key: KeyId, mut visit: impl FnMut(u32)) {
        let pairs = self.groups.pairs.iter().map(|&pair| unpack(pair));
        if self.sides.0 == key {
            pairs.clone().for_each(|(left, _)| visit(left));
        }
        if self.sides.1 == key {
            pairs.for_each(|(_, right)| visit(right));
        }
    }

    /// The place of a pair among the groups.
    pub(crate) fn slot(&self, pair: u64) -> Option<u32> {
        self.groups.pairs.binary_search(&pair).ok().map(id_from)
    }
}

impl Groups for Tally {
    fn is_grouped(&self) -> bool {
        true
    }

    fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32> {
        let parts = slots.iter().map(|&slot| unpack(self.groups.pairs[slot as usize]));
        if self.sides.1 == atom {
            return parts.map(|(_, right)| right).collect();
        }
        let lefts: Vec<u32> = parts.map(|(left, _)| left).collect();
        keys.part(self.sides.0, &lefts, atom)
    }

    fn records(&self) -> (&[i64], usize) {
        (&self.groups.words, self.stride)
    }

    fn has_nulls(&self, nulls: usize) -> bool {
        self.nulls[nulls].word.is_some()
    }

    fn nulls_of(&self, slot: u32, nulls: usize) -> i64 {
        self.nulls[nulls].word.map_or(0, |word| self.word(slot, word))
    }

    fn extreme(&self, _: usize, _: u32) -> Option<Number> {
        None
    }
}

/// The values of a column of integers.
fn integers(numbers: &Numbers) -> (&[i64], &Numbers) {
    match &numbers.values {
        Values::Integer(values) => (values, numbers),
        Values::Double(_) => (&[], numbers),
    }
}

/// Places of pairs in the order of the pairs.
#[derive(Debug, Default)]
struct Order {
    entries: Vec<(u64, u32)>,
    spare: Vec<(u64, u32)>,
    /// Bits that the right ids take: pairs are sorted without the bits between the ids.
    right_bits: u32,
}

impl Order {
    /// Sorts by one digit after the other, from the lowest.
    fn sort(&mut self, pairs: &[u64]) {
        let (left, right) = unpack(pairs.iter().fold(0, |all, pair| all | pair));
        self.right_bits = u32::BITS - right.leading_zeros();
        let bits = self.right_bits + u32::BITS - left.leading_zeros();
        let right_bits = self.right_bits;
        let narrow = |pair: u64| {
            let (left, right) = unpack(pair);
            (u64::from(left) << right_bits) | u64::from(right)
        };
        self.entries.clear();
        self.entries
            .extend(pairs.iter().zip(0..).map(|(&pair, place)| (narrow(pair), place)));
        self.spare.resize(self.entries.len(), (0, 0));
        for shift in (0..bits).step_by(8) {
            let digit = |key: u64| usize::from((key >> shift).to_le_bytes()[0]);
            let mut starts = [0_u32; DIGITS];
            for &(key, _) in &self.entries {
                starts[digit(key)] += 1;
            }
            let mut next = 0;
            for start in &mut starts {
                next += std::mem::replace(start, next);
            }
            for &entry in &self.entries {
                let start = &mut starts[digit(entry.0)];
                self.spare[*start as usize] = entry;
                *start += 1;
            }
            std::mem::swap(&mut self.entries, &mut self.spare);
        }
    }

    /// Pairs and their places, in order.
    fn pairs(&self) -> impl Iterator<Item = (u64, u32)> {
        let right_bits = self.right_bits;
        let mask = (1 << right_bits) - 1;
        self.entries
            .iter()
            .map(move |&(key, place)| (((key >> right_bits) << 32) | (key & mask), place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// What comes at once, how many of the oldest go after it, and whether somebody looks then.
    type Step = (Vec<(u32, u32, Option<i64>)>, usize, bool);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Ids of one and of several digits.
        let id = prop_oneof![0_u32..4, 60_000_u32..60_004, Just(u32::MAX - 1)];
        let value = prop_oneof![8 => any::<i64>().prop_map(Some), 1 => Just(None)];
        let rows = proptest::collection::vec((id.clone(), id, value), 0..20);
        proptest::collection::vec((rows, 0_usize..25, any::<bool>()), 1..20)
    }

    fn numbers(values: impl Iterator<Item = Option<i64>> + Clone) -> Numbers {
        let mut numbers = Numbers::new(false);
        numbers.values = Values::Integer(values.clone().map(Option::unwrap_or_default).collect());
        if values.clone().any(|value| value.is_none()) {
            numbers.nulls = values.map(|value| value.is_none()).collect();
        }
        numbers
    }

    proptest! {
        #[test]
        fn groups_are_those_of_the_rows_that_are_there(steps in steps()) {
            let mut tally = Tally::new((0, 1), usize::MAX);
            let (sum, nulls) = (tally.sum(0), tally.nulls(0));
            let mut window = VecDeque::new();
            for (coming, going, look) in steps {
                let pairs: Vec<u64> = coming.iter().map(|row| pack(row.0, row.1)).collect();
                let column = numbers(coming.iter().map(|row| row.2));
                tally.change(&pairs, 0..pairs.len(), &[&column], 1);
                window.extend(pairs.into_iter().zip(coming.iter().map(|row| row.2)));
                let going = window.drain(..going.min(window.len()));
                let (pairs, values): (Vec<u64>, Vec<Option<i64>>) = going.unzip();
                tally.remove(&pairs, 0, &[&numbers(values.into_iter())]);
                if !look {
                    continue;
                }
                let mut refused = Vec::new();
                tally.settle(&mut refused);
                prop_assert!(refused.is_empty());
                let mut model: BTreeMap<u64, (i64, i64, i64)> = BTreeMap::new();
                for &(pair, value) in &window {
                    let group = model.entry(pair).or_default();
                    let value = (1, value.unwrap_or_default(), i64::from(value.is_none()));
                    *group = (group.0 + value.0, group.1.wrapping_add(value.1), group.2 + value.2);
                }
                prop_assert!(model.keys().eq(&tally.groups.pairs));
                for (slot, (&pair, &group)) in (0..).zip(&model) {
                    prop_assert_eq!(tally.slot(pair), Some(slot));
                    let kept = (tally.rows_of(slot), tally.word(slot, sum), tally.nulls_of(slot, nulls));
                    prop_assert_eq!(kept, group);
                }
            }
        }
    }

    #[test]
    fn new_groups_are_refused_where_there_is_no_room() {
        let mut tally = Tally::new((0, 1), 2);
        let mut refused = Vec::new();
        tally.change(&[7, 5, 5, NO_PAIR], 0..4, &[], 1);
        tally.settle(&mut refused);
        assert_eq!((tally.len(), refused.len()), (2, 0));
        tally.change(&[3, 7, 9], 0..3, &[], 1);
        tally.settle(&mut refused);
        assert_eq!((&tally.groups.pairs[..], &refused[..]), (&[5, 7][..], &[3, 9][..]));
        assert_eq!((tally.rows_of(0), tally.rows_of(1)), (2, 2));
    }
}
