//! Exchanges and their HTTP filters: what arrives is shown to them, what has passed goes on, what waits is bounded, and
//! what they answer is sent. Who may see what, and when, is [`Filters`]'s to decide.

use super::Engine;
use crate::buffer::above_high;
use crate::exchange::{Exchange, ExchangeDeadline, Filters, Item, ResponsePhase, Shown, names};
use crate::filter::{Answer, FilterContext, FilterId, Held, HttpFilter, Resume, Side, Verdict};
use crate::http1::framing::Framing;
use crate::id::ExchangeId;
use crate::plant::{Plant, is_planted};
use crate::record::Flags;
use crate::rng::Rng;
use crate::time::Instant;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

impl Engine {
    /// A request head has come to the filters of its exchange.
    pub(super) fn begin_filtering(&mut self, id: ExchangeId, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let mut filters = Filters::new(&exchange.manager.config.filters);
        filters.push(Side::Request, Item::Head { framing: exchange.framing, switches: false, alone: exchange.request_done });
        if exchange.request_done && filters.wants_bodies() {
            filters.push(Side::Request, Item::End);
        }
        exchange.filters = Some(Box::new(filters));
        self.move_on(id, Side::Request, now);
    }

    /// Something has come to the filters of an exchange.
    pub(super) fn filter(&mut self, id: ExchangeId, side: Side, item: Item, now: Instant) {
        let Some(filters) = self.exchanges.get_mut(id).and_then(|exchange| exchange.filters.as_mut()) else { return };
        filters.push(side, item);
        self.move_on(id, side, now);
    }

    /// Lets all go on that may.
    fn move_on(&mut self, id: ExchangeId, side: Side, now: Instant) {
        match self.show(id, side) {
            Shown::Answered(index, answer) => return self.answer_by_filter(id, side, index, *answer, now),
            Shown::Paused(index) => self.begin_waiting(id, side, index, now),
            Shown::Settled => {}
        }
        let mut full = None;
        while let Some(item) = self.next_passed(id, side) {
            match (side, item) {
                (Side::Request, Item::Head { .. }) => self.route(id, now),
                (Side::Request, Item::Piece(piece)) => full = Some(self.pass_request(id, piece)),
                (Side::Request, Item::End) => self.pass_request_end(id, now),
                (Side::Response, Item::Head { switches: true, .. }) => self.open_tunnel(id, now),
                (Side::Response, Item::Head { framing, .. }) => self.send_head(id, framing, now),
                (Side::Response, Item::Piece(piece)) => full = Some(self.pass_response(id, piece)),
                (Side::Response, Item::End) => self.pass_response_end(id, now),
            }
        }
        self.pace(id, side, full, now);
    }

    fn next_passed(&mut self, id: ExchangeId, side: Side) -> Option<Item> {
        self.exchanges.get_mut(id)?.filters.as_mut()?.pop_passed(side)
    }

    /// Calls filters, each for what it has not seen.
    fn show(&mut self, id: ExchangeId, side: Side) -> Shown {
        let Some(exchange) = self.exchanges.get_mut(id) else { return Shown::Settled };
        let Some(mut filters) = exchange.filters.take() else { return Shown::Settled };
        let manager = Arc::clone(&exchange.manager);
        let (rng, engine) = (&mut self.random.filter, self.number);
        let shown = filters.show(side, |index, turn, filter, item| {
            let filter_id = FilterId { exchange: id, index: index as u32, side, turn };
            let names = names(&manager, exchange.found);
            let mut context = FilterContext { id: filter_id, engine, record: &exchange.record, rng, names };
            match (side, item) {
                (Side::Request, Item::Head { .. }) => filter.request_head(&mut exchange.request, &mut context),
                (Side::Request, Item::Piece(piece)) => filter.request_body(piece, &mut context),
                (Side::Request, Item::End) => filter.request_end(&mut exchange.trailers, &mut context),
                (Side::Response, Item::Head { .. }) => filter.response_head(&exchange.request, &mut exchange.response, &mut context),
                (Side::Response, Item::Piece(piece)) => filter.response_body(piece, &mut context),
                (Side::Response, Item::End) => filter.response_end(&mut exchange.response_trailers, &mut context),
            }
        });
        exchange.filters = Some(filters);
        shown
    }

    /// A filter waits for something: what is never resumed ends by a deadline.
    fn begin_waiting(&mut self, id: ExchangeId, side: Side, index: usize, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        super::request::touch(exchange, &mut self.timers, now);
        let (config, owner, start) = (&exchange.manager.config, exchange.owner, exchange.record.start);
        // Once it has a route, its deadlines are the route's.
        if exchange.attempt.cluster.is_none() {
            if let (Some(timeout), false, Side::Request) = (config.request_timeout, exchange.request_done, side) {
                exchange.deadlines.set(ExchangeDeadline::Request, start + timeout, owner, &mut self.timers);
            }
            if let Some(lifetime) = config.max_stream_duration {
                exchange.deadlines.set(ExchangeDeadline::Lifetime, start + lifetime, owner, &mut self.timers);
            }
        }
        self.step(id, now, |_, exchange| format!("filter {} lets the {} wait", name_of(exchange, index), word(side)));
        if side == Side::Request {
            self.ask_for_body(id);
        }
    }

    /// A filter waits for a body that the client keeps until somebody wants it: we do (RFC 9110 section 10.1.1).
    fn ask_for_body(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let gathers = exchange.filters.as_ref().is_some_and(|filters| filters.is_gathering(Side::Request));
        let expects = exchange.request.fields.get_named(b"expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        if gathers && expects && !exchange.request_done {
            exchange.request.fields.remove_named(b"expect");
            exchange.response.clear();
            exchange.response.status = 100;
            self.send_interim(id);
        }
    }

    /// Bounds what waits: its source waits too, or if it is to be seen whole, there is too much of it.
    fn pace(&mut self, id: ExchangeId, side: Side, full: Option<bool>, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let Some(filters) = &exchange.filters else { return };
        let over = above_high(filters.held_bytes(side), exchange.manager.buffer_limit);
        let (gathering, arriving) = (filters.is_gathering(side), !exchange.request_done);
        match (over, side) {
            (true, _) if gathering => self.too_large(id, side, now),
            (true, Side::Request) => self.pause_request(id),
            (true, Side::Response) => self.pause_response(id),
            (false, Side::Request) if full == Some(false) && arriving => self.resume_request(id),
            (false, Side::Response) if full == Some(false) => self.resume_response(id),
            (false, _) => {}
        }
    }

    fn too_large(&mut self, id: ExchangeId, side: Side, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        let (status, body, details) = match side {
            Side::Request => (413, &b"Payload Too Large"[..], "request_payload_too_large"),
            Side::Response => (500, &b"Internal Server Error"[..], "response_payload_too_large"),
        };
        if exchange.phase == ResponsePhase::Waiting {
            return self.reply(id, status, &Bytes::from_static(body), details, now);
        }
        exchange.record.details = Cow::Borrowed(details);
        exchange.record.flags.insert(Flags::LOCAL_RESET);
        self.cut_response(id, now);
    }

    /// A filter answers in place of the upstream.
    fn answer_by_filter(&mut self, id: ExchangeId, side: Side, index: usize, answer: Answer, now: Instant) {
        self.step(id, now, |_, exchange| format!("filter {} answers {}", name_of(exchange, index), answer.status));
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if exchange.phase != ResponsePhase::Waiting {
            exchange.record.details = Cow::Owned(format!("filter_answers_too_late{{{}}}", name_of(exchange, index)));
            exchange.record.flags.insert(Flags::LOCAL_RESET);
            return self.cut_response(id, now);
        }
        let answer = match answer.is_valid() {
            true => answer,
            false => Answer::new(500, "", format!("filter_answer_invalid{{{}}}", name_of(exchange, index))),
        };
        if let (Some(filters), Side::Response) = (&mut exchange.filters, side) {
            filters.begin_replacing(index);
        }
        self.reply_with(id, answer.status, &answer.body, answer.word(), &answer.fields(), now);
    }

    /// A paused filter is told something. What is not paused there, or gone, is left alone.
    pub(super) fn resume_filter(&mut self, on: FilterId, what: Resume, now: Instant) {
        let FilterId { exchange: id, index, side, turn } = on;
        let index = index as usize;
        let Some(exchange) = self.exchanges.get_mut(id) else { return };
        if is_planted(Plant::ResumeLostAtEnd) && side == Side::Request && exchange.request_done && exchange.framing != Framing::Empty {
            return;
        }
        let Some(mut filters) = exchange.filters.take() else { return };
        let verdict = match (filters.resume(side, index, turn), what) {
            (None, _) => None,
            (Some(_), Resume::Respond(answer)) => Some(Verdict::Respond(answer)),
            (Some(at), Resume::Continue(learned)) => {
                let next = FilterId { turn: turn.wrapping_add(1), ..on };
                Some(resumed(exchange, (next, self.number), at, &learned, &mut self.random.filter))
            }
        };
        if verdict == Some(Verdict::Continue) {
            filters.release(side, index);
        }
        exchange.filters = Some(filters);
        match verdict {
            None | Some(Verdict::Pause | Verdict::Gather) => {}
            Some(Verdict::Respond(answer)) => self.answer_by_filter(id, side, index, *answer, now),
            Some(Verdict::Continue) => {
                super::request::touch(exchange, &mut self.timers, now);
                self.step(id, now, |_, exchange| format!("filter {} lets the {} go on", name_of(exchange, index), word(side)));
                self.move_on(id, side, now);
            }
        }
    }
}

/// Asks a resumed filter, and shows it what waits there.
fn resumed(
    exchange: &mut Exchange,
    (on, engine): (FilterId, u64),
    at: (&mut dyn HttpFilter, &Item),
    learned: &[u8],
    rng: &mut Rng,
) -> Verdict {
    let Exchange { request, response, trailers, response_trailers, record, found, manager, .. } = exchange;
    let mut context = FilterContext { id: on, engine, record, rng, names: names(manager, *found) };
    let (filter, item) = at;
    let held = match (on.side, item) {
        (Side::Request, Item::Head { .. }) => Held::RequestHead(request),
        (Side::Request, Item::Piece(piece)) => Held::RequestBody(piece),
        (Side::Request, Item::End) => Held::RequestEnd(trailers),
        (Side::Response, Item::Head { .. }) => Held::ResponseHead(request, response),
        (Side::Response, Item::Piece(piece)) => Held::ResponseBody(piece),
        (Side::Response, Item::End) => Held::ResponseEnd(response_trailers),
    };
    filter.resumed(held, learned, &mut context)
}

fn name_of(exchange: &Exchange, index: usize) -> &str {
    exchange.manager.config.filters.get(index).map_or("", |factory| factory.name())
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Request => "request",
        Side::Response => "response",
    }
}
