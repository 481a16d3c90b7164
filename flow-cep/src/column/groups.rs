//! State by group: a slot per group that has rows, and one record of words per slot.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::index::{Index, Mapping};
use super::interner::{NONE, Rows, id_from};
use super::keys::{KeyId, Keys};
use super::numbers::{Number, Numbers, Values};
use super::order::Best;
use super::packed;

/// A loop over the rows that have a slot.
macro_rules! for_each_record {
    ($slots:expr, $rows:expr, $from:expr, ($slot:ident, $row:ident) => $body:expr) => {
        match $rows {
            Rows::All(_) => {
                for (&$slot, $row) in $slots.iter().zip($from..) {
                    if $slot != NONE {
                        $body
                    }
                }
            }
            Rows::Some(rows) => {
                for (&$slot, &row) in $slots.iter().zip(&rows[$from..]) {
                    if $slot != NONE {
                        let $row = row as usize;
                        $body
                    }
                }
            }
        }
    };
}

/// Whether rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grouped {
    ByKey,
    /// All rows are one group, in slot 0.
    Whole,
}

/// Distinct values within groups: how many rows hold each pair of group and value.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) index: Index,
    /// The atom that is counted.
    pub(crate) atom: KeyId,
    pub(crate) counts: Vec<u32>,
    /// Column of the group's record that holds the number of distinct values.
    pub(crate) offset: usize,
}

/// What a column of a group's record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Sum of the argument, wrapping or in floating point by the argument's type.
    Sum { argument: usize },
    /// Number of distinct values; kept by [`Members`].
    Distinct { members: usize },
    /// Count, mean and sum of squared deviations, three columns.
    Moments { argument: usize },
}

/// Rows of a group, the oldest first: number and value.
pub(crate) type Queue = VecDeque<(u64, Number)>;

/// The smallest or the largest argument of each group, over a window that rows leave in the order they came.
///
/// A group's queue holds the rows that are better than all that came after them: its front is the extreme.
#[derive(Debug)]
pub(crate) struct Extremes {
    pub(crate) argument: usize,
    pub(crate) largest: bool,
    pub(crate) queues: Vec<Queue>,
}

/// How many rows of each group have null for an argument.
#[derive(Debug)]
pub(crate) struct Nulls {
    argument: usize,
    /// By slot; ends before the groups that never had any, and so is empty for most arguments.
    pub(crate) counts: Vec<i64>,
}

/// Groups of a view by one key, with all that is aggregated by it.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub(crate) index: Index,
    /// Records of `stride` words; the first counts the group's rows.
    pub(crate) words: Vec<i64>,
    pub(crate) nulls: Vec<Nulls>,
    pub(crate) stride: usize,
    /// Cells with the offset of their (first) word.
    pub(crate) cells: Vec<(Cell, usize)>,
    pub(crate) members: Vec<Members>,
    pub(crate) extremes: Vec<Extremes>,
    /// Scratch space: groups whose first row came, or whose last row left.
    noted: Vec<u32>,
}

/// Slots of rows: of their groups, and for each counted set of their values.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Places {
    #[serde(with = "packed")]
    pub(crate) slots: Vec<u32>,
    #[serde(with = "packed::each")]
    pub(crate) members: Vec<Vec<u32>>,
}

impl Places {
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.members.iter_mut().for_each(Vec::clear);
    }
}

impl Grouping {
    pub(crate) fn new(key: Option<KeyId>, mapping: Mapping) -> Self {
        Self {
            index: Index::new(key, mapping),
            words: if key.is_none() { vec![0] } else { Vec::new() },
            nulls: Vec::new(),
            stride: 1,
            cells: Vec::new(),
            members: Vec::new(),
            extremes: Vec::new(),
            noted: Vec::new(),
        }
    }

    /// The counts of the nulls of an argument.
    pub(crate) fn nulls(&mut self, argument: usize) -> usize {
        if let Some(nulls) = self.nulls.iter().position(|nulls| nulls.argument == argument) {
            return nulls;
        }
        self.nulls.push(Nulls {
            argument,
            counts: Vec::new(),
        });
        self.nulls.len() - 1
    }

    /// The offset of a cell, the same for the same cell. Only before the first row.
    pub(crate) fn cell(&mut self, cell: Cell) -> usize {
        if let Some((_, offset)) = self.cells.iter().find(|(known, _)| *known == cell) {
            return *offset;
        }
        let offset = self.stride;
        self.cells.push((cell, offset));
        self.stride += if matches!(cell, Cell::Moments { .. }) { 3 } else { 1 };
        if self.index.key().is_none() {
            self.words = vec![0; self.stride];
        }
        offset
    }

    /// Offset of the number of distinct values of an atom.
    pub(crate) fn distinct(&mut self, atom: KeyId, key: Option<KeyId>) -> usize {
        if let Some(members) = self.members.iter().find(|members| members.atom == atom) {
            return members.offset;
        }
        let offset = self.cell(Cell::Distinct {
            members: self.members.len(),
        });
        self.members.push(Members {
            index: Index::new(key, self.index.mapping()),
            atom,
            counts: Vec::new(),
            offset,
        });
        offset
    }

    /// The queue of the extremes of an argument.
    pub(crate) fn extreme(&mut self, argument: usize, largest: bool) -> usize {
        let known = |extremes: &Extremes| extremes.argument == argument && extremes.largest == largest;
        if let Some(extremes) = self.extremes.iter().position(known) {
            return extremes;
        }
        self.extremes.push(Extremes {
            argument,
            largest,
            queues: Vec::new(),
        });
        self.extremes.len() - 1
    }

    /// Adds the rows between two places of the selection; `places` gets their slots behind what it holds. `numbers` are
    /// the view's arguments for the slice, `sequence` the number of the first of these rows in its view.
    pub(crate) fn add(
        &mut self,
        keys: &mut Keys,
        rows: &Rows,
        span: (usize, usize),
        numbers: &[&Numbers],
        sequence: u64,
        places: &mut Places,
    ) {
        let first = places.slots.len();
        self.index.enter(keys, rows, span, None, &mut places.slots);
        self.words.resize(self.index.bound() * self.stride, 0);
        let slots = &places.slots[first..];
        let stride = self.stride;
        let words = self.words.as_mut_slice();
        if self.index.key().is_none() {
            let (fused, cells) = fused(&self.cells, numbers);
            words[0] += i64::from(id_from(slots.len()));
            update_whole::<true>(words, fused, rows, (span.0, span.0 + slots.len()));
            update::<true>(words, stride, cells, slots, rows, span.0, numbers, Grouped::Whole);
        } else {
            let records = (&mut *words, stride);
            let new = add_rows(records, &self.cells, slots, rows, span.0, numbers, &mut self.noted);
            for &slot in &self.noted[..new] {
                self.index.arrive(slot);
            }
        }
        update_nulls::<true>(&mut self.nulls, self.index.bound(), slots, rows, span.0, numbers);
        places.members.resize_with(self.members.len(), Vec::new);
        for (members, kept) in self.members.iter_mut().zip(&mut places.members) {
            let first = kept.len();
            members.index.enter(keys, rows, span, Some(members.atom), kept);
            members.counts.resize(members.index.bound(), 0);
            for (&group, &member) in slots.iter().zip(&kept[first..]) {
                if member != NONE && group != NONE {
                    let count = &mut members.counts[member as usize];
                    if *count == 0 {
                        words[group as usize * stride + members.offset] += 1;
                        members.index.arrive(member);
                    }
                    *count += 1;
                }
            }
        }
        self.settle(keys);
        for extremes in &mut self.extremes {
            extremes.queues.resize_with(self.index.bound(), VecDeque::new);
            let numbers = numbers[extremes.argument];
            let queues = extremes.queues.as_mut_slice();
            for ((place, &slot), sequence) in slots.iter().enumerate().zip(sequence..) {
                if let (Some(value), true) = (numbers.number(rows.row(span.0 + place)), slot != NONE) {
                    let queue = &mut queues[slot as usize];
                    while queue
                        .back()
                        .is_some_and(|(_, last)| value.beats(*last, extremes.largest))
                    {
                        queue.pop_back();
                    }
                    queue.push_back((sequence, value));
                }
            }
        }
    }

    /// Takes out rows that were added before all that stay: `places` holds their slots, `numbers` their arguments, and
    /// both start at the first row that leaves; its number in the view is `sequence`.
    pub(crate) fn remove(
        &mut self,
        keys: &mut Keys,
        (from, to): (usize, usize),
        places: &Places,
        numbers: &[&Numbers],
        sequence: u64,
    ) {
        let slots = &places.slots[from..to];
        let stride = self.stride;
        let (fused, cells) = fused(&self.cells, numbers);
        let words = self.words.as_mut_slice();
        let rows = &Rows::All(to);
        let grouped = if self.index.key().is_some() {
            Grouped::ByKey
        } else {
            Grouped::Whole
        };
        update::<false>(words, stride, cells, slots, rows, from, numbers, grouped);
        update_nulls::<false>(&mut self.nulls, self.index.bound(), slots, rows, from, numbers);
        for (members, kept) in self.members.iter_mut().zip(&places.members) {
            for (&group, &member) in slots.iter().zip(&kept[from..to]) {
                if member != NONE && group != NONE {
                    let count = &mut members.counts[member as usize];
                    *count -= 1;
                    if *count == 0 {
                        words[group as usize * stride + members.offset] -= 1;
                        members.index.leave(member);
                    }
                }
            }
        }
        for extremes in &mut self.extremes {
            for (&slot, sequence) in slots.iter().zip(sequence..) {
                if slot != NONE {
                    let queue = &mut extremes.queues[slot as usize];
                    if queue.front().is_some_and(|(front, _)| *front == sequence) {
                        queue.pop_front();
                    }
                }
            }
        }
        if self.index.key().is_none() {
            words[0] -= i64::from(id_from(slots.len()));
            update_whole::<false>(words, fused, rows, (from, to));
            if words[0] == 0 {
                words.fill(0);
            }
            return;
        }
        let noted = &mut self.noted;
        noted.resize(slots.len(), NONE);
        let mut next = 0;
        for_each_record!(slots, rows, from, (slot, row) => {
            let record = &mut words[slot as usize * stride..][..stride];
            record[0] -= 1;
            if let Some((values, offset)) = fused {
                record[offset] = record[offset].wrapping_sub(values[row]);
            }
            noted[next] = slot;
            next += usize::from(record[0] == 0);
        });
        for &slot in &noted[..next] {
            // What floating point left over goes with the last row.
            words[slot as usize * stride..][..stride].fill(0);
            self.index.leave(slot);
        }
        self.settle(keys);
    }

    fn settle(&mut self, keys: &mut Keys) {
        self.index.settle(keys);
        for members in &mut self.members {
            members.index.settle(keys);
        }
    }

    /// Slots of the groups that have rows, or had some when [`Grouping::turn`] was called last.
    pub(crate) fn held(&self) -> Vec<u32> {
        (0..self.index.bound())
            .map(id_from)
            .filter(|&slot| self.index.id(slot) != NONE)
            .collect()
    }

    /// Forgets all rows, as a batch ends. Groups that had any stay, without rows, until the next call.
    pub(crate) fn turn(&mut self, keys: &mut Keys) {
        for slot in (0..self.index.bound()).map(id_from) {
            if self.index.key().is_some() && self.index.id(slot) != NONE && self.rows_of(slot) == 0 {
                self.index.leave(slot);
            }
        }
        self.words.fill(0);
        for nulls in &mut self.nulls {
            nulls.counts.fill(0);
        }
        for members in &mut self.members {
            for slot in (0..members.index.bound()).map(id_from) {
                if members.index.id(slot) != NONE {
                    members.index.leave(slot);
                }
            }
            members.counts.fill(0);
        }
        for queue in self.extremes.iter_mut().flat_map(|extremes| &mut extremes.queues) {
            queue.clear();
        }
        self.settle(keys);
    }
}

impl Groups for Grouping {
    fn is_grouped(&self) -> bool {
        self.index.key().is_some()
    }

    fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32> {
        self.index.ids(keys, slots, atom)
    }

    fn records(&self) -> (&[i64], usize) {
        (&self.words, self.stride)
    }

    fn has_nulls(&self, nulls: usize) -> bool {
        !self.nulls[nulls].counts.is_empty()
    }

    fn nulls_of(&self, slot: u32, nulls: usize) -> i64 {
        self.nulls[nulls].counts.get(slot as usize).copied().unwrap_or(0)
    }

    fn extreme(&self, extremes: usize, slot: u32) -> Option<Number> {
        let (_, number) = self.extremes[extremes].queues.get(slot as usize)?.front()?;
        Some(*number)
    }
}

/// What statements read of groups, by the slot of a group.
pub(crate) trait Groups {
    /// Whether rows are divided; if not all are one group, in slot 0.
    fn is_grouped(&self) -> bool;

    /// The ids of one of the atoms that the groups' key is made of.
    fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32>;

    /// Records of so many words, by slot; the first word counts the group's rows.
    fn records(&self) -> (&[i64], usize);

    /// Whether an argument may be null in any group.
    fn has_nulls(&self, nulls: usize) -> bool;

    /// Rows of a group whose argument is null.
    fn nulls_of(&self, slot: u32, nulls: usize) -> i64;

    /// The smallest or largest argument of a group.
    fn extreme(&self, extremes: usize, slot: u32) -> Option<Number>;

    /// The word at an offset of a group's record.
    fn word(&self, slot: u32, offset: usize) -> i64 {
        let (words, stride) = self.records();
        words[slot as usize * stride + offset]
    }

    /// The rows of a group.
    fn rows_of(&self, slot: u32) -> i64 {
        self.word(slot, 0)
    }

    /// The word of each of the groups.
    fn gather(&self, slots: &[u32], offset: usize) -> Vec<i64> {
        let (words, stride) = self.records();
        slots
            .iter()
            .map(|&slot| words[slot as usize * stride + offset])
            .collect()
    }

    /// Slots of the groups that have rows and, at some words, at least so much.
    fn live_from(&self, bounds: &[(usize, i64)]) -> Vec<u32> {
        let (words, stride) = self.records();
        let records = words.chunks_exact(stride).zip(0..);
        let (&(first, least), others) = bounds.split_first().unwrap_or((&(0, 0), &[]));
        records
            .filter(|(record, _)| record[first] >= least && record[0] != 0)
            .filter(|(record, _)| others.iter().all(|&(offset, least)| record[offset] >= least))
            .map(|(_, slot)| slot)
            .collect()
    }

    /// How many groups have rows.
    fn live(&self) -> usize {
        let (words, stride) = self.records();
        words.chunks_exact(stride).filter(|record| record[0] != 0).count()
    }

    /// Slots of groups that have rows and may be among the first by an integer word, no fewer than `count` of them if there
    /// are as many.
    fn leading(&self, offset: usize, descending: bool, count: usize) -> Vec<u32> {
        let (words, stride) = self.records();
        let mut best = Best::new(count, descending);
        for (record, slot) in words.chunks_exact(stride).zip(0..) {
            if best.admits(record[offset]) && record[0] != 0 {
                best.offer(record[offset], slot);
            }
        }
        best.take()
    }
}

/// The rank of each wanted slot among the others in the order in which they are first met, by slot; `usize::MAX` for others.
pub(crate) fn ranks(slots: impl Iterator<Item = u32>, wanted: &[u32], bound: usize) -> Vec<usize> {
    let mut missing = vec![false; bound];
    for &slot in wanted {
        missing[slot as usize] = true;
    }
    let mut ranks = vec![usize::MAX; bound];
    let met = slots.filter(|&slot| std::mem::take(&mut missing[slot as usize]));
    for (rank, slot) in met.take(wanted.len()).enumerate() {
        ranks[slot as usize] = rank;
    }
    ranks
}

/// Values and the offset of their sum.
type Summed<'a> = Option<(&'a [i64], usize)>;

/// The first sum, where it is one of integers without nulls: it is taken along when rows are counted. And the other cells.
fn fused<'a, 'b>(cells: &'a [(Cell, usize)], numbers: &[&'b Numbers]) -> (Summed<'b>, &'a [(Cell, usize)]) {
    if let Some((&(Cell::Sum { argument }, offset), others)) = cells.split_first()
        && let Values::Integer(values) = &numbers[argument].values
        && numbers[argument].nulls.is_empty()
    {
        return (Some((values, offset)), others);
    }
    (None, cells)
}

/// Adds rows to the records, of so many words, of their groups: counts them and takes them into the cells. The groups that had no
/// rows are listed at the beginning of `noted`; returns how many these are.
pub(crate) fn add_rows(
    (words, stride): (&mut [i64], usize),
    cells: &[(Cell, usize)],
    slots: &[u32],
    rows: &Rows,
    from: usize,
    numbers: &[&Numbers],
    noted: &mut Vec<u32>,
) -> usize {
    let (fused, cells) = fused(cells, numbers);
    // New groups are listed without a branch: it would have to wait for each record to be loaded.
    noted.resize(slots.len(), NONE);
    let mut next = 0;
    for_each_record!(slots, rows, from, (slot, row) => {
        let record = &mut words[slot as usize * stride..][..stride];
        noted[next] = slot;
        next += usize::from(record[0] == 0);
        record[0] += 1;
        if let Some((values, offset)) = fused {
            record[offset] = record[offset].wrapping_add(values[row]);
        }
    });
    update::<true>(words, stride, cells, slots, rows, from, numbers, Grouped::ByKey);
    next
}

/// Applies rows to a sum over all of them.
fn update_whole<const COMING: bool>(words: &mut [i64], summed: Summed<'_>, rows: &Rows, (from, to): (usize, usize)) {
    if let Some((values, offset)) = summed {
        let mut sum = 0_i64;
        rows.each(from, to, |row| sum = sum.wrapping_add(values[row]));
        words[offset] = if COMING {
            words[offset].wrapping_add(sum)
        } else {
            words[offset].wrapping_sub(sum)
        };
    }
}

/// Applies rows to the counts of nulls of their groups, coming or going.
fn update_nulls<const COMING: bool>(
    nulls: &mut [Nulls],
    bound: usize,
    slots: &[u32],
    rows: &Rows,
    from: usize,
    numbers: &[&Numbers],
) {
    for nulls in nulls {
        let numbers = numbers[nulls.argument];
        if numbers.nulls.is_empty() {
            continue;
        }
        if nulls.counts.len() < bound {
            nulls.counts.resize(bound, 0);
        }
        for_each_record!(slots, rows, from, (slot, row) => {
            let null = i64::from(numbers.is_null(row));
            nulls.counts[slot as usize] += if COMING { null } else { -null };
        });
    }
}

/// Applies rows to the cells of their groups, coming or going.
#[expect(clippy::too_many_arguments, reason = "the parts of a grouping, borrowed one by one")]
fn update<const COMING: bool>(
    words: &mut [i64],
    stride: usize,
    cells: &[(Cell, usize)],
    slots: &[u32],
    rows: &Rows,
    from: usize,
    numbers: &[&Numbers],
    grouped: Grouped,
) {
    for &(cell, offset) in cells {
        match cell {
            Cell::Sum { argument } => {
                let numbers = numbers[argument];
                match &numbers.values {
                    Values::Integer(values) if grouped == Grouped::Whole && numbers.nulls.is_empty() => {
                        update_whole::<COMING>(words, Some((values, offset)), rows, (from, from + slots.len()));
                    }
                    Values::Integer(values) => for_each_record!(slots, rows, from, (slot, row) => {
                        let value = if numbers.is_null(row) { 0 } else { values[row] };
                        let word = &mut words[slot as usize * stride + offset];
                        *word = if COMING {
                            word.wrapping_add(value)
                        } else {
                            word.wrapping_sub(value)
                        };
                    }),
                    Values::Double(values) => for_each_record!(slots, rows, from, (slot, row) => {
                        if !numbers.is_null(row) {
                            let word = &mut words[slot as usize * stride + offset];
                            let sum = from_word(*word);
                            *word = to_word(if COMING { sum + values[row] } else { sum - values[row] });
                        }
                    }),
                }
            }
            Cell::Moments { argument } => for_each_record!(slots, rows, from, (slot, row) => {
                if let Some(value) = numbers[argument].double(row) {
                    let at = slot as usize * stride + offset;
                    moments::<COMING>(&mut words[at..at + 3], value);
                }
            }),
            Cell::Distinct { .. } => {}
        }
    }
}

pub(crate) const fn from_word(word: i64) -> f64 {
    f64::from_bits(word.cast_unsigned())
}

pub(crate) const fn to_word(value: f64) -> i64 {
    value.to_bits().cast_signed()
}

/// Welford's update of count, mean and sum of squared deviations, in the order of operations that Esper has: where rounding makes the
/// sum a little less than 0, the deviation is not a number there either.
#[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
fn moments<const COMING: bool>(words: &mut [i64], value: f64) {
    let (mean, squares) = (from_word(words[1]), from_word(words[2]));
    let delta = value - mean;
    if COMING {
        words[0] += 1;
        let mean = mean + delta / words[0] as f64;
        words[1] = to_word(mean);
        words[2] = to_word(squares + delta * (value - mean));
    } else {
        words[0] -= 1;
        if words[0] == 0 {
            words.fill(0);
        } else {
            let mean = mean - delta / words[0] as f64;
            words[1] = to_word(mean);
            words[2] = to_word(squares - delta * (value - mean));
        }
    }
}
