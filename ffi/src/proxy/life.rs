//! A running proxy: its addresses, stats, drain and end.

use super::{ProxyObject, of, refused, weir_proxy};
use crate::address::weir_address;
use crate::handle;
use crate::memory::{self, BytesObject, weir_bytes, weir_str};
use crate::result::{Fault, enter, weir_result};
use std::os::raw::c_void;
use std::time::Duration;
use weir::embed::Waited;

/// For timeouts: wait as long as it takes.
pub const WEIR_FOREVER: u64 = u64::MAX;

pub(super) fn timeout(nanos: u64) -> Option<Duration> {
    (nanos != WEIR_FOREVER).then(|| Duration::from_nanos(nanos))
}

/// Where a listener listens; with an empty name, the first of the config.
///
/// # Safety
/// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_listener(proxy: *const weir_proxy, name: weir_str, out: *mut weir_address) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let name = unsafe { name.text("name")? };
        let listeners = of(proxy)?.listeners();
        let found = listeners.iter().find(|(of, _)| name.is_empty() || &**of == name);
        let Some((_, address)) = found else {
            return Err(Fault::new(weir_result::WEIR_NO_LISTENER, format_args!("the config has no listener called `{name}`")));
        };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, weir_address::of(*address), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Where the admin page listens; `WEIR_NONE` if the config has none.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_admin(proxy: *const weir_proxy, out: *mut weir_address) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        let Some(address) = of(proxy)?.admin() else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, weir_address::of(address), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// A stat, by Envoy's name: `cluster.backend.upstream_rq_total`. Slow: it adds up all stats.
///
/// # Safety
/// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_stat(proxy: *const weir_proxy, name: weir_str, out: *mut u64) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let name = unsafe { name.text("name")? };
        let proxy = of(proxy)?;
        match proxy.stat(name) {
            // SAFETY: the caller answers for it.
            Some(value) => unsafe { memory::put(out, value, "out")? },
            None => {
                proxy.stats_text().map_err(refused)?;
                return Err(Fault::new(weir_result::WEIR_NO_STAT, format_args!("there is no stat called `{name}`")));
            }
        }
        Ok(weir_result::WEIR_OK)
    })
}

/// # Safety
/// `out` must be valid for writing, or NULL.
unsafe fn text(out: *mut *mut weir_bytes, make: impl FnOnce() -> Result<String, Fault>) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        // SAFETY: the caller answers for it.
        unsafe { memory::give(BytesObject::new(make()?.into_bytes()), out)? };
        Ok(weir_result::WEIR_OK)
    })
}

/// All stats, a line each, as Envoy's `/stats` has them. Free them with `weir_bytes_free`.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_stats(proxy: *const weir_proxy, out: *mut *mut weir_bytes) -> weir_result {
    // SAFETY: the caller answers for it.
    unsafe { text(out, || of(proxy)?.stats_text().map_err(refused)) }
}

/// The config in force as JSON, in the shape of Envoy's `/config_dump`. Free it with `weir_bytes_free`.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_config_dump(proxy: *const weir_proxy, out: *mut *mut weir_bytes) -> weir_result {
    // SAFETY: the caller answers for it.
    unsafe { text(out, || of(proxy)?.config_dump().map_err(refused)) }
}

/// Writes what was recorded (`options.record_folder`) to files, and says which, a path a line. Free that with
/// `weir_bytes_free`. `weir replay` and `weir_replay_open` take the files. Credentials of requests are in them.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_write_input_logs(proxy: *mut weir_proxy, out: *mut *mut weir_bytes) -> weir_result {
    let write = || {
        let written = of(proxy)?.write_input_logs().map_err(refused)?;
        Ok(written.iter().map(|file| format!("{}\n", file.path.display())).collect())
    };
    // SAFETY: the caller answers for it.
    unsafe { text(out, write) }
}

/// Begins a drain and returns at once: listeners take what the kernel has queued for them and close, what is under way ends,
/// and after `options.drain_time` what is left is cut. See `weir_proxy_wait` and `weir_proxy_on_end`. Again, it changes
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn weir_proxy_drain(proxy: *mut weir_proxy) -> weir_result {
    enter(|| {
        of(proxy)?.drain().map_err(refused)?;
        Ok(weir_result::WEIR_OK)
    })
}

fn ended(waited: &Waited) -> Result<u32, Fault> {
    match waited {
        Waited::Drained { cut } => Ok(*cut),
        Waited::Failed(why) => Err(Fault::new(weir_result::WEIR_FAILED, why)),
        Waited::TimedOut => Err(Fault::new(weir_result::WEIR_TIMED_OUT, "the proxy has not ended yet")),
    }
}

/// Waits up to `nanos` nanoseconds, or `WEIR_FOREVER`, until the proxy has ended, by a drain or a stop. `cut`, unless NULL,
/// gets how many exchanges were cut. `WEIR_TIMED_OUT` if it has not; `WEIR_FAILED` if it ended by a bug of ours.
///
/// # Safety
/// `cut` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_wait(proxy: *mut weir_proxy, nanos: u64, cut: *mut u32) -> weir_result {
    enter(|| {
        if !cut.is_null() {
            memory::check_out(cut, "cut")?;
        }
        let count = ended(&of(proxy)?.wait(timeout(nanos)))?;
        if !cut.is_null() {
            // SAFETY: the caller answers for it.
            unsafe { memory::put(cut, count, "cut")? };
        }
        Ok(weir_result::WEIR_OK)
    })
}

/// Told of a proxy's end: `result` is `WEIR_OK`, with how many exchanges were cut, or `WEIR_FAILED`.
pub type weir_end_fn = Option<unsafe extern "C" fn(data: *mut c_void, result: weir_result, cut: u32)>;

/// What the host gave, and its promise that it may be used on the proxy's thread.
struct HostEnd {
    call: unsafe extern "C" fn(*mut c_void, weir_result, u32),
    data: *mut c_void,
}

// SAFETY: the header says on which threads the function is called.
unsafe impl Send for HostEnd {}

impl HostEnd {
    fn tell(&self, waited: &Waited) {
        let (result, cut) = match ended(waited) {
            Ok(cut) => (weir_result::WEIR_OK, cut),
            Err(fault) => (fault.result, 0),
        };
        // SAFETY: the host answers for its function.
        unsafe { (self.call)(self.data, result, cut) };
    }
}

/// Calls `call` once, when the proxy has ended: on the proxy's thread, or on this one if it has ended already. From it, functions
/// that would wait for the proxy get `WEIR_OWN_THREAD`; do not free the proxy there.
///
/// # Safety
/// `call` must be callable with `data` on another thread until then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_on_end(proxy: *mut weir_proxy, call: weir_end_fn, data: *mut c_void) -> weir_result {
    enter(|| {
        let Some(call) = call else { return Err(Fault::null("call")) };
        let end = HostEnd { call, data };
        of(proxy)?.on_drained(move |waited| end.tell(waited));
        Ok(weir_result::WEIR_OK)
    })
}

/// Ends the proxy now: what is under way is cut. Returns when all its threads have ended. The handle is still to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn weir_proxy_stop(proxy: *mut weir_proxy) -> weir_result {
    enter(|| {
        ended(&of(proxy)?.stop())?;
        Ok(weir_result::WEIR_OK)
    })
}

/// Stops the proxy if it has not ended, and frees it. NULL is allowed and does nothing. Calls that other threads are in end
/// first; calls through it (`weir_call`) are to be freed on their own.
#[unsafe(no_mangle)]
pub extern "C" fn weir_proxy_free(proxy: *mut weir_proxy) -> weir_result {
    enter(|| {
        if let Some(object) = handle::take_shared::<ProxyObject>(proxy as usize)? {
            object.0.stop();
        }
        Ok(weir_result::WEIR_OK)
    })
}
