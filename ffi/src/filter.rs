//! Filters in C, for engines and for whole proxies: what the host registers, and how those that wait are resumed.

pub use weir_abi::filter::{
    weir_answer, weir_exchange, weir_facts, weir_filter, weir_filter_host, weir_filter_id, weir_module, weir_module_filter,
    weir_module_init_fn, weir_part, weir_verdict,
};

use crate::engine::{weir_engine, with};
use crate::handle;
use crate::memory::{self, weir_str};
use crate::result::{Fault, enter, weir_result};
use bytes::Bytes;
use std::sync::Arc;
use weir_abi::filter::{CKind, HOST, Modules, read_answer, read_id, resume};
use weir_core::filter::{Registry, Resume};

/// Filters of the host's own. What is made with them keeps what it needs.
#[derive(Debug)]
pub struct weir_filters {
    _opaque: [u8; 0],
}

#[derive(Debug, Default)]
pub(crate) struct FiltersObject {
    registry: Registry,
}

/// The filters behind a handle; none behind NULL.
pub(crate) fn registry(filters: *const weir_filters) -> Result<Registry, Fault> {
    match filters.is_null() {
        true => Ok(Registry::default()),
        false => handle::with::<FiltersObject, _>(filters as usize, |object| Ok(object.registry.clone())),
    }
}

/// No filters yet. For `weir_proxy_options.filters`, `weir_config_load_with` and `weir_replay_open_with`.
///
/// Any thread; afterwards one at a time. Free it with `weir_filters_free`, whenever nothing more is to be made with it.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_filters_new(out: *mut *mut weir_filters) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        unsafe { memory::give(FiltersObject::default(), out)? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Lets configs name a filter: an entry of `http_filters` whose `typed_config` has this `@type`, of which what stands behind the
/// last slash counts, or is a `TypedStruct` with this `type_url`. `filter` is copied. A second one of the same type takes the
/// place of the first.
///
/// # Safety
/// `type` must have the bytes that it says; `filter` must be of the size that it says, with functions that are as
/// `struct weir_filter` says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_filters_register(filters: *mut weir_filters, r#type: weir_str, filter: *const weir_filter) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for them.
        let (url, kind) = unsafe { (r#type.text("type")?, CKind::new(memory::read(filter, "filter")?)) };
        if url.rsplit('/').next().is_none_or(str::is_empty) {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "`type` is empty: write type.googleapis.com/ and a name"));
        }
        handle::with::<FiltersObject, _>(filters as usize, |object| {
            object.registry.register(url, Arc::new(kind));
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Lets configs name filters of shared objects, as they name Envoy's dynamic modules (`dynamic_module_config`). The module `x` is
/// the file `libx.so` in `folder`; if that is empty, wherever the system's loader finds it. It exports `weir_module_init`.
///
/// # Safety
/// `folder` must have the bytes that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_filters_allow_modules(filters: *mut weir_filters, folder: weir_str) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let folder = unsafe { folder.text("folder")? };
        let folder = Some(folder).filter(|folder| !folder.is_empty()).map(Into::into);
        handle::with::<FiltersObject, _>(filters as usize, |object| {
            Modules { folder }.register(&mut object.registry);
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Frees a set of filters. NULL is allowed and does nothing. What was made with them keeps what it needs: the functions and data
/// of a registered filter must stay until the last config, engine and proxy is gone that knows them.
#[unsafe(no_mangle)]
pub extern "C" fn weir_filters_free(filters: *mut weir_filters) -> weir_result {
    memory::free::<FiltersObject>(filters as usize)
}

/// What filters can call. They are given it; this is for code that resumes them and was not.
#[unsafe(no_mangle)]
pub extern "C" fn weir_filter_functions() -> *const weir_filter_host {
    &raw const HOST
}

/// Resumes a filter of a proxy of this process, on any thread: its `resumed` is given what was `learned`, of which a copy is made.
/// `WEIR_UNKNOWN_ID` if its engine is gone, or is one of tier 1. If nothing waits there (any more) nothing happens.
///
/// # Safety
/// `id` must be valid for reading, or NULL; `learned` must have `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_filter_resume(id: *const weir_filter_id, learned: *const u8, len: usize) -> weir_result {
    // SAFETY: the caller answers for it.
    unsafe { resume::resume(id, learned, len) }
}

/// As `weir_filter_resume`, with an answer for the client.
///
/// # Safety
/// `id` must be valid for reading, or NULL; `answer` of the size that it says, with texts and fields that are as they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_filter_resume_answer(id: *const weir_filter_id, answer: *const weir_answer) -> weir_result {
    // SAFETY: the caller answers for it.
    unsafe { resume::resume_answer(id, answer) }
}

/// A filter of this engine that waits is told what was `learned`. If nothing waits there (any more) nothing happens. The input log
/// has it.
///
/// # Safety
/// As for `weir_filter_resume`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_resume(
    engine: *mut weir_engine,
    id: *const weir_filter_id,
    learned: *const u8,
    len: usize,
    now: u64,
) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let (id, learned) = unsafe { (read_id(id)?, memory::slice(learned, len, "learned")?) };
        with(engine, |object| object.resume(id, Resume::Continue(Bytes::copy_from_slice(learned)), now))
    })
}

/// As `weir_engine_resume`, with an answer for the client.
///
/// # Safety
/// As for `weir_filter_resume_answer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_resume_answer(
    engine: *mut weir_engine,
    id: *const weir_filter_id,
    answer: *const weir_answer,
    now: u64,
) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let (id, answer) = unsafe { (read_id(id)?, read_answer(answer)?) };
        with(engine, |object| object.resume(id, Resume::Respond(Box::new(answer)), now))
    })
}
