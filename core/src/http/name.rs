//! Header names that the proxy itself looks at, as small numbers.

macro_rules! names {
    ($($variant:ident = $text:literal),* $(,)?) => {
        /// A header name. Names that the proxy never asks for are [`Name::Other`].
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Name { Other, $($variant),* }

        const KNOWN: &[(&str, Name)] = &[$(($text, Name::$variant)),*];

        impl Name {
            /// The name in lower case; empty for [`Name::Other`].
            pub const fn as_str(self) -> &'static str {
                match self { Name::Other => "", $(Name::$variant => $text),* }
            }
        }
    };
}

names! {
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Expect = "expect",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Date = "date",
    Server = "server",
    Via = "via",
    UserAgent = "user-agent",
    ContentType = "content-type",
    Location = "location",
    GrpcStatus = "grpc-status",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XRequestId = "x-request-id",
    ExternalAddress = "x-envoy-external-address",
    Internal = "x-envoy-internal",
    OriginalPath = "x-envoy-original-path",
    OriginalHost = "x-envoy-original-host",
    UpstreamServiceTime = "x-envoy-upstream-service-time",
    AttemptCount = "x-envoy-attempt-count",
    ExpectedTimeout = "x-envoy-expected-rq-timeout-ms",
    RetryOn = "x-envoy-retry-on",
    RetryGrpcOn = "x-envoy-retry-grpc-on",
    MaxRetries = "x-envoy-max-retries",
    RetriableStatusCodes = "x-envoy-retriable-status-codes",
    RetriableHeaderNames = "x-envoy-retriable-header-names",
    UpstreamTimeout = "x-envoy-upstream-rq-timeout-ms",
    PerTryTimeout = "x-envoy-upstream-rq-per-try-timeout-ms",
    HedgeOnTimeout = "x-envoy-hedge-on-per-try-timeout",
    AltStatName = "x-envoy-upstream-alt-stat-name",
    DecoratorOperation = "x-envoy-decorator-operation",
    IpTags = "x-envoy-ip-tags",
    ForceTrace = "x-envoy-force-trace",
    DownstreamNode = "x-envoy-downstream-service-node",
    DownstreamCluster = "x-envoy-downstream-service-cluster",
    RateLimited = "x-envoy-ratelimited",
    Overloaded = "x-envoy-overloaded",
    Degraded = "x-envoy-degraded",
    ClientCert = "x-forwarded-client-cert",
    HealthCheckFail = "x-envoy-immediate-health-check-fail",
}

const LONGEST: usize = 40;

/// Known names by length: where in `BY_LENGTH` each length starts.
const STARTS: [u8; LONGEST + 2] = {
    let mut starts = [0u8; LONGEST + 2];
    let mut length = 0;
    while length <= LONGEST {
        let (mut count, mut i) = (0, 0);
        while i < KNOWN.len() {
            if KNOWN[i].0.len() == length {
                count += 1;
            }
            i += 1;
        }
        starts[length + 1] = starts[length] + count;
        length += 1;
    }
    starts
};

const BY_LENGTH: [(&str, Name); KNOWN.len()] = {
    let mut sorted = [("", Name::Other); KNOWN.len()];
    let (mut length, mut at) = (0, 0);
    while length <= LONGEST {
        let mut i = 0;
        while i < KNOWN.len() {
            if KNOWN[i].0.len() == length {
                sorted[at] = KNOWN[i];
                at += 1;
            }
            i += 1;
        }
        length += 1;
    }
    assert!(at == KNOWN.len(), "LONGEST is shorter than a known name");
    sorted
};

impl Name {
    /// Which known name this is, in any case.
    pub fn of(text: &[u8]) -> Name {
        if text.len() > LONGEST {
            return Name::Other;
        }
        let range = usize::from(STARTS[text.len()])..usize::from(STARTS[text.len() + 1]);
        let found = BY_LENGTH[range].iter().find(|(known, _)| text.eq_ignore_ascii_case(known.as_bytes()));
        found.map_or(Name::Other, |(_, name)| *name)
    }

    /// This name's bit in a set of names; zero for [`Name::Other`].
    pub(crate) const fn bit(self) -> u64 {
        match self {
            Name::Other => 0,
            known => 1 << (known as u8),
        }
    }
}

const _: () = assert!(KNOWN.len() < 64, "a set of names is one u64");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (text, name) in KNOWN {
            assert_eq!(Name::of(text.as_bytes()), *name);
            assert_eq!(Name::of(text.to_uppercase().as_bytes()), *name);
            assert_eq!(name.as_str(), *text);
        }
        assert_eq!(Name::of(b"x-other"), Name::Other);
        assert_eq!(Name::of(&[b'a'; 100]), Name::Other);
        assert_eq!(Name::of(b""), Name::Other);
    }
}
