//! Fuzzes a sequence of datagrams against one decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::decode(input));
