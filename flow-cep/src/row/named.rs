//! Named windows, tables and variables: what statements share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::Aggregate;
use crate::plan::{Catalog, CatalogId};
use crate::row::KeyMap;
use crate::row::aggregate::Group;
use crate::row::event::{Event, Row};
use crate::row::scope::Env;
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
}

/// A table.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Rows by key; a table without key has one row.
    pub(crate) rows: KeyMap<Value, TableRow>,
    #[serde(skip)]
    aggregates: Vec<Aggregate>,
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
                    places: Vec::new(),
                    next: 0,
                })
                .collect(),
            variables: catalog
                .variables
                .iter()
                .map(|variable| variable.value.clone())
                .collect(),
        };
        shared.attach(catalog);
        shared
    }

    /// Gives the tables their columns, which a checkpoint does not hold.
    pub(crate) fn attach(&mut self, catalog: &Catalog) {
        for (table, plan) in self.tables.iter_mut().zip(&catalog.tables) {
            table.aggregates.clear();
            table.places.clear();
            for column in &plan.columns {
                table.places.push(column.aggregate.as_ref().map(|aggregate| {
                    table.aggregates.push(aggregate.clone());
                    table.aggregates.len() - 1
                }));
            }
        }
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
