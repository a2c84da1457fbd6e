//! The real runtime in a simulated network: turmoil's hosts and links, hyper as client and as upstream.
//!
//! What turmoil cannot do is not asked of it: bytes are lost for ever in a partition, so everything that waits behind one
//! has a timeout; a connection cannot be reset at will; all workers accept from one socket.

mod client;
mod config;
mod drawn;
mod net;
mod origin;
mod secure;
mod seen;
mod tls;
mod trace;
mod world;

use client::Client;
use config::{CLEAR, Setup};
use origin::Origin;
use std::time::Duration;
use weir::run::Order;
use world::{PROXY, World, client, upstream};

const RETRIES: &str = r#", retry_policy: { retry_on: "connect-failure,refused-stream", num_retries: 2 }"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_request_is_answered_and_a_drain_cuts_none() {
    let mut world = World::new(1, 2, &Setup::new(2, CLEAR, ""), (0, 5));
    (1..=2).for_each(|number| world.upstream(number, Origin::new(CLEAR, 10)));
    (1..=6).for_each(|number| world.client(number, Client::new(CLEAR, 40)));
    world.run_until_finished(6);
    assert_eq!(world.seen.good(), 240);
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn a_drain_under_load_answers_what_it_has_accepted() {
    let mut world = World::new(2, 3, &Setup::new(2, CLEAR, ""), (0, 3));
    (1..=2).for_each(|number| world.upstream(number, Origin::new(CLEAR, 30)));
    (1..=8).for_each(|number| world.client(number, Client::new(CLEAR, 50)));
    world.run_for(seconds(1));
    assert_eq!(world.drain(), 0);
    world.run_until_finished(8);
    // Whoever came too late could not connect; nobody was cut off.
    let lost = world.seen.count(|ended| !matches!(ended, Ok(200)) && !matches!(ended, Err(why) if why.starts_with("connecting")));
    let why: std::collections::BTreeSet<_> = world.seen.ended.borrow().values().map(|ended| format!("{ended:?}")).collect();
    assert_eq!(lost, 0, "{why:?}");
    assert!(world.seen.good() > 50);
    world.check();
}

#[test]
fn a_stalled_upstream_times_out_and_comes_back() {
    let mut world = World::new(3, 2, &Setup::new(1, CLEAR, ""), (0, 2));
    world.upstream(1, Origin::new(CLEAR, 5));
    world.client(1, Client::new(CLEAR, 30));
    // Asks now and then for half a minute.
    world.client(2, Client::new(CLEAR, 200));
    world.run_for(Duration::from_millis(300));
    world.sim.hold(PROXY, upstream(1));
    world.run_for(seconds(7));
    assert!(world.seen.count(|ended| *ended == Ok(504)) > 0, "the route's timeout answers");
    world.sim.release(PROXY, upstream(1));
    let before = world.seen.good();
    world.run_until_finished(2);
    assert!(world.seen.good() > before + 20);
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn an_upstream_that_crashes_is_missed_and_comes_back() {
    let mut world = World::new(4, 2, &Setup::new(2, CLEAR, RETRIES), (0, 2));
    (1..=2).for_each(|number| world.upstream(number, Origin::new(CLEAR, 5)));
    (1..=4).for_each(|number| world.client(number, Client::new(CLEAR, 120)));
    world.run_for(seconds(1));
    world.sim.crash(upstream(1));
    world.run_for(seconds(1));
    world.sim.bounce(upstream(1));
    world.run_until_finished(4);
    let good = world.seen.good();
    let failed = world.seen.count(|ended| matches!(ended, Ok(503 | 502)));
    assert!(good + failed == 480 && failed < 20, "{good} answered, {failed} failed: retries go to the other host");
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn a_client_cut_off_leaves_nothing_behind() {
    let mut world = World::new(5, 2, &Setup::new(1, CLEAR, ""), (0, 2));
    world.upstream(1, Origin::new(CLEAR, 5));
    (1..=3).for_each(|number| world.client(number, Client::new(CLEAR, 60)));
    world.run_for(Duration::from_millis(500));
    world.sim.partition(PROXY, client(1));
    world.run_for(seconds(3));
    world.sim.repair(PROXY, client(1));
    world.run_until_finished(3);
    assert!(world.seen.good() > 150);
    // Its old connection hangs for ever: only the drain's deadline ends what is on it.
    assert!(world.drain() <= 1);
    world.check();
}

#[test]
fn a_reload_under_load_loses_nothing() {
    let mut world = World::new(6, 2, &Setup::new(1, CLEAR, ""), (0, 2));
    (1..=2).for_each(|number| world.upstream(number, Origin::new(CLEAR, 10)));
    (1..=6).for_each(|number| world.client(number, Client::new(CLEAR, 60)));
    for round in 0..5 {
        world.run_for(Duration::from_millis(300));
        world.rewrite(&Setup::new(1 + round % 2, CLEAR, RETRIES));
        world.orders.send(Order::Reload).expect("the proxy listens");
    }
    world.run_until_finished(6);
    assert_eq!(world.seen.good(), 360);
    assert_eq!(world.drain(), 0);
    world.check();
}
