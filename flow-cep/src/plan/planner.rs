//! Statements → plans, one after another: what one defines, the next can name.

use std::sync::Arc;

use super::bind::{Aggregates, Binder, Result, constant, to_type, type_named};
use super::select::{clauses, equality, result_columns, select, unbounded};
use super::source::{Named, filter, pattern, resolve, stream, window};
use super::{
    Action, Catalog, CatalogId, Context, ContextKind, ContextPoint, HashFunction, InsertPlan, InsertTarget, IntoTable,
    MergeActionPlan, MergeClausePlan, NamedWindow, OnActionPlan, OnPlan, ScopeStream, SelectPlan, SourcePlan,
    StatementPlan, StreamPlan, Table, TableColumnPlan, Unbounded, Variable,
};
use crate::error::{Error, Fault};
use crate::event_type::EventType;
use crate::expr::{Aggregate, Expr, Node};
use crate::syntax::ast::{
    Argument, Assignment, Body, ColumnDefinition, ContextKind as ContextSyntax, ContextPoint as PointSyntax,
    CreateTable, CreateVariable, CreateWindow, Expr as Syntax, ExprKind, FromItem, Ident, InsertInto, JoinKind,
    MergeAction, OnAction, OnTrigger, Select, SelectItem, Source, Span, Statement, TableColumnKind, WindowColumns,
};
use crate::value::{Type, Value};

/// Plans the statements of one engine.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    catalog: Catalog,
    statements: usize,
}

impl Planner {
    /// A planner that knows the event types from outside.
    #[must_use]
    pub fn new(event_types: impl IntoIterator<Item = EventType>) -> Self {
        let event_types = event_types.into_iter().map(Arc::new).collect();
        Self {
            catalog: Catalog {
                event_types,
                ..Catalog::default()
            },
            statements: 0,
        }
    }

    /// What has been defined so far.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Passes over a statement that could not be parsed, so that those after it keep their numbers, and names from them.
    pub const fn skip(&mut self) {
        self.statements += 1;
    }

    /// Plans a statement; `text` is what it was parsed from, for the message.
    ///
    /// # Errors
    /// When a name is unknown, a type does not fit, or something is asked for that is not supported. Nothing has been
    /// defined then.
    pub fn plan(&mut self, statement: &Statement, text: &str) -> std::result::Result<StatementPlan, Error> {
        let number = self.statements;
        self.statements += 1;
        let name = statement.name().map_or_else(|| format!("stmt-{number}"), str::to_owned);
        let mut attempt = self.catalog.clone();
        match plan_statement(&mut attempt, statement, name, number) {
            Ok(plan) => {
                self.catalog = attempt;
                Ok(plan)
            }
            Err(fault) => Err(fault.locate(text, statement.name())),
        }
    }
}

fn plan_statement(catalog: &mut Catalog, statement: &Statement, name: String, number: usize) -> Result<StatementPlan> {
    let context = match &statement.context {
        None => None,
        Some(context) => {
            let found = catalog.contexts.iter().position(|known| known.name == context.name);
            Some(found.ok_or_else(|| {
                Fault::invalid(context.span, format!("Context by name '{context}' could not be found"))
            })?)
        }
    };
    let mut growth = Vec::new();
    if let Some(context) = context
        && matches!(catalog.contexts[context].kind, ContextKind::Keyed { end: None, .. })
    {
        growth.push(Unbounded::Partitions);
    }
    let action = match &statement.body {
        Body::Select(syntax) => {
            let mut plan = select(catalog, context, syntax)?;
            into_table(catalog, &mut plan, syntax)?;
            if let Some(insert) = &syntax.insert {
                plan.insert = Some(insert_plan(catalog, &plan, insert)?);
            }
            growth.extend(unbounded(&plan));
            Action::Select(Box::new(plan))
        }
        Body::CreateWindow(syntax) => Action::CreateWindow(create_window(catalog, context, syntax, statement.span)?),
        Body::CreateTable(syntax) => {
            if let Some(context) = &statement.context {
                return Err(Fault::unsupported(
                    context.span,
                    "a table in a context",
                    "make the context's key the table's primary key",
                ));
            }
            Action::CreateTable(create_table(catalog, syntax)?)
        }
        Body::CreateContext(syntax) => {
            if catalog.contexts.iter().any(|known| known.name == syntax.name.name) {
                return Err(Fault::invalid(
                    syntax.name.span,
                    format!("Context by name '{}' already exists", syntax.name),
                ));
            }
            let kind = context_kind(catalog, &syntax.kind)?;
            catalog.contexts.push(Context {
                name: syntax.name.name.clone(),
                kind,
            });
            Action::CreateContext(catalog.contexts.len() - 1)
        }
        Body::CreateVariable(syntax) => Action::CreateVariable(create_variable(catalog, syntax)?),
        Body::CreateSchema(syntax) => {
            let columns = match &syntax.like {
                None => column_definitions(&syntax.columns)?,
                Some(like) => match resolve(catalog, like)? {
                    Named::Events(event_type) => columns_of_type(&catalog.event_types[event_type]),
                    _ => return Err(Fault::invalid(like.span, format!("'{like}' is no event type"))),
                },
            };
            Action::CreateSchema(define_type(catalog, &syntax.name, &columns)?)
        }
        Body::On(on) => Action::On(Box::new(on_plan(catalog, context, on)?)),
    };
    Ok(StatementPlan {
        name,
        number,
        context,
        action,
        unbounded: growth,
    })
}

fn columns_of_type(event_type: &EventType) -> Vec<(String, Type)> {
    let names = event_type.schema().fields().iter().map(|field| field.name().clone());
    names.zip(event_type.types().iter().cloned()).collect()
}

fn column_definitions(columns: &[ColumnDefinition]) -> Result<Vec<(String, Type)>> {
    columns
        .iter()
        .map(|column| Ok((column.name.name.clone(), type_named(&column.type_name)?)))
        .collect()
}

/// Adds an event type of a new name.
fn define_type(catalog: &mut Catalog, name: &Ident, columns: &[(String, Type)]) -> Result<CatalogId> {
    if resolve(catalog, name).is_ok() {
        return Err(Fault::invalid(
            name.span,
            format!("An event type, named window or table by name '{name}' already exists"),
        ));
    }
    catalog
        .event_types
        .push(Arc::new(EventType::from_columns(&name.name, columns)));
    Ok(catalog.event_types.len() - 1)
}

/// Where rows go, making the event type if it is new.
fn insert_plan(catalog: &mut Catalog, plan: &SelectPlan, insert: &InsertInto) -> Result<InsertPlan> {
    let columns = result_columns(plan);
    let (target, event_type) = match resolve(catalog, &insert.target) {
        Ok(Named::Events(id)) => (InsertTarget::Events(id), Arc::clone(&catalog.event_types[id])),
        Ok(Named::Window(id)) => (InsertTarget::Window(id), Arc::clone(&catalog.windows[id].event_type)),
        Ok(Named::Table(id)) => (InsertTarget::Table(id), Arc::clone(&catalog.tables[id].event_type)),
        Err(_) => {
            let id = define_type(catalog, &insert.target, &columns)?;
            (InsertTarget::Events(id), Arc::clone(&catalog.event_types[id]))
        }
    };
    let mapping = mapping(&event_type, &columns, &insert.target)?;
    Ok(InsertPlan {
        selector: insert.selector,
        target,
        mapping,
    })
}

/// For each column of a type, which of some columns fills it.
fn mapping(event_type: &EventType, columns: &[(String, Type)], at: &Ident) -> Result<Vec<Option<usize>>> {
    for (name, of) in columns {
        let Some(column) = event_type.column(name) else {
            return Err(Fault::invalid(
                at.span,
                format!(
                    "Column '{name}' could not be assigned to any of the properties of the underlying type of '{at}'"
                ),
            ));
        };
        let wanted = &event_type.types()[column];
        let fits = of == wanted
            || *of == Type::Null
            || *wanted == Type::Null
            || (of.is_numeric() && wanted.is_numeric() && (of.is_integer() || *wanted == Type::Double));
        if !fits {
            return Err(Fault::invalid(
                at.span,
                format!(
                    "Event type named '{at}' has already been declared with differing column name or type information: '{name}' is {wanted} there and {of} here"
                ),
            ));
        }
    }
    let names = event_type.schema().fields().iter().map(|field| field.name());
    Ok(names
        .map(|name| columns.iter().position(|(column, _)| column == name))
        .collect())
}

/// `into table`: pairs the statement's aggregates with the table's columns of their names.
fn into_table(catalog: &Catalog, plan: &mut SelectPlan, syntax: &Select) -> Result<()> {
    let Some(name) = &syntax.into_table else { return Ok(()) };
    let Some(table) = catalog.tables.iter().position(|table| table.name == name.name) else {
        return Err(Fault::invalid(
            name.span,
            format!("Invalid into-table clause: Failed to find table by name '{name}'"),
        ));
    };
    let target = &catalog.tables[table];
    if target.keys.len() != plan.group_by.len() {
        return Err(Fault::invalid(
            name.span,
            format!(
                "Incompatible number of group-by expressions: table '{name}' has {} primary key columns, and the statement groups by {}",
                target.keys.len(),
                plan.group_by.len()
            ),
        ));
    }
    for (key, expr) in target.keys.iter().zip(&mut plan.group_by) {
        let of = &target.event_type.types()[*key];
        if expr.of != *of {
            if !(expr.of.is_numeric() && of.is_numeric()) {
                return Err(Fault::invalid(
                    name.span,
                    format!(
                        "Incompatible type for primary key column '{}' of table '{name}': {} and {of}",
                        target.columns[*key].name, expr.of
                    ),
                ));
            }
            *expr = to_type(expr.clone(), of);
        }
    }
    let mut columns = Vec::new();
    for column in &plan.columns {
        let Node::Aggregate(slot) = column.expr.node else {
            continue;
        };
        let Some(at) = target.columns.iter().position(|known| known.name == column.name) else {
            return Err(Fault::invalid(
                name.span,
                format!("Failed to find column '{}' of table '{name}'", column.name),
            )
            .with_hint(Some("give each aggregate the name of its column with 'as'".to_owned())));
        };
        let wanted = target.columns[at].aggregate.as_ref();
        let given = &plan.aggregates[slot];
        if wanted.is_none_or(|wanted| wanted.function != given.function || wanted.distinct != given.distinct) {
            return Err(Fault::invalid(
                name.span,
                format!("Column '{}' of table '{name}' holds another aggregation", column.name),
            ));
        }
        columns.push((slot, at));
    }
    if columns.is_empty() {
        return Err(Fault::invalid(
            name.span,
            "Into-table requires at least one aggregation function",
        ));
    }
    plan.into_table = Some(IntoTable { table, columns });
    Ok(())
}

fn create_window(
    catalog: &mut Catalog,
    context: Option<CatalogId>,
    syntax: &CreateWindow,
    span: Span,
) -> Result<CatalogId> {
    let columns = match &syntax.columns {
        WindowColumns::Columns(columns) => column_definitions(columns)?,
        WindowColumns::Like(like) => named_columns(catalog, like)?,
        WindowColumns::Select(items, from) => {
            let all = named_columns(catalog, from)?;
            let scope = ScopeStream {
                name: None,
                event_type: Arc::new(EventType::from_columns(&from.name, &all)),
                many: false,
            };
            let mut binder = Binder::new(catalog, None, vec![scope]);
            let mut columns = Vec::new();
            for item in items {
                match item {
                    SelectItem::Wildcard(_) => columns.extend(all.iter().cloned()),
                    SelectItem::StreamWildcard { stream, .. } => {
                        return Err(Fault::invalid(stream.span, "'create window' selects columns or '*'"));
                    }
                    SelectItem::Expr { expr, alias } => {
                        let bound = binder.bind(expr)?;
                        let name = alias
                            .as_ref()
                            .map_or_else(|| super::naming::default_name(expr), |alias| alias.name.clone());
                        columns.push((name, bound.of));
                    }
                }
            }
            columns
        }
    };
    if resolve(catalog, &syntax.name).is_ok() {
        return Err(Fault::invalid(
            syntax.name.span,
            format!(
                "An event type, named window or table by name '{}' already exists",
                syntax.name
            ),
        ));
    }
    let event_type = Arc::new(EventType::from_columns(&syntax.name.name, &columns));
    let scope = vec![ScopeStream {
        name: None,
        event_type: Arc::clone(&event_type),
        many: false,
    }];
    let Some(window) = window(catalog, context, &syntax.views, scope)? else {
        return Err(Fault::invalid(
            span,
            "Named windows require one or more child views that are data window views",
        )
        .with_hint(Some(
            "say which rows it keeps: '#time(1 min)', '#keepall' ...".to_owned(),
        )));
    };
    catalog.windows.push(NamedWindow {
        name: syntax.name.name.clone(),
        event_type,
        window,
        context,
    });
    Ok(catalog.windows.len() - 1)
}

fn named_columns(catalog: &Catalog, name: &Ident) -> Result<Vec<(String, Type)>> {
    Ok(match resolve(catalog, name)? {
        Named::Events(id) => columns_of_type(&catalog.event_types[id]),
        Named::Window(id) => columns_of_type(&catalog.windows[id].event_type),
        Named::Table(id) => columns_of_type(&catalog.tables[id].event_type),
    })
}

fn create_table(catalog: &mut Catalog, syntax: &CreateTable) -> Result<CatalogId> {
    if resolve(catalog, &syntax.name).is_ok() {
        return Err(Fault::invalid(
            syntax.name.span,
            format!(
                "An event type, named window or table by name '{}' already exists",
                syntax.name
            ),
        ));
    }
    let mut columns = Vec::new();
    let mut types = Vec::new();
    let mut keys = Vec::new();
    for column in &syntax.columns {
        let aggregate = match &column.kind {
            TableColumnKind::Type(of) => {
                types.push((column.name.name.clone(), type_named(of)?));
                None
            }
            TableColumnKind::Aggregation(call) => {
                let aggregate = table_aggregate(catalog, call)?;
                types.push((column.name.name.clone(), aggregate.of.clone()));
                Some(aggregate)
            }
        };
        if column.primary_key {
            if aggregate.is_some() {
                return Err(Fault::invalid(
                    column.name.span,
                    format!(
                        "Column '{}' may not be a primary key: it holds an aggregation",
                        column.name
                    ),
                ));
            }
            keys.push(columns.len());
        }
        columns.push(TableColumnPlan {
            name: column.name.name.clone(),
            aggregate,
        });
    }
    let event_type = Arc::new(EventType::from_columns(&syntax.name.name, &types));
    catalog.tables.push(Table {
        name: syntax.name.name.clone(),
        event_type,
        columns,
        keys,
        context: None,
    });
    Ok(catalog.tables.len() - 1)
}

/// The aggregation of a table's column, `sum(long)`: its arguments are names of types.
fn table_aggregate(catalog: &Catalog, syntax: &Syntax) -> Result<Aggregate> {
    let ExprKind::Call(call) = &syntax.kind else {
        return Err(Fault::invalid(
            syntax.span,
            "A column of a table holds a type or an aggregation",
        ));
    };
    // The types become columns of their own names, over which the call is bound as any other.
    let mut columns: Vec<(String, Type)> = Vec::new();
    for argument in &call.arguments {
        if let Argument::Expr(Syntax {
            kind: ExprKind::Path(parts),
            ..
        }) = argument
            && let [part] = parts.as_slice()
        {
            columns.push((part.name.name.clone(), type_named(&part.name)?));
        }
    }
    columns.dedup();
    if matches!(
        call.name.name.to_ascii_lowercase().as_str(),
        "window" | "first" | "last" | "sorted" | "maxby" | "minby" | "maxbyever" | "minbyever"
    ) {
        return Err(Fault::unsupported(
            syntax.span,
            format!("the aggregation '{}' in a table", call.name),
            "keep rows in a named window; keep 'count', 'sum', 'avg', 'min', 'max' in tables",
        ));
    }
    let scope = ScopeStream {
        name: None,
        event_type: Arc::new(EventType::from_columns("", &columns)),
        many: false,
    };
    let mut binder = Binder::new(catalog, None, vec![scope]);
    binder.aggregation = Aggregates::Allowed;
    let bound = binder.bind(syntax)?;
    match (bound.node, binder.aggregates.pop()) {
        (Node::Aggregate(_), Some(aggregate)) => Ok(aggregate),
        _ => Err(Fault::invalid(
            syntax.span,
            "A column of a table holds a type or an aggregation",
        )),
    }
}

fn create_variable(catalog: &mut Catalog, syntax: &CreateVariable) -> Result<CatalogId> {
    if catalog.variables.iter().any(|known| known.name == syntax.name.name) {
        return Err(Fault::invalid(
            syntax.name.span,
            format!("Variable by name '{}' has already been created", syntax.name),
        ));
    }
    let of = type_named(&syntax.type_name)?;
    if let Some(list) = &syntax.list {
        let values: Result<Vec<Value>> = list.iter().map(|value| variable_value(catalog, value, &of)).collect();
        catalog.variables.push(Variable {
            name: syntax.name.name.clone(),
            of: Type::List(Box::new(of)),
            constant: true,
            value: Value::List(values?.into()),
        });
        return Ok(catalog.variables.len() - 1);
    }
    let value = match &syntax.value {
        None if syntax.constant => {
            return Err(Fault::invalid(
                syntax.name.span,
                format!("Constant '{}' needs a value", syntax.name),
            ));
        }
        None => Value::Null,
        Some(value) => variable_value(catalog, value, &of)?,
    };
    catalog.variables.push(Variable {
        name: syntax.name.name.clone(),
        of,
        constant: syntax.constant,
        value,
    });
    Ok(catalog.variables.len() - 1)
}

/// A value given to a variable of a type, which must be able to hold it. A network stays the text that it is written as: a
/// column of addresses is tested with it.
fn variable_value(catalog: &Catalog, value: &Syntax, of: &Type) -> Result<Value> {
    let bound = Binder::new(catalog, None, Vec::new()).bind(value)?;
    let fits = bound.of == *of
        || bound.of == Type::Null
        || (bound.of.is_numeric() && of.is_numeric())
        || (bound.of == Type::Text && *of == Type::Address);
    if !fits {
        return Err(super::bind::mismatch(&bound.of, of, value.span));
    }
    let given = constant(&bound);
    let held = constant(&to_type(bound, of));
    let (Some(given), Some(held)) = (given, held) else {
        return Err(Fault::invalid(
            value.span,
            "The value of a variable must be known beforehand",
        ));
    };
    match (&given, of) {
        (Value::Text(text), Type::Address) if held == Value::Null => Err(if text.contains('/') {
            Fault::invalid(value.span, format!("'{text}' is a network, not an address")).with_hint(Some(
                "declare the type 'string': 'in' reads its texts as networks".to_owned(),
            ))
        } else {
            Fault::invalid(value.span, format!("'{text}' is no address"))
        }),
        (_, Type::Int | Type::Long) if given.as_double() != held.as_double() => Err(Fault::invalid(
            value.span,
            format!("'{given}' does not fit the type {of}"),
        )),
        _ => Ok(held),
    }
}

fn context_kind(catalog: &Catalog, syntax: &ContextSyntax) -> Result<ContextKind> {
    Ok(match syntax {
        ContextSyntax::Keyed { streams, end } => {
            let mut planned: Vec<(_, Vec<Expr>)> = Vec::new();
            for stream in streams {
                let plan = filter(catalog, None, &stream.from, None, &[], None)?;
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
            let nothing = ScopeStream {
                name: None,
                event_type: Arc::new(EventType::from_columns("", &[])),
                many: false,
            };
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
                let plan = filter(catalog, None, &stream.from, None, &[], None)?;
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
                let scope = own_scope(&catalog.event_types[plan.event_type]);
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
            let plan = filter(catalog, None, from, None, &[], None)?;
            let mut binder = Binder::new(catalog, None, own_scope(&catalog.event_types[plan.event_type]));
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

fn own_scope(event_type: &Arc<EventType>) -> Vec<ScopeStream> {
    vec![ScopeStream {
        name: None,
        event_type: Arc::clone(event_type),
        many: false,
    }]
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
                filter: filter(catalog, None, syntax, None, &tags, None)?,
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

fn on_plan(catalog: &mut Catalog, context: Option<CatalogId>, on: &OnTrigger) -> Result<OnPlan> {
    let (trigger, triggers) = trigger(catalog, context, on)?;
    let pattern = matches!(trigger.source, SourcePlan::Pattern(_));
    let nothing = || ScopeStream {
        name: None,
        event_type: Arc::new(EventType::from_columns("", &[])),
        many: false,
    };
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
