#![no_main]
//! Any bytes as a chunked body.

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_sim::fuzz::chunked(input));
