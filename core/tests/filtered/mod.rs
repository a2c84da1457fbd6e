//! A client, filters and a host, in any two versions of HTTP: verbs send, nouns tell what came.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod script;

use crate::pair::{Cut, Pair, bootstrap_with, cluster};
use bytes::Bytes;
use http::{Request, Response};
use script::Seen;
use std::sync::Arc;
use weir_core::config::v3;
use weir_core::engine::log::{RecordOptions, Replay};
use weir_core::filter::{FilterId, Resume, Side};
use weir_core::http2::{Http2Options, Session, SessionEvent, StreamKey};
use weir_core::id::{ConnId, ExchangeId};

/// What a side has received: of a message, or of the last of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// The first line in HTTP/1, the status or method in HTTP/2; empty if there is none.
    pub head: String,
    pub body: Vec<u8>,
    pub ended: bool,
    pub cut: bool,
}

struct End {
    conn: ConnId,
    session: Option<Session>,
    stream: StreamKey,
    came: Came,
}

impl End {
    fn new(conn: ConnId, session: Option<Session>) -> End {
        End { conn, session, stream: StreamKey::default(), came: Came::default() }
    }

    fn turn(&mut self, pair: &mut Pair) {
        let Some(session) = &mut self.session else { return };
        for _ in 0..12 {
            let received = std::mem::take(&mut pair.peer(self.conn).received);
            if !received.is_empty() {
                session.recv(received.into(), pair.now, |_| {});
            }
            while let Some(event) = session.poll_event(pair.now) {
                match event {
                    SessionEvent::Request { stream, head, end } => {
                        session.set_exchange(stream, ExchangeId::default());
                        self.stream = stream;
                        self.came = Came { head: format!("{} {:?}", head.method(), head.headers()), ended: end, ..Came::default() };
                    }
                    SessionEvent::Response { head, end, .. } => {
                        self.came.head = format!("{} {:?}", head.status().as_u16(), head.headers());
                        self.came.ended = end;
                    }
                    SessionEvent::Data { piece, .. } => self.came.body.extend_from_slice(&piece),
                    SessionEvent::End { .. } => self.came.ended = true,
                    // After a whole answer it only says that the rest of the request is of no interest.
                    SessionEvent::Reset { .. } | SessionEvent::Closed { .. } => self.came.cut |= !self.came.ended,
                    SessionEvent::Interim { .. } => {}
                }
            }
            session.flush(pair.now);
            let output = session.take_output(None);
            pair.send(self.conn, &output);
        }
    }

    fn came(&self, pair: &Pair) -> Came {
        match self.session {
            Some(_) => self.came.clone(),
            None => read(&pair.peers[&self.conn].received, pair.is_closed(self.conn) || pair.peers[&self.conn].fin),
        }
    }
}

/// Reads an HTTP/1 message, as far as it came.
fn read(bytes: &[u8], closed: bool) -> Came {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Came { cut: closed && !bytes.is_empty(), ..Came::default() };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let (mut rest, mut body, mut ended) = (&bytes[end + 4..], Vec::new(), false);
    if head.contains("transfer-encoding: chunked") {
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if size == 0 {
                ended = true;
                break;
            }
            body.extend_from_slice(&rest[line + 2..(line + 2 + size).min(rest.len())]);
            rest = &rest[(line + 4 + size).min(rest.len())..];
        }
    } else {
        let length = head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        body = rest[..rest.len().min(length)].to_vec();
        ended = body.len() == length;
    }
    Came { head, body, ended, cut: closed && !ended }
}

/// The world.
pub struct World {
    pub pair: Pair,
    pub seen: Seen,
    pub http2: (bool, bool),
    client: End,
    host: Option<End>,
}

/// Everything in each two versions.
pub const VERSIONS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// A filter called `name` with a script.
pub fn filter(name: &str, script: &str) -> String {
    format!("{{ name: {name}, typed_config: {{ \"@type\": type.googleapis.com/test.Script, {script} }} }}, ")
}

pub fn yaml(http2_up: bool, manager: &str, filters: &str) -> String {
    let options = r#", typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } }"#;
    let log = "access_log: [{ name: l, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, log_format: { text_format_source: { inline_string: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n\" } } } }]\n";
    let routes = "[{ match: { prefix: / }, route: { cluster: u, timeout: 10s } }]";
    let more = if http2_up { options } else { "" };
    let yaml =
        bootstrap_with(&format!("{log}stream_idle_timeout: 60s\n{manager}"), filters, routes, &format!("[{}]", cluster("u", 1, more)));
    yaml.replace("    - name: main\n", "    - name: main\n      per_connection_buffer_limit_bytes: 10000\n")
}

impl World {
    pub fn new(http2: (bool, bool), manager: &str, filters: &str) -> World {
        let seen = Seen::default();
        let loaded = v3::load_with(&yaml(http2.1, manager, filters), "test.yaml", &[], &seen.registry());
        let config = Arc::new(loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)));
        let mut pair = Pair::with(config, Arc::default(), Cut::Whole);
        // The script looks at bodies: without them a replay would take another turn.
        pair.engine.start_recording(&RecordOptions { bodies: true, about: "test".into() }, pair.now);
        let conn = pair.connect();
        let session = http2.0.then(|| Session::client(&Http2Options::default()));
        World { pair, seen, http2, client: End::new(conn, session), host: None }
    }

    /// All versions, one after the other; a failing test says which.
    #[allow(clippy::print_stderr)]
    pub fn each(filters: &str, mut test: impl FnMut(&mut World)) {
        for http2 in VERSIONS {
            eprintln!("client speaks HTTP/{}, host HTTP/{}", 1 + u8::from(http2.0), 1 + u8::from(http2.1));
            let mut world = World::new(http2, "", filters);
            test(&mut world);
            world.replay();
        }
    }

    /// All that happened happens again.
    fn replay(&mut self) {
        let log = self.pair.engine.recorded().expect("a log");
        let replay = Replay::open_with(log.to_bytes(), Seen::default().registry());
        let summary = replay.and_then(|mut replay| replay.run()).unwrap_or_else(|error| panic!("{error}"));
        assert!(summary.whole && summary.digest == log.digest, "{summary}");
    }

    /// Everybody says and hears what there is.
    pub fn turn(&mut self) {
        for _ in 0..4 {
            self.client.turn(&mut self.pair);
            if let Some(conn) = self.pair.upstreams.last().copied()
                && self.host.as_ref().is_none_or(|host| host.conn != conn)
            {
                let session = self.http2.1.then(|| Session::server(&Http2Options::default()));
                self.host = Some(End::new(conn, session));
            }
            if let Some(host) = &mut self.host {
                host.turn(&mut self.pair);
            }
        }
    }

    pub fn get(&mut self) {
        self.ask("GET", true);
    }

    /// The head of a POST; its body follows in pieces.
    pub fn post(&mut self) {
        self.ask("POST", false);
    }

    fn ask(&mut self, method: &str, end: bool) {
        self.client.came = Came::default();
        match &mut self.client.session {
            None => {
                self.pair.peer(self.client.conn).received.clear();
                let framing = if end { "" } else { "Transfer-Encoding: chunked\r\n" };
                self.pair.send(self.client.conn, format!("{method} / HTTP/1.1\r\nHost: h\r\n{framing}\r\n"));
            }
            Some(session) => {
                let request = Request::builder().method(method).uri("http://h/").body(()).expect("a request");
                let stream = session.open(request, end, self.pair.now).expect("room");
                session.set_exchange(stream, ExchangeId::default());
                self.client.stream = stream;
            }
        }
        self.turn();
    }

    pub fn piece(&mut self, piece: &str) {
        let World { client, pair, .. } = self;
        match &mut client.session {
            None => pair.send(client.conn, format!("{:x}\r\n{piece}\r\n", piece.len())),
            Some(session) => drop(session.push(client.stream, Bytes::copy_from_slice(piece.as_bytes()))),
        }
        self.turn();
    }

    pub fn end(&mut self) {
        let World { client, pair, .. } = self;
        match &mut client.session {
            None => pair.send(client.conn, "0\r\n\r\n"),
            Some(session) => session.end(client.stream, None),
        }
        self.turn();
    }

    fn host(&mut self) -> &mut End {
        self.host.as_mut().expect("something was sent upstream")
    }

    pub fn answer_head(&mut self) {
        let host = self.host.as_mut().expect("something was sent upstream");
        match &mut host.session {
            None => self.pair.send(host.conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Some(session) => session.respond(host.stream, Response::new(())),
        }
        self.turn();
    }

    pub fn answer_piece(&mut self, piece: &str) {
        let host = self.host.as_mut().expect("something was sent upstream");
        match &mut host.session {
            None => self.pair.send(host.conn, format!("{:x}\r\n{piece}\r\n", piece.len())),
            Some(session) => drop(session.push(host.stream, Bytes::copy_from_slice(piece.as_bytes()))),
        }
        self.turn();
    }

    pub fn answer_end(&mut self) {
        let host = self.host.as_mut().expect("something was sent upstream");
        match &mut host.session {
            None => self.pair.send(host.conn, "0\r\n\r\n"),
            Some(session) => session.end(host.stream, None),
        }
        self.turn();
    }

    pub fn answer(&mut self) {
        self.answer_head();
        self.answer_piece("ok");
        self.answer_end();
    }

    /// The client goes away.
    pub fn leave(&mut self) {
        let World { client, pair, .. } = self;
        match &mut client.session {
            None => pair.reset(client.conn),
            Some(session) => session.reset(client.stream, h2::Reason::CANCEL),
        }
        self.turn();
    }

    /// The host breaks its connection.
    pub fn break_off(&mut self) {
        let conn = self.host().conn;
        self.pair.reset(conn);
        self.turn();
    }

    /// A filter is told something.
    pub fn resume(&mut self, index: u32, side: Side, what: Resume) {
        self.resume_at(self.id(index, side), what);
    }

    pub fn id(&self, index: u32, side: Side) -> FilterId {
        self.seen.id(index, side)
    }

    pub fn resume_at(&mut self, id: FilterId, what: Resume) {
        self.pair.engine.handle_filter(id, what, self.pair.now);
        self.pair.pump();
        self.turn();
    }

    pub fn advance(&mut self, seconds: u64) {
        self.pair.advance(std::time::Duration::from_secs(seconds));
        self.turn();
    }

    /// What the client has received.
    pub fn client(&self) -> Came {
        self.client.came(&self.pair)
    }

    pub fn client_conn(&self) -> ConnId {
        self.client.conn
    }

    /// The status that the client has received; 0 if none.
    pub fn status(&self) -> u16 {
        let head = self.client().head;
        head.trim_start_matches("http/1.1 ").get(..3).map_or(0, |status| status.parse().unwrap_or_default())
    }

    /// What the host has received.
    pub fn request(&self) -> Came {
        self.host.as_ref().map(|host| host.came(&self.pair)).unwrap_or_default()
    }

    /// The client has received the whole of the host's answer, once; nothing is left.
    pub fn assert_answered(&mut self, body: &str) {
        let came = self.client();
        assert_eq!(
            (self.status(), String::from_utf8_lossy(&came.body).into_owned(), came.ended, came.cut),
            (200, body.to_owned(), true, false)
        );
        self.pair.assert_quiet();
    }

    /// What the filters have seen since this was asked.
    pub fn saw(&self) -> String {
        self.seen.take().join(", ")
    }
}
