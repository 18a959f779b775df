//! What may be refused because of what a script says about itself, or says nothing about.

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::WRITE;
use skuld::scripting::{ScriptFlags, sha1_hex, shebang};
use skuld::session::Origin;

use super::{Scripts, eval, runs_code};
use crate::executor::Executor;
use crate::gate;

const READ_ONLY: CommandError = CommandError::fixed("READONLY You can't write against a read only replica.");
const OUT_OF_MEMORY: CommandError =
    CommandError::fixed("OOM command not allowed when used memory > 'maxmemory'.");

impl Scripts {
    /// What the script or function of a request says about itself. None if it is not known, or says nothing.
    pub fn declared(&self, command: &Command, words: &[&[u8]]) -> Option<ScriptFlags> {
        let flags = match command.name {
            "fcall" | "fcall_ro" => {
                let libraries = self.libraries();
                let (library, index) = libraries.function(words[1])?;
                library.functions[index].flags
            }
            "evalsha" | "evalsha_ro" if words[1].len() != 40 => return None,
            "evalsha" | "evalsha_ro" => self.cache().peek(&eval::lower_case(words[1]))?.flags,
            _ => match self.cache().peek(&sha1_hex(words[1])) {
                Some(script) => script.flags,
                None => shebang::of_script(words[1]).ok()?.flags,
            },
        };
        (!flags.has(ScriptFlags::UNDECLARED)).then_some(flags)
    }
}

impl Executor {
    /// The refusal of a command that runs a script which says that it may write, or need memory: as if it were the
    /// command that does.
    pub fn script_refusal(&self, command: &'static Command, words: &[&[u8]]) -> Option<CommandError> {
        if !runs_code(command) {
            return None;
        }
        let disk = gate::disk::refusal_of_write(&self.server, &self.config);
        let read_only = self.is_replica && self.config.replica_read_only;
        let lonely = gate::role::refusal_without_replicas(&self.server, &self.config);
        let stale = gate::role::is_stale(&self.server, &self.config);
        if !self.out_of_memory && disk.is_none() && !read_only && lonely.is_none() && !stale {
            return None;
        }
        let flags = self.server.scripts.declared(command, words)?;
        let writes = !flags.has(ScriptFlags::NO_WRITES);
        if self.out_of_memory && writes && !flags.has(ScriptFlags::ALLOW_OOM) {
            return Some(OUT_OF_MEMORY);
        }
        let forbidden = if writes { disk.or(lonely).or(read_only.then_some(READ_ONLY)) } else { None };
        forbidden.or((stale && !flags.has(ScriptFlags::ALLOW_STALE)).then_some(gate::role::PRIMARY_DOWN))
    }

    /// The refusal of a write that a script calls, because of the server's state.
    pub(super) fn inner_write_refusal(&self, command: &Command, origin: Origin) -> Option<CommandError> {
        if !command.flags.has(WRITE) || !origin.is_client() {
            return None;
        }
        if self.is_replica && self.config.replica_read_only {
            return Some(READ_ONLY);
        }
        gate::disk::refusal(&self.server, &self.config, command)
            .or_else(|| gate::role::refusal_without_replicas(&self.server, &self.config))
    }
}
