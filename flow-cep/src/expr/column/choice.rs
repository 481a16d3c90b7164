//! Plans that choose among values: `coalesce`, `case`, `min` and `max` of several, and what is known of addresses.

use arrow_array::ArrayRef;
use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, FixedSizeBinaryArray};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer};
use std::sync::Arc;

use super::{Column, Input, Numbers, Plan, Truth, spread, truth};
use crate::expr::row::holds;
use crate::expr::{Function, Network};
use crate::syntax::ast::BinaryOp;

/// Which of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Least,
    Greatest,
}

/// The first value of each row that is not null.
pub(super) fn coalesce<T: ArrowNativeType>(parts: impl Iterator<Item = Column<T>>, rows: usize) -> Column<T> {
    let mut result: Option<Column<T>> = None;
    for part in parts {
        result = Some(match result {
            None => part,
            Some(Column { values, nulls: None }) => return Column { values, nulls: None },
            Some(Column {
                values,
                nulls: Some(valid),
            }) => {
                let mut chosen = spread(values, rows).to_vec();
                let fallback = |row: usize| match &part.values {
                    Numbers::One(value) => *value,
                    Numbers::Many(values) => values[row],
                };
                (!valid.inner())
                    .set_indices()
                    .for_each(|row| chosen[row] = fallback(row));
                let valid = part
                    .nulls
                    .as_ref()
                    .map(|other| NullBuffer::new(valid.inner() | other.inner()));
                Column {
                    values: Numbers::Many(chosen.into()),
                    nulls: valid,
                }
            }
        });
    }
    result.unwrap_or_else(|| Column {
        values: Numbers::One(T::default()),
        nulls: Some(NullBuffer::new_null(rows)),
    })
}

/// The same of truths.
pub(super) fn coalesce_truths(parts: &[Plan], input: &Input<'_>) -> Truth {
    let mut result: Option<Truth> = None;
    for part in parts {
        result = Some(match result {
            None => truth(part, input),
            Some(Truth { yes, no: None }) => return Truth { yes, no: None },
            Some(Truth { yes, no: Some(no) }) => {
                let unknown = !&(&yes | &no);
                let other = truth(part, input);
                let no = &no | &(&unknown & &other.no());
                Truth {
                    yes: &yes | &(&unknown & &other.yes),
                    no: Some(no),
                }
            }
        });
    }
    result.unwrap_or_else(|| Truth::constant(None, input.rows()))
}

/// The value of the first branch whose condition is true.
pub(super) fn choose<T: ArrowNativeType>(
    branches: &[(Plan, Plan)],
    otherwise: &Plan,
    input: &Input<'_>,
    read: impl Fn(&Plan, &Input<'_>) -> Column<T>,
) -> Column<T> {
    let rows = input.rows();
    let Column { values, nulls } = read(otherwise, input);
    let mut chosen = spread(values, rows).to_vec();
    let mut valid = nulls.map_or_else(|| vec![true; rows], |nulls| nulls.iter().collect());
    // The last branch first: an earlier one that is true takes its place.
    for (condition, value) in branches.iter().rev() {
        let Column { values, nulls } = read(value, input);
        for row in truth(condition, input).yes.set_indices() {
            chosen[row] = match &values {
                Numbers::One(value) => *value,
                Numbers::Many(values) => values[row],
            };
            valid[row] = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        }
    }
    Column {
        values: Numbers::Many(chosen.into()),
        nulls: Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0),
    }
}

/// The networks whose addresses a function is true of, if that is all there is to it.
pub(super) fn networks_of(function: Function) -> Option<Vec<Network>> {
    let v4 = |octets: [u8; 4], bits: u8| {
        let mut address = [0; 16];
        (address[10], address[11]) = (0xff, 0xff);
        address[12..].copy_from_slice(&octets);
        Network::new(address, 96 + bits)
    };
    let v6 = |first: [u8; 2], bits: u8| {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&first);
        Network::new(address, bits)
    };
    let mut loopback = [0; 16];
    loopback[15] = 1;
    match function {
        Function::IsPrivate => Some(vec![
            v4([10, 0, 0, 0], 8),
            v4([172, 16, 0, 0], 12),
            v4([192, 168, 0, 0], 16),
            v4([127, 0, 0, 0], 8),
            v4([169, 254, 0, 0], 16),
            Network::new(loopback, 128),
            v6([0xfc, 0], 7),
            v6([0xfe, 0x80], 10),
        ]),
        Function::IsMulticast => Some(vec![
            v4([224, 0, 0, 0], 4),
            v4([255, 255, 255, 255], 32),
            v6([0xff, 0], 8),
        ]),
        _ => None,
    }
}

/// The address columns of a batch.
fn addresses<'b>(column: usize, input: &Input<'b>) -> (&'b [[u8; 16]], Option<&'b NullBuffer>) {
    let array: &FixedSizeBinaryArray = input.batch.column(column).as_fixed_size_binary();
    (array.value_data().as_chunks::<16>().0, array.nulls())
}

/// A comparison of two address columns.
pub(super) fn compare_addresses(op: BinaryOp, left: usize, right: usize, input: &Input<'_>) -> Truth {
    let ((left, left_nulls), (right, right_nulls)) = (addresses(left, input), addresses(right, input));
    let values = BooleanBuffer::collect_bool(input.rows(), |row| {
        let (left, right) = (u128::from_be_bytes(left[row]), u128::from_be_bytes(right[row]));
        holds(op, Some(left.cmp(&right)))
    });
    Truth::new(values, NullBuffer::union(left_nulls, right_nulls).as_ref())
}

/// The lower or the higher of two address columns.
pub(super) fn extreme_address(which: Which, left: usize, right: usize, input: &Input<'_>) -> ArrayRef {
    let ((left, left_nulls), (right, right_nulls)) = (addresses(left, input), addresses(right, input));
    let nulls = NullBuffer::union(left_nulls, right_nulls);
    let mut octets = Vec::with_capacity(input.rows() * 16);
    for (left, right) in left.iter().zip(right) {
        let least = u128::from_be_bytes(*left) <= u128::from_be_bytes(*right);
        octets.extend_from_slice(if least == (which == Which::Least) { left } else { right });
    }
    match FixedSizeBinaryArray::try_new(16, octets.into(), nulls) {
        Ok(array) => Arc::new(array),
        // Sixteen octets for each row make an array; there is nothing to refuse.
        Err(_) => {
            let mut builder = FixedSizeBinaryBuilder::new(16);
            (0..input.rows()).for_each(|_| builder.append_null());
            Arc::new(builder.finish())
        }
    }
}
