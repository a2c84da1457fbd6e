//! What we say: heads, bodies and ends wait on their streams until the session is flushed.

use super::Session;
use crate::digest::Digest;
use crate::http2::frames::Run;
use crate::http2::stream::{End, Stream, StreamKey};
use crate::id::ExchangeId;
use crate::limit;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response};

impl Session {
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

    /// The exchange has ended: what is queued is sent, and the stream is forgotten.
    pub fn release(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.exchange = None;
        if stream.is_flushed() {
            self.streams.remove(key);
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
        if let Some(mut stream) = self.streams.remove(key) {
            stream.reset(reason);
        }
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
                self.streams.remove(key);
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
}
