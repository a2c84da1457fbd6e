//! Gives the shared library the name that programs will look for: `libweir.so.0`, as `ffi/install.sh` installs it. Cargo
//! calls the file libweir_ffi.so all the same.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libweir.0.dylib"),
        Ok("windows") => {}
        _ => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libweir.so.0"),
    }
}
