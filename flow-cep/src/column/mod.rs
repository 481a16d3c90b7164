//! The columnar runtime: statements that filter, group and aggregate a stream, a column at a time.
//!
//! It runs the shapes that see every flow: `Stream(filter)` with `#time`, `#time_batch` or no window, aggregates by group with
//! `output snapshot`, batches with their aggregates, the first rows of batches by an order, and groups of a sliding window that
//! are given as soon as `having` is true, with or without `output first every`. [`compile`] says which plans have such a shape;
//! the row runtime runs the others, and both give the same.
//!
//! What the statements of a stream have in common is done once: a condition or key is evaluated once for a slice of rows
//! ([`runtime`]), values are interned to dense ids that all statements share ([`keys`]), rows that pass the same filter lie in
//! one window ([`view`], [`watch`]) and statements that group it by the same key share the groups ([`groups`]). Rows leave a
//! window with the places of their groups stored, so that nothing is hashed; an id is given back when no group refers to it.
//! Windows that only snapshots look into are kept by pane ([`pane`]).

mod bound;
mod clock;
mod compile;
mod deliver;
mod emit;
mod groups;
mod index;
mod interner;
mod keys;
mod numbers;
mod order;
mod packed;
mod pane;
mod pick;
mod query;
mod runtime;
mod scalar;
mod sieve;
mod stage;
mod state;
mod succession;
mod text;
mod view;
mod watch;

use std::sync::Arc;

use arrow_array::RecordBatch;

use compile::Form;
pub(crate) use runtime::Emission;
use runtime::Runtime;
pub(crate) use scalar::{Compiled, Scalar};
pub(crate) use sieve::{Sieve, Sifted};
use state::RuntimeState;

use crate::engine::Limits;
use crate::plan::{Action, Catalog, CatalogId, InsertTarget, StatementPlan};

/// The columnar statements of one event type.
#[derive(Debug)]
struct Stream {
    event_type: CatalogId,
    /// Its statements' numbers among the plans.
    statements: Vec<usize>,
    runtime: Runtime,
}

/// All statements of an engine that run column by column.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    streams: Vec<Stream>,
}

impl Columns {
    /// Takes those of the statements that have a columnar form and read an event type whose rows all come from outside.
    pub(crate) fn new(catalog: &Catalog, plans: &[StatementPlan], now_ms: i64, limits: &Limits) -> Self {
        let mut columns = Self::default();
        for (number, plan) in plans.iter().enumerate() {
            let schema = |event_type: CatalogId| Arc::clone(catalog.event_types[event_type].schema());
            let Some((event_type, form)) = form(plan, catalog, plans) else {
                continue;
            };
            let known = columns
                .streams
                .iter()
                .position(|stream| stream.event_type == event_type);
            let at = known.unwrap_or_else(|| {
                let runtime = Runtime::new(schema(event_type), limits.groups, limits.window_rows);
                columns.streams.push(Stream {
                    event_type,
                    statements: Vec::new(),
                    runtime,
                });
                columns.streams.len() - 1
            });
            let runtime = &mut columns.streams[at].runtime;
            match form {
                Form::Query(query) => runtime.add(&query, now_ms),
                Form::Passing(passing) => runtime.add_passing(&passing),
                Form::Successive(successive) => runtime.add_successive(&successive),
            };
            columns.streams[at].statements.push(number);
        }
        columns
    }

    /// Whether a statement runs here.
    pub(crate) fn runs(&self, statement: usize) -> bool {
        self.streams.iter().any(|stream| stream.statements.contains(&statement))
    }

    /// Takes rows of an event type with the engine's time at each, in order.
    pub(crate) fn push(&mut self, event_type: CatalogId, batch: &RecordBatch, times: &[i64]) {
        for stream in self.streams.iter_mut().filter(|stream| stream.event_type == event_type) {
            stream.runtime.push(batch, times);
        }
        if let Some(&last) = times.last() {
            self.advance(last);
        }
    }

    /// Moves the clock.
    pub(crate) fn advance(&mut self, to_ms: i64) {
        for stream in &mut self.streams {
            stream.runtime.advance(to_ms);
        }
    }

    /// Starts the clocks of a statement that its first row starts, which came at `time_ms`.
    pub(crate) fn anchor(&mut self, statement: usize, time_ms: i64) {
        for stream in &mut self.streams {
            if let Some(at) = stream.statements.iter().position(|&known| known == statement) {
                stream.runtime.anchor(at, time_ms);
            }
        }
    }

    /// The next instant at which something is due.
    pub(crate) fn due(&self) -> Option<i64> {
        self.streams
            .iter()
            .filter_map(|stream| stream.runtime.next_deadline())
            .min()
    }

    /// What the statements, by number among the plans, gave since the last call, in the order of time.
    pub(crate) fn take(&mut self) -> Vec<Emission> {
        let mut all = Vec::new();
        for stream in &mut self.streams {
            let emissions = stream.runtime.take().into_iter();
            all.extend(emissions.map(|emission| Emission {
                statement: stream.statements[emission.statement],
                ..emission
            }));
        }
        all.sort_by_key(|emission| emission.time_ms);
        all
    }

    /// Rows refused for want of room for groups and in windows since the last call, with the first statement of the stream.
    pub(crate) fn take_refused(&mut self) -> Vec<(usize, u64, u64)> {
        let refused = |stream: &mut Stream| {
            let (groups, rows) = stream.runtime.take_refused();
            stream.statements.first().map(|&statement| (statement, groups, rows))
        };
        self.streams
            .iter_mut()
            .filter_map(refused)
            .filter(|(_, groups, rows)| groups + rows > 0)
            .collect()
    }

    /// Rows in the window and groups of a statement.
    pub(crate) fn size(&self, statement: usize) -> (usize, usize) {
        for stream in &self.streams {
            if let Some(at) = stream.statements.iter().position(|&known| known == statement) {
                return stream.runtime.size(at);
            }
        }
        (0, 0)
    }

    /// Appends the state between two pushes.
    pub(crate) fn save(&self, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
        let states: Vec<RuntimeState<'_>> = self.streams.iter().map(|stream| stream.runtime.save()).collect();
        postcard::to_extend(&states, bytes)
    }

    /// Takes up a state that the same statements have saved; when that fails the engine must be dropped.
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        let states: Vec<RuntimeState<'_>> = postcard::from_bytes(bytes)?;
        if states.len() != self.streams.len() {
            return Err(postcard::Error::DeserializeBadEncoding);
        }
        for (stream, state) in self.streams.iter_mut().zip(states) {
            stream
                .runtime
                .restore(state)
                .ok_or(postcard::Error::DeserializeBadEncoding)?;
        }
        Ok(())
    }
}

/// The columnar form of a statement that reads an event type whose rows all come from outside.
fn form(plan: &StatementPlan, catalog: &Catalog, plans: &[StatementPlan]) -> Option<(CatalogId, Form)> {
    let from_outside = |event_type: CatalogId| {
        catalog.event_types[event_type].time_column().is_some()
            && !plans.iter().any(|plan| inserts_into(plan, event_type))
    };
    compile::form(plan, catalog, plans).filter(|(event_type, _)| from_outside(*event_type))
}

/// Which of the statements that run together do so by column.
pub(crate) fn by_column(plans: &[StatementPlan], catalog: &Catalog) -> Vec<bool> {
    plans.iter().map(|plan| form(plan, catalog, plans).is_some()).collect()
}

/// Whether a statement makes rows of an event type.
fn inserts_into(plan: &StatementPlan, event_type: CatalogId) -> bool {
    match &plan.action {
        Action::Select(select) => select
            .insert
            .as_ref()
            .is_some_and(|insert| insert.target == InsertTarget::Events(event_type)),
        // What triggers insert is told by many clauses; to be safe, any may feed any type.
        Action::On(_) => true,
        _ => false,
    }
}
