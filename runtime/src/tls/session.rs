//! Resuming sessions: tickets and a cache that forget after `session_timeout`.
//!
//! When a session began is kept inside what rustls encrypts or stores, so that nobody can make one younger.

use super::tickets::Shared;
use crate::environment::Environment;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::time_provider::TimeProvider;
use std::sync::Arc;
use std::time::Duration;
use weir_core::limit;

/// Tickets that are good for a time.
#[derive(Debug)]
struct Tickets {
    inner: Arc<dyn ProducesTickets>,
    life: Life,
}

/// Stored sessions that are good for a time.
#[derive(Debug)]
struct Cache {
    inner: Arc<ServerSessionMemoryCache>,
    life: Life,
}

#[derive(Debug)]
struct Life {
    seconds: u64,
    time: Arc<dyn TimeProvider>,
}

impl Life {
    fn now(&self) -> Option<u64> {
        self.time.current_time().map(|now| now.as_secs())
    }

    fn stamp(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        Some([bytes, &self.now()?.to_le_bytes()].concat())
    }

    fn open(&self, mut stamped: Vec<u8>) -> Option<Vec<u8>> {
        let began = stamped.split_off(stamped.len().checked_sub(8)?);
        let age = self.now()?.checked_sub(u64::from_le_bytes(began.try_into().ok()?))?;
        (age <= self.seconds).then_some(stamped)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        // RFC 8446 section 4.6.1: a week at the most.
        u32::try_from(self.life.seconds.min(604_800)).unwrap_or(604_800)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&self.life.stamp(plain)?)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.life.open(self.inner.decrypt(cipher)?)
    }
}

impl StoresServerSessions for Cache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.life.stamp(&value).is_some_and(|stamped| self.inner.put(key, stamped))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.life.open(self.inner.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.life.open(self.inner.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

/// Tickets that last for `life`, under keys of their own if there are none.
pub fn tickets(life: Duration, keys: Option<Shared>, environment: &Environment) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let life = Life { seconds: life.as_secs(), time: Arc::clone(&environment.time) };
    let inner = match keys {
        Some(keys) => Arc::new(keys),
        None => (environment.tickets)(&environment.provider)?,
    };
    Ok(Arc::new(Tickets { inner, life }))
}

/// A cache of sessions that last for `life`, or none.
pub fn cache(on: bool, life: Duration, environment: &Environment) -> Arc<dyn StoresServerSessions> {
    if !on {
        return Arc::new(NoServerSessionStorage {});
    }
    let life = Life { seconds: life.as_secs(), time: Arc::clone(&environment.time) };
    Arc::new(Cache { inner: ServerSessionMemoryCache::new(limit::TLS_SESSIONS), life })
}
