//! Statements that watch groups: how they share windows, groups and what these keep.

use arrow_schema::DataType;

use super::{Emission, Runtime};
use crate::column::compile::asks_seldom;
use crate::column::emit::{Clauses, GroupOutput};
use crate::column::keys::{KeyId, can_be_key};
use crate::column::query::{Aggregate, Function, GroupClauses, Output, Query, Window};
use crate::column::scalar::Scalar;
use crate::column::watch::{
    Found, GroupColumn, Groups, Largest, Layout, Operand, Quiet, Rule, Snapshot, Threshold, Watch, place_of,
};

/// Where what a statement watches is kept.
#[derive(Debug, Clone, Copy)]
struct Place {
    watch: usize,
    groups: usize,
    span: usize,
}

/// Rows from which on a condition is true of few groups, so that to follow these costs less than to keep all of them by pane.
const MANY_ROWS: u64 = 16;

impl Runtime {
    /// Adds a statement that watches its groups. The keys are the atoms that groups are divided by.
    pub(super) fn watch(&mut self, query: &Query, clauses: GroupClauses<'_>, statement: usize) {
        let every_ms = match query.output {
            Output::First { every_ms } => Some(every_ms),
            _ => None,
        };
        // What only the delivered row shows is gathered from the rows of the group when they are seldom asked for it.
        let seldom = asks_seldom(query.output, query.window);
        let conditions: Vec<usize> = clauses.having.map_or_else(Vec::new, Scalar::columns);
        let Some((place, columns)) = self.watched(query, clauses, |column| !seldom || conditions.contains(&column))
        else {
            return;
        };
        let rule = Rule {
            statement,
            every_ms,
            threshold: Threshold::of(clauses.having.map(Scalar::expr), &columns),
            having: clauses.having.cloned(),
            select: clauses.select.to_vec(),
            order: query.order.clone(),
            limit: query.limit,
            offset: query.offset,
            columns,
            quiet: Quiet::default(),
        };
        self.watches[place.watch].groups[place.groups].add(place.span, rule);
    }

    /// Adds a statement that takes snapshots of groups of which only those with many rows can be in them. Tells whether it is one.
    pub(super) fn watch_snapshots(&mut self, query: &Query, statement: usize) -> bool {
        let (Output::Snapshot { every_ms }, Some(clauses)) = (query.output, GroupClauses::of(query)) else {
            return false;
        };
        if !matches!(query.window, Window::Time { .. }) || clauses.keys.is_empty() || !self.is_selective(&clauses) {
            return false;
        }
        let Some((place, columns)) = self.watched(query, clauses, |_| true) else {
            return false;
        };
        let Place { watch, groups, span } = place;
        let mut layout = Layout::default();
        let log = &self.watches[watch].log;
        let read = columns.iter().map(|column| layout.column(column, log));
        let Some(read) = read.collect() else { return false };
        let threshold = Threshold::of(clauses.having.map(Scalar::expr), &columns);
        let atoms: Vec<KeyId> = clauses.keys.iter().map(|key| self.atom(key)).collect();
        let types = self.column_types(&atoms, clauses.aggregates);
        let output = GroupOutput::new(read, &types, &Clauses::of(query, clauses.having, clauses.select));
        let tallied = clauses
            .aggregates
            .iter()
            .any(|aggregate| aggregate.function == Function::CountDistinct);
        let snapshot = Snapshot::new(statement, every_ms, output, layout);
        self.watches[watch].groups[groups].add_snapshot(span, snapshot, &threshold, tallied);
        true
    }

    /// Whether a statement's aggregates are counts and sums, and it takes many rows for its condition to be true.
    fn is_selective(&self, clauses: &GroupClauses<'_>) -> bool {
        let keys = clauses.keys.iter().map(|_| GroupColumn::Key(0));
        // Their places do not matter for what is demanded of them.
        let aggregates = clauses.aggregates.iter().map(|aggregate| GroupColumn::Aggregate {
            function: aggregate.function,
            operand: aggregate
                .argument
                .as_ref()
                .map_or(Operand::Rows, |_| Operand::Number(0)),
            of: aggregate.of.clone(),
            found: Found::Gathered,
        });
        let columns: Vec<GroupColumn> = keys.chain(aggregates).collect();
        let adds_up = clauses.aggregates.iter().all(|aggregate| self.adds_up(aggregate));
        adds_up && Threshold::of(clauses.having.map(Scalar::expr), &columns).fewest_rows() >= MANY_ROWS
    }

    /// The place of the groups that a statement watches, and its columns. `kept` tells of a column whether its value is kept.
    fn watched(
        &mut self,
        query: &Query,
        clauses: GroupClauses<'_>,
        kept: impl Fn(usize) -> bool,
    ) -> Option<(Place, Vec<GroupColumn>)> {
        let Window::Time { span_ms } = query.window else {
            return None;
        };
        let filter = self.filter(&query.filter);
        let atoms: Vec<KeyId> = clauses.keys.iter().map(|key| self.atom(key)).collect();
        let key = self.keys.tuple(&atoms)?;
        let known = self.watches.iter().position(|watch| watch.filter == filter);
        let watch = known.unwrap_or_else(|| {
            self.watches.push(Watch::new(filter, self.window_rows));
            self.watches.len() - 1
        });
        let groups = self.watches[watch].groups.iter().position(|groups| groups.key() == key);
        let mapping = self.mapping(filter);
        let groups = groups.unwrap_or_else(|| {
            self.watches[watch].groups.push(Groups::new(key, mapping));
            self.watches[watch].groups.len() - 1
        });
        self.watches[watch].log.lengthen(span_ms);
        let span = self.watches[watch].groups[groups].span(span_ms);
        let place = Place { watch, groups, span };
        let mut columns: Vec<GroupColumn> = atoms.iter().map(|&atom| GroupColumn::Key(atom)).collect();
        for aggregate in clauses.aggregates {
            let kept = kept(columns.len());
            columns.push(self.watched_column(place, aggregate, kept));
        }
        Some((place, columns))
    }

    fn watched_column(
        &mut self,
        Place { watch, groups, span }: Place,
        aggregate: &Aggregate,
        kept: bool,
    ) -> GroupColumn {
        let column = |operand, found| GroupColumn::Aggregate {
            function: aggregate.function,
            operand,
            of: aggregate.of.clone(),
            found,
        };
        let Some(argument) = &aggregate.argument else {
            return column(Operand::Rows, Found::Gathered);
        };
        let numeric = argument.expr().of.is_numeric();
        let by_id = match aggregate.function {
            Function::CountDistinct => true,
            Function::First | Function::Last => !numeric && can_be_key(&argument.data_type(&self.schema)),
            _ => false,
        };
        let operand = if by_id {
            let atom = self.atom(argument);
            Operand::Id(self.watches[watch].log.carry(atom))
        } else {
            let double = matches!(argument.data_type(&self.schema), DataType::Float64 | DataType::Float32);
            let input = self.inputs.input(argument, &self.schema);
            let number = self.inputs.number(input, double);
            Operand::Number(self.watches[watch].log.argument(number, double))
        };
        if !kept {
            return column(operand, Found::Gathered);
        }
        if let (Function::CountDistinct, Operand::Id(carried)) = (aggregate.function, operand) {
            let tally = self.watches[watch].groups[groups].tally(span, carried);
            return column(operand, Found::Kept(tally));
        }
        let span = &mut self.watches[watch].groups[groups].spans[span];
        let found = match (aggregate.function, operand) {
            (Function::Count | Function::Sum | Function::Average, Operand::Number(argument)) => {
                Found::Kept(place_of(&mut span.summed, argument))
            }
            (Function::Deviation, Operand::Number(argument)) => {
                Found::Kept(place_of(&mut span.wanted.moments, argument))
            }
            (Function::Smallest, Operand::Number(argument)) => {
                Found::Kept(place_of(&mut span.wanted.extremes, (argument, Largest::No)))
            }
            (Function::Largest, Operand::Number(argument)) => {
                Found::Kept(place_of(&mut span.wanted.extremes, (argument, Largest::Yes)))
            }
            _ => Found::Gathered,
        };
        column(operand, found)
    }

    /// Lets watched windows take the rows of the slice that pass their filters, or only time pass. The slice lies in its batch
    /// from `offset` on.
    pub(super) fn run_watches(&mut self, times: &[i64], now_ms: i64, offset: usize) {
        let nothing = crate::column::interner::Rows::Some(Vec::new());
        for watch in &mut self.watches {
            let rows = if times.is_empty() {
                &nothing
            } else {
                &self.filters[watch.filter].rows
            };
            watch.now_ms = now_ms;
            if rows.len() == 0 && !watch.is_due() {
                continue;
            }
            let numbers: Vec<_> = watch
                .log
                .numbers()
                .map(|number| &self.inputs.numbers[number].1)
                .collect();
            watch.run(&mut self.keys, times, rows, &numbers, &mut self.given);
        }
        let emissions = self.given.drain(..).map(|emission| Emission {
            row: emission.row.map(|row| offset + row),
            ..emission
        });
        self.emissions.extend(emissions);
    }
}
