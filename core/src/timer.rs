//! One queue of deadlines for a whole engine; every deadline says why.
//!
//! A machine keeps its deadlines, one for each reason, in a small array ([`Deadlines`]) and the queue holds
//! at most one live entry for it. Moving a deadline later touches only the array: the queue's entry then
//! fires early, finds nothing due and is set again. So the timeouts that every request arms and disarms
//! cost two stores and no heap operation.

use crate::id::{ClusterId, ConnId, ExchangeId};
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Whose deadline it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A connection from a client.
    Downstream(ConnId),
    /// A connection to an upstream host.
    Upstream(ConnId),
    /// The exchange on a connection from a client. Named by the connection, so that one entry serves all
    /// exchanges that follow each other on it.
    Exchange(ConnId),
    /// An exchange that has a stream of its own.
    Stream(ExchangeId),
    /// A cluster.
    Cluster(ClusterId),
    /// The engine itself.
    Engine,
}

/// An entry of the queue: when, for whom, and why.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When it is due.
    pub at: Instant,
    sequence: u64,
    /// Whose deadline it is.
    pub owner: Owner,
    reason: u8,
}

impl Entry {
    /// Why it was made, in the words of its owner's machine. The machine may have moved that deadline since.
    pub fn reason<R: Reason>(&self) -> Option<R> {
        R::ALL.get(usize::from(self.reason)).copied()
    }
}

/// The engine's queue, ordered by time and then by when the entry was made.
#[derive(Debug, Default)]
pub struct TimerQueue {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl TimerQueue {
    /// The next entry, due or not.
    pub fn peek(&self) -> Option<Entry> {
        self.heap.peek().map(|Reverse(entry)| *entry)
    }

    /// Takes the next entry if its time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<Entry> {
        let due = self.peek().filter(|next| next.at <= now)?;
        self.heap.pop();
        Some(due)
    }

    /// How many entries there are, spurious ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Throws away the entries of owners that are gone.
    pub fn retain(&mut self, mut alive: impl FnMut(Owner) -> bool) {
        self.heap.retain(|Reverse(entry)| alive(entry.owner));
    }

    fn push(&mut self, at: Instant, owner: Owner, reason: usize) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, owner, reason: reason as u8 }));
    }
}

/// A reason for a deadline: a fieldless enum that numbers its variants from zero.
pub trait Reason: Copy + 'static {
    /// Every reason, in the order of their numbers.
    const ALL: &'static [Self];
    /// The reason's place in [`Self::ALL`].
    fn index(self) -> usize;
}

/// Declares the reasons of one machine.
#[macro_export]
#[doc(hidden)]
macro_rules! reasons {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$vdoc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$vdoc])* $variant),* }

        impl $crate::timer::Reason for $name {
            const ALL: &'static [Self] = &[$($name::$variant),*];
            fn index(self) -> usize { self as usize }
        }
    };
}

/// The deadlines of one machine: at most one for each of its `N` reasons.
#[derive(Clone, Debug)]
pub struct Deadlines<const N: usize> {
    at: [Instant; N],
    /// The time of this machine's live entry in the queue; older entries are spurious.
    queued: Instant,
}

impl<const N: usize> Default for Deadlines<N> {
    fn default() -> Self {
        Deadlines { at: [Instant::NEVER; N], queued: Instant::NEVER }
    }
}

impl<const N: usize> Deadlines<N> {
    /// Sets or moves the deadline for `reason`.
    pub fn set(&mut self, reason: impl Reason, at: Instant, owner: Owner, queue: &mut TimerQueue) {
        self.at[reason.index()] = at;
        if at < self.queued {
            self.queued = at;
            queue.push(at, owner, reason.index());
        }
    }

    /// The time of the live entry in the queue, for a successor with the same owner.
    pub fn alarm(&self) -> Instant {
        self.queued
    }

    /// Takes a predecessor's live entry over.
    pub fn inherit(&mut self, alarm: Instant) {
        self.queued = alarm;
    }

    /// There is no longer a deadline for `reason`.
    pub fn clear(&mut self, reason: impl Reason) {
        self.at[reason.index()] = Instant::NEVER;
    }

    /// There are no deadlines any more. Entries left in the queue will find nothing.
    pub fn clear_all(&mut self) {
        self.at = [Instant::NEVER; N];
    }

    /// When `reason` is due, if it is set.
    pub fn get(&self, reason: impl Reason) -> Option<Instant> {
        Some(self.at[reason.index()]).filter(|at| *at != Instant::NEVER)
    }

    /// The machine's entry came up: answers the earliest reason that is due and clears it, or sets the
    /// entry again and answers `None`. Ask until `None`.
    #[must_use]
    pub fn pop_due<R: Reason>(&mut self, now: Instant, owner: Owner, queue: &mut TimerQueue) -> Option<R> {
        let (index, at) = self.at.iter().copied().enumerate().min_by_key(|(_, at)| *at)?;
        if at > now {
            // An older entry than the live one came up: the live one is still to come.
            if self.queued <= now || self.queued > at {
                self.queued = at;
                if at != Instant::NEVER {
                    queue.push(at, owner, index);
                }
            }
            return None;
        }
        self.at[index] = Instant::NEVER;
        if self.queued <= now {
            // That entry is spent: the next deadline needs one of its own.
            self.queued = Instant::NEVER;
        }
        R::ALL.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    reasons! { enum Why { Idle, Route } }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn fires_at_the_exact_tick_and_says_why() {
        let (mut queue, mut mine) = (TimerQueue::default(), Deadlines::<2>::default());
        mine.set(Why::Idle, at(100), Owner::Engine, &mut queue);
        mine.set(Why::Route, at(50), Owner::Engine, &mut queue);
        assert_eq!(queue.peek().map(|next| next.at), Some(at(50)));
        assert!(queue.pop_due(at(49)).is_none());
        assert!(queue.pop_due(at(50)).is_some());
        assert_eq!(mine.pop_due(at(50), Owner::Engine, &mut queue), Some(Why::Route));
        assert_eq!(mine.pop_due::<Why>(at(50), Owner::Engine, &mut queue), None);
        assert_eq!(queue.peek().map(|next| next.at), Some(at(100)));
    }

    #[test]
    fn moving_a_deadline_later_leaves_the_queue_alone() {
        let (mut queue, mut mine) = (TimerQueue::default(), Deadlines::<2>::default());
        mine.set(Why::Idle, at(10), Owner::Engine, &mut queue);
        for later in 11..1000 {
            mine.set(Why::Idle, at(later), Owner::Engine, &mut queue);
        }
        assert_eq!(queue.heap.len(), 1);
        assert!(queue.pop_due(at(10)).is_some());
        assert_eq!(mine.pop_due::<Why>(at(10), Owner::Engine, &mut queue), None);
        assert_eq!(queue.peek().map(|next| next.at), Some(at(999)));
    }

    #[test]
    fn a_deadline_that_is_set_while_another_fires_comes_up() {
        let (mut queue, mut mine) = (TimerQueue::default(), Deadlines::<2>::default());
        mine.set(Why::Idle, at(10), Owner::Engine, &mut queue);
        assert!(queue.pop_due(at(10)).is_some());
        assert_eq!(mine.pop_due(at(10), Owner::Engine, &mut queue), Some(Why::Idle));
        mine.set(Why::Idle, at(20), Owner::Engine, &mut queue);
        assert_eq!(queue.peek().map(|next| next.at), Some(at(20)));
    }

    #[test]
    fn a_cleared_deadline_does_not_fire() {
        let (mut queue, mut mine) = (TimerQueue::default(), Deadlines::<2>::default());
        mine.set(Why::Idle, at(10), Owner::Engine, &mut queue);
        mine.clear(Why::Idle);
        assert!(queue.pop_due(at(10)).is_some());
        assert_eq!(mine.pop_due::<Why>(at(10), Owner::Engine, &mut queue), None);
        assert!(queue.peek().is_none());
    }
}
