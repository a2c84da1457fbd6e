//! What happens when a deadline comes.

use super::Engine;
use crate::connection::Connection;
use crate::exchange::{ExchangeDeadline, Failure, ResponsePhase};
use crate::id::ExchangeId;
use crate::record::Flags;
use crate::stats::{ClusterStat, HttpStat};
use crate::time::Instant;
use crate::timer::Owner;
use bytes::Bytes;
use std::borrow::Cow;

impl Engine {
    pub(super) fn fire(&mut self, owner: Owner, now: Instant) {
        match owner {
            Owner::Connection(id) => loop {
                match self.connections.get_mut(id) {
                    Some(Connection::Downstream(conn)) => {
                        let Some(why) = conn.deadlines.pop_due(now, owner, &mut self.timers) else { return };
                        self.fire_downstream(id, why, now);
                    }
                    Some(Connection::Upstream(conn)) => {
                        let Some(why) = conn.deadlines.pop_due(now, owner, &mut self.timers) else { return };
                        self.fire_upstream(id, why, now);
                    }
                    None => return,
                }
            },
            Owner::Exchange(conn) => loop {
                let Some(Connection::Downstream(client)) = self.connections.get_mut(conn) else { return };
                let Some(id) = client.exchange() else {
                    client.exchange_alarm = Instant::NEVER;
                    return;
                };
                let Some(exchange) = self.exchanges.get_mut(id) else { return };
                let Some(why) = exchange.deadlines.pop_due(now, owner, &mut self.timers) else { return };
                self.fire_exchange(id, why, now);
            },
            Owner::Cluster(id) => self.refresh_cluster(id, now),
            Owner::Engine => self.drain_deadline(now),
        }
    }

    /// Connections that are gone leave entries behind. When those are the most, they are thrown away, which
    /// costs each connection a constant share.
    pub(super) fn forget_dead_timers(&mut self) {
        if self.timers.len() > 1024 + 8 * self.connections.len() {
            let connections = &self.connections;
            self.timers.retain(|owner| match owner {
                Owner::Connection(id) | Owner::Exchange(id) => connections.contains_key(id),
                Owner::Cluster(_) | Owner::Engine => true,
            });
        }
    }

    fn fire_exchange(&mut self, id: ExchangeId, why: ExchangeDeadline, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let stats = std::sync::Arc::clone(&exchange.manager.stats);
        let cluster = exchange.attempt.cluster.and_then(|cluster| self.clusters.get(cluster)).map(|c| std::sync::Arc::clone(&c.stats));
        let count = |stat: ClusterStat| {
            if let Some(cluster) = &cluster {
                cluster.inc(stat);
            }
        };
        match why {
            ExchangeDeadline::Backoff => self.try_upstream(id, now),
            ExchangeDeadline::PerTry => {
                count(ClusterStat::RqPerTryTimeout);
                self.attempt_failed(id, Failure::PerTryTimeout, now);
            }
            ExchangeDeadline::PerTryIdle => {
                count(ClusterStat::RqPerTryIdleTimeout);
                self.attempt_failed(id, Failure::PerTryTimeout, now);
            }
            ExchangeDeadline::Route => {
                count(ClusterStat::RqTimeout);
                exchange.record.flags.insert(Flags::UPSTREAM_TIMEOUT);
                self.time_out(id, 504, "upstream request timeout", "response_timeout", now);
            }
            ExchangeDeadline::Idle => {
                stats.inc(HttpStat::RqIdleTimeout);
                exchange.record.flags.insert(Flags::STREAM_IDLE);
                let status = if exchange.request_done { 504 } else { 408 };
                self.time_out(id, status, "stream timeout", "stream_idle_timeout", now);
            }
            ExchangeDeadline::Lifetime => {
                stats.inc(HttpStat::RqMaxDuration);
                let status = if exchange.request_done { 504 } else { 408 };
                self.time_out(id, status, "downstream duration timeout", "max_duration_timeout", now);
            }
            ExchangeDeadline::Request => {
                stats.inc(HttpStat::RqTimeout);
                self.time_out(id, 408, "request timeout", "request_overall_timeout", now);
            }
        }
    }

    /// Answers, or cuts an answer that was begun.
    fn time_out(&mut self, id: ExchangeId, status: u16, body: &'static str, details: &'static str, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.phase == ResponsePhase::Waiting {
            return self.reply(id, status, &Bytes::from_static(body.as_bytes()), details, now);
        }
        exchange.record.details = Cow::Borrowed(details);
        if exchange.response.status == 101 {
            return self.end_tunnel(id, now);
        }
        self.cut_response(id, now);
    }
}
