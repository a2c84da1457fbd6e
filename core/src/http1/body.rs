//! Reading bodies: input in, slices of it out.

use super::Reject;
use super::chunked::{Chunked, Step};
use super::framing::Framing;
use super::parse::HeadLimits;
use crate::http::Fields;
use crate::plant::{Plant, is_planted};
use bytes::{Buf, Bytes, BytesMut};

/// Reads one body.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Done,
    Length(u64),
    Chunked(Box<Chunked>, Step),
    UntilClose,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// The body is complete; trailers, if any, are in the fields that were passed in.
    End,
    /// More input is needed.
    More,
}

impl Decoder {
    /// A decoder for a body framed as `framing`.
    pub fn new(framing: Framing) -> Decoder {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Chunked(Box::new(Chunked::new()), Step::More),
            Framing::UntilClose => State::UntilClose,
        };
        Decoder { state }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many of the next bytes of `input` are framing. They are to be taken off before [`Self::take`] is asked.
    pub fn framing(&mut self, input: &[u8], limits: HeadLimits, trailers: &mut Fields) -> Result<usize, Reject> {
        let State::Chunked(chunked, next) = &mut self.state else { return Ok(0) };
        let (framing, step) = if input.is_empty() { (0, Step::More) } else { chunked.advance(input, limits, trailers)? };
        *next = step;
        Ok(framing)
    }

    /// Takes the next piece from `input`, behind the framing. Ask both until `More` or `End`.
    pub fn take(&mut self, input: &mut BytesMut) -> Piece {
        match &mut self.state {
            State::Done => Piece::End,
            State::Length(_) | State::UntilClose if input.is_empty() => Piece::More,
            State::Length(left) => {
                let take = (*left).min(input.len() as u64) as usize;
                *left -= take as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Piece::Data(input.split_to(take).freeze())
            }
            State::UntilClose => Piece::Data(input.split().freeze()),
            State::Chunked(_, next) => match std::mem::replace(next, Step::More) {
                Step::Data(n) => Piece::Data(input.split_to(n).freeze()),
                Step::More => Piece::More,
                Step::End => {
                    self.state = State::Done;
                    Piece::End
                }
            },
        }
    }

    /// Takes off framing, then the next piece.
    pub fn decode(&mut self, input: &mut BytesMut, limits: HeadLimits, trailers: &mut Fields) -> Result<Piece, Reject> {
        let framing = self.framing(input, limits, trailers)?;
        input.advance(framing);
        Ok(self.take(input))
    }

    /// The peer has closed: whether that ends the body properly.
    pub fn finish(&mut self) -> bool {
        let proper = matches!(self.state, State::Done | State::UntilClose) || is_planted(Plant::TruncatedAsWhole);
        if proper {
            self.state = State::Done;
        }
        proper
    }
}
