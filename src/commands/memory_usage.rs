//! MEMORY USAGE: what one key costs.

use super::context::{CommandError, Context, Outcome};
use crate::keyspace::{Entry, Value, ValueRef};
use crate::types::Collection;

/// Elements of a collection that are looked at when SAMPLES is not given.
const SAMPLES_DEFAULT: usize = 5;

/// Bytes of a key with its value: its own allocation and everything it points to. Of a collection `samples` elements
/// are looked at (0 for all) and taken for the rest.
pub fn bytes_of(entry: &Entry, samples: usize) -> usize {
    let behind = match entry.value() {
        ValueRef::Int(_) => 0,
        // A value that does not lie in the entry is a block of its own.
        ValueRef::Str(bytes) if bytes.len() >= entry.own_bytes() => bytes.len(),
        ValueRef::Str(_) => 0,
        ValueRef::List(list) => list.heap_bytes_sampled(samples),
        ValueRef::Set(set) => set.heap_bytes_sampled(samples),
        ValueRef::ZSet(zset) => zset.heap_bytes_sampled(samples),
        ValueRef::Hash(hash) => hash.heap_bytes_sampled(samples),
        ValueRef::Stream(stream) => stream.heap_bytes_sampled(samples),
    };
    entry.own_bytes() + behind
}

/// Bytes behind a value that lies in no entry.
pub fn bytes_of_value(value: &Value, samples: usize) -> usize {
    match value {
        Value::List(list) => list.heap_bytes_sampled(samples),
        Value::Set(set) => set.heap_bytes_sampled(samples),
        Value::ZSet(zset) => zset.heap_bytes_sampled(samples),
        Value::Hash(hash) => hash.heap_bytes_sampled(samples),
        Value::Stream(stream) => stream.heap_bytes_sampled(samples),
        Value::Int(_) => 0,
        Value::Str(bytes, _) => bytes.len(),
    }
}

/// `MEMORY USAGE key [SAMPLES count]`
pub fn command(ctx: &mut Context<'_>) -> Outcome {
    let mut samples = SAMPLES_DEFAULT;
    let mut at = 3;
    while at < ctx.args.len() {
        if !ctx.is_word(at, "samples") || at + 1 == ctx.args.len() {
            return Err(CommandError::Syntax);
        }
        samples = usize::try_from(ctx.integer(at + 1)?).map_err(|_| CommandError::Syntax)?;
        at += 2;
    }
    // As the key lies there, expired or not.
    let bytes = ctx.db.peek(ctx.db.db, ctx.arg(2)).map(|entry| bytes_of(entry, samples));
    match bytes {
        Some(bytes) => ctx.reply.integer(bytes as i64),
        None => ctx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::NewValue;

    #[test]
    fn strings_cost_their_bytes_and_little_more() {
        for len in [1usize, 16, 44, 200, 5000] {
            let value = vec![b'x'; len];
            let entry = Entry::new(b"key", NewValue::string(&value), None);
            let bytes = bytes_of(&entry, 0);
            assert!((len..len + 64).contains(&bytes), "{len}: {bytes}");
        }
        assert!(bytes_of(&Entry::new(b"key", NewValue::Int(5), None), 0) < 32);
    }
}
