//! One upstream host and the connections that an engine keeps to it.

use crate::id::{ConnId, ExchangeId};
use crate::shared::SharedHost;
use std::collections::{BTreeMap, VecDeque};
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
    /// Connections for any request and who waits for one, by [`PoolKind`].
    plain: [Pool; PoolKind::COUNT],
    /// Those that are made for requests to one host name. Each is there as long as it is used: the names are the
    /// clients' to choose.
    named: BTreeMap<PoolKey, Pool>,
    /// No longer in the cluster; kept until its last connection is gone.
    pub removed: bool,
}

/// What the connections of a pool are for. An exchange must not get one of another kind.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PoolKind {
    /// HTTP in the cluster's own version, or what ALPN agreed on.
    #[default]
    Http,
    /// HTTP/2, where the cluster follows its clients and this one speaks it.
    Http2,
    /// Plain bytes: one connection for each tunnel.
    Raw,
}

/// Which connections of a host an exchange may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PoolKey {
    /// What they are for.
    pub kind: PoolKind,
    /// The host name that they are made for, where TLS is told it; `None` if any request may use them.
    pub name: Option<Arc<str>>,
}

impl PoolKey {
    /// Connections that any request may use.
    pub fn any(kind: PoolKind) -> PoolKey {
        PoolKey { kind, name: None }
    }
}

impl PoolKind {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All of them.
    pub const ALL: [PoolKind; PoolKind::COUNT] = [PoolKind::Http, PoolKind::Http2, PoolKind::Raw];
}

impl Host {
    /// A host that nothing is connected to.
    pub fn new(address: SocketAddr, shared: Arc<SharedHost>) -> Host {
        let (plain, named) = (<[Pool; PoolKind::COUNT]>::default(), BTreeMap::new());
        Host { address, weight: 1, healthy: true, hostname: Arc::from(""), shared, plain, named, removed: false }
    }

    /// The connections of that kind and name.
    pub fn pool(&mut self, key: &PoolKey) -> &mut Pool {
        match key.name {
            None => &mut self.plain[key.kind as usize],
            Some(_) => self.named.entry(key.clone()).or_default(),
        }
    }

    /// Forgets a pool that nothing is in.
    pub fn forget_if_empty(&mut self, key: &PoolKey) {
        if key.name.is_some() && self.named.get(key).is_some_and(|pool| pool.connections == 0 && pool.waiting() == 0) {
            self.named.remove(key);
        }
    }

    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.plain.iter().chain(self.named.values())
    }

    /// All pools.
    pub fn pools_mut(&mut self) -> impl Iterator<Item = &mut Pool> {
        self.plain.iter_mut().chain(self.named.values_mut())
    }

    /// Which pools there are.
    pub fn pool_keys(&self) -> Vec<PoolKey> {
        PoolKind::ALL.into_iter().map(PoolKey::any).chain(self.named.keys().cloned()).collect()
    }

    /// All connections to it.
    pub fn connections(&self) -> u64 {
        self.pools().map(|pool| u64::from(pool.connections)).sum()
    }

    /// All exchanges that wait for one.
    pub fn waiting(&self) -> u64 {
        self.pools().map(|pool| pool.waiting() as u64).sum()
    }

    /// Whether it has connections, or somebody waits for one.
    pub fn is_used(&self) -> bool {
        self.pools().any(|pool| pool.connections > 0 || pool.waiting() > 0)
    }

    /// All connections that carry nothing.
    pub fn idle(&self) -> Vec<ConnId> {
        self.pools().flat_map(|pool| pool.idle.iter().chain(&pool.shared)).copied().collect()
    }
}

/// The connections of one engine to one host.
#[derive(Debug, Default)]
pub struct Pool {
    /// Connections that may be used, the most recently used last: it is the least likely to be closed by
    /// the other side at this moment.
    idle: Vec<ConnId>,
    /// HTTP/2 connections that have room for one more stream, used or not.
    shared: Vec<ConnId>,
    /// Exchanges that wait for a connection, first come first served.
    waiting: VecDeque<ExchangeId>,
    /// Connections being made.
    pub connecting: u32,
    /// How many exchanges those can take.
    pub expected: usize,
    /// Connections here turned out to speak HTTP/1 although they might have spoken HTTP/2.
    pub is_http1: bool,
    /// All connections: idle, in use and being made.
    pub connections: u32,
}

impl Pool {
    /// The HTTP/2 connection to use: the one that has been there for longest, so that others may end.
    pub fn shared(&self) -> Option<ConnId> {
        self.shared.first().copied()
    }

    /// Whether an HTTP/2 connection has room.
    pub fn set_shared(&mut self, conn: ConnId, has_room: bool) {
        let at = self.shared.iter().position(|shared| *shared == conn);
        match (at, has_room) {
            (None, true) => self.shared.push(conn),
            (Some(at), false) => {
                self.shared.remove(at);
            }
            _ => {}
        }
    }

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
        self.set_shared(conn, false);
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
