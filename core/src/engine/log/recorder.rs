//! Writing a log while an engine runs.

use super::format::{ANSWERED, MAGIC, Put, Tag};
use super::tls::{fault_number, put_hello, put_info};
use crate::cluster::{DnsError, Resolved};
use crate::config::{Config, Source};
use crate::digest::{self, Digest};
use crate::drain::DrainScope;
use crate::engine::{ConnectError, IoFault, Transport};
use crate::id::{ConnId, ListenerId, QueryId};
use crate::listener::Hello;
use crate::record::Addresses;
use crate::rng::Seed;
use crate::time::{Instant, Wall};
use crate::tls_info::{TlsFault, TlsInfo};
use bytes::Bytes;

/// Bytes after which a block of the log is sealed.
const BLOCK: usize = 256 * 1024;

/// How to record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordOptions {
    /// Keep the bytes of bodies, not only their lengths and digests.
    pub bodies: bool,
    /// For people: which worker of which process this is.
    pub about: Box<str>,
}

/// A log as far as it was written.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its bytes, in pieces that follow each other.
    pub pieces: Vec<Bytes>,
    /// Its entries, without the last one, which says that it ends.
    pub entries: u64,
    /// The engine's digest at its end.
    pub digest: u64,
}

impl Log {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing, which never is: a log has a head.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it in one piece.
    pub fn to_bytes(&self) -> Bytes {
        self.pieces.concat().into()
    }
}

/// A log that is being written.
#[derive(Debug)]
pub(in crate::engine) struct Recorder {
    bodies: bool,
    sealed: Vec<Bytes>,
    sealed_len: usize,
    block: Vec<u8>,
    /// Where the entry under way begins.
    entry: usize,
    entries: u64,
    last: Instant,
    /// An entry is begun and not ended. That is to be seen only if the engine panicked.
    open: bool,
    /// Of the bytes that were offered, so many are written.
    taken: usize,
}

impl Recorder {
    pub(in crate::engine) fn new(options: &RecordOptions, config: &Config, seed: Seed, now: Instant, wall: Wall) -> Recorder {
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(MAGIC);
        block.number(super::VERSION);
        block.text(concat!("weir ", env!("CARGO_PKG_VERSION")).as_bytes());
        block.text(options.about.as_bytes());
        block.number(seed.0);
        block.number(now.as_nanos());
        block.number(wall.as_nanos());
        block.number(u64::from(options.bodies));
        block.source(&source_of(config));
        Recorder {
            bodies: options.bodies,
            sealed: Vec::new(),
            sealed_len: 0,
            block,
            entry: 0,
            entries: 0,
            last: now,
            open: false,
            taken: 0,
        }
    }

    /// Bytes written so far.
    pub(in crate::engine) fn len(&self) -> usize {
        self.sealed_len + self.block.len()
    }

    /// The log up to here, with its end.
    pub(in crate::engine) fn snapshot(&mut self, answers: &mut Vec<u64>, digest: Digest) -> Log {
        // The input that made the engine panic is the one that matters most.
        if self.open {
            self.end(answers, digest);
        }
        let mut end = self.block.clone();
        end.push(Tag::End as u8);
        end.signed(0);
        end.number(self.entries);
        end.number(digest.value());
        end.push(digest.value() as u8);
        let mut pieces = self.sealed.clone();
        let checksum = digest::of_all(pieces.iter().map(|piece| &piece[..]).chain([&end[..]]));
        end.extend_from_slice(&checksum.to_le_bytes());
        pieces.push(end.into());
        Log { pieces, entries: self.entries, digest: digest.value() }
    }

    /// Begins an entry; its arguments follow.
    pub(super) fn begin(&mut self, tag: Tag, now: Instant) -> &mut Vec<u8> {
        self.open = true;
        self.entry = self.block.len();
        self.block.push(tag as u8);
        self.block.signed(now.as_nanos().wrapping_sub(self.last.as_nanos()) as i64);
        self.last = now;
        &mut self.block
    }

    /// Ends the entry.
    pub(in crate::engine) fn end(&mut self, answers: &mut Vec<u64>, digest: Digest) {
        if !answers.is_empty() {
            self.block[self.entry] |= ANSWERED;
            self.block.number(answers.len() as u64);
            answers.drain(..).for_each(|answer| self.block.number(answer));
        }
        self.block.push(digest.value() as u8);
        self.entries += 1;
        self.open = false;
        if self.block.len() >= BLOCK - 4096 {
            self.sealed_len += self.block.len();
            self.sealed.push(std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK)).into());
        }
    }

    pub(in crate::engine) fn accept(&mut self, on: ListenerId, addresses: &Addresses, now: Instant) {
        let out = self.begin(Tag::Accept, now);
        out.number(on.to_u64());
        out.addresses(addresses);
    }

    pub(in crate::engine) fn connected(&mut self, conn: ConnId, result: &Result<Transport, ConnectError>, now: Instant) {
        let out = self.begin(Tag::Connected, now);
        out.number(conn.to_u64());
        match result {
            Ok(transport) => {
                out.number(if transport.tls.is_some() { 2 } else { 0 });
                out.addresses(&transport.addresses);
                transport.tls.iter().for_each(|tls| put_info(out, tls));
            }
            Err(error) => {
                out.number(if error.tls.is_some() { 3 } else { 1 });
                out.text(error.text.as_bytes());
                error.tls.iter().for_each(|fault| out.number(fault_number(*fault)));
            }
        }
    }

    pub(in crate::engine) fn client_hello(&mut self, conn: ConnId, hello: &Hello<'_>, now: Instant) {
        let out = self.begin(Tag::ClientHello, now);
        out.number(conn.to_u64());
        put_hello(out, hello);
    }

    pub(in crate::engine) fn secured(&mut self, conn: ConnId, tls: &TlsInfo, now: Instant) {
        let out = self.begin(Tag::Secured, now);
        out.number(conn.to_u64());
        put_info(out, tls);
    }

    pub(in crate::engine) fn handshake_failed(&mut self, conn: ConnId, why: TlsFault, now: Instant) {
        let out = self.begin(Tag::HandshakeFailed, now);
        out.number(conn.to_u64());
        out.number(fault_number(why));
    }

    /// So many bytes are offered; those that are taken follow.
    pub(in crate::engine) fn recv(&mut self, conn: ConnId, offered: usize, now: Instant) {
        self.taken = 0;
        let out = self.begin(Tag::Recv, now);
        out.number(conn.to_u64());
        out.number(offered as u64);
    }

    /// Heads and framing are taken.
    pub(in crate::engine) fn bytes(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.taken += bytes.len();
            self.block.number((bytes.len() as u64) << 1);
            self.block.extend_from_slice(bytes);
        }
    }

    /// A piece of a body is taken, or what is dropped unseen.
    pub(in crate::engine) fn body(&mut self, bytes: &[u8]) {
        if self.bodies {
            return self.bytes(bytes);
        }
        if !bytes.is_empty() {
            self.taken += bytes.len();
            self.block.number((bytes.len() as u64) << 1 | 1);
            self.block.extend_from_slice(&digest::sample(bytes).to_le_bytes());
        }
    }

    /// All that is taken was told. Answers how much that is.
    pub(in crate::engine) fn received(&mut self) -> usize {
        self.block.push(0);
        self.taken
    }

    /// The engine panicked over the rest of what was `offered`, of which this is left.
    pub(in crate::engine) fn panicked(&mut self, offered: usize, left: &[u8]) {
        // What was written may not have been taken off yet.
        let written = self.taken.saturating_sub(offered - left.len());
        let rest = &left[written.min(left.len())..];
        self.bytes(rest);
        self.received();
    }

    pub(in crate::engine) fn eof(&mut self, conn: ConnId, now: Instant) {
        self.begin(Tag::Eof, now).number(conn.to_u64());
    }

    pub(in crate::engine) fn closed(&mut self, conn: ConnId, why: IoFault, now: Instant) {
        let out = self.begin(Tag::Closed, now);
        out.number(conn.to_u64());
        out.number(u64::from(why == IoFault::Reset));
    }

    pub(in crate::engine) fn resolved(&mut self, query: QueryId, result: &Result<Resolved, DnsError>, now: Instant) {
        let out = self.begin(Tag::Resolved, now);
        out.number(query.to_u64());
        match result {
            Ok(resolved) => {
                out.number(0);
                out.number(resolved.addresses.len() as u64);
                resolved.addresses.iter().for_each(|ip| out.ip(*ip));
                out.number(resolved.ttl.map_or(0, |ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX - 1) + 1));
            }
            Err(error) => {
                out.number(1);
                out.text(error.0.as_bytes());
            }
        }
    }

    pub(in crate::engine) fn config(&mut self, config: &Config, now: Instant) {
        self.begin(Tag::Config, now).source(&source_of(config));
    }

    pub(in crate::engine) fn drain(&mut self, scope: DrainScope, now: Instant) {
        let out = self.begin(Tag::Drain, now);
        match scope {
            DrainScope::Process { deadline } => {
                out.number(0);
                out.number(deadline.as_nanos());
            }
            DrainScope::Listener(id) => {
                out.number(1);
                out.number(id.to_u64());
            }
            DrainScope::Discourage => out.number(2),
            DrainScope::Encourage => out.number(3),
        }
    }

    pub(in crate::engine) fn nudge(&mut self, now: Instant) {
        self.begin(Tag::Nudge, now);
    }

    pub(in crate::engine) fn timeout(&mut self, now: Instant) {
        self.begin(Tag::Timeout, now);
    }

    pub(in crate::engine) fn transmit(&mut self, conn: ConnId, now: Instant) {
        self.begin(Tag::Transmit, now).number(conn.to_u64());
    }

    pub(in crate::engine) fn wall(&mut self, wall: Wall, now: Instant) {
        self.begin(Tag::Wall, now).number(wall.as_nanos());
    }
}

/// The config as it was written, with the host name that the driver gave it since.
fn source_of(config: &Config) -> Source {
    Source { hostname: std::sync::Arc::clone(&config.hostname), ..(*config.source).clone() }
}

#[cfg(test)]
mod tests {
    use super::super::format::{Input, Piece};
    use super::super::reading::Reader;
    use super::*;

    fn recorder(bodies: bool) -> Recorder {
        let options = RecordOptions { bodies, about: "test".into() };
        Recorder::new(&options, &Config::default(), Seed(1), Instant::from_nanos(5), Wall::from_nanos(6))
    }

    fn first(log: &Log) -> Input {
        let mut reader = Reader::new(log.to_bytes());
        assert_eq!(reader.header().expect("a head").about, "test".into());
        reader.entry().expect("an entry").input
    }

    #[test]
    fn bodies_are_lengths_unless_they_are_wanted() {
        let (conn, now) = (ConnId::from_u64(1 << 32 | 1), Instant::from_nanos(9));
        let bytes = |text: &str| Piece::Bytes(text.into());
        for (bodies, taken) in [(false, vec![bytes("head"), Piece::Elided(4)]), (true, vec![bytes("head"), bytes("body")])] {
            let mut recorder = recorder(bodies);
            recorder.recv(conn, 12, now);
            recorder.bytes(b"head");
            recorder.body(b"body");
            assert_eq!(recorder.received(), 8);
            recorder.end(&mut vec![1], Digest::default());
            let log = recorder.snapshot(&mut Vec::new(), Digest::default());
            assert_eq!(first(&log), Input::Recv { conn, offered: 12, taken });
        }
    }

    #[test]
    fn what_the_engine_panicked_over_is_the_last_of_the_log() {
        let (conn, now, mut recorder) = (ConnId::from_u64(1 << 32 | 1), Instant::from_nanos(9), recorder(false));
        recorder.recv(conn, 8, now);
        recorder.bytes(b"head");
        recorder.panicked(8, b"headrest");
        let log = recorder.snapshot(&mut Vec::new(), Digest::default());
        let taken = vec![Piece::Bytes(b"head".to_vec()), Piece::Bytes(b"rest".to_vec())];
        assert_eq!((log.entries, first(&log)), (1, Input::Recv { conn, offered: 8, taken }));
    }
}
