//! `match_recognize`: a regular expression over the rows of a stream.
//!
//! The pattern becomes places, one for each variable that it names; a partial match stands at one, each row carries it to those
//! after it that the row satisfies. Which of several matches is given depends on the order of the places, and that is Esper's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Aggregate, ContextProperty, PreviousKind, Scope};
use crate::plan::{MatchPlan, RowPatternPlan, WindowPlan};
use crate::row::KeyMap;
use crate::row::aggregate::{Group, Movement};
use crate::row::event::{Event, EventRef, Part, Row};
use crate::row::scope::{Env, RowScope};
use crate::syntax::ast::MatchSkip;
use crate::value::Value;

/// Copies of a repeated part that are written out at most.
const MAX_COPIES: u32 = 1_000;

/// How many partitions there are before those without a partial match are given up.
const FIRST_SWEEP: usize = 100;

/// A variable at one place of the pattern.
#[derive(Debug)]
struct Place {
    variable: usize,
    /// Its number among the places whose rows a greedy quantifier counts.
    counted: Option<usize>,
    /// The places that may come next, in the order in which Esper goes on to them.
    next: Vec<usize>,
    /// Whether the match may end here.
    ends: bool,
}

/// A `match_recognize` made ready to run.
#[derive(Debug)]
pub(crate) struct Recognizer {
    plan: MatchPlan,
    places: Vec<Place>,
    /// The places where a match may begin.
    starts: Vec<usize>,
    /// How many places are counted.
    counted: usize,
    aggregates: Vec<Aggregate>,
    /// Whether rows leave the window before the match.
    rows_leave: bool,
    /// Whether a partition without a partial match may be given up, and with it what `prev` sees in it.
    sweeps: bool,
}

/// The rows of a partial or complete match, with their variables.
type Rows = Vec<(usize, EventRef)>;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Partial {
    begin: u64,
    begin_ms: i64,
    /// The last row's.
    place: Option<usize>,
    rows: Rows,
    /// How many rows each counted place has.
    counts: Vec<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Match {
    begin: u64,
    end: u64,
    begin_ms: i64,
    rows: Rows,
    /// How many rows each counted place has.
    counts: Vec<u32>,
    /// Whether the pattern has nothing more to match.
    complete: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct PartitionState {
    partial: Vec<Partial>,
    recent: VecDeque<EventRef>,
}

/// Matches that wait for the end of their interval, with their partitions, by when they began.
///
/// There is one timer. It is set for the first match that waits, and stays as it is when one that began earlier comes to wait
/// or one is taken out: it may go off late, or with nothing to give, which is delivered as such.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Schedule {
    waiting: BTreeMap<i64, Vec<(Value, Match)>>,
    due: Option<i64>,
}

impl Schedule {
    fn put(&mut self, interval_ms: i64, key: Value, found: Match) {
        let begin_ms = found.begin_ms;
        if self.waiting.is_empty() {
            self.due = Some(begin_ms + interval_ms);
        }
        self.waiting.entry(begin_ms).or_default().push((key, found));
    }

    /// Takes out what of one beginning does not stay.
    fn take_out(&mut self, begin_ms: i64, mut goes: impl FnMut(&Value, &Match) -> bool) -> Vec<Match> {
        let Some(waiting) = self.waiting.get_mut(&begin_ms) else {
            return Vec::new();
        };
        let gone = waiting.extract_if(.., |(key, found)| goes(key, found));
        let gone = gone.map(|(_, found)| found).collect();
        if waiting.is_empty() {
            self.waiting.remove(&begin_ms);
            if self.waiting.is_empty() {
                self.due = None;
            }
        }
        gone
    }

    /// What has waited long enough.
    fn fire(&mut self, interval_ms: i64, now_ms: i64) -> Vec<(Value, Match)> {
        let mut found = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= now_ms - interval_ms
        {
            found.extend(first.remove());
        }
        self.due = self
            .waiting
            .first_key_value()
            .map(|(begin_ms, _)| begin_ms + interval_ms);
        found
    }

    /// Drops the matches that hold one of these rows.
    fn forget(&mut self, gone: &HashSet<u64>) {
        let oldest = self.waiting.values().flatten().next();
        let oldest = oldest
            .and_then(|(_, found)| found.rows.first())
            .map(|(_, event)| event.id);
        if oldest.is_none_or(|oldest| gone.iter().all(|id| *id < oldest)) {
            return;
        }
        for waiting in self.waiting.values_mut() {
            waiting.retain(|(_, found)| found.rows.iter().all(|(_, event)| !gone.contains(&event.id)));
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        if self.waiting.is_empty() {
            self.due = None;
        }
    }
}

/// What a `match_recognize` remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RecognizerState {
    partitions: KeyMap<Value, PartitionState>,
    /// The rows of the window that met a condition of the pattern, by number.
    matched: BTreeSet<u64>,
    sequence: u64,
    schedule: Schedule,
    results: u64,
    refused: u64,
    /// How many partitions there must be for the next sweep.
    sweep_at: Option<usize>,
}

impl Recognizer {
    /// Makes the program of a plan.
    pub(crate) fn new(plan: &MatchPlan, window: Option<&WindowPlan>) -> Self {
        let mut places = Vec::new();
        let strand = strand_of(&plan.pattern, &mut places);
        for end in strand.ends {
            places[end].ends = true;
        }
        Self {
            plan: plan.clone(),
            aggregates: plan.aggregates.iter().map(|(_, aggregate)| aggregate.clone()).collect(),
            starts: strand.starts,
            counted: places.iter().filter(|place| place.counted.is_some()).count(),
            places,
            rows_leave: !matches!(window, None | Some(WindowPlan::KeepAll)),
            sweeps: !plan.partition_by.is_empty() && plan.previous_rows > 0,
        }
    }

    /// The places that may come after one, or first.
    fn after(&self, place: Option<usize>) -> &[usize] {
        match place {
            Some(place) => &self.places[place].next,
            None => &self.starts,
        }
    }
}

/// A part of the pattern made into places.
struct Strand {
    starts: Vec<usize>,
    ends: Vec<usize>,
    /// Whether it may be left out.
    optional: bool,
}

/// A part of the pattern with its quantifier.
struct Piece<'p> {
    pattern: &'p RowPatternPlan,
    many: bool,
    optional: bool,
    greedy: bool,
}

/// What a part of a concatenation is made of: a repetition with bounds is written out.
fn pieces<'p>(pattern: &'p RowPatternPlan, into: &mut Vec<Piece<'p>>) {
    let RowPatternPlan::Repeat {
        inner,
        min,
        max,
        greedy,
    } = pattern
    else {
        into.push(Piece {
            pattern,
            many: false,
            optional: false,
            greedy: false,
        });
        return;
    };
    let piece = |many, optional| Piece {
        pattern: inner,
        many,
        optional,
        greedy: *greedy && optional,
    };
    match (min, max) {
        (1, None) => into.push(piece(true, false)),
        (min, None) => {
            into.extend((0..(*min).min(MAX_COPIES)).map(|_| piece(false, false)));
            into.push(piece(true, true));
        }
        (min, Some(max)) => {
            into.extend((0..(*min).min(MAX_COPIES)).map(|_| piece(false, false)));
            into.extend((*min..(*max).min(MAX_COPIES)).map(|_| piece(false, true)));
        }
    }
}

/// Makes the places of a pattern, in the order in which Esper links its states.
fn strand_of(pattern: &RowPatternPlan, places: &mut Vec<Place>) -> Strand {
    match pattern {
        RowPatternPlan::Variable(variable) => {
            places.push(Place {
                variable: *variable,
                counted: None,
                next: Vec::new(),
                ends: false,
            });
            let place = places.len() - 1;
            Strand {
                starts: vec![place],
                ends: vec![place],
                optional: false,
            }
        }
        RowPatternPlan::Alternation(parts) => {
            let mut all = Strand {
                starts: Vec::new(),
                ends: Vec::new(),
                optional: false,
            };
            for part in parts {
                let strand = strand_of(part, places);
                all.starts.extend(strand.starts);
                all.ends.extend(strand.ends);
                all.optional |= strand.optional;
            }
            all
        }
        RowPatternPlan::Concat(parts) => {
            let mut list = Vec::new();
            for part in parts {
                pieces(part, &mut list);
            }
            linked(&list, places)
        }
        RowPatternPlan::Repeat { .. } => {
            let mut list = Vec::new();
            pieces(pattern, &mut list);
            linked(&list, places)
        }
    }
}

/// Makes the places of parts that follow each other.
fn linked(list: &[Piece<'_>], places: &mut Vec<Place>) -> Strand {
    let mut strands: Vec<Strand> = Vec::with_capacity(list.len());
    for piece in list {
        let mut strand = strand_of(piece.pattern, places);
        if piece.many {
            for end in &strand.ends {
                for start in &strand.starts {
                    if !places[*end].next.contains(start) {
                        places[*end].next.push(*start);
                    }
                }
            }
        }
        if piece.greedy
            && matches!(piece.pattern, RowPatternPlan::Variable(_))
            && let [place] = strand.starts.as_slice()
        {
            let number = places.iter().filter(|place| place.counted.is_some()).count();
            places[*place].counted = Some(number);
        }
        strand.optional |= piece.optional;
        strands.push(strand);
    }
    for at in (1..strands.len()).rev() {
        for before in (0..at).rev() {
            for end in &strands[before].ends {
                places[*end].next.extend(&strands[at].starts);
            }
            if !strands[before].optional {
                break;
            }
        }
    }
    let optional = strands.iter().all(|strand| strand.optional);
    let reached = |strands: &mut dyn Iterator<Item = &Strand>, of: fn(&Strand) -> &[usize]| {
        let mut all = Vec::new();
        for strand in strands {
            all.extend(of(strand));
            if !strand.optional {
                break;
            }
        }
        all
    };
    Strand {
        starts: reached(&mut strands.iter(), |strand| &strand.starts),
        ends: reached(&mut strands.iter().rev(), |strand| &strand.ends),
        optional,
    }
}

/// The rows of a match by variable.
fn parts(recognizer: &Recognizer, rows: &[(usize, EventRef)]) -> Arc<[Part]> {
    let mut events: Vec<Vec<EventRef>> = vec![Vec::new(); recognizer.plan.variables.len()];
    for (variable, event) in rows {
        events[*variable].push(event.clone());
    }
    events
        .into_iter()
        .map(|mut events| match events.len() {
            0 => Part::None,
            1 => Part::One(events.swap_remove(0)),
            _ => Part::Many(events.into()),
        })
        .collect()
}

/// A condition or measure over the variables; `prev` looks to the rows before the one under test.
struct MatchScope<'a> {
    rows: RowScope<'a>,
    recent: &'a VecDeque<EventRef>,
}

impl Scope for MatchScope<'_> {
    fn column(&self, stream: usize, column: usize) -> Value {
        self.rows.column(stream, column)
    }

    fn now_ms(&self) -> i64 {
        self.rows.now_ms()
    }

    fn row(&self, stream: usize) -> Value {
        self.rows.row(stream)
    }

    fn indexed(&self, stream: usize, index: i64, column: usize) -> Value {
        self.rows.indexed(stream, index, column)
    }

    fn aggregate(&self, slot: usize) -> Value {
        self.rows.aggregate(slot)
    }

    fn previous(&self, _kind: PreviousKind, _stream: usize, offset: i64, column: usize) -> Value {
        // The row under test is not yet among the recent ones.
        usize::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_sub(1))
            .and_then(|offset| self.recent.iter().rev().nth(offset))
            .map_or(Value::Null, |event| self.rows.env.column(event, column))
    }

    fn table_column(&self, table: usize, keys: &[Value], column: usize) -> Value {
        self.rows.table_column(table, keys, column)
    }

    fn context(&self, property: &ContextProperty) -> Value {
        self.rows.context(property)
    }

    fn variable(&self, variable: usize) -> Value {
        self.rows.variable(variable)
    }
}

impl PartitionState {
    fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.recent.is_empty()
    }
}

impl RecognizerState {
    /// When an interval ends.
    pub(crate) fn due(&self) -> Option<i64> {
        self.schedule.due
    }

    /// Partial matches refused since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Rows enter and leave; gives the matches as rows of measures.
    pub(crate) fn rows(
        &mut self,
        recognizer: &Recognizer,
        env: Env<'_>,
        new: &[Row],
        old: &[Row],
        max_partial: usize,
    ) -> Vec<Row> {
        if !old.is_empty() {
            self.forget(recognizer, env, old);
        }
        let mut found: KeyMap<Value, Vec<Match>> = KeyMap::default();
        for row in new {
            if let Some(event) = row.event(0) {
                let key = key(recognizer, env, row);
                let matches = self.step(recognizer, env, key.clone(), event, max_partial);
                if !matches.is_empty() {
                    found.entry(key).or_default().extend(matches);
                }
            }
        }
        let mut results = Vec::new();
        for (key, matches) in found {
            let mut state = self.partitions.swap_remove(&key).unwrap_or_default();
            Self::report(recognizer, env, &mut state, matches, &mut self.results, &mut results);
            if !state.is_empty() {
                self.partitions.insert(key, state);
            }
        }
        results
    }

    /// Rows leave, and with them the partial matches that they are in.
    ///
    /// In partitions Esper counts which of the rows were part of a match, and drops as many from the front of those that leave
    /// together: a match whose row stands behind others that were part of none goes on with it.
    fn forget(&mut self, recognizer: &Recognizer, env: Env<'_>, old: &[Row]) {
        let gone: HashSet<u64> = old.iter().map(Row::id).collect();
        let matched = gone.iter().filter(|id| self.matched.remove(id)).count();
        if matched > 0 && self.matched.is_empty() {
            for partition in self.partitions.values_mut() {
                partition.partial.clear();
            }
        }
        let partitioned = !recognizer.plan.partition_by.is_empty();
        let count = if partitioned { matched } else { old.len() };
        let dropped: HashSet<u64> = old.iter().take(count).map(Row::id).collect();
        let keys: Vec<Value> = old.iter().map(|row| key(recognizer, env, row)).collect();
        for key in keys {
            if recognizer.sweeps {
                self.sweep();
                self.partitions.entry(key.clone()).or_default();
            }
            if let Some(partition) = self.partitions.get_mut(&key) {
                let without = |rows: &Rows, of: &HashSet<u64>| rows.iter().all(|(_, event)| !of.contains(&event.id));
                partition.partial.retain(|partial| without(&partial.rows, &dropped));
            }
        }
        self.schedule.forget(&gone);
    }

    /// Gives up the partitions without a partial match once there are many, as Esper does when it looks up that of a row that
    /// comes or goes: `prev` begins anew in them. If that gains little, the next time comes when there are twice as many.
    fn sweep(&mut self) {
        let limit = self.sweep_at.unwrap_or(FIRST_SWEEP);
        let before = self.partitions.len();
        if before < limit {
            return;
        }
        self.partitions.retain(|_, state| !state.partial.is_empty());
        if before - self.partitions.len() < limit / 5 {
            self.sweep_at = Some(limit * 2);
        }
    }

    fn step(
        &mut self,
        recognizer: &Recognizer,
        env: Env<'_>,
        key: Value,
        event: &EventRef,
        max_partial: usize,
    ) -> Vec<Match> {
        self.sequence += 1;
        let sequence = self.sequence;
        let plan = &recognizer.plan;
        if recognizer.sweeps {
            self.sweep();
        }
        let mut state = self.partitions.swap_remove(&key).unwrap_or_default();
        let mut next: Vec<Partial> = Vec::new();
        let mut found: Vec<Match> = Vec::new();
        let fresh = Partial {
            begin: sequence,
            begin_ms: env.now_ms,
            place: None,
            rows: Vec::new(),
            counts: vec![0; recognizer.counted],
        };
        let mut terminated: Vec<(u64, i64, Rows)> = Vec::new();
        for partial in state.partial.iter().chain(std::iter::once(&fresh)) {
            for at in recognizer.after(partial.place) {
                let place = &recognizer.places[*at];
                let mut rows = partial.rows.clone();
                rows.push((place.variable, event.clone()));
                let condition = plan.define.get(place.variable).and_then(Option::as_ref);
                let matches = condition.is_none_or(|condition| {
                    let row = Row::Parts(0, parts(recognizer, &rows));
                    let scope = MatchScope {
                        rows: RowScope::of(env, &row),
                        recent: &state.recent,
                    };
                    condition.eval(&scope).is_true()
                });
                if !matches {
                    if plan.or_terminated && place.ends && partial.place.is_some() {
                        terminated.push((partial.begin, partial.begin_ms, partial.rows.clone()));
                    }
                    continue;
                }
                if recognizer.rows_leave {
                    self.matched.insert(event.id);
                }
                let mut counts = partial.counts.clone();
                if let Some(count) = place.counted.and_then(|counted| counts.get_mut(counted)) {
                    *count += 1;
                }
                if place.ends {
                    found.push(Match {
                        begin: partial.begin,
                        end: sequence,
                        begin_ms: partial.begin_ms,
                        rows: rows.clone(),
                        counts: counts.clone(),
                        complete: place.next.is_empty(),
                    });
                }
                if !place.next.is_empty() {
                    if next.len() >= max_partial {
                        self.refused += 1;
                    } else {
                        next.push(Partial {
                            begin: partial.begin,
                            begin_ms: partial.begin_ms,
                            place: Some(*at),
                            rows,
                            counts,
                        });
                    }
                }
            }
        }
        state.partial = next;
        state.recent.push_back(event.clone());
        while state.recent.len() > plan.previous_rows {
            state.recent.pop_front();
        }
        if let Some(interval) = plan.interval_ms {
            if !plan.all_matches {
                found = ranked(found, plan.skip);
            }
            // Esper delivers at once what comes to its end in the later half of the interval, unless a match that began at
            // that time waits already.
            let mut now = Vec::new();
            for found in found {
                let passed_ms = env.now_ms - found.begin_ms;
                let waits = !(plan.or_terminated && found.complete)
                    && (self.schedule.waiting.contains_key(&found.begin_ms) || passed_ms < interval - passed_ms);
                if waits {
                    self.schedule.put(interval, key.clone(), found);
                } else {
                    now.push(found);
                }
            }
            // What is over with a row that it cannot take gives what it had come to.
            for (begin, begin_ms, rows) in terminated {
                let goes = |of: &Value, found: &Match| {
                    found.begin == begin && *of == key && came_from(recognizer, &found.rows, &rows)
                };
                now.extend(self.schedule.take_out(begin_ms, goes));
            }
            found = now;
        }
        if !state.is_empty() {
            self.partitions.insert(key, state);
        }
        found
    }

    /// Picks the matches to give and drops what they skip.
    fn report(
        recognizer: &Recognizer,
        env: Env<'_>,
        state: &mut PartitionState,
        mut found: Vec<Match>,
        count: &mut u64,
        results: &mut Vec<Row>,
    ) {
        if found.is_empty() {
            return;
        }
        let plan = &recognizer.plan;
        if plan.all_matches {
            found.sort_by_key(|found| found.begin);
        } else {
            found = ranked(found, plan.skip);
        }
        match plan.skip {
            MatchSkip::PastLastRow => {
                let mut past = 0;
                found.retain(|found| {
                    let keeps = found.begin > past || plan.all_matches;
                    if keeps {
                        past = past.max(found.end);
                    }
                    keeps
                });
                if plan.interval_ms.is_none() {
                    state.partial.retain(|partial| partial.begin > past);
                }
            }
            MatchSkip::ToNextRow => {
                let last = found.last().map_or(0, |found| found.begin);
                if plan.interval_ms.is_none() {
                    state.partial.retain(|partial| partial.begin > last);
                }
            }
            MatchSkip::ToCurrentRow => {}
        }
        for found in found {
            *count += 1;
            results.push(measures(recognizer, env, &found, *count));
        }
    }

    /// The interval's timer goes off: gives the matches that have waited for it, maybe none.
    pub(crate) fn fire(&mut self, recognizer: &Recognizer, env: Env<'_>) -> Option<Vec<Row>> {
        let interval = recognizer.plan.interval_ms?;
        if self.schedule.due.is_none_or(|due| due > env.now_ms) {
            return None;
        }
        let mut found: KeyMap<Value, Vec<Match>> = KeyMap::default();
        for (key, one) in self.schedule.fire(interval, env.now_ms) {
            found.entry(key).or_default().push(one);
        }
        let mut results = Vec::new();
        for (key, found) in found {
            let mut state = self.partitions.swap_remove(&key).unwrap_or_default();
            Self::report(recognizer, env, &mut state, found, &mut self.results, &mut results);
            if !state.is_empty() {
                self.partitions.insert(key, state);
            }
        }
        Some(results)
    }
}

/// Of the matches with one beginning the best, in the order of their beginnings, without those that it skips.
///
/// As in Esper, the longest come first, and each is replaced by one after it that has more rows at any counted place.
fn ranked(mut found: Vec<Match>, skip: MatchSkip) -> Vec<Match> {
    found.sort_by_key(|found| (found.begin, Reverse(found.end)));
    let mut best: Vec<Match> = Vec::new();
    for one in found {
        match best.last_mut() {
            Some(last) if last.begin == one.begin => {
                if one.counts.iter().zip(&last.counts).any(|(one, last)| one > last) {
                    *last = one;
                }
            }
            _ => best.push(one),
        }
    }
    if matches!(skip, MatchSkip::PastLastRow) {
        let mut past = 0;
        best.retain(|found| {
            let keeps = found.begin > past;
            if keeps {
                past = found.end;
            }
            keeps
        });
    }
    best
}

/// Whether a match can have come before rows that went on: those of a variable that repeats may be fewer.
fn came_from(recognizer: &Recognizer, found: &Rows, rows: &Rows) -> bool {
    recognizer.plan.variables.iter().enumerate().all(|(variable, of)| {
        let ids = |rows: &Rows| -> Vec<u64> {
            let own = rows.iter().filter(|(of, _)| *of == variable);
            own.map(|(_, event)| event.id).collect()
        };
        let (found, rows) = (ids(found), ids(rows));
        if of.many {
            found.is_empty() || !rows.is_empty() && found.iter().zip(&rows).all(|(found, row)| found == row)
        } else {
            found == rows
        }
    })
}

fn key(recognizer: &Recognizer, env: Env<'_>, row: &Row) -> Value {
    let scope = RowScope::of(env, row);
    Value::List(
        recognizer
            .plan
            .partition_by
            .iter()
            .map(|key| key.eval(&scope))
            .collect(),
    )
}

/// The measures of a match as an event.
fn measures(recognizer: &Recognizer, env: Env<'_>, found: &Match, number: u64) -> Row {
    let row = Row::Parts(0, parts(recognizer, &found.rows));
    let mut group = Group::new(&recognizer.aggregates);
    for (at, (variable, _)) in recognizer.plan.aggregates.iter().enumerate() {
        for (of, event) in found.rows.iter().filter(|(of, _)| of == variable) {
            let own = Row::Parts(event.id, parts(recognizer, &[(*of, event.clone())]));
            let movement = Movement {
                row: event.id,
                now_ms: env.now_ms,
            };
            group.enter_one(&recognizer.aggregates, at, movement, &RowScope::of(env, &own));
        }
    }
    let scope = RowScope {
        env,
        row: Some(&row),
        group: Some((&group, &recognizer.aggregates)),
        entering: true,
    };
    Row::One(Arc::new(Event {
        id: number,
        shape: crate::row::WHOLE,
        values: recognizer
            .plan
            .measures
            .iter()
            .map(|measure| measure.expr.eval(&scope))
            .collect(),
    }))
}
