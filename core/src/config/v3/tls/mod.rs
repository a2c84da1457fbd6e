//! `DownstreamTlsContext`, `UpstreamTlsContext` and what they are made of: [`common`] is what both directions have,
//! [`validation`] what peers must show, [`certificates`] what is ours. Called for every transport socket.

mod certificates;
mod common;
mod downstream;
mod upstream;
mod validation;

pub(super) use certificates::{Secrets, find_in_response, read_secret};
pub(super) use downstream::read_downstream;
pub(super) use upstream::read_upstream;

const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
