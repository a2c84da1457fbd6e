//! `StringMatcher`, `HeaderMatcher`, `QueryParameterMatcher` and regular expressions.

use super::reader::Reader;
use crate::config::{HeaderMatch, QueryMatch, TextMatch, ValueMatch};
use regex::bytes::{Regex, RegexBuilder};
use std::sync::Arc;

/// Largest compiled regular expression, in bytes: RE2's default budget is of this order.
const REGEX_SIZE: usize = 1 << 20;

/// A regular expression that must match the whole text, or any part of it.
fn compile(pattern: &str, whole: bool) -> Result<Regex, String> {
    let build = |pattern: &str| RegexBuilder::new(pattern).unicode(false).size_limit(REGEX_SIZE).build();
    // Compiled alone first: `a)(b` must not become right by being put into parentheses.
    let alone = build(pattern).map_err(|problem| problem.to_string().lines().last().unwrap_or_default().trim().to_owned())?;
    match whole {
        true => build(&format!(r"\A(?:{pattern})\z")).map_err(|problem| problem.to_string()),
        false => Ok(alone),
    }
}

/// `RegexMatcher`.
pub(super) fn read_regex(matcher: &Reader<'_>, whole: bool) -> Option<Regex> {
    matcher.ignore(&["google_re2"]);
    match compile(matcher.str("regex")?, whole) {
        Ok(regex) => Some(regex),
        Err(problem) => {
            matcher.error("regex", format!("is not a regular expression in RE2 syntax: {problem}"));
            None
        }
    }
}

/// `StringMatcher`.
pub(super) fn read_text(matcher: &Reader<'_>) -> Option<TextMatch> {
    let ignore_case = matcher.flag("ignore_case");
    let text = |name: &str| matcher.text(name).map(Arc::<str>::from);
    if let Some(text) = text("exact") {
        return Some(TextMatch::Exact { text, ignore_case });
    }
    if let Some(text) = text("prefix") {
        return Some(TextMatch::Prefix { text, ignore_case });
    }
    if let Some(text) = text("suffix") {
        return Some(TextMatch::Suffix { text, ignore_case });
    }
    if let Some(text) = text("contains") {
        return Some(TextMatch::Contains { text, ignore_case });
    }
    matcher.message("safe_regex", |regex| read_regex(&regex, true)).flatten().map(TextMatch::Regex)
}

/// `HeaderMatcher`, its deprecated forms included. Without a specifier the header must be there.
pub(super) fn read_header(matcher: &Reader<'_>) -> Option<HeaderMatch> {
    let name: Arc<str> = matcher.str("name")?.into();
    let exact = |field: &str| matcher.str(field).map(Arc::<str>::from);
    let value = if matcher.has("string_match") {
        matcher.message("string_match", |text| read_text(&text)).flatten().map(ValueMatch::Text)
    } else if matcher.has("range_match") {
        matcher.message("range_match", |range| ValueMatch::Range(range.i64("start").unwrap_or(0), range.i64("end").unwrap_or(0)))
    } else if matcher.has("present_match") {
        matcher.bool("present_match").map(ValueMatch::Present)
    } else if matcher.has("safe_regex_match") {
        matcher
            .message("safe_regex_match", |regex| read_regex(&regex, true))
            .flatten()
            .map(|regex| ValueMatch::Text(TextMatch::Regex(regex)))
    } else if let Some(text) = exact("exact_match") {
        Some(ValueMatch::Text(TextMatch::Exact { text, ignore_case: false }))
    } else if let Some(text) = exact("prefix_match") {
        Some(ValueMatch::Text(TextMatch::Prefix { text, ignore_case: false }))
    } else if let Some(text) = exact("suffix_match") {
        Some(ValueMatch::Text(TextMatch::Suffix { text, ignore_case: false }))
    } else if let Some(text) = exact("contains_match") {
        Some(ValueMatch::Text(TextMatch::Contains { text, ignore_case: false }))
    } else {
        Some(ValueMatch::Present(true))
    };
    Some(HeaderMatch {
        name,
        value: value?,
        invert: matcher.flag("invert_match"),
        missing_as_empty: matcher.flag("treat_missing_header_as_empty"),
    })
}

/// `QueryParameterMatcher`.
pub(super) fn read_query(matcher: &Reader<'_>) -> Option<QueryMatch> {
    let name = matcher.str("name")?.into();
    let value = matcher.message("string_match", |text| read_text(&text));
    if matcher.bool("present_match") == Some(false) {
        matcher.unsupported("present_match", "Weir does not implement `present_match: false` yet");
    }
    match value {
        Some(None) => None,
        Some(text) => Some(QueryMatch { name, value: text }),
        None => Some(QueryMatch { name, value: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regex_matches_the_whole_text_and_cannot_break_out() {
        let regex = compile("/a|/b", true).map_err(|e| panic!("{e}"));
        assert!(regex.is_ok_and(|r| r.is_match(b"/a") && r.is_match(b"/b") && !r.is_match(b"/ab") && !r.is_match(b"x/a")));
        assert!(compile("a)(b", true).is_err());
        assert!(compile("(?:a{1000}){1000}", true).is_err());
    }
}
