//! The same contenders by criterion: `cargo bench`. Times are CPU times of the thread.

use codec_bench::{contenders, cpu_ns, input};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// CPU time in ns, shown as criterion shows wall time.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        cpu_ns()
    }

    fn end(&self, started: u64) -> u64 {
        cpu_ns() - started
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn codec(criterion: &mut Criterion<CpuTime>) {
    for mut input in input::inputs() {
        let mut group = criterion.benchmark_group(input.name);
        group.throughput(Throughput::Elements(input.records as u64));
        for mut contender in contenders(&mut input) {
            group.bench_function(contender.name, |bencher| bencher.iter(|| contender.pass(&mut input)));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = codec
}
criterion_main!(benches);
