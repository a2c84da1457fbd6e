//! The TLS settings of a whole config, ready to be used: what a worker looks up by the settings that core names.
//!
//! A table never changes. When the config or a file does, the primary makes another and hands it to the workers: what
//! is the same in both is shared, with its sessions, and what is wrong in the new one stays as it was.

use super::client::{self, Client};
use super::material::{Files, Material};
use super::server;
use crate::environment::Environment;
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_core::config::Config;
use weir_core::config::tls::{CommonTls, DataSource, DownstreamTls, SecretFile, UpstreamTls, Validation};
use weir_core::config::v3::{Diagnostic, Severity};

/// All settings of one config.
#[derive(Debug, Default)]
pub struct Table {
    downstream: Side<DownstreamTls, ServerConfig>,
    upstream: Side<UpstreamTls, Client>,
}

/// Settings by where core keeps them.
#[derive(Debug)]
struct Side<C, B>(BTreeMap<usize, Entry<C, B>>);

impl<C, B> Default for Side<C, B> {
    fn default() -> Side<C, B> {
        Side(BTreeMap::new())
    }
}

#[derive(Debug)]
struct Entry<C, B> {
    settings: Arc<C>,
    /// What the files held.
    files: Files,
    built: Arc<B>,
    /// No longer of the config; the last connections of a cluster that is gone may still want it.
    retired: bool,
}

impl<C, B> Clone for Entry<C, B> {
    fn clone(&self) -> Entry<C, B> {
        let (settings, built) = (Arc::clone(&self.settings), Arc::clone(&self.built));
        Entry { settings, files: self.files.clone(), built, retired: self.retired }
    }
}

/// What making a table came to.
#[derive(Debug)]
pub struct Made {
    /// The table. Where something is wrong it has what was there before, if that was the same settings.
    pub table: Table,
    /// Everything that was found.
    pub findings: Vec<Diagnostic>,
    /// How many settings are not those of the table before.
    pub changed: usize,
}

impl Made {
    /// Whether something is wrong.
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl Table {
    /// Makes all TLS settings of a config ready, using again what `before` has of them.
    pub fn make(config: &Config, before: &Table, environment: &Environment) -> Made {
        let material = Material::new(environment, &config.source.file);
        let (mut table, mut changed) = (Table::default(), 0);
        let chains = config.listeners.iter().flat_map(|listener| listener.all_chains());
        let downstream = chains.filter_map(|chain| chain.tls.as_ref());
        changed += table.downstream.fill(downstream, &before.downstream, &material, server::build);
        let upstream = config.clusters.values().filter_map(|cluster| cluster.tls.as_ref());
        changed += table.upstream.fill(upstream, &before.upstream, &material, |tls, material| client::build(tls, material).map(Arc::new));
        let mut findings = material.take_findings();
        findings.sort_by_key(|finding| finding.pos);
        findings.dedup();
        Made { table, findings, changed }
    }

    /// What is ready for settings towards clients.
    pub fn downstream(&self, settings: &Arc<DownstreamTls>) -> Option<Arc<ServerConfig>> {
        self.downstream.get(settings)
    }

    /// What is ready for settings towards upstreams.
    pub fn upstream(&self, settings: &Arc<UpstreamTls>) -> Option<Arc<Client>> {
        self.upstream.get(settings)
    }

    /// The folders of all files that were read.
    pub fn folders(&self) -> Vec<PathBuf> {
        let paths = self.downstream.paths().chain(self.upstream.paths());
        let watched = self.downstream.watched().chain(self.upstream.watched()).map(PathBuf::from);
        let mut folders: Vec<PathBuf> = paths
            .map(|path| match Path::new(path).parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
                _ => PathBuf::from("."),
            })
            .chain(watched)
            .collect();
        folders.sort();
        folders.dedup();
        folders
    }
}

/// Settings of either direction.
trait Settings: Clone + PartialEq {
    fn common(&self) -> &CommonTls;
    fn common_mut(&mut self) -> &mut CommonTls;

    /// Files that are named outside of what both directions have.
    fn own_files(&self) -> impl Iterator<Item = &Arc<str>>;

    /// With what its files of secrets hold; `None` if something is wrong, which is said.
    fn with_secrets(self: &Arc<Self>, material: &Material<'_>) -> Option<Arc<Self>> {
        if self.common().secret_files().next().is_none() {
            return Some(Arc::clone(self));
        }
        let mut whole = (**self).clone();
        *whole.common_mut() = material.with_secrets(self.common())?;
        let file = self.common().validation_file.as_ref();
        let fault = whole.common().validation.as_ref().filter(|_| file.is_some()).and_then(Validation::fault);
        if let (Some(fault), Some(file)) = (fault, file) {
            material.error(&file.place, fault);
            return None;
        }
        whole.judge(file, material).then(|| Arc::new(whole))
    }

    /// Whether what a file says of validation is enough for what the config asks for. What is not, is said.
    fn judge(&self, file: Option<&SecretFile>, material: &Material<'_>) -> bool;
}

impl Settings for DownstreamTls {
    fn common(&self) -> &CommonTls {
        &self.common
    }

    fn common_mut(&mut self) -> &mut CommonTls {
        &mut self.common
    }

    fn own_files(&self) -> impl Iterator<Item = &Arc<str>> {
        self.ticket_keys.iter().filter_map(DataSource::file)
    }

    fn judge(&self, file: Option<&SecretFile>, material: &Material<'_>) -> bool {
        let Some(file) = file.filter(|_| self.require_client_certificate && !self.common.is_verifying()) else { return true };
        material.error(&file.place, DownstreamTls::UNFOUNDED);
        false
    }
}

impl Settings for UpstreamTls {
    fn common(&self) -> &CommonTls {
        &self.common
    }

    fn common_mut(&mut self) -> &mut CommonTls {
        &mut self.common
    }

    fn own_files(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::empty()
    }

    fn judge(&self, file: Option<&SecretFile>, material: &Material<'_>) -> bool {
        let Some(file) = file else { return true };
        if !self.common.is_verifying() {
            material.warn(&file.place, UpstreamTls::UNVERIFIED);
        }
        let wants_name = self.auto_sni_san || self.by_request.san;
        if wants_name && !self.common.validation.as_ref().is_some_and(Validation::has_roots) {
            material.error(&file.place, UpstreamTls::UNFOUNDED);
            return false;
        }
        true
    }
}

impl<C: Settings, B> Side<C, B> {
    fn get(&self, settings: &Arc<C>) -> Option<Arc<B>> {
        self.0.get(&key(settings)).map(|entry| Arc::clone(&entry.built))
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|entry| !entry.retired).flat_map(|entry| entry.files.keys().map(|path| &**path))
    }

    /// `watched_directory` of files of secrets.
    fn watched(&self) -> impl Iterator<Item = &str> {
        let live = self.0.values().filter(|entry| !entry.retired);
        live.flat_map(|entry| entry.settings.common().secret_files()).filter_map(|file| file.watched.as_deref())
    }

    /// Answers how many are new.
    fn fill<'c>(
        &mut self,
        all: impl Iterator<Item = &'c Arc<C>>,
        before: &Side<C, B>,
        material: &Material<'_>,
        build: impl Fn(&C, &Material<'_>) -> Option<Arc<B>>,
    ) -> usize
    where
        C: 'c,
    {
        let mut changed = 0;
        // What is retired has the same place as what came after it: which of them is found must not be up to addresses.
        let present = before.0.values().filter(|entry| !entry.retired);
        let old: BTreeMap<&str, &Entry<C, B>> = present.map(|entry| (&*entry.settings.common().place.path, entry)).collect();
        for settings in all {
            let whole = settings.with_secrets(material);
            let named = whole.iter().flat_map(|whole| whole.common().files());
            let paths = settings.common().secret_files().map(|secret| &secret.path).chain(named).chain(settings.own_files());
            let files: Files = paths.map(|path| (Arc::clone(path), material.read_file(path))).collect();
            let old = old.get(&*settings.common().place.path).copied().filter(|entry| *entry.settings == **settings);
            let same = old.filter(|entry| whole.is_some() && entry.files == files);
            let built = match same {
                Some(entry) => Some((Arc::clone(&entry.built), files)),
                None => {
                    changed += 1;
                    // The files of what goes on are not those that were found wrong: they are looked at again.
                    let built = whole.and_then(|whole| build(&whole, material));
                    built.map(|built| (built, files)).or_else(|| old.map(|old| (Arc::clone(&old.built), old.files.clone())))
                }
            };
            if let Some((built, files)) = built {
                self.0.insert(key(settings), Entry { settings: Arc::clone(settings), files, built, retired: false });
            }
        }
        for (key, entry) in before.0.iter().filter(|(_, entry)| !entry.retired) {
            self.0.entry(*key).or_insert_with(|| Entry { retired: true, ..entry.clone() });
        }
        changed
    }
}

/// Where settings are kept: as long as an entry holds on to them no others can be there.
fn key<C>(settings: &Arc<C>) -> usize {
    Arc::as_ptr(settings).addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::config::v3;

    fn config(pem: &str) -> Arc<Config> {
        let pem = format!("{{ inline_string: \"{}\" }}", pem.replace('\n', "\\n"));
        let yaml = format!(
            r#"
static_resources:
  listeners:
    - name: main
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 443 }} }}
      filter_chains:
        - transport_socket:
            name: tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context: {{ tls_certificates: [{{ certificate_chain: {pem}, private_key: {pem} }}] }}
          filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: a
                route_config: {{ name: a }}
                http_filters: [{{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
"#
        );
        let loaded = v3::load(&yaml, "a.yaml");
        loaded.config.map(Arc::new).unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
    }

    fn pem(name: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    #[test]
    fn settings_that_were_away_are_made_again_wherever_they_lie() {
        let environment = Environment::system();
        let (one, other) = (pem("a.example"), pem("a.example"));
        let mut elsewhere = Vec::new();
        for _ in 0..16 {
            let (first, second, third, fourth) = (config(&one), config(&other), config(&one), config(&one));
            let first_table = Table::make(&first, &Table::default(), &environment);
            let second_table = Table::make(&second, &first_table.table, &environment);
            let third_table = Table::make(&third, &second_table.table, &environment);
            let fourth_table = Table::make(&fourth, &third_table.table, &environment);
            let changed = [&first_table, &second_table, &third_table, &fourth_table].map(|made| made.changed);
            assert_eq!(changed, [1, 1, 1, 0]);
            // What is kept makes the next round's lie in another order.
            elsewhere.push(if elsewhere.len() % 2 == 0 { (first, third) } else { (second, fourth) });
        }
    }
}
