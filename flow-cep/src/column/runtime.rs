//! All columnar statements of one stream, side by side over the same slices.

mod anchor;
mod pairing;
mod snapshots;
mod watching;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Schema, SchemaRef};

use super::emit::{Clauses, GroupColumn, GroupOutput};
use super::groups::{Grouping, Groups as _};
use super::index::Mapping;
use super::interner::{Rows, id_from};
use super::keys::{KeyId, Keys};
use super::numbers::Numbers;
use super::pane::{PaneGroups, Panes};
use super::pick::RowOutput;
use super::query::{Aggregate, Body, Function, GroupClauses, Output, Query, Window};
use super::scalar::{Compiled, Scalar};
use super::succession::Succession;
use super::view::{Keeping, View};
use super::watch::{Groups, Watch};
use pairing::Passed;

use crate::engine::Rows as Delivered;
use crate::event_type::arrow_type;

/// Rows that are worked on at a time: few enough that their ids and slots stay in a near cache, many enough that what each filter and
/// grouping costs for a slice does not count.
const SLICE_ROWS: usize = 4096;

/// What a statement gives at an instant: rows, or the news that there are none.
#[derive(Debug, Clone)]
pub(crate) struct Emission {
    /// Position of the statement in the order of [`Runtime::add`].
    pub(crate) statement: usize,
    pub(crate) time_ms: i64,
    /// The row of the batch that brought it; none if a timer did, or if nothing depends on it.
    pub(crate) row: Option<usize>,
    pub(crate) rows: Option<Delivered>,
}

/// Expressions over the stream's columns, each evaluated once for a slice.
#[derive(Debug, Default)]
struct Inputs {
    /// Columns of the stream that the inputs read, in the order of the slices' columns.
    columns: Vec<usize>,
    scalars: Vec<Scalar>,
    compiled: Vec<Compiled>,
    arrays: Vec<Option<ArrayRef>>,
    masks: Vec<Option<BooleanBuffer>>,
    /// By argument: the input and its numbers.
    numbers: Vec<(usize, Numbers)>,
}

impl Inputs {
    fn input(&mut self, scalar: &Scalar, schema: &Schema) -> usize {
        if let Some(input) = self.scalars.iter().position(|known| known == scalar) {
            return input;
        }
        for column in scalar.columns() {
            if !self.columns.contains(&column) {
                self.columns.push(column);
            }
        }
        let place = |column: usize| self.columns.iter().position(|&known| known == column).unwrap_or(0);
        let fields: Vec<_> = self
            .columns
            .iter()
            .map(|&column| schema.field(column).clone())
            .collect();
        self.compiled.push(scalar.remap(place).compile(&Schema::new(fields)));
        self.scalars.push(scalar.clone());
        self.arrays.push(None);
        self.masks.push(None);
        self.scalars.len() - 1
    }

    /// The place among the numbers of an input.
    fn number(&mut self, input: usize, double: bool) -> usize {
        if let Some(number) = self.numbers.iter().position(|(known, _)| *known == input) {
            return number;
        }
        self.numbers.push((input, Numbers::new(double)));
        self.numbers.len() - 1
    }

    fn array(&mut self, input: usize, slice: &RecordBatch, times: &[i64]) -> ArrayRef {
        let array = self.arrays[input].get_or_insert_with(|| self.compiled[input].evaluate(slice, times));
        Arc::clone(array)
    }

    fn mask(&mut self, input: usize, slice: &RecordBatch, times: &[i64]) -> BooleanBuffer {
        self.masks[input]
            .get_or_insert_with(|| self.compiled[input].mask(slice, times))
            .clone()
    }
}

/// A set of conditions and the rows of the present slice that meet them.
#[derive(Debug)]
struct Filter {
    /// Inputs; none for all rows.
    conditions: Vec<usize>,
    mask: Option<BooleanBuffer>,
    rows: Rows,
}

/// A statement on a view: what it outputs and when next.
#[derive(Debug)]
pub(crate) struct GroupClient {
    statement: usize,
    output: GroupOutput,
    grouping: usize,
    every_ms: Option<i64>,
    pub(crate) next_ms: Option<i64>,
}

/// A statement that selects the rows of batches.
#[derive(Debug)]
pub(crate) struct RowClient {
    statement: usize,
    pub(crate) output: RowOutput,
}

/// The grid of `#time_batch`.
#[derive(Debug)]
pub(crate) struct Grid {
    span_ms: i64,
    pub(crate) anchor_ms: Option<i64>,
    forced: bool,
    pub(crate) next_ms: Option<i64>,
    /// Rows of the batch before.
    pub(crate) last_rows: usize,
}

impl Grid {
    /// The first instant of the grid after a time.
    fn after(&self, time_ms: i64) -> i64 {
        let anchor = self.anchor_ms.unwrap_or(time_ms);
        let passed = time_ms.saturating_sub(anchor).rem_euclid(self.span_ms);
        time_ms.saturating_sub(passed).saturating_add(self.span_ms)
    }

    fn arrive(&mut self, time_ms: i64) {
        if self.next_ms.is_none() {
            self.anchor_ms.get_or_insert(time_ms);
            self.next_ms = Some(self.after(time_ms));
        }
    }
}

/// A view, its clock, and the statements that read it.
#[derive(Debug)]
pub(crate) struct Runner {
    filter: usize,
    window: Window,
    pub(crate) view: View,
    /// By argument of the view: its place among the inputs' numbers.
    numbers: Vec<usize>,
    pub(crate) grid: Option<Grid>,
    pub(crate) groups: Vec<GroupClient>,
    pub(crate) rows: Vec<RowClient>,
}

/// The statements of a stream that run column by column.
#[derive(Debug)]
pub(crate) struct Runtime {
    schema: SchemaRef,
    inputs: Inputs,
    filters: Vec<Filter>,
    pub(crate) keys: Keys,
    /// By key: the filters whose rows need its ids.
    key_users: Vec<Vec<usize>>,
    /// By number of the inputs: the filters whose rows need it.
    number_users: Vec<Vec<usize>>,
    pub(crate) runners: Vec<Runner>,
    pub(crate) panes: Vec<Panes>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) successions: Vec<Succession>,
    passed: Vec<Passed>,
    window_rows: usize,
    statements: usize,
    emissions: Vec<Emission>,
    given: Vec<Emission>,
}

impl Runtime {
    /// A runtime for rows of this schema, which refuses more than `groups` keys of a kind and `window_rows` rows in a window.
    pub(crate) fn new(schema: SchemaRef, groups: usize, window_rows: usize) -> Self {
        Self {
            schema,
            inputs: Inputs::default(),
            filters: Vec::new(),
            keys: Keys::new(groups),
            key_users: Vec::new(),
            number_users: Vec::new(),
            runners: Vec::new(),
            panes: Vec::new(),
            watches: Vec::new(),
            successions: Vec::new(),
            passed: Vec::new(),
            window_rows,
            statements: 0,
            emissions: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Adds a statement that is deployed at `now_ms`; only before the first row. Returns its position.
    pub(crate) fn add(&mut self, query: &Query, now_ms: i64) -> usize {
        let statement = self.statements;
        self.statements += 1;
        if let (true, Some(clauses)) = (query.output.is_watched(), GroupClauses::of(query)) {
            self.watch(query, clauses, statement);
            self.find_users();
            return statement;
        }
        if self.watch_snapshots(query, statement) {
            self.find_users();
            return statement;
        }
        if self.add_snapshots(query, statement) {
            self.find_users();
            return statement;
        }
        let filter = self.filter(&query.filter);
        let runner = self.runner(filter, query.window, now_ms);
        match &query.body {
            Body::Rows { having, select } => {
                let (inputs, schema) = (&mut self.inputs, &self.schema);
                let mut input = |scalar: &Scalar| inputs.input(scalar, schema);
                let output = RowOutput::new(
                    having.as_ref().map(&mut input),
                    select.iter().map(&mut input).collect(),
                    query
                        .order
                        .iter()
                        .map(|(scalar, descending)| (input(scalar), *descending))
                        .collect(),
                    (query.limit, query.offset),
                    query
                        .order
                        .iter()
                        .map(|(scalar, _)| scalar)
                        .chain(select)
                        .map(|scalar| scalar.expr().of.clone())
                        .collect(),
                    &query.schema,
                );
                self.runners[runner].rows.push(RowClient { statement, output });
            }
            Body::Groups {
                keys,
                aggregates,
                having,
                select,
            } => {
                let atoms: Vec<KeyId> = keys.iter().map(|key| self.atom(key)).collect();
                let mut columns: Vec<GroupColumn> = atoms.iter().map(|&atom| GroupColumn::Key(atom)).collect();
                let key = self.keys.tuple(&atoms);
                let grouping = self.grouping(runner, key);
                for aggregate in aggregates {
                    let argument = aggregate.argument.as_ref();
                    columns.push(self.aggregate(runner, grouping, &atoms, aggregate.function, argument));
                }
                let clauses = Clauses::of(query, having.as_ref(), select);
                let output = GroupOutput::new(columns, &self.column_types(&atoms, aggregates), &clauses);
                let every_ms = match query.output {
                    Output::Snapshot { every_ms } => Some(every_ms),
                    Output::Batch | Output::First { .. } | Output::Each => None,
                };
                self.runners[runner].groups.push(GroupClient {
                    statement,
                    output,
                    grouping,
                    every_ms,
                    next_ms: None,
                });
            }
        }
        self.find_users();
        statement
    }

    fn filter(&mut self, conditions: &[Scalar]) -> usize {
        let mut conditions: Vec<usize> = conditions
            .iter()
            .map(|scalar| self.inputs.input(scalar, &self.schema))
            .collect();
        conditions.sort_unstable();
        conditions.dedup();
        if let Some(filter) = self.filters.iter().position(|filter| filter.conditions == conditions) {
            return filter;
        }
        self.filters.push(Filter {
            conditions,
            mask: None,
            rows: Rows::All(0),
        });
        self.filters.len() - 1
    }

    fn runner(&mut self, filter: usize, window: Window, now_ms: i64) -> usize {
        let known = |runner: &Runner| runner.filter == filter && runner.window == window;
        if let Some(runner) = self.runners.iter().position(known) {
            return runner;
        }
        let (keeping, grid) = match window {
            Window::Time { span_ms } => (Keeping::Sliding { span_ms }, None),
            Window::Whole => (Keeping::Together, None),
            Window::TimeBatch {
                span_ms,
                reference_ms,
                eager,
                forced,
            } => {
                let mut grid = Grid {
                    span_ms,
                    anchor_ms: reference_ms,
                    forced,
                    next_ms: None,
                    last_rows: 0,
                };
                if eager {
                    grid.arrive(now_ms);
                }
                (Keeping::Together, Some(grid))
            }
        };
        self.runners.push(Runner {
            filter,
            window,
            view: View::new(keeping, self.window_rows),
            numbers: Vec::new(),
            grid,
            groups: Vec::new(),
            rows: Vec::new(),
        });
        self.runners.len() - 1
    }

    fn atom(&mut self, key: &Scalar) -> KeyId {
        let input = self.inputs.input(key, &self.schema);
        self.keys.atom(input, &key.data_type(&self.schema))
    }

    /// How the keys of rows that pass a filter are given slots where they slide through a window.
    fn mapping(&self, filter: usize) -> Mapping {
        if self.filters[filter].conditions.is_empty() {
            Mapping::Same
        } else {
            Mapping::Own
        }
    }

    fn grouping(&mut self, runner: usize, key: Option<KeyId>) -> usize {
        let (filter, window) = (self.runners[runner].filter, self.runners[runner].window);
        let sliding = matches!(window, Window::Time { .. });
        let mapping = if sliding { self.mapping(filter) } else { Mapping::Own };
        let groupings = &mut self.runners[runner].view.groupings;
        if let Some(grouping) = groupings.iter().position(|grouping| grouping.index.key() == key) {
            return grouping;
        }
        groupings.push(Grouping::new(key, mapping));
        groupings.len() - 1
    }

    /// The types of the columns of groups: keys, then aggregates.
    fn column_types(&self, atoms: &[KeyId], aggregates: &[Aggregate]) -> Vec<DataType> {
        let key_types = atoms.iter().map(|&atom| self.keys.delivered_type(atom));
        key_types
            .chain(aggregates.iter().map(|aggregate| arrow_type(&aggregate.of)))
            .collect()
    }

    fn is_double(&self, argument: &Scalar) -> bool {
        matches!(argument.data_type(&self.schema), DataType::Float64 | DataType::Float32)
    }

    /// The place of an argument of aggregates in a runner's view, and whether it is in floating point.
    fn number(&mut self, runner: usize, argument: &Scalar) -> (usize, bool) {
        let double = self.is_double(argument);
        let input = self.inputs.input(argument, &self.schema);
        let place = self.inputs.number(input, double);
        let runner = &mut self.runners[runner];
        let argument = runner.view.argument(input, double);
        if runner.numbers.len() == argument {
            runner.numbers.push(place);
        }
        (argument, double)
    }

    fn aggregate(
        &mut self,
        runner: usize,
        grouping: usize,
        atoms: &[KeyId],
        function: Function,
        argument: Option<&Scalar>,
    ) -> GroupColumn {
        let mut number = None;
        let mut distinct = None;
        if let Some(argument) = argument {
            if function == Function::CountDistinct {
                let atom = self.atom(argument);
                let member: Vec<KeyId> = atoms.iter().copied().chain([atom]).collect();
                distinct = Some((atom, self.keys.tuple(&member)));
            } else {
                number = Some(self.number(runner, argument));
            }
        }
        GroupColumn::aggregate(
            function,
            &mut self.runners[runner].view.groupings[grouping],
            number,
            distinct,
        )
    }

    /// Finds out which filters' rows need which keys and numbers.
    fn find_users(&mut self) {
        let mut key_users = vec![Vec::new(); self.keys.len()];
        let mut number_users = vec![Vec::new(); self.inputs.numbers.len()];
        for runner in &self.runners {
            for grouping in &runner.view.groupings {
                let members = grouping.members.iter().map(|members| &members.index);
                for index in std::iter::once(&grouping.index).chain(members) {
                    if let Some(key) = index.key() {
                        self.keys.closure(key, &mut |key| key_users[key].push(runner.filter));
                    }
                }
                for members in &grouping.members {
                    key_users[members.atom].push(runner.filter);
                }
            }
            for &number in &runner.numbers {
                number_users[number].push(runner.filter);
            }
        }
        for panes in &self.panes {
            let sides = panes.pairs.iter().flat_map(|pairs| [pairs.sides.0, pairs.sides.1]);
            for key in panes.groups.iter().flat_map(PaneGroups::keys).chain(sides) {
                self.keys.closure(key, &mut |key| key_users[key].push(panes.filter));
            }
            for &number in &panes.numbers {
                number_users[number].push(panes.filter);
            }
        }
        for succession in &self.successions {
            let mut user = |key: KeyId| key_users[key].push(succession.filters.1);
            self.keys.closure(succession.key, &mut user);
            for &(number, _) in &succession.earlier {
                number_users[number].push(succession.filters.1);
            }
        }
        for watch in &self.watches {
            let keys = watch.groups.iter().map(Groups::key);
            for key in keys.chain(watch.log.atoms()) {
                self.keys.closure(key, &mut |key| key_users[key].push(watch.filter));
            }
            for number in watch.log.numbers() {
                number_users[number].push(watch.filter);
            }
        }
        for users in key_users.iter_mut().chain(&mut number_users) {
            users.sort_unstable();
            users.dedup();
        }
        self.key_users = key_users;
        self.number_users = number_users;
    }

    /// Takes rows in the order of their times.
    pub(crate) fn push(&mut self, batch: &RecordBatch, times: &[i64]) {
        let Ok(batch) = batch.project(&self.inputs.columns) else {
            return;
        };
        let mut from = 0;
        while from < times.len() {
            let length = SLICE_ROWS.min(times.len() - from);
            self.push_slice(&batch.slice(from, length), &times[from..from + length], from);
            from += length;
        }
    }

    /// Takes rows that lie in their batch from `offset` on.
    fn push_slice(&mut self, slice: &RecordBatch, times: &[i64], offset: usize) {
        let length = times.len();
        self.inputs.arrays.fill(None);
        self.inputs.masks.fill(None);
        for index in 0..self.filters.len() {
            let mut mask: Option<BooleanBuffer> = None;
            for place in 0..self.filters[index].conditions.len() {
                let condition = self.filters[index].conditions[place];
                let truth = self.inputs.mask(condition, slice, times);
                mask = Some(match mask {
                    Some(mask) => &mask & &truth,
                    None => truth,
                });
            }
            let filter = &mut self.filters[index];
            filter.rows = selection(mask.as_ref(), length);
            filter.mask = mask;
        }
        for key in 0..self.keys.len() {
            if self.key_users[key].is_empty() {
                continue;
            }
            let values = self.keys.input(key).map(|input| self.inputs.array(input, slice, times));
            let united;
            let rows = match self.key_users[key][..] {
                [filter] => &self.filters[filter].rows,
                ref users => {
                    united = union(&self.filters, users, length);
                    &united
                }
            };
            self.keys.resolve(key, length, rows, values.as_ref());
        }
        for number in 0..self.inputs.numbers.len() {
            let array = self.inputs.array(self.inputs.numbers[number].0, slice, times);
            let rows = match self.number_users[number][..] {
                [filter] => &self.filters[filter].rows,
                _ => &Rows::All(length),
            };
            self.inputs.numbers[number].1.read(&array, rows);
        }
        for runner in &mut self.runners {
            let rows = &self.filters[runner.filter].rows;
            if rows.len() > 0 || runner.next_ms().is_some_and(|next| next <= times[length - 1]) {
                runner.run(
                    &mut self.keys,
                    &mut self.inputs,
                    slice,
                    times,
                    rows,
                    &mut self.emissions,
                );
            }
        }
        self.run_snapshots(times);
        self.run_watches(times, times[length - 1], offset);
        self.run_pairs(slice, times, offset);
        self.sweep();
    }

    /// Lets time pass up to and including an instant.
    pub(crate) fn advance(&mut self, now_ms: i64) {
        for runner in &mut self.runners {
            while let Some(due) = runner.next_ms().filter(|&due| due <= now_ms) {
                runner.fire(&mut self.keys, due, &mut self.emissions);
            }
        }
        for panes in &mut self.panes {
            while let Some(due) = panes.next_ms().filter(|&due| due <= now_ms) {
                panes.fire(&mut self.keys, due, &mut self.emissions);
            }
        }
        self.run_watches(&[], now_ms, 0);
        self.sweep();
    }

    /// Gives back the ids that nothing refers to.
    fn sweep(&mut self) {
        let panes = &self.panes;
        self.keys
            .sweep(|key, visit| panes.iter().for_each(|panes| panes.each_part(key, visit)));
    }

    /// Rows that found no room for their group, and rows that found none in a window, since the last call.
    pub(crate) fn take_refused(&mut self) -> (u64, u64) {
        let ungrouped = self.panes.iter_mut().map(Panes::take_ungrouped);
        let groups = self.keys.take_refused() + ungrouped.sum::<u64>();
        let rows = self
            .runners
            .iter_mut()
            .map(|runner| &mut runner.view.refused)
            .chain(self.watches.iter_mut().map(|watch| &mut watch.log.refused))
            .map(std::mem::take)
            .sum();
        (groups, rows)
    }

    /// Rows in the window and groups of a statement; those of snapshots by pane as of the last one.
    pub(crate) fn size(&self, statement: usize) -> (usize, usize) {
        for runner in &self.runners {
            if let Some(client) = runner.groups.iter().find(|client| client.statement == statement) {
                let rows = if runner.view.keeping == Keeping::Together {
                    0
                } else {
                    runner.view.rows
                };
                let groups = runner.view.groupings[client.grouping].index.len();
                return (rows, groups);
            }
            if let Some(client) = runner.rows.iter().find(|client| client.statement == statement) {
                return (client.output.len(), 0);
            }
        }
        if let Some(size) = self.panes.iter().find_map(|panes| panes.size(statement)) {
            return size;
        }
        let mut successions = self.successions.iter();
        if let Some(succession) = successions.find(|succession| succession.statement == statement) {
            return (0, succession.len());
        }
        for watch in &self.watches {
            for groups in &watch.groups {
                if let Some(span) = groups.span_of(statement) {
                    let oldest = watch.log.oldest(span.span_ms, watch.now_ms);
                    let rows = usize::try_from(watch.log.next - oldest).unwrap_or(usize::MAX);
                    return (rows, groups.len());
                }
            }
        }
        (0, 0)
    }

    /// The next instant at which something is due.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        let watched = self.watches.iter().filter_map(Watch::next_ms);
        let panes = self.panes.iter().filter_map(Panes::next_ms);
        let runners = self.runners.iter().filter_map(Runner::next_ms);
        runners.chain(panes).chain(watched).min()
    }

    /// What the statements gave since the last call, in the order of time.
    pub(crate) fn take(&mut self) -> Vec<Emission> {
        let mut emissions = std::mem::take(&mut self.emissions);
        emissions.sort_by_key(|emission| (emission.time_ms, emission.statement));
        emissions
    }
}

/// The rows that a mask selects.
fn selection(mask: Option<&BooleanBuffer>, length: usize) -> Rows {
    match mask {
        None => Rows::All(length),
        Some(mask) => {
            let mut rows = Vec::with_capacity(mask.count_set_bits());
            rows.extend(mask.set_indices().map(id_from));
            Rows::Some(rows)
        }
    }
}

/// The rows that any of the filters lets through.
fn union(filters: &[Filter], users: &[usize], length: usize) -> Rows {
    let mut mask: Option<BooleanBuffer> = None;
    for &user in users {
        let Some(other) = &filters[user].mask else {
            return Rows::All(length);
        };
        mask = Some(match mask {
            Some(mask) => &mask | other,
            None => other.clone(),
        });
    }
    selection(mask.as_ref(), length)
}

impl Runner {
    fn next_ms(&self) -> Option<i64> {
        let clients = self.groups.iter().filter_map(|client| client.next_ms).min();
        let grid = self.grid.as_ref().and_then(|grid| grid.next_ms);
        clients.into_iter().chain(grid).min()
    }

    /// Takes the selected rows of a slice, stepping through what falls due between them.
    fn run(
        &mut self,
        keys: &mut Keys,
        inputs: &mut Inputs,
        slice: &RecordBatch,
        times: &[i64],
        rows: &Rows,
        emissions: &mut Vec<Emission>,
    ) {
        let mut from = 0;
        loop {
            if from < rows.len() {
                let time = times[rows.row(from)];
                // What is due before the row comes first; it may be that which anchors the clocks.
                if self.next_ms().is_none_or(|due| time < due) {
                    self.arrive(time);
                }
            }
            let due = self.next_ms();
            let to = match due {
                None => rows.len(),
                Some(due) if times[times.len() - 1] < due => rows.len(),
                Some(due) => rows.before(times.partition_point(|&time| time < due)),
            };
            if to > from {
                self.add(keys, inputs, slice, times, rows, (from, to));
                from = to;
            }
            match due {
                Some(due) if due <= times[times.len() - 1] => self.fire(keys, due, emissions),
                _ => break,
            }
        }
        if self.grid.is_none() {
            self.view.expire(keys, times[times.len() - 1]);
        }
    }

    /// Starts the clocks that the first row starts.
    fn arrive(&mut self, time_ms: i64) {
        if let Some(grid) = &mut self.grid {
            grid.arrive(time_ms);
        }
        for client in &mut self.groups {
            if let (Some(every), None) = (client.every_ms, client.next_ms) {
                client.next_ms = Some(time_ms.saturating_add(every));
            }
        }
    }

    fn add(
        &mut self,
        keys: &mut Keys,
        inputs: &mut Inputs,
        slice: &RecordBatch,
        times: &[i64],
        rows: &Rows,
        span: (usize, usize),
    ) {
        for client in &mut self.rows {
            client
                .output
                .add(&mut |input| inputs.array(input, slice, times), rows, span);
        }
        let numbers: Vec<&Numbers> = self.numbers.iter().map(|&number| &inputs.numbers[number].1).collect();
        self.view.add(keys, times, rows, span, &numbers);
    }

    /// Does what is due at an instant: expiry comes before output.
    fn fire(&mut self, keys: &mut Keys, due_ms: i64, emissions: &mut Vec<Emission>) {
        self.view.expire(keys, due_ms);
        for client in &mut self.groups {
            if client.next_ms == Some(due_ms) {
                client.next_ms = client.every_ms.map(|every| due_ms.saturating_add(every));
                let (view, groups) = (&self.view, &self.view.groupings[client.grouping]);
                let appearance = |wanted: &[u32]| view.appearance(client.grouping, wanted);
                let rows = if groups.is_grouped() {
                    client.output.live_rows(keys, groups, &appearance)
                } else {
                    client.output.rows(keys, groups, &appearance, vec![0])
                };
                emissions.push(Emission {
                    statement: client.statement,
                    time_ms: due_ms,
                    row: None,
                    rows: rows.map(Delivered::Columns),
                });
            }
        }
        if self.grid.as_ref().is_some_and(|grid| grid.next_ms == Some(due_ms)) {
            self.end_batch(keys, due_ms, emissions);
        }
    }

    fn end_batch(&mut self, keys: &mut Keys, due_ms: i64, emissions: &mut Vec<Emission>) {
        let Some(grid) = &mut self.grid else { return };
        let rows = std::mem::take(&mut self.view.rows);
        let some = rows > 0 || grid.last_rows > 0 || grid.forced;
        grid.next_ms = some.then(|| due_ms.saturating_add(grid.span_ms));
        let last_rows = std::mem::replace(&mut grid.last_rows, rows);
        let silent = rows == 0 && last_rows == 0;
        if !some {
            return;
        }
        for client in &self.groups {
            let groups = &self.view.groupings[client.grouping];
            let slots = if groups.is_grouped() { groups.held() } else { vec![0] };
            let appearance = |wanted: &[u32]| self.view.appearance(client.grouping, wanted);
            let rows = client.output.rows(keys, groups, &appearance, slots);
            if rows.is_some() || silent {
                emissions.push(Emission {
                    statement: client.statement,
                    time_ms: due_ms,
                    row: None,
                    rows: rows.map(Delivered::Columns),
                });
            }
        }
        for client in &mut self.rows {
            let rows = client.output.finish();
            if rows.is_some() || silent {
                emissions.push(Emission {
                    statement: client.statement,
                    time_ms: due_ms,
                    row: None,
                    rows: rows.map(Delivered::Columns),
                });
            }
        }
        for grouping in &mut self.view.groupings {
            grouping.turn(keys);
        }
    }
}
