//! The columnar runtime gives what the row runtime gives, for any split of the stream and through a checkpoint.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, UInt8Array,
    UInt16Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
mod parted;

use flow_cep::event_type::EventType;
use flow_cep::plan::explain::explain_all;
use flow_cep::plan::{Planner, StatementPlan};
use flow_cep::value::Value;
use flow_cep::{Engine, Execution, Limits, Rows, parse};
use proptest::prelude::*;

const START_MS: i64 = 1_000_000;

fn schema() -> SchemaRef {
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("src", DataType::FixedSizeBinary(16), false),
        Field::new("dst", DataType::FixedSizeBinary(16), true),
        Field::new("port", DataType::UInt16, false),
        Field::new("proto", DataType::UInt8, false),
        Field::new("bytes", DataType::Int64, true),
        Field::new("load", DataType::Float64, true),
        Field::new("inside", DataType::Boolean, true),
        Field::new("probe", text, true),
    ]))
}

#[derive(Clone, Debug)]
struct Row {
    after_ms: i64,
    src: u8,
    dst: Option<u8>,
    port: u16,
    proto: u8,
    bytes: Option<i64>,
    load: Option<i8>,
    inside: Option<bool>,
    probe: Option<u8>,
}

fn row() -> impl Strategy<Value = Row> {
    // Half seconds make rows come and go at the very instants of snapshots.
    let pause = prop_oneof![
        6 => Just(0_i64),
        6 => 1_i64..400,
        4 => (1_i64..5).prop_map(|halves| halves * 500),
        2 => 400_i64..3000,
        1 => 3000_i64..30_000,
    ];
    let whole = proptest::option::weighted(0.9, -5_i64..60);
    (
        (
            pause,
            0_u8..6,
            proptest::option::weighted(0.9, 0_u8..5),
            prop_oneof![Just(80_u16), Just(443), 0_u16..5],
        ),
        (
            prop_oneof![Just(6_u8), Just(17)],
            whole,
            proptest::option::weighted(0.9, -20_i8..20),
        ),
        (
            proptest::option::weighted(0.9, any::<bool>()),
            proptest::option::weighted(0.9, 0_u8..3),
        ),
    )
        .prop_map(
            |((after_ms, src, dst, port), (proto, bytes, load), (inside, probe))| Row {
                after_ms,
                src,
                dst,
                port,
                proto,
                bytes,
                load,
                inside,
                probe,
            },
        )
}

fn address(last: u8) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]
}

/// The rows as one batch; their times start after `START_MS`.
fn batch(rows: &[Row]) -> RecordBatch {
    let mut time = START_MS + 500;
    let times: Int64Array = rows
        .iter()
        .map(|row| {
            time += row.after_ms;
            Some(time)
        })
        .collect();
    let src = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|row| address(row.src))).unwrap();
    let dst = rows.iter().map(|row| row.dst.map(address));
    let dst = FixedSizeBinaryArray::try_from_sparse_iter_with_size(dst, 16).unwrap();
    let names = ["north", "south", "east"];
    let probes: DictionaryArray<Int32Type> = rows
        .iter()
        .map(|row| row.probe.map(|probe| names[usize::from(probe)]))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(src),
        Arc::new(dst),
        Arc::new(rows.iter().map(|row| Some(row.port)).collect::<UInt16Array>()),
        Arc::new(rows.iter().map(|row| Some(row.proto)).collect::<UInt8Array>()),
        Arc::new(rows.iter().map(|row| row.bytes).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.load.map(|load| f64::from(load) / 4.0))
                .collect::<Float64Array>(),
        ),
        Arc::new(rows.iter().map(|row| row.inside).collect::<BooleanArray>()),
        Arc::new(probes),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A statement of a shape that may run by column.
fn statement() -> impl Strategy<Value = String> {
    let filter = prop_oneof![
        Just(""),
        Just("(proto = 6)"),
        Just("(port in (80, 443), bytes > 3)"),
        Just("(inside = true)"),
        Just("(probe = 'north' or load < 1.5)"),
        Just("(src in 10.0.0.0/31, not (bytes <= 20))"),
    ];
    let key = prop_oneof![
        Just(""),
        Just("src"),
        Just("src, dst"),
        Just("dst, port"),
        Just("probe"),
        Just("inside, proto, src"),
        Just("load"),
        Just("bytes"),
    ];
    let aggregates = proptest::sample::subsequence(
        vec![
            "count(*)",
            "count(bytes)",
            "count(distinct dst)",
            "count(distinct port)",
            "sum(bytes)",
            "sum(load)",
            "avg(bytes)",
            "min(bytes)",
            "max(load)",
            "max(port)",
            "stddev(bytes)",
            "count(*, proto = 6)",
            "sum(bytes, port = 80)",
            "count(distinct probe, inside)",
        ],
        1..5,
    );
    let having = prop_oneof![
        3 => Just(""),
        1 => Just(" having count(*) > 2"),
        1 => Just(" having count(distinct dst) >= 2 or sum(bytes) > 40"),
    ];
    let window = prop_oneof![
        4 => Just(("#time(5 sec)", " output snapshot every 2 sec")),
        2 => Just(("#time(6 sec)", " output snapshot every 2 sec")),
        2 => Just(("#time(3 sec)", " output snapshot every 1500 msec")),
        1 => Just(("#time(1 sec)", " output snapshot every 3 sec")),
        1 => Just(("", " output snapshot every 2 sec")),
        1 => Just(("#keepall", " output snapshot every 7 sec")),
        3 => Just(("#time_batch(2 sec)", "")),
        1 => Just(("#time_batch(3 sec, 0L)", "")),
        1 => Just(("#time_batch(2 sec, \"FORCE_UPDATE\")", "")),
        1 => Just(("#time_batch(2 sec, \"START_EAGER\")", "")),
    ];
    let condition = prop_oneof![3 => Just(""), 1 => Just(" where bytes > 5")];
    // Every column of a row is in the order, so that the limit cuts between rows that differ.
    let limit = prop_oneof![Just(""), Just(" limit 3"), Just(" limit 2 offset 1")];
    let grouped = (
        filter.clone(),
        key,
        aggregates,
        having,
        window,
        condition,
        limit,
        any::<bool>(),
    )
        .prop_map(
            |(filter, key, aggregates, having, (window, output), condition, limit, descending)| {
                let keys: Vec<&str> = if key.is_empty() {
                    Vec::new()
                } else {
                    key.split(", ").collect()
                };
                let columns: Vec<String> = keys
                    .iter()
                    .map(|key| (*key).to_owned())
                    .chain(
                        aggregates
                            .iter()
                            .enumerate()
                            .map(|(at, aggregate)| format!("{aggregate} as a{at}")),
                    )
                    .collect();
                let group = if key.is_empty() {
                    String::new()
                } else {
                    format!(" group by {key}")
                };
                let having = having.to_owned();
                let direction = if descending { " desc" } else { "" };
                // Deviations that are equal may differ by rounding, and then decide the order.
                let first = aggregates
                    .iter()
                    .copied()
                    .filter(|aggregate| !aggregate.starts_with("stddev"))
                    .take(1);
                let order: Vec<&str> = first.chain(keys.iter().copied()).collect();
                let order = if limit.is_empty() || key.is_empty() {
                    String::new()
                } else {
                    format!(" order by {}", order.join(&format!("{direction}, ")))
                };
                let limit = if order.is_empty() { "" } else { limit };
                let columns = columns.join(", ");
                format!("select {columns} from Flow{filter}{window}{condition}{group}{having}{output}{order}{limit}")
            },
        );
    let order = prop_oneof![
        Just(" order by bytes desc, time, src, port, load, dst limit 4"),
        Just(" order by load * 2.0, src desc limit 5 offset 1"),
        Just(" order by probe, bytes"),
        Just(""),
        Just(" limit 3"),
    ];
    let rows = (filter, order).prop_map(|(filter, order)| {
        format!("select time, src, dst, port, bytes + 1 as more, load / 2 as half, probe from Flow{filter}#time_batch(2 sec){order}")
    });
    prop_oneof![4 => grouped, 1 => rows, 4 => watched()]
}

/// A statement that gives a group's row as soon as its condition is true.
fn watched() -> impl Strategy<Value = String> {
    watched_by(
        &[
            "",
            "(proto = 6)",
            "(bytes > 3)",
            "(coalesce(inside, src = 10.0.0.1) = true)",
        ],
        &[
            "src",
            "src, dst",
            "dst, port",
            "probe",
            "inside, proto, src",
            "load",
            "port + 1",
            "min(src, dst), max(src, dst)",
        ],
    )
}

/// A statement that looks every so often at groups of many rows.
fn seen() -> impl Strategy<Value = String> {
    let filter = prop_oneof![Just(""), Just("(proto = 6)"), Just("(bytes > 3)")];
    let key = prop_oneof![
        Just("probe"),
        Just("inside"),
        Just("proto"),
        Just("port"),
        Just("inside, proto"),
        Just("src")
    ];
    let aggregates = proptest::sample::subsequence(
        vec![
            "count(*)",
            "count(bytes)",
            "count(distinct src)",
            "count(distinct port)",
            "count(distinct probe)",
            "sum(bytes)",
            "sum(port)",
            "avg(bytes)",
        ],
        1..5,
    );
    let having = prop_oneof![
        3 => Just("count(*) >= 16"),
        1 => Just("count(*) > 20 and sum(bytes) > 100"),
        1 => Just("count(*) >= 16 or count(distinct port) >= 17"),
        1 => Just("count(distinct probe) >= 2 and count(*) >= 18"),
        1 => Just("count(bytes) >= 17 and avg(bytes) < 30"),
        1 => Just("count(*) = 20"),
    ];
    let window = prop_oneof![
        Just("#time(5 sec)"),
        Just("#time(1 sec)"),
        Just("#time(20 sec)"),
        Just("#time(1 min)")
    ];
    let every = prop_oneof![Just("1 sec"), Just("2 sec"), Just("700 msec"), Just("30 sec")];
    let order = prop_oneof![3 => Just(""), 1 => Just(" order by count(*) desc limit 2"), 1 => Just(" limit 1")];
    (filter, key, aggregates, having, window, every, order).prop_map(
        |(filter, key, aggregates, having, window, every, order)| {
            let aggregates = aggregates.join(", ");
            format!(
                "select {key}, {aggregates} from Flow{filter}{window} group by {key} having {having} \
                 output snapshot every {every}{order}"
            )
        },
    )
}

/// The same with these filters and keys.
fn watched_by(filters: &'static [&str], keys: &'static [&str]) -> impl Strategy<Value = String> {
    let (filter, key) = (proptest::sample::select(filters), proptest::sample::select(keys));
    let aggregates = proptest::sample::subsequence(
        vec![
            "count(*)",
            "count(bytes)",
            "count(distinct dst)",
            "count(distinct port)",
            "sum(bytes)",
            "sum(load)",
            "avg(bytes)",
            "avg(load)",
            "min(bytes)",
            "max(load)",
            "max(port)",
            "stddev(bytes)",
            "count(*, proto = 6)",
            "sum(bytes, port = 80)",
            "count(distinct probe, inside)",
            "last(dst)",
            "last(bytes)",
            "last(probe)",
            "first(port)",
            "first(inside)",
            "current_timestamp()",
        ],
        1..6,
    );
    let having = prop_oneof![
        2 => Just(""),
        2 => Just(" having count(*) > 2"),
        2 => Just(" having count(distinct dst) >= 2 or sum(bytes) > 40"),
        2 => Just(" having count(distinct dst) >= 2 and count(*) > 3"),
        2 => Just(" having sum(bytes) >= 50"),
        1 => Just(" having 30 < sum(bytes) and count(distinct port) = 2"),
        1 => Just(" having count(distinct dst) = 2"),
        1 => Just(" having avg(bytes) > 20 or sum(load) < 1.0"),
        1 => Just(" having sum(bytes) is null"),
        1 => Just(" having max(bytes) - min(bytes) > 30 and count(*) >= 4"),
        1 => Just(" having count(*) >= 3 and not stddev(bytes) > 0.7 * avg(bytes)"),
        1 => Just(" having count(*, proto = 6) between 2 and 3"),
    ];
    let window = prop_oneof![Just("#time(5 sec)"), Just("#time(1 sec)"), Just("#time(20 sec)")];
    let output = prop_oneof![
        2 => Just(" output first every 5 sec"),
        1 => Just(" output first every 700 msec"),
        2 => Just(" output first every 1 min"),
        1 => Just(""),
    ];
    let condition = prop_oneof![4 => Just(""), 1 => Just(" where bytes > 5")];
    let limit = prop_oneof![2 => Just(""), 1 => Just(" limit 2"), 1 => Just(" limit 2 offset 1")];
    (filter, key, aggregates, having, window, output, condition, limit).prop_map(
        |(filter, key, aggregates, having, window, output, condition, limit)| {
            let aggregates: Vec<String> = aggregates
                .iter()
                .enumerate()
                .map(|(at, aggregate)| format!("{aggregate} as a{at}"))
                .collect();
            let aggregates = aggregates.join(", ");
            // Every key is in the order, so that the limit cuts between rows that differ.
            let order = if limit.is_empty() {
                String::new()
            } else {
                format!(" order by count(*) desc, {key}{limit}")
            };
            format!(
                "select {key}, {aggregates} from Flow{filter}{window}{condition} group by {key}{having}{output}{order}"
            )
        },
    )
}

fn plan(statements: &[String]) -> (Arc<flow_cep::plan::Catalog>, Vec<StatementPlan>) {
    let mut planner = Planner::new([EventType::new("Flow", schema(), Some("time")).unwrap()]);
    let text = statements.join(";\n");
    let module = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let plans = module
        .statements
        .iter()
        .map(|statement| planner.plan(statement, &text).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    (Arc::new(planner.catalog().clone()), plans)
}

/// For each statement its deliveries: time and rows, those of a statement without an order sorted.
type Results = HashMap<String, Vec<(i64, Vec<Vec<Value>>)>>;

fn collect(engine: &mut Engine, results: &mut Results) {
    while let Some(delivery) = engine.next_output() {
        let deliveries = results.entry(delivery.statement.to_string()).or_default();
        assert_eq!(delivery.number, deliveries.len() as u64 + 1);
        let rows = (0..delivery.new.len()).map(|row| delivery.new.values(row)).collect();
        assert!(delivery.old.is_empty());
        deliveries.push((delivery.time_ms, rows));
    }
}

/// Whether two values are equal up to rounding. A deviation is the root of a difference that rows leave by and by, so that
/// where it is nothing a rounding error of 1e-11 shows as 3e-6, or, below nothing, as no number.
fn close(left: &Value, right: &Value, deviation: bool) -> bool {
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => {
            let rounding = if deviation { 1e-5 } else { 1e-9 };
            let (left, right) = match deviation {
                true => (left.max(0.0), right.max(0.0)),
                false => (*left, *right),
            };
            left == right || (left - right).abs() <= rounding * left.abs().max(right.abs()).max(1.0)
        }
        _ => left == right && left.value_type() == right.value_type(),
    }
}

fn compare(
    text: &str,
    by_row: &[(i64, Vec<Vec<Value>>)],
    by_column: &[(i64, Vec<Vec<Value>>)],
) -> Result<(), TestCaseError> {
    let times = |deliveries: &[(i64, Vec<Vec<Value>>)]| -> Vec<(i64, usize)> {
        deliveries.iter().map(|(time, rows)| (*time, rows.len())).collect()
    };
    prop_assert_eq!(times(by_row), times(by_column), "{}", text);
    for ((time, expected), (_, found)) in by_row.iter().zip(by_column) {
        let (mut expected, mut found) = (expected.clone(), found.clone());
        if !text.contains("order by") {
            expected.sort();
            found.sort();
        }
        for (expected, found) in expected.iter().zip(&found) {
            let deviation = text.contains("stddev");
            let mut values = expected.iter().zip(found);
            let same = expected.len() == found.len() && values.all(|(left, right)| close(left, right, deviation));
            prop_assert!(
                same,
                "{}\nat {}: by row {:?}, by column {:?}",
                text,
                time,
                expected,
                found
            );
        }
    }
    Ok(())
}

fn engine(statements: &[String], execution: Execution) -> Engine {
    let (catalog, plans) = plan(statements);
    Engine::with_execution(catalog, &plans, START_MS, Limits::default(), execution)
}

/// Any way to the parts.
fn way() -> impl Strategy<Value = parted::Way> {
    let cuts = proptest::collection::vec(any::<usize>(), 0..5);
    (1_usize..5, any::<u64>(), cuts, 0_usize..5).prop_map(|(parts, seed, cuts, restart)| parted::Way {
        parts,
        seed,
        cuts,
        restart,
    })
}

/// Spread over parts, statements give what one engine gives.
fn check_parts(statements: &[String], rows: &[Row], way: &parted::Way) -> Result<(), TestCaseError> {
    let whole = batch(rows);
    let end = START_MS + 200_000;
    let mut one = engine(statements, Execution::Mixed);
    let mut expected = Results::new();
    one.push("Flow", &whole).unwrap();
    one.advance(end);
    collect(&mut one, &mut expected);
    let (catalog, plans) = plan(statements);
    let steps = [parted::Step::Rows(whole), parted::Step::Clock(end)];
    let found = parted::run((&catalog, &plans), START_MS, "time", &steps, way);
    for (text, plan) in statements.iter().zip(&plans) {
        let none = Vec::new();
        let found = found.get(&plan.name).map_or_else(Vec::new, |deliveries| {
            deliveries.iter().map(|(time, new, _)| (*time, new.clone())).collect()
        });
        compare(text, expected.get(&plan.name).unwrap_or(&none), &found)?;
    }
    Ok(())
}

fn check(statements: &[String], rows: &[Row], cuts: &[usize], checkpoint: usize) -> Result<(), TestCaseError> {
    let whole = batch(rows);
    let mut by_row = engine(statements, Execution::ByRow);
    by_row.push("Flow", &whole).unwrap();
    let mut expected = Results::new();
    let end = START_MS + 200_000;
    by_row.advance(end);
    collect(&mut by_row, &mut expected);

    let mut by_column = engine(statements, Execution::Mixed);
    let mut found = Results::new();
    let mut cuts: Vec<usize> = cuts
        .iter()
        .map(|cut| cut % (rows.len() + 1))
        .chain([rows.len()])
        .collect();
    cuts.sort_unstable();
    let mut from = 0;
    for (number, cut) in cuts.into_iter().enumerate() {
        by_column.push("Flow", &whole.slice(from, cut - from)).unwrap();
        collect(&mut by_column, &mut found);
        if number == checkpoint {
            let saved = by_column.checkpoint().unwrap();
            by_column = engine(statements, Execution::Mixed);
            by_column.restore(&saved).unwrap();
        }
        from = cut;
    }
    by_column.advance(end);
    collect(&mut by_column, &mut found);
    for (number, text) in statements.iter().enumerate() {
        let (_, plans) = plan(statements);
        let name = &plans[number].name;
        let none = Vec::new();
        compare(
            text,
            expected.get(name).unwrap_or(&none),
            found.get(name).unwrap_or(&none),
        )?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn columnar_results_equal_those_by_row(
        statements in proptest::collection::vec(statement(), 1..4),
        rows in proptest::collection::vec(row(), 1..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        checkpoint in 0_usize..6,
    ) {
        check(&statements, &rows, &cuts, checkpoint)?;
    }
}

/// Statements of which one inserts what the others read, in an order that is told: groups without one are a set.
fn chained() -> impl Strategy<Value = Vec<String>> {
    let first = prop_oneof![
        Just(
            "from Flow(proto = 6)#time(3 sec) group by src having count(*) > 1 output snapshot every 2 sec order by src"
        ),
        Just("from Flow#time_batch(1 sec) group by src order by src desc"),
        Just("from Flow group by src output snapshot every 1 sec order by count(*) desc, src limit 3"),
    ];
    let then = prop_oneof![
        Just(
            "select src, count(*) as n, max(total) as most from Busy#time(2 sec) group by src output first every 3 sec"
        ),
        Just("select src, n, total from Busy(n > 1)"),
        Just(
            "select b.src as src, b.n as n, c.n as m from pattern [every b=Busy -> c=Busy(src = b.src) where timer:within(3 sec)]"
        ),
        Just("select f.src as src, f.bytes as bytes, (select sum(n) from Busy#time(3 sec)) as n from Flow as f"),
    ];
    (first, proptest::collection::vec(then, 1..3)).prop_map(|(first, then)| {
        std::iter::once(format!(
            "insert into Busy select src, count(*) as n, sum(bytes) as total {first}"
        ))
        .chain(then.into_iter().map(str::to_owned))
        .collect()
    })
}

/// Statements over events that others pass on, and over pairs of these.
fn paired() -> impl Strategy<Value = Vec<String>> {
    let call = prop_oneof![
        Just("insert into Call select time as at, src, dst, port, bytes, load, inside from Flow(proto = 6)"),
        Just(
            "insert into Call select time as at, src, dst, port + 1 as port, bytes, load / 2 as load, inside from Flow where bytes > 5"
        ),
    ];
    let gap = prop_oneof![
        Just("from pattern [every a=Call -> b=Call(src = a.src) where timer:within(3 sec)]"),
        Just(
            "from pattern [every a=Call -> b=Call(src = a.src, dst = a.dst) where timer:within(500 msec)] where b.bytes > a.bytes"
        ),
        Just(
            "from pattern [every a=Call(inside = true) -> b=Call(src = a.src) where timer:within(2 sec)] where b.at - a.at >= 100 or a.load is null"
        ),
        Just(
            "from pattern [every a=Call(bytes > 9, inside = true) -> b=Call(bytes > 9, dst = a.dst, port = a.port) where timer:within(10 sec)]"
        ),
        Just("from pattern [every a=Call(bytes < 30) -> b=Call(bytes > 9, src = a.src) where timer:within(10 sec)]"),
    ];
    let then = prop_oneof![
        Just("select src, count(*) as n, max(more) as most from Gap#time(2 sec) group by src output first every 3 sec"),
        Just(
            "select f.src as src, f.bytes as bytes, (select sum(more) from Gap#time(3 sec)) as n from Flow(proto = 6) as f"
        ),
        Just(
            "select f.src as src, (select count(*) from Call#time(2 sec) as c where c.src = f.src) as n from Flow as f"
        ),
        Just(
            "select a.port as p, b.port as q, b.time - a.time as ms, b.probe as probe from pattern [every a=Flow(inside = true) -> b=Flow(src = a.src) where timer:within(1 sec)] where b.time - a.time >= 100"
        ),
        Just("select at, port from Call(bytes > 20)"),
        Just(
            "select c.src as src, g.ms as ms from pattern [every c=Call -> g=Gap(src = c.src) where timer:within(1 sec)]"
        ),
    ];
    (call, gap, proptest::collection::vec(then, 1..3)).prop_map(|(call, gap, then)| {
        let gap = format!(
            "insert into Gap select a.src as src, b.dst as dst, b.at - a.at as ms, b.bytes - a.bytes as more, a.load as load, a.inside as inside {gap}"
        );
        let then = then.into_iter().map(str::to_owned);
        [call.to_owned(), gap].into_iter().chain(then).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn statements_in_parts_give_what_one_engine_gives(
        statements in proptest::collection::vec(statement(), 1..4),
        rows in proptest::collection::vec(row(), 1..120),
        way in way(),
    ) {
        check_parts(&statements, &rows, &way)?;
    }

    #[test]
    fn what_feeds_others_gives_in_parts_what_it_gives_in_one(
        statements in prop_oneof![paired(), chained()],
        rows in proptest::collection::vec(row(), 1..120),
        way in way(),
    ) {
        check_parts(&statements, &rows, &way)?;
    }

    #[test]
    fn windows_of_several_lengths_share_their_groups(
        statements in proptest::collection::vec(watched_by(&["(proto = 6)"], &["src", "src, dst"]), 2..6),
        rows in proptest::collection::vec(row(), 1..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        checkpoint in 0_usize..6,
    ) {
        check(&statements, &rows, &cuts, checkpoint)?;
    }

    #[test]
    fn looks_at_large_groups_by_column_are_those_by_row(
        statements in proptest::collection::vec(prop_oneof![3 => seen(), 1 => watched()], 1..5),
        rows in proptest::collection::vec(row(), 1..400),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        checkpoint in 0_usize..6,
    ) {
        check(&statements, &rows, &cuts, checkpoint)?;
    }

    #[test]
    fn looks_at_large_groups_in_parts_are_those_of_one(
        statements in proptest::collection::vec(seen(), 1..4),
        rows in proptest::collection::vec(row(), 1..400),
        way in way(),
    ) {
        check_parts(&statements, &rows, &way)?;
    }

    #[test]
    fn pairs_and_what_is_passed_on_by_column_are_those_by_row(
        statements in paired(),
        rows in proptest::collection::vec(row(), 1..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        checkpoint in 0_usize..6,
    ) {
        check(&statements, &rows, &cuts, checkpoint)?;
    }

    #[test]
    fn what_is_inserted_by_column_is_read_as_if_it_were_by_row(
        statements in chained(),
        rows in proptest::collection::vec(row(), 1..120),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        checkpoint in 0_usize..6,
    ) {
        check(&statements, &rows, &cuts, checkpoint)?;
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    let statements = vec![
        "select src, count(distinct dst) as n, sum(bytes) as s, max(bytes) as m from Flow#time(5 sec) group by src output snapshot every 2 sec".to_owned(),
        "select src, bytes from Flow#time_batch(2 sec) order by bytes desc limit 2".to_owned(),
    ];
    let rows: Vec<Row> = (0..50_u8)
        .map(|at| Row {
            after_ms: 100,
            src: at % 7,
            dst: Some(at % 5),
            port: 80,
            proto: 6,
            bytes: Some(i64::from(at)),
            load: None,
            inside: None,
            probe: None,
        })
        .collect();
    let whole = batch(&rows);
    let mut first = engine(&statements, Execution::Mixed);
    first.push("Flow", &whole.slice(0, 30)).unwrap();
    let saved = first.checkpoint().unwrap();
    for at in (0..saved.len()).step_by(7) {
        let mut damaged = saved.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(engine(&statements, Execution::Mixed).restore(&damaged).is_err());
        assert!(engine(&statements, Execution::Mixed).restore(&saved[..at]).is_err());
    }
}

#[test]
fn statements_that_see_every_flow_run_by_column() {
    let statements: Vec<String> = [
        "select src, count(distinct dst) as n from Flow(proto = 6)#time(5 sec) group by src having count(*) > 0 output snapshot every 2 sec order by count(distinct dst) desc, src",
        "select src, dst, sum(bytes) as s from Flow#time(5 sec) where bytes > 0 group by src, dst output snapshot every 2 sec order by sum(bytes) desc limit 10",
        "select src, bytes * 8.0 as bits from Flow(bytes > 1)#time_batch(2 sec) order by bytes * 8.0 desc, time limit 10",
        "select count(*) as n, sum(bytes) * 8 as bits from Flow#time_batch(1 sec)",
        "select probe, avg(bytes) as a, max(port) as p from Flow group by probe output snapshot every 2 sec",
        "select probe, count(*) as n from Flow#time(1 min) group by probe having count(*) >= 20 output snapshot every 5 sec",
    ]
    .map(str::to_owned)
    .to_vec();
    let rows: Vec<Row> = (0..60_u8)
        .map(|at| Row {
            after_ms: 100,
            src: at % 7,
            dst: Some(at % 5),
            port: 80,
            proto: 6,
            bytes: Some(i64::from(at)),
            load: None,
            inside: None,
            probe: Some(0),
        })
        .collect();
    let mut engine = engine(&statements, Execution::Mixed);
    engine.push("Flow", &batch(&rows)).unwrap();
    let mut by_column = std::collections::HashSet::new();
    while let Some(delivery) = engine.next_output() {
        assert!(
            matches!(delivery.new, Rows::Columns(_)),
            "{} ran by row",
            delivery.statement
        );
        by_column.insert(delivery.statement);
    }
    assert_eq!(by_column.len(), statements.len());
}

/// How each statement of a module runs, as `check` tells it.
fn forms(statements: &[&str]) -> Vec<String> {
    let statements: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
    let (catalog, plans) = plan(&statements);
    explain_all(&plans, &catalog)
        .iter()
        .map(|explanation| {
            let runs = explanation.lines.iter().find(|(topic, _)| *topic == "runs");
            runs.map_or_else(String::new, |(_, form)| form.clone())
        })
        .collect()
}

#[test]
fn alarms_pairs_and_what_feeds_them_run_by_column() {
    let column = [
        "insert into Call select time as at, src, dst, port from Flow(proto = 6)",
        "insert into Gap select a.src as src, b.at - a.at as ms from pattern [every a=Call -> b=Call(src = a.src) where timer:within(1 min)]",
        "insert into Busy select src, count(*) as n from Flow#time(5 sec) group by src output snapshot every 1 sec",
        "select src, last(dst) as peer, max(bytes) as most from Flow(port = 22)#time(5 sec) group by src having count(distinct dst) > 3 output first every 1 min",
        "select a.time as since, b.port as port from pattern [every a=Flow(inside = true) -> b=Flow(src = a.src) where timer:within(7 days)] where b.time - a.time > 1000",
    ];
    let row = [
        "select src, count(*) as n from Gap#time(5 sec) group by src having count(*) > 3 output first every 1 min",
        "select a.src as src from pattern [every a=Flow(proto = 6) -> b=Flow(proto = 17, src = a.src) where timer:within(1 min)]",
        "select a.probe as probe from pattern [every a=Flow -> b=Flow(src = a.src) where timer:within(1 min)]",
        "select src, first(bytes) as f from Flow#time(5 sec) group by src having first(bytes) > 3 output first every 1 min",
    ];
    let forms = forms(&[&column[..], &row[..]].concat());
    assert_eq!(forms[..column.len()], vec!["by column".to_owned(); column.len()][..]);
    assert_eq!(forms[column.len()..], vec!["by row".to_owned(); row.len()][..]);
}
