//! What happens when a deadline comes.

use super::Engine;
use super::drain::EngineDeadline;
use crate::cluster::ClusterDeadline;
use crate::connection::{Connection, DownstreamDeadline, UpstreamDeadline};
use crate::exchange::{ExchangeDeadline, Failure, ResponsePhase};
use crate::id::{ClusterId, ConnId, ExchangeId};
use crate::record::Flags;
use crate::stats::{ClusterStat, HttpStat};
use crate::time::Instant;
use crate::timer::{Entry, Owner};
use bytes::Bytes;
use std::borrow::Cow;

/// When an engine wants [`handle_timeout`](Engine::handle_timeout) to be called, and why.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// Why. The deadline may have been moved since, or its owner may be gone: then the call changes nothing.
    pub why: Why,
}

/// Every reason for which an engine can want to be called.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Of a connection from a client.
    Downstream(ConnId, DownstreamDeadline),
    /// Of a connection to an upstream host.
    Upstream(ConnId, UpstreamDeadline),
    /// Of the exchange on this connection from a client.
    Exchange(ConnId, ExchangeDeadline),
    /// Of an exchange with a stream of its own.
    Stream(ExchangeId, ExchangeDeadline),
    /// Of a cluster.
    Cluster(ClusterId, ClusterDeadline),
    /// Of the engine itself.
    Engine(EngineDeadline),
}

impl Deadline {
    pub(super) fn of(entry: Entry) -> Option<Deadline> {
        let why = match entry.owner {
            Owner::Downstream(id) => Why::Downstream(id, entry.reason()?),
            Owner::Upstream(id) => Why::Upstream(id, entry.reason()?),
            Owner::Exchange(id) => Why::Exchange(id, entry.reason()?),
            Owner::Stream(id) => Why::Stream(id, entry.reason()?),
            Owner::Cluster(id) => Why::Cluster(id, entry.reason()?),
            Owner::Engine => Why::Engine(entry.reason()?),
        };
        Some(Deadline { at: entry.at, why })
    }
}

impl Engine {
    pub(super) fn fire_due(&mut self, now: Instant) {
        while let Some(due) = self.timers.pop_due(now) {
            self.fire(due.owner, now);
        }
        self.go_on(now);
    }

    fn fire(&mut self, owner: Owner, now: Instant) {
        match owner {
            Owner::Downstream(id) => loop {
                let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
                let Some(why) = conn.deadlines.pop_due(now, owner, &mut self.timers) else { return };
                self.fire_downstream(id, why, now);
            },
            Owner::Upstream(id) => loop {
                let Some(Connection::Upstream(conn)) = self.connections.get_mut(id) else { return };
                let Some(why) = conn.deadlines.pop_due(now, owner, &mut self.timers) else { return };
                self.fire_upstream(id, why, now);
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
            Owner::Stream(id) => loop {
                let Some(exchange) = self.exchanges.get_mut(id) else { return };
                let Some(why) = exchange.deadlines.pop_due(now, owner, &mut self.timers) else { return };
                self.fire_exchange(id, why, now);
            },
            Owner::Cluster(id) => self.refresh_cluster(id, now),
            Owner::Engine => self.drain_deadline(now),
        }
    }

    /// Connections that are gone, and exchanges on streams, leave entries behind. When those are the most, they are thrown
    /// away, which costs each a constant share.
    pub(super) fn forget_dead_timers(&mut self) {
        if self.timers.len() > 1024 + 8 * (self.connections.len() + self.exchanges.len()) {
            let (connections, exchanges) = (&self.connections, &self.exchanges);
            self.timers.retain(|owner| match owner {
                Owner::Downstream(id) | Owner::Upstream(id) | Owner::Exchange(id) => connections.contains_key(id),
                Owner::Stream(id) => exchanges.contains_key(id),
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
        if exchange.tunnel {
            return self.end_tunnel(id, now);
        }
        self.cut_response(id, now);
    }
}
