//! Answers on streams: as asked, slowly, in part, or what is no answer.

use super::{Around, IDLE, SEND, Streams};
use crate::pattern;
use crate::request::Framing;
use crate::talk;
use crate::upstream::Answering;
use bytes::Bytes;
use h2::Reason;

impl Streams {
    pub(super) fn answer(&mut self, number: u64, around: &mut Around<'_, '_>) {
        let Some(asked) = self.asked.get_mut(&number) else { return };
        let (request, key) = (&asked.request, asked.key);
        match asked.answering {
            Answering::Break if around.context.rng.below(2) == 0 => return self.end(true, around),
            Answering::Break => {
                let reason = [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR][around.context.rng.below(3) as usize];
                self.asked.remove(&number);
                return self.talk.session.reset(key, reason);
            }
            Answering::Garbage => {
                around.context.send(around.conn, Bytes::from_static(b"\x00\x00\x05\x00\x00\x00\x00\x00\x00 what"));
                return self.end(false, around);
            }
            _ => {}
        }
        let (answer, whole) = (&request.answer, request.is_bodyless());
        if answer.hints {
            let mut hints = http::Response::new(());
            *hints.status_mut() = http::StatusCode::EARLY_HINTS;
            self.talk.session.interim(key, hints);
        }
        let length = (!whole && answer.framing == Framing::Length).then_some(answer.body);
        self.talk.session.respond(key, talk::answer(answer.status, request.id, length));
        asked.begun = true;
        if answer.closes && !self.leaves {
            self.talk.session.leave();
        }
        self.give(number, around);
    }

    /// Gives the session more of an answer.
    pub(super) fn give(&mut self, number: u64, around: &mut Around<'_, '_>) {
        let Some(asked) = self.asked.get_mut(&number).filter(|asked| asked.begun && !asked.done) else { return };
        let (id, key, len) = (asked.request.id, asked.key, if asked.request.is_bodyless() { 0 } else { asked.request.answer.body });
        let (until, pause) = match asked.answering {
            Answering::Slowly(size, pause) => (len.min(asked.given + (size as u64).max(len / 100)), pause),
            Answering::Truncated { .. } if len > 0 => (around.context.rng.below(len), 0),
            _ => (len, 0),
        };
        while asked.given < until {
            let piece = pattern::piece(id, asked.given, (until - asked.given) as usize);
            self.talk.session.push(key, Bytes::from_static(piece));
            asked.given += piece.len() as u64;
        }
        match asked.answering {
            Answering::Truncated { reset: true } => {
                self.asked.remove(&number);
                self.resets.push((key, Reason::INTERNAL_ERROR));
            }
            Answering::Truncated { reset: false } => {
                while let Some(bytes) = self.talk.said(around.context.now) {
                    around.context.send(around.conn, bytes);
                }
                self.end(false, around);
            }
            _ if asked.given < len => around.context.wake(pause, Self::token(around.conn, SEND, number)),
            _ => {
                asked.done = true;
                self.talk.session.end(key, asked.request.is_answered_with_trailers().then(|| talk::trailers(id)));
                if asked.whole {
                    self.finished(number, around);
                } else if around.context.rng.below(2) == 0 {
                    // RFC 9113 section 8.1: the rest of the request is of no interest.
                    self.asked.remove(&number);
                    self.served.push(id);
                    self.resets.push((key, Reason::NO_ERROR));
                }
            }
        }
    }

    /// A request has come whole and was answered whole.
    pub(super) fn finished(&mut self, number: u64, around: &mut Around<'_, '_>) {
        let Some(asked) = self.asked.remove(&number) else { return };
        self.served.push(asked.request.id);
        self.talk.session.release(asked.key);
        if let (Some(idle), true, false) = (around.mood.keeps_idle(), self.asked.is_empty(), around.calm) {
            around.context.wake(idle, Self::token(around.conn, IDLE, self.next));
        }
    }
}
