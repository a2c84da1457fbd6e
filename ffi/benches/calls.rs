//! What the C layer costs: the same exchange fed to the engine in Rust and through the C functions, and single calls that do
//! next to nothing. The difference over the number of calls is what a call costs: less than 100 ns, is the budget.
#![allow(missing_docs)]

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::config::v3;
use weir_core::engine::{Action, Transmit};
use weir_core::id::ConnId;
use weir_core::record::Addresses;
use weir_core::rng::Seed;
use weir_core::time::{Instant, Wall};
use weir_ffi::address::weir_address;
use weir_ffi::config::weir_config_load;
use weir_ffi::engine::*;
use weir_ffi::memory::{weir_iovec, weir_str};
use weir_ffi::result::weir_check_abi;
use weir_ffi::result::weir_result::{WEIR_NONE, WEIR_OK};

const CONFIG: &str = r#"
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 80 } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: up } }] }] }
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
  clusters:
  - name: up
    load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 81 } } } }] }] }
"#;
const REQUEST: &[u8] = b"GET /path?query HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// One client and one upstream, whose connections stay.
struct InRust {
    engine: Engine,
    blocks: Blocks,
    block: BytesMut,
    outbox: Outbox,
    client: ConnId,
    upstream: Option<ConnId>,
}

const NOW: Instant = Instant::from_nanos(1);

impl InRust {
    fn new() -> InRust {
        let config = Arc::new(v3::load(CONFIG, "bench.yaml").config.expect("a config"));
        let mut engine = Engine::new(config, Arc::default(), Seed(0), NOW, Wall::from_nanos(0));
        let here: SocketAddr = ([127, 0, 0, 1], 1).into();
        let listener = engine.listener("main").expect("a listener");
        let client = engine.handle_accept(listener, Addresses { local: here, remote: here }, NOW).expect("room");
        let mut made =
            InRust { engine, blocks: Blocks::new(64 * 1024), block: BytesMut::new(), outbox: Outbox::default(), client, upstream: None };
        made.exchange();
        made
    }

    fn receive(&mut self, conn: ConnId, data: &[u8]) {
        // As a driver does that reads into blocks.
        if !(self.block.capacity() >= data.len() || (self.block.capacity() > 0 && self.block.try_reclaim(data.len()))) {
            let full = std::mem::take(&mut self.block);
            self.blocks.put(full);
            self.block = self.blocks.take();
        }
        self.block.extend_from_slice(data);
        let mut input = self.block.split();
        self.engine.handle_recv(conn, &mut input, NOW);
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Connect { conn, .. } => {
                    self.upstream = Some(conn);
                    let here: SocketAddr = ([127, 0, 0, 1], 1).into();
                    self.engine.handle_connected(conn, Ok(Addresses { local: here, remote: here }.into()), NOW);
                }
                Action::Transmit(conn) => {
                    while self.engine.poll_transmit(conn, &mut self.outbox, NOW) == Transmit::Ready {
                        black_box(self.outbox.slices().map(|slice| slice.len()).sum::<usize>());
                        self.outbox.clear();
                    }
                }
                _ => {}
            }
        }
    }

    fn exchange(&mut self) {
        self.receive(self.client, REQUEST);
        self.receive(self.upstream.expect("it connects"), RESPONSE);
    }
}

struct InC {
    engine: *mut weir_engine,
    client: u64,
    upstream: u64,
    /// Calls that were made.
    calls: u64,
}

fn text(text: &str) -> weir_str {
    weir_str { data: text.as_ptr().cast(), len: text.len() }
}

static HERE: weir_address = weir_address { family: 4, port: 1, ip: [127; 16] };

// SAFETY, of all: what is pointed to lives and has what is said of it.
#[allow(clippy::undocumented_unsafe_blocks)]
impl InC {
    fn new() -> InC {
        let (mut config, mut engine, mut listener, mut client) = (ptr::null_mut(), ptr::null_mut(), 0, 0);
        let options = weir_engine_options { size: size_of::<weir_engine_options>(), now: 1, ..unsafe { std::mem::zeroed() } };
        unsafe {
            assert_eq!(weir_config_load(text(CONFIG), text("bench.yaml"), 0, &raw mut config, ptr::null_mut()), WEIR_OK);
            assert_eq!(weir_engine_new(config, &raw const options, &raw mut engine), WEIR_OK);
            assert_eq!(weir_engine_listener(engine, text("main"), &raw mut listener), WEIR_OK);
            assert_eq!(weir_engine_accept(engine, listener, &raw const HERE, &raw const HERE, 1, &raw mut client), WEIR_OK);
        }
        let mut made = InC { engine, client, upstream: 0, calls: 0 };
        made.exchange();
        made.calls = 0;
        made
    }

    fn receive(&mut self, conn: u64, data: &[u8]) {
        let (mut taken, mut count) = (0, 0);
        let mut action = weir_action { size: size_of::<weir_action>(), ..unsafe { std::mem::zeroed() } };
        let mut slices = [weir_iovec { data: ptr::null(), len: 0 }; 16];
        unsafe {
            assert_eq!(weir_engine_recv(self.engine, conn, data.as_ptr(), data.len(), &raw mut taken, 1), WEIR_OK);
            self.calls += 2;
            while weir_engine_next_action(self.engine, &raw mut action) == WEIR_OK {
                self.calls += 1;
                match action.kind {
                    1 => {
                        self.upstream = action.conn;
                        weir_engine_connected(self.engine, action.conn, &raw const HERE, &raw const HERE, ptr::null(), 1);
                    }
                    2 => {
                        self.calls += 1;
                        let out = slices.as_mut_ptr();
                        while weir_engine_transmit(self.engine, action.conn, out, slices.len(), &raw mut count, 1) == WEIR_OK {
                            let sum = slices[..count].iter().map(|slice| slice.len).sum();
                            weir_engine_sent(self.engine, action.conn, black_box(sum));
                            self.calls += 2;
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn exchange(&mut self) {
        self.receive(self.client, REQUEST);
        self.receive(self.upstream, RESPONSE);
    }
}

fn exchanges(c: &mut Criterion) {
    let (mut in_rust, mut in_c) = (InRust::new(), InC::new());
    in_c.exchange();
    let mut group = c.benchmark_group("exchange");
    group.bench_function("in Rust", |b| b.iter(|| in_rust.exchange()));
    group.bench_function(format!("in C, {} calls", in_c.calls), |b| b.iter(|| in_c.exchange()));
}

#[allow(clippy::undocumented_unsafe_blocks)] // as above
fn calls(c: &mut Criterion) {
    let (mut in_rust, in_c) = (InRust::new(), InC::new());
    let mut action = weir_action { size: size_of::<weir_action>(), ..unsafe { std::mem::zeroed() } };
    let mut group = c.benchmark_group("call");
    group.bench_function("poll_action, nothing to do, in Rust", |b| b.iter(|| assert!(in_rust.engine.poll_action().is_none())));
    group.bench_function("weir_engine_next_action, nothing to do", |b| {
        b.iter(|| assert_eq!(unsafe { weir_engine_next_action(in_c.engine, black_box(&raw mut action)) }, WEIR_NONE));
    });
    group.bench_function("weir_engine_timeout, too early", |b| {
        b.iter(|| assert_eq!(weir_engine_timeout(in_c.engine, black_box(1)), WEIR_OK))
    });
    group.bench_function("weir_engine_eof, of a connection that is gone", |b| b.iter(|| weir_engine_eof(in_c.engine, black_box(0), 1)));
    group.bench_function("weir_check_abi", |b| b.iter(|| weir_check_abi(black_box(1))));
}

criterion_group!(benches, exchanges, calls);
criterion_main!(benches);
