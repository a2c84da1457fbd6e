//! The callback that a thread is in: what of the exchange it may look at, and change.
//!
//! C gets a number for it. Another number, another thread, or the same after the callback has returned is found out.

use super::table::weir_exchange;
use crate::result::{Fault, weir_result};
use std::cell::RefCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use weir_core::filter::{Answer, FilterContext, FilterId};
use weir_core::http::{Fields, RequestHead, ResponseHead};
use weir_core::record::Record;
use weir_core::rng::Rng;

/// A head, as far as the callback has it.
#[derive(Debug)]
pub(super) enum Part<T> {
    Absent,
    Read(*const T),
    Write(*mut T),
}

/// What a callback has. The pointers are good while it is under way, for nobody else uses what they point to.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) number: usize,
    pub(super) engine: u64,
    pub(super) id: Option<FilterId>,
    pub(super) request: Part<RequestHead>,
    pub(super) response: Part<ResponseHead>,
    pub(super) trailers: Part<Fields>,
    pub(super) record: *const Record,
    pub(super) rng: *mut Rng,
    pub(super) answer: Option<Answer>,
}

thread_local! {
    /// Innermost last: a callback may drive another engine.
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Frame {
    pub(super) fn new(context: &mut FilterContext<'_>) -> Frame {
        Frame { engine: context.engine, id: Some(context.id), rng: &raw mut *context.rng, ..Frame::of(context.record) }
    }

    /// A frame with nothing but what is known.
    pub(super) fn of(record: &Record) -> Frame {
        Frame {
            // Odd, and large: nobody takes it for a pointer.
            number: NEXT.fetch_add(2, Relaxed) << 8 | 1,
            engine: 0,
            id: None,
            request: Part::Absent,
            response: Part::Absent,
            trailers: Part::Absent,
            record,
            rng: null_mut(),
            answer: None,
        }
    }

    /// Calls C with it; what it answers, and the answer that it has given.
    pub(super) fn call<R>(self, call: impl FnOnce(*mut weir_exchange) -> R) -> (R, Option<Answer>) {
        let exchange = self.number as *mut weir_exchange;
        FRAMES.with_borrow_mut(|frames| frames.push(self));
        // What is called here cannot unwind: `extern "C"` ends the process instead.
        let answered = call(exchange);
        let frame = FRAMES.with_borrow_mut(Vec::pop);
        (answered, frame.and_then(|frame| frame.answer))
    }
}

/// The frame that C means.
pub(super) fn with<R>(exchange: *const weir_exchange, work: impl FnOnce(&mut Frame) -> Result<R, Fault>) -> Result<R, Fault> {
    if exchange.is_null() {
        return Err(Fault::null("exchange"));
    }
    FRAMES.with_borrow_mut(|frames| match frames.last_mut() {
        Some(frame) if frame.number == exchange as usize => work(frame),
        _ => Err(Fault::new(
            weir_result::WEIR_WRONG_HANDLE,
            "`exchange` is not that of the callback that this thread is in; keep the filter's id and resume it instead",
        )),
    })
}
