//! Windows as plain lists of rows that are gone through again each time.

use std::rc::Rc;

use flow_cep::syntax::ast::{Expr, ExprKind, View};

use super::expr::{Event, Names, Scope, argument, check, eval, milliseconds};
use super::value::V;

/// What a window keeps.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// No window: nothing leaves, and nothing is kept but for aggregates.
    Unbounded,
    KeepAll,
    Length(usize),
    LengthBatch(usize),
    Time(i64),
    /// Length of the batch, and a point of its grid.
    TimeBatch(i64, Option<i64>),
    ExtTimed(Expr, i64),
    ExtTimedBatch(Expr, i64),
    Unique(Vec<Expr>),
    FirstUnique(Vec<Expr>),
    LastEvent,
    FirstEvent,
    /// The rows kept, and the keys with whether they descend.
    Sort(usize, Vec<(Expr, bool)>),
}

impl Kind {
    pub(crate) fn of(views: &[View], names: &Names) -> Result<Self, String> {
        let view = match views {
            [] => return Ok(Self::Unbounded),
            [view] => view,
            _ => return Err("several windows on a stream".to_owned()),
        };
        let name = view.name.name.as_str();
        let arguments = view.arguments.as_slice();
        let unknown = || format!("the window #{name} with these arguments");
        let period = |at: usize| arguments.get(at).and_then(milliseconds).ok_or_else(unknown);
        let count = |at: usize| {
            let count = arguments.get(at).and_then(|expr| literal(expr)?.whole());
            count.and_then(|count| usize::try_from(count).ok()).ok_or_else(unknown)
        };
        let kind = match (name, arguments.len()) {
            ("keepall", 0) => Self::KeepAll,
            ("lastevent", 0) => Self::LastEvent,
            ("firstevent", 0) => Self::FirstEvent,
            ("length", 1) => Self::Length(count(0)?),
            ("length_batch", 1) => Self::LengthBatch(count(0)?),
            ("time", 1) => Self::Time(period(0)?),
            ("time_batch", 1) => Self::TimeBatch(period(0)?, None),
            ("time_batch", 2) => {
                let reference = literal(&arguments[1]).and_then(|value| value.whole());
                Self::TimeBatch(period(0)?, Some(reference.ok_or_else(unknown)?))
            }
            ("ext_timed", 2) => Self::ExtTimed(arguments[0].clone(), period(1)?),
            ("ext_timed_batch", 2) => Self::ExtTimedBatch(arguments[0].clone(), period(1)?),
            ("unique", 1..) => Self::Unique(arguments.to_vec()),
            ("firstunique", 1..) => Self::FirstUnique(arguments.to_vec()),
            ("sort", 2..) => Self::Sort(count(0)?, arguments[1..].iter().map(direction).collect()),
            _ => return Err(unknown()),
        };
        let keys: Vec<&Expr> = match &kind {
            Self::ExtTimed(time, _) | Self::ExtTimedBatch(time, _) => vec![time],
            Self::Unique(keys) | Self::FirstUnique(keys) => keys.iter().collect(),
            Self::Sort(_, keys) => keys.iter().map(|(key, _)| key).collect(),
            _ => Vec::new(),
        };
        keys.into_iter().try_for_each(|key| check(key, names))?;
        Ok(kind)
    }

    /// Whether it holds rows back and gives them out together.
    pub(crate) fn is_batch(&self) -> bool {
        matches!(
            self,
            Self::LengthBatch(_) | Self::TimeBatch(..) | Self::ExtTimedBatch(..)
        )
    }
}

fn literal(expr: &Expr) -> Option<V> {
    match &expr.kind {
        ExprKind::Literal(value) => V::of(value),
        _ => None,
    }
}

/// A sort key: `x desc` is kept as a call of `desc`.
fn direction(expr: &Expr) -> (Expr, bool) {
    if let ExprKind::Call(call) = &expr.kind {
        let inner = call.arguments.first().and_then(argument);
        match (call.name.name.as_str(), inner) {
            ("desc", Some(inner)) => return (inner.clone(), true),
            ("asc", Some(inner)) => return (inner.clone(), false),
            _ => {}
        }
    }
    (expr.clone(), false)
}

/// Rows that enter and rows that leave at one time.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) new: Vec<Rc<Event>>,
    pub(crate) old: Vec<Rc<Event>>,
}

#[derive(Debug)]
pub(crate) struct Window {
    kind: Kind,
    /// The rows held, oldest first, with the time that counts for them.
    held: Vec<(i64, Rc<Event>)>,
    /// The last batch given out.
    last: Vec<Rc<Event>>,
    /// A point of the grid of batches, once there is one.
    grid: Option<i64>,
    /// When the batch ends, or when it is found that there is none.
    due: Option<i64>,
}

/// The first point of a grid after a time.
fn grid_after(time: i64, point: i64, step: i64) -> i64 {
    point + ((time - point).div_euclid(step) + 1) * step
}

impl Window {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            held: Vec::new(),
            last: Vec::new(),
            grid: None,
            due: None,
        }
    }

    pub(crate) fn rows(&self) -> Vec<Rc<Event>> {
        self.held.iter().map(|(_, event)| event.clone()).collect()
    }

    pub(crate) fn due(&self) -> Option<i64> {
        match self.kind {
            Kind::Time(ms) => self.held.first().map(|(at, _)| at + ms),
            _ => self.due,
        }
    }

    /// A row arrives.
    pub(crate) fn insert(&mut self, event: &Rc<Event>, now: i64, names: &Names) -> Option<Change> {
        let value = |key: &Expr, event: &Rc<Event>| {
            let tuple = [Some(event.clone())];
            let names = Names {
                streams: vec![names.streams.first().cloned().unwrap_or_default()],
                ..names.clone()
            };
            let scope = Scope {
                names: &names,
                now,
                tuple: &tuple,
                rows: &[],
                unbounded: false,
            };
            eval(key, scope)
        };
        let mut old = Vec::new();
        match &self.kind {
            Kind::Unbounded => {}
            Kind::KeepAll | Kind::Time(_) => self.held.push((now, event.clone())),
            Kind::Length(count) => {
                self.held.push((now, event.clone()));
                if self.held.len() > *count {
                    old.push(self.held.remove(0).1);
                }
            }
            Kind::FirstEvent => {
                if !self.held.is_empty() {
                    return None;
                }
                self.held.push((now, event.clone()));
            }
            Kind::LastEvent => {
                old = self.rows();
                self.held = vec![(now, event.clone())];
            }
            Kind::Unique(keys) | Kind::FirstUnique(keys) => {
                let same = |held: &(i64, Rc<Event>)| keys.iter().all(|key| value(key, &held.1) == value(key, event));
                if let Some(at) = self.held.iter().position(same) {
                    if matches!(self.kind, Kind::FirstUnique(_)) {
                        return None;
                    }
                    old.push(self.held.remove(at).1);
                }
                self.held.push((now, event.clone()));
            }
            Kind::Sort(count, keys) => {
                // Sorted anew: among rows that are equal by the keys the newest stands first.
                self.held.insert(0, (now, event.clone()));
                self.held.sort_by(|(_, a), (_, b)| {
                    let mut orders = keys.iter().map(|(key, descends)| {
                        let order = value(key, a).order(&value(key, b));
                        if *descends { order.reverse() } else { order }
                    });
                    orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
                });
                if self.held.len() > *count {
                    old.extend(self.held.pop().map(|(_, event)| event));
                }
            }
            Kind::ExtTimed(time, ms) => {
                let time = value(time, event).whole()?;
                self.held.push((time, event.clone()));
                while self.held[0].0 <= time - ms {
                    old.push(self.held.remove(0).1);
                }
            }
            Kind::LengthBatch(count) => {
                self.held.push((now, event.clone()));
                return (self.held.len() == *count).then(|| self.give_batch());
            }
            Kind::TimeBatch(ms, reference) => {
                self.held.push((now, event.clone()));
                let point = *self.grid.get_or_insert_with(|| reference.unwrap_or(now));
                self.due.get_or_insert_with(|| grid_after(now, point, *ms));
                return None;
            }
            Kind::ExtTimedBatch(time, ms) => {
                let time = value(time, event).whole()?;
                let point = *self.grid.get_or_insert(time);
                let over = self
                    .held
                    .first()
                    .is_some_and(|(oldest, _)| time >= grid_after(*oldest, point, *ms));
                let change = over.then(|| self.give_batch());
                self.held.push((time, event.clone()));
                return change;
            }
        }
        Some(Change {
            new: vec![event.clone()],
            old,
        })
    }

    /// The rows held become a batch; the batch before leaves.
    fn give_batch(&mut self) -> Change {
        let batch = self.rows();
        self.held.clear();
        Change {
            old: std::mem::replace(&mut self.last, batch.clone()),
            new: batch,
        }
    }

    /// What is due has come.
    pub(crate) fn fire(&mut self, now: i64) -> Option<Change> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        match self.kind {
            Kind::Time(ms) => {
                let mut old = Vec::new();
                while self.held.first().is_some_and(|(at, _)| at + ms <= now) {
                    old.push(self.held.remove(0).1);
                }
                Some(Change { new: Vec::new(), old })
            }
            Kind::TimeBatch(ms, _) => {
                let change = self.give_batch();
                let goes_on = !change.new.is_empty() || !change.old.is_empty();
                self.due = goes_on.then_some(now + ms);
                goes_on.then_some(change)
            }
            _ => None,
        }
    }
}
