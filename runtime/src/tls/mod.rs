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
