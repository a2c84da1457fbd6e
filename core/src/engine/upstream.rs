//! Connections to upstream hosts: made, used, pooled, closed.

use super::taped::{discard, log_body, log_bytes, refuse, skip};
use super::{Action, ConnectError, Engine, IoFault, Transport};
use crate::cluster::{ClusterState, Pool, PoolKind};
use crate::config::UpstreamTls;
use crate::connection::{Connection, HeadInput, PartialHead, UpstreamDeadline, UpstreamPhase};
use crate::exchange::Failure;
use crate::http1::body::Piece;
use crate::id::{ClusterId, ConnId, ExchangeId};
use crate::plant::{Plant, is_planted};
use crate::stats::{Block, ClusterStat, Timing};
use crate::time::Instant;
use crate::timer::Owner;
use crate::tls_info::{TlsFault, TlsInfo};
use bytes::{Buf, BytesMut};
use std::sync::Arc;

impl Engine {
    pub(super) fn connected(&mut self, id: ConnId, result: Result<Transport, ConnectError>, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        if !matches!(conn.phase, UpstreamPhase::Connecting) {
            return;
        }
        conn.deadlines.clear(UpstreamDeadline::Connect);
        let transport = match result {
            Ok(transport) => transport,
            Err(error) => return self.connect_failed(id, Some(error), now),
        };
        (conn.addresses, conn.tls) = (Some(transport.addresses), transport.tls);
        conn.connected = Some(now);
        let (cluster_id, host_id, since) = (conn.cluster, conn.host, conn.since);
        let (kind, carries) = (conn.pool, conn.carries);
        let Some(cluster) = self.clusters.get_mut(cluster_id) else { return };
        count_handshake(&cluster.stats, conn.tls.as_deref());
        cluster.stats.time(Timing::Connection, now.since(since).as_millis() as u64);
        if let Some(lifetime) = cluster.config.max_connection_duration {
            conn.deadlines.set(UpstreamDeadline::Lifetime, now + lifetime, Owner::Upstream(id), &mut self.timers);
        }
        if let Some(host) = cluster.hosts.get_mut(host_id) {
            host.pool(kind).connecting -= 1;
            host.pool(kind).expected -= carries;
            host.shared.connections_total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.begin_protocol(id, now);
        self.go_on(now);
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
        let pool = host.pool(conn.pool);
        if !stale && let Some(next) = pool.next_waiting(suits) {
            return Some(next);
        }
        let breakers = &cluster.config.breakers[conn.priority];
        let shared = &cluster.shared.priorities[conn.priority];
        let wanted_elsewhere = self.answers.is(|| shared.starved.get() > 0 && shared.connections.get() >= breakers.max_connections);
        if host.removed || removed || conn.last || conn.pool == PoolKind::Raw || wanted_elsewhere || stale {
            self.close_upstream(id, now);
            return None;
        }
        host.pool(conn.pool).put_idle(id);
        if let Some(idle) = cluster.config.idle_timeout {
            conn.deadlines.set(UpstreamDeadline::Idle, now + idle, Owner::Upstream(id), &mut self.timers);
        }
        None
    }

    fn connect_failed(&mut self, id: ConnId, error: Option<ConnectError>, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get(id) else { return };
        let (cluster_id, host_id, kind, timeout) = (conn.cluster, conn.host, conn.pool, error.is_none());
        let Some(cluster) = self.clusters.get_mut(cluster_id) else { return };
        cluster.stats.inc(if timeout { ClusterStat::CxConnectTimeout } else { ClusterStat::CxConnectFail });
        if let Some(fault) = error.as_ref().and_then(|error| error.tls) {
            cluster.stats.inc(fault_stat(fault));
        }
        let mut waiting = None;
        if let Some(host) = cluster.hosts.get_mut(host_id) {
            host.shared.connect_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            waiting = host.pool(kind).first_waiting();
        }
        if let Some(waiting) = waiting {
            cluster.stats.inc(ClusterStat::RqPendingFailureEject);
            // It leaves the queue first, or one more connection would be begun for it.
            self.stop_waiting(waiting);
        }
        self.out.actions.push_back(Action::Drop(id));
        self.remove_upstream(id, now);
        let Some(exchange) = waiting else { return };
        if let (Some(exchange), Some(error)) = (self.exchanges.get_mut(exchange), error) {
            exchange.record.transport_failure = Some(error.text);
        }
        self.attempt_failed(exchange, Failure::Connect { timeout }, now);
    }

    pub(super) fn recv_upstream(&mut self, id: ConnId, input: &mut BytesMut, now: Instant) {
        if let Some(Connection::Upstream(conn)) = self.connections.get(id)
            && let Some(cluster) = self.clusters.get(conn.cluster)
        {
            cluster.stats.add(ClusterStat::CxRxBytes, input.len() as u64);
        }
        loop {
            let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return discard(&mut self.recorder, input) };
            match &mut conn.phase {
                UpstreamPhase::Head(exchange, partial) => {
                    if input.is_empty() {
                        return;
                    }
                    let (exchange, limit) = (*exchange, self.clusters.get(conn.cluster).map_or(0, |c| c.config.limits.bytes));
                    let before = input.len();
                    match partial.feed(input, limit) {
                        Ok(HeadInput::More) => {
                            log_bytes(&mut self.recorder, partial.last(before));
                            return self.response_began(exchange);
                        }
                        Ok(HeadInput::InInput(end)) => {
                            log_bytes(&mut self.recorder, &input[..end]);
                            self.response_head(id, exchange, &input[..end], end == input.len(), now);
                            input.advance(end.min(input.len()));
                        }
                        Ok(HeadInput::Assembled(head)) => {
                            log_bytes(&mut self.recorder, &head[head.len() - (before - input.len())..]);
                            self.response_head(id, exchange, &head, input.is_empty(), now);
                        }
                        Err(_) => {
                            refuse(&mut self.recorder, input);
                            return self.protocol_error(exchange, id, now);
                        }
                    }
                }
                UpstreamPhase::Body(exchange) => {
                    let exchange = *exchange;
                    if !conn.wire.readable || !self.recv_response_body(id, exchange, input, now) {
                        return;
                    }
                }
                UpstreamPhase::Tunnel(exchange) => {
                    let exchange = *exchange;
                    if !input.is_empty() {
                        let piece = input.split().freeze();
                        log_body(&mut self.recorder, &piece);
                        self.tunnel_to_client(exchange, piece, now);
                    }
                    return;
                }
                // Bytes that nobody asked for: whatever they are, they are no answer to a request of ours.
                UpstreamPhase::Idle if !input.is_empty() => {
                    if let Some(cluster) = self.clusters.get(conn.cluster) {
                        cluster.stats.inc(ClusterStat::CxProtocolError);
                    }
                    discard(&mut self.recorder, input);
                    return self.close_upstream(id, now);
                }
                UpstreamPhase::Http2(_) => return self.recv_streams_up(id, input, now),
                UpstreamPhase::Idle | UpstreamPhase::Connecting | UpstreamPhase::Closed => return discard(&mut self.recorder, input),
            }
        }
    }

    /// Takes one piece of a response body; false if nothing more can be done with the input.
    fn recv_response_body(&mut self, id: ConnId, exchange_id: ExchangeId, input: &mut BytesMut, now: Instant) -> bool {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return false };
        let Some(exchange) = self.exchanges.get_mut(exchange_id) else { return false };
        let limits = self.clusters.get(conn.cluster).map(|cluster| cluster.config.limits).unwrap_or_default();
        let framing = conn.body.framing(input, limits, &mut exchange.response_trailers);
        let piece = framing.map(|framing| {
            skip(&mut self.recorder, input, framing);
            conn.body.take(input)
        });
        match piece {
            Ok(Piece::More) => false,
            Ok(Piece::Data(piece)) => {
                log_body(&mut self.recorder, &piece);
                let done = conn.body.is_done();
                self.response_data(exchange_id, piece, now);
                if done {
                    self.response_end(exchange_id, id, input.is_empty(), now);
                }
                true
            }
            Ok(Piece::End) => {
                self.response_end(exchange_id, id, input.is_empty(), now);
                true
            }
            Err(_) => {
                refuse(&mut self.recorder, input);
                self.protocol_error(exchange_id, id, now);
                false
            }
        }
    }

    /// The upstream sent what is not HTTP, or not allowed.
    pub(super) fn protocol_error(&mut self, exchange: ExchangeId, conn: ConnId, now: Instant) {
        if let Some(Connection::Upstream(conn)) = self.connections.get(conn)
            && let Some(cluster) = self.clusters.get(conn.cluster)
        {
            cluster.stats.inc(ClusterStat::CxProtocolError);
            cluster.stats.inc(ClusterStat::RqRxReset);
        }
        self.attempt_failed(exchange, Failure::Protocol, now);
    }

    fn response_began(&mut self, exchange: ExchangeId) {
        if let Some(exchange) = self.exchanges.get_mut(exchange) {
            exchange.attempt.answered = true;
        }
    }

    pub(super) fn eof_upstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        conn.wire.eof = true;
        match &conn.phase {
            UpstreamPhase::Head(exchange, partial) => {
                let (exchange, whole) = (*exchange, partial.is_empty());
                self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                // An end in the middle of a head is a broken message, not a closed connection.
                self.attempt_failed(exchange, if whole { Failure::Closed } else { Failure::Protocol }, now);
            }
            UpstreamPhase::Body(exchange) => {
                let exchange = *exchange;
                if conn.body.finish() {
                    self.response_end(exchange, id, true, now);
                } else {
                    self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                    self.attempt_failed(exchange, Failure::Protocol, now);
                }
            }
            UpstreamPhase::Tunnel(exchange) => {
                let exchange = *exchange;
                self.tunnel_eof_from_upstream(exchange, now);
            }
            UpstreamPhase::Idle => {
                self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                self.close_upstream(id, now);
            }
            UpstreamPhase::Http2(_) => {
                if let Some(session) = conn.session() {
                    session.recv_eof();
                }
                self.drive_up(id, now);
            }
            UpstreamPhase::Connecting | UpstreamPhase::Closed => {}
        }
    }

    pub(super) fn closed_upstream(&mut self, id: ConnId, why: IoFault, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        match &conn.phase {
            UpstreamPhase::Connecting => return self.connect_failed(id, Some(ConnectError::new("connection reset")), now),
            UpstreamPhase::Head(exchange, _) => {
                let exchange = *exchange;
                self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                self.attempt_failed(exchange, Failure::Closed, now);
            }
            UpstreamPhase::Body(exchange) => {
                let exchange = *exchange;
                self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                self.attempt_failed(exchange, Failure::Closed, now);
            }
            UpstreamPhase::Tunnel(exchange) => {
                let exchange = *exchange;
                self.end_tunnel(exchange, now);
            }
            UpstreamPhase::Http2(_) => {
                self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                self.take_rest(id, now);
                self.fail_streams(id, now);
            }
            UpstreamPhase::Idle | UpstreamPhase::Closed => {
                if why == IoFault::Reset {
                    self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
                }
            }
        }
        self.remove_upstream(id, now);
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

    fn remove_upstream(&mut self, id: ConnId, now: Instant) {
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
            let pool = host.pool(conn.pool);
            pool.connections -= 1;
            if matches!(conn.phase, UpstreamPhase::Connecting) {
                pool.connecting -= 1;
                pool.expected -= conn.carries;
            }
            pool.forget_idle(id);
        }
        cluster.hosts.forget_if_unused(conn.host);
        self.open_connections(conn.cluster, conn.host, conn.pool, now);
        self.forget_cluster_if_unused(conn.cluster);
    }

    pub(super) fn fire_upstream(&mut self, id: ConnId, why: UpstreamDeadline, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        let Some(cluster) = self.clusters.get(conn.cluster) else { return };
        match (why, &conn.phase) {
            (UpstreamDeadline::Connect, UpstreamPhase::Connecting) => self.connect_failed(id, None, now),
            (UpstreamDeadline::Idle, UpstreamPhase::Idle) => {
                cluster.stats.inc(ClusterStat::CxIdleTimeout);
                self.close_upstream(id, now);
            }
            (UpstreamDeadline::Idle, UpstreamPhase::Closed) => self.drop_upstream(id, now),
            (UpstreamDeadline::Idle | UpstreamDeadline::Lifetime, UpstreamPhase::Http2(_)) => {
                let idle = why == UpstreamDeadline::Idle;
                cluster.stats.inc(if idle { ClusterStat::CxIdleTimeout } else { ClusterStat::CxMaxDuration });
                self.retire_upstream(id, now);
            }
            (UpstreamDeadline::Keepalive, _) => self.keep_alive_up(id, now),
            (UpstreamDeadline::Lifetime, UpstreamPhase::Idle) => {
                cluster.stats.inc(ClusterStat::CxMaxDuration);
                self.close_upstream(id, now);
            }
            (UpstreamDeadline::Lifetime, _) => {
                cluster.stats.inc(ClusterStat::CxMaxDuration);
                conn.last = true;
            }
            (UpstreamDeadline::Connect | UpstreamDeadline::Idle, _) => {}
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
                let idle = hosts.iter().find_map(|host| cluster.hosts.get_mut(*host)?.pools.iter_mut().find_map(Pool::take_oldest_idle));
                let is_unused = |id: &ConnId| self.connections.get(*id).is_some_and(|conn| conn.open_streams() == Some(0));
                let unused = || hosts.iter().find_map(|host| cluster.hosts.get(*host)?.idle().into_iter().find(is_unused));
                if let Some(idle) = idle.or_else(unused) {
                    self.close_upstream(idle, now);
                }
            }
            for host in hosts {
                for kind in PoolKind::ALL {
                    self.open_connections(id, host, kind, now);
                }
            }
        }
    }

    pub(super) fn pause_upstream(&mut self, id: ConnId) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        if conn.wire.readable {
            if let Some(cluster) = self.clusters.get(conn.cluster) {
                cluster.stats.inc(ClusterStat::FlowPausedReading);
            }
            self.out.set_readable(id, &mut conn.wire, false);
        }
    }

    pub(super) fn resume_upstream(&mut self, id: ConnId) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        if !conn.wire.readable && !is_planted(Plant::LostWakeUp) {
            if let Some(cluster) = self.clusters.get(conn.cluster) {
                cluster.stats.inc(ClusterStat::FlowResumedReading);
            }
            self.out.set_readable(id, &mut conn.wire, true);
        }
    }

    /// A fresh buffer for a head, for the connection that carries `exchange`.
    pub(super) fn await_next_head(&mut self, id: ConnId, exchange: ExchangeId) {
        if let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) {
            conn.phase = UpstreamPhase::Head(exchange, PartialHead::default());
        }
    }
}

/// Whether two connections are encrypted in the same way.
pub(super) fn is_same_security(one: &Option<Arc<UpstreamTls>>, other: &Option<Arc<UpstreamTls>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn count_handshake(stats: &Block, tls: Option<&TlsInfo>) {
    let Some(tls) = tls else { return };
    stats.inc(ClusterStat::SslHandshake);
    if tls.peer.is_none() {
        stats.inc(ClusterStat::SslNoCertificate);
    }
    if tls.resumed {
        stats.inc(ClusterStat::SslSessionReused);
    }
}

fn fault_stat(fault: TlsFault) -> ClusterStat {
    match fault {
        TlsFault::Protocol => ClusterStat::SslConnectionError,
        TlsFault::NoCertificate => ClusterStat::SslFailNoCert,
        TlsFault::Untrusted => ClusterStat::SslFailError,
        TlsFault::Name => ClusterStat::SslFailSan,
        TlsFault::Pin => ClusterStat::SslFailHash,
    }
}
