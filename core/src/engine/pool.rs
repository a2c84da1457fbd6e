//! Which connections to hosts there are: given to who waits, kept for the next, given up for others, closed, forgotten.
//! What comes on them is [`super::upstream`]'s.

use super::{Action, ConnectTls, Engine};
use crate::cluster::{ClusterState, Host, Pool, PoolKey, PoolKind};
use crate::config::UpstreamTls;
use crate::connection::{Connection, Upstream, UpstreamDeadline, UpstreamPhase, Wire};
use crate::exchange::Failure;
use crate::http1::body::Decoder;
use crate::id::{ClusterId, ConnId, ExchangeId, HostId};
use crate::plant::{Plant, is_planted};
use crate::stats::{ClusterStat, Timing};
use crate::time::Instant;
use crate::timer::{Deadlines, Owner};
use std::sync::Arc;

impl Engine {
    /// Begins as many connections to a host as exchanges wait for one, within the breaker's bound.
    pub(super) fn open_connections(&mut self, cluster_id: ClusterId, host_id: HostId, key: &PoolKey, now: Instant) {
        loop {
            let Some(cluster) = self.clusters.get_mut(cluster_id) else { return };
            let Some(host) = cluster.hosts.get_mut(host_id) else { return };
            let (address, hostname) = (host.address, Arc::clone(&host.hostname));
            let pool = host.pool(key);
            if pool.waiting() <= pool.expected {
                return;
            }
            let Some(next) = pool.waiting_at(pool.expected) else { return };
            let carries = cluster.config.protocol.carries(key.kind, pool.is_http1);
            let Some(exchange) = self.exchanges.get_mut(next) else { return };
            let priority = exchange.attempt.priority;
            let shared = &cluster.shared.priorities[priority];
            let more = u32::from(is_planted(Plant::ConnectionsOffByOne));
            if !self.answers.acquire(&shared.connections, cluster.config.breakers[priority].max_connections.saturating_add(more)) {
                if !exchange.attempt.starved {
                    exchange.attempt.starved = shared.starved.try_acquire(u32::MAX);
                    cluster.stats.inc(ClusterStat::CxOverflow);
                    self.out.actions.push_back(Action::Nudge);
                }
                return;
            }
            if std::mem::take(&mut exchange.attempt.starved) {
                shared.starved.release();
            }
            let timeout = cluster.config.connect_timeout;
            let in_clear = is_planted(Plant::FreshInClear) && exchange.attempt.fresh;
            let tls = cluster.config.tls.as_ref().map(|config| connect_tls(config, &hostname, key));
            pool.connecting += 1;
            pool.connections += 1;
            pool.expected += carries;
            cluster.connections += 1;
            cluster.stats.inc(ClusterStat::CxTotal);
            cluster.stats.inc(ClusterStat::CxActive);
            let conn = self.connections.insert_with_key(|conn| {
                let mut deadlines = Deadlines::default();
                deadlines.set(UpstreamDeadline::Connect, now + timeout, Owner::Upstream(conn), &mut self.timers);
                Connection::Upstream(Box::new(Upstream {
                    wire: Wire::default(),
                    cluster: cluster_id,
                    host: host_id,
                    pool: key.clone(),
                    carries,
                    priority,
                    addresses: None,
                    security: tls.as_ref().map(|tls| Arc::clone(&tls.config)),
                    tls: None,
                    number: self.answers.number(|| self.shared.number_connection()),
                    connected: None,
                    phase: UpstreamPhase::Connecting,
                    body: Decoder::default(),
                    deadlines,
                    since: now,
                    requests: 0,
                    last: false,
                }))
            });
            self.out.actions.push_back(Action::Connect { conn, address, tls: tls.filter(|_| !in_clear) });
        }
    }

    /// The connection is free: gives it to who waits for one, or puts it into the pool.
    pub(super) fn release_upstream(&mut self, id: ConnId, now: Instant) {
        // Of HTTP/2 it is only a stream that is free: others go on.
        if self.connections.get_mut(id).and_then(Connection::session).is_some() {
            return self.offer_room(id, now);
        }
        // All who wait may be refused, and they may be many: a loop, not a recursion.
        let mut refused = Vec::new();
        while let Some(next) = self.next_or_pool(id, now) {
            if self.assign(next, id, now) {
                break;
            }
            refused.push(next);
        }
        for exchange in refused {
            self.attempt_failed(exchange, Failure::Overflow, now);
        }
    }

    /// Who waited longest for a free connection. If nobody does it goes into the pool.
    fn next_or_pool(&mut self, id: ConnId, now: Instant) -> Option<ExchangeId> {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return None };
        let cluster = self.clusters.get_mut(conn.cluster)?;
        let removed = cluster.removed;
        let host = cluster.hosts.get_mut(conn.host)?;
        conn.phase = UpstreamPhase::Idle;
        // What was encrypted in another way, or not at all, is not for requests of the present config.
        let stale = !is_same_security(&conn.security, &cluster.config.tls);
        // A slow client may have paused it: the next exchange has another client.
        self.out.set_readable(id, &mut conn.wire, true);
        // Who was disappointed by a connection that had been used before waits for a new one.
        let (used, exchanges) = (conn.requests > 0, &self.exchanges);
        let suits = |next: &ExchangeId| !used || exchanges.get(*next).is_none_or(|exchange| !exchange.attempt.fresh);
        let pool = host.pool(&conn.pool);
        if !stale && let Some(next) = pool.next_waiting(suits) {
            return Some(next);
        }
        let breakers = &cluster.config.breakers[conn.priority];
        let shared = &cluster.shared.priorities[conn.priority];
        let wanted_elsewhere = self.answers.is(|| shared.starved.get() > 0 && shared.connections.get() >= breakers.max_connections);
        if host.removed || removed || conn.last || conn.pool.kind == PoolKind::Raw || wanted_elsewhere || stale {
            self.close_upstream(id, now);
            return None;
        }
        host.pool(&conn.pool).put_idle(id);
        if let Some(idle) = cluster.config.idle_timeout {
            conn.deadlines.set(UpstreamDeadline::Idle, now + idle, Owner::Upstream(id), &mut self.timers);
        }
        None
    }

    pub(super) fn count_destroy(&self, id: ConnId, stat: ClusterStat, with_active: ClusterStat) {
        let Some(Connection::Upstream(conn)) = self.connections.get(id) else { return };
        let Some(cluster) = self.clusters.get(conn.cluster) else { return };
        cluster.stats.inc(stat);
        if conn.is_busy() {
            cluster.stats.inc(ClusterStat::CxDestroyWithActive);
            cluster.stats.inc(with_active);
        }
    }

    /// Closes a connection that carries nothing any more.
    pub(super) fn close_upstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        match conn.wire.out.is_empty() {
            true => self.drop_upstream(id, now),
            false => self.flush_and_close_upstream(id, now),
        }
    }

    /// Closes a connection once all that was given to it is sent.
    pub(super) fn flush_and_close_upstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        conn.phase = UpstreamPhase::Closed;
        conn.deadlines.clear_all();
        // If the host does not take what is left in time, the connection is cut.
        conn.deadlines.set(UpstreamDeadline::Idle, now + crate::limit::STREAM_IDLE_TIMEOUT, Owner::Upstream(id), &mut self.timers);
        self.out.close(id, &mut conn.wire);
    }

    /// Closes a connection now, and forgets it.
    pub(super) fn drop_upstream(&mut self, id: ConnId, now: Instant) {
        if self.connections.contains_key(id) {
            self.count_destroy(id, ClusterStat::CxDestroyLocal, ClusterStat::CxDestroyLocalWithActive);
            self.out.actions.push_back(Action::Drop(id));
            self.remove_upstream(id, now);
        }
    }

    pub(super) fn remove_upstream(&mut self, id: ConnId, now: Instant) {
        // Streams that are left fail first: what becomes of their exchanges needs them to be looked up.
        self.fail_streams(id, now);
        let Some(Connection::Upstream(mut conn)) = self.connections.remove(id) else { return };
        conn.wire.out.clear(&mut self.blocks);
        let Some(cluster) = self.clusters.get_mut(conn.cluster) else { return };
        cluster.connections -= 1;
        cluster.stats.inc(ClusterStat::CxDestroy);
        cluster.stats.dec(ClusterStat::CxActive);
        cluster.stats.time(Timing::Length, now.since(conn.since).as_millis() as u64);
        let shared = &cluster.shared.priorities[conn.priority];
        shared.connections.release();
        if self.answers.is(|| shared.starved.get() > 0) && !is_planted(Plant::LostNudge) {
            self.out.actions.push_back(Action::Nudge);
        }
        if let Some(host) = cluster.hosts.get_mut(conn.host) {
            let pool = host.pool(&conn.pool);
            pool.connections -= 1;
            if matches!(conn.phase, UpstreamPhase::Connecting) {
                pool.connecting -= 1;
                pool.expected -= conn.carries;
            }
            pool.forget_idle(id);
        }
        cluster.hosts.forget_if_unused(conn.host);
        self.open_connections(conn.cluster, conn.host, &conn.pool, now);
        self.forget_pool_if_empty(conn.cluster, conn.host, &conn.pool);
        self.forget_cluster_if_unused(conn.cluster);
    }

    /// Pools for one name go with the last that is in them.
    pub(super) fn forget_pool_if_empty(&mut self, cluster: ClusterId, host: HostId, key: &PoolKey) {
        if let Some(host) = self.clusters.get_mut(cluster).and_then(|cluster| cluster.hosts.get_mut(host)) {
            host.forget_if_empty(key);
        }
    }

    /// Some engine starves for a connection: try again if one of ours waits, and make room if this one has a
    /// connection that it does not use.
    pub(super) fn nudged(&mut self, now: Instant) {
        let answers = &mut self.answers;
        let mut is_starving = |cluster: &ClusterState| {
            cluster.hosts.has_waiting() || answers.is(|| cluster.shared.priorities.iter().any(|shared| shared.starved.get() > 0))
        };
        let starving: Vec<ClusterId> = self.clusters.iter().filter(|(_, cluster)| is_starving(cluster)).map(|(id, _)| id).collect();
        for id in starving {
            let Some(cluster) = self.clusters.get_mut(id) else { continue };
            let hosts = cluster.hosts.ids();
            let full = self.answers.is(|| {
                let mut priorities = cluster.shared.priorities.iter().zip(&cluster.config.breakers);
                priorities.any(|(shared, breakers)| shared.starved.get() > 0 && shared.connections.get() >= breakers.max_connections)
            });
            if full {
                let idle = hosts.iter().find_map(|host| cluster.hosts.get_mut(*host)?.pools_mut().find_map(Pool::take_oldest_idle));
                let is_unused = |id: &ConnId| self.connections.get(*id).is_some_and(|conn| conn.open_streams() == Some(0));
                let unused = || hosts.iter().find_map(|host| cluster.hosts.get(*host)?.idle().into_iter().find(is_unused));
                if let Some(idle) = idle.or_else(unused) {
                    self.close_upstream(idle, now);
                }
            }
            for host in hosts {
                let keys = self.clusters.get(id).and_then(|cluster| cluster.hosts.get(host)).map(Host::pool_keys);
                for key in keys.unwrap_or_default() {
                    self.open_connections(id, host, &key, now);
                    self.forget_pool_if_empty(id, host, &key);
                }
            }
        }
    }
}

/// What TLS is told for a connection: first what the request says of the name, then the host, then the config.
fn connect_tls(config: &Arc<UpstreamTls>, hostname: &Arc<str>, key: &PoolKey) -> ConnectTls {
    let configured = if config.auto_host_sni && !hostname.is_empty() { hostname } else { &config.sni };
    let name = key.name.as_ref();
    let server_name = name.and_then(|name| config.by_request.server_name(name)).unwrap_or(configured);
    // A request without a host has none that a certificate could be for; what is no HTTP has none to compare with.
    let checked = config.by_request.san && (name.is_some() || key.kind != PoolKind::Raw);
    let san = checked.then(|| name.cloned().unwrap_or_default());
    ConnectTls { server_name: Arc::clone(server_name), san, config: Arc::clone(config) }
}

/// Whether two connections are encrypted in the same way.
pub(super) fn is_same_security(one: &Option<Arc<UpstreamTls>>, other: &Option<Arc<UpstreamTls>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (one, other) => one.is_none() && other.is_none(),
    }
}
