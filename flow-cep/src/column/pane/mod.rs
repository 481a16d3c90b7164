//! Sliding windows that nobody looks into but snapshots: kept by pane.
//!
//! A pane holds the groups of the rows between two instants, counted and summed up. Every span over the same rows keeps totals by
//! group: a snapshot adds the panes that have come since the last one and takes out those that have left the span. So rows are not
//! kept, leaving costs by group and not by row, and spans of several lengths share all but their totals.
//!
//! That is exact because a pane is closed before each snapshot, and after each instant that is going to be as old as a span when a
//! snapshot of that span is due: rows up to then leave together.

mod groups;
mod pairs;
mod state;

use std::collections::VecDeque;

use super::clock::Clock;
use super::emit::GroupOutput;
use super::groups::Groups;
use super::interner::Rows;
use super::keys::{KeyId, Keys};
use super::numbers::Numbers;
use super::runtime::Emission;
use crate::engine::Rows as Delivered;
pub(crate) use groups::PaneGroups;
pub(crate) use pairs::PanePairs;
pub(crate) use state::PanesState;

/// Where the groups of a statement are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Groups(usize),
    Pairs(usize),
}

/// A statement that takes snapshots of groups.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) statement: usize,
    pub(crate) output: GroupOutput,
    pub(crate) place: Place,
    /// Which of the spans.
    pub(crate) span: usize,
    pub(crate) clock: Clock,
}

impl Client {
    /// The first instant from a time on that is going to be as old as the span at a snapshot.
    fn cut_ms(&self, span_ms: i64, time_ms: i64) -> i64 {
        let one = self.clock.next_ms.unwrap_or(time_ms).saturating_sub(span_ms);
        let after = one.saturating_sub(time_ms).rem_euclid(self.clock.every_ms);
        time_ms.saturating_add(after)
    }
}

/// What a pane holds, its groups aside.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Time of the latest row.
    last_ms: i64,
    rows: u64,
}

/// A span of time that some statement looks back over.
#[derive(Debug)]
struct Span {
    span_ms: i64,
    /// Number of the oldest pane that has not left it.
    left: u64,
}

/// The rows that pass one filter, by pane, and the statements that take snapshots of them.
#[derive(Debug)]
pub(crate) struct Panes {
    pub(crate) filter: usize,
    /// Inputs whose numbers are summed up.
    arguments: Vec<usize>,
    /// By argument: its place among the inputs' numbers.
    pub(crate) numbers: Vec<usize>,
    spans: Vec<Span>,
    pub(crate) groups: Vec<PaneGroups>,
    pub(crate) pairs: Vec<PanePairs>,
    pub(crate) clients: Vec<Client>,
    /// The pane that rows are added to, and the last instant of which it takes rows.
    open: Option<(Extent, i64)>,
    /// Closed panes that some span still holds, the oldest first.
    closed: VecDeque<Extent>,
    /// Number of the oldest of them, and of the oldest that the totals lack.
    first: u64,
    untotalled: u64,
}

impl Panes {
    pub(crate) const fn new(filter: usize) -> Self {
        Self {
            filter,
            arguments: Vec::new(),
            numbers: Vec::new(),
            spans: Vec::new(),
            groups: Vec::new(),
            pairs: Vec::new(),
            clients: Vec::new(),
            open: None,
            closed: VecDeque::new(),
            first: 0,
            untotalled: 0,
        }
    }

    /// The position of an argument, the same for the same input.
    pub(crate) fn argument(&mut self, input: usize, number: usize) -> usize {
        if let Some(argument) = self.arguments.iter().position(|&known| known == input) {
            return argument;
        }
        self.arguments.push(input);
        self.numbers.push(number);
        self.arguments.len() - 1
    }

    /// The position of a span, the same for the same length.
    pub(crate) fn span(&mut self, span_ms: i64) -> usize {
        if let Some(span) = self.spans.iter().position(|known| known.span_ms == span_ms) {
            return span;
        }
        self.spans.push(Span { span_ms, left: 0 });
        self.spans.len() - 1
    }

    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.clients.iter().filter_map(|client| client.clock.next_ms).min()
    }

    /// Takes the selected rows of a slice, stepping through the snapshots that are due between them.
    pub(crate) fn run(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        numbers: &[&Numbers],
        emissions: &mut Vec<Emission>,
    ) {
        let last = times[times.len() - 1];
        let mut from = 0;
        loop {
            if from < rows.len() {
                let time = times[rows.row(from)];
                // What is due before the row comes first.
                if self.next_ms().is_none_or(|due| time < due) {
                    self.arrive(time);
                }
            }
            let due = self.next_ms().filter(|&due| due <= last);
            let to = due.map_or(rows.len(), |due| rows.before(times.partition_point(|&time| time < due)));
            while from < to {
                from = self.add(keys, times, rows, (from, to), numbers);
            }
            match due {
                Some(due) => self.fire(keys, due, emissions),
                None => break,
            }
        }
    }

    /// Starts the clocks that the first row starts.
    fn arrive(&mut self, time_ms: i64) {
        for client in &mut self.clients {
            client.clock.start(time_ms);
        }
    }

    /// Adds as many rows as go into one pane; returns the place of the next.
    fn add(
        &mut self,
        keys: &mut Keys,
        times: &[i64],
        rows: &Rows,
        (from, to): (usize, usize),
        numbers: &[&Numbers],
    ) -> usize {
        let time = times[rows.row(from)];
        if self.open.is_some_and(|(_, until_ms)| until_ms < time) {
            self.close();
        }
        let (open, until_ms) = self.open.get_or_insert_with(|| {
            let cuts = self.clients.iter();
            let cuts = cuts.map(|client| client.cut_ms(self.spans[client.span].span_ms, time));
            let empty = Extent { last_ms: time, rows: 0 };
            (empty, cuts.min().unwrap_or(i64::MAX))
        });
        let until_ms = *until_ms;
        let end = to.min(rows.before(times.partition_point(|&time| time <= until_ms)));
        open.rows += (end - from) as u64;
        open.last_ms = times[rows.row(end - 1)];
        for groups in &mut self.groups {
            groups.add(keys, rows, (from, end), numbers);
        }
        for pairs in &mut self.pairs {
            pairs.add(keys, rows, (from, end), numbers);
        }
        end
    }

    /// Closes the open pane.
    fn close(&mut self) {
        if let Some((open, _)) = self.open.take() {
            self.closed.push_back(open);
            self.groups.iter_mut().for_each(PaneGroups::close);
            self.pairs.iter_mut().for_each(PanePairs::close);
        }
    }

    /// Takes the snapshots that are due at an instant.
    pub(crate) fn fire(&mut self, keys: &mut Keys, due_ms: i64, emissions: &mut Vec<Emission>) {
        self.close();
        self.slide(keys, due_ms);
        for client in &mut self.clients {
            if !client.clock.goes_off(due_ms) {
                continue;
            }
            let span = &self.spans[client.span];
            let left = usize::try_from(span.left - self.first).unwrap_or(usize::MAX);
            let rows = match client.place {
                Place::Groups(at) => {
                    let groups = &self.groups[at];
                    let appearance = |wanted: &[u32]| groups.appearance(left, wanted);
                    client.output.live_rows(keys, &groups.totals(client.span), &appearance)
                }
                Place::Pairs(at) => {
                    let totals = self.pairs[at].totals(client.span);
                    let appearance = |wanted: &[u32]| self.pairs[at].appearance(client.span, left, wanted);
                    client.output.live_rows(keys, &totals, &appearance)
                }
            };
            emissions.push(Emission {
                statement: client.statement,
                time_ms: due_ms,
                row: None,
                rows: rows.map(Delivered::Columns),
            });
        }
    }

    /// Brings the totals of all spans to a time.
    fn slide(&mut self, keys: &mut Keys, now_ms: i64) {
        let new = self.place(self.untotalled);
        self.untotalled = self.first + self.closed.len() as u64;
        let mut leaving = Vec::with_capacity(self.spans.len());
        for span in &mut self.spans {
            let from = usize::try_from(span.left - self.first).unwrap_or(usize::MAX);
            let until_ms = now_ms.saturating_sub(span.span_ms);
            let gone = self
                .closed
                .iter()
                .skip(from)
                .take_while(|pane| pane.last_ms <= until_ms);
            let gone = gone.count();
            leaving.push((from, from + gone));
            span.left += gone as u64;
        }
        for groups in &mut self.groups {
            groups.slide(new, &leaving);
        }
        for pairs in &mut self.pairs {
            pairs.slide(new, &leaving);
        }
        let oldest = self.spans.iter().map(|span| span.left).min();
        let over = oldest.map_or(0, |oldest| self.place(oldest));
        self.closed.drain(..over);
        self.first += over as u64;
        for groups in &mut self.groups {
            groups.forget(keys, over);
        }
        for pairs in &mut self.pairs {
            pairs.forget(over);
        }
    }

    /// The place of a pane among the closed ones.
    fn place(&self, number: u64) -> usize {
        usize::try_from(number - self.first).unwrap_or(usize::MAX)
    }

    /// Rows in the window and groups of a statement, as of its last snapshot.
    pub(crate) fn size(&self, statement: usize) -> Option<(usize, usize)> {
        let client = self.clients.iter().find(|client| client.statement == statement)?;
        let left = self.place(self.spans[client.span].left);
        let rows: u64 = self.closed.iter().skip(left).map(|pane| pane.rows).sum();
        let groups = match client.place {
            Place::Groups(at) => self.groups[at].totals(client.span).live(),
            Place::Pairs(at) => self.pairs[at].totals(client.span).live(),
        };
        Some((usize::try_from(rows).unwrap_or(usize::MAX), groups))
    }

    /// Rows that found no room for their group since the last call.
    pub(crate) fn take_ungrouped(&mut self) -> u64 {
        let ungrouped = self.pairs.iter_mut().map(|pairs| &mut pairs.ungrouped);
        ungrouped.map(std::mem::take).sum()
    }

    /// Calls `visit` with the ids of one of the keys that pairs are made of.
    pub(crate) fn each_part(&self, key: KeyId, visit: &mut dyn FnMut(u32)) {
        self.pairs.iter().for_each(|pairs| pairs.each_part(key, visit));
    }
}
