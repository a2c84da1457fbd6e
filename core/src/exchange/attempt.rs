//! Where an exchange stands with its cluster.

use crate::cluster::PoolKey;
use crate::http2::StreamKey;
use crate::id::{ClusterId, ConnId, HostId};

/// The current try.
#[derive(Debug, Default)]
pub struct Attempt {
    /// The cluster, once the route named it.
    pub cluster: Option<ClusterId>,
    /// The host that was chosen.
    pub host: Option<HostId>,
    /// The connection that carries it.
    pub conn: Option<ConnId>,
    /// Its stream on that, if it speaks HTTP/2.
    pub stream: Option<StreamKey>,
    /// Whose breakers count it: 0 default, 1 high.
    pub priority: usize,
    /// It waits in the host's pool, and the pending breaker counts it.
    pub waiting: bool,
    /// It waits because of the connection breaker.
    pub starved: bool,
    /// The connection had carried requests before: it may have been closing when this one was sent.
    pub reused: bool,
    /// Some byte of the response has arrived.
    pub answered: bool,
    /// The next try must use a new connection.
    pub fresh: bool,
    /// It was sent once more because a pooled connection was closed.
    pub replayed: bool,
    /// How often upstreams have refused it without a look at it.
    pub refused: u32,
    /// Which connections it may use.
    pub pool: PoolKey,
    /// The retry breaker counts this exchange.
    pub holds_retry: bool,
}
