//! Tables of cases, one file for each group of sections, and what runs them: every case on connections of its own
//! against one server, all that fail told in one list. Where RFC 9113 leaves a choice every choice is right; that a
//! stream error may be answered by the end of the connection is one of them (5.4.1).

mod data;
mod errors;
mod fields;
mod flow;
mod format;
mod framing;
mod headers;
mod hpack;
mod ping_goaway;
mod preface;
mod priority_reset;
mod pseudo;
mod settings;
mod states;

use crate::block::Block;
use crate::frames::{Answer, Client, Event, Frame};
use crate::names::{code, kind};
use crate::support::Proxy;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// What a header block that cannot be read is answered with. The `h2` crate does not tell such a block from one with a
/// name or value that cannot be: it says PROTOCOL_ERROR for both.
pub(super) const COMPRESSION: [u32; 2] = [code::COMPRESSION_ERROR, code::PROTOCOL_ERROR];

/// `Err` says what was expected and what came.
type Verdict = Result<(), (String, String)>;

/// One demand of the RFCs.
struct Case {
    section: &'static str,
    name: &'static str,
    run: fn(At) -> Verdict,
}

const fn case(section: &'static str, name: &'static str, run: fn(At) -> Verdict) -> Case {
    Case { section, name, run }
}

/// Cases that run at the same time.
const AT_ONCE: usize = 8;

/// How long a server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The server under test.
#[derive(Copy, Clone)]
struct At(SocketAddr);

impl At {
    /// A connection after the exchange of SETTINGS.
    fn connect(self) -> Result<Client, (String, String)> {
        self.connect_with(&[])
    }

    fn connect_with(self, settings: &[(u16, u32)]) -> Result<Client, (String, String)> {
        let mut client = Client::connect_with(self.0, settings).map_err(|error| expected("an exchange of SETTINGS")(error.to_string()))?;
        client.patience = PATIENCE;
        Ok(client)
    }

    fn silent(self) -> Result<Client, (String, String)> {
        let mut client = Client::silent(self.0).map_err(|error| expected("a connection")(error.to_string()))?;
        client.patience = PATIENCE;
        Ok(client)
    }
}

fn expected(what: &str) -> impl FnOnce(String) -> (String, String) {
    let what = what.to_owned();
    move |came| (what, came)
}

/// A GOAWAY with one of the codes, or the end of the connection: GOAWAY is a SHOULD (5.4.1).
fn connection_error(client: &mut Client, codes: &[u32]) -> Verdict {
    let want = format!("a connection error {codes:?}");
    loop {
        match client.next() {
            Event::Frame(frame) if frame.kind == kind::GOAWAY => {
                let came = frame.word(4).unwrap_or(u32::MAX);
                // A polite server says first that it goes, with NO_ERROR, and then why.
                if came == code::NO_ERROR {
                    continue;
                }
                return if codes.contains(&came) { Ok(()) } else { Err(expected(&want)(format!("GOAWAY with {came}"))) };
            }
            Event::Frame(_) => {}
            Event::Closed => return Ok(()),
            other => return Err(expected(&want)(format!("{other:?}; {:?}", client.answers))),
        }
    }
}

/// An RST_STREAM with one of the codes, or a connection error.
fn stream_error(client: &mut Client, stream: u32, codes: &[u32]) -> Verdict {
    let want = format!("a stream error {codes:?}");
    loop {
        match client.next() {
            Event::Frame(frame) if is_error(&frame, stream) => {
                let came = frame.word(if frame.kind == kind::GOAWAY { 4 } else { 0 }).unwrap_or(u32::MAX);
                return if codes.contains(&came) { Ok(()) } else { Err(expected(&want)(format!("code {came}"))) };
            }
            Event::Frame(_) => {}
            Event::Closed => return Ok(()),
            other => return Err(expected(&want)(format!("{other:?}; {:?}", client.answers))),
        }
    }
}

fn is_error(frame: &Frame, stream: u32) -> bool {
    let is_goaway = frame.kind == kind::GOAWAY && frame.word(4) != Some(code::NO_ERROR);
    is_goaway || (frame.kind == kind::RST_STREAM && frame.stream == stream && frame.word(0) != Some(code::NO_ERROR))
}

/// What a malformed request gets: a stream error PROTOCOL_ERROR, with an answer of 4xx before it or in its place
/// (8.1.1), and a proxy that had forwarded the head may have got one of 5xx.
fn malformed(client: &mut Client, stream: u32) -> Verdict {
    refused(client, stream, &[code::PROTOCOL_ERROR])
}

/// The same with other codes.
fn refused(client: &mut Client, stream: u32, codes: &[u32]) -> Verdict {
    let want = format!("a stream error {codes:?} or 4xx");
    loop {
        if let Some(answer) = client.answers.get(&stream)
            && answer.status != 0
        {
            return if answer.status >= 400 { Ok(()) } else { Err(expected(&want)(format!("status {}", answer.status))) };
        }
        match client.next() {
            Event::Frame(frame) if is_error(&frame, stream) => {
                let came = frame.word(if frame.kind == kind::GOAWAY { 4 } else { 0 }).unwrap_or(u32::MAX);
                return if codes.contains(&came) { Ok(()) } else { Err(expected(&want)(format!("code {came}"))) };
            }
            Event::Frame(_) => {}
            Event::Closed => return Ok(()),
            other => return Err(expected(&want)(format!("{other:?}; {:?}", client.answers))),
        }
    }
}

/// A complete answer, of whatever status.
fn answered(client: &mut Client, stream: u32) -> Result<Answer, (String, String)> {
    let answer = client.answer(stream).map_err(expected("an answer"))?;
    match answer.status {
        0 => Err(expected("an answer")(format!("reset {:?}", answer.reset))),
        _ => Ok(answer),
    }
}

/// A complete answer that is no refusal of the server's.
fn served(client: &mut Client, stream: u32) -> Verdict {
    let answer = answered(client, stream)?;
    if answer.status == 400 || answer.status >= 500 { Err(expected("an answer")(format!("status {}", answer.status))) } else { Ok(()) }
}

/// The connection goes on: a PING is answered and a request served.
fn goes_on(client: &mut Client, stream: u32) -> Verdict {
    client.is_alive().map_err(expected("that the connection goes on"))?;
    client.headers(stream, &Block::get(), true);
    served(client, stream)
}

/// The same where the end of the connection is as good (5.4.1).
fn goes_on_or_ends(client: &mut Client, stream: u32) -> Verdict {
    if client.goaways.is_empty() && client.is_alive().is_ok() { goes_on(client, stream) } else { closed(client) }
}

fn alive(client: &mut Client) -> Verdict {
    client.is_alive().map_err(expected("that the connection goes on"))
}

/// The end of the connection.
fn closed(client: &mut Client) -> Verdict {
    client.closes().map_err(expected("the end of the connection"))
}

/// The proxy that tables share as long as one of them runs; it ends with the last.
static SHARED: Mutex<Weak<Mutex<Proxy>>> = Mutex::new(Weak::new());

fn server() -> (At, Option<Arc<Mutex<Proxy>>>) {
    if let Ok(target) = std::env::var("H2_TARGET") {
        let address = target.to_socket_addrs().ok().and_then(|mut all| all.next());
        return (At(address.expect("H2_TARGET is host:port")), None);
    }
    let mut shared = SHARED.lock().unwrap();
    let proxy = shared.upgrade().unwrap_or_else(|| Arc::new(Mutex::new(crate::proxy(crate::upstream::Upstream::start().address, ""))));
    *shared = Arc::downgrade(&proxy);
    let address = proxy.lock().unwrap().address;
    (At(address), Some(proxy))
}

/// Runs a table; `H2_CASE` picks those with a text in their name.
fn run(table: &'static [Case]) {
    let only = std::env::var("H2_CASE").unwrap_or_default();
    let ((at, _proxy), failures) = (server(), Mutex::new(Vec::new()));
    let queue = Mutex::new(table.iter().filter(|case| case.name.contains(&only)));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { return };
                    if let Err((expected, came)) = (case.run)(at) {
                        let line = format!("{}: {}: expected {expected}; came {came}", case.section, case.name);
                        failures.lock().unwrap().push(line);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), table.len(), failures.join("\n"));
}
