//! What core costs: parsing a head, finding a route among one and among ten thousand, a whole exchange.
#![allow(missing_docs)]

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::config::{Config, v3};
use weir_core::engine::{Action, Transmit};
use weir_core::http::{RequestHead, ResponseHead};
use weir_core::http1::{framing, parse};
use weir_core::id::ConnId;
use weir_core::record::Addresses;
use weir_core::rng::{Rng, Seed};
use weir_core::router;
use weir_core::time::{Duration, Instant, Wall};

const REQUEST: &[u8] =
    b"GET /svc-77/hello?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: up\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

fn config(routes: usize) -> Arc<Config> {
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
    Arc::new(v3::load(&yaml, "bench.yaml").config.expect("the config is right"))
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let (limits, mut request, mut response) = (parse::HeadLimits::default(), RequestHead::default(), ResponseHead::default());
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("request head", |b| {
        b.iter(|| {
            parse::request(black_box(REQUEST), limits, &mut request).expect("a request");
            framing::request(&mut request, false)
        });
    });
    let head = &RESPONSE[..RESPONSE.len() - 13];
    group.throughput(Throughput::Bytes(head.len() as u64));
    group.bench_function("response head", |b| {
        b.iter(|| {
            parse::response(black_box(head), limits, &mut response).expect("a response");
            framing::response(&mut response, false)
        });
    });
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    let (mut head, mut rng) = (RequestHead::default(), Rng::new(Seed(1)));
    parse::request(REQUEST, parse::HeadLimits::default(), &mut head).expect("a request");
    for count in [1, 100, 10_000] {
        let config = config(count);
        let table = Arc::clone(&config.listeners[0].http.routes);
        group.bench_function(format!("of {count}"), |b| b.iter(|| router::find(&table, black_box(&head), &mut rng)));
    }
}

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
        self.blocks.put(block);
    }
}

fn addresses() -> Addresses {
    let address = |port| std::net::SocketAddr::from(([10, 0, 0, 2], port));
    Addresses { local: address(80), remote: address(40_000) }
}

fn exchange(c: &mut Criterion) {
    let now = Instant::from_nanos(1);
    let engine = Engine::new(config(1), Arc::default(), Seed(1), now, Wall::from_nanos(1_700_000_000_000_000_000));
    let mut world = World { engine, blocks: Blocks::new(64 * 1024), out: Outbox::default(), now, upstream: None };
    let listener = world.engine.listener("main").expect("a listener");
    let client = world.engine.handle_accept(listener, addresses(), now).expect("let in");
    c.bench_function("whole exchange", |b| {
        b.iter(|| {
            world.now = world.now + Duration::from_micros(100);
            world.deliver(client, black_box(REQUEST));
            let upstream = world.upstream.expect("an upstream connection");
            world.deliver(upstream, black_box(RESPONSE));
        });
    });
}

criterion_group!(benches, codec, routes, exchange);
criterion_main!(benches);
