//! Bytes and objects that cross the border.

pub(crate) use weir_abi::memory::{Versioned, check_out, check_versioned, copy_c_text, put, read, slice, write};
pub use weir_abi::memory::{weir_header, weir_iovec, weir_str};
pub(crate) use weir_abi::versioned;

use crate::handle::{self, Held};
use crate::result::{Fault, enter, weir_result};
use std::mem::size_of;

/// Bytes that Weir made for the host: a log, a page of stats. To be freed with `weir_bytes_free`.
#[derive(Debug)]
pub struct weir_bytes {
    _opaque: [u8; 0],
}

/// The bytes behind a handle.
#[derive(Debug)]
pub(crate) struct BytesObject {
    bytes: Vec<u8>,
}

impl BytesObject {
    pub(crate) fn new(bytes: Vec<u8>) -> BytesObject {
        BytesObject { bytes }
    }
}

/// Where the bytes are and how many. They live until `bytes` is freed.
///
/// One thread at a time.
///
/// # Safety
/// `data` and `len` must be valid for writing, or NULL, which is an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_bytes_get(bytes: *const weir_bytes, data: *mut *const u8, len: *mut usize) -> weir_result {
    enter(|| {
        let (at, count) = handle::with::<BytesObject, _>(bytes as usize, |object| Ok((object.bytes.as_ptr(), object.bytes.len())))?;
        // SAFETY: the caller gives places to write to.
        unsafe {
            check_out(data, "data")?;
            put(len, count, "len")?;
            put(data, at, "data")?;
        }
        Ok(weir_result::WEIR_OK)
    })
}

/// Frees bytes. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn weir_bytes_free(bytes: *mut weir_bytes) -> weir_result {
    free::<BytesObject>(bytes as usize)
}

pub(crate) fn free<O: handle::Object>(handle: usize) -> weir_result {
    enter(|| {
        // What is dropped may take its time, and panic: by then the handle is gone.
        drop(handle::take::<O>(handle)?);
        Ok(weir_result::WEIR_OK)
    })
}

/// Gives an object to C.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
pub(crate) unsafe fn give<O: handle::Object, C>(object: O, out: *mut *mut C) -> Result<(), Fault> {
    check_out(out, "out")?;
    let handle = handle::give(object)?;
    // SAFETY: the caller answers for it.
    unsafe { out.write(handle as *mut C) };
    Ok(())
}

const _: () = assert!(size_of::<Held>() <= 16, "the table stays small");
