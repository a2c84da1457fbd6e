//! The world: engines that share one process's counts, scripted peers, links between them and one queue of events.
//! Time jumps from event to event; nothing in it depends on the machine it runs on.

mod connection;
mod driver;
mod opening;
mod parts;
mod peers;
mod secure;
mod security;
mod stream;

use crate::check::{Check, Verdict};
use crate::event::{Queue, Time};
use crate::fault::Weather;
use crate::filters::Filters;
use crate::link::Law;
use crate::observe::{Ledger, Observation};
use crate::peer::{ConnNo, Input, Peer, PeerNo};
use connection::Conn;
pub use parts::{Cut, Exchanged, Parts, Planned};
pub use security::Security;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use weir_core::Engine;
use weir_core::buffer::Outbox;
use weir_core::config::Config;
use weir_core::drain::DrainScope;
use weir_core::engine::log::Log;
use weir_core::filter::{FilterId, Resume};
use weir_core::id::{ConnId, QueryId};
use weir_core::rng::Rng;
use weir_core::shared::Shared;
use weir_core::time::{Instant, Wall};

/// Engines begin at this time of their own, so that clocks can be behind the world's as well as ahead.
const ORIGIN: Time = 1_000_000_000_000;

/// One worker.
#[derive(Debug)]
struct Node {
    engine: Engine,
    /// How far its clock is ahead of the world's.
    ahead: Time,
    armed: Time,
    listening: bool,
    conns: slotmap::SecondaryMap<ConnId, ConnNo>,
    /// Its number, and in which order all are fed, if that is recorded.
    turns: Option<(usize, Arc<Mutex<Vec<Turn>>>)>,
}

/// From here on an engine is fed, until another's turn begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number.
    pub node: usize,
    /// So much of its log was written before.
    pub from: usize,
}

impl Node {
    /// What its clock shows. Asked before everything that it is fed.
    fn instant(&self, now: Time) -> Instant {
        if let Some((node, turns)) = &self.turns {
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.last().is_none_or(|turn| turn.node != *node) {
                turns.push(Turn { node: *node, from: self.engine.recorded_len() });
            }
        }
        Instant::from_nanos(ORIGIN + now + self.ahead)
    }
}

#[derive(Copy, Clone, Debug)]
enum Step {
    ToEngine(ConnNo),
    ToPeer(ConnNo),
    Syn(ConnNo),
    Connected(ConnNo),
    Refuse(ConnNo),
    /// Looks once more whether a connection can be closed.
    Look(ConnNo),
    Wake(PeerNo, u64),
    Timer(usize),
    /// DNS answers: to which engine, which query, about which of the names.
    Answer(usize, QueryId, usize),
    Plan(usize),
    Resume(usize, FilterId),
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
    listeners: Vec<(Arc<str>, SocketAddr)>,
    hosts: Vec<(SocketAddr, usize, PeerNo)>,
    names: Vec<(Box<str>, Vec<IpAddr>)>,
    /// Exchanges that have ended, if they are kept.
    pub exchanges: Vec<Exchanged>,
    rngs: Vec<Rng>,
    laws: (Law, Law),
    weather: Weather,
    plan: Vec<Planned>,
    cut_after: Option<(u64, Cut)>,
    queue: Queue<Step>,
    /// What is known.
    pub ledger: Ledger,
    link_rng: Rng,
    place_rng: Rng,
    outbox: Outbox,
    digest: Digest,
    steps: u64,
    /// Filters that wait to be resumed.
    pub filters: Filters,
    filter_rng: Rng,
    /// Open connections, by cluster.
    to_hosts: Vec<usize>,
    from_clients: usize,
    security: Option<Security>,
    is_calm: bool,
}

/// When a check failed, which, and why.
pub type Failure = (Time, &'static str, String);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first check that failed.
    pub failure: Option<Failure>,
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
        let (shared, turns): (Arc<Shared>, Arc<Mutex<Vec<Turn>>>) = Default::default();
        let node = |(index, ahead): (usize, &Time)| {
            let now = Instant::from_nanos(ORIGIN + ahead);
            let seed = parts.seed.fork(&format!("engine {index}"));
            let wall = Wall::from_nanos(security::EPOCH * 1_000_000_000);
            let mut engine = Engine::new(Arc::clone(&parts.config), Arc::clone(&shared), seed, now, wall);
            if let Some(options) = &parts.record {
                engine.start_recording(options, now);
            }
            if parts.keeps_exchanges {
                engine.explain();
            }
            let turns = parts.record.as_ref().map(|_| (index, Arc::clone(&turns)));
            Node { engine, ahead: *ahead, armed: Time::MAX, listening: true, conns: slotmap::SecondaryMap::new(), turns }
        };
        let mut world = World {
            now: 0,
            nodes: parts.workers.iter().enumerate().map(node).collect(),
            shared,
            conns: Vec::new(),
            rngs: (0..parts.peers.len()).map(|peer| Rng::new(parts.seed.fork(&format!("peer {peer}")))).collect(),
            peers: parts.peers.into_iter().map(Some).collect(),
            listeners: parts.listeners,
            hosts: parts.hosts,
            names: parts.names,
            exchanges: Vec::new(),
            laws: parts.laws,
            weather: Weather::default(),
            plan: Vec::new(),
            cut_after: parts.cut_after,
            queue: Queue::default(),
            ledger: parts.ledger,
            link_rng: Rng::new(parts.seed.fork("links")),
            place_rng: Rng::new(parts.seed.fork("places")),
            outbox: Outbox::default(),
            digest: Digest(0xcbf2_9ce4_8422_2325),
            steps: 0,
            filters: Filters::default(),
            filter_rng: Rng::new(parts.seed.fork("filters")),
            to_hosts: Vec::new(),
            from_clients: 0,
            security: parts.security,
            is_calm: false,
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

    /// Runs until nothing more is to happen, until `end`, or until a check fails. Then all is over.
    pub fn run(&mut self, end: Time, checks: &mut [Box<dyn Check>]) -> Report {
        let failure = self.advance(end, checks);
        self.finish(failure, checks)
    }

    /// Runs until `end`; answers the first check that failed, when and why.
    pub fn advance(&mut self, end: Time, checks: &mut [Box<dyn Check>]) -> Option<Failure> {
        let mut failure = None;
        while failure.is_none() && self.queue.next_at().is_some_and(|at| at <= end) {
            let Some((at, step)) = self.queue.pop() else { break };
            self.now = at;
            self.steps += 1;
            if let Some(security) = &self.security {
                security.tell_time(at);
            }
            match self.cut_after.take_if(|(events, _)| *events <= self.steps) {
                Some((_, Cut::Drain(within))) => self.drain(within),
                Some((_, Cut::Config(version, config))) => self.reconfigure(version, &config),
                None => {}
            }
            self.perform(step);
            failure = self.examine(checks);
        }
        failure
    }

    /// All is over: what do the checks say?
    pub fn finish(&mut self, mut failure: Option<Failure>, checks: &mut [Box<dyn Check>]) -> Report {
        if failure.is_none() {
            failure = checks.iter_mut().find_map(|check| {
                let verdict = check.finish(self);
                verdict.err().map(|why| (self.now, check.name(), why))
            });
        }
        Report { failure, digest: self.digest.0, steps: self.steps, ended: self.now }
    }

    fn examine(&mut self, checks: &mut [Box<dyn Check>]) -> Option<Failure> {
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

    /// What the engines recorded.
    pub fn logs(&mut self) -> Vec<Log> {
        self.nodes.iter_mut().filter_map(|node| node.engine.recorded()).collect()
    }

    /// In which order the engines were fed what they recorded.
    pub fn turns(&self) -> Vec<Turn> {
        let turns = self.nodes.iter().find_map(|node| node.turns.as_ref());
        turns.map(|(_, turns)| turns.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// How many clusters there are.
    pub fn clusters(&self) -> usize {
        self.to_hosts.len()
    }

    /// Whether anybody speaks TLS.
    pub fn speaks_tls(&self) -> bool {
        self.security.is_some()
    }

    /// Whether no host may get anything yet, since none has a certificate that fits.
    pub fn is_nobody_fit(&self) -> bool {
        !self.is_calm && self.security.as_ref().is_some_and(Security::is_nobody_fit)
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
        self.nodes[node].instant(self.now)
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::ToEngine(no) => self.reach_engine(no),
            Step::ToPeer(no) => self.reach_peer(no),
            Step::Syn(no) => self.accept(no),
            Step::Connected(no) => self.connected(no),
            Step::Refuse(no) => self.refused(no),
            Step::Look(no) => self.look_again(no),
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
            Step::Resume(node, filter) => {
                let now = self.instant(node);
                let what = Resume::Continue(bytes::Bytes::from_static(Filters::learned()));
                self.nodes[node].engine.handle_filter(filter, what, now);
                self.drive(node);
            }
        }
    }

    fn planned(&mut self, index: usize) {
        match self.plan[index].clone() {
            Planned::Fault(fault) => {
                self.weather.change(&fault);
                self.ledger.note(self.now, Observation::Fault(fault.name()));
            }
            Planned::Config(version, config) => self.reconfigure(version, &config),
            Planned::Drain(within) => self.drain(within),
            Planned::Calm => self.calm(),
        }
    }

    fn reconfigure(&mut self, version: u64, config: &Arc<Config>) {
        self.ledger.note(self.now, Observation::Table(version));
        if let Some(security) = &mut self.security {
            security.change(config);
        }
        for node in 0..self.nodes.len() {
            let now = self.instant(node);
            self.nodes[node].engine.handle_config(Arc::clone(config), now);
            self.drive(node);
        }
    }

    fn drain(&mut self, within: Time) {
        if self.nodes.iter().all(|node| !node.listening) {
            return;
        }
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
        self.is_calm = true;
        self.ledger.note(self.now, Observation::Fault("none"));
        for peer in 0..self.peers.len() {
            self.tell(peer, Input::Calm);
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
        Observation::Shaking(conn, _) => 15 ^ (*conn as u64) << 5,
        Observation::Shaken(conn, how) => 16 ^ how.number() << 5 ^ (*conn as u64) << 9,
        Observation::Leaked(_) => 17,
    }
}
