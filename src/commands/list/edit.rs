//! LSET, LINSERT, LREM, LTRIM.

use super::read::ranked;
use super::{changed, limits, list_of_mut, position, remove_empty, span};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::types::Item;
use crate::types::list::End;
use std::ops::ControlFlow;

pub fn lset(ctx: &mut Context<'_>) -> Outcome {
    let (key, index, element) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    let limits = limits(ctx.config);
    let entry = ctx.db.write(key).ok_or(CommandError::NoSuchKey)?;
    let mut list = list_of_mut(entry)?;
    let index = crate::resp::decode::parse_integer(index).ok_or(CommandError::NotInteger)?;
    // Also when there is no such index: the encoding shows it.
    list.prepare_push(element.len(), 1, &limits);
    // Valkey keeps the low 32 bits of the index here, and only here: 4294967296 is the first element.
    let index = position(i64::from(index as i32), list.len()).ok_or(CommandError::IndexOutOfRange)?;
    list.replace(index, element);
    list.shrink(&limits);
    drop(list);
    changed(ctx, "lset", key, 1);
    ctx.reply.ok();
    Ok(())
}

pub fn linsert(ctx: &mut Context<'_>) -> Outcome {
    let (key, pivot, element) = (ctx.arg(1), ctx.arg(3), ctx.arg(4));
    let after = if ctx.is_word(2, "AFTER") {
        true
    } else if ctx.is_word(2, "BEFORE") {
        false
    } else {
        return Err(CommandError::Syntax);
    };
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut list = list_of_mut(entry)?;
    // Also when the pivot is missing: the encoding shows it.
    list.prepare_push(element.len(), 1, &limits);
    let (wanted, mut at, mut found) = (Item::parse(pivot), 0, false);
    list.visit(0, true, |item| {
        if item == wanted {
            found = true;
            return ControlFlow::Break(());
        }
        at += 1;
        ControlFlow::Continue(())
    });
    if !found {
        drop(list);
        ctx.reply.integer(-1);
        return Ok(());
    }
    list.insert(at, element, after);
    let len = list.len();
    drop(list);
    changed(ctx, "linsert", key, 1);
    ctx.reply.integer(len as i64);
    Ok(())
}

pub fn lrem(ctx: &mut Context<'_>) -> Outcome {
    let (key, element) = (ctx.arg(1), ctx.arg(3));
    let count = ranked(ctx.arg(2))?;
    let (from, max) = match count {
        0 => (End::Head, usize::MAX),
        1.. => (End::Head, count as usize),
        _ => (End::Tail, count.unsigned_abs() as usize),
    };
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut list = list_of_mut(entry)?;
    let removed = list.remove_equal(element, from, max);
    let emptied = list.is_empty();
    if removed > 0 && !emptied {
        list.shrink(&limits);
    }
    drop(list);
    if removed > 0 {
        changed(ctx, "lrem", key, removed);
    }
    if emptied {
        remove_empty(ctx, key);
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}

pub fn ltrim(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    let (start, stop) = (ctx.integer(2)?, ctx.integer(3)?);
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.ok();
        return Ok(());
    };
    let mut list = list_of_mut(entry)?;
    let len = list.len();
    let kept = span(start, stop, len);
    if let Some((first, count)) = kept {
        list.remove_range(first + count, len - first - count);
        list.remove_range(0, first);
        list.shrink(&limits);
    }
    drop(list);
    changed(ctx, "ltrim", key, len - kept.map_or(0, |(_, count)| count));
    if kept.is_none() {
        remove_empty(ctx, key);
    }
    ctx.reply.ok();
    Ok(())
}
