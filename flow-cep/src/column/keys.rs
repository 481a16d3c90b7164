//! Keys: what rows are grouped and counted by, as dense ids that all statements of a stream share.
//!
//! A key is an expression (an *atom*) or a pair of keys; a key of three columns is a pair of a pair and an atom. An atom's
//! ids start after those of null and, for integers, of the small values, which need no table.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    AnyDictionaryArray, Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    StringArray,
};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use super::interner::{Ids, Interner, Marks, NONE, Rows, for_each_row, id_from};
use super::packed;
use super::text::TextInterner;

/// Position of a key in [`Keys`].
pub(crate) type KeyId = usize;

/// Id of null in every atom.
pub(crate) const NULL: u32 = 0;

/// Integers from 0 to this number less one have ids of their own: ports, protocols, flags and such are never hashed.
const DIRECT: u32 = 65_536;

/// Values of one expression.
#[derive(Debug)]
enum Dictionary {
    Integer(Interner<u64>),
    Boolean,
    Double(Interner<u64>),
    Address(Interner<[u64; 2]>),
    Text(TextInterner),
}

impl Dictionary {
    /// The id before the first that the table gives.
    const fn base(&self) -> u32 {
        match self {
            Self::Integer(_) => DIRECT + 1,
            Self::Boolean => 3,
            Self::Double(_) | Self::Address(_) | Self::Text(_) => 1,
        }
    }

    /// The ids that the table gives.
    const fn ids(&self) -> Option<&Ids> {
        match self {
            Self::Integer(interner) | Self::Double(interner) => Some(&interner.ids),
            Self::Address(interner) => Some(&interner.ids),
            Self::Text(interner) => Some(&interner.ids),
            Self::Boolean => None,
        }
    }

    fn settle(&mut self) {
        match self {
            Self::Integer(interner) | Self::Double(interner) => interner.settle(),
            Self::Address(interner) => interner.settle(),
            Self::Text(interner) => interner.settle(),
            Self::Boolean => {}
        }
    }

    fn sweep(&mut self, marks: Option<&Marks>) {
        match self {
            Self::Integer(interner) | Self::Double(interner) => interner.sweep(marks),
            Self::Address(interner) => interner.sweep(marks),
            Self::Text(interner) => interner.sweep(marks),
            Self::Boolean => {}
        }
    }

    const fn ids_mut(&mut self) -> Option<&mut Ids> {
        match self {
            Self::Integer(interner) | Self::Double(interner) => Some(&mut interner.ids),
            Self::Address(interner) => Some(&mut interner.ids),
            Self::Text(interner) => Some(&mut interner.ids),
            Self::Boolean => None,
        }
    }
}

#[derive(Debug)]
enum Kind {
    Atom {
        input: usize,
        data_type: DataType,
        dictionary: Dictionary,
    },
    Pair {
        left: KeyId,
        right: KeyId,
        pairs: Interner<u64>,
    },
}

impl Kind {
    /// The ids that the table gives, which follow those that need none.
    const fn ids(&self) -> Option<&Ids> {
        match self {
            Self::Pair { pairs, .. } => Some(&pairs.ids),
            Self::Atom { dictionary, .. } => dictionary.ids(),
        }
    }

    const fn base(&self) -> u32 {
        match self {
            Self::Pair { .. } => 0,
            Self::Atom { dictionary, .. } => dictionary.base(),
        }
    }
}

/// One key and the ids of the present slice's rows.
#[derive(Debug)]
struct Slot {
    kind: Kind,
    ids: Vec<u32>,
    /// Whether lists of pairs refer to its ids without holding them.
    listed: bool,
}

impl Slot {
    fn is_made_of(&self, key: KeyId) -> bool {
        matches!(self.kind, Kind::Pair { left, right, .. } if left == key || right == key)
    }

    /// Calls `visit` with the ids of a key that the pairs in use are made of.
    fn each_part(&self, key: KeyId, mut visit: impl FnMut(u32)) {
        let Kind::Pair { left, right, pairs } = &self.kind else {
            return;
        };
        if *left == key {
            pairs.live().for_each(|pair| visit(unpack(pair).0));
        }
        if *right == key {
            pairs.live().for_each(|pair| visit(unpack(pair).1));
        }
    }
}

/// What a checkpoint keeps of a key: by id, and the free ids.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum KeyState<'a> {
    Nothing,
    Words(
        #[serde(with = "packed")] Cow<'a, [u64]>,
        #[serde(with = "packed")] Cow<'a, [u32]>,
    ),
    Addresses(
        #[serde(with = "packed")] Cow<'a, [[u64; 2]]>,
        #[serde(with = "packed")] Cow<'a, [u32]>,
    ),
    Texts(Cow<'a, [Box<str>]>, #[serde(with = "packed")] Cow<'a, [u32]>),
}

/// All keys of a stream. Parts come before the pairs made of them.
#[derive(Debug)]
pub(crate) struct Keys {
    slots: Vec<Slot>,
    limit: usize,
    scratch: Scratch,
}

/// Whether values of a type can be a key.
pub(crate) fn can_be_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => can_be_key(values),
        DataType::FixedSizeBinary(length) => *length == 16,
        other => {
            other.is_integer()
                || matches!(
                    other,
                    DataType::Boolean | DataType::Float64 | DataType::Utf8 | DataType::Timestamp(..)
                )
        }
    }
}

pub(super) const fn pack(left: u32, right: u32) -> u64 {
    ((left as u64) << 32) | right as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a packed pair")]
pub(super) const fn unpack(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
#[inline(always)]
const fn words(octets: [u8; 16]) -> [u64; 2] {
    let both = u128::from_be_bytes(octets);
    [(both >> 64) as u64, both as u64]
}

impl Keys {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            limit,
            scratch: Scratch::default(),
        }
    }

    /// The key of an input expression, the same each time.
    pub(crate) fn atom(&mut self, input: usize, data_type: &DataType) -> KeyId {
        let known = self
            .slots
            .iter()
            .position(|slot| matches!(slot.kind, Kind::Atom { input: known, .. } if known == input));
        if let Some(key) = known {
            return key;
        }
        let data_type = match data_type {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            other => other.clone(),
        };
        let dictionary = match &data_type {
            DataType::FixedSizeBinary(_) => Dictionary::Address(Interner::new(self.limit)),
            DataType::Utf8 => Dictionary::Text(TextInterner::new(self.limit)),
            DataType::Boolean => Dictionary::Boolean,
            DataType::Float64 => Dictionary::Double(Interner::new(self.limit)),
            _ => Dictionary::Integer(Interner::new(self.limit)),
        };
        self.push(Kind::Atom {
            input,
            data_type,
            dictionary,
        })
    }

    fn push(&mut self, kind: Kind) -> KeyId {
        self.slots.push(Slot {
            kind,
            ids: Vec::new(),
            listed: false,
        });
        self.slots.len() - 1
    }

    /// The key made of several, the same for any order of them. None for no keys.
    pub(crate) fn tuple(&mut self, parts: &[KeyId]) -> Option<KeyId> {
        let mut parts = parts.to_vec();
        parts.sort_unstable();
        parts.dedup();
        let mut parts = parts.into_iter();
        let mut key = parts.next()?;
        for right in parts {
            let known = self.slots.iter().position(
                |slot| matches!(slot.kind, Kind::Pair { left, right: second, .. } if left == key && second == right),
            );
            key = match known {
                Some(known) => known,
                None => {
                    let pairs = Interner::new(self.limit);
                    self.push(Kind::Pair {
                        left: key,
                        right,
                        pairs,
                    })
                }
            };
        }
        Some(key)
    }

    /// The two keys that a key of several is made of, for a list of pairs, which refers to their ids without holding them. None for fewer
    /// than two.
    pub(crate) fn sides(&mut self, parts: &[KeyId]) -> Option<(KeyId, KeyId)> {
        let mut parts = parts.to_vec();
        parts.sort_unstable();
        parts.dedup();
        let (&right, others) = parts.split_last()?;
        let left = self.tuple(others)?;
        for side in [left, right] {
            self.slots[side].listed = true;
        }
        Some((left, right))
    }

    /// The keys that a key is made of, itself included.
    pub(crate) fn closure(&self, key: KeyId, visit: &mut impl FnMut(KeyId)) {
        visit(key);
        if let Kind::Pair { left, right, .. } = self.slots[key].kind {
            self.closure(left, visit);
            self.closure(right, visit);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Most ids of each key.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// The input that an atom reads.
    pub(crate) fn input(&self, key: KeyId) -> Option<usize> {
        match self.slots[key].kind {
            Kind::Atom { input, .. } => Some(input),
            Kind::Pair { .. } => None,
        }
    }

    /// Ids of the present slice's rows; only those of the rows asked for in [`Keys::resolve`] mean something.
    pub(crate) fn ids(&self, key: KeyId) -> &[u32] {
        &self.slots[key].ids
    }

    /// Finds the ids of the selected rows; parts of a pair must have been resolved for these rows before.
    pub(crate) fn resolve(&mut self, key: KeyId, length: usize, rows: &Rows, values: Option<&ArrayRef>) {
        let (before, rest) = self.slots.split_at_mut(key);
        let slot = &mut rest[0];
        slot.ids.clear();
        slot.ids.resize(length, NONE);
        match &mut slot.kind {
            Kind::Pair {
                left: left_key,
                right: right_key,
                pairs,
            } => {
                let (left, right) = (&before[*left_key].ids, &before[*right_key].ids);
                let packed = &mut self.scratch.integers;
                grow(packed, length);
                let mut refused = false;
                for_each_row!(rows, 0, rows.len(), row => {
                    refused |= left[row] == NONE || right[row] == NONE;
                    packed[row] = pack(left[row], right[row]);
                });
                if refused {
                    let kept = (0..rows.len())
                        .map(|place| id_from(rows.row(place)))
                        .filter(|&row| left[row as usize] != NONE && right[row as usize] != NONE)
                        .collect();
                    pairs.intern(&Rows::Some(kept), packed, 0, &mut slot.ids);
                } else {
                    pairs.intern(rows, packed, 0, &mut slot.ids);
                }
            }
            Kind::Atom { dictionary, .. } => {
                if let Some(values) = values {
                    resolve_atom(dictionary, rows, values, &mut slot.ids, &mut self.scratch);
                }
            }
        }
    }

    /// Counts a holder of each id.
    pub(crate) fn hold_all(&mut self, key: KeyId, ids: impl Iterator<Item = u32>) {
        hold(&mut self.slots[key].kind, ids);
    }

    /// Takes a holder off each id.
    pub(crate) fn release_all(&mut self, key: KeyId, ids: impl Iterator<Item = u32>) {
        release(&mut self.slots[key].kind, ids);
    }

    /// Gives back what nobody holds: pairs at once; what pairs are made of is looked for when there may be much of it, as
    /// counting it with every pair that comes and goes would cost more. `listed` calls what it is given with each id of a key
    /// that lists of pairs refer to.
    pub(crate) fn sweep(&mut self, mut listed: impl FnMut(KeyId, &mut dyn FnMut(u32))) {
        for key in (0..self.slots.len()).rev() {
            let ([.., slot], pairs) = self.slots.split_at_mut(key + 1) else {
                continue;
            };
            match &mut slot.kind {
                Kind::Pair { pairs, .. } => pairs.settle(),
                Kind::Atom { dictionary, .. } => dictionary.settle(),
            }
            let made_of = |slot: &&Slot| slot.is_made_of(key);
            let marks = if slot.listed || pairs.iter().any(|slot| made_of(&slot)) {
                let Some(ids) = slot.kind.ids().filter(|ids| ids.is_littered()) else {
                    continue;
                };
                let mut marks = Marks::new(ids.bound());
                let base = slot.kind.base();
                let mut mark = |id: u32| {
                    if id >= base {
                        marks.mark(id - base);
                    }
                };
                for pair in pairs.iter().filter(made_of) {
                    pair.each_part(key, &mut mark);
                }
                if slot.listed {
                    listed(key, &mut mark);
                }
                Some(marks)
            } else {
                None
            };
            match &mut slot.kind {
                Kind::Pair { pairs, .. } => pairs.sweep(marks.as_ref()),
                Kind::Atom { dictionary, .. } => dictionary.sweep(marks.as_ref()),
            }
        }
    }

    /// One more than the largest id that a key was ever given.
    pub(crate) fn bound(&self, key: KeyId) -> usize {
        match &self.slots[key].kind {
            Kind::Pair { pairs, .. } => pairs.ids.bound(),
            Kind::Atom { dictionary, .. } => dictionary.base() as usize + dictionary.ids().map_or(0, Ids::bound),
        }
    }

    /// Whether an id of a key is in use.
    pub(crate) fn knows(&self, key: KeyId, id: u32) -> bool {
        match &self.slots[key].kind {
            Kind::Pair { pairs, .. } => pairs.ids.knows(id),
            Kind::Atom { dictionary, .. } => {
                let base = dictionary.base();
                id < base || dictionary.ids().is_some_and(|ids| ids.knows(id - base))
            }
        }
    }

    /// What has to be kept of the keys.
    pub(crate) fn save(&self) -> Vec<KeyState<'_>> {
        fn words(interner: &Interner<u64>) -> KeyState<'_> {
            let (words, free) = interner.parts();
            KeyState::Words(words.into(), free.into())
        }
        self.slots
            .iter()
            .map(|slot| match &slot.kind {
                Kind::Pair { pairs, .. } => words(pairs),
                Kind::Atom { dictionary, .. } => match dictionary {
                    Dictionary::Integer(interner) | Dictionary::Double(interner) => words(interner),
                    Dictionary::Address(interner) => {
                        let (addresses, free) = interner.parts();
                        KeyState::Addresses(addresses.into(), free.into())
                    }
                    Dictionary::Text(interner) => {
                        let (texts, free) = interner.parts();
                        KeyState::Texts(texts.into(), free.into())
                    }
                    Dictionary::Boolean => KeyState::Nothing,
                },
            })
            .collect()
    }

    /// Takes up what was kept of the same keys; nobody holds them yet. None if it does not fit.
    pub(crate) fn restore(&mut self, states: Vec<KeyState<'_>>) -> Option<()> {
        if states.len() != self.slots.len() {
            return None;
        }
        for (key, state) in states.into_iter().enumerate() {
            let limit = self.limit;
            match (&mut self.slots[key].kind, state) {
                (Kind::Pair { pairs, .. }, KeyState::Words(words, free)) => {
                    *pairs = Interner::from_parts(limit, words.into_owned(), free.into_owned())?;
                }
                (Kind::Atom { dictionary, .. }, state) => match (dictionary, state) {
                    (Dictionary::Integer(interner) | Dictionary::Double(interner), KeyState::Words(words, free)) => {
                        *interner = Interner::from_parts(limit, words.into_owned(), free.into_owned())?;
                    }
                    (Dictionary::Address(interner), KeyState::Addresses(addresses, free)) => {
                        *interner = Interner::from_parts(limit, addresses.into_owned(), free.into_owned())?;
                    }
                    (Dictionary::Text(interner), KeyState::Texts(texts, free)) => {
                        *interner = TextInterner::from_parts(limit, texts.into_owned(), free.into_owned())?;
                    }
                    (Dictionary::Boolean, KeyState::Nothing) => {}
                    _ => return None,
                },
                _ => return None,
            }
            let Kind::Pair { left, right, pairs } = &self.slots[key].kind else {
                continue;
            };
            let (left, right) = (*left, *right);
            let known = |pair: u64| self.knows(left, unpack(pair).0) && self.knows(right, unpack(pair).1);
            if !pairs.live().all(known) {
                return None;
            }
        }
        Some(())
    }

    /// Rows whose key found no room since the last call, over all keys.
    pub(crate) fn take_refused(&mut self) -> u64 {
        let ids = self.slots.iter_mut().filter_map(|slot| match &mut slot.kind {
            Kind::Pair { pairs, .. } => Some(&mut pairs.ids),
            Kind::Atom { dictionary, .. } => dictionary.ids_mut(),
        });
        ids.map(Ids::take_refused).sum()
    }

    /// Of the ids of a key, the ids of one of the atoms that it is made of.
    pub(crate) fn part(&self, key: KeyId, ids: &[u32], atom: KeyId) -> Vec<u32> {
        match &self.slots[key].kind {
            Kind::Atom { .. } => ids.to_vec(),
            Kind::Pair { left, right, pairs } => {
                if *right == atom {
                    return ids.iter().map(|&id| unpack(pairs.key(id)).1).collect();
                }
                let lefts: Vec<u32> = ids.iter().map(|&id| unpack(pairs.key(id)).0).collect();
                self.part(*left, &lefts, atom)
            }
        }
    }

    /// The type in which the language delivers an atom's values.
    pub(crate) fn delivered_type(&self, atom: KeyId) -> DataType {
        match &self.slots[atom].kind {
            Kind::Atom { data_type, .. } => match data_type {
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                    DataType::Int32
                }
                other if other.is_integer() || matches!(other, DataType::Timestamp(..)) => DataType::Int64,
                other => other.clone(),
            },
            Kind::Pair { .. } => DataType::Null,
        }
    }

    /// The values of an atom's ids, in the type in which the language delivers them.
    pub(crate) fn values(&self, atom: KeyId, ids: &[u32]) -> ArrayRef {
        let Kind::Atom {
            data_type, dictionary, ..
        } = &self.slots[atom].kind
        else {
            return Arc::new(Int64Array::new_null(ids.len()));
        };
        let valid: Vec<bool> = ids.iter().map(|&id| id != NULL).collect();
        let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
        let base = dictionary.base();
        match dictionary {
            Dictionary::Boolean => Arc::new(BooleanArray::new(ids.iter().map(|&id| id == 2).collect(), nulls)),
            Dictionary::Integer(interner) => {
                let value = |id: u32| {
                    if id < base {
                        i64::from(id) - 1
                    } else {
                        interner.key(id - base).cast_signed()
                    }
                };
                let values: Vec<i64> = ids.iter().map(|&id| value(id)).collect();
                integer_array(values, nulls, data_type)
            }
            Dictionary::Double(interner) => {
                let value = |id: u32| {
                    if id < base {
                        0.0
                    } else {
                        f64::from_bits(interner.key(id - base))
                    }
                };
                Arc::new(Float64Array::new(ids.iter().map(|&id| value(id)).collect(), nulls))
            }
            Dictionary::Address(interner) => {
                let mut octets = Vec::with_capacity(ids.len() * 16);
                for &id in ids {
                    let [high, low] = if id < base { [0, 0] } else { interner.key(id - base) };
                    octets.extend_from_slice(&high.to_be_bytes());
                    octets.extend_from_slice(&low.to_be_bytes());
                }
                Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(octets), nulls))
            }
            Dictionary::Text(interner) => Arc::new(StringArray::from_iter(
                ids.iter().map(|&id| (id != NULL).then(|| interner.text(id - base))),
            )),
        }
    }
}

/// Counts a holder of each of a key's ids. Those that need no table are always there.
fn hold(kind: &mut Kind, ids: impl Iterator<Item = u32>) {
    match kind {
        Kind::Pair { pairs, .. } => ids.for_each(|id| pairs.ids.hold(id)),
        Kind::Atom { dictionary, .. } => {
            let base = dictionary.base();
            if let Some(known) = dictionary.ids_mut() {
                ids.filter(|&id| id >= base).for_each(|id| known.hold(id - base));
            }
        }
    }
}

/// Takes a holder off each of a key's ids.
fn release(kind: &mut Kind, ids: impl Iterator<Item = u32>) {
    match kind {
        Kind::Pair { pairs, .. } => ids.for_each(|id| pairs.ids.release(id)),
        Kind::Atom { dictionary, .. } => {
            let base = dictionary.base();
            if let Some(known) = dictionary.ids_mut() {
                ids.filter(|&id| id >= base).for_each(|id| known.release(id - base));
            }
        }
    }
}

/// Integers in the type in which the language delivers columns of `data_type`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the values came from a column of at most 32 bits"
)]
fn integer_array(values: Vec<i64>, nulls: Option<NullBuffer>, data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
            Arc::new(Int32Array::new(values.into(), nulls))
        }
        _ => Arc::new(Int64Array::new(values.into(), nulls)),
    }
}

/// Integers of any width as signed 64 bits, by row. Null and other types give zero.
#[inline(always)]
pub(crate) fn each_integer(values: &ArrayRef, rows: &Rows, mut visit: impl FnMut(usize, i64)) {
    macro_rules! primitive {
        ($type:ty) => {{
            let values = values.as_primitive::<$type>().values();
            rows.each(0, rows.len(), |row| visit(row, i64::from(values[row])));
        }};
    }
    match values.data_type() {
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::UInt8 => primitive!(UInt8Type),
        DataType::UInt16 => primitive!(UInt16Type),
        DataType::UInt32 => primitive!(UInt32Type),
        DataType::UInt64 => {
            let values = values.as_primitive::<UInt64Type>().values();
            rows.each(0, rows.len(), |row| visit(row, values[row].cast_signed()));
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType),
        _ => {}
    }
}

/// Scratch space of the resolution of keys.
#[derive(Debug, Default)]
struct Scratch {
    integers: Vec<u64>,
    addresses: Vec<[u64; 2]>,
    hashed: Vec<u32>,
}

/// Makes room for the rows of a slice; what other rows left is not read.
fn grow<T: Clone + Default>(values: &mut Vec<T>, length: usize) {
    if values.len() < length {
        values.resize(length, T::default());
    }
}

fn resolve_atom(dictionary: &mut Dictionary, rows: &Rows, values: &ArrayRef, ids: &mut [u32], scratch: &mut Scratch) {
    if let Some(dictionary_array) = values.as_any_dictionary_opt() {
        resolve_dictionary(dictionary, rows, dictionary_array, ids, scratch);
        return;
    }
    let base = dictionary.base();
    let length = values.len();
    let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
    let present;
    let rows = match nulls {
        None => rows,
        Some(nulls) => {
            let (mut some, mut null) = (Vec::new(), Vec::new());
            rows.each(0, rows.len(), |row| {
                if nulls.is_valid(row) {
                    some.push(id_from(row))
                } else {
                    null.push(row)
                }
            });
            for row in null {
                ids[row] = NULL;
            }
            present = Rows::Some(some);
            &present
        }
    };
    match dictionary {
        Dictionary::Boolean => {
            let values = values.as_boolean();
            rows.each(0, rows.len(), |row| ids[row] = 1 + u32::from(values.value(row)));
        }
        Dictionary::Integer(interner) => {
            grow(&mut scratch.integers, length);
            scratch.hashed.clear();
            each_integer(values, rows, |row, value| scratch.integers[row] = value.cast_unsigned());
            for_each_row!(rows, 0, rows.len(), row => {
                let value = scratch.integers[row];
                let direct = u32::try_from(value).ok().filter(|&value| value < DIRECT);
                if let Some(value) = direct {
                    ids[row] = value + 1;
                } else {
                    scratch.hashed.push(id_from(row));
                }
            });
            if !scratch.hashed.is_empty() {
                let hashed = Rows::Some(std::mem::take(&mut scratch.hashed));
                interner.intern(&hashed, &scratch.integers, base, ids);
                if let Rows::Some(hashed) = hashed {
                    scratch.hashed = hashed;
                }
            }
        }
        Dictionary::Double(interner) => {
            let values = values.as_primitive::<Float64Type>().values();
            grow(&mut scratch.integers, length);
            rows.each(0, rows.len(), |row| {
                let value = values[row];
                let value = if value == 0.0 {
                    0.0
                } else if value.is_nan() {
                    f64::NAN
                } else {
                    value
                };
                scratch.integers[row] = value.to_bits();
            });
            interner.intern(rows, &scratch.integers, base, ids);
        }
        Dictionary::Address(interner) => {
            let values = values.as_fixed_size_binary();
            let (octets, _) = values.value_data().as_chunks::<16>();
            grow(&mut scratch.addresses, length);
            let addresses = scratch.addresses.as_mut_slice();
            for_each_row!(rows, 0, rows.len(), row => addresses[row] = words(octets[row]));
            interner.intern(rows, &scratch.addresses, base, ids);
        }
        Dictionary::Text(interner) => {
            let values = values.as_string::<i32>();
            rows.each(0, rows.len(), |row| {
                let id = interner.enter(values.value(row));
                ids[row] = if id == NONE { NONE } else { id + base };
            });
        }
    }
}

/// Resolves the values of a dictionary that the rows use, each once.
fn resolve_dictionary(
    dictionary: &mut Dictionary,
    rows: &Rows,
    values: &dyn AnyDictionaryArray,
    ids: &mut [u32],
    scratch: &mut Scratch,
) {
    let entries = values.values();
    if entries.is_empty() {
        rows.each(0, rows.len(), |row| ids[row] = NULL);
        return;
    }
    let codes = values.normalized_keys();
    let mut used = vec![false; entries.len()];
    let valid = |row: usize| values.is_valid(row);
    rows.each(0, rows.len(), |row| {
        if valid(row) {
            used[codes[row]] = true;
        }
    });
    let listed = (0..entries.len()).filter(|&code| used[code]).map(id_from).collect();
    let mut entry_ids = vec![NONE; entries.len()];
    resolve_atom(dictionary, &Rows::Some(listed), entries, &mut entry_ids, scratch);
    rows.each(0, rows.len(), |row| {
        ids[row] = if valid(row) { entry_ids[codes[row]] } else { NULL }
    });
}
