//! SUBSCRIBE and its kin, PUBLISH, PUBSUB, and RESET of a subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use skuld::commands::Command;
use skuld::resp::Reply;
use skuld::session::Session;

use super::{Outcome, Request};
use crate::batch::Batch;
use crate::clients::ClientShared;
use crate::connection::Fence;
use crate::envelope::tell;
use crate::gossip::{PublishToNodes, waiting_bytes};
use crate::replication::Replication;
use crate::replication_log::Append;
use crate::server::Server;
use crate::subscriptions::{Kind, Subscribed};

/// The client that runs one of these commands.
pub struct Subscriber<'a> {
    pub session: &'a mut Session,
    pub shared: &'a Arc<ClientShared>,
    pub subscribed: &'a mut Subscribed,
}

/// Whether this is one of the commands that [`execute`] knows.
pub fn is_one(command: &Command) -> bool {
    matches!(
        command.name,
        "subscribe"
            | "psubscribe"
            | "ssubscribe"
            | "publish"
            | "spublish"
            | "pubsub|channels"
            | "pubsub|numpat"
            | "pubsub|numsub"
            | "pubsub|shardchannels"
            | "pubsub|shardnumsub"
    ) || ends_subscriptions(command)
}

fn ends_subscriptions(command: &Command) -> bool {
    matches!(command.name, "unsubscribe" | "punsubscribe" | "sunsubscribe")
}

/// Whether the command's replies are pushes, which CLIENT REPLY does not silence.
pub fn replies_are_pushes(command: &Command) -> bool {
    matches!(command.name, "subscribe" | "psubscribe" | "ssubscribe") || ends_subscriptions(command)
}

/// Runs the request. Nobody is told of the end of a subscription before the messages that came first.
pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    let had_any = batch.subscribed.len() > 0;
    let words: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
    let subscriber =
        Subscriber { session: &mut batch.session, shared: &batch.shared, subscribed: &mut batch.subscribed };
    execute(&request.server, subscriber, request.command, &words, &mut request.reply);
    propagate(&request.server, &batch.session, request.command, &words);
    if had_any && ends_subscriptions(request.command) {
        pass_messages(batch).await;
    }
    Ok(())
}

/// RESET of a client that has subscriptions.
pub async fn reset(request: &mut Request, batch: &mut Batch) -> Outcome {
    request.server.monitors.remove(&batch.shared);
    batch.subscribed.clear();
    super::tracking::stop(batch);
    pass_messages(batch).await;
    batch.transaction.queue = None;
    batch.transaction.unwatch();
    batch.session.reset(request.server.access.is_open());
    request.reply.set_protocol(batch.session.protocol);
    request.reply.simple("RESET");
    Ok(())
}

/// Waits until the connection has passed on the messages that were sent to it so far.
async fn pass_messages(batch: &Batch) {
    let (done, passed) = tokio::sync::oneshot::channel();
    tell(&batch.connection, Fence { done });
    // The connection may end meanwhile; then nobody reads the reply either.
    let _ = passed.await;
}

/// Whether the command reaches replicas: messages do, but in a cluster, where the bus carries them. No file has them.
pub fn is_propagated(server: &Server, command: &Command) -> bool {
    matches!(command.name, "publish" | "spublish") && !server.config.load().cluster_enabled
}

/// Sends the command to those who follow the log; from outside of a shard's slice.
fn propagate(server: &Server, session: &Session, command: &Command, words: &[&[u8]]) {
    if !is_propagated(server, command) || !Replication::records_effects(server.replication.flags()) {
        return;
    }
    let mut propagation = skuld::effects::Propagation::default();
    propagation.audience = skuld::effects::Audience::Replicas;
    propagation.push(session.db, words);
    let sequence = server.replication.issue();
    tell(server.replication_log(), Append { sequence, propagation, events: Vec::new() });
}

/// Runs one of these commands, replies included.
pub fn execute(
    server: &Server,
    client: Subscriber<'_>,
    command: &'static Command,
    args: &[&[u8]],
    reply: &mut Reply,
) {
    let registry = &server.subscriptions;
    let verb = command.name;
    match verb {
        "subscribe" => subscribe(server, client, Kind::Channel, args, reply),
        "psubscribe" => subscribe(server, client, Kind::Pattern, args, reply),
        "ssubscribe" => subscribe(server, client, Kind::ShardChannel, args, reply),
        "unsubscribe" => unsubscribe(client, Kind::Channel, args, reply),
        "punsubscribe" => unsubscribe(client, Kind::Pattern, args, reply),
        "sunsubscribe" => unsubscribe(client, Kind::ShardChannel, args, reply),
        "publish" | "spublish" => {
            let kind = if verb == "publish" { Kind::Channel } else { Kind::ShardChannel };
            let receivers = registry.publish(kind, args[1], args[2]);
            reply.integer(receivers as i64);
            if let Some(cluster) = &server.cluster {
                let (channel, message) = (args[1].to_vec(), args[2].to_vec());
                let sharded = kind == Kind::ShardChannel;
                if sharded {
                    crate::slot_stats::add_message(server, &channel, &message, receivers);
                }
                let waiting = cluster.for_all_peers(waiting_bytes(&channel, &message));
                cluster.waiting_bytes.fetch_add(waiting, Relaxed);
                tell(cluster.gossip(), PublishToNodes { sharded, channel, message, waiting });
            }
        }
        "pubsub|numpat" => reply.integer(registry.len(Kind::Pattern) as i64),
        "pubsub|channels" | "pubsub|shardchannels" if args.len() > 3 => reply.error(&format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
            String::from_utf8_lossy(args[1])
        )),
        "pubsub|channels" | "pubsub|shardchannels" => {
            let kind = if verb == "pubsub|channels" { Kind::Channel } else { Kind::ShardChannel };
            let names = registry.names(kind, args.get(2).copied());
            reply.array(names.len());
            names.iter().for_each(|name| reply.bulk(name));
        }
        _ => {
            let kind = if verb == "pubsub|numsub" { Kind::Channel } else { Kind::ShardChannel };
            reply.array((args.len() - 2) * 2);
            for name in &args[2..] {
                reply.bulk(name);
                reply.integer(registry.subscribers(kind, name) as i64);
            }
        }
    }
}

fn subscribe(server: &Server, client: Subscriber<'_>, kind: Kind, args: &[&[u8]], reply: &mut Reply) {
    // Messages of the new channels come in the protocol the client speaks now.
    client.shared.publish(client.session);
    for name in &args[1..] {
        client.subscribed.add(&server.subscriptions, client.shared, kind, name);
        confirm(args[0], Some(name), client.subscribed.count(kind), reply);
    }
    client.session.subscriptions = client.subscribed.len();
}

fn unsubscribe(client: Subscriber<'_>, kind: Kind, args: &[&[u8]], reply: &mut Reply) {
    let all = client.subscribed.names(kind);
    let names: Vec<&[u8]> =
        if args.len() > 1 { args[1..].to_vec() } else { all.iter().map(|n| &**n).collect() };
    for name in &names {
        client.subscribed.remove(kind, name);
        confirm(args[0], Some(name), client.subscribed.count(kind), reply);
    }
    if names.is_empty() {
        confirm(args[0], None, client.subscribed.count(kind), reply);
    }
    client.session.subscriptions = client.subscribed.len();
}

/// One reply of SUBSCRIBE and its kin: the verb in lower case, the name, the client's subscriptions left.
pub fn confirm(verb: &[u8], name: Option<&[u8]>, count: usize, reply: &mut Reply) {
    reply.push(3);
    reply.bulk(&verb.to_ascii_lowercase());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}
