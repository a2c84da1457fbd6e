//! Draining and reloading: what was accepted is answered.

mod pair;

use pair::{Pair, bootstrap, cluster, config, plain, with};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn busy_connections_end_with_their_answer_and_idle_ones_at_once() {
    let mut pair = Pair::new(&plain());
    let (idle, busy, used) = (pair.connect(), pair.connect(), pair.connect());
    pair.send(used, GET);
    pair.answer(OK);
    pair.advance(Duration::from_secs(1));
    let fresh = pair.connect();
    pair.send(busy, GET);
    pair.drain(Duration::from_secs(10));
    assert!(pair.is_closed(idle) && pair.is_closed(used) && !pair.is_closed(busy));
    assert!(!pair.is_closed(fresh), "its first request may be on its way");
    pair.advance(Duration::from_secs(1));
    assert!(pair.is_closed(fresh));
    assert_eq!(pair.drained, None);
    pair.answer(OK);
    assert!(pair.received(busy).contains("connection: close\r\n") && pair.received(busy).ends_with("ok"));
    pair.client_closes(busy);
    assert_eq!(pair.drained, Some(0));
}

/// A client that sends one request after the other is told to go elsewhere by an answer, not by a
/// connection that closes under its request.
#[test]
fn busy_keep_alive_clients_lose_nothing() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, GET);
    pair.answer(OK);
    pair.advance(Duration::from_millis(400));
    pair.drain(Duration::from_secs(10));
    assert!(!pair.is_closed(client));
    pair.advance(Duration::from_millis(300));
    pair.send(client, GET);
    pair.answer(OK);
    assert!(pair.received(client).contains("connection: close\r\n"));
    pair.client_closes(client);
    assert_eq!(pair.drained, Some(0));
}

#[test]
fn a_request_that_was_on_its_way_is_still_served() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    // It has reached the socket, but not the engine.
    pair.peer(client);
    pair.engine.handle_drain(weir_core::drain::DrainScope::Process { deadline: pair.now + Duration::from_secs(9) }, pair.now);
    let mut input = bytes_of(GET);
    pair.engine.handle_recv(client, &mut input, pair.now);
    while let Some(action) = pair.engine.poll_action() {
        if !matches!(action, weir_core::engine::Action::CloseIfIdle(_)) {
            pair.act(action);
        }
    }
    pair.answer(OK);
    assert!(pair.received(client).ends_with("ok"));
    pair.client_closes(client);
    assert_eq!(pair.drained, Some(0));
}

fn bytes_of(text: &str) -> bytes::BytesMut {
    bytes::BytesMut::from(text)
}

#[test]
fn connections_accepted_during_a_drain_are_served_once() {
    let mut pair = Pair::new(&plain());
    let first = pair.connect();
    pair.send(first, GET);
    pair.drain(Duration::from_secs(10));
    let late = pair.connect();
    pair.send(late, GET);
    pair.answer(OK);
    assert!(pair.received(late).contains("connection: close\r\n"));
    let upstream = pair.upstreams[0];
    pair.send(upstream, OK);
    pair.client_closes(late);
    pair.client_closes(first);
    assert_eq!(pair.drained, Some(0));
}

#[test]
fn the_deadline_cuts_what_is_left_and_counts_it() {
    let mut pair = Pair::new(&with("upgrade_configs: [{ upgrade_type: websocket }]", "", ""));
    let (tunnel, stuck) = (pair.connect(), pair.connect());
    pair.send(tunnel, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    pair.answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    pair.send(stuck, GET);
    pair.drain(Duration::from_secs(5));
    pair.advance(Duration::from_secs(5) - Duration::from_nanos(1));
    assert!(!pair.is_closed(tunnel) && pair.drained.is_none(), "long-lived connections get until the deadline");
    pair.advance(Duration::from_nanos(1));
    assert!(pair.is_closed(tunnel) && pair.is_closed(stuck));
    assert_eq!(pair.drained, Some(2));
    pair.assert_quiet();
}

#[test]
fn a_second_drain_hurries_the_first() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, GET);
    pair.drain(Duration::from_secs(600));
    pair.drain(Duration::ZERO);
    assert_eq!(pair.drained, Some(1));
    assert!(pair.is_closed(client));
}

#[test]
fn pipelined_requests_behind_a_draining_one_are_not_half_served() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, format!("{GET}{GET}"));
    pair.drain(Duration::from_secs(5));
    pair.answer(OK);
    assert_eq!(pair.received(client).matches("HTTP/1.1 200").count(), 1);
    assert!(pair.received(client).contains("connection: close"), "the client knows that the second was not served");
    assert_eq!(pair.requests().concat().matches("GET /").count(), 1);
}

#[test]
fn a_reload_keeps_connections_and_exchanges() {
    let route = |path: &str, name: &str| format!("[{{ match: {{ prefix: {path} }}, route: {{ cluster: {name} }} }}]");
    let old = bootstrap("", &route("/", "u"), &format!("[{}]", cluster("u", 1, "")));
    let new = bootstrap("", &route("/new", "v"), &format!("[{}]", cluster("v", 2, "")));
    let mut pair = Pair::new(&old);
    let client = pair.connect();
    pair.send(client, GET);
    let upstream = pair.upstream();
    pair.engine.handle_config(config(&new), pair.now);
    pair.pump();
    pair.send(upstream, OK);
    assert!(pair.take_received(client).ends_with("ok"), "an exchange keeps the config it began with");
    assert!(pair.is_closed(upstream), "its cluster is gone, and so is the connection");
    assert!(!pair.is_closed(client));
    pair.send(client, GET);
    assert!(pair.take_received(client).starts_with("HTTP/1.1 404"));
    pair.send(client, "GET /new HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.answer(OK);
    assert!(pair.received(client).ends_with("ok"));
    pair.assert_quiet();
}

#[test]
fn a_reload_of_the_same_config_keeps_pools() {
    let mut pair = Pair::new(&plain());
    let client = pair.connect();
    pair.send(client, GET);
    pair.answer(OK);
    pair.engine.handle_config(config(&plain()), pair.now);
    pair.pump();
    pair.send(client, GET);
    pair.answer(OK);
    assert_eq!(pair.upstreams.len(), 1);
}

#[test]
fn a_removed_listener_drains() {
    let mut pair = Pair::new(&plain());
    let (busy, idle) = (pair.connect(), pair.connect());
    pair.send(busy, GET);
    let empty = "static_resources: {}";
    pair.engine.handle_config(config(empty), pair.now);
    pair.advance(Duration::from_secs(1));
    assert!(pair.is_closed(idle) && !pair.is_closed(busy));
    pair.answer(OK);
    assert!(pair.received(busy).contains("connection: close"));
    pair.client_closes(busy);
}

#[test]
fn a_listener_that_moves_drains_its_old_address() {
    let at = |port: u16| pair::config(&pair::plain().replacen("port_value: 0", &format!("port_value: {port}"), 1));
    let mut pair = Pair::with(at(8080), std::sync::Arc::default(), pair::Cut::Whole);
    let old = pair.connect();
    pair.send(old, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.engine.handle_config(at(8081), pair.now);
    pair.pump();
    let new = pair.connect();
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(pair.received(old).contains("connection: close\r\n"));
    pair.send(new, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let answer = pair.received(new);
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
    pair.assert_quiet();
}

#[test]
fn a_connection_whose_time_is_up_tells_its_client_before_it_closes() {
    let mut pair = Pair::new(&pair::with("common_http_protocol_options: { max_connection_duration: 1s }", "", ""));
    let client = pair.connect();
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    pair.advance(Duration::from_secs(2));
    pair.answer("k");
    assert!(!pair.take_received(client).contains("connection: close") && !pair.peer(client).fin, "it was too late to say so");
    pair.send(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(pair.received(client).contains("connection: close\r\n") && pair.peer(client).fin);
}
