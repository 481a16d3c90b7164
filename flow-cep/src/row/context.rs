//! Context partitions: what they are about, and how long they live.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::expr::{ContextProperty, Expr, Node};
use crate::plan::{Context, ContextKind, ContextPoint, FilterPlan, HashFunction};
use crate::row::KeyMap;
use crate::row::event::{Event, EventRef, Part};
use crate::row::pattern::{Matching, Pattern, PatternState, Tags};
use crate::row::scope::{Behind, Env, PairScope};
use crate::value::Value;

/// The number of a partition, never used twice.
pub(crate) type PartitionId = u64;

/// One partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Partition {
    /// Its number.
    pub(crate) id: PartitionId,
    name: String,
    keys: Vec<Value>,
    /// The columns that the keys are, where they are plain columns.
    key_columns: Vec<Option<usize>>,
    label: Option<String>,
    start_ms: i64,
    /// The event that began it, if one did.
    pub(crate) begun_by: Option<u64>,
    /// Whether that event is for the partition too, which it is not if it completed a pattern.
    inclusive: bool,
    /// When it ends by time.
    pub(crate) end_ms: Option<i64>,
    /// The events that began it.
    start: Vec<Part>,
}

/// The columns that the keys of a context are.
fn key_columns(kind: &ContextKind, keys: &[Value]) -> Vec<Option<usize>> {
    match kind {
        ContextKind::Keyed { streams, .. } if !keys.is_empty() => streams
            .first()
            .map(|(_, exprs)| exprs.iter().map(column_of).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The column of stream 0 that an expression is.
fn column_of(expr: &Expr) -> Option<usize> {
    match expr.node {
        Node::Column { stream: 0, column } => Some(column),
        _ => None,
    }
}

/// The columns of an event type that do not differ within a partition.
pub(crate) fn fixed_columns(context: &Context, event_type: usize) -> Vec<usize> {
    match &context.kind {
        ContextKind::Keyed { streams, .. } => streams
            .iter()
            .filter(|(filter, _)| filter.event_type == event_type)
            .flat_map(|(_, exprs)| exprs.iter().filter_map(column_of))
            .collect(),
        _ => Vec::new(),
    }
}

impl Partition {
    /// The value of a column that is a key of the partition.
    pub(crate) fn key_of_column(&self, column: usize) -> Option<&Value> {
        let at = self.key_columns.iter().position(|key| *key == Some(column))?;
        self.keys.get(at)
    }

    /// A property as statements see it.
    pub(crate) fn property(&self, env: &Env<'_>, property: &ContextProperty) -> Value {
        match property {
            ContextProperty::Id => i32::try_from(self.id).map_or(Value::Null, Value::Int),
            ContextProperty::Name => Value::text(&self.name),
            ContextProperty::Key(at) => self.keys.get(*at).cloned().unwrap_or_default(),
            ContextProperty::Label => self.label.as_deref().map_or(Value::Null, Value::text),
            ContextProperty::StartTime => Value::Long(self.start_ms),
            ContextProperty::EndTime => self.end_ms.map_or(Value::Null, Value::Long),
            ContextProperty::Start { tag, column } => match self.start.get(*tag) {
                Some(Part::One(event)) => env.column(event, *column),
                Some(Part::Many(events)) => events.first().map_or(Value::Null, |event| env.column(event, *column)),
                _ => Value::Null,
            },
        }
    }
}

/// What begins or ends partitions, ready to run.
#[derive(Debug)]
enum Point {
    Now,
    AfterMs(i64),
    Filter(FilterPlan),
    Pattern(Pattern),
}

/// A context ready to run.
#[derive(Debug)]
pub(crate) struct ContextRuntime {
    name: String,
    kind: ContextKind,
    start: Option<Point>,
    end: Option<Point>,
    state: ContextState,
}

/// What a checkpoint keeps of a context.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ContextState {
    next_id: PartitionId,
    partitions: KeyMap<Value, Partition>,
    /// The pattern that begins a partition, while it is waited for.
    start: Option<PatternState>,
    start_due: Option<i64>,
    /// The patterns that end partitions.
    ends: KeyMap<PartitionId, PatternState>,
    /// When which partitions, by key, are to end or their patterns are due.
    alarms: BTreeSet<(i64, Value)>,
    /// Partitions refused since the last report.
    pub(crate) refused: u64,
}

/// What an event or the passing of time does to a context.
#[derive(Debug, Default)]
pub(crate) struct Transition {
    /// Partitions that end.
    pub(crate) ended: Vec<Partition>,
    /// Partitions that begin.
    pub(crate) begun: Vec<Partition>,
}

fn compile(point: &ContextPoint) -> Point {
    match point {
        ContextPoint::Now => Point::Now,
        ContextPoint::AfterMs(ms) => Point::AfterMs(*ms),
        ContextPoint::Filter { filter, .. } => Point::Filter(filter.clone()),
        ContextPoint::Pattern(pattern) => Point::Pattern(Pattern::new(pattern)),
    }
}

/// Whether an event passes a filter that may speak of the events that began a partition.
fn passes(filter: &FilterPlan, event_type: usize, event: &Event, env: Env<'_>, start: &[Part]) -> bool {
    if filter.event_type != event_type {
        return false;
    }
    let scope = PairScope {
        env,
        event: Some(event),
        behind: Behind::Tags(start),
        group: None,
    };
    filter
        .conditions
        .iter()
        .all(|condition| condition.eval(&scope).is_true())
        && filter.equal.iter().all(|(own, other)| {
            let own = own.eval(&scope);
            !own.is_null() && own == other.eval(&scope)
        })
        && filter
            .correlated
            .iter()
            .all(|condition| condition.eval(&scope).is_true())
}

fn keys_of(exprs: &[Expr], event: &Event, env: Env<'_>) -> Vec<Value> {
    let scope = PairScope {
        env,
        event: Some(event),
        behind: Behind::Nothing,
        group: None,
    };
    exprs.iter().map(|expr| expr.eval(&scope)).collect()
}

/// CRC-32 as zip files have it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// The partition of hashed values, in the manner of Java.
fn bucket(function: HashFunction, values: &[Value], granularity: u64) -> u64 {
    let granularity = i64::try_from(granularity.max(1)).unwrap_or(i64::MAX);
    let java_hash = |value: &Value| -> i32 {
        match value {
            Value::Null | Value::List(_) | Value::Row(_) => 0,
            Value::Bool(value) => {
                if *value {
                    1231
                } else {
                    1237
                }
            }
            Value::Int(value) => *value,
            Value::Long(value) => fold(value.cast_unsigned()),
            Value::Double(value) => fold(value.to_bits()),
            Value::Text(text) => text.encode_utf16().fold(0_i32, |hash, unit| {
                hash.wrapping_mul(31)
                    .wrapping_add(i32::from(unit.cast_signed()) & 0xFFFF)
            }),
            Value::Address(octets) => octets.iter().fold(1_i32, |hash, octet| {
                hash.wrapping_mul(31).wrapping_add(i32::from(octet.cast_signed()))
            }),
        }
    };
    let hash: i64 = match function {
        HashFunction::Crc32 => {
            let mut bytes = Vec::new();
            for value in values {
                match value {
                    Value::Null => {}
                    Value::Bool(value) => bytes.push(u8::from(*value)),
                    Value::Int(value) => bytes.extend(value.to_be_bytes()),
                    Value::Long(value) => bytes.extend(value.to_be_bytes()),
                    Value::Double(value) => bytes.extend(value.to_be_bytes()),
                    Value::Text(text) => bytes.extend(text.as_bytes()),
                    Value::Address(octets) => bytes.extend(octets),
                    Value::List(_) | Value::Row(_) => bytes.extend(value.to_string().as_bytes()),
                }
            }
            i64::from(crc32(&bytes))
        }
        HashFunction::HashCode => match values {
            [value] => i64::from(java_hash(value)),
            values => i64::from(values.iter().fold(0_i32, |hash, value| {
                hash.wrapping_mul(31).wrapping_add(java_hash(value))
            })),
        },
    };
    (hash % granularity).unsigned_abs()
}

fn fold(bits: u64) -> i32 {
    let folded = bits ^ (bits >> 32);
    i32::from_ne_bytes([
        folded.to_ne_bytes()[0],
        folded.to_ne_bytes()[1],
        folded.to_ne_bytes()[2],
        folded.to_ne_bytes()[3],
    ])
}

impl ContextRuntime {
    /// Makes a context ready.
    pub(crate) fn new(context: &Context) -> Self {
        let (start, end) = match &context.kind {
            ContextKind::Keyed { end, .. } => (None, end.as_ref().map(compile)),
            ContextKind::StartEnd { start, end, .. } => (Some(compile(start)), end.as_ref().map(compile)),
            ContextKind::Hash { .. } | ContextKind::Category { .. } => (None, None),
        };
        Self {
            name: context.name.clone(),
            kind: context.kind.clone(),
            start,
            end,
            state: ContextState::default(),
        }
    }

    /// What a checkpoint keeps.
    pub(crate) fn state(&self) -> &ContextState {
        &self.state
    }

    /// Takes up a checkpoint.
    pub(crate) fn restore(&mut self, state: ContextState) {
        self.state = state;
    }

    /// Partitions refused since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.state.refused)
    }

    /// When something is due.
    pub(crate) fn due(&self) -> Option<i64> {
        let ends = self.state.alarms.first().map(|(due, _)| *due);
        let start = self.state.start.as_ref().and_then(PatternState::due);
        ends.into_iter().chain(start).chain(self.state.start_due).min()
    }

    fn open(
        &mut self,
        key: Value,
        keys: Vec<Value>,
        label: Option<String>,
        (start, begun_by): (Vec<Part>, Option<u64>),
        env: Env<'_>,
        transition: &mut Transition,
    ) {
        let id = self.state.next_id;
        self.state.next_id += 1;
        let end_ms = match &self.end {
            Some(Point::AfterMs(ms)) => Some(env.now_ms + ms),
            _ => None,
        };
        let partition = Partition {
            id,
            name: self.name.clone(),
            key_columns: key_columns(&self.kind, &keys),
            keys,
            label,
            start_ms: env.now_ms,
            begun_by,
            inclusive: self.overlaps() || !matches!(self.start, Some(Point::Pattern(_))),
            end_ms,
            start,
        };
        self.state.alarms.extend(end_ms.map(|end| (end, key.clone())));
        if let Some(Point::Pattern(pattern)) = &self.end {
            let mut state = PatternState::default();
            let matching = Matching {
                pattern,
                env,
                max_states: usize::MAX,
            };
            state.start(matching);
            self.state.alarms.extend(state.due().map(|due| (due, key.clone())));
            self.state.ends.insert(id, state);
        }
        self.state.partitions.insert(key, partition.clone());
        transition.begun.push(partition);
    }

    /// Waits for the beginning.
    fn await_start(&mut self, env: Env<'_>, transition: &mut Transition, immediately: bool) {
        match &self.start {
            Some(Point::Now) if immediately => {
                self.open(Value::Null, Vec::new(), None, (Vec::new(), None), env, transition);
            }
            Some(Point::AfterMs(ms)) => self.state.start_due = Some(env.now_ms + ms),
            Some(Point::Pattern(pattern)) => {
                let mut state = PatternState::default();
                let matching = Matching {
                    pattern,
                    env,
                    max_states: usize::MAX,
                };
                state.start(matching);
                self.state.start = Some(state);
            }
            Some(Point::Now | Point::Filter(_)) | None => {}
        }
    }

    /// The context is deployed.
    pub(crate) fn begin(&mut self, env: Env<'_>) -> Transition {
        let mut transition = Transition::default();
        match self.kind.clone() {
            ContextKind::Hash {
                granularity,
                preallocate: true,
                ..
            } => {
                for at in 0..granularity {
                    let key = Value::Long(i64::try_from(at).unwrap_or(i64::MAX));
                    self.open(key, Vec::new(), None, (Vec::new(), None), env, &mut transition);
                }
            }
            ContextKind::Category { categories, .. } => {
                for (label, _) in categories {
                    self.open(
                        Value::text(&label),
                        Vec::new(),
                        Some(label),
                        (Vec::new(), None),
                        env,
                        &mut transition,
                    );
                }
            }
            ContextKind::StartEnd { .. } => self.await_start(env, &mut transition, true),
            ContextKind::Keyed { .. } | ContextKind::Hash { .. } => {}
        }
        transition
    }

    fn close(&mut self, key: &Value, env: Env<'_>, transition: &mut Transition) {
        if let Some(mut partition) = self.state.partitions.swap_remove(key) {
            let pattern = self.state.ends.swap_remove(&partition.id);
            let due = pattern.and_then(|pattern| pattern.due());
            for due in [due, partition.end_ms].into_iter().flatten() {
                self.state.alarms.remove(&(due, key.clone()));
            }
            partition.end_ms = Some(env.now_ms);
            transition.ended.push(partition);
        }
    }

    /// Whether a new partition begins while others last.
    fn overlaps(&self) -> bool {
        matches!(self.kind, ContextKind::StartEnd { initiated: Some(_), .. })
    }

    /// Begins the partitions that matches of the beginning's pattern call for.
    fn open_matches(&mut self, matches: Vec<Tags>, begun_by: Option<u64>, env: Env<'_>, transition: &mut Transition) {
        if self.overlaps() {
            for tags in matches {
                self.open_overlapping(tags.to_vec(), begun_by, env, transition);
            }
        } else if let Some(tags) = matches.into_iter().next() {
            self.state.start = None;
            self.open(
                Value::Null,
                Vec::new(),
                None,
                (tags.to_vec(), begun_by),
                env,
                transition,
            );
        }
    }

    /// Begins a partition beside the others, unless one with its distinct keys is there.
    fn open_overlapping(&mut self, start: Vec<Part>, begun_by: Option<u64>, env: Env<'_>, transition: &mut Transition) {
        let ContextKind::StartEnd {
            initiated: Some(distinct),
            ..
        } = &self.kind
        else {
            return;
        };
        let key = if distinct.is_empty() {
            Value::Long(i64::try_from(self.state.next_id).unwrap_or(i64::MAX))
        } else {
            let scope = PairScope {
                env,
                event: None,
                behind: Behind::Tags(&start),
                group: None,
            };
            Value::List(distinct.iter().map(|key| key.eval(&scope)).collect())
        };
        if !self.state.partitions.contains_key(&key) {
            self.open(key, Vec::new(), None, (start, begun_by), env, transition);
        }
    }

    /// Time has come to a point that was due.
    pub(crate) fn fire(&mut self, env: Env<'_>) -> Transition {
        let mut transition = Transition::default();
        let now = env.now_ms;
        let mut over: Vec<Value> = Vec::new();
        while self.state.alarms.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, key)) = self.state.alarms.pop_first() else {
                break;
            };
            let Some(partition) = self.state.partitions.get(&key) else {
                continue;
            };
            if partition.end_ms.is_some_and(|end| end <= now) {
                over.push(key);
            } else if let (Some(Point::Pattern(pattern)), Some(state)) =
                (&self.end, self.state.ends.get_mut(&partition.id))
            {
                let matching = Matching {
                    pattern,
                    env,
                    max_states: usize::MAX,
                };
                state.fire(matching);
                self.state.alarms.extend(state.due().map(|due| (due, key.clone())));
                if !state.take_matches(matching).is_empty() {
                    over.push(key);
                }
            }
        }
        for key in &over {
            self.close(key, env, &mut transition);
        }
        if !over.is_empty() && matches!(self.kind, ContextKind::StartEnd { .. }) && !self.overlaps() {
            self.await_start(env, &mut transition, true);
            return transition;
        }
        if self.state.start_due.is_some_and(|due| due <= now) {
            self.state.start_due = None;
            self.open(Value::Null, Vec::new(), None, (Vec::new(), None), env, &mut transition);
        }
        if let (Some(Point::Pattern(pattern)), Some(state)) = (&self.start, &mut self.state.start) {
            let matching = Matching {
                pattern,
                env,
                max_states: usize::MAX,
            };
            state.fire(matching);
            let matches = state.take_matches(matching);
            self.open_matches(matches, None, env, &mut transition);
        }
        transition
    }

    /// The key of the only partition that an event can be for, in a context by key.
    fn own_key(&self, event_type: usize, event: &Event, env: Env<'_>) -> Option<Value> {
        let ContextKind::Keyed { streams, .. } = &self.kind else {
            return None;
        };
        let (_, keys) = streams.iter().find(|(filter, _)| filter.event_type == event_type)?;
        Some(Value::List(keys_of(keys, event, env).into()))
    }

    /// Whether an event by itself ends the partition of its key.
    fn ends(&self, key: &Value, event_type: usize, event: &Event, env: Env<'_>) -> bool {
        let (Some(Point::Filter(filter)), Some(partition)) = (&self.end, self.state.partitions.get(key)) else {
            return false;
        };
        passes(filter, event_type, event, env, &partition.start)
    }

    /// Whether an event ends a partition by itself, in a context by key.
    pub(crate) fn ends_key(&self, event_type: usize, event: &Event, env: Env<'_>) -> bool {
        let key = self.own_key(event_type, event, env);
        key.is_some_and(|key| self.ends(&key, event_type, event, env))
    }

    /// The partitions that an event ends.
    fn ended_by(&mut self, event_type: usize, event: &EventRef, env: Env<'_>) -> Vec<Value> {
        let mut over: Vec<Value> = Vec::new();
        match &self.end {
            Some(Point::Filter(filter)) if filter.event_type == event_type => {
                if let Some(key) = self.own_key(event_type, event, env) {
                    over.extend(self.ends(&key, event_type, event, env).then_some(key));
                } else {
                    let ends = |partition: &Partition| passes(filter, event_type, event, env, &partition.start);
                    let ended = self.state.partitions.iter().filter(|(_, partition)| ends(partition));
                    over.extend(ended.map(|(key, _)| key.clone()));
                }
            }
            Some(Point::Pattern(pattern)) => {
                // In a context by key a partition's pattern sees the events of its key only.
                let partitions = &self.state.partitions;
                let seeing = match self.own_key(event_type, event, env) {
                    Some(key) => partitions.get_index_of(&key).map_or(0..0, |at| at..at + 1),
                    None => 0..partitions.len(),
                };
                for (key, partition) in partitions.get_range(seeing).into_iter().flatten() {
                    if let Some(state) = self.state.ends.get_mut(&partition.id) {
                        let matching = Matching {
                            pattern,
                            env,
                            max_states: usize::MAX,
                        };
                        let before = state.due();
                        state.event(matching, event_type, event);
                        let due = state.due();
                        if due != before {
                            if let Some(before) = before {
                                self.state.alarms.remove(&(before, key.clone()));
                            }
                            self.state.alarms.extend(due.map(|due| (due, key.clone())));
                        }
                        if !state.take_matches(matching).is_empty() {
                            over.push(key.clone());
                        }
                    }
                }
            }
            _ => {}
        }
        over
    }

    /// An event arrives: partitions that it begins or ends.
    pub(crate) fn event(
        &mut self,
        event_type: usize,
        event: &EventRef,
        env: Env<'_>,
        max_partitions: usize,
    ) -> Transition {
        let mut transition = Transition::default();
        let over = self.ended_by(event_type, event, env);
        for key in &over {
            self.close(key, env, &mut transition);
        }
        let full = self.state.partitions.len() >= max_partitions;
        let mut begin: Vec<(Value, Vec<Value>, Vec<Part>)> = Vec::new();
        match &self.kind {
            ContextKind::Keyed { streams, .. } => {
                for (filter, keys) in streams {
                    if passes(filter, event_type, event, env, &[]) {
                        let keys = keys_of(keys, event, env);
                        let key = Value::List(keys.clone().into());
                        if !self.state.partitions.contains_key(&key) && !over.contains(&key) {
                            begin.push((key, keys, vec![Part::One(event.clone())]));
                        }
                    }
                }
            }
            ContextKind::Hash {
                streams, granularity, ..
            } => {
                for (filter, function, exprs) in streams {
                    if passes(filter, event_type, event, env, &[]) {
                        let at = bucket(*function, &keys_of(exprs, event, env), *granularity);
                        let key = Value::Long(i64::try_from(at).unwrap_or(i64::MAX));
                        if !self.state.partitions.contains_key(&key) {
                            begin.push((key, Vec::new(), Vec::new()));
                        }
                    }
                }
            }
            ContextKind::Category { .. } => {}
            ContextKind::StartEnd { .. } => {
                let overlaps = self.overlaps();
                if !over.is_empty() && !overlaps {
                    self.await_start(env, &mut transition, true);
                    // The event that ends a partition may be the one that begins the next.
                    if !matches!(self.start, Some(Point::Filter(_))) {
                        return transition;
                    }
                }
                if !overlaps && !self.state.partitions.is_empty() {
                    return transition;
                }
                match &self.start {
                    Some(Point::Filter(filter)) if passes(filter, event_type, event, env, &[]) => {
                        let start = vec![Part::One(event.clone())];
                        if !overlaps {
                            begin.push((Value::Null, Vec::new(), start));
                        } else if full {
                            self.state.refused += 1;
                        } else {
                            self.open_overlapping(start, Some(event.id), env, &mut transition);
                        }
                    }
                    Some(Point::Pattern(pattern)) => {
                        if let Some(state) = &mut self.state.start {
                            let matching = Matching {
                                pattern,
                                env,
                                max_states: usize::MAX,
                            };
                            state.event(matching, event_type, event);
                            let matches = state.take_matches(matching);
                            if full && !matches.is_empty() {
                                self.state.refused += 1;
                            } else {
                                self.open_matches(matches, Some(event.id), env, &mut transition);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        for (key, keys, start) in begin {
            if full {
                self.state.refused += 1;
            } else {
                self.open(key, keys, None, (start, Some(event.id)), env, &mut transition);
            }
        }
        transition
    }

    /// The partitions that an event of a type is for; all, if the context says nothing of the type.
    pub(crate) fn route(&self, event_type: usize, event: &Event, env: Env<'_>, into: &mut Vec<PartitionId>) {
        let mut known = false;
        match &self.kind {
            ContextKind::Keyed { streams, .. } => {
                for (filter, keys) in streams.iter().filter(|(filter, _)| filter.event_type == event_type) {
                    known = true;
                    if passes(filter, event_type, event, env, &[]) {
                        let key = Value::List(keys_of(keys, event, env).into());
                        into.extend(self.state.partitions.get(&key).map(|partition| partition.id));
                    }
                }
            }
            ContextKind::Hash {
                streams, granularity, ..
            } => {
                for (filter, function, exprs) in streams.iter().filter(|(filter, ..)| filter.event_type == event_type) {
                    known = true;
                    if passes(filter, event_type, event, env, &[]) {
                        let at = bucket(*function, &keys_of(exprs, event, env), *granularity);
                        let key = Value::Long(i64::try_from(at).unwrap_or(i64::MAX));
                        into.extend(self.state.partitions.get(&key).map(|partition| partition.id));
                    }
                }
            }
            ContextKind::Category { filter, categories } if filter.event_type == event_type => {
                known = true;
                if passes(filter, event_type, event, env, &[]) {
                    let scope = PairScope {
                        env,
                        event: Some(event),
                        behind: Behind::Nothing,
                        group: None,
                    };
                    for (label, condition) in categories {
                        if condition.eval(&scope).is_true() {
                            let partition = self.state.partitions.get(&Value::text(label));
                            into.extend(partition.map(|partition| partition.id));
                        }
                    }
                }
            }
            ContextKind::Category { .. } | ContextKind::StartEnd { .. } => {}
        }
        if !known {
            let partitions = self.state.partitions.values();
            let sees = |partition: &&Partition| partition.inclusive || partition.begun_by != Some(event.id);
            into.extend(partitions.filter(sees).map(|partition| partition.id));
        }
    }
}
