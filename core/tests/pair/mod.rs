//! Client bytes -> engine -> upstream bytes, and back, on a virtual clock.
//!
//! Verbs make things happen (`send`, `answer`, `advance`), nouns tell what came of it (`received`,
//! `requests`). What goes in can be cut: whole, byte by byte, or at random places from a seed; the outcome
//! must be the same.
#![allow(dead_code, unreachable_pub, missing_docs)]

use bytes::BytesMut;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use weir_core::Engine;
use weir_core::buffer::Outbox;
use weir_core::cluster::Question;
use weir_core::config::{Config, v3};
use weir_core::drain::DrainScope;
use weir_core::engine::{Action, ConnectError, Event, IoFault, Transmit};
use weir_core::id::{ConnId, QueryId};
use weir_core::record::Addresses;
use weir_core::rng::{Rng, Seed};
use weir_core::shared::Shared;
use weir_core::stats::{Scope, Totals};
use weir_core::time::{Duration, Instant, Wall};

/// How what goes in is cut.
#[derive(Copy, Clone, Debug)]
pub enum Cut {
    Whole,
    Bytes,
    Random(u64),
}

/// One end of a connection, outside the engine.
#[derive(Debug, Default)]
pub struct Peer {
    pub received: Vec<u8>,
    pub address: Option<SocketAddr>,
    /// The engine has closed it.
    pub closed: bool,
    /// ... so that we see an error.
    pub reset: bool,
    /// The engine has shut its sending side down.
    pub fin: bool,
    readable: bool,
    waiting: BytesMut,
}

/// What upstream hosts do when they are connected to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OnConnect {
    Accept,
    Refuse,
    /// Say nothing.
    Hang,
}

pub struct Pair {
    pub engine: Engine,
    pub shared: Arc<Shared>,
    pub now: Instant,
    pub peers: BTreeMap<ConnId, Peer>,
    /// Upstream connections in the order in which they were made.
    pub upstreams: Vec<ConnId>,
    /// What TLS is told for each: the name to send, and the one that the certificate must have.
    pub names: Vec<(String, Option<String>)>,
    pub questions: Vec<(QueryId, Question)>,
    pub log: Vec<String>,
    pub drained: Option<u32>,
    pub on_connect: OnConnect,
    /// Peers do not take what is sent to them.
    pub stalled: bool,
    pub nudges: usize,
    cut: Cut,
    rng: Rng,
}

pub fn config(yaml: &str) -> Arc<Config> {
    let loaded = v3::load(yaml, "test.yaml");
    let text: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    Arc::new(loaded.config.unwrap_or_else(|| panic!("{}", text.join("\n"))))
}

impl Pair {
    pub fn new(yaml: &str) -> Pair {
        Pair::with(config(yaml), Arc::default(), Cut::Whole)
    }

    pub fn cut(yaml: &str, cut: Cut) -> Pair {
        Pair::with(config(yaml), Arc::default(), cut)
    }

    pub fn with(config: Arc<Config>, shared: Arc<Shared>, cut: Cut) -> Pair {
        let now = Instant::from_nanos(1_000_000_000);
        let engine = Engine::new(config, Arc::clone(&shared), Seed(7), now, Wall::from_nanos(784_111_777_000_000_000));
        let seed = if let Cut::Random(seed) = cut { seed } else { 0 };
        let mut pair = Pair {
            engine,
            shared,
            now,
            peers: BTreeMap::new(),
            upstreams: Vec::new(),
            names: Vec::new(),
            questions: Vec::new(),
            log: Vec::new(),
            drained: None,
            on_connect: OnConnect::Accept,
            stalled: false,
            nudges: 0,
            cut,
            rng: Rng::new(Seed(seed)),
        };
        pair.pump();
        pair
    }

    /// A client connects.
    pub fn connect(&mut self) -> ConnId {
        let listener = self.engine.listener("main").expect("the config has a listener called main");
        let addresses = Addresses { local: "10.0.0.1:80".parse().unwrap(), remote: "192.0.2.7:4711".parse().unwrap() };
        let id = self.engine.handle_accept(listener, addresses, self.now).expect("the client is let in");
        self.peers.insert(id, Peer { readable: true, ..Peer::default() });
        self.pump();
        id
    }

    /// A peer sends bytes.
    pub fn send(&mut self, id: ConnId, bytes: impl AsRef<[u8]>) {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let take = match self.cut {
                Cut::Whole => rest.len(),
                Cut::Bytes => 1,
                Cut::Random(_) => 1 + self.rng.below(rest.len().min(40) as u64) as usize,
            };
            let (now, later) = rest.split_at(take);
            rest = later;
            let Some(peer) = self.peers.get_mut(&id) else { return };
            peer.waiting.extend_from_slice(now);
            self.feed(id);
            self.pump();
        }
    }

    fn feed(&mut self, id: ConnId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.readable || peer.closed || peer.waiting.is_empty() {
            return;
        }
        let mut input = std::mem::take(&mut peer.waiting);
        self.engine.handle_recv(id, &mut input, self.now);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.waiting = input;
        }
    }

    /// A peer has sent its last byte.
    pub fn eof(&mut self, id: ConnId) {
        self.engine.handle_eof(id, self.now);
        self.pump();
    }

    /// A client that was told to close does, and so do we.
    pub fn client_closes(&mut self, id: ConnId) {
        self.eof(id);
        assert!(self.is_closed(id), "we close after the client has");
    }

    /// A peer resets the connection.
    pub fn reset(&mut self, id: ConnId) {
        self.engine.handle_closed(id, IoFault::Reset, self.now);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.closed = true;
        }
        self.pump();
    }

    /// The latest upstream connection.
    pub fn upstream(&self) -> ConnId {
        *self.upstreams.last().expect("nothing was sent upstream")
    }

    /// The latest upstream connection answers.
    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(self.upstream(), bytes);
    }

    /// Time passes, deadline by deadline.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(due) = self.engine.poll_timeout().filter(|due| due.at <= end) {
            self.now = self.now.max(due.at);
            self.engine.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
        self.engine.handle_timeout(self.now);
        self.pump();
    }

    pub fn drain(&mut self, within: Duration) {
        self.engine.handle_drain(DrainScope::Process { deadline: self.now + within }, self.now);
        self.pump();
    }

    /// Does what the engine says until it says nothing more.
    pub fn pump(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            self.perform(action);
        }
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Step(_) => {}
                Event::AccessLog { line, .. } => self.log.push(String::from_utf8_lossy(&line).trim_end().to_owned()),
                Event::Drained { cut } => self.drained = Some(cut),
                Event::ListenerDrained { .. } => {}
            }
        }
    }

    /// Does one action.
    pub fn act(&mut self, action: Action) {
        self.perform(action);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect { conn, address, tls } => {
                self.names.extend(tls.map(|tls| (tls.server_name.to_string(), tls.san.map(|san| san.to_string()))));
                self.connecting(conn, address);
            }
            Action::Open(_) => {}
            Action::Transmit(id) => self.take(id),
            Action::SetReadable(id, readable) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.readable = readable;
                }
                self.feed(id);
            }
            Action::ShutdownWrite(id) => {
                self.take(id);
                self.peer(id).fin = true;
            }
            Action::Close(id) => {
                self.take(id);
                self.peer(id).closed = true;
                self.engine.handle_closed(id, IoFault::Closed, self.now);
            }
            Action::Drop(id) => self.peer(id).closed = true,
            Action::Reset(id) => {
                self.peer(id).closed = true;
                self.peer(id).reset = true;
            }
            Action::CloseIfIdle(id) => {
                if self.peer(id).waiting.is_empty() {
                    self.peer(id).closed = true;
                    self.engine.handle_closed(id, IoFault::Closed, self.now);
                } else {
                    self.feed(id);
                }
            }
            Action::Resolve { query, question } => self.questions.push((query, question)),
            Action::Nudge => {
                self.nudges += 1;
                self.engine.handle_nudge(self.now);
            }
        }
    }

    fn connecting(&mut self, conn: ConnId, address: SocketAddr) {
        let peer = Peer { readable: true, address: Some(address), ..Peer::default() };
        self.peers.insert(conn, peer);
        self.upstreams.push(conn);
        match self.on_connect {
            OnConnect::Accept => self.connected(conn),
            OnConnect::Refuse => {
                let error = ConnectError::new("delayed connect error: Connection refused");
                self.engine.handle_connected(conn, Err(error), self.now);
            }
            OnConnect::Hang => {}
        }
    }

    /// A connection that hung is there.
    pub fn connected(&mut self, conn: ConnId) {
        let remote = self.peer(conn).address.unwrap();
        let addresses = Addresses { local: "10.0.0.1:50000".parse().unwrap(), remote };
        self.engine.handle_connected(conn, Ok(addresses.into()), self.now);
    }

    fn take(&mut self, id: ConnId) {
        if self.stalled {
            return;
        }
        let mut out = Outbox::default();
        while self.engine.poll_transmit(id, &mut out, self.now) == Transmit::Ready {
            let bytes: Vec<u8> = out.slices().flat_map(|slice| slice.iter().copied()).collect();
            out.clear();
            self.peer(id).received.extend_from_slice(&bytes);
        }
    }

    /// Stalled peers take what waits for them.
    pub fn unstall(&mut self) {
        self.stalled = false;
        let ids: Vec<ConnId> = self.peers.keys().copied().collect();
        for id in ids {
            self.take(id);
        }
        self.pump();
    }

    pub fn peer(&mut self, id: ConnId) -> &mut Peer {
        self.peers.entry(id).or_default()
    }

    /// Everything a peer has received, as text.
    pub fn received(&self, id: ConnId) -> String {
        self.peers.get(&id).map(|peer| String::from_utf8_lossy(&peer.received).into_owned()).unwrap_or_default()
    }

    /// As [`Self::received`], and forgets it.
    pub fn take_received(&mut self, id: ConnId) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.peer(id).received)).into_owned()
    }

    pub fn is_closed(&self, id: ConnId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.closed)
    }

    /// Everything that was sent upstream, connection by connection.
    pub fn requests(&self) -> Vec<String> {
        self.upstreams.iter().map(|id| self.received(*id)).collect()
    }

    /// Sum of a stat over all blocks of a scope.
    pub fn stat(&self, scope: Scope, name: &str) -> i64 {
        let mut totals = Totals::default();
        self.engine.stats().add_to(&mut totals);
        let index = scope.stats().iter().position(|(stat, _)| *stat == name).expect("a stat of this name");
        totals.0.iter().filter(|((s, _), _)| *s == scope).map(|(_, total)| total.values[index] as i64).sum()
    }

    /// Nothing is held any more: gauges are zero, breakers are free.
    pub fn assert_quiet(&self) {
        assert_eq!(self.engine.exchanges(), 0, "exchanges");
        for cluster in self.engine.clusters() {
            for shared in &cluster.shared.priorities {
                assert_eq!(
                    (shared.pending.get(), shared.requests.get(), shared.retries.get(), shared.starved.get()),
                    (0, 0, 0, 0),
                    "{}",
                    cluster.name
                );
            }
        }
        assert_eq!(self.stat(Scope::Cluster, "upstream_rq_active"), 0);
        assert_eq!(self.stat(Scope::Cluster, "upstream_rq_pending_active"), 0);
        assert_eq!(self.stat(Scope::Http, "downstream_rq_active"), 0);
    }
}

/// What the log of a [`Pair`] shows unless a test asks for another.
const ACCESS_LOG: &str = r#"access_log:
  - name: log
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
      log_format: { text_format_source: { inline_string: "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n" } }
"#;

/// A bootstrap with one listener called `main`. `manager` are more lines of the connection manager, `routes` and
/// `clusters` lists in flow style.
pub fn bootstrap(manager: &str, routes: &str, clusters: &str) -> String {
    bootstrap_with(&format!("{ACCESS_LOG}{manager}"), "", routes, clusters)
}

/// As [`bootstrap`], with no access log but what `manager` says; `filters` come before the router, in flow style.
pub fn bootstrap_with(manager: &str, filters: &str, routes: &str, clusters: &str) -> String {
    format!(
        r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                generate_request_id: false
                http_filters: [{filters}{{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
                route_config: {{ name: r, virtual_hosts: [{{ name: v, domains: ["*"], routes: {routes} }}] }}
{manager}
  clusters: {clusters}
"#,
        manager = manager.lines().map(|line| format!("                {line}\n")).collect::<String>(),
    )
}

/// A STATIC cluster with hosts 10.1.0.1, 10.1.0.2, ..., in flow style.
pub fn cluster(name: &str, hosts: usize, more: &str) -> String {
    let endpoints: Vec<String> = (1..=hosts)
        .map(|n| format!("{{ endpoint: {{ address: {{ socket_address: {{ address: 10.1.0.{n}, port_value: 80 }} }} }} }}"))
        .collect();
    format!(
        "{{ name: {name}, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{}] }}] }}{more} }}",
        endpoints.join(", ")
    )
}

/// Everything to one cluster of one host.
pub fn plain() -> String {
    bootstrap("", "[{ match: { prefix: / }, route: { cluster: u } }]", &format!("[{}]", cluster("u", 1, "")))
}

/// As [`plain`], with more settings for the connection manager, the route and the cluster.
pub fn with(manager: &str, route: &str, more: &str) -> String {
    let routes = format!("[{{ match: {{ prefix: / }}, route: {{ cluster: u{route} }} }}]");
    bootstrap(manager, &routes, &format!("[{}]", cluster("u", 1, more)))
}
