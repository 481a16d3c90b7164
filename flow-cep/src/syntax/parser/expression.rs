//! Expressions, by precedence climbing.

use super::{Parser, Result, expr};
use crate::error::Fault;
use crate::syntax::ast::{
    Argument, BinaryOp, Call, Expr, ExprKind, Ident, InSet, PathPart, QuantifiedSet, TimeUnit, UnaryOp,
};
use crate::syntax::token::TokenKind;
use crate::value::Value;

/// How tightly an expression binds, loosest first. The order is Esper's: bit operators bind looser than `not` and comparisons,
/// so that `(flags & 2) = 2` needs its parentheses.
pub(crate) mod level {
    pub(crate) const OR: u8 = 1;
    pub(crate) const AND: u8 = 2;
    pub(crate) const BITS: u8 = 3;
    pub(crate) const NOT: u8 = 4;
    pub(crate) const EQUALITY: u8 = 5;
    pub(crate) const RELATION: u8 = 6;
    pub(crate) const CONCAT: u8 = 7;
    pub(crate) const SUM: u8 = 8;
    pub(crate) const PRODUCT: u8 = 9;
    pub(crate) const NEGATION: u8 = 10;
    pub(crate) const PRIMARY: u8 = 11;
}

/// The level of an operator.
pub(crate) const fn level_of(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => level::OR,
        BinaryOp::And => level::AND,
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => level::BITS,
        BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Is | BinaryOp::IsNot => level::EQUALITY,
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => level::RELATION,
        BinaryOp::Concat => level::CONCAT,
        BinaryOp::Add | BinaryOp::Subtract => level::SUM,
        BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => level::PRODUCT,
    }
}

/// The unit a word stands for.
pub(crate) fn time_unit(word: &str) -> Option<TimeUnit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "year" | "years" => TimeUnit::Year,
        "month" | "months" => TimeUnit::Month,
        "week" | "weeks" => TimeUnit::Week,
        "day" | "days" => TimeUnit::Day,
        "hour" | "hours" => TimeUnit::Hour,
        "minute" | "minutes" | "min" => TimeUnit::Minute,
        "second" | "seconds" | "sec" => TimeUnit::Second,
        "millisecond" | "milliseconds" | "msec" => TimeUnit::Millisecond,
        "microsecond" | "microseconds" | "usec" => TimeUnit::Microsecond,
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.climb(level::OR)
    }

    /// A time period or a number; what follows it may begin with `and` or `or`.
    pub(super) fn period(&mut self) -> Result<Expr> {
        self.period_above(level::CONCAT)
    }

    /// A time period or any other expression.
    pub(super) fn period_or_expression(&mut self) -> Result<Expr> {
        self.period_above(level::OR)
    }

    fn period_above(&mut self, min: u8) -> Result<Expr> {
        let start = self.span();
        if self.at_ident() && self.unit_at(1).is_some() {
            let first = self.path()?;
            return self.period_from(first, start);
        }
        self.climb(min)
    }

    fn unit_at(&self, ahead: usize) -> Option<TimeUnit> {
        match self.peek_at(ahead) {
            TokenKind::Word(word) => time_unit(word),
            _ => None,
        }
    }

    /// The rest of a period whose first number has been read.
    fn period_from(&mut self, first: Expr, start: crate::syntax::ast::Span) -> Result<Expr> {
        let mut parts = Vec::new();
        let mut number = first;
        loop {
            let Some(unit) = self.unit_at(0) else {
                return Err(self.unexpected(&["sec", "min", "hour"]));
            };
            if parts.last().is_some_and(|(_, last)| *last >= unit) {
                return Err(self
                    .unexpected(&[])
                    .with_hint(Some("write the larger units of a period first".to_owned())));
            }
            self.advance();
            parts.push((number, unit));
            if self.unit_at(1).is_none() {
                break;
            }
            let span = self.span();
            number = match self.peek() {
                TokenKind::Literal(value) if value.value_type().is_numeric() => {
                    let value = value.clone();
                    self.advance();
                    expr(ExprKind::Literal(value), span)
                }
                _ if self.at_ident() => self.path()?,
                _ => break,
            };
        }
        Ok(expr(ExprKind::Period(parts), self.span_from(start)))
    }

    fn climb(&mut self, min: u8) -> Result<Expr> {
        self.nested(|parser| parser.climb_within(min))
    }

    fn climb_within(&mut self, min: u8) -> Result<Expr> {
        let start = self.span();
        let mut left = if min <= level::NOT && self.take_word("not") {
            let operand = self.climb(level::EQUALITY)?;
            expr(ExprKind::Unary(UnaryOp::Not, Box::new(operand)), self.span_from(start))
        } else {
            self.unary()?
        };
        loop {
            if let Some(op) = self.binary_op() {
                let own = level_of(op);
                if own < min {
                    return Ok(left);
                }
                self.count_operator()?;
                self.advance();
                left = self.binary_rest(op, left, start)?;
            } else if min <= level::EQUALITY && self.is_word("is") {
                self.count_operator()?;
                self.advance();
                let negated = self.take_word("not");
                let kind = if self.take_word("null") {
                    ExprKind::Unary(
                        if negated { UnaryOp::IsNotNull } else { UnaryOp::IsNull },
                        Box::new(left),
                    )
                } else {
                    let right = self.climb(level::RELATION)?;
                    let op = if negated { BinaryOp::IsNot } else { BinaryOp::Is };
                    ExprKind::Binary(op, Box::new(left), Box::new(right))
                };
                left = expr(kind, self.span_from(start));
            } else if min <= level::RELATION && self.at_relation() {
                self.count_operator()?;
                left = self.relation(left, start)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            TokenKind::Symbol(symbol) => match *symbol {
                "&" => BinaryOp::BitAnd,
                "|" => BinaryOp::BitOr,
                "^" => BinaryOp::BitXor,
                "=" => BinaryOp::Equal,
                "!=" | "<>" => BinaryOp::NotEqual,
                "<" => BinaryOp::Less,
                "<=" => BinaryOp::LessOrEqual,
                ">" => BinaryOp::Greater,
                ">=" => BinaryOp::GreaterOrEqual,
                "||" => BinaryOp::Concat,
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Subtract,
                "*" => BinaryOp::Multiply,
                "/" => BinaryOp::Divide,
                "%" => BinaryOp::Remainder,
                _ => return None,
            },
            TokenKind::Word(word) if word.eq_ignore_ascii_case("and") => BinaryOp::And,
            TokenKind::Word(word) if word.eq_ignore_ascii_case("or") => BinaryOp::Or,
            _ => return None,
        })
    }

    /// What follows a binary operator: its right side, or `any (..)`, `all (..)`.
    fn binary_rest(&mut self, op: BinaryOp, left: Expr, start: crate::syntax::ast::Span) -> Result<Expr> {
        let comparison = matches!(level_of(op), level::EQUALITY | level::RELATION);
        let quantifier = ["any", "some", "all"].iter().any(|word| self.is_word(word)) && self.is_symbol_at(1, "(");
        let kind = if comparison && quantifier {
            let all = self.is_word("all");
            self.advance();
            self.symbol("(")?;
            let set = if self.is_word("select") {
                QuantifiedSet::Subquery(Box::new(self.subselect()?))
            } else {
                QuantifiedSet::Values(self.list(Self::expression)?)
            };
            self.symbol(")")?;
            ExprKind::Quantified {
                operand: Box::new(left),
                op,
                all,
                set,
            }
        } else {
            let right = self.climb(level_of(op) + 1)?;
            ExprKind::Binary(op, Box::new(left), Box::new(right))
        };
        Ok(expr(kind, self.span_from(start)))
    }

    fn at_relation(&self) -> bool {
        let ahead = usize::from(self.is_word("not"));
        ["in", "between", "like", "regexp"]
            .iter()
            .any(|word| self.is_word_at(ahead, word))
    }

    fn relation(&mut self, left: Expr, start: crate::syntax::ast::Span) -> Result<Expr> {
        let negated = self.take_word("not");
        let operand = Box::new(left);
        let kind = if self.take_word("in") {
            ExprKind::In {
                operand,
                set: self.in_set()?,
                negated,
            }
        } else if self.take_word("between") {
            let low = Box::new(self.climb(level::CONCAT)?);
            self.word("and")?;
            let high = Box::new(self.climb(level::CONCAT)?);
            ExprKind::Between {
                operand,
                low,
                high,
                negated,
            }
        } else if self.take_word("like") {
            let pattern = Box::new(self.climb(level::CONCAT)?);
            let escape = if self.take_word("escape") {
                Some(Box::new(self.climb(level::CONCAT)?))
            } else {
                None
            };
            ExprKind::Like {
                operand,
                pattern,
                escape,
                negated,
            }
        } else {
            self.word("regexp")?;
            ExprKind::Regexp {
                operand,
                pattern: Box::new(self.climb(level::CONCAT)?),
                negated,
            }
        };
        Ok(expr(kind, self.span_from(start)))
    }

    fn in_set(&mut self) -> Result<InSet> {
        let low_included = self.is_symbol("[");
        if !low_included && !self.is_symbol("(") {
            // `in 10.0.0.0/8` and `in '2001:db8::/32'`, without parentheses.
            return Ok(InSet::Values(vec![self.climb(level::CONCAT)?]));
        }
        self.advance();
        if self.is_word("select") {
            let select = self.subselect()?;
            self.symbol(")")?;
            return Ok(InSet::Subquery(Box::new(select)));
        }
        let first = self.expression()?;
        if self.take_symbol(":") {
            let high = Box::new(self.expression()?);
            let high_included = self.is_symbol("]");
            if !high_included && !self.is_symbol(")") {
                return Err(self.unexpected(&["]", ")"]));
            }
            self.advance();
            return Ok(InSet::Range {
                low: Box::new(first),
                high,
                low_included,
                high_included,
            });
        }
        if low_included {
            return Err(self.unexpected(&[":"]));
        }
        let mut values = vec![first];
        while self.take_symbol(",") {
            values.push(self.expression()?);
        }
        self.symbol(")")?;
        Ok(InSet::Values(values))
    }

    fn unary(&mut self) -> Result<Expr> {
        let start = self.span();
        if self.take_symbol("-") {
            self.count_operator()?;
            let operand = self.nested(Self::unary)?;
            // `-1 sec` is a period of a negative number, as Esper reads it.
            if let ExprKind::Period(mut parts) = operand.kind {
                if let Some((first, _)) = parts.first_mut() {
                    let span = start.to(first.span);
                    let inner = std::mem::replace(first, expr(ExprKind::Literal(Value::Null), span));
                    first.kind = ExprKind::Unary(UnaryOp::Negate, Box::new(inner));
                }
                return Ok(expr(ExprKind::Period(parts), self.span_from(start)));
            }
            return Ok(expr(
                ExprKind::Unary(UnaryOp::Negate, Box::new(operand)),
                self.span_from(start),
            ));
        }
        if self.take_symbol("+") {
            return self.nested(Self::unary);
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expr> {
        let start = self.span();
        match self.peek() {
            TokenKind::Literal(value) => {
                let value = value.clone();
                self.advance();
                let numeric = value.value_type().is_numeric();
                let literal = expr(ExprKind::Literal(value), start);
                if numeric && self.unit_at(0).is_some() {
                    self.period_from(literal, start)
                } else {
                    Ok(literal)
                }
            }
            TokenKind::Network(address, prefix_len) => {
                let kind = ExprKind::Network {
                    address: *address,
                    prefix_len: *prefix_len,
                };
                self.advance();
                Ok(expr(kind, start))
            }
            TokenKind::Symbol("(") => {
                self.advance();
                if self.is_word("select") {
                    let select = self.subselect()?;
                    self.symbol(")")?;
                    return Ok(expr(ExprKind::Subquery(Box::new(select)), self.span_from(start)));
                }
                let mut inner = self.expression()?;
                self.symbol(")")?;
                inner.span = self.span_from(start);
                if self.is_symbol("=>") {
                    return Err(self.refuse_lambda());
                }
                Ok(inner)
            }
            TokenKind::Symbol("?") => Err(Fault::unsupported(
                start,
                "a substitution parameter",
                "write the value, or name it with 'create constant variable'",
            )),
            TokenKind::Symbol("{") => Err(Fault::unsupported(
                start,
                "an array expression",
                "write alternatives as 'x in (a, b, ..)'",
            )),
            TokenKind::Word(word) => {
                let word = word.to_ascii_lowercase();
                match word.as_str() {
                    "true" => self.constant(Value::Bool(true)),
                    "false" => self.constant(Value::Bool(false)),
                    "null" => self.constant(Value::Null),
                    "case" => self.case(),
                    "cast" => self.cast(),
                    "exists" => self.exists(),
                    "new" => Err(Fault::unsupported(
                        start,
                        "'new'",
                        "select the columns one by one; there are no objects",
                    )),
                    "typeof" | "instanceof" if self.is_symbol_at(1, "(") => Err(Fault::unsupported(
                        start,
                        format!("'{word}'"),
                        "leave it out: every column has one type, known beforehand",
                    )),
                    _ => self.path_or_call(),
                }
            }
            TokenKind::QuotedWord(_) => self.path(),
            _ => Err(self.unexpected(&[])),
        }
    }

    fn constant(&mut self, value: Value) -> Result<Expr> {
        let span = self.span();
        self.advance();
        Ok(expr(ExprKind::Literal(value), span))
    }

    fn case(&mut self) -> Result<Expr> {
        let start = self.span();
        self.word("case")?;
        let operand = if self.is_word("when") {
            None
        } else {
            Some(Box::new(self.expression()?))
        };
        let mut branches = Vec::new();
        while self.take_word("when") {
            let when = self.expression()?;
            self.word("then")?;
            branches.push((when, self.expression()?));
        }
        if branches.is_empty() {
            return Err(self.unexpected(&["when"]));
        }
        let otherwise = if self.take_word("else") {
            Some(Box::new(self.expression()?))
        } else {
            None
        };
        self.word("end")?;
        Ok(expr(
            ExprKind::Case {
                operand,
                branches,
                otherwise,
            },
            self.span_from(start),
        ))
    }

    fn cast(&mut self) -> Result<Expr> {
        let start = self.span();
        self.word("cast")?;
        self.symbol("(")?;
        let operand = Box::new(self.expression()?);
        if !self.take_symbol(",") {
            self.word("as")?;
        }
        let type_name = self.type_name()?;
        if self.is_symbol(",") {
            return Err(Fault::unsupported(
                self.span(),
                "a format in 'cast'",
                "cast only between numbers, texts and addresses",
            ));
        }
        self.symbol(")")?;
        Ok(expr(ExprKind::Cast { operand, type_name }, self.span_from(start)))
    }

    fn exists(&mut self) -> Result<Expr> {
        let start = self.span();
        self.word("exists")?;
        self.symbol("(")?;
        if !self.is_word("select") {
            return Err(Fault::unsupported(
                self.span(),
                "'exists' of a property",
                "use 'x is not null'",
            ));
        }
        let select = self.subselect()?;
        self.symbol(")")?;
        Ok(expr(ExprKind::Exists(Box::new(select)), self.span_from(start)))
    }

    fn refuse_lambda(&self) -> Box<Fault> {
        Fault::unsupported(self.span(), "a lambda", "use a subquery or an aggregate with a filter")
    }

    fn path_or_call(&mut self) -> Result<Expr> {
        if !self.is_symbol_at(1, "(") {
            return self.path();
        }
        let start = self.span();
        let name = self.any_word()?;
        if !self.callable(&name) {
            return Err(Fault::syntax(
                name.span,
                format!("Incorrect syntax near '{name}' (a reserved keyword)"),
            ));
        }
        self.symbol("(")?;
        let distinct = self.take_word("distinct");
        if !distinct {
            self.take_word("all");
        }
        let arguments = if self.is_symbol(")") {
            Vec::new()
        } else {
            self.list(Self::argument)?
        };
        self.symbol(")")?;
        let property = if self.take_symbol(".") {
            let property = self.any_word()?;
            if self.is_symbol("(") {
                return Err(Fault::unsupported(
                    property.span,
                    format!("enumeration or date-time method '{property}'"),
                    "use a subquery or an aggregate with a filter",
                ));
            }
            if self.is_symbol(".") {
                return Err(Fault::unsupported(
                    self.span(),
                    "a nested property",
                    "select the columns one by one",
                ));
            }
            Some(property)
        } else {
            None
        };
        Ok(expr(
            ExprKind::Call(Call {
                name,
                distinct,
                arguments,
                property,
            }),
            self.span_from(start),
        ))
    }

    /// Whether a name may stand before parentheses.
    fn callable(&self, name: &Ident) -> bool {
        // `istream()` tells which stream a row is of.
        !super::is_reserved(&name.name) || name.name.eq_ignore_ascii_case("istream")
    }

    fn argument(&mut self) -> Result<Argument> {
        if self.take_symbol("*") {
            return Ok(Argument::Wildcard);
        }
        if self.at_ident() && self.is_symbol_at(1, ".") && self.is_symbol_at(2, "*") {
            let stream = self.ident()?;
            self.advance();
            self.advance();
            return Ok(Argument::StreamWildcard(stream));
        }
        if matches!(self.peek(), TokenKind::Word(_)) && self.is_symbol_at(1, ":") {
            let name = self.any_word()?;
            self.advance();
            return Ok(Argument::Named(name, self.expression()?));
        }
        let value = self.period_or_expression()?;
        if self.is_symbol("=>") {
            return Err(self.refuse_lambda());
        }
        if self.take_word("asc") {
            return Ok(Argument::Ordered(value, false));
        }
        if self.take_word("desc") {
            return Ok(Argument::Ordered(value, true));
        }
        Ok(Argument::Expr(value))
    }

    /// `a`, `a.b`, `a[0].b`.
    pub(super) fn path(&mut self) -> Result<Expr> {
        let start = self.span();
        let mut parts = vec![self.path_part()?];
        while self.is_symbol(".") && !self.is_symbol_at(1, "*") {
            self.advance();
            let part = self.path_part_after_dot()?;
            if self.is_symbol("(") {
                return Err(Fault::unsupported(
                    self.span_from(start),
                    format!("a call of a method or class ('{}')", part.name),
                    "use the functions of the language",
                ));
            }
            parts.push(part);
        }
        if self.is_symbol("?") || self.is_symbol("\\") {
            return Err(Fault::unsupported(
                self.span(),
                "a dynamic property",
                "columns are known beforehand",
            ));
        }
        Ok(expr(ExprKind::Path(parts), self.span_from(start)))
    }

    fn path_part(&mut self) -> Result<PathPart> {
        let name = self.ident()?;
        self.path_index(name)
    }

    fn path_part_after_dot(&mut self) -> Result<PathPart> {
        let name = self.any_word()?;
        self.path_index(name)
    }

    fn path_index(&mut self, name: Ident) -> Result<PathPart> {
        let mut index = Vec::new();
        if self.take_symbol("[") {
            index = self.list(Self::expression)?;
            self.symbol("]")?;
        }
        Ok(PathPart { name, index })
    }
}
