//! Several requests at once on one HTTP/2 connection: asked, read, paused, reset and left. It says what became of each,
//! as [`super::Session`] does for HTTP/1.

mod manners;

pub use manners::{Manners, draw, exact};

use crate::check::own_answer::OTHER;
use crate::event::Time;
use crate::observe::{Observation, Outcome};
use crate::pattern;
use crate::peer::{ConnNo, Context, Input, Peer};
use crate::request::Request;
use crate::talk::{self, Talk};
use crate::wire::Head;
use bytes::Bytes;
use h2::Reason;
use std::collections::VecDeque;
use weir_core::http2::{ResetBy, SessionEvent, StreamKey};

const NEXT: u64 = 0;
const SEND: u64 = 1;
const READ: u64 = 2;
const RESUME: u64 = 3;
const RESET: u64 = 4;
const LEAVE: u64 = 5;

/// A client.
#[derive(Debug)]
pub struct Streams {
    manners: Manners,
    todo: VecDeque<Request>,
    conn: Option<ConnNo>,
    /// Once the connection is open.
    talk: Option<Talk>,
    asked: Vec<Asked>,
    paused: bool,
    /// The proxy has answered: its settings are known.
    heard: bool,
}

/// One stream.
#[derive(Debug)]
struct Asked {
    request: Request,
    key: StreamKey,
    head: Option<Head>,
    begun: bool,
    received: u64,
    /// Bytes of the request's body that the session was given; the end, if `ended`.
    given: u64,
    ended: bool,
    /// All of it is on its way.
    whole: bool,
}

impl Streams {
    /// A client that will ask `todo`.
    pub fn new(manners: Manners, todo: impl IntoIterator<Item = Request>) -> Streams {
        Streams { manners, todo: todo.into_iter().collect(), conn: None, talk: None, asked: Vec::new(), paused: false, heard: false }
    }

    /// Whether it keeps its connection when it has no more to ask.
    pub fn lingers(&mut self, lingers: bool) {
        self.manners.lingers = lingers;
    }

    fn token(&self, kind: u64, id: u64) -> u64 {
        kind | (self.conn.map_or((1 << 28) - 1, |conn| conn as u64)) << 4 | id << 32
    }

    fn think(&self, context: &mut Context<'_>) {
        let (from, to) = self.manners.think;
        let pause = from + context.rng.below(to - from + 1);
        context.wake(pause, self.token(NEXT, 0));
    }

    /// As often as `of` says, something happens to a request soon.
    fn maybe(&self, of: Option<(u32, Time)>, kind: u64, id: u64, context: &mut Context<'_>) -> bool {
        let Some((percent, within)) = of else { return false };
        let happens = context.rng.below(100) < u64::from(percent);
        if happens {
            let after = context.rng.below(within);
            context.wake(after, self.token(kind, id));
        }
        happens
    }

    fn ask_next(&mut self, context: &mut Context<'_>) {
        if self.todo.is_empty() {
            if self.asked.is_empty() && !self.manners.lingers {
                self.leave(Outcome::Left, context);
            }
            return;
        }
        if self.conn.is_none() {
            self.conn = Some(context.connect());
            return;
        }
        while self.asked.len() < self.manners.depth
            && let Some(talk) = self.talk.as_mut().filter(|talk| talk.session.room() > 0)
            // `h2` takes the trailers of a stream that it has refused for a breach of the protocol.
            && let Some(request) = self.todo.pop_front_if(|request| self.heard || !request.trailers || self.asked.is_empty())
        {
            let Some(key) = talk.ask(&request, context.now) else {
                self.todo.push_front(request);
                break;
            };
            let id = request.id;
            context.note(Observation::Sent(id));
            self.maybe(self.manners.resets, RESET, id, context);
            self.maybe(self.manners.leaves, LEAVE, id, context);
            let ended = request.body == 0 && !request.trailers;
            self.asked.push(Asked { request, key, head: None, begun: false, received: 0, given: 0, ended, whole: false });
            self.give(id, context);
        }
        self.work(context);
    }

    /// Gives the session more of a request's body.
    fn give(&mut self, id: u64, context: &mut Context<'_>) {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.request.id == id) else { return };
        let (Some(talk), false) = (&mut self.talk, asked.ended) else { return };
        let limit = self.manners.pieces.map_or(u64::MAX, |(size, _)| (size as u64).max(asked.request.body / 200));
        let until = asked.request.body.min(asked.given.saturating_add(limit));
        while asked.given < until {
            let piece = pattern::piece(id, asked.given, (until - asked.given) as usize);
            talk.session.push(asked.key, Bytes::from_static(piece));
            asked.given += piece.len() as u64;
        }
        if asked.given == asked.request.body {
            asked.ended = true;
            talk.session.end(asked.key, asked.request.trailers.then(|| talk::trailers(id)));
        } else if let Some((_, pause)) = self.manners.pieces {
            context.wake(pause, self.token(SEND, id));
        }
    }

    /// Hears and says all that there is.
    fn work(&mut self, context: &mut Context<'_>) {
        let mut closed = false;
        while let (Some(talk), Some(conn)) = (&mut self.talk, self.conn) {
            if let Some(event) = talk.poll(context.now) {
                closed |= matches!(event, SessionEvent::Closed { .. });
                if closed {
                    self.take_all();
                }
                self.event(event, context);
            } else if let Some(bytes) = talk.said(context.now) {
                context.send(conn, bytes);
            } else if !talk.session.has_events() {
                break;
            }
        }
        let Some(talk) = &self.talk else { return };
        for asked in self.asked.iter_mut().filter(|asked| asked.ended && !asked.whole && talk.session.queued(asked.key) == 0) {
            asked.whole = true;
            context.note(Observation::SentWhole(asked.request.id));
        }
        if closed {
            self.leave(Outcome::Closed, context);
            self.think(context);
        } else if talk.session.is_leaving() && self.asked.is_empty() {
            self.leave(Outcome::Left, context);
            self.think(context);
        }
    }

    fn event(&mut self, event: SessionEvent, context: &mut Context<'_>) {
        let stream = match &event {
            SessionEvent::Closed { error } => {
                if error.as_ref().is_some_and(|error| error.contains("detected")) {
                    context.note(Observation::ClientFault(0, "what breaks HTTP/2"));
                }
                return;
            }
            SessionEvent::Interim { stream, .. }
            | SessionEvent::Response { stream, .. }
            | SessionEvent::Data { stream, .. }
            | SessionEvent::End { stream, .. }
            | SessionEvent::Reset { stream, .. }
            | SessionEvent::Request { stream, .. } => *stream,
        };
        let Some(at) = self.asked.iter().position(|asked| asked.key == stream) else { return };
        let asked = &mut self.asked[at];
        let id = asked.request.id;
        match event {
            SessionEvent::Interim { .. } => asked.begun = true,
            SessionEvent::Response { head, end, .. } => {
                let head = talk::response_head(&head);
                if head.id.is_some_and(|of| of != id) {
                    context.note(Observation::ClientFault(id, OTHER));
                }
                (asked.begun, asked.head) = (true, Some(head));
                if end {
                    self.answered(at, None, context);
                } else if self.maybe(self.manners.stream_pause, RESUME, id, context)
                    && let Some(talk) = &mut self.talk
                {
                    talk.session.set_paused(stream, true);
                }
            }
            SessionEvent::Data { piece, .. } => {
                if asked.head.as_ref().is_some_and(|head| head.id.is_some()) && !pattern::is_piece(id, asked.received, &piece) {
                    context.note(Observation::ClientFault(id, "a body with other bytes"));
                }
                asked.received += piece.len() as u64;
            }
            SessionEvent::End { trailers, .. } => self.answered(at, talk::trailer(trailers.as_deref()), context),
            SessionEvent::Reset { by, .. } => self.reset(at, by, context),
            SessionEvent::Request { .. } | SessionEvent::Closed { .. } => {}
        }
    }

    fn answered(&mut self, at: usize, trailer: Option<u64>, context: &mut Context<'_>) {
        let asked = self.asked.remove(at);
        self.heard = true;
        let (request, id) = (&asked.request, asked.request.id);
        if let Some(talk) = &mut self.talk {
            match asked.ended && talk.session.queued(asked.key) == 0 {
                true => talk.session.release(asked.key),
                false => talk.session.reset(asked.key, Reason::CANCEL),
            }
        }
        let Some(head) = asked.head else { return };
        let outcome = match head.id {
            None => Outcome::Local { status: head.status },
            Some(_) => {
                let expected = if request.is_bodyless() { 0 } else { request.answer.body };
                if head.status != request.answer.status {
                    context.note(Observation::ClientFault(id, "another status than the upstream's"));
                }
                if trailer != request.is_answered_with_trailers().then_some(id) {
                    context.note(Observation::ClientFault(id, "other trailers than were sent"));
                }
                if asked.received != expected {
                    context.note(Observation::ClientFault(id, "a body of another length, as if it were whole"));
                }
                Outcome::Answered { status: head.status }
            }
        };
        context.note(Observation::Ended(id, outcome));
        self.think(context);
    }

    /// The proxy has reset a stream.
    fn reset(&mut self, at: usize, by: ResetBy, context: &mut Context<'_>) {
        let asked = self.asked.remove(at);
        let id = asked.request.id;
        if let Some(talk) = &mut self.talk {
            talk.session.reset(asked.key, Reason::CANCEL);
        }
        match by {
            // It was not looked at: it is asked again.
            ResetBy::Refused => {
                context.note(Observation::Again(id));
                self.todo.push_front(asked.request);
            }
            ResetBy::Us(_) => {
                context.note(Observation::ClientFault(id, "what breaks HTTP/2"));
                context.note(Observation::Ended(id, Outcome::Cut));
            }
            // Not to be asked again, unlike what a closed connection leaves unanswered: the client sees that it has failed.
            ResetBy::Peer(_) => context.note(Observation::Ended(id, Outcome::Cut)),
            ResetBy::Closed => context.note(Observation::Ended(id, if asked.begun { Outcome::Cut } else { Outcome::Closed })),
        }
        self.think(context);
    }

    /// Leaves its connection. What was asked on it ends so.
    fn leave(&mut self, outcome: Outcome, context: &mut Context<'_>) {
        if let Some(conn) = self.conn.take() {
            context.close(conn);
        }
        self.forget(&outcome, context);
    }

    fn forget(&mut self, outcome: &Outcome, context: &mut Context<'_>) {
        (self.conn, self.talk, self.paused) = (None, None, false);
        for asked in self.asked.drain(..) {
            let cut = asked.begun && *outcome == Outcome::Closed;
            context.note(Observation::Ended(asked.request.id, if cut { Outcome::Cut } else { outcome.clone() }));
        }
    }

    /// Takes what has come of all answers.
    fn take_all(&mut self) {
        if let Some(talk) = &mut self.talk {
            for asked in &self.asked {
                talk.session.set_paused(asked.key, false);
            }
        }
    }

    /// The connection has ended. What has come before the end is read first.
    fn over(&mut self, context: &mut Context<'_>) {
        if let Some(talk) = &mut self.talk {
            talk.session.recv_eof();
        }
        self.take_all();
        self.work(context);
        if self.conn.is_some() {
            self.leave(Outcome::Closed, context);
            self.think(context);
        }
    }

    fn wake(&mut self, kind: u64, id: u64, context: &mut Context<'_>) {
        let at = self.asked.iter().position(|asked| asked.request.id == id);
        match (kind, at, &mut self.talk) {
            (NEXT, ..) => return self.ask_next(context),
            (SEND, ..) => self.give(id, context),
            (READ, ..) => {
                self.paused = false;
                if let Some(conn) = self.conn {
                    context.read(conn, true);
                }
            }
            (RESUME, Some(at), Some(talk)) => {
                talk.session.set_paused(self.asked[at].key, false);
            }
            (RESET, Some(at), Some(talk)) => {
                talk.session.reset(self.asked.remove(at).key, Reason::CANCEL);
                context.note(Observation::Ended(id, Outcome::Left));
                self.think(context);
            }
            (LEAVE, Some(_), Some(_)) => {
                if let Some(conn) = self.conn.take() {
                    if context.rng.below(2) == 0 { context.reset(conn) } else { context.close(conn) }
                }
                self.forget(&Outcome::Left, context);
                return self.think(context);
            }
            _ => {}
        }
        self.work(context);
    }
}

impl Peer for Streams {
    fn speaks_http2(&self) -> bool {
        true
    }

    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Start => context.wake(self.manners.start, self.token(NEXT, 0)),
            Input::Opened(conn) if self.conn == Some(conn) => {
                (self.talk, self.heard) = (Some(Talk::client(&self.manners.options)), false);
                self.ask_next(context);
            }
            Input::Refused(conn) if self.conn == Some(conn) => {
                self.forget(&Outcome::Refused, context);
                // Nobody listens any more: nothing that was to be asked will be.
                for request in self.todo.drain(..) {
                    context.note(Observation::Ended(request.id, Outcome::Refused));
                }
            }
            Input::Data(conn, bytes) if self.conn == Some(conn) => {
                if let Some(talk) = &mut self.talk {
                    talk.hear(bytes);
                }
                self.work(context);
                if let (Some(pause), Some(conn), false) = (self.manners.read_pause, self.conn, self.paused) {
                    self.paused = true;
                    context.read(conn, false);
                    context.wake(pause, self.token(READ, 0));
                }
            }
            Input::End(conn) | Input::Broken(conn) if self.conn == Some(conn) => self.over(context),
            Input::Wake(token) if token >> 4 & 0xfff_ffff == self.token(0, 0) >> 4 => self.wake(token & 15, token >> 32, context),
            _ => {}
        }
    }
}
