//! XADD.

use super::id::{IdText, NewId};
use super::trimming::{Options, Owner, Trimmed, parse};
use super::{limits, reply_id, stream_of_mut};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::{NewValue, Value};
use crate::types::stream::{AppendError, Stream, StreamData, StreamId, StreamLimits};

pub fn xadd(ctx: &mut Context<'_>) -> Outcome {
    let options = parse(ctx, Owner::Add)?;
    let key = ctx.arg(1);
    let pairs = ctx.args.get(options.id_at + 1..).unwrap_or_default();
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(ctx.arity_error());
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(CommandError::fixed("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let limits = limits(ctx.config);
    let now = ctx.db.now as u64;
    let (id, trimmed) = match ctx.db.write(key) {
        Some(entry) => append(&mut *stream_of_mut(entry)?, &options, pairs, now, &limits)?,
        None if !options.create => {
            ctx.reply.null();
            return Ok(());
        }
        None => {
            let mut stream = Stream::new();
            let added = append(&mut stream, &options, pairs, now, &limits)?;
            ctx.db.insert(key, NewValue::Owned(Value::Stream(stream)), None);
            added
        }
    };
    ctx.db.changed(class::STREAM, "xadd", key);
    ctx.db.effects.ready(ctx.db.db, key);
    if trimmed.as_ref().is_some_and(|trimmed| trimmed.removed > 0) {
        ctx.db.notify(class::STREAM, "xtrim", key);
    }
    propagate(ctx, &options, id, trimmed);
    reply_id(ctx.reply, id);
    Ok(())
}

fn not_greater() -> CommandError {
    CommandError::fixed("ERR The ID specified in XADD is equal or smaller than the target stream top item")
}

fn exhausted() -> CommandError {
    CommandError::fixed("ERR The stream has exhausted the last possible ID, unable to add more items")
}

/// Adds the entry, then trims.
fn append(
    stream: &mut StreamData,
    options: &Options,
    pairs: &[&[u8]],
    now_ms: u64,
    limits: &StreamLimits,
) -> Result<(StreamId, Option<Trimmed>), CommandError> {
    if stream.last_id == StreamId::MAX {
        return Err(exhausted());
    }
    let id = match options.id {
        NewId::Given(id) => id,
        NewId::Auto => stream.next_id(now_ms).ok_or_else(exhausted)?,
        NewId::AutoSeq(ms) if ms == stream.last_id.ms => match stream.last_id.seq.checked_add(1) {
            Some(seq) => StreamId { ms, seq },
            None => return Err(not_greater()),
        },
        NewId::AutoSeq(ms) => StreamId { ms, seq: 0 },
    };
    stream.append(id, pairs, limits).map_err(|error| match error {
        AppendError::IdNotGreater => not_greater(),
        AppendError::TooLarge => CommandError::fixed("ERR Elements are too large to be stored"),
    })?;
    Ok((id, options.trim.map(|trim| trim.run(stream))))
}

/// Replicas get the id that was chosen, and the trimming that was done.
fn propagate(ctx: &mut Context<'_>, options: &Options, id: StreamId, trimmed: Option<Trimmed>) {
    if !ctx.db.effects.listening.propagation {
        return;
    }
    let text = IdText::new(id);
    let mut args = ctx.args.to_vec();
    if !matches!(options.id, NewId::Given(_)) {
        args[options.id_at] = text.as_bytes();
    }
    if let (Some(trim), Some(trimmed)) = (&options.trim, &trimmed) {
        trim.make_exact(trimmed, &mut args);
    }
    ctx.db.rewrite(&args);
}
