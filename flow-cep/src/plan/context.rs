//! Contexts: by key, hash or category, and from one event, pattern or period to another.

use std::sync::Arc;

use super::bind::{Binder, Result};
use super::source::{context_filter, pattern};
use super::{Catalog, ContextKind, ContextPoint, HashFunction, ScopeStream};
use crate::error::Fault;
use crate::event_type::EventType;
use crate::expr::{Expr, Node};
use crate::syntax::ast::{ContextKind as ContextSyntax, ContextPoint as PointSyntax, Span};

/// Plans how a context divides the events.
pub(super) fn context_kind(catalog: &Catalog, syntax: &ContextSyntax) -> Result<ContextKind> {
    Ok(match syntax {
        ContextSyntax::Keyed { streams, end } => {
            let mut planned: Vec<(_, Vec<Expr>)> = Vec::new();
            for stream in streams {
                let plan = context_filter(catalog, &stream.from, &[])?;
                let event_type = &catalog.event_types[plan.event_type];
                let mut keys = Vec::new();
                for key in &stream.keys {
                    let Some(column) = event_type.column(&key.name) else {
                        return Err(Fault::invalid(
                            key.span,
                            format!(
                                "For context partition by, property name '{key}' not found on type {}",
                                event_type.name()
                            ),
                        ));
                    };
                    keys.push(Expr {
                        node: Node::Column { stream: 0, column },
                        of: event_type.types()[column].clone(),
                    });
                }
                if let Some((_, first)) = planned.first()
                    && (first.len() != keys.len() || first.iter().zip(&keys).any(|(a, b)| a.of != b.of))
                {
                    return Err(Fault::invalid(
                        stream.from.span,
                        "For context partition by, each type needs the same number of keys of the same types",
                    ));
                }
                planned.push((plan, keys));
            }
            ContextKind::Keyed {
                streams: planned,
                end: point(catalog, end.as_ref(), None)?,
            }
        }
        ContextSyntax::StartEnd { start, end } => {
            let Some(start_plan) = point(catalog, Some(start), None)? else {
                return Err(Fault::invalid(Span::default(), "A context must begin"));
            };
            let end = point(catalog, end.as_ref(), Some(&start_plan))?;
            ContextKind::StartEnd {
                start: start_plan,
                end,
                initiated: None,
            }
        }
        ContextSyntax::Initiated { distinct, start, end } => {
            let Some(start_plan) = point(catalog, Some(start), None)? else {
                return Err(Fault::invalid(Span::default(), "A context must begin"));
            };
            let end = point(catalog, end.as_ref(), Some(&start_plan))?;
            let nothing = ScopeStream::of(&Arc::new(EventType::from_columns("", &[])));
            let scope = std::iter::once(nothing).chain(start_scope(catalog, &start_plan));
            let mut binder = Binder::new(catalog, None, scope.collect());
            let keys = distinct.iter().map(|key| binder.bind(key)).collect::<Result<_>>()?;
            ContextKind::StartEnd {
                start: start_plan,
                end,
                initiated: Some(keys),
            }
        }
        ContextSyntax::Hash {
            streams,
            granularity,
            preallocate,
        } => {
            let granularity = Binder::new(catalog, None, Vec::new()).count(granularity, "A granularity", 1)?;
            let mut planned = Vec::new();
            for stream in streams {
                let plan = context_filter(catalog, &stream.from, &[])?;
                let function = match stream.function.name.to_ascii_lowercase().as_str() {
                    "consistent_hash_crc32" => HashFunction::Crc32,
                    "hash_code" => HashFunction::HashCode,
                    _ => {
                        return Err(Fault::invalid(
                            stream.function.span,
                            format!("For context coalesce by, '{}' is no hash function", stream.function),
                        )
                        .with_hint(Some("use 'consistent_hash_crc32' or 'hash_code'".to_owned())));
                    }
                };
                let scope = vec![ScopeStream::of(&catalog.event_types[plan.event_type])];
                let mut binder = Binder::new(catalog, None, scope);
                let arguments = stream
                    .arguments
                    .iter()
                    .map(|argument| binder.bind(argument))
                    .collect::<Result<_>>()?;
                planned.push((plan, function, arguments));
            }
            ContextKind::Hash {
                streams: planned,
                granularity,
                preallocate: *preallocate,
            }
        }
        ContextSyntax::Category { categories, from } => {
            let plan = context_filter(catalog, from, &[])?;
            let mut binder = Binder::new(
                catalog,
                None,
                vec![ScopeStream::of(&catalog.event_types[plan.event_type])],
            );
            let mut planned = Vec::new();
            for (condition, label) in categories {
                let condition = binder.condition(
                    condition,
                    "A category must be a condition: it must return a boolean value",
                )?;
                planned.push((label.name.clone(), condition));
            }
            ContextKind::Category {
                filter: plan,
                categories: planned,
            }
        }
    })
}

/// The events that begin a context, as its end and its keys see them.
fn start_scope(catalog: &Catalog, start: &ContextPoint) -> Vec<ScopeStream> {
    match start {
        ContextPoint::Filter {
            filter,
            alias: Some(alias),
        } => vec![ScopeStream {
            name: Some(alias.clone()),
            event_type: Arc::clone(&catalog.event_types[filter.event_type]),
            many: false,
        }],
        ContextPoint::Pattern(pattern) => pattern.tags.clone(),
        _ => Vec::new(),
    }
}

/// When a context begins, or ends; an end's filter may refer to the event that began it.
fn point(
    catalog: &Catalog,
    syntax: Option<&PointSyntax>,
    start: Option<&ContextPoint>,
) -> Result<Option<ContextPoint>> {
    let Some(syntax) = syntax else { return Ok(None) };
    Ok(Some(match syntax {
        PointSyntax::Now => ContextPoint::Now,
        PointSyntax::After(period) => ContextPoint::AfterMs(
            Binder::new(catalog, None, Vec::new()).milliseconds(period, "the period of a context")?,
        ),
        PointSyntax::Filter { filter: syntax, alias } => {
            let tags = start.map(|start| start_scope(catalog, start)).unwrap_or_default();
            ContextPoint::Filter {
                filter: context_filter(catalog, syntax, &tags)?,
                alias: alias.as_ref().map(|alias| alias.name.clone()),
            }
        }
        PointSyntax::Pattern(source) => ContextPoint::Pattern(Box::new(pattern(catalog, None, source)?)),
        PointSyntax::At(fields) => {
            let span = fields.first().map_or_else(Span::default, |field| field.span);
            return Err(Fault::unsupported(
                span,
                "a context by cron",
                "use 'after T', an event or a pattern",
            ));
        }
    }))
}
