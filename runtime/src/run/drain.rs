//! The end of listeners, and of the process.

use super::Primary;
use crate::command::{Command, Drain};
use crate::net::Net;
use std::sync::Arc;
use std::time::Duration;

/// What connections that have begun get to end their handshake before their listening socket closes: a round trip
/// over half the globe.
const HANDSHAKE: Duration = Duration::from_millis(200);

/// What workers get to cut what is left.
const CUT: Duration = Duration::from_secs(2);

impl<N: Net + Send + Sync> Primary<N> {
    /// The first signal drains; the second ends at once.
    pub(super) async fn drain_on(&mut self, why: &str) {
        let time = if self.draining { Duration::ZERO } else { self.drain_time };
        match self.draining {
            false => tracing::info!("{why}: draining for at most {} s; a second signal ends at once", self.drain_time.as_secs()),
            true => tracing::warn!("{why} again: ending now"),
        }
        self.draining = true;
        self.state.set_draining();
        self.drain_listeners().await;
        self.tell(|| Command::Drain(Drain::Process(time)));
    }

    /// Cuts what is left, now, and waits until workers have told what that was.
    pub(crate) async fn cut(&mut self) {
        self.draining = true;
        self.state.set_draining();
        let names: Vec<Arc<str>> = std::mem::take(&mut self.listeners).into_keys().collect();
        for name in names {
            self.tell(|| Command::Unlisten(Arc::clone(&name)));
        }
        self.tell(|| Command::Drain(Drain::Process(Duration::ZERO)));
        let told = async {
            while self.drained < self.workers.len() && self.crashed.is_none() {
                let Some(upcall) = self.upcalls.recv().await else { return };
                self.upcall(upcall);
            }
        };
        let _ = tokio::time::timeout(CUT, told).await;
    }

    /// Connections whose handshake is under way when a listening socket closes would be reset: none begin any more,
    /// and those that have begun get the time to end it.
    pub(super) async fn quiesce(&self, listeners: &[Arc<str>]) {
        if !listeners.is_empty() {
            for name in listeners {
                self.tell(|| Command::RefuseNew(Arc::clone(name)));
            }
            tokio::time::sleep(HANDSHAKE).await;
        }
    }

    /// Closes every listener after taking what it has accepted.
    pub(super) async fn drain_listeners(&mut self) {
        let names: Vec<Arc<str>> = std::mem::take(&mut self.listeners).into_keys().collect();
        self.quiesce(&names).await;
        for name in names {
            self.tell(|| Command::Unlisten(Arc::clone(&name)));
            self.tell(|| Command::Drain(Drain::Listener(Arc::clone(&name))));
        }
    }
}
