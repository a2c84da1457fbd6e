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
        let wire = self.connections.get_mut(id).map(Connection::wire);
        wire.is_some_and(|wire| wire.transmit_queued || !wire.out.is_empty())
    }

    pub(super) fn transmit(&mut self, id: ConnId, out: &mut Outbox, now: Instant) -> Transmit {
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
        if below_low(left, exchange.manager.buffer_limit)
            && let Some(conn) = exchange.attempt.conn
        {
            self.resume_upstream(conn);
        }
    }

    fn sent_to_upstream(&mut self, id: ExchangeId, left: usize, limit: usize, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        super::request::touch(exchange, &mut self.timers, now);
        let (downstream, request_done) = (exchange.downstream, exchange.request_done);
        let tunnel = matches!(self.connections.get(downstream), Some(Connection::Downstream(conn)) if matches!(conn.phase, DownstreamPhase::Tunnel(_)));
        // A pipelined request behind a complete one stays where it is until its turn comes.
        if below_low(left, limit) && (tunnel || !request_done) {
            self.resume_downstream(downstream);
        }
    }
}
