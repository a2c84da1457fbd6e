//! `envoy.config.listener.v3.Listener`.

use super::bootstrap::{Draft, socket_address};
use super::manager;
use super::reader::Reader;
use crate::config::{Bind, HttpManager, Listener};
use crate::limit;
use std::sync::Arc;

const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Accept queue; `tcp_backlog_size` overrides it (Envoy's default on Linux: net.core.somaxconn, 4096).
const BACKLOG: u32 = 4096;

pub(super) fn read(listener: &Reader<'_>, draft: &mut Draft) -> Option<Listener> {
    if !listener.has("address") {
        listener.error_here("a listener needs an `address`");
    }
    let address = listener.message("address", |address| socket_address(&address)).flatten();
    listener.ignore(&["stat_prefix", "traffic_direction", "metadata", "drain_type", "ignore_global_conn_limit", "bypass_overload_manager"]);
    let name: Arc<str> = match (listener.str("name"), address) {
        (Some(name), _) => name.into(),
        (None, Some(address)) => address.to_string().into(),
        (None, None) => "".into(),
    };
    let http = read_chains(listener, draft);
    let max_connections = draft.runtime.get(&format!("envoy.resource_limits.listener.{name}.connection_limit")).map(|max| *max as u64);
    Some(Listener {
        bind: Bind {
            address: address?,
            reuse_port: listener.bool("enable_reuse_port").unwrap_or(true),
            backlog: listener.u32("tcp_backlog_size").unwrap_or(BACKLOG),
        },
        name,
        buffer_limit: listener.u32("per_connection_buffer_limit_bytes").map_or(limit::CONNECTION_BUFFER, |n| n as usize),
        max_connections,
        http: Arc::new(http?),
    })
}

fn read_chains(listener: &Reader<'_>, draft: &mut Draft) -> Option<HttpManager> {
    let (mut http, mut count) = (None, 0);
    listener.each("filter_chains", |chain| {
        count += 1;
        if count == 2 {
            chain.error_here("Weir serves one filter chain a listener so far; filter-chain matching is not implemented yet");
        }
        http = read_chain(&chain, draft);
    });
    if count == 0 {
        count += usize::from(listener.has("default_filter_chain"));
        listener.message("default_filter_chain", |chain| http = read_chain(&chain, draft));
    }
    if count == 0 {
        listener.error_here("a listener needs a filter chain");
    }
    http
}

fn read_chain(chain: &Reader<'_>, draft: &mut Draft) -> Option<HttpManager> {
    chain.ignore(&["name", "metadata"]);
    chain.message("transport_socket", |socket| read_transport(&socket));
    let (mut http, mut count) = (None, 0);
    chain.each("filters", |filter| {
        count += 1;
        if count == 2 {
            filter.error_here("a connection manager is the last filter of its chain");
        }
        filter.ignore(&["name"]);
        let found = filter.message("typed_config", |config| match config.type_name() {
            MANAGER => http = manager::read(&config, draft),
            other => config.error_here(format!("Weir does not implement the network filter {other} yet")),
        });
        if found.is_none() && !filter.has("typed_config") && !filter.has("config_discovery") {
            filter.error_here("a filter needs a `typed_config`");
        }
    });
    if count == 0 {
        chain.error_here("a filter chain needs a filter");
    }
    http
}

/// Plain sockets only, so far.
pub(super) fn read_transport(socket: &Reader<'_>) {
    if !socket.has("typed_config") && socket.str("name") != Some("envoy.transport_sockets.raw_buffer") {
        socket.error_here("a transport socket needs a `typed_config`: without one nothing would be encrypted");
    }
    socket.ignore(&["name"]);
    socket.message("typed_config", |config| {
        if config.type_name() != "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" {
            config.error_here(format!("Weir does not implement the transport socket {} yet", config.type_name()));
        }
    });
}
