//! Appends sets to columns.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use arrow_array::ArrayRef;
use arrow_buffer::{Buffer, NullBufferBuilder};
use hashbrown::HashMap;

use super::fields::{Picked, Strided, push_places, slice};
use super::fill::{Rates, Run, Target};
use super::layout::Compiled;
use super::plan::ColumnPlan;
use super::values::{Values, memory_of};
use crate::message::DataSet;
use crate::sampling::RateFields;
use crate::template::Template;

/// Templates for which a plan is kept worked out; when there are more, all are worked out anew.
const MAX_COMPILED: usize = 4096;

/// Rows that are gathered before they are written to the columns. Setting a column up takes as long as writing some ten
/// rows to it, and many datagrams have fewer; more rows than these would push one another out of the nearest cache.
const GATHERED_ROWS: usize = 256;

/// Bytes of records that are gathered at most before another set is added; sets have up to as many.
const GATHERED_BYTES: usize = 1 << 16;

/// Batches given out whose memory is kept in sight, to be used again when they are done with: one that is being written
/// or sent, and one that waits.
const MAX_GIVEN: usize = 2;

/// Builds the columns of a [`ColumnPlan`] from sets of any version.
///
/// The memory of a batch that was given out is used again once nothing else refers to it; up to two batches are kept for
/// that.
#[derive(Debug)]
pub struct Columns {
    plan: Arc<ColumnPlan>,
    /// Rows that a batch is to have room for at first.
    capacity: usize,
    /// Rows that there is room for.
    room: usize,
    rows: usize,
    /// Records not written yet; those of the latest rows.
    gathered: Gathered,
    values: Vec<Values>,
    /// For columns that can be null.
    nulls: Vec<Option<NullBufferBuilder>>,
    /// The values of batches given out, the oldest first.
    given: VecDeque<Vec<Option<Buffer>>>,
    /// What the plan means for each template.
    compiled: Vec<Compiled>,
    /// Their places, by the address of the template, which the value holds.
    places: HashMap<usize, usize, foldhash::fast::FixedState>,
    /// The template of the latest set and its place.
    latest: (usize, usize),
    scratch: Scratch,
}

/// Records of one template and one length, from any number of sets.
#[derive(Debug)]
struct Gathered {
    /// The place of what the plan means for their template.
    place: usize,
    rows: usize,
    body: Vec<u8>,
    /// The sets that they are of.
    runs: Vec<Run>,
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

impl Columns {
    /// Empty columns, with room for so many rows.
    #[must_use]
    pub fn new(plan: Arc<ColumnPlan>, capacity: usize) -> Self {
        let mut columns = Self {
            plan,
            capacity,
            room: 0,
            rows: 0,
            gathered: Gathered {
                place: 0,
                rows: 0,
                body: Vec::with_capacity(GATHERED_BYTES.saturating_mul(2)),
                runs: Vec::with_capacity(GATHERED_ROWS),
            },
            values: Vec::new(),
            nulls: Vec::new(),
            given: VecDeque::new(),
            compiled: Vec::new(),
            places: HashMap::default(),
            latest: (0, 0), // no template lies at address 0
            scratch: Scratch::default(),
        };
        columns.start();
        columns
    }

    fn start(&mut self) {
        let capacity = self.capacity;
        self.rows = 0;
        self.room = capacity;
        let mut memory = self.free_memory().into_iter();
        self.values = self
            .plan
            .columns()
            .iter()
            .map(|column| {
                let free = memory.next().flatten();
                free.and_then(|buffer| Values::in_memory_of(column.kind, capacity, buffer).ok())
                    .unwrap_or_else(|| Values::new(column.kind, capacity))
            })
            .collect();
        self.nulls = self
            .plan
            .columns()
            .iter()
            .map(|column| column.nullable.then(|| NullBufferBuilder::new(capacity)))
            .collect();
    }

    /// The values of a batch that nobody uses any more, if there is one.
    fn free_memory(&mut self) -> Vec<Option<Buffer>> {
        let free = |batch: &Vec<Option<Buffer>>| batch.iter().flatten().all(|buffer| buffer.strong_count() == 1);
        // The latest is the likeliest to lie in the cache; one is enough.
        let latest = self.given.iter().rposition(free);
        let memory = latest.and_then(|place| self.given.remove(place)).unwrap_or_default();
        self.given.retain(|batch| !free(batch));
        memory
    }

    /// Makes room for so many more rows.
    fn reserve(&mut self, rows: usize) {
        let wanted = self.rows.saturating_add(rows);
        if wanted > self.room {
            self.room = wanted.max(self.room.saturating_mul(2));
            for values in &mut self.values {
                values.grow(self.room);
            }
        }
    }

    /// The place of what the plan means for a template.
    fn place_of(&mut self, template: &Arc<Template>) -> usize {
        let address = Arc::as_ptr(template).addr();
        if self.latest.0 != address {
            let place = match self.places.get(&address) {
                Some(place) => *place,
                None => self.compile(template),
            };
            self.latest = (address, place);
        }
        self.latest.1
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

    /// Works out what the plan means for a template.
    fn compile(&mut self, template: &Arc<Template>) -> usize {
        if self.compiled.len() >= MAX_COMPILED {
            self.write_gathered();
            self.compiled.clear();
            self.places.clear();
        }
        let place = self.compiled.len();
        self.compiled.push(Compiled::new(&self.plan, template));
        self.places.insert(Arc::as_ptr(template).addr(), place);
        place
    }

    /// Appends the records of a set; returns how many rows they gave: one each, and one more for each that holds a flow
    /// in both directions. The flows of the other direction follow those of the set.
    pub fn append(&mut self, set: &DataSet<'_>) -> usize {
        let place = self.place_of(set.template());
        let rows = set.len();
        self.reserve(rows);
        let Some(compiled) = self.compiled.get(place) else {
            return 0;
        };
        let rate = compiled
            .sampled
            .map_or(Some(0), |fields| set.sampling().uniform_rate(fields, set.header()));
        if let (Some(_), None, Some(rate)) = (compiled.template.record_length(), &compiled.reverse, rate) {
            let full = self.gathered.rows >= GATHERED_ROWS || self.gathered.body.len() >= GATHERED_BYTES;
            if full || self.gathered.place != place {
                self.write_gathered();
                self.gathered.place = place;
            }
            self.gathered.body.extend_from_slice(set.body());
            self.gathered.runs.push(Run::new(set, rate));
            self.gathered.rows = self.gathered.rows.saturating_add(rows);
            self.rows = self.rows.saturating_add(rows);
            return rows;
        }
        let two_way = compiled.reverse.is_some();
        self.write_gathered();
        self.append_forward(place, set);
        let reverse_rows = if two_way { self.append_reverse(place, set) } else { 0 };
        rows.saturating_add(reverse_rows)
    }

    /// Writes the records gathered to their rows.
    fn write_gathered(&mut self) {
        let Gathered {
            place,
            rows,
            body,
            runs,
        } = &mut self.gathered;
        let Some(compiled) = self.compiled.get(*place).filter(|_| *rows > 0) else {
            return;
        };
        let mut target = Target {
            columns: self.plan.columns(),
            values: &mut self.values,
            nulls: &mut self.nulls,
            runs,
            rates: Rates::OfRuns,
        };
        let stride = compiled.template.min_record_length();
        let first = self.rows.saturating_sub(*rows);
        target.write(&compiled.forward, &Strided { body, stride }, first, *rows);
        *rows = 0;
        body.clear();
        runs.clear();
    }

    /// Appends the records of one set as they are, without those of the other direction.
    fn append_forward(&mut self, place: usize, set: &DataSet<'_>) {
        let Some(compiled) = self.compiled.get(place) else {
            return;
        };
        let (template, body, rows) = (&*compiled.template, set.body(), set.len());
        let rates = rates(compiled.sampled, set, &mut self.scratch.rates);
        let run = [Run::new(set, 0)];
        let mut target = Target {
            columns: self.plan.columns(),
            values: &mut self.values,
            nulls: &mut self.nulls,
            runs: &run,
            rates,
        };
        match template.record_length() {
            Some(stride) => target.write(&compiled.forward, &Strided { body, stride }, self.rows, rows),
            None => {
                self.scratch.places.clear();
                for_each_record(template, body, |start, record| {
                    push_places(&compiled.forward, template, start, record, &mut self.scratch.places);
                });
                let fields = Picked {
                    body,
                    width: compiled.forward.needed.len(),
                    places: &self.scratch.places,
                };
                target.write(&compiled.forward, &fields, self.rows, rows);
            }
        }
        self.rows = self.rows.saturating_add(rows);
    }

    /// Appends the flows of the other direction, behind those of the set, which were the latest to be appended.
    fn append_reverse(&mut self, place: usize, set: &DataSet<'_>) -> usize {
        self.reserve(set.len());
        let Some(compiled) = self.compiled.get(place) else {
            return 0;
        };
        let (Some(reverse), template) = (&compiled.reverse, &*compiled.template) else {
            return 0;
        };
        let body = set.body();
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
        let extra = self.scratch.picked.len();
        if extra == 0 {
            return 0;
        }
        let of_records = rates(compiled.sampled, set, &mut self.scratch.rates);
        let of = |number: &usize| of_records.at(*number);
        let picked: Vec<u32> = self.scratch.picked.iter().map(of).collect();
        let fields = Picked {
            body,
            width: reverse.needed.len(),
            places: &self.scratch.places,
        };
        let mut target = Target {
            columns: self.plan.columns(),
            values: &mut self.values,
            nulls: &mut self.nulls,
            runs: &[Run::of_rows(set, extra)],
            rates: Rates::Each(&picked),
        };
        target.write(reverse, &fields, self.rows, extra);
        self.rows = self.rows.saturating_add(extra);
        extra
    }

    /// The columns in the order of the plan; the builder starts anew.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.write_gathered();
        let values = core::mem::take(&mut self.values);
        let nulls = core::mem::take(&mut self.nulls);
        let arrays: Vec<ArrayRef> = values
            .into_iter()
            .zip(nulls)
            .map(|(values, nulls)| values.finish(self.rows, nulls.and_then(NullBufferBuilder::build)))
            .collect();
        self.start();
        if self.given.len() >= MAX_GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(arrays.iter().map(memory_of).collect());
        arrays
    }
}

fn rates<'r>(fields: Option<RateFields>, set: &DataSet<'_>, scratch: &'r mut Vec<u32>) -> Rates<'r> {
    scratch.clear();
    match fields {
        None => scratch.resize(set.len(), 0),
        Some(_) => scratch.extend(set.records().map(|record| set.sampling_rate(&record))),
    }
    Rates::Each(scratch)
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
