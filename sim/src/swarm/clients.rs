//! The clients of a world, and what they ask for.

use super::{CALM, Kind, PROBES};
use crate::client;
use crate::event::MS;
use crate::observe::Ledger;
use crate::peer::Peer;
use crate::recipe::Recipe;
use crate::request::{Lane, Method, Request};
use crate::versions::Versions;
use weir_core::rng::{Rng, Seed};

/// All of them but those that TLS does not let in.
pub(super) fn clients(
    kind: Kind,
    versions: &Versions,
    recipe: &Recipe,
    ledger: &mut Ledger,
    rng: &mut Rng,
    http2: &mut Rng,
) -> Vec<Box<dyn Peer>> {
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
        peers.push(unless_absent(recipe, peers.len(), peer));
    }
    peers
}

/// One that is left out is drawn all the same, so that nothing else moves.
pub(super) fn unless_absent(recipe: &Recipe, number: usize, peer: Box<dyn Peer>) -> Box<dyn Peer> {
    match recipe.without_clients.contains(&(number as u64)) {
        true => Box::new(client::Session::new(client::Manners::default(), [])),
        false => peer,
    }
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
pub(super) fn probes(clusters: usize, two: bool, ledger: &mut Ledger) -> Box<dyn Peer> {
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
