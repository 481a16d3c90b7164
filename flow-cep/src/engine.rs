//! The engine: statements fed with record batches.
//!
//! The engine has no clock. Time is the time column of the rows, and what [`Engine::advance`] says; timers due on the way
//! fire at their own times. The same rows and times give the same deliveries, however they are split into batches.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use crate::column::{Columns, Emission, Sieve, Sifted};
use crate::event_type::EventType;
use crate::plan::{Action, Catalog, CatalogId, InsertPlan, InsertTarget, OnActionPlan, StatementPlan};
use crate::row::decode::{Column, Texts};
use crate::row::runtime::Runtime;
use crate::value::{Type, Value};

/// What an engine holds at most. A limit that is reached refuses what would pass it, counts that and goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups of one statement and partition; also rows of a table. Windows that are kept by pane count a pair of keys in each
    /// pane that has it.
    pub groups: usize,
    /// States of the patterns of one statement and partition, and partial matches of its `match_recognize`.
    pub pattern_states: usize,
    /// Rows of one window.
    pub window_rows: usize,
    /// Partitions of one context.
    pub partitions: usize,
}

impl Default for Limits {
    /// 64 Mi groups, as many as a window of a minute has at a million flows a second that are all of pairs of their own (some 4 GiB
    /// where groups are counts and sums), a hundred million window rows, ten million pattern states, a million partitions.
    fn default() -> Self {
        Self {
            groups: 64 << 20,
            pattern_states: 10_000_000,
            window_rows: 100_000_000,
            partitions: 1_000_000,
        }
    }
}

/// What a limit has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Rows of groups beyond [`Limits::groups`].
    Groups,
    /// States beyond [`Limits::pattern_states`].
    PatternStates,
    /// Rows beyond [`Limits::window_rows`].
    WindowRows,
    /// Partitions beyond [`Limits::partitions`].
    Partitions,
}

impl Refusal {
    /// What there is too much of.
    #[must_use]
    pub const fn limit(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::PatternStates => "pattern states",
            Self::WindowRows => "window rows",
            Self::Partitions => "partitions",
        }
    }
}

/// How an engine runs its statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Execution {
    /// By column where a statement has a columnar form, else by row.
    Mixed,
    /// Every statement by row: slower, and the witness for the other.
    ByRow,
}

/// Why the engine cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No statement and no event type knows the name.
    #[error("no event type is named {0}")]
    UnknownEventType(String),
    /// The batch's columns are not those of the event type.
    #[error("event type {event_type}: the batch has {found}, where {wanted} is wanted")]
    WrongSchema {
        /// The event type.
        event_type: String,
        /// The column wanted.
        wanted: String,
        /// What the batch has.
        found: String,
    },
    /// The event type has no time column.
    #[error("event type {0} has no time column")]
    NoTimeColumn(String),
    /// The columns of a batch do not fit together.
    #[error("columns do not fit together")]
    Arrow(#[source] arrow_schema::ArrowError),
    /// The checkpoint is of another version, of other statements or damaged.
    #[error("the checkpoint does not fit: {0}")]
    BadCheckpoint(String),
}

/// Rows that a statement gives at an instant.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The statement's name.
    pub statement: Arc<str>,
    /// The number of the delivery within the statement, from 1. With the name it is the identity of the delivery, the same
    /// after a restart.
    pub number: u64,
    /// The engine's time.
    pub time_ms: i64,
    /// The names and types of the rows' columns.
    pub row_type: Arc<EventType>,
    /// Rows that have become true.
    pub new: Rows,
    /// Rows that are no longer true.
    pub old: Rows,
}

impl Delivery {
    /// Whether the delivery has no rows, which says that there was nothing at the moment of output.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }
}

/// Rows of a delivery, as values or as columns.
#[derive(Clone, Debug)]
pub enum Rows {
    /// A list of values for each row.
    Values(Vec<Arc<[Value]>>),
    /// Columns.
    Columns(RecordBatch),
}

impl Rows {
    /// No rows.
    #[must_use]
    pub const fn none() -> Self {
        Self::Values(Vec::new())
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Values(rows) => rows.len(),
            Self::Columns(batch) => batch.num_rows(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as a record batch of the type.
    #[must_use]
    pub fn to_batch(&self, row_type: &EventType) -> RecordBatch {
        match self {
            Self::Columns(batch) => batch.clone(),
            Self::Values(rows) => crate::row::encode::batch(rows, row_type),
        }
    }

    /// The values of a row.
    #[must_use]
    pub fn values(&self, row: usize) -> Vec<Value> {
        match self {
            Self::Values(rows) => rows.get(row).map(|row| row.to_vec()).unwrap_or_default(),
            Self::Columns(batch) => {
                let mut texts = Texts::default();
                batch
                    .columns()
                    .iter()
                    .map(|column| Column::new(column, &mut texts).value(row, &mut Texts::default()))
                    .collect()
            }
        }
    }
}

/// What an engine's statement is, for those who list them.
#[derive(Debug)]
struct Deployed {
    name: Arc<str>,
    row_type: Arc<EventType>,
    deliveries: u64,
}

/// Statements at work.
pub struct Engine {
    catalog: Arc<Catalog>,
    deployed: Vec<Deployed>,
    /// The statements that run by row; `by_row` are their numbers.
    runtime: Runtime,
    by_row: Vec<usize>,
    /// By event type, what the statements that run by row ask of its rows.
    sieves: Vec<Sieve>,
    /// The statements that run by column, and what they gave that is yet to be delivered.
    columns: Columns,
    emitted: VecDeque<Emission>,
    /// By statement, what those that run by column insert, and the events that those that run by row have yet to see.
    inserts: Vec<Option<InsertPlan>>,
    inserted: VecDeque<Inserted>,
    texts: Texts,
    output: VecDeque<Given>,
}

/// A delivery, of which statement by number, and what brought it about.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) statement: usize,
    /// The row of the batch pushed last; none if time did.
    pub(crate) row: Option<usize>,
    pub(crate) delivery: Delivery,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("statements", &self.deployed)
            .field("now_ms", &self.runtime.now_ms())
            .finish_non_exhaustive()
    }
}

/// Events that a statement by column has inserted.
#[derive(Debug)]
struct Inserted {
    time_ms: i64,
    /// The row of the batch after which they come; none if a timer brought them.
    row: Option<usize>,
    event_type: CatalogId,
    events: Vec<Vec<Value>>,
}

/// The version of the checkpoint's format.
const CHECKPOINT_VERSION: u32 = 7;

/// What a checkpoint begins with; the states of both runtimes and a CRC-32 of all of it follow.
#[derive(Serialize, Deserialize)]
struct CheckpointHead {
    version: u32,
    /// Name and deliveries.
    statements: Vec<(String, u64)>,
}

/// The type of what a statement delivers.
pub(crate) fn row_type(plan: &StatementPlan, catalog: &Catalog) -> Arc<EventType> {
    let nothing = || Arc::new(EventType::from_columns(plan.name.clone(), &[] as &[(String, Type)]));
    match &plan.action {
        Action::Select(select) => select.output_type.clone(),
        Action::CreateWindow(window) => catalog.windows[*window].event_type.clone(),
        Action::On(on) => match (&on.action, on.target) {
            (OnActionPlan::Select { select, .. }, _) => select.output_type.clone(),
            (OnActionPlan::Set(assignments), _) => {
                let variables = assignments
                    .iter()
                    .filter_map(|(variable, _)| catalog.variables.get(*variable));
                let columns: Vec<(String, Type)> = variables
                    .map(|variable| (variable.name.clone(), variable.of.clone()))
                    .collect();
                Arc::new(EventType::from_columns(plan.name.clone(), &columns))
            }
            (_, Some(InsertTarget::Window(window))) => catalog.windows[window].event_type.clone(),
            (_, Some(InsertTarget::Table(table))) => catalog.tables[table].event_type.clone(),
            _ => nothing(),
        },
        Action::CreateTable(_) | Action::CreateContext(_) | Action::CreateVariable(_) | Action::CreateSchema(_) => {
            nothing()
        }
    }
}

impl Engine {
    /// Deploys planned statements at a time; the plans refer to the catalogue that they were planned with.
    ///
    /// Statements of the shapes that see every flow (filter, window, groups, `output snapshot` or batches) run by column, the
    /// others by row.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, statements: &[StatementPlan], start_ms: i64, limits: Limits) -> Self {
        Self::with_execution(catalog, statements, start_ms, limits, Execution::Mixed)
    }

    /// As [`Engine::new`], with a say in how statements run. The results are the same.
    #[must_use]
    pub fn with_execution(
        catalog: Arc<Catalog>,
        statements: &[StatementPlan],
        start_ms: i64,
        limits: Limits,
        execution: Execution,
    ) -> Self {
        let deployed = statements
            .iter()
            .map(|plan| Deployed {
                name: Arc::from(plan.name.as_str()),
                row_type: row_type(plan, &catalog),
                deliveries: 0,
            })
            .collect();
        let columns = match execution {
            Execution::Mixed => Columns::new(&catalog, statements, start_ms, &limits),
            Execution::ByRow => Columns::default(),
        };
        let inserts = (0..statements.len())
            .map(|number| match &statements[number].action {
                Action::Select(select) if columns.runs(number) => select.insert.clone(),
                _ => None,
            })
            .collect();
        let by_row: Vec<usize> = (0..statements.len()).filter(|&number| !columns.runs(number)).collect();
        let rest: Vec<StatementPlan> = by_row.iter().map(|&number| statements[number].clone()).collect();
        let sieve = |(id, of): (CatalogId, &Arc<EventType>)| Sieve::new(id, of.schema(), &rest);
        let sieves = catalog.event_types.iter().enumerate().map(sieve).collect();
        let mut engine = Self {
            sieves,
            runtime: Runtime::new(catalog.clone(), &rest, start_ms, limits),
            by_row,
            columns,
            emitted: VecDeque::new(),
            inserts,
            inserted: VecDeque::new(),
            catalog,
            deployed,
            texts: Texts::default(),
            output: VecDeque::new(),
        };
        engine.collect();
        engine
    }

    /// The engine's time in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.runtime.now_ms()
    }

    /// The names of the statements.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        self.deployed.iter().map(|deployed| &*deployed.name)
    }

    /// Takes in rows of an event type, in the order of its time column.
    ///
    /// The clock moves to each row's time before the row is processed; a row before the clock is processed at the clock's
    /// time. The batch must have the event type's columns in their order.
    ///
    /// # Errors
    /// When the event type is unknown or has no time column, or the batch has other columns.
    pub fn push(&mut self, event_type: &str, batch: &RecordBatch) -> Result<(), EngineError> {
        let (id, time) = source(&self.catalog, event_type, batch)?;
        let times = engine_times(time, self.runtime.now_ms());
        self.columns.push(id, batch, &times);
        self.take_emissions();
        self.push_rows(id, batch, &times);
        self.collect();
        Ok(())
    }

    fn push_rows(&mut self, event_type: CatalogId, batch: &RecordBatch, times: &[i64]) {
        if !self.runtime.listens(event_type) {
            if let Some(&last) = times.last() {
                self.advance_rows(last);
            }
            return;
        }
        let columns: Vec<Column<'_>> = self
            .runtime
            .columns(event_type)
            .into_iter()
            .map(|column| Column::new(batch.column(column), &mut self.texts))
            .collect();
        let sifted = self.sieves[event_type].sift(batch, times);
        match self
            .runtime
            .listeners(event_type)
            .and_then(|listeners| sifted.any(listeners))
        {
            Some(some) => some
                .set_indices()
                .for_each(|row| self.push_row(event_type, times[row], &columns, row, &sifted)),
            None => (0..times.len()).for_each(|row| self.push_row(event_type, times[row], &columns, row, &sifted)),
        }
        if let Some(&last) = times.last() {
            self.advance_rows(last);
        }
    }

    /// Notes what the statements by column gave, and what of it they insert.
    fn take_emissions(&mut self) {
        let emissions = self.columns.take();
        let before = self.inserted.len();
        for emission in &emissions {
            let (Some(insert), Some(rows)) = (&self.inserts[emission.statement], &emission.rows) else {
                continue;
            };
            let InsertTarget::Events(event_type) = insert.target else {
                continue;
            };
            if !self.runtime.listens(event_type) {
                continue;
            }
            let event = |values: Vec<Value>| -> Vec<Value> {
                let value = |column: &Option<usize>| column.and_then(|column| values.get(column).cloned());
                insert
                    .mapping
                    .iter()
                    .map(|column| value(column).unwrap_or_default())
                    .collect()
            };
            self.inserted.push_back(Inserted {
                time_ms: emission.time_ms,
                row: emission.row,
                event_type,
                events: (0..rows.len()).map(|row| event(rows.values(row))).collect(),
            });
        }
        // What timers bring comes before the rows of the same time, as no row comes before the first.
        self.inserted.make_contiguous()[before..].sort_by_key(|inserted| (inserted.time_ms, inserted.row));
        self.emitted.extend(emissions);
    }

    /// Lets the statements by row see what was inserted at or before a time, and before a row of that time if one is told.
    fn insert_before(&mut self, time_ms: i64, row: Option<usize>) {
        let due = |inserted: &Inserted| {
            inserted.time_ms < time_ms || inserted.time_ms == time_ms && (row.is_none() || inserted.row < row)
        };
        while self.inserted.front().is_some_and(due) {
            let Some(inserted) = self.inserted.pop_front() else {
                return;
            };
            self.runtime.advance(inserted.time_ms);
            self.runtime.cause = inserted.row;
            self.runtime.insert_events(inserted.event_type, inserted.events);
            self.runtime.cause = None;
        }
    }

    /// Moves the clock of the statements by row, with what is inserted on the way.
    fn advance_rows(&mut self, to_ms: i64) {
        self.insert_before(to_ms, None);
        self.runtime.advance(to_ms.max(self.runtime.now_ms()));
    }

    fn push_row(&mut self, event_type: CatalogId, time: i64, columns: &[Column<'_>], row: usize, sifted: &Sifted) {
        if !self.inserted.is_empty() {
            self.insert_before(time, Some(row));
        }
        if time > self.runtime.now_ms() {
            self.runtime.advance(time);
        }
        self.runtime.cause = Some(row);
        let texts = &mut self.texts;
        self.runtime.event(
            event_type,
            columns.len(),
            |place| columns[place].value(row, texts),
            |statement| sifted.wants(statement, row),
        );
        self.runtime.cause = None;
    }

    /// Moves the clock; it does not go back.
    pub fn advance(&mut self, to_ms: i64) {
        let to_ms = to_ms.max(self.runtime.now_ms());
        self.columns.advance(to_ms);
        self.take_emissions();
        self.advance_rows(to_ms);
        self.collect();
    }

    /// When something is due that [`Engine::advance`] would bring about.
    pub fn next_deadline(&mut self) -> Option<i64> {
        self.runtime.due().into_iter().chain(self.columns.due()).min()
    }

    /// The next delivery.
    pub fn next_output(&mut self) -> Option<Delivery> {
        self.next_given().map(|given| given.delivery)
    }

    /// The next delivery with what brought it about.
    pub(crate) fn next_given(&mut self) -> Option<Given> {
        self.output.pop_front()
    }

    /// Tells a statement that its first row came at a time, though perhaps not here: the clocks that start with the first row
    /// start with that one. To be told before a row of that time or a later one is pushed.
    pub(crate) fn anchor(&mut self, statement: usize, time_ms: i64) {
        match self.by_row.binary_search(&statement) {
            Ok(place) => self.runtime.anchor(place, time_ms),
            Err(_) => self.columns.anchor(statement, time_ms),
        }
    }

    /// Brings the results of both runtimes into the order of time.
    fn collect(&mut self) {
        loop {
            let by_row = self.runtime.next_delivery();
            let until = by_row.as_ref().map_or(i64::MAX, |delivery| delivery.time_ms);
            while self.emitted.front().is_some_and(|emission| emission.time_ms <= until) {
                let Some(emission) = self.emitted.pop_front() else {
                    break;
                };
                let new = emission.rows.unwrap_or_else(Rows::none);
                self.deliver(emission.statement, (emission.time_ms, emission.row), new, Rows::none());
            }
            let Some(delivery) = by_row else { return };
            let (new, old) = (Rows::Values(delivery.new), Rows::Values(delivery.old));
            let came = (delivery.time_ms, delivery.cause);
            self.deliver(self.by_row[delivery.statement], came, new, old);
        }
    }

    fn deliver(&mut self, statement: usize, (time_ms, row): (i64, Option<usize>), new: Rows, old: Rows) {
        let deployed = &mut self.deployed[statement];
        deployed.deliveries += 1;
        let delivery = Delivery {
            statement: deployed.name.clone(),
            number: deployed.deliveries,
            time_ms,
            row_type: deployed.row_type.clone(),
            new,
            old,
        };
        self.output.push_back(Given {
            statement,
            row,
            delivery,
        });
    }

    /// What limits have refused since the last call: statement, kind and count.
    pub fn take_refusals(&mut self) -> Vec<(Arc<str>, Refusal, u64)> {
        let by_row = self.runtime.take_refusals().into_iter();
        let mut refusals: Vec<(usize, Refusal, u64)> = by_row
            .map(|(statement, refusal, count)| (self.by_row[statement], refusal, count))
            .collect();
        for (statement, groups, rows) in self.columns.take_refused() {
            refusals.push((statement, Refusal::Groups, groups));
            refusals.push((statement, Refusal::WindowRows, rows));
        }
        refusals
            .into_iter()
            .filter(|(_, _, count)| *count > 0)
            .map(|(statement, refusal, count)| (self.deployed[statement].name.clone(), refusal, count))
            .collect()
    }

    /// For each statement: its name, window rows, groups and pattern states held.
    #[must_use]
    pub fn sizes(&self) -> Vec<(Arc<str>, usize, usize, usize)> {
        self.deployed
            .iter()
            .enumerate()
            .map(|(at, deployed)| {
                let (rows, groups, states) = match self.by_row.binary_search(&at) {
                    Ok(place) => self.runtime.size(place),
                    Err(_) => {
                        let (rows, groups) = self.columns.size(at);
                        (rows, groups, 0)
                    }
                };
                (deployed.name.clone(), rows, groups, states)
            })
            .collect()
    }

    /// Writes the state of all statements. Deliveries not yet taken are not part of it.
    ///
    /// # Errors
    /// When the state cannot be written, which would be a defect of the engine.
    pub fn checkpoint(&self) -> Result<Vec<u8>, EngineError> {
        self.append_checkpoint(Vec::new())
    }

    /// Appends what [`checkpoint`](Self::checkpoint) gives.
    pub(crate) fn append_checkpoint(&self, bytes: Vec<u8>) -> Result<Vec<u8>, EngineError> {
        let bad = |error: postcard::Error| EngineError::BadCheckpoint(error.to_string());
        let head = CheckpointHead {
            version: CHECKPOINT_VERSION,
            statements: self
                .deployed
                .iter()
                .map(|deployed| (deployed.name.to_string(), deployed.deliveries))
                .collect(),
        };
        let start = bytes.len();
        let bytes = postcard::to_extend(&head, bytes).map_err(bad)?;
        let bytes = self.runtime.save(bytes).map_err(bad)?;
        let mut bytes = self.columns.save(bytes).map_err(bad)?;
        let sum = crc32fast::hash(bytes.get(start..).unwrap_or_default());
        bytes.extend_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }

    /// Takes up the state that an engine with the same statements has written.
    ///
    /// # Errors
    /// When the checkpoint is of another version or of other statements, or is damaged. The engine must then be dropped.
    pub fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EngineError> {
        let bad = |error: postcard::Error| EngineError::BadCheckpoint(error.to_string());
        let sum = checkpoint.split_last_chunk::<4>();
        let Some((checkpoint, _)) = sum.filter(|(bytes, sum)| crc32fast::hash(bytes).to_le_bytes() == **sum) else {
            return Err(EngineError::BadCheckpoint("its checksum is wrong".to_owned()));
        };
        let (version, _) = postcard::take_from_bytes::<u32>(checkpoint).map_err(bad)?;
        if version != CHECKPOINT_VERSION {
            return Err(EngineError::BadCheckpoint(format!(
                "version {version}, where {CHECKPOINT_VERSION} is wanted"
            )));
        }
        let (head, states): (CheckpointHead, _) = postcard::take_from_bytes(checkpoint).map_err(bad)?;
        let same = head.statements.len() == self.deployed.len()
            && head
                .statements
                .iter()
                .zip(&self.deployed)
                .all(|((name, _), deployed)| **name == *deployed.name);
        if !same {
            return Err(EngineError::BadCheckpoint("it is of other statements".to_owned()));
        }
        let columns = self.runtime.restore(states).map_err(bad)?;
        self.columns.restore(columns).map_err(bad)?;
        for (deployed, (_, deliveries)) in self.deployed.iter_mut().zip(head.statements) {
            deployed.deliveries = deliveries;
        }
        self.output.clear();
        self.emitted.clear();
        self.inserted.clear();
        Ok(())
    }
}

/// The engine's time at each row of a time column: never before the clock, nor before that of an earlier row.
pub(crate) fn engine_times(column: &ArrayRef, now_ms: i64) -> Cow<'_, [i64]> {
    let values: &[i64] = match column.data_type() {
        DataType::Timestamp(..) => column.as_primitive::<TimestampMillisecondType>().values(),
        _ => column.as_primitive::<Int64Type>().values(),
    };
    let in_order = values.first().is_none_or(|&first| first >= now_ms) && values.is_sorted();
    if in_order && column.null_count() == 0 {
        return Cow::Borrowed(values);
    }
    let mut now_ms = now_ms;
    let mut clock = |(row, &time): (usize, &i64)| {
        if column.is_valid(row) {
            now_ms = now_ms.max(time);
        }
        now_ms
    };
    Cow::Owned(values.iter().enumerate().map(&mut clock).collect())
}

/// The event type of a batch, and the batch's column of times.
pub(crate) fn source<'a>(
    catalog: &Catalog,
    event_type: &str,
    batch: &'a RecordBatch,
) -> Result<(CatalogId, &'a ArrayRef), EngineError> {
    let (id, of) = catalog
        .event_types
        .iter()
        .enumerate()
        .find(|(_, of)| of.name() == event_type)
        .ok_or_else(|| EngineError::UnknownEventType(event_type.to_owned()))?;
    let time = of
        .time_column()
        .ok_or_else(|| EngineError::NoTimeColumn(event_type.to_owned()))?;
    check(of, batch)?;
    Ok((id, batch.column(time)))
}

/// Whether a batch has the columns of an event type.
fn check(of: &EventType, batch: &RecordBatch) -> Result<(), EngineError> {
    let schema = batch.schema();
    for (at, wanted) in of.schema().fields().iter().enumerate() {
        let found = schema.fields().get(at);
        if found.is_none_or(|found| found.name() != wanted.name() || found.data_type() != wanted.data_type()) {
            return Err(EngineError::WrongSchema {
                event_type: of.name().to_owned(),
                wanted: format!("{} {}", wanted.name(), wanted.data_type()),
                found: found.map_or_else(
                    || "no such column".to_owned(),
                    |found| format!("{} {}", found.name(), found.data_type()),
                ),
            });
        }
    }
    Ok(())
}
