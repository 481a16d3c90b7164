//! What must be true of counts and sums for a condition to be true: it tells most groups apart without evaluating it.

use crate::expr::column::mirrored;
use crate::expr::{Expr, Node};
use crate::syntax::ast::BinaryOp;
use crate::value::Type;

/// The expression without conversions to wider numeric types.
fn plain(expr: &Expr) -> &Expr {
    match &expr.node {
        Node::Convert(inner)
            if matches!(
                (&inner.of, &expr.of),
                (Type::Int, Type::Long | Type::Double) | (Type::Long, Type::Double)
            ) =>
        {
            plain(inner)
        }
        _ => expr,
    }
}

/// A comparison of a column with a constant that bounds it below: the column and the least whole number that it may be.
fn lower(expr: &Expr) -> Option<(usize, i64)> {
    let Node::Compare(op, left, right) = &expr.node else {
        return None;
    };
    let (column, op, bound) = match (&plain(left).node, &plain(right).node) {
        (Node::Column { column, .. }, Node::Literal(bound)) => (*column, *op, bound),
        (Node::Literal(bound), Node::Column { column, .. }) => (*column, mirrored(*op), bound),
        _ => return None,
    };
    let bound = bound.as_long()?;
    let least = match op {
        BinaryOp::Equal | BinaryOp::GreaterOrEqual => bound,
        BinaryOp::Greater => bound.checked_add(1)?,
        _ => return None,
    };
    Some((column, least))
}

/// The rows that a group has at least where a condition is true. `counts` tells of a column whether it counts rows, or some of
/// them: no such count is above that of the rows.
pub(crate) fn rows(expr: &Expr, counts: &dyn Fn(usize) -> bool) -> i64 {
    match &expr.node {
        Node::And(parts) => parts.iter().map(|part| rows(part, counts)).max().unwrap_or(0),
        Node::Or(parts) => parts.iter().map(|part| rows(part, counts)).min().unwrap_or(0),
        _ => match lower(expr) {
            Some((column, least)) if counts(column) => least.max(0),
            _ => 0,
        },
    }
}

/// Calls `visit` with the columns that are bounded below by what must all be true, and the least that they may be.
pub(crate) fn each(expr: &Expr, visit: &mut dyn FnMut(usize, i64)) {
    if let Node::And(parts) = &expr.node {
        parts.iter().for_each(|part| each(part, visit));
    } else if let Some((column, least)) = lower(expr) {
        visit(column, least);
    }
}

/// What a group must have for a condition to be true, as far as rows that come can bring it about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    Rows(u32),
    /// The sum of a column of numbers.
    Sum {
        number: usize,
        least: u64,
    },
}

/// What is taken for a usual value when the demand for a sum is compared with one for rows.
const USUAL_VALUE: u64 = 10_000;

impl Demand {
    /// About how many rows it takes.
    fn rows(self) -> u64 {
        match self {
            Self::Rows(rows) => rows.into(),
            Self::Sum { least, .. } => least / USUAL_VALUE,
        }
    }
}

/// Demands of which one is met wherever a condition is true; none if it may be true of any group. `regard` tells what a lower
/// bound of a column demands.
pub(crate) fn demands(expr: &Expr, regard: &dyn Fn(usize, i64) -> Option<Demand>) -> Option<Vec<Demand>> {
    match &expr.node {
        Node::And(parts) => {
            let demands = parts.iter().filter_map(|part| demands(part, regard));
            demands.max_by_key(|demands| fewest_rows(demands))
        }
        Node::Or(parts) => {
            let demands: Option<Vec<Vec<Demand>>> = parts.iter().map(|part| demands(part, regard)).collect();
            Some(demands?.concat())
        }
        _ => {
            let (column, least) = lower(expr)?;
            Some(vec![regard(column, least)?])
        }
    }
}

/// About how many rows it takes to meet one of the demands.
pub(crate) fn fewest_rows(demands: &[Demand]) -> u64 {
    demands.iter().map(|demand| demand.rows()).min().unwrap_or(0)
}
