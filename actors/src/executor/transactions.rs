//! MULTI, EXEC, DISCARD, WATCH and UNWATCH where they run.

use skuld::commands::{Command, Handler};
use skuld::effects::{Audience, Grouping};
use skuld::keyspace::{Keyspace, Treatment};
use skuld::resp::Reply;

use super::{Executor, tells_of_itself};
use crate::access::gate::Asker;
use crate::batch::Batch;
use crate::clock;
use crate::command_log::{Finished, command_ended};
use crate::monitor::{self, Runner};
use crate::replication::bit;
use crate::server_commands::{self, debug_keys, migrate, pubsub};
use crate::transaction::{Queue, Seen};

impl Executor {
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    pub(super) fn run_transaction(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &mut Batch,
        reply: &mut Reply,
        command: &'static Command,
        now_us: i64,
    ) {
        let server = self.server.clone();
        let shows_expired = self.rules(&batch.session).read == Treatment::Show;
        let transaction = &mut batch.transaction;
        match command.name {
            "multi" => {
                transaction.queue = Some(Queue::default());
                transaction.used = true;
                reply.ok();
            }
            "watch" => {
                // What this batch changed before does not concern the new watches, only those there are.
                server.watches.tell(&self.effects.modified);
                self.effects.modified.clear();
                for span in batch.requests.args(batch.next).iter().skip(1) {
                    let key = &batch.input[span.start..span.start + span.len];
                    let seen = Seen { now: now_us / 1000, shows_expired };
                    transaction.watch(&server.watches, keyspace, batch.session.db, key, seen);
                    self.effects.listening.modified = true;
                }
                reply.ok();
            }
            "unwatch" => {
                transaction.unwatch();
                reply.ok();
            }
            "discard" if transaction.queue.take().is_some() => {
                transaction.unwatch();
                reply.ok();
            }
            "exec" => match transaction.queue.take() {
                None => reply.error("ERR EXEC without MULTI"),
                Some(queue) => {
                    // What this batch did before must reach its own watches too.
                    server.watches.tell(&self.effects.modified);
                    let dirty = transaction.is_dirty(keyspace, Seen { now: now_us / 1000, shows_expired });
                    transaction.unwatch();
                    if queue.failed || dirty {
                        self.counts_for = None;
                    }
                    if queue.failed {
                        reply.error("EXECABORT Transaction discarded because of previous errors.");
                    } else if dirty {
                        reply.null_array();
                    } else {
                        self.run_queue(keyspace, batch, reply, queue, now_us);
                    }
                }
            },
            _ => reply.error("ERR DISCARD without MULTI"),
        }
    }

    pub(super) fn run_queue(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &mut Batch,
        reply: &mut Reply,
        queue: Queue,
        now_us: i64,
    ) {
        let begun = reply.len();
        reply.array(queue.commands.len());
        // If the user is gone meanwhile, this is the last the client does.
        self.users.refresh(&self.server, &mut batch.session);
        let mut closed_at = None;
        let mut demoted = false;
        for (command, words) in queue.commands {
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let from = reply.len();
            let start = clock::tick();
            let mut counted = false;
            let asker = Asker { server: &self.server, session: &batch.session, shared: &batch.shared };
            if let Err(line) = asker.permit_queued(command, &args) {
                reply.error(&line);
                reply.take_errors();
                self.server.stats.count_error(&reply.as_bytes()[from + 1..]);
                crate::stats::bump(&self.commands[usize::from(command.id)].rejected, 1);
                continue;
            }
            if self.monitoring && tells_of_itself(command) {
                monitor::tell_of_any(&self.server, Runner::Client(&batch.session), command, &args);
            }
            match command.spec.handler {
                Handler::Engine(function) => {
                    let moment = self.moment(&batch.session, now_us);
                    self.invoke(keyspace, &mut batch.session, reply, (command, function), &args, moment);
                    // HELLO inside a transaction changes the protocol of what follows.
                    reply.set_protocol(batch.session.protocol);
                }
                // The other two kinds of subscription may stand in a transaction.
                Handler::Server if command.name == "ssubscribe" => {
                    reply.error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
                }
                Handler::Server if pubsub::is_one(command) => {
                    let client = pubsub::Subscriber {
                        session: &mut batch.session,
                        shared: &batch.shared,
                        subscribed: &mut batch.subscribed,
                    };
                    pubsub::execute(&self.server, client, command, &args, reply);
                    if pubsub::is_propagated(&self.server, command) {
                        self.effects.propagation.audience = Audience::Replicas;
                        self.effects.also_propagate(batch.session.db, &args);
                        self.effects.propagation.audience = Audience::All;
                    }
                }
                Handler::Server
                    if command.name == "debug"
                        && debug_keys::run_inside(self, keyspace, &batch.session, &words, reply) => {}
                Handler::Server if command.name == "migrate" => {
                    migrate::run_inside(self, keyspace, batch.session.db, &words, reply);
                }
                Handler::Server => {
                    let shards = keyspace.parts().iter().map(|part| self.describe(part)).collect();
                    let at_hand = server_commands::AtHand::of(command, keyspace.parts(), shards);
                    let inside = server_commands::Inside { command, args: words.clone(), at_hand };
                    server_commands::run_inside(&self.server, batch, inside, reply);
                    // It may have changed the configuration.
                    self.refresh();
                    demoted |= matches!(command.name, "replicaof" | "slaveof")
                        && self.server.replication.flags() & bit::BECOMING_REPLICA != 0;
                }
                Handler::Script => {
                    let client = pubsub::Subscriber {
                        session: &mut batch.session,
                        shared: &batch.shared,
                        subscribed: &mut batch.subscribed,
                    };
                    counted = self.run_script_command(keyspace, client, reply, command, &args, now_us).0;
                }
                // UNWATCH is the only one of its kind that can be queued, and EXEC has unwatched already.
                _ => reply.ok(),
            }
            let stats = &self.commands[usize::from(command.id)];
            let nanos = clock::nanos_between(start, clock::tick());
            stats.record(nanos, self.config.latency_tracking);
            let owned = || args.iter().map(|arg| arg.to_vec()).collect();
            let figures = (nanos, reply.len() - from);
            let finished = Finished::inside(&batch.session, command, figures, &args, &owned);
            command_ended(&self.server, &self.config, &finished);
            if reply.take_errors() > 0 {
                crate::stats::bump(&stats.failed, 1);
                if !counted {
                    self.count_error(command, &reply.as_bytes()[from + 1..]);
                }
            }
            batch.commands_run += 1;
            if let (Some(cluster), Some(slot)) = (&self.slot_stats, self.counts_for)
                && batch.session.origin.is_client()
            {
                cluster.slot_stats.add_out(slot, (reply.len() - begun) as u64);
            }
            if self.monitoring {
                monitor::tell_of(&self.server, Runner::Client(&batch.session), command, &args);
            }
            // A client that has killed itself hears no more, though the rest still runs.
            if let Some(end) = closed_at {
                reply.truncate(end);
            } else if batch.session.close_after_reply {
                closed_at = Some(reply.len());
            }
        }
        if demoted {
            // A replica has no stream of its own.
            self.effects.propagation.restrict_open_group(Audience::File);
        }
        self.effects.propagation.close_group(Grouping::Together);
    }
}
