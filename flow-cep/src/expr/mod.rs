//! Typed expressions: names resolved to columns, types checked and coerced, ready to evaluate by row or by column.
//!
//! The planner makes them ([`crate::plan`]); [`Expr::eval`] computes one value for a [`Scope`], [`mod@column`] whole columns of a
//! record batch. Both mean the same, which a property test holds them to.

pub mod column;
pub mod function;
mod row;
pub mod text;

use crate::syntax::ast::BinaryOp;
use crate::value::{Type, Value};

/// An expression with the type of its value (which may also be null).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expr {
    /// What it computes.
    pub node: Node,
    /// The type of the result.
    pub of: Type,
}

/// What an expression computes. Operands of comparisons and arithmetic have been converted to one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A constant.
    Literal(Value),
    /// A column of a stream's row; null when the stream has no row (outer joins, untaken pattern branches).
    Column {
        /// Which stream: of the from clause, tag of the pattern ... as the owner of the expression numbers them.
        stream: usize,
        /// Which column of its event type.
        column: usize,
    },
    /// A column of one of several events under a tag: `a[0].bytes`.
    Indexed {
        /// Which tag or variable.
        stream: usize,
        /// Which of its events, from 0.
        index: Box<Expr>,
        /// Which column.
        column: usize,
    },
    /// The whole row of a stream.
    Row(usize),
    /// A field of a row-valued expression.
    Field(Box<Expr>, usize),
    /// The value of the statement's aggregate of that number.
    Aggregate(usize),
    /// `current_timestamp()`: the engine's time in milliseconds.
    Now,
    /// `prev`, `prior` and their kin.
    Previous {
        /// Which.
        kind: PreviousKind,
        /// Of which stream.
        stream: usize,
        /// How far back.
        offset: Box<Expr>,
        /// Which column.
        column: usize,
    },
    /// The scalar value of the statement's subquery of that number.
    Subquery(usize),
    /// Whether that subquery has a row.
    Exists(usize),
    /// `operand in (subquery)`.
    InSubquery {
        /// What is looked for.
        operand: Box<Expr>,
        /// Which subquery.
        subquery: usize,
        /// `not in`.
        negated: bool,
    },
    /// `operand > any (subquery)` or `all`.
    QuantifiedSubquery {
        /// The left side.
        operand: Box<Expr>,
        /// The comparison.
        op: BinaryOp,
        /// `all` or else `any`.
        all: bool,
        /// Which subquery.
        subquery: usize,
    },
    /// `operand > any (a, b)` or `all`.
    Quantified {
        /// The left side.
        operand: Box<Expr>,
        /// The comparison.
        op: BinaryOp,
        /// `all` or else `any`.
        all: bool,
        /// With what.
        list: Vec<Expr>,
    },
    /// A column of the table's row with these keys.
    TableColumn {
        /// Which table, by its number in the catalogue.
        table: usize,
        /// The keys.
        keys: Vec<Expr>,
        /// Which column; none for the whole row.
        column: usize,
    },
    /// A property of the context partition.
    Context(ContextProperty),
    /// A variable, by its number in the catalogue (constants have become literals).
    Variable(usize),
    /// `-x`.
    Negate(Box<Expr>),
    /// `not x`.
    Not(Box<Expr>),
    /// `x is null`.
    IsNull(Box<Expr>),
    /// Three-valued and, at least two.
    And(Vec<Expr>),
    /// Three-valued or, at least two.
    Or(Vec<Expr>),
    /// `= != < <= > >= is is-not`; both sides of one type.
    Compare(BinaryOp, Box<Expr>, Box<Expr>),
    /// `+ - * / %`; both sides of the result's type (of `double` for `/`).
    Arithmetic(BinaryOp, Box<Expr>, Box<Expr>),
    /// `& | ^` on integers or booleans of the result's type.
    Bits(BinaryOp, Box<Expr>, Box<Expr>),
    /// `a || b`: null if either is.
    Concat(Box<Expr>, Box<Expr>),
    /// `x in (a, b)`; everything of one type.
    InList {
        /// What is looked for.
        operand: Box<Expr>,
        /// The values; literals are sorted and free of repetition when all are literals.
        list: Vec<Expr>,
        /// `not in`.
        negated: bool,
    },
    /// `x in [a:b]` and `between`; all of one type.
    InRange {
        /// What is compared.
        operand: Box<Expr>,
        /// The one end.
        low: Box<Expr>,
        /// The other end.
        high: Box<Expr>,
        /// Whether `low` itself is in.
        low_included: bool,
        /// Whether `high` itself is in.
        high_included: bool,
        /// `not in`, `not between`. The ends are exchanged when `low` is above `high`, as Esper does.
        negated: bool,
    },
    /// Whether an address lies in one of the networks (extension).
    InNetworks {
        /// The address.
        operand: Box<Expr>,
        /// The networks.
        networks: Vec<Network>,
        /// `not in`.
        negated: bool,
    },
    /// `like` with a pattern that is no constant, or a constant one compiled.
    Like {
        /// The text.
        operand: Box<Expr>,
        /// The pattern.
        pattern: LikePattern,
        /// `not like`.
        negated: bool,
    },
    /// `regexp` (the whole text must match).
    Regexp {
        /// The text.
        operand: Box<Expr>,
        /// The regular expression.
        pattern: RegexpPattern,
        /// `not regexp`.
        negated: bool,
    },
    /// `case when .. then .. else .. end`; results of one type.
    Case {
        /// Condition and result.
        branches: Vec<(Expr, Expr)>,
        /// Else, possibly a null literal.
        otherwise: Box<Expr>,
    },
    /// The first that is not null.
    Coalesce(Vec<Expr>),
    /// A conversion that cannot fail or, as `cast` of a text, yields null: to the expression's type.
    Convert(Box<Expr>),
    /// A function.
    Call(Function, Vec<Expr>),
}

/// `prev` and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PreviousKind {
    /// `prev(n, x)`: n rows back from the newest in the window's order.
    Prev,
    /// `prevtail(n, x)`: n rows on from the oldest.
    PrevTail,
    /// `prevcount(x)`: rows in the window.
    PrevCount,
    /// `prevwindow(x)`: all rows, newest first.
    PrevWindow,
    /// `prior(n, x)`: n rows before this one, by arrival.
    Prior,
}

/// A property of a context partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContextProperty {
    /// `context.id`, from 0.
    Id,
    /// `context.name`.
    Name,
    /// `context.key1` and so on, from 0.
    Key(usize),
    /// `context.label` of a category.
    Label,
    /// `context.startTime`.
    StartTime,
    /// `context.endTime`.
    EndTime,
    /// A column of the event that began it: `context.s.bytes`.
    Start {
        /// Which tag of the beginning pattern; 0 for a filter.
        tag: usize,
        /// Which column.
        column: usize,
    },
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The first address.
    pub first: u128,
    /// The last address.
    pub last: u128,
}

impl Network {
    /// The network of an address with so many of its 128 bits counting.
    #[must_use]
    pub fn new(address: [u8; 16], prefix_len: u8) -> Self {
        let host_bits = 128_u32.saturating_sub(u32::from(prefix_len));
        let host = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
        let address = u128::from_be_bytes(address);
        Self {
            first: address & !host,
            last: address | host,
        }
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: [u8; 16]) -> bool {
        let address = u128::from_be_bytes(address);
        self.first <= address && address <= self.last
    }
}

/// The pattern of `like`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LikePattern {
    /// Known when planned.
    Constant(text::Like),
    /// Computed per row; with the escape character.
    Computed(Box<Expr>, Option<char>),
}

/// The pattern of `regexp`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegexpPattern {
    /// Known when planned.
    Constant(text::Pattern),
    /// Computed per row.
    Computed(Box<Expr>),
}

/// The functions of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// `min(a, b, ..)` of one type; null if any is.
    Min,
    /// `max(a, b, ..)`.
    Max,
    /// `abs(x)` (extension).
    Abs,
    /// `floor(x)` (extension).
    Floor,
    /// `round(x)` (extension).
    Round,
    /// `prefix(address, v4 bits [, v6 bits])`: the first address of the network (extension).
    Prefix,
    /// `is_ipv4(address)` (extension).
    IsIpv4,
    /// `is_private(address)`: RFC 1918, unique local, loopback, link local (extension).
    IsPrivate,
    /// `is_multicast(address)`: also the IPv4 broadcast address (extension).
    IsMulticast,
    /// `port_name(port, proto)`: the usual service, or null (extension).
    PortName,
    /// `proto_name(proto)` (extension).
    ProtoName,
    /// `flags_set(flags, 'SA')`: all of these TCP flags (extension).
    FlagsSet,
    /// `flags_only(flags, 'S')`: these and no others of FSRPAU (extension).
    FlagsOnly,
    /// `flags_text(flags)`: `.AP.SF` (extension).
    FlagsText,
    /// `rate_bps(bytes, milliseconds)`: bits a second, null if no time passed (extension).
    RateBps,
    /// `length(text)` (extension).
    Length,
    /// `lower(text)` (extension).
    Lower,
    /// `upper(text)` (extension).
    Upper,
}

/// An aggregation of a statement, shared by all its mentions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aggregate {
    /// Which.
    pub function: AggregateFunction,
    /// Only distinct values.
    pub distinct: bool,
    /// What is aggregated: none for `count(*)`; for [`AggregateFunction::MaxBy`] the keys and, last, the value wanted.
    pub arguments: Vec<Expr>,
    /// Only rows for which this is true.
    pub filter: Option<Expr>,
    /// The type of the result.
    pub of: Type,
}

/// The aggregate functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AggregateFunction {
    /// `count(*)`, `count(x)`.
    Count,
    /// `sum(x)`; of `int` in 64 bits.
    Sum,
    /// `avg(x)`.
    Avg,
    /// `min(x)`.
    Min,
    /// `max(x)`.
    Max,
    /// `stddev(x)`, of the sample.
    Stddev,
    /// `median(x)`.
    Median,
    /// `avedev(x)`.
    Avedev,
    /// `first(x)` in the window.
    First,
    /// `last(x)` in the window.
    Last,
    /// `window(x)`.
    Window,
    /// `nth(x, n)`: the nth last.
    Nth,
    /// `minby(key).value`.
    MinBy,
    /// `maxby(key).value`.
    MaxBy,
    /// `minbyever(key).value`.
    MinByEver,
    /// `maxbyever(key).value`.
    MaxByEver,
    /// `countever(x)`.
    CountEver,
    /// `firstever(x)`.
    FirstEver,
    /// `lastever(x)`.
    LastEver,
    /// `minever(x)`.
    MinEver,
    /// `maxever(x)`.
    MaxEver,
    /// `leaving()`: whether a row has ever left.
    Leaving,
    /// `rate(seconds)`, or `rate(timestamp, amount)` over the rows of the window.
    Rate,
    /// `count_distinct_approx(x)` (extension): HyperLogLog, bounded memory.
    CountDistinctApprox,
}

/// Where an expression finds what it refers to.
///
/// A runtime implements what its expressions can contain; the rest answers null.
pub trait Scope {
    /// The column of the stream's row.
    fn column(&self, stream: usize, column: usize) -> Value;

    /// The engine's time in milliseconds.
    fn now_ms(&self) -> i64;

    /// The whole row of a stream.
    fn row(&self, _stream: usize) -> Value {
        Value::Null
    }

    /// The column of the `index`th event under a tag.
    fn indexed(&self, _stream: usize, _index: i64, _column: usize) -> Value {
        Value::Null
    }

    /// The value of an aggregate.
    fn aggregate(&self, _slot: usize) -> Value {
        Value::Null
    }

    /// `prev` and its kin.
    fn previous(&self, _kind: PreviousKind, _stream: usize, _offset: i64, _column: usize) -> Value {
        Value::Null
    }

    /// The scalar value of a subquery.
    fn subquery(&self, _slot: usize) -> Value {
        Value::Null
    }

    /// Whether a subquery has a row.
    fn subquery_exists(&self, _slot: usize) -> bool {
        false
    }

    /// Whether a subquery's only column holds the value: true, or false, or null when a null makes it unknown.
    fn subquery_contains(&self, slot: usize, value: &Value) -> Value {
        contains(&self.subquery_values(slot), value)
    }

    /// The subquery's only column.
    fn subquery_values(&self, _slot: usize) -> Vec<Value> {
        Vec::new()
    }

    /// A column of the table's row with these keys.
    fn table_column(&self, _table: usize, _keys: &[Value], _column: usize) -> Value {
        Value::Null
    }

    /// A property of the context partition.
    fn context(&self, _property: &ContextProperty) -> Value {
        Value::Null
    }

    /// The value of a variable.
    fn variable(&self, _variable: usize) -> Value {
        Value::Null
    }
}

/// What `in` says of a value and a list.
fn contains(values: &[Value], value: &Value) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let mut unknown = false;
    for candidate in values {
        if candidate.is_null() {
            unknown = true;
        } else if candidate == value {
            return Value::Bool(true);
        }
    }
    if unknown { Value::Null } else { Value::Bool(false) }
}

impl Expr {
    /// A constant.
    #[must_use]
    pub fn literal(value: Value) -> Self {
        let of = value.value_type();
        Self {
            node: Node::Literal(value),
            of,
        }
    }

    /// Calls a function for each expression directly below this one.
    pub fn each_child<'e>(&'e self, visit: &mut dyn FnMut(&'e Self)) {
        match &self.node {
            Node::Literal(_)
            | Node::Column { .. }
            | Node::Row(_)
            | Node::Aggregate(_)
            | Node::Now
            | Node::Subquery(_)
            | Node::Exists(_)
            | Node::Context(_)
            | Node::Variable(_) => {}
            Node::Indexed { index: inner, .. }
            | Node::Field(inner, _)
            | Node::Previous { offset: inner, .. }
            | Node::InSubquery { operand: inner, .. }
            | Node::QuantifiedSubquery { operand: inner, .. }
            | Node::Negate(inner)
            | Node::Not(inner)
            | Node::IsNull(inner)
            | Node::InNetworks { operand: inner, .. }
            | Node::Convert(inner) => visit(inner),
            Node::Quantified { operand, list, .. } | Node::InList { operand, list, .. } => {
                visit(operand);
                list.iter().for_each(visit);
            }
            Node::TableColumn { keys: list, .. }
            | Node::And(list)
            | Node::Or(list)
            | Node::Coalesce(list)
            | Node::Call(_, list) => list.iter().for_each(visit),
            Node::Compare(_, left, right)
            | Node::Arithmetic(_, left, right)
            | Node::Bits(_, left, right)
            | Node::Concat(left, right) => {
                visit(left);
                visit(right);
            }
            Node::InRange { operand, low, high, .. } => {
                visit(operand);
                visit(low);
                visit(high);
            }
            Node::Like { operand, pattern, .. } => {
                visit(operand);
                if let LikePattern::Computed(pattern, _) = pattern {
                    visit(pattern);
                }
            }
            Node::Regexp { operand, pattern, .. } => {
                visit(operand);
                if let RegexpPattern::Computed(pattern) = pattern {
                    visit(pattern);
                }
            }
            Node::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    visit(condition);
                    visit(result);
                }
                visit(otherwise);
            }
        }
    }
}
