//! SCARD, SISMEMBER, SMISMEMBER, SMEMBERS, SSCAN.

use super::set_of;
use crate::commands::Context;
use crate::commands::collection_scan::{Scan, Scanned};
use crate::commands::context::Outcome;
use crate::commands::list::reply_item;
use std::ops::ControlFlow;

/// `SCARD key`
pub fn scard(ctx: &mut Context<'_>) -> Outcome {
    let len = match ctx.db.read(ctx.arg(1)) {
        Some(entry) => set_of(entry)?.len(),
        None => 0,
    };
    ctx.reply.integer(len as i64);
    Ok(())
}

/// `SISMEMBER key member`
pub fn sismember(ctx: &mut Context<'_>) -> Outcome {
    let member = ctx.arg(2);
    let there = match ctx.db.read(ctx.arg(1)) {
        Some(entry) => set_of(entry)?.contains(member),
        None => false,
    };
    ctx.reply.integer(i64::from(there));
    Ok(())
}

/// `SMISMEMBER key member [member ...]`
pub fn smismember(ctx: &mut Context<'_>) -> Outcome {
    let members = &ctx.args[2..];
    let set = ctx.db.read(ctx.arg(1)).map(set_of).transpose()?;
    ctx.reply.array(members.len());
    for member in members {
        ctx.reply.integer(i64::from(set.as_ref().is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

/// `SMEMBERS key`
pub fn smembers(ctx: &mut Context<'_>) -> Outcome {
    let Some(entry) = ctx.db.read(ctx.arg(1)) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let set = set_of(entry)?;
    ctx.reply.set(set.len());
    set.visit(|member| {
        reply_item(ctx.reply, member);
        ControlFlow::Continue(())
    });
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn sscan(ctx: &mut Context<'_>) -> Outcome {
    let (args, cursor) = (ctx.args, Scan::cursor(ctx)?);
    let Some(entry) = ctx.db.read(args[1]) else {
        Scan::reply_empty(ctx.reply);
        return Ok(());
    };
    let set = set_of(entry)?;
    let scan = Scan::parse(&args[3..], Scanned::Set)?;
    scan.run(ctx.reply, cursor, |cursor, page| {
        set.scan(cursor, |member| {
            if page.wants(member) {
                page.put(member);
            }
        })
    });
    Ok(())
}
