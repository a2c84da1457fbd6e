#![no_main]
//! Any text as a config: no panic, and either a config or a reason.

libfuzzer_sys::fuzz_target!(|text: &str| {
    let loaded = weir_core::config::v3::load(text, "fuzz.yaml");
    assert!(loaded.config.is_some() || !loaded.diagnostics.is_empty());
});
