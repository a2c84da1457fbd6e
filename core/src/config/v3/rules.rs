//! The constraints that the protos state about their own fields (`validate.rules` of protoc-gen-validate),
//! checked without being written down again.

use super::diagnostic::{Findings, Path, Pos};
use super::typed::{Message, Value};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value as Raw};
use regex::Regex;

/// The rules of one message.
#[derive(Debug, Default)]
pub(super) struct MessageRules {
    fields: Vec<FieldRules>,
    /// Oneofs of which one member must be set: name and members.
    required_oneofs: Vec<(String, Vec<String>)>,
}

#[derive(Debug)]
struct FieldRules {
    number: u32,
    name: String,
    /// Whether the rules hold for the default value, too, when nothing is set.
    checks_default: bool,
    required: bool,
    rules: Vec<Rule>,
}

#[derive(Debug)]
enum Rule {
    MinLen(u64),
    MaxLen(u64),
    MaxBytes(u64),
    Pattern(Regex),
    Prefix(String),
    Suffix(String),
    In(Vec<String>),
    HeaderName { strict: bool },
    HeaderValue { strict: bool },
    MinItems(u64),
    MaxItems(u64),
    Unique,
    Items(Vec<Rule>),
    Number { what: Comparison, bound: f64 },
    Duration { what: Comparison, nanos: i128 },
    DefinedOnly(Vec<i32>),
    NotIn(Vec<i32>),
    BoolConst(bool),
    IgnoreEmpty,
}

#[derive(Copy, Clone, Debug)]
enum Comparison {
    Greater,
    AtLeast,
    Less,
    AtMost,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, value: T, bound: T) -> bool {
        match self {
            Comparison::Greater => value > bound,
            Comparison::AtLeast => value >= bound,
            Comparison::Less => value < bound,
            Comparison::AtMost => value <= bound,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Comparison::Greater => "greater than",
            Comparison::AtLeast => "at least",
            Comparison::Less => "less than",
            Comparison::AtMost => "at most",
        }
    }
}

/// Reads the rules of a message out of its descriptor.
pub(super) fn of(message: &MessageDescriptor) -> MessageRules {
    let mut rules = MessageRules::default();
    let Some(extension) = message.parent_pool().get_extension_by_name("validate.rules") else { return rules };
    for field in message.fields() {
        let options = field.options();
        if !options.has_extension(&extension) {
            continue;
        }
        let value = options.get_extension(&extension);
        let Some(stated) = value.as_message() else { continue };
        let mut parsed = field_rules(stated);
        if let Kind::Enum(e) = field.kind() {
            add_defined(&mut parsed.1, &e);
        }
        let (mut required, list) = parsed;
        // Of a oneof's members only the one that is set must keep its rules.
        required &= field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
        if required || !list.is_empty() {
            let checks_default = !field.supports_presence() && field.containing_oneof().is_none();
            rules.fields.push(FieldRules { number: field.number(), name: field.name().to_owned(), checks_default, required, rules: list });
        }
    }
    if let Some(required) = message.parent_pool().get_extension_by_name("validate.required") {
        for oneof in message.oneofs() {
            let options = oneof.options();
            if options.has_extension(&required) && options.get_extension(&required).as_bool() == Some(true) {
                let members = oneof.fields().map(|field| field.name().to_owned()).collect();
                rules.required_oneofs.push((oneof.name().to_owned(), members));
            }
        }
    }
    rules
}

fn add_defined(rules: &mut [Rule], e: &prost_reflect::EnumDescriptor) {
    for rule in rules {
        match rule {
            Rule::DefinedOnly(known) => *known = e.values().map(|value| value.number()).collect(),
            Rule::Items(items) => add_defined(items, e),
            _ => {}
        }
    }
}

/// Whether the field must be set, and its rules.
fn field_rules(stated: &DynamicMessage) -> (bool, Vec<Rule>) {
    let (mut required, mut rules) = (false, Vec::new());
    for (kind, value) in stated.fields() {
        let Some(body) = value.as_message() else { continue };
        required |= body.get_field_by_name("required").and_then(|v| v.as_bool()).unwrap_or(false);
        match kind.name() {
            "string" | "bytes" => string_rules(body, &mut rules),
            "repeated" => repeated_rules(body, &mut rules),
            "map" => {
                if let Some(min) = number(body, "min_pairs") {
                    rules.push(Rule::MinItems(min as u64));
                }
            }
            "enum" => {
                if flag(body, "defined_only") {
                    rules.push(Rule::DefinedOnly(Vec::new()));
                }
                let excluded = list(body, "not_in").iter().filter_map(Raw::as_i32).collect::<Vec<_>>();
                if !excluded.is_empty() {
                    rules.push(Rule::NotIn(excluded));
                }
            }
            "bool" => {
                if body.fields().any(|(field, _)| field.name() == "const") {
                    rules.push(Rule::BoolConst(flag(body, "const")));
                }
            }
            "duration" => duration_rules(body, &mut rules),
            "message" | "any" => {}
            _ => number_rules(body, &mut rules),
        }
        if flag(body, "ignore_empty") {
            rules.push(Rule::IgnoreEmpty);
        }
    }
    (required, rules)
}

fn flag(body: &DynamicMessage, name: &str) -> bool {
    body.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or(false)
}

fn number(body: &DynamicMessage, name: &str) -> Option<f64> {
    let field = body.descriptor().get_field_by_name(name)?;
    if !body.has_field(&field) {
        return None;
    }
    let value = body.get_field(&field);
    value
        .as_u64()
        .map(|n| n as f64)
        .or_else(|| value.as_i64().map(|n| n as f64))
        .or_else(|| value.as_u32().map(f64::from))
        .or_else(|| value.as_i32().map(f64::from))
        .or_else(|| value.as_f64())
        .or_else(|| value.as_f32().map(f64::from))
}

fn text(body: &DynamicMessage, name: &str) -> Option<String> {
    let value = body.get_field_by_name(name)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn list(body: &DynamicMessage, name: &str) -> Vec<Raw> {
    body.get_field_by_name(name).and_then(|value| value.as_list().map(<[Raw]>::to_vec)).unwrap_or_default()
}

fn string_rules(body: &DynamicMessage, rules: &mut Vec<Rule>) {
    for (name, make) in [
        ("min_len", Rule::MinLen as fn(u64) -> Rule),
        ("max_len", Rule::MaxLen),
        ("max_bytes", Rule::MaxBytes),
        ("min_bytes", Rule::MinLen),
    ] {
        if let Some(bound) = number(body, name) {
            rules.push(make(bound as u64));
        }
    }
    rules.extend(text(body, "pattern").and_then(|pattern| Regex::new(&pattern).ok()).map(Rule::Pattern));
    rules.extend(text(body, "prefix").map(Rule::Prefix));
    rules.extend(text(body, "suffix").map(Rule::Suffix));
    let allowed: Vec<String> = list(body, "in").iter().filter_map(|value| value.as_str().map(str::to_owned)).collect();
    if !allowed.is_empty() {
        rules.push(Rule::In(allowed));
    }
    // `strict` is true unless it is set to false.
    let strict = !body.fields().any(|(field, value)| field.name() == "strict" && value.as_bool() == Some(false));
    match body.get_field_by_name("well_known_regex").and_then(|value| value.as_enum_number()) {
        Some(1) => rules.push(Rule::HeaderName { strict }),
        Some(2) => rules.push(Rule::HeaderValue { strict }),
        _ => {}
    }
}

fn repeated_rules(body: &DynamicMessage, rules: &mut Vec<Rule>) {
    if let Some(min) = number(body, "min_items").filter(|n| *n > 0.0) {
        rules.push(Rule::MinItems(min as u64));
    }
    if let Some(max) = number(body, "max_items").filter(|n| *n > 0.0) {
        rules.push(Rule::MaxItems(max as u64));
    }
    if flag(body, "unique") {
        rules.push(Rule::Unique);
    }
    if let Some(items) = body.get_field_by_name("items").and_then(|value| value.as_message().cloned()) {
        let (_, items) = field_rules(&items);
        if !items.is_empty() {
            rules.push(Rule::Items(items));
        }
    }
}

const COMPARISONS: [(&str, Comparison); 4] =
    [("gt", Comparison::Greater), ("gte", Comparison::AtLeast), ("lt", Comparison::Less), ("lte", Comparison::AtMost)];

fn number_rules(body: &DynamicMessage, rules: &mut Vec<Rule>) {
    for (name, what) in COMPARISONS {
        rules.extend(number(body, name).map(|bound| Rule::Number { what, bound }));
    }
}

fn duration_rules(body: &DynamicMessage, rules: &mut Vec<Rule>) {
    for (name, what) in COMPARISONS {
        let Some(field) = body.descriptor().get_field_by_name(name) else { continue };
        if !body.has_field(&field) {
            continue;
        }
        let value = body.get_field(&field);
        let Some(bound) = value.as_message() else { continue };
        let part = |name: &str| number(bound, name).unwrap_or_default() as i128;
        rules.push(Rule::Duration { what, nanos: part("seconds") * 1_000_000_000 + part("nanos") });
    }
}

impl MessageRules {
    /// Reports every rule that `message` breaks.
    pub(super) fn check(&self, message: &Message, path: &Path<'_>, findings: &Findings) {
        for field in &self.fields {
            let path = path.field(&field.name);
            match message.field(field.number) {
                Some(set) => {
                    for rule in &field.rules {
                        check_value(&field.rules, rule, &set.value, set.pos, &path, findings);
                    }
                }
                None if field.required => findings.error(message.pos, &path, "is required, but not set"),
                None if field.checks_default => check_default(&field.rules, message.pos, &path, findings),
                None => {}
            }
        }
        for (oneof, members) in &self.required_oneofs {
            let any =
                members.iter().any(|name| message.descriptor.get_field_by_name(name).is_some_and(|f| message.field(f.number()).is_some()));
            if !any {
                let message_text = format!("one of {} is required (`{oneof}`)", quoted(members));
                findings.error(message.pos, path, message_text);
            }
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A field that is not set has its type's default, which the rules must allow.
fn check_default(rules: &[Rule], pos: Pos, path: &Path<'_>, findings: &Findings) {
    if rules.iter().any(|rule| matches!(rule, Rule::IgnoreEmpty)) {
        return;
    }
    let broken = rules.iter().any(|rule| match rule {
        Rule::MinLen(n) | Rule::MinItems(n) => *n > 0,
        Rule::Number { what, bound } => !what.holds(0.0, *bound),
        Rule::NotIn(excluded) => excluded.contains(&0),
        Rule::In(allowed) => !allowed.iter().any(String::is_empty),
        Rule::Prefix(_) | Rule::Suffix(_) => true,
        Rule::BoolConst(wanted) => *wanted,
        Rule::Pattern(pattern) => !pattern.is_match(""),
        _ => false,
    });
    if broken {
        findings.error(pos, path, "is required, but not set");
    }
}

fn check_value(all: &[Rule], rule: &Rule, value: &Value, pos: Pos, path: &Path<'_>, findings: &Findings) {
    let optional = all.iter().any(|rule| matches!(rule, Rule::IgnoreEmpty));
    let empty = matches!(value, Value::String(text) if text.is_empty()) || matches!(value, Value::U64(0) | Value::I64(0));
    if optional && empty {
        return;
    }
    if let (Rule::Items(rules), Value::List(items)) = (rule, value) {
        for (index, (item, at)) in items.iter().enumerate() {
            let path = path.index(index);
            for rule in rules {
                check_value(rules, rule, item, *at, &path, findings);
            }
        }
        return;
    }
    if let Some(problem) = breach(rule, value) {
        findings.error(pos, path, problem);
    }
}

fn breach(rule: &Rule, value: &Value) -> Option<String> {
    let as_number = || match value {
        Value::U64(n) => Some(*n as f64),
        Value::I64(n) => Some(*n as f64),
        Value::F64(n) => Some(*n),
        _ => None,
    };
    let (broken, text) = match (rule, value) {
        (Rule::MinLen(1), Value::String(text)) => (text.is_empty(), "must not be empty".to_owned()),
        (Rule::MinLen(n), Value::String(text)) => ((text.chars().count() as u64) < *n, format!("must have at least {n} characters")),
        (Rule::MaxLen(n), Value::String(text)) => (text.chars().count() as u64 > *n, format!("must have at most {n} characters")),
        (Rule::MaxBytes(n), Value::String(text)) => (text.len() as u64 > *n, format!("must have at most {n} bytes")),
        (Rule::MinLen(n), Value::Bytes(bytes)) => ((bytes.len() as u64) < *n, format!("must have at least {n} bytes")),
        (Rule::MaxLen(n), Value::Bytes(bytes)) => (bytes.len() as u64 > *n, format!("must have at most {n} bytes")),
        (Rule::Pattern(pattern), Value::String(text)) => (!pattern.is_match(text), format!("must match `{pattern}`")),
        (Rule::Prefix(prefix), Value::String(text)) => (!text.starts_with(prefix.as_str()), format!("must start with `{prefix}`")),
        (Rule::Suffix(suffix), Value::String(text)) => (!text.ends_with(suffix.as_str()), format!("must end with `{suffix}`")),
        (Rule::In(allowed), Value::String(text)) => (!allowed.contains(text), format!("must be one of {}", quoted(allowed))),
        (Rule::HeaderName { strict }, Value::String(text)) => (!is_header_name(text, *strict), "is not a valid header name".to_owned()),
        (Rule::HeaderValue { strict }, Value::String(text)) => (!is_header_value(text, *strict), "is not a valid header value".to_owned()),
        (Rule::MinItems(n), Value::List(items)) => ((items.len() as u64) < *n, format!("must have at least {n} {}", items_word(*n))),
        (Rule::MinItems(n), Value::Map(items)) => ((items.len() as u64) < *n, format!("must have at least {n} {}", items_word(*n))),
        (Rule::MaxItems(n), Value::List(items)) => (items.len() as u64 > *n, format!("must have at most {n} {}", items_word(*n))),
        (Rule::Unique, Value::List(items)) => {
            let texts: Vec<String> = items.iter().map(|(item, _)| format!("{item:?}")).collect();
            (texts.iter().enumerate().any(|(at, text)| texts[..at].contains(text)), "must not hold the same value twice".to_owned())
        }
        (Rule::Number { what, bound }, _) => {
            (as_number().is_some_and(|n| !what.holds(n, *bound)), format!("must be {} {bound}", what.text()))
        }
        (Rule::Duration { what, nanos }, Value::Duration(value)) => {
            (!what.holds(*value, *nanos), format!("must be {} {}s", what.text(), *nanos as f64 / 1e9))
        }
        (Rule::DefinedOnly(known), Value::Enum(n)) => (!known.contains(n), format!("{n} is not a value of this enum")),
        (Rule::NotIn(excluded), Value::Enum(n)) => (excluded.contains(n), "this value is not allowed here".to_owned()),
        (Rule::BoolConst(wanted), Value::Bool(value)) => (wanted != value, format!("must be {wanted}")),
        _ => return None,
    };
    broken.then_some(text)
}

fn items_word(n: u64) -> &'static str {
    if n == 1 { "item" } else { "items" }
}

fn is_header_name(text: &str, strict: bool) -> bool {
    match strict {
        true => text.is_empty() || crate::http::validate::is_token(text.strip_prefix(':').unwrap_or(text).as_bytes()),
        false => !text.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')),
    }
}

fn is_header_value(text: &str, strict: bool) -> bool {
    match strict {
        true => !text.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f),
        false => !text.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')),
    }
}
