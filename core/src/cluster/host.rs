//! One upstream host and the connections that an engine keeps to it.

use crate::id::{ConnId, ExchangeId};
use crate::shared::SharedHost;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Its address.
    pub address: SocketAddr,
    /// Its share of the load.
    pub weight: u32,
    /// Whether it may take load.
    pub healthy: bool,
    /// Its name, for `auto_host_rewrite`.
    pub hostname: Arc<str>,
    /// Counts over all workers.
    pub shared: Arc<SharedHost>,
    /// Connections and who waits for one.
    pub pool: Pool,
    /// No longer in the cluster; kept until its last connection is gone.
    pub removed: bool,
}

/// The connections of one engine to one host.
#[derive(Debug, Default)]
pub struct Pool {
    /// Connections that may be used, the most recently used last: it is the least likely to be closed by
    /// the other side at this moment.
    idle: Vec<ConnId>,
    /// Exchanges that wait for a connection, first come first served.
    waiting: VecDeque<ExchangeId>,
    /// Connections being made.
    pub connecting: u32,
    /// All connections: idle, in use and being made.
    pub connections: u32,
}

impl Pool {
    /// Takes the best idle connection.
    pub fn take_idle(&mut self) -> Option<ConnId> {
        self.idle.pop()
    }

    /// Takes the idle connection that was unused for longest.
    pub fn take_oldest_idle(&mut self) -> Option<ConnId> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0))
    }

    /// A connection may be used again.
    pub fn put_idle(&mut self, conn: ConnId) {
        self.idle.push(conn);
    }

    /// A connection is gone, or in use.
    pub fn forget_idle(&mut self, conn: ConnId) {
        if let Some(at) = self.idle.iter().rposition(|idle| *idle == conn) {
            self.idle.remove(at);
        }
    }

    /// The idle connections.
    pub fn idle(&self) -> &[ConnId] {
        &self.idle
    }

    /// An exchange waits.
    pub fn wait(&mut self, exchange: ExchangeId) {
        self.waiting.push_back(exchange);
    }

    /// Takes the exchange that waited longest of those that `suits` names.
    pub fn next_waiting(&mut self, suits: impl FnMut(&ExchangeId) -> bool) -> Option<ExchangeId> {
        let at = self.waiting.iter().position(suits)?;
        self.waiting.remove(at)
    }

    /// The exchange that waited longest, which goes on waiting.
    pub fn first_waiting(&self) -> Option<ExchangeId> {
        self.waiting.front().copied()
    }

    /// The exchange with so many before it.
    pub fn waiting_at(&self, place: usize) -> Option<ExchangeId> {
        self.waiting.get(place).copied()
    }

    /// An exchange waits no longer.
    pub fn stop_waiting(&mut self, exchange: ExchangeId) {
        self.waiting.retain(|waiting| *waiting != exchange);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
