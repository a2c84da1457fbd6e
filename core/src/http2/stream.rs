//! One stream: `h2`'s handles to it, and what waits to be sent on it.
//!
//! Head, body and end are kept until the session is flushed, so that an answer that is there whole leaves in as few
//! frames as can be: END_STREAM stands on its last frame and never on an empty one behind it.

use super::ready::Token;
use super::session::ResetBy;
use crate::id::ExchangeId;
use crate::time::Instant;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

slotmap::new_key_type! {
    /// A stream of one session.
    pub struct StreamKey;
}

/// How our side of a stream ends.
#[derive(Debug, Default)]
pub(super) enum End {
    /// Not yet.
    #[default]
    Open,
    /// With what is queued.
    Body,
    /// With trailers behind what is queued.
    Trailers(Box<HeaderMap>),
    /// The end was sent.
    Sent,
}

/// What was received.
#[derive(Debug)]
pub(super) enum Received {
    Interim(Box<Response<()>>),
    Response(Box<Response<()>>, bool),
    Data(Bytes),
    End(Option<Box<HeaderMap>>),
    Reset(ResetBy),
    Nothing,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Whose it is; `None` once that has ended and only the rest is to be sent.
    pub(super) exchange: Option<ExchangeId>,
    pub(super) token: Arc<Token>,
    waker: Waker,
    /// Server: before the response.
    pub(super) respond: Option<SendResponse<Bytes>>,
    /// Client: before the response.
    pub(super) response: Option<ResponseFuture>,
    pub(super) body: Option<RecvStream>,
    /// We have asked; else we are to answer.
    is_client: bool,
    pub(super) send: Option<SendStream<Bytes>>,
    pub(super) head: Option<Box<Response<()>>>,
    queue: VecDeque<Bytes>,
    pub(super) queued: usize,
    pub(super) end: End,
    pub(super) received_all: bool,
    pub(super) paused: bool,
    /// It is on the session's list of what has something to send.
    pub(super) dirty: bool,
    pub(super) since: Instant,
    /// When something was last sent.
    pub(super) moved: Instant,
    /// It was reset, or has failed.
    pub(super) dead: bool,
}

impl Stream {
    fn new(token: Arc<Token>, now: Instant) -> Stream {
        let waker = token.waker();
        Stream {
            exchange: None,
            token,
            waker,
            respond: None,
            response: None,
            body: None,
            is_client: false,
            send: None,
            head: None,
            queue: VecDeque::new(),
            queued: 0,
            end: End::Open,
            received_all: false,
            paused: false,
            dirty: false,
            since: now,
            moved: now,
            dead: false,
        }
    }

    /// A request that a client has sent.
    pub(super) fn asked(token: Arc<Token>, respond: SendResponse<Bytes>, body: Option<RecvStream>, now: Instant) -> Stream {
        let received_all = body.is_none();
        Stream { respond: Some(respond), body, received_all, ..Stream::new(token, now) }
    }

    /// A request that we have sent; `whole` if nothing follows its head.
    pub(super) fn asking(token: Arc<Token>, response: ResponseFuture, send: SendStream<Bytes>, whole: bool, now: Instant) -> Stream {
        let end = if whole { End::Sent } else { End::Open };
        Stream { is_client: true, response: Some(response), send: Some(send), end, ..Stream::new(token, now) }
    }

    /// Queues a piece of a body.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.queued += piece.len();
        self.queue.push_back(piece);
    }

    /// What has come, one thing at a time; it puts itself on the ready list again if there may be more.
    pub(super) fn receive(&mut self) -> Received {
        if self.dead {
            return Received::Nothing;
        }
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        let received = self.receive_next(&mut context);
        match &received {
            Received::Nothing => {}
            Received::Reset(_) => self.dead = true,
            _ => self.token.queue(),
        }
        received
    }

    fn receive_next(&mut self, context: &mut Context<'_>) -> Received {
        if !self.paused
            && let Some(received) = self.receive_message(context)
        {
            return received;
        }
        // A server's answer that we leave where it is must not be lost to the reset behind it.
        if self.response.is_some() || (self.paused && !self.received_all && self.is_client) {
            return Received::Nothing;
        }
        match self.poll_reset(context) {
            Poll::Ready(by) => Received::Reset(by),
            Poll::Pending => Received::Nothing,
        }
    }

    fn receive_message(&mut self, context: &mut Context<'_>) -> Option<Received> {
        if let Some(response) = &mut self.response {
            match response.poll_informational(context) {
                Poll::Ready(Some(Ok(interim))) => return Some(Received::Interim(Box::new(interim))),
                Poll::Ready(Some(Err(error))) => return Some(Received::Reset(ResetBy::of(&error))),
                Poll::Ready(None) | Poll::Pending => {}
            }
            return match Pin::new(response).poll(context) {
                Poll::Pending => None,
                Poll::Ready(Err(error)) => Some(Received::Reset(ResetBy::of(&error))),
                Poll::Ready(Ok(response)) => {
                    self.response = None;
                    let (parts, body) = response.into_parts();
                    let end = body.is_end_stream();
                    self.received_all = end;
                    self.body = (!end).then_some(body);
                    Some(Received::Response(Box::new(Response::from_parts(parts, ())), end))
                }
            };
        }
        let body = self.body.as_mut()?;
        match body.poll_data(context) {
            Poll::Pending => return None,
            Poll::Ready(Some(Err(error))) => return Some(Received::Reset(ResetBy::of(&error))),
            Poll::Ready(Some(Ok(piece))) => {
                // An error here means that the stream is gone, which the next poll says.
                let _ = body.flow_control().release_capacity(piece.len());
                if piece.is_empty() && !body.is_end_stream() {
                    return self.receive_message(context);
                }
                if body.is_end_stream() && piece.is_empty() {
                    self.received_all = true;
                    self.body = None;
                    return Some(Received::End(None));
                }
                return Some(Received::Data(piece));
            }
            Poll::Ready(None) => {}
        }
        match body.poll_trailers(context) {
            Poll::Pending => None,
            Poll::Ready(Err(error)) => Some(Received::Reset(ResetBy::of(&error))),
            Poll::Ready(Ok(trailers)) => {
                self.received_all = true;
                self.body = None;
                Some(Received::End(trailers.map(Box::new)))
            }
        }
    }

    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<ResetBy> {
        let polled = match (&mut self.respond, &mut self.send) {
            (Some(respond), _) => respond.poll_reset(context),
            (None, Some(send)) => send.poll_reset(context),
            (None, None) => return Poll::Pending,
        };
        polled.map(|reset| match reset {
            Ok(reason) => ResetBy::Peer(reason),
            Err(error) => ResetBy::of(&error),
        })
    }

    /// Sends what can be sent; true if something was.
    pub(super) fn send(&mut self, now: Instant, mut sent_data: impl FnMut()) -> Result<bool, h2::Error> {
        let mut moved = false;
        if let Some(head) = self.head.take()
            && let Some(mut respond) = self.respond.take()
        {
            let whole = self.queue.is_empty() && matches!(self.end, End::Body);
            self.send = Some(respond.send_response(*head, whole)?);
            moved = true;
            if whole {
                self.end = End::Sent;
            }
        }
        let Some(send) = &mut self.send else { return Ok(moved) };
        while let Some(front) = self.queue.front_mut() {
            if send.capacity() == 0 {
                send.reserve_capacity(self.queued);
            }
            let mut room = send.capacity();
            if room == 0 {
                let waker = self.waker.clone();
                match send.poll_capacity(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(Ok(more))) if more > 0 => room = more,
                    Poll::Ready(Some(Err(error))) => return Err(error),
                    Poll::Ready(_) | Poll::Pending => break,
                }
            }
            let piece = if front.len() > room {
                front.split_to(room)
            } else {
                let piece = std::mem::take(front);
                self.queue.pop_front();
                piece
            };
            self.queued -= piece.len();
            let last = self.queue.is_empty() && matches!(self.end, End::Body);
            send.send_data(piece, last)?;
            sent_data();
            moved = true;
            if last {
                self.end = End::Sent;
            }
        }
        if self.queue.is_empty() {
            match std::mem::take(&mut self.end) {
                End::Open => {}
                End::Sent => self.end = End::Sent,
                End::Body => {
                    send.send_data(Bytes::new(), true)?;
                    self.end = End::Sent;
                    moved = true;
                }
                End::Trailers(trailers) => {
                    send.send_trailers(*trailers)?;
                    self.end = End::Sent;
                    moved = true;
                }
            }
        }
        if moved {
            self.moved = now;
        }
        Ok(moved)
    }

    /// Resets it, in either role.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.dead = true;
        self.queue.clear();
        self.queued = 0;
        if let Some(send) = &mut self.send {
            send.send_reset(reason);
        } else if let Some(respond) = &mut self.respond {
            respond.send_reset(reason);
        }
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.dead || matches!(self.end, End::Sent)
    }
}
