//! One run of a script or function: what it may do, and whom it acts for.

use std::cell::Cell;
use std::ffi::c_int;

use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use skuld::scripting::ScriptFlags;
use skuld::scripting::random::Lrand48;

use super::convert::{Counted, ErrorInformation, Version, write_value};
use super::lua::*;
use super::vm::{Purpose, Vm};
use crate::executor::Executor;
use crate::server_commands::pubsub::Subscriber;

/// Effects go to the append-only file and to replicas.
pub const REPLICATE_ALL: u8 = 3;

/// Instructions between two looks at whether the script has run for too long or was killed.
const INSTRUCTIONS_PER_LOOK: c_int = 100_000;

/// What a run is about.
pub struct Run {
    executor: *mut Executor,
    keyspace: *mut Keyspace,
    client: Subscriber<'static>,
    pub purpose: Purpose,
    /// The frozen clock, Unix microseconds.
    pub now_us: i64,
    /// The protocol of the values the script sees.
    pub version: Version,
    /// Where effects go: bit 0 the append-only file, bit 1 replicas.
    pub replicate: u8,
    pub read_only: bool,
    pub allow_oom: bool,
    /// A write command was called.
    pub wrote: bool,
    /// The slot of the keys used so far, in a cluster.
    pub slot: Option<skuld::slot::Slot>,
}

thread_local! {
    /// The run whose code is being executed by this thread.
    static CURRENT: Cell<*mut Run> = const { Cell::new(std::ptr::null_mut()) };
}

/// A run's surroundings, for as long as a command is being called.
pub struct Surroundings<'a> {
    pub executor: &'a mut Executor,
    pub keyspace: &'a mut Keyspace,
    pub client: &'a mut Subscriber<'static>,
}

impl Run {
    /// Prepares a run on behalf of a client.
    ///
    /// # Safety
    /// Executor, keyspace and client must stay where they are until the run is over, and nobody else may use them while
    /// the script's code runs.
    pub unsafe fn new(
        executor: *mut Executor,
        keyspace: *mut Keyspace,
        client: Subscriber<'_>,
        purpose: Purpose,
        now_us: i64,
    ) -> Self {
        // SAFETY: only the lifetime changes; the caller promises that the client outlives the run.
        let client = unsafe { std::mem::transmute::<Subscriber<'_>, Subscriber<'static>>(client) };
        Self {
            executor,
            keyspace,
            client,
            purpose,
            now_us,
            version: Version::Two,
            replicate: REPLICATE_ALL,
            read_only: false,
            allow_oom: false,
            wrote: false,
            slot: None,
        }
    }

    /// Applies what the script says about itself. `only_reads`: it was called by a command that must not write.
    pub fn restrict(&mut self, flags: ScriptFlags, only_reads: bool) {
        self.read_only = only_reads || flags.has(ScriptFlags::NO_WRITES);
        self.allow_oom = flags.has(ScriptFlags::ALLOW_OOM);
    }

    /// Gives the run that this thread is executing. Only functions that scripts call may ask.
    pub fn with<T>(ask: impl FnOnce(&mut Run) -> T) -> T {
        let run = CURRENT.get();
        assert!(!run.is_null(), "scripts' functions are called by running scripts only");
        // SAFETY: the pointer is set for as long as the run lives and its code runs; Lua calls one function at a time,
        // and none of them keeps the reference.
        ask(unsafe { &mut *run })
    }

    /// What commands are executed with.
    pub fn surroundings(&mut self) -> Surroundings<'_> {
        // SAFETY: `Run::new` was promised that they are there and that nobody else uses them meanwhile.
        unsafe {
            Surroundings {
                executor: &mut *self.executor,
                keyspace: &mut *self.keyspace,
                client: &mut self.client,
            }
        }
    }

    /// The generator of `math.random`.
    pub fn random(&mut self) -> &mut Lrand48 {
        &mut self.surroundings().executor.scripting.random
    }
}

/// The keys and arguments of a run.
pub struct Words<'a> {
    pub keys: &'a [&'a [u8]],
    pub args: &'a [&'a [u8]],
}

/// Runs a function that the machine keeps under `reference` and writes what it returns, or its error.
/// Tells whether an error reply was counted already.
pub fn run_function(
    vm: &mut Vm,
    reference: c_int,
    run: &mut Run,
    words: &Words<'_>,
    reply: &mut Reply,
) -> Counted {
    let lua = vm.lua();
    let before = lua.top();
    vm.push_handler();
    lua.push_kept(reference);
    lua.set_hook(Some(look_around), INSTRUCTIONS_PER_LOOK);
    push_words(lua, words.keys);
    let args = if run.purpose == Purpose::Scripts {
        set_global(lua, c"KEYS");
        push_words(lua, words.args);
        set_global(lua, c"ARGV");
        0
    } else {
        push_words(lua, words.args);
        2
    };
    let outer = CURRENT.replace(run);
    let done = lua.call(args, 1, before + 1);
    CURRENT.set(outer);
    vm.after_call();
    let mut counted = Counted::default();
    if done {
        write_value(lua, reply, run.version, &mut counted);
    } else {
        counted = write_failure(lua, reply);
    }
    lua.set_hook(None, 0);
    lua.set_top(before);
    counted
}

fn push_words(lua: Lua, words: &[&[u8]]) {
    lua.new_table(words.len(), 0);
    for (n, word) in (1..).zip(words) {
        lua.push_bytes(word);
        lua.raw_set_at(-2, n);
    }
}

/// Takes a value from the stack as a global, which scripts themselves cannot set.
fn set_global(lua: Lua, name: &std::ffi::CStr) {
    lua.set_read_only(GLOBALS, false);
    lua.push_bytes(name.to_bytes());
    lua.insert(-2);
    lua.raw_set(GLOBALS);
    lua.set_read_only(GLOBALS, true);
}

/// Writes the error value on the top of the stack.
fn write_failure(lua: Lua, reply: &mut Reply) -> Counted {
    if lua.kind(-1) != LUA_TTABLE {
        let text = if lua.is_string(-1) { lua.c_bytes(-1).unwrap_or_default() } else { b"execution failure" };
        reply.error_bytes(&[b"ERR Error running script, ", &text[..text.len().min(100)]].concat());
        return Counted::default();
    }
    let ErrorInformation { mut message, source, line, counted } = ErrorInformation::of(lua);
    if let (Some(source), Some(line)) = (source, line) {
        message.extend_from_slice(b" script: on ");
        message.extend_from_slice(&source);
        message.push(b':');
        message.extend_from_slice(&line);
        message.push(b'.');
    }
    reply.error_bytes(&message);
    Counted(counted)
}

/// Called every so many instructions.
unsafe extern "C" fn look_around(_: *mut lua_State) -> c_int {
    0
}
