//! Names in expressions: columns, streams, tags, tables, contexts, variables.

use super::{Aggregates, Binder, Result, mismatch, to_type};
use crate::error::{Fault, nearest};
use crate::expr::{ContextProperty, Expr, Node};
use crate::plan::{CatalogId, ContextKind, ContextPoint};
use crate::syntax::ast::{Ident, PathPart, Span};
use crate::value::Type;

impl Binder<'_> {
    pub(super) fn stream_named(&self, name: &str) -> Option<usize> {
        let by_name = self
            .streams
            .iter()
            .position(|stream| stream.name.as_deref() == Some(name));
        by_name.or_else(|| {
            self.streams
                .iter()
                .position(|stream| stream.name.is_none() && stream.event_type.name() == name)
        })
    }

    pub(super) fn path(&mut self, parts: &[PathPart], span: Span) -> Result<Expr> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(Fault::invalid(span, "An empty name"));
        };
        if first.name.name.eq_ignore_ascii_case("context")
            && let Some(context) = self.context
            && !rest.is_empty()
        {
            return self.context_property(context, rest, span);
        }
        if first.index.is_empty() && rest.is_empty() && first.name.name.eq_ignore_ascii_case("current_timestamp") {
            return Ok(Expr {
                node: Node::Now,
                of: Type::Long,
            });
        }
        if let Some(table) = self
            .catalog
            .tables
            .iter()
            .position(|table| table.name == first.name.name)
            && self.stream_named(&first.name.name).is_none()
        {
            return self.table_column(table, first, rest, span);
        }
        // A column of its own name comes before a stream's.
        if first.index.is_empty()
            && let Some(column) = self.column_named(&first.name)?
        {
            return self.fields(column, rest, span);
        }
        if let Some(stream) = self.stream_named(&first.name.name) {
            return self.stream_path(stream, first, rest, span);
        }
        if let Some(index) = self
            .catalog
            .variables
            .iter()
            .position(|variable| variable.name == first.name.name)
            && rest.is_empty()
            && first.index.is_empty()
        {
            let variable = &self.catalog.variables[index];
            let node = if variable.constant {
                Node::Literal(variable.value.clone())
            } else {
                Node::Variable(index)
            };
            return Ok(Expr {
                node,
                of: variable.of.clone(),
            });
        }
        Err(self.unknown(parts, span))
    }

    /// A column by a bare name.
    pub(super) fn column_named(&self, name: &Ident) -> Result<Option<Expr>> {
        if let Some(own) = self.matching.as_ref().and_then(|matching| matching.own) {
            let found = self
                .streams
                .get(own)
                .and_then(|stream| stream.event_type.column(&name.name));
            return Ok(found.map(|column| self.column(own, column)));
        }
        for range in &self.unqualified {
            let mut found = None;
            for stream in range.clone() {
                let Some(scope) = self.streams.get(stream) else {
                    continue;
                };
                let Some(column) = scope.event_type.column(&name.name) else {
                    continue;
                };
                if found.is_some() {
                    return Err(Fault::invalid(
                        name.span,
                        format!("Property named '{name}' is ambiguous as is valid for more than one stream"),
                    )
                    .with_hint(Some("put the stream's name and a dot before it".to_owned())));
                }
                found = Some((stream, column));
            }
            if let Some((stream, column)) = found {
                return Ok(Some(self.column(stream, column)));
            }
        }
        Ok(None)
    }

    pub(super) fn column(&self, stream: usize, column: usize) -> Expr {
        let of = self.streams[stream].event_type.types()[column].clone();
        Expr {
            node: Node::Column { stream, column },
            of,
        }
    }

    /// Fields of a row-valued column.
    pub(super) fn fields(&self, mut expr: Expr, rest: &[PathPart], span: Span) -> Result<Expr> {
        for part in rest {
            let field = match &expr.of {
                Type::Row(columns) if part.index.is_empty() => columns
                    .iter()
                    .position(|(name, _)| *name == part.name.name)
                    .map(|at| (at, columns[at].1.clone())),
                _ => None,
            };
            let Some((field, of)) = field else {
                return Err(Fault::invalid(
                    part.name.span.to(span),
                    format!("Property named '{}' is not valid in any stream", part.name),
                ));
            };
            expr = Expr {
                node: Node::Field(Box::new(expr), field),
                of,
            };
        }
        Ok(expr)
    }

    pub(super) fn stream_path(
        &mut self,
        stream: usize,
        first: &PathPart,
        rest: &[PathPart],
        span: Span,
    ) -> Result<Expr> {
        let many = self.streams[stream].many;
        let own = self
            .matching
            .as_ref()
            .is_some_and(|matching| matching.own == Some(stream));
        let event_type = self.streams[stream].event_type.clone();
        let Some((property, deeper)) = rest.split_first() else {
            if many || !first.index.is_empty() {
                return Err(Fault::unsupported(
                    span,
                    format!("'{}' as a whole", first.name),
                    format!("name a column of one of its events: '{}[0].x'", first.name),
                ));
            }
            return Ok(Expr {
                node: Node::Row(stream),
                of: event_type.row_type(),
            });
        };
        let Some(column) = event_type.column(&property.name.name) else {
            let hint = nearest(
                &property.name.name,
                event_type.schema().fields().iter().map(|field| field.name().as_str()),
            );
            return Err(self.not_valid(&format!("{}.{}", first.name, property.name), property.name.span, hint));
        };
        let of = event_type.types()[column].clone();
        let expr = match first.index.as_slice() {
            [] if many && !own && self.aggregation != Aggregates::Inside => {
                let hint = if self.matching.is_some() {
                    format!("write 'last({0}.{1})' or '{0}[0].{1}'", first.name, property.name)
                } else {
                    format!("write '{0}[0].{1}'", first.name, property.name)
                };
                return Err(Fault::invalid(
                    span,
                    format!(
                        "'{}' holds several events: '{}' must say which",
                        first.name, property.name
                    ),
                )
                .with_hint(Some(hint)));
            }
            [] => Expr {
                node: Node::Column { stream, column },
                of,
            },
            [index] if many => {
                let index = Box::new(to_type(self.numeric(index, "an index")?, &Type::Long));
                Expr {
                    node: Node::Indexed { stream, index, column },
                    of,
                }
            }
            _ => {
                return Err(Fault::invalid(
                    first.name.span,
                    format!("'{}' holds one event and takes no index", first.name),
                ));
            }
        };
        self.fields(expr, deeper, span)
    }

    pub(super) fn table_column(
        &mut self,
        table: usize,
        first: &PathPart,
        rest: &[PathPart],
        span: Span,
    ) -> Result<Expr> {
        let plan = &self.catalog.tables[table];
        let key_types: Vec<Type> = plan
            .keys
            .iter()
            .map(|key| plan.event_type.types()[*key].clone())
            .collect();
        if key_types.len() != first.index.len() {
            return Err(Fault::invalid(
                first.name.span,
                format!(
                    "Table '{}' has {} key columns and is given {}",
                    plan.name,
                    key_types.len(),
                    first.index.len()
                ),
            ));
        }
        let [property] = rest else {
            return Err(Fault::unsupported(
                span,
                "a table's whole row",
                format!("name a column: '{}[..].x'", plan.name),
            ));
        };
        let Some(column) = plan.event_type.column(&property.name.name) else {
            let hint = nearest(
                &property.name.name,
                plan.columns.iter().map(|column| column.name.as_str()),
            );
            return Err(self.not_valid(&property.name.name, property.name.span, hint));
        };
        let of = plan.event_type.types()[column].clone();
        let mut keys = Vec::new();
        for (index, of) in first.index.iter().zip(&key_types) {
            let key = self.bind(index)?;
            if key.of != *of && !(key.of.is_numeric() && of.is_numeric()) {
                return Err(mismatch(&key.of, of, index.span));
            }
            keys.push(to_type(key, of));
        }
        Ok(Expr {
            node: Node::TableColumn { table, keys, column },
            of,
        })
    }

    pub(super) fn context_property(&self, context: CatalogId, parts: &[PathPart], span: Span) -> Result<Expr> {
        let plan = &self.catalog.contexts[context];
        let name = parts.first().map_or("", |part| part.name.name.as_str());
        let property = |property, of| {
            Ok(Expr {
                node: Node::Context(property),
                of,
            })
        };
        match (&plan.kind, name) {
            (_, "name") => return property(ContextProperty::Name, Type::Text),
            (_, "id") => return property(ContextProperty::Id, Type::Int),
            (ContextKind::Category { .. }, "label") => return property(ContextProperty::Label, Type::Text),
            (ContextKind::StartEnd { .. }, "startTime") => return property(ContextProperty::StartTime, Type::Long),
            (ContextKind::StartEnd { .. }, "endTime") => return property(ContextProperty::EndTime, Type::Long),
            (ContextKind::Keyed { streams, .. }, _) => {
                let key = name.strip_prefix("key").and_then(|digits| digits.parse::<usize>().ok());
                if let Some(key) = key.and_then(|key| key.checked_sub(1))
                    && let Some(expr) = streams.first().and_then(|(_, keys)| keys.get(key))
                {
                    return property(ContextProperty::Key(key), expr.of.clone());
                }
            }
            _ => {}
        }
        if let (ContextKind::StartEnd { start, .. }, [tag, column]) = (&plan.kind, parts) {
            let started = match start {
                ContextPoint::Filter { filter, alias } if alias.as_deref() == Some(tag.name.name.as_str()) => {
                    Some((0, &self.catalog.event_types[filter.event_type]))
                }
                ContextPoint::Pattern(pattern) => pattern
                    .tags
                    .iter()
                    .position(|stream| stream.name.as_deref() == Some(tag.name.name.as_str()))
                    .map(|at| (at, &pattern.tags[at].event_type)),
                _ => None,
            };
            if let Some((tag, event_type)) = started
                && let Some(index) = event_type.column(&column.name.name)
            {
                let of = event_type.types()[index].clone();
                return property(ContextProperty::Start { tag, column: index }, of);
            }
        }
        Err(Fault::invalid(
            span,
            format!(
                "Property named 'context.{name}' is not valid in context '{}'",
                plan.name
            ),
        ))
    }

    pub(super) fn not_valid(&self, name: &str, span: Span, near: Option<&str>) -> Box<Fault> {
        let guess = near.map_or(String::new(), |near| format!(" (did you mean '{near}'?)"));
        Fault::invalid(
            span,
            format!("Property named '{name}' is not valid in any stream{guess}"),
        )
    }

    pub(super) fn unknown(&self, parts: &[PathPart], span: Span) -> Box<Fault> {
        let text = parts
            .iter()
            .map(|part| part.name.name.as_str())
            .collect::<Vec<_>>()
            .join(".");
        let first = parts.first().map_or("", |part| part.name.name.as_str());
        if parts.len() > 1 {
            let names = self.streams.iter().filter_map(|stream| stream.name.as_deref());
            let guess = nearest(first, names).map_or(String::new(), |near| format!(" (did you mean '{near}'?)"));
            return Fault::invalid(
                span,
                format!("Failed to resolve property '{text}' to a stream or nested property in a stream{guess}"),
            );
        }
        if self.unqualified.is_empty()
            && let Some(stream) = self
                .streams
                .iter()
                .find(|stream| stream.event_type.column(first).is_some())
            && let Some(tag) = &stream.name
        {
            return Fault::invalid(span, format!("Property named '{text}' is not valid in any stream"))
                .with_hint(Some(format!("name the event it is of: '{tag}.{text}'")));
        }
        let columns = self
            .streams
            .iter()
            .flat_map(|stream| stream.event_type.schema().fields().iter());
        let names = columns.map(|field| field.name().as_str());
        let variables = self.catalog.variables.iter().map(|variable| variable.name.as_str());
        self.not_valid(&text, span, nearest(&text, names.chain(variables)))
    }
}
