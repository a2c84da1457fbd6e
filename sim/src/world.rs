//! The world: engines that share one process's counts, scripted peers, links between them and one queue of events.
//! Time jumps from event to event; nothing in it depends on the machine it runs on.

use crate::check::{Check, Verdict};
use crate::event::{MS, Queue, Time};
use crate::fault::{Fault, Weather};
use crate::link::{End, Law, Link};
use crate::observe::{Ledger, Observation};
use crate::peer::{ConnNo, Context, Deed, Input, Peer, PeerNo};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use weir_core::Engine;
use weir_core::buffer::Outbox;
use weir_core::cluster::{DnsError, Resolved};
use weir_core::config::Config;
use weir_core::drain::DrainScope;
use weir_core::engine::{Action, ConnectError, Event, IoFault, Transmit};
use weir_core::id::{ConnId, QueryId};
use weir_core::record::Addresses;
use weir_core::rng::{Rng, Seed};
use weir_core::shared::Shared;
use weir_core::time::{Instant, Wall};

/// Engines begin at this time of their own, so that clocks can be behind the world's as well as ahead.
const ORIGIN: Time = 1_000_000_000_000;

/// How a connection is to end once all is sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Ending {
    None,
    ShutdownWrite,
    Close,
    CloseIfIdle,
}

/// Which side of the proxy a connection is on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Host { cluster: usize },
}

/// One connection, seen from the outside.
#[derive(Debug)]
struct Conn {
    node: usize,
    /// The engine's name for it, while the engine has one.
    id: Option<ConnId>,
    peer: PeerNo,
    side: Side,
    to_engine: Link,
    to_peer: Link,
    /// What the peer could not send yet.
    unsent: VecDeque<Bytes>,
    peer_ends: Option<End>,
    peer_gone: bool,
    peer_reads: bool,
    readable: bool,
    blocked: bool,
    ending: Ending,
    /// The engine's socket is open.
    socket: bool,
    open: bool,
    eof_told: bool,
}

impl Conn {
    fn new(node: usize, peer: PeerNo, side: Side) -> Conn {
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
        }
    }
}

/// One worker.
#[derive(Debug)]
struct Node {
    engine: Engine,
    /// How far its clock is ahead of the world's.
    ahead: Time,
    armed: Time,
    listening: bool,
    conns: slotmap::SecondaryMap<ConnId, ConnNo>,
}

#[derive(Copy, Clone, Debug)]
enum Step {
    ToEngine(ConnNo),
    ToPeer(ConnNo),
    Syn(ConnNo),
    Connected(ConnNo),
    Refuse(ConnNo),
    Wake(PeerNo, u64),
    Timer(usize),
    Answer(usize, QueryId, usize),
    Plan(usize),
}

/// What is planned to happen to the whole, whatever the peers do.
#[derive(Clone, Debug)]
pub enum Planned {
    /// A fault begins or ends.
    Fault(Fault),
    /// A config takes the place of the one before.
    Config(u64, Arc<Config>),
    /// The process drains for so long.
    Drain(Time),
    /// Hosts behave from now on.
    Calm,
}

/// What a world is made of.
#[derive(Debug)]
pub struct Parts {
    /// Everything that is drawn is drawn from this.
    pub seed: Seed,
    /// The first config.
    pub config: Arc<Config>,
    /// How far the clock of each worker is ahead.
    pub workers: Vec<Time>,
    /// Clients, then hosts.
    pub peers: Vec<Box<dyn Peer>>,
    /// The hosts: address, cluster, which of the peers.
    pub hosts: Vec<(SocketAddr, usize, PeerNo)>,
    /// How links treat bytes: those of clients, those of hosts.
    pub laws: (Law, Law),
    /// What is planned, by time.
    pub plan: Vec<(Time, Planned)>,
    /// After so many events the process drains for so long.
    pub drain_after: Option<(u64, Time)>,
    /// What clients ask for.
    pub ledger: Ledger,
}

/// A world.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Time,
    nodes: Vec<Node>,
    /// What the workers share.
    pub shared: Arc<Shared>,
    conns: Vec<Option<Box<Conn>>>,
    peers: Vec<Option<Box<dyn Peer>>>,
    hosts: Vec<(SocketAddr, usize, PeerNo)>,
    rngs: Vec<Rng>,
    laws: (Law, Law),
    weather: Weather,
    plan: Vec<Planned>,
    drain_after: Option<(u64, Time)>,
    queue: Queue<Step>,
    /// What is known.
    pub ledger: Ledger,
    link_rng: Rng,
    place_rng: Rng,
    outbox: Outbox,
    digest: Digest,
    steps: u64,
    /// Open connections, by cluster.
    to_hosts: Vec<usize>,
    from_clients: usize,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first check that failed, when, and why.
    pub failure: Option<(Time, &'static str, String)>,
    /// A number that stands for all that happened.
    pub digest: u64,
    /// Events.
    pub steps: u64,
    /// When it ended.
    pub ended: Time,
}

/// FNV-1a over all that happens.
#[derive(Copy, Clone, Debug)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
}

impl World {
    /// A world at its beginning.
    pub fn new(parts: Parts) -> World {
        let shared: Arc<Shared> = Arc::default();
        let node = |(index, ahead): (usize, &Time)| Node {
            engine: Engine::new(
                Arc::clone(&parts.config),
                Arc::clone(&shared),
                parts.seed.fork(&format!("engine {index}")),
                Instant::from_nanos(ORIGIN + ahead),
                Wall::from_nanos(1_700_000_000_000_000_000),
            ),
            ahead: *ahead,
            armed: Time::MAX,
            listening: true,
            conns: slotmap::SecondaryMap::new(),
        };
        let mut world = World {
            now: 0,
            nodes: parts.workers.iter().enumerate().map(node).collect(),
            shared,
            conns: Vec::new(),
            rngs: (0..parts.peers.len()).map(|peer| Rng::new(parts.seed.fork(&format!("peer {peer}")))).collect(),
            peers: parts.peers.into_iter().map(Some).collect(),
            hosts: parts.hosts,
            laws: parts.laws,
            weather: Weather::default(),
            plan: Vec::new(),
            drain_after: parts.drain_after,
            queue: Queue::default(),
            ledger: parts.ledger,
            link_rng: Rng::new(parts.seed.fork("links")),
            place_rng: Rng::new(parts.seed.fork("places")),
            outbox: Outbox::default(),
            digest: Digest(0xcbf2_9ce4_8422_2325),
            steps: 0,
            to_hosts: Vec::new(),
            from_clients: 0,
        };
        let clusters = world.hosts.iter().map(|(_, cluster, _)| cluster + 1).max().unwrap_or(0);
        world.to_hosts = vec![0; clusters];
        for (at, planned) in parts.plan {
            world.queue.push(at, Step::Plan(world.plan.len()));
            world.plan.push(planned);
        }
        for node in 0..world.nodes.len() {
            world.drive(node);
        }
        for peer in 0..world.peers.len() {
            world.tell(peer, Input::Start);
        }
        world
    }

    /// Runs until nothing more is to happen, until `end`, or until a check fails.
    pub fn run(&mut self, end: Time, checks: &mut [Box<dyn Check>]) -> Report {
        let mut failure = None;
        while failure.is_none() && self.queue.next_at().is_some_and(|at| at <= end) {
            let Some((at, step)) = self.queue.pop() else { break };
            self.now = at;
            self.steps += 1;
            if let Some((_, within)) = self.drain_after.take_if(|(events, _)| *events <= self.steps) {
                self.drain(within);
            }
            self.perform(step);
            failure = self.examine(checks);
        }
        if failure.is_none() {
            failure = checks.iter_mut().find_map(|check| {
                let verdict = check.finish(self);
                verdict.err().map(|why| (self.now, check.name(), why))
            });
        }
        Report { failure, digest: self.digest.0, steps: self.steps, ended: self.now }
    }

    fn examine(&mut self, checks: &mut [Box<dyn Check>]) -> Option<(Time, &'static str, String)> {
        if self.ledger.news.is_empty() {
            return None;
        }
        let news = std::mem::take(&mut self.ledger.news);
        let mut failure = None;
        for what in &news {
            self.digest.add(self.now ^ kind(what) << 56);
            for check in checks.iter_mut() {
                let verdict: Verdict = check.observe(what, self);
                if let (Err(why), None) = (verdict, &failure) {
                    failure = Some((self.now, check.name(), why));
                }
            }
        }
        self.ledger.news = news;
        self.ledger.news.clear();
        failure
    }

    /// The engines.
    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.nodes.iter().map(|node| &node.engine)
    }

    /// How many clusters there are.
    pub fn clusters(&self) -> usize {
        self.to_hosts.len()
    }

    /// Open connections to the hosts of a cluster, as the proxy has them.
    pub fn open_connections(&self, cluster: usize) -> usize {
        self.to_hosts.get(cluster).copied().unwrap_or_default()
    }

    /// Connections of clients that the proxy has not closed.
    pub fn open_clients(&self) -> usize {
        self.from_clients
    }

    fn instant(&self, node: usize) -> Instant {
        Instant::from_nanos(ORIGIN + self.now + self.nodes[node].ahead)
    }

    fn law(&self, conn: &Conn) -> Law {
        let law = if conn.side == Side::Client { &self.laws.0 } else { &self.laws.1 };
        self.weather.bend(law)
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::ToEngine(no) => self.reach_engine(no),
            Step::ToPeer(no) => self.reach_peer(no),
            Step::Syn(no) => self.accept(no),
            Step::Connected(no) => self.connected(no),
            Step::Refuse(no) => self.refused(no),
            Step::Wake(peer, token) => self.tell(peer, Input::Wake(token)),
            Step::Timer(node) => {
                if self.nodes[node].armed <= self.now {
                    self.nodes[node].armed = Time::MAX;
                    let now = self.instant(node);
                    self.nodes[node].engine.handle_timeout(now);
                    self.drive(node);
                }
            }
            Step::Answer(node, query, cluster) => self.resolve(node, query, cluster),
            Step::Plan(index) => self.planned(index),
        }
    }

    fn planned(&mut self, index: usize) {
        match self.plan[index].clone() {
            Planned::Fault(fault) => {
                self.weather.change(&fault);
                self.ledger.note(self.now, Observation::Fault(fault.name()));
            }
            Planned::Config(version, config) => {
                self.ledger.note(self.now, Observation::Table(version));
                for node in 0..self.nodes.len() {
                    let now = self.instant(node);
                    self.nodes[node].engine.handle_config(Arc::clone(&config), now);
                    self.drive(node);
                }
            }
            Planned::Drain(within) => self.drain(within),
            Planned::Calm => self.calm(),
        }
    }

    fn drain(&mut self, within: Time) {
        self.ledger.note(self.now, Observation::Drain(self.now + within));
        for node in 0..self.nodes.len() {
            let now = self.instant(node);
            self.nodes[node].listening = false;
            let deadline = now + weir_core::time::Duration::from_nanos(within);
            self.nodes[node].engine.handle_drain(DrainScope::Process { deadline }, now);
            self.drive(node);
        }
    }

    /// From here on hosts and network behave.
    fn calm(&mut self) {
        self.weather = Weather::default();
        self.ledger.note(self.now, Observation::Fault("none"));
        for peer in 0..self.peers.len() {
            self.tell(peer, Input::Calm);
        }
    }

    /// Tells a peer something, then does what it does.
    fn tell(&mut self, peer: PeerNo, input: Input<'_>) {
        let Some(mut actor) = self.peers.get_mut(peer).and_then(Option::take) else { return };
        let (mut deeds, mut next_conn) = (Vec::new(), self.conns.len());
        let first = next_conn;
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
        for _ in first..next_conn {
            let node = self.place_rng.below(self.nodes.len() as u64) as usize;
            self.conns.push(Some(Box::new(Conn::new(node, peer, Side::Client))));
        }
        for deed in deeds {
            self.deed(peer, deed);
        }
    }

    fn deed(&mut self, peer: PeerNo, deed: Deed) {
        match deed {
            Deed::Wake(at, token) => self.queue.push(at, Step::Wake(peer, token)),
            Deed::Connect(no) => {
                let at = self.now + self.laws.0.latency.0;
                self.queue.push(at, Step::Syn(no));
            }
            Deed::Send(no, bytes) => {
                if let Some(conn) = self.conns[no].as_mut() {
                    conn.unsent.push_back(bytes);
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
                    self.peer_ends(no, End::Reset);
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

    fn peer_ends(&mut self, no: ConnNo, end: End) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        if conn.peer_ends.is_none() || end == End::Reset {
            conn.peer_ends = Some(end);
        }
        self.pump_peer(no);
    }

    /// Sends what the peer wants to send, as far as the window lets it.
    fn pump_peer(&mut self, no: ConnNo) {
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

    /// A client's connection reaches a listener.
    fn accept(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_ref() else { return };
        let node = conn.node;
        let now = self.instant(node);
        let addresses = Addresses {
            local: SocketAddr::from(([10, 0, 0, 1], 80)),
            remote: SocketAddr::from(([192, 0, 2, (conn.peer % 250) as u8 + 1], 1024 + (no % 60_000) as u16)),
        };
        let listener = if self.nodes[node].listening { self.nodes[node].engine.listener("main") } else { None };
        let accepted = listener.and_then(|listener| self.nodes[node].engine.handle_accept(listener, addresses, now).ok());
        let Some(id) = accepted else { return self.refused(no) };
        self.nodes[node].conns.insert(id, no);
        if let Some(conn) = self.conns[no].as_mut() {
            (conn.id, conn.socket, conn.open) = (Some(id), true, true);
            self.from_clients += 1;
            let peer = conn.peer;
            self.drive(node);
            self.tell(peer, Input::Opened(no));
            self.pump_peer(no);
        }
    }

    fn refused(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        match conn.side {
            Side::Client => {
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
                    let error = ConnectError("delayed connect error: Connection refused".into());
                    self.nodes[node].engine.handle_connected(id, Err(error), now);
                    self.drive(node);
                }
            }
        }
    }

    /// The proxy's connection to a host is there.
    fn connected(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (Some(id), node, peer) = (conn.id, conn.node, conn.peer) else { return };
        conn.open = true;
        let Side::Host { .. } = conn.side else { return };
        self.tell(peer, Input::Opened(no));
        let remote = self.hosts.iter().find(|(_, _, host)| *host == peer).map(|(address, ..)| *address);
        let Some(remote) = remote else { return };
        let local = SocketAddr::from(([10, 0, 0, 1], 1024 + (no % 60_000) as u16));
        let now = self.instant(node);
        self.nodes[node].engine.handle_connected(id, Ok(Addresses { local, remote }), now);
        self.drive(node);
    }

    /// Something has arrived at the proxy.
    fn reach_engine(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        if conn.to_engine.arrive(self.now) {
            self.feed(no);
            let node = self.conns[no].as_ref().map(|conn| conn.node);
            if let Some(node) = node {
                self.drive(node);
            }
        }
    }

    /// Hands the engine what is there, if it wants to read.
    fn feed(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (node, now) = (conn.node, Instant::from_nanos(ORIGIN + self.now + self.nodes[conn.node].ahead));
        let Some(id) = conn.id.filter(|_| conn.socket) else {
            // Bytes for a socket that is closed: its peer learns of it the hard way.
            if !conn.to_engine.arrived.is_empty() {
                conn.to_engine.discard();
                self.reset_peer(no);
            }
            return;
        };
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

    fn reset_peer(&mut self, no: ConnNo) {
        let Some(mut conn) = self.conns[no].take() else { return };
        let law = self.law(&conn);
        if conn.to_peer.ended.is_none() {
            let at = conn.to_peer.end(End::Reset, self.now, &law, &mut self.link_rng);
            self.queue.push(at, Step::ToPeer(no));
        }
        self.conns[no] = Some(conn);
    }

    /// The engine's side is closed. What is unread makes it a reset (RFC 9293 section 3.10.4, as Linux does).
    fn close_socket(&mut self, no: ConnNo, end: End) {
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

    /// The engine has no such connection any more.
    fn let_go(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        if !std::mem::take(&mut conn.socket) {
            return;
        }
        if let Some(id) = conn.id.take() {
            self.nodes[conn.node].conns.remove(id);
        }
        match conn.side {
            Side::Client => self.from_clients -= 1,
            Side::Host { cluster } => {
                self.to_hosts[cluster] -= 1;
                self.ledger.note(self.now, Observation::Closing(cluster));
            }
        }
    }

    /// Something has arrived at a peer, or it reads again.
    fn reach_peer(&mut self, no: ConnNo) {
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
                self.tell(peer, Input::Data(no, &bytes));
            }
            let Some(conn) = self.conns[no].as_mut() else { return };
            if conn.peer_reads && conn.to_peer.arrived.is_empty() && !conn.peer_gone {
                match conn.to_peer.ended.take() {
                    Some(End::Fin) => self.tell(peer, Input::End(no)),
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

    fn law_of(&self, no: ConnNo) -> Law {
        self.conns[no].as_ref().map_or_else(Law::default, |conn| self.law(conn))
    }

    /// Sends what the engine has, as far as the window lets it, and ends what is to be ended then.
    fn transmit(&mut self, no: ConnNo) {
        let law = self.law_of(no);
        loop {
            let Some(conn) = self.conns[no].as_mut() else { return };
            let (Some(id), node) = (conn.id, conn.node) else { return };
            if conn.to_peer.room(&law) == 0 {
                conn.blocked = true;
                return;
            }
            conn.blocked = false;
            let now = Instant::from_nanos(ORIGIN + self.now + self.nodes[node].ahead);
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

    fn close(&mut self, no: ConnNo) {
        let Some(conn) = self.conns[no].as_mut() else { return };
        let (Some(id), node) = (conn.id, conn.node) else { return };
        self.close_socket(no, End::Fin);
        let now = self.instant(node);
        self.nodes[node].engine.handle_closed(id, IoFault::Closed, now);
    }

    /// Does what an engine says until it says nothing more.
    fn drive(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].engine.poll_action() {
            self.act(node, action);
        }
        while let Some(event) = self.nodes[node].engine.poll_event() {
            if let Event::Drained { cut } = event {
                self.ledger.note(self.now, Observation::Drained(cut));
            }
        }
        let due = self.nodes[node].engine.poll_timeout().map(|deadline| deadline.at.as_nanos());
        if let Some(due) = due {
            let at = due.saturating_sub(ORIGIN + self.nodes[node].ahead).max(self.now);
            if at < self.nodes[node].armed {
                self.nodes[node].armed = at;
                self.queue.push(at, Step::Timer(node));
            }
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect { conn, address } => self.connect(node, conn, address),
            Action::Nudge => {
                for node in 0..self.nodes.len() {
                    let now = self.instant(node);
                    self.nodes[node].engine.handle_nudge(now);
                }
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    self.drive(other);
                }
            }
            Action::Resolve { query, question } => {
                let clusters = 0..self.clusters();
                if let Some(cluster) = clusters.into_iter().find(|cluster| *question.name.host == *crate::config::name(*cluster)) {
                    // At the beginning of a world the answers are there at once, as they are when a real process starts.
                    let pause = if self.now == 0 { 0 } else { self.link_rng.below(3 * MS) };
                    self.queue.push(self.now + pause, Step::Answer(node, query, cluster));
                }
            }
            Action::Transmit(id) => self.with(node, id, World::transmit),
            Action::SetReadable(id, on) => self.with(node, id, |world, no| {
                if let Some(conn) = world.conns[no].as_mut() {
                    conn.readable = on;
                    if on {
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

    /// DNS answers.
    fn resolve(&mut self, node: usize, query: QueryId, cluster: usize) {
        let of = |(address, of, _): &&(SocketAddr, usize, PeerNo)| *of == cluster && self.weather.names(*address);
        let addresses: Vec<_> = self.hosts.iter().filter(of).map(|(address, ..)| address.ip()).collect();
        let answer = match addresses.is_empty() {
            true => Err(DnsError("no such name".into())),
            false => Ok(Resolved { addresses, ttl: None }),
        };
        let now = self.instant(node);
        self.nodes[node].engine.handle_resolved(query, answer, now);
        self.drive(node);
    }

    fn with(&mut self, node: usize, id: ConnId, act: impl FnOnce(&mut World, ConnNo)) {
        if let Some(no) = self.nodes[node].conns.get(id).copied() {
            act(self, no);
        }
    }

    fn ends(&mut self, no: ConnNo, ending: Ending) {
        if let Some(conn) = self.conns[no].as_mut() {
            conn.ending = ending;
            self.transmit(no);
        }
    }

    /// The proxy connects to a host.
    fn connect(&mut self, node: usize, id: ConnId, address: SocketAddr) {
        let Some((_, cluster, peer)) = self.hosts.iter().find(|(host, ..)| *host == address).copied() else { return };
        let no = self.conns.len();
        let mut conn = Conn::new(node, peer, Side::Host { cluster });
        (conn.id, conn.socket) = (Some(id), true);
        self.conns.push(Some(Box::new(conn)));
        self.nodes[node].conns.insert(id, no);
        self.to_hosts[cluster] += 1;
        self.ledger.note(self.now, Observation::Opening(cluster));
        let round_trip = 2 * self.laws.1.latency.0 + self.link_rng.below(1 + self.laws.1.latency.1 - self.laws.1.latency.0);
        match self.weather.connects(address) {
            Some(true) => self.queue.push(self.now + round_trip, Step::Connected(no)),
            Some(false) => self.queue.push(self.now + round_trip, Step::Refuse(no)),
            None => {}
        }
    }
}

fn kind(what: &Observation) -> u64 {
    match what {
        Observation::Sent(id) => *id,
        Observation::SentWhole(id) => 1 ^ id << 4,
        Observation::Ended(id, _) => 2 ^ id << 4,
        Observation::ClientFault(id, _) => 3 ^ id << 4,
        Observation::Arrived { id, .. } => 4 ^ id << 4,
        Observation::ArrivedWhole(id) => 5 ^ id << 4,
        Observation::HostFault(id, _) => 6 ^ id << 4,
        Observation::Disturbed(id) => 7 ^ id << 4,
        Observation::Opening(cluster) => 8 ^ (*cluster as u64) << 4,
        Observation::Closing(cluster) => 9 ^ (*cluster as u64) << 4,
        Observation::Table(version) => 10 ^ version << 4,
        Observation::Drain(_) => 11,
        Observation::Drained(_) => 12,
        Observation::Fault(_) => 13,
        Observation::Again(id) => 14 ^ id << 4,
    }
}
