//! RFC 9113, 8.3 and 8.5: pseudo-header fields, and CONNECT.

use super::{At, Case, Verdict, case, expected, malformed, refused, run, served};
use crate::block::Block;
use crate::names::code;

#[test]
fn pseudo_headers() {
    run(CASES);
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "weir.test");

fn is_malformed(at: At, fields: &[(&str, &str)]) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &Block::of(fields), true);
    malformed(&mut client, 1)
}

fn is_served(at: At, fields: &[(&str, &str)]) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &Block::of(fields), true);
    served(&mut client, 1)
}

/// What the RFC leaves to the server: an answer, an error of the stream, but an end of some kind.
fn ends(at: At, fields: &[(&str, &str)]) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &Block::of(fields), true);
    match client.answer(1) {
        Err(error) if error.starts_with("Silent") => Err(expected("an end")(error)),
        _ => Ok(()),
    }
}

const CASES: &[Case] = &[
    case("8.3", "pseudo-headers may come in any order", |at| is_served(at, &[AUTHORITY, PATH, METHOD, SCHEME])),
    case("8.3", "an unknown pseudo-header is an error", |at| is_malformed(at, &[METHOD, SCHEME, PATH, AUTHORITY, (":test", "ok")])),
    case("8.3", "a pseudo-header of responses is an error", |at| is_malformed(at, &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")])),
    case("8.3", "a pseudo-header after another field is an error", |at| {
        is_malformed(at, &[METHOD, SCHEME, AUTHORITY, ("x-test", "ok"), PATH])
    }),
    case("8.3", ":authority after another field is an error", |at| is_malformed(at, &[METHOD, SCHEME, PATH, ("x-test", "ok"), AUTHORITY])),
    case("8.3", "a pseudo-header in uppercase is an error", |at| is_malformed(at, &[(":Method", "GET"), SCHEME, PATH, AUTHORITY])),
    case("8.3.1", "an empty :path is an error", |at| is_malformed(at, &[METHOD, SCHEME, (":path", ""), AUTHORITY])),
    case("8.3.1", "no :method is an error", |at| is_malformed(at, &[SCHEME, PATH, AUTHORITY])),
    case("8.3.1", "no :scheme is an error", |at| is_malformed(at, &[METHOD, PATH, AUTHORITY])),
    case("8.3.1", "no :path is an error", |at| is_malformed(at, &[METHOD, SCHEME, AUTHORITY])),
    case("8.3.1", "no pseudo-header at all is an error", |at| is_malformed(at, &[("x-test", "ok")])),
    case("8.3.1", "an empty header block is an error", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::new(), true);
        refused(&mut client, 1, &[code::PROTOCOL_ERROR, code::FRAME_SIZE_ERROR])
    }),
    case("8.3.1", "two :method are an error", |at| is_malformed(at, &[METHOD, METHOD, SCHEME, PATH, AUTHORITY])),
    case("8.3.1", "two :scheme are an error", |at| is_malformed(at, &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY])),
    case("8.3.1", "two :path are an error", |at| is_malformed(at, &[METHOD, SCHEME, PATH, PATH, AUTHORITY])),
    case("8.3.1", "two :authority are an error", |at| is_malformed(at, &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY])),
    case("8.3.1", "an empty :method is an error", |at| is_malformed(at, &[(":method", ""), SCHEME, PATH, AUTHORITY])),
    case("8.3.1", "a :method with a space is an error", |at| is_malformed(at, &[(":method", "GET /x"), SCHEME, PATH, AUTHORITY])),
    case("8.3.1", "a :path with a space is an error", |at| is_malformed(at, &[METHOD, SCHEME, (":path", "/ HTTP/1.1"), AUTHORITY])),
    case("8.3.1", "a :path with a line feed is an error", |at| {
        is_malformed(at, &[METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nx-smuggled: 1\r\n"), AUTHORITY])
    }),
    case("8.3.1", "a :path that does not begin with a slash is an error or the server's to read", |at| {
        ends(at, &[METHOD, SCHEME, (":path", "no-slash"), AUTHORITY])
    }),
    case("8.3.1", "OPTIONS * comes to an end", |at| ends(at, &[(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY])),
    case("8.3.1", "an :authority with a line feed is an error", |at| {
        is_malformed(at, &[METHOD, SCHEME, PATH, (":authority", "a\r\nx-y: z")])
    }),
    case("8.3.1", "an :authority with userinfo comes to an end", |at| ends(at, &[METHOD, SCHEME, PATH, (":authority", "user@weir.test")])),
    case("8.3.1", "an :authority and a Host that differ come to an end", |at| {
        ends(at, &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "other.test")])
    }),
    case("8.3.1", "an :authority and a Host that agree are served", |at| {
        is_served(at, &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "weir.test")])
    }),
    case("8.3.1", "Host alone is served", |at| is_served(at, &[METHOD, SCHEME, PATH, ("host", "weir.test")])),
    case("8.3.1", "neither :authority nor Host comes to an end", |at| ends(at, &[METHOD, SCHEME, PATH])),
    case("8.5", "CONNECT with :scheme and :path is an error", |at| is_malformed(at, &[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY])),
    case("8.5", "CONNECT without :authority is an error", |at| is_malformed(at, &[(":method", "CONNECT")])),
    case("8.5", "CONNECT comes to an end where there is no tunnel", |at| {
        ends(at, &[(":method", "CONNECT"), (":authority", "weir.test:1")])
    }),
    case("8.5", ":protocol that the server did not offer is an error", |at| {
        let client = at.connect()?;
        // RFC 8441, 3: SETTINGS_ENABLE_CONNECT_PROTOCOL.
        if client.settings.get(&8) == Some(&1) {
            return Ok(());
        }
        is_malformed(at, &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY])
    }),
    case("8.5", ":protocol with another method is an error", |at| {
        is_malformed(at, &[METHOD, (":protocol", "websocket"), SCHEME, PATH, AUTHORITY])
    }),
];
