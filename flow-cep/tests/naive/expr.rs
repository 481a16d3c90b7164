//! Expressions, evaluated by walking the syntax tree anew each time.

use std::rc::Rc;

use flow_cep::syntax::ast::{Argument, BinaryOp, Call, Expr, ExprKind, InSet, TimeUnit, UnaryOp};

use super::aggregate::{aggregate, is_aggregate};
use super::value::{V, binary, logic};

/// An event of the stream, with its values in the order of [`Names::columns`].
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) number: usize,
    pub(crate) values: Vec<V>,
}

/// An event of each stream; none where an outer join found no partner.
pub(crate) type Tuple = Vec<Option<Rc<Event>>>;

/// What names mean.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) columns: Rc<Vec<String>>,
    /// The name of each stream.
    pub(crate) streams: Vec<String>,
}

impl Names {
    /// Stream and column of a path.
    pub(crate) fn resolve(&self, path: &[&str]) -> Option<(usize, usize)> {
        let (stream, column) = match path {
            [column] if self.streams.len() == 1 => (0, column),
            [stream, column] => (self.streams.iter().position(|name| name == stream)?, column),
            _ => return None,
        };
        Some((stream, self.columns.iter().position(|name| name == column)?))
    }
}

/// What an expression is evaluated over.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) names: &'a Names,
    pub(crate) now: i64,
    /// The row; empty where there is none.
    pub(crate) tuple: &'a [Option<Rc<Event>>],
    /// The rows that aggregates are of.
    pub(crate) rows: &'a [Tuple],
    /// Whether the stream has no window, so that these are all rows ever.
    pub(crate) unbounded: bool,
}

pub(crate) fn path(expr: &Expr) -> Option<Vec<&str>> {
    match &expr.kind {
        ExprKind::Path(parts) if parts.iter().all(|part| part.index.is_empty()) => {
            Some(parts.iter().map(|part| part.name.name.as_str()).collect())
        }
        _ => None,
    }
}

/// The expressions directly within one.
pub(crate) fn within(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Unary(_, operand) | ExprKind::Cast { operand, .. } => vec![operand],
        ExprKind::Binary(_, left, right) => vec![left, right],
        ExprKind::In { operand, set, .. } => {
            let mut all = vec![&**operand];
            match set {
                InSet::Values(values) => all.extend(values),
                InSet::Range { low, high, .. } => all.extend([&**low, &**high]),
                InSet::Subquery(_) => {}
            }
            all
        }
        ExprKind::Between { operand, low, high, .. } => vec![operand, low, high],
        ExprKind::Like { operand, pattern, .. } | ExprKind::Regexp { operand, pattern, .. } => vec![operand, pattern],
        ExprKind::Case {
            operand,
            branches,
            otherwise,
        } => {
            let mut all: Vec<&Expr> = operand.iter().chain(otherwise).map(|expr| &**expr).collect();
            all.extend(branches.iter().flat_map(|(when, then)| [when, then]));
            all
        }
        ExprKind::Call(call) => call.arguments.iter().filter_map(argument).collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn argument(argument: &Argument) -> Option<&Expr> {
    match argument {
        Argument::Expr(expr) | Argument::Named(_, expr) | Argument::Ordered(expr, _) => Some(expr),
        Argument::Wildcard | Argument::StreamWildcard(_) => None,
    }
}

/// Refuses what the interpreter does not know.
pub(crate) fn check(expr: &Expr, names: &Names) -> Result<(), String> {
    let unknown = |what: &str| Err(format!("{what} is not known to the interpreter"));
    match &expr.kind {
        ExprKind::Literal(value) if V::of(value).is_none() => return unknown("this literal"),
        ExprKind::Path(_) if is_clock(expr) => {}
        ExprKind::Path(_) => {
            let found = path(expr).and_then(|path| names.resolve(&path));
            if found.is_none() {
                return unknown("this name");
            }
        }
        ExprKind::In {
            set: InSet::Subquery(_),
            ..
        }
        | ExprKind::Network { .. }
        | ExprKind::Period(_)
        | ExprKind::Subquery(_)
        | ExprKind::Exists(_)
        | ExprKind::Quantified { .. }
        | ExprKind::Like { escape: Some(_), .. } => return unknown("this kind of expression"),
        ExprKind::Cast { type_name, .. } if !["long", "double", "string"].contains(&&*type_name.name) => {
            return unknown("this cast");
        }
        ExprKind::Call(call) => {
            let name = call.name.name.to_lowercase();
            let plain = matches!(name.as_str(), "coalesce" | "current_timestamp" | "min" | "max");
            if call.property.is_some() || !(plain || is_aggregate(call)) {
                return unknown(&name);
            }
            if is_aggregate(call) && within(expr).into_iter().any(contains_aggregate) {
                return unknown("an aggregate in an aggregate");
            }
        }
        _ => {}
    }
    within(expr).into_iter().try_for_each(|inner| check(inner, names))
}

fn is_clock(expr: &Expr) -> bool {
    path(expr).is_some_and(|path| path == ["current_timestamp"])
}

pub(crate) fn contains_aggregate(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Call(call) if is_aggregate(call)) || within(expr).into_iter().any(contains_aggregate)
}

/// The columns outside of aggregates.
pub(crate) fn plain_columns(expr: &Expr, names: &Names) -> Vec<(usize, usize)> {
    match &expr.kind {
        ExprKind::Path(_) => path(expr).and_then(|path| names.resolve(&path)).into_iter().collect(),
        ExprKind::Call(call) if is_aggregate(call) => Vec::new(),
        _ => within(expr)
            .into_iter()
            .flat_map(|inner| plain_columns(inner, names))
            .collect(),
    }
}

/// A time period, or a number of seconds, in milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "periods of a test are short")]
pub(crate) fn milliseconds(expr: &Expr) -> Option<i64> {
    let number = |expr: &Expr| match &expr.kind {
        ExprKind::Literal(value) => V::of(value).and_then(|value| value.real()),
        _ => None,
    };
    let ms = match &expr.kind {
        ExprKind::Period(parts) => parts.iter().try_fold(0.0, |sum, (count, unit)| {
            let unit_ms = match unit {
                TimeUnit::Hour => 3_600_000.0,
                TimeUnit::Minute => 60_000.0,
                TimeUnit::Second => 1000.0,
                TimeUnit::Millisecond => 1.0,
                _ => return None,
            };
            Some(sum + number(count)? * unit_ms)
        })?,
        _ => number(expr)? * 1000.0,
    };
    Some(ms as i64)
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a double to a long cuts it")]
pub(crate) fn eval(expr: &Expr, scope: Scope<'_>) -> V {
    match &expr.kind {
        ExprKind::Literal(value) => V::of(value).unwrap_or(V::Null),
        ExprKind::Path(_) if is_clock(expr) => V::Long(scope.now),
        ExprKind::Path(_) => {
            let place = path(expr).and_then(|path| scope.names.resolve(&path));
            let event = place.and_then(|(stream, _)| scope.tuple.get(stream)?.as_ref());
            place
                .zip(event)
                .map_or(V::Null, |((_, column), event)| event.values[column].clone())
        }
        ExprKind::Unary(op, operand) => unary(*op, &eval(operand, scope)),
        ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
            logic(*op, &eval(left, scope), &eval(right, scope))
        }
        ExprKind::Binary(op, left, right) => binary(*op, &eval(left, scope), &eval(right, scope)),
        ExprKind::In { operand, set, negated } => is_in(&eval(operand, scope), set, *negated, scope),
        ExprKind::Between {
            operand,
            low,
            high,
            negated,
        } => {
            let (value, low, high) = (eval(operand, scope), eval(low, scope), eval(high, scope));
            if value.is_null() || low.is_null() || high.is_null() {
                return V::Bool(false);
            }
            let (low, high) = if low.order(&high).is_gt() {
                (high, low)
            } else {
                (low, high)
            };
            V::Bool((value.order(&low).is_ge() && value.order(&high).is_le()) != *negated)
        }
        ExprKind::Like {
            operand,
            pattern,
            negated,
            ..
        } => matches(operand, pattern, scope, *negated, like),
        ExprKind::Regexp {
            operand,
            pattern,
            negated,
        } => matches(operand, pattern, scope, *negated, |text, pattern| {
            regex::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(text))
        }),
        ExprKind::Case {
            operand,
            branches,
            otherwise,
        } => {
            let subject = operand.as_ref().map(|operand| eval(operand, scope));
            let chosen = branches.iter().find(|(when, _)| {
                let when = eval(when, scope);
                subject
                    .as_ref()
                    .map_or_else(|| when.is_true(), |subject| *subject == when)
            });
            let chosen = chosen.map(|(_, then)| then).or(otherwise.as_deref());
            let value = chosen.map_or(V::Null, |then| eval(then, scope));
            // All branches have one type: a double if one is.
            let mut all = branches.iter().map(|(_, then)| then).chain(otherwise.as_deref());
            let double = all.any(|then| matches!(eval(then, scope), V::Double(_)));
            value.real().filter(|_| double).map_or(value, V::Double)
        }
        ExprKind::Cast { operand, type_name } => {
            let value = eval(operand, scope);
            match type_name.name.as_str() {
                _ if value.is_null() => V::Null,
                "string" => V::Text(value.shown()),
                "double" => value.real().map_or(V::Null, V::Double),
                _ => value
                    .real()
                    .map_or(V::Null, |real| V::Long(value.whole().unwrap_or(real as i64))),
            }
        }
        ExprKind::Call(call) if is_aggregate(call) => aggregate(call, scope),
        ExprKind::Call(call) => function(call, scope),
        _ => V::Null,
    }
}

fn function(call: &Call, scope: Scope<'_>) -> V {
    let values: Vec<V> = call
        .arguments
        .iter()
        .filter_map(argument)
        .map(|expr| eval(expr, scope))
        .collect();
    match call.name.name.to_lowercase().as_str() {
        "current_timestamp" => V::Long(scope.now),
        "coalesce" => values.into_iter().find(|value| !value.is_null()).unwrap_or(V::Null),
        _ if values.iter().any(V::is_null) => V::Null,
        "min" => values.into_iter().min_by(V::order).unwrap_or(V::Null),
        _ => values.into_iter().max_by(V::order).unwrap_or(V::Null),
    }
}

fn unary(op: UnaryOp, value: &V) -> V {
    match (op, value) {
        (UnaryOp::IsNull, _) => V::Bool(value.is_null()),
        (UnaryOp::IsNotNull, _) => V::Bool(!value.is_null()),
        (UnaryOp::Not, V::Bool(value)) => V::Bool(!value),
        (UnaryOp::Negate, V::Int(value)) => V::Int(value.wrapping_neg()),
        (UnaryOp::Negate, V::Long(value)) => V::Long(value.wrapping_neg()),
        (UnaryOp::Negate, V::Double(value)) => V::Double(-value),
        _ => V::Null,
    }
}

/// `in`: null if the operand is null, or if nothing is equal and one of the values is null; of a range it is false then.
fn is_in(operand: &V, set: &InSet, negated: bool, scope: Scope<'_>) -> V {
    match set {
        InSet::Values(values) => {
            let values: Vec<V> = values.iter().map(|value| eval(value, scope)).collect();
            if operand.is_null() {
                V::Null
            } else if values.contains(operand) {
                V::Bool(!negated)
            } else if values.iter().any(V::is_null) {
                V::Null
            } else {
                V::Bool(negated)
            }
        }
        InSet::Range {
            low,
            high,
            low_included,
            high_included,
        } => {
            let (low, high) = (eval(low, scope), eval(high, scope));
            if operand.is_null() || low.is_null() || high.is_null() {
                return V::Bool(false);
            }
            let (above, below) = (operand.order(&low), operand.order(&high));
            let above = above.is_gt() || *low_included && above.is_eq();
            let below = below.is_lt() || *high_included && below.is_eq();
            V::Bool((above && below) != negated)
        }
        InSet::Subquery(_) => V::Null,
    }
}

fn matches(operand: &Expr, pattern: &Expr, scope: Scope<'_>, negated: bool, test: fn(&str, &str) -> bool) -> V {
    match (eval(operand, scope), eval(pattern, scope)) {
        (V::Null, _) | (_, V::Null) => V::Null,
        (operand, V::Text(pattern)) => V::Bool(test(&operand.shown(), &pattern) != negated),
        _ => V::Null,
    }
}

/// `%` stands for any text, `_` for one character.
fn like(text: &str, pattern: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('%') => {
            let tails = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            tails.into_iter().any(|at| like(&text[at..], rest.as_str()))
        }
        Some(first) => {
            let mut tail = text.chars();
            let next = tail.next();
            next.is_some_and(|next| first == '_' || first == next) && like(tail.as_str(), rest.as_str())
        }
    }
}
