//! From a response head to its last byte. What ends an exchange is in [`super::ending`].

use super::Engine;
use crate::connection::{Connection, UpstreamPhase};
use crate::exchange::{Exchange, ExchangeDeadline, Item, Plan, ResponsePhase, outbound};
use crate::filter::Side;
use crate::http::validate::list;
use crate::http::{Name, NameSet, Version};
use crate::http1::body::Decoder;
use crate::http1::encode;
use crate::http1::framing::Framing;
use crate::http1::{framing, parse};
use crate::id::{ConnId, ExchangeId};
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::stats::{ClusterStat, HttpStat, Timing};
use crate::time::Instant;
use bytes::Bytes;
use std::borrow::Cow;

/// What frames a message or concerns only one connection has no place in a 1xx.
const NOT_IN_INTERIM: NameSet =
    NameSet::of(&[Name::Connection, Name::TransferEncoding, Name::ContentLength, Name::Upgrade, Name::KeepAlive]);

impl Engine {
    /// A whole response head has come from an upstream; `clean` if nothing came behind it yet.
    pub(super) fn response_head(&mut self, conn_id: ConnId, id: ExchangeId, raw: &[u8], clean: bool, now: Instant) {
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return };
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let limits = self.clusters.get(conn.cluster).map(|cluster| cluster.config.limits).unwrap_or_default();
        exchange.attempt.answered = true;
        if parse::response(raw, limits, &mut exchange.response).is_err() {
            return self.protocol_error(id, conn_id, now);
        }
        if exchange.response.is_interim() {
            return self.interim_response(conn_id, id, now);
        }
        let connected = exchange.request.is_connect() && (200..300).contains(&exchange.response.status);
        let to_head = exchange.request.is_head() || connected;
        let Ok(framing) = framing::response(&mut exchange.response, to_head) else {
            return self.protocol_error(id, conn_id, now);
        };
        if exchange.response.status == 101 && !exchange.upgrade {
            return self.protocol_error(id, conn_id, now);
        }
        conn.last |= !keeps_alive(exchange, framing);
        conn.body = Decoder::new(framing);
        conn.phase = UpstreamPhase::Body(id);
        self.answer(id, framing, now);
        let ended =
            matches!(self.connections.get(conn_id), Some(Connection::Upstream(conn)) if conn.body.is_done() && conn.exchange() == Some(id));
        if ended
            && self
                .exchanges
                .get(id)
                .is_some_and(|exchange| exchange.attempt.conn == Some(conn_id) && !exchange.tunnel && !exchange.holds_switch())
        {
            self.response_end(id, conn_id, clean, now);
        }
    }

    /// The head of an answer is there, from an upstream that speaks either version: retried, or sent on.
    pub(super) fn answer(&mut self, id: ExchangeId, framing: Framing, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let switching = exchange.switches_protocol();
        exchange.record.response_start = Some(now);
        exchange.record.upstream_head_received = exchange.response.wire_len as u64;
        exchange.deadlines.clear(ExchangeDeadline::PerTry);
        self.count_response(id);
        if self.retried_after_response(id, now) {
            return;
        }
        self.release_retry(id);
        if switching {
            return self.start_tunnel(id, now);
        }
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.details = Cow::Borrowed("via_upstream");
        outbound::clean_response(exchange);
        self.respond(id, framing, now);
    }

    /// 1xx: passed on at once, to clients that can read it.
    pub(super) fn interim_response(&mut self, conn_id: ConnId, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        super::request::touch(exchange, &mut self.timers, now);
        self.send_interim(id);
        if self.exchanges.get(id).is_some_and(|exchange| exchange.attempt.stream.is_none()) {
            self.await_next_head(conn_id, id);
        }
    }

    /// Sends the interim response that the exchange has.
    pub(super) fn send_interim(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let (downstream, limit) = (exchange.downstream, exchange.manager.buffer_limit);
        exchange.response.fields.remove_all(NOT_IN_INTERIM);
        if let Some(stream) = exchange.stream {
            let head = crate::http2::head::response(&exchange.response);
            if let (Ok(head), Some(session)) = (head, self.connections.get_mut(downstream).and_then(Connection::session)) {
                session.interim(stream, head);
                self.queue_transmit(downstream);
            }
        } else if exchange.record.protocol == Version::Http11
            && let Some(Connection::Downstream(client)) = self.connections.get_mut(downstream)
        {
            encode::response_head(&exchange.response, client.wire.out.writer(&mut self.blocks));
            self.out.transmit(downstream, &mut client.wire);
            if crate::buffer::above_high(client.wire.out.len(), limit) {
                self.pause_response(id);
            }
        }
    }

    fn count_response(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let Some(cluster) = exchange.attempt.cluster.and_then(|cluster| self.clusters.get(cluster)) else { return };
        cluster.stats.count_code(exchange.response.status);
        cluster.stats.inc(ClusterStat::RqCompleted);
        if let (Some(start), Some(end)) = (exchange.record.upstream_start, exchange.record.response_start) {
            cluster.stats.time(Timing::RqTime, end.since(start).as_millis() as u64);
        }
        if exchange.response.status >= 500 {
            if let Some(host) = exchange.attempt.host.and_then(|host| cluster.hosts.get(host)) {
                host.shared.errors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        } else if exchange.retry.done() > 0 {
            cluster.stats.inc(ClusterStat::RqRetrySuccess);
        }
    }

    /// Tries again if the policy says so for this response; true if it does.
    fn retried_after_response(&mut self, id: ExchangeId, now: Instant) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        // A client that is still sending could not be replayed whole.
        if !exchange.body.can_replay() || exchange.upgrade {
            return false;
        }
        let plan = exchange.retry.after_response(&exchange.response, &mut self.random.backoff);
        if plan == Plan::GiveUp {
            return false;
        }
        self.release_retry(id);
        if !self.follow(id, plan, now) {
            return false;
        }
        // The rest of the answer is of no interest.
        if let Some(carrier) = self.detach(id) {
            self.abort(carrier, now);
        }
        true
    }

    /// A response head is there, from the upstream or our own.
    pub(super) fn respond(&mut self, id: ExchangeId, framing: Framing, now: Instant) {
        self.respond_with(id, framing, false, now);
    }

    /// As [`Self::respond`]; `switches` if both sides only carry bytes from here on.
    pub(super) fn respond_with(&mut self, id: ExchangeId, framing: Framing, switches: bool, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        // What header templates may ask for.
        exchange.record.status = exchange.response.status;
        exchange.record.end = Some(now);
        outbound::edit_response(exchange);
        match (exchange.filters.is_some(), switches) {
            (false, false) => self.send_head(id, framing, now),
            (false, true) => self.open_tunnel(id, now),
            (true, _) => {
                let alone = !switches && matches!(framing, Framing::Empty | Framing::Length(0));
                self.filter(id, Side::Response, Item::Head { framing, switches, alone }, now);
            }
        }
    }

    /// Sends a response head to the client: the last step for upstream and local answers alike.
    pub(super) fn send_head(&mut self, id: ExchangeId, framing: Framing, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let downstream = exchange.downstream;
        if exchange.filters.is_some() {
            outbound::restore_response_framing(exchange, framing);
        }
        let draining = self.is_draining_connection(downstream);
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return };
        if draining && !conn.last {
            exchange.manager.stats.inc(HttpStat::CxDrainClose);
        }
        // Whether the client will send the rest of its request cannot be known: the connection ends here.
        let last = conn.last || draining || !exchange.request_done;
        let (coding, last) = outbound::finish_response(exchange, framing, self.clock.date(now), last);
        if exchange.stream.is_none() {
            (conn.last, conn.told) = (last, last);
        }
        exchange.record.status = exchange.response.status;
        exchange.record.reply_start = Some(now);
        exchange.phase = ResponsePhase::Body(coding);
        let written = self.write_head(id);
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        match written {
            Some(bytes) => exchange.record.response_head_bytes = bytes as u64,
            // What cannot be said in HTTP/2 is no answer: the stream ends.
            None => {
                exchange.record.flags.insert(Flags::UPSTREAM_PROTOCOL_ERROR);
                return self.cut_response(id, now);
            }
        }
        self.explain_answer(id, now);
    }

    /// A piece of a response body from an upstream.
    pub(super) fn response_data(&mut self, id: ExchangeId, piece: Bytes, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.upstream_bytes_received += piece.len() as u64;
        exchange.record.response_body_start.get_or_insert(now);
        super::request::touch(exchange, &mut self.timers, now);
        if let Some(idle) = exchange.timeouts.per_try_idle {
            exchange.deadlines.set(ExchangeDeadline::PerTryIdle, now + idle, exchange.owner, &mut self.timers);
        }
        match exchange.is_filtered(Side::Response) {
            true => self.filter(id, Side::Response, Item::Piece(piece), now),
            false => drop(self.pass_response(id, piece)),
        }
    }

    /// A piece of a response body goes to the client; answers whether the upstream has to wait.
    pub(super) fn pass_response(&mut self, id: ExchangeId, piece: Bytes) -> bool {
        let Some(exchange) = self.exchanges.get(id) else { return false };
        let limit = exchange.manager.buffer_limit;
        let full = crate::buffer::above_high(self.send_response_piece(id, piece), limit);
        if full {
            self.pause_response(id);
        }
        full
    }

    /// Sends a piece of a response body to the client; answers how much waits to be sent.
    pub(super) fn send_response_piece(&mut self, id: ExchangeId, piece: Bytes) -> usize {
        let Some(exchange) = self.exchanges.get_mut(id) else { return 0 };
        let ResponsePhase::Body(coding) = exchange.phase else { return 0 };
        self.write_response(id, coding, piece)
    }

    /// The upstream's response is complete; `clean` if nothing came behind it.
    pub(super) fn response_end(&mut self, id: ExchangeId, conn_id: ConnId, clean: bool, now: Instant) {
        let request_done = self.exchanges.get_mut(id).is_some_and(|exchange| {
            exchange.record.response_end = Some(now);
            // A filter that keeps the answer is not the upstream's fault.
            exchange.deadlines.clear(ExchangeDeadline::Route);
            exchange.request_passed()
        });
        let carrier = self.detach(id);
        if let Some(stream) = carrier.and_then(|carrier| carrier.stream) {
            self.end_stream_up(conn_id, stream, request_done, false);
            return self.finish_body(id, now);
        }
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return };
        let reusable =
            (!conn.last || is_planted(Plant::ReuseOfClosing)) && request_done && clean && !conn.wire.eof && conn.wire.out.is_empty();
        if reusable {
            self.release_upstream(conn_id, now);
        } else {
            conn.phase = UpstreamPhase::Closed;
            self.drop_upstream(conn_id, now);
        }
        self.finish_body(id, now);
    }

    /// Ends the body towards the client, and the exchange.
    pub(super) fn finish_body(&mut self, id: ExchangeId, now: Instant) {
        match self.exchanges.get(id).is_some_and(|exchange| exchange.is_filtered(Side::Response)) {
            true => self.filter(id, Side::Response, Item::End, now),
            false => self.pass_response_end(id, now),
        }
    }

    /// The end of the response goes to the client.
    pub(super) fn pass_response_end(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if let ResponsePhase::Body(coding) = exchange.phase {
            self.write_response_end(id, coding);
        }
        self.complete(id, now);
    }
}

/// Whether an upstream connection can be used again after this response (RFC 9112 section 9.3).
fn keeps_alive(exchange: &Exchange, framing: Framing) -> bool {
    let head = &exchange.response;
    let has = |option: &[u8]| head.fields.all(Name::Connection).flat_map(list).any(|o| o.eq_ignore_ascii_case(option));
    let allowed = match head.version {
        Version::Http11 => !has(b"close"),
        Version::Http10 => has(b"keep-alive"),
        Version::Http2 => true,
    };
    allowed && framing != Framing::UntilClose
}
