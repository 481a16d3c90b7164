//! Statements that give a row for an event: those that pass events on, and those over pairs of events.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{DataType, SchemaRef};

use super::{Emission, Runtime};
use crate::column::deliver::delivered;
use crate::column::interner::{Rows, id_from};
use crate::column::keys::KeyId;
use crate::column::query::{Passing, Successive};
use crate::column::scalar::Scalar;
use crate::column::succession::{Parts, Succession};
use crate::engine::Rows as Delivered;
use crate::event_type::arrow_type;

/// A statement that passes events on.
#[derive(Debug)]
pub(super) struct Passed {
    statement: usize,
    filter: usize,
    select: Vec<usize>,
    schema: SchemaRef,
}

impl Runtime {
    /// Adds a statement that passes events on; only before the first row. Returns its position.
    pub(crate) fn add_passing(&mut self, passing: &Passing) -> usize {
        let statement = self.statements;
        self.statements += 1;
        let filter = self.filter(&passing.filter);
        let select = passing.select.iter();
        let select = select.map(|scalar| self.inputs.input(scalar, &self.schema)).collect();
        self.passed.push(Passed {
            statement,
            filter,
            select,
            schema: Arc::clone(&passing.schema),
        });
        self.find_users();
        statement
    }

    /// Adds a statement over pairs; only before the first row. Returns its position.
    pub(crate) fn add_successive(&mut self, query: &Successive) -> usize {
        let statement = self.statements;
        self.statements += 1;
        let filters = (self.filter(&query.earlier_filter), self.filter(&query.later_filter));
        let atoms: Vec<KeyId> = query.keys.iter().map(|key| self.atom(key)).collect();
        let Some(key) = self.keys.tuple(&atoms) else {
            return statement;
        };
        let number = |runtime: &mut Self, scalar: &Scalar| {
            let double = matches!(scalar.data_type(&runtime.schema), DataType::Float64 | DataType::Float32);
            let input = runtime.inputs.input(scalar, &runtime.schema);
            (runtime.inputs.number(input, double), arrow_type(&scalar.expr().of))
        };
        let earlier = query.earlier.iter().map(|scalar| number(self, scalar)).collect();
        let later = query.later.iter();
        let later = later
            .map(|scalar| (self.inputs.input(scalar, &self.schema), scalar.data_type(&self.schema)))
            .collect();
        self.successions.push(Succession::new(Parts {
            statement,
            filters,
            key: (key, atoms),
            within_ms: query.within_ms,
            earlier,
            later,
            condition: query.condition.as_ref(),
            select: &query.select,
            schema: &query.schema,
        }));
        self.find_users();
        statement
    }

    /// Lets statements that give rows for single events see a slice.
    pub(super) fn run_pairs(&mut self, slice: &RecordBatch, times: &[i64], offset: usize) {
        for at in 0..self.passed.len() {
            let rows = &self.filters[self.passed[at].filter].rows;
            if rows.len() == 0 {
                continue;
            }
            let places: Vec<u32> = (0..rows.len()).map(|place| id_from(rows.row(place))).collect();
            if let Some(batch) = self.pass(at, slice, times, &places) {
                let emissions = places.iter().enumerate().map(|(place, &row)| Emission {
                    statement: self.passed[at].statement,
                    time_ms: times[row as usize],
                    row: Some(offset + row as usize),
                    rows: Some(Delivered::Columns(batch.slice(place, 1))),
                });
                self.emissions.extend(emissions);
            }
        }
        for succession in &mut self.successions {
            let (earlier, later) = succession.filters;
            let rows: &Rows = &self.filters[later].rows;
            let starts = self.filters[earlier].mask.as_ref();
            let numbers: Vec<_> = succession
                .earlier
                .iter()
                .map(|&(number, _)| &self.inputs.numbers[number].1)
                .collect();
            let pairs = succession.run(&mut self.keys, times, rows, starts, &numbers);
            let inputs = &mut self.inputs;
            let paired = succession.paired(&pairs, times, &mut |input| inputs.array(input, slice, times));
            let emissions = paired.into_iter().map(|paired| Emission {
                statement: succession.statement,
                time_ms: times[paired.row],
                row: Some(offset + paired.row),
                rows: Some(Delivered::Columns(paired.values)),
            });
            self.emissions.extend(emissions);
        }
    }

    /// The rows that a statement makes of some of a slice's.
    fn pass(&mut self, at: usize, slice: &RecordBatch, times: &[i64], places: &[u32]) -> Option<RecordBatch> {
        let passed = &self.passed[at];
        let rows = UInt32Array::from(places.to_vec());
        let arrays: Option<Vec<ArrayRef>> = passed
            .select
            .iter()
            .zip(passed.schema.fields())
            .map(|(&input, field)| {
                let array = self.inputs.array(input, slice, times);
                let array = arrow_select::take::take(&array, &rows, None).ok()?;
                delivered(array, field.data_type())
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&passed.schema), arrays?).ok()
    }
}
