//! Bodies and trailers, both ways, through windows large and small.

use super::{answer, assert_ok, get};
use crate::block::Block;
use crate::frames::{Client, Event};
use crate::names::{code, setting};
use crate::upstream::Upstream;

const LARGE: usize = 4 << 20;

/// Sends a body as the windows of the proxy allow, reading what comes in between. It is the first on its connection.
fn upload(client: &mut Client, stream: u32, body: &[u8]) {
    let own = u64::from(client.settings.get(&setting::INITIAL_WINDOW_SIZE).copied().unwrap_or(65_535));
    let mut sent = 0;
    while sent < body.len() {
        let credit = |stream| client.credits.get(&stream).copied().unwrap_or(0);
        let window = (65_535 + credit(0)).min(own + credit(stream)) as usize;
        let step = (body.len() - sent).min(16 << 10).min(window - sent);
        if step > 0 {
            assert!(client.data(stream, &body[sent..sent + step], sent + step == body.len()), "the proxy takes no more");
            sent += step;
        } else if let other @ (Event::Closed | Event::Silent | Event::Nonsense(_)) = client.next() {
            panic!("{other:?} with {} bytes to go", body.len() - sent);
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[test]
fn bodies_with_and_without_a_length() {
    let upstream = Upstream::start();
    let proxy = crate::proxy(upstream.address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("POST", "/echo").field("content-length", "8"), false);
    client.data(1, b"test", false);
    client.data(1, b"test", true);
    assert_ok(&answer(&mut client, 1), b"testtest");
    assert!(upstream.last().0.to_ascii_lowercase().contains("\r\ncontent-length: 8\r\n"));
    client.headers(3, &Block::request("POST", "/echo"), false);
    client.data(3, b"some", false);
    client.is_alive().expect("a PING's answer");
    client.data(3, b"thing", false);
    client.data(3, b"", true);
    assert_ok(&answer(&mut client, 3), b"something");
    client.headers(5, &Block::request("POST", "/echo").field("content-length", "0"), true);
    assert_ok(&answer(&mut client, 5), b"");
    assert!(upstream.last().0.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n"));
    client.headers(7, &Block::request("POST", "/echo"), true);
    assert_ok(&answer(&mut client, 7), b"");
}

#[test]
fn a_chunked_answer_comes_in_data() {
    let proxy = crate::proxy(Upstream::start().address, "");
    assert_ok(&get(&mut crate::client(&proxy), 1, "/chunked"), b"helloyou");
}

#[test]
fn trailers_go_both_ways() {
    let upstream = Upstream::start();
    let proxy = crate::proxy(upstream.address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("POST", "/echo").field("te", "trailers"), false);
    client.data(1, b"body", false);
    client.headers(1, &Block::new().field("x-sum", "4"), true);
    let echoed = answer(&mut client, 1);
    assert_eq!(String::from_utf8_lossy(&echoed.body).to_ascii_lowercase(), "bodyx-sum: 4\r\n");
    let answer = get(&mut client, 3, "/trailers");
    assert_ok(&answer, b"hello");
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers, [("x-sum".to_owned(), "5".to_owned()), ("x-two".to_owned(), "2".to_owned())]);
}

#[test]
fn a_hundred_streams_at_once() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    for n in 0..100 {
        client.headers(1 + 2 * n, &Block::request("GET", "/slow/50"), true);
    }
    for n in 0..100 {
        assert_ok(&answer(&mut client, 1 + 2 * n), b"slow");
    }
    assert_ok(&get(&mut client, 201, "/"), b"hello, world");
}

#[test]
fn large_bodies_through_small_windows() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = Client::connect_with(proxy.address, &[(setting::INITIAL_WINDOW_SIZE, 1000)]).expect("HTTP/2");
    let down = get(&mut client, 1, &format!("/bytes/{}", LARGE / 4));
    assert_ok(&down, &vec![b'x'; LARGE / 4]);
    client.headers(3, &Block::request("POST", "/echo"), false);
    let body = pattern(LARGE / 4);
    upload(&mut client, 3, &body);
    assert_ok(&answer(&mut client, 3), &body);
}

#[test]
fn large_bodies_on_several_streams() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    for stream in [1, 3, 5, 7] {
        client.headers(stream, &Block::request("GET", &format!("/bytes/{LARGE}")), true);
    }
    for stream in [1, 3, 5, 7] {
        assert_ok(&answer(&mut client, stream), &vec![b'x'; LARGE]);
    }
}

#[test]
fn large_uploads_arrive_whole() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    let body = pattern(LARGE);
    client.headers(1, &Block::request("POST", "/echo").field("content-length", &LARGE.to_string()), false);
    upload(&mut client, 1, &body);
    assert_ok(&answer(&mut client, 1), &body);
}

#[test]
fn a_stream_that_takes_nothing_does_not_hold_up_the_others() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = Client::connect_with(proxy.address, &[(setting::INITIAL_WINDOW_SIZE, 0)]).expect("HTTP/2");
    client.headers(1, &Block::request("GET", &format!("/bytes/{LARGE}")), true);
    client.headers(3, &Block::request("GET", "/"), true);
    client.window_update(3, 1000);
    assert_ok(&answer(&mut client, 3), b"hello, world");
    client.reset(1, code::CANCEL);
    client.is_alive().expect("a PING's answer");
}

#[test]
fn ping_is_answered_during_a_long_request() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/slow/500"), true);
    for _ in 0..5 {
        client.is_alive().expect("a PING's answer");
        assert!(!client.answers.contains_key(&1), "the PING waited for the answer");
    }
    assert_ok(&answer(&mut client, 1), b"slow");
}

#[test]
fn an_answer_before_the_end_of_the_request_ends_it() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("POST", "/early").field("content-length", "1000000"), false);
    client.data(1, b"some", false);
    let early = answer(&mut client, 1);
    // RFC 9113, 8.1: then RST_STREAM with NO_ERROR asks to stop. Whoever has lost the upstream may say so instead.
    assert!(matches!(early.status, 413 | 502 | 503), "{early:?}");
    assert_ok(&get(&mut client, 3, "/"), b"hello, world");
}
