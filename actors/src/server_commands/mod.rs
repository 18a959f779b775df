//! Commands that need what belongs to actors: other clients, the configuration, figures of all shards. The
//! connection runs them between two batches; each is a barrier in its client's program order.

mod acl;
mod actor;
mod actor_info;
pub mod client;
mod client_filter;
mod cluster;
mod command_log;
mod config;
mod debug;
mod debug_cluster;
pub mod debug_keys;
pub mod info;
mod info_persistence;
mod info_server;
mod info_stats;
mod latency;
mod memory;
pub mod migrate;
mod module;
mod persistence;
pub mod pubsub;
pub mod replication;
mod slot_stats;
mod tracking;

pub use actor::{describe_shards, rows as actor_rows};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, Instant};

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::keyspace::Part;
use skuld::resp::Reply;
use skuld::slot::{SLOTS, Slot};

use crate::batch::Batch;
use crate::clock;
use crate::command_log::command_ended;
use crate::envelope::tell;
use crate::executor::settle_reply_mode;
use crate::gossip::key_counts;
use crate::migration;
use crate::monitor::{self, Runner};
use crate::scripting::debugger::apart;
use crate::server::ServerRef;
use crate::shard::{Control, Controlled, ShardDescription};
use crate::slot_stats::slot_of_words;

/// How far a server command got.
pub enum Ran {
    /// Its reply is in the batch.
    Now(Box<Batch>),
    /// It waits for other actors.
    Later(Pin<Box<dyn Future<Output = Box<Batch>>>>),
}

/// The request being run, its arguments copied so that it can outlive the batch's turn.
pub struct Request {
    pub server: ServerRef,
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
    pub reply: Reply,
    /// Where the command's own reply begins in `reply`.
    from: usize,
    /// Runs inside a transaction or a script: nothing can be waited for. What is known of the shards concerned.
    inside: Option<AtHand>,
    /// How long its client was blocked: no time that the command took.
    pub waited_nanos: u64,
}

/// What is known of the shards whose tables are at hand, without asking them.
pub struct AtHand {
    /// Their figures.
    pub shards: Vec<ShardDescription>,
    /// Keys of each of their slots, in all databases, for commands that ask for them.
    pub slot_keys: Vec<(Slot, u64)>,
}

impl AtHand {
    /// Looks at these parts for a command.
    pub fn of(command: &Command, parts: &[Part], shards: Vec<ShardDescription>) -> Self {
        let mut slot_keys = Vec::new();
        if matches!(command.name, "cluster|setslot" | "cluster|slot-stats") {
            let slots = (0..SLOTS as u16).map(Slot);
            slot_keys.extend(slots.filter_map(|slot| {
                parts.iter().find(|part| part.owns(slot)).map(|part| (slot, part.keys_in_slot(slot)))
            }));
        }
        Self { shards, slot_keys }
    }
}

/// A server command of a transaction or a script.
pub struct Inside {
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
    pub at_hand: AtHand,
}

/// The result of a server command: its reply is in the request's writer, or it is refused.
pub type Outcome = Result<(), CommandError>;

impl Request {
    /// Takes out the replies of the commands before this one, to be sent while this one waits.
    pub fn take_replies(&mut self) -> Vec<u8> {
        let protocol = self.reply.protocol();
        let mut earlier = std::mem::replace(&mut self.reply, Reply::new(protocol)).into_bytes();
        self.reply.raw(&earlier.split_off(self.from));
        self.from = 0;
        earlier
    }

    /// The figures of all shards, as far as they can be had without waiting if nothing can be waited for.
    async fn describe_shards(&self) -> Vec<ShardDescription> {
        match &self.inside {
            Some(at_hand) => at_hand.shards.clone(),
            None => describe_shards(&self.server).await,
        }
    }

    /// Keys of each of these slots, in all databases.
    async fn slot_keys(&self, slots: Vec<Slot>) -> Vec<(Slot, u64)> {
        match &self.inside {
            None => key_counts(&self.server, slots).await,
            Some(at_hand) => {
                let counts = &at_hand.slot_keys;
                let count = |slot: &Slot| counts.binary_search_by_key(slot, |(slot, _)| *slot).ok();
                slots.iter().filter_map(|slot| count(slot).map(|at| counts[at])).collect()
            }
        }
    }

    /// Runs inside a transaction or a script: nothing can be waited for.
    pub fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Argument `index` in lower case, for subcommand dispatch.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Runs request `next` of the batch.
pub fn run(server: ServerRef, mut batch: Box<Batch>) -> Ran {
    let args = batch.owned_args(batch.next);
    let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let Ok(command) = skuld::commands::check::admit(server.table, &words, &batch.session) else {
        // The shard admitted it a moment ago; only the session could have changed, and it did not.
        return Ran::Now(batch);
    };
    let from = batch.output.len();
    let reply = Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
    let request = Request { server, command, args, reply, from, inside: None, waited_nanos: 0 };
    let start = clock::tick();
    // CLIENT LIST shows what a client is running, itself included.
    batch.shared.last_command.store(u32::from(command.id), std::sync::atomic::Ordering::Relaxed);
    Ran::Later(Box::pin(async move {
        let mut request = request;
        let result = dispatch(&mut request, &mut batch).await;
        let from = request.from;
        if let Err(error) = &result {
            request.reply.truncate(from);
            error.write_to(&mut request.reply);
        }
        let errors = request.reply.take_errors();
        batch.output = request.reply.into_bytes();
        let config = request.server.config.load();
        let nanos = clock::nanos_between(start, clock::tick()).saturating_sub(request.waited_nanos);
        let id = request.command.id;
        let tracked = config.latency_tracking;
        request.server.stats.record_server_command(usize::from(id), nanos, errors > 0, tracked);
        if batch.session.tracking.caching && !request.command.name.starts_with("client|") {
            batch.session.tracking.caching = false;
        }
        batch.last_command = id;
        batch.commands_run += 1;
        let words = || request.args.clone();
        let finished = batch.finished(request.command, nanos, batch.output.len() - from, &words);
        command_ended(&request.server, &config, &finished);
        if errors > 0 {
            request.server.stats.count_error(&batch.output[from + 1..]);
            batch.note_import_error(from, request.command.name);
        }
        if request.server.monitors.any() {
            let words: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
            monitor::tell_of(&request.server, Runner::Client(&batch.session), request.command, &words);
        }
        let unwanted_from =
            if pubsub::replies_are_pushes(request.command) { batch.output.len() } else { from };
        settle_reply_mode(&mut batch.output, unwanted_from, &mut batch.session);
        if let Some(cluster) = &request.server.cluster
            && config.cluster_slot_stats_enabled
        {
            let words: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
            if let Some(slot) = slot_of_words(request.command, &words) {
                cluster.slot_stats.add_time(slot, nanos);
                cluster.slot_stats.add_in(slot, batch.request_bytes(batch.next));
                cluster.slot_stats.add_out(slot, (batch.output.len() - from.min(batch.output.len())) as u64);
            }
        }
        batch
    }))
}

/// Runs a server command at once, where it runs: inside a transaction or a script, on the thread of a shard. Nearly all of
/// them need nobody else for their reply; one that does is refused. The reply, or the error, is appended to `reply`. The caller
/// counts the command and checks whether it is allowed there.
pub fn run_inside(server: &ServerRef, batch: &mut Batch, inside: Inside, reply: &mut Reply) {
    let Inside { command, args, at_hand } = inside;
    let from = reply.len();
    let reply_so_far = std::mem::replace(reply, Reply::new(batch.session.protocol));
    let mut request = Request {
        server: server.clone(),
        command,
        args,
        reply: reply_so_far,
        from,
        inside: Some(at_hand),
        waited_nanos: 0,
    };
    let outcome = {
        let mut future = std::pin::pin!(dispatch(&mut request, batch));
        let polled = if asks_the_node(command) {
            poll_for(future.as_mut(), NODE_ANSWERS_MAX)
        } else if waits_inside(command) {
            let limited = tokio::time::timeout(OTHERS_ANSWER_MAX, future.as_mut());
            wait_inside(limited).and_then(Result::ok).map_or(Poll::Pending, Poll::Ready)
        } else {
            future.as_mut().poll(&mut Task::from_waker(Waker::noop()))
        };
        match polled {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(CommandError::text(format!(
                "ERR Command '{}' waits for other parts of the server and cannot run inside a transaction or a script",
                command.name
            ))),
        }
    };
    if let Err(error) = &outcome {
        request.reply.truncate(from);
        error.write_to(&mut request.reply);
    }
    *reply = request.reply;
    reply.set_protocol(batch.session.protocol);
}

/// Longest that a transaction or script waits for the node of the cluster, which has a thread of its own. It answers
/// within microseconds, unless its role is just changing: for that it needs the shards.
const NODE_ANSWERS_MAX: Duration = Duration::from_millis(100);

/// Longest that a command of a transaction waits for other actors than shards.
const OTHERS_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Whether the command waits, inside a transaction or a script, for others that need no keys to answer.
pub fn waits_inside(command: &Command) -> bool {
    matches!(command.name, "config|set" | "failover" | "migrate")
}

/// Waits for a future with the keys of a transaction or a script in hand: between two looks the thread is handed back, so
/// that whoever is waited for can work on it. None if the command has no stack of its own.
pub fn wait_inside<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            return Some(done);
        }
        if !crate::scripting::hand_back() {
            return None;
        }
    }
}

/// Whether the command needs the node of the cluster and nobody else.
fn asks_the_node(command: &Command) -> bool {
    command.name.starts_with("cluster|") || command.name == "debug"
}

/// Wakes a thread that waits in [`poll_for`].
struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread, for so long at most.
fn poll_for<T>(mut future: Pin<&mut impl Future<Output = T>>, limit: Duration) -> Poll<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let end = Instant::now() + limit;
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Task::from_waker(&waker)) {
            return Poll::Ready(done);
        }
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::park_timeout(left),
            _ => return Poll::Pending,
        }
    }
}

/// Has every shard do something, and waits until all have done it.
pub async fn tell_all_shards(server: &ServerRef, what: Controlled) {
    for answer in send_to_all_shards(server, what) {
        // A shard ends only with the process.
        let _ = answer.await;
    }
}

/// Like [`tell_all_shards`] for a command; inside a transaction or a script, where a shard runs it, it does not wait.
async fn ask_all_shards(request: &Request, what: Controlled) {
    if request.inside.is_some() {
        send_to_all_shards(&request.server, what);
    } else {
        tell_all_shards(&request.server, what).await;
    }
}

fn send_to_all_shards(server: &ServerRef, what: Controlled) -> Vec<tokio::sync::oneshot::Receiver<()>> {
    let send = |shard| {
        let (done, answer) = tokio::sync::oneshot::channel();
        tell(shard, Control { what, done });
        answer
    };
    server.shards().iter().map(send).collect()
}

async fn dispatch(request: &mut Request, batch: &mut Batch) -> Outcome {
    let name = request.command.spec.name;
    if migration::command::is_one(name) {
        return migration::command::run(request, batch).await;
    }
    match name.split('|').next().unwrap_or(name) {
        "acl" => acl::run(request, batch),
        "actor" => actor::run(request, batch).await,
        "client" => client::run(request, batch).await,
        "cluster" => cluster::run(request, batch).await,
        "commandlog" | "slowlog" => command_log::run(request),
        "config" => config::run(request, batch).await,
        "debug" => debug::run(request, batch).await,
        "eval" | "eval_ro" => apart::run(request, batch).await,
        "info" => info::run(request).await,
        "bgrewriteaof" => persistence::rewrite_aof(request).await,
        "bgsave" => persistence::background_save(request).await,
        "save" => persistence::save(request).await,
        "lastsave" => persistence::last_save(request),
        "monitor" => begin_monitoring(request, batch),
        "latency" => latency::run(request),
        "memory" => memory::run(request).await,
        "migrate" => migrate::run(request, batch).await,
        "module" => module::run(request, batch),
        "failover" | "psync" | "replconf" | "replicaof" | "role" | "slaveof" | "sync" | "wait"
        | "waitaof" => replication::run(request, batch).await,
        "reset" => pubsub::reset(request, batch).await,
        "shutdown" => crate::shutdown::command(request, batch).await,
        _ if pubsub::is_one(request.command) => pubsub::run(request, batch).await,
        _ => Err(CommandError::text(format!("ERR the command '{name}' is not connected to the server yet"))),
    }
}

/// MONITOR. Asked for once more it says nothing.
fn begin_monitoring(request: &mut Request, batch: &mut Batch) -> Outcome {
    if request.inside.is_some() {
        return Err(CommandError::fixed("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if !batch.session.monitoring {
        batch.session.monitoring = true;
        request.server.monitors.add(&batch.shared);
        request.reply.ok();
    }
    Ok(())
}
