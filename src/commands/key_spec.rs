//! Where a command's keys are among its arguments, and what it does to them.
//!
//! A key spec works in two steps, as in Valkey: first find where to start (a fixed position, or after a keyword),
//! then from there find the keys (a range, or a count followed by that many keys).

/// A set of properties of a key, from the constants below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyFlags(pub u16);

/// The value is read, never changed.
pub const RO: u16 = 1 << 0;
/// The value is read and changed.
pub const RW: u16 = 1 << 1;
/// The value is replaced without being looked at.
pub const OW: u16 = 1 << 2;
/// The key is removed.
pub const RM: u16 = 1 << 3;
/// What is stored may reach the user.
pub const ACCESS: u16 = 1 << 4;
/// Stored data may change depending on what is there.
pub const UPDATE: u16 = 1 << 5;
/// Only adds data.
pub const INSERT: u16 = 1 << 6;
/// Removes data.
pub const DELETE: u16 = 1 << 7;
/// Hashed to a slot like a key, but not one (a shard channel).
pub const NOT_KEY: u16 = 1 << 8;
/// The spec may miss keys.
pub const INCOMPLETE: u16 = 1 << 9;
/// The other flags depend on the arguments.
pub const VARIABLE_FLAGS: u16 = 1 << 10;

/// The names in the order in which COMMAND prints them; the position is the bit.
const KEY_FLAG_NAMES: [&str; 11] = [
    "RO",
    "RW",
    "OW",
    "RM",
    "access",
    "update",
    "insert",
    "delete",
    "not_key",
    "incomplete",
    "variable_flags",
];

impl KeyFlags {
    /// Whether all of `flags` are set.
    #[inline]
    pub const fn has(self, flags: u16) -> bool {
        self.0 & flags == flags
    }

    /// The names COMMAND prints, in its order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        KEY_FLAG_NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }
}

/// Where to start looking for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this position; the command name is position 0.
    Index(i16),
    /// After this word (any case), searched from `start_from`; a negative start searches backwards from the end.
    Keyword { keyword: &'static str, start_from: i16 },
    /// Cannot be told.
    Unknown,
}

/// How to find the keys once the start is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// From the start up to `last` positions further (negative: counted from the last argument, -1 being that), every
    /// `step`-th. With `last` -1, a `limit` of n above 1 uses only the first 1/n of what remains.
    Range { last: i16, step: i16, limit: i16 },
    /// The word at start + `index` tells how many keys there are; the first is at start + `first`.
    KeyNum { index: i16, first: i16, step: i16 },
    /// Cannot be told.
    Unknown,
}

/// One group of keys of a command.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// What happens to these keys.
    pub flags: KeyFlags,
    /// Where to start.
    pub begin: BeginSearch,
    /// How to go on.
    pub find: FindKeys,
    /// A remark that COMMAND prints; usually empty.
    pub notes: &'static str,
}

/// One key at a fixed position.
pub const fn index_key(flags: u16, position: i16) -> KeySpec {
    index_range(flags, position, 0, 1)
}

/// Keys from a fixed position up to `last` further (negative: from the end), every `step`-th.
pub const fn index_range(flags: u16, position: i16, last: i16, step: i16) -> KeySpec {
    KeySpec {
        flags: KeyFlags(flags),
        begin: BeginSearch::Index(position),
        find: FindKeys::Range { last, step, limit: 0 },
        notes: "",
    }
}

/// A key count at a fixed position, followed by the keys, every `step`-th.
pub const fn counted_keys(flags: u16, position: i16, step: i16) -> KeySpec {
    KeySpec {
        flags: KeyFlags(flags),
        begin: BeginSearch::Index(position),
        find: FindKeys::KeyNum { index: 0, first: 1, step },
        notes: "",
    }
}

/// Keys after a keyword; `last`, `limit` as in [`FindKeys::Range`].
pub const fn keyword_keys(
    flags: u16,
    keyword: &'static str,
    start_from: i16,
    last: i16,
    limit: i16,
) -> KeySpec {
    KeySpec {
        flags: KeyFlags(flags),
        begin: BeginSearch::Keyword { keyword, start_from },
        find: FindKeys::Range { last, step: 1, limit },
        notes: "",
    }
}

/// Keys that no spec can describe.
pub const fn unknown_keys(flags: u16) -> KeySpec {
    KeySpec { flags: KeyFlags(flags), begin: BeginSearch::Unknown, find: FindKeys::Unknown, notes: "" }
}

impl KeySpec {
    /// Adds a remark.
    pub const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }
}
