//! Answers of our own: Envoy's status, body text, headers and flags.

use super::Engine;
use crate::connection::Connection;
use crate::exchange::{ExchangeDeadline, Failure, Item, Refusal};
use crate::filter::Side;
use crate::http::{Name, grpc};
use crate::http1::Reject;
use crate::http1::framing::Framing;
use crate::id::{ConnId, ExchangeId};
use crate::record::Flags;
use crate::stats::HttpStat;
use crate::time::Instant;
use bytes::Bytes;
use std::borrow::Cow;

impl Engine {
    /// Answers an exchange and ends it. A gRPC request is answered as gRPC.
    pub(super) fn reply(&mut self, id: ExchangeId, status: u16, body: &Bytes, details: &'static str, now: Instant) {
        self.reply_with(id, status, body, Cow::Borrowed(details), &[], now);
    }

    /// Sends the client elsewhere.
    pub(super) fn redirect(&mut self, id: ExchangeId, status: u16, location: &[u8], details: &'static str, now: Instant) {
        self.reply_with(id, status, &Bytes::new(), Cow::Borrowed(details), &[(b"location", location)], now);
    }

    pub(super) fn reply_with(
        &mut self,
        id: ExchangeId,
        status: u16,
        body: &Bytes,
        details: Cow<'static, str>,
        extra: &[(&[u8], &[u8])],
        now: Instant,
    ) {
        if let Some(carrier) = self.detach(id) {
            self.abort(carrier, now);
        }
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let deadline = details == "max_duration_timeout";
        exchange.record.details = details;
        if exchange.manager.config.tcp {
            return self.cut_tcp(id, now);
        }
        if let Some(filters) = &mut exchange.filters {
            filters.begin_reply();
            exchange.response_trailers.clear();
            // It may take a while until the answer has passed filters: nothing else may begin meanwhile.
            for why in [ExchangeDeadline::Route, ExchangeDeadline::Request, ExchangeDeadline::Backoff] {
                exchange.deadlines.clear(why);
            }
        }
        exchange.response.clear();
        exchange.response.status = status;
        let has = |name: &[u8]| extra.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let fields = &mut exchange.response.fields;
        for (name, value) in extra {
            fields.push(name, value);
        }
        let is_grpc = status != 200
            && !has(b"location")
            && !has(b"upgrade")
            && exchange.request.fields.get(Name::ContentType).is_some_and(grpc::is_grpc);
        let body = if is_grpc {
            exchange.response.status = 200;
            fields.remove(Name::ContentType);
            fields.push(b"content-type", b"application/grpc");
            fields.push(b"grpc-status", if deadline { grpc::DEADLINE_EXCEEDED } else { grpc::status(status) });
            if !body.is_empty() {
                fields.push(b"grpc-message", &grpc::encode_message(body));
            }
            Bytes::new()
        } else {
            body.clone()
        };
        // RFC 9110 sections 8.6 and 15.3.5: no length, and no body, in 204.
        if matches!(status, 204 | 304) && !is_grpc {
            self.respond(id, Framing::Empty, now);
            return self.finish_body(id, now);
        }
        let trailers_only = is_grpc && exchange.stream.is_some();
        if !trailers_only {
            fields.push(b"content-length", itoa::Buffer::new().format(body.len()).as_bytes());
        }
        if !body.is_empty() && !has(b"content-type") {
            fields.push(b"content-type", b"text/plain");
        }
        let to_head = exchange.to_head;
        self.respond(id, Framing::Length(body.len() as u64), now);
        if !body.is_empty() && !to_head {
            self.reply_body(id, body, now);
        }
        self.finish_body(id, now);
    }

    fn reply_body(&mut self, id: ExchangeId, body: Bytes, now: Instant) {
        match self.exchanges.get(id).is_some_and(|exchange| exchange.is_filtered(Side::Response)) {
            true => self.filter(id, Side::Response, Item::Piece(body), now),
            false => drop(self.send_response_piece(id, body)),
        }
    }

    /// A head, a body or a trailer section that breaks HTTP/1: the client is told, and its connection ends.
    pub(super) fn reject(&mut self, id: ExchangeId, reject: Reject, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.request_done = false;
        if !matches!(reject, Reject::HeadTimeout | Reject::MissingHost) {
            exchange.record.flags.insert(Flags::DOWNSTREAM_PROTOCOL_ERROR);
            exchange.manager.stats.inc(HttpStat::CxProtocolError);
        }
        let downstream = exchange.downstream;
        if exchange.phase != crate::exchange::ResponsePhase::Waiting {
            exchange.record.details = Cow::Borrowed(reject.details());
            return self.cut_response(id, now);
        }
        if !self.is_stream(id) {
            self.end_input(downstream);
        }
        let text = match reject {
            Reject::HeadTimeout => "request header timeout",
            Reject::MissingHost => "",
            other => crate::http::reason_phrase(other.status()),
        };
        let body = Bytes::from_static(text.as_bytes());
        self.reply(id, reject.status(), &body, reject.details(), now);
    }

    /// The connection manager's rules refuse the request.
    pub(super) fn refuse(&mut self, id: ExchangeId, refusal: Refusal, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if refusal.protocol_error {
            exchange.record.flags.insert(Flags::DOWNSTREAM_PROTOCOL_ERROR);
        }
        let downstream = exchange.downstream;
        if let Some(location) = &refusal.location {
            exchange.manager.stats.inc(HttpStat::RqRedirected);
            return self.redirect(id, refusal.status, location, refusal.details, now);
        }
        if refusal.status != 404
            && exchange.stream.is_none()
            && let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream)
        {
            conn.last = true;
        }
        let body = Bytes::from_static(refusal.body.as_bytes());
        if refusal.status == 426 {
            // RFC 9110 section 15.5.22: it says to what.
            let to: [(&[u8], &[u8]); 2] = [(b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade")];
            return self.reply_with(id, 426, &body, Cow::Borrowed(refusal.details), &to, now);
        }
        self.reply(id, refusal.status, &body, refusal.details, now);
    }

    /// No byte more is read as HTTP on this connection.
    fn end_input(&mut self, id: ConnId) {
        if let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) {
            conn.last = true;
            conn.body = crate::http1::body::Decoder::default();
        }
    }

    /// All tries have failed.
    pub(super) fn reply_to_failure(&mut self, id: ExchangeId, failure: Failure, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.record.flags.insert(super::failure::flag_of(failure));
        if failure == Failure::PerTryTimeout {
            return self.reply(id, 504, &Bytes::from_static(b"upstream request timeout"), "upstream_per_try_timeout", now);
        }
        let reason = match failure {
            Failure::Connect { timeout: true } => "connection timeout",
            Failure::Connect { timeout: false } => "remote connection failure",
            Failure::Closed => "connection termination",
            Failure::Protocol => "protocol error",
            Failure::Reset => "remote reset",
            Failure::Refused => "remote refused stream reset",
            Failure::PerTryTimeout | Failure::Overflow => "overflow",
        };
        let retried = if exchange.retry.done() > 0 { "retried and the latest reset reason" } else { "reset reason" };
        let mut body = format!("upstream connect error or disconnect/reset before headers. {retried}: {reason}");
        if let (Some(cause), Failure::Connect { .. }) = (&exchange.record.transport_failure, failure)
            && cause.starts_with("TLS_error")
        {
            body = format!("{body}, transport failure reason: {cause}");
        }
        let cause = match (&exchange.record.transport_failure, failure) {
            (Some(cause), Failure::Connect { .. }) => format!("|{}", cause.replace(' ', "_")),
            _ => String::new(),
        };
        let details = format!("upstream_reset_before_response_started{{{}{cause}}}", reason.replace(' ', "_"));
        let status = if failure == Failure::Protocol { 502 } else { 503 };
        let overloaded: &[(&[u8], &[u8])] = match failure == Failure::Overflow && !exchange.manager.config.suppress_envoy_headers {
            true => &[(b"x-envoy-overloaded", b"true")],
            false => &[],
        };
        self.reply_with(id, status, &Bytes::from(body), Cow::Owned(details), overloaded, now);
    }
}
