//! What an engine records in a simulated world gives the same run again, with and without the bytes of bodies.

use weir_core::engine::log::{RecordOptions, Replay};
use weir_core::filter::Registry;
use weir_sim::recipe::Recipe;
use weir_sim::swarm;

fn run(seed: u64, record: Option<RecordOptions>) -> (u64, Vec<(Vec<u8>, u64)>, Registry) {
    let mut scene = swarm::of(&Recipe { record, ..Recipe::of(seed) });
    let report = scene.run();
    assert_eq!(report.failure, None, "seed {seed}");
    let logs = scene.world.logs().into_iter().map(|log| (log.to_bytes().to_vec(), log.digest));
    (report.digest, logs.collect(), scene.world.filters.registry())
}

#[test]
fn a_log_in_which_anything_was_changed_is_refused() {
    let (_, logs, filters) = run(3, Some(RecordOptions::default()));
    let (log, _) = &logs[0];
    let mut rng = weir_core::rng::Rng::new(weir_core::rng::Seed(1));
    for _ in 0..200 {
        let mut changed = log.clone();
        let at = rng.below(changed.len() as u64) as usize;
        changed[at] ^= 1 << rng.below(8);
        let replayed = Replay::open_with(changed.into(), filters.clone()).and_then(|mut replay| replay.run());
        assert!(replayed.is_err(), "byte {at} of {}: {replayed:?}", log.len());
    }
    let behind = [&log[..], b"junk"].concat();
    let error = Replay::open_with(behind.into(), filters).and_then(|mut replay| replay.run()).unwrap_err();
    assert!(error.to_string().contains("there are bytes behind its end"), "{error}");
}

#[test]
fn every_engine_of_every_world_replays() {
    for seed in 0..128 {
        let (plain, ..) = run(seed, None);
        let mut digests = Vec::new();
        for bodies in [false, true] {
            let options = RecordOptions { bodies, about: format!("seed {seed}").into() };
            let (world, logs, filters) = run(seed, Some(options));
            assert_eq!(world, plain, "recording changed the world of seed {seed}");
            for (log, digest) in &logs {
                let mut replay =
                    Replay::open_with(log.clone().into(), filters.clone()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                replay.explain();
                let summary = replay.run().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert!(summary.whole && summary.digest == *digest, "seed {seed}: {summary}");
            }
            digests.push(logs.into_iter().map(|(_, digest)| digest).collect::<Vec<_>>());
        }
        assert_eq!(digests[0], digests[1], "seed {seed}: bodies change the digest");
    }
}
