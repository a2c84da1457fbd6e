//! Header blocks that are endless, huge, or small on the wire and huge when read.

use super::{Siege, outcome};
use crate::block::Block;
use crate::frames::Client;
use crate::names::{flag, kind};

/// CONTINUATIONs of 16 KiB: 320 MB, of which the proxy must take next to nothing.
const CONTINUATIONS: u32 = 20_000;

/// Empty ones.
const EMPTY_CONTINUATIONS: u32 = 500_000;

/// References to one entry of 4,000 bytes in one frame: 64 MB when read.
const REFERENCES: usize = 16_000;

/// Streams that send the same.
const STREAMS: u32 = 50;

/// Bytes of a block that is merely huge.
const HUGE: usize = 2 << 20;

/// Sends a block in HEADERS and as many CONTINUATIONs as it takes. `false` once the proxy takes no more.
fn send(client: &mut Client, stream: u32, block: &[u8]) -> bool {
    let mut pieces = block.chunks(16 << 10).enumerate().peekable();
    while let Some((n, piece)) = pieces.next() {
        let end = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        let sent = match n {
            0 => client.frame(kind::HEADERS, end | flag::END_STREAM, stream, piece),
            _ => client.frame(kind::CONTINUATION, end, stream, piece),
        };
        if !sent {
            return false;
        }
    }
    true
}

/// The connection ends though nothing more is sent: a PING inside a header block would be an error by itself.
fn assert_ends(client: &mut Client) {
    let over = client.read_until(|client| !client.goaways.is_empty());
    assert!(over.is_ok() || over.as_ref().is_err_and(|came| came.starts_with("Closed")), "{over:?}");
}

/// No request with this block is served: 4xx, a reset, or the end of the connection.
fn refused(block: &Block) {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    let sent = (0..STREAMS).take_while(|n| send(&mut client, 1 + 2 * n, &block.0)).count();
    let _ = outcome(&mut client);
    for (stream, answer) in &client.answers {
        assert!(answer.status == 0 || answer.status >= 400, "stream {stream} of {sent}: status {}", answer.status);
    }
    drop(client);
    siege.end();
}

#[test]
fn endless_continuation() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
    let piece = Block::new().field("x-fill", &"x".repeat((16 << 10) - 16)).0;
    let sent = (0..CONTINUATIONS).take_while(|_| client.frame(kind::CONTINUATION, 0, 1, &piece)).count();
    assert!(sent < CONTINUATIONS as usize, "the proxy took all");
    assert_ends(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn endless_continuation_of_nothing() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    client.frame(kind::HEADERS, flag::END_STREAM, 1, &Block::get().0);
    let batch = crate::frames::encode(0, kind::CONTINUATION, 0, 1, &[]).repeat(500);
    let _ = (0..EMPTY_CONTINUATIONS / 500).all(|_| client.write(&batch));
    assert_ends(&mut client);
    drop(client);
    siege.end();
}

#[test]
fn an_entry_referenced_thousands_of_times() {
    let bomb = Block::get().insert("x-bomb", &"x".repeat(4_000));
    refused(&(0..REFERENCES).fold(bomb, |block, _| block.indexed(62)));
}

#[test]
fn an_empty_entry_referenced_thousands_of_times() {
    // Next to nothing in bytes, but every field is an object somewhere.
    let bomb = Block::get().insert("a", "");
    refused(&(0..REFERENCES).fold(bomb, |block, _| block.indexed(62)));
}

#[test]
fn cookie_crumbs_by_the_thousand() {
    // Joined they are one field: limits that count fields do not see them.
    let bomb = Block::get().insert("cookie", "");
    refused(&(0..REFERENCES * 4).fold(bomb, |block, _| block.indexed(62)));
}

#[test]
fn large_cookie_crumbs() {
    let bomb = Block::get().insert("cookie", &"x".repeat(4_000));
    refused(&(0..REFERENCES).fold(bomb, |block, _| block.indexed(62)));
}

#[test]
fn many_tiny_fields() {
    refused(&(0..20_000).fold(Block::get(), |block, n| block.field(&format!("x-{n}"), "")));
}

#[test]
fn a_huge_value() {
    refused(&Block::get().field("x-huge", &"x".repeat(HUGE)));
}

#[test]
fn a_huge_name() {
    refused(&Block::get().field(&"x".repeat(HUGE), ""));
}

#[test]
fn a_huge_path() {
    refused(&Block::request("GET", &format!("/{}", "x".repeat(HUGE))));
}

#[test]
fn a_string_that_claims_gigabytes() {
    // A length of 4 GiB with nothing behind it: no memory may be set aside for what was only announced.
    refused(&Block::get().raw(&[0, 1, b'x', 0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f, b'x']));
}

#[test]
fn huge_trailers() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    for n in 0..STREAMS {
        client.headers(1 + 2 * n, &Block::request("POST", "/echo"), false);
        client.data(1 + 2 * n, b"test", false);
        if !send(&mut client, 1 + 2 * n, &Block::new().field("x-huge", &"x".repeat(HUGE)).0) {
            break;
        }
    }
    let _ = outcome(&mut client);
    assert!(client.answers.values().all(|answer| answer.status != 200), "{:?}", client.answers.keys());
    drop(client);
    siege.end();
}

#[test]
fn a_table_that_is_filled_and_emptied() {
    let siege = Siege::start("");
    let mut client = siege.attacker();
    let fill =
        (0..30).fold(Block::new().table_size(0).table_size(4096).raw(&Block::get().0), |block, n| block.insert(&format!("x-{n}"), "y"));
    for n in 0..500 {
        client.headers(1 + 2 * n, &fill, true);
        if client.answer(1 + 2 * n).is_err() {
            break;
        }
    }
    drop(client);
    siege.end();
}
