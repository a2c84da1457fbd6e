//! Header edits, and the filter that is made of them.

use super::reader::Reader;
use crate::config::{AppendAction, HeaderEdit, HeaderEdits};
use crate::filter::HeaderMutation;
use crate::format::Template;

/// `request_headers_to_add` and its three siblings.
pub(super) fn read_edits(level: &Reader<'_>) -> HeaderEdits {
    HeaderEdits {
        request: read_list(level, "request_headers_to_remove", "request_headers_to_add"),
        response: read_list(level, "response_headers_to_remove", "response_headers_to_add"),
    }
}

/// What is added comes before what is removed, as in Envoy: a header that is both is gone.
fn read_list(level: &Reader<'_>, remove: &str, add: &str) -> Vec<HeaderEdit> {
    let mut edits = Vec::new();
    for name in level.strings(remove) {
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            level.error(remove, format!("`{name}` cannot be removed: a request without it is none"));
        }
        edits.push(HeaderEdit::Remove(name.into()));
    }
    level.each(add, |option| edits.extend(read_option(&option)));
    edits
}

/// `HeaderValueOption`.
fn read_option(option: &Reader<'_>) -> Option<HeaderEdit> {
    let mut append = match option.enumeration("append_action") {
        1 => AppendAction::AddIfAbsent,
        2 => AppendAction::OverwriteOrAdd,
        3 => AppendAction::OverwriteIfExists,
        _ => AppendAction::Append,
    };
    if option.bool("append") == Some(false) && !option.has("append_action") {
        append = AppendAction::OverwriteOrAdd;
    }
    let keep_empty = option.flag("keep_empty_value");
    option.message("header", |header| {
        let name = header.str("key")?;
        let raw = header.bytes("raw_value").map(String::from_utf8_lossy);
        let text = raw.as_deref().or(header.str("value")).unwrap_or_default();
        if name.starts_with(':') && !matches!(name, ":path" | ":method" | ":authority") {
            header.error("key", format!("`{name}` cannot be set"));
        }
        if !crate::http::validate::is_token(name.strip_prefix(':').unwrap_or(name).as_bytes()) {
            header.error("key", format!("`{name}` is not a valid header name"));
        }
        match Template::parse(text) {
            Ok(value) => Some(HeaderEdit::Add { name: name.into(), value, append, keep_empty }),
            Err(problem) => {
                header.error("value", problem.to_string());
                None
            }
        }
    })?
}

/// `envoy.filters.http.header_mutation`.
pub(super) fn read_mutation(config: &Reader<'_>, name: &str) -> HeaderMutation {
    let edits = config.message("mutations", |mutations| HeaderEdits {
        request: read_mutations(&mutations, "request_mutations"),
        response: read_mutations(&mutations, "response_mutations"),
    });
    HeaderMutation::new(name, edits.unwrap_or_default())
}

fn read_mutations(mutations: &Reader<'_>, field: &str) -> Vec<HeaderEdit> {
    let mut edits = Vec::new();
    mutations.each(field, |mutation| {
        edits.extend(mutation.str("remove").map(|name| HeaderEdit::Remove(name.into())));
        edits.extend(mutation.message("append", |option| read_option(&option)).flatten());
    });
    edits
}
