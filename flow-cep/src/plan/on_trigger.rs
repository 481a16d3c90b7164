//! On-triggers: select, delete, update, merge and set.

use std::sync::Arc;

use super::bind::{Aggregates, Binder, Result, to_type};
use super::planner::{define_type, insert_plan, mapping};
use super::select::{clauses, equality};
use super::source::{Named, resolve, stream};
use super::{
    Catalog, CatalogId, InsertTarget, MergeActionPlan, MergeClausePlan, OnActionPlan, OnPlan, ScopeStream, SourcePlan,
    StreamPlan,
};
use crate::error::Fault;
use crate::event_type::EventType;
use crate::expr::{Expr, Node};
use crate::syntax::ast::{
    Assignment, Expr as Syntax, FromItem, Ident, JoinKind, MergeAction, OnAction, OnTrigger, SelectItem, Source, Span,
};
use crate::value::{Type, Value};

/// The trigger of an on-statement as a stream.
fn trigger(catalog: &Catalog, context: Option<CatalogId>, on: &OnTrigger) -> Result<(StreamPlan, Vec<ScopeStream>)> {
    let item = FromItem {
        join: JoinKind::Comma,
        source: on.trigger.clone(),
        views: Vec::new(),
        alias: on.alias.clone(),
        unidirectional: false,
        retain: None,
        on: None,
        span: on.span,
    };
    stream(catalog, context, &item, true, None)
}

/// A window or table that a statement acts on.
fn target(catalog: &Catalog, name: &Ident, alias: Option<&Ident>) -> Result<(InsertTarget, ScopeStream)> {
    let (target, event_type) = match resolve(catalog, name)? {
        Named::Window(id) => (InsertTarget::Window(id), &catalog.windows[id].event_type),
        Named::Table(id) => (InsertTarget::Table(id), &catalog.tables[id].event_type),
        Named::Events(_) => {
            return Err(Fault::invalid(
                name.span,
                format!("A named window or table '{name}' has not been declared"),
            ));
        }
    };
    Ok((
        target,
        ScopeStream {
            name: alias.map(|alias| alias.name.clone()),
            event_type: Arc::clone(event_type),
            many: false,
        },
    ))
}

/// Plans what a trigger does to a window or table, or selects from it.
pub(super) fn on_plan(catalog: &mut Catalog, context: Option<CatalogId>, on: &OnTrigger) -> Result<OnPlan> {
    let (trigger, triggers) = trigger(catalog, context, on)?;
    let pattern = matches!(trigger.source, SourcePlan::Pattern(_));
    let nothing = || ScopeStream::of(&Arc::new(EventType::from_columns("", &[])));
    let found = match &on.action {
        OnAction::Delete {
            target: name, alias, ..
        }
        | OnAction::Update {
            target: name, alias, ..
        }
        | OnAction::Merge {
            target: name, alias, ..
        } => Some(target(catalog, name, alias.as_ref())?),
        OnAction::Select { select, .. } => match select.from.first() {
            None => None,
            Some(item) => match &item.source {
                Source::Filter(filter) => Some(target(catalog, &filter.name, item.alias.as_ref())?),
                Source::Pattern(pattern) => {
                    return Err(Fault::invalid(
                        pattern.span,
                        "An on-select is from a named window or table",
                    ));
                }
            },
        },
        OnAction::Set(_) => None,
    };
    let (target, own) = match found {
        Some((target, own)) => (Some(target), own),
        None => (None, nothing()),
    };
    let mut scope = vec![own];
    scope.extend(triggers);
    let unqualified = if pattern {
        std::iter::once(0..1).collect()
    } else {
        vec![0..1, 1..scope.len()]
    };
    if let OnAction::Merge { clauses, .. } = &on.action {
        for action in clauses.iter().flat_map(|clause| &clause.actions) {
            define_inserted(catalog, context, action, &scope, &unqualified)?;
        }
    }
    let mut binder = Binder::new(catalog, context, scope);
    binder.unqualified = unqualified;
    let condition_syntax = match &on.action {
        OnAction::Delete { condition, .. } | OnAction::Update { condition, .. } | OnAction::Merge { condition, .. } => {
            condition.as_ref()
        }
        OnAction::Select { select, .. } => select.condition.as_ref(),
        OnAction::Set(_) => None,
    };
    let condition = match condition_syntax {
        None => None,
        Some(syntax) => {
            Some(binder.condition(syntax, "The where-clause filter expression must return a boolean value")?)
        }
    };
    let mut insert = None;
    let action = match &on.action {
        OnAction::Delete { .. } => OnActionPlan::Delete,
        OnAction::Select { select, delete } => {
            if let Some(output) = &select.output {
                return Err(Fault::unsupported(
                    output.span,
                    "an output clause of an on-select",
                    "leave it out",
                ));
            }
            let mut plan = clauses(&mut binder, select, false)?;
            plan.aggregates = std::mem::take(&mut binder.aggregates);
            plan.scope.clone_from(&binder.streams);
            insert = select.insert.as_ref();
            OnActionPlan::Select {
                select: Box::new(plan),
                delete: *delete,
            }
        }
        OnAction::Update {
            assignments: syntax, ..
        } => OnActionPlan::Update(assignments(&mut binder, syntax)?),
        OnAction::Merge {
            clauses, target: name, ..
        } => {
            let Some(target) = target else {
                return Err(Fault::invalid(name.span, "A merge needs a named window or table"));
            };
            let mut planned = Vec::new();
            for clause in clauses {
                planned.push(merge_clause(&mut binder, clause, target, name)?);
            }
            OnActionPlan::Merge(planned)
        }
        OnAction::Set(syntax) => {
            let mut set = Vec::new();
            for assignment in syntax {
                let [name] = assignment.target.as_slice() else {
                    return Err(Fault::invalid(on.span, "'set' names a variable"));
                };
                let Some(variable) = catalog.variables.iter().position(|known| known.name == name.name) else {
                    return Err(Fault::invalid(
                        name.span,
                        format!("Variable by name '{name}' has not been created or configured"),
                    ));
                };
                let plan = &catalog.variables[variable];
                if plan.constant {
                    return Err(Fault::invalid(
                        name.span,
                        format!("Variable by name '{name}' is declared constant and may not be set"),
                    ));
                }
                let value = assigned(&mut binder, &assignment.value, &plan.of)?;
                set.push((variable, value));
            }
            OnActionPlan::Set(set)
        }
    };
    let mut equal = Vec::new();
    for part in condition.iter().cloned().flat_map(super::bind::conjuncts) {
        if let Node::Compare(crate::syntax::ast::BinaryOp::Equal, left, right) = part.node {
            equal.extend(equality(*left, *right));
        }
    }
    let scope = binder.streams;
    let subqueries = binder.subqueries;
    let mut plan = OnPlan {
        trigger,
        scope,
        target,
        condition,
        equal,
        action,
        subqueries,
    };
    if let (Some(insert), OnActionPlan::Select { select, .. }) = (insert, &mut plan.action) {
        select.insert = Some(insert_plan(catalog, select, insert)?);
    }
    Ok(plan)
}

/// Defines the event type that a merge inserts into, if it is new.
fn define_inserted(
    catalog: &mut Catalog,
    context: Option<CatalogId>,
    action: &MergeAction,
    scope: &[ScopeStream],
    unqualified: &[std::ops::Range<usize>],
) -> Result<()> {
    let MergeAction::Insert {
        target: Some(into),
        columns: names,
        items,
        ..
    } = action
    else {
        return Ok(());
    };
    if resolve(catalog, into).is_ok() {
        return Ok(());
    }
    let mut columns = Vec::new();
    let mut binder = Binder::new(catalog, context, scope.to_vec());
    binder.unqualified = unqualified.to_vec();
    for (at, item) in items.iter().enumerate() {
        let SelectItem::Expr { expr, alias } = item else {
            // What a wildcard would make is left to `create schema`; the name is told to be unknown.
            return Ok(());
        };
        let name = match (names.get(at), alias) {
            (Some(name), _) | (None, Some(name)) => name.name.clone(),
            (None, None) => super::naming::default_name(expr),
        };
        columns.push((name, binder.bind(expr)?.of));
    }
    define_type(catalog, into, &columns)?;
    Ok(())
}

fn assigned(binder: &mut Binder<'_>, value: &Syntax, of: &Type) -> Result<Expr> {
    binder.aggregation = Aggregates::Refused;
    let bound = binder.bind(value)?;
    let fits = bound.of == *of || bound.of == Type::Null || (bound.of.is_numeric() && of.is_numeric());
    if !fits {
        return Err(super::bind::mismatch(&bound.of, of, value.span));
    }
    Ok(to_type(bound, of))
}

fn assignments(binder: &mut Binder<'_>, syntax: &[Assignment]) -> Result<Vec<(usize, Expr)>> {
    let mut planned = Vec::new();
    for assignment in syntax {
        let own = Arc::clone(&binder.streams[0].event_type);
        let name = match assignment.target.as_slice() {
            [name] => name,
            [stream, name] if binder.streams[0].name.as_deref().unwrap_or_else(|| own.name()) == stream.name => name,
            other => {
                let span = other.first().map_or_else(Span::default, |first| first.span);
                return Err(Fault::invalid(span, "'set' names a column of the window or table"));
            }
        };
        let Some(column) = own.column(&name.name) else {
            return Err(Fault::invalid(
                name.span,
                format!("Property '{name}' is not available for write access"),
            ));
        };
        let value = assigned(binder, &assignment.value, &own.types()[column])?;
        planned.push((column, value));
    }
    Ok(planned)
}

fn merge_clause(
    binder: &mut Binder<'_>,
    clause: &crate::syntax::ast::MergeClause,
    target: InsertTarget,
    name: &Ident,
) -> Result<MergeClausePlan> {
    const CONDITION: &str = "The condition of a merge must return a boolean value";
    let optional = |binder: &mut Binder<'_>, condition: &Option<Syntax>| match condition {
        None => Ok(None),
        Some(condition) => binder.condition(condition, CONDITION).map(Some),
    };
    let condition = optional(binder, &clause.condition)?;
    let mut actions = Vec::new();
    for action in &clause.actions {
        actions.push(match action {
            MergeAction::Delete { condition } if clause.matched => MergeActionPlan::Delete {
                condition: optional(binder, condition)?,
            },
            MergeAction::Update {
                assignments: syntax,
                condition,
            } if clause.matched => MergeActionPlan::Update {
                assignments: assignments(binder, syntax)?,
                condition: optional(binder, condition)?,
            },
            MergeAction::Delete { .. } | MergeAction::Update { .. } => {
                return Err(Fault::invalid(name.span, "'when not matched' can only insert"));
            }
            MergeAction::Insert {
                target: into,
                columns,
                items,
                condition,
            } => {
                let (target, event_type) = match into {
                    None => (target, Arc::clone(&binder.streams[0].event_type)),
                    Some(into) => match resolve(binder.catalog, into)? {
                        Named::Events(id) => (InsertTarget::Events(id), Arc::clone(&binder.catalog.event_types[id])),
                        Named::Window(id) => (
                            InsertTarget::Window(id),
                            Arc::clone(&binder.catalog.windows[id].event_type),
                        ),
                        Named::Table(id) => (
                            InsertTarget::Table(id),
                            Arc::clone(&binder.catalog.tables[id].event_type),
                        ),
                    },
                };
                let values = merge_values(binder, &event_type, columns, items, name)?;
                MergeActionPlan::Insert {
                    target,
                    values,
                    condition: optional(binder, condition)?,
                }
            }
        });
    }
    Ok(MergeClausePlan {
        matched: clause.matched,
        condition,
        actions,
    })
}

/// The value of each column that a merge inserts; names without a stream are the trigger's.
fn merge_values(
    binder: &mut Binder<'_>,
    event_type: &EventType,
    columns: &[Ident],
    items: &[SelectItem],
    name: &Ident,
) -> Result<Vec<Expr>> {
    let outside = std::mem::take(&mut binder.unqualified);
    binder.unqualified = std::iter::once(1..binder.streams.len()).collect();
    let mut selected: Vec<(String, Expr)> = Vec::new();
    let mut failed = None;
    for item in items {
        match item {
            SelectItem::Wildcard(_) => {
                if let Some(stream) = binder.streams.get(1) {
                    let event_type = &stream.event_type;
                    for (column, of) in event_type.types().iter().enumerate() {
                        let expr = Expr {
                            node: Node::Column { stream: 1, column },
                            of: of.clone(),
                        };
                        selected.push((event_type.column_name(column).to_owned(), expr));
                    }
                }
            }
            SelectItem::StreamWildcard { stream, .. } => {
                let found = binder
                    .streams
                    .iter()
                    .position(|scope| scope.name.as_deref() == Some(stream.name.as_str()));
                let Some(index) = found else {
                    failed = Some(Fault::invalid(
                        stream.span,
                        format!("Stream named '{stream}' is not known"),
                    ));
                    break;
                };
                let event_type = &binder.streams[index].event_type;
                for (column, of) in event_type.types().iter().enumerate() {
                    let expr = Expr {
                        node: Node::Column { stream: index, column },
                        of: of.clone(),
                    };
                    selected.push((event_type.column_name(column).to_owned(), expr));
                }
            }
            SelectItem::Expr { expr, alias } => match binder.bind(expr) {
                Ok(bound) => {
                    let name = alias
                        .as_ref()
                        .map_or_else(|| super::naming::default_name(expr), |alias| alias.name.clone());
                    selected.push((name, bound));
                }
                Err(fault) => {
                    failed = Some(fault);
                    break;
                }
            },
        }
    }
    binder.unqualified = outside;
    if let Some(fault) = failed {
        return Err(fault);
    }
    if !columns.is_empty() {
        if columns.len() != selected.len() {
            return Err(Fault::invalid(
                name.span,
                "Number of supplied values in the select clause does not match the columns of the insert",
            ));
        }
        for (column, (name, _)) in columns.iter().zip(&mut selected) {
            name.clone_from(&column.name);
        }
    }
    let types: Vec<_> = selected
        .iter()
        .map(|(name, expr)| (name.clone(), expr.of.clone()))
        .collect();
    let mapping = mapping(event_type, &types, name)?;
    Ok(mapping
        .into_iter()
        .zip(event_type.types())
        .map(|(source, of)| match source {
            Some(source) => to_type(selected[source].1.clone(), of),
            None => Expr {
                node: Node::Literal(Value::Null),
                of: of.clone(),
            },
        })
        .collect())
}
