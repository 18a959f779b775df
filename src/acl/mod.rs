//! Access control lists: who may run which command on which keys, channels and databases.
//!
//! ```text
//!  Acl --- name ---> User { on/off, passwords, selectors }
//!                              |
//!                              +-- root selector    commands, key patterns, channel patterns, databases
//!                              +-- further selectors (in parentheses); one that allows everything asked is enough
//! ```
//!
//! An [`Acl`] and its users are immutable: a change makes new ones, and whoever runs commands compares the epoch of
//! the one it knows (a number that the owner of the current `Acl` counts up) with the current one. Rules are applied
//! by [`rules`], asked by [`check`], printed by [`describe`], read from files by [`file`]; [`log`] remembers refusals.
//!
//! Rules always mean commands by their original names, whatever `rename-command` says. The facts (order of checks, which
//! error wins, how rules are normalised) were recorded from Valkey 9.1.2.

pub mod check;
mod describe;
pub mod file;
pub mod log;
mod password;
pub mod rules;
mod selector;
#[cfg(test)]
mod tests;
mod user;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub use check::{Denial, Denied, Place, check};
pub use rules::RuleError;
pub use selector::{Selector, command_named};
pub use user::{Fresh, User};

/// The name of the user that every client is at first.
pub const DEFAULT_USER: &[u8] = b"default";

/// All users, by name.
#[derive(Debug, Clone)]
pub struct Acl {
    users: BTreeMap<Arc<[u8]>, Arc<User>>,
}

impl Default for Acl {
    fn default() -> Self {
        Self::new()
    }
}

impl Acl {
    /// Only the default user, who may do all.
    pub fn new() -> Self {
        let user = all_powerful();
        Self { users: BTreeMap::from([(user.name.clone(), user)]) }
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// The default user, who is always there.
    pub fn default_user(&self) -> &Arc<User> {
        self.users.get(DEFAULT_USER).expect("nothing removes the default user")
    }

    /// Whether clients need not authenticate: the default user is on and has no password.
    pub fn is_open(&self) -> bool {
        let user = self.default_user();
        user.nopass && user.enabled
    }

    /// Adds or replaces a user.
    pub fn insert(&mut self, user: User) {
        let user = Arc::new(user);
        self.users.insert(user.name.clone(), user);
    }

    /// Removes a user; false if there is none of that name. The default user stays.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT_USER && self.users.remove(name).is_some()
    }

    /// All users in the order of their names.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// One line `user <name> <rules>` for each user.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.users().map(|user| user.line()).collect()
    }

    /// The user who may come in with this name and password.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        self.get(name).filter(|user| user.enabled && user.accepts_password(password))
    }
}

/// A user called `default` who may do all: what a session starts with before it has looked anybody up.
pub fn all_powerful() -> Arc<User> {
    static USER: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(User::initial_default()));
    USER.clone()
}
