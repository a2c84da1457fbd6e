//! The configs of simulated worlds, written as a person would write them: as Envoy YAML, through the real loader.

use crate::check::limits::Limits;
use crate::check::once::RETRY_TRIES;
use crate::event::{MS, Time};
use crate::filters::Filters;
use crate::tls::Tls;
use crate::versions::Versions;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use weir_core::config::{Config, v3};
use weir_core::rng::Rng;

/// What the configs of one world have in common. Versions differ in where their routes lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Hosts of each cluster.
    pub clusters: Vec<Vec<SocketAddr>>,
    /// The bounds.
    pub limits: Limits,
    /// Timeout of the plain and the retrying routes.
    pub timeout: Time,
    /// Timeout of the timed routes.
    pub short_timeout: Time,
    /// `per_connection_buffer_limit_bytes` on both sides.
    pub buffer: u64,
    /// How long idle connections of clients are kept.
    pub idle: Time,
    /// How long idle connections to hosts are kept.
    pub upstream_idle: Time,
    /// `lb_policy`.
    pub balancer: &'static str,
    /// `STATIC`, or a kind of DNS: then names are asked for every so often.
    pub discovery: &'static str,
    /// `max_requests_per_connection` of clusters; 0 is none.
    pub requests_per_connection: u64,
    /// The same for clients.
    pub requests_per_client: u64,
    /// `max_connection_duration` of clients and of clusters.
    pub lifetime: Option<Time>,
    /// `stream_idle_timeout`.
    pub stream_idle: Option<Time>,
    /// `per_try_timeout` of the retrying routes.
    pub per_try: Option<Time>,
    /// Who speaks which version of HTTP.
    pub versions: Versions,
    /// Who speaks TLS.
    pub tls: Tls,
    /// Filters of the host's.
    pub filters: Filters,
}

impl Settings {
    /// Any settings, with HTTP/1 alone; generous ones if nothing may be refused.
    pub fn draw(clusters: usize, generous: bool, rng: &mut Rng) -> Settings {
        let clusters: Vec<Vec<SocketAddr>> = (0..clusters)
            .map(|cluster| (1..=1 + rng.below(3)).map(|host| SocketAddr::from(([10, 0, cluster as u8 + 1, host as u8], 80))).collect())
            .collect();
        let tight =
            |rng: &mut Rng, from: u64, to: u64| if generous || rng.below(2) == 0 { 10_000 } else { (from + rng.below(to - from)) as u32 };
        let versions = Versions::one(clusters.len());
        Settings {
            clusters,
            limits: Limits {
                connections: if generous && rng.below(2) == 0 { 2 + rng.below(4) as u32 } else { tight(rng, 1, 12) },
                pending: tight(rng, 1, 20),
                requests: tight(rng, 1, 30),
                clients: tight(rng, 2, 30),
                retries: (rng.below(2) == 0).then(|| rng.below(6) as u32),
            },
            timeout: 15_000 * MS,
            short_timeout: (if generous { 15_000 } else { 5 + rng.below(500) }) * MS,
            buffer: [1_000, 16_384, 100_000, 1_048_576][rng.below(4) as usize],
            // An answer and the next request may each be stalled: less than twice that would be over before the client can
            // know that its turn has come.
            idle: if generous || rng.below(3) == 0 { 3_600_000 * MS } else { (100 + rng.below(5_000)) * MS },
            upstream_idle: if generous { 3_600_000 * MS } else { (1 + rng.below(2_000)) * MS },
            balancer: ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"][rng.below(3) as usize],
            discovery: ["STATIC", "STATIC", "STRICT_DNS", "LOGICAL_DNS"][rng.below(4) as usize],
            requests_per_connection: if rng.below(4) == 0 { 1 + rng.below(20) } else { 0 },
            requests_per_client: if rng.below(4) == 0 { 1 + rng.below(20) } else { 0 },
            lifetime: (rng.below(4) == 0).then(|| (1 + rng.below(2_000)) * MS),
            stream_idle: (!generous && rng.below(4) == 0).then(|| (200 + rng.below(3_000)) * MS),
            per_try: (!generous && rng.below(3) == 0).then(|| (2 + rng.below(300)) * MS),
            versions,
            tls: Tls::default(),
            filters: Filters::default(),
        }
    }

    /// How long a request of the plain, the retrying and the timed lane can take at least without being cut.
    pub fn patience(&self) -> [Time; 3] {
        let idle = self.stream_idle.unwrap_or(Time::MAX);
        [self.timeout, self.timeout.min(self.per_try.unwrap_or(Time::MAX)), self.short_timeout].map(|timeout| timeout.min(idle))
    }

    /// Names of the clusters.
    pub fn names(&self) -> Vec<Arc<str>> {
        (0..self.clusters.len()).map(|cluster| Arc::from(format!("u{cluster}"))).collect()
    }

    /// The config of version `version`, as YAML.
    pub fn yaml(&self, version: u64) -> String {
        let count = self.clusters.len() as u64;
        let (mut routes, mut clusters) = (String::new(), String::new());
        let tag = |name: &str| {
            format!(
                "request_headers_to_add: [{{ header: {{ key: {name}, value: \"{version}\" }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}]"
            )
        };
        for cluster in 0..count {
            let to = (cluster + version) % count;
            let lanes = [
                ('c', format!("timeout: {}s", seconds(self.timeout))),
                (
                    'r',
                    format!(
                        "timeout: {}s, retry_policy: {{ retry_on: \"5xx,reset,connect-failure,refused-stream\", num_retries: {}{} }}",
                        seconds(self.timeout),
                        RETRY_TRIES - 1,
                        self.per_try.map_or(String::new(), |time| format!(", per_try_timeout: {}s", seconds(time))),
                    ),
                ),
                ('t', format!("timeout: {}s", seconds(self.short_timeout))),
            ];
            for (letter, more) in lanes {
                let _ = writeln!(
                    routes,
                    "                        - {{ match: {{ prefix: /{letter}{cluster}/ }}, route: {{ cluster: u{to}, {more} }}, {} }}",
                    tag("x-route")
                );
            }
        }
        for (cluster, hosts) in self.clusters.iter().enumerate() {
            let names: Vec<String> = match self.discovery {
                "STATIC" => hosts.iter().map(|host| host.ip().to_string()).collect(),
                _ => vec![name(cluster)],
            };
            let endpoint =
                |name: &String| format!("{{ endpoint: {{ address: {{ socket_address: {{ address: {name}, port_value: 80 }} }} }} }}");
            let endpoints: Vec<String> = names.iter().map(endpoint).collect();
            let per_connection = match self.requests_per_connection {
                0 => String::new(),
                n => format!(", max_requests_per_connection: {n}"),
            };
            let _ = writeln!(
                clusters,
                r#"    - name: u{cluster}
      type: {discovery}
      dns_refresh_rate: 0.5s
      connect_timeout: 1s
      lb_policy: {balancer}
      per_connection_buffer_limit_bytes: {buffer}
      circuit_breakers: {{ thresholds: [{{ max_connections: {connections}, max_pending_requests: {pending}, max_requests: {requests}{retries} }}] }}
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          common_http_protocol_options: {{ idle_timeout: {idle}s{per_connection}{lifetime} }}
          {protocol}
{security}      load_assignment: {{ cluster_name: u{cluster}, endpoints: [{{ lb_endpoints: [{endpoints}] }}] }}"#,
                security = self.tls.cluster_yaml(cluster),
                protocol = self.versions.of_cluster(cluster),
                balancer = self.balancer,
                discovery = self.discovery,
                buffer = self.buffer,
                connections = self.limits.connections,
                pending = self.limits.pending,
                requests = self.limits.requests,
                retries = self.limits.retries.map_or(String::new(), |max| format!(", max_retries: {max}")),
                idle = seconds(self.upstream_idle),
                lifetime = self.lifetime.map_or(String::new(), |time| format!(", max_connection_duration: {}s", seconds(time))),
                endpoints = endpoints.join(", "),
            );
        }
        format!(
            r#"layered_runtime:
  layers:
    - name: static
      static_layer: {{ "envoy.resource_limits.listener.main.connection_limit": {clients} }}
static_resources:
  listeners:
{listeners}  clusters:
{clusters}
"#,
            clients = self.limits.clients,
            listeners = self.tls.listeners_yaml(version, self.buffer, &self.filters(&tag("x-table"), &routes)),
        )
    }

    /// The filters of a chain.
    fn filters(&self, table: &str, routes: &str) -> String {
        format!(
            r#"            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                common_http_protocol_options: {{ idle_timeout: {idle}s{per_client}{lifetime} }}
{stream_idle}
                upgrade_configs: [{{ upgrade_type: websocket }}]
                http2_protocol_options: {http2}
                http_filters:
{filters}                  - name: envoy.filters.http.router
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
                route_config:
                  name: main
                  {table}
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      include_request_attempt_count: true
                      routes:
{routes}
"#,
            filters = self.filters.yaml(),
            http2 = self.versions.of_clients(),
            idle = seconds(self.idle),
            per_client = match self.requests_per_client {
                0 => String::new(),
                n => format!(", max_requests_per_connection: {n}"),
            },
            lifetime = self.lifetime.map_or(String::new(), |time| format!(", max_connection_duration: {}s", seconds(time))),
            stream_idle = self.stream_idle.map_or(String::new(), |time| format!("                stream_idle_timeout: {}s", seconds(time))),
        )
    }

    /// The config of version `version`.
    ///
    /// # Panics
    /// If the loader refuses it: then either this file or the loader is wrong.
    pub fn config(&self, version: u64) -> Arc<Config> {
        let yaml = self.yaml(version);
        let loaded = v3::load_with(&yaml, "world.yaml", &[], &self.filters.registry());
        let faults: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        Arc::new(loaded.config.unwrap_or_else(|| panic!("the world's config is refused:\n{}\n{yaml}", faults.join("\n"))))
    }
}

/// The name under which DNS knows the hosts of a cluster.
pub fn name(cluster: usize) -> String {
    format!("u{cluster}.sim")
}

fn seconds(time: Time) -> String {
    format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::rng::Seed;

    #[test]
    fn every_config_loads() {
        for seed in 0..50 {
            let mut rng = Rng::new(Seed(seed));
            let mut settings = Settings::draw(1 + (seed % 4) as usize, seed % 2 == 0, &mut rng);
            settings.versions = Versions::draw(settings.clusters.len(), &mut rng);
            settings.tls = Tls::draw(&mut settings.versions.clusters, &mut rng);
            settings.filters = Filters::draw(&mut rng);
            assert_eq!(settings.config(seed % 3).clusters.len(), settings.clusters.len());
        }
    }
}
