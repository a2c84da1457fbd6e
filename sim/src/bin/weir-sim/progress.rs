//! A bar on a terminal, nothing elsewhere: what is printed for programs stays the same byte for byte.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over so many steps.
pub(crate) fn bar(steps: u64) -> ProgressBar {
    if steps < 2 {
        return ProgressBar::hidden();
    }
    // It draws on standard error, and only if that is a terminal.
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {elapsed}, {eta} left");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
