//! Groups of a watched window: a short record each, and more for those of which a condition may be true.
//!
//! Rows come and go one after the other, and after each the rules are asked. Most groups have far fewer rows than any rule
//! demands, so that a comparison is all it takes. What a condition reads beyond counts of rows and sums is kept only for groups
//! that have the rows for it to be true, and what only the delivered row shows is gathered from the rows of the group when
//! it is delivered: each row knows the one before it in its group.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::detail::{Detail, Wanted};
use super::log::Log;
use super::ring::Ring;
use super::rule::{Rule, compare};
use super::scope::{Group, GroupScope};
use crate::column::groups::{Index, Mapping, from_word, to_word};
use crate::column::interner::{NONE, Rows, id_from};
use crate::column::keys::{KeyId, Keys};
use crate::value::Value;

/// What every group has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// Rows of the group in the window.
    pub(crate) rows: u32,
    /// Place of its detail, or [`NONE`].
    detail: u32,
    /// Its newest row.
    pub(crate) newest: u64,
}

impl Record {
    const EMPTY: Self = Self {
        rows: 0,
        detail: NONE,
        newest: 0,
    };
}

/// Rows that a rule gives at one update.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) statement: usize,
    pub(crate) time_ms: i64,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// The groups of a watched window by one key, and the rules over them.
#[derive(Debug)]
pub(crate) struct Groups {
    index: Index,
    key: KeyId,
    records: Vec<Record>,
    /// Arguments that are summed for every group.
    pub(crate) summed: Vec<usize>,
    /// By group and argument: the sum, and how many numbers it is made of.
    sums: Vec<i64>,
    pub(crate) wanted: Wanted,
    details: Vec<Option<Detail>>,
    vacant: Vec<u32>,
    /// By row: its group.
    slots: Ring<u32>,
    /// By row: how far before it the row lies that came before it in the group.
    back: Ring<u32>,
    pub(crate) rules: Vec<Rule>,
    /// Rows from which on a group has a detail, and from which on some rule may give it.
    detailed_from: u32,
    asked_from: u32,
    entered: Vec<u32>,
    moved: Vec<u32>,
    emptied: Vec<u32>,
}

/// What a checkpoint keeps of the groups.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupsState {
    ids: Vec<u32>,
    free: Vec<u32>,
    slots: Vec<u32>,
    sums: Vec<i64>,
    details: Vec<(u32, Detail)>,
    quiet: Vec<Vec<(i64, u32)>>,
}

impl Groups {
    /// Groups by a key, of a window without rows.
    pub(crate) fn new(key: KeyId) -> Self {
        Self {
            index: Index::new(Some(key), Mapping::Own),
            key,
            records: Vec::new(),
            summed: Vec::new(),
            sums: Vec::new(),
            wanted: Wanted::default(),
            details: Vec::new(),
            vacant: Vec::new(),
            slots: Ring::starting_at(0),
            back: Ring::starting_at(0),
            rules: Vec::new(),
            detailed_from: u32::MAX,
            asked_from: u32::MAX,
            entered: Vec::new(),
            moved: Vec::new(),
            emptied: Vec::new(),
        }
    }

    pub(crate) const fn key(&self) -> KeyId {
        self.key
    }

    /// Groups that have rows.
    pub(crate) const fn len(&self) -> usize {
        self.index.len()
    }

    /// Adds a rule; only before the first row.
    pub(crate) fn add(&mut self, rule: Rule) {
        self.asked_from = self.asked_from.min(rule.threshold.rows);
        if rule.reads_details() {
            self.detailed_from = self.detailed_from.min(rule.threshold.rows.max(1));
        }
        self.rules.push(rule);
    }

    /// Takes the newest rows of the log, whose place in the slice `rows` tells, and lets those leave whose time has come at
    /// `now_ms`. Returns the number of the oldest row that stays.
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        log: &Log,
        (rows, count): (&Rows, usize),
        (span_ms, now_ms): (i64, i64),
        given: &mut Vec<Given>,
    ) -> u64 {
        let mut entered = std::mem::take(&mut self.entered);
        entered.clear();
        self.index.enter(keys, rows, (0, count), None, &mut entered);
        self.records.resize(self.index.bound(), Record::EMPTY);
        self.sums.resize(self.index.bound() * self.summed.len() * 2, 0);
        for &slot in &entered {
            self.slots.push(slot);
            self.back.push(0);
        }
        let due = |row: u64| {
            if row < log.next {
                log.times.get(row).saturating_add(span_ms)
            } else {
                i64::MAX
            }
        };
        let mut leaving = log.first;
        let mut next_ms = due(leaving);
        for (&slot, row) in entered.iter().zip(log.next - count as u64..) {
            let time_ms = log.times.get(row);
            while next_ms <= time_ms {
                leaving = self.leave(keys, log, leaving, next_ms, given);
                next_ms = due(leaving);
            }
            if slot != NONE {
                self.arrive(keys, log, (row, slot), time_ms, given);
            }
        }
        self.entered = entered;
        while next_ms <= now_ms && leaving < log.next {
            leaving = self.leave(keys, log, leaving, next_ms, given);
            next_ms = due(leaving);
        }
        self.settle(keys, now_ms);
        self.slots.give_up(leaving);
        self.back.give_up(leaving);
        leaving
    }

    fn arrive(&mut self, keys: &Keys, log: &Log, (row, slot): (u64, u32), now_ms: i64, given: &mut Vec<Given>) {
        let record = &mut self.records[slot as usize];
        if record.rows > 0 {
            self.back
                .set(row, u32::try_from(row - record.newest).unwrap_or(u32::MAX));
        }
        record.rows += 1;
        record.newest = row;
        let record = *record;
        let at = slot as usize * self.summed.len() * 2;
        for (&argument, sum) in self.summed.iter().zip(self.sums[at..].as_chunks_mut::<2>().0) {
            if let Some(word) = log.word(argument, row) {
                sum[0] = if log.is_double(argument) {
                    to_word(from_word(sum[0]) + from_word(word))
                } else {
                    sum[0].wrapping_add(word)
                };
                sum[1] += 1;
            }
        }
        if record.rows >= self.detailed_from || record.detail != NONE {
            self.deepen(log, slot, row);
        }
        if record.rows >= self.asked_from {
            self.ask(keys, log, &[slot], now_ms, given);
        }
    }

    /// Takes a row into the detail of its group, which is made if there is none yet.
    fn deepen(&mut self, log: &Log, slot: u32, row: u64) {
        let detail = self.records[slot as usize].detail;
        if detail != NONE {
            if let Some(Some(detail)) = self.details.get_mut(detail as usize) {
                detail.enter(&self.wanted, log, row);
            }
            return;
        }
        let mut detail = Detail::new(&self.wanted);
        for row in self.rows_of(slot) {
            detail.enter(&self.wanted, log, row);
        }
        self.attach(slot, detail);
    }

    fn attach(&mut self, slot: u32, detail: Detail) {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.details.push(None);
            id_from(self.details.len() - 1)
        });
        self.details[place as usize] = Some(detail);
        self.records[slot as usize].detail = place;
    }

    fn detach(&mut self, slot: u32) {
        let place = std::mem::replace(&mut self.records[slot as usize].detail, NONE);
        if place != NONE {
            self.details[place as usize] = None;
            self.vacant.push(place);
        }
    }

    /// The rows of a group, the oldest first.
    fn rows_of(&self, slot: u32) -> Vec<u64> {
        let record = self.records[slot as usize];
        let mut rows = Vec::with_capacity(record.rows as usize);
        let mut row = record.newest;
        for _ in 0..record.rows {
            rows.push(row);
            row = row.saturating_sub(u64::from(self.back.get(row)));
        }
        rows.reverse();
        rows
    }

    /// Lets the rows leave that are due at an instant, and asks the rules about their groups; returns the row after them.
    fn leave(&mut self, keys: &Keys, log: &Log, first: u64, due_ms: i64, given: &mut Vec<Given>) -> u64 {
        let came_ms = log.times.get(first);
        let mut row = first;
        let mut moved = std::mem::take(&mut self.moved);
        moved.clear();
        while row < log.next && log.times.get(row) == came_ms {
            let slot = self.slots.get(row);
            if slot != NONE {
                self.take_out(log, slot, row);
                if self.records[slot as usize].rows >= self.asked_from {
                    moved.push(slot);
                }
            }
            row += 1;
        }
        if !moved.is_empty() {
            self.ask(keys, log, &moved, due_ms, given);
        }
        self.moved = moved;
        row
    }

    fn take_out(&mut self, log: &Log, slot: u32, row: u64) {
        let record = &mut self.records[slot as usize];
        record.rows -= 1;
        let Record { rows, detail, .. } = *record;
        let at = slot as usize * self.summed.len() * 2;
        for (&argument, sum) in self.summed.iter().zip(self.sums[at..].as_chunks_mut::<2>().0) {
            if let Some(word) = log.word(argument, row) {
                sum[1] -= 1;
                sum[0] = if !log.is_double(argument) {
                    sum[0].wrapping_sub(word)
                } else if sum[1] == 0 {
                    // With the last number goes what rounding has left behind.
                    0
                } else {
                    to_word(from_word(sum[0]) - from_word(word))
                };
            }
        }
        if rows == 0 {
            self.emptied.push(slot);
        }
        if detail == NONE {
            return;
        }
        // A group at the brink keeps its detail, or it would be made again and again.
        if rows == 0 || rows < self.detailed_from / 2 {
            self.detach(slot);
        } else if let Some(Some(detail)) = self.details.get_mut(detail as usize) {
            detail.leave(&self.wanted, log, row);
        }
    }

    /// Asks the rules whether they give the rows of groups, of which something has come or gone.
    fn ask(&mut self, keys: &Keys, log: &Log, slots: &[u32], now_ms: i64, given: &mut Vec<Given>) {
        for at in 0..self.rules.len() {
            let mut rows: Vec<(Vec<Value>, Vec<Value>)> = Vec::new();
            let mut seen: HashSet<u32, RandomState> = HashSet::default();
            for &slot in slots {
                let rule = &self.rules[at];
                let record = self.records[slot as usize];
                let sums = &self.sums[slot as usize * self.summed.len() * 2..];
                if record.rows < rule.threshold.rows
                    || rule.threshold.sums.iter().any(|&(sum, least)| sums[sum * 2] < least)
                {
                    continue;
                }
                let key = self.index.id(slot);
                if rule
                    .every_ms
                    .is_some_and(|every_ms| rule.quiet.holds(key, every_ms, now_ms))
                {
                    continue;
                }
                let rows_of = || self.rows_of(slot);
                let scope = GroupScope::new(
                    Group {
                        key: (self.key, key),
                        record,
                        sums,
                        detail: self.details.get(record.detail as usize).and_then(Option::as_ref),
                        rows: &rows_of,
                    },
                    keys,
                    log,
                    &rule.columns,
                    now_ms,
                );
                if rule
                    .having
                    .as_ref()
                    .is_some_and(|having| !having.expr().eval(&scope).is_true())
                    || !seen.insert(slot)
                {
                    continue;
                }
                let values = rule.select.iter().map(|scalar| scalar.expr().eval(&scope)).collect();
                let order = rule
                    .order
                    .iter()
                    .map(|(scalar, _)| scalar.expr().eval(&scope))
                    .collect();
                drop(scope);
                rows.push((values, order));
                let rule = &mut self.rules[at];
                if rule.every_ms.is_some() {
                    rule.quiet.begin(key, now_ms);
                }
            }
            let rule = &self.rules[at];
            if rows.len() > 1 {
                rows.sort_by(|(_, left), (_, right)| compare(&rule.order, left, right));
            }
            rows.drain(..rule.offset.min(rows.len()));
            rows.truncate(rule.limit.unwrap_or(usize::MAX));
            if !rows.is_empty() {
                given.push(Given {
                    statement: rule.statement,
                    time_ms: now_ms,
                    rows: rows.into_iter().map(|(values, _)| values).collect(),
                });
            }
        }
    }

    /// Gives back what groups without rows held, and forgets those that are no longer quiet.
    fn settle(&mut self, keys: &mut Keys, now_ms: i64) {
        let mut emptied = std::mem::take(&mut self.emptied);
        for slot in emptied.drain(..) {
            // A row may have come since; and a group may have been emptied twice.
            if self.records[slot as usize].rows == 0 && self.index.id(slot) != NONE {
                self.records[slot as usize] = Record::EMPTY;
                let width = self.summed.len() * 2;
                self.sums[slot as usize * width..][..width].fill(0);
                self.index.leave(slot);
            }
        }
        self.emptied = emptied;
        self.index.settle(keys);
        for rule in &mut self.rules {
            if let Some(every_ms) = rule.every_ms {
                rule.quiet.forget(every_ms, now_ms);
            }
            keys.hold_all(self.key, rule.quiet.begun.drain(..));
            keys.release_all(self.key, rule.quiet.over.drain(..));
        }
    }

    pub(crate) fn save(&self, log: &Log) -> GroupsState {
        let (ids, free) = self.index.parts();
        let detail = |(slot, record): (usize, &Record)| {
            let detail = self.details.get(record.detail as usize)?.as_ref()?;
            Some((id_from(slot), detail.clone()))
        };
        GroupsState {
            ids,
            free,
            slots: self.slots.span(log.first, log.next),
            sums: self.sums.clone(),
            details: self.records.iter().enumerate().filter_map(detail).collect(),
            quiet: self.rules.iter().map(|rule| rule.quiet.entries()).collect(),
        }
    }

    /// Takes up what was saved of the same groups over the rows of the log. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, log: &Log, state: GroupsState) -> Option<()> {
        let bound = state.ids.len();
        if state.slots.len() as u64 != log.len()
            || state.sums.len() != bound * self.summed.len() * 2
            || state.quiet.len() != self.rules.len()
        {
            return None;
        }
        self.records = vec![Record::EMPTY; bound];
        self.sums = state.sums;
        self.slots = Ring::starting_at(log.first);
        self.back = Ring::starting_at(log.first);
        for (&slot, row) in state.slots.iter().zip(log.first..) {
            self.slots.push(slot);
            let mut back = 0;
            if slot != NONE {
                if *state.ids.get(slot as usize)? == NONE {
                    return None;
                }
                let record = &mut self.records[slot as usize];
                if record.rows > 0 {
                    back = u32::try_from(row - record.newest).ok()?;
                }
                record.rows += 1;
                record.newest = row;
            }
            self.back.push(back);
        }
        let counts: Vec<i64> = self.records.iter().map(|record| i64::from(record.rows)).collect();
        self.index.restore(keys, (state.ids, state.free), counts.into_iter())?;
        for (slot, detail) in state.details {
            let record = *self.records.get(slot as usize)?;
            if record.rows == 0 || record.detail != NONE || !detail.fits(&self.wanted) {
                return None;
            }
            self.attach(slot, detail);
        }
        for (rule, entries) in self.rules.iter_mut().zip(state.quiet) {
            if !entries.iter().all(|&(_, key)| keys.knows(self.key, key)) {
                return None;
            }
            rule.quiet.restore(entries)?;
            keys.hold_all(self.key, rule.quiet.begun.drain(..));
        }
        Some(())
    }
}
