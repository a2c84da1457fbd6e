//! Upgraded connections: after a 101 both sides only carry bytes, and each may close its half.

use super::{Action, Engine};
use crate::connection::{Connection, DownstreamPhase, UpstreamPhase};
use crate::exchange::{ExchangeDeadline, outbound};
use crate::http1::framing::Framing;
use crate::id::{ConnId, ExchangeId};
use crate::plant::{Plant, is_planted};
use crate::stats::HttpStat;
use crate::time::Instant;
use bytes::Bytes;
use std::borrow::Cow;

impl Engine {
    /// 101: from here on both connections only carry bytes.
    pub(super) fn start_tunnel(&mut self, conn_id: ConnId, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.details = Cow::Borrowed("via_upstream");
        for why in [ExchangeDeadline::Route, ExchangeDeadline::PerTry, ExchangeDeadline::PerTryIdle] {
            exchange.deadlines.clear(why);
        }
        for stat in [HttpStat::CxUpgradesTotal, HttpStat::CxUpgradesActive] {
            exchange.manager.stats.inc(stat);
        }
        let downstream = exchange.downstream;
        outbound::clean_response(exchange);
        self.respond(id, Framing::Empty, now);
        if let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) {
            conn.phase = UpstreamPhase::Tunnel(id);
        }
        if let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) {
            conn.phase = DownstreamPhase::Tunnel(id);
            // It is no HTTP connection any more, however the tunnel ends (RFC 9110 section 7.8).
            conn.last = true;
            conn.told = !is_planted(Plant::TunnelBecomesHttp);
            self.out.set_readable(downstream, &mut conn.wire, true);
        }
    }

    /// The client of an upgraded connection has sent bytes.
    pub(super) fn tunnel_to_upstream(&mut self, id: ExchangeId, piece: Bytes, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.bytes_received += piece.len() as u64;
        exchange.record.upstream_bytes_sent += piece.len() as u64;
        super::request::touch(exchange, &mut self.timers, now);
        let (Some(conn_id), downstream) = (exchange.attempt.conn, exchange.downstream) else { return };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return };
        conn.wire.out.push(piece, &mut self.blocks);
        self.out.transmit(conn_id, &mut conn.wire);
        let limit = self.clusters.get(conn.cluster).map_or(0, |cluster| cluster.config.buffer_limit);
        if crate::buffer::above_high(conn.wire.out.len(), limit) {
            self.pause_downstream(downstream);
        }
    }

    /// The upstream of an upgraded connection has sent bytes.
    pub(super) fn tunnel_to_client(&mut self, id: ExchangeId, piece: Bytes, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.bytes_sent += piece.len() as u64;
        exchange.record.upstream_bytes_received += piece.len() as u64;
        super::request::touch(exchange, &mut self.timers, now);
        let (downstream, upstream, limit) = (exchange.downstream, exchange.attempt.conn, exchange.manager.buffer_limit);
        let waiting = self.send_downstream(downstream, piece);
        if let (true, Some(upstream)) = (crate::buffer::above_high(waiting, limit), upstream) {
            self.pause_upstream(upstream);
        }
    }

    /// One side of an upgraded connection has closed its sending side: so do we towards the other.
    pub(super) fn tunnel_eof_from_client(&mut self, id: ExchangeId, now: Instant) {
        let Some(conn) = self.exchanges.get(id).and_then(|exchange| exchange.attempt.conn) else { return };
        let both = matches!(self.connections.get_mut(conn), Some(Connection::Upstream(upstream)) if upstream.wire.eof);
        if both { self.end_tunnel(id, now) } else { self.out.actions.push_back(Action::ShutdownWrite(conn)) }
    }

    pub(super) fn tunnel_eof_from_upstream(&mut self, id: ExchangeId, now: Instant) {
        let Some(conn) = self.exchanges.get(id).map(|exchange| exchange.downstream) else { return };
        let both = matches!(self.connections.get_mut(conn), Some(Connection::Downstream(client)) if client.wire.eof);
        if both { self.end_tunnel(id, now) } else { self.out.actions.push_back(Action::ShutdownWrite(conn)) }
    }

    /// An upgraded connection is over: what is left is sent, and both sides are closed.
    pub(super) fn end_tunnel(&mut self, id: ExchangeId, now: Instant) {
        if let Some(conn_id) = self.detach(id) {
            self.flush_and_close_upstream(conn_id, now);
        }
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.deadlines.clear(ExchangeDeadline::Idle);
        }
        self.complete(id, now);
    }
}
