//! The two sides of an exchange, whatever they speak: letting their sources wait and go on, and writing to them.

use super::Engine;
use crate::buffer::above_high;
use crate::connection::Connection;
use crate::exchange::outbound;
use crate::filter::Side;
use crate::http1::encode::{self, BodyCoding};
use crate::http2::{StreamKey, head};
use crate::id::{ConnId, ExchangeId};
use crate::plant::{Plant, is_planted};
use crate::stats::{ClusterStat, HttpStat};
use crate::time::Instant;
use bytes::Bytes;
use h2::Reason;

/// What carries a try: a connection, or one stream of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Carrier {
    pub(super) conn: ConnId,
    pub(super) stream: Option<StreamKey>,
}

impl Engine {
    /// The try is given up: an HTTP/1 connection cannot be used again, of HTTP/2 only the stream ends.
    pub(super) fn abort(&mut self, carrier: Carrier, now: Instant) {
        let Some(stream) = carrier.stream else { return self.drop_upstream(carrier.conn, now) };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(carrier.conn) else { return };
        let cluster = conn.cluster;
        if let Some(session) = conn.session() {
            session.reset(stream, Reason::CANCEL);
            if let Some(cluster) = self.clusters.get(cluster) {
                cluster.stats.inc(ClusterStat::RqTxReset);
            }
            self.queue_transmit(carrier.conn);
            self.offer_room(carrier.conn, now);
        }
    }

    /// There may be something to send on an HTTP/2 connection, or something to do for it.
    pub(super) fn queue_transmit(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let is_empty = conn.session().is_none() && conn.wire().out.is_empty();
        let wire = conn.wire();
        if !is_empty && !wire.transmit_queued {
            wire.transmit_queued = true;
            self.out.actions.push_back(super::Action::Transmit(id));
        }
    }

    /// Lets the client's body wait.
    pub(super) fn pause_request(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        let Some(stream) = stream else { return self.pause_downstream(downstream) };
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return };
        if conn.session().is_some_and(|session| session.set_paused(stream, true)) {
            conn.manager.stats.inc(HttpStat::FlowPausedReading);
        }
    }

    /// Takes the client's body again.
    pub(super) fn resume_request(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id).filter(|exchange| exchange.has_filter_room(Side::Request)) else { return };
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        let Some(stream) = stream else { return self.resume_downstream(downstream) };
        if is_planted(Plant::WindowNeverReopened) {
            return;
        }
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return };
        if conn.session().is_some_and(|session| session.set_paused(stream, false)) {
            conn.manager.stats.inc(HttpStat::FlowResumedReading);
            self.drive_later(downstream);
        }
    }

    /// Lets the upstream's body wait.
    pub(super) fn pause_response(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let Some(upstream) = exchange.attempt.conn else { return };
        let Some(stream) = exchange.attempt.stream else { return self.pause_upstream(upstream) };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(upstream) else { return };
        if conn.session().is_some_and(|session| session.set_paused(stream, true))
            && let Some(cluster) = self.clusters.get(conn.cluster)
        {
            cluster.stats.inc(ClusterStat::FlowPausedReading);
        }
    }

    /// Takes the upstream's body again.
    pub(super) fn resume_response(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id).filter(|exchange| exchange.has_filter_room(Side::Response)) else { return };
        let Some(upstream) = exchange.attempt.conn else { return };
        let Some(stream) = exchange.attempt.stream else { return self.resume_upstream(upstream) };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(upstream) else { return };
        let cluster = conn.cluster;
        if conn.session().is_some_and(|session| session.set_paused(stream, false)) {
            if let Some(cluster) = self.clusters.get(cluster) {
                cluster.stats.inc(ClusterStat::FlowResumedReading);
            }
            self.drive_later(upstream);
        }
    }

    /// Writes a piece of a body towards the upstream; answers whether its source should wait.
    pub(super) fn write_request(&mut self, id: ExchangeId, piece: Bytes) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        let Some(conn_id) = exchange.attempt.conn else { return false };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return false };
        exchange.record.upstream_bytes_sent += piece.len() as u64;
        let coding = if exchange.tunnel { BodyCoding::Plain } else { outbound::request_coding(exchange.framing) };
        let limit = self.clusters.get(conn.cluster).map_or(0, |cluster| cluster.config.buffer_limit);
        let waiting = match exchange.attempt.stream {
            None => {
                encode::body(coding, piece, &mut conn.wire.out, &mut self.blocks);
                conn.wire.out.len()
            }
            Some(stream) => conn.session().map_or(0, |session| session.push(stream, piece)),
        };
        self.queue_transmit(conn_id);
        above_high(waiting, limit)
    }

    /// Ends the body towards the upstream.
    pub(super) fn write_request_end(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let Some(conn_id) = exchange.attempt.conn else { return };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return };
        match exchange.attempt.stream {
            None => encode::end(outbound::request_coding(exchange.framing), &exchange.trailers, &mut conn.wire.out, &mut self.blocks),
            Some(stream) => {
                let trailers = head::trailers(&exchange.trailers).unwrap_or_default();
                if let Some(session) = conn.session() {
                    session.end(stream, trailers);
                }
            }
        }
        self.queue_transmit(conn_id);
    }

    /// Writes the response head to the client; answers its size, if the client's protocol can say it.
    pub(super) fn write_head(&mut self, id: ExchangeId) -> Option<usize> {
        let exchange = self.exchanges.get_mut(id)?;
        let downstream = exchange.downstream;
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return Some(0) };
        let written = match exchange.stream {
            None => {
                let writer = conn.wire.out.writer(&mut self.blocks);
                let before = writer.len();
                encode::response_head(&exchange.response, writer);
                writer.len() - before
            }
            Some(stream) => {
                let response = head::response(&exchange.response).ok()?;
                if let Some(session) = conn.session() {
                    session.respond(stream, response);
                }
                exchange.response.fields.byte_size()
            }
        };
        self.queue_transmit(downstream);
        Some(written)
    }

    /// Writes a piece of a body towards the client; answers how much waits to be sent.
    pub(super) fn write_response(&mut self, id: ExchangeId, coding: BodyCoding, piece: Bytes) -> usize {
        let Some(exchange) = self.exchanges.get_mut(id) else { return 0 };
        let downstream = exchange.downstream;
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return 0 };
        if coding != BodyCoding::None {
            exchange.record.bytes_sent += piece.len() as u64;
        }
        let waiting = match exchange.stream {
            None => {
                encode::body(coding, piece, &mut conn.wire.out, &mut self.blocks);
                conn.wire.out.len()
            }
            Some(_) if coding == BodyCoding::None => 0,
            Some(stream) => conn.session().map_or(0, |session| session.push(stream, piece)),
        };
        self.queue_transmit(downstream);
        waiting
    }

    /// Ends the body towards the client.
    pub(super) fn write_response_end(&mut self, id: ExchangeId, coding: BodyCoding) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let downstream = exchange.downstream;
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return };
        match exchange.stream {
            None => encode::end(coding, &exchange.response_trailers, &mut conn.wire.out, &mut self.blocks),
            Some(stream) => {
                let lost = is_planted(Plant::TrailerLost);
                let trailers = if lost { None } else { head::trailers(&exchange.response_trailers).unwrap_or_default() };
                if let Some(session) = conn.session() {
                    session.end(stream, trailers);
                }
            }
        }
        self.queue_transmit(downstream);
    }
}
