//! Counts and sums by pairs of keys, by pane and by span.
//!
//! Who talks with whom has nearly as many groups as rows: a table of them lies outside of every cache, and each row that comes or
//! goes would wait for several places of it. So a pane lists its rows, sorts them by pair and puts those of one pair together, and a
//! snapshot merges panes with what a span had in sum. All of that runs through memory from one end to the other.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::column::groups::Groups;
use crate::column::interner::{NONE, Rows, for_each_row, id_from};
use crate::column::keys::{KeyId, Keys, pack, unpack};
use crate::column::numbers::{Number, Numbers, Values};
use crate::column::packed;

/// So many rows may wait to be sorted, or a quarter as many as the pane has pairs.
const MOST_WAITING: usize = 1 << 18;

/// Bits of the digit that is sorted by at a time: three passes for pairs of up to 33 bits, and as many places to write to as the
/// nearest cache has lines for.
const DIGIT_BITS: u32 = 11;

/// How many values that digit has.
const DIGITS: usize = 1 << DIGIT_BITS;

/// Where it lies in a word.
const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// Records of the same number of words, each with a pair.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Records {
    #[serde(with = "packed")]
    pairs: Vec<u64>,
    #[serde(with = "packed")]
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

    fn each(&self, stride: usize) -> impl Iterator<Item = (u64, &[i64])> {
        self.pairs.iter().copied().zip(self.words.chunks_exact(stride))
    }
}

/// The records of the rows of a pane, in the order of their pairs, each pair once.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Pane {
    records: Records,
    /// By record: which row of the pane was its first.
    #[serde(with = "packed")]
    firsts: Vec<u32>,
}

impl Pane {
    fn clear(&mut self) {
        self.records.clear();
        self.firsts.clear();
    }
}

/// An argument whose nulls are counted, and the word of their number once there was one.
#[derive(Debug)]
struct Nulls {
    argument: usize,
    word: Option<usize>,
}

/// What a span has in sum.
#[derive(Debug)]
struct Totals {
    span: usize,
    /// In the order of their pairs.
    records: Records,
}

/// Groups by a pair of keys, with the number of their rows and sums of integers.
#[derive(Debug)]
pub(crate) struct PanePairs {
    /// The keys that pairs are made of.
    pub(crate) sides: (KeyId, KeyId),
    /// Words of a record: the first counts rows, then sums, then counts of nulls as these appear.
    stride: usize,
    /// By sum: its argument.
    sums: Vec<usize>,
    nulls: Vec<Nulls>,
    /// Rows of the open pane that wait to be sorted; the others; and the number of all of them.
    waiting: Records,
    open: Pane,
    open_rows: u32,
    closed: VecDeque<Pane>,
    totals: Vec<Totals>,
    /// Records that all panes may have together, and how many the closed ones have.
    limit: usize,
    closed_records: usize,
    /// Rows that found no room since the last report.
    pub(crate) ungrouped: u64,
    order: Order,
    /// The words of what was sorted, in order.
    ordered: Vec<i64>,
    /// Memory to merge totals into, that of a pane to merge rows into, and that of one that has left: windows that have their size
    /// take no more.
    spare: Records,
    merged: Pane,
    free: Pane,
    /// What comes and goes at a snapshot, put together.
    changes: Records,
}

impl PanePairs {
    /// No groups; panes will have at most `limit` records together.
    pub(crate) fn new(sides: (KeyId, KeyId), limit: usize) -> Self {
        Self {
            sides,
            stride: 1,
            sums: Vec::new(),
            nulls: Vec::new(),
            waiting: Records::default(),
            open: Pane::default(),
            open_rows: 0,
            closed: VecDeque::new(),
            totals: Vec::new(),
            limit,
            closed_records: 0,
            ungrouped: 0,
            order: Order::default(),
            ordered: Vec::new(),
            spare: Records::default(),
            merged: Pane::default(),
            free: Pane::default(),
            changes: Records::default(),
        }
    }

    /// Keeps totals for a span. Only before the first row, as are the methods that follow.
    pub(crate) fn keep(&mut self, span: usize) {
        if self.totals.iter().all(|totals| totals.span != span) {
            self.totals.push(Totals {
                span,
                records: Records::default(),
            });
        }
    }

    /// The word of the sum of an argument, the same each time.
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

    /// Adds the rows between two places of the selection to the open pane.
    pub(crate) fn add(&mut self, keys: &Keys, rows: &Rows, (from, to): (usize, usize), numbers: &[&Numbers]) {
        self.find_nulls(numbers);
        let (left, right) = (keys.ids(self.sides.0), keys.ids(self.sides.1));
        let sums: Vec<&Numbers> = self.sums.iter().map(|&argument| numbers[argument]).collect();
        let mut nulls: Vec<&Nulls> = self.nulls.iter().filter(|nulls| nulls.word.is_some()).collect();
        nulls.sort_by_key(|nulls| nulls.word);
        let waiting = &mut self.waiting;
        waiting.pairs.reserve(to - from);
        waiting.words.reserve((to - from) * self.stride);
        match (&sums[..], &nulls[..]) {
            ([column], []) if column.nulls.is_empty() => {
                let values = integers(column);
                for_each_row!(rows, from, to, row => {
                    // A key without an id found no room for it.
                    if left[row] != NONE && right[row] != NONE {
                        waiting.pairs.push(pack(left[row], right[row]));
                        waiting.words.extend_from_slice(&[1, values[row]]);
                    }
                });
            }
            _ => {
                for_each_row!(rows, from, to, row => {
                    if left[row] == NONE || right[row] == NONE {
                        continue;
                    }
                    waiting.pairs.push(pack(left[row], right[row]));
                    waiting.words.push(1);
                    for column in &sums {
                        waiting.words.push(if column.is_null(row) { 0 } else { integers(column)[row] });
                    }
                    for nulls in &nulls {
                        waiting.words.push(i64::from(numbers[nulls.argument].is_null(row)));
                    }
                });
            }
        }
        let (waiting, sorted) = (self.waiting.pairs.len(), self.open.records.pairs.len());
        if waiting >= MOST_WAITING && waiting >= sorted / 4 {
            self.sort();
        }
    }

    /// Gives the nulls of arguments a word when the first are seen.
    fn find_nulls(&mut self, numbers: &[&Numbers]) {
        for nulls in &mut self.nulls {
            if nulls.word.is_some() || !numbers[nulls.argument].nulls.contains(&true) {
                continue;
            }
            let panes = self.closed.iter_mut().chain([&mut self.open]);
            let records = panes.map(|pane| &mut pane.records);
            let totals = self.totals.iter_mut().map(|totals| &mut totals.records);
            for records in records.chain(totals).chain([&mut self.waiting]) {
                records.widen(self.stride);
            }
            nulls.word = Some(self.stride);
            self.stride += 1;
        }
    }

    /// Puts the rows that wait into the open pane.
    fn sort(&mut self) {
        if self.waiting.pairs.is_empty() {
            return;
        }
        self.order.sort(&self.waiting.pairs);
        // As constants, so that records are copied word by word and not by calls.
        match self.stride {
            1 => self.merge_waiting::<1>(),
            2 => self.merge_waiting::<2>(),
            3 => self.merge_waiting::<3>(),
            _ => self.merge_waiting::<0>(),
        }
        std::mem::swap(&mut self.open, &mut self.merged);
        self.open_rows += id_from(self.waiting.pairs.len());
        self.waiting.clear();
    }

    /// Merges the sorted rows and the open pane. `WORDS` is the stride, or zero for any.
    fn merge_waiting<const WORDS: usize>(&mut self) {
        let stride = if WORDS == 0 { self.stride } else { WORDS };
        // In a loop of its own, as nothing in it waits for a load and those of many rows overlap.
        self.ordered.clear();
        for (_, place) in self.order.pairs() {
            let words = &self.waiting.words[place as usize * stride..][..stride];
            self.ordered.extend_from_slice(words);
        }
        let room = self.limit.saturating_sub(self.closed_records);
        let (old, new) = (&self.open, &mut self.merged.records);
        let firsts = &mut self.merged.firsts;
        new.clear();
        firsts.clear();
        let mut at = 0;
        let mut rows = self.order.pairs().zip(self.ordered.chunks_exact(stride)).peekable();
        while let Some(((pair, place), words)) = rows.next() {
            let from = at;
            at += old.records.pairs[from..]
                .iter()
                .take_while(|&&other| other < pair)
                .count();
            new.pairs.extend_from_slice(&old.records.pairs[from..at]);
            new.words
                .extend_from_slice(&old.records.words[from * stride..at * stride]);
            firsts.extend_from_slice(&old.firsts[from..at]);
            let start = new.words.len();
            new.words.extend_from_slice(words);
            let record = &mut new.words[start..];
            let mut first = self.open_rows + place;
            let known = old.records.pairs.get(at) == Some(&pair);
            if known {
                add(record, &old.records.words[at * stride..][..stride]);
                first = old.firsts[at];
                at += 1;
            }
            while let Some((_, words)) = rows.next_if(|((other, _), _)| *other == pair) {
                add(record, words);
            }
            if known || new.pairs.len() + old.records.pairs.len() - at < room {
                new.pairs.push(pair);
                firsts.push(first);
            } else {
                self.ungrouped += record[0].cast_unsigned();
                new.words.truncate(start);
            }
        }
        new.pairs.extend_from_slice(&old.records.pairs[at..]);
        new.words.extend_from_slice(&old.records.words[at * stride..]);
        firsts.extend_from_slice(&old.firsts[at..]);
    }

    /// Closes the open pane.
    pub(crate) fn close(&mut self) {
        self.sort();
        // A pane of one instant must not lie in the memory of one of a whole interval.
        let fits = self.free.firsts.capacity() <= 2 * self.open.firsts.len();
        let mut pane = if fits {
            std::mem::take(&mut self.free)
        } else {
            Pane::default()
        };
        pane.records.pairs.clone_from(&self.open.records.pairs);
        pane.records.words.clone_from(&self.open.records.words);
        pane.firsts.clone_from(&self.open.firsts);
        self.open.clear();
        self.open_rows = 0;
        self.closed_records += pane.records.pairs.len();
        self.closed.push_back(pane);
    }

    /// Adds the closed panes from a place on to the totals, and takes out those that leave: by span, from and to which place.
    pub(crate) fn slide(&mut self, new: usize, leaving: &[(usize, usize)]) {
        for totals in &mut self.totals {
            let (from, to) = leaving[totals.span];
            // What has left before it was ever looked at is passed over.
            let coming = self.closed.range(new.max(to)..).map(|pane| (&pane.records, 1));
            let going = self
                .closed
                .range(from..to.min(new).max(from))
                .map(|pane| (&pane.records, -1));
            let mut changes: Vec<(&Records, i64)> = coming.chain(going).collect();
            changes.retain(|(records, _)| !records.pairs.is_empty());
            let change = match changes[..] {
                [] => continue,
                [one] => one,
                // Told by the sign of the first, so that it need not be copied to begin with.
                [(first, sign), (second, other), ref more @ ..] => {
                    merge(self.stride, first, (second, sign * other), true, &mut self.changes);
                    for &(records, other) in more {
                        merge(
                            self.stride,
                            &self.changes,
                            (records, sign * other),
                            true,
                            &mut self.spare,
                        );
                        std::mem::swap(&mut self.changes, &mut self.spare);
                    }
                    (&self.changes, sign)
                }
            };
            merge(self.stride, &totals.records, change, false, &mut self.spare);
            std::mem::swap(&mut totals.records, &mut self.spare);
        }
    }

    /// Forgets so many of the oldest panes, which have left all spans.
    pub(crate) fn forget(&mut self, panes: usize) {
        for pane in self.closed.drain(..panes) {
            self.closed_records -= pane.records.pairs.len();
            if pane.firsts.capacity() >= self.free.firsts.capacity() {
                self.free = pane;
            }
        }
    }

    /// What a span has in sum.
    pub(crate) fn totals(&self, span: usize) -> SpanPairs<'_> {
        let totals = self.totals.iter().find(|totals| totals.span == span);
        SpanPairs {
            pairs: self,
            records: totals.map_or(&self.open.records, |totals| &totals.records),
        }
    }

    /// The rank of the oldest row of each group among those of the other wanted ones, by slot, over the panes from a place on;
    /// `usize::MAX` for groups that are not wanted.
    pub(crate) fn appearance(&self, span: usize, from: usize, wanted: &[u32]) -> Vec<usize> {
        let pairs = &self.totals(span).records.pairs;
        let mut missing: Vec<u32> = wanted.to_vec();
        missing.sort_unstable();
        let mut met: Vec<(usize, u32, u32)> = Vec::with_capacity(missing.len());
        for (number, pane) in self.closed.range(from..).enumerate() {
            let mut rest = &pane.records.pairs[..];
            missing.retain(|&slot| {
                let pair = pairs[slot as usize];
                rest = &rest[rest.partition_point(|&other| other < pair)..];
                let found = rest.first() == Some(&pair);
                if found {
                    let place = pane.records.pairs.len() - rest.len();
                    met.push((number, pane.firsts[place], slot));
                }
                !found
            });
        }
        met.sort_unstable();
        let mut ranks = vec![usize::MAX; pairs.len()];
        for (rank, (_, _, slot)) in met.into_iter().enumerate() {
            ranks[slot as usize] = rank;
        }
        ranks
    }

    /// Calls `visit` with the ids of one of the keys that the pairs are made of.
    pub(crate) fn each_part(&self, key: KeyId, visit: &mut dyn FnMut(u32)) {
        let panes = self.closed.iter().chain([&self.open]).map(|pane| &pane.records);
        for pair in panes.chain([&self.waiting]).flat_map(|records| &records.pairs) {
            let (left, right) = unpack(*pair);
            if self.sides.0 == key {
                visit(left);
            }
            if self.sides.1 == key {
                visit(right);
            }
        }
    }
}

/// Adds words to those of a record.
fn add(record: &mut [i64], words: &[i64]) {
    for (word, &more) in record.iter_mut().zip(words) {
        *word = word.wrapping_add(more);
    }
}

/// Merges records, and others that are multiplied by a sign, into `new`. Records without rows are only kept if `all` are.
fn merge(stride: usize, old: &Records, change: (&Records, i64), all: bool, new: &mut Records) {
    // As constants, so that records are copied word by word and not by calls.
    match stride {
        1 => merge_words::<1>(stride, old, change, all, new),
        2 => merge_words::<2>(stride, old, change, all, new),
        3 => merge_words::<3>(stride, old, change, all, new),
        _ => merge_words::<0>(stride, old, change, all, new),
    }
}

fn merge_words<const WORDS: usize>(
    stride: usize,
    old: &Records,
    (change, sign): (&Records, i64),
    all: bool,
    new: &mut Records,
) {
    let stride = if WORDS == 0 { stride } else { WORDS };
    new.clear();
    new.pairs.reserve(old.pairs.len() + change.pairs.len());
    new.words.reserve(old.words.len() + change.words.len());
    let mut at = 0;
    for (pair, words) in change.each(stride) {
        let from = at;
        at += old.pairs[from..].iter().take_while(|&&other| other < pair).count();
        new.pairs.extend_from_slice(&old.pairs[from..at]);
        new.words.extend_from_slice(&old.words[from * stride..at * stride]);
        let start = new.words.len();
        new.words.extend(words.iter().map(|word| sign.wrapping_mul(*word)));
        if old.pairs.get(at) == Some(&pair) {
            add(&mut new.words[start..], &old.words[at * stride..][..stride]);
            at += 1;
        }
        if all || new.words[start] != 0 {
            new.pairs.push(pair);
        } else {
            new.words.truncate(start);
        }
    }
    new.pairs.extend_from_slice(&old.pairs[at..]);
    new.words.extend_from_slice(&old.words[at * stride..]);
}

/// The groups over a span, a slot for each in the order of their pairs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanPairs<'a> {
    pairs: &'a PanePairs,
    records: &'a Records,
}

impl Groups for SpanPairs<'_> {
    fn is_grouped(&self) -> bool {
        true
    }

    fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32> {
        let parts = slots.iter().map(|&slot| unpack(self.records.pairs[slot as usize]));
        let (left, right) = self.pairs.sides;
        if right == atom {
            return parts.map(|(_, right)| right).collect();
        }
        let lefts: Vec<u32> = parts.map(|(left, _)| left).collect();
        keys.part(left, &lefts, atom)
    }

    fn records(&self) -> (&[i64], usize) {
        (&self.records.words, self.pairs.stride)
    }

    fn has_nulls(&self, nulls: usize) -> bool {
        self.pairs.nulls[nulls].word.is_some()
    }

    fn nulls_of(&self, slot: u32, nulls: usize) -> i64 {
        self.pairs.nulls[nulls].word.map_or(0, |word| self.word(slot, word))
    }

    fn extreme(&self, _: usize, _: u32) -> Option<Number> {
        None
    }
}

/// What a checkpoint keeps of the pairs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PanePairsState<'a> {
    /// By argument whose nulls are counted: their word.
    nulls: Vec<Option<u64>>,
    waiting: Cow<'a, Records>,
    open: Cow<'a, Pane>,
    open_rows: u32,
    closed: Cow<'a, VecDeque<Pane>>,
}

impl PanePairs {
    pub(crate) fn save(&self) -> PanePairsState<'_> {
        PanePairsState {
            nulls: self
                .nulls
                .iter()
                .map(|nulls| nulls.word.map(|word| word as u64))
                .collect(),
            waiting: Cow::Borrowed(&self.waiting),
            open: Cow::Borrowed(&self.open),
            open_rows: self.open_rows,
            closed: Cow::Borrowed(&self.closed),
        }
    }

    /// Takes up what was saved of the same pairs: so many closed panes, of which the totals have some, and those from a place on
    /// by span. None if it does not fit.
    pub(crate) fn restore(
        &mut self,
        keys: &Keys,
        state: PanePairsState<'_>,
        (panes, totalled): (usize, usize),
        left: &[usize],
    ) -> Option<()> {
        if state.closed.len() != panes || state.nulls.len() != self.nulls.len() {
            return None;
        }
        self.stride = 1 + self.sums.len() + state.nulls.iter().flatten().count();
        for (nulls, word) in self.nulls.iter_mut().zip(&state.nulls) {
            nulls.word = word.map(usize::try_from).transpose().ok()?;
            if nulls
                .word
                .is_some_and(|word| word <= self.sums.len() || word >= self.stride)
            {
                return None;
            }
        }
        let (left_side, right_side) = self.sides;
        let fits = |records: &Records| {
            records.words.len() == records.pairs.len() * self.stride
                && records.pairs.iter().all(|&pair| {
                    let (left, right) = unpack(pair);
                    keys.knows(left_side, left) && keys.knows(right_side, right)
                })
        };
        let sorted = |pane: &Pane| {
            fits(&pane.records)
                && pane.firsts.len() == pane.records.pairs.len()
                && pane.records.pairs.is_sorted_by(|one, other| one < other)
        };
        if !state.closed.iter().chain([&*state.open]).all(sorted) || !fits(&state.waiting) {
            return None;
        }
        self.closed = state.closed.into_owned();
        self.closed_records = self.closed.iter().map(|pane| pane.records.pairs.len()).sum();
        self.open = state.open.into_owned();
        self.open_rows = state.open_rows;
        self.waiting = state.waiting.into_owned();
        for at in 0..self.totals.len() {
            let left = *left.get(self.totals[at].span)?;
            if left > totalled || totalled > panes {
                return None;
            }
            for pane in self.closed.range(left..totalled) {
                merge(
                    self.stride,
                    &self.totals[at].records,
                    (&pane.records, 1),
                    false,
                    &mut self.spare,
                );
                std::mem::swap(&mut self.totals[at].records, &mut self.spare);
            }
        }
        Some(())
    }
}

/// The values of a column of integers.
fn integers(numbers: &Numbers) -> &[i64] {
    match &numbers.values {
        Values::Integer(values) => values,
        Values::Double(_) => &[],
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
        for shift in (0..bits).step_by(DIGIT_BITS as usize) {
            let digit = |key: u64| {
                let [low, high, ..] = ((key >> shift) & DIGIT_MASK).to_le_bytes();
                usize::from(u16::from_le_bytes([low, high]))
            };
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What comes into a pane, whether it is closed then, and how many of the oldest panes leave at a snapshot after it.
    type Step = (Vec<(u32, u32, Option<i64>)>, Option<usize>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Ids of one and of several digits.
        let id = prop_oneof![0_u32..4, 60_000_u32..60_004, Just(u32::MAX - 1)];
        let value = prop_oneof![8 => any::<i64>().prop_map(Some), 1 => Just(None)];
        let rows = proptest::collection::vec((id.clone(), id, value), 0..20);
        proptest::collection::vec((rows, proptest::option::of(0_usize..3)), 1..20)
    }

    fn add_all(pairs: &mut PanePairs, rows: &[(u32, u32, Option<i64>)]) {
        let mut column = Numbers::new(false);
        column.values = Values::Integer(rows.iter().map(|row| row.2.unwrap_or_default()).collect());
        if rows.iter().any(|row| row.2.is_none()) {
            column.nulls = rows.iter().map(|row| row.2.is_none()).collect();
        }
        pairs.find_nulls(&[&column]);
        for (at, row) in rows.iter().enumerate() {
            pairs.waiting.pairs.push(pack(row.0, row.1));
            let sum = row.2.unwrap_or_default();
            let words = [1, sum, i64::from(row.2.is_none())];
            assert_eq!(column.is_null(at), row.2.is_none());
            pairs.waiting.words.extend_from_slice(&words[..pairs.stride]);
        }
    }

    proptest! {
        #[test]
        fn totals_are_those_of_the_rows_that_have_not_left(steps in steps()) {
            let mut pairs = PanePairs::new((0, 1), usize::MAX);
            let (sum, nulls) = (pairs.sum(0), pairs.nulls(0));
            pairs.keep(0);
            let mut panes: VecDeque<Vec<(u32, u32, Option<i64>)>> = VecDeque::new();
            let mut open = Vec::new();
            let mut untotalled = 0;
            for (coming, close) in steps {
                add_all(&mut pairs, &coming);
                open.extend(coming);
                pairs.sort();
                let Some(leave) = close else { continue };
                pairs.close();
                panes.push_back(std::mem::take(&mut open));
                let leave = leave.min(panes.len());
                pairs.slide(untotalled, &[(0, leave)]);
                pairs.forget(leave);
                panes.drain(..leave);
                untotalled = panes.len();
                let mut model: BTreeMap<u64, (i64, i64, i64)> = BTreeMap::new();
                let mut appeared: Vec<u64> = Vec::new();
                for &(left, right, value) in panes.iter().flatten() {
                    let pair = pack(left, right);
                    let group = model.entry(pair).or_default();
                    let value = (1, value.unwrap_or_default(), i64::from(value.is_none()));
                    *group = (group.0 + value.0, group.1.wrapping_add(value.1), group.2 + value.2);
                    if !appeared.contains(&pair) {
                        appeared.push(pair);
                    }
                }
                let totals = pairs.totals(0);
                prop_assert!(model.keys().eq(&totals.records.pairs));
                let slots: Vec<u32> = (0..id_from(model.len())).collect();
                let ranks = pairs.appearance(0, 0, &slots);
                for (slot, (&pair, &group)) in (0..).zip(&model) {
                    let kept = (totals.rows_of(slot), totals.word(slot, sum), totals.nulls_of(slot, nulls));
                    prop_assert_eq!(kept, group);
                    prop_assert_eq!(appeared[ranks[slot as usize]], pair);
                }
            }
        }
    }

    #[test]
    fn new_pairs_are_refused_where_there_is_no_room() {
        let mut pairs = PanePairs::new((0, 1), 2);
        pairs.keep(0);
        for (pair, refused) in [(7, 0), (5, 0), (5, 0), (3, 1), (7, 1), (9, 2)] {
            pairs.waiting.pairs.push(pair);
            pairs.waiting.words.push(1);
            pairs.sort();
            assert_eq!(pairs.ungrouped, refused);
        }
        pairs.close();
        pairs.slide(0, &[(0, 0)]);
        assert_eq!(pairs.totals(0).records.pairs, [5, 7]);
        assert_eq!(pairs.totals(0).records.words, [2, 2]);
    }
}
