//! A handshake succeeds with those whom it should succeed with, ends in time, and is counted as what it was.

use super::stats::sum;
use super::{Check, Verdict};
use crate::event::{SECOND, Time};
use crate::observe::{Observation, Party, Shaken};
use crate::peer::ConnNo;
use crate::tls::Tls;
use crate::tls::actor::Misfit;
use crate::world::World;
use std::collections::BTreeMap;
use weir_core::stats::{Scope, Totals};
use weir_core::tls_info::TlsFault;

/// `connect_timeout` of all clusters.
const CONNECT: Time = SECOND;

/// The check.
#[derive(Debug)]
pub struct Handshakes {
    /// From a client's connection to the end of its handshake.
    timeout: Time,
    /// Under way, and by when they must have ended.
    open: BTreeMap<ConnNo, (Party, Time)>,
    /// What the engines were told, of clients and of hosts.
    told: [Told; 2],
}

#[derive(Debug, Default)]
struct Told {
    done: u64,
    resumed: u64,
    failed: [u64; TlsFault::ALL.len()],
}

/// Stats of failures, in the order of [`TlsFault::ALL`].
const FAILURES: [&str; TlsFault::ALL.len()] =
    ["ssl.connection_error", "ssl.fail_verify_no_cert", "ssl.fail_verify_error", "ssl.fail_verify_san", "ssl.fail_verify_cert_hash"];

impl Handshakes {
    /// In a world with this TLS.
    pub fn new(tls: &Tls) -> Handshakes {
        // The client hello has the time of the listener filters, the handshake that of the transport socket.
        let timeout = tls.listener.as_ref().map_or(0, |listener| listener.timeout * (1 + u64::from(listener.by_name)));
        Handshakes { timeout, open: BTreeMap::new(), told: Default::default() }
    }

    fn ended(&mut self, party: Party, how: Shaken) -> Verdict {
        let told = &mut self.told[usize::from(matches!(party, Party::Host { .. }))];
        match how {
            Shaken::Done { resumed } => {
                told.done += 1;
                told.resumed += u64::from(resumed);
            }
            Shaken::Failed(Some(fault)) => told.failed[fault as usize] += 1,
            Shaken::Failed(None) | Shaken::Refused | Shaken::Clear | Shaken::LetGo => {}
        }
        match is_right(party, how) {
            true => Ok(()),
            false => Err(format!("a handshake with {party:?} ended as {how:?}")),
        }
    }
}

/// Whether a handshake may end so. Any may break, or take too long.
fn is_right(party: Party, how: Shaken) -> bool {
    if matches!(how, Shaken::Failed(None) | Shaken::LetGo) {
        return true;
    }
    match party {
        Party::Client(None) => matches!(how, Shaken::Done { .. }),
        Party::Client(Some(Misfit::UnknownName)) => how == Shaken::Refused,
        Party::Client(Some(Misfit::Hangs)) => false,
        // Where chains are found by name, none is for it.
        Party::Client(Some(Misfit::ClearText)) => matches!(how, Shaken::Refused | Shaken::Failed(Some(TlsFault::Protocol))),
        Party::Client(Some(Misfit::NoCertificate)) => how == Shaken::Failed(Some(TlsFault::NoCertificate)),
        Party::Client(Some(Misfit::StrangeCertificate)) => how == Shaken::Failed(Some(TlsFault::Untrusted)),
        Party::Client(Some(Misfit::Distrusts)) => how == Shaken::Failed(Some(TlsFault::Protocol)),
        // A connection that breaks is told as a failure of the protocol.
        Party::Host { fit: true, .. } => matches!(how, Shaken::Done { .. } | Shaken::Failed(Some(TlsFault::Protocol))),
        Party::Host { fit: false, .. } => {
            matches!(how, Shaken::Failed(Some(TlsFault::Untrusted | TlsFault::Name | TlsFault::Protocol)))
        }
    }
}

impl Check for Handshakes {
    fn name(&self) -> &'static str {
        "handshakes"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        match what {
            Observation::Shaking(conn, party) => {
                let timeout = if matches!(party, Party::Host { .. }) { CONNECT } else { self.timeout };
                self.open.insert(*conn, (*party, world.now + timeout));
            }
            Observation::Shaken(conn, how) => {
                let Some((party, by)) = self.open.remove(conn) else { return Err("a handshake ended that had not begun".to_owned()) };
                if world.now > by {
                    return Err(format!("a handshake with {party:?} ended {} ns too late", world.now - by));
                }
                return self.ended(party, *how);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, world: &World) -> Verdict {
        if let Some((party, by)) = self.open.values().find(|(_, by)| *by < world.now) {
            return Err(format!("a handshake with {party:?} did not end, though its time was up at {by} ns"));
        }
        let mut totals = Totals::default();
        world.engines().for_each(|engine| engine.stats().add_to(&mut totals));
        for (scope, told) in [Scope::Listener, Scope::Cluster].into_iter().zip(&self.told) {
            let failed = FAILURES.into_iter().zip(told.failed);
            for (name, told) in [("ssl.handshake", told.done), ("ssl.session_reused", told.resumed)].into_iter().chain(failed) {
                let counted = sum(&totals, scope, name);
                if counted != told {
                    return Err(format!("{name} of {scope:?} is {counted}, there were {told}"));
                }
            }
        }
        Ok(())
    }
}
