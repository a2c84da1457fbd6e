//! Misuse of every function, through C. For each parameter of each function that `weir.h` declares, calls are made
//! in which it alone is wrong: so a new function is covered the moment it is declared, or this says what is missing.
//! `c/misuse.c` has what types and names cannot tell: calls after an end, from two threads, with older structs.

#![cfg(feature = "proxy")] // the calls are of both tiers

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use support::header::{Function, Header, Slot};
use support::{compile_with, must, root, run, scratch};

/// How a parameter is wrong, and what is answered: the C expression, the result, and what the words must have.
type Wrong = (String, &'static str, String);

/// Parameters that may be NULL.
const MAY_BE_NULL: &[(&str, &str)] = &[
    ("*", "diagnostics"),
    ("weir_engine_connected", "tls"),
    ("weir_engine_recv", "taken"),
    ("weir_config_load_with", "filters"),
    ("weir_replay_open_with", "filters"),
    ("weir_proxy_start", "options"),
    ("weir_proxy_start_file", "options"),
    ("weir_proxy_wait", "cut"),
    ("weir_call_response", "status"),
    ("weir_call_response", "headers"),
];

/// Numbers of which none is wrong, or none that can be found out.
const ANY_NUMBER: &[&str] = &["len", "index", "data", "deadline", "wall", "ttl", "tls", "number", "explain", "nanos", "count", "result"];

/// Functions that cannot fail.
const TOTAL: &[&str] =
    &["weir_filter_functions", "weir_abi_version", "weir_version", "weir_result_name", "weir_last_error", "weir_diagnostics_count"];

fn may_be_null(function: &str, name: &str) -> bool {
    MAY_BE_NULL.iter().any(|(of, slot)| (*of == "*" || *of == function) && *slot == name)
}

struct Maker<'h> {
    header: &'h Header,
    /// Types that functions write to.
    outs: BTreeSet<String>,
}

/// `struct weir_action*` as a name of C.
fn field(kind: &str) -> String {
    kind.replace("struct ", "").replace("const ", "").replace(' ', "_").replace('*', "_at")
}

impl Maker<'_> {
    /// The kind of handle that this is, without `weir_`.
    fn handle<'s>(&self, slot: &'s Slot) -> Option<&'s str> {
        let kind = slot.kind.trim_start_matches("const ").strip_prefix("struct ")?.strip_suffix('*')?;
        self.header.opaque.iter().any(|name| name == kind).then(|| kind.strip_prefix("weir_").expect("our names"))
    }

    /// The struct that this points to, and whether it begins with its size.
    fn pointed<'s>(&self, slot: &'s Slot) -> Option<(&'s str, bool)> {
        let kind = slot.kind.trim_start_matches("const ").strip_prefix("struct ")?.strip_suffix('*')?;
        let found = self.header.find(kind)?;
        Some((kind, found.fields.first().is_some_and(|field| field.name == "size" && field.kind == "size_t")))
    }

    /// An argument with which the function would work.
    fn right(&mut self, function: &str, slot: &Slot) -> String {
        let out = slot.kind.strip_suffix('*').filter(|_| !slot.kind.starts_with("const struct") && !slot.kind.starts_with("const void"));
        let known = match (&*slot.kind, &*slot.name) {
            ("struct weir_str", "text" | "config") => "text_of_config",
            ("struct weir_str", "path") => "path_of_config",
            ("struct weir_str", "name") if function.ends_with("_stat") => "weir_text(\"http.in.downstream_rq_total\")",
            ("struct weir_str", "name" | "listener") => "weir_text(\"main\")",
            ("struct weir_str", _) => "weir_text(\"words\")",
            ("const struct weir_str*", _) => "&words",
            ("const uint8_t*", _) => "some_bytes",
            ("const void*", "sockaddr") => "some_bytes",
            ("size_t", "len") if function == "weir_address_of" => "sizeof(struct sockaddr_in)",
            ("char*", _) => "(char *) some_room",
            ("void*" | "uint8_t*", _) => "some_room",
            ("weir_end_fn", _) => "on_end",
            ("uint64_t", "now") => "NOW",
            ("uint64_t", "listener") => "live.listener",
            ("uint64_t", "query") => "live.query",
            ("uint64_t", "conn") if function.starts_with("weir_engine_connect") => "live.upstream",
            ("uint64_t", "conn") => "live.conn",
            ("uint32_t", "compiled") => "WEIR_ABI_VERSION",
            ("uint32_t", "why") => "1",
            ("size_t", "max" | "size") => "sizeof some_room / 16",
            ("size_t", "len" | "count") => "1",
            ("uint32_t" | "uint64_t" | "size_t", _) => "0",
            _ => "",
        };
        if !known.is_empty() {
            return known.to_owned();
        }
        if let Some(handle) = self.handle(slot) {
            return format!("live.{handle}");
        }
        match (self.pointed(slot), out) {
            (Some((kind, true)), None) => format!("&right_{kind}"),
            (Some(("weir_address", _)), None) => "&live.address".to_owned(),
            (Some(("weir_filter_id", _)), None) => "&live.filter_id".to_owned(),
            (Some(("weir_header", _)), None) => "&field_of_words".to_owned(),
            (_, Some(kind)) => {
                self.outs.insert(kind.to_owned());
                format!("&outs.{}", field(kind))
            }
            _ => panic!("{function}: with what does it work as `{} {}`? Say so in {}", slot.kind, slot.name, file!()),
        }
    }

    /// All ways in which an argument can be wrong.
    fn wrongs(&mut self, function: &Function, at: usize) -> Vec<Wrong> {
        let slot = &function.takes[at];
        let right = self.right(&function.name, slot);
        let mut wrongs = Vec::new();
        let mut wrong = |with: &str, result: &'static str, hint: &str| wrongs.push((with.to_owned(), result, hint.to_owned()));
        let name = &*slot.name;
        let null = !may_be_null(&function.name, name);
        if let Some(handle) = self.handle(slot) {
            if null && !function.name.ends_with("_free") {
                wrong("NULL", "WEIR_NULL_POINTER", "NULL");
            }
            let kind = format!("weir_{handle}");
            for dead in ["freed", "reused"] {
                wrong(&format!("{dead}.{handle}"), "WEIR_WRONG_HANDLE", &kind);
            }
            for other in ["config", "diagnostics", "engine", "bytes", "replay", "proxy", "call", "filters"] {
                if other != handle {
                    wrong(&format!("(void *) live.{other}"), "WEIR_WRONG_HANDLE", &kind);
                }
            }
            for made_up in [
                "&outs",
                "(uintptr_t) 1",
                "(uintptr_t) 8",
                "UINTPTR_MAX",
                "((uintptr_t) 1 << 33 | 1)",
                "((uintptr_t) live.HANDLE ^ (uintptr_t) 1 << 33)",
            ] {
                wrong(&format!("(void *) {}", made_up.replace("HANDLE", handle)), "WEIR_WRONG_HANDLE", &kind);
            }
            return wrongs;
        }
        if slot.kind == "struct weir_str" {
            for text in ["BAD_UTF8[0]", "BAD_UTF8[1]"] {
                wrong(text, "WEIR_BAD_UTF8", name);
            }
            wrong("NULL_TEXT", "WEIR_NULL_POINTER", name);
            wrong("ENDLESS_TEXT", "WEIR_BAD_VALUE", name);
            return wrongs;
        }
        if let Some((kind, versioned)) = self.pointed(slot) {
            if null {
                wrong("NULL", "WEIR_NULL_POINTER", name);
            }
            wrong(&format!("MISALIGNED({right})"), "WEIR_BAD_VALUE", name);
            let given = slot.kind.starts_with("const ");
            if versioned {
                let first = if given { format!("right_{kind}") } else { format!("outs.{kind}") };
                for size in ["0", "1", &format!("sizeof(struct {kind}) / 2"), "1u << 20", "SIZE_MAX"] {
                    wrong(&format!("({first}.size = {size}, &{first})"), "WEIR_BAD_SIZE", &format!("sizeof(struct {kind})"));
                }
            }
            for field in self.header.find(kind).into_iter().flat_map(|kind| &kind.fields).filter(|_| given && versioned) {
                let name = format!("{name}.{}", field.name);
                let with = |value: &str| format!("(right_{kind}.{} = {value}, &right_{kind})", field.name);
                if field.kind == "struct weir_str" {
                    // A body may be any bytes.
                    if field.name != "body" {
                        wrong(&with("BAD_UTF8[0]"), "WEIR_BAD_UTF8", &name);
                    }
                    wrong(&with("NULL_TEXT"), "WEIR_NULL_POINTER", &name);
                    wrong(&with("ENDLESS_TEXT"), "WEIR_BAD_VALUE", &name);
                } else if let Some(handle) = self.handle(field) {
                    for other in ["freed", "reused"] {
                        wrong(&with(&format!("{other}.{handle}")), "WEIR_WRONG_HANDLE", &format!("weir_{handle}"));
                    }
                }
            }
            if kind == "weir_address" && given {
                wrong("&no_address", "WEIR_BAD_VALUE", "family is 5");
            }
            return wrongs;
        }
        match (&*slot.kind, name) {
            ("uint64_t", "now") => {
                wrong("NOW - 1", "WEIR_TIME_REVERSED", "monotonic");
                wrong("UINT64_MAX", "WEIR_BAD_VALUE", "`now`");
            }
            ("uint64_t", "conn" | "query") => {
                for id in ["0", "UINT64_MAX", "live.gone", "((uint64_t) 1 << 32)"] {
                    // Numbers of connections may be those of queries.
                    if !(id == "live.gone" && name == "query") {
                        wrong(id, "WEIR_UNKNOWN_ID", "any more");
                    }
                }
            }
            ("uint64_t", "listener") => {
                for id in ["0", "UINT64_MAX"] {
                    wrong(id, "WEIR_NO_LISTENER", "listener");
                }
            }
            ("uint32_t", "flags") => wrong("2", "WEIR_BAD_VALUE", "`flags`"),
            ("uint32_t", "why" | "tls_fault") => {
                for number in ["99", "UINT32_MAX"] {
                    wrong(number, "WEIR_BAD_VALUE", "enum weir_");
                }
            }
            ("uint32_t", "compiled") => {
                for number in ["0", "WEIR_ABI_VERSION + 1"] {
                    wrong(number, "WEIR_WRONG_ABI", "compile it again");
                }
            }
            // A text may be cut to nothing.
            ("size_t", "size") if function.name == "weir_engine_deadline_reason" => {}
            ("size_t", "max" | "size") => wrong("0", "WEIR_BAD_VALUE", "room"),
            ("size_t", "bytes") => wrong("SIZE_MAX", "WEIR_BAD_VALUE", "were lent"),
            ("size_t", "len" | "count") if at > 0 && function.takes[at - 1].kind.starts_with("const ") => {
                let what = format!("`{}`", function.takes[at - 1].name);
                wrong("SIZE_MAX", "WEIR_BAD_VALUE", &what);
            }
            ("uint32_t" | "uint64_t" | "size_t", name) => {
                assert!(ANY_NUMBER.contains(&name), "{}: which values of `{name}` are wrong? Say so in {}", function.name, file!());
            }
            // The host's own, which is not looked at.
            ("void*", "data") => {}
            (kind, _) => {
                let pointer = kind.ends_with('*') || kind == "weir_end_fn";
                assert!(pointer, "{}: how is a `{kind}` wrong? Say so in {}", function.name, file!());
                if null {
                    wrong("NULL", "WEIR_NULL_POINTER", name);
                }
                if matches!(slot.kind.trim_end_matches('*'), "uint64_t" | "uint32_t" | "size_t") || kind.ends_with("**") {
                    wrong(&format!("MISALIGNED({right})"), "WEIR_BAD_VALUE", name);
                }
            }
        }
        wrongs
    }

    /// The calls of a function with one argument wrong.
    fn calls(&mut self, function: &Function, code: &mut String) -> usize {
        let mut made = 0;
        for at in 0..function.takes.len() {
            for (with, result, hint) in self.wrongs(function, at) {
                let arguments = function.takes.iter().enumerate();
                let arguments: Vec<_> =
                    arguments.map(|(n, slot)| if n == at { with.clone() } else { self.right(&function.name, slot) }).collect();
                let what = format!("{}: {} = {with}", function.name, function.takes[at].name);
                let call = format!("{}({})", function.name, arguments.join(", "));
                let _ = writeln!(code, "    REFUSED({what:?}, {result}, {hint:?}, {call});");
                made += 1;
            }
        }
        made
    }
}

/// `misuse_calls.h`: a function that makes all calls, and the places that are written to.
fn generate(header: &Header) -> String {
    let mut maker = Maker { header, outs: BTreeSet::new() };
    let mut calls = String::new();
    for function in &header.functions {
        let made = maker.calls(function, &mut calls);
        if TOTAL.contains(&&*function.name) || function.returns != "enum weir_result" {
            assert!(TOTAL.contains(&&*function.name), "{} answers no weir_result: can it fail?", function.name);
            // What was made of it is dropped: such functions have cases of their own.
            let kept: Vec<_> = calls.lines().filter(|line| !line.contains(&format!(", {}(", function.name))).collect();
            calls = kept.join("\n") + "\n";
        } else {
            assert!(made > 0 || function.takes.is_empty(), "{}: nothing of it is tried", function.name);
        }
    }
    let mut code = String::from("/* Made by misuse.rs of weir.h. */\nstatic struct outs {\n");
    for kind in &maker.outs {
        let _ = writeln!(code, "    {kind}{} {};", if kind.ends_with('*') { "" } else { " " }, field(kind));
    }
    code += "} outs, outs_before;\n";
    let versioned = |kind: &&support::header::Type| kind.fields.first().is_some_and(|field| field.name == "size");
    for kind in header.structs.iter().filter(versioned) {
        let _ = writeln!(code, "static struct {0} right_{0};", kind.name);
    }
    code += "static void before(void) {\n    memset(&outs, 0xa5, sizeof outs);\n";
    for kind in header.structs.iter().filter(versioned) {
        let name = &kind.name;
        let _ = writeln!(code, "    memset(&right_{name}, 0, sizeof right_{name});\n    right_{name}.size = sizeof right_{name};");
        if name == "weir_answer" {
            code += "    right_weir_answer.status = 403;\n";
        }
        if maker.outs.contains(&format!("struct {name}")) {
            let _ = writeln!(code, "    outs.{name}.size = sizeof outs.{name};");
        }
    }
    code += "    outs_before = outs;\n    forget_words();\n}\n";
    // What a case has set itself is no trace of the call.
    code += "static void sizes_back(void) {\n";
    for kind in header.structs.iter().filter(versioned).filter(|kind| maker.outs.contains(&format!("struct {}", kind.name))) {
        let _ = writeln!(code, "    outs.{0}.size = outs_before.{0}.size;", kind.name);
    }
    code += "}\n";
    code + "static void all_calls(void) {\n" + &calls + "}\n"
}

#[test]
fn every_misuse_of_every_function_is_refused() {
    let folder = scratch("misuse");
    std::fs::write(folder.join("misuse_calls.h"), generate(&Header::read())).expect("a file");
    std::fs::write(folder.join("config.yaml"), support::CONFIG).expect("a file");
    let program = folder.join("misuse");
    compile_with("cc", "-std=c11", &root().join("tests/c/misuse.c"), &program, &["-pthread", "-I", &folder.display().to_string()]);
    let output = must(run(&program).arg(folder.join("config.yaml")).current_dir(&folder));
    let said = String::from_utf8_lossy(&output.stdout);
    let refusals: usize = said.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
    assert!(refusals > 700, "{said}");
}
