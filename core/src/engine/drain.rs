//! Draining: listeners, connections and the process.

use super::{Action, Engine, Event};
use crate::connection::{Connection, DownstreamPhase};
use crate::drain::DrainScope;
use crate::exchange::ResponsePhase;
use crate::id::{ConnId, ExchangeId, ListenerId};
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::time::Instant;
use crate::timer::Owner;
use std::borrow::Cow;

crate::reasons! {
    /// Why the engine itself has a deadline.
    pub enum EngineDeadline {
        /// The drain must end.
        Drain,
    }
}

impl Engine {
    pub(super) fn start_drain(&mut self, scope: DrainScope, now: Instant) {
        match scope {
            DrainScope::Discourage => {
                self.drain.discouraged = true;
                self.leave_streams(None);
            }
            DrainScope::Encourage => self.drain.discouraged = false,
            DrainScope::Listener(id) => {
                if self.listeners.get_mut(id).is_some_and(|listener| listener.drain.start()) {
                    self.leave_streams(Some(id));
                    self.hurry_idle(Some(id));
                    self.settle_drain(id);
                }
            }
            DrainScope::Process { deadline } => {
                // A second call moves the deadline: a drain can be told to hurry.
                self.drain.phase.start();
                self.drain.deadlines.set(EngineDeadline::Drain, deadline, Owner::Engine, &mut self.timers);
                self.leave_streams(None);
                self.hurry_idle(None);
                self.settle_process_drain();
                if deadline <= now {
                    self.drain_deadline(now);
                }
            }
        }
    }

    /// Idle connections close now, unless they were busy a moment ago: then a request may be on its way.
    fn hurry_idle(&mut self, of: Option<ListenerId>) {
        let idle = |(id, conn): (ConnId, &Connection)| match conn {
            Connection::Downstream(conn) if of.is_none_or(|listener| listener == conn.listener) && conn.is_idle() => Some(id),
            _ => None,
        };
        let idle: Vec<ConnId> = self.connections.iter().filter_map(idle).filter(|_| !is_planted(Plant::DrainForgetsIdle)).collect();
        for id in idle {
            self.arm_idle(id);
        }
    }

    /// Whether answers on this connection must be its last.
    pub(super) fn is_draining_connection(&self, id: ConnId) -> bool {
        let Some(Connection::Downstream(conn)) = self.connections.get(id) else { return false };
        if is_planted(Plant::DrainKeepsAlive) {
            return false;
        }
        self.drain.discouraged
            || self.drain.phase.is_draining()
            || self.listeners.get(conn.listener).is_none_or(|listener| listener.drain.is_draining())
    }

    pub(super) fn settle_process_drain(&mut self) {
        let left = self.downstream_connections();
        if self.drain.phase.settle(left) {
            self.out.events.push_back(Event::Drained { cut: self.drain.cut });
        }
    }

    /// The time for draining is over: what is left is cut, and counted.
    pub(super) fn drain_deadline(&mut self, now: Instant) {
        let due = self.drain.deadlines.pop_due::<EngineDeadline>(now, Owner::Engine, &mut self.timers);
        if due.is_none() {
            return;
        }
        let left: Vec<ConnId> =
            self.connections.iter().filter(|(_, conn)| matches!(conn, Connection::Downstream(_))).map(|(id, _)| id).collect();
        for id in left {
            let Some(Connection::Downstream(conn)) = self.connections.get(id) else { continue };
            if is_planted(Plant::DrainForgetsTunnels) && matches!(conn.phase, DownstreamPhase::Tunnel(_)) {
                continue;
            }
            let busy: Vec<ExchangeId> = match &conn.phase {
                DownstreamPhase::Exchange(exchange) | DownstreamPhase::Tunnel(exchange) => vec![*exchange],
                DownstreamPhase::Http2(session) => session.exchanges(),
                _ => Vec::new(),
            };
            for exchange_id in busy {
                self.drain.cut += 1;
                if let Some(exchange) = self.exchanges.get_mut(exchange_id) {
                    exchange.record.details = Cow::Borrowed("drain_deadline");
                    if exchange.phase != ResponsePhase::Done {
                        exchange.record.flags.insert(Flags::LOCAL_RESET);
                    }
                }
                let ended_by_close = self.exchanges.get(exchange_id).is_some_and(|exchange| exchange.is_ended_by_close());
                self.end_exchange(exchange_id, now);
                if ended_by_close {
                    self.out.actions.push_back(Action::Reset(id));
                    self.forget_downstream(id, now);
                }
            }
            if self.connections.contains_key(id) {
                self.drop_downstream(id, now);
            }
        }
        self.settle_process_drain();
    }
}
