//! What is counted, under Envoy's names.
//! (`configuration/upstream/cluster_manager/cluster_stats`, `configuration/http/http_conn_man/stats`,
//! `configuration/listeners/stats`.)

use super::Stat;

/// Whether a stat only grows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Counter,
    Gauge,
}

/// What a set of stats belongs to.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `cluster.<name>.`
    Cluster,
    /// `http.<stat_prefix>.`
    Http,
    /// `tcp.<stat_prefix>.`
    Tcp,
    /// `listener.<address>.`
    Listener,
    /// `sds.<where from>.`
    Secrets,
}

impl Scope {
    /// Whether every engine has the same value of the stat at this place, so that adding up would count it twice.
    pub(super) fn is_same_everywhere(self, index: usize) -> bool {
        self == Scope::Cluster && (ClusterStat::MembershipTotal as usize..=ClusterStat::MembershipChange as usize).contains(&index)
    }
}

/// Durations with a histogram.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Timing {
    /// A cluster's `upstream_rq_time`, a connection manager's `downstream_rq_time`.
    RqTime,
    /// `upstream_cx_connect_ms`; a connection's length elsewhere.
    Connection,
    /// `upstream_cx_length_ms`.
    Length,
}

macro_rules! stats {
    ($(#[$doc:meta])* $name:ident, $list:ident { $($variant:ident = $kind:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name { $($variant),* }

        const $list: &[(&str, Kind)] = &[$(($text, Kind::$kind)),*];

        impl Stat for $name {
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

stats! {
    /// Stats of a cluster.
    ClusterStat, CLUSTER {
        CxTotal = Counter "upstream_cx_total",
        CxActive = Gauge "upstream_cx_active",
        CxHttp1Total = Counter "upstream_cx_http1_total",
        CxHttp2Total = Counter "upstream_cx_http2_total",
        Http2KeepaliveTimeout = Counter "http2.keepalive_timeout",
        CxConnectFail = Counter "upstream_cx_connect_fail",
        CxConnectTimeout = Counter "upstream_cx_connect_timeout",
        CxIdleTimeout = Counter "upstream_cx_idle_timeout",
        CxMaxDuration = Counter "upstream_cx_max_duration_reached",
        CxMaxRequests = Counter "upstream_cx_max_requests",
        CxOverflow = Counter "upstream_cx_overflow",
        CxProtocolError = Counter "upstream_cx_protocol_error",
        CxDestroy = Counter "upstream_cx_destroy",
        CxDestroyLocal = Counter "upstream_cx_destroy_local",
        CxDestroyRemote = Counter "upstream_cx_destroy_remote",
        CxDestroyWithActive = Counter "upstream_cx_destroy_with_active_rq",
        CxDestroyLocalWithActive = Counter "upstream_cx_destroy_local_with_active_rq",
        CxDestroyRemoteWithActive = Counter "upstream_cx_destroy_remote_with_active_rq",
        CxRxBytes = Counter "upstream_cx_rx_bytes_total",
        CxTxBytes = Counter "upstream_cx_tx_bytes_total",
        CxNoneHealthy = Counter "upstream_cx_none_healthy",
        RqTotal = Counter "upstream_rq_total",
        RqActive = Gauge "upstream_rq_active",
        RqPendingTotal = Counter "upstream_rq_pending_total",
        RqPendingActive = Gauge "upstream_rq_pending_active",
        RqPendingOverflow = Counter "upstream_rq_pending_overflow",
        RqPendingFailureEject = Counter "upstream_rq_pending_failure_eject",
        RqCancelled = Counter "upstream_rq_cancelled",
        RqMaintenance = Counter "upstream_rq_maintenance_mode",
        RqTimeout = Counter "upstream_rq_timeout",
        RqPerTryTimeout = Counter "upstream_rq_per_try_timeout",
        RqPerTryIdleTimeout = Counter "upstream_rq_per_try_idle_timeout",
        RqMaxDuration = Counter "upstream_rq_max_duration_reached",
        RqRxReset = Counter "upstream_rq_rx_reset",
        RqTxReset = Counter "upstream_rq_tx_reset",
        RqRetry = Counter "upstream_rq_retry",
        RqRetryBackoff = Counter "upstream_rq_retry_backoff_exponential",
        RqRetrySuccess = Counter "upstream_rq_retry_success",
        RqRetryOverflow = Counter "upstream_rq_retry_overflow",
        RqRetryLimit = Counter "upstream_rq_retry_limit_exceeded",
        RqReplay = Counter "upstream_rq_replay_closed_connection",
        RqCompleted = Counter "upstream_rq_completed",
        FlowPausedReading = Counter "upstream_flow_control_paused_reading_total",
        FlowResumedReading = Counter "upstream_flow_control_resumed_reading_total",
        MembershipTotal = Gauge "membership_total",
        MembershipHealthy = Gauge "membership_healthy",
        MembershipDegraded = Gauge "membership_degraded",
        MembershipExcluded = Gauge "membership_excluded",
        MembershipChange = Counter "membership_change",
        UpdateAttempt = Counter "update_attempt",
        UpdateSuccess = Counter "update_success",
        UpdateFailure = Counter "update_failure",
        UpdateEmpty = Counter "update_empty",
        UpdateNoRebuild = Counter "update_no_rebuild",
        BindErrors = Counter "bind_errors",
        LbHealthyPanic = Counter "lb_healthy_panic",
        SslConnectionError = Counter "ssl.connection_error",
        SslHandshake = Counter "ssl.handshake",
        SslSessionReused = Counter "ssl.session_reused",
        SslNoCertificate = Counter "ssl.no_certificate",
        SslFailNoCert = Counter "ssl.fail_verify_no_cert",
        SslFailError = Counter "ssl.fail_verify_error",
        SslFailSan = Counter "ssl.fail_verify_san",
        SslFailHash = Counter "ssl.fail_verify_cert_hash",
    }
}

stats! {
    /// Stats of an HTTP connection manager.
    HttpStat, HTTP {
        CxTotal = Counter "downstream_cx_total",
        CxActive = Gauge "downstream_cx_active",
        CxHttp1Total = Counter "downstream_cx_http1_total",
        CxHttp1Active = Gauge "downstream_cx_http1_active",
        CxHttp2Total = Counter "downstream_cx_http2_total",
        CxHttp2Active = Gauge "downstream_cx_http2_active",
        CxUpgradesTotal = Counter "downstream_cx_upgrades_total",
        CxUpgradesActive = Gauge "downstream_cx_upgrades_active",
        CxDestroy = Counter "downstream_cx_destroy",
        CxDestroyLocal = Counter "downstream_cx_destroy_local",
        CxDestroyRemote = Counter "downstream_cx_destroy_remote",
        CxDestroyActive = Counter "downstream_cx_destroy_active_rq",
        CxDestroyLocalActive = Counter "downstream_cx_destroy_local_active_rq",
        CxDestroyRemoteActive = Counter "downstream_cx_destroy_remote_active_rq",
        CxDrainClose = Counter "downstream_cx_drain_close",
        CxIdleTimeout = Counter "downstream_cx_idle_timeout",
        CxMaxDuration = Counter "downstream_cx_max_duration_reached",
        CxMaxRequests = Counter "downstream_cx_max_requests_reached",
        CxProtocolError = Counter "downstream_cx_protocol_error",
        CxDelayedCloseTimeout = Counter "downstream_cx_delayed_close_timeout",
        CxRxBytes = Counter "downstream_cx_rx_bytes_total",
        CxTxBytes = Counter "downstream_cx_tx_bytes_total",
        RqTotal = Counter "downstream_rq_total",
        RqActive = Gauge "downstream_rq_active",
        RqHttp1Total = Counter "downstream_rq_http1_total",
        RqHttp2Total = Counter "downstream_rq_http2_total",
        RqTooManyPrematureResets = Counter "downstream_rq_too_many_premature_resets",
        RqRxReset = Counter "downstream_rq_rx_reset",
        RqTxReset = Counter "downstream_rq_tx_reset",
        RqNonRelativePath = Counter "downstream_rq_non_relative_path",
        RqRejectedViaIp = Counter "downstream_rq_rejected_via_ip_detection",
        RqTooLarge = Counter "downstream_rq_too_large",
        RqWsOnNonWsRoute = Counter "downstream_rq_ws_on_non_ws_route",
        RqHeaderTimeout = Counter "downstream_rq_header_timeout",
        RqTimeout = Counter "downstream_rq_timeout",
        RqIdleTimeout = Counter "downstream_rq_idle_timeout",
        RqMaxDuration = Counter "downstream_rq_max_duration_reached",
        RqOverloadClose = Counter "downstream_rq_overload_close",
        RqRedirected = Counter "downstream_rq_redirected_with_normalized_path",
        RqUnderscores = Counter "downstream_rq_rejected_underscores",
        RqCompleted = Counter "downstream_rq_completed",
        NoRoute = Counter "no_route",
        NoCluster = Counter "no_cluster",
        RqDirectResponse = Counter "rq_direct_response",
        RqRedirect = Counter "rq_redirect",
        RouterRqTotal = Counter "rq_total",
        RqReset = Counter "rq_reset_after_downstream_response_started",
        FlowPausedReading = Counter "downstream_flow_control_paused_reading_total",
        FlowResumedReading = Counter "downstream_flow_control_resumed_reading_total",
        Http2EmptyFramesFlood = Counter "http2.inbound_empty_frames_flood",
        Http2PriorityFlood = Counter "http2.inbound_priority_frames_flood",
        Http2WindowUpdateFlood = Counter "http2.inbound_window_update_frames_flood",
        Http2ControlFlood = Counter "http2.outbound_control_flood",
        Http2FrameError = Counter "http2.rx_messaging_error",
        Http2KeepaliveTimeout = Counter "http2.keepalive_timeout",
    }
}

stats! {
    /// Stats of a listener.
    ListenerStat, LISTENER {
        CxTotal = Counter "downstream_cx_total",
        CxActive = Gauge "downstream_cx_active",
        CxDestroy = Counter "downstream_cx_destroy",
        CxOverflow = Counter "downstream_cx_overflow",
        GlobalCxOverflow = Counter "downstream_global_cx_overflow",
        NoFilterChain = Counter "no_filter_chain_match",
        PreCxTimeout = Counter "downstream_pre_cx_timeout",
        SocketConnectTimeout = Counter "downstream_cx_transport_socket_connect_timeout",
        SslConnectionError = Counter "ssl.connection_error",
        SslHandshake = Counter "ssl.handshake",
        SslSessionReused = Counter "ssl.session_reused",
        SslNoCertificate = Counter "ssl.no_certificate",
        SslFailNoCert = Counter "ssl.fail_verify_no_cert",
        SslFailError = Counter "ssl.fail_verify_error",
        SslFailSan = Counter "ssl.fail_verify_san",
        SslFailHash = Counter "ssl.fail_verify_cert_hash",
    }
}

stats! {
    /// Stats of certificates and keys that change.
    SecretStat, SECRETS {
        UpdateSuccess = Counter "update_success",
        UpdateRejected = Counter "update_rejected",
    }
}

impl Scope {
    /// Names and kinds of its stats, by index.
    pub fn stats(self) -> &'static [(&'static str, Kind)] {
        match self {
            Scope::Cluster => CLUSTER,
            Scope::Http | Scope::Tcp => HTTP,
            Scope::Listener => LISTENER,
            Scope::Secrets => SECRETS,
        }
    }

    /// Names of its histograms, in the order of [`Timing`].
    pub fn timings(self) -> &'static [&'static str] {
        match self {
            Scope::Cluster => &["upstream_rq_time", "upstream_cx_connect_ms", "upstream_cx_length_ms"],
            Scope::Http | Scope::Tcp => &["downstream_rq_time", "downstream_cx_length_ms"],
            Scope::Listener => &["", "downstream_cx_length_ms"],
            Scope::Secrets => &[],
        }
    }

    /// What the names of counters by status begin with: `upstream_rq_` makes `upstream_rq_200`.
    pub fn codes(self) -> &'static str {
        match self {
            Scope::Cluster => "upstream_rq_",
            Scope::Http | Scope::Tcp | Scope::Listener | Scope::Secrets => "downstream_rq_",
        }
    }

    /// What every name begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            Scope::Cluster => "cluster",
            Scope::Http => "http",
            Scope::Tcp => "tcp",
            Scope::Listener => "listener",
            Scope::Secrets => "sds",
        }
    }
}
