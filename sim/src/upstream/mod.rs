//! Upstream hosts. This file holds what they share: they read requests, check them, and answer as the target says;
//! a [`Mood`], one file each, makes some of them misbehave.

pub mod breaking;
pub mod early;
pub mod garbage;
pub mod hanging;
pub mod healthy;
pub mod idle_closing;
pub mod leaving;
pub mod refusing;
pub mod slow;
mod streams;
pub mod truncating;

use crate::client::{Coding, body};
use crate::event::{MS, Time};
use crate::observe::Observation;
use crate::pattern;
use crate::peer::{ConnNo, Context, Input, Peer};
use crate::request::{Framing, Request};
use crate::talk;
use crate::wire::{Head, Piece, Reader};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use streams::{Around, Fate, Streams};
use weir_core::http::reason_phrase;
use weir_core::http2::PREFACE;
use weir_core::rng::Rng;

/// What a host does with one request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Answering {
    /// As the target says.
    AsAsked,
    /// In pieces of so many bytes with so long between.
    Slowly(usize, Time),
    /// Before the request's body has arrived.
    Early,
    /// Only a part, then the connection ends, or is reset.
    Truncated {
        /// Whether it is reset.
        reset: bool,
    },
    /// What is not HTTP.
    Garbage,
    /// Not at all: the connection is reset.
    Break,
    /// Not at all.
    Never,
    /// Not at all: it says that it has not looked at the request. Only in HTTP/2.
    Refuse,
    /// As the target says, and those behind it not at all: it says so. Only in HTTP/2.
    Leave,
}

impl Answering {
    /// Whether it does the request harm.
    fn is_fault(self) -> bool {
        matches!(self, Answering::Truncated { .. } | Answering::Garbage | Answering::Break | Answering::Never)
    }
}

/// How a host is disposed.
pub trait Mood: std::fmt::Debug {
    /// What it does with the next request.
    fn answering(&mut self, rng: &mut Rng) -> Answering;

    /// How long it keeps a connection without a request.
    fn keeps_idle(&self) -> Option<Time> {
        None
    }
}

/// One host of one cluster.
#[derive(Debug)]
pub struct Host {
    cluster: usize,
    mood: Box<dyn Mood>,
    calm: bool,
    /// Streams that it takes at once on a connection.
    max_streams: u32,
    /// Connections on which HTTP/1 is spoken, or nothing yet.
    conns: BTreeMap<ConnNo, Serving>,
    /// Connections on which HTTP/2 is spoken.
    streams: BTreeMap<ConnNo, Streams>,
}

#[derive(Debug, Default)]
struct Serving {
    /// Too few bytes to know which version they are of.
    begin: Vec<u8>,
    reader: Reader,
    request: Option<(Request, Answering)>,
    read: u64,
    whole: bool,
    outgoing: VecDeque<Bytes>,
    ends: Option<bool>,
    tunnel: bool,
    /// Bytes after which it breaks the tunnel.
    breaks_tunnel: Option<u64>,
    /// It has said that it will close.
    closing: bool,
    served: u64,
}

const ANSWER: u64 = 0;
const SEND: u64 = 1;
const IDLE: u64 = 2;
const STREAM: u64 = 3;

impl Host {
    /// A host of cluster number `cluster`.
    pub fn new(cluster: usize, mood: Box<dyn Mood>) -> Host {
        Host { cluster, mood, calm: false, max_streams: 100, conns: BTreeMap::new(), streams: BTreeMap::new() }
    }

    /// With so many streams at once on a connection. Less than what the proxy begins with before it knows of the limit
    /// means that some are refused.
    pub fn with_streams_at_once(mut self, max_streams: u32) -> Host {
        self.max_streams = max_streams;
        self
    }

    /// Bytes have come, in either version.
    fn hear(&mut self, conn: ConnNo, bytes: &[u8], context: &mut Context<'_>) {
        if self.streams.contains_key(&conn) {
            return self.with_streams(conn, context, |streams, around| streams.hear(bytes, around));
        }
        let Some(serving) = self.conns.get_mut(&conn) else { return };
        if serving.served > 0 || serving.request.is_some() || serving.tunnel || serving.reader.is_within() {
            return self.data(conn, bytes, context);
        }
        serving.begin.extend_from_slice(bytes);
        let begin = match talk::is_preface(&serving.begin) {
            None => return,
            Some(_) => std::mem::take(&mut serving.begin),
        };
        if !begin.starts_with(PREFACE) {
            return self.data(conn, &begin, context);
        }
        self.conns.remove(&conn);
        self.streams.insert(conn, Streams::new(self.max_streams, context.rng));
        self.with_streams(conn, context, |streams, around| streams.hear(&begin, around));
    }

    fn with_streams(&mut self, conn: ConnNo, context: &mut Context<'_>, act: impl FnOnce(&mut Streams, &mut Around<'_, '_>) -> Fate) {
        let Some(streams) = self.streams.get_mut(&conn) else { return };
        let mut around = Around { cluster: self.cluster, mood: &mut *self.mood, calm: self.calm, conn, context };
        if act(streams, &mut around) == Fate::Over {
            self.streams.remove(&conn);
        }
    }

    fn data(&mut self, conn: ConnNo, bytes: &[u8], context: &mut Context<'_>) {
        let Some(serving) = self.conns.get_mut(&conn) else { return };
        if serving.tunnel {
            return echo(serving, conn, bytes, context);
        }
        serving.reader.push(bytes);
        while let Some(piece) = serving.reader.next(false) {
            match piece {
                Piece::Wrong(why) => return context.note(Observation::HostFault(0, why)),
                Piece::Head(head) if head.upgrade => {
                    serving.tunnel = true;
                    let breaks = !self.calm
                        && matches!(self.mood.answering(context.rng), Answering::Break | Answering::Truncated { .. } | Answering::Garbage);
                    serving.breaks_tunnel = breaks.then(|| context.rng.below(50_000));
                    serving.reader.go_raw();
                    context.send(
                        conn,
                        Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
                    );
                }
                Piece::Head(head) => {
                    let answering = if self.calm { Answering::AsAsked } else { self.mood.answering(context.rng) };
                    let Some(request) = arrived(self.cluster, &head, serving.request.is_some(), context) else { continue };
                    if serving.closing {
                        context.note(Observation::HostFault(request.id, "a request on a connection that it said it would close"));
                    }
                    if answering.is_fault() {
                        context.note(Observation::Disturbed(request.id));
                    }
                    if answering == Answering::Early {
                        context.wake(request.answer.delay, token(conn, ANSWER, 0));
                    }
                    (serving.read, serving.whole) = (0, false);
                    serving.request = Some((request, answering));
                }
                Piece::Body(range) => {
                    let Some((request, _)) = &serving.request else {
                        if serving.tunnel {
                            let bytes = Bytes::copy_from_slice(serving.reader.bytes(range));
                            echo(serving, conn, &bytes, context);
                        }
                        continue;
                    };
                    let bytes = serving.reader.bytes(range);
                    if !pattern::is_piece(request.id, serving.read, bytes) {
                        context.note(Observation::HostFault(request.id, "a body with other bytes"));
                    }
                    serving.read += bytes.len() as u64;
                }
                Piece::End => {
                    let Some((request, answering)) = &serving.request else { continue };
                    if serving.read != request.body {
                        context.note(Observation::HostFault(request.id, "a body of another length, as if it were whole"));
                    }
                    if serving.reader.trailer() != request.trailers.then_some(request.id) {
                        context.note(Observation::HostFault(request.id, "other trailers than were sent"));
                    }
                    context.note(Observation::ArrivedWhole(request.id));
                    serving.whole = true;
                    match answering {
                        Answering::Early | Answering::Never => {}
                        _ => context.wake(request.answer.delay, token(conn, ANSWER, 0)),
                    }
                }
            }
        }
    }

    fn answer(&mut self, conn: ConnNo, context: &mut Context<'_>) {
        let Some(serving) = self.conns.get_mut(&conn) else { return };
        let Some((request, answering)) = serving.request.take() else { return };
        let answer = &request.answer;
        serving.served += 1;
        if answering == Answering::Break {
            self.conns.remove(&conn);
            return context.reset(conn);
        }
        if answering == Answering::Garbage {
            context.send(conn, Bytes::from_static(b"\x00\x01HTTP/9.9 nonsense\r\n\r\n"));
            return;
        }
        let bytes = response(&request, context.rng);
        serving.closing = answer.closes;
        serving.ends = (answer.framing == Framing::Close && !request.is_bodyless()).then_some(false);
        if !serving.whole {
            // An answer before the end of the request is the last one on its connection.
            serving.ends = Some(false);
        }
        match answering {
            Answering::Slowly(size, _) => {
                let mut rest = bytes;
                let size = size.max(rest.len() / 100);
                while !rest.is_empty() {
                    serving.outgoing.push_back(rest.split_to(size.min(rest.len())));
                }
            }
            Answering::Truncated { reset } => {
                // Something is always missing, and what is there can be told from a whole.
                let keep = 1 + context.rng.below(bytes.len() as u64 - 1) as usize;
                serving.outgoing.push_back(bytes.slice(..keep));
                serving.ends = Some(reset || answer.framing == Framing::Close);
            }
            _ => serving.outgoing.push_back(bytes),
        }
        let pause = if let Answering::Slowly(_, pause) = answering { pause } else { 0 };
        self.send(conn, pause, context);
    }

    fn send(&mut self, conn: ConnNo, pause: Time, context: &mut Context<'_>) {
        let Some(serving) = self.conns.get_mut(&conn) else { return };
        if let Some(piece) = serving.outgoing.pop_front() {
            context.send(conn, piece);
        }
        if !serving.outgoing.is_empty() {
            return context.wake(pause, token(conn, SEND, pause));
        }
        match serving.ends {
            Some(true) => {
                self.conns.remove(&conn);
                context.reset(conn);
            }
            // What is still coming must not turn the close into a reset (RFC 9112 section 9.6).
            Some(false) if !serving.whole => context.finish(conn),
            Some(false) => {
                self.conns.remove(&conn);
                context.close(conn);
            }
            None if serving.closing => context.wake(2 * MS, token(conn, IDLE, serving.served)),
            None => {
                if let (Some(idle), false) = (self.mood.keeps_idle(), self.calm) {
                    context.wake(idle, token(conn, IDLE, serving.served));
                }
            }
        }
    }
}

/// Sends back what came through a tunnel, or breaks it.
fn echo(serving: &mut Serving, conn: ConnNo, bytes: &[u8], context: &mut Context<'_>) {
    match &mut serving.breaks_tunnel {
        Some(left) if *left < bytes.len() as u64 => context.reset(conn),
        Some(left) => {
            *left -= bytes.len() as u64;
            context.send(conn, Bytes::copy_from_slice(bytes));
        }
        None => context.send(conn, Bytes::copy_from_slice(bytes)),
    }
}

fn token(conn: ConnNo, kind: u64, detail: u64) -> u64 {
    kind | (conn as u64) << 2 | detail << 32
}

/// Checks a head that has come in; answers the request behind it.
fn arrived(cluster: usize, head: &Head, busy: bool, context: &mut Context<'_>) -> Option<Request> {
    let request = Request::of_target(&head.target, &head.method);
    let Some(request) = request else {
        context.note(Observation::HostFault(0, "a request that nobody may send"));
        return None;
    };
    if busy {
        context.note(Observation::HostFault(request.id, "a request before the one before it was answered"));
    }
    if head.id != Some(request.id) {
        context.note(Observation::HostFault(request.id, "the head of one request with the target of another"));
    }
    context.note(Observation::Arrived { id: request.id, cluster, versions: head.versions, attempt: head.attempt });
    Some(request)
}

fn response(request: &Request, rng: &mut Rng) -> Bytes {
    let answer = &request.answer;
    let mut head = String::new();
    if answer.hints {
        head.push_str("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    }
    head.push_str(&format!("HTTP/1.1 {} {}\r\nX-Id: {}\r\n", answer.status, reason_phrase(answer.status), request.id));
    if answer.closes && (request.is_bodyless() || answer.framing != Framing::Close) {
        head.push_str("Connection: close\r\n");
    }
    if !request.is_bodyless() {
        match answer.framing {
            Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", answer.body)),
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::Close => head.push_str("Connection: close\r\n"),
        }
    }
    head.push_str("\r\n");
    let len = if request.is_bodyless() { 0 } else { answer.body };
    let chunked = answer.framing == Framing::Chunked && !request.is_bodyless();
    body(&head, request.id, len, Coding::of(chunked, answer.trailers), rng)
}

impl Peer for Host {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Opened(conn) => {
                self.conns.insert(conn, Serving::default());
            }
            Input::Data(conn, bytes) => self.hear(conn, bytes, context),
            Input::End(conn) if self.streams.contains_key(&conn) => self.with_streams(conn, context, |streams, around| {
                streams.over(around);
                Fate::Over
            }),
            Input::End(conn) => {
                if self.conns.get(&conn).is_some_and(|serving| serving.tunnel) {
                    return context.finish(conn);
                }
                self.conns.remove(&conn);
                context.close(conn);
            }
            Input::Broken(conn) => {
                self.conns.remove(&conn);
                self.streams.remove(&conn);
            }
            Input::Wake(token) => {
                let conn = (token >> 2 & 0x3fff_ffff) as ConnNo;
                match token & 3 {
                    ANSWER => self.answer(conn, context),
                    SEND => self.send(conn, token >> 32, context),
                    STREAM => self.with_streams(conn, context, |streams, around| streams.wake(token >> 32, around)),
                    IDLE => {
                        let idle =
                            |serving: &Serving| serving.request.is_none() && !serving.reader.is_within() && serving.served == token >> 32;
                        if self.conns.get(&conn).is_some_and(idle) {
                            self.conns.remove(&conn);
                            context.close(conn);
                        }
                    }
                    _ => {}
                }
            }
            Input::Calm => self.calm = true,
            Input::Start | Input::Refused(_) => {}
        }
    }
}
