//! A plain request allocates nothing in core once its connections are warm.
//!
//! A test binary of its own: the counting allocator sees everything that happens in the process.
#![allow(missing_docs)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use world::{REQUEST, World};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_plain_request_allocates_nothing() {
    let mut world = World::new();
    for _ in 0..200 {
        world.exchange(REQUEST);
    }
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..1000 {
        world.exchange(REQUEST);
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "allocations in 1000 exchanges");
}
