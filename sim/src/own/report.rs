//! What a run of a user's own world came to, for people.

use crate::event::Time;
use crate::observe::Outcome;
use crate::world::{Exchanged, World};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// Totals, flags and percentiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that clients have sent.
    pub requests: usize,
    /// How they ended, as their clients saw it.
    pub outcomes: BTreeMap<String, usize>,
    /// Exchanges by cluster, with tries that were not the first, and with flags.
    pub clusters: BTreeMap<String, Cluster>,
    /// Response flags of exchanges.
    pub flags: BTreeMap<&'static str, usize>,
    /// From the first byte of a request to the last of its answer, sorted.
    pub times: Vec<Time>,
}

/// What came to one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Exchanges.
    pub exchanges: usize,
    /// Tries beyond the first.
    pub retries: usize,
    /// Exchanges that ended with a status from 500 on.
    pub failed: usize,
}

impl Report {
    /// Of a world that has run.
    pub fn of(world: &World) -> Report {
        let mut report = Report::default();
        for entry in &world.ledger.entries {
            report.requests += usize::from(entry.sent.is_some());
            if let (Some(sent), Some((ended, outcome))) = (entry.sent, &entry.outcome) {
                *report.outcomes.entry(name(outcome)).or_default() += 1;
                if matches!(outcome, Outcome::Answered { .. } | Outcome::Local { .. }) {
                    report.times.push(ended - sent);
                }
            }
        }
        report.times.sort_unstable();
        for Exchanged { ended, .. } in &world.exchanges {
            let record = &ended.record;
            let cluster = report.clusters.entry(record.cluster.as_deref().unwrap_or("(none)").to_owned()).or_default();
            cluster.exchanges += 1;
            cluster.retries += record.attempts.saturating_sub(1) as usize;
            cluster.failed += usize::from(record.status >= 500);
            for (short, _) in record.flags.names() {
                *report.flags.entry(short).or_default() += 1;
            }
        }
        report
    }

    /// The time that so many of a thousand answers did not exceed.
    fn percentile(&self, thousandths: usize) -> f64 {
        let place = (self.times.len() * thousandths).div_ceil(1000).max(1) - 1;
        self.times.get(place).map_or(0.0, |time| *time as f64 / 1e6)
    }
}

fn name(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { status } => format!("{status} from a host"),
        Outcome::Local { status } => format!("{status} from the proxy"),
        Outcome::Cut => "answer cut".to_owned(),
        Outcome::Closed => "closed without an answer".to_owned(),
        Outcome::Left => "client left".to_owned(),
        Outcome::Refused => "connection refused".to_owned(),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.requests)?;
        for (outcome, count) in &self.outcomes {
            write!(f, "\n  {count:9}  {outcome}")?;
        }
        for (name, Cluster { exchanges, retries, failed }) in &self.clusters {
            write!(f, "\ncluster {name}: {exchanges} exchanges, {failed} failed, {retries} retries")?;
        }
        if !self.flags.is_empty() {
            let flags: Vec<String> = self.flags.iter().map(|(flag, count)| format!("{flag} {count}")).collect();
            write!(f, "\nflags: {}", flags.join(", "))?;
        }
        if !self.times.is_empty() {
            let [p50, p90, p99, p999] = [500, 900, 990, 999].map(|thousandths| self.percentile(thousandths));
            write!(f, "\nmilliseconds: p50 {p50:.3}, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}, longest {:.3}", self.percentile(1000))?;
        }
        Ok(())
    }
}

/// A line for one exchange: when it ended, what was asked, how it ended, where it went, how often it was tried.
pub fn line(exchanged: &Exchanged) -> String {
    let (record, at) = (&exchanged.ended.record, exchanged.at as f64 / 1e6);
    let took = record.end.map_or(0.0, |end| end.since(record.start).as_secs_f64() * 1e3);
    let flags: Vec<&str> = record.flags.names().map(|(short, _)| short).collect();
    let flags = if flags.is_empty() { "-".to_owned() } else { flags.join(",") };
    let host = record.endpoint.map_or("-".to_owned(), |endpoint| endpoint.to_string());
    let cluster = record.cluster.as_deref().unwrap_or("-");
    format!(
        "{at:14.6} ms  worker {}  {}  {} {flags} {}  {cluster} {host}  tries {}  {took:.3} ms",
        exchanged.worker, exchanged.ended.request, record.status, record.details, record.attempts
    )
}
