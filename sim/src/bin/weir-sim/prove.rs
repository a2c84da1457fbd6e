//! `weir-sim prove drain`: every moment of a world at which a drain or an update could lose something.

use crate::progress::bar;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use weir_core::config::Config;
use weir_sim::event::{MS, SECOND};
use weir_sim::own::Plan;
use weir_sim::recipe::Recipe;
use weir_sim::scene::Scene;
use weir_sim::swarm;
use weir_sim::world::Cut;

/// What a world is cut with.
#[derive(Copy, Clone, PartialEq, Eq)]
enum With {
    Drain,
    Update,
}

impl With {
    fn name(self) -> &'static str {
        match self {
            With::Drain => "a drain",
            With::Update => "a config update",
        }
    }
}

/// Cuts a world drawn from a seed.
pub(crate) fn swarm(seed: u64, step: u64) -> ExitCode {
    let recipe = |with, events| match with {
        With::Drain => Recipe { drain_after: Some(events), ..Recipe::of(seed) },
        With::Update => Recipe { update_after: Some(events), ..Recipe::of(seed) },
    };
    prove(
        &format!("the world of seed {seed}"),
        step,
        |with, events| swarm::of(&recipe(with, events)),
        |with, events, why| {
            let name = if with == With::Drain { "drain" } else { "update" };
            let file = format!("weir-sim-{seed}-{name}-{events}.txt");
            let _ = std::fs::write(&file, recipe(with, events).to_string());
            say!("{} at event {events}: {why}\nreplay: weir-sim replay {file}\nshrink: weir-sim shrink {file}", with.name());
        },
    )
}

/// Cuts the world around a config.
pub(crate) fn own(plan: &Plan, update: Option<&Path>, seed: u64, step: u64, millis: u64) -> ExitCode {
    let update: Arc<Config> = match update {
        None => Arc::clone(plan.config()),
        Some(path) => match Plan::read(path, None) {
            Ok(next) => Arc::clone(next.config()),
            Err(why) => return crate::fault(&why),
        },
    };
    let plan = plan.clone().shortened(millis * MS);
    let scene = |with, events| {
        let cut = match with {
            With::Drain => Cut::Drain(20 * SECOND),
            With::Update => Cut::Config(1, Arc::clone(&update)),
        };
        plan.scene(seed, Some((events, cut)))
    };
    prove("the config's world", step, scene, |with, events, why| {
        say!("{} at event {events}: {why}\nsmallest: it is the first event at which it happens; seed {seed}", with.name());
    })
}

fn prove(what: &str, step: u64, scene: impl Fn(With, u64) -> Scene, tell: impl Fn(With, u64, &str)) -> ExitCode {
    for with in [With::Drain, With::Update] {
        let whole = match scene(with, u64::MAX).judge(|_| {}) {
            Ok(whole) => whole,
            Err(why) => {
                say!("{what} fails without {}: {why}", with.name());
                return ExitCode::FAILURE;
            }
        };
        let (mut cuts, bar) = (0, bar(whole.steps.div_ceil(step)));
        for events in (1..=whole.steps).step_by(step as usize) {
            if let Err(why) = scene(with, events).judge(|_| {}) {
                bar.finish_and_clear();
                tell(with, events, &why);
                return ExitCode::FAILURE;
            }
            cuts += 1;
            bar.inc(1);
        }
        bar.finish_and_clear();
        say!("{cuts} cuts of {what} with {}: all clean", with.name());
    }
    ExitCode::SUCCESS
}
