//! A connection to an upstream host.
//!
//! ```text
//! Connecting --> Idle <--> Head --> Body --> Idle
//!      \                     \--> Tunnel
//!       \--> gone             \--> gone
//!        \--> Http2 --> gone
//! ```

use super::{PartialHead, Wire};
use crate::cluster::PoolKey;
use crate::config::UpstreamTls;
use crate::http1::body::Decoder;
use crate::http2::Session;
use crate::id::{ClusterId, ExchangeId, HostId};
use crate::record::Addresses;
use crate::time::Instant;
use crate::timer::Deadlines;
use crate::tls_info::TlsInfo;
use std::sync::Arc;

crate::reasons! {
    /// Why an upstream connection has a deadline.
    pub enum UpstreamDeadline {
        /// Not connected after `connect_timeout`.
        Connect,
        /// Unused for `idle_timeout`.
        Idle,
        /// `max_connection_duration`.
        Lifetime,
        /// `connection_keepalive`: a PING is due, or its answer.
        Keepalive,
    }
}

/// What the connection is doing.
#[derive(Debug)]
pub enum UpstreamPhase {
    /// Being made.
    Connecting,
    /// In the pool.
    Idle,
    /// Sending a request or waiting for the response head.
    Head(ExchangeId, PartialHead),
    /// Receiving a response body.
    Body(ExchangeId),
    /// Carrying an upgraded protocol's bytes.
    Tunnel(ExchangeId),
    /// Carrying as many exchanges as there are streams.
    Http2(Box<Session>),
    /// Done for; the driver was told to close it.
    Closed,
}

/// A connection to an upstream host.
#[derive(Debug)]
pub struct Upstream {
    /// Bytes out, and what the driver was told.
    pub wire: Wire,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its host.
    pub host: HostId,
    /// Which of the host's pools it belongs to.
    pub pool: PoolKey,
    /// How many exchanges it was expected to carry while it was being made.
    pub carries: usize,
    /// Whose breakers count it.
    pub priority: usize,
    /// Both ends, once connected.
    pub addresses: Option<Addresses>,
    /// The TLS settings that it was made with, if any.
    pub security: Option<Arc<UpstreamTls>>,
    /// What its TLS handshake came to.
    pub tls: Option<Arc<TlsInfo>>,
    /// Its number in the process.
    pub number: u64,
    /// When it was there.
    pub connected: Option<Instant>,
    /// What it is doing.
    pub phase: UpstreamPhase,
    /// Reads the response body.
    pub body: Decoder,
    /// Deadlines.
    pub deadlines: Deadlines<4>,
    /// When it was begun.
    pub since: Instant,
    /// Requests sent.
    pub requests: u32,
    /// May not be used again after this response.
    pub last: bool,
}

impl Upstream {
    /// The exchange that uses it.
    pub fn exchange(&self) -> Option<ExchangeId> {
        match self.phase {
            UpstreamPhase::Head(id, _) | UpstreamPhase::Body(id) | UpstreamPhase::Tunnel(id) => Some(id),
            _ => None,
        }
    }

    /// Its streams, if it speaks HTTP/2.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            UpstreamPhase::Http2(session) => Some(session),
            _ => None,
        }
    }

    /// Whether an exchange uses it.
    pub fn is_busy(&self) -> bool {
        match &self.phase {
            UpstreamPhase::Http2(session) => session.streams() > 0,
            _ => self.exchange().is_some(),
        }
    }
}
