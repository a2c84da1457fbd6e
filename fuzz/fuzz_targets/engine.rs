#![no_main]
//! Any sequence of inputs to an engine: no panic, and nothing is held in the end.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::chaos::run(data));
