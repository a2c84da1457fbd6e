//! Clients. One file each; this one holds what they share: a session that asks its requests one after the other or
//! several at once, reads the answers, and says what became of each.

pub mod aborting;
pub mod hostile;
pub mod keep_alive;
pub mod misfit;
pub mod pipelining;
pub mod slow;
pub mod streams;
pub mod upgrading;

use crate::event::Time;
use crate::observe::{Observation, Outcome};
use crate::pattern;
use crate::peer::{ConnNo, Context, Input, Peer};
use crate::request::Request;
use crate::wire::{Head, Piece, Reader};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use weir_core::rng::Rng;

/// How a session behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manners {
    /// When it begins.
    pub start: Time,
    /// Requests under way at once on its connection.
    pub depth: usize,
    /// From an answer to the next request, from and to.
    pub think: (Time, Time),
    /// Sends so many bytes at once, and waits so long between.
    pub pieces: Option<(usize, Time)>,
    /// After each read it reads nothing for so long.
    pub read_pause: Option<Time>,
    /// How often in a hundred requests it leaves within so long.
    pub leaves: Option<(u32, Time)>,
    /// Ends its sending side with its last request.
    pub half_closes: bool,
    /// Keeps its connection when it has no more to ask.
    pub lingers: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Manners {
            start: 0,
            depth: 1,
            think: (0, 1_000_000),
            pieces: None,
            read_pause: None,
            leaves: None,
            half_closes: false,
            lingers: true,
        }
    }
}

const NEXT: u64 = 0;
const SEND: u64 = 1;
const READ: u64 = 2;
const LEAVE: u64 = 3;

/// A client that asks a list of requests.
#[derive(Debug)]
pub struct Session {
    manners: Manners,
    todo: VecDeque<Request>,
    conn: Option<ConnNo>,
    open: bool,
    reader: Reader,
    asked: VecDeque<Asked>,
    outgoing: VecDeque<Outgoing>,
    paused: bool,
}

#[derive(Debug)]
struct Asked {
    request: Request,
    head: Option<Head>,
    received: u64,
    sent: bool,
    begun: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Bytes,
    first_of: Option<u64>,
    last_of: Option<u64>,
}

impl Session {
    /// A session that will ask `todo`.
    pub fn new(manners: Manners, todo: impl IntoIterator<Item = Request>) -> Session {
        Session {
            manners,
            todo: todo.into_iter().collect(),
            conn: None,
            open: false,
            reader: Reader::default(),
            asked: VecDeque::new(),
            outgoing: VecDeque::new(),
            paused: false,
        }
    }

    fn token(&self, kind: u64) -> u64 {
        kind | (self.conn.map_or(u64::MAX >> 2, |conn| conn as u64) << 2)
    }

    fn think(&self, kind: u64, context: &mut Context<'_>) {
        let (from, to) = self.manners.think;
        let pause = from + context.rng.below(to - from + 1);
        context.wake(pause, self.token(kind));
    }

    fn ask_next(&mut self, context: &mut Context<'_>) {
        if self.todo.is_empty() {
            if self.asked.is_empty() && !self.manners.lingers {
                self.leave(Outcome::Left, context);
            }
            return;
        }
        let Some(conn) = self.conn else {
            self.conn = Some(context.connect());
            self.reader = Reader::default();
            return;
        };
        if !self.open {
            return;
        }
        while self.asked.len() < self.manners.depth
            && let Some(request) = self.todo.pop_front()
        {
            if let Some((percent, within)) = self.manners.leaves
                && context.rng.below(100) < u64::from(percent)
            {
                let after = context.rng.below(within);
                context.wake(after, self.token(LEAVE));
            }
            self.queue(&request, context.rng);
            self.asked.push_back(Asked { request, head: None, received: 0, sent: false, begun: false });
        }
        self.send(context);
        if self.manners.half_closes && self.todo.is_empty() && self.outgoing.is_empty() {
            context.finish(conn);
        }
    }

    fn queue(&mut self, request: &Request, rng: &mut Rng) {
        let bytes = message(&request.head(), request, rng);
        let size = self.manners.pieces.map_or(usize::MAX, |(size, _)| size.max(bytes.len() / 200));
        let mut rest = bytes;
        let mut first_of = Some(request.id);
        while !rest.is_empty() {
            let bytes = rest.split_to(size.min(rest.len()));
            let last_of = rest.is_empty().then_some(request.id);
            self.outgoing.push_back(Outgoing { bytes, first_of: first_of.take(), last_of });
        }
    }

    fn send(&mut self, context: &mut Context<'_>) {
        let Some(conn) = self.conn else { return };
        while let Some(piece) = self.outgoing.pop_front() {
            if let Some(id) = piece.first_of {
                context.note(Observation::Sent(id));
            }
            context.send(conn, piece.bytes);
            if let Some(id) = piece.last_of {
                context.note(Observation::SentWhole(id));
                if let Some(asked) = self.asked.iter_mut().find(|asked| asked.request.id == id) {
                    asked.sent = true;
                }
            }
            if let Some((_, pause)) = self.manners.pieces
                && !self.outgoing.is_empty()
            {
                return context.wake(pause, self.token(SEND));
            }
        }
    }

    fn data(&mut self, bytes: &[u8], context: &mut Context<'_>) {
        self.reader.push(bytes);
        let mut answered = false;
        loop {
            let bodyless = self.asked.front().is_some_and(|asked| asked.request.method == crate::request::Method::Head);
            let Some(piece) = self.reader.next(bodyless) else { break };
            let Some(asked) = self.asked.front_mut() else {
                context.note(Observation::ClientFault(0, "bytes that answer nothing"));
                return self.leave(Outcome::Left, context);
            };
            let id = asked.request.id;
            asked.begun = true;
            match piece {
                Piece::Wrong(why) => {
                    context.note(Observation::ClientFault(id, why));
                    return self.leave(Outcome::Cut, context);
                }
                Piece::Head(head) => {
                    if head.id.is_some_and(|of| of != id) {
                        context.note(Observation::ClientFault(id, "the answer to another request"));
                    }
                    if head.status >= 200 {
                        asked.head = Some(head);
                    }
                }
                Piece::Body(range) => {
                    let bytes = self.reader.bytes(range);
                    if asked.head.as_ref().is_some_and(|head| head.id.is_some()) && !pattern::is_piece(id, asked.received, bytes) {
                        context.note(Observation::ClientFault(id, "a body with other bytes"));
                    }
                    asked.received += bytes.len() as u64;
                }
                Piece::End => answered |= self.answered(context),
            }
            if self.conn.is_none() {
                return;
            }
        }
        if answered {
            self.think(NEXT, context);
        }
        if let (Some(pause), Some(conn)) = (self.manners.read_pause, self.conn)
            && !self.paused
        {
            self.paused = true;
            context.read(conn, false);
            context.wake(pause, self.token(READ));
        }
    }

    /// A message has ended; true if it was the answer to a request and the connection goes on.
    fn answered(&mut self, context: &mut Context<'_>) -> bool {
        let Some(head) = self.asked.front_mut().and_then(|asked| asked.head.take()) else { return false };
        let Some(asked) = self.asked.pop_front() else { return false };
        let (request, id) = (&asked.request, asked.request.id);
        let outcome = match head.id {
            None => Outcome::Local { status: head.status },
            Some(_) => {
                let expected = if request.is_bodyless() { 0 } else { request.answer.body };
                if head.status != request.answer.status {
                    context.note(Observation::ClientFault(id, "another status than the upstream's"));
                }
                if self.reader.trailer() != request.is_answered_with_trailers().then_some(id) {
                    context.note(Observation::ClientFault(id, "other trailers than were sent"));
                }
                if asked.received != expected {
                    context.note(Observation::ClientFault(id, "a body of another length, as if it were whole"));
                }
                Outcome::Answered { status: head.status }
            }
        };
        context.note(Observation::Ended(id, outcome));
        if head.close || !asked.sent {
            self.ask_again(context);
            self.think(NEXT, context);
            return false;
        }
        true
    }

    /// Leaves its connection, which has served its last request. What was asked behind that is asked again.
    fn ask_again(&mut self, context: &mut Context<'_>) {
        for asked in self.asked.drain(..).rev() {
            context.note(Observation::Again(asked.request.id));
            self.todo.push_front(asked.request);
        }
        self.outgoing.clear();
        self.leave(Outcome::Left, context);
    }

    /// Leaves its connection. What was asked on it ends so.
    fn leave(&mut self, outcome: Outcome, context: &mut Context<'_>) {
        if let Some(conn) = self.conn.take() {
            context.close(conn);
        }
        self.forget(outcome, context);
    }

    fn forget(&mut self, outcome: Outcome, context: &mut Context<'_>) {
        self.conn = None;
        self.open = false;
        self.paused = false;
        // What was never sent is asked on the next connection.
        let unsent: Vec<u64> = self.outgoing.drain(..).filter_map(|piece| piece.first_of).collect();
        for asked in self.asked.drain(..).rev() {
            if unsent.contains(&asked.request.id) {
                self.todo.push_front(asked.request);
                continue;
            }
            let cut = asked.begun && outcome == Outcome::Closed;
            context.note(Observation::Ended(asked.request.id, if cut { Outcome::Cut } else { outcome.clone() }));
        }
    }
}

/// A whole request or response: head and body.
pub(crate) fn message(head: &str, request: &Request, rng: &mut Rng) -> Bytes {
    body(head, request.id, request.body, Coding::of(request.chunked, request.trailers), rng)
}

/// How a body is written in HTTP/1.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Chunked { trailers: bool },
}

impl Coding {
    pub(crate) fn of(chunked: bool, trailers: bool) -> Coding {
        if chunked { Coding::Chunked { trailers } } else { Coding::Plain }
    }
}

/// `head`, and a body that belongs to `id`.
pub(crate) fn body(head: &str, id: u64, len: u64, coding: Coding, rng: &mut Rng) -> Bytes {
    let chunked = coding != Coding::Plain;
    let mut out = BytesMut::with_capacity(head.len() + len as usize + 64);
    out.put_slice(head.as_bytes());
    let mut offset = 0;
    while offset < len {
        let limit = if chunked { 1 + rng.below(20_000) } else { len };
        let piece = pattern::piece(id, offset, (len - offset).min(limit) as usize);
        if chunked {
            out.put_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        out.put_slice(piece);
        if chunked {
            out.put_slice(b"\r\n");
        }
        offset += piece.len() as u64;
    }
    match coding {
        Coding::Plain => {}
        Coding::Chunked { trailers: false } => out.put_slice(b"0\r\n\r\n"),
        Coding::Chunked { trailers: true } => out.put_slice(format!("0\r\nX-End: {id}\r\n\r\n").as_bytes()),
    }
    out.freeze()
}

impl Peer for Session {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Start => context.wake(self.manners.start, self.token(NEXT)),
            Input::Opened(conn) if self.conn == Some(conn) => {
                self.open = true;
                self.ask_next(context);
            }
            Input::Refused(conn) if self.conn == Some(conn) => {
                self.forget(Outcome::Refused, context);
                // Nobody listens any more: nothing that was to be asked will be.
                for request in self.todo.drain(..) {
                    context.note(Observation::Ended(request.id, Outcome::Refused));
                }
            }
            Input::Data(conn, bytes) if self.conn == Some(conn) => self.data(bytes, context),
            Input::End(conn) | Input::Broken(conn) if self.conn == Some(conn) => {
                self.leave(Outcome::Closed, context);
                self.think(NEXT, context);
            }
            Input::Wake(token) if token >> 2 == self.token(0) >> 2 => match token & 3 {
                NEXT => self.ask_next(context),
                SEND => self.send(context),
                READ => {
                    self.paused = false;
                    if let Some(conn) = self.conn {
                        context.read(conn, true);
                    }
                }
                _ if self.asked.is_empty() => {}
                _ => {
                    if let Some(conn) = self.conn.take() {
                        match context.rng.below(2) {
                            0 => context.reset(conn),
                            _ => context.close(conn),
                        }
                    }
                    self.forget(Outcome::Left, context);
                    self.think(NEXT, context);
                }
            },
            _ => {}
        }
    }
}
