//! How what filters are told is written and read.

use super::format::{Input, Put, Tag};
use super::reading::{Fault, Read, Reader};
use super::recorder::Recorder;
use crate::filter::{Answer, FilterId, Resume, Side};
use crate::id::ExchangeId;
use crate::time::Instant;

impl Recorder {
    pub(in crate::engine) fn filter(&mut self, filter: FilterId, what: &Resume, now: Instant) {
        let out = self.begin(Tag::Filter, now);
        out.number(filter.exchange.to_u64());
        out.number(u64::from(filter.index) << 1 | u64::from(filter.side == Side::Response));
        out.number(u64::from(filter.turn));
        match what {
            Resume::Continue(learned) => {
                out.number(0);
                out.text(learned);
            }
            Resume::Respond(answer) => {
                out.number(1);
                out.number(u64::from(answer.status));
                out.number(answer.headers.len() as u64);
                for (name, value) in &answer.headers {
                    out.text(name);
                    out.text(value);
                }
                out.text(&answer.body);
                out.text(answer.details.as_bytes());
            }
        }
    }
}

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn filter(&mut self) -> Read<Input> {
        let (exchange, place) = (ExchangeId::from_u64(self.number()?), self.number()?);
        let index = u32::try_from(place >> 1).map_err(|_| Fault::Damaged("a filter of a chain longer than any"))?;
        let side = if place & 1 == 0 { Side::Request } else { Side::Response };
        let turn = u32::try_from(self.number()?).map_err(|_| Fault::Damaged("a turn later than any"))?;
        let filter = FilterId { exchange, index, side, turn };
        let what = match self.number()? {
            0 => Resume::Continue(self.bytes()?.into()),
            1 => Resume::Respond(Box::new(self.answer()?)),
            _ => return Err(Fault::Damaged("a resume of a kind that there is not")),
        };
        Ok(Input::Filter(filter, what))
    }

    fn answer(&mut self) -> Read<Answer> {
        let status = u16::try_from(self.number()?).map_err(|_| Fault::Damaged("a status that cannot be"))?;
        let mut headers = Vec::new();
        for _ in 0..self.count(2)? {
            headers.push((self.bytes()?.into(), self.bytes()?.into()));
        }
        Ok(Answer { status, headers, body: self.bytes()?.into(), details: String::from(self.text()?).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::RecordOptions;
    use super::*;
    use crate::config::Config;
    use crate::digest::Digest;
    use crate::rng::Seed;
    use crate::time::Wall;
    use bytes::Bytes;

    #[test]
    fn resumes_are_read_as_they_were_written() {
        let now = Instant::from_nanos(9);
        let answer = Answer::new(403, "no", "denied").header("x-why", "because");
        let mut recorder = Recorder::new(&RecordOptions::default(), &Config::default(), Seed(1), now, Wall::from_nanos(6));
        let resumes = [Resume::Continue(Bytes::new()), Resume::Continue("user".into()), Resume::Respond(Box::new(answer))];
        let id = |side| FilterId { exchange: ExchangeId::from_u64(3 << 32 | 7), index: 5, side, turn: 9 };
        for what in &resumes {
            for side in [Side::Request, Side::Response] {
                recorder.filter(id(side), what, now);
                recorder.end(&mut Vec::new(), Digest::default());
            }
        }
        let mut reader = Reader::new(recorder.snapshot(&mut Vec::new(), Digest::default()).to_bytes());
        reader.header().expect("a head");
        for what in &resumes {
            for side in [Side::Request, Side::Response] {
                assert_eq!(reader.entry().expect("an entry").input, Input::Filter(id(side), what.clone()));
            }
        }
    }
}
