//! The names of result columns that were given none: Esper's text of the expression.

use std::fmt::Write;

use crate::syntax::ast::{Argument, BinaryOp, Expr, ExprKind, InSet, UnaryOp};
use crate::value::Value;

/// The name of a column without `as`.
pub(super) fn default_name(expr: &Expr) -> String {
    let mut name = String::new();
    write_expr(&mut name, expr, 0);
    name
}

fn list(out: &mut String, items: &[Expr]) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_expr(out, item, 0);
    }
}

/// Esper's precedence, higher binds tighter; parentheses are kept only where they are needed.
const fn strength(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And => 2,
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => 3,
        BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Is | BinaryOp::IsNot => 5,
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => 6,
        BinaryOp::Concat => 7,
        BinaryOp::Add | BinaryOp::Subtract => 8,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => 9,
    }
}

fn write_expr(out: &mut String, expr: &Expr, min: u8) {
    let push = |out: &mut String, text: &str| out.push_str(text);
    match &expr.kind {
        ExprKind::Literal(Value::Text(text)) => {
            let _ = write!(out, "\"{text}\"");
        }
        ExprKind::Literal(value) => {
            let _ = write!(out, "{value}");
        }
        ExprKind::Path(parts) => {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                out.push_str(&part.name.name);
                if !part.index.is_empty() {
                    out.push('[');
                    list(out, &part.index);
                    out.push(']');
                }
            }
        }
        // Esper keeps the sign of a number, and multiplies anything else.
        ExprKind::Unary(UnaryOp::Negate, operand) => {
            let number = matches!(operand.kind, ExprKind::Literal(_));
            out.push_str(if number { "-" } else { "-1*" });
            write_expr(out, operand, 10);
        }
        ExprKind::Unary(UnaryOp::Not, operand) => {
            out.push_str("not ");
            write_expr(out, operand, 4);
        }
        ExprKind::Unary(UnaryOp::IsNull, operand) => {
            write_expr(out, operand, 5);
            out.push_str(" is null");
        }
        ExprKind::Unary(UnaryOp::IsNotNull, operand) => {
            write_expr(out, operand, 5);
            out.push_str(" is not null");
        }
        ExprKind::Binary(op, left, right) => {
            let own = strength(*op);
            let parentheses = own < min;
            if parentheses {
                out.push('(');
            }
            write_expr(out, left, own);
            match op {
                BinaryOp::And | BinaryOp::Or | BinaryOp::Is | BinaryOp::IsNot => {
                    let _ = write!(out, " {op} ");
                }
                _ => {
                    let _ = write!(out, "{op}");
                }
            }
            write_expr(out, right, own + 1);
            if parentheses {
                out.push(')');
            }
        }
        ExprKind::In { operand, set, negated } => {
            write_expr(out, operand, 6);
            push(out, if *negated { " not in " } else { " in " });
            match set {
                InSet::Values(values) => {
                    out.push('(');
                    list(out, values);
                    out.push(')');
                }
                InSet::Range {
                    low,
                    high,
                    low_included,
                    high_included,
                } => {
                    out.push(if *low_included { '[' } else { '(' });
                    write_expr(out, low, 0);
                    out.push(':');
                    write_expr(out, high, 0);
                    out.push(if *high_included { ']' } else { ')' });
                }
                InSet::Subquery(_) => out.push_str("subselect"),
            }
        }
        ExprKind::Between {
            operand,
            low,
            high,
            negated,
        } => {
            write_expr(out, operand, 6);
            push(out, if *negated { " not between " } else { " between " });
            write_expr(out, low, 7);
            out.push_str(" and ");
            write_expr(out, high, 7);
        }
        ExprKind::Call(call) => {
            out.push_str(&call.name.name);
            out.push('(');
            if call.distinct {
                out.push_str("distinct ");
            }
            for (at, argument) in call.arguments.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                match argument {
                    Argument::Wildcard => out.push('*'),
                    Argument::StreamWildcard(stream) => {
                        let _ = write!(out, "{stream}.*");
                    }
                    Argument::Expr(expr) | Argument::Ordered(expr, false) => write_expr(out, expr, 0),
                    Argument::Ordered(expr, true) => {
                        write_expr(out, expr, 0);
                        out.push_str(" desc");
                    }
                    Argument::Named(name, expr) => {
                        let _ = write!(out, "{name}:");
                        write_expr(out, expr, 0);
                    }
                }
            }
            out.push(')');
            if let Some(property) = &call.property {
                let _ = write!(out, ".{property}");
            }
        }
        ExprKind::Cast { operand, type_name } => {
            out.push_str("cast(");
            write_expr(out, operand, 0);
            let _ = write!(out, ",{type_name})");
        }
        ExprKind::Case {
            operand,
            branches,
            otherwise,
        } => {
            out.push_str("case");
            if let Some(operand) = operand {
                out.push(' ');
                write_expr(out, operand, 0);
            }
            for (when, then) in branches {
                out.push_str(" when ");
                write_expr(out, when, 0);
                out.push_str(" then ");
                write_expr(out, then, 0);
            }
            if let Some(otherwise) = otherwise {
                out.push_str(" else ");
                write_expr(out, otherwise, 0);
            }
            out.push_str(" end");
        }
        _ => {
            let _ = write!(out, "{expr}");
        }
    }
}
