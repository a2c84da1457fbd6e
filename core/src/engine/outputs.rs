//! What comes out of an engine.

use crate::cluster::Question;
use crate::config::UpstreamTls;
use crate::connection::Wire;
use crate::id::{ConnId, QueryId};
use crate::record::Addresses;
use crate::tls_info::{TlsFault, TlsInfo};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect, then call `handle_connected`.
    Connect {
        /// The new connection.
        conn: ConnId,
        /// Where to.
        address: SocketAddr,
        /// Speak TLS on it; the connection is there when the handshake is done.
        tls: Option<ConnectTls>,
    },
    /// What is known of a client's first bytes must do: ask `opening` again.
    Open(ConnId),
    /// There is something to send: ask `poll_transmit` until it has nothing.
    Transmit(ConnId),
    /// Read (and offer what was left again), or stop reading.
    SetReadable(ConnId, bool),
    /// Send what is left, then shut down the sending side.
    ShutdownWrite(ConnId),
    /// Send what is left, close, and call `handle_closed`.
    Close(ConnId),
    /// Close now, whatever is left, and call nothing: the id is gone already.
    Drop(ConnId),
    /// As `Drop`, but so that the peer sees an error (a TCP reset): what it got is not the whole.
    Reset(ConnId),
    /// Read once. If something is there, hand it in as usual; if not, do as for `Close`. So a request that
    /// was on its way when the connection was to be closed is still served.
    CloseIfIdle(ConnId),
    /// Resolve a name, then call `handle_resolved`.
    Resolve {
        /// The query.
        query: QueryId,
        /// What to ask.
        question: Question,
    },
    /// Call `handle_nudge` on the process's other engines, and on this one.
    Nudge,
}

/// TLS on a connection to an upstream host.
#[derive(Clone, Debug)]
pub struct ConnectTls {
    /// The settings.
    pub config: Arc<UpstreamTls>,
    /// The server name to send; empty for none.
    pub server_name: Arc<str>,
    /// A name or address that the certificate must have, whatever the settings say of names.
    pub san: Option<Arc<str>>,
}

impl PartialEq for ConnectTls {
    fn eq(&self, other: &ConnectTls) -> bool {
        self.config == other.config && self.server_name == other.server_name && self.san == other.san
    }
}

impl Eq for ConnectTls {}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line for an access log.
    AccessLog {
        /// Place of the log in `Config::sinks`.
        sink: usize,
        /// The line, with its end.
        line: Vec<u8>,
    },
    /// The drain of the process has ended.
    Drained {
        /// Exchanges and tunnels that were cut at the deadline.
        cut: u32,
    },
    /// The drain of a listener that left the config has ended.
    ListenerDrained {
        /// Its name.
        name: Arc<str>,
    },
    /// A decision about an exchange, after [`Engine::explain`](super::Engine::explain).
    Step(super::Step),
}

/// Whether `poll_transmit` had something.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// There are bytes in the outbox; there may be more.
    Ready,
    /// There is nothing to send.
    Empty,
}

/// Why a client was not let in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such listener.
    #[error("there is no such listener")]
    UnknownListener,
    /// The listener has as many connections as it may.
    #[error("the listener's connection limit is reached")]
    ListenerLimit,
    /// The process has as many downstream connections as it may.
    #[error("the process's downstream connection limit is reached")]
    GlobalLimit,
    /// None of the listener's filter chains is for it.
    #[error("no filter chain is for it")]
    NoFilterChain,
}

/// A connection that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Both ends.
    pub addresses: Addresses,
    /// What the handshake came to, if it speaks TLS.
    pub tls: Option<Arc<TlsInfo>>,
}

impl From<Addresses> for Transport {
    fn from(addresses: Addresses) -> Transport {
        Transport { addresses, tls: None }
    }
}

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    /// What the operating system says, or the handshake.
    pub text: Box<str>,
    /// It is the handshake that failed.
    pub tls: Option<TlsFault>,
}

impl ConnectError {
    /// The operating system's reason.
    pub fn new(text: impl Into<Box<str>>) -> ConnectError {
        ConnectError { text: text.into(), tls: None }
    }
}

/// How a connection ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum IoFault {
    /// We closed it, as an action asked.
    Closed,
    /// The peer reset it, or sending or receiving failed.
    Reset,
}

/// Actions and events that wait to be asked for.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<Event>,
}

impl Outputs {
    /// How many outputs wait, so that later ones can be told apart.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.actions.len(), self.events.len())
    }

    pub(super) fn transmit(&mut self, conn: ConnId, wire: &mut Wire) {
        if !wire.transmit_queued && !wire.out.is_empty() {
            wire.transmit_queued = true;
            self.actions.push_back(Action::Transmit(conn));
        }
    }

    pub(super) fn set_readable(&mut self, conn: ConnId, wire: &mut Wire, readable: bool) {
        if wire.readable != readable {
            wire.readable = readable;
            self.actions.push_back(Action::SetReadable(conn, readable));
        }
    }

    pub(super) fn close(&mut self, conn: ConnId, wire: &mut Wire) {
        if !wire.closing {
            wire.closing = true;
            self.actions.push_back(Action::Close(conn));
        }
    }
}
