//! A config of the user's own in a world of their own.

use crate::progress::bar;
use std::process::ExitCode;
use weir_sim::own::{Plan, Report, line};

pub(crate) fn run(plan: &Plan, first: u64, seeds: u64, requests: bool) -> ExitCode {
    let bar = bar(seeds.saturating_mul(100));
    for seed in (first..).take(seeds as usize) {
        let mut scene = plan.scene(seed, None);
        let judged = scene.judge(|_| bar.inc(1));
        bar.suspend(|| {
            if requests {
                scene.world.exchanges.iter().for_each(|exchanged| say!("{}", line(exchanged)));
            }
            say!("{}", Report::of(&scene.world));
            match &judged {
                Ok(report) => say!("seed {seed}: {} events, digest {:016x}: all checks hold", report.steps, report.digest),
                Err(why) => say!("seed {seed}: {why}\nreplay: the same command with --seed {seed} --seeds 1 --requests"),
            }
        });
        if judged.is_err() {
            return ExitCode::FAILURE;
        }
    }
    bar.finish_and_clear();
    ExitCode::SUCCESS
}
