//! What is known of every group at little cost: its newest row, and at most how much of it a window can hold.
//!
//! Time is divided into periods as long as the longest window, so that no window holds rows of more than two of them. What a
//! group has in this period and in the one before is therefore no less than what it has in any window; no row that leaves has
//! to be looked at. Where it stays below what every rule demands, the group needs no closer watch.

use serde::{Deserialize, Serialize};

use super::chain::{NO_ROW, distance};
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

/// What a row was to its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// From the one before it in the group; 0 if there was none.
    pub(super) distance: u32,
    pub(super) is_new: bool,
    /// Whether the group may have what some rule demands.
    pub(super) near: bool,
}

/// A sum of absolute values in the period of the newest row, and in the one before.
type SumBound = [u64; 2];

/// The groups by slot.
#[derive(Debug)]
pub(crate) struct Census {
    trigger: Trigger,
    heads: Vec<Head>,
    /// By slot and argument of the trigger.
    sums: Vec<SumBound>,
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
    #[serde(with = "packed")]
    sums: Vec<u64>,
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
            None => self.trigger.sums.push((argument, least)),
        }
    }

    /// Makes room for groups.
    pub(super) fn grow(&mut self, slots: usize) {
        if self.heads.len() < slots {
            self.heads.resize(slots, Head::EMPTY);
            self.sums.resize(slots * self.trigger.sums.len(), [0, 0]);
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

    /// Counts a row of a group, which is the newest of all.
    ///
    /// Which group a row belongs to is as good as random, so that nothing here depends on what is found but by choice of values.
    #[inline(always)]
    pub(super) fn enter(&mut self, log: &Log, (row, slot): (u64, u32)) -> Entry {
        let head = &mut self.heads[slot as usize];
        let age = self.period.wrapping_sub(head.period);
        let kept = if age == 1 { head.rows } else { 0 };
        head.before = if age == 0 { head.before } else { kept };
        head.rows = if age == 0 { head.rows.saturating_add(1) } else { 1 };
        head.period = self.period;
        let newest = std::mem::replace(&mut head.newest, row);
        let mut near = (head.candidate != NONE) | (head.most_rows() >= self.trigger.rows);
        let width = self.trigger.sums.len();
        let sums = &mut self.sums[slot as usize * width..][..width];
        for (&(argument, least), [sum, before]) in self.trigger.sums.iter().zip(sums) {
            let kept = if age == 1 { *sum } else { 0 };
            *before = if age == 0 { *before } else { kept };
            let word = log.word(argument, row).unwrap_or(0);
            *sum = if age == 0 { *sum } else { 0 }.saturating_add(word.unsigned_abs());
            near |= sum.saturating_add(*before) >= least;
        }
        Entry {
            distance: distance(row, newest),
            is_new: newest == NO_ROW,
            near,
        }
    }

    /// Whether a group may have what some rule demands, from now on until its next row.
    pub(super) fn is_near(&self, slot: u32) -> bool {
        let head = &self.heads[slot as usize];
        let age = self.period.wrapping_sub(head.period);
        let width = self.trigger.sums.len();
        let sums = &self.sums[slot as usize * width..][..width];
        let mut demands = self.trigger.sums.iter().zip(sums);
        match age {
            0 => {
                head.most_rows() >= self.trigger.rows
                    || demands.any(|((_, least), [sum, before])| sum.saturating_add(*before) >= *least)
            }
            1 => head.rows >= self.trigger.rows || demands.any(|((_, least), [sum, _])| sum >= least),
            _ => false,
        }
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
        let width = self.trigger.sums.len();
        self.sums[slot as usize * width..][..width].fill([0, 0]);
    }

    pub(super) fn save(&self) -> CensusState {
        let age = |head: &Head| self.period.wrapping_sub(head.period).min(2);
        CensusState {
            end_ms: self.end_ms,
            ages: self.heads.iter().map(age).collect(),
            rows: self.heads.iter().map(|head| head.rows).collect(),
            before: self.heads.iter().map(|head| head.before).collect(),
            sums: self.sums.iter().flatten().copied().collect(),
        }
    }

    /// Takes up what was saved of groups whose newest rows are these, of those that are left from `first` on. None if it does
    /// not fit.
    pub(super) fn restore(&mut self, newest: Vec<u64>, first: u64, state: CensusState) -> Option<()> {
        let slots = newest.len();
        let (sums, rest) = state.sums.as_chunks();
        if state.ages.len() != slots
            || state.rows.len() != slots
            || state.before.len() != slots
            || sums.len() != slots * self.trigger.sums.len()
            || !rest.is_empty()
        {
            return None;
        }
        self.period = 2;
        self.end_ms = state.end_ms;
        self.sums = sums.to_vec();
        let counts = state.ages.iter().zip(&state.rows).zip(&state.before);
        self.heads = newest
            .into_iter()
            .zip(counts)
            .map(|(newest, ((&age, &rows), &before))| Head {
                // The rows of a group that has not been forgotten yet may have left.
                newest: if rows > 0 && newest == NO_ROW { first.wrapping_sub(1) } else { newest },
                period: self.period.saturating_sub(age),
                rows,
                before,
                candidate: NONE,
            })
            .collect();
        Some(())
    }
}
