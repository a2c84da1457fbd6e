//! One HTTP/2 connection.
//!
//! ```text
//! bytes --recv--> Pipe --> h2 --wakers--> ready list --poll_event--> SessionEvent
//! bytes <-transmit- Pipe <-- h2 <------ Stream queues <--respond, push, end, reset
//! ```

use super::frames::{END_STREAM, FrameScanner, Run, kind};
use super::guard::{Breach, Guard};
use super::pipe::Pipe;
use super::ready::{ReadyList, Token};
use super::stream::{End, Received, Stream, StreamKey};
use super::{Http2Options, Keepalive};
use crate::digest::Digest;
use crate::id::ExchangeId;
use crate::limit;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use h2::{Ping, PingPong, Reason, client, server};
use http::{HeaderMap, Request, Response};
use slotmap::SlotMap;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
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
    pub(super) fn of(error: &h2::Error) -> ResetBy {
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
    ready: Arc<ReadyList>,
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
    pings: Option<PingPong>,
    /// Frames were received since the last look.
    heard: bool,
    max_concurrent: u32,
    keepalive: Option<Keepalive>,
    /// Client: numbers of streams whose answer has come to its end.
    whole: BTreeSet<u32>,
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
        let ready = Arc::new(ReadyList::default());
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
            pings: None,
            heard: false,
            max_concurrent: options.max_concurrent_streams,
            keepalive: options.keepalive,
            whole: BTreeSet::new(),
            over: None,
        };
        if let Role::Client { connection, .. } = &mut session.role {
            session.pings = connection.ping_pong();
        }
        session
    }

    /// Whether it has read all that it was given: only then is there room for more.
    pub fn wants_input(&self) -> bool {
        self.pipe.lock().input.is_empty()
    }

    /// Bytes have come. `tell` is told what they are, in order. Ask [`Self::poll_event`] what they mean.
    pub fn recv(&mut self, bytes: Bytes, now: Instant, mut tell: impl FnMut(Run<'_>)) {
        let (guard, peer_leaves, mut breach) = (&mut self.guard, &mut self.peer_leaves, None);
        let mut whole = matches!(self.role, Role::Client { .. }).then_some(&mut self.whole);
        self.incoming.scan(&bytes, |run| {
            tell(run);
            if let Run::Frame(frame) = run {
                *peer_leaves |= frame.kind == kind::GOAWAY;
                if let (Some(whole), kind::DATA | kind::HEADERS) = (&mut whole, frame.kind)
                    && frame.flags & END_STREAM != 0
                {
                    whole.insert(frame.stream);
                }
                breach = breach.or(guard.received(frame, now).err());
            }
            if let Run::PseudoTrailer = run {
                breach = breach.or(Some(Breach::PseudoTrailer));
            }
            if let Run::Setting(id, value) = run {
                breach = breach.or(guard.setting(id, value).err());
            }
        });
        self.heard = true;
        match breach {
            // Nothing of it is worth an answer, or memory.
            Some(breach) => self.break_off(breach),
            None => self.pipe.lock().input = bytes,
        }
        self.token.queue();
    }

    /// Whether a head has begun to come and is not complete.
    pub fn is_in_head(&self) -> bool {
        self.incoming.is_in_head()
    }

    /// The peer has sent its last byte.
    pub fn recv_eof(&mut self) {
        self.pipe.lock().eof = true;
        self.token.queue();
    }

    /// What has happened since; `None` once that is all.
    pub fn poll_event(&mut self, now: Instant) -> Option<SessionEvent> {
        while let Some(key) = self.ready.pop() {
            if key == StreamKey::default() {
                match self.poll_connection(now) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if !stream.dirty && stream.queued > 0 {
                // It may have been woken because there is room.
                stream.dirty = true;
                self.dirty.push_back(key);
            }
            match stream.receive(&self.whole) {
                Received::Nothing => {}
                Received::Interim(head) => return Some(SessionEvent::Interim { stream: key, head }),
                Received::Response(head, end) => return Some(SessionEvent::Response { stream: key, head, end }),
                Received::Data(piece) => return Some(SessionEvent::Data { stream: key, piece }),
                Received::End(trailers) => return Some(SessionEvent::End { stream: key, trailers }),
                Received::Reset(by) => return Some(SessionEvent::Reset { stream: key, by }),
            }
        }
        self.over.take().map(|error| SessionEvent::Closed { error })
    }

    fn poll_connection(&mut self, now: Instant) -> Option<SessionEvent> {
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        match &mut self.role {
            Role::Closed => None,
            Role::Opening(_) if self.breach.is_some() => self.close(None),
            Role::Opening(handshake) => match Pin::new(&mut **handshake).poll(&mut context) {
                Poll::Pending => None,
                Poll::Ready(Err(error)) => self.close(Some(&error)),
                Poll::Ready(Ok(mut connection)) => {
                    self.pings = connection.ping_pong();
                    if self.leaving {
                        connection.graceful_shutdown();
                    }
                    if let Some(breach) = self.breach {
                        connection.abrupt_shutdown(breach.reason());
                    }
                    self.role = Role::Server(Box::new(connection));
                    self.poll_connection(now)
                }
            },
            Role::Server(connection) => match connection.poll_accept(&mut context) {
                Poll::Pending => None,
                Poll::Ready(None) => self.close(None),
                Poll::Ready(Some(Err(error))) => self.close(Some(&error)),
                Poll::Ready(Some(Ok((request, respond)))) => {
                    // There may be another one.
                    self.token.queue();
                    Some(self.accept(request, respond, now))
                }
            },
            Role::Client { .. } if self.breach.is_some() => self.close(None),
            Role::Client { connection, .. } => match Pin::new(&mut **connection).poll(&mut context) {
                Poll::Pending => None,
                Poll::Ready(Ok(())) => self.close(None),
                Poll::Ready(Err(error)) => self.close(Some(&error)),
            },
        }
    }

    /// The connection is over: once its streams have told what they have, so does it. What a server has sent before it
    /// left is its answer, also where it was left for later.
    fn close(&mut self, error: Option<&h2::Error>) -> Option<SessionEvent> {
        if let Role::Client { .. } = std::mem::replace(&mut self.role, Role::Closed) {
            for stream in self.streams.values_mut().filter(|stream| stream.paused) {
                stream.paused = false;
                stream.token.queue();
            }
        }
        self.over = Some(match self.breach {
            Some(breach) => Some(breach.to_string()),
            None => error.map(ToString::to_string),
        });
        None
    }

    fn accept(&mut self, request: Request<h2::RecvStream>, respond: server::SendResponse<Bytes>, now: Instant) -> SessionEvent {
        let (parts, body) = request.into_parts();
        let end = body.is_end_stream();
        let ready = &self.ready;
        let key = self.streams.insert_with_key(|key| {
            let mut stream = Stream::new(Token::new(key, ready), now);
            stream.respond = Some(respond);
            stream.body = (!end).then_some(body);
            stream.received_all = end;
            stream
        });
        // So that it is noticed when the client gives up.
        self.streams[key].token.queue();
        SessionEvent::Request { stream: key, head: Box::new(Request::from_parts(parts, ())), end }
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
        let key = self.streams.insert_with_key(|key| {
            let mut stream = Stream::new(Token::new(key, ready), now);
            stream.number = response.stream_id().as_u32();
            stream.response = Some(response);
            stream.send = Some(send);
            if end {
                stream.end = End::Sent;
            }
            stream
        });
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

    /// Server: sends an interim response.
    pub fn interim(&mut self, key: StreamKey, head: Response<()>) {
        if let Some(respond) = self.streams.get_mut(key).and_then(|stream| stream.respond.as_mut()) {
            let _ = respond.send_informational(head);
        }
    }

    /// Server: the response head.
    pub fn respond(&mut self, key: StreamKey, head: Response<()>) {
        self.with(key, |stream| stream.head = Some(Box::new(head)));
    }

    /// A piece of our body; answers how much waits.
    pub fn push(&mut self, key: StreamKey, piece: Bytes) -> usize {
        if piece.is_empty() {
            return self.queued(key);
        }
        self.with(key, |stream| stream.push(piece));
        self.queued(key)
    }

    /// How much of our body waits.
    pub fn queued(&self, key: StreamKey) -> usize {
        self.streams.get(key).map_or(0, |stream| stream.queued)
    }

    /// The end of our side.
    pub fn end(&mut self, key: StreamKey, trailers: Option<HeaderMap>) {
        self.with(key, |stream| {
            if matches!(stream.end, End::Open) {
                stream.end = trailers.map_or(End::Body, |trailers| End::Trailers(Box::new(trailers)));
            }
        });
    }

    fn with(&mut self, key: StreamKey, change: impl FnOnce(&mut Stream)) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.dead {
            return;
        }
        change(stream);
        if !stream.dirty {
            stream.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Takes bodies of the peer, or lets them wait: its window then closes. There is no waiting once all is over.
    pub fn set_paused(&mut self, key: StreamKey, paused: bool) -> bool {
        if paused && self.is_closed() {
            return false;
        }
        let Some(stream) = self.streams.get_mut(key) else { return false };
        let changed = std::mem::replace(&mut stream.paused, paused) != paused;
        if changed && !paused {
            stream.token.queue();
        }
        changed
    }

    /// Whether the body of the peer is left where it is.
    pub fn is_paused(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.paused)
    }

    /// The exchange has ended: what is queued is sent, and the stream is forgotten.
    pub fn release(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.exchange = None;
        if stream.is_flushed() {
            self.forget(key);
        } else if !stream.dirty {
            stream.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Ends the stream once what was sent before is on its way.
    pub fn doom(&mut self, key: StreamKey, reason: Reason) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.exchange = None;
            self.doomed.push((key, reason));
        }
    }

    /// Ends the streams that [`Self::doom`] named; true if there are any.
    pub fn end_doomed(&mut self) -> bool {
        let doomed = std::mem::take(&mut self.doomed);
        for (key, reason) in &doomed {
            self.reset(*key, *reason);
        }
        !doomed.is_empty()
    }

    /// Ends the stream now.
    pub fn reset(&mut self, key: StreamKey, reason: Reason) {
        if let Some(mut stream) = self.forget(key) {
            stream.reset(reason);
        }
    }

    fn forget(&mut self, key: StreamKey) -> Option<Stream> {
        let stream = self.streams.remove(key)?;
        self.whole.remove(&stream.number);
        Some(stream)
    }

    /// A stream of the peer has ended, by its reset if `early`.
    pub fn count_end(&mut self, key: StreamKey, reset: bool, now: Instant) {
        let young = self.streams.get(key).is_some_and(|stream| now.since(stream.since) < limit::PREMATURE_RESET_AGE);
        if let Err(breach) = self.guard.stream_ended(reset && young) {
            self.break_off(breach);
        }
    }

    /// Resets all streams whose exchange has ended and of which nothing could be sent for `timeout`; answers how many,
    /// and whether others are left.
    pub fn reset_stalled(&mut self, timeout: Duration, now: Instant) -> (usize, bool) {
        let orphans = self.streams.iter().filter(|(_, stream)| stream.exchange.is_none());
        let stalled: Vec<StreamKey> = orphans.filter(|(_, stream)| now.since(stream.moved) >= timeout).map(|(key, _)| key).collect();
        stalled.iter().for_each(|key| self.reset(*key, Reason::CANCEL));
        (stalled.len(), self.streams.values().any(|stream| stream.exchange.is_none()))
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

    /// Client: whether the server takes extended CONNECT.
    pub fn has_extended_connect(&self) -> bool {
        matches!(&self.role, Role::Client { requests, .. } if requests.is_extended_connect_protocol_enabled())
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

    /// `connection_keepalive`.
    pub fn keepalive(&self) -> Option<Keepalive> {
        self.keepalive
    }

    /// Whether something was received since the last time.
    pub fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Sends a PING. What it is answered with counts as heard.
    pub fn ping(&mut self) {
        if let Some(pings) = &mut self.pings {
            // One that is still under way is as good.
            let _ = pings.send_ping(Ping::opaque());
            let _ = pings.poll_pong(&mut Context::from_waker(&self.waker));
        }
        self.token.queue();
    }

    /// Whether there is something to do: to be flushed, or to ask [`Self::poll_event`] for.
    pub fn is_ready(&self) -> bool {
        !self.dirty.is_empty() || !self.doomed.is_empty() || !self.ready.is_empty() || !self.pipe.lock().output.is_empty()
    }

    /// Whether [`Self::poll_event`] may have something.
    pub fn has_events(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Gives h2 what is queued on streams; true if there was something.
    pub fn flush(&mut self, now: Instant) -> bool {
        let any = !self.dirty.is_empty();
        while let Some(key) = self.dirty.pop_front() {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.dirty = false;
            let guard = &mut self.guard;
            let sent = stream.send(now, || guard.sent_data());
            match sent {
                Ok(true) => {
                    if let (Some(exchange), false) = (stream.exchange, matches!(stream.end, End::Sent)) {
                        self.moved.push((exchange, stream.queued));
                    }
                }
                Ok(false) => {}
                // The stream is gone; whoever reads from it is told.
                Err(_) => stream.token.queue(),
            }
            if stream.exchange.is_none() && stream.is_flushed() {
                self.forget(key);
            }
        }
        any
    }

    /// Takes what is to be sent, after [`Self::flush`] and once [`Self::poll_event`] has nothing more.
    pub fn take_output(&mut self, digest: Option<&mut Digest>) -> Bytes {
        let output = {
            let mut buffers = self.pipe.lock();
            if std::mem::take(&mut buffers.blocked) {
                self.token.queue();
            }
            buffers.output.split().freeze()
        };
        if let Some(digest) = digest {
            self.outgoing.scan(&output, |run| match run {
                Run::Framing(bytes) => digest.bytes(bytes),
                Run::Body(bytes) => digest.word(bytes.len() as u64),
                Run::Frame(_) | Run::Setting(..) | Run::PseudoTrailer => {}
            });
        }
        output
    }

    /// Exchanges that were sent something, and how much waits on each.
    pub fn take_moved(&mut self) -> Vec<(ExchangeId, usize)> {
        std::mem::take(&mut self.moved)
    }

    /// Whether h2 has shut the sending side down.
    pub fn is_shut(&self) -> bool {
        self.pipe.lock().shut
    }
}
