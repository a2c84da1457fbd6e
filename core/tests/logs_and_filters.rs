//! Access-log formats and filters, and the header mutation filter.

mod pair;

use pair::{Pair, bootstrap_with, cluster};
use std::time::Duration;

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

/// The log line of one forwarded request that takes 5 ms to arrive, 20 ms to be answered and 7 ms to be sent back.
fn timed_line(template: &str) -> String {
    let line = format!("log_format: {{ text_format_source: {{ inline_string: \"{template}\\n\" }} }}");
    let mut pair = proxy(&format!("typed_config: {{ {FILE}, {line} }}"), "");
    let client = pair.connect();
    pair.send(client, "POST /up/a%20b?x=1&y=%41%0a HTTP/1.1\r\nHost: h\r\nX-Request-Id: id\r\nContent-Length: 3\r\n\r\na");
    pair.advance(Duration::from_micros(5_250));
    pair.send(client, "bc");
    pair.advance(Duration::from_millis(20));
    pair.answer("HTTP/1.1 200 OK\r\nGrpc-Status: 5\r\nContent-Length: 2\r\n\r\n");
    pair.advance(Duration::from_millis(3));
    pair.answer("o");
    pair.advance(Duration::from_millis(4));
    pair.answer("k");
    pair.log.concat()
}

#[test]
fn operators_as_the_docs_have_them() {
    let table = [
        ("%REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %DURATION%", "5 5 25 7 32"),
        ("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)% %COMMON_DURATION(US_TX_BEG:US_TX_END:us)%", "5250 5250"),
        ("%COMMON_DURATION(US_RX_BEG:US_RX_BODY_BEG:ms)% %COMMON_DURATION(US_RX_BODY_BEG:US_RX_END:ns)%", "3 4000000"),
        ("%COMMON_DURATION(US_CX_BEG:US_CX_END:ms)% %COMMON_DURATION(DS_TX_BEG:DS_TX_END:ms)%", "0 7"),
        ("%COMMON_DURATION(US_RX_BEG:DS_RX_BEG:ms)% %COMMON_DURATION(mine:DS_RX_BEG:ms)%", "-25 -"),
        ("%PATH% %PATH(NQ)% %PATH(WQ:PATH)% %PATH(NQ:ORIG)%", "/up/a%20b?x=1&y=%41%0a /up/a%20b /new/a%20b?x=1&y=%41%0a /up/a%20b"),
        ("%QUERY_PARAM(x)% %QUERY_PARAMS% %QUERY_PARAMS(DECODED)%", "1 x=1&y=%41%0a x=1&y=A%0a"),
        ("%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/up/a%20b"),
        ("%STREAM_ID% %ACCESS_LOG_TYPE% %EMIT_TIME(%s.%6f)%", "id DownstreamEnd 784111777.032250"),
        ("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%", "NotFound NOT_FOUND 5 5"),
        ("%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT% %UPSTREAM_HOSTS_ATTEMPTED%", "10.1.0.1:80 10.1.0.1 10.1.0.1:80"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24)% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)%", "192.0.2.0/24 10.0.0.0/8"),
        ("%CONNECTION_ID% %UPSTREAM_CONNECTION_ID%", "0 1"),
        ("%RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES% %DYNAMIC_METADATA(a:b)%", "111 0 -"),
    ];
    for (template, expected) in table {
        assert_eq!(timed_line(template), expected, "{template}");
    }
}

#[test]
fn what_is_not_known_can_be_left_out() {
    let omit = |format: &str| {
        log_of(&format!("typed_config: {{ {FILE}, log_format: {{ omit_empty_values: true, {format} }} }}"), &["GET /direct"])
    };
    assert_eq!(omit("json_format: { a: \"%REQ(X)%\", b: \"%PROTOCOL%\", c: { d: \"%UPSTREAM_HOST%\" } }"), [r#"{"b":"HTTP/1.1","c":{}}"#]);
    assert_eq!(omit("text_format_source: { inline_string: \"[%REQ(X)%][%PROTOCOL%]\\n\" }"), ["[][HTTP/1.1]"]);
}

#[test]
fn every_host_that_was_tried_is_told() {
    let routes = "[{ match: { prefix: / }, route: { cluster: u, retry_policy: { retry_on: 5xx, num_retries: 1 } } }]";
    let line = "log_format: { text_format_source: { inline_string: \"%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%\\n\" } }";
    let access_log = format!("access_log: [{{ name: l, typed_config: {{ {FILE}, {line} }} }}]");
    let mut pair = Pair::new(&bootstrap_with(&access_log, "", routes, &format!("[{}]", cluster("u", 2, ""))));
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.answer("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    pair.advance(Duration::from_secs(1));
    pair.answer(OK);
    let mut tried: Vec<&str> = pair.log[0].split(',').collect();
    tried.sort_unstable();
    assert_eq!(tried, ["10.1.0.1", "10.1.0.2"]);
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
