//! Rows by the value of some expressions over them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::expr::Scope;
use crate::row::KeyMap;
use crate::row::event::Row;
use crate::value::Value;

/// Rows by key, in the order of arrival within a key. Rows with a null in their key are in no index: nothing equals null.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    rows: KeyMap<Value, VecDeque<Row>>,
}

/// The key of several values; none if one is null.
pub(crate) fn key_of(mut values: Vec<Value>) -> Option<Value> {
    if values.iter().any(Value::is_null) {
        return None;
    }
    Some(match values.len() {
        1 => values.swap_remove(0),
        _ => Value::List(values.into()),
    })
}

/// The key of the expressions in a scope; none if one is null.
pub(crate) fn key_in<'e>(exprs: impl Iterator<Item = &'e crate::expr::Expr>, scope: &dyn Scope) -> Option<Value> {
    key_of(exprs.map(|expr| expr.eval(scope)).collect())
}

impl Index {
    /// Adds a row.
    pub(crate) fn insert(&mut self, key: Option<Value>, row: &Row) {
        if let Some(key) = key {
            self.rows.entry(key).or_default().push_back(row.clone());
        }
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, key: Option<Value>, row: &Row) {
        let Some(key) = key else { return };
        let Some(rows) = self.rows.get_mut(&key) else { return };
        if rows.front().is_some_and(|front| front.id() == row.id()) {
            rows.pop_front();
        } else if let Some(at) = rows.iter().position(|other| other.id() == row.id()) {
            rows.remove(at);
        }
        if rows.is_empty() {
            self.rows.swap_remove(&key);
        }
    }

    /// The rows of a key.
    pub(crate) fn get(&self, key: &Value) -> impl Iterator<Item = &Row> {
        self.rows.get(key).into_iter().flatten()
    }
}
