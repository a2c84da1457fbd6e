//! Filters of the host's in a config: what is configured, and what is said where it is refused.
//! (What they do is in `filters.rs`.)

mod filtered;
mod pair;

use filtered::script::Seen;
use filtered::{filter, yaml};
use weir_core::config::v3;

fn load(filters: &str) -> (usize, Vec<String>) {
    let loaded = v3::load_with(&yaml(false, "", filters), "test.yaml", &[], &Seen::default().registry());
    let manager = loaded.config.as_ref().map(|config| config.listeners[0].chains[0].http.filters.len());
    (manager.unwrap_or_default(), loaded.diagnostics.iter().map(ToString::to_string).collect())
}

const PATH: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config";

#[test]
fn a_registered_type_is_configured() {
    assert_eq!(load(&filter("a", "request_head: pause")), (1, vec![]));
    for wrapper in ["xds.type.v3", "udpa.type.v1"] {
        let wrapped = format!(
            "{{ name: a, typed_config: {{ \"@type\": type.googleapis.com/{wrapper}.TypedStruct, type_url: any.host/test.Script, value: {{ bodies: true }} }} }}, "
        );
        assert_eq!(load(&wrapped), (1, vec![]));
    }
}

#[test]
fn what_a_kind_refuses_is_a_diagnostic_at_its_place() {
    let (_, diagnostics) = load(&filter("a", "refused: [1, x]"));
    assert_eq!(diagnostics, [format!("test.yaml:14:43: error: {PATH}: a does not like {{\"refused\":[1,\"x\"]}}")]);
}

#[test]
fn other_types_are_told_as_ever() {
    let other = |url: &str| load(&format!("{{ name: a, typed_config: {{ \"@type\": type.googleapis.com/{url} }} }}, ")).1;
    assert_eq!(other("acme.Auth").len(), 1);
    assert!(other("acme.Auth")[0].contains("there is no type `acme.Auth`"), "{:?}", other("acme.Auth"));
    assert!(!other("xds.type.v3.TypedStruct").is_empty());
    // Only HTTP filters can be the host's.
    let logger = yaml(false, "", "").replace("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", "test.Script");
    let loaded = v3::load_with(&logger, "test.yaml", &[], &Seen::default().registry());
    assert!(loaded.diagnostics[1].to_string().contains("there is no type `test.Script`"), "{:?}", loaded.diagnostics);
}
