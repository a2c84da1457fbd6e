//! `RouteConfiguration` and what is in it.

use super::headers::read_edits;
use super::matcher::{read_header, read_query, read_regex};
use super::reader::Reader;
use crate::config::{
    Action, ClusterChoice, Domains, Forward, HostRewrite, PathIndex, PathMatch, PathRewrite, Redirect, Reply, RetryOn, RetryPolicy, Route,
    RouteMatch, RouteTable, Upgrade, VirtualHost,
};
use crate::format::Template;
use crate::limit;
use crate::time::Duration;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

type Clusters = BTreeSet<Arc<str>>;

/// Largest body of a direct response, if `max_direct_response_body_size_bytes` does not say (4 KiB).
const REPLY_BODY: usize = 4096;

struct Context<'c> {
    clusters: &'c Clusters,
    /// Whether a route may name only clusters that exist.
    validate_clusters: bool,
    reply_body: usize,
    retry: Option<Arc<RetryPolicy>>,
}

pub(super) fn read_table(table: &Reader<'_>, clusters: &Clusters) -> Option<RouteTable> {
    let mut context = Context {
        clusters,
        validate_clusters: table.bool("validate_clusters").unwrap_or(true),
        reply_body: table.u32("max_direct_response_body_size_bytes").map_or(REPLY_BODY, |n| n as usize),
        retry: None,
    };
    table.ignore(&["metadata", "internal_only_headers"]);
    let (mut hosts, mut domains) = (Vec::new(), Domains::default());
    table.each("virtual_hosts", |host| {
        for domain in host.strings("domains") {
            if !domains.insert(domain, hosts.len()) {
                host.error("domains", format!("`{domain}` belongs to another virtual host (or stands here twice)"));
            }
        }
        hosts.push(read_host(&host, &mut context));
    });
    Some(RouteTable {
        name: table.str("name").unwrap_or_default().into(),
        hosts,
        edits: read_edits(table),
        most_specific_wins: table.flag("most_specific_header_mutations_wins"),
        ignore_port: table.flag("ignore_port_in_host_matching"),
        domains,
    })
}

fn read_host(host: &Reader<'_>, context: &mut Context<'_>) -> VirtualHost {
    match host.enumeration("require_tls") {
        0 => {}
        _ => host.unsupported("require_tls", "Weir does not implement `require_tls` yet"),
    }
    host.ignore(&["metadata"]);
    context.retry = host.message("retry_policy", |policy| Arc::new(read_retry(&policy)));
    let mut routes = Vec::new();
    host.each("routes", |route| routes.extend(read_route(&route, context)));
    VirtualHost {
        name: host.str("name").unwrap_or_default().into(),
        index: PathIndex::new(&routes),
        routes,
        edits: read_edits(host),
        attempt_count_in_request: host.flag("include_request_attempt_count"),
        attempt_count_in_response: host.flag("include_attempt_count_in_response"),
    }
}

fn read_route(route: &Reader<'_>, context: &Context<'_>) -> Option<Route> {
    route.no_effect(&["decorator", "tracing"], "Weir does not trace yet");
    route.ignore(&["metadata", "stat_prefix"]);
    let on = route.message("match", |on| read_match(&on)).flatten();
    let action = route
        .message("route", |forward| read_forward(&forward, context).map(|forward| Action::Forward(Box::new(forward))))
        .or_else(|| route.message("redirect", |redirect| Some(Action::Redirect(Box::new(read_redirect(&redirect))))))
        .or_else(|| route.message("direct_response", |reply| read_reply(&reply, context).map(Action::Reply)))
        .flatten();
    let mut action = action;
    if let Some(Action::Forward(forward)) = &mut action {
        forward.replay_limit = route.u32("per_request_buffer_limit_bytes").map(|n| n as usize).or(forward.replay_limit);
    }
    Some(Route { name: route.str("name").unwrap_or_default().into(), on: on?, action: action?, edits: read_edits(route) })
}

fn read_match(on: &Reader<'_>) -> Option<RouteMatch> {
    let text = |name: &str| on.text(name).map(Arc::<str>::from);
    let path = text("prefix")
        .map(PathMatch::Prefix)
        .or_else(|| text("path").map(PathMatch::Exact))
        .or_else(|| text("path_separated_prefix").map(PathMatch::SeparatedPrefix))
        .or_else(|| on.message("safe_regex", |regex| read_regex(&regex, true)).flatten().map(PathMatch::Regex))
        .or_else(|| on.message("connect_matcher", |_| PathMatch::Connect));
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    on.each("headers", |matcher| headers.extend(read_header(&matcher)));
    on.each("query_parameters", |matcher| query.extend(read_query(&matcher)));
    Some(RouteMatch {
        path: path?,
        case_sensitive: on.bool("case_sensitive").unwrap_or(true),
        headers,
        query,
        fraction: on.message("runtime_fraction", |fraction| read_fraction(&fraction)).flatten(),
        grpc: on.message("grpc", |_| ()).is_some(),
    })
}

/// In millionths.
fn read_fraction(fraction: &Reader<'_>) -> Option<u32> {
    fraction.no_effect(&["runtime_key"], "Weir has no runtime; the default value holds");
    fraction.message("default_value", |value| {
        let numerator = value.u32("numerator").unwrap_or(0);
        let scale = match value.enumeration("denominator") {
            0 => 10_000,
            1 => 100,
            _ => 1,
        };
        numerator.saturating_mul(scale)
    })
}

fn read_forward(forward: &Reader<'_>, context: &Context<'_>) -> Option<Forward> {
    let cluster = read_choice(forward, context);
    let retry = forward.message("retry_policy", |policy| Arc::new(read_retry(&policy))).or_else(|| context.retry.clone());
    forward.ignore(&["metadata_match", "include_vh_rate_limits"]);
    let (mut grpc_timeout, mut terminates_connect) = (None, false);
    let max_stream_duration = forward.message("max_stream_duration", |max| {
        let offset = max.duration("grpc_timeout_header_offset").unwrap_or(Duration::ZERO);
        grpc_timeout = max.duration("grpc_timeout_header_max").map(|most| (most, offset));
        max.duration("max_stream_duration").map(|d| Some(d).filter(|d| !d.is_zero()))
    });
    if let Some(most) = forward.duration("max_grpc_timeout") {
        let offset = forward.duration("grpc_timeout_offset").unwrap_or(Duration::ZERO);
        grpc_timeout = grpc_timeout.or(Some((most, offset)));
    }
    let upgrades = read_upgrades(forward, &mut terminates_connect);
    let off_if_zero = |name: &str| forward.duration(name).map(|duration| Some(duration).filter(|d| !d.is_zero()));
    Some(Forward {
        cluster: cluster?,
        cluster_not_found: match forward.enumeration("cluster_not_found_response_code") {
            1 => 404,
            2 => 500,
            _ => 503,
        },
        timeout: off_if_zero("timeout").unwrap_or(Some(limit::ROUTE_TIMEOUT)),
        idle_timeout: off_if_zero("idle_timeout"),
        max_stream_duration: max_stream_duration.flatten(),
        grpc_timeout,
        terminates_connect,
        retry,
        path: read_path_rewrite(forward),
        host: read_host_rewrite(forward),
        append_forwarded_host: forward.flag("append_x_forwarded_host"),
        high_priority: forward.enumeration("priority") == 1,
        upgrades,
        replay_limit: None,
    })
}

fn read_choice(forward: &Reader<'_>, context: &Context<'_>) -> Option<ClusterChoice> {
    if let Some(name) = forward.str("cluster") {
        check_cluster(forward, "cluster", name, context);
        return Some(ClusterChoice::Named(name.into()));
    }
    if let Some(name) = forward.str("cluster_header") {
        return Some(ClusterChoice::Header(name.into()));
    }
    forward
        .message("weighted_clusters", |weighted| {
            let (mut clusters, mut total) = (Vec::new(), 0u32);
            weighted.each("clusters", |entry| {
                let weight = entry.u32("weight").unwrap_or(0);
                if !entry.has("weight") {
                    entry.error_here("needs a `weight`");
                }
                let name = entry.str("name").unwrap_or_default();
                check_cluster(&entry, "name", name, context);
                match total.checked_add(weight) {
                    Some(sum) => total = sum,
                    None => entry.error("weight", "the weights add up to more than 4294967295"),
                }
                clusters.push((name.into(), weight, read_edits(&entry)));
            });
            if let Some(stated) = weighted.u32("total_weight").filter(|stated| *stated != total) {
                weighted.error("total_weight", format!("is {stated}, but the weights add up to {total}"));
            }
            if total == 0 {
                weighted.error_here("the weights must add up to more than 0");
            }
            Some(ClusterChoice::Weighted { clusters, total: total.max(1) })
        })
        .flatten()
}

/// The clusters of a TCP proxy.
pub(super) fn read_tcp_choice(proxy: &Reader<'_>, clusters: &Clusters) -> Option<ClusterChoice> {
    let context = Context { clusters, validate_clusters: true, reply_body: 0, retry: None };
    if let Some(name) = proxy.str("cluster") {
        check_cluster(proxy, "cluster", name, &context);
        return Some(ClusterChoice::Named(name.into()));
    }
    proxy
        .message("weighted_clusters", |weighted| {
            let (mut all, mut total) = (Vec::new(), 0u32);
            weighted.each("clusters", |entry| {
                let (name, weight) = (entry.str("name").unwrap_or_default(), entry.u32("weight").unwrap_or(0));
                check_cluster(&entry, "name", name, &context);
                total = total.saturating_add(weight);
                all.push((name.into(), weight, crate::config::HeaderEdits::default()));
            });
            Some(ClusterChoice::Weighted { clusters: all, total: total.max(1) })
        })
        .flatten()
}

fn check_cluster(reader: &Reader<'_>, field: &str, name: &str, context: &Context<'_>) {
    if !context.validate_clusters || name.is_empty() || context.clusters.contains(name) {
        return;
    }
    let near = super::diagnostic::nearest(name, context.clusters.iter().map(|name| &**name));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "define it under `static_resources.clusters`".to_owned(),
    };
    reader.error_with_help(field, format!("there is no cluster `{name}`"), help);
}

fn read_path_rewrite(forward: &Reader<'_>) -> Option<PathRewrite> {
    if let Some(prefix) = forward.str("prefix_rewrite") {
        return Some(PathRewrite::Prefix(prefix.into()));
    }
    forward.message("regex_rewrite", |rewrite| read_regex_rewrite(&rewrite)).flatten()
}

/// `RegexMatchAndSubstitute`.
fn read_regex_rewrite(rewrite: &Reader<'_>) -> Option<PathRewrite> {
    let regex = rewrite.message("pattern", |pattern| read_regex(&pattern, false)).flatten()?;
    let substitution = rewrite.text("substitution").unwrap_or_default();
    let groups = regex.captures_len();
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            match bytes.next() {
                Some(digit @ b'0'..=b'9') if usize::from(digit - b'0') >= groups => {
                    rewrite.error("substitution", format!("`\\{}` names a group that the pattern does not have", digit as char));
                }
                Some(b'0'..=b'9' | b'\\') => {}
                _ => rewrite.error("substitution", "a backslash must be followed by a digit or a backslash"),
            }
        }
    }
    Some(PathRewrite::Regex(regex, substitution.into()))
}

fn read_host_rewrite(forward: &Reader<'_>) -> Option<HostRewrite> {
    let literal = forward.str("host_rewrite_literal").map(|host| HostRewrite::Literal(host.into()));
    let header = || forward.str("host_rewrite_header").map(|name| HostRewrite::Header(name.into()));
    literal.or_else(header).or_else(|| forward.flag("auto_host_rewrite").then_some(HostRewrite::Endpoint))
}

fn read_upgrades(forward: &Reader<'_>, terminates_connect: &mut bool) -> Vec<Upgrade> {
    let mut upgrades = Vec::new();
    forward.each("upgrade_configs", |upgrade| {
        let protocol = upgrade.str("upgrade_type").unwrap_or_default();
        if protocol.eq_ignore_ascii_case("CONNECT-UDP") {
            upgrade.unsupported("upgrade_type", "Weir does not implement CONNECT-UDP yet");
        }
        if upgrade.has("connect_config") {
            *terminates_connect |= protocol.eq_ignore_ascii_case("CONNECT") && upgrade.bool("enabled").unwrap_or(true);
            if !protocol.eq_ignore_ascii_case("CONNECT") {
                upgrade.error("connect_config", "belongs to `upgrade_type: CONNECT`");
            }
            upgrade.message("connect_config", |connect| {
                for name in ["proxy_protocol_config", "allow_post"] {
                    if connect.has(name) {
                        connect.ignore(&[name]);
                        connect.unsupported(name, "Weir does not implement this yet");
                    }
                }
            });
        }
        upgrades.push(Upgrade { protocol: protocol.into(), enabled: upgrade.bool("enabled").unwrap_or(true) });
    });
    upgrades
}

fn read_retry(policy: &Reader<'_>) -> RetryPolicy {
    let (on, unknown) = RetryOn::parse(policy.str("retry_on").unwrap_or_default());
    for word in unknown {
        let near = super::diagnostic::nearest(&word, RetryOn::names());
        let help = near.map_or_else(
            || format!("one of {}", RetryOn::names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        policy.error_with_help("retry_on", format!("`{word}` is not a retry condition"), help);
    }
    let defaults = RetryPolicy::default();
    let (mut base, mut max) = (defaults.base, defaults.max);
    policy.message("retry_back_off", |backoff| {
        base = backoff.duration("base_interval").unwrap_or(base).max(Duration::from_millis(1));
        max = backoff.duration("max_interval").unwrap_or(base.saturating_mul(10));
        if max < base {
            backoff.error("max_interval", "must be at least `base_interval`");
        }
    });
    let (mut headers, mut request_headers, mut avoid) = (Vec::new(), Vec::new(), false);
    policy.each("retriable_headers", |matcher| headers.extend(read_header(&matcher)));
    policy.each("retriable_request_headers", |matcher| request_headers.extend(read_header(&matcher)));
    policy.each("retry_host_predicate", |predicate| {
        predicate.ignore(&["name"]);
        predicate.message("typed_config", |config| match config.type_name() {
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" => avoid = true,
            other => config.error_here(format!("Weir does not implement the retry host predicate {other} yet")),
        });
    });
    RetryPolicy {
        on,
        retries: policy.u32("num_retries").unwrap_or(1),
        per_try_timeout: policy.duration("per_try_timeout").filter(|d| !d.is_zero()),
        per_try_idle_timeout: policy.duration("per_try_idle_timeout").filter(|d| !d.is_zero()),
        status_codes: policy.numbers("retriable_status_codes").into_iter().filter_map(|code| u16::try_from(code).ok()).collect(),
        headers,
        request_headers,
        base,
        max,
        avoid_tried_hosts: avoid,
        host_attempts: policy.i64("host_selection_retry_max_attempts").map_or(1, |n| n.clamp(1, 1000) as u32),
    }
}

fn read_redirect(redirect: &Reader<'_>) -> Redirect {
    let scheme = match redirect.flag("https_redirect") {
        true => Some(Arc::from("https")),
        false => redirect.str("scheme_redirect").map(Arc::from),
    };
    let path = redirect.str("path_redirect").map(|path| PathRewrite::Template(Template::literal(path)));
    let prefix = || redirect.str("prefix_rewrite").map(|prefix| PathRewrite::Prefix(prefix.into()));
    let regex = || redirect.message("regex_rewrite", |rewrite| read_regex_rewrite(&rewrite)).flatten();
    Redirect {
        status: match redirect.enumeration("response_code") {
            1 => 302,
            2 => 303,
            3 => 307,
            4 => 308,
            _ => 301,
        },
        scheme,
        host: redirect.str("host_redirect").map(Arc::from),
        port: redirect.u32("port_redirect").and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
        path: path.or_else(prefix).or_else(regex),
        strip_query: redirect.flag("strip_query"),
    }
}

fn read_reply(reply: &Reader<'_>, context: &Context<'_>) -> Option<Reply> {
    let body = reply.message("body", |body| {
        let text = body.text("inline_string").map(|text| Bytes::copy_from_slice(text.as_bytes()));
        text.or_else(|| body.bytes("inline_bytes").map(Bytes::copy_from_slice)).unwrap_or_default()
    });
    let body = body.unwrap_or_default();
    if body.len() > context.reply_body {
        let help = "raise `max_direct_response_body_size_bytes` of the route configuration";
        reply.error_with_help("body", format!("has {} bytes; at most {} are allowed", body.len(), context.reply_body), help);
    }
    Some(Reply { status: reply.u32("status").and_then(|status| u16::try_from(status).ok())?, body })
}
