//! Where the expressions of a running statement find their values.

use std::collections::VecDeque;

use crate::expr::{Aggregate, ContextProperty, PreviousKind, Scope};
use crate::plan::StreamPlan;
use crate::plan::SubqueryPlan;
use crate::row::aggregate::Group;
use crate::row::context::Partition;
use crate::row::event::{Event, Part, Row, Shape};
use crate::row::named::Shared;
use crate::row::subquery::Subquery;
use crate::row::window::Window;
use crate::value::Value;

/// What all expressions of a statement's instance share.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a> {
    pub(crate) now_ms: i64,
    pub(crate) shapes: &'a [Shape],
    pub(crate) shared: &'a Shared,
    pub(crate) partition: Option<&'a Partition>,
    pub(crate) subqueries: &'a [SubqueryPlan],
    pub(crate) subquery_states: &'a [Subquery],
    pub(crate) streams: &'a [StreamPlan],
    pub(crate) windows: &'a [Option<Window>],
    /// The rows of the only stream by arrival, as far back as `prior` looks.
    pub(crate) history: Option<&'a VecDeque<Row>>,
}

impl<'a> Env<'a> {
    /// An environment without subqueries and windows of its own.
    pub(crate) fn plain(
        now_ms: i64,
        shapes: &'a [Shape],
        shared: &'a Shared,
        partition: Option<&'a Partition>,
    ) -> Self {
        Self {
            now_ms,
            shapes,
            shared,
            partition,
            subqueries: &[],
            subquery_states: &[],
            streams: &[],
            windows: &[],
            history: None,
        }
    }

    /// The column of an event.
    pub(crate) fn column(&self, event: &Event, column: usize) -> Value {
        self.shapes
            .get(event.shape as usize)
            .and_then(|shape| shape.value(&event.values, column))
            .cloned()
            .unwrap_or_default()
    }

    /// The column of the row that arrived so many rows before.
    fn prior(&self, row: &Row, stream: usize, offset: i64, column: usize) -> Value {
        let earlier = || {
            let history = self.history?;
            let at = history.binary_search_by_key(&row.id(), Row::id).ok()?;
            let at = at.checked_sub(usize::try_from(offset).ok()?)?;
            history.get(at)?.event(stream)
        };
        earlier().map_or(Value::Null, |event| self.column(event, column))
    }

    fn subquery<R: Default>(&self, slot: usize, ask: impl Fn(&Subquery, &SubqueryPlan) -> R) -> R {
        match (self.subquery_states.get(slot), self.subqueries.get(slot)) {
            (Some(state), Some(plan)) => ask(state, plan),
            _ => R::default(),
        }
    }
}

/// A row of the statement, with the aggregates of its group.
pub(crate) struct RowScope<'a> {
    pub(crate) env: Env<'a>,
    pub(crate) row: Option<&'a Row>,
    pub(crate) group: Option<(&'a Group, &'a [Aggregate])>,
    /// Whether the row enters; `prev` of a row that leaves is null.
    pub(crate) entering: bool,
}

impl<'a> RowScope<'a> {
    /// A row without aggregates.
    pub(crate) fn of(env: Env<'a>, row: &'a Row) -> Self {
        Self {
            env,
            row: Some(row),
            group: None,
            entering: true,
        }
    }
}

/// `prev` and its kin over a window.
fn previous(env: &Env<'_>, row: &Row, kind: PreviousKind, stream: usize, offset: i64, column: usize) -> Value {
    let Some(Some(window)) = env.windows.get(stream.min(env.windows.len().saturating_sub(1))) else {
        return Value::Null;
    };
    // A joined row speaks of the stream's own row in its window.
    let own;
    let from = match row {
        Row::One(_) => row,
        Row::Parts(..) if env.windows.len() == 1 => row,
        Row::Parts(..) => match row.event(stream) {
            Some(event) => {
                own = Row::One(event.clone());
                &own
            }
            None => return Value::Null,
        },
    };
    let within = if env.windows.len() == 1 { stream } else { 0 };
    let value = |row: &Row| row.event(within).map_or(Value::Null, |event| env.column(event, column));
    match kind {
        PreviousKind::Prev | PreviousKind::Prior => usize::try_from(offset)
            .ok()
            .and_then(|offset| window.back(from, offset))
            .map_or(Value::Null, value),
        PreviousKind::PrevTail => {
            let rows: Vec<&Row> = window.newest_first(from).collect();
            usize::try_from(offset)
                .ok()
                .and_then(|offset| rows.iter().rev().nth(offset).copied())
                .map_or(Value::Null, value)
        }
        PreviousKind::PrevCount => i64::try_from(window.newest_first(from).count()).map_or(Value::Null, Value::Long),
        PreviousKind::PrevWindow => Value::List(window.newest_first(from).map(value).collect()),
    }
}

impl Scope for RowScope<'_> {
    fn column(&self, stream: usize, column: usize) -> Value {
        let Some(row) = self.row else {
            // Without a row only the keys of the context's partition have values.
            let partition = self.env.partition;
            return partition
                .and_then(|partition| partition.key_of_column(column).cloned())
                .unwrap_or_default();
        };
        row.event(stream)
            .map_or(Value::Null, |event| self.env.column(event, column))
    }

    fn now_ms(&self) -> i64 {
        self.env.now_ms
    }

    fn indexed(&self, stream: usize, index: i64, column: usize) -> Value {
        self.row
            .and_then(|row| row.nth(stream, index))
            .map_or(Value::Null, |event| self.env.column(event, column))
    }

    fn row(&self, stream: usize) -> Value {
        self.row
            .and_then(|row| row.event(stream))
            .map_or(Value::Null, |event| whole(&self.env, event))
    }

    fn aggregate(&self, slot: usize) -> Value {
        self.group.map_or(Value::Null, |(group, aggregates)| {
            group.value(aggregates, slot, Some(self))
        })
    }

    fn previous(&self, kind: PreviousKind, stream: usize, offset: i64, column: usize) -> Value {
        if let (PreviousKind::Prior, Some(row)) = (kind, self.row) {
            return self.env.prior(row, stream, offset, column);
        }
        match self.row {
            Some(row) if self.entering => previous(&self.env, row, kind, stream, offset, column),
            _ => Value::Null,
        }
    }

    fn subquery(&self, slot: usize) -> Value {
        self.env
            .subquery(slot, |state, plan| state.scalar(plan, &self.env, self))
    }

    fn subquery_exists(&self, slot: usize) -> bool {
        self.env
            .subquery(slot, |state, plan| state.exists(plan, &self.env, self))
    }

    fn subquery_contains(&self, slot: usize, value: &Value) -> Value {
        self.env
            .subquery(slot, |state, plan| state.contains(plan, &self.env, self, value))
    }

    fn subquery_values(&self, slot: usize) -> Vec<Value> {
        self.env
            .subquery(slot, |state, plan| state.values(plan, &self.env, self))
    }

    fn table_column(&self, table: usize, keys: &[Value], column: usize) -> Value {
        self.env.shared.table_column(&self.env, table, keys, column)
    }

    fn context(&self, property: &ContextProperty) -> Value {
        self.env
            .partition
            .map_or(Value::Null, |partition| partition.property(&self.env, property))
    }

    fn variable(&self, variable: usize) -> Value {
        self.env.shared.variable(variable)
    }
}

/// An event as one value.
pub(crate) fn whole(env: &Env<'_>, event: &Event) -> Value {
    match env.shapes.get(event.shape as usize) {
        Some(shape @ Shape::Used { slots, .. }) => Value::Row(
            (0..slots.len())
                .map(|column| shape.value(&event.values, column).cloned().unwrap_or_default())
                .collect(),
        ),
        _ => Value::Row(event.values.iter().cloned().collect()),
    }
}

/// An event under test as stream 0, with what stands behind it from stream 1 on: tags, an outer row, a trigger.
pub(crate) struct PairScope<'a> {
    pub(crate) env: Env<'a>,
    pub(crate) event: Option<&'a Event>,
    pub(crate) behind: Behind<'a>,
    pub(crate) group: Option<(&'a Group, &'a [Aggregate])>,
}

/// What lies behind stream 0.
#[derive(Clone, Copy)]
pub(crate) enum Behind<'a> {
    /// Nothing.
    Nothing,
    /// The tags of a pattern.
    Tags(&'a [Part]),
    /// A row.
    Row(&'a Row),
    /// The scope of the statement around a subquery.
    Outer(&'a dyn Scope),
}

impl PairScope<'_> {
    fn behind_event(&self, stream: usize) -> Option<&Event> {
        match self.behind {
            Behind::Tags(parts) => match parts.get(stream) {
                Some(Part::One(event)) => Some(event),
                Some(Part::Many(events)) => events.last().map(|event| &**event),
                _ => None,
            },
            Behind::Row(row) => row.event(stream).map(|event| &**event),
            Behind::Nothing | Behind::Outer(_) => None,
        }
    }
}

impl Scope for PairScope<'_> {
    fn column(&self, stream: usize, column: usize) -> Value {
        if stream == 0 {
            return self.event.map_or(Value::Null, |event| self.env.column(event, column));
        }
        match self.behind {
            Behind::Outer(outer) => outer.column(stream - 1, column),
            _ => self
                .behind_event(stream - 1)
                .map_or(Value::Null, |event| self.env.column(event, column)),
        }
    }

    fn now_ms(&self) -> i64 {
        self.env.now_ms
    }

    fn indexed(&self, stream: usize, index: i64, column: usize) -> Value {
        let Some(behind) = stream.checked_sub(1) else {
            return if index == 0 {
                self.column(0, column)
            } else {
                Value::Null
            };
        };
        match self.behind {
            Behind::Outer(outer) => outer.indexed(behind, index, column),
            Behind::Tags(parts) => match parts.get(behind) {
                Some(Part::One(event)) if index == 0 => self.env.column(event, column),
                Some(Part::Many(events)) => usize::try_from(index)
                    .ok()
                    .and_then(|index| events.get(index))
                    .map_or(Value::Null, |event| self.env.column(event, column)),
                _ => Value::Null,
            },
            Behind::Row(row) => row
                .nth(behind, index)
                .map_or(Value::Null, |event| self.env.column(event, column)),
            Behind::Nothing => Value::Null,
        }
    }

    fn row(&self, stream: usize) -> Value {
        if stream == 0 {
            return self.event.map_or(Value::Null, |event| whole(&self.env, event));
        }
        match self.behind {
            Behind::Outer(outer) => outer.row(stream - 1),
            _ => self
                .behind_event(stream - 1)
                .map_or(Value::Null, |event| whole(&self.env, event)),
        }
    }

    fn aggregate(&self, slot: usize) -> Value {
        self.group.map_or(Value::Null, |(group, aggregates)| {
            group.value(aggregates, slot, Some(self))
        })
    }

    fn subquery(&self, slot: usize) -> Value {
        self.env
            .subquery(slot, |state, plan| state.scalar(plan, &self.env, self))
    }

    fn subquery_exists(&self, slot: usize) -> bool {
        self.env
            .subquery(slot, |state, plan| state.exists(plan, &self.env, self))
    }

    fn subquery_contains(&self, slot: usize, value: &Value) -> Value {
        self.env
            .subquery(slot, |state, plan| state.contains(plan, &self.env, self, value))
    }

    fn subquery_values(&self, slot: usize) -> Vec<Value> {
        self.env
            .subquery(slot, |state, plan| state.values(plan, &self.env, self))
    }

    fn table_column(&self, table: usize, keys: &[Value], column: usize) -> Value {
        self.env.shared.table_column(&self.env, table, keys, column)
    }

    fn context(&self, property: &ContextProperty) -> Value {
        self.env
            .partition
            .map_or(Value::Null, |partition| partition.property(&self.env, property))
    }

    fn variable(&self, variable: usize) -> Value {
        self.env.shared.variable(variable)
    }
}
