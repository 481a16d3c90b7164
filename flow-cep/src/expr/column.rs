//! Evaluation of an expression for all rows of a record batch.
//!
//! An expression is compiled once for a schema ([`ColumnExpr::new`]). What filters are made of (comparisons, ranges and lists
//! over numbers, texts and addresses, arithmetic, `and`, `or`, `not`) runs column by column; what depends on nothing but one
//! dictionary column is computed once for each of its values; the rest goes row by row through [`Expr::eval`].

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, new_null_array,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Schema};

use super::row::holds;
use super::{Expr, LikePattern, Network, Node, RegexpPattern, Scope};
use crate::event_type::arrow_type;
use crate::syntax::ast::BinaryOp;
use crate::value::{Type, Value};

/// An expression over the columns of one stream, compiled for its schema.
#[derive(Clone, Debug)]
pub struct ColumnExpr {
    plan: Plan,
    of: Type,
}

/// How a sub-expression is computed.
#[derive(Clone, Debug)]
enum Plan {
    /// A value for all rows.
    Constant(Value),
    /// A column as it lies.
    Column(usize),
    /// The engine's time at each row.
    Now,
    /// `low <= column <= high` over whole numbers as they lie, or not so.
    Range {
        column: usize,
        low: i64,
        high: i64,
        inverted: bool,
    },
    /// Membership of a column of 8 or 16 bits: one bit for each possible value.
    Bits {
        column: usize,
        set: Arc<[u64]>,
        inverted: bool,
    },
    /// Membership among whole numbers, sorted.
    LongSet {
        operand: Box<Self>,
        set: Arc<[i64]>,
        inverted: bool,
    },
    /// A text column tested value by value.
    Text {
        column: usize,
        test: TextTest,
        inverted: bool,
    },
    /// An address column tested.
    Address {
        column: usize,
        networks: Arc<[Network]>,
        inverted: bool,
    },
    /// Computed once for each value of the one dictionary column that it depends on.
    Dictionary {
        column: usize,
        expr: Expr,
    },
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    IsNull(Box<Self>),
    Compare(BinaryOp, Type, Box<Self>, Box<Self>),
    Arithmetic(BinaryOp, Type, Box<Self>, Box<Self>),
    BitOperation(BinaryOp, Type, Box<Self>, Box<Self>),
    /// A change of numeric type.
    Convert(Type, Box<Self>),
    /// Row by row.
    Rows(Expr),
}

/// A test of a text.
#[derive(Clone, Debug)]
enum TextTest {
    Compare(BinaryOp, Arc<str>),
    /// Sorted.
    Among(Arc<[Arc<str>]>),
    Like(super::text::Like),
    Regexp(super::text::Pattern),
}

impl TextTest {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Compare(op, with) => holds(*op, Some(text.cmp(with))),
            Self::Among(list) => list.binary_search_by(|item| item.as_ref().cmp(text)).is_ok(),
            Self::Like(like) => like.matches(text),
            Self::Regexp(pattern) => pattern.matches(text),
        }
    }
}

/// A three-valued truth for each row: where it is true, and where false (everywhere else, if there are no unknowns).
#[derive(Clone, Debug)]
struct Truth {
    yes: BooleanBuffer,
    no: Option<BooleanBuffer>,
}

impl Truth {
    fn constant(value: Option<bool>, rows: usize) -> Self {
        match value {
            Some(true) => Self {
                yes: BooleanBuffer::new_set(rows),
                no: None,
            },
            Some(false) => Self {
                yes: BooleanBuffer::new_unset(rows),
                no: None,
            },
            None => Self {
                yes: BooleanBuffer::new_unset(rows),
                no: Some(BooleanBuffer::new_unset(rows)),
            },
        }
    }

    /// From values of which those at nulls mean nothing.
    fn new(values: BooleanBuffer, nulls: Option<&NullBuffer>) -> Self {
        match nulls {
            None => Self { yes: values, no: None },
            Some(valid) => {
                let no = &!&values & valid.inner();
                Self {
                    yes: &values & valid.inner(),
                    no: Some(no),
                }
            }
        }
    }

    fn not(self) -> Self {
        match self.no {
            None => Self {
                yes: !&self.yes,
                no: None,
            },
            Some(no) => Self {
                yes: no,
                no: Some(self.yes),
            },
        }
    }

    fn no(&self) -> BooleanBuffer {
        self.no.clone().unwrap_or_else(|| !&self.yes)
    }

    fn and(self, other: &Self) -> Self {
        let no = match (&self.no, &other.no) {
            (None, None) => None,
            _ => Some(&self.no() | &other.no()),
        };
        Self {
            yes: &self.yes & &other.yes,
            no,
        }
    }

    fn or(self, other: &Self) -> Self {
        let no = match (&self.no, &other.no) {
            (None, None) => None,
            _ => Some(&self.no() & &other.no()),
        };
        Self {
            yes: &self.yes | &other.yes,
            no,
        }
    }

    fn into_array(self) -> BooleanArray {
        let nulls = self.no.map(|no| NullBuffer::new(&self.yes | &no));
        BooleanArray::new(self.yes, nulls)
    }
}

/// Numbers for each row, or one for all.
enum Numbers<T: ArrowNativeType> {
    One(T),
    Many(ScalarBuffer<T>),
}

impl<T: ArrowNativeType> Numbers<T> {
    fn map<U: ArrowNativeType>(&self, f: impl Fn(T) -> U) -> Numbers<U> {
        match self {
            Self::One(value) => Numbers::One(f(*value)),
            Self::Many(values) => Numbers::Many(values.iter().map(|value| f(*value)).collect()),
        }
    }
}

/// A column of values, with where they are not null.
struct Column<T: ArrowNativeType> {
    values: Numbers<T>,
    nulls: Option<NullBuffer>,
}

impl ColumnExpr {
    /// Compiles an expression that refers to nothing but the columns of stream 0, constants and the time; none for others.
    #[must_use]
    pub fn new(expr: &Expr, schema: &Schema) -> Option<Self> {
        columnar(expr).then(|| Self {
            plan: compile(expr, schema),
            of: expr.of.clone(),
        })
    }

    /// The type of the result.
    #[must_use]
    pub const fn value_type(&self) -> &Type {
        &self.of
    }

    /// Where the condition is true (and not null). `times` is the engine's time at each row.
    ///
    /// # Panics
    /// When the batch is not of the schema that the expression was compiled for.
    #[must_use]
    pub fn mask(&self, batch: &RecordBatch, times: &[i64]) -> BooleanBuffer {
        truth(&self.plan, &Input { batch, times }).yes
    }

    /// The values for all rows, in the Arrow type of the expression's type; a plain column keeps its own Arrow type.
    ///
    /// # Panics
    /// When the batch is not of the schema that the expression was compiled for.
    #[must_use]
    pub fn evaluate(&self, batch: &RecordBatch, times: &[i64]) -> ArrayRef {
        let input = Input { batch, times };
        match (&self.plan, &self.of) {
            (Plan::Column(column), _) => Arc::clone(batch.column(*column)),
            (_, Type::Bool) => Arc::new(truth(&self.plan, &input).into_array()),
            (_, Type::Int) => {
                let Column { values, nulls } = ints(&self.plan, &input);
                Arc::new(Int32Array::new(spread(values, input.rows()), nulls))
            }
            (_, Type::Long) => {
                let Column { values, nulls } = longs(&self.plan, &input);
                Arc::new(Int64Array::new(spread(values, input.rows()), nulls))
            }
            (_, Type::Double) => {
                let Column { values, nulls } = doubles(&self.plan, &input);
                Arc::new(Float64Array::new(spread(values, input.rows()), nulls))
            }
            (plan, of) => array_of(&rows(plan, &input, of), of),
        }
    }
}

fn spread<T: ArrowNativeType>(values: Numbers<T>, rows: usize) -> ScalarBuffer<T> {
    match values {
        Numbers::One(value) => std::iter::repeat_n(value, rows).collect(),
        Numbers::Many(values) => values,
    }
}

/// What a plan is evaluated over.
struct Input<'b> {
    batch: &'b RecordBatch,
    times: &'b [i64],
}

impl Input<'_> {
    fn rows(&self) -> usize {
        self.batch.num_rows()
    }
}

/// Whether an expression can be computed from a batch alone.
fn columnar(expr: &Expr) -> bool {
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

fn compile(expr: &Expr, schema: &Schema) -> Plan {
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
        };
    }
    let child = |expr: &Expr| Box::new(compile(expr, schema));
    match &expr.node {
        Node::Not(inner) => Plan::Not(child(inner)),
        Node::IsNull(inner) => Plan::IsNull(child(inner)),
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
const fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}

/// A comparison of a column with a constant.
fn compile_compare(op: BinaryOp, left: &Expr, right: &Expr, schema: &Schema) -> Option<Plan> {
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
    let column = whole_column(operand, schema)?;
    let (low, high) = (literal(low)?.as_long()?, literal(high)?.as_long()?);
    // Whichever end is lower; the brackets keep their places, as in Esper.
    let (low, high) = if low > high { (high, low) } else { (low, high) };
    let low = if low_in { low } else { low.checked_add(1)? };
    let high = if high_in { high } else { high.checked_sub(1)? };
    // A range of null is false, not unknown, and `not in` it too: said by a conjunction with a null test.
    let test = Plan::Range {
        column,
        low,
        high,
        inverted,
    };
    Some(Plan::And(vec![
        Plan::Not(Box::new(Plan::IsNull(Box::new(Plan::Column(column))))),
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
            operand: Box::new(compile(operand, schema)),
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

/// Applies a test to each whole number of a column, in the column's own type.
macro_rules! with_native {
    ($array:expr, $values:ident => $body:expr, else $otherwise:expr) => {
        match $array.data_type() {
            DataType::UInt8 => {
                let $values = $array.as_primitive::<UInt8Type>().values();
                $body
            }
            DataType::UInt16 => {
                let $values = $array.as_primitive::<UInt16Type>().values();
                $body
            }
            DataType::UInt32 => {
                let $values = $array.as_primitive::<UInt32Type>().values();
                $body
            }
            DataType::Int8 => {
                let $values = $array.as_primitive::<Int8Type>().values();
                $body
            }
            DataType::Int16 => {
                let $values = $array.as_primitive::<Int16Type>().values();
                $body
            }
            DataType::Int32 => {
                let $values = $array.as_primitive::<Int32Type>().values();
                $body
            }
            DataType::Int64 => {
                let $values = $array.as_primitive::<Int64Type>().values();
                $body
            }
            DataType::Timestamp(..) => {
                let $values = $array.as_primitive::<TimestampMillisecondType>().values();
                $body
            }
            _ => $otherwise,
        }
    };
}

/// One bit for each value; blocks of 64 so that the compiler works on whole vectors.
fn pack<T: Copy>(values: &[T], test: impl Fn(T) -> bool) -> BooleanBuffer {
    let mut words = Vec::with_capacity(values.len().div_ceil(64));
    let (blocks, rest) = values.as_chunks::<64>();
    for block in blocks {
        let mut bytes = [0_u8; 64];
        for (byte, value) in bytes.iter_mut().zip(block) {
            *byte = u8::from(test(*value));
        }
        words.push(gather(&bytes));
    }
    if !rest.is_empty() {
        let mut bytes = [0_u8; 64];
        for (byte, value) in bytes.iter_mut().zip(rest) {
            *byte = u8::from(test(*value));
        }
        words.push(gather(&bytes));
    }
    BooleanBuffer::new(arrow_buffer::Buffer::from_vec(words), 0, values.len())
}

/// The lowest bit of each of 64 bytes, in order.
fn gather(bytes: &[u8; 64]) -> u64 {
    let mut word = 0;
    let (eights, _) = bytes.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        // Each byte is 0 or 1; the product moves them to the top byte, the first lowest.
        let packed = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= packed << (at * 8);
    }
    word
}

/// Whether values lie in a range, with the ends brought into the values' own type.
fn pack_range<T>(values: &[T], low: i64, high: i64, inverted: bool) -> BooleanBuffer
where
    T: Copy + PartialOrd + TryFrom<i64> + num_limits::Bounded,
{
    let out = |inverted: bool| {
        if inverted {
            BooleanBuffer::new_set(values.len())
        } else {
            BooleanBuffer::new_unset(values.len())
        }
    };
    if low > high || low > T::most() || high < T::least() {
        return out(inverted);
    }
    let whole = |value: i64| T::try_from(value.clamp(T::least(), T::most())).ok();
    let (Some(low), Some(high)) = (whole(low), whole(high)) else {
        return out(inverted);
    };
    if inverted {
        pack(values, |value| (value < low) | (value > high))
    } else {
        pack(values, |value| (value >= low) & (value <= high))
    }
}

/// The range of the native types, as 64 bits.
mod num_limits {
    pub(super) trait Bounded {
        fn least() -> i64;
        fn most() -> i64;
    }

    macro_rules! bounded {
        ($($of:ty),*) => {
            $(impl Bounded for $of {
                fn least() -> i64 {
                    i64::from(Self::MIN)
                }
                fn most() -> i64 {
                    i64::from(Self::MAX)
                }
            })*
        };
    }
    bounded!(u8, u16, u32, i8, i16, i32, i64);
}

fn truth(plan: &Plan, input: &Input<'_>) -> Truth {
    let rows_count = input.rows();
    match plan {
        Plan::Constant(value) => Truth::constant(value.as_bool(), rows_count),
        Plan::Column(column) => {
            let array = input.batch.column(*column);
            match array.as_boolean_opt() {
                Some(array) => Truth::new(array.values().clone(), array.nulls()),
                None => Truth::constant(None, rows_count),
            }
        }
        Plan::Range {
            column,
            low,
            high,
            inverted,
        } => {
            let array = input.batch.column(*column);
            let values = with_native!(array, values => pack_range(values, *low, *high, *inverted), else {
                // Unsigned 64 bits are read as long, wrapping.
                let values = longs(&Plan::Column(*column), input);
                match values.values {
                    Numbers::Many(values) => pack_range(&values, *low, *high, *inverted),
                    Numbers::One(value) => pack_range(&vec![value; rows_count], *low, *high, *inverted),
                }
            });
            Truth::new(values, array.nulls())
        }
        Plan::Bits { column, set, inverted } => {
            let array = input.batch.column(*column);
            let member = |value: usize| (set[value / 64] >> (value % 64)) & 1 == u64::from(!*inverted);
            let values = match array.data_type() {
                DataType::UInt8 => pack(array.as_primitive::<UInt8Type>().values(), |value| {
                    member(usize::from(value))
                }),
                _ => pack(array.as_primitive::<UInt16Type>().values(), |value| {
                    member(usize::from(value))
                }),
            };
            Truth::new(values, array.nulls())
        }
        Plan::LongSet { operand, set, inverted } => {
            let Column { values, nulls } = longs(operand, input);
            let values = pack(&spread(values, rows_count), |value| {
                set.binary_search(&value).is_ok() != *inverted
            });
            Truth::new(values, nulls.as_ref())
        }
        Plan::Text { column, test, inverted } => {
            let array = input.batch.column(*column).as_string::<i32>();
            let values = BooleanBuffer::collect_bool(rows_count, |row| test.holds(array.value(row)) != *inverted);
            Truth::new(values, array.nulls())
        }
        Plan::Address {
            column,
            networks,
            inverted,
        } => {
            let array = input.batch.column(*column).as_fixed_size_binary();
            let (addresses, _) = array.value_data().as_chunks::<16>();
            let values = match networks.as_ref() {
                [one] if one.first == one.last => {
                    let wanted = one.first.to_be_bytes();
                    pack(addresses, |address| (address == wanted) != *inverted)
                }
                several => pack(addresses, |address| {
                    several.iter().any(|network| network.contains(address)) != *inverted
                }),
            };
            Truth::new(values, array.nulls())
        }
        Plan::Not(inner) => truth(inner, input).not(),
        Plan::And(parts) => {
            let mut result: Option<Truth> = None;
            for part in parts {
                let part = truth(part, input);
                result = Some(match result {
                    None => part,
                    Some(result) => result.and(&part),
                });
            }
            result.unwrap_or_else(|| Truth::constant(Some(true), rows_count))
        }
        Plan::Or(parts) => {
            let mut result: Option<Truth> = None;
            for part in parts {
                let part = truth(part, input);
                result = Some(match result {
                    None => part,
                    Some(result) => result.or(&part),
                });
            }
            result.unwrap_or_else(|| Truth::constant(Some(false), rows_count))
        }
        Plan::IsNull(inner) => match nulls_of(inner, input) {
            None => Truth::constant(Some(false), rows_count),
            Some(valid) => Truth {
                yes: !valid.inner(),
                no: None,
            },
        },
        Plan::Compare(op, Type::Double, left, right) => {
            let (left, right) = (doubles(left, input), doubles(right, input));
            compare(*op, &left, &right, rows_count, |a, b| a.partial_cmp(&b))
        }
        Plan::Compare(op, Type::Int, left, right) => {
            let (left, right) = (ints(left, input), ints(right, input));
            compare(*op, &left, &right, rows_count, |a, b| Some(a.cmp(&b)))
        }
        Plan::Compare(op, _, left, right) => {
            let (left, right) = (longs(left, input), longs(right, input));
            compare(*op, &left, &right, rows_count, |a, b| Some(a.cmp(&b)))
        }
        Plan::Dictionary { column, expr } => dictionary_truth(*column, expr, input),
        Plan::Now | Plan::Arithmetic(..) | Plan::BitOperation(..) | Plan::Convert(..) => {
            Truth::constant(None, rows_count)
        }
        Plan::Rows(_) => {
            let values = rows(plan, input, &Type::Bool);
            let yes = BooleanBuffer::collect_bool(rows_count, |row| values[row].is_true());
            let no = BooleanBuffer::collect_bool(rows_count, |row| values[row].as_bool() == Some(false));
            Truth { yes, no: Some(no) }
        }
    }
}

/// Whether rows of a plan's result are not null; none if all are not.
fn nulls_of(plan: &Plan, input: &Input<'_>) -> Option<NullBuffer> {
    match plan {
        Plan::Constant(value) => value.is_null().then(|| NullBuffer::new_null(input.rows())),
        Plan::Column(column) => input.batch.column(*column).logical_nulls(),
        Plan::Now => None,
        Plan::Arithmetic(_, Type::Double, ..) | Plan::Convert(Type::Double, _) => doubles(plan, input).nulls,
        Plan::Arithmetic(_, Type::Long, ..) | Plan::BitOperation(_, Type::Long, ..) | Plan::Convert(Type::Long, _) => {
            longs(plan, input).nulls
        }
        Plan::Arithmetic(..) | Plan::BitOperation(..) | Plan::Convert(..) => ints(plan, input).nulls,
        Plan::Dictionary { column, expr } => {
            let (values, places) = by_dictionary(*column, expr, input);
            let null = |row: usize| {
                places[row]
                    .map_or_else(|| values.last(), |place| values.get(place))
                    .is_none_or(Value::is_null)
            };
            Some(NullBuffer::new(BooleanBuffer::collect_bool(input.rows(), |row| {
                !null(row)
            })))
        }
        Plan::Rows(expr) => {
            let values = rows(plan, input, &expr.of);
            Some(NullBuffer::new(BooleanBuffer::collect_bool(input.rows(), |row| {
                !values[row].is_null()
            })))
        }
        _ => {
            let truth = truth(plan, input);
            truth.no.map(|no| NullBuffer::new(&truth.yes | &no))
        }
    }
}

fn compare<T: ArrowNativeType + PartialOrd>(
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

/// A remainder: null by zero.
fn remainder<T: ArrowNativeType>(
    left: Column<T>,
    right: Column<T>,
    rows: usize,
    f: impl Fn(T, T) -> T,
) -> Column<T> {
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

fn ints(plan: &Plan, input: &Input<'_>) -> Column<i32> {
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
        _ => by_rows(plan, input, |value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        }),
    }
}

fn longs(plan: &Plan, input: &Input<'_>) -> Column<i64> {
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
        _ => by_rows(plan, input, Value::as_long),
    }
}

fn doubles(plan: &Plan, input: &Input<'_>) -> Column<f64> {
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
        Plan::Arithmetic(_, of, ..) | Plan::BitOperation(_, of, ..) | Plan::Convert(of, _) => of.clone(),
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
fn by_rows<T: ArrowNativeType>(
    plan: &Plan,
    input: &Input<'_>,
    read: impl Fn(&Value) -> Option<T>,
) -> Column<T> {
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

/// The value of an expression for each value of a dictionary, and last for null.
fn dictionary_values(values: &dyn Array, expr: &Expr) -> Vec<Value> {
    let mut scope = OneValue(Value::Null);
    let mut results = Vec::with_capacity(values.len() + 1);
    for place in 0..values.len() {
        scope.0 = value_at(values, place);
        results.push(expr.eval(&scope));
    }
    scope.0 = Value::Null;
    results.push(expr.eval(&scope));
    results
}

/// Calls a function with a dictionary array in its own key type.
macro_rules! with_dictionary {
    ($array:expr, $dictionary:ident => $body:expr) => {
        match $array.as_any_dictionary().keys().data_type() {
            DataType::Int8 => {
                let $dictionary = $array.as_dictionary::<Int8Type>();
                $body
            }
            DataType::Int16 => {
                let $dictionary = $array.as_dictionary::<Int16Type>();
                $body
            }
            DataType::Int32 => {
                let $dictionary = $array.as_dictionary::<Int32Type>();
                $body
            }
            DataType::Int64 => {
                let $dictionary = $array.as_dictionary::<Int64Type>();
                $body
            }
            DataType::UInt8 => {
                let $dictionary = $array.as_dictionary::<UInt8Type>();
                $body
            }
            DataType::UInt16 => {
                let $dictionary = $array.as_dictionary::<UInt16Type>();
                $body
            }
            DataType::UInt32 => {
                let $dictionary = $array.as_dictionary::<UInt32Type>();
                $body
            }
            _ => {
                let $dictionary = $array.as_dictionary::<UInt64Type>();
                $body
            }
        }
    };
}

/// A condition over a dictionary column: a table of its values' truths, looked up by key.
fn dictionary_truth(column: usize, expr: &Expr, input: &Input<'_>) -> Truth {
    fn look_up<K: ArrowDictionaryKeyType>(array: &DictionaryArray<K>, truths: &[Option<bool>]) -> Truth {
        let keys = array.keys();
        let null = truths.last().copied().flatten();
        // Keys at null rows may be anything.
        let at = |key: K::Native| truths.get(key.as_usize()).copied().flatten();
        let mut yes = pack(keys.values(), |key| at(key) == Some(true));
        let unknown = truths.iter().any(Option::is_none);
        let mut no = (unknown || keys.nulls().is_some()).then(|| pack(keys.values(), |key| at(key) == Some(false)));
        if let Some(valid) = keys.nulls() {
            let fill = |of: &BooleanBuffer, null: bool| {
                if null { of | &!valid.inner() } else { of & valid.inner() }
            };
            yes = fill(&yes, null == Some(true));
            no = no.map(|no| fill(&no, null == Some(false)));
        }
        Truth { yes, no }
    }
    let array = input.batch.column(column);
    let truths: Vec<Option<bool>> = dictionary_values(array.as_any_dictionary().values(), expr)
        .iter()
        .map(Value::as_bool)
        .collect();
    with_dictionary!(array, dictionary => look_up(dictionary, &truths))
}

/// The value of an expression for each value of a dictionary, and last for null; and the place of each row's.
fn by_dictionary(column: usize, expr: &Expr, input: &Input<'_>) -> (Vec<Value>, Vec<Option<usize>>) {
    let array = input.batch.column(column);
    let results = dictionary_values(array.as_any_dictionary().values(), expr);
    let places = with_dictionary!(array, dictionary => (0..dictionary.len()).map(|row| dictionary.key(row)).collect());
    (results, places)
}

/// A scope of one column's value.
struct OneValue(Value);

impl Scope for OneValue {
    fn column(&self, _: usize, _: usize) -> Value {
        self.0.clone()
    }

    fn now_ms(&self) -> i64 {
        0
    }
}

/// A row of a batch as a scope.
#[derive(Debug)]
pub struct BatchRow<'b> {
    /// The batch.
    pub batch: &'b RecordBatch,
    /// Which row.
    pub row: usize,
    /// The engine's time.
    pub now_ms: i64,
}

impl Scope for BatchRow<'_> {
    fn column(&self, _stream: usize, column: usize) -> Value {
        value_at(self.batch.column(column), self.row)
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }
}

/// The value of one place of an array; null beyond what the language has types for.
#[must_use]
pub fn value_at(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Value::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row)),
        DataType::UInt8 => Value::Int(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Value::Int(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Value::Long(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::Int64 => Value::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => Value::Long(array.as_primitive::<UInt64Type>().value(row).cast_signed()),
        DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, _) => {
            Value::Long(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Float32 => Value::Double(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => array
            .as_fixed_size_binary()
            .value(row)
            .try_into()
            .map_or(Value::Null, Value::Address),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let place = dictionary.normalized_keys()[row];
            value_at(dictionary.values(), place)
        }
        _ => Value::Null,
    }
}

/// The values of a plan row by row.
fn rows(plan: &Plan, input: &Input<'_>, _of: &Type) -> Vec<Value> {
    match plan {
        Plan::Constant(value) => vec![value.clone(); input.rows()],
        Plan::Dictionary { column, expr } => {
            let (values, places) = by_dictionary(*column, expr, input);
            let null = values.last().cloned().unwrap_or_default();
            places
                .iter()
                .map(|place| place.map_or_else(|| null.clone(), |place| values[place].clone()))
                .collect()
        }
        Plan::Rows(expr) => (0..input.rows())
            .map(|row| {
                let now_ms = input.times.get(row).copied().unwrap_or_default();
                expr.eval(&BatchRow {
                    batch: input.batch,
                    row,
                    now_ms,
                })
            })
            .collect(),
        Plan::Column(column) => (0..input.rows())
            .map(|row| value_at(input.batch.column(*column), row))
            .collect(),
        _ => {
            let truth = truth(plan, input);
            let array = truth.into_array();
            (0..input.rows()).map(|row| value_at(&array, row)).collect()
        }
    }
}

/// Values as an array of the Arrow type of a type.
#[must_use]
pub fn array_of(values: &[Value], of: &Type) -> ArrayRef {
    match of {
        Type::Bool => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        Type::Int => Arc::new(
            values
                .iter()
                .map(|value| match value {
                    Value::Int(value) => Some(*value),
                    _ => None,
                })
                .collect::<Int32Array>(),
        ),
        Type::Long => Arc::new(values.iter().map(Value::as_long).collect::<Int64Array>()),
        Type::Double => Arc::new(values.iter().map(Value::as_double).collect::<Float64Array>()),
        Type::Text => {
            let mut builder = StringBuilder::new();
            values.iter().for_each(|value| builder.append_option(value.as_text()));
            Arc::new(builder.finish())
        }
        Type::Address => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), 16);
            for value in values {
                match value {
                    // Sixteen bytes are what the builder was made for.
                    Value::Address(address) if builder.append_value(address).is_ok() => {}
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        Type::Null | Type::List(_) | Type::Row(_) => new_null_array(&arrow_type(of), values.len()),
    }
}
