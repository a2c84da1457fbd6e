//! The example of a filter, in a program of its own; `runtime/tests/modules` has it as a module.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use support::{CONFIG, Serving, compile_with, root, run, scratch};

fn ask(port: u16, token: &str) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Token: {token}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn the_example_lets_in_who_has_the_token() {
    let folder = scratch("c-filter");
    let program = folder.join("gate");
    compile_with("cc", "-std=c11", &root().join("examples/filter.c"), &program, &["-DPROGRAM", "-pthread"]);

    let filtered = |config: &str| CONFIG.replace("http_filters: [", &format!("http_filters: [{{ name: gate, typed_config: {config} }}, "));
    let config = folder.join("gate.yaml");
    std::fs::write(&config, filtered("{ \"@type\": example.Gate, token: secret }")).expect("a file");
    let serving = Serving::start(run(&program).arg(&config));
    for _ in 0..20 {
        let (in_, out) = (ask(serving.port, "secret"), ask(serving.port, "wrong"));
        assert!(in_.starts_with("HTTP/1.1 200 ") && in_.contains("x-gate: passed\r\n") && in_.ends_with("hello"), "{in_}");
        assert!(out.starts_with("HTTP/1.1 403 ") && out.ends_with("no token, no entry\n"), "{out}");
    }
    serving.end_input();

    std::fs::write(&config, filtered("{ \"@type\": example.Gate, tokn: secret }")).expect("a file");
    let refused = run(&program).arg(&config).output().expect("it was compiled");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("gate.yaml:13:40: error: ") && words.contains("`token` is needed"), "{words}");
}
