//! LLEN, LINDEX, LRANGE, LPOS.

use super::{list_of, position, reply_item, span};
use crate::commands::argument_values::{integer_in, not_between};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::types::Item;
use crate::types::list::{End, List};
use std::ops::ControlFlow;

pub fn llen(ctx: &mut Context<'_>) -> Outcome {
    let len = match ctx.db.read(ctx.arg(1)) {
        Some(entry) => list_of(entry)?.len(),
        None => 0,
    };
    ctx.reply.integer(len as i64);
    Ok(())
}

pub fn lindex(ctx: &mut Context<'_>) -> Outcome {
    let text = ctx.arg(2);
    let Some(entry) = ctx.db.read(ctx.arg(1)) else {
        ctx.reply.null();
        return Ok(());
    };
    let list = list_of(entry)?;
    let index = crate::resp::decode::parse_integer(text).ok_or(CommandError::NotInteger)?;
    let found =
        position(index, list.len()).and_then(|index| list.get(index, |item| reply_item(ctx.reply, item)));
    if found.is_none() {
        ctx.reply.null();
    }
    Ok(())
}

pub fn lrange(ctx: &mut Context<'_>) -> Outcome {
    let (start, stop) = (ctx.integer(2)?, ctx.integer(3)?);
    let Some(entry) = ctx.db.read(ctx.arg(1)) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let list = list_of(entry)?;
    let (first, count) = span(start, stop, list.len()).unwrap_or_default();
    ctx.reply.array(count);
    list.visit_range(first, count, |item| reply_item(ctx.reply, item));
    Ok(())
}

/// The options of LPOS.
struct Search {
    from: End,
    /// Report matches from this one on, counted from 1.
    rank: u64,
    /// Report this many (0: all) as an array; without it only one.
    count: Option<u64>,
    /// Compare this many elements; 0: all.
    compared_max: u64,
}

impl Search {
    fn parse(ctx: &Context<'_>) -> Result<Self, CommandError> {
        let mut search = Search { from: End::Head, rank: 1, count: None, compared_max: 0 };
        let mut options = ctx.args[3..].iter();
        while let Some(word) = options.next() {
            let value = options.next().ok_or(CommandError::Syntax)?;
            if word.eq_ignore_ascii_case(b"RANK") {
                let rank = ranked(value)?;
                if rank == 0 {
                    return Err(CommandError::fixed(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
                search.from = if rank < 0 { End::Tail } else { End::Head };
                search.rank = rank.unsigned_abs();
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                let count = integer_in(value, 0, i64::MAX)
                    .ok_or(CommandError::fixed("ERR COUNT can't be negative"))?;
                search.count = Some(count as u64);
            } else if word.eq_ignore_ascii_case(b"MAXLEN") {
                let max = integer_in(value, 0, i64::MAX)
                    .ok_or(CommandError::fixed("ERR MAXLEN can't be negative"))?;
                search.compared_max = max as u64;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    /// Calls `found` with the positions of the matches that are asked for.
    fn run(&self, list: &List, element: &[u8], mut found: impl FnMut(usize)) {
        let (wanted, len) = (Item::parse(element), list.len());
        let (mut compared, mut matches) = (0u64, 0u64);
        let first = if self.from == End::Head { 0 } else { len - 1 };
        list.visit(first, self.from == End::Head, |item| {
            if self.compared_max != 0 && compared >= self.compared_max {
                return ControlFlow::Break(());
            }
            if item == wanted {
                matches += 1;
                if matches >= self.rank {
                    let index = compared as usize;
                    found(if self.from == End::Head { index } else { len - 1 - index });
                    let reported = matches - self.rank + 1;
                    if self.count.is_none_or(|count| count != 0 && reported >= count) {
                        return ControlFlow::Break(());
                    }
                }
            }
            compared += 1;
            ControlFlow::Continue(())
        });
    }
}

/// A rank, or the element count of LREM: any integer whose magnitude is one, too.
pub(super) fn ranked(text: &[u8]) -> Result<i64, CommandError> {
    let value = crate::resp::decode::parse_integer(text).ok_or(CommandError::NotInteger)?;
    if value == i64::MIN { Err(not_between(-i64::MAX, i64::MAX)) } else { Ok(value) }
}

pub fn lpos(ctx: &mut Context<'_>) -> Outcome {
    let search = Search::parse(ctx)?;
    let element = ctx.arg(2);
    let Some(entry) = ctx.db.read(ctx.arg(1)) else {
        match search.count {
            Some(_) => ctx.reply.array(0),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let list = list_of(entry)?;
    if search.count.is_none() {
        let mut position = None;
        search.run(&list, element, |index| position = Some(index));
        match position {
            Some(index) => ctx.reply.integer(index as i64),
            None => ctx.reply.null(),
        }
        return Ok(());
    }
    let array = ctx.reply.deferred_array();
    let mut reported = 0;
    search.run(&list, element, |index| {
        ctx.reply.integer(index as i64);
        reported += 1;
    });
    ctx.reply.finish_array(array, reported);
    Ok(())
}
