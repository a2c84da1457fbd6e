//! Faults that are planted on purpose, to see whether the simulator's checks notice them.
//!
//! In a normal build every question is answered by a constant `false` and nothing is left of them. Only a build with
//! `--cfg weir_plants` can plant one; `sim/README.md` has the command and the table of what caught which.

macro_rules! plants {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// The faults.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub enum Plant { $($(#[doc = $doc])* $name),* }

        impl Plant {
            /// All of them.
            pub const ALL: &'static [Plant] = &[$(Plant::$name),*];

            /// What it does, in a line.
            pub fn about(self) -> &'static str {
                match self { $(Plant::$name => concat!($($doc),*).trim_ascii()),* }
            }
        }
    };
}

plants! {
    /// A chunk is taken to be one byte shorter than its size says.
    ChunkOffByOne,
    /// A connection that was announced to close goes back into the pool.
    ReuseOfClosing,
    /// A POST is sent again when a pooled connection turns out to be closed.
    ReplayOfPost,
    /// Retries never run out.
    EndlessRetries,
    /// The request breaker keeps a slot of each client that leaves.
    BreakerLeak,
    /// The pending breaker keeps a slot of each request that waited.
    PendingLeak,
    /// The connection breaker lets one more in.
    ConnectionsOffByOne,
    /// The request breaker lets one more in.
    RequestsOffByOne,
    /// The retry breaker lets one more in.
    RetriesOffByOne,
    /// The retry breaker keeps the slot of each retry.
    RetryLeak,
    /// Who starves for a connection is not told when one is free.
    LostNudge,
    /// An upstream that was paused for a slow client is not read again.
    LostWakeUp,
    /// A client that was paused for a slow upstream is not read again.
    LostClientWakeUp,
    /// A drain does not hurry idle connections.
    DrainForgetsIdle,
    /// The deadline of a drain leaves tunnels alone.
    DrainForgetsTunnels,
    /// During a drain answers do not say that they are the last.
    DrainKeepsAlive,
    /// The route timeout comes a millisecond late.
    TimerOffItsTick,
    /// When a client leaves, the upstream connection goes back into the pool with its answer still to come.
    AnswerToAnother,
    /// A request takes its route from one config and its headers from the next.
    MixedSnapshot,
    /// A body that ends before its length is taken to be whole.
    TruncatedAsWhole,
    /// Transfer-Encoding together with Content-Length is let through.
    SmuggledLength,
    /// A client that has closed its sending side gets no answer.
    HalfCloseIsGone,
    /// A connection closes at once, whatever the client is still sending.
    NoLingering,
    /// A connection of a client that was closed is still counted.
    ClientCountLeak,
    /// The gauge of active requests forgets local answers.
    GaugeLeak,
    /// A head that comes in pieces loses a byte between two of them.
    HeadLosesByte,
    /// A request body that is sent again begins with its second piece.
    ReplayLosesPiece,
    /// A tunnel's connection goes back to HTTP when its upstream is gone.
    TunnelBecomesHttp,
    /// A request that waited behind another is never read.
    PipelinedForgotten,
    /// The window of an HTTP/2 stream that was left full for a while is not opened again.
    WindowNeverReopened,
    /// A request that a GOAWAY leaves out is taken to be processed.
    GoawayOffByOne,
    /// The trailers of an answer are lost on their way to an HTTP/2 client.
    TrailerLost,
    /// The request breaker keeps a slot of each HTTP/2 stream that is reset unanswered.
    ResetLeaksSlot,
    /// A filter chain serves the names beside its own, too.
    SniWrongChain,
    /// A TLS handshake of a client may take for ever.
    HandshakeNeverTimesOut,
    /// A client without a certificate is counted as one that spoke no TLS.
    HandshakeMiscounted,
    /// A connection to a host that failed to prove who it is is taken to be open.
    UnverifiedIsOpen,
    /// A connection for who was disappointed by a used one is made without TLS.
    FreshInClear,
    /// A host's certificate is not compared with what the config wants (in the runtime).
    UnverifiedHost,
    /// An end that TLS has not announced is taken for one that it has (in the runtime).
    CutTlsIsWhole,
    /// A filter's resume is lost if the request body ended meanwhile.
    ResumeLostAtEnd,
}

/// Whether this fault is planted.
#[cfg(not(weir_plants))]
#[inline(always)]
pub const fn is_planted(_: Plant) -> bool {
    false
}

#[cfg(weir_plants)]
static PLANTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(usize::MAX);

/// Whether this fault is planted.
#[cfg(weir_plants)]
pub fn is_planted(plant: Plant) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == plant as usize
}

/// Plants one fault in all engines of the process, or removes it.
#[cfg(weir_plants)]
pub fn plant(plant: Option<Plant>) {
    PLANTED.store(plant.map_or(usize::MAX, |plant| plant as usize), std::sync::atomic::Ordering::Relaxed);
}
