//! Ends: of streams that one side gives up, and of connections that are idle, old, worn or drained.

use super::{answer, assert_ok, get};
use crate::block::Block;
use crate::frames::Client;
use crate::names::{code, kind};
use crate::upstream::{Upstream, wait_until};
use std::time::Duration;

/// The connection ends with GOAWAYs of NO_ERROR alone; answers with the last of the streams they name.
fn ends_in_peace(client: &mut Client) -> u32 {
    client.patience = Duration::from_secs(10);
    client.closes().expect("the end of the connection");
    assert!(client.goaways.iter().all(|(_, code)| *code == code::NO_ERROR), "{:?}", client.goaways);
    client.goaways.last().expect("a GOAWAY before the end").0
}

#[test]
fn an_upstream_that_cuts_its_body_resets_the_stream() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    for (stream, path) in [(1, "/cut"), (3, "/cut-chunked")] {
        let cut = get(&mut client, stream, path);
        assert!(cut.status == 200 && !cut.ended && cut.body == b"hello", "{cut:?}");
        assert!(cut.reset.is_some_and(|code| code != code::NO_ERROR), "{cut:?}");
    }
    let none = get(&mut client, 5, "/cut-head");
    assert!(matches!(none.status, 502 | 503) && none.ended, "{none:?}");
    assert_ok(&get(&mut client, 7, "/"), b"hello, world");
}

#[test]
fn a_reset_cancels_the_upstream_s_request() {
    let upstream = Upstream::start();
    let proxy = crate::proxy(upstream.address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/hang"), true);
    wait_until("the request has come", || upstream.begun() == 1);
    client.reset(1, code::CANCEL);
    wait_until("the request is cancelled", || upstream.cancelled() == 1);
    assert_ok(&get(&mut client, 3, "/"), b"hello, world");
    assert_eq!(proxy.stat("http.ingress.downstream_rq_active"), 0);
}

#[test]
fn the_end_of_a_connection_cancels_its_requests() {
    let upstream = Upstream::start();
    let proxy = crate::proxy(upstream.address, "");
    let mut client = crate::client(&proxy);
    for n in 0..10 {
        client.headers(1 + 2 * n, &Block::request("GET", "/hang"), true);
    }
    wait_until("the requests have come", || upstream.begun() == 10);
    drop(client);
    wait_until("the requests are cancelled", || upstream.cancelled() == 10);
    wait_until("nothing is active", || proxy.stat("http.ingress.downstream_rq_active") == 0);
}

#[test]
fn sigterm_answers_what_is_in_flight() {
    let upstream = Upstream::start();
    let proxy = crate::proxy(upstream.address, "");
    let mut client = crate::client(&proxy);
    for n in 0..10 {
        client.headers(1 + 2 * n, &Block::request("GET", "/slow/700"), true);
    }
    wait_until("the requests have come", || upstream.begun() == 10);
    proxy.signal("TERM");
    client.read_until(|client| !client.goaways.is_empty()).expect("a GOAWAY");
    // RFC 9113, 6.8: the first of two leaves room for what was on its way.
    if client.goaways[0].0 == 0x7fff_ffff {
        client.headers(21, &Block::get(), true);
        assert_ok(&answer(&mut client, 21), b"hello, world");
    }
    for n in 0..10 {
        assert_ok(&answer(&mut client, 1 + 2 * n), b"slow");
    }
    assert!(ends_in_peace(&mut client) >= 19, "{:?}", client.goaways);
    let (status, stderr) = proxy.wait();
    assert!(status.success() && stderr.contains("nothing was cut"), "{stderr}");
}

#[test]
fn goaway_comes_in_two_steps() {
    let upstream = Upstream::start();
    let proxy = crate::proxy(upstream.address, "");
    let mut client = crate::client(&proxy);
    assert_ok(&get(&mut client, 1, "/"), b"hello, world");
    proxy.signal("TERM");
    let last = ends_in_peace(&mut client);
    let numbers: Vec<u32> = client.goaways.iter().map(|(stream, _)| *stream).collect();
    assert_eq!(numbers.first(), Some(&0x7fff_ffff), "the first names no stream: {numbers:?}");
    assert!(last == 1 && numbers.is_sorted_by(|a, b| a >= b), "the last names the last that was served: {numbers:?}");
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let proxy = crate::proxy(Upstream::start().address, "common_http_protocol_options: { idle_timeout: 0.5s }");
    let mut client = crate::client(&proxy);
    assert_ok(&get(&mut client, 1, "/slow/1000"), b"slow");
    ends_in_peace(&mut client);
    // One that has never asked for anything too.
    ends_in_peace(&mut crate::client(&proxy));
}

#[test]
fn a_connection_ends_after_its_requests() {
    let proxy = crate::proxy(Upstream::start().address, "common_http_protocol_options: { max_requests_per_connection: 3 }");
    let mut client = crate::client(&proxy);
    for stream in [1, 3, 5] {
        assert_ok(&get(&mut client, stream, "/"), b"hello, world");
    }
    assert!(ends_in_peace(&mut client) >= 5);
}

#[test]
fn a_connection_ends_at_its_age() {
    let proxy = crate::proxy(Upstream::start().address, "common_http_protocol_options: { max_connection_duration: 0.5s }");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/slow/1200"), true);
    assert_ok(&answer(&mut client, 1), b"slow");
    assert!(ends_in_peace(&mut client) >= 1);
}

#[test]
fn a_stream_ends_at_its_timeout_and_no_more() {
    let proxy = crate::proxy(Upstream::start().address, "stream_idle_timeout: 0.5s");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/hang"), true);
    client.headers(3, &Block::request("POST", "/echo"), false);
    for stream in [1, 3] {
        let late = answer(&mut client, stream);
        assert!(matches!(late.status, 408 | 504) || late.reset.is_some(), "{late:?}");
    }
    assert_ok(&get(&mut client, 5, "/"), b"hello, world");
}

#[test]
fn a_client_that_says_goaway_is_served_to_the_end() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/slow/300"), true);
    client.frame(kind::GOAWAY, 0, 0, &[0; 8]);
    assert_ok(&answer(&mut client, 1), b"slow");
}

#[test]
fn a_client_that_ends_its_side_is_served_to_the_end_or_closed() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/slow/300"), true);
    client.shut_down();
    client.closes().expect("the end of the connection");
    wait_until("nothing is active", || proxy.stat("http.ingress.downstream_rq_active") == 0);
}
