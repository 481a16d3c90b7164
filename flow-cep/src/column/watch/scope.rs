//! A group as the expressions of a rule see it.

use std::cell::OnceCell;
use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::detail::{Detail, Moments, real};
use super::log::Log;
use super::rule::{Found, GroupColumn, Operand};
use crate::column::groups::{from_word, to_word};
use crate::column::interner::NONE;
use crate::column::keys::{KeyId, Keys, NULL};
use crate::column::numbers::Number;
use crate::column::query::Function;
use crate::expr::Scope;
use crate::expr::column::value_at;
use crate::value::{Type, Value};

/// One group.
pub(crate) struct Group<'a> {
    /// The key of the grouping and the id of the group.
    pub(crate) key: (KeyId, u32),
    /// How many rows it has, and the newest.
    pub(crate) rows: u32,
    pub(crate) newest: u64,
    /// Its sums and those of the groups behind it.
    pub(crate) sums: &'a [i64],
    /// Distinct values by column.
    pub(crate) distinct: &'a [u32],
    pub(crate) detail: Option<&'a Detail>,
    /// Its rows, the oldest first.
    pub(crate) rows_of: &'a dyn Fn() -> Vec<u64>,
}

/// The columns of one group as a row.
pub(crate) struct GroupScope<'a> {
    group: Group<'a>,
    keys: &'a Keys,
    log: &'a Log,
    columns: &'a [GroupColumn],
    now_ms: i64,
    gathered: OnceCell<Vec<u64>>,
}

impl<'a> GroupScope<'a> {
    pub(crate) const fn new(
        group: Group<'a>,
        keys: &'a Keys,
        log: &'a Log,
        columns: &'a [GroupColumn],
        now_ms: i64,
    ) -> Self {
        Self {
            group,
            keys,
            log,
            columns,
            now_ms,
            gathered: OnceCell::new(),
        }
    }

    fn rows(&self) -> &[u64] {
        self.gathered.get_or_init(self.group.rows_of)
    }

    fn kept(&self, function: Function, place: usize, operand: Operand, of: &Type) -> Value {
        let sum = || (self.group.sums[place * 2], self.group.sums[place * 2 + 1]);
        let detail = self.group.detail;
        match function {
            Function::Count => Value::Long(sum().1),
            Function::Sum => sum_of(sum(), of),
            Function::Average => {
                let is_double = matches!(operand, Operand::Number(argument) if self.log.is_double(argument));
                average_of(sum(), is_double)
            }
            Function::CountDistinct => Value::Long(i64::from(self.group.distinct[place])),
            Function::Deviation => double(detail.and_then(|detail| detail.deviation(place))),
            Function::Smallest | Function::Largest => number(detail.and_then(|detail| detail.extreme(place)), of),
            Function::First | Function::Last => Value::Null,
        }
    }

    fn gather(&self, function: Function, operand: Operand, of: &Type) -> Value {
        match (function, operand) {
            (Function::Last, _) if self.group.rows > 0 => self.at(self.group.newest, operand, of),
            (Function::First, _) => match self.rows().first() {
                Some(&row) => self.at(row, operand, of),
                None => Value::Null,
            },
            (Function::CountDistinct, Operand::Id(carried)) => {
                let ids = self.rows().iter().map(|&row| self.log.id(carried, row));
                let distinct: HashSet<u32, RandomState> = ids.filter(|&id| id != NULL && id != NONE).collect();
                Value::Long(count(distinct.len()))
            }
            (_, Operand::Number(argument)) => {
                let numbers = self.rows().iter().filter_map(|&row| self.log.number(argument, row));
                fold(function, numbers, self.log.is_double(argument), of)
            }
            _ => Value::Null,
        }
    }

    /// The value that a row has.
    fn at(&self, row: u64, operand: Operand, of: &Type) -> Value {
        match operand {
            Operand::Number(argument) => number(self.log.number(argument, row), of),
            Operand::Id(carried) => match self.log.id(carried, row) {
                NONE => Value::Null,
                id => value_at(&self.keys.values(self.log.atom(carried), &[id]), 0),
            },
            Operand::Rows => Value::Null,
        }
    }
}

impl Scope for GroupScope<'_> {
    fn column(&self, _stream: usize, column: usize) -> Value {
        match &self.columns[column] {
            GroupColumn::Key(atom) => {
                let (key, id) = self.group.key;
                value_at(&self.keys.values(*atom, &self.keys.part(key, &[id], *atom)), 0)
            }
            GroupColumn::Aggregate {
                function: Function::Count,
                operand: Operand::Rows,
                ..
            } => Value::Long(i64::from(self.group.rows)),
            GroupColumn::Aggregate {
                function,
                operand,
                of,
                found,
            } => match found {
                Found::Kept(place) => self.kept(*function, *place, *operand, of),
                Found::Gathered => self.gather(*function, *operand, of),
            },
        }
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }
}

/// A number of rows.
fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

fn double(value: Option<f64>) -> Value {
    value.map_or(Value::Null, Value::Double)
}

/// A number of a type that holds it.
fn number(value: Option<Number>, of: &Type) -> Value {
    match (value, of) {
        (None, _) => Value::Null,
        (Some(Number::Integer(value)), Type::Int) => i32::try_from(value).map_or(Value::Null, Value::Int),
        (Some(Number::Integer(value)), Type::Long) => Value::Long(value),
        (Some(value), _) => Value::Double(real(value)),
    }
}

/// A sum, null of no numbers.
fn sum_of((sum, count): (i64, i64), of: &Type) -> Value {
    match of {
        _ if count == 0 => Value::Null,
        Type::Double => Value::Double(from_word(sum)),
        _ => number(Some(Number::Integer(sum)), of),
    }
}

#[expect(clippy::cast_precision_loss, reason = "as EPL converts long to double")]
fn average_of((sum, count): (i64, i64), is_double: bool) -> Value {
    let sum = if is_double { from_word(sum) } else { sum as f64 };
    double((count != 0).then(|| sum / count as f64))
}

/// An aggregate of the numbers of a group, the oldest first.
fn fold(function: Function, numbers: impl Iterator<Item = Number>, is_double: bool, of: &Type) -> Value {
    let mut total = (0_i64, 0_i64);
    let mut real_total = 0.0;
    let mut moments = Moments::default();
    let mut best: Option<Number> = None;
    let largest = function == Function::Largest;
    for value in numbers {
        total.1 += 1;
        match value {
            Number::Integer(value) => total.0 = total.0.wrapping_add(value),
            Number::Double(value) => real_total += value,
        }
        match function {
            Function::Deviation => moments.enter(real(value)),
            Function::Smallest | Function::Largest if best.is_none_or(|best| value.beats(best, largest)) => {
                best = Some(value);
            }
            _ => {}
        }
    }
    if is_double {
        total.0 = to_word(real_total);
    }
    match function {
        Function::Count => Value::Long(total.1),
        Function::Sum => sum_of(total, of),
        Function::Average => average_of(total, is_double),
        Function::Deviation => double(moments.deviation()),
        Function::Smallest | Function::Largest => number(best, of),
        Function::CountDistinct | Function::First | Function::Last => Value::Null,
    }
}
