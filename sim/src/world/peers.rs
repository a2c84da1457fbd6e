//! Telling peers what happens, and doing as they say.

use super::connection::{Conn, Side};
use super::{Step, World};
use crate::link::End;
use crate::peer::{ConnNo, Context, Deed, Input, PeerNo};

impl World {
    /// Tells a peer something, then does what it does.
    pub(super) fn tell(&mut self, peer: PeerNo, input: Input<'_>) {
        let Some(mut actor) = self.peers.get_mut(peer).and_then(Option::take) else { return };
        let (mut deeds, mut next_conn) = (Vec::new(), self.conns.len());
        actor.on(
            input,
            &mut Context {
                now: self.now,
                rng: &mut self.rngs[peer],
                ledger: &mut self.ledger,
                deeds: &mut deeds,
                next_conn: &mut next_conn,
            },
        );
        self.peers[peer] = Some(actor);
        for deed in deeds {
            self.deed(peer, deed);
        }
    }

    pub(super) fn deed(&mut self, peer: PeerNo, deed: Deed) {
        match deed {
            Deed::Wake(at, token) => self.queue.push(at, Step::Wake(peer, token)),
            Deed::Connect(no, listener) => {
                debug_assert_eq!(no, self.conns.len(), "connections are numbered in the order in which they are asked for");
                let listener = self.security.as_ref().and_then(|security| security.listener_of(peer)).unwrap_or(listener);
                let node = self.place_rng.below(self.nodes.len() as u64) as usize;
                self.conns.push(Some(Box::new(Conn::new(node, peer, Side::Client { listener }))));
                let at = self.now + self.laws.0.latency.0;
                self.queue.push(at, Step::Syn(no));
            }
            Deed::Send(no, bytes) => {
                if let Some(conn) = self.conns[no].as_mut() {
                    match &mut conn.session {
                        Some(session) => {
                            session.say(&bytes);
                            conn.unsent.extend(session.take_sent());
                        }
                        None => conn.unsent.push_back(bytes),
                    }
                    self.pump_peer(no);
                }
            }
            Deed::Finish(no) => self.peer_ends(no, End::Fin),
            Deed::Close(no) => {
                if let Some(conn) = self.conns[no].as_mut() {
                    conn.peer_gone = true;
                    self.peer_ends(no, End::Fin);
                }
            }
            Deed::Break(no) => {
                if let Some(conn) = self.conns[no].as_mut() {
                    conn.peer_gone = true;
                    conn.unsent.clear();
                    // With TLS an end that is not said is a cut as well.
                    if conn.session.take().is_some() && self.link_rng.below(2) == 0 {
                        self.peer_ends(no, End::Fin);
                    } else {
                        self.peer_ends(no, End::Reset);
                    }
                }
            }
            Deed::Read(no, on) => {
                if let Some(conn) = self.conns[no].as_mut() {
                    conn.peer_reads = on;
                    if on {
                        self.reach_peer(no);
                    }
                }
            }
        }
    }

    pub(super) fn peer_ends(&mut self, no: ConnNo, end: End) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        if conn.peer_ends.is_none() || end == End::Reset {
            if let (Some(session), End::Fin) = (&mut conn.session, end) {
                session.say_last();
                conn.unsent.extend(session.take_sent());
            }
            conn.peer_ends = Some(end);
        }
        self.pump_peer(no);
    }
}
