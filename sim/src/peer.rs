//! What the scripted peers have in common: what they hear and what they can do.

use crate::event::Time;
use crate::observe::{Ledger, Observation};
use crate::request::Request;
use bytes::Bytes;
use weir_core::rng::Rng;

/// A connection's number in its world.
pub type ConnNo = usize;
/// A peer's number in its world.
pub type PeerNo = usize;

/// What a peer hears.
#[derive(Debug)]
pub enum Input<'a> {
    /// The world begins.
    Start,
    /// A connection is there: one that it asked for, or one that the proxy made.
    Opened(ConnNo),
    /// A connection that it asked for cannot be made.
    Refused(ConnNo),
    /// Bytes.
    Data(ConnNo, &'a [u8]),
    /// The other side has sent its last byte.
    End(ConnNo),
    /// The connection is broken.
    Broken(ConnNo),
    /// Time is up: see [`Context::wake`].
    Wake(u64),
    /// From now on hosts behave.
    Calm,
}

/// A client or an upstream host.
pub trait Peer: std::fmt::Debug {
    /// Hears something, and acts.
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>);

    /// Whether it is a client that speaks HTTP/2.
    fn speaks_http2(&self) -> bool {
        false
    }
}

/// What a peer does to its connections.
#[derive(Debug)]
pub(crate) enum Deed {
    Connect(ConnNo, usize),
    Send(ConnNo, Bytes),
    Finish(ConnNo),
    Close(ConnNo),
    Break(ConnNo),
    Read(ConnNo, bool),
    Wake(Time, u64),
}

/// The world as a peer sees it.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Time,
    /// The peer's own randomness.
    pub rng: &'a mut Rng,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) deeds: &'a mut Vec<Deed>,
    pub(crate) next_conn: &'a mut ConnNo,
}

impl Context<'_> {
    /// Connects to the proxy's first listener. [`Input::Opened`] or [`Input::Refused`] follows.
    pub fn connect(&mut self) -> ConnNo {
        self.connect_to(0)
    }

    /// Connects to one of the proxy's listeners.
    pub fn connect_to(&mut self, listener: usize) -> ConnNo {
        let conn = *self.next_conn;
        *self.next_conn += 1;
        self.deeds.push(Deed::Connect(conn, listener));
        conn
    }

    /// Sends bytes.
    pub fn send(&mut self, conn: ConnNo, bytes: impl Into<Bytes>) {
        self.deeds.push(Deed::Send(conn, bytes.into()));
    }

    /// Sends no more, but reads on.
    pub fn finish(&mut self, conn: ConnNo) {
        self.deeds.push(Deed::Finish(conn));
    }

    /// Sends no more and reads no more.
    pub fn close(&mut self, conn: ConnNo) {
        self.deeds.push(Deed::Close(conn));
    }

    /// Breaks the connection.
    pub fn reset(&mut self, conn: ConnNo) {
        self.deeds.push(Deed::Break(conn));
    }

    /// Reads, or lets what comes wait.
    pub fn read(&mut self, conn: ConnNo, on: bool) {
        self.deeds.push(Deed::Read(conn, on));
    }

    /// Asks for an [`Input::Wake`] with this token.
    pub fn wake(&mut self, after: Time, token: u64) {
        self.deeds.push(Deed::Wake(self.now + after, token));
    }

    /// Writes down a request that is about to be asked; answers its id.
    pub fn add(&mut self, draw: impl FnOnce(u64) -> Request) -> Request {
        self.ledger.add(draw)
    }

    /// Tells what happened.
    pub fn note(&mut self, what: Observation) {
        self.ledger.note(self.now, what);
    }
}
