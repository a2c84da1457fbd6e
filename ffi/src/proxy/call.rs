//! In-process calls: requests through a proxy's routes and clusters without a socket.

use super::life::timeout;
use super::{of, refused, weir_proxy};
use crate::handle;
use crate::memory::{self, BytesObject, versioned, weir_bytes, weir_header, weir_str};
use crate::result::{Fault, enter, weir_result};
use std::fmt::Write as _;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use weir::embed::{Call, CallBody, CallError, CallRequest, Headers, Read, ResponseHead};

/// A call under way. One thread may send while another reads.
#[derive(Debug)]
pub struct weir_call {
    _opaque: [u8; 0],
}

/// A request.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_request {
    /// `sizeof(struct weir_request)`, set by the host.
    pub size: usize,
    /// Its method; empty for GET.
    pub method: weir_str,
    /// `http` or `https`; empty for what the listener's transport would make of it.
    pub scheme: weir_str,
    /// The host, and the port if it has one: what routes call the domain.
    pub authority: weir_str,
    /// Path and query; empty for `/`.
    pub path: weir_str,
    /// Header fields.
    pub headers: *const weir_header,
    /// How many.
    pub header_count: usize,
    /// Not 0: a body follows, by `weir_call_send` and `weir_call_finish`.
    pub has_body: u32,
}
versioned!(weir_request, 96);

/// What a call keeps for its host.
pub(crate) struct CallObject(Arc<Kept>);

struct Kept {
    call: Call,
    head: OnceLock<ResponseHead>,
    down: Mutex<Down>,
}

#[derive(Default)]
struct Down {
    /// Read from the call, and not by the host yet.
    piece: bytes::Bytes,
    trailers: Option<Arc<Headers>>,
}

fn call_of(call: *const weir_call) -> Result<Arc<Kept>, Fault> {
    handle::shared::<CallObject, _>(call as usize, |object| Arc::clone(&object.0))
}

fn fault(error: CallError) -> Fault {
    let result = match error {
        CallError::TimedOut => weir_result::WEIR_TIMED_OUT,
        CallError::Reset(_) => weir_result::WEIR_CALL_RESET,
        CallError::Cancelled => weir_result::WEIR_CANCELLED,
        CallError::Draining => weir_result::WEIR_DRAINING,
        CallError::Ended => weir_result::WEIR_ENDED,
        CallError::Refused(_) => weir_result::WEIR_CALL_REFUSED,
        CallError::Finished => weir_result::WEIR_FINISHED,
        CallError::Busy => weir_result::WEIR_BUSY,
        CallError::OwnThread => weir_result::WEIR_OWN_THREAD,
        CallError::Invalid(_) => weir_result::WEIR_BAD_VALUE,
    };
    Fault::new(result, error)
}

/// # Safety
/// `headers` must have `count` fields, with texts that have the bytes that they say.
unsafe fn fields(headers: *const weir_header, count: usize, what: &str) -> Result<Headers, Fault> {
    // SAFETY: the caller answers for them.
    unsafe {
        let headers = memory::slice(headers, count, what)?;
        let field = |field: &weir_header| {
            let value = memory::slice(field.value.data.cast::<u8>(), field.value.len, what)?;
            Ok((field.name.text(what)?.to_owned(), value.to_vec()))
        };
        headers.iter().map(field).collect()
    }
}

/// # Safety
/// `request` must be of the size that it says, with texts and fields that have what they say.
unsafe fn read_request(request: *const weir_request) -> Result<CallRequest, Fault> {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    // SAFETY: the caller answers for it.
    unsafe {
        let given = memory::read(request, "request")?;
        Ok(CallRequest {
            method: or(given.method.text("request.method")?, "GET"),
            scheme: Some(given.scheme.text("request.scheme")?).filter(|scheme| !scheme.is_empty()).map(str::to_owned),
            authority: given.authority.text("request.authority")?.to_owned(),
            path: or(given.path.text("request.path")?, "/"),
            headers: fields(given.headers, given.header_count, "request.headers")?,
            body: if given.has_body == 0 { CallBody::None } else { CallBody::Stream },
        })
    }
}

/// Sends a request through a listener, as if a client on this machine had connected to it, but without a socket: the same
/// filters, routes, clusters, limits, stats and access logs. The listener's TLS is taken as done. With an empty name it is
/// the first listener of the config.
///
/// Free the call with `weir_call_free`. `WEIR_DRAINING` once a drain has begun; calls under way end well.
///
/// # Safety
/// `listener` must have the bytes that it says, `request` be as its fields say, `out` valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_call(
    proxy: *mut weir_proxy,
    listener: weir_str,
    request: *const weir_request,
    out: *mut *mut weir_call,
) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        // SAFETY: the caller answers for them.
        let (listener, request) = unsafe { (listener.text("listener")?, read_request(request)?) };
        let proxy = of(proxy)?;
        let first = proxy.listeners().first().map(|(name, _)| Arc::clone(name));
        let listener = if listener.is_empty() { first.as_deref().unwrap_or_default() } else { listener };
        let call = proxy.call(listener, &request).map_err(refused)?;
        // SAFETY: the caller answers for it.
        unsafe { memory::give(CallObject(Arc::new(Kept { call, head: OnceLock::new(), down: Mutex::default() })), out)? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Says step by step, a line each, where a request would go and why. Nothing is sent, and nothing is counted. Free the text
/// with `weir_bytes_free`.
///
/// # Safety
/// As for `weir_proxy_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_explain(
    proxy: *mut weir_proxy,
    listener: weir_str,
    request: *const weir_request,
    out: *mut *mut weir_bytes,
) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        // SAFETY: the caller answers for them.
        let (listener, request) = unsafe { (listener.text("listener")?, read_request(request)?) };
        let proxy = of(proxy)?;
        let first = proxy.listeners().first().map(|(name, _)| Arc::clone(name));
        let listener = if listener.is_empty() { first.as_deref().unwrap_or_default() } else { listener };
        let mut text = String::new();
        for step in proxy.explain(listener, &request).map_err(refused)? {
            let _ = writeln!(text, "{step}");
        }
        // SAFETY: the caller answers for it.
        unsafe { memory::give(BytesObject::new(text.into_bytes()), out)? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Sends a piece of the request's body. Waits while the proxy takes no more. `WEIR_FINISHED` if nobody takes it: see
/// `weir_call_response`.
///
/// # Safety
/// `data` must have `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_call_send(call: *mut weir_call, data: *const u8, len: usize) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let data = unsafe { memory::slice(data, len, "data")? };
        call_of(call)?.call.send(data).map_err(fault)?;
        Ok(weir_result::WEIR_OK)
    })
}

/// The request's body is whole, with `count` trailers.
///
/// # Safety
/// `trailers` must have `count` fields, with texts that have the bytes that they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_call_finish(call: *mut weir_call, trailers: *const weir_header, count: usize) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for them.
        let trailers = unsafe { fields(trailers, count, "trailers")? };
        call_of(call)?.call.finish(&trailers).map_err(fault)?;
        Ok(weir_result::WEIR_OK)
    })
}

/// Waits up to `nanos` nanoseconds, or `WEIR_FOREVER`, for the response's head: its status and how many header fields it has,
/// which `weir_call_header` tells. Either may be NULL. Again, the same.
///
/// # Safety
/// `status` and `headers` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_call_response(call: *mut weir_call, nanos: u64, status: *mut u32, headers: *mut usize) -> weir_result {
    enter(|| {
        // Either may be NULL, but not wrong.
        if !status.is_null() {
            memory::check_out(status, "status")?;
        }
        if !headers.is_null() {
            memory::check_out(headers, "headers")?;
        }
        let kept = call_of(call)?;
        let head = kept.call.response(timeout(nanos)).map_err(fault)?;
        let head = kept.head.get_or_init(|| head);
        // SAFETY: the caller answers for them.
        unsafe {
            if !status.is_null() {
                memory::put(status, u32::from(head.status), "status")?;
            }
            if !headers.is_null() {
                memory::put(headers, head.headers.len(), "headers")?;
            }
        }
        Ok(weir_result::WEIR_OK)
    })
}

fn header((name, value): &(String, Vec<u8>)) -> weir_header {
    weir_header { name: weir_str::of(name), value: weir_str { data: value.as_ptr().cast(), len: value.len() } }
}

/// The header field at `index` of a response whose head has come; `WEIR_NONE` if there are not so many. Its texts live until
/// the call is freed.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_call_header(call: *const weir_call, index: usize, out: *mut weir_header) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        let kept = call_of(call)?;
        let Some(field) = kept.head.get().and_then(|head| head.headers.get(index)) else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, header(field), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Reads up to `size` bytes of the response's body to `buffer`, and how many to `count`: waits up to `nanos` nanoseconds, or
/// `WEIR_FOREVER`, for the first of them. `WEIR_NONE` when the body is whole. What is not read waits, and lets the upstream wait.
///
/// # Safety
/// `buffer` must have room for `size` bytes, `count` be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_call_read(call: *mut weir_call, buffer: *mut u8, size: usize, count: *mut usize, nanos: u64) -> weir_result {
    enter(|| {
        memory::check_out(buffer, "buffer")?;
        memory::check_out(count, "count")?;
        if size == 0 {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "`size` is 0: there must be room for a byte"));
        }
        let kept = call_of(call)?;
        let Ok(mut down) = kept.down.try_lock() else {
            return Err(Fault::new(weir_result::WEIR_BUSY, "another thread is reading for this call"));
        };
        while down.piece.is_empty() {
            match kept.call.read(timeout(nanos)).map_err(fault)? {
                Read::Data(piece) => down.piece = piece,
                Read::End(trailers) => {
                    down.trailers.get_or_insert_with(|| Arc::new(trailers));
                    return Ok(weir_result::WEIR_NONE);
                }
            }
        }
        let length = size.min(down.piece.len());
        let read = down.piece.split_to(length);
        // SAFETY: `read` is no longer than `size`, for which the caller has room.
        unsafe {
            ptr::copy_nonoverlapping(read.as_ptr(), buffer, read.len());
            memory::put(count, read.len(), "count")?;
        }
        Ok(weir_result::WEIR_OK)
    })
}

/// The trailer at `index` of a response whose body is whole; `WEIR_NONE` if there are not so many. Its texts live until the
/// call is freed.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_call_trailer(call: *const weir_call, index: usize, out: *mut weir_header) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        let kept = call_of(call)?;
        let trailers = kept.down.lock().unwrap_or_else(PoisonError::into_inner).trailers.clone();
        let Some(field) = trailers.as_ref().and_then(|trailers| trailers.get(index)) else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, header(field), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Gives a call up: what is under way is broken off, and whoever waits for it gets `WEIR_CANCELLED`.
#[unsafe(no_mangle)]
pub extern "C" fn weir_call_cancel(call: *mut weir_call) -> weir_result {
    enter(|| {
        call_of(call)?.call.cancel();
        Ok(weir_result::WEIR_OK)
    })
}

/// Frees a call, and gives it up if it has not ended. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn weir_call_free(call: *mut weir_call) -> weir_result {
    enter(|| {
        drop(handle::take_shared::<CallObject>(call as usize)?);
        Ok(weir_result::WEIR_OK)
    })
}
