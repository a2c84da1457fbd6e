//! `%START_TIME(...)%`.

use crate::http::Civil;
use crate::time::Wall;
use std::io::Write;

/// A strftime format with Envoy's additions for fractions of a second.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeFormat(Option<Box<str>>);

impl TimeFormat {
    /// The format `text`; the empty one is ISO 8601 with milliseconds.
    pub fn parse(text: &str) -> TimeFormat {
        TimeFormat(Some(text).filter(|t| !t.is_empty()).map(Into::into))
    }

    /// Appends `wall`.
    pub fn write(&self, wall: Wall, out: &mut Vec<u8>) {
        let c = Civil::from_wall(wall);
        match &self.0 {
            None => {
                let ms = c.nanos / 1_000_000;
                let _ = write!(out, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}Z", c.year, c.month, c.day, c.hour, c.minute, c.second);
            }
            Some(format) => strftime(format, &c, wall, out),
        }
    }
}

/// The conversions of strftime in the C locale and UTC, and Envoy's `%f` family: `%3f` milliseconds,
/// `%f` nanoseconds, `%s` seconds since the epoch.
fn strftime(format: &str, c: &Civil, wall: Wall, out: &mut Vec<u8>) {
    let mut chars = format.chars();
    while let Some(ch) = chars.next() {
        if ch != '%' {
            let _ = write!(out, "{ch}");
            continue;
        }
        let Some(spec) = chars.next() else { return out.push(b'%') };
        let _ = match spec {
            'Y' => write!(out, "{:04}", c.year),
            'y' => write!(out, "{:02}", c.year % 100),
            'm' => write!(out, "{:02}", c.month),
            'd' => write!(out, "{:02}", c.day),
            'e' => write!(out, "{:2}", c.day),
            'H' => write!(out, "{:02}", c.hour),
            'I' => write!(out, "{:02}", (c.hour + 11) % 12 + 1),
            'M' => write!(out, "{:02}", c.minute),
            'S' => write!(out, "{:02}", c.second),
            'j' => write!(out, "{:03}", c.day_of_year),
            'a' => write!(out, "{}", c.weekday_name()),
            'b' | 'h' => write!(out, "{}", c.month_name()),
            'w' => write!(out, "{}", c.weekday),
            'p' => write!(out, "{}", if c.hour < 12 { "AM" } else { "PM" }),
            'F' => write!(out, "{:04}-{:02}-{:02}", c.year, c.month, c.day),
            'T' => write!(out, "{:02}:{:02}:{:02}", c.hour, c.minute, c.second),
            'R' => write!(out, "{:02}:{:02}", c.hour, c.minute),
            'D' => write!(out, "{:02}/{:02}/{:02}", c.month, c.day, c.year % 100),
            'z' => write!(out, "+0000"),
            'Z' => write!(out, "UTC"),
            's' => write!(out, "{}", wall.as_secs()),
            'f' => write!(out, "{:09}", c.nanos),
            '%' => write!(out, "%"),
            digit @ '1'..='9' => {
                let width = digit as usize - '0' as usize;
                match chars.clone().next() {
                    Some('f') => {
                        chars.next();
                        let nanos = format!("{:09}", c.nanos);
                        write!(out, "{}", &nanos[..width])
                    }
                    _ => write!(out, "%{digit}"),
                }
            }
            other => write!(out, "%{other}"),
        };
    }
}
