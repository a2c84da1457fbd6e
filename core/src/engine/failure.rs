//! What follows a try that has failed: letting go of what it held, once more on another connection, a retry, an answer of
//! our own.

use super::sides::Carrier;
use super::{Action, Engine};
use crate::exchange::{ExchangeDeadline, Failure, Plan, ResponsePhase};
use crate::id::ExchangeId;
use crate::limit;
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::stats::ClusterStat;
use crate::time::Instant;
use std::borrow::Cow;

impl Engine {
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
        let (cluster_id, host_id, pool) = (attempt.cluster, attempt.host, attempt.pool.clone());
        if let Some(host) = host_id.and_then(|host| cluster.hosts.get_mut(host)) {
            host.pool(&pool).stop_waiting(id);
            host.forget_if_empty(&pool);
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
        // Filters have seen its head: no other can take its place but one of our own.
        if exchange.filters.as_ref().is_some_and(|filters| filters.has_response()) {
            return self.reply_to_failure(id, failure, now);
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
