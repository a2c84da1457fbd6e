//! Messages back to JSON, as the admin page shows them: proto field names, Envoy's own forms.

use super::diagnostic::{Findings, Path};
use super::schema::Schema;
use super::source;
use super::typed::{Json, Message, Typer, Value};
use crate::filter::Registry;
use prost_reflect::Kind;

/// The bootstrap in `text` as Envoy would dump it, with these filters of the host's; `None` if it does not load.
pub fn bootstrap_json(text: &str, filters: &Registry) -> Option<Json> {
    let (findings, schema) = (Findings::new(""), Schema);
    let descriptor = schema.message("envoy.config.bootstrap.v3.Bootstrap")?;
    let typer = Typer { schema: &schema, findings: &findings, filters };
    let message = typer.message(source::parse(text).0?, descriptor, &Path::ROOT)?;
    Some(to_json(&message, None))
}

fn to_json(message: &Message, type_name: Option<&str>) -> Json {
    let mut entries = Vec::new();
    if let Some(name) = type_name {
        entries.push(("@type".to_owned(), Json::String(format!("type.googleapis.com/{name}"))));
    }
    for set in message.fields.iter().filter(|set| !set.value.is_default()) {
        let kind = message.descriptor.get_field(set.number).map(|field| field.kind());
        let shown = match SECRET.contains(&set.name.as_str()) && message.descriptor.full_name().contains(".transport_sockets.tls.") {
            true => redacted(&set.value),
            false => value(&set.value, kind.as_ref()),
        };
        entries.push((set.name.clone(), shown));
    }
    Json::Object(entries)
}

/// Fields of TLS messages that nobody is to see, as Envoy marks them.
const SECRET: [&str; 5] = ["private_key", "password", "pkcs12", "keys", "secret"];

/// Where a secret is may be seen; what it is may not.
fn redacted(secret: &Value) -> Json {
    let hide = |message: &Message| {
        let entries = message.fields.iter().map(|set| {
            let shown = match set.name.as_str() {
                "inline_bytes" | "inline_string" => Json::String("[redacted]".to_owned()),
                _ => value(&set.value, None),
            };
            (set.name.clone(), shown)
        });
        Json::Object(entries.collect())
    };
    match secret {
        Value::Message(message) => hide(message),
        Value::List(items) => Json::List(items.iter().map(|(item, _)| redacted(item)).collect()),
        _ => Json::String("[redacted]".to_owned()),
    }
}

fn value(value_: &Value, kind: Option<&Kind>) -> Json {
    match value_ {
        Value::Bool(flag) => Json::Bool(*flag),
        Value::I64(number) => Json::Number(*number as f64),
        Value::U64(number) => Json::Number(*number as f64),
        Value::F64(number) => Json::Number(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => {
            use base64::Engine as _;
            Json::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Value::Enum(number) => match kind {
            Some(Kind::Enum(e)) => e.get_value(*number).map_or(Json::Number(f64::from(*number)), |v| Json::String(v.name().to_owned())),
            _ => Json::Number(f64::from(*number)),
        },
        Value::Duration(nanos) => Json::String(duration(*nanos)),
        Value::Message(message) => to_json(message, None),
        Value::Any(message) => to_json(message, Some(message.descriptor.full_name())),
        Value::Json(json) => json.clone(),
        Value::Foreign(foreign) => foreign.shown.clone(),
        Value::List(items) => Json::List(items.iter().map(|(item, _)| value(item, kind)).collect()),
        Value::Map(items) => Json::Object(items.iter().map(|(key, item, _)| (key.clone(), value(item, None))).collect()),
    }
}

/// proto3 JSON writes no digits, three, six or nine.
fn duration(nanos: i128) -> String {
    let (sign, nanos) = if nanos < 0 { ("-", -nanos) } else { ("", nanos) };
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    match rest {
        0 => format!("{sign}{whole}s"),
        _ if rest % 1_000_000 == 0 => format!("{sign}{whole}.{:03}s", rest / 1_000_000),
        _ if rest % 1000 == 0 => format!("{sign}{whole}.{:06}s", rest / 1000),
        _ => format!("{sign}{whole}.{rest:09}s"),
    }
}

impl Json {
    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The members of a list; none if it is not one.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }

    /// Appends it as JSON text, indented by one space a level as Envoy's admin page does.
    pub fn write(&self, indent: usize, out: &mut String) {
        let line = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', level));
        };
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Json::Number(number) => out.push_str(&number.to_string()),
            Json::String(text) => {
                let mut quoted = Vec::new();
                crate::format::quote(text.as_bytes(), &mut quoted);
                out.push_str(&String::from_utf8_lossy(&quoted));
            }
            Json::List(items) if items.is_empty() => out.push_str("[]"),
            Json::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    line(out, indent + 1);
                    item.write(indent + 1, out);
                }
                line(out, indent);
                out.push(']');
            }
            Json::Object(entries) if entries.is_empty() => out.push_str("{}"),
            Json::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    line(out, indent + 1);
                    Json::String(key.clone()).write(0, out);
                    out.push_str(": ");
                    value.write(indent + 1, out);
                }
                line(out, indent);
                out.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let secret = |from: &str| {
            format!(
                "static_resources: {{ secrets: [{{ name: c, tls_certificate: {{ certificate_chain: {{ inline_string: shown }}, private_key: {{ {from} }} }} }}] }}"
            )
        };
        for (from, expected) in [("inline_string: hidden", "[redacted]"), ("filename: /a/key.pem", "/a/key.pem")] {
            let mut out = String::new();
            bootstrap_json(&secret(from), &Registry::default()).unwrap().write(0, &mut out);
            assert!(out.contains("shown") && out.contains(expected) && !out.contains("hidden"), "{out}");
        }
    }
}
