//! The engine: one per worker. It holds the maps and hands each input to the machine that it is for.
//!
//! Methods are of four kinds. `handle_*` bring news in. `poll_*` take work out: after any `handle_*`, ask
//! [`Engine::poll_action`] and [`Engine::poll_event`] until `None`, and sleep until [`Engine::poll_timeout`].
//! Outputs are levels: asking late, twice or in another order changes no decision. The rest are commands
//! and questions.

mod access_log;
mod attempt;
mod chains;
mod config;
mod downstream;
mod drain;
mod ending;
mod explain;
mod failure;
mod filtering;
mod lifetime;
pub mod log;
mod outputs;
mod pool;
mod raw;
mod reply;
mod request;
mod response;
mod secure;
mod sides;
mod streams_down;
mod streams_up;
mod taped;
mod timeouts;
mod transmit;
mod tunnel;
mod upstream;

pub use drain::EngineDeadline;
pub use explain::{Ended, Step};
pub use outputs::{Action, ConnectError, ConnectTls, Event, IoFault, Refused, Transmit, Transport};
pub use secure::Opening;
pub use timeouts::{Deadline, Why};

use crate::answers::Answers;
use crate::buffer::{Blocks, Outbox};
use crate::cluster::{ClusterState, DnsError, Resolved};
use crate::config::Config;
use crate::connection::Connection;
use crate::drain::{DrainPhase, DrainScope};
use crate::exchange::Exchange;
use crate::filter::{FilterId, Resume};
use crate::id::{ClusterId, ConnId, ExchangeId, ListenerId, QueryId};
use crate::map::Map;
use crate::record::Addresses;
use crate::rng::{Rng, Seed};
use crate::shared::{Count, Shared};
use crate::stats::{Block, Registry};
use crate::time::{Instant, Wall, WallClock};
use crate::timer::{Deadlines, TimerQueue};
use bytes::BytesMut;
use chains::Chains;
use outputs::Outputs;
use slotmap::SlotMap;
use std::sync::Arc;

/// One worker's share of the proxy.
#[derive(Debug)]
pub struct Engine {
    connections: SlotMap<ConnId, Connection>,
    exchanges: SlotMap<ExchangeId, Box<Exchange>>,
    /// Ended exchanges whose memory the next ones use.
    #[allow(clippy::vec_box)] // the boxes themselves are what is used again
    spare: Vec<Box<Exchange>>,
    listeners: SlotMap<ListenerId, ListenerState>,
    clusters: SlotMap<ClusterId, ClusterState>,
    cluster_names: Map<Arc<str>, ClusterId>,
    queries: SlotMap<QueryId, ClusterId>,
    config: Arc<Config>,
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    out: Outputs,
    timers: TimerQueue,
    blocks: Blocks,
    clock: Clock,
    random: Randomness,
    drain: DrainState,
    seed: Seed,
    /// How counts that other workers move are asked.
    answers: Answers,
    /// The input log that is being written.
    recorder: Option<Box<log::Recorder>>,
    /// Whether observers want to know each decision.
    explaining: bool,
    /// HTTP/2 connections whose streams may go on; looked after before the input is done with.
    resumed: Vec<ConnId>,
    /// What the driver calls it.
    number: u64,
}

/// One listener in one engine.
#[derive(Debug)]
struct ListenerState {
    config: Arc<crate::config::Listener>,
    chains: Chains,
    stats: Arc<Block>,
    count: Arc<Count>,
    drain: DrainPhase,
    /// Open connections of this engine.
    connections: usize,
}

/// The process's drain, as this engine knows it.
#[derive(Debug, Default)]
struct DrainState {
    phase: DrainPhase,
    /// Answers carry `Connection: close`, but nothing ends.
    discouraged: bool,
    deadlines: Deadlines<1>,
    /// Exchanges that the deadline cut.
    cut: u32,
}

/// Wall time and the `Date` that was made of it last.
#[derive(Debug)]
struct Clock {
    wall: WallClock,
    second: u64,
    date: [u8; 29],
}

impl Clock {
    fn date(&mut self, now: Instant) -> &[u8; 29] {
        let wall = self.wall.at(now);
        if wall.as_secs() != self.second {
            self.second = wall.as_secs();
            self.date = crate::http::http_date(wall);
        }
        &self.date
    }
}

/// One stream of randomness for each use, so that one more draw in one moves none of the others.
#[derive(Debug)]
struct Randomness {
    route: Rng,
    weight: Rng,
    backoff: Rng,
    request_id: Rng,
    filter: Rng,
    websocket: Rng,
}

impl Engine {
    /// An engine that runs `config` from `now` on, when the wall clock shows `wall`.
    pub fn new(config: Arc<Config>, shared: Arc<Shared>, seed: Seed, now: Instant, wall: Wall) -> Engine {
        Engine::counting(Arc::default(), config, shared, seed, now, wall)
    }

    /// An engine that takes this one's place for connections to come: it has the same config and counts into the same
    /// stats, but knows nothing of what is under way here.
    pub fn successor(&self, now: Instant, wall: Wall) -> Engine {
        let seed = self.seed.fork("successor");
        Engine::counting(Arc::clone(&self.registry), Arc::clone(&self.config), Arc::clone(&self.shared), seed, now, wall)
    }

    fn counting(registry: Arc<Registry>, config: Arc<Config>, shared: Arc<Shared>, seed: Seed, now: Instant, wall: Wall) -> Engine {
        let stream = |name: &str| Rng::new(seed.fork(name));
        let mut engine = Engine {
            connections: SlotMap::with_key(),
            exchanges: SlotMap::with_key(),
            spare: Vec::new(),
            listeners: SlotMap::with_key(),
            clusters: SlotMap::with_key(),
            cluster_names: Map::default(),
            queries: SlotMap::with_key(),
            config: Arc::clone(&config),
            shared,
            registry,
            out: Outputs::default(),
            timers: TimerQueue::default(),
            blocks: Blocks::default(),
            clock: Clock { wall: WallClock::new(wall, now), second: u64::MAX, date: [0; 29] },
            random: Randomness {
                route: stream("route"),
                weight: stream("weight"),
                backoff: stream("backoff"),
                request_id: stream("request-id"),
                filter: stream("filter"),
                websocket: stream("websocket"),
            },
            drain: DrainState::default(),
            seed,
            answers: Answers::Live,
            recorder: None,
            explaining: false,
            resumed: Vec::new(),
            number: 0,
        };
        engine.apply_config(config, now);
        engine
    }

    /// Numbers the engine, for filters that are resumed by whoever drives several
    /// ([`FilterContext::engine`](crate::filter::FilterContext)). It decides nothing.
    pub fn set_number(&mut self, number: u64) {
        self.number = number;
    }

    /// The wall clock shows `wall` now. Tell it now and then: clocks are set and drift.
    pub fn handle_wall(&mut self, wall: Wall, now: Instant) {
        self.taped(|log| log.wall(wall, now), |engine| engine.clock.wall = WallClock::new(wall, now));
    }

    /// A client has connected. An `Err` means: close it. Ask [`Self::opening`] what comes before its first byte.
    pub fn handle_accept(&mut self, on: ListenerId, addresses: Addresses, now: Instant) -> Result<ConnId, Refused> {
        self.taped_accept(on, addresses, now)
    }

    /// A connection that [`Action::Connect`] asked for is there, or could not be made.
    pub fn handle_connected(&mut self, conn: ConnId, result: Result<Transport, ConnectError>, now: Instant) {
        // What is recorded must be written before the engine takes it.
        match self.is_taped() {
            false => self.connected(conn, result, now),
            true => {
                let given = result.clone();
                self.taped(move |log| log.connected(conn, &given, now), move |engine| engine.connected(conn, result, now));
            }
        }
    }

    /// Bytes have arrived. What is left in `input` is back-pressure: keep it, stop reading, and offer it
    /// again when [`Action::SetReadable`] says so.
    pub fn handle_recv(&mut self, conn: ConnId, input: &mut BytesMut, now: Instant) {
        match self.is_taped() {
            false => self.recv(conn, input, now),
            true => self.taped_recv(conn, input, now),
        }
    }

    /// The peer has sent its last byte. Bytes can still be sent to it.
    pub fn handle_eof(&mut self, conn: ConnId, now: Instant) {
        self.taped(
            |log| log.eof(conn, now),
            |engine| match engine.connections.get(conn) {
                Some(Connection::Downstream(_)) => {
                    engine.eof_downstream(conn, now);
                    engine.go_on(now);
                }
                Some(Connection::Upstream(_)) => {
                    engine.eof_upstream(conn, now);
                    engine.go_on(now);
                }
                None => {}
            },
        );
    }

    /// The connection is gone: it failed, or was closed as [`Action::Close`] asked. Its id means nothing
    /// from now on.
    pub fn handle_closed(&mut self, conn: ConnId, why: IoFault, now: Instant) {
        self.taped(
            |log| log.closed(conn, why, now),
            |engine| match engine.connections.get(conn) {
                Some(Connection::Downstream(_)) => {
                    engine.closed_downstream(conn, why, now);
                    engine.go_on(now);
                }
                Some(Connection::Upstream(_)) => {
                    engine.closed_upstream(conn, why, now);
                    engine.go_on(now);
                }
                None => {}
            },
        );
    }

    /// A DNS query that [`Action::Resolve`] asked for has ended.
    pub fn handle_resolved(&mut self, query: QueryId, result: Result<Resolved, DnsError>, now: Instant) {
        let given = self.is_taped().then(|| result.clone());
        let write = |log: &mut log::Recorder| given.iter().for_each(|given| log.resolved(query, given, now));
        self.taped(write, |engine| engine.resolved(query, result, now));
    }

    /// There is a new config. Exchanges under way keep the one they began with.
    pub fn handle_config(&mut self, config: Arc<Config>, now: Instant) {
        let given = Arc::clone(&config);
        self.taped(|log| log.config(&given, now), |engine| engine.apply_config(config, now));
    }

    /// A filter that has paused an exchange is told what it waited for. If the exchange is gone, or does not wait for this
    /// filter, that changes nothing.
    pub fn handle_filter(&mut self, filter: FilterId, what: Resume, now: Instant) {
        let given = self.is_taped().then(|| what.clone());
        let write = |log: &mut log::Recorder| given.iter().for_each(|given| log.filter(filter, given, now));
        self.taped(write, |engine| {
            engine.resume_filter(filter, what, now);
            engine.go_on(now);
        });
    }

    /// Something is to be drained.
    pub fn handle_drain(&mut self, scope: DrainScope, now: Instant) {
        self.taped(
            |log| log.drain(scope, now),
            |engine| {
                engine.start_drain(scope, now);
                // Connections that have been idle for long are due already.
                engine.fire_due(now);
            },
        );
    }

    /// Another engine asked through [`Action::Nudge`]: look whether a shared limit has room, or can be given
    /// some.
    pub fn handle_nudge(&mut self, now: Instant) {
        self.taped(|log| log.nudge(now), |engine| engine.nudged(now));
    }

    /// Time has passed. Early and spurious calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.taped(|log| log.timeout(now), |engine| engine.fire_due(now));
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.actions.pop_front()
    }

    /// Moves bytes to send on `conn` into `out`.
    #[must_use]
    pub fn poll_transmit(&mut self, conn: ConnId, out: &mut Outbox, now: Instant) -> Transmit {
        match self.is_taped() && self.has_to_transmit(conn) {
            false => self.transmit(conn, out, now),
            true => self.taped(|log| log.transmit(conn, now), |engine| engine.transmit(conn, out, now)),
        }
    }

    /// The next thing to tell observers.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why. It may be earlier than anything is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.timers.peek().and_then(Deadline::of)
    }

    fn recv(&mut self, conn: ConnId, input: &mut BytesMut, now: Instant) {
        match self.connections.get(conn) {
            Some(Connection::Downstream(_)) => self.recv_downstream(conn, input, now),
            Some(Connection::Upstream(_)) => self.recv_upstream(conn, input, now),
            None => taped::discard(&mut self.recorder, input),
        }
        self.go_on(now);
    }

    /// Whether a connection carries many exchanges at once: what it has to send is better collected for a moment.
    pub fn is_multiplexed(&mut self, conn: ConnId) -> bool {
        self.connections.get_mut(conn).is_some_and(|conn| conn.session().is_some())
    }

    /// Whether there is such a connection (still).
    pub fn has_connection(&self, conn: ConnId) -> bool {
        self.connections.contains_key(conn)
    }

    /// Whether the answer to such a query is (still) waited for.
    pub fn has_query(&self, query: QueryId) -> bool {
        self.queries.contains_key(query)
    }

    /// Whether there is (still) such a listener.
    pub fn has_listener(&self, listener: ListenerId) -> bool {
        self.listeners.contains_key(listener)
    }

    /// The id of the listener called `name`. If it has moved, that of its new address.
    pub fn listener(&self, name: &str) -> Option<ListenerId> {
        let named = self.listeners.iter().filter(|(_, listener)| &*listener.config.name == name);
        named.min_by_key(|(_, listener)| listener.drain.is_draining()).map(|(id, _)| id)
    }

    /// The stats that this engine counts.
    pub fn stats(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// Clusters by name, in the order of the config.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterState> {
        self.cluster_names.values().filter_map(|id| self.clusters.get(*id))
    }

    /// Downstream connections that are open.
    pub fn downstream_connections(&self) -> usize {
        self.listeners.values().map(|listener| listener.connections).sum()
    }

    /// Exchanges under way.
    pub fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// Streams of HTTP/2 connections that are open, of clients and to upstreams.
    pub fn streams(&self) -> usize {
        self.connections.values().filter_map(Connection::open_streams).sum()
    }

    /// Whether a drain of the process has ended.
    pub fn is_drained(&self) -> bool {
        self.drain.phase == DrainPhase::Drained
    }
}
