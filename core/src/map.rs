//! Hash maps that behave the same in every run.

use foldhash::fast::FixedState;

/// A hash map with a fixed hasher that keeps insertion order. Its keys come from the config, never from a
/// peer, so a fixed hasher cannot be flooded.
pub type Map<K, V> = indexmap::IndexMap<K, V, FixedState>;
