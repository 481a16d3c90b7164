//! Walks over planned expressions: which streams and columns they speak of.

use crate::expr::{Aggregate, Expr, LikePattern, Node, RegexpPattern};
use crate::plan::{
    Action, Context, ContextKind, ContextPoint, FilterPlan, MergeActionPlan, OnActionPlan, PatternNode, SelectPlan,
    SourcePlan, StatementPlan, StreamPlan, SubqueryPlan, WindowPlan,
};

/// Calls with an expression and all below it.
pub(crate) fn visit(expr: &Expr, see: &mut dyn FnMut(&Expr)) {
    see(expr);
    match &expr.node {
        Node::Literal(_)
        | Node::Column { .. }
        | Node::Row(_)
        | Node::Aggregate(_)
        | Node::Now
        | Node::Subquery(_)
        | Node::Exists(_)
        | Node::Context(_)
        | Node::Variable(_) => {}
        Node::Indexed { index, .. } => visit(index, see),
        Node::Previous { offset, .. } => visit(offset, see),
        Node::Field(inner, _)
        | Node::InSubquery { operand: inner, .. }
        | Node::QuantifiedSubquery { operand: inner, .. }
        | Node::Negate(inner)
        | Node::Not(inner)
        | Node::IsNull(inner)
        | Node::InNetworks { operand: inner, .. }
        | Node::Convert(inner) => visit(inner, see),
        Node::Compare(_, left, right)
        | Node::Arithmetic(_, left, right)
        | Node::Bits(_, left, right)
        | Node::Concat(left, right) => {
            visit(left, see);
            visit(right, see);
        }
        Node::And(parts) | Node::Or(parts) | Node::Coalesce(parts) | Node::Call(_, parts) => {
            for part in parts {
                visit(part, see);
            }
        }
        Node::TableColumn { keys, .. } => {
            for key in keys {
                visit(key, see);
            }
        }
        Node::Quantified { operand, list, .. } | Node::InList { operand, list, .. } => {
            visit(operand, see);
            for item in list {
                visit(item, see);
            }
        }
        Node::InRange { operand, low, high, .. } => {
            visit(operand, see);
            visit(low, see);
            visit(high, see);
        }
        Node::Like { operand, pattern, .. } => {
            visit(operand, see);
            if let LikePattern::Computed(pattern, _) = pattern {
                visit(pattern, see);
            }
        }
        Node::Regexp { operand, pattern, .. } => {
            visit(operand, see);
            if let RegexpPattern::Computed(pattern) = pattern {
                visit(pattern, see);
            }
        }
        Node::Case { branches, otherwise } => {
            for (condition, result) in branches {
                visit(condition, see);
                visit(result, see);
            }
            visit(otherwise, see);
        }
    }
}

/// The streams whose columns an expression reads, in rising order.
pub(crate) fn streams_of(expr: &Expr) -> Vec<usize> {
    let mut streams = Vec::new();
    visit(expr, &mut |expr| match &expr.node {
        Node::Column { stream, .. }
        | Node::Indexed { stream, .. }
        | Node::Previous { stream, .. }
        | Node::Row(stream) => {
            streams.push(*stream);
        }
        _ => {}
    });
    streams.sort_unstable();
    streams.dedup();
    streams
}

/// Calls with each expression of a window.
pub(crate) fn expressions_of_window(window: &WindowPlan, see: &mut dyn FnMut(&Expr)) {
    match window {
        WindowPlan::ExtTimed { time, .. }
        | WindowPlan::ExtTimedBatch { time, .. }
        | WindowPlan::TimeOrder { time, .. }
        | WindowPlan::TimeToLive(time) => see(time),
        WindowPlan::Unique(keys) | WindowPlan::FirstUnique(keys) => keys.iter().for_each(see),
        WindowPlan::Sort { keys, .. } => keys.iter().for_each(|key| see(&key.expr)),
        WindowPlan::Rank { unique, keys, .. } => {
            unique.iter().for_each(&mut *see);
            keys.iter().for_each(|key| see(&key.expr));
        }
        WindowPlan::Time(_)
        | WindowPlan::TimeBatch { .. }
        | WindowPlan::Length(_)
        | WindowPlan::LengthBatch(_)
        | WindowPlan::TimeLengthBatch { .. }
        | WindowPlan::KeepAll
        | WindowPlan::LastEvent
        | WindowPlan::FirstEvent
        | WindowPlan::FirstLength(_)
        | WindowPlan::FirstTime(_)
        | WindowPlan::TimeAccum(_) => {}
    }
}

fn of_filter(filter: &FilterPlan, see: &mut dyn FnMut(&Expr)) {
    filter.conditions.iter().for_each(&mut *see);
    filter.correlated.iter().for_each(&mut *see);
    for (own, other) in &filter.equal {
        see(own);
        see(other);
    }
}

fn of_pattern(node: &PatternNode, see: &mut dyn FnMut(&Expr)) {
    match node {
        PatternNode::Filter { filter, .. } => of_filter(filter, see),
        PatternNode::EveryDistinct { keys, inner, .. } => {
            keys.iter().for_each(&mut *see);
            of_pattern(inner, see);
        }
        PatternNode::While { condition, inner } => {
            see(condition);
            of_pattern(inner, see);
        }
        PatternNode::Every(inner)
        | PatternNode::Not(inner)
        | PatternNode::Within { inner, .. }
        | PatternNode::Repeat { inner, .. } => of_pattern(inner, see),
        PatternNode::FollowedBy(parts) | PatternNode::And(parts) | PatternNode::Or(parts) => {
            parts.iter().for_each(|part| of_pattern(part, see));
        }
        PatternNode::Until { inner, end, .. } => {
            of_pattern(inner, see);
            of_pattern(end, see);
        }
        PatternNode::IntervalMs(_) => {}
    }
}

fn of_stream(stream: &StreamPlan, see: &mut dyn FnMut(&Expr)) {
    match &stream.source {
        SourcePlan::Events(filter) => of_filter(filter, see),
        SourcePlan::NamedWindow { conditions, .. } | SourcePlan::Table { conditions, .. } => {
            conditions.iter().for_each(&mut *see)
        }
        SourcePlan::Pattern(pattern) => of_pattern(&pattern.root, see),
    }
    if let Some(window) = &stream.window {
        expressions_of_window(window, see);
    }
    stream.on.iter().for_each(see);
}

fn of_aggregate(aggregate: &Aggregate, see: &mut dyn FnMut(&Expr)) {
    aggregate.arguments.iter().for_each(&mut *see);
    aggregate.filter.iter().for_each(see);
}

fn of_subquery(subquery: &SubqueryPlan, see: &mut dyn FnMut(&Expr)) {
    of_stream(&subquery.stream, see);
    subquery.condition.iter().for_each(&mut *see);
    subquery.group_by.iter().for_each(&mut *see);
    subquery.column.iter().for_each(&mut *see);
    subquery.having.iter().for_each(&mut *see);
    subquery
        .aggregates
        .iter()
        .for_each(|aggregate| of_aggregate(aggregate, see));
    for (inner, outer) in &subquery.equal {
        see(inner);
        see(outer);
    }
}

/// Calls with each expression of a select.
pub(crate) fn of_select(select: &SelectPlan, see: &mut dyn FnMut(&Expr)) {
    select.streams.iter().for_each(|stream| of_stream(stream, see));
    if let Some(recognize) = &select.match_recognize {
        recognize.partition_by.iter().for_each(&mut *see);
        recognize.define.iter().flatten().for_each(&mut *see);
        recognize.measures.iter().for_each(|measure| see(&measure.expr));
        recognize
            .aggregates
            .iter()
            .for_each(|(_, aggregate)| of_aggregate(aggregate, see));
    }
    select.condition.iter().for_each(&mut *see);
    select.group_by.iter().for_each(&mut *see);
    select.having.iter().for_each(&mut *see);
    select.columns.iter().for_each(|column| see(&column.expr));
    select.order_by.iter().for_each(|key| see(&key.expr));
    select
        .aggregates
        .iter()
        .for_each(|aggregate| of_aggregate(aggregate, see));
    select.subqueries.iter().for_each(|subquery| of_subquery(subquery, see));
}

/// Calls with each expression of a statement.
pub(crate) fn expressions_of(statement: &StatementPlan, see: &mut dyn FnMut(&Expr)) {
    match &statement.action {
        Action::Select(select) => of_select(select, see),
        Action::On(on) => {
            of_stream(&on.trigger, see);
            on.condition.iter().for_each(&mut *see);
            on.subqueries.iter().for_each(|subquery| of_subquery(subquery, see));
            for (own, other) in &on.equal {
                see(own);
                see(other);
            }
            match &on.action {
                OnActionPlan::Delete => {}
                OnActionPlan::Select { select, .. } => of_select(select, see),
                OnActionPlan::Update(assignments) | OnActionPlan::Set(assignments) => {
                    assignments.iter().for_each(|(_, value)| see(value));
                }
                OnActionPlan::Merge(clauses) => {
                    for clause in clauses {
                        clause.condition.iter().for_each(&mut *see);
                        for action in &clause.actions {
                            match action {
                                MergeActionPlan::Insert { values, condition, .. } => {
                                    values.iter().chain(condition).for_each(&mut *see);
                                }
                                MergeActionPlan::Update { assignments, condition } => {
                                    assignments.iter().for_each(|(_, value)| see(value));
                                    condition.iter().for_each(&mut *see);
                                }
                                MergeActionPlan::Delete { condition } => condition.iter().for_each(&mut *see),
                            }
                        }
                    }
                }
            }
        }
        Action::CreateWindow(_)
        | Action::CreateTable(_)
        | Action::CreateContext(_)
        | Action::CreateVariable(_)
        | Action::CreateSchema(_) => {}
    }
}

fn of_point(point: &ContextPoint, see: &mut dyn FnMut(&Expr)) {
    match point {
        ContextPoint::Filter { filter, .. } => of_filter(filter, see),
        ContextPoint::Pattern(pattern) => of_pattern(&pattern.root, see),
        ContextPoint::Now | ContextPoint::AfterMs(_) => {}
    }
}

/// Calls with each expression of a context.
pub(crate) fn expressions_of_context(context: &Context, see: &mut dyn FnMut(&Expr)) {
    match &context.kind {
        ContextKind::Keyed { streams, end } => {
            for (filter, keys) in streams {
                of_filter(filter, see);
                keys.iter().for_each(&mut *see);
            }
            end.iter().for_each(|point| of_point(point, see));
        }
        ContextKind::StartEnd { start, end, initiated } => {
            initiated.iter().flatten().for_each(&mut *see);
            of_point(start, see);
            end.iter().for_each(|point| of_point(point, see));
        }
        ContextKind::Hash { streams, .. } => {
            for (filter, _, arguments) in streams {
                of_filter(filter, see);
                arguments.iter().for_each(&mut *see);
            }
        }
        ContextKind::Category { filter, categories } => {
            of_filter(filter, see);
            categories.iter().for_each(|(_, condition)| see(condition));
        }
    }
}
