//! Reading a log: what [`super::format`] writes, byte for byte, and what is wrong where it is not that.

use super::LogError;
use super::format::{ANSWERED, Input, MAGIC, Piece, Tag};
use crate::cluster::Resolved;
use crate::config::{LogSink, Source};
use crate::drain::DrainScope;
use crate::engine::{ConnectError, IoFault, Transport};
use crate::id::{ConnId, ListenerId, QueryId};
use crate::record::Addresses;
use crate::time::{Duration, Instant, Wall};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An entry: when, what, and what `Shared` answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub(super) tag: Tag,
    /// When it happened, on the engine's clock.
    pub at: Instant,
    /// What happened.
    pub input: Input,
    pub(super) answers: Vec<u64>,
    /// The lowest byte of the digest after it.
    pub check: u8,
}

impl Entry {
    /// What it is, in words.
    pub fn about(&self) -> &'static str {
        self.tag.about()
    }
}

/// Reads a log from its bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<B> {
    bytes: B,
    at: usize,
    /// Whole entries read.
    pub(super) entries: u64,
    /// When the log begins.
    pub(super) began: Instant,
    /// The time of the last entry.
    pub(super) now: Instant,
}

/// Why something cannot be read.
pub(super) enum Fault {
    CutOff,
    Damaged(&'static str),
}

pub(super) type Read<T> = Result<T, Fault>;

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn new(bytes: B) -> Reader<B> {
        Reader { bytes, at: 0, entries: 0, began: Instant::ZERO, now: Instant::ZERO }
    }

    /// Reads something whole, or says where and why it cannot be read.
    fn whole<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Result<T, LogError> {
        read(self).map_err(|fault| {
            let (at, entries, time) = (self.at, self.entries, self.now.since(self.began));
            match fault {
                Fault::CutOff => LogError::CutOff { at: self.bytes.as_ref().len(), entries, time },
                Fault::Damaged(what) => LogError::Damaged { at, what, entries, time },
            }
        })
    }

    pub(super) fn header(&mut self) -> Result<Header, LogError> {
        let bytes = self.bytes.as_ref();
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
            return Err(LogError::NotALog);
        }
        let (version, made_by) = self.whole(|reader| {
            reader.take(MAGIC.len())?;
            Ok((reader.number()?, reader.text()?))
        })?;
        if version != super::VERSION {
            return Err(LogError::Version { found: version, made_by });
        }
        let header = self.whole(|reader| {
            let about = reader.text()?;
            let (seed, now, wall) = (reader.number()?, reader.number()?, reader.number()?);
            Ok(Header {
                made_by,
                about,
                seed,
                now: Instant::from_nanos(now),
                wall: Wall::from_nanos(wall),
                bodies: reader.number()? != 0,
                source: reader.source()?,
            })
        })?;
        (self.began, self.now) = (header.now, header.now);
        Ok(header)
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn entry(&mut self) -> Result<Entry, LogError> {
        let entry = self.whole(Self::read_entry)?;
        self.entries += 1;
        self.now = entry.at;
        Ok(entry)
    }

    /// The last entry was read: what follows is the checksum of all before it, and nothing else.
    pub(super) fn checksum(&mut self) -> Result<(), LogError> {
        self.whole(|reader| {
            let bytes = reader.bytes.as_ref();
            let sum = crate::digest::of(&bytes[..reader.at]).to_le_bytes();
            let written = reader.take(sum.len())?;
            if *written != sum {
                return Err(Fault::Damaged("its checksum does not fit: some byte was changed"));
            }
            match reader.at == reader.bytes.as_ref().len() {
                true => Ok(()),
                false => Err(Fault::Damaged("there are bytes behind its end")),
            }
        })
    }

    fn read_entry(&mut self) -> Read<Entry> {
        let tag = self.byte()?;
        let (answered, kind) =
            (tag & ANSWERED != 0, Tag::of(tag & !ANSWERED).ok_or(Fault::Damaged("an entry of a kind that there is not"))?);
        let step = self.signed()?;
        let at = self.now.as_nanos().checked_add_signed(step).ok_or(Fault::Damaged("a time that cannot be"))?;
        let input = self.input(kind)?;
        let mut answers = Vec::new();
        if answered {
            for _ in 0..self.count(1)? {
                answers.push(self.number()?);
            }
        }
        let check = self.byte()?;
        Ok(Entry { tag: kind, at: Instant::from_nanos(at), input, answers, check })
    }

    fn input(&mut self, tag: Tag) -> Read<Input> {
        Ok(match tag {
            Tag::Accept => Input::Accept { on: ListenerId::from_u64(self.number()?), addresses: self.addresses()? },
            Tag::Connected => self.connected()?,
            Tag::Recv => self.recv()?,
            Tag::Eof => Input::Eof(self.conn()?),
            Tag::Closed => {
                let conn = self.conn()?;
                Input::Closed(conn, if self.number()? == 0 { IoFault::Closed } else { IoFault::Reset })
            }
            Tag::Resolved => {
                let query = QueryId::from_u64(self.number()?);
                let result = if self.number()? == 0 { Ok(self.resolved()?) } else { Err(self.text()?) };
                Input::Resolved { query, result }
            }
            Tag::Config => Input::Config(self.source()?),
            Tag::Drain => Input::Drain(match self.number()? {
                0 => DrainScope::Process { deadline: Instant::from_nanos(self.number()?) },
                1 => DrainScope::Listener(ListenerId::from_u64(self.number()?)),
                2 => DrainScope::Discourage,
                3 => DrainScope::Encourage,
                _ => return Err(Fault::Damaged("a drain of a kind that there is not")),
            }),
            Tag::Nudge => Input::Nudge,
            Tag::Timeout => Input::Timeout,
            Tag::Transmit => Input::Transmit(self.conn()?),
            Tag::Wall => Input::Wall(Wall::from_nanos(self.number()?)),
            Tag::End => Input::End { entries: self.number()?, digest: self.number()? },
            Tag::ClientHello => self.client_hello()?,
            Tag::Secured => Input::Secured { conn: self.conn()?, tls: self.tls_info()? },
            Tag::Filter => self.filter()?,
            Tag::HandshakeFailed => Input::HandshakeFailed(self.conn()?, self.tls_fault()?),
        })
    }

    fn connected(&mut self) -> Read<Input> {
        let conn = self.conn()?;
        let result = match self.number()? {
            0 => Ok(Transport { addresses: self.addresses()?, tls: None }),
            1 => Err(ConnectError { text: self.text()?, tls: None }),
            2 => Ok(Transport { addresses: self.addresses()?, tls: Some(self.tls_info()?.into()) }),
            3 => Err(ConnectError { text: self.text()?, tls: Some(self.tls_fault()?) }),
            _ => return Err(Fault::Damaged("a connection that is neither there nor not")),
        };
        Ok(Input::Connected { conn, result })
    }

    fn recv(&mut self) -> Read<Input> {
        let (conn, offered) = (self.conn()?, self.number()? as usize);
        let (mut taken, mut sum) = (Vec::new(), 0usize);
        loop {
            let len = self.number()?;
            if len == 0 {
                break;
            }
            let (elided, len) = (len & 1 == 1, (len >> 1) as usize);
            sum = sum.saturating_add(len);
            if sum > offered {
                return Err(Fault::Damaged("more bytes were taken than were there"));
            }
            taken.push(match elided {
                true => {
                    self.take(8)?;
                    Piece::Elided(len)
                }
                false => Piece::Bytes(self.take(len)?.to_vec()),
            });
        }
        // What an engine is offered at once is a read of the driver's: a few megabytes at the most.
        if offered > 1 << 24 {
            return Err(Fault::Damaged("more bytes at once than any driver reads"));
        }
        Ok(Input::Recv { conn, offered, taken })
    }

    fn resolved(&mut self) -> Read<Resolved> {
        let mut addresses = Vec::new();
        for _ in 0..self.count(5)? {
            addresses.push(self.ip()?);
        }
        let ttl = match self.number()? {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos - 1)),
        };
        Ok(Resolved { addresses, ttl })
    }

    fn source(&mut self) -> Read<Source> {
        let hostname = self.text()?.into();
        let mut sinks = Vec::new();
        for _ in 0..self.count(1)? {
            sinks.push(match self.number()? {
                0 => LogSink::Stdout,
                1 => LogSink::Stderr,
                2 => LogSink::File(self.text()?),
                _ => return Err(Fault::Damaged("an access log of a kind that there is not")),
            });
        }
        Ok(Source { hostname, sinks, file: self.text()?, text: self.text()? })
    }

    pub(super) fn take(&mut self, count: usize) -> Read<&[u8]> {
        let end = self.at.checked_add(count).ok_or(Fault::CutOff)?;
        let taken = self.bytes.as_ref().get(self.at..end).ok_or(Fault::CutOff)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::Damaged("a number with more than 64 bits"))
    }

    fn signed(&mut self) -> Read<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// How many things follow that take at least `size` bytes each.
    pub(super) fn count(&mut self, size: usize) -> Read<usize> {
        let count = self.number()?;
        let left = (self.bytes.as_ref().len() - self.at) as u64;
        if count.saturating_mul(size as u64) > left { Err(Fault::CutOff) } else { Ok(count as usize) }
    }

    pub(super) fn text(&mut self) -> Read<Box<str>> {
        let len = self.count(1)?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(Box::from).map_err(|_| Fault::Damaged("a text that is not UTF-8"))
    }

    pub(super) fn conn(&mut self) -> Read<ConnId> {
        Ok(ConnId::from_u64(self.number()?))
    }

    fn ip(&mut self) -> Read<IpAddr> {
        let wrong = Fault::Damaged("an address that is neither IPv4 nor IPv6");
        match self.number()? {
            4 => Ok(self.take(4)?.try_into().map(|octets: [u8; 4]| Ipv4Addr::from(octets)).map_err(|_| wrong)?.into()),
            16 => Ok(self.take(16)?.try_into().map(|octets: [u8; 16]| Ipv6Addr::from(octets)).map_err(|_| wrong)?.into()),
            _ => Err(wrong),
        }
    }

    fn socket(&mut self) -> Read<SocketAddr> {
        let (ip, port) = (self.ip()?, self.number()?);
        Ok(SocketAddr::new(ip, u16::try_from(port).map_err(|_| Fault::Damaged("a port above 65535"))?))
    }

    fn addresses(&mut self) -> Read<Addresses> {
        Ok(Addresses { local: self.socket()?, remote: self.socket()? })
    }
}

/// What stands before the entries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) made_by: Box<str>,
    pub(super) about: Box<str>,
    pub(super) seed: u64,
    pub(super) now: Instant,
    pub(super) wall: Wall,
    pub(super) bodies: bool,
    pub(super) source: Source,
}

#[cfg(test)]
mod tests {
    use super::super::format::Put;
    use super::*;

    #[test]
    fn numbers_and_addresses_are_read_as_they_were_written() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        numbers.iter().for_each(|number| out.number(*number));
        [0, -1, 1, i64::MIN, i64::MAX].iter().for_each(|number| out.signed(*number));
        let sockets = ["10.0.0.1:80", "[::1]:65535"].map(|text| text.parse::<SocketAddr>().unwrap());
        sockets.iter().for_each(|socket| out.socket(*socket));
        let mut reader = Reader::new(&out[..]);
        for number in numbers {
            assert_eq!(reader.number().ok(), Some(number));
        }
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(reader.signed().ok(), Some(number));
        }
        for socket in sockets {
            assert_eq!(reader.socket().ok(), Some(socket));
        }
        assert!(matches!(reader.byte(), Err(Fault::CutOff)));
    }
}
