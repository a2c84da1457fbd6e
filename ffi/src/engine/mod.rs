//! Tier 1: an engine that the host feeds with its own bytes, threads and time.

mod inputs;
mod kept;
mod opening;
mod outputs;
mod resumed;
mod transmit;

pub use inputs::*;
pub use opening::*;
pub use outputs::*;
pub use transmit::*;

use crate::config::{ConfigObject, weir_config};
use crate::handle;
use crate::memory::{self, BytesObject, versioned, weir_bytes, weir_str};
use crate::result::{Fault, enter, weir_result};
use bytes::BytesMut;
use kept::Kept;
use resumed::Resumed;
use slotmap::SecondaryMap;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::os::raw::c_void;
use std::sync::Arc;
use weir_abi::filter::{Reachable, weir_filter_id};
use weir_core::Engine;
use weir_core::buffer::{Blocks, Outbox};
use weir_core::config::Config;
use weir_core::engine::log::RecordOptions;
use weir_core::filter::Resume;
use weir_core::id::ConnId;
use weir_core::rng::Seed;
use weir_core::shared::Shared;
use weir_core::stats::Totals;
use weir_core::time::{Instant, Wall};

/// Memory for received bytes is used again in blocks of so many.
const BLOCK: usize = 64 * 1024;

/// An engine: all that a proxy decides, without sockets, threads or a clock. It serves one thread at a time, any thread.
#[derive(Debug)]
pub struct weir_engine {
    _opaque: [u8; 0],
}

/// How an engine begins.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_engine_options {
    /// `sizeof(struct weir_engine_options)`, set by the host.
    pub size: usize,
    /// All that is drawn is drawn from this: the same seed and inputs decide the same.
    pub seed: u64,
    /// The host's monotonic clock, in nanoseconds from an origin of its choice.
    pub now: u64,
    /// The calendar, in nanoseconds since 1970: for `date` fields and access logs.
    pub wall: u64,
    /// Limits are shared with this engine and those that it shares with; NULL for limits of its own. If it is given, call
    /// `weir_engine_nudge` on all of them when one has `WEIR_ACTION_NUDGE`.
    pub shared_with: *const weir_engine,
    /// Not 0: record an input log from here on, see `weir_engine_recorded`.
    pub record: u32,
    /// Not 0: with the bytes of bodies, not only their lengths and digests.
    pub record_bodies: u32,
    /// Not 0: tell each decision about each exchange as `WEIR_EVENT_STEP`. It changes none of them.
    pub explain: u32,
    /// Called when a filter was resumed from elsewhere (`weir_filter_resume`, `weir_filter_host.resume`), on that thread: have
    /// `weir_engine_timeout` called soon, which lets the filter know. It must not call Weir. NULL if nobody is to be woken.
    pub wake: weir_wake_fn,
    /// Given to `wake`. It must live until the engine is freed.
    pub wake_data: *mut c_void,
}
versioned!(weir_engine_options, 72);

/// Wakes a host: see `weir_engine_options.wake`.
pub type weir_wake_fn = Option<unsafe extern "C" fn(data: *mut c_void)>;

#[derive(Debug)]
pub(crate) struct EngineObject {
    engine: Engine,
    shared: Arc<Shared>,
    config: Arc<Config>,
    /// The latest time that was told.
    now: Instant,
    blocks: Blocks,
    /// What received bytes are copied to.
    block: BytesMut,
    /// What was lent to the host to send, by connection.
    lent: SecondaryMap<ConnId, Outbox>,
    /// The host's own numbers for connections.
    data: SecondaryMap<ConnId, u64>,
    spare: Vec<Outbox>,
    /// Filters that were resumed from elsewhere.
    resumed: Arc<Resumed>,
    reachable: Reachable,
    /// What was received and not taken, of hosts that leave it to us.
    kept: SecondaryMap<ConnId, Kept>,
    /// Connections that became such, to be told.
    to_pause: VecDeque<ConnId>,
    /// What the texts of the last action point to.
    action: ActionTexts,
    /// What the text of the last event points to.
    event: Vec<u8>,
}

impl Drop for EngineObject {
    fn drop(&mut self) {
        self.resumed.end();
    }
}

impl EngineObject {
    /// Time goes on.
    fn at(&mut self, now: u64) -> Result<Instant, Fault> {
        let at = Instant::from_nanos(now);
        if at < self.now {
            let words = format_args!("`now` is {now}, which is before {} of an earlier call; is the clock monotonic?", self.now.as_nanos());
            return Err(Fault::new(weir_result::WEIR_TIME_REVERSED, words));
        }
        if at == Instant::NEVER {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "`now` is UINT64_MAX, which stands for never"));
        }
        self.now = at;
        Ok(at)
    }

    fn connection(&self, conn: u64) -> Result<ConnId, Fault> {
        let id = ConnId::from_u64(conn);
        match self.engine.has_connection(id) {
            true => Ok(id),
            false => Err(Fault::new(weir_result::WEIR_UNKNOWN_ID, format_args!("there is no connection {conn} (any more)"))),
        }
    }

    /// A filter that waits is told something.
    pub(crate) fn resume(&mut self, id: weir_filter_id, what: Resume, now: u64) -> Result<weir_result, Fault> {
        let now = self.at(now)?;
        if ![0, self.reachable.number()].contains(&id.engine) {
            return Err(Fault::new(weir_result::WEIR_UNKNOWN_ID, "`id` is of a filter of another engine: see weir_filter_resume"));
        }
        self.engine.handle_filter(id.id(), what, now);
        Ok(weir_result::WEIR_OK)
    }

    fn stats(&self) -> std::collections::BTreeMap<String, u64> {
        let mut totals = Totals::default();
        self.engine.stats().add_to(&mut totals);
        totals.named()
    }
}

pub(crate) fn with<R>(engine: *const weir_engine, work: impl FnOnce(&mut EngineObject) -> Result<R, Fault>) -> Result<R, Fault> {
    handle::with(engine as usize, work)
}

/// An engine that runs a config. Ask for actions at once: names may be to resolve.
///
/// Any thread. Free it with `weir_engine_free`. The config may be freed before it.
///
/// # Safety
/// `options` must be a struct of the size that it says, `out` valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_new(
    config: *const weir_config,
    options: *const weir_engine_options,
    out: *mut *mut weir_engine,
) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        // SAFETY: the caller answers for it.
        let options = unsafe { memory::read(options, "options")? };
        let config = handle::with::<ConfigObject, _>(config as usize, |object| Ok(Arc::clone(&object.config)))?;
        let shared = match options.shared_with.is_null() {
            true => Arc::default(),
            false => with(options.shared_with, |other| Ok(Arc::clone(&other.shared)))?,
        };
        let now = Instant::from_nanos(options.now);
        if now == Instant::NEVER {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, "`now` is UINT64_MAX, which stands for never"));
        }
        let wall = Wall::from_nanos(options.wall);
        let mut engine = Engine::new(Arc::clone(&config), Arc::clone(&shared), Seed(options.seed), now, wall);
        if options.record != 0 {
            let how = RecordOptions { bodies: options.record_bodies != 0, about: "an embedded engine".into() };
            engine.start_recording(&how, now);
        }
        if options.explain != 0 {
            engine.explain();
        }
        let resumed = Arc::new(Resumed::new(options.wake, options.wake_data));
        let reachable = Reachable::new({
            let resumed = Arc::clone(&resumed);
            move |filter, what| resumed.put(filter, what)
        });
        engine.set_number(reachable.number());
        let object = EngineObject {
            engine,
            resumed,
            reachable,
            shared,
            config,
            now,
            blocks: Blocks::new(BLOCK),
            block: BytesMut::new(),
            lent: SecondaryMap::new(),
            data: SecondaryMap::new(),
            spare: Vec::new(),
            kept: SecondaryMap::new(),
            to_pause: VecDeque::new(),
            action: ActionTexts::default(),
            event: Vec::new(),
        };
        // SAFETY: the caller answers for it.
        unsafe { memory::give(object, out)? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Frees an engine. NULL is allowed and does nothing. What it still had to send is dropped: drain it first.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_free(engine: *mut weir_engine) -> weir_result {
    memory::free::<EngineObject>(engine as usize)
}

/// The id of the listener called `name`: for `weir_engine_accept`.
///
/// # Safety
/// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_listener(engine: *const weir_engine, name: weir_str, out: *mut u64) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let name = unsafe { name.text("name")? };
        let found = with(engine, |object| Ok(object.engine.listener(name)))?;
        let Some(id) = found else {
            return Err(Fault::new(weir_result::WEIR_NO_LISTENER, format_args!("the config has no listener called `{name}`")));
        };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, id.to_u64(), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// Gives a connection a number (or pointer) of the host's own, which `weir_action.data` has from then on. 0 at first.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_set_data(engine: *mut weir_engine, conn: u64, data: u64) -> weir_result {
    enter(|| {
        with(engine, |object| {
            let id = object.connection(conn)?;
            object.data.insert(id, data);
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// A stat, by Envoy's name: `cluster.backend.upstream_rq_total`. Slow: it adds up all stats.
///
/// # Safety
/// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_stat(engine: *const weir_engine, name: weir_str, out: *mut u64) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let name = unsafe { name.text("name")? };
        let stats = with(engine, |object| Ok(object.stats()))?;
        let Some(value) = stats.get(name) else {
            return Err(Fault::new(weir_result::WEIR_NO_STAT, format_args!("there is no stat called `{name}`")));
        };
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, *value, "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// All counters and gauges, a line `name: value` each, as Envoy's `/stats` has them. Free them with `weir_bytes_free`.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_stats(engine: *const weir_engine, out: *mut *mut weir_bytes) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        let stats = with(engine, |object| Ok(object.stats()))?;
        let mut text = String::new();
        for (name, value) in stats {
            let _ = writeln!(text, "{name}: {value}");
        }
        // SAFETY: the caller answers for it.
        unsafe { memory::give(BytesObject::new(text.into_bytes()), out)? };
        Ok(weir_result::WEIR_OK)
    })
}

/// How much is under way.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_engine_state {
    /// `sizeof(struct weir_engine_state)`, set by the host.
    pub size: usize,
    /// Open connections of clients.
    pub clients: u64,
    /// Exchanges: requests that are not over.
    pub exchanges: u64,
    /// 1 once a drain of all has ended.
    pub drained: u32,
    /// Size of what was recorded, in bytes.
    pub recorded: u64,
    /// What was decided since recording began, as a number: the same for the same inputs.
    pub digest: u64,
}
versioned!(weir_engine_state, 48);

/// How much is under way.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_get_state(engine: *const weir_engine, out: *mut weir_engine_state) -> weir_result {
    enter(|| {
        memory::check_versioned(out, "out")?;
        let state = with(engine, |object| {
            Ok(weir_engine_state {
                clients: object.engine.downstream_connections() as u64,
                exchanges: object.engine.exchanges() as u64,
                drained: u32::from(object.engine.is_drained()),
                recorded: object.engine.recorded_len() as u64,
                digest: object.engine.digest().value(),
                ..memory::Versioned::fresh()
            })
        })?;
        // SAFETY: the caller answers for it.
        unsafe { memory::write(out, &state, "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// The input log so far: a file that `weir replay` and `weir_replay_open` take. `WEIR_NONE` if nothing is recorded.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_recorded(engine: *mut weir_engine, out: *mut *mut weir_bytes) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        let Some(log) = with(engine, |object| Ok(object.engine.recorded()))? else { return Ok(weir_result::WEIR_NONE) };
        // SAFETY: the caller answers for it.
        unsafe { memory::give(BytesObject::new(log.to_bytes().into()), out)? };
        Ok(weir_result::WEIR_OK)
    })
}
