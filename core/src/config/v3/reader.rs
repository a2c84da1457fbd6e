//! Reading messages, and remembering what was read: whatever is set but was never asked for is something
//! that Weir does not do, and is reported.

use super::diagnostic::{Findings, Path, Pos, Severity};
use super::foreign::Foreign;
use super::typed::{Json, Message, Set, Value};
use crate::config::tls::Place;
use crate::time::Duration;

/// One message being read.
#[derive(Copy, Clone)]
pub(super) struct Reader<'a> {
    pub(super) message: &'a Message,
    path: Path<'a>,
    findings: &'a Findings,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a Message, path: Path<'a>, findings: &'a Findings) -> Reader<'a> {
        Reader { message, path, findings }
    }

    fn set(&self, name: &str) -> Option<&'a Set> {
        debug_assert!(
            self.message.descriptor.get_field_by_name(name).is_some(),
            "{} has no field {name}",
            self.message.descriptor.full_name()
        );
        let set = self.message.fields.iter().find(|set| set.name == name)?;
        set.read.set(true);
        Some(set)
    }

    /// Full name of the message.
    pub(super) fn type_name(&self) -> &'a str {
        self.message.descriptor.full_name()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.message.fields.iter().any(|set| set.name == name)
    }

    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        match self.set(name)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    pub(super) fn u64(&self, name: &str) -> Option<u64> {
        match self.set(name)?.value {
            Value::U64(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn u32(&self, name: &str) -> Option<u32> {
        self.u64(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    pub(super) fn i64(&self, name: &str) -> Option<i64> {
        match self.set(name)?.value {
            Value::I64(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn f64(&self, name: &str) -> Option<f64> {
        match self.set(name)?.value {
            Value::F64(value) => Some(value),
            _ => None,
        }
    }

    /// The text of a field that is set and not empty.
    pub(super) fn str(&self, name: &str) -> Option<&'a str> {
        match &self.set(name)?.value {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The text of a field that is set, even if it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match &self.set(name)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        match &self.set(name)?.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number of an enum value; 0 if it is not set.
    pub(super) fn enumeration(&self, name: &str) -> i32 {
        match self.set(name).map(|set| &set.value) {
            Some(Value::Enum(number)) => *number,
            _ => 0,
        }
    }

    /// A duration; a negative one is refused.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let set = self.set(name)?;
        let Value::Duration(nanos) = set.value else { return None };
        match u64::try_from(nanos) {
            Ok(nanos) => Some(Duration::from_nanos(nanos)),
            Err(_) if nanos < 0 => {
                self.findings.error(set.pos, &self.path.field(name), "must not be negative");
                None
            }
            Err(_) => Some(Duration::MAX),
        }
    }

    pub(super) fn json(&self, name: &str) -> Option<&'a Json> {
        match &self.set(name)?.value {
            Value::Json(json) => Some(json),
            _ => None,
        }
    }

    /// The config of a host's filter.
    pub(super) fn foreign(&self, name: &str) -> Option<&'a Foreign> {
        match &self.set(name)?.value {
            Value::Foreign(foreign) => Some(foreign),
            _ => None,
        }
    }

    pub(super) fn strings(&self, name: &str) -> Vec<&'a str> {
        let Some(Value::List(items)) = self.set(name).map(|set| &set.value) else { return Vec::new() };
        items.iter().filter_map(|(item, _)| if let Value::String(text) = item { Some(text.as_str()) } else { None }).collect()
    }

    pub(super) fn numbers(&self, name: &str) -> Vec<u64> {
        let Some(Value::List(items)) = self.set(name).map(|set| &set.value) else { return Vec::new() };
        items.iter().filter_map(|(item, _)| if let Value::U64(number) = item { Some(*number) } else { None }).collect()
    }

    /// Calls `read` with the message in a field, if it is set.
    pub(super) fn message<R>(&self, name: &str, read: impl FnOnce(Reader<'_>) -> R) -> Option<R> {
        match &self.set(name)?.value {
            Value::Message(message) | Value::Any(message) => Some(read(Reader::new(message, self.path.field(name), self.findings))),
            _ => None,
        }
    }

    /// Calls `read` with each message of a list.
    pub(super) fn each(&self, name: &str, mut read: impl FnMut(Reader<'_>)) {
        let Some(Value::List(items)) = self.set(name).map(|set| &set.value) else { return };
        let path = self.path.field(name);
        for (index, (item, _)) in items.iter().enumerate() {
            if let Value::Message(message) | Value::Any(message) = item {
                read(Reader::new(message, path.index(index), self.findings));
            }
        }
    }

    /// Calls `read` with key and message of each entry of a map.
    pub(super) fn each_entry(&self, name: &str, mut read: impl FnMut(&str, Reader<'_>)) {
        let Some(Value::Map(items)) = self.set(name).map(|set| &set.value) else { return };
        let path = self.path.field(name);
        for (key, item, _) in items {
            if let Value::Message(message) | Value::Any(message) = item {
                read(key, Reader::new(message, path.key(key), self.findings));
            }
        }
    }

    /// The fields are known, have no effect on what Weir does, and that is all right.
    pub(super) fn ignore(&self, names: &[&str]) {
        for set in names.iter().filter_map(|name| self.set(name)) {
            mark_all(&set.value);
        }
    }

    /// The fields are known but do nothing here; the user is told why.
    pub(super) fn no_effect(&self, names: &[&str], why: &str) {
        for name in names {
            if let Some(set) = self.set(name).filter(|set| !set.value.is_default()) {
                mark_all(&set.value);
                self.findings.add(Severity::Warning, set.pos, &self.path.field(name), format!("has no effect: {why}"), None);
            }
        }
    }

    fn pos_of(&self, name: &str) -> Pos {
        self.message.fields.iter().find(|set| set.name == name).map_or(self.message.pos, |set| set.pos)
    }

    /// Where the message stands.
    pub(super) fn place_here(&self) -> Place {
        Place { pos: self.message.pos, path: self.path.to_string().into(), file: self.findings.other_file() }
    }

    /// The message works, but perhaps not as meant.
    pub(super) fn warn_here(&self, message: impl Into<String>) {
        self.findings.add(Severity::Warning, self.message.pos, &self.path, message.into(), None);
    }

    /// A field's value is wrong.
    pub(super) fn error(&self, name: &str, message: impl Into<String>) {
        self.findings.error(self.pos_of(name), &self.path.field(name), message);
    }

    /// A field's value is wrong, and this would be right.
    pub(super) fn error_with_help(&self, name: &str, message: impl Into<String>, help: impl Into<String>) {
        self.findings.add(Severity::Error, self.pos_of(name), &self.path.field(name), message.into(), Some(help.into()));
    }

    /// The message itself is wrong.
    pub(super) fn error_here(&self, message: impl Into<String>) {
        self.findings.error(self.message.pos, &self.path, message);
    }

    /// A field's value is right, but Weir does not do it.
    pub(super) fn unsupported(&self, name: &str, message: impl Into<String>) {
        self.findings.add(Severity::Unsupported, self.pos_of(name), &self.path.field(name), message.into(), None);
    }

    /// A field's value works, but perhaps not as meant.
    pub(super) fn warn(&self, name: &str, message: impl Into<String>) {
        self.findings.add(Severity::Warning, self.pos_of(name), &self.path.field(name), message.into(), None);
    }
}

/// Marks everything below a value as read.
fn mark_all(value: &Value) {
    match value {
        Value::Message(message) | Value::Any(message) => {
            for set in &message.fields {
                set.read.set(true);
                mark_all(&set.value);
            }
        }
        Value::List(items) => items.iter().for_each(|(item, _)| mark_all(item)),
        Value::Map(items) => items.iter().for_each(|(_, item, _)| mark_all(item)),
        _ => {}
    }
}

/// Reports every field that is set and that nobody read.
pub(super) fn report_unread(message: &Message, path: &Path<'_>, findings: &Findings) {
    for set in &message.fields {
        let path = path.field(&set.name);
        if !set.read.get() {
            if !set.value.is_default() && !message.broken {
                let text = format!("Weir does not implement this field of {} yet", message.descriptor.full_name());
                findings.add(Severity::Unsupported, set.pos, &path, text, None);
            }
            continue;
        }
        match &set.value {
            Value::Message(inner) | Value::Any(inner) => report_unread(inner, &path, findings),
            Value::List(items) => {
                for (index, (item, _)) in items.iter().enumerate() {
                    if let Value::Message(inner) | Value::Any(inner) = item {
                        report_unread(inner, &path.index(index), findings);
                    }
                }
            }
            Value::Map(items) => {
                for (key, item, _) in items {
                    if let Value::Message(inner) | Value::Any(inner) = item {
                        report_unread(inner, &path.key(key), findings);
                    }
                }
            }
            _ => {}
        }
    }
}
