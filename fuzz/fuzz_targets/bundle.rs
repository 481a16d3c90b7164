//! Fuzzes a bundle.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::bundle(input));
