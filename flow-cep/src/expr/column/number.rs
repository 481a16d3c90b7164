//! Plans that yield numbers: arithmetic, bits, conversions, comparisons.

use std::cmp::Ordering;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer};
use arrow_schema::DataType;

use super::choice::{Which, choose, coalesce};
use super::compile::mirrored;
use super::{Column, Input, Numbers, Plan, Truth, pack, rows};
use crate::expr::row::holds;
use crate::syntax::ast::BinaryOp;
use crate::value::{Type, Value};

pub(super) fn compare<T: ArrowNativeType + PartialOrd>(
    op: BinaryOp,
    left: &Column<T>,
    right: &Column<T>,
    rows: usize,
    order: impl Fn(T, T) -> Option<Ordering>,
) -> Truth {
    let nulls = NullBuffer::union(left.nulls.as_ref(), right.nulls.as_ref());
    let values = match (&left.values, &right.values) {
        (Numbers::One(left), Numbers::One(right)) => {
            let value = holds(op, order(*left, *right));
            if value {
                BooleanBuffer::new_set(rows)
            } else {
                BooleanBuffer::new_unset(rows)
            }
        }
        (Numbers::Many(left), Numbers::One(right)) => compare_each(op, left, *right),
        (Numbers::One(left), Numbers::Many(right)) => compare_each(mirrored(op), right, *left),
        (Numbers::Many(left), Numbers::Many(right)) => {
            let (left, right) = (&left[..], &right[..]);
            BooleanBuffer::collect_bool(rows, |row| match op {
                BinaryOp::Equal => left[row] == right[row],
                BinaryOp::NotEqual => left[row] != right[row],
                BinaryOp::Less => left[row] < right[row],
                BinaryOp::LessOrEqual => left[row] <= right[row],
                BinaryOp::Greater => left[row] > right[row],
                _ => left[row] >= right[row],
            })
        }
    };
    Truth::new(values, nulls.as_ref())
}

fn compare_each<T: Copy + PartialOrd>(op: BinaryOp, values: &[T], with: T) -> BooleanBuffer {
    match op {
        BinaryOp::Equal => pack(values, |value| value == with),
        BinaryOp::NotEqual => pack(values, |value| value != with),
        BinaryOp::Less => pack(values, |value| value < with),
        BinaryOp::LessOrEqual => pack(values, |value| value <= with),
        BinaryOp::Greater => pack(values, |value| value > with),
        _ => pack(values, |value| value >= with),
    }
}

fn combine<T: ArrowNativeType>(left: Column<T>, right: Column<T>, f: impl Fn(T, T) -> T) -> Column<T> {
    let nulls = NullBuffer::union(left.nulls.as_ref(), right.nulls.as_ref());
    let values = match (left.values, right.values) {
        (Numbers::One(left), Numbers::One(right)) => Numbers::One(f(left, right)),
        (Numbers::Many(left), Numbers::One(right)) => Numbers::Many(left.iter().map(|left| f(*left, right)).collect()),
        (Numbers::One(left), Numbers::Many(right)) => {
            Numbers::Many(right.iter().map(|right| f(left, *right)).collect())
        }
        (Numbers::Many(left), Numbers::Many(right)) => Numbers::Many(
            left.iter()
                .zip(right.iter())
                .map(|(left, right)| f(*left, *right))
                .collect(),
        ),
    };
    Column { values, nulls }
}

/// Nothing but nulls.
fn unknown<T: ArrowNativeType>(rows: usize) -> Column<T> {
    Column {
        values: Numbers::One(T::default()),
        nulls: Some(NullBuffer::new_null(rows)),
    }
}

/// The least or the greatest of several, the first of equals for the least and the last for the greatest.
fn extreme<T: ArrowNativeType>(
    which: Which,
    parts: impl Iterator<Item = Column<T>>,
    order: impl Fn(&T, &T) -> Ordering + Copy,
    input: &Input<'_>,
) -> Column<T> {
    let better = |left: T, right: T| match (which, order(&right, &left)) {
        (Which::Least, Ordering::Less) | (Which::Greatest, Ordering::Greater | Ordering::Equal) => right,
        _ => left,
    };
    parts
        .reduce(|left, right| combine(left, right, better))
        .unwrap_or_else(|| unknown(input.rows()))
}

/// A remainder: null by zero.
fn remainder<T: ArrowNativeType>(left: Column<T>, right: Column<T>, rows: usize, f: impl Fn(T, T) -> T) -> Column<T> {
    let zero = T::default();
    let valid = match &right.values {
        Numbers::One(right) if *right == zero => Some(NullBuffer::new_null(rows)),
        Numbers::One(_) => None,
        Numbers::Many(right) => Some(NullBuffer::new(pack(right, |right| right != zero))),
    };
    let mut result = combine(
        left,
        right,
        |left, right| if right == zero { zero } else { f(left, right) },
    );
    result.nulls = NullBuffer::union(result.nulls.as_ref(), valid.as_ref());
    result
}

pub(super) fn ints(plan: &Plan, input: &Input<'_>) -> Column<i32> {
    match plan {
        Plan::Constant(Value::Int(value)) => Column {
            values: Numbers::One(*value),
            nulls: None,
        },
        Plan::Constant(_) => unknown(input.rows()),
        Plan::Column(column) => {
            let array = input.batch.column(*column);
            let values = match array.data_type() {
                DataType::Int32 => Numbers::Many(array.as_primitive::<Int32Type>().values().clone()),
                DataType::Int8 => Numbers::Many(
                    array
                        .as_primitive::<Int8Type>()
                        .values()
                        .iter()
                        .map(|v| i32::from(*v))
                        .collect(),
                ),
                DataType::Int16 => Numbers::Many(
                    array
                        .as_primitive::<Int16Type>()
                        .values()
                        .iter()
                        .map(|v| i32::from(*v))
                        .collect(),
                ),
                DataType::UInt8 => Numbers::Many(
                    array
                        .as_primitive::<UInt8Type>()
                        .values()
                        .iter()
                        .map(|v| i32::from(*v))
                        .collect(),
                ),
                DataType::UInt16 => Numbers::Many(
                    array
                        .as_primitive::<UInt16Type>()
                        .values()
                        .iter()
                        .map(|v| i32::from(*v))
                        .collect(),
                ),
                _ => return unknown(input.rows()),
            };
            Column {
                values,
                nulls: array.nulls().cloned(),
            }
        }
        Plan::Arithmetic(op, _, left, right) => {
            let (left, right) = (ints(left, input), ints(right, input));
            match op {
                BinaryOp::Add => combine(left, right, i32::wrapping_add),
                BinaryOp::Subtract => combine(left, right, i32::wrapping_sub),
                BinaryOp::Multiply => combine(left, right, i32::wrapping_mul),
                _ => remainder(left, right, input.rows(), i32::wrapping_rem),
            }
        }
        Plan::BitOperation(op, _, left, right) => {
            let (left, right) = (ints(left, input), ints(right, input));
            match op {
                BinaryOp::BitAnd => combine(left, right, |left, right| left & right),
                BinaryOp::BitOr => combine(left, right, |left, right| left | right),
                _ => combine(left, right, |left, right| left ^ right),
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a cast narrows as Java's does")]
        Plan::Convert(..) => match source_type(plan, input) {
            Type::Double => narrowed(plan, input, doubles, |value| value as i32),
            Type::Long => narrowed(plan, input, longs, |value| value as i32),
            _ => narrowed(plan, input, ints, |value| value),
        },
        Plan::Coalesce(_, parts) => coalesce(parts.iter().map(|part| ints(part, input)), input.rows()),
        Plan::Choose {
            branches, otherwise, ..
        } => choose(branches, otherwise, input, ints),
        Plan::Extreme(_, which, parts) => extreme(*which, parts.iter().map(|part| ints(part, input)), i32::cmp, input),
        _ => by_rows(plan, input, |value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        }),
    }
}

pub(super) fn longs(plan: &Plan, input: &Input<'_>) -> Column<i64> {
    match plan {
        Plan::Constant(value) => match value.as_long() {
            Some(value) => Column {
                values: Numbers::One(value),
                nulls: None,
            },
            None => unknown(input.rows()),
        },
        Plan::Now => Column {
            values: Numbers::Many(input.times.iter().copied().collect()),
            nulls: None,
        },
        Plan::Column(column) => {
            let array = input.batch.column(*column);
            let values = match array.data_type() {
                DataType::Int64 => Numbers::Many(array.as_primitive::<Int64Type>().values().clone()),
                DataType::Timestamp(..) => {
                    Numbers::Many(array.as_primitive::<TimestampMillisecondType>().values().clone())
                }
                DataType::UInt32 => Numbers::Many(
                    array
                        .as_primitive::<UInt32Type>()
                        .values()
                        .iter()
                        .map(|v| i64::from(*v))
                        .collect(),
                ),
                DataType::UInt64 => Numbers::Many(
                    array
                        .as_primitive::<UInt64Type>()
                        .values()
                        .iter()
                        .map(|v| v.cast_signed())
                        .collect(),
                ),
                _ => {
                    let Column { values, nulls } = ints(plan, input);
                    return Column {
                        values: values.map(i64::from),
                        nulls,
                    };
                }
            };
            Column {
                values,
                nulls: array.nulls().cloned(),
            }
        }
        Plan::Arithmetic(op, _, left, right) => {
            let (left, right) = (longs(left, input), longs(right, input));
            match op {
                BinaryOp::Add => combine(left, right, i64::wrapping_add),
                BinaryOp::Subtract => combine(left, right, i64::wrapping_sub),
                BinaryOp::Multiply => combine(left, right, i64::wrapping_mul),
                _ => remainder(left, right, input.rows(), i64::wrapping_rem),
            }
        }
        Plan::BitOperation(op, _, left, right) => {
            let (left, right) = (longs(left, input), longs(right, input));
            match op {
                BinaryOp::BitAnd => combine(left, right, |left, right| left & right),
                BinaryOp::BitOr => combine(left, right, |left, right| left | right),
                _ => combine(left, right, |left, right| left ^ right),
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a cast narrows as Java's does")]
        Plan::Convert(..) => match source_type(plan, input) {
            Type::Double => narrowed(plan, input, doubles, |value| value as i64),
            Type::Int => narrowed(plan, input, ints, i64::from),
            _ => narrowed(plan, input, longs, |value| value),
        },
        Plan::Coalesce(_, parts) => coalesce(parts.iter().map(|part| longs(part, input)), input.rows()),
        Plan::Choose {
            branches, otherwise, ..
        } => choose(branches, otherwise, input, longs),
        Plan::Extreme(_, which, parts) => extreme(*which, parts.iter().map(|part| longs(part, input)), i64::cmp, input),
        _ => by_rows(plan, input, Value::as_long),
    }
}

pub(super) fn doubles(plan: &Plan, input: &Input<'_>) -> Column<f64> {
    match plan {
        Plan::Constant(value) => match value.as_double() {
            Some(value) => Column {
                values: Numbers::One(value),
                nulls: None,
            },
            None => unknown(input.rows()),
        },
        Plan::Column(column) => {
            let array = input.batch.column(*column);
            let values = match array.data_type() {
                DataType::Float64 => Numbers::Many(array.as_primitive::<Float64Type>().values().clone()),
                DataType::Float32 => Numbers::Many(
                    array
                        .as_primitive::<Float32Type>()
                        .values()
                        .iter()
                        .map(|value| f64::from(*value))
                        .collect(),
                ),
                _ => {
                    let Column { values, nulls } = longs(plan, input);
                    return Column {
                        values: values.map(|value| value as f64),
                        nulls,
                    };
                }
            };
            Column {
                values,
                nulls: array.nulls().cloned(),
            }
        }
        Plan::Arithmetic(op, _, left, right) => {
            let (left, right) = (doubles(left, input), doubles(right, input));
            match op {
                BinaryOp::Add => combine(left, right, |left, right| left + right),
                BinaryOp::Subtract => combine(left, right, |left, right| left - right),
                BinaryOp::Multiply => combine(left, right, |left, right| left * right),
                BinaryOp::Divide => combine(left, right, |left, right| left / right),
                _ => combine(left, right, |left, right| left % right),
            }
        }
        Plan::Convert(..) => match source_type(plan, input) {
            Type::Int => narrowed(plan, input, ints, f64::from),
            Type::Long => narrowed(plan, input, longs, |value| value as f64),
            _ => narrowed(plan, input, doubles, |value| value),
        },
        Plan::Coalesce(_, parts) => coalesce(parts.iter().map(|part| doubles(part, input)), input.rows()),
        Plan::Choose {
            branches, otherwise, ..
        } => choose(branches, otherwise, input, doubles),
        Plan::Extreme(_, which, parts) => extreme(
            *which,
            parts.iter().map(|part| doubles(part, input)),
            |left: &f64, right: &f64| (left + 0.0).total_cmp(&(right + 0.0)),
            input,
        ),
        _ => by_rows(plan, input, Value::as_double),
    }
}

/// The numeric type below a conversion.
fn source_type(plan: &Plan, input: &Input<'_>) -> Type {
    let Plan::Convert(_, inner) = plan else {
        return Type::Null;
    };
    match inner.as_ref() {
        Plan::Constant(value) => value.value_type(),
        Plan::Column(column) => {
            crate::event_type::type_of(input.batch.column(*column).data_type()).unwrap_or(Type::Null)
        }
        Plan::Now => Type::Long,
        Plan::Arithmetic(_, of, ..)
        | Plan::BitOperation(_, of, ..)
        | Plan::Convert(of, _)
        | Plan::Coalesce(of, _)
        | Plan::Choose { of, .. }
        | Plan::Extreme(of, ..) => of.clone(),
        Plan::Dictionary { expr, .. } | Plan::Rows(expr) => expr.of.clone(),
        _ => Type::Null,
    }
}

fn narrowed<S: ArrowNativeType, T: ArrowNativeType>(
    plan: &Plan,
    input: &Input<'_>,
    read: impl Fn(&Plan, &Input<'_>) -> Column<S>,
    convert: impl Fn(S) -> T,
) -> Column<T> {
    let Plan::Convert(_, inner) = plan else {
        return unknown(input.rows());
    };
    let Column { values, nulls } = read(inner, input);
    Column {
        values: values.map(convert),
        nulls,
    }
}

/// Numbers through values, row by row or by dictionary.
fn by_rows<T: ArrowNativeType>(plan: &Plan, input: &Input<'_>, read: impl Fn(&Value) -> Option<T>) -> Column<T> {
    let values = rows(plan, input, &Type::Null);
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |row| {
        read(&values[row]).is_some()
    }));
    let values = values.iter().map(|value| read(value).unwrap_or_default()).collect();
    Column {
        values: Numbers::Many(values),
        nulls: Some(nulls),
    }
}
