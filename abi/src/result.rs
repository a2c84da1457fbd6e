//! Numbered results, the last error's words, and the border that nothing unwinds across.

use std::cell::RefCell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The ABI that this header describes. It grows when something that a compiled host relies on changes.
pub const WEIR_ABI_VERSION: u32 = 1;

/// What a call came to. Numbers are never given another meaning. Out-parameters are written only with `WEIR_OK`, but
/// where a function says otherwise.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_result {
    /// It worked.
    WEIR_OK = 0,
    /// It worked, and there is nothing (more) to be had now.
    WEIR_NONE = 1,

    /// A pointer that must not be NULL is NULL.
    WEIR_NULL_POINTER = 100,
    /// A handle is not, or no longer, one of this kind: it was freed, belongs to another kind, or was made up.
    WEIR_WRONG_HANDLE = 101,
    /// The handle is in use by another call: of another thread, or of this one if it was called back.
    WEIR_BUSY = 102,
    /// A text is not UTF-8.
    WEIR_BAD_UTF8 = 103,
    /// The buffer is too small; what is needed is written to the length.
    WEIR_TOO_SMALL = 104,
    /// A struct's `size` field is not that of any version of it.
    WEIR_BAD_SIZE = 105,
    /// The host was compiled against another ABI: see `weir_check_abi`.
    WEIR_WRONG_ABI = 106,
    /// An argument is out of its range.
    WEIR_BAD_VALUE = 107,
    /// `now` is earlier than that of a call before.
    WEIR_TIME_REVERSED = 108,
    /// An id names nothing (any more): late news about a connection or query that is gone. Nothing was changed.
    WEIR_UNKNOWN_ID = 109,
    /// Weir has panicked: a bug of ours. The handle can only be freed.
    WEIR_PANICKED = 110,

    /// The config is refused: see the diagnostics.
    WEIR_CONFIG_REFUSED = 200,
    /// There is no listener of that name or id.
    WEIR_NO_LISTENER = 201,
    /// The listener has as many connections as it may.
    WEIR_LISTENER_LIMIT = 202,
    /// There are as many connections as there may be.
    WEIR_GLOBAL_LIMIT = 203,
    /// No filter chain is for the connection.
    WEIR_NO_FILTER_CHAIN = 204,
    /// There is no stat of that name.
    WEIR_NO_STAT = 205,
    /// It is no input log that this build can replay.
    WEIR_BAD_LOG = 206,
    /// The replay decided something else than was recorded.
    WEIR_DIVERGED = 207,

    /// The callback has no such part of the exchange, or may not change it.
    WEIR_NOT_HERE = 250,
    /// A header field, or what stands for one, cannot be sent.
    WEIR_BAD_FIELD = 251,

    /// An address cannot be listened on.
    WEIR_LISTEN_FAILED = 300,
    /// A name of the config does not resolve.
    WEIR_RESOLVE_FAILED = 301,
    /// A file or folder cannot be opened or made.
    WEIR_FILE_FAILED = 302,
    /// The system refuses something else.
    WEIR_SYSTEM_FAILED = 303,
    /// The proxy has drained, failed or was stopped: it does nothing more.
    WEIR_ENDED = 304,
    /// The proxy drains: nothing new begins.
    WEIR_DRAINING = 305,
    /// The call came from one of the proxy's own threads (a callback), which it would have waited for.
    WEIR_OWN_THREAD = 306,
    /// It takes longer than was to be waited; it goes on.
    WEIR_TIMED_OUT = 307,
    /// A worker of the proxy has panicked: a bug of ours. The proxy has ended.
    WEIR_FAILED = 308,
    /// The exchange was broken off: by the upstream, a deadline of the config, a drain's deadline, or a stop.
    WEIR_CALL_RESET = 309,
    /// The call was cancelled.
    WEIR_CANCELLED = 310,
    /// The listener takes no call now.
    WEIR_CALL_REFUSED = 311,
    /// Nobody takes more of the request's body: it was finished, or the response came first.
    WEIR_FINISHED = 312,
}

/// What went wrong: the number for programs and the words for people.
#[derive(Debug)]
pub struct Fault {
    /// The number.
    pub result: weir_result,
    /// The words.
    pub words: String,
}

impl Fault {
    /// A fault with these words.
    pub fn new(result: weir_result, words: impl Display) -> Fault {
        Fault { result, words: words.to_string() }
    }

    /// A pointer called `what` is NULL.
    pub fn null(what: &str) -> Fault {
        Fault::new(weir_result::WEIR_NULL_POINTER, format_args!("`{what}` is NULL"))
    }
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does a call's work: a fault leaves its words behind, and a panic goes no further.
pub fn enter(work: impl FnOnce() -> Result<weir_result, Fault>) -> weir_result {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => result,
        Ok(Err(fault)) => {
            say(fault.words);
            fault.result
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            say(format!("Weir has panicked, which is a bug of ours: {}", words.unwrap_or("it does not say why")));
            weir_result::WEIR_PANICKED
        }
    }
}

/// Leaves words behind.
pub fn say(words: String) {
    // A thread that is ending has nobody left to tell.
    let _ = LAST.try_with(|last| last.replace(words));
}

/// The words of this thread's last failure.
pub fn with_last_words<R>(read: impl FnOnce(&str) -> R) -> Option<R> {
    LAST.try_with(|last| read(&last.borrow())).ok()
}
