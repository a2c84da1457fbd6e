//! From a tree of YAML to a tree of messages: names, types, `Any`, well-known types and rules, with every
//! fault reported.

use super::diagnostic::{Findings, Path, Pos, Severity, nearest};
use super::foreign::Foreign;
use super::schema::Schema;
use super::source::{Key, Kind as Source, Node};
use crate::filter::Registry;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use std::cell::Cell;

/// A message: what is set in it, and where.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) descriptor: MessageDescriptor,
    pub(super) pos: Pos,
    pub(super) fields: Vec<Set>,
    /// Something in it is wrong, so that not all of it may have been read.
    pub(super) broken: bool,
}

/// A field that is set.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) value: Value,
    /// Where its key is.
    pub(super) pos: Pos,
    /// Whether anybody has asked for it.
    pub(super) read: Cell<bool>,
}

/// A value. Wrappers are the values they wrap.
#[derive(Debug)]
pub(super) enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    String(String),
    Bytes(Vec<u8>),
    Enum(i32),
    /// Nanoseconds.
    Duration(i128),
    Message(Box<Message>),
    /// An `Any` that holds this message.
    Any(Box<Message>),
    /// `Struct`, `Value` or `ListValue`.
    Json(Json),
    /// An `Any` that holds the config of a host's filter.
    Foreign(Foreign),
    List(Vec<(Value, Pos)>),
    Map(Vec<(String, Value, Pos)>),
}

/// Free-form JSON.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Set> {
        self.fields.iter().find(|set| set.number == number)
    }
}

impl Value {
    /// Whether it is what the field would be if it were not set.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Value::Bool(value) => !value,
            Value::I64(n) => *n == 0,
            Value::U64(n) => *n == 0,
            Value::F64(n) => *n == 0.0,
            Value::String(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Enum(n) => *n == 0,
            Value::List(items) => items.is_empty(),
            Value::Map(items) => items.is_empty(),
            Value::Duration(_) | Value::Message(_) | Value::Any(_) | Value::Json(_) | Value::Foreign(_) => false,
        }
    }
}

/// Reads trees into messages.
pub(super) struct Typer<'a> {
    pub(super) schema: &'a Schema,
    pub(super) findings: &'a Findings,
    /// Filters of the host.
    pub(super) filters: &'a Registry,
}

impl Typer<'_> {
    /// Reads `node` as a message.
    pub(super) fn message(&self, node: Node, descriptor: MessageDescriptor, path: &Path<'_>) -> Option<Message> {
        let pos = node.pos;
        let Source::Map(entries) = node.kind else {
            let found = if matches!(node.kind, Source::List(_)) { "a list" } else { "a plain value" };
            self.findings.error(pos, path, format!("must be a map with the fields of {}, not {found}", descriptor.full_name()));
            return None;
        };
        Some(self.fields(entries, descriptor, pos, path))
    }

    fn fields(&self, entries: Vec<(Key, Node)>, descriptor: MessageDescriptor, pos: Pos, path: &Path<'_>) -> Message {
        let mut message = Message { pos, fields: Vec::with_capacity(entries.len()), descriptor, broken: false };
        let before = self.findings.refusals();
        for (key, node) in entries {
            if node.ignored {
                continue;
            }
            let descriptor = &message.descriptor;
            let Some(field) = descriptor.get_field_by_name(&key.name).or_else(|| descriptor.get_field_by_json_name(&key.name)) else {
                self.unknown_field(&key, descriptor, path);
                continue;
            };
            if node.is_null() && !is_json(&field) {
                continue;
            }
            self.refuse_second_member(&message, &field, &key, path);
            let value = {
                let path = path.field(field.name());
                self.field_value(node, &field, &path)
            };
            if let Some(value) = value {
                if message.field(field.number()).is_some() {
                    self.findings.error(key.pos, &path.field(field.name()), "is set twice, under both of its names");
                }
                message.fields.push(Set {
                    number: field.number(),
                    name: field.name().to_owned(),
                    value,
                    pos: key.pos,
                    read: Cell::new(false),
                });
            }
        }
        self.schema.rules(&message.descriptor).check(&message, path, self.findings);
        message.broken = self.findings.refusals() > before;
        message
    }

    fn unknown_field(&self, key: &Key, descriptor: &MessageDescriptor, path: &Path<'_>) {
        let names: Vec<FieldDescriptor> = descriptor.fields().collect();
        let near = nearest(&key.name, names.iter().map(FieldDescriptor::name));
        let help = near.map(|name| format!("did you mean `{name}`?"));
        let message = match descriptor.reserved_names().any(|name| name == &*key.name) {
            true => format!("was removed from {}", descriptor.full_name()),
            false => format!("no such field in {}", descriptor.full_name()),
        };
        self.findings.add(Severity::Error, key.pos, &path.field(&key.name), message, help);
    }

    fn refuse_second_member(&self, message: &Message, field: &FieldDescriptor, key: &Key, path: &Path<'_>) {
        let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else { return };
        let other = oneof.fields().find(|other| other.number() != field.number() && message.field(other.number()).is_some());
        if let Some(other) = other {
            let text = format!("only one of the `{}` alternatives can be set, and `{}` is set already", oneof.name(), other.name());
            self.findings.error(key.pos, &path.field(field.name()), text);
        }
    }

    fn field_value(&self, node: Node, field: &FieldDescriptor, path: &Path<'_>) -> Option<Value> {
        if field.is_map() {
            return self.map(node, field, path);
        }
        if field.is_list() {
            return self.list(node, &field.kind(), path);
        }
        self.value(node, &field.kind(), path)
    }

    fn list(&self, node: Node, kind: &Kind, path: &Path<'_>) -> Option<Value> {
        let pos = node.pos;
        let items = match node.kind {
            Source::List(items) => items,
            // Envoy takes a single value for a list of one.
            kind => {
                let text = "a list is expected here; the single value is taken as a list of one".to_owned();
                self.findings.add(Severity::Warning, pos, path, text, Some("write `- ` before it".to_owned()));
                vec![Node { pos, kind, ignored: false }]
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            if item.ignored {
                continue;
            }
            let (pos, path) = (item.pos, path.index(index));
            values.extend(self.value(item, kind, &path).map(|value| (value, pos)));
        }
        Some(Value::List(values))
    }

    fn map(&self, node: Node, field: &FieldDescriptor, path: &Path<'_>) -> Option<Value> {
        let Kind::Message(entry) = field.kind() else { return None };
        let Source::Map(entries) = node.kind else {
            self.findings.error(node.pos, path, "must be a map");
            return None;
        };
        let kind = entry.map_entry_value_field().kind();
        let mut values = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let value = self.value(node, &kind, &path.key(&key.name));
            values.extend(value.map(|value| (key.name.into_string(), value, key.pos)));
        }
        Some(Value::Map(values))
    }

    fn value(&self, node: Node, kind: &Kind, path: &Path<'_>) -> Option<Value> {
        match kind {
            Kind::Message(descriptor) => self.message_value(node, descriptor, path),
            Kind::Enum(descriptor) => {
                let (text, _) = self.scalar(&node, path)?;
                let by_name = descriptor.values().find(|value| value.name().eq_ignore_ascii_case(text)).map(|value| value.number());
                let number = by_name.or_else(|| text.parse().ok());
                if number.is_none() {
                    let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
                    let help = match nearest(text, names.iter().map(String::as_str)) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("one of {}", names.join(", ")),
                    };
                    let message = format!("`{text}` is not a value of {}", descriptor.full_name());
                    self.findings.add(Severity::Error, node.pos, path, message, Some(help));
                }
                number.map(Value::Enum)
            }
            Kind::Bool => {
                let (text, plain) = self.scalar(&node, path)?;
                match text {
                    "true" | "True" | "TRUE" => Some(Value::Bool(true)),
                    "false" | "False" | "FALSE" => Some(Value::Bool(false)),
                    // YAML 1.1, as yaml-cpp reads it.
                    "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" if plain => Some(Value::Bool(true)),
                    "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" if plain => Some(Value::Bool(false)),
                    other => self.bad(&node, path, format!("`{other}` is not `true` or `false`")),
                }
            }
            Kind::String => self.scalar(&node, path).map(|(text, _)| Value::String(text.to_owned())),
            Kind::Bytes => {
                let (text, _) = self.scalar(&node, path)?;
                match base64(text) {
                    Some(bytes) => Some(Value::Bytes(bytes)),
                    None => self.bad(&node, path, "is not base64".to_owned()),
                }
            }
            Kind::Double | Kind::Float => {
                let (text, _) = self.scalar(&node, path)?;
                let number = match text {
                    "NaN" | ".nan" => Some(f64::NAN),
                    "Infinity" | ".inf" => Some(f64::INFINITY),
                    "-Infinity" | "-.inf" => Some(f64::NEG_INFINITY),
                    other => other.parse().ok(),
                };
                match number {
                    Some(number) => Some(Value::F64(number)),
                    None => self.bad(&node, path, format!("`{text}` is not a number")),
                }
            }
            integer => self.integer(&node, integer, path),
        }
    }

    fn integer(&self, node: &Node, kind: &Kind, path: &Path<'_>) -> Option<Value> {
        let (text, _) = self.scalar(node, path)?;
        let (min, max) = match kind {
            Kind::Uint32 | Kind::Fixed32 => (0, i128::from(u32::MAX)),
            Kind::Uint64 | Kind::Fixed64 => (0, i128::from(u64::MAX)),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        // proto3 JSON takes `1e3` and `5.0` for integers.
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 1e18).then_some(number as i128);
        let parsed: Option<i128> = text.parse().ok().or_else(|| text.parse().ok().and_then(whole));
        match parsed {
            Some(number) if (min..=max).contains(&number) => {
                Some(if min == 0 { Value::U64(number as u64) } else { Value::I64(number as i64) })
            }
            Some(_) => self.bad(node, path, format!("{text} is out of range: {min} to {max}")),
            None => self.bad(node, path, format!("`{text}` is not an integer")),
        }
    }

    fn bad(&self, node: &Node, path: &Path<'_>, message: String) -> Option<Value> {
        self.findings.error(node.pos, path, message);
        None
    }

    fn scalar<'n>(&self, node: &'n Node, path: &Path<'_>) -> Option<(&'n str, bool)> {
        match &node.kind {
            Source::Scalar { text, plain } => Some((text, *plain)),
            Source::List(_) => {
                self.findings.error(node.pos, path, "must be a single value, not a list");
                None
            }
            Source::Map(_) => {
                self.findings.error(node.pos, path, "must be a single value, not a map");
                None
            }
        }
    }

    fn message_value(&self, node: Node, descriptor: &MessageDescriptor, path: &Path<'_>) -> Option<Value> {
        match descriptor.full_name() {
            "google.protobuf.Duration" => self.duration(&node, path),
            "google.protobuf.Any" => self.any(node, path),
            "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => Some(Value::Json(json(&node))),
            name if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
                // A wrapper; Envoy takes `{value: 5}` too.
                let kind = descriptor.get_field_by_name("value")?.kind();
                match &node.kind {
                    Source::Map(entries) if entries.len() == 1 && &*entries[0].0.name == "value" => {
                        self.value(entries[0].1.clone(), &kind, path)
                    }
                    _ => self.value(node, &kind, path),
                }
            }
            _ => self.message(node, descriptor.clone(), path).map(|message| Value::Message(Box::new(message))),
        }
    }

    fn duration(&self, node: &Node, path: &Path<'_>) -> Option<Value> {
        let (text, _) = self.scalar(node, path)?;
        match parse_duration(text) {
            Some(nanos) => Some(Value::Duration(nanos)),
            None => {
                let message = format!("`{text}` is not a duration");
                let help = "write seconds with an `s`, as in `0.25s`".to_owned();
                self.findings.add(Severity::Error, node.pos, path, message, Some(help));
                None
            }
        }
    }

    fn any(&self, node: Node, path: &Path<'_>) -> Option<Value> {
        let pos = node.pos;
        let Source::Map(mut entries) = node.kind else {
            self.findings.error(pos, path, "must be a map with an `@type`");
            return None;
        };
        let Some(at) = entries.iter().position(|(key, _)| &*key.name == "@type") else {
            let help = "add `\"@type\": type.googleapis.com/...`".to_owned();
            self.findings.add(Severity::Error, pos, path, "has no `@type`".to_owned(), Some(help));
            return None;
        };
        let (key, type_node) = entries.remove(at);
        let type_path = path.field("@type");
        let (url, _) = self.scalar(&type_node, &type_path)?;
        if let Some(foreign) = self.foreign(url, &entries, path) {
            return Some(Value::Foreign(foreign));
        }
        let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
        let Some(descriptor) = self.schema.message(name) else {
            self.unknown_type(name, key.pos, &type_path);
            return None;
        };
        let message = self.fields(entries, descriptor, pos, path);
        Some(Value::Any(Box::new(message)))
    }

    fn unknown_type(&self, name: &str, pos: Pos, path: &Path<'_>) {
        if self.schema.is_other(name) {
            let message = format!("Weir does not implement {name} yet");
            return self.findings.add(Severity::Unsupported, pos, path, message, None);
        }
        let names = self.schema.names();
        let help = nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        self.findings.add(Severity::Error, pos, path, format!("there is no type `{name}`"), help);
    }
}

fn is_json(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Value")
}

/// proto3 JSON: decimal seconds with up to nine digits behind the point, and an `s`.
fn parse_duration(text: &str) -> Option<i128> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) || fraction.len() > 9 || whole.len() > 12 {
        return None;
    }
    let seconds: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    let total = seconds * 1_000_000_000 + nanos;
    (seconds <= 315_576_000_000).then_some(if negative { -total } else { total })
}

/// Standard or URL-safe, padded or not, as proto3 JSON takes it.
fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::engine::{DecodePaddingMode, GeneralPurposeConfig, general_purpose::GeneralPurpose};
    use base64::{Engine as _, alphabet};
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let decode = |alphabet: &alphabet::Alphabet| GeneralPurpose::new(alphabet, config).decode(&text).ok();
    decode(&alphabet::STANDARD).or_else(|| decode(&alphabet::URL_SAFE))
}

pub(super) fn json(node: &Node) -> Json {
    match &node.kind {
        Source::List(items) => Json::List(items.iter().map(json).collect()),
        Source::Map(entries) => Json::Object(entries.iter().map(|(key, value)| (key.name.to_string(), json(value))).collect()),
        Source::Scalar { text, plain: false } => Json::String(text.to_string()),
        Source::Scalar { .. } if node.is_null() => Json::Null,
        Source::Scalar { text, .. } => match &**text {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            other => other.parse().map_or_else(|_| Json::String(other.to_owned()), Json::Number),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("0.25s"), Some(250_000_000));
        assert_eq!(parse_duration("-1s"), Some(-1_000_000_000));
        assert_eq!(parse_duration(".5s"), Some(500_000_000));
        for bad in ["", "s", "5", "250ms", "1.0000000001s", "1e3s", "999999999999s", "--1s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_in_all_its_forms() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(base64(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(base64("$"), None);
    }
}
