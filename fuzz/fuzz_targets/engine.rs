#![no_main]
//! Any sequence of inputs to an engine.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::fuzz::engine(data));
