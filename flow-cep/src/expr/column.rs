//! Evaluation of an expression for all rows of a record batch.
//!
//! An expression is compiled once for a schema ([`ColumnExpr::new`]). What filters are made of (comparisons, ranges and lists
//! over numbers, texts and addresses, arithmetic, `and`, `or`, `not`) runs column by column; what depends on nothing but one
//! dictionary column is computed once for each of its values; the rest goes row by row through [`Expr::eval`].

mod choice;
mod compile;
mod dictionary;
mod number;
mod value;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Schema};

use self::choice::{Which, coalesce_truths, compare_addresses, extreme_address};
pub(crate) use self::compile::mirrored;
use self::compile::{columnar, compile};
use self::dictionary::{Memo, by_dictionary};
use self::number::{compare, doubles, ints, longs};
pub use self::value::{BatchRow, array_of, value_at};
use super::row::holds;
use super::{Expr, Network};
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
        memo: Memo,
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
    /// The first that is not null, of numbers or truths.
    Coalesce(Type, Vec<Self>),
    /// Numbers by the first condition that is true.
    Choose {
        of: Type,
        branches: Vec<(Self, Self)>,
        otherwise: Box<Self>,
    },
    /// The least or the greatest of numbers; null if any is.
    Extreme(Type, Which, Vec<Self>),
    /// Two address columns compared, and the lower or the higher of them.
    CompareAddresses(BinaryOp, usize, usize),
    ExtremeAddress(Which, usize, usize),
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
            (&Plan::ExtremeAddress(which, left, right), _) => extreme_address(which, left, right, &input),
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
        Plan::Dictionary { column, expr, memo } => memo.truth(*column, expr, input),
        Plan::Coalesce(_, parts) => coalesce_truths(parts, input),
        Plan::CompareAddresses(op, left, right) => compare_addresses(*op, *left, *right, input),
        Plan::Now
        | Plan::Arithmetic(..)
        | Plan::BitOperation(..)
        | Plan::Convert(..)
        | Plan::Choose { .. }
        | Plan::Extreme(..)
        | Plan::ExtremeAddress(..) => Truth::constant(None, rows_count),
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
        Plan::Arithmetic(_, of, ..)
        | Plan::BitOperation(_, of, ..)
        | Plan::Convert(of, _)
        | Plan::Coalesce(of @ (Type::Int | Type::Long | Type::Double), _)
        | Plan::Choose { of, .. }
        | Plan::Extreme(of, ..) => match of {
            Type::Double => doubles(plan, input).nulls,
            Type::Long => longs(plan, input).nulls,
            _ => ints(plan, input).nulls,
        },
        Plan::ExtremeAddress(_, left, right) => NullBuffer::union(
            input.batch.column(*left).logical_nulls().as_ref(),
            input.batch.column(*right).logical_nulls().as_ref(),
        ),
        Plan::Dictionary { column, expr, .. } => {
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

/// The values of a plan row by row.
fn rows(plan: &Plan, input: &Input<'_>, _of: &Type) -> Vec<Value> {
    match plan {
        Plan::Constant(value) => vec![value.clone(); input.rows()],
        Plan::Dictionary { column, expr, .. } => {
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
