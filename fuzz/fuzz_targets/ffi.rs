#![no_main]
//! Any sequence of calls of the C functions, wrong ones too.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    weir_ffi::fuzz::calls(data);
});
