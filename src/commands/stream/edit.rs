//! XDEL and XSETID.

use super::id::{parse_all, parse_strict};
use super::stream_of_mut;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::types::stream::StreamId;

pub fn xdel(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut stream = stream_of_mut(entry)?;
    let ids = parse_all(&ctx.args[2..])?;
    let deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
    drop(stream);
    if deleted > 0 {
        ctx.db.effects.dirty += deleted as u64;
        ctx.db.modified(key);
        ctx.db.notify(class::STREAM, "xdel", key);
    }
    ctx.reply.integer(deleted as i64);
    Ok(())
}

/// The arguments of XSETID.
struct NewState {
    id: StreamId,
    entries_added: Option<u64>,
    max_deleted_id: StreamId,
}

impl NewState {
    fn parse(args: &[&[u8]]) -> Result<Self, CommandError> {
        let id = parse_strict(args[2], 0)?;
        let mut state = NewState { id, entries_added: None, max_deleted_id: StreamId::MIN };
        for option in args[3..].chunks(2) {
            match option {
                [word, value] if word.eq_ignore_ascii_case(b"ENTRIESADDED") => {
                    let value = crate::resp::decode::parse_integer(value).ok_or(CommandError::NotInteger)?;
                    let value = u64::try_from(value)
                        .map_err(|_| CommandError::fixed("ERR entries_added must be positive"))?;
                    state.entries_added = Some(value);
                }
                [word, value] if word.eq_ignore_ascii_case(b"MAXDELETEDID") => {
                    state.max_deleted_id = parse_strict(value, 0)?;
                    if id < state.max_deleted_id {
                        return Err(CommandError::fixed(
                            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                        ));
                    }
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(state)
    }
}

pub fn xsetid(ctx: &mut Context<'_>) -> Outcome {
    let state = NewState::parse(ctx.args)?;
    let key = ctx.arg(1);
    let entry = ctx.db.write(key).ok_or(CommandError::NoSuchKey)?;
    let mut stream = stream_of_mut(entry)?;
    if state.id < stream.max_deleted_id {
        return Err(CommandError::fixed(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if let Some(last) = stream.last_live_id() {
        if state.id < last {
            return Err(CommandError::fixed(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if state.entries_added.is_some_and(|added| added < stream.len()) {
            return Err(CommandError::fixed(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    stream.last_id = state.id;
    if let Some(added) = state.entries_added {
        stream.entries_added = added;
    }
    if state.max_deleted_id != StreamId::MIN {
        stream.max_deleted_id = state.max_deleted_id;
    }
    drop(stream);
    // Watchers are not told: the entries are what they were.
    ctx.db.effects.dirty += 1;
    ctx.db.notify(class::STREAM, "xsetid", key);
    ctx.reply.ok();
    Ok(())
}
