//! Puts together what the parts give.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use super::{Arrange, Layout, Portion};
use crate::engine::{Delivery, Rows};
use crate::row::decode::{Column, Texts};
use crate::value::{Value, compare_by};

/// Makes deliveries of the portions of all parts: those that time brought to a statement at one instant are one, those that
/// rows brought come in the order of the rows' places.
#[derive(Debug)]
pub struct Merge<P> {
    layout: Arc<Layout>,
    waiting: BTreeMap<Turn<P>, Portion>,
    /// Counts portions, so that those of a part stay in their order.
    added: u64,
    /// By statement: its deliveries so far.
    numbers: Vec<u64>,
}

/// When a portion's turn comes: by time, what time brought before what rows brought.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn<P> {
    time_ms: i64,
    place: Option<P>,
    statement: usize,
    part: usize,
    added: u64,
}

impl<P: Ord> Merge<P> {
    pub(super) const fn new(layout: Arc<Layout>) -> Self {
        Self {
            waiting: BTreeMap::new(),
            added: 0,
            numbers: Vec::new(),
            layout,
        }
    }

    /// Takes a portion that a part has given, and the place of the row that brought it, if one did.
    pub fn add(&mut self, part: usize, portion: Portion, place: Option<P>) {
        self.added += 1;
        let turn = Turn {
            time_ms: portion.time_ms,
            place,
            statement: portion.statement,
            part,
            added: self.added,
        };
        self.waiting.insert(turn, portion);
    }

    /// The next delivery of those that come before the rows of a time.
    pub fn next_until(&mut self, time_ms: i64) -> Option<Delivery> {
        loop {
            let (turn, portions) = self.next_portions(time_ms)?;
            let of = self.layout.statements.get(turn.statement)?;
            let (new, old): (Vec<Rows>, Vec<Rows>) =
                portions.into_iter().map(|portion| (portion.new, portion.old)).unzip();
            let (new, old) = match &of.arrange {
                Some(arrange) => {
                    let visible = of.row_type.schema().fields().len();
                    let (new, old) = (arrange.apply(&new, visible), arrange.apply(&old, visible));
                    if new.is_empty() && old.is_empty() && !arrange.tells_nothing {
                        continue;
                    }
                    (new, old)
                }
                None => (joined(new), joined(old)),
            };
            self.numbers.resize(self.layout.statements.len(), 0);
            let number = &mut self.numbers[turn.statement];
            *number += 1;
            return Some(Delivery {
                statement: Arc::clone(&of.name),
                number: *number,
                time_ms: turn.time_ms,
                row_type: Arc::clone(&of.row_type),
                new,
                old,
            });
        }
    }

    /// The portions of the delivery whose turn is next.
    fn next_portions(&mut self, time_ms: i64) -> Option<(Turn<P>, Vec<Portion>)> {
        let is_due = |turn: &Turn<P>| turn.time_ms < time_ms || turn.time_ms == time_ms && turn.place.is_none();
        let first = self.waiting.first_entry().filter(|first| is_due(first.key()))?;
        let (turn, portion) = first.remove_entry();
        let mut portions = vec![portion];
        let shared = turn.place.is_none() && self.layout.statements.get(turn.statement)?.shared;
        let same =
            |next: &Turn<P>| next.time_ms == turn.time_ms && next.place.is_none() && next.statement == turn.statement;
        while shared && let Some(next) = self.waiting.first_entry().filter(|next| same(next.key())) {
            portions.push(next.remove());
        }
        Some((turn, portions))
    }

    /// How many portions wait for their turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// For each statement the number of its last delivery: all that a checkpoint keeps of a merge in which nothing waits that is due.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers = self.numbers.clone();
        numbers.resize(self.layout.statements.len(), 0);
        numbers
    }

    /// Goes on from the numbers of an earlier run.
    pub fn restore(&mut self, numbers: &[u64]) {
        self.numbers = numbers.to_vec();
        self.numbers.resize(self.layout.statements.len(), 0);
    }
}

/// Rows one after the other.
fn joined(rows: Vec<Rows>) -> Rows {
    let mut rows: Vec<Rows> = rows.into_iter().filter(|rows| !rows.is_empty()).collect();
    if rows.len() <= 1 {
        return rows.pop().unwrap_or_else(Rows::none);
    }
    let batches: Option<Vec<&RecordBatch>> = rows
        .iter()
        .map(|rows| match rows {
            Rows::Columns(batch) => Some(batch),
            Rows::Values(_) => None,
        })
        .collect();
    let batch = batches.and_then(|batches| concat_batches(&batches.first()?.schema(), batches).ok());
    batch.map_or_else(|| Rows::Values(rows.iter().flat_map(values).collect()), Rows::Columns)
}

/// The rows as values.
fn values(rows: &Rows) -> Vec<Arc<[Value]>> {
    match rows {
        Rows::Values(rows) => rows.clone(),
        Rows::Columns(batch) => {
            let mut texts = Texts::default();
            let columns: Vec<Column<'_>> = batch
                .columns()
                .iter()
                .map(|column| Column::new(column, &mut texts))
                .collect();
            let mut row = |row: usize| columns.iter().map(|column| column.value(row, &mut texts)).collect();
            (0..batch.num_rows()).map(&mut row).collect()
        }
    }
}

impl Arrange {
    /// Sorts the rows, takes those that are wanted, and drops the columns that only the order needs.
    fn apply(&self, rows: &[Rows], visible: usize) -> Rows {
        let mut rows: Vec<Arc<[Value]>> = rows.iter().flat_map(values).collect();
        let nothing = Value::Null;
        let key = |row: &[Value]| -> Vec<Value> {
            let keys = self.keys.iter();
            keys.map(|(column, _)| row.get(*column).unwrap_or(&nothing).clone())
                .collect()
        };
        let compare = |left: &Arc<[Value]>, right: &Arc<[Value]>| -> Ordering {
            compare_by(
                self.keys.iter().map(|(_, descending)| *descending),
                &key(left),
                &key(right),
            )
        };
        rows.sort_by(compare);
        let wanted = rows
            .into_iter()
            .skip(self.offset)
            .take(self.limit.unwrap_or(usize::MAX));
        Rows::Values(
            wanted
                .map(|row| row.get(..visible).map_or_else(|| Arc::clone(&row), Arc::from))
                .collect(),
        )
    }
}
