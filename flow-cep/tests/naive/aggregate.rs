//! Aggregates, computed from all their rows each time.

use flow_cep::syntax::ast::{Argument, Call, Expr};

use super::expr::{Scope, argument, eval};
use super::value::V;

/// Whether a call is an aggregate: `min` and `max` are with one argument, else they compare their arguments.
pub(crate) fn is_aggregate(call: &Call) -> bool {
    let positional = call
        .arguments
        .iter()
        .filter(|argument| !matches!(argument, Argument::Named(..)))
        .count();
    match call.name.name.to_lowercase().as_str() {
        "count" | "sum" | "avg" | "stddev" | "median" | "avedev" => (1..=2).contains(&positional),
        "min" | "max" | "first" | "last" => positional == 1 && call.arguments != [Argument::Wildcard],
        _ => false,
    }
}

/// The condition on the rows: the second argument, or the one named `filter`.
fn filter(call: &Call) -> Option<&Expr> {
    let named = call
        .arguments
        .iter()
        .find(|argument| matches!(argument, Argument::Named(..)));
    named.or_else(|| call.arguments.get(1)).and_then(argument)
}

/// `first` and `last` are of a row of the window, also if its value is null; without a window they are of a value.
fn is_edge(call: &Call) -> bool {
    matches!(call.name.name.to_lowercase().as_str(), "first" | "last")
}

pub(crate) fn aggregate(call: &Call, scope: Scope<'_>) -> V {
    let over = |row| Scope {
        tuple: row,
        rows: &[],
        ..scope
    };
    let rows = scope
        .rows
        .iter()
        .filter(|row| filter(call).is_none_or(|condition| eval(condition, over(row)).is_true()));
    let Some(operand) = call.arguments.first().and_then(argument) else {
        return V::Long(rows.count() as i64);
    };
    let mut values: Vec<V> = rows.map(|row| eval(operand, over(row))).collect();
    if scope.unbounded || !is_edge(call) {
        values.retain(|value| !value.is_null());
    }
    match call.name.name.to_lowercase().as_str() {
        "first" => return values.first().cloned().unwrap_or(V::Null),
        "last" => return values.last().cloned().unwrap_or(V::Null),
        _ => {}
    }
    if call.distinct {
        let mut seen: Vec<V> = Vec::new();
        for value in values {
            if !seen.contains(&value) {
                seen.push(value);
            }
        }
        values = seen;
    }
    let name = call.name.name.to_lowercase();
    match name.as_str() {
        "count" => V::Long(values.len() as i64),
        _ if values.is_empty() => V::Null,
        "min" => values.into_iter().min_by(V::order).unwrap_or(V::Null),
        "max" => values.into_iter().max_by(V::order).unwrap_or(V::Null),
        "sum" => {
            let whole: Option<Vec<i64>> = values.iter().map(V::whole).collect();
            whole.map_or_else(
                || V::Double(values.iter().filter_map(V::real).sum()),
                |whole| V::Long(whole.into_iter().fold(0, i64::wrapping_add)),
            )
        }
        _ => numbers(&name, values.iter().filter_map(V::real).collect()),
    }
}

/// Aggregates of numbers that are doubles.
fn numbers(name: &str, mut values: Vec<f64>) -> V {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    V::Double(match name {
        "avg" => mean,
        "avedev" => values.iter().map(|value| (value - mean).abs()).sum::<f64>() / count,
        "stddev" if values.len() < 2 => return V::Null,
        "stddev" => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt(),
        _ => {
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            if values.len() % 2 == 1 {
                values[middle]
            } else {
                f64::midpoint(values[middle - 1], values[middle])
            }
        }
    })
}
