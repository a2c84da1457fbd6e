//! C++17: the header, the C examples, and `weir.hpp` with an example of its own.
#![allow(clippy::print_stderr)]

mod support;

use std::path::PathBuf;
use support::{CONFIG, Serving, compile, compiler, has, must, root, run, scratch};

const ADVICE: &str = "skipped: there is no g++ (apt-get install g++)";

fn examples(extension: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(root().join("examples")).expect("a folder").map(|entry| entry.expect("an entry").path());
    all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn examples_are_c11() {
    for source in examples("c") {
        must(compiler("cc", "-std=c11").arg(&source).args(["-c", "-o", "/dev/null"]));
    }
}

#[test]
fn examples_in_c_are_cpp17_too() {
    if !has("g++") {
        eprintln!("{ADVICE}");
        return;
    }
    for source in examples("c") {
        must(compiler("g++", "-std=c++17").args(["-x", "c++"]).arg(&source).args(["-c", "-o", "/dev/null"]));
    }
}

#[test]
fn headers_stand_alone() {
    let folder = scratch("cpp-headers");
    let source = folder.join("alone.c");
    std::fs::write(&source, "#include \"weir.h\"\n#include \"weir.h\"\n").expect("a file");
    for standard in ["-std=c99", "-std=c11"] {
        must(compiler("cc", standard).args(["-Wpedantic", "-c", "-o", "/dev/null"]).arg(&source));
    }
    if !has("g++") {
        eprintln!("{ADVICE}");
        return;
    }
    // Defined in two files of one program.
    std::fs::write(folder.join("one.cpp"), "#include \"weir.hpp\"\nint other();\nint main() { return other(); }\n").expect("a file");
    let two = "#include \"weir.hpp\"\n#include \"weir.hpp\"\nint other();\nint other() { return 0; }\n";
    std::fs::write(folder.join("two.cpp"), two).expect("a file");
    for standard in ["-std=c++17", "-std=c++20"] {
        let mut command = compiler("g++", standard);
        command.args(["-Wpedantic", "-Wshadow", "-o"]).arg(folder.join("alone")).args([folder.join("one.cpp"), folder.join("two.cpp")]);
        must(command.arg("-L").arg(support::library()).arg("-lweir_ffi"));
    }
}

#[test]
fn a_proxy_in_cpp() {
    if !has("g++") {
        eprintln!("{ADVICE}");
        return;
    }
    let folder = scratch("cpp-proxy");
    let (program, config) = (folder.join("proxy"), folder.join("envoy.yaml"));
    compile("g++", "-std=c++17", &root().join("examples/proxy.cpp"), &program);
    std::fs::write(&config, CONFIG).expect("a file");
    let serving = Serving::start(run(&program).arg(&config));
    serving.get("hello");
    let said = serving.end_input();
    assert!(said.starts_with("/hello answers 200, 5 bytes\n"), "{said}");
    assert!(said.contains("answers 200 directly") && said.ends_with("drained, 0 cut\n"), "{said}");

    std::fs::write(&config, CONFIG.replace("stat_prefix", "stat_prefx")).expect("a file");
    let refused = run(&program).arg(&config).output().expect("it was compiled");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(words.contains("envoy.yaml:11:11: ") && words.contains("did you mean `stat_prefix`?"), "{words}");
}

/// What the example does not do.
#[test]
fn the_rest_of_the_wrapper() {
    if !has("g++") {
        eprintln!("{ADVICE}");
        return;
    }
    let folder = scratch("cpp-rest");
    let (source, program) = (root().join("tests/cpp/rest.cpp"), folder.join("rest"));
    compile("g++", "-std=c++17", &source, &program);
    let config = folder.join("envoy.yaml");
    std::fs::write(&config, CONFIG).expect("a file");
    must(run(&program).arg(&config));
}
