//! Pooled blocks and the queue of bytes waiting to be sent.
//!
//! [`Blocks`] lends `BytesMut` blocks and takes them back; a block whose slices are still in use is set
//! aside until they are gone. [`SendQueue`] is what one connection has to send: small pieces (heads, chunk
//! sizes, short bodies) are copied together, long ones travel as slices of what was read.

use crate::digest::Digest;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Capacity of a block for small pieces, in bytes. A head of usual size fits many times over.
const SMALL_BLOCK: usize = 8 * 1024;
/// A piece up to this long is copied beside its neighbours; a longer one is sent as a slice of its own.
const COPY_LIMIT: usize = 2 * 1024;
/// More than this waiting is a backlog.
const BACKLOG: usize = 64 * 1024;
/// As `COPY_LIMIT`, behind a backlog.
const BACKLOG_COPY_LIMIT: usize = 16 * 1024;
/// How many blocks of a size a pool keeps; more are freed.
const KEPT_BLOCKS: usize = 64;

/// A pool of equal blocks. Never blocks: when all are out, it makes one more.
#[derive(Debug)]
pub struct Blocks {
    capacity: usize,
    free: Vec<BytesMut>,
    /// Blocks that came back while slices of them were still around.
    lent: VecDeque<BytesMut>,
    queues: Vec<VecDeque<Bytes>>,
    /// What was queued through this pool, if somebody wants to know: heads and framing byte for byte, pieces of bodies
    /// by their length, so that a log without bodies gives the same digest.
    pub digest: Option<Digest>,
}

impl Default for Blocks {
    fn default() -> Self {
        Blocks::new(SMALL_BLOCK)
    }
}

impl Blocks {
    /// A pool of blocks of `capacity` bytes.
    pub fn new(capacity: usize) -> Blocks {
        Blocks { capacity, free: Vec::new(), lent: VecDeque::new(), queues: Vec::new(), digest: None }
    }

    /// An empty block with at least a quarter of the pool's capacity free.
    pub fn take(&mut self) -> BytesMut {
        if let Some(block) = self.free.pop() {
            return block;
        }
        for _ in 0..self.lent.len().min(4) {
            let Some(mut block) = self.lent.pop_front() else { break };
            if block.try_reclaim(self.capacity) {
                return block;
            }
            self.lent.push_back(block);
        }
        BytesMut::with_capacity(self.capacity)
    }

    /// Takes a block back.
    pub fn put(&mut self, mut block: BytesMut) {
        if block.capacity() == 0 {
            return;
        }
        block.clear();
        if block.try_reclaim(self.capacity) {
            if self.free.len() < KEPT_BLOCKS && block.capacity() <= 2 * self.capacity {
                self.free.push(block);
            }
        } else if self.lent.len() < KEPT_BLOCKS {
            self.lent.push_back(block);
        }
    }

    fn take_queue(&mut self) -> VecDeque<Bytes> {
        self.queues.pop().unwrap_or_default()
    }

    fn put_queue(&mut self, queue: VecDeque<Bytes>) {
        if queue.capacity() > 0 && queue.capacity() <= 64 && self.queues.len() < KEPT_BLOCKS {
            self.queues.push(queue);
        }
    }
}

/// Bytes waiting to be sent on one connection, in order.
#[derive(Debug, Default)]
pub struct SendQueue {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    chunked_len: usize,
    /// How much of `tail` the digest has taken in.
    digested: usize,
}

impl SendQueue {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.chunked_len + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A place to write small pieces to. What is written there is sent after all that was pushed before.
    pub fn writer(&mut self, blocks: &mut Blocks) -> &mut BytesMut {
        if self.tail.capacity() == 0 {
            self.tail = blocks.take();
        }
        &mut self.tail
    }

    /// Appends a piece of a body.
    pub fn push(&mut self, piece: Bytes, blocks: &mut Blocks) {
        // Behind a backlog, medium pieces are copied too: a peer that does not read must not pin blocks
        // many times as large as what waits for it.
        let limit = if self.len() > BACKLOG { BACKLOG_COPY_LIMIT } else { COPY_LIMIT };
        if blocks.digest.is_some() {
            self.digest_tail(blocks, Some(piece.len()));
        }
        if piece.len() <= limit {
            self.writer(blocks).extend_from_slice(&piece);
            if blocks.digest.is_some() {
                self.digested = self.tail.len();
            }
            return;
        }
        self.seal_tail(blocks);
        self.chunked_len += piece.len();
        self.push_chunk(piece, blocks);
    }

    /// Appends bytes that the digest knows already.
    pub fn push_framed(&mut self, bytes: Bytes, blocks: &mut Blocks) {
        if !bytes.is_empty() {
            self.seal_tail(blocks);
            self.chunked_len += bytes.len();
            self.push_chunk(bytes, blocks);
        }
    }

    /// Moves up to `limit` bytes, whole pieces at a time but at least one, into `out`.
    pub fn drain_into(&mut self, out: &mut Outbox, limit: usize, blocks: &mut Blocks) {
        self.seal_tail(blocks);
        while let Some(front) = self.chunks.front() {
            if out.len > 0 && out.len + front.len() > limit {
                return;
            }
            let Some(chunk) = self.chunks.pop_front() else { return };
            self.chunked_len -= chunk.len();
            out.push(chunk);
        }
        self.release(blocks);
    }

    /// Throws away all that waits.
    pub fn clear(&mut self, blocks: &mut Blocks) {
        self.chunks.clear();
        self.tail.clear();
        self.chunked_len = 0;
        self.digested = 0;
        self.release(blocks);
    }

    /// Gives memory back to the pool: an idle connection keeps none.
    fn release(&mut self, blocks: &mut Blocks) {
        blocks.put(std::mem::take(&mut self.tail));
        blocks.put_queue(std::mem::take(&mut self.chunks));
    }

    fn seal_tail(&mut self, blocks: &mut Blocks) {
        if !self.tail.is_empty() {
            if blocks.digest.is_some() {
                self.digest_tail(blocks, None);
            }
            self.digested = 0;
            let sealed = self.tail.split().freeze();
            self.chunked_len += sealed.len();
            self.push_chunk(sealed, blocks);
        }
    }

    /// Takes what was written since the last time into the digest, then the length of a piece of a body.
    fn digest_tail(&mut self, blocks: &mut Blocks, piece: Option<usize>) {
        let Some(digest) = &mut blocks.digest else { return };
        if self.digested < self.tail.len() {
            digest.bytes(&self.tail[self.digested..]);
            self.digested = self.tail.len();
        }
        if let Some(len) = piece {
            digest.word(len as u64);
        }
    }

    fn push_chunk(&mut self, chunk: Bytes, blocks: &mut Blocks) {
        if self.chunks.capacity() == 0 {
            self.chunks = blocks.take_queue();
        }
        self.chunks.push_back(chunk);
    }
}

/// What the driver took to send and has not sent yet: slices for one vectored write.
#[derive(Debug, Default)]
pub struct Outbox {
    slices: VecDeque<Bytes>,
    len: usize,
}

impl Outbox {
    /// Bytes left to send.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slices, in order.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.slices.iter()
    }

    /// Appends a slice.
    pub fn push(&mut self, slice: Bytes) {
        self.len += slice.len();
        self.slices.push_back(slice);
    }

    /// The first `sent` bytes are on the wire.
    pub fn advance(&mut self, mut sent: usize) {
        self.len -= sent;
        while let Some(front) = self.slices.front_mut() {
            if sent < front.len() {
                front.advance(sent);
                return;
            }
            sent -= front.len();
            self.slices.pop_front();
        }
    }

    /// Drops all that is left.
    pub fn clear(&mut self) {
        self.slices.clear();
        self.len = 0;
    }

    /// Moves what is left out, copying short remainders so that a peer that does not read pins no large
    /// block for a few bytes.
    pub fn take_rest(&mut self) -> Outbox {
        let mut rest = Outbox::default();
        while let Some(slice) = self.slices.pop_front() {
            let slice = if slice.len() <= COPY_LIMIT { Bytes::copy_from_slice(&slice) } else { slice };
            rest.push(slice);
        }
        self.len = 0;
        rest
    }
}

/// High and low watermarks of one buffer limit: above the limit the source is paused, below half of it the
/// source goes on (the proto documents `per_connection_buffer_limit_bytes` as a soft limit).
pub fn above_high(buffered: usize, limit: usize) -> bool {
    limit > 0 && buffered > limit
}

/// Whether a paused source may go on. See [`above_high`].
pub fn below_low(buffered: usize, limit: usize) -> bool {
    buffered <= limit / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(out: &Outbox) -> Vec<u8> {
        out.slices().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn small_pieces_are_sent_together_and_long_ones_as_they_are() {
        let (mut queue, mut blocks, mut out) = (SendQueue::default(), Blocks::default(), Outbox::default());
        let long = Bytes::from(vec![b'x'; COPY_LIMIT + 1]);
        queue.writer(&mut blocks).extend_from_slice(b"head ");
        queue.push(Bytes::from_static(b"short"), &mut blocks);
        queue.push(long.clone(), &mut blocks);
        queue.push(Bytes::from_static(b"end"), &mut blocks);
        queue.drain_into(&mut out, usize::MAX, &mut blocks);
        assert_eq!(out.slices().len(), 3);
        assert_eq!(out.slices().nth(1).map(|slice| slice.as_ptr()), Some(long.as_ptr()));
        assert_eq!(collect(&out), [b"head short", &long[..], b"end"].concat());
        assert!(queue.is_empty());
    }

    #[test]
    fn a_block_is_reused_once_its_slices_are_gone() {
        let (mut queue, mut blocks) = (SendQueue::default(), Blocks::default());
        let mut first = None;
        for _ in 0..1000 {
            let mut out = Outbox::default();
            queue.writer(&mut blocks).extend_from_slice(b"head");
            queue.drain_into(&mut out, usize::MAX, &mut blocks);
            let at = out.slices().next().map(|slice| slice.as_ptr());
            assert_eq!(*first.get_or_insert(at), at);
        }
    }

    #[test]
    fn a_limit_cuts_between_pieces() {
        let (mut queue, mut blocks, mut out) = (SendQueue::default(), Blocks::default(), Outbox::default());
        for _ in 0..4 {
            queue.push(Bytes::from(vec![0; 4000]), &mut blocks);
        }
        queue.drain_into(&mut out, 9000, &mut blocks);
        assert_eq!((out.len(), queue.len()), (8000, 8000));
    }

    #[test]
    fn an_outbox_advances_over_slices() {
        let mut out = Outbox::default();
        out.push(Bytes::from_static(b"abc"));
        out.push(Bytes::from_static(b"def"));
        out.advance(4);
        assert_eq!((collect(&out).as_slice(), out.len()), (&b"ef"[..], 2));
        let rest = out.take_rest();
        assert_eq!((rest.len(), out.is_empty()), (2, true));
    }
}
