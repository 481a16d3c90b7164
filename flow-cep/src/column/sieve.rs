//! Which rows matter to the statements that run by row, told a column at a time.
//!
//! Most rules look at a small part of the rows. What their filters ask of a row by itself is evaluated for whole columns, what
//! several filters ask only once, and only rows that meet some filter are taken out of the columns.

use arrow_array::RecordBatch;
use arrow_buffer::BooleanBuffer;
use arrow_schema::Schema;

use super::scalar::{Compiled, Scalar};
use crate::plan::{
    Action, CatalogId, FilterPlan, PatternNode, SelectPlan, SourcePlan, StatementPlan, StreamPlan, WindowPlan,
};

/// For how long a filter matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    /// Until a row has met it: a window of the first row takes no other.
    FirstRow,
    Past,
}

/// Conditions of which all must hold.
#[derive(Debug)]
struct Demand {
    conditions: Vec<usize>,
    until: Until,
}

/// The filters of statements over one event type.
#[derive(Debug)]
pub(crate) struct Sieve {
    scalars: Vec<Scalar>,
    compiled: Vec<Compiled>,
    /// By statement its filters; none for statements that see every row.
    statements: Vec<Option<Vec<Demand>>>,
}

/// What of a batch matters to whom.
#[derive(Debug)]
pub(crate) struct Sifted {
    /// By statement; none for all rows.
    statements: Vec<Option<BooleanBuffer>>,
}

impl Sieve {
    /// The sieve for rows of an event type with this schema.
    pub(crate) fn new(event_type: CatalogId, schema: &Schema, plans: &[StatementPlan]) -> Self {
        let mut sieve = Self {
            scalars: Vec::new(),
            compiled: Vec::new(),
            statements: Vec::new(),
        };
        for plan in plans {
            let filters = match &plan.action {
                Action::Select(select) if plan.context.is_none() => {
                    let filters = filters(select).into_iter();
                    let known = filters.filter(|(filter, _)| filter.event_type == event_type);
                    let demand = |(filter, until): (&FilterPlan, Until)| Demand {
                        conditions: sieve.conditions(filter, schema),
                        until,
                    };
                    Some(known.map(demand).collect())
                }
                _ => None,
            };
            sieve.statements.push(filters);
        }
        sieve
    }

    /// The conditions of a filter that columns alone decide.
    fn conditions(&mut self, filter: &FilterPlan, schema: &Schema) -> Vec<usize> {
        let scalars = filter.conditions.iter().filter_map(Scalar::new);
        scalars
            .flat_map(Scalar::conjuncts)
            .map(|scalar| {
                if let Some(known) = self.scalars.iter().position(|known| *known == scalar) {
                    return known;
                }
                self.compiled.push(scalar.compile(schema));
                self.scalars.push(scalar);
                self.scalars.len() - 1
            })
            .collect()
    }

    /// Tells which rows of a batch matter to which statement.
    pub(crate) fn sift(&mut self, batch: &RecordBatch, times: &[i64]) -> Sifted {
        let mut masks: Vec<Option<BooleanBuffer>> = vec![None; self.compiled.len()];
        let mut all_of = |conditions: &[usize]| {
            let mut met: Option<BooleanBuffer> = None;
            for &condition in conditions {
                // What no row has met so far need not be asked further.
                if met.as_ref().is_some_and(|met| met.count_set_bits() == 0) {
                    break;
                }
                let mask = masks[condition].get_or_insert_with(|| self.compiled[condition].mask(batch, times));
                met = Some(match met {
                    Some(met) => &met & &*mask,
                    None => mask.clone(),
                });
            }
            met.unwrap_or_else(|| BooleanBuffer::new_set(batch.num_rows()))
        };
        let mut sift = |demands: &mut Vec<Demand>| {
            let mut any: Option<BooleanBuffer> = None;
            for demand in demands.iter_mut().filter(|demand| demand.until != Until::Past) {
                // A filter without conditions of its own lets every row through.
                if demand.conditions.is_empty() && demand.until == Until::End {
                    return None;
                }
                let mask = all_of(&demand.conditions);
                if demand.until == Until::FirstRow && mask.count_set_bits() > 0 {
                    demand.until = Until::Past;
                }
                any = Some(match any {
                    Some(any) => &any | &mask,
                    None => mask,
                });
            }
            Some(any.unwrap_or_else(|| BooleanBuffer::new_unset(batch.num_rows())))
        };
        let statements = self.statements.iter_mut();
        Sifted {
            statements: statements.map(|demands| demands.as_mut().and_then(&mut sift)).collect(),
        }
    }
}

impl Sifted {
    /// Whether a row matters to a statement.
    pub(crate) fn wants(&self, statement: usize, row: usize) -> bool {
        self.statements[statement].as_ref().is_none_or(|mask| mask.value(row))
    }

    /// The rows that matter to any of these statements; none for all rows.
    pub(crate) fn any(&self, statements: &[usize]) -> Option<BooleanBuffer> {
        let mut any: Option<BooleanBuffer> = None;
        for &statement in statements {
            let mask = self.statements[statement].as_ref()?;
            any = Some(match any {
                Some(any) => &any | mask,
                None => mask.clone(),
            });
        }
        any
    }
}

/// All filters by which events come into a select, and for how long.
fn filters(select: &SelectPlan) -> Vec<(&FilterPlan, Until)> {
    let mut filters = Vec::new();
    for stream in &select.streams {
        match &stream.source {
            SourcePlan::Events(filter) => filters.push((filter, Until::End)),
            SourcePlan::Pattern(pattern) => in_pattern(&pattern.root, &mut filters),
            SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. } => {}
        }
    }
    for subquery in &select.subqueries {
        if let SourcePlan::Events(filter) = &subquery.stream.source {
            filters.push((filter, lasting(&subquery.stream, filter)));
        }
    }
    filters
}

/// For how long the filter of a subquery's stream matters. Conditions that columns alone do not decide may still drop a row.
fn lasting(stream: &StreamPlan, filter: &FilterPlan) -> Until {
    let decided = filter.equal.is_empty()
        && filter.correlated.is_empty()
        && filter
            .conditions
            .iter()
            .all(|condition| Scalar::new(condition).is_some());
    match stream.window {
        Some(WindowPlan::FirstEvent) if decided => Until::FirstRow,
        _ => Until::End,
    }
}

fn in_pattern<'a>(node: &'a PatternNode, filters: &mut Vec<(&'a FilterPlan, Until)>) {
    match node {
        PatternNode::Filter { filter, .. } => filters.push((filter, Until::End)),
        PatternNode::FollowedBy(parts) | PatternNode::And(parts) | PatternNode::Or(parts) => {
            for part in parts {
                in_pattern(part, filters);
            }
        }
        PatternNode::Every(inner)
        | PatternNode::EveryDistinct { inner, .. }
        | PatternNode::Not(inner)
        | PatternNode::Within { inner, .. }
        | PatternNode::While { inner, .. }
        | PatternNode::Repeat { inner, .. } => in_pattern(inner, filters),
        PatternNode::Until { inner, end, .. } => {
            in_pattern(inner, filters);
            in_pattern(end, filters);
        }
        PatternNode::IntervalMs(_) => {}
    }
}
