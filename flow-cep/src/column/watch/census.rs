//! What is known of every group at little cost: its newest row, and whether a window may hold what a rule demands of it.
//!
//! Each row has a weight: the largest part of any rule's demand that it may meet, as one of 2000 rows or 5 of 100 packets. Where
//! the weights of a group's rows do not come to the whole, none of the demands is met. Time is divided into periods as long as
//! the longest window, so that no window holds rows of more than two of them: what a group weighs in this period and in the one
//! before is no less than what it weighs in any window, and no row that leaves has to be looked at.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};

use super::chain::{self, NO_ROW};
use super::log::Log;
use super::rule::Threshold;
use crate::column::bound::Demand;
use crate::column::interner::NONE;
use crate::column::packed;

/// The weight at which a demand may be met.
const WHOLE: u32 = 1 << 24;

/// Rows that are taken in at once.
pub(super) const BLOCK: usize = 128;

/// What weighs.
#[derive(Debug, Default)]
struct Scale {
    /// A row by itself.
    row: u32,
    /// Arguments, and what each unit of their absolute values weighs.
    sums: Vec<(usize, f64)>,
}

/// A group.
#[derive(Debug, Clone, Copy)]
struct Head {
    newest: u64,
    /// The period of its newest row, what its rows weigh in it, and in the one before.
    period: u32,
    weight: u32,
    before: u32,
    /// Its place among the candidates, or [`NONE`].
    candidate: u32,
}

impl Head {
    const EMPTY: Self = Self {
        newest: NO_ROW,
        period: 0,
        weight: 0,
        before: 0,
        candidate: NONE,
    };
}

/// What the rows of a block are to their groups.
#[derive(Debug)]
pub(super) struct Block {
    /// How far each is from the one before it in its group; 0 if there was none.
    pub(super) distances: [u32; BLOCK],
    /// Whether it is the first of its group.
    pub(super) fresh: [bool; BLOCK],
    /// Whether its group may have what some rule demands.
    pub(super) near: [bool; BLOCK],
    weights: [u32; BLOCK],
}

impl Default for Block {
    fn default() -> Self {
        Self {
            distances: [0; BLOCK],
            fresh: [false; BLOCK],
            near: [false; BLOCK],
            weights: [0; BLOCK],
        }
    }
}

/// The groups by slot.
#[derive(Debug)]
pub(crate) struct Census {
    scale: Scale,
    heads: Vec<Head>,
    period_ms: i64,
    /// When the period ends; none before the first row.
    end_ms: Option<i64>,
    period: u32,
}

/// What a checkpoint keeps of the groups, by slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CensusState {
    end_ms: Option<i64>,
    /// How many periods ago the group had its newest row: [`OLD`] stands for all before, [`ABSENT`] for no group.
    #[serde(with = "packed")]
    ages: Vec<u32>,
    #[serde(with = "packed")]
    weights: Vec<u32>,
    #[serde(with = "packed")]
    before: Vec<u32>,
}

const OLD: u32 = 2;
const ABSENT: u32 = 3;

impl CensusState {
    /// Slots.
    pub(super) const fn len(&self) -> usize {
        self.ages.len()
    }

    /// By slot: 1 where there is a group, or 0.
    pub(super) fn holds(&self) -> Vec<i64> {
        self.ages.iter().map(|&age| i64::from(age != ABSENT)).collect()
    }
}

impl Census {
    /// Of no groups yet.
    pub(super) fn new() -> Self {
        Self {
            scale: Scale::default(),
            heads: Vec::new(),
            period_ms: 1,
            end_ms: None,
            period: 0,
        }
    }

    /// Makes periods at least this long; only before the first row.
    pub(super) fn lengthen(&mut self, period_ms: i64) {
        self.period_ms = self.period_ms.max(period_ms);
    }

    /// Regards what a rule demands; only before the first row.
    pub(super) fn regard(&mut self, threshold: &Threshold) {
        for demand in threshold.demands.as_deref().unwrap_or(&[Demand::Rows(1)]) {
            match *demand {
                Demand::Rows(rows) => self.scale.row = self.scale.row.max(WHOLE.div_ceil(rows)),
                Demand::Sum { number, least } => {
                    // A little more than it is, so that no rounding makes the sum of many too small.
                    let unit = f64::from(WHOLE) / real(least) * (1.0 + 1e-9);
                    match self.scale.sums.iter_mut().find(|(known, _)| *known == number) {
                        Some((_, known)) => *known = unit.max(*known),
                        None => self.scale.sums.push((number, unit)),
                    }
                }
            }
        }
    }

    /// Makes room for groups.
    pub(super) fn grow(&mut self, slots: usize) {
        if self.heads.len() < slots {
            self.heads.resize(slots, Head::EMPTY);
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
        self.period = self.period.wrapping_add(if consecutive { 1 } else { OLD });
    }

    /// Takes in the rows of a block, numbered from one on, which are in these slots.
    ///
    /// Which group a row belongs to is as good as random, and so is what is found of it. The first loop fetches the heads of many
    /// groups at once, as nothing in it waits for what it finds; the second chooses values and not ways.
    pub(super) fn enter(&mut self, log: &Log, first: u64, slots: &[u32], block: &mut Block) {
        for (at, (&slot, row)) in slots.iter().zip(first..).enumerate() {
            let Some(head) = self.heads.get_mut(slot as usize) else {
                (block.distances[at], block.fresh[at]) = (0, false);
                continue;
            };
            let newest = std::mem::replace(&mut head.newest, row);
            (block.distances[at], block.fresh[at]) = (chain::distance(row, newest), newest == NO_ROW);
        }
        self.weigh(log, first, &mut block.weights[..slots.len()]);
        for (at, &slot) in slots.iter().enumerate() {
            let Some(head) = self.heads.get_mut(slot as usize) else {
                block.near[at] = false;
                continue;
            };
            let age = self.period.wrapping_sub(head.period);
            let kept = select_unpredictable(age == 1, head.weight, 0);
            head.before = select_unpredictable(age == 0, head.before, kept);
            head.weight = select_unpredictable(age == 0, head.weight, 0).saturating_add(block.weights[at]);
            head.period = self.period;
            block.near[at] = (head.weight.saturating_add(head.before) >= WHOLE) | (head.candidate != NONE);
        }
    }

    /// The weights of rows, numbered from one on.
    fn weigh(&self, log: &Log, first: u64, weights: &mut [u32]) {
        weights.fill(self.scale.row);
        for &(argument, unit) in &self.scale.sums {
            for (weight, row) in weights.iter_mut().zip(first..) {
                let word = log.word(argument, row).unwrap_or(0);
                *weight = part(word, unit).max(*weight);
            }
        }
    }

    /// Whether a group may have what some rule demands, from now on until its next row.
    pub(super) fn is_near(&self, slot: u32) -> bool {
        let head = &self.heads[slot as usize];
        match self.period.wrapping_sub(head.period) {
            0 => head.weight.saturating_add(head.before) >= WHOLE,
            1 => head.weight >= WHOLE,
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
    }

    pub(super) fn save(&self) -> CensusState {
        let age = |head: &Head| match head.newest {
            NO_ROW => ABSENT,
            _ => self.period.wrapping_sub(head.period).min(OLD),
        };
        CensusState {
            end_ms: self.end_ms,
            ages: self.heads.iter().map(age).collect(),
            weights: self.heads.iter().map(|head| head.weight).collect(),
            before: self.heads.iter().map(|head| head.before).collect(),
        }
    }

    /// Takes up what was saved of groups whose newest rows are these, of those that are left from `first` on. None if it does
    /// not fit.
    pub(super) fn restore(&mut self, newest: Vec<u64>, first: u64, state: CensusState) -> Option<()> {
        let slots = newest.len();
        if state.ages.len() != slots || state.weights.len() != slots || state.before.len() != slots {
            return None;
        }
        self.period = OLD;
        self.end_ms = state.end_ms;
        let head = |(newest, ((age, weight), before))| Head {
            // The rows of a group that has not been forgotten yet may have left.
            newest: if age != ABSENT && newest == NO_ROW {
                first.wrapping_sub(1)
            } else {
                newest
            },
            period: self.period.saturating_sub(age),
            weight,
            before,
            candidate: NONE,
        };
        let weights = state.ages.into_iter().zip(state.weights).zip(state.before);
        self.heads = newest.into_iter().zip(weights).map(head).collect();
        Some(())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a part that is some 1e-16 too small or large is made up for by its unit"
)]
const fn real(word: u64) -> f64 {
    word as f64
}

/// What a value weighs, or a little more.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a weight is positive, and one that is too large is the largest"
)]
#[inline(always)]
fn part(word: i64, unit: f64) -> u32 {
    ((real(word.unsigned_abs()) * unit) as u32).saturating_add(1)
}
