//! Running a log again.

use super::format::{Input, Piece};
use super::reading::{Entry, Header, Reader};
use super::{LogError, span};
use crate::buffer::Outbox;
use crate::cluster::DnsError;
use crate::config::{Config, Source, v3};
use crate::engine::{Engine, Event};
use crate::filter::Registry;
use crate::listener::Hello;
use crate::rng::Seed;
use crate::shared::Shared;
use crate::time::{Duration, Instant};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// A log and the engine that lives through it again.
#[derive(Debug)]
pub struct Replay {
    reader: Reader<Bytes>,
    header: Header,
    engine: Engine,
    outbox: Outbox,
    /// What observers were told since it was asked for last.
    events: Vec<Event>,
    /// Whether all entries were read.
    ended: bool,
    /// The host's, for configs.
    filters: Registry,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Entries that were fed to the engine.
    pub entries: u64,
    /// From the beginning to the last of them.
    pub time: Duration,
    /// The engine's digest after them.
    pub digest: u64,
    /// Whether that is the whole log, and the digest is the one that was recorded.
    pub whole: bool,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries over {}, digest {:016x}", self.entries, span(self.time), self.digest)
    }
}

impl Replay {
    /// Reads the head of a log and makes the engine that it begins with.
    ///
    /// # Errors
    /// If it is no log, of another version, cut off, or has a config that this build refuses.
    pub fn open(log: Bytes) -> Result<Replay, LogError> {
        Replay::open_with(log, Registry::default())
    }

    /// As [`Self::open`], for an engine that was run with these filters of its host. What they decide must follow from what
    /// they are given, as everything here.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(log: Bytes, filters: Registry) -> Result<Replay, LogError> {
        let mut reader = Reader::new(log);
        let header = reader.header()?;
        let config = load(&header.source, &filters)?;
        let mut engine = Engine::new(config, Arc::new(Shared::default()), Seed(header.seed), header.now, header.wall);
        engine.start_replaying();
        let mut replay = Replay { reader, header, engine, outbox: Outbox::default(), events: Vec::new(), ended: false, filters };
        replay.drain_outputs();
        Ok(replay)
    }

    /// What made the log, and what it says of itself.
    pub fn about(&self) -> String {
        let bodies = if self.header.bodies { "with bodies" } else { "bodies as lengths and digests" };
        format!("{}, {}, {bodies}", self.header.about, self.header.made_by)
    }

    /// Tells [`Event::Step`]s from here on: what is decided for each exchange.
    pub fn explain(&mut self) {
        self.engine.explain();
    }

    /// The engine, to be asked.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Time of the last entry, since the log began.
    pub fn time(&self) -> Duration {
        self.reader.now.since(self.reader.began)
    }

    /// The log's beginning on its engine's clock.
    pub fn began(&self) -> Instant {
        self.reader.began
    }

    /// What observers were told since this was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Feeds the next entry; `false` if the log has ended, as it was recorded.
    ///
    /// # Errors
    /// If the log is damaged or cut off, or the engine decides something else than it did.
    pub fn step(&mut self) -> Result<bool, LogError> {
        if self.ended {
            return Ok(false);
        }
        let Entry { tag, at, input, answers, check } = self.reader.entry()?;
        let entry = self.reader.entries;
        let diverged = |replay: &Replay, what| LogError::Diverged { entry, time: replay.time(), what };
        if let Input::End { entries, digest } = input {
            self.ended = true;
            self.reader.entries -= 1;
            if entries != self.reader.entries || digest != self.digest() {
                return Err(diverged(self, tag.about()));
            }
            self.reader.checksum()?;
            return Ok(false);
        }
        self.engine.answer_from_log(answers);
        let fits = self.feed(input, at)?;
        self.drain_outputs();
        if !fits || !self.engine.has_asked_all() || check != self.digest() as u8 {
            return Err(diverged(self, tag.about()));
        }
        Ok(true)
    }

    /// As [`Self::step`], unless the next entry is later than `until` since the log began: then it feeds none, and
    /// answers `false`.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_until(&mut self, until: Duration) -> Result<bool, LogError> {
        let until = self.reader.began + until;
        if until < Instant::NEVER && self.next_at().is_some_and(|at| at > until) {
            return Ok(false);
        }
        self.step()
    }

    /// Feeds all entries.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn run(&mut self) -> Result<Summary, LogError> {
        while self.step()? {}
        Ok(self.summary())
    }

    /// What it has come to so far.
    pub fn summary(&self) -> Summary {
        Summary { entries: self.reader.entries, time: self.time(), digest: self.digest(), whole: self.ended }
    }

    fn next_at(&self) -> Option<Instant> {
        self.reader.clone().entry().ok().map(|entry| entry.at)
    }

    fn digest(&self) -> u64 {
        self.engine.digest().value()
    }

    /// Whether the engine takes the input as it did.
    fn feed(&mut self, input: Input, now: Instant) -> Result<bool, LogError> {
        let engine = &mut self.engine;
        match input {
            Input::Accept { on, addresses } => drop(engine.handle_accept(on, addresses, now)),
            Input::Connected { conn, result } => engine.handle_connected(conn, result, now),
            Input::Recv { conn, offered, taken } => {
                let mut input = BytesMut::with_capacity(offered);
                for piece in taken {
                    match piece {
                        Piece::Bytes(bytes) => input.extend_from_slice(&bytes),
                        Piece::Elided(len) => input.resize(input.len() + len, 0),
                    }
                }
                let left = offered - input.len();
                input.resize(offered, 0);
                engine.handle_recv(conn, &mut input, now);
                return Ok(input.len() == left);
            }
            Input::Eof(conn) => engine.handle_eof(conn, now),
            Input::Closed(conn, why) => engine.handle_closed(conn, why, now),
            Input::Resolved { query, result } => engine.handle_resolved(query, result.map_err(DnsError), now),
            Input::Config(source) => engine.handle_config(load(&source, &self.filters)?, now),
            Input::Drain(scope) => engine.handle_drain(scope, now),
            Input::Nudge => engine.handle_nudge(now),
            Input::Timeout => engine.handle_timeout(now),
            Input::Transmit(conn) => {
                let _ = engine.poll_transmit(conn, &mut self.outbox, now);
                self.outbox.clear();
            }
            Input::Wall(wall) => engine.handle_wall(wall, now),
            Input::ClientHello { conn, tls, server_name, alpn } => {
                let alpn: Vec<&[u8]> = alpn.iter().map(Vec::as_slice).collect();
                drop(engine.handle_client_hello(conn, Hello { tls, server_name: server_name.as_deref(), alpn: &alpn }, now));
            }
            Input::Secured { conn, tls } => engine.handle_secured(conn, Arc::new(tls), now),
            Input::HandshakeFailed(conn, why) => engine.handle_handshake_failed(conn, why, now),
            Input::Filter(filter, what) => engine.handle_filter(filter, what, now),
            Input::End { .. } => {}
        }
        Ok(true)
    }

    fn drain_outputs(&mut self) {
        while self.engine.poll_action().is_some() {}
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
    }
}

fn load(source: &Source, filters: &Registry) -> Result<Arc<Config>, LogError> {
    let loaded = v3::load_with(&source.text, &source.file, &source.sinks, filters);
    let faults = || loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let Some(mut config) = loaded.config else { return Err(LogError::Config(faults())) };
    config.hostname = Arc::clone(&source.hostname);
    Ok(Arc::new(config))
}
