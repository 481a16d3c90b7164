//! Planned statements: every name resolved, every type checked, every duration in milliseconds.
//!
//! Streams in expressions are numbered by their owner: in a select, the streams of the from clause (for a pattern its tags, in
//! order of appearance; for `match_recognize` the measures are the one stream); in a filter, 0 is the event under test and
//! 1 + n the pattern's tag n; in a subquery, 0 is its own stream and 1 + n the outer statement's stream n; in an on-trigger,
//! 0 is the window or table and 1 the trigger.

mod bind;
mod context;
pub mod explain;
mod match_recognize;
mod naming;
mod on_trigger;
mod planner;
mod select;
mod source;
pub mod split;

pub use planner::Planner;

use std::sync::Arc;

use crate::event_type::EventType;
use crate::expr::{Aggregate, Expr};
use crate::syntax::ast::{JoinKind, MatchSkip, OutputKind, StreamSelector};

/// A number by which a plan refers to an event type, named window, table, context or variable of the [`Catalog`].
pub type CatalogId = usize;

/// What the statements planned so far have defined, with the event types from outside.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Event types: those from outside first, then those that `insert into` and `create schema` made.
    pub event_types: Vec<Arc<EventType>>,
    /// Named windows.
    pub windows: Vec<NamedWindow>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Contexts.
    pub contexts: Vec<Context>,
    /// Variables.
    pub variables: Vec<Variable>,
}

/// A planned statement.
#[derive(Clone, Debug)]
pub struct StatementPlan {
    /// Its name, given or made from its number.
    pub name: String,
    /// Its number in the module, from 0.
    pub number: usize,
    /// The context that partitions it.
    pub context: Option<CatalogId>,
    /// What it does.
    pub action: Action,
    /// What its state may grow with, beyond what windows bound.
    pub unbounded: Vec<Unbounded>,
}

/// What a statement does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Selects.
    Select(Box<SelectPlan>),
    /// Makes a named window.
    CreateWindow(CatalogId),
    /// Makes a table.
    CreateTable(CatalogId),
    /// Makes a context.
    CreateContext(CatalogId),
    /// Makes a variable.
    CreateVariable(CatalogId),
    /// Makes an event type.
    CreateSchema(CatalogId),
    /// Acts on a window, table or variables for each triggering event.
    On(Box<OnPlan>),
}

/// Why a statement's state has no bound of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unbounded {
    /// `group by` without a window: groups.
    Groups,
    /// `every` without `timer:within`: pattern instances.
    Patterns,
    /// `#keepall`, `#unique` and the like: rows.
    Rows,
    /// Context partitions by key.
    Partitions,
    /// Partial matches of `match_recognize` without `interval` or window.
    Matches,
}

/// A select.
#[derive(Clone, Debug)]
pub struct SelectPlan {
    /// The streams.
    pub streams: Vec<StreamPlan>,
    /// Rows by `match_recognize`, which takes the rows of `streams[0]`; then stream 0 of the rest is its measures.
    pub match_recognize: Option<Box<MatchPlan>>,
    /// The event types of the streams as the expressions below number them (tags of a pattern, measures, streams).
    pub scope: Vec<ScopeStream>,
    /// `where`.
    pub condition: Option<Expr>,
    /// Keys.
    pub group_by: Vec<Expr>,
    /// Aggregates, which expressions below refer to by number.
    pub aggregates: Vec<Aggregate>,
    /// The result's columns.
    pub columns: Vec<OutputColumn>,
    /// `distinct`.
    pub distinct: bool,
    /// Which rows are wanted.
    pub selector: StreamSelector,
    /// `having`.
    pub having: Option<Expr>,
    /// `output`.
    pub output: Option<OutputPlan>,
    /// `order by`.
    pub order_by: Vec<OrderKey>,
    /// `limit`.
    pub limit: Option<u64>,
    /// `offset`.
    pub offset: u64,
    /// How rows and groups become result rows.
    pub result: ResultKind,
    /// The subqueries that expressions refer to by number.
    pub subqueries: Vec<SubqueryPlan>,
    /// Where result rows are inserted.
    pub insert: Option<InsertPlan>,
    /// `into table`: the table whose aggregates this statement feeds; aggregate n feeds column `n.1`.
    pub into_table: Option<IntoTable>,
    /// The type of the result rows: names and types of `columns`.
    pub output_type: Arc<EventType>,
}

/// A stream as expressions see it.
#[derive(Clone, Debug)]
pub struct ScopeStream {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The type of its rows.
    pub event_type: Arc<EventType>,
    /// Whether it holds several events (`[n] a=..`, `a=.. until ..`, a variable that repeats).
    pub many: bool,
}

impl ScopeStream {
    /// A stream without a name, of single events.
    fn of(event_type: &Arc<EventType>) -> Self {
        Self {
            name: None,
            event_type: Arc::clone(event_type),
            many: false,
        }
    }
}

/// How rows become result rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultKind {
    /// No aggregates, no groups: each row as it is.
    Rows,
    /// Only aggregates: one row for all.
    OneRow,
    /// Aggregates with other columns, no groups: one row per event.
    RowPerEvent,
    /// Grouped, only keys and aggregates: one row per group.
    RowPerGroup,
    /// Grouped, with other columns: one row per event, with its group's aggregates.
    GroupedRowPerEvent,
}

/// One stream of a from clause.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Where its rows come from.
    pub source: SourcePlan,
    /// The type of its rows; for a pattern a row of its tags.
    pub event_type: Arc<EventType>,
    /// Its window.
    pub window: Option<WindowPlan>,
    /// How it joins those before it.
    pub join: JoinKind,
    /// The condition of an outer or inner join, over all streams.
    pub on: Option<Expr>,
    /// `unidirectional`.
    pub unidirectional: bool,
    /// Whether `prev` looks into it.
    pub uses_previous: bool,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum SourcePlan {
    /// Events of a type.
    Events(FilterPlan),
    /// Changes of a named window; the filter applies to them.
    NamedWindow {
        /// Which window.
        window: CatalogId,
        /// Conditions over stream 0.
        conditions: Vec<Expr>,
    },
    /// The rows of a table.
    Table {
        /// Which table.
        table: CatalogId,
        /// Conditions over stream 0.
        conditions: Vec<Expr>,
    },
    /// Matches of a pattern.
    Pattern(Box<PatternPlan>),
}

/// The events of a type that meet all conditions.
#[derive(Clone, Debug)]
pub struct FilterPlan {
    /// The event type.
    pub event_type: CatalogId,
    /// Conditions on the event alone, as stream 0.
    pub conditions: Vec<Expr>,
    /// Correlation with a pattern's tags (or a context): the event's side (stream 0 only) equal to the other side, which
    /// does not refer to stream 0. Neither side is null when they match.
    pub equal: Vec<(Expr, Expr)>,
    /// Further conditions over the event and tags.
    pub correlated: Vec<Expr>,
}

/// A window. Durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WindowPlan {
    /// `#time`.
    Time(i64),
    /// `#time_batch`.
    TimeBatch {
        /// The interval.
        ms: i64,
        /// The reference point.
        reference_ms: Option<i64>,
        /// Delivers empty batches too.
        force_update: bool,
        /// The first interval begins with the statement.
        start_eager: bool,
    },
    /// `#ext_timed`: the time is an expression over the row.
    ExtTimed {
        /// The row's time.
        time: Expr,
        /// The span.
        ms: i64,
    },
    /// `#ext_timed_batch`.
    ExtTimedBatch {
        /// The row's time.
        time: Expr,
        /// The interval.
        ms: i64,
        /// The reference point.
        reference_ms: Option<i64>,
    },
    /// `#length`.
    Length(u64),
    /// `#length_batch`.
    LengthBatch(u64),
    /// `#time_length_batch`.
    TimeLengthBatch {
        /// The interval.
        ms: i64,
        /// The number of rows.
        length: u64,
        /// Delivers empty batches too.
        force_update: bool,
        /// The first interval begins with the statement.
        start_eager: bool,
    },
    /// `#keepall`.
    KeepAll,
    /// `#unique`.
    Unique(Vec<Expr>),
    /// `#firstunique`.
    FirstUnique(Vec<Expr>),
    /// `#lastevent`.
    LastEvent,
    /// `#firstevent`.
    FirstEvent,
    /// `#firstlength`.
    FirstLength(u64),
    /// `#firsttime`.
    FirstTime(i64),
    /// `#sort`.
    Sort {
        /// Rows kept.
        length: u64,
        /// By what.
        keys: Vec<OrderKey>,
    },
    /// `#rank`.
    Rank {
        /// A newer row replaces one with equal keys.
        unique: Vec<Expr>,
        /// Rows kept.
        length: u64,
        /// By what.
        keys: Vec<OrderKey>,
    },
    /// `#time_accum`.
    TimeAccum(i64),
    /// `#time_order`.
    TimeOrder {
        /// The row's time.
        time: Expr,
        /// The span.
        ms: i64,
    },
    /// `#timetolive`: the row's time to leave.
    TimeToLive(Expr),
}

/// A key of an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// The key.
    pub expr: Expr,
    /// Largest first.
    pub descending: bool,
}

/// A column of the result.
#[derive(Clone, Debug)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// Its value.
    pub expr: Expr,
}

/// When what is output.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Which rows.
    pub kind: OutputKind,
    /// When.
    pub when: OutputMoment,
    /// Nothing before: so long after the statement begins, or so many events.
    pub after: Option<OutputDelay>,
    /// Also when the context partition ends.
    pub and_when_terminated: bool,
}

/// When output happens.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputMoment {
    /// With every row (only `after` was given).
    Always,
    /// Every so many milliseconds.
    EveryMs(i64),
    /// Every so many events.
    EveryEvents(u64),
    /// When the context partition ends.
    Terminated,
}

/// What `after` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputDelay {
    /// Milliseconds.
    Ms(i64),
    /// Events.
    Events(u64),
}

/// Where rows are inserted.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    /// Which rows.
    pub selector: StreamSelector,
    /// The target.
    pub target: InsertTarget,
    /// For each column of the target's type, the result column that fills it (else null).
    pub mapping: Vec<Option<usize>>,
}

/// What takes inserted rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertTarget {
    /// An event type.
    Events(CatalogId),
    /// A named window.
    Window(CatalogId),
    /// A table.
    Table(CatalogId),
}

/// `into table`.
#[derive(Clone, Debug)]
pub struct IntoTable {
    /// The table.
    pub table: CatalogId,
    /// For each aggregate of the statement that feeds the table: its number and the table's column.
    pub columns: Vec<(usize, usize)>,
}

/// A subquery.
#[derive(Clone, Debug)]
pub struct SubqueryPlan {
    /// Its stream (0), with the filter and window.
    pub stream: StreamPlan,
    /// `where`; refers to stream 0 and to outer streams from 1 on.
    pub condition: Option<Expr>,
    /// Parts of the condition of the form `inner = outer`, which also remain in `condition`: an index may serve them.
    pub equal: Vec<(Expr, Expr)>,
    /// `group by`.
    pub group_by: Vec<Expr>,
    /// Its aggregates.
    pub aggregates: Vec<Aggregate>,
    /// What it selects; none for `exists (select * ..)`.
    pub column: Option<Expr>,
    /// `having`.
    pub having: Option<Expr>,
    /// Whether it refers to outer streams.
    pub correlated: bool,
}

/// A pattern.
#[derive(Clone, Debug)]
pub struct PatternPlan {
    /// The tags, in order of appearance.
    pub tags: Vec<ScopeStream>,
    /// The root.
    pub root: PatternNode,
    /// `@SuppressOverlappingMatches`.
    pub suppress_overlapping: bool,
    /// `@DiscardPartialsOnMatch`.
    pub discard_partials: bool,
}

/// A node of a pattern.
#[derive(Clone, Debug)]
pub enum PatternNode {
    /// An event.
    Filter {
        /// The tag it is kept under.
        tag: Option<usize>,
        /// Which events.
        filter: FilterPlan,
    },
    /// `every`.
    Every(Box<Self>),
    /// `every-distinct`.
    EveryDistinct {
        /// The keys, over the tags as streams 1 + n.
        keys: Vec<Expr>,
        /// Keys are forgotten after so long.
        expiry_ms: Option<i64>,
        /// What is repeated.
        inner: Box<Self>,
    },
    /// `->`.
    FollowedBy(Vec<Self>),
    /// `and`.
    And(Vec<Self>),
    /// `or`.
    Or(Vec<Self>),
    /// `not`.
    Not(Box<Self>),
    /// `timer:interval`; the period may be computed from the tags.
    IntervalMs(i64),
    /// `where timer:within`.
    Within {
        /// The span.
        ms: i64,
        /// `withinmax`: at most so many matches.
        max: Option<u64>,
        /// What is guarded.
        inner: Box<Self>,
    },
    /// `while (condition)`, over the tags as streams 1 + n.
    While {
        /// The condition.
        condition: Expr,
        /// What is guarded.
        inner: Box<Self>,
    },
    /// `[n] P`.
    Repeat {
        /// How many.
        count: u64,
        /// What repeats.
        inner: Box<Self>,
        /// Tags that collect events within.
        tags: Vec<usize>,
    },
    /// `P until Q`.
    Until {
        /// What is collected.
        inner: Box<Self>,
        /// What ends it.
        end: Box<Self>,
        /// Tags that collect events within.
        tags: Vec<usize>,
    },
}

/// `match_recognize`. Variables are streams of the expressions, in order of first appearance in the pattern.
#[derive(Clone, Debug)]
pub struct MatchPlan {
    /// Keys, over the row as stream 0.
    pub partition_by: Vec<Expr>,
    /// The variables; `many` if they can hold several rows.
    pub variables: Vec<ScopeStream>,
    /// Conditions of the variables, over the variables (the row under test is its own variable's last); none matches all.
    pub define: Vec<Option<Expr>>,
    /// The measures: the aggregates below are over the rows of one variable.
    pub measures: Vec<OutputColumn>,
    /// Aggregates of measures, in terms of the one variable they speak of.
    pub aggregates: Vec<(usize, Aggregate)>,
    /// The pattern.
    pub pattern: RowPatternPlan,
    /// Whether all matches or only the first of those beginning at one row.
    pub all_matches: bool,
    /// Where matching goes on.
    pub skip: MatchSkip,
    /// `interval`.
    pub interval_ms: Option<i64>,
    /// `or terminated`.
    pub or_terminated: bool,
    /// Whether `prev` is used, and how far it looks back at most.
    pub previous_rows: usize,
    /// The type of the measures.
    pub output_type: Arc<EventType>,
}

/// A pattern over rows; variables by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowPatternPlan {
    /// A variable.
    Variable(usize),
    /// One after the other.
    Concat(Vec<Self>),
    /// One or the other, the first preferred.
    Alternation(Vec<Self>),
    /// Repeated.
    Repeat {
        /// What.
        inner: Box<Self>,
        /// At least.
        min: u32,
        /// At most.
        max: Option<u32>,
        /// As many as possible.
        greedy: bool,
    },
}

/// A named window.
#[derive(Clone, Debug)]
pub struct NamedWindow {
    /// Its name.
    pub name: String,
    /// The type of its rows.
    pub event_type: Arc<EventType>,
    /// The event type, of its name, of what is inserted into it: what a pattern that names it waits for.
    pub inserts: CatalogId,
    /// Which rows it keeps.
    pub window: WindowPlan,
    /// The context it belongs to.
    pub context: Option<CatalogId>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The type of its rows.
    pub event_type: Arc<EventType>,
    /// Its columns.
    pub columns: Vec<TableColumnPlan>,
    /// The columns of its primary key.
    pub keys: Vec<usize>,
    /// The context it belongs to.
    pub context: Option<CatalogId>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct TableColumnPlan {
    /// Its name.
    pub name: String,
    /// Aggregation state (arguments are of placeholder columns), or a plain value.
    pub aggregate: Option<Aggregate>,
}

/// A variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub of: crate::value::Type,
    /// Whether it never changes (then expressions hold its value).
    pub constant: bool,
    /// Its first value.
    pub value: crate::value::Value,
}

/// A context.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The number of the statement that makes it.
    pub number: usize,
    /// What partitions it.
    pub kind: ContextKind,
}

/// The kinds of context.
#[derive(Clone, Debug)]
pub enum ContextKind {
    /// One partition for each key.
    Keyed {
        /// The event types and their keys, over stream 0.
        streams: Vec<(FilterPlan, Vec<Expr>)>,
        /// What ends a partition.
        end: Option<ContextPoint>,
    },
    /// One partition from start to end, again and again.
    StartEnd {
        /// When it begins.
        start: ContextPoint,
        /// When it ends.
        end: Option<ContextPoint>,
        /// For partitions that begin while others last (`initiated by`): a new one begins only if none with these keys,
        /// over the beginning's events from stream 1 on, is there.
        initiated: Option<Vec<Expr>>,
    },
    /// A fixed number of partitions by hash.
    Hash {
        /// The event types and what is hashed, over stream 0.
        streams: Vec<(FilterPlan, HashFunction, Vec<Expr>)>,
        /// How many partitions.
        granularity: u64,
        /// Whether all exist from the start.
        preallocate: bool,
    },
    /// A partition for each condition.
    Category {
        /// The event type.
        filter: FilterPlan,
        /// Labels and conditions over stream 0.
        categories: Vec<(String, Expr)>,
    },
}

/// How a hash context hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashFunction {
    /// `consistent_hash_crc32`.
    Crc32,
    /// `hash_code`.
    HashCode,
}

/// When a context begins or ends.
#[derive(Clone, Debug)]
pub enum ContextPoint {
    /// At once.
    Now,
    /// After so many milliseconds.
    AfterMs(i64),
    /// With an event (filters of an end may refer to the beginning's event as stream 1).
    Filter {
        /// Which events.
        filter: FilterPlan,
        /// Its name in `context.NAME.x`.
        alias: Option<String>,
    },
    /// With the match of a pattern.
    Pattern(Box<PatternPlan>),
}

/// An on-trigger.
#[derive(Clone, Debug)]
pub struct OnPlan {
    /// What triggers: stream 1 of the expressions (for a pattern its tags from 1 on).
    pub trigger: StreamPlan,
    /// The streams as the expressions number them: the target at 0, the trigger from 1.
    pub scope: Vec<ScopeStream>,
    /// The window or table acted on; none for `on .. set`.
    pub target: Option<InsertTarget>,
    /// Which rows of the target.
    pub condition: Option<Expr>,
    /// Parts of the condition of the form `target = trigger`, which also remain in `condition`.
    pub equal: Vec<(Expr, Expr)>,
    /// What is done.
    pub action: OnActionPlan,
    /// The subqueries that expressions refer to by number.
    pub subqueries: Vec<SubqueryPlan>,
}

/// What an on-trigger does.
#[derive(Clone, Debug)]
pub enum OnActionPlan {
    /// Deletes the rows; the listener receives them.
    Delete,
    /// Selects from the rows: `streams` is empty there, the condition lies in [`OnPlan`].
    Select {
        /// The select list, groups, order ...
        select: Box<SelectPlan>,
        /// Deletes the rows selected.
        delete: bool,
    },
    /// Changes the rows: column and new value.
    Update(Vec<(usize, Expr)>),
    /// Merges: the first clause that applies is done.
    Merge(Vec<MergeClausePlan>),
    /// Sets variables.
    Set(Vec<(CatalogId, Expr)>),
}

/// A clause of a merge.
#[derive(Clone, Debug)]
pub struct MergeClausePlan {
    /// For matched rows, or when none matches.
    pub matched: bool,
    /// A further condition.
    pub condition: Option<Expr>,
    /// What is done.
    pub actions: Vec<MergeActionPlan>,
}

/// An action of a merge.
#[derive(Clone, Debug)]
pub enum MergeActionPlan {
    /// Inserts a row: values by column of the target.
    Insert {
        /// Where.
        target: InsertTarget,
        /// The value of each column of the target.
        values: Vec<Expr>,
        /// `where`.
        condition: Option<Expr>,
    },
    /// Changes the matched row.
    Update {
        /// Column and new value.
        assignments: Vec<(usize, Expr)>,
        /// `where`.
        condition: Option<Expr>,
    },
    /// Deletes the matched row.
    Delete {
        /// `where`.
        condition: Option<Expr>,
    },
}
