//! `match_recognize`: its pattern, its conditions and its measures.

use std::sync::Arc;

use super::bind::{Aggregates, Binder, Matching, Result};
use super::{Catalog, CatalogId, MatchPlan, OutputColumn, RowPatternPlan, ScopeStream};
use crate::error::Fault;
use crate::event_type::EventType;
use crate::syntax::ast::{MatchRecognize, RowPattern, Span};

/// Plans `match_recognize` over the rows of the only stream.
pub(super) fn match_plan(
    catalog: &Catalog,
    context: Option<CatalogId>,
    syntax: &MatchRecognize,
    rows: &[ScopeStream],
    alone: bool,
) -> Result<MatchPlan> {
    let ([row], true) = (rows, alone) else {
        return Err(Fault::unsupported(
            syntax.span,
            "match_recognize over a join or pattern",
            "insert the rows into a stream of their own",
        ));
    };
    let mut binder = Binder::new(catalog, context, vec![row.clone()]);
    binder.subqueries_allowed = false;
    let partition_by = syntax
        .partition_by
        .iter()
        .map(|key| binder.bind(key))
        .collect::<Result<Vec<_>>>()?;
    let mut names: Vec<(String, bool)> = Vec::new();
    let pattern = row_pattern(&syntax.pattern, &mut names, false, syntax.span)?;
    for (name, many) in &mut names {
        *many |= standings(&syntax.pattern, name) > 1;
    }
    let variables: Vec<ScopeStream> = names
        .iter()
        .map(|(name, many)| ScopeStream {
            name: Some(name.clone()),
            event_type: Arc::clone(&row.event_type),
            many: *many,
        })
        .collect();
    let mut binder = Binder::new(catalog, context, variables);
    binder.unqualified = Vec::new();
    binder.subqueries_allowed = false;
    binder.matching = Some(Matching::default());
    let mut define = vec![None; names.len()];
    for (name, condition) in &syntax.define {
        let Some(variable) = names.iter().position(|(known, _)| *known == name.name) else {
            return Err(Fault::invalid(
                name.span,
                format!("Variable '{name}' is not in the pattern"),
            ));
        };
        if let Some(matching) = &mut binder.matching {
            matching.own = Some(variable);
        }
        binder.aggregation = Aggregates::Allowed;
        define[variable] = Some(binder.condition(condition, "A definition must return a boolean value")?);
    }
    if let Some(matching) = &mut binder.matching {
        matching.own = None;
    }
    binder.aggregation = Aggregates::Allowed;
    let mut measures = Vec::new();
    for (expr, name) in &syntax.measures {
        measures.push(OutputColumn {
            name: name.name.clone(),
            expr: binder.bind(expr)?,
        });
    }
    let mut own = Binder::new(catalog, context, vec![row.clone()]);
    let (interval_ms, or_terminated) = match &syntax.interval {
        None => (None, false),
        Some((period, or_terminated)) => (
            Some(own.milliseconds(period, "the interval of match_recognize")?),
            *or_terminated,
        ),
    };
    let columns: Vec<_> = measures
        .iter()
        .map(|measure| (measure.name.clone(), measure.expr.of.clone()))
        .collect();
    let matching = binder.matching.take().unwrap_or_default();
    Ok(MatchPlan {
        partition_by,
        variables: binder.streams,
        define,
        measures,
        aggregates: matching.aggregates,
        pattern,
        all_matches: syntax.all_matches,
        skip: syntax.skip,
        interval_ms,
        or_terminated,
        previous_rows: matching.previous_rows,
        output_type: Arc::new(EventType::from_columns("match", &columns)),
    })
}

/// Most states a row pattern may have.
const ROW_PATTERN_LIMIT: usize = 4096;

/// How many rows a variable that does not repeat may hold: as many as the places where it stands on one way through the
/// pattern.
fn standings(syntax: &RowPattern, name: &str) -> usize {
    match syntax {
        RowPattern::Variable(variable) => usize::from(variable.name == name),
        RowPattern::Repeat { inner, .. } => standings(inner, name),
        RowPattern::Concat(parts) | RowPattern::Permute(parts) => parts.iter().map(|part| standings(part, name)).sum(),
        RowPattern::Alternation(parts) => parts.iter().map(|part| standings(part, name)).max().unwrap_or(0),
    }
}

fn row_pattern(syntax: &RowPattern, names: &mut Vec<(String, bool)>, many: bool, span: Span) -> Result<RowPatternPlan> {
    Ok(match syntax {
        RowPattern::Variable(name) => {
            let at = names
                .iter()
                .position(|(known, _)| *known == name.name)
                .unwrap_or_else(|| {
                    names.push((name.name.clone(), false));
                    names.len() - 1
                });
            names[at].1 |= many;
            RowPatternPlan::Variable(at)
        }
        RowPattern::Concat(steps) => RowPatternPlan::Concat(
            steps
                .iter()
                .map(|step| row_pattern(step, names, many, span))
                .collect::<Result<_>>()?,
        ),
        RowPattern::Alternation(branches) => RowPatternPlan::Alternation(
            branches
                .iter()
                .map(|branch| row_pattern(branch, names, many, span))
                .collect::<Result<_>>()?,
        ),
        RowPattern::Repeat {
            inner,
            min,
            max,
            greedy,
        } => {
            if max.is_some_and(|max| max < *min || max == 0) {
                return Err(Fault::invalid(
                    span,
                    "A repetition's least number must not be above its most, nor its most be 0",
                ));
            }
            if usize::try_from(max.unwrap_or(*min)).map_or(true, |count| count > ROW_PATTERN_LIMIT) {
                return Err(Fault::invalid(
                    span,
                    format!("A repetition must not be above {ROW_PATTERN_LIMIT}"),
                ));
            }
            let repeats = max.is_none_or(|max| max > 1);
            let inner = Box::new(row_pattern(inner, names, many || repeats, span)?);
            RowPatternPlan::Repeat {
                inner,
                min: *min,
                max: *max,
                greedy: *greedy,
            }
        }
        RowPattern::Permute(parts) => {
            /// 5! = 120 orders are enough for a rule a person can read.
            const PERMUTE_LIMIT: usize = 5;
            if parts.len() > PERMUTE_LIMIT {
                return Err(Fault::invalid(
                    span,
                    format!("At most {PERMUTE_LIMIT} parts can be permuted"),
                ));
            }
            let parts = parts
                .iter()
                .map(|part| row_pattern(part, names, many, span))
                .collect::<Result<Vec<_>>>()?;
            RowPatternPlan::Alternation(permutations(&parts).into_iter().map(RowPatternPlan::Concat).collect())
        }
    })
}

/// All orders, in lexical order of places.
fn permutations(parts: &[RowPatternPlan]) -> Vec<Vec<RowPatternPlan>> {
    let Some(_) = parts.first() else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let rest: Vec<_> = parts
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(_, part)| part.clone())
            .collect();
        for mut order in permutations(&rest) {
            order.insert(0, part.clone());
            all.push(order);
        }
    }
    all
}
