//! A world around a config of the user's own: its clusters get hosts, its names get addresses, and clients ask what the
//! world file says.

pub mod client;
pub mod host;
pub mod law;
pub mod report;
pub mod world_file;

pub use report::{Report, line};
pub use world_file::WorldFile;

use crate::check::{self, Check};
use crate::event::{SECOND, Time};
use crate::fault::{Fault, storm};
use crate::link::Law as Links;
use crate::observe::Ledger;
use crate::peer::Peer;
use crate::scene::Scene;
use crate::world::{Cut, Parts, Planned, World};
use client::{Client, Habits};
use host::Host;
use law::Law;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use weir_core::config::{Cluster, Config, Discovery, EndpointAddress, LbEndpoint, Listener, PathMatch, v3};
use weir_core::rng::{Rng, Seed};
use world_file::{Asked, Clients, Kind, Upstream, fault_at};

/// After the clients have asked their last, so long until all is to be over.
const EBB: Time = 20 * SECOND;

/// A config and the world around it, read and understood.
#[derive(Clone, Debug)]
pub struct Plan {
    config: Arc<Config>,
    world: WorldFile,
    clients: Vec<(u32, Arc<Habits>)>,
    /// Configs to come, and when.
    updates: Vec<(Time, Arc<Config>)>,
}

impl Plan {
    /// Reads a config, and a world file if there is one.
    ///
    /// # Errors
    /// All that is wrong, a line each, with places.
    pub fn read(config_path: &Path, world_path: Option<&Path>) -> Result<Plan, String> {
        let config = Arc::new(load(config_path)?);
        let (file, text) = match world_path {
            Some(path) => (path.display().to_string(), read(path)?),
            None => (String::new(), String::new()),
        };
        let world = WorldFile::parse(&file, &text)?;
        let folder = world_path.and_then(Path::parent).unwrap_or(Path::new(""));
        let mut updates = Vec::new();
        for update in &world.update {
            let path = folder.join(update.config.get_ref());
            let next = load(&path).map_err(|why| fault_at(&file, &text, update.config.span(), why))?;
            updates.push((update.at.0, Arc::new(next)));
        }
        let unknown = |name: &toml::Spanned<String>| {
            let known: Vec<&str> = config.clusters.keys().map(|name| &**name).collect();
            let what = format!("there is no cluster `{}`; the config has {}", name.get_ref(), known.join(", "));
            fault_at(&file, &text, name.span(), what)
        };
        let is_known = |name: &toml::Spanned<String>| config.clusters.contains_key(&**name.get_ref());
        if let Some(name) = world.upstreams.keys().find(|name| name.get_ref() != "default" && !is_known(name)) {
            return Err(unknown(name));
        }
        if let Some(name) = world.faults.iter().filter_map(|fault| fault.cluster.as_ref()).find(|name| !is_known(name)) {
            return Err(unknown(name));
        }
        let names = names(&config, updates.iter().map(|(_, config)| &**config), &world);
        if let Some(name) = world.dns.keys().find(|name| !names.iter().any(|(known, _)| **known == ***name)) {
            let known: Vec<&str> = names.iter().map(|(name, _)| &**name).collect();
            return Err(format!("{file}: dns: no cluster asks for `{name}`; they ask for {}", known.join(", ")));
        }
        for fault in &world.faults {
            let of = fault.cluster.as_ref().and_then(|name| config.clusters.get(&**name.get_ref()));
            if let (Some(host), Some(cluster), Some(name)) = (fault.host, of, &fault.cluster)
                && host >= addresses(cluster, &names).len()
            {
                let what =
                    format!("host {host} of cluster `{}`: it has hosts 0 to {}", name.get_ref(), addresses(cluster, &names).len() - 1);
                return Err(fault_at(&file, &text, name.span(), what));
            }
        }
        let clients = clients(&config, &world, &file, &text)?;
        Ok(Plan { config, world, clients, updates })
    }

    /// The config.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A shorter plan, of which every event can be tried.
    pub fn shortened(mut self, duration: Time) -> Plan {
        self.world.duration.0 = self.world.duration.0.min(duration);
        self.clients = self
            .clients
            .iter()
            .map(|(count, habits)| {
                let habits = Habits {
                    end: habits.end.min(duration),
                    host: habits.host.clone(),
                    headers: habits.headers.clone(),
                    requests: habits.requests.clone(),
                    ..**habits
                };
                (*count, Arc::new(habits))
            })
            .collect();
        self
    }

    /// The world of a seed; after so many events, what `cut` says happens.
    pub fn scene(&self, seed: u64, cut: Option<(u64, Cut)>) -> Scene {
        let seed = Seed(seed);
        let mut rng = Rng::new(seed.fork("own world"));
        let names = names(&self.config, self.updates.iter().map(|(_, config)| &**config), &self.world);
        let mut peers: Vec<Box<dyn Peer>> = Vec::new();
        for (count, habits) in &self.clients {
            for _ in 0..*count {
                let number = peers.len();
                peers.push(Box::new(Client::new(Arc::clone(habits), number)));
            }
        }
        let mut hosts: Vec<(SocketAddr, usize, usize)> = Vec::new();
        let mut clusters: Vec<Arc<str>> = Vec::new();
        for config in std::iter::once(&self.config).chain(self.updates.iter().map(|(_, config)| config)) {
            for (name, cluster) in &config.clusters {
                let index = clusters.iter().position(|known| known == name).unwrap_or_else(|| {
                    clusters.push(Arc::clone(name));
                    clusters.len() - 1
                });
                let law = Arc::new(self.upstream(name));
                for address in addresses(cluster, &names) {
                    if !hosts.iter().any(|(known, ..)| *known == address) {
                        hosts.push((address, index, peers.len()));
                        peers.push(Box::new(Host::new(index, Arc::clone(&law))));
                    }
                }
            }
        }
        let cut_drains = matches!(cut, Some((_, Cut::Drain(_))));
        let (plan, end) = self.plan(&hosts, &clusters, cut_drains, &mut rng);
        let links = self.links();
        let workers: Vec<Time> = (0..self.world.workers).map(|_| rng.below(SECOND)).collect();
        let faultless = self.world.faults.is_empty();
        let mut checks: Vec<Box<dyn Check>> = vec![
            Box::new(check::bodies::Bodies),
            Box::new(check::own_answer::OwnAnswer),
            Box::new(check::drain::Drains::new(workers.len(), faultless.then_some(links.latency.1), false)),
            Box::new(check::leaks::Leaks::together(clusters)),
            Box::new(check::stats::Stats),
        ];
        // What times out in the middle of a body is cut, and rightly so: nobody here sends bodies slowly.
        checks.push(Box::new(check::ends_once::EndsOnce::new([Time::MAX; 3])));
        let about = String::new();
        let world = World::new(Parts {
            security: None,
            seed,
            config: Arc::clone(&self.config),
            workers,
            peers,
            listeners: self.config.listeners.iter().map(|listener| (Arc::clone(&listener.name), listener.bind.address)).collect(),
            hosts,
            names,
            laws: (links.clone(), links),
            plan,
            cut_after: cut,
            ledger: Ledger::default(),
            record: None,
            keeps_exchanges: true,
        });
        Scene { world, checks, end, about }
    }

    fn upstream(&self, cluster: &str) -> Upstream {
        let of = |name: &str| self.world.upstreams.iter().find(|(key, _)| key.get_ref() == name).map(|(_, law)| law.clone());
        of(cluster).or_else(|| of("default")).unwrap_or_default()
    }

    fn links(&self) -> Links {
        let latency = match self.world.link.latency.get_ref() {
            Law::Even(from, to) => (*from, *to),
            Law::Exponential(mean) => (*mean, *mean),
        };
        Links { latency, cut: self.world.link.cut, ..Links::default() }
    }

    /// What is planned, and when the world ends.
    fn plan(
        &self,
        hosts: &[(SocketAddr, usize, usize)],
        clusters: &[Arc<str>],
        cut_drains: bool,
        rng: &mut Rng,
    ) -> (Vec<(Time, Planned)>, Time) {
        let mut plan = Vec::new();
        for fault in &self.world.faults {
            let of = fault.cluster.as_ref().and_then(|name| clusters.iter().position(|known| **known == **name.get_ref()));
            let befallen = hosts.iter().filter(|(_, cluster, _)| of.is_none_or(|of| of == *cluster)).map(|(address, ..)| *address);
            let befallen =
                befallen.enumerate().filter(|(place, _)| fault.host.is_none_or(|host| host == *place)).map(|(_, address)| address);
            match fault.kind {
                Kind::Storm => plan.push((fault.at.0, Planned::Fault(storm::draw(rng)))),
                kind => plan.extend(befallen.map(|host| {
                    let fault_of = match kind {
                        Kind::Refuse => Fault::Refuse,
                        Kind::Blackhole => Fault::Blackhole,
                        Kind::Dns | Kind::Storm => Fault::Unnamed,
                    };
                    (fault.at.0, Planned::Fault(fault_of(host)))
                })),
            }
            plan.push((fault.at.0.saturating_add(fault.lasts.0), Planned::Fault(Fault::Over)));
        }
        for (version, (at, config)) in (1..).zip(&self.updates) {
            plan.push((*at, Planned::Config(version, Arc::clone(config))));
        }
        let asked_until = self.world.duration.0;
        let mut end = asked_until.saturating_add(EBB);
        if !cut_drains {
            // Every world ends with a drain: nothing may be left behind.
            let (at, within) = self.world.drain.as_ref().map_or((asked_until, EBB), |drain| (drain.at.0, drain.within.0));
            plan.push((at, Planned::Drain(within)));
            end = end.max(at.saturating_add(within).saturating_add(SECOND));
        }
        plan.sort_by_key(|(at, _)| *at);
        (plan, end)
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Reads a config as `weir run` would.
fn load(path: &Path) -> Result<Config, String> {
    let text = read(path)?;
    let loaded = v3::load(&text, &path.display().to_string());
    let findings: Vec<String> =
        loaded.diagnostics.iter().filter(|finding| finding.severity != v3::Severity::Warning).map(ToString::to_string).collect();
    match loaded.config {
        Some(config) if findings.is_empty() => match config.listeners.is_empty() {
            true => Err(format!("{}: there is no listener that clients could connect to", path.display())),
            false => Ok(config),
        },
        _ => Err(findings.join("\n")),
    }
}

fn clients(config: &Config, world: &WorldFile, file: &str, text: &str) -> Result<Vec<(u32, Arc<Habits>)>, String> {
    let end = world.duration.0;
    if world.clients.is_empty() {
        let habits = config.listeners.first().map(|listener| of_every_route(listener, end));
        return Ok(habits.into_iter().map(|habits| (10, Arc::new(habits))).collect());
    }
    world
        .clients
        .iter()
        .map(|Clients { count, listener, start, think, host, headers, requests }| {
            let place = match listener {
                None => 0,
                Some(name) => config.listeners.iter().position(|known| *known.name == **name.get_ref()).ok_or_else(|| {
                    let known: Vec<&str> = config.listeners.iter().map(|listener| &*listener.name).collect();
                    let what = format!("there is no listener `{}`; the config has {}", name.get_ref(), known.join(", "));
                    fault_at(file, text, name.span(), what)
                })?,
            };
            let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let habits =
                Habits { listener: place, start: start.0, end, think: *think, host: host.clone(), headers, requests: requests.clone() };
            Ok((*count, Arc::new(habits)))
        })
        .collect()
}

/// One request for every route of a listener that a plain request can reach.
fn of_every_route(listener: &Listener, end: Time) -> Habits {
    let paths = listener.all_chains().flat_map(|chain| &chain.http.routes.hosts).flat_map(|host| &host.routes).filter_map(|route| {
        match &route.on.path {
            PathMatch::Prefix(path) | PathMatch::Exact(path) | PathMatch::SeparatedPrefix(path) => Some(path.to_string()),
            PathMatch::Regex(_) | PathMatch::Connect => None,
        }
    });
    let mut requests: Vec<Asked> = paths.map(|target| Asked { method: "GET".to_owned(), target, body: 0 }).collect();
    if requests.is_empty() {
        requests.push(Asked { method: "GET".to_owned(), target: "/".to_owned(), body: 0 });
    }
    Habits { listener: 0, start: 0, end, think: Law::Even(0, 10_000_000), host: "localhost".to_owned(), headers: String::new(), requests }
}

fn endpoints(cluster: &Cluster) -> &[LbEndpoint] {
    match &cluster.discovery {
        Discovery::Static(endpoints) | Discovery::StrictDns { endpoints, .. } => endpoints,
        Discovery::LogicalDns { endpoint, .. } => std::slice::from_ref(endpoint),
    }
}

/// Names of all clusters, each with its addresses: those of the world file, or one of its own.
fn names<'a>(config: &'a Config, later: impl Iterator<Item = &'a Config>, world: &WorldFile) -> Vec<(Box<str>, Vec<IpAddr>)> {
    let mut names: BTreeMap<Box<str>, Vec<IpAddr>> = BTreeMap::new();
    for config in std::iter::once(config).chain(later) {
        for endpoint in config.clusters.values().flat_map(|cluster| endpoints(cluster)) {
            if let EndpointAddress::Name(name) = &endpoint.address {
                let number = names.len() as u32 + 1;
                let own = || vec![IpAddr::from((u32::from_be_bytes([198, 18, 0, 0]) + number).to_be_bytes())];
                names.entry((*name.host).into()).or_insert_with(|| world.dns.get(&*name.host).cloned().unwrap_or_else(own));
            }
        }
    }
    names.into_iter().collect()
}

fn addresses(cluster: &Cluster, names: &[(Box<str>, Vec<IpAddr>)]) -> Vec<SocketAddr> {
    let of = |endpoint: &LbEndpoint| match &endpoint.address {
        EndpointAddress::Socket(address) => vec![*address],
        EndpointAddress::Name(name) => {
            let known = names.iter().find(|(known, _)| **known == *name.host);
            known.into_iter().flat_map(|(_, ips)| ips).map(|ip| SocketAddr::new(*ip, name.port)).collect()
        }
    };
    endpoints(cluster).iter().flat_map(of).collect()
}
