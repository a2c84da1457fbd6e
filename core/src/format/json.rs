//! JSON access-log lines (`json_format`).

use super::{Facts, Template};

/// A JSON value whose strings are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// A string, number or null, by what the template answers.
    Value(Template),
    /// A literal that is not a string: number, boolean or null, as JSON.
    Literal(Box<str>),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object.
    Object {
        /// Sorted by key, as Envoy does.
        entries: Vec<(Box<str>, JsonTemplate)>,
        /// Keys whose value is not known are left out.
        omit_unknown: bool,
    },
}

impl JsonTemplate {
    /// Appends one line.
    pub fn write_line(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        self.write(facts, out);
        out.push(b'\n');
    }

    /// The same, but what is not known is left out of objects (`omit_empty_values`).
    pub fn without_unknown(self) -> JsonTemplate {
        match self {
            JsonTemplate::List(items) => JsonTemplate::List(items.into_iter().map(JsonTemplate::without_unknown).collect()),
            JsonTemplate::Object { entries, .. } => {
                let entries = entries.into_iter().map(|(key, value)| (key, value.without_unknown())).collect();
                JsonTemplate::Object { entries, omit_unknown: true }
            }
            value => value,
        }
    }

    fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        match self {
            JsonTemplate::Literal(text) => out.extend_from_slice(text.as_bytes()),
            JsonTemplate::Value(template) => write_value(template, facts, out),
            JsonTemplate::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    separate(index, out);
                    item.write(facts, out);
                }
                out.push(b']');
            }
            JsonTemplate::Object { entries, omit_unknown } => {
                out.push(b'{');
                let start = out.len();
                for (key, value) in entries {
                    let before = out.len();
                    separate(before - start, out);
                    quote(key.as_bytes(), out);
                    out.push(b':');
                    let at = out.len();
                    value.write(facts, out);
                    if *omit_unknown && &out[at..] == b"null" {
                        out.truncate(before);
                    }
                }
                out.push(b'}');
            }
        }
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// A single operator keeps its type: numbers are numbers, and what is not known is null.
fn write_value(template: &Template, facts: &Facts<'_>, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    if !template.write_known(facts, &mut text) {
        out.extend_from_slice(b"null");
    } else if template.is_number() {
        out.extend_from_slice(&text);
    } else {
        quote(&text, out);
    }
}

/// Appends a JSON string (RFC 8259 section 7). Of a text that is not UTF-8, each byte that is not ASCII becomes
/// `\u00XX`, as in Envoy: nothing is lost.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    let latin1;
    let (text, escape) = match std::str::from_utf8(text) {
        Ok(text) => (text, false),
        Err(_) => {
            latin1 = text.iter().map(|byte| *byte as char).collect::<String>();
            (latin1.as_str(), true)
        }
    };
    out.push(b'"');
    for ch in text.chars() {
        match ch {
            c if escape && !c.is_ascii() => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
