//! A world in a few lines: the seed it is drawn from, and what was taken out of it or put in. This is what a failure
//! shrinks to, as a file that replays.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use weir_core::engine::log::RecordOptions;

/// First line of a file.
const HEADER: &str = "weir-sim world 1";

/// A world's seed, and its differences from what the seed draws.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Everything is drawn from this.
    pub seed: u64,
    /// Clients that are not there, by number.
    pub without_clients: BTreeSet<u64>,
    /// Requests that nobody asks.
    pub without_requests: BTreeSet<u64>,
    /// Faults and config updates that do not happen, by their place among those that were drawn.
    pub without_planned: BTreeSet<u64>,
    /// The drain begins after so many events, and not when the seed has it.
    pub drain_after: Option<u64>,
    /// After so many events another config takes effect.
    pub update_after: Option<u64>,
    /// Engines record their inputs. Nothing else is different then.
    pub record: Option<RecordOptions>,
}

/// Why a file is no recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from one.
    pub line: usize,
    /// Column, from one.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Display for Mistake {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl Recipe {
    /// The world of a seed as it is.
    pub fn of(seed: u64) -> Recipe {
        Recipe { seed, ..Recipe::default() }
    }
}

impl Display for Recipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nseed {}", self.seed)?;
        let sets = [
            ("without-clients", &self.without_clients),
            ("without-requests", &self.without_requests),
            ("without-planned", &self.without_planned),
        ];
        for (name, set) in sets.into_iter().filter(|(_, set)| !set.is_empty()) {
            write!(f, "{name}")?;
            let mut numbers = set.iter().copied().peekable();
            while let Some(from) = numbers.next() {
                let mut to = from;
                while let Some(next) = numbers.next_if_eq(&(to + 1)) {
                    to = next;
                }
                if from == to { write!(f, " {from}")? } else { write!(f, " {from}-{to}")? }
            }
            writeln!(f)?;
        }
        for (name, events) in [("drain-after", self.drain_after), ("update-after", self.update_after)] {
            if let Some(events) = events {
                writeln!(f, "{name} {events}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Recipe {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Recipe, Mistake> {
        let mut recipe = Recipe::default();
        let mut lines = text.lines().enumerate();
        let mistake = |line: usize, column: usize, message: String| Mistake { line: line + 1, column: column + 1, message };
        match lines.next() {
            Some((_, HEADER)) => {}
            first => return Err(mistake(0, 0, format!("the first line must be `{HEADER}`, not `{}`", first.map_or("", |(_, line)| line)))),
        }
        for (number, line) in lines {
            let mut words = line.split_ascii_whitespace().map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word));
            let Some((column, key)) = words.next().filter(|(_, key)| !key.starts_with('#')) else { continue };
            let number_of = |(column, word): (usize, &str)| {
                word.parse::<u64>().map_err(|_| mistake(number, column, format!("`{word}` is not a number from 0 to 2^64-1")))
            };
            let missing = || mistake(number, line.len(), format!("`{key}` needs a number"));
            let set = match key {
                "seed" => {
                    recipe.seed = number_of(words.next().ok_or_else(missing)?)?;
                    continue;
                }
                "update-after" => {
                    recipe.update_after = Some(number_of(words.next().ok_or_else(missing)?)?);
                    continue;
                }
                "drain-after" => {
                    recipe.drain_after = Some(number_of(words.next().ok_or_else(missing)?)?);
                    continue;
                }
                "without-clients" => &mut recipe.without_clients,
                "without-requests" => &mut recipe.without_requests,
                "without-planned" => &mut recipe.without_planned,
                other => {
                    let known = "seed, without-clients, without-requests, without-planned, drain-after, update-after";
                    return Err(mistake(number, column, format!("`{other}` is not one of {known}")));
                }
            };
            for (column, word) in words {
                let (from, to) = word.split_once('-').unwrap_or((word, word));
                let (from, to) = (number_of((column, from))?, number_of((column, to))?);
                if to < from || to - from > 10_000_000 {
                    return Err(mistake(number, column, format!("`{word}` is not a range of numbers")));
                }
                set.extend(from..=to);
            }
        }
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let recipe = Recipe {
            seed: 7,
            without_clients: [1, 2, 3, 9].into(),
            without_requests: (5..400).collect(),
            without_planned: [0].into(),
            drain_after: Some(12),
            update_after: Some(13),
            record: None,
        };
        let text = recipe.to_string();
        assert_eq!(
            text,
            "weir-sim world 1\nseed 7\nwithout-clients 1-3 9\nwithout-requests 5-399\nwithout-planned 0\ndrain-after 12\nupdate-after 13\n"
        );
        assert_eq!(text.parse(), Ok(recipe));
    }

    #[test]
    fn mistakes_have_a_place() {
        let mistake = |text: &str| text.parse::<Recipe>().unwrap_err().to_string();
        assert_eq!(mistake("seed 1"), "1:1: the first line must be `weir-sim world 1`, not `seed 1`");
        assert_eq!(mistake("weir-sim world 1\nseed x"), "2:6: `x` is not a number from 0 to 2^64-1");
        assert_eq!(mistake("weir-sim world 1\n\nwithout-clients 1 9-3"), "3:19: `9-3` is not a range of numbers");
        assert!(mistake("weir-sim world 1\nsede 1").starts_with("2:1: `sede` is not one of seed,"));
        assert_eq!(mistake("weir-sim world 1\nseed"), "2:5: `seed` needs a number");
    }
}
