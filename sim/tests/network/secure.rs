//! Worlds of TLS and HTTP/2, as scripts.

use crate::client::Client;
use crate::config::{CLEAR, CLEAR2, HANDSHAKE_SECONDS, Protocol, Setup, TLS, TLS2, WIRES, Wire, port};
use crate::origin::Origin;
use crate::world::{PROXY, World, client, environment, upstream};
use crate::{RETRIES, seconds, tls};
use rustls::ClientConnection;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;
use weir::run::Order;
use weir_core::rng::Seed;

/// One that shares its connection, if it can.
fn busy(wire: Wire, requests: u32) -> Client {
    Client { lanes: if wire.protocol == Protocol::Http2 { 4 } else { 1 }, ..Client::new(wire, requests) }
}

#[test]
fn every_way_to_talk_goes_with_every_other() {
    for (place, above) in WIRES.into_iter().enumerate() {
        for auto in [false, true] {
            let setup = Setup { auto: auto && above.tls, ..Setup::new(2, above, "") };
            let mut world = World::new(20 + place as u64, 2, &setup, (0, 4));
            (1..=2).for_each(|number| world.upstream(number, Origin::new(above, 10)));
            for (number, below) in (1..).zip(WIRES) {
                world.client(2 * number, busy(below, 15));
                world.client(2 * number + 1, Client { name: "b.sim", ..busy(below, 15) });
            }
            world.run_until_finished(8);
            assert_eq!(world.seen.good(), 300, "{above:?}: {:?} {:?}", world.seen.ways(), world.seen.reasons.borrow());
            assert_eq!(world.drain(), 0);
            world.check();
        }
    }
}

#[test]
fn a_drain_with_streams_in_flight_loses_none() {
    for (seed, above) in [(30, TLS2), (31, CLEAR2), (32, TLS)] {
        let mut world = World::new(seed, 2, &Setup::new(2, above, ""), (0, 3));
        (1..=2).for_each(|number| world.upstream(number, Origin::new(above, 60)));
        for (number, below) in (1..).zip([TLS2, TLS2, CLEAR2, TLS]) {
            world.client(number, busy(below, 50));
        }
        world.run_for(Duration::from_millis(700));
        let began = world.sim.elapsed();
        assert_eq!(world.drain(), 0);
        assert!(world.sim.elapsed() - began < seconds(10), "nothing is left that only a deadline ends");
        world.run_until_finished(4);
        let is_late = |why: &String| why.starts_with("connecting");
        let lost = world.seen.count(|ended| !matches!(ended, Ok(200)) && !matches!(ended, Err(why) if is_late(why)));
        assert_eq!(lost, 0, "{:?} {:?}", world.seen.ways(), world.seen.reasons.borrow());
        assert!(world.seen.good() > 100, "{}", world.seen.good());
        world.check();
    }
}

#[test]
fn a_client_that_refuses_the_certificate_harms_nobody() {
    let mut world = World::new(40, 1, &Setup::new(1, CLEAR, ""), (0, 2));
    world.upstream(1, Origin::new(CLEAR, 5));
    world.client(1, Client { roots: tls::STRANGER, ..Client::new(TLS2, 10) });
    world.client(2, Client { roots: tls::STRANGER, ..Client::new(TLS, 10) });
    world.client(3, busy(TLS2, 10));
    world.run_until_finished(3);
    assert_eq!(world.seen.good(), 40, "{:?}", world.seen.ways());
    assert_eq!(world.seen.count(|ended| matches!(ended, Err(why) if why.contains("UnknownIssuer"))), 20, "{:?}", world.seen.ways());
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn a_name_that_no_chain_is_for_is_refused() {
    let mut world = World::new(41, 1, &Setup::new(1, CLEAR, ""), (0, 2));
    world.upstream(1, Origin::new(CLEAR, 5));
    world.client(1, Client { name: "c.sim", ..Client::new(TLS2, 5) });
    world.client(2, Client::new(TLS2, 5));
    world.run_until_finished(2);
    assert_eq!(world.seen.good(), 5);
    assert_eq!(world.seen.count(|ended| matches!(ended, Err(why) if why.starts_with("handshake"))), 5, "{:?}", world.seen.ways());
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn an_upstream_with_a_wrong_certificate_is_not_believed() {
    for (seed, above) in [(42, TLS), (43, TLS2)] {
        let mut world = World::new(seed, 1, &Setup::new(1, above, ""), (0, 2));
        world.upstream(1, Origin { own: tls::STRANGER, ..Origin::new(above, 5) });
        world.client(1, Client::new(TLS2, 10));
        world.client(2, Client::new(CLEAR, 10));
        world.run_until_finished(2);
        assert_eq!(world.seen.count(|ended| *ended == Ok(503)), 20, "{:?}", world.seen.ways());
        let reasons = world.seen.reasons.borrow();
        let is_why =
            |reason: &String| reason.contains("CERTIFICATE_VERIFY_FAILED") && reason.contains("unable_to_get_local_issuer_certificate");
        assert!(reasons.len() == 1 && reasons.iter().all(is_why), "{reasons:?}");
        assert!(world.seen.arrived.borrow().is_empty());
        drop(reasons);
        assert_eq!(world.drain(), 0);
        world.check();
    }
}

#[test]
fn an_upstream_that_says_nothing_in_its_handshake_times_out() {
    let mut world = World::new(44, 1, &Setup::new(1, TLS2, ""), (0, 2));
    world.silent_upstream(1);
    world.client(1, busy(TLS2, 2));
    world.run_until_finished(1);
    assert_eq!(world.seen.count(|ended| *ended == Ok(503)), 8, "{:?}", world.seen.ways());
    assert!(world.seen.reasons.borrow().iter().all(|reason| reason.contains("connection timeout")), "{:?}", world.seen.reasons.borrow());
    assert_eq!(world.drain(), 0);
    world.check();
}

/// A client that sends so much of its hello, and then nothing; it tells when it was let go.
fn stall(world: &mut World, number: u8, part: impl Fn(usize) -> usize + 'static) -> Rc<RefCell<Option<Duration>>> {
    let let_go = Rc::new(RefCell::new(None));
    let told = Rc::clone(&let_go);
    world.sim.client(client(number), async move {
        let config = tls::client_config(environment(Seed(number.into())), tls::AUTHORITY, Protocol::Http2);
        let mut hello = Vec::new();
        ClientConnection::new(config, "a.sim".try_into()?)?.write_tls(&mut hello)?;
        let mut stream = TcpStream::connect((PROXY, port(TLS2))).await?;
        let began = tokio::time::Instant::now();
        stream.write_all(&hello[..part(hello.len())]).await?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        *told.borrow_mut() = Some(began.elapsed());
        Ok(())
    });
    let_go
}

#[test]
fn a_handshake_that_stalls_ends_by_its_timeout() {
    let mut world = World::new(45, 2, &Setup::new(1, CLEAR, ""), (0, 2));
    world.upstream(1, Origin::new(CLEAR, 5));
    let stalled = [stall(&mut world, 1, |_| 0), stall(&mut world, 2, |whole| whole / 2), stall(&mut world, 3, |whole| whole)];
    world.client(4, busy(TLS2, 60));
    world.run_until_finished(1);
    world.run_for(seconds(HANDSHAKE_SECONDS));
    for let_go in stalled {
        let after = let_go.borrow().expect("it was let go");
        let expected = seconds(HANDSHAKE_SECONDS);
        assert!(after >= expected && after < expected + Duration::from_millis(100), "{after:?}");
    }
    assert_eq!(world.seen.good(), 240);
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn a_drain_waits_for_no_handshake_longer_than_its_timeout() {
    let mut world = World::new(46, 1, &Setup::new(1, CLEAR, ""), (0, 2));
    world.upstream(1, Origin::new(CLEAR, 5));
    let stalled = [stall(&mut world, 1, |_| 0), stall(&mut world, 2, |whole| whole / 2), stall(&mut world, 3, |whole| whole)];
    world.run_for(Duration::from_millis(100));
    let began = world.sim.elapsed();
    assert_eq!(world.drain(), 0);
    assert!(world.sim.elapsed() - began < seconds(HANDSHAKE_SECONDS + 1));
    world.run_for(Duration::from_millis(100));
    assert!(stalled.iter().all(|let_go| let_go.borrow().is_some()));
    world.check();
}

#[test]
fn a_reload_under_tls_loses_nothing_and_renews_certificates() {
    let mut world = World::new(47, 2, &Setup::new(2, TLS2, ""), (0, 2));
    (1..=2).for_each(|number| world.upstream(number, Origin::new(TLS2, 10)));
    for (number, below) in (1..).zip([TLS2, TLS, TLS2, CLEAR2]) {
        world.client(number, busy(below, 60));
    }
    for round in 0..5 {
        world.run_for(Duration::from_millis(300));
        let a = if round % 2 == 0 { tls::RENEWED } else { tls::A };
        world.rewrite(&Setup { a, ..Setup::new(1 + round % 2, TLS2, RETRIES) });
        world.orders.send(Order::Reload).expect("the proxy listens");
        world.client(10 + round, busy(TLS, 5));
    }
    world.run_until_finished(9);
    assert_eq!(world.seen.good(), 3 * 240 + 60 + 25, "{:?} {:?}", world.seen.ways(), world.seen.reasons.borrow());
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn a_session_is_resumed_where_its_chain_is_the_same() {
    let mut world = World::new(48, 2, &Setup::new(1, TLS, ""), (0, 2));
    world.upstream(1, Origin::new(TLS, 10));
    world.client(1, Client { lanes: 3, ..Client::new(TLS, 5) });
    world.run_until_finished(1);
    assert_eq!(world.seen.good(), 15, "{:?}", world.seen.ways());
    assert!(world.seen.resumed.get() > 0);
    assert_eq!(world.drain(), 0);
    world.check();
}

#[test]
fn an_upstream_that_crashes_with_streams_in_flight_is_missed_and_comes_back() {
    let mut world = World::new(49, 2, &Setup::new(2, TLS2, RETRIES), (0, 2));
    (1..=2).for_each(|number| world.upstream(number, Origin::new(TLS2, 20)));
    (1..=3).for_each(|number| world.client(number, busy(TLS2, 100)));
    world.run_for(seconds(1));
    world.sim.crash(upstream(1));
    world.run_for(seconds(1));
    world.sim.bounce(upstream(1));
    world.run_until_finished(3);
    let (good, failed) = (world.seen.good(), world.seen.count(|ended| matches!(ended, Ok(503 | 502))));
    assert!(good + failed == 1200 && failed < 20, "{good} answered, {failed} failed: {:?}", world.seen.ways());
    assert_eq!(world.drain(), 0);
    world.check();
}
