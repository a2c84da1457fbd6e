//! Tries: choosing a host, getting a connection, sending the request. What follows when one fails is [`super::failure`]'s.

use super::Engine;
use crate::cluster::PoolKind;
use crate::config::HostRewrite;
use crate::connection::{Connection, PartialHead, UpstreamDeadline, UpstreamPhase};
use crate::exchange::{ExchangeDeadline, Failure};
use crate::http::Name;
use crate::http1::encode;
use crate::id::{ClusterId, ConnId, ExchangeId, HostId};
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::router::rewritten_host;
use crate::stats::ClusterStat;
use crate::time::Instant;
use bytes::Bytes;

impl Engine {
    /// Chooses a host and gets a connection to it, now or as soon as one is free.
    pub(super) fn try_upstream(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let Some(cluster_id) = exchange.attempt.cluster else { return };
        exchange.record.attempts += 1;
        let Some(cluster) = self.clusters.get_mut(cluster_id) else {
            exchange.record.flags.insert(Flags::NO_CLUSTER);
            return self.reply(id, 503, &Bytes::new(), "cluster_not_found", now);
        };
        let (tried, draws) = exchange.retry.avoid();
        let picked = cluster.hosts.pick(tried, draws, &mut self.answers);
        let Some((host_id, host)) = picked.and_then(|host_id| Some((host_id, cluster.hosts.get_mut(host_id)?))) else {
            cluster.stats.inc(ClusterStat::CxNoneHealthy);
            exchange.record.flags.insert(Flags::NO_HEALTHY_UPSTREAM);
            return self.reply(id, 503, &Bytes::from_static(b"no healthy upstream"), "no_healthy_upstream", now);
        };
        exchange.attempt.host = Some(host_id);
        exchange.attempt.answered = false;
        exchange.record.earlier_endpoints.extend(exchange.record.endpoint.replace(host.address));
        if exchange.retry.is_on() {
            exchange.retry.tried.push(host_id);
        }
        let pool = host.pool(&exchange.attempt.pool);
        let idle = match exchange.attempt.fresh {
            true => None,
            false => pool.shared().or_else(|| pool.take_idle()),
        };
        self.explain_attempt(id, idle, now);
        match idle {
            Some(conn) => {
                if !self.assign(id, conn, now) {
                    self.release_upstream(conn, now);
                    self.attempt_failed(id, Failure::Overflow, now);
                }
            }
            None => self.wait_for_connection(id, cluster_id, host_id, now),
        }
    }

    fn wait_for_connection(&mut self, id: ExchangeId, cluster_id: ClusterId, host_id: HostId, now: Instant) {
        let (Some(exchange), Some(cluster)) = (self.exchanges.get_mut(id), self.clusters.get_mut(cluster_id)) else { return };
        let (priority, key) = (exchange.attempt.priority, exchange.attempt.pool.clone());
        let breakers = &cluster.config.breakers[priority];
        // With no connection allowed at all there is nothing to wait for.
        if breakers.max_connections == 0 || !self.answers.acquire(&cluster.shared.priorities[priority].pending, breakers.max_pending) {
            cluster.stats.inc(ClusterStat::RqPendingOverflow);
            exchange.record.endpoint = None;
            self.forget_pool_if_empty(cluster_id, host_id, &key);
            return self.attempt_failed(id, Failure::Overflow, now);
        }
        cluster.stats.inc(ClusterStat::RqPendingTotal);
        cluster.stats.inc(ClusterStat::RqPendingActive);
        exchange.attempt.waiting = true;
        if let Some(host) = cluster.hosts.get_mut(host_id) {
            host.pool(&key).wait(id);
        }
        self.open_connections(cluster_id, host_id, &key, now);
    }

    /// Sends an exchange's request on a free connection. Answers `false`, and leaves the connection free, if the
    /// exchange is gone or the breaker has no room for one more request.
    pub(super) fn assign(&mut self, id: ExchangeId, conn_id: ConnId, now: Instant) -> bool {
        self.stop_waiting(id);
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        let Some(Connection::Upstream(conn)) = self.connections.get_mut(conn_id) else { return false };
        let Some(cluster) = self.clusters.get_mut(conn.cluster) else { return false };
        let priority = exchange.attempt.priority;
        let more = u32::from(is_planted(Plant::RequestsOffByOne));
        let max = cluster.config.breakers[priority].max_requests.saturating_add(more);
        if !self.answers.acquire(&cluster.shared.priorities[priority].requests, max) {
            cluster.stats.inc(ClusterStat::RqPendingOverflow);
            return false;
        }
        cluster.stats.inc(ClusterStat::RqTotal);
        cluster.stats.inc(ClusterStat::RqActive);
        conn.requests += 1;
        conn.deadlines.clear(UpstreamDeadline::Idle);
        let is_http2 = conn.session().is_some();
        if !is_http2 {
            conn.phase = UpstreamPhase::Head(id, PartialHead::default());
        }
        if cluster.config.max_requests_per_connection.is_some_and(|max| conn.requests >= max) {
            cluster.stats.inc(ClusterStat::CxMaxRequests);
            conn.last = true;
            if let Some(session) = conn.session() {
                session.leave();
            }
        }
        let attempt = &mut exchange.attempt;
        (attempt.conn, attempt.reused, attempt.fresh) = (Some(conn_id), conn.requests > 1, false);
        exchange.record.upstream = conn.addresses;
        exchange.record.upstream_tls.clone_from(&conn.tls);
        exchange.record.upstream_connection = Some(conn.number);
        exchange.record.upstream_connect = conn.connected.map(|connected| (conn.since, connected));
        exchange.record.upstream_start.get_or_insert(now);
        if let Some(host) = cluster.hosts.get(conn.host) {
            host.shared.start();
            rewrite_for_host(exchange, &host.hostname);
        }
        if is_http2 {
            return self.assign_stream(id, conn_id, now);
        }
        if conn.pool.kind == PoolKind::Raw {
            return self.assign_raw(id, conn_id, now);
        }
        let before = conn.wire.out.len();
        encode::request_head(&exchange.request, conn.wire.out.writer(&mut self.blocks));
        exchange.record.upstream_head_sent += (conn.wire.out.len() - before) as u64;
        self.arm_try(id, now);
        self.explain_sent(id, now);
        self.send_held_body(id, now);
        true
    }

    pub(super) fn arm_try(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let (timeouts, owner) = (exchange.timeouts, exchange.owner);
        if let (Some(per_try), false) = (timeouts.per_try, exchange.upgrade) {
            exchange.deadlines.set(ExchangeDeadline::PerTry, now + per_try, owner, &mut self.timers);
        }
        if let Some(idle) = timeouts.per_try_idle {
            exchange.deadlines.set(ExchangeDeadline::PerTryIdle, now + idle, owner, &mut self.timers);
        }
    }

    /// Sends what has arrived of the body, and its end if that has arrived too.
    pub(super) fn send_held_body(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let mut wait = false;
        if !exchange.body.is_empty() {
            for piece in exchange.body.start_sending() {
                wait = self.write_request(id, piece);
            }
        }
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.request_passed() {
            self.send_request_end(id, now);
        } else if let Some(conn) = exchange.attempt.conn {
            let arriving = !exchange.request_done;
            self.queue_transmit(conn);
            if arriving && !wait {
                self.resume_request(id);
            }
        }
    }

    /// Sends one piece of the body on; answers whether the client has to wait.
    pub(super) fn send_request_piece(&mut self, id: ExchangeId, piece: Bytes) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        if exchange.attempt.conn.is_none() {
            return false;
        }
        exchange.body.sent(&piece);
        let full = self.write_request(id, piece);
        if full {
            self.pause_request(id);
        }
        full
    }

    /// Sends the end of the request, if a connection carries it.
    pub(super) fn send_request_end(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.attempt.conn.is_some() {
            exchange.record.upstream_end = Some(now);
            self.write_request_end(id);
        }
    }
}

fn rewrite_for_host(exchange: &mut crate::exchange::Exchange, hostname: &str) {
    let manager = std::sync::Arc::clone(&exchange.manager);
    let Some(crate::config::Action::Forward(forward)) =
        exchange.found.and_then(|found| found.get(&manager.config.routes)).map(|(_, route)| &route.action)
    else {
        return;
    };
    if exchange.record.attempts > 1 && exchange.request.fields.has(Name::AttemptCount) {
        exchange.request.fields.set(Name::AttemptCount, itoa::Buffer::new().format(exchange.record.attempts).as_bytes());
    }
    let Some(rewrite) = &forward.host else { return };
    let first = exchange.record.attempts <= 1;
    if !first && !matches!(rewrite, HostRewrite::Endpoint) {
        return;
    }
    let Some(new) = rewritten_host(rewrite, &exchange.request, hostname) else { return };
    let old = exchange.request.authority().to_vec();
    exchange.request.fields.set(Name::Host, &new);
    if first && old != new {
        if forward.append_forwarded_host {
            exchange.request.fields.append(Name::XForwardedHost, b",", &old);
        }
        if !manager.config.suppress_envoy_headers {
            exchange.request.fields.set(Name::OriginalHost, &old);
        }
    }
}
