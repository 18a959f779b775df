//! The last bytes of the stream (spec page replication.md, section 8.3).

use std::collections::VecDeque;

/// Bytes of one piece, from which on pieces are not put together any more.
const PIECE_BYTES: usize = 16 * 1024;

/// The end of the stream, at least as much as configured, given up in whole pieces.
#[derive(Debug)]
pub struct Backlog {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes in `pieces`.
    held: usize,
    size: usize,
    /// Offset of the first byte held, or of the next byte while there is none.
    first: i64,
}

impl Backlog {
    /// An empty backlog of a stream whose next byte has offset `next`; it keeps at least `size` bytes.
    pub fn new(size: u64, next: i64) -> Self {
        Self { pieces: VecDeque::new(), held: 0, size: size as usize, first: next }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.pieces.back_mut().filter(|last| last.len() < PIECE_BYTES) {
                Some(last) => {
                    let part = bytes.len().min(PIECE_BYTES - last.len());
                    last.extend_from_slice(&bytes[..part]);
                    self.held += part;
                    bytes = &bytes[part..];
                }
                None => self.pieces.push_back(Vec::with_capacity(PIECE_BYTES)),
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(oldest) = self.pieces.front()
            && self.held - oldest.len() >= self.size
        {
            self.held -= oldest.len();
            self.first += oldest.len() as i64;
            self.pieces.pop_front();
        }
    }

    /// Keeps another number of bytes from now on.
    pub fn resize(&mut self, size: u64) {
        self.size = size as usize;
        self.trim();
    }

    /// Offset of the first byte held.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.held
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Bytes of memory taken.
    pub fn memory_bytes(&self) -> usize {
        self.pieces.len() * PIECE_BYTES + self.pieces.capacity() * size_of::<Vec<u8>>()
    }

    /// Everything from offset `from` on, or `None` if it does not reach back so far (or that is yet to come).
    pub fn since(&self, from: i64) -> Option<Vec<u8>> {
        let mut skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        if skip > self.held {
            return None;
        }
        let mut out = Vec::with_capacity(self.held - skip);
        for piece in &self.pieces {
            let from = skip.min(piece.len());
            out.extend_from_slice(&piece[from..]);
            skip -= from;
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_it_still_has_and_refuses_the_rest() {
        let mut backlog = Backlog::new(40_000, 11);
        assert_eq!(backlog.since(11), Some(vec![]));
        assert_eq!(backlog.since(12), None);
        assert_eq!(backlog.since(10), None);
        let stream: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        for piece in stream.chunks(777) {
            backlog.push(piece);
        }
        let next = 11 + stream.len() as i64;
        assert_eq!(backlog.first() + backlog.len() as i64, next);
        assert!(backlog.len() >= 40_000 && backlog.len() < 40_000 + PIECE_BYTES + 777, "{}", backlog.len());
        for back in [0, 1, 5000, 39_999] {
            assert_eq!(backlog.since(next - back).as_deref(), Some(&stream[stream.len() - back as usize..]));
        }
        assert_eq!(backlog.since(backlog.first() - 1), None);
        assert_eq!(backlog.since(next + 1), None);
        backlog.resize(16 * 1024);
        assert!(backlog.len() < 40_000);
        assert_eq!(backlog.first() + backlog.len() as i64, next);
    }
}
