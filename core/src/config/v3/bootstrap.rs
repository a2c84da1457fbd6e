//! `envoy.config.bootstrap.v3.Bootstrap`.

use super::reader::Reader;
use super::typed::Json;
use super::{cluster, listener, tls};
use crate::config::{Admin, Config, Listener, LogSink, Node};
use crate::limit;
use crate::map::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What is gathered while a file is read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    /// Static runtime keys.
    pub(super) runtime: BTreeMap<String, f64>,
    pub(super) node: Node,
    /// Every cluster that is named, those included that are wrong themselves.
    pub(super) cluster_names: BTreeSet<Arc<str>>,
    /// Certificates and what verifies them, by name.
    pub(super) secrets: tls::Secrets,
}

impl Draft {
    /// The place of a sink, added if it is new.
    pub(super) fn sink(&mut self, sink: LogSink) -> usize {
        let sinks = &mut self.config.sinks;
        sinks.iter().position(|other| *other == sink).unwrap_or_else(|| {
            sinks.push(sink);
            sinks.len() - 1
        })
    }
}

pub(super) fn read(bootstrap: &Reader<'_>, sinks: &[LogSink]) -> Config {
    let mut draft = Draft::default();
    draft.config.sinks = sinks.to_vec();
    draft.config.max_connections = limit::GLOBAL_CONNECTIONS;
    bootstrap.message("node", |node| draft.node = read_node(&node));
    bootstrap.message("layered_runtime", |runtime| read_runtime(&runtime, &mut draft.runtime));
    bootstrap.message("admin", |admin| draft.config.admin = read_admin(&admin));
    bootstrap.message("overload_manager", |overload| read_overload(&overload, &mut draft.config.max_connections));
    if let Some(max) = draft.runtime.get("overload.global_downstream_max_connections") {
        draft.config.max_connections = *max as u64;
    }
    bootstrap.ignore(&["stats_flush_interval", "default_config_source", "deferred_stat_options"]);
    bootstrap.message("static_resources", |resources| {
        resources.each("secrets", |secret| {
            let name: Arc<str> = secret.str("name").unwrap_or_default().into();
            let read = tls::read_secret(&secret);
            if draft.secrets.insert(name, read).is_some() {
                secret.error("name", "another secret has this name");
            }
        });
        read_clusters(&resources, &mut draft);
        resources.each("listeners", |reader| {
            if let Some(listener) = listener::read(&reader, &mut draft) {
                match clash(&draft.config, &listener) {
                    Some((field, fault)) => reader.error(field, fault),
                    None => draft.config.listeners.push(Arc::new(listener)),
                }
            }
        });
    });
    draft.config.node = draft.node;
    draft.config
}

/// What a listener has in common with one before it, or with the admin page, and must not.
fn clash(config: &Config, listener: &Listener) -> Option<(&'static str, String)> {
    if config.listeners.iter().any(|other| other.name == listener.name) {
        return Some(("name", format!("another listener is called `{}`", listener.name)));
    }
    let address = listener.bind.address;
    if address.port() == 0 {
        return None;
    }
    if let Some(other) = config.listeners.iter().find(|other| other.bind.address == address) {
        return Some(("address", format!("listener `{}` has the address {address} already", other.name)));
    }
    let admin = config.admin.as_ref().is_some_and(|admin| admin.address == address);
    admin.then(|| ("address", format!("the admin page has the address {address} already")))
}

/// Clusters come first: routes name them.
fn read_clusters(resources: &Reader<'_>, draft: &mut Draft) {
    let mut clusters: Map<Arc<str>, Arc<crate::config::Cluster>> = Map::default();
    resources.each("clusters", |reader| {
        draft.cluster_names.extend(reader.str("name").map(Arc::from));
        let Some(cluster) = cluster::read(&reader, &draft.secrets) else { return };
        match clusters.contains_key(&cluster.name) {
            true => reader.error("name", format!("another cluster is called `{}`", cluster.name)),
            false => drop(clusters.insert(Arc::clone(&cluster.name), Arc::new(cluster))),
        }
    });
    draft.config.clusters = clusters;
}

fn read_node(node: &Reader<'_>) -> Node {
    node.ignore(&["metadata", "locality", "user_agent_name", "user_agent_version", "dynamic_parameters", "client_features"]);
    Node { id: node.str("id").unwrap_or_default().into(), cluster: node.str("cluster").unwrap_or_default().into() }
}

fn read_admin(admin: &Reader<'_>) -> Option<Admin> {
    admin.no_effect(&["access_log", "access_log_path", "profile_path"], "the admin page keeps no access log and no profile");
    let address = admin.message("address", |address| socket_address(&address)).flatten();
    if !admin.has("address") {
        admin.error_here("an admin page needs an `address`");
    }
    address.map(|address| Admin { address })
}

/// A `core.v3.Address` that must be an IP address.
pub(super) fn socket_address(address: &Reader<'_>) -> Option<SocketAddr> {
    address
        .message("socket_address", |socket| {
            if socket.enumeration("protocol") == 1 {
                socket.unsupported("protocol", "Weir does not listen on UDP yet");
            }
            socket.ignore(&["ipv4_compat"]);
            let text = socket.str("address")?;
            let port = port(&socket)?;
            match text.parse::<IpAddr>() {
                Ok(ip) => Some(SocketAddr::new(ip, port)),
                Err(_) => {
                    socket.error_with_help("address", format!("`{text}` is not an IP address"), "write an address such as 0.0.0.0 or ::");
                    None
                }
            }
        })
        .flatten()
}

/// `port_value`, or a named port, which is refused.
pub(super) fn port(socket: &Reader<'_>) -> Option<u16> {
    let Some(port) = socket.u64("port_value") else {
        if !socket.has("named_port") {
            socket.error_here("needs a `port_value`");
        }
        return None;
    };
    // `validate.rules` bound it by 65535.
    u16::try_from(port).ok()
}

/// Static layers only. A key that is read has a use; the others do nothing, and the user is told.
fn read_runtime(runtime: &Reader<'_>, keys: &mut BTreeMap<String, f64>) {
    runtime.each("layers", |layer| {
        layer.ignore(&["name"]);
        if let Some(Json::Object(entries)) = layer.json("static_layer") {
            flatten("", entries, keys);
        }
        layer.no_effect(&["admin_layer", "disk_layer"], "Weir reads static runtime layers only");
    });
    let known = |key: &str| key == "overload.global_downstream_max_connections" || key.starts_with("envoy.resource_limits.listener.");
    for key in keys.keys().filter(|key| !known(key)) {
        runtime.warn("layers", format!("the runtime key `{key}` has no effect in Weir"));
    }
}

fn flatten(prefix: &str, entries: &[(String, Json)], keys: &mut BTreeMap<String, f64>) {
    for (key, value) in entries {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Json::Object(inner) => flatten(&name, inner, keys),
            Json::Number(number) => drop(keys.insert(name, *number)),
            Json::Bool(flag) => drop(keys.insert(name, f64::from(u8::from(*flag)))),
            Json::String(_) | Json::List(_) | Json::Null => drop(keys.insert(name, 0.0)),
        }
    }
}

fn read_overload(overload: &Reader<'_>, max_connections: &mut u64) {
    overload.ignore(&["refresh_interval"]);
    overload.each("resource_monitors", |monitor| {
        monitor.ignore(&["name"]);
        monitor.message("typed_config", |config| {
            if config.type_name() == "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig" {
                *max_connections =
                    config.i64("max_active_downstream_connections").and_then(|n| u64::try_from(n).ok()).unwrap_or(*max_connections);
            }
        });
    });
}
