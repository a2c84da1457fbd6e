//! Worlds drawn from seeds: their size, who talks how with whom, their latency, and what goes wrong in them. All that is
//! said in one is the same in every process.

use crate::client::Client;
use crate::config::{CLEAR, Protocol, Setup, WIRES, Wire};
use crate::origin::Origin;
use crate::world::{PROXY, World, upstream};
use crate::{RETRIES, tls, trace};
use std::collections::BTreeSet;
use std::time::Duration;
use weir::run::Order;
use weir_core::rng::{Rng, Seed};

/// The worlds that two processes compare.
const SEEDS: [u64; 6] = [1, 3, 4, 9, 17, 20];

fn wire(rng: &mut Rng) -> Wire {
    WIRES[rng.below(WIRES.len() as u64) as usize]
}

fn script(rng: &mut Rng) -> Client {
    let wire = wire(rng);
    let name = if rng.below(2) == 0 { "a.sim" } else { "b.sim" };
    let lanes = if wire.protocol == Protocol::Http2 { 1 + rng.below(4) as u32 } else { 1 };
    let start = Duration::from_millis(rng.below(500));
    Client { name, lanes, start, ..Client::new(wire, 10 + rng.below(30) as u32) }
}

/// A world drawn from a seed; answers how the proxy and its upstreams talked.
fn drawn(seed: u64) -> Wire {
    let mut rng = Rng::new(Seed(seed).fork("network"));
    let (upstreams, clients, workers) = (1 + rng.below(3) as u8, 1 + rng.below(6) as u8, 1 + rng.below(3) as u16);
    let latency = rng.below(3);
    let route = if rng.below(2) == 0 { RETRIES } else { "" };
    let above = wire(&mut rng);
    let setup = Setup { auto: above.tls && rng.below(2) == 0, ..Setup::new(upstreams, above, route) };
    let mut world = World::new(seed, workers, &setup, (latency, latency + rng.below(10)));
    for number in 1..=upstreams {
        world.upstream(number, Origin::new(above, rng.below(60)));
    }
    for number in 1..=clients {
        world.client(number, script(&mut rng));
    }
    for _ in 0..rng.below(4) {
        world.run_for(Duration::from_millis(rng.below(600)));
        go_wrong(&mut world, &setup, &mut rng);
    }
    world.run_until_finished(usize::from(clients));
    // After the faults, goodput returns.
    let before = world.seen.good();
    let asking = Wire { tls: rng.below(2) == 0, ..CLEAR };
    world.client(100, Client { start: Duration::from_secs(6), ..Client::new(asking, 10) });
    world.run_until_finished(usize::from(clients) + 1);
    assert_eq!(world.seen.good(), before + 10, "seed {seed}: {:?}, {:?}", world.seen.ended.borrow(), world.seen.reasons.borrow());
    world.drain();
    world.check();
    above
}

fn go_wrong(world: &mut World, setup: &Setup, rng: &mut Rng) {
    let victim = upstream(1 + rng.below(u64::from(setup.upstreams)) as u8);
    let pause = Duration::from_millis(rng.below(1500));
    match rng.below(4) {
        0 => {
            world.sim.hold(PROXY, victim);
            world.run_for(pause);
            world.sim.release(PROXY, victim);
        }
        1 => {
            world.sim.partition(PROXY, victim);
            world.run_for(pause);
            world.sim.repair(PROXY, victim);
        }
        2 => {
            world.sim.crash(victim);
            world.run_for(pause);
            world.sim.bounce(victim);
        }
        _ => {
            world.rewrite(&Setup { route: RETRIES, ..*setup });
            world.orders.send(Order::Reload).expect("the proxy listens");
        }
    }
}

/// A world in which nothing goes wrong, and a drain comes when the seed has it: nobody who was let in is cut off.
fn drained(seed: u64) {
    let mut rng = Rng::new(Seed(seed).fork("drain"));
    let (upstreams, clients, workers) = (1 + rng.below(2) as u8, 1 + rng.below(6) as u8, 1 + rng.below(3) as u16);
    let above = wire(&mut rng);
    let setup = Setup { auto: above.tls && rng.below(2) == 0, ..Setup::new(upstreams, above, RETRIES) };
    let latency = rng.below(3);
    let mut world = World::new(seed, workers, &setup, (latency, latency + rng.below(6)));
    for number in 1..=upstreams {
        world.upstream(number, Origin::new(above, rng.below(80)));
    }
    for number in 1..=clients {
        world.client(number, script(&mut rng));
    }
    world.run_for(Duration::from_millis(rng.below(1_000)));
    if rng.below(3) == 0 {
        world.rewrite(&Setup { route: "", a: tls::RENEWED, ..setup });
        world.orders.send(Order::Reload).expect("the proxy listens");
        world.run_for(Duration::from_millis(rng.below(200)));
    }
    let began = world.sim.elapsed();
    assert_eq!(world.drain(), 0);
    assert!(world.sim.elapsed() - began < Duration::from_secs(20), "seed {seed}: only the deadline ends the drain");
    // As long as a client waits for an answer; those that come later find nobody.
    world.run_for(Duration::from_secs(11));
    let open: Vec<u64> = world.seen.arrived.borrow().keys().filter(|id| !world.seen.ended.borrow().contains_key(id)).copied().collect();
    assert!(open.is_empty(), "seed {seed}: {open:?} never ended");
    let is_late = |why: &String| why.starts_with("connecting");
    let lost = world.seen.count(|ended| !matches!(ended, Ok(200)) && !matches!(ended, Err(why) if is_late(why)));
    assert_eq!(lost, 0, "seed {seed}: {:?} {:?}", world.seen.ways(), world.seen.reasons.borrow());
    world.check();
}

/// `few` seeds, or as many as `WEIR_NETWORK_SEEDS` says.
fn all(few: u64, test: &str, run: fn(u64)) {
    let seeds = std::env::var("WEIR_NETWORK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(few);
    for seed in 0..seeds {
        let ran = std::panic::catch_unwind(|| run(seed));
        assert!(
            ran.is_ok(),
            "seed {seed} failed; replay: WEIR_NETWORK_SEED={seed} cargo test -p weir-sim --test network {test} -- --nocapture"
        );
    }
}

#[test]
fn worlds_drawn_from_seeds() {
    all(48, "one_seed", |seed| _ = drawn(seed));
}

#[test]
fn drains_drawn_from_seeds() {
    all(24, "one_drain", drained);
}

/// The drain of `WEIR_NETWORK_SEED`.
#[test]
fn one_drain() {
    let Some(seed) = std::env::var("WEIR_NETWORK_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    trace::hash_of(|| drained(seed));
}

/// The world of `WEIR_NETWORK_SEED`, and the hash of everything that is said in it; the second time that it runs in its
/// process, with `WEIR_NETWORK_AGAIN`.
#[test]
fn one_seed() {
    // In a process of its own: others that log at the same time would be heard, too.
    let Some(seed) = std::env::var("WEIR_NETWORK_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    if std::env::var_os("WEIR_NETWORK_AGAIN").is_some() {
        drawn(seed);
    }
    let mut above = CLEAR;
    let (events, hash) = trace::hash_of(|| above = drawn(seed));
    assert!(events > 1_000, "{events} events");
    #[allow(clippy::print_stdout)] // the other process reads it
    {
        println!("trace of seed {seed}: {events} events, hash {hash:016x}, {above:?}");
    }
}

#[test]
fn two_processes_say_the_same_to_the_last_byte() {
    let run = |seed: u64, is_again: bool| {
        let mut this = std::process::Command::new(std::env::current_exe().expect("a path"));
        this.args(["--exact", "drawn::one_seed", "--nocapture"]).env("WEIR_NETWORK_SEED", seed.to_string());
        if is_again {
            this.env("WEIR_NETWORK_AGAIN", "");
        }
        let out = this.output().expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let line = text.lines().find_map(|line| line.split_once("trace of seed ")).map(|(_, line)| line.to_owned());
        line.unwrap_or_else(|| panic!("no trace: {text}{}", String::from_utf8_lossy(&out.stderr)))
    };
    let mut traces = BTreeSet::new();
    for seed in SEEDS {
        let (one, other) = (run(seed, false), run(seed, true));
        assert_eq!(one, other);
        traces.insert(one.split_once(": ").map(|(_, rest)| rest.to_owned()));
    }
    // Each is another world, and all ways to talk are among them.
    assert_eq!(traces.len(), SEEDS.len());
    for wire in WIRES {
        assert!(traces.iter().flatten().any(|trace| trace.ends_with(&format!("{wire:?}"))), "{wire:?} is missing: {traces:?}");
    }
}
