//! Which heads are accepted and which are refused: one row each, with the section that says so.

mod pair;

use pair::{Cut, Pair, plain, with};

/// Status, 0 for "forwarded"; the section; the request. `~` stands for ` HTTP/1.1\r\nHost: h\r\n`.
const TABLE: &[(u16, &str, &str)] = &[
    // RFC 9112 section 2.2: message parsing.
    (0, "9112 2.2 an empty line before a request is ignored", "\r\nGET /~\r\n"),
    (400, "9112 2.2 bare LF ends no line", "GET / HTTP/1.1\nHost: h\n\n"),
    (400, "9112 2.2 bare LF in the fields", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    (400, "9112 2.2 bare CR in a value", "GET /~X: a\rb\r\n\r\n"),
    (400, "9112 2.2 space before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    // RFC 9112 section 3: request line.
    (400, "9112 3 two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "9112 3 tab for space", "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "9112 3 space behind the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
    (400, "9112 3 space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    (0, "9110 9.1 any token is a method", "PROPFIND /~\r\n"),
    (400, "9110 9.1 methods are case-sensitive", "get /~\r\n"),
    (400, "9110 9.1 not a token", "G(T /~\r\n"),
    (400, "9112 3 no method", " /~\r\n"),
    (505, "9110 15.6.6 another major version", "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    (0, "9110 2.5 a later minor version is read as 1.1", "GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
    (426, "9112 2.3 HTTP/1.0, unless it is allowed", "GET / HTTP/1.0\r\nHost: h\r\n\r\n"),
    (400, "9112 2.3 lower-case version", "GET / http/1.1\r\nHost: h\r\n\r\n"),
    // RFC 9112 section 3.2: request target.
    (0, "9112 3.2.1 origin form", "GET /a?b=c~\r\n"),
    (0, "9112 3.2.2 absolute form", "GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "9112 3.2.2 other scheme", "GET ftp://other/x~\r\n"),
    (400, "9112 3.2 not a form", "GET foo~\r\n"),
    (400, "9112 3.2.4 asterisk is for OPTIONS", "GET *~\r\n"),
    (400, "9112 3.2 no fragment", "GET /a#b~\r\n"),
    (400, "3986 2 not ASCII", "GET /\u{e9}~\r\n"),
    (400, "3986 2 control character", "GET /a\u{1}b~\r\n"),
    // RFC 9112 section 3.2 and RFC 9110 section 7.2: Host.
    (400, "9112 3.2 no Host", "GET / HTTP/1.1\r\n\r\n"),
    (400, "9112 3.2 two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, "9112 3.2 the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, "9110 4.2.4 user information", "GET / HTTP/1.1\r\nHost: u:p@h\r\n\r\n"),
    (400, "3986 3.2.2 not a host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, "3986 3.2.3 not a port", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"),
    (0, "3986 3.2.2 IPv6 and port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
    // RFC 9112 section 5: field syntax.
    (400, "9112 5.1 space before the colon", "GET /~X : a\r\n\r\n"),
    (400, "9112 5.2 obsolete folding", "GET /~X: a\r\n b\r\n\r\n"),
    (400, "9110 5.1 empty name", "GET /~: a\r\n\r\n"),
    (400, "9110 5.1 not a name", "GET /~X(Y: a\r\n\r\n"),
    (400, "9112 5 no colon", "GET /~abc\r\n\r\n"),
    (400, "9110 5.5 NUL in a value", "GET /~X: a\0b\r\n\r\n"),
    (400, "9110 5.5 control character in a value", "GET /~X: a\u{1}b\r\n\r\n"),
    (400, "9110 5.5 DEL in a value", "GET /~X: a\u{7f}b\r\n\r\n"),
    (0, "9110 5.5 tab and obs-text in a value", "GET /~X: a\t\u{e9}\r\n\r\n"),
    // RFC 9112 section 6: framing.
    (400, "9112 6.1 Transfer-Encoding and Content-Length", "POST /~Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    (400, "9112 6.1 the other way round", "POST /~Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "9112 6.1 gzip, chunked", "POST /~Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, "9112 6.1 chunked twice", "POST /~Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (400, "9112 6.1 two fields", "POST /~Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "9112 6.1 identity", "POST /~Transfer-Encoding: identity\r\n\r\n"),
    (400, "9112 6.1 xchunked", "POST /~Transfer-Encoding: xchunked\r\n\r\n"),
    (400, "9112 6.1 chunked with a parameter", "POST /~Transfer-Encoding: chunked;q=1\r\n\r\n"),
    (400, "9112 6.1 empty", "POST /~Transfer-Encoding:\r\n\r\n"),
    (0, "9112 6.1 names of codings have no case", "POST /~Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
    (400, "9112 6.3 differing lengths", "POST /~Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    (400, "9112 6.3 a list of lengths", "POST /~Content-Length: 3, 3\r\n\r\nabc"),
    (0, "9112 6.3 the same length twice", "POST /~Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    (400, "9110 8.6 signed", "POST /~Content-Length: +3\r\n\r\nabc"),
    (400, "9110 8.6 negative", "POST /~Content-Length: -3\r\n\r\nabc"),
    (400, "9110 8.6 hexadecimal", "POST /~Content-Length: 0x3\r\n\r\nabc"),
    (400, "9110 8.6 empty", "POST /~Content-Length:\r\n\r\n"),
    (400, "9110 8.6 too long for any number", "POST /~Content-Length: 99999999999999999999\r\n\r\n"),
    // RFC 9112 section 7.1: chunks.
    (400, "9112 7.1 0x", "POST /~Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    (400, "9112 7.1 negative", "POST /~Transfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n"),
    (400, "9112 7.1 overflow", "POST /~Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nx"),
    (400, "9112 7.1 no size", "POST /~Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n"),
    (400, "9112 7.1 bare LF", "POST /~Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"),
    (400, "9112 7.1 more data than the size says", "POST /~Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
    (400, "9112 7.1.1 control character in an extension", "POST /~Transfer-Encoding: chunked\r\n\r\n3;a\u{1}\r\nabc\r\n0\r\n\r\n"),
    (0, "9112 7.1.1 extensions are ignored", "POST /~Transfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0;x\r\n\r\n"),
    (400, "9112 7.1.2 malformed trailers", "POST /~Transfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n"),
];

fn status_of(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[test]
fn table() {
    for cut in [Cut::Whole, Cut::Bytes, Cut::Random(9)] {
        for (want, section, request) in TABLE {
            let request = request.replace('~', " HTTP/1.1\r\nHost: h\r\n");
            let mut pair = Pair::cut(&plain(), cut);
            let client = pair.connect();
            pair.send(client, &request);
            let got = status_of(&pair.received(client));
            assert_eq!(got, *want, "{section}: {request:?} ({cut:?})");
            if *want == 0 {
                assert_eq!(pair.upstreams.len(), 1, "{section}");
                continue;
            }
            assert!(pair.received(client).contains("connection: close\r\n"), "{section}: refused without closing");
            let whole = pair.upstreams.iter().filter(|id| !pair.is_closed(**id) && !pair.received(**id).is_empty()).count();
            assert_eq!(whole, 0, "{section}: something of it is still upstream");
            pair.assert_quiet();
        }
    }
}

#[test]
fn nothing_behind_a_refused_request_is_served() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(pair.received(client).matches("HTTP/1.1").count(), 1);
    assert!(pair.upstreams.is_empty());
    pair.advance(std::time::Duration::from_secs(2));
    assert!(pair.is_closed(client));
}

#[test]
fn allow_chunked_length_lets_chunked_win() {
    let yaml = with("http_protocol_options: { allow_chunked_length: true }", "", "");
    let mut pair = Pair::new(&yaml);
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let up = pair.received(pair.upstream());
    assert!(!up.contains("Content-Length") && up.contains("Transfer-Encoding: chunked"), "{up}");
}

#[test]
fn absolute_targets_override_host() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, "GET http://other:81/x?y HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(pair.received(pair.upstream()).starts_with("GET /x?y HTTP/1.1\r\nHost: other:81\r\n"));
}

#[test]
fn large_heads_and_many_headers_get_431() {
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X: {}\r\n", "a".repeat(61 * 1024));
    for fields in [many, long] {
        let mut pair = Pair::new(&plain());
        let client = pair.connect();
        pair.send(client, format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        assert!(pair.received(client).starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(pair.upstreams.is_empty());
    }
    // A head that never ends is refused once it passes the limit, and not kept.
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    for _ in 0..70 {
        pair.send(client, "X".repeat(1024));
    }
    assert!(pair.received(client).starts_with("HTTP/1.1 431"));
}

/// Response bytes that are not HTTP, or not allowed.
const GARBAGE: &[(&str, &str)] = &[
    ("9112 4 no status line", "SSH-2.0-foo\r\n\r\n"),
    ("9112 4 status", "HTTP/1.1 2x0 OK\r\n\r\n"),
    ("9112 4 status out of range", "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.2 bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ("9112 5.1 space before the colon", "HTTP/1.1 200 OK\r\nX : y\r\n\r\n"),
    ("9112 6.1 both", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.1 gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("9112 6.3 differing lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    ("9110 15.2.2 101 to a request that asked for none", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
];

#[test]
fn garbage_from_an_upstream_is_502_and_its_connection_dies() {
    for cut in [Cut::Whole, Cut::Bytes] {
        for (section, answer) in GARBAGE {
            let mut pair = Pair::cut(&plain(), cut);
            let client = pair.connect();
            pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            let upstream = pair.upstream();
            pair.answer(answer);
            assert!(pair.received(client).starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{section}: {}", pair.received(client));
            assert!(pair.received(client).ends_with("before headers. reset reason: protocol error"), "{section}");
            assert!(pair.is_closed(upstream), "{section}");
            assert!(pair.log[0].contains(" 502 UPE "), "{section}: {:?}", pair.log);
            pair.assert_quiet();
        }
    }
}
