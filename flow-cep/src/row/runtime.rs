//! The statements of an engine that run by row, and how events, time and results pass between them.

mod effects;
mod saved;
mod timers;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{Limits, Refusal};
use crate::expr::{ContextProperty, Expr, Node};
use crate::plan::{
    Action, Catalog, CatalogId, ContextKind, InsertPlan, InsertTarget, SourcePlan, StatementPlan, StreamPlan,
};
use crate::row::context::{ContextRuntime, Partition, PartitionId, Transition};
use crate::row::event::{Event, EventRef, Row, Shape};
use crate::row::instance::{Instance, Select, Sink, World};
use crate::row::named::Shared;
use crate::row::order::{Listener, before_end, order};
use crate::row::result::{ResultRow, Results};
use crate::row::scope::Env;
use crate::row::trigger::{On, OnInstance};
use crate::row::visit::visit;
use crate::row::{KeyMap, WHOLE};
use crate::value::Value;
use turns::Turns;

/// The only partition of a statement without context.
const SOLE: PartitionId = PartitionId::MAX;

/// Results of a statement at an instant.
#[derive(Debug)]
pub(crate) struct RowDelivery {
    /// Which statement, by its place in the runtime.
    pub(crate) statement: usize,
    /// The engine's time.
    pub(crate) time_ms: i64,
    /// The runtime's cause then.
    pub(crate) cause: Option<usize>,
    /// Rows that are true now.
    pub(crate) new: Vec<Arc<[Value]>>,
    /// Rows that no longer are.
    pub(crate) old: Vec<Arc<[Value]>>,
}

#[derive(Debug)]
enum Kind {
    Select(Box<Select>),
    On(Box<On>),
    /// Defines something; a named window's statement delivers its changes.
    Definition,
}

#[derive(Debug)]
struct Statement {
    context: Option<CatalogId>,
    kind: Kind,
    insert: Option<InsertPlan>,
    sink: Sink,
}

impl Statement {
    /// What it listens to.
    fn listener(&self, statement: usize) -> Listener<'_> {
        let (streams, subqueries) = match &self.kind {
            Kind::Select(select) => (select.plan.streams.iter().collect(), select.plan.subqueries.as_slice()),
            Kind::On(on) => (vec![&on.plan.trigger], on.plan.subqueries.as_slice()),
            Kind::Definition => (Vec::new(), &[][..]),
        };
        Listener {
            statement,
            streams,
            subqueries,
            context: self.context,
            ordered: match &self.kind {
                Kind::Select(select) => !select.plan.order_by.is_empty(),
                Kind::On(on) => match &on.plan.action {
                    crate::plan::OnActionPlan::Select { select, .. } => !select.order_by.is_empty(),
                    _ => false,
                },
                Kind::Definition => false,
            },
        }
    }
}

/// What a checkpoint keeps of a statement.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StatementState {
    selects: KeyMap<PartitionId, Instance>,
    triggers: KeyMap<PartitionId, OnInstance>,
}

/// Who is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Target {
    Window(usize),
    Statement(usize, PartitionId),
    Context(usize),
}

/// What statements have inserted and is yet to be processed.
#[derive(Debug, Default)]
struct Inserted {
    /// Rows for named windows, which go before events.
    rows: VecDeque<(CatalogId, Vec<Value>)>,
    /// Events.
    events: VecDeque<(CatalogId, EventRef)>,
}

/// The runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    catalog: Arc<Catalog>,
    limits: Limits,
    shapes: Vec<Shape>,
    statements: Vec<Statement>,
    /// For each event type the statements, and the contexts, that listen to it.
    listeners: Vec<Vec<usize>>,
    context_listeners: Vec<Vec<usize>>,
    /// For each event type and context the statements that see an event before it ends their partition.
    before_end: Vec<Vec<Vec<usize>>>,
    /// For each named window the statements that read its changes.
    window_listeners: Vec<Vec<usize>>,
    /// For each named window the statement that made it.
    window_makers: Vec<Option<usize>>,
    contexts: Vec<ContextRuntime>,
    shared: Shared,
    states: Vec<StatementState>,
    now_ms: i64,
    /// The row from outside that is processed; none while time passes.
    pub(crate) cause: Option<usize>,
    next_event: u64,
    timers: BinaryHeap<Reverse<(i64, Target)>>,
    /// Who goes first of those that are due at one instant.
    turns: Turns,
    context_scheduled: Vec<Option<i64>>,
    window_scheduled: Vec<Option<i64>>,
    queue: Inserted,
    deliveries: VecDeque<RowDelivery>,
    /// Statements with results to deliver, in the order of their first.
    touched: Vec<usize>,
    routed: Vec<PartitionId>,
    /// Events of each type that nobody kept, to be used again.
    spare: Vec<Option<EventRef>>,
}

impl Sink {
    /// Delivers whole rows as new.
    pub(crate) fn whole_rows(&mut self, rows: &[Row]) {
        self.results.push(Results::whole(rows, &[]));
    }

    /// Delivers rows that have got new values.
    pub(crate) fn replaced_rows(&mut self, replaced: &[(Row, Vec<Value>)]) {
        let old: Vec<Row> = replaced.iter().map(|(row, _)| row.clone()).collect();
        let mut results = Results::whole(&[], &old);
        results.new = replaced
            .iter()
            .map(|(_, values)| ResultRow::plain(values.clone()))
            .collect();
        self.results.push(results);
    }
}

/// Which columns of each event type the statements read.
fn used_columns(catalog: &Catalog, statements: &[StatementPlan]) -> Vec<Vec<bool>> {
    // The plan's expressions number streams by their owner; rather than follow each numbering, a column is used if any
    // expression reads a column of that number. What is kept in vain is a value per row, not a wrong result.
    let mut numbers: Vec<bool> = Vec::new();
    let mut whole_rows = false;
    let mut see = |expr: &Expr| {
        visit(expr, &mut |expr| match &expr.node {
            Node::Column { column, .. } | Node::Indexed { column, .. } | Node::Previous { column, .. } => {
                if numbers.len() <= *column {
                    numbers.resize(*column + 1, false);
                }
                numbers[*column] = true;
            }
            // A column of the event that began a context's partition.
            Node::Context(ContextProperty::Start { column, .. }) => {
                if numbers.len() <= *column {
                    numbers.resize(*column + 1, false);
                }
                numbers[*column] = true;
            }
            Node::Row(_) => whole_rows = true,
            _ => {}
        });
    };
    for statement in statements {
        crate::row::visit::expressions_of(statement, &mut see);
    }
    for context in &catalog.contexts {
        crate::row::visit::expressions_of_context(context, &mut see);
    }
    for window in &catalog.windows {
        crate::row::visit::expressions_of_window(&window.window, &mut see);
    }
    catalog
        .event_types
        .iter()
        .map(|event_type| {
            (0..event_type.types().len())
                .map(|column| whole_rows || numbers.get(column).copied().unwrap_or(false))
                .collect()
        })
        .collect()
}

impl Runtime {
    /// Deploys statements at a time.
    pub(crate) fn new(catalog: Arc<Catalog>, plans: &[StatementPlan], now_ms: i64, limits: Limits) -> Self {
        let used = used_columns(&catalog, plans);
        let mut shapes = vec![Shape::Whole];
        shapes.extend(used.iter().map(|used| Shape::of_used(used)));
        let mut listeners = vec![Vec::new(); catalog.event_types.len()];
        let mut window_makers = vec![None; catalog.windows.len()];
        let mut window_listeners = vec![Vec::new(); catalog.windows.len()];
        let mut statements = Vec::with_capacity(plans.len());
        for (at, plan) in plans.iter().enumerate() {
            let mut insert = None;
            let kind = match &plan.action {
                Action::Select(select) => {
                    insert.clone_from(&select.insert);
                    let context = plan.context.and_then(|context| catalog.contexts.get(context));
                    Kind::Select(Box::new(Select::new((**select).clone(), context)))
                }
                Action::On(on) => {
                    if let crate::plan::OnActionPlan::Select { select, .. } = &on.action {
                        insert.clone_from(&select.insert);
                    }
                    Kind::On(Box::new(On::new((**on).clone())))
                }
                Action::CreateWindow(window) => {
                    if let Some(maker) = window_makers.get_mut(*window) {
                        *maker = Some(at);
                    }
                    Kind::Definition
                }
                Action::CreateTable(_)
                | Action::CreateContext(_)
                | Action::CreateVariable(_)
                | Action::CreateSchema(_) => Kind::Definition,
            };
            let mut types = match &kind {
                Kind::Select(select) => select.event_types(),
                Kind::On(on) => on.event_types(),
                Kind::Definition => Vec::new(),
            };
            types.sort_unstable();
            types.dedup();
            let streams: Vec<&StreamPlan> = match &kind {
                Kind::Select(select) => {
                    let subqueries = select.plan.subqueries.iter().map(|subquery| &subquery.stream);
                    select.plan.streams.iter().chain(subqueries).collect()
                }
                Kind::On(on) => {
                    let subqueries = on.plan.subqueries.iter().map(|subquery| &subquery.stream);
                    std::iter::once(&on.plan.trigger).chain(subqueries).collect()
                }
                Kind::Definition => Vec::new(),
            };
            for stream in streams {
                if let SourcePlan::NamedWindow { window, .. } = &stream.source
                    && let Some(listeners) = window_listeners.get_mut(*window)
                    && listeners.last() != Some(&at)
                {
                    listeners.push(at);
                }
            }
            for event_type in types {
                if let Some(listeners) = listeners.get_mut(event_type) {
                    listeners.push(at);
                }
            }
            statements.push(Statement {
                context: plan.context,
                kind,
                insert,
                sink: Sink::default(),
            });
        }
        let used_contexts: Vec<bool> = (0..catalog.contexts.len())
            .map(|context| plans.iter().any(|plan| plan.context == Some(context)))
            .collect();
        let mut context_listeners = vec![Vec::new(); catalog.event_types.len()];
        for (at, context) in catalog.contexts.iter().enumerate() {
            if !used_contexts[at] {
                continue;
            }
            for (event_type, listeners) in context_listeners.iter_mut().enumerate() {
                let listens = match &context.kind {
                    ContextKind::Keyed { streams, end } => {
                        end.is_some() || streams.iter().any(|(filter, _)| filter.event_type == event_type)
                    }
                    ContextKind::Hash { streams, .. } => {
                        streams.iter().any(|(filter, ..)| filter.event_type == event_type)
                    }
                    ContextKind::StartEnd { .. } => true,
                    ContextKind::Category { .. } => false,
                };
                if listens {
                    listeners.push(at);
                }
            }
        }
        let mut before_ends = Vec::with_capacity(listeners.len());
        for (event_type, listeners) in listeners.iter_mut().enumerate() {
            let described: Vec<Listener<'_>> = listeners.iter().map(|at| statements[*at].listener(*at)).collect();
            let before = |context| before_end(&catalog, event_type, context, &described);
            before_ends.push((0..catalog.contexts.len()).map(before).collect());
            let order = order(&catalog, event_type, &described);
            *listeners = order;
        }
        let states = plans.iter().map(|_| StatementState::default()).collect();
        let types = catalog.event_types.len();
        let turns = Turns::new(&catalog, plans);
        let mut runtime = Self {
            shared: Shared::new(&catalog, now_ms),
            contexts: catalog.contexts.iter().map(ContextRuntime::new).collect(),
            context_scheduled: vec![None; catalog.contexts.len()],
            window_scheduled: vec![None; catalog.windows.len()],
            catalog,
            limits,
            shapes,
            statements,
            listeners,
            context_listeners,
            before_end: before_ends,
            window_listeners,
            window_makers,
            states,
            now_ms,
            cause: None,
            next_event: 0,
            timers: BinaryHeap::new(),
            turns,
            queue: Inserted::default(),
            deliveries: VecDeque::new(),
            touched: Vec::new(),
            routed: Vec::new(),
            spare: vec![None; types],
        };
        runtime.index_windows();
        runtime.begin(&used_contexts);
        runtime
    }

    /// Makes the indexes of named windows that subqueries and on-triggers look rows up by.
    fn index_windows(&mut self) {
        for statement in &self.statements {
            let subqueries = match &statement.kind {
                Kind::Select(select) => &select.plan.subqueries,
                Kind::On(on) => {
                    if let Some(InsertTarget::Window(window)) = on.plan.target {
                        self.shared.index_window(window, &on.plan.equal);
                    }
                    &on.plan.subqueries
                }
                Kind::Definition => continue,
            };
            for subquery in subqueries {
                if let SourcePlan::NamedWindow { window, .. } = &subquery.stream.source {
                    self.shared.index_window(*window, &subquery.equal);
                }
            }
        }
    }

    fn begin(&mut self, used_contexts: &[bool]) {
        for (at, used) in used_contexts.iter().enumerate() {
            if *used {
                let transition = self.contexts[at].begin(Env::plain(self.now_ms, &self.shapes, &self.shared, None));
                self.apply_transition(at, transition);
                self.schedule_context(at);
            }
        }
        for at in 0..self.statements.len() {
            if self.statements[at].context.is_none() {
                self.start_instance(at, None);
            }
        }
        for window in 0..self.shared.windows.len() {
            self.schedule_window(window);
        }
        self.dispatch();
    }

    /// The engine's time.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The columns of an event type that statements read, in the order of an event's values.
    pub(crate) fn columns(&self, event_type: CatalogId) -> Vec<usize> {
        match self.shapes.get(event_type + 1) {
            Some(Shape::Used { columns, .. }) => columns.clone(),
            _ => Vec::new(),
        }
    }

    /// The statements that see the events of a type; none if more than statements do.
    pub(crate) fn listeners(&self, event_type: CatalogId) -> Option<&[usize]> {
        let contexts = self.context_listeners.get(event_type)?;
        self.listeners
            .get(event_type)
            .filter(|_| contexts.is_empty())
            .map(Vec::as_slice)
    }

    /// Whether anything listens to an event type.
    pub(crate) fn listens(&self, event_type: CatalogId) -> bool {
        self.listeners
            .get(event_type)
            .is_some_and(|listeners| !listeners.is_empty())
            || self
                .context_listeners
                .get(event_type)
                .is_some_and(|listeners| !listeners.is_empty())
    }

    /// The next delivery.
    pub(crate) fn next_delivery(&mut self) -> Option<RowDelivery> {
        self.deliveries.pop_front()
    }

    fn world<'a>(now_ms: i64, shapes: &'a [Shape], shared: &'a Shared, limits: &'a Limits) -> World<'a> {
        World {
            now_ms,
            shapes,
            shared,
            limits,
        }
    }

    fn start_instance(&mut self, at: usize, partition: Option<Partition>) {
        let id = partition.as_ref().map_or(SOLE, |partition| partition.id);
        let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
        let statement = &mut self.statements[at];
        let due = match &statement.kind {
            Kind::Select(select) => {
                let mut instance = Instance::new(select, partition, world, &mut statement.sink);
                instance.scheduled = instance.due();
                let due = instance.scheduled;
                self.states[at].selects.insert(id, instance);
                due
            }
            Kind::On(on) => {
                let mut instance = OnInstance::new(on, partition, world);
                instance.scheduled = instance.due();
                let due = instance.scheduled;
                self.states[at].triggers.insert(id, instance);
                due
            }
            Kind::Definition => None,
        };
        self.touch(at);
        if let Some(due) = due {
            self.timers.push(Reverse((due, Target::Statement(at, id))));
        }
    }

    fn apply_transition(&mut self, context: usize, transition: Transition) {
        for partition in transition.ended {
            for at in 0..self.statements.len() {
                if self.statements[at].context != Some(context) {
                    continue;
                }
                let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
                let statement = &mut self.statements[at];
                if let (Some(mut instance), Kind::Select(select)) =
                    (self.states[at].selects.swap_remove(&partition.id), &statement.kind)
                {
                    instance.terminate(select, world, &mut statement.sink);
                }
                self.states[at].triggers.swap_remove(&partition.id);
                self.touch(at);
            }
        }
        for partition in transition.begun {
            for at in 0..self.statements.len() {
                if self.statements[at].context == Some(context) {
                    self.start_instance(at, Some(partition.clone()));
                }
            }
        }
    }

    /// An event from outside arrives. `value` gives the values of [`Runtime::columns`] by their places.
    pub(crate) fn event(
        &mut self,
        event_type: CatalogId,
        count: usize,
        mut value: impl FnMut(usize) -> Value,
        wanted: impl Fn(usize) -> bool,
    ) {
        self.next_event += 1;
        let spare = self.spare[event_type]
            .take()
            .filter(|spare| Arc::strong_count(spare) == 1);
        let mut event = spare.unwrap_or_else(|| {
            Arc::new(Event {
                id: 0,
                shape: u32::try_from(event_type + 1).unwrap_or(WHOLE),
                values: vec![Value::Null; count].into(),
            })
        });
        if let Some(event) = Arc::get_mut(&mut event) {
            event.id = self.next_event;
            for (place, slot) in event.values.iter_mut().enumerate() {
                *slot = value(place);
            }
        }
        self.process(event_type, &event, wanted);
        self.dispatch();
        self.spare[event_type] = Some(event);
    }

    /// Notes a statement that may have something to give.
    fn touch(&mut self, at: usize) {
        let sink = &self.statements[at].sink;
        let nothing = sink.results.is_empty() && sink.inserts.is_empty();
        if !nothing && !self.touched.contains(&at) {
            self.touched.push(at);
        }
    }

    /// Shows an event to those of its listeners for whom it is `wanted`.
    fn process(&mut self, event_type: CatalogId, event: &EventRef, wanted: impl Fn(usize) -> bool) {
        for position in 0..self.context_listeners[event_type].len() {
            let context = self.context_listeners[event_type][position];
            if !self.before_end[event_type][context].is_empty() {
                self.process_before_end(context, event_type, event, &wanted);
            }
            let transition = self.contexts[context].event(
                event_type,
                event,
                Env::plain(self.now_ms, &self.shapes, &self.shared, None),
                self.limits.partitions,
            );
            if !transition.ended.is_empty() || !transition.begun.is_empty() {
                self.apply_transition(context, transition);
            }
            self.schedule_context(context);
        }
        for position in 0..self.listeners[event_type].len() {
            let at = self.listeners[event_type][position];
            if !wanted(at) {
                continue;
            }
            match self.statements[at].context {
                None => self.process_in(at, SOLE, event_type, event),
                Some(context) => {
                    let mut routed = std::mem::take(&mut self.routed);
                    routed.clear();
                    let env = Env::plain(self.now_ms, &self.shapes, &self.shared, None);
                    self.contexts[context].route(event_type, event, env, &mut routed);
                    for id in &routed {
                        self.process_in(at, *id, event_type, event);
                    }
                    self.routed = routed;
                }
            }
        }
    }

    /// Shows an event that is about to end a partition to the partition's statements that see it before.
    fn process_before_end(
        &mut self,
        context: usize,
        event_type: CatalogId,
        event: &EventRef,
        wanted: &impl Fn(usize) -> bool,
    ) {
        let env = Env::plain(self.now_ms, &self.shapes, &self.shared, None);
        if !self.contexts[context].ends_key(event_type, event, env) {
            return;
        }
        let mut routed = Vec::new();
        self.contexts[context].route(event_type, event, env, &mut routed);
        for position in 0..self.before_end[event_type][context].len() {
            let at = self.before_end[event_type][context][position];
            if wanted(at) {
                for id in &routed {
                    self.process_in(at, *id, event_type, event);
                }
            }
        }
    }

    fn process_in(&mut self, at: usize, id: PartitionId, event_type: CatalogId, event: &EventRef) {
        let world = Self::world(self.now_ms, &self.shapes, &self.shared, &self.limits);
        let statement = &mut self.statements[at];
        match &statement.kind {
            Kind::Select(select) => {
                if let Some(instance) = self.states[at].selects.get_mut(&id) {
                    instance.event(select, event_type, event, world, &mut statement.sink);
                }
                self.feed_table(at, id);
            }
            Kind::On(on) => {
                let triggers = match self.states[at].triggers.get_mut(&id) {
                    Some(instance) => instance.event(on, event_type, event, world),
                    None => Vec::new(),
                };
                self.act(at, id, &triggers);
            }
            Kind::Definition => {}
        }
        self.touch(at);
        self.schedule_statement(at, id);
    }

    /// Delivers what has come about, then lets what has been inserted be processed: rows for named windows first, events one
    /// after the other.
    fn dispatch(&mut self) {
        self.deliver();
        if self.queue.rows.is_empty() {
            self.tell_of_windows();
        }
        loop {
            while let Some((window, values)) = self.queue.rows.pop_front() {
                self.next_event += 1;
                let event = Arc::new(Event {
                    id: self.next_event,
                    shape: WHOLE,
                    values: values.into(),
                });
                self.row_into_window(window, &Row::One(event.clone()), Vec::new());
                // What is inserted is an event for the patterns that name the window.
                let inserts = self.catalog.windows[window].inserts;
                self.process(inserts, &event, |_| true);
                self.deliver();
                self.tell_of_windows();
            }
            let Some((event_type, event)) = self.queue.events.pop_front() else {
                return;
            };
            self.process(event_type, &event, |_| true);
            self.deliver();
            self.tell_of_windows();
        }
    }

    fn deliver(&mut self) {
        for position in 0..self.touched.len() {
            let at = self.touched[position];
            let sink = &mut self.statements[at].sink;
            if !sink.results.is_empty() {
                let mut new = Vec::new();
                let mut old = Vec::new();
                for results in sink.results.drain(..) {
                    new.extend(results.new.into_iter().map(|row| row.values));
                    old.extend(results.old.into_iter().map(|row| row.values));
                }
                self.deliveries.push_back(RowDelivery {
                    statement: at,
                    time_ms: self.now_ms,
                    cause: self.cause,
                    new,
                    old,
                });
            }
            for row in std::mem::take(&mut self.statements[at].sink.inserts) {
                let Some(insert) = &self.statements[at].insert else {
                    break;
                };
                let value = |column: &Option<usize>| column.and_then(|column| row.values.get(column).cloned());
                let values = insert
                    .mapping
                    .iter()
                    .map(|column| value(column).unwrap_or_default())
                    .collect();
                self.insert(insert.target, values);
            }
        }
        self.touched.clear();
    }

    /// Counts of what limits have refused since the last call, by statement.
    pub(crate) fn take_refusals(&mut self) -> Vec<(usize, Refusal, u64)> {
        let mut refusals = Vec::new();
        for (at, state) in self.states.iter_mut().enumerate() {
            let mut counts = [0; 3];
            for instance in state.selects.values_mut() {
                let refused = instance.take_refusals();
                counts[0] += refused.groups;
                counts[1] += refused.patterns;
                counts[2] += refused.rows;
            }
            for (kind, count) in [Refusal::Groups, Refusal::PatternStates, Refusal::WindowRows]
                .into_iter()
                .zip(counts)
            {
                if count > 0 {
                    refusals.push((at, kind, count));
                }
            }
            if let Some(context) = self.statements[at].context {
                let count = self.contexts[context].take_refused();
                if count > 0 {
                    refusals.push((at, Refusal::Partitions, count));
                }
            }
        }
        refusals
    }

    /// Rows, groups and pattern states held by a statement.
    pub(crate) fn size(&self, statement: usize) -> (usize, usize, usize) {
        let mut size = (0, 0, 0);
        for instance in self.states[statement].selects.values() {
            let (rows, groups, states) = instance.size();
            size = (size.0 + rows, size.1 + groups, size.2 + states);
        }
        size
    }
}
