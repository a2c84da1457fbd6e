//! What a filter in C can call: a table of functions, so that a module needs no symbols of its process.

use super::fields;
use super::frame;
use super::resume;
use super::table::{weir_answer, weir_exchange, weir_facts, weir_filter_id};
use crate::address::weir_address;
use crate::memory::{self, weir_header, weir_str};
use crate::result::{Fault, WEIR_ABI_VERSION, enter, weir_result, with_last_words};
use std::cell::RefCell;
use std::mem::size_of;
use std::os::raw::c_char;
use weir_core::filter::Answer;

/// What a filter can call. It lives as long as the process. Functions with an `exchange` are for the callback that was given it;
/// the others may be called on any thread, at any time.
#[repr(C)]
#[derive(Debug)]
pub struct weir_filter_host {
    /// The struct's size: a later version has more at its end.
    pub size: usize,
    /// Weir's `WEIR_ABI_VERSION`.
    pub abi_version: u32,
    /// The value of the field called `name`, the one at `index` (from 0) if there are several. `WEIR_NONE` if there are not
    /// so many. It lives until the part is changed, or the callback returns. `WEIR_NOT_HERE` if the callback has no such part.
    pub get:
        unsafe extern "C" fn(exchange: *const weir_exchange, part: u32, name: weir_str, index: usize, value: *mut weir_str) -> weir_result,
    /// The field at `index` in the order of the message; `WEIR_NONE` if there are not so many. As `get`.
    pub field: unsafe extern "C" fn(exchange: *const weir_exchange, part: u32, index: usize, field: *mut weir_header) -> weir_result,
    /// Gives the part one field of this name, with this value, in place of those that it has. `WEIR_BAD_FIELD`, and nothing is
    /// changed, if such a field cannot be sent; `WEIR_NOT_HERE` if the callback has no such part, or may not change it.
    pub set: unsafe extern "C" fn(exchange: *mut weir_exchange, part: u32, name: weir_str, value: weir_str) -> weir_result,
    /// Adds a field behind the others. As `set`.
    pub add: unsafe extern "C" fn(exchange: *mut weir_exchange, part: u32, name: weir_str, value: weir_str) -> weir_result,
    /// Takes all fields of this name away; `WEIR_NONE` if there are none.
    pub remove: unsafe extern "C" fn(exchange: *mut weir_exchange, part: u32, name: weir_str) -> weir_result,
    /// Answers the client, if the callback returns `WEIR_RESPOND`.
    pub answer: unsafe extern "C" fn(exchange: *mut weir_exchange, answer: *const weir_answer) -> weir_result,
    /// What is known of the exchange.
    pub facts: unsafe extern "C" fn(exchange: *const weir_exchange, facts: *mut weir_facts) -> weir_result,
    /// A random number, drawn from the engine's seed: a replay draws the same. `WEIR_NOT_HERE` in `finished`.
    pub random: unsafe extern "C" fn(exchange: *mut weir_exchange, number: *mut u64) -> weir_result,
    /// The filter's id, to resume it with if the callback returns `WEIR_PAUSE` or `WEIR_GATHER`. `WEIR_NOT_HERE` in `finished`.
    pub id: unsafe extern "C" fn(exchange: *const weir_exchange, id: *mut weir_filter_id) -> weir_result,
    /// Resumes a filter, on any thread: its `resumed` is given what was `learned`, of which a copy is made. `WEIR_UNKNOWN_ID`
    /// if its engine is gone. If nothing waits there (any more) nothing happens. The host of an engine of tier 1 is woken for it.
    pub resume: unsafe extern "C" fn(id: *const weir_filter_id, learned: *const u8, len: usize) -> weir_result,
    /// As `resume`, with an answer for the client.
    pub resume_answer: unsafe extern "C" fn(id: *const weir_filter_id, answer: *const weir_answer) -> weir_result,
    /// In `configure`: why the config is refused.
    pub refuse: unsafe extern "C" fn(words: weir_str) -> weir_result,
    /// The words of this thread's last failure, as `weir_last_error` has them.
    pub last_error: unsafe extern "C" fn(buffer: *mut c_char, size: usize) -> usize,
}

/// The one table.
pub static HOST: weir_filter_host = weir_filter_host {
    size: size_of::<weir_filter_host>(),
    abi_version: WEIR_ABI_VERSION,
    get,
    field,
    set,
    add,
    remove,
    answer,
    facts,
    random,
    id,
    resume: resume::resume,
    resume_answer: resume::resume_answer,
    refuse,
    last_error,
};

thread_local! {
    static REFUSAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What `configure` has said, if it has.
pub(super) fn take_refusal() -> Option<String> {
    REFUSAL.take()
}

unsafe extern "C" fn get(exchange: *const weir_exchange, part: u32, name: weir_str, index: usize, value: *mut weir_str) -> weir_result {
    enter(|| {
        memory::check_out(value, "value")?;
        // SAFETY: C answers for the text and the place to write to; the frame's pointers are good in a callback.
        unsafe {
            let name = name.bytes("name")?;
            let found = frame::with(exchange, |frame| Ok(fields::get(frame, part, name, index)?.map(weir_str::of_bytes)))?;
            let Some(found) = found else { return Ok(weir_result::WEIR_NONE) };
            memory::put(value, found, "value")?;
        }
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn field(exchange: *const weir_exchange, part: u32, index: usize, field: *mut weir_header) -> weir_result {
    enter(|| {
        memory::check_out(field, "field")?;
        let found = frame::with(exchange, |frame| {
            // SAFETY: the frame's pointers are good in a callback.
            let found = unsafe { fields::read(frame, part)? }.iter().nth(index);
            Ok(found.map(|(name, value)| weir_header { name: weir_str::of_bytes(name), value: weir_str::of_bytes(value) }))
        })?;
        let Some(found) = found else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: C gives a place to write to.
        unsafe { memory::put(field, found, "field")? };
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn set(exchange: *mut weir_exchange, part: u32, name: weir_str, value: weir_str) -> weir_result {
    enter(|| {
        // SAFETY: C answers for the texts; the frame's pointers are good in a callback.
        unsafe {
            let (name, value) = (name.bytes("name")?, value.bytes("value")?);
            frame::with(exchange, |frame| fields::set(frame, part, name, value))?;
        }
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn add(exchange: *mut weir_exchange, part: u32, name: weir_str, value: weir_str) -> weir_result {
    enter(|| {
        // SAFETY: C answers for the texts; the frame's pointers are good in a callback.
        unsafe {
            let (name, value) = (name.bytes("name")?, value.bytes("value")?);
            fields::check_in(part, name, value)?;
            frame::with(exchange, |frame| fields::write(frame, part).map(|fields| fields.push(name, value)))?;
        }
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn remove(exchange: *mut weir_exchange, part: u32, name: weir_str) -> weir_result {
    enter(|| {
        // SAFETY: C answers for the text; the frame's pointers are good in a callback.
        unsafe {
            let name = name.bytes("name")?;
            frame::with(exchange, |frame| {
                let fields = fields::write(frame, part)?;
                let was_there = fields.get_named(name).is_some();
                fields.remove_named(name);
                Ok(if was_there { weir_result::WEIR_OK } else { weir_result::WEIR_NONE })
            })
        }
    })
}

unsafe extern "C" fn answer(exchange: *mut weir_exchange, answer: *const weir_answer) -> weir_result {
    enter(|| {
        // SAFETY: C answers for it.
        let made = unsafe { read_answer(answer)? };
        frame::with(exchange, |frame| {
            if frame.id.is_none() {
                return Err(Fault::new(weir_result::WEIR_NOT_HERE, "the exchange has ended: nobody is there to be answered"));
            }
            frame.answer = Some(made);
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Reads an answer that C gives.
///
/// # Errors
/// If it cannot be sent.
///
/// # Safety
/// `answer` must be NULL or a struct of the size that it says, with texts and fields that are as they say.
pub unsafe fn read_answer(answer: *const weir_answer) -> Result<Answer, Fault> {
    // SAFETY: the caller answers for it.
    unsafe {
        let given = memory::read(answer, "answer")?;
        if !(200..600).contains(&given.status) {
            let words = format_args!("`answer`: its status is {}; 200 to 599 are possible", given.status);
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, words));
        }
        let details = given.details.text("answer.details")?.to_owned();
        let mut made = Answer::new(given.status as u16, given.body.bytes("answer.body")?.to_vec(), details);
        for header in memory::slice(given.headers, given.header_count, "answer.headers")? {
            let (name, value) = (header.name.bytes("answer.headers[].name")?, header.value.bytes("answer.headers[].value")?);
            fields::check(name, value)?;
            made = made.header(name.to_vec(), value.to_vec());
        }
        Ok(made)
    }
}

unsafe extern "C" fn facts(exchange: *const weir_exchange, facts: *mut weir_facts) -> weir_result {
    enter(|| {
        memory::check_versioned(facts, "facts")?;
        let known = frame::with(exchange, |frame| {
            // SAFETY: the record is there while the callback is under way.
            let record = unsafe { &*frame.record };
            let mut known: weir_facts = memory::Versioned::fresh();
            (known.status, known.attempts) = (u32::from(record.status), record.attempts);
            known.start = record.start_wall.as_nanos();
            known.duration = record.end.map_or(0, |end| u64::try_from(end.since(record.start).as_nanos()).unwrap_or(u64::MAX));
            (known.bytes_received, known.bytes_sent) = (record.bytes_received, record.bytes_sent);
            known.client = weir_address::of(record.client);
            known.cluster = record.cluster.as_deref().map_or(weir_str::EMPTY, weir_str::of);
            known.details = weir_str::of(&record.details);
            Ok(known)
        })?;
        // SAFETY: C answers for it.
        unsafe { memory::write(facts, &known, "facts")? };
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn random(exchange: *mut weir_exchange, number: *mut u64) -> weir_result {
    enter(|| {
        memory::check_out(number, "number")?;
        let drawn = frame::with(exchange, |frame| match frame.rng.is_null() {
            true => Err(Fault::new(weir_result::WEIR_NOT_HERE, "the exchange has ended: nothing is decided any more")),
            // SAFETY: nobody else uses it while the callback is under way.
            false => Ok(unsafe { &mut *frame.rng }.bits()),
        })?;
        // SAFETY: C gives a place to write to.
        unsafe { memory::put(number, drawn, "number")? };
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn id(exchange: *const weir_exchange, id: *mut weir_filter_id) -> weir_result {
    enter(|| {
        memory::check_out(id, "id")?;
        let known = frame::with(exchange, |frame| match frame.id {
            Some(known) => Ok(weir_filter_id::of(frame.engine, known)),
            None => Err(Fault::new(weir_result::WEIR_NOT_HERE, "the exchange has ended: there is nothing to be resumed")),
        })?;
        // SAFETY: C gives a place to write to.
        unsafe { memory::put(id, known, "id")? };
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn refuse(words: weir_str) -> weir_result {
    enter(|| {
        // SAFETY: C answers for the text.
        let words = unsafe { words.bytes("words")? };
        REFUSAL.set(Some(String::from_utf8_lossy(words).into_owned()));
        Ok(weir_result::WEIR_OK)
    })
}

unsafe extern "C" fn last_error(buffer: *mut c_char, size: usize) -> usize {
    with_last_words(|words| {
        // SAFETY: C gives `size` bytes.
        unsafe { memory::copy_c_text(words, buffer, size) };
        words.len()
    })
    .unwrap_or(0)
}
