//! The simulator's filter (`sim/src/filters.rs`) once more, as a host in C has it: it draws the same numbers and waits in the same
//! places.

use std::os::raw::c_void;
use std::ptr;
use weir_ffi::filter::*;
use weir_ffi::memory::weir_str;
use weir_ffi::result::weir_result::WEIR_OK;

const CONTINUE: u32 = weir_verdict::WEIR_CONTINUE as u32;
const PAUSE: u32 = weir_verdict::WEIR_PAUSE as u32;

/// The filters of a world, for its configs.
pub(crate) fn filters(bodies: bool) -> *mut weir_filters {
    let table = weir_filter {
        size: size_of::<weir_filter>(),
        wants_bodies: u32::from(bodies),
        configure: Some(configure),
        begin: Some(begin),
        end: Some(end),
        request_head: Some(shown),
        request_body: Some(shown_piece),
        request_end: Some(shown),
        response_head: Some(shown),
        response_body: Some(shown_piece),
        response_end: Some(shown),
        resumed: Some(resumed),
        // SAFETY: NULL is a value of what is left.
        ..unsafe { std::mem::zeroed() }
    };
    let (mut filters, kind) = (ptr::null_mut(), "type.googleapis.com/weir.sim.Wait");
    let kind = weir_str { data: kind.as_ptr().cast(), len: kind.len() };
    // SAFETY: there is room for the handle, and the table is of its size.
    unsafe {
        assert_eq!(weir_filters_new(&raw mut filters), WEIR_OK);
        assert_eq!(weir_filters_register(filters, kind, &raw const table), WEIR_OK);
    }
    filters
}

/// One exchange's.
struct Wait {
    /// Of a thousand heads, pieces and ends, so many wait.
    pauses: u64,
    /// By side.
    paused: [bool; 2],
}

/// `{"pauses":20}`: the number itself is what is made.
unsafe extern "C" fn configure(_: *const weir_filter_host, _: *mut c_void, _: weir_str, config: weir_str, made: *mut *mut c_void) -> u32 {
    // SAFETY: the text has the bytes that it says, and there is room for what is made.
    unsafe {
        let config = std::slice::from_raw_parts(config.data.cast::<u8>(), config.len);
        let digits: String = config.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
        let Ok(pauses) = digits.parse::<usize>() else { return 1 };
        *made = ptr::without_provenance_mut(pauses);
    }
    0
}

unsafe extern "C" fn begin(made: *mut c_void) -> *mut c_void {
    Box::into_raw(Box::new(Wait { pauses: made.addr() as u64, paused: [false; 2] })).cast()
}

unsafe extern "C" fn end(filter: *mut c_void) {
    // SAFETY: it is what `begin` made, and this is its last call.
    drop(unsafe { Box::from_raw(filter.cast::<Wait>()) });
}

/// A number below `bound`, as core's own filters draw it.
unsafe fn below(weir: *const weir_filter_host, exchange: *mut weir_exchange, bound: u64) -> u64 {
    let mut number = 0;
    // SAFETY: the exchange is the callback's, and there is room for the number.
    assert_eq!(unsafe { ((*weir).random)(exchange, &raw mut number) }, WEIR_OK);
    ((u128::from(number) * u128::from(bound)) >> 64) as u64
}

/// Whether it is the request or the response that is shown.
unsafe fn side(weir: *const weir_filter_host, exchange: *mut weir_exchange) -> usize {
    let mut id = weir_filter_id { engine: 0, exchange: 0, index: 0, side: 0, turn: 0, reserved: 0 };
    // SAFETY: the exchange is the callback's, and there is room for the id.
    assert_eq!(unsafe { ((*weir).id)(exchange, &raw mut id) }, WEIR_OK);
    id.side as usize
}

unsafe extern "C" fn shown(weir: *const weir_filter_host, exchange: *mut weir_exchange, filter: *mut c_void) -> u32 {
    // SAFETY: the filter is what `begin` made, and is used by one call at a time.
    unsafe {
        let (wait, side) = (&mut *filter.cast::<Wait>(), side(weir, exchange));
        assert!(!wait.paused[side], "something overtakes what waits");
        wait.paused[side] = below(weir, exchange, 1000) < wait.pauses;
        if wait.paused[side] { PAUSE } else { CONTINUE }
    }
}

unsafe extern "C" fn shown_piece(
    weir: *const weir_filter_host,
    exchange: *mut weir_exchange,
    filter: *mut c_void,
    piece: *const u8,
    len: usize,
) -> u32 {
    assert!(!piece.is_null() && len > 0);
    // SAFETY: as for `shown`.
    unsafe { shown(weir, exchange, filter) }
}

unsafe extern "C" fn resumed(
    weir: *const weir_filter_host,
    exchange: *mut weir_exchange,
    filter: *mut c_void,
    learned: *const u8,
    len: usize,
) -> u32 {
    // SAFETY: as for `shown`; and what was learned has so many bytes.
    unsafe {
        let (wait, side) = (&mut *filter.cast::<Wait>(), side(weir, exchange));
        let learned = std::slice::from_raw_parts(learned, len);
        assert!(wait.paused[side] && learned == weir_sim::filters::Filters::learned());
        // One in ten finds that it must ask again.
        wait.paused[side] = below(weir, exchange, 10) == 0;
        if wait.paused[side] { PAUSE } else { CONTINUE }
    }
}
