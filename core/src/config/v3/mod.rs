//! Envoy's v3 messages to [`Config`], with a diagnostic that names file, line, column and field for every
//! refusal, all of them in one pass.
//!
//! `source` reads YAML or JSON into a tree with positions; `typed` gives it the types of Envoy's protos
//! (`schema`) and checks the constraints written there (`rules`); the other modules turn messages into
//! config through `reader`, which remembers what was asked for. Whatever is set but was not asked for is
//! reported as unsupported.

mod access_log;
mod bootstrap;
mod chain;
mod cluster;
mod diagnostic;
mod dump;
mod foreign;
mod headers;
mod http2;
mod listener;
mod manager;
mod matcher;
mod reader;
mod route;
mod rules;
mod schema;
mod source;
mod tcp_proxy;
mod tls;
mod typed;

pub use diagnostic::{Diagnostic, Pos, Severity};
pub use dump::bootstrap_json;
pub use typed::Json;

use super::Config;
use crate::filter::Registry;
use diagnostic::{Findings, Path};
use reader::Reader;
use schema::Schema;
use source::Node;
use std::fmt::Write as _;
use typed::Typer;

/// What loading came to.
#[derive(Debug)]
pub struct Loaded {
    /// The config, unless something is wrong with it. Unsupported fields alone do not withhold it: the
    /// caller decides whether they count.
    pub config: Option<Config>,
    /// Everything that was found, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether some field is set that Weir does not honour.
    pub fn has_unsupported(&self) -> bool {
        self.diagnostics.iter().any(|finding| finding.severity == Severity::Unsupported)
    }
}

/// Loads a bootstrap from YAML or JSON. `file` is the name to use in diagnostics.
pub fn load(text: &str, file: &str) -> Loaded {
    load_after(text, file, &[])
}

/// As [`load`], for a config that follows one with these `sinks`: they keep their places, so that lines of
/// exchanges that began before still go where they should.
pub fn load_after(text: &str, file: &str, sinks: &[super::LogSink]) -> Loaded {
    load_with(text, file, sinks, &Registry::default())
}

/// As [`load_after`], with filters of the host's own: an entry of `http_filters` whose `typed_config` has a registered
/// `@type`, or is a `TypedStruct` with a registered `type_url`, is configured by its kind.
pub fn load_with(text: &str, file: &str, sinks: &[super::LogSink], filters: &Registry) -> Loaded {
    let findings = Findings::new(file);
    let (root, faults) = source::parse(text);
    for fault in faults {
        findings.error(fault.pos, &Path::ROOT, fault.message);
    }
    let config = match root {
        Some(root) if !findings.failed() => read(root, &findings, sinks, filters),
        Some(_) => None,
        None => {
            if !findings.failed() {
                findings.error(Pos { line: 1, column: 1 }, &Path::ROOT, "the file is empty; an Envoy v3 bootstrap is expected");
            }
            None
        }
    };
    let mut config = config.filter(|_| !findings.failed());
    if let Some(config) = &mut config {
        config.source = super::Source { file: file.into(), text: text.into(), sinks: sinks.to_vec(), hostname: "".into() }.into();
    }
    Loaded { config, diagnostics: findings.into_sorted() }
}

/// What the secret called `name` is, in the text of a file of secrets: a DiscoveryResponse as YAML or JSON. `file` is
/// the name to use in diagnostics, and in those about what the secret names.
pub fn load_secret(text: &str, file: &str, name: &str) -> (Option<super::tls::Secret>, Vec<Diagnostic>) {
    let findings = Findings::of_other_file(file);
    let (root, faults) = source::parse(text);
    for fault in faults {
        findings.error(fault.pos, &Path::ROOT, fault.message);
    }
    if root.is_none() && !findings.failed() {
        findings.error(Pos { line: 1, column: 1 }, &Path::ROOT, "the file is empty; a DiscoveryResponse with secrets is expected");
    }
    let secret = root.filter(|_| !findings.failed()).and_then(|root| {
        let schema = Schema;
        let typer = Typer { schema: &schema, findings: &findings, filters: &Registry::default() };
        let message = typer.message(root, schema.message("envoy.service.discovery.v3.DiscoveryResponse")?, &Path::ROOT)?;
        let secret = tls::find_in_response(&Reader::new(&message, Path::ROOT, &findings), name);
        reader::report_unread(&message, &Path::ROOT, &findings);
        secret
    });
    (secret.filter(|_| !findings.failed()), findings.into_sorted())
}

fn read(root: Node, findings: &Findings, sinks: &[super::LogSink], filters: &Registry) -> Option<Config> {
    let schema = Schema;
    let descriptor = schema.message("envoy.config.bootstrap.v3.Bootstrap")?;
    let typer = Typer { schema: &schema, findings, filters };
    let message = typer.message(root, descriptor, &Path::ROOT)?;
    let config = bootstrap::read(&Reader::new(&message, Path::ROOT, findings), sinks);
    reader::report_unread(&message, &Path::ROOT, findings);
    Some(config)
}

/// All diagnostics as one JSON array, for tools.
pub fn diagnostics_to_json(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::from("[");
    for (index, finding) in diagnostics.iter().enumerate() {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Unsupported => "unsupported",
            Severity::Warning => "warning",
        };
        let quote = |text: &str| {
            let mut quoted = Vec::new();
            crate::format::quote(text.as_bytes(), &mut quoted);
            String::from_utf8(quoted).unwrap_or_default()
        };
        let help = finding.help.as_deref().map_or("null".to_owned(), quote);
        let _ = write!(
            out,
            "{}\n  {{\"severity\":\"{severity}\",\"file\":{},\"line\":{},\"column\":{},\"path\":{},\"message\":{},\"help\":{help}}}",
            if index > 0 { "," } else { "" },
            quote(&finding.file),
            finding.pos.line,
            finding.pos.column,
            quote(&finding.path),
            quote(&finding.message),
        );
    }
    out.push_str(if diagnostics.is_empty() { "]" } else { "\n]" });
    out
}
