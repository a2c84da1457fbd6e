//! `weir replay`: an input log, run again.

use crate::cli::ReplayArgs;
use crate::environment::Environment;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use weir_core::engine::log::{LogError, Replay, Summary};
use weir_core::engine::{Event, Step};
use weir_core::id::ExchangeId;

/// Why a log was not replayed to where it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read the input log {0}: {1}")]
    Read(String, std::io::Error),
    /// The log is not what it should be, or the replay is not.
    #[error("{0}: {1}")]
    Log(String, LogError),
    /// The engine panics.
    #[error("{file}: entry {entry}, {time:?} after the beginning, makes the engine panic; everything before it went as recorded")]
    Panic {
        /// The file.
        file: String,
        /// Which entry, from one.
        entry: u64,
        /// When.
        time: Duration,
    },
    /// There is no such exchange.
    #[error("{0}: no exchange `{1}`; --list lists them")]
    NoExchange(String, String),
}

/// Reads a time: `2.5s`, `300ms`, or seconds.
///
/// # Errors
/// Says what it should be.
pub fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix("us"), text.strip_suffix('s')) {
        (Some(number), ..) => (number, 1e-3),
        (_, Some(number), _) => (number, 1e-6),
        (.., Some(number)) => (number, 1.0),
        _ => (text, 1.0),
    };
    let seconds = number.trim().parse::<f64>().ok().map(|number| number * unit);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("`{text}` is not a time since the log began: 2.5s, 300ms, or seconds"))
}

/// Replays, and writes what was asked for to `out`.
///
/// # Errors
/// If the log cannot be read or replayed, or does not have what was asked for.
pub fn run(args: &ReplayArgs, mut out: impl FnMut(String)) -> Result<Summary, ReplayError> {
    let file = args.file.display().to_string();
    let bytes = std::fs::read(&args.file).map_err(|error| ReplayError::Read(file.clone(), error))?;
    let fault = |error| ReplayError::Log(file.clone(), error);
    let mut replay = Replay::open_with(bytes.into(), Environment::process().filters).map_err(fault)?;
    out(format!("{file}: {}", replay.about()));
    let mut story = Story::default();
    if args.list || args.explain.is_some() {
        replay.explain();
    }
    let until = args.until.unwrap_or(Duration::MAX);
    loop {
        let stepped = catch_unwind(AssertUnwindSafe(|| replay.step_until(until)));
        let Ok(stepped) = stepped else {
            let Summary { entries: entry, time, .. } = replay.summary();
            return Err(ReplayError::Panic { file, entry, time });
        };
        let went_on = stepped.map_err(fault)?;
        for event in replay.take_events() {
            if let Event::Step(step) = event {
                story.tell(step, &replay, args, &mut out);
            }
        }
        if !went_on {
            break;
        }
    }
    story.finish(args, &mut out);
    if let (Some(wanted), false) = (&args.explain, story.found) {
        return Err(ReplayError::NoExchange(file, wanted.clone()));
    }
    Ok(replay.summary())
}

/// What was told of the exchanges under way.
#[derive(Default)]
struct Story {
    open: BTreeMap<ExchangeId, Chapter>,
    told: u64,
    found: bool,
}

struct Chapter {
    number: u64,
    lines: Vec<String>,
}

impl Story {
    fn tell(&mut self, step: Step, replay: &Replay, args: &ReplayArgs, out: &mut impl FnMut(String)) {
        let chapter = self.open.entry(step.exchange).or_insert_with(|| {
            self.told += 1;
            Chapter { number: self.told, lines: Vec::new() }
        });
        let at = step.at.since(replay.began());
        chapter.lines.push(format!("{:6}.{:06} s  {}", at.as_secs(), at.subsec_micros(), step.what));
        if step.end.is_some()
            && let Some(chapter) = self.open.remove(&step.exchange)
        {
            self.show(&chapter, args, out);
        }
    }

    fn show(&mut self, chapter: &Chapter, args: &ReplayArgs, out: &mut impl FnMut(String)) {
        let lines = &chapter.lines;
        if args.list {
            let last = lines.last().filter(|_| lines.len() > 1).map_or("", |line| line.split_once(" s  ").map_or("", |(_, what)| what));
            out(format!("{:6} {}: {last}", chapter.number, lines.first().map_or("", String::as_str)));
        }
        let wanted = |wanted: &String| {
            *wanted == chapter.number.to_string() || lines.iter().any(|line| line.ends_with(&format!("x-request-id {wanted}")))
        };
        if args.explain.as_ref().is_some_and(wanted) {
            self.found = true;
            out(format!("exchange {}", chapter.number));
            lines.iter().for_each(|line| out(line.clone()));
        }
    }

    /// Exchanges that had not ended.
    fn finish(&mut self, args: &ReplayArgs, out: &mut impl FnMut(String)) {
        for chapter in std::mem::take(&mut self.open).into_values() {
            self.show(&chapter, args, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("2.5s"), Ok(Duration::from_millis(2500)));
        assert_eq!(time("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(time("7us"), Ok(Duration::from_micros(7)));
        assert_eq!(time("4"), Ok(Duration::from_secs(4)));
        assert_eq!(time("-1"), Err("`-1` is not a time since the log began: 2.5s, 300ms, or seconds".to_owned()));
        assert!(time("soon").is_err());
    }
}
