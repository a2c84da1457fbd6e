//! Any sequence of inputs to one engine, sensible or not: it must not panic, and must hold nothing once all its
//! connections are gone.

use crate::config::Settings;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use weir_core::Engine;
use weir_core::buffer::Outbox;
use weir_core::config::Config;
use weir_core::drain::DrainScope;
use weir_core::engine::{Action, ConnectError, IoFault, Transmit};
use weir_core::id::ConnId;
use weir_core::record::Addresses;
use weir_core::rng::{Rng, Seed};
use weir_core::shared::Shared;
use weir_core::time::{Duration, Instant, Wall};

/// Pieces of HTTP that random bytes would rarely make.
const PHRASES: [&[u8]; 16] = [
    b"GET /c0/1/0/200/5/l/0/0 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /r0/1/3/200/5/l/0/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
    b"POST /t0/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"GET /c0/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n",
    b"Connection: close\r\n",
    b"abc",
    b"\r\n",
];

struct Chaos {
    engine: Engine,
    now: Instant,
    conns: Vec<ConnId>,
    connecting: Vec<ConnId>,
}

/// Feeds an engine what `data` says, then ends all connections.
///
/// # Panics
/// If the engine does, or if it still holds something in the end.
pub fn run(data: &[u8]) {
    static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| Settings::draw(1, true, &mut Rng::new(Seed(1))).config(0));
    let (shared, now): (Arc<Shared>, _) = (Arc::default(), Instant::from_nanos(1));
    let engine = Engine::new(Arc::clone(&CONFIG), Arc::clone(&shared), Seed(1), now, Wall::from_nanos(1));
    let mut chaos = Chaos { engine, now, conns: Vec::new(), connecting: Vec::new() };
    for step in data.chunks_exact(3) {
        chaos.step(step[0], step[1], step[2]);
    }
    for conn in std::mem::take(&mut chaos.conns) {
        chaos.engine.handle_closed(conn, IoFault::Reset, chaos.now);
        chaos.pump(true);
    }
    chaos.engine.handle_drain(DrainScope::Process { deadline: chaos.now }, chaos.now);
    chaos.pump(true);
    chaos.now = chaos.now + Duration::from_secs(100);
    chaos.engine.handle_timeout(chaos.now);
    chaos.pump(true);
    assert_eq!((chaos.engine.exchanges(), chaos.engine.downstream_connections(), shared.connections.get()), (0, 0, 0));
}

impl Chaos {
    fn step(&mut self, what: u8, which: u8, how: u8) {
        let conn = self.conns.get(usize::from(which) % self.conns.len().max(1)).copied();
        match (what % 8, conn) {
            (0, _) => {
                let accepted = self.engine.listener("main").map(|on| self.engine.handle_accept(on, addresses(), self.now));
                self.conns.extend(accepted.and_then(Result::ok));
            }
            (1..=3, Some(conn)) => {
                let mut input = BytesMut::from(PHRASES[usize::from(how % 16)]);
                // Now and then only a part, or with a byte that does not belong there.
                match how >> 4 {
                    0 => input.truncate(input.len() / 2),
                    1 => input[0] ^= 0x80,
                    _ => {}
                }
                self.engine.handle_recv(conn, &mut input, self.now);
            }
            (4, Some(conn)) => self.engine.handle_eof(conn, self.now),
            (5, Some(conn)) => self.engine.handle_closed(conn, IoFault::Reset, self.now),
            (6, _) => {
                self.now = self.now + Duration::from_millis(u64::from(which) * u64::from(how));
                self.engine.handle_timeout(self.now);
            }
            (7, _) => {
                if let Some(conn) = self.connecting.pop() {
                    let result = if how.is_multiple_of(4) { Err(ConnectError::new("refused")) } else { Ok(addresses().into()) };
                    self.engine.handle_connected(conn, result, self.now);
                }
            }
            _ => {}
        }
        self.pump(!how.is_multiple_of(3));
    }

    /// Does what the engine says; sends only if the sockets take it.
    fn pump(&mut self, sends: bool) {
        let mut out = Outbox::default();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Connect { conn, .. } => {
                    self.conns.push(conn);
                    self.connecting.push(conn);
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

fn addresses() -> Addresses {
    let address = |port| SocketAddr::from(([10, 0, 1, 1], port));
    Addresses { local: address(80), remote: address(40_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_inputs_leave_nothing_behind() {
        let mut rng = Rng::new(Seed(9));
        for _ in 0..300 {
            let data: Vec<u8> = (0..3 * rng.below(80)).map(|_| rng.below(256) as u8).collect();
            run(&data);
        }
    }
}
