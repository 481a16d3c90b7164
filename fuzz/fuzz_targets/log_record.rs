//! Fuzzes a frame of the log on disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millrace_fuzz::log_record(input));
