//! The chunked coding (RFC 9112 section 7.1), read byte-strictly: CRLF only, hex digits only, extensions
//! skipped, trailers kept.
//!
//! ```text
//! Size -> (data) Data -> DataEnd -> Size ... -> (zero) Trailers -> Done
//! ```

use super::Reject;
use super::parse::{self, HeadLimits, Scan};
use crate::http::Fields;
use crate::limit;
use crate::plant::{Plant, is_planted};

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk-size line; `digits` of the size so far.
    Size {
        size: u64,
        digits: u8,
        part: SizePart,
        line: usize,
    },
    Data {
        left: u64,
    },
    /// The CRLF after a chunk's data; whether CR was seen.
    DataEnd {
        cr: bool,
    },
    Trailers {
        buffer: Vec<u8>,
        scan: Scan,
    },
    Done,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum SizePart {
    Digits,
    /// Between the size and what may follow: a semicolon or the end of the line, nothing else.
    Space,
    Extension,
    Cr,
}

/// Reads one chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    state: State,
}

/// What the next bytes are.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first so many bytes of the input are data.
    Data(usize),
    /// The body and its trailers have ended.
    End,
    /// More input is needed.
    More,
}

const SIZE: State = State::Size { size: 0, digits: 0, part: SizePart::Digits, line: 0 };

impl Chunked {
    pub(crate) fn new() -> Chunked {
        Chunked { state: SIZE }
    }

    /// Consumes framing from `input` (answers how many bytes) up to the next data, the end, or the end of
    /// the input. Data is left in the input for the caller to take whole.
    pub(crate) fn advance(&mut self, input: &[u8], limits: HeadLimits, trailers: &mut Fields) -> Result<(usize, Step), Reject> {
        let mut at = 0;
        loop {
            if let State::Data { left } = &mut self.state {
                let take = (*left).min((input.len() - at) as u64);
                if take == 0 {
                    return Ok((at, Step::More));
                }
                *left -= take;
                if *left == u64::from(is_planted(Plant::ChunkOffByOne)) {
                    self.state = State::DataEnd { cr: false };
                }
                return Ok((at, Step::Data(take as usize)));
            }
            if matches!(self.state, State::Done) {
                return Ok((at, Step::End));
            }
            if at == input.len() {
                return Ok((at, Step::More));
            }
            at += self.framing(&input[at..], limits, trailers)?;
        }
    }

    fn framing(&mut self, input: &[u8], limits: HeadLimits, trailers: &mut Fields) -> Result<usize, Reject> {
        let byte = input[0];
        match &mut self.state {
            State::Size { size, digits, part, line } => {
                *line += 1;
                if *line > limit::CHUNK_LINE {
                    return Err(Reject::Chunk);
                }
                match (*part, byte) {
                    (SizePart::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                        *digits += 1;
                        if *digits > 16 {
                            return Err(Reject::Chunk);
                        }
                        *size = (*size << 4) | u64::from((byte as char).to_digit(16).unwrap_or_default());
                    }
                    (SizePart::Digits, b' ' | b'\t') if *digits > 0 => *part = SizePart::Space,
                    (SizePart::Space, b' ' | b'\t') => {}
                    (SizePart::Digits | SizePart::Space, b';') if *digits > 0 => *part = SizePart::Extension,
                    (SizePart::Digits | SizePart::Space | SizePart::Extension, b'\r') if *digits > 0 => *part = SizePart::Cr,
                    (SizePart::Extension, 0x20..=0x7e | b'\t' | 0x80..) => {}
                    (SizePart::Cr, b'\n') => {
                        self.state = match *size {
                            0 => State::Trailers { buffer: Vec::new(), scan: Scan::default() },
                            left => State::Data { left },
                        };
                    }
                    _ => return Err(Reject::Chunk),
                }
                Ok(1)
            }
            State::DataEnd { cr } => {
                match (*cr, byte) {
                    (false, b'\r') => *cr = true,
                    (true, b'\n') => self.state = SIZE,
                    _ => return Err(Reject::Chunk),
                }
                Ok(1)
            }
            State::Trailers { buffer, scan } => {
                let before = buffer.len();
                let room = limits.bytes.saturating_sub(before).saturating_add(2);
                buffer.extend_from_slice(&input[..input.len().min(room)]);
                match scan.find_end(buffer, limits.bytes) {
                    Err(Reject::HeadTooLarge) => Err(Reject::TrailerTooLarge),
                    Err(_) => Err(Reject::Trailer),
                    Ok(None) => Ok(buffer.len() - before),
                    Ok(Some(end)) => {
                        parse::trailers(&buffer[..end], limits, trailers)?;
                        self.state = State::Done;
                        Ok(end - before)
                    }
                }
            }
            State::Data { .. } | State::Done => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(input: &[u8]) -> Result<Vec<u8>, Reject> {
        let (mut chunked, mut trailers, mut at, mut body) = (Chunked::new(), Fields::default(), 0, Vec::new());
        loop {
            let (framing, step) = chunked.advance(&input[at..], HeadLimits::default(), &mut trailers)?;
            at += framing;
            match step {
                Step::Data(len) => {
                    body.extend_from_slice(&input[at..at + len]);
                    at += len;
                }
                Step::End => return Ok(body),
                Step::More => panic!("{input:?} is not whole"),
            }
        }
    }

    #[test]
    fn a_size_is_followed_by_an_extension_or_by_nothing() {
        for good in ["3\r\nabc\r\n0\r\n\r\n", "3 \t\r\nabc\r\n0;x\r\n\r\n", "3 ;a=\"b c\"\r\nabc\r\n00\r\n\r\n"] {
            assert_eq!(reads(good.as_bytes()), Ok(b"abc".to_vec()), "{good:?}");
        }
        for bad in [
            "3 x\r\nabc\r\n0\r\n\r\n",
            "3\r\nabc\r\n0 /a HTTP/1.1\r\n\r\n",
            "3\t3\r\nabc\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            ";\r\n\r\n",
        ] {
            assert_eq!(reads(bad.as_bytes()), Err(Reject::Chunk), "{bad:?}");
        }
    }
}
