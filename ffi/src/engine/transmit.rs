//! What is to be sent: lent as slices for one `writev`, or copied.

use super::{EngineObject, weir_engine, with};
use crate::memory::{self, weir_iovec};
use crate::result::{Fault, enter, weir_result};
use std::ptr;
use weir_core::engine::Transmit;
use weir_core::id::ConnId;
use weir_core::time::Instant;

/// Outboxes that are kept for the next to use.
const SPARE: usize = 64;

impl EngineObject {
    /// Lets the engine fill the connection's outbox if all in it was sent; whether there is something to send.
    fn fill(&mut self, id: ConnId, now: Instant) -> bool {
        if self.lent.contains_key(id) {
            return true;
        }
        let mut outbox = self.spare.pop().unwrap_or_default();
        if self.engine.poll_transmit(id, &mut outbox, now) == Transmit::Ready {
            self.lent.insert(id, outbox);
            return true;
        }
        self.spare.push(outbox);
        false
    }

    fn sent(&mut self, id: ConnId, count: usize) {
        let Some(outbox) = self.lent.get_mut(id) else { return };
        outbox.advance(count);
        if outbox.is_empty() {
            self.take_back(id);
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.data.remove(id);
        self.kept.remove(id);
        self.take_back(id);
    }

    fn take_back(&mut self, id: ConnId) {
        if let Some(mut outbox) = self.lent.remove(id)
            && self.spare.len() < SPARE
        {
            outbox.clear();
            self.spare.push(outbox);
        }
    }
}

/// What to send on a connection: up to `max` slices of the engine's own memory are written to `slices`, and how many to
/// `count`. `WEIR_NONE` if there is nothing. Write them, and say with `weir_engine_sent` how many bytes went out; what did
/// not is lent again. Ask until `WEIR_NONE`, or until the socket would block.
///
/// The slices live until the next call of `weir_engine_transmit`, `weir_engine_sent` or `weir_engine_closed` for this
/// connection, or until `WEIR_ACTION_DROP` or `WEIR_ACTION_RESET` for it was told.
///
/// # Safety
/// `slices` must have room for `max`, `count` be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_transmit(
    engine: *mut weir_engine,
    conn: u64,
    slices: *mut weir_iovec,
    max: usize,
    count: *mut usize,
    now: u64,
) -> weir_result {
    enter(|| {
        memory::check_out(slices, "slices")?;
        memory::check_out(count, "count")?;
        if max == 0 {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "`max` is 0: there must be room for a slice"));
        }
        with(engine, |object| {
            let id = object.connection(conn)?;
            let now = object.at(now)?;
            if !object.fill(id, now) {
                return Ok(weir_result::WEIR_NONE);
            }
            let mut used = 0;
            for slice in object.lent.get(id).into_iter().flat_map(|outbox| outbox.slices()).take(max) {
                // SAFETY: the caller has room for `max`, and `used` is less.
                unsafe { slices.add(used).write(weir_iovec { data: slice.as_ptr(), len: slice.len() }) };
                used += 1;
            }
            // SAFETY: the caller answers for it.
            unsafe { memory::put(count, used, "count")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// So many bytes of what `weir_engine_transmit` lent were sent.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_sent(engine: *mut weir_engine, conn: u64, bytes: usize) -> weir_result {
    enter(|| {
        with(engine, |object| {
            let id = object.connection(conn)?;
            let lent = object.lent.get(id).map_or(0, |outbox| outbox.len());
            if bytes > lent {
                let words = format_args!("{bytes} bytes cannot have been sent: {lent} were lent");
                return Err(Fault::new(weir_result::WEIR_BAD_VALUE, words));
            }
            object.sent(id, bytes);
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// What to send on a connection, copied: up to `size` bytes to `buffer`, and how many to `written`. `WEIR_NONE` if there is
/// nothing. They count as sent: the host has to send them all. For hosts without pointers; others save the copy with
/// `weir_engine_transmit`.
///
/// # Safety
/// `buffer` must have room for `size` bytes, `written` be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_transmit_copy(
    engine: *mut weir_engine,
    conn: u64,
    buffer: *mut u8,
    size: usize,
    written: *mut usize,
    now: u64,
) -> weir_result {
    enter(|| {
        memory::check_out(buffer, "buffer")?;
        memory::check_out(written, "written")?;
        if size == 0 {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "`size` is 0: there must be room for a byte"));
        }
        with(engine, |object| {
            let id = object.connection(conn)?;
            let now = object.at(now)?;
            let mut used = 0;
            while used < size && object.fill(id, now) {
                let before = used;
                for slice in object.lent.get(id).into_iter().flat_map(|outbox| outbox.slices()) {
                    let count = slice.len().min(size - used);
                    // SAFETY: `used + count` is at most `size`, for which the caller has room.
                    unsafe { ptr::copy_nonoverlapping(slice.as_ptr(), buffer.add(used), count) };
                    used += count;
                }
                object.sent(id, used - before);
            }
            if used == 0 {
                return Ok(weir_result::WEIR_NONE);
            }
            // SAFETY: the caller answers for it.
            unsafe { memory::put(written, used, "written")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}
