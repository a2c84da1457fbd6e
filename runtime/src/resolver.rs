//! DNS for all workers, on the primary: `/etc/hosts`, then the servers of `/etc/resolv.conf`.

use hickory_resolver::config::ResolveHosts;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver as Builder, TokioResolver};
use std::net::IpAddr;
use std::time::Duration;
use weir_core::cluster::{DnsError, Question, Resolved};
use weir_core::config::DnsFamily;

/// Time for one server to answer (Envoy's c-ares: 5 s; three tries must fit into a `dns_refresh_rate`).
const TIMEOUT: Duration = Duration::from_secs(2);
/// Tries after the first.
const RETRIES: usize = 2;

/// Resolves names.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl Resolver {
    /// A resolver for the system's configuration as it is now.
    pub fn from_system() -> Result<Resolver, DnsError> {
        let fault = |error: &dyn std::fmt::Display| DnsError(format!("cannot set up DNS: {error}").into());
        let mut builder = Builder::builder_tokio().map_err(|error| fault(&error))?;
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = RETRIES;
        // Clusters decide when to ask again.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Always;
        builder.build().map(Resolver).map_err(|error| fault(&error))
    }

    /// Answers a question as its `dns_lookup_family` asks.
    pub async fn resolve(&self, question: &Question) -> Result<Resolved, DnsError> {
        let name = &question.name.host;
        let (v4, v6) = (RecordType::A, RecordType::AAAA);
        match question.family {
            DnsFamily::V4Only => self.lookup(name, v4).await,
            DnsFamily::V6Only => self.lookup(name, v6).await,
            DnsFamily::Auto => self.first(name, v6, v4).await,
            DnsFamily::V4Preferred => self.first(name, v4, v6).await,
            DnsFamily::All => {
                let (four, six) = tokio::join!(self.lookup(name, v4), self.lookup(name, v6));
                match (four, six) {
                    (Ok(mut four), Ok(six)) => {
                        four.addresses.extend(six.addresses);
                        four.ttl = four.ttl.min(six.ttl);
                        Ok(four)
                    }
                    (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
                    (Err(error), Err(_)) => Err(error),
                }
            }
        }
    }

    async fn first(&self, name: &str, preferred: RecordType, other: RecordType) -> Result<Resolved, DnsError> {
        match self.lookup(name, preferred).await {
            Ok(found) if !found.addresses.is_empty() => Ok(found),
            _ => self.lookup(name, other).await,
        }
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Resolved, DnsError> {
        let found = match self.0.lookup(name, kind).await {
            Ok(found) => found,
            Err(error) if error.is_nx_domain() => return Err(DnsError(format!("`{name}` does not exist").into())),
            Err(error) if error.is_no_records_found() => return Err(DnsError(format!("`{name}` has no {kind} record").into())),
            Err(error) => return Err(DnsError(format!("cannot resolve `{name}`: {error}").into())),
        };
        let mut resolved = Resolved { addresses: Vec::new(), ttl: None };
        for record in found.answers() {
            match &record.data {
                RData::A(address) => resolved.addresses.push(IpAddr::V4(address.0)),
                RData::AAAA(address) => resolved.addresses.push(IpAddr::V6(address.0)),
                _ => {}
            }
            let ttl = Duration::from_secs(record.ttl.into());
            resolved.ttl = Some(resolved.ttl.map_or(ttl, |least: Duration| least.min(ttl)));
        }
        Ok(resolved)
    }
}
