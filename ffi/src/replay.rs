//! Input logs: living through them again.

use crate::engine::{tell_event, weir_event};
use crate::filter::{registry, weir_filters};
use crate::handle;
use crate::memory::{self, versioned};
use crate::result::{Fault, enter, weir_result};
use bytes::Bytes;
use std::collections::VecDeque;
use weir_core::engine::Event;
use weir_core::engine::log::{LogError, Replay};
use weir_core::filter::Registry;

/// An input log and an engine that lives through it again.
#[derive(Debug)]
pub struct weir_replay {
    _opaque: [u8; 0],
}

#[derive(Debug)]
pub(crate) struct ReplayObject {
    replay: Replay,
    events: VecDeque<Event>,
    event: Vec<u8>,
}

/// What a replay came to so far.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_replay_summary {
    /// `sizeof(struct weir_replay_summary)`, set by the host.
    pub size: usize,
    /// Entries that were fed to the engine.
    pub entries: u64,
    /// From the beginning to the last of them, in nanoseconds.
    pub time: u64,
    /// The engine's digest after them.
    pub digest: u64,
    /// 1 if that is the whole log, and the digest is the one that was recorded.
    pub whole: u32,
}
versioned!(weir_replay_summary, 40);

fn fault(error: LogError) -> Fault {
    let result = match error {
        LogError::Diverged { .. } => weir_result::WEIR_DIVERGED,
        _ => weir_result::WEIR_BAD_LOG,
    };
    Fault::new(result, error)
}

/// Reads the head of an input log, which is copied, and makes the engine that it begins with. If `explain` is not 0, each
/// decision is told as `WEIR_EVENT_STEP`.
///
/// Any thread; afterwards one at a time. Free it with `weir_replay_free`.
///
/// # Safety
/// `log` must have `len` bytes, `out` be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_replay_open(log: *const u8, len: usize, explain: u32, out: *mut *mut weir_replay) -> weir_result {
    // SAFETY: the caller answers for it.
    enter(|| unsafe { open(Registry::default(), log, len, explain, out) })
}

/// As `weir_replay_open`, for the log of an engine that had these filters of the host's; NULL for none.
///
/// # Safety
/// As for `weir_replay_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_replay_open_with(
    filters: *const weir_filters,
    log: *const u8,
    len: usize,
    explain: u32,
    out: *mut *mut weir_replay,
) -> weir_result {
    // SAFETY: the caller answers for it.
    enter(|| unsafe { open(registry(filters)?, log, len, explain, out) })
}

/// # Safety
/// As for `weir_replay_open`.
unsafe fn open(filters: Registry, log: *const u8, len: usize, explain: u32, out: *mut *mut weir_replay) -> Result<weir_result, Fault> {
    memory::check_out(out, "out")?;
    // SAFETY: the caller answers for it.
    let log = unsafe { memory::slice(log, len, "log")? };
    let mut replay = Replay::open_with(Bytes::copy_from_slice(log), filters).map_err(fault)?;
    if explain != 0 {
        replay.explain();
    }
    // SAFETY: the caller answers for it.
    unsafe { memory::give(ReplayObject { replay, events: VecDeque::new(), event: Vec::new() }, out)? };
    Ok(weir_result::WEIR_OK)
}

/// Feeds the next entry; `WEIR_NONE` if the log has ended as it was recorded. `WEIR_DIVERGED` if the engine decides something
/// else than it did, `WEIR_BAD_LOG` if the log is damaged or cut off: `weir_last_error` says where.
#[unsafe(no_mangle)]
pub extern "C" fn weir_replay_step(replay: *mut weir_replay) -> weir_result {
    enter(|| {
        handle::with::<ReplayObject, _>(replay as usize, |object| {
            let more = object.replay.step().map_err(fault)?;
            object.events.extend(object.replay.take_events());
            Ok(if more { weir_result::WEIR_OK } else { weir_result::WEIR_NONE })
        })
    })
}

/// The next thing that the engine told; `WEIR_NONE` if there is nothing. As `weir_engine_next_event`.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_replay_next_event(replay: *mut weir_replay, out: *mut weir_event) -> weir_result {
    enter(|| {
        memory::check_versioned(out, "out")?;
        handle::with::<ReplayObject, _>(replay as usize, |object| {
            let Some(event) = object.events.pop_front() else { return Ok(weir_result::WEIR_NONE) };
            let (told, text) = tell_event(event);
            object.event = text;
            // SAFETY: the caller answers for it.
            unsafe { memory::write(out, &told, "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// What it has come to so far.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_replay_get_summary(replay: *const weir_replay, out: *mut weir_replay_summary) -> weir_result {
    enter(|| {
        memory::check_versioned(out, "out")?;
        handle::with::<ReplayObject, _>(replay as usize, |object| {
            let summary = object.replay.summary();
            let told = weir_replay_summary {
                entries: summary.entries,
                time: u64::try_from(summary.time.as_nanos()).unwrap_or(u64::MAX),
                digest: summary.digest,
                whole: u32::from(summary.whole),
                ..memory::Versioned::fresh()
            };
            // SAFETY: the caller answers for it.
            unsafe { memory::write(out, &told, "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Frees a replay. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn weir_replay_free(replay: *mut weir_replay) -> weir_result {
    memory::free::<ReplayObject>(replay as usize)
}
