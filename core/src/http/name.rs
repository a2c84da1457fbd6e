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

/// Slots of the table of known names.
const SLOTS: usize = 512;

/// Where a name stands in the table, in any case. Not empty.
const fn slot(text: &[u8], factor: u32) -> usize {
    const CASE: u8 = 0x20;
    let len = text.len();
    // With the length, these tell all known names apart.
    let key = u32::from_le_bytes([len as u8, text[len / 2] | CASE, text[len * 3 / 4] | CASE, text[len - 1] | CASE]);
    (key.wrapping_mul(factor) >> (u32::BITS - SLOTS.trailing_zeros())) as usize
}

/// The known names by [`slot`], each in a slot of its own, counted from one; 0 is an empty slot.
const fn place(factor: u32) -> Option<[u8; SLOTS]> {
    let mut slots = [0u8; SLOTS];
    let mut i = 0;
    while i < KNOWN.len() {
        let name = KNOWN[i].0.as_bytes();
        assert!(name.len() <= LONGEST, "LONGEST is shorter than a known name");
        let at = slot(name, factor);
        if slots[at] != 0 {
            return None;
        }
        i += 1;
        slots[at] = i as u8;
    }
    Some(slots)
}

/// The first odd factor that gives every known name its own slot, and the table it makes.
const TABLE: (u32, [u8; SLOTS]) = {
    let mut factor = 0x9e37_79b1;
    loop {
        if let Some(slots) = place(factor) {
            break (factor, slots);
        }
        factor = factor.wrapping_add(0x3c6e_f372);
    }
};

/// Whether `text` is `known`, which is in lower case: eight bytes at a time, the last eight overlapping
/// those before.
fn is_in_any_case(text: &[u8], known: &[u8]) -> bool {
    const LAST: usize = 8;
    if text.len() != known.len() || text.len() < LAST {
        return text.eq_ignore_ascii_case(known);
    }
    let same = |at: usize| match (text[at..].first_chunk(), known[at..].first_chunk()) {
        (Some(text), Some(known)) => {
            let (text, known) = (u64::from_le_bytes(*text), u64::from_le_bytes(*known));
            // Of what known names are made of, only letters have this bit: '-' and digits have not.
            let letters = (known & 0x4040_4040_4040_4040) >> 1;
            text | letters == known
        }
        _ => false,
    };
    (0..text.len() - LAST).step_by(LAST).all(same) && same(text.len() - LAST)
}

impl Name {
    /// Which known name this is, in any case.
    pub fn of(text: &[u8]) -> Name {
        static SLOTS: [u8; self::SLOTS] = TABLE.1;
        if text.is_empty() || text.len() > LONGEST {
            return Name::Other;
        }
        match usize::from(SLOTS[slot(text, TABLE.0)]).checked_sub(1).map(|at| &KNOWN[at]) {
            Some((known, name)) if is_in_any_case(text, known.as_bytes()) => *name,
            _ => Name::Other,
        }
    }

    /// This name's bit in a set of names; zero for [`Name::Other`].
    pub(crate) const fn bit(self) -> u64 {
        match self {
            Name::Other => 0,
            known => 1 << (known as u8),
        }
    }
}

/// A set of known names.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NameSet(u64);

impl NameSet {
    /// The set of these names.
    pub const fn of(names: &[Name]) -> NameSet {
        let (mut set, mut i) = (0, 0);
        while i < names.len() {
            set |= names[i].bit();
            i += 1;
        }
        NameSet(set)
    }

    /// Whether `name` is in the set.
    pub const fn has(self, name: Name) -> bool {
        self.bits() & name.bit() != 0
    }

    /// These names and those of `other`.
    pub const fn with(self, other: NameSet) -> NameSet {
        NameSet(self.0 | other.0)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
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
        for (text, _) in KNOWN {
            for at in 0..text.len() {
                let mut near = text.as_bytes().to_vec();
                for change in 1..=255 {
                    near[at] ^= change;
                    let same = near.eq_ignore_ascii_case(text.as_bytes());
                    assert_eq!(Name::of(&near) != Name::Other, same || KNOWN.iter().any(|(k, _)| near.eq_ignore_ascii_case(k.as_bytes())));
                    near[at] ^= change;
                }
            }
        }
        assert_eq!(Name::of(b"x-other"), Name::Other);
        assert_eq!(Name::of(&[b'a'; 100]), Name::Other);
        assert_eq!(Name::of(b""), Name::Other);
    }
}
