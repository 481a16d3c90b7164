//! Windows: which rows a stream keeps, and what enters and leaves them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::expr::Expr;
use crate::plan::{OrderKey, WindowPlan};
use crate::row::KeyMap;
use crate::row::event::Row;
use crate::value::{Value, compare_by};

/// What a window passes on: nothing, or an update of new and old rows, either of which may be empty.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Whether there is an update at all (a forced one has no rows).
    pub(crate) updated: bool,
    /// Rows that entered.
    pub(crate) new: Vec<Row>,
    /// Rows that left.
    pub(crate) old: Vec<Row>,
}

/// The time and the means to evaluate a window's expressions over a row.
pub(crate) struct Moment<'a> {
    /// The engine's time.
    pub(crate) now_ms: i64,
    /// Evaluates an expression over a row.
    pub(crate) eval: &'a dyn Fn(&Expr, &Row) -> Value,
}

impl Moment<'_> {
    fn long(&self, expr: &Expr, row: &Row) -> Option<i64> {
        (self.eval)(expr, row).as_long()
    }

    fn key(&self, exprs: &[Expr], row: &Row) -> Value {
        match exprs {
            [expr] => (self.eval)(expr, row),
            exprs => Value::List(exprs.iter().map(|expr| (self.eval)(expr, row)).collect()),
        }
    }
}

/// The rows of a window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Window {
    /// Rows with a time, oldest first: `time`, `ext_timed`, `time_accum`, `length`, `keepall`, `firstlength`, `firsttime`,
    /// `lastevent`, `firstevent`.
    Queue {
        /// Arrival (or external time) and row.
        entries: VecDeque<(i64, Row)>,
        /// When rows are due to leave.
        due: Option<i64>,
        /// When the window was made, for `firsttime`.
        since: i64,
        /// Numbers of rows that have been taken out and still stand in the queue, never at its front.
        gone: HashSet<u64>,
    },
    /// The batches.
    Batch {
        /// Rows since the last delivery.
        current: Vec<Row>,
        /// Rows of the last delivery.
        last: Vec<Row>,
        /// When the batch is due.
        due: Option<i64>,
        /// A point of the grid.
        reference: Option<i64>,
        /// External time of the first row of the current batch.
        oldest: Option<i64>,
    },
    /// `unique` and `firstunique`.
    Keyed(KeyMap<Value, Row>),
    /// `sort` and `rank`: rows with their order (and unique) keys, in order.
    Sorted(Vec<SortedEntry>),
    /// `time_order` and `timetolive`: by time.
    Ordered {
        /// Rows by time and number.
        rows: BTreeMap<(i64, u64), Row>,
        /// When the first is due to leave.
        due: Option<i64>,
    },
}

/// A row of a sorted window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SortedEntry {
    keys: Vec<Value>,
    unique: Value,
    row: Row,
}

/// Compares two lists of keys, nulls first unless descending.
pub(crate) fn compare_keys(order: &[OrderKey], a: &[Value], b: &[Value]) -> Ordering {
    compare_by(order.iter().map(|key| key.descending), a, b)
}

/// The first point of a grid behind `now`.
pub(crate) fn next_on_grid(now: i64, reference: i64, step: i64) -> i64 {
    let step = step.max(1);
    let steps = (now - reference).div_euclid(step);
    reference + (steps + 1) * step
}

impl Window {
    /// Lays the grid of batches through a time, if no row has yet.
    pub(crate) fn anchor(&mut self, time_ms: i64) {
        if let Self::Batch { reference, .. } = self {
            reference.get_or_insert(time_ms);
        }
    }

    /// An empty window.
    pub(crate) fn new(plan: &WindowPlan, now_ms: i64) -> Self {
        match plan {
            WindowPlan::Time(_)
            | WindowPlan::ExtTimed { .. }
            | WindowPlan::Length(_)
            | WindowPlan::KeepAll
            | WindowPlan::LastEvent
            | WindowPlan::FirstEvent
            | WindowPlan::FirstLength(_)
            | WindowPlan::FirstTime(_)
            | WindowPlan::TimeAccum(_) => Self::Queue {
                entries: VecDeque::new(),
                due: None,
                since: now_ms,
                gone: HashSet::new(),
            },
            WindowPlan::TimeBatch {
                ms,
                reference_ms,
                start_eager,
                ..
            } => {
                let reference = reference_ms.or(start_eager.then_some(now_ms));
                Self::Batch {
                    current: Vec::new(),
                    last: Vec::new(),
                    due: reference
                        .filter(|_| *start_eager)
                        .map(|reference| next_on_grid(now_ms, reference, *ms)),
                    reference,
                    oldest: None,
                }
            }
            WindowPlan::TimeLengthBatch { ms, start_eager, .. } => Self::Batch {
                current: Vec::new(),
                last: Vec::new(),
                due: start_eager.then_some(now_ms + ms),
                reference: None,
                oldest: None,
            },
            WindowPlan::ExtTimedBatch { reference_ms, .. } => Self::Batch {
                current: Vec::new(),
                last: Vec::new(),
                due: None,
                reference: *reference_ms,
                oldest: None,
            },
            WindowPlan::LengthBatch(_) => Self::Batch {
                current: Vec::new(),
                last: Vec::new(),
                due: None,
                reference: None,
                oldest: None,
            },
            WindowPlan::Unique(_) | WindowPlan::FirstUnique(_) => Self::Keyed(KeyMap::default()),
            WindowPlan::Sort { .. } | WindowPlan::Rank { .. } => Self::Sorted(Vec::new()),
            WindowPlan::TimeOrder { .. } | WindowPlan::TimeToLive(_) => Self::Ordered {
                rows: BTreeMap::new(),
                due: None,
            },
        }
    }

    /// When rows are next due to leave or to be delivered.
    pub(crate) fn due(&self) -> Option<i64> {
        match self {
            Self::Queue { due, .. } | Self::Batch { due, .. } | Self::Ordered { due, .. } => *due,
            Self::Keyed(_) | Self::Sorted(_) => None,
        }
    }

    /// Number of rows held.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Queue { entries, gone, .. } => entries.len() - gone.len(),
            Self::Batch { current, last, .. } => current.len() + last.len(),
            Self::Keyed(rows) => rows.len(),
            Self::Sorted(rows) => rows.len(),
            Self::Ordered { rows, .. } => rows.len(),
        }
    }

    /// The rows as a join, a subquery or a snapshot sees them; of batches the one delivered last.
    pub(crate) fn rows(&self) -> Box<dyn Iterator<Item = &Row> + '_> {
        match self {
            Self::Queue { entries, gone, .. } => Box::new(held(entries, gone)),
            Self::Batch { last, .. } => Box::new(last.iter()),
            Self::Keyed(rows) => Box::new(rows.values()),
            Self::Sorted(rows) => Box::new(rows.iter().map(|entry| &entry.row)),
            Self::Ordered { rows, .. } => Box::new(rows.values()),
        }
    }

    /// The row so far back from the newest, or, in a batch, from the given row.
    pub(crate) fn back(&self, from: &Row, offset: usize) -> Option<&Row> {
        match self {
            Self::Queue { entries, gone, .. } => held(entries, gone).rev().nth(offset),
            Self::Batch { current, last, .. } => [last, current].into_iter().find_map(|batch| {
                let at = batch.binary_search_by_key(&from.id(), Row::id).ok()?;
                batch.get(at.checked_sub(offset)?)
            }),
            Self::Keyed(rows) => rows.get_index(rows.len().checked_sub(offset + 1)?).map(|(_, row)| row),
            Self::Sorted(rows) => rows.get(offset).map(|entry| &entry.row),
            Self::Ordered { rows, .. } => rows.values().nth(offset),
        }
    }

    /// The rows that `prevwindow`, `prevcount` and `prevtail` speak of, newest first.
    pub(crate) fn newest_first(&self, from: &Row) -> Box<dyn Iterator<Item = &Row> + '_> {
        match self {
            Self::Queue { entries, gone, .. } => Box::new(held(entries, gone).rev()),
            Self::Batch { current, last, .. } => {
                let within = last.binary_search_by_key(&from.id(), Row::id).is_ok();
                Box::new(if within {
                    last.iter().rev()
                } else {
                    current.iter().rev()
                })
            }
            _ => self.rows(),
        }
    }

    /// A row arrives.
    pub(crate) fn insert(&mut self, plan: &WindowPlan, row: &Row, moment: &Moment<'_>, change: &mut Change) {
        let now = moment.now_ms;
        match (plan, self) {
            (WindowPlan::Time(ms), Self::Queue { entries, due, .. }) => {
                entries.push_back((now, row.clone()));
                due.get_or_insert(now + ms);
                pass(row, change);
            }
            (WindowPlan::ExtTimed { time, ms }, Self::Queue { entries, gone, .. }) => {
                let Some(time) = moment.long(time, row) else { return };
                entries.push_back((time, row.clone()));
                pass(row, change);
                leave_until(entries, gone, time - ms, &mut change.old);
            }
            (WindowPlan::TimeAccum(ms), Self::Queue { entries, due, .. }) => {
                entries.push_back((now, row.clone()));
                *due = Some(now + ms);
                pass(row, change);
            }
            (WindowPlan::Length(length), Self::Queue { entries, gone, .. }) => {
                entries.push_back((now, row.clone()));
                pass(row, change);
                while (entries.len() - gone.len()) as u64 > *length {
                    change.old.extend(pop(entries, gone));
                }
            }
            (WindowPlan::LastEvent, Self::Queue { entries, .. }) => {
                change.old.extend(entries.pop_front().map(|(_, row)| row));
                entries.push_back((now, row.clone()));
                pass(row, change);
            }
            (WindowPlan::KeepAll, Self::Queue { entries, .. }) => {
                entries.push_back((now, row.clone()));
                pass(row, change);
            }
            (WindowPlan::FirstEvent, Self::Queue { entries, .. }) if entries.is_empty() => {
                entries.push_back((now, row.clone()));
                pass(row, change);
            }
            (WindowPlan::FirstLength(length), Self::Queue { entries, gone, .. })
                if ((entries.len() - gone.len()) as u64) < *length =>
            {
                entries.push_back((now, row.clone()));
                pass(row, change);
            }
            (WindowPlan::FirstTime(ms), Self::Queue { entries, since, .. }) if now < *since + ms => {
                entries.push_back((now, row.clone()));
                pass(row, change);
            }
            (
                WindowPlan::TimeBatch { ms, .. },
                Self::Batch {
                    current,
                    due,
                    reference,
                    ..
                },
            ) => {
                let reference = *reference.get_or_insert(now);
                if current.is_empty() && due.is_none() {
                    *due = Some(next_on_grid(now, reference, *ms));
                }
                current.push(row.clone());
            }
            (WindowPlan::LengthBatch(length), Self::Batch { current, last, .. }) => {
                current.push(row.clone());
                if current.len() as u64 >= *length {
                    deliver(current, last, change);
                }
            }
            (
                WindowPlan::TimeLengthBatch {
                    ms,
                    length,
                    force_update,
                    ..
                },
                Self::Batch { current, last, due, .. },
            ) => {
                current.push(row.clone());
                if (current.len() as u64) < *length {
                    due.get_or_insert(now + ms);
                } else {
                    deliver(current, last, change);
                    *due = (!last.is_empty() || *force_update).then_some(now + ms);
                }
            }
            (
                WindowPlan::ExtTimedBatch { time, ms, .. },
                Self::Batch {
                    current,
                    last,
                    reference,
                    oldest,
                    ..
                },
            ) => {
                let Some(time) = moment.long(time, row) else { return };
                let reference = *reference.get_or_insert(time);
                let first = *oldest.get_or_insert(time);
                if time >= next_on_grid(first, reference, *ms) {
                    deliver(current, last, change);
                    *oldest = Some(time);
                }
                current.push(row.clone());
            }
            (WindowPlan::Unique(keys), Self::Keyed(rows)) => {
                change.old.extend(rows.insert(moment.key(keys, row), row.clone()));
                pass(row, change);
            }
            (WindowPlan::FirstUnique(keys), Self::Keyed(rows)) => {
                if let indexmap::map::Entry::Vacant(vacant) = rows.entry(moment.key(keys, row)) {
                    vacant.insert(row.clone());
                    pass(row, change);
                }
            }
            (WindowPlan::Sort { length, keys }, Self::Sorted(rows)) => {
                pass(row, change);
                let order: Vec<Value> = keys.iter().map(|key| (moment.eval)(&key.expr, row)).collect();
                // A new row comes before those that are its equals, so that of these the oldest leaves first.
                let at = rows.partition_point(|entry| compare_keys(keys, &entry.keys, &order).is_lt());
                rows.insert(
                    at,
                    SortedEntry {
                        keys: order,
                        unique: Value::Null,
                        row: row.clone(),
                    },
                );
                if rows.len() as u64 > *length {
                    change.old.extend(rows.pop().map(|entry| entry.row));
                }
            }
            (WindowPlan::Rank { unique, length, keys }, Self::Sorted(rows)) => {
                pass(row, change);
                let unique = moment.key(unique, row);
                let order: Vec<Value> = keys.iter().map(|key| (moment.eval)(&key.expr, row)).collect();
                // As in Esper a row is known by its key through its order: one that is ordered by null is not found again.
                let is_found = |entry: &SortedEntry| !matches!(entry.keys[..], [Value::Null]) && entry.unique == unique;
                if let Some(at) = rows.iter().position(is_found) {
                    change.old.push(rows.remove(at).row);
                }
                let at = rows.partition_point(|entry| compare_keys(keys, &entry.keys, &order).is_le());
                rows.insert(
                    at,
                    SortedEntry {
                        keys: order,
                        unique,
                        row: row.clone(),
                    },
                );
                if rows.len() as u64 > *length
                    && let Some(last) = rows.last()
                {
                    // Of the rows that are the last by the order, the oldest leaves.
                    let at = rows.partition_point(|entry| compare_keys(keys, &entry.keys, &last.keys).is_lt());
                    change.old.push(rows.remove(at).row);
                }
            }
            (WindowPlan::TimeOrder { time, ms }, Self::Ordered { rows, due }) => {
                let Some(time) = moment.long(time, row) else { return };
                keep_until(time.saturating_add(*ms), row, now, rows, due, change);
            }
            (WindowPlan::TimeToLive(time), Self::Ordered { rows, due }) => {
                let Some(time) = moment.long(time, row) else { return };
                keep_until(time, row, now, rows, due, change);
            }
            // A row that does not enter; `new` has made the window by the same plan.
            _ => {}
        }
    }

    /// The due time has come.
    pub(crate) fn fire(&mut self, plan: &WindowPlan, now: i64, change: &mut Change) {
        match (plan, self) {
            (WindowPlan::Time(ms), Self::Queue { entries, due, gone, .. }) => {
                leave_until(entries, gone, now - ms, &mut change.old);
                *due = entries.front().map(|(time, _)| time + ms);
                change.updated = !change.old.is_empty();
            }
            (WindowPlan::TimeAccum(_), Self::Queue { entries, due, gone, .. }) => {
                *due = None;
                while let Some(row) = pop(entries, gone) {
                    change.old.push(row);
                }
                change.updated = !change.old.is_empty();
            }
            (
                WindowPlan::TimeBatch { ms, force_update, .. },
                Self::Batch {
                    current,
                    last,
                    due,
                    reference,
                    ..
                },
            ) => {
                let busy = !current.is_empty() || !last.is_empty() || *force_update;
                *due = busy.then(|| next_on_grid(now, reference.unwrap_or(now), *ms));
                if busy {
                    deliver(current, last, change);
                }
            }
            (WindowPlan::TimeLengthBatch { ms, force_update, .. }, Self::Batch { current, last, due, .. }) => {
                let busy = !current.is_empty() || !last.is_empty() || *force_update;
                *due = busy.then_some(now + ms);
                if busy {
                    deliver(current, last, change);
                }
            }
            (WindowPlan::TimeOrder { .. } | WindowPlan::TimeToLive(_), Self::Ordered { rows, due }) => {
                while rows.first_key_value().is_some_and(|((time, _), _)| *time <= now) {
                    change.old.extend(rows.pop_first().map(|(_, row)| row));
                }
                *due = rows.first_key_value().map(|((time, _), _)| *time);
                change.updated = !change.old.is_empty();
            }
            _ => {}
        }
    }

    /// Takes rows out, as a deletion from a named window does.
    pub(crate) fn remove(&mut self, plan: &WindowPlan, gone: &[Row], moment: &Moment<'_>) {
        let among = |row: &Row| gone.iter().any(|gone| gone.id() == row.id());
        match self {
            Self::Queue {
                entries,
                due,
                gone: dead,
                ..
            } => {
                // The rows of a queue are in the order of their numbers.
                for row in gone {
                    if entries.binary_search_by_key(&row.id(), |(_, row)| row.id()).is_ok() {
                        dead.insert(row.id());
                    }
                }
                if dead.len() > entries.len() / 2 {
                    entries.retain(|(_, row)| !dead.contains(&row.id()));
                    dead.clear();
                }
                trim(entries, dead);
                if let WindowPlan::Time(ms) = plan {
                    *due = entries.front().map(|(time, _)| time + ms);
                }
            }
            Self::Batch { current, .. } => {
                let gone: HashSet<u64> = gone.iter().map(Row::id).collect();
                current.retain(|row| !gone.contains(&row.id()));
            }
            Self::Keyed(rows) => {
                if let WindowPlan::Unique(keys) | WindowPlan::FirstUnique(keys) = plan {
                    for row in gone {
                        let key = moment.key(keys, row);
                        if rows.get(&key).is_some_and(|held| held.id() == row.id()) {
                            rows.swap_remove(&key);
                        }
                    }
                }
            }
            Self::Sorted(rows) => rows.retain(|entry| !among(&entry.row)),
            Self::Ordered { rows, due } => {
                rows.retain(|_, row| !among(row));
                *due = rows.first_key_value().map(|((time, _), _)| *time);
            }
        }
    }
}

/// The row enters and is passed on at once.
fn pass(row: &Row, change: &mut Change) {
    change.updated = true;
    change.new.push(row.clone());
}

/// The rows of a queue that have not been taken out.
fn held<'w>(
    entries: &'w VecDeque<(i64, Row)>,
    gone: &'w HashSet<u64>,
) -> impl DoubleEndedIterator<Item = &'w Row> + 'w {
    let rows = entries.iter().map(|(_, row)| row);
    rows.filter(|row| gone.is_empty() || !gone.contains(&row.id()))
}

/// Lets go of rows at the front that have been taken out.
fn trim(entries: &mut VecDeque<(i64, Row)>, gone: &mut HashSet<u64>) {
    while !gone.is_empty() && entries.front().is_some_and(|(_, row)| gone.remove(&row.id())) {
        entries.pop_front();
    }
}

/// Takes the oldest row.
fn pop(entries: &mut VecDeque<(i64, Row)>, gone: &mut HashSet<u64>) -> Option<Row> {
    let (_, row) = entries.pop_front()?;
    trim(entries, gone);
    Some(row)
}

/// Rows of a time up to `limit` leave.
fn leave_until(entries: &mut VecDeque<(i64, Row)>, gone: &mut HashSet<u64>, limit: i64, old: &mut Vec<Row>) {
    while entries.front().is_some_and(|(time, _)| *time <= limit) {
        old.extend(pop(entries, gone));
    }
}

/// The current batch is delivered and becomes the last.
fn deliver(current: &mut Vec<Row>, last: &mut Vec<Row>, change: &mut Change) {
    change.updated = true;
    change.old.append(last);
    std::mem::swap(current, last);
    change.new.extend(last.iter().cloned());
}

/// The row enters and stays until a time; one that is due already leaves at once.
fn keep_until(
    until: i64,
    row: &Row,
    now: i64,
    rows: &mut BTreeMap<(i64, u64), Row>,
    due: &mut Option<i64>,
    change: &mut Change,
) {
    pass(row, change);
    if until <= now {
        change.old.push(row.clone());
    } else {
        rows.insert((until, row.id()), row.clone());
        *due = rows.first_key_value().map(|((time, _), _)| *time);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::row::event::Event;

    fn row(id: u64) -> Row {
        Row::One(Arc::new(Event {
            id,
            shape: crate::row::WHOLE,
            values: Vec::new().into(),
        }))
    }

    #[test]
    fn rows_taken_out_of_a_queue_neither_show_nor_leave() {
        let plan = WindowPlan::Length(4);
        let moment = Moment {
            now_ms: 0,
            eval: &|_, _| Value::Null,
        };
        let mut window = Window::new(&plan, 0);
        let ids = |rows: &[Row]| rows.iter().map(Row::id).collect::<Vec<_>>();
        for id in 1..=4 {
            window.insert(&plan, &row(id), &moment, &mut Change::default());
        }
        window.remove(&plan, &[row(1), row(3), row(9)], &moment);
        assert_eq!(window.len(), 2);
        assert_eq!(window.rows().map(Row::id).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(window.back(&row(4), 1).map(Row::id), Some(2));
        let mut change = Change::default();
        for id in 5..=7 {
            window.insert(&plan, &row(id), &moment, &mut change);
        }
        assert_eq!(ids(&change.old), [2]);
        assert_eq!(window.rows().map(Row::id).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }
}
