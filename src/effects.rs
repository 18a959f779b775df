//! What a command did beside replying: commands to propagate, keyspace events, modified keys, values to free.
//!
//! A command only records; the shard performs. So the same command code serves clients, transactions, scripts, units
//! over several shards, and the effects tests.

use crate::export::Outbox;
use crate::keyspace::table::Table;
use crate::keyspace::{Database, Entry, Value};
use crate::resp::decode::{DecodeLimits, Decoder, Requests};
use crate::slot::Slot;

/// Classes of keyspace events, the letters of `notify-keyspace-events`.
pub mod class {
    pub const KEYSPACE: u32 = 1 << 0; // K
    pub const KEYEVENT: u32 = 1 << 1; // E
    pub const GENERIC: u32 = 1 << 2; // g
    pub const STRING: u32 = 1 << 3; // $
    pub const LIST: u32 = 1 << 4; // l
    pub const SET: u32 = 1 << 5; // s
    pub const HASH: u32 = 1 << 6; // h
    pub const ZSET: u32 = 1 << 7; // z
    pub const EXPIRED: u32 = 1 << 8; // x
    pub const EVICTED: u32 = 1 << 9; // e
    pub const STREAM: u32 = 1 << 10; // t
    pub const KEY_MISS: u32 = 1 << 11; // m
    pub const MODULE: u32 = 1 << 13; // d
    pub const NEW: u32 = 1 << 14; // n
    /// What `A` stands for: all but `m` and `n`.
    pub const ALL: u32 = GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE;
}

/// A keyspace event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub class: u32,
    pub name: &'static str,
    pub db: u32,
    pub key: Box<[u8]>,
}

/// A key whose value changed, for WATCH, client-side caching and blocked clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modified {
    pub db: u32,
    pub slot: Slot,
    pub key: Box<[u8]>,
}

/// Something large that nobody can reach any more.
pub enum Garbage {
    Value(Value),
    Entry(Entry),
    Tables(Vec<Table<Entry>>),
    /// A table of names of keys, so many of them.
    Names(Box<dyn std::any::Any + Send>, u64),
    /// A database that an export has not finished with, and the index of its part.
    Exporting(u16, Box<Database>),
    /// Anything else.
    Other(Box<dyn std::any::Any + Send>),
    /// What the configuration wants freed by the command itself: freed like the rest, but in no counter.
    Uncounted(Box<Garbage>),
}

impl Garbage {
    /// Whether it is in no counter.
    pub fn is_uncounted(&self) -> bool {
        matches!(self, Self::Uncounted(_))
    }
}

/// Whether `lazyfree_pending_objects` and `lazyfreed_objects` count what a command drops. Large values are freed in the
/// background either way; the `lazyfree-lazy-*` directives decide what the counters (and the propagated verb) say.
/// Spec page key-lifetime.md, section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeing {
    Counted,
    Uncounted,
}

impl Freeing {
    /// Counted if `lazy`, the value of the directive that decides.
    pub fn counted_if(lazy: bool) -> Self {
        if lazy { Self::Counted } else { Self::Uncounted }
    }

    /// Marks garbage accordingly.
    pub fn apply(self, garbage: Garbage) -> Garbage {
        match self {
            Self::Counted => garbage,
            Self::Uncounted => Garbage::Uncounted(Box::new(garbage)),
        }
    }
}

/// A change to whole databases, for WATCH, client-side caching and blocked clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseChange {
    /// One database was emptied.
    Flushed(u32),
    /// All were.
    AllFlushed,
    /// Two were exchanged.
    Swapped(u32, u32),
}

/// What is worth recording because somebody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listening {
    /// A replication log consumer exists (replica, AOF, test).
    pub propagation: bool,
    /// The event classes of `notify-keyspace-events`, plus what tests ask for.
    pub events: u32,
    /// Somebody watches or tracks keys.
    pub modified: bool,
    /// Deadlines that the command sets are this server's own business although it is a replica.
    pub deadlines: bool,
    /// Clients are blocked on keys: record what they may be waiting for.
    pub waiting: bool,
    /// Some of them also want to know when their key is gone (XREADGROUP).
    pub waiting_for_loss: bool,
}

/// What a client is blocked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwaitedType {
    List,
    SortedSet,
    Stream,
}

/// A command found nothing to take and its client is to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The keys whose change may help, as given (a key may be there twice).
    pub keys: Vec<Box<[u8]>>,
    pub awaited: AwaitedType,
    /// The command is also to be run again when a key is gone or has another type.
    pub until_loss: bool,
    /// Unix milliseconds; 0: without limit.
    pub deadline_ms: i64,
    /// Arguments that have another meaning when the command runs again, by position (XREAD's `$`).
    pub rewritten: Vec<(usize, Vec<u8>)>,
}

/// Commands to propagate, encoded as the replication stream carries them.
#[derive(Debug, Default)]
pub struct Propagation {
    pub bytes: Vec<u8>,
    /// Database and end in `bytes` of each command.
    pub commands: Vec<(u32, usize)>,
    /// Ends, in `commands`, of the groups that become visible together.
    groups: Vec<usize>,
    /// Whom what is pushed now is for.
    pub audience: Audience,
    /// The commands, by their place, that not everybody is told of.
    partial: Vec<(usize, Audience)>,
}

/// Who is told of a command. Scripts may choose.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    #[default]
    All,
    Replicas,
    /// The append-only file.
    File,
}

impl Propagation {
    pub fn push(&mut self, db: u32, args: &[&[u8]]) {
        encode_command(&mut self.bytes, args);
        self.end_command(db);
    }

    fn end_command(&mut self, db: u32) {
        if self.audience != Audience::All {
            self.partial.push((self.commands.len(), self.audience));
        }
        self.commands.push((db, self.bytes.len()));
    }

    /// Whether command number `at` is for them.
    fn is_for(&self, at: usize, whom: Audience) -> bool {
        whom == Audience::All || self.partial.iter().all(|&(place, audience)| place != at || audience == whom)
    }

    /// Adds a command that is encoded already.
    pub fn push_encoded(&mut self, db: u32, command: &[u8]) {
        self.bytes.extend_from_slice(command);
        self.end_command(db);
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Has only these be told of the commands since the last group.
    pub fn restrict_open_group(&mut self, audience: Audience) {
        let open = self.groups.last().copied().unwrap_or(0);
        self.partial.retain(|(at, _)| *at < open);
        self.partial.extend((open..self.commands.len()).map(|at| (at, audience)));
    }

    /// Ends a unit of execution: the commands since the last call take effect together, or each alone.
    pub fn close_group(&mut self, grouping: Grouping) {
        let open = self.groups.last().copied().unwrap_or(0);
        match grouping {
            _ if open == self.commands.len() => {}
            Grouping::Together => self.groups.push(self.commands.len()),
            Grouping::Apart => self.groups.extend(open + 1..=self.commands.len()),
        }
    }

    /// Calls `each` with every group: those of its commands that are for `whom`, with their databases, and how many there
    /// are in all.
    pub fn for_each_group(&self, whom: Audience, mut each: impl FnMut(&[(u32, &[u8])], usize)) {
        let mut all = self.iter();
        let mut group: smallvec::SmallVec<[(u32, &[u8]); 4]> = smallvec::SmallVec::new();
        let mut start = 0;
        for &end in self.groups.iter().chain([&self.commands.len()]) {
            if end > start {
                group.clear();
                let commands = all.by_ref().take(end - start);
                if self.partial.is_empty() {
                    group.extend(commands);
                } else {
                    group.extend(
                        commands.enumerate().filter(|(at, _)| self.is_for(start + at, whom)).map(|(_, c)| c),
                    );
                }
                if !group.is_empty() {
                    each(&group, end - start);
                }
            }
            start = end;
        }
    }

    /// Each command with its database.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut start = 0;
        self.commands.iter().map(move |&(db, end)| {
            let command = &self.bytes[start..end];
            start = end;
            (db, command)
        })
    }

    /// Calls `each` with every command: its database, its bytes, and its words; no words if they cannot be told apart.
    pub fn for_each_request<'p>(&'p self, mut each: impl FnMut(u32, &'p [u8], &[&[u8]])) {
        let limits = DecodeLimits { bulk_max: i64::MAX, authenticated: true };
        let (mut wire, mut requests) = (Vec::new(), Requests::default());
        for (db, bytes) in self.iter() {
            wire.clear();
            wire.extend_from_slice(bytes);
            requests.clear();
            let decoded = Decoder::default().decode(&mut wire, limits, &mut requests);
            let spans = if decoded.is_err() || requests.is_empty() { &[] } else { requests.args(0) };
            let words: Vec<&[u8]> = spans.iter().map(|s| &wire[s.start..s.start + s.len]).collect();
            each(db, bytes, &words);
        }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.commands.clear();
        self.groups.clear();
        self.partial.clear();
    }
}

/// How the commands of one unit of execution reach a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Wrapped in MULTI and EXEC if there are several.
    Together,
    /// One by one: side effects on arbitrary keys, and background deletions.
    Apart,
}

/// Appends a command as an array of bulk strings.
pub fn encode_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(args.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for arg in args {
        out.push(b'$');
        out.extend_from_slice(digits.format(arg.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Counters that commands add to and INFO shows.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counters {
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    pub expired_fields: u64,
    pub evicted_keys: u64,
}

/// The record of one command's, transaction's or script's effects.
#[derive(Default)]
pub struct Effects {
    pub listening: Listening,
    /// Changes made (INFO rdb_changes_since_last_save); a command that leaves it as it was is not propagated.
    pub dirty: u64,
    pub propagation: Propagation,
    pub events: Vec<Event>,
    pub modified: Vec<Modified>,
    /// Recorded whoever listens: rare, and slot migrations care too.
    pub databases: Vec<DatabaseChange>,
    pub garbage: Vec<Garbage>,
    /// Keys whose deadline a client of a writable replica has set: database, key, Unix milliseconds.
    pub deadlines: Vec<(u32, Box<[u8]>, i64)>,
    pub counters: Counters,
    /// The command being run may block its client. Not inside a transaction or a script, and not in a stream of
    /// commands that comes from another server: there it does what it does when its time is over.
    pub may_wait: bool,
    /// The command blocks its client; nothing is replied.
    pub wait: Option<Wait>,
    /// Keys, with their databases, that blocked clients may be waiting for, in the order they became ready.
    pub ready: Vec<(u32, Box<[u8]>)>,
    /// Old values for running exports.
    pub exports: Outbox,
    /// What becomes of the command itself in the stream.
    own: Own,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// Propagated as the client sent it if it changed something.
    #[default]
    Verbatim,
    /// Replaced by what the command recorded with [`Effects::rewrite`], or by nothing.
    Replaced,
    /// Propagated as the client sent it even if it changed nothing.
    Forced,
}

impl Effects {
    /// Records a command that precedes (or accompanies) the client's own, such as the deletion of an expired key.
    pub fn also_propagate(&mut self, db: u32, args: &[&[u8]]) {
        if self.listening.propagation {
            self.propagation.push(db, args);
        }
    }

    /// Propagates this instead of the client's command. Several calls propagate several commands in order.
    pub fn rewrite(&mut self, db: u32, args: &[&[u8]]) {
        self.own = Own::Replaced;
        self.also_propagate(db, args);
    }

    /// Propagates nothing for the client's command itself.
    pub fn suppress(&mut self) {
        self.own = Own::Replaced;
    }

    /// Propagates the client's command whether or not it changed anything (FLUSHALL, PUBLISH, SCRIPT FLUSH).
    pub fn force(&mut self) {
        self.own = Own::Forced;
    }

    /// Closes the record of one command: `dirty_before` is [`Effects::dirty`] when it began.
    pub fn finish_command(&mut self, db: u32, args: &[&[u8]], dirty_before: u64) {
        let own = std::mem::take(&mut self.own);
        if self.listening.propagation
            && (own == Own::Forced || (own == Own::Verbatim && self.dirty != dirty_before))
        {
            self.propagation.push(db, args);
        }
    }

    /// Records a keyspace event if its class is listened to.
    #[inline]
    pub fn notify(&mut self, class: u32, name: &'static str, db: u32, key: &[u8]) {
        if self.listening.events & class != 0 {
            self.events.push(Event { class, name, db, key: key.into() });
        }
    }

    /// Records that a key's value changed.
    #[inline]
    pub fn modified(&mut self, db: u32, slot: Slot, key: &[u8]) {
        if self.listening.modified {
            self.modified.push(Modified { db, slot, key: key.into() });
        }
    }

    /// Records that a key may now be what clients are blocked for.
    #[inline]
    pub fn ready(&mut self, db: u32, key: &[u8]) {
        if self.listening.waiting {
            self.ready.push((db, key.into()));
        }
    }

    /// Records that a key is gone, or has another value, for those who want to know that.
    #[inline]
    pub fn lost(&mut self, db: u32, key: &[u8]) {
        if self.listening.waiting_for_loss {
            self.ready.push((db, key.into()));
        }
    }

    /// Records that a client of a writable replica has set a key's deadline.
    #[inline]
    pub fn deadline_set(&mut self, db: u32, key: &[u8], deadline: i64) {
        if self.listening.deadlines {
            self.deadlines.push((db, key.into(), deadline));
        }
    }

    /// True if there is nothing for the shard to perform.
    pub fn is_quiet(&self) -> bool {
        self.propagation.is_empty()
            && self.events.is_empty()
            && self.modified.is_empty()
            && self.databases.is_empty()
            && self.garbage.is_empty()
            && self.deadlines.is_empty()
            && self.exports.is_empty()
    }
}
