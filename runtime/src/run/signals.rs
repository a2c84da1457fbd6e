//! Signals, as orders to the primary.

use super::Order;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The signals that the process listens to.
pub(super) struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn register() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn forward(mut self, orders: mpsc::UnboundedSender<Order>) {
        loop {
            let order = tokio::select! {
                biased;
                _ = self.term.recv() => Order::Drain("SIGTERM"),
                _ = self.int.recv() => Order::Drain("SIGINT"),
                _ = self.hup.recv() => Order::Reload,
                _ = self.usr2.recv() => Order::WriteLogs,
            };
            if orders.send(order).is_err() {
                return;
            }
        }
    }
}
