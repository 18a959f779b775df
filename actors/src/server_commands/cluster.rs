//! CLUSTER: the subcommands that need the node. Those about the keys of a slot are in `skuld::commands::cluster`.

use std::sync::Arc;
use std::time::Duration;

use skuld::cluster::machine::{FailoverKind, Refusal, SetSlot};
use skuld::cluster::{NodeId, describe};
use skuld::commands::cluster::{DISABLED, slot_number};
use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;
use skuld::slot::{SLOTS, Slot};

use super::client::short_line;
use super::replication::facts;
use super::{Outcome, Request};
use crate::batch::Batch;
use crate::blocked::{self, Awaited, Waited};
use crate::clock;
use crate::envelope::tell;
use crate::gate::cluster::view_of;
use crate::gossip::{ClusterShared, DescribeLinks};
use crate::replication_log::{Facts, FollowerFacts, Inject};

/// How long SETSLOT waits for replicas if it does not say.
const SETSLOT_TIMEOUT_MS: i64 = 2000;
/// Replicas of later versions than this one (7.2.255) take SETSLOT from the stream.
const TAKES_NO_SETSLOT: u32 = 0x7_02_ff;
/// Between two looks at what replicas have acknowledged.
const ACKNOWLEDGED_LOOK: Duration = Duration::from_millis(2);

const NO_REPLICAS: CommandError = CommandError::fixed("NOREPLICAS Not enough good replicas to write.");
const INVALID_SLOT: CommandError = CommandError::fixed("ERR Invalid or out of range slot");

/// Runs the subcommand.
pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    let Some(cluster) = request.server.cluster.clone() else { return Err(DISABLED) };
    let view = view_of(&batch.session);
    match request.command.spec.name {
        "cluster|myid" => {
            let id = cluster.with(|machine, _, _| machine.me().id).await;
            request.reply.bulk(id.as_bytes());
        }
        "cluster|myshardid" => {
            let id = cluster.with(|machine, _, _| machine.me().shard_id).await;
            request.reply.bulk(id.as_bytes());
        }
        "cluster|nodes" => {
            let text = cluster.with(move |machine, _, _| describe::nodes_text(machine, view)).await;
            request.reply.verbatim("txt", text.as_bytes());
        }
        "cluster|info" => {
            let text = cluster.with(|machine, _, _| describe::info_text(machine)).await;
            request.reply.verbatim("txt", text.as_bytes());
        }
        "cluster|slots" | "cluster|shards" => return describe_slots(request, batch, &cluster).await,
        "cluster|links" => return links(request, &cluster).await,
        "cluster|replicas" | "cluster|slaves" => return replicas(request, batch, &cluster).await,
        "cluster|count-failure-reports" => {
            let id = request.args[2].clone();
            let count = cluster.with(move |machine, _, _| {
                let index =
                    NodeId::parse(&id).and_then(|id| machine.find(&id)).ok_or_else(|| unknown(&id))?;
                Ok::<_, CommandError>(machine.failure_reports(index))
            });
            request.reply.integer(count.await? as i64);
        }
        "cluster|slot-stats" => return super::slot_stats::run(request, &cluster).await,
        "cluster|saveconfig" => {
            cluster.with(|machine, _, _| machine.save_now()).await;
            request.reply.ok();
        }
        _ => return change(request, batch, &cluster).await,
    }
    Ok(())
}

/// The subcommands that change something.
async fn change(request: &mut Request, batch: &mut Batch, cluster: &Arc<ClusterShared>) -> Outcome {
    let who = short_line(&request.server, &batch.shared);
    match request.command.spec.name {
        "cluster|meet" => return meet(request, cluster, who).await,
        "cluster|forget" => {
            let id = request.args[2].clone();
            let done = cluster.with(move |machine, facts, _| {
                let done = machine.forget(facts, &id);
                if done.is_ok() {
                    let id = String::from_utf8_lossy(&id);
                    tracing::info!("Cluster forget {id} (user request from '{who}').");
                }
                done
            });
            done.await.map_err(refused)?;
        }
        "cluster|replicate" => return replicate(request, cluster).await,
        "cluster|reset" => {
            let hard = match request.args.get(2).map(|word| word.to_ascii_lowercase()) {
                None => false,
                Some(word) if word == b"soft" => false,
                Some(word) if word == b"hard" => true,
                Some(_) if request.args.len() > 3 => return Err(wrong_arguments(request)),
                Some(_) => return Err(CommandError::Syntax),
            };
            if request.args.len() > 3 {
                return Err(wrong_arguments(request));
            }
            let is_empty = keys_of_all(request).await == 0;
            tracing::info!("Cluster reset (user request from '{who}').");
            cluster
                .with(move |machine, facts, _| machine.reset(facts, hard, is_empty))
                .await
                .map_err(refused)?;
        }
        "cluster|set-config-epoch" => {
            let epoch = parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?;
            cluster
                .with(move |machine, facts, _| machine.set_config_epoch(facts, epoch))
                .await
                .map_err(refused)?;
        }
        "cluster|bumpepoch" => {
            let (epoch, bumped) = cluster.with(|machine, facts, _| machine.bump_epoch(facts)).await;
            let word = if bumped { "BUMPED" } else { "STILL" };
            request.reply.simple(&format!("{word} {epoch}"));
            return Ok(());
        }
        "cluster|addslots" | "cluster|addslotsrange" | "cluster|delslots" | "cluster|delslotsrange" => {
            return slots(request, cluster).await;
        }
        "cluster|flushslots" => {
            if keys_of_all(request).await > 0 {
                return Err(CommandError::fixed("ERR DB must be empty to perform CLUSTER FLUSHSLOTS."));
            }
            cluster.with(|machine, facts, _| machine.flush_slots(facts)).await;
        }
        "cluster|failover"
            if !batch.session.origin.is_client()
                && request.args.len() == 5
                && request.is_word(2, "force")
                && request.is_word(3, "replicaid") =>
        {
            // From the primary's stream: it shuts down and has chosen who takes over.
            let chosen = request.args[4].clone();
            cluster.with(move |machine, facts, _| machine.failover_of_shutdown(facts, &chosen, &who)).await;
        }
        "cluster|failover" => {
            let kind = match request.args.get(2).map(|word| word.to_ascii_lowercase()) {
                None => FailoverKind::Default,
                Some(word) if word == b"force" => FailoverKind::Force,
                Some(word) if word == b"takeover" => FailoverKind::Takeover,
                Some(_) => return Err(CommandError::Syntax),
            };
            // The last of several words counts, as in the reference server.
            let kind = match request.args.get(3).map(|word| word.to_ascii_lowercase()) {
                None => kind,
                Some(word) if word == b"force" => FailoverKind::Force,
                Some(word) if word == b"takeover" => FailoverKind::Takeover,
                Some(_) => return Err(CommandError::Syntax),
            };
            cluster
                .with(move |machine, facts, _| machine.failover(facts, kind, &who))
                .await
                .map_err(refused)?;
        }
        "cluster|setslot" => return set_slot(request, batch, cluster).await,
        name => return Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
    request.reply.ok();
    Ok(())
}

fn refused(Refusal(text): Refusal) -> CommandError {
    CommandError::Bytes([b"ERR ".as_slice(), text.as_bytes()].concat())
}

fn unknown(id: &[u8]) -> CommandError {
    CommandError::quoting("ERR Unknown node ", id, "")
}

fn wrong_arguments(request: &Request) -> CommandError {
    CommandError::quoting(
        "ERR unknown subcommand or wrong number of arguments for '",
        &request.args[1],
        "'. Try CLUSTER HELP.",
    )
}

/// Keys in all databases.
async fn keys_of_all(request: &Request) -> u64 {
    let shards = request.describe_shards().await;
    shards.iter().flat_map(|shard| &shard.databases).map(|database| database.keys).sum()
}

/// Keys of a slot in all databases.
async fn keys_of_slot(request: &Request, slot: Slot) -> u64 {
    request.slot_keys(vec![slot]).await.first().map_or(0, |(_, keys)| *keys)
}

async fn describe_slots(request: &mut Request, batch: &Batch, cluster: &Arc<ClusterShared>) -> Outcome {
    let view = view_of(&batch.session);
    let kind = request.server.config.load().cluster_preferred_endpoint_type;
    let protocol = batch.session.protocol;
    let slots = request.command.spec.name == "cluster|slots";
    let bytes = cluster
        .with(move |machine, _, topology| {
            let mut reply = skuld::resp::Reply::new(protocol);
            if slots {
                describe::write_slots(machine, topology, kind, view, &mut reply);
            } else {
                describe::write_shards(machine, topology, kind, view, &mut reply);
            }
            reply.into_bytes()
        })
        .await;
    request.reply.raw(&bytes);
    Ok(())
}

async fn links(request: &mut Request, cluster: &Arc<ClusterShared>) -> Outcome {
    let (reply, answer) = tokio::sync::oneshot::channel();
    tell(cluster.gossip(), DescribeLinks { reply });
    let links = answer.await.unwrap_or_default();
    let reply = &mut request.reply;
    reply.array(links.len());
    for link in links {
        reply.map(6);
        reply.bulk(b"direction");
        reply.bulk(if link.inbound { b"from" } else { b"to" });
        reply.bulk(b"node");
        reply.bulk(link.node.as_bytes());
        reply.bulk(b"create-time");
        reply.integer(link.created_ms);
        reply.bulk(b"events");
        reply.bulk(if link.waiting > 0 { b"rw" } else { b"r" });
        reply.bulk(b"send-buffer-allocated");
        reply.integer(link.waiting as i64);
        reply.bulk(b"send-buffer-used");
        reply.integer(link.waiting as i64);
    }
    Ok(())
}

async fn replicas(request: &mut Request, batch: &Batch, cluster: &Arc<ClusterShared>) -> Outcome {
    let (id, view) = (request.args[2].clone(), view_of(&batch.session));
    let lines = cluster
        .with(move |machine, _, _| {
            let index = NodeId::parse(&id).and_then(|id| machine.find(&id)).ok_or_else(|| unknown(&id))?;
            if machine.node(index).is_replica() {
                return Err(CommandError::fixed("ERR The specified node is not a master"));
            }
            let replicas = machine.node(index).replicas.clone();
            Ok(replicas
                .into_iter()
                .map(|replica| describe::node_line(machine, replica, view))
                .collect::<Vec<_>>())
        })
        .await?;
    request.reply.array(lines.len());
    lines.iter().for_each(|line| request.reply.bulk(line.as_bytes()));
    Ok(())
}

async fn meet(request: &mut Request, cluster: &Arc<ClusterShared>, who: String) -> Outcome {
    let args = &request.args;
    if args.len() > 5 {
        return Err(wrong_arguments(request));
    }
    let quoted = |before: &str, word: &[u8]| Err(CommandError::quoting(before, word, ""));
    let Some(port) = parse_integer(&args[3]) else {
        return quoted("ERR Invalid base port specified: ", &args[3]);
    };
    let Ok(port @ 1..) = u16::try_from(port) else {
        return Err(CommandError::fixed("ERR Port number is out of range"));
    };
    let cport = match args.get(4) {
        None => i64::from(port) + 10_000,
        Some(word) => match parse_integer(word) {
            Some(number) => number,
            None => return quoted("ERR Invalid bus port specified: ", word),
        },
    };
    let Ok(cport @ 1..) = u16::try_from(cport) else {
        return Err(CommandError::fixed("ERR Cluster bus port number is out of range"));
    };
    let ip = String::from_utf8_lossy(&args[2]).into_owned();
    let target = ip.clone();
    if !cluster.with(move |machine, facts, _| machine.meet(facts, &target, port, cport)).await {
        let (ip, port) = (&args[2], &args[3]);
        let line = [b"ERR Invalid node address specified: ".as_slice(), ip, b":", port].concat();
        return Err(CommandError::Bytes(line));
    }
    tracing::info!("Cluster meet {ip}:{port} (user request from '{who}').");
    request.reply.ok();
    Ok(())
}

async fn replicate(request: &mut Request, cluster: &Arc<ClusterShared>) -> Outcome {
    let args = &request.args;
    let no_one = args.len() == 4 && request.is_word(2, "no") && request.is_word(3, "one");
    if no_one {
        cluster.with(|machine, facts, _| machine.replicate_no_one(facts)).await;
    } else if args.len() == 3 {
        let id = args[2].clone();
        let is_empty = keys_of_all(request).await == 0;
        cluster
            .with(move |machine, facts, _| machine.replicate(facts, &id, is_empty))
            .await
            .map_err(refused)?;
    } else {
        return Err(wrong_arguments(request));
    }
    request.reply.ok();
    Ok(())
}

fn slot_of_word(word: &[u8]) -> Result<Slot, CommandError> {
    parse_integer(word).and_then(slot_number).ok_or(INVALID_SLOT)
}

/// ADDSLOTS, ADDSLOTSRANGE, DELSLOTS, DELSLOTSRANGE: all of the slots or none.
async fn slots(request: &mut Request, cluster: &Arc<ClusterShared>) -> Outcome {
    let name = request.command.spec.name;
    let ranges = name.ends_with("range");
    let words = &request.args[2..];
    let mut pairs = Vec::new();
    if ranges {
        if !words.len().is_multiple_of(2) {
            return Err(CommandError::Arity(name));
        }
        for pair in words.chunks_exact(2) {
            let (start, end) = (slot_of_word(&pair[0])?, slot_of_word(&pair[1])?);
            if start > end {
                return Err(CommandError::text(format!(
                    "ERR start slot number {} is greater than end slot number {}",
                    start.0, end.0
                )));
            }
            pairs.push((start.0, end.0));
        }
    } else {
        for word in words {
            let slot = slot_of_word(word)?;
            pairs.push((slot.0, slot.0));
        }
    }
    let add = name.starts_with("cluster|add");
    let done = cluster.with(move |machine, facts, topology| {
        let mut seen = vec![false; SLOTS];
        let mut slots = Vec::new();
        for number in pairs.into_iter().flat_map(|(start, end)| start..=end) {
            let slot = Slot(number);
            let taken = topology.owner_index(slot).is_some();
            if taken && add {
                return Err(Refusal(format!("Slot {number} is already busy")));
            }
            if !taken && !add {
                return Err(Refusal(format!("Slot {number} is already unassigned")));
            }
            if std::mem::replace(&mut seen[slot.index()], true) {
                return Err(Refusal(format!("Slot {number} specified multiple times")));
            }
            slots.push(slot);
        }
        if add { machine.add_slots(facts, &slots) } else { machine.delete_slots(facts, &slots) }
    });
    done.await.map_err(refused)?;
    request.reply.ok();
    Ok(())
}

fn is_replica(cluster: &ClusterShared) -> bool {
    cluster.topology().me().role == skuld::cluster::Role::Replica
}

/// Sends the command to the replicas and waits until they have it: a replica that takes over knows of every slot
/// that was being moved, or was given away.
async fn replicas_first(
    request: &mut Request,
    batch: &mut Batch,
    cluster: &ClusterShared,
    timeout_ms: i64,
) -> Outcome {
    let server = request.server.clone();
    let able = |facts: &Facts, offset: i64| {
        let able = |f: &&FollowerFacts| f.online && f.version > TAKES_NO_SETSLOT && f.offset >= offset;
        facts.followers.iter().filter(able).count()
    };
    let wanted = able(&facts(&server).await, i64::MIN);
    if wanted == 0 {
        return Ok(());
    }
    tell(server.replication_log(), Inject { words: request.args.clone() });
    let end = facts(&server).await.history.map_or(0, |history| history.offset);
    let ask = [b"REPLCONF".as_slice(), b"GETACK", b"*"].map(<[u8]>::to_vec).to_vec();
    tell(server.replication_log(), Inject { words: ask });
    let acknowledged = async {
        while able(&facts(&server).await, end) < wanted && !is_replica(cluster) {
            tokio::time::sleep(ACKNOWLEDGED_LOOK).await;
        }
    };
    let deadline_ms = if timeout_ms == 0 { 0 } else { clock::unix_ms().saturating_add(timeout_ms) };
    match blocked::wait_outside(request, batch, Awaited::Replicas, deadline_ms, acknowledged).await {
        Waited::Ready(()) => Ok(()),
        Waited::TimedOut => Err(NO_REPLICAS),
        Waited::Refused(error) => Err(error),
    }
}

/// `SETSLOT slot (MIGRATING id | IMPORTING id | STABLE | NODE id) [TIMEOUT ms]`
async fn set_slot(request: &mut Request, batch: &mut Batch, cluster: &Arc<ClusterShared>) -> Outcome {
    const INVALID: CommandError =
        CommandError::fixed("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
    use std::sync::atomic::Ordering::Relaxed;
    let from_client = batch.session.origin.is_client();
    if from_client && is_replica(cluster) {
        return Err(CommandError::fixed("ERR Please use SETSLOT only with masters."));
    }
    if cluster.imports.load(Relaxed) > 0 {
        return Err(CommandError::fixed("ERR Slot import in progress."));
    }
    if cluster.exports.load(Relaxed) > 0 {
        return Err(CommandError::fixed("ERR Slot export in progress."));
    }
    let args = &request.args;
    let slot = slot_of_word(&args[2])?;
    let id = args.get(4).cloned();
    let (action, next) = match (args[3].to_ascii_lowercase().as_slice(), id) {
        (b"migrating", Some(id)) => (SetSlot::Migrating(id), 5),
        (b"importing", Some(id)) => (SetSlot::Importing(id), 5),
        (b"node", Some(id)) => (SetSlot::Node(id), 5),
        (b"stable", _) => (SetSlot::Stable, 4),
        _ => return Err(INVALID),
    };
    let keys = keys_of_slot(request, slot).await;
    let check = action.clone();
    if from_client {
        cluster
            .with(move |machine, _, _| machine.check_set_slot(slot, &check, keys))
            .await
            .map_err(refused)?;
    }
    let mut timeout_ms = SETSLOT_TIMEOUT_MS;
    if request.is_word(next, "timeout") {
        let Some(word) = request.args.get(next + 1) else {
            return Err(CommandError::fixed("ERR Missing timeout value"));
        };
        let timeout = parse_integer(word)
            .ok_or(CommandError::fixed("ERR timeout is not an integer or out of range"))?;
        if timeout < 0 {
            return Err(CommandError::fixed("ERR timeout is negative"));
        }
        timeout_ms = timeout;
    }
    if from_client && request.is_inside() {
        // Nobody can wait for replicas here.
        tell(request.server.replication_log(), Inject { words: request.args.clone() });
    } else if from_client {
        replicas_first(request, batch, cluster, timeout_ms).await?;
        if is_replica(cluster) {
            // It has lost its last slot meanwhile, most likely this one, and follows the new owner.
            let given = match (&action, cluster.topology().owner(slot)) {
                (SetSlot::Node(id), Some(owner)) => owner.id.to_string().as_bytes() == id.as_slice(),
                _ => false,
            };
            if !given {
                return Err(NO_REPLICAS);
            }
            request.reply.ok();
            return Ok(());
        }
    }
    cluster
        .with(move |machine, facts, _| machine.set_slot(facts, slot, &action, keys))
        .await
        .map_err(refused)?;
    request.reply.ok();
    Ok(())
}
