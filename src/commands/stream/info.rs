//! XINFO.

use super::{no_group_of_key, reply_entry, reply_id, stream_of, subcommand_error};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::resp::Reply;
use crate::types::stream::{Consumer, Group, StreamData, StreamId};
use std::ops::ControlFlow;

pub fn consumers(ctx: &mut Context<'_>) -> Outcome {
    let (key, name, now) = (ctx.arg(2), ctx.arg(3), ctx.db.now);
    let stream = stream_of(ctx.db.read(key).ok_or(CommandError::NoSuchKey)?)?;
    let group = stream.groups.get(name).ok_or_else(|| no_group_of_key(key, name))?;
    let reply = &mut *ctx.reply;
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        let inactive = if consumer.active_ms == -1 { -1 } else { now - consumer.active_ms };
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        number(reply, "pending", consumer.pending().len() as i64);
        number(reply, "idle", (now - consumer.seen_ms).max(0));
        number(reply, "inactive", inactive);
    }
    Ok(())
}

pub fn groups(ctx: &mut Context<'_>) -> Outcome {
    let stream = stream_of(ctx.db.read(ctx.arg(2)).ok_or(CommandError::NoSuchKey)?)?;
    let reply = &mut *ctx.reply;
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        number(reply, "consumers", group.consumers().len() as i64);
        number(reply, "pending", group.pending().len() as i64);
        position(reply, &stream, group);
    }
    Ok(())
}

/// How far a group has read: `last-delivered-id`, `entries-read`, `lag`.
fn position(reply: &mut Reply, stream: &StreamData, group: &Group) {
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_id);
    let entries_read = group.entries_read.map(|read| read as i64);
    for (name, value) in [("entries-read", entries_read), ("lag", stream.lag(group))] {
        reply.bulk(name.as_bytes());
        match value {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    }
}

fn number(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

/// How much XINFO STREAM shows.
enum Detail {
    Brief,
    /// So many entries, pending entries of each group and of each consumer; 0: all.
    Full(usize),
}

fn parse_detail(ctx: &Context<'_>) -> Result<Detail, CommandError> {
    const COUNT: usize = 10;
    match ctx.args.len() {
        3 => Ok(Detail::Brief),
        4 if ctx.is_word(3, "FULL") => Ok(Detail::Full(COUNT)),
        6 if ctx.is_word(3, "FULL") && ctx.is_word(4, "COUNT") => {
            Ok(Detail::Full(usize::try_from(ctx.integer(5)?).unwrap_or(COUNT)))
        }
        _ => Err(subcommand_error(ctx)),
    }
}

pub fn stream(ctx: &mut Context<'_>) -> Outcome {
    let detail = parse_detail(ctx);
    let stream = stream_of(ctx.db.read(ctx.arg(2)).ok_or(CommandError::NoSuchKey)?)?;
    let detail = detail?;
    let reply = &mut *ctx.reply;
    reply.map(if matches!(detail, Detail::Full(_)) { 9 } else { 10 });
    number(reply, "length", stream.len() as i64);
    number(reply, "radix-tree-keys", stream.node_count() as i64);
    number(reply, "radix-tree-nodes", stream.radix_node_count() as i64);
    for (name, id) in [("last-generated-id", stream.last_id), ("max-deleted-entry-id", stream.max_deleted_id)]
    {
        reply.bulk(name.as_bytes());
        reply_id(reply, id);
    }
    number(reply, "entries-added", stream.entries_added as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply_id(reply, stream.first_id);
    match detail {
        Detail::Brief => brief(reply, &stream),
        Detail::Full(count) => full(reply, &stream, if count == 0 { usize::MAX } else { count }),
    }
    Ok(())
}

fn brief(reply: &mut Reply, stream: &StreamData) {
    number(reply, "groups", stream.groups.len() as i64);
    for (name, id) in [("first-entry", stream.first_live_id()), ("last-entry", stream.last_live_id())] {
        reply.bulk(name.as_bytes());
        match id {
            Some(id) => stream.visit(id, id, |entry| {
                reply_entry(reply, entry);
                ControlFlow::Break(())
            }),
            None => reply.null(),
        }
    }
}

fn full(reply: &mut Reply, stream: &StreamData, count: usize) {
    reply.bulk(b"entries");
    let array = reply.deferred_array();
    let mut shown = 0;
    stream.visit(StreamId::MIN, StreamId::MAX, |entry| {
        reply_entry(reply, entry);
        shown += 1;
        if shown == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    reply.finish_array(array, shown);
    reply.bulk(b"groups");
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        position(reply, stream, group);
        number(reply, "pel-count", group.pending().len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending().len().min(count));
        for (id, pending) in group.pending().iter().take(count) {
            reply.array(4);
            reply_id(reply, *id);
            reply.bulk(group.name_of(pending.consumer));
            reply.integer(pending.delivered_ms);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers().len());
        for (name, consumer) in group.consumers() {
            full_consumer(reply, name, consumer, group, count);
        }
    }
}

fn full_consumer(reply: &mut Reply, name: &[u8], consumer: &Consumer, group: &Group, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(name);
    number(reply, "seen-time", consumer.seen_ms);
    number(reply, "active-time", consumer.active_ms);
    number(reply, "pel-count", consumer.pending().len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending().len().min(count));
    for id in consumer.pending().iter().take(count) {
        let Some(pending) = group.pending().get(id) else { continue };
        reply.array(3);
        reply_id(reply, *id);
        reply.integer(pending.delivered_ms);
        reply.integer(pending.deliveries as i64);
    }
}
