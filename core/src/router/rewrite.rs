//! What a matched route makes of path and host, and where a redirect points.

use crate::config::{HostRewrite, PathMatch, PathRewrite, Redirect, RouteMatch};
use crate::format::{Facts, Names};
use crate::http::validate::split_port;
use crate::http::{Name, RequestHead};
use crate::record::Record;

/// Rewrites the path of a request that goes upstream; the old path is kept in `x-envoy-original-path`
/// unless `suppress` says not to.
pub fn rewrite_request(on: &RouteMatch, rewrite: &PathRewrite, head: &mut RequestHead, record: &Record, suppress: bool) {
    let Some(path) = rewritten(on, rewrite, head, record) else { return };
    if !suppress {
        let old = head.path_and_query().to_vec();
        head.fields.set(Name::OriginalPath, &old);
    }
    head.set_path_and_query(&path);
}

/// Path and query after `rewrite`; `None` if it leaves them as they are.
fn rewritten(on: &RouteMatch, rewrite: &PathRewrite, head: &RequestHead, record: &Record) -> Option<Vec<u8>> {
    let (path, whole) = (head.path(), head.path_and_query());
    let query = &whole[path.len()..];
    let mut new = match rewrite {
        PathRewrite::Prefix(prefix) => {
            let matched = match &on.path {
                PathMatch::Prefix(text) | PathMatch::Exact(text) | PathMatch::SeparatedPrefix(text) => text.len(),
                PathMatch::Regex(_) => path.len(),
                PathMatch::Connect => return None,
            };
            [prefix.as_bytes(), &path[matched.min(path.len())..]].concat()
        }
        PathRewrite::Regex(regex, substitution) => substitute(regex, path, substitution),
        PathRewrite::Template(template) => {
            let mut out = Vec::new();
            let facts = Facts { request: head, response: None, trailers: None, record, names: Names::default() };
            template.write(&facts, "", &mut out);
            out
        }
    };
    new.extend_from_slice(query);
    (new != whole).then_some(new)
}

/// RE2's rewrite rules: `\0` is the match, `\1` to `\9` are groups, `\\` is a backslash.
fn substitute(regex: &regex::bytes::Regex, text: &[u8], rewrite: &str) -> Vec<u8> {
    regex
        .replace_all(text, |groups: &regex::bytes::Captures<'_>| {
            let (mut out, mut bytes) = (Vec::new(), rewrite.bytes());
            while let Some(byte) = bytes.next() {
                match byte {
                    b'\\' => match bytes.next() {
                        Some(digit @ b'0'..=b'9') => {
                            out.extend_from_slice(groups.get(usize::from(digit - b'0')).map_or(b"", |m| m.as_bytes()));
                        }
                        Some(other) => out.push(other),
                        None => {}
                    },
                    other => out.push(other),
                }
            }
            out
        })
        .into_owned()
}

/// The new Host of a request that goes upstream to an endpoint called `endpoint`.
pub(crate) fn rewritten_host(rewrite: &HostRewrite, head: &RequestHead, endpoint: &str) -> Option<Vec<u8>> {
    let new = match rewrite {
        HostRewrite::Literal(host) => host.as_bytes().to_vec(),
        HostRewrite::Endpoint => endpoint.as_bytes().to_vec(),
        HostRewrite::Header(name) => head.fields.get_named(name.as_bytes())?.to_vec(),
    };
    (!new.is_empty()).then_some(new)
}

/// The `location` of a redirect.
pub fn redirect_location(on: &RouteMatch, redirect: &Redirect, head: &RequestHead, record: &Record) -> Vec<u8> {
    let old_scheme = head.scheme.as_str();
    let scheme = redirect.scheme.as_deref().unwrap_or(old_scheme);
    let (name, port) = split_port(head.authority());
    let mut out = [scheme.as_bytes(), b"://", redirect.host.as_deref().map_or(name, str::as_bytes)].concat();
    // The old port is kept unless it was the old scheme's default and the scheme changes.
    let default_port: &[u8] = if old_scheme == "https" { b"443" } else { b"80" };
    let kept = port.filter(|port| redirect.host.is_none() && !(scheme != old_scheme && *port == default_port));
    match (redirect.port, kept) {
        (Some(port), _) => out.extend_from_slice(format!(":{port}").as_bytes()),
        (None, Some(port)) => {
            out.push(b':');
            out.extend_from_slice(port);
        }
        (None, None) => {}
    }
    let whole = head.path_and_query();
    let path = redirect.path.as_ref().and_then(|path| rewritten(on, path, head, record)).unwrap_or_else(|| whole.to_vec());
    // A path that brings a query of its own replaces the request's.
    let own_query = matches!(&redirect.path, Some(PathRewrite::Template(t)) if t.as_literal().is_some_and(|p| p.contains(&b'?')));
    let end = if own_query {
        path.len() - head.query().map_or(0, |query| query.len() + 1)
    } else if redirect.strip_query {
        memchr::memchr(b'?', &path).unwrap_or(path.len())
    } else {
        path.len()
    };
    out.extend_from_slice(&path[..end]);
    out
}
