//! What is to be polled: wakers put it on a list, in the order in which they are woken, once each.

use slotmap::{Key, KeyData};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::stream::StreamKey;

/// The list of one session.
#[derive(Debug, Default)]
pub(super) struct ReadyList(Mutex<VecDeque<Arc<Token>>>);

/// One thing to poll: a stream, or with the null key the connection itself.
#[derive(Debug)]
pub(super) struct Token {
    key: u64,
    queued: AtomicBool,
    list: Arc<ReadyList>,
}

impl Token {
    pub(super) fn new(key: StreamKey, list: &Arc<ReadyList>) -> Arc<Token> {
        Arc::new(Token { key: key.data().as_ffi(), queued: AtomicBool::new(false), list: Arc::clone(list) })
    }

    /// Puts it on the list, unless it is there.
    pub(super) fn queue(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.list.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(Arc::clone(self));
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

impl ReadyList {
    /// Takes what was woken first.
    pub(super) fn pop(&self) -> Option<StreamKey> {
        let token = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        token.queued.store(false, Ordering::Relaxed);
        Some(KeyData::from_ffi(token.key).into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
