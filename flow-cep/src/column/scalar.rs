//! Expressions as the columnar runtime evaluates them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Schema};

use crate::event_type::arrow_type;
use crate::expr::column::ColumnExpr;
use crate::expr::{Expr, LikePattern, Node, RegexpPattern};

/// An expression over the columns of one batch: it has no aggregates, no state and no clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scalar(Arc<Expr>);

impl Scalar {
    /// None if the expression needs more than the columns of stream 0.
    pub(crate) fn new(expr: &Expr) -> Option<Self> {
        let mut pure = true;
        rewrite(expr, &mut |expr| {
            pure &= !matches!(expr.node, Node::Column { stream, .. } if stream != 0)
                && !matches!(expr.node, Node::Aggregate(_));
            None
        })?;
        pure.then(|| Self(Arc::new(expr.clone())))
    }

    pub(crate) fn expr(&self) -> &Expr {
        &self.0
    }

    /// The conditions that must all be true for this one to be.
    pub(crate) fn conjuncts(self) -> Vec<Self> {
        match &self.0.node {
            Node::And(parts) => parts
                .iter()
                .flat_map(|part| Self(Arc::new(part.clone())).conjuncts())
                .collect(),
            _ => vec![self],
        }
    }

    /// Compiles the expression for batches of a schema.
    pub(crate) fn compile(&self, schema: &Schema) -> Compiled {
        Compiled {
            column: self.as_column(),
            expr: ColumnExpr::new(&self.0, schema),
        }
    }

    /// The column, if the expression is nothing else.
    pub(crate) fn as_column(&self) -> Option<usize> {
        match self.0.node {
            Node::Column { column, .. } => Some(column),
            _ => None,
        }
    }

    pub(crate) fn columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        let _ = rewrite(&self.0, &mut |expr| {
            if let Node::Column { column, .. } = expr.node {
                columns.push(column);
            }
            None
        });
        columns
    }

    /// The same over other places of the columns.
    pub(crate) fn remap(&self, place: impl Fn(usize) -> usize) -> Self {
        let moved = rewrite(&self.0, &mut |expr| match expr.node {
            Node::Column { stream, column } => Some(Node::Column {
                stream,
                column: place(column),
            }),
            _ => None,
        });
        moved.map_or_else(|| self.clone(), |expr| Self(Arc::new(expr)))
    }

    /// The type of the arrays that [`Scalar::evaluate`] gives for batches of a schema.
    pub(crate) fn data_type(&self, schema: &Schema) -> DataType {
        match self.as_column() {
            Some(column) => schema.field(column).data_type().clone(),
            None => arrow_type(&self.0.of),
        }
    }
}

/// An expression that is ready for batches of one schema.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    column: Option<usize>,
    /// None only for expressions that [`Scalar::new`] refuses.
    expr: Option<ColumnExpr>,
}

impl Compiled {
    /// The values for all rows; a plain column keeps its Arrow type.
    pub(crate) fn evaluate(&self, batch: &RecordBatch, times: &[i64]) -> ArrayRef {
        match (self.column, &self.expr) {
            (Some(column), _) => Arc::clone(batch.column(column)),
            (None, Some(expr)) => expr.evaluate(batch, times),
            (None, None) => new_null_array(&DataType::Null, batch.num_rows()),
        }
    }

    /// The rows for which a condition is true; null is not.
    pub(crate) fn mask(&self, batch: &RecordBatch, times: &[i64]) -> BooleanBuffer {
        match &self.expr {
            Some(expr) => expr.mask(batch, times),
            None => BooleanBuffer::new_unset(batch.num_rows()),
        }
    }
}

/// The expression with the nodes that `replace` answers for in place of what they stand for; none if a part depends on more
/// than one row or on the clock.
pub(crate) fn rewrite(expr: &Expr, replace: &mut dyn FnMut(&Expr) -> Option<Node>) -> Option<Expr> {
    if let Some(node) = replace(expr) {
        return Some(Expr {
            node,
            of: expr.of.clone(),
        });
    }
    let mut boxed = |expr: &Expr| rewrite(expr, replace).map(Box::new);
    let node = match &expr.node {
        Node::Literal(_) | Node::Column { .. } | Node::Aggregate(_) => expr.node.clone(),
        Node::Negate(operand) => Node::Negate(boxed(operand)?),
        Node::Not(operand) => Node::Not(boxed(operand)?),
        Node::IsNull(operand) => Node::IsNull(boxed(operand)?),
        Node::Convert(operand) => Node::Convert(boxed(operand)?),
        Node::And(parts) => Node::And(rewrite_all(parts, replace)?),
        Node::Or(parts) => Node::Or(rewrite_all(parts, replace)?),
        Node::Coalesce(parts) => Node::Coalesce(rewrite_all(parts, replace)?),
        Node::Call(function, arguments) => Node::Call(*function, rewrite_all(arguments, replace)?),
        Node::Compare(op, left, right) => Node::Compare(*op, boxed(left)?, boxed(right)?),
        Node::Arithmetic(op, left, right) => Node::Arithmetic(*op, boxed(left)?, boxed(right)?),
        Node::Bits(op, left, right) => Node::Bits(*op, boxed(left)?, boxed(right)?),
        Node::Concat(left, right) => Node::Concat(boxed(left)?, boxed(right)?),
        Node::InList { operand, list, negated } => Node::InList {
            operand: boxed(operand)?,
            list: rewrite_all(list, replace)?,
            negated: *negated,
        },
        Node::InRange {
            operand,
            low,
            high,
            low_included,
            high_included,
            negated,
        } => Node::InRange {
            operand: boxed(operand)?,
            low: boxed(low)?,
            high: boxed(high)?,
            low_included: *low_included,
            high_included: *high_included,
            negated: *negated,
        },
        Node::InNetworks {
            operand,
            networks,
            negated,
        } => Node::InNetworks {
            operand: boxed(operand)?,
            networks: networks.clone(),
            negated: *negated,
        },
        Node::Like {
            operand,
            pattern,
            negated,
        } => {
            let operand = boxed(operand)?;
            let pattern = match pattern {
                LikePattern::Constant(_) => pattern.clone(),
                LikePattern::Computed(pattern, escape) => LikePattern::Computed(boxed(pattern)?, *escape),
            };
            Node::Like {
                operand,
                pattern,
                negated: *negated,
            }
        }
        Node::Regexp {
            operand,
            pattern,
            negated,
        } => {
            let operand = boxed(operand)?;
            let pattern = match pattern {
                RegexpPattern::Constant(_) => pattern.clone(),
                RegexpPattern::Computed(pattern) => RegexpPattern::Computed(boxed(pattern)?),
            };
            Node::Regexp {
                operand,
                pattern,
                negated: *negated,
            }
        }
        Node::Case { branches, otherwise } => {
            let branches = branches
                .iter()
                .map(|(condition, result)| Some((rewrite(condition, replace)?, rewrite(result, replace)?)))
                .collect::<Option<_>>()?;
            Node::Case {
                branches,
                otherwise: Box::new(rewrite(otherwise, replace)?),
            }
        }
        _ => return None,
    };
    Some(Expr {
        node,
        of: expr.of.clone(),
    })
}

fn rewrite_all(parts: &[Expr], replace: &mut dyn FnMut(&Expr) -> Option<Node>) -> Option<Vec<Expr>> {
    parts.iter().map(|part| rewrite(part, replace)).collect()
}
