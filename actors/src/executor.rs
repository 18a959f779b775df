//! Runs one command of the engine: checks that hold where a command executes, the clock, the counters. Used by a
//! shard on its own keyspace and by units on the parts they gathered.

pub mod admission;
mod caching;
mod calm;
pub mod prefetch;
mod transactions;

use std::sync::Arc;

pub use calm::{Calm, RanCalmly};
use skuld::acl::log::Context as RefusalContext;
use skuld::commands::Command;
use skuld::commands::context::{CommandError, Context, NodeOfCluster};
use skuld::commands::spec::{ARBITRARY_KEYS, BLOCKING, SKIP_MONITOR, WRITE};
use skuld::commands::{EngineFn, Handler};
use skuld::config::{Config, PropagationErrorBehavior};
use skuld::effects::{DatabaseChange, Effects, Grouping, Modified, Propagation};
use skuld::eviction::Chooser;
use skuld::expiry::rules::Situation;
use skuld::expiry::wheel::Popped;
use skuld::keyspace::access::PlaceHint;
use skuld::keyspace::part::unpack_deadline;
use skuld::keyspace::{Access, ExpiryRules, Keyspace, Part, Touch};
use skuld::resp::Reply;
use skuld::rng::Rng;
use skuld::session::{Origin, ReplyMode, Session};
use skuld::slot::Slot;

use crate::access;
use crate::access::gate::Asker;
use crate::batch::Batch;
use crate::client_eviction;
use crate::clock::{self, Tick};
use crate::command_log::command_ended;
use crate::gate;
use crate::gate::cluster::ClusterView;
use crate::gossip::ClusterShared;
use crate::monitor::{self, Runner};
use crate::output_limit;
use crate::replication::{Replication, bit};
use crate::scripting::Counted;
use crate::server::ServerRef;
use crate::server_commands::pubsub;
use crate::shard::ShardDescription;
use crate::slot_stats;
use crate::stats::CommandStats;

/// What running commands needs beside a keyspace. One per shard.
pub struct Executor {
    pub server: ServerRef,
    pub config: Arc<Config>,
    users: access::gate::Known,
    /// Somebody caches what it reads.
    tracks: bool,
    /// What the command being run has changed so far, for those who track by prefix.
    changed: Vec<Modified>,
    /// The command being run has emptied a database.
    flushed: bool,
    /// How many of the changes of databases those who track have been told of already.
    flushes_told: usize,
    /// What the command being run has to tell its own client, behind its reply.
    pushes: Vec<u8>,
    pub effects: Effects,
    pub rng: Rng,
    pub commands: Arc<[CommandStats]>,
    /// Who serves which slots.
    pub cluster: ClusterView,
    /// Memory is full and nothing may give way: commands that may need more are refused.
    pub out_of_memory: bool,
    /// Where costs are counted by slot, if they are.
    pub slot_stats: Option<Arc<ClusterShared>>,
    /// The slot that the command being run counts for.
    pub counts_for: Option<Slot>,
    /// Slots of this shard are being exported: effects are recorded.
    pub exporting: bool,
    /// So are slots whose tables a unit has brought here.
    pub exporting_elsewhere: bool,
    /// Slots of this shard are being exported or are frozen: some commands may have to wait.
    pub migrating: bool,
    /// Slots of this shard are frozen: expired keys are hidden, not removed.
    pub frozen: bool,
    /// We follow a primary.
    pub is_replica: bool,
    /// The state of the server may forbid some commands: each is looked at.
    gates_closed: bool,
    /// The Lua machines.
    pub scripting: crate::scripting::Engine,
    /// Somebody monitors.
    pub monitoring: bool,
    /// A blocked client's command runs again; it was shown to monitors when it blocked.
    pub runs_again: bool,
    /// A command has emptied all databases, and nobody has acted upon it yet.
    pub flushed_all: bool,
    /// Commands that scripts have run and that are not counted for their client yet.
    pub called_by_scripts: u32,
    chooser: Chooser,
    /// The plain command that was run last.
    latest: calm::Latest,
    /// Arguments of the command being run; kept to reuse its capacity.
    args: Vec<&'static [u8]>,
    /// Windows that no batch needs now.
    windows: Vec<prefetch::Window>,
}

/// When a command is called, and what follows from that.
#[derive(Clone, Copy)]
pub struct Moment {
    /// The frozen clock, Unix microseconds.
    now_us: i64,
    /// Where the command's key is, if that is known.
    hint: Option<PlaceHint>,
    rules: ExpiryRules,
    touch: Touch,
}

/// What the executor says about the next request of a batch.
pub enum Resolved {
    /// An engine command whose checks passed.
    Run(&'static Command),
    /// To be run by the connection; its checks passed.
    Server(&'static Command),
    /// Refused; the error reply is written.
    Refused,
}

impl Executor {
    pub fn new(server: ServerRef, commands: Arc<[CommandStats]>, seed: u64) -> Self {
        let config = server.config.load_full();
        let users = access::gate::Known::new(&server);
        Self {
            cluster: ClusterView::new(&server),
            slot_stats: counted_by_slot(&server, &config),
            counts_for: None,
            server,
            config,
            users,
            tracks: false,
            changed: Vec::new(),
            flushed: false,
            flushes_told: 0,
            pushes: Vec::new(),
            effects: Effects::default(),
            rng: Rng::new(seed),
            commands,
            out_of_memory: false,
            exporting: false,
            exporting_elsewhere: false,
            migrating: false,
            frozen: false,
            is_replica: false,
            gates_closed: true,
            scripting: crate::scripting::Engine::default(),
            monitoring: false,
            runs_again: false,
            flushed_all: false,
            called_by_scripts: 0,
            chooser: Chooser::default(),
            latest: calm::Latest::default(),
            args: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// Another for the shard, for as long as this one is with a suspended command.
    pub fn stand_in(&mut self) -> Self {
        let seed = self.rng.next_u64();
        let mut other = Self::new(self.server.clone(), Arc::clone(&self.commands), seed);
        other.heed_like(self);
        other.refresh();
        other
    }

    /// Heeds the same migrations as another one.
    pub fn heed_like(&mut self, other: &Self) {
        (self.exporting, self.migrating, self.frozen) = (other.exporting, other.migrating, other.frozen);
    }

    /// Takes the configuration of now; called once per batch slice.
    pub fn refresh(&mut self) {
        let flags = self.server.replication.flags();
        self.effects.listening.propagation =
            self.exporting || self.exporting_elsewhere || Replication::records_effects(flags);
        let record = flags & bit::TESTS != 0;
        self.is_replica = flags & (bit::REPLICA | bit::BECOMING_REPLICA) != 0;
        self.tracks = self.server.tracking.any();
        self.effects.listening.modified = self.tracks || self.server.watches.any();
        self.monitoring = self.server.monitors.any();
        self.effects.listening.waiting = self.server.blocked.any_on_keys();
        self.effects.listening.waiting_for_loss = self.server.blocked.any_on_loss();
        if self.server.exports.any() || self.effects.exports.active {
            self.refresh_exports();
        }
        let current = self.server.config.load();
        if !Arc::ptr_eq(&current, &self.config) {
            self.config = Arc::clone(&current);
            self.slot_stats = counted_by_slot(&self.server, &current);
            // What may be evicted may be something else now.
            self.server.eviction.forget();
        }
        self.gates_closed =
            self.is_replica || self.config.min_replicas_to_write > 0 || gate::may_refuse(&self.server);
        self.effects.listening.events = match self.config.notify_keyspace_events.0 {
            // Whoever asks for events (ACTOR EVENTS) without having chosen any gets all.
            0 if record => u32::MAX,
            chosen if record || self.server.subscriptions.any() => chosen,
            _ => 0,
        };
    }

    /// Whether `maxmemory` is ours to keep: on a replica the primary's deletions do.
    #[inline]
    pub fn minds_memory(&self) -> bool {
        self.config.maxmemory != 0 && !(self.is_replica && self.config.replica_ignore_maxmemory)
    }

    /// How expired keys look to a client now.
    pub fn rules(&self, session: &Session) -> ExpiryRules {
        rules(&self.config, session, self.is_replica, self.frozen || self.server.pause.freezes_keys())
    }

    /// Answers the batch's next request with an array whose elements are encoded already, in chunks.
    pub fn reply_array(
        &mut self,
        batch: &mut Batch,
        command: &'static Command,
        count: usize,
        chunks: Vec<Vec<u8>>,
    ) {
        self.commands[usize::from(command.id)].record(0, false);
        if batch.session.reply_mode != ReplyMode::On {
            let from = batch.output.len();
            return settle_reply_mode(&mut batch.output, from, &mut batch.session);
        }
        let mut reply = Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
        reply.array(count);
        batch.finished.push(reply.into_bytes());
        batch.finished.extend(chunks);
    }

    fn count_error(&self, command: &Command, line: &[u8]) {
        if matches!(command.spec.handler, Handler::Script) {
            self.server.stats.count_error_of_script(line);
        } else {
            self.server.stats.count_error(line);
        }
    }

    /// Runs the batch's next request, which [`Executor::resolve`] admitted, on `keyspace`. `at` is when the command
    /// before it ended; returns when this one did.
    pub fn run(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &mut Batch,
        command: &'static Command,
        at: Tick,
    ) -> Tick {
        let now_us = clock::unix_us(at);
        let from = batch.output.len();
        let mut reply = Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
        reply.limit_to(output_limit::reply_bytes_max(&self.config, &batch.session));
        let mut counted = Counted::default();
        let replicated = (self.effects.propagation.commands.len(), self.effects.propagation.bytes.len());
        if self.slot_stats.is_some() {
            self.counts_for = gate::cluster::slot_of_next(&self.server, batch);
        }
        if let Handler::Engine(function) = command.spec.handler {
            let moment = Moment { hint: batch.hint(), ..self.moment(&batch.session, now_us) };
            let mut store = std::mem::take(&mut self.args);
            let args = borrow_args(&mut store, &batch.input, batch.requests.args(batch.next));
            self.effects.may_wait = command.flags.has(BLOCKING) && batch.session.origin.is_client();
            self.invoke(keyspace, &mut batch.session, &mut reply, (command, function), args, moment);
            self.effects.may_wait = false;
            if command.flags.has(ARBITRARY_KEYS) {
                self.effects.propagation.close_group(Grouping::Apart);
            } else {
                self.effects.propagation.close_group(Grouping::Together);
            }
            store.clear();
            self.args = store;
            if batch.transaction.is_queueing() && command.name == "reset" {
                batch.transaction.queue = None;
            }
            if command.name == "reset" && !batch.transaction.watched.is_empty() {
                batch.transaction.unwatch();
            }
        } else if matches!(command.spec.handler, Handler::Script) {
            if self.monitoring && tells_of_itself(command) {
                self.show(batch, command, monitor::tell_of_any);
            }
            counted = self.run_script(keyspace, batch, &mut reply, command, now_us);
        } else {
            self.run_transaction(keyspace, batch, &mut reply, command, now_us);
        }
        if self.monitoring && !self.runs_again && !self.scripting.restart {
            self.show(batch, command, monitor::tell_of);
        }
        if self.effects.wait.is_some() || self.scripting.restart {
            // It will run again, and is counted then.
            batch.output = reply.into_bytes();
            batch.output.truncate(from);
            batch.shared.last_command.store(u32::from(command.id), std::sync::atomic::Ordering::Relaxed);
            return clock::tick();
        }
        self.note_flush();
        self.tell_of_databases(keyspace);
        let config: &Config = &self.config;
        let errors = reply.take_errors();
        batch.output = reply.into_bytes();
        if errors > 0 && batch.session.origin.errors_are_critical() {
            say_critical(batch, Some(command), from, config.propagation_error_behavior);
        }
        let (end, nanos) = self.count(batch, command, (from, errors, counted.0), at);
        if batch.session.reply_mode != ReplyMode::On {
            settle_reply_mode(&mut batch.output, from, &mut batch.session);
        }
        if let (Some(cluster), Some(slot)) = (&self.slot_stats, self.counts_for.take()) {
            let stats = &cluster.slot_stats;
            let with_exec = if command.name == "exec" { slot_stats::MULTI_BYTES } else { 0 };
            stats.add_time(slot, nanos);
            stats.add_in(slot, batch.request_bytes(batch.next) + with_exec);
            if batch.session.origin.is_client() {
                stats.add_out(slot, (batch.output.len() - from) as u64);
            }
            let Propagation { commands, bytes, .. } = &self.effects.propagation;
            let (commands, bytes) = (commands.len() - replicated.0, bytes.len() - replicated.1);
            slot_stats::add_replicated(&self.server, stats, slot, commands, bytes);
        }
        if self.tracks {
            self.settle_tracking(batch, command);
        }
        if self.config.maxmemory_clients != 0 && batch.session.origin.is_client() {
            client_eviction::note_batch(&self.server, &batch.shared, batch.reply_memory());
        }
        end
    }

    /// Counts a command that began at `at` and has just ended: its reply is in the output behind `from`, with so many
    /// errors, which a script may have counted already. Returns when it ended and the nanoseconds it took.
    #[inline]
    fn count(
        &mut self,
        batch: &mut Batch,
        command: &'static Command,
        (from, errors, counted): (usize, u32, bool),
        at: Tick,
    ) -> (Tick, u64) {
        let config: &Config = &self.config;
        let end = clock::tick();
        let stats = &self.commands[usize::from(command.id)];
        if errors > 0 {
            crate::stats::bump(&stats.failed, 1);
            if !counted {
                self.count_error(command, &batch.output[from + 1..]);
            }
            if let Some((user, word)) = batch.session.failed_login.take() {
                let exec = command.name == "exec";
                let context = if exec { RefusalContext::Multi } else { RefusalContext::Toplevel };
                let asker = Asker { server: &self.server, session: &batch.session, shared: &batch.shared };
                batch.shared.last_command.store(u32::from(command.id), std::sync::atomic::Ordering::Relaxed);
                asker.login_failed(user, word, context);
            }
            batch.note_import_error(from, command.name);
        }
        let nanos = clock::nanos_between(at, end);
        stats.record(nanos, config.latency_tracking);
        if nanos >= crate::slow::LONG_COMMAND_NANOS {
            crate::slow::note_command(command.spec.name, nanos);
        }
        batch.last_command = command.id;
        batch.commands_run += 1 + std::mem::take(&mut self.called_by_scripts);
        let reply_bytes = batch.output.len() - from;
        let words = || batch.owned_args(batch.next);
        command_ended(&self.server, config, &batch.finished(command, nanos, reply_bytes, &words));
        (end, nanos)
    }
}

impl Executor {
    /// Tells those concerned that whole databases were emptied or exchanged.
    pub fn tell_of_databases(&mut self, keyspace: &Keyspace) {
        if self.effects.databases.is_empty() {
            return;
        }
        if self.effects.databases.iter().any(empties) {
            self.server.migrations.flushed();
        }
        if self.effects.listening.waiting {
            let keys = self.server.blocked.keys_of(&self.effects.databases);
            self.effects.ready.extend(keys);
        }
        if self.server.watches.any() {
            let seen =
                crate::transaction::Seen { now: clock::unix_us(clock::tick()) / 1000, shows_expired: false };
            self.server.watches.tell_databases(&self.effects.databases, keyspace, seen);
        }
        let told = std::mem::take(&mut self.flushes_told);
        let untold = self.effects.databases.get(told..).unwrap_or_default();
        self.flushed |= self.tracks && untold.iter().any(empties);
        self.effects.databases.clear();
    }
}

/// Where costs are counted by slot, if the configuration wants it.
fn counted_by_slot(server: &ServerRef, config: &Config) -> Option<Arc<ClusterShared>> {
    server.cluster.clone().filter(|_| config.cluster_slot_stats_enabled)
}

/// Whether keys are gone, and not only elsewhere.
fn empties(change: &DatabaseChange) -> bool {
    !matches!(change, DatabaseChange::Swapped(..))
}

/// Whether monitors are shown the command before it runs, so that what it calls comes behind it.
fn tells_of_itself(command: &Command) -> bool {
    matches!(command.spec.handler, Handler::Script) && command.flags.has(SKIP_MONITOR)
}

impl Executor {
    /// The figures of a shard's tables.
    pub fn describe(&mut self, part: &Part) -> ShardDescription {
        ShardDescription::of_part(part, |database| self.average_ttl(database, part.index()))
    }

    /// Shows the batch's next request to those who monitor.
    fn show(&self, batch: &Batch, command: &'static Command, tell: monitor::Tell) {
        tell(&self.server, Runner::Client(&batch.session), command, &batch.words(batch.next));
    }

    /// A call by this client at a time, in Unix microseconds; where the key is is not known.
    pub fn moment(&self, session: &Session, now_us: i64) -> Moment {
        let touch = touch(&self.config, now_us / 1_000_000);
        Moment { now_us, hint: None, rules: self.rules(session), touch }
    }

    /// Calls one engine command. Its reply, or its error, is appended to `reply`.
    pub fn invoke(
        &mut self,
        keyspace: &mut Keyspace,
        session: &mut Session,
        reply: &mut Reply,
        (command, function): (&'static Command, EngineFn),
        args: &[&[u8]],
        Moment { now_us, hint, rules, mut touch }: Moment,
    ) {
        let config: &Config = &self.config;
        if touch.lfu {
            touch.draw = self.rng.next_u64();
        }
        let dirty_before = self.effects.dirty;
        let db_before = session.db;
        // Whatever sets a deadline on a writable replica, but for its primary, makes it the replica's own business.
        self.effects.listening.deadlines =
            self.is_replica && !config.replica_read_only && session.origin == Origin::Client;
        let from = reply.len();
        self.effects.exports.writing = command.flags.has(WRITE);
        let mut context = Context {
            args,
            spec: command.spec,
            db: Access {
                keyspace,
                effects: &mut self.effects,
                db: db_before,
                now: now_us / 1000,
                rules,
                touch,
                lazy_expire: config.lazyfree_lazy_expire,
                lazy_server_del: config.lazyfree_lazy_server_del,
                client_no_touch: session.no_touch,
                hint,
            },
            session,
            reply,
            config,
            acl: &self.users.acl,
            rng: &mut self.rng,
            now_us,
            node: self.server.cluster.as_deref().map(|cluster| cluster as &dyn NodeOfCluster),
            is_replica: self.is_replica,
        };
        let result = function(&mut context);
        self.effects.finish_command(db_before, args, dirty_before);
        if let Err(error) = &result {
            // A command that fails half-way has written nothing worth keeping.
            reply.truncate(from);
            error.write_to(reply);
            if let CommandError::BadData(reason) = error {
                crate::persistence::say_refused(reason);
            }
        }
        if self.tracks {
            self.track(session, command, args);
        }
    }

    /// EVAL and all that concerns scripts. What a script did takes effect together.
    fn run_script(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &mut Batch,
        reply: &mut Reply,
        command: &'static Command,
        now_us: i64,
    ) -> Counted {
        let mut store = std::mem::take(&mut self.args);
        let args = borrow_args(&mut store, &batch.input, batch.requests.args(batch.next));
        let client = pubsub::Subscriber {
            session: &mut batch.session,
            shared: &batch.shared,
            subscribed: &mut batch.subscribed,
        };
        let counted = self.run_script_command(keyspace, client, reply, command, args, now_us);
        self.effects.propagation.close_group(Grouping::Together);
        store.clear();
        self.args = store;
        counted
    }

    /// Looks for keys to evict; how good it would be to lose the best of them, if the policy has an order.
    pub fn best_victim(&mut self, keyspace: &mut Keyspace) -> Option<u64> {
        let access = own_access(keyspace, &mut self.effects, &self.config);
        self.chooser.look(&access, &self.config, &mut self.rng)
    }

    /// Evicts a key of this shard; false if the policy leaves none to evict.
    pub fn evict_one(&mut self, keyspace: &mut Keyspace) -> bool {
        let mut access = own_access(keyspace, &mut self.effects, &self.config);
        let evicted = self.chooser.evict_one(&mut access, &self.config, &mut self.rng);
        self.effects.propagation.close_group(Grouping::Apart);
        evicted
    }

    /// Takes note of the exports under way, for which writes leave old values.
    #[cold]
    fn refresh_exports(&mut self) {
        let exports = &mut self.effects.exports;
        exports.active = false;
        for (lane, format) in exports.formats.iter_mut().enumerate() {
            let export = self.server.exports.lane(lane);
            exports.active |= export.is_some();
            *format = export.filter(|e| !e.is_stopped()).map(|e| e.format);
        }
    }

    /// FLUSHALL ends exports that are files on their own.
    fn note_flush(&mut self) {
        if self.effects.databases.contains(&DatabaseChange::AllFlushed) {
            self.flushed_all = true;
            if self.server.flushed_all() {
                self.effects.dirty = 0;
            }
        }
    }

    /// The clock that access words are compared with.
    pub fn touch_now(&self) -> Touch {
        touch(&self.config, clock::unix_us(clock::tick()) / 1_000_000)
    }

    /// Runs something that is no client's command on all keys.
    pub fn run_task(&mut self, keyspace: &mut Keyspace, task: crate::shard::Task) {
        self.tracks = self.server.tracking.any();
        task(keyspace, self);
        self.effects.propagation.close_group(Grouping::Together);
        self.tell_of_databases(keyspace);
        self.tell_flushed(NOBODY);
    }

    /// The mean time to live of a database's keys, of a sample, milliseconds.
    pub fn average_ttl(&mut self, database: &skuld::keyspace::Database, part: u16) -> i64 {
        skuld::expiry::average::average_ttl(database, part, clock::unix_ms(), &mut self.rng)
    }

    /// Lets something other than a command look at the keys as they lie there.
    pub fn with_access<T>(&mut self, keyspace: &mut Keyspace, look: impl FnOnce(&mut Access<'_>) -> T) -> T {
        look(&mut own_access(keyspace, &mut self.effects, &self.config))
    }
}

/// No client has this identity.
const NOBODY: u64 = 0;

/// The server's own hold on the keys, as they lie there: nobody's command, so nothing is hidden or touched.
fn own_access<'a>(keyspace: &'a mut Keyspace, effects: &'a mut Effects, config: &Config) -> Access<'a> {
    let now_us = clock::unix_us(clock::tick());
    Access {
        keyspace,
        effects,
        db: 0,
        now: now_us / 1000,
        rules: ExpiryRules::default(),
        touch: touch(config, now_us / 1_000_000),
        lazy_expire: config.lazyfree_lazy_expire,
        lazy_server_del: config.lazyfree_lazy_server_del,
        client_no_touch: true,
        hint: None,
    }
}

/// Our data is not what the sender of a stream believes it to be.
#[cold]
fn say_critical(
    batch: &Batch,
    command: Option<&'static Command>,
    from: usize,
    behavior: PropagationErrorBehavior,
) {
    let line = batch.output[from..].split(|b| *b == b'\r').next().unwrap_or_default();
    let (who, to) = match batch.session.origin {
        Origin::Aof => ("server", "AOF-loading-client"),
        Origin::Client | Origin::Primary | Origin::Import => ("replica", "primary"),
    };
    tracing::warn!(
        "== CRITICAL == This {who} is sending an error to its {to}: '{}' after processing the command '{}'",
        String::from_utf8_lossy(line.strip_prefix(b"-ERR ").unwrap_or(line)),
        command.map_or("<unknown>", |command| command.name)
    );
    let is_replica = batch.session.origin == Origin::Primary;
    if behavior == PropagationErrorBehavior::Panic
        || (behavior == PropagationErrorBehavior::PanicOnReplicas && is_replica)
    {
        panic!(
            "This server was configured to end when a command of its primary or of its append-only file fails"
        );
    }
}

/// How expired keys look to this client now.
fn rules(config: &Config, session: &Session, is_replica: bool, expiry_paused: bool) -> ExpiryRules {
    Situation {
        loading: session.origin == Origin::Aof,
        is_replica,
        replica_read_only: config.replica_read_only,
        from_primary: session.origin == Origin::Primary,
        slot_import_link: session.origin == Origin::Import,
        expiry_paused,
        import_mode: config.import_mode,
        import_source: session.import_source,
    }
    .rules()
}

/// CLIENT REPLY OFF and SKIP: drops what was written from `from` on if nobody wants it.
pub fn settle_reply_mode(output: &mut Vec<u8>, from: usize, session: &mut Session) {
    match session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => output.truncate(from),
        ReplyMode::SkipNext => {
            output.truncate(from);
            session.reply_mode = ReplyMode::Skip;
        }
        ReplyMode::Skip => {
            output.truncate(from);
            session.reply_mode = ReplyMode::On;
        }
    }
}

/// How accesses are noted now; what LFU draws comes with each command.
fn touch(config: &Config, now_s: i64) -> Touch {
    let lfu = config.maxmemory_policy.is_lfu();
    Touch {
        clock: if lfu { (now_s / 60) as u32 & 0xffff } else { now_s as u32 & 0xff_ffff },
        lfu,
        lfu_log_factor: config.lfu_log_factor,
        lfu_decay_minutes: config.lfu_decay_time,
        draw: 0,
    }
}

/// Fills `store` with the argument slices of one request, for as long as `input` is borrowed.
fn borrow_args<'a>(
    store: &'a mut Vec<&'static [u8]>,
    input: &'a [u8],
    spans: &[skuld::resp::decode::Span],
) -> &'a [&'a [u8]] {
    /// Room for so many is kept.
    const KEEP: usize = 4096;
    store.clear();
    if store.capacity() > KEEP && spans.len() <= KEEP {
        store.shrink_to(KEEP);
    }
    store.extend(spans.iter().map(|span| {
        let slice: &'a [u8] = &input[span.start..span.start + span.len];
        // SAFETY: only the lifetime changes. The vector is borrowed for 'a together with the slices, hands them out
        // as 'a only, and every caller clears it before the borrow of `input` ends.
        unsafe { std::mem::transmute::<&'a [u8], &'static [u8]>(slice) }
    }));
    store
}

/// What one slice of active expiry did.
pub struct Scanned {
    pub removed: u64,
    /// The time was over before the due keys were.
    pub more_due: bool,
    /// Some of what is due lies in slots that a unit holds.
    pub some_held: bool,
}

/// Fields of one hash that are removed together, by `active-expire-effort`.
fn fields_per_visit(effort: u32) -> usize {
    4 * (20 + 5 * (effort.max(1) as usize - 1))
}

impl Executor {
    /// Removes keys (and fields of hashes) whose deadline has passed, earliest first, while `within` says there is time. Items of slots that
    /// a unit holds come back to the index.
    pub fn scan_expired(
        &mut self,
        keyspace: &mut Keyspace,
        is_held: impl Fn(Slot) -> bool,
        within: impl Fn(Tick) -> bool,
    ) -> Scanned {
        /// Items between two looks at the clock.
        const ITEMS_PER_LOOK: usize = 16;
        let mut scanned = Scanned { removed: 0, more_due: false, some_held: false };
        let mut held = Vec::new();
        loop {
            let at = clock::tick();
            if !within(at) {
                scanned.more_due = true;
                break;
            }
            let now = clock::unix_us(at) / 1000;
            let mut taken = 0;
            while taken < ITEMS_PER_LOOK {
                let (deadline, item) = match keyspace.parts_mut()[0].wheel_mut().pop_due(now) {
                    Popped::Item { deadline, item } => (deadline, item),
                    Popped::Working => {
                        taken = ITEMS_PER_LOOK;
                        break;
                    }
                    Popped::Nothing => break,
                };
                taken += 1;
                let (name, slot, _) = unpack_deadline(item);
                if is_held(slot) {
                    held.push((deadline, item));
                    continue;
                }
                let part = &mut keyspace.parts_mut()[0];
                if part.is_hidden(slot) {
                    // Its source says when its keys expire.
                    part.keep_due(deadline, item);
                    continue;
                }
                let part = &keyspace.parts()[0];
                let Some(db) = part.database_named(name) else { continue };
                let key = part.due_key(db, item, now);
                let hash = if key.is_none() { part.due_hash(db, item, now) } else { None };
                if key.is_none() && hash.is_none() {
                    continue;
                }
                let mut access = Access {
                    keyspace,
                    effects: &mut self.effects,
                    db,
                    now,
                    rules: ExpiryRules::default(),
                    touch: Touch::default(),
                    lazy_expire: self.config.lazyfree_lazy_expire,
                    lazy_server_del: self.config.lazyfree_lazy_server_del,
                    client_no_touch: true,
                    hint: None,
                };
                if let Some(key) = key {
                    access.expire_key(db, &key);
                    self.effects.propagation.close_group(Grouping::Apart);
                    scanned.removed += 1;
                } else if let Some(key) = hash {
                    // What is left of a large hash comes again at once.
                    let fields = fields_per_visit(self.config.active_expire_effort);
                    scanned.removed += access.expire_fields(db, &key, fields) as u64;
                    self.effects.propagation.close_group(Grouping::Together);
                }
            }
            if taken < ITEMS_PER_LOOK {
                break;
            }
        }
        // With no key due: make room by forgetting deadlines that were overwritten.
        let part = &mut keyspace.parts_mut()[0];
        while !scanned.more_due && part.wheel().wants_sweep() {
            part.sweep_deadlines(ITEMS_PER_LOOK, &is_held);
            scanned.more_due = !within(clock::tick());
        }
        scanned.some_held = !held.is_empty();
        for (deadline, item) in held {
            keyspace.parts_mut()[0].wheel_mut().put_back(deadline, item);
        }
        scanned
    }
}
