//! What a peer says: bytes to frames to events, a poll for each waker.

use super::{Role, Session, SessionEvent};
use crate::http2::frames::{Run, kind};
use crate::http2::guard::Breach;
use crate::http2::ready::Token;
use crate::http2::stream::{Received, Stream, StreamKey};
use crate::time::Instant;
use bytes::Bytes;
use h2::server;
use http::Request;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

impl Session {
    /// Whether it has read all that it was given: only then is there room for more.
    pub fn wants_input(&self) -> bool {
        self.pipe.lock().input.is_empty()
    }

    /// Bytes have come. `tell` is told what they are, in order. Ask [`Self::poll_event`] what they mean.
    pub fn recv(&mut self, bytes: Bytes, now: Instant, mut tell: impl FnMut(Run<'_>)) {
        let (guard, peer_leaves, mut breach) = (&mut self.guard, &mut self.peer_leaves, None);
        self.incoming.scan(&bytes, |run| {
            tell(run);
            if let Run::Frame(frame) = run {
                *peer_leaves |= frame.kind == kind::GOAWAY;
                breach = breach.or(guard.received(frame, now).err());
            }
            if let Run::PseudoTrailer = run {
                breach = breach.or(Some(Breach::PseudoTrailer));
            }
            if let Run::Setting(id, value) = run {
                breach = breach.or(guard.setting(id, value).err());
            }
        });
        self.alive.heard = true;
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
            match stream.receive() {
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
                    self.alive.pings = connection.ping_pong();
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
        let body = (!end).then_some(body);
        let key = self.streams.insert_with_key(|key| Stream::asked(Token::new(key, ready), respond, body, now));
        // So that it is noticed when the client gives up.
        self.streams[key].token.queue();
        SessionEvent::Request { stream: key, head: Box::new(Request::from_parts(parts, ())), end }
    }
}
