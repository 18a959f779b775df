//! EVAL, EVALSHA and their kin, and SCRIPT.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use skuld::resp::decode::parse_integer;
use skuld::scripting::cache::Script;
use skuld::scripting::{ScriptFlags, Sha, sha1_hex, shebang};
use skuld::session::Debugging;

use super::convert::Counted;
use super::debugger::Debugger;
use super::run::{Run, Words, run_function};
use super::suspension;
use super::vm::{Purpose, Vm};
use crate::executor::Executor;
use crate::gate;
use crate::server_commands::pubsub::Subscriber;

const NO_SCRIPT: CommandError = CommandError::fixed("NOSCRIPT No matching script.");

type Outcome = Result<Counted, CommandError>;

pub fn error(line: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR ", line].concat())
}

/// The keys and arguments behind a count of keys at position 2.
pub fn split_words<'a>(args: &'a [&'a [u8]], count: i64) -> Result<Words<'a>, CommandError> {
    let rest = &args[3..];
    if count > rest.len() as i64 {
        return Err(CommandError::fixed("ERR Number of keys can't be greater than number of args"));
    }
    let count =
        usize::try_from(count).map_err(|_| CommandError::fixed("ERR Number of keys can't be negative"))?;
    let (keys, args) = rest.split_at(count);
    Ok(Words { keys, args })
}

impl Executor {
    /// Runs a command about scripts. An error is written too.
    pub fn run_script_command(
        &mut self,
        keyspace: &mut Keyspace,
        client: Subscriber<'_>,
        reply: &mut Reply,
        command: &'static Command,
        args: &[&[u8]],
        now_us: i64,
    ) -> Counted {
        let from = reply.len();
        let (db, dirty_before) = (client.session.db, self.effects.dirty);
        let result = match command.name {
            "fcall" | "fcall_ro" => self.fcall(keyspace, client, reply, command, args, now_us),
            name if name.starts_with("function|") => {
                let result = self.function(reply, command, args);
                self.effects.finish_command(db, args, dirty_before);
                result.map(|()| Counted::default())
            }
            "eval" | "eval_ro" | "evalsha" | "evalsha_ro" => {
                self.eval(keyspace, client, reply, command, args, now_us)
            }
            _ => self.script(client, reply, command, args).map(|()| Counted::default()),
        };
        result.unwrap_or_else(|error| {
            reply.truncate(from);
            error.write_to(reply);
            Counted::default()
        })
    }

    fn eval(
        &mut self,
        keyspace: &mut Keyspace,
        mut client: Subscriber<'_>,
        reply: &mut Reply,
        command: &'static Command,
        args: &[&[u8]],
        now_us: i64,
    ) -> Outcome {
        let mut debugger = None;
        if client.session.debugging != Debugging::Off && suspension::is_possible() {
            debugger = Some(begin_debugging(&mut client, command, args[1])?);
        }
        let result = self.eval_script(keyspace, client, reply, command, (args, now_us), &mut debugger);
        if let Some(debugger) = debugger {
            debugger.end();
        }
        result
    }

    /// Runs a script, with `debugger` looking on if there is one.
    fn eval_script(
        &mut self,
        keyspace: &mut Keyspace,
        client: Subscriber<'_>,
        reply: &mut Reply,
        command: &'static Command,
        (args, now_us): (&[&[u8]], i64),
        debugger: &mut Option<Box<Debugger>>,
    ) -> Outcome {
        let by_name = command.name.starts_with("evalsha");
        if by_name && args[1].len() != 40 {
            return Err(NO_SCRIPT);
        }
        let words = split_words(args, parse_integer(args[2]).ok_or(CommandError::NotInteger)?)?;
        let sha = if by_name { lower_case(args[1]) } else { sha1_hex(args[1]) };
        let known = self.server.scripts.cache().get(&sha).cloned();
        let script = match known {
            Some(script) => script,
            None if by_name => return Err(NO_SCRIPT),
            None => self.register(sha, args[1], false)?,
        };
        let only_reads = command.name.ends_with("_ro");
        self.may_run(script.flags, only_reads)?;
        let mut vm = self.script_machine();
        let reference = match vm.compile(&script) {
            Ok(reference) => reference,
            Err(message) => {
                self.scripting.scripts = Some(vm);
                return Err(does_not_compile(&message));
            }
        };
        let db = client.session.db;
        let session: *mut _ = &mut *client.session;
        // SAFETY: all of them outlive this function, which uses none of them until the script has ended.
        let mut run =
            unsafe { Run::new(self, keyspace, client, Purpose::Scripts, now_us, (&script.sha, args)) };
        run.restrict(script.flags, only_reads);
        run.debugger = debugger.take();
        let counted = run_function(&mut vm, reference, &mut run, &words, reply);
        *debugger = run.debugger.take();
        // SAFETY: the run is over, so this is the only way to the session.
        unsafe { (*session).db = db };
        if self.scripting.restart {
            script.roams.store(true, Ordering::Relaxed);
        }
        self.return_script_machine(vm);
        Ok(counted)
    }

    /// Checks that come before a script runs, beyond those of its command.
    pub(super) fn may_run(&self, flags: ScriptFlags, only_reads: bool) -> Result<(), CommandError> {
        let allows_stale = !flags.has(ScriptFlags::UNDECLARED) && flags.has(ScriptFlags::ALLOW_STALE);
        if !allows_stale && gate::role::is_stale(&self.server, &self.config) {
            return Err(gate::role::PRIMARY_DOWN);
        }
        if flags.has(ScriptFlags::UNDECLARED) {
            return Ok(());
        }
        let writes = !flags.has(ScriptFlags::NO_WRITES);
        if writes && only_reads {
            return Err(CommandError::fixed(
                "ERR Can not execute a script with write flag using *_ro command.",
            ));
        }
        if writes && !flags.has(ScriptFlags::ALLOW_OOM) && self.out_of_memory {
            return Err(CommandError::fixed(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            ));
        }
        if flags.has(ScriptFlags::NO_CLUSTER) && self.cluster.is_on() {
            return Err(CommandError::fixed("ERR Can not run script on cluster, 'no-cluster' flag is set."));
        }
        Ok(())
    }

    /// Takes the machine for scripts, which is made if need be.
    fn script_machine(&mut self) -> Box<Vm> {
        let epoch = self.server.scripts.epoch.load(Ordering::Acquire);
        match self.scripting.scripts.take() {
            Some(vm) if vm.epoch == epoch && vm.insecure == self.config.lua_enable_insecure_api => vm,
            _ => Box::new(Vm::new(Purpose::Scripts, self.config.lua_enable_insecure_api, epoch)),
        }
    }

    fn return_script_machine(&mut self, vm: Box<Vm>) {
        let server = self.server.clone();
        self.scripting.report(&server.scripts, Purpose::Scripts, vm.memory());
        self.scripting.scripts = Some(vm);
    }

    /// Adds a script to the cache if it compiles.
    fn register(&mut self, sha: Sha, body: &[u8], stays: bool) -> Result<Arc<Script>, CommandError> {
        let header = shebang::of_script(body).map_err(|line| error(&line))?;
        if !header.engine.eq_ignore_ascii_case(b"lua") {
            let name = super::lua::up_to_nul(&header.engine);
            return Err(error(&[b"Could not find scripting engine '", name, b"'"].concat()));
        }
        let mut vm = self.script_machine();
        let compiled = vm.try_compile(&body[header.code_start..]);
        let result = match compiled {
            Ok(reference) => {
                let script =
                    self.server.scripts.cache().add(sha, body, header.flags, header.code_start, stays);
                vm.adopt(&script, reference);
                Ok(script)
            }
            Err(message) => Err(does_not_compile(&message)),
        };
        self.return_script_machine(vm);
        result
    }

    fn script(
        &mut self,
        client: Subscriber<'_>,
        reply: &mut Reply,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Result<(), CommandError> {
        let scripts = &self.server.clone().scripts;
        match command.short_name() {
            "load" => {
                let sha = sha1_hex(args[2]);
                if !scripts.cache().keep(&sha) {
                    self.register(sha, args[2], true)?;
                }
                reply.bulk(&sha);
            }
            "exists" => {
                let cache = scripts.cache();
                reply.array(args.len() - 2);
                for name in &args[2..] {
                    reply.integer(i64::from(name.len() == 40 && cache.peek(&lower_case(name)).is_some()));
                }
            }
            "flush" => {
                let valid = match args {
                    [_, _] => true,
                    [_, _, mode] => mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async"),
                    _ => false,
                };
                if !valid {
                    return Err(CommandError::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
                }
                scripts.flush_scripts();
                let vm = self.script_machine();
                self.return_script_machine(vm);
                reply.ok();
            }
            "show" => {
                let script = (args[2].len() == 40).then(|| lower_case(args[2]));
                let cache = scripts.cache();
                let script = script.and_then(|sha| cache.peek(&sha).cloned()).ok_or(NO_SCRIPT)?;
                reply.bulk(&script.body);
            }
            "kill" => {
                scripts.kill(Purpose::Scripts)?;
                reply.ok();
            }
            _ => {
                if args.len() > 4 {
                    let before = "ERR unknown subcommand or wrong number of arguments for '";
                    return Err(CommandError::quoting(before, args[1], "'. Try SCRIPT HELP."));
                }
                let mode = args[2].to_ascii_lowercase();
                let known = matches!(mode.as_slice(), b"no" | b"yes" | b"sync");
                if let Some(engine) = args.get(3).filter(|name| known && !name.eq_ignore_ascii_case(b"lua")) {
                    let (before, after) = ("ERR No scripting engine found with name '", "' to enable debug");
                    return Err(CommandError::quoting(before, engine, after));
                }
                return match mode.as_slice() {
                    b"no" => {
                        client.session.debugging = Debugging::Off;
                        reply.ok();
                        Ok(())
                    }
                    b"yes" | b"sync" if !reply.is_empty() => {
                        Err(CommandError::fixed("ERR SCRIPT DEBUG must be called outside a pipeline"))
                    }
                    b"yes" | b"sync" => {
                        let apart = mode == b"yes";
                        client.session.debugging = if apart { Debugging::Apart } else { Debugging::Sync };
                        reply.ok();
                        Ok(())
                    }
                    _ => Err(CommandError::fixed("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
                };
            }
        }
        Ok(())
    }
}

/// The client debugs the script it asks for, which is the last thing it does.
#[cold]
fn begin_debugging(
    client: &mut Subscriber<'_>,
    command: &Command,
    text: &[u8],
) -> Result<Box<Debugger>, CommandError> {
    if command.name.starts_with("evalsha") {
        return Err(CommandError::fixed("ERR Please use EVAL instead of EVALSHA for debugging"));
    }
    if client.session.debugging == Debugging::Apart {
        return Err(CommandError::fixed("ERR inside MULTI scripts are debugged by SCRIPT DEBUG SYNC only"));
    }
    client.session.debugging = Debugging::Off;
    client.session.close_after_reply = true;
    Ok(Debugger::begin(client.shared, text))
}

fn does_not_compile(message: &[u8]) -> CommandError {
    error(&[b"Error compiling script (new function): ", message].concat())
}

/// A script's name as the cache knows it. It has 40 bytes.
pub fn lower_case(name: &[u8]) -> Sha {
    let mut sha = [0; 40];
    sha.copy_from_slice(name);
    sha.make_ascii_lowercase();
    sha
}
