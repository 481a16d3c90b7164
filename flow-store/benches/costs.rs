//! What it costs to seal, read and store flows, in CPU time, and how many bytes a flow takes.
//!
//! Shared machines make wall time worthless: the process's CPU clock is measured. `arrow-ipc`'s own writer and reader run
//! beside the bundle, over the same batch.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a benchmark prints what it finds and fails by panicking"
)]

#[path = "../tests/flows/mod.rs"]
mod flows;

use std::hint::black_box;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::DataType;
use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flow_store::bundle::{Bundle, Compression};
use flow_store::parquet::writer::{FlowWriter, Place};
use flows::{Kind, Random, START_MS, enriched, flows, header};
use nix::time::{ClockId, clock_gettime};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// Flows of a bundle.
const BUNDLE_ROWS: usize = 8192;
/// Bundles of a file.
const BUNDLES: usize = 128;

/// The process's CPU clock.
struct CpuTime;

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu_time() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_secs_f64() * 1e9
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

/// CPU nanoseconds, and millions of flows per CPU-second.
struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        let (factor, unit) = if typical < 1e3 {
            (1.0, "CPU ns")
        } else if typical < 1e6 {
            (1e-3, "CPU µs")
        } else {
            (1e-6, "CPU ms")
        };
        values.iter_mut().for_each(|value| *value *= factor);
        unit
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let Throughput::Elements(rows) = throughput else {
            return "";
        };
        values.iter_mut().for_each(|value| *value = *rows as f64 * 1e3 / *value);
        "M flows/CPU-s"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

fn bundles(c: &mut Criterion<CpuTime>) {
    let batch = flows(Kind::V5, BUNDLE_ROWS, START_MS, &mut Random(1));
    let bundle = Bundle::new(header(1), batch.clone()).unwrap();
    let mut group = c.benchmark_group("bundle");
    group.throughput(Throughput::Elements(BUNDLE_ROWS as u64));
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1)] {
        let mut bytes = Vec::new();
        bundle.encode(compression, &mut bytes).unwrap();
        println!(
            "bundle {compression:?}: {:.1} bytes a flow",
            bytes.len() as f64 / BUNDLE_ROWS as f64
        );
        group.bench_function(BenchmarkId::new("seal and encode", format!("{compression:?}")), |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                let bundle = Bundle::new(header(1), batch.clone()).unwrap();
                bundle.encode(compression, &mut out).unwrap();
                black_box(&out);
            });
        });
        let bytes = arrow_buffer::Buffer::from(bytes);
        group.bench_function(BenchmarkId::new("decode", format!("{compression:?}")), |b| {
            b.iter(|| black_box(Bundle::decode(bytes.clone()).unwrap()));
        });
    }
    let encode = |out: &mut Vec<u8>| {
        let mut writer = StreamWriter::try_new(out, batch.schema_ref()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    };
    let mut bytes = Vec::new();
    encode(&mut bytes);
    println!("arrow-ipc: {:.1} bytes a flow", bytes.len() as f64 / BUNDLE_ROWS as f64);
    group.bench_function("arrow-ipc encode", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            encode(&mut out);
            black_box(&out);
        });
    });
    group.bench_function("arrow-ipc decode", |b| {
        b.iter(|| {
            let batches: Vec<_> = StreamReader::try_new(bytes.as_slice(), None)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            black_box(batches);
        });
    });
}

fn file(batches: &[RecordBatch], out: &mut Vec<u8>) {
    out.clear();
    let mut writer = FlowWriter::new(out).unwrap();
    for (at, batch) in batches.iter().enumerate() {
        writer
            .write(
                batch,
                Place {
                    bundle: at as u64,
                    first_row: 0,
                },
            )
            .unwrap();
    }
    writer.finish().unwrap();
}

fn parquet(c: &mut Criterion<CpuTime>) {
    let mut random = Random(1);
    let batches: Vec<_> = (0..BUNDLES)
        .map(|at| {
            let start_ms = START_MS + (at * BUNDLE_ROWS / 20) as i64;
            enriched(&flows(Kind::V5, BUNDLE_ROWS, start_ms, &mut random), &mut random)
        })
        .collect();
    let rows = BUNDLES * BUNDLE_ROWS;
    let mut out = Vec::new();
    file(&batches, &mut out);
    println!("Parquet: {:.1} bytes a flow", out.len() as f64 / rows as f64);
    let mut group = c.benchmark_group("parquet");
    group.throughput(Throughput::Elements(rows as u64));
    group.sample_size(10);
    group.bench_function("write", |b| b.iter(|| file(&batches, &mut out)));

    let stock = |out: &mut Vec<u8>| {
        out.clear();
        let properties = WriterProperties::builder()
            .set_compression(parquet::basic::Compression::LZ4_RAW)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_dictionary_enabled(false);
        let text = batches[0].schema();
        let text = text
            .fields()
            .iter()
            .filter(|field| matches!(field.data_type(), DataType::Dictionary(..)));
        let properties = text.fold(properties, |properties, field| {
            properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), true)
        });
        let mut writer = ArrowWriter::try_new(out, batches[0].schema(), Some(properties.build())).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.close().unwrap();
    };
    stock(&mut out);
    println!(
        "parquet's own writer: {:.1} bytes a flow",
        out.len() as f64 / rows as f64
    );
    group.bench_function("parquet's own writer", |b| b.iter(|| stock(&mut out)));
}

criterion_group! {
    name = costs;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = bundles, parquet
}
criterion_main!(costs);
