//! RFC 7541: header blocks that cannot be read, and some unusual ones that can.

use super::{At, Case, Verdict, case, connection_error, run, served};
use crate::block::Block;

#[test]
fn hpack() {
    run(CASES);
}

fn is_unreadable(at: At, block: Block) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &block, true);
    connection_error(&mut client, &super::COMPRESSION)
}

fn is_served(at: At, block: Block) -> Verdict {
    let mut client = at.connect()?;
    client.headers(1, &block, true);
    served(&mut client, 1)
}

const CASES: &[Case] = &[
    case("2.3.2", "entries of the dynamic table are served", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get().insert("x-a", "1").insert("x-b", "2"), true);
        served(&mut client, 1)?;
        client.headers(3, &Block::get().indexed(62).indexed(63), true);
        served(&mut client, 3)
    }),
    case("2.3.3", "an index of 0 is an error", |at| is_unreadable(at, Block::get().raw(&[0x80]))),
    case("2.3.3", "an index beyond the tables is an error", |at| is_unreadable(at, Block::get().indexed(70))),
    case("2.3.3", "the first index after the static table is an error while nothing was inserted", |at| {
        is_unreadable(at, Block::get().indexed(62))
    }),
    case("2.3.3", "a name's index beyond the tables is an error", |at| is_unreadable(at, Block::get().raw(&[0x7f, 0x07, 1, b'x']))),
    case("2.3.3", "a name's index beyond the tables is an error without indexing too", |at| {
        is_unreadable(at, Block::get().raw(&[0x0f, 0x37, 1, b'x']))
    }),
    case("4.1", "an entry larger than the table empties it", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get().insert("x-small", "1").insert("x-large", &"1".repeat(5000)), true);
        served(&mut client, 1)?;
        client.headers(3, &Block::get().indexed(62), true);
        connection_error(&mut client, &super::COMPRESSION)
    }),
    case("4.2", "a table size update at the end of a block is an error", |at| is_unreadable(at, Block::get().table_size(0))),
    case("4.2", "two table size updates at the start are taken", |at| {
        is_served(at, Block::new().table_size(0).table_size(4096).raw(&Block::get().0))
    }),
    case("4.4", "old entries make room for new ones", |at| {
        let mut client = at.connect()?;
        for n in 0..20 {
            client.headers(1 + 2 * n, &Block::get().insert("x-fill", &"x".repeat(1000)).indexed(62), true);
            served(&mut client, 1 + 2 * n)?;
        }
        client.headers(101, &Block::get().indexed(62 + 4), true);
        connection_error(&mut client, &super::COMPRESSION)
    }),
    case("5.1", "an integer that overflows is an error", |at| {
        is_unreadable(at, Block::get().raw(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]))
    }),
    case("5.1", "an integer that does not end is an error", |at| is_unreadable(at, Block::get().raw(&[0xff, 0xff]))),
    case("5.1", "a string's length that overflows is an error", |at| {
        is_unreadable(at, Block::get().raw(&[0, 1, b'x', 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]))
    }),
    case("5.2", "Huffman is read", |at| {
        // `custom-key: custom-value` of RFC 7541, C.4.3.
        let field = b"\x00\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        is_served(at, Block::get().raw(field))
    }),
    case("5.2", "Huffman padding of more than 7 bits is an error", |at| {
        is_unreadable(at, Block::get().raw(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"))
    }),
    case("5.2", "Huffman padding of zeros is an error", |at| {
        is_unreadable(at, Block::get().raw(b"\x00\x85\xf2\xb2\x4a\x87\xff\x83\x49\x50\x90"))
    }),
    case("5.2", "Huffman with EOS is an error", |at| {
        is_unreadable(at, Block::get().raw(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"))
    }),
    case("5.2", "a string longer than the block is an error", |at| is_unreadable(at, Block::get().raw(&[0, 1, b'x', 20, b'y']))),
    case("5.2", "a block that ends before a value is an error", |at| is_unreadable(at, Block::get().raw(&[0, 1, b'x']))),
    case("6.1", "entries of the static table are served", |at| {
        // GET, http, /, :authority (a name of the table), accept-encoding: gzip, deflate.
        is_served(at, Block::new().raw(b"\x82\x86\x84\x41\x01a\x90"))
    }),
    case("6.2.3", "a literal that is never indexed is taken", |at| is_served(at, Block::get().raw(b"\x10\x03x-a\x01b\x1f\x08\x03a=b"))),
    case("6.3", "a table size update above SETTINGS_HEADER_TABLE_SIZE is an error", |at| {
        let mut client = at.connect()?;
        let most = client.settings.get(&1).copied().unwrap_or(4096).max(4096) as usize;
        client.headers(1, &Block::new().table_size(most + 1).raw(&Block::get().0), true);
        connection_error(&mut client, &super::COMPRESSION)
    }),
    case("6.3", "a table size update of 0 empties the table", |at| {
        let mut client = at.connect()?;
        client.headers(1, &Block::get().insert("x-a", "1"), true);
        served(&mut client, 1)?;
        client.headers(3, &Block::new().table_size(0).raw(&Block::get().indexed(62).0), true);
        connection_error(&mut client, &super::COMPRESSION)
    }),
    case("6.3", "a table size update that does not end is an error", |at| is_unreadable(at, Block::new().raw(&[0x3f, 0xff, 0xff]))),
];
