//! What results and versions are called, and the words of the last failure.

pub(crate) use weir_abi::result::{Fault, enter};
pub use weir_abi::result::{WEIR_ABI_VERSION, weir_result};

use crate::memory;
use std::os::raw::c_char;
use weir_abi::result::with_last_words;

/// The version of the ABI that this library has.
///
/// Any thread. Compare it with `WEIR_ABI_VERSION`, or call `weir_check_abi`.
#[unsafe(no_mangle)]
pub extern "C" fn weir_abi_version() -> u32 {
    WEIR_ABI_VERSION
}

/// Whether a host that was compiled against version `compiled` (`WEIR_ABI_VERSION` of its header) can use this library.
///
/// Any thread. `WEIR_WRONG_ABI` if not: then call nothing else but `weir_last_error`.
#[unsafe(no_mangle)]
pub extern "C" fn weir_check_abi(compiled: u32) -> weir_result {
    enter(|| match compiled == WEIR_ABI_VERSION {
        true => Ok(weir_result::WEIR_OK),
        false => Err(Fault::new(
            weir_result::WEIR_WRONG_ABI,
            format_args!(
                "the program was compiled against version {compiled} of weir.h, this library has version {WEIR_ABI_VERSION}: compile it again"
            ),
        )),
    })
}

/// The version of Weir, as a C string that lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn weir_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// A short name for a result, `WEIR_OK` to itself, as a C string that lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn weir_result_name(result: u32) -> *const c_char {
    let name: &[u8] = match result {
        0 => b"WEIR_OK\0",
        1 => b"WEIR_NONE\0",
        100 => b"WEIR_NULL_POINTER\0",
        101 => b"WEIR_WRONG_HANDLE\0",
        102 => b"WEIR_BUSY\0",
        103 => b"WEIR_BAD_UTF8\0",
        104 => b"WEIR_TOO_SMALL\0",
        105 => b"WEIR_BAD_SIZE\0",
        106 => b"WEIR_WRONG_ABI\0",
        107 => b"WEIR_BAD_VALUE\0",
        108 => b"WEIR_TIME_REVERSED\0",
        109 => b"WEIR_UNKNOWN_ID\0",
        110 => b"WEIR_PANICKED\0",
        200 => b"WEIR_CONFIG_REFUSED\0",
        201 => b"WEIR_NO_LISTENER\0",
        202 => b"WEIR_LISTENER_LIMIT\0",
        203 => b"WEIR_GLOBAL_LIMIT\0",
        204 => b"WEIR_NO_FILTER_CHAIN\0",
        205 => b"WEIR_NO_STAT\0",
        206 => b"WEIR_BAD_LOG\0",
        207 => b"WEIR_DIVERGED\0",
        250 => b"WEIR_NOT_HERE\0",
        251 => b"WEIR_BAD_FIELD\0",
        300 => b"WEIR_LISTEN_FAILED\0",
        301 => b"WEIR_RESOLVE_FAILED\0",
        302 => b"WEIR_FILE_FAILED\0",
        303 => b"WEIR_SYSTEM_FAILED\0",
        304 => b"WEIR_ENDED\0",
        305 => b"WEIR_DRAINING\0",
        306 => b"WEIR_OWN_THREAD\0",
        307 => b"WEIR_TIMED_OUT\0",
        308 => b"WEIR_FAILED\0",
        309 => b"WEIR_CALL_RESET\0",
        310 => b"WEIR_CANCELLED\0",
        311 => b"WEIR_CALL_REFUSED\0",
        312 => b"WEIR_FINISHED\0",
        _ => b"unknown\0",
    };
    name.as_ptr().cast()
}

/// Copies the words of this thread's last call that failed into `buffer`, cut to `size` and ended by a zero byte, and
/// answers their whole length without that. Calls that work leave them as they are.
///
/// Any thread. `buffer` may be NULL if `size` is 0: to ask for the length.
///
/// # Safety
/// `buffer` must have room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_last_error(buffer: *mut c_char, size: usize) -> usize {
    with_last_words(|words| {
        // SAFETY: the caller gives `size` bytes at `buffer`.
        unsafe { memory::copy_c_text(words, buffer, size) };
        words.len()
    })
    .unwrap_or(0)
}
