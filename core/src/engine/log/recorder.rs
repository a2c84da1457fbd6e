//! Writing a log while an engine runs.

use super::format::{ANSWERED, MAGIC, Put, Tag};
use crate::cluster::{DnsError, Resolved};
use crate::config::{Config, Source};
use crate::digest::{self, Digest};
use crate::drain::DrainScope;
use crate::engine::{ConnectError, IoFault};
use crate::id::{ConnId, ListenerId, QueryId};
use crate::record::Addresses;
use crate::rng::Seed;
use crate::time::{Instant, Wall};
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

/// An input that the engine has begun and not ended: it is there to be seen only if the engine panicked.
#[derive(Copy, Clone, Debug)]
enum Open {
    Written,
    Recv(ConnId, Instant),
}

/// A log that is being written.
#[derive(Debug)]
pub struct Recorder {
    bodies: bool,
    sealed: Vec<Bytes>,
    sealed_len: usize,
    block: Vec<u8>,
    /// Where the entry under way begins.
    entry: usize,
    entries: u64,
    last: Instant,
    open: Option<Open>,
    /// The input under way: what was offered, how much of its beginning is a body for sure, and that part's digest.
    offered: usize,
    ahead: usize,
    ahead_digest: u64,
    /// What was offered behind `ahead`.
    input: Vec<u8>,
    /// Parts of what was offered that turned out to be a body, by their ends.
    bodies_at: Vec<(usize, usize)>,
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
            open: None,
            offered: 0,
            ahead: 0,
            ahead_digest: 0,
            input: Vec::new(),
            bodies_at: Vec::new(),
        }
    }

    /// Bytes written so far.
    pub(in crate::engine) fn len(&self) -> usize {
        self.sealed_len + self.block.len()
    }

    /// The log up to here, with its end.
    pub(in crate::engine) fn snapshot(&mut self, answers: &mut Vec<u64>, digest: Digest) -> Log {
        // The input that made the engine panic is the one that matters most.
        if let Some(open) = self.open {
            if let Open::Recv(conn, now) = open {
                self.bodies_at.clear();
                self.received(conn, 0, now);
            }
            self.end(answers, digest);
        }
        let mut end = self.block.clone();
        end.push(Tag::End as u8);
        end.signed(0);
        end.number(self.entries);
        end.number(digest.value());
        end.push(digest.value() as u8);
        let mut pieces = self.sealed.clone();
        pieces.push(end.into());
        Log { pieces, entries: self.entries, digest: digest.value() }
    }

    /// Begins an entry; its arguments follow.
    fn begin(&mut self, tag: Tag, now: Instant) -> &mut Vec<u8> {
        self.open = Some(Open::Written);
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
        self.open = None;
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

    pub(in crate::engine) fn connected(&mut self, conn: ConnId, result: &Result<Addresses, ConnectError>, now: Instant) {
        let out = self.begin(Tag::Connected, now);
        out.number(conn.to_u64());
        match result {
            Ok(addresses) => {
                out.number(0);
                out.addresses(addresses);
            }
            Err(error) => {
                out.number(1);
                out.text(error.0.as_bytes());
            }
        }
    }

    /// Bytes are offered, of which the first `ahead` can only be taken as a body. Copies what may be something else.
    pub(in crate::engine) fn recv(&mut self, conn: ConnId, input: &[u8], ahead: usize, now: Instant) {
        self.open = Some(Open::Recv(conn, now));
        let ahead = if self.bodies { 0 } else { ahead.min(input.len()) };
        (self.offered, self.ahead) = (input.len(), ahead);
        self.ahead_digest = if ahead > 0 { digest::of(&input[..ahead]) } else { 0 };
        self.input.clear();
        self.input.extend_from_slice(&input[ahead..]);
        self.bodies_at.clear();
    }

    /// The `len` bytes before the last `left` are of a body.
    #[inline]
    pub(in crate::engine) fn body(&mut self, left: usize, len: usize) {
        let end = self.offered - left;
        if !self.bodies && end > self.ahead {
            self.bodies_at.push((end.saturating_sub(len).max(self.ahead), end));
        }
    }

    /// The engine has left so many of the bytes.
    pub(in crate::engine) fn received(&mut self, conn: ConnId, left: usize, now: Instant) {
        let (offered, ahead, taken) = (self.offered, self.ahead, self.offered - left);
        let (input, bodies) = (std::mem::take(&mut self.input), std::mem::take(&mut self.bodies_at));
        let digest = self.ahead_digest;
        let out = self.begin(Tag::Recv, now);
        out.number(conn.to_u64());
        out.number(offered as u64);
        let count_at = out.len();
        out.push(0);
        let (mut count, mut at) = (0u64, 0);
        if ahead > 0 && taken > 0 {
            count += 1;
            at = ahead.min(taken);
            out.number((at as u64) << 1 | 1);
            out.extend_from_slice(&digest.to_le_bytes());
        }
        for (from, to) in bodies.iter().copied().chain([(taken, taken)]) {
            if from > at {
                count += 1;
                out.number(((from - at) as u64) << 1);
                out.extend_from_slice(&input[at - ahead..from - ahead]);
            }
            if to > from {
                count += 1;
                out.number(((to - from) as u64) << 1 | 1);
                out.extend_from_slice(&digest::of(&input[from - ahead..to - ahead]).to_le_bytes());
            }
            at = to.max(at);
        }
        // Almost always a few; a read full of tiny chunks has more than fit a byte.
        if count < 0x80 {
            out[count_at] = count as u8;
        } else {
            let rest = out.split_off(count_at + 1);
            out.pop();
            out.number(count);
            out.extend_from_slice(&rest);
        }
        (self.input, self.bodies_at) = (input, bodies);
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
    use super::super::format::{Input, Piece, Reader};
    use super::*;

    fn recorder(bodies: bool) -> Recorder {
        let options = RecordOptions { bodies, about: "test".into() };
        Recorder::new(&options, &Config::default(), Seed(1), Instant::from_nanos(5), Wall::from_nanos(6))
    }

    fn read(log: &Log) -> Vec<Input> {
        let mut reader = Reader::new(log.to_bytes());
        assert_eq!(reader.header().expect("a head").about, "test".into());
        let mut inputs = Vec::new();
        while !matches!(inputs.last(), Some(Input::End { .. })) {
            inputs.push(reader.entry().expect("an entry").input);
        }
        inputs
    }

    #[test]
    fn bodies_are_lengths_unless_they_are_wanted() {
        let (conn, now) = (ConnId::from_u64(1 << 32 | 1), Instant::from_nanos(9));
        let bytes = |text: &str| Piece::Bytes(text.into());
        for (bodies, taken) in
            [(false, vec![Piece::Elided(3), bytes("head"), Piece::Elided(4), bytes("\r\n")]), (true, vec![bytes("abcheadbody\r\n")])]
        {
            let mut recorder = recorder(bodies);
            recorder.recv(conn, b"abcheadbody\r\nleft", 3, now);
            recorder.body(6, 4);
            recorder.received(conn, 4, now);
            recorder.end(&mut vec![1], Digest::default());
            let log = recorder.snapshot(&mut Vec::new(), Digest::default());
            assert_eq!(read(&log)[0], Input::Recv { conn, offered: 17, taken });
        }
    }

    #[test]
    fn a_read_of_tiny_chunks_has_more_pieces_than_fit_a_byte() {
        let (conn, now, mut recorder) = (ConnId::from_u64(1 << 32 | 1), Instant::from_nanos(9), recorder(false));
        recorder.recv(conn, &[b'x'; 2000], 0, now);
        (0..1000).rev().for_each(|chunk| recorder.body(2 * chunk, 1));
        recorder.received(conn, 0, now);
        recorder.end(&mut Vec::new(), Digest::default());
        let log = recorder.snapshot(&mut Vec::new(), Digest::default());
        let Input::Recv { taken, .. } = &read(&log)[0] else { panic!("bytes arrived") };
        assert_eq!(taken.len(), 2000);
    }

    #[test]
    fn an_input_that_was_not_ended_is_the_last_of_the_log() {
        let (conn, now, mut recorder) = (ConnId::from_u64(1 << 32 | 1), Instant::from_nanos(9), recorder(false));
        recorder.recv(conn, b"GET", 0, now);
        let log = recorder.snapshot(&mut Vec::new(), Digest::default());
        let last = Input::Recv { conn, offered: 3, taken: vec![Piece::Bytes(b"GET".to_vec())] };
        assert_eq!((log.entries, &read(&log)[..1]), (1, &[last][..]));
    }
}
