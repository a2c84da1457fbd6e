//! RFC 9113, 8.2: fields that a request may not have, and some that it may.

use super::{At, Case, Verdict, case, malformed, run, served};
use crate::block::Block;

#[test]
fn fields() {
    run(CASES);
}

fn is_malformed(at: At, block: Block) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &block, true);
    malformed(&mut client, 1)
}

fn is_served(at: At, block: Block) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &block, true);
    served(&mut client, 1)
}

/// A field whose value is no field value: malformed, but a proxy that strips spaces cures it as RFC 9110, 5.5 asks.
fn is_malformed_or_cured(at: At, block: Block) -> Verdict {
    is_malformed(at, block.clone()).or_else(|_| is_served(at, block))
}

const CASES: &[Case] = &[
    case("8.2.1", "an uppercase name is an error", |at| is_malformed(at, Block::get().field("X-TEST", "ok"))),
    case("8.2.1", "a name with one uppercase letter is an error", |at| is_malformed(at, Block::get().field("x-tEst", "ok"))),
    case("8.2.1", "an uppercase name from the dynamic table is an error", |at| {
        is_malformed(at, Block::get().insert("X-Test", "ok").indexed(62))
    }),
    case("8.2.1", "an empty name is an error", |at| is_malformed(at, Block::get().field("", "ok"))),
    case("8.2.1", "a space in a name is an error", |at| is_malformed(at, Block::get().field("x test", "ok"))),
    case("8.2.1", "a space at the end of a name is an error", |at| is_malformed(at, Block::get().field("x-test ", "ok"))),
    case("8.2.1", "a colon in a name is an error", |at| is_malformed(at, Block::get().field("x:test", "ok"))),
    case("8.2.1", "a colon at the end of a name is an error", |at| is_malformed(at, Block::get().field("x-test:", "ok"))),
    case("8.2.1", "a NUL in a name is an error", |at| is_malformed(at, Block::get().field("x-te\0st", "ok"))),
    case("8.2.1", "a line feed in a name is an error", |at| is_malformed(at, Block::get().field("x-te\nst", "ok"))),
    case("8.2.1", "DEL in a name is an error", |at| is_malformed(at, Block::get().field("x-te\x7fst", "ok"))),
    case("8.2.1", "bytes above 127 in a name are an error", |at| is_malformed(at, Block::get().bytes(b"x-\xe4", b"ok"))),
    case("8.2.1", "a NUL in a value is an error", |at| is_malformed(at, Block::get().field("x-test", "o\0k"))),
    case("8.2.1", "a line feed in a value is an error", |at| is_malformed(at, Block::get().field("x-test", "o\nk"))),
    case("8.2.1", "a carriage return in a value is an error", |at| is_malformed(at, Block::get().field("x-test", "o\rk"))),
    case("8.2.1", "a value that would be another field is an error", |at| {
        is_malformed(at, Block::get().field("x-test", "ok\r\nx-smuggled: 1"))
    }),
    case("8.2.1", "a value that would be another request is an error", |at| {
        is_malformed(at, Block::get().field("x-test", "ok\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n"))
    }),
    case("8.2.1", "a space before a value is an error or stripped", |at| is_malformed_or_cured(at, Block::get().field("x-test", " ok"))),
    case("8.2.1", "a tab after a value is an error or stripped", |at| is_malformed_or_cured(at, Block::get().field("x-test", "ok\t"))),
    case("8.2.1", "a value of bytes above 127 is taken or refused", |at| {
        is_malformed_or_cured(at, Block::get().bytes(b"x-test", b"\xc3\xa4\xff"))
    }),
    case("8.2.1", "an empty value is taken", |at| is_served(at, Block::get().field("x-test", ""))),
    case("8.2.1", "every character of a token is taken in a name", |at| is_served(at, Block::get().field("x!#$%&'*+-.^`|~09", "ok"))),
    case("8.2.2", "Connection is an error", |at| is_malformed(at, Block::get().field("connection", "keep-alive"))),
    case("8.2.2", "Connection: close is an error", |at| is_malformed(at, Block::get().field("connection", "close"))),
    case("8.2.2", "Keep-Alive is an error", |at| is_malformed(at, Block::get().field("keep-alive", "timeout=5"))),
    case("8.2.2", "Proxy-Connection is an error", |at| is_malformed(at, Block::get().field("proxy-connection", "keep-alive"))),
    case("8.2.2", "Upgrade is an error", |at| is_malformed(at, Block::get().field("upgrade", "websocket"))),
    case("8.2.2", "Transfer-Encoding: chunked is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::post().field("transfer-encoding", "chunked"), false);
        client.data(1, b"0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n", true);
        malformed(&mut client, 1)
    }),
    case("8.2.2", "Transfer-Encoding: identity is an error", |at| is_malformed(at, Block::get().field("transfer-encoding", "identity"))),
    case("8.2.2", "TE of more than trailers is an error", |at| is_malformed(at, Block::get().field("te", "trailers, deflate"))),
    case("8.2.2", "TE: gzip is an error", |at| is_malformed(at, Block::get().field("te", "gzip"))),
    case("8.2.2", "TE: trailers is taken", |at| is_served(at, Block::get().field("te", "trailers"))),
    case("8.2.3", "cookies in crumbs are taken", |at| is_served(at, Block::get().field("cookie", "a=b").field("cookie", "c=d"))),
];
