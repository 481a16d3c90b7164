//! The syntax tree of a module of statements.
//!
//! Spans are byte ranges of the text; they take no part in equality, so that a tree equals the tree of its own printed form.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::value::Value;

/// A byte range of the source text. All spans are equal to one another.
#[derive(Clone, Copy, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// A span from its ends.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The span from the start of this one to the end of another.
    #[must_use]
    pub const fn to(self, end: Self) -> Self {
        Self {
            start: self.start,
            end: end.end,
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Span {}

impl Hash for Span {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A name as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

impl Ident {
    /// A name that stands nowhere in the text.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            span: Span::default(),
        }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Statements separated by `;`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Module {
    /// The statements in order.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    /// `@name('x')` and others.
    pub annotations: Vec<Annotation>,
    /// `context NAME`.
    pub context: Option<Ident>,
    /// What it does.
    pub body: Body,
    /// Where it stands.
    pub span: Span,
}

/// `@Name('value')`; the value is null if none is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Annotation {
    /// The name as written, without `@`.
    pub name: Ident,
    /// The value between parentheses.
    pub value: Option<Value>,
}

impl Statement {
    /// The value of `@name`, if given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.annotation("name")
            .and_then(|annotation| annotation.value.as_ref())
            .and_then(Value::as_text)
    }

    /// The first annotation of that name, in any case of letters.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&Annotation> {
        self.annotations
            .iter()
            .find(|annotation| annotation.name.name.eq_ignore_ascii_case(name))
    }
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tree has few of these and lives as long as its planning"
)]
pub enum Body {
    /// `[insert into ..] select ..`.
    Select(Box<Select>),
    /// `create window`.
    CreateWindow(CreateWindow),
    /// `create table`.
    CreateTable(CreateTable),
    /// `create context`.
    CreateContext(CreateContext),
    /// `create [constant] variable`.
    CreateVariable(CreateVariable),
    /// `create schema`.
    CreateSchema(CreateSchema),
    /// `on TRIGGER delete | select | merge | update | set`.
    On(Box<OnTrigger>),
}

/// Which of a statement's two streams of rows: those that enter, those that leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StreamSelector {
    /// New rows (`istream`, the default).
    #[default]
    Insert,
    /// Old rows (`rstream`).
    Remove,
    /// Both (`irstream`).
    Both,
}

/// A select statement, also as subquery (where insert, output, order and limit are absent).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Select {
    /// `insert [istream|rstream|irstream] into NAME [(columns)]`.
    pub insert: Option<InsertInto>,
    /// `istream`, `rstream`, `irstream`.
    pub selector: StreamSelector,
    /// `distinct`.
    pub distinct: bool,
    /// The select list.
    pub items: Vec<SelectItem>,
    /// `into table NAME`.
    pub into_table: Option<Ident>,
    /// The streams; the first has [`JoinKind::Comma`] and no condition.
    pub from: Vec<FromItem>,
    /// `match_recognize ( .. )`.
    pub match_recognize: Option<Box<MatchRecognize>>,
    /// `where`.
    pub condition: Option<Expr>,
    /// `group by`.
    pub group_by: Vec<GroupItem>,
    /// `having`.
    pub having: Option<Expr>,
    /// `output`.
    pub output: Option<Output>,
    /// `order by`.
    pub order_by: Vec<OrderItem>,
    /// `limit n`.
    pub limit: Option<Expr>,
    /// `offset n`.
    pub offset: Option<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// `insert into`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InsertInto {
    /// Which rows are inserted.
    pub selector: StreamSelector,
    /// The event type, named window or table.
    pub target: Ident,
    /// The columns named, if any.
    pub columns: Vec<Ident>,
}

/// One item of a select list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SelectItem {
    /// `*`.
    Wildcard(Span),
    /// `a.*`, with an optional name.
    StreamWildcard {
        /// The stream's name.
        stream: Ident,
        /// `as NAME`.
        alias: Option<Ident>,
    },
    /// An expression.
    Expr {
        /// The expression.
        expr: Expr,
        /// `as NAME`.
        alias: Option<Ident>,
    },
}

/// One key of `group by`, or one of the groupings that make many levels of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GroupItem {
    /// An expression.
    Expr(Expr),
    /// `rollup(a, b)`.
    Rollup(Vec<Self>, Span),
    /// `cube(a, b)`.
    Cube(Vec<Self>, Span),
    /// `grouping sets(..)`.
    GroupingSets(Vec<Self>, Span),
    /// `(a, b)` within one of the above.
    Combined(Vec<Expr>, Span),
}

/// How a stream joins those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// A comma (also the first stream).
    #[default]
    Comma,
    /// `inner join` or `join`.
    Inner,
    /// `left outer join`.
    Left,
    /// `right outer join`.
    Right,
    /// `full outer join`.
    Full,
}

/// One stream of a from clause.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FromItem {
    /// How it joins.
    pub join: JoinKind,
    /// Where its rows come from.
    pub source: Source,
    /// `#time(10 sec)` and the like, old spellings normalised.
    pub views: Vec<View>,
    /// `as NAME`.
    pub alias: Option<Ident>,
    /// `unidirectional`.
    pub unidirectional: bool,
    /// `retain-union` or `retain-intersection`.
    pub retain: Option<Retain>,
    /// The condition after `on`: for the outer joins a conjunction of comparisons.
    pub on: Option<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// How several windows on one stream combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retain {
    /// `retain-union`.
    Union,
    /// `retain-intersection`.
    Intersection,
}

/// Where the rows of a stream come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "a tree has few of these and lives as long as its planning"
)]
pub enum Source {
    /// An event type, named window or table with filters.
    Filter(Filter),
    /// `pattern [ .. ]`.
    Pattern(PatternSource),
}

/// `Flow(proto = 6, bytes > 0)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The event type, named window or table.
    pub name: Ident,
    /// The conditions, all of which must hold.
    pub conditions: Vec<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// `pattern @X [ .. ]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatternSource {
    /// `@SuppressOverlappingMatches`, `@DiscardPartialsOnMatch`.
    pub annotations: Vec<Annotation>,
    /// The pattern.
    pub pattern: Pattern,
    /// Where it stands.
    pub span: Span,
}

/// A view over a stream, by the name of the current spelling: `time`, `length_batch`, `ext_timed`, `unique` ...
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The name, in lower case.
    pub name: Ident,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// What kind.
    pub kind: PatternKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PatternKind {
    /// `a=Flow(..)`.
    Filter {
        /// The tag.
        tag: Option<Ident>,
        /// The events that match.
        filter: Filter,
    },
    /// `every P`.
    Every(Box<Pattern>),
    /// `every-distinct(keys [, period]) P`.
    EveryDistinct {
        /// The keys and perhaps, as last, a time period.
        keys: Vec<Expr>,
        /// What starts again.
        inner: Box<Pattern>,
    },
    /// `P -> Q -> R`, at least two.
    FollowedBy(Vec<Pattern>),
    /// `P and Q`, at least two.
    And(Vec<Pattern>),
    /// `P or Q`, at least two.
    Or(Vec<Pattern>),
    /// `not P`.
    Not(Box<Pattern>),
    /// `P where timer:within(T)` and `P while (condition)`.
    Guard {
        /// What is guarded.
        inner: Box<Pattern>,
        /// The guard.
        guard: Guard,
    },
    /// `timer:interval(T)`.
    Interval(Expr),
    /// `timer:at(minutes, hours, days, months, weekdays [, seconds])`.
    At(Vec<Expr>),
    /// `[n] P`.
    Repeat {
        /// How many times.
        count: Expr,
        /// What repeats.
        inner: Box<Pattern>,
    },
    /// `P until Q`.
    Until {
        /// What is collected.
        inner: Box<Pattern>,
        /// What ends it.
        end: Box<Pattern>,
    },
}

/// What stops a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// `timer:within(T)`.
    Within(Expr),
    /// `timer:withinmax(T, n)`.
    WithinMax(Expr, Expr),
    /// `while (condition)`.
    While(Expr),
}

/// `match_recognize ( .. )`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatchRecognize {
    /// `partition by`.
    pub partition_by: Vec<Expr>,
    /// `measures`: expression and name.
    pub measures: Vec<(Expr, Ident)>,
    /// `all matches`.
    pub all_matches: bool,
    /// `after match skip ..`.
    pub skip: MatchSkip,
    /// `pattern ( .. )`.
    pub pattern: RowPattern,
    /// `interval T` and whether `or terminated` follows.
    pub interval: Option<(Expr, bool)>,
    /// `define X as condition`.
    pub define: Vec<(Ident, Expr)>,
    /// Where it stands.
    pub span: Span,
}

/// Where matching goes on after a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MatchSkip {
    /// `past last row` (the default).
    #[default]
    PastLastRow,
    /// `to next row`.
    ToNextRow,
    /// `to current row`.
    ToCurrentRow,
}

/// A regular expression over rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowPattern {
    /// A variable.
    Variable(Ident),
    /// One after the other, at least two.
    Concat(Vec<Self>),
    /// `P | Q`, at least two.
    Alternation(Vec<Self>),
    /// `P*`, `P+`, `P?`, `P{n,m}` and, with `greedy` false, their `?` forms.
    Repeat {
        /// What repeats.
        inner: Box<Self>,
        /// At least.
        min: u32,
        /// At most; none is no bound.
        max: Option<u32>,
        /// Whether as many as possible are taken.
        greedy: bool,
    },
    /// `match_recognize_permute(A, B)`.
    Permute(Vec<Self>),
}

/// `output ..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// `after T` or `after n events`.
    pub after: Option<OutputAfter>,
    /// Which rows.
    pub kind: OutputKind,
    /// When.
    pub when: OutputWhen,
    /// `and when terminated`.
    pub and_when_terminated: bool,
    /// Where it stands.
    pub span: Span,
}

/// `after ..` of an output clause.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutputAfter {
    /// A time period.
    Period(Expr),
    /// So many events.
    Events(Expr),
}

/// Which rows are output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// No keyword: every row.
    #[default]
    Default,
    /// `all`.
    All,
    /// `first`.
    First,
    /// `last`.
    Last,
    /// `snapshot`.
    Snapshot,
}

/// When rows are output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OutputWhen {
    /// Only `after` was given.
    Always,
    /// `every T`.
    Every(Expr),
    /// `every n events`.
    Events(Expr),
    /// `when terminated`.
    Terminated,
    /// `when condition`.
    Condition(Expr),
    /// `at (cron)`.
    At(Vec<Expr>),
}

/// One key of `order by`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderItem {
    /// The key.
    pub expr: Expr,
    /// `desc`.
    pub descending: bool,
}

/// `create window`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateWindow {
    /// Its name.
    pub name: Ident,
    /// Its windows.
    pub views: Vec<View>,
    /// Its columns.
    pub columns: WindowColumns,
}

/// What a named window holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WindowColumns {
    /// `as TYPE`, or `as select * from TYPE`.
    Like(Ident),
    /// `as select a, b as c from TYPE`.
    Select(Vec<SelectItem>, Ident),
    /// `(a int, b string)`.
    Columns(Vec<ColumnDefinition>),
}

/// A column with its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnDefinition {
    /// The column.
    pub name: Ident,
    /// The name of its type.
    pub type_name: Ident,
}

/// `create table`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateTable {
    /// Its name.
    pub name: Ident,
    /// Its columns.
    pub columns: Vec<TableColumn>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableColumn {
    /// The column.
    pub name: Ident,
    /// A plain type or an aggregation.
    pub kind: TableColumnKind,
    /// `primary key`.
    pub primary_key: bool,
}

/// What a table's column holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TableColumnKind {
    /// A value of a type.
    Type(Ident),
    /// The state of an aggregation: `sum(long)`, `count(*)`; type names stand as names in the call.
    Aggregation(Expr),
}

/// `create context NAME ..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateContext {
    /// Its name.
    pub name: Ident,
    /// What partitions it.
    pub kind: ContextKind,
}

/// The kinds of context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContextKind {
    /// `partition by a, b from Flow, ..`, with an optional end for each partition.
    Keyed {
        /// The keys of each event type.
        streams: Vec<KeyedStream>,
        /// `terminated by ..`.
        end: Option<ContextPoint>,
    },
    /// `start .. end ..`.
    StartEnd {
        /// When it begins.
        start: ContextPoint,
        /// When it ends; without one it never does.
        end: Option<ContextPoint>,
    },
    /// `initiated by [distinct(a, b)] .. terminated ..`: partitions that overlap.
    Initiated {
        /// One partition at a time for each of these keys.
        distinct: Vec<Expr>,
        /// When one begins.
        start: ContextPoint,
        /// When it ends; without one it never does.
        end: Option<ContextPoint>,
    },
    /// `coalesce by hash(a) from Flow, .. granularity n [preallocate]`.
    Hash {
        /// The hashed columns of each event type.
        streams: Vec<HashStream>,
        /// How many partitions.
        granularity: Expr,
        /// Whether all partitions exist from the start.
        preallocate: bool,
    },
    /// `group by condition as label, .. from Flow`.
    Category {
        /// Conditions and their labels.
        categories: Vec<(Expr, Ident)>,
        /// The event type, with filters.
        from: Filter,
    },
}

/// The keys of one event type of a keyed context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyedStream {
    /// The key columns.
    pub keys: Vec<Ident>,
    /// The event type, with filters.
    pub from: Filter,
}

/// The hash of one event type of a hash context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HashStream {
    /// `consistent_hash_crc32` or `hash_code`.
    pub function: Ident,
    /// What is hashed.
    pub arguments: Vec<Expr>,
    /// The event type, with filters.
    pub from: Filter,
}

/// When a context begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContextPoint {
    /// `@now`, or `@now and P` as the second.
    Now,
    /// `after T`.
    After(Expr),
    /// `Flow(..) as s`.
    Filter {
        /// The events.
        filter: Filter,
        /// `as NAME`.
        alias: Option<Ident>,
    },
    /// `pattern [ .. ]`.
    Pattern(PatternSource),
    /// `(cron)`.
    At(Vec<Expr>),
}

/// `create [constant] variable TYPE NAME = VALUE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateVariable {
    /// Whether it never changes.
    pub constant: bool,
    /// The name of its type.
    pub type_name: Ident,
    /// Its name.
    pub name: Ident,
    /// Its value.
    pub value: Option<Expr>,
    /// Its values, if it is a list: `TYPE[] NAME = {a, b}`.
    pub list: Option<Vec<Expr>>,
}

/// `create schema NAME (a int, ..)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateSchema {
    /// Its name.
    pub name: Ident,
    /// Its columns.
    pub columns: Vec<ColumnDefinition>,
    /// `as TYPE`: the columns of another type.
    pub like: Option<Ident>,
}

/// `on TRIGGER ..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OnTrigger {
    /// The events that trigger.
    pub trigger: Source,
    /// `as NAME` of the trigger.
    pub alias: Option<Ident>,
    /// What is done.
    pub action: OnAction,
    /// Where it stands.
    pub span: Span,
}

/// What an on-trigger does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OnAction {
    /// `delete from W as w where ..`.
    Delete {
        /// The window or table.
        target: Ident,
        /// `as NAME`.
        alias: Option<Ident>,
        /// Which rows.
        condition: Option<Expr>,
    },
    /// `[insert into ..] select [and delete] .. from W as w where .. group by .. order by ..`.
    Select {
        /// The select; its from clause is the window or table.
        select: Box<Select>,
        /// `select and delete`.
        delete: bool,
    },
    /// `update W as w set a = .. where ..`.
    Update {
        /// The window or table.
        target: Ident,
        /// `as NAME`.
        alias: Option<Ident>,
        /// The assignments.
        assignments: Vec<Assignment>,
        /// Which rows.
        condition: Option<Expr>,
    },
    /// `merge W as w where .. when [not] matched ..`.
    Merge {
        /// The window or table.
        target: Ident,
        /// `as NAME`.
        alias: Option<Ident>,
        /// Which rows match.
        condition: Option<Expr>,
        /// What is done.
        clauses: Vec<MergeClause>,
    },
    /// `set a = ..` of variables.
    Set(Vec<Assignment>),
}

/// `a = expr`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// What is set, perhaps with the name of a stream before it.
    pub target: Vec<Ident>,
    /// To what.
    pub value: Expr,
}

/// `when [not] matched [and condition] then ..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergeClause {
    /// `matched` or `not matched`.
    pub matched: bool,
    /// `and condition`.
    pub condition: Option<Expr>,
    /// What is done, in order.
    pub actions: Vec<MergeAction>,
}

/// One action of a merge clause.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MergeAction {
    /// `insert [into X] [(columns)] select ..  [where ..]`.
    Insert {
        /// `into X`; the merged window if absent.
        target: Option<Ident>,
        /// The columns named.
        columns: Vec<Ident>,
        /// The values.
        items: Vec<SelectItem>,
        /// `where`.
        condition: Option<Expr>,
    },
    /// `update set ..  [where ..]`.
    Update {
        /// The assignments.
        assignments: Vec<Assignment>,
        /// `where`.
        condition: Option<Expr>,
    },
    /// `delete [where ..]`.
    Delete {
        /// `where`.
        condition: Option<Expr>,
    },
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expr {
    /// What kind.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExprKind {
    /// A literal.
    Literal(Value),
    /// `10.0.0.0/8`: sixteen bytes of address and the length of the prefix in IPv6's measure.
    Network {
        /// The first address.
        address: [u8; 16],
        /// How many of the 128 bits count.
        prefix_len: u8,
    },
    /// `1 min 30 sec`.
    Period(Vec<(Expr, TimeUnit)>),
    /// `a`, `a.b`, `a[0].b`.
    Path(Vec<PathPart>),
    /// `-x`, `not x`.
    Unary(UnaryOp, Box<Expr>),
    /// `x + y` and so on.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `x [not] in (a, b)`, with a subquery, or in a range.
    In {
        /// What is looked for.
        operand: Box<Expr>,
        /// Where.
        set: InSet,
        /// `not in`.
        negated: bool,
    },
    /// `x [not] between a and b`.
    Between {
        /// What is compared.
        operand: Box<Expr>,
        /// The one end.
        low: Box<Expr>,
        /// The other end.
        high: Box<Expr>,
        /// `not between`.
        negated: bool,
    },
    /// `x [not] like 'a%' [escape '!']`.
    Like {
        /// The text.
        operand: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// The escape character.
        escape: Option<Box<Expr>>,
        /// `not like`.
        negated: bool,
    },
    /// `x [not] regexp '..'`.
    Regexp {
        /// The text.
        operand: Box<Expr>,
        /// The regular expression.
        pattern: Box<Expr>,
        /// `not regexp`.
        negated: bool,
    },
    /// `case [x] when .. then .. else .. end`.
    Case {
        /// What is compared with each `when`.
        operand: Option<Box<Expr>>,
        /// When and then.
        branches: Vec<(Expr, Expr)>,
        /// Else.
        otherwise: Option<Box<Expr>>,
    },
    /// `cast(x, long)`.
    Cast {
        /// What is cast.
        operand: Box<Expr>,
        /// The name of the type.
        type_name: Ident,
    },
    /// `f(x)`, aggregate or not, and a property of its result: `maxby(x).y`.
    Call(Call),
    /// `(select ..)`.
    Subquery(Box<Select>),
    /// `exists (select ..)`.
    Exists(Box<Select>),
    /// `x = any (..)`, `x > all (..)`.
    Quantified {
        /// The left side.
        operand: Box<Expr>,
        /// The comparison.
        op: BinaryOp,
        /// Whether all must hold (else any).
        all: bool,
        /// With what.
        set: QuantifiedSet,
    },
}

/// One part of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPart {
    /// The name.
    pub name: Ident,
    /// `[index]`: of an event collected under a tag, or the keys of a table.
    pub index: Vec<Expr>,
}

/// Where `in` looks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InSet {
    /// `(a, b, c)`, or a single network.
    Values(Vec<Expr>),
    /// `[low:high]` and the half-open forms.
    Range {
        /// The low end.
        low: Box<Expr>,
        /// The high end.
        high: Box<Expr>,
        /// Whether the low end belongs to it.
        low_included: bool,
        /// Whether the high end belongs to it.
        high_included: bool,
    },
    /// `(select ..)`.
    Subquery(Box<Select>),
}

/// With what `any` and `all` compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuantifiedSet {
    /// `(a, b, c)`.
    Values(Vec<Expr>),
    /// `(select ..)`.
    Subquery(Box<Select>),
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The name as written.
    pub name: Ident,
    /// `distinct` before the arguments.
    pub distinct: bool,
    /// The arguments.
    pub arguments: Vec<Argument>,
    /// `.x` after the call.
    pub property: Option<Ident>,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    /// `*`.
    Wildcard,
    /// `a.*`.
    StreamWildcard(Ident),
    /// An expression; order-by aggregates take `expr desc`.
    Expr(Expr),
    /// `filter: x`, `group_by: x`.
    Named(Ident, Expr),
    /// `x asc`, `x desc`.
    Ordered(Expr, bool),
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`.
    Negate,
    /// `not`.
    Not,
    /// `is null` (written behind).
    IsNull,
    /// `is not null` (written behind).
    IsNotNull,
}

/// An operator between its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BinaryOp {
    /// `or`.
    Or,
    /// `and`.
    And,
    /// `&`.
    BitAnd,
    /// `|`.
    BitOr,
    /// `^`.
    BitXor,
    /// `=`.
    Equal,
    /// `!=` or `<>`.
    NotEqual,
    /// `is`: equal, and null equals null.
    Is,
    /// `is not`.
    IsNot,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `||`.
    Concat,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Remainder,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimeUnit {
    /// Years of the calendar.
    Year,
    /// Months of the calendar.
    Month,
    /// Seven days.
    Week,
    /// 24 hours.
    Day,
    /// 60 minutes.
    Hour,
    /// 60 seconds.
    Minute,
    /// Seconds.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Microseconds; rounded down to milliseconds.
    Microsecond,
}
