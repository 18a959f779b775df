//! Point-in-time export of the keyspace while it goes on changing: what is marked where, and what a write to a key that
//! is not exported yet leaves behind.
//!
//! ```text
//!              open lane                     walk, slice by slice              every entry marked
//! SlotTable ------------------> [ exporting ] --------------------> ... --------------------------> closed
//!                                    |  first write to an entry without mark: its old value goes out, it is marked
//!                                    |  a new entry is born with the mark
//! ```
//!
//! Each running export has a *lane*: one bit of the eight in every entry's header, and one bit in every slot table it
//! has still to finish. A table remembers for each lane which value of the bit is *neutral*, that is, what its entries
//! have when no export is under way. Marking an entry flips its bit; when all are flipped, the flipped value becomes
//! the neutral one, so nobody has to go back and clear anything. An entry born while a table is open gets the flipped
//! bit: it is not part of the export.
//!
//! An entry with a large value takes several slices. It is marked with the last of them; if it is written to before, it goes
//! out as a whole there and then, as any entry without mark does, and what was encoded of it is dropped. Whoever can wait
//! asks for it instead ([`Walk::hasten`]) and writes when it is out.
//!
//! Marks are in tables and entries, so they travel with a slot that a unit has reserved, and with a database that
//! SWAPDB renames or FLUSHDB takes away. Whoever runs the command finds them there.
//!
//! Invariant: in a table that is closed for a lane, all entries have the lane's neutral bit.
//! Invariant: between opening and closing, an entry has the other bit exactly if it was sent or is younger than the cut.

use crate::aof::rewrite;
use crate::keyspace::table::Table;
use crate::keyspace::{Entry, Touch};
use crate::rdb::Compression;
use crate::rdb::file::{SLOT_HINT, Usage, write_aux, write_entry};
use crate::slot::Slot;

/// Keys of a slot that are counted for a hint in one go: some tens of microseconds.
const COUNTED_KEYS_MAX: usize = 4096;

/// Exports that can run at the same time.
pub const LANES: usize = 8;

/// Names one running export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(u8);

impl Lane {
    /// Lane `index`, which is below [`LANES`].
    pub fn new(index: usize) -> Self {
        debug_assert!(index < LANES);
        Self(index as u8)
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    #[inline]
    fn bit(self) -> u8 {
        1 << self.0
    }
}

/// The marks of one slot table. See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    neutral: u8,
    open: u8,
}

impl Lanes {
    /// Whether any export still has to finish this table.
    #[inline]
    pub fn any_open(self) -> bool {
        self.open != 0
    }

    /// Whether this export still has to finish this table.
    #[inline]
    pub fn is_open(self, lane: Lane) -> bool {
        self.open & lane.bit() != 0
    }

    /// Whether any of these exports (a bit each) still has to finish this table.
    #[inline]
    pub fn open_among(self, lanes: u8) -> bool {
        self.open & lanes != 0
    }

    /// The bits of an entry made now.
    #[inline]
    pub fn born(self) -> u8 {
        self.neutral ^ self.open
    }

    /// The open lanes in which an entry with these bits is not exported yet.
    #[inline]
    pub fn due(self, bits: u8) -> u8 {
        !(bits ^ self.neutral) & self.open
    }

    /// Begins an export of this table.
    pub fn open(&mut self, lane: Lane) {
        self.open |= lane.bit();
    }

    /// Every entry is marked.
    pub fn close(&mut self, lane: Lane) {
        self.open &= !lane.bit();
        self.neutral ^= lane.bit();
    }
}

/// How entries leave in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As keys of an RDB file.
    Rdb {
        compression: Compression,
        use_of_keys: UseOfKeys,
        /// Before the keys of a slot comes how many there are.
        slot_hints: bool,
    },
    /// As commands that make the key.
    Commands,
}

/// What an RDB file says about how keys were used: what the eviction policy goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseOfKeys {
    Unsaid,
    Idle,
    Frequency,
}

impl UseOfKeys {
    fn of(self, entry: &Entry, touch: Touch) -> Usage {
        let word = entry.access_word() & 0xff_ffff;
        match self {
            Self::Unsaid => Usage::Unsaid,
            Self::Idle => Usage::Idle(u64::from(touch.clock.wrapping_sub(word) & 0xff_ffff)),
            Self::Frequency => Usage::Frequency(word as u8),
        }
    }
}

/// Encoded entries on their way to the receiver of an export.
#[derive(Debug, Default)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    /// Number of the database (at the cut) and end in `bytes` of each run of entries.
    pub runs: Vec<(u32, usize)>,
    pub keys: u64,
}

impl Chunk {
    /// Adds an entry.
    pub fn put(&mut self, format: Format, database: u32, entry: &Entry, touch: Touch) {
        match format {
            Format::Rdb { compression, use_of_keys, .. } => {
                write_entry(&mut self.bytes, entry, use_of_keys.of(entry, touch), compression);
            }
            Format::Commands => rewrite::entry(&mut self.bytes, entry),
        }
        self.count(database);
    }

    /// Announces the keys of a slot, if the format has that: `slot,keys,keys with deadlines,hashes with fields that have`.
    /// It helps a reader to make room and says nothing else, so a table that it would take too long to count has none.
    pub fn announce(&mut self, format: Format, database: u32, slot: Slot, table: &Table<Entry>) {
        let Format::Rdb { compression, slot_hints: true, .. } = format else { return };
        if table.is_empty() || table.len() > COUNTED_KEYS_MAX {
            return;
        }
        let count = |wanted: fn(&Entry) -> bool| table.iter().filter(|entry| wanted(entry)).count();
        let (expires, volatile) =
            (count(|entry| entry.expiry().is_some()), count(|entry| entry.field_deadline().is_some()));
        let hint = format!("{},{},{expires},{volatile}", slot.0, table.len());
        write_aux(&mut self.bytes, SLOT_HINT, hint.as_bytes(), compression);
        self.extend_run(database);
    }

    /// An entry of this database was added.
    fn count(&mut self, database: u32) {
        self.keys += 1;
        self.extend_run(database);
    }

    /// What was added belongs to this database.
    fn extend_run(&mut self, database: u32) {
        match self.runs.last_mut() {
            Some((last, end)) if *last == database => *end = self.bytes.len(),
            _ => self.runs.push((database, self.bytes.len())),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Old values that commands left for the exports that had not come to them yet. Part of the effects of a command.
#[derive(Debug, Default)]
pub struct Outbox {
    /// How each lane wants them; `None` of a lane whose export was given up.
    pub formats: [Option<Format>; LANES],
    /// Some lane is in use; kept beside `formats` because it is asked for every key written.
    pub active: bool,
    /// The command being run may write: all keys it looks up count as written.
    pub writing: bool,
    chunks: [Chunk; LANES],
    filled: u8,
}

impl Outbox {
    /// Adds an entry to every one of `lanes` (a bit each). `names`: the database's number at each export's cut.
    pub(crate) fn put(&mut self, mut lanes: u8, names: &[u32; LANES], entry: &Entry, touch: Touch) {
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            if let Some(format) = self.formats[lane] {
                self.chunks[lane].put(format, names[lane], entry, touch);
                self.filled |= 1 << lane;
            }
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Takes out what was collected, lane by lane.
    pub fn drain(&mut self) -> impl Iterator<Item = (Lane, Chunk)> + '_ {
        let mut filled = std::mem::take(&mut self.filled);
        std::iter::from_fn(move || {
            let lane = (filled != 0).then(|| filled.trailing_zeros() as usize)?;
            filled &= filled - 1;
            Some((Lane::new(lane), std::mem::take(&mut self.chunks[lane])))
        })
    }
}

/// What an export of one shard has still to do; its tables stay in the shard's part (or with a unit, for a while).
#[derive(Debug)]
pub struct Walk {
    lane: Lane,
    /// Identities of the databases at the cut.
    databases: Vec<u32>,
    /// All of them, walked or not.
    all: Vec<u32>,
    next: u16,
    cursor: u64,
    /// All buckets of the table under way have been visited.
    scanned: bool,
    /// Entries of the table under way that take several slices.
    in_flight: Vec<InFlight>,
    /// Entries that somebody waits for, wherever they are.
    hastened: Vec<Hastened>,
    /// Slots a unit held when the walk came by: database, slot.
    left_out: Vec<(u32, u16)>,
}

#[derive(Debug)]
struct InFlight {
    key: Box<[u8]>,
    staged: Staged,
}

#[derive(Debug)]
struct Hastened {
    /// Identity of the database.
    database: u32,
    slot: Slot,
    entry: InFlight,
}

/// How far a slice of a [`Walk`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// Every entry of the shard is exported.
    Done,
    /// The time is over, or enough is collected.
    More,
    /// What is left is held by a unit, or on its way here.
    Waiting,
}

mod staged;
mod walk;
pub use staged::Staged;
pub use walk::Ground;

#[cfg(test)]
mod tests;
