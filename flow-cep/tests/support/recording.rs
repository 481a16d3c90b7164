//! What Esper gave for a case, and whether something else is the same.

use std::collections::BTreeMap;

use flow_cep::value::Value;
use serde_json::Value as Json;

use super::case::{Case, Given};

/// What Esper gave at one delivery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) time_ms: i64,
    pub(crate) new: Vec<Json>,
    pub(crate) old: Vec<Json>,
}

/// The deliveries of each statement.
pub(crate) fn wanted(case: &Case) -> BTreeMap<String, Vec<Wanted>> {
    let mut statements: BTreeMap<String, Vec<(u64, Wanted)>> = BTreeMap::new();
    for line in case.recorded.lines() {
        let mut line: Json = serde_json::from_str(line).unwrap();
        let number = line["n"].as_u64().unwrap();
        let deliveries = statements.entry(line["s"].as_str().unwrap().to_owned()).or_default();
        if deliveries.last().is_none_or(|(last, _)| *last != number) {
            let time_ms = line["t"].as_i64().unwrap();
            deliveries.push((
                number,
                Wanted {
                    time_ms,
                    ..Wanted::default()
                },
            ));
        }
        let (_, delivery) = deliveries.last_mut().unwrap();
        match line["k"].as_str().unwrap() {
            "new" => delivery.new.push(line["row"].take()),
            "old" => delivery.old.push(line["row"].take()),
            "empty" => {}
            other => panic!("{}: kind {other}", case.name),
        }
    }
    let strip = |deliveries: Vec<(u64, Wanted)>| deliveries.into_iter().map(|(_, delivery)| delivery).collect();
    statements
        .into_iter()
        .map(|(name, deliveries)| (name, strip(deliveries)))
        .collect()
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn value_agrees(given: &Value, wanted: &Json) -> bool {
    match (given, wanted) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(given), Json::Bool(wanted)) => given == wanted,
        (Value::Int(given), Json::Number(wanted)) => wanted.as_i64() == Some(i64::from(*given)),
        (Value::Long(given), Json::Number(wanted)) => wanted.as_i64() == Some(*given),
        (Value::Double(given), Json::Number(wanted)) => wanted.as_f64().is_some_and(|wanted| close(*given, wanted)),
        (Value::Double(given), Json::String(wanted)) => match wanted.as_str() {
            "Infinity" => *given == f64::INFINITY,
            "-Infinity" => *given == f64::NEG_INFINITY,
            "NaN" => given.is_nan(),
            _ => false,
        },
        (Value::Text(given), Json::String(wanted)) => **given == **wanted,
        (Value::List(given), Json::Array(wanted)) => {
            given.len() == wanted.len()
                && given
                    .iter()
                    .zip(wanted)
                    .all(|(given, wanted)| value_agrees(given, wanted))
        }
        // A whole row as a value: Esper tells its columns by name, and in a case's own order; its values must be there.
        (Value::Row(given), Json::Object(wanted)) => {
            let mut left: Vec<&Json> = wanted.values().filter(|value| !value.is_null()).collect();
            let all_found = given.iter().filter(|value| !value.is_null()).all(|given| {
                let at = left.iter().position(|wanted| value_agrees(given, wanted));
                at.map(|at| left.swap_remove(at)).is_some()
            });
            all_found && left.is_empty()
        }
        _ => false,
    }
}

fn row_agrees(given: &[(String, Value)], wanted: &Json) -> bool {
    wanted.as_object().is_some_and(|wanted| {
        wanted.len() == given.len()
            && given
                .iter()
                .all(|(column, value)| wanted.get(column).is_some_and(|wanted| value_agrees(value, wanted)))
    })
}

fn rows_agree(given: &[Vec<(String, Value)>], wanted: &[Json], ordered: bool) -> bool {
    if given.len() != wanted.len() {
        return false;
    }
    if ordered {
        return given
            .iter()
            .zip(wanted)
            .all(|(given, wanted)| row_agrees(given, wanted));
    }
    let mut left: Vec<&Json> = wanted.iter().collect();
    given.iter().all(|given| {
        let found = left.iter().position(|wanted| row_agrees(given, wanted));
        found.map(|at| left.swap_remove(at)).is_some()
    })
}

/// The first difference of a statement's deliveries, in words.
pub(crate) fn difference(given: &[Given], wanted: &[Wanted], ordered: bool) -> Option<String> {
    for at in 0..given.len().max(wanted.len()) {
        let agrees = match (given.get(at), wanted.get(at)) {
            (Some(given), Some(wanted)) => {
                given.time_ms == wanted.time_ms
                    && rows_agree(&given.new, &wanted.new, ordered)
                    && rows_agree(&given.old, &wanted.old, ordered)
            }
            _ => false,
        };
        if !agrees {
            return Some(format!(
                "delivery {at}:\n  wanted {:?}\n  given  {:?}",
                wanted.get(at),
                given.get(at)
            ));
        }
    }
    None
}
