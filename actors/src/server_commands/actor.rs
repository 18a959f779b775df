//! ACTOR: seeing the actors at work.

use std::sync::Arc;

use skuld::commands::context::CommandError;

use super::{Outcome, Request};
use crate::batch::Batch;
use crate::clock;
use crate::envelope::{self, ActorKind};
use crate::replication_log::{Drain, DrainStream};
use crate::server::Server;
use crate::shard::{DescribeShard, ShardDescription};
use crate::slow;
use crate::telemetry::{self, ThreadTelemetry};
use crate::trace::{self, Filter};

/// Runs ACTOR LIST, INFO, HISTOGRAM, TRACE, EFFECTS, EVENTS, MIGRATION.
pub async fn run(request: &mut Request, _: &mut Batch) -> Outcome {
    let sub = request.args[1].to_ascii_lowercase();
    match sub.as_slice() {
        b"list" => list(request).await,
        b"info" => super::actor_info::run(request).await,
        b"histogram" => histogram(request),
        b"slow" => slow(request),
        b"trace" => trace(request).await,
        b"effects" => effects(request).await,
        b"events" => events(request).await,
        b"migration" => {
            crate::migration::steering::run(&request.server, &request.args[2..], &mut request.reply)
        }
        _ => Err(CommandError::Syntax),
    }
}

/// Asks every shard for its figures.
pub async fn describe_shards(server: &Server) -> Vec<ShardDescription> {
    let mut waiting = Vec::new();
    for shard in server.shards() {
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

/// Messages of a kind of actor on some thread, and the share of the time since the start that they took, percent.
struct Load {
    messages: u64,
    busy_percent: f64,
}

fn load_of(server: &Server, kind: ActorKind, threads: &[Arc<ThreadTelemetry>]) -> Load {
    let up_ns = (clock::unix_ms() - server.started_ms).max(1) as f64 * 1e6;
    let (messages, nanos) =
        threads.iter().map(|t| t.totals_of(kind)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    Load { messages, busy_percent: nanos as f64 * 100.0 / up_ns }
}

/// One row of ACTOR LIST and of the admin page.
pub struct ActorRow {
    pub id: String,
    pub kind: &'static str,
    pub arbiter: String,
    /// Messages or batches waiting, where that is known.
    pub queued: Option<u64>,
    pub messages: u64,
    pub busy_percent: f64,
}

/// All actors; connections are told together.
pub fn rows(server: &Server, shards: &[ShardDescription]) -> Vec<ActorRow> {
    let threads = telemetry::threads();
    let mut rows = Vec::new();
    for kind in ActorKind::ALL.into_iter().skip(1) {
        if kind == ActorKind::Shard {
            for shard in shards {
                let arbiter = format!("worker-{}", shard.index);
                let own: Vec<_> = threads.iter().filter(|t| t.name() == arbiter).cloned().collect();
                let load = load_of(server, kind, &own);
                rows.push(ActorRow {
                    id: format!("shard:{}", shard.index),
                    kind: kind.name(),
                    arbiter,
                    queued: Some(shard.arrived + shard.preempted + shard.parked + shard.paused),
                    messages: load.messages,
                    busy_percent: load.busy_percent,
                });
            }
            continue;
        }
        let own: Vec<_> = threads.iter().filter(|t| t.totals_of(kind).0 > 0).cloned().collect();
        let load = load_of(server, kind, &own);
        let id = if kind == ActorKind::Connection {
            format!("connection:*{}", server.clients.len())
        } else {
            kind.name().into()
        };
        let arbiter = own.iter().map(|t| t.name()).collect::<Vec<_>>().join(",");
        rows.push(ActorRow {
            id,
            kind: kind.name(),
            arbiter,
            queued: None,
            messages: load.messages,
            busy_percent: load.busy_percent,
        });
    }
    rows
}

async fn list(request: &mut Request) -> Outcome {
    let shards = describe_shards(&request.server).await;
    let rows = rows(&request.server, &shards);
    let reply = &mut request.reply;
    reply.array(rows.len());
    for row in rows {
        reply.map(6);
        for (name, text) in [("id", row.id.as_str()), ("kind", row.kind), ("arbiter", &row.arbiter)] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        reply.bulk(b"queued");
        match row.queued {
            Some(queued) => reply.integer(queued as i64),
            None => reply.null(),
        }
        reply.bulk(b"messages");
        reply.integer(row.messages as i64);
        reply.bulk(b"busy-percent");
        reply.double_text(format!("{:.3}", row.busy_percent).as_bytes());
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

async fn trace(request: &mut Request) -> Outcome {
    if request.is_word(2, "start") {
        trace::start(filter_of(&request.args[3..])?);
        request.reply.ok();
        return Ok(());
    }
    if request.is_word(2, "stop") && request.args.len() == 3 {
        trace::stop();
        request.reply.ok();
        return Ok(());
    }
    if request.is_word(2, "dump") && request.args.len() == 4 {
        return dump(request).await;
    }
    if !request.is_word(2, "get") || request.args.len() > 4 {
        return Err(CommandError::Syntax);
    }
    let records = trace::records(count_of(request.args.get(3), 100)?);
    let reply = &mut request.reply;
    reply.array(records.len());
    for r in records {
        reply.map(9);
        for (name, number) in [("trace", r.trace), ("number", r.number), ("cause", r.cause)] {
            reply.bulk(name.as_bytes());
            reply.integer(number as i64);
        }
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

/// An optional count that is not negative.
fn count_of(word: Option<&Vec<u8>>, unless_given: usize) -> Result<usize, CommandError> {
    word.map_or(Ok(unless_given), |n| number_of(n).map(|n| n as usize))
}

fn number_of(word: &[u8]) -> Result<u64, CommandError> {
    skuld::resp::decode::parse_integer(word)
        .and_then(|n| u64::try_from(n).ok())
        .ok_or(CommandError::NotInteger)
}

/// The filters of ACTOR TRACE START: pairs of a word and a value, in any order, each as often as wanted.
fn filter_of(words: &[Vec<u8>]) -> Result<Filter, CommandError> {
    let (pairs, []) = words.as_chunks::<2>() else { return Err(CommandError::Syntax) };
    let mut filter = Filter::default();
    for [name, value] in pairs {
        match name.to_ascii_lowercase().as_slice() {
            b"kind" => {
                let kind =
                    ActorKind::ALL.into_iter().find(|k| k.name().as_bytes().eq_ignore_ascii_case(value));
                let unknown = || format!("ERR Unknown kind of actor '{}'", String::from_utf8_lossy(value));
                filter.kinds.push(kind.ok_or_else(|| CommandError::text(unknown()))?);
            }
            b"message" => filter.messages.push(String::from_utf8_lossy(value).into_owned()),
            b"client" => filter.clients.push(number_of(value)?),
            b"slot" => {
                let slot = number_of(value)?;
                let in_range = slot < skuld::slot::SLOTS as u64;
                filter.slots.push(
                    in_range
                        .then_some(slot as u16)
                        .ok_or_else(|| CommandError::text("ERR Invalid or out of range slot".to_owned()))?,
                );
            }
            b"slower-than" => filter.slower_than_us = number_of(value)?,
            b"sample" => filter.sample = number_of(value)?,
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(filter)
}

/// ACTOR TRACE DUMP: the records as a file in `dir`.
async fn dump(request: &mut Request) -> Outcome {
    let name = String::from_utf8_lossy(&request.args[3]).into_owned();
    // Like the names of other files that clients may choose, it stays inside `dir`.
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(CommandError::text("ERR the file can't be a path, just a filename".to_owned()));
    }
    let (written, answer) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let records = trace::records(usize::MAX);
        let result = std::fs::write(&name, trace::chrome_json(&records));
        // Who asked may have gone.
        let _ = written.send(result.map(|()| records.len()));
    });
    match answer.await {
        Ok(Ok(count)) => request.reply.integer(count as i64),
        Ok(Err(e)) => {
            let reason = crate::configure::os_text(&e);
            return Err(CommandError::text(format!("ERR writing the trace: {reason}")));
        }
        Err(_) => return Err(CommandError::text("ERR writing the trace failed".to_owned())),
    }
    Ok(())
}

/// ACTOR SLOW [count | RESET].
fn slow(request: &mut Request) -> Outcome {
    if request.is_word(2, "reset") && request.args.len() == 3 {
        slow::reset();
        request.reply.ok();
        return Ok(());
    }
    if request.args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let (waits, runs) = slow::longest(count_of(request.args.get(2), 10)?);
    let reply = &mut request.reply;
    reply.map(2);
    for (name, entries) in [("longest-waits", waits), ("longest-runs", runs)] {
        reply.bulk(name.as_bytes());
        reply.array(entries.len());
        for entry in entries {
            write_slow(reply, &entry);
        }
    }
    Ok(())
}

fn write_slow(reply: &mut skuld::resp::Reply, entry: &slow::Slow) {
    reply.map(9);
    for (name, text) in [
        ("message", entry.message),
        ("receiver", &entry.receiver.to_string()),
        ("sender", &entry.sender.to_string()),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    for (name, number) in [
        ("handled-unix-usec", entry.handled_unix_us),
        ("waited-usec", (entry.waited_ns / 1000) as i64),
        ("ran-usec", (entry.ran_ns / 1000) as i64),
        ("trace", entry.trace as i64),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    }
    reply.bulk(b"longest-command");
    match entry.command {
        Some((name, nanos)) => reply.bulk(format!("{name} {}us", nanos / 1000).as_bytes()),
        None => reply.null(),
    }
    reply.bulk(b"behind");
    match &entry.behind {
        None => reply.null(),
        Some(run) => {
            let command =
                run.command.map_or_else(String::new, |(name, nanos)| format!(" ({name} {}us)", nanos / 1000));
            let text = format!("{} at {} ran {}us{command}", run.message, run.receiver, run.ran_ns / 1000);
            reply.bulk(text.as_bytes());
        }
    }
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
