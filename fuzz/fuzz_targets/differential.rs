#![no_main]
//! Any bytes as a request with its body, read by us and by hyper.

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_sim::fuzz::differential(input));
