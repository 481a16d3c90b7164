//! From rows that enter and leave to result rows: groups, aggregates, `having`, the select list, order and limit.
//!
//! The five kinds follow [`ResultKind`]. What is remembered between outputs for `output last`, `all` and `first` lies here
//! too, as it is kept by group.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::map::Entry;
use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Node};
use crate::plan::{OutputMoment, ResultKind, SelectPlan, SourcePlan};
use crate::row::KeyMap;
use crate::row::aggregate::{Group, Movement};
use crate::row::event::Row;
use crate::row::scope::{Env, RowScope};
use crate::row::visit::visit;
use crate::row::window::compare_keys;
use crate::syntax::ast::StreamSelector;
use crate::value::Value;

/// A result row with the keys it is sorted by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ResultRow {
    /// The values of the select list.
    pub(crate) values: Arc<[Value]>,
    order: Vec<Value>,
}

impl ResultRow {
    /// A row of values without order.
    pub(crate) fn plain(values: Vec<Value>) -> Self {
        Self {
            values: values.into(),
            order: Vec::new(),
        }
    }
}

/// Result rows of one update.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Rows that are true now.
    pub(crate) new: Vec<ResultRow>,
    /// Rows that no longer are.
    pub(crate) old: Vec<ResultRow>,
}

impl Results {
    /// Events as they are.
    pub(crate) fn whole(new: &[Row], old: &[Row]) -> Self {
        let whole = |rows: &[Row]| {
            rows.iter()
                .filter_map(|row| row.event(0))
                .map(|event| ResultRow {
                    values: event.values.iter().cloned().collect(),
                    order: Vec::new(),
                })
                .collect()
        };
        Self {
            new: whole(new),
            old: whole(old),
        }
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }
}

/// When a group's last output was, for `output first`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Throttle {
    Time(i64),
    Events { new: u64, old: u64 },
}

/// The groups of a select and what it remembers between outputs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResultState {
    all: Group,
    empty: Group,
    groups: KeyMap<Value, (Group, Row)>,
    /// Groups that the last row has left; they go when the next row enters, and are remembered until then.
    emptied: Vec<Value>,
    /// Rows refused since the last report because a limit of groups was reached.
    pub(crate) refused: u64,
    last: Results,
    touched: KeyMap<Value, Row>,
    every_group: KeyMap<Value, Row>,
    removal_noted: bool,
    /// The groups whose old rows `having` has let through since the last `output all`.
    old_noted: HashSet<Value>,
    last_by_group: (KeyMap<Value, ResultRow>, KeyMap<Value, ResultRow>),
    throttles: KeyMap<Value, Throttle>,
}

/// The places of the groups that an update is about, in the order in which they are met, each with its last row.
#[derive(Debug, Default)]
struct Touched<'r> {
    groups: Vec<(usize, &'r Row)>,
    /// Where each group stands in the list, once that is too long to be searched.
    places: KeyMap<usize, usize>,
}

impl<'r> Touched<'r> {
    /// Up to how many groups are searched one by one.
    const SHORT: usize = 8;

    fn note(&mut self, place: usize, row: &'r Row) {
        let known = if self.groups.len() <= Self::SHORT {
            self.groups.iter().position(|(group, _)| *group == place)
        } else {
            self.places.get(&place).copied()
        };
        if let Some(at) = known {
            self.groups[at].1 = row;
            return;
        }
        self.groups.push((place, row));
        if self.groups.len() > Self::SHORT {
            let listed = self.groups.iter().enumerate().skip(self.places.len());
            self.places.extend(listed.map(|(at, (place, _))| (*place, at)));
        }
    }
}

/// What a result processor works with.
#[derive(Clone, Copy)]
pub(crate) struct Processing<'a> {
    pub(crate) plan: &'a SelectPlan,
    pub(crate) env: Env<'a>,
    /// Whether rows can leave, so that groups can end.
    pub(crate) bounded: bool,
    pub(crate) max_groups: usize,
}

impl Processing<'_> {
    /// Whether old rows are of interest.
    pub(crate) fn wants_old(&self) -> bool {
        self.plan.selector != StreamSelector::Insert
            || self
                .plan
                .insert
                .as_ref()
                .is_some_and(|insert| insert.selector != StreamSelector::Insert)
    }

    /// Whether the rows are those of a named window, which changes before its readers learn of it.
    fn of_named_window(&self) -> bool {
        matches!(self.plan.streams.as_slice(), [stream] if matches!(stream.source, SourcePlan::NamedWindow { .. }))
    }

    /// Whether any row of a group gives the group's result, and a row that has passed `where` passes it still.
    fn told_by_keys(&self) -> bool {
        let plan = self.plan;
        let mut told = plan.streams.len() == 1;
        let results = plan.columns.iter().map(|column| &column.expr).chain(&plan.having);
        for expr in results.chain(plan.order_by.iter().map(|key| &key.expr)) {
            visit(expr, &mut |expr| match &expr.node {
                Node::Column { .. } => told &= plan.group_by.contains(expr),
                Node::Row(_) | Node::Previous { .. } | Node::Indexed { .. } => told = false,
                Node::Subquery(_) | Node::Exists(_) => told = false,
                Node::InSubquery { .. } | Node::QuantifiedSubquery { .. } => told = false,
                _ => {}
            });
        }
        if let Some(condition) = &plan.condition {
            visit(condition, &mut |expr| match &expr.node {
                Node::Now | Node::Variable(_) | Node::Subquery(_) | Node::Exists(_) => told = false,
                Node::InSubquery { .. } | Node::QuantifiedSubquery { .. } => told = false,
                _ => {}
            });
        }
        told
    }

    fn key(&self, row: &Row) -> Value {
        let scope = RowScope::of(self.env, row);
        match self.plan.group_by.as_slice() {
            [key] => key.eval(&scope),
            keys => Value::List(keys.iter().map(|key| key.eval(&scope)).collect()),
        }
    }

    /// The result row of a row and its group, if `having` lets it through.
    fn emit(&self, row: Option<&Row>, group: Option<&Group>, entering: bool, into: &mut Vec<ResultRow>) {
        let scope = RowScope {
            env: self.env,
            row,
            group: group.map(|group| (group, self.plan.aggregates.as_slice())),
            entering,
        };
        if !self
            .plan
            .having
            .as_ref()
            .is_none_or(|having| having.eval(&scope).is_true())
        {
            return;
        }
        into.push(ResultRow {
            values: self
                .plan
                .columns
                .iter()
                .map(|column| column.expr.eval(&scope))
                .collect(),
            order: self.plan.order_by.iter().map(|key| key.expr.eval(&scope)).collect(),
        });
    }

    /// Sorts and cuts rows as `order by`, `limit` and `offset` say.
    pub(crate) fn arrange(&self, rows: &mut Vec<ResultRow>) {
        if !self.plan.order_by.is_empty() {
            rows.sort_by(|a, b| compare_keys(&self.plan.order_by, &a.order, &b.order));
        }
        let offset = usize::try_from(self.plan.offset).unwrap_or(usize::MAX).min(rows.len());
        if offset > 0 {
            rows.drain(..offset);
        }
        if let Some(limit) = self.plan.limit {
            rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
    }

    /// Drops rows that repeat earlier ones, if `distinct` was asked for.
    pub(crate) fn distinct(&self, rows: &mut Vec<ResultRow>) {
        if self.plan.distinct && rows.len() > 1 {
            let mut seen = indexmap::IndexSet::<Arc<[Value]>>::new();
            rows.retain(|row| seen.insert(row.values.clone()));
        }
    }
}

impl ResultState {
    /// A state without rows.
    pub(crate) fn new(plan: &SelectPlan) -> Self {
        Self {
            all: Group::new(&plan.aggregates),
            empty: Group::new(&plan.aggregates),
            groups: KeyMap::default(),
            emptied: Vec::new(),
            refused: 0,
            last: Results::default(),
            touched: KeyMap::default(),
            every_group: KeyMap::default(),
            removal_noted: false,
            old_noted: HashSet::new(),
            last_by_group: Default::default(),
            throttles: KeyMap::default(),
        }
    }

    /// Number of groups.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    fn group(&self, key: &Value) -> &Group {
        self.groups.get(key).map_or(&self.empty, |(group, _)| group)
    }

    fn enter(&mut self, p: Processing<'_>, row: &Row, key: Option<&Value>) {
        let Some(key) = key else {
            let movement = Movement {
                row: row.id(),
                now_ms: p.env.now_ms,
            };
            self.all.enter(&p.plan.aggregates, movement, &RowScope::of(p.env, row));
            return;
        };
        self.forget_emptied();
        // A row that the limit refuses is counted.
        let _ = self.enter_group(p, row, key.clone());
    }

    /// Groups that are still without rows go.
    fn forget_emptied(&mut self) {
        for emptied in self.emptied.drain(..) {
            if self.groups.get(&emptied).is_some_and(|(group, _)| group.rows == 0) {
                self.groups.swap_remove(&emptied);
            }
        }
    }

    /// A row enters its group, whose place is given; the key comes back if the limit refuses a new group.
    fn enter_group(&mut self, p: Processing<'_>, row: &Row, key: Value) -> Result<usize, Value> {
        let movement = Movement {
            row: row.id(),
            now_ms: p.env.now_ms,
        };
        let scope = RowScope::of(p.env, row);
        let full = self.groups.len() >= p.max_groups;
        match self.groups.entry(key) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().0.enter(&p.plan.aggregates, movement, &scope);
                Ok(entry.index())
            }
            Entry::Vacant(entry) if full => {
                self.refused += 1;
                Err(entry.into_key())
            }
            Entry::Vacant(entry) => {
                let place = entry.index();
                let (group, _) = entry.insert((Group::new(&p.plan.aggregates), row.clone()));
                group.enter(&p.plan.aggregates, movement, &scope);
                Ok(place)
            }
        }
    }

    fn leave(&mut self, p: Processing<'_>, row: &Row, key: Option<&Value>) {
        let Some(key) = key else {
            let movement = Movement {
                row: row.id(),
                now_ms: p.env.now_ms,
            };
            self.all.leave(&p.plan.aggregates, movement, &RowScope::of(p.env, row));
            return;
        };
        self.leave_group(p, row, key);
    }

    /// A row leaves its group, whose place is given if it is known.
    fn leave_group(&mut self, p: Processing<'_>, row: &Row, key: &Value) -> Option<usize> {
        let movement = Movement {
            row: row.id(),
            now_ms: p.env.now_ms,
        };
        let scope = RowScope::of(p.env, row);
        let (place, _, (group, _)) = self.groups.get_full_mut(key)?;
        group.leave(&p.plan.aggregates, movement, &scope);
        if group.rows == 0 {
            self.emptied.push(key.clone());
        }
        Some(place)
    }

    /// Takes rows into the aggregates without making result rows.
    pub(crate) fn apply(&mut self, p: Processing<'_>, new: &[Row], old: &[Row]) {
        match p.plan.result {
            ResultKind::Rows => {}
            ResultKind::OneRow | ResultKind::RowPerEvent => {
                for row in new {
                    self.enter(p, row, None);
                }
                for row in old {
                    self.leave(p, row, None);
                }
            }
            ResultKind::RowPerGroup | ResultKind::GroupedRowPerEvent => {
                for row in new {
                    self.enter(p, row, Some(&p.key(row)));
                }
                for row in old {
                    self.leave(p, row, Some(&p.key(row)));
                }
            }
        }
    }

    /// One update, its result rows unsorted and uncut.
    pub(crate) fn process(&mut self, p: Processing<'_>, new: &[Row], old: &[Row], results: &mut Results) {
        let wants_old = p.wants_old();
        match p.plan.result {
            ResultKind::Rows => {
                if wants_old {
                    for row in old {
                        p.emit(Some(row), None, false, &mut results.old);
                    }
                }
                for row in new {
                    p.emit(Some(row), None, true, &mut results.new);
                }
            }
            ResultKind::OneRow => {
                if wants_old {
                    p.emit(None, Some(&self.all), false, &mut results.old);
                }
                self.apply(p, new, old);
                p.emit(None, Some(&self.all), true, &mut results.new);
            }
            ResultKind::RowPerEvent => {
                self.apply(p, new, old);
                if wants_old {
                    for row in old {
                        p.emit(Some(row), Some(&self.all), false, &mut results.old);
                    }
                }
                for row in new {
                    p.emit(Some(row), Some(&self.all), true, &mut results.new);
                }
            }
            ResultKind::RowPerGroup if !wants_old => self.process_groups(p, new, old, &mut results.new),
            ResultKind::RowPerGroup => {
                let mut touched: KeyMap<Value, &Row> = KeyMap::default();
                let new_keys: Vec<Value> = new.iter().map(|row| p.key(row)).collect();
                let old_keys: Vec<Value> = old.iter().map(|row| p.key(row)).collect();
                for (row, key) in new.iter().zip(&new_keys).chain(old.iter().zip(&old_keys)) {
                    touched.insert(key.clone(), row);
                }
                if wants_old {
                    for (key, row) in &touched {
                        p.emit(Some(row), Some(self.group(key)), false, &mut results.old);
                    }
                }
                for (row, key) in new.iter().zip(&new_keys) {
                    self.enter(p, row, Some(key));
                }
                for (row, key) in old.iter().zip(&old_keys) {
                    self.leave(p, row, Some(key));
                }
                for (key, row) in &touched {
                    p.emit(Some(row), Some(self.group(key)), true, &mut results.new);
                }
            }
            ResultKind::GroupedRowPerEvent => {
                self.apply(p, new, old);
                if wants_old {
                    for row in old {
                        p.emit(Some(row), Some(self.group(&p.key(row))), false, &mut results.old);
                    }
                }
                for row in new {
                    p.emit(Some(row), Some(self.group(&p.key(row))), true, &mut results.new);
                }
            }
        }
    }

    /// One update of groups of which only the new rows are wanted.
    fn process_groups(&mut self, p: Processing<'_>, new: &[Row], old: &[Row], into: &mut Vec<ResultRow>) {
        let mut touched = Touched::default();
        let mut refused: KeyMap<Value, &Row> = KeyMap::default();
        if !new.is_empty() {
            self.forget_emptied();
        }
        for row in new {
            match self.enter_group(p, row, p.key(row)) {
                Ok(place) => touched.note(place, row),
                Err(key) => {
                    refused.insert(key, row);
                }
            }
        }
        for row in old {
            let key = p.key(row);
            match self.leave_group(p, row, &key) {
                Some(place) => touched.note(place, row),
                None => {
                    refused.insert(key, row);
                }
            }
        }
        for (place, row) in touched.groups {
            let group = self
                .groups
                .get_index(place)
                .map_or(&self.empty, |(_, (group, _))| group);
            p.emit(Some(row), Some(group), true, into);
        }
        for row in refused.into_values() {
            p.emit(Some(row), Some(&self.empty), true, into);
        }
    }

    /// One update under `output last`.
    pub(crate) fn process_last(&mut self, p: Processing<'_>, new: &[Row], old: &[Row]) {
        let wants_old = p.wants_old();
        match p.plan.result {
            ResultKind::Rows | ResultKind::RowPerEvent => {
                let mut results = Results::default();
                self.process(p, new, old, &mut results);
                keep_last(&mut self.last.new, results.new);
                keep_last(&mut self.last.old, results.old);
            }
            ResultKind::OneRow => {
                if wants_old && self.last.old.is_empty() {
                    p.emit(None, Some(&self.all), false, &mut self.last.old);
                }
                self.apply(p, new, old);
            }
            ResultKind::RowPerGroup => {
                for row in new {
                    let key = p.key(row);
                    self.touch(p, row, &key, wants_old);
                    self.enter(p, row, Some(&key));
                }
                for row in old {
                    let key = p.key(row);
                    self.touch(p, row, &key, wants_old);
                    self.leave(p, row, Some(&key));
                }
            }
            ResultKind::GroupedRowPerEvent => {
                self.apply(p, new, old);
                let mut rows = Vec::new();
                // The first row that `having` stops ends the update, as it does in Esper.
                if wants_old {
                    for row in old {
                        let key = p.key(row);
                        p.emit(Some(row), Some(self.group(&key)), false, &mut rows);
                        let Some(row) = rows.pop() else { break };
                        self.last_by_group.1.insert(key, row);
                    }
                }
                for row in new {
                    let key = p.key(row);
                    p.emit(Some(row), Some(self.group(&key)), true, &mut rows);
                    let Some(row) = rows.pop() else { break };
                    self.last_by_group.0.insert(key, row);
                }
            }
        }
    }

    /// Notes that a group has changed since the last output, and what it was before.
    fn touch(&mut self, p: Processing<'_>, row: &Row, key: &Value, wants_old: bool) {
        if self.touched.insert(key.clone(), row.clone()).is_none() && wants_old {
            let group = self.groups.get(key).map_or(&self.empty, |(group, _)| group);
            p.emit(Some(row), Some(group), false, &mut self.last.old);
        }
    }

    /// What `output last` gives.
    pub(crate) fn take_last(&mut self, p: Processing<'_>) -> Results {
        let wants_old = p.wants_old();
        match p.plan.result {
            ResultKind::Rows | ResultKind::RowPerEvent => std::mem::take(&mut self.last),
            ResultKind::OneRow => {
                let mut results = std::mem::take(&mut self.last);
                p.emit(None, Some(&self.all), true, &mut results.new);
                if wants_old && results.old.is_empty() {
                    results.old.clone_from(&results.new);
                }
                results
            }
            ResultKind::RowPerGroup => {
                let mut results = std::mem::take(&mut self.last);
                for (key, row) in std::mem::take(&mut self.touched) {
                    p.emit(Some(&row), Some(self.group(&key)), true, &mut results.new);
                }
                results
            }
            ResultKind::GroupedRowPerEvent => {
                let (new, old) = std::mem::take(&mut self.last_by_group);
                Results {
                    new: new.into_values().collect(),
                    old: old.into_values().collect(),
                }
            }
        }
    }

    /// One update under `output all`.
    pub(crate) fn process_all(&mut self, p: Processing<'_>, new: &[Row], old: &[Row]) {
        let wants_old = p.wants_old();
        match p.plan.result {
            ResultKind::Rows | ResultKind::OneRow | ResultKind::RowPerEvent => {
                let mut results = std::mem::take(&mut self.last);
                self.process(p, new, old, &mut results);
                self.last = results;
            }
            ResultKind::RowPerGroup => {
                self.note_removal(p, wants_old);
                for row in new {
                    let key = p.key(row);
                    self.know(p, row, &key, wants_old);
                    self.enter(p, row, Some(&key));
                }
                for row in old {
                    let key = p.key(row);
                    self.know(p, row, &key, wants_old);
                    self.leave(p, row, Some(&key));
                }
            }
            ResultKind::GroupedRowPerEvent => {
                for row in new {
                    let key = p.key(row);
                    self.every_group.insert(key.clone(), row.clone());
                    self.touched.insert(key, row.clone());
                }
                let mut results = std::mem::take(&mut self.last);
                self.process(p, new, old, &mut results);
                // A group that a row has left is given as it is now, with its newest row.
                // With an order Esper goes another way and does not.
                let left = if p.plan.order_by.is_empty() { old } else { &[] };
                let mut given: Vec<Value> = Vec::new();
                for row in left {
                    let key = p.key(row);
                    if given.contains(&key) {
                        continue;
                    }
                    given.push(key.clone());
                    if let Some(newest) = self.every_group.get(&key) {
                        p.emit(Some(newest), Some(self.group(&key)), true, &mut results.new);
                    }
                    self.touched.insert(key, row.clone());
                }
                self.last = results;
            }
        }
    }

    /// The old rows of all groups known, once before the first change since the last output.
    fn note_removal(&mut self, p: Processing<'_>, wants_old: bool) {
        if wants_old && !self.removal_noted {
            for (key, row) in &self.every_group {
                let group = self.groups.get(key).map_or(&self.empty, |(group, _)| group);
                let before = self.last.old.len();
                p.emit(Some(row), Some(group), false, &mut self.last.old);
                if p.plan.having.is_some() && self.last.old.len() > before {
                    self.old_noted.insert(key.clone());
                }
            }
        }
        self.removal_noted = true;
    }

    /// Notes a group for ever, and what it was before: a new one, or one that `having` has let through at no time since the
    /// last output but does now.
    fn know(&mut self, p: Processing<'_>, row: &Row, key: &Value, wants_old: bool) {
        if self.every_group.len() >= p.max_groups && !self.every_group.contains_key(key) {
            return;
        }
        let known = self.every_group.insert(key.clone(), row.clone()).is_some();
        // With an order Esper goes another way, and looks at `having` once only.
        let again = p.plan.having.is_some() && p.plan.order_by.is_empty();
        if wants_old && (!known || (again && !self.old_noted.contains(key))) {
            let group = self.groups.get(key).map_or(&self.empty, |(group, _)| group);
            let before = self.last.old.len();
            p.emit(Some(row), Some(group), false, &mut self.last.old);
            if again && self.last.old.len() > before {
                self.old_noted.insert(key.clone());
            }
        }
    }

    /// What `output all` gives.
    pub(crate) fn take_all(&mut self, p: Processing<'_>) -> Results {
        let wants_old = p.wants_old();
        match p.plan.result {
            ResultKind::Rows | ResultKind::RowPerEvent => std::mem::take(&mut self.last),
            ResultKind::OneRow => {
                let mut results = std::mem::take(&mut self.last);
                if results.new.is_empty() {
                    p.emit(None, Some(&self.all), true, &mut results.new);
                }
                if wants_old && results.old.is_empty() {
                    p.emit(None, Some(&self.all), false, &mut results.old);
                }
                results
            }
            ResultKind::RowPerGroup => {
                self.note_removal(p, wants_old);
                self.removal_noted = false;
                self.old_noted.clear();
                let mut results = std::mem::take(&mut self.last);
                for (key, row) in &self.every_group {
                    p.emit(Some(row), Some(self.group(key)), true, &mut results.new);
                }
                results
            }
            ResultKind::GroupedRowPerEvent => {
                let mut results = std::mem::take(&mut self.last);
                for (key, row) in &self.every_group {
                    if !self.touched.contains_key(key) {
                        p.emit(Some(row), Some(self.group(key)), true, &mut results.new);
                    }
                }
                self.touched.clear();
                results
            }
        }
    }

    /// Whether a group's row may be given now under `output first`, which it notes.
    fn passes(&mut self, p: Processing<'_>, key: &Value, (news, olds): (u64, u64)) -> bool {
        let when = p.plan.output.as_ref().map(|output| &output.when);
        let now = p.env.now_ms;
        match (when, self.throttles.get_mut(key)) {
            (Some(OutputMoment::EveryMs(ms)), Some(Throttle::Time(last))) => {
                let passes = now - *last >= *ms;
                if passes {
                    *last = now;
                }
                passes
            }
            (Some(OutputMoment::EveryEvents(events)), Some(Throttle::Events { new, old })) => {
                *new += news;
                *old += olds;
                let passes = *new >= *events || *old >= *events;
                if passes {
                    (*new, *old) = (0, 0);
                }
                passes
            }
            (Some(OutputMoment::EveryEvents(_)), None) => {
                self.throttles.insert(key.clone(), Throttle::Events { new: 0, old: 0 });
                true
            }
            (_, None) => {
                self.throttles.insert(key.clone(), Throttle::Time(now));
                true
            }
            _ => true,
        }
    }

    /// Updates under `output first` with `group by`: each group by its own throttle.
    pub(crate) fn process_first(&mut self, p: Processing<'_>, updates: &[(&[Row], &[Row])]) -> Results {
        let mut results = Results::default();
        let mut passed: KeyMap<Value, Row> = KeyMap::default();
        for (new, old) in updates {
            self.pass_first(p, new, old, &mut passed, &mut results.old);
        }
        for (key, row) in &passed {
            p.emit(Some(row), Some(self.group(key)), true, &mut results.new);
        }
        results
    }

    fn pass_first(
        &mut self,
        p: Processing<'_>,
        new: &[Row],
        old: &[Row],
        passed: &mut KeyMap<Value, Row>,
        before: &mut Vec<ResultRow>,
    ) {
        let wants_old = p.wants_old() && p.plan.result == ResultKind::RowPerGroup;
        let moves = || {
            new.iter()
                .map(|row| (row, true))
                .chain(old.iter().map(|row| (row, false)))
        };
        if p.plan.having.is_some() {
            self.apply(p, new, old);
        }
        for (row, entering) in moves() {
            let key = p.key(row);
            let counts = if entering { (1, 0) } else { (0, 1) };
            let eligible = match &p.plan.having {
                None => true,
                Some(having) => {
                    let group = self.group(&key);
                    let scope = RowScope {
                        env: p.env,
                        row: Some(row),
                        group: Some((group, &p.plan.aggregates)),
                        entering,
                    };
                    having.eval(&scope).is_true()
                }
            };
            if eligible
                && self.passes(p, &key, counts)
                && passed.insert(key.clone(), row.clone()).is_none()
                && wants_old
            {
                p.emit(Some(row), Some(self.group(&key)), false, before);
            }
            if p.plan.having.is_none() {
                if entering {
                    self.enter(p, row, Some(&key));
                } else {
                    self.leave(p, row, Some(&key));
                }
            }
        }
    }

    /// Forgets all rows, as a unidirectional join does after each event.
    pub(crate) fn clear(&mut self, plan: &SelectPlan) {
        self.all = Group::new(&plan.aggregates);
        self.groups.clear();
        self.emptied.clear();
    }

    /// What `output every` gives when nothing has come: the one row of a statement that always has one.
    pub(crate) fn standing(&self, p: Processing<'_>) -> Results {
        let mut results = Results::default();
        if p.plan.result == ResultKind::OneRow {
            p.emit(None, Some(&self.all), true, &mut results.new);
            if p.wants_old() {
                results.old.clone_from(&results.new);
            }
        }
        results
    }

    /// The rows of all groups in their order, as many as the limit leaves, if the order tells them apart; where it does not,
    /// they stand by their first rows, which are to be sought in the window.
    fn ordered_groups(&self, p: Processing<'_>) -> Option<Vec<ResultRow>> {
        if p.plan.order_by.is_empty() || p.of_named_window() || !p.told_by_keys() {
            return None;
        }
        let mut rows = Vec::new();
        for (group, row) in self.groups.values().filter(|(group, _)| group.rows > 0) {
            p.emit(Some(row), Some(group), true, &mut rows);
        }
        rows.sort_by(|a, b| compare_keys(&p.plan.order_by, &a.order, &b.order));
        let kept = p
            .plan
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_add(p.plan.offset));
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        let tie = |pair: &[ResultRow]| compare_keys(&p.plan.order_by, &pair[0].order, &pair[1].order).is_eq();
        if rows.windows(2).take(kept).any(tie) {
            return None;
        }
        rows.truncate(kept);
        Some(rows)
    }

    /// What `output snapshot` gives: the state of now, for the rows held.
    pub(crate) fn snapshot(&self, p: Processing<'_>, rows: &mut dyn Iterator<Item = &Row>) -> Vec<ResultRow> {
        let mut result = Vec::new();
        match p.plan.result {
            ResultKind::Rows => {
                for row in rows {
                    p.emit(Some(row), None, true, &mut result);
                }
            }
            ResultKind::OneRow => p.emit(None, Some(&self.all), true, &mut result),
            ResultKind::RowPerEvent => {
                for row in rows {
                    p.emit(Some(row), Some(&self.all), true, &mut result);
                }
            }
            ResultKind::RowPerGroup
                if p.of_named_window()
                    || p.bounded
                        && (p.plan.limit.is_some()
                            || !p.plan.order_by.is_empty()
                            || p.plan.condition.as_ref().is_some_and(varies)) =>
            {
                if let (Some(ordered), false) = (self.ordered_groups(p), p.plan.condition.as_ref().is_some_and(varies))
                {
                    return ordered;
                }
                // Which groups are within the limit, and how those that are equal by the order stand, is a matter of
                // their first rows.
                let mut seen = indexmap::IndexSet::<Value>::new();
                for row in rows {
                    let key = p.key(row);
                    let group = self.group(&key);
                    if seen.insert(key) {
                        p.emit(Some(row), Some(group), true, &mut result);
                    }
                }
            }
            ResultKind::RowPerGroup => {
                for (group, row) in self.groups.values().filter(|(group, _)| group.rows > 0) {
                    p.emit(Some(row), Some(group), true, &mut result);
                }
            }
            ResultKind::GroupedRowPerEvent => {
                for row in rows {
                    p.emit(Some(row), Some(self.group(&p.key(row))), true, &mut result);
                }
            }
        }
        result
    }
}

/// The last of the rows replaces what was last before.
fn keep_last(last: &mut Vec<ResultRow>, mut rows: Vec<ResultRow>) {
    if let Some(row) = rows.pop() {
        last.clear();
        last.push(row);
    }
}

/// Whether what an expression says of a row may change while the row stays: then the groups given are those of the rows that
/// meet the condition now, also those that it kept from their groups before.
fn varies(condition: &Expr) -> bool {
    let mut varies = false;
    visit(condition, &mut |expr| {
        varies |= matches!(
            expr.node,
            Node::Now
                | Node::Previous { .. }
                | Node::Subquery(_)
                | Node::Exists(_)
                | Node::InSubquery { .. }
                | Node::QuantifiedSubquery { .. }
                | Node::TableColumn { .. }
                | Node::Variable(_)
        );
    });
    varies
}

/// Whether a condition holds for a row.
pub(crate) fn holds(condition: Option<&Expr>, env: Env<'_>, row: &Row, entering: bool) -> bool {
    condition.is_none_or(|condition| {
        let scope = RowScope {
            env,
            row: Some(row),
            group: None,
            entering,
        };
        condition.eval(&scope).is_true()
    })
}
