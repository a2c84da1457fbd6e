//! Clusters.

use crate::cluster::PoolKind;
use crate::http::Version;
use crate::http1::parse::HeadLimits;
use crate::http2::Http2Options;
use crate::limit;
use crate::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

/// `envoy.config.cluster.v3.Cluster`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// `alt_stat_name`, or the name.
    pub stat_name: Arc<str>,
    /// Where its hosts come from.
    pub discovery: Discovery,
    /// How one is chosen.
    pub balance: Balance,
    /// Time for a connection to be made.
    pub connect_timeout: Duration,
    /// Soft limit of bytes buffered for each connection.
    pub buffer_limit: usize,
    /// Limits for requests of default and high priority.
    pub breakers: [Breakers; 2],
    /// Time that a pooled connection may be unused.
    pub idle_timeout: Option<Duration>,
    /// Time that a connection lives.
    pub max_connection_duration: Option<Duration>,
    /// Requests on one connection.
    pub max_requests_per_connection: Option<u32>,
    /// Which version of HTTP its hosts are spoken to in.
    pub protocol: UpstreamProtocol,
    /// Largest response heads.
    pub limits: HeadLimits,
    /// TLS, if its hosts are spoken to in it.
    pub tls: Option<Arc<super::UpstreamTls>>,
}

/// `HttpProtocolOptions.upstream_protocol_options`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// `explicit_http_config.http_protocol_options`, and what is spoken when nothing is said.
    #[default]
    Http1,
    /// `explicit_http_config.http2_protocol_options`.
    Http2(Http2Options),
    /// `auto_config`: what TLS agrees on (ALPN).
    Alpn(Http2Options),
    /// `use_downstream_protocol_config`: what the client speaks.
    AsDownstream(Http2Options),
}

impl UpstreamProtocol {
    /// Which of a host's pools serves a client of that version.
    pub fn pool_for(&self, version: Version) -> PoolKind {
        match self {
            UpstreamProtocol::AsDownstream(_) if version == Version::Http2 => PoolKind::Http2,
            _ => PoolKind::Http,
        }
    }

    /// How HTTP/2 is spoken on a connection of that pool, or `None` for HTTP/1.
    pub fn chosen(&self, pool: PoolKind, alpn: Option<&[u8]>) -> Option<&Http2Options> {
        match self {
            _ if pool == PoolKind::Raw => None,
            UpstreamProtocol::Http2(options) => Some(options),
            UpstreamProtocol::Alpn(options) => Some(options).filter(|_| alpn == Some(b"h2")),
            UpstreamProtocol::AsDownstream(options) => Some(options).filter(|_| pool == PoolKind::Http2),
            UpstreamProtocol::Http1 => None,
        }
    }

    /// How many exchanges a connection of that pool that is being made will carry at least, as far as one can know.
    pub fn carries(&self, pool: PoolKind, is_http1: bool) -> usize {
        let options = match self {
            UpstreamProtocol::Http2(options) => Some(options),
            UpstreamProtocol::Alpn(options) => Some(options).filter(|_| !is_http1),
            UpstreamProtocol::AsDownstream(options) => Some(options).filter(|_| pool == PoolKind::Http2),
            UpstreamProtocol::Http1 => None,
        };
        match options {
            Some(options) if pool != PoolKind::Raw => limit::STREAMS_BEFORE_SETTINGS.min(options.max_concurrent_streams as usize),
            _ => 1,
        }
    }
}

/// Where hosts come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// The addresses are in the config.
    Static(Vec<LbEndpoint>),
    /// Every address of every name is a host.
    StrictDns {
        /// The names.
        endpoints: Vec<LbEndpoint>,
        /// Time between queries.
        refresh: Duration,
        /// Wait as long as the answer's TTL says instead.
        respect_ttl: bool,
        /// Which addresses to ask for.
        family: DnsFamily,
    },
    /// New connections go to the first address of the name.
    LogicalDns {
        /// The name.
        endpoint: LbEndpoint,
        /// Time between queries.
        refresh: Duration,
        /// Wait as long as the answer's TTL says instead.
        respect_ttl: bool,
        /// Which addresses to ask for.
        family: DnsFamily,
    },
}

/// `LbEndpoint`.
#[derive(Clone, Debug, PartialEq)]
pub struct LbEndpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Share of the load: at least 1.
    pub weight: u32,
    /// Whether `health_status` lets it take load.
    pub healthy: bool,
    /// `Endpoint.hostname`, for `auto_host_rewrite`.
    pub hostname: Arc<str>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointAddress {
    /// An address.
    Socket(SocketAddr),
    /// A name to resolve.
    Name(HostPort),
}

/// A host name and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The name.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

/// `dns_lookup_family`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum DnsFamily {
    /// IPv6, and IPv4 if there is none.
    #[default]
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4, and IPv6 if there is none.
    V4Preferred,
    /// Both.
    All,
}

/// How a host is chosen.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// Any, by weight.
    Random,
    /// The one with the fewest active requests of a few that are drawn.
    LeastRequest {
        /// How many are drawn.
        choices: u32,
    },
}

/// `CircuitBreakers.Thresholds`.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Breakers {
    /// Most connections.
    pub max_connections: u32,
    /// Most requests that wait for a connection.
    pub max_pending: u32,
    /// Most requests.
    pub max_requests: u32,
    /// What bounds retries.
    pub retries: RetryBudget,
}

/// What bounds retries.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum RetryBudget {
    /// `max_retries`: so many at a time.
    Count(u32),
    /// `retry_budget`: a share of the active requests.
    Share {
        /// Percent of active and pending requests.
        percent: f64,
        /// But at least so many at a time.
        min_concurrency: u32,
    },
}

impl Default for Breakers {
    fn default() -> Self {
        Breakers {
            max_connections: crate::limit::BREAKER,
            max_pending: crate::limit::BREAKER,
            max_requests: crate::limit::BREAKER,
            retries: RetryBudget::Share {
                percent: crate::limit::RETRY_BUDGET_PERCENT,
                min_concurrency: crate::limit::MIN_RETRY_CONCURRENCY,
            },
        }
    }
}
