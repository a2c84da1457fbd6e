//! A connection from a client.
//!
//! ```text
//! Head --(head complete)--> Exchange --(response sent, keep-alive)--> Head
//!   \                          |  \--(101 or 2xx to CONNECT)--> Tunnel
//!    \--(idle, bad head)       \--(close)--> Lingering --(peer closed, time is up)--> gone
//!     \--(preface, or ALPN)--> Http2 --(GOAWAY, error)--> Lingering
//! ```

use super::{PartialHead, Wire};
use crate::exchange::ManagerState;
use crate::http::Version;
use crate::http1::body::Decoder;
use crate::http2::Session;
use crate::id::{ExchangeId, ListenerId};
use crate::record::Addresses;
use crate::stats::HttpStat;
use crate::time::Instant;
use crate::timer::Deadlines;
use crate::tls_info::TlsInfo;
use std::sync::Arc;

crate::reasons! {
    /// Why a downstream connection has a deadline.
    pub enum DownstreamDeadline {
        /// No request for `idle_timeout`.
        Idle,
        /// A head is not complete after `request_headers_timeout`.
        Head,
        /// `max_connection_duration`.
        Lifetime,
        /// A closing connection's peer has not closed after `delayed_close_timeout`.
        Linger,
        /// A stream whose exchange has ended could not be sent to its end for `stream_idle_timeout`.
        Flush,
        /// `connection_keepalive`: a PING is due, or its answer.
        Keepalive,
        /// Its first bytes, or its TLS handshake, took longer than they may.
        Open,
    }
}

/// What the connection is doing.
#[derive(Debug)]
pub enum DownstreamPhase {
    /// Waiting for a request head, or in the middle of one.
    Head(PartialHead),
    /// Serving an exchange.
    Exchange(ExchangeId),
    /// Carrying an upgraded protocol's bytes.
    Tunnel(ExchangeId),
    /// Serving as many exchanges as there are streams.
    Http2(Box<Session>),
    /// All is said: what still comes in is dropped until the peer closes.
    Lingering {
        /// When it ends, whatever comes in.
        until: Instant,
    },
}

/// A connection from a client.
#[derive(Debug)]
pub struct Downstream {
    /// Bytes out, and what the driver was told.
    pub wire: Wire,
    /// Where it came in.
    pub listener: ListenerId,
    /// Both ends.
    pub addresses: Addresses,
    /// Its number in the process.
    pub number: u64,
    /// The version that it speaks, once that is known.
    pub version: Option<Version>,
    /// What it is doing.
    pub phase: DownstreamPhase,
    /// Reads the request body of the current exchange.
    pub body: Decoder,
    /// Deadlines.
    pub deadlines: Deadlines<7>,
    /// The live entry in the timer queue that exchanges on this connection share.
    pub exchange_alarm: Instant,
    /// Since when it has been waiting for a request.
    pub idle_since: Instant,
    /// When it was accepted.
    pub since: Instant,
    /// Requests begun.
    pub requests: u32,
    /// The current exchange is the last one.
    pub last: bool,
    /// The client was told so, or must not be heard again.
    pub told: bool,
    /// How many bytes more are read and dropped before it closes.
    pub patience: usize,
    /// The client asked for that: it sends nothing more.
    pub client_closes: bool,
    /// The connection manager as of the latest request.
    pub manager: Arc<ManagerState>,
    /// The filter chain that it came in by, once that is known.
    pub chain: Option<usize>,
    /// What its TLS handshake came to.
    pub tls: Option<Arc<TlsInfo>>,
}

impl Downstream {
    /// Whether no exchange is under way and no byte of a next one has come.
    pub fn is_idle(&self) -> bool {
        match &self.phase {
            DownstreamPhase::Head(partial) => partial.is_empty(),
            DownstreamPhase::Http2(session) => session.streams() == 0,
            _ => false,
        }
    }

    /// It turns out to speak this version, and is counted with it.
    pub fn speaks(&mut self, version: Version) {
        if self.version.replace(version).is_none() {
            let counts = match version {
                Version::Http2 => [HttpStat::CxHttp2Total, HttpStat::CxHttp2Active],
                Version::Http10 | Version::Http11 => [HttpStat::CxHttp1Total, HttpStat::CxHttp1Active],
            };
            counts.into_iter().for_each(|count| self.manager.stats.inc(count));
        }
    }

    /// The gauges that count it while it is there.
    pub fn gauges(&self) -> impl Iterator<Item = HttpStat> + use<> {
        let of_version = self.version.map(|version| match version {
            Version::Http2 => HttpStat::CxHttp2Active,
            Version::Http10 | Version::Http11 => HttpStat::CxHttp1Active,
        });
        std::iter::once(HttpStat::CxActive).chain(of_version)
    }

    /// Its streams, if it speaks HTTP/2.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            DownstreamPhase::Http2(session) => Some(session),
            _ => None,
        }
    }

    /// The exchange under way.
    pub fn exchange(&self) -> Option<ExchangeId> {
        match self.phase {
            DownstreamPhase::Exchange(id) | DownstreamPhase::Tunnel(id) => Some(id),
            _ => None,
        }
    }
}
