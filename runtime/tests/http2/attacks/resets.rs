//! Streams that are opened to be given up: rapid reset (CVE-2023-44487) in its forms, MadeYouReset (CVE-2025-8671), and
//! more streams than were allowed.

use super::{Outcome, Siege, assert_ended, outcome};
use crate::block::Block;
use crate::names::{code, flag, kind};
use crate::upstream::wait_until;
use std::time::{Duration, Instant};

/// Streams that are opened and reset.
const RESETS: u32 = 10_000;

/// The same when each has reached the upstream before.
const LATE_RESETS: u32 = 3_000;

/// RST_STREAM of a stream that is over.
const REPEATED_RESETS: u32 = 100_000;

/// Streams that are opened at once.
const STREAMS: u32 = 2_000;

/// Requests that a rapid reset may bring to the upstream.
const FORWARDED: usize = 5_000;

#[test]
fn rapid_reset() {
    let siege = Siege::start("");
    let before = siege.upstream.begun();
    let mut client = siege.attacker();
    let block = Block::get();
    let _ = (0..RESETS).all(|n| client.headers(1 + 2 * n, &block, true) && client.reset(1 + 2 * n, code::CANCEL));
    assert_ended(&mut client);
    drop(client);
    assert!(siege.upstream.begun() - before < FORWARDED, "{} requests were forwarded", siege.upstream.begun() - before);
    siege.end();
}

#[test]
fn rapid_reset_of_requests_that_have_reached_the_upstream() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    let block = Block::request("GET", "/hang");
    for n in 0..LATE_RESETS {
        // The neighbour's requests count too: what is asked is only that this one is not reset too early.
        let before = siege.upstream.begun();
        if !client.headers(1 + 2 * n, &block, true) {
            break;
        }
        let until = Instant::now() + Duration::from_millis(50);
        while siege.upstream.begun() == before && Instant::now() < until {
            std::thread::yield_now();
        }
        if !client.reset(1 + 2 * n, code::CANCEL) {
            break;
        }
    }
    assert_ended(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn rapid_reset_by_answers_that_the_client_provokes() {
    // A window update of 0 is an error of the stream, and the proxy the one that resets it.
    let siege = Siege::start("");
    let mut client = siege.attacker();
    let block = Block::request("GET", "/hang");
    let _ = (0..RESETS).all(|n| client.headers(1 + 2 * n, &block, true) && client.window_update(1 + 2 * n, 0));
    assert_ended(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn rapid_reset_on_connection_after_connection() {
    let siege = Siege::start("");
    let block = Block::get();
    for _ in 0..50 {
        let mut client = siege.attacker();
        let _ = (0..100).all(|n| client.headers(1 + 2 * n, &block, true) && client.reset(1 + 2 * n, code::CANCEL));
    }
    siege.end();
}

#[test]
fn malformed_requests_one_after_the_other() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    let block = Block::get().field("Upper", "case");
    let _ = (0..RESETS).all(|n| client.headers(1 + 2 * n, &block, true));
    let _ = outcome(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn resets_of_a_stream_that_is_over() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    client.headers(1, &Block::post(), false);
    let _ = (0..REPEATED_RESETS).all(|_| client.reset(1, code::CANCEL));
    let _ = outcome(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn more_streams_than_allowed() {
    let siege = Siege::start("");
    let before = siege.proxy.stat("http.ingress.downstream_rq_active");
    let mut client = siege.attacker();
    let block = Block::request("GET", "/hang");
    let _ = (0..STREAMS).all(|n| client.headers(1 + 2 * n, &block, true));
    // Those beyond are refused, or the connection has ended: the RFC leaves it to the server (5.1.2).
    if outcome(&mut client) == Outcome::Taken {
        let refused = client.answers.values().filter(|answer| answer.reset.is_some() || answer.status >= 400).count();
        assert!(refused >= STREAMS as usize - 100, "{refused} of {STREAMS} streams were refused");
        let active = siege.proxy.stat("http.ingress.downstream_rq_active") - before;
        assert!(active <= 102, "{active} requests are active");
    }
    drop(client);
    wait_until("the neighbour alone is left", || siege.proxy.stat("http.ingress.downstream_rq_active") <= 1);
    siege.end();
}

#[test]
fn streams_that_wait_for_the_rest_of_their_head() {
    // An open header block on every connection, and the connection lost.
    let siege = Siege::start("");
    for _ in 0..200 {
        let mut client = siege.attacker();
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
    }
    siege.end();
}
