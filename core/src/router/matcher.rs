//! Whether a request fits a route's criteria.

use crate::config::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, ValueMatch};
use crate::format::{query_param, request_value};
use crate::http::{Fields, Name, RequestHead};

/// Whether `head` fits `on`, given that the path index says so. `die` draws a number below a million.
pub(super) fn route_matches(on: &RouteMatch, head: &RequestHead, die: impl FnOnce() -> u32) -> bool {
    let path = match &on.path {
        PathMatch::Connect => head.is_connect(),
        // No path matcher is for CONNECT.
        _ if head.is_connect() => false,
        PathMatch::Regex(regex) => regex.is_match(head.path()),
        _ => true,
    };
    path && on.fraction.is_none_or(|share| die() < share)
        && on.headers.iter().all(|matcher| header_matches(matcher, head))
        && on.query.iter().all(|matcher| query_matches(matcher, head))
        && (!on.grpc || is_grpc(head))
}

fn is_grpc(head: &RequestHead) -> bool {
    crate::http::grpc::is_grpc(head.fields.get(Name::ContentType).unwrap_or_default())
}

/// Whether a header or pseudo-header of the request fits.
pub fn header_matches(matcher: &HeaderMatch, head: &RequestHead) -> bool {
    match matcher.name.starts_with(':') {
        true => optional_value_matches(matcher, request_value(head, &matcher.name)),
        false => field_matches(matcher, &head.fields),
    }
}

/// Whether a field fits. Several fields of one name count as one, joined by commas.
pub fn field_matches(matcher: &HeaderMatch, fields: &Fields) -> bool {
    let mut values = fields.all_named(matcher.name.as_bytes());
    match (values.next(), values.next()) {
        (Some(first), Some(second)) => {
            let mut all = [first, b",", second].concat();
            for value in values {
                all.push(b',');
                all.extend_from_slice(value);
            }
            optional_value_matches(matcher, Some(&all))
        }
        (first, _) => optional_value_matches(matcher, first),
    }
}

fn optional_value_matches(matcher: &HeaderMatch, value: Option<&[u8]>) -> bool {
    let value = if matcher.missing_as_empty { value.or(Some(b"")) } else { value };
    if let ValueMatch::Present(present) = &matcher.value {
        return (value.is_some() == *present) != matcher.invert;
    }
    // A header that is missing matches nothing, inverted or not.
    value.is_some_and(|value| value_matches(&matcher.value, value) != matcher.invert)
}

fn value_matches(matcher: &ValueMatch, value: &[u8]) -> bool {
    match matcher {
        ValueMatch::Text(text) => text.matches(value),
        ValueMatch::Range(start, end) => {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
            number.is_some_and(|n| *start <= n && n < *end)
        }
        ValueMatch::Present(present) => *present,
    }
}

fn query_matches(matcher: &QueryMatch, head: &RequestHead) -> bool {
    let value = query_param(head, matcher.name.as_bytes());
    match (&matcher.value, value) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(text), Some(value)) => text.matches(value),
    }
}
