//! Whether the next request of a batch may run here and now, in Valkey's order of tests, and what it is answered if not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::{DENYOOM, MAY_REPLICATE, NO_MULTI, READONLY, WRITE};
use skuld::commands::{Handler, check};
use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use skuld::session::{Debugging, Session};

use super::{Executor, Resolved, borrow_args, say_critical, settle_reply_mode};
use crate::access::gate::Asker;
use crate::batch::Batch;
use crate::clients::ClientShared;
use crate::clock;
use crate::gate;
use crate::slot_stats::slot_of_words;
use crate::transaction::Transaction;

const MONITORS_TOUCH_NO_KEYS: CommandError =
    CommandError::fixed("ERR Replica can't interact with the keyspace");
const OUT_OF_MEMORY: CommandError =
    CommandError::fixed("OOM command not allowed when used memory > 'maxmemory'.");

impl Executor {
    /// Looks the batch's next request up and tests whether it may run here and now.
    pub fn resolve(&mut self, keyspace: &Keyspace, batch: &mut Batch) -> Resolved {
        if self.tracks {
            self.limit_tracking(batch);
        }
        if !self.users.refresh(&self.server, &mut batch.session) {
            // The user is gone, and the client goes with it.
            batch.shared.killed.store(true, std::sync::atomic::Ordering::Relaxed);
            return Resolved::Refused;
        }
        let mut store = std::mem::take(&mut self.args);
        let args = borrow_args(&mut store, &batch.input, batch.requests.args(batch.next));
        let client = (&mut batch.session, &batch.transaction, &batch.shared);
        let resolved = match self.admit(keyspace, client, args) {
            Ok(command) if batch.transaction.is_queueing() && !runs_inside_multi(command) => {
                if let Some(cluster) = &self.slot_stats
                    && let Some(slot) = slot_of_words(command, args)
                {
                    cluster.slot_stats.add_in(slot, batch.request_bytes(batch.next));
                }
                let words = args.iter().map(|a| a.to_vec()).collect();
                queue(batch, command, words);
                Resolved::Refused
            }
            // Its subscriptions end with it.
            Ok(command)
                if command.name == "reset"
                    && (batch.session.subscriptions > 0
                        || batch.session.monitoring
                        || batch.session.tracking.on) =>
            {
                Resolved::Server(command)
            }
            // The script runs elsewhere.
            Ok(command)
                if batch.session.debugging == Debugging::Apart
                    && matches!(command.name, "eval" | "eval_ro") =>
            {
                Resolved::Server(command)
            }
            Ok(command) => match command.spec.handler {
                Handler::Engine(_) | Handler::Transaction | Handler::Script => Resolved::Run(command),
                _ => Resolved::Server(command),
            },
            Err((None, _)) if check::is_http(args[0]) => {
                batch.transaction.fail();
                refuse_browser(&mut batch.session);
                Resolved::Refused
            }
            Err((command, error)) => {
                let from = batch.output.len();
                self.refuse_next(batch, command, &error);
                batch.note_import_error(from, command.map_or("?", |c| c.name));
                Resolved::Refused
            }
        };
        store.clear();
        self.args = store;
        resolved
    }

    /// The command of a request, if nothing forbids to run it for this client here and now; in Valkey's order.
    #[inline]
    fn admit(
        &mut self,
        keyspace: &Keyspace,
        (session, transaction, shared): (&mut Session, &Transaction, &Arc<ClientShared>),
        args: &[&[u8]],
    ) -> Result<&'static Command, check::Refused> {
        if !session.authenticated && self.users.acl.is_open() {
            // The password was taken away after the client connected.
            session.authenticated = true;
        }
        let command = check::admit(self.server.table, args, session)?;
        if transaction.is_queueing() {
            queueable(command)?;
        }
        let asker = Asker { server: &self.server, session, shared };
        asker.permit(command, args, transaction.queue.as_ref())?;
        if session.capa_redirect
            && let Some(refusal) =
                gate::role::redirection(&self.server, &self.config, command, session, transaction)
        {
            return Err((Some(command), refusal));
        }
        let is_client = session.origin.is_client();
        if is_client && self.cluster.is_on() {
            let client = (&mut *session, transaction);
            let around = (&self.server, &*self.config);
            gate::cluster::admit(&mut self.cluster, around, client, command, args, keyspace)
                .map_err(|error| (Some(command), error))?;
        }
        if self.out_of_memory && session.origin.obeys_memory_limit() && may_need_memory(command, transaction)
        {
            return Err((Some(command), OUT_OF_MEMORY));
        }
        if is_client
            && (self.gates_closed || self.out_of_memory)
            && let Some(refusal) = self.gated(command, transaction, args)
        {
            return Err((Some(command), refusal));
        }
        if is_client && let Some(refusal) = gate::role::refusal_of_replica(session, command) {
            return Err((Some(command), refusal));
        }
        if session.monitoring && command.flags.has_any(WRITE | READONLY | MAY_REPLICATE) {
            return Err((Some(command), MONITORS_TOUCH_NO_KEYS));
        }
        Ok(command)
    }

    /// The refusal of a command because of the server's state, if there is one.
    #[cold]
    fn gated(
        &self,
        command: &'static Command,
        transaction: &Transaction,
        args: &[&[u8]],
    ) -> Option<CommandError> {
        let (server, config) = (&*self.server, &*self.config);
        gate::disk::refusal(server, config, command)
            .or_else(|| gate::role::refusal_of_write(server, config, command, transaction))
            .or_else(|| gate::role::refusal_of_stale(server, config, command, transaction))
            .or_else(|| gate::loading::refusal(server, command))
            .or_else(|| self.script_refusal(command, args))
            .or_else(|| server.scripts.refusal(command, server.workers))
    }

    /// Refuses the batch's next request, and with it the transaction it belongs to.
    pub fn refuse_next(&self, batch: &mut Batch, command: Option<&'static Command>, error: &CommandError) {
        batch.transaction.fail();
        if let (Some(cluster), Some(command)) = (&self.slot_stats, command)
            && command.accepts(batch.requests.args(batch.next).len())
            && !gate::cluster::is_redirection(error)
            && let Some(slot) = slot_of_words(command, &batch.words(batch.next))
        {
            cluster.slot_stats.add_in(slot, batch.request_bytes(batch.next));
        }
        if command.is_some_and(|command| command.name == "exec") {
            batch.transaction.queue = None;
            batch.transaction.unwatch();
            let error =
                if gate::cluster::is_redirection(error) { error.clone() } else { exec_refused(error) };
            return self.refuse(&mut batch.output, &mut batch.session, command, &error);
        }
        let from = batch.output.len();
        self.refuse(&mut batch.output, &mut batch.session, command, error);
        if batch.session.origin.errors_are_critical() && batch.output.len() > from {
            say_critical(batch, command, from, self.config.propagation_error_behavior);
        }
    }

    fn refuse(
        &self,
        output: &mut Vec<u8>,
        session: &mut Session,
        command: Option<&'static Command>,
        error: &CommandError,
    ) {
        let from = output.len();
        let mut reply = Reply::with_buffer(std::mem::take(output), session.protocol);
        error.write_to(&mut reply);
        *output = reply.into_bytes();
        self.server.stats.count_error(&output[from + 1..]);
        if let Some(command) = command {
            crate::stats::bump(&self.commands[usize::from(command.id)].rejected, 1);
        }
        settle_reply_mode(output, from, session);
    }
}

/// Puts a request into the transaction's queue and answers it.
fn queue(batch: &mut Batch, command: &'static Command, words: Vec<Vec<u8>>) {
    batch.last_command = command.id;
    batch.shared.last_command.store(u32::from(command.id), std::sync::atomic::Ordering::Relaxed);
    let queued = batch.transaction.push(command, words);
    let from = batch.output.len();
    let mut reply = Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
    if queued {
        reply.simple("QUEUED");
    } else {
        reply.error("ERR the transaction is too large");
    }
    batch.output = reply.into_bytes();
    settle_reply_mode(&mut batch.output, from, &mut batch.session);
}

/// Ends the connection of somebody's browser that was made to talk to us. The log says so once a minute at most.
fn refuse_browser(session: &mut Session) {
    const SILENT_MS: i64 = 60_000;
    static SAID_MS: AtomicI64 = AtomicI64::new(i64::MIN);
    session.close_after_reply = true;
    let (now_ms, said_ms) = (clock::unix_ms(), SAID_MS.load(Ordering::Relaxed));
    if now_ms.saturating_sub(said_ms) <= SILENT_MS {
        return;
    }
    SAID_MS.store(now_ms, Ordering::Relaxed);
    tracing::warn!(
        "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to the server. This \
         is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your instance. Connection \
         from {} aborted.",
        session.peer
    );
}

/// Whether a command is refused while memory is full. EXEC is what it is about to run.
pub fn may_need_memory(command: &Command, transaction: &Transaction) -> bool {
    command.flags.has(DENYOOM)
        || (command.name == "exec"
            && transaction.queue.as_ref().is_some_and(|queue| {
                !queue.failed && queue.commands.iter().any(|(c, _)| c.flags.has(DENYOOM))
            }))
}

/// The commands that run at once between MULTI and EXEC.
fn runs_inside_multi(command: &Command) -> bool {
    matches!(command.name, "exec" | "discard" | "quit" | "reset")
}

/// A refusal of EXEC itself discards the transaction and says so.
fn exec_refused(error: &CommandError) -> CommandError {
    let line = error.to_string();
    let reason = line.strip_prefix("ERR ").unwrap_or(&line);
    CommandError::text(format!("EXECABORT Transaction discarded because of: {reason}"))
}

/// Whether a command may be queued.
fn queueable(command: &'static Command) -> Result<&'static Command, check::Refused> {
    if command.flags.has(NO_MULTI) {
        let line = format!("ERR Command '{}' not allowed inside a transaction", command.name);
        return Err((Some(command), CommandError::text(line)));
    }
    Ok(command)
}
