//! Statements that take snapshots of groups over sliding windows.

use super::Runtime;
use crate::column::clock::Clock;
use crate::column::emit::{Clauses, GroupColumn, GroupOutput};
use crate::column::keys::KeyId;
use crate::column::numbers::Numbers;
use crate::column::pane::{Client, PaneGroups, PanePairs, Panes, Place};
use crate::column::query::{Aggregate, Function, GroupClauses, Output, Query, Window};

impl Runtime {
    /// Adds a statement whose groups can be kept by pane: counts and sums of integers that nothing but snapshots reads, which come at
    /// least once in the length of the window. Tells whether it is one.
    pub(super) fn add_snapshots(&mut self, query: &Query, statement: usize) -> bool {
        let (Window::Time { span_ms }, Output::Snapshot { every_ms }) = (query.window, &query.output) else {
            return false;
        };
        let Some(GroupClauses {
            keys,
            aggregates,
            having,
            select,
        }) = GroupClauses::of(query)
        else {
            return false;
        };
        let every_ms = *every_ms;
        // Between snapshots that are further apart groups would be kept that have long left the window.
        if keys.is_empty() || every_ms > span_ms || !aggregates.iter().all(|aggregate| self.adds_up(aggregate)) {
            return false;
        }
        let filter = self.filter(&query.filter);
        let at = self.panes_of(filter);
        let span = self.panes[at].span(span_ms);
        let atoms: Vec<KeyId> = keys.iter().map(|key| self.atom(key)).collect();
        let mut columns: Vec<GroupColumn> = atoms.iter().map(|&atom| GroupColumn::Key(atom)).collect();
        let counts_values = aggregates
            .iter()
            .any(|aggregate| aggregate.function == Function::CountDistinct);
        let sides = if counts_values { None } else { self.keys.sides(&atoms) };
        let place = if let Some(sides) = sides {
            Place::Pairs(self.pane_pairs(at, sides))
        } else if let Some(key) = self.keys.tuple(&atoms) {
            Place::Groups(self.pane_groups(at, key))
        } else {
            return false;
        };
        for aggregate in aggregates {
            columns.push(self.paned(at, place, &atoms, aggregate));
        }
        match place {
            Place::Groups(groups) => self.panes[at].groups[groups].keep(span),
            Place::Pairs(pairs) => self.panes[at].pairs[pairs].keep(span),
        }
        let clauses = Clauses::of(query, having, select);
        let output = GroupOutput::new(columns, &self.column_types(&atoms, aggregates), &clauses);
        self.panes[at].clients.push(Client {
            statement,
            output,
            place,
            span,
            clock: Clock::new(every_ms),
        });
        true
    }

    /// Whether what an aggregate has over two panes is what it has over each of them added up, without a rest of rounding.
    pub(super) fn adds_up(&self, aggregate: &Aggregate) -> bool {
        match aggregate.function {
            Function::Count | Function::CountDistinct => true,
            Function::Sum | Function::Average => aggregate
                .argument
                .as_ref()
                .is_none_or(|argument| !self.is_double(argument)),
            _ => false,
        }
    }

    fn panes_of(&mut self, filter: usize) -> usize {
        if let Some(panes) = self.panes.iter().position(|panes| panes.filter == filter) {
            return panes;
        }
        self.panes.push(Panes::new(filter));
        self.panes.len() - 1
    }

    fn pane_groups(&mut self, at: usize, key: KeyId) -> usize {
        let mapping = self.mapping(self.panes[at].filter);
        let groups = &mut self.panes[at].groups;
        if let Some(groups) = groups.iter().position(|groups| groups.index.key() == Some(key)) {
            return groups;
        }
        groups.push(PaneGroups::new(key, mapping));
        groups.len() - 1
    }

    fn pane_pairs(&mut self, at: usize, sides: (KeyId, KeyId)) -> usize {
        let limit = self.keys.limit();
        let pairs = &mut self.panes[at].pairs;
        if let Some(pairs) = pairs.iter().position(|pairs| pairs.sides == sides) {
            return pairs;
        }
        pairs.push(PanePairs::new(sides, limit));
        pairs.len() - 1
    }

    /// The column of an aggregate.
    fn paned(&mut self, at: usize, place: Place, atoms: &[KeyId], aggregate: &Aggregate) -> GroupColumn {
        let Some(argument) = &aggregate.argument else {
            return GroupColumn::Rows;
        };
        if let (Function::CountDistinct, Place::Groups(groups)) = (aggregate.function, place) {
            let atom = self.atom(argument);
            let member: Vec<KeyId> = atoms.iter().copied().chain([atom]).collect();
            let member = self.keys.tuple(&member);
            let offset = self.panes[at].groups[groups].distinct(atom, member);
            return GroupColumn::Distinct { offset };
        }
        let double = self.is_double(argument);
        let input = self.inputs.input(argument, &self.schema);
        let number = self.inputs.number(input, double);
        let argument = self.panes[at].argument(input, number);
        match place {
            Place::Groups(groups) => {
                let groups = &mut self.panes[at].groups[groups];
                GroupColumn::paned(aggregate.function, groups.nulls(argument), || groups.sum(argument))
            }
            Place::Pairs(pairs) => {
                let pairs = &mut self.panes[at].pairs[pairs];
                GroupColumn::paned(aggregate.function, pairs.nulls(argument), || pairs.sum(argument))
            }
        }
    }

    /// Takes the rows of the present slice.
    pub(super) fn run_snapshots(&mut self, times: &[i64]) {
        let Some(&last) = times.last() else { return };
        for panes in &mut self.panes {
            let rows = &self.filters[panes.filter].rows;
            if rows.len() > 0 || panes.next_ms().is_some_and(|next| next <= last) {
                let numbers = panes.numbers.iter().map(|&number| &self.inputs.numbers[number].1);
                let numbers: Vec<&Numbers> = numbers.collect();
                panes.run(&mut self.keys, times, rows, &numbers, &mut self.emissions);
            }
        }
    }
}
