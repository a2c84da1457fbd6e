//! HTTP/2 hosts that leave, refuse and run out of room, found by the simulator: nothing that was sent may be lost, and
//! what was not looked at is sent again.

mod pair;

use bytes::Bytes;
use h2::Reason;
use http::Response;
use pair::{OnConnect, Pair, bootstrap, cluster};
use weir_core::http2::{Http2Options, Session, SessionEvent, StreamKey};
use weir_core::id::{ConnId, ExchangeId};
use weir_core::stats::Scope;
use weir_core::time::Duration;

/// One connection of a host.
struct Host {
    conn: ConnId,
    session: Session,
}

impl Host {
    /// At the latest upstream connection.
    fn new(pair: &Pair) -> Host {
        Host { conn: pair.upstream(), session: Session::server(&Http2Options { allow_connect: true, ..Http2Options::default() }) }
    }

    /// Reads what has come and answers as HTTP/2 demands; answers the requests, and the bytes of bodies.
    fn turn(&mut self, pair: &mut Pair) -> (Vec<StreamKey>, usize) {
        let (mut requests, mut body) = (Vec::new(), 0);
        for _ in 0..20 {
            let received = std::mem::take(&mut pair.peer(self.conn).received);
            if !received.is_empty() {
                self.session.recv(received.into(), pair.now, |_| {});
            }
            while let Some(event) = self.session.poll_event(pair.now) {
                match event {
                    SessionEvent::Request { stream, .. } => {
                        self.session.set_exchange(stream, ExchangeId::default());
                        requests.push(stream);
                    }
                    SessionEvent::Data { piece, .. } => body += piece.len(),
                    _ => {}
                }
            }
            self.session.flush(pair.now);
            let output = self.session.take_output(None);
            pair.send(self.conn, &output);
        }
        (requests, body)
    }

    fn answer(&mut self, stream: StreamKey, body: &'static [u8]) {
        self.session.respond(stream, Response::new(()));
        self.session.push(stream, Bytes::from_static(body));
        self.session.end(stream, None);
    }
}

fn config(hosts: usize, more: &str) -> String {
    config_with(hosts, "", more)
}

/// `options` are more of HttpProtocolOptions.
fn config_with(hosts: usize, options: &str, more: &str) -> String {
    let options = format!(
        r#", typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {options} explicit_http_config: {{ http2_protocol_options: {{}} }} }} }}"#
    );
    let routes = "[{ match: { prefix: / }, route: { cluster: u } }]";
    let manager = "upgrade_configs: [{ upgrade_type: websocket }]";
    bootstrap(manager, routes, &format!("[{}]", cluster("u", hosts, &format!("{options}{more}"))))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
/// GOAWAY, no error, last stream 1.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

#[test]
fn a_breaker_without_room_leaves_the_connection_alone() {
    let mut pair = Pair::new(&config(1, ", circuit_breakers: { thresholds: [{ max_requests: 1 }] }"));
    let (one, other) = (pair.connect(), pair.connect());
    pair.send(one, GET);
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    pair.send(other, GET);
    assert!(pair.received(other).starts_with("HTTP/1.1 503 "), "{}", pair.received(other));
    host.answer(requests[0], b"ok");
    host.turn(&mut pair);
    assert!(pair.received(one).contains("\r\nok\r\n"), "{}", pair.received(one));
    pair.send(other, GET);
    assert_eq!((host.turn(&mut pair).0.len(), pair.upstreams.len()), (1, 1));
}

#[test]
fn a_host_that_answers_and_leaves_has_answered() {
    static BODY: [u8; 60_000] = [b'x'; 60_000];
    let mut pair = Pair::new(&config(1, ", per_connection_buffer_limit_bytes: 1000"));
    let client = pair.connect();
    pair.send(client, GET);
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    pair.stalled = true;
    host.answer(requests[0], &BODY);
    host.session.flush(pair.now);
    while host.session.poll_event(pair.now).is_some() {}
    let answer = host.session.take_output(None);
    pair.send(host.conn, [&answer[..], &GOAWAY].concat());
    pair.eof(host.conn);
    pair.unstall();
    let received = pair.received(client);
    let (_, body) = received.split_once("\r\n\r\n").expect("an answer");
    assert_eq!(body.matches('x').count(), BODY.len());
    assert!(received.ends_with("\r\n0\r\n\r\n"));
    pair.assert_quiet();
}

#[test]
fn a_host_that_answers_early_has_answered() {
    static BODY: [u8; 60_000] = [b'x'; 60_000];
    let mut pair = Pair::new(&config(1, ", per_connection_buffer_limit_bytes: 1000"));
    let client = pair.connect();
    pair.send(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    pair.stalled = true;
    host.answer(requests[0], &BODY);
    host.turn(&mut pair);
    // RST_STREAM, no error: the rest of the request is of no interest.
    pair.send(host.conn, [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    pair.unstall();
    let received = pair.received(client);
    let (_, body) = received.split_once("\r\n\r\n").expect("an answer");
    assert_eq!(body.matches('x').count(), BODY.len());
    assert!(received.ends_with("\r\n0\r\n\r\n"));
    pair.assert_quiet();
}

#[test]
fn what_a_goaway_leaves_out_is_sent_again_with_its_body() {
    let mut pair = Pair::new(&config(1, ""));
    let (one, other) = (pair.connect(), pair.connect());
    pair.send(one, GET);
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    pair.send(other, POST);
    pair.send(host.conn, GOAWAY);
    assert_eq!(pair.upstreams.len(), 2, "{:?}", pair.received(other));
    let mut next = Host::new(&pair);
    let (again, body) = next.turn(&mut pair);
    assert_eq!(body, 5);
    next.answer(again[0], b"posted");
    next.turn(&mut pair);
    assert!(pair.received(other).contains("posted"));
    host.answer(requests[0], b"got");
    host.turn(&mut pair);
    assert!(pair.received(one).contains("got"));
    pair.assert_quiet();
}

#[test]
fn a_refused_stream_needs_no_other_connection() {
    let mut pair = Pair::new(&config(1, ", circuit_breakers: { thresholds: [{ max_connections: 1 }] }"));
    let client = pair.connect();
    pair.send(client, POST);
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    host.session.reset(requests[0], Reason::REFUSED_STREAM);
    let (again, body) = host.turn(&mut pair);
    assert_eq!((again.len(), body), (1, 5));
    host.answer(again[0], b"posted");
    host.turn(&mut pair);
    assert!(pair.received(client).contains("posted"));
    pair.assert_quiet();
}

#[test]
fn an_unused_connection_makes_room_for_another_host() {
    let mut pair = Pair::new(&config(2, ", circuit_breakers: { thresholds: [{ max_connections: 1 }] }"));
    let client = pair.connect();
    for turn in 1..=2 {
        pair.send(client, GET);
        assert_eq!(pair.upstreams.len(), turn);
        let mut host = Host::new(&pair);
        let (requests, _) = host.turn(&mut pair);
        host.answer(requests[0], b"ok");
        host.turn(&mut pair);
    }
    assert_eq!(pair.received(client).matches("ok").count(), 2);
    pair.assert_quiet();
}

#[test]
fn a_tunnel_that_its_client_leaves_last_leaves_no_stream() {
    let mut pair = Pair::new(&config(1, ""));
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    host.session.respond(requests[0], Response::new(()));
    host.session.end(requests[0], None);
    host.turn(&mut pair);
    assert!(pair.received(client).starts_with("HTTP/1.1 101 "), "{}", pair.received(client));
    pair.eof(client);
    host.turn(&mut pair);
    assert_eq!(pair.engine.streams(), 0);
    pair.assert_quiet();
}

#[test]
fn a_host_that_floods_us_is_left() {
    let mut pair = Pair::new(&config(1, ""));
    let client = pair.connect();
    pair.send(client, POST);
    let mut host = Host::new(&pair);
    host.turn(&mut pair);
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    pair.send(host.conn, ping.repeat(1001));
    assert!(pair.is_closed(host.conn));
    assert!(pair.received(client).starts_with("HTTP/1.1 503 "), "{}", pair.received(client));
    pair.assert_quiet();
}

#[test]
fn small_pieces_for_a_slow_client_do_not_end_the_connection() {
    let mut pair = Pair::new(&config(1, ", per_connection_buffer_limit_bytes: 1000"));
    let client = pair.connect();
    pair.send(client, GET);
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    pair.stalled = true;
    host.session.respond(requests[0], Response::new(()));
    for _ in 0..3_000 {
        host.session.push(requests[0], Bytes::from_static(b"yyyyyyyyyyyyyyyyyyyy"));
        host.session.flush(pair.now);
    }
    host.session.end(requests[0], None);
    host.turn(&mut pair);
    pair.unstall();
    host.turn(&mut pair);
    let received = pair.received(client);
    let (_, body) = received.split_once("\r\n\r\n").expect("an answer");
    assert_eq!(body.matches('y').count(), 60_000);
    pair.assert_quiet();
}

#[test]
fn who_waits_for_a_host_that_is_removed_is_served_by_it() {
    let mut pair = Pair::new(&config(2, ""));
    pair.on_connect = OnConnect::Hang;
    let clients = [pair.connect(), pair.connect()];
    clients.iter().for_each(|client| pair.send(*client, GET));
    let hosts = pair.upstreams.clone();
    pair.engine.handle_config(pair::config(&config(1, "")), pair.now);
    pair.pump();
    for conn in &hosts {
        pair.connected(*conn);
        pair.pump();
        let mut host = Host::new(&pair);
        host.conn = *conn;
        let (requests, _) = host.turn(&mut pair);
        assert_eq!(requests.len(), 1);
        host.answer(requests[0], b"ok");
        host.turn(&mut pair);
    }
    assert_eq!(pair.upstreams.len(), 2);
    assert!(clients.iter().all(|client| pair.received(*client).contains("\r\nok\r\n")));
    pair.assert_quiet();
}

#[test]
fn a_host_that_answers_pings_is_kept_and_one_that_does_not_is_left() {
    let keepalive = config(1, "")
        .replace("http2_protocol_options: {}", "http2_protocol_options: { connection_keepalive: { interval: 10s, timeout: 2s } }");
    let mut pair = Pair::new(&keepalive);
    let client = pair.connect();
    pair.send(client, GET);
    let mut host = Host::new(&pair);
    let (requests, _) = host.turn(&mut pair);
    host.answer(requests[0], b"ok");
    host.turn(&mut pair);
    for _ in 0..20 {
        pair.advance(Duration::from_secs(5));
        host.turn(&mut pair);
        pair.advance(Duration::from_secs(5));
        host.turn(&mut pair);
        assert!(!pair.is_closed(host.conn));
    }
    pair.advance(Duration::from_millis(11_999));
    assert!(!pair.is_closed(host.conn), "a PING has its timeout");
    pair.advance(Duration::from_millis(1));
    assert!(pair.is_closed(host.conn));
    assert_eq!(pair.stat(Scope::Cluster, "http2.keepalive_timeout"), 1);
}

#[test]
fn a_connection_serves_the_name_that_it_was_made_for() {
    let tls = r#", transport_socket: { name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: static.example,
        common_tls_context: { validation_context: { trusted_ca: { inline_string: x } } } } }"#;
    let names = "upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true },";
    let mut pair = Pair::new(&config_with(1, names, tls));
    let ask = |pair: &mut Pair, host: &str| {
        let client = pair.connect();
        pair.send(client, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client
    };
    let name = |sent: &str, san: &str| (sent.to_owned(), Some(san.to_owned()));
    let first = ask(&mut pair, "A.example:8443");
    let mut a = Host::new(&pair);
    ask(&mut pair, "b.example");
    let mut b = Host::new(&pair);
    ask(&mut pair, "10.0.0.9");
    assert_eq!(pair.names, [name("a.example", "a.example"), name("b.example", "b.example"), name("static.example", "10.0.0.9")]);
    // Another request for a name joins the connection of that name, however many there are.
    ask(&mut pair, "a.example");
    let requests = a.turn(&mut pair).0;
    assert_eq!((requests.len(), b.turn(&mut pair).0.len(), pair.upstreams.len()), (2, 1, 3));
    a.answer(requests[0], b"ok");
    a.turn(&mut pair);
    assert!(pair.received(first).contains("ok"));
    // One whose connection is gone waits for another one of its own.
    pair.reset(a.conn);
    ask(&mut pair, "a.example");
    assert_eq!(pair.names.last(), Some(&name("a.example", "a.example")));
    let mut again = Host::new(&pair);
    assert_eq!(b.turn(&mut pair).0.len(), 0);
    assert!(!again.turn(&mut pair).0.is_empty());
}

#[test]
fn one_name_makes_room_for_another() {
    let tls = r#", transport_socket: { name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext } }, circuit_breakers: { thresholds: [{ max_connections: 1 }] }"#;
    let mut pair = Pair::new(&config_with(1, "upstream_http_protocol_options: { auto_sni: true },", tls));
    for host in ["a.example", "b.example", "c.example"] {
        let client = pair.connect();
        pair.send(client, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let mut upstream = Host::new(&pair);
        let requests = upstream.turn(&mut pair).0;
        upstream.answer(requests[0], host.as_bytes());
        upstream.turn(&mut pair);
        assert!(pair.received(client).contains(host), "{}", pair.received(client));
    }
    let names: Vec<&str> = pair.names.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a.example", "b.example", "c.example"]);
}
