//! Handing bytes to the driver, and letting sources go on once there is room.

use super::{Engine, Transmit};
use crate::buffer::{Outbox, below_low};
use crate::connection::{Connection, DownstreamDeadline, DownstreamPhase, UpstreamPhase};
use crate::id::{ConnId, ExchangeId};
use crate::limit;
use crate::plant::{Plant, is_planted};
use crate::stats::{ClusterStat, HttpStat};
use crate::time::Instant;
use crate::timer::Owner;

impl Engine {
    /// Whether [`Self::transmit`] would change anything.
    pub(super) fn has_to_transmit(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.connections.get_mut(id) else { return false };
        let ready = conn.session().is_some_and(|session| session.is_ready());
        let wire = conn.wire();
        ready || wire.transmit_queued || !wire.out.is_empty()
    }

    pub(super) fn transmit(&mut self, id: ConnId, out: &mut Outbox, now: Instant) -> Transmit {
        if self.connections.get_mut(id).is_some_and(|conn| conn.session().is_some()) {
            self.transmit_streams(id, now);
        }
        let transmit = self.transmit_bytes(id, out, now);
        self.go_on(now);
        transmit
    }

    /// Lets a session write what its streams have.
    fn transmit_streams(&mut self, id: ConnId, now: Instant) {
        for _ in 0..limit::FLUSH_ROUNDS {
            let Some(session) = self.connections.get_mut(id).and_then(Connection::session) else { return };
            if !session.flush(now) && !session.has_events() && !session.end_doomed() {
                break;
            }
            match self.connections.get(id) {
                Some(Connection::Downstream(_)) => self.drive_down(id, now),
                Some(Connection::Upstream(_)) => self.drive_up(id, now),
                None => return,
            }
        }
        let digest = self.blocks.digest.as_mut();
        let Some(conn) = self.connections.get_mut(id) else { return };
        let Some(session) = conn.session() else { return };
        let (output, moved) = (session.take_output(digest), session.take_moved());
        let resumes = session.wants_input();
        let wire = conn.wire();
        wire.transmit_queued = false;
        wire.out.push_framed(output, &mut self.blocks);
        if resumes && !wire.readable {
            self.out.set_readable(id, wire, true);
        }
        let upstream = match conn {
            Connection::Upstream(conn) => Some(self.clusters.get(conn.cluster).map_or(0, |cluster| cluster.config.buffer_limit)),
            Connection::Downstream(_) => None,
        };
        for (exchange, left) in moved {
            match upstream {
                None => self.sent_to_client(exchange, left, now),
                Some(limit) => self.sent_to_upstream(exchange, left, limit, now),
            }
        }
    }

    fn transmit_bytes(&mut self, id: ConnId, out: &mut Outbox, now: Instant) -> Transmit {
        let Some(conn) = self.connections.get_mut(id) else { return Transmit::Empty };
        let wire = conn.wire();
        wire.transmit_queued = false;
        if wire.out.is_empty() {
            return Transmit::Empty;
        }
        let before = out.len();
        wire.out.drain_into(out, limit::TRANSMIT, &mut self.blocks);
        let (taken, left) = ((out.len() - before) as u64, wire.out.len());
        match conn {
            Connection::Downstream(conn) => {
                conn.manager.stats.add(HttpStat::CxTxBytes, taken);
                if matches!(conn.phase, DownstreamPhase::Lingering { .. }) {
                    // The client takes what is left: the clock of the close starts again.
                    let config = &conn.manager.config;
                    let wait = match left {
                        0 if !conn.wire.closing => config.delayed_close,
                        _ => config.stream_idle_timeout.unwrap_or(limit::STREAM_IDLE_TIMEOUT),
                    };
                    conn.deadlines.set(DownstreamDeadline::Linger, now + wait, Owner::Downstream(id), &mut self.timers);
                }
                let resumes =
                    matches!(conn.phase, DownstreamPhase::Head(_)) && !conn.wire.readable && below_low(left, conn.manager.buffer_limit);
                if let Some(exchange) = conn.exchange() {
                    self.sent_to_client(exchange, left, now);
                } else if resumes && !is_planted(Plant::PipelinedForgotten) {
                    self.resume_downstream(id);
                }
            }
            Connection::Upstream(conn) => {
                if let Some(cluster) = self.clusters.get(conn.cluster) {
                    cluster.stats.add(ClusterStat::CxTxBytes, taken);
                }
                if let UpstreamPhase::Head(exchange, _) | UpstreamPhase::Body(exchange) | UpstreamPhase::Tunnel(exchange) = conn.phase {
                    let limit = self.clusters.get(conn.cluster).map_or(0, |cluster| cluster.config.buffer_limit);
                    self.sent_to_upstream(exchange, left, limit, now);
                }
            }
        }
        Transmit::Ready
    }

    fn sent_to_client(&mut self, id: ExchangeId, left: usize, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        super::request::touch(exchange, &mut self.timers, now);
        if below_low(left, exchange.manager.buffer_limit) {
            self.resume_response(id);
        }
    }

    fn sent_to_upstream(&mut self, id: ExchangeId, left: usize, limit: usize, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        super::request::touch(exchange, &mut self.timers, now);
        // A pipelined request behind a complete one stays where it is until its turn comes.
        if below_low(left, limit) && (exchange.tunnel || !exchange.request_done) {
            self.resume_request(id);
        }
    }
}
