#![no_main]
//! Any text as a world file: it is read, or refused with a place.

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(why) = weir_sim::own::WorldFile::parse("w.toml", text) {
        assert!(why.starts_with("w.toml:"), "{why}");
    }
});
