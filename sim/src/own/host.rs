//! A host of a user's own world: it answers whatever comes, by the law of its cluster.

use super::world_file::Upstream;
use crate::client::{Coding, body};
use crate::observe::Observation;
use crate::pattern;
use crate::peer::{ConnNo, Context, Input, Peer};
use crate::request::Method;
use crate::wire::{Piece, Reader};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::http::reason_phrase;

/// One host.
#[derive(Debug)]
pub struct Host {
    cluster: usize,
    law: Arc<Upstream>,
    conns: BTreeMap<ConnNo, Serving>,
}

#[derive(Debug, Default)]
struct Serving {
    reader: Reader,
    request: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    id: Option<u64>,
    to_head: bool,
    read: u64,
    deed: Deed,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Deed {
    Answer(u16),
    AnswerAndClose(u16),
    Reset,
    Hang,
}

impl Host {
    /// A host of cluster number `cluster`.
    pub fn new(cluster: usize, law: Arc<Upstream>) -> Host {
        Host { cluster, law, conns: BTreeMap::new() }
    }

    fn deed(law: &Upstream, context: &mut Context<'_>) -> Deed {
        // In thousandths of a percent.
        let mut draw = context.rng.below(100_000) as f64 / 1_000.0;
        let mut is = |share: f64| {
            draw -= share;
            draw < 0.0
        };
        if is(law.errors) {
            Deed::Answer(law.error_status)
        } else if is(law.resets) {
            Deed::Reset
        } else if is(law.hangs) {
            Deed::Hang
        } else if is(law.closes) {
            Deed::AnswerAndClose(law.status)
        } else {
            Deed::Answer(law.status)
        }
    }

    fn data(&mut self, conn: ConnNo, bytes: &[u8], context: &mut Context<'_>) {
        let Some(serving) = self.conns.get_mut(&conn) else { return };
        serving.reader.push(bytes);
        while let Some(piece) = serving.reader.next(false) {
            match piece {
                Piece::Wrong(why) => return context.note(Observation::HostFault(0, why)),
                Piece::Head(head) => {
                    let deed = Host::deed(&self.law, context);
                    if let Some(id) = head.id {
                        let cluster = self.cluster;
                        context.note(Observation::Arrived { id, cluster, versions: (None, None), attempt: head.attempt });
                        if !matches!(deed, Deed::Answer(_)) {
                            context.note(Observation::Disturbed(id));
                        }
                    }
                    let to_head = &*head.method == Method::Head.as_str();
                    serving.request = Some(Asked { id: head.id, to_head, read: 0, deed });
                }
                Piece::Body(range) => {
                    let Some(asked) = &mut serving.request else { continue };
                    let bytes = serving.reader.bytes(range);
                    if let Some(id) = asked.id
                        && !pattern::is_piece(id, asked.read, bytes)
                    {
                        context.note(Observation::HostFault(id, "a body with other bytes"));
                    }
                    asked.read += bytes.len() as u64;
                }
                Piece::End => {
                    let latency = self.law.latency.draw(context.rng);
                    context.wake(latency, conn as u64);
                }
            }
        }
    }

    fn answer(&mut self, conn: ConnNo, context: &mut Context<'_>) {
        let Some(asked) = self.conns.get_mut(&conn).and_then(|serving| serving.request.take()) else { return };
        let (status, closes) = match asked.deed {
            Deed::Hang => return,
            Deed::Reset => {
                self.conns.remove(&conn);
                return context.reset(conn);
            }
            Deed::Answer(status) => (status, false),
            Deed::AnswerAndClose(status) => (status, true),
        };
        let (from, to) = self.law.body;
        let len = from + context.rng.below(to - from + 1);
        let bodyless = asked.to_head || matches!(status, 204 | 304);
        let id = asked.id.map_or(String::new(), |id| format!("X-Id: {id}\r\n"));
        let length = if matches!(status, 204 | 304) { String::new() } else { format!("Content-Length: {len}\r\n") };
        let head = format!("HTTP/1.1 {status} {}\r\n{id}{length}\r\n", reason_phrase(status));
        let bytes: Bytes = body(&head, asked.id.unwrap_or_default(), if bodyless { 0 } else { len }, Coding::Plain, context.rng);
        context.send(conn, bytes);
        if closes {
            self.conns.remove(&conn);
            context.close(conn);
        }
    }
}

impl Peer for Host {
    fn on(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        match input {
            Input::Opened(conn) => {
                self.conns.insert(conn, Serving::default());
            }
            Input::Data(conn, bytes) => self.data(conn, bytes, context),
            Input::End(conn) => {
                self.conns.remove(&conn);
                context.close(conn);
            }
            Input::Broken(conn) => {
                self.conns.remove(&conn);
            }
            Input::Wake(conn) => self.answer(conn as ConnNo, context),
            Input::Start | Input::Refused(_) | Input::Calm => {}
        }
    }
}
