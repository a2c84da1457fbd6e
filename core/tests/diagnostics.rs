//! What a person reads when a config is wrong: everything, in one pass, with its place.

use std::fmt::Write;
#[allow(clippy::disallowed_types)]
use std::time::Instant;
use weir_core::config::v3;

fn diagnose(yaml: &str) -> String {
    let loaded = v3::load(yaml, "envoy.yaml");
    let mut out = String::new();
    for finding in &loaded.diagnostics {
        let _ = writeln!(out, "{finding}");
    }
    let _ = write!(out, "=> {}", if loaded.config.is_some() { "loads" } else { "refused" });
    out
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    insta::assert_snapshot!(diagnose(include_str!("data/wrong.yaml")));
}

#[test]
fn unsupported_fields_are_told_apart_from_wrong_ones() {
    insta::assert_snapshot!(diagnose(include_str!("data/unsupported.yaml")));
}

#[test]
fn syntax_faults() {
    insta::assert_snapshot!(diagnose("static_resources:\n  listeners: [\n  clusters: }\n"));
    insta::assert_snapshot!(diagnose(""));
    insta::assert_snapshot!(diagnose("- 1\n- 2\n"));
    insta::assert_snapshot!(diagnose("node: { id: a, id: b }\n"));
}

#[test]
fn both_name_cases_json_anchors_and_ignored_values_load() {
    let yaml = diagnose(include_str!("data/forms.yaml"));
    assert_eq!(yaml, "=> loads");
    let json = r#"{"staticResources": {"clusters": [{"name": "c", "type": "strict_dns", "connectTimeout": "0.250s", "dnsLookupFamily": "v4_only",
        "loadAssignment": {"clusterName": "c", "endpoints": [{"lbEndpoints": [{"endpoint": {"address": {"socketAddress": {"address": "localhost", "portValue": 80}}}}]}]}}]}}"#;
    assert_eq!(diagnose(json), "=> loads");
}

/// Ten thousand clusters load without anything that grows faster than the file. The time is printed, not
/// asserted: `cargo test --release -- --nocapture` tells it.
#[test]
fn listeners_do_not_share_a_name_or_an_address() {
    let listener = |name: &str, port: u16| {
        format!(
            "    - name: {name}\n      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}\n      filter_chains: [{{ filters: [{{ name: h, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, route_config: {{}}, http_filters: [{{ name: r, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}] }} }}] }}]\n"
        )
    };
    let yaml = |listeners: &[String]| {
        format!(
            "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 9901 }} }} }}\nstatic_resources:\n  listeners:\n{}",
            listeners.concat()
        )
    };
    assert_eq!(diagnose(&yaml(&[listener("a", 0), listener("b", 0), listener("c", 80)])), "=> loads");
    let all = diagnose(&yaml(&[listener("a", 80), listener("a", 81), listener("b", 80), listener("c", 9901)]));
    assert_eq!(
        all,
        "envoy.yaml:7:7: error: static_resources.listeners[1].name: another listener is called `a`\n\
         envoy.yaml:11:7: error: static_resources.listeners[2].address: listener `a` has the address 127.0.0.1:80 already\n\
         envoy.yaml:14:7: error: static_resources.listeners[3].address: the admin page has the address 127.0.0.1:9901 already\n\
         => refused"
    );
}

#[test]
fn a_transport_socket_without_a_config_is_no_plain_text() {
    let yaml = "static_resources:\n  clusters:\n  - name: u\n    transport_socket: { name: envoy.transport_sockets.tls }\n";
    let text = diagnose(yaml);
    assert!(text.contains("envoy.yaml:4:") && text.contains("needs a `typed_config`: without one nothing would be encrypted"), "{text}");
    assert_eq!(diagnose(&yaml.replace("tls }", "raw_buffer }")), "=> loads");
}

#[test]
fn ten_thousand_clusters() {
    let mut yaml = String::from("static_resources:\n  clusters:\n");
    for n in 0..10_000 {
        let _ = write!(
            yaml,
            "  - name: cluster-{n}\n    type: STATIC\n    connect_timeout: 0.25s\n    lb_policy: ROUND_ROBIN\n    circuit_breakers:\n      thresholds:\n      - max_connections: 100\n        max_requests: 200\n    load_assignment:\n      cluster_name: cluster-{n}\n      endpoints:\n      - lb_endpoints:\n        - endpoint: {{ address: {{ socket_address: {{ address: 10.0.{}.{}, port_value: 80 }} }} }}\n",
            n / 250,
            n % 250
        );
    }
    let loaded = timed(|| v3::load(&yaml, "big.yaml"));
    assert_eq!(loaded.config.map(|config| config.clusters.len()), Some(10_000));
    assert!(loaded.diagnostics.is_empty());
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stderr)]
fn timed<T>(work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    eprintln!("10,000 clusters: {:?}", start.elapsed());
    result
}
