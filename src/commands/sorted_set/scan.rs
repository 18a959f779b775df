//! ZSCAN.

use super::{read_zset, reply_member};
use crate::commands::check::cursor_of;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::glob;
use crate::resp::Reply;
use crate::types::ItemBuffer;
use crate::types::number::{F64Buffer, general17_text};
use crate::types::zset::ZSet;

/// Table buckets visited per member asked for, at most, so that a sparse table does not make a call long.
const STEPS_PER_MEMBER: u64 = 10;

struct Options<'a> {
    count: u64,
    /// None: all.
    pattern: Option<&'a [u8]>,
    with_scores: bool,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Context<'a>) -> Result<Self, CommandError> {
        let mut options = Self { count: 10, pattern: None, with_scores: true };
        let mut at = 3;
        while at < ctx.args.len() {
            let value = at + 1 < ctx.args.len();
            if ctx.is_word(at, "count") && value {
                let count = ctx.integer(at + 1)?;
                options.count = u64::try_from(count).ok().filter(|&n| n > 0).ok_or(CommandError::Syntax)?;
                at += 1;
            } else if ctx.is_word(at, "match") && value {
                options.pattern = Some(ctx.arg(at + 1)).filter(|pattern| *pattern != b"*");
                at += 1;
            } else if ctx.is_word(at, "noscores") {
                options.with_scores = false;
            } else if ctx.is_word(at, "novalues") {
                return Err(CommandError::fixed("ERR NOVALUES option can only be used in HSCAN"));
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]`
pub fn zscan(ctx: &mut Context<'_>) -> Outcome {
    let cursor = cursor_of(ctx.arg(2)).ok_or(CommandError::fixed("ERR invalid cursor"))?;
    let mut page = Reply::new(ctx.reply.protocol());
    let (mut next, mut found) = (0, 0);
    // Valkey reads the options only if there is something to scan.
    let options = Options::parse(ctx);
    if let Some(zset) = read_zset(ctx, ctx.arg(1))? {
        let options = options?;
        next = cursor;
        let mut seen = 0;
        for _ in 0..options.count.saturating_mul(STEPS_PER_MEMBER) {
            next = zset.scan(next, |member, score| {
                seen += 1;
                let mut buffer = ItemBuffer::new();
                if options.pattern.is_some_and(|pattern| !glob::matches(pattern, member.text(&mut buffer))) {
                    return;
                }
                found += 1;
                reply_member(&mut page, member);
                if options.with_scores {
                    found += 1;
                    match *zset {
                        ZSet::Listpack(_) => page.bulk(F64Buffer::new().format(score)),
                        ZSet::Sorted(_) => page.bulk(&general17_text(score)),
                    }
                }
            });
            if next == 0 || seen >= options.count {
                break;
            }
        }
    }
    ctx.reply.array(2);
    ctx.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    ctx.reply.array(found);
    ctx.reply.raw(page.as_bytes());
    Ok(())
}
