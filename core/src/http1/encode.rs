//! Writing heads and bodies.

use crate::buffer::{Blocks, SendQueue};
use crate::http::{Fields, RequestHead, ResponseHead, reason_phrase};
use bytes::{BufMut, Bytes, BytesMut};

/// How a body is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum BodyCoding {
    /// No body: what is written is dropped.
    #[default]
    None,
    /// As it is: a Content-Length was sent, or the close will end it.
    Plain,
    /// Chunked.
    Chunked,
}

/// Writes a request head, blank line included.
pub fn request_head(head: &RequestHead, out: &mut BytesMut) {
    let target = if head.is_connect() { head.target() } else { head.path_and_query() };
    out.reserve(head.fields.byte_size() + 4 * head.fields.len() + target.len() + 32);
    out.put_slice(head.method());
    out.put_slice(b" ");
    out.put_slice(target);
    out.put_slice(b" HTTP/1.1\r\n");
    fields(&head.fields, out);
}

/// Writes a response head, blank line included. We always speak HTTP/1.1 (RFC 9110 section 2.5).
pub fn response_head(head: &ResponseHead, out: &mut BytesMut) {
    out.reserve(head.fields.byte_size() + 4 * head.fields.len() + 64);
    status_line(head.status, head.reason(), out);
    fields(&head.fields, out);
}

fn status_line(status: u16, reason: &[u8], out: &mut BytesMut) {
    if status == 200 {
        out.put_slice(b"HTTP/1.1 200 ");
    } else {
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(itoa::Buffer::new().format(status).as_bytes());
        out.put_slice(b" ");
    }
    out.put_slice(if reason.is_empty() { reason_phrase(status).as_bytes() } else { reason });
    out.put_slice(b"\r\n");
}

fn fields(fields: &Fields, out: &mut BytesMut) {
    fields.write(out);
    out.put_slice(b"\r\n");
}

/// Writes a piece of a body.
pub fn body(coding: BodyCoding, piece: Bytes, out: &mut SendQueue, blocks: &mut Blocks) {
    if piece.is_empty() {
        return;
    }
    match coding {
        BodyCoding::None => {}
        BodyCoding::Plain => out.push(piece, blocks),
        BodyCoding::Chunked => {
            let line = out.writer(blocks);
            chunk_size(piece.len(), line);
            out.push(piece, blocks);
            out.writer(blocks).put_slice(b"\r\n");
        }
    }
}

fn chunk_size(len: usize, out: &mut BytesMut) {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = (len >> (4 * digit)) & 15;
        out.put_u8(b"0123456789abcdef"[nibble]);
    }
    out.put_slice(b"\r\n");
}

/// Writes the end of a body.
pub fn end(coding: BodyCoding, trailers: &Fields, out: &mut SendQueue, blocks: &mut Blocks) {
    if coding == BodyCoding::Chunked {
        let line = out.writer(blocks);
        line.put_slice(b"0\r\n");
        fields(trailers, line);
    }
}
