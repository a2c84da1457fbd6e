//! Handles: what C holds is a number that looks like a pointer, and a table knows what it stands for.
//!
//! So a handle that was freed, is of another kind, or was made up is found out, and two calls that use one handle at
//! once are told so instead of racing. A lookup takes no lock that another handle's calls would wait for.

use crate::result::{Fault, weir_result};
use std::cell::UnsafeCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("handles need pointers of 64 bits");

/// Slots of the first chunk; each chunk after has twice as many as the one before.
const FIRST: usize = 32;
/// Chunks.
const CHUNKS: usize = 24;
/// Handles are odd multiples of this, so that none looks like an aligned pointer.
const SHIFT: u32 = 1;

/// What a handle stands for.
pub(crate) trait Object: Sized + Send + 'static {
    /// What C calls it.
    const NAME: &'static str;
    const KIND: Kind;
    fn wrap(self: Box<Self>) -> Held;
    fn peek(held: &mut Held) -> Option<&mut Self>;
    fn unwrap(held: Held) -> Result<Box<Self>, Held>;
}

macro_rules! objects {
    ($($(#[$attribute:meta])* $variant:ident($type:ty) = $name:literal),* $(,)?) => {
        /// An object of the table.
        #[derive(Default)]
        pub(crate) enum Held {
            #[default]
            Nothing,
            $($(#[$attribute])* $variant(Box<$type>)),*
        }

        /// Which of them.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            Nothing,
            $($(#[$attribute])* $variant),*
        }

        impl Kind {
            /// What C calls the kind of this number.
            fn name(number: u64) -> &'static str {
                $($(#[$attribute])* if number == Kind::$variant as u64 {
                    return $name;
                })*
                "nothing"
            }
        }

        impl Held {
            fn name(&self) -> &'static str {
                match self {
                    Held::Nothing => "nothing",
                    $($(#[$attribute])* Held::$variant(_) => $name),*
                }
            }
        }

        $($(#[$attribute])* impl Object for $type {
            const NAME: &'static str = $name;
            const KIND: Kind = Kind::$variant;

            fn wrap(self: Box<Self>) -> Held {
                Held::$variant(self)
            }

            fn peek(held: &mut Held) -> Option<&mut Self> {
                match held {
                    Held::$variant(object) => Some(object),
                    _ => None,
                }
            }

            fn unwrap(held: Held) -> Result<Box<Self>, Held> {
                match held {
                    Held::$variant(object) => Ok(object),
                    other => Err(other),
                }
            }
        })*
    };
}

objects! {
    Config(crate::config::ConfigObject) = "weir_config",
    Diagnostics(crate::config::DiagnosticsObject) = "weir_diagnostics",
    Bytes(crate::memory::BytesObject) = "weir_bytes",
    Engine(crate::engine::EngineObject) = "weir_engine",
    Replay(crate::replay::ReplayObject) = "weir_replay",
    Filters(crate::filter::FiltersObject) = "weir_filters",
    #[cfg(feature = "proxy")]
    Proxy(crate::proxy::ProxyObject) = "weir_proxy",
    #[cfg(feature = "proxy")]
    Call(crate::proxy::CallObject) = "weir_call",
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place of the table. Neighbours are on other cache lines: each may be another thread's.
#[repr(align(64))]
struct Slot {
    /// Whose handle is good for it (the generation, odd while something is there), what is there (the kind), and whether a call has
    /// it: all at once, so that a call with an old handle never keeps the place from who has the new one.
    state: AtomicU64,
    held: UnsafeCell<Held>,
}

// SAFETY: what is held is touched only by who has set `BUSY`, or by who was given the place while no handle is good for it.
unsafe impl Sync for Slot {}

/// A call has what is there.
const BUSY: u64 = 1;
/// A call has panicked that had it.
const POISONED: u64 = 2;

fn word(generation: u32, kind: Kind) -> u64 {
    u64::from(generation) << 32 | (kind as u64) << 8
}

impl Slot {
    fn new() -> Slot {
        Slot { state: AtomicU64::new(0), held: UnsafeCell::new(Held::Nothing) }
    }

    fn generation(state: u64) -> u32 {
        (state >> 32) as u32
    }
}

/// What a call has while it has it.
struct Turn {
    slot: &'static Slot,
    /// The state to leave behind.
    state: u64,
    /// The thread was unwinding when it began.
    unwinds: bool,
}

impl Turn {
    fn held(&mut self) -> &mut Held {
        // SAFETY: `BUSY` is set, and we have set it.
        unsafe { &mut *self.slot.held.get() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let panicked = !self.unwinds && std::thread::panicking();
        self.slot.state.store(self.state | if panicked { POISONED } else { 0 }, Ordering::Release);
    }
}

static TABLE: [OnceLock<Box<[Slot]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
static FREE: Mutex<Free> = Mutex::new(Free { places: Vec::new(), used: 0 });

struct Free {
    places: Vec<u32>,
    used: u32,
}

fn slot(place: u32) -> Option<&'static Slot> {
    let (chunk, at) = locate(place);
    TABLE.get(chunk)?.get()?.get(at)
}

fn locate(place: u32) -> (usize, usize) {
    let chunk = (place as usize / FIRST + 1).ilog2() as usize;
    (chunk, place as usize - FIRST * ((1 << chunk) - 1))
}

fn split(handle: usize) -> Option<(u32, u32)> {
    let place = (handle as u32) >> SHIFT;
    (handle & 1 == 1 && handle != 0).then_some((place, (handle >> 32) as u32))
}

fn join(place: u32, generation: u32) -> usize {
    (generation as usize) << 32 | (place as usize) << SHIFT | 1
}

/// A handle for an object.
pub(crate) fn give<O: Object>(object: O) -> Result<usize, Fault> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = match free.places.pop() {
        Some(place) => place,
        None => {
            let place = free.used;
            let (chunk, _) = locate(place);
            let Some(cell) = TABLE.get(chunk).filter(|_| place < u32::MAX >> SHIFT) else {
                return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "there are too many handles: free some"));
            };
            cell.get_or_init(|| (0..FIRST << chunk).map(|_| Slot::new()).collect());
            free.used += 1;
            place
        }
    };
    drop(free);
    let Some(slot) = slot(place) else { return Err(broken()) };
    let generation = Slot::generation(slot.state.load(Ordering::Acquire)).wrapping_add(1);
    // SAFETY: the place is free, and was given to us alone.
    unsafe { *slot.held.get() = Box::new(object).wrap() };
    slot.state.store(word(generation, O::KIND), Ordering::Release);
    Ok(join(place, generation))
}

/// The place that a handle is good for, if it is one of this kind.
fn find<O: Object>(handle: usize) -> Result<(u32, &'static Slot, u32), Fault> {
    if handle == 0 {
        return Err(Fault::null(O::NAME));
    }
    let found = split(handle).and_then(|(place, generation)| Some((place, slot(place)?, generation)));
    let Some((place, slot, generation)) = found.filter(|(.., generation)| generation & 1 == 1) else {
        return Err(Fault::new(weir_result::WEIR_WRONG_HANDLE, format_args!("this is no {}: it was never given out", O::NAME)));
    };
    let state = slot.state.load(Ordering::Acquire);
    if Slot::generation(state) != generation {
        return Err(freed::<O>());
    }
    match Kind::name(state >> 8 & 0xff) {
        name if name == O::NAME => Ok((place, slot, generation)),
        name => Err(Fault::new(weir_result::WEIR_WRONG_HANDLE, format_args!("this is a {name}, not a {}", O::NAME))),
    }
}

fn freed<O: Object>() -> Fault {
    Fault::new(weir_result::WEIR_WRONG_HANDLE, format_args!("the {} was freed already", O::NAME))
}

/// Takes the place for a call; of an object that panicked only if `poisoned`.
fn lock<O: Object>(slot: &'static Slot, generation: u32, poisoned: bool) -> Result<Turn, Fault> {
    let state = word(generation, O::KIND);
    let take = |from: u64| slot.state.compare_exchange(from, state | BUSY, Ordering::Acquire, Ordering::Relaxed);
    match take(state).or_else(|seen| if poisoned && seen == state | POISONED { take(seen) } else { Err(seen) }) {
        Ok(_) => Ok(Turn { slot, state, unwinds: std::thread::panicking() }),
        Err(seen) if Slot::generation(seen) != generation => Err(freed::<O>()),
        Err(seen) if seen & POISONED != 0 => {
            let words = format_args!("an earlier call has panicked; this {} can only be freed", O::NAME);
            Err(Fault::new(weir_result::WEIR_PANICKED, words))
        }
        Err(_) => {
            let words = format_args!("the {} is in use by another call; it serves one thread at a time", O::NAME);
            Err(Fault::new(weir_result::WEIR_BUSY, words))
        }
    }
}

/// As [`lock`], of an object that is only ever looked up: whoever has it does not have it long.
#[cfg(feature = "proxy")]
fn lock_shared<O: Object>(slot: &'static Slot, generation: u32, poisoned: bool) -> Result<Turn, Fault> {
    loop {
        match lock::<O>(slot, generation, poisoned) {
            Err(fault) if fault.result == weir_result::WEIR_BUSY => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// Does something with what a handle stands for.
pub(crate) fn with<O: Object, R>(handle: usize, work: impl FnOnce(&mut O) -> Result<R, Fault>) -> Result<R, Fault> {
    let (_, slot, generation) = find::<O>(handle)?;
    let mut turn = lock::<O>(slot, generation, false)?;
    work(O::peek(turn.held()).ok_or_else(broken)?)
}

/// As [`with`], of an object that many threads may use: a call waits for another that looks it up.
#[cfg(feature = "proxy")]
pub(crate) fn shared<O: Object, R>(handle: usize, work: impl FnOnce(&mut O) -> R) -> Result<R, Fault> {
    let (_, slot, generation) = find::<O>(handle)?;
    let mut turn = lock_shared::<O>(slot, generation, false)?;
    Ok(work(O::peek(turn.held()).ok_or_else(broken)?))
}

fn broken() -> Fault {
    Fault::new(weir_result::WEIR_PANICKED, "the table of handles is broken")
}

/// Takes a handle back. Of one that panicked too; NULL is nothing to take back.
pub(crate) fn take<O: Object>(handle: usize) -> Result<Option<Box<O>>, Fault> {
    take_locked(handle, lock::<O>)
}

/// As [`take`], of an object that many threads may use: a look-up by another call is waited for, as in [`shared`].
#[cfg(feature = "proxy")]
pub(crate) fn take_shared<O: Object>(handle: usize) -> Result<Option<Box<O>>, Fault> {
    take_locked(handle, lock_shared::<O>)
}

type Lock = fn(&'static Slot, u32, bool) -> Result<Turn, Fault>;

fn take_locked<O: Object>(handle: usize, lock: Lock) -> Result<Option<Box<O>>, Fault> {
    if handle == 0 {
        return Ok(None);
    }
    let (place, slot, generation) = find::<O>(handle)?;
    let mut turn = lock(slot, generation, true)?;
    let object = O::unwrap(std::mem::take(turn.held())).map_err(|_| broken())?;
    // No handle is good for the place from here on.
    turn.state = word(generation.wrapping_add(1), Kind::Nothing);
    drop(turn);
    FREE.lock().unwrap_or_else(PoisonError::into_inner).places.push(place);
    Ok(Some(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::BytesObject;

    #[test]
    fn places_are_found_over_all_chunks() {
        assert_eq!((locate(0), locate(31), locate(32), locate(95), locate(96)), ((0, 0), (0, 31), (1, 0), (1, 63), (2, 0)));
    }

    #[test]
    fn a_freed_handle_is_found_out_also_when_its_place_is_used_again() {
        let first = give(BytesObject::new(b"a".to_vec())).unwrap();
        assert!(take::<BytesObject>(first).unwrap().is_some());
        let handles: Vec<_> = (0..100).map(|_| give(BytesObject::new(Vec::new())).unwrap()).collect();
        assert!(!handles.contains(&first));
        let fault = with::<BytesObject, _>(first, |_| Ok(())).unwrap_err();
        assert_eq!(fault.result, weir_result::WEIR_WRONG_HANDLE);
        assert!(take::<BytesObject>(first).is_err(), "freed twice");
        for handle in handles {
            take::<BytesObject>(handle).unwrap();
        }
    }

    #[test]
    fn a_handle_that_is_in_use_is_not_used_twice() {
        let handle = give(BytesObject::new(Vec::new())).unwrap();
        let inner = with::<BytesObject, _>(handle, |_| Ok(with::<BytesObject, _>(handle, |_| Ok(())).unwrap_err().result)).unwrap();
        assert_eq!(inner, weir_result::WEIR_BUSY);
        take::<BytesObject>(handle).unwrap();
    }

    #[test]
    #[cfg(feature = "proxy")]
    fn an_object_that_many_may_use_is_freed_also_while_another_looks_it_up() {
        for _ in 0..20 {
            let handle = give(BytesObject::new(Vec::new())).unwrap();
            let looks = std::thread::spawn(move || while shared::<BytesObject, _>(handle, |_| ()).is_ok() {});
            while !looks.is_finished() && slot(split(handle).unwrap().0).unwrap().state.load(Ordering::Relaxed) & BUSY == 0 {}
            assert!(take_shared::<BytesObject>(handle).unwrap().is_some());
            looks.join().unwrap();
        }
    }

    #[test]
    fn an_old_handle_does_not_keep_its_place_from_the_next() {
        for _ in 0..20 {
            let old = give(BytesObject::new(Vec::new())).unwrap();
            take::<BytesObject>(old).unwrap();
            let (stop, begun) = (std::sync::atomic::AtomicBool::new(false), std::sync::Barrier::new(2));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begun.wait();
                    while !stop.load(Ordering::Relaxed) {
                        assert!(with::<BytesObject, _>(old, |_| Ok(())).is_err());
                    }
                });
                begun.wait();
                for _ in 0..1_000 {
                    let new = give(BytesObject::new(Vec::new())).unwrap();
                    assert!(with::<BytesObject, _>(new, |_| Ok(())).is_ok());
                    assert!(take::<BytesObject>(new).is_ok());
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    }

    #[test]
    fn another_kind_is_told_also_while_it_is_in_use() {
        let handle = give(BytesObject::new(Vec::new())).unwrap();
        let inner =
            with::<BytesObject, _>(handle, |_| Ok(with::<crate::config::ConfigObject, _>(handle, |_| Ok(())).unwrap_err())).unwrap();
        assert_eq!((inner.result, &*inner.words), (weir_result::WEIR_WRONG_HANDLE, "this is a weir_bytes, not a weir_config"));
        take::<BytesObject>(handle).unwrap();
    }

    #[test]
    fn after_a_panic_a_handle_can_only_be_freed() {
        let handle = give(BytesObject::new(Vec::new())).unwrap();
        let entered = crate::result::enter(|| with::<BytesObject, _>(handle, |_| panic!("as planned")));
        assert_eq!(entered, weir_result::WEIR_PANICKED);
        assert_eq!(with::<BytesObject, _>(handle, |_| Ok(())).unwrap_err().result, weir_result::WEIR_PANICKED);
        assert!(take::<BytesObject>(handle).unwrap().is_some());
    }

    #[test]
    fn made_up_numbers_are_no_handles() {
        for made_up in [1, 2, 3, 8, usize::MAX, usize::MAX - 1, 1 << 33 | 1] {
            assert_eq!(with::<BytesObject, _>(made_up, |_| Ok(())).unwrap_err().result, weir_result::WEIR_WRONG_HANDLE, "{made_up:#x}");
        }
    }
}
