//! Groups of watched windows: a count each, and more for those of which a condition may be true.
//!
//! Rows come and go one after the other, and after each the rules are asked. Most groups have far fewer rows than any rule
//! demands, so that a comparison is all it takes. What a condition reads beyond counts of rows and sums is kept only for groups
//! that have the rows for it to be true, and what only the delivered row shows is gathered from the rows of the group when
//! it is delivered: each row knows the one before it in its group. Windows of several lengths share all but their counts.

use serde::{Deserialize, Serialize};

use super::log::Log;
use super::ring::Ring;
use super::rule::Rule;
use super::span::{Count, Sight, Span, SpanState};
use crate::column::index::{Index, Mapping};
use crate::column::interner::{NONE, Rows};
use crate::column::keys::{KeyId, Keys};
use crate::column::packed;
use crate::value::Value;

/// Rows that a rule gives at one update.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) statement: usize,
    pub(crate) time_ms: i64,
    /// The row of the slice that brought them; none if they come because rows left.
    pub(crate) row: Option<usize>,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// The rows of each group, linked from the newest to the oldest.
#[derive(Debug)]
pub(crate) struct Heads {
    /// By group: its newest row.
    newest: Vec<u64>,
    /// By row: how far before it the row lies that came before it in the group.
    back: Ring<u32>,
}

impl Heads {
    fn starting_at(row: u64) -> Self {
        Self {
            newest: Vec::new(),
            back: Ring::starting_at(row),
        }
    }

    pub(crate) fn newest(&self, slot: u32) -> u64 {
        self.newest[slot as usize]
    }

    /// The newest rows of a group, so many of them, the oldest first.
    pub(crate) fn rows_of(&self, slot: u32, count: u32) -> Vec<u64> {
        let mut rows = Vec::with_capacity(count as usize);
        let mut row = self.newest(slot);
        for _ in 0..count {
            rows.push(row);
            row = row.saturating_sub(u64::from(self.back.get(row)));
        }
        rows.reverse();
        rows
    }

    /// Puts a row, whose place has been made, in front of its group, which has others or none.
    fn lead(&mut self, slot: u32, row: u64, others: u32) {
        let newest = std::mem::replace(&mut self.newest[slot as usize], row);
        if others > 0 {
            self.back.set(row, u32::try_from(row - newest).unwrap_or(u32::MAX));
        }
    }
}

/// The groups by one key of the rows that pass one filter, in windows of several lengths.
#[derive(Debug)]
pub(crate) struct Groups {
    index: Index,
    key: KeyId,
    heads: Heads,
    /// By row: its group.
    slots: Ring<u32>,
    pub(crate) spans: Vec<Span>,
    /// The longest of the spans.
    longest: usize,
    /// By group and span.
    counts: Vec<Count>,
    entered: Vec<u32>,
    moved: Vec<u32>,
    emptied: Vec<u32>,
}

/// What a checkpoint keeps of the groups.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupsState {
    #[serde(with = "packed")]
    ids: Vec<u32>,
    #[serde(with = "packed")]
    free: Vec<u32>,
    first: u64,
    #[serde(with = "packed")]
    slots: Vec<u32>,
    spans: Vec<SpanState>,
}

impl Groups {
    /// Groups by a key, of windows without rows.
    pub(crate) fn new(key: KeyId) -> Self {
        Self {
            index: Index::new(Some(key), Mapping::Own),
            key,
            heads: Heads::starting_at(0),
            slots: Ring::starting_at(0),
            spans: Vec::new(),
            longest: 0,
            counts: Vec::new(),
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

    /// The place of the window of a length, the same each time. Only before the first row.
    pub(crate) fn span(&mut self, span_ms: i64) -> usize {
        let known = self.spans.iter().position(|span| span.span_ms == span_ms);
        let at = known.unwrap_or_else(|| {
            self.spans.push(Span::new(span_ms));
            self.spans.len() - 1
        });
        if span_ms > self.spans[self.longest].span_ms {
            self.longest = at;
        }
        at
    }

    /// Adds a rule over the window at a place; only before the first row.
    pub(crate) fn add(&mut self, span: usize, rule: Rule) {
        self.spans[span].add(rule);
    }

    /// The window of a statement.
    pub(crate) fn span_of(&self, statement: usize) -> Option<&Span> {
        let rules_it = |span: &&Span| span.rules.iter().any(|rule| rule.statement == statement);
        self.spans.iter().find(rules_it)
    }

    /// The oldest row that a window holds.
    pub(crate) fn oldest(&self) -> u64 {
        self.spans[self.longest].leaving
    }

    /// When the next row leaves a window.
    pub(crate) fn next_ms(&self, log: &Log) -> i64 {
        let spans = self.spans.iter().map(|span| span.next_ms(log));
        spans.min().unwrap_or(i64::MAX)
    }

    /// Takes the newest rows of the log, whose place in the slice `rows` tells, and lets those leave whose time has come at
    /// `now_ms`.
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        log: &Log,
        (rows, count): (&Rows, usize),
        now_ms: i64,
        given: &mut Vec<Given>,
    ) {
        let mut entered = std::mem::take(&mut self.entered);
        entered.clear();
        self.index.enter(keys, rows, (0, count), None, &mut entered);
        let bound = self.index.bound();
        self.heads.newest.resize(bound, 0);
        self.counts.resize(bound * self.spans.len(), Count::EMPTY);
        self.spans.iter_mut().for_each(|span| span.grow(bound));
        for &slot in &entered {
            self.slots.push(slot);
            self.heads.back.push(0);
        }
        let mut next_ms = self.next_ms(log);
        for (place, (&slot, row)) in entered.iter().zip(log.next - count as u64..).enumerate() {
            let time_ms = log.times.get(row);
            if next_ms <= time_ms {
                self.expire(keys, log, time_ms, given);
                next_ms = self.next_ms(log);
            }
            if slot != NONE {
                self.arrive(keys, log, (row, slot), (time_ms, rows.row(place)), given);
            }
        }
        self.entered = entered;
        if next_ms <= now_ms {
            self.expire(keys, log, now_ms, given);
        }
        self.settle(keys, now_ms);
        let oldest = self.oldest();
        self.slots.give_up(oldest);
        self.heads.back.give_up(oldest);
    }

    fn arrive(
        &mut self,
        keys: &Keys,
        log: &Log,
        (row, slot): (u64, u32),
        (now_ms, in_slice): (i64, usize),
        given: &mut Vec<Given>,
    ) {
        let width = self.spans.len();
        let counts = &mut self.counts[slot as usize * width..][..width];
        self.heads.lead(slot, row, counts[self.longest].rows);
        for (span, count) in self.spans.iter_mut().zip(counts) {
            if span.enter(log, &self.heads, count, (row, slot)) {
                let sight = Sight {
                    keys,
                    log,
                    index: &self.index,
                    key: self.key,
                    heads: &self.heads,
                    now_ms,
                    row: Some(in_slice),
                };
                span.ask(sight, &[slot], |_| *count, given);
            }
        }
    }

    /// Lets the rows leave whose time has come, of each window instant by instant, and asks the rules about their groups.
    fn expire(&mut self, keys: &Keys, log: &Log, now_ms: i64, given: &mut Vec<Given>) {
        let width = self.spans.len();
        for (at, span) in self.spans.iter_mut().enumerate() {
            loop {
                let due_ms = span.next_ms(log);
                if due_ms > now_ms || span.leaving >= log.next {
                    break;
                }
                let came_ms = log.times.get(span.leaving);
                self.moved.clear();
                while span.leaving < log.next && log.times.get(span.leaving) == came_ms {
                    let (row, slot) = (span.leaving, self.slots.get(span.leaving));
                    span.leaving += 1;
                    if slot == NONE {
                        continue;
                    }
                    let count = &mut self.counts[slot as usize * width + at];
                    span.leave(log, count, (row, slot));
                    if count.rows == 0 && at == self.longest {
                        self.emptied.push(slot);
                    }
                    if count.rows >= span.asked_from {
                        self.moved.push(slot);
                    }
                }
                if !self.moved.is_empty() {
                    let sight = Sight {
                        keys,
                        log,
                        index: &self.index,
                        key: self.key,
                        heads: &self.heads,
                        now_ms: due_ms,
                        row: None,
                    };
                    let counts = &self.counts;
                    span.ask(sight, &self.moved, |slot| counts[slot as usize * width + at], given);
                }
            }
        }
    }

    /// Gives back what groups without rows held, and forgets those that are no longer quiet.
    fn settle(&mut self, keys: &mut Keys, now_ms: i64) {
        let width = self.spans.len();
        let mut emptied = std::mem::take(&mut self.emptied);
        for slot in emptied.drain(..) {
            // A row may have come since; and a group may have been emptied twice.
            let rows = self.counts[slot as usize * width + self.longest].rows;
            if rows == 0 && self.index.id(slot) != NONE {
                self.spans.iter_mut().for_each(|span| span.forget(slot));
                self.index.leave(slot);
            }
        }
        self.emptied = emptied;
        self.index.settle(keys);
        for span in &mut self.spans {
            span.settle(keys, self.key, now_ms);
        }
    }

    pub(crate) fn save(&self, log: &Log) -> GroupsState {
        let (ids, free) = self.index.parts();
        let width = self.spans.len();
        let counts = |at: usize| self.counts.iter().skip(at).step_by(width).copied();
        GroupsState {
            ids: ids.to_vec(),
            free: free.to_vec(),
            first: self.oldest(),
            slots: self.slots.span(self.oldest(), log.next),
            spans: self
                .spans
                .iter()
                .enumerate()
                .map(|(at, span)| span.save(counts(at)))
                .collect(),
        }
    }

    /// Takes up what was saved of the same groups over the rows of the log. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, log: &Log, state: GroupsState) -> Option<()> {
        let bound = state.ids.len();
        let oldest = state.spans.get(self.longest).map(|span| span.leaving);
        let within = |span: &SpanState| (state.first..=log.next).contains(&span.leaving);
        if state.spans.len() != self.spans.len()
            || state.first < log.first
            || oldest != Some(state.first)
            || state.slots.len() as u64 != log.next - state.first
            || !state.spans.iter().all(within)
        {
            return None;
        }
        self.heads = Heads::starting_at(state.first);
        self.heads.newest = vec![0; bound];
        self.slots = Ring::starting_at(state.first);
        let mut counts = vec![vec![Count::EMPTY; bound]; self.spans.len()];
        for (&slot, row) in state.slots.iter().zip(state.first..) {
            self.slots.push(slot);
            self.heads.back.push(0);
            if slot == NONE {
                continue;
            }
            if *state.ids.get(slot as usize)? == NONE {
                return None;
            }
            self.heads.lead(slot, row, counts[self.longest][slot as usize].rows);
            for (counts, span) in counts.iter_mut().zip(&state.spans) {
                counts[slot as usize].rows += u32::from(row >= span.leaving);
            }
        }
        let rows: Vec<i64> = counts[self.longest].iter().map(|count| i64::from(count.rows)).collect();
        self.index.restore(keys, (state.ids, state.free), rows.into_iter())?;
        let spans = self.spans.iter_mut().zip(&mut counts).zip(state.spans);
        for ((span, counts), state) in spans {
            span.restore(keys, self.key, counts, state)?;
        }
        self.counts = (0..bound)
            .flat_map(|slot| counts.iter().map(move |counts| counts[slot]))
            .collect();
        Some(())
    }
}
