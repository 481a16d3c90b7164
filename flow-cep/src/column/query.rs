//! What the columnar runtime can be asked: the shape of a statement, expressions resolved.

use arrow_schema::SchemaRef;

use super::scalar::Scalar;
use crate::value::Type;

/// A statement in a shape that runs column by column.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Conditions that a row must meet, all of them.
    pub(crate) filter: Vec<Scalar>,
    pub(crate) window: Window,
    pub(crate) body: Body,
    /// Order of the output; over the same columns as the body's select.
    pub(crate) order: Vec<(Scalar, bool)>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) output: Output,
    /// Columns of the delivered rows.
    pub(crate) schema: SchemaRef,
}

/// Which rows a statement looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    /// `#time(T)`.
    Time { span_ms: i64 },
    /// `#time_batch(T)`, its grid and its keywords.
    TimeBatch {
        span_ms: i64,
        reference_ms: Option<i64>,
        eager: bool,
        forced: bool,
    },
    /// No window, or `#keepall` with aggregates.
    Whole,
}

/// A statement that passes events on as they come.
#[derive(Debug, Clone)]
pub(crate) struct Passing {
    /// Conditions that an event must meet, all of them.
    pub(crate) filter: Vec<Scalar>,
    /// Over the columns of the event.
    pub(crate) select: Vec<Scalar>,
    /// Columns of the delivered rows.
    pub(crate) schema: SchemaRef,
}

/// A statement over pairs of an event and the next of its key.
#[derive(Debug, Clone)]
pub(crate) struct Successive {
    /// Conditions on the earlier event; those on the later are among them.
    pub(crate) earlier_filter: Vec<Scalar>,
    pub(crate) later_filter: Vec<Scalar>,
    /// What both have in common; null has nothing in common with null.
    pub(crate) keys: Vec<Scalar>,
    /// The later comes before so much time has passed.
    pub(crate) within_ms: i64,
    /// What is read of the earlier event, numbers or truths, and of the later, over its columns.
    pub(crate) earlier: Vec<Scalar>,
    pub(crate) later: Vec<Scalar>,
    /// Over the columns of `earlier`, then those of `later`.
    pub(crate) condition: Option<Scalar>,
    pub(crate) select: Vec<Scalar>,
    pub(crate) schema: SchemaRef,
}

/// When rows are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// `output snapshot every T`.
    Snapshot { every_ms: i64 },
    /// With each batch of the window.
    Batch,
    /// `output first every T`, by group.
    First { every_ms: i64 },
    /// With each row that comes or goes: no output clause.
    Each,
}

impl Output {
    /// Whether groups are watched row by row.
    pub(crate) const fn is_watched(self) -> bool {
        matches!(self, Self::First { .. } | Self::Each)
    }
}

/// What the rows of the output are.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// One row for each group. `having`, `select` and the order read the columns: first the keys, then the aggregates.
    Groups {
        keys: Vec<Scalar>,
        aggregates: Vec<Aggregate>,
        having: Option<Scalar>,
        select: Vec<Scalar>,
    },
    /// The rows themselves. `select` and the order read the columns of the event.
    Rows {
        having: Option<Scalar>,
        select: Vec<Scalar>,
    },
}

/// The clauses of a statement over groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupClauses<'a> {
    pub(crate) keys: &'a [Scalar],
    pub(crate) aggregates: &'a [Aggregate],
    pub(crate) having: Option<&'a Scalar>,
    pub(crate) select: &'a [Scalar],
}

impl<'a> GroupClauses<'a> {
    /// Those of a statement over groups.
    pub(crate) const fn of(query: &'a Query) -> Option<Self> {
        let Body::Groups {
            keys,
            aggregates,
            having,
            select,
        } = &query.body
        else {
            return None;
        };
        Some(Self {
            keys: keys.as_slice(),
            aggregates: aggregates.as_slice(),
            having: having.as_ref(),
            select: select.as_slice(),
        })
    }
}

/// An aggregate over the rows of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) function: Function,
    /// Over the columns of the event; null takes no part. None counts rows.
    pub(crate) argument: Option<Scalar>,
    /// Type of the result.
    pub(crate) of: Type,
}

/// Aggregate functions that have a columnar form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    CountDistinct,
    Sum,
    Average,
    Smallest,
    Largest,
    Deviation,
    /// Of the oldest row in the window; only of watched groups, as is the next.
    First,
    Last,
}
