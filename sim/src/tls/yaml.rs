//! TLS settings as a person would write them.

use super::pem::{A, AUTHORITY, B, ORIGIN, Pem, RENEWED};
use super::{Allowed, ClientCertificate, Downstream, Tls, Upward};
use crate::event::Time;

/// A listener, with `filters` in each of its chains.
struct Listener<'a> {
    name: &'a str,
    port: u16,
    buffer: u64,
    filters: &'a str,
}

impl Tls {
    /// The listeners of config version `version`: each has `filters` behind it.
    pub fn listeners_yaml(&self, version: u64, buffer: u64, filters: &str) -> String {
        let mut text = String::new();
        for (name, port) in self.listeners() {
            let listener = Listener { name, port: *port, buffer, filters };
            text += &match self.listener.as_ref().filter(|_| *port == 443) {
                Some(tls) => listener.secure(tls, version),
                None => listener.clear(),
            };
        }
        text
    }

    /// The `transport_socket` of a cluster, if it has one.
    pub fn cluster_yaml(&self, cluster: usize) -> String {
        self.upward(cluster).map_or(String::new(), Upward::yaml)
    }
}

impl Listener<'_> {
    fn clear(&self) -> String {
        format!("{}      filter_chains:\n        - filters:\n{}", self.head(), self.filters)
    }

    fn head(&self) -> String {
        format!(
            "    - name: {}\n      address: {{ socket_address: {{ address: 10.0.0.1, port_value: {} }} }}\n      per_connection_buffer_limit_bytes: {}\n",
            self.name, self.port, self.buffer
        )
    }

    fn secure(&self, tls: &Downstream, version: u64) -> String {
        let a = if tls.renews && version % 2 == 1 { RENEWED } else { A };
        let mut text = self.head();
        if tls.by_name {
            text += &format!(
                r#"      listener_filters: [{{ name: inspector, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }} }}]
      listener_filters_timeout: {}s
"#,
                seconds(tls.timeout)
            );
        }
        text += "      filter_chains:\n";
        let chains: &[(&str, Pem)] = if tls.by_name { &[("b.sim", B), ("a.sim", a)] } else { &[("", a)] };
        for (name, pem) in chains {
            let wanted =
                if tls.by_name { format!("filter_chain_match: {{ server_names: [\"{name}\"] }}\n          ") } else { String::new() };
            text += &format!(
                r#"        - {wanted}transport_socket_connect_timeout: {timeout}s
          transport_socket:
            name: tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              require_client_certificate: {required}
              disable_stateless_session_resumption: {no_tickets}
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_params: {params}
                tls_certificates: [{{ certificate_chain: {pem}, private_key: {pem} }}]
{validation}          filters:
{filters}"#,
                timeout = seconds(tls.timeout),
                required = tls.certificate == ClientCertificate::Required,
                no_tickets = !tls.tickets,
                params = params(tls.allowed),
                pem = pem.inline(),
                validation = match tls.certificate {
                    ClientCertificate::Unasked => String::new(),
                    _ => format!("                validation_context: {{ trusted_ca: {} }}\n", AUTHORITY.inline()),
                },
                filters = self.filters,
            );
        }
        text
    }
}

impl Upward {
    fn yaml(&self) -> String {
        format!(
            r#"      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: origin.sim
          max_session_keys: {sessions}
          common_tls_context:
            tls_params: {params}
{certificate}            validation_context:
              trusted_ca: {authority}
              match_typed_subject_alt_names: [{{ san_type: DNS, matcher: {{ exact: origin.sim }} }}]
"#,
            sessions = self.sessions,
            params = params(self.allowed),
            authority = AUTHORITY.inline(),
            certificate = match self.mutual {
                true => format!("            tls_certificates: [{{ certificate_chain: {0}, private_key: {0} }}]\n", ORIGIN.inline()),
                false => String::new(),
            },
        )
    }
}

fn params(allowed: Allowed) -> &'static str {
    match allowed {
        // Envoy's default towards upstreams is TLS 1.2 alone.
        Allowed::Both => "{ tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3 }",
        Allowed::Only12 => "{ tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_2 }",
        Allowed::Only13 => "{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }",
    }
}

fn seconds(time: Time) -> String {
    format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000)
}
