//! The runtime's state in a checkpoint.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{Runtime, StatementState, Target};
use crate::row::context::{ContextRuntime, ContextState};
use crate::row::named::Shared;

/// What a checkpoint keeps of the runtime.
#[derive(Serialize)]
struct Saved<'a> {
    shared: &'a Shared,
    contexts: Vec<&'a ContextState>,
    states: &'a [StatementState],
    now_ms: i64,
    next_event: u64,
    turn_buckets: u64,
}

#[derive(Deserialize)]
struct Restored {
    shared: Shared,
    contexts: Vec<ContextState>,
    states: Vec<StatementState>,
    now_ms: i64,
    next_event: u64,
    turn_buckets: u64,
}

impl Runtime {
    /// Appends the state; nothing is under way between calls from outside.
    pub(crate) fn save(&self, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
        let saved = Saved {
            shared: &self.shared,
            contexts: self.contexts.iter().map(ContextRuntime::state).collect(),
            states: &self.states,
            now_ms: self.now_ms,
            next_event: self.next_event,
            turn_buckets: self.turns.buckets,
        };
        postcard::to_extend(&saved, bytes)
    }

    /// Takes up a state that the same statements have written; returns the bytes behind it.
    pub(crate) fn restore<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], postcard::Error> {
        let (restored, rest): (Restored, _) = postcard::take_from_bytes(bytes)?;
        if restored.states.len() != self.states.len()
            || restored.contexts.len() != self.contexts.len()
            || restored.shared.windows.len() != self.shared.windows.len()
            || restored.shared.tables.len() != self.shared.tables.len()
        {
            return Err(postcard::Error::DeserializeBadEncoding);
        }
        let before = std::mem::replace(&mut self.shared, restored.shared);
        self.shared.attach(&self.catalog);
        self.shared.restore_indexes(before, &self.shapes, restored.now_ms);
        for (context, state) in self.contexts.iter_mut().zip(restored.contexts) {
            context.restore(state);
        }
        self.states = restored.states;
        self.now_ms = restored.now_ms;
        self.next_event = restored.next_event;
        self.turns.buckets = restored.turn_buckets;
        self.timers.clear();
        self.context_scheduled.fill(None);
        self.window_scheduled.fill(None);
        for at in 0..self.contexts.len() {
            self.schedule_context(at);
        }
        for at in 0..self.shared.windows.len() {
            self.schedule_window(at);
        }
        for at in 0..self.states.len() {
            let state = &self.states[at];
            let selects = state
                .selects
                .iter()
                .filter_map(|(id, instance)| Some((*id, instance.scheduled?)));
            let triggers = state
                .triggers
                .iter()
                .filter_map(|(id, instance)| Some((*id, instance.scheduled?)));
            for (id, due) in selects.chain(triggers) {
                self.timers.push(Reverse((due, Target::Statement(at, id))));
            }
        }
        Ok(rest)
    }
}
