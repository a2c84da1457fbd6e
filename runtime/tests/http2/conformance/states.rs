//! RFC 9113, 5.1: what may come on a stream in which state, identifiers, and how many streams there may be.

use super::{Case, case, connection_error, expected, goes_on, run, served, stream_error};
use crate::block::Block;
use crate::frames::{Client, Event};
use crate::names::{code, flag, kind, setting};

#[test]
fn stream_states() {
    run(CASES);
}

/// What is sent on a stream that the client has ended: the server may have ended it as well by then.
const ENDED: &[u32] = &[code::STREAM_CLOSED, code::PROTOCOL_ERROR];

/// Frames on a stream that was reset may be ignored (5.1, "closed"), but must not be served.
fn ignored_or(client: &mut Client, codes: &[u32]) -> super::Verdict {
    client.ping(*b"and then");
    loop {
        match client.next() {
            Event::Frame(frame) if frame.kind == kind::PING && frame.has(flag::ACK) => return Ok(()),
            Event::Frame(frame) if frame.kind == kind::GOAWAY && !frame.word(4).is_some_and(|code| codes.contains(&code)) => {
                return Err(expected(&format!("nothing or {codes:?}"))(format!("{frame:?}")));
            }
            Event::Frame(frame) if frame.kind == kind::HEADERS => return Err(expected("no answer")(format!("{frame:?}"))),
            Event::Frame(_) => {}
            Event::Closed => return Ok(()),
            other => return Err(expected("nothing or an error")(format!("{other:?}"))),
        }
    }
}

/// A request of which the answer has come.
fn over(at: super::At) -> Result<Client, (String, String)> {
    let mut client = at.connect()?;
    client.headers(1, &Block::get(), true);
    served(&mut client, 1)?;
    client.answers.clear();
    Ok(client)
}

fn reset(at: super::At) -> Result<Client, (String, String)> {
    let mut client = at.connect()?;
    client.headers(1, &Block::post(), false);
    client.reset(1, code::CANCEL);
    Ok(client)
}

const CASES: &[Case] = &[
    case("5.1", "idle: DATA is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.data(1, b"test", true);
        connection_error(&mut client, ENDED)
    }),
    case("5.1", "idle: RST_STREAM is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.reset(1, code::CANCEL);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("5.1", "idle: WINDOW_UPDATE is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.window_update(1, 100);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("5.1", "idle: CONTINUATION is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::get().0);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("5.1", "idle: PRIORITY is taken", |at| {
        let mut client = at.connect()?;
        client.frame(kind::PRIORITY, 0, 5, &[0, 0, 0, 0, 15]);
        goes_on(&mut client, 1)
    }),
    case("5.1", "half-closed (remote): DATA is STREAM_CLOSED", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        client.data(1, b"test", true);
        stream_error(&mut client, 1, ENDED)
    }),
    case("5.1", "half-closed (remote): HEADERS are STREAM_CLOSED", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        client.headers(1, &Block::get(), true);
        stream_error(&mut client, 1, ENDED)
    }),
    case("5.1", "half-closed (remote): CONTINUATION is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::get().0);
        connection_error(&mut client, ENDED)
    }),
    case("5.1", "half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are taken", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get(), true);
        client.window_update(1, 100);
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 15]);
        client.reset(1, code::CANCEL);
        goes_on(&mut client, 3)
    }),
    case("5.1", "closed by RST_STREAM: DATA is ignored or STREAM_CLOSED", |at| {
        let mut client = reset(at)?;
        client.data(1, b"test", true);
        ignored_or(&mut client, ENDED)
    }),
    case("5.1", "closed by RST_STREAM: HEADERS are ignored or STREAM_CLOSED", |at| {
        let mut client = reset(at)?;
        client.headers(1, &Block::get(), true);
        ignored_or(&mut client, ENDED)
    }),
    case("5.1", "closed by RST_STREAM: CONTINUATION is an error", |at| {
        let mut client = reset(at)?;
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::get().0);
        connection_error(&mut client, ENDED)
    }),
    case("5.1", "closed: DATA is STREAM_CLOSED", |at| {
        let mut client = over(at)?;
        client.data(1, b"test", true);
        ignored_or(&mut client, ENDED)
    }),
    case("5.1", "closed: HEADERS are STREAM_CLOSED", |at| {
        let mut client = over(at)?;
        client.headers(1, &Block::get(), true);
        ignored_or(&mut client, ENDED)
    }),
    case("5.1", "closed: CONTINUATION is an error", |at| {
        let mut client = over(at)?;
        client.frame(kind::CONTINUATION, flag::END_HEADERS, 1, &Block::get().0);
        connection_error(&mut client, ENDED)
    }),
    case("5.1", "closed: WINDOW_UPDATE, PRIORITY and RST_STREAM are taken", |at| {
        let mut client = over(at)?;
        client.window_update(1, 100);
        client.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 15]);
        client.reset(1, code::CANCEL);
        goes_on(&mut client, 3)
    }),
    case("5.1.1", "an even identifier from a client is PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(2, &Block::get(), true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("5.1.1", "an identifier below one that was used is not served", |at| {
        let mut client = at.connect()?;
        client.headers(5, &Block::get(), true);
        served(&mut client, 5)?;
        client.headers(3, &Block::get(), true);
        // A connection error by the letter; nghttp2 takes it for what was on its way to a stream that it has reset.
        ignored_or(&mut client, ENDED)
    }),
    case("5.1.1", "identifiers may leave gaps", |at| {
        let mut client = at.connect()?;
        client.headers(7, &Block::get(), true);
        served(&mut client, 7)?;
        goes_on(&mut client, 1001)
    }),
    case("5.1.1", "the last identifier is served", |at| {
        let mut client = at.connect()?;
        client.headers(0x7fff_ffff, &Block::get(), true);
        served(&mut client, 0x7fff_ffff)
    }),
    case("5.1.1", "HEADERS on stream 0 are PROTOCOL_ERROR", |at| {
        let mut client = at.connect()?;
        client.headers(0, &Block::get(), true);
        connection_error(&mut client, &[code::PROTOCOL_ERROR])
    }),
    case("5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS are refused", |at| {
        let mut client = at.connect()?;
        let Some(&most) = client.settings.get(&setting::MAX_CONCURRENT_STREAMS).filter(|most| **most < 10_000) else { return Ok(()) };
        for n in 0..=most {
            client.headers(1 + 2 * n, &Block::post(), false);
        }
        stream_error(&mut client, 1 + 2 * most, &[code::PROTOCOL_ERROR, code::REFUSED_STREAM])
    }),
    case("5.1.2", "streams that ended make room", |at| {
        let mut client = at.connect()?;
        for n in 0..300 {
            client.headers(1 + 2 * n, &Block::get(), true);
            served(&mut client, 1 + 2 * n)?;
        }
        Ok(())
    }),
];
