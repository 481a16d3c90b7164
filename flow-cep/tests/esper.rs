//! The cases recorded from Esper 8.9, run against the engine and compared delivery by delivery.
//!
//! Order between statements is no contract; rows of a delivery are a set unless the statement orders them; doubles agree to
//! 1e-9. `cases/deviations.txt` lists what differs on purpose, with the reason; `cases/known_failures.txt` what does not agree
//! yet. An entry of either file that agrees after all fails the test, so that the lists can only shrink.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod naive;
mod parted;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use flow_cep::parse_each;
use flow_cep::plan::Planner;
use flow_cep::syntax::ast::Module;
use flow_cep::value::Value;
use naive::{Naive, V};
use support::case::{Case, Feeding, Given, Run, Step, flow};
use support::recording::{difference, wanted};

/// `CASE STATEMENT` pairs at the start of the lines of a list.
fn listed(text: &str) -> BTreeSet<(String, String)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect()
}

#[test]
fn every_case_agrees_with_esper() {
    let deviations = listed(include_str!("cases/deviations.txt"));
    let known = listed(include_str!("cases/known_failures.txt"));
    let mut failing = Vec::new();
    let mut mended = Vec::new();
    let mut compared = 0;
    for case in Case::all() {
        let wanted = wanted(&case);
        let run = Run::new(&case, Feeding::Whole);
        for statement in case.statements() {
            compared += 1;
            let nothing = Vec::new();
            let difference = match run.refused.get(&statement.name) {
                Some(error) => Some(format!("refused: {error}")),
                None => difference(
                    run.deliveries.get(&statement.name).unwrap_or(&Vec::new()),
                    wanted.get(&statement.name).unwrap_or(&nothing),
                    statement.ordered,
                ),
            };
            let entry = (case.name.clone(), statement.name.clone());
            let expected = deviations.contains(&entry) || known.contains(&entry);
            match difference {
                Some(difference) if !expected => {
                    failing.push(format!("{} {}\n  {difference}", case.name, statement.name))
                }
                None if expected => mended.push(format!("{} {}", case.name, statement.name)),
                _ => {}
            }
        }
    }
    assert!(compared > 3000, "only {compared} statements were compared");
    assert!(
        failing.is_empty(),
        "{} statements differ from Esper:\n{}",
        failing.len(),
        failing.join("\n")
    );
    assert!(
        mended.is_empty(),
        "listed, but they agree; strike them off:\n{}",
        mended.join("\n")
    );
}

#[test]
fn a_stream_in_single_rows_gives_the_same() {
    for case in Case::all() {
        let (whole, single) = (Run::new(&case, Feeding::Whole), Run::new(&case, Feeding::SingleRows));
        assert_eq!(whole.deliveries, single.deliveries, "in case {}", case.name);
    }
}

#[test]
fn a_restart_before_every_row_changes_nothing() {
    for case in Case::all() {
        let (whole, restarted) = (Run::new(&case, Feeding::Whole), Run::new(&case, Feeding::RestartedRows));
        assert_eq!(whole.deliveries, restarted.deliveries, "in case {}", case.name);
    }
}

/// The values of rows, sorted: rows of one delivery are compared as a set.
fn as_set(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort();
    rows
}

#[test]
fn statements_in_parts_give_the_same() {
    let (mut compared, mut differing) = (0, Vec::new());
    for case in Case::all() {
        let rows = case.steps().iter().filter_map(|step| match step {
            Step::Rows(batch) => Some(batch["ts"].as_primitive::<Int64Type>().values().to_vec()),
            Step::Clock(_) => None,
        });
        // Parts are told of rows in the order of time.
        if !rows.flatten().is_sorted() {
            continue;
        }
        let whole = Run::new(&case, Feeding::Whole);
        let (mut planner, mut plans) = (Planner::new([flow()]), Vec::new());
        for statement in parse_each(case.text()).into_iter().flatten() {
            plans.extend(planner.plan(&statement, case.text()).ok());
        }
        let catalog = Arc::new(planner.catalog().clone());
        let steps: Vec<parted::Step> = case
            .steps()
            .iter()
            .map(|step| match step {
                Step::Clock(time_ms) => parted::Step::Clock(*time_ms),
                Step::Rows(batch) => parted::Step::Rows(batch.clone()),
            })
            .collect();
        let way = parted::Way {
            parts: 3,
            seed: 7,
            cuts: vec![5, 11, 23],
            restart: 1,
        };
        let given = parted::run((&catalog, &plans), case.start_ms(), "ts", &steps, &way);
        for statement in case.statements() {
            let Some(wanted) = whole.deliveries.get(&statement.name) else {
                continue;
            };
            compared += 1;
            let values = |rows: &[Vec<(String, Value)>]| {
                as_set(
                    rows.iter()
                        .map(|row| row.iter().map(|(_, value)| value.clone()).collect())
                        .collect(),
                )
            };
            let wanted: parted::Deliveries = wanted
                .iter()
                .map(|given| (given.time_ms, values(&given.new), values(&given.old)))
                .collect();
            let found = given.get(&statement.name).cloned().unwrap_or_default();
            let found: parted::Deliveries = found
                .into_iter()
                .map(|(time, new, old)| (time, as_set(new), as_set(old)))
                .collect();
            if found != wanted {
                differing.push(format!("{} {}", case.name, statement.name));
            }
        }
    }
    assert!(compared > 1000, "only {compared} statements were compared");
    assert_eq!(differing, [] as [String; 0], "differ in parts");
}

/// The rows of a batch of a case as the interpreter's values, with their times.
fn rows(batch: &RecordBatch) -> Vec<(i64, Vec<V>)> {
    let value = |column: &dyn Array, row: usize| match column.data_type() {
        _ if column.is_null(row) => V::Null,
        DataType::Int32 => V::Int(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => V::Long(column.as_primitive::<Int64Type>().value(row)),
        DataType::Boolean => V::Bool(column.as_boolean().value(row)),
        _ => V::Text(column.as_string::<i32>().value(row).to_owned()),
    };
    let times = batch["ts"].as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| {
            (
                times.value(row),
                batch.columns().iter().map(|column| value(column, row)).collect(),
            )
        })
        .collect()
}

/// The deliveries of a case's statement by the interpreter.
fn interpreted(case: &Case, mut naive: Naive) -> Vec<Given> {
    for step in case.steps() {
        match step {
            Step::Clock(time_ms) => naive.advance(*time_ms),
            Step::Rows(batch) => rows(batch).into_iter().for_each(|(time, row)| naive.event(row, time)),
        }
    }
    let named = |row: &Vec<V>| -> Vec<(String, Value)> {
        let values = row.iter().map(V::as_engine);
        naive.columns().iter().cloned().zip(values).collect()
    };
    let given = naive.deliveries.iter().map(|delivery| Given {
        time_ms: delivery.time,
        new: delivery.new.iter().map(named).collect(),
        old: delivery.old.iter().map(named).collect(),
    });
    given.collect()
}

/// What the interpreter, which imitates nothing of Esper's state, cannot give.
const BEYOND_THE_INTERPRETER: [(&str, &str); 2] = [
    // A running deviation that rounding has left above zero.
    ("agg_len", "len_9"),
    // Groups that are equal by the order, in the order of a Java hash map.
    ("batch_tb", "tb_grp_order"),
];

#[test]
fn the_naive_interpreter_agrees_with_esper_on_what_it_knows() {
    let mut listed_cases = listed(include_str!("cases/deviations.txt"));
    listed_cases.extend(listed(include_str!("cases/known_failures.txt")));
    let event_type = flow();
    let columns: Vec<&str> = event_type
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let (mut compared, mut failing) = (0, Vec::new());
    for case in Case::all() {
        let wanted = wanted(&case);
        let module = Module {
            statements: parse_each(case.text()).into_iter().flatten().collect(),
        };
        for named in case.statements() {
            let mut statements = module.statements.iter();
            let Some(statement) = statements.find(|statement| statement.name() == Some(&named.name)) else {
                continue;
            };
            let known = listed_cases.contains(&(case.name.clone(), named.name.clone()))
                || BEYOND_THE_INTERPRETER.contains(&(&case.name, &named.name));
            let Ok(naive) = Naive::new(statement, &module, &columns, case.start_ms()) else {
                continue;
            };
            if known {
                continue;
            }
            compared += 1;
            let nothing = Vec::new();
            let wanted = wanted.get(&named.name).unwrap_or(&nothing);
            if let Some(difference) = difference(&interpreted(&case, naive), wanted, named.ordered) {
                failing.push(format!("{} {}\n  {difference}", case.name, named.name));
            }
        }
    }
    assert!(compared > 1000, "only {compared} statements were compared");
    assert!(
        failing.is_empty(),
        "{} of {compared} statements differ from Esper:\n{}",
        failing.len(),
        failing.join("\n")
    );
}
