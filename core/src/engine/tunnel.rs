//! Upgraded connections: after a 101 (in HTTP/2 a 200) both sides only carry bytes, and each may close its half.

use super::{Action, Engine};
use crate::buffer::above_high;
use crate::connection::{Connection, DownstreamPhase, UpstreamPhase};
use crate::exchange::{ExchangeDeadline, Failure, Item, outbound};
use crate::filter::Side;
use crate::http::Name;
use crate::http1::encode::BodyCoding;
use crate::http1::framing::Framing;
use crate::id::ExchangeId;
use crate::plant::{Plant, is_planted};
use crate::stats::HttpStat;
use crate::time::Instant;
use bytes::Bytes;
use std::borrow::Cow;

impl Engine {
    /// The upstream agrees: from here on both sides of the exchange only carry bytes, once filters have let that pass.
    pub(super) fn start_tunnel(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.details = Cow::Borrowed("via_upstream");
        for why in [ExchangeDeadline::Route, ExchangeDeadline::PerTry, ExchangeDeadline::PerTryIdle] {
            exchange.deadlines.clear(why);
        }
        outbound::clean_response(exchange);
        outbound::translate_switch(exchange);
        self.respond_with(id, Framing::Empty, true, now);
        if self.exchanges.get(id).is_some_and(|exchange| exchange.holds_switch()) {
            self.pause_response(id);
        }
    }

    /// The head of the answer that begins a tunnel goes to the client.
    pub(super) fn open_tunnel(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        // The upstream may have left while a filter kept its answer.
        let Some(conn_id) = exchange.attempt.conn else { return self.reply_to_failure(id, Failure::Closed, now) };
        for stat in [HttpStat::CxUpgradesTotal, HttpStat::CxUpgradesActive] {
            exchange.manager.stats.inc(stat);
        }
        exchange.tunnel = true;
        let (downstream, stream, ended) = (exchange.downstream, exchange.stream, exchange.upstream_ended);
        self.send_head(id, Framing::Empty, now);
        if let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id)
            && conn.session().is_none()
        {
            conn.phase = UpstreamPhase::Tunnel(id);
        }
        self.resume_response(id);
        if stream.is_some() {
            self.resume_request(id);
        } else if let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) {
            conn.phase = DownstreamPhase::Tunnel(id);
            // It is no HTTP connection any more, however the tunnel ends (RFC 9110 section 7.8).
            conn.last = true;
            conn.told = !is_planted(Plant::TunnelBecomesHttp);
            self.out.set_readable(downstream, &mut conn.wire, true);
        }
        if ended {
            self.tunnel_eof_from_upstream(id, now);
        }
    }

    /// The client of an upgraded connection has sent bytes.
    pub(super) fn tunnel_to_upstream(&mut self, id: ExchangeId, piece: Bytes, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.bytes_received += piece.len() as u64;
        super::request::touch(exchange, &mut self.timers, now);
        if self.write_request(id, piece) {
            self.pause_request(id);
        }
    }

    /// The upstream of an upgraded connection has sent bytes.
    pub(super) fn tunnel_to_client(&mut self, id: ExchangeId, piece: Bytes, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.upstream_bytes_received += piece.len() as u64;
        super::request::touch(exchange, &mut self.timers, now);
        if !exchange.tunnel {
            return self.filter(id, Side::Response, Item::Piece(piece), now);
        }
        let limit = exchange.manager.buffer_limit;
        if above_high(self.write_response(id, BodyCoding::Plain, piece), limit) {
            self.pause_response(id);
        }
    }

    /// One side of an upgraded connection has closed its sending side: so do we towards the other.
    pub(super) fn tunnel_eof_from_client(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.client_ended = true;
        if exchange.upstream_ended {
            return self.end_tunnel(id, now);
        }
        match (exchange.attempt.conn, exchange.attempt.stream) {
            (Some(_), Some(_)) => self.write_request_end(id),
            (Some(conn), None) => self.out.actions.push_back(Action::ShutdownWrite(conn)),
            (None, _) => {}
        }
    }

    pub(super) fn tunnel_eof_from_upstream(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.upstream_ended = true;
        if !exchange.tunnel {
            return;
        }
        if exchange.client_ended {
            return self.end_tunnel(id, now);
        }
        match exchange.stream {
            Some(_) => self.write_response_end(id, BodyCoding::Plain),
            None => self.out.actions.push_back(Action::ShutdownWrite(exchange.downstream)),
        }
    }

    /// An upgraded connection is over: what is left is sent, and both sides are closed.
    pub(super) fn end_tunnel(&mut self, id: ExchangeId, now: Instant) {
        if self.exchanges.get(id).is_some_and(|exchange| !exchange.tunnel) {
            return self.attempt_failed(id, Failure::Closed, now);
        }
        if self.exchanges.get(id).is_some_and(|exchange| exchange.attempt.stream.is_some()) {
            self.write_request_end(id);
        }
        if let Some(carrier) = self.detach(id) {
            match carrier.stream {
                None => self.flush_and_close_upstream(carrier.conn, now),
                Some(stream) => self.end_stream_up(carrier.conn, stream, true, true),
            }
        }
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.deadlines.clear(ExchangeDeadline::Idle);
            if exchange.stream.is_some() {
                self.write_response_end(id, BodyCoding::Plain);
            }
        }
        self.complete(id, now);
    }

    /// The name of the protocol that an upgraded exchange speaks.
    pub(super) fn upgrade_protocol(&self, id: ExchangeId) -> Option<Vec<u8>> {
        let exchange = self.exchanges.get(id).filter(|exchange| exchange.upgrade)?;
        exchange.request.fields.get(Name::Upgrade).map(<[u8]>::to_vec)
    }
}
