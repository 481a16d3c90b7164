//! Who is woken when, and what is done then.

use std::cmp::Reverse;

use super::{Kind, Runtime, SOLE, Target};
use crate::row::context::PartitionId;
use crate::row::scope::Env;
use crate::row::window::Change;

impl Runtime {
    pub(super) fn schedule_context(&mut self, at: usize) {
        let due = self.contexts[at].due();
        if due != self.context_scheduled[at] {
            self.context_scheduled[at] = due;
            if let Some(due) = due {
                self.timers.push(Reverse((due, Target::Context(at))));
            }
        }
    }

    pub(super) fn schedule_window(&mut self, at: usize) {
        let due = self.shared.windows[at].due();
        if due != self.window_scheduled[at] {
            self.window_scheduled[at] = due;
            if let Some(due) = due {
                self.timers.push(Reverse((due, Target::Window(at))));
            }
        }
    }

    pub(super) fn schedule_statement(&mut self, at: usize, id: PartitionId) {
        let state = &mut self.states[at];
        let (scheduled, due) = if let Some(instance) = state.selects.get_mut(&id) {
            let due = instance.due();
            (&mut instance.scheduled, due)
        } else if let Some(instance) = state.triggers.get_mut(&id) {
            let due = instance.due();
            (&mut instance.scheduled, due)
        } else {
            return;
        };
        if due != *scheduled {
            *scheduled = due;
            if let Some(due) = due {
                self.timers.push(Reverse((due, Target::Statement(at, id))));
            }
        }
    }

    /// When the next timer is due; timers that have been set anew since are dropped.
    pub(crate) fn due(&mut self) -> Option<i64> {
        while let Some(Reverse((due, target))) = self.timers.peek().copied() {
            if self.scheduled(target) == Some(due) {
                return Some(due);
            }
            self.timers.pop();
        }
        None
    }

    pub(super) fn scheduled(&self, target: Target) -> Option<i64> {
        match target {
            Target::Context(at) => self.context_scheduled[at],
            Target::Window(at) => self.window_scheduled[at],
            Target::Statement(at, id) => {
                let state = &self.states[at];
                state
                    .selects
                    .get(&id)
                    .map(|instance| instance.scheduled)
                    .or_else(|| state.triggers.get(&id).map(|instance| instance.scheduled))
                    .flatten()
            }
        }
    }

    /// Starts the clocks of a statement without context that its first row starts, which came at `time_ms`.
    pub(crate) fn anchor(&mut self, statement: usize, time_ms: i64) {
        if let Kind::Select(select) = &self.statements[statement].kind
            && let Some(instance) = self.states[statement].selects.get_mut(&SOLE)
        {
            instance.anchor(select, time_ms);
            self.schedule_statement(statement, SOLE);
        }
    }

    /// Moves the clock, firing each timer at its own time.
    pub(crate) fn advance(&mut self, to_ms: i64) {
        while let Some(due) = self.due() {
            if due > to_ms {
                break;
            }
            self.now_ms = self.now_ms.max(due);
            let mut targets = Vec::new();
            while let Some(Reverse((time, target))) = self.timers.peek().copied() {
                if time > due {
                    break;
                }
                self.timers.pop();
                // What has been set twice for one time stands twice in a row.
                if self.scheduled(target) == Some(time) && targets.last() != Some(&target) {
                    targets.push(target);
                }
            }
            for target in self.turns.of(targets) {
                self.fire(target);
            }
            self.dispatch();
        }
        self.now_ms = self.now_ms.max(to_ms);
    }

    pub(super) fn fire(&mut self, target: Target) {
        match target {
            Target::Context(at) => {
                self.context_scheduled[at] = None;
                let transition = self.contexts[at].fire(Env::plain(self.now_ms, &self.shapes, &self.shared, None));
                self.apply_transition(at, transition);
                self.schedule_context(at);
            }
            Target::Window(at) => {
                self.window_scheduled[at] = None;
                let mut change = Change::default();
                self.shared.windows[at].fire(&self.catalog.windows[at].window, self.now_ms, &mut change);
                self.window_changed(at, change);
            }
            Target::Statement(at, id) => {
                let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
                let statement = &mut self.statements[at];
                match &statement.kind {
                    Kind::Select(select) => {
                        if let Some(instance) = self.states[at].selects.get_mut(&id) {
                            instance.scheduled = None;
                            instance.fire(select, world, &mut statement.sink);
                        }
                        self.feed_table(at, id);
                    }
                    Kind::On(on) => {
                        let triggers = match self.states[at].triggers.get_mut(&id) {
                            Some(instance) => {
                                instance.scheduled = None;
                                instance.fire(on, world)
                            }
                            None => Vec::new(),
                        };
                        self.act(at, id, &triggers);
                    }
                    Kind::Definition => {}
                }
                self.touch(at);
                self.schedule_statement(at, id);
            }
        }
    }
}
