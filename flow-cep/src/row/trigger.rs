//! On-triggers: what an event does to a named window, a table or variables.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Scope};
use crate::plan::{CatalogId, InsertTarget, MergeActionPlan, OnActionPlan, OnPlan, SourcePlan};
use crate::row::context::Partition;
use crate::row::event::{EventRef, Part, Row};
use crate::row::instance::{Sink, World, conditions_hold, event_passes};
use crate::row::pattern::{Matching, Pattern, PatternState};
use crate::row::result::{Processing, ResultRow, ResultState, Results};
use crate::row::scope::{Behind, Env, PairScope};
use crate::row::subquery::Subquery;
use crate::syntax::ast::StreamSelector;
use crate::value::Value;

/// An on-trigger made ready to run.
#[derive(Debug)]
pub(crate) struct On {
    pub(crate) plan: OnPlan,
    pattern: Option<Pattern>,
}

/// One partition's state of an on-trigger.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OnInstance {
    pub(crate) partition: Option<Partition>,
    pub(crate) scheduled: Option<i64>,
    pattern: Option<PatternState>,
    subqueries: Vec<Subquery>,
    next_match: u64,
}

/// What an on-trigger wants done to what it acts on.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Rows leave.
    Remove(Vec<Row>),
    /// Rows are replaced: the row and its new values.
    Replace(Vec<(Row, Vec<Value>)>),
    /// A row is inserted.
    Insert(InsertTarget, Vec<Value>),
    /// A variable is set.
    Set(CatalogId, Value),
}

impl On {
    /// Makes a plan ready.
    pub(crate) fn new(plan: OnPlan) -> Self {
        let pattern = match &plan.trigger.source {
            SourcePlan::Pattern(pattern) => Some(Pattern::new(pattern)),
            _ => None,
        };
        Self { plan, pattern }
    }

    /// The event types that it listens to.
    pub(crate) fn event_types(&self) -> Vec<CatalogId> {
        let mut types: Vec<CatalogId> = self.pattern.iter().flat_map(Pattern::event_types).collect();
        let subqueries = self.plan.subqueries.iter().map(|subquery| &subquery.stream);
        for stream in std::iter::once(&self.plan.trigger).chain(subqueries) {
            if let SourcePlan::Events(filter) = &stream.source {
                types.push(filter.event_type);
            }
        }
        types
    }
}

impl OnInstance {
    /// Begins an on-trigger.
    pub(crate) fn new(on: &On, partition: Option<Partition>, world: World<'_>) -> Self {
        let mut instance = Self {
            partition,
            scheduled: None,
            pattern: on.pattern.as_ref().map(|_| PatternState::default()),
            subqueries: on
                .plan
                .subqueries
                .iter()
                .map(|plan| Subquery::new(plan, world.now_ms))
                .collect(),
            next_match: 0,
        };
        for (subquery, plan) in instance.subqueries.iter_mut().zip(&on.plan.subqueries) {
            if plan.correlated && instance.partition.is_some() {
                continue;
            }
            let plain = Env::plain(world.now_ms, world.shapes, world.shared, instance.partition.as_ref());
            subquery.follow(plan, &plain);
        }
        let mut state = instance.pattern.take();
        if let (Some(state), Some(pattern)) = (&mut state, &on.pattern) {
            state.start(instance.matching(on, pattern, world));
        }
        instance.pattern = state;
        instance
    }

    fn env<'a>(&'a self, on: &'a On, world: World<'a>) -> Env<'a> {
        Env {
            subqueries: &on.plan.subqueries,
            subquery_states: &self.subqueries,
            ..Env::plain(world.now_ms, world.shapes, world.shared, self.partition.as_ref())
        }
    }

    fn matching<'a>(&'a self, on: &'a On, pattern: &'a Pattern, world: World<'a>) -> Matching<'a> {
        Matching {
            pattern,
            env: self.env(on, world),
            max_states: world.limits.pattern_states,
        }
    }

    /// When something of it is due.
    pub(crate) fn due(&self) -> Option<i64> {
        let subqueries = self
            .subqueries
            .iter()
            .filter_map(|subquery| subquery.window.as_ref().and_then(crate::row::window::Window::due));
        subqueries
            .chain(self.pattern.as_ref().and_then(PatternState::due))
            .min()
    }

    /// An event arrives: the rows that trigger.
    pub(crate) fn event(&mut self, on: &On, event_type: CatalogId, event: &EventRef, world: World<'_>) -> Vec<Row> {
        for (plan, state) in on.plan.subqueries.iter().zip(&mut self.subqueries) {
            if let SourcePlan::Events(filter) = &plan.stream.source {
                let plain = Env::plain(world.now_ms, world.shapes, world.shared, self.partition.as_ref());
                if event_passes(filter, event_type, event, plain) {
                    state.insert(plan, &Row::One(event.clone()), &plain);
                }
            }
        }
        match &on.plan.trigger.source {
            SourcePlan::Events(filter) if event_passes(filter, event_type, event, self.env(on, world)) => {
                vec![Row::One(event.clone())]
            }
            SourcePlan::Pattern(_) => {
                let mut state = self.pattern.take();
                if let (Some(state), Some(pattern)) = (&mut state, &on.pattern) {
                    state.event(self.matching(on, pattern, world), event_type, event);
                }
                self.pattern = state;
                self.take_matches(on, world)
            }
            _ => Vec::new(),
        }
    }

    /// A named window has changed: the rows that trigger.
    pub(crate) fn window_changed(
        &mut self,
        on: &On,
        named: CatalogId,
        (new, old): (&[Row], &[Row]),
        world: World<'_>,
    ) -> Vec<Row> {
        for (subquery, plan) in self.subqueries.iter_mut().zip(&on.plan.subqueries) {
            let plain = Env::plain(world.now_ms, world.shapes, world.shared, self.partition.as_ref());
            subquery.window_changed(plan, named, new, old, &plain);
        }
        match &on.plan.trigger.source {
            SourcePlan::NamedWindow { window, conditions } if *window == named => {
                let env = self.env(on, world);
                new.iter()
                    .filter(|row| {
                        row.event(0)
                            .is_some_and(|event| conditions_hold(conditions, event, env))
                    })
                    .cloned()
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn take_matches(&mut self, on: &On, world: World<'_>) -> Vec<Row> {
        let mut state = self.pattern.take();
        let matches = match (&mut state, &on.pattern) {
            (Some(state), Some(pattern)) => state.take_matches(self.matching(on, pattern, world)),
            _ => Vec::new(),
        };
        self.pattern = state;
        matches
            .into_iter()
            .map(|tags| {
                self.next_match += 1;
                Row::Parts(self.next_match, tags)
            })
            .collect()
    }

    /// Time has come: the rows that trigger.
    pub(crate) fn fire(&mut self, on: &On, world: World<'_>) -> Vec<Row> {
        for (plan, state) in on.plan.subqueries.iter().zip(&mut self.subqueries) {
            if state
                .window
                .as_ref()
                .and_then(crate::row::window::Window::due)
                .is_some_and(|due| due <= world.now_ms)
            {
                let plain = Env::plain(world.now_ms, world.shapes, world.shared, self.partition.as_ref());
                state.fire(plan, &plain);
            }
        }
        let mut state = self.pattern.take();
        if let (Some(state), Some(pattern)) = (&mut state, &on.pattern) {
            state.fire(self.matching(on, pattern, world));
        }
        self.pattern = state;
        self.take_matches(on, world)
    }

    /// The rows of the target that the trigger speaks of.
    fn targets(&self, on: &On, trigger: &Row, world: World<'_>) -> Vec<Row> {
        let env = self.env(on, world);
        let holds = |row: &Row| {
            on.plan.condition.as_ref().is_none_or(|condition| {
                let scope = pair(env, Some(row), trigger);
                condition.eval(&scope).is_true()
            })
        };
        let outside = pair(env, None, trigger);
        match on.plan.target {
            Some(InsertTarget::Window(window)) => match world.shared.look_up_window(window, &on.plan.equal, &outside) {
                Some(rows) => rows.filter(|row| holds(row)).cloned().collect(),
                None => {
                    let rows = world.shared.window_rows(window);
                    rows.filter(|row| holds(row)).cloned().collect()
                }
            },
            Some(InsertTarget::Table(table)) => {
                let equal: Vec<(&Expr, &Expr)> = on.plan.equal.iter().map(|(own, other)| (own, other)).collect();
                match world.shared.look_up_table(table, &equal, &outside) {
                    Some(row) => row.into_iter().filter(holds).collect(),
                    None => world.shared.table_rows(&env, table).into_iter().filter(holds).collect(),
                }
            }
            Some(InsertTarget::Events(_)) | None => Vec::new(),
        }
    }

    /// Does what the trigger says: results go to the sink, the effects are for the caller to carry out.
    pub(crate) fn act(&self, on: &On, trigger: &Row, world: World<'_>, sink: &mut Sink) -> Vec<Effect> {
        let env = self.env(on, world);
        let targets = self.targets(on, trigger, world);
        match &on.plan.action {
            OnActionPlan::Delete => {
                if targets.is_empty() {
                    return Vec::new();
                }
                sink.whole_rows(&targets);
                vec![Effect::Remove(targets)]
            }
            OnActionPlan::Select { select, delete } => {
                let mut rows: Vec<Row> = targets.iter().map(|target| joined(Some(target), trigger)).collect();
                let passes = |condition: &Expr| condition.eval(&pair(env, None, trigger)).is_true();
                if on.plan.target.is_none() && on.plan.condition.as_ref().is_none_or(passes) {
                    rows.push(joined(None, trigger));
                }
                let p = Processing {
                    plan: select,
                    env,
                    bounded: true,
                    max_groups: world.limits.groups,
                };
                let mut results = Results::default();
                ResultState::new(select).process(p, &rows, &[], &mut results);
                p.arrange(&mut results.new);
                p.distinct(&mut results.new);
                results.old.clear();
                if let Some(insert) = &select.insert
                    && insert.selector != StreamSelector::Remove
                {
                    sink.inserts.extend(results.new.iter().cloned());
                }
                if !results.is_empty() {
                    sink.results.push(results);
                }
                if *delete && !targets.is_empty() {
                    vec![Effect::Remove(targets)]
                } else {
                    Vec::new()
                }
            }
            OnActionPlan::Update(assignments) => {
                if targets.is_empty() {
                    return Vec::new();
                }
                let replaced: Vec<(Row, Vec<Value>)> = targets
                    .into_iter()
                    .map(|row| {
                        let values = assigned(env, &row, trigger, assignments);
                        (row, values)
                    })
                    .collect();
                sink.replaced_rows(&replaced);
                vec![Effect::Replace(replaced)]
            }
            OnActionPlan::Set(assignments) => {
                let values: Vec<Value> = assignments
                    .iter()
                    .map(|(_, value)| value.eval(&pair(env, None, trigger)))
                    .collect();
                sink.results.push(Results {
                    new: vec![ResultRow::plain(values.clone())],
                    old: Vec::new(),
                });
                let variables = assignments.iter().map(|(variable, _)| *variable);
                variables
                    .zip(values)
                    .map(|(variable, value)| Effect::Set(variable, value))
                    .collect()
            }
            OnActionPlan::Merge(clauses) => {
                let candidates: Vec<Option<Row>> = if targets.is_empty() {
                    vec![None]
                } else {
                    targets.into_iter().map(Some).collect()
                };
                let mut effects = Vec::new();
                let mut results = Results::default();
                for target in &candidates {
                    let scope = pair(env, target.as_ref(), trigger);
                    let clause = clauses.iter().find(|clause| {
                        clause.matched == target.is_some()
                            && clause.condition.as_ref().is_none_or(|c| c.eval(&scope).is_true())
                    });
                    for action in clause.map_or(&[][..], |clause| &clause.actions) {
                        let applies =
                            |condition: &Option<Expr>| condition.as_ref().is_none_or(|c| c.eval(&scope).is_true());
                        match (action, target) {
                            (
                                MergeActionPlan::Insert {
                                    target,
                                    values,
                                    condition,
                                },
                                _,
                            ) if applies(condition) => {
                                let values: Vec<Value> = values.iter().map(|value| value.eval(&scope)).collect();
                                results.new.push(ResultRow::plain(values.clone()));
                                effects.push(Effect::Insert(*target, values));
                            }
                            (MergeActionPlan::Update { assignments, condition }, Some(row)) if applies(condition) => {
                                let values = assigned(env, row, trigger, assignments);
                                results.new.push(ResultRow::plain(values.clone()));
                                results
                                    .old
                                    .extend(row.event(0).map(|event| ResultRow::plain(event.values.to_vec())));
                                effects.push(Effect::Replace(vec![(row.clone(), values)]));
                            }
                            (MergeActionPlan::Delete { condition }, Some(row)) if applies(condition) => {
                                results
                                    .old
                                    .extend(row.event(0).map(|event| ResultRow::plain(event.values.to_vec())));
                                effects.push(Effect::Remove(vec![row.clone()]));
                            }
                            _ => {}
                        }
                    }
                }
                if !results.is_empty() {
                    sink.results.push(results);
                }
                effects
            }
        }
    }
}

/// The target as stream 0 with the trigger behind it.
fn pair<'a>(env: Env<'a>, target: Option<&'a Row>, trigger: &'a Row) -> PairScope<'a> {
    PairScope {
        env,
        event: target.and_then(|row| row.event(0)).map(|event| &**event),
        behind: Behind::Row(trigger),
        group: None,
    }
}

/// The target's row with the trigger's parts behind it, as a select sees them.
fn joined(target: Option<&Row>, trigger: &Row) -> Row {
    let own = target.and_then(|row| row.event(0));
    let mut parts = vec![own.map_or(Part::None, |event| Part::One(event.clone()))];
    match trigger {
        Row::One(event) => parts.push(Part::One(event.clone())),
        Row::Parts(_, tags) => parts.extend(tags.iter().cloned()),
    }
    Row::Parts(target.map_or(0, Row::id), Arc::from(parts))
}

/// A row's values with assignments carried out one after the other.
fn assigned(env: Env<'_>, row: &Row, trigger: &Row, assignments: &[(usize, Expr)]) -> Vec<Value> {
    let Some(event) = row.event(0) else { return Vec::new() };
    let mut values = event.values.to_vec();
    for (column, expr) in assignments {
        let value = expr.eval(&pair(env, Some(row), trigger) as &dyn Scope);
        if let Some(slot) = values.get_mut(*column) {
            *slot = value;
        }
    }
    values
}
