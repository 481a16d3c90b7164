//! Fuzzes the manifest of a dataset.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::manifest(input));
