//! The fuzz target `ffi` calls every function that `weir.h` declares; and a few inputs of it, here already.
#![cfg(feature = "fuzz")]

mod support;

use support::header::Header;
use weir_ffi::fuzz;

#[test]
fn every_function_is_fuzzed() {
    let declared: Vec<String> = Header::read().functions.into_iter().map(|function| function.name).collect();
    let missing: Vec<_> = declared.iter().filter(|name| !fuzz::names().any(|called| called == **name)).collect();
    assert!(missing.is_empty(), "add to ffi/src/fuzz/: {missing:?}");
}

#[test]
fn random_calls_do_no_harm() {
    let mut rng = weir_core::rng::Rng::new(weir_core::rng::Seed(1));
    let mut count = 0;
    for _ in 0..2_000 {
        let data: Vec<u8> = (0..rng.below(1_000)).map(|_| rng.bits() as u8).collect();
        count += fuzz::calls(&data);
    }
    assert!(count > 50_000, "{count}");
}
