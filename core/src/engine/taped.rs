//! Inputs while they are recorded or replayed: around each, what is written, and what the digest takes in.

use super::log::{Log, RecordOptions, Recorder};
use super::{Action, Engine, Event, Refused};
use crate::answers::{Answers, Replayed};
use crate::digest::Digest;
use crate::http2::frames::Run;
use crate::id::{ConnId, ListenerId};
use crate::record::Addresses;
use crate::time::Instant;
use bytes::{Buf, BytesMut};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

impl Engine {
    /// Begins to record. The log is whole only if nothing was fed to the engine before.
    pub fn start_recording(&mut self, options: &RecordOptions, now: Instant) {
        let wall = self.clock.wall.at(now);
        self.recorder = Some(Box::new(Recorder::new(options, &self.config, self.seed, now, wall)));
        self.answers = Answers::Recorded(Vec::new());
        self.blocks.digest = Some(Digest::default());
    }

    /// Records no longer, and forgets what was recorded.
    pub fn stop_recording(&mut self) {
        self.recorder = None;
        self.answers = Answers::Live;
        self.blocks.digest = None;
    }

    /// Size of what was recorded, in bytes; 0 if nothing is.
    pub fn recorded_len(&self) -> usize {
        self.recorder.as_ref().map_or(0, |recorder| recorder.len())
    }

    /// What was recorded up to here. If the engine has panicked, the input that made it panic is the last.
    pub fn recorded(&mut self) -> Option<Log> {
        let digest = self.digest();
        match (&mut self.recorder, &mut self.answers) {
            (Some(recorder), Answers::Recorded(answers)) => Some(recorder.snapshot(answers, digest)),
            _ => None,
        }
    }

    /// Takes answers from a log from here on.
    pub(super) fn start_replaying(&mut self) {
        self.answers = Answers::Replayed(Replayed::default());
        self.blocks.digest = Some(Digest::default());
    }

    /// What `Shared` answers to the next input.
    pub(super) fn answer_from_log(&mut self, answers: Vec<u64>) {
        self.answers = Answers::Replayed(Replayed { left: answers.into(), missing: false });
    }

    /// Whether the engine asked just what the log answers.
    pub(super) fn has_asked_all(&self) -> bool {
        matches!(&self.answers, Answers::Replayed(replayed) if replayed.left.is_empty() && !replayed.missing)
    }

    /// What the engine has decided since recording or replaying began, as a number.
    pub fn digest(&self) -> Digest {
        self.blocks.digest.unwrap_or_default()
    }

    #[inline]
    pub(super) fn is_taped(&self) -> bool {
        self.blocks.digest.is_some()
    }

    /// Does `act`, and if it is recorded, writes it down.
    #[inline]
    pub(super) fn taped<R>(&mut self, write: impl FnOnce(&mut Recorder), act: impl FnOnce(&mut Engine) -> R) -> R {
        if !self.is_taped() {
            return act(self);
        }
        let before = self.out.mark();
        if let Some(recorder) = &mut self.recorder {
            write(recorder);
        }
        let result = act(self);
        self.end_entry(before);
        result
    }

    pub(super) fn taped_accept(&mut self, on: ListenerId, addresses: Addresses, now: Instant) -> Result<ConnId, Refused> {
        self.taped(
            |log| log.accept(on, &addresses, now),
            |engine| {
                let accepted = engine.accept(on, addresses, now);
                if let Some(digest) = &mut engine.blocks.digest {
                    digest.word(accepted.map_or_else(|refused| refused as u64, ConnId::to_u64));
                }
                accepted
            },
        )
    }

    pub(super) fn taped_recv(&mut self, conn: ConnId, input: &mut BytesMut, now: Instant) {
        let (before, offered) = (self.out.mark(), input.len());
        if let Some(recorder) = &mut self.recorder {
            recorder.recv(conn, offered, now);
        }
        // The input over which the engine panics is the one that its log is wanted for.
        let received = catch_unwind(AssertUnwindSafe(|| self.recv(conn, input, now)));
        if let Some(recorder) = &mut self.recorder {
            if let Err(panic) = received {
                recorder.panicked(offered, input);
                resume_unwind(panic);
            }
            let taken = recorder.received();
            debug_assert_eq!(taken, offered - input.len(), "bytes were taken off without the log's knowledge");
        } else if let Err(panic) = received {
            resume_unwind(panic);
        }
        self.end_entry(before);
    }

    fn end_entry(&mut self, before: (usize, usize)) {
        let Some(digest) = &mut self.blocks.digest else { return };
        self.out.actions.range(before.0..).for_each(|action| add_action(digest, action));
        self.out.events.range(before.1..).for_each(|event| add_event(digest, event));
        if let (Some(recorder), Answers::Recorded(answers)) = (&mut self.recorder, &mut self.answers) {
            recorder.end(answers, *digest);
        }
    }
}

/// Heads or framing are taken off an input: the log has them.
#[inline]
pub(super) fn log_bytes(recorder: &mut Option<Box<Recorder>>, bytes: &[u8]) {
    if let Some(recorder) = recorder {
        recorder.bytes(bytes);
    }
}

/// A piece of a body is taken off an input, or bytes that nobody looks at: the log has their length.
#[inline]
pub(super) fn log_body(recorder: &mut Option<Box<Recorder>>, bytes: &[u8]) {
    if let Some(recorder) = recorder {
        recorder.body(bytes);
    }
}

/// A run of bytes of an HTTP/2 connection is taken off an input.
pub(super) fn log_run(recorder: &mut Option<Box<Recorder>>, run: Run<'_>) {
    match run {
        Run::Framing(bytes) => log_bytes(recorder, bytes),
        Run::Body(bytes) => log_body(recorder, bytes),
        Run::Frame(_) | Run::Setting(..) | Run::PseudoTrailer => {}
    }
}

/// Throws away an input.
pub(super) fn discard(recorder: &mut Option<Box<Recorder>>, input: &mut BytesMut) {
    log_body(recorder, input);
    input.clear();
}

/// Throws away an input that was looked at and refused.
pub(super) fn refuse(recorder: &mut Option<Box<Recorder>>, input: &mut BytesMut) {
    log_bytes(recorder, input);
    input.clear();
}

/// Takes framing off an input.
pub(super) fn skip(recorder: &mut Option<Box<Recorder>>, input: &mut BytesMut, count: usize) {
    if count > 0 {
        log_bytes(recorder, &input[..count]);
        input.advance(count);
    }
}

fn add_action(digest: &mut Digest, action: &Action) {
    let mut words = |tag: u64, word: u64| {
        digest.word(tag);
        digest.word(word);
    };
    match action {
        Action::Connect { conn, address, tls } => {
            words(1, conn.to_u64());
            add_address(digest, *address);
            if let Some(tls) = tls {
                digest.bytes(tls.server_name.as_bytes());
                if let Some(san) = &tls.san {
                    digest.bytes(san.as_bytes());
                }
            }
        }
        Action::Open(conn) => words(12, conn.to_u64()),
        Action::Transmit(conn) => words(2, conn.to_u64()),
        Action::SetReadable(conn, readable) => words(3 + u64::from(*readable), conn.to_u64()),
        Action::ShutdownWrite(conn) => words(5, conn.to_u64()),
        Action::Close(conn) => words(6, conn.to_u64()),
        Action::Drop(conn) => words(7, conn.to_u64()),
        Action::Reset(conn) => words(8, conn.to_u64()),
        Action::CloseIfIdle(conn) => words(9, conn.to_u64()),
        Action::Resolve { query, question } => {
            words(10, query.to_u64());
            digest.bytes(question.name.host.as_bytes());
        }
        Action::Nudge => digest.word(11),
    }
}

fn add_event(digest: &mut Digest, event: &Event) {
    match event {
        Event::AccessLog { sink, line } => {
            digest.word(20 + *sink as u64);
            digest.bytes(line);
        }
        Event::Drained { cut } => digest.word(1 << 32 | u64::from(*cut)),
        Event::ListenerDrained { name } => digest.bytes(name.as_bytes()),
        // An observer's own: it is not there in a run that nobody explains.
        Event::Step(_) => {}
    }
}

fn add_address(digest: &mut Digest, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => digest.word(u64::from(ip.to_bits())),
        IpAddr::V6(ip) => digest.bytes(&ip.octets()),
    }
    digest.word(u64::from(address.port()));
}
