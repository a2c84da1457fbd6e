//! Filters that other threads resume: what they were told waits here until the host comes by.

use super::weir_wake_fn;
use std::collections::VecDeque;
use std::os::raw::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_core::filter::{FilterId, Resume};

/// What has been told, and how the host is woken for it.
#[derive(Debug)]
pub(super) struct Resumed(Mutex<State>);

#[derive(Debug)]
struct State {
    /// In order.
    told: VecDeque<(FilterId, Resume)>,
    wake: weir_wake_fn,
    data: *mut c_void,
    /// The engine is gone: nobody is woken for it any more.
    ended: bool,
}

// SAFETY: the header says that the function is called on any thread.
unsafe impl Send for State {}

impl Resumed {
    pub(super) fn new(wake: weir_wake_fn, data: *mut c_void) -> Resumed {
        Resumed(Mutex::new(State { told: VecDeque::new(), wake, data, ended: false }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the engine is there to hear of it.
    pub(super) fn put(&self, filter: FilterId, what: Resume) -> bool {
        let mut state = self.state();
        if state.ended {
            return false;
        }
        state.told.push_back((filter, what));
        if let Some(wake) = state.wake {
            // SAFETY: the host answers for its function as long as the engine lives, and this lock keeps it from ending.
            unsafe { wake(state.data) };
        }
        true
    }

    pub(super) fn take(&self) -> Option<(FilterId, Resume)> {
        self.state().told.pop_front()
    }

    /// The engine is gone.
    pub(super) fn end(&self) {
        self.state().ended = true;
    }
}
