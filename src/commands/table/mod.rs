//! The command table: all rows, and finding one of them by the words of a request.
//!
//! Looking up happens for every request, so it neither allocates nor compares byte by byte: a name of up to 32 bytes
//! is packed into four words, lower-cased eight bytes at a time, hashed, and compared as four words.
//!
//! ```text
//!  slots (power of two, at most half full)         names                    commands
//!  [ tag | entry ] --- same tag? ------------->  [ parent, 4 words ] --->  Command { id, spec, shape, ... }
//! ```
//!
//! Subcommands live in the same index; their hash and their name include the id of the container.

mod acl;
mod bitmap;
mod client;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod packed_name;
mod pubsub;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;
mod strings;
mod transactions;

use std::ops::Deref;
use std::sync::OnceLock;

use packed_name::PackedName;

use super::keys::KeyShape;
use super::spec::*;
use super::{Handler, refusals};

/// The groups of rows, in the order of their ids.
const GROUPS: [&[CommandSpec]; 18] = [
    acl::ROWS,
    bitmap::ROWS,
    client::ROWS,
    cluster::ROWS,
    connection::ROWS,
    generic::ROWS,
    geo::ROWS,
    hash::ROWS,
    hyperloglog::ROWS,
    list::ROWS,
    pubsub::ROWS,
    scripting::ROWS,
    server::ROWS,
    set::ROWS,
    sorted_set::ROWS,
    stream::ROWS,
    strings::ROWS,
    transactions::ROWS,
];

/// How many commands and subcommands the table knows, built or not: one more than the highest [`Command::id`].
pub const COMMAND_COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            count += 1 + GROUPS[group][row].subcommands.len();
            row += 1;
        }
        group += 1;
    }
    count
};

const _: () = assert!(COMMAND_COUNT < 0xffff, "ids and slots have 16 bits");

/// A row with what is worked out from it once. Dereferences to the row.
pub struct Command {
    /// Dense: from 0 to [`COMMAND_COUNT`] - 1, for tables of statistics and for ACL bitmaps.
    pub id: u16,
    /// The row.
    pub spec: &'static CommandSpec,
    /// The container's id, for a subcommand.
    pub parent: Option<u16>,
    /// Where the keys are, if the row alone tells.
    pub shape: KeyShape,
    /// First key, last key and step as COMMAND shows them.
    pub key_range: (i16, i16, i16),
    /// Ids of the subcommands.
    children: std::ops::Range<u16>,
    /// Whether this server has it.
    built: bool,
    /// Whether it does nothing but read or change the one key that is its first argument.
    plain: bool,
}

impl Deref for Command {
    type Target = CommandSpec;

    #[inline]
    fn deref(&self) -> &CommandSpec {
        self.spec
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Command({})", self.name)
    }
}

impl Command {
    /// The command with that [`Command::id`], if it is below [`COMMAND_COUNT`].
    pub fn by_id(id: u16) -> Option<&'static Command> {
        commands().get(usize::from(id))
    }

    /// Whether this server has it: a row without a handler, and a container without any such subcommand besides
    /// HELP, is only known by name.
    pub fn is_built(&self) -> bool {
        self.built
    }

    /// Whether it does nothing but read or change the one key that is its first argument: it never waits, and changes
    /// neither the session nor anything else.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether there are subcommands.
    pub fn is_container(&self) -> bool {
        !self.spec.subcommands.is_empty()
    }

    /// The subcommands that are built.
    pub fn built_subcommands(&self) -> impl ExactSizeIterator<Item = &'static Command> + use<> {
        let children: Vec<_> =
            self.children.clone().filter_map(Command::by_id).filter(|child| child.built).collect();
        children.into_iter()
    }
}

/// All commands by id, whether built or not.
pub fn commands() -> &'static [Command] {
    static COMMANDS: OnceLock<Vec<Command>> = OnceLock::new();
    COMMANDS.get_or_init(|| {
        let mut all = Vec::with_capacity(COMMAND_COUNT);
        for spec in GROUPS.iter().copied().flatten() {
            let id = all.len() as u16; // COMMAND_COUNT fits
            let children = id + 1..id + 1 + spec.subcommands.len() as u16;
            // A container that could do nothing but explain itself is not there yet, whether or not HELP would work.
            let built = match spec.handler {
                Handler::Missing => false,
                Handler::Container => spec
                    .subcommands
                    .iter()
                    .any(|sub| sub.short_name() != "help" && !matches!(sub.handler, Handler::Missing)),
                Handler::Engine(_) | Handler::Transaction | Handler::Script | Handler::Server => true,
            };
            all.push(command_of(id, spec, None, children, built));
            for sub in spec.subcommands {
                let sub_id = all.len() as u16;
                let built = built && !matches!(sub.handler, Handler::Missing);
                all.push(command_of(sub_id, sub, Some(id), sub_id..sub_id, built));
            }
        }
        all
    })
}

fn command_of(
    id: u16,
    spec: &'static CommandSpec,
    parent: Option<u16>,
    children: std::ops::Range<u16>,
    built: bool,
) -> Command {
    let (first, last, step) = spec.key_range();
    let shape = match (first, last, step) {
        _ if spec.flags.has(MOVABLEKEYS) => KeyShape::Other,
        (0, ..) => KeyShape::None,
        (1, 1, 1) => KeyShape::First,
        (first, last, step) => KeyShape::Range { first, last, step },
    };
    let plain = built
        && shape == KeyShape::First
        && spec.scope == Scope::Keys
        && parent.is_none()
        && matches!(spec.handler, Handler::Engine(_))
        && spec.flags.has_any(READONLY | WRITE)
        && !spec.flags.has_any(BLOCKING | ARBITRARY_KEYS | NO_MULTI | PUBSUB)
        // It has that key in two databases.
        && spec.name != "move";
    Command { id, spec, parent, shape, key_range: (first, last, step), children, built, plain }
}

static ACTIVE: OnceLock<Table> = OnceLock::new();

/// The table in effect: that of [`install`], or else the commands under their own names.
#[inline]
pub fn table() -> &'static Table {
    ACTIVE.get_or_init(Table::own_names)
}

/// The commands under their own names, whatever has been renamed: ACL rules mean these.
pub fn original_table() -> &'static Table {
    static ORIGINAL: OnceLock<Table> = OnceLock::new();
    ORIGINAL.get_or_init(Table::own_names)
}

/// Puts a table with renamed commands into effect, once, before the first request. On error, some table is in effect
/// already.
pub fn install(renamed: Table) -> Result<(), Table> {
    ACTIVE.set(renamed)
}

/// Why a `rename-command` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// The old name is unknown, or has been renamed before.
    #[error("No such command in rename-command")]
    NoSuchCommand,
    /// The new name is taken.
    #[error("Target command name already exists")]
    NameTaken,
}

/// Why a request names no command that could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// No such command.
    Command,
    /// No such subcommand.
    Subcommand,
    /// Too many or too few words for the command.
    Arity(&'static str),
}

impl Unresolved {
    /// The error line for the client, without the leading `-` and the CRLF.
    pub fn line(self, args: &[&[u8]]) -> Vec<u8> {
        match self {
            Unresolved::Command => refusals::unknown_command(args),
            Unresolved::Subcommand => refusals::unknown_subcommand(args),
            Unresolved::Arity(name) => refusals::wrong_arity(name).into_bytes(),
        }
    }
}

/// An index from names to commands.
pub struct Table {
    /// Open addressing, length a power of two. 0: free; otherwise (high half of the hash) << 16 | entry + 1.
    slots: Box<[u32]>,
    entries: Vec<Entry>,
    /// Names too long to pack, in lower case; only renaming makes such names.
    long_names: Vec<(Box<[u8]>, &'static Command)>,
}

struct Entry {
    /// Id of the container + 1; 0 for a command.
    scope: u16,
    name: PackedName,
    command: &'static Command,
}

impl Table {
    fn own_names() -> Table {
        let commands = commands().iter().filter(|command| command.parent.is_none());
        Table::index(commands.map(|command| (command.name.as_bytes(), command)))
    }

    /// The table after the `rename-command` directives (old name, new name), in order; an empty new name removes the
    /// command. Subcommands follow their container.
    pub fn with_renames(renames: &[(&[u8], &[u8])]) -> Result<Table, RenameError> {
        let mut names: Vec<(Vec<u8>, &'static Command)> = commands()
            .iter()
            .filter(|command| command.parent.is_none())
            .map(|command| (command.name.as_bytes().to_vec(), command))
            .collect();
        for (old, new) in renames {
            let at = names
                .iter()
                .position(|(name, _)| name.eq_ignore_ascii_case(old))
                .ok_or(RenameError::NoSuchCommand)?;
            let (_, command) = names.swap_remove(at);
            if new.is_empty() {
                continue;
            }
            if names.iter().any(|(name, _)| name.eq_ignore_ascii_case(new)) {
                return Err(RenameError::NameTaken);
            }
            names.push((new.to_ascii_lowercase(), command));
        }
        Ok(Table::index(names.iter().map(|(name, command)| (name.as_slice(), *command))))
    }

    fn index<'a>(names: impl Iterator<Item = (&'a [u8], &'static Command)>) -> Table {
        let mut table = Table {
            slots: vec![0; (COMMAND_COUNT * 2).next_power_of_two()].into_boxed_slice(),
            entries: Vec::with_capacity(COMMAND_COUNT),
            long_names: Vec::new(),
        };
        for (name, command) in names.filter(|(_, command)| command.built) {
            match PackedName::new(name) {
                Some(packed) => table.insert(0, packed, command),
                None => table.long_names.push((name.to_ascii_lowercase().into_boxed_slice(), command)),
            }
            for child in command.built_subcommands() {
                let packed = PackedName::new(child.short_name().as_bytes())
                    .expect("the table's own names are short: a test holds them there");
                table.insert(command.id + 1, packed, child);
            }
        }
        table
    }

    fn insert(&mut self, scope: u16, name: PackedName, command: &'static Command) {
        let hash = name.hash(scope);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.entries.push(Entry { scope, name, command });
        self.slots[at] = slot_word(hash, self.entries.len());
    }

    #[inline]
    fn find(&self, scope: u16, name: PackedName) -> Option<&'static Command> {
        let hash = name.hash(scope);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let word = self.slots[at];
            if word == 0 {
                return None;
            }
            let entry = &self.entries[(word & 0xffff) as usize - 1];
            if word == slot_word(hash, (word & 0xffff) as usize) && entry.name == name && entry.scope == scope
            {
                return Some(entry.command);
            }
            at = (at + 1) & mask;
        }
    }

    /// The command of that name, in any case. A subcommand is not found here, not even as `client|list`.
    #[inline]
    pub fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        match PackedName::new(name) {
            Some(packed) => self.find(0, packed),
            None => self.lookup_long(name),
        }
    }

    #[cold]
    fn lookup_long(&self, name: &[u8]) -> Option<&'static Command> {
        self.long_names
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, command)| *command)
    }

    /// The subcommand of that name, in any case.
    #[inline]
    pub fn lookup_subcommand(&self, container: &Command, name: &[u8]) -> Option<&'static Command> {
        self.find(container.id + 1, PackedName::new(name)?)
    }

    /// The command or subcommand written in one word, as in `client|list`: how COMMAND INFO and ACL rules name it.
    pub fn lookup_full_name(&self, name: &[u8]) -> Option<&'static Command> {
        match memchr::memchr(b'|', name) {
            None => self.lookup(name),
            Some(bar) => {
                let container = self.lookup(&name[..bar])?;
                self.lookup_subcommand(container, &name[bar + 1..])
            }
        }
    }

    /// The command or subcommand that the request `args` names, whatever its length. A container named alone is
    /// itself the answer.
    #[inline]
    pub fn lookup_request(&self, args: &[&[u8]]) -> Result<&'static Command, Unresolved> {
        let name = args.first().ok_or(Unresolved::Command)?;
        let command = self.lookup(name).ok_or(Unresolved::Command)?;
        match args.get(1) {
            Some(word) if command.is_container() => {
                self.lookup_subcommand(command, word).ok_or(Unresolved::Subcommand)
            }
            _ => Ok(command),
        }
    }

    /// The command or subcommand that the request names, if the request has an acceptable number of words.
    #[inline]
    pub fn resolve(&self, args: &[&[u8]]) -> Result<&'static Command, Unresolved> {
        let command = self.lookup_request(args)?;
        if command.accepts(args.len()) { Ok(command) } else { Err(Unresolved::Arity(command.name)) }
    }

    /// All commands of this table, without subcommands, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Command> {
        let short = self.entries.iter().filter(|entry| entry.scope == 0).map(|entry| entry.command);
        short.chain(self.long_names.iter().map(|(_, command)| *command))
    }
}

/// The tag saves comparing names (and touching them) in most collisions.
#[inline]
const fn slot_word(hash: u64, entry: usize) -> u32 {
    ((hash >> 48) as u32) << 16 | entry as u32
}

#[cfg(test)]
mod tests;
