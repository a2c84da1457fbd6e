//! `envoy.config.listener.v3.FilterChain` and its match.

use super::bootstrap::Draft;
use super::listener::{Transport, read_transport};
use super::reader::Reader;
use super::{manager, tcp_proxy, tls};
use crate::config::{FilterChain, HttpManager, Inspection};
use crate::limit;
use crate::listener::{ChainMatch, Cidr, SourceType};
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// All chains of a listener, and the default one. `None` in place of what is wrong.
pub(super) fn read_all(listener: &Reader<'_>, draft: &mut Draft) -> (Option<Vec<FilterChain>>, Option<Option<FilterChain>>) {
    let (mut chains, mut whole) = (Vec::new(), true);
    listener.each("filter_chains", |chain| match read(&chain, draft) {
        Some(chain) => chains.push(chain),
        None => whole = false,
    });
    let default = match listener.has("default_filter_chain") {
        true => listener
            .message("default_filter_chain", |chain| {
                if chain.has("filter_chain_match") {
                    chain.error("filter_chain_match", "the default chain is for what fits no other: it has no match");
                }
                read(&chain, draft)
            })
            .flatten()
            .map(Some),
        false => Some(None),
    };
    if chains.is_empty() && whole && !listener.has("default_filter_chain") {
        listener.error_here("a listener needs a filter chain");
    }
    (whole.then_some(chains), default)
}

/// The one chain of an `api_listener`, which fits every call.
pub(super) fn read_api(listener: &Reader<'_>, draft: &mut Draft) -> (Option<Vec<FilterChain>>, Option<Option<FilterChain>>) {
    for name in ["address", "filter_chains", "default_filter_chain", "listener_filters"] {
        if listener.has(name) {
            listener.ignore(&[name]);
            listener.error(name, "a listener with an `api_listener` is bound to no address: its connection manager is all that it has");
        }
    }
    if !listener.has("name") {
        listener.error_here("an `api_listener` is called by its name: it needs one");
    }
    let mut http = None;
    listener.message("api_listener", |api| {
        let found = api.message("api_listener", |config| match config.type_name() {
            MANAGER => http = manager::read(&config, draft),
            other => config.error_here(format!("an `api_listener` is an HttpConnectionManager, and not {other}")),
        });
        if found.is_none() {
            api.error_here("an `api_listener` needs an HttpConnectionManager");
        }
    });
    let chain = |http| FilterChain {
        name: "".into(),
        on: ChainMatch::default(),
        tls: None,
        open_timeout: limit::TLS_HANDSHAKE,
        http: Arc::new(http),
    };
    (http.map(|http| vec![chain(http)]), Some(None))
}

/// What is wrong with chains together.
pub(super) fn check(listener: &Reader<'_>, chains: &Option<Vec<FilterChain>>, inspection: &Inspection) {
    let Some(chains) = chains else { return };
    let mut by_key: BTreeMap<(Option<u16>, Arc<str>), Vec<usize>> = BTreeMap::new();
    let mut place = 0;
    listener.each("filter_chains", |reader| {
        let chain = &chains[place];
        for key in chain.on.keys() {
            let same = by_key.entry(key).or_default();
            if let Some(other) = same.iter().find(|other| chains[**other].on.overlaps(&chain.on)) {
                let why = format!("filter_chains[{other}] is for the same connections: nothing tells the two apart");
                return if reader.has("filter_chain_match") { reader.error("filter_chain_match", why) } else { reader.error_here(why) };
            }
            same.push(place);
        }
        if chain.on.needs_inspection() && !inspection.tls {
            let why = "fits no connection without `envoy.filters.listener.tls_inspector` among the `listener_filters`, as in Envoy";
            reader.warn("filter_chain_match", why);
        }
        place += 1;
    });
}

fn read(chain: &Reader<'_>, draft: &mut Draft) -> Option<FilterChain> {
    chain.ignore(&["metadata"]);
    let on = match chain.has("filter_chain_match") {
        true => chain.message("filter_chain_match", |on| read_match(&on)).flatten(),
        false => Some(ChainMatch::default()),
    };
    let transport = match chain.has("transport_socket") {
        true => {
            let tls = |config: &Reader<'_>| tls::read_downstream(config, &draft.secrets);
            chain.message("transport_socket", |socket| read_transport(&socket, tls)).flatten()
        }
        false => Some(Transport::Plain),
    };
    let timeout = chain.duration("transport_socket_connect_timeout").filter(|timeout| !timeout.is_zero());
    let http = read_filters(chain, draft);
    Some(FilterChain {
        name: chain.str("name").unwrap_or_default().into(),
        on: on?,
        tls: match transport? {
            Transport::Plain => None,
            Transport::Tls(tls) => Some(Arc::new(tls?)),
        },
        open_timeout: timeout.unwrap_or(limit::TLS_HANDSHAKE),
        http: Arc::new(http?),
    })
}

fn read_filters(chain: &Reader<'_>, draft: &mut Draft) -> Option<HttpManager> {
    let (mut http, mut count) = (None, 0);
    chain.each("filters", |filter| {
        count += 1;
        if count == 2 {
            filter.error_here("a connection manager or a TCP proxy is the last filter of its chain");
        }
        filter.ignore(&["name"]);
        // One arm for each network filter.
        let found = filter.message("typed_config", |config| match config.type_name() {
            MANAGER => http = manager::read(&config, draft),
            TCP_PROXY => http = tcp_proxy::read(&config, draft),
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

/// `FilterChainMatch`.
fn read_match(on: &Reader<'_>) -> Option<ChainMatch> {
    for name in ["address_suffix", "suffix_len"] {
        if on.has(name) {
            on.ignore(&[name]);
            on.unsupported(name, "Envoy does not implement this, and Weir does not either");
        }
    }
    let (mut names, mut whole) = (Vec::new(), true);
    for name in on.strings("server_names") {
        match name.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') && !suffix.contains('*') => names.push(suffix.to_ascii_lowercase().into()),
            None if !name.contains('*') => names.push(name.to_ascii_lowercase().into()),
            _ => {
                on.error("server_names", format!("`{name}`: a `*` stands for the first labels of a name only, as in `*.example.com`"));
                whole = false;
            }
        }
    }
    let mut networks = |name: &str| {
        let read = read_networks(on, name);
        whole &= read.is_some();
        read.unwrap_or_default()
    };
    let read = ChainMatch {
        port: on.u32("destination_port").and_then(|port| u16::try_from(port).ok()),
        networks: networks("prefix_ranges"),
        server_names: names,
        transport: on.str("transport_protocol").map(Arc::from),
        protocols: on.strings("application_protocols").into_iter().map(Arc::from).collect(),
        direct_sources: networks("direct_source_prefix_ranges"),
        source: match on.enumeration("source_type") {
            1 => SourceType::Local,
            2 => SourceType::External,
            _ => SourceType::Any,
        },
        sources: networks("source_prefix_ranges"),
        source_ports: on.numbers("source_ports").into_iter().filter_map(|port| u16::try_from(port).ok()).collect(),
    };
    whole.then_some(read)
}

fn read_networks(on: &Reader<'_>, name: &str) -> Option<Vec<Cidr>> {
    let (mut networks, mut whole) = (Vec::new(), true);
    on.each(name, |range| {
        let bits = range.u32("prefix_len").unwrap_or(0).min(128) as u8;
        let text = range.str("address_prefix").unwrap_or_default();
        match text.parse() {
            Ok(address) => networks.push(Cidr::new(address, bits)),
            Err(_) => {
                range.error("address_prefix", format!("`{text}` is not an IP address"));
                whole = false;
            }
        }
    });
    whole.then_some(networks)
}
