//! What comes before a client's first byte. TLS is the host's: it shakes hands and says what came of it.

use super::{weir_engine, with};
use crate::memory::{self, versioned, weir_str};
use crate::result::{Fault, enter, weir_result};
use std::sync::Arc;
use weir_core::engine::Opening;
use weir_core::listener::Hello;
use weir_core::tls_info::{TlsFault, TlsInfo};

/// What a host has to do before it hands in a client's bytes.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_opening {
    /// Nothing.
    WEIR_OPENING_PLAIN = 0,
    /// A TLS handshake, then `weir_engine_secured` or `weir_engine_handshake_failed`. From then on hand in what was
    /// decrypted, and encrypt what is to be sent. A host without TLS closes the connection.
    WEIR_OPENING_TLS = 1,
    /// Look at the first bytes without taking them, then call `weir_engine_client_hello`.
    WEIR_OPENING_INSPECT = 2,
    /// Close it: no filter chain is for it. Its id means nothing any more.
    WEIR_OPENING_REFUSED = 3,
}

/// How a TLS handshake failed.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_tls_fault {
    /// The peer spoke no TLS, or no version or cipher that we have, or sent an alert.
    WEIR_TLS_PROTOCOL = 1,
    /// The client showed no certificate and must.
    WEIR_TLS_NO_CERTIFICATE = 2,
    /// The peer's certificate is not trusted, expired or revoked.
    WEIR_TLS_UNTRUSTED = 3,
    /// It has none of the names that it must have.
    WEIR_TLS_NAME = 4,
    /// It is none of those that are pinned.
    WEIR_TLS_PIN = 5,
}

/// What a TLS handshake came to. Fields may be empty.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_tls_info {
    /// `sizeof(struct weir_tls_info)`, set by the host.
    pub size: usize,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: weir_str,
    /// The cipher, by OpenSSL's name.
    pub cipher: weir_str,
    /// The protocol that was agreed on (ALPN): `h2` or `http/1.1`. It decides which HTTP is spoken.
    pub alpn: weir_str,
    /// The server that the client asked for (SNI).
    pub server_name: weir_str,
    /// Not 0: an earlier session was resumed.
    pub resumed: u32,
}
versioned!(weir_tls_info, 80);

/// # Safety
/// `info` must be NULL or of the size that it says, with texts that have the bytes that they say.
pub(super) unsafe fn tls_info(info: *const weir_tls_info) -> Result<Option<TlsInfo>, Fault> {
    if info.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller answers for it.
    unsafe {
        let info = memory::read(info, "tls")?;
        Ok(Some(TlsInfo {
            version: info.version.text("tls.version")?.into(),
            cipher: info.cipher.text("tls.cipher")?.into(),
            alpn: info.alpn.text("tls.alpn")?.as_bytes().into(),
            server_name: info.server_name.text("tls.server_name")?.into(),
            resumed: info.resumed != 0,
            ..TlsInfo::default()
        }))
    }
}

pub(super) fn fault(number: u32) -> Result<TlsFault, Fault> {
    let found = (number as usize).checked_sub(1).and_then(|at| TlsFault::ALL.get(at));
    let words = || Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("{number} is no TLS fault; see enum weir_tls_fault"));
    found.copied().ok_or_else(words)
}

fn number(opening: &Opening) -> u32 {
    let opening = match opening {
        Opening::Plain => weir_opening::WEIR_OPENING_PLAIN,
        Opening::Tls(_) => weir_opening::WEIR_OPENING_TLS,
        Opening::Inspect => weir_opening::WEIR_OPENING_INSPECT,
        Opening::Refused => weir_opening::WEIR_OPENING_REFUSED,
    };
    opening as u32
}

/// What has to be done before a client's bytes can be handed in: one of `weir_opening`.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_opening(engine: *const weir_engine, conn: u64, out: *mut u32) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        let opening = with(engine, |object| Ok(object.engine.opening(object.connection(conn)?)))?;
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, number(&opening), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// A client's first bytes are this: `tls` is not 0 if they are a TLS client hello, with the name that it asks for and the
/// protocols that it offers, best first. `out` gets what to do now: one of `weir_opening`.
///
/// # Safety
/// The texts must have the bytes that they say, `protocols` must be `count` texts, `out` valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_client_hello(
    engine: *mut weir_engine,
    conn: u64,
    tls: u32,
    server_name: weir_str,
    protocols: *const weir_str,
    count: usize,
    now: u64,
    out: *mut u32,
) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        // SAFETY: the caller answers for them.
        let (name, protocols) = unsafe {
            let texts = memory::slice(protocols, count, "protocols")?;
            let bytes = texts.iter().map(|text| text.text("protocols").map(str::as_bytes)).collect::<Result<Vec<_>, _>>()?;
            (server_name.text("server_name")?.to_ascii_lowercase(), bytes)
        };
        let hello = Hello { tls: tls != 0, server_name: Some(&*name).filter(|name| !name.is_empty()), alpn: &protocols };
        let opening = with(engine, |object| {
            let id = object.connection(conn)?;
            let now = object.at(now)?;
            Ok(object.engine.handle_client_hello(id, hello, now))
        })?;
        // SAFETY: the caller answers for it.
        unsafe { memory::put(out, number(&opening), "out")? };
        Ok(weir_result::WEIR_OK)
    })
}

/// A client's TLS handshake is done: its bytes can be handed in, decrypted.
///
/// # Safety
/// `tls` must be of the size that it says, with texts that have the bytes that they say, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_engine_secured(engine: *mut weir_engine, conn: u64, tls: *const weir_tls_info, now: u64) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for it.
        let info = unsafe { tls_info(tls)? }.ok_or_else(|| Fault::null("tls"))?;
        with(engine, |object| {
            let id = object.connection(conn)?;
            let now = object.at(now)?;
            object.engine.handle_secured(id, Arc::new(info), now);
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// A client's TLS handshake has failed, for one of `weir_tls_fault`. Close the connection: its id means nothing from now on.
#[unsafe(no_mangle)]
pub extern "C" fn weir_engine_handshake_failed(engine: *mut weir_engine, conn: u64, why: u32, now: u64) -> weir_result {
    enter(|| {
        let why = fault(why)?;
        with(engine, |object| {
            let id = object.connection(conn)?;
            let now = object.at(now)?;
            object.engine.handle_handshake_failed(id, why, now);
            Ok(weir_result::WEIR_OK)
        })
    })
}
