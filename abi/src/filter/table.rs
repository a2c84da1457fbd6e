//! What a filter in C is made of, as C sees it.

use super::host::weir_filter_host;
use crate::address::weir_address;
use crate::memory::{weir_header, weir_str};
use crate::versioned;
use std::os::raw::c_void;
use weir_core::filter::{FilterId, Side};
use weir_core::id::ExchangeId;

/// What a filter says of what it was shown.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_verdict {
    /// It goes on to the next filter.
    WEIR_CONTINUE = 0,
    /// It waits here until the filter is resumed (`weir_filter_host.resume`), and what comes behind it waits unseen.
    WEIR_PAUSE = 1,
    /// It waits here, and what comes behind it is shown to this filter, but goes no further: until the filter says
    /// `WEIR_CONTINUE` to the end of the message, or is resumed. Too much of it is answered with 413 (requests) or 500.
    WEIR_GATHER = 2,
    /// The client gets the answer that the filter has given to `weir_filter_host.answer`.
    WEIR_RESPOND = 3,
}

/// Parts of an exchange that have header fields.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_part {
    /// The request head. Besides its fields it has `:method`, `:path` (with the query), `:authority` and `:scheme`.
    WEIR_REQUEST_HEAD = 0,
    /// The response head, with `:status`.
    WEIR_RESPONSE_HEAD = 1,
    /// The trailers of the message whose end is shown.
    WEIR_TRAILERS = 2,
}

/// An exchange, in a callback that was given it: it means nothing afterwards, nor on another thread.
#[derive(Debug)]
pub struct weir_exchange {
    _opaque: [u8; 0],
}

/// Names one wait of one filter, for whoever resumes it: plain numbers, which may be copied, and kept as long as anybody likes.
/// Once the wait is over they name nothing.
#[repr(C)]
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct weir_filter_id {
    /// The engine, of all in this process. For `weir_engine_resume` 0 stands for the engine that it is given.
    pub engine: u64,
    /// The exchange.
    pub exchange: u64,
    /// The filter's place in the chain, from 0.
    pub index: u32,
    /// 0 for the request, 1 for the response.
    pub side: u32,
    /// Which wait it is.
    pub turn: u32,
    /// 0.
    pub reserved: u32,
}

impl weir_filter_id {
    pub(super) fn of(engine: u64, id: FilterId) -> weir_filter_id {
        let FilterId { exchange, index, side, turn } = id;
        weir_filter_id { engine, exchange: exchange.to_u64(), index, side: u32::from(side == Side::Response), turn, reserved: 0 }
    }

    /// What core calls it.
    pub fn id(&self) -> FilterId {
        let side = if self.side == 0 { Side::Request } else { Side::Response };
        FilterId { exchange: ExchangeId::from_u64(self.exchange), index: self.index, side, turn: self.turn }
    }
}

/// An answer to a client, in place of the upstream's. Its texts are copied.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_answer {
    /// `sizeof(struct weir_answer)`, set by the filter.
    pub size: usize,
    /// Status, 200 to 599.
    pub status: u32,
    /// Body. It is `text/plain` unless a header says what it is.
    pub body: weir_str,
    /// Header fields. Those that frame a message, or concern only a connection, are left out.
    pub headers: *const weir_header,
    /// How many.
    pub header_count: usize,
    /// For access logs: `%RESPONSE_CODE_DETAILS%`.
    pub details: weir_str,
}
versioned!(weir_answer, 64);

/// What is known of an exchange so far. Its texts live until the callback returns.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_facts {
    /// `sizeof(struct weir_facts)`, set by the filter.
    pub size: usize,
    /// Status that was sent to the client; 0 if none was.
    pub status: u32,
    /// How many times it was tried upstream.
    pub attempts: u32,
    /// When the request head was complete, in nanoseconds since 1970.
    pub start: u64,
    /// From then to its end, in nanoseconds; 0 until it has ended.
    pub duration: u64,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// The client, by the connection or by a trusted `x-forwarded-for`.
    pub client: weir_address,
    /// The cluster that it went to; empty if to none.
    pub cluster: weir_str,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: weir_str,
}
versioned!(weir_facts, 104);

/// A filter in C: what it does when. Any of the functions may be NULL, for nothing (`WEIR_CONTINUE`). They are called on the
/// threads of workers, on several at once for different exchanges, for one exchange never at once; they must not block, nor
/// wait for the proxy, nor throw exceptions. What crashes in them crashes the process.
///
/// `docs/filters.md` says what is shown when, and what becomes of it.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_filter {
    /// `sizeof(struct weir_filter)`, set by the host.
    pub size: usize,
    /// Given to `configure`. It must live as long as configs and engines that use the filter.
    pub data: *mut c_void,
    /// Not 0: bodies, ends and trailers are shown too, not only heads.
    pub wants_bodies: u32,
    /// Once for each place in a config: reads `config`, and makes of it what `begin` is given. `config` is the JSON of the
    /// message with the registered `@type`, without that; for a module it is its `filter_config`. Answer 0; anything else
    /// refuses the config, with the words that `weir->refuse` was given. Without it there must be no config, and `made` is `data`.
    pub configure: Option<
        unsafe extern "C" fn(
            weir: *const weir_filter_host,
            data: *mut c_void,
            name: weir_str,
            config: weir_str,
            made: *mut *mut c_void,
        ) -> u32,
    >,
    /// Frees what `configure` made: nothing uses it any more.
    pub forget: Option<unsafe extern "C" fn(made: *mut c_void)>,
    /// An exchange begins: makes what the other functions are given. Without it they are given what `configure` made.
    pub begin: Option<unsafe extern "C" fn(made: *mut c_void) -> *mut c_void>,
    /// Frees what `begin` made; the last call of an exchange.
    pub end: Option<unsafe extern "C" fn(filter: *mut c_void)>,
    /// The request head: can be edited here, and where it is resumed.
    pub request_head: Option<unsafe extern "C" fn(weir: *const weir_filter_host, exchange: *mut weir_exchange, filter: *mut c_void) -> u32>,
    /// A piece of the request body, never empty.
    pub request_body: Option<
        unsafe extern "C" fn(
            weir: *const weir_filter_host,
            exchange: *mut weir_exchange,
            filter: *mut c_void,
            piece: *const u8,
            len: usize,
        ) -> u32,
    >,
    /// The request is whole. Its trailers can be edited.
    pub request_end: Option<unsafe extern "C" fn(weir: *const weir_filter_host, exchange: *mut weir_exchange, filter: *mut c_void) -> u32>,
    /// The response head, of local replies too: can be edited here, and where it is resumed.
    pub response_head:
        Option<unsafe extern "C" fn(weir: *const weir_filter_host, exchange: *mut weir_exchange, filter: *mut c_void) -> u32>,
    /// A piece of the response body.
    pub response_body: Option<
        unsafe extern "C" fn(
            weir: *const weir_filter_host,
            exchange: *mut weir_exchange,
            filter: *mut c_void,
            piece: *const u8,
            len: usize,
        ) -> u32,
    >,
    /// The response is whole. Its trailers can be edited.
    pub response_end: Option<unsafe extern "C" fn(weir: *const weir_filter_host, exchange: *mut weir_exchange, filter: *mut c_void) -> u32>,
    /// The filter was resumed, with what was `learned`. `WEIR_CONTINUE` lets what waits go on, `WEIR_PAUSE` leaves it.
    pub resumed: Option<
        unsafe extern "C" fn(
            weir: *const weir_filter_host,
            exchange: *mut weir_exchange,
            filter: *mut c_void,
            learned: *const u8,
            len: usize,
        ) -> u32,
    >,
    /// The exchange has ended, in whatever way: for `weir->facts`.
    pub finished: Option<unsafe extern "C" fn(weir: *const weir_filter_host, exchange: *mut weir_exchange, filter: *mut c_void)>,
}
versioned!(weir_filter, 120);

/// A filter of a module, by the name that configs use (`filter_name`).
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_module_filter {
    /// Its name.
    pub name: weir_str,
    /// What it does.
    pub filter: *const weir_filter,
}

/// What a module has. It lives as long as the module.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_module {
    /// `sizeof(struct weir_module)`, set by Weir.
    pub size: usize,
    /// Its filters.
    pub filters: *const weir_module_filter,
    /// How many.
    pub filter_count: usize,
}
versioned!(weir_module, 24);

/// What a module exports under the name `weir_module_init`. It fills in `module`, and answers `WEIR_ABI_VERSION`: of the header that
/// it was compiled with. Called once for each place in a config that names the module.
pub type weir_module_init_fn = Option<unsafe extern "C" fn(weir: *const weir_filter_host, module: *mut weir_module) -> u32>;
