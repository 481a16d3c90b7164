//! Filters over whole columns: rows a second for the conditions that flow statements are made of.
#![allow(
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a bench may fail by panicking, and makes its data by cutting random bits"
)]

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int64Array, RecordBatch, UInt8Array, UInt16Array,
    types::Int32Type,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow_cep::event_type::EventType;
use flow_cep::expr::column::ColumnExpr;
use flow_cep::parse;
use flow_cep::plan::{Action, Planner};

const ROWS: usize = 65_536;

/// Columns as a bundle of flows has them; a multiplicative generator is random enough.
fn batch() -> RecordBatch {
    let random = |row: usize, salt: u64| (row as u64 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let addresses = (0..ROWS).map(|row| {
        let mut address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0];
        address[13..].copy_from_slice(&random(row, 3).to_be_bytes()[5..]);
        address
    });
    let names: DictionaryArray<Int32Type> = (0..ROWS).map(|row| ["north", "south", "east"][row % 3]).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "proto",
            Arc::new(UInt8Array::from_iter_values(
                (0..ROWS).map(|row| if random(row, 0) % 4 == 0 { 17 } else { 6 }),
            )),
        ),
        (
            "dst_port",
            Arc::new(UInt16Array::from_iter_values(
                (0..ROWS).map(|row| (random(row, 1) & 0xffff) as u16),
            )),
        ),
        (
            "tcp_flags",
            Arc::new(UInt16Array::from_iter_values(
                (0..ROWS).map(|row| (random(row, 5) & 0x3f) as u16),
            )),
        ),
        (
            "bytes",
            Arc::new(Int64Array::from_iter_values(
                (0..ROWS).map(|row| (random(row, 2) % 100_000) as i64),
            )),
        ),
        (
            "packets",
            Arc::new(Int64Array::from_iter_values(
                (0..ROWS).map(|row| (random(row, 4) % 100) as i64),
            )),
        ),
        (
            "src_internal",
            Arc::new(BooleanArray::from_iter((0..ROWS).map(|row| Some(row % 2 == 0)))),
        ),
        (
            "src_addr",
            Arc::new(FixedSizeBinaryArray::try_from_iter(addresses).expect("sixteen bytes each")),
        ),
        ("area", Arc::new(names)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn filters(criterion: &mut Criterion) {
    let batch = batch();
    let times = vec![0; ROWS];
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(ROWS as u64));
    for condition in [
        "proto = 6",
        "packets <= 3",
        "dst_port in (25, 6660, 6661, 6662, 6697)",
        "proto = 6 and dst_port in (25, 80, 443) and packets <= 3",
        "src_internal = true and proto = 6",
        "(tcp_flags & 2) = 2",
        "src_addr in 10.0.0.0/16",
        "area in ('north', 'east')",
        "bytes * 8000.0 / packets > 1000000",
    ] {
        let text = format!("select * from Flow({condition})");
        let event_type = EventType::new("Flow", batch.schema(), None).expect("columns of known types");
        let module = parse(&text).expect("a statement");
        let plan = Planner::new([event_type])
            .plan(&module.statements[0], &text)
            .expect("a plan");
        let Action::Select(select) = plan.action else { continue };
        let flow_cep::plan::SourcePlan::Events(filter) = &select.streams[0].source else {
            continue;
        };
        let compiled: Vec<_> = filter
            .conditions
            .iter()
            .map(|condition| ColumnExpr::new(condition, &batch.schema()).expect("a condition over columns"))
            .collect();
        group.bench_function(condition, |bencher| {
            bencher.iter(|| {
                for condition in &compiled {
                    black_box(condition.mask(black_box(&batch), &times));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, filters);
criterion_main!(benches);
