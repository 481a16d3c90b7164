//! Typed expressions → plans over columns.

use std::sync::Arc;

use arrow_schema::{DataType, Schema};

use super::choice::{Which, networks_of};
use super::dictionary::Memo;
use super::{Plan, TextTest};
use crate::expr::{Expr, Function, LikePattern, Network, Node, RegexpPattern};
use crate::syntax::ast::BinaryOp;
use crate::value::{Type, Value};

/// Whether an expression can be computed from a batch alone.
pub(super) fn columnar(expr: &Expr) -> bool {
    let own = match &expr.node {
        Node::Column { stream, .. } => *stream == 0,
        Node::Indexed { .. }
        | Node::Row(_)
        | Node::Aggregate(_)
        | Node::Previous { .. }
        | Node::Subquery(_)
        | Node::Exists(_)
        | Node::InSubquery { .. }
        | Node::QuantifiedSubquery { .. }
        | Node::TableColumn { .. }
        | Node::Context(_)
        | Node::Variable(_) => false,
        _ => !matches!(expr.of, Type::List(_) | Type::Row(_)),
    };
    let mut all = own;
    expr.each_child(&mut |child| all &= columnar(child));
    all
}

fn literal(expr: &Expr) -> Option<&Value> {
    match &expr.node {
        Node::Literal(value) => Some(value),
        _ => None,
    }
}

/// The column behind conversions that only widen whole numbers.
fn whole_column(expr: &Expr, schema: &Schema) -> Option<usize> {
    match &expr.node {
        Node::Column { column, .. } => {
            let of = schema.field(*column).data_type();
            (of.is_integer() || matches!(of, DataType::Timestamp(..))).then_some(*column)
        }
        Node::Convert(inner) if expr.of == Type::Long && inner.of == Type::Int => whole_column(inner, schema),
        _ => None,
    }
}

/// The only column an expression depends on, if it is a dictionary and the expression more than the column.
fn dictionary_column(expr: &Expr, schema: &Schema) -> Option<usize> {
    fn walk(expr: &Expr, found: &mut Vec<usize>, pure: &mut bool) {
        match &expr.node {
            Node::Column { column, .. } if !found.contains(column) => found.push(*column),
            Node::Now => *pure = false,
            _ => {}
        }
        expr.each_child(&mut |child| walk(child, found, pure));
    }
    let (mut found, mut pure) = (Vec::new(), true);
    walk(expr, &mut found, &mut pure);
    match found.as_slice() {
        [column] if pure && matches!(schema.field(*column).data_type(), DataType::Dictionary(..)) => Some(*column),
        _ => None,
    }
}

pub(super) fn compile(expr: &Expr, schema: &Schema) -> Plan {
    match &expr.node {
        Node::Literal(value) => return Plan::Constant(value.clone()),
        Node::Column { column, .. } => return Plan::Column(*column),
        Node::Now => return Plan::Now,
        Node::And(parts) => return Plan::And(parts.iter().map(|part| compile(part, schema)).collect()),
        Node::Or(parts) => return Plan::Or(parts.iter().map(|part| compile(part, schema)).collect()),
        _ => {}
    }
    if let Some(column) = dictionary_column(expr, schema) {
        return Plan::Dictionary {
            column,
            expr: expr.clone(),
            memo: Memo::default(),
        };
    }
    let child = |expr: &Expr| Box::new(compile(expr, schema));
    match &expr.node {
        Node::Not(inner) => Plan::Not(child(inner)),
        Node::IsNull(inner) => Plan::IsNull(child(inner)),
        Node::Coalesce(parts) if has_kernel(&expr.of, parts.iter()) || expr.of == Type::Bool => Plan::Coalesce(
            expr.of.clone(),
            parts.iter().map(|part| compile(part, schema)).collect(),
        ),
        Node::Case { branches, otherwise }
            if has_kernel(
                &expr.of,
                &mut branches.iter().map(|(_, value)| value).chain([&**otherwise]),
            ) =>
        {
            Plan::Choose {
                of: expr.of.clone(),
                branches: branches
                    .iter()
                    .map(|(condition, value)| (compile(condition, schema), compile(value, schema)))
                    .collect(),
                otherwise: child(otherwise),
            }
        }
        Node::Call(function, arguments) => {
            compile_call(*function, arguments, expr, schema).unwrap_or_else(|| Plan::Rows(expr.clone()))
        }
        Node::Compare(op, left, right) => compile_compare(*op, left, right, schema).unwrap_or_else(|| {
            row_wise(expr, &[left, right])
                .unwrap_or_else(|| Plan::Compare(*op, left.of.clone(), child(left), child(right)))
        }),
        Node::Arithmetic(op, left, right) => Plan::Arithmetic(*op, expr.of.clone(), child(left), child(right)),
        Node::Bits(op, left, right) if expr.of.is_integer() => {
            Plan::BitOperation(*op, expr.of.clone(), child(left), child(right))
        }
        Node::Convert(inner) if expr.of.is_numeric() && inner.of.is_numeric() => {
            Plan::Convert(expr.of.clone(), child(inner))
        }
        Node::InRange {
            operand,
            low,
            high,
            low_included,
            high_included,
            negated,
        } => compile_range(operand, low, high, (*low_included, *high_included), *negated, schema)
            .unwrap_or_else(|| Plan::Rows(expr.clone())),
        Node::InList { operand, list, negated } => {
            compile_list(operand, list, *negated, schema).unwrap_or_else(|| Plan::Rows(expr.clone()))
        }
        Node::InNetworks {
            operand,
            networks,
            negated,
        } => match &operand.node {
            Node::Column { column, .. } if *schema.field(*column).data_type() == DataType::FixedSizeBinary(16) => {
                Plan::Address {
                    column: *column,
                    networks: networks.as_slice().into(),
                    inverted: *negated,
                }
            }
            _ => Plan::Rows(expr.clone()),
        },
        Node::Like {
            operand,
            pattern: LikePattern::Constant(like),
            negated,
        } => match text_column(operand, schema) {
            Some(column) => Plan::Text {
                column,
                test: TextTest::Like(like.clone()),
                inverted: *negated,
            },
            None => Plan::Rows(expr.clone()),
        },
        Node::Regexp {
            operand,
            pattern: RegexpPattern::Constant(pattern),
            negated,
        } => match text_column(operand, schema) {
            Some(column) => Plan::Text {
                column,
                test: TextTest::Regexp(pattern.clone()),
                inverted: *negated,
            },
            None => Plan::Rows(expr.clone()),
        },
        _ => Plan::Rows(expr.clone()),
    }
}

/// Whether values are chosen from by number: all of the type of the result, or null.
fn has_kernel<'a>(of: &Type, mut values: impl Iterator<Item = &'a Expr>) -> bool {
    of.is_numeric() && values.all(|value| value.of == *of || value.of == Type::Null)
}

/// An operand of whole numbers in 64 bits; what 32 bits hold is computed in these, as it may wrap.
fn widened(operand: &Expr, schema: &Schema) -> Plan {
    let plan = compile(operand, schema);
    match operand.of {
        Type::Int => Plan::Convert(Type::Long, Box::new(plan)),
        _ => plan,
    }
}

/// A plan by rows, for a comparison of what has no kernel.
fn row_wise(expr: &Expr, sides: &[&Expr]) -> Option<Plan> {
    let null_safe = matches!(expr.node, Node::Compare(BinaryOp::Is | BinaryOp::IsNot, ..));
    (null_safe || sides.iter().any(|side| !side.of.is_numeric())).then(|| Plan::Rows(expr.clone()))
}

fn text_column(expr: &Expr, schema: &Schema) -> Option<usize> {
    match &expr.node {
        Node::Column { column, .. } if *schema.field(*column).data_type() == DataType::Utf8 => Some(*column),
        _ => None,
    }
}

/// The comparison seen from the other side.
pub(crate) const fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}

/// A function that chooses among its arguments, or tells in which networks an address is.
fn compile_call(function: Function, arguments: &[Expr], expr: &Expr, schema: &Schema) -> Option<Plan> {
    if let (Some(networks), [address]) = (networks_of(function), arguments) {
        return Some(Plan::Address {
            column: address_column(address, schema)?,
            networks: networks.into(),
            inverted: false,
        });
    }
    let which = match function {
        Function::Min => Which::Least,
        Function::Max => Which::Greatest,
        _ => return None,
    };
    if has_kernel(&expr.of, arguments.iter()) {
        let parts = arguments.iter().map(|argument| compile(argument, schema)).collect();
        return Some(Plan::Extreme(expr.of.clone(), which, parts));
    }
    let [left, right] = arguments else { return None };
    Some(Plan::ExtremeAddress(
        which,
        address_column(left, schema)?,
        address_column(right, schema)?,
    ))
}

fn address_column(expr: &Expr, schema: &Schema) -> Option<usize> {
    match &expr.node {
        Node::Column { column, .. } if *schema.field(*column).data_type() == DataType::FixedSizeBinary(16) => {
            Some(*column)
        }
        _ => None,
    }
}

/// A comparison of a column with a constant, of two addresses, or of a truth with a constant.
fn compile_compare(op: BinaryOp, left: &Expr, right: &Expr, schema: &Schema) -> Option<Plan> {
    let ordinary = !matches!(op, BinaryOp::Is | BinaryOp::IsNot);
    if let (true, Some(left), Some(right)) = (ordinary, address_column(left, schema), address_column(right, schema)) {
        return Some(Plan::CompareAddresses(op, left, right));
    }
    let truth = match (literal(left), literal(right)) {
        (None, Some(Value::Bool(value))) => Some((left, *value)),
        (Some(Value::Bool(value)), None) => Some((right, *value)),
        _ => None,
    };
    if let Some((condition, value)) = truth
        && matches!(op, BinaryOp::Equal | BinaryOp::NotEqual)
        && condition.of == Type::Bool
    {
        let plan = compile(condition, schema);
        let same = (op == BinaryOp::Equal) == value;
        return Some(if same { plan } else { Plan::Not(Box::new(plan)) });
    }
    let (column, op, value) = match (literal(left), literal(right)) {
        (None, Some(value)) => (left, op, value),
        (Some(value), None) => (right, mirrored(op), value),
        _ => return None,
    };
    if value.is_null() || matches!(op, BinaryOp::Is | BinaryOp::IsNot) {
        return None;
    }
    if let (Some(column), Some(value)) = (whole_column(column, schema), value.as_long()) {
        let (low, high, inverted) = match op {
            BinaryOp::Equal => (value, value, false),
            BinaryOp::NotEqual => (value, value, true),
            BinaryOp::Less => (value, i64::MAX, true),
            BinaryOp::LessOrEqual => (i64::MIN, value, false),
            BinaryOp::Greater => (i64::MIN, value, true),
            _ => (value, i64::MAX, false),
        };
        return Some(Plan::Range {
            column,
            low,
            high,
            inverted,
        });
    }
    if let (Some(column), Value::Text(text)) = (text_column(column, schema), value) {
        return Some(Plan::Text {
            column,
            test: TextTest::Compare(op, Arc::clone(text)),
            inverted: false,
        });
    }
    if let (Node::Column { column, .. }, Value::Address(address)) = (&column.node, value)
        && *schema.field(*column).data_type() == DataType::FixedSizeBinary(16)
    {
        let address = u128::from_be_bytes(*address);
        let (first, last, inverted) = match op {
            BinaryOp::Equal => (address, address, false),
            BinaryOp::NotEqual => (address, address, true),
            BinaryOp::Less => (address, u128::MAX, true),
            BinaryOp::LessOrEqual => (0, address, false),
            BinaryOp::Greater => (0, address, true),
            _ => (address, u128::MAX, false),
        };
        return Some(Plan::Address {
            column: *column,
            networks: Arc::from([Network { first, last }]),
            inverted,
        });
    }
    None
}

fn compile_range(
    operand: &Expr,
    low: &Expr,
    high: &Expr,
    (low_in, high_in): (bool, bool),
    inverted: bool,
    schema: &Schema,
) -> Option<Plan> {
    let (low, high) = (literal(low)?.as_long()?, literal(high)?.as_long()?);
    // Whichever end is lower; the brackets keep their places, as in Esper.
    let (low, high) = if low > high { (high, low) } else { (low, high) };
    let low = if low_in { low } else { low.checked_add(1)? };
    let high = if high_in { high } else { high.checked_sub(1)? };
    let (value, test) = match whole_column(operand, schema) {
        Some(column) => (
            Plan::Column(column),
            Plan::Range {
                column,
                low,
                high,
                inverted,
            },
        ),
        None if operand.of.is_integer() => {
            let value = widened(operand, schema);
            let bound = |op: BinaryOp, bound: i64| {
                let (value, bound) = (Box::new(value.clone()), Box::new(Plan::Constant(Value::Long(bound))));
                Plan::Compare(op, Type::Long, value, bound)
            };
            let inside = Plan::And(vec![
                bound(BinaryOp::GreaterOrEqual, low),
                bound(BinaryOp::LessOrEqual, high),
            ]);
            let test = if inverted { Plan::Not(Box::new(inside)) } else { inside };
            (value, test)
        }
        None => return None,
    };
    // A range of null is false, not unknown, and `not in` it too: said by a conjunction with a null test.
    Some(Plan::And(vec![
        Plan::Not(Box::new(Plan::IsNull(Box::new(value)))),
        test,
    ]))
}

fn compile_list(operand: &Expr, list: &[Expr], inverted: bool, schema: &Schema) -> Option<Plan> {
    let values: Vec<&Value> = list.iter().map(literal).collect::<Option<_>>()?;
    if values.iter().any(|value| value.is_null()) {
        return None;
    }
    if operand.of.is_integer() {
        let mut longs: Vec<i64> = values.iter().map(|value| value.as_long()).collect::<Option<_>>()?;
        longs.sort_unstable();
        longs.dedup();
        if let Some(column) = whole_column(operand, schema)
            && let bits @ (8 | 16) = schema.field(column).data_type().primitive_width().unwrap_or(0) * 8
            && schema.field(column).data_type().is_unsigned_integer()
        {
            let mut set = vec![0_u64; (1_usize << bits) / 64];
            for value in longs {
                if let Some(word) = usize::try_from(value / 64).ok().and_then(|at| set.get_mut(at))
                    && value >= 0
                {
                    *word |= 1 << (value % 64);
                }
            }
            return Some(Plan::Bits {
                column,
                set: set.into(),
                inverted,
            });
        }
        return Some(Plan::LongSet {
            operand: Box::new(widened(operand, schema)),
            set: longs.into(),
            inverted,
        });
    }
    if let Some(column) = text_column(operand, schema) {
        let mut texts: Vec<Arc<str>> = values
            .iter()
            .map(|value| value.as_text().map(Arc::from))
            .collect::<Option<_>>()?;
        texts.sort();
        return Some(Plan::Text {
            column,
            test: TextTest::Among(texts.into()),
            inverted,
        });
    }
    if let Node::Column { column, .. } = &operand.node
        && *schema.field(*column).data_type() == DataType::FixedSizeBinary(16)
    {
        let single = |value: &&Value| match value {
            Value::Address(address) => Some(Network::new(*address, 128)),
            _ => None,
        };
        let networks: Vec<Network> = values.iter().map(single).collect::<Option<_>>()?;
        return Some(Plan::Address {
            column: *column,
            networks: networks.into(),
            inverted,
        });
    }
    None
}
