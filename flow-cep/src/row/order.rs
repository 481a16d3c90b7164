//! In which order an event reaches the statements of a runtime.
//!
//! Where statements share tables, variables or named windows, who goes first shows in the results. Esper finds the filters
//! that an event passes by a tree of indexes: at each node those behind an index come before those that end there. So a
//! statement with a filter comes before one without, and one with a further condition before one without that condition.
//! Statements that look at several streams of one event type at once, as joins of a stream with itself do, come last, and so
//! do those with a pattern or with `order by`.

use crate::expr::{Expr, Node};
use crate::plan::SubqueryPlan;
use crate::plan::{
    Catalog, CatalogId, ContextKind, ContextPoint, FilterPlan, PatternNode, PatternPlan, SourcePlan, StreamPlan,
};
use crate::syntax::ast::BinaryOp;
use crate::value::Value;

/// How a condition is looked up; indexes of a filter are made in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lookup {
    Equal,
    Is,
    InList,
    InRange,
    Less,
    LessOrEqual,
    GreaterOrEqual,
    Greater,
    NotInRange,
    NotInList,
    NotEqual,
    IsNot,
    /// Tested for each statement by itself.
    Tested,
}

/// A condition of a filter: how and by what it is looked up, and the value if it is constant.
#[derive(Clone, Debug)]
struct Condition {
    lookup: Lookup,
    by: Option<Expr>,
    value: Option<Value>,
}

/// A node of the tree.
#[derive(Debug, Default)]
struct Branch {
    indexes: Vec<Index>,
    here: Vec<usize>,
}

/// What lies behind a node by one condition, for each of its values.
#[derive(Debug)]
struct Index {
    lookup: Lookup,
    by: Option<Expr>,
    entries: Vec<(Option<Value>, Branch)>,
}

impl Branch {
    fn add(&mut self, mut conditions: Vec<Condition>, statement: usize) {
        if conditions.is_empty() {
            self.here.push(statement);
            return;
        }
        let known = conditions.iter().enumerate().find_map(|(at, condition)| {
            let index = self
                .indexes
                .iter()
                .position(|index| index.lookup == condition.lookup && index.by == condition.by)?;
            (condition.lookup != Lookup::Tested || conditions.len() == 1).then_some((at, index))
        });
        let (at, index) = known.unwrap_or_else(|| {
            self.indexes.push(Index {
                lookup: conditions[0].lookup,
                by: conditions[0].by.clone(),
                entries: Vec::new(),
            });
            (0, self.indexes.len() - 1)
        });
        let condition = conditions.remove(at);
        let entries = &mut self.indexes[index].entries;
        let entry = entries.iter().position(|(value, _)| *value == condition.value);
        let entry = entry.unwrap_or_else(|| {
            entries.push((condition.value, Self::default()));
            entries.len() - 1
        });
        entries[entry].1.add(conditions, statement);
    }

    fn walk(&self, into: &mut Vec<usize>) {
        for index in &self.indexes {
            let mut order: Vec<&(Option<Value>, Self)> = index.entries.iter().collect();
            if (Lookup::Less..=Lookup::Greater).contains(&index.lookup) {
                order.sort_by(|a, b| a.0.cmp(&b.0));
            }
            for (_, branch) in order {
                branch.walk(into);
            }
        }
        into.extend(&self.here);
    }
}

fn literal(expr: &Expr) -> Option<Value> {
    match &expr.node {
        Node::Literal(value) => Some(value.clone()),
        Node::Convert(inner) => literal(inner),
        _ => None,
    }
}

/// A column, possibly converted for the comparison.
fn is_column(expr: &Expr) -> bool {
    match &expr.node {
        Node::Column { .. } => true,
        Node::Convert(inner) => is_column(inner),
        _ => false,
    }
}

fn condition(expr: &Expr) -> Condition {
    let tested = || Condition {
        lookup: Lookup::Tested,
        by: None,
        value: None,
    };
    let of = |lookup: Lookup, by: &Expr, value: Option<Value>| {
        if is_column(by) {
            Condition {
                lookup,
                by: Some(by.clone()),
                value,
            }
        } else {
            tested()
        }
    };
    match &expr.node {
        Node::Compare(op, left, right) => {
            let (by, value, swapped) = match (literal(left), literal(right)) {
                (None, Some(value)) => (left, value, false),
                (Some(value), None) => (right, value, true),
                _ => return tested(),
            };
            let lookup = match (op, swapped) {
                (BinaryOp::Equal, _) => Lookup::Equal,
                (BinaryOp::NotEqual, _) => Lookup::NotEqual,
                (BinaryOp::Less, false) | (BinaryOp::Greater, true) => Lookup::Less,
                (BinaryOp::LessOrEqual, false) | (BinaryOp::GreaterOrEqual, true) => Lookup::LessOrEqual,
                (BinaryOp::GreaterOrEqual, false) | (BinaryOp::LessOrEqual, true) => Lookup::GreaterOrEqual,
                (BinaryOp::Greater, false) | (BinaryOp::Less, true) => Lookup::Greater,
                (BinaryOp::Is, _) => Lookup::Is,
                (BinaryOp::IsNot, _) => Lookup::IsNot,
                _ => return tested(),
            };
            of(lookup, by, Some(value))
        }
        Node::InList { operand, negated, list } => match (negated, list.as_slice()) {
            (false, [only]) => of(Lookup::Equal, operand, literal(only)),
            (false, _) => of(Lookup::InList, operand, None),
            (true, _) => of(Lookup::NotInList, operand, None),
        },
        Node::InRange { operand, negated, .. } => of(
            if *negated { Lookup::NotInRange } else { Lookup::InRange },
            operand,
            None,
        ),
        Node::IsNull(operand) => of(Lookup::Is, operand, Some(Value::Null)),
        _ => tested(),
    }
}

/// The conditions of a filter, in the order in which they are looked up; beside its own, those of its context: a further
/// filter, and keys.
fn conditions(filter: &FilterPlan, further: Option<&FilterPlan>, keys: &[Expr]) -> Vec<Condition> {
    let further = further.iter().flat_map(|further| &further.conditions);
    let mut conditions: Vec<Condition> = filter.conditions.iter().chain(further).map(condition).collect();
    for by in filter.equal.iter().map(|(own, _)| own).chain(keys) {
        conditions.push(Condition {
            lookup: Lookup::Equal,
            by: Some(by.clone()),
            value: None,
        });
    }
    if !filter.correlated.is_empty() {
        conditions.push(Condition {
            lookup: Lookup::Tested,
            by: None,
            value: None,
        });
    }
    // All that is tested by itself is one condition.
    let mut tested = false;
    conditions.retain(|condition| condition.lookup != Lookup::Tested || !std::mem::replace(&mut tested, true));
    let name = |condition: &Condition| match &condition.by {
        Some(by) => format!("{:?}", by.node),
        None => String::new(),
    };
    conditions.sort_by_cached_key(|condition| (condition.lookup, name(condition)));
    conditions
}

fn filters_of<'a>(pattern: &'a PatternNode, into: &mut Vec<&'a FilterPlan>) {
    match pattern {
        PatternNode::Filter { filter, .. } => into.push(filter),
        PatternNode::Every(inner)
        | PatternNode::Not(inner)
        | PatternNode::EveryDistinct { inner, .. }
        | PatternNode::Within { inner, .. }
        | PatternNode::While { inner, .. }
        | PatternNode::Repeat { inner, .. } => filters_of(inner, into),
        PatternNode::FollowedBy(parts) | PatternNode::And(parts) | PatternNode::Or(parts) => {
            for part in parts {
                filters_of(part, into);
            }
        }
        PatternNode::Until { inner, end, .. } => {
            filters_of(inner, into);
            filters_of(end, into);
        }
        PatternNode::IntervalMs(_) => {}
    }
}

fn pattern_filters(pattern: &PatternPlan) -> Vec<&FilterPlan> {
    let mut filters = Vec::new();
    filters_of(&pattern.root, &mut filters);
    filters
}

/// What a statement listens to.
#[derive(Debug)]
pub(super) struct Listener<'a> {
    /// Its number.
    pub(super) statement: usize,
    /// Its streams.
    pub(super) streams: Vec<&'a StreamPlan>,
    /// Its subqueries.
    pub(super) subqueries: &'a [SubqueryPlan],
    /// Its context.
    pub(super) context: Option<CatalogId>,
    /// Whether its results are ordered.
    pub(super) ordered: bool,
}

impl<'a> Listener<'a> {
    fn filters(&self, event_type: CatalogId) -> Vec<&'a FilterPlan> {
        let mut filters = Vec::new();
        for stream in &self.streams {
            match &stream.source {
                SourcePlan::Events(filter) => filters.push(filter),
                SourcePlan::Pattern(pattern) => filters.extend(pattern_filters(pattern)),
                SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. } => {}
            }
        }
        filters.retain(|filter| filter.event_type == event_type);
        filters
    }

    /// The filter that has its place in the tree, unless it waits for all others.
    fn sole_filter(&self, event_type: CatalogId) -> Option<&'a FilterPlan> {
        let filters = self.filters(event_type);
        filters.first().copied().filter(|_| !self.waits())
    }

    /// Whether it waits for all others: several of its streams may take one event, or its rows are ordered.
    fn waits(&self) -> bool {
        let taken = |stream: &StreamPlan| match &stream.source {
            SourcePlan::Events(filter) => Some(filter.event_type),
            SourcePlan::Pattern(_) | SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. } => None,
        };
        let patterned = |stream: &&StreamPlan| matches!(stream.source, SourcePlan::Pattern(_));
        if self.ordered || self.streams.iter().any(patterned) {
            return true;
        }
        let types: Vec<CatalogId> = self.streams.iter().filter_map(|stream| taken(stream)).collect();
        let again = |at: usize| types[..at].contains(&types[at]);
        let mut inner = self.subqueries.iter().filter_map(|subquery| taken(&subquery.stream));
        (0..types.len()).any(again) || inner.any(|event_type| types.contains(&event_type))
    }
}

/// The numbers of the statements that listen to an event type, in the order in which its events reach them.
pub(super) fn order(catalog: &Catalog, event_type: CatalogId, listeners: &[Listener<'_>]) -> Vec<usize> {
    let mut tree = Branch::default();
    let mut last = Vec::new();
    for listener in listeners {
        let Some(filter) = listener.sole_filter(event_type) else {
            last.push(listener.statement);
            continue;
        };
        let keys = match listener.context.and_then(|context| catalog.contexts.get(context)) {
            Some(context) => match &context.kind {
                ContextKind::Keyed { streams, .. } => streams
                    .iter()
                    .find(|(filter, _)| filter.event_type == event_type)
                    .map_or(&[][..], |(_, keys)| keys.as_slice()),
                _ => &[],
            },
            None => &[],
        };
        tree.add(conditions(filter, None, keys), listener.statement);
    }
    let mut order = Vec::new();
    tree.walk(&mut order);
    order.extend(last);
    order
}

/// The statements of a context by key that an event which ends a partition reaches before it ends it.
///
/// What ends a partition is a filter like those of the statements, with the partition's key as a further condition. It comes
/// into the tree after those of the context's statements, and those come after what there is without partitions, the other
/// statements and the filters of the events that begin partitions, and after the statements of other contexts by key.
pub(super) fn before_end(
    catalog: &Catalog,
    event_type: CatalogId,
    context: CatalogId,
    listeners: &[Listener<'_>],
) -> Vec<usize> {
    const BEGINNING: usize = usize::MAX - 1;
    const END: usize = usize::MAX;
    let keyed = |context: CatalogId| match &catalog.contexts.get(context)?.kind {
        ContextKind::Keyed { streams, end } => {
            let stream = streams.iter().find(|(filter, _)| filter.event_type == event_type)?;
            Some((stream, end))
        }
        _ => None,
    };
    let Some(((_, keys), Some(ContextPoint::Filter { filter: end, .. }))) = keyed(context) else {
        return Vec::new();
    };
    if end.event_type != event_type {
        return Vec::new();
    }
    let mut tree = Branch::default();
    let mut begun: Vec<CatalogId> = Vec::new();
    for listener in listeners {
        match listener.context {
            Some(context) if !begun.contains(&context) => {
                begun.push(context);
                if let Some(((filter, _), _)) = keyed(context) {
                    tree.add(conditions(filter, None, &[]), BEGINNING);
                }
            }
            Some(_) => {}
            None => {
                if let Some(filter) = listener.sole_filter(event_type) {
                    tree.add(conditions(filter, None, &[]), listener.statement);
                }
            }
        }
    }
    for listener in listeners.iter().filter(|listener| listener.context != Some(context)) {
        let other = listener.context.and_then(keyed);
        if let (Some(filter), Some(((further, keys), _))) = (listener.sole_filter(event_type), other) {
            tree.add(conditions(filter, Some(further), keys), listener.statement);
        }
    }
    let mut own = Vec::new();
    for listener in listeners.iter().filter(|listener| listener.context == Some(context)) {
        if let (Some(filter), Some(((further, _), _))) = (listener.sole_filter(event_type), keyed(context)) {
            tree.add(conditions(filter, Some(further), keys), listener.statement);
            own.push(listener.statement);
        }
    }
    tree.add(conditions(end, None, keys), END);
    let mut order = Vec::new();
    tree.walk(&mut order);
    let before = order.iter().take_while(|at| **at != END);
    before.filter(|at| own.contains(at)).copied().collect()
}
