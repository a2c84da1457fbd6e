//! The driver of Weir's engine: tokio sockets, one engine per worker thread, and a primary thread that
//! coordinates them.
//!
//! Reading order: [`start`] is all that can fail before anything runs; [`run`](mod@run) is the life of the process; [`embed`] is that life in another process; [`worker`] drives one engine; [`socket`] moves
//! one connection's bytes; [`tls`] stands between the two where it is asked for; [`net`] is the seam to the operating system (and, in simulation, to turmoil).
#![forbid(unsafe_code)]

pub mod access_log;
pub mod admin;
pub mod cli;
pub mod clock;
pub mod command;
pub mod demo;
pub mod embed;
pub mod environment;
pub mod logging;
pub mod net;
pub mod open;
pub mod recording;
pub mod replay;
pub mod resolver;
pub mod run;
pub mod socket;
pub mod start;
pub mod system;
pub mod thread;
pub mod tls;
pub mod worker;
