//! Limits on what a peer may make us do for nothing: the floods of CVE-2019-9511 and its kin, and rapid reset
//! (CVE-2023-44487). `h2` limits what must be remembered; this limits what must be done.
//! (Names and defaults: `Http2ProtocolOptions`; `overload.premature_reset_*` in Envoy's runtime.)

use super::Http2Options;
use super::frames::{END_STREAM, FrameHead, kind};
use crate::limit;
use crate::time::Instant;
use h2::Reason;

/// What a peer did too much of, or did wrong where `h2` has the wrong error code for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// More than `max_consecutive_inbound_frames_with_empty_payload`.
    #[error("too many frames in a row without a payload")]
    EmptyFrames,
    /// More than `max_inbound_priority_frames_per_stream`.
    #[error("too many PRIORITY frames")]
    Priority,
    /// More than `max_inbound_window_update_frames_per_data_frame_sent`.
    #[error("too many WINDOW_UPDATE frames")]
    WindowUpdates,
    /// SETTINGS and PING that want to be answered, RST_STREAM for streams that never were.
    #[error("too many control frames")]
    Control,
    /// A frame's length is not one that its type can have.
    #[error("a frame has a length that its type does not have (RFC 9113 section 4.2)")]
    FrameSize,
    /// Something else than SETTINGS came first.
    #[error("the first frame is no SETTINGS (RFC 9113 section 3.4)")]
    NoSettings,
    /// SETTINGS_INITIAL_WINDOW_SIZE is larger than a window can be.
    #[error("a window of more than 2^31-1 bytes (RFC 9113 section 6.5.2)")]
    Window,
    /// A trailer section begins with a pseudo-header field.
    #[error("a pseudo-header field in trailers (RFC 9113 section 8.1)")]
    PseudoTrailer,
    /// Most requests are cancelled soon after they were sent.
    #[error("too many requests are reset early (CVE-2023-44487)")]
    Resets,
}

impl Breach {
    /// The error code that says it.
    pub fn reason(self) -> Reason {
        match self {
            Breach::FrameSize => Reason::FRAME_SIZE_ERROR,
            Breach::NoSettings | Breach::PseudoTrailer => Reason::PROTOCOL_ERROR,
            Breach::Window => Reason::FLOW_CONTROL_ERROR,
            _ => Reason::ENHANCE_YOUR_CALM,
        }
    }
}

/// Counts what one peer does.
#[derive(Debug)]
pub struct Guard {
    max_empty: u32,
    max_priority: u64,
    max_window_updates: u64,
    empty: u32,
    priority: u64,
    window_updates: u64,
    streams: u64,
    data_sent: u64,
    control: u32,
    control_since: Instant,
    closed: u32,
    premature: u32,
    begun: bool,
}

impl Guard {
    /// The limits in `options`.
    pub fn new(options: &Http2Options) -> Guard {
        Guard {
            max_empty: options.max_empty_frames,
            max_priority: u64::from(options.max_priority_frames),
            max_window_updates: u64::from(options.max_window_updates),
            empty: 0,
            priority: 0,
            window_updates: 0,
            streams: 0,
            data_sent: 0,
            control: 0,
            control_since: Instant::ZERO,
            closed: 0,
            premature: 0,
            begun: false,
        }
    }

    /// A frame has come.
    pub fn received(&mut self, frame: FrameHead, now: Instant) -> Result<(), Breach> {
        if !std::mem::replace(&mut self.begun, true) && frame.kind != kind::SETTINGS {
            return Err(Breach::NoSettings);
        }
        check_length(frame)?;
        match frame.kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION => {
                if frame.kind == kind::HEADERS {
                    self.streams += 1;
                }
                if frame.length > 0 || frame.flags & END_STREAM != 0 {
                    self.empty = 0;
                    return Ok(());
                }
                self.empty += 1;
                if self.empty > self.max_empty { Err(Breach::EmptyFrames) } else { Ok(()) }
            }
            kind::PRIORITY => {
                self.priority += 1;
                if self.priority > self.max_priority.saturating_mul(1 + self.streams) { Err(Breach::Priority) } else { Ok(()) }
            }
            kind::WINDOW_UPDATE => {
                self.window_updates += 1;
                let allowed = 5 + 2 * (self.streams + self.max_window_updates.saturating_mul(self.data_sent));
                if self.window_updates > allowed { Err(Breach::WindowUpdates) } else { Ok(()) }
            }
            kind::SETTINGS | kind::PING if frame.flags & END_STREAM == 0 => self.control(now),
            _ => Ok(()),
        }
    }

    /// An entry of SETTINGS has come.
    pub fn setting(&self, id: u16, value: u32) -> Result<(), Breach> {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        if id == INITIAL_WINDOW_SIZE && value > i32::MAX as u32 { Err(Breach::Window) } else { Ok(()) }
    }

    fn control(&mut self, now: Instant) -> Result<(), Breach> {
        if now.since(self.control_since) > limit::CONTROL_FRAMES_PERIOD {
            (self.control, self.control_since) = (0, now);
        }
        self.control += 1;
        if self.control > limit::CONTROL_FRAMES { Err(Breach::Control) } else { Ok(()) }
    }

    /// We have sent a DATA frame.
    pub fn sent_data(&mut self) {
        self.data_sent += 1;
    }

    /// A stream has ended; `premature` if the peer reset it before it was answered and soon after it began.
    pub fn stream_ended(&mut self, premature: bool) -> Result<(), Breach> {
        self.closed = self.closed.saturating_add(1);
        self.premature = self.premature.saturating_add(u32::from(premature));
        // As soon as it is certain that most of the first so many are.
        let of = self.closed.max(limit::PREMATURE_RESET_STREAMS);
        if premature && self.premature > of / 2 { Err(Breach::Resets) } else { Ok(()) }
    }
}

/// RFC 9113 sections 6.3 to 6.9.
fn check_length(frame: FrameHead) -> Result<(), Breach> {
    let right = match frame.kind {
        kind::PRIORITY => frame.length == 5,
        kind::RST_STREAM | kind::WINDOW_UPDATE => frame.length == 4,
        kind::SETTINGS if frame.flags & END_STREAM != 0 => frame.length == 0,
        kind::SETTINGS => frame.length.is_multiple_of(6),
        kind::PING => frame.length == 8,
        kind::GOAWAY => frame.length >= 8,
        _ => true,
    };
    if right { Ok(()) } else { Err(Breach::FrameSize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32) -> FrameHead {
        FrameHead { length, kind, flags: 0, stream: 1 }
    }

    #[test]
    fn resets_are_a_flood_when_they_are_most_of_many() {
        let mut guard = Guard::new(&Http2Options::default());
        let half = limit::PREMATURE_RESET_STREAMS / 2;
        assert!((0..half).all(|_| guard.stream_ended(true).is_ok()));
        assert_eq!(guard.stream_ended(true), Err(Breach::Resets));
        let mut guard = Guard::new(&Http2Options::default());
        assert!((0..100_000).all(|n| guard.stream_ended(n % 2 == 1).is_ok()));
    }

    #[test]
    fn control_frames_are_counted_by_period() {
        let (mut guard, mut now) = (Guard::new(&Http2Options::default()), Instant::ZERO);
        guard.begun = true;
        for _ in 0..10 {
            assert!((0..limit::CONTROL_FRAMES).all(|_| guard.received(frame(kind::PING, 8), now).is_ok()));
            now = now + limit::CONTROL_FRAMES_PERIOD * 2;
        }
        assert!((0..limit::CONTROL_FRAMES).all(|_| guard.received(frame(kind::PING, 8), now).is_ok()));
        assert_eq!(guard.received(frame(kind::PING, 8), now), Err(Breach::Control));
    }

    #[test]
    fn empty_frames_count_only_in_a_row() {
        let mut guard = Guard::new(&Http2Options::default());
        assert_eq!(guard.received(frame(kind::SETTINGS, 0), Instant::ZERO), Ok(()));
        for _ in 0..100 {
            assert_eq!(guard.received(frame(kind::DATA, 0), Instant::ZERO), Ok(()));
            assert_eq!(guard.received(frame(kind::DATA, 1), Instant::ZERO), Ok(()));
        }
        assert_eq!(guard.received(frame(kind::DATA, 0), Instant::ZERO), Ok(()));
        assert_eq!(guard.received(frame(kind::DATA, 0), Instant::ZERO), Err(Breach::EmptyFrames));
    }
}
