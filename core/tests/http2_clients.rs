//! HTTP/2 clients of the engine: what they give up ends, whatever else waits.

mod pair;

use bytes::Bytes;
use h2::Reason;
use http::Request;
use pair::{Pair, bootstrap, cluster};
use weir_core::http2::{Http2Options, Session, SessionEvent, StreamKey};
use weir_core::id::{ConnId, ExchangeId};
use weir_core::stats::Scope;

/// One client's connection.
struct Client {
    conn: ConnId,
    session: Session,
}

impl Client {
    fn new(pair: &mut Pair) -> Client {
        Client { conn: pair.connect(), session: Session::client(&Http2Options::default()) }
    }

    fn ask(&mut self, method: &str, pair: &Pair) -> StreamKey {
        let request = Request::builder().method(method).uri("http://h/").body(()).expect("a request");
        let stream = self.session.open(request, method == "GET", pair.now).expect("room");
        self.session.set_exchange(stream, ExchangeId::default());
        stream
    }

    /// Says what it has to say and hears what there is; answers the statuses that came.
    fn turn(&mut self, pair: &mut Pair) -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            self.session.flush(pair.now);
            while let Some(event) = self.session.poll_event(pair.now) {
                if let SessionEvent::Response { head, .. } = event {
                    statuses.push(head.status().as_u16());
                }
            }
            let output = self.session.take_output(None);
            pair.send(self.conn, &output);
            let received = std::mem::take(&mut pair.peer(self.conn).received);
            if !received.is_empty() {
                self.session.recv(received.into(), pair.now, |_| {});
            }
        }
        statuses
    }
}

fn config() -> String {
    let routes = "[{ match: { prefix: / }, route: { cluster: u } }]";
    let manager = "upgrade_configs: [{ upgrade_type: websocket }]\nhttp2_protocol_options: { allow_connect: true }";
    bootstrap(manager, routes, &format!("[{}]", cluster("u", 1, ", per_connection_buffer_limit_bytes: 1000")))
}

#[test]
fn a_client_that_gives_up_is_heard_though_its_body_waits() {
    let mut pair = Pair::new(&config());
    let mut client = Client::new(&mut pair);
    let stream = client.ask("POST", &pair);
    client.turn(&mut pair);
    let upstream = pair.upstream();
    // The answer begins before the request has ended, and the host reads no more of it.
    pair.send(upstream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.turn(&mut pair), [200]);
    pair.stalled = true;
    client.session.push(stream, Bytes::from(vec![b'x'; 20_000]));
    client.turn(&mut pair);
    client.session.reset(stream, Reason::CANCEL);
    client.turn(&mut pair);
    assert!(pair.is_closed(upstream), "the request is cancelled");
    assert_eq!(pair.engine.exchanges(), 0);
}

#[test]
fn a_connection_is_counted_with_the_version_that_it_speaks() {
    let mut pair = Pair::new(&config());
    let counts = |pair: &Pair| {
        [
            "downstream_cx_active",
            "downstream_cx_http1_total",
            "downstream_cx_http1_active",
            "downstream_cx_http2_total",
            "downstream_cx_http2_active",
        ]
        .map(|name| pair.stat(Scope::Http, name))
    };
    let idle = pair.connect();
    assert_eq!(counts(&pair), [1, 0, 0, 0, 0]);
    let mut client = Client::new(&mut pair);
    client.ask("GET", &pair);
    client.turn(&mut pair);
    assert_eq!(counts(&pair), [2, 0, 0, 1, 1]);
    pair.send(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(counts(&pair), [2, 1, 1, 1, 1]);
    pair.reset(idle);
    pair.reset(client.conn);
    assert_eq!(counts(&pair), [0, 1, 0, 1, 0]);
}

#[test]
fn an_extended_connect_has_no_length_to_smuggle_with() {
    let mut pair = Pair::new(&config());
    let mut client = Client::new(&mut pair);
    client.turn(&mut pair);
    let mut request = Request::builder().method("CONNECT").uri("http://h/chat").header("content-length", "10").body(()).expect("a request");
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let stream = client.session.open(request, false, pair.now).expect("room");
    client.session.set_exchange(stream, ExchangeId::default());
    client.turn(&mut pair);
    let sent = pair.requests().pop().expect("it is forwarded").to_ascii_lowercase();
    assert!(sent.contains("upgrade: websocket") && sent.contains("sec-websocket-key: ") && !sent.contains("content-length"), "{sent}");
}
