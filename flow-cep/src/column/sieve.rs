//! Which rows matter to the statements that run by row, told a column at a time.
//!
//! Most rules look at a small part of the rows. What their filters ask of a row by itself is evaluated for whole columns, what
//! several filters ask only once, and only rows that meet some filter are taken out of the columns.

use arrow_array::RecordBatch;
use arrow_buffer::BooleanBuffer;
use arrow_schema::Schema;

use super::scalar::{Compiled, Scalar};
use crate::plan::{Action, CatalogId, FilterPlan, PatternNode, SelectPlan, SourcePlan, StatementPlan};

/// The filters of statements over one event type.
#[derive(Debug)]
pub(crate) struct Sieve {
    scalars: Vec<Scalar>,
    compiled: Vec<Compiled>,
    /// By statement its filters, each as conditions of which all must hold; none for statements that see every row.
    statements: Vec<Option<Vec<Vec<usize>>>>,
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
                    let known = filters.filter(|filter| filter.event_type == event_type);
                    Some(known.map(|filter| sieve.conditions(filter, schema)).collect())
                }
                _ => None,
            };
            // A filter without conditions of its own lets every row through.
            let filters = filters.filter(|filters: &Vec<Vec<usize>>| filters.iter().all(|filter| !filter.is_empty()));
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
    pub(crate) fn sift(&self, batch: &RecordBatch, times: &[i64]) -> Sifted {
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
        let mut sift = |filters: &Vec<Vec<usize>>| {
            let masks = filters.iter().map(|filter| all_of(filter));
            let any = masks.reduce(|some, others| &some | &others);
            any.unwrap_or_else(|| BooleanBuffer::new_unset(batch.num_rows()))
        };
        let statements = self.statements.iter().map(|filters| filters.as_ref().map(&mut sift));
        Sifted {
            statements: statements.collect(),
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

/// All filters by which events come into a select.
fn filters(select: &SelectPlan) -> Vec<&FilterPlan> {
    let mut filters = Vec::new();
    let subqueries = select.subqueries.iter().map(|subquery| &subquery.stream);
    for stream in select.streams.iter().chain(subqueries) {
        match &stream.source {
            SourcePlan::Events(filter) => filters.push(filter),
            SourcePlan::Pattern(pattern) => in_pattern(&pattern.root, &mut filters),
            SourcePlan::NamedWindow { .. } | SourcePlan::Table { .. } => {}
        }
    }
    filters
}

fn in_pattern<'a>(node: &'a PatternNode, filters: &mut Vec<&'a FilterPlan>) {
    match node {
        PatternNode::Filter { filter, .. } => filters.push(filter),
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
