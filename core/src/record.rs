//! What is known about one exchange: the facts that access logs, header templates and `explain` read.

use crate::http::Version;
use crate::time::{Duration, Instant, Wall};
use crate::tls_info::TlsInfo;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $short:literal, $long:literal;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Flags = Flags(1 << $bit);)*
            /// Every flag with its short and long name.
            pub const ALL: &'static [(Flags, &'static str, &'static str)] = &[$((Flags::$name, $short, $long)),*];
        }
    };
}

/// Envoy's response flags: what went wrong with an exchange, as a set.
/// (`configuration/observability/access_log/usage`, `%RESPONSE_FLAGS%`.)
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

flags! {
    /// Retries were used up.
    RETRY_LIMIT = 4, "URX", "UpstreamRetryLimitExceeded";
    /// No healthy upstream hosts.
    NO_HEALTHY_UPSTREAM = 0, "UH", "NoHealthyUpstream";
    /// The upstream connection could not be made.
    UPSTREAM_CONNECTION_FAILURE = 1, "UF", "UpstreamConnectionFailure";
    /// A circuit breaker was open.
    UPSTREAM_OVERFLOW = 2, "UO", "UpstreamOverflow";
    /// No route matched.
    NO_ROUTE = 3, "NR", "NoRouteFound";
    /// The route names a cluster that does not exist.
    NO_CLUSTER = 5, "NC", "NoClusterFound";
    /// `max_stream_duration` or a request limit ended it.
    DURATION_TIMEOUT = 6, "DT", "DurationTimeout";
    /// The client went away.
    DOWNSTREAM_TERMINATION = 7, "DC", "DownstreamConnectionTermination";
    /// The upstream timed out.
    UPSTREAM_TIMEOUT = 8, "UT", "UpstreamRequestTimeout";
    /// We reset the upstream stream.
    LOCAL_RESET = 9, "LR", "LocalReset";
    /// The upstream reset the stream.
    UPSTREAM_RESET = 10, "UR", "UpstreamRemoteReset";
    /// The upstream closed the connection.
    UPSTREAM_TERMINATION = 11, "UC", "UpstreamConnectionTermination";
    /// The client broke the protocol.
    DOWNSTREAM_PROTOCOL_ERROR = 12, "DPE", "DownstreamProtocolError";
    /// The upstream broke the protocol.
    UPSTREAM_PROTOCOL_ERROR = 13, "UPE", "UpstreamProtocolError";
    /// The stream was idle too long.
    STREAM_IDLE = 14, "SI", "StreamIdleTimeout";
    /// `max_stream_duration` on the upstream side.
    UPSTREAM_MAX_DURATION = 15, "UMSDR", "UpstreamMaxStreamDurationReached";
    /// Overload protection refused it.
    OVERLOAD = 16, "OM", "OverloadManagerTerminated";
    /// A header that was required to be valid was not.
    INVALID_ENVOY_HEADER = 17, "IH", "InvalidEnvoyRequestHeaders";
    /// DNS resolution failed.
    DNS_FAILURE = 18, "DF", "DnsResolutionFailed";
}

impl Flags {
    /// Adds a flag.
    pub fn insert(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }

    /// Whether all of `flag` is set.
    pub fn contains(self, flag: Flags) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// Whether nothing went wrong.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Short and long names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        Flags::ALL.iter().filter(move |(flag, ..)| self.contains(*flag)).map(|(_, short, long)| (*short, *long))
    }
}

/// The addresses of a connection, as the driver saw them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

/// The facts about one exchange.
#[derive(Clone, Debug)]
pub struct Record {
    /// Number of the downstream connection in this process.
    pub connection: u64,
    /// When the request head was complete.
    pub start: Instant,
    /// The same as wall time.
    pub start_wall: Wall,
    /// When the last byte of the request arrived.
    pub request_end: Option<Instant>,
    /// When the first byte went upstream.
    pub upstream_start: Option<Instant>,
    /// When the last byte of the request was given to the upstream connection.
    pub upstream_end: Option<Instant>,
    /// When the upstream connection was begun and when it was there.
    pub upstream_connect: Option<(Instant, Instant)>,
    /// When the upstream's response head arrived.
    pub response_start: Option<Instant>,
    /// When the first byte of the upstream's response body arrived.
    pub response_body_start: Option<Instant>,
    /// When the upstream's response was complete.
    pub response_end: Option<Instant>,
    /// When the answer's head was given to the client's connection.
    pub reply_start: Option<Instant>,
    /// When the exchange ended.
    pub end: Option<Instant>,
    /// Version the client spoke.
    pub protocol: Version,
    /// Status sent to the client; 0 if none was.
    pub status: u16,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// Body bytes from the upstream.
    pub upstream_bytes_received: u64,
    /// Body bytes to the upstream.
    pub upstream_bytes_sent: u64,
    /// Bytes of the request head as it came.
    pub request_head_bytes: u64,
    /// Bytes of the response head as it was sent.
    pub response_head_bytes: u64,
    /// Bytes of request heads sent upstream, all tries together.
    pub upstream_head_sent: u64,
    /// Bytes of the upstream's response head.
    pub upstream_head_received: u64,
    /// What went wrong.
    pub flags: Flags,
    /// Why the status is what it is.
    pub details: Cow<'static, str>,
    /// Client address, by the connection or by a trusted `X-Forwarded-For`.
    pub client: SocketAddr,
    /// The connection's own addresses.
    pub downstream: Addresses,
    /// The upstream connection's addresses, if there was one.
    pub upstream: Option<Addresses>,
    /// The upstream connection's number in this process.
    pub upstream_connection: Option<u64>,
    /// The endpoint that was chosen.
    pub endpoint: Option<SocketAddr>,
    /// The endpoints that were chosen before it.
    pub earlier_endpoints: Vec<SocketAddr>,
    /// Name of the cluster.
    pub cluster: Option<Arc<str>>,
    /// How many times it was tried upstream.
    pub attempts: u32,
    /// Why connecting failed, if it did.
    pub transport_failure: Option<Box<str>>,
    /// TLS of the client's connection.
    pub tls: Option<Arc<TlsInfo>>,
    /// TLS of the upstream connection.
    pub upstream_tls: Option<Arc<TlsInfo>>,
}

impl Record {
    /// When the exchange ended, as wall time.
    pub fn end_wall(&self) -> Wall {
        self.start_wall.after(self.end.map_or(Duration::ZERO, |end| end.since(self.start)))
    }

    /// The record of an exchange that starts now.
    pub fn new(connection: u64, downstream: Addresses, start: Instant, start_wall: Wall) -> Record {
        Record {
            connection,
            start,
            start_wall,
            request_end: None,
            upstream_start: None,
            upstream_end: None,
            upstream_connect: None,
            response_start: None,
            response_body_start: None,
            response_end: None,
            reply_start: None,
            end: None,
            protocol: Version::Http11,
            status: 0,
            bytes_received: 0,
            bytes_sent: 0,
            upstream_bytes_received: 0,
            upstream_bytes_sent: 0,
            request_head_bytes: 0,
            response_head_bytes: 0,
            upstream_head_sent: 0,
            upstream_head_received: 0,
            flags: Flags::default(),
            details: Cow::Borrowed(""),
            client: downstream.remote,
            downstream,
            upstream: None,
            upstream_connection: None,
            endpoint: None,
            earlier_endpoints: Vec::new(),
            cluster: None,
            attempts: 0,
            transport_failure: None,
            tls: None,
            upstream_tls: None,
        }
    }
}
