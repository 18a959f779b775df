//! XCLAIM and XAUTOCLAIM.

use super::deliver::Record;
use super::id::{IdText, parse_start, parse_strict};
use super::{no_group, quoted, reply_entry, reply_id, stream_of_mut};
use crate::commands::argument_values::integer_in;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::Lookup;
use crate::resp::Reply;
use crate::resp::decode::parse_integer;
use crate::types::stream::{ConsumerKey, Group, Pending, StreamData, StreamId};
use std::ops::{Bound, ControlFlow};

/// How entries change hands.
struct Claim {
    min_idle_ms: i64,
    delivered_ms: i64,
    /// `None`: one more than before, or as before with JUSTID.
    deliveries: Option<u64>,
    just_id: bool,
    now_ms: i64,
}

impl Claim {
    fn is_idle_enough(&self, pending: &Pending) -> bool {
        self.min_idle_ms == 0 || self.now_ms.wrapping_sub(pending.delivered_ms) >= self.min_idle_ms
    }

    /// Gives an entry to the consumer and replies with it.
    fn take(
        &self,
        stream: &StreamData,
        group: &mut Group,
        consumer: ConsumerKey,
        id: StreamId,
        deliveries: u64,
        reply: &mut Reply,
    ) -> Pending {
        let deliveries = self.deliveries.unwrap_or(deliveries + u64::from(!self.just_id));
        let pending = Pending { consumer, delivered_ms: self.delivered_ms, deliveries };
        group.assign(id, pending);
        if self.just_id {
            reply_id(reply, id);
        } else {
            stream.visit(id, id, |entry| {
                reply_entry(reply, entry);
                ControlFlow::Break(())
            });
        }
        pending
    }
}

/// Idle times below 0 count as 0.
fn parse_min_idle(text: &[u8], command: &str) -> Result<i64, CommandError> {
    match parse_integer(text) {
        Some(idle) => Ok(idle.max(0)),
        None => Err(CommandError::text(format!("ERR Invalid min-idle-time argument for {command}"))),
    }
}

/// The options of XCLAIM.
struct Options {
    claim: Claim,
    ids: Vec<StreamId>,
    force: bool,
    last_id: StreamId,
}

impl Options {
    fn parse(ctx: &Context<'_>) -> Result<Self, CommandError> {
        let now = ctx.db.now;
        let min_idle_ms = parse_min_idle(ctx.arg(4), "XCLAIM")?;
        let ids: Vec<StreamId> = ctx.args[5..].iter().map_while(|text| parse_strict(text, 0).ok()).collect();
        let (mut force, mut just_id, mut last_id) = (false, false, StreamId::MIN);
        let (mut delivered_ms, mut deliveries) = (-1, None);
        let mut words = ctx.args[5 + ids.len()..].iter();
        while let Some(word) = words.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let number = |text: &[u8]| {
                parse_integer(text).ok_or_else(|| {
                    let name = String::from_utf8_lossy(word).to_ascii_uppercase();
                    CommandError::text(format!("ERR Invalid {name} option argument for XCLAIM"))
                })
            };
            if is("FORCE") {
                force = true;
            } else if is("JUSTID") {
                just_id = true;
            } else if let ("IDLE" | "TIME" | "RETRYCOUNT" | "LASTID", Some(value)) =
                (option_name(word), words.as_slice().first())
            {
                words.next();
                match option_name(word) {
                    "IDLE" => delivered_ms = now.wrapping_sub(number(value)?),
                    "TIME" => delivered_ms = number(value)?,
                    "RETRYCOUNT" => deliveries = u64::try_from(number(value)?).ok(),
                    _ => last_id = parse_strict(value, 0)?,
                }
            } else {
                return Err(CommandError::Bytes(
                    [b"ERR Unrecognized XCLAIM option '", quoted(word), b"'"].concat(),
                ));
            }
        }
        // A time in the future, or before 1970, is a client's mistake in reckoning: it means now.
        if delivered_ms < 0 || delivered_ms > now {
            delivered_ms = now;
        }
        let claim = Claim { min_idle_ms, delivered_ms, deliveries, just_id, now_ms: now };
        Ok(Options { claim, ids, force, last_id })
    }
}

/// The options of XCLAIM that take a value.
fn option_name(word: &[u8]) -> &'static str {
    ["IDLE", "TIME", "RETRYCOUNT", "LASTID"]
        .into_iter()
        .find(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        .unwrap_or_default()
}

pub fn xclaim(ctx: &mut Context<'_>) -> Outcome {
    let (key, name, consumer_name) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    require_group(ctx, key, name)?;
    let options = Options::parse(ctx)?;
    ctx.db.effects.suppress();
    let mut record = Record::new(ctx);
    let id_texts = &ctx.args[5..];
    let reply = &mut *ctx.reply;
    let Some(mut stream) = ctx.db.lookup(key, AGAIN).and_then(|entry| stream_of_mut(entry).ok()) else {
        return Err(no_group(key, name, b""));
    };
    stream.with_group(name, |stream, group| {
        let mut moved = options.last_id > group.last_id;
        group.last_id = group.last_id.max(options.last_id);
        let consumer = record.consumer(group, consumer_name, options.claim.now_ms);
        let array = reply.deferred_array();
        let mut claimed = 0;
        for (id, text) in options.ids.iter().zip(id_texts) {
            let before = group.pending().get(id).copied();
            if !stream.contains(*id) {
                if let Some(before) = before {
                    record.gone(text, &before, group);
                    group.acknowledge(*id);
                    moved = false;
                }
                continue;
            }
            let deliveries = match before {
                Some(before) if options.claim.is_idle_enough(&before) => before.deliveries,
                None if options.force => 1,
                _ => continue,
            };
            let pending = options.claim.take(stream, group, consumer, *id, deliveries, reply);
            record.claimed(text, &pending, group.last_id);
            record.changes += 1;
            moved = false;
            claimed += 1;
        }
        reply.finish_array(array, claimed);
        if claimed > 0
            && let Some(consumer) = group.consumer_mut(consumer_name)
        {
            consumer.active_ms = options.claim.now_ms;
        }
        // Every claim carries the group's position already.
        if moved {
            record.moved(group);
            record.changes += 1;
        }
    });
    drop(stream);
    record.apply(ctx, key, name, consumer_name);
    Ok(())
}

/// A lookup after the one that counts as access.
const AGAIN: Lookup = Lookup { no_touch: true, no_stats: true, no_notify: true, write: false };

/// Looks for the key, as a reader does although the group will change, and for the group.
fn require_group(ctx: &mut Context<'_>, key: &[u8], name: &[u8]) -> Result<(), CommandError> {
    let found = match ctx.db.read(key) {
        Some(entry) => super::stream_of(entry)?.groups.contains_key(name),
        None => false,
    };
    if found { Ok(()) } else { Err(no_group(key, name, b"")) }
}

/// Entries that XAUTOCLAIM looks at for each one it may return.
const ATTEMPTS_PER_ENTRY: u64 = 10;
/// Valkey sets memory for the reply's deleted ids aside and refuses what it can't get; this is refused here, bytes.
const DELETED_IDS_BYTES_MAX: u64 = 16 << 30;

pub fn xautoclaim(ctx: &mut Context<'_>) -> Outcome {
    let (key, name, consumer_name) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    // The key counts as looked for even if an argument is refused.
    let found = match ctx.db.read(key) {
        Some(entry) => super::stream_of(entry).map(|stream| stream.groups.contains_key(name)),
        None => Ok(false),
    };
    let min_idle_ms = parse_min_idle(ctx.arg(4), "XAUTOCLAIM")?;
    let start = parse_start(ctx.arg(5))?;
    let (count, just_id) = parse_auto_options(&ctx.args[6..])?;
    if !found? {
        return Err(no_group(key, name, b""));
    }
    if count * size_of::<StreamId>() as u64 > DELETED_IDS_BYTES_MAX {
        return Err(CommandError::fixed(
            "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        ));
    }
    ctx.db.effects.suppress();
    let now_ms = ctx.db.now;
    let claim = Claim { min_idle_ms, delivered_ms: now_ms, deliveries: None, just_id, now_ms };
    let mut record = Record::new(ctx);
    let reply = &mut *ctx.reply;
    let Some(mut stream) = ctx.db.lookup(key, AGAIN).and_then(|entry| stream_of_mut(entry).ok()) else {
        return Err(no_group(key, name, b""));
    };
    stream.with_group(name, |stream, group| {
        let consumer = record.consumer(group, consumer_name, now_ms);
        let plan = AutoPlan::make(stream, group, &claim, start, count);
        reply.array(3);
        reply_id(reply, plan.next);
        reply.array(plan.taken);
        let mut deleted = Vec::new();
        for (id, before, exists) in plan.steps {
            let text = IdText::new(id);
            if exists {
                let pending = claim.take(stream, group, consumer, id, before.deliveries, reply);
                record.claimed(text.as_bytes(), &pending, group.last_id);
                record.changes += 1;
            } else {
                record.gone(text.as_bytes(), &before, group);
                group.acknowledge(id);
                deleted.push(id);
            }
        }
        reply.array(deleted.len());
        for id in deleted {
            reply_id(reply, id);
        }
        if plan.taken > 0
            && let Some(consumer) = group.consumer_mut(consumer_name)
        {
            consumer.active_ms = now_ms;
        }
    });
    drop(stream);
    record.apply(ctx, key, name, consumer_name);
    Ok(())
}

fn parse_auto_options(options: &[&[u8]]) -> Result<(u64, bool), CommandError> {
    let (mut count, mut just_id) = (100, false);
    let mut words = options.iter();
    while let Some(word) = words.next() {
        if let Some(value) = words.as_slice().first().filter(|_| word.eq_ignore_ascii_case(b"COUNT")) {
            let max = i64::MAX / size_of::<StreamId>() as i64;
            count = integer_in(value, 1, max).ok_or(CommandError::fixed("ERR COUNT must be > 0"))? as u64;
            words.next();
        } else if word.eq_ignore_ascii_case(b"JUSTID") {
            just_id = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, just_id))
}

/// What one XAUTOCLAIM does.
struct AutoPlan {
    /// Id, what it was, and whether the stream still holds it.
    steps: Vec<(StreamId, Pending, bool)>,
    /// Entries that the stream still holds.
    taken: usize,
    /// Where the next call should start; 0-0 at the end.
    next: StreamId,
}

impl AutoPlan {
    fn make(stream: &StreamData, group: &Group, claim: &Claim, start: StreamId, count: u64) -> Self {
        let mut plan = AutoPlan { steps: Vec::new(), taken: 0, next: StreamId::MIN };
        let mut attempts = count.saturating_mul(ATTEMPTS_PER_ENTRY);
        let mut pending = group.pending().range((Bound::Included(start), Bound::Unbounded));
        while attempts > 0 && (plan.steps.len() as u64) < count {
            let Some((id, before)) = pending.next() else { return plan };
            attempts -= 1;
            let exists = stream.contains(*id);
            if !exists || claim.is_idle_enough(before) {
                plan.steps.push((*id, *before, exists));
                plan.taken += usize::from(exists);
            }
        }
        plan.next = pending.next().map_or(StreamId::MIN, |(id, _)| *id);
        plan
    }
}
