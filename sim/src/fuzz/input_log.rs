//! Input logs that nobody wrote so.

use crate::recipe::Recipe;
use crate::swarm;
use std::sync::LazyLock;
use weir_core::engine::log::{RecordOptions, Replay};

/// A log of a small world.
static LOG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let recipe = Recipe { without_clients: (1..1000).collect(), record: Some(RecordOptions::default()), ..Recipe::of(1) };
    let mut scene = swarm::of(&recipe);
    scene.run();
    scene.world.logs().first().map(|log| log.to_bytes().to_vec()).unwrap_or_default()
});

/// Any bytes as an input log, and a real one with bytes changed as `data` says: each is replayed or refused.
///
/// # Panics
/// If it is neither.
pub fn input_log(data: &[u8]) {
    replay(data.to_vec());
    let mut changed = LOG.clone();
    for change in data.chunks_exact(4) {
        let [high, low, how, byte] = change else { continue };
        let at = (usize::from(*high) << 8 | usize::from(*low)) * 3 % changed.len();
        match how % 3 {
            0 => changed[at] = *byte,
            1 => changed.truncate(changed.len() - usize::from(*byte).min(changed.len() - 1)),
            _ => drop(changed.splice(at..at, [*byte])),
        }
    }
    replay(changed);
}

fn replay(log: Vec<u8>) {
    if let Ok(mut replay) = Replay::open(log.into()) {
        let _ = replay.run();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::rng::{Rng, Seed};

    #[test]
    fn the_log_itself_replays() {
        let mut replay = Replay::open(LOG.clone().into()).expect("a log");
        let summary = replay.run().expect("it replays");
        assert!(summary.whole && summary.entries > 20, "{summary}");
    }

    #[test]
    fn changed_logs_are_replayed_or_refused() {
        let mut rng = Rng::new(Seed(5));
        for _ in 0..300 {
            let data: Vec<u8> = (0..4 * (1 + rng.below(6))).map(|_| rng.bits() as u8).collect();
            input_log(&data);
        }
    }
}
