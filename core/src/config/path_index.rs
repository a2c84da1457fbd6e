//! An index of routes by path: a radix tree whose cost is the length of the path, however many routes
//! there are.
//!
//! Each node holds the routes whose prefix (or whole path) ends there, in order. A lookup walks the
//! request's path from the root and meets exactly the routes whose path specifier matches; of those the
//! lowest that matches in full wins. Routes behind one that needs nothing but the path are cut away when
//! the index is made: they can never win at that node.

use super::{PathMatch, Route};

/// The index of one virtual host.
#[derive(Clone, Debug, Default)]
pub struct PathIndex {
    exact_case: Tree,
    any_case: Tree,
    /// Routes that must be asked one by one: regular expressions and CONNECT.
    others: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// The bytes on the edge that leads here.
    edge: Box<[u8]>,
    /// First byte of each child's edge, sorted, and the child.
    children: Vec<(u8, u32)>,
    prefixes: Vec<u32>,
    exacts: Vec<u32>,
    separated: Vec<u32>,
}

/// Which list of a node a route belongs to.
#[derive(Copy, Clone)]
enum Kind {
    Prefix,
    Exact,
    Separated,
}

impl PathIndex {
    /// Indexes `routes`.
    pub fn new(routes: &[Route]) -> PathIndex {
        let mut index = PathIndex::default();
        for (place, route) in routes.iter().enumerate() {
            let (kind, text) = match &route.on.path {
                PathMatch::Prefix(text) => (Kind::Prefix, text),
                PathMatch::Exact(text) => (Kind::Exact, text),
                PathMatch::SeparatedPrefix(text) => (Kind::Separated, text),
                PathMatch::Regex(_) | PathMatch::Connect => {
                    index.others.push(place as u32);
                    continue;
                }
            };
            if route.on.case_sensitive {
                index.exact_case.insert(text.as_bytes(), kind, place as u32);
            } else {
                index.any_case.insert(&text.to_ascii_lowercase().into_bytes(), kind, place as u32);
            }
        }
        let path_only = |place: u32| routes[place as usize].on.is_path_only();
        index.exact_case.cut_shadowed(path_only);
        index.any_case.cut_shadowed(path_only);
        index
    }

    /// The first route, in the order of the config, whose path specifier fits `path` (no query) and for
    /// which `matches` is true.
    pub fn first(&self, path: &[u8], mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best = u32::MAX;
        self.exact_case.improve(path, &mut best, &mut matches);
        if !self.any_case.nodes.is_empty() {
            self.any_case.improve(&path.to_ascii_lowercase(), &mut best, &mut matches);
        }
        improve(&self.others, &mut best, &mut matches);
        (best != u32::MAX).then_some(best as usize)
    }
}

/// Looks for a route in `list` that comes before `best` and matches.
fn improve(list: &[u32], best: &mut u32, matches: &mut impl FnMut(usize) -> bool) {
    for place in list {
        if *place >= *best {
            return;
        }
        if matches(*place as usize) {
            *best = *place;
            return;
        }
    }
}

impl Tree {
    fn insert(&mut self, key: &[u8], kind: Kind, place: u32) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let (mut at, mut key) = (0usize, key);
        while let Some(first) = key.first() {
            match self.nodes[at].children.binary_search_by_key(first, |(byte, _)| *byte) {
                Err(slot) => {
                    let leaf = self.push(Node { edge: key.into(), ..Node::default() });
                    self.nodes[at].children.insert(slot, (*first, leaf));
                    (at, key) = (leaf as usize, &[]);
                }
                Ok(slot) => {
                    let child = self.nodes[at].children[slot].1 as usize;
                    let common = self.nodes[child].edge.iter().zip(key).take_while(|(a, b)| a == b).count();
                    at = if common < self.nodes[child].edge.len() { self.split(at, slot, common) } else { child };
                    key = &key[common..];
                }
            }
        }
        let node = &mut self.nodes[at];
        match kind {
            Kind::Prefix => node.prefixes.push(place),
            Kind::Exact => node.exacts.push(place),
            Kind::Separated => node.separated.push(place),
        }
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// Puts a node after the first `common` bytes of the edge to a child.
    fn split(&mut self, parent: usize, slot: usize, common: usize) -> usize {
        let (first, child) = self.nodes[parent].children[slot];
        let edge = std::mem::take(&mut self.nodes[child as usize].edge);
        self.nodes[child as usize].edge = edge[common..].into();
        let middle = self.push(Node { edge: edge[..common].into(), children: vec![(edge[common], child)], ..Node::default() });
        self.nodes[parent].children[slot] = (first, middle);
        middle as usize
    }

    fn cut_shadowed(&mut self, path_only: impl Fn(u32) -> bool) {
        let cut = |list: &mut Vec<u32>| {
            if let Some(last) = list.iter().position(|place| path_only(*place)) {
                list.truncate(last + 1);
            }
            list.shrink_to_fit();
        };
        for node in &mut self.nodes {
            cut(&mut node.prefixes);
            cut(&mut node.exacts);
            cut(&mut node.separated);
        }
    }

    fn improve(&self, path: &[u8], best: &mut u32, matches: &mut impl FnMut(usize) -> bool) {
        let Some(mut node) = self.nodes.first() else { return };
        let mut rest = path;
        loop {
            improve(&node.prefixes, best, matches);
            if rest.is_empty() {
                improve(&node.exacts, best, matches);
            }
            if rest.first().is_none_or(|byte| *byte == b'/') {
                improve(&node.separated, best, matches);
            }
            let Some(first) = rest.first() else { return };
            let Ok(slot) = node.children.binary_search_by_key(first, |(byte, _)| *byte) else { return };
            node = &self.nodes[node.children[slot].1 as usize];
            match rest.strip_prefix(&*node.edge) {
                Some(after) => rest = after,
                None => return,
            }
        }
    }
}
