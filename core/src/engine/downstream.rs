//! Connections from clients: admission, input, end.

use super::taped::{discard, log_body, log_bytes, refuse, skip};
use super::{Action, Engine, IoFault, Refused};
use crate::buffer::above_high;
use crate::config::Codec;
use crate::connection::{Connection, Downstream, DownstreamDeadline, DownstreamPhase, HeadInput, PartialHead, Wire};
use crate::http1::body::{Decoder, Piece};
use crate::http1::{Reject, parse};
use crate::http2::PREFACE_HEAD;
use crate::id::{ConnId, ListenerId};
use crate::limit;
use crate::listener::{Arrival, Hello};
use crate::plant::{Plant, is_planted};
use crate::record::Addresses;
use crate::stats::{HttpStat, ListenerStat, Timing};
use crate::time::Instant;
use crate::timer::{Deadlines, Owner};
use bytes::{Buf, BytesMut};
use std::sync::Arc;

impl Engine {
    pub(super) fn accept(&mut self, on: ListenerId, addresses: Addresses, now: Instant) -> Result<ConnId, Refused> {
        let listener = self.listeners.get_mut(on).ok_or(Refused::UnknownListener)?;
        let chain = match listener.chains.inspecting {
            true => None,
            false => listener.chains.choose(&Arrival { addresses, hello: Hello::default() }),
        };
        let Some(manager) = listener.chains.get(chain).or_else(|| listener.chains.any().filter(|_| listener.chains.inspecting)) else {
            listener.stats.inc(ListenerStat::NoFilterChain);
            return Err(Refused::NoFilterChain);
        };
        let manager = Arc::clone(&manager.manager);
        let max = u32::try_from(self.config.max_connections).unwrap_or(u32::MAX);
        if !self.answers.acquire(&self.shared.connections, max) {
            listener.stats.inc(ListenerStat::GlobalCxOverflow);
            return Err(Refused::GlobalLimit);
        }
        let max = listener.config.max_connections.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(u32::MAX));
        if !self.answers.acquire(&listener.count, max) {
            self.shared.connections.release();
            listener.stats.inc(ListenerStat::CxOverflow);
            return Err(Refused::ListenerLimit);
        }
        listener.connections += 1;
        listener.stats.inc(ListenerStat::CxTotal);
        listener.stats.inc(ListenerStat::CxActive);
        if let Some(chain) = chain {
            listener.chains.join(chain);
        }
        let conn = Downstream {
            wire: Wire::default(),
            listener: on,
            addresses,
            number: self.answers.number(|| self.shared.number_connection()),
            version: None,
            phase: DownstreamPhase::Head(PartialHead::default()),
            body: Decoder::default(),
            deadlines: Deadlines::default(),
            exchange_alarm: Instant::NEVER,
            idle_since: now,
            since: now,
            requests: 0,
            last: false,
            told: false,
            patience: usize::MAX,
            client_closes: false,
            manager,
            chain,
            tls: None,
        };
        let id = self.connections.insert(Connection::Downstream(Box::new(conn)));
        self.begin_opening(id, now);
        self.forget_dead_timers();
        Ok(id)
    }

    /// Deadlines of a connection that was just accepted.
    pub(super) fn arm_downstream(&mut self, id: ConnId, now: Instant) {
        self.arm_idle(id);
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if let Some(lifetime) = conn.manager.config.max_connection_duration {
            conn.deadlines.set(DownstreamDeadline::Lifetime, now + lifetime, Owner::Downstream(id), &mut self.timers);
        }
    }

    pub(super) fn recv_downstream(&mut self, id: ConnId, input: &mut BytesMut, now: Instant) {
        if let Some(Connection::Downstream(conn)) = self.connections.get(id) {
            conn.manager.stats.add(HttpStat::CxRxBytes, input.len() as u64);
        }
        loop {
            let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return discard(&mut self.recorder, input) };
            match &mut conn.phase {
                DownstreamPhase::Http2(_) => return self.recv_streams_down(id, input, now),
                DownstreamPhase::Head(_) => {
                    if !conn.wire.readable || !self.recv_head(id, input, now) {
                        return;
                    }
                }
                DownstreamPhase::Exchange(_) if conn.body.is_done() => {
                    // The next request waits its turn where it is.
                    if !input.is_empty() {
                        self.out.set_readable(id, &mut conn.wire, false);
                    }
                    return;
                }
                DownstreamPhase::Exchange(_) => {
                    if !conn.wire.readable || !self.recv_body(id, input, now) {
                        return;
                    }
                }
                DownstreamPhase::Tunnel(exchange) => {
                    let exchange = *exchange;
                    if !input.is_empty() {
                        let piece = input.split().freeze();
                        log_body(&mut self.recorder, &piece);
                        self.tunnel_to_upstream(exchange, piece, now);
                    }
                    return;
                }
                DownstreamPhase::Lingering { until } => {
                    // As long as it sends, it may not have seen our answer: closing now would take it away.
                    let end = (now + conn.manager.config.delayed_close).min(*until);
                    conn.patience = conn.patience.saturating_sub(input.len());
                    let impatient = conn.patience == 0;
                    discard(&mut self.recorder, input);
                    if impatient {
                        return self.drop_downstream(id, now);
                    }
                    let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
                    if !conn.wire.closing {
                        conn.deadlines.set(DownstreamDeadline::Linger, end, Owner::Downstream(id), &mut self.timers);
                    }
                    return;
                }
            }
        }
    }

    /// Looks for a request head; false if nothing more can be done with the input.
    fn recv_head(&mut self, id: ConnId, input: &mut BytesMut, now: Instant) -> bool {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return false };
        let DownstreamPhase::Head(partial) = &mut conn.phase else { return false };
        if partial.is_empty() {
            let empty = parse::leading_crlf(input);
            skip(&mut self.recorder, input, empty);
        }
        if input.is_empty() {
            if partial.is_empty() && conn.deadlines.get(DownstreamDeadline::Idle).is_none() {
                self.arm_idle(id);
            }
            return false;
        }
        let before = input.len();
        match partial.feed(input, conn.manager.config.limits.bytes) {
            Ok(HeadInput::More) => {
                log_bytes(&mut self.recorder, partial.last(before));
                self.await_rest_of_head(id, now);
                false
            }
            Ok(HeadInput::InInput(end)) => {
                log_bytes(&mut self.recorder, &input[..end]);
                if self.is_preface(id, &input[..end]) {
                    self.start_http2(id, &input[..end], now);
                    input.advance(end);
                    return true;
                }
                self.begin_exchange(id, Ok(&input[..end]), now);
                input.advance(end.min(input.len()));
                true
            }
            // An empty line that came in pieces (RFC 9112 section 2.2).
            Ok(HeadInput::Assembled(head)) if &head[..] == b"\r\n" => {
                log_bytes(&mut self.recorder, &head[head.len() - (before - input.len())..]);
                conn.deadlines.clear(DownstreamDeadline::Head);
                true
            }
            Ok(HeadInput::Assembled(head)) => {
                log_bytes(&mut self.recorder, &head[head.len() - (before - input.len())..]);
                match self.is_preface(id, &head) {
                    true => self.start_http2(id, &head, now),
                    false => self.begin_exchange(id, Ok(&head), now),
                }
                true
            }
            Err(reject) => {
                refuse(&mut self.recorder, input);
                self.begin_exchange(id, Err(reject), now);
                false
            }
        }
    }

    fn await_rest_of_head(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        conn.deadlines.clear(DownstreamDeadline::Idle);
        if conn.deadlines.get(DownstreamDeadline::Head).is_some() {
            return;
        }
        // `request_timeout` covers the head as well as the body.
        let config = &conn.manager.config;
        let timeout = config.request_headers_timeout.into_iter().chain(config.request_timeout).min();
        if let Some(timeout) = timeout {
            conn.deadlines.set(DownstreamDeadline::Head, now + timeout, Owner::Downstream(id), &mut self.timers);
        }
    }

    /// Takes one piece of a request body; false if nothing more can be done with the input.
    fn recv_body(&mut self, id: ConnId, input: &mut BytesMut, now: Instant) -> bool {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return false };
        let Some(exchange_id) = conn.exchange() else { return false };
        let Some(exchange) = self.exchanges.get_mut(exchange_id) else { return false };
        let framing = conn.body.framing(input, conn.manager.config.limits, &mut exchange.trailers);
        let piece = framing.map(|framing| {
            skip(&mut self.recorder, input, framing);
            conn.body.take(input)
        });
        match piece {
            Ok(Piece::More) => false,
            Ok(Piece::Data(piece)) => {
                log_body(&mut self.recorder, &piece);
                let done = conn.body.is_done();
                self.request_data(exchange_id, piece, now);
                if done {
                    self.request_end(exchange_id, now);
                }
                true
            }
            Ok(Piece::End) => {
                self.request_end(exchange_id, now);
                true
            }
            Err(reject) => {
                refuse(&mut self.recorder, input);
                self.reject(exchange_id, reject, now);
                false
            }
        }
    }

    pub(super) fn eof_downstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        conn.wire.eof = true;
        match conn.phase {
            DownstreamPhase::Head(_) | DownstreamPhase::Lingering { .. } => self.out.close(id, &mut conn.wire),
            // The request is whole: the client waits for its answer with its sending side closed.
            DownstreamPhase::Exchange(_) if conn.body.is_done() && !is_planted(Plant::HalfCloseIsGone) => conn.last = true,
            DownstreamPhase::Exchange(exchange) => {
                self.abandon(exchange, now);
                self.drop_downstream(id, now);
            }
            DownstreamPhase::Tunnel(exchange) => self.tunnel_eof_from_client(exchange, now),
            DownstreamPhase::Http2(ref mut session) => {
                session.recv_eof();
                self.drive_down(id, now);
            }
        }
    }

    pub(super) fn closed_downstream(&mut self, id: ConnId, why: IoFault, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let (exchange, stats) = (conn.exchange(), Arc::clone(&conn.manager.stats));
        let busy = conn.session().is_some_and(|session| session.streams() > 0);
        if conn.chain.is_some() {
            stats.inc(match why {
                IoFault::Closed => HttpStat::CxDestroyLocal,
                IoFault::Reset => HttpStat::CxDestroyRemote,
            });
        }
        if let Some(exchange) = exchange {
            stats.inc(HttpStat::CxDestroyRemoteActive);
            self.abandon(exchange, now);
        }
        if busy {
            stats.inc(HttpStat::CxDestroyRemoteActive);
            self.abandon_streams(id, now);
        }
        self.forget_downstream(id, now);
    }

    /// Closes a client's connection now, and forgets it.
    pub(super) fn drop_downstream(&mut self, id: ConnId, now: Instant) {
        if self.connections.contains_key(id) {
            self.out.actions.push_back(Action::Drop(id));
            self.forget_downstream(id, now);
        }
    }

    pub(super) fn forget_downstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(mut conn)) = self.connections.remove(id) else { return };
        conn.wire.out.clear(&mut self.blocks);
        if !(is_planted(Plant::ClientCountLeak) && conn.wire.eof) {
            self.shared.connections.release();
        }
        let stats = &conn.manager.stats;
        // Who left before its chain was known was nobody's.
        if conn.chain.is_some() {
            stats.inc(HttpStat::CxDestroy);
            conn.gauges().for_each(|gauge| stats.dec(gauge));
        }
        stats.time(Timing::Connection, now.since(conn.since).as_millis() as u64);
        if let Some(listener) = self.listeners.get_mut(conn.listener) {
            listener.connections -= 1;
            listener.chains.left(conn.chain);
            listener.count.release();
            listener.stats.dec(ListenerStat::CxActive);
            listener.stats.inc(ListenerStat::CxDestroy);
            listener.stats.time(Timing::Connection, now.since(conn.since).as_millis() as u64);
        }
        self.settle_drain(conn.listener);
    }

    /// The exchange on this connection has ended: serve the next request, or close.
    pub(super) fn next_request(&mut self, id: ConnId, request_done: bool, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        // A client that was not told may have sent its next request already: that one is answered, and told.
        if (conn.last && conn.told) || conn.client_closes || !request_done || conn.wire.eof {
            // A client that asked for the close has nothing more to send.
            let linger = !request_done || !(conn.client_closes || conn.wire.eof);
            return self.finish_downstream(id, linger, now);
        }
        conn.phase = DownstreamPhase::Head(PartialHead::default());
        // A client that does not take its answers gets no more of them until it has taken some (see `transmit`).
        let backlog = above_high(conn.wire.out.len(), conn.manager.buffer_limit);
        if !is_planted(Plant::PipelinedForgotten) {
            self.out.set_readable(id, &mut conn.wire, !backlog);
        }
        conn.idle_since = now;
        self.arm_idle(id);
    }

    /// The client has so long for its next request. When the connection is to end it is just long enough for
    /// one that is on its way: a busy client then learns from an answer that it must go elsewhere, and not
    /// from a connection that closes under its request.
    pub(super) fn arm_idle(&mut self, id: ConnId) {
        let draining = self.is_draining_connection(id);
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let timeout = if draining || conn.last { Some(limit::DRAIN_GRACE) } else { conn.manager.config.idle_timeout };
        if let Some(timeout) = timeout {
            conn.deadlines.set(DownstreamDeadline::Idle, conn.idle_since + timeout, Owner::Downstream(id), &mut self.timers);
        }
    }

    /// Sends what is left and closes. If the client may still be sending, what it sends is read and dropped
    /// for a while first: closing at once would make the kernel reset the connection and the client could
    /// lose our answer (RFC 9112 section 9.6).
    pub(super) fn finish_downstream(&mut self, id: ConnId, linger: bool, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        conn.phase = DownstreamPhase::Lingering { until: now + limit::LINGER };
        conn.deadlines.clear_all();
        let config = &conn.manager.config;
        let wait = if linger && !conn.wire.eof && !is_planted(Plant::NoLingering) {
            self.out.actions.push_back(Action::ShutdownWrite(id));
            self.out.set_readable(id, &mut conn.wire, true);
            config.delayed_close
        } else {
            self.out.close(id, &mut conn.wire);
            config.stream_idle_timeout.unwrap_or(limit::STREAM_IDLE_TIMEOUT)
        };
        conn.deadlines.set(DownstreamDeadline::Linger, now + wait, Owner::Downstream(id), &mut self.timers);
    }

    pub(super) fn fire_downstream(&mut self, id: ConnId, why: DownstreamDeadline, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let stats = Arc::clone(&conn.manager.stats);
        match (why, &conn.phase) {
            (DownstreamDeadline::Open, _) => self.opening_timed_out(id, now),
            // It has a deadline of its own until it is open.
            (DownstreamDeadline::Idle, _) if conn.deadlines.get(DownstreamDeadline::Open).is_some() => {}
            (DownstreamDeadline::Idle, DownstreamPhase::Head(_)) => {
                stats.inc(HttpStat::CxIdleTimeout);
                self.out.actions.push_back(Action::CloseIfIdle(id));
            }
            (DownstreamDeadline::Head, DownstreamPhase::Head(_)) => {
                stats.inc(HttpStat::RqHeaderTimeout);
                self.begin_exchange(id, Err(Reject::HeadTimeout), now);
            }
            (DownstreamDeadline::Idle, DownstreamPhase::Http2(_)) => self.idle_session(id, now),
            (DownstreamDeadline::Head, DownstreamPhase::Http2(_)) => {
                stats.inc(HttpStat::RqHeaderTimeout);
                self.closed_downstream(id, IoFault::Closed, now);
                self.out.actions.push_back(Action::Drop(id));
            }
            (DownstreamDeadline::Flush, _) => self.fire_flush(id, now),
            (DownstreamDeadline::Keepalive, _) => self.keep_alive_down(id, now),
            (DownstreamDeadline::Lifetime, DownstreamPhase::Http2(_)) => {
                stats.inc(HttpStat::CxMaxDuration);
                conn.last = true;
                if let Some(session) = conn.session() {
                    session.leave();
                }
                self.queue_transmit(id);
                self.arm_idle_if_idle(id);
            }
            (DownstreamDeadline::Lifetime, phase) => {
                stats.inc(HttpStat::CxMaxDuration);
                conn.last = true;
                if matches!(phase, DownstreamPhase::Head(partial) if partial.is_empty()) {
                    self.arm_idle(id);
                }
            }
            (DownstreamDeadline::Linger, _) => {
                if conn.wire.closing || conn.wire.out.is_empty() {
                    stats.inc(HttpStat::CxDelayedCloseTimeout);
                    self.closed_downstream(id, IoFault::Closed, now);
                    self.out.actions.push_back(Action::Drop(id));
                } else {
                    let wait = conn.manager.config.delayed_close;
                    conn.deadlines.set(DownstreamDeadline::Linger, now + wait, Owner::Downstream(id), &mut self.timers);
                }
            }
            (DownstreamDeadline::Idle | DownstreamDeadline::Head, _) => {}
        }
    }

    /// Bytes of an upgraded protocol, or of a body, that cannot be sent on must not be read.
    pub(super) fn pause_downstream(&mut self, id: ConnId) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if conn.wire.readable {
            conn.manager.stats.inc(HttpStat::FlowPausedReading);
            self.out.set_readable(id, &mut conn.wire, false);
        }
    }

    /// Reads from a client again.
    pub(super) fn resume_downstream(&mut self, id: ConnId) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if !conn.wire.readable && !is_planted(Plant::LostClientWakeUp) {
            conn.manager.stats.inc(HttpStat::FlowResumedReading);
            self.out.set_readable(id, &mut conn.wire, true);
        }
    }

    /// Arms the idle deadline of a connection that carries nothing.
    fn arm_idle_if_idle(&mut self, id: ConnId) {
        if matches!(self.connections.get(id), Some(Connection::Downstream(conn)) if conn.is_idle()) {
            self.arm_idle(id);
        }
    }

    /// Whether clients of this connection's listener can only speak HTTP/2.
    pub(super) fn speaks_http2_only(&self, id: ConnId) -> bool {
        matches!(self.connections.get(id), Some(Connection::Downstream(conn)) if conn.manager.config.codec == Codec::Http2)
    }

    /// Whether the TLS handshake agreed on HTTP/2.
    pub(super) fn agreed_on_http2(&self, id: ConnId) -> bool {
        let Some(Connection::Downstream(conn)) = self.connections.get(id) else { return false };
        conn.manager.config.codec == Codec::Auto && conn.tls.as_ref().is_some_and(|tls| *tls.alpn == *b"h2")
    }

    /// Whether what looks like the first head is the beginning of HTTP/2.
    fn is_preface(&self, id: ConnId, head: &[u8]) -> bool {
        let Some(Connection::Downstream(conn)) = self.connections.get(id) else { return false };
        conn.requests == 0 && head == PREFACE_HEAD && conn.manager.config.codec == Codec::Auto
    }
}
