//! Million records per CPU-second and thread, of netflow-codec and its rivals on the same bytes.
//!
//! `cargo run --release -- [INPUT [DECODER [PASSES]]]`. CPU time, not wall time, so that
//! other work on the machine disturbs little; the best of several rounds.

use codec_bench::input::{self, Input};
use codec_bench::{Contender, contenders, cpu_ns};

/// Runs a contender over an input for about a second of CPU time, and prints the best rate; or, to count instructions with
/// `valgrind --tool=callgrind`, so many passes.
fn measure(contender: &mut Contender, input: &mut Input, passes: Option<usize>) {
    if let Some(passes) = passes {
        for _ in 0..passes {
            contender.pass(input);
        }
        let (name, records) = (contender.name, input.records * passes);
        return println!("{:<20} {name:<46} {records:8} records", input.name);
    }
    let mut best = 0.0_f64;
    let started = cpu_ns();
    while cpu_ns() - started < 1_000_000_000 {
        let before = cpu_ns();
        let mut records = 0;
        while cpu_ns() - before < 50_000_000 {
            for _ in 0..100 {
                records += contender.pass(input);
            }
        }
        let seconds = (cpu_ns() - before) as f64 / 1e9;
        best = best.max(records as f64 / seconds / 1e6);
    }
    println!("{:<20} {:<46} {best:8.1}", input.name, contender.name);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (inputs, decoders) = (
        arguments.next().unwrap_or_default(),
        arguments.next().unwrap_or_default(),
    );
    let passes = arguments.next().and_then(|passes| passes.parse().ok());
    println!("{:<20} {:<46} {:>8}", "input", "decoder", "M/CPU-s");
    for input in input::inputs().iter_mut().filter(|input| input.name.contains(&inputs)) {
        for contender in &mut contenders(input) {
            if contender.name.contains(&decoders) {
                measure(contender, input, passes);
            }
        }
    }
}
