//! Rows by the value of some expressions over them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Scope};
use crate::row::KeyMap;
use crate::row::event::Row;
use crate::value::Value;

/// Rows by key, in the order of arrival within a key.
///
/// Here null equals null, as it does in Esper's indexes: a look-up by null finds the rows that have null.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    rows: KeyMap<Value, VecDeque<Row>>,
}

/// The key of the expressions in a scope.
pub(crate) fn key_in<'e>(exprs: impl Iterator<Item = &'e Expr>, scope: &dyn Scope) -> Value {
    let mut values: Vec<Value> = exprs.map(|expr| expr.eval(scope)).collect();
    if values.len() == 1 {
        values.swap_remove(0)
    } else {
        Value::List(values.into())
    }
}

impl Index {
    /// Adds a row.
    pub(crate) fn insert(&mut self, key: Value, row: &Row) {
        self.rows.entry(key).or_default().push_back(row.clone());
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, key: Value, row: &Row) {
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
    pub(crate) fn get<'i>(&'i self, key: &Value) -> impl Iterator<Item = &'i Row> + use<'i> {
        self.rows.get(key).into_iter().flatten()
    }
}
