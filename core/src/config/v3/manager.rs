//! `HttpConnectionManager`.

use super::bootstrap::Draft;
use super::reader::Reader;
use super::{access_log, headers, http2, route};
use crate::config::{ClientCert, Codec, ForwardClientCert, HttpManager, ServerHeader, UnderscoreAction, Upgrade};
use crate::filter::FilterFactory;
use crate::http::Scheme;
use crate::http::path::{EscapedSlashes, PathRules};
use crate::http1::parse::HeadLimits;
use crate::http2::Http2Options;
use crate::limit;
use crate::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const HEADER_MUTATION: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const PRESERVE_CASE: &str = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";

pub(super) fn read(manager: &Reader<'_>, draft: &mut Draft) -> Option<HttpManager> {
    let codec = match manager.enumeration("codec_type") {
        0 => Codec::Auto,
        1 => Codec::Http1,
        2 => Codec::Http2,
        _ => {
            manager.unsupported("codec_type", "Weir serves HTTP/1 and HTTP/2 so far");
            Codec::Auto
        }
    };
    manager.no_effect(&["http3_protocol_options"], "Weir does not serve HTTP/3 yet");
    manager.ignore(&["drain_timeout", "add_proxy_protocol_connection_state", "proxy_100_continue", "early_header_mutation_extensions"]);
    let (filters, suppress_envoy_headers) = read_filters(manager);
    let mut access_logs = Vec::new();
    manager.each("access_log", |log| access_logs.extend(access_log::read(&log, draft)));
    manager.message("access_log_options", |options| {
        options.no_effect(&["access_log_flush_interval", "flush_access_log_on_new_request"], "Weir logs an exchange when it ends");
    });
    if !manager.has("route_config") && !manager.has("rds") && !manager.has("scoped_routes") {
        manager.error_here("a connection manager needs a `route_config`");
    }
    let routes = manager.message("route_config", |table| route::read_table(&table, &draft.cluster_names));
    let common = manager.message("common_http_protocol_options", |options| read_common(&options)).unwrap_or_default();
    let http1 = manager.message("http_protocol_options", |options| read_http1(&options)).unwrap_or_default();
    let head_bytes = manager.u32("max_request_headers_kb").unwrap_or(limit::HEAD_KB) * 1024;
    let http2 = manager.message("http2_protocol_options", |options| http2::read(&options, head_bytes));
    let http2 = http2.unwrap_or_else(|| Http2Options { max_header_bytes: head_bytes, ..Http2Options::default() });
    let timeout = |name: &str, default: Option<Duration>| match manager.duration(name) {
        None => default,
        Some(Duration::ZERO) => None,
        set => set,
    };
    Some(HttpManager {
        stat_prefix: manager.str("stat_prefix")?.into(),
        routes: Arc::new(routes??),
        filters,
        suppress_envoy_headers,
        access_logs,
        limits: HeadLimits { bytes: head_bytes as usize, fields: common.max_headers.unwrap_or(limit::HEADERS) },
        path_rules: PathRules {
            normalize: manager.flag("normalize_path"),
            merge_slashes: manager.flag("merge_slashes"),
            escaped_slashes: match manager.enumeration("path_with_escaped_slashes_action") {
                2 => EscapedSlashes::Reject,
                3 => EscapedSlashes::UnescapeAndRedirect,
                4 => EscapedSlashes::UnescapeAndForward,
                _ => EscapedSlashes::Keep,
            },
        },
        server_name: manager.str("server_name").unwrap_or("weir").into(),
        server_header: match manager.enumeration("server_header_transformation") {
            1 => ServerHeader::AppendIfAbsent,
            2 => ServerHeader::PassThrough,
            _ => ServerHeader::Overwrite,
        },
        use_remote_address: manager.flag("use_remote_address"),
        internal_ranges: manager.message("internal_address_config", |config| read_internal(&config)).unwrap_or_default(),
        trusted_hops: manager.u32("xff_num_trusted_hops").unwrap_or(0),
        skip_xff_append: manager.flag("skip_xff_append"),
        via: manager.str("via").map(Arc::from),
        generate_request_id: manager.bool("generate_request_id").unwrap_or(true),
        preserve_external_request_id: manager.flag("preserve_external_request_id"),
        request_id_in_response: manager.flag("always_set_request_id_in_response"),
        idle_timeout: common.idle_timeout.unwrap_or(Some(limit::IDLE_TIMEOUT)),
        request_headers_timeout: timeout("request_headers_timeout", Some(limit::REQUEST_HEADERS_TIMEOUT)),
        request_timeout: timeout("request_timeout", None),
        stream_idle_timeout: timeout("stream_idle_timeout", Some(limit::STREAM_IDLE_TIMEOUT)),
        max_connection_duration: common.max_connection_duration,
        max_stream_duration: common.max_stream_duration,
        delayed_close: manager.duration("delayed_close_timeout").unwrap_or(limit::DELAYED_CLOSE),
        max_requests_per_connection: common.max_requests,
        underscores: common.underscores,
        strip_matching_port: manager.flag("strip_matching_host_port"),
        strip_any_port: manager.flag("strip_any_host_port"),
        strip_trailing_dot: manager.flag("strip_trailing_host_dot"),
        scheme: manager.message("scheme_header_transformation", |scheme| read_scheme(&scheme)).flatten(),
        accept_http_10: http1.accept_http_10,
        default_host: http1.default_host,
        allow_chunked_length: http1.allow_chunked_length,
        tcp: false,
        codec,
        http2,
        upgrades: read_upgrades(manager),
        client_cert: read_client_cert(manager),
    })
}

fn read_client_cert(manager: &Reader<'_>) -> ClientCert {
    let forward = match manager.enumeration("forward_client_cert_details") {
        1 => ForwardClientCert::ForwardOnly,
        2 => ForwardClientCert::AppendForward,
        3 => ForwardClientCert::SanitizeSet,
        4 => ForwardClientCert::AlwaysForwardOnly,
        _ => ForwardClientCert::Sanitize,
    };
    let details = manager.message("set_current_client_cert_details", |details| ClientCert {
        forward,
        subject: details.flag("subject"),
        cert: details.flag("cert"),
        chain: details.flag("chain"),
        dns: details.flag("dns"),
        uri: details.flag("uri"),
    });
    details.unwrap_or(ClientCert { forward, ..ClientCert::default() })
}

/// `common_http_protocol_options`, of connection managers and clusters.
#[derive(Default)]
pub(super) struct Common {
    /// `Some(None)` turns it off.
    pub(super) idle_timeout: Option<Option<Duration>>,
    pub(super) max_connection_duration: Option<Duration>,
    pub(super) max_stream_duration: Option<Duration>,
    pub(super) max_headers: Option<usize>,
    pub(super) max_requests: Option<u32>,
    pub(super) underscores: UnderscoreAction,
}

pub(super) fn read_common(options: &Reader<'_>) -> Common {
    let positive = |name: &str| options.duration(name).filter(|duration| !duration.is_zero());
    Common {
        idle_timeout: options.duration("idle_timeout").map(|idle| Some(idle).filter(|idle| !idle.is_zero())),
        max_connection_duration: positive("max_connection_duration"),
        max_stream_duration: positive("max_stream_duration"),
        max_headers: options.u32("max_headers_count").map(|n| n as usize),
        max_requests: options.u32("max_requests_per_connection").filter(|n| *n > 0),
        underscores: match options.enumeration("headers_with_underscores_action") {
            1 => UnderscoreAction::Reject,
            2 => UnderscoreAction::Drop,
            _ => UnderscoreAction::Allow,
        },
    }
}

#[derive(Default)]
struct Http1 {
    accept_http_10: bool,
    default_host: Option<Arc<str>>,
    allow_chunked_length: bool,
}

/// `Http1ProtocolOptions` of a connection manager.
fn read_http1(options: &Reader<'_>) -> Http1 {
    read_http1_common(options);
    if options.bool("allow_absolute_url") == Some(false) {
        options.unsupported("allow_absolute_url", "Weir always takes absolute request targets, as RFC 9112 section 3.2.2 demands");
    }
    Http1 {
        accept_http_10: options.flag("accept_http_10"),
        default_host: options.str("default_host_for_http_10").map(Arc::from),
        allow_chunked_length: options.flag("allow_chunked_length"),
    }
}

/// What means the same on both sides. Trailers and the case of names are always kept.
pub(super) fn read_http1_common(options: &Reader<'_>) {
    options.ignore(&["enable_trailers"]);
    options.message("header_key_format", |format| {
        format.message("stateful_formatter", |formatter| {
            formatter.ignore(&["name"]);
            formatter.message("typed_config", |config| match config.type_name() {
                PRESERVE_CASE => config.ignore(&["forward_reason_phrase", "formatter_type_on_envoy_headers"]),
                other => config.error_here(format!("Weir does not implement the header formatter {other}")),
            });
        });
    });
}

fn read_scheme(scheme: &Reader<'_>) -> Option<Scheme> {
    match scheme.str("scheme_to_overwrite")? {
        "https" => Some(Scheme::Https),
        _ => Some(Scheme::Http),
    }
}

fn read_internal(config: &Reader<'_>) -> Vec<(IpAddr, u8)> {
    if config.flag("unix_sockets") {
        config.unsupported("unix_sockets", "Weir does not listen on unix sockets yet");
    }
    let mut ranges = Vec::new();
    config.each("cidr_ranges", |range| {
        let bits = range.u32("prefix_len").unwrap_or(0).min(128) as u8;
        let text = range.str("address_prefix").unwrap_or_default();
        match text.parse() {
            Ok(ip) => ranges.push((ip, bits)),
            Err(_) => range.error("address_prefix", format!("`{text}` is not an IP address")),
        }
    });
    ranges
}

fn read_upgrades(manager: &Reader<'_>) -> Vec<Upgrade> {
    let mut upgrades = Vec::new();
    manager.each("upgrade_configs", |upgrade| {
        let Some(protocol) = upgrade.str("upgrade_type") else { return };
        if protocol.eq_ignore_ascii_case("CONNECT-UDP") {
            upgrade.unsupported("upgrade_type", format!("Weir does not implement {protocol} yet"));
        }
        upgrades.push(Upgrade { protocol: protocol.into(), enabled: upgrade.bool("enabled").unwrap_or(true) });
    });
    upgrades
}

/// The filters before the router, and `Router.suppress_envoy_headers`.
fn read_filters(manager: &Reader<'_>) -> (Vec<Arc<dyn FilterFactory>>, bool) {
    let mut unknown = false;
    let (mut filters, mut suppress, mut ended): (Vec<Arc<dyn FilterFactory>>, bool, bool) = (Vec::new(), false, false);
    manager.each("http_filters", |filter| {
        if ended {
            filter.error_here("the router must be the last HTTP filter");
        }
        let name = filter.str("name").unwrap_or_default().to_owned();
        if filter.flag("disabled") || filter.flag("is_optional") {
            filter.unsupported(if filter.has("disabled") { "disabled" } else { "is_optional" }, "Weir does not implement this yet");
        }
        if !filter.has("typed_config") && !filter.has("config_discovery") {
            let help = "add a `typed_config` with the filter's `@type`";
            unknown = true;
            return if filter.message.broken {
                filter.ignore(&["name"])
            } else {
                filter.error_with_help("name", "a filter is chosen by the type of its config, not by its name", help)
            };
        }
        if let Some(foreign) = filter.foreign("typed_config") {
            return match foreign.kind.configure(&name, &foreign.json) {
                Ok(factory) => filters.push(factory),
                Err(why) => filter.error("typed_config", why),
            };
        }
        filter.message("typed_config", |config| match config.type_name() {
            ROUTER => {
                ended = true;
                suppress = config.flag("suppress_envoy_headers");
                config.no_effect(&["dynamic_stats", "start_child_span"], "Weir has no such switch");
            }
            HEADER_MUTATION => filters.push(Arc::new(headers::read_mutation(&config, &name))),
            other => config.error_here(format!("Weir does not implement the HTTP filter {other} yet")),
        });
    });
    if !ended && !unknown {
        let help = "end `http_filters` with envoy.filters.http.router";
        manager.error_with_help("http_filters", "there is no router at the end of the HTTP filters", help);
    }
    (filters, suppress)
}
