//! Fuzzes what was decoded, written and decoded again.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::round_trip(input));
