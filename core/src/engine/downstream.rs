//! What comes on connections from clients, and what it makes of exchanges.

use super::Engine;
use super::taped::{discard, log_body, log_bytes, refuse, skip};
use crate::buffer::above_high;
use crate::config::Codec;
use crate::connection::{Connection, DownstreamDeadline, DownstreamPhase, HeadInput, PartialHead};
use crate::http1::body::Piece;
use crate::http1::parse;
use crate::http2::PREFACE_HEAD;
use crate::id::ConnId;
use crate::plant::{Plant, is_planted};
use crate::stats::HttpStat;
use crate::time::Instant;
use crate::timer::Owner;
use bytes::{Buf, BytesMut};

impl Engine {
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
