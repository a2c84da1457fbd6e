//! What a compiled host relies on: symbols, signatures, layouts and numbers. `ffi/abi/weir-1.txt` has what was promised;
//! a C compiler says what the header declares now.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use support::header::Header;
use support::{compile, has, library, must, root, run, scratch};

const ADVICE: &str = "`WEIR_ABI=write cargo test -p weir-ffi --test abi` writes it";

fn signature(returns: &str, takes: &[support::header::Slot]) -> String {
    format!("{returns} ({})", takes.iter().map(|slot| &*slot.kind).collect::<Vec<_>>().join(", "))
}

/// A program that prints what the compiler makes of the header, a fact a line.
fn printer(header: &Header) -> String {
    let mut code = String::from("#include <stdio.h>\n#include \"weir.h\"\nint main(void) {\n");
    for name in &header.constants {
        let _ = writeln!(code, "    printf(\"constant {name} = %llu\\n\", (unsigned long long) {name});");
    }
    for kind in &header.enums {
        for value in &kind.fields {
            let _ = writeln!(code, "    printf(\"enum {} {} = %d\\n\", (int) {});", kind.name, value.name, value.name);
        }
    }
    for kind in &header.structs {
        let name = &kind.name;
        let _ = writeln!(code, "    printf(\"struct {name} size = %zu\\n\", sizeof(struct {name}));");
        let _ = writeln!(code, "    printf(\"struct {name} alignment = %zu\\n\", _Alignof(struct {name}));");
        for field in &kind.fields {
            let (kind, field) = (&field.kind, &field.name);
            let place = format!("offsetof(struct {name}, {field}), sizeof(((struct {name} *) 0)->{field})");
            let _ = writeln!(code, "    printf(\"struct {name} field {field}: {kind} at %zu, %zu bytes\\n\", {place});");
        }
    }
    for (name, target) in &header.callbacks {
        let _ = writeln!(code, "    puts(\"callback {name}: {target}\");");
    }
    for name in &header.opaque {
        let _ = writeln!(code, "    puts(\"handle {name}\");");
    }
    for function in &header.functions {
        let _ = writeln!(code, "    puts(\"function {}: {}\");", function.name, signature(&function.returns, &function.takes));
    }
    code + "    return 0;\n}\n"
}

fn snapshot() -> String {
    let folder = scratch("abi");
    let (source, program) = (folder.join("abi.c"), folder.join("abi"));
    std::fs::write(&source, printer(&Header::read())).expect("a file");
    compile("cc", "-std=c11", &source, &program);
    let said = String::from_utf8(must(&mut run(&program)).stdout).expect("UTF-8");
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

fn committed() -> PathBuf {
    root().join(format!("abi/weir-{}.txt", weir_ffi::result::WEIR_ABI_VERSION))
}

/// The number at the end of a struct's line about its size.
fn size_of<'l>(name: &str, lines: &BTreeSet<&'l str>) -> Option<(&'l str, usize)> {
    let head = format!("struct {name} size = ");
    lines.iter().find_map(|line| Some((*line, line.strip_prefix(&head)?.parse().ok()?)))
}

/// What is lost or another: a host that was compiled before would go wrong.
fn breaking<'l>(before: &BTreeSet<&'l str>, now: &BTreeSet<&'l str>) -> Vec<&'l str> {
    let grown = |line: &&&str| {
        let name = line.strip_prefix("struct ").and_then(|rest| rest.split_once(" size = ")).map(|(name, _)| name)?;
        let begins_with_size = before.contains(&*format!("struct {name} field size: size_t at 0, 8 bytes"));
        let ((_, old), (_, new)) = (size_of(name, before)?, size_of(name, now)?);
        (begins_with_size && new > old).then_some(())
    };
    before.difference(now).filter(|line| grown(line).is_none()).copied().collect()
}

/// A new field may stand only where no earlier version of the struct had anything.
fn squeezed_in<'l>(before: &BTreeSet<&'l str>, now: &BTreeSet<&'l str>) -> Vec<&'l str> {
    let stands_before_the_end = |line: &&&str| {
        let (name, field) = line.strip_prefix("struct ")?.split_once(" field ")?;
        let at: usize = field.rsplit_once(" at ")?.1.split(',').next()?.parse().ok()?;
        let (_, old) = size_of(name, before)?;
        (at < old).then_some(())
    };
    now.difference(before).filter(|line| stands_before_the_end(line).is_some()).copied().collect()
}

#[test]
fn the_abi_is_the_promised_one() {
    let made = snapshot();
    let path = committed();
    let file = path.strip_prefix(root().parent().expect("the workspace")).expect("a file of ours").display();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), made.lines().collect());
    let (lost, squeezed) = (breaking(&old, &new), squeezed_in(&old, &new));
    assert!(
        lost.is_empty() && squeezed.is_empty(),
        "programs that were compiled before would go wrong.\nLost or changed since {file}:\n  {}\nAdded where an earlier version \
         already had bytes (a new field goes to the end; if it fills padding there, older hosts may have anything in it):\n  {}\n\
         Undo it, or let WEIR_ABI_VERSION grow in abi/src/result.rs; then {ADVICE} for the new version.",
        lost.join("\n  "),
        squeezed.join("\n  ")
    );
    if std::env::var_os("WEIR_ABI").is_some_and(|wish| wish == "write") {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("ffi/abi can be made");
        std::fs::write(&path, &made).expect("the file can be written");
        return;
    }
    let added: Vec<_> = new.difference(&old).copied().collect();
    assert!(made == before, "nothing is broken, but {file} lacks what was added; {ADVICE}:\n  {}", added.join("\n  "));
}

#[test]
fn what_would_break_a_host_is_told_from_what_would_not() {
    let before: BTreeSet<&str> = [
        "struct s size = 16",
        "struct s field size: size_t at 0, 8 bytes",
        "struct s field a: uint32_t at 8, 4 bytes",
        "struct plain size = 8",
        "enum e A = 1",
        "function f: void (int)",
    ]
    .into();
    let with = |lost: &[&'static str], added: &[&'static str]| {
        let mut now = before.clone();
        lost.iter().for_each(|line| assert!(now.remove(line)));
        now.extend(added);
        (breaking(&before, &now).len(), squeezed_in(&before, &now).len())
    };
    assert_eq!(with(&[], &["function g: void ()", "enum e B = 2"]), (0, 0));
    assert_eq!(with(&["struct s size = 16"], &["struct s size = 24", "struct s field b: uint64_t at 16, 8 bytes"]), (0, 0));
    assert_eq!(with(&[], &["struct s field b: uint32_t at 12, 4 bytes"]), (0, 1), "in the padding");
    assert_eq!(with(&["struct s size = 16"], &["struct s size = 8"]), (1, 0));
    assert_eq!(with(&["struct plain size = 8"], &["struct plain size = 16"]), (1, 0), "it does not begin with its size");
    assert_eq!(with(&["enum e A = 1"], &["enum e A = 2"]), (1, 0));
    assert_eq!(with(&["function f: void (int)"], &["function f: void (long)"]), (1, 0));
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    if !has("nm") {
        return;
    }
    let listed = must(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(library().join("libweir_ffi.so")));
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let exported: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    let header = Header::read();
    let tier2 = |name: &str| name.starts_with("weir_proxy_") || name.starts_with("weir_call_");
    let declared = header.functions.iter().map(|function| &*function.name);
    let declared: BTreeSet<&str> = declared.filter(|name| cfg!(feature = "proxy") || !tier2(name)).collect();
    assert_eq!(exported, declared);
}
