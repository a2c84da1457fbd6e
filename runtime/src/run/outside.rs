//! What a proxy takes from outside, is told, and tells once it has begun.

use super::reload::Update;
use crate::clock::Clock;
use crate::embed::Mark;
use crate::environment::Environment;
use crate::logging::Control;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use weir_core::rng::Seed;

/// What a process takes from outside, besides its config and its network.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The clock.
    pub clock: Clock,
    /// All that is drawn is drawn from this.
    pub seed: Seed,
    /// For `%HOSTNAME%`.
    pub hostname: Arc<str>,
    /// Where workers run.
    pub threads: Threads,
    /// Cryptography.
    pub tls: Environment,
}

/// Where workers run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Each on a thread of its own.
    Own,
    /// As tasks of the calling thread: where network and time are simulated.
    Here,
}

/// What a process is told to do.
#[derive(Debug)]
pub enum Order {
    /// Drain, then end; the second one ends at once. With the reason, for the log.
    Drain(&'static str),
    /// Drain, then end, unless that has begun already.
    BeginDrain(&'static str),
    /// Read the config again.
    Reload,
    /// Write the input logs to files.
    WriteLogs,
    /// Go on with this config instead.
    Update(Box<Update>),
}

/// Where everything listens.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// Listeners by name.
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    /// The admin page.
    pub admin: Option<SocketAddr>,
}

impl Bound {
    /// Logs it.
    pub(crate) fn tell(&self) {
        for (name, address) in &self.listeners {
            match address.port() {
                0 => tracing::info!("listener {name} takes calls of this process only"),
                _ => tracing::info!("listener {name} listens on {address}"),
            }
        }
        if let Some(address) = self.admin {
            tracing::info!("admin listens on {address}");
        }
    }
}

/// The process around an embedded proxy, as far as the proxy has to do with it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The log.
    pub(crate) logging: Control,
    /// What takes the log's lines, on each of the proxy's threads.
    pub(crate) lines: tracing::Dispatch,
    /// Time for a drain.
    pub(crate) drain_time: Duration,
    /// What the proxy's threads are known by.
    pub(crate) mark: Mark,
}
