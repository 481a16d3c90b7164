//! `order by` and `limit`: the first rows of an order without sorting the rest.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_schema::{DataType, SortOptions};

/// A sort key: its values and the direction. Null comes first in ascending, last in descending order.
pub(crate) type SortKey = (ArrayRef, bool);

/// Compares rows of one array, or a row of the first with a row of the second.
fn comparator((left, descending): &SortKey, right: &ArrayRef) -> Option<DynComparator> {
    let options = SortOptions {
        descending: *descending,
        nulls_first: !descending,
    };
    make_comparator(left, right, options).ok()
}

/// What ascends as the key orders its rows, where it is a number: calls `visit` with each row's.
///
/// Null is the lowest of all. Only the lowest of integers shares its place, and the exact comparison that follows parts them.
fn ascending((values, descending): &SortKey, mut visit: impl FnMut(usize, u64)) -> bool {
    const SIGN: u64 = 1 << 63;
    let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
    let flip = if *descending { u64::MAX } else { 0 };
    let mut each = |row: usize, value: u64| {
        let value = if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            0
        } else {
            value
        };
        visit(row, value ^ flip);
    };
    match values.data_type() {
        DataType::Int64 => {
            for (row, value) in values.as_primitive::<Int64Type>().values().iter().enumerate() {
                each(row, value.cast_unsigned() ^ SIGN);
            }
        }
        DataType::Int32 => {
            for (row, value) in values.as_primitive::<Int32Type>().values().iter().enumerate() {
                each(row, i64::from(*value).cast_unsigned() ^ SIGN);
            }
        }
        DataType::Float64 => {
            for (row, value) in values.as_primitive::<Float64Type>().values().iter().enumerate() {
                let bits = value.to_bits();
                each(row, if bits & SIGN == 0 { bits | SIGN } else { !bits });
            }
        }
        _ => return false,
    }
    true
}

/// So many leading rows at most are sought by keeping the best so far; more by sorting.
const FEW: usize = 256;

/// Rows that may be among the first `count` by the first key: no fewer, and no more than ties demand. Ascending.
pub(crate) fn leading(key: &SortKey, count: usize) -> Vec<usize> {
    let length = key.0.len();
    if count == 0 {
        return Vec::new();
    }
    if count >= length || count > FEW {
        return (0..length).collect();
    }
    // The best so far, sorted; the last is what a row has to beat or equal. Few rows of many do.
    let mut best: Vec<u64> = Vec::with_capacity(count + 1);
    let mut rows: Vec<(usize, u64)> = Vec::new();
    let known = ascending(key, |row, value| {
        let worst = if best.len() < count { u64::MAX } else { best[count - 1] };
        if value > worst {
            return;
        }
        rows.push((row, value));
        let place = best.partition_point(|&other| other <= value);
        best.insert(place, value);
        best.truncate(count);
    });
    if !known {
        return (0..length).collect();
    }
    let worst = best.last().copied().unwrap_or(u64::MAX);
    rows.into_iter()
        .filter(|(_, value)| *value <= worst)
        .map(|(row, _)| row)
        .collect()
}

/// The order of the keys' rows; ties by their ranks.
pub(crate) fn sorted(keys: &[SortKey], rank: impl Fn(usize) -> usize) -> Vec<usize> {
    let length = keys.first().map_or(0, |(values, _)| values.len());
    let comparators: Vec<DynComparator> = keys.iter().filter_map(|key| comparator(key, &key.0)).collect();
    let mut rows: Vec<usize> = (0..length).collect();
    rows.sort_by(|&left, &right| compare(&comparators, left, right).then_with(|| rank(left).cmp(&rank(right))));
    rows
}

/// Whether two rows that follow one another in `rows` are equal by all keys.
pub(crate) fn has_ties(keys: &[SortKey], rows: &[usize]) -> bool {
    let comparators: Vec<DynComparator> = keys.iter().filter_map(|key| comparator(key, &key.0)).collect();
    rows.windows(2)
        .any(|pair| compare(&comparators, pair[0], pair[1]).is_eq())
}

fn compare(comparators: &[DynComparator], left: usize, right: usize) -> Ordering {
    comparators
        .iter()
        .map(|compare| compare(left, right))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn leading_rows_are_those_of_a_full_stable_sort(
            values in proptest::collection::vec(proptest::option::of(-3_i64..4), 1..60),
            descending: bool,
            real: bool,
            count in 1_usize..20,
        ) {
            let array: ArrayRef = if real {
                Arc::new(values.iter().map(|value| value.map(|value| value as f64 / 2.0)).collect::<Float64Array>())
            } else {
                Arc::new(Int64Array::from(values.clone()))
            };
            let key = (array.clone(), descending);
            let all = sorted(std::slice::from_ref(&key), |row| row);
            let leading = leading(&key, count);
            let places: Vec<u64> = leading.iter().map(|&row| row as u64).collect();
            let few = arrow_select::take::take(&array, &arrow_array::UInt64Array::from(places), None).unwrap();
            let few = sorted(&[(few, descending)], |row| row);
            let few: Vec<usize> = few.into_iter().map(|place| leading[place]).take(count).collect();
            prop_assert_eq!(&few[..], &all[..count.min(all.len())]);
        }
    }

    #[test]
    fn nulls_lead_in_ascending_and_trail_in_descending_order() {
        let array: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a")]));
        assert_eq!(sorted(&[(array.clone(), false)], |row| row), [1, 2, 0]);
        assert_eq!(sorted(&[(array, true)], |row| row), [0, 2, 1]);
    }
}
