//! What comes on connections to hosts, and what it makes of the exchange that waits for it.

use super::taped::{discard, log_body, log_bytes, refuse, skip};
use super::{Action, ConnectError, Engine, IoFault, Transport};
use crate::connection::{Connection, HeadInput, PartialHead, UpstreamDeadline, UpstreamPhase};
use crate::exchange::Failure;
use crate::http1::body::Piece;
use crate::id::{ConnId, ExchangeId};
use crate::plant::{Plant, is_planted};
use crate::stats::{Block, ClusterStat, Timing};
use crate::time::Instant;
use crate::timer::Owner;
use crate::tls_info::{TlsFault, TlsInfo};
use bytes::{Buf, BytesMut};

impl Engine {
    pub(super) fn connected(&mut self, id: ConnId, result: Result<Transport, ConnectError>, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        if !matches!(conn.phase, UpstreamPhase::Connecting) {
            return;
        }
        conn.deadlines.clear(UpstreamDeadline::Connect);
        (conn.addresses, conn.tls) = match result {
            Ok(transport) => (Some(transport.addresses), transport.tls),
            Err(error) if error.tls.is_some() && is_planted(Plant::UnverifiedIsOpen) => (None, None),
            Err(error) => return self.connect_failed(id, Some(error), now),
        };
        conn.connected = Some(now);
        let (cluster_id, host_id, since) = (conn.cluster, conn.host, conn.since);
        let (key, carries) = (conn.pool.clone(), conn.carries);
        let Some(cluster) = self.clusters.get_mut(cluster_id) else { return };
        count_handshake(&cluster.stats, conn.tls.as_deref());
        cluster.stats.time(Timing::Connection, now.since(since).as_millis() as u64);
        if let Some(lifetime) = cluster.config.max_connection_duration {
            conn.deadlines.set(UpstreamDeadline::Lifetime, now + lifetime, Owner::Upstream(id), &mut self.timers);
        }
        if let Some(host) = cluster.hosts.get_mut(host_id) {
            host.pool(&key).connecting -= 1;
            host.pool(&key).expected -= carries;
            host.shared.connections_total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.begin_protocol(id, now);
        self.go_on(now);
    }

    fn connect_failed(&mut self, id: ConnId, error: Option<ConnectError>, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get(id) else { return };
        let (cluster_id, host_id, key, timeout) = (conn.cluster, conn.host, conn.pool.clone(), error.is_none());
        let Some(cluster) = self.clusters.get_mut(cluster_id) else { return };
        cluster.stats.inc(if timeout { ClusterStat::CxConnectTimeout } else { ClusterStat::CxConnectFail });
        if let Some(fault) = error.as_ref().and_then(|error| error.tls) {
            cluster.stats.inc(fault_stat(fault));
        }
        let mut waiting = None;
        if let Some(host) = cluster.hosts.get_mut(host_id) {
            host.shared.connect_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            waiting = host.pool(&key).first_waiting();
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

fn count_handshake(stats: &Block, tls: Option<&TlsInfo>) {
    let Some(tls) = tls else { return };
    stats.inc(ClusterStat::SslHandshake);
    stats.count_tls(tls);
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
