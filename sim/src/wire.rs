//! HTTP/1.1 as peers speak it: a reader of their own, independent of the proxy's, so that a fault of one is not
//! excused by the same fault in the other.

use std::ops::Range;

/// A head as a peer reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Status of a response; 0 for a request.
    pub status: u16,
    /// Method of a request.
    pub method: Box<str>,
    /// Target of a request.
    pub target: Box<str>,
    /// `x-id`: whose message it is.
    pub id: Option<u64>,
    /// `x-table` and `x-route`: which version of the config it went through, twice.
    pub versions: (Option<u64>, Option<u64>),
    /// `x-envoy-attempt-count`.
    pub attempt: Option<u64>,
    /// The sender wants to switch protocols.
    pub upgrade: bool,
    /// The sender closes after this message.
    pub close: bool,
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
}

/// A piece of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A head.
    Head(Head),
    /// So much of the body: see [`Reader::bytes`].
    Body(Range<usize>),
    /// The message is complete.
    End,
    /// This is not HTTP.
    Wrong(&'static str),
}

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Raw,
    Done,
    Broken,
}

/// Reads messages from bytes.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    at: usize,
    state: State,
    trailer: Option<u64>,
}

impl Reader {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes of a body piece. Only until the next call of [`Self::push`].
    pub fn bytes(&self, piece: Range<usize>) -> &[u8] {
        &self.buffer[piece]
    }

    /// Whether a message was begun and has not ended.
    pub fn is_within(&self) -> bool {
        self.state != State::Head || self.at < self.buffer.len()
    }

    /// `x-end` among the trailers of the message that has ended last: whose it is.
    pub fn trailer(&self) -> Option<u64> {
        self.trailer
    }

    /// Whether only the end of the connection ends the message.
    pub fn is_until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// From here on all is raw bytes: the protocol was switched.
    pub fn go_raw(&mut self) {
        self.state = State::Raw;
    }

    /// The next piece. `bodyless` says that the message that comes next has no body (a response to HEAD).
    pub fn next(&mut self, bodyless: bool) -> Option<Piece> {
        loop {
            let rest = &self.buffer[self.at..];
            let whole = self.at..self.buffer.len();
            match self.state {
                State::Head => return self.head(bodyless),
                State::Done => {
                    self.state = State::Head;
                    return Some(Piece::End);
                }
                State::Broken => return None,
                State::UntilClose | State::Raw => return self.take(whole.len()),
                State::Length(0) => self.state = State::Done,
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Length(left) => {
                    let take = left.min(whole.len() as u64);
                    self.state = State::Length(left - take);
                    return self.take(take as usize);
                }
                State::Chunk(left) => {
                    let take = left.min(whole.len() as u64);
                    self.state = State::Chunk(left - take);
                    return self.take(take as usize);
                }
                State::ChunkEnd => match rest.get(..2) {
                    None => return None,
                    Some(b"\r\n") => {
                        self.at += 2;
                        self.state = State::ChunkSize;
                    }
                    Some(_) => return self.wrong("a chunk is longer than its size says"),
                },
                State::ChunkSize => {
                    let end = memchr::memchr(b'\n', rest)?;
                    let line = rest[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
                    let Some(size) = line.and_then(|line| u64::from_str_radix(line, 16).ok()) else {
                        return self.wrong("a chunk size is not a number");
                    };
                    self.at += end + 1;
                    self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                }
                State::Trailers => {
                    let end = memchr::memchr(b'\n', rest)?;
                    self.at += end + 1;
                    if end <= 1 {
                        self.state = State::Done;
                    } else if let Some((name, value)) = std::str::from_utf8(&rest[..end]).ok().and_then(|line| line.split_once(':'))
                        && name.eq_ignore_ascii_case("x-end")
                    {
                        self.trailer = value.trim().parse().ok();
                    }
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<Piece> {
        let piece = self.at..self.at + count;
        self.at += count;
        (count > 0).then_some(Piece::Body(piece))
    }

    fn wrong(&mut self, why: &'static str) -> Option<Piece> {
        self.state = State::Broken;
        Some(Piece::Wrong(why))
    }

    fn head(&mut self, bodyless: bool) -> Option<Piece> {
        let rest = &self.buffer[self.at..];
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        let Some(head) = std::str::from_utf8(&rest[..end]).ok().and_then(parse) else {
            return self.wrong("a head is not HTTP");
        };
        self.at += end + 4;
        self.trailer = None;
        let response = head.status > 0;
        let none = bodyless || matches!(head.status, 100..=199 | 204 | 304);
        self.state = match (head.chunked, head.length) {
            _ if head.status == 101 => State::Raw,
            _ if none => State::Done,
            (true, _) => State::ChunkSize,
            (false, Some(length)) => State::Length(length),
            (false, None) if response => State::UntilClose,
            (false, None) => State::Done,
        };
        Some(Piece::Head(head))
    }
}

/// The lines of a head. Worlds read millions of them: a search for one byte is faster than one for a text.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(b'\n', text.as_bytes());
        rest = end.map(|end| &text[end + 1..]);
        let line = &text[..end.unwrap_or(text.len())];
        Some(line.strip_suffix('\r').unwrap_or(line))
    })
}

/// What stands before and behind the first such byte.
fn split_at(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

fn parse(text: &str) -> Option<Head> {
    let mut lines = lines(text);
    let mut head = Head::default();
    let (first, words) = split_at(lines.next()?, b' ')?;
    let (second, third) = split_at(words, b' ')?;
    if first.starts_with("HTTP/1.") {
        head.status = second.parse().ok()?;
    } else if third.starts_with("HTTP/1.") {
        (head.method, head.target) = (first.into(), second.into());
    } else {
        return None;
    }
    for line in lines {
        let (name, value) = split_at(line, b':')?;
        let value = value.trim();
        let number = || value.parse().ok();
        match name.len() {
            4 if name.eq_ignore_ascii_case("x-id") => head.id = number(),
            7 if name.eq_ignore_ascii_case("upgrade") => head.upgrade = true,
            7 if name.eq_ignore_ascii_case("x-table") => head.versions.0 = number(),
            7 if name.eq_ignore_ascii_case("x-route") => head.versions.1 = number(),
            10 if name.eq_ignore_ascii_case("connection") => head.close |= value.eq_ignore_ascii_case("close"),
            14 if name.eq_ignore_ascii_case("content-length") => head.length = Some(number()?),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => head.chunked = value.eq_ignore_ascii_case("chunked"),
            21 if name.eq_ignore_ascii_case("x-envoy-attempt-count") => head.attempt = number(),
            _ => {}
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]], bodyless: bool) -> (Vec<Piece>, Vec<u8>) {
        let (mut reader, mut pieces, mut body) = (Reader::default(), Vec::new(), Vec::new());
        for part in parts {
            reader.push(part);
            while let Some(piece) = reader.next(bodyless) {
                match piece {
                    Piece::Body(range) => body.extend_from_slice(reader.bytes(range)),
                    piece => pieces.push(piece),
                }
            }
        }
        (pieces, body)
    }

    #[test]
    fn messages_follow_each_other() {
        let bytes = b"HTTP/1.1 200 OK\r\nx-id: 4\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n";
        for size in [1, 3, 1000] {
            let (pieces, body) = read(&bytes.chunks(size).collect::<Vec<_>>(), false);
            assert_eq!(body, b"okabc");
            let statuses: Vec<u16> =
                pieces.iter().filter_map(|p| if let Piece::Head(head) = p { Some(head.status) } else { None }).collect();
            assert_eq!((statuses, pieces.iter().filter(|p| **p == Piece::End).count()), (vec![200, 404], 2));
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let (pieces, _) = read(&[b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], true);
        assert_eq!(pieces.len(), 4);
    }

    #[test]
    fn what_is_not_http_is_said_so() {
        let (pieces, _) = read(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n"], false);
        assert!(matches!(pieces.last(), Some(Piece::Wrong(_))));
    }
}
