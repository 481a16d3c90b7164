//! Joins: for each row that enters or leaves a stream, the rows of the others that go with it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Node, Scope};
use crate::plan::{SelectPlan, SourcePlan, StreamPlan, WindowPlan};
use crate::row::event::{Part, Row};
use crate::row::index::{Index, key_in};
use crate::row::scope::{Env, RowScope};
use crate::row::visit::streams_of;
use crate::row::window::Window;
use crate::syntax::ast::{BinaryOp, JoinKind};

/// How a join finds its rows, beginning with each of its streams.
#[derive(Debug)]
pub(crate) struct JoinPlan {
    /// For each stream, what its indexes are by.
    indexes: Vec<Vec<Vec<Expr>>>,
    /// For each stream as the beginning, the steps through the others.
    steps: Vec<Vec<Step>>,
}

/// One further stream.
#[derive(Debug)]
struct Step {
    stream: usize,
    /// The index of the stream, and what is looked up in it, over the streams before.
    index: Option<(usize, Vec<Expr>)>,
    /// Equalities of a table's row with those before, which may name its key.
    table: Option<(usize, Vec<(Expr, Expr)>)>,
    /// Whether the row goes on without one.
    optional: bool,
    /// Conditions of outer joins that can be tested from here on.
    conditions: Vec<Expr>,
}

/// The indexes of each stream.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JoinState {
    indexes: Vec<Vec<Index>>,
}

/// The parts of a condition that must all hold.
pub(crate) fn conjuncts<'e>(expr: &'e Expr, into: &mut Vec<&'e Expr>) {
    match &expr.node {
        Node::And(parts) => {
            for part in parts {
                conjuncts(part, into);
            }
        }
        _ => into.push(expr),
    }
}

/// The columns by which a stream's window holds one row each.
fn unique_keys(stream: &StreamPlan) -> Option<Vec<usize>> {
    let (Some(WindowPlan::Unique(keys) | WindowPlan::FirstUnique(keys)), SourcePlan::Events(_)) =
        (&stream.window, &stream.source)
    else {
        return None;
    };
    let column = |key: &Expr| match key.node {
        Node::Column { column, .. } => Some(column),
        _ => None,
    };
    keys.iter().map(column).collect()
}

fn is_key(expr: &Expr, key: usize) -> bool {
    matches!(expr.node, Node::Column { column, .. } if column == key)
}

impl JoinPlan {
    /// Plans the join of a select with several streams.
    pub(crate) fn new(plan: &SelectPlan) -> Self {
        let count = plan.streams.len();
        let outer = plan
            .streams
            .iter()
            .any(|stream| !matches!(stream.join, JoinKind::Comma | JoinKind::Inner));
        let mut parts = Vec::new();
        // The condition after `where` filters what an outer join has made, nulls included; it serves to look up only in
        // inner joins.
        if let (Some(condition), false) = (&plan.condition, outer) {
            conjuncts(condition, &mut parts);
        }
        for stream in &plan.streams {
            if let Some(on) = &stream.on {
                conjuncts(on, &mut parts);
            }
        }
        let mut equalities: Vec<(usize, &Expr, Vec<usize>, &Expr)> = Vec::new();
        for part in &parts {
            if let Node::Compare(BinaryOp::Equal, left, right) = &part.node {
                for (own, other) in [(left, right), (right, left)] {
                    if let ([stream], others) = (streams_of(own).as_slice(), streams_of(other))
                        && !others.contains(stream)
                        && !others.is_empty()
                    {
                        equalities.push((*stream, own, others, other));
                    }
                }
            }
        }
        let mut indexes: Vec<Vec<Vec<Expr>>> = vec![Vec::new(); count];
        let mut steps = Vec::with_capacity(count);
        for first in 0..count {
            let mut bound = vec![first];
            let mut order = Vec::new();
            let required = Self::required(plan, first);
            while bound.len() < count {
                let mut candidates: Vec<usize> = (0..count).filter(|stream| !bound.contains(stream)).collect();
                // First what must be there, and of that what can be looked up.
                candidates.sort_by_key(|stream| {
                    let reachable = equalities
                        .iter()
                        .any(|(own, _, others, _)| own == stream && others.iter().all(|other| bound.contains(other)));
                    (!required[*stream], !reachable, *stream)
                });
                let stream = candidates[0];
                let mut lookups: Vec<_> = equalities
                    .iter()
                    .filter(|(own, _, others, _)| *own == stream && others.iter().all(|other| bound.contains(other)))
                    .collect();
                // Esper looks rows of a unique window up by its keys alone, and looks at the other equalities only if there
                // is a `where` to join them with.
                let all_lookups = lookups.clone();
                if (outer || plan.condition.is_none())
                    && let Some(keys) = unique_keys(&plan.streams[stream])
                    && keys
                        .iter()
                        .all(|key| lookups.iter().any(|(_, own, ..)| is_key(own, *key)))
                {
                    lookups.retain(|(_, own, ..)| keys.iter().any(|key| is_key(own, *key)));
                }
                let table = matches!(plan.streams[stream].source, SourcePlan::Table { .. });
                let index = (!lookups.is_empty() && !table).then(|| {
                    let keys: Vec<Expr> = lookups.iter().map(|(_, own, ..)| (*own).clone()).collect();
                    let at = indexes[stream]
                        .iter()
                        .position(|index| *index == keys)
                        .unwrap_or_else(|| {
                            indexes[stream].push(keys);
                            indexes[stream].len() - 1
                        });
                    (at, lookups.iter().map(|(.., other)| (*other).clone()).collect())
                });
                bound.push(stream);
                // What a look-up has answered is not asked again.
                let mut conditions = Vec::new();
                for on in plan.streams.iter().filter_map(|stream| stream.on.as_ref()) {
                    conjuncts(on, &mut conditions);
                }
                let conditions = conditions
                    .into_iter()
                    .filter(|part| {
                        let streams = streams_of(part);
                        let looked_up = index.is_some()
                            && all_lookups.iter().any(|(_, own, _, other)| match &part.node {
                                Node::Compare(BinaryOp::Equal, left, right) => {
                                    (**left == **own && **right == **other) || (**left == **other && **right == **own)
                                }
                                _ => false,
                            });
                        streams.contains(&stream) && streams.iter().all(|stream| bound.contains(stream)) && !looked_up
                    })
                    .cloned()
                    .collect();
                let table = match &plan.streams[stream].source {
                    SourcePlan::Table { table, .. } if !lookups.is_empty() => Some((
                        *table,
                        lookups
                            .iter()
                            .map(|(_, own, _, other)| ((*own).clone(), (*other).clone()))
                            .collect(),
                    )),
                    _ => None,
                };
                order.push(Step {
                    stream,
                    index,
                    table,
                    optional: !required[stream],
                    conditions,
                });
            }
            steps.push(order);
        }
        Self { indexes, steps }
    }

    /// Which streams must have a row when one of `first` is given.
    fn required(plan: &SelectPlan, first: usize) -> Vec<bool> {
        let streams: &[StreamPlan] = &plan.streams;
        let mut required = vec![true; streams.len()];
        for (at, stream) in streams.iter().enumerate() {
            match stream.join {
                JoinKind::Comma | JoinKind::Inner => {}
                JoinKind::Left => required[at] = false,
                JoinKind::Right => required[..at].fill(false),
                JoinKind::Full => required[..=at].fill(false),
            }
        }
        // A row of an optional stream is there only with the rows that its condition speaks of, unless it stands alone too.
        let mut pending = vec![first];
        while let Some(stream) = pending.pop() {
            let newly = std::mem::replace(&mut required[stream], true);
            if (stream == first || !newly)
                && matches!(streams[stream].join, JoinKind::Left)
                && let Some(on) = &streams[stream].on
            {
                pending.extend(
                    streams_of(on)
                        .into_iter()
                        .filter(|other| *other < stream && !required[*other]),
                );
                for other in streams_of(on).into_iter().filter(|other| *other < stream) {
                    required[other] = true;
                }
            }
        }
        required
    }
}

impl JoinState {
    /// Empty indexes.
    pub(crate) fn new(plan: &JoinPlan) -> Self {
        Self {
            indexes: plan
                .indexes
                .iter()
                .map(|indexes| indexes.iter().map(|_| Index::default()).collect())
                .collect(),
        }
    }

    /// The rows of a stream as a row of the join, where the others are missing.
    fn alone(count: usize, stream: usize, row: &Row) -> Row {
        let mut parts = vec![Part::None; count];
        if let (Some(part), Some(event)) = (parts.get_mut(stream), row.event(0)) {
            *part = Part::One(event.clone());
        }
        Row::Parts(0, parts.into())
    }

    /// Takes a stream's change into its indexes.
    pub(crate) fn absorb(&mut self, plan: &JoinPlan, env: Env<'_>, stream: usize, new: &[Row], old: &[Row]) {
        let count = plan.indexes.len();
        for (exprs, index) in plan.indexes[stream].iter().zip(&mut self.indexes[stream]) {
            for row in new {
                let joined = Self::alone(count, stream, row);
                index.insert(key_in(exprs.iter(), &RowScope::of(env, &joined)), row);
            }
            for row in old {
                let joined = Self::alone(count, stream, row);
                index.remove(key_in(exprs.iter(), &RowScope::of(env, &joined)), row);
            }
        }
    }

    /// The joined rows that hold one of these rows of a stream.
    pub(crate) fn rows(
        &self,
        plan: &JoinPlan,
        env: Env<'_>,
        windows: &[Option<Window>],
        stream: usize,
        rows: &[Row],
        into: &mut Vec<Row>,
    ) {
        let count = plan.indexes.len();
        for row in rows {
            let mut parts = vec![Part::None; count];
            if let (Some(part), Some(event)) = (parts.get_mut(stream), row.event(0)) {
                *part = Part::One(event.clone());
            }
            self.extend(env, windows, &plan.steps[stream], parts, into);
        }
    }

    fn extend(&self, env: Env<'_>, windows: &[Option<Window>], steps: &[Step], parts: Vec<Part>, into: &mut Vec<Row>) {
        let Some((step, rest)) = steps.split_first() else {
            into.push(Row::Parts(identity(&parts), parts.into()));
            return;
        };
        let partial = Row::Parts(0, Arc::from(parts.clone()));
        let scope = RowScope::of(env, &partial);
        let candidates: Vec<Row> = match &step.index {
            Some((index, lookup)) => {
                let key = key_in(lookup.iter(), &scope);
                let index = self.indexes.get(step.stream).and_then(|indexes| indexes.get(*index));
                index
                    .map(|index| index.get(&key).cloned().collect())
                    .unwrap_or_default()
            }
            None => {
                let keyed = step.table.as_ref().and_then(|(table, equal)| {
                    let equal: Vec<(&Expr, &Expr)> = equal.iter().map(|(own, other)| (own, other)).collect();
                    env.shared.look_up_table(*table, &equal, &scope)
                });
                match keyed {
                    Some(row) => row.into_iter().filter(|row| passes(env, step.stream, row)).collect(),
                    None => rows_of(env, windows, step.stream),
                }
            }
        };
        let mut found = false;
        for candidate in candidates {
            let mut extended = parts.clone();
            if let (Some(part), Some(event)) = (extended.get_mut(step.stream), candidate.event(0)) {
                *part = Part::One(event.clone());
            }
            if !step.conditions.is_empty() {
                let row = Row::Parts(0, Arc::from(extended.clone()));
                let scope = RowScope::of(env, &row);
                if !step
                    .conditions
                    .iter()
                    .all(|condition| condition.eval(&scope as &dyn Scope).is_true())
                {
                    continue;
                }
            }
            found = true;
            self.extend(env, windows, rest, extended, into);
        }
        if !found && step.optional {
            self.extend(env, windows, rest, parts, into);
        }
    }
}

/// The number of a joined row: the same whenever the same events meet.
fn identity(parts: &[Part]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        let id = match part {
            Part::One(event) => event.id,
            Part::None | Part::Many(_) => u64::MAX,
        };
        hash = (hash ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    hash
}

/// Whether a row passes the filter of its stream.
fn passes(env: Env<'_>, stream: usize, row: &Row) -> bool {
    let conditions = match env.streams.get(stream).map(|plan| &plan.source) {
        Some(SourcePlan::NamedWindow { conditions, .. } | SourcePlan::Table { conditions, .. }) => {
            conditions.as_slice()
        }
        _ => &[],
    };
    let scope = RowScope::of(env, row);
    conditions.iter().all(|condition| condition.eval(&scope).is_true())
}

/// All rows of a stream.
pub(crate) fn rows_of(env: Env<'_>, windows: &[Option<Window>], stream: usize) -> Vec<Row> {
    if let Some(Some(window)) = windows.get(stream) {
        return window.rows().cloned().collect();
    }
    let Some(plan) = env.streams.get(stream) else {
        return Vec::new();
    };
    match &plan.source {
        SourcePlan::NamedWindow { window, .. } => env
            .shared
            .window_rows(*window)
            .filter(|row| passes(env, stream, row))
            .cloned()
            .collect(),
        SourcePlan::Table { table, .. } => env
            .shared
            .table_rows(&env, *table)
            .into_iter()
            .filter(|row| passes(env, stream, row))
            .collect(),
        SourcePlan::Events(_) | SourcePlan::Pattern(_) => Vec::new(),
    }
}
