//! Entries that take several slices to encode.

use super::{Chunk, Format};
use crate::aof::rewrite;
use crate::keyspace::{Entry, Touch};
use crate::rdb;
use crate::rdb::file::write_entry_head;

/// What an entry may add to one slice, bytes. What cannot be divided may be longer: compact encodings, single
/// elements.
const PIECE_BYTES: usize = 64 * 1024;

/// How far one entry is encoded. What of it is encoded waits here for the rest, since an entry is sent whole: others are
/// sent between its slices, and it may be changed before its last one. Then all of it is in vain.
#[derive(Debug, Default)]
pub struct Staged {
    encoding: Option<Encoding>,
    pieces: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Encoding {
    Rdb(rdb::Progress),
    Commands(rewrite::Progress),
}

impl Encoding {
    fn step(&mut self, out: &mut Vec<u8>, format: Format, entry: &Entry, touch: Touch) -> bool {
        match (self, format) {
            (Self::Rdb(progress), Format::Rdb { compression, use_of_keys, .. }) => {
                if progress.is_fresh() {
                    write_entry_head(out, entry, use_of_keys.of(entry, touch), compression);
                }
                progress.step(out, &entry.value(), compression, PIECE_BYTES)
            }
            (Self::Commands(progress), _) => progress.step(out, entry, PIECE_BYTES),
            (Self::Rdb(_), Format::Commands) => unreachable!("an export has one format"),
        }
    }
}

impl Staged {
    /// Encodes a slice of the entry. True if it was the last: the entry then is in `chunk`, or, if it took more than one,
    /// to be had from [`Staged::take_chunks`]. The entry must not change from the first slice to the last.
    pub fn step(
        &mut self,
        chunk: &mut Chunk,
        format: Format,
        database: u32,
        entry: &Entry,
        touch: Touch,
    ) -> bool {
        if let Some(encoding) = &mut self.encoding {
            let mut piece = Vec::new();
            let is_done = encoding.step(&mut piece, format, entry, touch);
            // The rest of a table may be empty buckets.
            self.pieces.extend(Some(piece).filter(|piece| !piece.is_empty()));
            return is_done;
        }
        let mut encoding = match format {
            Format::Rdb { .. } => Encoding::Rdb(rdb::Progress::default()),
            Format::Commands => Encoding::Commands(rewrite::Progress::default()),
        };
        let start = chunk.bytes.len();
        if encoding.step(&mut chunk.bytes, format, entry, touch) {
            chunk.count(database);
            return true;
        }
        self.pieces.push(chunk.bytes.split_off(start));
        self.encoding = Some(encoding);
        false
    }

    /// The pieces of an entry that took several slices; nothing if it took one. To be read one after the other, with
    /// nothing between.
    pub fn take_chunks(&mut self, database: u32) -> Vec<Chunk> {
        let pieces = std::mem::take(&mut self.pieces).into_iter().enumerate();
        let chunk = |(at, bytes): (usize, Vec<u8>)| Chunk {
            runs: vec![(database, bytes.len())],
            bytes,
            keys: u64::from(at == 0),
        };
        pieces.map(chunk).collect()
    }
}
