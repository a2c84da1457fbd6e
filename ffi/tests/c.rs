//! The examples in C: compiled with all warnings, run, asked for a page, and ended by a signal.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{root, run};

const CONFIG: &str = r#"
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: "hello from C" } } }] }] }
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
"#;

fn compile(source: &str, name: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    support::compile("cc", "-std=c11", &root().join("examples").join(source), &out);
    out
}

fn config(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("a file can be written");
    path
}

/// Starts a program and reads the port from the end of its first line.
fn start(program: &Path, config: &Path) -> (Child, u16, BufReader<std::process::ChildStdout>) {
    let mut child = run(program).arg(config).stdout(Stdio::piped()).spawn().expect("it was compiled");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it says where it listens");
    let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok());
    (child, port.unwrap_or_else(|| panic!("no port in {line:?}")), output)
}

fn serves_and_drains(source: &str, name: &str) {
    let program = compile(source, name);
    let (mut child, port, mut output) = start(&program, &config(&format!("{name}.yaml"), CONFIG));
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello from C") {
            let mut piece = [0; 1024];
            let count = client.read(&mut piece).expect("it answers");
            assert!(count > 0, "the connection ends after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    assert!(child.wait().expect("it ends").success(), "{source} does not end well");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(client.read(&mut [0; 1]).expect("the connection is closed in order"), 0);
}

#[test]
fn a_whole_proxy() {
    serves_and_drains("proxy.c", "c-proxy");
}

#[test]
fn an_epoll_loop_over_the_engine() {
    serves_and_drains("epoll.c", "c-epoll");
}

#[test]
fn a_config_that_is_wrong_is_told_with_its_place() {
    let program = compile("proxy.c", "c-wrong");
    let wrong = config("c-wrong.yaml", &CONFIG.replace("stat_prefix", "stat_prefx"));
    let output = run(&program).arg(&wrong).output().expect("it was compiled");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains("c-wrong.yaml:11:11") && words.contains("stat_prefix"), "{words}");
}
