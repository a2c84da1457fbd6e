//! Listeners.

use super::HttpManager;
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
    /// What serves the connections.
    pub http: Arc<HttpManager>,
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
}
