//! Switches to another protocol (a WebSocket, as far as the proxy can tell) and checks what comes back.

use crate::event::{MS, Time};
use crate::observe::Observation;
use crate::pattern;
use crate::peer::{ConnNo, Context, Input, Peer};
use crate::wire::{Piece, Reader};
use bytes::Bytes;
use weir_core::rng::Rng;

/// A client of an echo service behind an upgrade.
#[derive(Debug)]
pub struct Upgrading {
    start: Time,
    cluster: usize,
    conn: Option<ConnNo>,
    reader: Reader,
    switched: bool,
    total: u64,
    /// Keeps the tunnel when it has no more to say.
    stays: bool,
    sent: u64,
    received: u64,
}

/// The id whose pattern tunnels carry.
const ID: u64 = 77;

/// A client that sends up to 200,000 bytes and wants them back.
pub fn draw(start: Time, cluster: usize, rng: &mut Rng) -> Upgrading {
    let (total, stays) = (1 + rng.below(200_000), rng.below(3) == 0);
    Upgrading { start, cluster, conn: None, reader: Reader::default(), switched: false, total, stays, sent: 0, received: 0 }
}

impl Upgrading {
    fn send_some(&mut self, conn: ConnNo, context: &mut Context<'_>) {
        let piece = pattern::piece(ID, self.sent, (self.total - self.sent).min(1 + context.rng.below(9000)) as usize);
        context.send(conn, Bytes::from_static(piece));
        self.sent += piece.len() as u64;
        if self.sent == self.total {
            if !self.stays {
                context.finish(conn);
            }
            return;
        }
        let pause = context.rng.below(MS);
        context.wake(pause, 1);
    }
}

impl Peer for Upgrading {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Start => context.wake(self.start, 0),
            Input::Wake(0) => self.conn = Some(context.connect()),
            Input::Opened(conn) => {
                let head =
                    format!("GET /c{}/tunnel HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", self.cluster);
                context.send(conn, head);
            }
            Input::Wake(1) => {
                if let Some(conn) = self.conn {
                    self.send_some(conn, context);
                }
            }
            Input::Data(conn, bytes) => {
                self.reader.push(bytes);
                while let Some(piece) = self.reader.next(false) {
                    match piece {
                        Piece::Head(head) if head.status == 101 => {
                            self.switched = true;
                            self.send_some(conn, context);
                        }
                        Piece::Body(range) if self.switched => {
                            let bytes = self.reader.bytes(range);
                            if !pattern::is_piece(ID, self.received, bytes) {
                                context.note(Observation::ClientFault(0, "a tunnel with other bytes"));
                            }
                            self.received += bytes.len() as u64;
                        }
                        _ => {}
                    }
                }
                if self.received > self.sent {
                    context.note(Observation::ClientFault(0, "more came out of a tunnel than went in"));
                }
            }
            // It must not hold a connection of its cluster for ever.
            Input::Calm => {
                self.stays = false;
                if let Some(conn) = self.conn.filter(|_| self.sent == self.total) {
                    context.finish(conn);
                }
            }
            Input::End(conn) | Input::Broken(conn) => {
                context.close(conn);
                self.conn = None;
            }
            _ => {}
        }
    }
}
