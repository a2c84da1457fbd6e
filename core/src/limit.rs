//! Every named limit, with its default and where the default comes from. What grows, grows up to one of
//! these; the config overrides those that Envoy's API can set.

use crate::time::Duration;

/// Bytes that one connection may hold back before its source is paused
/// (`Listener.per_connection_buffer_limit_bytes`, `Cluster.per_connection_buffer_limit_bytes`: 1 MiB).
pub const CONNECTION_BUFFER: usize = 1 << 20;

/// Bytes of request body kept on the chance that a pooled connection turns out to be closed (64 KiB). With a
/// retry policy it is `Route.per_request_buffer_limit_bytes`, or else the connection's limit, as in Envoy.
pub const REPLAY_BODY: usize = 64 << 10;

/// Largest request or response head in KiB (`HttpConnectionManager.max_request_headers_kb`: 60).
pub const HEAD_KB: u32 = 60;

/// Largest response head in KiB (`HttpProtocolOptions.max_response_headers_kb`: 80 for HTTP/1).
pub const RESPONSE_HEAD_KB: u32 = 80;

/// Most header fields in a head, and most trailers (`HttpProtocolOptions.max_headers_count`: 100).
pub const HEADERS: usize = 100;

/// Longest chunk-size line, extensions included: 16 hex digits and room for an extension that is ignored.
/// RFC 9112 section 7.1.1 asks recipients to limit chunk extensions.
pub const CHUNK_LINE: usize = 4096;

/// Ended exchanges whose memory an engine keeps for the next ones: about 3 MiB.
pub const SPARE_EXCHANGES: usize = 1024;

/// Times that an HTTP/2 session is flushed before the driver gets what it wrote. A stream that is given room in one
/// round uses it in the next.
pub const FLUSH_ROUNDS: usize = 16;

/// Times that a request which an upstream has not looked at (REFUSED_STREAM, GOAWAY) is sent again at once, whatever the
/// retry policy says. A host that drains may hand a request over more than once.
pub const REFUSALS: u32 = 3;

/// Bytes handed to the driver for one vectored write.
pub const TRANSMIT: usize = 256 << 10;

/// Connections accepted over all listeners and workers (50,000: the edge best practice for
/// `envoy.resource_monitors.global_downstream_max_connections`).
pub const GLOBAL_CONNECTIONS: u64 = 50_000;

/// Time for a whole request head to arrive once its first byte has (`request_headers_timeout`). Envoy's
/// default is none, which lets a slow client hold a connection for ever; 60 s is nginx's
/// `client_header_timeout`.
pub const REQUEST_HEADERS_TIMEOUT: Duration = Duration::from_secs(60);

/// Time without any request on a downstream connection, or without use of a pooled upstream one
/// (`HttpProtocolOptions.idle_timeout`: 1 h).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Time without a byte in either direction on an exchange (`stream_idle_timeout`: 5 min).
pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Time from the end of the request to the end of the response (`RouteAction.timeout`: 15 s).
pub const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for an upstream connection to be made (`Cluster.connect_timeout`: 5 s).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that a closing connection waits for its peer to take the last bytes and close
/// (`HttpConnectionManager.delayed_close_timeout`: 1 s).
pub const DELAYED_CLOSE: Duration = Duration::from_secs(1);

/// First and longest retry back-off (`RetryBackOff.base_interval`: 25 ms; `max_interval`: ten times that).
pub const RETRY_BASE: Duration = Duration::from_millis(25);

/// Circuit breakers of a cluster that sets none (`CircuitBreakers.Thresholds`: 1024 connections, pending
/// requests and requests; retries are bounded by the retry budget instead of Envoy's 3).
pub const BREAKER: u32 = 1024;

/// Share of active requests that may be retries, in percent (`RetryBudget.budget_percent`: 20).
pub const RETRY_BUDGET_PERCENT: f64 = 20.0;

/// Retries that are always allowed (`RetryBudget.min_retry_concurrency`: 3).
pub const MIN_RETRY_CONCURRENCY: u32 = 3;

/// Time between DNS queries for one cluster (`Cluster.dns_refresh_rate`: 5 s).
pub const DNS_REFRESH: Duration = Duration::from_secs(5);

/// Time from the start of a drain to the closing of what is left (`--drain-time-s`: 600).
pub const DRAIN_TIME: Duration = Duration::from_secs(600);

/// Time that a client gets, once a drain has begun, for a request that is on its way on a connection that it
/// has just made or just been answered on.
pub const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Bytes that are still read and dropped of a peer that was broken off for what it sent: enough for what was on its way.
pub const LINGER_AFTER_BREACH: usize = 256 << 10;

/// What a client still sends when its connection is to end is read and dropped for at most so long, so that it
/// sees our answer and not a reset (RFC 9112 section 9.6; nginx's `lingering_time`). It ends earlier if nothing
/// comes for `delayed_close_timeout`.
pub const LINGER: Duration = Duration::from_secs(30);

/// Streams that a peer may have open on an HTTP/2 connection
/// (`Http2ProtocolOptions.max_concurrent_streams`: 1024; Envoy's edge best practice is 100).
pub const STREAMS: u32 = 1024;

/// Streams that we open before an upstream has said how many it takes (RFC 9113 section 6.5.2 recommends at least 100).
pub const STREAMS_BEFORE_SETTINGS: usize = 100;

/// Window of an HTTP/2 stream in bytes (`Http2ProtocolOptions.initial_stream_window_size`). Envoy's 16 MiB is what a
/// client may make it hold for each stream; Envoy's edge best practice is 64 KiB.
pub const STREAM_WINDOW: u32 = 256 << 10;

/// Window of an HTTP/2 connection in bytes (`initial_connection_window_size`; Envoy: 24 MiB, its edge best practice
/// 1 MiB).
pub const CONNECTION_WINDOW: u32 = 4 << 20;

/// What DATA frames that wait for a slow reader may lack of 256 bytes each, on a connection (four times its window, if
/// that is more). `h2`'s own measure ends a connection, and all streams on it, when one reader is slow and what comes for
/// it comes in small pieces, as events and gRPC messages do.
pub const SMALL_FRAMES: usize = 1 << 20;

/// Bytes of one stream's body that have been promised a place in the peer's window and wait for the socket.
pub const STREAM_SEND_BUFFER: usize = 256 << 10;

/// Reset streams that a session remembers for half a minute, so that late frames on them are no error: about 1 MiB.
pub const RESET_STREAMS_KEPT: usize = 2048;

/// Largest HPACK table that we keep for a peer, in bytes.
pub const HPACK_TABLE: u32 = 64 << 10;

/// Frames in a row without a payload (`max_consecutive_inbound_frames_with_empty_payload`: 1).
pub const EMPTY_FRAMES: u32 = 1;

/// PRIORITY frames for each stream (`max_inbound_priority_frames_per_stream`: 100).
pub const PRIORITY_FRAMES: u32 = 100;

/// WINDOW_UPDATE frames for each DATA frame sent (`max_inbound_window_update_frames_per_data_frame_sent`: 10).
pub const WINDOW_UPDATES: u32 = 10;

/// SETTINGS and PING frames of a peer in [`CONTROL_FRAMES_PERIOD`] (`max_outbound_control_frames`, answers that wait to
/// be sent: 1000; ours never wait, so the frames themselves are counted).
pub const CONTROL_FRAMES: u32 = 1000;

/// See [`CONTROL_FRAMES`].
pub const CONTROL_FRAMES_PERIOD: Duration = Duration::from_secs(10);

/// A connection ends when more than half of so many streams were reset early
/// (`overload.premature_reset_total_stream_count`: 500).
pub const PREMATURE_RESET_STREAMS: u32 = 500;

/// A reset is early when the stream is younger (`overload.premature_reset_min_stream_lifetime_seconds`: 1).
pub const PREMATURE_RESET_AGE: Duration = Duration::from_secs(1);

/// Time for a TLS handshake on a client's connection (`FilterChain.transport_socket_connect_timeout`). Envoy's default
/// is none, which lets a client that says nothing hold a connection for ever.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// Time for a client's first bytes, where the choice of a filter chain needs them
/// (`Listener.listener_filters_timeout`: 15 s).
pub const LISTENER_FILTERS: Duration = Duration::from_secs(15);

/// Largest client hello that is looked at before a filter chain is chosen (`TlsInspector.max_client_hello_size`:
/// 16 KiB).
pub const CLIENT_HELLO: usize = 16 << 10;

/// Sessions kept for resumption, of clients for each filter chain and of servers for each cluster. Envoy keeps
/// 20,480 of clients (BoringSSL's default) and `UpstreamTlsContext.max_session_keys` (1) of servers for each
/// connection pool.
pub const TLS_SESSIONS: usize = 4096;

/// How long a session may be resumed (`DownstreamTlsContext.session_timeout`: 2 h, BoringSSL's default).
pub const TLS_SESSION_LIFE: Duration = Duration::from_secs(7200);

/// Bytes of a session ticket key, as Envoy has them: a name (16), a key for HMAC (32), one for AES (32).
pub const TICKET_KEY: usize = 80;

/// Most certificates above a peer's own (`CertificateValidationContext.max_verify_depth`: 100, Envoy's default).
pub const VERIFY_DEPTH: u32 = 100;
