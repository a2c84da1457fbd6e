//! Many threads, many handles, the same handle at once: each call gets an answer that it may get, nothing is freed twice, and
//! what is freed while others use it is gone for them from then on. `c/threads.c` does the same with pthreads.
#![cfg(feature = "proxy")]

mod support;

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{compile_with, must, root, run, scratch};
use weir_core::rng::{Rng, Seed};
use weir_ffi::address::weir_address;
use weir_ffi::config::{weir_config, weir_config_free, weir_config_load};
use weir_ffi::engine::*;
use weir_ffi::memory::{weir_bytes, weir_bytes_free, weir_bytes_get, weir_str};
use weir_ffi::proxy::*;
use weir_ffi::result::weir_result::{self, *};

const THREADS: u64 = 8;

macro_rules! fresh {
    ($type:ident) => {
        // SAFETY: zero is a value of every struct of the C ABI.
        $type { size: size_of::<$type>(), ..unsafe { std::mem::zeroed() } }
    };
}

fn text(text: &str) -> weir_str {
    weir_str { data: text.as_ptr().cast(), len: text.len() }
}

fn config() -> *mut weir_config {
    let mut config = ptr::null_mut();
    // SAFETY: the texts live, and there is room for the handle.
    let result = unsafe { weir_config_load(text(support::CONFIG), text("c"), 0, &raw mut config, ptr::null_mut()) };
    assert_eq!(result, WEIR_OK);
    config
}

/// How often each result came.
#[derive(Default)]
struct Results(Mutex<BTreeMap<String, u64>>);

impl Results {
    fn note(&self, what: &str, result: weir_result, may: &[weir_result]) -> weir_result {
        assert!(result == WEIR_OK || may.contains(&result), "{what}: {result:?}");
        *self.0.lock().expect("no panic").entry(format!("{what} {result:?}")).or_default() += 1;
        result
    }

    fn of(&self, what: &str) -> u64 {
        self.0.lock().expect("no panic").get(what).copied().unwrap_or_default()
    }
}

/// Takes the bytes that were given, and frees them.
fn bytes(bytes: *mut weir_bytes) {
    let (mut data, mut len) = (ptr::null(), 0);
    // SAFETY: there is room for both.
    assert_eq!(unsafe { weir_bytes_get(bytes, &raw mut data, &raw mut len) }, WEIR_OK);
    // SAFETY: the bytes live until they are freed.
    std::hint::black_box(unsafe { std::slice::from_raw_parts(data, len) }.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    assert_eq!(weir_bytes_free(bytes), WEIR_OK);
}

fn new_engine(config: *const weir_config, shared_with: *const weir_engine) -> (*mut weir_engine, weir_result) {
    let options = weir_engine_options { shared_with, record: 1, ..fresh!(weir_engine_options) };
    let mut engine = ptr::null_mut();
    // SAFETY: the options are of their size, and there is room for the handle.
    let result = unsafe { weir_engine_new(config, &raw const options, &raw mut engine) };
    (engine, result)
}

#[test]
fn engines_that_many_threads_use_and_free() {
    const PLACES: usize = 4;
    let (config, results) = (config() as usize, Results::default());
    let engines: Vec<AtomicUsize> = (0..PLACES).map(|_| AtomicUsize::new(0)).collect();
    let (made, freed) = (AtomicU64::new(0), AtomicU64::new(0));
    let end = Instant::now() + Duration::from_millis(800);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (results, engines, made, freed) = (&results, &engines, &made, &freed);
            scope.spawn(move || {
                let config = config as *const weir_config;
                let mut rng = Rng::new(Seed(thread));
                while Instant::now() < end {
                    let place = &engines[rng.below(PLACES as u64) as usize];
                    let engine = place.load(Ordering::Relaxed) as *mut weir_engine;
                    let gone = [WEIR_WRONG_HANDLE, WEIR_BUSY, WEIR_NULL_POINTER];
                    match rng.below(8) {
                        0 => {
                            let (new, result) = new_engine(config, ptr::null());
                            // Other threads make engines of the same config at this moment.
                            if results.note("new", result, &[WEIR_BUSY]) == WEIR_OK {
                                made.fetch_add(1, Ordering::Relaxed);
                                let old = place.swap(new as usize, Ordering::Relaxed) as *mut weir_engine;
                                let mut result = WEIR_BUSY;
                                while result == WEIR_BUSY {
                                    result = results.note("replace", weir_engine_free(old), &[WEIR_BUSY, WEIR_WRONG_HANDLE]);
                                }
                                freed.fetch_add(u64::from(result == WEIR_OK && !old.is_null()), Ordering::Relaxed);
                            }
                        }
                        1 => {
                            let result = results.note("free", weir_engine_free(engine), &gone);
                            freed.fetch_add(u64::from(result == WEIR_OK && !engine.is_null()), Ordering::Relaxed);
                        }
                        2 => {
                            let mut given = ptr::null_mut();
                            // SAFETY: there is room for the handle.
                            let result = unsafe { weir_engine_stats(engine, &raw mut given) };
                            if results.note("stats", result, &gone) == WEIR_OK {
                                bytes(given);
                            }
                        }
                        3 => {
                            let mut state = fresh!(weir_engine_state);
                            // SAFETY: the struct is of its size.
                            results.note("state", unsafe { weir_engine_get_state(engine, &raw mut state) }, &gone);
                        }
                        4 => {
                            let (new, result) = new_engine(config, engine);
                            if results.note("new, sharing", result, &gone) == WEIR_OK {
                                assert_eq!(weir_engine_free(new), WEIR_OK);
                            }
                        }
                        _ => serve(engine, results, &gone),
                    }
                }
            });
        }
    });
    for place in engines {
        let result = weir_engine_free(place.into_inner() as *mut weir_engine);
        freed.fetch_add(u64::from(result == WEIR_OK), Ordering::Relaxed);
    }
    assert_eq!(freed.into_inner(), made.into_inner(), "each is freed once");
    assert_eq!(weir_config_free(config as *mut weir_config), WEIR_OK);
    assert!(results.of("free Ok") + results.of("free WEIR_OK") > 0 && results.of("state WEIR_BUSY") + results.of("serve WEIR_BUSY") > 0);
}

/// A request, from its connection to its answer. Whenever another thread has the engine, that is all.
fn serve(engine: *mut weir_engine, results: &Results, gone: &[weir_result]) {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (here, mut listener, mut conn, mut taken) = (weir_address { family: 4, port: 1, ip: [127; 16] }, 0, 0, 0);
    let (mut action, mut room, mut written) = (fresh!(weir_action), [0; 1024], 0);
    let no = [gone, &[WEIR_NONE, WEIR_UNKNOWN_ID, WEIR_NO_LISTENER]].concat();
    let note = |result| results.note("serve", result, &no) == WEIR_OK;
    // SAFETY: everything that is pointed to lives and has the room that is said.
    unsafe {
        let _ = note(weir_engine_listener(engine, text("main"), &raw mut listener))
            && note(weir_engine_accept(engine, listener, &raw const here, &raw const here, 0, &raw mut conn))
            && note(weir_engine_recv(engine, conn, REQUEST.as_ptr(), REQUEST.len(), &raw mut taken, 0))
            && note(weir_engine_transmit_copy(engine, conn, room.as_mut_ptr(), room.len(), &raw mut written, 0))
            && note(weir_engine_next_action(engine, &raw mut action))
            && note(weir_engine_closed(engine, conn, 1, 0));
    }
}

extern "C" fn count_end(data: *mut std::os::raw::c_void, result: weir_result, _: u32) {
    assert_eq!(result, WEIR_OK);
    // SAFETY: the test gives a counter that outlives the proxy.
    unsafe { &*data.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
}

fn start() -> *mut weir_proxy {
    let mut proxy = ptr::null_mut();
    let options = weir_proxy_options { workers: 2, drain_time: 5_000_000_000, ..fresh!(weir_proxy_options) };
    // SAFETY: the texts live, the options are of their size, and there is room for the handle.
    let result = unsafe { weir_proxy_start(text(support::CONFIG), text("c"), &raw const options, &raw mut proxy, ptr::null_mut()) };
    assert_eq!(result, WEIR_OK);
    proxy
}

#[test]
fn a_proxy_that_many_threads_use_while_it_is_updated_drained_stopped_and_freed() {
    for round in 0..6 {
        let (proxy, results, ends) = (start() as usize, Results::default(), AtomicU32::new(0));
        let (registered, begin, over) = (AtomicU32::new(0), Barrier::new(THREADS as usize + 1), AtomicBool::new(false));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (results, ends, registered, begin, over) = (&results, &ends, &registered, &begin, &over);
                scope.spawn(move || {
                    let (proxy, mut rng) = (proxy as *mut weir_proxy, Rng::new(Seed(round << 8 | thread)));
                    begin.wait();
                    // Once more after it is over: then everything says so.
                    let mut last = false;
                    while !last {
                        last = over.load(Ordering::SeqCst);
                        use_proxy(proxy, &mut rng, results, ends, registered);
                    }
                    let mut out = fresh_address();
                    // SAFETY: there is room for the address.
                    assert_eq!(unsafe { weir_proxy_listener(proxy, text(""), &raw mut out) }, WEIR_WRONG_HANDLE);
                });
            }
            begin.wait();
            let proxy = proxy as *mut weir_proxy;
            thread::sleep(Duration::from_millis(150));
            if round % 3 > 0 {
                assert_eq!(weir_proxy_drain(proxy), WEIR_OK);
                thread::sleep(Duration::from_millis(20));
            }
            if round % 3 > 1 {
                assert_eq!(weir_proxy_stop(proxy), WEIR_OK);
                thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(weir_proxy_free(proxy), WEIR_OK);
            over.store(true, Ordering::SeqCst);
        });
        assert_eq!(ends.into_inner(), registered.into_inner(), "each who asks is told of the end once");
        assert!(results.of("call WEIR_OK") > 10, "round {round}: {:?}", results.0);
    }
}

fn fresh_address() -> weir_address {
    weir_address { family: 0, port: 0, ip: [0; 16] }
}

fn use_proxy(proxy: *mut weir_proxy, rng: &mut Rng, results: &Results, ends: &AtomicU32, registered: &AtomicU32) {
    let gone = [WEIR_WRONG_HANDLE, WEIR_ENDED];
    // SAFETY: everything that is pointed to lives and has the room that is said.
    unsafe {
        match rng.below(8) {
            0 => {
                let mut given = ptr::null_mut();
                if results.note("stats", weir_proxy_stats(proxy, &raw mut given), &gone) == WEIR_OK {
                    bytes(given);
                }
            }
            1 => {
                let mut given = ptr::null_mut();
                if results.note("dump", weir_proxy_config_dump(proxy, &raw mut given), &gone) == WEIR_OK {
                    bytes(given);
                }
            }
            2 => {
                let config = support::CONFIG.replace("hello", if rng.below(2) == 0 { "hello" } else { "other" });
                let result = weir_proxy_update(proxy, text(&config), text("c"), ptr::null_mut());
                results.note("update", result, &[&gone[..], &[WEIR_DRAINING]].concat());
            }
            3 => {
                let mut out = fresh_address();
                results.note("listener", weir_proxy_listener(proxy, text("main"), &raw mut out), &gone);
            }
            4 => {
                results.note("wait", weir_proxy_wait(proxy, 1_000_000, ptr::null_mut()), &[&gone[..], &[WEIR_TIMED_OUT]].concat());
            }
            5 => {
                let result = weir_proxy_on_end(proxy, Some(count_end), ptr::from_ref(ends).cast_mut().cast());
                if results.note("on_end", result, &gone) == WEIR_OK {
                    registered.fetch_add(1, Ordering::SeqCst);
                }
            }
            _ => call(proxy, rng, results, &gone),
        }
    }
}

/// A call that reads its answer, is cancelled, or is dropped at once.
///
/// # Safety
/// None: the handle may be anything.
unsafe fn call(proxy: *mut weir_proxy, rng: &mut Rng, results: &Results, gone: &[weir_result]) {
    let (mut call, mut status, mut room, mut count) = (ptr::null_mut(), 0, [0u8; 64], 0);
    let request = weir_request { authority: text("a"), ..fresh!(weir_request) };
    let broken = [WEIR_CALL_RESET, WEIR_ENDED, WEIR_CANCELLED, WEIR_DRAINING, WEIR_CALL_REFUSED];
    // SAFETY: everything that is pointed to lives and has the room that is said.
    unsafe {
        let result = weir_proxy_call(proxy, text("main"), &raw const request, &raw mut call);
        if results.note("call", result, &[gone, &broken].concat()) != WEIR_OK {
            return;
        }
        if rng.below(4) == 0 {
            assert_eq!(weir_call_cancel(call), WEIR_OK);
        }
        if rng.below(8) > 0 {
            let result = results.note("response", weir_call_response(call, WEIR_FOREVER, &raw mut status, ptr::null_mut()), &broken);
            assert!(result != WEIR_OK || status == 200);
            loop {
                let result = weir_call_read(call, room.as_mut_ptr(), room.len(), &raw mut count, WEIR_FOREVER);
                if results.note("read", result, &[&broken[..], &[WEIR_NONE]].concat()) != WEIR_OK {
                    break;
                }
            }
        }
        assert_eq!(weir_call_free(call), WEIR_OK);
        assert_eq!(weir_call_cancel(call), WEIR_WRONG_HANDLE);
    }
}

#[test]
fn pthreads() {
    let folder = scratch("c-threads");
    std::fs::write(folder.join("config.yaml"), support::CONFIG).expect("a file");
    let program = folder.join("threads");
    compile_with("cc", "-std=c11", &root().join("tests/c/threads.c"), &program, &["-pthread"]);
    must(run(&program).arg(folder.join("config.yaml")));
}
