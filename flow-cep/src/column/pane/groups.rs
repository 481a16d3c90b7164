//! Groups by pane with a slot for each, and totals by span.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::column::groups::{Cell, Groups, add_rows, ranks};
use crate::column::index::{Index, Mapping};
use crate::column::interner::{NONE, Rows};
use crate::column::keys::{KeyId, Keys};
use crate::column::numbers::{Number, Numbers};
use crate::column::packed;

/// The groups of a closed pane, in the order in which their first rows came.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Pane {
    #[serde(with = "packed")]
    slots: Vec<u32>,
    /// A record for each slot.
    #[serde(with = "packed")]
    words: Vec<i64>,
    /// By set of counted values: the slots of those that rows of the pane have.
    #[serde(with = "packed::each")]
    members: Vec<Vec<u32>>,
}

/// Distinct values within groups: a slot for each pair of group and value.
#[derive(Debug)]
struct Members {
    index: Index,
    /// The atom that is counted.
    atom: KeyId,
    /// The word of a group's record that holds the number of distinct values.
    offset: usize,
    /// By slot: its group, and how many panes have it.
    group_of: Vec<u32>,
    holders: Vec<u32>,
    /// By slot: the stamp of the pane that had it last.
    latest: Vec<u32>,
    /// Those of the open pane.
    touched: Vec<u32>,
    slots: Vec<u32>,
}

/// What a span has in sum.
#[derive(Debug)]
struct Totals {
    span: usize,
    /// A record by slot.
    words: Vec<i64>,
    /// By set of counted values and slot: how many panes of the span have it.
    members: Vec<Vec<u32>>,
}

/// An argument whose nulls are counted.
#[derive(Debug)]
struct Nulls {
    argument: usize,
    offset: usize,
    /// Whether there ever was one.
    some: bool,
}

/// Groups by a key, of integers only.
#[derive(Debug)]
pub(crate) struct PaneGroups {
    pub(crate) index: Index,
    /// Words of a record: the first counts rows.
    stride: usize,
    /// Sums, and places of the numbers of distinct values.
    cells: Vec<(Cell, usize)>,
    nulls: Vec<Nulls>,
    members: Vec<Members>,
    /// By slot: the record of the open pane, and how many panes have the slot.
    words: Vec<i64>,
    holders: Vec<u32>,
    /// The slots of the open pane, in the order in which they came, and its stamp.
    touched: Vec<u32>,
    stamp: u32,
    closed: VecDeque<Pane>,
    /// Memory of a pane that has left: windows that have their size take no more.
    free: Pane,
    totals: Vec<Totals>,
    slots: Vec<u32>,
    noted: Vec<u32>,
}

impl PaneGroups {
    pub(crate) fn new(key: KeyId, mapping: Mapping) -> Self {
        Self {
            index: Index::new(Some(key), mapping),
            stride: 1,
            cells: Vec::new(),
            nulls: Vec::new(),
            members: Vec::new(),
            words: Vec::new(),
            holders: Vec::new(),
            touched: Vec::new(),
            stamp: 1,
            closed: VecDeque::new(),
            free: Pane::default(),
            totals: Vec::new(),
            slots: Vec::new(),
            noted: Vec::new(),
        }
    }

    /// Keeps totals for a span. Only before the first row, as are the methods that follow.
    pub(crate) fn keep(&mut self, span: usize) {
        if self.totals.iter().all(|totals| totals.span != span) {
            self.totals.push(Totals {
                span,
                words: Vec::new(),
                members: Vec::new(),
            });
        }
    }

    /// The counts of the nulls of an argument.
    pub(crate) fn nulls(&mut self, argument: usize) -> usize {
        if let Some(nulls) = self.nulls.iter().position(|nulls| nulls.argument == argument) {
            return nulls;
        }
        self.nulls.push(Nulls {
            argument,
            offset: self.stride,
            some: false,
        });
        self.stride += 1;
        self.nulls.len() - 1
    }

    /// The offset of the sum of an argument.
    pub(crate) fn sum(&mut self, argument: usize) -> usize {
        self.cell(Cell::Sum { argument })
    }

    fn cell(&mut self, cell: Cell) -> usize {
        if let Some((_, offset)) = self.cells.iter().find(|(known, _)| *known == cell) {
            return *offset;
        }
        self.cells.push((cell, self.stride));
        self.stride += 1;
        self.stride - 1
    }

    /// The offset of the number of distinct values of an atom; `key` is of the group's key with the atom.
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
            offset,
            group_of: Vec::new(),
            holders: Vec::new(),
            latest: Vec::new(),
            touched: Vec::new(),
            slots: Vec::new(),
        });
        offset
    }

    /// The keys whose ids rows need.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyId> {
        let indexes = std::iter::once(&self.index).chain(self.members.iter().map(|members| &members.index));
        let atoms = self.members.iter().map(|members| members.atom);
        indexes.filter_map(Index::key).chain(atoms)
    }

    /// Adds the rows between two places of the selection to the open pane.
    pub(crate) fn add(&mut self, keys: &mut Keys, rows: &Rows, span: (usize, usize), numbers: &[&Numbers]) {
        self.slots.clear();
        self.index.enter(keys, rows, span, None, &mut self.slots);
        let bound = self.index.bound();
        self.words.resize(bound * self.stride, 0);
        self.holders.resize(bound, 0);
        let records = (&mut self.words[..], self.stride);
        let new = add_rows(
            records,
            &self.cells,
            &self.slots,
            rows,
            span.0,
            numbers,
            &mut self.noted,
        );
        for &slot in &self.noted[..new] {
            let holders = &mut self.holders[slot as usize];
            if *holders == 0 {
                self.index.arrive(slot);
            }
            *holders += 1;
            self.touched.push(slot);
        }
        for nulls in &mut self.nulls {
            let column = numbers[nulls.argument];
            if column.nulls.is_empty() {
                continue;
            }
            nulls.some = true;
            for (place, &slot) in self.slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
                let null = column.is_null(rows.row(span.0 + place));
                self.words[slot as usize * self.stride + nulls.offset] += i64::from(null);
            }
        }
        for members in &mut self.members {
            members.add(keys, rows, span, &self.slots, self.stamp);
        }
        self.index.settle(keys);
    }

    /// Closes the open pane.
    pub(crate) fn close(&mut self) {
        // A pane of one instant must not lie in the memory of one of a whole interval.
        let fits = self.free.slots.capacity() <= 2 * self.touched.len();
        let mut pane = if fits {
            std::mem::take(&mut self.free)
        } else {
            Pane::default()
        };
        self.copy_open(&mut pane);
        for &slot in &pane.slots {
            self.words[slot as usize * self.stride..][..self.stride].fill(0);
        }
        self.touched.clear();
        self.members.iter_mut().for_each(|members| members.touched.clear());
        self.stamp = self.stamp.wrapping_add(1);
        self.closed.push_back(pane);
    }

    /// Makes a pane of what the open one holds.
    fn copy_open(&self, pane: &mut Pane) {
        pane.slots.clone_from(&self.touched);
        pane.words.clear();
        pane.words.reserve(self.touched.len() * self.stride);
        for &slot in &self.touched {
            let record = &self.words[slot as usize * self.stride..][..self.stride];
            pane.words.extend_from_slice(record);
        }
        pane.members.resize_with(self.members.len(), Vec::new);
        for (into, members) in pane.members.iter_mut().zip(&self.members) {
            into.clone_from(&members.touched);
        }
    }

    /// Adds the closed panes from a place on to the totals, and takes out those that leave: by span, from and to which place.
    pub(crate) fn slide(&mut self, new: usize, leaving: &[(usize, usize)]) {
        let bound = self.index.bound();
        for totals in &mut self.totals {
            totals.words.resize(bound * self.stride, 0);
            totals.members.resize(self.members.len(), Vec::new());
            for (counts, members) in totals.members.iter_mut().zip(&self.members) {
                counts.resize(members.index.bound(), 0);
            }
            let (from, to) = leaving[totals.span];
            // What has left before it was ever looked at is passed over.
            for pane in self.closed.range(new.max(to)..) {
                totals.change::<true>(pane, self.stride, &self.members);
            }
            for pane in self.closed.range(from..to.min(new).max(from)) {
                totals.change::<false>(pane, self.stride, &self.members);
            }
        }
    }

    /// Forgets so many of the oldest panes, which have left all spans.
    pub(crate) fn forget(&mut self, keys: &mut Keys, panes: usize) {
        for pane in self.closed.drain(..panes) {
            for (members, slots) in self.members.iter_mut().zip(&pane.members) {
                release(&mut members.holders, &mut members.index, slots);
            }
            release(&mut self.holders, &mut self.index, &pane.slots);
            if pane.slots.capacity() >= self.free.slots.capacity() {
                self.free = pane;
            }
        }
        self.index.settle(keys);
        self.members.iter_mut().for_each(|members| members.index.settle(keys));
    }

    /// What a span has in sum.
    pub(crate) fn totals(&self, span: usize) -> SpanGroups<'_> {
        let totals = self.totals.iter().find(|totals| totals.span == span);
        SpanGroups {
            groups: self,
            words: totals.map_or(&[], |totals| &totals.words),
        }
    }

    /// The rank of the oldest row of each group among those of the other wanted ones, by slot, over the panes from a place on;
    /// `usize::MAX` for groups that are not wanted.
    pub(crate) fn appearance(&self, from: usize, wanted: &[u32]) -> Vec<usize> {
        let slots = self.closed.range(from..).flat_map(|pane| &pane.slots);
        ranks(slots.copied(), wanted, self.index.bound())
    }
}

/// Takes a holder off each of the slots, and gives those back that have none any more.
fn release(holders: &mut [u32], index: &mut Index, slots: &[u32]) {
    for &slot in slots {
        let holders = &mut holders[slot as usize];
        *holders -= 1;
        if *holders == 0 {
            index.leave(slot);
        }
    }
}

impl Members {
    fn add(&mut self, keys: &mut Keys, rows: &Rows, span: (usize, usize), groups: &[u32], stamp: u32) {
        self.slots.clear();
        self.index.enter(keys, rows, span, Some(self.atom), &mut self.slots);
        let bound = self.index.bound();
        self.latest.resize(bound, 0);
        self.holders.resize(bound, 0);
        self.group_of.resize(bound, NONE);
        for (&group, &member) in groups.iter().zip(&self.slots) {
            if member == NONE || group == NONE {
                continue;
            }
            let latest = &mut self.latest[member as usize];
            if *latest == stamp {
                continue;
            }
            *latest = stamp;
            self.touched.push(member);
            let holders = &mut self.holders[member as usize];
            if *holders == 0 {
                self.index.arrive(member);
                self.group_of[member as usize] = group;
            }
            *holders += 1;
        }
        self.index.settle(keys);
    }
}

impl Totals {
    /// Adds a pane or takes it out.
    fn change<const COMING: bool>(&mut self, pane: &Pane, stride: usize, members: &[Members]) {
        for (&slot, record) in pane.slots.iter().zip(pane.words.chunks_exact(stride)) {
            let words = &mut self.words[slot as usize * stride..][..stride];
            for (word, &change) in words.iter_mut().zip(record) {
                *word = if COMING {
                    word.wrapping_add(change)
                } else {
                    word.wrapping_sub(change)
                };
            }
        }
        for ((counts, members), slots) in self.members.iter_mut().zip(members).zip(&pane.members) {
            for &slot in slots {
                let count = &mut counts[slot as usize];
                let group = members.group_of[slot as usize] as usize;
                let distinct = &mut self.words[group * stride + members.offset];
                if COMING {
                    *distinct += i64::from(*count == 0);
                    *count += 1;
                } else {
                    *count -= 1;
                    *distinct -= i64::from(*count == 0);
                }
            }
        }
    }
}

/// The groups over a span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanGroups<'a> {
    groups: &'a PaneGroups,
    words: &'a [i64],
}

impl Groups for SpanGroups<'_> {
    fn is_grouped(&self) -> bool {
        true
    }

    fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32> {
        self.groups.index.ids(keys, slots, atom)
    }

    fn records(&self) -> (&[i64], usize) {
        (self.words, self.groups.stride)
    }

    fn has_nulls(&self, nulls: usize) -> bool {
        self.groups.nulls[nulls].some
    }

    fn nulls_of(&self, slot: u32, nulls: usize) -> i64 {
        self.word(slot, self.groups.nulls[nulls].offset)
    }

    fn extreme(&self, _: usize, _: u32) -> Option<Number> {
        None
    }
}

/// What a checkpoint keeps of the groups.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PaneGroupsState<'a> {
    #[serde(with = "packed")]
    ids: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    free: Cow<'a, [u32]>,
    members: Vec<MembersState<'a>>,
    open: Pane,
    closed: Cow<'a, VecDeque<Pane>>,
    some_nulls: Vec<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MembersState<'a> {
    #[serde(with = "packed")]
    ids: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    free: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    group_of: Cow<'a, [u32]>,
}

impl PaneGroups {
    pub(crate) fn save(&self) -> PaneGroupsState<'_> {
        let mut open = Pane::default();
        self.copy_open(&mut open);
        let (ids, free) = self.index.parts();
        let members = self.members.iter().map(|members| {
            let (ids, free) = members.index.parts();
            MembersState {
                ids: ids.into(),
                free: free.into(),
                group_of: (&members.group_of).into(),
            }
        });
        PaneGroupsState {
            ids: ids.into(),
            free: free.into(),
            members: members.collect(),
            open,
            closed: Cow::Borrowed(&self.closed),
            some_nulls: self.nulls.iter().map(|nulls| nulls.some).collect(),
        }
    }

    /// Takes up what was saved of the same groups: so many closed panes, of which those from a place on have left a span. None if
    /// it does not fit.
    pub(crate) fn restore(
        &mut self,
        keys: &mut Keys,
        state: PaneGroupsState<'_>,
        (panes, totalled): (usize, usize),
        left: &[usize],
    ) -> Option<()> {
        if state.closed.len() != panes
            || state.members.len() != self.members.len()
            || state.some_nulls.len() != self.nulls.len()
        {
            return None;
        }
        let all = || state.closed.iter().chain([&state.open]);
        self.holders = holders(
            all().map(|pane| &pane.slots[..]),
            slots_of(&self.index, keys, &state.ids),
        )?;
        let counts = self.holders.iter().map(|&count| i64::from(count));
        let ids = (state.ids.into_owned(), state.free.into_owned());
        self.index.restore(keys, ids, counts)?;
        let bound = self.holders.len();
        let fits = |pane: &Pane| {
            pane.words.len() == pane.slots.len() * self.stride && pane.members.len() == self.members.len()
        };
        if !state.closed.iter().chain([&state.open]).all(fits) {
            return None;
        }
        for (at, (members, saved)) in self.members.iter_mut().zip(state.members).enumerate() {
            let slots = state
                .closed
                .iter()
                .chain([&state.open])
                .map(|pane| &pane.members[at][..]);
            members.holders = holders(slots, slots_of(&members.index, keys, &saved.ids))?;
            let counts = members.holders.iter().map(|&count| i64::from(count));
            let ids = (saved.ids.into_owned(), saved.free.into_owned());
            members.index.restore(keys, ids, counts)?;
            members.group_of = saved.group_of.into_owned();
            members.group_of.resize(members.holders.len(), NONE);
            let mut groups = members.group_of.iter().zip(&members.holders);
            if !groups.all(|(&group, &holders)| holders == 0 || (group as usize) < bound) {
                return None;
            }
            members.latest = vec![0; members.holders.len()];
            members.touched.clone_from(&state.open.members[at]);
            for &slot in &members.touched {
                members.latest[slot as usize] = self.stamp;
            }
        }
        self.words = vec![0; bound * self.stride];
        for (&slot, record) in state.open.slots.iter().zip(state.open.words.chunks_exact(self.stride)) {
            self.words[slot as usize * self.stride..][..self.stride].copy_from_slice(record);
        }
        self.touched = state.open.slots;
        self.closed = state.closed.into_owned();
        for (nulls, some) in self.nulls.iter_mut().zip(state.some_nulls) {
            nulls.some = some;
        }
        for totals in &mut self.totals {
            totals.words = vec![0; bound * self.stride];
            totals.members = self
                .members
                .iter()
                .map(|members| vec![0; members.holders.len()])
                .collect();
            let left = *left.get(totals.span)?;
            if left > totalled || totalled > panes {
                return None;
            }
            for pane in self.closed.range(left..totalled) {
                totals.change::<true>(pane, self.stride, &self.members);
            }
        }
        Some(())
    }
}

/// How many slots an index may have that is taken up with these ids by slot.
fn slots_of(index: &Index, keys: &Keys, ids: &[u32]) -> usize {
    match (index.mapping(), index.key()) {
        (Mapping::Same, Some(key)) => keys.bound(key),
        _ => ids.len(),
    }
}

/// How many of the lists have each slot; none if one has a slot that is not below the bound, or has one twice.
fn holders<'s>(lists: impl Iterator<Item = &'s [u32]>, bound: usize) -> Option<Vec<u32>> {
    let mut holders = vec![0_u32; bound];
    let mut latest = vec![0_usize; bound];
    for (number, list) in (1..).zip(lists) {
        for &slot in list {
            let seen = std::mem::replace(latest.get_mut(slot as usize)?, number);
            if seen == number {
                return None;
            }
            holders[slot as usize] += 1;
        }
    }
    Some(holders)
}
