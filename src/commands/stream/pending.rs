//! XPENDING.

use super::id::{parse_end, parse_start};
use super::{no_group, reply_id, stream_of};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::resp::Reply;
use crate::types::stream::{Group, Pending, StreamId};

/// The arguments of the long form.
struct Range<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    fn parse(ctx: &Context<'a>) -> Result<Option<Self>, CommandError> {
        let args = ctx.args;
        match args.len() {
            3 => return Ok(None),
            6..=9 => {}
            _ => return Err(CommandError::Syntax),
        }
        let (mut min_idle_ms, mut at) = (0, 3);
        if ctx.is_word(3, "IDLE") {
            min_idle_ms = ctx.integer(4)?;
            if args.len() < 8 {
                return Err(CommandError::Syntax);
            }
            at = 5;
        }
        let count = ctx.integer(at + 2)?.max(0) as u64;
        let start = parse_start(args[at])?;
        let end = parse_end(args[at + 1])?;
        // Words behind the consumer are ignored.
        Ok(Some(Range { min_idle_ms, start, end, count, consumer: args.get(at + 3).copied() }))
    }
}

pub fn xpending(ctx: &mut Context<'_>) -> Outcome {
    let range = Range::parse(ctx)?;
    let (key, name, now) = (ctx.arg(1), ctx.arg(2), ctx.db.now);
    let Some(entry) = ctx.db.read(key) else { return Err(no_group(key, name, b"")) };
    let stream = stream_of(entry)?;
    let Some(group) = stream.groups.get(name) else { return Err(no_group(key, name, b"")) };
    match range {
        None => summary(group, ctx.reply),
        Some(range) => list(group, &range, now, ctx.reply),
    }
    Ok(())
}

fn summary(group: &Group, reply: &mut Reply) {
    let pending = group.pending();
    reply.array(4);
    reply.integer(pending.len() as i64);
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, *first);
    reply_id(reply, *last);
    let busy = || group.consumers().iter().filter(|(_, consumer)| !consumer.pending().is_empty());
    reply.array(busy().count());
    for (name, consumer) in busy() {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_integer(consumer.pending().len() as i64);
    }
}

fn list(group: &Group, range: &Range<'_>, now: i64, reply: &mut Reply) {
    let array = reply.deferred_array();
    let mut listed = 0;
    let mut show = |id: &StreamId, pending: &Pending| {
        if listed == range.count {
            return false;
        }
        let idle = now.wrapping_sub(pending.delivered_ms);
        if range.min_idle_ms == 0 || idle >= range.min_idle_ms {
            reply.array(4);
            reply_id(reply, *id);
            reply.bulk(group.name_of(pending.consumer));
            reply.integer(idle.max(0));
            reply.integer(pending.deliveries as i64);
            listed += 1;
        }
        true
    };
    if range.start <= range.end {
        let ids = range.start..=range.end;
        match range.consumer {
            None => _ = group.pending().range(ids).all(|(id, pending)| show(id, pending)),
            Some(name) => {
                let own = group
                    .consumer(name)
                    .into_iter()
                    .flat_map(|consumer| consumer.pending().range(ids.clone()));
                _ = { own }
                    .filter_map(|id| Some((id, group.pending().get(id)?)))
                    .all(|(id, pending)| show(id, pending));
            }
        }
    }
    reply.finish_array(array, listed as usize);
}
