//! The arguments of aggregates: a column of numbers as the groups read it.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use super::interner::Rows;
use super::keys::each_integer;
use super::packed;

/// One number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Number {
    Integer(i64),
    Double(f64),
}

impl Number {
    /// Whether this takes the place of an earlier extreme.
    pub(crate) fn beats(self, other: Self, largest: bool) -> bool {
        let order = match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(&right),
            (Self::Double(left), Self::Double(right)) => left.total_cmp(&right),
            _ => std::cmp::Ordering::Equal,
        };
        if largest { order.is_ge() } else { order.is_le() }
    }
}

/// Values without their nulls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Values {
    Integer(#[serde(with = "packed")] Vec<i64>),
    Double(#[serde(with = "packed")] Vec<f64>),
}

/// A column of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) values: Values,
    /// By row; empty if none is null.
    #[serde(with = "packed")]
    pub(crate) nulls: Vec<bool>,
}

impl Numbers {
    /// An empty column for values of a type.
    pub(crate) const fn new(double: bool) -> Self {
        let values = if double {
            Values::Double(Vec::new())
        } else {
            Values::Integer(Vec::new())
        };
        Self {
            values,
            nulls: Vec::new(),
        }
    }

    /// Forgets all numbers.
    pub(crate) fn clear(&mut self) {
        self.nulls.clear();
        match &mut self.values {
            Values::Integer(values) => values.clear(),
            Values::Double(values) => values.clear(),
        }
    }

    /// The numbers of an array; the values of rows that are not selected mean nothing. Booleans are 0 and 1.
    pub(crate) fn read(&mut self, array: &ArrayRef, rows: &Rows) {
        let length = array.len();
        self.nulls.clear();
        if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
            self.nulls.extend(nulls.iter().map(|valid| !valid));
        }
        match &mut self.values {
            Values::Integer(values) if *array.data_type() == DataType::Int64 => {
                values.clear();
                values.extend_from_slice(array.as_primitive::<Int64Type>().values());
            }
            Values::Integer(values) => {
                values.clear();
                values.resize(length, 0);
                if *array.data_type() == DataType::Boolean {
                    let bits = array.as_boolean().values();
                    rows.each(0, rows.len(), |row| values[row] = i64::from(bits.value(row)));
                } else {
                    each_integer(array, rows, |row, value| values[row] = value);
                }
            }
            Values::Double(values) => {
                values.clear();
                match array.data_type() {
                    DataType::Float64 => values.extend_from_slice(array.as_primitive::<Float64Type>().values()),
                    DataType::Float32 => {
                        values.extend(
                            array
                                .as_primitive::<Float32Type>()
                                .values()
                                .iter()
                                .map(|&value| f64::from(value)),
                        );
                    }
                    _ => values.resize(length, 0.0),
                }
            }
        }
        if *array.data_type() == DataType::Null {
            self.nulls = vec![true; length];
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(false)
    }

    pub(crate) fn number(&self, row: usize) -> Option<Number> {
        if self.is_null(row) {
            return None;
        }
        Some(match &self.values {
            Values::Integer(values) => Number::Integer(values[row]),
            Values::Double(values) => Number::Double(values[row]),
        })
    }

    /// The value as a floating-point number.
    #[expect(clippy::cast_precision_loss, reason = "as EPL converts long to double")]
    pub(crate) fn double(&self, row: usize) -> Option<f64> {
        self.number(row).map(|number| match number {
            Number::Integer(value) => value as f64,
            Number::Double(value) => value,
        })
    }

    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Integer(values) => values.len(),
            Values::Double(values) => values.len(),
        }
    }

    /// Appends the selected rows between two places of another column of the same type.
    pub(crate) fn append(&mut self, other: &Self, rows: &Rows, (from, to): (usize, usize)) {
        let length = self.len();
        if !other.nulls.is_empty() || !self.nulls.is_empty() {
            self.nulls.resize(length, false);
            rows.each(from, to, |row| self.nulls.push(other.is_null(row)));
        }
        match (&mut self.values, &other.values) {
            (Values::Integer(into), Values::Integer(values)) => match rows {
                Rows::All(_) => into.extend_from_slice(&values[from..to]),
                Rows::Some(rows) => into.extend(rows[from..to].iter().map(|&row| values[row as usize])),
            },
            (Values::Double(into), Values::Double(values)) => match rows {
                Rows::All(_) => into.extend_from_slice(&values[from..to]),
                Rows::Some(rows) => into.extend(rows[from..to].iter().map(|&row| values[row as usize])),
            },
            _ => {}
        }
    }
}
