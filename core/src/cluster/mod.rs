//! A cluster as one engine sees it: its hosts, their pools, and how a host is chosen.

mod balance;
mod host;
mod hosts;

pub use host::{Host, Pool, PoolKey, PoolKind};
pub use hosts::HostSet;

use crate::config::{Cluster, Discovery, DnsFamily, EndpointAddress, HostPort, LbEndpoint};
use crate::id::{HostId, QueryId};
use crate::rng::Rng;
use crate::shared::{Shared, SharedCluster};
use crate::stats::{Block, ClusterStat, Registry, Scope};
use crate::time::{Duration, Instant};
use crate::timer::Deadlines;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

crate::reasons! {
    /// Why a cluster has a deadline.
    pub enum ClusterDeadline {
        /// Time to ask DNS again.
        Refresh,
    }
}

/// The answer to a DNS query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Addresses, in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// How long they may be kept, if the answer says.
    pub ttl: Option<Duration>,
}

/// Why a name could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DnsError(pub Box<str>);

/// One cluster in one engine.
#[derive(Debug)]
pub struct ClusterState {
    /// Its name, in memory of this engine's own, so that counting references disturbs no other worker.
    pub name: Arc<str>,
    /// Its config; replaced by updates.
    pub config: Arc<Cluster>,
    /// Counts over all workers.
    pub shared: Arc<SharedCluster>,
    /// Its stats.
    pub stats: Arc<Block>,
    /// Its hosts.
    pub hosts: HostSet,
    /// DNS: the last addresses of each endpoint.
    answers: Vec<Vec<SocketAddr>>,
    /// DNS: queries under way.
    queries: Vec<(QueryId, usize)>,
    /// DNS: the shortest TTL of the last round.
    ttl: Option<Duration>,
    /// Deadlines.
    pub deadlines: Deadlines<1>,
    /// Gone from the config; kept until its last connection is.
    pub removed: bool,
    /// Open connections of this engine.
    pub connections: u32,
}

/// A name to resolve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name.
    pub name: HostPort,
    /// Which addresses.
    pub family: DnsFamily,
}

impl ClusterState {
    /// The cluster of `config`.
    pub fn new(config: Arc<Cluster>, shared: &Shared, registry: &Registry, rng: Rng) -> ClusterState {
        let mut cluster = ClusterState {
            name: Arc::from(&*config.name),
            shared: shared.cluster(&config.name),
            stats: registry.block(Scope::Cluster, &config.stat_name),
            hosts: HostSet::new(config.balance, rng),
            answers: Vec::new(),
            queries: Vec::new(),
            ttl: None,
            deadlines: Deadlines::default(),
            removed: false,
            connections: 0,
            config,
        };
        cluster.rebuild();
        cluster
    }

    /// Takes a new config. Hosts that stay keep their pools; answers whose hosts must be closed.
    pub fn update(&mut self, config: Arc<Cluster>) -> Vec<HostId> {
        self.removed = false;
        if *self.config == *config {
            self.config = config;
            return Vec::new();
        }
        if self.config.discovery != config.discovery {
            self.keep_answers(&config);
        }
        let other_tls = self.config.tls != config.tls;
        self.config = config;
        self.hosts.set_balance(self.config.balance);
        // A cluster whose every name is new keeps its hosts until DNS has answered.
        let gone = match !self.questions().is_empty() && self.answers.iter().all(Vec::is_empty) {
            true => Vec::new(),
            false => self.rebuild(),
        };
        if other_tls { self.hosts.ids() } else { gone }
    }

    /// Names that were resolved before keep their addresses until DNS says otherwise.
    fn keep_answers(&mut self, config: &Cluster) {
        let old = questions(&self.config.discovery);
        let new = questions(&config.discovery);
        let last = new.last().map_or(0, |(endpoint, _)| endpoint + 1);
        let mut answers = vec![Vec::new(); last];
        for (endpoint, question) in new {
            let before = old.iter().find(|(_, known)| *known == question).and_then(|(at, _)| self.answers.get(*at));
            if let Some(before) = before {
                answers[endpoint].clone_from(before);
            }
        }
        self.answers = answers;
        self.queries.clear();
    }

    /// The names that the cluster needs resolved, by endpoint.
    pub fn questions(&self) -> Vec<(usize, Question)> {
        questions(&self.config.discovery)
    }

    /// What DNS has answered so far.
    pub fn known(&self) -> impl Iterator<Item = (Question, Resolved)> + '_ {
        let answers = self.questions().into_iter().filter_map(|(endpoint, question)| Some((question, self.answers.get(endpoint)?)));
        answers.filter(|(_, known)| !known.is_empty()).map(|(question, known)| {
            let addresses = known.iter().map(SocketAddr::ip).collect();
            (question, Resolved { addresses, ttl: None })
        })
    }

    /// Whether queries are under way.
    pub fn is_asking(&self) -> bool {
        !self.queries.is_empty()
    }

    /// A query for an endpoint has been made.
    pub fn asked(&mut self, query: QueryId, endpoint: usize) {
        self.stats.inc(ClusterStat::UpdateAttempt);
        self.queries.push((query, endpoint));
    }

    /// An answer came: when to ask again once the last of a round is in, and which hosts are gone.
    pub fn answered(&mut self, query: QueryId, result: Result<Resolved, DnsError>) -> (Option<Duration>, Vec<HostId>) {
        let Some(at) = self.queries.iter().position(|(q, _)| *q == query) else { return (None, Vec::new()) };
        let (_, endpoint) = self.queries.swap_remove(at);
        let gone = match result {
            Ok(resolved) => {
                self.stats.inc(if resolved.addresses.is_empty() { ClusterStat::UpdateEmpty } else { ClusterStat::UpdateSuccess });
                self.ttl = self.ttl.into_iter().chain(resolved.ttl).min();
                self.take_answer(endpoint, &resolved.addresses)
            }
            Err(_) => {
                // The last known addresses stay in use, as in Envoy.
                self.stats.inc(ClusterStat::UpdateFailure);
                Vec::new()
            }
        };
        (self.queries.is_empty().then(|| self.next_refresh()), gone)
    }

    fn next_refresh(&mut self) -> Duration {
        let (refresh, respect_ttl) = match &self.config.discovery {
            Discovery::Static(_) => return Duration::MAX,
            Discovery::StrictDns { refresh, respect_ttl, .. } | Discovery::LogicalDns { refresh, respect_ttl, .. } => {
                (*refresh, *respect_ttl)
            }
        };
        let ttl = self.ttl.take().filter(|ttl| respect_ttl && !ttl.is_zero());
        ttl.unwrap_or(refresh)
    }

    fn take_answer(&mut self, endpoint: usize, addresses: &[IpAddr]) -> Vec<HostId> {
        let (port, logical) = match &self.config.discovery {
            Discovery::Static(_) => return Vec::new(),
            Discovery::StrictDns { endpoints, .. } => (endpoints.get(endpoint).map(port_of), false),
            Discovery::LogicalDns { endpoint, .. } => (Some(port_of(endpoint)), true),
        };
        let Some(port) = port else { return Vec::new() };
        let mut sockets: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        if logical {
            sockets.truncate(1);
        }
        sockets.sort();
        sockets.dedup();
        if self.answers.len() <= endpoint {
            self.answers.resize(endpoint + 1, Vec::new());
        }
        if self.answers[endpoint] == sockets {
            self.stats.inc(ClusterStat::UpdateNoRebuild);
            return Vec::new();
        }
        self.answers[endpoint] = sockets;
        self.rebuild()
    }

    /// Makes the host set fit the config and the answers; answers whose hosts are gone.
    fn rebuild(&mut self) -> Vec<HostId> {
        let config = Arc::clone(&self.config);
        let endpoints: &[LbEndpoint] = match &config.discovery {
            Discovery::Static(endpoints) | Discovery::StrictDns { endpoints, .. } => endpoints,
            Discovery::LogicalDns { endpoint, .. } => std::slice::from_ref(endpoint),
        };
        let mut wanted: Vec<(SocketAddr, &LbEndpoint)> = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            match &endpoint.address {
                EndpointAddress::Socket(address) => wanted.push((*address, endpoint)),
                EndpointAddress::Name(_) => {
                    let answers = self.answers.get(index).map_or(&[][..], Vec::as_slice);
                    wanted.extend(answers.iter().map(|address| (*address, endpoint)));
                }
            }
        }
        let gone = self.hosts.replace(&wanted, &self.shared);
        self.shared.forget_unused_hosts();
        self.stats.set(ClusterStat::MembershipTotal, self.hosts.len() as u64);
        self.stats.set(ClusterStat::MembershipHealthy, self.hosts.healthy() as u64);
        self.stats.inc(ClusterStat::MembershipChange);
        gone
    }

    /// When the next round of queries is due.
    pub fn refresh_at(&mut self, at: Instant, owner: crate::timer::Owner, timers: &mut crate::timer::TimerQueue) {
        self.deadlines.set(ClusterDeadline::Refresh, at, owner, timers);
    }
}

fn questions(discovery: &Discovery) -> Vec<(usize, Question)> {
    let question = |endpoint: &LbEndpoint, family: DnsFamily| match &endpoint.address {
        EndpointAddress::Name(name) => Some(Question { name: name.clone(), family }),
        EndpointAddress::Socket(_) => None,
    };
    match discovery {
        Discovery::Static(_) => Vec::new(),
        Discovery::StrictDns { endpoints, family, .. } => {
            endpoints.iter().enumerate().filter_map(|(i, e)| Some((i, question(e, *family)?))).collect()
        }
        Discovery::LogicalDns { endpoint, family, .. } => question(endpoint, *family).map(|q| (0, q)).into_iter().collect(),
    }
}

fn port_of(endpoint: &LbEndpoint) -> u16 {
    match &endpoint.address {
        EndpointAddress::Socket(address) => address.port(),
        EndpointAddress::Name(name) => name.port,
    }
}
