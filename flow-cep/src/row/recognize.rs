//! `match_recognize`: a regular expression over the rows of a stream.
//!
//! The pattern becomes a small program; a partial match stands before an instruction, each row carries it to those that the
//! row satisfies. Alternatives are tried in order of preference, greedy repetition first.

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

#[derive(Debug)]
enum Instruction {
    /// A row of this variable.
    Variable(usize),
    /// The first if possible, else the second.
    Either(usize, usize),
    /// On from there.
    Jump(usize),
}

/// The program of a `match_recognize`.
#[derive(Debug)]
pub(crate) struct Recognizer {
    plan: MatchPlan,
    program: Vec<Instruction>,
    aggregates: Vec<Aggregate>,
    /// From each place: the variables that may follow, in order of preference, and whether the match may end.
    reach: Vec<(Vec<usize>, bool)>,
    /// Whether rows leave the window before the match.
    rows_leave: bool,
}

/// The rows of a partial or complete match, with their variables.
type Rows = Vec<(usize, EventRef)>;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Partial {
    begin: u64,
    begin_ms: i64,
    place: usize,
    rows: Rows,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Match {
    begin: u64,
    end: u64,
    begin_ms: i64,
    rows: Rows,
    /// Whether the pattern has nothing more to match.
    complete: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct PartitionState {
    partial: Vec<Partial>,
    recent: VecDeque<EventRef>,
    /// Matches that wait for the end of their interval.
    waiting: Vec<Match>,
}

/// What a `match_recognize` remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RecognizerState {
    partitions: KeyMap<Value, PartitionState>,
    /// The rows of the window that met a condition of the pattern, by number.
    matched: BTreeSet<u64>,
    sequence: u64,
    /// When intervals end, and of which partitions.
    due: BTreeMap<i64, Vec<Value>>,
    results: u64,
    refused: u64,
}

impl Recognizer {
    /// Makes the program of a plan.
    pub(crate) fn new(plan: &MatchPlan, window: Option<&WindowPlan>) -> Self {
        let mut program = Vec::new();
        emit(&plan.pattern, &mut program);
        let reach = (0..=program.len()).map(|place| reach(&program, place)).collect();
        Self {
            plan: plan.clone(),
            aggregates: plan.aggregates.iter().map(|(_, aggregate)| aggregate.clone()).collect(),
            program,
            reach,
            rows_leave: !matches!(window, None | Some(WindowPlan::KeepAll)),
        }
    }
}

fn emit(pattern: &RowPatternPlan, program: &mut Vec<Instruction>) {
    match pattern {
        RowPatternPlan::Variable(variable) => program.push(Instruction::Variable(*variable)),
        RowPatternPlan::Concat(parts) => {
            for part in parts {
                emit(part, program);
            }
        }
        RowPatternPlan::Alternation(parts) => {
            let mut jumps = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                if at + 1 == parts.len() {
                    emit(part, program);
                } else {
                    let split = program.len();
                    program.push(Instruction::Either(split + 1, 0));
                    emit(part, program);
                    jumps.push(program.len());
                    program.push(Instruction::Jump(0));
                    let next = program.len();
                    program[split] = Instruction::Either(split + 1, next);
                }
            }
            let end = program.len();
            for jump in jumps {
                program[jump] = Instruction::Jump(end);
            }
        }
        RowPatternPlan::Repeat {
            inner,
            min,
            max,
            greedy,
        } => {
            let choose = |first: usize, second: usize| {
                if *greedy {
                    Instruction::Either(first, second)
                } else {
                    Instruction::Either(second, first)
                }
            };
            for _ in 0..(*min).min(MAX_COPIES) {
                emit(inner, program);
            }
            match max {
                None => {
                    let split = program.len();
                    program.push(Instruction::Jump(0));
                    emit(inner, program);
                    program.push(Instruction::Jump(split));
                    let end = program.len();
                    program[split] = choose(split + 1, end);
                }
                Some(max) => {
                    let mut splits = Vec::new();
                    for _ in *min..(*max).min(MAX_COPIES) {
                        splits.push(program.len());
                        program.push(Instruction::Jump(0));
                        emit(inner, program);
                    }
                    let end = program.len();
                    for split in splits {
                        program[split] = choose(split + 1, end);
                    }
                }
            }
        }
    }
}

/// The variables that can be reached from a place, in order of preference.
fn reach(program: &[Instruction], place: usize) -> (Vec<usize>, bool) {
    let mut variables = Vec::new();
    let mut ends = false;
    let mut seen = HashSet::new();
    let mut stack = vec![place];
    while let Some(place) = stack.pop() {
        if !seen.insert(place) {
            continue;
        }
        match program.get(place) {
            None => ends = true,
            Some(Instruction::Variable(_)) => variables.push(place),
            Some(Instruction::Jump(to)) => stack.push(*to),
            Some(Instruction::Either(first, second)) => {
                stack.push(*second);
                stack.push(*first);
            }
        }
    }
    (variables, ends)
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
        self.partial.is_empty() && self.recent.is_empty() && self.waiting.is_empty()
    }
}

impl RecognizerState {
    /// When an interval ends.
    pub(crate) fn due(&self) -> Option<i64> {
        self.due.first_key_value().map(|(due, _)| *due)
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
        let keys: indexmap::IndexSet<Value> = old.iter().map(|row| key(recognizer, env, row)).collect();
        for key in keys {
            if let Some(partition) = self.partitions.get_mut(&key) {
                let without = |rows: &Rows, of: &HashSet<u64>| rows.iter().all(|(_, event)| !of.contains(&event.id));
                partition.partial.retain(|partial| without(&partial.rows, &dropped));
                partition.waiting.retain(|found| without(&found.rows, &gone));
            }
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
        let mut state = self.partitions.swap_remove(&key).unwrap_or_default();
        let mut next: Vec<Partial> = Vec::new();
        let mut found: Vec<Match> = Vec::new();
        let fresh = Partial {
            begin: sequence,
            begin_ms: env.now_ms,
            place: 0,
            rows: Vec::new(),
        };
        for partial in state.partial.drain(..).chain(std::iter::once(fresh)) {
            for place in &recognizer.reach[partial.place].0 {
                let Some(Instruction::Variable(variable)) = recognizer.program.get(*place) else {
                    continue;
                };
                let mut rows = partial.rows.clone();
                rows.push((*variable, event.clone()));
                let matches = plan
                    .define
                    .get(*variable)
                    .and_then(Option::as_ref)
                    .is_none_or(|condition| {
                        let row = Row::Parts(0, parts(recognizer, &rows));
                        let scope = MatchScope {
                            rows: RowScope::of(env, &row),
                            recent: &state.recent,
                        };
                        condition.eval(&scope).is_true()
                    });
                if !matches {
                    continue;
                }
                if recognizer.rows_leave {
                    self.matched.insert(event.id);
                }
                let (following, ends) = &recognizer.reach[place + 1];
                if *ends {
                    found.push(Match {
                        begin: partial.begin,
                        end: sequence,
                        begin_ms: partial.begin_ms,
                        rows: rows.clone(),
                        complete: following.is_empty(),
                    });
                }
                if !following.is_empty() {
                    if next.len() >= max_partial {
                        self.refused += 1;
                    } else {
                        if let (true, Some(interval)) = (partial.rows.is_empty(), plan.interval_ms) {
                            let keys = self.due.entry(partial.begin_ms + interval).or_default();
                            if keys.last() != Some(&key) {
                                keys.push(key.clone());
                            }
                        }
                        next.push(Partial {
                            begin: partial.begin,
                            begin_ms: partial.begin_ms,
                            place: place + 1,
                            rows,
                        });
                    }
                } else if let (true, Some(interval)) = (partial.rows.is_empty() && *ends, plan.interval_ms) {
                    let keys = self.due.entry(partial.begin_ms + interval).or_default();
                    if keys.last() != Some(&key) {
                        keys.push(key.clone());
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
            // A match that goes on beyond its interval, or cannot go on, is given at once.
            let live: HashSet<u64> = state.partial.iter().map(|partial| partial.begin).collect();
            let over = |found: &Match| {
                found.complete
                    || found.begin_ms + interval <= env.now_ms
                    || (plan.or_terminated && !live.contains(&found.begin))
            };
            state.waiting.append(&mut found);
            let (now, waiting) = state.waiting.drain(..).partition(over);
            (found, state.waiting) = (now, waiting);
            longest_first(&mut found);
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
        found.sort_by_key(|found| found.begin);
        if !plan.all_matches {
            found.dedup_by_key(|found| found.begin);
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
                state.waiting.retain(|waiting| waiting.begin > past);
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

    /// Intervals have ended.
    pub(crate) fn fire(&mut self, recognizer: &Recognizer, env: Env<'_>) -> Vec<Row> {
        let mut results = Vec::new();
        let Some(interval) = recognizer.plan.interval_ms else {
            return results;
        };
        let mut keys = indexmap::IndexSet::new();
        while self.due().is_some_and(|due| due <= env.now_ms) {
            keys.extend(self.due.pop_first().into_iter().flat_map(|(_, keys)| keys));
        }
        for key in keys {
            let Some(state) = self.partitions.get_mut(&key) else {
                continue;
            };
            let over = |begin_ms: i64| begin_ms + interval <= env.now_ms;
            let (mut found, waiting) = state
                .waiting
                .drain(..)
                .partition::<Vec<_>, _>(|found| over(found.begin_ms));
            state.waiting = waiting;
            longest_first(&mut found);
            Self::report(recognizer, env, state, found, &mut self.results, &mut results);
            if state.is_empty() {
                self.partitions.swap_remove(&key);
            }
        }
        results
    }
}

/// Of the matches with one beginning the longest comes first.
fn longest_first(found: &mut [Match]) {
    found.sort_by_key(|found| (found.begin, std::cmp::Reverse(found.end)));
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
