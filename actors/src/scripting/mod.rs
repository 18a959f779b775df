//! Scripts and functions.
//!
//! ```text
//!  EVAL, EVALSHA --> Scripts (the server's: cache of scripts, table of libraries)
//!       |                 ^ one look per call
//!       v                 |
//!  Engine (the shard's: its Lua machines, kept warm) --> Run --> Lua --> redis.call --> Executor::invoke
//! ```
//!
//! Invariant: a machine belongs to one shard; what all shards share is text.
//! Invariant: what a script did reaches the log as the commands it called, in one group; never the script.

mod api;
mod bindings;
mod call;
mod convert;
pub mod debugger;
mod eval;
pub mod functions;
mod gate;
pub mod libraries;
mod lua;
mod run;
pub mod running;
pub mod suspension;
mod vm;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use skuld::commands::context::CommandError;
use skuld::commands::spec::Scope;
use skuld::commands::{Command, Handler};
use skuld::scripting::cache::ScriptCache;
use skuld::scripting::libraries::Libraries;
use skuld::scripting::random::Lrand48;
use skuld::scripting::sha1_hex;
use skuld::slot::Slot;

use crate::server_commands::waits_inside;
use crate::transaction::Transaction;
pub use convert::Counted;
pub use run::hand_back;
use running::Running;
use vm::{Purpose, Vm};

const NOT_BUSY: CommandError = CommandError::fixed("NOTBUSY No scripts in execution right now.");

/// A reply's buffer is kept for the next call if it is no larger.
const KEEP_REPLY_BYTES: usize = 64 * 1024;

/// Whether the command runs a script or a function, which may touch any key.
pub fn runs_code(command: &Command) -> bool {
    matches!(command.spec.handler, Handler::Script) && command.spec.scope == Scope::Keys
}

/// Whether a command needs a stack of its own: it may run scripts, or is EXEC of such a command or of one that waits for
/// others with its keys in hand.
pub fn may_run_code(command: &Command, transaction: &Transaction) -> bool {
    let needs_a_stack = |command: &Command| runs_code(command) || waits_inside(command);
    runs_code(command)
        || (command.name == "exec"
            && transaction.queue.as_ref().is_some_and(|q| q.commands.iter().any(|(c, _)| needs_a_stack(c))))
}

/// The scripts of the server.
#[derive(Default)]
pub struct Scripts {
    cache: Mutex<ScriptCache>,
    /// Counts SCRIPT FLUSH: machines of an earlier time are thrown away.
    epoch: AtomicU64,
    /// Held while the libraries are being changed; readers take the table as it is.
    libraries_change: Mutex<()>,
    libraries: ArcSwap<Libraries>,
    /// Counts FUNCTION FLUSH.
    libraries_epoch: AtomicU64,
    library_ids: AtomicU64,
    /// Scripts that have handed their thread back, and how many of them have timed out.
    running: Mutex<Vec<Arc<Running>>>,
    timed_out: AtomicU32,
    /// Processes that debug scripts on copies of the data.
    pub debugged_apart: debugger::apart::Sessions,
    /// Bytes of all machines for scripts, and of all for functions.
    memory: [AtomicU64; 2],
}

impl Scripts {
    /// The cache; the guard is not kept while a script runs.
    pub fn cache(&self) -> MutexGuard<'_, ScriptCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the script or function of a request is known to need more than its declared keys.
    pub fn roams(&self, command: &Command, words: &[&[u8]]) -> bool {
        match command.name {
            "fcall" | "fcall_ro" => {
                let libraries = self.libraries();
                libraries.function(words[1]).is_some_and(|(library, _)| library.roams.load(Ordering::Relaxed))
            }
            name => {
                let sha = match name.starts_with("evalsha") {
                    true if words[1].len() != 40 => return false,
                    true => eval::lower_case(words[1]),
                    false => sha1_hex(words[1]),
                };
                self.cache().peek(&sha).is_some_and(|script| script.roams.load(Ordering::Relaxed))
            }
        }
    }

    /// The libraries as they are now.
    pub fn libraries(&self) -> Arc<Libraries> {
        self.libraries.load_full()
    }

    /// The codes of all libraries, for snapshots.
    pub fn library_codes(&self) -> Vec<Vec<u8>> {
        self.libraries().iter().map(|library| library.code.clone()).collect()
    }

    /// Changes the table of libraries, unless that fails.
    fn change_libraries(
        &self,
        change: impl FnOnce(&mut Libraries) -> Result<(), Vec<u8>>,
    ) -> Result<(), Vec<u8>> {
        let _one_at_a_time = self.libraries_change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = (*self.libraries()).clone();
        change(&mut changed)?;
        self.libraries.store(Arc::new(changed));
        Ok(())
    }

    /// Removes all scripts; machines for them are set up anew.
    pub fn flush_scripts(&self) {
        self.cache().clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes all libraries; machines for functions are set up anew.
    pub fn flush_libraries(&self) {
        let _one_at_a_time = self.libraries_change.lock().unwrap_or_else(PoisonError::into_inner);
        self.libraries.store(Arc::default());
        self.libraries_epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn next_library(&self) -> u64 {
        self.library_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// What INFO shows.
    pub fn figures(&self) -> Figures {
        let libraries = self.libraries();
        let cache = self.cache();
        Figures {
            libraries: libraries.len() as u64,
            functions: libraries.function_count() as u64,
            libraries_bytes: libraries.memory() as u64,
            scripts: cache.len() as u64,
            scripts_bytes: cache.memory() as u64,
            evicted: cache.evicted,
        }
    }

    /// Bytes of the machines: those for scripts, those for functions.
    pub fn machine_bytes(&self) -> [u64; 2] {
        [self.memory[0].load(Ordering::Relaxed), self.memory[1].load(Ordering::Relaxed)]
    }
}

/// Counts and sizes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub scripts: u64,
    pub scripts_bytes: u64,
    pub evicted: u64,
    pub libraries: u64,
    pub functions: u64,
    pub libraries_bytes: u64,
}

/// A shard's machines.
#[derive(Default)]
pub struct Engine {
    scripts: Option<Box<Vm>>,
    functions: Option<Box<Vm>>,
    pub random: Lrand48,
    /// The next script has no more than the keys of these slots; None: it has all.
    pub confined: Option<Vec<Slot>>,
    /// A script needed more than it had, and has changed nothing: it is to be run again with all keys.
    pub restart: bool,
    /// The script that is running here, once it has handed its thread back.
    pub running: Option<Arc<Running>>,
    /// Where replies to scripts are written; kept to reuse its capacity.
    pub reply: Vec<u8>,
    /// What each machine was last said to hold.
    reported: [u64; 2],
}

impl Engine {
    /// Takes the reply's buffer back.
    pub fn keep_reply(&mut self, reply: Vec<u8>) {
        if reply.capacity() <= KEEP_REPLY_BYTES {
            self.reply = reply;
        }
    }

    /// Tells how much memory a machine holds now.
    fn report(&mut self, scripts: &Scripts, purpose: Purpose, bytes: usize) {
        let (now, which) = (bytes as u64, purpose as usize);
        let before = std::mem::replace(&mut self.reported[which], now);
        if now != before {
            scripts.memory[which].fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        }
    }
}
