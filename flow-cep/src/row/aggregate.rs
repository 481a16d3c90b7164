//! The state of aggregate functions over the rows of a window, kept up row by row as they enter and leave.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::expr::{Aggregate, AggregateFunction, Expr, Scope};
use crate::row::KeyMap;
use crate::row::distinct::Registers;
use crate::value::{Type, Value};

/// The states of a statement's aggregates for one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Rows that entered and have not left.
    pub(crate) rows: u64,
    states: Box<[State]>,
}

/// One aggregate's state: the function, with the counts of distinct values before it if so asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    seen: Option<KeyMap<Value, u64>>,
    function: Accumulator,
}

/// What a function remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Accumulator {
    Count(i64),
    SumLong {
        sum: i64,
        count: u64,
    },
    SumDouble {
        sum: f64,
        count: u64,
    },
    AvgLong {
        sum: i128,
        count: u64,
    },
    AvgDouble {
        sum: f64,
        count: u64,
    },
    Extreme {
        values: BTreeMap<Value, u64>,
    },
    Ever {
        best: Value,
    },
    Stddev {
        count: u64,
        mean: f64,
        squares: f64,
    },
    Median(Median),
    Avedev {
        values: BTreeMap<OrderedDouble, u64>,
        count: u64,
        sum: f64,
    },
    Arrival {
        entries: VecDeque<(u64, Value)>,
    },
    Nth {
        /// A ring of the values that came last, in which the place to be written next holds the result.
        ring: Vec<Value>,
        next: usize,
        count: u64,
    },
    FirstEver {
        value: Option<Value>,
    },
    LastEver {
        value: Value,
    },
    Best {
        entries: BTreeMap<(Value, u64), Value>,
    },
    BestEver {
        best: Option<(Value, Value)>,
    },
    Leaving(bool),
    Rate {
        times: VecDeque<i64>,
        left: bool,
        span_ms: i64,
    },
    RateOf {
        /// Time of the newest row, and of the one that left last.
        newest: i64,
        left: Option<i64>,
        sum: f64,
    },
    Approximate(Registers),
}

/// Doubles by `total_cmp`, as keys.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OrderedDouble(f64);

impl PartialEq for OrderedDouble {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for OrderedDouble {}
impl PartialOrd for OrderedDouble {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for OrderedDouble {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The lower and the upper half of the values, equal in size or the lower one larger by one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Median {
    low: BTreeMap<OrderedDouble, u64>,
    high: BTreeMap<OrderedDouble, u64>,
    low_count: u64,
    high_count: u64,
}

fn put<K: Ord>(map: &mut BTreeMap<K, u64>, key: K) {
    *map.entry(key).or_insert(0) += 1;
}

/// Takes one of a key's occurrences; false if there was none.
fn take<K: Ord>(map: &mut BTreeMap<K, u64>, key: &K) -> bool {
    match map.get_mut(key) {
        Some(count) if *count > 1 => {
            *count -= 1;
            true
        }
        Some(_) => map.remove(key).is_some(),
        None => false,
    }
}

impl Median {
    fn enter(&mut self, value: f64) {
        let value = OrderedDouble(value);
        if self.low.last_key_value().is_none_or(|(top, _)| value <= *top) {
            put(&mut self.low, value);
            self.low_count += 1;
        } else {
            put(&mut self.high, value);
            self.high_count += 1;
        }
        self.balance();
    }

    fn leave(&mut self, value: f64) {
        let value = OrderedDouble(value);
        if take(&mut self.low, &value) {
            self.low_count -= 1;
        } else if take(&mut self.high, &value) {
            self.high_count -= 1;
        }
        self.balance();
    }

    fn balance(&mut self) {
        if self.low_count > self.high_count + 1 {
            if let Some((&top, _)) = self.low.last_key_value() {
                take(&mut self.low, &top);
                put(&mut self.high, top);
                self.low_count -= 1;
                self.high_count += 1;
            }
        } else if self.high_count > self.low_count
            && let Some((&bottom, _)) = self.high.first_key_value()
        {
            take(&mut self.high, &bottom);
            put(&mut self.low, bottom);
            self.high_count -= 1;
            self.low_count += 1;
        }
    }

    fn value(&self) -> Value {
        match (self.low.last_key_value(), self.high.first_key_value()) {
            (Some((low, _)), Some((high, _))) if self.low_count == self.high_count => {
                Value::Double(f64::midpoint(low.0, high.0))
            }
            (Some((low, _)), _) => Value::Double(low.0),
            _ => Value::Null,
        }
    }
}

/// What enters or leaves: the row's number, the time, and whether it enters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Movement {
    /// The row.
    pub(crate) row: u64,
    /// The engine's time.
    pub(crate) now_ms: i64,
}

impl Accumulator {
    fn new(aggregate: &Aggregate) -> Self {
        use AggregateFunction as F;
        let integer = value_of(aggregate).is_some_and(|argument| argument.of.is_integer());
        match aggregate.function {
            F::Count | F::CountEver => Self::Count(0),
            F::Sum if integer || aggregate.of == Type::Long => Self::SumLong { sum: 0, count: 0 },
            F::Sum => Self::SumDouble { sum: 0.0, count: 0 },
            F::Avg if integer => Self::AvgLong { sum: 0, count: 0 },
            F::Avg => Self::AvgDouble { sum: 0.0, count: 0 },
            F::Min | F::Max => Self::Extreme {
                values: BTreeMap::new(),
            },
            F::MinEver | F::MaxEver => Self::Ever { best: Value::Null },
            F::Stddev => Self::Stddev {
                count: 0,
                mean: 0.0,
                squares: 0.0,
            },
            F::Median => Self::Median(Median::default()),
            F::Avedev => Self::Avedev {
                values: BTreeMap::new(),
                count: 0,
                sum: 0.0,
            },
            F::First | F::Last | F::Window => Self::Arrival {
                entries: VecDeque::new(),
            },
            F::Nth => Self::Nth {
                ring: Vec::new(),
                next: 0,
                count: 0,
            },
            F::MinBy | F::MaxBy => Self::Best {
                entries: BTreeMap::new(),
            },
            F::MinByEver | F::MaxByEver => Self::BestEver { best: None },
            F::FirstEver => Self::FirstEver { value: None },
            F::LastEver => Self::LastEver { value: Value::Null },
            F::Leaving => Self::Leaving(false),
            F::Rate if !rate_span(aggregate) => Self::RateOf {
                newest: 0,
                left: None,
                sum: 0.0,
            },
            F::Rate => Self::Rate {
                times: VecDeque::new(),
                left: false,
                span_ms: 0,
            },
            F::CountDistinctApprox => Self::Approximate(Registers::default()),
        }
    }
}

/// Whether `rate` has a span of seconds, and not a time stamp of the rows.
fn rate_span(aggregate: &Aggregate) -> bool {
    matches!(aggregate.arguments.as_slice(), [only] if crate::row::visit::streams_of(only).is_empty())
}

/// The time stamp of `rate`, and the amount, which is 1 if none is given.
fn rate_arguments(aggregate: &Aggregate, scope: &dyn Scope) -> (Option<i64>, Option<f64>) {
    let time = aggregate.arguments.first().and_then(|time| time.eval(scope).as_long());
    let amount = match aggregate.arguments.get(1) {
        Some(amount) => amount.eval(scope).as_double(),
        None => Some(1.0),
    };
    (time, amount)
}

/// What is aggregated, among the arguments.
fn value_of(aggregate: &Aggregate) -> Option<&Expr> {
    match aggregate.function {
        AggregateFunction::MinBy
        | AggregateFunction::MaxBy
        | AggregateFunction::MinByEver
        | AggregateFunction::MaxByEver
        | AggregateFunction::Rate => aggregate.arguments.last(),
        _ => aggregate.arguments.first(),
    }
}

/// How many values `nth` keeps: one more than its index, which is constant.
fn ring_size(aggregate: &Aggregate, scope: &dyn Scope) -> usize {
    let index = aggregate.arguments.get(1).and_then(|index| index.eval(scope).as_long());
    index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0) + 1
}

/// The keys of `maxby`: one value, or several as a list.
fn key_of(keys: &[Expr], scope: &dyn Scope) -> Value {
    match keys {
        [key] => key.eval(scope),
        keys => Value::List(keys.iter().map(|key| key.eval(scope)).collect()),
    }
}

impl State {
    fn new(aggregate: &Aggregate) -> Self {
        Self {
            seen: aggregate.distinct.then(KeyMap::default),
            function: Accumulator::new(aggregate),
        }
    }

    fn enter(&mut self, aggregate: &Aggregate, movement: Movement, scope: &dyn Scope) {
        if aggregate
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.eval(scope).is_true())
        {
            return;
        }
        let value = match value_of(aggregate) {
            None => Value::Bool(true),
            Some(argument) => argument.eval(scope),
        };
        if let Some(seen) = &mut self.seen {
            if value.is_null() {
                return;
            }
            let count = seen.entry(value.clone()).or_insert(0);
            *count += 1;
            if *count > 1 {
                return;
            }
        }
        match &mut self.function {
            Accumulator::Count(count) => {
                if !value.is_null() {
                    *count += 1;
                }
            }
            Accumulator::SumLong { sum, count } => {
                if let Some(value) = value.as_long() {
                    *sum = sum.wrapping_add(value);
                    *count += 1;
                }
            }
            Accumulator::AvgLong { sum, count } => {
                if let Some(value) = value.as_long() {
                    *sum += i128::from(value);
                    *count += 1;
                }
            }
            Accumulator::SumDouble { sum, count } | Accumulator::AvgDouble { sum, count } => {
                if let Some(value) = value.as_double() {
                    *sum += value;
                    *count += 1;
                }
            }
            Accumulator::Extreme { values } => {
                if !value.is_null() {
                    put(values, value);
                }
            }
            Accumulator::Ever { best } => {
                let better = match aggregate.function {
                    AggregateFunction::MinEver => value < *best,
                    _ => value > *best,
                };
                if !value.is_null() && (best.is_null() || better) {
                    *best = value;
                }
            }
            Accumulator::Stddev { count, mean, squares } => {
                if let Some(value) = value.as_double() {
                    *count += 1;
                    let before = *mean;
                    *mean += (value - before) / *count as f64;
                    *squares += (value - before) * (value - *mean);
                }
            }
            Accumulator::Median(median) => {
                if let Some(value) = value.as_double() {
                    median.enter(value);
                }
            }
            Accumulator::Avedev { values, count, sum } => {
                if let Some(value) = value.as_double() {
                    put(values, OrderedDouble(value));
                    *count += 1;
                    *sum += value;
                }
            }
            Accumulator::Arrival { entries } => {
                entries.push_back((movement.row, value));
            }
            Accumulator::Nth { ring, next, count } => {
                if !value.is_null() {
                    if ring.is_empty() {
                        ring.resize(ring_size(aggregate, scope), Value::Null);
                    }
                    ring[*next] = value;
                    *next = (*next + 1) % ring.len();
                    *count += 1;
                }
            }
            Accumulator::FirstEver { value: first } => {
                if !value.is_null() {
                    first.get_or_insert(value);
                }
            }
            Accumulator::LastEver { value: last } => {
                if !value.is_null() {
                    *last = value;
                }
            }
            Accumulator::Best { entries } => {
                let keys = aggregate.arguments.split_last().map_or(&[][..], |(_, keys)| keys);
                entries.insert((key_of(keys, scope), movement.row), value);
            }
            Accumulator::BestEver { best } => {
                let keys = aggregate.arguments.split_last().map_or(&[][..], |(_, keys)| keys);
                let key = key_of(keys, scope);
                // A null key counts as none: whatever comes replaces it.
                let better = best.as_ref().is_none_or(|(old, _)| {
                    old.is_null()
                        || match aggregate.function {
                            AggregateFunction::MinByEver => key < *old,
                            _ => key > *old,
                        }
                });
                if better {
                    *best = Some((key, value));
                }
            }
            Accumulator::Leaving(_) => {}
            Accumulator::Rate { times, left, span_ms } => {
                // The span is a constant: the one argument, in seconds.
                if let Some(seconds) = value.as_double() {
                    #[expect(clippy::cast_possible_truncation, reason = "the conversion saturates")]
                    let span = (seconds * 1000.0) as i64;
                    *span_ms = span;
                }
                times.push_back(movement.now_ms);
                while times.front().is_some_and(|first| *first + *span_ms <= movement.now_ms) {
                    times.pop_front();
                    *left = true;
                }
            }
            Accumulator::RateOf { newest, sum, .. } => {
                let (time, amount) = rate_arguments(aggregate, scope);
                if let (Some(time), Some(amount)) = (time, amount) {
                    *newest = time;
                    *sum += amount;
                }
            }
            Accumulator::Approximate(registers) => {
                if !value.is_null() {
                    registers.add(&value);
                }
            }
        }
    }

    fn leave(&mut self, aggregate: &Aggregate, movement: Movement, scope: &dyn Scope) {
        if let Accumulator::Leaving(left) = &mut self.function {
            *left = true;
            return;
        }
        if aggregate
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.eval(scope).is_true())
        {
            return;
        }
        let value = match value_of(aggregate) {
            None => Value::Bool(true),
            Some(argument) => argument.eval(scope),
        };
        if let Some(seen) = &mut self.seen {
            match seen.get_mut(&value) {
                Some(count) if *count > 1 => {
                    *count -= 1;
                    return;
                }
                Some(_) => {
                    seen.swap_remove(&value);
                }
                None => return,
            }
        }
        match &mut self.function {
            Accumulator::Count(count) => {
                if !value.is_null() && aggregate.function == AggregateFunction::Count {
                    *count -= 1;
                }
            }
            Accumulator::SumLong { sum, count } => {
                if let Some(value) = value.as_long() {
                    *sum = sum.wrapping_sub(value);
                    *count = count.saturating_sub(1);
                }
            }
            Accumulator::AvgLong { sum, count } => {
                if let Some(value) = value.as_long() {
                    *sum -= i128::from(value);
                    *count = count.saturating_sub(1);
                }
            }
            Accumulator::SumDouble { sum, count } | Accumulator::AvgDouble { sum, count } => {
                if let Some(value) = value.as_double() {
                    *count = count.saturating_sub(1);
                    // With the last row goes what rounding has left behind.
                    *sum = if *count == 0 { 0.0 } else { *sum - value };
                }
            }
            Accumulator::Extreme { values } => {
                take(values, &value);
            }
            Accumulator::Stddev { count, mean, squares } => {
                if let Some(value) = value.as_double() {
                    if *count <= 1 {
                        (*count, *mean, *squares) = (0, 0.0, 0.0);
                    } else {
                        *count -= 1;
                        let before = *mean;
                        *mean -= (value - before) / *count as f64;
                        *squares -= (value - before) * (value - *mean);
                    }
                }
            }
            Accumulator::Median(median) => {
                if let Some(value) = value.as_double() {
                    median.leave(value);
                }
            }
            Accumulator::Avedev { values, count, sum } => {
                if let Some(value) = value.as_double()
                    && take(values, &OrderedDouble(value))
                {
                    *count -= 1;
                    *sum = if *count == 0 { 0.0 } else { *sum - value };
                }
            }
            Accumulator::Arrival { entries } => {
                // Rows mostly leave in the order in which they came.
                if entries.front().is_some_and(|(row, _)| *row == movement.row) {
                    entries.pop_front();
                } else if let Some(at) = entries.iter().position(|(row, _)| *row == movement.row) {
                    entries.remove(at);
                }
            }
            // As Esper does it: the oldest goes, whichever leaves, and not before there are fewer than the ring holds.
            Accumulator::Nth { ring, next, count } => {
                if !value.is_null() && *count > 0 {
                    *count -= 1;
                    let missing = (ring.len() as u64).saturating_sub(*count);
                    if let Ok(missing @ 1..) = usize::try_from(missing) {
                        let at = (*next + missing - 1) % ring.len();
                        ring[at] = Value::Null;
                    }
                }
            }
            Accumulator::Best { entries } => {
                let keys = aggregate.arguments.split_last().map_or(&[][..], |(_, keys)| keys);
                entries.remove(&(key_of(keys, scope), movement.row));
            }
            Accumulator::RateOf { left, sum, .. } => {
                let (time, amount) = rate_arguments(aggregate, scope);
                if let (Some(time), Some(amount)) = (time, amount) {
                    *left = Some(time);
                    *sum -= amount;
                }
            }
            Accumulator::Ever { .. }
            | Accumulator::FirstEver { .. }
            | Accumulator::LastEver { .. }
            | Accumulator::BestEver { .. }
            | Accumulator::Leaving(_)
            | Accumulator::Rate { .. }
            | Accumulator::Approximate(_) => {}
        }
    }

    fn value(&self, aggregate: &Aggregate, scope: Option<&dyn Scope>) -> Value {
        match &self.function {
            Accumulator::Count(count) => Value::Long(*count),
            Accumulator::SumLong { count: 0, .. }
            | Accumulator::SumDouble { count: 0, .. }
            | Accumulator::AvgLong { count: 0, .. }
            | Accumulator::AvgDouble { count: 0, .. } => Value::Null,
            Accumulator::SumLong { sum, .. } => Value::Long(*sum),
            Accumulator::SumDouble { sum, .. } => Value::Double(*sum),
            Accumulator::AvgLong { sum, count } => Value::Double(*sum as f64 / *count as f64),
            Accumulator::AvgDouble { sum, count } => Value::Double(*sum / *count as f64),
            Accumulator::Extreme { values } => {
                let entry = match aggregate.function {
                    AggregateFunction::Min => values.first_key_value(),
                    _ => values.last_key_value(),
                };
                entry.map_or(Value::Null, |(value, _)| value.clone())
            }
            Accumulator::Ever { best } => best.clone(),
            Accumulator::Stddev { count, squares, .. } => {
                if *count < 2 {
                    Value::Null
                } else {
                    Value::Double((*squares / (*count - 1) as f64).sqrt())
                }
            }
            Accumulator::Median(median) => median.value(),
            Accumulator::Avedev { values, count, sum } => {
                if *count == 0 {
                    return Value::Null;
                }
                let mean = *sum / *count as f64;
                let total: f64 = values
                    .iter()
                    .map(|(value, times)| (value.0 - mean).abs() * *times as f64)
                    .sum();
                Value::Double(total / *count as f64)
            }
            Accumulator::Arrival { entries } => {
                let at = match (aggregate.arguments.get(1), scope) {
                    (Some(at), Some(scope)) => at.eval(scope).as_long().and_then(|at| usize::try_from(at).ok()),
                    _ => Some(0),
                };
                let entry = match (aggregate.function, at) {
                    (AggregateFunction::Window, _) if entries.is_empty() => return Value::Null,
                    (AggregateFunction::Window, _) => {
                        return Value::List(entries.iter().map(|(_, value)| value.clone()).collect());
                    }
                    (AggregateFunction::First, Some(at)) => entries.get(at),
                    (_, Some(at)) => entries.iter().rev().nth(at),
                    (_, None) => None,
                };
                entry.map_or(Value::Null, |(_, value)| value.clone())
            }
            Accumulator::Nth { ring, next, .. } => ring.get(*next).cloned().unwrap_or_default(),
            Accumulator::FirstEver { value } => value.clone().unwrap_or_default(),
            Accumulator::LastEver { value } => value.clone(),
            Accumulator::Best { entries } => match aggregate.function {
                AggregateFunction::MinBy => entries
                    .first_key_value()
                    .map_or(Value::Null, |(_, value)| value.clone()),
                _ => {
                    // Of equal keys the first that came.
                    let Some(((key, _), _)) = entries.last_key_value() else {
                        return Value::Null;
                    };
                    entries
                        .range((key.clone(), 0)..)
                        .next()
                        .map_or(Value::Null, |(_, value)| value.clone())
                }
            },
            Accumulator::BestEver { best } => best.as_ref().map_or(Value::Null, |(_, value)| value.clone()),
            Accumulator::Leaving(left) => Value::Bool(*left),
            Accumulator::Rate { times, left, span_ms } => {
                if !left || *span_ms <= 0 {
                    return Value::Null;
                }
                Value::Double(times.len() as f64 * 1000.0 / *span_ms as f64)
            }
            Accumulator::RateOf { newest, left, sum } => match left {
                Some(left) => Value::Double(*sum * 1000.0 / (newest - left) as f64),
                None => Value::Null,
            },
            Accumulator::Approximate(registers) => Value::Long(registers.estimate()),
        }
    }
}

impl Group {
    /// A group without rows.
    pub(crate) fn new(aggregates: &[Aggregate]) -> Self {
        Self {
            rows: 0,
            states: aggregates.iter().map(State::new).collect(),
        }
    }

    /// A row enters.
    pub(crate) fn enter(&mut self, aggregates: &[Aggregate], movement: Movement, scope: &dyn Scope) {
        self.rows += 1;
        for (state, aggregate) in self.states.iter_mut().zip(aggregates) {
            state.enter(aggregate, movement, scope);
        }
    }

    /// A row enters one aggregate only.
    pub(crate) fn enter_one(&mut self, aggregates: &[Aggregate], slot: usize, movement: Movement, scope: &dyn Scope) {
        if let (Some(state), Some(aggregate)) = (self.states.get_mut(slot), aggregates.get(slot)) {
            state.enter(aggregate, movement, scope);
        }
    }

    /// A row enters or leaves one place, by an aggregate of a statement that feeds it.
    pub(crate) fn move_one(
        &mut self,
        place: usize,
        aggregate: &Aggregate,
        movement: Movement,
        scope: &dyn Scope,
        entering: bool,
    ) {
        if let Some(state) = self.states.get_mut(place) {
            if entering {
                state.enter(aggregate, movement, scope);
            } else {
                state.leave(aggregate, movement, scope);
            }
        }
    }

    /// A row leaves.
    pub(crate) fn leave(&mut self, aggregates: &[Aggregate], movement: Movement, scope: &dyn Scope) {
        self.rows = self.rows.saturating_sub(1);
        for (state, aggregate) in self.states.iter_mut().zip(aggregates) {
            state.leave(aggregate, movement, scope);
        }
    }

    /// The value of one aggregate.
    pub(crate) fn value(&self, aggregates: &[Aggregate], slot: usize, scope: Option<&dyn Scope>) -> Value {
        match (self.states.get(slot), aggregates.get(slot)) {
            (Some(state), Some(aggregate)) => state.value(aggregate, scope),
            _ => Value::Null,
        }
    }
}
