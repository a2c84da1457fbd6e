//! The HTTP connection manager's settings.

use super::{AccessLog, RouteTable};
use crate::filter::FilterFactory;
use crate::http::Scheme;
use crate::http::path::PathRules;
use crate::http1::parse::HeadLimits;
use crate::http2::Http2Options;
use crate::limit;
use crate::time::Duration;
use std::sync::Arc;

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug)]
pub struct HttpManager {
    /// Prefix of its stats.
    pub stat_prefix: Arc<str>,
    /// Virtual hosts and routes.
    pub routes: Arc<RouteTable>,
    /// HTTP filters before the router, in order.
    pub filters: Vec<Arc<dyn FilterFactory>>,
    /// `Router.suppress_envoy_headers`.
    pub suppress_envoy_headers: bool,
    /// `Router.respect_expected_rq_timeout` is not honoured; this is the retry-header trust of internal
    /// requests.
    pub access_logs: Vec<AccessLog>,
    /// Largest heads.
    pub limits: HeadLimits,
    /// How paths are normalised.
    pub path_rules: PathRules,
    /// `server_name`, sent as `server`.
    pub server_name: Arc<str>,
    /// What happens to `server`.
    pub server_header: ServerHeader,
    /// Whether the connection's address is the client's (an edge proxy).
    pub use_remote_address: bool,
    /// Clients whose `x-envoy-*` headers are trusted (`internal_address_config.cidr_ranges`).
    pub internal_ranges: Vec<(std::net::IpAddr, u8)>,
    /// Trusted proxies in front of us.
    pub trusted_hops: u32,
    /// Leave `X-Forwarded-For` alone.
    pub skip_xff_append: bool,
    /// Appended to `Via`.
    pub via: Option<Arc<str>>,
    /// Make an `X-Request-Id` where there is none.
    pub generate_request_id: bool,
    /// Keep an external client's `X-Request-Id`.
    pub preserve_external_request_id: bool,
    /// Answer with `X-Request-Id` too.
    pub request_id_in_response: bool,
    /// Time without requests before a connection is closed.
    pub idle_timeout: Option<Duration>,
    /// Time for a request head.
    pub request_headers_timeout: Option<Duration>,
    /// Time for a whole request.
    pub request_timeout: Option<Duration>,
    /// Time without a byte on an exchange.
    pub stream_idle_timeout: Option<Duration>,
    /// Time that a connection lives; it is then drained.
    pub max_connection_duration: Option<Duration>,
    /// Time that an exchange lives.
    pub max_stream_duration: Option<Duration>,
    /// Time that a closing connection lingers.
    pub delayed_close: Duration,
    /// Requests on one connection.
    pub max_requests_per_connection: Option<u32>,
    /// What to do with names that hold an underscore.
    pub underscores: UnderscoreAction,
    /// Remove the port from Host if it is the listener's.
    pub strip_matching_port: bool,
    /// Remove any port from Host.
    pub strip_any_port: bool,
    /// Remove a dot at the end of Host's name.
    pub strip_trailing_dot: bool,
    /// `scheme_header_transformation.scheme_to_overwrite`.
    pub scheme: Option<Scheme>,
    /// Serve HTTP/1.0 instead of answering 426.
    pub accept_http_10: bool,
    /// Host for HTTP/1.0 requests that have none.
    pub default_host: Option<Arc<str>>,
    /// `http_protocol_options.allow_chunked_length`.
    pub allow_chunked_length: bool,
    /// It is no connection manager: bytes are carried to the cluster of the only route (`TcpProxy`).
    pub tcp: bool,
    /// Which versions of HTTP clients may speak.
    pub codec: Codec,
    /// How HTTP/2 is spoken with them.
    pub http2: Http2Options,
    /// Protocols that a client may upgrade to.
    pub upgrades: Vec<Upgrade>,
    /// What happens to `x-forwarded-client-cert`.
    pub client_cert: ClientCert,
}

/// `forward_client_cert_details` and `set_current_client_cert_details`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientCert {
    /// What happens to the header.
    pub forward: ForwardClientCert,
    /// The certificate's subject is written.
    pub subject: bool,
    /// The certificate itself is written.
    pub cert: bool,
    /// The certificate and those that came with it are written.
    pub chain: bool,
    /// Its DNS names are written.
    pub dns: bool,
    /// Its URIs are written.
    pub uri: bool,
}

/// `ForwardClientCertDetails`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum ForwardClientCert {
    /// Remove it.
    #[default]
    Sanitize,
    /// Leave it, if the client showed a certificate.
    ForwardOnly,
    /// Add this connection's certificate, if the client showed one.
    AppendForward,
    /// Only this connection's certificate.
    SanitizeSet,
    /// Leave it, whoever sent it.
    AlwaysForwardOnly,
}

impl HttpManager {
    /// `TcpProxy`: what of a connection manager's settings carries bytes to the only route of `routes`.
    pub fn for_tcp(stat_prefix: Arc<str>, routes: RouteTable) -> HttpManager {
        HttpManager {
            stat_prefix,
            routes: Arc::new(routes),
            filters: Vec::new(),
            suppress_envoy_headers: true,
            access_logs: Vec::new(),
            limits: HeadLimits::default(),
            path_rules: PathRules::default(),
            server_name: "".into(),
            server_header: ServerHeader::PassThrough,
            use_remote_address: true,
            internal_ranges: Vec::new(),
            trusted_hops: 0,
            skip_xff_append: true,
            via: None,
            generate_request_id: false,
            preserve_external_request_id: false,
            request_id_in_response: false,
            idle_timeout: None,
            request_headers_timeout: None,
            request_timeout: None,
            stream_idle_timeout: Some(limit::IDLE_TIMEOUT),
            max_connection_duration: None,
            max_stream_duration: None,
            delayed_close: limit::DELAYED_CLOSE,
            max_requests_per_connection: None,
            underscores: UnderscoreAction::Allow,
            strip_matching_port: false,
            strip_any_port: false,
            strip_trailing_dot: false,
            scheme: None,
            accept_http_10: false,
            default_host: None,
            allow_chunked_length: false,
            tcp: true,
            codec: Codec::Http1,
            http2: Http2Options::default(),
            upgrades: Vec::new(),
            client_cert: ClientCert::default(),
        }
    }
}

/// `codec_type`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum Codec {
    /// What TLS agreed on (ALPN); on clear text HTTP/2 if the client begins with its preface.
    #[default]
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// `upgrade_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The protocol, as in the `Upgrade` field; compared without case.
    pub protocol: Arc<str>,
    /// Whether it is on.
    pub enabled: bool,
}

/// `server_header_transformation`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum ServerHeader {
    /// Ours always.
    #[default]
    Overwrite,
    /// Ours if the upstream sent none.
    AppendIfAbsent,
    /// The upstream's or none.
    PassThrough,
}

/// `headers_with_underscores_action`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum UnderscoreAction {
    /// Forward them.
    #[default]
    Allow,
    /// Answer 400.
    Reject,
    /// Remove them.
    Drop,
}
