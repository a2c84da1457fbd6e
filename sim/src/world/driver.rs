//! What the runtime does in production: draining an engine's outputs and doing as its actions say.

use super::connection::{Conn, Ending, Side};
use super::{Exchanged, ORIGIN, World};
use crate::event::MS;
use crate::link::End;
use crate::observe::Observation;
use crate::peer::ConnNo;
use std::net::SocketAddr;
use weir_core::cluster::{DnsError, Resolved};
use weir_core::engine::{Action, ConnectTls, Event, Step};
use weir_core::id::{ConnId, QueryId};

impl World {
    /// Does what an engine says until it says nothing more.
    pub(super) fn drive(&mut self, node: usize) {
        self.collect_waiting(node);
        while let Some(action) = self.nodes[node].engine.poll_action() {
            self.act(node, action);
            self.collect_waiting(node);
        }
        while let Some(event) = self.nodes[node].engine.poll_event() {
            match event {
                Event::Drained { cut } => self.ledger.note(self.now, Observation::Drained(cut)),
                Event::Step(Step { end: Some(ended), .. }) => {
                    self.exchanges.push(Exchanged { at: self.now, worker: node, ended: *ended });
                }
                _ => {}
            }
        }
        let due = self.nodes[node].engine.poll_timeout().map(|deadline| deadline.at.as_nanos());
        if let Some(due) = due {
            let at = due.saturating_sub(ORIGIN + self.nodes[node].ahead).max(self.now);
            if at < self.nodes[node].armed {
                self.nodes[node].armed = at;
                self.queue.push(at, super::Step::Timer(node));
            }
        }
    }

    /// Plans when filters of an engine are resumed that have begun to wait.
    fn collect_waiting(&mut self, node: usize) {
        for filter in self.filters.take_waiting() {
            let wait = self.filter_rng.below(self.filters.longest + 1);
            self.queue.push(self.now + wait, super::Step::Resume(node, filter));
        }
    }

    pub(super) fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect { conn, address, tls } => self.connect(node, conn, address, tls),
            Action::Open(id) => self.with(node, id, World::hurry),
            Action::Nudge => {
                for node in 0..self.nodes.len() {
                    let now = self.instant(node);
                    self.nodes[node].engine.handle_nudge(now);
                    self.collect_waiting(node);
                }
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    self.drive(other);
                }
            }
            Action::Resolve { query, question } => {
                let known = self.names.iter().position(|(name, _)| **name == *question.name.host);
                if let Some(name) = known {
                    // At the beginning of a world the answers are there at once, as they are when a real process starts.
                    let pause = if self.now == 0 { 0 } else { self.link_rng.below(3 * MS) };
                    self.queue.push(self.now + pause, super::Step::Answer(node, query, name));
                }
            }
            Action::Transmit(id) => self.with(node, id, World::transmit),
            Action::SetReadable(id, on) => self.with(node, id, |world, no| {
                if let Some(conn) = world.conns[no].as_mut() {
                    conn.readable = on;
                    if on && conn.secure.is_some() {
                        // Its task reads once the present turn is over.
                        world.queue.push(world.now, super::Step::ToEngine(no));
                    } else if on {
                        world.feed(no);
                    }
                }
            }),
            Action::ShutdownWrite(id) => self.with(node, id, |world, no| world.ends(no, Ending::ShutdownWrite)),
            Action::Close(id) => self.with(node, id, |world, no| world.ends(no, Ending::Close)),
            Action::Drop(id) => self.with(node, id, |world, no| world.close_socket(no, End::Fin)),
            Action::Reset(id) => self.with(node, id, |world, no| world.close_socket(no, End::Reset)),
            Action::CloseIfIdle(id) => self.with(node, id, |world, no| world.ends(no, Ending::CloseIfIdle)),
        }
    }

    pub(super) fn with(&mut self, node: usize, id: ConnId, act: impl FnOnce(&mut World, ConnNo)) {
        if let Some(no) = self.nodes[node].conns.get(id).copied() {
            act(self, no);
        }
    }

    /// The proxy connects to a host.
    pub(super) fn connect(&mut self, node: usize, id: ConnId, address: SocketAddr, tls: Option<ConnectTls>) {
        let Some((_, cluster, peer)) = self.hosts.iter().find(|(host, ..)| *host == address).copied() else { return };
        let no = self.conns.len();
        let mut conn = Conn::new(node, peer, Side::Host { cluster });
        (conn.id, conn.socket, conn.tls) = (Some(id), true, tls);
        self.conns.push(Some(Box::new(conn)));
        self.nodes[node].conns.insert(id, no);
        self.to_hosts[cluster] += 1;
        self.ledger.note(self.now, Observation::Opening(cluster));
        let round_trip = 2 * self.laws.1.latency.0 + self.link_rng.below(1 + self.laws.1.latency.1 - self.laws.1.latency.0);
        match self.weather.connects(address) {
            Some(true) => self.queue.push(self.now + round_trip, super::Step::Connected(no)),
            Some(false) => self.queue.push(self.now + round_trip, super::Step::Refuse(no)),
            None => {}
        }
    }

    /// DNS answers.
    pub(super) fn resolve(&mut self, node: usize, query: QueryId, name: usize) {
        let addresses: Vec<_> = self.names[name].1.iter().copied().filter(|ip| self.weather.names(*ip)).collect();
        let answer = match addresses.is_empty() {
            true => Err(DnsError("no such name".into())),
            false => Ok(Resolved { addresses, ttl: None }),
        };
        let now = self.instant(node);
        self.nodes[node].engine.handle_resolved(query, answer, now);
        self.drive(node);
    }
}
