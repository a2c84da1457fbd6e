//! YAML (and JSON, which is YAML) as a tree in which everything knows its place.

use super::diagnostic::Pos;
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::collections::{BTreeMap, BTreeSet};

/// Deepest nesting; Envoy's own configs stay below forty.
const DEPTH: u16 = 100;
/// Most nodes, with what anchors expand to counted: bounds the work that a short file can ask for.
const NODES: u32 = 5_000_000;

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) pos: Pos,
    pub(super) kind: Kind,
    /// Whether it is tagged `!ignore`, which makes Envoy pass over it.
    pub(super) ignored: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar { text: Box<str>, plain: bool },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    pub(super) pos: Pos,
}

/// A breach of the syntax.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) pos: Pos,
    pub(super) message: String,
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads the one document in `text`: the tree, if there is one, and every fault.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Fault>) {
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        simple_key_max_lookahead: 64 * 1024,
        flow_nesting_limit: usize::from(DEPTH),
        block_nesting_limit: usize::from(DEPTH),
    };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { parser, anchors: BTreeMap::new(), left: NODES, faults: Vec::new() };
    let mut root = None;
    while let Some(next) = builder.document(root.is_some()).transpose() {
        match next {
            Ok(Some(node)) => root = Some(node),
            Ok(None) => {}
            Err(fault) => {
                builder.faults.push(fault);
                break;
            }
        }
    }
    (root, builder.faults)
}

fn pos_of(span: Span) -> Pos {
    Pos { line: span.start.line() as u32, column: span.start.col() as u32 + 1 }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// By anchor: the node and how many nodes it is; `None` while it is still open.
    anchors: BTreeMap<usize, Option<(Node, u32)>>,
    left: u32,
    faults: Vec<Fault>,
}

impl<'a> Builder<'a> {
    /// Takes one step between documents: a root, nothing, or (outer `None`) the end.
    fn document(&mut self, has_root: bool) -> Result<Option<Option<Node>>, Fault> {
        let (event, span) = self.next()?;
        match event {
            Event::StreamEnd => Ok(None),
            Event::DocumentStart(..) if has_root => {
                Err(Fault { pos: pos_of(span), message: "more than one YAML document; Weir reads one".to_owned() })
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => Ok(Some(None)),
            event => self.node(event, span, 0).map(|node| Some(Some(node))),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = error.marker();
                Err(Fault { pos: Pos { line: at.line() as u32, column: at.col() as u32 + 1 }, message: explain(&error.info().to_string()) })
            }
            None => Err(Fault { pos: Pos { line: 1, column: 1 }, message: "unexpected end of the file".to_owned() }),
        }
    }

    fn spend(&mut self, nodes: u32, pos: Pos) -> Result<(), Fault> {
        match self.left.checked_sub(nodes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault { pos, message: format!("more than {NODES} values once anchors are expanded") }),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: u16) -> Result<Node, Fault> {
        let pos = pos_of(span);
        if depth > DEPTH {
            return Err(Fault { pos, message: format!("nested more than {DEPTH} levels deep") });
        }
        self.spend(1, pos)?;
        let before = self.left;
        let (anchor, tag, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, tag, Kind::Scalar { text: text.into(), plain: style == ScalarStyle::Plain })
            }
            Event::Alias(id) => return self.alias(id, pos),
            Event::UnresolvedAlias(name) => {
                self.faults.push(Fault { pos, message: format!("there is no anchor `&{name}`") });
                (0, None, Kind::Scalar { text: "".into(), plain: true })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(anchor);
                (anchor, tag, Kind::List(self.list(depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(anchor);
                (anchor, tag, Kind::Map(self.map(depth)?))
            }
            other => return Err(Fault { pos, message: format!("unexpected {other:?}") }),
        };
        let ignored = tag.is_some_and(|tag| tag.to_string() == "!ignore");
        let node = Node { pos, kind, ignored };
        if anchor != 0 {
            self.anchors.insert(anchor, Some((node.clone(), before - self.left + 1)));
        }
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn alias(&mut self, id: usize, pos: Pos) -> Result<Node, Fault> {
        let size = match self.anchors.get(&id) {
            Some(Some((_, size))) => *size,
            _ => return Err(Fault { pos, message: "an alias to something that holds the alias".to_owned() }),
        };
        // Paid for before it is copied.
        self.spend(size, pos)?;
        let node = self.anchors.get(&id).and_then(|anchor| anchor.as_ref()).map(|(node, _)| node.clone());
        node.map(|node| Node { ignored: false, ..node }).ok_or_else(|| Fault { pos, message: "unknown alias".to_owned() })
    }

    fn list(&mut self, depth: u16) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: u16) -> Result<Vec<(Key, Node)>, Fault> {
        let (mut items, mut merges) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match key.kind {
                Kind::Scalar { text, plain: true } if &*text == "<<" => merges.push((key.pos, value)),
                Kind::Scalar { text, .. } => items.push((Key { name: text, pos: key.pos }, value)),
                _ => self.faults.push(Fault { pos: key.pos, message: "a key must be a scalar".to_owned() }),
            }
        }
        self.refuse_duplicates(&items);
        for (pos, value) in merges {
            self.merge(&mut items, pos, value);
        }
        Ok(items)
    }

    fn refuse_duplicates(&mut self, items: &[(Key, Node)]) {
        let mut seen = BTreeSet::new();
        for (at, (key, _)) in items.iter().enumerate() {
            let duplicate = match items.len() {
                0..=16 => items[..at].iter().any(|(other, _)| other.name == key.name),
                _ => !seen.insert(&*key.name),
            };
            if duplicate {
                self.faults.push(Fault { pos: key.pos, message: format!("the key `{}` is there already", key.name) });
            }
        }
    }

    /// `<<`: what the map itself says wins over what is merged in.
    fn merge(&mut self, into: &mut Vec<(Key, Node)>, pos: Pos, value: Node) {
        match value.kind {
            Kind::Map(from) => {
                for (key, node) in from {
                    if !into.iter().any(|(other, _)| other.name == key.name) {
                        into.push((key, node));
                    }
                }
            }
            Kind::List(maps) if maps.iter().all(|map| matches!(map.kind, Kind::Map(_))) => {
                maps.into_iter().for_each(|map| self.merge(into, pos, map));
            }
            _ => self.faults.push(Fault { pos, message: "`<<` takes a map or a list of maps".to_owned() }),
        }
    }
}

/// What the parser says, and what to do where it does not say that.
fn explain(fault: &str) -> String {
    match fault.contains("tab") {
        true => format!("{fault}; indent with spaces"),
        false => fault.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        parse(text).1.iter().map(|f| format!("{}:{} {}", f.pos.line, f.pos.column, f.message)).collect()
    }

    #[test]
    fn faults_have_places() {
        assert_eq!(faults("a: 1\nb: 2\na: 3\n"), ["3:1 the key `a` is there already"]);
        assert_eq!(faults("{\"a\": 1, \"a\": 2}"), ["1:10 the key `a` is there already"]);
        assert_eq!(faults("a: *x\n"), ["1:4 there is no anchor `&x`"]);
        assert_eq!(faults("a: 1\n---\nb: 2\n").len(), 1);
        assert!(!faults("a: [1, 2\nb: }").is_empty());
    }

    #[test]
    fn a_short_file_cannot_ask_for_endless_work() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(faults(&text).iter().any(|fault| fault.contains("anchors")));
    }

    #[test]
    fn anchors_merge_keys_and_ignored_values() {
        let (root, faults) = parse("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nskip: !ignore [1]\n");
        assert!(faults.is_empty());
        let Some(Node { kind: Kind::Map(items), .. }) = root else { panic!("not a map") };
        let Kind::Map(used) = &items[1].1.kind else { panic!("not a map") };
        assert_eq!(used.iter().map(|(key, _)| &*key.name).collect::<Vec<_>>(), ["y", "x"]);
        assert!(items[2].1.ignored);
    }
}
