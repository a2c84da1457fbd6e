//! One connection as the kernel would hold it: accepting, reading, sending and ending it, between an engine and a peer.

use super::secure::Secure;
use super::{Step, World};
use crate::link::{End, Law, Link};
use crate::observe::Observation;
use crate::peer::{ConnNo, Input, PeerNo};
use crate::tls::session::Session;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use weir_core::engine::{ConnectError, ConnectTls, IoFault, Transmit};
use weir_core::id::ConnId;
use weir_core::record::Addresses;

/// How a connection is to end once all is sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    None,
    ShutdownWrite,
    Close,
    CloseIfIdle,
}

/// Which side of the proxy a connection is on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client {
        /// At which of the listeners.
        listener: usize,
    },
    Host {
        cluster: usize,
    },
}

/// One connection, seen from the outside.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) node: usize,
    /// The engine's name for it, while the engine has one.
    pub(super) id: Option<ConnId>,
    pub(super) peer: PeerNo,
    pub(super) side: Side,
    pub(super) to_engine: Link,
    pub(super) to_peer: Link,
    /// What the peer could not send yet.
    pub(super) unsent: VecDeque<Bytes>,
    pub(super) peer_ends: Option<End>,
    pub(super) peer_gone: bool,
    pub(super) peer_reads: bool,
    pub(super) readable: bool,
    pub(super) blocked: bool,
    pub(super) ending: Ending,
    /// The engine's socket is open.
    pub(super) socket: bool,
    pub(super) open: bool,
    pub(super) eof_told: bool,
    /// TLS that the engine wants on a connection to a host.
    pub(super) tls: Option<ConnectTls>,
    /// The proxy's side of TLS.
    pub(super) secure: Option<Box<Secure>>,
    /// The peer's side of TLS.
    pub(super) session: Option<Box<Session>>,
}

impl Conn {
    pub(super) fn new(node: usize, peer: PeerNo, side: Side) -> Conn {
        Conn {
            node,
            id: None,
            peer,
            side,
            to_engine: Link::default(),
            to_peer: Link::default(),
            unsent: VecDeque::new(),
            peer_ends: None,
            peer_gone: false,
            peer_reads: true,
            readable: true,
            blocked: false,
            ending: Ending::None,
            socket: false,
            open: false,
            eof_told: false,
            tls: None,
            secure: None,
            session: None,
        }
    }
}

impl World {
    /// A client's connection reaches a listener.
    pub(super) fn accept(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let node = conn.node;
        let now = self.instant(node);
        let Side::Client { listener } = conn.side else { return };
        let (name, local) = self.listeners[listener].clone();
        let addresses =
            Addresses { local, remote: SocketAddr::from(([192, 0, 2, (conn.peer % 250) as u8 + 1], 1024 + (no % 60_000) as u16)) };
        let listener = if self.nodes[node].listening { self.nodes[node].engine.listener(&name) } else { None };
        let accepted = listener.and_then(|listener| self.nodes[node].engine.handle_accept(listener, addresses, now).ok());
        let Some(id) = accepted else { return self.refused(no) };
        self.nodes[node].conns.insert(id, no);
        if let Some(conn) = self.conns[no].as_mut() {
            (conn.id, conn.socket, conn.open) = (Some(id), true, true);
            self.from_clients += 1;
            let peer = conn.peer;
            self.begin_opening(no);
            self.drive(node);
            if !self.begin_session(no) {
                self.tell(peer, Input::Opened(no));
            }
            self.pump_peer(no);
        }
    }

    pub(super) fn refused(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        match conn.side {
            Side::Client { .. } => {
                let peer = conn.peer;
                self.conns[no] = None;
                self.tell(peer, Input::Refused(no));
            }
            Side::Host { .. } => {
                let (node, id) = (conn.node, conn.id);
                self.let_go(no);
                self.conns[no] = None;
                if let Some(id) = id {
                    let now = self.instant(node);
                    let error = ConnectError::new("delayed connect error: Connection refused");
                    self.nodes[node].engine.handle_connected(id, Err(error), now);
                    self.drive(node);
                }
            }
        }
    }

    /// The proxy's connection to a host is there.
    pub(super) fn connected(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (Some(id), node, peer) = (conn.id, conn.node, conn.peer) else { return };
        conn.open = true;
        let Side::Host { .. } = conn.side else { return };
        let tls = conn.tls.take();
        if !self.begin_session(no) {
            self.tell(peer, Input::Opened(no));
        }
        let remote = self.hosts.iter().find(|(_, _, host)| *host == peer).map(|(address, ..)| *address);
        let Some(remote) = remote else { return };
        let local = SocketAddr::from(([10, 0, 0, 1], 1024 + (no % 60_000) as u16));
        let addresses = Addresses { local, remote };
        match tls.filter(|_| self.security.is_some()) {
            Some(tls) => self.shake_with_host(no, &tls, addresses),
            None => {
                let now = self.instant(node);
                self.nodes[node].engine.handle_connected(id, Ok(addresses.into()), now);
            }
        }
        self.drive(node);
    }

    /// Sends what the peer wants to send, as far as the window lets it.
    pub(super) fn pump_peer(&mut self, no: ConnNo) {
        let Some(mut conn) = self.conns[no].take() else { return };
        let law = self.law(&conn);
        while conn.open && conn.to_engine.room(&law) > 0 && !conn.to_engine.is_finished() {
            let Some(mut bytes) = conn.unsent.pop_front() else { break };
            let room = conn.to_engine.room(&law).max(1);
            if bytes.len() > room {
                let rest = bytes.split_off(room);
                conn.unsent.push_front(rest);
            }
            conn.to_engine.send(bytes, self.now, &law, &mut self.link_rng, |at| self.queue.push(at, Step::ToEngine(no)));
        }
        if conn.open
            && conn.unsent.is_empty()
            && let Some(end) = conn.peer_ends.take()
        {
            let at = conn.to_engine.end(end, self.now, &law, &mut self.link_rng);
            self.queue.push(at, Step::ToEngine(no));
        }
        self.conns[no] = Some(conn);
    }

    /// Something has arrived at the proxy.
    pub(super) fn reach_engine(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let news = conn.to_engine.arrive(self.now);
        if conn.secure.is_some() {
            self.reach_secure(no);
        } else if news {
            self.feed(no);
            let node = self.conns[no].as_ref().map(|conn| conn.node);
            if let Some(node) = node {
                self.drive(node);
            }
        }
    }

    /// Hands the engine what is there, if it wants to read.
    pub(super) fn feed(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (node, now) = (conn.node, self.nodes[conn.node].instant(self.now));
        let Some(id) = conn.id.filter(|_| conn.socket) else {
            // Bytes for a socket that is closed: its peer learns of it the hard way.
            if !conn.to_engine.arrived.is_empty() {
                conn.to_engine.discard();
                self.reset_peer(no);
            }
            return;
        };
        if conn.secure.is_some() {
            return self.feed_secure(no);
        }
        if conn.readable && !conn.to_engine.arrived.is_empty() {
            let mut input = conn.to_engine.arrived.split();
            let before = input.len();
            self.digest.add(self.now ^ (before as u64) << 40 ^ no as u64);
            self.nodes[node].engine.handle_recv(id, &mut input, now);
            let Some(conn) = self.conns[no].as_mut() else { return };
            conn.to_engine.read(before - input.len());
            if !input.is_empty() {
                input.unsplit(conn.to_engine.arrived.split());
                conn.to_engine.arrived = input;
            }
            self.pump_peer(no);
        }
        let Some(conn) = self.conns[no].as_mut() else { return };
        match conn.to_engine.ended {
            Some(End::Reset) => {
                self.let_go(no);
                self.nodes[node].engine.handle_closed(id, IoFault::Reset, now);
            }
            Some(End::Fin) if conn.to_engine.arrived.is_empty() && !conn.eof_told && conn.readable => {
                conn.eof_told = true;
                self.nodes[node].engine.handle_eof(id, now);
            }
            _ => {}
        }
    }

    /// Something has arrived at a peer, or it reads again.
    pub(super) fn reach_peer(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        conn.to_peer.arrive(self.now);
        let (peer, node) = (conn.peer, conn.node);
        if conn.peer_gone {
            // The peer's socket is closed: what comes is answered with a reset.
            if !conn.to_peer.arrived.is_empty() {
                conn.to_peer.discard();
                if conn.socket && conn.to_engine.ended != Some(End::Reset) {
                    let law = self.law_of(no);
                    let Some(conn) = self.conns[no].as_mut() else { return };
                    let at = conn.to_engine.end(End::Reset, self.now, &law, &mut self.link_rng);
                    self.queue.push(at, Step::ToEngine(no));
                }
            }
        } else if conn.peer_reads {
            if !conn.to_peer.arrived.is_empty() {
                let bytes = conn.to_peer.arrived.split().freeze();
                conn.to_peer.read(bytes.len());
                self.digest.add(self.now ^ (bytes.len() as u64) << 40 ^ !(no as u64));
                self.hear(no, peer, &bytes);
            }
            let Some(conn) = self.conns[no].as_mut() else { return };
            if conn.peer_reads && conn.to_peer.arrived.is_empty() && !conn.peer_gone {
                match conn.to_peer.ended.take() {
                    Some(End::Fin) => self.hear_end(no, peer),
                    Some(End::Reset) => {
                        conn.peer_gone = true;
                        self.tell(peer, Input::Broken(no));
                    }
                    None => {}
                }
            }
        }
        let Some(conn) = self.conns[no].as_ref() else { return };
        if conn.blocked {
            self.transmit(no);
            self.drive(node);
        }
    }

    /// Sends what the engine has, as far as the window lets it, and ends what is to be ended then.
    pub(super) fn transmit(&mut self, no: ConnNo) {
        if self.conns[no].as_ref().is_some_and(|conn| conn.secure.is_some()) {
            return self.transmit_secure(no);
        }
        let law = self.law_of(no);
        loop {
            let Some(conn) = self.conns[no].as_mut() else { return };
            let (Some(id), node) = (conn.id, conn.node) else { return };
            if conn.to_peer.room(&law) == 0 {
                conn.blocked = true;
                return;
            }
            conn.blocked = false;
            let now = self.nodes[node].instant(self.now);
            if self.nodes[node].engine.poll_transmit(id, &mut self.outbox, now) == Transmit::Empty {
                break;
            }
            for slice in self.outbox.slices() {
                conn.to_peer.send(slice.clone(), self.now, &law, &mut self.link_rng, |at| self.queue.push(at, Step::ToPeer(no)));
            }
            self.outbox.clear();
        }
        let Some(conn) = self.conns[no].as_mut() else { return };
        match std::mem::replace(&mut conn.ending, Ending::None) {
            Ending::None => {}
            Ending::ShutdownWrite => {
                let at = conn.to_peer.end(End::Fin, self.now, &law, &mut self.link_rng);
                self.queue.push(at, Step::ToPeer(no));
            }
            Ending::Close => self.close(no),
            Ending::CloseIfIdle if conn.to_engine.arrived.is_empty() => self.close(no),
            Ending::CloseIfIdle => self.feed(no),
        }
    }

    pub(super) fn ends(&mut self, no: ConnNo, ending: Ending) {
        if let Some(conn) = self.conns[no].as_mut() {
            conn.ending = ending;
            self.transmit(no);
        }
    }

    pub(super) fn close(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        self.close_socket(no, End::Fin);
        let now = self.instant(node);
        self.nodes[node].engine.handle_closed(id, IoFault::Closed, now);
    }

    /// The engine's side is closed. What is unread makes it a reset (RFC 9293 section 3.10.4, as Linux does).
    pub(super) fn close_socket(&mut self, no: ConnNo, end: End) {
        if end == End::Fin {
            self.say_goodbye(no);
        }
        let Some(mut conn) = self.conns[no].take() else { return };
        let law = self.law(&conn);
        let end = if conn.to_engine.arrived.is_empty() { end } else { End::Reset };
        if conn.open && (conn.to_peer.ended.is_none() || end == End::Reset) {
            let at = conn.to_peer.end(end, self.now, &law, &mut self.link_rng);
            self.queue.push(at, Step::ToPeer(no));
        }
        conn.to_engine.discard();
        self.conns[no] = Some(conn);
        self.let_go(no);
    }

    pub(super) fn reset_peer(&mut self, no: ConnNo) {
        let Some(mut conn) = self.conns[no].take() else { return };
        let law = self.law(&conn);
        if conn.to_peer.ended.is_none() {
            let at = conn.to_peer.end(End::Reset, self.now, &law, &mut self.link_rng);
            self.queue.push(at, Step::ToPeer(no));
        }
        self.conns[no] = Some(conn);
    }

    /// The engine has no such connection any more.
    pub(super) fn let_go(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        if !std::mem::take(&mut conn.socket) {
            return;
        }
        if let Some(id) = conn.id.take() {
            self.nodes[conn.node].conns.remove(id);
        }
        self.note_let_go(no);
        let Some(conn) = self.conns[no].as_mut() else { return };
        match conn.side {
            Side::Client { .. } => self.from_clients -= 1,
            Side::Host { cluster } => {
                self.to_hosts[cluster] -= 1;
                self.ledger.note(self.now, Observation::Closing(cluster));
            }
        }
    }

    pub(super) fn law(&self, conn: &Conn) -> Law {
        let law = if matches!(conn.side, Side::Client { .. }) { &self.laws.0 } else { &self.laws.1 };
        self.weather.bend(law)
    }

    pub(super) fn law_of(&self, no: ConnNo) -> Law {
        self.conns[no].as_ref().map_or_else(Law::default, |conn| self.law(conn))
    }
}
