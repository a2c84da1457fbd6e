//! Configs of filters that the host of the engine brings along ([`Registry`]): of types that Envoy does not have, so they are
//! handed over as JSON text.

use super::diagnostic::Path;
use super::source::{Key, Kind, Node};
use super::typed::{Json, Typer, json as json_of};
use crate::filter::{FilterKind, Registry, type_name};
use std::sync::Arc;

/// Envoy's wrappers for a config whose type it does not know.
const TYPED_STRUCT: [&str; 2] = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// The config of a host's filter.
#[derive(Debug)]
pub(super) struct Foreign {
    /// What makes filters of it.
    pub(super) kind: Arc<dyn FilterKind>,
    /// The rest of the message, as a JSON object.
    pub(super) json: String,
    /// The whole of it, for who looks at the config.
    pub(super) shown: Json,
}

impl Typer<'_> {
    /// The config of a host's filter, if it is one: `entries` are what stands beside the `@type`.
    pub(super) fn foreign(&self, url: &str, entries: &[(Key, Node)], path: &Path<'_>) -> Option<Foreign> {
        if !path.is_http_filter_config() {
            return None;
        }
        let written_url = url;
        let wrapped = TYPED_STRUCT.contains(&type_name(url));
        let entry = |name: &str| entries.iter().find(|(key, _)| &*key.name == name).map(|(_, node)| node);
        let url = match wrapped {
            true => scalar(entry("type_url").or_else(|| entry("typeUrl"))?)?,
            false => url,
        };
        let kind = find(self.filters, url)?;
        let mut json = String::new();
        match (wrapped, entry("value")) {
            (true, Some(value)) => write(value, &mut json),
            (true, None) => json.push_str("{}"),
            (false, _) => write_object(entries, &mut json),
        }
        let mut shown = vec![("@type".to_owned(), Json::String(written_url.to_owned()))];
        shown.extend(entries.iter().filter(|(_, value)| !value.ignored).map(|(key, value)| (key.name.to_string(), json_of(value))));
        Some(Foreign { kind, json, shown: Json::Object(shown) })
    }
}

fn find(filters: &Registry, url: &str) -> Option<Arc<dyn FilterKind>> {
    filters.get(url).filter(|_| type_name(url) != ROUTER).map(Arc::clone)
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

fn write(node: &Node, out: &mut String) {
    match &node.kind {
        Kind::List(items) => {
            out.push('[');
            for (index, item) in items.iter().filter(|item| !item.ignored).enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Kind::Map(entries) => write_object(entries, out),
        Kind::Scalar { text, plain: false } => write_text(text, out),
        Kind::Scalar { .. } if node.is_null() => out.push_str("null"),
        Kind::Scalar { text, .. } => match &**text {
            "true" | "false" => out.push_str(text),
            // As it was written: a double could not hold every integer.
            number if is_number(number) => out.push_str(number),
            other => write_text(other, out),
        },
    }
}

fn write_object(entries: &[(Key, Node)], out: &mut String) {
    out.push('{');
    for (index, (key, value)) in entries.iter().filter(|(_, value)| !value.ignored).enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        write_text(&key.name, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn write_text(text: &str, out: &mut String) {
    let mut quoted = Vec::new();
    crate::format::quote(text.as_bytes(), &mut quoted);
    out.push_str(&String::from_utf8_lossy(&quoted));
}

/// Whether `text` is a number as JSON writes them (RFC 8259 section 6).
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::super::source::parse;
    use super::*;

    #[test]
    fn yaml_becomes_json() {
        let yaml =
            "{a: 1, b: [-0.5e+3, 01, 0x1f, .5, inf, nan], c: {d: ~, e: true, f: \"1\"}, g: \"q\\\"\\n\", h: 18446744073709551615, i: []}";
        let mut json = String::new();
        write(&parse(yaml).0.expect("a document"), &mut json);
        assert_eq!(
            json,
            r#"{"a":1,"b":[-0.5e+3,"01","0x1f",".5","inf","nan"],"c":{"d":null,"e":true,"f":"1"},"g":"q\"\n","h":18446744073709551615,"i":[]}"#
        );
    }
}
