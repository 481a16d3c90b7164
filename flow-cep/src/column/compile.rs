//! Which planned statements have a columnar form, and what it is.

mod succession;

use std::sync::Arc;

use arrow_schema::Schema;

use super::keys::can_be_key;
use super::query::{Aggregate, Body, Function, Output, Passing, Query, Successive, Window};
use super::scalar::{Scalar, rewrite};
use crate::expr::{self, AggregateFunction, Expr, Node};
use crate::plan::{
    Action, Catalog, CatalogId, InsertPlan, InsertTarget, OutputMoment, ResultKind, SelectPlan, SourcePlan,
    StatementPlan, WindowPlan,
};
use crate::syntax::ast::{OutputKind, StreamSelector};
use crate::value::{Type, Value};

/// A statement in one of the columnar forms.
#[derive(Debug)]
pub(crate) enum Form {
    Query(Box<Query>),
    Passing(Passing),
    Successive(Box<Successive>),
}

/// The event type that one of the statements reads and its columnar form; none if only the row runtime runs it.
pub(crate) fn form(statement: &StatementPlan, catalog: &Catalog, plans: &[StatementPlan]) -> Option<(CatalogId, Form)> {
    let schema = |event_type: CatalogId| Arc::clone(catalog.event_types[event_type].schema());
    if let Some((event_type, query)) = compile(statement, schema) {
        return Some((event_type, Form::Query(Box::new(query))));
    }
    if let Some((event_type, passing)) = succession::passing(statement) {
        return Some((event_type, Form::Passing(passing)));
    }
    succession::successive(statement, catalog, plans)
        .map(|(event_type, successive)| (event_type, Form::Successive(Box::new(successive))))
}

fn compile(statement: &StatementPlan, schema: impl Fn(CatalogId) -> Arc<Schema>) -> Option<(CatalogId, Query)> {
    let Action::Select(select) = &statement.action else {
        return None;
    };
    let plain = statement.context.is_none()
        && select.match_recognize.is_none()
        && select.subqueries.is_empty()
        && select.into_table.is_none()
        && !select.distinct
        && select.selector == StreamSelector::Insert;
    let [stream] = &select.streams[..] else { return None };
    let SourcePlan::Events(source) = &stream.source else {
        return None;
    };
    if !plain || !source.equal.is_empty() || !source.correlated.is_empty() || stream.uses_previous {
        return None;
    }
    let window = window(stream.window.as_ref())?;
    let output = output(select, window)?;
    if !select.insert.as_ref().is_none_or(|insert| may_insert(insert, output)) {
        return None;
    }
    let mut filter: Vec<Scalar> = source.conditions.iter().map(Scalar::new).collect::<Option<_>>()?;
    if let Some(condition) = &select.condition {
        // A batch counts its time from rows that `where` drops, too; elsewhere it makes no difference which side of the
        // window drops them.
        if output == Output::Batch {
            return None;
        }
        filter.push(Scalar::new(condition)?);
    }
    let schema = schema(source.event_type);
    let (body, order) = match select.result {
        ResultKind::Rows if output == Output::Batch => rows(select)?,
        ResultKind::RowPerGroup if output.is_watched() => groups(select, &schema, output)?,
        ResultKind::OneRow | ResultKind::RowPerGroup if !output.is_watched() => groups(select, &schema, output)?,
        _ => return None,
    };
    if !asks_seldom(output, window) && looks_back(&body) {
        return None;
    }
    let query = Query {
        filter: filter.into_iter().flat_map(Scalar::conjuncts).collect(),
        window,
        body,
        order,
        limit: select.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        offset: usize::try_from(select.offset).unwrap_or(usize::MAX),
        output,
        schema: Arc::clone(select.output_type.schema()),
    };
    Some((source.event_type, query))
}

fn window(plan: Option<&WindowPlan>) -> Option<Window> {
    Some(match plan {
        None | Some(WindowPlan::KeepAll) => Window::Whole,
        Some(&WindowPlan::Time(span_ms)) if span_ms > 0 => Window::Time { span_ms },
        Some(&WindowPlan::TimeBatch {
            ms,
            reference_ms,
            force_update,
            start_eager,
        }) if ms > 0 => Window::TimeBatch {
            span_ms: ms,
            reference_ms,
            eager: start_eager,
            forced: force_update,
        },
        Some(_) => return None,
    })
}

fn output(select: &SelectPlan, window: Window) -> Option<Output> {
    let Some(plan) = &select.output else {
        return match window {
            Window::TimeBatch { .. } => Some(Output::Batch),
            // Without `having` each row is delivered, and columns are no gain.
            Window::Time { .. } if select.having.is_some() => Some(Output::Each),
            _ => None,
        };
    };
    if plan.after.is_some() || plan.and_when_terminated {
        return None;
    }
    match (plan.kind, &plan.when, window) {
        (_, OutputMoment::EveryMs(..=0), _) | (.., Window::TimeBatch { .. }) => None,
        (OutputKind::Snapshot, &OutputMoment::EveryMs(every_ms), _) => Some(Output::Snapshot { every_ms }),
        (OutputKind::First, &OutputMoment::EveryMs(every_ms), Window::Time { .. }) => Some(Output::First { every_ms }),
        _ => None,
    }
}

/// Whether groups are quiet for as long as rows stay, so that no row is gathered for evidence more than twice.
pub(crate) const fn asks_seldom(output: Output, window: Window) -> bool {
    matches!((output, window), (Output::First { every_ms }, Window::Time { span_ms }) if every_ms >= span_ms)
}

/// Whether the oldest row of a group is asked for, which takes a walk over its rows.
fn looks_back(body: &Body) -> bool {
    matches!(body, Body::Groups { aggregates, .. } if aggregates.iter().any(|aggregate| aggregate.function == Function::First))
}

/// Whether what is inserted comes at instants of its own, and not between the rows of a stream.
fn may_insert(insert: &InsertPlan, output: Output) -> bool {
    !output.is_watched()
        && insert.selector == StreamSelector::Insert
        && matches!(insert.target, InsertTarget::Events(_))
}

type Ordered = Vec<(Scalar, bool)>;

fn rows(select: &SelectPlan) -> Option<(Body, Ordered)> {
    let having = match &select.having {
        Some(having) => Some(Scalar::new(having)?),
        None => None,
    };
    let columns = select
        .columns
        .iter()
        .map(|column| Scalar::new(&column.expr))
        .collect::<Option<_>>()?;
    let order: Option<Ordered> = select
        .order_by
        .iter()
        .map(|key| Some((Scalar::new(&key.expr)?, key.descending)))
        .collect();
    Some((
        Body::Rows {
            having,
            select: columns,
        },
        order?,
    ))
}

fn groups(select: &SelectPlan, schema: &Schema, output: Output) -> Option<(Body, Ordered)> {
    let keys: Vec<Scalar> = select.group_by.iter().map(Scalar::new).collect::<Option<_>>()?;
    if !keys.iter().all(|key| can_be_key(&key.data_type(schema))) {
        return None;
    }
    let aggregates: Vec<Aggregate> = select
        .aggregates
        .iter()
        .map(|plan| aggregate(plan, schema, output))
        .collect::<Option<_>>()?;
    let over_groups = |expr: &Expr| -> Option<Scalar> {
        let mut columns_only = true;
        let rewritten = rewrite(expr, &mut |expr| {
            let column = match &expr.node {
                Node::Aggregate(slot) => Some(keys.len() + slot),
                _ => select.group_by.iter().position(|key| key == expr),
            };
            columns_only &= column.is_some() || !matches!(expr.node, Node::Column { .. });
            column.map(|column| Node::Column { stream: 0, column })
        })?;
        columns_only.then(|| Scalar::new(&rewritten)).flatten()
    };
    let having = match &select.having {
        Some(having) => Some(over_groups(having)?),
        None => None,
    };
    let columns = select
        .columns
        .iter()
        .map(|column| over_groups(&column.expr))
        .collect::<Option<_>>()?;
    let order: Option<Ordered> = select
        .order_by
        .iter()
        .map(|key| Some((over_groups(&key.expr)?, key.descending)))
        .collect();
    // A condition is asked again and again, and the oldest row of a group is found by a walk over its rows.
    let asked = having.as_ref().map_or_else(Vec::new, Scalar::columns);
    let first = |&column: &usize| {
        let aggregate = column.checked_sub(keys.len()).and_then(|slot| aggregates.get(slot));
        aggregate.is_some_and(|aggregate| aggregate.function == Function::First)
    };
    if asked.iter().any(first) {
        return None;
    }
    Some((
        Body::Groups {
            keys,
            aggregates,
            having,
            select: columns,
        },
        order?,
    ))
}

fn aggregate(plan: &expr::Aggregate, schema: &Schema, output: Output) -> Option<Aggregate> {
    let function = match (plan.function, plan.distinct) {
        (AggregateFunction::Count, false) => Function::Count,
        (AggregateFunction::Count, true) => Function::CountDistinct,
        (AggregateFunction::Sum, false) => Function::Sum,
        (AggregateFunction::Avg, false) => Function::Average,
        (AggregateFunction::Min, _) => Function::Smallest,
        (AggregateFunction::Max, _) => Function::Largest,
        (AggregateFunction::Stddev, false) => Function::Deviation,
        // A row that the filter drops is none, where null would be one.
        (AggregateFunction::First, false) if output.is_watched() && plan.filter.is_none() => Function::First,
        (AggregateFunction::Last, false) if output.is_watched() && plan.filter.is_none() => Function::Last,
        _ => return None,
    };
    let argument = match (&plan.arguments[..], &plan.filter) {
        ([], None) => None,
        ([argument], None) => Some(argument.clone()),
        ([], Some(filter)) => Some(only(
            filter,
            Expr {
                node: Node::Literal(Value::Bool(true)),
                of: Type::Bool,
            },
        )),
        ([argument], Some(filter)) => Some(only(filter, argument.clone())),
        _ => return None,
    };
    let argument = match &argument {
        Some(argument) => Some(Scalar::new(argument)?),
        None => None,
    };
    let numeric = argument.as_ref().is_none_or(|argument| argument.expr().of.is_numeric());
    let suitable = match function {
        Function::Count => true,
        Function::CountDistinct => argument
            .as_ref()
            .is_some_and(|argument| can_be_key(&argument.data_type(schema))),
        Function::First | Function::Last => argument
            .as_ref()
            .is_some_and(|argument| numeric || can_be_key(&argument.data_type(schema))),
        _ => argument.is_some() && numeric,
    };
    suitable.then(|| Aggregate {
        function,
        argument,
        of: plan.of.clone(),
    })
}

/// The value where the condition is true, else null.
fn only(condition: &Expr, value: Expr) -> Expr {
    let of = value.of.clone();
    let null = Expr {
        node: Node::Literal(Value::Null),
        of: of.clone(),
    };
    Expr {
        node: Node::Case {
            branches: vec![(condition.clone(), value)],
            otherwise: Box::new(null),
        },
        of,
    }
}
