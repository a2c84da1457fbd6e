//! `weir-sim`: runs simulated worlds.

use clap::{Parser, Subcommand};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use weir_sim::check::{Check, Verdict};
use weir_sim::observe::Observation;
use weir_sim::recipe::Recipe;
use weir_sim::shrink::{failing, shrink};
use weir_sim::swarm::{self, Scene};
use weir_sim::world::{Report, World};

#[derive(Parser)]
#[command(name = "weir-sim", version, about = "Runs Weir's engine in simulated worlds")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the worlds of many seeds and stops at the first that fails.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
    },
    /// Runs one world again and prints everything that happens in it.
    Replay {
        /// A seed, or a file that `shrink` wrote.
        world: String,
    },
    /// Finds the smallest part of a failing world that still fails, and writes it to a file that replays.
    Shrink {
        /// A seed, or a file.
        world: String,
        /// Where to write it; `weir-sim-SEED.txt` unless it is given.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Cuts a world at every single event with a drain of the process, and runs each to its end.
    ProveDrain {
        /// The seed of the world.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Cuts at every so manieth event only.
        #[arg(long, default_value_t = 1)]
        step: u64,
    },
    /// Plants each of the known faults and tells which check notices it. Needs a build with `--cfg weir_plants`.
    Plants {
        /// How many seeds to try for each.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// Tells how small the failing worlds can be made, too.
        #[arg(long)]
        shrink: bool,
    },
}

/// Prints what happens, as a check that nothing fails.
#[derive(Debug)]
struct Trace;

impl Check for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    #[allow(clippy::print_stdout)]
    fn observe(&mut self, what: &Observation, world: &World) -> Verdict {
        println!("{:14.6} ms  {what:?}", world.now as f64 / 1e6);
        Ok(())
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { seed, seeds } => run(seed, seeds),
        Command::Replay { world } => with_world(&world, |recipe| replay(&recipe)),
        Command::Shrink { world, out } => with_world(&world, |recipe| shrink_to_file(&recipe, out)),
        Command::ProveDrain { seed, step } => prove_drain(seed, step.max(1)),
        Command::Plants { seeds, shrink } => plants(seeds, shrink),
    }
}

/// A world by its seed or its file.
#[allow(clippy::print_stderr)]
fn with_world(world: &str, then: impl FnOnce(Recipe) -> ExitCode) -> ExitCode {
    if let Ok(seed) = world.parse() {
        return then(Recipe::of(seed));
    }
    let recipe = match std::fs::read_to_string(world) {
        Ok(text) => text.parse::<Recipe>().map_err(|mistake| format!("{world}:{mistake}")),
        Err(error) => Err(format!("{world} is neither a seed nor a file that can be read: {error}")),
    };
    match recipe {
        Ok(recipe) => then(recipe),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Runs a scene to its end. A panic is a failure like any other.
fn judge(scene: &mut Scene) -> Result<Report, String> {
    let report = catch_unwind(AssertUnwindSafe(|| scene.run()));
    let place = |at: u64| format!("{}.{:09} s", at / 1_000_000_000, at % 1_000_000_000);
    match report {
        Err(_) => Err(format!("a panic at {}", place(scene.world.now))),
        Ok(Report { failure: Some((at, check, why)), .. }) => Err(format!("{check} failed at {}: {why}", place(at))),
        Ok(report) => Ok(report),
    }
}

#[allow(clippy::print_stdout)]
fn run(first: u64, seeds: u64) -> ExitCode {
    let (mut requests, mut steps, mut digest) = (0, 0, 0u64);
    for seed in first..first + seeds {
        let mut scene = swarm::draw(seed);
        match judge(&mut scene) {
            Ok(report) => {
                requests += scene.world.ledger.entries.len();
                steps += report.steps;
                digest = digest.rotate_left(1) ^ report.digest;
            }
            Err(why) => {
                println!("seed {seed}: {why}\nreplay: weir-sim replay {seed}\nshrink: weir-sim shrink {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{seeds} worlds, {requests} requests, {steps} events, digest {digest:016x}: all checks hold");
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout)]
fn replay(recipe: &Recipe) -> ExitCode {
    let mut scene = swarm::describe(recipe);
    scene.checks.insert(0, Box::new(Trace));
    println!("{}", scene.about);
    match judge(&mut scene) {
        Ok(report) => println!("{} events, digest {:016x}: all checks hold", report.steps, report.digest),
        Err(why) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn shrink_to_file(recipe: &Recipe, out: Option<PathBuf>) -> ExitCode {
    let fails = |recipe: &Recipe| catch_unwind(|| failing(recipe)).unwrap_or(Some("a panic"));
    let Some(check) = fails(recipe) else {
        println!("all checks hold in this world: there is nothing to shrink");
        return ExitCode::FAILURE;
    };
    let small = shrink(recipe, |less| fails(less) == Some(check));
    let size = swarm::size(&small);
    let out = out.unwrap_or_else(|| format!("weir-sim-{}.txt", recipe.seed).into());
    if let Err(error) = std::fs::write(&out, small.to_string()) {
        eprintln!("cannot write {}: {error}", out.display());
        return ExitCode::from(2);
    }
    println!(
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
fn sent(recipe: &Recipe, requests: u64) -> usize {
    let mut scene = swarm::of(recipe);
    let _ = judge(&mut scene);
    scene.world.ledger.entries.iter().take(requests as usize).filter(|entry| entry.sent.is_some()).count()
}

#[allow(clippy::print_stdout)]
fn prove_drain(seed: u64, step: u64) -> ExitCode {
    let Ok(whole) =
        judge(&mut swarm::of(&Recipe { drain_after: Some(u64::MAX), ..Recipe::of(seed) })).or_else(|_| judge(&mut swarm::draw(seed)))
    else {
        println!("the world of seed {seed} fails without a drain: weir-sim replay {seed}");
        return ExitCode::FAILURE;
    };
    let mut cuts = 0;
    for events in (1..=whole.steps).step_by(step as usize) {
        let recipe = Recipe { drain_after: Some(events), ..Recipe::of(seed) };
        if let Err(why) = judge(&mut swarm::of(&recipe)) {
            let file = format!("weir-sim-{seed}-drain-{events}.txt");
            let _ = std::fs::write(&file, recipe.to_string());
            println!("a drain at event {events} of {}: {why}\nreplay: weir-sim replay {file}", whole.steps);
            return ExitCode::FAILURE;
        }
        cuts += 1;
    }
    println!("{cuts} cuts of the world of seed {seed} with a drain: all clean");
    ExitCode::SUCCESS
}

/// Plants each fault and tells which check notices it, and after how many seeds.
#[cfg(weir_plants)]
#[allow(clippy::print_stdout)]
fn plants(seeds: u64, smaller: bool) -> ExitCode {
    use weir_core::plant::{Plant, plant};
    println!("| planted | what it does | caught by | seeds |{}", if smaller { " shrunk to |" } else { "" });
    println!("| --- | --- | --- | --- |{}", if smaller { " --- |" } else { "" });
    let mut missed = 0;
    for fault in Plant::ALL {
        plant(Some(*fault));
        // A planted fault may also break what the engine asserts about itself.
        let fails = |recipe: &Recipe| catch_unwind(|| failing(recipe)).unwrap_or(Some("an assertion"));
        let found = (0..seeds).find_map(|seed| fails(&Recipe::of(seed)).map(|check| (check, seed)));
        missed += u32::from(found.is_none());
        let (check, count) = found.map_or(("nothing", format!("none of {seeds}")), |(check, seed)| (check, (seed + 1).to_string()));
        print!("| `{fault:?}` | {} | `{check}` | {count} |", fault.about());
        if let (Some((check, seed)), true) = (found, smaller) {
            let small = shrink(&Recipe::of(seed), |less| fails(less) == Some(check));
            print!(" {} requests |", sent(&small, swarm::size(&small).requests));
        }
        println!();
    }
    plant(None);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(weir_plants))]
#[allow(clippy::print_stdout)]
fn plants(_: u64, _: bool) -> ExitCode {
    println!(
        "this build has no faults to plant; RUSTFLAGS=\"--cfg weir_plants\" cargo run --release --target-dir target/plants -p weir-sim -- plants"
    );
    ExitCode::FAILURE
}
