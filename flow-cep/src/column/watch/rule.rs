//! A statement over watched groups: when a group's row is given, and what is in it.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::column::bound::{self, Demand};
use crate::column::keys::KeyId;
use crate::column::query::Function;
use crate::column::scalar::Scalar;
use crate::expr::Expr;
use crate::value::Type;

/// What an aggregate is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// The rows themselves.
    Rows,
    /// A column of numbers of the log.
    Number(usize),
    /// A column of ids of the log.
    Id(usize),
}

/// Where the value of an aggregate is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// In what is kept for every group or for those of many rows: the place there.
    Kept(usize),
    /// By a walk over the rows of the group, when it is asked for.
    Gathered,
}

/// A column of the groups, as the expressions of a rule see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupColumn {
    Key(KeyId),
    Aggregate {
        function: Function,
        operand: Operand,
        of: Type,
        found: Found,
    },
}

/// What must be true of a group's counts and sums for its condition to be: told without evaluating it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Threshold {
    /// Rows that it has at least.
    pub(crate) rows: u32,
    /// Place of a sum of whole numbers, and what it comes to at least.
    pub(crate) sums: Vec<(usize, i64)>,
    /// Place of a count of distinct values, and what it comes to at least.
    pub(crate) distinct: Vec<(usize, i64)>,
    /// Of which one must be met by what comes; none if the condition may be true of any group.
    pub(crate) demands: Option<Vec<Demand>>,
}

impl Threshold {
    /// What a condition over the columns demands.
    pub(crate) fn of(having: Option<&Expr>, columns: &[GroupColumn]) -> Self {
        let counts = |column: usize| {
            matches!(
                columns.get(column),
                Some(GroupColumn::Aggregate {
                    function: Function::Count | Function::CountDistinct,
                    ..
                })
            )
        };
        let (mut sums, mut distinct) = (Vec::new(), Vec::new());
        let mut regard = |column: usize, least: i64| match columns.get(column) {
            Some(GroupColumn::Aggregate {
                function: Function::Sum,
                of: Type::Int | Type::Long,
                found: Found::Kept(sum),
                ..
            }) => sums.push((*sum, least)),
            Some(GroupColumn::Aggregate {
                function: Function::CountDistinct,
                found: Found::Kept(column),
                ..
            }) => distinct.push((*column, least)),
            _ => {}
        };
        if let Some(having) = having {
            bound::each(having, &mut regard);
        }
        let rows = having.map_or(0, |having| bound::rows(having, &counts));
        Self {
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            sums,
            distinct,
            demands: having
                .and_then(|having| bound::demands(having, &|column, least| demand(columns.get(column)?, least))),
        }
    }

    /// About how many rows it takes to meet it.
    pub(crate) fn fewest_rows(&self) -> u64 {
        self.demands.as_deref().map_or(0, bound::fewest_rows)
    }

    /// Whether a group with these rows, sums and counts of distinct values comes up to it.
    pub(crate) fn is_met(&self, rows: u32, sums: &[i64], distinct: &[u32]) -> bool {
        rows >= self.rows
            && self.sums.iter().all(|&(sum, least)| sums[sum * 2] >= least)
            && self
                .distinct
                .iter()
                .all(|&(column, least)| i64::from(distinct[column]) >= least)
    }
}

/// What a lower bound of a column demands.
fn demand(column: &GroupColumn, least: i64) -> Option<Demand> {
    let GroupColumn::Aggregate {
        function, operand, of, ..
    } = column
    else {
        return None;
    };
    let least = u64::try_from(least).ok().filter(|&least| least > 0)?;
    match (function, operand, of) {
        (Function::Count | Function::CountDistinct, ..) => Some(Demand::Rows(u32::try_from(least).unwrap_or(u32::MAX))),
        (Function::Sum, Operand::Number(number), Type::Int | Type::Long) => {
            Some(Demand::Sum { number: *number, least })
        }
        _ => None,
    }
}

/// Which groups gave a row so lately that they give none now.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// By key: when it gave its row.
    since: HashMap<u32, i64, RandomState>,
    /// The same in the order of time.
    order: VecDeque<(i64, u32)>,
    /// Keys that came in and that went out since [`Quiet::settle`].
    pub(crate) begun: Vec<u32>,
    pub(crate) over: Vec<u32>,
}

impl Quiet {
    /// When a key gave its row, if it has lately.
    fn since(&self, key: u32) -> Option<i64> {
        self.since.get(&key).copied()
    }

    /// A key gives a row.
    pub(crate) fn begin(&mut self, key: u32, now_ms: i64) {
        if self.since.insert(key, now_ms).is_none() {
            self.begun.push(key);
        }
        self.order.push_back((now_ms, key));
    }

    /// Forgets keys whose time is over.
    pub(crate) fn forget(&mut self, every_ms: i64, now_ms: i64) {
        while let Some(&(since, key)) = self.order.front() {
            if now_ms.saturating_sub(since) < every_ms {
                return;
            }
            self.order.pop_front();
            // The key may have begun anew since.
            if self.since.get(&key) == Some(&since) {
                self.since.remove(&key);
                self.over.push(key);
            }
        }
    }

    pub(crate) fn entries(&self) -> Vec<(i64, u32)> {
        self.order.iter().copied().collect()
    }

    /// Takes up what [`Quiet::entries`] gave.
    pub(crate) fn restore(&mut self, entries: Vec<(i64, u32)>) -> Option<()> {
        if !entries.is_sorted_by_key(|(since, _)| *since) {
            return None;
        }
        for (since, key) in entries {
            self.begin(key, since);
        }
        Some(())
    }
}

/// A statement over the groups of a window.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The statement, by its position in the runtime.
    pub(crate) statement: usize,
    /// How long a group is quiet after it has given a row; none if it never is.
    pub(crate) every_ms: Option<i64>,
    pub(crate) threshold: Threshold,
    /// Over the columns, as what follows.
    pub(crate) having: Option<Scalar>,
    pub(crate) select: Vec<Scalar>,
    pub(crate) order: Vec<(Scalar, bool)>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) columns: Vec<GroupColumn>,
    pub(crate) quiet: Quiet,
}

impl Rule {
    /// Until when a key is or was quiet, if it has given a row lately.
    pub(crate) fn quiet_until(&self, key: u32) -> Option<i64> {
        Some(self.quiet.since(key)?.saturating_add(self.every_ms?))
    }

    /// Whether the details of groups are read.
    pub(crate) fn reads_details(&self) -> bool {
        self.reads(&[Function::Deviation, Function::Smallest, Function::Largest])
    }

    /// Whether the distinct values of groups are read.
    pub(crate) fn reads_tallies(&self) -> bool {
        self.reads(&[Function::CountDistinct])
    }

    /// Whether the value of one of these functions is kept for it.
    fn reads(&self, functions: &[Function]) -> bool {
        self.columns.iter().any(|column| {
            let GroupColumn::Aggregate {
                function,
                found: Found::Kept(_),
                ..
            } = column
            else {
                return false;
            };
            functions.contains(function)
        })
    }
}
