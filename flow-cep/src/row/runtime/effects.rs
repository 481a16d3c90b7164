//! What statements do to named windows, tables and streams, and who learns of it.

use std::sync::Arc;

use super::{Kind, Runtime};
use crate::plan::{CatalogId, InsertTarget, WindowPlan};
use crate::row::WHOLE;
use crate::row::context::PartitionId;
use crate::row::event::{Event, Row};
use crate::row::named::table_key;
use crate::row::result::Results;
use crate::row::scope::{Env, RowScope};
use crate::row::trigger::Effect;
use crate::row::window::{Change, Moment, Window};
use crate::value::Value;

impl Runtime {
    /// Carries what a select `into table` has taken in into the table's aggregates.
    pub(super) fn feed_table(&mut self, at: usize, id: PartitionId) {
        if self.statements[at].sink.table_rows.is_empty() {
            return;
        }
        let moves = std::mem::take(&mut self.statements[at].sink.table_rows);
        let Kind::Select(select) = &self.statements[at].kind else {
            return;
        };
        let Some(into) = &select.plan.into_table else { return };
        for (row, entering) in moves {
            let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
            let Some(instance) = self.states[at].selects.get(&id) else {
                return;
            };
            let keys = instance.group_key(select, &row, world);
            let key = table_key(&keys);
            let columns = self.catalog.tables.get(into.table).map_or(&[][..], |table| &table.keys);
            let keyed: Vec<(usize, Value)> = columns.iter().copied().zip(keys).collect();
            // The arguments are of the statement's rows; the table's group is taken out meanwhile.
            let Some(table) = self.shared.tables.get_mut(into.table) else {
                return;
            };
            let mut group = table.take_group(&key, &keyed);
            let env = Env::plain(self.now_ms, &self.shapes, &self.shared, instance.partition.as_ref());
            let scope = RowScope::of(env, &row);
            let movement = crate::row::aggregate::Movement {
                row: row.id(),
                now_ms: self.now_ms,
            };
            for (slot, column) in &into.columns {
                if let (Some(place), Some(aggregate)) = (
                    self.shared.tables[into.table].place(*column),
                    select.plan.aggregates.get(*slot),
                ) {
                    group.move_one(place, aggregate, movement, &scope, entering);
                }
            }
            self.shared.tables[into.table].put_group(&key, group);
        }
    }

    /// Does what triggers ask for.
    pub(super) fn act(&mut self, at: usize, id: PartitionId, triggers: &[Row]) {
        for trigger in triggers {
            let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
            let statement = &mut self.statements[at];
            let (Kind::On(on), Some(instance)) = (&statement.kind, self.states[at].triggers.get(&id)) else {
                return;
            };
            let effects = instance.act(on, trigger, world, &mut statement.sink);
            let target = on.plan.target;
            for effect in effects {
                self.effect(target, effect);
            }
        }
    }

    pub(super) fn effect(&mut self, target: Option<InsertTarget>, effect: Effect) {
        match (effect, target) {
            (Effect::Set(variable, value), _) => self.shared.set_variable(variable, value),
            // A merge inserts into what it acts on at once, elsewhere as `insert into` does.
            (Effect::Insert(InsertTarget::Window(window), values), Some(InsertTarget::Window(own)))
                if window == own =>
            {
                self.insert_into_window(window, values, Vec::new());
            }
            (Effect::Insert(target, values), _) => self.insert(target, values),
            (Effect::Remove(rows), Some(InsertTarget::Window(window))) => {
                self.remove_from_window(window, &rows);
                let change = Change {
                    updated: true,
                    new: Vec::new(),
                    old: rows,
                };
                self.window_changed(window, change);
            }
            (Effect::Remove(rows), Some(InsertTarget::Table(table))) => {
                let keys = self.catalog.tables[table].keys.clone();
                for row in rows {
                    if let Some(event) = row.event(0) {
                        let key: Vec<Value> = keys.iter().filter_map(|key| event.values.get(*key).cloned()).collect();
                        self.shared.tables[table].rows.shift_remove(&table_key(&key));
                    }
                }
            }
            (Effect::Replace(rows), Some(InsertTarget::Window(window))) => {
                for (row, values) in rows {
                    self.remove_from_window(window, std::slice::from_ref(&row));
                    self.insert_into_window(window, values, vec![row]);
                }
            }
            (Effect::Replace(rows), Some(InsertTarget::Table(table))) => {
                let keys = self.catalog.tables[table].keys.clone();
                for (row, values) in rows {
                    if let Some(event) = row.event(0) {
                        let key: Vec<Value> = keys.iter().filter_map(|key| event.values.get(*key).cloned()).collect();
                        if let Some(row) = self.shared.tables[table].rows.get_mut(&table_key(&key)) {
                            row.values = values;
                        }
                    }
                }
            }
            (Effect::Remove(_) | Effect::Replace(_), _) => {}
        }
    }

    /// Inserts a row of values.
    pub(super) fn insert(&mut self, target: InsertTarget, values: Vec<Value>) {
        match target {
            InsertTarget::Events(event_type) => {
                self.next_event += 1;
                let event = Arc::new(Event {
                    id: self.next_event,
                    shape: WHOLE,
                    values: values.into(),
                });
                self.queue.events.push_back((event_type, event));
            }
            InsertTarget::Window(window) => self.queue.rows.push_back((window, values)),
            InsertTarget::Table(table) => {
                let keys: Vec<(usize, Value)> = self.catalog.tables[table]
                    .keys
                    .iter()
                    .map(|key| (*key, values.get(*key).cloned().unwrap_or_default()))
                    .collect();
                let key = table_key(&keys.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>());
                if self.shared.tables[table].rows.len() < self.limits.groups {
                    self.shared.tables[table].row(&key, &keys).values = values;
                }
            }
        }
    }

    /// Takes in events that statements elsewhere have inserted at one time.
    pub(crate) fn insert_events(&mut self, event_type: CatalogId, events: Vec<Vec<Value>>) {
        for values in events {
            self.insert(InsertTarget::Events(event_type), values);
        }
        self.dispatch();
    }

    /// Takes rows out of a named window.
    pub(super) fn remove_from_window(&mut self, window: CatalogId, gone: &[Row]) {
        self.with_window(window, |rows, plan, moment| rows.remove(plan, gone, moment));
    }

    /// Changes the rows of a named window, which is taken out while its expressions look at the rest of what is shared.
    pub(super) fn with_window(
        &mut self,
        window: CatalogId,
        change: impl FnOnce(&mut Window, &WindowPlan, &Moment<'_>),
    ) {
        let plan = &self.catalog.windows[window].window;
        let mut rows = std::mem::replace(&mut self.shared.windows[window], Window::new(plan, self.now_ms));
        let env = Env::plain(self.now_ms, &self.shapes, &self.shared, None);
        let moment = Moment {
            now_ms: self.now_ms,
            eval: &|expr, row| expr.eval(&RowScope::of(env, row)),
        };
        change(&mut rows, plan, &moment);
        self.shared.windows[window] = rows;
    }

    pub(super) fn insert_into_window(&mut self, window: CatalogId, values: Vec<Value>, replaced: Vec<Row>) {
        self.next_event += 1;
        let row = Row::One(Arc::new(Event {
            id: self.next_event,
            shape: WHOLE,
            values: values.into(),
        }));
        self.row_into_window(window, &row, replaced);
    }

    pub(super) fn row_into_window(&mut self, window: CatalogId, row: &Row, replaced: Vec<Row>) {
        let mut change = Change::default();
        self.with_window(window, |rows, plan, moment| rows.insert(plan, row, moment, &mut change));
        if !replaced.is_empty() {
            change.updated = true;
            change.old.splice(0..0, replaced);
        }
        self.window_changed(window, change);
    }

    /// A named window has changed: its own statement and those that read it learn of it.
    pub(super) fn window_changed(&mut self, window: CatalogId, change: Change) {
        self.schedule_window(window);
        if !change.updated {
            return;
        }
        self.shared
            .absorb(window, (&change.new, &change.old), &self.shapes, self.now_ms);
        if let Some(maker) = self.window_makers[window] {
            self.statements[maker]
                .sink
                .results
                .push(Results::whole(&change.new, &change.old));
            self.touch(maker);
        }
        match self.shared.untold.last_mut() {
            Some((changed, new, old)) if *changed == window => {
                new.extend(change.new);
                old.extend(change.old);
            }
            _ => self.shared.untold.push((window, change.new, change.old)),
        }
    }

    /// Lets those that read named windows learn of the changes: of one window all at once, unless another has changed in between.
    pub(super) fn tell_of_windows(&mut self) {
        while !self.shared.untold.is_empty() {
            for (window, new, old) in std::mem::take(&mut self.shared.untold) {
                self.tell_of_window(window, &new, &old);
            }
            self.deliver();
        }
    }

    pub(super) fn tell_of_window(&mut self, window: CatalogId, new: &[Row], old: &[Row]) {
        for position in 0..self.window_listeners[window].len() {
            let at = self.window_listeners[window][position];
            let ids: Vec<PartitionId> = {
                let state = &self.states[at];
                state.selects.keys().chain(state.triggers.keys()).copied().collect()
            };
            for id in ids {
                let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
                let statement = &mut self.statements[at];
                match &statement.kind {
                    Kind::Select(select) => {
                        if let Some(instance) = self.states[at].selects.get_mut(&id) {
                            instance.window_changed(select, window, new, old, world, &mut statement.sink);
                        }
                        self.feed_table(at, id);
                    }
                    Kind::On(on) => {
                        let triggers = match self.states[at].triggers.get_mut(&id) {
                            Some(instance) => instance.window_changed(on, window, (new, old), world),
                            None => Vec::new(),
                        };
                        self.act(at, id, &triggers);
                    }
                    Kind::Definition => {}
                }
                self.touch(at);
                self.schedule_statement(at, id);
            }
        }
    }
}
