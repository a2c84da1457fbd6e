//! One HTTP/2 connection.
//!
//! ```text
//! bytes --recv--> Pipe --> h2 --wakers--> ready list --poll_event--> SessionEvent
//! bytes <-transmit- Pipe <-- h2 <------ Stream queues <--respond, push, end, reset
//! ```

mod reading;
mod writing;

use crate::http2::Http2Options;
use crate::http2::alive::{Alive, KeepAlive};
use crate::http2::frames::FrameScanner;
use crate::http2::guard::{Breach, Guard};
use crate::http2::pipe::Pipe;
use crate::http2::ready::{ReadyList, Token};
use crate::http2::stream::{Stream, StreamKey};
use crate::id::ExchangeId;
use crate::limit;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use h2::{Reason, client, server};
use http::{HeaderMap, Request, Response};
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How long `h2` remembers a stream that was reset, by a clock of its own, which is the only one in core. A late frame on a
/// stream that it has forgotten can end the connection; one that comes later than this is no late frame but a broken peer, and
/// simulated worlds take less real time.
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(30);

/// Something that a peer did.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum SessionEvent {
    /// A request head has come; `end` if no body follows.
    Request { stream: StreamKey, head: Box<Request<()>>, end: bool },
    /// A 1xx has come.
    Interim { stream: StreamKey, head: Box<Response<()>> },
    /// A response head has come; `end` if no body follows.
    Response { stream: StreamKey, head: Box<Response<()>>, end: bool },
    /// A piece of a body has come.
    Data { stream: StreamKey, piece: Bytes },
    /// The peer has sent its last byte on the stream.
    End { stream: StreamKey, trailers: Option<Box<HeaderMap>> },
    /// The stream is over.
    Reset { stream: StreamKey, by: ResetBy },
    /// The connection is over; an error if it did not end well. What is left to transmit is still to be sent.
    Closed { error: Option<String> },
}

/// Who ended a stream, and why.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ResetBy {
    /// The peer reset it.
    Peer(Reason),
    /// The peer says that it has not looked at the request: REFUSED_STREAM, or a GOAWAY that leaves it out.
    Refused,
    /// We did: the peer broke the protocol.
    Us(Reason),
    /// The connection ended under it.
    Closed,
}

impl ResetBy {
    pub(in crate::http2) fn of(error: &h2::Error) -> ResetBy {
        match error.reason() {
            Some(Reason::REFUSED_STREAM) if error.is_remote() => ResetBy::Refused,
            _ if error.is_go_away() && error.is_remote() => ResetBy::Refused,
            Some(reason) if error.is_remote() => ResetBy::Peer(reason),
            Some(reason) => ResetBy::Us(reason),
            None => ResetBy::Closed,
        }
    }
}

/// What small frames on streams that wait for a slow reader may cost, as `h2` counts it: what they lack of 256 bytes.
fn small_frames(options: &Http2Options) -> usize {
    limit::SMALL_FRAMES.max(4 * options.connection_window as usize)
}

enum Role {
    Opening(Box<server::Handshake<Pipe, Bytes>>),
    Server(Box<server::Connection<Pipe, Bytes>>),
    Client { requests: client::SendRequest<Bytes>, connection: Box<client::Connection<Pipe, Bytes>> },
    Closed,
}

/// One HTTP/2 connection.
pub struct Session {
    role: Role,
    pipe: Pipe,
    ready: ReadyList,
    /// Stands for the connection on the ready list.
    token: Arc<Token>,
    waker: Waker,
    streams: SlotMap<StreamKey, Stream>,
    /// Streams with something to send, in order.
    dirty: VecDeque<StreamKey>,
    /// Streams to be reset once what is queued on them has been given to the pipe, as far as windows let it.
    doomed: Vec<(StreamKey, Reason)>,
    /// Streams that were sent something and are not at their end, for who waits for room.
    moved: Vec<(ExchangeId, usize)>,
    incoming: FrameScanner,
    outgoing: FrameScanner,
    guard: Guard,
    /// The peer has said GOAWAY.
    peer_leaves: bool,
    /// We have.
    leaving: bool,
    /// Why we break it off.
    breach: Option<Breach>,
    alive: KeepAlive,
    max_concurrent: u32,
    /// The connection is over, which is to be told: an error if it did not end well.
    over: Option<Option<String>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("streams", &self.streams.len()).field("leaving", &self.leaving).finish_non_exhaustive()
    }
}

impl Session {
    /// The server's side of a connection on which nothing was read yet.
    pub fn server(options: &Http2Options) -> Session {
        let pipe = Pipe::default();
        let mut builder = server::Builder::new();
        builder
            .initial_window_size(options.stream_window)
            .initial_connection_window_size(options.connection_window)
            .max_concurrent_streams(options.max_concurrent_streams)
            .max_header_list_size(options.max_header_bytes)
            .header_table_size(options.header_table_size)
            .max_send_buffer_size(limit::STREAM_SEND_BUFFER)
            .data_frame_budget(small_frames(options))
            .max_pending_accept_reset_streams(limit::PREMATURE_RESET_STREAMS as usize)
            .max_concurrent_reset_streams(limit::RESET_STREAMS_KEPT)
            .reset_stream_duration(REMEMBERED);
        if options.allow_connect {
            builder.enable_connect_protocol();
        }
        let handshake = builder.handshake(pipe.clone());
        Session::new(Role::Opening(Box::new(handshake)), pipe, options, true)
    }

    /// The client's side of a fresh connection.
    pub fn client(options: &Http2Options) -> Session {
        let pipe = Pipe::default();
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(options.stream_window)
            .initial_connection_window_size(options.connection_window)
            .max_concurrent_streams(options.max_concurrent_streams)
            .initial_max_send_streams(limit::STREAMS_BEFORE_SETTINGS)
            .max_header_list_size(options.max_header_bytes)
            .header_table_size(options.header_table_size)
            .max_send_buffer_size(limit::STREAM_SEND_BUFFER)
            .data_frame_budget(small_frames(options))
            .max_concurrent_reset_streams(limit::RESET_STREAMS_KEPT)
            .enable_push(false)
            .reset_stream_duration(REMEMBERED);
        let mut handshake = Box::pin(builder.handshake::<_, Bytes>(pipe.clone()));
        // All it does is to write the preface, for which there is room.
        let role = match handshake.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok((requests, connection))) => Role::Client { requests, connection: Box::new(connection) },
            Poll::Ready(Err(_)) | Poll::Pending => Role::Closed,
        };
        Session::new(role, pipe, options, false)
    }

    fn new(role: Role, pipe: Pipe, options: &Http2Options, is_server: bool) -> Session {
        let ready = ReadyList::default();
        let token = Token::new(StreamKey::default(), &ready);
        let waker = token.waker();
        token.queue();
        let mut session = Session {
            role,
            pipe,
            ready,
            token,
            waker,
            streams: SlotMap::with_key(),
            dirty: VecDeque::new(),
            doomed: Vec::new(),
            moved: Vec::new(),
            incoming: FrameScanner::new(is_server),
            outgoing: FrameScanner::new(!is_server),
            guard: Guard::new(options),
            peer_leaves: false,
            leaving: false,
            breach: None,
            alive: KeepAlive::new(options.keepalive),
            max_concurrent: options.max_concurrent_streams,
            over: None,
        };
        if let Role::Client { connection, .. } = &mut session.role {
            session.alive.pings = connection.ping_pong();
        }
        session
    }

    /// Client: sends a request head. `Err` if the connection takes no more requests.
    pub fn open(&mut self, head: Request<()>, end: bool, now: Instant) -> Result<StreamKey, h2::Error> {
        let Role::Client { requests, .. } = &mut self.role else { return Err(Reason::REFUSED_STREAM.into()) };
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(error)) = requests.poll_ready(&mut context) {
            return Err(error);
        }
        let (response, send) = requests.send_request(head, end)?;
        let ready = &self.ready;
        let key = self.streams.insert_with_key(|key| Stream::asking(Token::new(key, ready), response, send, end, now));
        self.streams[key].token.queue();
        Ok(key)
    }

    /// The stream is that exchange's.
    pub fn set_exchange(&mut self, key: StreamKey, exchange: ExchangeId) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.exchange = Some(exchange);
        }
    }

    /// Whose stream it is.
    pub fn exchange(&self, key: StreamKey) -> Option<ExchangeId> {
        self.streams.get(key)?.exchange
    }

    /// Server: the number under which the peer knows a stream that was not answered yet.
    pub fn number(&self, key: StreamKey) -> Option<u32> {
        self.streams.get(key)?.respond.as_ref().map(|respond| respond.stream_id().as_u32())
    }

    /// All exchanges on it.
    pub fn exchanges(&self) -> Vec<ExchangeId> {
        self.streams.values().filter_map(|stream| stream.exchange).collect()
    }

    /// Streams that are open, also those that only have something left to send.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Client: how many more requests it takes now.
    pub fn room(&self) -> usize {
        match &self.role {
            Role::Client { connection, .. } if !self.peer_leaves && !self.leaving => {
                let max = connection.max_concurrent_send_streams().min(self.max_concurrent as usize);
                max.saturating_sub(self.streams.len())
            }
            _ => 0,
        }
    }

    /// Takes no more streams: GOAWAY, in two steps.
    pub fn leave(&mut self) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        if let Role::Server(connection) = &mut self.role {
            connection.graceful_shutdown();
            self.token.queue();
        }
    }

    /// Whether it takes no more streams.
    pub fn is_leaving(&self) -> bool {
        self.leaving || self.peer_leaves || self.is_closed()
    }

    /// Whether we have begun to end it.
    pub fn has_left(&self) -> bool {
        self.leaving
    }

    /// Ends it now: GOAWAY with an error.
    pub fn break_off(&mut self, breach: Breach) {
        if self.breach.is_some() {
            return;
        }
        self.breach = Some(breach);
        self.leaving = true;
        if let Role::Server(connection) = &mut self.role {
            connection.abrupt_shutdown(breach.reason());
        }
        self.token.queue();
    }

    /// What the peer did too much of.
    pub fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.role, Role::Closed)
    }

    /// `connection_keepalive`: when to look for the first time whether the peer is there.
    pub fn keep_alive_begins_in(&self) -> Option<Duration> {
        self.alive.begins_in()
    }

    /// The time to look has come.
    pub fn keep_alive(&mut self) -> Option<Alive> {
        let looked = self.alive.look(&mut Context::from_waker(&self.waker));
        self.token.queue();
        looked
    }

    /// Whether there is something to do: to be flushed, or to ask [`Self::poll_event`] for.
    pub fn is_ready(&self) -> bool {
        !self.dirty.is_empty() || !self.doomed.is_empty() || !self.ready.is_empty() || !self.pipe.lock().output.is_empty()
    }

    /// Whether [`Self::poll_event`] may have something.
    pub fn has_events(&self) -> bool {
        !self.ready.is_empty()
    }
}
