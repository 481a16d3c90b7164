//! Fuzzes the text of statements.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::statements(input));
