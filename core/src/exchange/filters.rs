//! The HTTP filters of one exchange, and what waits between them: on each side a queue of a head, pieces and an end.
//!
//! ```text
//! arrives -> [filter 0] -> [filter 1] -> ... -> passed: goes on       (responses: from the last filter to the first)
//!                Pause: it waits, and nothing behind it moves
//!                Gather: it waits, and what is behind it moves up to this filter
//! ```
//!
//! Nothing overtakes. This module decides what is shown to whom and what has passed; `engine::filtering` calls the filters
//! and does what follows.

use crate::filter::{Answer, FilterFactory, HttpFilter, Side, Verdict};
use crate::http1::framing::Framing;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a held piece costs beside its bytes, so that many short ones are bounded too.
const PIECE_COST: usize = 64;
/// Shorter pieces are copied: a slice would pin the whole block that it was read into.
const COPY_LIMIT: usize = 16 * 1024;

#[cfg(test)]
mod tests;

/// The filters of one exchange.
#[derive(Debug)]
pub struct Filters {
    list: Vec<Slot>,
    /// Whether any of them wants bodies.
    bodies: bool,
    request: Way,
    response: Way,
}

#[derive(Debug)]
struct Slot {
    filter: Box<dyn HttpFilter>,
    bodies: bool,
    /// How often it was resumed, by side.
    turns: [u32; 2],
}

/// One side.
#[derive(Debug, Default)]
struct Way {
    held: VecDeque<Waiting>,
    /// What is held, in bytes.
    bytes: usize,
    /// Where what arrives begins.
    from: usize,
    /// A head has arrived.
    began: bool,
    /// The end has arrived.
    ended: bool,
    /// Whatever still comes is of no interest.
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    item: Item,
    /// How many filters it was shown to.
    at: usize,
    state: State,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Moving,
    Paused,
    Gathering,
}

/// What passes filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A head. It is in its exchange; of a response this is how its body ends.
    Head {
        /// How a response's body ends.
        framing: Framing,
        /// Both sides only carry bytes from here on.
        switches: bool,
        /// No body follows: the head goes on with its end, or not at all.
        alone: bool,
    },
    /// A piece of the body.
    Piece(Bytes),
    /// The end; trailers are in the exchange.
    End,
}

/// What showing came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// All is where it can be.
    Settled,
    /// A filter has paused, the first of this index.
    Paused(usize),
    /// The filter of this index answers.
    Answered(usize, Box<Answer>),
}

impl Filters {
    /// Filters for one exchange.
    pub fn new(factories: &[Arc<dyn FilterFactory>]) -> Filters {
        let list: Vec<Slot> =
            factories.iter().map(|factory| Slot { filter: factory.make(), bodies: factory.wants_bodies(), turns: [0; 2] }).collect();
        Filters { bodies: list.iter().any(|slot| slot.bodies), list, request: Way::default(), response: Way::default() }
    }

    fn way(&self, side: Side) -> &Way {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }

    fn way_mut(&mut self, side: Side) -> &mut Way {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Whether pieces and ends of this side have to pass here at all.
    pub fn is_concerned(&self, side: Side) -> bool {
        let way = self.way(side);
        !way.held.is_empty() || way.closed || (self.bodies && !way.ended && way.from < self.list.len())
    }

    /// Whether any of them wants bodies.
    pub fn wants_bodies(&self) -> bool {
        self.bodies
    }

    /// Whether something of this side is held.
    pub fn holds(&self, side: Side) -> bool {
        !self.way(side).held.is_empty()
    }

    /// Whether a response head has arrived.
    pub fn has_response(&self) -> bool {
        self.response.began
    }

    /// Whether a response head is held that would make the exchange a tunnel.
    pub fn holds_switch(&self) -> bool {
        matches!(self.response.held.front(), Some(Waiting { item: Item::Head { switches: true, .. }, .. }))
    }

    /// What is held of a side, in bytes.
    pub fn held_bytes(&self, side: Side) -> usize {
        self.way(side).bytes
    }

    /// Whether something of this side is held for a filter that wants all of it.
    pub fn is_gathering(&self, side: Side) -> bool {
        self.way(side).held.iter().any(|waiting| waiting.state == State::Gathering)
    }

    /// Something has arrived. What comes behind the end, or is of no interest, is dropped.
    pub fn push(&mut self, side: Side, item: Item) {
        let (bodies, all) = (self.bodies, self.list.len());
        let raw = self.holds_switch() && side == Side::Response;
        let way = self.way_mut(side);
        if way.closed || way.ended {
            return;
        }
        let item = match item {
            Item::Head { framing, switches, alone } => {
                way.began = true;
                Item::Head { framing, switches, alone: alone && bodies && way.from < all }
            }
            Item::Piece(piece) => {
                way.bytes += piece.len() + PIECE_COST;
                Item::Piece(if piece.len() < COPY_LIMIT && way.bytes > piece.len() + PIECE_COST {
                    Bytes::copy_from_slice(&piece)
                } else {
                    piece
                })
            }
            Item::End => {
                way.ended = true;
                Item::End
            }
        };
        // Bytes of a tunnel are nobody's body.
        let at = if raw { all } else { way.from };
        way.held.push_back(Waiting { item, at, state: State::Moving });
    }

    /// Shows what is held to filters, each as far as it may go. `see` calls the filter of an index,
    /// which has been resumed so often.
    pub fn show(&mut self, side: Side, mut see: impl FnMut(usize, u32, &mut dyn HttpFilter, &Item) -> Verdict) -> Shown {
        let all = self.list.len();
        let mut paused = None;
        loop {
            let (list, way) = match side {
                Side::Request => (&mut self.list, &mut self.request),
                Side::Response => (&mut self.list, &mut self.response),
            };
            let mut limit = all;
            for waiting in &mut way.held {
                while waiting.state == State::Moving && waiting.at < limit {
                    let index = if side == Side::Request { waiting.at } else { all - 1 - waiting.at };
                    waiting.at += 1;
                    let slot = &mut list[index];
                    if !slot.bodies && !matches!(waiting.item, Item::Head { .. }) {
                        continue;
                    }
                    waiting.state = match see(index, slot.turns[side as usize], &mut *slot.filter, &waiting.item) {
                        Verdict::Continue => State::Moving,
                        Verdict::Gather if slot.bodies => State::Gathering,
                        Verdict::Pause | Verdict::Gather => State::Paused,
                        Verdict::Respond(answer) => return Shown::Answered(index, answer),
                    };
                    if waiting.state != State::Moving {
                        paused.get_or_insert(index);
                    }
                }
                limit = if waiting.state == State::Paused { 0 } else { limit.min(waiting.at) };
            }
            if !way.gathered() {
                return paused.map_or(Shown::Settled, Shown::Paused);
            }
        }
    }

    /// The next that has passed all filters, in order.
    pub fn pop_passed(&mut self, side: Side) -> Option<Item> {
        let all = self.list.len();
        let has_passed = |waiting: &Waiting| waiting.at >= all && waiting.state == State::Moving;
        let way = self.way_mut(side);
        let front = way.held.front().filter(|front| has_passed(front))?;
        if matches!(front.item, Item::Head { alone: true, .. }) && !way.held.get(1).is_some_and(has_passed) {
            return None;
        }
        let item = way.held.pop_front()?.item;
        if let Item::Piece(piece) = &item {
            way.bytes -= piece.len() + PIECE_COST;
        }
        Some(item)
    }

    /// Ends a turn of a filter at which something waits: what that is, and the filter.
    pub fn resume(&mut self, side: Side, index: usize, turn: u32) -> Option<(&mut dyn HttpFilter, &Item)> {
        let all = self.list.len();
        let (list, way) = match side {
            Side::Request => (&mut self.list, &mut self.request),
            Side::Response => (&mut self.list, &mut self.response),
        };
        let here = |waiting: &&Waiting| waiting.waits_at(side, index, all);
        let waiting = way.held.iter().find(here)?;
        let slot = list.get_mut(index).filter(|slot| slot.turns[side as usize] == turn)?;
        slot.turns[side as usize] = turn.wrapping_add(1);
        Some((&mut *slot.filter, &waiting.item))
    }

    /// All that waits at a filter may go on.
    pub fn release(&mut self, side: Side, index: usize) {
        let all = self.list.len();
        for waiting in &mut self.way_mut(side).held {
            if waiting.waits_at(side, index, all) {
                waiting.state = State::Moving;
            }
        }
    }

    /// An answer of our own is given: the rest of the request is of no interest, and what is held of another response is
    /// forgotten. Filters that were shown that one are not shown a second.
    pub fn begin_reply(&mut self) {
        self.request = Way { closed: true, ..Way::default() };
        let from = if self.response.began { self.list.len() } else { self.response.from };
        self.response = Way { from, ..Way::default() };
    }

    /// The filter of this index replaces the response: what it says is shown to those between it and the client.
    pub fn begin_replacing(&mut self, index: usize) {
        let from = self.list.len() - index;
        self.response = Way { from, ..Way::default() };
    }

    /// All filters, for the last call.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn HttpFilter>> {
        self.list.iter_mut().map(|slot| &mut slot.filter)
    }
}

impl Way {
    /// Lets go on what was gathered for a filter that has let the end pass; true if there is such.
    fn gathered(&mut self) -> bool {
        let Some(&Waiting { item: Item::End, at, state }) = self.held.back() else { return false };
        let seen = at - usize::from(state != State::Moving);
        let mut any = false;
        for waiting in self.held.iter_mut().filter(|waiting| waiting.state == State::Gathering && waiting.at <= seen) {
            waiting.state = State::Moving;
            any = true;
        }
        any
    }
}

impl Waiting {
    fn waits_at(&self, side: Side, index: usize, all: usize) -> bool {
        let last = if side == Side::Request { self.at.checked_sub(1) } else { all.checked_sub(self.at) };
        self.state != State::Moving && last == Some(index)
    }
}
