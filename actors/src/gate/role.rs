//! What a replica, and a primary without enough replicas, refuses.

use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::{MAY_REPLICATE, READONLY, STALE, WRITE};
use skuld::config::Config;
use skuld::session::Session;

use crate::replication::bit;
use crate::server::Server;
use crate::transaction::Transaction;

const READONLY_REPLICA: CommandError =
    CommandError::fixed("READONLY You can't write against a read only replica.");
pub const NO_REPLICAS: CommandError = CommandError::fixed("NOREPLICAS Not enough good replicas to write.");
pub const PRIMARY_DOWN: CommandError =
    CommandError::fixed("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
const NO_KEYSPACE: CommandError = CommandError::fixed("ERR Replica can't interact with the keyspace");

/// Whether a command writes; EXEC does what is queued.
fn writes(command: &Command, transaction: &Transaction) -> bool {
    command.flags.has(WRITE)
        || (command.name == "exec"
            && transaction.queue.as_ref().is_some_and(|q| q.commands.iter().any(|(c, _)| c.flags.has(WRITE))))
}

fn reads(command: &Command, transaction: &Transaction) -> bool {
    command.flags.has(READONLY)
        || (command.name == "exec"
            && transaction
                .queue
                .as_ref()
                .is_some_and(|q| q.commands.iter().any(|(c, _)| c.flags.has(READONLY))))
}

/// Whether this is a primary with fewer good replicas than writes need (`min-replicas-to-write`).
pub fn lacks_replicas(server: &Server, config: &Config) -> bool {
    let needed = config.min_replicas_to_write;
    needed > 0
        && config.min_replicas_max_lag > 0
        && !server.replication.is_replica()
        && server.replication.good_replicas.load(Ordering::Relaxed) < needed
}

/// The refusal of a client's write because replicas are missing or we are one, if there is one.
pub fn refusal_of_write(
    server: &Server,
    config: &Config,
    command: &Command,
    transaction: &Transaction,
) -> Option<CommandError> {
    let flags = server.replication.flags();
    if flags & (bit::REPLICA | bit::BECOMING_REPLICA) == 0 {
        let missing = lacks_replicas(server, config) && writes(command, transaction);
        return missing.then_some(NO_REPLICAS);
    }
    (config.replica_read_only && writes(command, transaction)).then_some(READONLY_REPLICA)
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
    let concerned = writes(command, transaction) || (reads(command, transaction) && !session.readonly);
    if !concerned {
        return None;
    }
    let view = server.replication.link();
    let primary = view.primary.as_ref()?;
    Some(CommandError::text(format!("REDIRECT {}:{}", primary.host, primary.port)))
}

/// The refusal of a client's command because our data is old, if there is one.
pub fn refusal_of_stale(server: &Server, config: &Config, command: &Command) -> Option<CommandError> {
    (is_stale(server, config) && !command.flags.has(STALE)).then_some(PRIMARY_DOWN)
}

/// Whether this is a replica without its primary that must not show what it has (`replica-serve-stale-data no`).
pub fn is_stale(server: &Server, config: &Config) -> bool {
    !config.replica_serve_stale_data
        && server.replication.flags() & (bit::REPLICA | bit::LINK_UP) == bit::REPLICA
}

/// The refusal of a command that came over a replica's connection, if there is one.
pub fn refusal_of_replica(session: &Session, command: &Command) -> Option<CommandError> {
    let attached = session.replica.as_ref().is_some_and(|peer| peer.attached);
    let keyspace = [WRITE, READONLY, MAY_REPLICATE].iter().any(|flag| command.flags.has(*flag));
    (attached && keyspace).then_some(NO_KEYSPACE)
}
