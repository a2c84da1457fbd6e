//! Worlds drawn from a seed: which hosts, clients, links, faults and updates there are. Each world has only some of
//! everything, so that no feature hides the faults of another (swarm testing). `clients.rs` draws who asks for what,
//! `moods.rs` how hosts are disposed.

mod clients;
mod moods;

use crate::check::{self, Check};
use crate::client;
use crate::config::{self, Settings};
use crate::event::{MS, SECOND, Time};
use crate::fault::{Fault, blackhole, dns, refuse, storm};
use crate::filters::Filters;
use crate::link::Law;
use crate::observe::Ledger;
use crate::recipe::Recipe;
use crate::scene::Scene;
use crate::tls::Tls;
use crate::tls::cast::{self, Roles};
use crate::upstream::Host;
use crate::versions::{Upstream, Versions};
use crate::world::{Cut, Parts, Planned, Security, World};
use clients::{clients, probes, unless_absent};
use moods::{mood, mood2};
use std::net::SocketAddr;
use weir_core::rng::{Rng, Seed};

/// When hosts begin to behave and faults are over.
const CALM: Time = 4 * SECOND;
/// When the last requests are asked: every timeout is over by then.
const PROBES: Time = CALM + 21 * SECOND;
const DRAIN: Time = PROBES + 4 * SECOND;

/// What kind of world it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing goes wrong.
    Calm,
    /// Everything takes equally long: timers can be read off.
    Exact,
    /// Anything can happen.
    Wild,
}

/// The world of a seed.
pub fn draw(seed: u64) -> Scene {
    of(&Recipe::of(seed))
}

/// The world of a recipe.
pub fn of(recipe: &Recipe) -> Scene {
    scene(recipe, false).0
}

/// The world of a recipe, with a description of what was drawn.
pub fn describe(recipe: &Recipe) -> Scene {
    scene(recipe, true).0
}

/// How much there is in a world that could be left out of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Clients, those included that check the recovery.
    pub clients: u64,
    /// Requests.
    pub requests: u64,
    /// Faults and config updates.
    pub planned: u64,
}

/// The size of a recipe's world with nothing left out.
pub fn size(recipe: &Recipe) -> Size {
    scene(&Recipe { drain_after: recipe.drain_after, update_after: recipe.update_after, ..Recipe::of(recipe.seed) }, false).1
}

fn scene(recipe: &Recipe, describe: bool) -> (Scene, Size) {
    let seed = Seed(recipe.seed);
    let mut rng = Rng::new(seed.fork("swarm"));
    let kind = [Kind::Calm, Kind::Exact, Kind::Wild, Kind::Wild, Kind::Wild][rng.below(5) as usize];
    let clusters = 1 + rng.below(4) as usize;
    let mut settings = Settings::draw(clusters, kind == Kind::Calm, &mut rng);
    let mut http2 = Rng::new(seed.fork("http2"));
    settings.versions = Versions::draw(clusters, &mut http2);
    let mut secrets = Rng::new(seed.fork("tls"));
    settings.tls = Tls::draw(&mut settings.versions.clusters, &mut secrets);
    if settings.tls.listeners().len() > 1 {
        // The bound is one listener's, and is checked over all.
        settings.limits.clients = 10_000;
    }
    let versions = settings.versions.clone();
    // A filter that waits would move every deadline that begins behind it.
    if kind != Kind::Exact {
        settings.filters = Filters::draw(&mut Rng::new(seed.fork("filter")));
    }
    let early_drain = rng.below(3) == 0 || recipe.drain_after.is_some();
    let drain_at = if early_drain { rng.below(CALM / 4) } else { DRAIN };
    let drain_for = if rng.below(3) == 0 { 1 + rng.below(2 * SECOND) } else { 20 * SECOND };
    let law = match kind {
        Kind::Wild => law(&mut rng),
        Kind::Calm | Kind::Exact => Law { window: 1 << 30, ..Law::default() },
    };
    let host_law = if kind == Kind::Wild { self::law(&mut rng) } else { law.clone() };

    let mut ledger = Ledger::default();
    let mut peers = clients(kind, &versions, recipe, &mut ledger, &mut rng, &mut http2);
    let well_behaved = peers.len();
    let misfits = if kind == Kind::Exact { Vec::new() } else { cast::misfits(&settings.tls, &mut secrets) };
    for _ in &misfits {
        let misfit = client::misfit::draw(secrets.below(CALM / 4), &mut secrets);
        peers.push(unless_absent(recipe, peers.len(), Box::new(misfit)));
    }
    let client_count = peers.len() as u64;
    let first_probe = ledger.entries.len() as u64;
    if !early_drain {
        peers.push(probes(clusters, http2.below(100) < versions.clients, &mut ledger));
    }
    let probes = first_probe..ledger.entries.len() as u64;
    let mut hosts = Vec::new();
    for (cluster, addresses) in settings.clusters.iter().enumerate() {
        for address in addresses {
            hosts.push((*address, cluster, peers.len()));
            let mood = mood(kind, &mut rng);
            let mood = if versions.clusters[cluster] == Upstream::One { mood } else { mood2(kind, mood, &mut http2) };
            let few = kind == Kind::Wild && http2.below(4) == 0;
            let at_once = if few { 2 + http2.below(30) as u32 } else { 100 };
            peers.push(Box::new(Host::new(cluster, mood).with_streams_at_once(at_once)));
        }
    }
    let mut plan = Vec::new();
    let addresses: Vec<_> = hosts.iter().map(|(address, ..)| *address).collect();
    if kind == Kind::Wild {
        for _ in 0..rng.below(4) {
            let fault = match rng.below(4) {
                3 => dns::draw(&addresses, &mut rng),
                0 => refuse::draw(&addresses, &mut rng),
                1 => blackhole::draw(&addresses, &mut rng),
                _ => storm::draw(&mut rng),
            };
            let at = rng.below(CALM / 4);
            plan.push((at, Planned::Fault(fault)));
            plan.push((at + rng.below(CALM / 2), Planned::Fault(Fault::Over)));
        }
    }
    for version in 1..=rng.below(4) {
        plan.push((rng.below(CALM / 8) + version * CALM / 8, Planned::Config(version, settings.config(version))));
    }
    let size = Size { clients: client_count, requests: first_probe, planned: plan.len() as u64 };
    let mut place = 0;
    plan.retain(|_| {
        place += 1;
        !recipe.without_planned.contains(&(place - 1))
    });
    plan.push((CALM, Planned::Calm));
    let end = match recipe.drain_after {
        Some(_) => CALM + drain_for + SECOND,
        None => drain_at + drain_for + SECOND,
    };
    // A world to be cut by a drain is drained at its end if it has fewer events than that.
    plan.push((if recipe.drain_after.is_some() { CALM } else { drain_at }, Planned::Drain(drain_for)));
    plan.sort_by_key(|(at, _)| *at);

    let workers: Vec<Time> = (0..1 + rng.below(3)).map(|_| rng.below(3) * rng.below(10 * SECOND)).collect();
    let slowest = (kind != Kind::Wild).then_some(law.latency.1);
    let mut checks: Vec<Box<dyn Check>> = vec![
        Box::new(check::ends_once::EndsOnce::new(settings.patience())),
        Box::new(check::bodies::Bodies),
        Box::new(check::own_answer::OwnAnswer),
        Box::new(check::routed::Routed::new(clusters)),
        Box::new(check::once::Once),
        Box::new(check::limits::Bounds::new(settings.limits.clone(), settings.names())),
        Box::new(check::retry_budget::RetryBudget::new(settings.limits.retries, settings.names())),
        Box::new(check::drain::Drains::new(workers.len(), slowest, kind == Kind::Exact)),
        Box::new(check::leaks::Leaks::new(settings.names())),
        Box::new(check::stats::Stats),
        Box::new(check::secrecy::Secrecy),
        Box::new(check::handshakes::Handshakes::new(&settings.tls)),
        Box::new(check::recovery::Recovery::new(probes, settings.limits.is_tight())),
    ];
    if kind == Kind::Calm {
        checks.push(Box::new(check::calm::Calm::default()));
    }
    // An idle timeout may come first, and answers with the same status.
    if kind == Kind::Exact && settings.stream_idle.is_none() {
        checks.push(Box::new(check::timers::Timers::new(law.latency.0, settings.short_timeout)));
    }
    let about = if describe {
        format!("{kind:?} world, clients {law:?}, hosts {host_law:?}, workers {workers:?}\n{settings:?}\n{peers:#?}")
    } else {
        String::new()
    };
    let config = settings.config(0);
    let security = settings.tls.is_spoken().then(|| {
        let host_clusters: Vec<usize> = hosts.iter().map(|(_, cluster, _)| *cluster).collect();
        let roles = Roles {
            peers: &peers,
            clients: well_behaved,
            misfits: &misfits,
            hosts: &host_clusters,
            versions: &settings.versions.clusters,
            wild: kind == Kind::Wild,
        };
        Security::new(seed, &config, |environment| settings.tls.cast(&roles, environment, &mut secrets).unwrap_or_default())
    });
    let drain = recipe.drain_after.map(|events| (events, Cut::Drain(drain_for)));
    // Later than any that was planned.
    let update = recipe.update_after.map(|events| (events, Cut::Config(5, settings.config(5))));
    let ips = |cluster: &Vec<SocketAddr>| cluster.iter().map(SocketAddr::ip).collect();
    let listeners = settings.tls.listeners().iter();
    let mut world = World::new(Parts {
        seed,
        config,
        workers,
        peers,
        listeners: listeners.map(|(name, port)| ((*name).into(), SocketAddr::from(([10, 0, 0, 1], *port)))).collect(),
        security,
        hosts,
        names: settings.clusters.iter().enumerate().map(|(cluster, hosts)| (config::name(cluster).into(), ips(hosts))).collect(),
        laws: (law, host_law),
        plan,
        cut_after: drain.or(update),
        ledger,
        record: recipe.record.clone(),
        keeps_exchanges: false,
    });
    world.filters = settings.filters.clone();
    (Scene { world, checks, end, about }, size)
}

fn law(rng: &mut Rng) -> Law {
    let from = rng.below(2 * MS);
    Law {
        latency: (from, from + rng.below(2) * rng.below(3 * MS)),
        cut: [0, 0, 20, 60][rng.below(4) as usize],
        stalls: [0, 0, 5, 50][rng.below(4) as usize],
        stall: rng.below(30 * MS),
        window: [1 << 30, 256 * 1024, 64 * 1024, 3_000][rng.below(4) as usize],
        reset_loses: rng.below(2) == 0,
    }
}
