//! Filters in C, as core sees them.

use super::frame::{Frame, Part};
use super::host::{HOST, take_refusal, weir_filter_host};
use super::module::Loaded;
use super::table::{weir_exchange, weir_filter, weir_verdict};
use crate::memory::weir_str;
use std::os::raw::c_void;
use std::sync::Arc;
use weir_core::filter::{Answer, FilterContext, FilterFactory, FilterKind, Held, HttpFilter, Verdict};
use weir_core::http::{Fields, RequestHead, ResponseHead};
use weir_core::record::Record;

/// A kind of filter that a table in C describes.
#[derive(Clone, Debug)]
pub struct CKind {
    table: weir_filter,
    /// What the functions of the table are in.
    module: Option<Arc<Loaded>>,
}

// SAFETY: the table's contract: its functions may be called on any thread, on several at once.
unsafe impl Send for CKind {}
// SAFETY: as above.
unsafe impl Sync for CKind {}

impl CKind {
    /// A kind of a table that has been read.
    ///
    /// # Safety
    /// Its functions must be as `weir_filter` says, and stay.
    pub unsafe fn new(table: weir_filter) -> CKind {
        CKind { table, module: None }
    }

    /// # Safety
    /// As for [`Self::new`], as long as the module is loaded.
    pub(super) unsafe fn of_module(table: weir_filter, module: Arc<Loaded>) -> CKind {
        CKind { table, module: Some(module) }
    }

    /// A factory for the filter at one place of a config.
    ///
    /// # Errors
    /// Why C refuses it.
    pub(super) fn factory(&self, name: &str, config: &[u8]) -> Result<Arc<dyn FilterFactory>, String> {
        let mut made = self.table.data;
        let is_empty = matches!(config.trim_ascii(), b"" | b"{}");
        match self.table.configure {
            None if is_empty => {}
            None => return Err(format!("the filter {name} takes no config")),
            Some(configure) => {
                let (name_text, config) = (weir_str::of(name), weir_str::of_bytes(config));
                drop(take_refusal());
                // SAFETY: the table's contract.
                let result = unsafe { configure(&raw const HOST, self.table.data, name_text, config, &raw mut made) };
                if result != 0 {
                    return Err(take_refusal().unwrap_or_else(|| format!("the filter {name} refuses its config, and does not say why")));
                }
            }
        }
        Ok(Arc::new(CFactory { name: name.to_owned(), kind: self.clone(), made: Made(made) }))
    }
}

impl FilterKind for CKind {
    fn configure(&self, name: &str, config_json: &str) -> Result<Arc<dyn FilterFactory>, String> {
        self.factory(name, config_json.as_bytes())
    }
}

/// What C made, for C.
#[derive(Copy, Clone, Debug)]
struct Made(*mut c_void);

// SAFETY: the table's contract: what `configure` and `begin` made may be given to its functions on any thread.
unsafe impl Send for Made {}
// SAFETY: as above.
unsafe impl Sync for Made {}

#[derive(Debug)]
struct CFactory {
    name: String,
    kind: CKind,
    made: Made,
}

impl FilterFactory for CFactory {
    fn name(&self) -> &str {
        &self.name
    }

    fn make(&self) -> Box<dyn HttpFilter> {
        let table = self.kind.table;
        let state = match table.begin {
            // SAFETY: the table's contract.
            Some(begin) => Made(unsafe { begin(self.made.0) }),
            None => self.made,
        };
        Box::new(CFilter { table, state, name: self.name.as_str().into(), _module: self.kind.module.clone() })
    }

    fn wants_bodies(&self) -> bool {
        self.kind.table.wants_bodies != 0
    }
}

impl Drop for CFactory {
    fn drop(&mut self) {
        if let (Some(forget), Some(_)) = (self.kind.table.forget, self.kind.table.configure) {
            // SAFETY: the table's contract; the config was the last that had it.
            unsafe { forget(self.made.0) };
        }
    }
}

#[derive(Debug)]
struct CFilter {
    table: weir_filter,
    state: Made,
    name: Box<str>,
    /// Its code must not go while it is under way.
    _module: Option<Arc<Loaded>>,
}

// SAFETY: as for `CKind` and `Made`.
unsafe impl Send for CFilter {}

impl CFilter {
    /// Calls C, and makes a verdict of what it says.
    fn ask(&self, frame: Frame, call: impl FnOnce(*mut weir_exchange) -> u32) -> Verdict {
        let (said, answer) = frame.call(call);
        let wrong = |what: &str| {
            let details = format!("filter_{what}{{{}}}", self.name);
            Verdict::Respond(Box::new(Answer::new(500, "", details)))
        };
        match (said, answer) {
            (said, _) if said == weir_verdict::WEIR_CONTINUE as u32 => Verdict::Continue,
            (said, _) if said == weir_verdict::WEIR_PAUSE as u32 => Verdict::Pause,
            (said, _) if said == weir_verdict::WEIR_GATHER as u32 => Verdict::Gather,
            (said, Some(answer)) if said == weir_verdict::WEIR_RESPOND as u32 => Verdict::Respond(Box::new(answer)),
            (said, None) if said == weir_verdict::WEIR_RESPOND as u32 => wrong("gave_no_answer"),
            _ => wrong("verdict_unknown"),
        }
    }

    fn piece(&self, piece: &[u8], context: &mut FilterContext<'_>, function: Option<PieceFn>) -> Verdict {
        let Some(function) = function else { return Verdict::Continue };
        let state = self.state.0;
        // SAFETY: the table's contract; the piece outlives the call.
        self.ask(Frame::new(context), |exchange| unsafe { function(&raw const HOST, exchange, state, piece.as_ptr(), piece.len()) })
    }

    fn head(&self, frame: Frame, function: Option<HeadFn>) -> Verdict {
        let Some(function) = function else { return Verdict::Continue };
        let state = self.state.0;
        // SAFETY: the table's contract.
        self.ask(frame, |exchange| unsafe { function(&raw const HOST, exchange, state) })
    }
}

type HeadFn = unsafe extern "C" fn(*const weir_filter_host, *mut weir_exchange, *mut c_void) -> u32;
type PieceFn = unsafe extern "C" fn(*const weir_filter_host, *mut weir_exchange, *mut c_void, *const u8, usize) -> u32;

impl HttpFilter for CFilter {
    fn request_head(&mut self, head: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        self.head(Frame { request: Part::Write(head), ..Frame::new(context) }, self.table.request_head)
    }

    fn request_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        self.piece(piece, context, self.table.request_body)
    }

    fn request_end(&mut self, trailers: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        self.head(Frame { trailers: Part::Write(trailers), ..Frame::new(context) }, self.table.request_end)
    }

    fn response_head(&mut self, request: &RequestHead, head: &mut ResponseHead, context: &mut FilterContext<'_>) -> Verdict {
        let frame = Frame { request: Part::Read(request), response: Part::Write(head), ..Frame::new(context) };
        self.head(frame, self.table.response_head)
    }

    fn response_body(&mut self, piece: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        self.piece(piece, context, self.table.response_body)
    }

    fn response_end(&mut self, trailers: &mut Fields, context: &mut FilterContext<'_>) -> Verdict {
        self.head(Frame { trailers: Part::Write(trailers), ..Frame::new(context) }, self.table.response_end)
    }

    fn resumed(&mut self, held: Held<'_>, learned: &[u8], context: &mut FilterContext<'_>) -> Verdict {
        let Some(resumed) = self.table.resumed else { return Verdict::Continue };
        let frame = match held {
            Held::RequestHead(head) => Frame { request: Part::Write(head), ..Frame::new(context) },
            Held::ResponseHead(request, head) => Frame { request: Part::Read(request), response: Part::Write(head), ..Frame::new(context) },
            Held::RequestEnd(trailers) | Held::ResponseEnd(trailers) => Frame { trailers: Part::Write(trailers), ..Frame::new(context) },
            Held::RequestBody(_) | Held::ResponseBody(_) => Frame::new(context),
        };
        let state = self.state.0;
        // SAFETY: the table's contract; what was learned outlives the call.
        self.ask(frame, |exchange| unsafe { resumed(&raw const HOST, exchange, state, learned.as_ptr(), learned.len()) })
    }

    fn finished(&mut self, record: &Record) {
        if let Some(finished) = self.table.finished {
            let state = self.state.0;
            // SAFETY: the table's contract.
            let call = |exchange| unsafe { finished(&raw const HOST, exchange, state) };
            Frame::of(record).call(call);
        }
    }
}

impl Drop for CFilter {
    fn drop(&mut self) {
        if let (Some(end), Some(_)) = (self.table.end, self.table.begin) {
            // SAFETY: the table's contract; this is the last call.
            unsafe { end(self.state.0) };
        }
    }
}
