//! Million records per CPU-second and thread, of netflow-codec.
//!
//! `cargo run --release -- [INPUT [DECODER [PASSES]]]`. CPU time, not wall time, so that
//! other work on the machine disturbs little; the best of several rounds.

mod input;
mod ours;

use input::Input;

/// CPU time of this thread in ns (`/proc/thread-self/schedstat`, whose first number it is).
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this runs on Linux");
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number of ns")
}

/// Runs a pass over an input for about a second of CPU time, and prints the best rate; or, to count instructions with
/// `valgrind --tool=callgrind`, as many times as the third argument says.
fn measure(what: &str, input: &mut Input, mut pass: impl FnMut(&Input) -> u64) {
    if !std::env::args().nth(2).is_none_or(|wanted| what.contains(&wanted)) {
        return;
    }
    if let Some(passes) = std::env::args().nth(3).and_then(|passes| passes.parse().ok()) {
        for _ in 0..passes {
            input.number_on();
            std::hint::black_box(pass(std::hint::black_box(input)));
        }
        return println!("{:<20} {what:<46} {:8} records", input.name, input.records * passes);
    }
    let mut best = 0.0_f64;
    let mut check = 0;
    let started = cpu_ns();
    pass(input);
    while cpu_ns() - started < 1_000_000_000 {
        let before = cpu_ns();
        let mut passes = 0;
        while cpu_ns() - before < 50_000_000 {
            for _ in 0..100 {
                input.number_on();
                check ^= std::hint::black_box(pass(std::hint::black_box(input)));
            }
            passes += 100;
        }
        let seconds = (cpu_ns() - before) as f64 / 1e9;
        best = best.max((passes * input.records) as f64 / seconds / 1e6);
    }
    std::hint::black_box(check);
    println!("{:<20} {what:<46} {best:8.1}", input.name);
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!("{:<20} {:<46} {:>8}", "input", "decoder", "M/CPU-s");
    for input in input::inputs().iter_mut().filter(|input| input.name.contains(&wanted)) {
        ours::measure_all(input);
    }
}
