//! ZSCAN.

use super::zset_of;
use crate::commands::Context;
use crate::commands::collection_scan::{Scan, Scanned};
use crate::commands::context::Outcome;
use crate::types::Item;
use crate::types::number::{F64Buffer, general17_text};
use crate::types::zset::ZSet;

/// `ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]`
pub fn zscan(ctx: &mut Context<'_>) -> Outcome {
    let cursor = Scan::cursor(ctx)?;
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        Scan::reply_empty(ctx.reply);
        return Ok(());
    };
    let zset = zset_of(entry)?;
    let scan = Scan::parse(&ctx.args[3..], Scanned::SortedSet)?;
    let is_small = matches!(*zset, ZSet::Listpack(_));
    scan.run(ctx.reply, cursor, |cursor, page| {
        zset.scan(cursor, |member, score| {
            if !page.wants(member) {
                return;
            }
            page.put(member);
            if scan.names_only {
            } else if is_small {
                page.put(Item::Str(F64Buffer::new().format(score)));
            } else {
                // Unlike everywhere else, Valkey writes scores of large sets with all their digits.
                page.put(Item::Str(&general17_text(score)));
            }
        })
    });
    Ok(())
}
