//! A host refuses connections: its process is not there.

use super::Fault;
use std::net::SocketAddr;
use weir_core::rng::Rng;

/// Some host.
pub fn draw(hosts: &[SocketAddr], rng: &mut Rng) -> Fault {
    Fault::Refuse(hosts[rng.below(hosts.len() as u64) as usize])
}
