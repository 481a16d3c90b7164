//! The interpreter's own values, and what operators do with them.

use std::cmp::Ordering;

use flow_cep::syntax::ast::BinaryOp;
use flow_cep::value::Value;

/// A value. Null is equal to null here; what `=` makes of it is said in [`binary`].
#[derive(Clone, Debug)]
pub(crate) enum V {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(String),
}

impl V {
    /// A value of the engine; none for those that the interpreter does not know.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Long(value) => Self::Long(*value),
            Value::Double(value) => Self::Double(*value),
            Value::Text(value) => Self::Text(value.to_string()),
            Value::Address(_) | Value::List(_) | Value::Row(_) => return None,
        })
    }

    /// The value as the engine has it.
    pub(crate) fn as_engine(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Text(value) => Value::text(value),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub(crate) fn whole(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(i64::from(*value)),
            Self::Long(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn real(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            other => other.whole().map(|value| value as f64),
        }
    }

    /// As `||` and `cast(x, string)` show it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) if value.fract() == 0.0 => format!("{value:.1}"),
            Self::Double(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }

    /// The order of two values of one kind.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => match (self.whole(), other.whole()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => self.real()?.partial_cmp(&other.real()?),
            },
        }
    }

    /// The order of `order by`: null before all.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self.is_null(), other.is_null()) {
            (false, false) => self.compare(other).unwrap_or(Ordering::Equal),
            (a, b) => b.cmp(&a),
        }
    }
}

impl PartialEq for V {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
}

/// What a binary operator other than `and` and `or` yields: null if a side is null.
pub(crate) fn binary(op: BinaryOp, left: &V, right: &V) -> V {
    match op {
        BinaryOp::Is => return V::Bool(left == right),
        BinaryOp::IsNot => return V::Bool(left != right),
        _ if left.is_null() || right.is_null() => return V::Null,
        BinaryOp::Concat => return V::Text(left.shown() + &right.shown()),
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => return bits(op, left, right),
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => {
            return arithmetic(op, left, right);
        }
        _ => {}
    }
    let order = left.compare(right);
    V::Bool(match op {
        BinaryOp::Equal => order == Some(Ordering::Equal),
        BinaryOp::NotEqual => order != Some(Ordering::Equal),
        BinaryOp::Less => order == Some(Ordering::Less),
        BinaryOp::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        BinaryOp::Greater => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn bits(op: BinaryOp, left: &V, right: &V) -> V {
    let on = |a: i64, b: i64| match op {
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        _ => a ^ b,
    };
    match (left, right) {
        (V::Bool(a), V::Bool(b)) => V::Bool(on(i64::from(*a), i64::from(*b)) == 1),
        _ => match (left.whole(), right.whole()) {
            (Some(a), Some(b)) => of_width(left, right, on(a, b)),
            _ => V::Null,
        },
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an int wraps")]
/// A whole number as an int if both sides are, else as a long.
fn of_width(left: &V, right: &V, value: i64) -> V {
    match (left, right) {
        (V::Int(_), V::Int(_)) => V::Int(value as i32),
        _ => V::Long(value),
    }
}

/// `/` always yields a double; int and long wrap.
fn arithmetic(op: BinaryOp, left: &V, right: &V) -> V {
    let (Some(x), Some(y)) = (left.real(), right.real()) else {
        return V::Null;
    };
    match (left.whole(), right.whole(), op) {
        (_, _, BinaryOp::Divide) => V::Double(x / y),
        (Some(a), Some(b), BinaryOp::Add) => of_width(left, right, a.wrapping_add(b)),
        (Some(a), Some(b), BinaryOp::Subtract) => of_width(left, right, a.wrapping_sub(b)),
        (Some(a), Some(b), BinaryOp::Multiply) => of_width(left, right, a.wrapping_mul(b)),
        (Some(a), Some(b), _) => {
            let rest = a.checked_rem(b);
            rest.map_or(V::Null, |rest| of_width(left, right, rest))
        }
        (_, _, BinaryOp::Add) => V::Double(x + y),
        (_, _, BinaryOp::Subtract) => V::Double(x - y),
        (_, _, BinaryOp::Multiply) => V::Double(x * y),
        _ => V::Double(x % y),
    }
}

/// `and` and `or` of three values.
pub(crate) fn logic(op: BinaryOp, left: &V, right: &V) -> V {
    let decides = op == BinaryOp::Or;
    for side in [left, right] {
        if matches!(side, V::Bool(value) if *value == decides) {
            return V::Bool(decides);
        }
    }
    if left.is_null() || right.is_null() {
        V::Null
    } else {
        V::Bool(!decides)
    }
}
