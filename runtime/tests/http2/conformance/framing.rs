//! RFC 9113, 8.1: what makes up a request.

use super::{Case, case, goes_on_or_ends, malformed, run, served};
use crate::block::Block;
use crate::names::{flag, kind};

#[test]
fn message_framing() {
    run(CASES);
}

const CASES: &[Case] = &[
    case("8.1", "HEADERS without END_STREAM amid a request are an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.headers(1, &Block::new().field("x-test", "ok"), false);
        malformed(&mut client, 1)
    }),
    case("8.1", "trailers end a request", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("trailer", "x-test"), false);
        client.data(1, b"test", false);
        client.headers(1, &Block::new().field("x-test", "ok"), true);
        served(&mut client, 1)
    }),
    case("8.1", "trailers without a body end a request", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.headers(1, &Block::new().field("x-test", "ok"), true);
        served(&mut client, 1)
    }),
    case("8.1", "trailers may go on in CONTINUATION", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"test", false);
        client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::new().field("x-test", "ok").0);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::new().field("x-more", "ok").0);
        served(&mut client, 1)
    }),
    case("8.1", "trailers without END_STREAM after DATA are an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"test", false);
        client.headers(1, &Block::new().field("x-test", "ok"), false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1", "a pseudo-header in trailers is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"test", false);
        client.headers(1, &Block::new().field(":method", "POST"), true);
        malformed(&mut client, 1)
    }),
    case("8.1", "an uppercase name in trailers is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post(), false);
        client.data(1, b"test", false);
        client.headers(1, &Block::new().field("X-Test", "ok"), true);
        malformed(&mut client, 1)
    }),
    case("8.1", "a body of the length that was said is taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "8"), false);
        client.data(1, b"test", false);
        client.data(1, b"test", true);
        served(&mut client, 1)
    }),
    case("8.1.1", "a body longer than content-length is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "1"), false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "a body shorter than content-length is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "5"), false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "a body of several DATA that is not of content-length is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "1"), false);
        client.data(1, b"test", false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "content-length without a body is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "1"), true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "a body that trailers cut short of content-length is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "5"), false);
        client.data(1, b"test", false);
        client.headers(1, &Block::new().field("x-test", "ok"), true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "two content-lengths that differ are an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "4").field("content-length", "5"), false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "a content-length that is no number is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "+4"), false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "a content-length beyond 64 bits is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("content-length", "18446744073709551620"), false);
        client.data(1, b"test", true);
        malformed(&mut client, 1)
    }),
    case("8.1.1", "a request after a malformed one is served", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get().field("X-Upper", "case"), true);
        malformed(&mut client, 1)?;
        goes_on_or_ends(&mut client, 3)
    }),
];
