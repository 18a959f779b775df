//! `redis.call` and `redis.pcall`: a command on behalf of the script's client.

use std::ffi::c_int;

use skuld::commands::Command;
use skuld::commands::spec::{DENYOOM, MAY_REPLICATE, NOSCRIPT, STALE, WRITE};
use skuld::commands::{Handler, refusals};
use skuld::effects::Audience;
use skuld::resp::{Protocol, Reply};
use skuld::slot::Slot;
use skuld::types::number::{F64Buffer, f64_as_i64};
use smallvec::SmallVec;

use super::api::push_error;
use super::convert::{Version, push_reply};
use super::lua::*;
use super::run::{REPLICATE_FILE, REPLICATE_REPLICAS, Run, Surroundings, give_up, look_soon};
use crate::access::gate::Asker;
use crate::batch::Batch;
use crate::clock;
use crate::command_log::{Finished, command_ended};
use crate::executor::Executor;
use crate::gate;
use crate::monitor::{self, Runner};
use crate::server_commands::pubsub::{self, Subscriber};
use crate::server_commands::{AtHand, Inside, debug_keys, migrate, run_inside};
use crate::slot_stats::slot_of_words;
use crate::stats::bump;

/// `redis.call`
pub unsafe extern "C" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    match command(lua) {
        Called::Answered => 1,
        Called::Failed => RAISE,
        Called::InVain => give_up(lua),
    }
}

/// `redis.pcall`
pub unsafe extern "C" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    match command(lua) {
        Called::Answered | Called::Failed => 1,
        Called::InVain => give_up(lua),
    }
}

/// How a call ended.
enum Called {
    /// The reply is pushed.
    Answered,
    /// An error value is pushed.
    Failed,
    /// The script is being run in vain.
    InVain,
}

type Words = SmallVec<[&'static [u8]; 8]>;

/// The arguments as words, which stay on the stack. On failure an error value is pushed.
fn words(lua: Lua) -> Option<Words> {
    let count = lua.top();
    if count == 0 {
        push_error(lua, b"Please specify at least one argument for this call");
        return None;
    }
    let mut words = Words::new();
    for index in 1..=count {
        match lua.kind(index) {
            LUA_TSTRING => {}
            LUA_TNUMBER => {
                let number = lua.number(index);
                match f64_as_i64(number) {
                    Some(integer) => lua.push_bytes(itoa::Buffer::new().format(integer).as_bytes()),
                    None => lua.push_bytes(F64Buffer::new().format_shortest(number)),
                }
                lua.replace(index);
            }
            _ => {
                push_error(lua, b"Command arguments must be strings or integers");
                return None;
            }
        }
        words.push(lua.bytes(index).unwrap_or_default());
    }
    Some(words)
}

/// Nanoseconds from which on a command counts as one that took long.
const LONG_NANOS: u64 = 50_000;

/// Runs the command and pushes its reply.
fn command(lua: Lua) -> Called {
    let Some(words) = words(lua) else { return Called::Failed };
    let called = run_command(lua, &words);
    look_soon(lua);
    called
}

fn run_command(lua: Lua, words: &[&[u8]]) -> Called {
    Run::with(|run| {
        let mut bytes = std::mem::take(&mut run.surroundings().executor.scripting.reply);
        bytes.clear();
        let protocol = match run.version {
            Version::Two => Protocol::Resp2,
            Version::Three => Protocol::Resp3,
        };
        let mut reply = Reply::with_buffer(bytes, protocol);
        execute(run, words, &mut reply);
        let bytes = reply.into_bytes();
        if run.debugger.as_ref().is_some_and(|debugger| debugger.tells_calls()) {
            tell_debugger(run, words, &bytes);
        }
        lua.set_top(0);
        let failed = push_reply(lua, &bytes);
        run.surroundings().executor.scripting.keep_reply(bytes);
        match failed {
            _ if run.is_abandoned() => Called::InVain,
            true => Called::Failed,
            false => Called::Answered,
        }
    })
}

#[cold]
fn tell_debugger(run: &mut Run, words: &[&[u8]], reply: &[u8]) {
    let (shown, problem) = as_debugged(run, words, reply);
    if let Some(debugger) = &mut run.debugger {
        debugger.tell_call(words, &shown, problem);
    }
}

/// Runs a command that the client of a debugged script asks for.
pub fn for_debugger(run: &mut Run, words: &[&[u8]]) -> (Vec<u8>, Option<Vec<u8>>) {
    let protocol = match run.version {
        Version::Two => Protocol::Resp2,
        Version::Three => Protocol::Resp3,
    };
    let mut reply = Reply::new(protocol);
    execute(run, words, &mut reply);
    as_debugged(run, words, &reply.into_bytes())
}

/// A reply as the debugger shows it: with what a client would have been told, and what the script is.
fn as_debugged(run: &mut Run, words: &[&[u8]], reply: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let Some(line) = reply.strip_prefix(b"-") else { return (reply.to_vec(), None) };
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let table = run.surroundings().executor.server.table;
    let name = || table.lookup_request(words).map_or("", |command| command.name);
    let told = match line.strip_prefix(b"ERR ".as_slice()) {
        Some(b"Unknown command called from script") => refusals::unknown_command(words),
        Some(b"Wrong number of args calling command from script") => {
            refusals::wrong_arity(name()).into_bytes()
        }
        Some(b"This Valkey command is not allowed from script") => {
            format!("ERR command '{}' is not allowed on script mode", name()).into_bytes()
        }
        // What the command itself answers is shown as it is.
        _ => return (reply.to_vec(), Some(reply.to_vec())),
    };
    ([b"-", told.as_slice(), b"\r\n"].concat(), Some(line[4..].to_vec()))
}

/// Refuses: the error is counted, and as a rejected call if the command is known.
fn refuse(run: &mut Run, command: Option<&'static Command>, reply: &mut Reply, line: &str) {
    reply.error(line);
    let executor = run.surroundings().executor;
    if let Some(command) = command {
        bump(&executor.commands[usize::from(command.id)].rejected, 1);
    }
    executor.server.stats.count_error(&reply.as_bytes()[1..]);
}

/// Refuses for lack of rights: that is how the error is counted, though the script is told a plain one.
fn refuse_access(run: &mut Run, command: &'static Command, reply: &mut Reply, reason: &[u8]) {
    reply.error_bytes(&[b"ERR ACL failure in script: ", reason].concat());
    let executor = run.surroundings().executor;
    bump(&executor.commands[usize::from(command.id)].rejected, 1);
    executor.server.stats.count_error(b"NOPERM ");
}

fn execute(run: &mut Run, words: &[&[u8]], reply: &mut Reply) {
    let table = run.surroundings().executor.server.table;
    let command = match table.lookup_request(words) {
        Ok(command) => command,
        Err(skuld::commands::table::Unresolved::Subcommand) => {
            reply.error_bytes(&skuld::commands::table::Unresolved::Subcommand.line(words));
            run.surroundings().executor.server.stats.count_error(&reply.as_bytes()[1..]);
            return;
        }
        Err(_) => return refuse(run, None, reply, "ERR Unknown command called from script"),
    };
    if !command.accepts(words.len()) {
        let line = "ERR Wrong number of args calling command from script";
        return refuse(run, Some(command), reply, line);
    }
    let all_allowed = |run: &mut Run| {
        run.surroundings().executor.server.scripts_may_call_all.load(std::sync::atomic::Ordering::Relaxed)
    };
    if command.flags.has(NOSCRIPT) && !all_allowed(run) {
        let line = "ERR This Valkey command is not allowed from script";
        return refuse(run, Some(command), reply, line);
    }
    if command.flags.has(DENYOOM)
        && !run.allow_oom
        && !run.wrote()
        && run.surroundings().executor.out_of_memory
    {
        let line = "OOM command not allowed when used memory > 'maxmemory'.";
        return refuse(run, Some(command), reply, line);
    }
    let request = run.request();
    if let Err(line) = asker(run).permit_script(command, words, request) {
        return refuse_access(run, command, reply, &line);
    }
    let writes = command.flags.has(WRITE);
    if run.read_only && command.flags.has_any(WRITE | MAY_REPLICATE) {
        let line = "ERR Write commands are not allowed from read-only scripts.";
        return refuse(run, Some(command), reply, line);
    }
    let executor = &*run.surroundings().executor;
    if !command.flags.has(STALE) && gate::role::is_stale(&executor.server, &executor.config) {
        let line = "ERR Can not execute the command on a stale replica";
        return refuse(run, Some(command), reply, line);
    }
    if let Err(line) = admit_in_cluster(run, command, words) {
        return refuse(run, Some(command), reply, &format!("ERR {line}"));
    }
    // One that has written already is not stopped half-way by what happens to the server.
    if !run.wrote() {
        let surroundings = run.surroundings();
        let origin = surroundings.client.session.origin;
        if let Some(error) = surroundings.executor.inner_write_refusal(command, origin) {
            return refuse(run, Some(command), reply, &error.to_string());
        }
    }
    if run.must_restart(command, words) {
        return reply.null();
    }
    if writes {
        run.will_write();
    }
    perform(run, command, words, reply);
}

/// The script's client, as the check of its rights sees it.
fn asker(run: &mut Run) -> Asker<'_> {
    let Surroundings { executor, client, .. } = run.surroundings();
    Asker { server: &executor.server, session: client.session, shared: client.shared }
}

/// In a cluster a script uses keys of one slot, which this node serves.
fn admit_in_cluster(run: &mut Run, command: &'static Command, words: &[&[u8]]) -> Result<(), String> {
    let mut slot = run.slot.filter(|_| !run.crosses_slots);
    if slot.is_none() && !run.crosses_slots {
        slot = declared_slot(run);
    }
    let Surroundings { executor, keyspace, client } = run.surroundings();
    if !executor.cluster.is_on() || !client.session.origin.is_client() || command.keys.is_empty() {
        return Ok(());
    }
    let Some(topology) = executor.cluster.refresh().cloned() else { return Ok(()) };
    let (config, session) = (&executor.config, &*client.session);
    let admitted =
        gate::cluster::admit_script_command(&topology, config, session, command, words, &mut slot, keyspace);
    run.slot = slot;
    admitted
}

/// The slot of the keys that the script was given, in a cluster.
fn declared_slot(run: &mut Run) -> Option<Slot> {
    let request = run.request();
    let executor = run.surroundings().executor;
    if !executor.cluster.is_on() {
        return None;
    }
    slot_of_words(executor.server.table.resolve(request).ok()?, request)
}

/// The clock that an inner command is told, Unix microseconds: it stands still, until the script has run for longer than
/// `busy-reply-threshold`. From then on TIME tells the real time, so that a script that waits by asking for it ends.
fn told_us(executor: &Executor, command: &Command, frozen_us: i64) -> i64 {
    if command.name != "time" {
        return frozen_us;
    }
    let now_us = clock::unix_us(clock::tick());
    let threshold_us = executor.config.busy_reply_threshold.saturating_mul(1000);
    let is_late = u64::try_from(now_us - frozen_us).is_ok_and(|ran_us| ran_us > threshold_us);
    if is_late { now_us } else { frozen_us }
}

fn perform(run: &mut Run, command: &'static Command, words: &[&[u8]], reply: &mut Reply) {
    let (now_us, replicate, crosses_slots) = (run.now_us, run.replicate, run.crosses_slots);
    let Surroundings { executor, keyspace, client } = run.surroundings();
    let start = clock::tick();
    executor.effects.propagation.audience = match replicate {
        REPLICATE_FILE => Audience::File,
        REPLICATE_REPLICAS => Audience::Replicas,
        _ => Audience::All,
    };
    match command.spec.handler {
        Handler::Engine(function) => {
            let listening = executor.effects.listening.propagation;
            executor.effects.listening.propagation &= replicate != 0;
            let now_us = told_us(executor, command, now_us);
            let moment = executor.moment(client.session, now_us);
            executor.invoke(keyspace, client.session, reply, (command, function), words, moment);
            executor.effects.listening.propagation = listening;
        }
        Handler::Server if pubsub::is_one(command) => {
            let client =
                Subscriber { session: client.session, shared: client.shared, subscribed: client.subscribed };
            let db = client.session.db;
            pubsub::execute(&executor.server, client, command, words, reply);
            if replicate & REPLICATE_REPLICAS != 0 && pubsub::is_propagated(&executor.server, command) {
                executor.effects.propagation.audience = Audience::Replicas;
                executor.effects.also_propagate(db, words);
            }
        }
        Handler::Server => {
            // What such a command could change of its client it may not change from a script.
            let (session, shared) = (client.session.clone(), client.shared.clone());
            let connection = shared.connection.clone();
            let mut batch = Batch::of_client(session, shared, connection);
            let args: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
            let is_done = command.name == "debug"
                && debug_keys::run_inside(executor, keyspace, &batch.session, &args, reply);
            if command.name == "migrate" {
                migrate::run_inside(executor, keyspace, batch.session.db, &args, reply);
            } else if !is_done {
                let shards = keyspace.parts().iter().map(|part| executor.describe(part)).collect();
                let at_hand = AtHand::of(command, keyspace.parts(), shards);
                run_inside(&executor.server, &mut batch, Inside { command, args, at_hand }, reply);
            }
        }
        _ => {
            let line =
                format!("ERR Command '{}' cannot be called from scripts by this version", command.name);
            reply.error(&line);
        }
    }
    executor.effects.propagation.audience = Audience::All;
    if let Some(cluster) = &executor.slot_stats {
        // The script counts for the slot of its last command, and for none if it may use several.
        let slot = slot_of_words(command, words);
        executor.counts_for = slot.filter(|_| !crosses_slots);
        if let Some(slot) = slot {
            cluster.slot_stats.add_out(slot, reply.len() as u64);
        }
    }
    if executor.monitoring {
        monitor::tell_of(&executor.server, Runner::Script { db: client.session.db }, command, words);
    }
    executor.tell_of_databases(keyspace);
    let stats = &executor.commands[usize::from(command.id)];
    let nanos = clock::nanos_between(start, clock::tick());
    stats.record(nanos, executor.config.latency_tracking);
    executor.called_by_scripts += 1;
    let owned = || words.iter().map(|word| word.to_vec()).collect();
    let figures = (nanos, reply.as_bytes().len());
    let finished = Finished::inside(client.session, command, figures, words, &owned);
    command_ended(&executor.server, &executor.config, &finished);
    if reply.take_errors() > 0 && reply.as_bytes().first() == Some(&b'-') {
        bump(&stats.failed, 1);
        executor.server.stats.count_error(&reply.as_bytes()[1..]);
    }
    run.took_long = nanos >= LONG_NANOS;
}

/// `redis.acl_check_cmd`
pub unsafe extern "C" fn acl_check_cmd(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with its state.
    let lua = unsafe { Lua::new(state) };
    let Some(words) = words(lua) else { return RAISE };
    let allowed = Run::with(|run| {
        let command = run.surroundings().executor.server.table.lookup_request(&words).ok()?;
        Some(asker(run).may_run(command, &words))
    });
    let Some(allowed) = allowed else {
        push_error(lua, b"Invalid command passed to server.acl_check_cmd()");
        return RAISE;
    };
    lua.push_boolean(allowed);
    1
}
