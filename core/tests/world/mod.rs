//! An engine with one client and one upstream host, and as little around it as can be: what the benches and
//! the count of allocations measure is the engine.
#![allow(dead_code, unreachable_pub, missing_docs)]

use bytes::BytesMut;
use std::fmt::Write;
use std::sync::Arc;
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::config::{Config, v3};
use weir_core::engine::log::RecordOptions;
use weir_core::engine::{Action, Transmit};
use weir_core::id::ConnId;
use weir_core::record::Addresses;
use weir_core::rng::Seed;
use weir_core::time::{Duration, Instant, Wall};

pub const REQUEST: &[u8] =
    b"GET /svc-77/hello?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n";
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: up\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// So many routes to one cluster, the last of them for everything.
pub fn config(routes: usize) -> Arc<Config> {
    let mut list = String::new();
    for n in 0..routes - 1 {
        let _ = write!(list, "{{ match: {{ prefix: /svc-{n}/ }}, route: {{ cluster: u }} }}, ");
    }
    let yaml = format!(
        r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
      filter_chains:
        - filters:
            - name: h
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                http_filters: [{{ name: r, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
                route_config: {{ virtual_hosts: [{{ name: v, domains: ["*"], routes: [{list}{{ match: {{ prefix: / }}, route: {{ cluster: u }} }}] }}] }}
  clusters:
    - name: u
      load_assignment: {{ cluster_name: u, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 10.0.0.1, port_value: 80 }} }} }} }}] }}] }}
"#
    );
    Arc::new(v3::load(&yaml, "world.yaml").config.expect("the config is right"))
}

pub struct World {
    engine: Engine,
    blocks: Blocks,
    out: Outbox,
    now: Instant,
    client: ConnId,
    upstream: Option<ConnId>,
}

impl World {
    /// A client is connected; nothing was sent yet.
    pub fn new() -> World {
        let now = Instant::from_nanos(1);
        let mut engine = Engine::new(config(1), Arc::default(), Seed(1), now, Wall::from_nanos(1_700_000_000_000_000_000));
        let listener = engine.listener("main").expect("a listener");
        let client = engine.handle_accept(listener, addresses(), now).expect("let in");
        World { engine, blocks: Blocks::new(64 * 1024), out: Outbox::default(), now, client, upstream: None }
    }

    /// Everything is recorded from here on; a log that has grown long begins anew.
    pub fn record(&mut self) {
        if self.engine.recorded_len() == 0 || self.engine.recorded_len() > 16 << 20 {
            self.engine.start_recording(&RecordOptions::default(), self.now);
        }
    }

    /// A request goes through, and its answer comes back.
    pub fn exchange(&mut self, request: &[u8]) {
        self.now = self.now + Duration::from_micros(100);
        self.deliver(self.client, request);
        let upstream = self.upstream.expect("an upstream connection");
        self.deliver(upstream, RESPONSE);
    }

    fn deliver(&mut self, to: ConnId, bytes: &[u8]) {
        let mut block = self.blocks.take();
        block.extend_from_slice(bytes);
        let mut input: BytesMut = block.split();
        self.engine.handle_recv(to, &mut input, self.now);
        drop(input);
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Transmit(id) => {
                    while self.engine.poll_transmit(id, &mut self.out, self.now) == Transmit::Ready {
                        self.out.clear();
                    }
                }
                Action::Connect { conn, .. } => {
                    self.upstream = Some(conn);
                    self.engine.handle_connected(conn, Ok(addresses().into()), self.now);
                }
                _ => {}
            }
        }
        self.blocks.put(block);
    }
}

fn addresses() -> Addresses {
    let address = |port| std::net::SocketAddr::from(([10, 0, 0, 2], port));
    Addresses { local: address(80), remote: address(40_000) }
}
