//! What is known of every group at little cost: its newest row, and at most how much of it a window can hold.
//!
//! Time is divided into periods as long as the longest window, so that no window holds rows of more than two of them. What a
//! group has in this period and in the one before is therefore no less than what it has in any window; no row that leaves has
//! to be looked at. Where it stays below what every rule demands, the group needs no closer watch.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};

use super::chain::{self, NO_ROW};
use super::log::Log;
use super::rule::Threshold;
use super::span::Span;
use crate::column::interner::NONE;
use crate::column::packed;

/// What a group must have for some rule to give it.
#[derive(Debug)]
struct Trigger {
    /// Rows that suffice.
    rows: u32,
    /// Arguments, and what their absolute values must come to.
    sums: Vec<(usize, u64)>,
}

/// A group.
#[derive(Debug, Clone, Copy)]
struct Head {
    newest: u64,
    /// The period of its newest row, the rows in it, and those of the period before.
    period: u32,
    rows: u32,
    before: u32,
    /// Its place among the candidates, or [`NONE`].
    candidate: u32,
}

impl Head {
    const EMPTY: Self = Self {
        newest: NO_ROW,
        period: 0,
        rows: 0,
        before: 0,
        candidate: NONE,
    };

    const fn most_rows(&self) -> u32 {
        self.rows.saturating_add(self.before)
    }
}

/// A sum of absolute values in the period of the newest row, and in the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    now: u64,
    before: u64,
    period: u32,
}

impl Sum {
    const fn most(&self) -> u64 {
        self.now.saturating_add(self.before)
    }
}

/// The groups by slot.
#[derive(Debug)]
pub(crate) struct Census {
    trigger: Trigger,
    heads: Vec<Head>,
    /// By argument of the trigger and slot.
    sums: Vec<Vec<Sum>>,
    period_ms: i64,
    /// When the period ends; none before the first row.
    end_ms: Option<i64>,
    period: u32,
}

/// What a checkpoint keeps of the groups, by slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CensusState {
    end_ms: Option<i64>,
    /// How many periods ago the group had its newest row: two stands for all before.
    #[serde(with = "packed")]
    ages: Vec<u32>,
    #[serde(with = "packed")]
    rows: Vec<u32>,
    #[serde(with = "packed")]
    before: Vec<u32>,
    /// By argument: sums of the period of the newest row, then those of the one before.
    #[serde(with = "packed::each")]
    sums: Vec<Vec<u64>>,
}

impl CensusState {
    /// Slots.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// By slot: 1 where there is a group, or 0.
    pub(super) fn holds(&self) -> Vec<i64> {
        self.rows.iter().map(|&rows| i64::from(rows > 0)).collect()
    }
}

impl Census {
    /// Of no groups yet.
    pub(super) const fn new() -> Self {
        Self {
            trigger: Trigger {
                rows: u32::MAX,
                sums: Vec::new(),
            },
            heads: Vec::new(),
            sums: Vec::new(),
            period_ms: 1,
            end_ms: None,
            period: 0,
        }
    }

    /// Makes periods at least this long; only before the first row.
    pub(super) fn lengthen(&mut self, period_ms: i64) {
        self.period_ms = self.period_ms.max(period_ms);
    }

    /// Regards what a rule over a window demands; only before the first row.
    pub(super) fn regard(&mut self, threshold: &Threshold, span: &Span) {
        let sum = threshold.sums.iter().find_map(|&(sum, least)| {
            let least = u64::try_from(least).ok().filter(|&least| least > 0)?;
            Some((span.summed[sum], least))
        });
        let Some((argument, least)) = sum else {
            self.trigger.rows = self.trigger.rows.min(threshold.rows);
            return;
        };
        match self.trigger.sums.iter_mut().find(|(known, _)| *known == argument) {
            Some((_, known)) => *known = least.min(*known),
            None => {
                self.trigger.sums.push((argument, least));
                self.sums.push(Vec::new());
            }
        }
    }

    /// Makes room for groups.
    pub(super) fn grow(&mut self, slots: usize) {
        if self.heads.len() < slots {
            self.heads.resize(slots, Head::EMPTY);
            self.sums
                .iter_mut()
                .for_each(|sums| sums.resize(slots, Sum::default()));
        }
    }

    /// When the period ends.
    pub(super) const fn end_ms(&self) -> Option<i64> {
        self.end_ms
    }

    /// Ends periods up to the one in which an instant lies.
    pub(super) fn turn(&mut self, now_ms: i64) {
        let end_ms = now_ms
            .div_euclid(self.period_ms)
            .saturating_add(1)
            .saturating_mul(self.period_ms);
        let consecutive = self.end_ms == end_ms.checked_sub(self.period_ms);
        self.end_ms = Some(end_ms);
        // After a leap both of the last periods are empty.
        self.period = self.period.wrapping_add(if consecutive { 1 } else { 2 });
    }

    /// Puts rows, numbered from one on, in front of their groups; tells how far each is from the one that was there.
    ///
    /// Which group a row belongs to is as good as random: this fetches the heads of many groups at once, as nothing in it waits
    /// for what it finds.
    pub(super) fn lead(&mut self, first: u64, slots: &[u32], distances: &mut [u32]) {
        for ((&slot, distance), row) in slots.iter().zip(distances).zip(first..) {
            *distance = match self.heads.get_mut(slot as usize) {
                Some(head) => chain::distance(row, std::mem::replace(&mut head.newest, row)),
                None => 0,
            };
        }
    }

    /// Counts rows, numbered from one on, in their groups; tells of which the group may have what some rule demands, and
    /// which is the first of its group.
    ///
    /// What it finds is as good as random too, so it chooses values and not ways.
    pub(super) fn count(&mut self, log: &Log, first: u64, slots: &[u32], (near, fresh): (&mut [bool], &mut [bool])) {
        for ((&slot, near), fresh) in slots.iter().zip(&mut *near).zip(fresh) {
            let Some(head) = self.heads.get_mut(slot as usize) else {
                (*near, *fresh) = (false, false);
                continue;
            };
            let age = self.period.wrapping_sub(head.period);
            *fresh = head.rows == 0;
            let kept = select_unpredictable(age == 1, head.rows, 0);
            head.before = select_unpredictable(age == 0, head.before, kept);
            head.rows = select_unpredictable(age == 0, head.rows, 0).saturating_add(1);
            head.period = self.period;
            *near = (head.candidate != NONE) | (head.most_rows() >= self.trigger.rows);
        }
        for (sums, &(argument, least)) in self.sums.iter_mut().zip(&self.trigger.sums) {
            for ((&slot, near), row) in slots.iter().zip(&mut *near).zip(first..) {
                let Some(sum) = sums.get_mut(slot as usize) else { continue };
                let age = self.period.wrapping_sub(sum.period);
                let kept = select_unpredictable(age == 1, sum.now, 0);
                sum.before = select_unpredictable(age == 0, sum.before, kept);
                let word = log.word(argument, row).unwrap_or(0);
                sum.now = select_unpredictable(age == 0, sum.now, 0).saturating_add(word.unsigned_abs());
                sum.period = self.period;
                *near |= sum.most() >= least;
            }
        }
    }

    /// Whether a group may have what some rule demands, from now on until its next row.
    pub(super) fn is_near(&self, slot: u32) -> bool {
        let head = &self.heads[slot as usize];
        let age = self.period.wrapping_sub(head.period);
        let rows = [head.most_rows(), head.rows];
        let met = |(sums, (_, least)): (&Vec<Sum>, &(usize, u64))| {
            let sum = &sums[slot as usize];
            [sum.most(), sum.now].get(age as usize).is_some_and(|most| most >= least)
        };
        rows.get(age as usize).is_some_and(|&most| most >= self.trigger.rows)
            || self.sums.iter().zip(&self.trigger.sums).any(met)
    }

    pub(super) fn newest(&self, slot: u32) -> u64 {
        self.heads[slot as usize].newest
    }

    /// The place of a group among the candidates, or [`NONE`].
    pub(super) fn candidate(&self, slot: u32) -> u32 {
        self.heads[slot as usize].candidate
    }

    pub(super) fn set_candidate(&mut self, slot: u32, place: u32) {
        self.heads[slot as usize].candidate = place;
    }

    /// The slots of groups that had rows, of which none is at or after a row.
    pub(super) fn gone(&self, oldest: u64) -> impl Iterator<Item = u32> {
        let gone = move |(_, head): &(u32, &Head)| head.newest < oldest;
        (0..).zip(&self.heads).filter(gone).map(|(slot, _)| slot)
    }

    /// Forgets a group.
    pub(super) fn forget(&mut self, slot: u32) {
        self.heads[slot as usize] = Head::EMPTY;
        for sums in &mut self.sums {
            sums[slot as usize] = Sum::default();
        }
    }

    pub(super) fn save(&self) -> CensusState {
        let age = |head: &Head| self.period.wrapping_sub(head.period).min(2);
        CensusState {
            end_ms: self.end_ms,
            ages: self.heads.iter().map(age).collect(),
            rows: self.heads.iter().map(|head| head.rows).collect(),
            before: self.heads.iter().map(|head| head.before).collect(),
            sums: self.sums.iter().map(|sums| words(sums)).collect(),
        }
    }

    /// Takes up what was saved of groups whose newest rows are these, of those that are left from `first` on. None if it does
    /// not fit.
    pub(super) fn restore(&mut self, newest: Vec<u64>, first: u64, state: CensusState) -> Option<()> {
        let slots = newest.len();
        if state.ages.len() != slots
            || state.rows.len() != slots
            || state.before.len() != slots
            || state.sums.len() != self.trigger.sums.len()
            || state.sums.iter().any(|words| words.len() != slots * 2)
        {
            return None;
        }
        self.period = 2;
        self.end_ms = state.end_ms;
        let periods: Vec<u32> = state.ages.iter().map(|&age| self.period.saturating_sub(age)).collect();
        self.sums = state.sums.iter().map(|words| sums(words, &periods)).collect();
        let counts = periods.into_iter().zip(&state.rows).zip(&state.before);
        self.heads = newest
            .into_iter()
            .zip(counts)
            .map(|(newest, ((period, &rows), &before))| Head {
                // The rows of a group that has not been forgotten yet may have left.
                newest: if rows > 0 && newest == NO_ROW { first.wrapping_sub(1) } else { newest },
                period,
                rows,
                before,
                candidate: NONE,
            })
            .collect();
        Some(())
    }
}

/// Sums as a checkpoint keeps them.
fn words(sums: &[Sum]) -> Vec<u64> {
    let now = sums.iter().map(|sum| sum.now);
    now.chain(sums.iter().map(|sum| sum.before)).collect()
}

/// The sums of such words, of groups that had their newest rows in these periods.
fn sums(words: &[u64], periods: &[u32]) -> Vec<Sum> {
    let (now, before) = words.split_at(periods.len());
    let sums = now.iter().zip(before).zip(periods);
    sums.map(|((&now, &before), &period)| Sum { now, before, period }).collect()
}
