//! Pseudo-random bytes that both ends of a transfer can make by themselves, and their SHA-256.

use aws_lc_rs::digest;

/// How many bytes one turn of a transfer loop makes or takes.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// An endless stream of bytes that depends on nothing but its seed (SplitMix64, not for secrets).
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `buffer` with the next bytes. Each call starts at a fresh 64-bit word, so the stream is the
    /// same for two readers only if they take it in the same pieces: both ends use [`CHUNK_BYTES`].
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

/// A finite stretch of a [`Seeded`] stream, handed out in whatever pieces its reader can take.
#[derive(Debug)]
pub struct Source {
    stream: Seeded,
    chunk: Vec<u8>,
    taken_from_chunk: usize,
    left_to_make: u64,
}

impl Source {
    /// The first `length` bytes of the stream of `seed`.
    #[must_use]
    pub fn new(seed: u64, length: u64) -> Self {
        Self {
            stream: Seeded::new(seed),
            chunk: Vec::new(),
            taken_from_chunk: 0,
            left_to_make: length,
        }
    }

    /// Bytes ready to be sent; empty when the stretch is over.
    pub fn ready(&mut self) -> &[u8] {
        if self.taken_from_chunk == self.chunk.len() && self.left_to_make > 0 {
            let length = self.left_to_make.min(CHUNK_BYTES as u64);
            self.left_to_make -= length;
            self.chunk.resize(length as usize, 0);
            self.stream.fill(&mut self.chunk);
            self.taken_from_chunk = 0;
        }
        &self.chunk[self.taken_from_chunk..]
    }

    /// Says that the first `length` bytes of [`Self::ready`] are on their way.
    pub fn consume(&mut self, length: usize) {
        self.taken_from_chunk += length;
        assert!(self.taken_from_chunk <= self.chunk.len(), "consumed more than was ready");
    }
}

/// A SHA-256 that grows with the bytes of a transfer, and their count.
pub struct Digest {
    context: digest::Context,
    length: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { context: digest::Context::new(&digest::SHA256), length: 0 }
    }
}

impl Digest {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Bytes so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Length and hash in hexadecimal, for comparing and for reading in a failure.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        let hash = self.context.finish();
        let sha256 = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Fingerprint { length: self.length, sha256 }
    }
}

/// What arrived, or should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Number of bytes.
    pub length: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Fingerprint {
    /// Of the first `length` bytes of the stream of `seed`.
    #[must_use]
    pub fn of_seed(seed: u64, length: u64) -> Self {
        let mut source = Source::new(seed, length);
        let mut digest = Digest::default();
        loop {
            let ready = source.ready();
            if ready.is_empty() {
                return digest.finish();
            }
            digest.update(ready);
            let taken = ready.len();
            source.consume(taken);
        }
    }

    /// Of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Digest::default();
        digest.update(bytes);
        digest.finish()
    }
}
