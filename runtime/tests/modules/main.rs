//! Filters of shared objects in the real binary: loaded, reloaded, left by clients, drained; and what is no module.

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use support::{Proxy, bootstrap, file, read_answer, read_head, upstream, weir};

/// Compiles a module of this name.
fn compile(source: &str, name: &str, define: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lib{name}.so"));
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-std=c11", "-shared", "-fPIC", "-pthread", define, "-I"])
        .arg(root.join("../include"))
        .arg(root.join(source))
        .arg("-o")
        .arg(out)
        .output()
        .expect("cc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

fn modules() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        compile("../ffi/examples/filter.c", "gate", "-DNOTHING");
        compile("tests/modules/slow.c", "slow", "-DNOTHING");
        compile("tests/modules/slow.c", "newer", "-DOTHER_VERSION");
        compile("tests/modules/slow.c", "envoys", "-DOTHER_NAME");
    });
}

/// A bootstrap with a filter of a module before the router.
fn config(upstream: std::net::SocketAddr, module: &str, filter: &str, token: &str) -> String {
    modules();
    let given = match token {
        "" => String::new(),
        token => format!(r#", filter_config: {{ "@type": type.googleapis.com/google.protobuf.Struct, value: {{ token: {token} }} }}"#),
    };
    let entry = format!(
        r#"http_filters:
                  - name: gate
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter, dynamic_module_config: {{ name: {module}, do_not_close: true }}, filter_name: {filter}{given} }}"#
    );
    bootstrap(upstream, "", "").replace("http_filters:", &entry)
}

fn user_upstream() -> std::net::SocketAddr {
    upstream(|mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let user = head.lines().find_map(|line| line.strip_prefix("x-user: ")).unwrap_or("nobody").to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{user}", user.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_module_asks_on_its_own_thread_and_nothing_is_lost_in_reloads() {
    let yaml = config(user_upstream(), "gate", "gate", "one");
    let proxy = Proxy::start(&yaml);
    let ask = |token: &str, count: usize| {
        let (address, token) = (proxy.address, token.to_owned());
        std::thread::spawn(move || {
            let mut stream = support::connect(address);
            let mut answers = Vec::new();
            for _ in 0..count {
                stream.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Token: {token}\r\n\r\n").as_bytes()).expect("it reads");
                let (head, body) = read_answer(&mut stream).expect("it answers");
                assert!(head.contains("x-gate: passed"), "{head}");
                answers.push(format!("{} {}", &head[9..12], String::from_utf8_lossy(&body)));
                if head.contains("connection: close") {
                    stream = support::connect(address);
                }
            }
            answers.dedup();
            answers
        })
    };
    let (good, bad) = (ask("one", 5_000), ask("wrong", 1_000));
    // The same token and another filter: exchanges under way go on with the one that they began with.
    for route in ["x", "y", "z"] {
        std::fs::write(&proxy.config, yaml.replace("name: r,", &format!("name: {route},"))).expect("the file can be written");
        proxy.signal("HUP");
        proxy.wait_for_line("was reloaded");
    }
    assert_eq!(good.join().expect("answers"), ["200 ann"]);
    assert_eq!(bad.join().expect("answers"), ["403 no token, no entry\n"]);
    std::fs::write(&proxy.config, yaml.replace("token: one", "token: two").replace("name: r,", "name: q,")).expect("a file");
    proxy.signal("HUP");
    let until = Instant::now() + Duration::from_secs(20);
    while ask("two", 1).join().expect("answers") != ["200 ann"] {
        assert!(Instant::now() < until, "the new token is not known:\n{}", proxy.stderr.lock().unwrap());
    }
    assert_eq!(ask("one", 1).join().expect("answers"), ["403 no token, no entry\n"]);
    assert!(proxy.admin_get("/config_dump").contains("\"filter_name\": \"gate\""));
}

#[test]
fn a_drain_waits_for_who_waits_and_who_has_left_is_not_missed() {
    let proxy = Proxy::start(&config(user_upstream(), "slow", "slow", ""));
    for _ in 0..50 {
        let mut leaver = proxy.connect();
        leaver.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("it reads");
    }
    let mut stayer = proxy.connect();
    stayer.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("it reads");
    let until = Instant::now() + Duration::from_secs(20);
    while proxy.stat("http.ingress.downstream_rq_total") < 51 {
        assert!(Instant::now() < until, "51 requests were sent");
    }
    proxy.signal("TERM");
    let (head, body) = read_answer(&mut stayer).expect("it answers");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close") && body == b"nobody", "{head}");
    let (status, log) = proxy.wait();
    assert!(status.success() && log.contains("nothing was cut"), "{log}");
}

#[test]
fn what_is_no_module_is_told_with_its_place() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    for (module, filter, words) in [
        ("slow", "slow", None),
        ("slow", "other", Some("has no filter `other`; it has `slow`")),
        ("newer", "slow", Some("was compiled with version 2 of weir.h, this Weir has version 1: compile it again")),
        ("envoys", "slow", Some("exports no `weir_module_init`: it is no module for Weir")),
        ("missing", "slow", Some("the module `missing` cannot be loaded: ")),
    ] {
        let path = file("weir.yaml", &config(nobody, module, filter, ""));
        let checked = weir().args(["validate", "-c"]).arg(&path).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.success(), words.is_none(), "{said}");
        if let Some(words) = words {
            let place = "weir.yaml:15:21: error: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config: ";
            assert!(said.contains(place) && said.contains(words), "{said}");
        }
    }
}
