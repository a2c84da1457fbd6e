//! Worlds of client hellos: every client is served by the filter chain whose `server_names` fit best.
//!
//! A listener with chains of names, domains and none, as drawn from a seed, clients that ask for names, and updates that
//! move the chains about. What each chain is to serve is looked up by Envoy's rule here (`FilterChainMatch`: the name
//! itself, `*.` before what is left of it without its first labels, no name), not ranked as in core.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use weir_core::Engine;
use weir_core::config::tls::Data;
use weir_core::config::v3;
use weir_core::engine::Opening;
use weir_core::listener::Hello;
use weir_core::record::Addresses;
use weir_core::rng::{Rng, Seed};
use weir_core::time::{Instant, Wall};

/// What this check is called.
pub const NAME: &str = "chains";

/// How many clients come between two updates, and how many updates there are.
const CLIENTS: u64 = 30;
const UPDATES: u64 = 3;

/// Which chains there are.
struct Chains {
    /// By name as written, and "" for a chain without.
    by_name: BTreeMap<String, usize>,
    has_default: bool,
    yaml: String,
}

/// Runs the world of a seed.
///
/// # Errors
/// Says which client was served by which chain, and which should have been.
///
/// # Panics
/// If a config that is drawn does not load.
pub fn run(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(Seed(seed).fork("chains"));
    let mut chains = draw(&mut rng);
    let mut now = Instant::from_nanos(0);
    let mut engine = Engine::new(load(&chains.yaml), Arc::default(), Seed(seed), now, Wall::from_nanos(0));
    for _ in 0..UPDATES {
        for client in 0..CLIENTS {
            now = Instant::from_nanos(now.as_nanos() + 1_000_000);
            let name = name(&mut rng);
            let asked = (rng.below(8) > 0).then_some(&*name);
            let served = served(&mut engine, asked, 1024 + client as u16, now)?;
            let expected = chains.expected(asked.unwrap_or_default());
            if served != expected {
                return Err(format!("a client that asks for {asked:?} is served by {served:?} and not by {expected:?} of {}", chains.yaml));
            }
        }
        chains = draw(&mut rng);
        engine.handle_config(load(&chains.yaml), now);
        while engine.poll_action().is_some() {}
    }
    Ok(())
}

/// A client says hello and leaves: which chain serves it, if one does?
fn served(engine: &mut Engine, name: Option<&str>, port: u16, now: Instant) -> Result<Option<String>, String> {
    let addresses = Addresses {
        local: SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 443),
        remote: SocketAddr::new(Ipv4Addr::new(10, 0, 2, 1).into(), port),
    };
    let on = engine.listener("main").ok_or("the listener is gone")?;
    let conn = engine.handle_accept(on, addresses, now).map_err(|refused| format!("a client is refused: {refused}"))?;
    let opening = match engine.opening(conn) {
        Opening::Inspect => engine.handle_client_hello(conn, Hello { tls: true, server_name: name, alpn: &[] }, now),
        // Nothing depends on what it says.
        other => other,
    };
    let served = match opening {
        Opening::Refused => None,
        Opening::Tls(settings) => match settings.common.certificates.first().map(|certificate| &certificate.chain.data) {
            Some(Data::Inline(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => return Err("the certificate is none that was given".to_owned()),
        },
        other => return Err(format!("a client of TLS is to be opened as {other:?}")),
    };
    if served.is_some() {
        engine.handle_closed(conn, weir_core::engine::IoFault::Closed, now);
    }
    while engine.poll_action().is_some() {}
    Ok(served)
}

impl Chains {
    fn expected(&self, name: &str) -> Option<String> {
        let mut place = self.by_name.get(name).filter(|_| !name.is_empty());
        let mut left = name;
        while let (None, Some((_, rest))) = (place, left.split_once('.')) {
            place = self.by_name.get(&format!("*.{rest}"));
            left = rest;
        }
        match place.or_else(|| self.by_name.get("")) {
            Some(place) => Some(format!("chain {place}")),
            None => self.has_default.then(|| "the default chain".to_owned()),
        }
    }
}

fn name(rng: &mut Rng) -> String {
    let labels = ["a", "b", "ab", "sim"];
    let count = 1 + rng.below(3);
    (0..count).map(|_| labels[rng.below(labels.len() as u64) as usize]).collect::<Vec<_>>().join(".")
}

fn draw(rng: &mut Rng) -> Chains {
    let (mut by_name, mut text) = (BTreeMap::new(), String::new());
    for place in 0..=rng.below(6) as usize {
        let mut names = Vec::new();
        for _ in 0..rng.below(4) {
            let name = if rng.below(3) == 0 { format!("*.{}", name(rng)) } else { name(rng) };
            if !by_name.contains_key(&name) {
                by_name.insert(name.clone(), place);
                names.push(format!("\"{name}\""));
            }
        }
        if names.is_empty() {
            if by_name.contains_key("") {
                continue;
            }
            by_name.insert(String::new(), place);
        }
        let on = format!("filter_chain_match: {{ server_names: [{}] }},", names.join(", "));
        let _ = write!(text, "\n        - {}", chain(&on, &format!("chain {place}")));
    }
    let has_default = rng.below(2) == 0;
    let default = if has_default { format!("default_filter_chain: {}", chain("", "the default chain")) } else { String::new() };
    let yaml = format!(
        r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 0.0.0.0, port_value: 443 }} }}
      listener_filters: [{{ name: inspector, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }} }}]
      {default}
      filter_chains:{text}
"#
    );
    Chains { by_name, has_default, yaml }
}

/// A chain whose certificate says which it is.
fn chain(on: &str, certificate: &str) -> String {
    format!(
        r#"{{ {on} transport_socket: {{ name: tls, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
            common_tls_context: {{ tls_certificates: [{{ certificate_chain: {{ inline_string: "{certificate}" }}, private_key: {{ inline_string: key }} }}] }} }} }},
          filters: [{{ name: http, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: s,
            http_filters: [{{ name: router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}],
            route_config: {{ virtual_hosts: [{{ name: v, domains: ["*"], routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200 }} }}] }}] }} }} }}] }}"#
    )
}

fn load(yaml: &str) -> Arc<weir_core::config::Config> {
    let loaded = v3::load(yaml, "drawn.yaml");
    Arc::new(loaded.config.unwrap_or_else(|| panic!("the config that was drawn does not load: {:?}\n{yaml}", loaded.diagnostics)))
}
