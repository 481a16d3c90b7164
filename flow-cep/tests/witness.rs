//! The engine gives what the naive interpreter gives: for random statements over random rows, however the stream is cut into
//! batches, and through a restart.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod generate;
mod naive;
mod parted;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt16Array,
};
use arrow_schema::{DataType, Field, Schema};
use flow_cep::event_type::EventType;
use flow_cep::plan::{Catalog, Planner, StatementPlan};
use flow_cep::value::Value;
use flow_cep::{Engine, Execution, Limits, parse};
use generate::{COLUMNS, Row, join, row, statement};
use naive::{Naive, V};
use parted::{Step, Way};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const START_MS: i64 = 1_000_000;
/// How long the clock runs on behind the last row: longer than any window.
const TAIL_MS: i64 = 9_000;

/// A stream as the interpreter takes it and as the engine does.
struct Stream {
    rows: Vec<(i64, Vec<V>)>,
    batch: RecordBatch,
    end_ms: i64,
}

impl Stream {
    fn new(rows: &[Row]) -> Self {
        let mut time = START_MS + 500;
        let rows: Vec<(i64, Vec<V>)> = (0_i64..)
            .zip(rows)
            .map(|(id, row)| {
                time += row.after_ms;
                (time, row.values(time, id))
            })
            .collect();
        let column = |at: usize| rows.iter().map(move |(_, values)| &values[at]);
        let long = |at| Arc::new(column(at).map(V::whole).collect::<Int64Array>()) as ArrayRef;
        let text = |at| {
            column(at).map(|value| match value {
                V::Text(text) => Some(text.as_str()),
                _ => None,
            })
        };
        let truth = |value: &V| match value {
            V::Bool(value) => Some(*value),
            _ => None,
        };
        let columns: Vec<ArrayRef> = vec![
            long(0),
            long(1),
            Arc::new(text(2).collect::<DictionaryArray<Int32Type>>()),
            Arc::new(text(3).collect::<StringArray>()),
            Arc::new(
                column(4)
                    .map(|port| u16::try_from(port.whole().unwrap()).ok())
                    .collect::<UInt16Array>(),
            ),
            long(5),
            Arc::new(column(6).map(V::real).collect::<Float64Array>()),
            Arc::new(column(7).map(truth).collect::<BooleanArray>()),
            long(8),
        ];
        Self {
            batch: RecordBatch::try_new(schema(), columns).unwrap(),
            end_ms: time + TAIL_MS,
            rows,
        }
    }
}

fn schema() -> Arc<Schema> {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let types = [
        DataType::Int64,
        DataType::Int64,
        dictionary,
        DataType::Utf8,
        DataType::UInt16,
        DataType::Int64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Int64,
    ];
    let fields = COLUMNS.iter().zip(types).map(|(name, of)| Field::new(*name, of, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A module of the statements, `s0`, `s1` and so on, with the context that they may name.
fn module(statements: &[String]) -> String {
    let named = statements
        .iter()
        .enumerate()
        .map(|(at, text)| format!("@name('s{at}') {text}"));
    let all: Vec<String> = std::iter::once("create context Each partition by src from Flow".to_owned())
        .chain(named)
        .collect();
    all.join(";\n")
}

fn plan(text: &str) -> (Arc<Catalog>, Vec<StatementPlan>) {
    let mut planner = Planner::new([EventType::new("Flow", schema(), Some("time")).unwrap()]);
    let parsed = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let plans = parsed.statements.iter().map(|statement| planner.plan(statement, text));
    let plans = plans
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}"));
    (Arc::new(planner.catalog().clone()), plans)
}

/// Time, new rows and old rows of each delivery.
type Deliveries = Vec<(i64, Vec<Vec<Value>>, Vec<Vec<Value>>)>;

fn collect(engine: &mut Engine, into: &mut HashMap<String, Deliveries>) {
    while let Some(delivery) = engine.next_output() {
        let rows = |rows: &flow_cep::Rows| (0..rows.len()).map(|at| rows.values(at)).collect();
        let deliveries = into.entry(delivery.statement.to_string()).or_default();
        deliveries.push((delivery.time_ms, rows(&delivery.new), rows(&delivery.old)));
    }
}

/// What the engine gives for a stream in pieces, with a restart after one of them.
fn run(
    text: &str,
    stream: &Stream,
    cuts: &[usize],
    restart: usize,
    execution: Execution,
) -> HashMap<String, Deliveries> {
    let (catalog, plans) = plan(text);
    let fresh = || Engine::with_execution(catalog.clone(), &plans, START_MS, Limits::default(), execution);
    let mut engine = fresh();
    let mut given = HashMap::new();
    let count = stream.rows.len();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (count + 1)).chain([count]).collect();
    cuts.sort_unstable();
    let mut from = 0;
    for (number, cut) in cuts.into_iter().enumerate() {
        engine.push("Flow", &stream.batch.slice(from, cut - from)).unwrap();
        collect(&mut engine, &mut given);
        if number == restart {
            let saved = engine.checkpoint().unwrap();
            engine = fresh();
            engine.restore(&saved).unwrap();
        }
        from = cut;
    }
    engine.advance(stream.end_ms);
    collect(&mut engine, &mut given);
    given
}

/// What the interpreter gives for one of the statements.
fn witness(text: &str, name: &str, stream: &Stream) -> (Vec<String>, Deliveries) {
    let module = parse(text).unwrap();
    let statement = module
        .statements
        .iter()
        .find(|statement| statement.name() == Some(name))
        .unwrap();
    let naive = Naive::new(statement, &module, &COLUMNS, START_MS);
    let mut naive = naive.unwrap_or_else(|unknown| panic!("{text}\nthe interpreter does not know {unknown}"));
    for (time, row) in &stream.rows {
        naive.event(row.clone(), *time);
    }
    naive.advance(stream.end_ms);
    let rows = |rows: &[Vec<V>]| rows.iter().map(|row| row.iter().map(V::as_engine).collect()).collect();
    let deliveries = naive.deliveries.iter();
    let deliveries = deliveries.map(|delivery| (delivery.time, rows(&delivery.new), rows(&delivery.old)));
    (naive.columns().to_vec(), deliveries.collect())
}

fn value_agrees(left: &Value, right: &Value) -> bool {
    match (left, right) {
        // A running deviation keeps rounding errors of the squares of what it has seen: nothing may have become a little,
        // or the root of a little below nothing.
        (Value::Double(wanted), Value::Double(given)) => {
            (wanted - given).abs() <= 1e-5 || wanted == given || wanted.abs() <= 1e-5 && given.is_nan()
        }
        // The interpreter has no types before it has values: an int may stand where the engine has a long.
        _ => left == right && matches!(left, Value::Double(_)) == matches!(right, Value::Double(_)),
    }
}

fn rows_agree(left: &[Vec<Value>], right: &[Vec<Value>], ordered: bool) -> bool {
    let same =
        |left: &Vec<Value>, right: &Vec<Value>| left.iter().zip(right).all(|(left, right)| value_agrees(left, right));
    if left.len() != right.len() || ordered {
        return left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right));
    }
    let mut rest: Vec<&Vec<Value>> = right.iter().collect();
    left.iter().all(|row| {
        let at = rest.iter().position(|other| same(row, other));
        at.map(|at| rest.swap_remove(at)).is_some()
    })
}

/// Holds the deliveries of a statement against those that are wanted.
fn compare(
    statement: &str,
    wanted: &Deliveries,
    given: &Deliveries,
    of: impl Fn() -> String,
) -> Result<(), TestCaseError> {
    let ordered = statement.contains(" order by ");
    for delivery in 0..wanted.len().max(given.len()) {
        let (wanted, given) = (wanted.get(delivery), given.get(delivery));
        let agrees = wanted.zip(given).is_some_and(|(wanted, given)| {
            wanted.0 == given.0 && rows_agree(&wanted.1, &given.1, ordered) && rows_agree(&wanted.2, &given.2, ordered)
        });
        prop_assert!(
            agrees,
            "{statement}\ndelivery {delivery}: wanted {wanted:?}\ngiven {given:?}\n{}",
            of()
        );
    }
    Ok(())
}

fn check(statements: &[String], rows: &[Row], cuts: &[usize], restart: usize) -> Result<(), TestCaseError> {
    let text = module(statements);
    let stream = Stream::new(rows);
    for execution in [Execution::Mixed, Execution::ByRow] {
        let given = run(&text, &stream, cuts, restart, execution);
        for (at, statement) in statements.iter().enumerate() {
            let name = format!("s{at}");
            let (columns, wanted) = witness(&text, &name, &stream);
            let nothing = Vec::new();
            let given = given.get(&name).unwrap_or(&nothing);
            compare(statement, &wanted, given, || {
                format!("{execution:?}, columns {columns:?}, of {:?}", stream.rows)
            })?;
        }
    }
    Ok(())
}

/// Any way to the parts.
fn way() -> impl Strategy<Value = Way> {
    let cuts = proptest::collection::vec(any::<usize>(), 0..5);
    (1_usize..5, any::<u64>(), cuts, 0_usize..5).prop_map(|(parts, seed, cuts, restart)| Way {
        parts,
        seed,
        cuts,
        restart,
    })
}

/// Spread over parts, statements give what one engine gives.
fn check_parts(statements: &[String], rows: &[Row], way: &Way) -> Result<(), TestCaseError> {
    let text = module(statements);
    let stream = Stream::new(rows);
    let whole = run(&text, &stream, &[], usize::MAX, Execution::Mixed);
    let (catalog, plans) = plan(&text);
    let steps = [Step::Rows(stream.batch.clone()), Step::Clock(stream.end_ms)];
    let parts = parted::run((&catalog, &plans), START_MS, "time", &steps, way);
    for (at, statement) in statements.iter().enumerate() {
        let name = format!("s{at}");
        let nothing = Vec::new();
        let (wanted, given) = (
            whole.get(&name).unwrap_or(&nothing),
            parts.get(&name).unwrap_or(&nothing),
        );
        compare(statement, wanted, given, || format!("in parts, of {:?}", stream.rows))?;
    }
    Ok(())
}

/// Runs a property over statements of a kind, with the same random choices each time.
fn hold(cases: u32, seed: u64, statements: impl Strategy<Value = Vec<String>>) {
    let cuts = proptest::collection::vec(any::<usize>(), 0..5);
    hold_for(
        cases,
        seed,
        statements,
        (cuts, 0_usize..5),
        |statements, rows, (cuts, restart)| check(statements, rows, &cuts, restart),
    );
}

fn hold_parts(cases: u32, seed: u64, statements: impl Strategy<Value = Vec<String>>) {
    hold_for(cases, seed, statements, way(), |statements, rows, way| {
        check_parts(statements, rows, &way)
    });
}

fn hold_for<W: std::fmt::Debug>(
    cases: u32,
    seed: u64,
    statements: impl Strategy<Value = Vec<String>>,
    way: impl Strategy<Value = W>,
    check: impl Fn(&[String], &[Row], W) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 3000,
        ..Config::default()
    };
    let rows = proptest::collection::vec(row(), 1..40);
    let result = TestRunner::new(config).run(&(statements, rows, way), |(statements, rows, way)| {
        check(&statements, &rows, way)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// How many cases are tried; `WITNESS_CASES` makes it more for a longer search.
fn cases(usual: u32) -> u32 {
    std::env::var("WITNESS_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(usual)
}

fn seed() -> u64 {
    std::env::var("WITNESS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1)
}

#[test]
fn statements_give_what_the_interpreter_gives() {
    hold(cases(400), seed(), proptest::collection::vec(statement(), 1..4));
}

#[test]
fn joins_give_what_the_interpreter_gives() {
    hold(cases(200), seed(), proptest::collection::vec(join(), 1..2));
}

#[test]
fn statements_in_parts_give_what_one_engine_gives() {
    hold_parts(cases(400), seed(), proptest::collection::vec(statement(), 1..4));
}

#[test]
fn joins_in_parts_give_what_one_engine_gives() {
    hold_parts(cases(200), seed(), proptest::collection::vec(join(), 1..3));
}
