//! Fuzzes sets to Arrow columns, compared with the records.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::columns(input));
