//! From Host to virtual host: exact names, then the longest `*.suffix`, then the longest `prefix.*`,
//! then `*` (`VirtualHost.domains`).

use crate::http::validate::split_port;
use crate::map::Map;

/// The domains of a route table.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    exact: Map<Vec<u8>, usize>,
    /// Suffixes without the star, longest first.
    suffixes: Wildcards,
    /// Prefixes without the star, longest first.
    prefixes: Wildcards,
    any: Option<usize>,
}

/// Wildcards by length, longest first.
type Wildcards = Vec<(usize, Map<Vec<u8>, usize>)>;

impl Domains {
    /// Adds a domain of the virtual host at `host`; false if some host has it already.
    pub fn insert(&mut self, domain: &str, host: usize) -> bool {
        let domain = domain.to_ascii_lowercase().into_bytes();
        match domain.as_slice() {
            b"*" if self.any.is_some() => false,
            b"*" => self.any.replace(host).is_none(),
            [b'*', suffix @ ..] => insert_wildcard(&mut self.suffixes, suffix, host),
            [prefix @ .., b'*'] => insert_wildcard(&mut self.prefixes, prefix, host),
            _ => insert_new(&mut self.exact, domain, host),
        }
    }

    /// The place of the virtual host for `authority`.
    pub fn find(&self, authority: &[u8], ignore_port: bool) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        let authority = if ignore_port { split_port(authority).0 } else { authority };
        let mut buffer = [0u8; 256];
        let lower = match buffer.get_mut(..authority.len()) {
            Some(lower) => {
                lower.copy_from_slice(authority);
                lower.make_ascii_lowercase();
                &*lower
            }
            // Longer than any DNS name (RFC 1035 section 2.3.4).
            None => return self.any,
        };
        self.exact.get(lower).copied().or_else(|| self.wildcard(lower)).or(self.any)
    }

    fn wildcard(&self, name: &[u8]) -> Option<usize> {
        let suffix = |(len, map): &(usize, Map<Vec<u8>, usize>)| {
            // The star stands for at least one character.
            (name.len() > *len).then(|| map.get(&name[name.len() - len..]).copied()).flatten()
        };
        let prefix = |(len, map): &(usize, Map<Vec<u8>, usize>)| (name.len() > *len).then(|| map.get(&name[..*len]).copied()).flatten();
        self.suffixes.iter().find_map(suffix).or_else(|| self.prefixes.iter().find_map(prefix))
    }
}

fn insert_wildcard(list: &mut Wildcards, text: &[u8], host: usize) -> bool {
    let at = match list.binary_search_by(|(len, _)| text.len().cmp(len)) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, (text.len(), Map::default()));
            at
        }
    };
    insert_new(&mut list[at].1, text.to_vec(), host)
}

fn insert_new(map: &mut Map<Vec<u8>, usize>, text: Vec<u8>, host: usize) -> bool {
    let new = !map.contains_key(&text);
    if new {
        map.insert(text, host);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_specificity() {
        let mut domains = Domains::default();
        for (host, domain) in ["a.example", "*.example", "*.b.example", "a.*", "a.b.*", "*", "c.example:8080"].iter().enumerate() {
            assert!(domains.insert(domain, host));
        }
        assert!(!domains.insert("A.EXAMPLE", 9));
        for (name, host) in [
            ("a.example", 0),
            ("A.Example", 0),
            ("x.example", 1),
            ("x.b.example", 2),
            ("a.org", 3),
            ("a.b.org", 4),
            (".example", 5),
            ("zzz", 5),
            ("c.example:8080", 6),
            ("c.example:80", 5),
            ("", 5),
        ] {
            assert_eq!(domains.find(name.as_bytes(), false), Some(host), "{name}");
        }
        assert_eq!(domains.find(b"a.example:99", true), Some(0));
        assert_eq!(domains.find(&[b'a'; 300], true), Some(5));
    }
}
