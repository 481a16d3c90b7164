//! State by group: a slot per group that has rows, and one record of words per slot.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interner::{NONE, Rows, id_from};
use super::keys::{KeyId, Keys};
use super::numbers::{Number, Numbers, Values};

/// Which slot holds the state of which key.
///
/// Slots are dense over the keys that have rows here, however many ids other statements keep in use.
#[derive(Debug)]
pub(crate) struct Index {
    /// None when all rows are one group, which has slot 0.
    key: Option<KeyId>,
    slot_of: Vec<u32>,
    pub(crate) ids: Vec<u32>,
    pub(crate) free: Vec<u32>,
    created: Vec<u32>,
    left: Vec<u32>,
}

/// Whether rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouped {
    ByKey,
    /// All rows are one group, in slot 0.
    Whole,
}

impl Index {
    pub(crate) fn new(key: Option<KeyId>) -> Self {
        let ids = if key.is_none() { vec![0] } else { Vec::new() };
        Self {
            key,
            slot_of: Vec::new(),
            ids,
            free: Vec::new(),
            created: Vec::new(),
            left: Vec::new(),
        }
    }

    pub(crate) const fn key(&self) -> Option<KeyId> {
        self.key
    }

    const fn grouped(&self) -> Grouped {
        if self.key.is_some() {
            Grouped::ByKey
        } else {
            Grouped::Whole
        }
    }

    /// One more than the largest slot.
    pub(crate) fn bound(&self) -> usize {
        self.ids.len()
    }

    /// Keys that have a slot.
    pub(crate) fn len(&self) -> usize {
        self.ids.len() - self.free.len()
    }

    /// Writes the slots of the rows between two places of the selection to `slots`, making those that are missing. Rows
    /// for which `skip` is the id of their `check` take no slot.
    pub(crate) fn enter(
        &mut self,
        keys: &mut Keys,
        rows: &Rows,
        (from, to): (usize, usize),
        check: Option<KeyId>,
        slots: &mut Vec<u32>,
    ) {
        let Some(key) = self.key else {
            slots.resize(slots.len() + to - from, 0);
            return;
        };
        let bound = keys.bound(key);
        if self.slot_of.len() < bound {
            self.slot_of.resize(bound, NONE);
        }
        let ids = keys.ids(key);
        slots.reserve(to - from);
        let checked = check.map(|check| keys.ids(check));
        rows.each(from, to, |row| {
            let id = ids[row];
            if id == NONE || checked.is_some_and(|checked| checked[row] == super::keys::NULL) {
                slots.push(NONE);
                return;
            }
            let mut slot = self.slot_of[id as usize];
            if slot == NONE {
                slot = match self.free.pop() {
                    Some(slot) => {
                        self.ids[slot as usize] = id;
                        slot
                    }
                    None => {
                        self.ids.push(id);
                        id_from(self.ids.len() - 1)
                    }
                };
                self.slot_of[id as usize] = slot;
                self.created.push(id);
            }
            slots.push(slot);
        });
        keys.hold_all(key, &self.created);
        self.created.clear();
    }

    /// Gives a slot back; [`Index::settle`] has to follow.
    fn leave(&mut self, slot: u32) {
        if self.key.is_some() {
            let id = self.ids[slot as usize];
            self.slot_of[id as usize] = NONE;
            self.ids[slot as usize] = NONE;
            self.free.push(slot);
            self.left.push(id);
        }
    }

    /// Releases the ids of the slots that were given back.
    fn settle(&mut self, keys: &mut Keys) {
        if let Some(key) = self.key {
            keys.release_all(key, &self.left);
        }
        self.left.clear();
    }

    /// The index whose slots hold these ids; counts its holds. None if the parts do not fit.
    pub(crate) fn restore(keys: &mut Keys, key: Option<KeyId>, ids: Vec<u32>, free: Vec<u32>) -> Option<Self> {
        let mut index = Self {
            key,
            slot_of: Vec::new(),
            ids,
            free,
            created: Vec::new(),
            left: Vec::new(),
        };
        let Some(key) = key else {
            return (index.ids.len() == 1 && index.free.is_empty()).then_some(index);
        };
        index.slot_of = vec![NONE; keys.bound(key)];
        let mut vacant = 0;
        for (slot, &id) in index.ids.iter().enumerate() {
            if id == NONE {
                vacant += 1;
                continue;
            }
            let slot_of = index.slot_of.get_mut(id as usize)?;
            if *slot_of != NONE || !keys.knows(key, id) {
                return None;
            }
            *slot_of = id_from(slot);
            keys.hold(key, id);
        }
        let mut free = index.free.clone();
        free.sort_unstable();
        free.dedup();
        let fits = vacant == index.free.len()
            && free.len() == index.free.len()
            && free.iter().all(|&slot| index.ids.get(slot as usize) == Some(&NONE));
        fits.then_some(index)
    }
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
    /// Rows whose argument is null.
    Nulls { argument: usize },
    /// Number of distinct values; kept by [`Members`].
    Distinct { members: usize },
    /// Count, mean and sum of squared deviations, three columns.
    Moments { argument: usize },
}

/// The smallest or the largest argument of each group, over a window that rows leave in the order they came.
///
/// A group's queue holds the rows that are better than all that came after them: its front is the extreme.
#[derive(Debug)]
pub(crate) struct Extremes {
    pub(crate) argument: usize,
    pub(crate) largest: bool,
    pub(crate) queues: Vec<VecDeque<(u64, Number)>>,
}

/// Groups of a view by one key, with all that is aggregated by it.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub(crate) index: Index,
    /// Records of `stride` words; the first counts the group's rows.
    pub(crate) words: Vec<i64>,
    pub(crate) stride: usize,
    /// Cells with the offset of their (first) word.
    pub(crate) cells: Vec<(Cell, usize)>,
    pub(crate) members: Vec<Members>,
    pub(crate) extremes: Vec<Extremes>,
}

/// Slots of rows: of their groups, and for each counted set of their values.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Places {
    pub(crate) slots: Vec<u32>,
    pub(crate) members: Vec<Vec<u32>>,
}

impl Places {
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.members.iter_mut().for_each(Vec::clear);
    }
}

impl Grouping {
    pub(crate) fn new(key: Option<KeyId>) -> Self {
        Self {
            index: Index::new(key),
            words: if key.is_none() { vec![0] } else { Vec::new() },
            stride: 1,
            cells: Vec::new(),
            members: Vec::new(),
            extremes: Vec::new(),
        }
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
            index: Index::new(key),
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
        let grouped = self.index.grouped();
        let words = self.words.as_mut_slice();
        if self.index.key().is_none() {
            words[0] += i64::from(id_from(slots.len()));
        } else {
            for &slot in slots {
                if slot != NONE {
                    words[slot as usize * stride] += 1;
                }
            }
        }
        update::<true>(words, stride, &self.cells, slots, rows, span.0, numbers, grouped);
        places.members.resize_with(self.members.len(), Vec::new);
        for (members, kept) in self.members.iter_mut().zip(&mut places.members) {
            let first = kept.len();
            members.index.enter(keys, rows, span, Some(members.atom), kept);
            members.counts.resize(members.index.bound(), 0);
            for (&group, &member) in slots.iter().zip(&kept[first..]) {
                if member != NONE && group != NONE {
                    let count = &mut members.counts[member as usize];
                    words[group as usize * stride + members.offset] += i64::from(*count == 0);
                    *count += 1;
                }
            }
        }
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
        let grouped = self.index.grouped();
        let words = self.words.as_mut_slice();
        update::<false>(
            words,
            stride,
            &self.cells,
            slots,
            &Rows::All(to),
            from,
            numbers,
            grouped,
        );
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
        for &slot in slots {
            if slot != NONE {
                let at = slot as usize * stride;
                words[at] -= 1;
                if words[at] == 0 {
                    // What floating point left over goes with the last row.
                    words[at..at + stride].fill(0);
                    self.index.leave(slot);
                }
            }
        }
        self.settle(keys);
    }

    fn settle(&mut self, keys: &mut Keys) {
        self.index.settle(keys);
        for members in &mut self.members {
            members.index.settle(keys);
        }
    }

    /// Slots of the groups that have rows.
    pub(crate) fn live(&self) -> Vec<u32> {
        (0..self.index.bound())
            .filter(|slot| self.words[slot * self.stride] != 0)
            .map(id_from)
            .collect()
    }

    /// The rows of a group.
    pub(crate) fn rows_of(&self, slot: u32) -> i64 {
        self.words[slot as usize * self.stride]
    }

    /// The word at an offset of a group's record.
    pub(crate) fn word(&self, slot: u32, offset: usize) -> i64 {
        self.words[slot as usize * self.stride + offset]
    }

    /// Slots of the groups that have rows, or had some when [`Grouping::turn`] was called last.
    pub(crate) fn held(&self) -> Vec<u32> {
        (0..self.index.bound())
            .filter(|&slot| self.index.ids[slot] != NONE)
            .map(id_from)
            .collect()
    }

    /// Forgets all rows, as a batch ends. Groups that had any stay, without rows, until the next call.
    pub(crate) fn turn(&mut self, keys: &mut Keys) {
        for slot in 0..self.index.bound() {
            if self.index.key().is_some() && self.index.ids[slot] != NONE && self.words[slot * self.stride] == 0 {
                self.index.leave(id_from(slot));
            }
        }
        self.words.fill(0);
        for members in &mut self.members {
            for slot in 0..members.index.bound() {
                if members.index.ids[slot] != NONE {
                    members.index.leave(id_from(slot));
                }
            }
            members.counts.fill(0);
        }
        for queue in self.extremes.iter_mut().flat_map(|extremes| &mut extremes.queues) {
            queue.clear();
        }
        self.settle(keys);
    }

    /// The word of each of the groups.
    pub(crate) fn gather(&self, slots: &[u32], offset: usize) -> Vec<i64> {
        slots
            .iter()
            .map(|&slot| self.words[slot as usize * self.stride + offset])
            .collect()
    }
}

/// Calls `visit` with the word offset of each row's record and the row.
#[inline(always)]
fn each_record(slots: &[u32], stride: usize, rows: &Rows, from: usize, mut visit: impl FnMut(usize, usize)) {
    match rows {
        Rows::All(_) => {
            for (place, &slot) in slots.iter().enumerate() {
                if slot != NONE {
                    visit(slot as usize * stride, from + place);
                }
            }
        }
        Rows::Some(rows) => {
            for (&slot, &row) in slots.iter().zip(&rows[from..]) {
                if slot != NONE {
                    visit(slot as usize * stride, row as usize);
                }
            }
        }
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
                        let mut sum = 0_i64;
                        rows.each(from, from + slots.len(), |row| sum = sum.wrapping_add(values[row]));
                        let word = &mut words[offset];
                        *word = if COMING {
                            word.wrapping_add(sum)
                        } else {
                            word.wrapping_sub(sum)
                        };
                    }
                    Values::Integer(values) if numbers.nulls.is_empty() => {
                        each_record(slots, stride, rows, from, |at, row| {
                            let word = &mut words[at + offset];
                            *word = if COMING {
                                word.wrapping_add(values[row])
                            } else {
                                word.wrapping_sub(values[row])
                            };
                        });
                    }
                    Values::Integer(values) => each_record(slots, stride, rows, from, |at, row| {
                        let value = if numbers.is_null(row) { 0 } else { values[row] };
                        let word = &mut words[at + offset];
                        *word = if COMING {
                            word.wrapping_add(value)
                        } else {
                            word.wrapping_sub(value)
                        };
                    }),
                    Values::Double(values) => each_record(slots, stride, rows, from, |at, row| {
                        if !numbers.is_null(row) {
                            let word = &mut words[at + offset];
                            let sum = from_word(*word);
                            *word = to_word(if COMING { sum + values[row] } else { sum - values[row] });
                        }
                    }),
                }
            }
            Cell::Nulls { argument } => {
                let numbers = numbers[argument];
                if !numbers.nulls.is_empty() {
                    each_record(slots, stride, rows, from, |at, row| {
                        let null = i64::from(numbers.is_null(row));
                        words[at + offset] += if COMING { null } else { -null };
                    });
                }
            }
            Cell::Moments { argument } => each_record(slots, stride, rows, from, |at, row| {
                if let Some(value) = numbers[argument].double(row) {
                    moments::<COMING>(&mut words[at + offset..at + offset + 3], value);
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

/// Welford's update of count, mean and sum of squared deviations.
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
            words[2] = to_word((squares - delta * (value - mean)).max(0.0));
        }
    }
}
