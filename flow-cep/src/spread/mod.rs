//! Statements on several workers: the halves of [`crate::plan::split`] at work.
//!
//! A [`Spread`] says where each statement of a module runs when there are so many *parts* (a part runs on one worker, which may
//! run several):
//!
//! ```text
//!   where rows are          exchange            after it                    one for all
//!   Local::share ── Share { part, channel } ──▶ Part::push   ── Portion ──▶ Merge::add
//!   filter, project,                            Part::anchor                Merge::next_until ──▶ Delivery
//!   hash the key                                Part::advance
//! ```
//!
//! - Statements whose rows can be kept apart by a key run in every part, each part with the rows whose key hashes to it.
//!   Statements with a column of their keys in common share the exchange, and with it windows and groups.
//! - Statements that answer each row by itself run in the part beside the [`Local`] half that has the row.
//! - The others run whole in one part, together with those that they feed or are fed by; where a module has named windows,
//!   tables or statements that act on such, all of it does.
//!
//! What comes out of a [`Merge`] equals what one [`Engine`](crate::Engine) gives for all rows, delivery by delivery, if
//!
//! - each part is pushed the rows of a channel in their order: by time, and those of one time in the same order that the places
//!   given to [`Merge::add`] have;
//! - before [`Part::advance`] moves the clock to a time, all rows before it, and all anchors before it, have been told to the part;
//! - [`Merge::next_until`] is called with a time that all parts have advanced to, when it has been given all that they gave.
//!
//! Rows of a delivery without `order by` are a set, in which order the parts' rows come. Limits hold for each part by itself.
//! Nothing here knows threads or sockets: how shares and portions travel is the caller's business.

mod hash;
mod local;
mod merge;
mod part;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

pub use local::{Local, Share};
pub use merge::Merge;
pub use part::{Part, Portion};

use crate::column::{Compiled, Scalar};
use crate::engine::Limits;
use crate::event_type::{EventType, arrow_type};
use crate::expr::{ContextProperty, Expr, Node};
use crate::plan::explain::{Cost, cost};
use crate::plan::split::{Exchange, FilterUse, Halves, linked, run_together, uses};
use crate::plan::{
    Action, Catalog, CatalogId, OutputColumn, OutputMoment, SelectPlan, SourcePlan, StatementPlan, WindowPlan,
};
use crate::row::visit::{expressions_of, expressions_of_context, expressions_of_window, visit};
use crate::syntax::ast::OutputKind;

/// Where the statements of a module run.
#[derive(Clone, Debug)]
pub struct Spread(Arc<Layout>);

#[derive(Debug)]
struct Layout {
    catalog: Arc<Catalog>,
    parts: usize,
    lanes: Vec<Lane>,
    channels: Vec<Channel>,
    statements: Vec<Statement>,
}

/// Statements that see the same rows.
#[derive(Debug)]
struct Lane {
    site: Site,
    /// The statements by their numbers in the module, and their plans after the exchange.
    statements: Vec<usize>,
    plans: Vec<StatementPlan>,
}

/// Where a lane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// In every part, each with its keys.
    EachByKey,
    /// In the part beside the half that has the row.
    Beside,
    /// In one part.
    Whole(usize),
}

/// The rows of one event type that go to a lane.
#[derive(Debug)]
struct Channel {
    lane: usize,
    event_type: CatalogId,
    /// The columns that are sent, in rising order, and their schema; the place of the time among them.
    columns: Vec<usize>,
    schema: SchemaRef,
    time: usize,
    conditions: Vec<Compiled>,
    /// Sets of conditions, by place, of which a row must meet one; none if all rows go.
    filters: Option<Vec<Vec<usize>>>,
    key: Vec<Compiled>,
    /// Statements whose clocks start with the first row that meets a set of conditions.
    anchors: Vec<(usize, Vec<usize>)>,
}

/// What a merge knows of a statement.
#[derive(Debug)]
struct Statement {
    name: Arc<str>,
    row_type: Arc<EventType>,
    /// Whether several parts give portions of one delivery.
    shared: bool,
    arrange: Option<Arrange>,
}

/// How rows of several parts are put into one order.
#[derive(Debug)]
struct Arrange {
    /// The columns to order by, which may lie behind those that are delivered, and whether the largest come first.
    keys: Vec<(usize, bool)>,
    limit: Option<usize>,
    offset: usize,
    /// Whether a delivery of no rows says something: that there were none when output was due.
    tells_nothing: bool,
}

/// A key by event type.
type Key = BTreeMap<CatalogId, Expr>;

impl Spread {
    /// Spreads statements over so many parts. With one part all run there, and rows pass as they are.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, plans: &[StatementPlan], parts: NonZeroUsize) -> Self {
        let parts = parts.get();
        let mut layout = Layout {
            parts,
            lanes: Vec::new(),
            channels: Vec::new(),
            statements: plans.iter().map(|plan| Statement::of(plan, &catalog)).collect(),
            catalog,
        };
        if parts == 1 || run_together(plans, &layout.catalog) {
            layout.add((Site::Whole(0), None), (0..plans.len()).collect(), plans);
            return Self(Arc::new(layout));
        }
        let halves = Halves::of_module(plans, &layout.catalog);
        let mut beside = Vec::new();
        let mut by_key: Vec<(usize, Vec<Key>)> = Vec::new();
        let mut whole = Vec::new();
        for (at, halves) in halves.iter().enumerate() {
            match halves.as_ref().map(|halves| (&halves.exchange, halves)) {
                Some((Exchange::Nowhere, _)) => beside.push(at),
                Some((Exchange::ByKey, halves)) => by_key.push((at, keys(halves))),
                Some((Exchange::OneWorker(_), _)) | None => whole.push(at),
            }
        }
        for (key, statements) in shared_keys(by_key) {
            layout.add((Site::EachByKey, Some(&key)), statements, plans);
        }
        if !beside.is_empty() {
            layout.add((Site::Beside, None), beside, plans);
        }
        let groups = linked(plans, &layout.catalog);
        for (part, statements) in balanced(&whole, &groups, plans, parts).into_iter().enumerate() {
            if !statements.is_empty() {
                layout.add((Site::Whole(part), None), statements, plans);
            }
        }
        Self(Arc::new(layout))
    }

    /// How many parts there are.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.0.parts
    }

    /// A half that runs where rows are, beside a part.
    #[must_use]
    pub fn local(&self, beside: usize) -> Local {
        Local::new(Arc::clone(&self.0), beside % self.0.parts)
    }

    /// The half of a part after the exchange. All parts must start at the same time.
    #[must_use]
    pub fn part(&self, part: usize, start_ms: i64, limits: &Limits) -> Part {
        Part::new(Arc::clone(&self.0), part, start_ms, limits)
    }

    /// What puts the parts' portions together. Places are what orders the rows of one time.
    #[must_use]
    pub fn merge<P: Ord>(&self) -> Merge<P> {
        Merge::new(Arc::clone(&self.0))
    }

    /// How many channels there are: [`Share::channel`] counts them.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.0.channels.len()
    }

    /// The schema of the rows of a channel, and which column is their time.
    #[must_use]
    pub fn channel_schema(&self, channel: usize) -> (&SchemaRef, usize) {
        let channel = &self.0.channels[channel];
        (&channel.schema, channel.time)
    }

    /// For each statement whether it runs in several parts, and else in which.
    #[must_use]
    pub fn sites(&self) -> Vec<(Arc<str>, Option<usize>)> {
        let mut sites: Vec<_> = self
            .0
            .statements
            .iter()
            .map(|of| (Arc::clone(&of.name), None))
            .collect();
        for lane in &self.0.lanes {
            if let Site::Whole(part) = lane.site {
                lane.statements.iter().for_each(|&at| sites[at].1 = Some(part));
            }
        }
        sites
    }
}

impl Layout {
    fn add(&mut self, (site, key): (Site, Option<&Key>), statements: Vec<usize>, plans: &[StatementPlan]) {
        let lane = self.lanes.len();
        let mut own: Vec<StatementPlan> = statements.iter().map(|&at| plans[at].clone()).collect();
        if site == Site::EachByKey {
            for (&at, plan) in statements.iter().zip(&mut own) {
                self.statements[at].shared = true;
                self.statements[at].arrange = arranged_later(plan);
            }
        }
        let used: Vec<_> = own.iter().map(|plan| uses(plan, &self.catalog)).collect();
        let types: BTreeSet<CatalogId> = used
            .iter()
            .flat_map(|uses| &uses.filters)
            .map(|of| of.event_type)
            .collect();
        for event_type in types {
            let of = &self.catalog.event_types[event_type];
            let Some(time) = of.time_column() else { continue };
            let all = statements.len() == self.statements.len() && matches!(site, Site::Whole(_));
            let columns = columns_used(&own, &self.catalog, event_type, all);
            let mut channel = Channel {
                lane,
                event_type,
                time: columns.iter().position(|&column| column == time).unwrap_or(0),
                schema: nullable(of.schema(), &columns),
                columns,
                conditions: Vec::new(),
                filters: None,
                key: Vec::new(),
                anchors: Vec::new(),
            };
            if !all {
                let mut known = Vec::new();
                let filters = used.iter().flat_map(|uses| &uses.filters);
                let filters = filters.filter(|filter| filter.event_type == event_type);
                channel.filters = filters
                    .map(|FilterUse { conditions, .. }| channel.set_of(conditions.iter(), of, &mut known))
                    .collect::<Option<Vec<_>>>()
                    .filter(|filters| filters.iter().all(|set| !set.is_empty()));
                let scalar = key.and_then(|key| key.get(&event_type)).and_then(Scalar::new);
                channel.key = scalar.map(|key| key.compile(of.schema())).into_iter().collect();
                if site == Site::EachByKey {
                    for (&at, plan) in statements.iter().zip(&own) {
                        let Some(conditions) = anchoring(plan, event_type) else {
                            continue;
                        };
                        if let Some(set) = channel.set_of(conditions.into_iter(), of, &mut known) {
                            channel.anchors.push((at, set));
                        }
                    }
                }
            }
            self.channels.push(channel);
        }
        self.lanes.push(Lane {
            site,
            statements,
            plans: own,
        });
    }

    /// Whether a lane runs in a part.
    fn runs(&self, lane: usize, part: usize) -> bool {
        match self.lanes[lane].site {
            Site::EachByKey | Site::Beside => true,
            Site::Whole(at) => at == part,
        }
    }
}

impl Channel {
    /// The places of conditions, which are compiled if they are new; none if one of them can only be evaluated by row.
    fn set_of<'a>(
        &mut self,
        conditions: impl Iterator<Item = &'a Expr>,
        of: &EventType,
        known: &mut Vec<Scalar>,
    ) -> Option<Vec<usize>> {
        let mut set = Vec::new();
        for condition in conditions {
            let scalar = Scalar::new(condition)?;
            let place = known.iter().position(|known| *known == scalar).unwrap_or_else(|| {
                self.conditions.push(scalar.compile(of.schema()));
                known.push(scalar);
                known.len() - 1
            });
            set.push(place);
        }
        Some(set)
    }
}

impl Statement {
    fn of(plan: &StatementPlan, catalog: &Catalog) -> Self {
        Self {
            name: Arc::from(plan.name.as_str()),
            row_type: crate::engine::row_type(plan, catalog),
            shared: false,
            arrange: None,
        }
    }
}

/// The columns of a schema, which may lack values.
fn nullable(schema: &Schema, columns: &[usize]) -> SchemaRef {
    let fields = columns.iter().map(|&column| schema.field(column));
    let fields: Vec<Field> = fields
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The keys, of one expression for each event type, that a statement's rows can be exchanged by.
fn keys(halves: &Halves) -> Vec<Key> {
    let width = halves.local.first().map_or(0, |part| part.key.len());
    let key = |position: usize| {
        let parts = halves.local.iter();
        parts
            .map(|part| (part.event_type, part.key[position].clone()))
            .collect()
    };
    (0..width).map(key).collect()
}

/// Few keys that serve all statements: always the one that serves most of the rest.
fn shared_keys(mut rest: Vec<(usize, Vec<Key>)>) -> Vec<(Key, Vec<usize>)> {
    let mut chosen = Vec::new();
    while let Some((_, candidates)) = rest.first() {
        let served = |key: &Key| rest.iter().filter(|(_, candidates)| candidates.contains(key)).count();
        let all = rest.iter().flat_map(|(_, candidates)| candidates);
        // Of those that serve as many the first.
        let best = all.rev().max_by_key(|&key| served(key)).or_else(|| candidates.first());
        let Some(best) = best.cloned() else { break };
        let (own, others) = rest
            .into_iter()
            .partition::<Vec<_>, _>(|(_, keys)| keys.contains(&best));
        rest = others;
        chosen.push((best, own.into_iter().map(|(at, _)| at).collect()));
    }
    chosen
}

/// Deals statements out to the parts, those that are linked together, the dearest first and each to the part that has least.
fn balanced(statements: &[usize], groups: &[usize], plans: &[StatementPlan], parts: usize) -> Vec<Vec<usize>> {
    let weight = |at: usize| match &plans[at].action {
        Action::Select(select) => match cost(select) {
            Cost::Filter => 1,
            Cost::Constant => 2,
            Cost::Hash => 4,
            Cost::Ordered => 6,
            Cost::Partners => 8,
        },
        Action::On(_) => 4,
        _ => 0,
    };
    let mut together: BTreeMap<usize, (u32, Vec<usize>)> = BTreeMap::new();
    for &at in statements {
        let (total, members) = together.entry(groups[at]).or_default();
        *total += weight(at);
        members.push(at);
    }
    let mut together: Vec<(u32, Vec<usize>)> = together.into_values().collect();
    together.sort_by_key(|(total, _)| std::cmp::Reverse(*total));
    let mut dealt = vec![(0, Vec::new()); parts];
    for (total, members) in together {
        if let Some((load, own)) = dealt.iter_mut().min_by_key(|(load, _)| *load) {
            *load += total;
            own.extend(members);
        }
    }
    let sorted = |(_, mut own): (u32, Vec<usize>)| {
        own.sort_unstable();
        own
    };
    dealt.into_iter().map(sorted).collect()
}

/// The columns of an event type that statements may look at, its time among them. Expressions number streams by their owner; to
/// be safe a column is taken if any expression reads a column of that number.
fn columns_used(plans: &[StatementPlan], catalog: &Catalog, event_type: CatalogId, all: bool) -> Vec<usize> {
    let of = &catalog.event_types[event_type];
    let mut whole = all;
    let mut columns: BTreeSet<usize> = of.time_column().into_iter().collect();
    let mut see = |expr: &Expr| {
        visit(expr, &mut |expr| match &expr.node {
            Node::Column { column, .. } | Node::Indexed { column, .. } | Node::Previous { column, .. } => {
                columns.insert(*column);
            }
            Node::Context(ContextProperty::Start { column, .. }) => {
                columns.insert(*column);
            }
            Node::Row(_) => whole = true,
            _ => {}
        });
    };
    plans.iter().for_each(|plan| expressions_of(plan, &mut see));
    catalog
        .contexts
        .iter()
        .for_each(|context| expressions_of_context(context, &mut see));
    catalog
        .windows
        .iter()
        .for_each(|window| expressions_of_window(&window.window, &mut see));
    let count = of.types().len();
    if whole {
        return (0..count).collect();
    }
    columns.into_iter().filter(|&column| column < count).collect()
}

/// The conditions on a row that starts the clocks of a statement, if its clocks start with a row.
fn anchoring(plan: &StatementPlan, event_type: CatalogId) -> Option<Vec<&Expr>> {
    let Action::Select(select) = &plan.action else {
        return None;
    };
    let [stream] = select.streams.as_slice() else {
        return None;
    };
    let SourcePlan::Events(filter) = &stream.source else {
        return None;
    };
    if filter.event_type != event_type || !Halves::of(plan)?.anchored {
        return None;
    }
    // A batch counts its time from rows that `where` drops, too.
    let condition = match stream.window {
        Some(WindowPlan::TimeBatch { .. }) => None,
        _ => select.condition.as_ref(),
    };
    Some(filter.conditions.iter().chain(condition).collect())
}

/// Leaves to the merge what concerns the rows of all parts: the order is kept, with its keys among the columns, and of the rows
/// as many as may be among the first.
fn arranged_later(plan: &mut StatementPlan) -> Option<Arrange> {
    let Action::Select(select) = &mut plan.action else {
        return None;
    };
    if select.order_by.is_empty() {
        return None;
    }
    let keys = add_order_keys(select);
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let arrange = Arrange {
        keys,
        limit: select.limit.map(count),
        offset: count(select.offset),
        tells_nothing: select
            .output
            .as_ref()
            .is_some_and(|output| matches!(output.when, OutputMoment::EveryMs(_)) && output.kind != OutputKind::First),
    };
    select.limit = select.limit.map(|limit| limit.saturating_add(select.offset));
    select.offset = 0;
    Some(arrange)
}

/// Selects what the rows are ordered by, where it is not selected already. Returns the columns of the order.
fn add_order_keys(select: &mut SelectPlan) -> Vec<(usize, bool)> {
    let mut keys = Vec::with_capacity(select.order_by.len());
    let mut fields: Vec<Field> = select
        .output_type
        .schema()
        .fields()
        .iter()
        .map(|of| (**of).clone())
        .collect();
    for key in &select.order_by {
        let known = select.columns.iter().position(|column| column.expr == key.expr);
        let place = known.unwrap_or_else(|| {
            let name = format!("order by {}", select.columns.len());
            fields.push(Field::new(&name, arrow_type(&key.expr.of), true));
            select.columns.push(OutputColumn {
                name,
                expr: key.expr.clone(),
            });
            select.columns.len() - 1
        });
        keys.push((place, key.descending));
    }
    if let Ok(output_type) = EventType::new(select.output_type.name(), Arc::new(Schema::new(fields)), None) {
        select.output_type = Arc::new(output_type);
    }
    keys
}
