//! `/stats/prometheus`: the same stats in Prometheus' text format, with Envoy's tags.

use super::stats::{Selection, snapshot};
use super::{Query, State};
use crate::net::Net;
use std::collections::BTreeMap;
use std::fmt::Write;
use weir_core::stats::Kind;

/// Envoy's default bucket bounds, in milliseconds.
const BOUNDS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0, 300000.0, 600000.0, 1800000.0,
    3600000.0,
];

pub(super) fn page<N: Net + Send + Sync>(state: &State<N>, query: &Query) -> String {
    let Ok(selection) = Selection::parse(query) else { return String::new() };
    let snapshot = snapshot(state);
    // Counters come first, then gauges, each family under one TYPE line.
    let mut families: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for (name, stat) in snapshot.stats.iter().filter(|(name, stat)| selection.stat(name, stat)) {
        let _ = name;
        let family = metric(&stat.family);
        let line = format!("{family}{} {}", labels(&stat.tags, None), stat.value as i64);
        families.entry((stat.kind == Kind::Gauge, family)).or_default().push(line);
    }
    let mut out = String::new();
    for ((gauge, family), lines) in families {
        let _ = writeln!(out, "# TYPE {family} {}", if gauge { "gauge" } else { "counter" });
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
    }
    let mut histograms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (summary, family, tags) in snapshot.histograms.iter().filter(|(name, _)| selection.histogram(name)).map(|(_, entry)| entry) {
        let family = metric(family);
        let mut lines: Vec<String> = BOUNDS
            .iter()
            .map(|bound| format!("{family}_bucket{} {}", labels(tags, Some(&bound.to_string())), summary.at_most(*bound)))
            .collect();
        lines.push(format!("{family}_bucket{} {}", labels(tags, Some("+Inf")), summary.count));
        lines.push(format!("{family}_sum{} {}", labels(tags, None), summary.sum));
        lines.push(format!("{family}_count{} {}", labels(tags, None), summary.count));
        histograms.entry(family).or_default().extend(lines);
    }
    for (family, lines) in histograms {
        let _ = writeln!(out, "# TYPE {family} histogram\n{}", lines.join("\n"));
    }
    out
}

/// `[a-zA-Z0-9_]` only, behind Envoy's prefix.
fn metric(family: &str) -> String {
    let clean: String = family.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("envoy_{clean}")
}

fn labels(tags: &[(&'static str, String)], bound: Option<&str>) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut all: Vec<String> = tags.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
    all.extend(bound.map(|bound| format!("le=\"{bound}\"")));
    format!("{{{}}}", all.join(","))
}
