//! What is kept of a group that has enough rows for a condition to hold: moments and extremes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::log::Log;
use crate::column::numbers::Number;

/// What the details of a grouping hold.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Arguments whose deviation is asked for.
    pub(crate) moments: Vec<usize>,
    /// Arguments whose smallest or largest is asked for.
    pub(crate) extremes: Vec<(usize, Largest)>,
}

/// Which of the extremes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Largest {
    Yes,
    No,
}

/// The place of an item, which is added if it is new.
pub(crate) fn place_of<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    items.iter().position(|known| *known == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    })
}

/// Count, mean and sum of squared deviations.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
impl Moments {
    /// Welford's update.
    pub(crate) fn enter(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    fn leave(&mut self, value: f64) {
        if self.count <= 1 {
            *self = Self::default();
            return;
        }
        self.count -= 1;
        let delta = value - self.mean;
        self.mean -= delta / self.count as f64;
        self.squares -= delta * (value - self.mean);
    }

    /// The deviation of the sample.
    pub(crate) fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}

/// The state of one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Detail {
    moments: Vec<Moments>,
    /// By extreme: the rows that are better than all that came after them, whose front is the extreme.
    extremes: Vec<VecDeque<(u64, Number)>>,
}

/// A number in floating point, as EPL converts long to double.
#[expect(clippy::cast_precision_loss, reason = "as EPL converts long to double")]
pub(crate) const fn real(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Double(value) => value,
    }
}

impl Detail {
    /// The detail of a group without rows.
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            moments: vec![Moments::default(); wanted.moments.len()],
            extremes: vec![VecDeque::new(); wanted.extremes.len()],
        }
    }

    /// Whether it has the parts that are wanted.
    pub(crate) fn fits(&self, wanted: &Wanted) -> bool {
        self.moments.len() == wanted.moments.len() && self.extremes.len() == wanted.extremes.len()
    }

    /// A row comes.
    pub(crate) fn enter(&mut self, wanted: &Wanted, log: &Log, row: u64) {
        for (moments, &argument) in self.moments.iter_mut().zip(&wanted.moments) {
            if let Some(number) = log.number(argument, row) {
                moments.enter(real(number));
            }
        }
        for (queue, &(argument, largest)) in self.extremes.iter_mut().zip(&wanted.extremes) {
            if let Some(number) = log.number(argument, row) {
                let largest = largest == Largest::Yes;
                while queue.back().is_some_and(|(_, last)| number.beats(*last, largest)) {
                    queue.pop_back();
                }
                queue.push_back((row, number));
            }
        }
    }

    /// The oldest row leaves.
    pub(crate) fn leave(&mut self, wanted: &Wanted, log: &Log, row: u64) {
        for (moments, &argument) in self.moments.iter_mut().zip(&wanted.moments) {
            if let Some(number) = log.number(argument, row) {
                moments.leave(real(number));
            }
        }
        for queue in &mut self.extremes {
            if queue.front().is_some_and(|(front, _)| *front == row) {
                queue.pop_front();
            }
        }
    }

    pub(crate) fn deviation(&self, moments: usize) -> Option<f64> {
        self.moments[moments].deviation()
    }

    pub(crate) fn extreme(&self, extreme: usize) -> Option<Number> {
        self.extremes[extreme].front().map(|(_, number)| *number)
    }
}
