//! Whole proxies in this process, with real sockets.

mod calls;
mod chains;
mod filters;
mod life;
mod numbers;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use weir::embed::{Level, Options, Proxy};

/// The lines that a proxy has logged.
type Lines = Arc<Mutex<Vec<(Level, String)>>>;

fn options() -> (Options, Lines) {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let log = Arc::new(move |level: Level, line: &str| sink.lock().unwrap().push((level, line.to_owned())));
    (Options { log: Some(log), workers: Some(2), ..Options::default() }, lines)
}

fn start(config: &str) -> (Proxy, Lines) {
    let (options, lines) = options();
    (Proxy::start(options, config, "host.yaml").unwrap_or_else(|failure| panic!("{failure}")), lines)
}

fn has(lines: &Lines, what: &str) -> bool {
    lines.lock().unwrap().iter().any(|(_, line)| line.contains(what))
}

fn address(proxy: &Proxy) -> SocketAddr {
    proxy.listeners().into_iter().find(|(name, _)| &**name == "main").expect("a listener called main").1
}
