//! Tries: choosing a host, getting a connection, sending the request, and what follows a failure.

use super::sides::Carrier;
use super::{Action, ConnectTls, Engine};
use crate::cluster::PoolKind;
use crate::config::HostRewrite;
use crate::connection::{Connection, PartialHead, Upstream, UpstreamDeadline, UpstreamPhase, Wire};
use crate::exchange::{ExchangeDeadline, Failure, Plan, ResponsePhase};
use crate::http::Name;
use crate::http1::body::Decoder;
use crate::http1::encode;
use crate::id::{ClusterId, ConnId, ExchangeId, HostId};
use crate::limit;
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::router::rewritten_host;
use crate::stats::ClusterStat;
use crate::time::Instant;
use crate::timer::{Deadlines, Owner};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

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
        let kind = exchange.attempt.pool;
        let pool = host.pool(kind);
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
        let (priority, kind) = (exchange.attempt.priority, exchange.attempt.pool);
        let breakers = &cluster.config.breakers[priority];
        // With no connection allowed at all there is nothing to wait for.
        if breakers.max_connections == 0 || !self.answers.acquire(&cluster.shared.priorities[priority].pending, breakers.max_pending) {
            cluster.stats.inc(ClusterStat::RqPendingOverflow);
            exchange.record.endpoint = None;
            return self.attempt_failed(id, Failure::Overflow, now);
        }
        cluster.stats.inc(ClusterStat::RqPendingTotal);
        cluster.stats.inc(ClusterStat::RqPendingActive);
        exchange.attempt.waiting = true;
        if let Some(host) = cluster.hosts.get_mut(host_id) {
            host.pool(kind).wait(id);
        }
        self.open_connections(cluster_id, host_id, kind, now);
    }

    /// Begins as many connections to a host as exchanges wait for one, within the breaker's bound.
    pub(super) fn open_connections(&mut self, cluster_id: ClusterId, host_id: HostId, kind: PoolKind, now: Instant) {
        loop {
            let Some(cluster) = self.clusters.get_mut(cluster_id) else { return };
            let Some(host) = cluster.hosts.get_mut(host_id) else { return };
            let (address, hostname) = (host.address, Arc::clone(&host.hostname));
            let pool = host.pool(kind);
            if pool.waiting() <= pool.expected {
                return;
            }
            let Some(next) = pool.waiting_at(pool.expected) else { return };
            let carries = cluster.config.protocol.carries(kind, pool.is_http1);
            let Some(exchange) = self.exchanges.get_mut(next) else { return };
            let priority = exchange.attempt.priority;
            let shared = &cluster.shared.priorities[priority];
            let more = u32::from(is_planted(Plant::ConnectionsOffByOne));
            if !self.answers.acquire(&shared.connections, cluster.config.breakers[priority].max_connections.saturating_add(more)) {
                if !exchange.attempt.starved {
                    exchange.attempt.starved = shared.starved.try_acquire(u32::MAX);
                    cluster.stats.inc(ClusterStat::CxOverflow);
                    self.out.actions.push_back(Action::Nudge);
                }
                return;
            }
            if std::mem::take(&mut exchange.attempt.starved) {
                shared.starved.release();
            }
            let timeout = cluster.config.connect_timeout;
            let tls = cluster.config.tls.as_ref().map(|config| ConnectTls {
                server_name: Arc::clone(if config.auto_host_sni && !hostname.is_empty() { &hostname } else { &config.sni }),
                config: Arc::clone(config),
            });
            pool.connecting += 1;
            pool.connections += 1;
            pool.expected += carries;
            cluster.connections += 1;
            cluster.stats.inc(ClusterStat::CxTotal);
            cluster.stats.inc(ClusterStat::CxActive);
            let conn = self.connections.insert_with_key(|conn| {
                let mut deadlines = Deadlines::default();
                deadlines.set(UpstreamDeadline::Connect, now + timeout, Owner::Upstream(conn), &mut self.timers);
                Connection::Upstream(Box::new(Upstream {
                    wire: Wire::default(),
                    cluster: cluster_id,
                    host: host_id,
                    pool: kind,
                    carries,
                    priority,
                    addresses: None,
                    security: tls.as_ref().map(|tls| Arc::clone(&tls.config)),
                    tls: None,
                    number: self.answers.number(|| self.shared.number_connection()),
                    connected: None,
                    phase: UpstreamPhase::Connecting,
                    body: Decoder::default(),
                    deadlines,
                    since: now,
                    requests: 0,
                    last: false,
                }))
            });
            self.out.actions.push_back(Action::Connect { conn, address, tls });
        }
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
        if conn.pool == PoolKind::Raw {
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
        if exchange.request_done {
            self.send_request_end(id, now);
        } else if let Some(conn) = exchange.attempt.conn {
            self.queue_transmit(conn);
            if !wait {
                self.resume_request(id);
            }
        }
    }

    /// Sends one piece of the body on.
    pub(super) fn send_request_piece(&mut self, id: ExchangeId, piece: Bytes) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.attempt.conn.is_none() {
            return;
        }
        exchange.body.sent(&piece);
        if self.write_request(id, piece) {
            self.pause_request(id);
        }
    }

    /// Sends the end of the request, if a connection carries it.
    pub(super) fn send_request_end(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.attempt.conn.is_some() {
            exchange.record.upstream_end = Some(now);
            self.write_request_end(id);
        }
    }

    /// The exchange is no longer in any pool's queue.
    pub(super) fn stop_waiting(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let attempt = &mut exchange.attempt;
        if !std::mem::take(&mut attempt.waiting) {
            return;
        }
        let Some(cluster) = attempt.cluster.and_then(|cluster| self.clusters.get_mut(cluster)) else { return };
        let shared = &cluster.shared.priorities[attempt.priority];
        if !is_planted(Plant::PendingLeak) {
            shared.pending.release();
        }
        cluster.stats.dec(ClusterStat::RqPendingActive);
        if std::mem::take(&mut attempt.starved) {
            shared.starved.release();
            // Who waits behind it is the one that starves now, and nobody has noticed.
            self.out.actions.push_back(Action::Nudge);
        }
        let (cluster_id, host_id, pool) = (attempt.cluster, attempt.host, attempt.pool);
        if let Some(host) = host_id.and_then(|host| cluster.hosts.get_mut(host)) {
            host.pool(pool).stop_waiting(id);
        }
        if let (Some(cluster_id), Some(host_id), true) = (cluster_id, host_id, cluster.removed) {
            cluster.hosts.forget_if_unused(host_id);
            self.forget_cluster_if_unused(cluster_id);
        }
    }

    /// The exchange lets go of its upstream connection, and of what breakers count for it. Answers what
    /// carried it.
    pub(super) fn detach(&mut self, id: ExchangeId) -> Option<Carrier> {
        self.stop_waiting(id);
        let exchange = self.exchanges.get_mut(id)?;
        exchange.deadlines.clear(ExchangeDeadline::PerTry);
        exchange.deadlines.clear(ExchangeDeadline::PerTryIdle);
        let attempt = &mut exchange.attempt;
        let carrier = Carrier { conn: attempt.conn.take()?, stream: attempt.stream.take() };
        let cluster = attempt.cluster.and_then(|cluster| self.clusters.get_mut(cluster))?;
        let leaks = (is_planted(Plant::BreakerLeak) && exchange.record.flags.contains(Flags::DOWNSTREAM_TERMINATION))
            || (is_planted(Plant::ResetLeaksSlot) && carrier.stream.is_some() && !attempt.answered);
        if !leaks {
            cluster.shared.priorities[attempt.priority].requests.release();
        }
        cluster.stats.dec(ClusterStat::RqActive);
        if let Some(host) = attempt.host.and_then(|host| cluster.hosts.get(host)) {
            host.shared.end();
        }
        Some(carrier)
    }

    /// The exchange is not a retry any more, as far as the retry breaker goes.
    pub(super) fn release_retry(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if std::mem::take(&mut exchange.attempt.holds_retry)
            && !is_planted(Plant::RetryLeak)
            && let Some(cluster) = exchange.attempt.cluster.and_then(|cluster| self.clusters.get(cluster))
        {
            cluster.shared.priorities[exchange.attempt.priority].retries.release();
        }
    }

    /// A try has ended without a response head.
    pub(super) fn attempt_failed(&mut self, id: ExchangeId, failure: Failure, now: Instant) {
        let sent = self.exchanges.get(id).is_some_and(|exchange| exchange.attempt.conn.is_some());
        self.release_retry(id);
        if let Some(carrier) = self.detach(id) {
            self.abort(carrier, now);
        }
        self.explain_failure(id, failure, now);
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.phase != ResponsePhase::Waiting {
            exchange.record.flags.insert(flag_of(failure));
            exchange.record.details = Cow::Borrowed(match failure {
                Failure::Protocol => "upstream_reset_after_response_started{protocol_error}",
                Failure::PerTryTimeout => "upstream_per_try_timeout",
                Failure::Reset | Failure::Refused => "upstream_reset_after_response_started{remote_reset}",
                _ => "upstream_reset_after_response_started{connection_termination}",
            });
            return self.cut_response(id, now);
        }
        if self.replay_on_fresh_connection(id, failure, now) {
            return;
        }
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let plan = match exchange.body.can_replay() {
            true => exchange.retry.after_failure(failure, sent, &mut self.random.backoff),
            false => Plan::GiveUp,
        };
        if !self.follow(id, plan, now) {
            self.reply_to_failure(id, failure, now);
        }
    }

    /// A pooled connection that was closed before it answered may have been closing already when the
    /// request was sent on it. A request that may be sent twice is then sent once more on a new connection,
    /// whatever the retry policy says (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
    fn replay_on_fresh_connection(&mut self, id: ExchangeId, failure: Failure, now: Instant) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        let attempt = &mut exchange.attempt;
        // What the upstream says it has not looked at may be sent again, whatever it is (RFC 9113 section 8.7).
        let refused = failure == Failure::Refused && !attempt.answered && attempt.refused < limit::REFUSALS;
        let closed = failure == Failure::Closed && attempt.reused && !attempt.answered && !attempt.replayed;
        let stale = closed || refused;
        let may_repeat = refused || exchange.request.is_idempotent() || is_planted(Plant::ReplayOfPost);
        if !stale || !may_repeat || !exchange.body.can_replay() || exchange.upgrade {
            return false;
        }
        attempt.refused += u32::from(refused);
        attempt.replayed |= closed;
        // A connection on which a stream was refused may take another; one that is left has no room.
        attempt.fresh = !refused;
        attempt.reused = false;
        exchange.record.attempts -= 1;
        if let Some(cluster) = attempt.cluster.and_then(|cluster| self.clusters.get(cluster)) {
            cluster.stats.inc(ClusterStat::RqReplay);
        }
        self.step(id, now, |_, _| "the connection was closed before it was sent on: once more on a new one".to_owned());
        self.try_upstream(id, now);
        true
    }

    /// Arranges the next try, if the plan is to make one and the breaker allows; true if it does.
    pub(super) fn follow(&mut self, id: ExchangeId, plan: Plan, now: Instant) -> bool {
        let followed = self.arrange(id, plan, now);
        self.explain_plan(id, plan, followed, now);
        followed
    }

    fn arrange(&mut self, id: ExchangeId, plan: Plan, now: Instant) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else { return false };
        let Some(cluster) = exchange.attempt.cluster.and_then(|cluster| self.clusters.get(cluster)) else { return false };
        let priority = exchange.attempt.priority;
        match plan {
            Plan::GiveUp => false,
            Plan::Exhausted => {
                cluster.stats.inc(ClusterStat::RqRetryLimit);
                exchange.record.flags.insert(Flags::RETRY_LIMIT);
                false
            }
            Plan::Retry(pause) => {
                let (shared, breakers) = (&cluster.shared.priorities[priority], &cluster.config.breakers[priority]);
                let more = u32::from(is_planted(Plant::RetriesOffByOne));
                if !self.answers.acquire_by(&shared.retries, || shared.try_retry(breakers, more)) {
                    cluster.stats.inc(ClusterStat::RqRetryOverflow);
                    exchange.record.flags.insert(Flags::UPSTREAM_OVERFLOW);
                    return false;
                }
                exchange.attempt.holds_retry = true;
                cluster.stats.inc(ClusterStat::RqRetry);
                cluster.stats.inc(ClusterStat::RqRetryBackoff);
                exchange.deadlines.set(ExchangeDeadline::Backoff, now + pause, exchange.owner, &mut self.timers);
                true
            }
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

/// The response flag of a failure.
pub(super) fn flag_of(failure: Failure) -> Flags {
    match failure {
        Failure::Connect { .. } => Flags::UPSTREAM_CONNECTION_FAILURE,
        Failure::Closed => Flags::UPSTREAM_TERMINATION,
        Failure::Protocol => Flags::UPSTREAM_PROTOCOL_ERROR,
        Failure::Reset | Failure::Refused => Flags::UPSTREAM_RESET,
        Failure::PerTryTimeout => Flags::UPSTREAM_TIMEOUT,
        Failure::Overflow => Flags::UPSTREAM_OVERFLOW,
    }
}
