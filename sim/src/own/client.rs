//! A client of a user's own world: one connection, one request after the other, until its time is over.

use super::law::Law;
use super::world_file::Asked;
use crate::client::{Coding, body};
use crate::event::{SECOND, Time};
use crate::observe::{Observation, Outcome};
use crate::pattern;
use crate::peer::{ConnNo, Context, Input, Peer};
use crate::request::{Answer, Framing, Lane, Method, Request};
use crate::wire::{Piece, Reader};
use std::sync::Arc;

/// What clients of one kind have in common.
#[derive(Debug)]
pub struct Habits {
    /// Which of the listeners they connect to.
    pub listener: usize,
    /// When they begin.
    pub start: Time,
    /// When they ask no more.
    pub end: Time,
    /// From an answer to the next request.
    pub think: Law,
    /// `Host`.
    pub host: String,
    /// More header lines, each with its end.
    pub headers: String,
    /// What they ask.
    pub requests: Vec<Asked>,
}

/// After a refused connection, so long until the next try.
const PAUSE: Time = SECOND;

/// One client.
#[derive(Debug)]
pub struct Client {
    habits: Arc<Habits>,
    /// Which of the habits' requests it begins with, so that clients do not all ask the same.
    next: usize,
    conn: Option<ConnNo>,
    open: bool,
    reader: Reader,
    asked: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    id: u64,
    method: Method,
    own: bool,
    status: u16,
    last: bool,
    begun: bool,
    received: u64,
}

impl Client {
    /// A client with these habits; `number` tells it from the others.
    pub fn new(habits: Arc<Habits>, number: usize) -> Client {
        Client { habits, next: number, conn: None, open: false, reader: Reader::default(), asked: None }
    }

    fn ask(&mut self, context: &mut Context<'_>) {
        if self.asked.is_some() {
            return;
        }
        if context.now >= self.habits.end {
            if let Some(conn) = self.conn.take() {
                context.close(conn);
            }
            return;
        }
        let Some(conn) = self.conn else {
            (self.conn, self.open, self.reader) = (Some(context.connect_to(self.habits.listener)), false, Reader::default());
            return;
        };
        if !self.open {
            return;
        }
        let habits = Arc::clone(&self.habits);
        let asked = &habits.requests[self.next % habits.requests.len()];
        self.next += 1;
        let method = asked.kind();
        let answer = Answer { status: 0, body: 0, framing: Framing::Length, delay: 0, hints: false, closes: false, trailers: false };
        let request = context.add(|id| Request {
            id,
            method,
            cluster: 0,
            lane: Lane::Plain,
            body: asked.body,
            chunked: false,
            trailers: false,
            answer,
        });
        let length = if asked.body > 0 { format!("Content-Length: {}\r\n", asked.body) } else { String::new() };
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nX-Id: {}\r\n{}{length}\r\n",
            asked.method, asked.target, habits.host, request.id, habits.headers
        );
        context.note(Observation::Sent(request.id));
        let message = body(&head, request.id, asked.body, Coding::Plain, context.rng);
        context.send(conn, message);
        context.note(Observation::SentWhole(request.id));
        self.asked = Some(Asking { id: request.id, method, own: false, status: 0, last: false, begun: false, received: 0 });
    }

    fn data(&mut self, bytes: &[u8], context: &mut Context<'_>) {
        self.reader.push(bytes);
        loop {
            let bodyless = self.asked.as_ref().is_some_and(|asked| asked.method == Method::Head);
            let Some(piece) = self.reader.next(bodyless) else { return };
            let Some(asked) = &mut self.asked else {
                context.note(Observation::ClientFault(0, "bytes that answer nothing"));
                return self.ended(Outcome::Left, context);
            };
            asked.begun = true;
            match piece {
                Piece::Wrong(why) => {
                    context.note(Observation::ClientFault(asked.id, why));
                    return self.ended(Outcome::Cut, context);
                }
                Piece::Head(head) if head.status < 200 => {}
                Piece::Head(head) => {
                    if head.id.is_some_and(|of| of != asked.id) {
                        context.note(Observation::ClientFault(asked.id, crate::check::own_answer::OTHER));
                    }
                    (asked.own, asked.status, asked.last) = (head.id.is_some(), head.status, head.close);
                }
                Piece::Body(range) => {
                    let bytes = self.reader.bytes(range);
                    if asked.own && !pattern::is_piece(asked.id, asked.received, bytes) {
                        context.note(Observation::ClientFault(asked.id, "a body with other bytes"));
                    }
                    asked.received += bytes.len() as u64;
                }
                Piece::End if asked.status >= 200 => {
                    let (status, own, last) = (asked.status, asked.own, asked.last);
                    let outcome = if own { Outcome::Answered { status } } else { Outcome::Local { status } };
                    context.note(Observation::Ended(asked.id, outcome));
                    self.asked = None;
                    if last {
                        self.leave(context);
                    }
                    let pause = self.habits.think.draw(context.rng);
                    context.wake(pause, 0);
                }
                Piece::End => {}
            }
        }
    }

    fn leave(&mut self, context: &mut Context<'_>) {
        if let Some(conn) = self.conn.take() {
            context.close(conn);
        }
        self.open = false;
    }

    fn ended(&mut self, outcome: Outcome, context: &mut Context<'_>) {
        self.leave(context);
        if let Some(asked) = self.asked.take() {
            let cut = asked.begun && outcome == Outcome::Closed;
            context.note(Observation::Ended(asked.id, if cut { Outcome::Cut } else { outcome }));
        }
        let pause = self.habits.think.draw(context.rng);
        context.wake(pause, 0);
    }
}

impl Peer for Client {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Start => context.wake(self.habits.start, 0),
            Input::Opened(conn) if self.conn == Some(conn) => {
                self.open = true;
                self.ask(context);
            }
            Input::Refused(conn) if self.conn == Some(conn) => {
                self.conn = None;
                context.wake(PAUSE, 0);
            }
            Input::Data(conn, bytes) if self.conn == Some(conn) => self.data(bytes, context),
            Input::End(conn) | Input::Broken(conn) if self.conn == Some(conn) => {
                // Only the end of the connection ends some answers.
                if let Some(asked) = self.asked.take_if(|asked| self.reader.is_until_close() && asked.status >= 200) {
                    let (status, own) = (asked.status, asked.own);
                    let outcome = if own { Outcome::Answered { status } } else { Outcome::Local { status } };
                    context.note(Observation::Ended(asked.id, outcome));
                }
                self.ended(Outcome::Closed, context);
            }
            Input::Wake(_) => self.ask(context),
            _ => {}
        }
    }
}
