//! Which statements must run together: those that one another's results reach.

use std::collections::BTreeSet;

use super::super::{
    Action, Catalog, CatalogId, Context, ContextKind, ContextPoint, FilterPlan, InsertTarget, MergeActionPlan,
    OnActionPlan, SelectPlan, SourcePlan, StatementPlan, StreamPlan,
};
use super::filters;
use crate::expr::{Expr, Node};
use crate::row::visit::{expressions_of, expressions_of_context, visit};

/// What statements have in common beside the events from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    Events(CatalogId),
    Window(CatalogId),
    Table(CatalogId),
    Variable(CatalogId),
}

/// A use that a statement makes of an event type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilterUse<'a> {
    pub(crate) event_type: CatalogId,
    /// What its events must meet to matter.
    pub(crate) conditions: &'a [Expr],
}

/// The uses of event types, and of what is shared.
#[derive(Debug, Default)]
pub(crate) struct Uses<'a> {
    pub(crate) filters: Vec<FilterUse<'a>>,
    shared: BTreeSet<Shared>,
    inserted: BTreeSet<CatalogId>,
}

/// What a statement reads, fills and sets.
pub(crate) fn uses<'a>(plan: &'a StatementPlan, catalog: &'a Catalog) -> Uses<'a> {
    let mut uses = Uses::default();
    match &plan.action {
        Action::Select(select) => uses.select(select),
        Action::On(on) => {
            uses.stream(&on.trigger);
            on.subqueries.iter().for_each(|subquery| uses.stream(&subquery.stream));
            on.target.iter().for_each(|&target| uses.insert(target));
            match &on.action {
                OnActionPlan::Delete | OnActionPlan::Update(_) => {}
                OnActionPlan::Select { select, .. } => uses.select(select),
                OnActionPlan::Set(assignments) => {
                    uses.shared
                        .extend(assignments.iter().map(|(variable, _)| Shared::Variable(*variable)));
                }
                OnActionPlan::Merge(clauses) => {
                    for action in clauses.iter().flat_map(|clause| &clause.actions) {
                        if let MergeActionPlan::Insert { target, .. } = action {
                            uses.insert(*target);
                        }
                    }
                }
            }
        }
        Action::CreateWindow(window) => drop(uses.shared.insert(Shared::Window(*window))),
        Action::CreateTable(_) | Action::CreateContext(_) | Action::CreateVariable(_) | Action::CreateSchema(_) => {}
    }
    let mut see = |expr: &Expr| {
        visit(expr, &mut |expr| match &expr.node {
            Node::TableColumn { table, .. } => drop(uses.shared.insert(Shared::Table(*table))),
            Node::Variable(variable) => drop(uses.shared.insert(Shared::Variable(*variable))),
            _ => {}
        });
    };
    expressions_of(plan, &mut see);
    let context = plan.context.and_then(|context| catalog.contexts.get(context));
    if let Some(context) = context {
        expressions_of_context(context, &mut see);
        uses.context(context);
    }
    uses
}

impl<'a> Uses<'a> {
    /// Whether the statement reads what it inserts.
    pub(crate) fn feeds_itself(&self) -> bool {
        self.filters
            .iter()
            .any(|filter| self.inserted.contains(&filter.event_type))
    }

    fn select(&mut self, select: &'a SelectPlan) {
        select.streams.iter().for_each(|stream| self.stream(stream));
        select
            .subqueries
            .iter()
            .for_each(|subquery| self.stream(&subquery.stream));
        select.insert.iter().for_each(|insert| self.insert(insert.target));
        let table = select.into_table.iter().map(|into| Shared::Table(into.table));
        self.shared.extend(table);
    }

    fn stream(&mut self, stream: &'a StreamPlan) {
        match &stream.source {
            SourcePlan::Events(filter) => self.filter(filter),
            SourcePlan::NamedWindow { window, .. } => drop(self.shared.insert(Shared::Window(*window))),
            SourcePlan::Table { table, .. } => drop(self.shared.insert(Shared::Table(*table))),
            SourcePlan::Pattern(pattern) => filters(&pattern.root)
                .into_iter()
                .for_each(|(_, filter)| self.filter(filter)),
        }
    }

    fn filter(&mut self, filter: &'a FilterPlan) {
        self.filters.push(FilterUse {
            event_type: filter.event_type,
            conditions: &filter.conditions,
        });
        self.shared.insert(Shared::Events(filter.event_type));
    }

    fn insert(&mut self, target: InsertTarget) {
        let shared = match target {
            InsertTarget::Events(event_type) => {
                self.inserted.insert(event_type);
                Shared::Events(event_type)
            }
            InsertTarget::Window(window) => Shared::Window(window),
            InsertTarget::Table(table) => Shared::Table(table),
        };
        self.shared.insert(shared);
    }

    fn context(&mut self, context: &'a Context) {
        match &context.kind {
            ContextKind::Keyed { streams, end } => {
                streams.iter().for_each(|(filter, _)| self.filter(filter));
                end.iter().for_each(|point| self.point(point));
            }
            ContextKind::Hash { streams, .. } => streams.iter().for_each(|(filter, ..)| self.filter(filter)),
            ContextKind::StartEnd { start, end, .. } => {
                self.point(start);
                end.iter().for_each(|point| self.point(point));
            }
            ContextKind::Category { filter, .. } => self.filter(filter),
        }
    }

    fn point(&mut self, point: &'a ContextPoint) {
        match point {
            ContextPoint::Filter { filter, .. } => self.filter(filter),
            ContextPoint::Pattern(pattern) => filters(&pattern.root)
                .into_iter()
                .for_each(|(_, filter)| self.filter(filter)),
            ContextPoint::Now | ContextPoint::AfterMs(_) => {}
        }
    }
}

/// For each statement the number of the group that it must run in: of the statement of the group that comes first.
pub(crate) fn linked(plans: &[StatementPlan], catalog: &Catalog) -> Vec<usize> {
    let uses: Vec<Uses<'_>> = plans.iter().map(|plan| uses(plan, catalog)).collect();
    let inserted: BTreeSet<CatalogId> = uses.iter().flat_map(|uses| &uses.inserted).copied().collect();
    // What comes only from outside is there for all, and so is what never changes.
    let set = |variable: CatalogId| {
        plans.iter().any(|plan| match &plan.action {
            Action::On(on) => matches!(&on.action, OnActionPlan::Set(all) if all.iter().any(|(of, _)| *of == variable)),
            _ => false,
        })
    };
    let links = |shared: &&Shared| match **shared {
        Shared::Events(event_type) => inserted.contains(&event_type),
        Shared::Variable(variable) => set(variable),
        Shared::Window(_) | Shared::Table(_) => true,
    };
    let mut groups: Vec<usize> = (0..plans.len()).collect();
    for at in 0..plans.len() {
        for shared in uses[at].shared.iter().filter(links) {
            for other in 0..at {
                if uses[other].shared.contains(shared) {
                    let (one, two) = (groups[at].min(groups[other]), groups[at].max(groups[other]));
                    groups
                        .iter_mut()
                        .filter(|group| **group == two)
                        .for_each(|group| *group = one);
                }
            }
        }
    }
    groups
}
