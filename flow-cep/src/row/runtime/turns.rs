//! Who goes first of those that are due at one instant.
//!
//! Whether a context ends before its statements' clocks go off at the same instant shows in what a statement delivers. Esper
//! gathers those that are due in a hash map by statement and partition, and goes through its buckets.

use super::{SOLE, Target};
use crate::plan::{Action, Catalog, StatementPlan};

/// How many buckets a hash map has at first; it gets twice as many when more than three quarters as many are in it.
const FIRST_BUCKETS: u64 = 16;

/// What the order follows from.
#[derive(Debug)]
pub(super) struct Turns {
    /// The number of each statement.
    statements: Vec<u64>,
    /// The numbers of the statements that made the contexts and the named windows.
    contexts: Vec<u64>,
    windows: Vec<u64>,
    /// How many buckets the map has come to.
    pub(super) buckets: u64,
}

impl Turns {
    pub(super) fn new(catalog: &Catalog, plans: &[StatementPlan]) -> Self {
        let mut windows = vec![0; catalog.windows.len()];
        for plan in plans {
            if let Action::CreateWindow(window) = plan.action {
                windows[window] = plan.number as u64;
            }
        }
        Self {
            statements: plans.iter().map(|plan| plan.number as u64).collect(),
            contexts: catalog.contexts.iter().map(|context| context.number as u64).collect(),
            windows,
            buckets: FIRST_BUCKETS,
        }
    }

    /// The statement and the hash of one that is due.
    fn hash(&self, target: Target) -> (u64, u64) {
        let (statement, partition) = match target {
            Target::Window(at) => (self.windows[at], SOLE),
            Target::Context(at) => (self.contexts[at], SOLE),
            Target::Statement(at, id) => (self.statements[at], id),
        };
        // Statements are numbered from 1. What has no partition counts as partition -1, which `SOLE` is.
        let hash = (statement + 1).wrapping_mul(31).wrapping_add(partition) & u64::from(u32::MAX);
        (statement, hash ^ (hash >> 16))
    }

    /// Those that are due, in their order.
    pub(super) fn of(&mut self, mut due: Vec<Target>) -> Vec<Target> {
        while due.len() as u64 * 4 > self.buckets * 3 {
            self.buckets *= 2;
        }
        // Else it shows only between statements, where the order is no contract.
        if !due.iter().any(|target| matches!(target, Target::Context(_))) {
            return due;
        }
        due.sort_by_key(|target| {
            let (statement, hash) = self.hash(*target);
            (hash & (self.buckets - 1), statement, *target)
        });
        due
    }
}
