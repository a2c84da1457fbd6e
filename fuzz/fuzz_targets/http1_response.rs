#![no_main]
//! Any bytes as a response head.

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_sim::fuzz::response_head(input));
