//! Statements that watch groups: how they share windows, groups and what these keep.

use arrow_schema::DataType;

use super::{Emission, Runtime};
use crate::column::compile::asks_seldom;
use crate::column::index::Mapping;
use crate::column::keys::{KeyId, can_be_key};
use crate::column::query::{Aggregate, Function, Output, Query, Window};
use crate::column::scalar::Scalar;
use crate::column::watch::{
    Found, Given, GroupColumn, Groups, Largest, Operand, Quiet, Rule, Threshold, Watch, place_of,
};
use crate::engine::Rows as Delivered;

/// The clauses of a statement over groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) keys: &'a [Scalar],
    pub(super) aggregates: &'a [Aggregate],
    pub(super) having: Option<&'a Scalar>,
    pub(super) select: &'a [Scalar],
}

impl Runtime {
    /// Adds a statement that watches its groups. The keys are the atoms that groups are divided by.
    pub(super) fn watch(&mut self, query: &Query, clauses: Watched<'_>, statement: usize) {
        let Window::Time { span_ms } = query.window else { return };
        let filter = self.filter(&query.filter);
        let atoms: Vec<KeyId> = clauses.keys.iter().map(|key| self.atom(key)).collect();
        let Some(key) = self.keys.tuple(&atoms) else { return };
        let known = self.watches.iter().position(|watch| watch.filter == filter);
        let at = known.unwrap_or_else(|| {
            self.watches.push(Watch::new(filter, self.window_rows));
            self.watches.len() - 1
        });
        let groups = self.watches[at].groups.iter().position(|groups| groups.key() == key);
        let mapping = if self.filters[filter].conditions.is_empty() {
            Mapping::Same
        } else {
            Mapping::Own
        };
        let groups = groups.unwrap_or_else(|| {
            self.watches[at].groups.push(Groups::new(key, mapping));
            self.watches[at].groups.len() - 1
        });
        self.watches[at].log.lengthen(span_ms);
        let span = self.watches[at].groups[groups].span(span_ms);
        let every_ms = match query.output {
            Output::First { every_ms } => Some(every_ms),
            _ => None,
        };
        // What only the delivered row shows is gathered from the rows of the group when they are seldom asked for it.
        let seldom = asks_seldom(query.output, query.window);
        let conditions: Vec<usize> = clauses.having.map_or_else(Vec::new, Scalar::columns);
        let mut columns: Vec<GroupColumn> = atoms.iter().map(|&atom| GroupColumn::Key(atom)).collect();
        for aggregate in clauses.aggregates {
            let kept = !seldom || conditions.contains(&columns.len());
            columns.push(self.watched_column((at, groups, span), aggregate, kept));
        }
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
        self.watches[at].groups[groups].add(span, rule);
    }

    fn watched_column(
        &mut self,
        (watch, groups, span): (usize, usize, usize),
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
        let emissions = self.given.drain(..).map(|given| {
            let Given {
                statement,
                time_ms,
                row,
                rows,
            } = given;
            Emission {
                statement,
                time_ms,
                row: row.map(|row| offset + row),
                rows: Some(Delivered::Values(rows.into_iter().map(Into::into).collect())),
            }
        });
        self.emissions.extend(emissions);
    }
}
