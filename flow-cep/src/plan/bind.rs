//! Expressions: names → columns, types checked and brought together.

mod call;
mod name;

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Catalog, CatalogId, ScopeStream, SubqueryPlan};
use crate::error::{Fault, nearest};
use crate::expr::text::{Like, Pattern};
use crate::expr::{Aggregate, Expr, LikePattern, Network, Node, RegexpPattern, Scope};
use crate::syntax::ast::{
    BinaryOp, Expr as Syntax, ExprKind, Ident, InSet, QuantifiedSet, Select, Span, TimeUnit, UnaryOp,
};
use crate::value::{Type, Value, address_of, parse_address};

pub(super) type Result<T> = std::result::Result<T, Box<Fault>>;

/// Whether aggregates may stand in the expression being bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregates {
    /// They may.
    Allowed,
    /// They may not: where, filters.
    Refused,
    /// Already within one.
    Inside,
}

/// What `match_recognize` adds to names.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// The variable being defined; none for measures.
    pub(super) own: Option<usize>,
    /// Aggregates over a variable's rows.
    pub(super) aggregates: Vec<(usize, Aggregate)>,
    /// How far back `prev` looks.
    pub(super) previous_rows: usize,
}

/// Binds the expressions of one owner: they share numbering of streams, aggregates and subqueries.
#[derive(Debug)]
pub(super) struct Binder<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) context: Option<CatalogId>,
    pub(super) streams: Vec<ScopeStream>,
    /// Where a name without a stream is looked for: each range before the next; within one it must be unambiguous.
    pub(super) unqualified: Vec<Range<usize>>,
    pub(super) aggregation: Aggregates,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) subqueries: Vec<SubqueryPlan>,
    pub(super) subqueries_allowed: bool,
    pub(super) uses_previous: BTreeSet<usize>,
    pub(super) matching: Option<Matching>,
}

/// A scope without rows, for constants.
struct Nowhere;

impl Scope for Nowhere {
    fn column(&self, _: usize, _: usize) -> Value {
        Value::Null
    }

    fn now_ms(&self) -> i64 {
        0
    }
}

/// The value of an expression that refers to nothing.
pub(super) fn constant(expr: &Expr) -> Option<Value> {
    match &expr.node {
        Node::Literal(value) => Some(value.clone()),
        _ => None,
    }
}

/// An expression, or its value if all it needs is known.
pub(super) fn folded(node: Node, of: Type) -> Expr {
    let expr = Expr { node, of };
    let mut constant = !matches!(
        expr.node,
        Node::Literal(_)
            | Node::Column { .. }
            | Node::Indexed { .. }
            | Node::Row(_)
            | Node::Aggregate(_)
            | Node::Now
            | Node::Previous { .. }
            | Node::Subquery(_)
            | Node::Exists(_)
            | Node::InSubquery { .. }
            | Node::QuantifiedSubquery { .. }
            | Node::TableColumn { .. }
            | Node::Context(_)
            | Node::Variable(_)
    );
    expr.each_child(&mut |child| constant &= matches!(child.node, Node::Literal(_)));
    if constant {
        let value = expr.eval(&Nowhere);
        return Expr {
            node: Node::Literal(value),
            of: expr.of,
        };
    }
    expr
}

/// The name Esper gives a type in its messages.
pub(super) fn java_name(of: &Type) -> String {
    match of {
        Type::Null => "null".to_owned(),
        Type::Bool => "Boolean".to_owned(),
        Type::Int => "Integer".to_owned(),
        Type::Long => "Long".to_owned(),
        Type::Double => "Double".to_owned(),
        Type::Text => "String".to_owned(),
        Type::Address => "Address".to_owned(),
        Type::List(_) | Type::Row(_) => of.to_string(),
    }
}

/// Converts to a type, if it is not of it already.
pub(super) fn to_type(expr: Expr, of: &Type) -> Expr {
    if expr.of == *of {
        return expr;
    }
    folded(Node::Convert(Box::new(expr)), of.clone())
}

/// The wider of two numeric types.
fn wider(left: &Type, right: &Type) -> Type {
    match (left, right) {
        (Type::Double, _) | (_, Type::Double) => Type::Double,
        (Type::Long, _) | (_, Type::Long) => Type::Long,
        _ => Type::Int,
    }
}

/// The type by a name as `cast`, schemas, tables and variables spell it.
pub(super) fn type_named(name: &Ident) -> Result<Type> {
    Ok(match name.name.to_ascii_lowercase().as_str() {
        "bool" | "boolean" => Type::Bool,
        "byte" | "short" | "int" | "integer" => Type::Int,
        "long" => Type::Long,
        "float" | "double" => Type::Double,
        "string" | "character" | "char" => Type::Text,
        "address" | "ip" => Type::Address,
        _ => {
            let known = ["boolean", "int", "long", "double", "string", "address"];
            let hint = nearest(&name.name, known).map(|meant| format!("did you mean '{meant}'?"));
            return Err(Fault::invalid(name.span, format!("Type '{name}' is not known"))
                .with_hint(hint.or_else(|| Some(format!("the types are {}", known.join(", "))))));
        }
    })
}

/// Splits a conjunction into its parts.
pub(super) fn conjuncts(expr: Expr) -> Vec<Expr> {
    match expr.node {
        Node::And(parts) => parts.into_iter().flat_map(conjuncts).collect(),
        Node::Literal(Value::Bool(true)) => Vec::new(),
        _ => vec![expr],
    }
}

/// Which streams an expression refers to; `others` tells of contexts, subqueries and aggregates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    pub(super) streams: BTreeSet<usize>,
    pub(super) others: bool,
}

pub(super) fn references(expr: &Expr) -> References {
    fn walk(expr: &Expr, found: &mut References) {
        match &expr.node {
            Node::Column { stream, .. }
            | Node::Indexed { stream, .. }
            | Node::Row(stream)
            | Node::Previous { stream, .. } => {
                found.streams.insert(*stream);
            }
            Node::Aggregate(_)
            | Node::Subquery(_)
            | Node::Exists(_)
            | Node::InSubquery { .. }
            | Node::QuantifiedSubquery { .. }
            | Node::TableColumn { .. }
            | Node::Context(_)
            | Node::Now
            | Node::Variable(_) => found.others = true,
            _ => {}
        }
        expr.each_child(&mut |child| walk(child, found));
    }
    let mut found = References::default();
    walk(expr, &mut found);
    found
}

/// The columns an expression mentions outside aggregates.
pub(super) fn columns_of(expr: &Expr, into: &mut BTreeSet<(usize, usize)>) {
    match &expr.node {
        Node::Column { stream, column }
        | Node::Indexed { stream, column, .. }
        | Node::Previous { stream, column, .. } => {
            into.insert((*stream, *column));
        }
        Node::Row(stream) => {
            into.insert((*stream, usize::MAX));
        }
        _ => {}
    }
    expr.each_child(&mut |child| columns_of(child, into));
}

impl<'a> Binder<'a> {
    pub(super) fn new(catalog: &'a Catalog, context: Option<CatalogId>, streams: Vec<ScopeStream>) -> Self {
        let all = 0..streams.len();
        Self {
            catalog,
            context,
            streams,
            unqualified: vec![all],
            aggregation: Aggregates::Refused,
            aggregates: Vec::new(),
            subqueries: Vec::new(),
            subqueries_allowed: true,
            uses_previous: BTreeSet::new(),
            matching: None,
        }
    }

    /// Binds an expression that must be a condition.
    pub(super) fn condition(&mut self, syntax: &Syntax, message: &str) -> Result<Expr> {
        let bound = self.bind(syntax)?;
        match bound.of {
            Type::Bool => Ok(bound),
            Type::Null => Ok(to_type(bound, &Type::Bool)),
            _ => Err(Fault::invalid(syntax.span, message.to_owned())
                .with_hint(Some(format!("'{syntax}' is of type {}", bound.of)))),
        }
    }

    /// A whole number known now, at least `least`.
    pub(super) fn count(&mut self, syntax: &Syntax, what: &str, least: i64) -> Result<u64> {
        let bound = self.bind(syntax)?;
        let value = constant(&bound)
            .and_then(|value| value.as_long())
            .filter(|value| *value >= least);
        value.and_then(|value| u64::try_from(value).ok()).ok_or_else(|| {
            Fault::invalid(
                syntax.span,
                format!("{what} must be a whole number of at least {least}, known beforehand"),
            )
            .with_hint(Some(
                "write a number, or name it with 'create constant variable'".to_owned(),
            ))
        })
    }

    /// A period in milliseconds; a bare number is in seconds.
    pub(super) fn milliseconds(&mut self, syntax: &Syntax, what: &str) -> Result<i64> {
        let bound = self.bind(syntax)?;
        // Periods are bound to doubles of seconds.
        let seconds = constant(&bound).and_then(|value| value.as_double());
        let Some(seconds) = seconds else {
            return Err(Fault::unsupported(
                syntax.span,
                format!("{what} that is not known beforehand"),
                "write a period like '10 sec', or name its number with 'create constant variable'",
            ));
        };
        let ms = (seconds * 1000.0).round();
        // A hundred years: beyond it clocks would overflow.
        if !(1.0..=3_155_760_000_000.0).contains(&ms) {
            return Err(Fault::invalid(
                syntax.span,
                format!("{what} must be longer than nothing, and below a hundred years"),
            )
            .with_hint(Some(
                "Esper silently accepts a negative period; here it is refused".to_owned(),
            )));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the range has been checked")]
        let ms = ms as i64;
        Ok(ms)
    }

    pub(super) fn bind(&mut self, syntax: &Syntax) -> Result<Expr> {
        let span = syntax.span;
        match &syntax.kind {
            ExprKind::Literal(value) => Ok(Expr {
                node: Node::Literal(value.clone()),
                of: value.value_type(),
            }),
            ExprKind::Network { .. } => Err(Fault::invalid(span, "A network can only stand after 'in'")
                .with_hint(Some(format!("write 'x in {syntax}'")))),
            ExprKind::Period(parts) => self.period(parts),
            ExprKind::Path(parts) => self.path(parts, span),
            ExprKind::Unary(op, operand) => self.unary(*op, operand),
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right, span),
            ExprKind::In { operand, set, negated } => self.in_set(operand, set, *negated),
            ExprKind::Between {
                operand,
                low,
                high,
                negated,
            } => self.range(operand, low, high, (true, true), *negated),
            ExprKind::Like {
                operand,
                pattern,
                escape,
                negated,
            } => {
                let escape =
                    match escape {
                        None => None,
                        Some(escape) => {
                            let value = constant(&self.bind(escape)?);
                            let character = value
                                .as_ref()
                                .and_then(Value::as_text)
                                .and_then(|text| text.chars().next());
                            Some(character.ok_or_else(|| {
                                Fault::invalid(escape.span, "The escape of 'like' must be a character")
                            })?)
                        }
                    };
                let of = span;
                let operand = self.textual(operand, "like")?;
                let pattern = self.textual(pattern, "like")?;
                let pattern = match constant(&pattern) {
                    Some(Value::Text(text)) => LikePattern::Constant(Like::new(&text, escape)),
                    Some(_) => return Err(Fault::invalid(of, "The 'like' operator requires a text as its pattern")),
                    None => LikePattern::Computed(Box::new(pattern), escape),
                };
                Ok(folded(
                    Node::Like {
                        operand: Box::new(operand),
                        pattern,
                        negated: *negated,
                    },
                    Type::Bool,
                ))
            }
            ExprKind::Regexp {
                operand,
                pattern,
                negated,
            } => {
                let at = pattern.span;
                let operand = self.textual(operand, "regexp")?;
                let pattern = self.textual(pattern, "regexp")?;
                let pattern = match constant(&pattern) {
                    Some(Value::Text(text)) => RegexpPattern::Constant(Pattern::new(&text).map_err(|error| {
                        let reason = error
                            .lines()
                            .last()
                            .unwrap_or_default()
                            .trim_start_matches("error: ")
                            .to_owned();
                        Fault::invalid(
                            at,
                            format!("Failed to compile the regular expression '{text}': {reason}"),
                        )
                    })?),
                    Some(_) => {
                        return Err(Fault::invalid(
                            at,
                            "The 'regexp' operator requires a text as its pattern",
                        ));
                    }
                    None => RegexpPattern::Computed(Box::new(pattern)),
                };
                Ok(folded(
                    Node::Regexp {
                        operand: Box::new(operand),
                        pattern,
                        negated: *negated,
                    },
                    Type::Bool,
                ))
            }
            ExprKind::Case {
                operand,
                branches,
                otherwise,
            } => self.case(operand.as_deref(), branches, otherwise.as_deref(), span),
            ExprKind::Cast { operand, type_name } => {
                let of = type_named(type_name)?;
                let operand = self.bind(operand)?;
                Ok(to_type(operand, &of))
            }
            ExprKind::Call(call) => self.call(call, span),
            ExprKind::Subquery(select) => {
                let (slot, of) = self.subquery(select, span, true)?;
                Ok(Expr {
                    node: Node::Subquery(slot),
                    of,
                })
            }
            ExprKind::Exists(select) => {
                let (slot, _) = self.subquery(select, span, false)?;
                Ok(Expr {
                    node: Node::Exists(slot),
                    of: Type::Bool,
                })
            }
            ExprKind::Quantified { operand, op, all, set } => self.quantified(operand, *op, *all, set, span),
        }
    }

    /// Seconds as a double.
    fn period(&mut self, parts: &[(Syntax, TimeUnit)]) -> Result<Expr> {
        let mut sum: Option<Expr> = None;
        for (number, unit) in parts {
            let seconds = match unit {
                TimeUnit::Year | TimeUnit::Month => {
                    return Err(Fault::unsupported(
                        number.span,
                        "a period of months or years",
                        "write it in days: the calendar's months differ in length",
                    ));
                }
                TimeUnit::Week => 604_800.0,
                TimeUnit::Day => 86_400.0,
                TimeUnit::Hour => 3_600.0,
                TimeUnit::Minute => 60.0,
                TimeUnit::Second => 1.0,
                TimeUnit::Millisecond => 0.001,
                TimeUnit::Microsecond => 0.000_001,
            };
            let bound = self.numeric(number, "a period")?;
            let factor = Expr {
                node: Node::Literal(Value::Double(seconds)),
                of: Type::Double,
            };
            let part = folded(
                Node::Arithmetic(
                    BinaryOp::Multiply,
                    Box::new(to_type(bound, &Type::Double)),
                    Box::new(factor),
                ),
                Type::Double,
            );
            sum = Some(match sum {
                None => part,
                Some(sum) => folded(
                    Node::Arithmetic(BinaryOp::Add, Box::new(sum), Box::new(part)),
                    Type::Double,
                ),
            });
        }
        Ok(sum.unwrap_or(Expr {
            node: Node::Literal(Value::Double(0.0)),
            of: Type::Double,
        }))
    }

    fn textual(&mut self, syntax: &Syntax, operator: &str) -> Result<Expr> {
        let bound = self.bind(syntax)?;
        match bound.of {
            Type::Text => Ok(bound),
            Type::Int | Type::Long | Type::Double | Type::Null | Type::Address => Ok(to_type(bound, &Type::Text)),
            _ => Err(Fault::invalid(
                syntax.span,
                format!(
                    "The '{operator}' operator requires a String or numeric type, and not {}",
                    java_name(&bound.of)
                ),
            )),
        }
    }

    fn numeric(&mut self, syntax: &Syntax, _what: &str) -> Result<Expr> {
        let bound = self.bind(syntax)?;
        if bound.of.is_numeric() || bound.of == Type::Null {
            return Ok(bound);
        }
        Err(Fault::invalid(
            syntax.span,
            format!(
                "Implicit conversion from datatype '{}' to numeric is not allowed",
                java_name(&bound.of)
            ),
        ))
    }

    fn unary(&mut self, op: UnaryOp, operand: &Syntax) -> Result<Expr> {
        match op {
            UnaryOp::Negate => {
                let bound = self.numeric(operand, "-")?;
                let of = bound.of.clone();
                Ok(folded(Node::Negate(Box::new(bound)), of))
            }
            UnaryOp::Not => {
                let bound = self.condition(operand, "The NOT operator requires a boolean expression")?;
                Ok(folded(Node::Not(Box::new(bound)), Type::Bool))
            }
            UnaryOp::IsNull => Ok(folded(Node::IsNull(Box::new(self.bind(operand)?)), Type::Bool)),
            UnaryOp::IsNotNull => {
                let null = folded(Node::IsNull(Box::new(self.bind(operand)?)), Type::Bool);
                Ok(folded(Node::Not(Box::new(null)), Type::Bool))
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &Syntax, right: &Syntax, span: Span) -> Result<Expr> {
        match op {
            BinaryOp::And | BinaryOp::Or => {
                let word = if op == BinaryOp::And { "AND" } else { "OR" };
                let message = format!("The {word} operator requires boolean expressions on both sides");
                let left = self.condition(left, &message)?;
                let right = self.condition(right, &message)?;
                let mut parts = Vec::new();
                for part in [left, right] {
                    match (part.node, op) {
                        (Node::And(inner), BinaryOp::And) | (Node::Or(inner), BinaryOp::Or) => parts.extend(inner),
                        (node, _) => parts.push(Expr { node, of: Type::Bool }),
                    }
                }
                Ok(folded(
                    if op == BinaryOp::And {
                        Node::And(parts)
                    } else {
                        Node::Or(parts)
                    },
                    Type::Bool,
                ))
            }
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Is
            | BinaryOp::IsNot
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual => {
                let (left, right) = self.comparable(left, right, op, span)?;
                if let Some(simpler) = truth_test(op, &left, &right) {
                    return Ok(simpler);
                }
                Ok(folded(Node::Compare(op, Box::new(left), Box::new(right)), Type::Bool))
            }
            BinaryOp::Concat => {
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                let (left, right) = (to_type(left, &Type::Text), to_type(right, &Type::Text));
                Ok(folded(Node::Concat(Box::new(left), Box::new(right)), Type::Text))
            }
            BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => {
                let (left_at, right_at) = (left.span, right.span);
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                let of = match (&left.of, &right.of) {
                    (Type::Bool, Type::Bool) => Type::Bool,
                    (a, b) if a.is_integer() && b.is_integer() => wider(a, b),
                    (a, b) => {
                        let (at, wrong) = if a.is_integer() { (right_at, b) } else { (left_at, a) };
                        let hint = matches!(wrong, Type::Bool)
                            .then(|| format!("'{op}' binds looser than a comparison: write '(a {op} b) = c'"));
                        return Err(Fault::invalid(
                            at,
                            format!(
                                "Invalid datatype for bitwise '{op}': {} is not allowed",
                                java_name(wrong)
                            ),
                        )
                        .with_hint(hint));
                    }
                };
                Ok(folded(
                    Node::Bits(op, Box::new(to_type(left, &of)), Box::new(to_type(right, &of))),
                    of,
                ))
            }
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => {
                let (left, right) = (self.numeric(left, "arithmetic")?, self.numeric(right, "arithmetic")?);
                let of = if op == BinaryOp::Divide {
                    Type::Double
                } else {
                    wider(&left.of, &right.of)
                };
                Ok(folded(
                    Node::Arithmetic(op, Box::new(to_type(left, &of)), Box::new(to_type(right, &of))),
                    of,
                ))
            }
        }
    }

    /// Both sides of a comparison, of one type.
    fn comparable(&mut self, left: &Syntax, right: &Syntax, op: BinaryOp, span: Span) -> Result<(Expr, Expr)> {
        let ordering = !matches!(
            op,
            BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Is | BinaryOp::IsNot
        );
        let (left_at, right_at) = (left.span, right.span);
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        let sides = unify(vec![(left, left_at), (right, right_at)], span).map_err(|mut fault| {
            if ordering && let Some(at) = fault.message.find("' to '") {
                fault.message.truncate(at);
                fault.message.push_str("' to numeric is not allowed");
            }
            fault
        })?;
        let mut sides = sides.into_iter();
        let (Some(left), Some(right)) = (sides.next(), sides.next()) else {
            return Err(Fault::invalid(span, "A comparison needs two sides"));
        };
        if ordering && left.of == Type::Bool {
            return Err(Fault::invalid(
                span,
                "Implicit conversion from datatype 'Boolean' to numeric is not allowed",
            ));
        }
        Ok((left, right))
    }

    fn in_set(&mut self, operand: &Syntax, set: &InSet, negated: bool) -> Result<Expr> {
        match set {
            InSet::Values(values) => self.in_values(operand, values, negated),
            InSet::Range {
                low,
                high,
                low_included,
                high_included,
            } => self.range(operand, low, high, (*low_included, *high_included), negated),
            InSet::Subquery(select) => {
                let operand_at = operand.span;
                let operand = self.bind(operand)?;
                let (subquery, of) = self.subquery(select, select.span, true)?;
                if !(operand.of == of || (operand.of.is_numeric() && of.is_numeric())) {
                    return Err(mismatch(&of, &operand.of, operand_at));
                }
                Ok(Expr {
                    node: Node::InSubquery {
                        operand: Box::new(operand),
                        subquery,
                        negated,
                    },
                    of: Type::Bool,
                })
            }
        }
    }

    fn in_values(&mut self, operand: &Syntax, values: &[Syntax], negated: bool) -> Result<Expr> {
        let operand_at = operand.span;
        let bound = self.bind(operand)?;
        let address = matches!(bound.of, Type::Address);
        let mut networks = Vec::new();
        let mut rest = vec![(bound.clone(), operand_at)];
        let named: Vec<Syntax> = values.iter().flat_map(|value| self.listed(value)).collect();
        for value in &named {
            match &value.kind {
                ExprKind::Network { address, prefix_len } => networks.push(Network::new(*address, *prefix_len)),
                // A network may be given as text where an address is tested.
                ExprKind::Literal(Value::Text(text)) if address && text.contains('/') => {
                    networks.push(parse_network(text).ok_or_else(|| {
                        Fault::invalid(value.span, format!("'{text}' is no network"))
                            .with_hint(Some("write '10.0.0.0/8' or '2001:db8::/32'".to_owned()))
                    })?);
                }
                _ => rest.push((self.bind(value)?, value.span)),
            }
        }
        let mut tests = Vec::new();
        if !networks.is_empty() {
            if !matches!(bound.of, Type::Address | Type::Text) {
                return Err(Fault::invalid(
                    operand_at,
                    format!(
                        "Only an address can lie in a network, and '{operand}' is of type {}",
                        bound.of
                    ),
                ));
            }
            let operand = Box::new(to_type(bound, &Type::Address));
            tests.push(folded(
                Node::InNetworks {
                    operand,
                    networks,
                    negated,
                },
                Type::Bool,
            ));
        }
        if rest.len() > 1 {
            // A list-valued aggregate is looked into.
            let lists = rest.iter().skip(1).any(|(item, _)| matches!(item.of, Type::List(_)));
            let mut unified = if lists {
                rest.into_iter().map(|(item, _)| item).collect()
            } else {
                unify(rest, operand.span)?
            };
            let operand = Box::new(unified.remove(0));
            if unified.iter().all(|item| matches!(item.node, Node::Literal(_))) {
                unified.sort_by_cached_key(constant);
                unified.dedup();
            }
            tests.push(folded(
                Node::InList {
                    operand,
                    list: unified,
                    negated,
                },
                Type::Bool,
            ));
        }
        if tests.len() == 1 {
            return Ok(tests.swap_remove(0));
        }
        Ok(folded(
            if negated { Node::And(tests) } else { Node::Or(tests) },
            Type::Bool,
        ))
    }

    /// The values of a constant list that is named; what is no such name stays as it is.
    fn listed(&self, value: &Syntax) -> Vec<Syntax> {
        let ExprKind::Path(parts) = &value.kind else {
            return vec![value.clone()];
        };
        let [part] = parts.as_slice() else {
            return vec![value.clone()];
        };
        let shadowed = !part.index.is_empty()
            || self
                .streams
                .iter()
                .any(|stream| stream.event_type.column(&part.name.name).is_some());
        let list = self
            .catalog
            .variables
            .iter()
            .find(|variable| variable.constant && variable.name == part.name.name);
        match list.map(|variable| &variable.value) {
            Some(Value::List(list)) if !shadowed => list
                .iter()
                .map(|element| Syntax {
                    kind: ExprKind::Literal(element.clone()),
                    span: value.span,
                })
                .collect(),
            _ => vec![value.clone()],
        }
    }

    fn range(
        &mut self,
        operand: &Syntax,
        low: &Syntax,
        high: &Syntax,
        ends: (bool, bool),
        negated: bool,
    ) -> Result<Expr> {
        let span = operand.span;
        let parts = vec![
            (self.bind(operand)?, operand.span),
            (self.bind(low)?, low.span),
            (self.bind(high)?, high.span),
        ];
        let mut parts = unify(parts, span)?.into_iter();
        let (Some(operand), Some(low), Some(high)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Fault::invalid(span, "A range needs two ends"));
        };
        Ok(folded(
            Node::InRange {
                operand: Box::new(operand),
                low: Box::new(low),
                high: Box::new(high),
                low_included: ends.0,
                high_included: ends.1,
                negated,
            },
            Type::Bool,
        ))
    }

    fn case(
        &mut self,
        operand: Option<&Syntax>,
        branches: &[(Syntax, Syntax)],
        otherwise: Option<&Syntax>,
        span: Span,
    ) -> Result<Expr> {
        let mut conditions = Vec::new();
        let mut results = Vec::new();
        for (when, then) in branches {
            conditions.push(match operand {
                None => self.condition(when, "Case node 'when' expressions must return a boolean value")?,
                Some(operand) => {
                    // Null matches null here, as in Esper.
                    let (left, right) = self.comparable(operand, when, BinaryOp::Is, span)?;
                    folded(Node::Compare(BinaryOp::Is, Box::new(left), Box::new(right)), Type::Bool)
                }
            });
            results.push((self.bind(then)?, then.span));
        }
        match otherwise {
            Some(otherwise) => results.push((self.bind(otherwise)?, otherwise.span)),
            None => results.push((
                Expr {
                    node: Node::Literal(Value::Null),
                    of: Type::Null,
                },
                span,
            )),
        }
        let mut results = unify(results, span)?;
        let otherwise = Box::new(results.pop().unwrap_or(Expr {
            node: Node::Literal(Value::Null),
            of: Type::Null,
        }));
        let of = results.first().map_or(Type::Null, |first| first.of.clone());
        Ok(folded(
            Node::Case {
                branches: conditions.into_iter().zip(results).collect(),
                otherwise,
            },
            of,
        ))
    }

    fn quantified(
        &mut self,
        operand: &Syntax,
        op: BinaryOp,
        all: bool,
        set: &QuantifiedSet,
        span: Span,
    ) -> Result<Expr> {
        match set {
            QuantifiedSet::Values(values) => {
                let mut parts = vec![(self.bind(operand)?, operand.span)];
                for value in values {
                    parts.push((self.bind(value)?, value.span));
                }
                let mut parts = unify(parts, span)?;
                let operand = Box::new(parts.remove(0));
                Ok(folded(
                    Node::Quantified {
                        operand,
                        op,
                        all,
                        list: parts,
                    },
                    Type::Bool,
                ))
            }
            QuantifiedSet::Subquery(select) => {
                let operand_at = operand.span;
                let operand = self.bind(operand)?;
                let (subquery, of) = self.subquery(select, select.span, true)?;
                if !(operand.of == of || (operand.of.is_numeric() && of.is_numeric())) {
                    return Err(mismatch(&of, &operand.of, operand_at));
                }
                Ok(Expr {
                    node: Node::QuantifiedSubquery {
                        operand: Box::new(operand),
                        op,
                        all,
                        subquery,
                    },
                    of: Type::Bool,
                })
            }
        }
    }

    fn subquery(&mut self, select: &Select, span: Span, wants_column: bool) -> Result<(usize, Type)> {
        if !self.subqueries_allowed {
            return Err(Fault::unsupported(
                span,
                "a subquery at this place",
                "use it in the select list, 'where' or 'having' of a select",
            ));
        }
        if self.aggregation == Aggregates::Inside {
            return Err(Fault::unsupported(
                span,
                "a subquery within an aggregate",
                "select its value beside the aggregate",
            ));
        }
        let plan = super::select::subquery(self, select, wants_column)?;
        let of = plan.column.as_ref().map_or(Type::Null, |column| column.of.clone());
        self.subqueries.push(plan);
        Ok((self.subqueries.len() - 1, of))
    }
}

/// `x = true` is `x`, and `x = false` is `not x`, with null as it is.
fn truth_test(op: BinaryOp, left: &Expr, right: &Expr) -> Option<Expr> {
    let equal = match op {
        BinaryOp::Equal => true,
        BinaryOp::NotEqual => false,
        _ => return None,
    };
    let (tested, wanted) = match (&left.node, &right.node) {
        (_, Node::Literal(Value::Bool(wanted))) => (left, *wanted),
        (Node::Literal(Value::Bool(wanted)), _) => (right, *wanted),
        _ => return None,
    };
    Some(if wanted == equal {
        tested.clone()
    } else {
        folded(Node::Not(Box::new(tested.clone())), Type::Bool)
    })
}

/// The fault of two types that do not go together.
pub(super) fn mismatch(from: &Type, to: &Type, span: Span) -> Box<Fault> {
    Fault::invalid(
        span,
        format!(
            "Implicit conversion from datatype '{}' to '{}' is not allowed",
            java_name(from),
            java_name(to)
        ),
    )
}

/// `10.0.0.0/8` or `2001:db8::/32` as text.
fn parse_network(text: &str) -> Option<Network> {
    let (address, bits) = text.split_once('/')?;
    let octets = parse_address(address)?;
    let bits: u8 = bits.parse().ok()?;
    let bits = match address_of(octets) {
        std::net::IpAddr::V4(_) if !address.contains(':') => (bits <= 32).then(|| 96 + bits)?,
        _ => (bits <= 128).then_some(bits)?,
    };
    Some(Network::new(octets, bits))
}

/// Brings expressions to one type: the widest of numbers, addresses where a text is given for one.
fn unify(exprs: Vec<(Expr, Span)>, span: Span) -> Result<Vec<Expr>> {
    let mut common = Type::Null;
    for (expr, at) in &exprs {
        common = match (&common, &expr.of) {
            (_, Type::Null) => common,
            (Type::Null, of) => of.clone(),
            (a, b) if a == b => common,
            (a, b) if a.is_numeric() && b.is_numeric() => wider(a, b),
            (Type::Address, Type::Text) | (Type::Text, Type::Address) => Type::Address,
            // Esper names the text, whichever side it stands on, as what cannot be converted.
            (Type::Text, b) => return Err(mismatch(&Type::Text, b, span)),
            (a, b) => return Err(mismatch(b, a, *at)),
        };
    }
    let unified = exprs.into_iter().map(|(expr, at)| {
        if common == Type::Address
            && let Some(Value::Text(text)) = constant(&expr)
            && parse_address(&text).is_none()
        {
            return Err(Fault::invalid(at, format!("'{text}' is no address")));
        }
        // A null literal takes the type of its neighbours.
        Ok(to_type(expr, &common))
    });
    unified.collect()
}
