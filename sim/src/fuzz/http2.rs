//! Any bytes of clients to an HTTP/2 listener and any bytes of hosts on HTTP/2 connections, in any pieces: an engine
//! must not panic, and must hold nothing once all its connections are gone.

use crate::config::Settings;
use crate::versions::{Upstream, Versions};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use weir_core::Engine;
use weir_core::buffer::Outbox;
use weir_core::config::Config;
use weir_core::drain::DrainScope;
use weir_core::engine::{Action, IoFault, Transmit};
use weir_core::http2::PREFACE;
use weir_core::id::ConnId;
use weir_core::record::Addresses;
use weir_core::rng::{Rng, Seed};
use weir_core::shared::Shared;
use weir_core::time::{Duration, Instant, Wall};

/// Header blocks that random bytes would rarely make: requests (GET, POST and an extended CONNECT, all to `/c0/`),
/// answers, trailers.
const BLOCKS: [&[u8]; 8] = [
    b"\x82\x86\x44\x04/c0/\x41\x01a",
    b"\x83\x86\x44\x04/c0/\x41\x01a",
    b"\x02\x07CONNECT\x86\x44\x04/c0/\x41\x01a\x00\x09:protocol\x09websocket",
    b"\x88",
    b"\x88\x0f\x0d\x013",
    b"\x48\x03103",
    b"\x48\x03503",
    b"\x00\x01t\x011",
];

struct Http2 {
    engine: Engine,
    now: Instant,
    conns: Vec<ConnId>,
}

/// Feeds an engine what `data` says, then ends all connections.
///
/// # Panics
/// If the engine does, or if it still holds something in the end.
pub fn http2(data: &[u8]) {
    run(data);
}

/// Answers how many connections there were.
fn run(data: &[u8]) -> usize {
    static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
        let mut settings = Settings::draw(1, true, &mut Rng::new(Seed(1)));
        settings.discovery = "STATIC";
        settings.versions = Versions { clusters: vec![Upstream::Two], ..Versions::one(1) };
        settings.config(0)
    });
    let (shared, now): (Arc<Shared>, _) = (Arc::default(), Instant::from_nanos(1));
    let engine = Engine::new(Arc::clone(&CONFIG), Arc::clone(&shared), Seed(1), now, Wall::from_nanos(1));
    let mut world = Http2 { engine, now, conns: Vec::new() };
    let mut rest = data;
    while let [what, which, length, more @ ..] = rest {
        let (bytes, behind) = more.split_at(more.len().min(usize::from(length % 32)));
        world.step(*what, *which, bytes);
        rest = behind;
    }
    let count = world.conns.len();
    for conn in std::mem::take(&mut world.conns) {
        world.engine.handle_closed(conn, IoFault::Reset, world.now);
        world.pump(true);
    }
    world.engine.handle_drain(DrainScope::Process { deadline: world.now }, world.now);
    world.pump(true);
    world.now = world.now + Duration::from_secs(1_000);
    world.engine.handle_timeout(world.now);
    world.pump(true);
    let engine = &world.engine;
    assert_eq!((engine.exchanges(), engine.downstream_connections(), engine.streams()), (0, 0, 0));
    assert_eq!(shared.connections.get(), 0);
    for cluster in engine.clusters() {
        for held in &cluster.shared.priorities {
            assert_eq!((held.requests.get(), held.pending.get(), held.retries.get(), held.starved.get()), (0, 0, 0, 0));
        }
    }
    count
}

impl Http2 {
    fn step(&mut self, what: u8, which: u8, bytes: &[u8]) {
        let conn = self.conns.get(usize::from(which) % self.conns.len().max(1)).copied();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        match (what % 10, conn) {
            (0, _) => {
                let accepted = self.engine.listener("main").map(|on| self.engine.handle_accept(on, addresses(), self.now));
                if let Some(Ok(conn)) = accepted {
                    self.conns.push(conn);
                    let settings = frame(4, 0, 0, b"");
                    self.send(conn, &[PREFACE, &settings].concat());
                }
            }
            // Bytes as they are.
            (1, Some(conn)) => self.send(conn, bytes),
            // A frame of any kind.
            (2, Some(conn)) => self.send(conn, &frame(byte(0) % 11, byte(1), u32::from(byte(2) % 16), bytes.get(3..).unwrap_or_default())),
            // Frames that mean something, on streams that there may be.
            (3 | 4, Some(conn)) => {
                let (stream, flags) = (1 + 2 * u32::from(byte(0) % 8), 4 | byte(1) & 1);
                self.send(conn, &frame(1, flags, stream, BLOCKS[usize::from(byte(2)) % BLOCKS.len()]));
            }
            (5, Some(conn)) => self.send(conn, &frame(0, byte(1) & 1, 1 + 2 * u32::from(byte(0) % 8), bytes.get(2..).unwrap_or_default())),
            (6, Some(conn)) => {
                let (kind, payload) = [(3, 8), (8, 100), (7, 3), (4, 0)][usize::from(byte(0) % 4)];
                let payload = u32::to_be_bytes(payload);
                let (stream, payload) = match kind {
                    7 => (0, [payload, [0; 4]].concat()),
                    4 => (0, Vec::new()),
                    _ => (u32::from(byte(1) % 16), payload.to_vec()),
                };
                self.send(conn, &frame(kind, 0, stream, &payload));
            }
            (7, Some(conn)) => self.engine.handle_eof(conn, self.now),
            (8, Some(conn)) => self.engine.handle_closed(conn, IoFault::Reset, self.now),
            (9, _) => {
                self.now = self.now + Duration::from_millis(u64::from(which) * u64::from(byte(0)));
                self.engine.handle_timeout(self.now);
            }
            _ => {}
        }
        self.pump(!which.is_multiple_of(5));
    }

    /// A peer sends bytes, in two pieces.
    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let (one, other) = bytes.split_at(bytes.len() / 2);
        let mut input = BytesMut::new();
        for piece in [one, other] {
            input.extend_from_slice(piece);
            // What the engine leaves it takes once it was asked for what it has to say, or never.
            for _ in 0..3 {
                self.engine.handle_recv(conn, &mut input, self.now);
                self.pump(true);
            }
        }
    }

    /// Does what the engine says; sends only if the sockets take it.
    fn pump(&mut self, sends: bool) {
        let mut out = Outbox::default();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Connect { conn, .. } => {
                    self.conns.push(conn);
                    self.engine.handle_connected(conn, Ok(addresses().into()), self.now);
                    let mut settings = BytesMut::from(&frame(4, 0, 0, b"")[..]);
                    self.engine.handle_recv(conn, &mut settings, self.now);
                }
                Action::Transmit(conn) if sends => {
                    while self.engine.poll_transmit(conn, &mut out, self.now) == Transmit::Ready {
                        out.clear();
                    }
                }
                Action::Close(conn) | Action::CloseIfIdle(conn) => self.engine.handle_closed(conn, IoFault::Closed, self.now),
                Action::Nudge => self.engine.handle_nudge(self.now),
                _ => {}
            }
        }
        while self.engine.poll_event().is_some() {}
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn addresses() -> Addresses {
    let address = |port| SocketAddr::from(([10, 0, 1, 1], port));
    Addresses { local: address(80), remote: address(40_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reaches_a_host() {
        assert_eq!(run(&[0, 1, 0, 3, 0, 3, 0, 1, 0]), 2);
    }

    #[test]
    fn random_frames_leave_nothing_behind() {
        let mut rng = Rng::new(Seed(11));
        let mut reached = 0;
        for _ in 0..2_000 {
            let mut data = Vec::new();
            for step in 0..rng.below(60) {
                // Mostly what makes sense: what does not ends a connection.
                let what = if step == 0 { 0 } else { [0, 3, 3, 3, 3, 5, 5, 6, 9, rng.below(10) as u8][rng.below(10) as usize] };
                let length = rng.below(32);
                data.extend([what, rng.below(8) as u8, length as u8]);
                data.extend((0..length).map(|_| rng.below(256) as u8));
            }
            reached += run(&data);
        }
        assert!(reached > 8_000, "{reached} connections");
    }
}
