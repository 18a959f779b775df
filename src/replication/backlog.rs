//! The last bytes of the stream (spec page replication.md, section 8.3).

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of one piece, from which on pieces are not put together any more.
const PIECE_BYTES: usize = 16 * 1024;

/// For so many pieces there is room at any time.
const ROOM_KEPT: usize = 4;

/// The end of the stream, at least as much as configured and as somebody still has to get, given up in whole pieces.
#[derive(Debug)]
pub struct Backlog {
    /// All but the last are whole: whoever gets them shares them.
    whole: VecDeque<Arc<[u8]>>,
    last: Vec<u8>,
    /// Bytes in all of them.
    held: usize,
    size: usize,
    /// Offset of the first byte held, or of the next byte while there is none.
    first: i64,
    /// From here on it is still wanted, however much that is.
    wanted_from: i64,
}

impl Backlog {
    /// An empty backlog of a stream whose next byte has offset `next`; it keeps at least `size` bytes.
    pub fn new(size: u64, next: i64) -> Self {
        Self {
            whole: VecDeque::new(),
            last: Vec::new(),
            held: 0,
            size: size as usize,
            first: next,
            wanted_from: i64::MAX,
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.last.reserve_exact(PIECE_BYTES - self.last.len());
        while !bytes.is_empty() {
            let part = bytes.len().min(PIECE_BYTES - self.last.len());
            self.last.extend_from_slice(&bytes[..part]);
            self.held += part;
            bytes = &bytes[part..];
            if self.last.len() == PIECE_BYTES {
                self.whole.push_back(self.last.as_slice().into());
                self.last.clear();
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(oldest) = self.whole.front()
            && self.held - oldest.len() >= self.size
            && self.first + oldest.len() as i64 <= self.wanted_from
        {
            self.held -= oldest.len();
            self.first += oldest.len() as i64;
            self.whole.pop_front();
        }
        if self.whole.capacity() > ROOM_KEPT && self.whole.len() * 4 < self.whole.capacity() {
            self.whole.shrink_to(ROOM_KEPT.max(self.whole.len() * 2));
        }
    }

    /// Keeps another number of bytes from now on, and all from the offset `wanted_from` on.
    pub fn keep(&mut self, size: u64, wanted_from: i64) {
        self.size = size as usize;
        self.wanted_from = wanted_from;
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
        let whole = self.whole.len() * PIECE_BYTES + self.whole.capacity() * size_of::<Arc<[u8]>>();
        whole + self.last.capacity()
    }

    /// How much of that is there because somebody still has to get it, bytes.
    pub fn beyond_size(&self) -> usize {
        self.memory_bytes().saturating_sub(self.size.max(PIECE_BYTES))
    }

    /// Everything from offset `from` on, or `None` if it does not reach back so far (or that is yet to come).
    pub fn since(&self, from: i64) -> Option<Vec<u8>> {
        Some(self.pieces_since(from)?.concat())
    }

    /// The same in pieces, most of them shared.
    pub fn pieces_since(&self, from: i64) -> Option<Vec<Arc<[u8]>>> {
        let mut skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        if skip > self.held {
            return None;
        }
        let mut pieces = Vec::new();
        for piece in &self.whole {
            if skip == 0 {
                pieces.push(piece.clone());
            } else if skip < piece.len() {
                pieces.push(piece[skip..].into());
            }
            skip = skip.saturating_sub(piece.len());
        }
        if skip < self.last.len() {
            pieces.push(self.last[skip..].into());
        }
        Some(pieces)
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
        backlog.keep(16 * 1024, i64::MAX);
        assert!(backlog.len() < 40_000);
        assert_eq!(backlog.first() + backlog.len() as i64, next);
        let wanted = backlog.first() + 5;
        backlog.keep(16 * 1024, wanted);
        backlog.push(&stream);
        assert_eq!(backlog.since(wanted).map(|bytes| bytes.len() as i64), Some(next + 200_000 - wanted));
        assert!(backlog.beyond_size() > 150_000);
        backlog.keep(16 * 1024, i64::MAX);
        assert_eq!(backlog.since(wanted), None);
        assert!(backlog.memory_bytes() < 3 * PIECE_BYTES + 200, "{}", backlog.memory_bytes());
    }
}
