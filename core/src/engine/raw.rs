//! Bytes that are nobody's HTTP: a TCP proxy's connections, and CONNECT where it ends here. Each has an exchange, for the
//! route, the retries, the deadlines and the log, and an upstream connection of its own.

use super::{Action, Engine};
use crate::connection::{Connection, DownstreamPhase, UpstreamPhase};
use crate::exchange::ExchangeDeadline;
use crate::http::Version;
use crate::http1::body::Decoder;
use crate::id::{ConnId, ExchangeId};
use crate::record::Flags;
use crate::time::Instant;
use std::borrow::Cow;

impl Engine {
    /// Whether what comes on this connection is no HTTP.
    pub(super) fn is_tcp(&self, id: ConnId) -> bool {
        matches!(self.connections.get(id), Some(Connection::Downstream(conn)) if conn.manager.config.tcp)
    }

    /// A client of a TCP proxy is there: connects it, before it says anything.
    pub(super) fn begin_tcp(&mut self, conn_id: ConnId, now: Instant) {
        let Some(mut exchange) = self.new_exchange(conn_id, now) else { return };
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(conn_id) else { return };
        exchange.deadlines.inherit(std::mem::replace(&mut conn.exchange_alarm, Instant::NEVER));
        exchange.request.set_path_and_query(b"/");
        exchange.request.fields.push(b"host", b"-");
        exchange.request.version = Version::Http11;
        exchange.request_done = true;
        exchange.record.request_end = Some(now);
        exchange.record.client = exchange.record.downstream.remote;
        exchange.timeouts.idle = exchange.manager.config.stream_idle_timeout;
        (conn.body, conn.last) = (Decoder::default(), true);
        let id = self.exchanges.insert(exchange);
        conn.phase = DownstreamPhase::Exchange(id);
        self.route(id, now);
    }

    /// The upstream connection of a tunnel is there: from here on it carries what the client says.
    pub(super) fn assign_raw(&mut self, id: ExchangeId, conn_id: ConnId, now: Instant) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        let (downstream, tcp) = (exchange.downstream, exchange.manager.config.tcp);
        if let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) {
            conn.last = true;
            conn.phase = UpstreamPhase::Tunnel(id);
        }
        exchange.record.response_start = Some(now);
        exchange.response.clear();
        exchange.response.version = Version::Http11;
        if tcp {
            exchange.tunnel = true;
            exchange.record.reply_start = Some(now);
            exchange.deadlines.clear(ExchangeDeadline::Route);
            if let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) {
                conn.phase = DownstreamPhase::Tunnel(id);
                conn.told = true;
                self.out.set_readable(downstream, &mut conn.wire, true);
            }
        } else {
            exchange.response.status = 200;
            self.start_tunnel(id, now);
        }
        // It may have closed its sending side while it waited.
        let half = matches!(self.connections.get(downstream), Some(Connection::Downstream(conn)) if conn.wire.eof && conn.version != Some(Version::Http2));
        if half {
            self.tunnel_eof_from_client(id, now);
        }
        true
    }

    /// A TCP proxy's client gets no answer: its connection ends.
    pub(super) fn cut_tcp(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let downstream = exchange.downstream;
        exchange.record.flags.insert(if exchange.record.flags.is_empty() { Flags::LOCAL_RESET } else { Flags::default() });
        if exchange.record.details.is_empty() {
            exchange.record.details = Cow::Borrowed("tcp_proxy");
        }
        self.end_exchange(id, now);
        if self.connections.contains_key(downstream) {
            self.out.actions.push_back(Action::Drop(downstream));
            self.forget_downstream(downstream, now);
        }
    }
}
