//! What a replica, and a primary without enough replicas, refuses.

use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::{MAY_REPLICATE, READONLY, STALE, WRITE};
use skuld::config::Config;
use skuld::scripting::ScriptFlags;
use skuld::session::Session;

use crate::replication::bit;
use crate::scripting::runs_code;
use crate::server::Server;
use crate::transaction::Transaction;

const READONLY_REPLICA: CommandError =
    CommandError::fixed("READONLY You can't write against a read only replica.");
const NO_REPLICAS: CommandError = CommandError::fixed("NOREPLICAS Not enough good replicas to write.");
pub const PRIMARY_DOWN: CommandError =
    CommandError::fixed("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
const NO_KEYSPACE: CommandError = CommandError::fixed("ERR Replica can't interact with the keyspace");

/// Whether a command writes; EXEC does what is queued, where a script writes if it says so.
fn writes(server: &Server, command: &Command, transaction: &Transaction) -> bool {
    let queued_writes = |(queued, words): &(&'static Command, Vec<Vec<u8>>)| {
        queued.flags.has(WRITE)
            || declared(server, queued, words).is_some_and(|flags| !flags.has(ScriptFlags::NO_WRITES))
    };
    command.flags.has(WRITE)
        || (command.name == "exec"
            && transaction.queue.as_ref().is_some_and(|queue| queue.commands.iter().any(queued_writes)))
}

/// What the script of a queued command says about itself.
fn declared(server: &Server, queued: &'static Command, words: &[Vec<u8>]) -> Option<ScriptFlags> {
    if !runs_code(queued) {
        return None;
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    server.scripts.declared(queued, &words)
}

fn reads(command: &Command, transaction: &Transaction) -> bool {
    command.flags.has(READONLY)
        || (command.name == "exec"
            && transaction
                .queue
                .as_ref()
                .is_some_and(|q| q.commands.iter().any(|(c, _)| c.flags.has(READONLY))))
}

/// Whether `min-replicas-to-write` forbids writes now.
fn lacks_replicas(server: &Server, config: &Config) -> bool {
    config.min_replicas_to_write > 0
        && config.min_replicas_max_lag > 0
        && server.replication.good_replicas.load(Ordering::Relaxed) < config.min_replicas_to_write
        && server.replication.flags() & (bit::REPLICA | bit::BECOMING_REPLICA) == 0
}

/// The refusal of anything that writes because replicas are missing, if they are.
pub fn refusal_without_replicas(server: &Server, config: &Config) -> Option<CommandError> {
    lacks_replicas(server, config).then_some(NO_REPLICAS)
}

/// The refusal of a client's write because replicas are missing or we are one, if there is one.
pub fn refusal_of_write(
    server: &Server,
    config: &Config,
    command: &Command,
    transaction: &Transaction,
) -> Option<CommandError> {
    if server.replication.flags() & (bit::REPLICA | bit::BECOMING_REPLICA) == 0 {
        let missing = lacks_replicas(server, config) && writes(server, command, transaction);
        return missing.then_some(NO_REPLICAS);
    }
    (config.replica_read_only && writes(server, command, transaction)).then_some(READONLY_REPLICA)
}

/// Where clients that can follow are sent, if this is a replica outside of cluster mode (CLIENT CAPA redirect).
pub fn redirection(
    server: &Server,
    config: &Config,
    command: &Command,
    session: &Session,
    transaction: &Transaction,
) -> Option<CommandError> {
    if !session.capa_redirect || !server.replication.is_replica() || config.cluster_enabled {
        return None;
    }
    let concerned =
        writes(server, command, transaction) || (reads(command, transaction) && !session.readonly);
    if !concerned {
        return None;
    }
    let view = server.replication.link();
    let primary = view.primary.as_ref()?;
    Some(CommandError::text(format!("REDIRECT {}:{}", primary.host, primary.port)))
}

/// Whether our data is old and not to be shown.
pub fn is_stale(server: &Server, config: &Config) -> bool {
    let flags = server.replication.flags();
    flags & (bit::REPLICA | bit::LINK_UP) == bit::REPLICA && !config.replica_serve_stale_data
}

/// The refusal of a client's command because our data is old, if there is one.
pub fn refusal_of_stale(
    server: &Server,
    config: &Config,
    command: &Command,
    transaction: &Transaction,
) -> Option<CommandError> {
    let queued_reads = |(queued, words): &(&'static Command, Vec<Vec<u8>>)| {
        !queued.flags.has(STALE)
            || declared(server, queued, words).is_some_and(|flags| !flags.has(ScriptFlags::ALLOW_STALE))
    };
    let refused = is_stale(server, config)
        && (!command.flags.has(STALE)
            || (command.name == "exec"
                && transaction.queue.as_ref().is_some_and(|q| q.commands.iter().any(queued_reads))));
    refused.then_some(PRIMARY_DOWN)
}

/// The refusal of a command that came over a replica's connection, if there is one.
pub fn refusal_of_replica(session: &Session, command: &Command) -> Option<CommandError> {
    let attached = session.replica.as_ref().is_some_and(|peer| peer.attached);
    let keyspace = [WRITE, READONLY, MAY_REPLICATE].iter().any(|flag| command.flags.has(*flag));
    (attached && keyspace).then_some(NO_KEYSPACE)
}
