//! Subqueries: a window of their own, asked anew for each row of the statement around them.

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Node, Scope};
use crate::plan::{CatalogId, SourcePlan, SubqueryPlan, WindowPlan};
use crate::row::KeyMap;
use crate::row::aggregate::{Group, Movement};
use crate::row::event::Row;
use crate::row::index::{Index, key_in};
use crate::row::join::conjuncts;
use crate::row::scope::{Behind, Env, PairScope};
use crate::row::visit::streams_of;
use crate::row::window::{Change, Moment, Window};
use crate::syntax::ast::BinaryOp;
use crate::value::{Type, Value};

/// The state of a subquery.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subquery {
    /// Its rows; none if it asks a named window or table. Of a named window these are the rows that it was told of, kept only
    /// if nothing else answers for them.
    pub(crate) window: Option<Window>,
    /// By the inner sides of the equalities with the statement around it.
    index: Index,
    /// Of a subquery without correlation: its aggregates and the values of its column.
    group: Group,
    values: KeyMap<Value, u64>,
    row_count: u64,
    /// Whether it is told of the changes of its named window. What the instant changes it then learns only when the event
    /// has been processed, as Esper's subqueries do.
    follows: bool,
    /// Of a subquery that only aggregates the rows equal to the outer row: the aggregates and number of rows of each key. Of one
    /// with groups and without correlation: those of each group, and a row of it.
    by_key: KeyMap<Value, (Group, u64, Option<Row>)>,
}

fn pair<'s>(env: &Env<'s>, row: &'s Row, behind: Behind<'s>) -> PairScope<'s> {
    PairScope {
        env: *env,
        event: row.event(0).map(|event| &**event),
        behind,
        group: None,
    }
}

/// The statement around a subquery, for the outer sides of equalities, which do not speak of stream 0.
fn outside<'s>(env: &Env<'s>, outer: &'s dyn Scope) -> PairScope<'s> {
    PairScope {
        env: *env,
        event: None,
        behind: Behind::Outer(outer),
        group: None,
    }
}

/// Whether a subquery only aggregates the rows that are equal to the outer row: then each key's aggregates are kept up.
fn aggregates_by_key(plan: &SubqueryPlan) -> bool {
    let own = |expr: &Expr| streams_of(expr).iter().all(|stream| *stream == 0);
    let mut parts = Vec::new();
    if let Some(condition) = &plan.condition {
        conjuncts(condition, &mut parts);
    }
    !plan.aggregates.is_empty()
        && plan.group_by.is_empty()
        && matches!(
            plan.stream.source,
            SourcePlan::Events(_) | SourcePlan::NamedWindow { .. }
        )
        && !plan.equal.is_empty()
        && parts.len() == plan.equal.len()
        && parts.iter().all(|part| is_equality(part, plan))
        && [&plan.column, &plan.having]
            .into_iter()
            .flatten()
            .all(|expr| !streams_of(expr).contains(&0))
        && plan.aggregates.iter().all(|aggregate| {
            let mut exprs = aggregate.arguments.iter().chain(&aggregate.filter);
            exprs.all(own)
        })
}

/// Whether a part of the condition is one of the equalities with the statement around it.
fn is_equality(part: &Expr, plan: &SubqueryPlan) -> bool {
    match &part.node {
        Node::Compare(BinaryOp::Equal, left, right) => plan
            .equal
            .iter()
            .any(|(inner, outer)| (**left == *inner && **right == *outer) || (**left == *outer && **right == *inner)),
        _ => false,
    }
}

/// Takes out of the condition what the index of equalities already answers.
pub(crate) fn drop_looked_up(plan: &mut SubqueryPlan) {
    // Aggregates ask the whole condition of each row.
    let aggregated = !plan.aggregates.is_empty() || !plan.group_by.is_empty();
    if !matches!(plan.stream.source, SourcePlan::Events(_)) || plan.equal.is_empty() || aggregated {
        return;
    }
    let Some(condition) = plan.condition.take() else { return };
    let mut parts = Vec::new();
    conjuncts(&condition, &mut parts);
    parts.retain(|part| !is_equality(part, plan));
    let mut parts: Vec<Expr> = parts.into_iter().cloned().collect();
    plan.condition = match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(Expr {
            node: Node::And(parts),
            of: Type::Bool,
        }),
    };
}

impl Subquery {
    /// An empty one.
    pub(crate) fn new(plan: &SubqueryPlan, now_ms: i64) -> Self {
        let window = match plan.stream.source {
            SourcePlan::Events(_) | SourcePlan::Pattern(_) => Some(Window::new(
                plan.stream.window.as_ref().unwrap_or(&WindowPlan::KeepAll),
                now_ms,
            )),
            SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. } => None,
        };
        Self {
            window,
            index: Index::default(),
            group: Group::new(&plan.aggregates),
            values: KeyMap::default(),
            row_count: 0,
            follows: false,
            by_key: KeyMap::default(),
        }
    }

    /// An event arrives in its stream.
    pub(crate) fn insert(&mut self, plan: &SubqueryPlan, row: &Row, env: &Env<'_>) {
        let (Some(window), Some(window_plan)) = (&mut self.window, &plan.stream.window) else {
            return;
        };
        let mut change = Change::default();
        let moment = Moment {
            now_ms: env.now_ms,
            eval: &|expr, row| expr.eval(&pair(env, row, Behind::Nothing)),
        };
        window.insert(window_plan, row, &moment, &mut change);
        self.absorb(plan, &change, env);
    }

    /// Its window's time has come.
    pub(crate) fn fire(&mut self, plan: &SubqueryPlan, env: &Env<'_>) {
        let (Some(window), Some(window_plan)) = (&mut self.window, &plan.stream.window) else {
            return;
        };
        let mut change = Change::default();
        window.fire(window_plan, env.now_ms, &mut change);
        self.absorb(plan, &change, env);
    }

    fn absorb(&mut self, plan: &SubqueryPlan, change: &Change, env: &Env<'_>) {
        if plan.correlated {
            if plan.equal.is_empty() {
                return;
            }
            if aggregates_by_key(plan) {
                self.absorb_by_key(plan, change, env);
                return;
            }
            for row in &change.new {
                let key = key_in(
                    plan.equal.iter().map(|(inner, _)| inner),
                    &pair(env, row, Behind::Nothing),
                );
                self.index.insert(key, row);
            }
            for row in &change.old {
                let key = key_in(
                    plan.equal.iter().map(|(inner, _)| inner),
                    &pair(env, row, Behind::Nothing),
                );
                self.index.remove(key, row);
            }
            return;
        }
        for (rows, entering) in [(&change.new, true), (&change.old, false)] {
            for row in rows {
                let scope = pair(env, row, Behind::Nothing);
                if !plan
                    .condition
                    .as_ref()
                    .is_none_or(|condition| condition.eval(&scope).is_true())
                {
                    continue;
                }
                let movement = Movement {
                    row: row.id(),
                    now_ms: env.now_ms,
                };
                if !plan.group_by.is_empty() {
                    let key = Value::List(plan.group_by.iter().map(|key| key.eval(&scope)).collect());
                    self.absorb_in_group(plan, key, row, movement, entering, &scope);
                    continue;
                }
                if entering {
                    self.row_count += 1;
                    self.group.enter(&plan.aggregates, movement, &scope);
                } else {
                    self.row_count = self.row_count.saturating_sub(1);
                    self.group.leave(&plan.aggregates, movement, &scope);
                }
                if let (true, Some(column)) = (plan.aggregates.is_empty(), &plan.column) {
                    let value = column.eval(&scope);
                    if entering {
                        *self.values.entry(value).or_insert(0) += 1;
                    } else if let Some(count) = self.values.get_mut(&value) {
                        *count -= 1;
                        if *count == 0 {
                            self.values.swap_remove(&value);
                        }
                    }
                }
            }
        }
    }

    /// Takes a row into the aggregates of its group, or out of them.
    fn absorb_in_group(
        &mut self,
        plan: &SubqueryPlan,
        key: Value,
        row: &Row,
        movement: Movement,
        entering: bool,
        scope: &dyn Scope,
    ) {
        if entering {
            let (group, count, last) = self
                .by_key
                .entry(key)
                .or_insert_with(|| (Group::new(&plan.aggregates), 0, None));
            *count += 1;
            *last = Some(row.clone());
            group.enter(&plan.aggregates, movement, scope);
        } else if let Some((group, count, _)) = self.by_key.get_mut(&key) {
            *count = count.saturating_sub(1);
            group.leave(&plan.aggregates, movement, scope);
            if *count == 0 {
                self.by_key.swap_remove(&key);
            }
        }
    }

    /// Takes a change into the aggregates of each key.
    fn absorb_by_key(&mut self, plan: &SubqueryPlan, change: &Change, env: &Env<'_>) {
        for (rows, entering) in [(&change.new, true), (&change.old, false)] {
            for row in rows {
                let scope = pair(env, row, Behind::Nothing);
                let key = key_in(plan.equal.iter().map(|(inner, _)| inner), &scope);
                let movement = Movement {
                    row: row.id(),
                    now_ms: env.now_ms,
                };
                let (group, count, _) = self
                    .by_key
                    .entry(key.clone())
                    .or_insert_with(|| (Group::new(&plan.aggregates), 0, None));
                if entering {
                    *count += 1;
                    group.enter(&plan.aggregates, movement, &scope);
                } else {
                    *count = count.saturating_sub(1);
                    group.leave(&plan.aggregates, movement, &scope);
                    if *count == 0 {
                        self.by_key.swap_remove(&key);
                    }
                }
            }
        }
    }

    /// Whether its answer is kept up as rows come and go.
    fn incremental(&self, plan: &SubqueryPlan) -> bool {
        !plan.correlated
            && plan.group_by.is_empty()
            && (self.window.is_some() || self.follows && matches!(plan.stream.source, SourcePlan::NamedWindow { .. }))
    }

    /// Takes up the rows that a named window has, to follow its changes from now on.
    pub(crate) fn follow(&mut self, plan: &SubqueryPlan, env: &Env<'_>) {
        if let SourcePlan::NamedWindow { window, .. } = &plan.stream.source {
            self.follows = true;
            if plan.correlated && plan.equal.is_empty() {
                self.window = Some(Window::new(&WindowPlan::KeepAll, env.now_ms));
            }
            let rows: Vec<Row> = env.shared.window_rows(*window).cloned().collect();
            self.window_changed(plan, *window, &rows, &[], env);
        }
    }

    /// A named window has changed.
    pub(crate) fn window_changed(
        &mut self,
        plan: &SubqueryPlan,
        named: CatalogId,
        new: &[Row],
        old: &[Row],
        env: &Env<'_>,
    ) {
        let SourcePlan::NamedWindow { window, conditions } = &plan.stream.source else {
            return;
        };
        if *window != named || !self.follows {
            return;
        }
        let passes = |row: &&Row| {
            let scope = pair(env, row, Behind::Nothing);
            conditions.iter().all(|condition| condition.eval(&scope).is_true())
        };
        let change = Change {
            updated: true,
            new: new.iter().filter(passes).cloned().collect(),
            old: old.iter().filter(passes).cloned().collect(),
        };
        if let Some(window) = &mut self.window {
            let moment = Moment {
                now_ms: env.now_ms,
                eval: &|expr, row| expr.eval(&pair(env, row, Behind::Nothing)),
            };
            for row in &change.new {
                window.insert(&WindowPlan::KeepAll, row, &moment, &mut Change::default());
            }
            if !change.old.is_empty() {
                window.remove(&WindowPlan::KeepAll, &change.old, &moment);
            }
        } else {
            self.absorb(plan, &change, env);
        }
    }

    /// Calls with each row that meets the condition, until told to stop.
    fn each(&self, plan: &SubqueryPlan, env: &Env<'_>, outer: &dyn Scope, visit: &mut dyn FnMut(&Row) -> bool) {
        let mut test = |row: &Row| {
            let scope = pair(env, row, Behind::Outer(outer));
            if plan
                .condition
                .as_ref()
                .is_none_or(|condition| condition.eval(&scope).is_true())
            {
                visit(row)
            } else {
                true
            }
        };
        match (&self.window, &plan.stream.source) {
            _ if !plan.equal.is_empty() && (self.window.is_some() || self.follows) => {
                let key = key_in(plan.equal.iter().map(|(_, outer)| outer), &outside(env, outer));
                for row in self.index.get(&key) {
                    if !test(row) {
                        return;
                    }
                }
            }
            (Some(window), _) => {
                for row in window.rows() {
                    if !test(row) {
                        return;
                    }
                }
            }
            (None, SourcePlan::NamedWindow { window, conditions }) => {
                let outside = outside(env, outer);
                let mut go_on = |row: &Row| {
                    let scope = pair(env, row, Behind::Nothing);
                    !conditions.iter().all(|condition| condition.eval(&scope).is_true()) || test(row)
                };
                // It sees the window as those see it that are told of its changes.
                let mut told = |row: &Row| env.shared.is_untold(*window, row) || go_on(row);
                let on = match env.shared.look_up_window(*window, &plan.equal, &outside) {
                    Some(mut rows) => rows.all(&mut told),
                    None => env.shared.window_rows(*window).all(&mut told),
                };
                if on {
                    env.shared.unmissed(*window).all(&mut go_on);
                }
            }
            (None, SourcePlan::Table { table, conditions }) => {
                let outside = outside(env, outer);
                let mut go_on = |row: &Row| {
                    let scope = pair(env, row, Behind::Nothing);
                    !conditions.iter().all(|condition| condition.eval(&scope).is_true()) || test(row)
                };
                let equal: Vec<(&Expr, &Expr)> = plan.equal.iter().map(|(own, other)| (own, other)).collect();
                match env.shared.look_up_table(*table, &equal, &outside) {
                    Some(row) => {
                        row.iter().all(&mut go_on);
                    }
                    None => {
                        env.shared.table_rows(env, *table).iter().all(&mut go_on);
                    }
                }
            }
            (None, _) => {}
        }
    }

    /// The groups of the rows that meet the condition, or one group of all, with a row of each.
    fn groups(&self, plan: &SubqueryPlan, env: &Env<'_>, outer: &dyn Scope) -> KeyMap<Value, (Group, Option<Row>)> {
        let mut groups: KeyMap<Value, (Group, Option<Row>)> = KeyMap::default();
        if plan.group_by.is_empty() {
            groups.insert(Value::Null, (Group::new(&plan.aggregates), None));
        }
        self.each(plan, env, outer, &mut |row| {
            let scope = pair(env, row, Behind::Outer(outer));
            let key = if plan.group_by.is_empty() {
                Value::Null
            } else {
                Value::List(plan.group_by.iter().map(|key| key.eval(&scope)).collect())
            };
            let (group, first) = groups
                .entry(key)
                .or_insert_with(|| (Group::new(&plan.aggregates), None));
            let movement = Movement {
                row: row.id(),
                now_ms: env.now_ms,
            };
            group.enter(&plan.aggregates, movement, &scope);
            first.get_or_insert_with(|| row.clone());
            true
        });
        groups
    }

    fn of_group(
        plan: &SubqueryPlan,
        env: &Env<'_>,
        outer: &dyn Scope,
        group: &Group,
        row: Option<&Row>,
    ) -> Option<Value> {
        let scope = PairScope {
            env: *env,
            event: row.and_then(|row| row.event(0)).map(|event| &**event),
            behind: Behind::Outer(outer),
            group: Some((group, &plan.aggregates)),
        };
        let passes = plan.having.as_ref().is_none_or(|having| having.eval(&scope).is_true());
        passes.then(|| {
            plan.column
                .as_ref()
                .map_or(Value::Bool(true), |column| column.eval(&scope))
        })
    }

    /// Its column's values for the rows that meet the condition.
    pub(crate) fn values(&self, plan: &SubqueryPlan, env: &Env<'_>, outer: &dyn Scope) -> Vec<Value> {
        if !plan.aggregates.is_empty() || !plan.group_by.is_empty() {
            if self.incremental(plan) {
                return Self::of_group(plan, env, outer, &self.group, None)
                    .into_iter()
                    .collect();
            }
            if aggregates_by_key(plan) && (self.window.is_some() || self.follows) {
                // What is null equals nothing.
                let key = key_in(plan.equal.iter().map(|(_, outer)| outer), &outside(env, outer));
                let known = match &key {
                    Value::Null => false,
                    Value::List(values) => !values.iter().any(Value::is_null),
                    _ => true,
                };
                let group = self.by_key.get(&key).filter(|_| known).map(|(group, ..)| group);
                return Self::of_group(plan, env, outer, group.unwrap_or(&self.group), None)
                    .into_iter()
                    .collect();
            }
            if !plan.correlated && !plan.group_by.is_empty() && (self.window.is_some() || self.follows) {
                let groups = self.by_key.values();
                return groups
                    .filter_map(|(group, _, row)| Self::of_group(plan, env, outer, group, row.as_ref()))
                    .collect();
            }
            return self
                .groups(plan, env, outer)
                .values()
                .filter_map(|(group, row)| Self::of_group(plan, env, outer, group, row.as_ref()))
                .collect();
        }
        if self.incremental(plan) {
            return self.values.keys().cloned().collect();
        }
        let mut values = Vec::new();
        self.each(plan, env, outer, &mut |row| {
            let scope = pair(env, row, Behind::Outer(outer));
            values.push(
                plan.column
                    .as_ref()
                    .map_or(Value::Bool(true), |column| column.eval(&scope)),
            );
            true
        });
        values
    }

    /// The value of its only row; null if there is none or more than one.
    pub(crate) fn scalar(&self, plan: &SubqueryPlan, env: &Env<'_>, outer: &dyn Scope) -> Value {
        if plan.aggregates.is_empty() && plan.group_by.is_empty() {
            if self.incremental(plan) {
                return match self.values.first() {
                    Some((value, _)) if self.row_count == 1 => value.clone(),
                    _ => Value::Null,
                };
            }
            let mut found = None;
            let mut several = false;
            self.each(plan, env, outer, &mut |row| {
                several = found.is_some();
                let scope = pair(env, row, Behind::Outer(outer));
                found = plan.column.as_ref().map(|column| column.eval(&scope));
                !several
            });
            return if several {
                Value::Null
            } else {
                found.unwrap_or_default()
            };
        }
        let mut values = self.values(plan, env, outer);
        if values.len() == 1 {
            values.swap_remove(0)
        } else {
            Value::Null
        }
    }

    /// Whether a row meets the condition.
    pub(crate) fn exists(&self, plan: &SubqueryPlan, env: &Env<'_>, outer: &dyn Scope) -> bool {
        if plan.aggregates.is_empty() && plan.group_by.is_empty() {
            if self.incremental(plan) {
                return self.row_count > 0;
            }
            let mut found = false;
            self.each(plan, env, outer, &mut |_| {
                found = true;
                false
            });
            return found;
        }
        !self.values(plan, env, outer).is_empty()
    }

    /// Whether its column holds the value, in three-valued logic.
    pub(crate) fn contains(&self, plan: &SubqueryPlan, env: &Env<'_>, outer: &dyn Scope, value: &Value) -> Value {
        if plan.aggregates.is_empty() && self.incremental(plan) {
            if self.values.is_empty() {
                return Value::Bool(false);
            }
            return match (value.is_null(), self.values.contains_key(value)) {
                (true, _) => Value::Null,
                (false, true) => Value::Bool(true),
                (false, false) if self.values.contains_key(&Value::Null) => Value::Null,
                (false, false) => Value::Bool(false),
            };
        }
        let values = self.values(plan, env, outer);
        if values.is_empty() {
            return Value::Bool(false);
        }
        if value.is_null() {
            return Value::Null;
        }
        if values.contains(value) {
            Value::Bool(true)
        } else if values.iter().any(Value::is_null) {
            Value::Null
        } else {
            Value::Bool(false)
        }
    }
}
