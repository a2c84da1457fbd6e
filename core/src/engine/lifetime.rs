//! How long a client's connection is there: admission, deadlines, the end. What comes on it is [`super::downstream`]'s.

use super::{Action, Engine, IoFault, Refused};
use crate::connection::{Connection, Downstream, DownstreamDeadline, DownstreamPhase, PartialHead, Wire};
use crate::http1::Reject;
use crate::http1::body::Decoder;
use crate::id::{ConnId, ListenerId};
use crate::limit;
use crate::listener::{Arrival, Hello};
use crate::plant::{Plant, is_planted};
use crate::record::Addresses;
use crate::stats::{HttpStat, ListenerStat, Timing};
use crate::time::Instant;
use crate::timer::{Deadlines, Owner};
use std::sync::Arc;

impl Engine {
    pub(super) fn accept(&mut self, on: ListenerId, addresses: Addresses, now: Instant) -> Result<ConnId, Refused> {
        let listener = self.listeners.get_mut(on).ok_or(Refused::UnknownListener)?;
        let chain = match listener.chains.inspecting {
            true => None,
            false => listener.chains.choose(&Arrival { addresses, hello: Hello::default() }),
        };
        let Some(manager) = listener.chains.get(chain).or_else(|| listener.chains.any().filter(|_| listener.chains.inspecting)) else {
            listener.stats.inc(ListenerStat::NoFilterChain);
            return Err(Refused::NoFilterChain);
        };
        let manager = Arc::clone(&manager.manager);
        let max = u32::try_from(self.config.max_connections).unwrap_or(u32::MAX);
        if !self.answers.acquire(&self.shared.connections, max) {
            listener.stats.inc(ListenerStat::GlobalCxOverflow);
            return Err(Refused::GlobalLimit);
        }
        let max = listener.config.max_connections.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(u32::MAX));
        if !self.answers.acquire(&listener.count, max) {
            self.shared.connections.release();
            listener.stats.inc(ListenerStat::CxOverflow);
            return Err(Refused::ListenerLimit);
        }
        listener.connections += 1;
        listener.stats.inc(ListenerStat::CxTotal);
        listener.stats.inc(ListenerStat::CxActive);
        if let Some(chain) = chain {
            listener.chains.join(chain);
        }
        let conn = Downstream {
            wire: Wire::default(),
            listener: on,
            addresses,
            number: self.answers.number(|| self.shared.number_connection()),
            version: None,
            phase: DownstreamPhase::Head(PartialHead::default()),
            body: Decoder::default(),
            deadlines: Deadlines::default(),
            exchange_alarm: Instant::NEVER,
            idle_since: now,
            since: now,
            requests: 0,
            last: false,
            told: false,
            patience: usize::MAX,
            client_closes: false,
            manager,
            chain,
            tls: None,
        };
        let id = self.connections.insert(Connection::Downstream(Box::new(conn)));
        self.begin_opening(id, now);
        self.forget_dead_timers();
        Ok(id)
    }

    /// Deadlines of a connection that was just accepted.
    pub(super) fn arm_downstream(&mut self, id: ConnId, now: Instant) {
        self.arm_idle(id);
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        if let Some(lifetime) = conn.manager.config.max_connection_duration {
            conn.deadlines.set(DownstreamDeadline::Lifetime, now + lifetime, Owner::Downstream(id), &mut self.timers);
        }
    }

    pub(super) fn closed_downstream(&mut self, id: ConnId, why: IoFault, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let (exchange, stats) = (conn.exchange(), Arc::clone(&conn.manager.stats));
        let busy = conn.session().is_some_and(|session| session.streams() > 0);
        if conn.chain.is_some() {
            stats.inc(match why {
                IoFault::Closed => HttpStat::CxDestroyLocal,
                IoFault::Reset => HttpStat::CxDestroyRemote,
            });
        }
        if let Some(exchange) = exchange {
            stats.inc(HttpStat::CxDestroyRemoteActive);
            self.abandon(exchange, now);
        }
        if busy {
            stats.inc(HttpStat::CxDestroyRemoteActive);
            self.abandon_streams(id, now);
        }
        self.forget_downstream(id, now);
    }

    /// Closes a client's connection now, and forgets it.
    pub(super) fn drop_downstream(&mut self, id: ConnId, now: Instant) {
        if self.connections.contains_key(id) {
            self.out.actions.push_back(Action::Drop(id));
            self.forget_downstream(id, now);
        }
    }

    pub(super) fn forget_downstream(&mut self, id: ConnId, now: Instant) {
        let Some(Connection::Downstream(mut conn)) = self.connections.remove(id) else { return };
        conn.wire.out.clear(&mut self.blocks);
        if !(is_planted(Plant::ClientCountLeak) && conn.wire.eof) {
            self.shared.connections.release();
        }
        let stats = &conn.manager.stats;
        // Who left before its chain was known was nobody's.
        if conn.chain.is_some() {
            stats.inc(HttpStat::CxDestroy);
            conn.gauges().for_each(|gauge| stats.dec(gauge));
        }
        stats.time(Timing::Connection, now.since(conn.since).as_millis() as u64);
        if let Some(listener) = self.listeners.get_mut(conn.listener) {
            listener.connections -= 1;
            listener.chains.left(conn.chain);
            listener.count.release();
            listener.stats.dec(ListenerStat::CxActive);
            listener.stats.inc(ListenerStat::CxDestroy);
            listener.stats.time(Timing::Connection, now.since(conn.since).as_millis() as u64);
        }
        self.settle_drain(conn.listener);
    }

    /// The client has so long for its next request. When the connection is to end it is just long enough for
    /// one that is on its way: a busy client then learns from an answer that it must go elsewhere, and not
    /// from a connection that closes under its request.
    pub(super) fn arm_idle(&mut self, id: ConnId) {
        let draining = self.is_draining_connection(id);
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let timeout = if draining || conn.last { Some(limit::DRAIN_GRACE) } else { conn.manager.config.idle_timeout };
        if let Some(timeout) = timeout {
            conn.deadlines.set(DownstreamDeadline::Idle, conn.idle_since + timeout, Owner::Downstream(id), &mut self.timers);
        }
    }

    /// Sends what is left and closes. If the client may still be sending, what it sends is read and dropped
    /// for a while first: closing at once would make the kernel reset the connection and the client could
    /// lose our answer (RFC 9112 section 9.6).
    pub(super) fn finish_downstream(&mut self, id: ConnId, linger: bool, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        conn.phase = DownstreamPhase::Lingering { until: now + limit::LINGER };
        conn.deadlines.clear_all();
        let config = &conn.manager.config;
        let wait = if linger && !conn.wire.eof && !is_planted(Plant::NoLingering) {
            self.out.actions.push_back(Action::ShutdownWrite(id));
            self.out.set_readable(id, &mut conn.wire, true);
            config.delayed_close
        } else {
            self.out.close(id, &mut conn.wire);
            config.stream_idle_timeout.unwrap_or(limit::STREAM_IDLE_TIMEOUT)
        };
        conn.deadlines.set(DownstreamDeadline::Linger, now + wait, Owner::Downstream(id), &mut self.timers);
    }

    pub(super) fn fire_downstream(&mut self, id: ConnId, why: DownstreamDeadline, now: Instant) {
        let Some(Connection::Downstream(conn)) = self.connections.get_mut(id) else { return };
        let stats = Arc::clone(&conn.manager.stats);
        match (why, &conn.phase) {
            (DownstreamDeadline::Open, _) => self.opening_timed_out(id, now),
            // It has a deadline of its own until it is open.
            (DownstreamDeadline::Idle, _) if conn.deadlines.get(DownstreamDeadline::Open).is_some() => {}
            (DownstreamDeadline::Idle, DownstreamPhase::Head(_)) => {
                stats.inc(HttpStat::CxIdleTimeout);
                self.out.actions.push_back(Action::CloseIfIdle(id));
            }
            (DownstreamDeadline::Head, DownstreamPhase::Head(_)) => {
                stats.inc(HttpStat::RqHeaderTimeout);
                self.begin_exchange(id, Err(Reject::HeadTimeout), now);
            }
            (DownstreamDeadline::Idle, DownstreamPhase::Http2(_)) => self.idle_session(id, now),
            (DownstreamDeadline::Head, DownstreamPhase::Http2(_)) => {
                stats.inc(HttpStat::RqHeaderTimeout);
                self.closed_downstream(id, IoFault::Closed, now);
                self.out.actions.push_back(Action::Drop(id));
            }
            (DownstreamDeadline::Flush, _) => self.fire_flush(id, now),
            (DownstreamDeadline::Keepalive, _) => self.keep_alive_down(id, now),
            (DownstreamDeadline::Lifetime, DownstreamPhase::Http2(_)) => {
                stats.inc(HttpStat::CxMaxDuration);
                conn.last = true;
                if let Some(session) = conn.session() {
                    session.leave();
                }
                self.queue_transmit(id);
                self.arm_idle_if_idle(id);
            }
            (DownstreamDeadline::Lifetime, phase) => {
                stats.inc(HttpStat::CxMaxDuration);
                conn.last = true;
                if matches!(phase, DownstreamPhase::Head(partial) if partial.is_empty()) {
                    self.arm_idle(id);
                }
            }
            (DownstreamDeadline::Linger, _) => {
                if conn.wire.closing || conn.wire.out.is_empty() {
                    stats.inc(HttpStat::CxDelayedCloseTimeout);
                    self.closed_downstream(id, IoFault::Closed, now);
                    self.out.actions.push_back(Action::Drop(id));
                } else {
                    let wait = conn.manager.config.delayed_close;
                    conn.deadlines.set(DownstreamDeadline::Linger, now + wait, Owner::Downstream(id), &mut self.timers);
                }
            }
            (DownstreamDeadline::Idle | DownstreamDeadline::Head, _) => {}
        }
    }

    /// Arms the idle deadline of a connection that carries nothing.
    pub(super) fn arm_idle_if_idle(&mut self, id: ConnId) {
        if matches!(self.connections.get(id), Some(Connection::Downstream(conn)) if conn.is_idle()) {
            self.arm_idle(id);
        }
    }
}
