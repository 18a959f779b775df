//! LPUSH, RPUSH, LPUSHX, RPUSHX.

use super::{changed, limits, list_of_mut};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::{NewValue, Value};
use crate::types::list::{End, List};

pub fn lpush(ctx: &mut Context<'_>) -> Outcome {
    push(ctx, End::Head, Missing::Create)
}

pub fn rpush(ctx: &mut Context<'_>) -> Outcome {
    push(ctx, End::Tail, Missing::Create)
}

pub fn lpushx(ctx: &mut Context<'_>) -> Outcome {
    push(ctx, End::Head, Missing::Refuse)
}

pub fn rpushx(ctx: &mut Context<'_>) -> Outcome {
    push(ctx, End::Tail, Missing::Refuse)
}

/// What happens if there is no list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Refuse,
}

fn push(ctx: &mut Context<'_>, end: End, missing: Missing) -> Outcome {
    let key = ctx.arg(1);
    match push_elements(ctx, key, &ctx.args[2..], end, missing)? {
        None => ctx.reply.integer(0),
        Some(len) => {
            changed(ctx, event(end), key, ctx.args.len() - 2);
            ctx.reply.integer(len as i64);
        }
    }
    Ok(())
}

/// The event of a push.
pub(super) fn event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

/// Adds elements one after the other and returns the new length; records nothing but a new key. `None` if there is no
/// list and none is to be created.
fn push_elements(
    ctx: &mut Context<'_>,
    key: &[u8],
    elements: &[&[u8]],
    end: End,
    missing: Missing,
) -> Result<Option<usize>, CommandError> {
    let limits = limits(ctx.config);
    let bytes = elements.iter().map(|element| element.len()).sum();
    if let Some(entry) = ctx.db.write(key) {
        let mut list = list_of_mut(entry)?;
        list.prepare_push(bytes, elements.len(), &limits);
        match elements {
            [element] => list.push(element, end),
            _ => list.push_all(elements, end),
        }
        return Ok(Some(list.len()));
    }
    if missing == Missing::Refuse {
        return Ok(None);
    }
    let list = List::of(elements, bytes, end, &limits);
    let len = list.len();
    ctx.db.insert(key, NewValue::Owned(Value::List(list)), None);
    Ok(Some(len))
}
