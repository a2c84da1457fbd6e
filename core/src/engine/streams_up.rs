//! HTTP/2 connections to upstream hosts: streams begin, are answered and end.

use super::Engine;
use super::pool::is_same_security;
use super::taped::{discard, log_run};
use crate::connection::{Connection, UpstreamDeadline, UpstreamPhase};
use crate::exchange::Failure;
use crate::http::Scheme;
use crate::http1::framing::Framing;
use crate::http2::{Alive, ResetBy, Session, SessionEvent, StreamKey, head};
use crate::id::{ConnId, ExchangeId};
use crate::plant::{Plant, is_planted};
use crate::stats::ClusterStat;
use crate::time::Instant;
use crate::timer::Owner;
use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, Response};

impl Engine {
    /// A connection is there: begins to speak what the cluster wants on it.
    pub(super) fn begin_protocol(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        let Some(cluster) = self.clusters.get_mut(conn.cluster) else { return };
        let key = conn.pool.clone();
        let Some(options) = cluster.config.protocol.chosen(key.kind, conn.tls.as_ref().map(|tls| &*tls.alpn)) else {
            cluster.stats.inc(ClusterStat::CxHttp1Total);
            if let Some(host) = cluster.hosts.get_mut(conn.host) {
                host.pool(&key).is_http1 = true;
            }
            let (cluster, host) = (conn.cluster, conn.host);
            self.release_upstream(id, now);
            // Who counted on many streams here needs connections of their own.
            return self.open_connections(cluster, host, &key, now);
        };
        cluster.stats.inc(ClusterStat::CxHttp2Total);
        let session = Session::client(options);
        if let Some(look) = session.keep_alive_begins_in() {
            conn.deadlines.set(UpstreamDeadline::Keepalive, now + look, Owner::Upstream(id), &mut self.timers);
        }
        conn.phase = UpstreamPhase::Http2(Box::new(session));
        self.queue_transmit(id);
        self.offer_room(id, now);
    }

    /// Gives streams to those who wait, and the connection its place in the pool.
    pub(super) fn offer_room(&mut self, id: ConnId, now: Instant) {
        let mut refused = Vec::new();
        while let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) {
            let used = conn.requests > 0;
            let (cluster_id, host_id, key, last, priority) = (conn.cluster, conn.host, conn.pool.clone(), conn.last, conn.priority);
            let security = conn.security.clone();
            let Some(session) = conn.session() else { break };
            let room = if last { 0 } else { session.room() };
            let idle = session.streams() == 0;
            let over = session.is_leaving() || last;
            let Some(cluster) = self.clusters.get_mut(cluster_id) else { break };
            let (breakers, shared) = (&cluster.config.breakers[priority], &cluster.shared.priorities[priority]);
            let is_full = || shared.starved.get() > 0 && shared.connections.get() >= breakers.max_connections;
            // Somebody starves for a connection, and nobody uses this one.
            let wanted_elsewhere = idle && self.answers.is(is_full);
            let (removed, stale) = (cluster.removed, !is_same_security(&security, &cluster.config.tls));
            let Some(host) = cluster.hosts.get_mut(host_id) else { break };
            // What was encrypted in another way, or not at all, is not for requests of the present config.
            let over = over || stale;
            let exchanges = &self.exchanges;
            let suits = |next: &ExchangeId| !used || exchanges.get(*next).is_none_or(|exchange| !exchange.attempt.fresh);
            // Who waits for a host that is to go is still served by it: nothing else would.
            let next = if room > 0 && !over { host.pool(&key).next_waiting(suits) } else { None };
            let unwanted = over || removed || host.removed;
            host.pool(&key).set_shared(id, room > 0 && !unwanted);
            let Some(next) = next else {
                if idle && (unwanted || wanted_elsewhere) {
                    self.close_upstream(id, now);
                    break;
                }
                let idle_timeout = cluster.config.idle_timeout.filter(|_| idle);
                if let (Some(idle), Some(Connection::Upstream(conn))) = (idle_timeout, self.connections.get_mut(id)) {
                    conn.deadlines.set(UpstreamDeadline::Idle, now + idle, Owner::Upstream(id), &mut self.timers);
                }
                break;
            };
            if !self.assign(next, id, now) {
                refused.push(next);
            }
        }
        for exchange in refused {
            self.attempt_failed(exchange, Failure::Overflow, now);
        }
    }

    /// Sends an exchange's request head on a stream of its own.
    pub(super) fn assign_stream(&mut self, id: ExchangeId, conn_id: ConnId, now: Instant) -> bool {
        let protocol = self.upgrade_protocol(id);
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return false };
        let scheme = if conn.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let tunnels = protocol.is_some() || exchange.request.is_connect();
        let whole = exchange.request_passed() && exchange.body.is_empty() && exchange.trailers.is_empty() && !tunnels;
        let failure = match head::request(&exchange.request, protocol.as_deref(), scheme) {
            Err(_) => Some(Failure::Protocol),
            Ok(request) => {
                exchange.record.upstream_head_sent += exchange.request.fields.byte_size() as u64;
                match conn.session().map(|session| session.open(request, whole, now)) {
                    Some(Ok(stream)) => {
                        exchange.attempt.stream = Some(stream);
                        if let Some(session) = conn.session() {
                            session.set_exchange(stream, id);
                        }
                        None
                    }
                    Some(Err(error)) if error.is_go_away() || error.is_io() || error.reason().is_some() => Some(Failure::Refused),
                    Some(Err(_)) => Some(Failure::Protocol),
                    None => Some(Failure::Refused),
                }
            }
        };
        self.queue_transmit(conn_id);
        match failure {
            None => {
                self.offer_stream_place(conn_id);
                self.arm_try(id, now);
                self.explain_sent(id, now);
                if whole {
                    if let Some(exchange) = self.exchanges.get_mut(id) {
                        exchange.record.upstream_end = Some(now);
                    }
                } else if !tunnels {
                    self.send_held_body(id, now);
                }
            }
            Some(failure) => {
                // Its connection is no carrier that could be aborted.
                let _ = self.detach(id);
                self.attempt_failed(id, failure, now);
            }
        }
        true
    }

    /// Keeps the connection's place in the pool in step with its room.
    fn offer_stream_place(&mut self, id: ConnId) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        let (cluster, host, key, last) = (conn.cluster, conn.host, conn.pool.clone(), conn.last);
        let has_room = !last && conn.session().is_some_and(|session| session.room() > 0);
        if let Some(host) = self.clusters.get_mut(cluster).and_then(|cluster| cluster.hosts.get_mut(host)) {
            host.pool(&key).set_shared(id, has_room);
        }
    }

    pub(super) fn recv_streams_up(&mut self, id: ConnId, input: &mut BytesMut, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return discard(&mut self.recorder, input) };
        let UpstreamPhase::Http2(session) = &mut conn.phase else { return };
        if input.is_empty() {
            return;
        }
        if !session.wants_input() {
            return self.out.set_readable(id, &mut conn.wire, false);
        }
        let recorder = &mut self.recorder;
        session.recv(input.split().freeze(), now, |run| log_run(recorder, run));
        // It does too much for nothing: nothing of that was read, nor will be.
        if let Some(breach) = session.breach() {
            return self.session_closed_up(id, Some(&breach.to_string()), now);
        }
        // A GOAWAY among it counts at once: what it leaves out must not be sent here again.
        self.offer_stream_place(id);
        self.drive_up(id, now);
    }

    /// The connection is broken. What has come before that is still an answer.
    pub(super) fn take_rest(&mut self, id: ConnId, now: Instant) {
        let Some(session) = self.connections.get_mut(id).and_then(Connection::session) else { return };
        session.recv_eof();
        loop {
            let Some(session) = self.connections.get_mut(id).and_then(Connection::session) else { return };
            match session.poll_event(now) {
                None | Some(SessionEvent::Closed { .. }) => return,
                Some(event) => self.handle_event_up(id, event, now),
            }
        }
    }

    /// Lets the session work until it waits for somebody.
    pub(super) fn drive_up(&mut self, id: ConnId, now: Instant) {
        loop {
            let Some(session) = self.connections.get_mut(id).and_then(Connection::session) else { return };
            let Some(event) = session.poll_event(now) else { break };
            match event {
                SessionEvent::Closed { error } => return self.session_closed_up(id, error.as_deref(), now),
                event => self.handle_event_up(id, event, now),
            }
        }
        // The peer may have raised its limit of streams, or said that it leaves.
        self.offer_room(id, now);
        self.queue_transmit_if_ready(id);
    }

    fn handle_event_up(&mut self, id: ConnId, event: SessionEvent, now: Instant) {
        match event {
            SessionEvent::Interim { stream, head } => self.stream_interim(id, stream, &head, now),
            SessionEvent::Response { stream, head, end } => self.stream_response(id, stream, &head, end, now),
            SessionEvent::Data { stream, piece } => self.stream_response_data(id, stream, piece, now),
            SessionEvent::End { stream, trailers } => self.stream_response_end(id, stream, trailers.as_deref(), now),
            SessionEvent::Reset { stream, by } => self.stream_failed(id, stream, by, now),
            SessionEvent::Request { .. } | SessionEvent::Closed { .. } => {}
        }
    }

    fn exchange_up(&mut self, conn: ConnId, stream: StreamKey) -> Option<ExchangeId> {
        self.connections.get_mut(conn)?.session()?.exchange(stream)
    }

    /// Most fields of a head or a trailer section that the exchange's cluster may send.
    fn max_fields(&self, id: ExchangeId) -> usize {
        let cluster = self.exchanges.get(id).and_then(|exchange| self.clusters.get(exchange.attempt.cluster?));
        cluster.map_or(crate::limit::HEADERS, |cluster| cluster.config.limits.fields)
    }

    fn read_response(&mut self, id: ExchangeId, head: &Response<()>) -> bool {
        let max = self.max_fields(id);
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        exchange.attempt.answered = true;
        head::read_response(head, max, &mut exchange.response).is_ok()
    }

    fn stream_interim(&mut self, conn: ConnId, stream: StreamKey, head: &Response<()>, now: Instant) {
        let Some(id) = self.exchange_up(conn, stream) else { return };
        match self.read_response(id, head) {
            true => self.interim_response(conn, id, now),
            false => self.protocol_error(id, conn, now),
        }
    }

    fn stream_response(&mut self, conn: ConnId, stream: StreamKey, head: &Response<()>, end: bool, now: Instant) {
        let Some(id) = self.exchange_up(conn, stream) else { return };
        if !self.read_response(id, head) {
            return self.protocol_error(id, conn, now);
        }
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let bodyless = exchange.request.is_head() || matches!(exchange.response.status, 204 | 304);
        let framing = match head::framing(&exchange.response.fields, end) {
            _ if bodyless => Framing::Empty,
            // An HTTP/1 client must be told that there is none.
            Framing::Empty => Framing::Length(0),
            framing => framing,
        };
        self.answer(id, framing, now);
        let still = self.exchanges.get(id).is_some_and(|exchange| exchange.attempt.stream == Some(stream));
        if end && still {
            self.stream_response_end(conn, stream, None, now);
        }
    }

    fn stream_response_data(&mut self, conn: ConnId, stream: StreamKey, piece: Bytes, now: Instant) {
        let Some(id) = self.exchange_up(conn, stream) else { return };
        if self.exchanges.get(id).is_some_and(|exchange| exchange.tunnel) {
            self.tunnel_to_client(id, piece, now);
        } else {
            self.response_data(id, piece, now);
        }
    }

    fn stream_response_end(&mut self, conn: ConnId, stream: StreamKey, trailers: Option<&HeaderMap>, now: Instant) {
        let Some(id) = self.exchange_up(conn, stream) else { return };
        let max = self.max_fields(id);
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.tunnel {
            return self.tunnel_eof_from_upstream(id, now);
        }
        let read = trailers.map_or(Ok(()), |trailers| head::read_trailers(trailers, max, &mut exchange.response_trailers));
        match read {
            Ok(()) => self.response_end(id, conn, true, now),
            Err(_) => self.protocol_error(id, conn, now),
        }
    }

    fn stream_failed(&mut self, conn_id: ConnId, stream: StreamKey, by: ResetBy, now: Instant) {
        let Some(id) = self.exchange_up(conn_id, stream) else { return };
        let failure = match by {
            ResetBy::Refused if is_planted(Plant::GoawayOffByOne) => Failure::Reset,
            ResetBy::Refused => Failure::Refused,
            ResetBy::Peer(_) => Failure::Reset,
            ResetBy::Us(_) => Failure::Protocol,
            ResetBy::Closed => Failure::Closed,
        };
        if let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id)
            && let Some(cluster) = self.clusters.get(conn.cluster)
        {
            cluster.stats.inc(ClusterStat::RqRxReset);
        }
        if self.exchanges.get(id).is_some_and(|exchange| exchange.tunnel) {
            return self.end_tunnel(id, now);
        }
        self.attempt_failed(id, failure, now);
    }

    /// The exchange is done with its stream.
    pub(super) fn end_stream_up(&mut self, conn_id: ConnId, stream: StreamKey, request_done: bool, tunnel: bool) {
        if let Some(session) = self.connections.get_mut(conn_id).and_then(Connection::session) {
            // RFC 9113 section 8.1: the rest of a request whose answer is complete is of no interest.
            if request_done && (tunnel || session.queued(stream) == 0) {
                session.release(stream)
            } else {
                session.reset(stream, Reason::NO_ERROR)
            }
            self.queue_transmit(conn_id);
            // Once for all streams that end with this input.
            self.drive_later(conn_id);
        }
    }

    fn session_closed_up(&mut self, id: ConnId, error: Option<&str>, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        let eof = conn.wire.eof;
        if let (true, false, Some(cluster)) = (error.is_some(), eof, self.clusters.get(conn.cluster)) {
            cluster.stats.inc(ClusterStat::CxProtocolError);
        }
        if eof {
            self.count_destroy(id, ClusterStat::CxDestroyRemote, ClusterStat::CxDestroyRemoteWithActive);
        }
        // What it still has to say is an error code: that is worth sending.
        let digest = self.blocks.digest.as_mut();
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        if let UpstreamPhase::Http2(session) = &mut conn.phase {
            let output = session.take_output(digest);
            conn.wire.out.push_framed(output, &mut self.blocks);
        }
        self.fail_streams(id, now);
        self.close_upstream(id, now);
    }

    /// All exchanges on the connection fail, because it is over.
    pub(super) fn fail_streams(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        if !matches!(conn.phase, UpstreamPhase::Http2(_)) {
            return;
        }
        let UpstreamPhase::Http2(session) = std::mem::replace(&mut conn.phase, UpstreamPhase::Closed) else { return };
        let (cluster, host, key) = (conn.cluster, conn.host, conn.pool.clone());
        if let Some(host) = self.clusters.get_mut(cluster).and_then(|cluster| cluster.hosts.get_mut(host)) {
            host.pool(&key).forget_idle(id);
        }
        for exchange in session.exchanges() {
            match self.exchanges.get(exchange).is_some_and(|exchange| exchange.tunnel) {
                true => self.end_tunnel(exchange, now),
                false => self.attempt_failed(exchange, Failure::Closed, now),
            }
        }
    }

    /// Takes no new exchanges on the connection; closes it now if it has none.
    pub(super) fn retire_upstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        conn.last = true;
        match conn.session() {
            None => self.close_upstream(id, now),
            Some(session) => {
                session.leave();
                self.offer_room(id, now);
            }
        }
    }

    /// `connection_keepalive`: asks whether the host is there, or has had no answer.
    pub(super) fn keep_alive_up(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
        match conn.session().and_then(Session::keep_alive) {
            None => {}
            Some(Alive::LookIn(time)) => {
                conn.deadlines.set(UpstreamDeadline::Keepalive, now + time, Owner::Upstream(id), &mut self.timers);
                self.queue_transmit(id);
            }
            Some(Alive::Gone) => {
                if let Some(cluster) = self.clusters.get(conn.cluster) {
                    cluster.stats.inc(ClusterStat::Http2KeepaliveTimeout);
                }
                self.drop_upstream(id, now);
            }
        }
    }
}
