//! `ffi/install.sh`: what it installs is found by pkg-config, and the README's first example is built with nothing else.
#![allow(clippy::print_stderr)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{CONFIG, Serving, has, library, must, root, run, scratch};

const ADVICE: &str = "skipped: there is no pkg-config (apt-get install pkg-config)";

/// This build's libraries, installed once for all tests.
fn installed() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = scratch("install");
        must(Command::new(root().join("install.sh")).arg("--prefix").arg(&prefix).arg("--from").arg(library()));
        prefix
    })
}

/// What pkg-config answers.
fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    let output = must(command.env("PKG_CONFIG_PATH", installed().join("lib/pkgconfig")).args(arguments));
    String::from_utf8(output.stdout).expect("UTF-8").split_whitespace().map(str::to_owned).collect()
}

/// Compiles as a stranger would: with what pkg-config says.
fn build(compiler: &[&str], source: &Path, package: &str, out: &Path) {
    let flags = pkg_config(&["--cflags", "--libs", package]);
    must(Command::new(compiler[0]).args(&compiler[1..]).arg(source).args(flags).arg("-o").arg(out));
}

fn shared(program: &Path) -> Command {
    let mut command = run(program);
    command.env("LD_LIBRARY_PATH", installed().join("lib"));
    command
}

#[test]
fn what_is_installed() {
    let lib = installed().join("lib");
    for (link, to) in [("libweir.so", "libweir.so.0"), ("libweir.so.0", "libweir.so.0.1.0")] {
        assert_eq!(std::fs::read_link(lib.join(link)).expect("a link"), Path::new(to));
    }
    for file in ["lib/libweir.so.0.1.0", "lib/libweir.a", "include/weir.h", "include/weir.hpp"] {
        assert!(installed().join(file).is_file(), "{file}");
    }
    if has("readelf") {
        let output = must(Command::new("readelf").arg("-d").arg(lib.join("libweir.so")));
        assert!(String::from_utf8_lossy(&output.stdout).contains("Library soname: [libweir.so.0]"));
    }
    if has("nm") {
        let output = must(Command::new("nm").args(["-D", "--defined-only"]).arg(lib.join("libweir.so")));
        let symbols = String::from_utf8(output.stdout).expect("UTF-8");
        let strangers: Vec<&str> = symbols.lines().filter(|line| !line.contains(" T weir_")).collect();
        assert!(symbols.contains(" T weir_proxy_start\n") && strangers.is_empty(), "{strangers:?}");
    }
}

#[test]
fn programs_are_linked_with_either_library() {
    if !has("pkg-config") {
        eprintln!("{ADVICE}");
        return;
    }
    assert_eq!(pkg_config(&["--modversion", "weir"]), ["0.1.0"]);
    assert!(pkg_config(&["--static", "--libs", "weir"]).contains(&"-lm".to_owned()), "what libweir.a needs");
    let folder = scratch("install-programs");
    let (source, config) = (root().join("examples/proxy.c"), folder.join("envoy.yaml"));
    std::fs::write(&config, CONFIG).expect("a file");
    for (package, name) in [("weir", "with-shared"), ("weir-static", "with-static")] {
        let program = folder.join(name);
        build(&["cc"], &source, package, &program);
        // The static one runs without any of it.
        let mut command = if name == "with-shared" { shared(&program) } else { run(&program) };
        let serving = Serving::start(command.arg(&config));
        serving.get("hello");
        assert_eq!(serving.terminate(), "drained, 0 cut\n");
    }
}

/// The first block of code of a kind in the README's section.
fn block(kind: &str) -> String {
    let readme = std::fs::read_to_string(root().join("../README.md")).expect("README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Embed it\n")).expect("a section on embedding");
    let (_, rest) = section.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("the section has no {kind}"));
    rest.split_once("```").expect("an end").0.to_owned()
}

#[test]
fn the_first_example_of_the_readme_works() {
    if !has("pkg-config") {
        eprintln!("{ADVICE}");
        return;
    }
    let folder = scratch("install-readme");
    let source = folder.join("first.c");
    std::fs::write(&source, block("c")).expect("a file");
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = upstream.local_addr().expect("an address").port().to_string();
    let config = block("yaml");
    assert!(config.contains("port_value: 10000") && config.contains("port_value: 8080"), "the ports that the README speaks of");
    std::fs::write(folder.join("envoy.yaml"), config.replace("10000", "0").replace("8080", &port)).expect("a file");
    let answers = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = upstream.accept() {
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count == 0) {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").expect("a client");
        }
    });
    let compilers = [
        &["cc", "-std=c99", "-Wall", "-Wextra", "-Werror"][..],
        &["cc", "-std=c11", "-Wall", "-Wextra", "-Werror"],
        &["g++", "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror"],
    ];
    for compiler in compilers.iter().filter(|compiler| has(compiler[0])) {
        let program = folder.join("first");
        build(compiler, &source, "weir", &program);
        let serving = Serving::start(shared(&program).current_dir(&folder));
        serving.get("hello");
        assert_eq!(serving.end_input(), "drained, 0 requests cut\n");
    }
    // A connection that says nothing ends the upstream.
    drop(std::net::TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))));
    answers.join().expect("the upstream");
}
