//! Patterns of an event and the next of its key, and statements that only pass events on.

use std::sync::Arc;

use crate::column::keys::can_be_key;
use crate::column::query::{Passing, Successive};
use crate::column::scalar::{Scalar, rewrite};
use crate::expr::{Expr, Node};
use crate::plan::{
    Action, Catalog, CatalogId, FilterPlan, InsertTarget, PatternNode, ResultKind, SelectPlan, SourcePlan,
    StatementPlan,
};
use crate::syntax::ast::StreamSelector;
use crate::value::{Type, Value};

/// Events as another statement makes them, one of each that passes a filter: by expressions over that one's columns.
struct Made {
    event_type: CatalogId,
    conditions: Vec<Expr>,
    columns: Vec<Expr>,
}

/// Whether a select gives a row for each event as it comes, and nothing else.
fn is_plain(statement: &StatementPlan, select: &SelectPlan) -> bool {
    statement.context.is_none()
        && select.match_recognize.is_none()
        && select.subqueries.is_empty()
        && select.into_table.is_none()
        && !select.distinct
        && select.selector == StreamSelector::Insert
        && select.result == ResultKind::Rows
        && select.having.is_none()
        && select.output.is_none()
        && select.order_by.is_empty()
        && select.limit.is_none()
        && select.offset == 0
        && select.insert.as_ref().is_none_or(|insert| {
            insert.selector == StreamSelector::Insert && matches!(insert.target, InsertTarget::Events(_))
        })
        && select
            .streams
            .iter()
            .all(|stream| stream.window.is_none() && !stream.uses_previous)
}

/// The filter of a statement that passes events on, as they are or with other columns.
fn passed(statement: &StatementPlan) -> Option<(&SelectPlan, &FilterPlan)> {
    let Action::Select(select) = &statement.action else {
        return None;
    };
    let [stream] = &select.streams[..] else { return None };
    let SourcePlan::Events(filter) = &stream.source else {
        return None;
    };
    let plain = is_plain(statement, select) && filter.equal.is_empty() && filter.correlated.is_empty();
    plain.then_some((select, filter))
}

/// Conditions as scalars, each by itself.
fn conjuncts(conditions: &[Expr]) -> Option<Vec<Scalar>> {
    let scalars: Option<Vec<Scalar>> = conditions.iter().map(Scalar::new).collect();
    Some(scalars?.into_iter().flat_map(Scalar::conjuncts).collect())
}

/// A statement that inserts events of another type as they pass.
pub(super) fn passing(statement: &StatementPlan) -> Option<(CatalogId, Passing)> {
    let (select, filter) = passed(statement)?;
    select.insert.as_ref()?;
    let conditions: Vec<Expr> = filter.conditions.iter().chain(&select.condition).cloned().collect();
    let columns: Option<Vec<Scalar>> = select.columns.iter().map(|column| Scalar::new(&column.expr)).collect();
    let passing = Passing {
        filter: conjuncts(&conditions)?,
        select: columns?,
        schema: Arc::clone(select.output_type.schema()),
    };
    Some((filter.event_type, passing))
}

/// How events of a type come about: from outside, or made of these by the one statement that inserts them.
fn made(event_type: CatalogId, catalog: &Catalog, plans: &[StatementPlan]) -> Option<Made> {
    let types = catalog.event_types[event_type].types();
    let mut makers = plans
        .iter()
        .filter(|plan| crate::column::inserts_into(plan, event_type));
    let Some(maker) = makers.next() else {
        let column = |(column, of): (usize, &Type)| Expr {
            node: Node::Column { stream: 0, column },
            of: of.clone(),
        };
        return Some(Made {
            event_type,
            conditions: Vec::new(),
            columns: types.iter().enumerate().map(column).collect(),
        });
    };
    let (select, filter) = passed(maker)?;
    let only_made = catalog.event_types[event_type].time_column().is_none();
    let from_outside = !plans
        .iter()
        .any(|plan| crate::column::inserts_into(plan, filter.event_type));
    if makers.next().is_some() || !only_made || !from_outside {
        return None;
    }
    let mapping = &select.insert.as_ref()?.mapping;
    let column = |(column, of): (usize, &Type)| match mapping.get(column).copied().flatten() {
        Some(selected) => select
            .columns
            .get(selected)
            .map(|column| column.expr.clone())
            .filter(|expr| expr.of == *of),
        None => Some(Expr {
            node: Node::Literal(Value::Null),
            of: of.clone(),
        }),
    };
    Some(Made {
        event_type: filter.event_type,
        conditions: filter.conditions.iter().chain(&select.condition).cloned().collect(),
        columns: types.iter().enumerate().map(column).collect::<Option<_>>()?,
    })
}

/// An earlier event, the next, and within what time; and the tags of both.
struct Pattern<'a> {
    earlier: (usize, &'a FilterPlan),
    later: (usize, &'a FilterPlan),
    within_ms: i64,
}

fn pattern(select: &SelectPlan) -> Option<Pattern<'_>> {
    let [stream] = &select.streams[..] else { return None };
    let SourcePlan::Pattern(pattern) = &stream.source else {
        return None;
    };
    let PatternNode::FollowedBy(steps) = &pattern.root else {
        return None;
    };
    let [PatternNode::Every(first), PatternNode::Within { ms, max: None, inner }] = &steps[..] else {
        return None;
    };
    let (
        PatternNode::Filter {
            tag: Some(earlier_tag),
            filter: earlier,
        },
        PatternNode::Filter {
            tag: Some(later_tag),
            filter: later,
        },
    ) = (&**first, &**inner)
    else {
        return None;
    };
    let plain = !pattern.suppress_overlapping
        && !pattern.discard_partials
        && earlier.equal.is_empty()
        && earlier.correlated.is_empty()
        && later.correlated.is_empty()
        && earlier.event_type == later.event_type
        // Whoever could begin a pair ends the one before it, so that one waits at most.
        && later.conditions.iter().all(|condition| earlier.conditions.contains(condition))
        && *ms > 0;
    plain.then_some(Pattern {
        earlier: (*earlier_tag, earlier),
        later: (*later_tag, later),
        within_ms: *ms,
    })
}

/// The columns by which pairs are made: the same of both events.
fn key_columns(pattern: &Pattern<'_>) -> Option<Vec<usize>> {
    let columns: Option<Vec<usize>> = pattern
        .later
        .1
        .equal
        .iter()
        .map(|(own, other)| match (&own.node, &other.node) {
            (Node::Column { stream: 0, column }, Node::Column { stream, column: other })
                if *stream == pattern.earlier.0 + 1 && column == other =>
            {
                Some(*column)
            }
            _ => None,
        })
        .collect();
    columns.filter(|columns| !columns.is_empty())
}

/// A statement over pairs, and the event type that it reads.
pub(super) fn successive(
    statement: &StatementPlan,
    catalog: &Catalog,
    plans: &[StatementPlan],
) -> Option<(CatalogId, Successive)> {
    let Action::Select(select) = &statement.action else {
        return None;
    };
    if !is_plain(statement, select) {
        return None;
    }
    let pattern = pattern(select)?;
    let made = made(pattern.earlier.1.event_type, catalog, plans)?;
    let schema = catalog.event_types[made.event_type].schema();
    let over_made = |expr: &Expr| {
        rewrite(expr, &mut |expr| match expr.node {
            Node::Column { stream: 0, column } => made.columns.get(column).map(|expr| expr.node.clone()),
            _ => None,
        })
    };
    let filter = |filter: &FilterPlan| -> Option<Vec<Scalar>> {
        let own: Option<Vec<Expr>> = filter.conditions.iter().map(over_made).collect();
        conjuncts(&[made.conditions.clone(), own?].concat())
    };
    let key_columns = key_columns(&pattern)?;
    let keys: Option<Vec<Scalar>> = key_columns
        .iter()
        .map(|&column| Scalar::new(made.columns.get(column)?))
        .collect();
    let keys = keys.filter(|keys| keys.iter().all(|key| can_be_key(&key.data_type(schema))))?;
    let mut pair = Pair {
        earlier: Vec::new(),
        later: Vec::new(),
    };
    // What is read of both is noted first, as the columns of the later event stand behind those of the earlier.
    let expressions = select
        .columns
        .iter()
        .map(|column| &column.expr)
        .chain(&select.condition);
    for expr in expressions {
        let mut all_known = true;
        rewrite(expr, &mut |expr| {
            if let Node::Column { stream, column } = expr.node {
                all_known &= pair.place(stream, column, &pattern, &key_columns).is_some();
            }
            None
        })?;
        if !all_known {
            return None;
        }
    }
    let mut over_pair = |expr: &Expr| -> Option<Scalar> {
        let rewritten = rewrite(expr, &mut |expr| {
            let Node::Column { stream, column } = expr.node else {
                return None;
            };
            let column = pair.place(stream, column, &pattern, &key_columns)?;
            Some(Node::Column { stream: 0, column })
        });
        Scalar::new(&rewritten?)
    };
    let condition = match &select.condition {
        Some(condition) => Some(over_pair(condition)?),
        None => None,
    };
    let columns: Option<Vec<Scalar>> = select.columns.iter().map(|column| over_pair(&column.expr)).collect();
    let columns = columns?;
    let scalars = |columns: &[usize]| -> Option<Vec<Scalar>> {
        let scalar = |&column: &usize| Scalar::new(made.columns.get(column)?);
        columns.iter().map(scalar).collect()
    };
    let earlier = scalars(&pair.earlier)?;
    let numeric = |scalar: &Scalar| scalar.expr().of.is_numeric() || scalar.expr().of == Type::Bool;
    if !earlier.iter().all(numeric) {
        return None;
    }
    let successive = Successive {
        earlier_filter: filter(pattern.earlier.1)?,
        later_filter: filter(pattern.later.1)?,
        keys,
        within_ms: pattern.within_ms,
        earlier,
        later: scalars(&pair.later)?,
        condition,
        select: columns,
        schema: Arc::clone(select.output_type.schema()),
    };
    Some((made.event_type, successive))
}

/// Columns that a statement reads of an earlier and of a later event.
struct Pair {
    earlier: Vec<usize>,
    later: Vec<usize>,
}

impl Pair {
    /// The place of a tag's column among those of the pair; the keys of both events are the same.
    fn place(&mut self, tag: usize, column: usize, pattern: &Pattern<'_>, keys: &[usize]) -> Option<usize> {
        let known = |columns: &mut Vec<usize>| {
            columns.iter().position(|&known| known == column).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            })
        };
        if tag == pattern.later.0 || tag == pattern.earlier.0 && keys.contains(&column) {
            return Some(known(&mut self.later) + self.earlier.len());
        }
        (tag == pattern.earlier.0).then(|| known(&mut self.earlier))
    }
}
