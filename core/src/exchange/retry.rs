//! Whether a failed try is followed by another.
//! (`configuration/http/http_filters/router_filter#x-envoy-retry-on`.)

use crate::config::{RetryOn, RetryPolicy};
use crate::http::{Fields, Name, RequestHead, ResponseHead};
use crate::id::HostId;
use crate::plant::{Plant, is_planted};
use crate::rng::Rng;
use crate::router::header_matches;
use crate::time::Duration;
use std::sync::Arc;

/// How a try failed without a response.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made, or not in time.
    Connect {
        /// It took longer than `connect_timeout`.
        timeout: bool,
    },
    /// The upstream closed or reset the connection before a response head.
    Closed,
    /// What came is not HTTP.
    Protocol,
    /// The upstream reset the stream.
    Reset,
    /// The upstream says that it has not looked at the request: it may be sent again, whatever it is.
    Refused,
    /// `per_try_timeout` or `per_try_idle_timeout`.
    PerTryTimeout,
    /// A circuit breaker is open.
    Overflow,
}

/// What the request's policy and headers allow.
#[derive(Debug, Default)]
pub struct RetryState {
    policy: Option<Arc<RetryPolicy>>,
    on: RetryOn,
    left: u32,
    done: u32,
    codes: Vec<u16>,
    /// Names from `x-envoy-retriable-header-names`.
    names: Vec<Vec<u8>>,
    /// Hosts that were tried.
    pub tried: Vec<HostId>,
}

/// What to do about a failure.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answer the client.
    GiveUp,
    /// It would be tried again, but all retries are used.
    Exhausted,
    /// Try again after this long.
    Retry(Duration),
}

impl RetryState {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.policy = None;
        (self.on, self.left, self.done) = (RetryOn::default(), 0, 0);
        self.codes.clear();
        self.names.clear();
        self.tried.clear();
    }

    /// Takes the route's policy and the request's headers, which it removes.
    pub fn begin(&mut self, policy: Option<&Arc<RetryPolicy>>, head: &mut RequestHead) {
        let applies =
            |policy: &RetryPolicy| policy.request_headers.is_empty() || policy.request_headers.iter().any(|m| header_matches(m, head));
        let policy = policy.filter(|policy| applies(policy));
        if let Some(policy) = policy {
            (self.on, self.left) = (policy.on, policy.retries);
        }
        self.policy = policy.map(Arc::clone);
        self.read_headers(&head.fields);
        for name in [Name::RetryOn, Name::RetryGrpcOn, Name::MaxRetries, Name::RetriableStatusCodes, Name::RetriableHeaderNames] {
            head.fields.remove(name);
        }
    }

    fn read_headers(&mut self, fields: &Fields) {
        let text = |name: Name| fields.get(name).and_then(|value| std::str::from_utf8(value).ok());
        for name in [Name::RetryOn, Name::RetryGrpcOn] {
            if let Some(value) = text(name) {
                self.on = self.on.with(RetryOn::parse(value).0);
                self.left = self.left.max(1);
            }
        }
        if self.on.is_empty() {
            return;
        }
        if let Some(count) = text(Name::MaxRetries).and_then(|value| value.parse().ok()) {
            self.left = count;
        }
        for code in text(Name::RetriableStatusCodes).into_iter().flat_map(|list| list.split(',')) {
            self.codes.extend(code.trim().parse::<u16>());
        }
        for name in text(Name::RetriableHeaderNames).into_iter().flat_map(|list| list.split(',')) {
            self.names.push(name.trim().as_bytes().to_vec());
        }
    }

    /// Whether any retry may happen, so that the body must be kept.
    pub fn is_on(&self) -> bool {
        !self.on.is_empty() && self.left > 0
    }

    /// Retries made.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// Hosts to avoid, and how often to draw for another.
    pub fn avoid(&self) -> (&[HostId], u32) {
        match &self.policy {
            Some(policy) if policy.avoid_tried_hosts => (&self.tried, policy.host_attempts.max(1)),
            _ => (&[], 0),
        }
    }

    /// The policy, if there is one.
    pub fn policy(&self) -> Option<&RetryPolicy> {
        self.policy.as_deref()
    }

    /// After a try that failed.
    pub fn after_failure(&mut self, failure: Failure, request_sent: bool, rng: &mut Rng) -> Plan {
        let wanted = match failure {
            Failure::Overflow => return Plan::GiveUp,
            Failure::Connect { .. } => RetryOn::CONNECT_FAILURE
                .with(RetryOn::SERVER_ERROR)
                .with(RetryOn::GATEWAY_ERROR)
                .with(RetryOn::RESET)
                .with(RetryOn::RESET_BEFORE_REQUEST),
            Failure::Closed | Failure::Protocol | Failure::Reset | Failure::Refused | Failure::PerTryTimeout => {
                let always = RetryOn::SERVER_ERROR.with(RetryOn::GATEWAY_ERROR).with(RetryOn::RESET);
                let always = if failure == Failure::Refused { always.with(RetryOn::REFUSED_STREAM) } else { always };
                if request_sent { always } else { always.with(RetryOn::RESET_BEFORE_REQUEST) }
            }
        };
        self.plan(self.on.any(wanted), rng)
    }

    /// After a response head.
    pub fn after_response(&mut self, response: &ResponseHead, rng: &mut Rng) -> Plan {
        if self.on.is_empty() {
            return Plan::GiveUp;
        }
        // A rate-limited answer is retried only on request, whatever its status.
        let rate_limited = response.fields.has(Name::RateLimited);
        let by_status = !rate_limited && self.wants_status(response.status);
        let wanted = by_status || self.wants_fields(&response.fields);
        self.plan(wanted, rng)
    }

    fn wants_status(&self, status: u16) -> bool {
        let configured = || self.policy.iter().flat_map(|policy| &policy.status_codes).chain(&self.codes);
        (self.on.any(RetryOn::SERVER_ERROR) && status >= 500)
            || (self.on.any(RetryOn::GATEWAY_ERROR) && matches!(status, 502..=504))
            || (self.on.any(RetryOn::RETRIABLE_4XX) && status == 409)
            || (self.on.any(RetryOn::STATUS_CODES) && configured().any(|code| *code == status))
    }

    fn wants_fields(&self, fields: &Fields) -> bool {
        let grpc = match fields.get(Name::GrpcStatus) {
            Some(b"1") => RetryOn::CANCELLED,
            Some(b"4") => RetryOn::DEADLINE_EXCEEDED,
            Some(b"8") => RetryOn::RESOURCE_EXHAUSTED,
            Some(b"13") => RetryOn::INTERNAL,
            Some(b"14") => RetryOn::UNAVAILABLE,
            _ => RetryOn::default(),
        };
        let rate_limited = self.on.any(RetryOn::RATE_LIMITED) && fields.has(Name::RateLimited);
        let matchers = || self.policy.iter().flat_map(|policy| &policy.headers);
        let by_header = || {
            matchers().any(|matcher| crate::router::field_matches(matcher, fields))
                || self.names.iter().any(|name| fields.get_named(name).is_some())
        };
        self.on.any(grpc) || rate_limited || (self.on.any(RetryOn::HEADERS) && by_header())
    }

    fn plan(&mut self, wanted: bool, rng: &mut Rng) -> Plan {
        match (wanted, self.left) {
            (false, _) => Plan::GiveUp,
            (true, 0) if !is_planted(Plant::EndlessRetries) => Plan::Exhausted,
            (true, _) => {
                self.left = self.left.saturating_sub(1);
                self.done += 1;
                Plan::Retry(self.backoff(rng))
            }
        }
    }

    /// Fully jittered exponential back-off: anything below `min(base * 2^(n-1), max)` after the n-th failure.
    fn backoff(&self, rng: &mut Rng) -> Duration {
        let (base, max) = self.policy.as_ref().map_or((crate::limit::RETRY_BASE, crate::limit::RETRY_BASE * 10), |p| (p.base, p.max));
        let factor = 2u32.saturating_pow(self.done.clamp(1, 20) - 1);
        let bound = base.saturating_mul(factor).min(max);
        Duration::from_nanos(rng.below(bound.as_nanos().min(u128::from(u64::MAX)) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn state(on: &str, retries: u32) -> RetryState {
        let policy = RetryPolicy { on: RetryOn::parse(on).0, retries, status_codes: vec![418], ..RetryPolicy::default() };
        let mut state = RetryState::default();
        state.begin(Some(&Arc::new(policy)), &mut RequestHead::default());
        state
    }

    fn response(status: u16) -> ResponseHead {
        let mut head = ResponseHead::default();
        head.status = status;
        head
    }

    fn retries(plan: Plan) -> bool {
        matches!(plan, Plan::Retry(_))
    }

    #[test]
    fn conditions_by_failure() {
        let mut rng = Rng::new(Seed(1));
        let connect = Failure::Connect { timeout: false };
        for (on, failure, sent, want) in [
            ("connect-failure", connect, false, true),
            ("connect-failure", Failure::Closed, true, false),
            ("reset", Failure::Closed, true, true),
            ("reset", Failure::PerTryTimeout, true, true),
            ("reset-before-request", Failure::Closed, true, false),
            ("reset-before-request", Failure::Closed, false, true),
            ("5xx", Failure::Closed, true, true),
            ("gateway-error", connect, false, true),
            ("retriable-4xx", Failure::Closed, true, false),
            ("5xx", Failure::Overflow, false, false),
        ] {
            assert_eq!(retries(state(on, 1).after_failure(failure, sent, &mut rng)), want, "{on} {failure:?}");
        }
    }

    #[test]
    fn conditions_by_status() {
        let mut rng = Rng::new(Seed(1));
        for (on, status, want) in [
            ("5xx", 500, true),
            ("5xx", 499, false),
            ("gateway-error", 500, false),
            ("gateway-error", 503, true),
            ("retriable-4xx", 409, true),
            ("retriable-4xx", 404, false),
            ("retriable-status-codes", 418, true),
            ("retriable-status-codes", 500, false),
        ] {
            let response = response(status);
            assert_eq!(retries(state(on, 1).after_response(&response, &mut rng)), want, "{on} {status}");
        }
    }

    #[test]
    fn retries_run_out() {
        let (mut state, mut rng) = (state("5xx", 2), Rng::new(Seed(1)));
        let plans: Vec<Plan> = (0..3).map(|_| state.after_failure(Failure::Closed, true, &mut rng)).collect();
        assert!(retries(plans[0]) && retries(plans[1]) && plans[2] == Plan::Exhausted);
    }

    #[test]
    fn headers_ask_for_retries_too() {
        let mut head = RequestHead::default();
        head.fields.push(b"x-envoy-retry-on", b"retriable-status-codes");
        head.fields.push(b"x-envoy-retriable-status-codes", b"404, 405");
        head.fields.push(b"x-envoy-max-retries", b"2");
        let mut state = RetryState::default();
        state.begin(None, &mut head);
        assert!(head.fields.is_empty() && state.is_on());
        assert!(retries(state.after_response(&response(405), &mut Rng::new(Seed(1)))));
    }

    #[test]
    fn backoff_stays_below_its_bound() {
        let (mut state, mut rng) = (state("5xx", 20), Rng::new(Seed(5)));
        for _ in 0..20 {
            let Plan::Retry(pause) = state.after_failure(Failure::Closed, true, &mut rng) else { panic!("no retry") };
            assert!(pause < Duration::from_millis(250));
        }
    }
}
