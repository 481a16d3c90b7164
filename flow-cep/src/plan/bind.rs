//! Expressions: names → columns, types checked and brought together.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Catalog, CatalogId, ContextKind, ContextPoint, ScopeStream, SubqueryPlan};
use crate::error::{Fault, nearest};
use crate::expr::function::{FUNCTIONS, Parameter, Signature};
use crate::expr::text::{Like, Pattern};
use crate::expr::{
    Aggregate, AggregateFunction, ContextProperty, Expr, Function, LikePattern, Network, Node, PreviousKind,
    RegexpPattern, Scope,
};
use crate::syntax::ast::{
    Argument, BinaryOp, Call, Expr as Syntax, ExprKind, Ident, InSet, PathPart, QuantifiedSet, Select, Span, TimeUnit,
    UnaryOp,
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

/// The aggregate functions by name.
fn aggregate_named(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" | "fmin" => AggregateFunction::Min,
        "max" | "fmax" => AggregateFunction::Max,
        "stddev" => AggregateFunction::Stddev,
        "median" => AggregateFunction::Median,
        "avedev" => AggregateFunction::Avedev,
        "first" => AggregateFunction::First,
        "last" => AggregateFunction::Last,
        "window" => AggregateFunction::Window,
        "nth" => AggregateFunction::Nth,
        "minby" => AggregateFunction::MinBy,
        "maxby" => AggregateFunction::MaxBy,
        "minbyever" => AggregateFunction::MinByEver,
        "maxbyever" => AggregateFunction::MaxByEver,
        "countever" => AggregateFunction::CountEver,
        "firstever" => AggregateFunction::FirstEver,
        "lastever" => AggregateFunction::LastEver,
        "minever" | "fminever" => AggregateFunction::MinEver,
        "maxever" | "fmaxever" => AggregateFunction::MaxEver,
        "leaving" => AggregateFunction::Leaving,
        "rate" => AggregateFunction::Rate,
        "count_distinct_approx" => AggregateFunction::CountDistinctApprox,
        _ => return None,
    })
}

/// Names of functions and aggregates, for guesses.
const OTHER_FUNCTIONS: [&str; 27] = [
    "count",
    "sum",
    "avg",
    "stddev",
    "median",
    "avedev",
    "first",
    "last",
    "window",
    "nth",
    "minby",
    "maxby",
    "countever",
    "firstever",
    "lastever",
    "minever",
    "maxever",
    "leaving",
    "rate",
    "coalesce",
    "prev",
    "prior",
    "current_timestamp",
    "prevcount",
    "prevwindow",
    "prevtail",
    "count_distinct_approx",
];

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
        for value in values {
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

    // Names.

    fn stream_named(&self, name: &str) -> Option<usize> {
        let by_name = self
            .streams
            .iter()
            .position(|stream| stream.name.as_deref() == Some(name));
        by_name.or_else(|| {
            self.streams
                .iter()
                .position(|stream| stream.name.is_none() && stream.event_type.name() == name)
        })
    }

    fn path(&mut self, parts: &[PathPart], span: Span) -> Result<Expr> {
        let Some((first, rest)) = parts.split_first() else {
            return Err(Fault::invalid(span, "An empty name"));
        };
        if first.name.name.eq_ignore_ascii_case("context")
            && let Some(context) = self.context
            && !rest.is_empty()
        {
            return self.context_property(context, rest, span);
        }
        if first.index.is_empty() && rest.is_empty() && first.name.name.eq_ignore_ascii_case("current_timestamp") {
            return Ok(Expr {
                node: Node::Now,
                of: Type::Long,
            });
        }
        if let Some(table) = self
            .catalog
            .tables
            .iter()
            .position(|table| table.name == first.name.name)
            && self.stream_named(&first.name.name).is_none()
        {
            return self.table_column(table, first, rest, span);
        }
        // A column of its own name comes before a stream's.
        if first.index.is_empty()
            && let Some(column) = self.column_named(&first.name)?
        {
            return self.fields(column, rest, span);
        }
        if let Some(stream) = self.stream_named(&first.name.name) {
            return self.stream_path(stream, first, rest, span);
        }
        if let Some(index) = self
            .catalog
            .variables
            .iter()
            .position(|variable| variable.name == first.name.name)
            && rest.is_empty()
            && first.index.is_empty()
        {
            let variable = &self.catalog.variables[index];
            let node = if variable.constant {
                Node::Literal(variable.value.clone())
            } else {
                Node::Variable(index)
            };
            return Ok(Expr {
                node,
                of: variable.of.clone(),
            });
        }
        Err(self.unknown(parts, span))
    }

    /// A column by a bare name.
    fn column_named(&self, name: &Ident) -> Result<Option<Expr>> {
        if let Some(own) = self.matching.as_ref().and_then(|matching| matching.own) {
            let found = self
                .streams
                .get(own)
                .and_then(|stream| stream.event_type.column(&name.name));
            return Ok(found.map(|column| self.column(own, column)));
        }
        for range in &self.unqualified {
            let mut found = None;
            for stream in range.clone() {
                let Some(scope) = self.streams.get(stream) else {
                    continue;
                };
                let Some(column) = scope.event_type.column(&name.name) else {
                    continue;
                };
                if found.is_some() {
                    return Err(Fault::invalid(
                        name.span,
                        format!("Property named '{name}' is ambiguous as is valid for more than one stream"),
                    )
                    .with_hint(Some("put the stream's name and a dot before it".to_owned())));
                }
                found = Some((stream, column));
            }
            if let Some((stream, column)) = found {
                return Ok(Some(self.column(stream, column)));
            }
        }
        Ok(None)
    }

    fn column(&self, stream: usize, column: usize) -> Expr {
        let of = self.streams[stream].event_type.types()[column].clone();
        Expr {
            node: Node::Column { stream, column },
            of,
        }
    }

    /// Fields of a row-valued column.
    fn fields(&self, mut expr: Expr, rest: &[PathPart], span: Span) -> Result<Expr> {
        for part in rest {
            let field = match &expr.of {
                Type::Row(columns) if part.index.is_empty() => columns
                    .iter()
                    .position(|(name, _)| *name == part.name.name)
                    .map(|at| (at, columns[at].1.clone())),
                _ => None,
            };
            let Some((field, of)) = field else {
                return Err(Fault::invalid(
                    part.name.span.to(span),
                    format!("Property named '{}' is not valid in any stream", part.name),
                ));
            };
            expr = Expr {
                node: Node::Field(Box::new(expr), field),
                of,
            };
        }
        Ok(expr)
    }

    fn stream_path(&mut self, stream: usize, first: &PathPart, rest: &[PathPart], span: Span) -> Result<Expr> {
        let many = self.streams[stream].many;
        let own = self
            .matching
            .as_ref()
            .is_some_and(|matching| matching.own == Some(stream));
        let event_type = self.streams[stream].event_type.clone();
        let Some((property, deeper)) = rest.split_first() else {
            if many || !first.index.is_empty() {
                return Err(Fault::unsupported(
                    span,
                    format!("'{}' as a whole", first.name),
                    format!("name a column of one of its events: '{}[0].x'", first.name),
                ));
            }
            return Ok(Expr {
                node: Node::Row(stream),
                of: event_type.row_type(),
            });
        };
        let Some(column) = event_type.column(&property.name.name) else {
            let hint = nearest(
                &property.name.name,
                event_type.schema().fields().iter().map(|field| field.name().as_str()),
            );
            return Err(self.not_valid(&format!("{}.{}", first.name, property.name), property.name.span, hint));
        };
        let of = event_type.types()[column].clone();
        let expr = match first.index.as_slice() {
            [] if many && !own && self.aggregation != Aggregates::Inside => {
                let hint = if self.matching.is_some() {
                    format!("write 'last({0}.{1})' or '{0}[0].{1}'", first.name, property.name)
                } else {
                    format!("write '{0}[0].{1}'", first.name, property.name)
                };
                return Err(Fault::invalid(
                    span,
                    format!(
                        "'{}' holds several events: '{}' must say which",
                        first.name, property.name
                    ),
                )
                .with_hint(Some(hint)));
            }
            [] => Expr {
                node: Node::Column { stream, column },
                of,
            },
            [index] if many => {
                let index = Box::new(to_type(self.numeric(index, "an index")?, &Type::Long));
                Expr {
                    node: Node::Indexed { stream, index, column },
                    of,
                }
            }
            _ => {
                return Err(Fault::invalid(
                    first.name.span,
                    format!("'{}' holds one event and takes no index", first.name),
                ));
            }
        };
        self.fields(expr, deeper, span)
    }

    fn table_column(&mut self, table: usize, first: &PathPart, rest: &[PathPart], span: Span) -> Result<Expr> {
        let plan = &self.catalog.tables[table];
        let key_types: Vec<Type> = plan
            .keys
            .iter()
            .map(|key| plan.event_type.types()[*key].clone())
            .collect();
        if key_types.len() != first.index.len() {
            return Err(Fault::invalid(
                first.name.span,
                format!(
                    "Table '{}' has {} key columns and is given {}",
                    plan.name,
                    key_types.len(),
                    first.index.len()
                ),
            ));
        }
        let [property] = rest else {
            return Err(Fault::unsupported(
                span,
                "a table's whole row",
                format!("name a column: '{}[..].x'", plan.name),
            ));
        };
        let Some(column) = plan.event_type.column(&property.name.name) else {
            let hint = nearest(
                &property.name.name,
                plan.columns.iter().map(|column| column.name.as_str()),
            );
            return Err(self.not_valid(&property.name.name, property.name.span, hint));
        };
        let of = plan.event_type.types()[column].clone();
        let mut keys = Vec::new();
        for (index, of) in first.index.iter().zip(&key_types) {
            let key = self.bind(index)?;
            if key.of != *of && !(key.of.is_numeric() && of.is_numeric()) {
                return Err(mismatch(&key.of, of, index.span));
            }
            keys.push(to_type(key, of));
        }
        Ok(Expr {
            node: Node::TableColumn { table, keys, column },
            of,
        })
    }

    fn context_property(&self, context: CatalogId, parts: &[PathPart], span: Span) -> Result<Expr> {
        let plan = &self.catalog.contexts[context];
        let name = parts.first().map_or("", |part| part.name.name.as_str());
        let property = |property, of| {
            Ok(Expr {
                node: Node::Context(property),
                of,
            })
        };
        match (&plan.kind, name) {
            (_, "name") => return property(ContextProperty::Name, Type::Text),
            (_, "id") => return property(ContextProperty::Id, Type::Int),
            (ContextKind::Category { .. }, "label") => return property(ContextProperty::Label, Type::Text),
            (ContextKind::StartEnd { .. }, "startTime") => return property(ContextProperty::StartTime, Type::Long),
            (ContextKind::StartEnd { .. }, "endTime") => return property(ContextProperty::EndTime, Type::Long),
            (ContextKind::Keyed { streams, .. }, _) => {
                let key = name.strip_prefix("key").and_then(|digits| digits.parse::<usize>().ok());
                if let Some(key) = key.and_then(|key| key.checked_sub(1))
                    && let Some(expr) = streams.first().and_then(|(_, keys)| keys.get(key))
                {
                    return property(ContextProperty::Key(key), expr.of.clone());
                }
            }
            _ => {}
        }
        if let (ContextKind::StartEnd { start, .. }, [tag, column]) = (&plan.kind, parts) {
            let started = match start {
                ContextPoint::Filter { filter, alias } if alias.as_deref() == Some(tag.name.name.as_str()) => {
                    Some((0, &self.catalog.event_types[filter.event_type]))
                }
                ContextPoint::Pattern(pattern) => pattern
                    .tags
                    .iter()
                    .position(|stream| stream.name.as_deref() == Some(tag.name.name.as_str()))
                    .map(|at| (at, &pattern.tags[at].event_type)),
                _ => None,
            };
            if let Some((tag, event_type)) = started
                && let Some(index) = event_type.column(&column.name.name)
            {
                let of = event_type.types()[index].clone();
                return property(ContextProperty::Start { tag, column: index }, of);
            }
        }
        Err(Fault::invalid(
            span,
            format!(
                "Property named 'context.{name}' is not valid in context '{}'",
                plan.name
            ),
        ))
    }

    fn not_valid(&self, name: &str, span: Span, near: Option<&str>) -> Box<Fault> {
        let guess = near.map_or(String::new(), |near| format!(" (did you mean '{near}'?)"));
        Fault::invalid(
            span,
            format!("Property named '{name}' is not valid in any stream{guess}"),
        )
    }

    fn unknown(&self, parts: &[PathPart], span: Span) -> Box<Fault> {
        let text = parts
            .iter()
            .map(|part| part.name.name.as_str())
            .collect::<Vec<_>>()
            .join(".");
        let first = parts.first().map_or("", |part| part.name.name.as_str());
        if parts.len() > 1 {
            let names = self.streams.iter().filter_map(|stream| stream.name.as_deref());
            let guess = nearest(first, names).map_or(String::new(), |near| format!(" (did you mean '{near}'?)"));
            return Fault::invalid(
                span,
                format!("Failed to resolve property '{text}' to a stream or nested property in a stream{guess}"),
            );
        }
        if self.unqualified.is_empty()
            && let Some(stream) = self
                .streams
                .iter()
                .find(|stream| stream.event_type.column(first).is_some())
            && let Some(tag) = &stream.name
        {
            return Fault::invalid(span, format!("Property named '{text}' is not valid in any stream"))
                .with_hint(Some(format!("name the event it is of: '{tag}.{text}'")));
        }
        let columns = self
            .streams
            .iter()
            .flat_map(|stream| stream.event_type.schema().fields().iter());
        let names = columns.map(|field| field.name().as_str());
        let variables = self.catalog.variables.iter().map(|variable| variable.name.as_str());
        self.not_valid(&text, span, nearest(&text, names.chain(variables)))
    }

    // Calls.

    fn call(&mut self, call: &Call, span: Span) -> Result<Expr> {
        let name = call.name.name.to_ascii_lowercase();
        match name.as_str() {
            "current_timestamp" => {
                return if call.arguments.is_empty() {
                    Ok(Expr {
                        node: Node::Now,
                        of: Type::Long,
                    })
                } else {
                    Err(Fault::invalid(span, "'current_timestamp()' takes no arguments"))
                };
            }
            "coalesce" => return self.coalesce(call, span),
            "istream" => {
                return Err(Fault::unsupported(
                    span,
                    "'istream()'",
                    "deliveries of 'select irstream' tell new rows from old",
                ));
            }
            "prev" | "prevtail" | "prior" | "prevcount" | "prevwindow" => return self.previous(&name, call, span),
            _ => {}
        }
        let aggregate = aggregate_named(&name);
        let several = call
            .arguments
            .iter()
            .filter(|argument| matches!(argument, Argument::Expr(_)))
            .count()
            > 1;
        // `max(a, b)` is of one row; `max(a)` and `fmax(a, condition)` are aggregates.
        if let Some(function) = aggregate
            && !(matches!(name.as_str(), "min" | "max") && several)
        {
            return self.aggregate(function, call, span);
        }
        let Some(signature) = FUNCTIONS.iter().find(|signature| signature.name == name) else {
            let known = FUNCTIONS.iter().map(|signature| signature.name).chain(OTHER_FUNCTIONS);
            let hint = match nearest(&name, known) {
                Some(near) => Some(format!("did you mean '{near}'?")),
                None => Some(
                    "there are no user-defined functions; the functions are listed in the language's reference"
                        .to_owned(),
                ),
            };
            return Err(Fault::invalid(
                call.name.span,
                format!(
                    "Unknown single-row function, aggregation function or mapped or indexed property named '{}' could not be resolved",
                    call.name
                ),
            )
            .with_hint(hint));
        };
        self.function(signature, call, span)
    }

    /// The plain arguments of a call that takes no others.
    fn plain<'s>(&self, call: &'s Call, span: Span) -> Result<Vec<&'s Syntax>> {
        if call.distinct || call.property.is_some() {
            return Err(Fault::invalid(
                span,
                format!("'{}' takes neither 'distinct' nor a property", call.name),
            ));
        }
        let plain = call.arguments.iter().map(|argument| match argument {
            Argument::Expr(expr) => Ok(expr),
            _ => Err(Fault::invalid(
                span,
                format!("'{}' takes expressions as its arguments", call.name),
            )),
        });
        plain.collect()
    }

    fn function(&mut self, signature: &Signature, call: &Call, span: Span) -> Result<Expr> {
        let arguments = self.plain(call, span)?;
        let most = if signature.variadic {
            usize::MAX
        } else {
            signature.parameters.len()
        };
        if arguments.len() < signature.required || arguments.len() > most {
            return Err(Fault::invalid(
                span,
                format!(
                    "'{}' takes {} arguments and is given {}",
                    signature.name,
                    signature.required,
                    arguments.len()
                ),
            ));
        }
        let mut bound = Vec::new();
        for (at, argument) in arguments.iter().enumerate() {
            let parameter = signature.parameters[at.min(signature.parameters.len() - 1)];
            let expr = self.bind(argument)?;
            let fits = match parameter {
                Parameter::Number | Parameter::Double => expr.of.is_numeric(),
                Parameter::Long => expr.of.is_integer(),
                Parameter::Comparable => true,
                Parameter::Address => matches!(expr.of, Type::Address | Type::Text),
                Parameter::Text => expr.of == Type::Text,
            };
            if !fits && expr.of != Type::Null {
                let wanted = match parameter {
                    Parameter::Address => "an address",
                    Parameter::Text => "a text",
                    Parameter::Long => "a whole number",
                    _ => "a number",
                };
                return Err(Fault::invalid(
                    argument.span,
                    format!(
                        "'{}' wants {wanted}, and '{argument}' is of type {}",
                        signature.name, expr.of
                    ),
                ));
            }
            if matches!(signature.function, Function::FlagsSet | Function::FlagsOnly)
                && parameter == Parameter::Text
                && let Some(Value::Text(flags)) = constant(&expr)
                && crate::expr::function::flags_of(&flags).is_none()
            {
                return Err(Fault::invalid(argument.span, format!("'{flags}' names no TCP flags"))
                    .with_hint(Some("the letters are F, S, R, P, A, U".to_owned())));
            }
            bound.push((
                match parameter {
                    Parameter::Address => to_type(expr, &Type::Address),
                    Parameter::Long => to_type(expr, &Type::Long),
                    Parameter::Double => to_type(expr, &Type::Double),
                    Parameter::Text => to_type(expr, &Type::Text),
                    Parameter::Number | Parameter::Comparable => expr,
                },
                argument.span,
            ));
        }
        let mut arguments: Vec<Expr> = if signature.parameters == [Parameter::Comparable] {
            unify(bound, span)?
        } else {
            bound.into_iter().map(|(expr, _)| expr).collect()
        };
        let common = arguments.first().map_or(Type::Null, |first| first.of.clone());
        if signature.function == Function::Prefix && arguments.len() == 2 {
            arguments.shrink_to_fit();
        }
        Ok(folded(
            Node::Call(signature.function, arguments),
            signature.function.result_type(&common),
        ))
    }

    fn coalesce(&mut self, call: &Call, span: Span) -> Result<Expr> {
        let arguments = self.plain(call, span)?;
        if arguments.len() < 2 {
            return Err(Fault::invalid(span, "Coalesce node must have at least 2 parameters"));
        }
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push((self.bind(argument)?, argument.span));
        }
        let bound = unify(bound, span)?;
        let of = bound.first().map_or(Type::Null, |first| first.of.clone());
        Ok(folded(Node::Coalesce(bound), of))
    }

    fn previous(&mut self, name: &str, call: &Call, span: Span) -> Result<Expr> {
        let kind = match name {
            "prev" => PreviousKind::Prev,
            "prevtail" => PreviousKind::PrevTail,
            "prevcount" => PreviousKind::PrevCount,
            "prevwindow" => PreviousKind::PrevWindow,
            _ => PreviousKind::Prior,
        };
        let arguments = self.plain(call, span)?;
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push(self.bind(argument)?);
        }
        let is_column = |expr: &Expr| matches!(expr.node, Node::Column { .. });
        // `prev(1, x)`, `prev(x, 1)` and `prev(x)`.
        let (offset, of) = match bound.as_slice() {
            [of] => (None, of),
            [offset, of] if is_column(of) => (Some(offset), of),
            [of, offset] if is_column(of) => (Some(offset), of),
            _ => {
                return Err(Fault::unsupported(
                    span,
                    format!("'{name}' of anything but a column"),
                    format!("write '{name}(n, column)'"),
                ));
            }
        };
        let (Node::Column { stream, column }, result) = (&of.node, of.of.clone()) else {
            return Err(Fault::unsupported(
                span,
                format!("'{name}' of anything but a column"),
                format!("write '{name}(n, column)'"),
            ));
        };
        let offset = match offset {
            Some(offset) if offset.of.is_integer() => to_type(offset.clone(), &Type::Long),
            Some(_) => return Err(Fault::invalid(span, "Previous function requires an integer index")),
            None => {
                let first = i64::from(kind != PreviousKind::PrevTail);
                Expr {
                    node: Node::Literal(Value::Long(first)),
                    of: Type::Long,
                }
            }
        };
        if let Some(matching) = &mut self.matching {
            let back = constant(&offset)
                .and_then(|value| value.as_long())
                .and_then(|back| usize::try_from(back).ok());
            let Some(back) = back else {
                return Err(Fault::unsupported(span, "a computed index of 'prev'", "write a number"));
            };
            matching.previous_rows = matching.previous_rows.max(back);
        }
        self.uses_previous.insert(*stream);
        let result = match kind {
            PreviousKind::PrevCount => Type::Long,
            PreviousKind::PrevWindow => Type::List(Box::new(result)),
            _ => result,
        };
        let (stream, column) = (*stream, *column);
        Ok(Expr {
            node: Node::Previous {
                kind,
                stream,
                offset: Box::new(offset),
                column,
            },
            of: result,
        })
    }

    fn aggregate(&mut self, function: AggregateFunction, call: &Call, span: Span) -> Result<Expr> {
        match self.aggregation {
            Aggregates::Allowed => {}
            Aggregates::Refused => {
                return Err(Fault::invalid(span, "Aggregation functions not allowed within filters")
                    .with_hint(Some("use 'having' for conditions on aggregates".to_owned())));
            }
            Aggregates::Inside => {
                return Err(Fault::invalid(
                    span,
                    "Aggregation functions cannot contain aggregation functions",
                ));
            }
        }
        self.aggregation = Aggregates::Inside;
        let bound = self.aggregate_arguments(function, call, span);
        self.aggregation = Aggregates::Allowed;
        let aggregate = bound?;
        let of = aggregate.of.clone();
        if let Some(matching) = &mut self.matching {
            let mut streams = BTreeSet::new();
            for argument in &aggregate.arguments {
                streams.extend(references(argument).streams);
            }
            let Some(variable) = streams.first().copied().filter(|_| streams.len() == 1) else {
                return Err(Fault::invalid(
                    span,
                    "An aggregate in match_recognize must speak of exactly one variable",
                ));
            };
            let entry = (variable, aggregate);
            let slot = matching
                .aggregates
                .iter()
                .position(|known| *known == entry)
                .unwrap_or(matching.aggregates.len());
            if slot == matching.aggregates.len() {
                matching.aggregates.push(entry);
            }
            return Ok(Expr {
                node: Node::Aggregate(slot),
                of,
            });
        }
        let slot = self
            .aggregates
            .iter()
            .position(|known| *known == aggregate)
            .unwrap_or(self.aggregates.len());
        if slot == self.aggregates.len() {
            self.aggregates.push(aggregate);
        }
        Ok(Expr {
            node: Node::Aggregate(slot),
            of,
        })
    }

    fn aggregate_arguments(&mut self, function: AggregateFunction, call: &Call, span: Span) -> Result<Aggregate> {
        let mut filter = None;
        let mut plain: Vec<(Expr, Span)> = Vec::new();
        let mut wildcard = false;
        for argument in &call.arguments {
            match argument {
                Argument::Wildcard => wildcard = true,
                Argument::StreamWildcard(stream) => {
                    let Some(index) = self.stream_named(&stream.name) else {
                        return Err(Fault::invalid(
                            stream.span,
                            format!("Stream named '{stream}' is not known"),
                        ));
                    };
                    plain.push((
                        Expr {
                            node: Node::Row(index),
                            of: self.streams[index].event_type.row_type(),
                        },
                        stream.span,
                    ));
                }
                Argument::Expr(expr) | Argument::Ordered(expr, false) => plain.push((self.bind(expr)?, expr.span)),
                // Largest first is smallest first of the negative.
                Argument::Ordered(expr, true) => {
                    let bound = self.numeric(expr, "desc")?;
                    let of = bound.of.clone();
                    plain.push((folded(Node::Negate(Box::new(bound)), of), expr.span));
                }
                Argument::Named(name, expr) if name.name.eq_ignore_ascii_case("filter") => {
                    filter = Some(self.condition(expr, "Invalid filter expression: it must return a boolean value")?);
                }
                Argument::Named(name, _) => {
                    return Err(Fault::unsupported(
                        name.span,
                        format!("parameter '{name}' of an aggregate"),
                        "use a statement of its own with that 'group by'",
                    ));
                }
            }
        }
        let takes_filter = matches!(
            function,
            AggregateFunction::Count
                | AggregateFunction::Sum
                | AggregateFunction::Avg
                | AggregateFunction::Min
                | AggregateFunction::Max
                | AggregateFunction::Stddev
                | AggregateFunction::Median
                | AggregateFunction::Avedev
                | AggregateFunction::CountEver
                | AggregateFunction::FirstEver
                | AggregateFunction::LastEver
                | AggregateFunction::MinEver
                | AggregateFunction::MaxEver
                | AggregateFunction::CountDistinctApprox
        );
        // `sum(x, condition)`, `count(*, condition)`.
        let least = usize::from(!wildcard);
        if takes_filter
            && filter.is_none()
            && plain.len() == least + 1
            && plain.last().is_some_and(|(last, _)| last.of == Type::Bool)
        {
            filter = plain.pop().map(|(condition, _)| condition);
        }
        let name = call.name.name.to_ascii_lowercase();
        let wrong_count = |wanted: &str| Err(Fault::invalid(span, format!("The '{name}' function takes {wanted}")));
        let first_of = plain.first().map(|(first, _)| first.of.clone());
        let numeric = |of: &Option<Type>| match of {
            Some(of) if of.is_numeric() => Ok(of.clone()),
            Some(of) => Err(Fault::invalid(
                span,
                format!(
                    "Implicit conversion from datatype '{}' to numeric is not allowed for aggregation function '{name}'",
                    java_name(of)
                ),
            )),
            None => Err(Fault::invalid(
                span,
                format!("The '{name}' function takes an expression"),
            )),
        };
        if call.property.is_some()
            && !matches!(
                function,
                AggregateFunction::MinBy
                    | AggregateFunction::MaxBy
                    | AggregateFunction::MinByEver
                    | AggregateFunction::MaxByEver
                    | AggregateFunction::First
                    | AggregateFunction::Last
            )
        {
            return Err(Fault::invalid(
                span,
                format!("The result of '{name}' has no properties"),
            ));
        }
        let of = match function {
            AggregateFunction::Count | AggregateFunction::CountEver => {
                if wildcard && call.distinct {
                    return Err(Fault::invalid(
                        span,
                        "Invalid use of the 'distinct' keyword with count and wildcard",
                    ));
                }
                if plain.len() != usize::from(!wildcard)
                    && !(function == AggregateFunction::CountEver && plain.is_empty())
                {
                    return wrong_count("'*' or an expression");
                }
                Type::Long
            }
            AggregateFunction::CountDistinctApprox => {
                if plain.len() != 1 {
                    return wrong_count("one expression");
                }
                Type::Long
            }
            AggregateFunction::Sum => match numeric(&first_of)? {
                Type::Double => Type::Double,
                // 64 bits also for int, so that no sum of ints wraps: a wanted difference from Esper.
                _ => Type::Long,
            },
            AggregateFunction::Avg
            | AggregateFunction::Stddev
            | AggregateFunction::Median
            | AggregateFunction::Avedev => {
                numeric(&first_of)?;
                Type::Double
            }
            AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::MinEver
            | AggregateFunction::MaxEver => match first_of.clone() {
                Some(of @ (Type::Text | Type::Address)) => of,
                _ => numeric(&first_of)?,
            },
            AggregateFunction::First | AggregateFunction::Last | AggregateFunction::Window => {
                if wildcard || plain.is_empty() {
                    let [stream] = self.streams.as_slice() else {
                        return Err(Fault::invalid(
                            span,
                            format!("'{name}(*)' needs a statement of a single stream"),
                        ));
                    };
                    plain.insert(
                        0,
                        (
                            Expr {
                                node: Node::Row(0),
                                of: stream.event_type.row_type(),
                            },
                            span,
                        ),
                    );
                }
                let of = plain.first().map_or(Type::Null, |(first, _)| first.of.clone());
                if let Some(property) = &call.property {
                    let (value, at) = plain.remove(0);
                    let part = PathPart {
                        name: property.clone(),
                        index: Vec::new(),
                    };
                    plain.insert(0, (self.fields(value, &[part], span)?, at));
                }
                let of = if call.property.is_some() {
                    plain.first().map_or(of, |(first, _)| first.of.clone())
                } else {
                    of
                };
                if function == AggregateFunction::Window {
                    Type::List(Box::new(of))
                } else {
                    of
                }
            }
            AggregateFunction::FirstEver | AggregateFunction::LastEver => {
                if plain.len() != 1 {
                    return wrong_count("one expression");
                }
                first_of.clone().unwrap_or(Type::Null)
            }
            AggregateFunction::Nth => {
                if plain.len() != 2 {
                    return wrong_count("an expression and a number");
                }
                first_of.clone().unwrap_or(Type::Null)
            }
            AggregateFunction::MinBy
            | AggregateFunction::MaxBy
            | AggregateFunction::MinByEver
            | AggregateFunction::MaxByEver => {
                if plain.is_empty() {
                    return wrong_count("one or more keys");
                }
                let value = match &call.property {
                    Some(property) => self.path(
                        &[PathPart {
                            name: property.clone(),
                            index: Vec::new(),
                        }],
                        property.span,
                    )?,
                    None => {
                        let [stream] = self.streams.as_slice() else {
                            return Err(Fault::invalid(
                                span,
                                format!("'{name}' needs a property: '{name}(x).y'"),
                            ));
                        };
                        Expr {
                            node: Node::Row(0),
                            of: stream.event_type.row_type(),
                        }
                    }
                };
                let of = value.of.clone();
                plain.push((value, span));
                of
            }
            AggregateFunction::Leaving => {
                if !plain.is_empty() {
                    return wrong_count("no arguments");
                }
                Type::Bool
            }
            AggregateFunction::Rate => {
                if plain.is_empty() || plain.len() > 3 {
                    return wrong_count("an interval in seconds, or a time stamp and an amount");
                }
                for (argument, at) in &plain {
                    if !argument.of.is_numeric() {
                        return Err(mismatch(&argument.of, &Type::Double, *at));
                    }
                }
                Type::Double
            }
        };
        let most = match function {
            AggregateFunction::First | AggregateFunction::Last | AggregateFunction::Nth => 2,
            AggregateFunction::Rate => 3,
            AggregateFunction::MinBy
            | AggregateFunction::MaxBy
            | AggregateFunction::MinByEver
            | AggregateFunction::MaxByEver => usize::MAX,
            _ => 1,
        };
        if plain.len() > most {
            return wrong_count("fewer arguments");
        }
        Ok(Aggregate {
            function,
            distinct: call.distinct,
            arguments: plain.into_iter().map(|(argument, _)| argument).collect(),
            filter,
            of,
        })
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
