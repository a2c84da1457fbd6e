//! Header edits of route tables, virtual hosts, routes and weighted clusters.

use crate::config::{AppendAction, HeaderEdit};
use crate::format::{Facts, Names};
use crate::http::{Fields, Name, RequestHead, ResponseHead};
use crate::record::Record;

/// Edits a request. A removed or set `:authority` or `host` is Host; `:path` and `:method` can be set.
pub fn apply_request_edits(edits: &[HeaderEdit], head: &mut RequestHead, record: &Record, names: Names<'_>) {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => head.fields.remove_named(name.as_bytes()),
            HeaderEdit::Add { name, value, append, keep_empty } => {
                let mut text = Vec::new();
                value.write(&Facts { request: head, response: None, trailers: None, record, names }, "", &mut text);
                if name.eq_ignore_ascii_case(":path") {
                    head.set_path_and_query(&text);
                } else if name.eq_ignore_ascii_case(":method") {
                    head.set_method(&text);
                } else if name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host") {
                    head.fields.set(Name::Host, &text);
                } else {
                    add(&mut head.fields, name, &text, *append, *keep_empty);
                }
            }
        }
    }
}

/// Edits a response.
pub fn apply_response_edits(edits: &[HeaderEdit], request: &RequestHead, head: &mut ResponseHead, record: &Record, names: Names<'_>) {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => head.fields.remove_named(name.as_bytes()),
            HeaderEdit::Add { name, value, append, keep_empty } => {
                let mut text = Vec::new();
                value.write(&Facts { request, response: Some(head), trailers: None, record, names }, "", &mut text);
                add(&mut head.fields, name, &text, *append, *keep_empty);
            }
        }
    }
}

/// A value that a template made may hold what a peer sent; what may not stand in a field is dropped.
fn add(fields: &mut Fields, name: &str, value: &[u8], append: AppendAction, keep_empty: bool) {
    let value = value.trim_ascii();
    let value: std::borrow::Cow<'_, [u8]> = match value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        true => value.iter().copied().filter(|byte| *byte >= 0x20 && *byte != 0x7f).collect(),
        false => value.into(),
    };
    if value.is_empty() && !keep_empty {
        return;
    }
    let name = name.as_bytes();
    let exists = fields.get_named(name).is_some();
    match append {
        AppendAction::Append => fields.push(name, &value),
        AppendAction::AddIfAbsent if !exists => fields.push(name, &value),
        AppendAction::OverwriteOrAdd => fields.set_named(name, &value),
        AppendAction::OverwriteIfExists if exists => fields.set_named(name, &value),
        AppendAction::AddIfAbsent | AppendAction::OverwriteIfExists => {}
    }
}
