//! What a world is made of, and what is planned to happen in it.

use super::Security;
use crate::event::Time;
use crate::fault::Fault;
use crate::link::Law;
use crate::observe::Ledger;
use crate::peer::{Peer, PeerNo};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use weir_core::config::Config;
use weir_core::engine::Ended;
use weir_core::engine::log::RecordOptions;
use weir_core::rng::Seed;

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

/// What happens once so many events have.
#[derive(Clone, Debug)]
pub enum Cut {
    /// The process drains for so long.
    Drain(Time),
    /// A config of this version takes the place of the one before.
    Config(u64, Arc<Config>),
}

/// An exchange as its engine saw it, once it has ended.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// When it ended.
    pub at: Time,
    /// Which worker's it was.
    pub worker: usize,
    /// The request and the facts.
    pub ended: Ended,
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
    /// Where the proxy listens: names of listeners, and their addresses.
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    /// The hosts: address, cluster, which of the peers.
    pub hosts: Vec<(SocketAddr, usize, PeerNo)>,
    /// What DNS knows.
    pub names: Vec<(Box<str>, Vec<IpAddr>)>,
    /// How links treat bytes: those of clients, those of hosts.
    pub laws: (Law, Law),
    /// What is planned, by time.
    pub plan: Vec<(Time, Planned)>,
    /// After so many events this happens.
    pub cut_after: Option<(u64, Cut)>,
    /// What clients ask for.
    pub ledger: Ledger,
    /// Whether the engines record their inputs.
    pub record: Option<RecordOptions>,
    /// Whether [`World::exchanges`](super::World::exchanges) are kept.
    pub keeps_exchanges: bool,
    /// TLS, if anybody speaks it.
    pub security: Option<Security>,
}
