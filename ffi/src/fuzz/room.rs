//! Places to write to, with canaries behind them.

use crate::memory::Versioned;
use std::mem::size_of;

/// What nobody writes.
const CANARY: u8 = 0xc5;
const CANARIES: usize = 64;

/// So many bytes, aligned for everything.
pub(super) struct Room {
    words: Vec<u64>,
    size: usize,
}

impl Room {
    pub(super) fn new(size: usize) -> Room {
        Room { words: vec![u64::from_ne_bytes([CANARY; 8]); (size + CANARIES).div_ceil(8)], size }
    }

    pub(super) fn at(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }

    fn all(&self) -> &[u8] {
        // SAFETY: the words are bytes too.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * 8) }
    }

    /// What is there; nothing may be behind it.
    pub(super) fn written(&self) -> &[u8] {
        let (room, behind) = self.all().split_at(self.size);
        assert!(behind.iter().all(|byte| *byte == CANARY), "written beyond the room");
        room
    }

    /// Nothing was written.
    pub(super) fn untouched(&self) {
        assert!(self.all().iter().all(|byte| *byte == CANARY), "written by a call that failed");
    }
}

/// A struct that begins with its size, in a room as large as that says (or as is read at all).
pub(super) struct Struct {
    room: Room,
    size: usize,
}

impl Struct {
    pub(super) fn new(size: usize) -> Struct {
        let mut room = Room::new(size.clamp(8, 64 * 1024));
        // SAFETY: there are eight bytes at least.
        unsafe { room.at().cast::<usize>().write(size) };
        Struct { room, size }
    }

    pub(super) fn at<T: Versioned>(&mut self) -> *mut T {
        self.room.at().cast()
    }

    /// What was written, if the call has worked. Nothing may be written otherwise, or behind what there is of it.
    pub(super) fn read<T: Versioned>(&self, worked: bool) -> Option<T> {
        let bytes = self.room.written();
        let kept = if worked { size_of::<T>().min(self.size) } else { size_of::<usize>() };
        assert!(bytes[kept.min(bytes.len())..].iter().all(|byte| *byte == CANARY), "written where nothing is");
        assert_eq!(bytes[..8], self.size.to_ne_bytes(), "the size was written");
        if !worked || self.size < size_of::<T>() {
            return None;
        }
        // SAFETY: there are enough bytes, and the library has written them all.
        Some(unsafe { self.room.words.as_ptr().cast::<T>().read() })
    }
}
