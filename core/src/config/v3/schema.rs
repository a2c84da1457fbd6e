//! Envoy's v3 messages, as the `envoy-types` package describes them.

use super::rules::{self, MessageRules};
use crate::map::Map;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/v3.bin"));
    DescriptorPool::decode(bytes).unwrap_or_default()
});

/// Sorted full names of the messages that Envoy has and Weir has no descriptors of.
static OTHERS: &str = include_str!(concat!(env!("OUT_DIR"), "/other-messages.txt"));

/// The rules that have been looked up so far: reading them out of a descriptor takes longer than checking a message.
static RULES: LazyLock<Mutex<Map<String, Arc<MessageRules>>>> = LazyLock::new(Mutex::default);

/// The descriptors and their rules.
#[derive(Debug, Default)]
pub(super) struct Schema;

impl Schema {
    pub(super) fn message(&self, full_name: &str) -> Option<MessageDescriptor> {
        POOL.get_message_by_name(full_name)
    }

    /// The rules of a message.
    pub(super) fn rules(&self, message: &MessageDescriptor) -> Arc<MessageRules> {
        let mut known = RULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = known.get(message.full_name()) {
            return Arc::clone(rules);
        }
        let rules = Arc::new(rules::of(message));
        known.insert(message.full_name().to_owned(), Arc::clone(&rules));
        rules
    }

    /// Whether Envoy has a message that Weir does not read.
    pub(super) fn is_other(&self, full_name: &str) -> bool {
        let others: Vec<&str> = OTHERS.lines().collect();
        others.binary_search(&full_name).is_ok()
    }

    /// Every message name, for "did you mean".
    pub(super) fn names(&self) -> Vec<String> {
        let known = POOL.all_messages().map(|message| message.full_name().to_owned());
        known.chain(OTHERS.lines().map(str::to_owned)).filter(|name| name.contains(".v3.")).collect()
    }
}
