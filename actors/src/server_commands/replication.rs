//! Commands about replication: REPLICAOF, PSYNC, SYNC, REPLCONF, ROLE, WAIT, WAITAOF.

use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;
use skuld::replication::peer::{Asked, Content, Peer};
use skuld::resp::decode::parse_integer;
use skuld::session::Origin;
use tokio::sync::oneshot;

use super::{Outcome, Request};
use crate::batch::Batch;
use crate::blocked::{self, Awaited, Waited};
use crate::envelope::tell;
use crate::replication::followers::{Follower, Stage};
use crate::replication::link::{LinkState, Primary, acknowledgement};
use crate::replication::role::{self, Resync};
use crate::replication::{bit, failover};
use crate::replication_log::{
    Acknowledged, AwaitAcknowledged, DescribeReplication, Facts, Follow, Following, Reached, Want,
};
use crate::server::ServerRef;

/// Between two looks at whether the process is about to stop (DEBUG PAUSE-AFTER-FORK).
const PAUSE_LOOK: std::time::Duration = std::time::Duration::from_millis(5);

/// Asks the log for what INFO and ROLE show.
pub async fn facts(server: &ServerRef) -> Facts {
    let (reply, answer) = oneshot::channel();
    tell(server.replication_log(), DescribeReplication { reply });
    answer.await.unwrap_or_default()
}

/// The same for a command; one that runs inside a transaction or a script sees what the log showed last.
pub async fn facts_for(request: &Request) -> Facts {
    if request.inside.is_some() {
        return Facts::clone(&request.server.replication.facts.load());
    }
    facts(&request.server).await
}

pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    match request.command.spec.name {
        "replicaof" | "slaveof" => replicaof(request, batch).await,
        "psync" | "sync" => follow(request, batch).await,
        "replconf" => {
            // DEBUG PAUSE-AFTER-FORK: a process that stands still would not have read this yet.
            while request.server.replication.about_to_pause.load(Ordering::Relaxed)
                && request.is_word(1, "set-rdb-client-id")
            {
                tokio::time::sleep(PAUSE_LOOK).await;
            }
            replconf(request, batch)
        }
        "role" => role(request).await,
        "wait" => wait(request, batch).await,
        "waitaof" => wait_aof(request, batch).await,
        _ => failover::command(request).await,
    }
}

/// REPLICAOF host port | NO ONE
async fn replicaof(request: &mut Request, batch: &mut Batch) -> Outcome {
    let server = request.server.clone();
    if server.config.load().cluster_enabled {
        return Err(CommandError::fixed("ERR REPLICAOF not allowed in cluster mode."));
    }
    if server.replication.failover.is_under_way() {
        return Err(CommandError::fixed("ERR REPLICAOF not allowed while failing over."));
    }
    let by = super::client::short_line(&server, &batch.shared);
    if request.is_word(1, "no") && request.is_word(2, "one") {
        if server.replication.is_replica() {
            tracing::info!("PRIMARY MODE enabled (user request from '{by}')");
            if request.inside.is_some() {
                // The transaction's own thread is needed for it.
                role::set_directive_now(&server, None);
                actix_rt::spawn(async move { role::lead(&server).await });
            } else {
                role::lead(&server).await;
            }
        }
        request.reply.ok();
        return Ok(());
    }
    if batch.session.replica.as_ref().is_some_and(|peer| peer.attached) {
        return Err(CommandError::fixed("ERR Command is not valid when client is a replica."));
    }
    let port = parse_integer(&request.args[2]).filter(|port| (0..=65535).contains(port));
    let Some(port) = port else {
        return Err(CommandError::fixed("ERR Invalid master port"));
    };
    let host = String::from_utf8_lossy(&request.args[1]).into_owned();
    let primary = Primary { host, port: port as u16 };
    let same = server
        .replication
        .link()
        .primary
        .as_ref()
        .is_some_and(|now| now.host.eq_ignore_ascii_case(&primary.host) && now.port == primary.port);
    if same {
        tracing::info!(
            "REPLICAOF would result into synchronization with the primary we are already connected with. No operation \
             performed."
        );
        request.reply.simple("OK Already connected to specified master");
        return Ok(());
    }
    tracing::info!("REPLICAOF {}:{} enabled (user request from '{by}')", primary.host, primary.port);
    if request.inside.is_some() {
        role::set_directive_now(&server, Some(&primary));
        if !server.replication.is_replica() {
            // Writes are refused from here on; the rest follows when the transaction is over.
            server.replication.set(crate::replication::bit::BECOMING_REPLICA);
            let mut view = server.replication.link();
            view.primary = Some(primary.clone());
            view.state = LinkState::Connect;
            view.down_since_ms = crate::clock::unix_ms();
        }
        actix_rt::spawn(async move { role::follow(&server, primary, Resync::IfPossible, None).await });
    } else {
        role::follow(&server, primary, Resync::IfPossible, None).await;
    }
    request.reply.ok();
    Ok(())
}

/// PSYNC name offset [FAILOVER], SYNC
async fn follow(request: &mut Request, batch: &mut Batch) -> Outcome {
    let server = request.server.clone();
    let peer: Peer = batch.session.replica.as_deref().cloned().unwrap_or_default();
    if peer.attached {
        return Ok(());
    }
    let psync = request.command.spec.name == "psync";
    if psync && request.args.len() > 3 && request.is_word(3, "failover") {
        tracing::info!("Failover request received for replid {}.", String::from_utf8_lossy(&request.args[1]));
        if !server.replication.is_replica() {
            return Err(CommandError::fixed("ERR PSYNC FAILOVER can't be sent to a master."));
        }
        if !request.args[1].eq_ignore_ascii_case(server.replication_id.load().as_bytes()) {
            return Err(CommandError::fixed("ERR PSYNC FAILOVER replid must match my replid."));
        }
        role::lead(&server).await;
        let by = super::client::short_line(&server, &batch.shared);
        tracing::info!("PRIMARY MODE enabled (failover request from '{by}')");
    }
    if server.replication.failover.is_under_way() {
        return Err(CommandError::fixed("NOMASTERLINK Can't SYNC while failing over"));
    }
    let flags = server.replication.flags();
    if flags & bit::REPLICA != 0 && flags & bit::LINK_UP == 0 {
        return Err(CommandError::fixed("NOMASTERLINK Can't SYNC while not connected with my master"));
    }
    if !request.reply.is_empty() || batch.shared.output_bytes.load(Ordering::Relaxed) > 0 {
        return Err(CommandError::fixed("ERR SYNC and PSYNC are invalid with pending output"));
    }
    if peer.content != Content::Everything && !peer.eof {
        return Err(CommandError::fixed("ERR Filtered replica requires EOF capability"));
    }
    let want = if psync {
        let Some(from) = parse_integer(&request.args[2]) else {
            let follower = Follower::new(batch.shared.clone(), peer, Stage::Waiting, false);
            tracing::info!("Replica {} asks for synchronization", follower.name());
            tracing::warn!("Replica {} asks for synchronization but with a wrong offset", follower.name());
            return Err(CommandError::NotInteger);
        };
        Want::Continue { name: request.args[1].clone(), from }
    } else {
        Want::Snapshot
    };
    let (reply, following) = oneshot::channel();
    batch.session.replica.get_or_insert_default().attached = true;
    batch.shared.publish(&batch.session);
    tell(server.replication_log(), Follow { shared: batch.shared.clone(), peer, want, reply });
    if following.await == Ok(Following::DualChannel) {
        batch.session.replica.get_or_insert_default().attached = false;
        batch.shared.publish(&batch.session);
        request.reply.simple("DUALCHANNELSYNC");
    }
    Ok(())
}

/// REPLCONF option value ...
fn replconf(request: &mut Request, batch: &mut Batch) -> Outcome {
    if request.args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let config = request.server.config.load_full();
    let dual_channel = config.dual_channel_replication_enabled && config.repl_diskless_sync;
    let args = &request.args;
    let mut at = 1;
    while at < args.len() {
        if args[at].eq_ignore_ascii_case(b"getack") {
            // Only a primary asks. What came before in its stream has been executed, and this has not.
            if batch.session.origin == Origin::Primary {
                let executed = request.server.replication.executed.load(Ordering::Relaxed);
                let offset = executed + batch.bytes_before(batch.next) as i64;
                let bytes = acknowledgement(&request.server, offset);
                let replication = &request.server.replication;
                if replication.file_offset.load(Ordering::Relaxed) < offset {
                    replication.owes_acknowledgement.store(true, Ordering::Relaxed);
                }
                tell(&batch.connection, crate::connection::Deliver { bytes: bytes.into() });
            }
            return Ok(());
        }
        let peer = batch.session.replica.get_or_insert_default();
        match peer.take(&args[at], &args[at + 1], dual_channel)? {
            Asked::Nothing => {}
            Asked::Acknowledge { offset, .. } => {
                let file_offset = args
                    .get(at + 2..at + 4)
                    .filter(|more| more[0].eq_ignore_ascii_case(b"fack"))
                    .and_then(|more| parse_integer(&more[1]));
                if peer.attached {
                    let client = batch.session.id;
                    tell(request.server.replication_log(), Acknowledged { client, offset, file_offset });
                }
                return Ok(());
            }
            Asked::SendAcknowledgement | Asked::NothingToAcknowledge => return Ok(()),
            Asked::UseRdbClient(client) => {
                if !request.server.replication.awaiting_psync.load().contains(&client) {
                    return Err(CommandError::text(format!("ERR Unrecognized RDB client id {client}")));
                }
                peer.rdb_client = Some(client);
            }
            Asked::SetNodeId(_) if !config.cluster_enabled => {
                return Err(CommandError::fixed("ERR This instance has cluster support disabled"));
            }
            Asked::SetNodeId(_) => {}
        }
        at += 2;
    }
    request.reply.ok();
    Ok(())
}

/// ROLE
async fn role(request: &mut Request) -> Outcome {
    let server = request.server.clone();
    let facts = facts_for(request).await;
    let offset = facts.history.as_ref().map_or(0, |h| h.offset);
    let reply = &mut request.reply;
    if server.replication.shows_replica() {
        let view = server.replication.link();
        let (host, port) = view.primary.as_ref().map_or_else(Default::default, |p| (p.host.clone(), p.port));
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(host.as_bytes());
        reply.integer(i64::from(port));
        reply.bulk(view.state.text().as_bytes());
        reply.integer(if view.state == LinkState::Connected { offset } else { -1 });
        return Ok(());
    }
    let online: Vec<_> = facts.followers.iter().filter(|f| f.online).collect();
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(offset);
    reply.array(online.len());
    for follower in online {
        reply.array(3);
        reply.bulk(follower.ip.as_bytes());
        reply.bulk(follower.port.to_string().as_bytes());
        reply.bulk(follower.offset.to_string().as_bytes());
    }
    Ok(())
}

/// Milliseconds to wait, 0 for ever.
fn timeout_of(word: &[u8]) -> Result<i64, CommandError> {
    match parse_integer(word) {
        None => Err(CommandError::fixed("ERR timeout is not an integer or out of range")),
        Some(n) if n < 0 => Err(CommandError::fixed("ERR timeout is negative")),
        Some(n) if n > i64::MAX - crate::clock::unix_ms() => {
            Err(CommandError::fixed("ERR timeout is out of range"))
        }
        Some(n) => Ok(n),
    }
}

/// WAIT numreplicas timeout
async fn wait(request: &mut Request, batch: &mut Batch) -> Outcome {
    if request.server.replication.is_replica() {
        return Err(CommandError::fixed(
            "ERR WAIT cannot be used with replica instances. Please also note that if a replica is configured to be \
             writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let replicas = parse_integer(&request.args[1]).ok_or(CommandError::NotInteger)?;
    let timeout = timeout_of(&request.args[2])?;
    let wanted = Wanted { replicas, on_disk: false, local: false };
    let reached = acknowledged(request, batch, wanted, timeout).await?;
    request.reply.integer(reached.replicas as i64);
    Ok(())
}

const NO_FILE: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// WAITAOF numlocal numreplicas timeout
async fn wait_aof(request: &mut Request, batch: &mut Batch) -> Outcome {
    let bad = || CommandError::NotInteger;
    let local = parse_integer(&request.args[1]).ok_or_else(bad)?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::fixed("ERR value is out of range, value must between 0 and 1"));
    }
    let Some(replicas) = parse_integer(&request.args[2]).filter(|&n| n >= 0) else {
        return Err(CommandError::fixed("ERR value is out of range, must be positive"));
    };
    let timeout = timeout_of(&request.args[3])?;
    if request.server.replication.is_replica() {
        return Err(CommandError::fixed(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local \
             and are not propagated.",
        ));
    }
    if local == 1 && !request.server.config.load().appendonly {
        return Err(CommandError::fixed(NO_FILE));
    }
    let wanted = Wanted { replicas, on_disk: true, local: local == 1 };
    let reached = acknowledged(request, batch, wanted, timeout).await?;
    if local == 1 && reached.no_file {
        return Err(CommandError::fixed(NO_FILE));
    }
    request.reply.array(2);
    request.reply.integer(i64::from(reached.here));
    request.reply.integer(reached.replicas as i64);
    Ok(())
}

struct Wanted {
    replicas: i64,
    on_disk: bool,
    local: bool,
}

async fn acknowledged(
    request: &mut Request,
    batch: &mut Batch,
    wanted: Wanted,
    timeout_ms: i64,
) -> Result<Reached, CommandError> {
    let server = request.server.clone();
    let sequence = batch.appended;
    let Wanted { replicas, on_disk, local } = wanted;
    let ask = |at_once: bool| {
        let (reply, answer) = oneshot::channel();
        let replicas = usize::try_from(replicas).unwrap_or(0);
        tell(
            server.replication_log(),
            AwaitAcknowledged { sequence, replicas, on_disk, local, at_once, reply },
        );
        answer
    };
    if request.inside.is_some() {
        let facts = facts_for(request).await;
        let end = facts.history.as_ref().map_or(0, |h| h.offset);
        let replicas = facts.followers.iter().filter(|f| f.online && f.offset >= end).count();
        return Ok(Reached { replicas, ..Reached::default() });
    }
    let now = ask(true).await.unwrap_or_default();
    if now.replicas as i64 >= replicas && (now.here || !local) {
        return Ok(now);
    }
    let deadline_ms = if timeout_ms == 0 { 0 } else { crate::clock::unix_ms().saturating_add(timeout_ms) };
    match blocked::wait_outside(request, batch, Awaited::Outside, deadline_ms, ask(false)).await {
        Waited::Ready(Ok(answer)) => Ok(answer),
        Waited::Ready(Err(_)) | Waited::TimedOut => Ok(ask(true).await.unwrap_or_default()),
        Waited::Refused(error) => Err(error),
    }
}
