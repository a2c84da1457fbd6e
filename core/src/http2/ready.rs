//! What is to be polled: wakers put it on a list, in the order in which they are woken, once each.

use slotmap::{Key, KeyData};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use super::stream::StreamKey;

/// The list of one session. With it goes all that is on it, and from then on wakers do nothing: a token on a list that it keeps
/// itself would stay for ever.
#[derive(Debug, Default)]
pub(super) struct ReadyList(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue(Mutex<Queued>);

#[derive(Debug, Default)]
struct Queued {
    tokens: VecDeque<Arc<Token>>,
    /// The session is gone.
    closed: bool,
}

/// One thing to poll: a stream, or with the null key the connection itself.
#[derive(Debug)]
pub(super) struct Token {
    key: u64,
    queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Token {
    pub(super) fn new(key: StreamKey, list: &ReadyList) -> Arc<Token> {
        Arc::new(Token { key: key.data().as_ffi(), queued: AtomicBool::new(false), queue: Arc::clone(&list.0) })
    }

    /// Puts it on the list, unless it is there.
    pub(super) fn queue(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            let mut queued = self.queue.lock();
            if !queued.closed {
                queued.tokens.push_back(Arc::clone(self));
            }
        }
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        self.queue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadyList {
    /// Takes what was woken first.
    pub(super) fn pop(&self) -> Option<StreamKey> {
        let token = self.0.lock().tokens.pop_front()?;
        token.queued.store(false, Ordering::Relaxed);
        Some(KeyData::from_ffi(token.key).into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().tokens.is_empty()
    }
}

impl Drop for ReadyList {
    fn drop(&mut self) {
        let mut queued = self.0.lock();
        queued.closed = true;
        let tokens = std::mem::take(&mut queued.tokens);
        // A token that is dropped must find the list unlocked.
        drop(queued);
        drop(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_of_a_list_that_is_gone() {
        let list = ReadyList::default();
        let (queued, woken) = (Token::new(StreamKey::default(), &list), Token::new(StreamKey::default(), &list));
        queued.queue();
        let (waker, tokens) = (woken.waker(), [Arc::downgrade(&queued), Arc::downgrade(&woken)]);
        drop((queued, woken, list));
        // As streams do that are dropped after the list.
        waker.wake();
        assert!(tokens.iter().all(|token| token.upgrade().is_none()));
    }
}
