//! Filters that the host of the engine brings along, by the type of their config.

use super::FilterFactory;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// A kind of filter that the host has: makes factories of configs.
pub trait FilterKind: Debug + Send + Sync {
    /// A factory for the filter called `name`, whose `typed_config` without its `@type` is this JSON object.
    ///
    /// # Errors
    /// What is wrong with the config; it becomes a diagnostic at its place in the file.
    fn configure(&self, name: &str, config_json: &str) -> Result<Arc<dyn FilterFactory>, String>;
}

/// The host's kinds of filters. A kind takes precedence over one of Weir's of the same type, the router excepted.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: BTreeMap<Box<str>, Arc<dyn FilterKind>>,
}

impl Registry {
    /// Adds the kind whose config has this type: a URL as in `@type`, of which what stands behind the last slash counts,
    /// as in Envoy. Answers the kind that had the type before.
    pub fn register(&mut self, type_url: &str, kind: Arc<dyn FilterKind>) -> Option<Arc<dyn FilterKind>> {
        self.kinds.insert(type_name(type_url).into(), kind)
    }

    /// The kind for a type.
    pub fn get(&self, type_url: &str) -> Option<&Arc<dyn FilterKind>> {
        self.kinds.get(type_name(type_url))
    }
}

/// What counts of a type's URL.
pub(crate) fn type_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}
