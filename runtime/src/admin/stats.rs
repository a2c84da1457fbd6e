//! `/stats`: every stat under Envoy's name.

use super::{JSON, Page, Query, State, TEXT, text};
use crate::net::Net;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use weir_core::stats::{Kind, Scope, Summary, TLS_CHOICES};

/// Prometheus labels.
pub(super) type Tags = Vec<(&'static str, String)>;

/// One stat.
pub(super) struct Stat {
    pub(super) kind: Kind,
    pub(super) value: u64,
    /// Name without what tags are made of, and the tags: for Prometheus.
    pub(super) family: String,
    pub(super) tags: Tags,
}

/// Everything that is counted.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) stats: BTreeMap<String, Stat>,
    /// By name: samples, and family and tags for Prometheus.
    pub(super) histograms: BTreeMap<String, (Summary, String, Tags)>,
}

const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

fn tag(scope: Scope, name: &str) -> (&'static str, String) {
    let key = match scope {
        Scope::Cluster => "envoy_cluster_name",
        Scope::Http => "envoy_http_conn_manager_prefix",
        Scope::Tcp => "envoy_tcp_prefix",
        Scope::Listener => "envoy_listener_address",
        Scope::Secrets => "envoy_secret_name",
    };
    (key, name.to_owned())
}

pub(super) fn snapshot<N: Net + Send + Sync>(state: &State<N>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for ((scope, name), total) in state.totals().0 {
        let prefix = scope.prefix();
        let mut add = |stat: &str, family: &str, kind: Kind, value: u64, mut tags: Vec<(&'static str, String)>| {
            tags.push(tag(scope, &name));
            snapshot.stats.insert(format!("{prefix}.{name}.{stat}"), Stat { kind, value, family: format!("{prefix}_{family}"), tags });
        };
        for ((stat, kind), value) in scope.stats().iter().zip(&total.values) {
            add(stat, stat, *kind, *value, Vec::new());
        }
        for ((choice, called), count) in TLS_CHOICES.iter().zip(total.handshakes).filter(|(_, count)| *count > 0) {
            let (prefix, family) = (choice.prefix(), choice.prefix().replace('.', "_"));
            add(&format!("{prefix}.{called}"), &family, Kind::Counter, count, vec![(choice.label(), (*called).to_owned())]);
        }
        let codes = scope.codes();
        let mut classes = [0u64; 5];
        for (status, count) in &total.codes {
            classes[usize::from(status / 100).clamp(1, 5) - 1] += count;
            if scope == Scope::Cluster {
                let family = codes.trim_end_matches('_');
                add(&format!("{codes}{status}"), family, Kind::Counter, *count, vec![("envoy_response_code", status.to_string())]);
            }
        }
        for (class, count) in (1..).zip(classes) {
            if scope == Scope::Http || (scope == Scope::Cluster && count > 0) {
                add(
                    &format!("{codes}{class}xx"),
                    &format!("{codes}xx"),
                    Kind::Counter,
                    count,
                    vec![("envoy_response_code_class", class.to_string())],
                );
            }
        }
        for (timing, summary) in scope.timings().iter().zip(total.timings) {
            if !timing.is_empty() && summary.count > 0 {
                let tags = vec![tag(scope, &name)];
                snapshot.histograms.insert(format!("{prefix}.{name}.{timing}"), (summary, format!("{prefix}_{timing}"), tags));
            }
        }
    }
    add_process_stats(state, &mut snapshot);
    snapshot
}

fn add_process_stats<N: Net + Send + Sync>(state: &State<N>, snapshot: &mut Snapshot) {
    let admin = state.admin();
    let draining = u64::from(admin.draining || admin.failed);
    let gauges: [(&str, u64); 9] = [
        ("server.live", 1 - draining),
        ("server.state", draining),
        ("server.uptime", admin.started.elapsed().as_secs()),
        ("server.concurrency", state.commands.len() as u64),
        ("server.total_connections", u64::from(state.shared.connections.get())),
        ("server.memory_physical_size", crate::system::resident_memory()),
        ("listener_manager.total_listeners_active", admin.listeners.len() as u64),
        ("listener_manager.workers_started", 1),
        ("cluster_manager.active_clusters", admin.config.clusters.len() as u64),
    ];
    for (name, value) in gauges {
        snapshot.stats.insert(name.to_owned(), Stat { kind: Kind::Gauge, value, family: name.replace('.', "_"), tags: Vec::new() });
    }
    let dropped = Stat { kind: Kind::Counter, value: state.log.dropped(), family: "access_log_lines_dropped".to_owned(), tags: Vec::new() };
    snapshot.stats.insert("access_log.lines_dropped".to_owned(), dropped);
}

/// The part of the query that says which stats are shown.
pub(super) struct Selection {
    filter: Option<regex_lite::Regex>,
    used_only: bool,
    kind: Option<Kind>,
    histograms: bool,
}

impl Selection {
    pub(super) fn parse(query: &Query) -> Result<Selection, String> {
        let filter = query.get("filter").map(regex_lite::Regex::new).transpose().map_err(|error| format!("Invalid regex: {error}"))?;
        let (kind, histograms) = match query.get("type") {
            Some("Counters") => (Some(Kind::Counter), false),
            Some("Gauges") => (Some(Kind::Gauge), false),
            _ => (None, true),
        };
        Ok(Selection { filter, used_only: query.has("usedonly"), kind, histograms })
    }

    fn name(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.is_match(name))
    }

    pub(super) fn stat(&self, name: &str, stat: &Stat) -> bool {
        self.name(name) && !(self.used_only && stat.value == 0) && self.kind.is_none_or(|kind| kind == stat.kind)
    }

    pub(super) fn histogram(&self, name: &str) -> bool {
        self.histograms && self.name(name)
    }
}

pub(super) fn page<N: Net + Send + Sync>(state: &State<N>, query: &Query) -> Page {
    let selection = match Selection::parse(query) {
        Ok(selection) => selection,
        Err(error) => return (StatusCode::BAD_REQUEST, TEXT, error),
    };
    let only_histograms = query.get("type") == Some("Histograms");
    let mut snapshot = snapshot(state);
    snapshot.stats.retain(|name, stat| !only_histograms && selection.stat(name, stat));
    snapshot.histograms.retain(|name, _| selection.histogram(name));
    match query.get("format") {
        None | Some("text") => text(as_text(&snapshot)),
        Some("json") => (StatusCode::OK, JSON, as_json(&snapshot).to_string()),
        Some("prometheus") => (StatusCode::OK, TEXT, super::prometheus::page(state, query)),
        Some(_) => (StatusCode::BAD_REQUEST, TEXT, "usage: /stats?format=(json|prometheus|text)\n\n".to_owned()),
    }
}

fn as_text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for (name, stat) in &snapshot.stats {
        let _ = writeln!(out, "{name}: {}", stat.value as i64);
    }
    for (name, (summary, ..)) in &snapshot.histograms {
        let quantiles: Vec<String> = QUANTILES.iter().map(|q| format!("P{q}(nan,{})", summary.quantile(*q).unwrap_or_default())).collect();
        let _ = writeln!(out, "{name}: {}", quantiles.join(" "));
    }
    out
}

fn as_json(snapshot: &Snapshot) -> Value {
    let mut stats: Vec<Value> = snapshot.stats.iter().map(|(name, stat)| json!({ "name": name, "value": stat.value as i64 })).collect();
    let computed: Vec<Value> = snapshot
        .histograms
        .iter()
        .map(|(name, (summary, ..))| {
            let values: Vec<Value> = QUANTILES.iter().map(|q| json!({ "interval": null, "cumulative": summary.quantile(*q) })).collect();
            json!({ "name": name, "values": values })
        })
        .collect();
    if !computed.is_empty() {
        stats.push(json!({ "histograms": { "supported_quantiles": QUANTILES, "computed_quantiles": computed } }));
    }
    json!({ "stats": stats })
}
