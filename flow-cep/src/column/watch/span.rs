//! The candidates among the groups of one key as they stand in a window of one length, and the rules over them.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::detail::{Detail, Wanted};
use super::groups::Candidate;
use super::log::Log;
use super::marks::Marks;
use super::rule::Rule;
use super::scope::{Group, GroupScope};
use super::tally::{Arrival, Tallies};
use crate::column::groups::{from_word, to_word};
use crate::column::index::Index;
use crate::column::interner::{NONE, id_from};
use crate::column::keys::{KeyId, Keys};
use crate::column::packed;
use crate::column::runtime::Emission;
use crate::engine::Rows as Delivered;
use crate::value::{Value, compare_by};

/// What every candidate has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    /// Rows of the group in the window.
    pub(crate) rows: u32,
    /// Place of its detail, or [`NONE`].
    pub(crate) detail: u32,
}

impl Count {
    pub(crate) const EMPTY: Self = Self { rows: 0, detail: NONE };
}

/// What a window's groups are seen with.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) log: &'a Log,
    pub(crate) index: &'a Index,
    pub(crate) key: KeyId,
    pub(crate) chain: &'a Chain,
    pub(crate) candidates: &'a [Candidate],
    pub(crate) now_ms: i64,
    /// The row of the slice that has come; none if rows have left.
    pub(crate) row: Option<usize>,
}

/// A window of one length.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) span_ms: i64,
    /// The oldest row of a candidate in the window, which leaves next, and when it does.
    pub(crate) leaving: u64,
    pub(crate) due_ms: i64,
    /// Arguments that are summed for every candidate.
    pub(crate) summed: Vec<usize>,
    /// By candidate and argument: the sum, and how many numbers it is made of.
    sums: Vec<i64>,
    /// Columns whose distinct values are counted, by their place in the tallies.
    pub(crate) tallied: Vec<usize>,
    /// By candidate and such column.
    distinct: Vec<u32>,
    pub(crate) wanted: Wanted,
    details: Vec<Option<Detail>>,
    vacant: Vec<u32>,
    pub(crate) rules: Vec<Rule>,
    /// By candidate and rule: until when it is known to be quiet.
    quiet_until: Vec<i64>,
    hasher: RandomState,
    /// Rows from which on a group has a detail, and from which on some rule may give it.
    detailed_from: u32,
    pub(crate) asked_from: u32,
}

/// What a checkpoint keeps of a window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpanState {
    pub(crate) leaving: u64,
    /// By candidate and argument.
    #[serde(with = "packed")]
    sums: Vec<i64>,
    /// With the place of their candidates.
    details: Vec<(u32, Detail)>,
    quiet: Vec<Vec<(i64, u32)>>,
}

impl Span {
    pub(crate) fn new(span_ms: i64) -> Self {
        Self {
            span_ms,
            leaving: 0,
            due_ms: i64::MAX,
            summed: Vec::new(),
            sums: Vec::new(),
            tallied: Vec::new(),
            distinct: Vec::new(),
            wanted: Wanted::default(),
            details: Vec::new(),
            vacant: Vec::new(),
            rules: Vec::new(),
            quiet_until: Vec::new(),
            hasher: RandomState::default(),
            detailed_from: u32::MAX,
            asked_from: u32::MAX,
        }
    }

    /// Adds a rule; only before the first row.
    pub(crate) fn add(&mut self, rule: Rule) {
        self.asked_from = self.asked_from.min(rule.threshold.rows);
        if rule.reads_details() {
            self.detailed_from = self.detailed_from.min(rule.threshold.rows.max(1));
        }
        self.rules.push(rule);
    }

    /// Makes room for candidates.
    pub(crate) fn grow(&mut self, candidates: usize) {
        self.sums.resize(candidates * self.summed.len() * 2, 0);
        self.distinct.resize(candidates * self.tallied.len(), 0);
        self.quiet_until.resize(candidates * self.rules.len(), i64::MIN);
    }

    /// Looks for the next row that leaves, from a row on.
    pub(crate) fn seek(&mut self, log: &Log, marks: &Marks, from: u64) {
        let next = marks.next(from);
        self.leaving = next.unwrap_or(log.next);
        self.due_ms = next.map_or(i64::MAX, |row| log.times.get(row).saturating_add(self.span_ms));
    }

    /// Takes in what a row of a candidate does to the columns of the tallies, before it enters.
    pub(crate) fn tally(&mut self, arrivals: &[Arrival], place: u32) {
        let distinct = &mut self.distinct[place as usize * self.tallied.len()..];
        for (&column, distinct) in self.tallied.iter().zip(distinct) {
            *distinct += match arrivals[column] {
                Arrival::Null => 0,
                Arrival::New => 1,
                Arrival::Again(last) => u32::from(last < self.leaving),
            };
        }
    }

    /// Takes out what a row of a candidate takes from the columns of the tallies when it leaves.
    pub(crate) fn untally(&mut self, log: &Log, tallies: &Tallies, (row, place): (u64, u32)) {
        let distinct = &mut self.distinct[place as usize * self.tallied.len()..];
        for (&column, distinct) in self.tallied.iter().zip(distinct) {
            *distinct -= u32::from(tallies.is_last(log, column, row));
        }
    }

    /// Forgets the distinct values of a candidate.
    pub(crate) fn clear_tally(&mut self, place: u32) {
        let width = self.tallied.len();
        self.distinct[place as usize * width..][..width].fill(0);
    }

    /// The distinct values of a candidate, and of those behind it.
    pub(super) fn distinct_of(&self, place: u32) -> &[u32] {
        &self.distinct[place as usize * self.tallied.len()..]
    }

    /// The sums of a candidate, and of those behind it.
    pub(super) fn sums_of(&self, place: u32) -> &[i64] {
        &self.sums[place as usize * self.summed.len() * 2..]
    }

    /// Takes in the next row of a candidate, of which the chain knows; returns whether rules may have something to say.
    pub(crate) fn enter(&mut self, log: &Log, chain: &Chain, count: &mut Count, (row, place): (u64, u32)) -> bool {
        count.rows += 1;
        let at = place as usize * self.summed.len() * 2;
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
        if count.rows >= self.detailed_from || count.detail != NONE {
            self.deepen(log, chain, count, row);
        }
        count.rows >= self.asked_from
    }

    /// Takes a row into the detail of its group, which is made if there is none yet.
    fn deepen(&mut self, log: &Log, chain: &Chain, count: &mut Count, row: u64) {
        if count.detail != NONE {
            if let Some(Some(detail)) = self.details.get_mut(count.detail as usize) {
                detail.enter(&self.wanted, log, row);
            }
            return;
        }
        let mut detail = Detail::new(&self.wanted);
        for row in chain.rows_to(row, count.rows) {
            detail.enter(&self.wanted, log, row);
        }
        self.attach(count, detail);
    }

    fn attach(&mut self, count: &mut Count, detail: Detail) {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.details.push(None);
            id_from(self.details.len() - 1)
        });
        self.details[place as usize] = Some(detail);
        count.detail = place;
    }

    fn detach(&mut self, count: &mut Count) {
        self.details[count.detail as usize] = None;
        self.vacant.push(count.detail);
        count.detail = NONE;
    }

    /// Takes the oldest row of a candidate out.
    pub(crate) fn leave(&mut self, log: &Log, count: &mut Count, (row, place): (u64, u32)) {
        count.rows -= 1;
        let at = place as usize * self.summed.len() * 2;
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
        if count.detail == NONE {
            return;
        }
        // A group at the brink keeps its detail, or it would be made again and again.
        if count.rows == 0 || count.rows < self.detailed_from / 2 {
            self.detach(count);
        } else if let Some(Some(detail)) = self.details.get_mut(count.detail as usize) {
            detail.leave(&self.wanted, log, row);
        }
    }

    /// Asks the rules whether they give the rows of candidates, of which something has come or gone. `count` tells of a
    /// candidate what it has.
    pub(crate) fn ask(
        &mut self,
        sight: Sight<'_>,
        places: &[u32],
        count: impl Fn(u32) -> Count,
        given: &mut Vec<Emission>,
    ) {
        for at in 0..self.rules.len() {
            let mut rows: Vec<(Vec<Value>, Vec<Value>)> = Vec::new();
            let mut seen = HashSet::with_hasher(self.hasher.clone());
            for &place in places {
                let rule = &self.rules[at];
                let quiet = place as usize * self.rules.len() + at;
                if self.quiet_until[quiet] > sight.now_ms {
                    continue;
                }
                let Count { rows: held, detail } = count(place);
                let (sums, distinct) = (self.sums_of(place), self.distinct_of(place));
                if !rule.threshold.is_met(held, sums, distinct) {
                    continue;
                }
                let Candidate { slot, newest } = sight.candidates[place as usize];
                let key = sight.index.id(slot);
                if let Some(until_ms) = rule.quiet_until(key).filter(|&until_ms| until_ms > sight.now_ms) {
                    self.quiet_until[quiet] = until_ms;
                    continue;
                }
                let rows_of = || sight.chain.rows_to(newest, held);
                let group = Group {
                    key: (sight.key, key),
                    rows: held,
                    newest,
                    sums,
                    distinct,
                    detail: self.details.get(detail as usize).and_then(Option::as_ref),
                    rows_of: &rows_of,
                };
                let scope = GroupScope::new(group, sight.keys, sight.log, &rule.columns, sight.now_ms);
                let passes = rule
                    .having
                    .as_ref()
                    .is_none_or(|having| having.expr().eval(&scope).is_true());
                if !passes || !seen.insert(place) {
                    continue;
                }
                let values = rule.select.iter().map(|scalar| scalar.expr().eval(&scope)).collect();
                let order = rule.order.iter().map(|(scalar, _)| scalar.expr().eval(&scope));
                rows.push((values, order.collect()));
                drop(scope);
                let rule = &mut self.rules[at];
                if rule.every_ms.is_some() {
                    rule.quiet.begin(key, sight.now_ms);
                }
            }
            let rule = &self.rules[at];
            if rows.len() > 1 {
                let descending = || rule.order.iter().map(|(_, descending)| *descending);
                rows.sort_by(|(_, left), (_, right)| compare_by(descending(), left, right));
            }
            rows.drain(..rule.offset.min(rows.len()));
            rows.truncate(rule.limit.unwrap_or(usize::MAX));
            if !rows.is_empty() {
                given.push(Emission {
                    statement: rule.statement,
                    time_ms: sight.now_ms,
                    row: sight.row,
                    rows: Some(Delivered::Values(
                        rows.into_iter().map(|(values, _)| values.into()).collect(),
                    )),
                });
            }
        }
    }

    /// Forgets a candidate.
    pub(crate) fn forget(&mut self, count: &mut Count, place: u32) {
        if count.detail != NONE {
            self.detach(count);
        }
        *count = Count::EMPTY;
        let width = self.summed.len() * 2;
        self.sums[place as usize * width..][..width].fill(0);
        self.clear_tally(place);
        let width = self.rules.len();
        self.quiet_until[place as usize * width..][..width].fill(i64::MIN);
    }

    /// Forgets keys that are no longer quiet, and holds those that have become so.
    pub(crate) fn settle(&mut self, keys: &mut Keys, key: KeyId, now_ms: i64) {
        for rule in &mut self.rules {
            if let Some(every_ms) = rule.every_ms {
                rule.quiet.forget(every_ms, now_ms);
            }
            keys.hold_all(key, rule.quiet.begun.drain(..));
            keys.release_all(key, rule.quiet.over.drain(..));
        }
    }

    /// The state; `places` are those of the candidates, and `count` tells what they have.
    pub(crate) fn save(&self, places: &[u32], count: impl Fn(u32) -> Count) -> SpanState {
        let detail = |(at, &place): (u32, &u32)| {
            let detail = self.details.get(count(place).detail as usize)?.as_ref()?;
            Some((at, detail.clone()))
        };
        let width = self.summed.len() * 2;
        SpanState {
            leaving: self.leaving,
            sums: places
                .iter()
                .flat_map(|&place| &self.sums_of(place)[..width])
                .copied()
                .collect(),
            details: (0..).zip(places).filter_map(detail).collect(),
            quiet: self.rules.iter().map(|rule| rule.quiet.entries()).collect(),
        }
    }

    /// Takes up what was saved of the same window, of which `counts` has the rows of so many candidates. None if it does not
    /// fit.
    pub(crate) fn restore(
        &mut self,
        keys: &mut Keys,
        key: KeyId,
        counts: &mut [Count],
        state: SpanState,
    ) -> Option<()> {
        if state.sums.len() != counts.len() * self.summed.len() * 2 || state.quiet.len() != self.rules.len() {
            return None;
        }
        self.sums = state.sums;
        self.grow(counts.len());
        for (place, detail) in state.details {
            let count = counts.get_mut(place as usize)?;
            if count.rows == 0 || count.detail != NONE || !detail.fits(&self.wanted) {
                return None;
            }
            self.attach(count, detail);
        }
        for (rule, entries) in self.rules.iter_mut().zip(state.quiet) {
            if !entries.iter().all(|&(_, id)| keys.knows(key, id)) {
                return None;
            }
            rule.quiet.restore(entries)?;
            keys.hold_all(key, rule.quiet.begun.drain(..));
        }
        Some(())
    }
}
