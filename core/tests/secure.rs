//! What comes before a connection's first byte: the choice of a chain, deadlines, and what a new config does to
//! connections that came in by a chain of the old one.

use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use weir_core::buffer::Outbox;
use weir_core::config::{Config, v3};
use weir_core::engine::{Action, Engine, Opening, Refused, Transmit};
use weir_core::id::ConnId;
use weir_core::listener::Hello;
use weir_core::record::Addresses;
use weir_core::rng::Seed;
use weir_core::time::{Instant, Wall};
use weir_core::tls_info::{TlsFault, TlsInfo};

const TLS: &str = r#"transport_socket: { name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: { tls_certificates: [{ certificate_chain: { filename: a }, private_key: { filename: b } }] } } },"#;
const INSPECTOR: &str = r#"listener_filters: [{ name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }]"#;

fn chain(prefix: &str, more: &str) -> String {
    format!(
        r#"{{ {more} filters: [{{ name: h, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: {prefix},
        route_config: {{ virtual_hosts: [{{ name: v, domains: ["*"], routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200, body: {{ inline_string: "{prefix}" }} }} }}] }}] }},
        http_filters: [{{ name: r, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}] }} }}] }}"#
    )
}

fn config(listener: &str, chains: &[String]) -> Arc<Config> {
    let chains = chains.join(", ");
    let yaml = format!(
        "static_resources: {{ listeners: [{{ name: main, address: {{ socket_address: {{ address: 10.0.0.1, port_value: 443 }} }}, {listener}filter_chains: [{chains}] }}] }}"
    );
    let loaded = v3::load(&yaml, "test.yaml");
    Arc::new(loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics)))
}

struct World {
    engine: Engine,
    now: Instant,
}

impl World {
    fn new(config: Arc<Config>) -> World {
        let now = Instant::from_nanos(1);
        World { engine: Engine::new(config, Arc::default(), Seed(1), now, Wall::from_nanos(0)), now }
    }

    fn accept(&mut self) -> Result<ConnId, Refused> {
        let listener = self.engine.listener("main").expect("a listener");
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        self.engine.handle_accept(listener, Addresses { local: address("10.0.0.1:443"), remote: address("10.0.0.2:9") }, self.now)
    }

    fn hello(&mut self, conn: ConnId, name: &str) -> Opening {
        self.engine.handle_client_hello(conn, Hello { tls: true, server_name: Some(name), alpn: &[] }, self.now)
    }

    fn ask(&mut self, conn: ConnId) -> String {
        self.engine.handle_recv(conn, &mut BytesMut::from("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), self.now);
        let (mut out, mut said) = (Outbox::default(), Vec::new());
        while self.engine.poll_transmit(conn, &mut out, self.now) == Transmit::Ready {
            out.slices().for_each(|slice| said.extend_from_slice(slice));
            out.clear();
        }
        String::from_utf8(said).unwrap()
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        std::iter::from_fn(|| self.engine.poll_action()).collect()
    }
}

#[test]
fn a_handshake_has_a_deadline_and_leaves_its_facts() {
    let mut world = World::new(config("", &[chain("tls", TLS)]));
    let (done, slow, broken) = (world.accept().unwrap(), world.accept().unwrap(), world.accept().unwrap());
    assert!(matches!(world.engine.opening(done), Opening::Tls(_)));
    world.engine.handle_secured(done, TlsInfo::default().into(), world.now);
    world.engine.handle_handshake_failed(broken, TlsFault::Name, world.now);
    assert_eq!((world.engine.opening(done), world.engine.opening(broken)), (Opening::Plain, Opening::Refused));
    assert_eq!(world.wait(Duration::from_secs(11)), [Action::Drop(slow)]);
    assert!(world.ask(done).ends_with("tls"));
    assert_eq!(world.engine.downstream_connections(), 1);
}

#[test]
fn a_client_hello_chooses_the_chain() {
    let a = chain("a", &format!("{TLS} filter_chain_match: {{ server_names: [a.example] }},"));
    let plain = chain("plain", "filter_chain_match: { transport_protocol: raw_buffer },");
    let mut world = World::new(config(&format!("{INSPECTOR}, continue_on_listener_filters_timeout: true, "), &[a, plain]));
    let (first, other, silent) = (world.accept().unwrap(), world.accept().unwrap(), world.accept().unwrap());
    assert_eq!(world.engine.opening(first), Opening::Inspect);
    assert!(matches!(world.hello(first, "a.example"), Opening::Tls(_)));
    world.engine.handle_secured(first, TlsInfo::default().into(), world.now);
    assert!(world.ask(first).ends_with("\r\n\r\na"));
    assert_eq!(world.hello(other, "b.example"), Opening::Refused);
    while world.engine.poll_action().is_some() {}
    // Who says nothing goes on as plain bytes here.
    assert_eq!(world.wait(Duration::from_secs(16)), [Action::Open(silent)]);
    assert_eq!(world.engine.opening(silent), Opening::Plain);
    assert!(world.ask(silent).ends_with("plain"));
}

#[test]
fn no_chain_is_a_refusal() {
    let mut world = World::new(config("", &[chain("a", "filter_chain_match: { destination_port: 80 },")]));
    assert_eq!(world.accept(), Err(Refused::NoFilterChain));
    assert_eq!(world.engine.downstream_connections(), 0);
}

#[test]
fn a_chain_whose_tls_has_changed_lets_its_connections_go() {
    let mut world = World::new(config("", &[chain("old", TLS)]));
    let conn = world.accept().unwrap();
    world.engine.handle_secured(conn, TlsInfo::default().into(), world.now);
    // Routes may change under it.
    world.engine.handle_config(config("", &[chain("new", TLS)]), world.now);
    let answer = world.ask(conn);
    assert!(answer.ends_with("new") && !answer.contains("connection: close"), "{answer}");
    // What it was let in by may not.
    let stricter = TLS.replace("common_tls_context", "require_sni: true, common_tls_context");
    world.engine.handle_config(config("", &[chain("strict", &stricter)]), world.now);
    let answer = world.ask(conn);
    assert!(answer.ends_with("new") && answer.contains("connection: close"), "{answer}");
    let next = world.accept().unwrap();
    assert!(matches!(world.engine.opening(next), Opening::Tls(tls) if tls.require_sni));
}
