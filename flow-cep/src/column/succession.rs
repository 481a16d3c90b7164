//! Pairs of an event and the next of its key: `every a=X -> b=X(key = a.key) where timer:within(T)`.
//!
//! As each event that could be a later half of a pair ends the waiting of the one before it, a key waits with one event at
//! most, of which only the numbers that the statement reads are kept. What becomes of the pairs is worked out by column.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, SchemaRef};
use serde::{Deserialize, Serialize};

use super::deliver::delivered;
use super::groups::from_word;
use super::index::{Index, Mapping};
use super::interner::{NONE, Rows};
use super::keys::{KeyId, Keys, NULL};
use super::numbers::{Numbers, Values};
use super::packed;
use super::scalar::Scalar;
use super::stage::Stage;

/// No event of the key waits.
const NEVER: i64 = i64::MIN;

/// How a statement over pairs is put together; what it refers to has been made in the runtime.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The statement, by its position in the runtime.
    pub(crate) statement: usize,
    /// Filters of the earlier and of the later event.
    pub(crate) filters: (usize, usize),
    /// The key and the atoms that it is made of.
    pub(crate) key: (KeyId, Vec<KeyId>),
    pub(crate) within_ms: i64,
    /// Numbers of the earlier event, among those of the inputs, and their types.
    pub(crate) earlier: Vec<(usize, DataType)>,
    /// Inputs of the later event and their types.
    pub(crate) later: Vec<(usize, DataType)>,
    /// Over the columns of the earlier and then of the later event.
    pub(crate) condition: Option<&'a Scalar>,
    pub(crate) select: &'a [Scalar],
    /// The rows' type.
    pub(crate) schema: &'a SchemaRef,
}

/// A statement over pairs.
#[derive(Debug)]
pub(crate) struct Succession {
    pub(crate) statement: usize,
    pub(crate) filters: (usize, usize),
    pub(crate) key: KeyId,
    atoms: Vec<KeyId>,
    within_ms: i64,
    pub(crate) earlier: Vec<(usize, DataType)>,
    pub(crate) later: Vec<(usize, DataType)>,
    condition: Option<Stage>,
    select: Stage,
    schema: SchemaRef,
    index: Index,
    /// By key: when the event came that waits.
    since: Vec<i64>,
    /// By key: its numbers, in bits, and which are null.
    words: Vec<i64>,
    nulls: Vec<bool>,
    /// When those that wait in vain were looked for last.
    swept_ms: i64,
    slots: Vec<u32>,
    ended: Vec<u32>,
}

/// What a checkpoint keeps of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SuccessionState {
    #[serde(with = "packed")]
    ids: Vec<u32>,
    #[serde(with = "packed")]
    free: Vec<u32>,
    #[serde(with = "packed")]
    since: Vec<i64>,
    #[serde(with = "packed")]
    words: Vec<i64>,
    #[serde(with = "packed")]
    nulls: Vec<bool>,
    swept_ms: i64,
}

/// Pairs that a slice has brought.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// By pair and number of the earlier event.
    words: Vec<i64>,
    nulls: Vec<bool>,
    /// Rows of the later events.
    rows: Vec<u32>,
}

/// A row that a statement gives, and where in the slice it came about.
#[derive(Debug)]
pub(crate) struct Paired {
    pub(crate) row: usize,
    pub(crate) values: RecordBatch,
}

impl Succession {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let types: Vec<DataType> = parts
            .earlier
            .iter()
            .chain(&parts.later)
            .map(|(_, data_type)| data_type.clone())
            .collect();
        Self {
            statement: parts.statement,
            filters: parts.filters,
            key: parts.key.0,
            atoms: parts.key.1,
            within_ms: parts.within_ms,
            earlier: parts.earlier,
            later: parts.later,
            condition: parts
                .condition
                .map(|condition| Stage::new(std::slice::from_ref(condition), &types)),
            select: Stage::new(parts.select, &types),
            schema: Arc::clone(parts.schema),
            index: Index::new(Some(parts.key.0), Mapping::Own),
            since: Vec::new(),
            words: Vec::new(),
            nulls: Vec::new(),
            swept_ms: i64::MIN,
            slots: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Keys of which an event waits.
    pub(crate) const fn len(&self) -> usize {
        self.index.len()
    }

    /// Takes the rows of a slice that may be the later half of a pair, `starts` telling which are an earlier one (none for
    /// all). Returns the pairs for [`Succession::paired`].
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        starts: Option<&BooleanBuffer>,
        numbers: &[&Numbers],
    ) -> Pairs {
        let known;
        let rows = if self.atoms.iter().any(|&atom| has_null(keys.ids(atom), rows)) {
            let keyed = |row: &u32| self.atoms.iter().all(|&atom| keys.ids(atom)[*row as usize] != NULL);
            let all = (0..rows.len()).filter_map(|place| u32::try_from(rows.row(place)).ok());
            known = Rows::Some(all.filter(keyed).collect());
            &known
        } else {
            rows
        };
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        self.index.enter(keys, rows, (0, rows.len()), None, &mut slots);
        let width = numbers.len();
        self.since.resize(self.index.bound(), NEVER);
        self.words.resize(self.index.bound() * width, 0);
        self.nulls.resize(self.index.bound() * width, false);
        let mut pairs = Pairs::default();
        for (place, &slot) in slots.iter().enumerate().filter(|&(_, &slot)| slot != NONE) {
            let row = rows.row(place);
            let slot_at = slot as usize;
            let since = self.since[slot_at];
            let kept = slot_at * width..(slot_at + 1) * width;
            if since != NEVER && times[row] < since.saturating_add(self.within_ms) {
                pairs.words.extend_from_slice(&self.words[kept.clone()]);
                pairs.nulls.extend_from_slice(&self.nulls[kept.clone()]);
                pairs.rows.push(u32::try_from(row).unwrap_or(NONE));
            }
            if starts.is_none_or(|starts| starts.value(row)) {
                self.since[slot_at] = times[row];
                let kept = self.words[kept.clone()].iter_mut().zip(&mut self.nulls[kept]);
                for ((word, null), numbers) in kept.zip(numbers) {
                    *null = numbers.is_null(row);
                    *word = match &numbers.values {
                        Values::Integer(values) => values[row],
                        Values::Double(values) => values[row].to_bits().cast_signed(),
                    };
                }
            } else {
                self.since[slot_at] = NEVER;
                self.ended.push(slot);
            }
        }
        self.slots = slots;
        if let Some(&now_ms) = times.last() {
            self.sweep(now_ms);
        }
        self.settle(keys);
        pairs
    }

    /// The rows that the statement gives for pairs; `input` gives the inputs by number.
    pub(crate) fn paired(&self, pairs: &Pairs, times: &[i64], input: &mut dyn FnMut(usize) -> ArrayRef) -> Vec<Paired> {
        if pairs.rows.is_empty() {
            return Vec::new();
        }
        self.select(pairs, times, input).unwrap_or_default()
    }

    /// Gives up those that wait in vain. Rarely, as it looks at all.
    fn sweep(&mut self, now_ms: i64) {
        if now_ms < self.swept_ms.saturating_add(self.within_ms / 4) {
            return;
        }
        self.swept_ms = now_ms;
        for (slot, since) in (0..).zip(&mut self.since) {
            if *since != NEVER && since.saturating_add(self.within_ms) <= now_ms {
                *since = NEVER;
                self.ended.push(slot);
            }
        }
    }

    /// Gives back the keys of which no event waits.
    fn settle(&mut self, keys: &mut Keys) {
        for slot in self.ended.drain(..) {
            // An event may have come since, and a key may have ended twice.
            if self.since[slot as usize] == NEVER && self.index.id(slot) != NONE {
                self.index.leave(slot);
            }
        }
        self.index.settle(keys);
    }

    /// The rows of the pairs that meet the condition; none at all only if columns do not fit, which they do.
    fn select(&self, pairs: &Pairs, times: &[i64], input: &mut dyn FnMut(usize) -> ArrayRef) -> Option<Vec<Paired>> {
        let all: Vec<u32> = (0..).take(pairs.rows.len()).collect();
        let met: Vec<u32> = match &self.condition {
            None => all,
            Some(condition) => {
                let batch = self.batch(condition, pairs, &all, input)?;
                let mask = condition.scalars[0].mask(&batch, &pair_times(pairs, &all, times));
                all.into_iter().filter(|&pair| mask.value(pair as usize)).collect()
            }
        };
        if met.is_empty() {
            return Some(Vec::new());
        }
        let batch = self.batch(&self.select, pairs, &met, input)?;
        let times = pair_times(pairs, &met, times);
        let arrays = self.select.scalars.iter().zip(self.schema.fields());
        let arrays: Option<Vec<ArrayRef>> = arrays
            .map(|(scalar, field)| {
                let array = scalar.evaluate(&batch, &times);
                delivered(array, field.data_type())
            })
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays?).ok()?;
        let rows = met.iter().enumerate().map(|(at, &pair)| Paired {
            row: pairs.rows[pair as usize] as usize,
            values: batch.slice(at, 1),
        });
        Some(rows.collect())
    }

    /// What a stage reads of some of the pairs.
    fn batch(
        &self,
        stage: &Stage,
        pairs: &Pairs,
        some: &[u32],
        input: &mut dyn FnMut(usize) -> ArrayRef,
    ) -> Option<RecordBatch> {
        let columns = stage.columns.iter();
        let columns: Option<Vec<ArrayRef>> = columns.map(|&column| self.column(column, pairs, some, input)).collect();
        stage.batch(some.len(), columns?)
    }

    /// A column of some of the pairs.
    fn column(
        &self,
        column: usize,
        pairs: &Pairs,
        some: &[u32],
        input: &mut dyn FnMut(usize) -> ArrayRef,
    ) -> Option<ArrayRef> {
        let width = self.earlier.len();
        if let Some((of, _)) = column.checked_sub(width).and_then(|later| self.later.get(later)) {
            let rows: UInt32Array = some.iter().map(|&pair| pairs.rows[pair as usize]).collect();
            return arrow_select::take::take(&input(*of), &rows, None).ok();
        }
        let (_, data_type) = self.earlier.get(column)?;
        let words = some.iter().map(|&pair| pairs.words[pair as usize * width + column]);
        let nulls: NullBuffer = some
            .iter()
            .map(|&pair| !pairs.nulls[pair as usize * width + column])
            .collect();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Some(match data_type {
            DataType::Float64 => Arc::new(Float64Array::new(words.map(from_word).collect(), nulls)),
            DataType::Int32 => {
                let narrow = |word| i32::try_from(word).unwrap_or_default();
                Arc::new(Int32Array::new(words.map(narrow).collect(), nulls))
            }
            DataType::Boolean => Arc::new(BooleanArray::new(words.map(|word| word != 0).collect(), nulls)),
            _ => Arc::new(Int64Array::new(words.collect(), nulls)),
        })
    }

    pub(crate) fn save(&self) -> SuccessionState {
        let (ids, free) = self.index.parts();
        SuccessionState {
            ids: ids.to_vec(),
            free: free.to_vec(),
            since: self.since.clone(),
            words: self.words.clone(),
            nulls: self.nulls.clone(),
            swept_ms: self.swept_ms,
        }
    }

    /// Takes up what was saved of the same statement. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, state: SuccessionState) -> Option<()> {
        let bound = state.ids.len();
        let width = self.earlier.len();
        let fits = state.since.len() == bound
            && state.words.len() == bound * width
            && state.nulls.len() == bound * width
            && state
                .ids
                .iter()
                .zip(&state.since)
                .all(|(&id, &since)| (id == NONE) == (since == NEVER));
        if !fits {
            return None;
        }
        let counts: Vec<i64> = state.ids.iter().map(|&id| i64::from(id != NONE)).collect();
        self.index.restore(keys, (state.ids, state.free), counts.into_iter())?;
        (self.since, self.words, self.nulls) = (state.since, state.words, state.nulls);
        self.swept_ms = state.swept_ms;
        Some(())
    }
}

/// Whether a row's id is that of null.
fn has_null(ids: &[u32], rows: &Rows) -> bool {
    match rows {
        Rows::All(length) => ids[..*length].contains(&NULL),
        Rows::Some(rows) => rows.iter().any(|&row| ids[row as usize] == NULL),
    }
}

/// The engine's time at the later event of each pair.
fn pair_times(pairs: &Pairs, some: &[u32], times: &[i64]) -> Vec<i64> {
    some.iter()
        .map(|&pair| times[pairs.rows[pair as usize] as usize])
        .collect()
}
