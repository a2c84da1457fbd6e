//! The world file: who asks, how hosts and links behave, what goes wrong and when, as TOML.

use super::law::{Law, Span};
use crate::event::{MS, SECOND};
use crate::request::Method;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use toml::Spanned;

/// What is around a config.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldFile {
    /// How long clients ask.
    pub duration: Span,
    /// Workers.
    pub workers: u32,
    /// Who asks; if nobody is named, ten clients ask for every route of the first listener in turn.
    pub clients: Vec<Clients>,
    /// How hosts of clusters behave, by the cluster's name; `default` is for all others.
    pub upstreams: BTreeMap<Spanned<String>, Upstream>,
    /// How links treat bytes.
    pub link: LinkLaw,
    /// What DNS knows; other names have one address each.
    pub dns: BTreeMap<String, Vec<IpAddr>>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The process drains.
    pub drain: Option<Drain>,
    /// Another config takes effect.
    pub update: Vec<Update>,
}

impl Default for WorldFile {
    fn default() -> Self {
        WorldFile {
            duration: Span(10 * SECOND),
            workers: 2,
            clients: Vec::new(),
            upstreams: BTreeMap::new(),
            link: LinkLaw::default(),
            dns: BTreeMap::new(),
            faults: Vec::new(),
            drain: None,
            update: Vec::new(),
        }
    }
}

/// Bytes of a body, at most: it is made in one piece.
const LARGEST: u64 = 64 << 20;
/// Clients of one kind, at most.
const MOST_CLIENTS: u32 = 100_000;

/// Clients that are alike. Each has one connection and asks one request after the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// Name of the listener; the first if there is none.
    pub listener: Option<Spanned<String>>,
    /// When they begin.
    #[serde(default)]
    pub start: Span,
    /// From an answer to the next request.
    #[serde(default = "think")]
    pub think: Law,
    /// `Host` of their requests.
    #[serde(default = "host")]
    pub host: String,
    /// More headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What they ask, each as likely as the others: method, target and, if there is one, the size of the body.
    pub requests: Vec<Asked>,
}

fn one() -> u32 {
    1
}

fn think() -> Law {
    Law::Even(0, 10 * MS)
}

fn host() -> String {
    "localhost".to_owned()
}

/// A request that clients ask: `POST /upload 10000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Method.
    pub method: String,
    /// Target.
    pub target: String,
    /// Bytes of the body.
    pub body: u64,
}

impl Asked {
    /// Whether the method may be sent twice, in the words of the checks.
    pub fn kind(&self) -> Method {
        match &*self.method {
            "HEAD" => Method::Head,
            "GET" | "OPTIONS" | "TRACE" => Method::Get,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            _ => Method::Post,
        }
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Asked, D::Error> {
        let text = String::deserialize(deserializer)?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let body = words.get(2).map_or(Ok(0), |size| size.parse().map_err(|_| ()));
        match (&words[..], body) {
            (_, Ok(body)) if body > LARGEST => Err(de::Error::custom(format!("`{text}`: the body has at most {LARGEST} bytes"))),
            ([method, target, ..], Ok(body)) if words.len() <= 3 && target.starts_with('/') && is_token(method) => {
                Ok(Asked { method: (*method).to_owned(), target: (*target).to_owned(), body })
            }
            _ => Err(de::Error::custom(format!(
                "`{text}` is not a request: write a method, a path and perhaps the size of the body, as in `POST /upload 10000`"
            ))),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// How a host behaves. Percentages add up to at most 100; what is left is answered well.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// From the end of a request to its answer.
    pub latency: Law,
    /// Bytes of its answers: from and to.
    pub body: (u64, u64),
    /// Status of its good answers.
    pub status: u16,
    /// Percent of requests answered with `error_status`.
    pub errors: f64,
    /// Status of its bad answers.
    pub error_status: u16,
    /// Percent of requests for which the connection is reset.
    pub resets: f64,
    /// Percent of requests that are never answered.
    pub hangs: f64,
    /// Percent of answers after which the connection is closed without a word.
    pub closes: f64,
}

impl Default for Upstream {
    fn default() -> Self {
        Upstream {
            latency: Law::Even(MS, 5 * MS),
            body: (0, 2_000),
            status: 200,
            errors: 0.0,
            error_status: 503,
            resets: 0.0,
            hangs: 0.0,
            closes: 0.0,
        }
    }
}

/// How links treat bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkLaw {
    /// From one end to the other; not exponential.
    pub latency: Spanned<Law>,
    /// Percent of pieces that are cut in two.
    pub cut: u32,
}

impl Default for LinkLaw {
    fn default() -> Self {
        LinkLaw { latency: Spanned::new(0..0, Law::Even(MS / 10, MS / 2)), cut: 0 }
    }
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub at: Span,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// What it is.
    pub kind: Kind,
    /// Name of the cluster whose hosts it befalls; all if there is none.
    pub cluster: Option<Spanned<String>>,
    /// Of those only this one, by its place in the cluster from zero.
    pub host: Option<usize>,
}

/// What can go wrong.
#[derive(Copy, Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Connections are refused.
    Refuse,
    /// Connections are not answered.
    Blackhole,
    /// DNS forgets the hosts.
    Dns,
    /// All links are slow and uneven.
    Storm,
}

/// The process drains.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// When.
    pub at: Span,
    /// How long it may take.
    #[serde(default = "within")]
    pub within: Span,
}

fn within() -> Span {
    Span(600 * SECOND)
}

/// Another config takes effect.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// When.
    pub at: Span,
    /// Its file, seen from the folder of the world file.
    pub config: Spanned<String>,
}

/// Where something in a file is wrong, and what: `file:line:column: what`.
pub fn fault_at(file: &str, text: &str, span: std::ops::Range<usize>, what: impl std::fmt::Display) -> String {
    let before = &text[..span.start.min(text.len())];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{file}:{line}:{column}: {what}")
}

impl WorldFile {
    /// Reads a world file.
    ///
    /// # Errors
    /// Says where it is wrong, and what would be right.
    pub fn parse(file: &str, text: &str) -> Result<WorldFile, String> {
        let world: WorldFile = toml::from_str(text).map_err(|error| fault_at(file, text, error.span().unwrap_or(0..0), error.message()))?;
        if world.workers == 0 || world.workers > 64 {
            return Err(format!("{file}: workers: {} is not from 1 to 64", world.workers));
        }
        if world.duration.0 == 0 {
            return Err(format!("{file}: duration: a world needs some time"));
        }
        for (name, upstream) in &world.upstreams {
            let shares = [upstream.errors, upstream.resets, upstream.hangs, upstream.closes];
            if shares.iter().any(|share| !(0.0..=100.0).contains(share)) || shares.iter().sum::<f64>() > 100.0 {
                let what = "errors, resets, hangs and closes are percentages and add up to at most 100";
                return Err(fault_at(file, text, name.span(), what));
            }
            if [upstream.status, upstream.error_status].iter().any(|status| !(200..=599).contains(status)) {
                return Err(fault_at(file, text, name.span(), "status, error_status: a final answer has a status from 200 to 599"));
            }
            if upstream.body.1 > LARGEST {
                return Err(fault_at(file, text, name.span(), format!("body: at most {LARGEST} bytes")));
            }
            if upstream.body.0 > upstream.body.1 {
                return Err(fault_at(file, text, name.span(), "body: the smallest size is larger than the largest"));
            }
        }
        let shortest = match world.link.latency.get_ref() {
            Law::Even(from, _) | Law::Exponential(from) => *from,
        };
        // Where nothing takes any time, time does not pass.
        if shortest < 1_000 {
            return Err(fault_at(file, text, world.link.latency.span(), "links take some time: their latency is at least 1us"));
        }
        if world.link.cut > 100 {
            return Err(format!("{file}: link.cut: {} is not a percentage, from 0 to 100", world.link.cut));
        }
        if world.link.latency.get_ref().longest().is_none() {
            return Err(fault_at(file, text, world.link.latency.span(), "the latency of links has bounds: write it as `1ms..5ms`"));
        }
        for Clients { count, host, headers, .. } in &world.clients {
            if *count > MOST_CLIENTS {
                return Err(format!("{file}: clients.count: {count} is more than {MOST_CLIENTS}"));
            }
            let words = headers.iter().flat_map(|(name, value)| [name, value]).chain([host]);
            if let Some(word) = words.into_iter().find(|word| word.is_empty() || word.contains(['\r', '\n'])) {
                return Err(format!("{file}: clients: `{}` is no name and no value of a header", word.escape_debug()));
            }
        }
        if let Some(clients) = world.clients.iter().find(|clients| clients.requests.is_empty()) {
            let span = clients.listener.as_ref().map_or(0..0, Spanned::span);
            return Err(fault_at(file, text, span, "clients without requests: name some, as in requests = [\"GET /\"]"));
        }
        Ok(world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_everything_is_read() {
        let world = WorldFile::parse(
            "world.toml",
            r#"
duration = "30s"
workers = 3
[[clients]]
count = 5
think = "exp 20ms"
requests = ["GET /", "POST /up 1000"]
[upstreams.default]
latency = "1ms..9ms"
errors = 1.5
[dns]
"a.example" = ["10.9.9.9"]
[[faults]]
at = "5s"
for = "2s"
kind = "refuse"
cluster = "api"
[drain]
at = "20s"
"#,
        )
        .expect("a world");
        assert_eq!((world.duration.0, world.workers, world.clients[0].count), (30 * SECOND, 3, 5));
        assert_eq!(world.clients[0].requests[1], Asked { method: "POST".into(), target: "/up".into(), body: 1000 });
        assert_eq!(world.drain.map(|drain| drain.within.0), Some(600 * SECOND));
    }

    #[test]
    fn mistakes_have_a_place() {
        let mistake = |text: &str| WorldFile::parse("w.toml", text).unwrap_err();
        assert!(mistake("duration = \"30\"").starts_with("w.toml:1:12: `30` is not a duration"), "{}", mistake("duration = \"30\""));
        assert!(
            mistake("workers = 2\nclient = 3").starts_with("w.toml:2:1: unknown field `client`"),
            "{}",
            mistake("workers = 2\nclient = 3")
        );
        let requests = mistake("[[clients]]\nrequests = [\"GET\"]");
        assert!(requests.starts_with("w.toml:2:12: `GET` is not a request"), "{requests}");
        let shares = mistake("[upstreams.api]\nerrors = 60\nresets = 41");
        assert!(shares.starts_with("w.toml:1:12: errors, resets"), "{shares}");
        assert!(mistake("[link]\nlatency = \"exp 2ms\"").starts_with("w.toml:2:11: the latency"));
        assert!(mistake("[link]\nlatency = \"0s\"").starts_with("w.toml:2:11: links take some time"));
        assert!(mistake("[[clients]]\nrequests = [\"POST / 99999999999999\"]").contains("at most 67108864 bytes"));
        assert!(mistake("[upstreams.api]\nstatus = 100").starts_with("w.toml:1:12: status"));
        assert!(mistake("[[clients]]\ncount = 4294967295\nrequests = [\"GET /\"]").contains("more than 100000"));
        assert!(mistake("x = ").starts_with("w.toml:1:"));
    }
}
