//! Bodies that prove whose they are: every byte follows from the request's id and its place.

const PERIOD: usize = 251;
const LONGEST: usize = 64 * 1024;

static PATTERN: [u8; PERIOD + LONGEST] = {
    let mut pattern = [0; PERIOD + LONGEST];
    let mut at = 0;
    while at < pattern.len() {
        // Not a line end, not a digit: a body that is taken for a head or a chunk size is noticed.
        pattern[at] = b'g' + ((at % PERIOD) * 7 % 19) as u8;
        at += 1;
    }
    pattern
};

/// The bytes of the body of message `id` from `offset` on, at most so many.
pub fn piece(id: u64, offset: u64, len: usize) -> &'static [u8] {
    let start = ((id * 97 + offset) % PERIOD as u64) as usize;
    &PATTERN[start..start + len.min(LONGEST)]
}

/// Whether `bytes` are those of message `id` from `offset` on.
pub fn is_piece(id: u64, mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = piece(id, offset, bytes.len());
        if bytes[..expected.len()] != *expected {
            return false;
        }
        offset += expected.len() as u64;
        bytes = &bytes[expected.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_knows_its_id_and_place() {
        let body: Vec<u8> = (0..3).flat_map(|n| piece(7, n * LONGEST as u64, LONGEST)).copied().collect();
        assert!(is_piece(7, 0, &body) && is_piece(7, 1000, &body[1000..]));
        assert!(!is_piece(8, 0, &body) && !is_piece(7, 1, &body));
    }
}
