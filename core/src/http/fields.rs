//! Header fields that keep their order, their case and their bytes.
//!
//! All text of a head lies in one buffer that is reused from request to request; a field is a pair of
//! spans into it. Changing a field appends the new text and leaves the old behind. Fields that stand in the
//! text as they are sent, one behind the other, are written with one copy.

use super::{Name, NameSet};
use bytes::BufMut;
use std::ops::Range;

/// A piece of a head's text.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// The span of `piece` within `whole`, of which it must be a part; empty if it is not.
    pub(crate) fn within(whole: &[u8], piece: &[u8]) -> Span {
        let start = (piece.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        if start > whole.len() || start + piece.len() > whole.len() {
            return Span::default();
        }
        Span { start: start as u32, len: piece.len() as u32 }
    }

    fn of(self, text: &[u8]) -> &[u8] {
        let start = self.start as usize;
        text.get(start..start + self.len as usize).unwrap_or_default()
    }

    fn shifted(self, by: usize) -> Span {
        Span { start: self.start + by as u32, len: self.len }
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One field: where its name and value are, and which known name it has.
#[derive(Copy, Clone, Debug)]
pub struct Field {
    name: Span,
    value: Span,
    known: Name,
}

impl Field {
    /// Where its line would be, if it stands in the text as it is sent.
    fn line(&self) -> Range<usize> {
        let start = self.name.start as usize;
        start..start + self.name.len() + self.value.len() + 4
    }

    /// Whether `line`, of the length of its line and beginning with its name, is what is sent.
    fn is_written_in(&self, line: &[u8]) -> bool {
        let (name_end, value_end) = (self.name.len(), line.len() - 2);
        self.value.start == self.name.start + self.name.len + 2 && line[name_end..name_end + 2] == *b": " && line[value_end..] == *b"\r\n"
    }
}

/// The fields of a head or a trailer section, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    text: Vec<u8>,
    list: Vec<Field>,
    present: u64,
}

impl Fields {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.list.clear();
        self.present = 0;
    }

    /// Takes over the raw text of a head and the fields found in it.
    pub(crate) fn load<'h>(&mut self, raw: &[u8], found: impl Iterator<Item = (&'h [u8], &'h [u8])>) -> usize {
        let base = self.text.len();
        self.text.extend_from_slice(raw);
        for (name, value) in found {
            let known = Name::of(name);
            self.present |= known.bit();
            let (name, value) = (Span::within(raw, name).shifted(base), Span::within(raw, value).shifted(base));
            self.list.push(Field { name, value, known });
        }
        base
    }

    /// Stores text that is not a field (a method, a path).
    pub(crate) fn store(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, len: text.len() as u32 }
    }

    /// The text at `span`.
    pub(crate) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.text)
    }

    /// Moves a span that was found in the raw text to where `load` put that text.
    pub(crate) fn rebase(base: usize, span: Span) -> Span {
        span.shifted(base)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Names and values in order, as they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|field| (field.name.of(&self.text), field.value.of(&self.text)))
    }

    /// Names, values and which known name each has.
    pub fn iter_known(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.list.iter().map(|field| (field.known, field.name.of(&self.text), field.value.of(&self.text)))
    }

    /// Bytes of all names and values.
    pub fn byte_size(&self) -> usize {
        self.list.iter().map(|field| field.name.len() + field.value.len()).sum()
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: Name) -> bool {
        self.present & name.bit() != 0
    }

    /// The first value of a known name.
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        if !self.has(name) {
            return None;
        }
        self.list.iter().find(|field| field.known == name).map(|field| field.value.of(&self.text))
    }

    /// All values of a known name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let list = if self.has(name) { &self.list[..] } else { &[] };
        list.iter().filter(move |field| field.known == name).map(|field| field.value.of(&self.text))
    }

    /// All values of any name, in order.
    pub fn all_named<'f>(&'f self, name: &'f [u8]) -> impl Iterator<Item = &'f [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of any name.
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        match Name::of(name) {
            Name::Other => self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value),
            known => self.get(known),
        }
    }

    /// Appends a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_as(Name::of(name), name, value);
    }

    /// Appends a field of a known name.
    pub fn push_known(&mut self, name: Name, value: &[u8]) {
        self.push_as(name, name.as_str().as_bytes(), value);
    }

    fn push_as(&mut self, known: Name, name: &[u8], value: &[u8]) {
        // As it will be written: see `write`.
        self.text.reserve(name.len() + value.len() + 4);
        let name = self.store(name);
        self.text.extend_from_slice(b": ");
        let value = self.store(value);
        self.text.extend_from_slice(b"\r\n");
        self.present |= known.bit();
        self.list.push(Field { name, value, known });
    }

    /// Writes the fields as lines, without the blank one that ends a head.
    pub(crate) fn write(&self, out: &mut impl BufMut) {
        let mut run = 0..0;
        for field in &self.list {
            let line = field.line();
            if self.text.get(line.clone()).is_some_and(|text| field.is_written_in(text)) {
                if run.end == line.start {
                    run.end = line.end;
                } else {
                    out.put_slice(&self.text[std::mem::replace(&mut run, line)]);
                }
                continue;
            }
            out.put_slice(&self.text[std::mem::take(&mut run)]);
            out.put_slice(field.name.of(&self.text));
            out.put_slice(b": ");
            out.put_slice(field.value.of(&self.text));
            out.put_slice(b"\r\n");
        }
        out.put_slice(&self.text[run]);
    }

    /// Replaces the first field of a known name and removes any others; appends it if there was none.
    pub fn set(&mut self, name: Name, value: &[u8]) {
        if !self.has(name) {
            return self.push_known(name, value);
        }
        let value = self.store(value);
        let mut first = true;
        self.list.retain_mut(|field| {
            if field.known != name {
                return true;
            }
            field.value = value;
            std::mem::take(&mut first)
        });
    }

    /// As [`Self::set`], for any name.
    pub fn set_named(&mut self, name: &[u8], value: &[u8]) {
        let known = Name::of(name);
        if known != Name::Other {
            return self.set(known, value);
        }
        match self.list.iter().position(|field| field.name.of(&self.text).eq_ignore_ascii_case(name)) {
            None => self.push(name, value),
            Some(at) => {
                self.list[at].value = self.store(value);
                let text = &self.text;
                let mut index = 0;
                self.list.retain(|field| {
                    index += 1;
                    index - 1 <= at || !field.name.of(text).eq_ignore_ascii_case(name)
                });
            }
        }
    }

    /// Adds `value` behind `separator` to the end of a list field, making the field if there is none.
    pub fn append(&mut self, name: Name, separator: &[u8], value: &[u8]) {
        let Some(at) = self.list.iter().rposition(|field| field.known == name) else {
            return self.push_known(name, value);
        };
        let old = self.list[at].value;
        let start = self.text.len() as u32;
        self.text.extend_from_within(old.start as usize..(old.start + old.len) as usize);
        self.text.extend_from_slice(separator);
        self.text.extend_from_slice(value);
        self.list[at].value = Span { start, len: self.text.len() as u32 - start };
    }

    /// Removes every field of a known name.
    pub fn remove(&mut self, name: Name) {
        if self.has(name) {
            self.list.retain(|field| field.known != name);
            self.present &= !name.bit();
        }
    }

    /// Removes every field whose name is in `names`.
    pub fn remove_all(&mut self, names: NameSet) {
        if self.present & names.bits() != 0 {
            self.list.retain(|field| field.known.bit() & names.bits() == 0);
            self.present &= !names.bits();
        }
    }

    /// Removes every field of any name.
    pub fn remove_named(&mut self, name: &[u8]) {
        match Name::of(name) {
            Name::Other => {
                let text = &self.text;
                self.list.retain(|field| !field.name.of(text).eq_ignore_ascii_case(name));
            }
            known => self.remove(known),
        }
    }

    /// Keeps the fields for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(Name, &[u8], &[u8]) -> bool) {
        let text = &self.text;
        let mut present = 0;
        self.list.retain(|field| {
            let kept = keep(field.known, field.name.of(text), field.value.of(text));
            present |= if kept { field.known.bit() } else { 0 };
            kept
        });
        self.present = present;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    fn lines(fields: &Fields) -> Vec<String> {
        fields.iter().map(|(n, v)| String::from_utf8_lossy(&[n, b":", v].concat()).into_owned()).collect()
    }

    #[test]
    fn order_and_case_are_kept() {
        let fields = fields(&[("X-Foo", "1"), ("b-Bar", "2"), ("x-fOO", "3")]);
        assert_eq!(lines(&fields), ["X-Foo:1", "b-Bar:2", "x-fOO:3"]);
        assert_eq!(fields.all_named(b"x-foo").count(), 2);
    }

    #[test]
    fn setting_replaces_in_place_and_removes_the_rest() {
        let mut known = fields(&[("Via", "a"), ("X", "1"), ("via", "b")]);
        known.set(Name::Via, b"c");
        assert_eq!(lines(&known), ["Via:c", "X:1"]);
        let mut other = fields(&[("X-A", "a"), ("Y", "1"), ("x-a", "b")]);
        other.set_named(b"x-A", b"c");
        other.set_named(b"New", b"n");
        assert_eq!(lines(&other), ["X-A:c", "Y:1", "New:n"]);
    }

    #[test]
    fn what_is_written_is_each_line_in_order() {
        let raw = b"GET / HTTP/1.1\r\nA: 1\r\nB:2\r\nC:  3 \r\nD: 4\r\nE: \r\nF: 6\r\n\r\n";
        let spans = [(16, 1, 19, 1), (22, 1, 24, 1), (27, 1, 31, 1), (35, 1, 38, 1), (41, 1, 44, 0), (46, 1, 49, 1)];
        let mut fields = Fields::default();
        fields.load(raw, spans.iter().map(|(n, nl, v, vl)| (&raw[*n..n + nl], &raw[*v..v + vl])));
        fields.push(b"G", b"7");
        fields.set(Name::Via, b"8");
        let written = |fields: &Fields| {
            let mut out = Vec::new();
            fields.write(&mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(&fields), "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: 6\r\nG: 7\r\nvia: 8\r\n");
        fields.remove_named(b"d");
        fields.set_named(b"a", b"one");
        fields.set(Name::Via, b"nine");
        assert_eq!(written(&fields), "A: one\r\nB: 2\r\nC: 3\r\nE: \r\nF: 6\r\nG: 7\r\nvia: nine\r\n");
    }

    #[test]
    fn removing_forgets_presence() {
        let mut fields = fields(&[("Via", "a"), ("X", "1"), ("via", "b"), ("x", "2")]);
        fields.remove(Name::Via);
        assert!(!fields.has(Name::Via) && fields.get(Name::Via).is_none());
        fields.remove_named(b"X");
        assert!(fields.is_empty());
    }

    #[test]
    fn appending_joins_with_a_comma() {
        let mut fields = fields(&[("X-Forwarded-For", "1.1.1.1")]);
        fields.append(Name::XForwardedFor, b",", b"2.2.2.2");
        fields.append(Name::Via, b", ", b"1.1 weir");
        assert_eq!(lines(&fields), ["X-Forwarded-For:1.1.1.1,2.2.2.2", "via:1.1 weir"]);
    }
}
