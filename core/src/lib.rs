//! Weir's engine: an L7 proxy without I/O.
//!
//! `(config, seed, [(t, event)...])` decides everything. This crate reads no clock, socket, file or entropy
//! and iterates no randomly ordered map: the same log of inputs gives the same decisions and the same bytes.
//!
//! Reading order: [`engine`] is the surface; [`exchange`] is the life of a request; [`connection`] is what
//! one connection is doing; [`router`] and [`cluster`] choose where it goes; [`http1`] turns bytes into heads
//! and back; [`config`] is what all of them read. The arrows go down the list of modules below.
#![forbid(unsafe_code)]

pub mod answers;
pub mod buffer;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod digest;
pub mod drain;
pub mod engine;
pub mod exchange;
pub mod filter;
pub mod format;
pub mod http;
pub mod http1;
pub mod http2;
pub mod id;
pub mod limit;
pub mod listener;
pub mod map;
pub mod plant;
pub mod record;
pub mod rng;
pub mod router;
pub mod shared;
pub mod stats;
pub mod time;
pub mod timer;
pub mod tls_info;

pub use engine::Engine;
