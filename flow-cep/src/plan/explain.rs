//! A plan in words: what a statement does, where, with which state and at what cost.

use std::fmt::{self, Display, Formatter, Write};

use super::split::{Exchange, Halves};
use super::{
    Action, Catalog, ContextKind, ContextPoint, FilterPlan, InsertTarget, OnActionPlan, OrderKey, OutputDelay,
    OutputMoment, PatternNode, ResultKind, ScopeStream, SelectPlan, SourcePlan, StatementPlan, StreamPlan, Unbounded,
    WindowPlan,
};
use crate::column::by_column;
use crate::expr::{
    Aggregate, AggregateFunction, Expr, Function, LikePattern, Node, RegexpPattern, function::FUNCTIONS,
};
use crate::syntax::ast::{OutputKind, StreamSelector, TimeUnit};
use crate::value::{Value, address_of};

/// An explanation, line by line: a topic and what there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The statement's name.
    pub statement: String,
    /// Topics and texts.
    pub lines: Vec<(&'static str, String)>,
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.statement)?;
        for (topic, text) in &self.lines {
            writeln!(f, "  {topic:<10} {text}")?;
        }
        Ok(())
    }
}

/// How costly a statement is for each row of its streams, in rough classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cost {
    /// Only its filters.
    Filter,
    /// A few sums, or a row kept.
    Constant,
    /// A look-up by key.
    Hash,
    /// A look-up in an order.
    Ordered,
    /// As many as there are partners or waiting instances.
    Partners,
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "the filters only",
            Self::Constant => "constant: a row kept or a few sums",
            Self::Hash => "a look-up by key",
            Self::Ordered => "a place in an order, by the logarithm of what is kept",
            Self::Partners => "by the number of partners or waiting instances of the row's key",
        })
    }
}

/// Explains a planned statement by itself.
#[must_use]
pub fn explain(plan: &StatementPlan, catalog: &Catalog) -> Explanation {
    explain_halves(plan, catalog, Halves::of(plan).as_ref())
}

fn explain_halves(plan: &StatementPlan, catalog: &Catalog, halves: Option<&Halves>) -> Explanation {
    let mut lines = Vec::new();
    if let Some(context) = plan.context {
        lines.push(("context", catalog.contexts[context].name.clone()));
    }
    match &plan.action {
        Action::Select(select) => {
            select_lines(select, catalog, &mut lines);
            if let Some(halves) = halves {
                lines.push(("workers", halves_text(halves, catalog)));
            }
        }
        Action::CreateWindow(id) => {
            let window = &catalog.windows[*id];
            lines.push((
                "window",
                format!(
                    "{}: {}",
                    window.event_type,
                    window_text(&window.window, &[ScopeStream::of(&window.event_type)], catalog)
                ),
            ));
        }
        Action::CreateTable(id) => {
            let table = &catalog.tables[*id];
            lines.push(("table", table.event_type.to_string()));
            let keys: Vec<_> = table.keys.iter().map(|key| table.columns[*key].name.as_str()).collect();
            lines.push((
                "key",
                if keys.is_empty() {
                    "none: one row".to_owned()
                } else {
                    keys.join(", ")
                },
            ));
        }
        Action::CreateContext(id) => lines.push(("partitions", context_text(&catalog.contexts[*id].kind, catalog))),
        Action::CreateVariable(id) => {
            let variable = &catalog.variables[*id];
            let kind = if variable.constant { "constant" } else { "variable" };
            lines.push((kind, format!("{} {} = {}", variable.of, variable.name, variable.value)));
        }
        Action::CreateSchema(id) => lines.push(("event type", catalog.event_types[*id].to_string())),
        Action::On(on) => {
            lines.push(("trigger", source_text(&on.trigger, catalog)));
            if let Some(target) = on.target {
                lines.push(("acts on", target_name(target, catalog).to_owned()));
            }
            let what = match &on.action {
                OnActionPlan::Delete => "deletes the rows".to_owned(),
                OnActionPlan::Select { select, delete } => {
                    format!(
                        "selects {}{}",
                        select.output_type,
                        if *delete { " and deletes the rows" } else { "" }
                    )
                }
                OnActionPlan::Update(columns) => format!("changes {} columns", columns.len()),
                OnActionPlan::Merge(clauses) => format!("merges by {} clauses", clauses.len()),
                OnActionPlan::Set(variables) => format!("sets {} variables", variables.len()),
            };
            lines.push(("action", what));
            if let Some(condition) = &on.condition {
                lines.push(("where", text(condition, &on.scope, &[], catalog)));
            }
            let cost = if on.condition.is_none() || !on.equal.is_empty() {
                Cost::Hash
            } else {
                Cost::Partners
            };
            lines.push(("cost/flow", cost.to_string()));
        }
    }
    if !plan.unbounded.is_empty() {
        let grows: Vec<_> = plan
            .unbounded
            .iter()
            .map(|unbounded| unbounded_text(*unbounded))
            .collect();
        lines.push((
            "grows",
            format!(
                "{}; up to the engine's limit, then refused and counted",
                grows.join(", ")
            ),
        ));
    }
    Explanation {
        statement: plan.name.clone(),
        lines,
    }
}

/// Explains statements that run together, and tells of each that selects how it runs.
#[must_use]
pub fn explain_all(plans: &[StatementPlan], catalog: &Catalog) -> Vec<Explanation> {
    let forms = by_column(plans, catalog);
    let halves = Halves::of_module(plans, catalog);
    let explained = plans.iter().zip(forms).zip(halves).map(|((plan, by_column), halves)| {
        let mut explanation = explain_halves(plan, catalog, halves.as_ref());
        if let Action::Select(_) = &plan.action {
            let form = if by_column { "by column" } else { "by row" };
            explanation.lines.push(("runs", form.to_owned()));
        }
        explanation
    });
    explained.collect()
}

const fn unbounded_text(unbounded: Unbounded) -> &'static str {
    match unbounded {
        Unbounded::Groups => "groups without a window",
        Unbounded::Patterns => "pattern instances without 'timer:within'",
        Unbounded::Rows => "rows of a window without a bound",
        Unbounded::Partitions => "partitions of the context, one for each key ever seen",
        Unbounded::Matches => "partial matches without a window",
    }
}

fn select_lines(select: &SelectPlan, catalog: &Catalog, lines: &mut Vec<(&'static str, String)>) {
    let show = |expr: &Expr| text(expr, &select.scope, &select.aggregates, catalog);
    for stream in &select.streams {
        lines.push(("stream", source_text(stream, catalog)));
        if let Some(window) = &stream.window {
            let scope = if select.streams.len() == 1 && select.match_recognize.is_none() {
                select.scope.clone()
            } else {
                vec![ScopeStream::of(&stream.event_type)]
            };
            lines.push(("window", window_text(window, &scope, catalog)));
        }
        if let Some(on) = &stream.on {
            lines.push(("join on", show(on)));
        }
    }
    if let Some(matching) = &select.match_recognize {
        let scope = vec![ScopeStream::of(&select.streams[0].event_type)];
        let keys: Vec<_> = matching
            .partition_by
            .iter()
            .map(|key| text(key, &scope, &[], catalog))
            .collect();
        lines.push((
            "matches",
            format!(
                "{} variables, by {}",
                matching.variables.len(),
                if keys.is_empty() {
                    "all rows".to_owned()
                } else {
                    keys.join(", ")
                }
            ),
        ));
    }
    if let Some(condition) = &select.condition {
        lines.push(("where", show(condition)));
    }
    if !select.group_by.is_empty() {
        lines.push(("key", select.group_by.iter().map(show).collect::<Vec<_>>().join(", ")));
    }
    if !select.aggregates.is_empty() {
        let aggregates = select
            .aggregates
            .iter()
            .map(|aggregate| aggregate_text(aggregate, &select.scope, catalog));
        lines.push(("aggregates", aggregates.collect::<Vec<_>>().join(", ")));
    }
    let columns: Vec<_> = select
        .columns
        .iter()
        .map(|column| format!("{} {}", column.name, column.expr.of))
        .collect();
    let rows = match select.result {
        ResultKind::Rows => "each row",
        ResultKind::OneRow => "one row for all",
        ResultKind::RowPerEvent => "one row for each event, with the totals so far",
        ResultKind::RowPerGroup => "one row for each group",
        ResultKind::GroupedRowPerEvent => "one row for each event, with its group's totals",
    };
    lines.push(("result", format!("{rows}: {}", columns.join(", "))));
    if let Some(having) = &select.having {
        lines.push(("having", show(having)));
    }
    let mut when = match select.selector {
        StreamSelector::Insert => String::new(),
        StreamSelector::Remove => "rows that leave; ".to_owned(),
        StreamSelector::Both => "rows that enter and leave; ".to_owned(),
    };
    when.push_str(&output_text(select));
    if !select.order_by.is_empty() {
        let keys = select
            .order_by
            .iter()
            .map(|key| format!("{}{}", show(&key.expr), if key.descending { " desc" } else { "" }));
        let _ = write!(when, ", ordered by {}", keys.collect::<Vec<_>>().join(", "));
    }
    if let Some(limit) = select.limit {
        let _ = write!(when, ", at most {limit} rows");
    }
    if select.offset > 0 {
        let _ = write!(when, " after the first {}", select.offset);
    }
    lines.push(("output", when));
    if let Some(insert) = &select.insert {
        lines.push(("inserts", target_name(insert.target, catalog).to_owned()));
    }
    if let Some(into) = &select.into_table {
        lines.push(("into table", catalog.tables[into.table].name.clone()));
    }
    lines.push(("state", state_text(select)));
    lines.push(("cost/flow", cost(select).to_string()));
}

fn output_text(select: &SelectPlan) -> String {
    let Some(output) = &select.output else {
        let batch = select.streams.iter().any(|stream| {
            matches!(
                stream.window,
                Some(
                    WindowPlan::TimeBatch { .. }
                        | WindowPlan::LengthBatch(_)
                        | WindowPlan::ExtTimedBatch { .. }
                        | WindowPlan::TimeLengthBatch { .. }
                )
            )
        });
        return if batch { "with each batch" } else { "at once" }.to_owned();
    };
    let kind = match output.kind {
        OutputKind::Default => "every row",
        OutputKind::All => "all",
        OutputKind::First => "the first",
        OutputKind::Last => "the last",
        OutputKind::Snapshot => "a snapshot",
    };
    let when = match output.when {
        OutputMoment::Always => String::new(),
        OutputMoment::EveryMs(ms) => format!(" every {}, from the first row on", period(ms)),
        OutputMoment::EveryEvents(count) => format!(" every {count} events"),
        OutputMoment::Terminated => " when the context's partition ends".to_owned(),
    };
    let after = match output.after {
        None => String::new(),
        Some(OutputDelay::Ms(ms)) => format!(", not before {}", period(ms)),
        Some(OutputDelay::Events(count)) => format!(", not before {count} events"),
    };
    let also = if output.and_when_terminated {
        ", and when the partition ends"
    } else {
        ""
    };
    format!("{kind}{when}{after}{also}")
}

/// Milliseconds as a period of the language.
fn period(ms: i64) -> String {
    let mut rest = ms;
    let mut parts = Vec::new();
    for (unit, length) in [
        (TimeUnit::Day, 86_400_000),
        (TimeUnit::Hour, 3_600_000),
        (TimeUnit::Minute, 60_000),
        (TimeUnit::Second, 1000),
        (TimeUnit::Millisecond, 1),
    ] {
        if rest >= length {
            parts.push(format!("{} {unit}", rest / length));
            rest %= length;
        }
    }
    parts.join(" ")
}

fn state_text(select: &SelectPlan) -> String {
    let mut parts = Vec::new();
    for stream in &select.streams {
        match &stream.window {
            Some(WindowPlan::LastEvent | WindowPlan::FirstEvent) => parts.push("one row".to_owned()),
            Some(WindowPlan::Length(n) | WindowPlan::LengthBatch(n) | WindowPlan::FirstLength(n)) => {
                parts.push(format!("at most {n} rows"))
            }
            Some(WindowPlan::Sort { length, .. } | WindowPlan::Rank { length, .. }) => {
                parts.push(format!("at most {length} rows"))
            }
            Some(WindowPlan::Time(ms) | WindowPlan::TimeBatch { ms, .. }) => {
                parts.push(format!("the rows of {}", period(*ms)))
            }
            Some(WindowPlan::Unique(_) | WindowPlan::FirstUnique(_)) => parts.push("one row for each key".to_owned()),
            Some(_) => parts.push("the window's rows".to_owned()),
            None => {}
        }
        if matches!(stream.source, SourcePlan::Pattern(_)) {
            parts.push("the pattern's waiting instances".to_owned());
        }
    }
    if !select.aggregates.is_empty() {
        let groups = if select.group_by.is_empty() {
            "one set"
        } else {
            "a set for each group"
        };
        let values = select.aggregates.iter().any(|aggregate| {
            aggregate.distinct
                || matches!(
                    aggregate.function,
                    AggregateFunction::Median
                        | AggregateFunction::Avedev
                        | AggregateFunction::Min
                        | AggregateFunction::Max
                        | AggregateFunction::Window
                )
        });
        let detail = if values { ", with the values in it" } else { "" };
        parts.push(format!("{groups} of {} aggregates{detail}", select.aggregates.len()));
    }
    if select.match_recognize.is_some() {
        parts.push("partial matches".to_owned());
    }
    if !select.subqueries.is_empty() {
        parts.push(format!("the windows of {} subqueries", select.subqueries.len()));
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join("; ")
    }
}

pub(crate) fn cost(select: &SelectPlan) -> Cost {
    let mut cost = Cost::Filter;
    for stream in &select.streams {
        cost = cost.max(match &stream.source {
            SourcePlan::Pattern(_) => Cost::Partners,
            _ => Cost::Filter,
        });
        cost = cost.max(match &stream.window {
            None => Cost::Filter,
            Some(WindowPlan::Unique(_) | WindowPlan::FirstUnique(_)) => Cost::Hash,
            Some(
                WindowPlan::Sort { .. }
                | WindowPlan::Rank { .. }
                | WindowPlan::TimeOrder { .. }
                | WindowPlan::TimeToLive(_),
            ) => Cost::Ordered,
            Some(_) => Cost::Constant,
        });
    }
    if select.streams.len() > 1 || select.match_recognize.is_some() || !select.subqueries.is_empty() {
        cost = cost.max(Cost::Partners);
    }
    if !select.group_by.is_empty() || select.aggregates.iter().any(|aggregate| aggregate.distinct) {
        cost = cost.max(Cost::Hash);
    } else if !select.aggregates.is_empty() {
        cost = cost.max(Cost::Constant);
    }
    let ordered = |aggregate: &Aggregate| {
        matches!(
            aggregate.function,
            AggregateFunction::Median
                | AggregateFunction::Avedev
                | AggregateFunction::Min
                | AggregateFunction::Max
                | AggregateFunction::MinBy
                | AggregateFunction::MaxBy
        )
    };
    if select.aggregates.iter().any(ordered) {
        cost.max(Cost::Ordered)
    } else {
        cost
    }
}

fn halves_text(halves: &Halves, catalog: &Catalog) -> String {
    let mut out = match &halves.exchange {
        Exchange::Nowhere => return "any number; each row is answered where it is".to_owned(),
        Exchange::OneWorker(reason) => return format!("one after the filters: {reason}"),
        Exchange::ByKey => "any number; rows exchanged by ".to_owned(),
    };
    let mut keys: Vec<String> = Vec::new();
    for part in &halves.local {
        let scope = vec![ScopeStream::of(&catalog.event_types[part.event_type])];
        let key = part
            .key
            .iter()
            .map(|key| text(key, &scope, &[], catalog))
            .collect::<Vec<_>>()
            .join(", ");
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    out.push_str(&keys.join(" = "));
    if halves.anchored {
        out.push_str("; the first row's time is agreed upon");
    }
    if halves.merged {
        out.push_str("; results merged by one");
    }
    out
}

fn target_name(target: InsertTarget, catalog: &Catalog) -> &str {
    match target {
        InsertTarget::Events(id) => catalog.event_types[id].name(),
        InsertTarget::Window(id) => &catalog.windows[id].name,
        InsertTarget::Table(id) => &catalog.tables[id].name,
    }
}

fn conditions_text(conditions: &[Expr], scope: &[ScopeStream], catalog: &Catalog) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    let parts: Vec<_> = conditions
        .iter()
        .map(|condition| text(condition, scope, &[], catalog))
        .collect();
    format!(" where {}", parts.join(" and "))
}

fn source_text(stream: &StreamPlan, catalog: &Catalog) -> String {
    match &stream.source {
        SourcePlan::Events(filter) => filter_text(filter, &[], catalog),
        SourcePlan::NamedWindow { window, conditions } => {
            let window = &catalog.windows[*window];
            format!(
                "window {}{}",
                window.name,
                conditions_text(conditions, &[ScopeStream::of(&window.event_type)], catalog)
            )
        }
        SourcePlan::Table { table, conditions } => {
            let table = &catalog.tables[*table];
            format!(
                "table {}{}",
                table.name,
                conditions_text(conditions, &[ScopeStream::of(&table.event_type)], catalog)
            )
        }
        SourcePlan::Pattern(pattern) => format!("pattern {}", pattern_text(&pattern.root, &pattern.tags, catalog)),
    }
}

fn filter_text(filter: &FilterPlan, tags: &[ScopeStream], catalog: &Catalog) -> String {
    let event_type = &catalog.event_types[filter.event_type];
    let mut scope = vec![ScopeStream::of(event_type)];
    scope.extend(tags.iter().cloned());
    let mut parts: Vec<String> = filter
        .conditions
        .iter()
        .map(|condition| text(condition, &scope, &[], catalog))
        .collect();
    parts.extend(filter.equal.iter().map(|(own, other)| {
        format!(
            "{} = {}",
            text(own, &scope, &[], catalog),
            text(other, &scope, &[], catalog)
        )
    }));
    parts.extend(
        filter
            .correlated
            .iter()
            .map(|condition| text(condition, &scope, &[], catalog)),
    );
    if parts.is_empty() {
        event_type.name().to_owned()
    } else {
        format!("{}({})", event_type.name(), parts.join(", "))
    }
}

fn pattern_text(node: &PatternNode, tags: &[ScopeStream], catalog: &Catalog) -> String {
    let show = |node: &PatternNode| pattern_text(node, tags, catalog);
    let several =
        |nodes: &[PatternNode], word: &str| format!("({})", nodes.iter().map(show).collect::<Vec<_>>().join(word));
    match node {
        PatternNode::Filter { tag, filter } => {
            let tag = tag.and_then(|tag| tags.get(tag)).and_then(|tag| tag.name.as_deref());
            let filter = filter_text(filter, tags, catalog);
            tag.map_or_else(|| filter.clone(), |tag| format!("{tag}={filter}"))
        }
        PatternNode::Every(inner) => format!("every {}", show(inner)),
        PatternNode::EveryDistinct { inner, .. } => format!("every-distinct {}", show(inner)),
        PatternNode::FollowedBy(nodes) => several(nodes, " -> "),
        PatternNode::And(nodes) => several(nodes, " and "),
        PatternNode::Or(nodes) => several(nodes, " or "),
        PatternNode::Not(inner) => format!("not {}", show(inner)),
        PatternNode::IntervalMs(ms) => format!("after {}", period(*ms)),
        PatternNode::Within { ms, inner, .. } => format!("{} within {}", show(inner), period(*ms)),
        PatternNode::While { inner, .. } => format!("{} while ..", show(inner)),
        PatternNode::Repeat { count, inner, .. } => format!("{count} times {}", show(inner)),
        PatternNode::Until { inner, end, .. } => format!("{} until {}", show(inner), show(end)),
    }
}

fn context_text(kind: &ContextKind, catalog: &Catalog) -> String {
    let point = |point: &ContextPoint| match point {
        ContextPoint::Now => "at once".to_owned(),
        ContextPoint::AfterMs(ms) => format!("after {}", period(*ms)),
        ContextPoint::Filter { filter, .. } => format!("with {}", filter_text(filter, &[], catalog)),
        ContextPoint::Pattern(pattern) => format!("with {}", pattern_text(&pattern.root, &pattern.tags, catalog)),
    };
    match kind {
        ContextKind::Keyed { streams, .. } => {
            let streams = streams.iter().map(|(filter, keys)| {
                let scope = vec![ScopeStream::of(&catalog.event_types[filter.event_type])];
                let keys: Vec<_> = keys.iter().map(|key| text(key, &scope, &[], catalog)).collect();
                format!("{} of {}", keys.join(", "), filter_text(filter, &[], catalog))
            });
            format!("one for each {}", streams.collect::<Vec<_>>().join(" = "))
        }
        ContextKind::StartEnd { start, end, initiated } => {
            let end = end
                .as_ref()
                .map_or_else(|| "never ends".to_owned(), |end| format!("ends {}", point(end)));
            let how = match initiated {
                None => "one at a time",
                Some(distinct) if distinct.is_empty() => "overlapping, one each time",
                Some(_) => "overlapping, one for each key",
            };
            format!("{how}: starts {}, {end}", point(start))
        }
        ContextKind::Hash { granularity, .. } => format!("{granularity} by hash"),
        ContextKind::Category { categories, .. } => categories
            .iter()
            .map(|(label, _)| label.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn window_text(window: &WindowPlan, scope: &[ScopeStream], catalog: &Catalog) -> String {
    let show = |expr: &Expr| text(expr, scope, &[], catalog);
    let list = |exprs: &[Expr]| exprs.iter().map(show).collect::<Vec<_>>().join(", ");
    let order = |keys: &[OrderKey]| {
        keys.iter()
            .map(|key| format!("{}{}", show(&key.expr), if key.descending { " desc" } else { "" }))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match window {
        WindowPlan::Time(ms) => format!("the last {}", period(*ms)),
        WindowPlan::TimeBatch { ms, reference_ms, .. } => {
            let grid = reference_ms.map_or("from the first row on", |_| "from the reference point on");
            format!("batches of {}, {grid}", period(*ms))
        }
        WindowPlan::ExtTimed { time, ms } => format!("the last {} by {}", period(*ms), show(time)),
        WindowPlan::ExtTimedBatch { time, ms, .. } => format!("batches of {} by {}", period(*ms), show(time)),
        WindowPlan::Length(n) => format!("the last {n} rows"),
        WindowPlan::LengthBatch(n) => format!("batches of {n} rows"),
        WindowPlan::TimeLengthBatch { ms, length, .. } => format!("batches of {} or {length} rows", period(*ms)),
        WindowPlan::KeepAll => "all rows".to_owned(),
        WindowPlan::Unique(keys) => format!("the last row for each {}", list(keys)),
        WindowPlan::FirstUnique(keys) => format!("the first row for each {}", list(keys)),
        WindowPlan::LastEvent => "the last row".to_owned(),
        WindowPlan::FirstEvent => "the first row".to_owned(),
        WindowPlan::FirstLength(n) => format!("the first {n} rows"),
        WindowPlan::FirstTime(ms) => format!("the first {}", period(*ms)),
        WindowPlan::Sort { length, keys } => format!("the {length} least rows by {}", order(keys)),
        WindowPlan::Rank { unique, length, keys } => format!(
            "the {length} least rows by {}, one for each {}",
            order(keys),
            list(unique)
        ),
        WindowPlan::TimeAccum(ms) => format!("rows until none comes for {}", period(*ms)),
        WindowPlan::TimeOrder { time, ms } => format!("the last {} ordered by {}", period(*ms), show(time)),
        WindowPlan::TimeToLive(time) => format!("rows until {}", show(time)),
    }
}

fn aggregate_text(aggregate: &Aggregate, scope: &[ScopeStream], catalog: &Catalog) -> String {
    let name = match aggregate.function {
        AggregateFunction::CountDistinctApprox => "count_distinct_approx".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let mut arguments: Vec<_> = aggregate
        .arguments
        .iter()
        .map(|argument| text(argument, scope, &[], catalog))
        .collect();
    if arguments.is_empty()
        && matches!(
            aggregate.function,
            AggregateFunction::Count | AggregateFunction::CountEver
        )
    {
        arguments.push("*".to_owned());
    }
    if let Some(filter) = &aggregate.filter {
        arguments.push(format!("filter: {}", text(filter, scope, &[], catalog)));
    }
    let distinct = if aggregate.distinct { "distinct " } else { "" };
    format!("{name}({distinct}{})", arguments.join(", "))
}

/// A typed expression in the language's own notation.
fn text(expr: &Expr, scope: &[ScopeStream], aggregates: &[Aggregate], catalog: &Catalog) -> String {
    let show = |expr: &Expr| text(expr, scope, aggregates, catalog);
    let list = |exprs: &[Expr]| exprs.iter().map(show).collect::<Vec<_>>().join(", ");
    let column = |stream: usize, index: Option<&Expr>, column: usize| {
        let Some(of) = scope.get(stream) else {
            return format!("{stream}.{column}");
        };
        let name = of
            .event_type
            .schema()
            .fields()
            .get(column)
            .map_or("?", |field| field.name().as_str());
        match (&of.name, index) {
            (Some(stream), Some(index)) => format!("{stream}[{}].{name}", show(index)),
            (Some(stream), None) if scope.len() > 1 => format!("{stream}.{name}"),
            _ => name.to_owned(),
        }
    };
    let negation = |negated: bool| if negated { " not" } else { "" };
    match &expr.node {
        Node::Literal(Value::Text(value)) => format!("'{value}'"),
        Node::Literal(Value::Long(value)) => value.to_string(),
        Node::Literal(value) => value.to_string(),
        Node::Column { stream, column: at } => column(*stream, None, *at),
        Node::Indexed {
            stream,
            index,
            column: at,
        } => column(*stream, Some(index), *at),
        Node::Row(stream) => scope
            .get(*stream)
            .and_then(|stream| stream.name.clone())
            .unwrap_or_else(|| "*".to_owned()),
        Node::Field(row, field) => match &row.of {
            crate::value::Type::Row(columns) => {
                format!("{}.{}", show(row), columns.get(*field).map_or("?", |(name, _)| name))
            }
            _ => show(row),
        },
        Node::Aggregate(slot) => aggregates.get(*slot).map_or_else(
            || format!("aggregate {slot}"),
            |aggregate| aggregate_text(aggregate, scope, catalog),
        ),
        Node::Now => "current_timestamp()".to_owned(),
        Node::Previous {
            kind,
            stream,
            offset,
            column: at,
        } => {
            format!(
                "{}({}, {})",
                format!("{kind:?}").to_lowercase(),
                show(offset),
                column(*stream, None, *at)
            )
        }
        Node::Subquery(slot) => format!("(subquery {slot})"),
        Node::Exists(slot) => format!("exists (subquery {slot})"),
        Node::InSubquery {
            operand,
            subquery,
            negated,
        } => {
            format!("{}{} in (subquery {subquery})", show(operand), negation(*negated))
        }
        Node::QuantifiedSubquery {
            operand,
            op,
            all,
            subquery,
        } => {
            format!(
                "{} {op} {} (subquery {subquery})",
                show(operand),
                if *all { "all" } else { "any" }
            )
        }
        Node::Quantified {
            operand,
            op,
            all,
            list: values,
        } => {
            format!(
                "{} {op} {} ({})",
                show(operand),
                if *all { "all" } else { "any" },
                list(values)
            )
        }
        Node::TableColumn { table, keys, column } => {
            let table = &catalog.tables[*table];
            format!("{}[{}].{}", table.name, list(keys), table.columns[*column].name)
        }
        Node::Context(property) => format!("context {property:?}"),
        Node::Variable(variable) => catalog.variables[*variable].name.clone(),
        Node::Negate(inner) => format!("-{}", show(inner)),
        Node::Not(inner) => match &inner.node {
            Node::IsNull(inner) => format!("{} is not null", show(inner)),
            _ => format!("not ({})", show(inner)),
        },
        Node::IsNull(inner) => format!("{} is null", show(inner)),
        Node::And(parts) => parts.iter().map(show).collect::<Vec<_>>().join(" and "),
        Node::Or(parts) => format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(" or ")),
        Node::Compare(op, left, right) => format!("{} {op} {}", show(left), show(right)),
        Node::Arithmetic(op, left, right) | Node::Bits(op, left, right) => {
            format!("({} {op} {})", show(left), show(right))
        }
        Node::Concat(left, right) => format!("{} || {}", show(left), show(right)),
        Node::InList {
            operand,
            list: values,
            negated,
        } => format!("{}{} in ({})", show(operand), negation(*negated), list(values)),
        Node::InRange {
            operand,
            low,
            high,
            low_included,
            high_included,
            negated,
        } => {
            let (open, close) = (
                if *low_included { '[' } else { '(' },
                if *high_included { ']' } else { ')' },
            );
            format!(
                "{}{} in {open}{}:{}{close}",
                show(operand),
                negation(*negated),
                show(low),
                show(high)
            )
        }
        Node::InNetworks {
            operand,
            networks,
            negated,
        } => {
            let networks = networks.iter().map(|network| {
                let host = 128 - (network.last ^ network.first).count_ones();
                match address_of(network.first.to_be_bytes()) {
                    std::net::IpAddr::V4(v4) => format!("{v4}/{}", host.saturating_sub(96)),
                    std::net::IpAddr::V6(v6) => format!("{v6}/{host}"),
                }
            });
            format!(
                "{}{} in ({})",
                show(operand),
                negation(*negated),
                networks.collect::<Vec<_>>().join(", ")
            )
        }
        Node::Like {
            operand,
            pattern,
            negated,
        } => match pattern {
            LikePattern::Constant(_) => format!("{}{} like ..", show(operand), negation(*negated)),
            LikePattern::Computed(pattern, _) => {
                format!("{}{} like {}", show(operand), negation(*negated), show(pattern))
            }
        },
        Node::Regexp {
            operand,
            pattern,
            negated,
        } => match pattern {
            RegexpPattern::Constant(_) => format!("{}{} regexp ..", show(operand), negation(*negated)),
            RegexpPattern::Computed(pattern) => {
                format!("{}{} regexp {}", show(operand), negation(*negated), show(pattern))
            }
        },
        Node::Case { branches, otherwise } => {
            let branches = branches
                .iter()
                .map(|(when, then)| format!(" when {} then {}", show(when), show(then)));
            format!("case{} else {} end", branches.collect::<String>(), show(otherwise))
        }
        Node::Coalesce(parts) => format!("coalesce({})", list(parts)),
        // What a comparison or a sum converts by itself is not worth a word.
        Node::Convert(inner) if inner.of.is_numeric() && expr.of.is_numeric() => show(inner),
        Node::Convert(inner) => format!("cast({}, {})", show(inner), expr.of),
        Node::Call(function, arguments) => format!("{}({})", function_name(*function), list(arguments)),
    }
}

fn function_name(function: Function) -> &'static str {
    FUNCTIONS
        .iter()
        .find(|signature| signature.function == function)
        .map_or("?", |signature| signature.name)
}
