//! How far a proxy's life is, for everybody who waits for its end.
//!
//! ```text
//! Serving --(drain)--> Draining --(nothing left, the deadline, or stop)--> Drained
//!     \_____________________\_____________(a panic)______________________> Failed
//! ```

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far a proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Serving,
    /// It takes nothing new, and ends what it has.
    Draining,
    /// It has ended, by a drain or because it was stopped.
    Drained {
        /// Exchanges and tunnels that were cut.
        cut: u32,
    },
    /// It has ended because something of its own broke. Nothing else of the process is touched.
    Failed(String),
}

/// What waiting for a proxy's end came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It has ended, by a drain or because it was stopped.
    Drained {
        /// Exchanges and tunnels that were cut.
        cut: u32,
    },
    /// It has ended because something of its own broke.
    Failed(String),
    /// It has not ended yet.
    TimedOut,
}

/// Called with how a proxy has ended.
pub type OnEnd = Box<dyn FnOnce(&Waited) + Send>;

/// Where a proxy's state is.
#[derive(Default)]
pub(super) struct Life {
    inner: Mutex<Inner>,
    ended: Condvar,
}

#[derive(Default)]
struct Inner {
    draining: bool,
    end: Option<Waited>,
    callbacks: Vec<OnEnd>,
}

impl Life {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        let inner = self.inner();
        match &inner.end {
            Some(Waited::Failed(why)) => State::Failed(why.clone()),
            Some(Waited::Drained { cut }) => State::Drained { cut: *cut },
            _ if inner.draining => State::Draining,
            _ => State::Serving,
        }
    }

    /// A drain has begun; answers whether it had not.
    pub(super) fn drain(&self) -> bool {
        !std::mem::replace(&mut self.inner().draining, true)
    }

    /// It is over.
    pub(super) fn end(&self, how: Waited) {
        let callbacks = {
            let mut inner = self.inner();
            inner.end.get_or_insert_with(|| how.clone());
            std::mem::take(&mut inner.callbacks)
        };
        self.ended.notify_all();
        callbacks.into_iter().for_each(|callback| call(callback, &how));
    }

    /// Calls `callback` at the end, or now if that was before.
    pub(super) fn on_end(&self, callback: OnEnd) {
        let end = {
            let mut inner = self.inner();
            match inner.end.clone() {
                Some(end) => end,
                None => return inner.callbacks.push(callback),
            }
        };
        call(callback, &end);
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Waited {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut inner = self.inner();
        loop {
            if let Some(end) = &inner.end {
                return end.clone();
            }
            inner = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Waited::TimedOut,
                Some(left) => self.ended.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.ended.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// A host's panic is the host's: it has been reported by its own hook, and ends nothing here.
fn call(callback: OnEnd, how: &Waited) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(how)));
}

/// Which proxy a thread belongs to: one that waited for its own proxy would wait for ever.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

thread_local! {
    static OF: Cell<Option<Mark>> = const { Cell::new(None) };
}

impl Mark {
    pub(super) fn new() -> Mark {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Mark(NEXT.fetch_add(1, Relaxed))
    }

    /// The calling thread is one of the proxy's.
    pub(crate) fn set(self) {
        OF.set(Some(self));
    }

    /// Whether the calling thread is one of the proxy's.
    pub(super) fn is_here(self) -> bool {
        OF.get() == Some(self)
    }
}
