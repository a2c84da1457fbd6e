//! What workers ask of the primary, and tell it.

use super::Primary;
use crate::command::{Command, Upcall};
use crate::net::Net;
use crate::resolver::Resolver;
use weir_core::cluster::{DnsError, Question, Resolved};
use weir_core::id::QueryId;

impl<N: Net + Send + Sync> Primary<N> {
    pub(super) fn upcall(&mut self, upcall: Upcall) {
        match upcall {
            Upcall::Nudge => self.tell(|| Command::Nudge),
            Upcall::Drained { cut } => {
                self.drained += 1;
                self.cut += cut;
            }
            Upcall::Crashed { worker, why } => {
                tracing::error!("worker {worker} has panicked: {why}; the proxy ends");
                self.crashed.get_or_insert(format!("worker {worker} has panicked: {why}"));
            }
            Upcall::Resolve { worker, generation, query, question } => self.resolve(worker, generation, query, question),
        }
    }

    fn resolve(&mut self, worker: usize, generation: u32, query: QueryId, question: Question) {
        if self.resolver.is_none() {
            self.resolver = Resolver::from_system().ok();
        }
        let (resolver, commands) = (self.resolver.clone(), self.workers[worker].commands.clone());
        tokio::task::spawn_local(async move {
            let result: Result<Resolved, DnsError> = match resolver {
                Some(resolver) => resolver.resolve(&question).await,
                None => Err(DnsError("there is no resolver".into())),
            };
            if let Err(error) = &result {
                tracing::warn!("{error}");
            }
            let _ = commands.send(Command::Resolved(generation, query, result));
        });
    }
}
