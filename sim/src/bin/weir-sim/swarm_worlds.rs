//! Worlds drawn from seeds: run many, look at one, make one small.

use crate::progress::bar;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_sim::check::{Check, Verdict};
use weir_sim::observe::Observation;
use weir_sim::recipe::Recipe;
use weir_sim::shrink::{failing, shrink};
use weir_sim::swarm;
use weir_sim::world::World;

/// Prints what happens, as a check that nothing fails.
#[derive(Debug)]
struct Trace;

impl Check for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        say!("{:14.6} ms  {what:?}", world.now as f64 / 1e6);
        Ok(())
    }
}

pub(crate) fn run(first: u64, seeds: u64) -> ExitCode {
    let (mut requests, mut steps, mut secure, mut digest, bar) = (0, 0, 0, 0u64, bar(seeds));
    for seed in (first..).take(seeds as usize) {
        let mut scene = swarm::draw(seed);
        match scene.judge(|_| {}) {
            Ok(report) => {
                requests += scene.world.ledger.entries.len();
                steps += report.steps;
                secure += u64::from(scene.world.speaks_tls());
                digest = digest.rotate_left(1) ^ report.digest;
                bar.inc(1);
            }
            Err(why) => {
                bar.finish_and_clear();
                say!("seed {seed}: {why}\nreplay: weir-sim replay {seed}\nshrink: weir-sim shrink {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    bar.finish_and_clear();
    say!("{seeds} worlds ({secure} with TLS), {requests} requests, {steps} events, digest {digest:016x}: all checks hold");
    ExitCode::SUCCESS
}

pub(crate) fn replay(recipe: &Recipe) -> ExitCode {
    let mut scene = swarm::describe(recipe);
    scene.checks.insert(0, Box::new(Trace));
    say!("{}", scene.about);
    match scene.judge(|_| {}) {
        Ok(report) => say!("{} events, digest {:016x}: all checks hold", report.steps, report.digest),
        Err(why) => {
            say!("{why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)]
pub(crate) fn shrink_to_file(recipe: &Recipe, out: Option<PathBuf>) -> ExitCode {
    let fails = |recipe: &Recipe| catch_unwind(|| failing(recipe)).unwrap_or(Some("a panic"));
    let Some(check) = fails(recipe) else {
        say!("all checks hold in this world: there is nothing to shrink");
        return ExitCode::FAILURE;
    };
    let small = shrink(recipe, |less| fails(less) == Some(check));
    let size = swarm::size(&small);
    let out = out.unwrap_or_else(|| format!("weir-sim-{}.txt", recipe.seed).into());
    if let Err(error) = std::fs::write(&out, small.to_string()) {
        eprintln!("cannot write {}: {error}", out.display());
        return ExitCode::from(2);
    }
    say!(
        "{check} still fails with {} of {} clients, {} of {} requests, {} of {} faults and updates\nreplay: weir-sim replay {}",
        size.clients - small.without_clients.len() as u64,
        size.clients,
        sent(&small, size.requests),
        size.requests,
        size.planned - small.without_planned.len() as u64,
        size.planned,
        out.display()
    );
    ExitCode::SUCCESS
}

/// Requests of the clients that are sent before the world fails.
pub(crate) fn sent(recipe: &Recipe, requests: u64) -> usize {
    let mut scene = swarm::of(recipe);
    let _ = scene.judge(|_| {});
    scene.world.ledger.entries.iter().take(requests as usize).filter(|entry| entry.sent.is_some()).count()
}
