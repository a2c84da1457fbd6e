//! Which route a request takes, and what that makes of the request.
//!
//! The first route in order that matches wins, as in Envoy, but the routes of a virtual host are indexed by
//! path, so that only those whose prefix or path the request really has are looked at.

mod edits;
mod matcher;
mod rewrite;

pub use edits::{apply_request_edits, apply_response_edits};
pub use matcher::{field_matches, header_matches};
pub(crate) use rewrite::rewritten_host;
pub use rewrite::{redirect_location, rewrite_request};

use crate::config::{Route, RouteTable, VirtualHost};
use crate::http::RequestHead;
use crate::rng::Rng;

/// A route that was found: places in the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Place of the virtual host.
    pub host: usize,
    /// Place of the route in it.
    pub route: usize,
}

/// Finds the route for a request. `rng` decides `runtime_fraction`.
pub fn find(table: &RouteTable, head: &RequestHead, rng: &mut Rng) -> Option<Found> {
    let host = table.domains.find(head.authority(), table.ignore_port)?;
    let virtual_host = table.hosts.get(host)?;
    find_route(virtual_host, head, rng).map(|route| Found { host, route })
}

fn find_route(host: &VirtualHost, head: &RequestHead, rng: &mut Rng) -> Option<usize> {
    // One draw a request, made only if some route needs it, so that every route sees the same die.
    let mut die = None;
    host.index.first(head.path(), |route| {
        host.routes
            .get(route)
            .is_some_and(|r| matcher::route_matches(&r.on, head, || *die.get_or_insert_with(|| rng.below(1_000_000) as u32)))
    })
}

impl Found {
    /// The virtual host and route in `table`.
    pub fn get(self, table: &RouteTable) -> Option<(&VirtualHost, &Route)> {
        let host = table.hosts.get(self.host)?;
        Some((host, host.routes.get(self.route)?))
    }
}
