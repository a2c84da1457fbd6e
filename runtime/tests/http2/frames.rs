//! HTTP/2 as a peer speaks it, frame by frame over a blocking socket. The client sends whatever it is told to, lies
//! included, and takes whatever comes without a panic; it keeps what it was answered by stream. It knows no rules:
//! those are the tests'.

use crate::block::Block;
use crate::names::{flag, kind};
use crate::read::unpadded;
pub use crate::read::{Answer, Event, Fields, Frame, encode};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection.
pub struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    decoder: loona_hpack::Decoder<'static>,
    /// A header block that has begun: its stream, whether it ends the stream, what came of it.
    block: Option<(u32, bool, Vec<u8>)>,
    pub answers: BTreeMap<u32, Answer>,
    /// What the peer set, by identifier.
    pub settings: BTreeMap<u16, u32>,
    /// What the peer's WINDOW_UPDATEs add up to, by stream.
    pub credits: BTreeMap<u32, u64>,
    /// Last stream and code of each GOAWAY.
    pub goaways: Vec<(u32, u32)>,
    /// How long a read waits.
    pub patience: Duration,
    /// Give back every window that DATA takes.
    pub credit: bool,
    /// Acknowledge SETTINGS and PING.
    pub acknowledge: bool,
}

impl Client {
    /// A connection on which nothing was said.
    pub fn silent(address: SocketAddr) -> std::io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(Client {
            socket,
            input: Vec::new(),
            decoder: loona_hpack::Decoder::new(),
            block: None,
            answers: BTreeMap::new(),
            settings: BTreeMap::new(),
            credits: BTreeMap::new(),
            goaways: Vec::new(),
            patience: Duration::from_secs(5),
            credit: true,
            acknowledge: true,
        })
    }

    /// A connection after the exchange of SETTINGS.
    pub fn connect(address: SocketAddr) -> std::io::Result<Client> {
        Client::connect_with(address, &[])
    }

    pub fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> std::io::Result<Client> {
        let mut client = Client::silent(address)?;
        client.write(PREFACE);
        client.settings(settings);
        let (mut set, mut acknowledged) = (false, false);
        while !(set && acknowledged) {
            match client.next() {
                Event::Frame(frame) if frame.kind == kind::SETTINGS && frame.has(flag::ACK) => acknowledged = true,
                Event::Frame(frame) if frame.kind == kind::SETTINGS => set = true,
                Event::Frame(_) => {}
                other => return Err(std::io::Error::other(format!("no SETTINGS but {other:?}"))),
            }
        }
        Ok(client)
    }

    /// Sends bytes. `false` if the peer takes none: what it had to say is read all the same.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.write(&encode(payload.len(), kind, flags, stream, payload))
    }

    /// A frame whose header lies about the length of the payload.
    pub fn lie(&mut self, length: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.write(&encode(length, kind, flags, stream, payload))
    }

    /// HEADERS with the whole block.
    pub fn headers(&mut self, stream: u32, block: &Block, end_stream: bool) -> bool {
        let flags = flag::END_HEADERS | if end_stream { flag::END_STREAM } else { 0 };
        self.frame(kind::HEADERS, flags, stream, &block.0)
    }

    pub fn data(&mut self, stream: u32, payload: &[u8], end_stream: bool) -> bool {
        self.frame(kind::DATA, u8::from(end_stream), stream, payload)
    }

    pub fn settings(&mut self, settings: &[(u16, u32)]) -> bool {
        let payload: Vec<u8> = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        self.frame(kind::SETTINGS, flag::NONE, 0, &payload)
    }

    pub fn reset(&mut self, stream: u32, code: u32) -> bool {
        self.frame(kind::RST_STREAM, flag::NONE, stream, &code.to_be_bytes())
    }

    pub fn window_update(&mut self, stream: u32, by: u32) -> bool {
        self.frame(kind::WINDOW_UPDATE, flag::NONE, stream, &by.to_be_bytes())
    }

    pub fn ping(&mut self, payload: [u8; 8]) -> bool {
        self.frame(kind::PING, flag::NONE, 0, &payload)
    }

    /// No more will be sent.
    pub fn shut_down(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// The next frame. It is in [`Self::answers`] as well.
    pub fn next(&mut self) -> Event {
        let event = self.read();
        if let Event::Frame(frame) = &event
            && let Err(nonsense) = self.record(frame)
        {
            return Event::Nonsense(nonsense);
        }
        event
    }

    fn read(&mut self) -> Event {
        let until = Instant::now() + self.patience;
        let mut chunk = [0; 16 << 10];
        loop {
            if let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = &self.input[..] {
                let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                if length > 16 << 10 {
                    return Event::Nonsense(format!("a frame of {length} bytes"));
                }
                if let Some(payload) = rest.get(..length) {
                    let stream = u32::from_be_bytes([*d, *e, *f, *g]) & 0x7fff_ffff;
                    let frame = Frame { kind: *kind, flags: *flags, stream, payload: payload.to_vec() };
                    self.input.drain(..9 + length);
                    return Event::Frame(frame);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return Event::Silent;
            }
            match self.socket.read(&mut chunk) {
                Ok(0) => return Event::Closed,
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Event::Silent,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Event::Closed,
            }
        }
    }

    fn record(&mut self, frame: &Frame) -> Result<(), String> {
        if let Some((stream, ..)) = self.block
            && (frame.kind, frame.stream) != (kind::CONTINUATION, stream)
        {
            return Err(format!("{frame:?} amid the header block of stream {stream}"));
        }
        match frame.kind {
            kind::HEADERS => {
                self.block = Some((frame.stream, frame.has(flag::END_STREAM), unpadded(frame).to_vec()));
                self.record_block(frame.has(flag::END_HEADERS))?;
            }
            kind::CONTINUATION => {
                let (_, _, block) = self.block.as_mut().ok_or("CONTINUATION of nothing")?;
                block.extend_from_slice(&frame.payload);
                self.record_block(frame.has(flag::END_HEADERS))?;
            }
            kind::DATA => {
                let answer = self.answers.entry(frame.stream).or_default();
                answer.body.extend_from_slice(unpadded(frame));
                answer.ended |= frame.has(flag::END_STREAM);
                let (by, over) = (frame.payload.len() as u32, answer.is_over());
                if self.credit && by > 0 {
                    self.window_update(0, by);
                    if !over {
                        self.window_update(frame.stream, by);
                    }
                }
            }
            kind::RST_STREAM => self.answers.entry(frame.stream).or_default().reset = frame.word(0),
            kind::GOAWAY => self.goaways.push((frame.word(0).unwrap_or(0) & 0x7fff_ffff, frame.word(4).unwrap_or(u32::MAX))),
            kind::WINDOW_UPDATE => *self.credits.entry(frame.stream).or_default() += u64::from(frame.word(0).unwrap_or(0)),
            kind::SETTINGS if !frame.has(flag::ACK) => {
                for one in frame.payload.chunks_exact(6) {
                    self.settings.insert(u16::from_be_bytes([one[0], one[1]]), u32::from_be_bytes([one[2], one[3], one[4], one[5]]));
                }
                if self.acknowledge {
                    self.frame(kind::SETTINGS, flag::ACK, 0, &[]);
                }
            }
            kind::PING if self.acknowledge && !frame.has(flag::ACK) => {
                self.frame(kind::PING, flag::ACK, 0, &frame.payload);
            }
            _ => {}
        }
        Ok(())
    }

    fn record_block(&mut self, complete: bool) -> Result<(), String> {
        if !complete {
            return Ok(());
        }
        let Some((stream, ended, block)) = self.block.take() else { return Ok(()) };
        let fields = self.decoder.decode(&block).map_err(|error| format!("a header block that cannot be read: {error:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: Fields = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
        let answer = self.answers.entry(stream).or_default();
        let status = fields.iter().find(|(name, _)| name == ":status").and_then(|(_, value)| value.parse().ok());
        match status {
            Some(status @ 100..200) => answer.informational.push((status, fields)),
            Some(status) if answer.status == 0 => (answer.status, answer.fields) = (status, fields),
            None if answer.status != 0 && ended => answer.trailers = Some(fields),
            _ => return Err(format!("a header block that has no place: {fields:?}")),
        }
        answer.ended |= ended;
        Ok(())
    }

    /// Reads until a stream is over; `Err` says what came instead.
    pub fn answer(&mut self, stream: u32) -> Result<Answer, String> {
        self.read_until(|client| client.answers.get(&stream).is_some_and(Answer::is_over))?;
        Ok(self.answers.get(&stream).cloned().unwrap_or_default())
    }

    /// Reads until something holds.
    pub fn read_until(&mut self, holds: impl Fn(&Client) -> bool) -> Result<(), String> {
        while !holds(self) {
            match self.next() {
                Event::Frame(_) => {}
                other => return Err(format!("{other:?} after GOAWAYs {:?}, {}", self.goaways, self.streams())),
            }
        }
        Ok(())
    }

    /// Sends a PING and reads until it is answered.
    pub fn is_alive(&mut self) -> Result<(), String> {
        let mark = *b"alive?!\0";
        self.ping(mark);
        loop {
            match self.next() {
                Event::Frame(frame) if frame.kind == kind::PING && frame.has(flag::ACK) && frame.payload == mark => return Ok(()),
                Event::Frame(_) => {}
                other => return Err(format!("{other:?} instead of a PING's answer after GOAWAYs {:?}", self.goaways)),
            }
        }
    }

    /// Reads to the end of the connection.
    pub fn closes(&mut self) -> Result<(), String> {
        loop {
            match self.next() {
                Event::Frame(_) => {}
                Event::Closed => return Ok(()),
                other => return Err(format!("{other:?}, no end, after GOAWAYs {:?}", self.goaways)),
            }
        }
    }

    fn streams(&self) -> String {
        let few = self.answers.iter().take(3);
        few.map(|(id, one)| format!("stream {id}: {} with {} bytes, reset {:?}; ", one.status, one.body.len(), one.reset)).collect()
    }
}
