//! Worlds drawn from a seed: which hosts, clients, links, faults and updates there are. Each world has only some of
//! everything, so that no feature hides the faults of another (swarm testing).

use crate::check::{self, Check};
use crate::client;
use crate::config::{self, Settings};
use crate::event::{MS, SECOND, Time};
use crate::fault::{Fault, blackhole, dns, refuse, storm};
use crate::filters::Filters;
use crate::link::Law;
use crate::observe::Ledger;
use crate::peer::Peer;
use crate::recipe::Recipe;
use crate::request::{Lane, Method, Request};
use crate::scene::Scene;
use crate::upstream::breaking::Breaking;
use crate::upstream::early::Early;
use crate::upstream::garbage::Garbage;
use crate::upstream::hanging::Hanging;
use crate::upstream::healthy::Healthy;
use crate::upstream::idle_closing::IdleClosing;
use crate::upstream::leaving::Leaving;
use crate::upstream::refusing::Refusing;
use crate::upstream::slow::Slow;
use crate::upstream::truncating::Truncating;
use crate::upstream::{Host, Mood};
use crate::versions::{Upstream, Versions};
use crate::world::{Cut, Parts, Planned, World};
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
    if recipe.drain_after.is_none() {
        plan.push((drain_at, Planned::Drain(drain_for)));
    }
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
    let drain = recipe.drain_after.map(|events| (events, Cut::Drain(drain_for)));
    // Later than any that was planned.
    let update = recipe.update_after.map(|events| (events, Cut::Config(5, settings.config(5))));
    let ips = |cluster: &Vec<SocketAddr>| cluster.iter().map(SocketAddr::ip).collect();
    let mut world = World::new(Parts {
        seed,
        config,
        workers,
        peers,
        listeners: vec![("main".into(), SocketAddr::from(([10, 0, 0, 1], 80)))],
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

fn clients(kind: Kind, versions: &Versions, recipe: &Recipe, ledger: &mut Ledger, rng: &mut Rng, http2: &mut Rng) -> Vec<Box<dyn Peer>> {
    let clusters = versions.clusters.len();
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    // Some worlds have only some kinds of clients.
    let kinds = 1 + rng.below(63);
    for _ in 0..1 + rng.below(24) {
        let start = rng.below(CALM / 8);
        let which = loop {
            let which = rng.below(6);
            if kinds & 1 << which != 0 {
                break which;
            }
        };
        let two = http2.below(100) < versions.clients;
        let mut requests = || {
            let count = 1 + rng.below(80);
            let mut requests: Vec<Request> = (0..count).map(|_| request(kind, clusters, ledger, rng, http2)).collect();
            requests.retain(|request| !recipe.without_requests.contains(&request.id));
            requests
        };
        let peer: Box<dyn Peer> = match (kind, which) {
            (Kind::Exact, _) if two => {
                let requests = requests();
                Box::new(client::streams::exact(start, requests, http2))
            }
            (_, 0..=3) if two && (kind != Kind::Calm || which < 3) => {
                let requests = requests();
                Box::new(client::streams::draw(start, requests, kind == Kind::Calm, http2))
            }
            (Kind::Exact, _) | (_, 0) => {
                let requests = requests();
                Box::new(client::keep_alive::draw(start, requests, rng))
            }
            (_, 1) => {
                let requests = requests();
                Box::new(client::pipelining::draw(start, requests, rng))
            }
            (_, 2) => {
                let requests = requests();
                Box::new(client::slow::draw(start, requests, rng))
            }
            (Kind::Calm, _) | (_, 5) => Box::new(client::hostile::draw(start, rng)),
            (_, 3) => {
                let requests = requests();
                Box::new(client::aborting::draw(start, requests, rng))
            }
            (_, _) => Box::new(client::upgrading::draw(start, rng.below(clusters as u64) as usize, rng)),
        };
        // One that is left out is drawn all the same, so that nothing else moves.
        let absent = recipe.without_clients.contains(&(peers.len() as u64));
        peers.push(if absent { Box::new(client::Session::new(client::Manners::default(), [])) } else { peer });
    }
    peers
}

fn request(kind: Kind, clusters: usize, ledger: &mut Ledger, rng: &mut Rng, http2: &mut Rng) -> Request {
    ledger.add(|id| {
        let mut request = Request::draw(id, clusters, rng);
        request.draw_trailers(http2);
        if kind == Kind::Exact && request.lane == Lane::Timed {
            // Nothing but the head, so that it arrives whole at once.
            (request.method, request.body, request.chunked, request.trailers) = (Method::Get, 0, false, false);
        }
        request
    })
}

/// One request to every cluster, once all is well again.
fn probes(clusters: usize, two: bool, ledger: &mut Ledger) -> Box<dyn Peer> {
    let requests: Vec<Request> = (0..clusters * 3)
        .map(|n| {
            ledger.add(|id| {
                let answer = crate::request::Answer {
                    status: 200,
                    body: 100,
                    framing: crate::request::Framing::Length,
                    delay: MS,
                    hints: false,
                    closes: false,
                    trailers: false,
                };
                Request {
                    id,
                    method: Method::Get,
                    cluster: n % clusters,
                    lane: Lane::Plain,
                    body: 0,
                    chunked: false,
                    trailers: false,
                    answer,
                }
            })
        })
        .collect();
    if two {
        let mut probes = client::streams::exact(PROBES, requests, &mut Rng::new(Seed(1)));
        probes.lingers(false);
        return Box::new(probes);
    }
    let manners = client::Manners { start: PROBES, lingers: false, ..client::Manners::default() };
    Box::new(client::Session::new(manners, requests))
}

/// Moods that only HTTP/2 has words for. Neither harms a request, but the proxy sends each only so often again.
fn mood2(kind: Kind, mood: Box<dyn Mood>, rng: &mut Rng) -> Box<dyn Mood> {
    match (kind, rng.below(5)) {
        (Kind::Wild, 0) => Box::new(Refusing(1 + rng.below(60) as u32)),
        (Kind::Wild, 1) => Box::new(Leaving(2 + rng.below(30))),
        (_, 1) => Box::new(Leaving(10 + rng.below(30))),
        _ => mood,
    }
}

fn mood(kind: Kind, rng: &mut Rng) -> Box<dyn Mood> {
    match (kind, rng.below(10)) {
        (_, 0 | 1) => Box::new(Healthy),
        (Kind::Calm, _) | (_, 2) => Box::new(Slow(1 + rng.below(20_000) as usize)),
        (Kind::Exact, _) | (_, 3) => Box::new(Hanging(1 + rng.below(50) as u32)),
        (_, 4) => Box::new(Early),
        (_, 5) => Box::new(Truncating(1 + rng.below(50) as u32)),
        (_, 6) => Box::new(Garbage),
        (_, 7) => Box::new(Breaking::default()),
        (_, 8) => Box::new(IdleClosing(rng.below(3 * MS))),
        _ => Box::new(Healthy),
    }
}
