//! A running select: its windows, pattern, subqueries, groups and output clause, for one partition of its context.

mod output;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Node, PreviousKind};
use crate::plan::{
    CatalogId, Context, FilterPlan, OutputMoment, OutputPlan, ResultKind, SelectPlan, SourcePlan, SubqueryPlan,
};
use crate::row::WHOLE;
use crate::row::context::{Partition, fixed_columns};
use crate::row::event::{Event, EventRef, Part, Row, Shape};
use crate::row::join::{JoinPlan, JoinState};
use crate::row::named::Shared;
use crate::row::pattern::{Matching, Pattern, PatternState, Tags};
use crate::row::recognize::{Recognizer, RecognizerState};
use crate::row::result::{Processing, ResultRow, ResultState, Results, holds};
use crate::row::scope::{Behind, Env, PairScope, RowScope, whole};
use crate::row::subquery::{Subquery, drop_looked_up};
use crate::row::visit::{of_select, visit};
use crate::row::window::{Change, Moment, Window};
use crate::value::Value;

/// How far `prior` with a computed offset looks back.
const MAX_PRIOR: usize = 10_000;

/// What all instances of the runtime work with.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) now_ms: i64,
    pub(crate) shapes: &'a [Shape],
    pub(crate) shared: &'a Shared,
    pub(crate) limits: &'a crate::engine::Limits,
}

/// A select made ready to run, common to its partitions.
#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) plan: SelectPlan,
    pub(crate) patterns: Vec<Option<Pattern>>,
    pub(crate) join: Option<JoinPlan>,
    pub(crate) recognizer: Option<Recognizer>,
    bounded: bool,
    /// How far `prior` looks back, if it is used.
    prior: Option<usize>,
}

/// What a select gives out: results to deliver and to insert.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    /// Results since the last dispatch; an empty one is delivered as such if it is alone.
    pub(crate) results: Vec<Results>,
    /// Rows to insert, in order.
    pub(crate) inserts: Vec<ResultRow>,
    /// Changes for tables fed by the select.
    pub(crate) table_rows: Vec<(Row, bool)>,
}

/// One partition's state of a select.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its partition.
    pub(crate) partition: Option<Partition>,
    /// For what time a timer has been set.
    pub(crate) scheduled: Option<i64>,
    windows: Vec<Option<Window>>,
    patterns: Vec<Option<PatternState>>,
    subqueries: Vec<Subquery>,
    /// Rows of the only stream by arrival, for `prior`.
    history: VecDeque<Row>,
    join: Option<JoinState>,
    recognizer: Option<RecognizerState>,
    result: ResultState,
    output: OutputState,
    next_match: u64,
    /// The event that began the partition, which its subqueries do not see.
    born_by: Option<u64>,
    /// Window rows refused since the last report.
    refused_rows: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct OutputState {
    since_ms: i64,
    due: Option<i64>,
    updates: Vec<(Vec<Row>, Vec<Row>)>,
    new_count: u64,
    old_count: u64,
    witnessed: bool,
    after_over: bool,
    after_count: u64,
}

/// What was refused because of limits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) groups: u64,
    pub(crate) patterns: u64,
    pub(crate) rows: u64,
}

/// Whether an event passes a filter without correlation.
pub(crate) fn event_passes(filter: &FilterPlan, event_type: CatalogId, event: &Event, env: Env<'_>) -> bool {
    if filter.event_type != event_type {
        return false;
    }
    conditions_hold(&filter.conditions, event, env)
        && (filter.equal.is_empty() && filter.correlated.is_empty() || {
            let scope = PairScope {
                env,
                event: Some(event),
                behind: Behind::Nothing,
                group: None,
            };
            filter.equal.iter().all(|(own, other)| {
                let own = own.eval(&scope);
                !own.is_null() && own == other.eval(&scope)
            }) && filter
                .correlated
                .iter()
                .all(|condition| condition.eval(&scope).is_true())
        })
}

/// Whether conditions over an event as stream 0 hold.
pub(crate) fn conditions_hold(conditions: &[Expr], event: &Event, env: Env<'_>) -> bool {
    if conditions.is_empty() {
        return true;
    }
    let scope = PairScope {
        env,
        event: Some(event),
        behind: Behind::Nothing,
        group: None,
    };
    conditions.iter().all(|condition| condition.eval(&scope).is_true())
}

/// How many rows back `prior` looks at most.
fn prior_depth(plan: &SelectPlan) -> Option<usize> {
    let mut depth = None;
    of_select(plan, &mut |expr| {
        visit(expr, &mut |expr| {
            if let Node::Previous {
                kind: PreviousKind::Prior,
                offset,
                ..
            } = &expr.node
            {
                let back = match &offset.node {
                    Node::Literal(value) => value.as_long().and_then(|back| usize::try_from(back).ok()),
                    _ => None,
                };
                depth = depth.max(Some(back.unwrap_or(MAX_PRIOR)));
            }
        });
    });
    depth
}

/// The keys of a context do not differ within a partition: they count as grouped.
fn settle_keys(plan: &mut SelectPlan, context: &Context) {
    let [stream] = plan.streams.as_slice() else { return };
    let SourcePlan::Events(filter) = &stream.source else {
        return;
    };
    let fixed = fixed_columns(context, filter.event_type);
    let mut settled = true;
    let mut selected = Vec::new();
    for expr in plan.columns.iter().map(|column| &column.expr).chain(&plan.having) {
        visit(expr, &mut |expr| match &expr.node {
            Node::Column { column, .. } => {
                settled &= fixed.contains(column) || plan.group_by.contains(expr);
                selected.push(*column);
            }
            Node::Row(_) | Node::Previous { .. } | Node::Indexed { .. } => settled = false,
            _ => {}
        });
    }
    // Groups ordered by a column that is not selected give a row for each event.
    for key in &plan.order_by {
        visit(&key.expr, &mut |expr| match &expr.node {
            Node::Column { column, .. } => settled &= fixed.contains(column) || selected.contains(column),
            Node::Row(_) | Node::Previous { .. } | Node::Indexed { .. } => settled = false,
            _ => {}
        });
    }
    if settled {
        plan.result = match plan.result {
            ResultKind::RowPerEvent => ResultKind::OneRow,
            ResultKind::GroupedRowPerEvent => ResultKind::RowPerGroup,
            other => other,
        };
    }
}

impl Select {
    /// Makes a plan ready.
    pub(crate) fn new(mut plan: SelectPlan, context: Option<&Context>) -> Self {
        if let Some(context) = context {
            settle_keys(&mut plan, context);
        }
        plan.subqueries.iter_mut().for_each(drop_looked_up);
        let patterns = plan
            .streams
            .iter()
            .map(|stream| match &stream.source {
                SourcePlan::Pattern(pattern) => Some(Pattern::new(pattern)),
                _ => None,
            })
            .collect();
        let join = (plan.streams.len() > 1).then(|| JoinPlan::new(&plan));
        let window = plan.streams.first().and_then(|stream| stream.window.as_ref());
        let recognizer = plan.match_recognize.as_ref().map(|plan| Recognizer::new(plan, window));
        let bounded = plan.streams.len() > 1
            || plan
                .streams
                .iter()
                .any(|stream| stream.window.is_some() || matches!(stream.source, SourcePlan::NamedWindow { .. }));
        let prior = prior_depth(&plan);
        Self {
            plan,
            patterns,
            join,
            recognizer,
            bounded,
            prior,
        }
    }

    fn grouped(&self) -> bool {
        matches!(
            self.plan.result,
            ResultKind::RowPerGroup | ResultKind::GroupedRowPerEvent
        )
    }

    /// The event types that it listens to.
    pub(crate) fn event_types(&self) -> Vec<CatalogId> {
        let mut types = Vec::new();
        let subqueries = self.plan.subqueries.iter().map(|subquery| &subquery.stream);
        for stream in self.plan.streams.iter().chain(subqueries) {
            if let SourcePlan::Events(filter) = &stream.source {
                types.push(filter.event_type);
            }
        }
        for pattern in self.patterns.iter().flatten() {
            types.extend(pattern.event_types());
        }
        types
    }
}

fn env<'a>(
    world: World<'a>,
    partition: Option<&'a Partition>,
    select: &'a Select,
    windows: &'a [Option<Window>],
    subqueries: &'a [Subquery],
    history: &'a VecDeque<Row>,
) -> Env<'a> {
    Env {
        now_ms: world.now_ms,
        shapes: world.shapes,
        shared: world.shared,
        partition,
        subqueries: &select.plan.subqueries,
        subquery_states: subqueries,
        streams: &select.plan.streams,
        windows,
        history: Some(history),
    }
}

/// Sorts and cuts the rows of results.
fn arrange(p: Processing<'_>, results: &mut Results) {
    // The one row of a statement with only aggregates is not subject to a limit.
    if p.plan.result == ResultKind::OneRow && p.plan.output.is_none() {
        return;
    }
    for rows in [&mut results.new, &mut results.old] {
        p.arrange(rows);
        p.distinct(rows);
    }
}

impl Instance {
    /// Begins a select.
    pub(crate) fn new(select: &Select, partition: Option<Partition>, world: World<'_>, sink: &mut Sink) -> Self {
        let born_by = partition.as_ref().and_then(|partition| partition.begun_by);
        let plan = &select.plan;
        let mut instance = Self {
            partition,
            scheduled: None,
            windows: plan
                .streams
                .iter()
                .map(|stream| stream.window.as_ref().map(|window| Window::new(window, world.now_ms)))
                .collect(),
            patterns: select
                .patterns
                .iter()
                .map(|pattern| pattern.as_ref().map(|_| PatternState::default()))
                .collect(),
            subqueries: plan
                .subqueries
                .iter()
                .map(|subquery| Subquery::new(subquery, world.now_ms))
                .collect(),
            history: VecDeque::new(),
            join: select.join.as_ref().map(JoinState::new),
            recognizer: select.recognizer.as_ref().map(|_| RecognizerState::default()),
            result: ResultState::new(plan),
            output: OutputState {
                since_ms: world.now_ms,
                ..OutputState::default()
            },
            next_match: 0,
            born_by,
            refused_rows: 0,
        };
        for (subquery, plan) in instance.subqueries.iter_mut().zip(&plan.subqueries) {
            // Partitions share the index of the window itself rather than have a copy each.
            if plan.correlated && instance.partition.is_some() {
                continue;
            }
            let plain = Env::plain(world.now_ms, world.shapes, world.shared, instance.partition.as_ref());
            subquery.follow(plan, &plain);
        }
        for stream in 0..select.patterns.len() {
            let Some(pattern) = &select.patterns[stream] else {
                continue;
            };
            let mut state = instance.patterns[stream].take();
            if let Some(state) = &mut state {
                state.start(instance.matching(select, pattern, world));
            }
            instance.patterns[stream] = state;
            instance.take_matches(select, stream, world, sink);
        }
        instance
    }

    fn matching<'a>(&'a self, select: &'a Select, pattern: &'a Pattern, world: World<'a>) -> Matching<'a> {
        Matching {
            pattern,
            env: self.env(select, world),
            max_states: world.limits.pattern_states,
        }
    }

    fn env<'a>(&'a self, select: &'a Select, world: World<'a>) -> Env<'a> {
        env(
            world,
            self.partition.as_ref(),
            select,
            &self.windows,
            &self.subqueries,
            &self.history,
        )
    }

    /// When something of it is due.
    pub(crate) fn due(&self) -> Option<i64> {
        let windows = self.windows.iter().flatten().filter_map(Window::due);
        let patterns = self.patterns.iter().flatten().filter_map(PatternState::due);
        let subqueries = self
            .subqueries
            .iter()
            .filter_map(|subquery| subquery.window.as_ref().and_then(Window::due));
        let recognizer = self.recognizer.as_ref().and_then(RecognizerState::due);
        windows
            .chain(patterns)
            .chain(subqueries)
            .chain(recognizer)
            .chain(self.output.due)
            .min()
    }

    /// Starts the clocks that the first row starts, which came at `time_ms`.
    pub(crate) fn anchor(&mut self, select: &Select, time_ms: i64) {
        for window in self.windows.iter_mut().flatten() {
            window.anchor(time_ms);
        }
        if let Some(OutputPlan {
            when: OutputMoment::EveryMs(ms),
            ..
        }) = &select.plan.output
        {
            self.output.due.get_or_insert_with(|| time_ms + (*ms).max(1));
        }
    }

    /// Takes the counts of what was refused.
    pub(crate) fn take_refusals(&mut self) -> Refusals {
        Refusals {
            groups: std::mem::take(&mut self.result.refused),
            patterns: self
                .patterns
                .iter_mut()
                .flatten()
                .map(|state| std::mem::take(&mut state.refused))
                .sum::<u64>()
                + self.recognizer.as_mut().map_or(0, RecognizerState::take_refused),
            rows: std::mem::take(&mut self.refused_rows),
        }
    }

    /// Rows, groups and pattern states held.
    pub(crate) fn size(&self) -> (usize, usize, usize) {
        (
            self.windows.iter().flatten().map(Window::len).sum(),
            self.result.group_count(),
            self.patterns.iter().flatten().map(PatternState::len).sum(),
        )
    }

    /// An event arrives.
    pub(crate) fn event(
        &mut self,
        select: &Select,
        event_type: CatalogId,
        event: &EventRef,
        world: World<'_>,
        sink: &mut Sink,
    ) {
        // A filter's subquery does not hold the event that it is asked about.
        let passes = match select.plan.streams.as_slice() {
            [stream] => match &stream.source {
                SourcePlan::Events(filter) => event_passes(filter, event_type, event, self.env(select, world)),
                _ => false,
            },
            _ => false,
        };
        // Subqueries see an event before the statement does, save the event that began the partition.
        if self.born_by == Some(event.id) {
            self.event_in_streams(select, event_type, event, passes, world, sink);
            self.event_in_subqueries(select, event_type, event, world);
        } else {
            self.event_in_subqueries(select, event_type, event, world);
            self.event_in_streams(select, event_type, event, passes, world, sink);
        }
    }

    fn event_in_subqueries(&mut self, select: &Select, event_type: CatalogId, event: &EventRef, world: World<'_>) {
        for (plan, subquery) in select.plan.subqueries.iter().zip(&mut self.subqueries) {
            if let SourcePlan::Events(filter) = &plan.stream.source {
                let plain = Env::plain(world.now_ms, world.shapes, world.shared, self.partition.as_ref());
                if event_passes(filter, event_type, event, plain) {
                    subquery.insert(plan, &Row::One(event.clone()), &plain);
                }
            }
        }
    }

    /// An event in the streams; `passes` says whether it passes the filter of the only stream.
    fn event_in_streams(
        &mut self,
        select: &Select,
        event_type: CatalogId,
        event: &EventRef,
        passes: bool,
        world: World<'_>,
        sink: &mut Sink,
    ) {
        if select.join.is_some() {
            let mut changes: Vec<Change> = Vec::new();
            changes.resize_with(self.windows.len(), Change::default);
            let mut any = false;
            for (stream, change) in changes.iter_mut().enumerate() {
                match &select.plan.streams[stream].source {
                    SourcePlan::Events(filter) if event_passes(filter, event_type, event, self.env(select, world)) => {
                        let row = Row::One(event.clone());
                        self.enter_window(select, stream, &row, world, change);
                        any = true;
                    }
                    SourcePlan::Pattern(_) => {
                        let mut state = self.patterns[stream].take();
                        if let (Some(state), Some(pattern)) = (&mut state, &select.patterns[stream]) {
                            state.event(self.matching(select, pattern, world), event_type, event);
                        }
                        self.patterns[stream] = state;
                        any |= self.join_matches(select, stream, world, change);
                    }
                    _ => {}
                }
            }
            if any {
                self.joined(select, &changes, world, sink);
            }
            return;
        }
        match select.plan.streams.first().map(|stream| &stream.source) {
            Some(SourcePlan::Events(_)) if passes => {
                self.arrive(select, &Row::One(event.clone()), world, sink);
            }
            Some(SourcePlan::Pattern(_)) => {
                let mut state = self.patterns[0].take();
                if let (Some(state), Some(pattern)) = (&mut state, &select.patterns[0]) {
                    state.event(self.matching(select, pattern, world), event_type, event);
                }
                self.patterns[0] = state;
                self.take_matches(select, 0, world, sink);
            }
            _ => {}
        }
    }

    /// The matches of a stream's pattern since the last call.
    fn matches(&mut self, select: &Select, stream: usize, world: World<'_>) -> Vec<Tags> {
        let mut state = self.patterns[stream].take();
        let matches = match (&mut state, &select.patterns[stream]) {
            (Some(state), Some(pattern)) => state.take_matches(self.matching(select, pattern, world)),
            _ => Vec::new(),
        };
        self.patterns[stream] = state;
        matches
    }

    /// Takes the matches of a pattern into its stream of a join, each as an event that has the tags' events as values.
    fn join_matches(&mut self, select: &Select, stream: usize, world: World<'_>, change: &mut Change) -> bool {
        let matches = self.matches(select, stream, world);
        for tags in &matches {
            self.next_match += 1;
            let env = self.env(select, world);
            let values = tags.iter().map(|part| match part {
                Part::None => Value::Null,
                Part::One(event) => whole(&env, event),
                Part::Many(events) => Value::List(events.iter().map(|event| whole(&env, event)).collect()),
            });
            let row = Row::One(Arc::new(Event {
                // The numbers of matches and of events are apart.
                id: u64::MAX - self.next_match,
                shape: WHOLE,
                values: values.collect(),
            }));
            self.enter_window(select, stream, &row, world, change);
        }
        !matches.is_empty()
    }

    fn take_matches(&mut self, select: &Select, stream: usize, world: World<'_>, sink: &mut Sink) {
        if select.join.is_some() {
            let mut changes: Vec<Change> = Vec::new();
            changes.resize_with(self.windows.len(), Change::default);
            if self.join_matches(select, stream, world, &mut changes[stream]) {
                self.joined(select, &changes, world, sink);
            }
            return;
        }
        for tags in self.matches(select, stream, world) {
            self.next_match += 1;
            let row = Row::Parts(self.next_match, tags);
            self.arrive(select, &row, world, sink);
        }
    }

    /// A row arrives in the only stream.
    fn arrive(&mut self, select: &Select, row: &Row, world: World<'_>, sink: &mut Sink) {
        if let Some(depth) = select.prior {
            let held = self.windows.first().and_then(Option::as_ref).map_or(0, Window::len);
            self.history.push_back(row.clone());
            while self.history.len() > held + depth + 1 {
                self.history.pop_front();
            }
        }
        if select.plan.streams[0].window.is_none() {
            self.pass(select, std::slice::from_ref(row), &[], world, sink);
            return;
        }
        let mut change = Change::default();
        self.enter_window(select, 0, row, world, &mut change);
        if change.updated {
            self.pass(select, &change.new, &change.old, world, sink);
        }
    }

    /// A row arrives in a stream's window, if it has one.
    fn enter_window(&mut self, select: &Select, stream: usize, row: &Row, world: World<'_>, change: &mut Change) {
        let mut window = self.windows[stream].take();
        match (&mut window, &select.plan.streams[stream].window) {
            (Some(window), Some(plan)) => {
                if window.len() >= world.limits.window_rows {
                    self.refused_rows += 1;
                } else {
                    let env = self.env(select, world);
                    let moment = Moment {
                        now_ms: world.now_ms,
                        eval: &|expr, row| expr.eval(&RowScope::of(env, row)),
                    };
                    window.insert(plan, row, &moment, change);
                }
            }
            _ => {
                change.updated = true;
                change.new.push(row.clone());
            }
        }
        self.windows[stream] = window;
    }

    /// A named window has changed.
    pub(crate) fn window_changed(
        &mut self,
        select: &Select,
        named: CatalogId,
        new: &[Row],
        old: &[Row],
        world: World<'_>,
        sink: &mut Sink,
    ) {
        for (subquery, plan) in self.subqueries.iter_mut().zip(&select.plan.subqueries) {
            let plain = Env::plain(world.now_ms, world.shapes, world.shared, self.partition.as_ref());
            subquery.window_changed(plan, named, new, old, &plain);
        }
        let mut changes: Vec<Change> = Vec::new();
        changes.resize_with(self.windows.len(), Change::default);
        for (stream, change) in changes.iter_mut().enumerate() {
            let SourcePlan::NamedWindow { window, conditions } = &select.plan.streams[stream].source else {
                continue;
            };
            if *window != named {
                continue;
            }
            let env = self.env(select, world);
            let passes = |row: &&Row| {
                row.event(0)
                    .is_some_and(|event| conditions_hold(conditions, event, env))
            };
            let new: Vec<Row> = new.iter().filter(passes).cloned().collect();
            let old: Vec<Row> = old.iter().filter(passes).cloned().collect();
            if select.plan.streams[stream].window.is_some() {
                for row in &new {
                    self.enter_window(select, stream, row, world, change);
                }
            } else if !new.is_empty() || !old.is_empty() {
                change.updated = true;
                change.new = new;
                change.old = old;
            }
        }
        if changes.iter().all(|change| !change.updated) {
            return;
        }
        if select.join.is_some() {
            self.joined(select, &changes, world, sink);
        } else if let Some(change) = changes.first() {
            self.pass(select, &change.new, &change.old, world, sink);
        }
    }

    /// The streams of a join have changed.
    fn joined(&mut self, select: &Select, changes: &[Change], world: World<'_>, sink: &mut Sink) {
        let (Some(plan), Some(mut state)) = (&select.join, self.join.take()) else {
            return;
        };
        let env = self.env(select, world);
        let unidirectional = select.plan.streams.iter().any(|stream| stream.unidirectional);
        let drives = |stream: usize| !unidirectional || select.plan.streams[stream].unidirectional;
        let mut new = Vec::new();
        let mut old = Vec::new();
        for (stream, change) in changes.iter().enumerate() {
            if drives(stream) && !change.old.is_empty() {
                state.rows(plan, env, &self.windows, stream, &change.old, &mut old);
            }
        }
        for (stream, change) in changes.iter().enumerate() {
            if select.plan.streams[stream].window.is_some()
                || matches!(select.plan.streams[stream].source, SourcePlan::NamedWindow { .. })
            {
                state.absorb(plan, env, stream, &change.new, &change.old);
            }
        }
        for (stream, change) in changes.iter().enumerate() {
            if drives(stream) && !change.new.is_empty() {
                state.rows(plan, env, &self.windows, stream, &change.new, &mut new);
            }
        }
        for rows in [&mut new, &mut old] {
            let mut seen = std::collections::HashSet::new();
            rows.retain(|row| seen.insert(row.id()));
        }
        self.join = Some(state);
        if !new.is_empty() || !old.is_empty() {
            self.pass(select, &new, &old, world, sink);
            if unidirectional {
                self.result.clear(&select.plan);
            }
        }
    }

    /// Rows that enter and leave the from clause: `match_recognize`, `where`, then groups and output.
    fn pass(&mut self, select: &Select, new: &[Row], old: &[Row], world: World<'_>, sink: &mut Sink) {
        if let (Some(recognizer), Some(mut state)) = (&select.recognizer, self.recognizer.take()) {
            let env = self.env(select, world);
            let found = state.rows(recognizer, env, new, old, world.limits.pattern_states);
            self.recognizer = Some(state);
            if !found.is_empty() {
                self.filtered(select, &found, &[], world, sink);
            }
            return;
        }
        self.filtered(select, new, old, world, sink);
    }

    fn filtered(&mut self, select: &Select, new: &[Row], old: &[Row], world: World<'_>, sink: &mut Sink) {
        let Some(condition) = &select.plan.condition else {
            self.output(select, new, old, world, sink);
            return;
        };
        let env = self.env(select, world);
        let keep = |rows: &[Row], entering: bool| -> Vec<Row> {
            rows.iter()
                .filter(|row| holds(Some(condition), env, row, entering))
                .cloned()
                .collect()
        };
        let new = keep(new, true);
        let old = keep(old, false);
        if !new.is_empty() || !old.is_empty() {
            self.output(select, &new, &old, world, sink);
        }
    }

    /// Runs the result processor with its environment.
    fn with_result<R>(
        &mut self,
        select: &Select,
        world: World<'_>,
        run: impl FnOnce(&mut ResultState, Processing<'_>) -> R,
    ) -> R {
        let p = Processing {
            plan: &select.plan,
            env: env(
                world,
                self.partition.as_ref(),
                select,
                &self.windows,
                &self.subqueries,
                &self.history,
            ),
            bounded: select.bounded,
            max_groups: world.limits.groups,
        };
        run(&mut self.result, p)
    }

    /// Time has come to something that was due.
    pub(crate) fn fire(&mut self, select: &Select, world: World<'_>, sink: &mut Sink) {
        let now = world.now_ms;
        let is_due = |due: Option<i64>| due.is_some_and(|due| due <= now);
        if select.join.is_some() {
            // A join is made when all timers of the instant have fired, output included.
            self.fire_output(select, world, sink);
        }
        let mut changes: Vec<Change> = Vec::new();
        changes.resize_with(self.windows.len(), Change::default);
        for (stream, window) in self.windows.iter_mut().enumerate() {
            if let (Some(window), Some(plan)) = (window, &select.plan.streams[stream].window)
                && is_due(window.due())
            {
                window.fire(plan, now, &mut changes[stream]);
            }
        }
        if changes.iter().any(|change| change.updated) {
            if select.join.is_some() {
                self.joined(select, &changes, world, sink);
            } else if let Some(change) = changes.first() {
                self.pass(select, &change.new, &change.old, world, sink);
            }
        }
        for at in 0..self.subqueries.len() {
            if is_due(self.subqueries[at].window.as_ref().and_then(Window::due)) {
                let plain = Env::plain(now, world.shapes, world.shared, self.partition.as_ref());
                let plan: &SubqueryPlan = &select.plan.subqueries[at];
                self.subqueries[at].fire(plan, &plain);
            }
        }
        for stream in 0..self.patterns.len() {
            if is_due(self.patterns[stream].as_ref().and_then(PatternState::due)) {
                let mut state = self.patterns[stream].take();
                if let (Some(state), Some(pattern)) = (&mut state, &select.patterns[stream]) {
                    state.fire(self.matching(select, pattern, world));
                }
                self.patterns[stream] = state;
                self.take_matches(select, stream, world, sink);
            }
        }
        if let (Some(recognizer), Some(mut state)) = (&select.recognizer, self.recognizer.take()) {
            let found = state.fire(recognizer, self.env(select, world));
            self.recognizer = Some(state);
            if let Some(found) = found {
                self.filtered(select, &found, &[], world, sink);
            }
        }
        self.fire_output(select, world, sink);
    }

    /// The value of an aggregate for a row's group, for a table.
    pub(crate) fn group_key(&self, select: &Select, row: &Row, world: World<'_>) -> Vec<Value> {
        let env = self.env(select, world);
        let scope = RowScope::of(env, row);
        select.plan.group_by.iter().map(|key| key.eval(&scope)).collect()
    }
}
