//! Evaluation of an expression for one row.

use std::cmp::Ordering;
use std::sync::Arc;

use super::text::{Like, Pattern};
use super::{Expr, LikePattern, Node, RegexpPattern, Scope, contains};
use crate::syntax::ast::BinaryOp;
use crate::value::{Type, Value, parse_address};

impl Expr {
    /// The value for what the scope holds.
    #[must_use]
    pub fn eval(&self, scope: &dyn Scope) -> Value {
        match &self.node {
            Node::Literal(value) => value.clone(),
            Node::Column { stream, column } => scope.column(*stream, *column),
            Node::Indexed { stream, index, column } => match index.eval(scope).as_long() {
                Some(index) => scope.indexed(*stream, index, *column),
                None => Value::Null,
            },
            Node::Row(stream) => scope.row(*stream),
            Node::Field(row, field) => match row.eval(scope) {
                Value::Row(fields) => fields.get(*field).cloned().unwrap_or(Value::Null),
                _ => Value::Null,
            },
            Node::Aggregate(slot) => scope.aggregate(*slot),
            Node::Now => Value::Long(scope.now_ms()),
            Node::Previous {
                kind,
                stream,
                offset,
                column,
            } => match offset.eval(scope).as_long() {
                Some(offset) => scope.previous(*kind, *stream, offset, *column),
                None => Value::Null,
            },
            Node::Subquery(slot) => scope.subquery(*slot),
            Node::Exists(slot) => Value::Bool(scope.subquery_exists(*slot)),
            Node::InSubquery {
                operand,
                subquery,
                negated,
            } => {
                let found = scope.subquery_contains(*subquery, &operand.eval(scope));
                if *negated { not(&found) } else { found }
            }
            Node::QuantifiedSubquery {
                operand,
                op,
                all,
                subquery,
            } => {
                let values = scope.subquery_values(*subquery);
                quantified(*op, *all, &operand.eval(scope), Among::Subquery, values)
            }
            Node::Quantified { operand, op, all, list } => quantified(
                *op,
                *all,
                &operand.eval(scope),
                Among::List,
                list.iter().map(|item| item.eval(scope)),
            ),
            Node::TableColumn { table, keys, column } => {
                let keys: Vec<Value> = keys.iter().map(|key| key.eval(scope)).collect();
                scope.table_column(*table, &keys, *column)
            }
            Node::Context(property) => scope.context(property),
            Node::Variable(variable) => scope.variable(*variable),
            Node::Negate(operand) => match operand.eval(scope) {
                Value::Int(value) => Value::Int(value.wrapping_neg()),
                Value::Long(value) => Value::Long(value.wrapping_neg()),
                Value::Double(value) => Value::Double(-value),
                _ => Value::Null,
            },
            Node::Not(operand) => not(&operand.eval(scope)),
            Node::IsNull(operand) => Value::Bool(operand.eval(scope).is_null()),
            Node::And(operands) => {
                let mut unknown = false;
                for operand in operands {
                    match operand.eval(scope).as_bool() {
                        Some(false) => return Value::Bool(false),
                        Some(true) => {}
                        None => unknown = true,
                    }
                }
                if unknown { Value::Null } else { Value::Bool(true) }
            }
            Node::Or(operands) => {
                let mut unknown = false;
                for operand in operands {
                    match operand.eval(scope).as_bool() {
                        Some(true) => return Value::Bool(true),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
                if unknown { Value::Null } else { Value::Bool(false) }
            }
            Node::Compare(op, left, right) => compare(*op, &left.eval(scope), &right.eval(scope)),
            Node::Arithmetic(op, left, right) => arithmetic(*op, &left.eval(scope), &right.eval(scope)),
            Node::Bits(op, left, right) => bits(*op, &left.eval(scope), &right.eval(scope)),
            Node::Concat(left, right) => match (left.eval(scope), right.eval(scope)) {
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (left, right) => Value::Text(Arc::from(format!("{left}{right}"))),
            },
            Node::InList { operand, list, negated } => {
                let found = in_list(&operand.eval(scope), list, scope);
                if *negated { not(&found) } else { found }
            }
            Node::InRange {
                operand,
                low,
                high,
                low_included,
                high_included,
                negated,
            } => {
                let (value, low, high) = (operand.eval(scope), low.eval(scope), high.eval(scope));
                let ends = (*low_included, *high_included);
                Value::Bool(in_range(&value, &low, &high, ends).is_some_and(|inside| inside != *negated))
            }
            Node::InNetworks {
                operand,
                networks,
                negated,
            } => match operand.eval(scope) {
                Value::Address(address) => {
                    Value::Bool(networks.iter().any(|network| network.contains(address)) != *negated)
                }
                _ => Value::Null,
            },
            Node::Like {
                operand,
                pattern,
                negated,
            } => {
                let value = operand.eval(scope);
                let matched = match pattern {
                    LikePattern::Constant(like) => text_of(&value).map(|text| like.matches(&text)),
                    LikePattern::Computed(pattern, escape) => text_of(&value)
                        .zip(text_of(&pattern.eval(scope)))
                        .map(|(text, pattern)| Like::new(&pattern, *escape).matches(&text)),
                };
                matched.map_or(Value::Null, |matched| Value::Bool(matched != *negated))
            }
            Node::Regexp {
                operand,
                pattern,
                negated,
            } => {
                let value = operand.eval(scope);
                let matched = match pattern {
                    RegexpPattern::Constant(pattern) => text_of(&value).map(|text| pattern.matches(&text)),
                    RegexpPattern::Computed(pattern) => text_of(&value)
                        .zip(text_of(&pattern.eval(scope)).and_then(|source| Pattern::new(&source).ok()))
                        .map(|(text, pattern)| pattern.matches(&text)),
                };
                matched.map_or(Value::Null, |matched| Value::Bool(matched != *negated))
            }
            Node::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    if condition.eval(scope).is_true() {
                        return result.eval(scope);
                    }
                }
                otherwise.eval(scope)
            }
            Node::Coalesce(operands) => {
                for operand in operands {
                    let value = operand.eval(scope);
                    if !value.is_null() {
                        return value;
                    }
                }
                Value::Null
            }
            Node::Convert(operand) => convert(&operand.eval(scope), &self.of),
            Node::Call(function, arguments) => {
                let arguments: Vec<Value> = arguments.iter().map(|argument| argument.eval(scope)).collect();
                function.apply(&arguments)
            }
        }
    }
}

fn not(value: &Value) -> Value {
    value.as_bool().map_or(Value::Null, |value| Value::Bool(!value))
}

/// The text of a text, or of a number as `like` sees it.
fn text_of(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(Arc::clone(text)),
        other => Some(Arc::from(other.to_string())),
    }
}

fn in_list(value: &Value, list: &[Expr], scope: &dyn Scope) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let mut unknown = false;
    for candidate in list {
        // Literals, the usual case, are compared where they lie.
        let computed;
        let candidate = match &candidate.node {
            Node::Literal(literal) => literal,
            _ => {
                computed = candidate.eval(scope);
                &computed
            }
        };
        // `x in (window(y))` looks into the list.
        if let Value::List(values) = candidate {
            let inner = contains(values, value);
            if inner.is_true() {
                return inner;
            }
            unknown |= inner.is_null();
        } else if candidate.is_null() {
            unknown = true;
        } else if candidate == value {
            return Value::Bool(true);
        }
    }
    if unknown { Value::Null } else { Value::Bool(false) }
}

/// Whether a value lies between two ends, whichever is lower; none (which neither `in` nor `not in` is true of) with a null.
pub(crate) fn in_range(value: &Value, low: &Value, high: &Value, (low_in, high_in): (bool, bool)) -> Option<bool> {
    if value.is_null() || low.is_null() || high.is_null() {
        return None;
    }
    let (low, high) = if low > high { (high, low) } else { (low, high) };
    let above = match value.cmp(low) {
        Ordering::Greater => true,
        Ordering::Equal => low_in,
        Ordering::Less => false,
    };
    let below = match value.cmp(high) {
        Ordering::Less => true,
        Ordering::Equal => high_in,
        Ordering::Greater => false,
    };
    Some(above && below)
}

/// Where the values lie that something is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Among {
    List,
    Subquery,
}

/// `operand op all (..)`, or else `any`. With nulls among the values it is as in Esper: `=` and `!=` are null where a null might have decided,
/// as is an ordering with `all`, in a list from the null on; one with `any` passes nulls over if there are other values.
fn quantified(
    op: BinaryOp,
    all: bool,
    operand: &Value,
    among: Among,
    values: impl IntoIterator<Item = Value>,
) -> Value {
    let is_ordering = !matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
    let (mut known, mut unknown) = (false, false);
    for value in values {
        match compare(op, operand, &value).as_bool() {
            Some(holds) if holds != all => return Value::Bool(!all),
            Some(_) => known = true,
            None if is_ordering && all && among == Among::List => return Value::Null,
            None => unknown = true,
        }
    }
    if unknown && !(is_ordering && !all && known) {
        return Value::Null;
    }
    Value::Bool(all)
}

/// A comparison: null with null, save for `is` and `is not`.
pub(crate) fn compare(op: BinaryOp, left: &Value, right: &Value) -> Value {
    match op {
        BinaryOp::Is => return Value::Bool(left == right),
        BinaryOp::IsNot => return Value::Bool(left != right),
        _ => {}
    }
    if left.is_null() || right.is_null() {
        return Value::Null;
    }
    let ordering = match (left, right) {
        // Not a number is neither below nor above anything.
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        _ => Some(left.cmp(right)),
    };
    Value::Bool(holds(op, ordering))
}

/// Whether an ordering satisfies a comparison.
pub(crate) fn holds(op: BinaryOp, ordering: Option<Ordering>) -> bool {
    match op {
        BinaryOp::Equal | BinaryOp::Is => ordering == Some(Ordering::Equal),
        BinaryOp::NotEqual | BinaryOp::IsNot => ordering != Some(Ordering::Equal),
        BinaryOp::Less => ordering == Some(Ordering::Less),
        BinaryOp::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        BinaryOp::Greater => ordering == Some(Ordering::Greater),
        BinaryOp::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
        _ => false,
    }
}

/// Arithmetic as Java does it: whole numbers wrap; their remainder by zero, an exception there, is null.
pub(crate) fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => match op {
            BinaryOp::Add => Value::Int(left.wrapping_add(*right)),
            BinaryOp::Subtract => Value::Int(left.wrapping_sub(*right)),
            BinaryOp::Multiply => Value::Int(left.wrapping_mul(*right)),
            BinaryOp::Remainder if *right != 0 => Value::Int(left.wrapping_rem(*right)),
            _ => Value::Null,
        },
        (Value::Long(left), Value::Long(right)) => match op {
            BinaryOp::Add => Value::Long(left.wrapping_add(*right)),
            BinaryOp::Subtract => Value::Long(left.wrapping_sub(*right)),
            BinaryOp::Multiply => Value::Long(left.wrapping_mul(*right)),
            BinaryOp::Remainder if *right != 0 => Value::Long(left.wrapping_rem(*right)),
            _ => Value::Null,
        },
        (Value::Double(left), Value::Double(right)) => Value::Double(match op {
            BinaryOp::Add => left + right,
            BinaryOp::Subtract => left - right,
            BinaryOp::Multiply => left * right,
            BinaryOp::Divide => left / right,
            BinaryOp::Remainder => left % right,
            _ => return Value::Null,
        }),
        _ => Value::Null,
    }
}

/// `& | ^`.
pub(crate) fn bits(op: BinaryOp, left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(match op {
            BinaryOp::BitAnd => left & right,
            BinaryOp::BitOr => left | right,
            _ => left ^ right,
        }),
        (Value::Long(left), Value::Long(right)) => Value::Long(match op {
            BinaryOp::BitAnd => left & right,
            BinaryOp::BitOr => left | right,
            _ => left ^ right,
        }),
        (Value::Bool(left), Value::Bool(right)) => Value::Bool(match op {
            BinaryOp::BitAnd => left & right,
            BinaryOp::BitOr => left | right,
            _ => left ^ right,
        }),
        _ => Value::Null,
    }
}

/// Converts a value to a type; null where that makes no sense (a text that is no number).
pub(crate) fn convert(value: &Value, to: &Type) -> Value {
    let converted = match (to, value) {
        (_, Value::Null) => None,
        (Type::Bool, Value::Bool(value)) => Some(Value::Bool(*value)),
        (Type::Bool, Value::Text(text)) => Some(Value::Bool(text.eq_ignore_ascii_case("true"))),
        #[expect(clippy::cast_possible_truncation, reason = "a cast narrows as Java's does")]
        (Type::Int, Value::Int(_) | Value::Long(_)) => value.as_long().map(|value| Value::Int(value as i32)),
        #[expect(clippy::cast_possible_truncation, reason = "a cast narrows as Java's does")]
        (Type::Int, Value::Double(value)) => Some(Value::Int(*value as i32)),
        (Type::Int, Value::Text(text)) => text.trim().parse().ok().map(Value::Int),
        (Type::Long, Value::Int(_) | Value::Long(_)) => value.as_long().map(Value::Long),
        #[expect(clippy::cast_possible_truncation, reason = "a cast narrows as Java's does")]
        (Type::Long, Value::Double(value)) => Some(Value::Long(*value as i64)),
        (Type::Long, Value::Text(text)) => text.trim().parse().ok().map(Value::Long),
        (Type::Double, Value::Text(text)) => text.trim().parse().ok().map(Value::Double),
        (Type::Double, _) => value.as_double().map(Value::Double),
        (Type::Address, Value::Address(_)) => Some(value.clone()),
        (Type::Address, Value::Text(text)) => parse_address(text).map(Value::Address),
        (Type::Text, _) => text_of(value).map(Value::Text),
        (Type::List(_) | Type::Row(_), _) => Some(value.clone()),
        _ => None,
    };
    converted.unwrap_or(Value::Null)
}
