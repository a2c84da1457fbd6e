//! Heads: what becomes of methods, statuses and fields between the versions.

use super::{answer, assert_ok, get};
use crate::block::Block;
use crate::frames::{Client, Event};
use crate::names::kind;
use crate::upstream::Upstream;

/// The request as the upstream got it, in lower case.
fn forwarded(block: &Block) -> String {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    client.headers(1, block, true);
    let answer = answer(&mut client, 1);
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8_lossy(&answer.body).to_ascii_lowercase()
}

#[test]
fn a_request_is_forwarded_in_http_1() {
    let head = forwarded(&Block::request("GET", "/head/x?y=z").field("user-agent", "test").insert("x-a", "1").field("x-a", "2"));
    assert!(head.starts_with("get /head/x?y=z http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: weir.test\r\n"), "{head}");
    assert!(head.contains("\r\nx-a: 1\r\n") && head.contains("\r\nx-a: 2\r\n"), "{head}");
    assert!(!head.contains("\r\n:") && !head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
}

#[test]
fn authority_takes_the_place_of_host() {
    let head = forwarded(&Block::request("GET", "/head").field("host", "weir.test"));
    assert_eq!(head.matches("\r\nhost:").count(), 1, "{head}");
    let alone = Block::of(&[(":method", "GET"), (":scheme", "http"), (":path", "/head"), ("host", "alone.test")]);
    assert!(forwarded(&alone).contains("\r\nhost: alone.test\r\n"));
}

#[test]
fn cookie_crumbs_are_joined() {
    let head =
        forwarded(&Block::request("GET", "/head").field("cookie", "a=1").field("x-b", "").field("cookie", "c=2").field("cookie", "d=3"));
    assert!(head.contains("\r\ncookie: a=1; c=2; d=3\r\n"), "{head}");
}

#[test]
fn te_trailers_is_taken() {
    // RFC 9113, 8.2.2; what the upstream hears of it is the proxy's affair, as long as Connection names it.
    let head = forwarded(&Block::request("GET", "/head").field("te", "trailers"));
    assert!(!head.contains("\r\nte:") || head.contains("trailers"), "{head}");
}

#[test]
fn a_continued_head_is_forwarded_whole() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    let block = Block::request("GET", "/head").field("x-long", &"v".repeat(30_000)).0;
    let (first, rest) = block.split_at(16_000);
    client.frame(kind::HEADERS, 1, 1, first);
    client.frame(kind::CONTINUATION, 4, 1, rest);
    let answer = answer(&mut client, 1);
    assert!(answer.status == 200 && answer.body.len() > 30_000, "{}", answer.status);
}

#[test]
fn answers_without_a_body() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    let none = get(&mut client, 1, "/204");
    assert!(none.status == 204 && none.ended && none.body.is_empty() && none.field("x-a") == Some("b"), "{none:?}");
    let same = get(&mut client, 3, "/304");
    assert!(same.status == 304 && same.ended && same.body.is_empty() && same.field("etag") == Some("\"e\""), "{same:?}");
    client.headers(5, &Block::request("HEAD", "/"), true);
    let head = answer(&mut client, 5);
    assert!(head.status == 200 && head.body.is_empty() && head.field("content-length") == Some("1234"), "{head:?}");
    let empty = get(&mut client, 7, "/empty");
    assert_ok(&empty, b"");
    assert_eq!(empty.field("content-length"), Some("0"));
}

#[test]
fn fields_of_the_upstream_s_connection_stay_there() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let answer = get(&mut crate::client(&proxy), 1, "/hop");
    assert_ok(&answer, b"");
    for name in ["connection", "keep-alive", "transfer-encoding", "x-private"] {
        assert_eq!(answer.field(name), None, "{answer:?}");
    }
    assert_eq!(answer.field("x-public"), Some("1"));
    assert!(get(&mut crate::client(&proxy), 1, "/chunked").field("transfer-encoding").is_none());
}

#[test]
fn early_hints_are_passed_on() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let answer = get(&mut crate::client(&proxy), 1, "/hints");
    assert_ok(&answer, b"hinted");
    // Envoy's codec drops 1xx other than 100 unless told not to: either way the answer is whole.
    if let Some((status, fields)) = answer.informational.first() {
        assert!(*status == 103 && fields.iter().any(|(name, _)| name == "link"), "{answer:?}");
    }
}

#[test]
fn who_expects_100_continue_gets_it() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    let block = Block::request("POST", "/continue").field("content-length", "4").field("expect", "100-continue");
    client.headers(1, &block, false);
    let informed = |client: &Client| client.answers.get(&1).is_some_and(|answer| !answer.informational.is_empty());
    client.read_until(informed).expect("100 Continue");
    client.data(1, b"test", true);
    let answer = answer(&mut client, 1);
    assert_ok(&answer, b"hello, world");
    assert_eq!(answer.informational.len(), 1, "{answer:?}");
    assert_eq!(answer.informational[0].0, 100);
}

#[test]
fn http_1_is_served_beside_http_2() {
    let proxy = crate::proxy(Upstream::start().address, "");
    assert_ok(&get(&mut crate::client(&proxy), 1, "/"), b"hello, world");
    let text = crate::support::request(proxy.address, "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("hello, world"), "{text}");
}

#[test]
fn codec_type_http2_serves_http_2_alone() {
    let manager = crate::MANAGER.replace("AUTO", "HTTP2");
    let proxy = crate::Proxy::start(&crate::support::bootstrap(Upstream::start().address, &manager, ""));
    assert_ok(&get(&mut crate::client(&proxy), 1, "/"), b"hello, world");
    let mut client = Client::silent(proxy.address).expect("a connection");
    client.write(b"GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    loop {
        match client.next() {
            Event::Frame(_) => {}
            Event::Closed => return,
            other => panic!("{other:?} instead of the end"),
        }
    }
}

#[test]
fn settings_are_those_of_the_config() {
    let proxy = crate::proxy(Upstream::start().address, "");
    let mut client = crate::client(&proxy);
    assert_eq!(client.settings.get(&3), Some(&100), "MAX_CONCURRENT_STREAMS");
    assert_eq!(client.settings.get(&4), Some(&65_536), "INITIAL_WINDOW_SIZE");
    client.is_alive().expect("a PING's answer");
}

#[test]
fn a_malformed_request_leaves_its_neighbours_alone() {
    // Envoy ends the whole connection unless it is told not to.
    let manager = crate::MANAGER.replace("{ ", "{ override_stream_error_on_invalid_http_message: true, ");
    let proxy = crate::Proxy::start(&crate::support::bootstrap(Upstream::start().address, &manager, ""));
    let mut client = crate::client(&proxy);
    client.headers(1, &Block::request("GET", "/slow/300"), true);
    client.headers(3, &Block::get().field("connection", "close"), true);
    client.headers(5, &Block::post().field("content-length", "1"), false);
    client.data(5, b"test", true);
    assert_ok(&answer(&mut client, 1), b"slow");
    assert_ok(&get(&mut client, 7, "/"), b"hello, world");
    assert!(client.goaways.is_empty(), "{:?}", client.goaways);
}
