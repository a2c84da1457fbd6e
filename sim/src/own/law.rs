//! How long things take: the same always, evenly spread, or exponentially.

use crate::event::Time;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use weir_core::rng::Rng;

/// A law that durations follow: `10ms`, `1ms..20ms`, or `exp 10ms`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Law {
    /// From and to, evenly.
    Even(Time, Time),
    /// Mostly short, sometimes long; this on average.
    Exponential(Time),
}

impl Law {
    /// Always this long.
    pub fn always(time: Time) -> Law {
        Law::Even(time, time)
    }

    /// A duration by this law.
    pub fn draw(self, rng: &mut Rng) -> Time {
        match self {
            Law::Even(from, to) => from + rng.below(to - from + 1),
            Law::Exponential(mean) => exponential(mean, rng),
        }
    }

    /// No duration is longer, if there is such a bound.
    pub fn longest(self) -> Option<Time> {
        match self {
            Law::Even(_, to) => Some(to),
            Law::Exponential(_) => None,
        }
    }
}

/// The logarithm of an even draw, in whole numbers so that it is the same on every machine. Within 1 %: the logarithm
/// between two powers of two is taken to be straight, corrected by a parabola.
fn exponential(mean: Time, rng: &mut Rng) -> Time {
    const LN_2: u128 = 45_426; // of 2^16
    let draw = rng.bits() | 1;
    let zeros = draw.leading_zeros();
    let fraction = u128::from((draw << zeros << 1) >> 48); // 0 to 2^16
    let bend = fraction * (65_536 - fraction) / 65_536 * 22_600 / 65_536;
    let log2 = u128::from(zeros + 1) * 65_536 - fraction - bend;
    (u128::from(mean) * log2 * LN_2 / (65_536 * 65_536)) as Time
}

/// The longest duration a file may name: a hundred of them added up still fit the clock.
const LONGEST: u128 = 10_000 * 3_600_000_000_000;

/// Reads a duration: a number and `ns`, `us`, `ms`, `s`, `m` or `h`, at most 10,000 hours.
pub fn duration(text: &str) -> Result<Time, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit.trim() {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(format!("`{text}` is not a duration: write a number and ns, us, ms, s, m or h")),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = part.len().min(9);
    let digits_only = format!("{whole}{}", &part[..digits]);
    if digits_only.is_empty() || digits_only.contains('.') {
        return Err(format!("`{text}` is not a duration: write a number before the unit"));
    }
    let nanos = digits_only.parse::<u128>().ok().and_then(|number| number.checked_mul(u128::from(unit)));
    let nanos = nanos.map(|nanos| nanos / 10u128.pow(digits as u32)).filter(|nanos| *nanos <= LONGEST);
    nanos.and_then(|nanos| Time::try_from(nanos).ok()).ok_or_else(|| format!("`{text}` is too long: at most 10000h"))
}

impl FromStr for Law {
    type Err = String;

    fn from_str(text: &str) -> Result<Law, String> {
        if let Some(mean) = text.trim().strip_prefix("exp") {
            return Ok(Law::Exponential(duration(mean)?));
        }
        let Some((from, to)) = text.split_once("..") else { return Ok(Law::always(duration(text)?)) };
        let (from, to) = (duration(from)?, duration(to)?);
        if from > to { Err(format!("`{text}` ends before it begins")) } else { Ok(Law::Even(from, to)) }
    }
}

impl Display for Law {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = |time: Time| time as f64 / 1e6;
        match self {
            Law::Even(from, to) if from == to => write!(f, "{}ms", ms(*from)),
            Law::Even(from, to) => write!(f, "{}ms..{}ms", ms(*from), ms(*to)),
            Law::Exponential(mean) => write!(f, "exp {}ms", ms(*mean)),
        }
    }
}

impl<'de> Deserialize<'de> for Law {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Law, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A duration in a file.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Time);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        duration(&String::deserialize(deserializer)?).map(Span).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::rng::Seed;

    #[test]
    fn laws_are_read_and_followed() {
        assert_eq!("10ms".parse(), Ok(Law::always(10_000_000)));
        assert_eq!("1.5ms..2s".parse(), Ok(Law::Even(1_500_000, 2_000_000_000)));
        assert_eq!("exp 10us".parse(), Ok(Law::Exponential(10_000)));
        assert_eq!("2s..1s".parse::<Law>(), Err("`2s..1s` ends before it begins".to_owned()));
        assert!("10".parse::<Law>().unwrap_err().contains("write a number and ns"));
        assert!("ms".parse::<Law>().unwrap_err().contains("write a number before"));
        assert_eq!(duration("10000h"), Ok(36_000_000_000_000_000));
        for long in ["10000.1h", "18446744073709551616ns", "33333333333333333333333333333333333333s", &format!("{}s", "9".repeat(60))] {
            assert!(duration(long).unwrap_err().ends_with("is too long: at most 10000h"), "{long}");
        }
        assert!(duration("1.2.3s").unwrap_err().contains("write a number before"));
        let mut rng = Rng::new(Seed(4));
        assert!((0..1000).all(|_| (5..=9).contains(&Law::Even(5, 9).draw(&mut rng))));
    }

    #[test]
    fn exponential_has_its_mean_and_its_tail() {
        let (mut rng, mean, count) = (Rng::new(Seed(4)), 1_000_000, 100_000);
        let draws: Vec<Time> = (0..count).map(|_| Law::Exponential(mean).draw(&mut rng)).collect();
        let average = draws.iter().sum::<Time>() / count;
        assert!((980_000..1_020_000).contains(&average), "{average}");
        // e^-3 of them are longer than three times the mean.
        let long = draws.iter().filter(|draw| **draw > 3 * mean).count();
        assert!((4_600..5_400).contains(&long), "{long}");
    }
}
