#![no_main]
//! Any bytes as an input log, and a real log with some changed.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::fuzz::input_log(data));
