//! What the proxy is told: one cluster of upstreams, a listener in clear text, and one with TLS whose two chains serve
//! a name each, with a certificate and a route of their own.

use crate::tls::{self, Pem};
use crate::world::upstream;
use std::net::IpAddr;

/// A version of HTTP.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How two hosts talk.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) tls: bool,
    pub(crate) protocol: Protocol,
}

/// HTTP/1.1 in clear text.
pub(crate) const CLEAR: Wire = Wire { tls: false, protocol: Protocol::Http1 };
/// HTTP/2 in clear text, known beforehand.
pub(crate) const CLEAR2: Wire = Wire { tls: false, protocol: Protocol::Http2 };
/// HTTP/1.1 in TLS.
pub(crate) const TLS: Wire = Wire { tls: true, protocol: Protocol::Http1 };
/// HTTP/2 in TLS.
pub(crate) const TLS2: Wire = Wire { tls: true, protocol: Protocol::Http2 };
/// All of them.
pub(crate) const WIRES: [Wire; 4] = [CLEAR, CLEAR2, TLS, TLS2];

/// The proxy's port for clients that talk so.
pub(crate) fn port(wire: Wire) -> u16 {
    if wire.tls { 443 } else { 80 }
}

/// How long the proxy gives a client for its TLS handshake.
pub(crate) const HANDSHAKE_SECONDS: u64 = 2;

/// What a config says.
#[derive(Copy, Clone)]
pub(crate) struct Setup {
    /// How many upstreams there are.
    pub(crate) upstreams: u8,
    /// How they are talked to.
    pub(crate) wire: Wire,
    /// Whether their protocol is asked for by ALPN instead of being known.
    pub(crate) auto: bool,
    /// More fields of the route, each after a comma.
    pub(crate) route: &'static str,
    /// The certificate for `a.sim`.
    pub(crate) a: Pem,
}

impl Setup {
    /// Upstreams that are talked to so.
    pub(crate) fn new(upstreams: u8, wire: Wire, route: &'static str) -> Setup {
        Setup { upstreams, wire, auto: false, route, a: tls::A }
    }

    /// The config.
    pub(crate) fn yaml(&self) -> String {
        let endpoints: Vec<String> = (1..=self.upstreams).map(|number| endpoint(upstream(number))).collect();
        format!(
            r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 0.0.0.0, port_value: 80 }} }}
      filter_chains: [{{ {} }}]
    - name: secure
      address: {{ socket_address: {{ address: 0.0.0.0, port_value: 443 }} }}
      listener_filters: [{{ name: inspector, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }} }}]
      listener_filters_timeout: {HANDSHAKE_SECONDS}s
      filter_chains:
        - {}
        - {}
  clusters:
    - name: u
      type: STATIC
      connect_timeout: 1s{}
      load_assignment: {{ cluster_name: u, endpoints: [{{ lb_endpoints: [{}] }}] }}
"#,
            self.filters("clear"),
            self.chain("b.sim", tls::B),
            self.chain("a.sim", self.a),
            self.towards_upstreams(),
            endpoints.join(", ")
        )
    }

    fn chain(&self, name: &str, pem: Pem) -> String {
        let pem = pem.inline();
        format!(
            r#"{{ filter_chain_match: {{ server_names: ["{name}"] }}, transport_socket_connect_timeout: {HANDSHAKE_SECONDS}s, transport_socket: {{ name: tls, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
            common_tls_context: {{ alpn_protocols: [h2, http/1.1], tls_certificates: [{{ certificate_chain: {pem}, private_key: {pem} }}] }} }} }},
          {} }}"#,
            self.filters(name)
        )
    }

    /// Answers say which chain they came through, and why an upstream could not be reached.
    fn filters(&self, chain: &str) -> String {
        format!(
            r#"filters: [{{ name: http, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
            stat_prefix: ingress,
            http_filters: [{{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}],
            route_config: {{ name: "{chain}", virtual_hosts: [{{ name: v, domains: ["*"], response_headers_to_add: [
                {{ header: {{ key: x-chain, value: "{chain}" }} }}, {{ header: {{ key: x-why, value: "%UPSTREAM_TRANSPORT_FAILURE_REASON%" }} }}],
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: u, timeout: 5s{} }} }}] }}] }} }} }}]"#,
            self.route
        )
    }

    fn towards_upstreams(&self) -> String {
        const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let mut text = String::new();
        let options = match (self.auto, self.wire.protocol) {
            (true, _) => Some("auto_config: { http2_protocol_options: { connection_keepalive: { interval: 2s, timeout: 1s } } }"),
            (false, Protocol::Http2) => {
                Some("explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: 2s, timeout: 1s } } }")
            }
            (false, Protocol::Http1) => None,
        };
        if let Some(options) = options {
            text += &format!(
                "\n      typed_extension_protocol_options: {{ {OPTIONS}: {{ \"@type\": type.googleapis.com/{OPTIONS}, {options} }} }}"
            );
        }
        if self.wire.tls {
            text += &format!(
                r#"
      transport_socket: {{ name: tls, typed_config: {{
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: origin.sim,
        common_tls_context: {{ validation_context: {{ trusted_ca: {},
          match_typed_subject_alt_names: [{{ san_type: DNS, matcher: {{ exact: origin.sim }} }}] }} }} }} }}"#,
                tls::AUTHORITY.inline()
            );
        }
        text
    }
}

fn endpoint(address: IpAddr) -> String {
    format!("{{ endpoint: {{ address: {{ socket_address: {{ address: {address}, port_value: 80 }} }} }} }}")
}
