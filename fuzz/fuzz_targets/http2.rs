#![no_main]
//! Bytes of HTTP/2 clients and hosts to an engine.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_sim::fuzz::http2(data));
