//! The Python package: its tests and its types. `WEIR_PYTHON` names a Python that has pytest and mypy (`.ci/run` makes one);
//! without it `python3` runs what needs no package, and what was left out is said.
#![allow(clippy::print_stderr)]

mod support;

use std::path::Path;
use std::process::Command;
use support::{has, library, must, root};

const ADVICE: &str = "python3 -m venv v && v/bin/pip install pytest mypy && WEIR_PYTHON=v/bin/python cargo test -p weir-ffi --test python";

fn python() -> String {
    std::env::var("WEIR_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Python in the package's folder, with this build's library.
fn command(python: &str) -> Command {
    let package = root().join("python");
    let mut command = Command::new(python);
    command.current_dir(&package).env("WEIR_LIBRARY", library().join("libweir_ffi.so")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", std::env::join_paths([package.join("src"), package.join("tests")]).expect("paths"));
    command
}

fn imports(python: &str, module: &str) -> bool {
    command(python).args(["-c", &format!("import {module}")]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_tests_of_the_package_pass() {
    let python = python();
    if !has(&python) {
        eprintln!("skipped: there is no {python}. {ADVICE}");
    } else if imports(&python, "pytest") {
        must(command(&python).args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]));
    } else {
        eprintln!("only in part: {python} has no pytest. {ADVICE}");
        must(command(&python).args(["-m", "unittest", "-q", "test_first", "test_abi"]));
    }
}

#[test]
fn its_types_are_right() {
    let python = python();
    if !has(&python) || !imports(&python, "mypy") {
        eprintln!("skipped: {python} has no mypy. {ADVICE}");
        return;
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mypy");
    must(command(&python).args(["-m", "mypy", "--strict", "src", "tests", "--cache-dir"]).arg(cache));
}
