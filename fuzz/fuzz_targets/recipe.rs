#![no_main]
//! Any text as the file of a simulated world: no panic, and what is read is written the same.

use weir_sim::recipe::Recipe;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(recipe) = text.parse::<Recipe>() {
        assert_eq!(recipe.to_string().parse(), Ok(recipe));
    }
});
