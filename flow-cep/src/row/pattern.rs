//! Patterns: a tree of states that events and timers drive.
//!
//! Each node of the pattern makes a state when it begins. A state tells its parent that it has become true, and whether it
//! has thereby ended, or that it can no longer become true. Which filter states an event concerns is found by index: the
//! conditions on the event alone are tested once per filter, the equalities with tags select states by hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Scope};
use crate::plan::{CatalogId, FilterPlan, PatternNode, PatternPlan};
use crate::row::KeyMap;
use crate::row::event::{Event, EventRef, Part};
use crate::row::scope::{Behind, Env, PairScope};
use crate::value::Value;

/// The events matched so far, by tag.
pub(crate) type Tags = Arc<[Part]>;

type StateId = u64;
type NodeId = usize;

/// A pattern with its nodes in one list, the root first.
#[derive(Debug)]
pub(crate) struct Pattern {
    nodes: Vec<Node>,
    filters: Vec<NodeId>,
    tags: usize,
    suppress_overlapping: bool,
    discard_partials: bool,
}

#[derive(Debug)]
enum Node {
    Filter {
        tag: Option<usize>,
        filter: FilterPlan,
        number: usize,
        /// Whether it stands under `not`: an event that ends and completes a match ends it.
        negated: bool,
    },
    Every(NodeId),
    EveryDistinct {
        keys: Vec<Expr>,
        expiry_ms: Option<i64>,
        inner: NodeId,
    },
    FollowedBy(Vec<NodeId>),
    And(Vec<NodeId>),
    Or(Vec<NodeId>),
    Not(NodeId),
    Interval(i64),
    Within {
        ms: i64,
        max: Option<u64>,
        inner: NodeId,
    },
    While {
        condition: Expr,
        inner: NodeId,
    },
    Repeat {
        count: u64,
        inner: NodeId,
        tags: Vec<usize>,
    },
    Until {
        inner: NodeId,
        end: NodeId,
        tags: Vec<usize>,
    },
}

/// Whom a state tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Parent {
    Root,
    State(StateId),
    /// A repetition that is just starting it and only wants to know whether it is true at once.
    Starting,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    node: NodeId,
    parent: Parent,
    tags: Tags,
    /// Whether the tags are those of its parent, so that what is written into them holds for both.
    shares: bool,
    kind: Kind,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    /// Where it is indexed.
    Filter(Option<Value>),
    Every(Vec<StateId>),
    EveryDistinct(Vec<(StateId, Seen)>),
    FollowedBy(BTreeMap<StateId, usize>),
    /// The active child and the matches of each place; no matches once it has ended.
    And(Vec<Option<StateId>>, Vec<Vec<Tags>>),
    Or(Vec<Option<StateId>>),
    Not(Option<StateId>),
    /// When it is due.
    Interval(i64),
    Guard {
        child: Option<StateId>,
        due: Option<i64>,
        matches: u64,
    },
    Collect {
        matcher: Option<StateId>,
        until: Option<StateId>,
        count: u64,
        events: Vec<Vec<EventRef>>,
    },
}

/// The keys that an `every-distinct` has seen, until when each counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    until: KeyMap<Value, i64>,
    /// After how many more keys those that no longer count are forgotten.
    patience: usize,
}

impl Seen {
    /// Whether the key is new at this time; if so it is kept, unless there are too many.
    fn is_new(&mut self, key: Value, now: i64, expiry_ms: Option<i64>, limit: usize) -> bool {
        if self.until.get(&key).is_some_and(|until| *until > now) {
            return false;
        }
        if self.patience == 0 {
            self.until.retain(|_, until| *until > now);
            self.patience = self.until.len().max(64);
        }
        self.patience -= 1;
        if self.until.len() < limit || self.until.contains_key(&key) {
            self.until.insert(key, expiry_ms.map_or(i64::MAX, |ms| now + ms));
        }
        true
    }
}

/// The states of a pattern.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PatternState {
    states: KeyMap<StateId, State>,
    next: StateId,
    top: Option<StateId>,
    waiting: Vec<KeyMap<Value, BTreeSet<StateId>>>,
    timers: BTreeSet<(i64, StateId)>,
    started_true: bool,
    matches: Vec<Tags>,
    /// Whether states share the tags that they began with, as they do unless they are read from a checkpoint.
    #[serde(skip)]
    shares: bool,
    /// States refused since the last report because the limit was reached.
    pub(crate) refused: u64,
}

/// What a pattern works with.
#[derive(Clone, Copy)]
pub(crate) struct Matching<'a> {
    pub(crate) pattern: &'a Pattern,
    pub(crate) env: Env<'a>,
    pub(crate) max_states: usize,
}

impl Pattern {
    /// Lists the nodes of a plan.
    pub(crate) fn new(plan: &PatternPlan) -> Self {
        let mut pattern = Self {
            nodes: Vec::new(),
            filters: Vec::new(),
            tags: plan.tags.len(),
            suppress_overlapping: plan.suppress_overlapping,
            discard_partials: plan.discard_partials,
        };
        pattern.add(&plan.root, false);
        pattern
    }

    fn add(&mut self, plan: &PatternNode, negated: bool) -> NodeId {
        let id = self.nodes.len();
        // Holds the place, so that the root is first.
        self.nodes.push(Node::Interval(0));
        let node = match plan {
            PatternNode::Filter { tag, filter } => {
                self.filters.push(id);
                Node::Filter {
                    tag: *tag,
                    filter: filter.clone(),
                    number: self.filters.len() - 1,
                    negated,
                }
            }
            PatternNode::Every(inner) => Node::Every(self.add(inner, negated)),
            PatternNode::EveryDistinct { keys, expiry_ms, inner } => Node::EveryDistinct {
                keys: keys.clone(),
                expiry_ms: *expiry_ms,
                inner: self.add(inner, negated),
            },
            PatternNode::FollowedBy(parts) => Node::FollowedBy(self.add_all(parts, negated)),
            PatternNode::And(parts) => Node::And(self.add_all(parts, negated)),
            PatternNode::Or(parts) => Node::Or(self.add_all(parts, negated)),
            PatternNode::Not(inner) => Node::Not(self.add(inner, true)),
            PatternNode::IntervalMs(ms) => Node::Interval(*ms),
            PatternNode::Within { ms, max, inner } => Node::Within {
                ms: *ms,
                max: *max,
                inner: self.add(inner, negated),
            },
            PatternNode::While { condition, inner } => Node::While {
                condition: condition.clone(),
                inner: self.add(inner, negated),
            },
            PatternNode::Repeat { count, inner, tags } => Node::Repeat {
                count: *count,
                inner: self.add(inner, negated),
                tags: tags.clone(),
            },
            PatternNode::Until { inner, end, tags } => Node::Until {
                inner: self.add(inner, negated),
                end: self.add(end, negated),
                tags: tags.clone(),
            },
        };
        self.nodes[id] = node;
        id
    }

    fn add_all(&mut self, parts: &[PatternNode], negated: bool) -> Vec<NodeId> {
        parts.iter().map(|part| self.add(part, negated)).collect()
    }

    /// The event types that it listens to.
    pub(crate) fn event_types(&self) -> impl Iterator<Item = CatalogId> + '_ {
        self.filters.iter().filter_map(|id| match &self.nodes[*id] {
            Node::Filter { filter, .. } => Some(filter.event_type),
            _ => None,
        })
    }
}

/// The tags with an event under one of them.
fn with_event(tags: &Tags, tag: usize, event: &EventRef) -> Tags {
    let mut parts: Vec<Part> = tags.to_vec();
    if let Some(part) = parts.get_mut(tag) {
        *part = Part::One(event.clone());
    }
    parts.into()
}

/// What two sets of tags hold together; the second prevails.
fn merged(first: &Tags, second: &Tags) -> Tags {
    first
        .iter()
        .zip(second.iter())
        .map(|(first, second)| match second {
            Part::None => first.clone(),
            second => second.clone(),
        })
        .collect()
}

fn events_of(tags: &[Part]) -> impl Iterator<Item = u64> + '_ {
    tags.iter().flat_map(|part| {
        let events = match part {
            Part::None => &[][..],
            Part::One(event) => std::slice::from_ref(event),
            Part::Many(events) => events,
        };
        events.iter().map(|event| event.id)
    })
}

impl<'a> Matching<'a> {
    fn scope<'s>(&'s self, event: Option<&'s Event>, tags: &'s Tags) -> PairScope<'s>
    where
        'a: 's,
    {
        PairScope {
            env: self.env,
            event,
            behind: Behind::Tags(tags),
            group: None,
        }
    }
}

fn key_of<'e>(exprs: impl Iterator<Item = &'e Expr>, scope: &dyn Scope) -> Option<Value> {
    let mut values: Vec<Value> = exprs.map(|expr| expr.eval(scope)).collect();
    if values.iter().any(Value::is_null) {
        return None;
    }
    Some(if values.len() == 1 {
        values.swap_remove(0)
    } else {
        Value::List(values.into())
    })
}

impl PatternState {
    /// Begins the pattern.
    pub(crate) fn start(&mut self, m: Matching<'_>) {
        self.waiting = m.pattern.filters.iter().map(|_| KeyMap::default()).collect();
        let tags: Tags = std::iter::repeat_with(Part::default).take(m.pattern.tags).collect();
        let top = self.make(m, 0, Parent::Root, tags);
        self.top = Some(top);
        self.begin(m, top);
    }

    /// When the next timer is due.
    pub(crate) fn due(&self) -> Option<i64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Number of states.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The matches since the last call.
    pub(crate) fn take_matches(&mut self, m: Matching<'_>) -> Vec<Tags> {
        let mut matches = std::mem::take(&mut self.matches);
        if m.pattern.suppress_overlapping && matches.len() > 1 {
            let mut seen: BTreeSet<u64> = BTreeSet::new();
            matches.retain(|tags| {
                let overlaps = events_of(tags).any(|event| seen.contains(&event));
                if !overlaps {
                    seen.extend(events_of(tags));
                }
                !overlaps
            });
        }
        matches
    }

    /// An event arrives. `make` makes it an event of its own once a state wants it.
    pub(crate) fn event(&mut self, m: Matching<'_>, event_type: CatalogId, event: &EventRef) {
        if !self.shares {
            self.share_tags();
        }
        // What ends matches comes before what completes them, then the older states before the newer.
        let mut wanted: Vec<(bool, StateId)> = Vec::new();
        for id in &m.pattern.filters {
            let Node::Filter {
                filter,
                number,
                negated,
                ..
            } = &m.pattern.nodes[*id]
            else {
                continue;
            };
            if filter.event_type != event_type || self.waiting.get(*number).is_none_or(KeyMap::is_empty) {
                continue;
            }
            let alone = PairScope {
                env: m.env,
                event: Some(event),
                behind: Behind::Nothing,
                group: None,
            };
            if !filter
                .conditions
                .iter()
                .all(|condition| condition.eval(&alone).is_true())
            {
                continue;
            }
            let Some(key) = key_of(filter.equal.iter().map(|(own, _)| own), &alone) else {
                continue;
            };
            let Some(states) = self.waiting.get(*number).and_then(|waiting| waiting.get(&key)) else {
                continue;
            };
            if filter.correlated.is_empty() {
                wanted.extend(states.iter().map(|id| (!negated, *id)));
            } else {
                let correlated = states.iter().filter(|id| {
                    self.states.get(*id).is_some_and(|state| {
                        let scope = m.scope(Some(event), &state.tags);
                        filter
                            .correlated
                            .iter()
                            .all(|condition| condition.eval(&scope).is_true())
                    })
                });
                wanted.extend(correlated.map(|id| (!negated, *id)));
            }
        }
        wanted.sort_unstable();
        for (_, id) in wanted {
            self.found(m, id, event);
        }
    }

    fn found(&mut self, m: Matching<'_>, id: StateId, event: &EventRef) {
        let Some(state) = self.states.get(&id) else { return };
        let Node::Filter { tag, .. } = &m.pattern.nodes[state.node] else {
            return;
        };
        let tags = match tag {
            Some(tag) => with_event(&state.tags, *tag, event),
            None => state.tags.iter().cloned().collect(),
        };
        let parent = state.parent;
        // Under a repetition the filter goes on listening.
        let stays = match parent {
            Parent::State(parent) => self.states.get(&parent).is_some_and(|parent| {
                matches!(
                    m.pattern.nodes[parent.node],
                    Node::Every(_) | Node::EveryDistinct { .. } | Node::Repeat { .. } | Node::Until { .. }
                )
            }),
            _ => false,
        };
        if !stays {
            self.quit(m, id);
        }
        self.become_true(m, parent, id, tags, !stays);
    }

    /// Fires the timers due at this time.
    pub(crate) fn fire(&mut self, m: Matching<'_>) {
        if !self.shares {
            self.share_tags();
        }
        let now = m.env.now_ms;
        let due: Vec<(i64, StateId)> = self.timers.range(..=(now, StateId::MAX)).copied().collect();
        for entry in due {
            if !self.timers.remove(&entry) {
                continue;
            }
            let id = entry.1;
            let Some(state) = self.states.get_mut(&id) else {
                continue;
            };
            let parent = state.parent;
            match &mut state.kind {
                Kind::Interval(_) => {
                    let tags = state.tags.clone();
                    self.states.swap_remove(&id);
                    self.become_true(m, parent, id, tags, true);
                }
                Kind::Guard { due, .. } => {
                    *due = None;
                    self.guard_ends(m, id);
                }
                _ => {}
            }
        }
    }

    fn guard_ends(&mut self, m: Matching<'_>, id: StateId) {
        let Some(state) = self.states.get_mut(&id) else { return };
        let parent = state.parent;
        if let Kind::Guard { child, .. } = &mut state.kind
            && let Some(child) = child.take()
        {
            self.quit(m, child);
        }
        self.become_false(m, parent, id);
    }

    fn make(&mut self, m: Matching<'_>, node: NodeId, parent: Parent, tags: Tags) -> StateId {
        let id = self.next;
        self.next += 1;
        let kind = match &m.pattern.nodes[node] {
            Node::Filter { .. } => Kind::Filter(None),
            Node::Every(_) => Kind::Every(Vec::new()),
            Node::EveryDistinct { .. } => Kind::EveryDistinct(Vec::new()),
            Node::FollowedBy(_) => Kind::FollowedBy(BTreeMap::new()),
            Node::And(parts) => Kind::And(vec![None; parts.len()], vec![Vec::new(); parts.len()]),
            Node::Or(parts) => Kind::Or(vec![None; parts.len()]),
            Node::Not(_) => Kind::Not(None),
            Node::Interval(ms) => Kind::Interval(m.env.now_ms + ms),
            Node::Within { .. } | Node::While { .. } => Kind::Guard {
                child: None,
                due: None,
                matches: 0,
            },
            Node::Repeat { tags, .. } | Node::Until { tags, .. } => Kind::Collect {
                matcher: None,
                until: None,
                count: 0,
                events: vec![Vec::new(); tags.len()],
            },
        };
        self.states.insert(
            id,
            State {
                node,
                parent,
                tags,
                shares: false,
                kind,
            },
        );
        id
    }

    /// Makes the state of a child that begins with the tags of its parent; the caller notes it before beginning it.
    fn make_child(&mut self, m: Matching<'_>, node: NodeId, parent: StateId, tags: &Tags) -> StateId {
        let child = self.make(m, node, Parent::State(parent), tags.clone());
        if let Some(state) = self.states.get_mut(&child) {
            state.shares = true;
        }
        child
    }

    fn begin(&mut self, m: Matching<'_>, id: StateId) {
        let Some(state) = self.states.get(&id) else { return };
        let tags = state.tags.clone();
        match &m.pattern.nodes[state.node] {
            Node::Filter { filter, number, .. } => {
                let scope = m.scope(None, &tags);
                let Some(key) = key_of(filter.equal.iter().map(|(_, other)| other), &scope) else {
                    return;
                };
                if let Some(waiting) = self.waiting.get_mut(*number) {
                    waiting.entry(key.clone()).or_default().insert(id);
                }
                if let Some(Kind::Filter(indexed)) = self.states.get_mut(&id).map(|state| &mut state.kind) {
                    *indexed = Some(key);
                }
            }
            Node::Every(inner) | Node::EveryDistinct { inner, .. } => {
                // Esper starts the first child with the tags themselves and keeps a copy for those after it.
                let copy: Tags = tags.iter().cloned().collect();
                if let Some(state) = self.states.get_mut(&id) {
                    state.tags = copy;
                }
                self.repeat(m, id, *inner, &tags, None);
            }
            Node::FollowedBy(parts) => {
                let Some(first) = parts.first() else { return };
                let child = self.make_child(m, *first, id, &tags);
                if let Some(Kind::FollowedBy(children)) = self.kind(id) {
                    children.insert(child, 0);
                }
                self.begin(m, child);
            }
            Node::And(parts) | Node::Or(parts) => {
                let children: Vec<StateId> = parts.iter().map(|part| self.make_child(m, *part, id, &tags)).collect();
                if let Some(Kind::And(active, _) | Kind::Or(active)) = self.kind(id) {
                    *active = children.iter().copied().map(Some).collect();
                }
                for child in children {
                    self.begin(m, child);
                }
            }
            Node::Not(inner) => {
                let parent = state.parent;
                let child = self.make_child(m, *inner, id, &tags);
                if let Some(Kind::Not(active)) = self.kind(id) {
                    *active = Some(child);
                }
                self.begin(m, child);
                // True as long as what it negates is not.
                self.become_true(m, parent, id, tags, false);
            }
            Node::Interval(ms) => {
                let due = m.env.now_ms + ms;
                if *ms <= 0 {
                    let parent = state.parent;
                    self.states.swap_remove(&id);
                    self.become_true(m, parent, id, tags, true);
                } else {
                    self.timers.insert((due, id));
                }
            }
            Node::Within { inner, .. } | Node::While { inner, .. } => {
                let child = self.make_child(m, *inner, id, &tags);
                let until = match &m.pattern.nodes[self.states[&id].node] {
                    Node::Within { ms, .. } => Some(m.env.now_ms + ms),
                    _ => None,
                };
                if let Some(Kind::Guard { child: active, due, .. }) = self.kind(id) {
                    *active = Some(child);
                    *due = until;
                }
                self.timers.extend(until.map(|until| (until, id)));
                self.begin(m, child);
            }
            Node::Repeat { inner, .. } => {
                let child = self.make_child(m, *inner, id, &tags);
                if let Some(Kind::Collect { matcher, .. }) = self.kind(id) {
                    *matcher = Some(child);
                }
                self.begin(m, child);
            }
            Node::Until { inner, end, .. } => {
                // The end comes first: an event that is both ends and is not collected.
                let last = self.make_child(m, *end, id, &tags);
                let child = self.make_child(m, *inner, id, &tags);
                if let Some(Kind::Collect { matcher, until, .. }) = self.kind(id) {
                    *matcher = Some(child);
                    *until = Some(last);
                }
                self.begin(m, last);
                if self.states.contains_key(&child) {
                    self.begin(m, child);
                }
            }
        }
    }

    fn kind(&mut self, id: StateId) -> Option<&mut Kind> {
        self.states.get_mut(&id).map(|state| &mut state.kind)
    }

    /// Starts what a repetition repeats; what is true at once is ended again.
    fn repeat(&mut self, m: Matching<'_>, id: StateId, inner: NodeId, tags: &Tags, keys: Option<Seen>) {
        if self.states.len() >= m.max_states {
            self.refused += 1;
            return;
        }
        let child = self.make(m, inner, Parent::Starting, tags.clone());
        let before = std::mem::replace(&mut self.started_true, false);
        self.begin(m, child);
        let at_once = std::mem::replace(&mut self.started_true, before);
        if at_once {
            self.quit(m, child);
            return;
        }
        let Some(state) = self.states.get_mut(&child) else {
            return;
        };
        state.parent = Parent::State(id);
        let tags = state.tags.clone();
        if let Some(every) = self.states.get(&id) {
            let shares = Arc::ptr_eq(&every.tags, &tags);
            if let Some(state) = self.states.get_mut(&child) {
                state.shares = shares;
            }
        }
        match self.kind(id) {
            Some(Kind::Every(children)) => children.push(child),
            Some(Kind::EveryDistinct(children)) => children.push((child, keys.unwrap_or_default())),
            _ => self.quit(m, child),
        }
    }

    /// Ends a state and all below it.
    fn quit(&mut self, m: Matching<'_>, id: StateId) {
        let Some(state) = self.states.swap_remove(&id) else {
            return;
        };
        match state.kind {
            Kind::Filter(key) => {
                let Node::Filter { number, .. } = &m.pattern.nodes[state.node] else {
                    return;
                };
                if let (Some(key), Some(waiting)) = (key, self.waiting.get_mut(*number))
                    && let Some(states) = waiting.get_mut(&key)
                {
                    states.remove(&id);
                    if states.is_empty() {
                        waiting.swap_remove(&key);
                    }
                }
            }
            Kind::Every(children) => {
                for child in children {
                    self.quit(m, child);
                }
            }
            Kind::EveryDistinct(children) => {
                for (child, _) in children {
                    self.quit(m, child);
                }
            }
            Kind::FollowedBy(children) => {
                for child in children.into_keys() {
                    self.quit(m, child);
                }
            }
            Kind::And(children, _) | Kind::Or(children) => {
                for child in children.into_iter().flatten() {
                    self.quit(m, child);
                }
            }
            Kind::Not(child) => {
                if let Some(child) = child {
                    self.quit(m, child);
                }
            }
            Kind::Interval(due) => {
                self.timers.remove(&(due, id));
            }
            Kind::Guard { child, due, .. } => {
                if let Some(due) = due {
                    self.timers.remove(&(due, id));
                }
                if let Some(child) = child {
                    self.quit(m, child);
                }
            }
            Kind::Collect { matcher, until, .. } => {
                for child in [matcher, until].into_iter().flatten() {
                    self.quit(m, child);
                }
            }
        }
    }

    /// A child has become true; `ended` says that it is no more.
    fn become_true(&mut self, m: Matching<'_>, parent: Parent, from: StateId, tags: Tags, ended: bool) {
        let id = match parent {
            Parent::Root => {
                if ended {
                    self.top = None;
                }
                if m.pattern.discard_partials {
                    self.discard(m, &tags);
                }
                self.matches.push(tags);
                return;
            }
            Parent::Starting => {
                self.started_true = true;
                return;
            }
            Parent::State(id) => id,
        };
        let Some(state) = self.states.get_mut(&id) else { return };
        let own_parent = state.parent;
        let begun = state.tags.clone();
        match (&m.pattern.nodes[state.node], &mut state.kind) {
            (Node::Every(inner), Kind::Every(children)) => {
                if ended {
                    children.retain(|child| *child != from);
                }
                if !matches!(m.pattern.nodes[*inner], Node::Filter { .. }) {
                    self.repeat(m, id, *inner, &begun, None);
                }
                self.become_true(m, own_parent, id, tags, false);
            }
            (Node::EveryDistinct { keys, expiry_ms, inner }, Kind::EveryDistinct(children)) => {
                let scope = m.scope(None, &tags);
                let key = match keys.as_slice() {
                    [key] => key.eval(&scope),
                    keys => Value::List(keys.iter().map(|key| key.eval(&scope)).collect()),
                };
                let now = m.env.now_ms;
                let mut seen_before = false;
                let mut carried = Seen::default();
                if let Some(at) = children.iter().position(|(child, _)| *child == from) {
                    let seen = &mut children[at].1;
                    seen_before = !seen.is_new(key, now, *expiry_ms, m.max_states);
                    if ended {
                        carried = children.remove(at).1;
                    } else if !matches!(m.pattern.nodes[*inner], Node::Filter { .. }) {
                        carried.clone_from(seen);
                    }
                }
                if !matches!(m.pattern.nodes[*inner], Node::Filter { .. }) {
                    self.repeat(m, id, *inner, &begun, Some(carried));
                }
                if !seen_before {
                    self.become_true(m, own_parent, id, tags, false);
                }
            }
            (Node::FollowedBy(parts), Kind::FollowedBy(children)) => {
                let Some(at) = children.get(&from).copied() else { return };
                if ended {
                    children.remove(&from);
                }
                if let Some(next) = parts.get(at + 1) {
                    if self.states.len() >= m.max_states {
                        self.refused += 1;
                        return;
                    }
                    let child = self.make(m, *next, Parent::State(id), tags);
                    if let Some(Kind::FollowedBy(children)) = self.kind(id) {
                        children.insert(child, at + 1);
                    }
                    self.begin(m, child);
                } else {
                    let over = children.is_empty();
                    if over {
                        self.quit(m, id);
                    }
                    self.become_true(m, own_parent, id, tags, over);
                }
            }
            (Node::And(parts), Kind::And(children, matches)) => {
                let Some(at) = children.iter().position(|child| *child == Some(from)) else {
                    return;
                };
                if ended {
                    children[at] = None;
                }
                if !ended || !matches!(m.pattern.nodes[parts[at]], Node::Not(_)) {
                    matches[at].push(tags.clone());
                }
                if matches
                    .iter()
                    .enumerate()
                    .any(|(other, matches)| other != at && matches.is_empty())
                {
                    return;
                }
                let mut complete = vec![tags];
                for (other, matches) in matches.iter().enumerate() {
                    if other != at {
                        complete = complete
                            .iter()
                            .flat_map(|tags| matches.iter().map(move |other| merged(tags, other)))
                            .collect();
                    }
                }
                let over = children
                    .iter()
                    .zip(parts)
                    .all(|(child, part)| child.is_none() || matches!(m.pattern.nodes[*part], Node::Not(_)));
                if over {
                    self.quit(m, id);
                }
                for tags in complete {
                    self.become_true(m, own_parent, id, tags, over);
                }
            }
            (Node::Or(_), Kind::Or(children)) => {
                if ended {
                    for child in children.iter_mut().filter(|child| **child == Some(from)) {
                        *child = None;
                    }
                    self.quit(m, id);
                }
                self.become_true(m, own_parent, id, tags, ended);
            }
            (Node::Not(_), Kind::Not(child)) if ended => {
                *child = None;
                self.quit(m, id);
                self.become_false(m, own_parent, id);
            }
            (node, Kind::Guard { child, due, matches }) => {
                let had_quit = child.is_none();
                if ended {
                    *child = None;
                    if let Some(due) = due.take() {
                        self.timers.remove(&(due, id));
                    }
                }
                if had_quit {
                    return;
                }
                let passes = match node {
                    Node::Within { max: Some(max), .. } => {
                        *matches += 1;
                        *matches <= *max
                    }
                    Node::While { condition, .. } => condition.eval(&m.scope(None, &tags)).is_true(),
                    _ => true,
                };
                if passes {
                    if ended {
                        self.quit(m, id);
                    }
                    self.become_true(m, own_parent, id, tags, ended);
                } else {
                    self.guard_ends(m, id);
                }
            }
            (
                Node::Repeat {
                    count: wanted,
                    inner,
                    tags: collected,
                },
                Kind::Collect {
                    matcher, count, events, ..
                },
            ) => {
                collect(&tags, collected, events);
                *count += 1;
                if ended {
                    *matcher = None;
                }
                if count == wanted {
                    let tags = consolidate(&tags, collected, events);
                    self.quit(m, id);
                    self.become_true(m, own_parent, id, tags, true);
                } else if matcher.is_none() {
                    self.again(m, id, *inner, &begun);
                }
            }
            (
                Node::Until {
                    inner, tags: collected, ..
                },
                Kind::Collect {
                    matcher,
                    until,
                    count,
                    events,
                },
            ) => {
                if *until == Some(from) {
                    let all = consolidate(&tags, collected, events);
                    if ended {
                        *until = None;
                    }
                    self.quit(m, id);
                    // An end that has matched nothing of its own, as a timer, hands on what the repetition began with, and
                    // in Esper the events collected are written into just that: what begins anew in its place has them too.
                    if Arc::ptr_eq(&tags, &begun) {
                        self.begin_with(own_parent, &begun, &all);
                    }
                    let tags = all;
                    self.become_true(m, own_parent, id, tags, true);
                } else {
                    collect(&tags, collected, events);
                    *count += 1;
                    if ended {
                        *matcher = None;
                        self.again(m, id, *inner, &begun);
                    }
                }
            }
            _ => {}
        }
    }

    /// Lets the states above that began with the same tags have others.
    fn begin_with(&mut self, mut parent: Parent, begun: &Tags, tags: &Tags) {
        while let Parent::State(id) = parent
            && let Some(state) = self.states.get_mut(&id)
            && Arc::ptr_eq(&state.tags, begun)
        {
            state.tags = tags.clone();
            parent = state.parent;
        }
    }

    /// Lets states share the tags that they began with, which a restored state holds one by one.
    fn share_tags(&mut self) {
        // Parents are older than their children.
        let mut ids: Vec<StateId> = self.states.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(Parent::State(parent)) = self
                .states
                .get(&id)
                .filter(|state| state.shares)
                .map(|state| state.parent)
            else {
                continue;
            };
            let above = self.states.get(&parent).map(|parent| parent.tags.clone());
            if let (Some(above), Some(state)) = (above, self.states.get_mut(&id)) {
                state.tags = above;
            }
        }
        self.shares = true;
    }

    fn again(&mut self, m: Matching<'_>, id: StateId, inner: NodeId, tags: &Tags) {
        let child = self.make_child(m, inner, id, tags);
        if let Some(Kind::Collect { matcher, .. }) = self.kind(id) {
            *matcher = Some(child);
        }
        self.begin(m, child);
    }

    /// A child can no longer become true.
    fn become_false(&mut self, m: Matching<'_>, parent: Parent, from: StateId) {
        let id = match parent {
            Parent::Root => {
                self.top = None;
                self.quit(m, from);
                return;
            }
            Parent::Starting => {
                self.started_true = true;
                return;
            }
            Parent::State(id) => id,
        };
        self.quit(m, from);
        let Some(state) = self.states.get_mut(&id) else { return };
        let own_parent = state.parent;
        let begun = state.tags.clone();
        match (&m.pattern.nodes[state.node], &mut state.kind) {
            (Node::Every(inner), Kind::Every(children)) => {
                children.retain(|child| *child != from);
                self.repeat(m, id, *inner, &begun, None);
            }
            (Node::EveryDistinct { inner, .. }, Kind::EveryDistinct(children)) => {
                let carried = children
                    .iter()
                    .position(|(child, _)| *child == from)
                    .map(|at| children.remove(at).1);
                self.repeat(m, id, *inner, &begun, carried);
            }
            (_, Kind::FollowedBy(children)) => {
                children.remove(&from);
                if children.is_empty() {
                    self.quit(m, id);
                    self.become_false(m, own_parent, id);
                }
            }
            (_, Kind::And(..) | Kind::Guard { .. } | Kind::Collect { .. }) => {
                self.quit(m, id);
                self.become_false(m, own_parent, id);
            }
            (_, Kind::Or(children)) => {
                for child in children.iter_mut().filter(|child| **child == Some(from)) {
                    *child = None;
                }
                if children.iter().all(Option::is_none) {
                    self.quit(m, id);
                    self.become_false(m, own_parent, id);
                }
            }
            // What is negated can no longer happen: true for ever.
            (_, Kind::Not(child)) => *child = None,
            _ => {}
        }
    }

    /// Ends the partial matches that share an event with a match.
    fn discard(&mut self, m: Matching<'_>, tags: &Tags) {
        let matched: BTreeSet<u64> = events_of(tags).collect();
        let partial: Vec<StateId> = self
            .states
            .iter()
            .filter(|(_, state)| matches!(state.kind, Kind::Filter(_) | Kind::Interval(_)))
            .filter(|(_, state)| events_of(&state.tags).any(|event| matched.contains(&event)))
            .map(|(id, _)| *id)
            .collect();
        for id in partial {
            if let Some(state) = self.states.get(&id) {
                let parent = state.parent;
                self.quit(m, id);
                self.become_false(m, parent, id);
            }
        }
    }
}

/// Adds what a repetition's match holds under the collected tags.
fn collect(tags: &Tags, collected: &[usize], events: &mut [Vec<EventRef>]) {
    for (tag, events) in collected.iter().zip(events) {
        match tags.get(*tag) {
            Some(Part::One(event)) => events.push(event.clone()),
            Some(Part::Many(more)) => events.extend(more.iter().cloned()),
            _ => {}
        }
    }
}

/// The tags with all collected events.
fn consolidate(tags: &Tags, collected: &[usize], events: &[Vec<EventRef>]) -> Tags {
    let mut parts: Vec<Part> = tags.to_vec();
    for (tag, events) in collected.iter().zip(events) {
        if let (Some(part), false) = (parts.get_mut(*tag), events.is_empty()) {
            *part = Part::Many(events.clone().into());
        }
    }
    parts.into()
}
