//! `weir-sim`: runs simulated worlds.

use clap::{Parser, Subcommand};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use weir_sim::check::{Check, Verdict};
use weir_sim::observe::Observation;
use weir_sim::swarm;
use weir_sim::world::World;

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
        /// Prints everything that happens.
        #[arg(long)]
        trace: bool,
    },
    /// Plants each of the known faults and tells which check notices it. Needs a build with `--cfg weir_plants`.
    Plants {
        /// How many seeds to try for each.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
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

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { seed, seeds, trace } => run(seed, seeds, trace),
        Command::Plants { seeds } => plants(seeds),
    }
}

#[allow(clippy::print_stdout)]
fn run(first: u64, seeds: u64, trace: bool) -> ExitCode {
    let (mut requests, mut steps, mut digest) = (0, 0, 0u64);
    for seed in first..first + seeds {
        let mut scene = if trace { swarm::describe(seed) } else { swarm::draw(seed) };
        if trace {
            scene.checks.insert(0, Box::new(Trace));
        }
        let Ok(report) = catch_unwind(AssertUnwindSafe(|| scene.run())) else {
            println!("seed {seed}: the engine panicked at {:.6} ms", scene.world.now as f64 / 1e6);
            println!("replay: weir-sim run --seed {seed} --trace");
            return ExitCode::FAILURE;
        };
        requests += scene.world.ledger.entries.len();
        steps += report.steps;
        digest = digest.rotate_left(1) ^ report.digest;
        if let Some((at, check, why)) = report.failure {
            println!("seed {seed}: {check} failed at {}.{:09} s: {why}", at / 1_000_000_000, at % 1_000_000_000);
            if trace {
                println!("{}", scene.about);
            }
            println!("replay: weir-sim run --seed {seed} --trace");
            return ExitCode::FAILURE;
        }
    }
    println!("{seeds} worlds, {requests} requests, {steps} events, digest {digest:016x}: all checks hold");
    ExitCode::SUCCESS
}

/// Plants each fault and tells which check notices it, and after how many seeds.
#[cfg(weir_plants)]
#[allow(clippy::print_stdout)]
fn plants(seeds: u64) -> ExitCode {
    use weir_core::plant::{Plant, plant};
    println!("| planted | what it does | caught by | seeds |");
    println!("| --- | --- | --- | --- |");
    let mut missed = 0;
    for fault in Plant::ALL {
        plant(Some(*fault));
        // A planted fault may also break what the engine asserts about itself.
        let found = (0..seeds).find_map(|seed| {
            let caught = std::panic::catch_unwind(|| swarm::draw(seed).run().failure.map(|(_, check, _)| check));
            caught.unwrap_or(Some("an assertion")).map(|check| (check, seed + 1))
        });
        missed += u32::from(found.is_none());
        let (check, count) = found.map_or(("nothing", format!("none of {seeds}")), |(check, count)| (check, count.to_string()));
        println!("| `{fault:?}` | {} | `{check}` | {count} |", fault.about());
    }
    plant(None);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(weir_plants))]
#[allow(clippy::print_stdout)]
fn plants(_: u64) -> ExitCode {
    println!(
        "this build has no faults to plant; RUSTFLAGS=\"--cfg weir_plants\" cargo run --release --target-dir target/plants -p weir-sim -- plants"
    );
    ExitCode::FAILURE
}
