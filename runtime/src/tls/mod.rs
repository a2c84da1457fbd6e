//! TLS: rustls between a socket and the engine. Core says which settings a connection gets; everything that needs a
//! key, a certificate, a file or a clock is here.
//!
//! [`table`] is all settings of a config, made ready; [`server`] and [`client`] make one of them ([`material`] reads
//! what they name, [`verify`] judges peers, [`resolve`] picks our certificate, [`session`] and [`tickets`] resume); [`handshake`] does
//! the handshake of one connection ([`hello`] looks at a client's first bytes before) and leaves a [`stream`];
//! [`facts`] reads certificates for logs and headers; [`watch`] says when files have changed. Called by the worker,
//! and by whoever loads configs.

pub mod client;
pub mod facts;
pub mod handshake;
pub mod hello;
pub mod material;
pub mod resolve;
pub mod server;
pub mod session;
pub mod stream;
pub mod table;
pub mod tickets;
pub mod verify;
pub mod watch;

pub use stream::Stream;
pub use table::Table;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use std::sync::Arc;

/// What TLS takes from outside: cryptography with its entropy, and calendar time.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Ciphers, key exchanges, signatures and randomness.
    pub provider: Arc<CryptoProvider>,
    /// What certificates' dates are compared with.
    pub time: Arc<dyn TimeProvider>,
    /// Makes tickets, with keys of the provider's randomness: a provider has none of its own.
    pub tickets: TicketMaker,
}

/// Makes what seals and opens tickets.
pub type TicketMaker = fn(&CryptoProvider) -> Result<Arc<dyn ProducesTickets>, rustls::Error>;

impl Environment {
    /// aws-lc-rs and the system's clock.
    pub fn system() -> Environment {
        Environment {
            provider: Arc::new(aws_lc_rs::default_provider()),
            time: Arc::new(DefaultTimeProvider),
            tickets: |_| aws_lc_rs::Ticketer::new(),
        }
    }
}
