//! Streams: filters, windows, patterns.

use std::sync::Arc;

use super::bind::{Binder, Result, conjuncts, constant, references};
use super::{
    Catalog, CatalogId, FilterPlan, OrderKey, PatternNode, PatternPlan, ScopeStream, SourcePlan, StreamPlan,
    SubqueryPlan, WindowPlan,
};
use crate::error::{Fault, nearest};
use crate::event_type::EventType;
use crate::expr::{Expr, Node};
use crate::syntax::ast::{
    Argument, BinaryOp, ExprKind, Filter, FromItem, Guard, Pattern, PatternKind, PatternSource, Source, Span, View,
};
use crate::value::Value;

/// The windows, for guesses.
const WINDOWS: [&str; 21] = [
    "time",
    "time_batch",
    "length",
    "length_batch",
    "keepall",
    "unique",
    "ext_timed",
    "ext_timed_batch",
    "lastevent",
    "firstevent",
    "firstunique",
    "firstlength",
    "firsttime",
    "sort",
    "rank",
    "time_length_batch",
    "time_accum",
    "time_order",
    "timetolive",
    "expr",
    "groupwin",
];

/// What a name in a from clause stands for.
pub(super) enum Named {
    Events(CatalogId),
    Window(CatalogId),
    Table(CatalogId),
}

/// Finds an event type, window or table.
pub(super) fn resolve(catalog: &Catalog, name: &crate::syntax::ast::Ident) -> Result<Named> {
    if let Some(window) = catalog.windows.iter().position(|window| window.name == name.name) {
        return Ok(Named::Window(window));
    }
    if let Some(table) = catalog.tables.iter().position(|table| table.name == name.name) {
        return Ok(Named::Table(table));
    }
    if let Some(event_type) = catalog
        .event_types
        .iter()
        .position(|event_type| event_type.name() == name.name)
    {
        return Ok(Named::Events(event_type));
    }
    let types = catalog.event_types.iter().map(|event_type| event_type.name());
    let windows = catalog.windows.iter().map(|window| window.name.as_str());
    let tables = catalog.tables.iter().map(|table| table.name.as_str());
    let hint = nearest(&name.name, types.chain(windows).chain(tables)).map(|near| format!("did you mean '{near}'?"));
    Err(Fault::invalid(
        name.span,
        format!("Failed to resolve event type, named window or table by name '{name}'"),
    )
    .with_hint(hint))
}

/// The type of an event, for a filter that must be on events; of a named window, what is inserted into it.
fn resolve_events(catalog: &Catalog, name: &crate::syntax::ast::Ident) -> Result<CatalogId> {
    match resolve(catalog, name)? {
        Named::Events(event_type) => Ok(event_type),
        Named::Window(window) => Ok(catalog.windows[window].inserts),
        Named::Table(_) => Err(not_events(name)),
    }
}

fn not_events(name: &crate::syntax::ast::Ident) -> Box<Fault> {
    Fault::unsupported(
        name.span,
        format!("the named window or table '{name}' at this place"),
        "name the event type that is inserted into it",
    )
}

/// The scope of a filter: the event under test and a pattern's tags.
fn filter_scope(event_type: &Arc<EventType>, alias: Option<&str>, tags: &[ScopeStream]) -> Vec<ScopeStream> {
    let own = ScopeStream {
        name: alias.map(str::to_owned),
        event_type: Arc::clone(event_type),
        many: false,
    };
    std::iter::once(own).chain(tags.iter().cloned()).collect()
}

/// Binds a filter's conditions over the event as stream 0 and tags from 1 on.
fn conditions(
    catalog: &Catalog,
    context: Option<CatalogId>,
    filter: &Filter,
    scope: Vec<ScopeStream>,
    subqueries: Option<&mut Vec<SubqueryPlan>>,
) -> Result<Vec<Expr>> {
    let mut binder = Binder::new(catalog, context, scope);
    binder.unqualified = std::iter::once(0..1).collect();
    binder.subqueries_allowed = subqueries.is_some();
    // The numbers of a filter's subqueries go on from those of the statement.
    let mut none = Vec::new();
    let subqueries = subqueries.unwrap_or(&mut none);
    binder.subqueries = std::mem::take(subqueries);
    let mut bound = Vec::new();
    for condition in &filter.conditions {
        let within = format!(
            "Failed to validate filter expression '{}'",
            super::naming::default_name(condition)
        );
        let expr = binder
            .condition(condition, "Invalid filter expression: it must return a boolean value")
            .map_err(|fault| fault.within(&within))?;
        bound.extend(conjuncts(expr));
    }
    if let Some(first) = filter.conditions.first()
        && binder.uses_previous.iter().next().is_some()
    {
        return Err(Fault::invalid(first.span, "'prev' cannot be used in a filter")
            .with_hint(Some("use it in the select list or 'where'".to_owned())));
    }
    *subqueries = binder.subqueries;
    Ok(bound)
}

/// Plans a filter of a context, which is over events alone.
pub(super) fn context_filter(catalog: &Catalog, syntax: &Filter, tags: &[ScopeStream]) -> Result<FilterPlan> {
    match resolve(catalog, &syntax.name)? {
        Named::Events(_) => filter(catalog, None, syntax, None, tags, None),
        Named::Window(_) | Named::Table(_) => Err(not_events(&syntax.name)),
    }
}

/// Plans a filter over events of a type; what refers to tags or a context is kept apart.
pub(super) fn filter(
    catalog: &Catalog,
    context: Option<CatalogId>,
    filter: &Filter,
    alias: Option<&str>,
    tags: &[ScopeStream],
    subqueries: Option<&mut Vec<SubqueryPlan>>,
) -> Result<FilterPlan> {
    let event_type = resolve_events(catalog, &filter.name)?;
    let scope = filter_scope(&catalog.event_types[event_type], alias, tags);
    let mut plan = FilterPlan {
        event_type,
        conditions: Vec::new(),
        equal: Vec::new(),
        correlated: Vec::new(),
    };
    for condition in conditions(catalog, context, filter, scope, subqueries)? {
        let own = |expr: &Expr| {
            let found = references(expr);
            !found.others && found.streams.iter().eq([&0])
        };
        let found = references(&condition);
        if !found.others && found.streams.iter().all(|stream| *stream == 0) {
            plan.conditions.push(condition);
            continue;
        }
        match condition.node {
            Node::Compare(BinaryOp::Equal, left, right) if own(&left) && !references(&right).streams.contains(&0) => {
                plan.equal.push((*left, *right));
            }
            Node::Compare(BinaryOp::Equal, left, right) if own(&right) && !references(&left).streams.contains(&0) => {
                plan.equal.push((*right, *left));
            }
            node => plan.correlated.push(Expr { node, of: condition.of }),
        }
    }
    Ok(plan)
}

/// Plans one stream of a from clause; with it the scope it gives to expressions.
pub(super) fn stream(
    catalog: &Catalog,
    context: Option<CatalogId>,
    item: &FromItem,
    alone: bool,
    subqueries: Option<&mut Vec<SubqueryPlan>>,
) -> Result<(StreamPlan, Vec<ScopeStream>)> {
    if let Some(retain) = item.retain {
        let word = match retain {
            crate::syntax::ast::Retain::Union => "retain-union",
            crate::syntax::ast::Retain::Intersection => "retain-intersection",
        };
        return Err(Fault::unsupported(
            item.span,
            format!("'{word}'"),
            "use one window, or '#time_length_batch'",
        ));
    }
    let alias = item.alias.as_ref().map(|alias| alias.name.as_str());
    let (source, event_type, scope) = match &item.source {
        Source::Pattern(source) => {
            let plan = pattern(catalog, context, source)?;
            let columns: Vec<_> = plan
                .tags
                .iter()
                .map(|tag| {
                    let of = tag.event_type.row_type();
                    let of = if tag.many {
                        crate::value::Type::List(Box::new(of))
                    } else {
                        of
                    };
                    (tag.name.clone().unwrap_or_default(), of)
                })
                .collect();
            let event_type = Arc::new(EventType::from_columns("pattern", &columns));
            let scope = if alone {
                plan.tags.clone()
            } else {
                vec![ScopeStream {
                    name: alias.map(str::to_owned),
                    event_type: Arc::clone(&event_type),
                    many: false,
                }]
            };
            (SourcePlan::Pattern(Box::new(plan)), event_type, scope)
        }
        Source::Filter(source) => {
            let (plan, event_type) = match resolve(catalog, &source.name)? {
                Named::Events(event_type) => (
                    SourcePlan::Events(filter(catalog, context, source, alias, &[], subqueries)?),
                    Arc::clone(&catalog.event_types[event_type]),
                ),
                Named::Window(window) => {
                    let event_type = Arc::clone(&catalog.windows[window].event_type);
                    let scope = filter_scope(&event_type, alias, &[]);
                    (
                        SourcePlan::NamedWindow {
                            window,
                            conditions: conditions(catalog, context, source, scope, subqueries)?,
                        },
                        event_type,
                    )
                }
                Named::Table(table) => {
                    let event_type = Arc::clone(&catalog.tables[table].event_type);
                    let scope = filter_scope(&event_type, alias, &[]);
                    (
                        SourcePlan::Table {
                            table,
                            conditions: conditions(catalog, context, source, scope, subqueries)?,
                        },
                        event_type,
                    )
                }
            };
            let scope = vec![ScopeStream {
                name: alias.map(str::to_owned),
                event_type: Arc::clone(&event_type),
                many: false,
            }];
            (plan, event_type, scope)
        }
    };
    let window_scope = if alone {
        scope.clone()
    } else {
        vec![ScopeStream {
            name: alias.map(str::to_owned),
            event_type: Arc::clone(&event_type),
            many: false,
        }]
    };
    let window = window(catalog, context, &item.views, window_scope)?;
    if let (Some(_), Some(view)) = (&window, item.views.first()) {
        match &source {
            SourcePlan::NamedWindow { .. } => {
                return Err(Fault::invalid(
                    view.span,
                    "Consuming statements to a named window cannot declare a data window view onto the named window",
                )
                .with_hint(Some("declare the window where the named window is created".to_owned())));
            }
            SourcePlan::Table { .. } => {
                return Err(Fault::invalid(
                    view.span,
                    "Joins with tables do not allow views on the table",
                ));
            }
            SourcePlan::Events(_) | SourcePlan::Pattern(_) => {}
        }
    }
    let plan = StreamPlan {
        source,
        event_type,
        window,
        join: item.join,
        on: None,
        unidirectional: item.unidirectional,
        uses_previous: false,
    };
    Ok((plan, scope))
}

/// Plans the window of a stream; its expressions number the row's streams as the scope does.
pub(super) fn window(
    catalog: &Catalog,
    context: Option<CatalogId>,
    views: &[View],
    scope: Vec<ScopeStream>,
) -> Result<Option<WindowPlan>> {
    let [view, further @ ..] = views else { return Ok(None) };
    if let Some(second) = further.first() {
        let (what, instead) = if view.name.name == "groupwin" {
            (
                "a window for each group ('#groupwin')".to_owned(),
                "use a context: 'create context C partition by key from Flow'",
            )
        } else {
            (
                format!("a second window on one stream ('#{}#{}')", view.name, second.name),
                "use one window; insert its rows into another stream for a second",
            )
        };
        return Err(Fault::unsupported(view.span.to(second.span), what, instead));
    }
    let mut binder = Binder::new(catalog, context, scope);
    binder.subqueries_allowed = false;
    let mut arguments = Arguments { binder, view };
    let plan = match view.name.name.as_str() {
        "time" => {
            arguments.expect(1..=1)?;
            WindowPlan::Time(arguments.period(0)?)
        }
        "time_batch" => {
            let (force_update, start_eager) = arguments.flags(1)?;
            arguments.expect(1..=3)?;
            WindowPlan::TimeBatch {
                ms: arguments.period(0)?,
                reference_ms: arguments.reference(1)?,
                force_update,
                start_eager,
            }
        }
        "length" => {
            arguments.expect(1..=1)?;
            WindowPlan::Length(arguments.count(0)?)
        }
        "length_batch" => {
            arguments.expect(1..=1)?;
            WindowPlan::LengthBatch(arguments.count(0)?)
        }
        "time_length_batch" => {
            let (force_update, start_eager) = arguments.flags(2)?;
            arguments.expect(2..=3)?;
            WindowPlan::TimeLengthBatch {
                ms: arguments.period(0)?,
                length: arguments.count(1)?,
                force_update,
                start_eager,
            }
        }
        "keepall" => {
            arguments.expect(0..=0)?;
            WindowPlan::KeepAll
        }
        "lastevent" => {
            arguments.expect(0..=0)?;
            WindowPlan::LastEvent
        }
        "firstevent" => {
            arguments.expect(0..=0)?;
            WindowPlan::FirstEvent
        }
        "firstlength" => {
            arguments.expect(1..=1)?;
            WindowPlan::FirstLength(arguments.count(0)?)
        }
        "firsttime" => {
            arguments.expect(1..=1)?;
            WindowPlan::FirstTime(arguments.period(0)?)
        }
        "unique" => {
            arguments.expect(1..=usize::MAX)?;
            WindowPlan::Unique(arguments.exprs(0, view.arguments.len())?)
        }
        "firstunique" => {
            arguments.expect(1..=usize::MAX)?;
            WindowPlan::FirstUnique(arguments.exprs(0, view.arguments.len())?)
        }
        "ext_timed" => {
            arguments.expect(2..=2)?;
            WindowPlan::ExtTimed {
                time: arguments.time(0)?,
                ms: arguments.period(1)?,
            }
        }
        "ext_timed_batch" => {
            arguments.expect(2..=3)?;
            WindowPlan::ExtTimedBatch {
                time: arguments.time(0)?,
                ms: arguments.period(1)?,
                reference_ms: arguments.reference(2)?,
            }
        }
        "time_accum" => {
            arguments.expect(1..=1)?;
            WindowPlan::TimeAccum(arguments.period(0)?)
        }
        "time_order" => {
            arguments.expect(2..=2)?;
            WindowPlan::TimeOrder {
                time: arguments.time(0)?,
                ms: arguments.period(1)?,
            }
        }
        "timetolive" => {
            arguments.expect(1..=1)?;
            WindowPlan::TimeToLive(arguments.time(0)?)
        }
        "sort" => {
            arguments.expect(2..=usize::MAX)?;
            WindowPlan::Sort {
                length: arguments.count(0)?,
                keys: arguments.keys(1)?,
            }
        }
        "rank" => {
            arguments.expect(3..=usize::MAX)?;
            // The number of rows stands between the unique keys and the sort keys.
            let Some(at) = view
                .arguments
                .iter()
                .position(|argument| matches!(argument.kind, ExprKind::Literal(_)))
            else {
                return Err(Fault::invalid(
                    view.span,
                    "The 'rank' window takes unique keys, a number of rows and sort keys",
                ));
            };
            let unique = arguments.exprs(0, at)?;
            WindowPlan::Rank {
                unique,
                length: arguments.count(at)?,
                keys: arguments.keys(at + 1)?,
            }
        }
        "expr" | "expr_batch" => {
            return Err(Fault::unsupported(
                view.span,
                format!("the window '#{}'", view.name),
                "use '#time', '#length' or '#ext_timed'",
            ));
        }
        "groupwin" => {
            return Err(Fault::unsupported(
                view.span,
                "a window for each group ('#groupwin')",
                "use a context: 'create context C partition by key from Flow'",
            ));
        }
        "uni" | "size" | "linest" | "correl" | "weighted_avg" => {
            return Err(Fault::unsupported(
                view.span,
                format!("the derived-value view '#{}'", view.name),
                "use aggregates: 'avg', 'stddev', 'count'",
            ));
        }
        name => {
            let hint = nearest(name, WINDOWS).map(|near| format!("did you mean '#{near}'?"));
            return Err(Fault::invalid(
                view.name.span,
                format!("Failed to validate data window declaration: View name '{name}' is not a known view name"),
            )
            .with_hint(hint));
        }
    };
    Ok(Some(plan))
}

/// The arguments of a window.
struct Arguments<'a> {
    binder: Binder<'a>,
    view: &'a View,
}

impl Arguments<'_> {
    fn expect(&self, count: std::ops::RangeInclusive<usize>) -> Result<()> {
        let given = self.view.arguments.len();
        if count.contains(&given) {
            return Ok(());
        }
        let wanted = match (count.start(), count.end()) {
            (least, &usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        Err(Fault::invalid(
            self.view.span,
            format!(
                "Failed to validate data window declaration: '#{}' takes {wanted} arguments and is given {given}",
                self.view.name
            ),
        ))
    }

    fn period(&mut self, at: usize) -> Result<i64> {
        self.binder.milliseconds(&self.view.arguments[at], "a window's length")
    }

    fn count(&mut self, at: usize) -> Result<u64> {
        self.binder
            .count(&self.view.arguments[at], "a window's number of rows", 1)
    }

    fn exprs(&mut self, from: usize, to: usize) -> Result<Vec<Expr>> {
        self.view.arguments[from..to]
            .iter()
            .map(|argument| self.binder.bind(argument))
            .collect()
    }

    fn time(&mut self, at: usize) -> Result<Expr> {
        let argument = &self.view.arguments[at];
        let bound = self.binder.bind(argument)?;
        if !bound.of.is_integer() {
            return Err(Fault::invalid(
                argument.span,
                "The time of a row must be a number of milliseconds",
            ));
        }
        Ok(super::bind::to_type(bound, &crate::value::Type::Long))
    }

    fn keys(&mut self, from: usize) -> Result<Vec<OrderKey>> {
        let mut keys = Vec::new();
        for argument in &self.view.arguments[from..] {
            let (syntax, descending) = match &argument.kind {
                ExprKind::Call(call) if matches!(call.name.name.as_str(), "asc" | "desc") => {
                    match call.arguments.as_slice() {
                        [Argument::Expr(inner)] => (inner, call.name.name == "desc"),
                        _ => (argument, false),
                    }
                }
                _ => (argument, false),
            };
            keys.push(OrderKey {
                expr: self.binder.bind(syntax)?,
                descending,
            });
        }
        Ok(keys)
    }

    /// The reference point of a batch, unless that argument is a text of flags.
    fn reference(&mut self, at: usize) -> Result<Option<i64>> {
        let Some(argument) = self.view.arguments.get(at) else {
            return Ok(None);
        };
        let bound = self.binder.bind(argument)?;
        match constant(&bound) {
            Some(Value::Text(_)) => Ok(None),
            Some(value) if value.as_long().is_some() => Ok(value.as_long()),
            _ => Err(Fault::invalid(
                argument.span,
                "The reference point of a batch must be a number of milliseconds",
            )),
        }
    }

    /// `FORCE_UPDATE` and `START_EAGER` among the arguments from that place on.
    fn flags(&self, from: usize) -> Result<(bool, bool)> {
        let (mut force_update, mut start_eager) = (false, false);
        for argument in self.view.arguments.iter().skip(from) {
            let ExprKind::Literal(Value::Text(flags)) = &argument.kind else {
                continue;
            };
            for flag in flags.split(',').map(str::trim) {
                match flag.to_ascii_uppercase().as_str() {
                    "FORCE_UPDATE" => force_update = true,
                    "START_EAGER" => start_eager = true,
                    _ => {
                        return Err(
                            Fault::invalid(argument.span, format!("'{flag}' is no keyword of a batch window"))
                                .with_hint(Some("the keywords are FORCE_UPDATE and START_EAGER".to_owned())),
                        );
                    }
                }
            }
        }
        // An eager start also delivers empty batches, as Esper does.
        Ok((force_update || start_eager, start_eager))
    }
}

/// Plans a pattern.
pub(super) fn pattern(catalog: &Catalog, context: Option<CatalogId>, source: &PatternSource) -> Result<PatternPlan> {
    let mut suppress_overlapping = false;
    let mut discard_partials = false;
    for annotation in &source.annotations {
        match annotation.name.name.to_ascii_lowercase().as_str() {
            "suppressoverlappingmatches" => suppress_overlapping = true,
            "discardpartialsonmatch" => discard_partials = true,
            _ => {
                return Err(Fault::invalid(
                    annotation.name.span,
                    format!("Unrecognized pattern-level annotation '{}'", annotation.name),
                ));
            }
        }
    }
    let mut planner = PatternPlanner {
        catalog,
        context,
        tags: Vec::new(),
        many: false,
    };
    let root = planner.node(&source.pattern)?;
    Ok(PatternPlan {
        tags: planner.tags,
        root,
        suppress_overlapping,
        discard_partials,
    })
}

struct PatternPlanner<'a> {
    catalog: &'a Catalog,
    context: Option<CatalogId>,
    tags: Vec<ScopeStream>,
    /// Within a repetition.
    many: bool,
}

impl PatternPlanner<'_> {
    /// A binder of expressions over the tags known so far, as streams from 1 on.
    fn binder(&self) -> Binder<'_> {
        let nothing = Arc::new(EventType::from_columns("", &[]));
        let mut binder = Binder::new(self.catalog, self.context, filter_scope(&nothing, None, &self.tags));
        binder.unqualified = Vec::new();
        binder.subqueries_allowed = false;
        binder
    }

    fn nodes(&mut self, patterns: &[Pattern]) -> Result<Vec<PatternNode>> {
        patterns.iter().map(|pattern| self.node(pattern)).collect()
    }

    fn boxed(&mut self, pattern: &Pattern) -> Result<Box<PatternNode>> {
        self.node(pattern).map(Box::new)
    }

    /// A node within a repetition, with the tags that collect there.
    fn repeated(&mut self, pattern: &Pattern) -> Result<(Box<PatternNode>, Vec<usize>)> {
        let first = self.tags.len();
        let outside = std::mem::replace(&mut self.many, true);
        let inner = self.boxed(pattern)?;
        self.many = outside;
        Ok((inner, (first..self.tags.len()).collect()))
    }

    fn node(&mut self, pattern: &Pattern) -> Result<PatternNode> {
        Ok(match &pattern.kind {
            PatternKind::Filter { tag, filter: syntax } => {
                let plan = filter(
                    self.catalog,
                    self.context,
                    syntax,
                    tag.as_ref().map(|tag| tag.name.as_str()),
                    &self.tags,
                    None,
                )?;
                let event_type = &self.catalog.event_types[plan.event_type];
                let tag = match tag {
                    None => None,
                    Some(tag) => Some(self.tag(&tag.name, tag.span, event_type)?),
                };
                PatternNode::Filter { tag, filter: plan }
            }
            PatternKind::Every(inner) => PatternNode::Every(self.boxed(inner)?),
            PatternKind::EveryDistinct { keys, inner } => {
                let inner = self.boxed(inner)?;
                let mut expiry_ms = None;
                let mut bound = Vec::new();
                let mut binder = self.binder();
                for key in keys {
                    if matches!(key.kind, ExprKind::Period(_)) {
                        expiry_ms = Some(binder.milliseconds(key, "the period of 'every-distinct'")?);
                    } else {
                        bound.push(binder.bind(key)?);
                    }
                }
                if bound.is_empty() {
                    return Err(Fault::invalid(
                        pattern.span,
                        "Every-distinct node requires one or more distinct-value expressions",
                    ));
                }
                PatternNode::EveryDistinct {
                    keys: bound,
                    expiry_ms,
                    inner,
                }
            }
            PatternKind::FollowedBy(steps) => PatternNode::FollowedBy(self.nodes(steps)?),
            PatternKind::And(branches) => PatternNode::And(self.nodes(branches)?),
            PatternKind::Or(branches) => PatternNode::Or(self.nodes(branches)?),
            PatternKind::Not(inner) => PatternNode::Not(self.boxed(inner)?),
            PatternKind::Guard { inner, guard } => {
                let inner = self.boxed(inner)?;
                match guard {
                    Guard::Within(period) => PatternNode::Within {
                        ms: self.binder().milliseconds(period, "the period of 'timer:within'")?,
                        max: None,
                        inner,
                    },
                    Guard::WithinMax(period, count) => PatternNode::Within {
                        ms: self.binder().milliseconds(period, "the period of 'timer:withinmax'")?,
                        max: Some(self.binder().count(count, "the number of 'timer:withinmax'", 0)?),
                        inner,
                    },
                    Guard::While(condition) => {
                        let condition = self
                            .binder()
                            .condition(condition, "A 'while' guard must return a boolean value")?;
                        PatternNode::While { condition, inner }
                    }
                }
            }
            PatternKind::Interval(period) => {
                PatternNode::IntervalMs(self.binder().milliseconds(period, "the period of 'timer:interval'")?)
            }
            PatternKind::At(_) => {
                return Err(Fault::unsupported(
                    pattern.span,
                    "timer:at (cron)",
                    "use 'timer:interval(T)'",
                ));
            }
            PatternKind::Repeat { count, inner } => {
                let count = self.binder().count(count, "the number of repetitions", 1)?;
                let (inner, tags) = self.repeated(inner)?;
                PatternNode::Repeat { count, inner, tags }
            }
            PatternKind::Until { inner, end } => {
                let (inner, tags) = self.repeated(inner)?;
                let end = self.boxed(end)?;
                PatternNode::Until { inner, end, tags }
            }
        })
    }

    fn tag(&mut self, name: &str, span: Span, event_type: &Arc<EventType>) -> Result<usize> {
        if let Some(known) = self.tags.iter().position(|tag| tag.name.as_deref() == Some(name)) {
            if self.tags[known].event_type != *event_type {
                return Err(Fault::invalid(
                    span,
                    format!(
                        "Tag '{name}' for event '{}' has already been declared for another event",
                        event_type.name()
                    ),
                ));
            }
            return Ok(known);
        }
        self.tags.push(ScopeStream {
            name: Some(name.to_owned()),
            event_type: Arc::clone(event_type),
            many: self.many,
        });
        Ok(self.tags.len() - 1)
    }
}
