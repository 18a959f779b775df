//! HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN, HSCAN.

use super::{Sight, hash_of, reply_value};
use crate::commands::Context;
use crate::commands::collection_scan::{Scan, Scanned};
use crate::commands::context::Outcome;
use crate::commands::list::reply_item;
use crate::resp::Reply;
use crate::types::hash::Hash;
use std::ops::ControlFlow;

/// `HGET key field`
pub fn hget(ctx: &mut Context<'_>) -> Outcome {
    let (sight, name) = (Sight::of(ctx), ctx.arg(2));
    match ctx.db.read(ctx.args[1]) {
        Some(entry) => reply_value(ctx.reply, sight.get(&*hash_of(entry)?, name)),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// `HMGET key field [field ...]`
pub fn hmget(ctx: &mut Context<'_>) -> Outcome {
    let (sight, names) = (Sight::of(ctx), &ctx.args[2..]);
    let hash = ctx.db.read(ctx.args[1]).map(hash_of).transpose()?;
    ctx.reply.array(names.len());
    for name in names {
        reply_value(ctx.reply, hash.as_ref().and_then(|hash| sight.get(hash, name)));
    }
    // A copy of a hash whose fields had all expired is empty; this command, of all, clears it away.
    if hash.is_some_and(|hash| hash.is_empty()) {
        ctx.db.remove(ctx.args[1]);
    }
    Ok(())
}

/// `HLEN key`: fields past their deadline count.
pub fn hlen(ctx: &mut Context<'_>) -> Outcome {
    let len = match ctx.db.read(ctx.arg(1)) {
        Some(entry) => hash_of(entry)?.len(),
        None => 0,
    };
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `HEXISTS key field`
pub fn hexists(ctx: &mut Context<'_>) -> Outcome {
    let (sight, name) = (Sight::of(ctx), ctx.arg(2));
    let there = match ctx.db.read(ctx.args[1]) {
        Some(entry) => sight.get(&*hash_of(entry)?, name).is_some(),
        None => false,
    };
    ctx.reply.integer(i64::from(there));
    Ok(())
}

/// `HSTRLEN key field`
pub fn hstrlen(ctx: &mut Context<'_>) -> Outcome {
    let (sight, name) = (Sight::of(ctx), ctx.arg(2));
    let len = match ctx.db.read(ctx.args[1]) {
        Some(entry) => sight.get(&*hash_of(entry)?, name).map_or(0, |field| field.value.text_len()),
        None => 0,
    };
    ctx.reply.integer(len as i64);
    Ok(())
}

/// What HGETALL and its like reply with of each field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
    Both,
}

/// `HGETALL key`
pub fn hgetall(ctx: &mut Context<'_>) -> Outcome {
    list_fields(ctx, Part::Both)
}

/// `HKEYS key`
pub fn hkeys(ctx: &mut Context<'_>) -> Outcome {
    list_fields(ctx, Part::Name)
}

/// `HVALS key`
pub fn hvals(ctx: &mut Context<'_>) -> Outcome {
    list_fields(ctx, Part::Value)
}

fn list_fields(ctx: &mut Context<'_>, part: Part) -> Outcome {
    let sight = Sight::of(ctx);
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        head(ctx.reply, part, 0);
        return Ok(());
    };
    let hash = hash_of(entry)?;
    if sight.sees_all(&hash) {
        head(ctx.reply, part, hash.len());
        put_fields(ctx.reply, &hash, part, sight);
    } else {
        let deferred = ctx.reply.deferred_array();
        let visible = put_fields(ctx.reply, &hash, part, sight);
        ctx.reply.finish_with(deferred, |reply| head(reply, part, visible));
    }
    Ok(())
}

fn head(reply: &mut Reply, part: Part, fields: usize) {
    match part {
        Part::Both => reply.map(fields),
        Part::Name | Part::Value => reply.array(fields),
    }
}

/// Replies with the fields that are there and returns how many.
fn put_fields(reply: &mut Reply, hash: &Hash, part: Part, sight: Sight) -> usize {
    let mut fields = 0;
    hash.visit(|name, field| {
        if sight.sees(field.deadline_ms) {
            if part != Part::Value {
                reply_item(reply, name);
            }
            if part != Part::Name {
                reply_item(reply, field.value);
            }
            fields += 1;
        }
        ControlFlow::Continue(())
    });
    fields
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]`
pub fn hscan(ctx: &mut Context<'_>) -> Outcome {
    let (args, cursor, sight) = (ctx.args, Scan::cursor(ctx)?, Sight::of(ctx));
    let Some(entry) = ctx.db.read(args[1]) else {
        Scan::reply_empty(ctx.reply);
        return Ok(());
    };
    let hash = hash_of(entry)?;
    let scan = Scan::parse(&args[3..], Scanned::Hash)?;
    scan.run(ctx.reply, cursor, |cursor, page| {
        hash.scan(cursor, |name, field| {
            if sight.sees(field.deadline_ms) && page.wants(name) {
                page.put(name);
                if !scan.names_only {
                    page.put(field.value);
                }
            }
        })
    });
    Ok(())
}
