//! Redirection: whether this node serves the keys of a command.

use std::sync::Arc;

use skuld::cluster::redirect::{Asked, ClientView, Elsewhere, Standing, decide};
use skuld::cluster::{ClusterState, Topology};
use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::config::Config;
use skuld::keyspace::Keyspace;
use skuld::keyspace::access::Place;
use skuld::scripting::ScriptFlags;
use skuld::session::Session;
use skuld::slot::Slot;

use crate::batch::Batch;
use crate::gossip::ClusterShared;
use crate::scripting::runs_code;
use crate::server::ServerRef;
use crate::slot_stats::slot_of_words;
use crate::transaction::Transaction;

/// A shard's copy of the snapshot; nothing outside cluster mode.
pub struct ClusterView {
    shared: Option<Arc<ClusterShared>>,
    topology: Option<Arc<Topology>>,
}

impl ClusterView {
    pub fn new(server: &ServerRef) -> Self {
        let shared = server.cluster.clone();
        Self { topology: shared.as_ref().map(|shared| shared.topology()), shared }
    }

    /// Whether this is a node of a cluster.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// The snapshot of now.
    #[inline]
    pub fn refresh(&mut self) -> Option<&Arc<Topology>> {
        let shared = self.shared.as_ref()?;
        if self.topology.as_ref().is_none_or(|topology| topology.generation != shared.generation()) {
            self.topology = Some(shared.topology());
        }
        self.topology.as_ref()
    }

    /// Whether commands must look at keys to know where they run.
    #[inline]
    pub fn has_open_slots(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.has_open_slots())
    }

    /// Whether whoever names one key of the slot is right here: the cluster is well, the slot this node's, and no slot is
    /// open.
    #[inline]
    pub fn serves_without_question(&mut self, slot: Slot) -> bool {
        !self.has_open_slots()
            && self
                .refresh()
                .is_some_and(|topology| topology.state == ClusterState::Ok && topology.is_mine(slot))
    }
}

/// How a client sees nodes.
pub fn view_of(session: &Session) -> ClientView {
    view(session.tls, &session.peer)
}

/// How a client at that address sees nodes.
pub fn view(tls: bool, peer: &str) -> ClientView {
    // `[::1]:6379`, and addresses of old clients written in the new form count as old ones.
    let ipv6 = peer.starts_with('[') && !peer.starts_with("[::ffff:");
    ClientView { tls, ipv6 }
}

/// Tests one request of a client.
///
/// # Errors
/// The redirection.
pub fn admit(
    view: &mut ClusterView,
    (server, config): (&ServerRef, &Config),
    (session, transaction): (&mut Session, &Transaction),
    command: &'static Command,
    args: &[&[u8]],
    keyspace: &Keyspace,
) -> Result<(), CommandError> {
    let Some(topology) = view.refresh() else { return Ok(()) };
    let asking = session.asking;
    let is_exec = command.name == "exec";
    let is_queueing = transaction.is_queueing() && !is_exec;
    if !is_queueing && command.name != "multi" {
        // For one command only, or for one transaction.
        session.asking = false;
    }
    if command.keys.is_empty() && !is_exec {
        return Ok(());
    }
    // Only here it makes a difference, and to find it out of a script's text costs as much as to look the script up.
    let matters = session.readonly || topology.state == ClusterState::Fail;
    let writes = matters
        && runs_code(command)
        && server.scripts.declared(command, args).is_some_and(|flags| !flags.has(ScriptFlags::NO_WRITES));
    let standing = Standing { asking, readonly: session.readonly, db: session.db, writes };
    let now = crate::clock::unix_ms();
    // What is there matters when it runs.
    let mut exists = |db: u32, key: &[u8]| is_queueing || exists(keyspace, db, key, now);
    let decision = match &transaction.queue {
        Some(queue) if is_exec => {
            if queue.failed {
                return Ok(());
            }
            let words: Vec<Vec<&[u8]>> =
                queue.commands.iter().map(|(_, words)| words.iter().map(Vec::as_slice).collect()).collect();
            let asked = queue
                .commands
                .iter()
                .zip(&words)
                .map(|((command, _), words)| Asked { command, args: words.as_slice() });
            decide(topology, config, standing, asked, &mut exists)
        }
        _ if is_exec => return Ok(()),
        _ => decide(topology, config, standing, std::iter::once(Asked { command, args }), &mut exists),
    };
    match decision {
        Ok(_) => Ok(()),
        Err(elsewhere) => Err(elsewhere.error(topology, config, view_of(session))),
    }
}

/// Whether the key is there, and would be for a command that reads it: one that has expired is on the target or nowhere.
fn exists(keyspace: &Keyspace, db: u32, key: &[u8], now: i64) -> bool {
    let place = Place::of(key);
    let part = keyspace.part(place.slot);
    part.owns(place.slot)
        && part
            .database(db)
            .and_then(|database| database.find(place.slot, place.hash, key))
            .is_some_and(|entry| entry.expiry().is_none_or(|deadline| deadline >= now))
}

/// The slot of the batch's next request, if it has keys: while slots are being moved, it is decided on the shard that
/// has them.
pub fn slot_of_next(server: &ServerRef, batch: &Batch) -> Option<Slot> {
    let words: Vec<&[u8]> = batch
        .requests
        .args(batch.next)
        .iter()
        .map(|span| &batch.input[span.start..span.start + span.len])
        .collect();
    let command = server.table.resolve(&words).ok()?;
    if command.name == "exec" {
        let queue = batch.transaction.queue.as_ref()?;
        return queue.commands.iter().find_map(|(command, words)| {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            slot_of_words(command, &words)
        });
    }
    slot_of_words(command, &words)
}

/// Whether an error line is one of these: EXEC answers them as they are.
pub fn is_redirection(error: &CommandError) -> bool {
    let line = error.to_string();
    ["MOVED ", "ASK ", "CROSSSLOT ", "TRYAGAIN ", "CLUSTERDOWN "].iter().any(|word| line.starts_with(word))
}

/// What a script's command may not do here, in the words for scripts. Call it for each command a script runs, before
/// the command; `declared` is the slot of the script's keys or of its commands so far.
///
/// # Errors
/// The text of the script error.
#[allow(clippy::too_many_arguments, reason = "what a command of a script is, and where")]
pub fn admit_script_command(
    topology: &Topology,
    config: &Config,
    session: &Session,
    command: &'static Command,
    args: &[&[u8]],
    declared: &mut Option<Slot>,
    keyspace: &Keyspace,
) -> Result<(), String> {
    let standing = Standing { asking: true, readonly: session.readonly, db: session.db, writes: false };
    let now = crate::clock::unix_ms();
    let mut exists = |db: u32, key: &[u8]| exists(keyspace, db, key, now);
    let asked = std::iter::once(Asked { command, args });
    let name = command.name;
    match decide(topology, config, standing, asked, &mut exists) {
        Ok(None) => Ok(()),
        Ok(Some(slot)) => match declared {
            Some(known) if *known != slot => {
                Err("Script attempted to access keys that do not hash to the same slot".to_owned())
            }
            _ => {
                *declared = Some(slot);
                Ok(())
            }
        },
        Err(Elsewhere::DownForWrites) => {
            Err(format!("Can not execute a write command '{name}' while the cluster is down and readonly"))
        }
        Err(Elsewhere::Down) => Err(format!("Can not execute a command '{name}' while the cluster is down")),
        Err(Elsewhere::CrossSlot) => {
            Err("Script attempted to access keys that do not hash to the same slot".to_owned())
        }
        Err(_) => Err("Attempted to access a non local key in a cluster node".to_owned()),
    }
}
