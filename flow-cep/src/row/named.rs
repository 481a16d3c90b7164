//! Named windows, tables and variables: what statements share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Aggregate, Expr, Node};
use crate::plan::{Catalog, CatalogId};
use crate::row::KeyMap;
use crate::row::aggregate::Group;
use crate::row::event::{Event, Row};
use crate::row::index::{Index, key_in};
use crate::row::scope::{Behind, Env, PairScope};
use crate::row::window::Window;
use crate::value::Value;

/// What statements share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// The named windows, as the catalogue numbers them.
    pub(crate) windows: Vec<Window>,
    /// The tables.
    pub(crate) tables: Vec<Table>,
    variables: Vec<Value>,
    /// Changes of named windows of which those that read them have yet to learn: rows that are new, and rows that are gone.
    #[serde(skip)]
    pub(crate) untold: Vec<(CatalogId, Vec<Row>, Vec<Row>)>,
    #[serde(skip)]
    indexes: Vec<WindowIndex>,
}

/// The rows of a named window by some expressions over them, for those that look them up.
#[derive(Debug)]
struct WindowIndex {
    window: CatalogId,
    keys: Vec<Expr>,
    rows: Index,
}

/// The key of a window's row.
fn index_key(keys: &[Expr], row: &Row, env: Env<'_>) -> Value {
    let scope = PairScope {
        env,
        event: row.event(0).map(|event| &**event),
        behind: Behind::Nothing,
        group: None,
    };
    key_in(keys.iter(), &scope)
}

/// A table.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Rows by key; a table without key has one row.
    pub(crate) rows: KeyMap<Value, TableRow>,
    #[serde(skip)]
    aggregates: Vec<Aggregate>,
    /// The columns of the primary key.
    #[serde(skip)]
    keys: Vec<usize>,
    /// For each column its place among the aggregates, or none for a plain one.
    #[serde(skip)]
    places: Vec<Option<usize>>,
    next: u64,
}

/// A row of a table.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TableRow {
    id: u64,
    /// The plain columns; aggregated ones are null here.
    pub(crate) values: Vec<Value>,
    /// The aggregated columns.
    pub(crate) group: Group,
}

impl Shared {
    /// Empty windows and tables.
    pub(crate) fn new(catalog: &Catalog, now_ms: i64) -> Self {
        let mut shared = Self {
            windows: catalog
                .windows
                .iter()
                .map(|window| Window::new(&window.window, now_ms))
                .collect(),
            tables: catalog
                .tables
                .iter()
                .map(|_| Table {
                    rows: KeyMap::default(),
                    aggregates: Vec::new(),
                    keys: Vec::new(),
                    places: Vec::new(),
                    next: 0,
                })
                .collect(),
            variables: catalog
                .variables
                .iter()
                .map(|variable| variable.value.clone())
                .collect(),
            untold: Vec::new(),
            indexes: Vec::new(),
        };
        shared.attach(catalog);
        shared
    }

    /// Gives the tables their columns, which a checkpoint does not hold.
    pub(crate) fn attach(&mut self, catalog: &Catalog) {
        for (table, plan) in self.tables.iter_mut().zip(&catalog.tables) {
            table.aggregates.clear();
            table.places.clear();
            table.keys.clone_from(&plan.keys);
            for column in &plan.columns {
                table.places.push(column.aggregate.as_ref().map(|aggregate| {
                    table.aggregates.push(aggregate.clone());
                    table.aggregates.len() - 1
                }));
            }
        }
    }

    /// Lets the rows of a named window be looked up by the inner sides of equalities.
    pub(crate) fn index_window(&mut self, window: CatalogId, equal: &[(Expr, Expr)]) {
        let keys: Vec<Expr> = equal.iter().map(|(own, _)| own.clone()).collect();
        let known = |index: &WindowIndex| index.window == window && index.keys == keys;
        if !keys.is_empty() && !self.indexes.iter().any(known) {
            self.indexes.push(WindowIndex {
                window,
                keys,
                rows: Index::default(),
            });
        }
    }

    /// Makes the indexes of a restored state's windows, in the manner of another.
    pub(crate) fn restore_indexes(&mut self, from: Self, shapes: &[crate::row::event::Shape], now_ms: i64) {
        let mut indexes = from.indexes;
        for index in &mut indexes {
            index.rows = Index::default();
            let env = Env::plain(now_ms, shapes, self, None);
            for row in self.window_rows(index.window) {
                index.rows.insert(index_key(&index.keys, row, env), row);
            }
        }
        self.indexes = indexes;
    }

    /// Takes a named window's change into its indexes.
    pub(crate) fn absorb(
        &mut self,
        window: CatalogId,
        (new, old): (&[Row], &[Row]),
        shapes: &[crate::row::event::Shape],
        now_ms: i64,
    ) {
        let mut indexes = std::mem::take(&mut self.indexes);
        let env = Env::plain(now_ms, shapes, self, None);
        for index in indexes.iter_mut().filter(|index| index.window == window) {
            for row in new {
                index.rows.insert(index_key(&index.keys, row, env), row);
            }
            for row in old {
                index.rows.remove(index_key(&index.keys, row, env), row);
            }
        }
        self.indexes = indexes;
    }

    /// The rows of a named window that may meet equalities, in a scope of their outer sides: none if no index is of use.
    pub(crate) fn look_up_window<'s>(
        &'s self,
        window: CatalogId,
        equal: &[(Expr, Expr)],
        scope: &dyn crate::expr::Scope,
    ) -> Option<impl Iterator<Item = &'s Row> + use<'s>> {
        let keys = || equal.iter().map(|(own, _)| own);
        let index = self
            .indexes
            .iter()
            .find(|index| index.window == window && index.keys.iter().eq(keys()))?;
        let key = key_in(equal.iter().map(|(_, other)| other), scope);
        Some(index.rows.get(&key))
    }

    /// The row of a table that may meet equalities: none if they do not name all of its key. Each is a column's
    /// expression over the table's row and what it is to equal.
    pub(crate) fn look_up_table(
        &self,
        table: CatalogId,
        equal: &[(&Expr, &Expr)],
        scope: &dyn crate::expr::Scope,
    ) -> Option<Option<Row>> {
        let table = self.tables.get(table)?;
        if table.keys.is_empty() {
            return None;
        }
        let of = |key: &usize| {
            equal
                .iter()
                .find(|(own, _)| matches!(own.node, Node::Column { column, .. } if column == *key))
                .map(|(_, other)| other.eval(scope))
        };
        let keys: Option<Vec<Value>> = table.keys.iter().map(of).collect();
        let found = table.rows.get(&table_key(&keys?));
        Some(found.map(|row| Row::One(Arc::new(table.event(row)))))
    }

    /// Whether a row of a named window is so new that those that read the window have yet to learn of it.
    pub(crate) fn is_untold(&self, window: CatalogId, row: &Row) -> bool {
        let mut changes = self.untold.iter().filter(|(changed, ..)| *changed == window);
        changes.any(|(_, new, _)| new.iter().any(|new| new.id() == row.id()))
    }

    /// The rows that a named window has lost and those that read it have yet to miss.
    pub(crate) fn unmissed(&self, window: CatalogId) -> impl Iterator<Item = &Row> {
        let changes = self.untold.iter().filter(move |(changed, ..)| *changed == window);
        changes
            .flat_map(|(_, _, old)| old)
            .filter(move |row| !self.is_untold(window, row))
    }

    /// The rows of a named window.
    pub(crate) fn window_rows(&self, window: CatalogId) -> Box<dyn Iterator<Item = &Row> + '_> {
        match self.windows.get(window) {
            Some(window) => window.rows(),
            None => Box::new(std::iter::empty()),
        }
    }

    /// The rows of a table as events.
    pub(crate) fn table_rows(&self, _env: &Env<'_>, table: CatalogId) -> Vec<Row> {
        self.tables
            .get(table)
            .map(|table| {
                table
                    .rows
                    .values()
                    .map(|row| Row::One(Arc::new(table.event(row))))
                    .collect()
            })
            .unwrap_or_default()
    }

    /// A column of the row with a key.
    pub(crate) fn table_column(&self, _env: &Env<'_>, table: usize, keys: &[Value], column: usize) -> Value {
        self.tables
            .get(table)
            .and_then(|table| Some(table.value(table.rows.get(&table_key(keys))?, column)))
            .unwrap_or_default()
    }

    /// The value of a variable.
    pub(crate) fn variable(&self, variable: usize) -> Value {
        self.variables.get(variable).cloned().unwrap_or_default()
    }

    /// Sets a variable.
    pub(crate) fn set_variable(&mut self, variable: usize, value: Value) {
        if let Some(slot) = self.variables.get_mut(variable) {
            *slot = value;
        }
    }
}

/// Keys as a table has them.
pub(crate) fn table_key(keys: &[Value]) -> Value {
    Value::List(keys.into())
}

impl Table {
    /// The place of a column among the aggregates.
    pub(crate) fn place(&self, column: usize) -> Option<usize> {
        self.places.get(column).copied().flatten()
    }

    /// The row of a key, made if it is not there.
    pub(crate) fn row(&mut self, key: &Value, keys: &[(usize, Value)]) -> &mut TableRow {
        let (next, aggregates, columns) = (&mut self.next, &self.aggregates, self.places.len());
        self.rows.entry(key.clone()).or_insert_with(|| {
            *next += 1;
            let mut values = vec![Value::Null; columns];
            for (column, value) in keys {
                values[*column] = value.clone();
            }
            TableRow {
                id: *next,
                values,
                group: Group::new(aggregates),
            }
        })
    }

    /// Takes the aggregates of a row out, making the row if it is not there.
    pub(crate) fn take_group(&mut self, key: &Value, keys: &[(usize, Value)]) -> Group {
        std::mem::replace(&mut self.row(key, keys).group, Group::new(&[]))
    }

    /// Puts the aggregates of a row back.
    pub(crate) fn put_group(&mut self, key: &Value, group: Group) {
        if let Some(row) = self.rows.get_mut(key) {
            row.group = group;
        }
    }

    /// The value of a column.
    pub(crate) fn value(&self, row: &TableRow, column: usize) -> Value {
        match self.place(column) {
            Some(place) => row.group.value(&self.aggregates, place, None),
            None => row.values.get(column).cloned().unwrap_or_default(),
        }
    }

    /// A row as an event.
    pub(crate) fn event(&self, row: &TableRow) -> Event {
        Event {
            id: row.id,
            shape: crate::row::WHOLE,
            values: (0..self.places.len()).map(|column| self.value(row, column)).collect(),
        }
    }
}
