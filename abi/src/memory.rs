//! What crosses the border: texts, bytes, out-parameters, and structs that may grow.

use crate::result::{Fault, weir_result};
use std::mem::size_of;
use std::os::raw::c_char;
use std::ptr;

/// A text: UTF-8, with its length. It needs no zero byte at its end. NULL with length 0 is the empty text.
///
/// Given to a function, it must live until that returns. Given by one, it lives as long as that says.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_str {
    /// Where it begins.
    pub data: *const c_char,
    /// How many bytes it has.
    pub len: usize,
}

impl weir_str {
    /// Nothing.
    pub const EMPTY: weir_str = weir_str { data: ptr::null(), len: 0 };

    /// The text, as long as it lives.
    pub fn of(text: &str) -> weir_str {
        weir_str { data: text.as_ptr().cast(), len: text.len() }
    }

    /// Bytes, as long as they live: texts of messages need not be UTF-8.
    pub fn of_bytes(bytes: &[u8]) -> weir_str {
        weir_str { data: bytes.as_ptr().cast(), len: bytes.len() }
    }

    /// The bytes that C gives.
    ///
    /// # Errors
    /// If it is NULL with a length.
    ///
    /// # Safety
    /// As [`slice()`].
    pub unsafe fn bytes<'a>(self, what: &str) -> Result<&'a [u8], Fault> {
        // SAFETY: the caller answers for it.
        unsafe { slice(self.data.cast::<u8>(), self.len, what) }
    }

    /// The text that C gives.
    ///
    /// # Errors
    /// If it is NULL with a length, or not UTF-8.
    ///
    /// # Safety
    /// As [`slice()`].
    pub unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Fault> {
        // SAFETY: the caller answers for it.
        let bytes = unsafe { slice(self.data.cast::<u8>(), self.len, what)? };
        std::str::from_utf8(bytes).map_err(|error| Fault::new(weir_result::WEIR_BAD_UTF8, format_args!("`{what}` is not UTF-8: {error}")))
    }
}

/// Bytes to be written, in the shape of `struct iovec`: an array of them can be cast and given to `writev`.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_iovec {
    /// Where they begin.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

/// A header field or a trailer.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_header {
    /// Its name.
    pub name: weir_str,
    /// Its value: any bytes that a field may have.
    pub value: weir_str,
}

/// The bytes at a pointer.
///
/// # Safety
/// `data` must be NULL or have `len` bytes that live and stay the same for `'a`.
pub unsafe fn slice<'a, T>(data: *const T, len: usize, what: &str) -> Result<&'a [T], Fault> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Fault::null(what)),
        (false, len) if len > isize::MAX as usize / size_of::<T>().max(1) => {
            Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`{what}` has a length that no memory has: {len}")))
        }
        (false, _) if !data.is_aligned() => Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`{what}` is not aligned"))),
        // SAFETY: the caller answers for it.
        (false, len) => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
    }
}

/// Checks that a value can be written, before anything is done.
///
/// # Errors
/// If it cannot.
pub fn check_out<T>(out: *mut T, what: &str) -> Result<(), Fault> {
    if out.is_null() {
        return Err(Fault::null(what));
    }
    match out.is_aligned() {
        true => Ok(()),
        false => Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`{what}` is not aligned"))),
    }
}

/// Writes an out-parameter.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
pub unsafe fn put<T>(out: *mut T, value: T, what: &str) -> Result<(), Fault> {
    check_out(out, what)?;
    // SAFETY: the caller answers for it.
    unsafe { out.write(value) };
    Ok(())
}

/// A struct that begins with its own size, so that it can grow at its end.
///
/// # Safety
/// `#[repr(C)]`, its first field a `usize` with its size, and every bit pattern of all zeros valid for it.
pub unsafe trait Versioned: Copy {
    /// What C calls it.
    const NAME: &'static str;
    /// The size of its first version.
    const FIRST: usize;
    /// All zero, and its size.
    fn fresh() -> Self;
}

/// Declares a struct that begins with its own size, and the size of its first version.
#[macro_export]
macro_rules! versioned {
    ($type:ident, $first:expr) => {
        const _: () = assert!($first <= std::mem::size_of::<$type>(), "no version can be larger than the last");
        // SAFETY: each is `repr(C)` and begins with `size`; zero is a value of all that follow.
        unsafe impl $crate::memory::Versioned for $type {
            const NAME: &'static str = stringify!($type);
            const FIRST: usize = $first;

            fn fresh() -> Self {
                // SAFETY: the trait's promise.
                $type { size: std::mem::size_of::<$type>(), ..unsafe { std::mem::zeroed() } }
            }
        }
    };
}

fn check_size<T: Versioned>(at: *const T, what: &str) -> Result<usize, Fault> {
    if at.is_null() {
        return Err(Fault::null(what));
    }
    if !at.is_aligned() {
        return Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`{what}` is not aligned")));
    }
    // SAFETY: the caller's struct begins with its size.
    let size = unsafe { at.cast::<usize>().read() };
    if size < T::FIRST || size > 64 * 1024 {
        let words = format_args!("`{what}`: its size field is {size}; set it to sizeof(struct {})", T::NAME);
        return Err(Fault::new(weir_result::WEIR_BAD_SIZE, words));
    }
    Ok(size)
}

/// Reads a struct of any version: what a shorter one lacks is zero.
///
/// # Safety
/// `at` must be NULL or point to as many bytes as its first field says.
pub unsafe fn read<T: Versioned>(at: *const T, what: &str) -> Result<T, Fault> {
    let size = check_size(at, what)?.min(size_of::<T>());
    let mut value = T::fresh();
    // SAFETY: the caller gives `size` bytes at least, and `value` has as many.
    unsafe { ptr::copy_nonoverlapping(at.cast::<u8>(), (&raw mut value).cast::<u8>(), size) };
    Ok(value)
}

/// Checks that a struct can be written, before anything is done.
pub fn check_versioned<T: Versioned>(at: *mut T, what: &str) -> Result<(), Fault> {
    check_size(at.cast_const(), what).map(drop)
}

/// Writes as much of a struct as the host's version has; its size stays the host's.
///
/// # Safety
/// `at` must be NULL or have room for as many bytes as its first field says.
pub unsafe fn write<T: Versioned>(at: *mut T, value: &T, what: &str) -> Result<(), Fault> {
    let size = check_size(at.cast_const(), what)?.min(size_of::<T>());
    let skipped = size_of::<usize>();
    // SAFETY: the caller gives `size` bytes at least.
    unsafe { ptr::copy_nonoverlapping((&raw const *value).cast::<u8>().add(skipped), at.cast::<u8>().add(skipped), size - skipped) };
    Ok(())
}

/// Copies a text to C, cut to fit, with a zero byte.
///
/// # Safety
/// `buffer` must have room for `size` bytes.
pub unsafe fn copy_c_text(text: &str, buffer: *mut c_char, size: usize) {
    if buffer.is_null() || size == 0 {
        return;
    }
    let mut count = text.len().min(size - 1);
    while !text.is_char_boundary(count) {
        count -= 1;
    }
    // SAFETY: `count` is less than `size`.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr().cast::<c_char>(), buffer, count);
        buffer.add(count).write(0);
    }
}
