//! A running select: its windows, its join, the rows that its aggregates are of.

use std::rc::Rc;

use super::expr::{Event, Scope, Tuple, eval};
use super::output::{Clause, Output};
use super::select::{Class, Out, Plan};
use super::value::V;
use super::window::{Change, Kind, Window};

/// Rows of a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) new: Vec<Out>,
    pub(crate) old: Vec<Out>,
}

impl Rows {
    pub(crate) fn extend(&mut self, more: Self) {
        self.new.extend(more.new);
        self.old.extend(more.old);
    }
}

/// Arranged rows of a delivery.
pub(crate) type Given = (Vec<Vec<V>>, Vec<Vec<V>>);

#[derive(Debug)]
pub(crate) struct Instance {
    windows: Vec<Window>,
    /// Of each stream of a join, what has come out of its window and not left.
    joined: Vec<Vec<Rc<Event>>>,
    /// The rows that have entered and not left, in the order of their coming: what aggregates are of.
    pub(crate) held: Vec<Tuple>,
    /// The newest row.
    latest: Tuple,
    /// The output clause; away while it works on the rest.
    output: Option<Output>,
    has_output: bool,
    /// What is to be delivered when the engine is done with the event or the instant.
    pub(crate) given: Option<Given>,
}

fn same(a: &Tuple, b: &Tuple) -> bool {
    let number = |event: &Option<Rc<Event>>| event.as_ref().map(|event| event.number);
    a.iter().map(number).eq(b.iter().map(number))
}

fn remove(rows: &mut Vec<Tuple>, row: &Tuple) {
    if let Some(at) = rows.iter().position(|held| same(held, row)) {
        rows.remove(at);
    }
}

impl Instance {
    pub(crate) fn new(plan: &Plan, clause: Option<&Clause>) -> Self {
        Self {
            windows: plan
                .streams
                .iter()
                .map(|stream| Window::new(stream.window.clone()))
                .collect(),
            joined: plan.streams.iter().map(|_| Vec::new()).collect(),
            held: Vec::new(),
            latest: Vec::new(),
            has_output: clause.is_some(),
            output: clause.map(|clause| Output::new(clause.clone())),
            given: None,
        }
    }

    pub(crate) fn due(&self) -> Option<i64> {
        let output = self.output.as_ref().and_then(Output::due);
        self.windows.iter().filter_map(Window::due).chain(output).min()
    }

    pub(crate) fn event(&mut self, plan: &Plan, event: &Rc<Event>, now: i64) {
        let mut changes = Vec::new();
        for (stream, window) in plan.streams.iter().zip(&mut self.windows) {
            let tuple = [Some(event.clone())];
            let scope = Scope {
                names: &stream.names,
                now,
                tuple: &tuple,
                rows: &[],
                unbounded: false,
            };
            let passes = stream.filter.iter().all(|condition| eval(condition, scope).is_true());
            changes.push(if passes {
                window.insert(event, now, &stream.names)
            } else {
                None
            });
        }
        self.changed(plan, changes, now);
    }

    /// Timers: what a window gives comes before what the output clause does; what comes of a join comes after.
    pub(crate) fn fire(&mut self, plan: &Plan, now: i64) {
        if plan.streams.len() > 1 {
            self.fire_output(plan, now);
        }
        let changes = self.windows.iter_mut().map(|window| window.fire(now)).collect();
        self.changed(plan, changes, now);
        if plan.streams.len() == 1 {
            self.fire_output(plan, now);
        }
    }

    fn fire_output(&mut self, plan: &Plan, now: i64) {
        if let Some(mut output) = self.output.take() {
            output.fire(self, plan, now);
            self.output = Some(output);
        }
    }

    fn changed(&mut self, plan: &Plan, changes: Vec<Option<Change>>, now: i64) {
        if changes.iter().all(Option::is_none) {
            return;
        }
        let changes: Vec<Change> = changes.into_iter().map(Option::unwrap_or_default).collect();
        let (mut new, mut old) = if let [change] = changes.as_slice() {
            let tuples = |events: &[Rc<Event>]| events.iter().map(|event| vec![Some(event.clone())]).collect();
            (tuples(&change.new), tuples(&change.old))
        } else {
            self.join(plan, &changes, now)
        };
        if let Some(last) = new.last() {
            self.latest.clone_from(last);
        }
        new.retain(|row: &Tuple| plan.holds(plan.condition.as_ref(), now, row));
        old.retain(|row: &Tuple| plan.holds(plan.condition.as_ref(), now, row));
        if new.is_empty() && old.is_empty() {
            return;
        }
        match self.output.take() {
            None => {
                let rows = self.process(plan, &new, &old, now);
                self.deliver(plan, rows, false);
            }
            Some(mut output) => {
                output.update(self, plan, &new, &old, now);
                self.output = Some(output);
            }
        }
    }

    /// The pairs of rows that enter and leave: those that leave are sought before anything changes, those that enter after.
    fn join(&mut self, plan: &Plan, changes: &[Change], now: i64) -> (Vec<Tuple>, Vec<Tuple>) {
        let pairs = |joined: &[Vec<Rc<Event>>], moved: [&[Rc<Event>]; 2]| {
            let all = pairs(plan, joined, now);
            let among = |event: &Option<Rc<Event>>, moved: &[Rc<Event>]| {
                event
                    .as_ref()
                    .is_some_and(|event| moved.iter().any(|moved| moved.number == event.number))
            };
            all.into_iter()
                .filter(|pair| among(&pair[0], moved[0]) || among(&pair[1], moved[1]))
                .collect()
        };
        let old = pairs(&self.joined, [&changes[0].old, &changes[1].old]);
        for (joined, change) in self.joined.iter_mut().zip(changes) {
            joined.extend(change.new.iter().cloned());
            for event in &change.old {
                joined.retain(|held| held.number != event.number);
            }
        }
        (pairs(&self.joined, [&changes[0].new, &changes[1].new]), old)
    }

    /// Rows enter and leave what aggregates are of.
    pub(crate) fn apply(&mut self, new: &[Tuple], old: &[Tuple]) {
        self.held.extend(new.iter().cloned());
        for row in old {
            remove(&mut self.held, row);
        }
    }

    /// The groups that an update is about, each with its last row.
    pub(crate) fn touched(&self, plan: &Plan, new: &[Tuple], old: &[Tuple], now: i64) -> Vec<(Vec<V>, Tuple)> {
        let mut groups: Vec<(Vec<V>, Tuple)> = Vec::new();
        for row in new.iter().chain(old) {
            let key = plan.key(now, row);
            match groups.iter_mut().find(|(held, _)| *held == key) {
                Some((_, last)) => last.clone_from(row),
                None => groups.push((key, row.clone())),
            }
        }
        groups
    }

    /// The one row of a result without columns.
    pub(crate) fn one(&self, plan: &Plan, now: i64) -> Option<Out> {
        plan.out(now, &self.latest, &self.held)
    }

    pub(crate) fn outs(&self, plan: &Plan, rows: &[Tuple], now: i64) -> Vec<Out> {
        rows.iter().filter_map(|row| plan.out(now, row, &self.held)).collect()
    }

    /// What an update gives: values are those after it; old rows of whole groups those before it.
    pub(crate) fn process(&mut self, plan: &Plan, new: &[Tuple], old: &[Tuple], now: i64) -> Rows {
        let mut rows = Rows::default();
        match plan.class {
            Class::Rows | Class::RowPerEvent | Class::GroupedRowPerEvent => {
                self.apply(new, old);
                rows.new = self.outs(plan, new, now);
                rows.old = self.outs(plan, old, now);
            }
            Class::OneRow => {
                rows.old.extend(self.one(plan, now));
                self.apply(new, old);
                rows.new.extend(self.one(plan, now));
            }
            Class::RowPerGroup => {
                let groups: Vec<Tuple> = self
                    .touched(plan, new, old, now)
                    .into_iter()
                    .map(|(_, row)| row)
                    .collect();
                rows.old = self.outs(plan, &groups, now);
                self.apply(new, old);
                rows.new = self.outs(plan, &groups, now);
            }
        }
        if !plan.wants_old() {
            rows.old.clear();
        }
        rows
    }

    /// The rows that a snapshot goes through.
    fn standing(&self, plan: &Plan, now: i64) -> Vec<Tuple> {
        let mut rows = match plan.streams.as_slice() {
            [stream] if matches!(stream.window, Kind::Unbounded) => match plan.class {
                Class::RowPerGroup => self.held.clone(),
                // Nothing is kept of a stream without a window.
                _ => Vec::new(),
            },
            [_] => self.windows[0]
                .rows()
                .into_iter()
                .map(|event| vec![Some(event)])
                .collect(),
            _ => pairs(plan, &self.joined, now),
        };
        rows.retain(|row| plan.holds(plan.condition.as_ref(), now, row));
        rows
    }

    pub(crate) fn snapshot(&self, plan: &Plan, now: i64) -> Vec<Out> {
        let rows = self.standing(plan, now);
        match plan.class {
            Class::OneRow => self.one(plan, now).into_iter().collect(),
            Class::RowPerGroup => {
                let mut seen: Vec<Vec<V>> = Vec::new();
                let mut first: Vec<Tuple> = Vec::new();
                for row in rows {
                    let key = plan.key(now, &row);
                    if !seen.contains(&key) {
                        seen.push(key);
                        first.push(row);
                    }
                }
                self.outs(plan, &first, now)
            }
            _ => self.outs(plan, &rows, now),
        }
    }

    /// Rows go to whoever listens, together with others of the same instant; a forced delivery may have none. Whether
    /// there is a delivery.
    pub(crate) fn deliver(&mut self, plan: &Plan, rows: Rows, forced: bool) -> bool {
        use flow_cep::syntax::ast::StreamSelector;
        // The one row of a statement that has but one is not subject to a limit.
        let (new, old) = if plan.class == Class::OneRow && !self.has_output {
            let values = |rows: Vec<Out>| rows.into_iter().map(|row| row.values).collect();
            (values(rows.new), values(rows.old))
        } else {
            (plan.arrange(rows.new), plan.arrange(rows.old))
        };
        let (new, old) = match plan.selector {
            StreamSelector::Insert => (new, Vec::new()),
            StreamSelector::Remove => (old, Vec::new()),
            StreamSelector::Both => (new, old),
        };
        let any = forced || !new.is_empty() || !old.is_empty();
        if any {
            let given = self.given.get_or_insert_default();
            given.0.extend(new);
            given.1.extend(old);
        }
        any
    }
}

/// All pairs of a join, and for an outer one the rows of the first stream without a partner.
fn pairs(plan: &Plan, joined: &[Vec<Rc<Event>>], now: i64) -> Vec<Tuple> {
    let mut pairs: Vec<Tuple> = Vec::new();
    for first in &joined[0] {
        let partners = joined[1]
            .iter()
            .map(|second| vec![Some(first.clone()), Some(second.clone())]);
        let before = pairs.len();
        pairs.extend(partners.filter(|pair| plan.holds(plan.on.as_ref(), now, pair)));
        if plan.outer && pairs.len() == before {
            pairs.push(vec![Some(first.clone()), None]);
        }
    }
    pairs
}
