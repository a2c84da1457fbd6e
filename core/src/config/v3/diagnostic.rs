//! What is wrong with a config, where, and what would be right.

use std::cell::{Cell, RefCell};
use std::fmt;

/// A place in a file; both count from 1.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// How bad it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The config is wrong.
    Error,
    /// The config is right, but Weir does not do what it says. `--on-unsupported=warn` makes it a warning.
    Unsupported,
    /// The config works, but perhaps not as meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// Where in it.
    pub pos: Pos,
    /// Which field: `static_resources.clusters[0].name`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Unsupported => "unsupported",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {severity}: ", self.file, self.pos.line, self.pos.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// A path through messages, as a chain on the stack; text only when somebody reads it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

#[derive(Copy, Clone, Debug)]
enum Segment<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    pub(super) const ROOT: Path<'static> = Path { parent: None, segment: Segment::Root };

    pub(super) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Field(name) }
    }

    pub(super) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Index(index) }
    }

    /// Whether it ends in `http_filters[...].typed_config`.
    pub(super) fn is_http_filter_config(&self) -> bool {
        let list = self.parent.and_then(|item| item.parent).map(|list| list.segment);
        matches!((self.segment, list), (Segment::Field("typed_config"), Some(Segment::Field("http_filters"))))
    }

    pub(super) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), segment: Segment::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = match self.parent {
            Some(parent) => {
                write!(f, "{parent}")?;
                matches!(parent.segment, Segment::Root)
            }
            None => true,
        };
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Field(name) if root => f.write_str(name),
            Segment::Field(name) => write!(f, ".{name}"),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

/// Most findings that are kept; a file that is wrong throughout need not be told so ten thousand times.
const MOST: usize = 1000;

/// Collects findings.
#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    list: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    refusals: Cell<usize>,
    /// The file is not the config's own: places must say which.
    other: bool,
}

impl Findings {
    pub(super) fn new(file: &str) -> Findings {
        Findings { file: file.to_owned(), list: RefCell::default(), errors: Cell::new(0), refusals: Cell::new(0), other: false }
    }

    /// In a file that the config names.
    pub(super) fn of_other_file(file: &str) -> Findings {
        Findings { other: true, ..Findings::new(file) }
    }

    /// The file, if it is not the config's own.
    pub(super) fn other_file(&self) -> Option<std::sync::Arc<str>> {
        self.other.then(|| self.file.as_str().into())
    }

    pub(super) fn add(&self, severity: Severity, pos: Pos, path: &Path<'_>, message: String, help: Option<String>) {
        if severity == Severity::Error {
            self.errors.set(self.errors.get() + 1);
        }
        if severity != Severity::Warning {
            self.refusals.set(self.refusals.get() + 1);
        }
        let mut list = self.list.borrow_mut();
        if list.len() < MOST {
            list.push(Diagnostic { severity, file: self.file.clone(), pos, path: path.to_string(), message, help });
        }
    }

    pub(super) fn error(&self, pos: Pos, path: &Path<'_>, message: impl Into<String>) {
        self.add(Severity::Error, pos, path, message.into(), None);
    }

    pub(super) fn failed(&self) -> bool {
        self.errors.get() > 0
    }

    /// How many errors and unsupported fields there are.
    pub(super) fn refusals(&self) -> usize {
        self.refusals.get()
    }

    /// All findings, in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|finding| finding.pos);
        list
    }
}

/// The nearest of `candidates` to a misspelt `name`, if one is near.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (name.chars().count() / 3).max(1);
    let fold = |text: &str| text.to_ascii_lowercase();
    let wanted = fold(name);
    candidates
        .map(|candidate| (distance(&wanted, &fold(candidate), limit), candidate))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Levenshtein distance with transpositions of neighbours; anything beyond `limit` is `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()].min(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let names = ["stat_prefix", "route_config", "rds"];
        assert_eq!(nearest("stat_prefixx", names.into_iter()), Some("stat_prefix"));
        assert_eq!(nearest("statPrefix", names.into_iter()), Some("stat_prefix"));
        assert_eq!(nearest("rsd", names.into_iter()), Some("rds"));
        assert_eq!(nearest("something_else", names.into_iter()), None);
    }

    #[test]
    fn paths_are_written_as_envoy_writes_them() {
        let root = Path::ROOT;
        let a = root.field("static_resources");
        let b = a.field("clusters");
        let c = b.index(3);
        let d = c.field("typed_extension_protocol_options");
        assert_eq!(d.key("x.y").to_string(), "static_resources.clusters[3].typed_extension_protocol_options[\"x.y\"]");
    }
}
