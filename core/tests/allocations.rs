//! A plain request allocates nothing in core once its connections are warm.
//!
//! A test binary of its own: the counting allocator sees everything that happens in the process.
#![allow(missing_docs)]

use bytes::BytesMut;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::config::v3;
use weir_core::engine::{Action, Transmit};
use weir_core::id::ConnId;
use weir_core::record::Addresses;
use weir_core::rng::Seed;
use weir_core::shared::Shared;
use weir_core::time::{Duration, Instant, Wall};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONFIG: &str = r#"
static_resources:
  listeners:
    - name: main
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - name: h
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
                route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: u } }] }] }
  clusters:
    - name: u
      load_assignment: { cluster_name: u, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } }] }] }
"#;

struct World {
    engine: Engine,
    blocks: Blocks,
    out: Outbox,
    now: Instant,
    upstream: Option<ConnId>,
}

impl World {
    fn deliver(&mut self, to: ConnId, bytes: &[u8]) {
        let mut block = self.blocks.take();
        block.extend_from_slice(bytes);
        let mut input: BytesMut = block.split();
        self.engine.handle_recv(to, &mut input, self.now);
        drop(input);
        self.run();
        self.blocks.put(block);
    }

    fn run(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Transmit(id) => {
                    while self.engine.poll_transmit(id, &mut self.out, self.now) == Transmit::Ready {
                        self.out.clear();
                    }
                }
                Action::Connect { conn, .. } => {
                    self.upstream = Some(conn);
                    self.engine.handle_connected(conn, Ok(addresses()), self.now);
                }
                _ => {}
            }
        }
    }

    fn exchange(&mut self, client: ConnId) {
        self.now = self.now + Duration::from_micros(100);
        self.deliver(client, b"GET /hello?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n");
        let upstream = self.upstream.expect("an upstream connection");
        self.deliver(upstream, b"HTTP/1.1 200 OK\r\nServer: up\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!");
    }
}

fn addresses() -> Addresses {
    let address = |port| std::net::SocketAddr::from(([10, 0, 0, 2], port));
    Addresses { local: address(80), remote: address(40_000) }
}

#[test]
fn a_plain_request_allocates_nothing() {
    let config = Arc::new(v3::load(CONFIG, "c.yaml").config.expect("the config is right"));
    let now = Instant::from_nanos(1);
    let engine = Engine::new(config, Arc::<Shared>::default(), Seed(1), now, Wall::from_nanos(1_700_000_000_000_000_000));
    let mut world = World { engine, blocks: Blocks::new(64 * 1024), out: Outbox::default(), now, upstream: None };
    let listener = world.engine.listener("main").expect("a listener");
    let client = world.engine.handle_accept(listener, addresses(), now).expect("let in");
    for _ in 0..200 {
        world.exchange(client);
    }
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..1000 {
        world.exchange(client);
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "allocations in 1000 exchanges");
}
