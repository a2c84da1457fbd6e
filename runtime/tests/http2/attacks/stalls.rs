//! Peers that take nothing, or say nothing, or say it slowly, and peers that heed no window.

use super::{GROWTH_KIB, Siege, assert_ended};
use crate::block::Block;
use crate::frames::{Client, Event, PREFACE};
use crate::names::{flag, kind, setting};
use crate::upstream::wait_until;
use std::time::{Duration, Instant};

/// Streams that ask for [`LARGE`] and take none of it.
const STREAMS: u32 = 100;

/// Bytes of each answer: 1 GB in all.
const LARGE: usize = 10 << 20;

/// Memory for all of them in KiB: a buffer of 1 MiB for each stream (`per_connection_buffer_limit_bytes`), half as much
/// for what the allocator keeps, and what every attack may cost.
const STALLED_KIB: u64 = STREAMS as u64 * 1536 + GROWTH_KIB;

/// Bytes of a body that heeds no window: more than the kernel holds between the proxy and an upstream that reads
/// nothing.
const OVERRUN: usize = 64 << 20;

/// Until all streams but the neighbour's have ended.
fn ended_by_timeout(siege: &Siege) {
    wait_until("the stalled streams have ended", || siege.proxy.stat("http.ingress.downstream_rq_active") <= 1);
}

#[test]
fn windows_that_never_open() {
    let siege = Siege::start("stream_idle_timeout: 2s");
    let mut client = Client::connect_with(siege.proxy.address, &[(setting::INITIAL_WINDOW_SIZE, 0)]).expect("HTTP/2");
    client.credit = false;
    for n in 0..STREAMS - 1 {
        client.headers(1 + 2 * n, &Block::request("GET", &format!("/bytes/{LARGE}")), true);
    }
    std::thread::sleep(Duration::from_millis(500));
    ended_by_timeout(&siege);
    client.is_alive().expect("the connection itself has done nothing wrong");
    assert!(client.answers.values().all(|answer| answer.reset.is_some() || answer.status >= 400), "every stream is told");
    drop(client);
    siege.end_within(STALLED_KIB);
}

#[test]
fn a_connection_window_that_never_opens() {
    let siege = Siege::start("stream_idle_timeout: 2s");
    let mut client = Client::connect_with(siege.proxy.address, &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]).expect("HTTP/2");
    client.credit = false;
    for n in 0..STREAMS - 1 {
        client.headers(1 + 2 * n, &Block::request("GET", &format!("/bytes/{LARGE}")), true);
    }
    std::thread::sleep(Duration::from_millis(500));
    ended_by_timeout(&siege);
    drop(client);
    siege.end_within(STALLED_KIB);
}

#[test]
fn a_window_that_opens_byte_by_byte() {
    // CVE-2019-9517 and 9511: every byte is a frame of its own.
    let siege = Siege::start("");
    let mut client = Client::connect_with(siege.proxy.address, &[(setting::INITIAL_WINDOW_SIZE, 0)]).expect("HTTP/2");
    client.credit = false;
    for n in 0..STREAMS / 2 {
        client.headers(1 + 2 * n, &Block::request("GET", "/bytes/1000000"), true);
    }
    'attack: for _ in 0..200 {
        for n in 0..STREAMS / 2 {
            if !client.window_update(1 + 2 * n, 1) {
                break 'attack;
            }
        }
    }
    drop(client);
    siege.end_within(STALLED_KIB);
}

#[test]
fn a_socket_that_is_never_read() {
    let siege = Siege::start("stream_idle_timeout: 2s");
    let mut client = Client::connect_with(siege.proxy.address, &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]).expect("HTTP/2");
    client.window_update(0, 0x7fff_ffff - 65_535);
    for n in 0..STREAMS - 1 {
        client.headers(1 + 2 * n, &Block::request("GET", &format!("/bytes/{LARGE}")), true);
    }
    std::thread::sleep(Duration::from_millis(500));
    ended_by_timeout(&siege);
    drop(client);
    siege.end_within(STALLED_KIB);
}

#[test]
fn a_body_that_heeds_no_window() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    client.headers(1, &Block::request("POST", "/hang").field("content-length", &OVERRUN.to_string()), false);
    let chunk = vec![b'x'; 16 << 10];
    let sent = (0..OVERRUN / chunk.len()).take_while(|_| client.data(1, &chunk, false)).count();
    // An error of the stream or of the connection, or the upstream has hung up.
    let over = client.read_until(|client| !client.goaways.is_empty() || client.answers.get(&1).is_some_and(|answer| answer.is_over()));
    let ended = over.is_ok() || over.is_err_and(|came| came.starts_with("Closed"));
    assert!(ended, "the proxy took {sent} pieces beyond its windows without a word");
    drop(client);
    siege.end();
}

#[test]
fn a_head_that_comes_slowly() {
    let siege = Siege::start("request_headers_timeout: 1s");
    let mut client = siege.attacker();
    client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
    ends_while(&mut client, |client| _ = client.frame(kind::CONTINUATION, 0, 1, &Block::new().field("x", "y").0));
    drop(client);
    siege.end();
}

#[test]
fn a_frame_that_comes_slowly() {
    let siege = Siege::start("request_headers_timeout: 1s");
    let mut client = siege.attacker();
    client.lie(1000, kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, 1, &Block::get().0);
    ends_while(&mut client, |client| _ = client.write(&[0]));
    drop(client);
    siege.end();
}

#[test]
fn a_preface_that_does_not_come() {
    let siege = Siege::start("request_headers_timeout: 1s\ncommon_http_protocol_options: { idle_timeout: 1s }");
    for part in [&b""[..], &PREFACE[..3], &PREFACE[..20], PREFACE] {
        let mut client = Client::silent(siege.proxy.address).expect("a connection");
        client.write(part);
        ends_while(&mut client, |_| {});
    }
    siege.end();
}

#[test]
fn a_body_that_does_not_come() {
    let siege = Siege::start("stream_idle_timeout: 2s");
    let mut client = siege.attacker();
    for n in 0..STREAMS - 1 {
        client.headers(1 + 2 * n, &Block::request("POST", "/echo"), false);
    }
    for n in 0..STREAMS - 1 {
        let answer = client.answer(1 + 2 * n).expect("an end");
        assert!(answer.reset.is_some() || answer.status >= 400, "{answer:?}");
    }
    drop(client);
    siege.end();
}

#[test]
fn goaway_and_then_silence() {
    let siege = Siege::start("stream_idle_timeout: 1s\ncommon_http_protocol_options: { idle_timeout: 1s }");
    let mut client = siege.attacker();
    client.headers(1, &Block::request("GET", "/hang"), true);
    client.frame(kind::GOAWAY, 0, 0, &[0; 8]);
    let _ = client.answer(1);
    // Envoy drains an idle connection first, for 5 s.
    client.patience = Duration::from_secs(10);
    client.closes().expect("the end of the connection");
    drop(client);
    siege.end();
}

#[test]
fn settings_that_are_never_acknowledged() {
    // RFC 9113, 6.5.3 lets the proxy end it with SETTINGS_TIMEOUT; it must serve others meanwhile.
    let siege = Siege::start("");
    let mut client = Client::silent(siege.proxy.address).expect("a connection");
    client.acknowledge = false;
    client.write(PREFACE);
    client.settings(&[]);
    client.headers(1, &Block::get(), true);
    let _ = client.answer(1);
    drop(client);
    siege.end();
}

/// The connection ends, or its one request does, while something goes on every 100 ms.
fn ends_while(client: &mut Client, drip: impl Fn(&mut Client)) {
    let until = Instant::now() + Duration::from_secs(8);
    client.patience = Duration::from_millis(100);
    while Instant::now() < until {
        drip(client);
        match client.next() {
            Event::Closed | Event::Nonsense(_) => return,
            Event::Frame(frame) if matches!(frame.kind, kind::GOAWAY | kind::RST_STREAM | kind::HEADERS) => return,
            _ => {}
        }
    }
    client.patience = Duration::from_secs(3);
    assert_ended(client);
}
