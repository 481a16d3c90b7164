//! What depends on one dictionary column only: evaluated once for each of its values.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{AnyDictionaryArray, Array, ArrayRef, DictionaryArray};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

use super::{Input, Truth, pack, value_at};
use crate::expr::{Expr, Scope};
use crate::value::Value;

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

pub(super) use with_dictionary;

/// What is known of a condition for the values of a dictionary, as long as batches come with the same one.
///
/// A dictionary may be far longer than a batch (all subnets of a network), and the next batch mostly has the values of the last. So
/// only values that some row has are looked at, and each once.
#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<Known>);

/// A plan that is copied begins to learn anew.
impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Debug, Default)]
struct Known {
    /// Held, so that no other dictionary comes to lie at its place.
    values: Option<ArrayRef>,
    /// By value, and last of null.
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotAsked,
    True,
    False,
    Unknown,
}

impl State {
    fn of(value: &Value) -> Self {
        match value.as_bool() {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Unknown,
        }
    }
}

impl Known {
    /// Forgets what was known of another dictionary.
    fn turn_to(&mut self, values: &ArrayRef) {
        if self.values.as_ref().is_some_and(|known| Arc::ptr_eq(known, values)) {
            return;
        }
        self.states.clear();
        self.states.resize(values.len() + 1, State::NotAsked);
        self.values = Some(Arc::clone(values));
    }
}

impl Memo {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // What a thread that panicked has left is as good: a state is written at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The truth of the condition at each row.
    pub(super) fn truth(&self, column: usize, expr: &Expr, input: &Input<'_>) -> Truth {
        let array = input.batch.column(column);
        let mut known = self.lock();
        with_dictionary!(array, dictionary => known.look_up(dictionary, expr))
    }
}

impl Known {
    fn look_up<K: ArrowDictionaryKeyType>(&mut self, array: &DictionaryArray<K>, expr: &Expr) -> Truth {
        let values = array.values();
        self.turn_to(values);
        let keys = array.keys();
        let mut asked = |place: usize, value: &mut dyn FnMut() -> Value| {
            if let Some(state) = self.states.get_mut(place).filter(|state| **state == State::NotAsked) {
                *state = State::of(&expr.eval(&OneValue(value())));
            }
        };
        let valid = keys.nulls().filter(|nulls| nulls.null_count() > 0);
        for (row, key) in keys.values().iter().enumerate() {
            // Keys at null rows may be anything.
            if valid.is_none_or(|valid| valid.is_valid(row)) {
                let place = key.as_usize();
                asked(place, &mut || value_at(values.as_ref(), place));
            }
        }
        if valid.is_some() {
            asked(values.len(), &mut || Value::Null);
        }
        let at = |key: K::Native| self.states.get(key.as_usize()).copied();
        let null = self.states.last().copied();
        let rows = |wanted: State| {
            let rows = pack(keys.values(), |key| at(key) == Some(wanted));
            match valid {
                None => rows,
                Some(valid) if null == Some(wanted) => &rows | &!valid.inner(),
                Some(valid) => &rows & valid.inner(),
            }
        };
        let yes = rows(State::True);
        let no = self.states.contains(&State::Unknown).then(|| rows(State::False));
        Truth { yes, no }
    }
}

/// The value of an expression for each value of a dictionary, and last for null. Of a dictionary that is longer than its
/// column, only for the values that the column has.
fn dictionary_values(array: &dyn AnyDictionaryArray, expr: &Expr) -> Vec<Value> {
    let values = array.values();
    let wanted = (values.len() > array.keys().len()).then(|| {
        let mut wanted = vec![false; values.len()];
        for key in array.normalized_keys() {
            if let Some(wanted) = wanted.get_mut(key) {
                *wanted = true;
            }
        }
        wanted
    });
    let mut scope = OneValue(Value::Null);
    let mut results = Vec::with_capacity(values.len() + 1);
    for place in 0..values.len() {
        if wanted.as_ref().is_some_and(|wanted| !wanted[place]) {
            results.push(Value::Bool(false));
            continue;
        }
        scope.0 = value_at(values.as_ref(), place);
        results.push(expr.eval(&scope));
    }
    scope.0 = Value::Null;
    results.push(expr.eval(&scope));
    results
}

/// The value of an expression for each value of a dictionary, and last for null; and the place of each row's.
pub(super) fn by_dictionary(column: usize, expr: &Expr, input: &Input<'_>) -> (Vec<Value>, Vec<Option<usize>>) {
    let array = input.batch.column(column);
    let results = dictionary_values(array.as_any_dictionary(), expr);
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
