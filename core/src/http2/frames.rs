//! Where frames begin and end in a stream of bytes, and which bytes are those of bodies. Nothing is kept of a frame
//! but its head.

use super::PREFACE;

/// The head of a frame (RFC 9113 section 4.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of payload.
    pub length: u32,
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream identifier.
    pub stream: u32,
}

/// Frame types (RFC 9113 section 6).
#[allow(missing_docs)]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Follows the frames in one direction of a connection.
#[derive(Debug)]
pub struct FrameScanner {
    preface_left: u8,
    head: [u8; 9],
    have: u8,
    left: u32,
    /// What is left is a body's, but for so many bytes.
    framing_left: u32,
    is_data: bool,
    /// A header block has begun and not ended.
    in_block: bool,
    kind: u8,
    /// Requests come this way: a second head on a stream is a trailer section. Of answers it follows a 1xx.
    has_requests: bool,
    /// The next byte begins a trailer section.
    begins_trailers: bool,
    last_stream: u32,
    setting: [u8; 6],
    setting_have: u8,
}

/// A run of bytes of one nature.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Run<'a> {
    /// All but bodies: heads of frames, and payloads of other frames than DATA.
    Framing(&'a [u8]),
    /// Of a body.
    Body(&'a [u8]),
    /// The head of a frame is complete; its bytes were told.
    Frame(FrameHead),
    /// A second head on a stream begins with a pseudo-header field, which `h2` passes over.
    PseudoTrailer,
    /// An entry of a SETTINGS frame is complete.
    Setting(u16, u32),
}

impl FrameScanner {
    /// For the direction that begins with the client's preface, or for the other one.
    pub fn new(preface: bool) -> FrameScanner {
        let preface_left = if preface { PREFACE.len() as u8 } else { 0 };
        FrameScanner {
            preface_left,
            head: [0; 9],
            have: 0,
            left: 0,
            framing_left: 0,
            is_data: false,
            in_block: false,
            kind: 0,
            has_requests: preface,
            begins_trailers: false,
            last_stream: 0,
            setting: [0; 6],
            setting_have: 0,
        }
    }

    /// Goes over the next bytes and tells what they are, in order.
    pub fn scan<'a>(&mut self, mut bytes: &'a [u8], mut tell: impl FnMut(Run<'a>)) {
        while !bytes.is_empty() {
            if self.preface_left > 0 {
                let (now, rest) = bytes.split_at(bytes.len().min(usize::from(self.preface_left)));
                self.preface_left -= now.len() as u8;
                tell(Run::Framing(now));
                bytes = rest;
            } else if self.left > 0 {
                let limit = if self.framing_left > 0 { self.framing_left } else { self.left };
                let (now, rest) = bytes.split_at(bytes.len().min(limit as usize));
                if std::mem::take(&mut self.begins_trailers) && names_pseudo(now) {
                    tell(Run::PseudoTrailer);
                }
                let body = self.framing_left == 0 && self.is_data;
                self.left -= now.len() as u32;
                if self.kind == kind::SETTINGS {
                    self.settings(now, &mut tell);
                }
                self.framing_left = self.framing_left.saturating_sub(now.len() as u32);
                tell(if body { Run::Body(now) } else { Run::Framing(now) });
                bytes = rest;
            } else {
                let have = usize::from(self.have);
                let (now, rest) = bytes.split_at(bytes.len().min(self.head.len() - have));
                self.head[have..have + now.len()].copy_from_slice(now);
                self.have += now.len() as u8;
                tell(Run::Framing(now));
                bytes = rest;
                if usize::from(self.have) == self.head.len() {
                    tell(Run::Frame(self.begin_frame()));
                }
            }
        }
    }

    /// Whether a head has begun and is not complete.
    pub fn is_in_head(&self) -> bool {
        self.in_block || (self.left > 0 && matches!(self.kind, kind::HEADERS | kind::CONTINUATION))
    }

    fn settings<'a>(&mut self, bytes: &[u8], tell: &mut impl FnMut(Run<'a>)) {
        for byte in bytes {
            self.setting[usize::from(self.setting_have)] = *byte;
            self.setting_have += 1;
            if usize::from(self.setting_have) == self.setting.len() {
                let [i, d, a, b, c, e] = self.setting;
                self.setting_have = 0;
                tell(Run::Setting(u16::from_be_bytes([i, d]), u32::from_be_bytes([a, b, c, e])));
            }
        }
    }

    fn begin_frame(&mut self) -> FrameHead {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        (self.have, self.left) = (0, length);
        (self.is_data, self.kind) = (kind == kind::DATA, kind);
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        self.setting_have = 0;
        match kind {
            kind::HEADERS => {
                // A second head on a stream; one that is padded or prioritised begins elsewhere.
                self.begins_trailers = self.has_requests && stream <= self.last_stream && flags & (PADDED | PRIORITY) == 0 && length > 0;
                self.last_stream = self.last_stream.max(stream);
            }
            _ => self.begins_trailers = false,
        }
        if matches!(kind, kind::HEADERS | kind::CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
        // How much padding there is says where the body ends.
        self.framing_left = u32::from(self.is_data && flags & PADDED != 0).min(length);
        FrameHead { length, kind, flags, stream }
    }
}

/// Whether a field line names a pseudo-header field: with an entry of HPACK's static table, 1 to 14, or with a literal name
/// that is not Huffman-coded (RFC 7541 section 6 and appendix A).
fn names_pseudo(line: &[u8]) -> bool {
    let index = match line[0] {
        first @ 0x80.. => first & 0x7f,
        first @ 0x40..0x80 => first & 0x3f,
        0x20..0x40 => return false,
        first => first & 0x0f,
    };
    match index {
        0 => matches!(line, [_, 1..0x80, b':', ..]),
        index => index <= 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_told_from_framing_however_the_bytes_come() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend([0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]);
        bytes.extend([0, 0, 5, kind::DATA, PADDED, 0, 0, 0, 1, 1]);
        bytes.extend(b"abc\0");
        bytes.extend([0, 0, 2, kind::PING, 0, 0, 0, 0, 0, 9, 9]);
        for step in 1..bytes.len() {
            let (mut scanner, mut body, mut framing, mut frames) = (FrameScanner::new(true), Vec::new(), 0, Vec::new());
            for piece in bytes.chunks(step) {
                scanner.scan(piece, |run| match run {
                    Run::Framing(bytes) => framing += bytes.len(),
                    Run::Body(bytes) => body.extend_from_slice(bytes),
                    Run::Setting(..) | Run::PseudoTrailer => {}
                    Run::Frame(head) => frames.push((head.kind, head.length, head.stream)),
                });
            }
            assert_eq!(body, b"abc\0");
            assert_eq!(framing, bytes.len() - 4);
            assert_eq!(frames, [(kind::SETTINGS, 0, 0), (kind::DATA, 5, 1), (kind::PING, 2, 0)]);
        }
    }
}
