//! Filters that wait are resumed from any thread: engines are numbered, and whoever drives one says how it is reached.

use super::host::read_answer;
use super::table::{weir_answer, weir_filter_id};
use crate::memory;
use crate::result::{Fault, enter, weir_result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use weir_core::filter::{FilterId, Resume};

/// Hands a resume to the thread of an engine; whether it was taken.
type Reach = dyn Fn(FilterId, Resume) -> bool + Send + Sync;

static ENGINES: RwLock<BTreeMap<u64, Arc<Reach>>> = RwLock::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// An engine that can be reached, as long as this lives.
#[derive(Debug)]
pub struct Reachable {
    number: u64,
}

impl Reachable {
    /// An engine of this process that is reached by `reach`, which must not block.
    pub fn new(reach: impl Fn(FilterId, Resume) -> bool + Send + Sync + 'static) -> Reachable {
        let number = NEXT.fetch_add(1, Relaxed);
        ENGINES.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(reach));
        Reachable { number }
    }

    /// Its number, for [`Engine::set_number`](weir_core::Engine::set_number).
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        ENGINES.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Resumes a filter of the engine with this number, from any thread. False if that is gone.
pub fn resume_on(engine: u64, id: FilterId, what: Resume) -> bool {
    let reach = ENGINES.read().unwrap_or_else(PoisonError::into_inner).get(&engine).cloned();
    reach.is_some_and(|reach| reach(id, what))
}

/// Reads an id that C gives.
///
/// # Errors
/// If it is NULL.
///
/// # Safety
/// `id` must be valid for reading, or NULL.
pub unsafe fn read_id(id: *const weir_filter_id) -> Result<weir_filter_id, Fault> {
    // SAFETY: the caller answers for it.
    match unsafe { memory::slice(id, 1, "id")? } {
        [id] => Ok(*id),
        _ => Err(Fault::null("id")),
    }
}

fn reach(id: weir_filter_id, what: Resume) -> Result<weir_result, Fault> {
    let words = match (id.engine, resume_on(id.engine, id.id(), what)) {
        (_, true) => return Ok(weir_result::WEIR_OK),
        (0, _) => "an engine of tier 1 is resumed by its host, with weir_engine_resume",
        _ => "the engine of `id` is gone",
    };
    Err(Fault::new(weir_result::WEIR_UNKNOWN_ID, words))
}

/// See `weir_filter_host.resume`.
///
/// # Safety
/// `id` must be valid for reading, or NULL; `learned` must have `len` bytes.
pub unsafe extern "C" fn resume(id: *const weir_filter_id, learned: *const u8, len: usize) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let (id, learned) = unsafe { (read_id(id)?, memory::slice(learned, len, "learned")?) };
        reach(id, Resume::Continue(Bytes::copy_from_slice(learned)))
    })
}

/// See `weir_filter_host.resume_answer`.
///
/// # Safety
/// `id` must be valid for reading, or NULL; `answer` as for `weir_filter_host.answer`.
pub unsafe extern "C" fn resume_answer(id: *const weir_filter_id, answer: *const weir_answer) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let (id, answer) = unsafe { (read_id(id)?, read_answer(answer)?) };
        reach(id, Resume::Respond(Box::new(answer)))
    })
}
