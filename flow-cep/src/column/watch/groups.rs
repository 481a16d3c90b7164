//! Groups of watched windows: a bound of what each can have, and more for those of which a condition may be true.
//!
//! Rows come and go one after the other, and after each the rules are asked. Most groups have far fewer rows than any rule
//! demands, so that a comparison is all it takes ([`census`](super::census)). The others are candidates: their rows are marked and
//! leave one by one, and each window knows their counts and sums. What a condition reads beyond these is kept only for
//! candidates that have the rows for it to be true, and what only the delivered row shows is gathered from the rows of the group
//! when it is delivered: each row knows the one before it in its group. Windows of several lengths share all but the counts.

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::census::{BLOCK, Block, Census, CensusState};
use super::chain::{Chain, NO_ROW, distance};
use super::detail::place_of;
use super::log::Log;
use super::marks::Marks;
use super::ring::Ring;
use super::rule::{Rule, Threshold};
use super::snapshot::{Ids, Snapshot};
use super::span::{Count, Sight, Span, SpanState};
use super::tally::{Arrival, Tallies};
use crate::column::groups::ranks;
use crate::column::index::{Index, Mapping};
use crate::column::interner::{NONE, Rows, id_from};
use crate::column::keys::{KeyId, Keys};
use crate::column::packed;
use crate::column::runtime::Emission;
use crate::engine::Rows as Delivered;

/// Groups up to which those without rows are not looked for.
const FEW_GROUPS: usize = 1024;

/// A group that is watched closely.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// [`NONE`] for a vacant place.
    pub(crate) slot: u32,
    pub(crate) newest: u64,
}

impl Candidate {
    const VACANT: Self = Self {
        slot: NONE,
        newest: NO_ROW,
    };
}

/// The groups by one key of the rows that pass one filter, in windows of several lengths.
#[derive(Debug)]
pub(crate) struct Groups {
    index: Index,
    key: KeyId,
    census: Census,
    chain: Chain,
    /// By row: its group.
    slots: Ring<u32>,
    /// The rows of candidates.
    marks: Marks,
    candidates: Vec<Candidate>,
    vacant: Vec<u32>,
    tallies: Tallies,
    /// Rows from which on a candidate is tallied, and the longest of the spans that count distinct values.
    tallied_from: u32,
    tallying: usize,
    pub(crate) spans: Vec<Span>,
    /// The longest of the spans.
    longest: usize,
    /// With the place of the span that each looks at.
    snapshots: Vec<(usize, Snapshot)>,
    /// By candidate and span.
    counts: Vec<Count>,
    /// When a row of a candidate leaves next.
    due_ms: i64,
    /// Groups from which on those without rows are looked for.
    crowded: usize,
    entered: Vec<u32>,
    near: Vec<u32>,
    arrivals: Vec<Arrival>,
    moved: Vec<u32>,
    emptied: Vec<u32>,
    sparse: Vec<u32>,
}

/// What a checkpoint keeps of the groups.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupsState {
    #[serde(with = "packed")]
    ids: Vec<u32>,
    #[serde(with = "packed")]
    free: Vec<u32>,
    census: CensusState,
    /// By row of the log.
    #[serde(with = "packed")]
    slots: Vec<u32>,
    #[serde(with = "packed")]
    candidates: Vec<u32>,
    /// The candidates that are tallied, by their places among these.
    #[serde(with = "packed")]
    tallied: Vec<u32>,
    spans: Vec<SpanState>,
    /// When the snapshots are due.
    next_ms: Vec<Option<i64>>,
}

impl Groups {
    /// Groups by a key, of windows without rows.
    pub(crate) fn new(key: KeyId, mapping: Mapping) -> Self {
        Self {
            index: Index::new(Some(key), mapping),
            key,
            census: Census::new(),
            chain: Chain::starting_at(0),
            slots: Ring::starting_at(0),
            marks: Marks::starting_at(0),
            candidates: Vec::new(),
            vacant: Vec::new(),
            tallies: Tallies::default(),
            tallied_from: u32::MAX,
            tallying: 0,
            spans: Vec::new(),
            longest: 0,
            snapshots: Vec::new(),
            counts: Vec::new(),
            due_ms: i64::MAX,
            crowded: FEW_GROUPS,
            entered: Vec::new(),
            near: Vec::new(),
            arrivals: Vec::new(),
            moved: Vec::new(),
            emptied: Vec::new(),
            sparse: Vec::new(),
        }
    }

    pub(crate) const fn key(&self) -> KeyId {
        self.key
    }

    /// Groups that have rows, or had some lately.
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
        self.census.lengthen(span_ms);
        at
    }

    /// Counts the distinct ids of a column in the window at a place; returns their place there. Only before the first row.
    pub(crate) fn tally(&mut self, span: usize, carried: usize) -> usize {
        let column = self.tallies.column(carried);
        self.tallies.start(0);
        if self.spans[self.tallying].tallied.is_empty() || self.spans[span].span_ms > self.spans[self.tallying].span_ms
        {
            self.tallying = span;
        }
        place_of(&mut self.spans[span].tallied, column)
    }

    /// Adds a rule over the window at a place; only before the first row.
    pub(crate) fn add(&mut self, span: usize, rule: Rule) {
        self.regard(&rule.threshold, rule.reads_tallies());
        self.spans[span].add(rule);
    }

    /// Adds a statement that looks at the window at a place; only before the first row. `tallied` tells whether it counts
    /// distinct values.
    pub(crate) fn add_snapshot(&mut self, span: usize, snapshot: Snapshot, threshold: &Threshold, tallied: bool) {
        self.regard(threshold, tallied);
        self.snapshots.push((span, snapshot));
    }

    /// Starts the clock of a statement whose first row came at a time.
    pub(crate) fn anchor(&mut self, statement: usize, time_ms: i64) {
        let mut snapshots = self.snapshots.iter_mut().map(|(_, snapshot)| snapshot);
        if let Some(snapshot) = snapshots.find(|snapshot| snapshot.statement == statement) {
            snapshot.clock.start(time_ms);
        }
    }

    fn regard(&mut self, threshold: &Threshold, tallied: bool) {
        if tallied {
            self.tallied_from = self.tallied_from.min(threshold.rows.max(1));
        }
        self.census.regard(threshold);
    }

    /// The window of a statement.
    pub(crate) fn span_of(&self, statement: usize) -> Option<&Span> {
        let rules_it = |span: &&Span| span.rules.iter().any(|rule| rule.statement == statement);
        let looks = self
            .snapshots
            .iter()
            .find(|(_, snapshot)| snapshot.statement == statement);
        looks.map_or_else(|| self.spans.iter().find(rules_it), |(span, _)| self.spans.get(*span))
    }

    /// When a row leaves a window next, of which rules may have something to say, or when a statement looks at one.
    pub(crate) fn due_ms(&self) -> i64 {
        self.due_ms.min(self.look_ms())
    }

    /// When a statement looks at a window next.
    fn look_ms(&self) -> i64 {
        let next = self.snapshots.iter().filter_map(|(_, snapshot)| snapshot.clock.next_ms);
        next.min().unwrap_or(i64::MAX)
    }

    /// Takes the newest rows of the log, whose place in the slice `rows` tells, and lets time pass up to `now_ms`.
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        log: &Log,
        (rows, count): (&Rows, usize),
        now_ms: i64,
        given: &mut Vec<Emission>,
    ) {
        let mut entered = std::mem::take(&mut self.entered);
        entered.clear();
        self.index.enter(keys, rows, (0, count), None, &mut entered);
        self.census.grow(self.index.bound());
        self.marks.grow(log.next);
        self.tallies.grow_rows(log.next);
        self.slots.extend(&entered);
        let first = log.next - count as u64;
        let mut from = 0;
        if count > 0 {
            let first_ms = log.times.get(first);
            self.snapshots
                .iter_mut()
                .for_each(|(_, snapshot)| snapshot.clock.start(first_ms));
        }
        while from < count {
            self.pass(keys, log, log.times.get(first + from as u64), given);
            from = self.take_in(log, &entered, first, from);
            let near = std::mem::take(&mut self.near);
            self.touch(log, &entered, first, &near);
            let mut look_ms = self.look_ms();
            for &place in &near {
                let place = place as usize;
                let row = first + place as u64;
                let time_ms = log.times.get(row);
                if look_ms <= time_ms {
                    self.look(keys, log, time_ms, given);
                    look_ms = self.look_ms();
                }
                if self.due_ms <= time_ms {
                    self.expire(keys, log, time_ms, given);
                }
                self.arrive(keys, log, (row, entered[place]), (time_ms, rows.row(place)), given);
            }
            self.near = near;
        }
        self.entered = entered;
        self.pass(keys, log, now_ms, given);
        self.settle(keys, log, now_ms);
    }

    /// Forgets what is known of the rows before a number, which have left.
    pub(crate) fn give_up(&mut self, before: u64) {
        self.slots.give_up(before);
        self.chain.give_up(before);
        self.marks.give_up(before);
        self.tallies.give_up(before);
    }

    /// Counts the rows of the same period from a place of the entered ones on; returns the place of the first of another. Those
    /// of groups that may have what a rule demands are put down as near.
    fn take_in(&mut self, log: &Log, entered: &[u32], first: u64, from: usize) -> usize {
        let end_ms = self.census.end_ms().unwrap_or(i64::MAX);
        let rows = entered.len();
        let is_within = |place: usize| end_ms == i64::MAX || log.times.get(first + place as u64) < end_ms;
        let until = if is_within(rows - 1) {
            rows
        } else {
            (from..rows).find(|&place| !is_within(place)).unwrap_or(rows)
        };
        self.near.clear();
        let mut block = Block::default();
        for (place, slots) in (from..).step_by(BLOCK).zip(entered[from..until].chunks(BLOCK)) {
            self.census.enter(log, first + place as u64, slots, &mut block);
            self.chain.extend(&block.distances[..slots.len()]);
            for (at, &slot) in slots.iter().enumerate() {
                if block.fresh[at] {
                    self.index.arrive(slot);
                }
                if block.near[at] {
                    self.near.push(id_from(place + at));
                }
            }
        }
        until
    }

    /// Fetches what the rows of candidates will look up into the cache: all at once, and not each when it is waited for.
    fn touch(&self, log: &Log, entered: &[u32], first: u64, near: &[u32]) {
        let rows = near
            .iter()
            .map(|&place| (first + u64::from(place), entered[place as usize]));
        let candidates = rows.map(|(row, slot)| (row, self.census.candidate(slot)));
        self.tallies
            .touch(log, candidates.filter(|(_, candidate)| *candidate != NONE));
    }

    /// Lets time pass up to and including an instant.
    fn pass(&mut self, keys: &Keys, log: &Log, now_ms: i64, given: &mut Vec<Emission>) {
        while let Some(end_ms) = self
            .census
            .end_ms()
            .filter(|&end_ms| end_ms <= now_ms && end_ms < i64::MAX)
        {
            self.look(keys, log, end_ms, given);
            self.expire(keys, log, end_ms, given);
            // Without candidates nothing leaves, and periods in between do not matter.
            let next_ms = if self.due_ms == i64::MAX { now_ms } else { end_ms };
            self.census.turn(next_ms);
            self.dismiss(log);
        }
        if self.census.end_ms().is_none() {
            self.census.turn(now_ms);
        }
        self.look(keys, log, now_ms, given);
        if self.due_ms <= now_ms {
            self.expire(keys, log, now_ms, given);
        }
    }

    /// Lets the statements look whose time has come.
    fn look(&mut self, keys: &Keys, log: &Log, now_ms: i64, given: &mut Vec<Emission>) {
        loop {
            let due_ms = self.look_ms();
            if due_ms > now_ms {
                return;
            }
            self.expire(keys, log, due_ms, given);
            let mut snapshots = std::mem::take(&mut self.snapshots);
            for (span, snapshot) in &mut snapshots {
                if snapshot.clock.goes_off(due_ms) {
                    given.push(Emission {
                        statement: snapshot.statement,
                        time_ms: due_ms,
                        row: None,
                        rows: self.seen(keys, *span, snapshot).map(Delivered::Columns),
                    });
                }
            }
            self.snapshots = snapshots;
        }
    }

    /// What a statement sees of a window.
    fn seen(&self, keys: &Keys, at: usize, snapshot: &Snapshot) -> Option<RecordBatch> {
        let span = &self.spans[at];
        let width = self.spans.len();
        let counts = self.counts.iter().skip(at).step_by(width).copied();
        let id = |candidate: &Candidate| match candidate.slot {
            NONE => NONE,
            slot => self.index.id(slot),
        };
        let ids: Vec<u32> = self.candidates.iter().map(id).collect();
        let records = snapshot.records(
            span,
            counts,
            Ids {
                key: self.key,
                ids: &ids,
            },
        );
        let rows = std::iter::successors(self.marks.next(span.leaving), |row| self.marks.next(row + 1));
        let appearance = |wanted: &[u32]| {
            let places = rows.clone().map(|row| self.census.candidate(self.slots.get(row)));
            ranks(places, wanted, self.candidates.len())
        };
        snapshot.output.live_rows(keys, &records, &appearance)
    }

    fn arrive(
        &mut self,
        keys: &Keys,
        log: &Log,
        (row, slot): (u64, u32),
        (now_ms, in_slice): (i64, usize),
        given: &mut Vec<Emission>,
    ) {
        let mut place = self.census.candidate(slot);
        if place == NONE {
            place = self.elect(log, (row, slot), now_ms);
        }
        self.candidates[place as usize].newest = row;
        self.marks.mark(row);
        for span in &mut self.spans {
            if span.due_ms == i64::MAX {
                span.leaving = row;
                span.due_ms = now_ms.saturating_add(span.span_ms);
                self.due_ms = self.due_ms.min(span.due_ms);
            }
        }
        let width = self.spans.len();
        if self.tallies.hold(place) {
            self.tally_row(log, (row, place));
        } else if self.counts[place as usize * width + self.tallying].rows + 1 >= self.tallied_from {
            self.tally_rows(log, place);
        }
        let counts = &mut self.counts[place as usize * width..][..width];
        for (span, count) in self.spans.iter_mut().zip(counts) {
            if span.enter(log, &self.chain, count, (row, place)) {
                let sight = Sight {
                    keys,
                    log,
                    index: &self.index,
                    key: self.key,
                    chain: &self.chain,
                    candidates: &self.candidates,
                    now_ms,
                    row: Some(in_slice),
                };
                span.ask(sight, &[place], |_| *count, given);
            }
        }
    }

    /// Counts the value of a row that comes.
    fn tally_row(&mut self, log: &Log, (row, place): (u64, u32)) {
        let oldest = self.spans[self.tallying].leaving;
        self.tallies.enter(log, (row, place), oldest, &mut self.arrivals);
        for span in &mut self.spans {
            if row >= span.leaving {
                span.tally(&self.arrivals, place);
            }
        }
    }

    /// Counts the values of all rows of a candidate that was not tallied.
    fn tally_rows(&mut self, log: &Log, place: u32) {
        let oldest = self.spans[self.tallying].leaving;
        let newest = self.candidates[place as usize].newest;
        let rows = self.chain.rows_from(oldest, newest);
        self.tallies.begin(place, &rows);
        self.tallies.touch(log, rows.iter().map(|&row| (row, place)));
        for row in rows {
            self.tally_row(log, (row, place));
        }
    }

    /// Whether a candidate has too few rows to stay tallied. At the brink it stays, or its rows would be counted again and again.
    fn is_sparse(&self, place: u32) -> bool {
        let rows = self.counts[place as usize * self.spans.len() + self.tallying].rows;
        self.tallies.hold(place) && rows < self.tallied_from / 2
    }

    /// Makes a group a candidate, with its rows before one; returns its place.
    fn elect(&mut self, log: &Log, (row, slot): (u64, u32), now_ms: i64) -> u32 {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.candidates.push(Candidate::VACANT);
            id_from(self.candidates.len() - 1)
        });
        let width = self.spans.len();
        self.counts.resize(self.candidates.len() * width, Count::EMPTY);
        self.tallies.grow(self.candidates.len());
        self.census.set_candidate(slot, place);
        self.candidates[place as usize] = Candidate { slot, newest: row };
        let oldest = log.oldest(self.spans[self.longest].span_ms, now_ms);
        let mut rows = self.chain.rows_from(oldest, row);
        // The row itself comes in later, as those that follow.
        rows.pop();
        rows.iter().for_each(|&row| self.marks.mark(row));
        let counts = &mut self.counts[place as usize * width..][..width];
        for (span, count) in self.spans.iter_mut().zip(counts) {
            span.grow(self.candidates.len());
            let oldest = log.oldest(span.span_ms, now_ms);
            for &row in &rows[rows.partition_point(|&row| row < oldest)..] {
                span.enter(log, &self.chain, count, (row, place));
            }
            span.seek(log, &self.marks, oldest);
            self.due_ms = self.due_ms.min(span.due_ms);
        }
        place
    }

    /// Lets the candidates go that no longer are any.
    fn dismiss(&mut self, log: &Log) {
        let oldest = self.spans[self.longest].leaving;
        for place in 0..self.candidates.len() {
            let Candidate { slot, newest } = self.candidates[place];
            if slot == NONE || self.census.is_near(slot) {
                continue;
            }
            for row in self.chain.back_to(newest, oldest) {
                self.marks.unmark(row);
            }
            self.vacate(id_from(place));
        }
        self.due_ms = i64::MAX;
        for span in &mut self.spans {
            span.seek(log, &self.marks, span.leaving);
            self.due_ms = self.due_ms.min(span.due_ms);
        }
    }

    /// Forgets a candidate whose rows are not marked.
    fn vacate(&mut self, place: u32) {
        self.tallies.end(place);
        let width = self.spans.len();
        let counts = &mut self.counts[place as usize * width..][..width];
        for (span, count) in self.spans.iter_mut().zip(counts) {
            span.forget(count, place);
        }
        let candidate = std::mem::replace(&mut self.candidates[place as usize], Candidate::VACANT);
        self.census.set_candidate(candidate.slot, NONE);
        self.vacant.push(place);
    }

    /// Lets the rows of candidates leave whose time has come, of each window instant by instant, and asks the rules.
    fn expire(&mut self, keys: &Keys, log: &Log, now_ms: i64, given: &mut Vec<Emission>) {
        let width = self.spans.len();
        self.due_ms = i64::MAX;
        for (at, span) in self.spans.iter_mut().enumerate() {
            while span.due_ms <= now_ms {
                let due_ms = span.due_ms;
                self.moved.clear();
                while span.due_ms == due_ms {
                    let row = span.leaving;
                    span.seek(log, &self.marks, row + 1);
                    let place = self.census.candidate(self.slots.get(row));
                    let count = &mut self.counts[place as usize * width + at];
                    span.leave(log, count, (row, place));
                    if self.tallies.hold(place) {
                        span.untally(log, &self.tallies, (row, place));
                        if at == self.tallying && count.rows < self.tallied_from / 2 {
                            self.sparse.push(place);
                        }
                    }
                    if count.rows == 0 && at == self.longest {
                        self.emptied.push(place);
                    }
                    if count.rows >= span.asked_from {
                        self.moved.push(place);
                    }
                }
                if !self.moved.is_empty() {
                    let sight = Sight {
                        keys,
                        log,
                        index: &self.index,
                        key: self.key,
                        chain: &self.chain,
                        candidates: &self.candidates,
                        now_ms: due_ms,
                        row: None,
                    };
                    let counts = &self.counts;
                    span.ask(sight, &self.moved, |place| counts[place as usize * width + at], given);
                }
            }
            self.due_ms = self.due_ms.min(span.due_ms);
        }
    }

    /// Gives back what groups without rows held, and forgets those that are no longer quiet.
    fn settle(&mut self, keys: &mut Keys, log: &Log, now_ms: i64) {
        let width = self.spans.len();
        let mut emptied = std::mem::take(&mut self.emptied);
        for place in emptied.drain(..) {
            // A row may have come since; and a candidate may have been emptied twice.
            let rows = self.counts[place as usize * width + self.longest].rows;
            if rows == 0 && self.candidates[place as usize].slot != NONE {
                self.vacate(place);
            }
        }
        self.emptied = emptied;
        let mut sparse = std::mem::take(&mut self.sparse);
        for place in sparse.drain(..) {
            if self.is_sparse(place) {
                self.tallies.end(place);
                self.spans.iter_mut().for_each(|span| span.clear_tally(place));
            }
        }
        self.sparse = sparse;
        if self.index.len() >= self.crowded {
            let oldest = log.oldest(self.spans[self.longest].span_ms, now_ms);
            let gone: Vec<u32> = self.census.gone(oldest).collect();
            for slot in gone {
                self.census.forget(slot);
                self.index.leave(slot);
            }
            let groups = self.index.len();
            self.crowded = (groups * 2).min(groups + keys.limit() / 16).max(FEW_GROUPS);
        }
        self.index.settle(keys);
        for span in &mut self.spans {
            span.settle(keys, self.key, now_ms);
        }
    }

    pub(crate) fn save(&self, log: &Log) -> GroupsState {
        let (ids, free) = self.index.parts();
        let width = self.spans.len();
        let places: Vec<u32> = (0..)
            .zip(&self.candidates)
            .filter(|(_, candidate)| candidate.slot != NONE)
            .map(|(place, _)| place)
            .collect();
        let tallied = |(_, place): &(u32, &u32)| self.tallies.hold(**place);
        let span = |(at, span): (usize, &Span)| span.save(&places, |place| self.counts[place as usize * width + at]);
        GroupsState {
            ids: ids.to_vec(),
            free: free.to_vec(),
            census: self.census.save(),
            slots: self.slots.span(log.first, log.next),
            candidates: places
                .iter()
                .map(|&place| self.candidates[place as usize].slot)
                .collect(),
            tallied: (0..).zip(&places).filter(tallied).map(|(at, _)| at).collect(),
            spans: self.spans.iter().enumerate().map(span).collect(),
            next_ms: self
                .snapshots
                .iter()
                .map(|(_, snapshot)| snapshot.clock.next_ms)
                .collect(),
        }
    }

    /// Takes up what was saved of the same groups over the rows of the log. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, log: &Log, state: GroupsState) -> Option<()> {
        let bound = state.census.len();
        let within = |span: &SpanState| (log.first..=log.next).contains(&span.leaving);
        if state.spans.len() != self.spans.len()
            || state.next_ms.len() != self.snapshots.len()
            || state.slots.len() as u64 != log.len()
            || !state.spans.iter().all(within)
        {
            return None;
        }
        self.chain = Chain::starting_at(log.first);
        self.slots = Ring::starting_at(log.first);
        self.marks = Marks::starting_at(log.first);
        self.marks.grow(log.next);
        self.tallies.start(log.first);
        self.tallies.grow_rows(log.next);
        let mut distances = Vec::with_capacity(state.slots.len());
        let mut newest = vec![NO_ROW; bound];
        for (&slot, row) in state.slots.iter().zip(log.first..) {
            self.slots.push(slot);
            if slot == NONE {
                distances.push(0);
                continue;
            }
            let newest = newest.get_mut(slot as usize)?;
            distances.push(distance(row, std::mem::replace(newest, row)));
        }
        self.chain.extend(&distances);
        let holds = state.census.holds();
        self.census.restore(newest, log.first, state.census)?;
        self.index.restore(keys, (state.ids, state.free), holds.into_iter())?;
        for (place, slot) in (0..).zip(state.candidates) {
            if slot as usize >= bound || self.census.candidate(slot) != NONE {
                return None;
            }
            let newest = self.census.newest(slot);
            self.census.set_candidate(slot, place);
            self.candidates.push(Candidate { slot, newest });
        }
        self.tallies.grow(self.candidates.len());
        self.recount(log, &state.spans);
        let width = self.spans.len();
        for (at, (span, state)) in self.spans.iter_mut().zip(state.spans).enumerate() {
            let mut counts: Vec<Count> = self.counts.iter().skip(at).step_by(width).copied().collect();
            let leaving = state.leaving;
            span.restore(keys, self.key, &mut counts, state)?;
            for (place, count) in counts.into_iter().enumerate() {
                self.counts[place * width + at] = count;
            }
            span.seek(log, &self.marks, leaving);
            self.due_ms = self.due_ms.min(span.due_ms);
        }
        for ((_, snapshot), next_ms) in self.snapshots.iter_mut().zip(state.next_ms) {
            snapshot.clock.next_ms = next_ms;
        }
        for place in state.tallied {
            if place as usize >= self.candidates.len() || self.tallies.hold(place) {
                return None;
            }
            self.tally_rows(log, place);
        }
        Some(())
    }

    /// Marks the rows of the candidates, and counts those that windows hold.
    fn recount(&mut self, log: &Log, spans: &[SpanState]) {
        let width = spans.len();
        self.counts = vec![Count::EMPTY; self.candidates.len() * width];
        for row in log.first..log.next {
            let slot = self.slots.get(row);
            if slot == NONE || self.census.candidate(slot) == NONE {
                continue;
            }
            let counts = &mut self.counts[self.census.candidate(slot) as usize * width..][..width];
            for (count, span) in counts.iter_mut().zip(spans) {
                if row >= span.leaving {
                    count.rows += 1;
                    self.marks.mark(row);
                }
            }
        }
    }
}
