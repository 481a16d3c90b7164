//! Output clauses, from the text of the reference: points 5 and 9 to 12.

use flow_cep::syntax::ast::{self, OutputKind, OutputWhen};

use super::expr::{Tuple, milliseconds};
use super::instance::{Instance, Rows};
use super::select::{Class, Out, Plan};
use super::value::V;

/// When an output clause gives out what it has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Every {
    Ms(i64),
    Events(usize),
}

/// `output [kind] every ..`.
#[derive(Clone, Debug)]
pub(crate) struct Clause {
    kind: OutputKind,
    every: Every,
}

impl Clause {
    pub(crate) fn of(output: &ast::Output, plan: &Plan) -> Result<Self, String> {
        if output.after.is_some() || output.and_when_terminated {
            return Err("this output clause".to_owned());
        }
        if plan.streams.iter().any(|stream| stream.window.is_batch()) {
            return Err("an output clause on a batch window".to_owned());
        }
        let every = match &output.when {
            OutputWhen::Every(period) => milliseconds(period).map(Every::Ms),
            OutputWhen::Events(ast::Expr {
                kind: ast::ExprKind::Literal(count),
                ..
            }) => V::of(count)
                .and_then(|count| usize::try_from(count.whole()?).ok())
                .map(Every::Events),
            _ => None,
        };
        Ok(Self {
            kind: output.kind,
            every: every.ok_or("when this output clause gives")?,
        })
    }
}

/// A group's throttle under `output first`.
#[derive(Debug)]
struct Throttle {
    key: Vec<V>,
    last: i64,
    new: usize,
    old: usize,
}

/// What an output clause holds back.
#[derive(Debug)]
pub(crate) struct Output {
    clause: Clause,
    pending: Rows,
    /// When it gives next; none before the first row.
    due: Option<i64>,
    new: usize,
    old: usize,
    /// Whether `first` has given its row.
    silent: bool,
    /// Groups with their newest row: under `last` since the last output, under `all` ever.
    groups: Vec<(Vec<V>, Tuple)>,
    /// Groups that have given a row since the last output.
    given: Vec<Vec<V>>,
    /// Whether the old rows of all groups have been noted since the last output.
    old_noted: bool,
    /// Under `all`, the groups whose old rows have been given since the last output.
    old_given: Vec<Vec<V>>,
    throttles: Vec<Throttle>,
    /// Under `last`, the last row of each group that entered and that left.
    last_new: Vec<(Vec<V>, Out)>,
    last_old: Vec<(Vec<V>, Out)>,
    /// Whether anything has come since the last output.
    updated: bool,
}

/// Notes the newest row of a group; whether the group is new.
fn note(groups: &mut Vec<(Vec<V>, Tuple)>, key: &[V], row: &Tuple) -> bool {
    if let Some((_, newest)) = groups.iter_mut().find(|(held, _)| held == key) {
        newest.clone_from(row);
        return false;
    }
    groups.push((key.to_vec(), row.clone()));
    true
}

impl Output {
    pub(crate) fn new(clause: Clause) -> Self {
        Self {
            clause,
            pending: Rows::default(),
            due: None,
            new: 0,
            old: 0,
            silent: false,
            groups: Vec::new(),
            given: Vec::new(),
            old_noted: false,
            old_given: Vec::new(),
            throttles: Vec::new(),
            last_new: Vec::new(),
            last_old: Vec::new(),
            updated: false,
        }
    }

    pub(crate) fn due(&self) -> Option<i64> {
        self.due
    }

    /// Rows enter and leave.
    pub(crate) fn update(&mut self, of: &mut Instance, plan: &Plan, new: &[Tuple], old: &[Tuple], now: i64) {
        self.updated = true;
        match self.clause.kind {
            OutputKind::Default => self.pending.extend(of.process(plan, new, old, now)),
            OutputKind::Last => self.last(of, plan, new, old, now),
            OutputKind::All => self.all(of, plan, new, old, now),
            OutputKind::Snapshot => of.apply(new, old),
            OutputKind::First if plan.is_grouped() => {
                let rows = self.first_of_groups(of, plan, new, old, now);
                of.deliver(plan, rows, false);
                return;
            }
            OutputKind::First => {
                let rows = of.process(plan, new, old, now);
                self.silent = self.silent || of.deliver(plan, rows, false);
                if !self.silent {
                    return;
                }
            }
        }
        match self.clause.every {
            Every::Ms(ms) => {
                self.due.get_or_insert(now + ms);
            }
            Every::Events(count) => {
                self.new += new.len();
                self.old += old.len();
                if self.new >= count || self.old >= count {
                    (self.new, self.old) = (0, 0);
                    self.give(of, plan, false, now);
                }
            }
        }
    }

    /// Time has come to where something may be due.
    pub(crate) fn fire(&mut self, of: &mut Instance, plan: &Plan, now: i64) {
        if let (Some(due), Every::Ms(ms)) = (self.due, self.clause.every)
            && due <= now
        {
            self.due = Some(due + ms);
            // Of a context's partition an empty delivery comes only with a snapshot, or if plain rows are gathered.
            let may_be_quiet = match self.clause.kind {
                OutputKind::Snapshot | OutputKind::First => false,
                OutputKind::Last => true,
                OutputKind::All | OutputKind::Default => plan.class != Class::Rows,
            };
            self.give(of, plan, !(plan.in_context && may_be_quiet), now);
        }
    }

    fn give(&mut self, of: &mut Instance, plan: &Plan, forced: bool, now: i64) {
        let mut rows = std::mem::take(&mut self.pending);
        let wants_old = plan.wants_old();
        match (self.clause.kind, plan.class) {
            (OutputKind::First, _) => {
                self.silent = false;
                return;
            }
            (OutputKind::Snapshot, _) => rows.new = of.snapshot(plan, now),
            (OutputKind::Default, Class::OneRow) if !self.updated => {
                rows.new.extend(of.one(plan, now));
                rows.old.clone_from(&rows.new);
            }
            (OutputKind::Last, Class::OneRow) => {
                rows.new.extend(of.one(plan, now));
                if wants_old && !self.old_noted {
                    rows.old.extend(of.one(plan, now));
                }
            }
            (OutputKind::All, Class::OneRow) => {
                if rows.new.is_empty() {
                    rows.new.extend(of.one(plan, now));
                }
                if wants_old && rows.old.is_empty() {
                    rows.old.extend(of.one(plan, now));
                }
            }
            (OutputKind::Last, Class::RowPerGroup) => {
                let newest: Vec<Tuple> = self.groups.drain(..).map(|(_, row)| row).collect();
                rows.new = of.outs(plan, &newest, now);
            }
            (OutputKind::Last, Class::GroupedRowPerEvent) => {
                rows.new = self.last_new.drain(..).map(|(_, row)| row).collect();
                rows.old = self.last_old.drain(..).map(|(_, row)| row).collect();
            }
            (OutputKind::All, Class::RowPerGroup) => {
                self.note_old(of, plan, now);
                rows.old.append(&mut self.pending.old);
                let newest: Vec<Tuple> = self.groups.iter().map(|(_, row)| row.clone()).collect();
                rows.new = of.outs(plan, &newest, now);
            }
            (OutputKind::All, Class::GroupedRowPerEvent) => {
                let silent = self.groups.iter().filter(|(key, _)| !self.given.contains(key));
                let newest: Vec<Tuple> = silent.map(|(_, row)| row.clone()).collect();
                rows.new.extend(of.outs(plan, &newest, now));
            }
            _ => {}
        }
        self.old_noted = false;
        self.old_given.clear();
        self.updated = false;
        self.given.clear();
        of.deliver(plan, rows, forced);
    }

    /// `output last`.
    fn last(&mut self, of: &mut Instance, plan: &Plan, new: &[Tuple], old: &[Tuple], now: i64) {
        let wants_old = plan.wants_old();
        match plan.class {
            Class::Rows | Class::RowPerEvent => {
                let rows = of.process(plan, new, old, now);
                for (kept, rows) in [(&mut self.pending.new, rows.new), (&mut self.pending.old, rows.old)] {
                    if let Some(last) = rows.into_iter().next_back() {
                        *kept = vec![last];
                    }
                }
            }
            Class::OneRow => {
                if wants_old && !self.old_noted {
                    let before = of.one(plan, now);
                    self.old_noted = before.is_some();
                    self.pending.old.extend(before);
                }
                of.apply(new, old);
            }
            Class::RowPerGroup => {
                for row in new.iter().chain(old) {
                    if note(&mut self.groups, &plan.key(now, row), row) && wants_old {
                        self.pending.old.extend(plan.out(now, row, &of.held));
                    }
                }
                of.apply(new, old);
            }
            Class::GroupedRowPerEvent => {
                of.apply(new, old);
                for (kept, rows) in [(&mut self.last_new, new), (&mut self.last_old, old)] {
                    for row in rows {
                        let key = plan.key(now, row);
                        // The first row that `having` stops ends the update.
                        let Some(out) = plan.out(now, row, &of.held) else {
                            break;
                        };
                        kept.retain(|(held, _)| *held != key);
                        kept.push((key, out));
                    }
                }
            }
        }
    }

    /// `output all`.
    fn all(&mut self, of: &mut Instance, plan: &Plan, new: &[Tuple], old: &[Tuple], now: i64) {
        match plan.class {
            Class::Rows | Class::OneRow | Class::RowPerEvent => {
                let rows = of.process(plan, new, old, now);
                self.pending.extend(rows);
            }
            Class::RowPerGroup => {
                self.note_old(of, plan, now);
                let entering = new.iter().map(|row| (row, true));
                for (row, enters) in entering.chain(old.iter().map(|row| (row, false))) {
                    let key = plan.key(now, row);
                    let is_new = note(&mut self.groups, &key, row);
                    let again = plan.has_having() && !plan.has_order() && !self.old_given.contains(&key);
                    if plan.wants_old()
                        && (is_new || again)
                        && let Some(out) = plan.out(now, row, &of.held)
                    {
                        self.pending.old.push(out);
                        self.old_given.push(key);
                    }
                    let moved = std::slice::from_ref(row);
                    let (new, old) = if enters { (moved, &[][..]) } else { (&[][..], moved) };
                    of.apply(new, old);
                }
            }
            Class::GroupedRowPerEvent => {
                for row in new {
                    let key = plan.key(now, row);
                    note(&mut self.groups, &key, row);
                    self.given.push(key);
                }
                let rows = of.process(plan, new, old, now);
                self.pending.extend(rows);
                let mut left: Vec<Vec<V>> = Vec::new();
                // With an order another way is gone, to which the groups that a row has left are as silent as the others.
                let old = if plan.has_order() { &[] } else { old };
                for row in old {
                    let key = plan.key(now, row);
                    if left.contains(&key) {
                        continue;
                    }
                    self.given.push(key.clone());
                    if let Some((_, newest)) = self.groups.iter().find(|(held, _)| *held == key) {
                        self.pending.new.extend(plan.out(now, newest, &of.held));
                    }
                    left.push(key);
                }
            }
        }
    }

    /// The old rows of all groups, once before the first change since the last output.
    fn note_old(&mut self, of: &Instance, plan: &Plan, now: i64) {
        if plan.wants_old() && !self.old_noted {
            for (key, row) in &self.groups {
                if let Some(out) = plan.out(now, row, &of.held) {
                    self.pending.old.push(out);
                    self.old_given.push(key.clone());
                }
            }
        }
        self.old_noted = true;
    }

    /// `output first` with groups: each is silent for a while after its own row, and a row that leaves counts too.
    fn first_of_groups(&mut self, of: &mut Instance, plan: &Plan, new: &[Tuple], old: &[Tuple], now: i64) -> Rows {
        let mut rows = Rows::default();
        let mut passed: Vec<(Vec<V>, Tuple)> = Vec::new();
        if plan.has_having() {
            of.apply(new, old);
        }
        let moves = new
            .iter()
            .map(|row| (row, true))
            .chain(old.iter().map(|row| (row, false)));
        for (row, enters) in moves {
            let key = plan.key(now, row);
            let eligible = plan.having_holds(now, row, &of.held) || !plan.has_having();
            let old_row = plan.out(now, row, &of.held);
            if eligible
                && self.passes(&key, enters, now)
                && note(&mut passed, &key, row)
                && plan.class == Class::RowPerGroup
            {
                rows.old.extend(old_row);
            }
            if !plan.has_having() {
                let (new, old) = if enters {
                    (std::slice::from_ref(row), [].as_slice())
                } else {
                    ([].as_slice(), std::slice::from_ref(row))
                };
                of.apply(new, old);
            }
        }
        let passed: Vec<Tuple> = passed.into_iter().map(|(_, row)| row).collect();
        rows.new = of.outs(plan, &passed, now);
        rows
    }

    fn passes(&mut self, key: &[V], enters: bool, now: i64) -> bool {
        let Some(throttle) = self.throttles.iter_mut().find(|throttle| throttle.key == key) else {
            self.throttles.push(Throttle {
                key: key.to_vec(),
                last: now,
                new: 0,
                old: 0,
            });
            return true;
        };
        match self.clause.every {
            Every::Ms(ms) => {
                let passes = now - throttle.last >= ms;
                if passes {
                    throttle.last = now;
                }
                passes
            }
            Every::Events(count) => {
                throttle.new += usize::from(enters);
                throttle.old += usize::from(!enters);
                let passes = throttle.new >= count || throttle.old >= count;
                if passes {
                    (throttle.new, throttle.old) = (0, 0);
                }
                passes
            }
        }
    }
}
