#![no_main]
//! Any bytes as a request head.

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_sim::fuzz::request_head(input));
