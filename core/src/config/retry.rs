//! When a request is tried again.

use super::HeaderMatch;
use crate::time::Duration;

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        impl RetryOn {
            $($(#[$doc])* pub const $name: RetryOn = RetryOn(1 << $bit);)*
            const ALL: &'static [(RetryOn, &'static str)] = &[$((RetryOn::$name, $text)),*];
        }
    };
}

/// The conditions of `retry_on`, as a set. (`configuration/http/http_filters/router_filter`,
/// `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.)
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

conditions! {
    /// Any 5xx, or no response at all.
    SERVER_ERROR = 0, "5xx";
    /// 502, 503 or 504.
    GATEWAY_ERROR = 1, "gateway-error";
    /// No response at all: disconnect, reset, read timeout.
    RESET = 2, "reset";
    /// A reset before the request was sent.
    RESET_BEFORE_REQUEST = 3, "reset-before-request";
    /// No connection could be made.
    CONNECT_FAILURE = 4, "connect-failure";
    /// `x-envoy-ratelimited` is in the response.
    RATE_LIMITED = 5, "envoy-ratelimited";
    /// 409.
    RETRIABLE_4XX = 6, "retriable-4xx";
    /// REFUSED_STREAM.
    REFUSED_STREAM = 7, "refused-stream";
    /// One of the configured status codes.
    STATUS_CODES = 8, "retriable-status-codes";
    /// One of the configured response headers.
    HEADERS = 9, "retriable-headers";
    /// HTTP/3 only.
    HTTP3_POST_CONNECT = 10, "http3-post-connect-failure";
    /// gRPC status 1.
    CANCELLED = 11, "cancelled";
    /// gRPC status 4.
    DEADLINE_EXCEEDED = 12, "deadline-exceeded";
    /// gRPC status 13.
    INTERNAL = 13, "internal";
    /// gRPC status 8.
    RESOURCE_EXHAUSTED = 14, "resource-exhausted";
    /// gRPC status 14.
    UNAVAILABLE = 15, "unavailable";
}

impl RetryOn {
    /// Reads a comma-separated list. Unknown conditions are answered beside the known ones: Envoy ignores
    /// them in a header and refuses them in a config.
    pub fn parse(text: &str) -> (RetryOn, Vec<String>) {
        let (mut set, mut unknown) = (RetryOn::default(), Vec::new());
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match RetryOn::ALL.iter().find(|(_, name)| *name == word) {
                Some((condition, _)) => set.0 |= condition.0,
                None => unknown.push(word.to_owned()),
            }
        }
        (set, unknown)
    }

    /// The names that [`Self::parse`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RetryOn::ALL.iter().map(|(_, name)| *name)
    }

    /// Whether any of `conditions` is in the set.
    pub fn any(self, conditions: RetryOn) -> bool {
        self.0 & conditions.0 != 0
    }

    /// The union.
    pub fn with(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 | other.0)
    }

    /// Whether nothing is retried.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// `envoy.config.route.v3.RetryPolicy`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// When.
    pub on: RetryOn,
    /// How many times.
    pub retries: u32,
    /// Time for each try.
    pub per_try_timeout: Option<Duration>,
    /// Time without a byte for each try.
    pub per_try_idle_timeout: Option<Duration>,
    /// For `retriable-status-codes`.
    pub status_codes: Vec<u16>,
    /// For `retriable-headers`.
    pub headers: Vec<HeaderMatch>,
    /// Only requests that match one of these are retried; all if empty.
    pub request_headers: Vec<HeaderMatch>,
    /// First back-off.
    pub base: Duration,
    /// Longest back-off.
    pub max: Duration,
    /// Do not choose a host that was tried already (`previous_hosts`).
    pub avoid_tried_hosts: bool,
    /// How many times another host is drawn before a tried one is taken.
    pub host_attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            on: RetryOn::default(),
            retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            status_codes: Vec::new(),
            headers: Vec::new(),
            request_headers: Vec::new(),
            base: crate::limit::RETRY_BASE,
            max: crate::limit::RETRY_BASE * 10,
            avoid_tried_hosts: false,
            host_attempts: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_spaces_and_unknown_words() {
        let (set, unknown) = RetryOn::parse("5xx, reset ,typo,connect-failure");
        assert!(set.any(RetryOn::SERVER_ERROR) && set.any(RetryOn::RESET) && set.any(RetryOn::CONNECT_FAILURE));
        assert!(!set.any(RetryOn::GATEWAY_ERROR));
        assert_eq!(unknown, ["typo"]);
    }
}
