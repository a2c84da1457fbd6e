//! Virtual hosts, routes and what they do, as data. [`router`](crate::router) matches them.

use super::RetryPolicy;
use crate::format::Template;
use crate::time::Duration;
use bytes::Bytes;
use regex::bytes::Regex;
use std::sync::Arc;

/// `RouteConfiguration`, compiled for matching.
#[derive(Clone, Debug)]
pub struct RouteTable {
    /// Its name.
    pub name: Arc<str>,
    /// Virtual hosts in the order of the config.
    pub hosts: Vec<VirtualHost>,
    /// Header edits for every route.
    pub edits: HeaderEdits,
    /// Whether the most specific edits are applied last (`most_specific_header_mutations_wins`).
    pub most_specific_wins: bool,
    /// `ignore_port_in_host_matching`.
    pub ignore_port: bool,
    /// How a Host finds its virtual host.
    pub domains: super::Domains,
}

/// `VirtualHost`.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: Arc<str>,
    /// Routes in order; the first that matches wins.
    pub routes: Vec<Route>,
    /// How a path finds its candidates.
    pub index: super::PathIndex,
    /// Header edits for every route here.
    pub edits: HeaderEdits,
    /// Send `x-envoy-attempt-count` upstream.
    pub attempt_count_in_request: bool,
    /// Answer with `x-envoy-attempt-count`.
    pub attempt_count_in_response: bool,
}

/// `Route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub on: RouteMatch,
    /// What it does with them.
    pub action: Action,
    /// Header edits.
    pub edits: HeaderEdits,
}

/// `RouteMatch`.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// Whether the path's case counts.
    pub case_sensitive: bool,
    /// All of these headers.
    pub headers: Vec<HeaderMatch>,
    /// All of these query parameters.
    pub query: Vec<QueryMatch>,
    /// Share of requests, in millionths (`runtime_fraction`); `None` is all.
    pub fraction: Option<u32>,
    /// gRPC requests only.
    pub grpc: bool,
}

impl RouteMatch {
    /// Whether the path alone decides.
    pub fn is_path_only(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty() && self.fraction.is_none() && !self.grpc
    }
}

/// The path specifier of a route.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The path starts with it.
    Prefix(Arc<str>),
    /// The path is it.
    Exact(Arc<str>),
    /// The path is it, or continues with `/`.
    SeparatedPrefix(Arc<str>),
    /// The whole path matches.
    Regex(Regex),
    /// CONNECT requests.
    Connect,
}

/// How a text is matched (`StringMatcher`).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum TextMatch {
    Exact { text: Arc<str>, ignore_case: bool },
    Prefix { text: Arc<str>, ignore_case: bool },
    Suffix { text: Arc<str>, ignore_case: bool },
    Contains { text: Arc<str>, ignore_case: bool },
    Regex(Regex),
}

impl TextMatch {
    /// Whether a text fits.
    pub fn matches(&self, value: &[u8]) -> bool {
        let equal = |a: &[u8], b: &str, ignore_case: bool| match ignore_case {
            true => a.eq_ignore_ascii_case(b.as_bytes()),
            false => a == b.as_bytes(),
        };
        match self {
            TextMatch::Exact { text, ignore_case } => equal(value, text, *ignore_case),
            TextMatch::Prefix { text, ignore_case } => value.get(..text.len()).is_some_and(|start| equal(start, text, *ignore_case)),
            TextMatch::Suffix { text, ignore_case } => {
                value.len().checked_sub(text.len()).is_some_and(|from| equal(&value[from..], text, *ignore_case))
            }
            TextMatch::Contains { text, ignore_case: false } => memchr::memmem::find(value, text.as_bytes()).is_some(),
            TextMatch::Contains { text, ignore_case: true } => {
                memchr::memmem::find(&value.to_ascii_lowercase(), text.to_ascii_lowercase().as_bytes()).is_some()
            }
            TextMatch::Regex(regex) => regex.is_match(value),
        }
    }
}

/// What a header's value must be.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// It matches the text.
    Text(TextMatch),
    /// It is a number in `[start, end)`.
    Range(i64, i64),
    /// It is there (true), or is not (false).
    Present(bool),
}

/// `HeaderMatcher`.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// Name of the header, or of a pseudo-header.
    pub name: Arc<str>,
    /// What its value must be.
    pub value: ValueMatch,
    /// The opposite.
    pub invert: bool,
    /// A missing header counts as an empty one.
    pub missing_as_empty: bool,
}

/// `QueryParameterMatcher`.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Name of the parameter.
    pub name: Arc<str>,
    /// What its value must be; `None` means that it must be there.
    pub value: Option<TextMatch>,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends the request to a cluster.
    Forward(Box<Forward>),
    /// Sends the client elsewhere.
    Redirect(Box<Redirect>),
    /// Answers.
    Reply(Reply),
}

/// `DirectResponseAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status, 200 to 599.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

/// `RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Which cluster.
    pub cluster: ClusterChoice,
    /// Status if there is no such cluster.
    pub cluster_not_found: u16,
    /// Time from the end of the request to the end of the response.
    pub timeout: Option<Duration>,
    /// Time without a byte; overrides the connection manager's. `Some(None)` turns it off.
    pub idle_timeout: Option<Option<Duration>>,
    /// Time that the exchange may take; overrides the connection manager's. `Some(None)` turns it off.
    pub max_stream_duration: Option<Option<Duration>>,
    /// Retries; `None` is none.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Path rewrite.
    pub path: Option<PathRewrite>,
    /// Host rewrite.
    pub host: Option<HostRewrite>,
    /// Keep the old host in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// Requests of high priority have breakers of their own.
    pub high_priority: bool,
    /// Upgrades for this route, which override the connection manager's.
    pub upgrades: Vec<super::Upgrade>,
    /// CONNECT ends here: the upstream gets the bytes alone (`upgrade_configs.connect_config`).
    pub terminates_connect: bool,
    /// `grpc-timeout` of the request limits how long it may take, up to this (zero: no limit of ours), less the offset.
    pub grpc_timeout: Option<(Duration, Duration)>,
    /// Request bytes kept for a retry.
    pub replay_limit: Option<usize>,
}

/// How a route names its cluster.
#[derive(Clone, Debug)]
pub enum ClusterChoice {
    /// By name.
    Named(Arc<str>),
    /// By the value of a request header.
    Header(Arc<str>),
    /// By weight.
    Weighted {
        /// Clusters with their weights and edits.
        clusters: Vec<(Arc<str>, u32, HeaderEdits)>,
        /// Sum of the weights.
        total: u32,
    },
}

/// How the path is rewritten.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// The matched prefix (or path) becomes this.
    Prefix(Arc<str>),
    /// What matches becomes this; `\1` stands for a group.
    Regex(Regex, Arc<str>),
    /// The whole path, from a template.
    Template(Template),
}

/// How Host is rewritten.
#[derive(Clone, Debug)]
pub enum HostRewrite {
    /// It becomes this.
    Literal(Arc<str>),
    /// It becomes the endpoint's host name.
    Endpoint,
    /// It becomes this header's value.
    Header(Arc<str>),
}

/// `RedirectAction`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `https`, or this scheme.
    pub scheme: Option<Arc<str>>,
    /// Host.
    pub host: Option<Arc<str>>,
    /// Port.
    pub port: Option<u16>,
    /// Path.
    pub path: Option<PathRewrite>,
    /// Drop the query.
    pub strip_query: bool,
}

/// Header edits of one level.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// On requests that go upstream.
    pub request: Vec<HeaderEdit>,
    /// On responses.
    pub response: Vec<HeaderEdit>,
}

/// One header edit.
#[derive(Clone, Debug)]
pub enum HeaderEdit {
    /// Removes every field of the name.
    Remove(Arc<str>),
    /// Adds or sets one.
    Add {
        /// Name.
        name: Arc<str>,
        /// Value.
        value: Template,
        /// What happens to fields of that name.
        append: AppendAction,
        /// Whether an empty value is sent.
        keep_empty: bool,
    },
}

/// `HeaderAppendAction`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum AppendAction {
    /// One more field.
    #[default]
    Append,
    /// Only if there is none.
    AddIfAbsent,
    /// In place of all others, or new.
    OverwriteOrAdd,
    /// In place of all others, only if there is one.
    OverwriteIfExists,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}
