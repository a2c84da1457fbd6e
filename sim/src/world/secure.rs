//! TLS between a link and an engine, as the runtime has it: the same handshakes and the same streams, in the turn of one
//! connection. What the proxy's side has not read stays in the link, and what the link has no room for stays unsent.

use super::{Step, World};
use crate::link::End;
use crate::peer::ConnNo;
use crate::tls::pipe::{Flow, Pipe};
use bytes::BytesMut;
use std::cell::RefCell;
use std::fmt::{self, Debug, Formatter};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use weir::tls::Stream;
use weir::tls::handshake::Failed;
use weir::tls::hello::{self, Seen};
use weir_core::buffer::Outbox;
use weir_core::record::Addresses;
use weir_core::tls_info::TlsInfo;

/// What a client's first bytes are, behind them the bytes; nothing if nobody waits for them any longer.
pub(super) type Looked = (Pipe, BytesMut, Option<io::Result<Seen>>);
pub(super) type Shook = Result<(Stream<Pipe>, TlsInfo), Failed>;
type Work<T> = Pin<Box<dyn Future<Output = T>>>;

/// How far a connection is.
pub(super) enum Phase {
    /// What are its first bytes?
    Looking(Work<Looked>),
    /// In its handshake.
    Shaking(Work<Shook>),
    /// Open.
    Open(Box<Stream<Pipe>>),
    /// The engine has let go of it.
    Over,
}

/// The proxy's side of a connection with TLS, or one whose first bytes are looked at.
pub(super) struct Secure {
    pub(super) pipe: Pipe,
    pub(super) phase: Phase,
    /// Of a connection to a host.
    pub(super) addresses: Option<Addresses>,
    /// Read, not taken by the engine yet.
    pub(super) plain: BytesMut,
    /// Not written yet.
    pub(super) outbox: Outbox,
}

impl Debug for Secure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Looking(_) => "looking",
            Phase::Shaking(_) => "shaking",
            Phase::Open(_) => "open",
            Phase::Over => "over",
        };
        f.debug_struct("Secure").field("phase", &phase).field("plain", &self.plain.len()).finish_non_exhaustive()
    }
}

/// What came of a turn.
pub(super) enum Turn {
    /// Nothing yet.
    Waits,
    /// It is open.
    Open,
    Looked(Looked),
    Shook(Shook),
}

fn is_hurried(flow: &RefCell<Flow>) -> bool {
    flow.borrow().hurried
}

impl Secure {
    pub(super) fn new() -> Secure {
        Secure { pipe: Pipe::default(), phase: Phase::Over, addresses: None, plain: BytesMut::new(), outbox: Outbox::default() }
    }

    /// The stream of an open connection.
    pub(super) fn stream(&mut self) -> Option<Pin<&mut Stream<Pipe>>> {
        match &mut self.phase {
            Phase::Open(stream) => Some(Pin::new(stream)),
            _ => None,
        }
    }

    /// Looks at a client's first bytes.
    pub(super) fn look(&mut self) {
        let mut pipe = self.pipe.clone();
        self.phase = Phase::Looking(Box::pin(async move {
            let mut first = BytesMut::new();
            let seen = {
                let flow = pipe.0.clone();
                let mut look = pin!(hello::look(&mut pipe, &mut first));
                poll_fn(|cx| match is_hurried(&flow) {
                    true => Poll::Ready(None),
                    false => look.as_mut().poll(cx).map(Some),
                })
                .await
            };
            (pipe, first, seen)
        }));
    }

    /// Goes on with what comes before the first byte.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        match &mut self.phase {
            Phase::Looking(work) => match work.as_mut().poll(cx) {
                Poll::Ready(looked) => {
                    self.phase = Phase::Over;
                    Turn::Looked(looked)
                }
                Poll::Pending => Turn::Waits,
            },
            Phase::Shaking(work) => match work.as_mut().poll(cx) {
                Poll::Ready(shook) => {
                    self.phase = Phase::Over;
                    Turn::Shook(shook)
                }
                Poll::Pending => Turn::Waits,
            },
            Phase::Open(_) => Turn::Open,
            Phase::Over => Turn::Waits,
        }
    }
}

impl World {
    /// Does something to the proxy's side of a connection in its turn: it reads what the link has brought, and writes as
    /// much as the link takes.
    pub(super) fn through<R>(&mut self, no: ConnNo, act: impl FnOnce(&mut Secure, &mut Context<'_>) -> R) -> Option<R> {
        let mut conn = self.conns[no].take()?;
        let law = self.law(&conn);
        let Some(mut secure) = conn.secure.take() else {
            self.conns[no] = Some(conn);
            return None;
        };
        let before = conn.to_engine.arrived.len();
        {
            let mut flow = secure.pipe.0.borrow_mut();
            (flow.input, flow.end) = (std::mem::take(&mut conn.to_engine.arrived), conn.to_engine.ended);
            (flow.room, flow.starved, flow.shut) = (conn.to_peer.room(&law), false, false);
        }
        let result = act(&mut secure, &mut Context::from_waker(Waker::noop()));
        let shut = {
            let mut flow = secure.pipe.0.borrow_mut();
            conn.to_engine.arrived = std::mem::take(&mut flow.input);
            conn.to_engine.read(before - conn.to_engine.arrived.len());
            conn.blocked |= flow.starved;
            let output = std::mem::take(&mut flow.output);
            if !output.is_empty() {
                conn.to_peer.send(output.freeze(), self.now, &law, &mut self.link_rng, |at| self.queue.push(at, Step::ToPeer(no)));
            }
            flow.shut
        };
        if shut && !conn.to_peer.is_finished() {
            let at = conn.to_peer.end(End::Fin, self.now, &law, &mut self.link_rng);
            self.queue.push(at, Step::ToPeer(no));
        }
        conn.secure = Some(secure);
        self.conns[no] = Some(conn);
        self.pump_peer(no);
        Some(result)
    }
}
