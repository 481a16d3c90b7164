//! Statements that select the rows of a batch: `order by` with `limit` keeps only what may be delivered.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;

use super::deliver::delivered;
use super::interner::{Rows, id_from};
use super::order::{self, Best, FEW, SortKey};
use crate::event_type::arrow_type;
use crate::expr::column;
use crate::value::{Type, Value};

/// Rows over which the kept candidates are thinned out again.
const THIN_ROWS: usize = 4096;

/// The rows of the present batch that may be delivered.
#[derive(Debug)]
pub(crate) struct RowOutput {
    /// Inputs of the event.
    having: Option<usize>,
    select: Vec<usize>,
    order: Vec<(usize, bool)>,
    limit: Option<usize>,
    offset: usize,
    schema: SchemaRef,
    /// Types of a piece's columns.
    types: Vec<Type>,
    /// Pieces in the order of arrival: the order's columns, then the select's.
    pieces: Vec<Vec<ArrayRef>>,
    rows: usize,
    /// What a row of the present batch has to beat, where few are wanted.
    best: Option<Best>,
}

impl RowOutput {
    pub(crate) fn new(
        having: Option<usize>,
        select: Vec<usize>,
        order: Vec<(usize, bool)>,
        (limit, offset): (Option<usize>, usize),
        types: Vec<Type>,
        schema: &SchemaRef,
    ) -> Self {
        let schema = Arc::clone(schema);
        let wanted = limit.map_or(usize::MAX, |limit: usize| limit.saturating_add(offset));
        let few = (1..=FEW).contains(&wanted);
        let best = order.first().filter(|_| few);
        Self {
            best: best.map(|&(_, descending)| Best::new(wanted, descending)),
            having,
            select,
            order,
            limit,
            offset,
            schema,
            types,
            pieces: Vec::new(),
            rows: 0,
        }
    }

    /// The candidates, a list of values for each.
    pub(crate) fn save(&self) -> Vec<Vec<Value>> {
        let rows = |piece: &Vec<ArrayRef>| {
            let length = piece.first().map_or(0, |column| column.len());
            let piece = piece.clone();
            (0..length).map(move |row| piece.iter().map(|column| column::value_at(column, row)).collect())
        };
        self.pieces.iter().flat_map(rows).collect()
    }

    /// Takes up saved candidates.
    pub(crate) fn restore(&mut self, rows: Vec<Vec<Value>>) -> Option<()> {
        if rows.iter().any(|row| row.len() != self.types.len()) {
            return None;
        }
        self.rows = rows.len();
        self.pieces.clear();
        if !rows.is_empty() {
            let column = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Vec<Value>>();
            let piece = self
                .types
                .iter()
                .enumerate()
                .map(|(at, of)| column::array_of(&column(at), of))
                .collect();
            self.pieces.push(piece);
        }
        Some(())
    }

    /// Candidates kept.
    pub(crate) const fn len(&self) -> usize {
        self.rows
    }

    fn wanted(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_add(self.offset))
    }

    /// The rows between two places of the selection that may be delivered.
    fn candidates(
        &mut self,
        input: &mut impl FnMut(usize) -> ArrayRef,
        rows: &Rows,
        (from, to): (usize, usize),
    ) -> Vec<u32> {
        let listed = || {
            let mut places = Vec::with_capacity(to - from);
            rows.each(from, to, |row| places.push(id_from(row)));
            places
        };
        let mut passed = None;
        if let Some(having) = self.having {
            let mut places = listed();
            if let Some(truth) = input(having).as_boolean_opt() {
                places.retain(|&row| truth.is_valid(row as usize) && truth.value(row as usize));
            }
            passed = Some(Rows::Some(places));
        }
        let (rows, span) = passed
            .as_ref()
            .map_or((rows, (from, to)), |rows| (rows, (0, rows.len())));
        if let (Some(best), Some(&(column, _))) = (&mut self.best, self.order.first())
            && best.offer_all(&input(column), rows, span)
        {
            return best.take();
        }
        match passed {
            Some(Rows::Some(places)) => places,
            _ => listed(),
        }
    }

    /// Considers the rows between two places of the selection.
    pub(crate) fn add(&mut self, input: &mut impl FnMut(usize) -> ArrayRef, rows: &Rows, (from, to): (usize, usize)) {
        let wanted = self.wanted();
        if self.order.is_empty() && self.rows >= wanted {
            return;
        }
        let mut places = self.candidates(input, rows, (from, to));
        if self.order.is_empty() && self.limit.is_some() {
            places.truncate(wanted - self.rows);
        }
        let places = UInt32Array::from(places);
        if places.is_empty() {
            return;
        }
        let columns = self.order.iter().map(|(column, _)| *column);
        let mut piece: Vec<ArrayRef> = Vec::new();
        for column in columns.chain(self.select.iter().copied()) {
            let Ok(values) = arrow_select::take::take(&input(column), &places, None) else {
                return;
            };
            piece.push(values);
        }
        let piece: Option<Vec<ArrayRef>> = piece
            .into_iter()
            .zip(&self.types)
            .map(|(column, of)| delivered(column, &arrow_type(of)))
            .collect();
        let Some(piece) = piece else { return };
        self.rows += places.len();
        self.pieces.push(piece);
        let many = self.limit.is_some() && self.rows > THIN_ROWS.max(wanted.saturating_mul(4));
        if many && let Some(kept) = self.sorted() {
            self.rows = kept.first().map_or(0, |column| column.len());
            self.pieces = vec![kept];
        }
    }

    /// The columns of the rows kept so far, in order and no more than wanted. Sorted rows stay before later ones that are
    /// equal to them, so that ties keep the order of arrival.
    fn sorted(&self) -> Option<Vec<ArrayRef>> {
        let columns = self.pieces.first()?.len();
        let mut whole = Vec::with_capacity(columns);
        for column in 0..columns {
            let parts: Vec<&dyn Array> = self.pieces.iter().map(|piece| piece[column].as_ref()).collect();
            whole.push(if let [part] = parts[..] {
                part.slice(0, part.len())
            } else {
                arrow_select::concat::concat(&parts).ok()?
            });
        }
        let wanted = self.wanted();
        if self.order.is_empty() {
            return Some(
                whole
                    .into_iter()
                    .map(|column| column.slice(0, column.len().min(wanted)))
                    .collect(),
            );
        }
        let leading = match (whole.first(), self.order.first()) {
            (Some(values), Some((_, descending))) => order::leading(&(Arc::clone(values), *descending), wanted),
            _ => return None,
        };
        let mut places: UInt32Array = leading.into_iter().map(id_from).collect();
        let keys: Option<Vec<SortKey>> = whole
            .iter()
            .zip(&self.order)
            .map(|(values, (_, descending))| Some((arrow_select::take::take(values, &places, None).ok()?, *descending)))
            .collect();
        let sorted = order::sorted(&keys?, |place| place);
        places = sorted
            .into_iter()
            .take(wanted)
            .map(|place| places.value(place))
            .collect();
        whole
            .iter()
            .map(|column| arrow_select::take::take(column, &places, None).ok())
            .collect()
    }

    /// The rows of the batch, none if there are none; starts the next batch.
    pub(crate) fn finish(&mut self) -> Option<RecordBatch> {
        let columns = self.sorted();
        if let Some(best) = &mut self.best {
            best.clear();
        }
        self.pieces.clear();
        self.rows = 0;
        let columns = columns?;
        let rows = columns.first().map_or(0, |column| column.len());
        if rows <= self.offset {
            return None;
        }
        let columns: Option<Vec<ArrayRef>> = columns
            .into_iter()
            .skip(self.order.len())
            .zip(self.schema.fields())
            .map(|(column, field)| delivered(column.slice(self.offset, rows - self.offset), field.data_type()))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows - self.offset));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options).ok()
    }
}
