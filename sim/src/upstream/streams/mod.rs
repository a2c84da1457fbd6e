//! One HTTP/2 connection of a host: requests come on streams of their own and are answered as their targets say, or as
//! the host's mood makes it. [`super::Host`] owns it and tells it what happens.

mod answer;

use super::{Answering, Mood, arrived};
use crate::event::{MS, Time};
use crate::observe::Observation;
use crate::pattern;
use crate::peer::{ConnNo, Context};
use crate::request::Request;
use crate::talk::{self, Talk};
use crate::wire::Head;
use bytes::Bytes;
use h2::Reason;
use std::collections::BTreeMap;
use weir_core::http2::{Http2Options, ResetBy, SessionEvent, StreamKey};
use weir_core::limit;
use weir_core::rng::Rng;

/// What the connection hears of its host and of the world.
pub(super) struct Around<'a, 'c> {
    pub(super) cluster: usize,
    pub(super) mood: &'a mut dyn Mood,
    pub(super) calm: bool,
    pub(super) conn: ConnNo,
    pub(super) context: &'a mut Context<'c>,
}

/// Whether the connection goes on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    GoesOn,
    /// It was closed or reset.
    Over,
}

pub(super) const ANSWER: u64 = 0;
const SEND: u64 = 1;
const RESUME: u64 = 2;
const IDLE: u64 = 3;

/// One connection.
#[derive(Debug)]
pub(super) struct Streams {
    talk: Talk,
    asked: BTreeMap<u64, Asked>,
    tunnels: BTreeMap<StreamKey, Option<u64>>,
    next: u64,
    /// Requests that were answered: what has not arrived of their answers is lost if the connection breaks.
    served: Vec<u64>,
    /// Number of the last stream that was looked at.
    last: u32,
    /// GOAWAY was said: nothing behind `last` is looked at.
    leaves: bool,
    /// It sends no more.
    finished: bool,
    /// How often in a hundred it leaves a body where it is, and for how long.
    pauses: (u64, Time),
    /// To be reset, once what they were given is sent.
    resets: Vec<(StreamKey, Reason)>,
    /// What breaks HTTP/2 is the proxy's fault.
    strict: bool,
    fate: Fate,
}

#[derive(Debug)]
struct Asked {
    key: StreamKey,
    request: Request,
    answering: Answering,
    read: u64,
    whole: bool,
    begun: bool,
    given: u64,
    done: bool,
}

impl Streams {
    pub(super) fn new(max_concurrent_streams: u32, rng: &mut Rng) -> Streams {
        let options = Http2Options { max_concurrent_streams, ..talk::draw_options(65_535, rng) };
        Streams {
            talk: Talk::server(&options),
            asked: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            next: 0,
            served: Vec::new(),
            last: 0,
            leaves: false,
            finished: false,
            pauses: if rng.below(3) == 0 { (20, 1 + rng.below(20 * MS)) } else { (0, 1) },
            resets: Vec::new(),
            // `h2` takes the trailers of a stream that it has refused for a breach of the protocol.
            strict: max_concurrent_streams >= limit::STREAMS_BEFORE_SETTINGS as u32,
            fate: Fate::GoesOn,
        }
    }

    /// Bytes have come.
    pub(super) fn hear(&mut self, bytes: &[u8], around: &mut Around<'_, '_>) -> Fate {
        self.talk.hear(bytes);
        self.work(around)
    }

    /// The proxy sends no more: what has come is read, then all is over.
    pub(super) fn over(&mut self, around: &mut Around<'_, '_>) {
        self.talk.session.recv_eof();
        self.work(around);
        around.context.close(around.conn);
    }

    /// Time is up.
    pub(super) fn wake(&mut self, detail: u64, around: &mut Around<'_, '_>) -> Fate {
        let (what, number) = (detail & 3, detail >> 2);
        match what {
            ANSWER => self.answer(number, around),
            SEND => self.give(number, around),
            IDLE if self.is_idle() && self.next == number && !self.leaves => match around.context.rng.below(2) {
                0 => self.finish(around),
                _ => self.talk.session.leave(),
            },
            RESUME => {
                if let Some(asked) = self.asked.get(&number) {
                    self.talk.session.set_paused(asked.key, false);
                }
            }
            _ => {}
        }
        self.work(around)
    }

    fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.tunnels.is_empty() && self.talk.session.streams() == 0
    }

    fn token(conn: ConnNo, what: u64, number: u64) -> u64 {
        super::token(conn, super::STREAM, number << 2 | what)
    }

    /// Hears and says all that there is.
    fn work(&mut self, around: &mut Around<'_, '_>) -> Fate {
        while self.fate == Fate::GoesOn {
            if let Some(event) = self.talk.poll(around.context.now) {
                self.event(event, around);
            } else if let Some(bytes) = self.talk.said(around.context.now) {
                around.context.send(around.conn, bytes);
            } else if self.talk.session.has_events() {
                // What was given to the session is on its way only once it was asked.
            } else if let Some(at) = self.resets.iter().position(|(key, _)| self.talk.session.queued(*key) == 0) {
                let (key, reason) = self.resets.swap_remove(at);
                self.talk.session.reset(key, reason);
            } else {
                break;
            }
        }
        if self.fate == Fate::GoesOn && self.leaves && self.is_idle() {
            self.finish(around);
        }
        self.fate
    }

    /// Sends no more. What is still coming must not turn that into a reset: it is read until the proxy closes.
    fn finish(&mut self, around: &mut Around<'_, '_>) {
        for asked in self.asked.values() {
            around.context.note(Observation::Disturbed(asked.request.id));
        }
        self.asked.clear();
        if !std::mem::replace(&mut self.finished, true) {
            around.context.finish(around.conn);
        }
    }

    /// The connection ends, and with it all that is under way.
    fn end(&mut self, reset: bool, around: &mut Around<'_, '_>) {
        for id in self.asked.values().map(|asked| asked.request.id).chain(self.served.drain(..)) {
            around.context.note(Observation::Disturbed(id));
        }
        if reset {
            around.context.reset(around.conn)
        } else {
            around.context.close(around.conn)
        }
        self.fate = Fate::Over;
    }

    fn number(&self, key: StreamKey) -> Option<u64> {
        self.asked.iter().find(|(_, asked)| asked.key == key).map(|(number, _)| *number)
    }

    fn event(&mut self, event: SessionEvent, around: &mut Around<'_, '_>) {
        match event {
            SessionEvent::Request { stream, head, end } => self.request(stream, &head, end, around),
            SessionEvent::Data { stream, piece } => self.data(stream, piece, around),
            SessionEvent::End { stream, trailers } => self.whole(stream, talk::trailer(trailers.as_deref()), around),
            SessionEvent::Reset { stream, by } => {
                if let Some(asked) = self.number(stream).and_then(|number| self.asked.remove(&number)) {
                    if self.strict && matches!(by, ResetBy::Us(_)) {
                        around.context.note(Observation::HostFault(asked.request.id, "what breaks HTTP/2"));
                    }
                    self.served.push(asked.request.id);
                }
                self.tunnels.remove(&stream);
                self.resets.retain(|(key, _)| *key != stream);
                self.talk.session.reset(stream, Reason::CANCEL);
            }
            SessionEvent::Closed { error } => {
                if self.strict && error.is_some_and(|error| error.contains("detected")) {
                    around.context.note(Observation::HostFault(0, "what breaks HTTP/2"));
                }
                while let Some(bytes) = self.talk.said(around.context.now) {
                    around.context.send(around.conn, bytes);
                }
                self.finish(around);
            }
            SessionEvent::Interim { .. } | SessionEvent::Response { .. } => {}
        }
    }

    fn request(&mut self, key: StreamKey, head: &http::Request<()>, end: bool, around: &mut Around<'_, '_>) {
        let number = self.talk.session.number(key).unwrap_or_default();
        let head = talk::request_head(head);
        if self.leaves && number > self.last {
            return Self::overlook(&head, around);
        }
        let answering = if around.calm { Answering::AsAsked } else { around.mood.answering(around.context.rng) };
        if head.upgrade {
            return self.tunnel(key, answering, around);
        }
        if answering == Answering::Refuse {
            self.talk.session.reset(key, Reason::REFUSED_STREAM);
            return Self::overlook(&head, around);
        }
        let Some(request) = arrived(around.cluster, &head, false, around.context) else { return };
        self.last = self.last.max(number);
        if answering.is_fault() {
            around.context.note(Observation::Disturbed(request.id));
        }
        if answering == Answering::Leave && !self.leaves && !self.talk.session.has_left() {
            self.leaves = true;
            // What was said before it goes before it.
            while let Some(bytes) = self.talk.said(around.context.now) {
                around.context.send(around.conn, bytes);
            }
            around.context.send(around.conn, talk::goaway(self.last));
        }
        let (number, conn) = (self.next, around.conn);
        self.next += 1;
        if answering == Answering::Early {
            around.context.wake(request.answer.delay, Self::token(conn, ANSWER, number));
        }
        if !end && around.context.rng.below(100) < self.pauses.0 {
            self.talk.session.set_paused(key, true);
            around.context.wake(self.pauses.1, Self::token(conn, RESUME, number));
        }
        self.asked.insert(number, Asked { key, request, answering, read: 0, whole: false, begun: false, given: 0, done: false });
        if end {
            self.whole(key, None, around);
        }
    }

    /// The proxy knows that a request is not looked at. It sends it again if it still has all of it.
    fn overlook(head: &Head, around: &mut Around<'_, '_>) {
        if let Some(request) = Request::of_target(&head.target, &head.method).filter(|request| request.body > 500) {
            around.context.note(Observation::Disturbed(request.id));
        }
    }

    fn data(&mut self, key: StreamKey, piece: Bytes, around: &mut Around<'_, '_>) {
        if let Some(left) = self.tunnels.get_mut(&key) {
            match left {
                Some(left) if *left < piece.len() as u64 => {
                    self.tunnels.remove(&key);
                    return self.talk.session.reset(key, Reason::INTERNAL_ERROR);
                }
                Some(left) => *left -= piece.len() as u64,
                None => {}
            }
            self.talk.session.push(key, piece);
            return;
        }
        let Some(asked) = self.number(key).and_then(|number| self.asked.get_mut(&number)) else { return };
        if !pattern::is_piece(asked.request.id, asked.read, &piece) {
            around.context.note(Observation::HostFault(asked.request.id, "a body with other bytes"));
        }
        asked.read += piece.len() as u64;
    }

    fn whole(&mut self, key: StreamKey, trailer: Option<u64>, around: &mut Around<'_, '_>) {
        if self.tunnels.remove(&key).is_some() {
            self.talk.session.end(key, None);
            return self.talk.session.release(key);
        }
        let Some(number) = self.number(key) else { return };
        let Some(asked) = self.asked.get_mut(&number) else { return };
        let request = &asked.request;
        if asked.read != request.body {
            around.context.note(Observation::HostFault(request.id, "a body of another length, as if it were whole"));
        }
        if trailer != request.trailers.then_some(request.id) {
            around.context.note(Observation::HostFault(request.id, "other trailers than were sent"));
        }
        around.context.note(Observation::ArrivedWhole(request.id));
        asked.whole = true;
        if asked.done {
            return self.finished(number, around);
        }
        if !matches!(asked.answering, Answering::Early | Answering::Never) {
            around.context.wake(asked.request.answer.delay, Self::token(around.conn, ANSWER, number));
        }
    }

    fn tunnel(&mut self, key: StreamKey, answering: Answering, around: &mut Around<'_, '_>) {
        let breaks = matches!(answering, Answering::Break | Answering::Truncated { .. } | Answering::Garbage);
        self.tunnels.insert(key, breaks.then(|| around.context.rng.below(50_000)));
        self.talk.session.respond(key, http::Response::new(()));
    }
}
