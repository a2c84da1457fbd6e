//! HTTP/2 on real sockets: what RFC 9113 and RFC 7541 demand of a server (`conformance`), what must not bring a proxy
//! down (`attacks`), and what it is there for (`traffic`). `H2_TARGET=host:port` turns the conformance tests on
//! another server that speaks HTTP/2 with prior knowledge and answers `GET /` with a body.
#![allow(unreachable_pub, missing_docs)]

mod attacks;
mod block;
mod conformance;
mod frames;
mod names;
mod read;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod upstream;

use frames::Client;
use std::net::SocketAddr;
use support::Proxy;

/// Lines of a connection manager that serves both versions with small limits.
pub(crate) const MANAGER: &str = "codec_type: AUTO\n\
    http2_protocol_options: { max_concurrent_streams: 100, initial_stream_window_size: 65536, initial_connection_window_size: 1048576 }\n";

/// A proxy in front of an upstream, with more lines for the connection manager.
pub(crate) fn proxy(upstream: SocketAddr, more: &str) -> Proxy {
    Proxy::start(&support::bootstrap(upstream, &format!("{MANAGER}{more}"), ""))
}

/// A connection to the proxy after the exchange of SETTINGS.
pub(crate) fn client(proxy: &Proxy) -> Client {
    Client::connect(proxy.address).expect("the proxy speaks HTTP/2")
}
