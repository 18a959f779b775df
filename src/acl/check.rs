//! May this user run this request?
//!
//! A selector is asked for databases, then the command, then keys, then channels. If no selector allows the request, the
//! refusal that got furthest is the one that counts; among equals, the one about the last argument.

use super::selector::{READ, Selector, WRITE};
use super::user::User;
use crate::commands::Command;
use crate::commands::key_spec::{ACCESS, DELETE, INSERT, KeyFlags, NOT_KEY, UPDATE};
use crate::commands::keys::{KeyList, KeyShape, keys_of};
use crate::commands::spec::{ALL_DBS, Categories, NO_AUTH};
use crate::glob;
use crate::resp::decode::parse_integer;

/// What is not allowed, in ascending weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    Database,
    Command,
    Key,
    /// A login failed.
    Login,
    Channel,
    /// A client's certificate names nobody.
    Certificate,
}

impl Denial {
    /// The reason that ACL LOG shows.
    pub fn reason(self) -> &'static str {
        match self {
            Denial::Database => "database",
            Denial::Command => "command",
            Denial::Key => "key",
            Denial::Login => "auth",
            Denial::Channel => "channel",
            Denial::Certificate => "tls-cert",
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    pub denial: Denial,
    /// The argument it is about; 0 for the command itself.
    pub position: usize,
}

impl Denied {
    /// The line for the client, code word included.
    pub fn line(self, user: &User, command: &Command) -> Vec<u8> {
        match self.denial {
            Denial::Key => b"NOPERM No permissions to access a key".to_vec(),
            Denial::Channel => b"NOPERM No permissions to access a channel".to_vec(),
            Denial::Database => b"NOPERM No permissions to access database".to_vec(),
            Denial::Command | Denial::Login | Denial::Certificate => {
                [b"NOPERM ", self.explanation(user, command, &[]).as_slice()].concat()
            }
        }
    }

    /// What ACL DRYRUN answers.
    pub fn explanation(self, user: &User, command: &Command, args: &[&[u8]]) -> Vec<u8> {
        let (before, what, after): (&str, &[u8], &str) = match self.denial {
            Denial::Command | Denial::Login | Denial::Certificate => {
                ("run the '", command.name.as_bytes(), "' command")
            }
            Denial::Key => ("access the '", self.object(command, args), "' key"),
            Denial::Channel => ("access the '", self.object(command, args), "' channel"),
            Denial::Database => {
                ("access database ", args.get(self.position).copied().unwrap_or_default(), "")
            }
        };
        let head = [b"User ", &*user.name, b" has no permissions to ", before.as_bytes()].concat();
        [&head, what, after.as_bytes()].concat()
    }

    /// What ACL LOG names.
    pub fn object<'a>(self, command: &'a Command, args: &[&'a [u8]]) -> &'a [u8] {
        match self.denial {
            Denial::Command => command.name.as_bytes(),
            Denial::Database if self.position == 0 => command.name.as_bytes(),
            _ => args.get(self.position).copied().unwrap_or_default(),
        }
    }

    /// Why a queued command is refused by EXEC.
    pub fn exec_line(self) -> String {
        let reason = match self.denial {
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key => "no permission to touch the specified keys",
            Denial::Channel => "no permission to access one of the channels used as arguments",
            Denial::Database | Denial::Login | Denial::Certificate => "no permission",
        };
        format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        )
    }
}

/// Where a request would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The client's database.
    pub db: u32,
    /// How many there are.
    pub databases: u32,
}

/// Whether `user` may run `command` with `args` (command name first; enough of them for the command).
///
/// # Errors
/// The refusal that counts.
pub fn check(user: &User, command: &Command, args: &[&[u8]], place: Place) -> Result<(), Denied> {
    if user.is_unrestricted() {
        return Ok(());
    }
    let request = Request { command, args, place, keys: keys(command, args) };
    let mut worst = Denied { denial: Denial::Database, position: 0 };
    for selector in user.selectors() {
        match request.ask(selector) {
            Ok(()) => return Ok(()),
            Err(denied) => {
                if (denied.denial, denied.position) > (worst.denial, worst.position) {
                    worst = denied;
                }
            }
        }
    }
    Err(worst)
}

/// Whether a selector that allows the request also allows access to every key there may be (SORT's BY and GET).
pub fn may_read_all_keys(user: &User, command: &Command, args: &[&[u8]], place: Place) -> bool {
    if user.is_unrestricted() {
        return true;
    }
    let request = Request { command, args, place, keys: keys(command, args) };
    user.selectors().iter().any(|selector| {
        let reads_all = selector.all_keys
            || selector.keys.iter().any(|key| key.permissions & READ != 0 && *key.pattern == *b"*");
        reads_all && request.ask(selector).is_ok()
    })
}

/// Whether a channel (or, taken literally, a pattern) may be subscribed to.
pub fn may_subscribe(user: &User, name: &[u8], pattern: bool) -> bool {
    user.is_unrestricted() || user.selectors().iter().any(|selector| selector.allows_channel(name, pattern))
}

/// The keys of a request, without shard channels. Keys that cannot be told are none: the command will refuse the
/// request, except that PFMERGE needs no sources.
fn keys(command: &Command, args: &[&[u8]]) -> KeyList {
    let mut keys = KeyList::new();
    if keys_of(command, args, &mut keys).is_err() && command.name != "pfmerge" {
        keys.clear();
    }
    keys.retain(|key| !key.flags.has(NOT_KEY));
    keys
}

struct Request<'a> {
    command: &'a Command,
    args: &'a [&'a [u8]],
    place: Place,
    keys: KeyList,
}

impl Request<'_> {
    fn ask(&self, selector: &Selector) -> Result<(), Denied> {
        let denied = |denial, position| Err(Denied { denial, position });
        if !selector.all_databases
            && let Some(position) = self.forbidden_database(selector)
        {
            return denied(Denial::Database, position);
        }
        if !self.command.flags.has(NO_AUTH) && !selector.allows(self.command) {
            let first = self.args.get(if self.command.parent.is_some() { 2 } else { 1 });
            if !first.is_some_and(|first| selector.allows_with(self.command, first)) {
                return denied(Denial::Command, 0);
            }
        }
        if !selector.all_keys {
            for key in &self.keys {
                let position = key.position as usize;
                if !selector.allows_key(self.args[position], key.flags) {
                    return denied(Denial::Key, position);
                }
            }
        }
        if !selector.all_channels {
            let (range, pattern) = channels(self.command, self.args.len());
            for position in range {
                if !selector.allows_channel(self.args[position], pattern) {
                    return denied(Denial::Channel, position);
                }
            }
        }
        Ok(())
    }

    /// The argument that names a database the selector does not allow; 0 if that is the client's own.
    fn forbidden_database(&self, selector: &Selector) -> Option<usize> {
        let allowed = |db: u32| selector.databases.binary_search(&db).is_ok();
        if self.command.flags.has(ALL_DBS) {
            return Some(0);
        }
        for (position, db) in self.named_databases() {
            if !allowed(db) {
                return Some(position);
            }
        }
        let concerned = needs_database(self.command);
        (concerned && !allowed(self.place.db)).then_some(0)
    }

    /// The databases that the arguments name. If one of them is none, the command refuses the request.
    fn named_databases(&self) -> Vec<(usize, u32)> {
        let positions: Vec<usize> = match self.command.name {
            "select" => vec![1],
            "swapdb" => vec![1, 2],
            "move" => vec![2],
            "copy" => match copy_databases(self.args) {
                Some(positions) => positions,
                None => return Vec::new(),
            },
            _ => return Vec::new(),
        };
        let number = |&at: &usize| {
            let db = u32::try_from(parse_integer(self.args.get(at)?)?).ok()?;
            (db < self.place.databases).then_some((at, db))
        };
        let named: Vec<(usize, u32)> = positions.iter().filter_map(number).collect();
        if named.len() == positions.len() { named } else { Vec::new() }
    }
}

/// Where COPY names databases, unless it has options that do not exist.
fn copy_databases(args: &[&[u8]]) -> Option<Vec<usize>> {
    let mut positions = Vec::new();
    let mut at = 3;
    while let Some(word) = args.get(at) {
        if word.eq_ignore_ascii_case(b"db") && at + 1 < args.len() {
            positions.push(at + 1);
            at += 1;
        } else if !word.eq_ignore_ascii_case(b"replace") {
            return None;
        }
        at += 1;
    }
    Some(positions)
}

/// Whether a command looks at or changes keys of the client's database.
fn needs_database(command: &Command) -> bool {
    let about_keys = Categories(Categories::KEYSPACE.0 | Categories::READ.0 | Categories::WRITE.0);
    command.name != "swapdb"
        && (command.categories.intersects(about_keys)
            || (command.shape != KeyShape::None || !command.keys.is_empty())
                && command.keys.iter().any(|spec| !spec.flags.has(NOT_KEY)))
}

/// The positions of a command's channels, and whether they are patterns. What ends subscriptions needs no right.
fn channels(command: &Command, count: usize) -> (std::ops::Range<usize>, bool) {
    match command.name {
        "subscribe" | "ssubscribe" => (1..count, false),
        "psubscribe" => (1..count, true),
        "publish" | "spublish" => (1..2.min(count), false),
        _ => (0..0, false),
    }
}

impl Selector {
    fn allows_key(&self, key: &[u8], flags: KeyFlags) -> bool {
        let mut needed = 0;
        if flags.has(ACCESS) {
            needed |= READ;
        }
        if flags.has(INSERT) || flags.has(DELETE) || flags.has(UPDATE) {
            needed |= WRITE;
        }
        self.all_keys
            || self
                .keys
                .iter()
                .any(|known| known.permissions & needed == needed && glob::matches(&known.pattern, key))
    }

    fn allows_channel(&self, name: &[u8], pattern: bool) -> bool {
        self.all_channels
            || self
                .channels
                .iter()
                .any(|known| if pattern { **known == *name } else { glob::matches(known, name) })
    }
}
