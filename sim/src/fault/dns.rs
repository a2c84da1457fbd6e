//! DNS answers without one of the hosts, or, if there is no other, not at all.

use super::Fault;
use std::net::SocketAddr;
use weir_core::rng::Rng;

/// Some host.
pub fn draw(hosts: &[SocketAddr], rng: &mut Rng) -> Fault {
    Fault::Unnamed(hosts[rng.below(hosts.len() as u64) as usize])
}
