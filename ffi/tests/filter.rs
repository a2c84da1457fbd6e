//! Filters in C on an engine: what they may look at and change, what they say, how they are resumed, and what is caught.

#[path = "filter/host.rs"]
mod host;

use host::{Host, Kind, ok, text};
use std::os::raw::c_void;
use std::ptr;
use std::sync::Mutex;
use weir_ffi::filter::*;
use weir_ffi::memory::weir_str;
use weir_ffi::replay::*;
use weir_ffi::result::weir_result::{self, *};

const REQUEST: u32 = weir_part::WEIR_REQUEST_HEAD as u32;
const RESPONSE: u32 = weir_part::WEIR_RESPONSE_HEAD as u32;
const TRAILERS: u32 = weir_part::WEIR_TRAILERS as u32;

const CONTINUE: u32 = weir_verdict::WEIR_CONTINUE as u32;
const PAUSE: u32 = weir_verdict::WEIR_PAUSE as u32;
const RESPOND: u32 = weir_verdict::WEIR_RESPOND as u32;

type Weir = *const weir_filter_host;
type Exchange = *mut weir_exchange;

/// A field, as a test reads it.
///
/// # Safety
/// In a callback only.
unsafe fn get(weir: Weir, exchange: Exchange, part: u32, name: &str) -> Result<String, weir_result> {
    let mut value = weir_str::EMPTY;
    // SAFETY: the callback is under way.
    match unsafe { ((*weir).get)(exchange, part, text(name), 0, &raw mut value) } {
        // SAFETY: as above.
        WEIR_OK => Ok(unsafe { host::read(value) }),
        other => Err(other),
    }
}

/// # Safety
/// In a callback only.
unsafe fn set(weir: Weir, exchange: Exchange, part: u32, name: &str, value: &str) -> weir_result {
    // SAFETY: the callback is under way.
    unsafe { ((*weir).set)(exchange, part, text(name), text(value)) }
}

unsafe extern "C" fn edits(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    // SAFETY: the callback is under way.
    unsafe {
        assert_eq!(get(weir, exchange, REQUEST, ":method").as_deref(), Ok("GET"));
        assert_eq!(get(weir, exchange, REQUEST, ":path").as_deref(), Ok("/a?b"));
        assert_eq!(get(weir, exchange, REQUEST, ":authority").as_deref(), Ok("host"));
        assert_eq!(get(weir, exchange, REQUEST, ":scheme").as_deref(), Ok("http"));
        assert_eq!(get(weir, exchange, REQUEST, "X-One").as_deref(), Ok("1"));
        assert_eq!(get(weir, exchange, REQUEST, ":status"), Err(WEIR_NONE));
        assert_eq!(get(weir, exchange, RESPONSE, ":status"), Err(WEIR_NOT_HERE));
        assert_eq!(get(weir, exchange, TRAILERS, "a"), Err(WEIR_NOT_HERE));
        assert_eq!(get(weir, exchange, 3, "a"), Err(WEIR_BAD_VALUE));
        // What cannot be sent changes nothing.
        for (name, value) in [
            ("x y", "1"),
            ("", "1"),
            ("x", "a\r\nb: c"),
            ("x", " a"),
            (":path", "a b"),
            (":path", "a"),
            (":authority", "u@h"),
            (":method", "CONNECT"),
            (":method", "G T"),
            (":scheme", "ftp"),
            (":other", "a"),
        ] {
            assert_eq!(set(weir, exchange, REQUEST, name, value), WEIR_BAD_FIELD, "{name}: {value}");
        }
        assert_eq!(((*weir).add)(exchange, REQUEST, text("x"), text("a\n")), WEIR_BAD_FIELD);
        assert_eq!(((*weir).set)(exchange, REQUEST, weir_str { data: ptr::null(), len: 3 }, text("a")), WEIR_NULL_POINTER);
        ok(set(weir, exchange, REQUEST, ":path", "/new?c"));
        ok(set(weir, exchange, REQUEST, ":authority", "other:1"));
        ok(set(weir, exchange, REQUEST, "x-one", "2"));
        ok(((*weir).add)(exchange, REQUEST, text("x-more"), text("m")));
        ok(((*weir).remove)(exchange, REQUEST, text("x-two")));
        assert_eq!(((*weir).remove)(exchange, REQUEST, text("x-two")), WEIR_NONE);
        let (mut count, mut field) = (0, weir_ffi::memory::weir_header { name: weir_str::EMPTY, value: weir_str::EMPTY });
        while ((*weir).field)(exchange, REQUEST, count, &raw mut field) == WEIR_OK {
            count += 1;
        }
        assert!(count >= 3, "{count}");
        let mut facts = weir_facts { size: size_of::<weir_facts>(), ..std::mem::zeroed() };
        ok(((*weir).facts)(exchange, &raw mut facts));
        assert_eq!((facts.client.family, facts.status), (4, 0));
        let mut number = 0;
        ok(((*weir).random)(exchange, &raw mut number));
        assert_ne!(number, 0);
    }
    CONTINUE
}

unsafe extern "C" fn edits_response(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    // SAFETY: the callback is under way.
    unsafe {
        assert_eq!(get(weir, exchange, REQUEST, ":path").as_deref(), Ok("/new?c"));
        assert_eq!(set(weir, exchange, REQUEST, "a", "b"), WEIR_NOT_HERE, "the request was sent");
        assert_eq!(get(weir, exchange, RESPONSE, ":status").as_deref(), Ok("200"));
        for bad in ["99", "600", "abc", "", "204"] {
            assert_eq!(set(weir, exchange, RESPONSE, ":status", bad), WEIR_BAD_FIELD, "{bad}");
        }
        ok(set(weir, exchange, RESPONSE, ":status", "418"));
        ok(set(weir, exchange, RESPONSE, "x-filter", "was here"));
    }
    CONTINUE
}

#[test]
fn heads_are_read_and_changed() {
    let kind = Kind { request_head: Some(edits), response_head: Some(edits_response), ..Kind::default() };
    let mut host = Host::new(&kind, "");
    host.receive(b"GET /a?b HTTP/1.1\r\nhost: host\r\nx-one: 1\r\nx-two: 2\r\n\r\n");
    let sent = host.upstream();
    assert!(sent.starts_with("GET /new?c HTTP/1.1\r\n") && sent.contains("other:1\r\n") && sent.contains("x-more: m\r\n"), "{sent}");
    assert!(sent.contains("x-one: 2\r\n") && !sent.contains("x-two"), "{sent}");
    host.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let answer = host.client();
    assert!(answer.starts_with("HTTP/1.1 418 ") && answer.contains("x-filter: was here\r\n") && answer.ends_with("ok"), "{answer}");
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn tell(what: impl Into<String>) {
    TOLD.lock().unwrap().push(what.into());
}

unsafe extern "C" fn configure(weir: Weir, data: *mut c_void, name: weir_str, config: weir_str, made: *mut *mut c_void) -> u32 {
    // SAFETY: the test gives these.
    unsafe {
        tell(format!("configure {} {} {}", host::read(name), host::read(config), data as usize));
        if host::read(config).contains("wrong") {
            ok(((*weir).refuse)(text("it is wrong")));
            return 7;
        }
        *made = 5 as *mut c_void;
    }
    0
}

unsafe extern "C" fn forget(made: *mut c_void) {
    tell(format!("forget {}", made as usize));
}

unsafe extern "C" fn begin(made: *mut c_void) -> *mut c_void {
    tell(format!("begin {}", made as usize));
    2 as *mut c_void
}

unsafe extern "C" fn end(filter: *mut c_void) {
    tell(format!("end {}", filter as usize));
}

unsafe extern "C" fn told_head(_: Weir, _: Exchange, filter: *mut c_void) -> u32 {
    tell(format!("head {}", filter as usize));
    CONTINUE
}

unsafe extern "C" fn told_end(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    // SAFETY: the callback is under way.
    let trailer = unsafe {
        for framing in ["Content-Length", "transfer-encoding", "host", "trailer", "connection"] {
            assert_eq!(set(weir, exchange, TRAILERS, framing, "1"), WEIR_BAD_FIELD);
            assert_eq!(((*weir).add)(exchange, TRAILERS, text(framing), text("1")), WEIR_BAD_FIELD);
        }
        get(weir, exchange, TRAILERS, "x-t")
    };
    tell(format!("end of message {trailer:?}"));
    CONTINUE
}

unsafe extern "C" fn told_piece(_: Weir, _: Exchange, _: *mut c_void, piece: *const u8, len: usize) -> u32 {
    // SAFETY: the filter is given a piece.
    tell(format!("piece {}", unsafe { host::read(weir_str { data: piece.cast(), len }) }));
    CONTINUE
}

unsafe extern "C" fn told_finished(weir: Weir, exchange: Exchange, _: *mut c_void) {
    // SAFETY: the callback is under way.
    unsafe {
        let mut facts = weir_facts { size: size_of::<weir_facts>(), ..std::mem::zeroed() };
        ok(((*weir).facts)(exchange, &raw mut facts));
        tell(format!("finished {} {}", facts.status, host::read(facts.cluster)));
        let mut id = weir_filter_id::default();
        assert_eq!(((*weir).id)(exchange, &raw mut id), WEIR_NOT_HERE);
        assert_eq!(((*weir).random)(exchange, &raw mut id.engine), WEIR_NOT_HERE);
    }
}

#[test]
fn a_filter_is_made_told_of_all_and_forgotten() {
    let kind = Kind {
        data: 9 as *mut c_void,
        wants_bodies: 1,
        configure: Some(configure),
        forget: Some(forget),
        begin: Some(begin),
        end: Some(end),
        request_head: Some(told_head),
        request_body: Some(told_piece),
        request_end: Some(told_end),
        response_head: Some(told_head),
        response_body: Some(told_piece),
        response_end: Some(told_end),
        finished: Some(told_finished),
        ..Kind::default()
    };
    let refusal = Host::refusal(&kind, "a: wrong");
    assert!(refusal.contains("config:7:") && refusal.contains("typed_config: it is wrong"), "{refusal}");
    TOLD.lock().unwrap().clear();
    let mut host = Host::new(&kind, "a: 1");
    host.receive(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nin\r\n0\r\nx-t: 1\r\n\r\n");
    host.upstream();
    host.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nout");
    host.client();
    drop(host);
    let told = TOLD.lock().unwrap().join(", ");
    assert_eq!(
        told,
        "configure f {\"a\":1} 9, begin 5, head 2, piece in, end of message Ok(\"1\"), head 2, piece out, end of message Err(WEIR_NONE), \
         finished 200 up, end 2, forget 5"
    );
    let no_config = Host::refusal(&Kind::default(), "a: 1");
    assert!(no_config.contains("the filter f takes no config"), "{no_config}");
}

unsafe extern "C" fn unknown(_: Weir, _: Exchange, _: *mut c_void) -> u32 {
    77
}

unsafe extern "C" fn without_answer(_: Weir, _: Exchange, _: *mut c_void) -> u32 {
    RESPOND
}

unsafe extern "C" fn denies(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    // SAFETY: the callback is under way.
    unsafe {
        let mut answer = weir_answer { size: size_of::<weir_answer>(), ..std::mem::zeroed() };
        for status in [0, 101, 199, 600, u32::MAX] {
            answer.status = status;
            assert_eq!(((*weir).answer)(exchange, &raw const answer), WEIR_BAD_VALUE, "{status}");
        }
        answer.status = 403;
        let bad = [weir_ffi::memory::weir_header { name: text("a b"), value: text("") }];
        (answer.headers, answer.header_count) = (bad.as_ptr(), 1);
        assert_eq!(((*weir).answer)(exchange, &raw const answer), WEIR_BAD_FIELD);
        let good = [weir_ffi::memory::weir_header { name: text("x-why"), value: text("so") }];
        answer.headers = good.as_ptr();
        (answer.body, answer.details) = (text("no"), text("denied"));
        ok(((*weir).answer)(exchange, &raw const answer));
    }
    RESPOND
}

#[test]
fn what_it_says_is_done_and_what_is_no_verdict_is_caught() {
    for (head, status, rest) in [(unknown as host::HeadFn, "500", ""), (without_answer, "500", ""), (denies, "403", "no")] {
        let mut host = Host::new(&Kind { request_head: Some(head), ..Kind::default() }, "");
        host.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = host.client();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(&format!("\r\n\r\n{rest}")), "{answer}");
        assert!(rest.is_empty() || answer.contains("x-why: so\r\n"), "{answer}");
    }
}

static KEPT: Mutex<(usize, usize)> = Mutex::new((0, 0));

unsafe extern "C" fn keeps(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    let mut kept = KEPT.lock().unwrap();
    // SAFETY: the callback is under way; another is not.
    unsafe {
        if kept.0 != 0 {
            assert_eq!(get(weir, kept.0 as Exchange, REQUEST, ":path"), Err(WEIR_WRONG_HANDLE), "of the callback before");
        }
        assert_eq!(get(weir, ptr::null_mut(), REQUEST, ":path"), Err(WEIR_NULL_POINTER));
        assert_eq!(get(weir, 0x1234_5678 as Exchange, REQUEST, ":path"), Err(WEIR_WRONG_HANDLE));
        let (there, here) = (weir as usize, exchange as usize);
        let elsewhere = std::thread::spawn(move || get(there as Weir, here as Exchange, REQUEST, ":path")).join().unwrap();
        assert_eq!(elsewhere, Err(WEIR_WRONG_HANDLE), "on another thread");
    }
    *kept = (exchange as usize, kept.1 + 1);
    CONTINUE
}

#[test]
fn an_exchange_means_nothing_outside_its_callback() {
    let mut host = Host::new(&Kind { request_head: Some(keeps), response_head: Some(keeps), ..Kind::default() }, "");
    host.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    host.upstream();
    host.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    host.client();
    assert_eq!(KEPT.lock().unwrap().1, 2);
}

static OTHERS: Mutex<Vec<weir_filter_id>> = Mutex::new(Vec::new());

unsafe extern "C" fn pauses_for_another(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    let mut id = weir_filter_id::default();
    // SAFETY: the callback is under way.
    ok(unsafe { ((*weir).id)(exchange, &raw mut id) });
    OTHERS.lock().unwrap().push(id);
    PAUSE
}

static IDS: Mutex<Vec<weir_filter_id>> = Mutex::new(Vec::new());

unsafe extern "C" fn pauses(weir: Weir, exchange: Exchange, _: *mut c_void) -> u32 {
    let mut id = weir_filter_id::default();
    // SAFETY: the callback is under way.
    ok(unsafe { ((*weir).id)(exchange, &raw mut id) });
    IDS.lock().unwrap().push(id);
    PAUSE
}

unsafe extern "C" fn learns(weir: Weir, exchange: Exchange, _: *mut c_void, learned: *const u8, len: usize) -> u32 {
    // SAFETY: the callback is under way, with what was learned.
    unsafe {
        let learned = host::read(weir_str { data: learned.cast(), len });
        ok(set(weir, exchange, REQUEST, "x-learned", &learned));
    }
    CONTINUE
}

#[test]
fn another_thread_wakes_the_host() {
    let kind = Kind { request_head: Some(pauses_for_another), resumed: Some(learns), ..Kind::default() };
    let mut host = Host::new(&kind, "");
    host.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let id = OTHERS.lock().unwrap().pop().expect("it was asked for");
    // SAFETY: what is pointed to lives.
    let resume = move || ok(unsafe { weir_filter_resume(&raw const id, b"bob".as_ptr(), 3) });
    std::thread::spawn(resume).join().expect("it is told");
    assert_eq!(host.woken(), 1);
    assert!(!host.is_connecting(), "nothing happens before the host comes by");
    host.come_by();
    let sent = host.upstream();
    assert!(sent.contains("x-learned: bob\r\n"), "{sent}");
    drop(host);
    // SAFETY: what is pointed to lives.
    assert_eq!(unsafe { weir_filter_resume(&raw const id, ptr::null(), 0) }, WEIR_UNKNOWN_ID, "its engine is gone");
}

#[test]
fn a_paused_filter_is_resumed_once_and_a_replay_learns_the_same() {
    let kind = Kind { request_head: Some(pauses), resumed: Some(learns), ..Kind::default() };
    let mut host = Host::new(&kind, "");
    host.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!host.is_connecting());
    let id = IDS.lock().unwrap().pop().expect("it was asked for");
    // SAFETY: all that is pointed to lives.
    unsafe {
        let stranger = weir_filter_id { engine: u64::MAX, ..id };
        assert_eq!(weir_filter_resume(&raw const stranger, ptr::null(), 0), WEIR_UNKNOWN_ID);
        assert_eq!(weir_engine_resume(host.engine, &raw const stranger, ptr::null(), 0, 0), WEIR_UNKNOWN_ID);
        assert_eq!(weir_engine_resume(host.engine, ptr::null(), ptr::null(), 0, 0), WEIR_NULL_POINTER);
        let later = weir_filter_id { turn: 1, ..id };
        ok(weir_engine_resume(host.engine, &raw const later, b"late".as_ptr(), 4, 0));
        let other = weir_filter_id { exchange: u64::MAX, ..id };
        ok(weir_engine_resume(host.engine, &raw const other, b"odd".as_ptr(), 3, 0));
        assert!(!host.is_connecting());
        for _ in 0..2 {
            ok(weir_engine_resume(host.engine, &raw const id, b"ann".as_ptr(), 3, 0));
        }
    }
    let sent = host.upstream();
    assert!(sent.contains("x-learned: ann\r\n"), "{sent}");
    host.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    host.client();

    let (log, digest) = host.log();
    let mut replay = ptr::null_mut();
    // SAFETY: all that is pointed to lives.
    unsafe {
        assert_eq!(weir_replay_open(log.as_ptr(), log.len(), 0, &raw mut replay), WEIR_BAD_LOG, "without the filter");
        ok(weir_replay_open_with(host.filters, log.as_ptr(), log.len(), 0, &raw mut replay));
        while weir_replay_step(replay) == WEIR_OK {}
        let mut summary = weir_replay_summary { size: size_of::<weir_replay_summary>(), ..std::mem::zeroed() };
        ok(weir_replay_get_summary(replay, &raw mut summary));
        assert_eq!((summary.whole, summary.digest), (1, digest));
        ok(weir_replay_free(replay));
    }
}
