//! Selects: their clauses, how rows become result rows, subqueries.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bind::{Aggregates, Binder, Result, columns_of, conjuncts, references};
use super::match_recognize::match_plan;
use super::naming::default_name;
use super::{
    Catalog, CatalogId, OrderKey, OutputColumn, OutputDelay, OutputMoment, OutputPlan, ResultKind, ScopeStream,
    SelectPlan, SourcePlan, StreamPlan, SubqueryPlan, Unbounded, WindowPlan, source,
};
use crate::error::Fault;
use crate::event_type::EventType;
use crate::expr::{AggregateFunction, Expr, Node};
use crate::syntax::ast::{
    BinaryOp, Expr as Syntax, ExprKind, GroupItem, JoinKind, OrderItem, Output, OutputAfter, OutputKind, OutputWhen,
    Select, SelectItem, Source,
};
use crate::value::Type;

/// Plans a select; where its rows go is added by the caller.
pub(super) fn select(catalog: &Catalog, context: Option<CatalogId>, syntax: &Select) -> Result<SelectPlan> {
    let mut streams = Vec::new();
    let mut scope = Vec::new();
    let mut subqueries = Vec::new();
    let alone = syntax.from.len() == 1;
    for item in &syntax.from {
        let (plan, names) = source::stream(catalog, context, item, alone, Some(&mut subqueries))?;
        if !alone
            && plan.window.is_none()
            && !plan.unidirectional
            && matches!(plan.source, SourcePlan::Events(_) | SourcePlan::Pattern(_))
            && !syntax.from.iter().any(|other| other.unidirectional)
        {
            return Err(Fault::invalid(
                item.span,
                "Joins require that at least one view is specified for each stream, no view was specified for this stream",
            )
            .with_hint(Some("give the stream a window, such as '#time(60 sec)' or '#lastevent'".to_owned())));
        }
        streams.push(plan);
        scope.extend(names);
    }
    if !alone {
        check_names(syntax, &scope)?;
    }
    let match_recognize = match &syntax.match_recognize {
        None => None,
        Some(matching) => {
            let plan = match_plan(catalog, context, matching, &scope, alone)?;
            scope = vec![ScopeStream {
                name: None,
                event_type: Arc::clone(&plan.output_type),
                many: false,
            }];
            Some(Box::new(plan))
        }
    };
    let pattern = alone && match_recognize.is_none() && matches!(syntax.from[0].source, Source::Pattern(_));
    let mut binder = Binder::new(catalog, context, scope);
    binder.subqueries = subqueries;
    if pattern {
        binder.unqualified = Vec::new();
    }
    for (item, stream) in syntax.from.iter().zip(&mut streams) {
        let Some(on) = &item.on else {
            if matches!(item.join, JoinKind::Left | JoinKind::Right | JoinKind::Full) && item.join != JoinKind::Inner {
                return Err(Fault::invalid(item.span, "An outer join needs its 'on' condition"));
            }
            continue;
        };
        stream.on = Some(binder.condition(on, "The condition of a join must return a boolean value")?);
    }
    let condition = where_clause(&mut binder, syntax.condition.as_ref())?;
    let mut plan = clauses(&mut binder, syntax, pattern)?;
    plan.condition = condition;
    check_output(syntax, &streams, context)?;
    for stream in &binder.uses_previous {
        // A pattern's or match's rows are one stream.
        if let Some(stream) = streams.get_mut(if alone { 0 } else { *stream }) {
            stream.uses_previous = true;
        }
    }
    if windowless(&streams) && match_recognize.is_none() {
        if binder
            .aggregates
            .iter()
            .any(|aggregate| aggregate.function == AggregateFunction::Window)
        {
            return Err(Fault::invalid(
                syntax.span,
                "The 'window' aggregation function requires that the aggregated events provide a remove stream; Please define a data window onto the stream or use 'firstever', 'lastever' or 'nth' instead",
            ));
        }
        // Without a window nothing leaves: Esper takes the first and last ever, which pass over nulls and have no index.
        for aggregate in &mut binder.aggregates {
            aggregate.function = match aggregate.function {
                AggregateFunction::First => AggregateFunction::FirstEver,
                AggregateFunction::Last => AggregateFunction::LastEver,
                _ => continue,
            };
            aggregate.arguments.truncate(1);
        }
    }
    plan.match_recognize = match_recognize;
    plan.streams = streams;
    plan.scope = binder.streams;
    plan.aggregates = binder.aggregates;
    plan.subqueries = binder.subqueries;
    Ok(plan)
}

/// Whether rows only come and never leave.
fn windowless(streams: &[StreamPlan]) -> bool {
    streams.iter().all(|stream| {
        stream.window.is_none() && matches!(stream.source, SourcePlan::Events(_) | SourcePlan::Pattern(_))
    })
}

fn check_names(syntax: &Select, scope: &[ScopeStream]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (item, stream) in syntax.from.iter().zip(scope) {
        let name = stream
            .name
            .clone()
            .unwrap_or_else(|| stream.event_type.name().to_owned());
        if !seen.insert(name.clone()) {
            return Err(Fault::invalid(item.span, format!("Duplicate stream name '{name}'"))
                .with_hint(Some("give each stream a name of its own with 'as'".to_owned())));
        }
    }
    Ok(())
}

fn where_clause(binder: &mut Binder<'_>, condition: Option<&Syntax>) -> Result<Option<Expr>> {
    let Some(condition) = condition else { return Ok(None) };
    binder.aggregation = Aggregates::Refused;
    binder
        .condition(
            condition,
            "The where-clause filter expression must return a boolean value",
        )
        .map_err(|fault| {
            if fault.message.starts_with("Aggregation") {
                fault
            } else {
                fault.within("Failed to validate expression")
            }
        })
        .map(Some)
}

/// The select list, groups, having, output, order and limit, over streams already in the binder.
pub(super) fn clauses(binder: &mut Binder<'_>, syntax: &Select, pattern: bool) -> Result<SelectPlan> {
    let group_by = group_by(binder, &syntax.group_by)?;
    binder.aggregation = Aggregates::Allowed;
    let (columns, wildcard) = items(binder, syntax, pattern)?;
    let having = match &syntax.having {
        None => None,
        Some(having) => Some(binder.condition(having, "The having-clause expression must return a boolean value")?),
    };
    let order_by = order_by(binder, syntax, &columns)?;
    let limit = match &syntax.limit {
        None => None,
        Some(limit) => Some(limit_count(binder, limit)?).flatten(),
    };
    let offset = match &syntax.offset {
        None => 0,
        Some(offset) => binder.count(offset, "An offset", 0)?,
    };
    let output = match &syntax.output {
        None => None,
        Some(output) => Some(output_plan(binder, output)?),
    };
    if let (Some(syntax), Some(having), false) = (&syntax.having, &having, group_by.is_empty()) {
        check_having(binder, syntax, having, &group_by)?;
    }
    let result = result_kind(binder, &group_by, &columns, wildcard, having.as_ref(), &order_by);
    // Esper never limits the one row of a statement without groups.
    let (limit, offset) = if result == ResultKind::OneRow {
        (None, 0)
    } else {
        (limit, offset)
    };
    let named: Vec<_> = columns
        .iter()
        .map(|column| (column.name.clone(), column.expr.of.clone()))
        .collect();
    Ok(SelectPlan {
        streams: Vec::new(),
        match_recognize: None,
        scope: Vec::new(),
        condition: None,
        group_by,
        aggregates: Vec::new(),
        columns,
        distinct: syntax.distinct,
        selector: syntax.selector,
        having,
        output,
        order_by,
        limit,
        offset,
        result,
        subqueries: Vec::new(),
        insert: None,
        into_table: None,
        output_type: Arc::new(EventType::from_columns("", &named)),
    })
}

/// A limit; a negative one is none, as in Esper.
fn limit_count(binder: &mut Binder<'_>, limit: &Syntax) -> Result<Option<u64>> {
    let bound = binder.bind(limit)?;
    let value = super::bind::constant(&bound).and_then(|value| value.as_long());
    match value {
        Some(value) => Ok(u64::try_from(value).ok()),
        None => Err(Fault::invalid(
            limit.span,
            "A limit must be a whole number, known beforehand",
        )),
    }
}

fn group_by(binder: &mut Binder<'_>, items: &[GroupItem]) -> Result<Vec<Expr>> {
    let mut keys = Vec::new();
    binder.aggregation = Aggregates::Refused;
    for item in items {
        let (word, span) = match item {
            GroupItem::Expr(syntax) => {
                let key = binder.bind(syntax).map_err(|fault| {
                    if fault.message.starts_with("Aggregation") {
                        Fault::invalid(fault.span, "Group-by expressions cannot contain aggregate functions")
                    } else {
                        fault.within(&format!(
                            "Failed to validate group-by-clause expression '{}'",
                            default_name(syntax)
                        ))
                    }
                })?;
                let mut columns = BTreeSet::new();
                columns_of(&key, &mut columns);
                if columns.is_empty() {
                    return Err(Fault::invalid(
                        syntax.span,
                        "Group-by expressions must refer to property names",
                    ));
                }
                keys.push(key);
                continue;
            }
            GroupItem::Rollup(_, span) => ("rollup", *span),
            GroupItem::Cube(_, span) => ("cube", *span),
            GroupItem::GroupingSets(_, span) => ("grouping sets", *span),
            GroupItem::Combined(_, span) => ("a combined group", *span),
        };
        return Err(Fault::unsupported(
            span,
            format!("'{word}' in 'group by'"),
            "write one statement for each level of groups",
        ));
    }
    Ok(keys)
}

/// The result's columns, and whether the list has a wildcard.
fn items(binder: &mut Binder<'_>, syntax: &Select, pattern: bool) -> Result<(Vec<OutputColumn>, bool)> {
    let mut columns: Vec<OutputColumn> = Vec::new();
    let mut wildcard = false;
    let mut unnamed_stream = false;
    for item in &syntax.items {
        match item {
            SelectItem::Wildcard(span) => {
                wildcard = true;
                let rows = pattern || binder.streams.len() > 1;
                for stream in 0..binder.streams.len() {
                    if rows {
                        let scope = &binder.streams[stream];
                        if scope.many {
                            return Err(Fault::unsupported(
                                *span,
                                "'*' with a repeated tag",
                                "name the columns: 'a[0].x'",
                            ));
                        }
                        let name = scope.name.clone().unwrap_or_else(|| format!("stream_{stream}"));
                        let of = scope.event_type.row_type();
                        columns.push(OutputColumn {
                            name,
                            expr: Expr {
                                node: Node::Row(stream),
                                of,
                            },
                        });
                    } else {
                        expand(binder, stream, &mut columns);
                    }
                }
            }
            SelectItem::StreamWildcard { stream, alias } => {
                wildcard = true;
                let names = |scope: &ScopeStream| {
                    scope.name.as_deref().unwrap_or_else(|| scope.event_type.name()) == stream.name
                };
                let Some(index) = binder.streams.iter().position(names) else {
                    return Err(Fault::invalid(
                        stream.span,
                        format!("Stream selector '{stream}.*' does not match any stream name in the from clause"),
                    ));
                };
                match alias {
                    Some(alias) => {
                        let of = binder.streams[index].event_type.row_type();
                        columns.push(OutputColumn {
                            name: alias.name.clone(),
                            expr: Expr {
                                node: Node::Row(index),
                                of,
                            },
                        });
                    }
                    None if unnamed_stream => {
                        return Err(Fault::invalid(
                            stream.span,
                            "A column name must be supplied for all but one stream if multiple streams are selected via the stream.* notation",
                        ));
                    }
                    None => {
                        unnamed_stream = true;
                        expand(binder, index, &mut columns);
                    }
                }
            }
            SelectItem::Expr { expr: syntax, alias } => {
                let expr = binder.bind(syntax).map_err(|fault| {
                    fault.within(&format!(
                        "Failed to validate select-clause expression '{}'",
                        default_name(syntax)
                    ))
                })?;
                let name = alias
                    .as_ref()
                    .map_or_else(|| default_name(syntax), |alias| alias.name.clone());
                if columns.iter().any(|column| column.name == name) {
                    let span = alias.as_ref().map_or(syntax.span, |alias| alias.span);
                    return Err(Fault::invalid(
                        span,
                        format!("Column name '{name}' appears more then once in select clause"),
                    ));
                }
                columns.push(OutputColumn { name, expr });
            }
        }
    }
    if let Some(insert) = &syntax.insert
        && !insert.columns.is_empty()
    {
        if insert.columns.len() != columns.len() {
            return Err(Fault::invalid(
                insert.target.span,
                format!(
                    "Number of supplied values in the select or values clause does not match insert-into clause ({} and {})",
                    columns.len(),
                    insert.columns.len()
                ),
            ));
        }
        for (column, name) in columns.iter_mut().zip(&insert.columns) {
            column.name.clone_from(&name.name);
        }
    }
    Ok((columns, wildcard))
}

fn expand(binder: &Binder<'_>, stream: usize, columns: &mut Vec<OutputColumn>) {
    let event_type = &binder.streams[stream].event_type;
    for (column, of) in event_type.types().iter().enumerate() {
        let expr = Expr {
            node: Node::Column { stream, column },
            of: of.clone(),
        };
        let name = event_type.column_name(column);
        if !columns.iter().any(|known| known.name == name) {
            columns.push(OutputColumn {
                name: name.to_owned(),
                expr,
            });
        }
    }
}

fn order_by(binder: &mut Binder<'_>, syntax: &Select, columns: &[OutputColumn]) -> Result<Vec<OrderKey>> {
    let mut keys = Vec::new();
    for OrderItem {
        expr: syntax_key,
        descending,
    } in &syntax.order_by
    {
        // The name of a result column stands for it.
        let alias = match &syntax_key.kind {
            ExprKind::Path(parts) if parts.len() == 1 && parts[0].index.is_empty() => {
                let named = |item: &&SelectItem| matches!(item, SelectItem::Expr { alias: Some(alias), .. } if alias.name == parts[0].name.name);
                syntax
                    .items
                    .iter()
                    .find(named)
                    .and_then(|_| columns.iter().find(|column| column.name == parts[0].name.name))
                    .map(|column| column.expr.clone())
            }
            _ => None,
        };
        let expr = match alias {
            Some(expr) => expr,
            None => binder.bind(syntax_key).map_err(|fault| {
                fault.within(&format!(
                    "Failed to validate order-by-clause expression '{}'",
                    default_name(syntax_key)
                ))
            })?,
        };
        keys.push(OrderKey {
            expr,
            descending: *descending,
        });
    }
    Ok(keys)
}

fn output_plan(binder: &mut Binder<'_>, output: &Output) -> Result<OutputPlan> {
    let when = match &output.when {
        OutputWhen::Always => OutputMoment::Always,
        OutputWhen::Every(period) => OutputMoment::EveryMs(binder.milliseconds(period, "the period of 'output'")?),
        OutputWhen::Events(count) => {
            OutputMoment::EveryEvents(binder.count(count, "The number of events of 'output'", 1)?)
        }
        OutputWhen::Terminated => OutputMoment::Terminated,
        OutputWhen::Condition(condition) => {
            return Err(Fault::unsupported(
                condition.span,
                "'output when' with a condition",
                "use 'output every T' and 'having'",
            ));
        }
        OutputWhen::At(_) => {
            return Err(Fault::unsupported(
                output.span,
                "'output at' (cron)",
                "use 'output every T', or '#time_batch(T, 0L)' for intervals aligned to the clock",
            ));
        }
    };
    let after = match &output.after {
        None => None,
        Some(OutputAfter::Period(period)) => Some(OutputDelay::Ms(
            binder.milliseconds(period, "the period of 'output after'")?,
        )),
        Some(OutputAfter::Events(count)) => Some(OutputDelay::Events(binder.count(
            count,
            "The number of events of 'output after'",
            0,
        )?)),
    };
    Ok(OutputPlan {
        kind: output.kind,
        when,
        after,
        and_when_terminated: output.and_when_terminated,
    })
}

/// Refuses output clauses that make no sense with the windows or without a context.
fn check_output(syntax: &Select, streams: &[StreamPlan], context: Option<CatalogId>) -> Result<()> {
    let Some(output) = &syntax.output else { return Ok(()) };
    if (output.when == OutputWhen::Terminated || output.and_when_terminated) && context.is_none() {
        return Err(Fault::invalid(
            output.span,
            "The 'when terminated' syntax requires that the statement is associated to a context",
        ));
    }
    let batch = streams.iter().any(|stream| {
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
    if batch {
        return Err(Fault::unsupported(
            output.span,
            "an output clause on a batch window",
            "leave it out: a batch window outputs by itself; or use '#time' or '#length' with this output clause",
        ));
    }
    Ok(())
}

/// The columns outside of aggregates in a group's `having` must be among its keys: others differ within the group.
fn check_having(binder: &Binder<'_>, syntax: &Syntax, having: &Expr, group_by: &[Expr]) -> Result<()> {
    let (mut keys, mut used) = (BTreeSet::new(), BTreeSet::new());
    group_by.iter().for_each(|key| columns_of(key, &mut keys));
    columns_of(having, &mut used);
    let mut fields = used.difference(&keys).filter_map(|(stream, column)| {
        let schema = binder.streams.get(*stream)?.event_type.schema();
        schema.fields().get(*column)
    });
    fields.next().map_or(Ok(()), |field| {
        let name = field.name();
        let message =
            format!("Non-aggregated property '{name}' in the HAVING clause must occur in the group-by clause");
        Err(Fault::invalid(syntax.span, message))
    })
}

/// Esper's rules for how aggregates, groups and columns make result rows.
fn result_kind(
    binder: &Binder<'_>,
    group_by: &[Expr],
    columns: &[OutputColumn],
    wildcard: bool,
    having: Option<&Expr>,
    order_by: &[OrderKey],
) -> ResultKind {
    let mut selected = BTreeSet::new();
    columns
        .iter()
        .for_each(|column| columns_of(&column.expr, &mut selected));
    // A column of `having` counts as selected.
    if let Some(having) = having {
        columns_of(having, &mut selected);
    }
    let aggregated = !binder.aggregates.is_empty();
    let having_aggregated = having.is_some_and(has_aggregate);
    if group_by.is_empty() {
        return match (aggregated, selected.is_empty() && !wildcard) {
            (false, _) => ResultKind::Rows,
            (true, true) => ResultKind::OneRow,
            (true, false) => ResultKind::RowPerEvent,
        };
    }
    let select_aggregated = columns.iter().any(|column| has_aggregate(&column.expr));
    // A wildcard without any aggregate: groups mean nothing.
    if wildcard && !select_aggregated && !having_aggregated {
        return ResultKind::Rows;
    }
    let mut keys = BTreeSet::new();
    group_by.iter().for_each(|key| columns_of(key, &mut keys));
    let all_in_group = !wildcard && selected.is_subset(&keys);
    let mut ordered = BTreeSet::new();
    order_by.iter().for_each(|key| columns_of(&key.expr, &mut ordered));
    let all_in_select = wildcard || ordered.is_subset(&selected);
    if all_in_group && all_in_select {
        ResultKind::RowPerGroup
    } else {
        ResultKind::GroupedRowPerEvent
    }
}

fn has_aggregate(expr: &Expr) -> bool {
    let mut found = matches!(expr.node, Node::Aggregate(_));
    expr.each_child(&mut |child| found |= has_aggregate(child));
    found
}

/// Plans a subquery: its stream at 0, the outer streams from 1 on.
pub(super) fn subquery(outer: &Binder<'_>, syntax: &Select, wants_column: bool) -> Result<SubqueryPlan> {
    let [item] = syntax.from.as_slice() else {
        let span = syntax.from.get(1).map_or(syntax.span, |item| item.span);
        return Err(Fault::unsupported(
            span,
            "a join within a subquery",
            "insert the join's rows into a stream of their own",
        ));
    };
    if let Some(output) = &syntax.output {
        return Err(Fault::unsupported(
            output.span,
            "an output clause within a subquery",
            "leave it out",
        ));
    }
    if let Some(order) = syntax.order_by.first() {
        return Err(Fault::unsupported(
            order.expr.span,
            "'order by' within a subquery",
            "use 'min', 'max' or '#sort'",
        ));
    }
    if syntax.match_recognize.is_some() || matches!(item.source, Source::Pattern(_)) {
        return Err(Fault::unsupported(
            item.span,
            "a pattern within a subquery",
            "insert its matches into a stream of their own",
        ));
    }
    let (stream, own) = source::stream(outer.catalog, outer.context, item, true, None)?;
    let mut scope = own;
    scope.extend(outer.streams.iter().cloned());
    let outer_streams = 1..scope.len();
    let mut binder = Binder::new(outer.catalog, outer.context, scope);
    binder.unqualified = vec![0..1, outer_streams];
    binder.subqueries_allowed = false;
    let within = "Failed to plan subquery";
    let condition = where_clause(&mut binder, syntax.condition.as_ref()).map_err(|fault| fault.within(within))?;
    let group_by = group_by(&mut binder, &syntax.group_by).map_err(|fault| fault.within(within))?;
    binder.aggregation = Aggregates::Allowed;
    let column = match syntax.items.as_slice() {
        _ if !wants_column => {
            for item in &syntax.items {
                if let SelectItem::Expr { expr, .. } = item {
                    binder.bind(expr).map_err(|fault| fault.within(within))?;
                }
            }
            None
        }
        [SelectItem::Expr { expr, .. }] => Some(binder.bind(expr).map_err(|fault| fault.within(within))?),
        [SelectItem::Wildcard(_)] => {
            let of = binder.streams[0].event_type.row_type();
            Some(Expr { node: Node::Row(0), of })
        }
        _ => {
            return Err(Fault::unsupported(
                syntax.span,
                "a subquery of several columns",
                "select one column in each subquery",
            ));
        }
    };
    let having = match &syntax.having {
        None => None,
        Some(having) => Some(binder.condition(having, "The having-clause expression must return a boolean value")?),
    };
    let windowless = stream.window.is_none() && matches!(stream.source, SourcePlan::Events(_));
    if windowless && binder.aggregates.is_empty() {
        return Err(Fault::invalid(
            item.span,
            "Subqueries require one or more views to limit the stream, consider declaring a length or time window",
        ));
    }
    let mut equal = Vec::new();
    let mut correlated = false;
    if let Some(condition) = &condition {
        for part in conjuncts(condition.clone()) {
            correlated |= references(&part).streams.iter().any(|stream| *stream > 0);
            if let Node::Compare(BinaryOp::Equal, left, right) = part.node {
                equal.extend(equality(*left, *right));
            }
        }
    }
    let mut mentioned = BTreeSet::new();
    column
        .iter()
        .chain(&having)
        .for_each(|expr| columns_of(expr, &mut mentioned));
    correlated |= mentioned.iter().any(|(stream, _)| *stream > 0);
    let aggregates = binder.aggregates;
    Ok(SubqueryPlan {
        stream,
        condition,
        equal,
        group_by,
        aggregates,
        column,
        having,
        correlated,
    })
}

/// `inner = outer`, in that order, when one side is of stream 0 alone and the other not of it at all.
pub(super) fn equality(left: Expr, right: Expr) -> Option<(Expr, Expr)> {
    let own = |expr: &Expr| {
        let found = references(expr);
        !found.others && found.streams.iter().eq([&0])
    };
    let foreign = |expr: &Expr| !references(expr).streams.contains(&0);
    if own(&left) && foreign(&right) {
        Some((left, right))
    } else if own(&right) && foreign(&left) {
        Some((right, left))
    } else {
        None
    }
}

/// What of a select's state nothing bounds.
pub(super) fn unbounded(plan: &SelectPlan) -> Vec<Unbounded> {
    let mut found = Vec::new();
    let grouped = !plan.group_by.is_empty() && !plan.aggregates.is_empty();
    let never_leaves =
        |stream: &StreamPlan| stream.window.is_none() && !matches!(stream.source, SourcePlan::NamedWindow { .. });
    if grouped && plan.streams.iter().any(never_leaves) {
        found.push(Unbounded::Groups);
    }
    let keeps = |window: &Option<WindowPlan>| {
        matches!(
            window,
            Some(WindowPlan::KeepAll | WindowPlan::Unique(_) | WindowPlan::FirstUnique(_))
        )
    };
    let subqueries = plan.subqueries.iter().any(|subquery| keeps(&subquery.stream.window));
    if subqueries || plan.streams.iter().any(|stream| keeps(&stream.window)) {
        found.push(Unbounded::Rows);
    }
    let patterns = plan.streams.iter().filter_map(|stream| match &stream.source {
        SourcePlan::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    if patterns.into_iter().any(|pattern| grows(&pattern.root, false)) {
        found.push(Unbounded::Patterns);
    }
    if plan.match_recognize.is_some() && plan.streams.iter().all(never_leaves) {
        found.push(Unbounded::Matches);
    }
    if matches!(&plan.output, Some(output) if output.kind == OutputKind::All) && grouped && found.is_empty() {
        found.push(Unbounded::Groups);
    }
    found
}

/// Whether a pattern can gather instances without end: an `every` whose start waits for something unguarded.
fn grows(node: &super::PatternNode, repeating: bool) -> bool {
    use super::PatternNode as Node;
    match node {
        Node::Filter { .. } | Node::IntervalMs(_) => false,
        Node::Every(inner) | Node::EveryDistinct { inner, .. } => {
            matches!(node, Node::EveryDistinct { expiry_ms: None, .. }) || grows(inner, true)
        }
        Node::FollowedBy(steps) => {
            let starts = repeating || matches!(steps.first(), Some(Node::Every(_) | Node::EveryDistinct { .. }));
            let waits = steps
                .iter()
                .skip(1)
                .any(|step| !matches!(step, Node::Within { .. }) && !bounded(step));
            (starts && waits) || steps.iter().any(|step| grows(step, false))
        }
        Node::And(branches) | Node::Or(branches) => branches.iter().any(|branch| grows(branch, false)),
        Node::Within { .. } => false,
        Node::Not(inner) | Node::While { inner, .. } | Node::Repeat { inner, .. } => grows(inner, false),
        Node::Until { inner, end, .. } => grows(inner, false) || grows(end, false),
    }
}

/// Whether waiting for a node ends by itself.
fn bounded(node: &super::PatternNode) -> bool {
    use super::PatternNode as Node;
    match node {
        Node::Within { .. } | Node::IntervalMs(_) => true,
        Node::And(branches) => branches
            .iter()
            .any(|branch| matches!(branch, Node::IntervalMs(_) | Node::Within { .. })),
        Node::Or(branches) => branches.iter().any(bounded),
        _ => false,
    }
}

/// The type of what a select inserts, for those that follow.
pub(super) fn result_columns(plan: &SelectPlan) -> Vec<(String, Type)> {
    plan.columns
        .iter()
        .map(|column| (column.name.clone(), column.expr.of.clone()))
        .collect()
}
