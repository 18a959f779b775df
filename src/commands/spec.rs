//! The shape of a row of the command table: everything the server knows about a command before running it.
//!
//! A row is built by a chain of `const` calls, so that the table costs nothing at start-up and a row states only
//! what differs from the plain case:
//!
//! ```
//! use skuld::commands::spec::*;
//! static GET: CommandSpec = command("get", 2, Group::String, "1.0.0")
//!     .summary("Reads a string.")
//!     .complexity("O(1)")
//!     .flags(READONLY | FAST)
//!     .acl(Categories::STRING)
//!     .keys(&[index_key(RO | ACCESS, 1)])
//!     .scope(Scope::Keys)
//!     .arguments(&[key("key", 0)]);
//! assert!(GET.categories.contains(Categories::READ), "implied by the readonly flag");
//! ```
//!
//! The facts in the rows (arity, flags, categories, key specs, argument trees, versions) are those that Valkey 9.1
//! reports through COMMAND and COMMAND DOCS; the prose is ours.

use super::Handler;

pub use super::argument::{
    Argument, ArgumentKind, block, double, integer, key, keyword, one_of, pattern, string, unix_time,
};
pub use super::key_spec::*;

/// One command or subcommand.
pub struct CommandSpec {
    /// Lower case; a subcommand carries its container: `client|list`.
    pub name: &'static str,
    /// Number of words including the name; negative: at least that many.
    pub arity: i16,
    /// What the command needs and may do.
    pub flags: Flags,
    /// ACL categories, both given and implied by the flags.
    pub categories: Categories,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// Hints for clients and proxies, in the order COMMAND prints them.
    pub tips: &'static [&'static str],
    /// The commands behind a container.
    pub subcommands: &'static [CommandSpec],
    /// What COMMAND DOCS tells.
    pub docs: Docs,
    /// Who runs it.
    pub handler: Handler,
    /// Which shards it concerns.
    pub scope: Scope,
}

/// What COMMAND DOCS tells about a command. An empty text or list is left out of the reply.
pub struct Docs {
    /// One sentence.
    pub summary: &'static str,
    /// Version that introduced the command.
    pub since: &'static str,
    /// The group of the manual it belongs to.
    pub group: Group,
    /// Cost as a function of the input.
    pub complexity: &'static str,
    /// The command is obsolete.
    pub deprecated: bool,
    /// Meant for the server's own use.
    pub system: bool,
    /// Version that made it obsolete.
    pub deprecated_since: &'static str,
    /// What to use instead.
    pub replaced_by: &'static str,
    /// (version, what changed), oldest first.
    pub history: &'static [(&'static str, &'static str)],
    /// The argument tree.
    pub arguments: &'static [Argument],
}

/// Which shards a command concerns, and so how it is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The shards that own the keys named by the key specs; without keys it runs anywhere.
    Keys,
    /// Every shard: the command looks at or changes a whole database.
    AllSlots,
    /// One shard, which the cursor argument names.
    Cursor,
    /// The shard of the slot that the second argument names.
    SlotArgument,
    /// The shard of the slot that the cursor argument names, as a key would, and those of the slots behind it.
    SlotWalk,
    /// No shard: only the state of the connection or of the server.
    Session,
}

/// The group of the manual, as in `COMMAND DOCS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Pubsub,
    Transactions,
    Connection,
    Server,
    Scripting,
    Hyperloglog,
    Cluster,
    Sentinel,
    Geo,
    Stream,
    Bitmap,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Pubsub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Hyperloglog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Sentinel => "sentinel",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
        }
    }
}

/// A set of command flags, built from the constants below with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

/// May change data.
pub const WRITE: u64 = 1 << 0;
/// Reads data, never changes it.
pub const READONLY: u64 = 1 << 1;
/// Refused when memory is exhausted.
pub const DENYOOM: u64 = 1 << 2;
/// For operators.
pub const ADMIN: u64 = 1 << 3;
/// Belongs to publish/subscribe.
pub const PUBSUB: u64 = 1 << 4;
/// Not callable from scripts.
pub const NOSCRIPT: u64 = 1 << 5;
/// May block the client.
pub const BLOCKING: u64 = 1 << 6;
/// Allowed while a data set is being loaded.
pub const LOADING: u64 = 1 << 7;
/// Allowed on a replica whose data is stale.
pub const STALE: u64 = 1 << 8;
/// Not shown by MONITOR.
pub const SKIP_MONITOR: u64 = 1 << 9;
/// Never enters the command log.
pub const SKIP_COMMANDLOG: u64 = 1 << 10;
/// Accepts slots that are being imported as if ASKING had been sent.
pub const ASKING: u64 = 1 << 11;
/// Constant or logarithmic time.
pub const FAST: u64 = 1 << 12;
/// Needs no authentication.
pub const NO_AUTH: u64 = 1 << 13;
/// Refused while a replica loads in the background.
pub const NO_ASYNC_LOADING: u64 = 1 << 14;
/// Refused inside MULTI.
pub const NO_MULTI: u64 = 1 << 15;
/// Has key specs but may be called without any key.
pub const NO_MANDATORY_KEYS: u64 = 1 << 16;
/// Allowed while a script has exceeded its time.
pub const ALLOW_BUSY: u64 = 1 << 17;
/// The (first, last, step) triple does not tell all keys.
pub const MOVABLEKEYS: u64 = 1 << 18;
/// Not a write by its flags, yet may propagate one. COMMAND does not print it.
pub const MAY_REPLICATE: u64 = 1 << 32;
/// Touches every database, so an ACL user needs the right to all of them. COMMAND does not print it.
pub const ALL_DBS: u64 = 1 << 33;
/// May touch keys that its arguments do not name. COMMAND does not print it.
pub const ARBITRARY_KEYS: u64 = 1 << 34;

/// The printed flags in the order in which COMMAND prints them.
const FLAG_NAMES: [(u64, &str); 19] = [
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_COMMANDLOG, "skip_commandlog"),
    (ASKING, "asking"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (NO_MULTI, "no_multi"),
    (NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (ALLOW_BUSY, "allow_busy"),
    (MOVABLEKEYS, "movablekeys"),
];

impl Flags {
    /// Whether all of `flags` (one of the constants, or several joined by `|`) are set.
    #[inline]
    pub const fn has(self, flags: u64) -> bool {
        self.0 & flags == flags
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn has_any(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// The names COMMAND prints, in its order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        FLAG_NAMES.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| *name)
    }
}

/// A set of ACL categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Categories(pub u32);

/// The categories in the order of ACL CAT and COMMAND, without the `@`. The position is the bit.
pub const CATEGORY_NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

impl Categories {
    pub const NONE: Categories = Categories(0);
    pub const KEYSPACE: Categories = Categories(1 << 0);
    pub const READ: Categories = Categories(1 << 1);
    pub const WRITE: Categories = Categories(1 << 2);
    pub const SET: Categories = Categories(1 << 3);
    pub const SORTEDSET: Categories = Categories(1 << 4);
    pub const LIST: Categories = Categories(1 << 5);
    pub const HASH: Categories = Categories(1 << 6);
    pub const STRING: Categories = Categories(1 << 7);
    pub const BITMAP: Categories = Categories(1 << 8);
    pub const HYPERLOGLOG: Categories = Categories(1 << 9);
    pub const GEO: Categories = Categories(1 << 10);
    pub const STREAM: Categories = Categories(1 << 11);
    pub const PUBSUB: Categories = Categories(1 << 12);
    pub const ADMIN: Categories = Categories(1 << 13);
    pub const FAST: Categories = Categories(1 << 14);
    pub const SLOW: Categories = Categories(1 << 15);
    pub const BLOCKING: Categories = Categories(1 << 16);
    pub const DANGEROUS: Categories = Categories(1 << 17);
    pub const CONNECTION: Categories = Categories(1 << 18);
    pub const TRANSACTION: Categories = Categories(1 << 19);
    pub const SCRIPTING: Categories = Categories(1 << 20);

    /// All of `other` are in this set.
    #[inline]
    pub const fn contains(self, other: Categories) -> bool {
        self.0 & other.0 == other.0
    }

    /// At least one of `other` is in this set.
    #[inline]
    pub const fn intersects(self, other: Categories) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    pub const fn with(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// The category of that name (without `@`, any case).
    pub fn by_name(name: &[u8]) -> Option<Categories> {
        let bit = CATEGORY_NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Categories(1 << bit))
    }

    /// The names in this set without `@`, in the order of COMMAND.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        CATEGORY_NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }
}

/// Starts a row: lower-case name, arity, group, and the version that introduced the command.
pub const fn command(name: &'static str, arity: i16, group: Group, since: &'static str) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags: Flags(0),
        categories: Categories::SLOW,
        keys: &[],
        tips: &[],
        subcommands: &[],
        docs: Docs {
            summary: "",
            since,
            group,
            complexity: "",
            deprecated: false,
            system: false,
            deprecated_since: "",
            replaced_by: "",
            history: &[],
            arguments: &[],
        },
        handler: Handler::Missing,
        scope: Scope::Session,
    }
}

impl CommandSpec {
    /// Sets the flags, and with them the categories that they imply.
    pub const fn flags(mut self, flags: u64) -> Self {
        self.flags = Flags(flags);
        let given = self.categories;
        self.imply_categories(given)
    }

    /// Adds ACL categories to those the flags imply.
    pub const fn acl(self, categories: Categories) -> Self {
        let given = self.categories.with(categories);
        self.imply_categories(given)
    }

    /// The rule of Valkey: some flags put a command into categories. A readonly script command is not `@read`,
    /// because what it reads depends on the script.
    const fn imply_categories(mut self, given: Categories) -> Self {
        let flags = self.flags;
        let mut all = given.0 & !(Categories::READ.0 | Categories::FAST.0 | Categories::SLOW.0);
        if flags.has(WRITE) {
            all |= Categories::WRITE.0;
        }
        if flags.has(READONLY) && all & Categories::SCRIPTING.0 == 0 {
            all |= Categories::READ.0;
        }
        if flags.has(ADMIN) {
            all |= Categories::ADMIN.0 | Categories::DANGEROUS.0;
        }
        if flags.has(PUBSUB) {
            all |= Categories::PUBSUB.0;
        }
        if flags.has(BLOCKING) {
            all |= Categories::BLOCKING.0;
        }
        all |= if flags.has(FAST) { Categories::FAST.0 } else { Categories::SLOW.0 };
        self.categories = Categories(all);
        self
    }

    /// Sets the key specs.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// Sets the hints for clients.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Makes the command a container.
    pub const fn subcommands(mut self, subcommands: &'static [CommandSpec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Sets the one-sentence description.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.docs.summary = summary;
        self
    }

    /// Sets the cost.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.docs.complexity = complexity;
        self
    }

    /// Marks the command as obsolete.
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.docs.deprecated = true;
        self.docs.deprecated_since = since;
        self.docs.replaced_by = replaced_by;
        self
    }

    /// Marks the command as one for the server's own use.
    pub const fn system(mut self) -> Self {
        self.docs.system = true;
        self
    }

    /// Sets the history: (version, what changed).
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Self {
        self.docs.history = history;
        self
    }

    /// Sets the argument tree.
    pub const fn arguments(mut self, arguments: &'static [Argument]) -> Self {
        self.docs.arguments = arguments;
        self
    }

    /// Sets who runs the command.
    pub const fn handler(mut self, handler: Handler) -> Self {
        self.handler = handler;
        self
    }

    /// Sets which shards it concerns.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// First key, last key and step as COMMAND shows them, (0, 0, 0) without any: Valkey's rule for putting several
    /// key specs into the one range that old clients understand. Specs that do not continue the range are left out.
    pub const fn key_range(&self) -> (i16, i16, i16) {
        let (mut first, mut last) = (0, 0);
        let mut at = 0;
        while at < self.keys.len() {
            if let BeginSearch::Index(start) = self.keys[at].begin
                && let FindKeys::Range { last: relative, step, .. } = self.keys[at].find
            {
                let end = if relative >= 0 { start + relative } else { relative };
                if self.keys.len() == 1 {
                    return (start, end, step);
                }
                if step == 1 && (last == 0 || last == start - 1) {
                    first = if first == 0 { start } else { first };
                    last = end;
                }
            }
            at += 1;
        }
        (first, last, if first == 0 { 0 } else { 1 })
    }

    /// The last part of the name: `list` for `client|list`.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, short)| short)
    }

    /// Whether a request of `words` words (including the name) has an acceptable length.
    #[inline]
    pub const fn accepts(&self, words: usize) -> bool {
        if self.arity >= 0 {
            words == self.arity as usize
        } else {
            words >= self.arity.unsigned_abs() as usize
        }
    }
}
