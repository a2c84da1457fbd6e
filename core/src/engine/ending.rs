//! The end of an exchange: complete, cut, or given up by its client.

use super::{Action, Engine};
use crate::connection::{Connection, UpstreamPhase};
use crate::exchange::ResponsePhase;
use crate::id::ExchangeId;
use crate::limit;
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::stats::{ClusterStat, HttpStat, Timing};
use crate::time::Instant;
use std::borrow::Cow;

impl Engine {
    /// A response that was begun cannot be completed: the client must see that it is cut.
    pub(super) fn cut_response(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.manager.stats.inc(HttpStat::RqReset);
        exchange.manager.stats.inc(HttpStat::RqTxReset);
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        let ended_by_close = exchange.is_ended_by_close();
        self.end_exchange(id, now);
        if let Some(stream) = stream {
            return self.cut_stream(downstream, stream, h2::Reason::INTERNAL_ERROR, now);
        }
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(downstream) else { return };
        conn.last = true;
        if ended_by_close {
            self.out.actions.push_back(Action::Reset(downstream));
            self.forget_downstream(downstream, now);
        } else {
            // Requests that wait behind this one must not turn the close into a reset: the client would lose what
            // it was sent, and could not tell a cut answer from none.
            self.finish_downstream(downstream, true, now);
        }
    }

    /// The client is gone: whatever is under way for it ends.
    pub(super) fn abandon(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if !exchange.is_tunnel() {
            exchange.record.flags.insert(Flags::DOWNSTREAM_TERMINATION);
            exchange.record.details = Cow::Borrowed("downstream_remote_disconnect");
            exchange.manager.stats.inc(HttpStat::RqRxReset);
            if let Some(cluster) = exchange.attempt.cluster.and_then(|cluster| self.clusters.get(cluster)) {
                cluster.stats.inc(ClusterStat::RqCancelled);
            }
        }
        self.end_exchange(id, now);
    }

    /// The response is complete: ends the exchange and turns to the connection's next request.
    pub(super) fn complete(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        exchange.phase = ResponsePhase::Done;
        let (downstream, request_done, stream) = (exchange.downstream, exchange.request_done, exchange.stream);
        self.end_exchange(id, now);
        if let Some(stream) = stream {
            return self.end_stream_down(downstream, stream, now);
        }
        self.next_request(downstream, request_done, now);
    }

    /// Lets go of everything the exchange holds, counts it, logs it.
    pub(super) fn end_exchange(&mut self, id: ExchangeId, now: Instant) {
        self.release_retry(id);
        if let Some(carrier) = self.detach(id) {
            if is_planted(Plant::AnswerToAnother) && carrier.stream.is_none() {
                self.release_upstream(carrier.conn, now);
            } else {
                if let (Some(Connection::Upstream(conn)), None) = (self.connections.get_mut(carrier.conn), carrier.stream) {
                    conn.phase = UpstreamPhase::Closed;
                }
                self.abort(carrier, now);
            }
        }
        let Some(mut exchange) = self.exchanges.remove(id) else { return };
        exchange.record.end = Some(now);
        if let Some(mut filters) = exchange.filters.take() {
            filters.iter_mut().for_each(|filter| filter.finished(&exchange.record));
        }
        let stats = &exchange.manager.stats;
        if !(is_planted(Plant::GaugeLeak) && exchange.attempt.cluster.is_none()) {
            stats.dec(HttpStat::RqActive);
        }
        if exchange.is_tunnel() && !exchange.manager.config.tcp {
            stats.dec(HttpStat::CxUpgradesActive);
        }
        if exchange.record.status > 0 {
            stats.inc(HttpStat::RqCompleted);
            stats.count_code(exchange.record.status);
        }
        stats.time(Timing::RqTime, now.since(exchange.record.start).as_millis() as u64);
        self.log(&exchange);
        self.explain_end(id, &exchange, now);
        if let (Some(Connection::Downstream(conn)), None) = (self.connections.get_mut(exchange.downstream), exchange.stream) {
            conn.exchange_alarm = exchange.deadlines.alarm();
        }
        exchange.body.clear();
        if self.spare.len() < limit::SPARE_EXCHANGES {
            self.spare.push(exchange);
        }
    }
}
