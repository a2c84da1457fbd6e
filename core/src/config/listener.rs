//! Listeners.

use super::{DownstreamTls, HttpManager};
use crate::listener::ChainMatch;
use crate::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name; the address if the config gives none. Updates are matched by name.
    pub name: Arc<str>,
    /// Where it listens.
    pub bind: Bind,
    /// Soft limit of bytes buffered for each connection.
    pub buffer_limit: usize,
    /// Most connections over all workers (`max_connections_to_accept` aside, Envoy's runtime key
    /// `envoy.resource_limits.listener.<name>.connection_limit`).
    pub max_connections: Option<u64>,
    /// What serves the connections: the chain whose criteria fit best.
    pub chains: Vec<Arc<FilterChain>>,
    /// What serves those that fit none.
    pub default_chain: Option<Arc<FilterChain>>,
    /// What is found out about a connection before its chain is chosen.
    pub inspection: Inspection,
}

/// `listener_filters`, as far as they look at a client's first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The TLS inspector is there: server name, protocols and whether it is TLS at all are known to the choice.
    pub tls: bool,
    /// Time that it may take; `None` is as long as it wants.
    pub timeout: Option<Duration>,
    /// After that time the connection goes on with what is known.
    pub goes_on: bool,
}

/// `envoy.config.listener.v3.FilterChain`.
#[derive(Clone, Debug)]
pub struct FilterChain {
    /// Its name, or nothing.
    pub name: Arc<str>,
    /// Which connections it is for.
    pub on: ChainMatch,
    /// TLS, if its connections have it.
    pub tls: Option<Arc<DownstreamTls>>,
    /// `transport_socket_connect_timeout`: time for the TLS handshake.
    pub open_timeout: Duration,
    /// What serves its connections.
    pub http: Arc<HttpManager>,
}

impl Listener {
    /// All chains, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().chain(&self.default_chain)
    }

    /// Whether the choice of a chain needs a client's first bytes, and may look at them.
    pub fn is_inspecting(&self) -> bool {
        self.inspection.tls && self.chains.iter().any(|chain| chain.on.needs_inspection())
    }
}

/// What the driver needs to open a listener. A change here means another socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Address; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Whether each worker has its own socket (SO_REUSEPORT).
    pub reuse_port: bool,
    /// Length of the accept queue.
    pub backlog: u32,
    /// It is bound to nothing (`api_listener`): requests come from the process that embeds the proxy.
    pub calls_only: bool,
}
