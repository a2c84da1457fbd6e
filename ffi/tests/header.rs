//! `include/weir.h` is what cbindgen makes of this crate.

use std::path::Path;

#[test]
fn the_committed_header_is_the_generated_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("ffi/cbindgen.toml is right");
    let mut made = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("../abi/src/lib.rs"))
        .with_src(root.join("src/lib.rs"))
        .generate()
        .expect("bindings")
        .write(&mut made);
    // Rustdoc's heading says little to a reader of C.
    let made = String::from_utf8(made).expect("UTF-8").replace("// # Safety\n", "// Not checked, and undefined if it is not so:\n");
    let path = root.join("../include/weir.h");
    if std::env::var_os("WEIR_HEADER").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, &made).expect("include/weir.h can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(committed.lines()).enumerate().find(|(_, (made, committed))| made != committed);
    assert!(
        made == committed,
        "include/weir.h is not what cbindgen makes of ffi/src, first at {differs:?}; `WEIR_HEADER=write cargo test -p weir-ffi --test header` writes it"
    );
}
