//! XREAD and XREADGROUP.

use super::deliver::{Reader, Record};
use super::id::{IdText, parse_strict};
use super::{no_group, reply_entry, stream_of, stream_of_mut};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::{AwaitedType, Wait};
use crate::keyspace::Lookup;
use crate::types::stream::StreamId;
use std::ops::ControlFlow;

/// The arguments of XREAD and XREADGROUP.
pub struct Request<'a> {
    /// BLOCK: wait so many milliseconds if nothing can be read; 0: without limit.
    pub block_ms: Option<i64>,
    /// At most so many entries of each stream; 0: all.
    pub count: u64,
    pub keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
    /// Group and consumer.
    pub group: Option<(&'a [u8], &'a [u8])>,
    pub no_ack: bool,
}

pub fn xread(ctx: &mut Context<'_>) -> Outcome {
    let request = Request::parse(ctx, Kind::Plain)?;
    let after = request.resolve(ctx)?;
    finish(ctx, &request, &after)
}

pub fn xreadgroup(ctx: &mut Context<'_>) -> Outcome {
    let request = Request::parse(ctx, Kind::Group)?;
    let after = request.resolve(ctx)?;
    // Replicas get what became of the group.
    ctx.db.effects.suppress();
    finish(ctx, &request, &after)
}

fn finish(ctx: &mut Context<'_>, request: &Request<'_>, after: &[StreamId]) -> Outcome {
    if request.serve(ctx, after) {
        return Ok(());
    }
    match request.block_ms {
        Some(block_ms) if ctx.db.effects.may_wait => {
            let is_last = |&(place, _): &(usize, &StreamId)| request.ids[place] == b"$";
            let ids_at = ctx.args.len() - request.ids.len();
            let rewritten = after.iter().enumerate().filter(is_last);
            ctx.db.effects.wait = Some(Wait {
                keys: request.keys.iter().map(|&key| key.into()).collect(),
                awaited: AwaitedType::Stream,
                until_loss: request.group.is_some(),
                deadline_ms: if block_ms == 0 { 0 } else { block_ms + ctx.db.now },
                // Run again, it must not read from the end of that time on.
                rewritten: rewritten
                    .map(|(place, id)| (ids_at + place, IdText::new(*id).as_bytes().to_vec()))
                    .collect(),
            });
        }
        _ => ctx.reply.null_array(),
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Group,
}

/// What an unset BLOCK would be too much for: the deadline must fit.
fn parse_block(text: &[u8], now_ms: i64) -> Result<i64, CommandError> {
    let timeout = crate::resp::decode::parse_integer(text)
        .ok_or(CommandError::fixed("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::fixed("ERR timeout is negative"));
    }
    if timeout.checked_add(now_ms).is_none() {
        return Err(CommandError::fixed("ERR timeout is out of range"));
    }
    Ok(timeout)
}

fn only_with_group(option: &str) -> CommandError {
    CommandError::text(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

impl<'a> Request<'a> {
    fn parse(ctx: &Context<'a>, kind: Kind) -> Result<Self, CommandError> {
        let args = ctx.args;
        let mut request =
            Request { block_ms: None, count: 0, keys: &[], ids: &[], group: None, no_ack: false };
        let mut at = 1;
        while at < args.len() {
            let more = args.len() - at - 1;
            if ctx.is_word(at, "BLOCK") && more > 0 {
                request.block_ms = Some(parse_block(args[at + 1], ctx.db.now)?);
                at += 2;
            } else if ctx.is_word(at, "COUNT") && more > 0 {
                request.count = ctx.integer(at + 1)?.max(0) as u64;
                at += 2;
            } else if ctx.is_word(at, "STREAMS") && more > 0 {
                let streams = &args[at + 1..];
                if streams.len() % 2 == 1 {
                    return Err(CommandError::text(format!(
                        "ERR Unbalanced '{}' list of streams: for each stream key an ID or '{}' must be specified.",
                        ctx.spec.name,
                        if kind == Kind::Group { '>' } else { '$' }
                    )));
                }
                (request.keys, request.ids) = streams.split_at(streams.len() / 2);
                break;
            } else if ctx.is_word(at, "GROUP") && more > 1 {
                if kind == Kind::Plain {
                    return Err(only_with_group("GROUP"));
                }
                request.group = Some((args[at + 1], args[at + 2]));
                at += 3;
            } else if ctx.is_word(at, "NOACK") {
                if kind == Kind::Plain {
                    return Err(only_with_group("NOACK"));
                }
                request.no_ack = true;
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if request.keys.is_empty() {
            return Err(CommandError::Syntax);
        }
        if kind == Kind::Group && request.group.is_none() {
            return Err(CommandError::fixed("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(request)
    }

    /// The id that each stream is to be read after, checking keys and groups on the way. The greatest id stands for
    /// `>`, as it does in Valkey.
    fn resolve(&self, ctx: &mut Context<'_>) -> Result<Vec<StreamId>, CommandError> {
        self.keys.iter().zip(self.ids).map(|(key, id)| self.resolve_one(ctx, key, id)).collect()
    }

    fn resolve_one(&self, ctx: &mut Context<'_>, key: &[u8], id: &[u8]) -> Result<StreamId, CommandError> {
        let mut last_id = None;
        let mut has_group = false;
        if let Some(entry) = ctx.db.read(key) {
            let stream = stream_of(entry)?;
            last_id = Some(stream.last_id);
            has_group = self.group.is_some_and(|(group, _)| stream.groups.contains_key(group));
        }
        match (self.group, id) {
            (Some((group, _)), _) if !has_group => {
                Err(no_group(key, group, b" in XREADGROUP with GROUP option"))
            }
            (Some(_), b"$" | b"+") => {
                let sign = char::from(id[0]);
                Err(CommandError::text(format!(
                    "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the history of \
                     this consumer by specifying a proper ID, or use the > ID to get new messages. The {sign} ID would \
                     just return an empty result set."
                )))
            }
            (Some(_), b">") => Ok(StreamId::MAX),
            (None, b">") => Err(CommandError::fixed(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            )),
            (None, b"$") => Ok(last_id.unwrap_or_default()),
            // Only an entry with the very last id is found this way.
            (None, b"+") => Ok(last_id.and_then(StreamId::predecessor).unwrap_or_default()),
            _ => parse_strict(id, 0),
        }
    }

    /// Replies with what there is to read after the given ids, with all effects. False, with nothing replied, if there
    /// is nothing (a consumer may have been made nevertheless).
    pub fn serve(&self, ctx: &mut Context<'_>, after: &[StreamId]) -> bool {
        let replies = ctx.reply.deferred_array();
        let mut served = 0;
        for (key, after) in self.keys.iter().zip(after) {
            let replied = match self.group {
                Some((group, consumer)) => self.serve_group(ctx, key, *after, group, consumer),
                None => self.serve_plain(ctx, key, *after),
            };
            served += usize::from(replied);
        }
        if served > 0 {
            match ctx.reply.is_resp3() {
                true => ctx.reply.finish_map(replies, served),
                false => ctx.reply.finish_array(replies, served),
            }
        }
        served > 0
    }

    fn serve_plain(&self, ctx: &mut Context<'_>, key: &[u8], after: StreamId) -> bool {
        let Some(stream) = ctx.db.read(key).and_then(|entry| stream_of(entry).ok()) else { return false };
        let Some(start) =
            after.successor().filter(|_| stream.last_live_id().is_some_and(|last| last > after))
        else {
            return false;
        };
        head(ctx.reply, key);
        let array = ctx.reply.deferred_array();
        let mut written = 0u64;
        stream.visit(start, StreamId::MAX, |entry| {
            reply_entry(ctx.reply, entry);
            written += 1;
            if written == self.count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        ctx.reply.finish_array(array, written as usize);
        true
    }

    fn serve_group(
        &self,
        ctx: &mut Context<'_>,
        key: &[u8],
        after: StreamId,
        group_name: &[u8],
        consumer: &[u8],
    ) -> bool {
        let mut record = Record::new(ctx);
        let reader = Reader { consumer, count: self.count, no_ack: self.no_ack, now_ms: ctx.db.now };
        let reply = &mut *ctx.reply;
        // Valkey looks for the key as a reader does, although the group changes.
        let Some(mut stream) = ctx.db.lookup(key, Lookup::READ).and_then(|entry| stream_of_mut(entry).ok())
        else {
            return false;
        };
        let served = stream.with_group(group_name, |stream, group| {
            if after != StreamId::MAX {
                head(reply, key);
                reader.deliver_history(stream, group, after, &mut record, reply);
                true
            } else if stream.last_live_id().is_some_and(|last| last > group.last_id) {
                head(reply, key);
                reader.deliver_new(stream, group, &mut record, reply);
                true
            } else {
                record.consumer(group, consumer, reader.now_ms);
                false
            }
        });
        drop(stream);
        record.announce_consumer = self.no_ack;
        record.apply(ctx, key, group_name, consumer);
        served.unwrap_or(false)
    }
}

/// What stands before the entries of a stream: a pair's first half in RESP3, an array of two in RESP2.
fn head(reply: &mut crate::resp::Reply, key: &[u8]) {
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}
