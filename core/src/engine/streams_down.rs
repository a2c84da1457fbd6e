//! HTTP/2 connections from clients: streams begin, receive and end.

use super::Engine;
use super::taped::{discard, log_run};
use crate::connection::{Connection, DownstreamDeadline, DownstreamPhase};
use crate::exchange::inbound;
use crate::http::{Name, Version};
use crate::http1::framing::Framing;
use crate::http2::{Alive, Breach, ResetBy, Session, SessionEvent, StreamKey, head};
use crate::id::{ConnId, ExchangeId};
use crate::limit;
use crate::record::Flags;
use crate::stats::HttpStat;
use crate::time::Instant;
use crate::timer::Owner;
use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, Request};
use std::sync::Arc;

impl Engine {
    /// The client speaks HTTP/2: it has said so, or has agreed on it.
    pub(super) fn start_http2(&mut self, id: ConnId, preface: &[u8], now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let mut session = Session::server(&conn.manager.config.http2);
        if !preface.is_empty() {
            session.recv(Bytes::copy_from_slice(preface), now, |_| {});
        }
        let look = session.keep_alive_begins_in();
        conn.phase = DownstreamPhase::Http2(Box::new(session));
        conn.speaks(Version::Http2);
        conn.deadlines.clear(DownstreamDeadline::Head);
        conn.idle_since = now;
        if let Some(look) = look {
            conn.deadlines.set(DownstreamDeadline::Keepalive, now + look, Owner::Downstream(id), &mut self.timers);
        }
        self.arm_idle(id);
        self.drive_down(id, now);
        self.queue_transmit(id);
    }

    pub(super) fn recv_streams_down(&mut self, id: ConnId, input: &mut BytesMut, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return discard(&mut self.recorder, input) };
        let DownstreamPhase::Http2(session) = &mut conn.phase else { return };
        if input.is_empty() {
            return;
        }
        if !session.wants_input() {
            return self.out.set_readable(id, &mut conn.wire, false);
        }
        if session.breach().is_some() {
            return discard(&mut self.recorder, input);
        }
        let recorder = &mut self.recorder;
        session.recv(input.split().freeze(), now, |run| log_run(recorder, run));
        // A head that does not end holds up all that is behind it.
        let in_head = session.is_in_head();
        match (in_head, conn.manager.config.request_headers_timeout, conn.deadlines.get(DownstreamDeadline::Head)) {
            (true, Some(timeout), None) => {
                conn.deadlines.set(DownstreamDeadline::Head, now + timeout, Owner::Downstream(id), &mut self.timers);
            }
            (false, _, Some(_)) => conn.deadlines.clear(DownstreamDeadline::Head),
            _ => {}
        }
        self.drive_down(id, now);
    }

    /// Lets the session work until it waits for somebody.
    pub(super) fn drive_down(&mut self, id: ConnId, now: Instant) {
        loop {
            let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
            let Some(session) = conn.session() else { return };
            let Some(event) = session.poll_event(now) else { break };
            match event {
                SessionEvent::Request { stream, head, end } => self.begin_stream(id, stream, &head, end, now),
                SessionEvent::Data { stream, piece } => self.stream_data(id, stream, piece, now),
                SessionEvent::End { stream, trailers } => self.stream_end(id, stream, trailers.as_deref(), now),
                SessionEvent::Reset { stream, by } => self.stream_reset(id, stream, by, now),
                SessionEvent::Closed { error } => return self.close_session(id, error.as_deref(), now),
                SessionEvent::Interim { .. } | SessionEvent::Response { .. } => {}
            }
        }
        // The last stream may have been sent to its end just now.
        if matches!(self.connections.get(id), Some(Connection::Downstream(conn)) if conn.deadlines.get(DownstreamDeadline::Idle).is_none())
        {
            self.rest_down(id, now);
        }
        self.queue_transmit_if_ready(id);
    }

    pub(super) fn queue_transmit_if_ready(&mut self, id: ConnId) {
        if self.connections.get_mut(id).and_then(Connection::session).is_some_and(|session| session.is_ready()) {
            self.queue_transmit(id);
        }
    }

    /// Lets a session work before the input is done with.
    pub(super) fn drive_later(&mut self, id: ConnId) {
        if self.resumed.last() != Some(&id) {
            self.resumed.push(id);
        }
    }

    /// Lets sessions work whose streams were paused and may go on, or have ended.
    pub(super) fn go_on(&mut self, now: Instant) {
        while let Some(id) = self.resumed.pop() {
            match self.connections.get(id) {
                Some(Connection::Downstream(_)) => self.drive_down(id, now),
                Some(Connection::Upstream(_)) => self.drive_up(id, now),
                None => {}
            }
        }
    }

    fn begin_stream(&mut self, conn_id: ConnId, stream: StreamKey, request: &Request<()>, end: bool, now: Instant) {
        let leaves = self.is_draining_connection(conn_id);
        let Some(mut exchange) = self.new_exchange(conn_id, now) else { return };
        exchange.manager.stats.inc(HttpStat::RqHttp2Total);
        let read = head::read_request(request, exchange.manager.config.limits.fields, &mut exchange.request);
        exchange.stream = Some(stream);
        exchange.record.protocol = exchange.request.version;
        exchange.record.request_head_bytes = exchange.request.wire_len as u64;
        exchange.to_head = exchange.request.is_head();
        exchange.framing = head::framing(&exchange.request.fields, end);
        exchange.request_done = end;
        if let Ok(Some(protocol)) = &read {
            inbound::translate_connect(&mut exchange.request, protocol, &mut self.random.websocket);
        }
        let tunnels = matches!(read, Ok(Some(_))) || exchange.request.is_connect();
        if tunnels {
            // What the client sends is no body, and has no length.
            exchange.request.fields.remove(Name::ContentLength);
            exchange.framing = Framing::Empty;
            exchange.request_done = true;
        }
        exchange.record.request_end = exchange.request_done.then_some(now);
        let id = self.exchanges.insert_with_key(|id| {
            exchange.owner = Owner::Stream(id);
            exchange
        });
        if let Some(Connection::Downstream(conn)) = self.connections.get_mut(conn_id) {
            let leaves = leaves || conn.last;
            conn.last = leaves;
            if let Some(session) = conn.session() {
                session.set_exchange(stream, id);
                if tunnels {
                    session.set_paused(stream, true);
                }
                if leaves {
                    session.leave();
                }
            }
        }
        match read {
            Err(reject) => self.reject(id, reject, now),
            Ok(_) => self.serve(id, now),
        }
        self.forget_dead_timers();
    }

    fn exchange_of(&mut self, conn: ConnId, stream: StreamKey) -> Option<ExchangeId> {
        self.connections.get_mut(conn)?.session()?.exchange(stream)
    }

    fn stream_data(&mut self, conn: ConnId, stream: StreamKey, piece: Bytes, now: Instant) {
        let Some(id) = self.exchange_of(conn, stream) else { return };
        if self.exchanges.get(id).is_some_and(|exchange| exchange.tunnel) {
            self.tunnel_to_upstream(id, piece, now);
        } else {
            self.request_data(id, piece, now);
        }
    }

    fn stream_end(&mut self, conn: ConnId, stream: StreamKey, trailers: Option<&HeaderMap>, now: Instant) {
        let Some(id) = self.exchange_of(conn, stream) else { return };
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.tunnel {
            return self.tunnel_eof_from_client(id, now);
        }
        let max = exchange.manager.config.limits.fields;
        let read = trailers.map_or(Ok(()), |trailers| head::read_trailers(trailers, max, &mut exchange.trailers));
        match read {
            Ok(()) => self.request_end(id, now),
            Err(reject) => self.reject(id, reject, now),
        }
    }

    fn stream_reset(&mut self, conn_id: ConnId, stream: StreamKey, by: ResetBy, now: Instant) {
        let exchange = self.exchange_of(conn_id, stream);
        let Some(session) = self.connections.get_mut(conn_id).and_then(Connection::session) else { return };
        let by_client = matches!(by, ResetBy::Peer(_) | ResetBy::Refused);
        session.count_end(stream, by_client && exchange.is_some(), now);
        self.note_breach(conn_id);
        if let Some(id) = exchange {
            if let (ResetBy::Us(_), Some(exchange)) = (by, self.exchanges.get_mut(id)) {
                exchange.manager.stats.inc(HttpStat::CxProtocolError);
                exchange.record.flags.insert(Flags::DOWNSTREAM_PROTOCOL_ERROR);
            }
            self.abandon(id, now);
        }
        self.cut_stream(conn_id, stream, Reason::CANCEL, now);
    }

    /// Counts why a connection is broken off.
    fn note_breach(&mut self, id: ConnId) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let stats = Arc::clone(&conn.manager.stats);
        let Some(breach) = conn.session().and_then(|session| session.breach()) else { return };
        if conn.told {
            return;
        }
        conn.told = true;
        stats.inc(match breach {
            Breach::EmptyFrames => HttpStat::Http2EmptyFramesFlood,
            Breach::Priority => HttpStat::Http2PriorityFlood,
            Breach::WindowUpdates => HttpStat::Http2WindowUpdateFlood,
            Breach::Control => HttpStat::Http2ControlFlood,
            Breach::FrameSize | Breach::NoSettings | Breach::Window | Breach::PseudoTrailer => HttpStat::Http2FrameError,
            Breach::Resets => HttpStat::RqTooManyPrematureResets,
        });
    }

    /// The exchange has ended: the rest of its answer leaves as the client takes it.
    pub(super) fn end_stream_down(&mut self, id: ConnId, stream: StreamKey, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let timeout = conn.manager.config.stream_idle_timeout;
        let Some(session) = conn.session() else { return };
        session.count_end(stream, false, now);
        session.release(stream);
        let orphaned = session.streams() > 0;
        if let (true, Some(timeout), None) = (orphaned, timeout, conn.deadlines.get(DownstreamDeadline::Flush)) {
            conn.deadlines.set(DownstreamDeadline::Flush, now + timeout, Owner::Downstream(id), &mut self.timers);
        }
        self.queue_transmit(id);
        self.rest_down(id, now);
    }

    /// The stream ends now, whatever is left of it.
    pub(super) fn cut_stream(&mut self, id: ConnId, stream: StreamKey, reason: Reason, now: Instant) {
        if let Some(session) = self.connections.get_mut(id).and_then(Connection::session) {
            session.doom(stream, reason);
            self.queue_transmit(id);
            self.rest_down(id, now);
        }
    }

    /// With its last stream gone, a connection is idle.
    fn rest_down(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if conn.is_idle() {
            conn.idle_since = now;
            self.arm_idle(id);
        }
    }

    /// The session has ended: what it still has to say is sent, and the connection closes.
    fn close_session(&mut self, id: ConnId, error: Option<&str>, now: Instant) {
        self.abandon_streams(id, now);
        self.note_breach(id);
        let digest = self.blocks.digest.as_mut();
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if error.is_some() && !conn.wire.eof {
            conn.manager.stats.inc(HttpStat::CxProtocolError);
        }
        let DownstreamPhase::Http2(session) = &mut conn.phase else { return };
        let output = session.take_output(digest);
        conn.wire.out.push_framed(output, &mut self.blocks);
        let linger = !conn.wire.eof;
        self.queue_transmit(id);
        self.finish_downstream(id, linger, now);
        // It may go on with what it was broken off for: that is read for a while, but not for ever.
        if let (true, Some(Connection::Downstream(conn))) = (error.is_some(), self.connections.get_mut(id)) {
            conn.patience = limit::LINGER_AFTER_BREACH;
        }
    }

    /// All that is under way on the connection ends, because it does.
    pub(super) fn abandon_streams(&mut self, id: ConnId, now: Instant) {
        let exchanges = self.connections.get_mut(id).and_then(Connection::session).map(|session| session.exchanges());
        for exchange in exchanges.into_iter().flatten() {
            self.abandon(exchange, now);
        }
    }

    /// Nothing could be sent on some streams for long: they end.
    pub(super) fn fire_flush(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let (Some(timeout), stats) = (conn.manager.config.stream_idle_timeout, Arc::clone(&conn.manager.stats)) else { return };
        let Some(session) = conn.session() else { return };
        let (stalled, left) = session.reset_stalled(timeout, now);
        stats.add(HttpStat::RqIdleTimeout, stalled as u64);
        if left {
            conn.deadlines.set(DownstreamDeadline::Flush, now + timeout, Owner::Downstream(id), &mut self.timers);
        }
        self.queue_transmit(id);
        self.rest_down(id, now);
    }

    /// `connection_keepalive`: asks whether the client is there, or has had no answer.
    pub(super) fn keep_alive_down(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        match conn.session().and_then(Session::keep_alive) {
            None => {}
            Some(Alive::LookIn(time)) => {
                conn.deadlines.set(DownstreamDeadline::Keepalive, now + time, Owner::Downstream(id), &mut self.timers);
                self.queue_transmit(id);
            }
            Some(Alive::Gone) => {
                conn.manager.stats.inc(HttpStat::Http2KeepaliveTimeout);
                self.closed_downstream(id, super::IoFault::Closed, now);
                self.out.actions.push_back(super::Action::Drop(id));
            }
        }
    }

    /// Takes no new streams on HTTP/2 connections: all of them, or those of a listener.
    pub(super) fn leave_streams(&mut self, of: Option<crate::id::ListenerId>) {
        let ids: Vec<ConnId> = self.connections.keys().collect();
        for id in ids {
            let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { continue };
            if of.is_some_and(|listener| listener != conn.listener) {
                continue;
            }
            let stats = Arc::clone(&conn.manager.stats);
            if let Some(session) = conn.session()
                && !session.has_left()
            {
                session.leave();
                stats.inc(HttpStat::CxDrainClose);
                conn.last = true;
                self.queue_transmit(id);
            }
        }
    }

    /// The refusal of a head, on a stream: the connection goes on.
    pub(super) fn is_stream(&self, id: ExchangeId) -> bool {
        self.exchanges.get(id).is_some_and(|exchange| exchange.stream.is_some())
    }

    /// How long a connection without streams may go on once it should end.
    pub(super) fn idle_session(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let stats = Arc::clone(&conn.manager.stats);
        let Some(session) = conn.session() else { return };
        if session.streams() > 0 {
            return;
        }
        if !session.has_left() {
            stats.inc(HttpStat::CxIdleTimeout);
            session.leave();
            conn.last = true;
            conn.deadlines.set(DownstreamDeadline::Idle, now + limit::DRAIN_GRACE, Owner::Downstream(id), &mut self.timers);
            return self.queue_transmit(id);
        }
        self.close_session(id, None, now);
    }
}
