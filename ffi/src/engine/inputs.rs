//! What happened: news that the host brings in.

use super::{EngineObject, weir_engine, weir_tls_info, with};
use crate::address::weir_address;
use crate::config::{ConfigObject, following, weir_config};
use crate::handle;
use crate::memory::{self, weir_str};
use crate::result::{Fault, enter, weir_result};
use bytes::BytesMut;
use std::sync::Arc;
use weir_core::cluster::{DnsError, Resolved};
use weir_core::drain::DrainScope;
use weir_core::engine::{ConnectError, IoFault, Refused, Transport};
use weir_core::id::{ConnId, ListenerId, QueryId};
use weir_core::record::Addresses;
use weir_core::time::{Duration, Instant, Wall};

/// Why a connection is gone.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_close {
    /// The host closed it, as an action asked.
    WEIR_CLOSED = 0,
    /// The peer reset it, or reading or writing failed.
    WEIR_RESET = 1,
}

/// News without more to it: feeds the engine and is done.
fn feed(engine: *mut weir_engine, now: u64, feed: impl FnOnce(&mut EngineObject, Instant) -> Result<(), Fault>) -> weir_result {
    enter(|| {
        with(engine, |object| {
            let now = object.at(now)?;
            feed(object, now)
        })?;
        Ok(weir_result::WEIR_OK)
    })
}

/// # Safety
/// Both must be valid for reading, or NULL.
unsafe fn addresses(local: *const weir_address, remote: *const weir_address) -> Result<Addresses, Fault> {
    // SAFETY: the caller answers for them.
    let (local, remote) = unsafe { (memory::slice(local, 1, "local")?, memory::slice(remote, 1, "remote")?) };
    Ok(Addresses { local: local[0].socket("local")?, remote: remote[0].socket("remote")? })
}

/// A client has connected to a listener: `local` is our end, `remote` the client's. `conn` gets the connection's id.
/// Ask `weir_engine_opening` what comes before its first byte. Anything but `WEIR_OK` means: close it.
///
/// # Safety
/// `local` and `remote` must be valid for reading and `conn` for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_accept(
    engine: *mut weir_engine,
    listener: u64,
    local: *const weir_address,
    remote: *const weir_address,
    now: u64,
    conn: *mut u64,
) -> weir_result {
    enter(|| {
        memory::check_out(conn, "conn")?;
        // SAFETY: the caller answers for them.
        let addresses = unsafe { addresses(local, remote)? };
        let accepted = with(engine, |object| {
            let now = object.at(now)?;
            Ok(object.engine.handle_accept(ListenerId::from_u64(listener), addresses, now))
        })?;
        let id = accepted.map_err(|refused| {
            let result = match refused {
                Refused::UnknownListener => weir_result::WEIR_NO_LISTENER,
                Refused::ListenerLimit => weir_result::WEIR_LISTENER_LIMIT,
                Refused::GlobalLimit => weir_result::WEIR_GLOBAL_LIMIT,
                Refused::NoFilterChain => weir_result::WEIR_NO_FILTER_CHAIN,
            };
            Fault::new(result, refused)
        })?;
        // SAFETY: the caller answers for it.
        unsafe { memory::put(conn, id.to_u64(), "conn")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// A connection that `WEIR_ACTION_CONNECT` asked for is there. `tls` is what the handshake came to, if the action asked for
/// one, and NULL otherwise.
///
/// # Safety
/// The pointers must be valid for reading, or NULL; `tls` of the size that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_connected(
    engine: *mut weir_engine,
    conn: u64,
    local: *const weir_address,
    remote: *const weir_address,
    tls: *const weir_tls_info,
    now: u64,
) -> weir_result {
    feed(engine, now, |object, now| {
        let id = object.connection(conn)?;
        // SAFETY: the caller answers for them.
        let (addresses, tls) = unsafe { (addresses(local, remote)?, super::opening::tls_info(tls)?) };
        object.engine.handle_connected(id, Ok(Transport { addresses, tls: tls.map(Arc::new) }), now);
        Ok(())
    })
}

/// A connection that `WEIR_ACTION_CONNECT` asked for could not be made. `reason` goes to access logs. If it is the TLS
/// handshake that failed, `tls_fault` is one of `weir_tls_fault`; 0 otherwise. The id means nothing from now on.
///
/// # Safety
/// `reason` must have the bytes that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_connect_failed(
    engine: *mut weir_engine,
    conn: u64,
    reason: weir_str,
    tls_fault: u32,
    now: u64,
) -> weir_result {
    feed(engine, now, |object, now| {
        let id = object.connection(conn)?;
        // SAFETY: the caller answers for it.
        let text = unsafe { reason.text("reason")? };
        let tls = if tls_fault == 0 { None } else { Some(super::opening::fault(tls_fault)?) };
        object.engine.handle_connected(id, Err(ConnectError { text: text.into(), tls }), now);
        Ok(())
    })
}

/// Bytes have arrived. `taken` gets how many of them the engine took. The rest is back-pressure: keep it, stop reading,
/// and offer it again when `WEIR_ACTION_READ` comes. If `taken` is NULL, the rest is kept for the host, who is told with
/// `WEIR_ACTION_PAUSE` to stop reading: the simple way, for a copy of what is left.
///
/// The bytes are copied once; `data` is the host's again when the call returns.
///
/// # Safety
/// `data` must have `len` bytes, and `taken` be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_recv(
    engine: *mut weir_engine,
    conn: u64,
    data: *const u8,
    len: usize,
    taken: *mut usize,
    now: u64,
) -> weir_result {
    enter(|| {
        if !taken.is_null() {
            memory::check_out(taken, "taken")?;
        }
        // SAFETY: the caller answers for it.
        let data = unsafe { memory::slice(data, len, "data")? };
        let count = with(engine, |object| {
            let id = object.connection(conn)?;
            let now = object.at(now)?;
            if taken.is_null() || object.kept.contains_key(id) {
                object.recv_all(id, data, now);
                return Ok(data.len());
            }
            Ok(data.len() - object.recv(id, data, now).len())
        })?;
        if !taken.is_null() {
            // SAFETY: the caller answers for it.
            unsafe { memory::put(taken, count, "taken")? };
        }
        Ok(weir_result::WEIR_OK)
    })
}

impl EngineObject {
    /// Feeds bytes; answers what is left.
    pub(super) fn recv(&mut self, id: ConnId, data: &[u8], now: Instant) -> BytesMut {
        let mut block = std::mem::take(&mut self.block);
        if !(block.capacity() >= data.len() || (block.capacity() > 0 && block.try_reclaim(data.len()))) {
            self.blocks.put(block);
            block = self.blocks.take();
        }
        block.extend_from_slice(data);
        let mut input = block.split();
        self.block = block;
        self.engine.handle_recv(id, &mut input, now);
        input
    }
}

/// The peer has sent its last byte, and the engine has taken all that came before, or it is kept (`weir_engine_recv`). Bytes can
/// still be sent to it.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_eof(engine: *mut weir_engine, conn: u64, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        let id = object.connection(conn)?;
        object.recv_eof(id, now);
        Ok(())
    })
}

/// The connection is gone: it failed (`WEIR_RESET`), or was closed as `WEIR_ACTION_CLOSE` asked (`WEIR_CLOSED`). Its id means
/// nothing from now on, and what was lent to be sent on it is taken back.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_closed(engine: *mut weir_engine, conn: u64, why: u32, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        let why = match why {
            0 => IoFault::Closed,
            1 => IoFault::Reset,
            _ => return Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`why` is {why}; see enum weir_close"))),
        };
        let id = object.connection(conn)?;
        object.forget(id);
        object.engine.handle_closed(id, why, now);
        Ok(())
    })
}

/// The name that `WEIR_ACTION_RESOLVE` asked for has these addresses (their ports do not matter), which are good for `ttl`
/// nanoseconds; 0 if the answer does not say how long.
///
/// # Safety
/// `found` must have `count` addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_resolved(
    engine: *mut weir_engine,
    query: u64,
    found: *const weir_address,
    count: usize,
    ttl: u64,
    now: u64,
) -> weir_result {
    feed(engine, now, |object, now| {
        // SAFETY: the caller answers for it.
        let found = unsafe { memory::slice(found, count, "found")? };
        let addresses = found.iter().map(|address| address.ip("found")).collect::<Result<_, _>>()?;
        let ttl = (ttl > 0).then(|| Duration::from_nanos(ttl));
        let id = object.query(query)?;
        object.engine.handle_resolved(id, Ok(Resolved { addresses, ttl }), now);
        Ok(())
    })
}

/// The name that `WEIR_ACTION_RESOLVE` asked for could not be resolved. It is asked for again later.
///
/// # Safety
/// `reason` must have the bytes that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_resolve_failed(engine: *mut weir_engine, query: u64, reason: weir_str, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        // SAFETY: the caller answers for it.
        let reason = unsafe { reason.text("reason")? };
        let id = object.query(query)?;
        object.engine.handle_resolved(id, Err(DnsError(reason.into())), now);
        Ok(())
    })
}

impl EngineObject {
    fn query(&self, query: u64) -> Result<QueryId, Fault> {
        let id = QueryId::from_u64(query);
        match self.engine.has_query(id) {
            true => Ok(id),
            false => Err(Fault::new(weir_result::WEIR_UNKNOWN_ID, format_args!("there is no query {query} (any more)"))),
        }
    }
}

/// There is a new config. Exchanges under way keep the one that they began with; listeners that left drain.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_set_config(engine: *mut weir_engine, config: *const weir_config, now: u64) -> weir_result {
    enter(|| {
        // Before the engine is in use: a handle that is the engine's is another's then, not a busy one.
        let (config, filters) = handle::with::<ConfigObject, _>(config as usize, |object| Ok(object.parts()))?;
        with(engine, |object| {
            let now = object.at(now)?;
            let config = following(config, &filters, &object.config.sinks);
            object.config = Arc::clone(&config);
            object.engine.handle_config(config, now);
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Everything is to be drained: accept no more, and go on until `WEIR_EVENT_DRAINED`. At `deadline` what is left is cut.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_drain(engine: *mut weir_engine, deadline: u64, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        object.engine.handle_drain(DrainScope::Process { deadline: Instant::from_nanos(deadline) }, now);
        Ok(())
    })
}

/// One listener is to be drained. `WEIR_NO_LISTENER` if it is gone already.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_drain_listener(engine: *mut weir_engine, listener: u64, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        let id = ListenerId::from_u64(listener);
        if !object.engine.has_listener(id) {
            return Err(Fault::new(weir_result::WEIR_NO_LISTENER, format_args!("there is no listener {listener} (any more)")));
        }
        object.engine.handle_drain(DrainScope::Listener(id), now);
        Ok(())
    })
}

/// Time has passed. Early and needless calls change nothing. Filters that were resumed from elsewhere go on.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_timeout(engine: *mut weir_engine, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        while let Some((filter, what)) = object.resumed.take() {
            object.engine.handle_filter(filter, what, now);
        }
        object.engine.handle_timeout(now);
        Ok(())
    })
}

/// The calendar shows `wall`, in nanoseconds since 1970. Tell it now and then: clocks are set and drift.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_set_wall(engine: *mut weir_engine, wall: u64, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        object.engine.handle_wall(Wall::from_nanos(wall), now);
        Ok(())
    })
}

/// An engine that limits are shared with has `WEIR_ACTION_NUDGE`: look whether there is room now. Also for that engine
/// itself.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_nudge(engine: *mut weir_engine, now: u64) -> weir_result {
    feed(engine, now, |object, now| {
        object.engine.handle_nudge(now);
        Ok(())
    })
}
