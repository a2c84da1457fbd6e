//! Header blocks as a peer writes them, byte by byte. It never uses Huffman and puts into the dynamic table only
//! what it is asked to, so that a test says what is on the wire; and it will write what RFC 7541 forbids.

/// A header block under construction.
#[derive(Clone, Debug, Default)]
pub struct Block(pub Vec<u8>);

impl Block {
    pub fn new() -> Block {
        Block::default()
    }

    /// The block of a list of fields.
    pub fn of(fields: &[(&str, &str)]) -> Block {
        fields.iter().fold(Block::new(), |block, (name, value)| block.field(name, value))
    }

    /// `GET /` of the host that every test asks for.
    pub fn get() -> Block {
        Block::request("GET", "/")
    }

    /// `POST /`.
    pub fn post() -> Block {
        Block::request("POST", "/")
    }

    pub fn request(method: &str, path: &str) -> Block {
        Block::of(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "weir.test")])
    }

    /// A literal without indexing (RFC 7541, 6.2.2).
    #[must_use]
    pub fn field(self, name: &str, value: &str) -> Block {
        self.bytes(name.as_bytes(), value.as_bytes())
    }

    /// The same for what is no text.
    #[must_use]
    pub fn bytes(mut self, name: &[u8], value: &[u8]) -> Block {
        self.0.push(0);
        self.string(name);
        self.string(value);
        self
    }

    /// A literal that goes into the dynamic table (6.2.1); it is number 62 until the next one.
    #[must_use]
    pub fn insert(mut self, name: &str, value: &str) -> Block {
        self.0.push(0x40);
        self.string(name.as_bytes());
        self.string(value.as_bytes());
        self
    }

    /// An entry of the tables (6.1).
    #[must_use]
    pub fn indexed(mut self, index: usize) -> Block {
        self.integer(7, 0x80, index);
        self
    }

    /// A dynamic table size update (6.3).
    #[must_use]
    pub fn table_size(mut self, size: usize) -> Block {
        self.integer(5, 0x20, size);
        self
    }

    /// Whatever bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Block {
        self.0.extend_from_slice(bytes);
        self
    }

    fn string(&mut self, text: &[u8]) {
        self.integer(7, 0, text.len());
        self.0.extend_from_slice(text);
    }

    /// RFC 7541, 5.1.
    fn integer(&mut self, bits: u32, first: u8, value: usize) {
        let most = (1usize << bits) - 1;
        if value < most {
            self.0.push(first | value as u8);
            return;
        }
        self.0.push(first | most as u8);
        let mut rest = value - most;
        while rest >= 0x80 {
            self.0.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }
}
