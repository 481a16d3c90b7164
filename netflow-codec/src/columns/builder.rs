//! Appends sets to columns.

use alloc::sync::Arc;
use alloc::vec::Vec;

use arrow_array::types::{
    ArrowPrimitiveType, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, PrimitiveArray};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, ScalarBuffer};
use hashbrown::HashMap;

use super::layout::{Compiled, Icmp, Layout, Moment, Needed, Sign, Source};
use super::plan::{Column, ColumnKind, ColumnPlan, Integer};
use crate::header::Header;
use crate::message::DataSet;
use crate::record::unsigned;
use crate::template::Template;
use crate::time::{self, TimeUnit};

/// Templates for which a plan is kept worked out; when there are more, all are worked out anew.
const MAX_COMPILED: usize = 4096;

/// The prefix of an IPv4 address among IPv6 addresses (RFC 4291 §2.5.5.2).
const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];

/// Builds the columns of a [`ColumnPlan`] from sets of any version.
#[derive(Debug)]
pub struct Columns {
    plan: Arc<ColumnPlan>,
    capacity: usize,
    rows: usize,
    values: Vec<Values>,
    /// For columns that can be null.
    nulls: Vec<Option<NullBufferBuilder>>,
    /// By the address of the template, which the value holds.
    compiled: HashMap<usize, Compiled, foldhash::fast::FixedState>,
    scratch: Scratch,
}

/// Memory kept from set to set.
#[derive(Debug, Default)]
struct Scratch {
    /// For rows picked one by one: the places of the needed fields, row after row.
    places: Vec<(u32, u32)>,
    /// Sampling rates of the rows, unless they are all the same.
    rates: Vec<u32>,
    /// Numbers of the records that hold a flow of the other direction.
    picked: Vec<usize>,
}

/// The values of one column.
#[derive(Debug)]
enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    Moment(Vec<i64>),
    Address(Vec<[u8; 16]>),
}

impl Values {
    fn new(kind: ColumnKind, capacity: usize) -> Self {
        match kind {
            ColumnKind::Unsigned(Integer::U8) => Self::U8(Vec::with_capacity(capacity)),
            ColumnKind::Unsigned(Integer::U16) | ColumnKind::DestinationPort => Self::U16(Vec::with_capacity(capacity)),
            ColumnKind::Unsigned(Integer::U32) | ColumnKind::SamplingRate => Self::U32(Vec::with_capacity(capacity)),
            ColumnKind::Unsigned(Integer::U64) => Self::U64(Vec::with_capacity(capacity)),
            ColumnKind::Unsigned(Integer::I64) | ColumnKind::Counter | ColumnKind::ScaledCounter => {
                Self::I64(Vec::with_capacity(capacity))
            }
            ColumnKind::Start | ColumnKind::End => Self::Moment(Vec::with_capacity(capacity)),
            ColumnKind::Address => Self::Address(Vec::with_capacity(capacity)),
        }
    }

    fn append_zeros(&mut self, rows: usize) {
        match self {
            Self::U8(values) => values.resize(values.len().saturating_add(rows), 0),
            Self::U16(values) => values.resize(values.len().saturating_add(rows), 0),
            Self::U32(values) => values.resize(values.len().saturating_add(rows), 0),
            Self::U64(values) => values.resize(values.len().saturating_add(rows), 0),
            Self::I64(values) | Self::Moment(values) => values.resize(values.len().saturating_add(rows), 0),
            Self::Address(values) => values.resize(values.len().saturating_add(rows), [0; 16]),
        }
    }

    fn finish(self, nulls: Option<NullBuffer>) -> ArrayRef {
        fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> PrimitiveArray<T> {
            PrimitiveArray::new(ScalarBuffer::from(values), nulls)
        }
        match self {
            Self::U8(values) => Arc::new(primitive::<UInt8Type>(values, nulls)),
            Self::U16(values) => Arc::new(primitive::<UInt16Type>(values, nulls)),
            Self::U32(values) => Arc::new(primitive::<UInt32Type>(values, nulls)),
            Self::U64(values) => Arc::new(primitive::<UInt64Type>(values, nulls)),
            Self::I64(values) => Arc::new(primitive::<Int64Type>(values, nulls)),
            Self::Moment(values) => Arc::new(primitive::<TimestampMillisecondType>(values, nulls).with_timezone("UTC")),
            Self::Address(values) => Arc::new(FixedSizeBinaryArray::new(
                16,
                Buffer::from_vec(values.into_flattened()),
                nulls,
            )),
        }
    }
}

impl Columns {
    /// Empty columns, with room for so many rows.
    #[must_use]
    pub fn new(plan: Arc<ColumnPlan>, capacity: usize) -> Self {
        let mut columns = Self {
            plan,
            capacity,
            rows: 0,
            values: Vec::new(),
            nulls: Vec::new(),
            compiled: HashMap::default(),
            scratch: Scratch::default(),
        };
        columns.start();
        columns
    }

    fn start(&mut self) {
        let capacity = self.capacity;
        self.rows = 0;
        self.values = self
            .plan
            .columns()
            .iter()
            .map(|column| Values::new(column.kind, capacity))
            .collect();
        self.nulls = self
            .plan
            .columns()
            .iter()
            .map(|column| column.nullable.then(|| NullBufferBuilder::new(capacity)))
            .collect();
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<ColumnPlan> {
        &self.plan
    }

    /// Rows appended since the start or the last [`finish`](Self::finish).
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no row was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends the records of a set; returns how many rows they gave: one each, and one more for each that holds a flow
    /// in both directions. The flows of the other direction follow those of the set.
    pub fn append(&mut self, set: &DataSet<'_>) -> usize {
        let key = Arc::as_ptr(set.template()).addr();
        if !self.compiled.contains_key(&key) {
            if self.compiled.len() >= MAX_COMPILED {
                self.compiled.clear();
            }
            self.compiled.insert(key, Compiled::new(&self.plan, set.template()));
        }
        let Some(compiled) = self.compiled.get(&key) else {
            return 0;
        };
        let template = &*compiled.template;
        let mut rows = set.len();
        let mut target = Target {
            columns: self.plan.columns(),
            values: &mut self.values,
            nulls: &mut self.nulls,
            header: set.header(),
            system_init_ms: set.sampling().system_init_ms,
        };
        let rate = rates(self.plan.columns(), set, &mut self.scratch.rates);
        let body = set.body();
        match template.record_length() {
            Some(stride) => target.append(&compiled.forward, &Strided { body, stride, template }, rows, rate),
            None => {
                self.scratch.places.clear();
                for_each_record(template, body, |start, record| {
                    push_places(&compiled.forward, template, start, record, &mut self.scratch.places);
                });
                let width = compiled.forward.needed.len();
                target.append(
                    &compiled.forward,
                    &Picked {
                        body,
                        width,
                        places: &self.scratch.places,
                    },
                    rows,
                    rate,
                );
            }
        }
        if let Some(reverse) = &compiled.reverse {
            self.scratch.places.clear();
            self.scratch.picked.clear();
            let mut number = 0_usize;
            for_each_record(template, body, |start, record| {
                let before = self.scratch.places.len();
                push_places(reverse, template, start, record, &mut self.scratch.places);
                let places = self.scratch.places.get(before..).unwrap_or_default();
                let counts = reverse.gate.iter().any(|field| {
                    let place = places.get(*field).copied().unwrap_or_default();
                    slice(body, place).iter().any(|byte| *byte != 0)
                });
                if counts {
                    self.scratch.picked.push(number);
                } else {
                    self.scratch.places.truncate(before);
                }
                number = number.saturating_add(1);
            });
            let picked_rates: Vec<u32>;
            let rate = match rate {
                Rate::Same(rate) => Rate::Same(rate),
                Rate::Each(rates) => {
                    let of = |number: &usize| rates.get(*number).copied().unwrap_or(0);
                    picked_rates = self.scratch.picked.iter().map(of).collect();
                    Rate::Each(&picked_rates)
                }
            };
            let extra = self.scratch.picked.len();
            let width = reverse.needed.len();
            if extra > 0 {
                target.append(
                    reverse,
                    &Picked {
                        body,
                        width,
                        places: &self.scratch.places,
                    },
                    extra,
                    rate,
                );
            }
            rows = rows.saturating_add(extra);
        }
        self.rows = self.rows.saturating_add(rows);
        rows
    }

    /// The columns in the order of the plan; the builder starts anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        let values = core::mem::take(&mut self.values);
        let nulls = core::mem::take(&mut self.nulls);
        let arrays = values
            .into_iter()
            .zip(nulls)
            .map(|(values, nulls)| values.finish(nulls.and_then(NullBufferBuilder::build)))
            .collect();
        self.start();
        arrays
    }
}

/// The sampling rates of the rows at hand.
#[derive(Clone, Copy, Debug)]
enum Rate<'r> {
    Same(u32),
    Each(&'r [u32]),
}

fn rates<'r>(columns: &[Column], set: &DataSet<'_>, scratch: &'r mut Vec<u32>) -> Rate<'r> {
    let used = |column: &Column| matches!(column.kind, ColumnKind::SamplingRate | ColumnKind::ScaledCounter);
    if !columns.iter().any(used) {
        return Rate::Same(0);
    }
    match set.sampling().uniform_rate(set.template(), set.header()) {
        Some(rate) => Rate::Same(rate),
        None => {
            scratch.clear();
            scratch.extend(set.records().map(|record| set.sampling_rate(&record)));
            Rate::Each(scratch)
        }
    }
}

fn for_each_record(template: &Template, body: &[u8], mut each: impl FnMut(usize, &[u8])) {
    let mut start = 0_usize;
    while let Some(rest) = body.get(start..)
        && !rest.is_empty()
        && let Some(length) = template.measure(rest)
        && let Some(record) = rest.get(..length)
    {
        each(start, record);
        start = start.saturating_add(length);
    }
}

/// Adds the places of the needed fields of one record, in the order of [`Layout::needed`].
fn push_places(layout: &Layout, template: &Template, start: usize, record: &[u8], places: &mut Vec<(u32, u32)>) {
    let at = |offset: usize, length: usize| {
        let start = u32::try_from(start.saturating_add(offset)).unwrap_or(u32::MAX);
        (start, u32::try_from(length).unwrap_or(0))
    };
    let first = places.len();
    for number in &layout.needed {
        places.push(
            template
                .fixed_place(*number)
                .map_or((0, 0), |(offset, length)| at(offset, length)),
        );
    }
    for place in template.variable_places(record).flatten() {
        if let Some(needed) = layout.needed.iter().position(|number| *number == place.number)
            && let Some(entry) = places.get_mut(first.saturating_add(needed))
        {
            *entry = at(place.offset, place.length);
        }
    }
}

fn slice(body: &[u8], (start, length): (u32, u32)) -> &[u8] {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(0);
    body.get(start..start.saturating_add(length)).unwrap_or_default()
}

/// The values of needed fields over a number of rows.
trait Fields {
    /// The bytes of a field, row by row.
    fn bytes(&self, layout: &Layout, field: Needed) -> impl Iterator<Item = &[u8]>;

    /// Appends a field as unsigned integers.
    fn unsigned<T: Narrow>(&self, layout: &Layout, field: Needed, into: &mut Vec<T>);

    /// Appends what a function makes of a field that is so many bytes long; false if it is not in all rows.
    fn arrays<const WIDTH: usize, T>(
        &self,
        layout: &Layout,
        field: Needed,
        into: &mut Vec<T>,
        make: impl Fn([u8; WIDTH]) -> T,
    ) -> bool;
}

/// All records of a set, all of one length.
struct Strided<'b> {
    body: &'b [u8],
    stride: usize,
    template: &'b Template,
}

impl Strided<'_> {
    fn place(&self, layout: &Layout, field: Needed) -> (usize, usize) {
        layout
            .needed
            .get(field)
            .and_then(|number| self.template.fixed_place(*number))
            .unwrap_or((0, 0))
    }

    /// Appends what a function makes of the bytes at an offset in each record.
    #[inline]
    fn extend<const WIDTH: usize, T>(&self, offset: usize, into: &mut Vec<T>, make: impl Fn([u8; WIDTH]) -> T) {
        let end = offset.saturating_add(WIDTH);
        match self.stride {
            // A template's fields lie within its records.
            stride if end > stride => {}
            // With the length of a v5 record known to the compiler, no division tells how many there are.
            48 => extend(self.body.chunks_exact(48), offset..end, into, make),
            stride => extend(self.body.chunks_exact(stride), offset..end, into, make),
        }
    }
}

/// Appends what a function makes of the bytes at a place in each record.
#[inline(always)]
fn extend<const WIDTH: usize, T>(
    records: core::slice::ChunksExact<'_, u8>,
    place: core::ops::Range<usize>,
    into: &mut Vec<T>,
    make: impl Fn([u8; WIDTH]) -> T,
) {
    // Walking side by side with a count makes a loop whose length is known, so that the room is made before it.
    let count = records.len();
    into.extend(records.zip(0..count).map(|(record, _)| {
        let bytes = record.get(place.clone()).and_then(|field| field.first_chunk()).copied();
        make(bytes.unwrap_or([0; WIDTH]))
    }));
}

impl Fields for Strided<'_> {
    fn bytes(&self, layout: &Layout, field: Needed) -> impl Iterator<Item = &[u8]> {
        let (offset, length) = self.place(layout, field);
        let end = offset.saturating_add(length);
        self.body
            .chunks_exact(self.stride)
            .map(move |record| record.get(offset..end).unwrap_or_default())
    }

    fn unsigned<T: Narrow>(&self, layout: &Layout, field: Needed, into: &mut Vec<T>) {
        let (offset, length) = self.place(layout, field);
        match length {
            1 => self.extend::<1, T>(offset, into, |bytes| T::narrow(u64::from(u8::from_be_bytes(bytes)))),
            2 => self.extend::<2, T>(offset, into, |bytes| T::narrow(u64::from(u16::from_be_bytes(bytes)))),
            4 => self.extend::<4, T>(offset, into, |bytes| T::narrow(u64::from(u32::from_be_bytes(bytes)))),
            8 => self.extend::<8, T>(offset, into, |bytes| T::narrow(u64::from_be_bytes(bytes))),
            _ => into.extend(self.bytes(layout, field).map(|bytes| T::narrow(wide(bytes)))),
        }
    }

    fn arrays<const WIDTH: usize, T>(
        &self,
        layout: &Layout,
        field: Needed,
        into: &mut Vec<T>,
        make: impl Fn([u8; WIDTH]) -> T,
    ) -> bool {
        let (offset, length) = self.place(layout, field);
        if length == WIDTH {
            self.extend(offset, into, make);
        }
        length == WIDTH
    }
}

/// Rows with the places of their needed fields noted one by one.
struct Picked<'b> {
    body: &'b [u8],
    width: usize,
    places: &'b [(u32, u32)],
}

impl Fields for Picked<'_> {
    fn bytes(&self, _: &Layout, field: Needed) -> impl Iterator<Item = &[u8]> {
        let places = self.places.chunks_exact(self.width.max(1));
        places.map(move |row| slice(self.body, row.get(field).copied().unwrap_or_default()))
    }

    fn unsigned<T: Narrow>(&self, layout: &Layout, field: Needed, into: &mut Vec<T>) {
        into.extend(self.bytes(layout, field).map(|bytes| T::narrow(wide(bytes))));
    }

    fn arrays<const WIDTH: usize, T>(
        &self,
        _: &Layout,
        _: Needed,
        _: &mut Vec<T>,
        _: impl Fn([u8; WIDTH]) -> T,
    ) -> bool {
        false
    }
}

/// An unsigned integer of any width, 0 for no byte at all, the largest for what does not fit.
fn wide(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        0
    } else {
        unsigned(bytes).unwrap_or(u64::MAX)
    }
}

/// Makes a column's integer of a wire's: the largest there is if it does not fit.
trait Narrow: Copy {
    fn narrow(value: u64) -> Self;
}

impl Narrow for u8 {
    #[inline]
    fn narrow(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Narrow for u16 {
    #[inline]
    fn narrow(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Narrow for u32 {
    #[inline]
    fn narrow(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Narrow for u64 {
    #[inline]
    fn narrow(value: u64) -> Self {
        value
    }
}

impl Narrow for i64 {
    #[inline]
    fn narrow(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

/// The columns that rows are appended to, and what holds for all rows of a set.
struct Target<'t> {
    columns: &'t [Column],
    values: &'t mut [Values],
    nulls: &'t mut [Option<NullBufferBuilder>],
    header: &'t Header,
    system_init_ms: Option<i64>,
}

impl Target<'_> {
    fn append(&mut self, layout: &Layout, fields: &impl Fields, rows: usize, rate: Rate<'_>) {
        let (header, system_init_ms) = (self.header, self.system_init_ms);
        let targets = self
            .columns
            .iter()
            .zip(self.values.iter_mut())
            .zip(self.nulls.iter_mut());
        for (((column, values), nulls), source) in targets.zip(&layout.sources) {
            let missing = matches!(source, Source::Missing);
            match nulls {
                Some(nulls) if missing => nulls.append_n_nulls(rows),
                Some(nulls) => nulls.append_n_non_nulls(rows),
                None => {}
            }
            match (source, values) {
                (Source::Unsigned(field), Values::U8(values)) => fields.unsigned(layout, *field, values),
                (Source::Unsigned(field), Values::U16(values)) => fields.unsigned(layout, *field, values),
                (Source::Unsigned(field), Values::U32(values)) => fields.unsigned(layout, *field, values),
                (Source::Unsigned(field), Values::U64(values)) => fields.unsigned(layout, *field, values),
                (Source::Unsigned(field), Values::I64(values)) => {
                    let first = values.len();
                    fields.unsigned(layout, *field, values);
                    if column.kind == ColumnKind::ScaledCounter {
                        scale(values.get_mut(first..).unwrap_or_default(), rate);
                    }
                }
                (Source::Address(candidates), Values::Address(values)) => {
                    addresses(layout, fields, candidates, values, rows);
                }
                (Source::Moment(moments), Values::Moment(values)) => {
                    append_moments(layout, fields, moments, values, rows, header, system_init_ms);
                }
                (Source::Port { port, icmp }, Values::U16(values)) => {
                    let first = values.len();
                    match port {
                        Some(port) => fields.unsigned(layout, *port, values),
                        None => values.resize(first.saturating_add(rows), 0),
                    }
                    if let Some(icmp) = icmp {
                        icmp_ports(layout, fields, icmp, values.get_mut(first..).unwrap_or_default());
                    }
                }
                (Source::SamplingRate, Values::U32(values)) => match rate {
                    Rate::Same(rate) => values.resize(values.len().saturating_add(rows), rate),
                    Rate::Each(rates) => values.extend_from_slice(rates),
                },
                (_, values) => values.append_zeros(rows),
            }
        }
    }
}

/// Multiplies counters by the sampling rate, where that is above 1.
fn scale(values: &mut [i64], rate: Rate<'_>) {
    match rate {
        Rate::Same(0 | 1) => {}
        Rate::Same(rate) => values
            .iter_mut()
            .for_each(|value| *value = value.saturating_mul(i64::from(rate))),
        Rate::Each(rates) => values
            .iter_mut()
            .zip(rates)
            .for_each(|(value, rate)| *value = value.saturating_mul(i64::from((*rate).max(1)))),
    }
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    let (prefix, rest) = address.split_at_mut(V4_MAPPED.len());
    prefix.copy_from_slice(&V4_MAPPED);
    rest.copy_from_slice(&v4);
    address
}

/// An address of a field; `None` if it is neither 4 bytes long nor 16.
fn to_address(bytes: &[u8]) -> Option<[u8; 16]> {
    match bytes.len() {
        4 => bytes.try_into().ok().map(mapped),
        _ => bytes.try_into().ok(),
    }
}

fn addresses(layout: &Layout, fields: &impl Fields, candidates: &[Needed], values: &mut Vec<[u8; 16]>, rows: usize) {
    let Some((first, others)) = candidates.split_first() else {
        return;
    };
    let start = values.len();
    if !fields.arrays(layout, *first, values, mapped) {
        values.extend(
            fields
                .bytes(layout, *first)
                .map(|bytes| to_address(bytes).unwrap_or([0; 16])),
        );
    }
    values.resize(start.saturating_add(rows), [0; 16]);
    let unset = |address: &[u8; 16]| *address == [0; 16] || *address == mapped([0; 4]);
    for other in others {
        let filled = values.get_mut(start..).unwrap_or_default();
        if !filled.iter().any(unset) {
            return;
        }
        for (value, bytes) in filled.iter_mut().zip(fields.bytes(layout, *other)) {
            if unset(value)
                && let Some(address) = to_address(bytes)
                && !unset(&address)
            {
                *value = address;
            }
        }
    }
}

fn append_moments(
    layout: &Layout,
    fields: &impl Fields,
    moments: &[Moment],
    values: &mut Vec<i64>,
    rows: usize,
    header: &Header,
    system_init_ms: Option<i64>,
) {
    let start = values.len();
    let end = start.saturating_add(rows);
    let export_ms = header.export_time_ms;
    // What most exporters send: uptimes in v5 and v9, milliseconds in IPFIX.
    match (moments.first(), header.uptime_ms) {
        (
            Some(Moment::At {
                field,
                unit: TimeUnit::Uptime,
            }),
            Some(uptime_ms),
        ) => {
            let whole = fields.arrays(layout, *field, values, |bytes| {
                let age = uptime_ms.wrapping_sub(u32::from_be_bytes(bytes)).cast_signed();
                export_ms.wrapping_sub(i64::from(age))
            });
            // An uptime always tells a moment.
            if whole {
                return;
            }
        }
        (
            Some(Moment::At {
                field,
                unit: TimeUnit::Milliseconds,
            }),
            _,
        ) => {
            let whole = fields.arrays(layout, *field, values, |bytes| match i64::from_be_bytes(bytes) {
                ..=0 => MISSING,
                ms => ms,
            });
            if whole && !values.get(start..).unwrap_or_default().contains(&MISSING) {
                return;
            }
        }
        _ => {}
    }
    values.resize(end, MISSING);
    for moment in moments {
        let filled = values.get_mut(start..).unwrap_or_default();
        if !filled.contains(&MISSING) {
            break;
        }
        match moment {
            Moment::At { field, unit } => {
                let inits = init_times(layout, fields, *unit, header, system_init_ms, rows);
                let bytes = fields.bytes(layout, *field);
                for ((value, bytes), init) in filled.iter_mut().zip(bytes).zip(inits) {
                    if *value == MISSING {
                        *value = moment_ms(*unit, bytes, header, init).unwrap_or(MISSING);
                    }
                }
            }
            Moment::FromDuration {
                other,
                unit,
                duration,
                per_ms,
                sign,
            } => {
                let inits = init_times(layout, fields, *unit, header, system_init_ms, rows);
                let pairs = fields.bytes(layout, *other).zip(fields.bytes(layout, *duration));
                for ((value, (other, duration)), init) in filled.iter_mut().zip(pairs).zip(inits) {
                    if *value != MISSING {
                        continue;
                    }
                    let (Some(other), Some(duration)) = (moment_ms(*unit, other, header, init), unsigned(duration))
                    else {
                        continue;
                    };
                    let duration = i64::try_from(duration.checked_div(*per_ms).unwrap_or(0)).unwrap_or(i64::MAX);
                    *value = match sign {
                        Sign::Plus => other.saturating_add(duration),
                        Sign::Minus => other.saturating_sub(duration),
                    };
                }
            }
        }
    }
    for value in values.get_mut(start..).unwrap_or_default() {
        if *value == MISSING {
            *value = export_ms;
        }
    }
}

/// Stands for a moment not found yet. No exporter's clock is set to it.
const MISSING: i64 = i64::MIN;

/// When the exporter started, row by row, for those elements and versions where that is needed.
fn init_times(
    layout: &Layout,
    fields: &impl Fields,
    unit: TimeUnit,
    header: &Header,
    known_ms: Option<i64>,
    rows: usize,
) -> impl Iterator<Item = Option<i64>> {
    let wanted = unit == TimeUnit::Uptime && header.uptime_ms.is_none();
    let in_record = layout
        .system_init
        .filter(|_| wanted)
        .map(|field| fields.bytes(layout, field));
    let mut in_record = in_record.into_iter().flatten();
    (0..rows).map(move |_| {
        let told = in_record
            .next()
            .and_then(unsigned)
            .and_then(|ms| i64::try_from(ms).ok());
        told.or(known_ms)
    })
}

/// A moment in ms since 1970; `None` for zero, with which exporters fill in what they do not know.
fn moment_ms(unit: TimeUnit, bytes: &[u8], header: &Header, init: Option<i64>) -> Option<i64> {
    let value = unsigned(bytes)?;
    if value == 0 && matches!(unit, TimeUnit::Seconds | TimeUnit::Milliseconds | TimeUnit::Ntp) {
        return None;
    }
    time::value_to_ms(unit, value, header, || init)
}

/// Puts type × 256 + code in the place of the ports of ICMP records.
fn icmp_ports(layout: &Layout, fields: &impl Fields, icmp: &Icmp, ports: &mut [u16]) {
    const ICMP: u64 = 1;
    const ICMP_V6: u64 = 58;
    let is_icmp = |bytes: &[u8]| matches!(unsigned(bytes), Some(ICMP | ICMP_V6));
    if icmp
        .protocol
        .is_some_and(|field| !fields.bytes(layout, field).any(is_icmp))
    {
        return;
    }
    let mut protocols = icmp.protocol.map(|field| fields.bytes(layout, field));
    let mut column = |field: Option<Needed>| field.map(|field| fields.bytes(layout, field));
    let mut together = icmp.together.map(&mut column);
    let mut types = icmp.apart.map(|apart| column(apart.map(|(kind, _)| kind)));
    let mut codes = icmp.apart.map(|apart| column(apart.and_then(|(_, code)| code)));
    fn read<'b>(values: &mut Option<impl Iterator<Item = &'b [u8]>>) -> Option<u16> {
        values
            .as_mut()?
            .next()
            .and_then(unsigned)
            .and_then(|value| u16::try_from(value).ok())
    }
    for port in ports {
        let protocol = protocols
            .as_mut()
            .map(|values| values.next().and_then(unsigned).unwrap_or(0));
        let both = together.each_mut().map(read);
        let kinds = types.each_mut().map(read);
        let code = codes.each_mut().map(read);
        let apart = |kind: Option<u16>, code: Option<u16>| {
            Some(u16::from_be_bytes([
                u8::try_from(kind?).ok()?,
                u8::try_from(code.unwrap_or(0)).ok()?,
            ]))
        };
        let [both_v4, both_v6] = both;
        let [type_v4, type_v6] = kinds;
        let [code_v4, code_v6] = code;
        let v4 = [both_v4, apart(type_v4, code_v4)];
        let v6 = [both_v6, apart(type_v6, code_v6)];
        let told = match protocol {
            Some(ICMP) => [v4, v6],
            Some(ICMP_V6) => [v6, v4],
            Some(_) => continue,
            // Without a protocol, a record with ports is no ICMP record.
            None if *port != 0 => continue,
            None => [v4, v6],
        };
        // Fields that do not apply are zero; so is an echo reply, which then leaves the port, 0 as well.
        if let Some(value) = told.into_iter().flatten().flatten().find(|value| *value != 0) {
            *port = value;
        }
    }
}
