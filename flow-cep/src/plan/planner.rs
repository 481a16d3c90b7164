//! Statements → plans, one after another: what one defines, the next can name.

use std::sync::Arc;

use super::bind::{Aggregates, Binder, Result, constant, to_type, type_named};
use super::context::context_kind;
use super::on_trigger::on_plan;
use super::select::{result_columns, select, unbounded};
use super::source::{Named, resolve, window};
use super::{
    Action, Catalog, CatalogId, Context, ContextKind, InsertPlan, InsertTarget, IntoTable, NamedWindow, ScopeStream,
    SelectPlan, StatementPlan, Table, TableColumnPlan, Unbounded, Variable,
};
use crate::error::{Error, Fault};
use crate::event_type::EventType;
use crate::expr::{Aggregate, Node};
use crate::syntax::ast::{
    Argument, Body, ColumnDefinition, CreateTable, CreateVariable, CreateWindow, Expr as Syntax, ExprKind, Ident,
    InsertInto, Select, SelectItem, Span, Statement, TableColumnKind, WindowColumns,
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
                number,
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
pub(super) fn define_type(catalog: &mut Catalog, name: &Ident, columns: &[(String, Type)]) -> Result<CatalogId> {
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
pub(super) fn insert_plan(catalog: &mut Catalog, plan: &SelectPlan, insert: &InsertInto) -> Result<InsertPlan> {
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
pub(super) fn mapping(event_type: &EventType, columns: &[(String, Type)], at: &Ident) -> Result<Vec<Option<usize>>> {
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
    catalog.event_types.push(Arc::clone(&event_type));
    catalog.windows.push(NamedWindow {
        name: syntax.name.name.clone(),
        event_type,
        inserts: catalog.event_types.len() - 1,
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
