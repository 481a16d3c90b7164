//! `order by` and `limit`: the first rows of an order without sorting the rest.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::DataType;

use super::interner::{Rows, id_from};
use crate::expr::column::value_at;
use crate::value::Value;

/// A sort key: its values and the direction. Null comes first in ascending, last in descending order.
pub(crate) type SortKey = (ArrayRef, bool);

/// A sort key's values in a form that compares fast.
struct Sortable {
    values: Comparable,
    descending: bool,
}

enum Comparable {
    /// Numbers by their ranks; null is lowest.
    Ranks(Vec<Option<u64>>),
    /// What is no number.
    Values(Vec<Value>),
}

impl Sortable {
    fn new((array, descending): &SortKey) -> Self {
        fn ranks<T>(array: &ArrayRef) -> Comparable
        where
            T: ArrowPrimitiveType,
            T::Native: Ranked,
        {
            let values = array.as_primitive::<T>().iter();
            Comparable::Ranks(values.map(|value| value.map(Ranked::rank)).collect())
        }
        let values = match array.data_type() {
            DataType::Int32 => ranks::<Int32Type>(array),
            DataType::Int64 => ranks::<Int64Type>(array),
            DataType::Float64 => ranks::<Float64Type>(array),
            _ => Comparable::Values((0..array.len()).map(|row| value_at(array, row)).collect()),
        };
        Self {
            values,
            descending: *descending,
        }
    }

    fn compare(&self, left: usize, right: usize) -> Ordering {
        let order = match &self.values {
            Comparable::Ranks(ranks) => ranks[left].cmp(&ranks[right]),
            Comparable::Values(values) => values[left].cmp(&values[right]),
        };
        if self.descending { order.reverse() } else { order }
    }
}

/// So many leading rows at most are sought by keeping the best so far; more by sorting.
pub(crate) const FEW: usize = 256;

/// A number as a word whose order is the number's.
pub(crate) trait Ranked: Copy {
    fn rank(self) -> u64;
}

const SIGN: u64 = 1 << 63;

impl Ranked for i64 {
    #[inline(always)]
    fn rank(self) -> u64 {
        self.cast_unsigned() ^ SIGN
    }
}

impl Ranked for i32 {
    #[inline(always)]
    fn rank(self) -> u64 {
        i64::from(self).rank()
    }
}

impl Ranked for f64 {
    #[inline(always)]
    fn rank(self) -> u64 {
        // Both zeros are one.
        let bits = (self + 0.0).to_bits();
        if bits & SIGN == 0 { bits | SIGN } else { !bits }
    }
}

/// The few that come first by a number: those offered that may be among them, ties included.
#[derive(Debug)]
pub(crate) struct Best {
    count: usize,
    /// Turns the order round.
    flip: u64,
    /// The ranks of the first, in order; never more than `count`.
    first: Vec<u64>,
    /// What has to be beaten or equalled: the last of the first when there are enough.
    worst: u64,
    offered: Vec<(u32, u64)>,
}

impl Best {
    pub(crate) fn new(count: usize, descending: bool) -> Self {
        Self {
            count,
            flip: if descending { u64::MAX } else { 0 },
            first: Vec::new(),
            worst: u64::MAX,
            offered: Vec::new(),
        }
    }

    /// Whether a value is worth an offer. Few of many are.
    #[inline(always)]
    pub(crate) fn admits(&self, value: impl Ranked) -> bool {
        value.rank() ^ self.flip <= self.worst
    }

    /// Takes a value that is admitted, and whose it is.
    #[inline(never)]
    pub(crate) fn offer(&mut self, value: impl Ranked, whose: u32) {
        self.offer_rank(value.rank() ^ self.flip, whose);
    }

    /// Takes a null: the lowest of all. Only the lowest of integers shares its place.
    pub(crate) fn offer_null(&mut self, whose: u32) {
        if self.flip <= self.worst {
            self.offer_rank(self.flip, whose);
        }
    }

    fn offer_rank(&mut self, rank: u64, whose: u32) {
        self.offered.push((whose, rank));
        let place = self.first.partition_point(|&other| other <= rank);
        self.first.insert(place, rank);
        self.first.truncate(self.count);
        if self.first.len() == self.count {
            self.worst = self.first.last().copied().unwrap_or(0);
        }
        if self.offered.len() >= 4096 && self.offered.len().is_power_of_two() {
            let worst = self.worst;
            self.offered.retain(|(_, rank)| *rank <= worst);
        }
    }

    /// Forgets what was offered but not how good it was, and returns those that are still worth it, in the order of offer.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        let worst = self.worst;
        self.offered
            .drain(..)
            .filter(|(_, rank)| *rank <= worst)
            .map(|(whose, _)| whose)
            .collect()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.first.clear();
        self.offered.clear();
        self.worst = u64::MAX;
    }

    /// Offers the values of the rows between two places of the selection. False, and none is offered, if they are no numbers.
    pub(crate) fn offer_all(&mut self, values: &ArrayRef, rows: &Rows, span: (usize, usize)) -> bool {
        match values.data_type() {
            DataType::Int64 => self.offer_numbers(values.as_primitive::<Int64Type>(), rows, span),
            DataType::Int32 => self.offer_numbers(values.as_primitive::<Int32Type>(), rows, span),
            DataType::Float64 => self.offer_numbers(values.as_primitive::<Float64Type>(), rows, span),
            _ => return false,
        }
        true
    }

    fn offer_numbers<T>(&mut self, array: &PrimitiveArray<T>, rows: &Rows, (from, to): (usize, usize))
    where
        T: ArrowPrimitiveType,
        T::Native: Ranked,
    {
        let values = array.values().as_ref();
        match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => rows.each(from, to, |row| {
                if self.admits(values[row]) {
                    self.offer(values[row], id_from(row));
                }
            }),
            Some(nulls) => rows.each(from, to, |row| {
                if nulls.is_null(row) {
                    self.offer_null(id_from(row));
                } else if self.admits(values[row]) {
                    self.offer(values[row], id_from(row));
                }
            }),
        }
    }
}

/// Rows that may be among the first `count` by the first key: no fewer, and no more than ties demand. Ascending.
pub(crate) fn leading((values, descending): &SortKey, count: usize) -> Vec<usize> {
    let length = values.len();
    if count == 0 {
        return Vec::new();
    }
    let mut best = Best::new(count, *descending);
    if count >= length || count > FEW || !best.offer_all(values, &Rows::All(length), (0, length)) {
        return (0..length).collect();
    }
    best.take().into_iter().map(|row| row as usize).collect()
}

/// The order of the keys' rows; ties by their ranks.
pub(crate) fn sorted(keys: &[SortKey], rank: impl Fn(usize) -> usize) -> Vec<usize> {
    let length = keys.first().map_or(0, |(values, _)| values.len());
    let keys: Vec<Sortable> = keys.iter().map(Sortable::new).collect();
    let mut rows: Vec<usize> = (0..length).collect();
    rows.sort_by(|&left, &right| compare(&keys, left, right).then_with(|| rank(left).cmp(&rank(right))));
    rows
}

/// Whether two rows that follow one another in `rows` are equal by all keys.
pub(crate) fn has_ties(keys: &[SortKey], rows: &[usize]) -> bool {
    let keys: Vec<Sortable> = keys.iter().map(Sortable::new).collect();
    rows.windows(2).any(|pair| compare(&keys, pair[0], pair[1]).is_eq())
}

fn compare(keys: &[Sortable], left: usize, right: usize) -> Ordering {
    keys.iter()
        .map(|key| key.compare(left, right))
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
