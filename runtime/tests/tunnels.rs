//! Bytes through the proxy on real sockets: WebSocket and CONNECT over both versions of HTTP, and the TCP proxy.
//!
//! Two listeners stand behind each other, so that one test passes every bridge: client -> main -> (HTTP/2) -> inner ->
//! echo server.

#[path = "support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use support::Proxy;

/// Answers an upgrade with 101 and anything else not at all, then sends back what it gets, until it has got all.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || echo(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut block = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut block) {
        seen.extend_from_slice(&block[..count]);
        if seen.starts_with(b"GET ") {
            let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key: "), "{head}");
            let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
            seen.drain(..end + 4);
        }
        if stream.write_all(&seen).is_err() {
            return;
        }
        seen.clear();
    }
}

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn listener(name: &str, port: u16, routes: &str) -> String {
    format!(
        r#"
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": {MANAGER}
          stat_prefix: {name}
          upgrade_configs: [{{ upgrade_type: websocket }}, {{ upgrade_type: CONNECT }}]
          http2_protocol_options: {{ allow_connect: true }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: {routes}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}"#
    )
}

fn cluster(name: &str, port: u16, http2: bool) -> String {
    let options = match http2 {
        true => format!(
            r#"
    typed_extension_protocol_options:
      {OPTIONS}: {{ "@type": type.googleapis.com/{OPTIONS}, explicit_http_config: {{ http2_protocol_options: {{}} }} }}"#
        ),
        false => String::new(),
    };
    format!(
        r#"
  - name: {name}
    type: STATIC{options}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]"#
    )
}

fn start() -> (Proxy, u16) {
    let echo = echo_server().port();
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let (inner, tcp) = (free(), free());
    let main_routes = r#"[{ match: { connect_matcher: {} }, route: { cluster: inner } }, { match: { prefix: "/direct" }, route: { cluster: echo } }, { match: { prefix: "/" }, route: { cluster: inner } }]"#;
    let inner_routes = r#"[{ match: { connect_matcher: {} }, route: { cluster: echo, upgrade_configs: [{ upgrade_type: CONNECT, connect_config: {} }] } }, { match: { prefix: "/" }, route: { cluster: echo } }]"#;
    let yaml = format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:{}{}
  - name: tcp
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {tcp} }} }}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: echo
  clusters:{}{}
"#,
        listener("inner", inner, inner_routes),
        listener("main", 0, main_routes),
        cluster("echo", echo, false),
        cluster("inner", inner, true),
    );
    (Proxy::start(&yaml), tcp)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&head)));
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Sends a megabyte while it reads it back, then closes its sending side and expects the end.
fn exchange_bytes(mut stream: TcpStream) {
    let all: Vec<u8> = (0..1_000_000u32).map(|n| ((n * 31) >> 3) as u8).collect();
    let (mut writer, given) = (stream.try_clone().expect("a handle"), all.clone());
    let sending = std::thread::spawn(move || {
        writer.write_all(&given).expect("it is taken");
        writer.shutdown(std::net::Shutdown::Write).expect("half a close");
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("it comes back");
    sending.join().expect("it was sent");
    assert!(back == all, "{} of {} bytes came back", back.len(), all.len());
}

#[test]
fn websockets_pass_every_bridge() {
    let (proxy, _) = start();
    for path in ["/direct", "/through-http2"] {
        let mut stream = connect(proxy.address);
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("a request");
        let answer = read_head(&mut stream).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: websocket"), "{answer}");
        if path != "/direct" {
            assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
        }
        exchange_bytes(stream);
    }
}

#[test]
fn connect_is_forwarded_over_http2_and_ends_at_the_host() {
    let (proxy, _) = start();
    let mut stream = connect(proxy.address);
    stream.write_all(b"CONNECT somewhere.example:443 HTTP/1.1\r\nhost: somewhere.example:443\r\n\r\n").expect("a request");
    let answer = read_head(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
    exchange_bytes(stream);
}

#[test]
fn the_tcp_proxy_carries_bytes() {
    let (_proxy, tcp) = start();
    exchange_bytes(connect(SocketAddr::from(([127, 0, 0, 1], tcp))));
}
