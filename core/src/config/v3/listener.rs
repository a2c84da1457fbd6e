//! `envoy.config.listener.v3.Listener`.

use super::bootstrap::{Draft, socket_address};
use super::chain;
use super::reader::Reader;
use crate::config::{Bind, Inspection, Listener};
use crate::limit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

/// Accept queue; `tcp_backlog_size` overrides it (Envoy's default on Linux: net.core.somaxconn, 4096).
const BACKLOG: u32 = 4096;

/// The address of a listener that has none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub(super) fn read(listener: &Reader<'_>, draft: &mut Draft) -> Option<Listener> {
    let calls_only = listener.has("api_listener");
    if !listener.has("address") && !calls_only {
        listener.error_here("a listener needs an `address`");
    }
    let address = listener.message("address", |address| socket_address(&address)).flatten();
    let address = if calls_only { Some(NOWHERE) } else { address };
    listener.ignore(&["stat_prefix", "traffic_direction", "metadata", "drain_type", "ignore_global_conn_limit", "bypass_overload_manager"]);
    let name: Arc<str> = match (listener.str("name"), address) {
        (Some(name), _) => name.into(),
        (None, Some(address)) => address.to_string().into(),
        (None, None) => "".into(),
    };
    let (chains, default_chain) = if calls_only { chain::read_api(listener, draft) } else { chain::read_all(listener, draft) };
    let inspection = read_inspection(listener);
    chain::check(listener, &chains, &inspection);
    let max_connections = draft.runtime.get(&format!("envoy.resource_limits.listener.{name}.connection_limit")).map(|max| *max as u64);
    Some(Listener {
        bind: Bind {
            address: address?,
            reuse_port: listener.bool("enable_reuse_port").unwrap_or(true),
            backlog: listener.u32("tcp_backlog_size").unwrap_or(BACKLOG),
            calls_only,
        },
        name,
        buffer_limit: listener.u32("per_connection_buffer_limit_bytes").map_or(limit::CONNECTION_BUFFER, |n| n as usize),
        max_connections,
        chains: chains?.into_iter().map(Arc::new).collect(),
        default_chain: default_chain?.map(Arc::new),
        inspection,
    })
}

/// `listener_filters`: the TLS inspector.
fn read_inspection(listener: &Reader<'_>) -> Inspection {
    let mut tls = false;
    listener.each("listener_filters", |filter| {
        filter.ignore(&["name"]);
        let found = filter.message("typed_config", |config| match config.type_name() {
            TLS_INSPECTOR => {
                tls = true;
                config.ignore(&["initial_read_buffer_size", "max_client_hello_size", "close_connection_on_client_hello_parsing_errors"]);
            }
            other => config.error_here(format!("Weir does not implement the listener filter {other} yet")),
        });
        if found.is_none() && !filter.has("config_discovery") {
            filter.error_here("a listener filter needs a `typed_config`");
        }
    });
    let timeout = listener.duration("listener_filters_timeout").unwrap_or(limit::LISTENER_FILTERS);
    Inspection {
        tls,
        timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
        goes_on: listener.flag("continue_on_listener_filters_timeout"),
    }
}

/// What a transport socket turned out to be.
#[derive(Debug)]
pub(super) enum Transport<T> {
    /// Bytes as they are.
    Plain,
    /// TLS; `None` if something is wrong with it.
    Tls(Option<T>),
}

/// A transport socket; `tls` reads the kinds that are TLS. `None` if something is wrong with it: what asks for TLS must
/// never end up without.
pub(super) fn read_transport<T>(socket: &Reader<'_>, tls: impl FnOnce(&Reader<'_>) -> Option<Transport<T>>) -> Option<Transport<T>> {
    socket.ignore(&["name"]);
    if !socket.has("typed_config") {
        if socket.str("name") == Some("envoy.transport_sockets.raw_buffer") {
            return Some(Transport::Plain);
        }
        socket.error_here("a transport socket needs a `typed_config`: without one nothing would be encrypted");
        return None;
    }
    let read = socket.message("typed_config", |config| match config.type_name() {
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" => Some(Transport::Plain),
        name if name.starts_with("envoy.extensions.transport_sockets.tls.") => tls(&config),
        other => {
            config.error_here(format!("Weir does not implement the transport socket {other} yet"));
            None
        }
    });
    read.flatten()
}
