//! ACTOR: seeing the actors at work.

use skuld::commands::context::CommandError;

use super::{Outcome, Request};
use crate::batch::Batch;
use crate::envelope;
use crate::replication_log::{Drain, DrainStream};
use crate::shard::{DescribeShard, ShardDescription};

/// Runs ACTOR LIST, INFO, HISTOGRAM, TRACE, EFFECTS, EVENTS.
pub async fn run(request: &mut Request, _: &mut Batch) -> Outcome {
    let sub = request.args[1].to_ascii_lowercase();
    match sub.as_slice() {
        b"list" => list(request).await,
        b"info" => info(request).await,
        b"histogram" => histogram(request),
        b"trace" => trace(request),
        b"effects" => effects(request).await,
        b"events" => events(request).await,
        _ => Err(CommandError::Syntax),
    }
}

/// Asks every shard for its figures.
pub async fn describe_shards(request: &Request) -> Vec<ShardDescription> {
    let mut waiting = Vec::new();
    for shard in request.server.shards() {
        let (reply, answer) = tokio::sync::oneshot::channel();
        envelope::tell(shard, DescribeShard { reply });
        waiting.push(answer);
    }
    let mut out = Vec::new();
    for answer in waiting {
        out.extend(answer.await.ok());
    }
    out
}

async fn list(request: &mut Request) -> Outcome {
    let shards = describe_shards(request).await;
    let sums = envelope::summaries();
    let mut rows: Vec<(String, String, u64)> = Vec::new();
    for kind in envelope::ActorKind::ALL.into_iter().skip(1) {
        let messages: u64 = sums.iter().filter(|s| s.kind == kind).map(|s| s.run.count).sum();
        match kind {
            envelope::ActorKind::Shard => {
                for shard in &shards {
                    rows.push((
                        format!("shard:{}", shard.index),
                        format!("worker-{}", shard.index),
                        messages,
                    ));
                }
            }
            envelope::ActorKind::Connection => {
                rows.push((
                    format!("connection:*{}", request.server.clients.len()),
                    "workers".into(),
                    messages,
                ));
            }
            kind => rows.push((kind.name().into(), kind.name().into(), messages)),
        }
    }
    let reply = &mut request.reply;
    reply.array(rows.len());
    for (id, arbiter, messages) in rows {
        reply.map(3);
        reply.bulk(b"id");
        reply.bulk(id.as_bytes());
        reply.bulk(b"arbiter");
        reply.bulk(arbiter.as_bytes());
        reply.bulk(b"messages");
        reply.integer(messages as i64);
    }
    Ok(())
}

async fn info(request: &mut Request) -> Outcome {
    let wanted = String::from_utf8_lossy(&request.args[2]).to_ascii_lowercase();
    let shards = describe_shards(request).await;
    let index = wanted.strip_prefix("shard:").and_then(|n| n.parse::<u16>().ok());
    let Some(shard) = shards.iter().find(|s| Some(s.index) == index) else {
        return Err(CommandError::text(format!(
            "ERR No such actor '{wanted}' with state of its own to show"
        )));
    };
    let keys: u64 = shard.databases.iter().map(|d| d.keys).sum();
    let expires: u64 = shard.databases.iter().map(|d| d.expires).sum();
    let fields = [
        ("keys", keys),
        ("expires", expires),
        ("table-bytes", shard.table_bytes),
        ("deadlines-indexed", shard.wheel_items),
        ("batches-parked", shard.parked),
        ("units-pending", shard.units),
    ];
    request.reply.map(fields.len());
    for (name, value) in fields {
        request.reply.bulk(name.as_bytes());
        request.reply.integer(value as i64);
    }
    Ok(())
}

fn histogram(request: &mut Request) -> Outcome {
    let kind = request.args.get(2).map(|a| String::from_utf8_lossy(a).to_ascii_lowercase());
    let message = request.args.get(3).map(|a| String::from_utf8_lossy(a).to_ascii_lowercase());
    let sums: Vec<_> = envelope::summaries()
        .into_iter()
        .filter(|s| kind.as_deref().is_none_or(|k| k == s.kind.name()))
        .filter(|s| message.as_deref().is_none_or(|m| m == s.message.to_ascii_lowercase()))
        .collect();
    let reply = &mut request.reply;
    reply.array(sums.len());
    for sum in sums {
        reply.map(5);
        reply.bulk(b"actor");
        reply.bulk(sum.kind.name().as_bytes());
        reply.bulk(b"message");
        reply.bulk(sum.message.as_bytes());
        reply.bulk(b"count");
        reply.integer(sum.run.count as i64);
        for (name, times) in [("wait-usec", &sum.wait), ("run-usec", &sum.run)] {
            reply.bulk(name.as_bytes());
            reply.map(5);
            for (label, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
                reply.bulk(label.as_bytes());
                reply.double_text(format!("{:.3}", times.percentile_ns(percent) as f64 / 1000.0).as_bytes());
            }
            reply.bulk(b"max");
            reply.double_text(format!("{:.3}", times.max_ns as f64 / 1000.0).as_bytes());
            reply.bulk(b"sum");
            reply.double_text(format!("{:.3}", times.sum_ns as f64 / 1000.0).as_bytes());
        }
    }
    Ok(())
}

fn trace(request: &mut Request) -> Outcome {
    if request.is_word(2, "start") && request.args.len() == 3 {
        envelope::set_tracing(true);
        request.reply.ok();
        return Ok(());
    }
    if request.is_word(2, "stop") && request.args.len() == 3 {
        envelope::set_tracing(false);
        request.reply.ok();
        return Ok(());
    }
    if !request.is_word(2, "get") || request.args.len() > 4 {
        return Err(CommandError::Syntax);
    }
    let count = match request.args.get(3) {
        None => 100,
        Some(n) => {
            skuld::resp::decode::parse_integer(n).filter(|&n| n >= 0).ok_or(CommandError::NotInteger)?
        }
    };
    let records = envelope::records(count as usize);
    let reply = &mut request.reply;
    reply.array(records.len());
    for r in records {
        reply.map(7);
        reply.bulk(b"trace");
        reply.integer(r.trace as i64);
        reply.bulk(b"sender");
        reply.bulk(r.sender.to_string().as_bytes());
        reply.bulk(b"receiver");
        reply.bulk(r.receiver.to_string().as_bytes());
        reply.bulk(b"message");
        reply.bulk(r.message.as_bytes());
        reply.bulk(b"sent-unix-usec");
        reply.integer(r.sent_unix_us);
        reply.bulk(b"waited-nsec");
        reply.integer(r.waited_ns as i64);
        reply.bulk(b"ran-nsec");
        reply.integer(r.ran_ns as i64);
    }
    Ok(())
}

async fn drain(request: &Request, what: Drain) -> crate::replication_log::Drained {
    request.server.replication.set(crate::replication::bit::TESTS);
    let (reply, answer) = tokio::sync::oneshot::channel();
    envelope::tell(request.server.replication_log(), DrainStream { what, reply });
    answer.await.unwrap_or_default()
}

async fn effects(request: &mut Request) -> Outcome {
    let drained = drain(request, Drain::Commands).await;
    request.reply.array(drained.commands.len());
    for command in drained.commands {
        // Each element is the command itself, so that a client's parser shows its words.
        request.reply.raw(&command);
    }
    Ok(())
}

async fn events(request: &mut Request) -> Outcome {
    let drained = drain(request, Drain::Events).await;
    request.reply.array(drained.events.len());
    for event in drained.events {
        let mut text = format!("{}:{}:", event.db, event.name).into_bytes();
        text.extend_from_slice(&event.key);
        request.reply.bulk(&text);
    }
    Ok(())
}
