//! The two halves of a statement: what runs where the rows are, the key by which rows are exchanged between workers, and what
//! runs after the exchange.
//!
//! A statement can be spread over workers if rows of different keys never meet: groups, partitions of a context, sides of a
//! join tied by an equality, patterns whose every event is tied to the first. The window must then depend on time alone; a
//! window that counts rows counts those of all keys. What the workers give must come together to what one would have given:
//! where that depends on the order of rows of different keys, as with ties of an order, one worker has them all.
//! [`crate::spread`] runs the halves.

use std::collections::BTreeSet;
use std::fmt;

use super::bind::{columns_of, conjuncts};
use super::{
    Action, Catalog, CatalogId, ContextKind, ContextPoint, OutputMoment, OutputPlan, PatternNode, PatternPlan,
    ResultKind, SelectPlan, SourcePlan, StatementPlan, StreamPlan, WindowPlan,
};
use crate::column::Scalar;
use crate::expr::{Aggregate, AggregateFunction, Expr, Node};
use crate::syntax::ast::{BinaryOp, JoinKind, OutputKind};

mod linked;

pub(crate) use linked::{FilterUse, linked, uses};

/// How a statement is spread over workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Halves {
    /// For each event stream that enters: what is done where its rows are.
    pub local: Vec<LocalPart>,
    /// How rows come together.
    pub exchange: Exchange,
    /// Whether a clock that starts with the first row of all workers governs the part after the exchange (`output every`,
    /// `#time_batch`): the workers must agree on that instant.
    pub anchored: bool,
    /// Whether the workers' results must be merged by one (`order by`, `limit`, `distinct` over all keys).
    pub merged: bool,
}

/// What is done with a stream where its rows are.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalPart {
    /// Which event stream: of the from clause, or for patterns the filters in order.
    pub stream: usize,
    /// The type of its events.
    pub event_type: CatalogId,
    /// The conditions that drop rows.
    pub conditions: Vec<Expr>,
    /// The columns that are sent on.
    pub columns: Vec<usize>,
    /// The key, over the stream's row as stream 0; empty if the exchange has none.
    pub key: Vec<Expr>,
}

/// How rows come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Not at all: each row is answered where it is.
    Nowhere,
    /// By the key of each local part.
    ByKey,
    /// All rows at one worker, for this reason.
    OneWorker(String),
}

impl Halves {
    /// Analyses a planned statement; none for those that only define something.
    #[must_use]
    pub fn of(plan: &StatementPlan) -> Option<Self> {
        match &plan.action {
            Action::Select(select) => Some(analyse(select, plan)),
            Action::On(_) => Some(Self {
                local: Vec::new(),
                exchange: Exchange::OneWorker("it acts on a window or table that other statements fill".to_owned()),
                anchored: false,
                merged: false,
            }),
            _ => None,
        }
    }

    /// Analyses the statements of a module: those that are linked by what they insert, fill or set run on one worker.
    #[must_use]
    pub fn of_module(plans: &[StatementPlan], catalog: &Catalog) -> Vec<Option<Self>> {
        let groups = linked(plans, catalog);
        let together = run_together(plans, catalog);
        let alone = |at: usize| groups.iter().filter(|&&group| group == groups[at]).count() == 1;
        let halves = plans.iter().enumerate().map(|(at, plan)| {
            let mut halves = Self::of(plan)?;
            let fed = together || !alone(at) || uses(plan, catalog).feeds_itself();
            if fed && !matches!(halves.exchange, Exchange::OneWorker(_)) {
                halves.exchange = Exchange::OneWorker(
                    "it runs together with statements that feed it, that it feeds, that keep windows or tables, or whose context ends by the clock"
                        .to_owned(),
                );
                halves.local.iter_mut().for_each(|part| part.key.clear());
            }
            Some(halves)
        });
        halves.collect()
    }
}

/// Whether all statements run on one worker: they keep rows in named windows or tables, or act on such, or a context ends by
/// the clock, and who goes first at that instant depends on all that is due then, or a context by key by an event, and whether
/// that reaches a statement first depends on the filters of all.
pub(crate) fn run_together(plans: &[StatementPlan], catalog: &Catalog) -> bool {
    let ends = |plan: &StatementPlan| {
        let context = plan.context.and_then(|context| catalog.contexts.get(context));
        matches!(
            context.map(|context| &context.kind),
            Some(
                ContextKind::Keyed {
                    end: Some(ContextPoint::AfterMs(_) | ContextPoint::Pattern(_) | ContextPoint::Filter { .. }),
                    ..
                } | ContextKind::StartEnd {
                    end: Some(ContextPoint::AfterMs(_) | ContextPoint::Pattern(_)),
                    ..
                }
            )
        )
    };
    let shares = |plan: &StatementPlan| {
        matches!(
            plan.action,
            Action::CreateWindow(_) | Action::CreateTable(_) | Action::On(_)
        )
    };
    plans.iter().any(|plan| shares(plan) || ends(plan))
}

/// Whether a window keeps a row for a time of its own, whatever other rows come.
const fn by_time(window: Option<&WindowPlan>) -> bool {
    matches!(
        window,
        None | Some(WindowPlan::Time(_) | WindowPlan::TimeBatch { .. } | WindowPlan::KeepAll)
    )
}

fn analyse(select: &SelectPlan, plan: &StatementPlan) -> Halves {
    let first = |output: &OutputPlan| {
        output.kind != OutputKind::First && matches!(output.when, OutputMoment::EveryMs(_)) && plan.context.is_none()
    };
    let anchored = select.output.as_ref().is_some_and(first)
        || plan.context.is_none()
            && select.streams.iter().any(|stream| {
                matches!(
                    stream.window,
                    Some(WindowPlan::TimeBatch {
                        reference_ms: None,
                        start_eager: false,
                        ..
                    })
                )
            });
    let merged = !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0;
    let local = local_parts(select);
    let mut keys = keys(select, plan).and_then(|keys| one_key_for_each_type(&local, keys));
    if keys.is_ok() && anchored {
        let mut conditions = local.iter().flat_map(|part| &part.conditions).chain(&select.condition);
        if conditions.any(|condition| Scalar::new(condition).is_none()) {
            keys = one_worker("its clock starts with a row that only the statement itself can tell");
        }
    }
    match keys {
        Ok(keys) if keys.is_empty() => Halves {
            local,
            exchange: Exchange::Nowhere,
            anchored: false,
            merged: false,
        },
        Ok(keys) => {
            let local = local
                .into_iter()
                .zip(keys)
                .map(|(mut part, key)| {
                    let mut columns: BTreeSet<(usize, usize)> =
                        part.columns.iter().map(|column| (0, *column)).collect();
                    key.iter().for_each(|expr| columns_of(expr, &mut columns));
                    part.columns = columns.into_iter().map(|(_, column)| column).collect();
                    part.key = key;
                    part
                })
                .collect();
            Halves {
                local,
                exchange: Exchange::ByKey,
                anchored,
                merged,
            }
        }
        Err(reason) => Halves {
            local,
            exchange: Exchange::OneWorker(reason),
            anchored,
            merged,
        },
    }
}

/// The filters and columns of each event stream.
fn local_parts(select: &SelectPlan) -> Vec<LocalPart> {
    let mut used = BTreeSet::new();
    let exprs = select
        .columns
        .iter()
        .map(|column| &column.expr)
        .chain(&select.condition)
        .chain(&select.group_by)
        .chain(&select.having)
        .chain(select.order_by.iter().map(|key| &key.expr))
        .chain(select.streams.iter().filter_map(|stream| stream.on.as_ref()))
        .chain(
            select
                .aggregates
                .iter()
                .flat_map(|aggregate| aggregate.arguments.iter().chain(&aggregate.filter)),
        );
    exprs.for_each(|expr| columns_of(expr, &mut used));
    let mut parts = Vec::new();
    let whole = |stream: &StreamPlan| (0..stream.event_type.types().len()).collect::<Vec<_>>();
    for (index, stream) in select.streams.iter().enumerate() {
        match &stream.source {
            SourcePlan::Events(filter) => {
                // A measure, a subquery or a row taken whole may need any column.
                let all = select.match_recognize.is_some()
                    || !select.subqueries.is_empty()
                    || used.contains(&(index, usize::MAX))
                    || stream.window.as_ref().is_some_and(|window| !by_time(Some(window)));
                let columns = if all {
                    whole(stream)
                } else {
                    used.iter()
                        .filter(|(of, _)| *of == index)
                        .map(|(_, column)| *column)
                        .collect()
                };
                parts.push(LocalPart {
                    stream: index,
                    event_type: filter.event_type,
                    conditions: filter.conditions.clone(),
                    columns,
                    key: Vec::new(),
                });
            }
            SourcePlan::Pattern(pattern) => {
                for filter in filters(&pattern.root) {
                    let columns = filter.1.event_type_columns(pattern, filter.0, &used);
                    parts.push(LocalPart {
                        stream: parts.len(),
                        event_type: filter.1.event_type,
                        conditions: filter.1.conditions.clone(),
                        columns,
                        key: Vec::new(),
                    });
                }
            }
            SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. } => {}
        }
    }
    parts
}

impl super::FilterPlan {
    /// The columns of a pattern's event that anything looks at.
    fn event_type_columns(
        &self,
        pattern: &PatternPlan,
        tag: Option<usize>,
        used: &BTreeSet<(usize, usize)>,
    ) -> Vec<usize> {
        let mut columns = BTreeSet::new();
        let own = self.equal.iter().flat_map(|(own, _)| [own]).chain(&self.correlated);
        let mut seen = BTreeSet::new();
        own.for_each(|expr| columns_of(expr, &mut seen));
        columns.extend(
            seen.into_iter()
                .filter(|(stream, _)| *stream == 0)
                .map(|(_, column)| column),
        );
        if let Some(tag) = tag {
            if used.contains(&(tag, usize::MAX)) {
                return (0..pattern.tags[tag].event_type.types().len()).collect();
            }
            columns.extend(
                used.iter()
                    .filter(|(stream, _)| *stream == tag)
                    .map(|(_, column)| *column),
            );
            // What later filters compare with.
            for (_, filter) in filters(&pattern.root) {
                let mut seen = BTreeSet::new();
                let exprs = filter.equal.iter().map(|(_, other)| other).chain(&filter.correlated);
                exprs.for_each(|expr| columns_of(expr, &mut seen));
                columns.extend(
                    seen.into_iter()
                        .filter(|(stream, _)| *stream == tag + 1)
                        .map(|(_, column)| column),
                );
            }
        }
        columns.remove(&usize::MAX);
        columns.into_iter().collect()
    }
}

/// The filters of a pattern with their tags, in order.
fn filters(node: &PatternNode) -> Vec<(Option<usize>, &super::FilterPlan)> {
    match node {
        PatternNode::Filter { tag, filter } => vec![(*tag, filter)],
        PatternNode::FollowedBy(nodes) | PatternNode::And(nodes) | PatternNode::Or(nodes) => {
            nodes.iter().flat_map(filters).collect()
        }
        PatternNode::Every(inner)
        | PatternNode::Not(inner)
        | PatternNode::EveryDistinct { inner, .. }
        | PatternNode::Within { inner, .. }
        | PatternNode::While { inner, .. }
        | PatternNode::Repeat { inner, .. } => filters(inner),
        PatternNode::Until { inner, end, .. } => filters(inner).into_iter().chain(filters(end)).collect(),
        PatternNode::IntervalMs(_) => Vec::new(),
    }
}

type Keys = Result<Vec<Vec<Expr>>, String>;

fn one_worker(reason: &str) -> Keys {
    Err(reason.to_owned())
}

/// Those positions of the keys that are one expression for all streams of an event type, computed from a row alone: a row goes
/// to one worker only.
fn one_key_for_each_type(local: &[LocalPart], keys: Vec<Vec<Expr>>) -> Keys {
    let Some(width) = keys.first().map(Vec::len) else {
        return Ok(keys);
    };
    let fits = |position: &usize| {
        let parts = || {
            local
                .iter()
                .zip(&keys)
                .map(|(part, key)| (part.event_type, key.get(*position)))
        };
        parts().all(|(event_type, key)| {
            key.is_some_and(|key| Scalar::new(key).is_some())
                && parts().all(|(other_type, other)| other_type != event_type || other == key)
        })
    };
    let positions: Vec<usize> = (0..width).filter(fits).collect();
    if local.len() != keys.len() || positions.is_empty() {
        return one_worker("rows of one event type would have to go to two workers");
    }
    let keys = keys.iter();
    let keys = keys.map(|key| positions.iter().map(|&position| key[position].clone()).collect());
    Ok(keys.collect())
}

/// The key of each local part; none if nothing need be exchanged.
fn keys(select: &SelectPlan, plan: &StatementPlan) -> Keys {
    if select.into_table.is_some() {
        return one_worker("it feeds a table that other statements read");
    }
    if !select.subqueries.is_empty() {
        return one_worker("its subquery looks at rows of any key");
    }
    if select
        .streams
        .iter()
        .any(|stream| matches!(stream.source, SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. }))
    {
        return one_worker("it reads a window or table that other statements fill");
    }
    if select.distinct {
        return one_worker("its rows are distinct over all keys");
    }
    let eager = |stream: &StreamPlan| matches!(stream.window, Some(WindowPlan::TimeBatch { force_update: true, .. }));
    if select.streams.iter().any(eager) {
        return one_worker("its empty batches are those of all keys");
    }
    if select.output.as_ref().is_some_and(|output| output.after.is_some()) {
        return one_worker("its output begins after rows of all keys");
    }
    let cut = !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0;
    if plan.context.is_some() {
        return one_worker("the partitions of its context give their rows together");
    }
    let forgets = |aggregate: &Aggregate| {
        use AggregateFunction as F;
        matches!(
            aggregate.function,
            F::Count | F::Sum | F::Avg | F::Min | F::Max | F::Stddev | F::Median | F::Avedev | F::First | F::Last
        )
    };
    if !select.aggregates.iter().all(forgets) {
        return one_worker("an aggregate of it remembers more than the rows of its window");
    }
    match select.streams.as_slice() {
        [stream] => match &stream.source {
            SourcePlan::Pattern(pattern) => {
                if stream.window.is_some() || select.result != ResultKind::Rows || select.output.is_some() {
                    return one_worker("its matches of all keys are gathered");
                }
                if cut {
                    return one_worker("matches of all keys are ordered or counted");
                }
                pattern_keys(pattern)
            }
            _ => stream_keys(select, stream),
        },
        streams => join_keys(select, streams),
    }
}

fn stream_keys(select: &SelectPlan, stream: &StreamPlan) -> Keys {
    if let Some(matching) = &select.match_recognize {
        if matching.partition_by.is_empty() {
            return one_worker("match_recognize without 'partition by' looks at the order of all rows");
        }
        if !by_time(stream.window.as_ref()) {
            return one_worker("its window counts rows of all keys");
        }
        if matching.interval_ms.is_some() {
            return one_worker("the intervals of all keys share a timer");
        }
        if matching.previous_rows > 0 {
            return one_worker("how long 'prev' sees a row of a key depends on how many keys there are");
        }
        if select.output.is_some() || !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0 {
            return one_worker("its matches of all keys are gathered");
        }
        return Ok(vec![matching.partition_by.clone()]);
    }
    if stream.uses_previous {
        return one_worker("'prev' looks at the order of all rows");
    }
    if !by_time(stream.window.as_ref()) {
        return one_worker("its window depends on rows of all keys");
    }
    match select.result {
        ResultKind::Rows if stream.window.is_none() && select.output.is_none() && !select.distinct => Ok(Vec::new()),
        ResultKind::Rows => one_worker("its deliveries gather rows of all keys"),
        ResultKind::OneRow | ResultKind::RowPerEvent => one_worker("it has one result over all rows"),
        ResultKind::RowPerGroup | ResultKind::GroupedRowPerEvent => {
            if matches!(&select.output, Some(output) if matches!(output.when, OutputMoment::EveryEvents(_))) {
                return one_worker("its output counts events of all keys");
            }
            let cut = !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0;
            let decided = |key: &Expr| select.order_by.iter().any(|order| order.expr == *key);
            if cut && (select.result != ResultKind::RowPerGroup || !select.group_by.iter().all(decided)) {
                return one_worker("what its order leaves equal follows the order of all rows");
            }
            Ok(vec![select.group_by.clone()])
        }
    }
}

/// Equalities between streams: each stream's side of those that tie all together.
fn join_keys(select: &SelectPlan, streams: &[StreamPlan]) -> Keys {
    if streams.iter().any(|stream| {
        !by_time(stream.window.as_ref())
            || matches!(stream.window, Some(WindowPlan::TimeBatch { .. }))
            || matches!(stream.source, SourcePlan::Pattern(_))
    }) {
        return one_worker("a window of the join depends on rows of all keys");
    }
    let cut = !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0;
    if !matches!(select.result, ResultKind::Rows) || select.output.is_some() || cut {
        return one_worker("its deliveries gather rows of all keys");
    }
    let outer = streams
        .iter()
        .any(|stream| !matches!(stream.join, JoinKind::Comma | JoinKind::Inner));
    let from_where = if outer { None } else { select.condition.clone() };
    let conditions = streams.iter().filter_map(|stream| stream.on.clone()).chain(from_where);
    let mut equalities = Vec::new();
    for part in conditions.flat_map(conjuncts) {
        if let Node::Compare(BinaryOp::Equal, left, right) = part.node
            && let (Node::Column { stream: a, column: x }, Node::Column { stream: b, column: y }) =
                (&left.node, &right.node)
        {
            equalities.push(((*a, *x, left.of.clone()), (*b, *y, right.of.clone())));
        }
    }
    // One column of the first stream to which a column of every other is equal.
    for (a, b) in equalities.iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
        let _ = b;
        if a.0 != 0 {
            continue;
        }
        let tied = (1..streams.len()).map(|stream| {
            equalities.iter().find_map(|(left, right)| match () {
                () if left == a && right.0 == stream => Some(right),
                () if right == a && left.0 == stream => Some(left),
                () => None,
            })
        });
        if let Some(tied) = tied.collect::<Option<Vec<_>>>() {
            let key = |(_, column, of): &(usize, usize, crate::value::Type)| {
                vec![Expr {
                    node: Node::Column {
                        stream: 0,
                        column: *column,
                    },
                    of: of.clone(),
                }]
            };
            return Ok(std::iter::once(a).chain(tied).map(key).collect());
        }
    }
    one_worker("no equality ties all of its streams")
}

/// `every a -> b(x = a.x) -> c(x = a.x)`: each start is an instance of its own, and all of its events are tied to the first.
fn pattern_keys(pattern: &PatternPlan) -> Keys {
    let reason = "an event of the pattern is not tied to the first by an equality";
    if pattern.suppress_overlapping || pattern.discard_partials {
        return one_worker("what its matches have in common is looked at");
    }
    let steps: &[PatternNode] = match &pattern.root {
        PatternNode::FollowedBy(steps) => steps,
        PatternNode::Every(inner) if matches!(inner.as_ref(), PatternNode::Filter { .. }) => return Ok(Vec::new()),
        _ => return one_worker("its instances wait for one another"),
    };
    let Some(PatternNode::Every(first)) = steps.first() else {
        return one_worker("without 'every' there is one instance for all keys");
    };
    let PatternNode::Filter { tag: Some(first), .. } = first.as_ref() else {
        return one_worker("the pattern does not start with one tagged event");
    };
    let mut keys: Vec<Vec<Expr>> = Vec::new();
    let mut start: Option<Vec<Expr>> = None;
    for (_, filter) in steps.iter().skip(1).flat_map(filters) {
        let mut sides: Vec<(Expr, Expr)> = Vec::new();
        for (own, other) in &filter.equal {
            if let Node::Column { stream, column } = &other.node
                && *stream == first + 1
                && matches!(own.node, Node::Column { .. })
            {
                let other = Expr {
                    node: Node::Column {
                        stream: 0,
                        column: *column,
                    },
                    of: other.of.clone(),
                };
                sides.push((other, own.clone()));
            }
        }
        let wanted = start.get_or_insert_with(|| sides.iter().map(|(other, _)| other.clone()).collect());
        // Only what all events are tied by.
        wanted.retain(|key| sides.iter().any(|(other, _)| other == key));
        if wanted.is_empty() {
            return one_worker(reason);
        }
    }
    let Some(start) = start else { return one_worker(reason) };
    keys.push(start.clone());
    for (_, filter) in steps.iter().skip(1).flat_map(filters) {
        let own = start.iter().filter_map(|key| {
            filter
                .equal
                .iter()
                .find_map(|(own, other)| match (&other.node, &key.node) {
                    (Node::Column { column: a, .. }, Node::Column { column: b, .. }) if a == b => Some(own.clone()),
                    _ => None,
                })
        });
        keys.push(own.collect());
    }
    Ok(keys)
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("none: each row is answered where it is"),
            Self::ByKey => f.write_str("by key"),
            Self::OneWorker(reason) => write!(f, "one worker: {reason}"),
        }
    }
}
