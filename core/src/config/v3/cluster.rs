//! `envoy.config.cluster.v3.Cluster`.

use super::bootstrap::port;
use super::listener::{Transport, read_transport};
use super::manager::{Common, read_common, read_http1_common};
use super::reader::Reader;
use super::{http2, tls};
use crate::config::tls::NameByRequest;
use crate::config::{
    Balance, Breakers, Cluster, Discovery, DnsFamily, EndpointAddress, HostPort, LbEndpoint, RetryBudget, UpstreamProtocol, UpstreamTls,
};
use crate::http1::parse::HeadLimits;
use crate::http2::Http2Options;
use crate::limit;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub(super) fn read(cluster: &Reader<'_>, secrets: &tls::Secrets) -> Option<Cluster> {
    let name: Arc<str> = cluster.str("name")?.into();
    cluster.ignore(&[
        "metadata",
        "ignore_health_on_host_removal",
        "close_connections_on_host_health_failure",
        "track_cluster_stats",
        "wait_for_warm_on_init",
    ]);
    let mut protocol = cluster.message("http2_protocol_options", |options| UpstreamProtocol::Http2(http2::read(&options, RESPONSE_HEAD)));
    cluster.message("http_protocol_options", |http1| read_http1_common(&http1));
    let mut common = cluster.message("common_http_protocol_options", |options| read_common(&options)).unwrap_or_default();
    let mut names = cluster.message("upstream_http_protocol_options", |names| read_names(&names)).unwrap_or_default();
    if let Some((options, chosen, of_request)) = read_extensions(cluster) {
        common = options;
        protocol = Some(chosen);
        names = of_request;
    }
    let transport = match cluster.has("transport_socket") {
        true => {
            let read = |config: &Reader<'_>| tls::read_upstream(config, secrets, names);
            cluster.message("transport_socket", |socket| read_transport(&socket, read)).flatten()
        }
        false => Some(Transport::Plain),
    };
    let chosen = protocol.unwrap_or_default();
    let max_requests = cluster.u32("max_requests_per_connection").filter(|n| *n > 0).or(common.max_requests);
    let balance = read_balance(cluster);
    let discovery = read_discovery(cluster)?;
    Some(Cluster {
        stat_name: cluster.str("alt_stat_name").map_or_else(|| Arc::clone(&name), Arc::from),
        name,
        discovery,
        balance,
        connect_timeout: cluster.duration("connect_timeout").unwrap_or(limit::CONNECT_TIMEOUT),
        buffer_limit: cluster.u32("per_connection_buffer_limit_bytes").map_or(limit::CONNECTION_BUFFER, |n| n as usize),
        breakers: cluster.message("circuit_breakers", |breakers| read_breakers(&breakers)).unwrap_or_default(),
        idle_timeout: common.idle_timeout.unwrap_or(Some(limit::IDLE_TIMEOUT)),
        max_connection_duration: common.max_connection_duration,
        max_requests_per_connection: max_requests,
        protocol: chosen.clone(),
        limits: HeadLimits { bytes: limit::RESPONSE_HEAD_KB as usize * 1024, fields: common.max_headers.unwrap_or(limit::HEADERS) },
        tls: match transport? {
            Transport::Plain => None,
            Transport::Tls(tls) => Some(Arc::new(with_alpn(tls?, &chosen))),
        },
    })
}

/// `typed_extension_protocol_options`: common options, and which version of HTTP is spoken.
fn read_extensions(cluster: &Reader<'_>) -> Option<(Common, UpstreamProtocol, NameByRequest)> {
    let mut common = None;
    let mut protocol = UpstreamProtocol::Http1;
    let mut found = NameByRequest::default();
    cluster.each_entry("typed_extension_protocol_options", |_, options| {
        if options.type_name() != "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" {
            return options.error_here(format!("Weir does not implement {} yet", options.type_name()));
        }
        options.message("upstream_http_protocol_options", |names| found = read_names(&names));
        common = options.message("common_http_protocol_options", |options| read_common(&options)).or(Some(Common::default()));
        for (choice, make) in [
            ("explicit_http_config", UpstreamProtocol::Http2 as fn(Http2Options) -> UpstreamProtocol),
            ("auto_config", UpstreamProtocol::Alpn),
            ("use_downstream_protocol_config", UpstreamProtocol::AsDownstream),
        ] {
            options.message(choice, |chosen| {
                chosen.message("http_protocol_options", |http1| read_http1_common(&http1));
                if chosen.has("http3_protocol_options") {
                    chosen.ignore(&["http3_protocol_options", "alternate_protocols_cache_options"]);
                    chosen.unsupported("http3_protocol_options", "Weir does not speak HTTP/3 to upstreams yet");
                }
                let http2 = chosen.message("http2_protocol_options", |http2| http2::read(&http2, RESPONSE_HEAD));
                // With `auto_config` both versions are spoken, whatever is said of them.
                match http2.or_else(|| (choice != "explicit_http_config").then(upstream_http2)) {
                    Some(http2) if choice != "use_downstream_protocol_config" || chosen.has("http2_protocol_options") => {
                        protocol = make(http2)
                    }
                    _ => protocol = UpstreamProtocol::Http1,
                }
            });
        }
    });
    common.map(|common| (common, protocol, found))
}

/// `UpstreamHttpProtocolOptions`. Without TLS it says nothing, as in Envoy.
fn read_names(names: &Reader<'_>) -> NameByRequest {
    let header = names.str("override_auto_sni_header").filter(|header| !header.is_empty()).map(str::to_ascii_lowercase);
    NameByRequest { sni: names.flag("auto_sni"), san: names.flag("auto_san_validation"), header: header.map(Arc::from) }
}

/// Where the config names no protocols for ALPN, they are those that are spoken.
fn with_alpn(mut tls: UpstreamTls, protocol: &UpstreamProtocol) -> UpstreamTls {
    if tls.common.alpn.is_empty() {
        let names: &[&str] = match protocol {
            UpstreamProtocol::Http2(_) => &["h2"],
            UpstreamProtocol::Alpn(_) => &["h2", "http/1.1"],
            UpstreamProtocol::Http1 | UpstreamProtocol::AsDownstream(_) => &[],
        };
        tls.common.alpn = names.iter().map(|name| Arc::from(*name)).collect();
    }
    tls
}

fn upstream_http2() -> Http2Options {
    Http2Options { max_header_bytes: RESPONSE_HEAD, ..Http2Options::default() }
}

/// Bytes of the largest response head.
const RESPONSE_HEAD: u32 = limit::RESPONSE_HEAD_KB * 1024;

fn read_balance(cluster: &Reader<'_>) -> Balance {
    const LEAST: Balance = Balance::LeastRequest { choices: 2 };
    let choices = |config: &Reader<'_>| Balance::LeastRequest { choices: config.u32("choice_count").unwrap_or(2) };
    let mut balance = match cluster.enumeration("lb_policy") {
        0 => Balance::RoundRobin,
        1 => cluster.message("least_request_lb_config", |config| choices(&config)).unwrap_or(LEAST),
        3 => Balance::Random,
        6 | 7 if cluster.has("load_balancing_policy") => Balance::RoundRobin,
        _ => {
            cluster.unsupported("lb_policy", "Weir implements ROUND_ROBIN, LEAST_REQUEST and RANDOM so far");
            Balance::RoundRobin
        }
    };
    cluster.message("load_balancing_policy", |policy| {
        let mut found = None;
        policy.each("policies", |policy| {
            policy.message("typed_extension_config", |extension| {
                extension.ignore(&["name"]);
                extension.message("typed_config", |config| {
                    let this = match config.type_name() {
                        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" => Some(Balance::RoundRobin),
                        "envoy.extensions.load_balancing_policies.random.v3.Random" => Some(Balance::Random),
                        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" => Some(choices(&config)),
                        _ => None,
                    };
                    // Envoy takes the first policy that it knows.
                    found = found.or(this);
                });
            });
        });
        match found {
            Some(found) => balance = found,
            None => policy.error("policies", "Weir implements none of these policies; it has round_robin, least_request and random so far"),
        }
    });
    balance
}

fn read_breakers(breakers: &Reader<'_>) -> [Breakers; 2] {
    let mut both = [Breakers::default(); 2];
    breakers.each("thresholds", |thresholds| {
        let slot = usize::from(thresholds.enumeration("priority") == 1);
        thresholds.no_effect(&["track_remaining"], "the `remaining` gauges are not kept");
        let bound = |name: &str| thresholds.u32(name).unwrap_or(limit::BREAKER);
        let budget = thresholds.message("retry_budget", |budget| RetryBudget::Share {
            percent: budget.message("budget_percent", |percent| percent.f64("value").unwrap_or(0.0)).unwrap_or(limit::RETRY_BUDGET_PERCENT),
            min_concurrency: budget.u32("min_retry_concurrency").unwrap_or(limit::MIN_RETRY_CONCURRENCY),
        });
        both[slot] = Breakers {
            max_connections: bound("max_connections"),
            max_pending: bound("max_pending_requests"),
            max_requests: bound("max_requests"),
            retries: budget.or_else(|| thresholds.u32("max_retries").map(RetryBudget::Count)).unwrap_or(Breakers::default().retries),
        };
    });
    both
}

/// What DNS clusters are told.
struct Dns {
    refresh: crate::time::Duration,
    respect_ttl: bool,
    family: DnsFamily,
}

fn family(number: i32) -> DnsFamily {
    match number {
        1 => DnsFamily::V4Only,
        2 => DnsFamily::V6Only,
        3 => DnsFamily::V4Preferred,
        4 => DnsFamily::All,
        _ => DnsFamily::Auto,
    }
}

fn read_discovery(cluster: &Reader<'_>) -> Option<Discovery> {
    let mut dns = Dns {
        refresh: cluster.duration("dns_refresh_rate").unwrap_or(limit::DNS_REFRESH),
        respect_ttl: cluster.flag("respect_dns_ttl"),
        family: family(cluster.enumeration("dns_lookup_family")),
    };
    cluster
        .no_effect(&["dns_failure_refresh_rate", "dns_jitter"], "DNS is asked again at `dns_refresh_rate`, whatever the last answer was");
    let mut kind = cluster.enumeration("type");
    if cluster.has("cluster_type") {
        kind = cluster.message("cluster_type", |custom| read_custom(&custom, &mut dns)).flatten()?;
    }
    match kind {
        0 => Some(Discovery::Static(read_endpoints(cluster, false))),
        1 => Some(Discovery::StrictDns {
            endpoints: read_endpoints(cluster, true),
            refresh: dns.refresh,
            respect_ttl: dns.respect_ttl,
            family: dns.family,
        }),
        2 => {
            let mut endpoints = read_endpoints(cluster, true);
            if endpoints.len() != 1 {
                cluster.error("load_assignment", format!("a LOGICAL_DNS cluster has exactly one endpoint, not {}", endpoints.len()));
            }
            let endpoint = endpoints.pop()?;
            Some(Discovery::LogicalDns { endpoint, refresh: dns.refresh, respect_ttl: dns.respect_ttl, family: dns.family })
        }
        _ => {
            cluster.unsupported("type", "Weir implements STATIC, STRICT_DNS and LOGICAL_DNS so far");
            None
        }
    }
}

/// `envoy.clusters.dns`: answers the `type` that it stands for.
fn read_custom(custom: &Reader<'_>, dns: &mut Dns) -> Option<i32> {
    custom.ignore(&["name"]);
    custom
        .message("typed_config", |config| {
            if config.type_name() != "envoy.extensions.clusters.dns.v3.DnsCluster" {
                config.error_here(format!("Weir does not implement the cluster type {} yet", config.type_name()));
                return None;
            }
            dns.refresh = config.duration("dns_refresh_rate").unwrap_or(dns.refresh);
            dns.respect_ttl = config.flag("respect_dns_ttl");
            dns.family = family(config.enumeration("dns_lookup_family"));
            Some(if config.flag("all_addresses_in_single_endpoint") { 2 } else { 1 })
        })
        .flatten()
}

fn read_endpoints(cluster: &Reader<'_>, dns: bool) -> Vec<LbEndpoint> {
    let mut endpoints = Vec::new();
    cluster.message("load_assignment", |assignment| {
        assignment.ignore(&["cluster_name"]);
        assignment.each("endpoints", |locality| {
            locality.ignore(&["locality", "load_balancing_weight", "metadata"]);
            locality.each("lb_endpoints", |endpoint| endpoints.extend(read_endpoint(&endpoint, dns)));
        });
    });
    endpoints
}

fn read_endpoint(lb: &Reader<'_>, dns: bool) -> Option<LbEndpoint> {
    lb.ignore(&["metadata"]);
    // UNKNOWN, HEALTHY and DEGRADED may take load.
    let healthy = matches!(lb.enumeration("health_status"), 0 | 1 | 5);
    let weight = lb.u32("load_balancing_weight").unwrap_or(1).max(1);
    lb.message("endpoint", |endpoint| {
        endpoint.ignore(&["health_check_config"]);
        let hostname = endpoint.str("hostname");
        let address = endpoint
            .message("address", |address| address.message("socket_address", |socket| read_address(&socket, dns)).flatten())
            .flatten();
        let address = address?;
        let hostname = match (&address, hostname) {
            (_, Some(hostname)) => hostname.into(),
            (EndpointAddress::Name(name), None) => Arc::clone(&name.host),
            (EndpointAddress::Socket(_), None) => Arc::from(""),
        };
        Some(LbEndpoint { address, weight, healthy, hostname })
    })
    .flatten()
}

fn read_address(socket: &Reader<'_>, dns: bool) -> Option<EndpointAddress> {
    if socket.enumeration("protocol") == 1 {
        socket.unsupported("protocol", "Weir does not connect over UDP");
    }
    let text = socket.str("address")?;
    let port = port(socket)?;
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(EndpointAddress::Socket(SocketAddr::new(ip, port))),
        Err(_) if dns => Some(EndpointAddress::Name(HostPort { host: text.into(), port })),
        Err(_) => {
            let help = "a STATIC cluster needs IP addresses; for names set `type: STRICT_DNS`";
            socket.error_with_help("address", format!("`{text}` is not an IP address"), help);
            None
        }
    }
}
