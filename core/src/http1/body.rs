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
    Chunked(Box<Chunked>),
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
            Framing::Chunked => State::Chunked(Box::new(Chunked::new())),
            Framing::UntilClose => State::UntilClose,
        };
        Decoder { state }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many of the next `len` bytes are of the body for sure, and no framing.
    pub fn ahead(&self, len: usize) -> usize {
        match &self.state {
            State::Done => 0,
            State::Length(left) => (*left).min(len as u64) as usize,
            State::Chunked(chunked) => chunked.data_left().min(len as u64) as usize,
            State::UntilClose => len,
        }
    }

    /// Takes the next piece from `input`. Ask until `More` or `End`.
    pub fn decode(&mut self, input: &mut BytesMut, limits: HeadLimits, trailers: &mut Fields) -> Result<Piece, Reject> {
        match &mut self.state {
            State::Done => Ok(Piece::End),
            _ if input.is_empty() => Ok(Piece::More),
            State::Length(left) => {
                let take = (*left).min(input.len() as u64) as usize;
                *left -= take as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(Piece::Data(input.split_to(take).freeze()))
            }
            State::UntilClose => Ok(Piece::Data(input.split().freeze())),
            State::Chunked(chunked) => {
                let (framing, step) = chunked.advance(input, limits, trailers)?;
                input.advance(framing);
                Ok(match step {
                    Step::Data(n) => Piece::Data(input.split_to(n).freeze()),
                    Step::More => Piece::More,
                    Step::End => {
                        self.state = State::Done;
                        Piece::End
                    }
                })
            }
        }
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
