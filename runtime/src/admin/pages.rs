//! Pages about the process, its listeners, clusters and config.

use super::{JSON, Page, Query, State, TEXT, text};
use crate::net::Net;
use crate::system;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;
use weir_core::Engine;
use weir_core::config::{Breakers, RetryBudget, v3};
use weir_core::time::Wall;

pub(super) fn home() -> String {
    let mut out = String::from("<!DOCTYPE html><html><head><title>Weir admin</title></head><body><h1>Weir</h1><table>\n");
    for command in super::COMMANDS {
        let help = command.help.lines().next().unwrap_or_default();
        let _ = match command.changes {
            true => writeln!(
                out,
                "<tr><td><form method=\"post\" action=\"{0}\"><button>{0}</button></form></td><td>{help}</td></tr>",
                command.path
            ),
            false => writeln!(out, "<tr><td><a href=\"{0}\">{0}</a></td><td>{help}</td></tr>", command.path),
        };
    }
    out.push_str("</table></body></html>\n");
    out
}

pub(super) fn server_info<N: Net + Send + Sync>(state: &State<N>) -> String {
    let admin = state.admin();
    let uptime = format!("{}s", admin.started.elapsed().as_secs());
    let info = json!({
        "version": format!("weir/{}", env!("CARGO_PKG_VERSION")),
        "state": if admin.draining || admin.failed { "DRAINING" } else { "LIVE" },
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": {
            "concurrency": state.commands.len(),
            "config_path": state.args.config.display().to_string(),
            "log_level": state.logging.level().name(),
            "drain_time": format!("{}s", state.drain_time.as_secs()),
            "mode": "Serve",
        },
        "node": { "id": &*admin.config.node.id, "cluster": &*admin.config.node.cluster },
    });
    pretty(&info)
}

/// Envoy indents its JSON by one space.
fn pretty(value: &Value) -> String {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

pub(super) fn listeners<N: Net + Send + Sync>(state: &State<N>, query: &Query) -> Page {
    let admin = state.admin();
    if query.get("format") == Some("json") {
        let list: Vec<Value> =
            admin.listeners.iter().map(|(name, address)| json!({ "name": &**name, "local_address": socket_address(*address) })).collect();
        return (StatusCode::OK, JSON, pretty(&json!({ "listener_statuses": list })));
    }
    text(admin.listeners.iter().map(|(name, address)| format!("{name}::{address}\n")).collect::<String>())
}

pub(super) fn memory() -> String {
    let resident = system::resident_memory().to_string();
    pretty(&json!({ "allocated": resident, "heap_size": resident, "total_physical_bytes": resident }))
}

/// One host as all engines together see it.
#[derive(Clone)]
struct HostView {
    address: SocketAddr,
    hostname: Arc<str>,
    weight: u32,
    healthy: bool,
    counts: Vec<(&'static str, u64)>,
}

#[derive(Clone)]
struct ClusterView {
    name: Arc<str>,
    breakers: [Breakers; 2],
    hosts: Vec<HostView>,
}

fn view(engine: &Engine) -> Vec<ClusterView> {
    let host = |host: &weir_core::cluster::Host| HostView {
        address: host.address,
        hostname: Arc::clone(&host.hostname),
        weight: host.weight,
        healthy: host.healthy,
        counts: vec![
            ("cx_active", host.connections()),
            ("cx_connect_fail", host.shared.connect_failures.load(Relaxed)),
            ("cx_total", host.shared.connections_total.load(Relaxed)),
            ("rq_active", u64::from(host.shared.active())),
            ("rq_error", host.shared.errors.load(Relaxed)),
            ("rq_pending_active", host.waiting()),
            (
                "rq_success",
                host.shared.requests.load(Relaxed).saturating_sub(host.shared.errors.load(Relaxed) + u64::from(host.shared.active())),
            ),
            ("rq_total", host.shared.requests.load(Relaxed)),
        ],
    };
    let cluster = |cluster: &weir_core::cluster::ClusterState| ClusterView {
        name: Arc::clone(&cluster.config.name),
        breakers: cluster.config.breakers,
        hosts: cluster.hosts.members().map(|(_, h)| host(h)).collect(),
    };
    engine.clusters().map(cluster).collect()
}

/// Connections and waiting requests are each engine's own; the rest is shared already.
fn merge(views: Vec<Vec<ClusterView>>) -> Vec<ClusterView> {
    let mut views = views.into_iter();
    let mut merged = views.next().unwrap_or_default();
    for other in views.flatten() {
        let Some(cluster) = merged.iter_mut().find(|cluster| cluster.name == other.name) else { continue };
        for host in &mut cluster.hosts {
            let Some(same) = other.hosts.iter().find(|same| same.address == host.address) else { continue };
            for (count, more) in host.counts.iter_mut().zip(&same.counts) {
                if matches!(count.0, "cx_active" | "rq_pending_active") {
                    count.1 += more.1;
                }
            }
        }
    }
    merged
}

fn max_retries(breakers: &Breakers) -> u32 {
    match breakers.retries {
        RetryBudget::Count(max) => max,
        RetryBudget::Share { min_concurrency, .. } => min_concurrency,
    }
}

pub(super) async fn clusters<N: Net + Send + Sync>(state: &State<N>, query: &Query) -> Page {
    let mut clusters = merge(state.ask(view).await);
    if let Some(filter) = query.get("filter") {
        clusters.retain(|cluster| cluster.name.contains(filter));
    }
    if query.get("format") == Some("json") {
        let list: Vec<Value> = clusters.iter().map(cluster_json).collect();
        return (StatusCode::OK, JSON, pretty(&json!({ "cluster_statuses": list })));
    }
    let mut out = String::new();
    for cluster in &clusters {
        let name = &cluster.name;
        let _ = writeln!(out, "{name}::observability_name::{name}");
        for (priority, breakers) in ["default_priority", "high_priority"].iter().zip(&cluster.breakers) {
            let _ = writeln!(out, "{name}::{priority}::max_connections::{}", breakers.max_connections);
            let _ = writeln!(out, "{name}::{priority}::max_pending_requests::{}", breakers.max_pending);
            let _ = writeln!(out, "{name}::{priority}::max_requests::{}", breakers.max_requests);
            let _ = writeln!(out, "{name}::{priority}::max_retries::{}", max_retries(breakers));
        }
        let _ = writeln!(out, "{name}::added_via_api::false");
        for host in &cluster.hosts {
            let address = host.address;
            for (count, value) in &host.counts {
                let _ = writeln!(out, "{name}::{address}::{count}::{value}");
            }
            let _ = writeln!(out, "{name}::{address}::hostname::{}", host.hostname);
            let _ = writeln!(out, "{name}::{address}::health_flags::{}", if host.healthy { "healthy" } else { "/failed_eds_health" });
            let _ = writeln!(out, "{name}::{address}::weight::{}", host.weight);
            for empty in ["region", "zone", "sub_zone"] {
                let _ = writeln!(out, "{name}::{address}::{empty}::");
            }
            let _ = writeln!(out, "{name}::{address}::canary::false");
            let _ = writeln!(out, "{name}::{address}::priority::0");
            let _ = writeln!(out, "{name}::{address}::success_rate::-1");
            let _ = writeln!(out, "{name}::{address}::local_origin_success_rate::-1");
        }
    }
    (StatusCode::OK, TEXT, out)
}

fn cluster_json(cluster: &ClusterView) -> Value {
    let host = |host: &HostView| {
        let stat = |(name, value): &(&str, u64)| {
            let gauge = name.ends_with("_active");
            let mut stat = json!({ "name": name });
            if gauge {
                stat["type"] = json!("GAUGE");
            }
            if *value > 0 {
                stat["value"] = json!(value.to_string());
            }
            stat
        };
        json!({
            "address": socket_address(host.address),
            "stats": host.counts.iter().map(stat).collect::<Vec<_>>(),
            "health_status": { "eds_health_status": if host.healthy { "HEALTHY" } else { "UNHEALTHY" } },
            "weight": host.weight,
            "hostname": &*host.hostname,
            "locality": {},
        })
    };
    let thresholds = |(priority, breakers): (&str, &Breakers)| {
        json!({
            "priority": priority,
            "max_connections": breakers.max_connections,
            "max_pending_requests": breakers.max_pending,
            "max_requests": breakers.max_requests,
            "max_retries": max_retries(breakers),
        })
    };
    let priorities: Vec<Value> = ["DEFAULT", "HIGH"].into_iter().zip(&cluster.breakers).map(thresholds).collect();
    json!({
        "name": &*cluster.name,
        "host_statuses": cluster.hosts.iter().map(host).collect::<Vec<_>>(),
        "circuit_breakers": { "thresholds": priorities },
        "observability_name": &*cluster.name,
    })
}

pub(super) fn config_dump<N: Net + Send + Sync>(state: &State<N>) -> Page {
    let admin = state.admin();
    let Some(bootstrap) = v3::bootstrap_json(&admin.text, &admin.filters) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the config cannot be shown\n".to_owned());
    };
    let updated = v3::Json::String(timestamp(admin.loaded));
    let resources = bootstrap.get("static_resources").cloned().unwrap_or(v3::Json::Null);
    let string = |text: &str| v3::Json::String(text.to_owned());
    let entries = |list: &str, name: &str, kind: &str| {
        let items = resources.get(list).map(v3::Json::items).unwrap_or_default();
        let wrap = |item: &v3::Json| {
            v3::Json::Object(vec![(name.to_owned(), with_type(item, kind)), ("last_updated".to_owned(), updated.clone())])
        };
        v3::Json::List(items.iter().map(wrap).collect())
    };
    let dump = |kind: &str, fields: Vec<(String, v3::Json)>| {
        let mut all = vec![("@type".to_owned(), string(&format!("type.googleapis.com/envoy.admin.v3.{kind}")))];
        all.extend(fields);
        v3::Json::Object(all)
    };
    let routes: Vec<v3::Json> = route_configs(&resources)
        .iter()
        .map(|table| {
            let table = with_type(table, "envoy.config.route.v3.RouteConfiguration");
            v3::Json::Object(vec![("route_config".to_owned(), table), ("last_updated".to_owned(), updated.clone())])
        })
        .collect();
    let configs = v3::Json::List(vec![
        dump("BootstrapConfigDump", vec![("bootstrap".to_owned(), bootstrap.clone()), ("last_updated".to_owned(), updated.clone())]),
        dump("ClustersConfigDump", vec![("static_clusters".to_owned(), entries("clusters", "cluster", "envoy.config.cluster.v3.Cluster"))]),
        dump(
            "ListenersConfigDump",
            vec![("static_listeners".to_owned(), entries("listeners", "listener", "envoy.config.listener.v3.Listener"))],
        ),
        dump("ScopedRoutesConfigDump", Vec::new()),
        dump("RoutesConfigDump", vec![("static_route_configs".to_owned(), v3::Json::List(routes))]),
        dump("SecretsConfigDump", Vec::new()),
    ]);
    let mut out = String::new();
    v3::Json::Object(vec![("configs".to_owned(), configs)]).write(0, &mut out);
    out.push('\n');
    (StatusCode::OK, JSON, out)
}

fn with_type(item: &v3::Json, kind: &str) -> v3::Json {
    let mut fields = vec![("@type".to_owned(), v3::Json::String(format!("type.googleapis.com/{kind}")))];
    if let v3::Json::Object(own) = item {
        fields.extend(own.iter().cloned());
    }
    v3::Json::Object(fields)
}

fn route_configs(resources: &v3::Json) -> Vec<v3::Json> {
    let list = |json: &v3::Json, name: &str| json.get(name).map(|list| list.items().to_vec()).unwrap_or_default();
    let chains = list(resources, "listeners").iter().flat_map(|listener| list(listener, "filter_chains")).collect::<Vec<_>>();
    let filters = chains.iter().flat_map(|chain| list(chain, "filters")).collect::<Vec<_>>();
    filters.iter().filter_map(|filter| filter.get("typed_config")?.get("route_config").cloned()).collect()
}

fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut out = Vec::new();
    weir_core::format::TimeFormat::parse("").write(Wall::from_nanos(since.as_nanos() as u64), &mut out);
    String::from_utf8(out).unwrap_or_default()
}
