//! One run of a script or function: what it may do, and whom it acts for.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use skuld::scripting::ScriptFlags;
use skuld::scripting::random::Lrand48;
use skuld::slot::Slot;

use super::api::push_error;
use super::convert::{Counted, ErrorInformation, Version, write_value};
use super::debugger::{self, Debugger};
use super::lua::*;
use super::running::Running;
use super::suspension;
use super::vm::{Purpose, Vm};
use crate::clock::{self, Tick};
use crate::executor::Executor;
use crate::server_commands::pubsub::Subscriber;

/// Effects go to the append-only file and to replicas.
pub const REPLICATE_ALL: u8 = REPLICATE_FILE | REPLICATE_REPLICAS;
pub const REPLICATE_FILE: u8 = 1;
pub const REPLICATE_REPLICAS: u8 = 2;

/// Instructions between two looks at the clock.
const INSTRUCTIONS_PER_LOOK: c_int = 10_000;

/// How long a script runs before it hands its thread back, the first time and later, microseconds. Moving its slots
/// out costs something, so short scripts are left alone.
const FIRST_SLICE_US: u64 = 2000;
const SLICE_US: u64 = 500;

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
    /// A command that was called took long: instructions say little about how long the script has run.
    pub took_long: bool,
    pub read_only: bool,
    pub allow_oom: bool,
    /// A write command was called.
    wrote: bool,
    /// The slot of the keys used so far, in a cluster.
    pub slot: Option<skuld::slot::Slot>,
    /// Keys of other slots may be used too.
    pub crosses_slots: bool,
    started: Tick,
    /// When the thread was given to it, this time.
    slice_started: Tick,
    /// The slots whose keys it may read; None: it may do all.
    confined: Option<Vec<Slot>>,
    /// It needed more, and what it does is of no consequence any more.
    abandoned: bool,
    /// How others see it, once they can.
    running: Option<Arc<Running>>,
    /// Its client stops it at lines. Nobody while the client asks for something.
    pub debugger: Option<Box<Debugger>>,
    debugged: bool,
    lines_run: u32,
    /// The script's or function's name, and the request.
    name: &'static [u8],
    request: &'static [&'static [u8]],
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
    /// Executor, keyspace, client, name and request must stay where they are until the run is over, and nobody else may
    /// use the first three while the script's code runs.
    pub unsafe fn new(
        executor: *mut Executor,
        keyspace: *mut Keyspace,
        client: Subscriber<'_>,
        purpose: Purpose,
        now_us: i64,
        (name, request): (&[u8], &[&[u8]]),
    ) -> Self {
        // SAFETY: only lifetimes change; the caller promises that all these outlive the run.
        let (client, name, request) = unsafe {
            (
                std::mem::transmute::<Subscriber<'_>, Subscriber<'static>>(client),
                std::mem::transmute::<&[u8], &'static [u8]>(name),
                std::mem::transmute::<&[&[u8]], &'static [&'static [u8]]>(request),
            )
        };
        let started = clock::tick();
        Self {
            executor,
            keyspace,
            client,
            purpose,
            now_us,
            version: Version::Two,
            replicate: REPLICATE_ALL,
            took_long: false,
            read_only: false,
            allow_oom: false,
            wrote: false,
            slot: None,
            crosses_slots: false,
            started,
            slice_started: started,
            // SAFETY: the caller vouches for the executor.
            confined: unsafe { (*executor).scripting.confined.take() },
            abandoned: false,
            running: None,
            debugger: None,
            debugged: false,
            lines_run: 0,
            name,
            request,
        }
    }

    /// Applies what the script says about itself. `only_reads`: it was called by a command that must not write.
    pub fn restrict(&mut self, flags: ScriptFlags, only_reads: bool) {
        self.read_only = only_reads || flags.has(ScriptFlags::NO_WRITES);
        self.allow_oom = flags.has(ScriptFlags::ALLOW_OOM);
        self.crosses_slots = flags.has(ScriptFlags::ALLOW_CROSS_SLOT) || flags.has(ScriptFlags::UNDECLARED);
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

    /// The request that runs the script.
    pub fn request(&self) -> &'static [&'static [u8]] {
        self.request
    }

    /// Whether a write command was called.
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// A write command is about to be called: from now on the script cannot be stopped.
    pub fn will_write(&mut self) {
        if !self.wrote {
            self.wrote = true;
            if let Some(running) = &self.running {
                running.wrote.store(true, Ordering::Release);
            }
        }
    }

    /// Whether a call needs more than the script has. Then the script is to be run again, with all keys.
    pub fn must_restart(&mut self, command: &'static Command, words: &[&[u8]]) -> bool {
        let leaves = |slots: &Vec<Slot>| crate::routing::leaves(command, words, slots);
        if !self.abandoned && self.confined.as_ref().is_some_and(leaves) {
            self.abandoned = true;
            self.surroundings().executor.scripting.restart = true;
        }
        self.abandoned
    }

    /// Whether the script is being run in vain.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Counts a line of a script that is debugged; true once in `many`.
    pub fn counts_line(&mut self, many: u32) -> bool {
        self.lines_run = self.lines_run.wrapping_add(1);
        self.lines_run.is_multiple_of(many)
    }

    /// Whether the thread should be handed back.
    fn is_due(&self, now: Tick) -> bool {
        let limit = if self.running.is_none() { FIRST_SLICE_US } else { SLICE_US };
        clock::micros_between(self.slice_started, now) >= limit
    }

    /// Lets others see the script before the thread is handed back.
    fn show(&mut self, now: Tick) {
        if self.running.is_none() {
            let words = self.request.iter().map(|word| word.to_vec()).collect();
            let origin = self.client.session.origin;
            let running =
                Running::new(self.purpose, self.name.to_vec(), words, self.started, origin, self.wrote);
            let running = Arc::new(running);
            let executor = self.surroundings().executor;
            executor.server.scripts.add_running(&running);
            executor.scripting.running = Some(Arc::clone(&running));
            self.running = Some(running);
        }
        let started = self.started;
        let Some(running) = self.running.clone() else { return };
        let executor = self.surroundings().executor;
        let threshold = executor.server.config.load().busy_reply_threshold;
        if threshold > 0 && clock::micros_between(started, now) / 1000 >= threshold {
            executor.server.scripts.time_out(&running);
        }
    }

    /// The thread is back. True if the script was killed meanwhile.
    fn resumed(&mut self) -> bool {
        self.slice_started = clock::tick();
        !self.wrote && self.running.as_ref().is_some_and(|r| r.killed.load(Ordering::Acquire))
    }

    /// Nobody needs to see it any more.
    fn hide(&mut self) {
        if let Some(running) = self.running.take() {
            let executor = self.surroundings().executor;
            executor.server.scripts.remove_running(&running);
            executor.scripting.running = None;
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
    run.debugged = run.debugger.is_some();
    if run.debugged {
        lua.set_hook(Some(debugger::at_line), 0);
    } else {
        lua.set_hook(Some(look_around), INSTRUCTIONS_PER_LOOK);
    }
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
    run.hide();
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

/// After a command that took long: has the next instruction look at the clock, unless the script is ending.
pub fn look_soon(lua: Lua) {
    let wanted = Run::with(|run| {
        let ends = run.running.as_ref().is_some_and(|r| r.killed.load(Ordering::Acquire));
        std::mem::take(&mut run.took_long)
            && !run.debugged
            && !ends
            && !run.is_abandoned()
            && run.is_due(clock::tick())
    });
    if wanted {
        lua.set_hook(Some(look_around), 1);
    }
}

/// Called every so many instructions: hands the thread back when its time is over.
unsafe extern "C" fn look_around(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    lua.set_hook(Some(look_around), INSTRUCTIONS_PER_LOOK);
    take_turns(lua)
}

/// From now on the script is not debugged any more.
pub fn watch_instructions(lua: Lua) {
    Run::with(|run| run.debugged = false);
    lua.set_hook(Some(look_around), INSTRUCTIONS_PER_LOOK);
}

/// Hands the thread back if the script's time is over. What a hook returns.
pub fn take_turns(lua: Lua) -> c_int {
    let now = clock::tick();
    if !Run::with(|run| run.is_due(now)) {
        return 0;
    }
    Run::with(|run| run.show(now));
    hand_back();
    if !Run::with(Run::resumed) {
        return 0;
    }
    // From now on at every line, so that `pcall` does not keep the script alive.
    lua.set_hook(Some(die), 0);
    tracing::info!("<module> {}", killed_by(Run::with(|run| run.purpose)));
    // SAFETY: the state is that of the script which is running.
    unsafe { die(lua.raw()) }
}

/// Hands the thread back in the middle of a command that has a stack of its own. False if it has none.
pub fn hand_back() -> bool {
    if !suspension::is_possible() {
        return false;
    }
    let run = CURRENT.replace(std::ptr::null_mut());
    suspension::suspend();
    CURRENT.set(run);
    true
}

/// Raises an error in a script that is being run in vain, at every line from now on.
pub fn give_up(lua: Lua) -> c_int {
    lua.set_hook(Some(die), 0);
    push_error(lua, b"to be run again");
    RAISE
}

/// Raises the error of a script that was killed, or is being run in vain.
unsafe extern "C" fn die(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    push_error(lua, killed_by(Run::with(|run| run.purpose)).as_bytes());
    RAISE
}

fn killed_by(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Scripts => "Script killed by user with SCRIPT KILL.",
        Purpose::Functions => "Script killed by user with FUNCTION KILL.",
    }
}
