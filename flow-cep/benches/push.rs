//! What pushing flows through the columnar runtime costs, by shape of statement and for several that share their work.

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flow_cep::event_type::EventType;
use flow_cep::plan::Planner;
use flow_cep::{Engine, Limits, parse};

const FLOWS: usize = 200_000;
const FLOWS_PER_MS: usize = 2;
const BATCH_ROWS: usize = 8192;
const START_MS: i64 = 1_400_000_000_000;

const STATEMENTS: [(&str, &str); 4] = [
    (
        "sum_by_source",
        "select src, sum(bytes) as total from Flow#time(60 sec) group by src output snapshot every 10 sec \
         order by sum(bytes) desc limit 10",
    ),
    (
        "sum_by_pair",
        "select src, dst, count(*) as flows, sum(bytes) as total from Flow#time(60 sec) group by src, dst \
         output snapshot every 10 sec order by sum(bytes) desc limit 10",
    ),
    (
        "distinct_by_source",
        "select src, count(distinct dst) as hosts from Flow(proto = 6, packets <= 3)#time(60 sec) group by src \
         having count(distinct dst) > 100 output snapshot every 10 sec order by count(distinct dst) desc, src",
    ),
    (
        "first_of_batch",
        "select src, dst, bytes from Flow#time_batch(10 sec) order by bytes desc, src limit 10",
    ),
];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("time", DataType::Int64, false),
        Field::new("src", DataType::FixedSizeBinary(16), false),
        Field::new("dst", DataType::FixedSizeBinary(16), false),
        Field::new("proto", DataType::Int32, false),
        Field::new("packets", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
    ]))
}

/// Flows whose hosts are drawn with heavy tails, the same each time.
fn flows() -> Vec<RecordBatch> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut unit = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from(u32::try_from(state >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0
    };
    let address = |host: f64| {
        let mut octets = [0_u8; 16];
        octets[10..12].fill(0xff);
        octets[8..16].copy_from_slice(&host.to_bits().to_be_bytes());
        octets
    };
    (0..FLOWS)
        .step_by(BATCH_ROWS)
        .map(|first| {
            let rows = BATCH_ROWS.min(FLOWS - first);
            let times = (first..first + rows).map(|row| START_MS + i64::try_from(row / FLOWS_PER_MS).unwrap_or(0));
            let mut hosts = |most: f64| -> ArrayRef {
                let octets = (0..rows).map(|_| address(most.powf(unit()).floor()));
                Arc::new(FixedSizeBinaryArray::try_from_iter(octets).unwrap_or_else(|_| unreachable!("16 octets each")))
            };
            let (src, dst) = (hosts(20_000.0), hosts(300_000.0));
            let protos: Int32Array = (0..rows).map(|_| if unit() < 0.6 { 6 } else { 17 }).collect();
            #[expect(clippy::cast_possible_truncation, reason = "at most a thousand")]
            let packets: Int64Array = (0..rows).map(|_| 1000_f64.powf(unit()) as i64).collect();
            let bytes: Int64Array = packets
                .iter()
                .map(|packets| packets.map(|packets| packets * 700))
                .collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(times)),
                src,
                dst,
                Arc::new(protos),
                Arc::new(packets),
                Arc::new(bytes),
            ];
            RecordBatch::try_new(schema(), columns).unwrap_or_else(|error| unreachable!("{error}"))
        })
        .collect()
}

fn engine(text: &str) -> Engine {
    let event_type = EventType::new("Flow", schema(), Some("time")).unwrap_or_else(|error| unreachable!("{error}"));
    let mut planner = Planner::new([event_type]);
    let module = parse(text).unwrap_or_else(|error| unreachable!("{error}"));
    let plan = |statement| {
        planner
            .plan(statement, text)
            .unwrap_or_else(|error| unreachable!("{error}"))
    };
    let plans: Vec<_> = module.statements.iter().map(plan).collect();
    Engine::new(Arc::new(planner.catalog().clone()), &plans, START_MS, Limits::default())
}

fn push(criterion: &mut Criterion) {
    let batches = flows();
    let mut group = criterion.benchmark_group("push");
    group.throughput(Throughput::Elements(FLOWS as u64)).sample_size(10);
    let together = STATEMENTS.map(|(_, text)| text).join(";\n");
    for (name, text) in STATEMENTS.into_iter().chain([("together", &*together)]) {
        let run = |mut engine: Engine| {
            for batch in &batches {
                let _ = engine.push("Flow", batch);
                while let Some(delivery) = engine.next_output() {
                    black_box(delivery);
                }
            }
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| engine(text), run, BatchSize::PerIteration)
        });
    }
    group.finish();
}

criterion_group!(benches, push);
criterion_main!(benches);
