//! Access-log formats and filters, and the header mutation filter.

mod pair;

use pair::{Pair, bootstrap_with, cluster};

const OK: &str = "HTTP/1.1 200 OK\r\nX-Up: 1\r\nContent-Length: 2\r\n\r\nok";

fn proxy(logger: &str, filters: &str) -> Pair {
    let routes = "[{ name: main, match: { prefix: /up }, route: { cluster: u, prefix_rewrite: /new } }, \
                   { match: { prefix: /direct }, direct_response: { status: 404 } }]";
    let access_log = format!("access_log: [{{ name: l, {logger} }}]");
    Pair::new(&bootstrap_with(&access_log, filters, routes, &format!("[{}]", cluster("u", 1, ""))))
}

const FILE: &str = "\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/stdout";

fn log_of(logger: &str, requests: &[&str]) -> Vec<String> {
    let mut pair = proxy(logger, "");
    let client = pair.connect();
    for request in requests {
        let before = pair.upstreams.iter().map(|id| pair.received(*id).len()).sum::<usize>();
        pair.send(client, format!("{request} HTTP/1.1\r\nHost: h\r\nUser-Agent: \"q\\\r\n\r\n"));
        if pair.upstreams.iter().map(|id| pair.received(*id).len()).sum::<usize>() > before {
            pair.answer(OK);
        }
    }
    pair.log
}

#[test]
fn the_default_line_is_envoys() {
    let log = log_of(&format!("typed_config: {{ {FILE} }}"), &["GET /up?x"]);
    assert_eq!(log, ["[1994-11-06T08:49:37.000Z] \"GET /up?x HTTP/1.1\" 200 - 0 2 0 0 \"-\" \"\"q\\\" \"-\" \"h\" \"10.1.0.1:80\""]);
}

#[test]
fn json_keeps_types_and_escapes() {
    let json = "log_format: { json_format: { code: \"%RESPONSE_CODE%\", flags: \"%RESPONSE_FLAGS%\", agent: \"%REQ(USER-AGENT)%\", none: \"%REQ(X-NONE)%\", mixed: \"a %PROTOCOL% b\", route: \"%ROUTE_NAME%\", nested: { list: [1, \"%BYTES_SENT%\", true, null] }, path: \"%PATH(NQ)%\" } }";
    let log = log_of(&format!("typed_config: {{ {FILE}, {json} }}"), &["GET /up?x"]);
    assert_eq!(
        log,
        [
            r#"{"agent":"\"q\\","code":200,"flags":"-","mixed":"a HTTP/1.1 b","nested":{"list":[1,2,true,null]},"none":null,"path":"/up","route":"main"}"#
        ]
    );
}

#[test]
fn lengths_are_of_what_was_on_the_wire() {
    let line = "log_format: { text_format_source: { inline_string: \"%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED%\\n\" } }";
    let mut pair = proxy(&format!("typed_config: {{ {FILE}, {line} }}"), "");
    let client = pair.connect();
    let request = "POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    pair.send(client, request);
    pair.answer(OK);
    let (up, down) = (pair.received(pair.upstream()).len(), pair.received(client).len());
    assert_eq!(pair.log, [format!("{} {down} {up} {}", request.len(), OK.len())]);
}

#[test]
fn filters_choose_what_is_logged() {
    let line = format!(
        "typed_config: {{ {FILE}, log_format: {{ text_format_source: {{ inline_string: \"%RESPONSE_CODE% %REQ(:PATH)%\\n\" }} }} }}"
    );
    let filtered = |filter: &str| log_of(&format!("filter: {filter}, {line}"), &["GET /up", "GET /direct", "GET /none"]);
    let at_least_400 = "{ status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: k } } } }";
    assert_eq!(filtered(at_least_400), ["404 /direct", "404 /none"]);
    assert_eq!(filtered("{ response_flag_filter: { flags: [NR] } }"), ["404 /none"]);
    assert_eq!(filtered("{ header_filter: { header: { name: \":path\", string_match: { prefix: /d } } } }"), ["404 /direct"]);
    let both = format!("{{ and_filter: {{ filters: [{at_least_400}, {{ response_flag_filter: {{}} }}] }} }}");
    assert_eq!(filtered(&both), ["404 /none"]);
}

#[test]
fn header_mutation_edits_both_ways() {
    let filter = "{ name: m, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: { request_mutations: [{ remove: user-agent }, { append: { header: { key: x-in, value: \"%REQ(:METHOD)%\" } } }], response_mutations: [{ remove: x-up }, { append: { header: { key: x-out, value: \"%RESPONSE_CODE%\" } } }] } } }, ";
    let mut pair = proxy(&format!("typed_config: {{ {FILE} }}"), filter);
    let client = pair.connect();
    pair.send(client, "GET /up HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\n\r\n");
    let sent = pair.received(pair.upstream());
    assert!(sent.contains("x-in: GET\r\n") && !sent.contains("User-Agent"), "{sent}");
    pair.answer(OK);
    let answer = pair.received(client);
    assert!(answer.contains("x-out: 200\r\n") && !answer.contains("X-Up"), "{answer}");
}
