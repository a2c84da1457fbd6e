//! Which filter chain serves a connection.
//!
//! Pure functions of what is known about a connection when its chain is chosen: its addresses and, if the listener
//! looked, its client hello. Called by the engine on accept and when a client hello has come, and by the config
//! loader, which refuses chains that no connection could tell apart.

mod choose;
mod criteria;

pub use choose::choose;
pub use criteria::{ChainMatch, Cidr, SourceType};

use crate::record::Addresses;

/// What is known about a connection when its chain is chosen.
#[derive(Copy, Clone, Debug)]
pub struct Arrival<'a> {
    /// Both ends.
    pub addresses: Addresses,
    /// Its first bytes, if somebody looked.
    pub hello: Hello<'a>,
}

/// A client's first bytes, as far as they decide something. The default is what is known when nobody looked.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello<'a> {
    /// They are a TLS client hello.
    pub tls: bool,
    /// The server that the client asks for (SNI), in lower case.
    pub server_name: Option<&'a str>,
    /// The protocols that it offers (ALPN), best first.
    pub alpn: &'a [&'a [u8]],
}
