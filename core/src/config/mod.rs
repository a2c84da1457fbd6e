//! What the machines read: validated, immutable, shared by `Arc`.
//!
//! Nothing here is read from a file or the wire; [`v3`] builds it from Envoy's messages
//! and the machines never look at those. An exchange keeps the snapshot it started with.

mod access_log;
mod cluster;
mod domains;
mod http;
mod listener;
mod path_index;
mod retry;
mod route;
pub mod tls;
pub mod v3;

pub use access_log::{AccessLog, Comparison, LogFilter, LogFormat, LogSink};
pub use cluster::{Balance, Breakers, Cluster, Discovery, DnsFamily, EndpointAddress, HostPort, LbEndpoint, RetryBudget, UpstreamProtocol};
pub use domains::Domains;
pub use http::{ClientCert, Codec, ForwardClientCert, HttpManager, ServerHeader, UnderscoreAction, Upgrade};
pub use listener::{Bind, FilterChain, Inspection, Listener};
pub use path_index::PathIndex;
pub use retry::{RetryOn, RetryPolicy};
pub use route::{
    Action, AppendAction, ClusterChoice, Forward, HeaderEdit, HeaderEdits, HeaderMatch, HostRewrite, PathMatch, PathRewrite, QueryMatch,
    Redirect, Reply, Route, RouteMatch, RouteTable, TextMatch, ValueMatch, VirtualHost,
};
pub use tls::{DownstreamTls, UpstreamTls};

use crate::map::Map;
use std::net::SocketAddr;
use std::sync::Arc;

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Listeners in the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters by name, in the order of the file.
    pub clusters: Map<Arc<str>, Arc<Cluster>>,
    /// Files that access logs go to; an [`AccessLog`] names one by its place.
    pub sinks: Vec<LogSink>,
    /// Where the admin page listens.
    pub admin: Option<Admin>,
    /// `Node.id` and `Node.cluster`.
    pub node: Node,
    /// Most downstream connections over all listeners and workers.
    pub max_connections: u64,
    /// Host name for `%HOSTNAME%`; the driver fills it in.
    pub hostname: Arc<str>,
    /// What it was made of.
    pub source: Arc<Source>,
}

/// What a [`Config`] was made of: loading it again gives the same config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Name of the file, for diagnostics.
    pub file: Box<str>,
    /// The text, as it was written.
    pub text: Box<str>,
    /// Access-log files of the config before, which keep their places.
    pub sinks: Vec<LogSink>,
    /// Host name, where it was recorded.
    pub hostname: Arc<str>,
}

/// `Bootstrap.admin`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
}

/// `Bootstrap.node`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// `Node.id`.
    pub id: Arc<str>,
    /// `Node.cluster`.
    pub cluster: Arc<str>,
}
