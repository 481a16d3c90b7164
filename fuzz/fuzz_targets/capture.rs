//! Fuzzes a capture file, from its header to the printed lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::capture(input));
