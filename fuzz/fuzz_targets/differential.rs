//! Fuzzes the same datagrams through netflow_parser.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::differential(input));
