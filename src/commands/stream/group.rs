//! XGROUP and XACK.

use super::id::{parse_all, parse_any, parse_strict};
use super::{no_group_of_key, stream_of_mut, subcommand_error};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::entry::RefMut;
use crate::keyspace::{Lookup, NewValue, Value};
use crate::types::stream::{Stream, StreamId};

fn key_required() -> CommandError {
    CommandError::fixed(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    )
}

/// The options behind the id.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(ctx: &Context<'_>, with_make_stream: bool) -> Result<Self, CommandError> {
        let mut options = Options::default();
        let mut at = 5;
        while at < ctx.args.len() {
            if with_make_stream && ctx.is_word(at, "MKSTREAM") {
                options.make_stream = true;
                at += 1;
            } else if ctx.is_word(at, "ENTRIESREAD") && at + 1 < ctx.args.len() {
                options.entries_read = match ctx.integer(at + 1)? {
                    -1 => None,
                    read => Some(u64::try_from(read).map_err(|_| {
                        CommandError::fixed("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
                at += 2;
            } else {
                return Err(subcommand_error(ctx));
            }
        }
        Ok(options)
    }
}

pub fn create(ctx: &mut Context<'_>) -> Outcome {
    let options = Options::parse(ctx, true)?;
    let (key, name, id) = (ctx.arg(2), ctx.arg(3), ctx.arg(4));
    let too_many = (ctx.args.len() > 8).then(|| subcommand_error(ctx));
    let taken = match ctx.db.write(key) {
        Some(entry) => {
            let mut stream = stream_of_mut(entry)?;
            if let Some(error) = too_many {
                return Err(error);
            }
            let id = if id == b"$" { stream.last_id } else { parse_strict(id, 0)? };
            !stream.create_group(name, id, options.entries_read)
        }
        None if !options.make_stream => return Err(key_required()),
        None => {
            if let Some(error) = too_many {
                return Err(error);
            }
            let id = if id == b"$" { StreamId::MIN } else { parse_strict(id, 0)? };
            let mut stream = Stream::new();
            stream.create_group(name, id, options.entries_read);
            ctx.db.insert(key, NewValue::Owned(Value::Stream(stream)), None);
            ctx.db.modified(key);
            false
        }
    };
    if taken {
        return Err(CommandError::fixed("BUSYGROUP Consumer Group name already exists"));
    }
    changed(ctx, "xgroup-create", key);
    ctx.reply.ok();
    Ok(())
}

/// A group's metadata is no part of the value that watchers see.
fn changed(ctx: &mut Context<'_>, event: &'static str, key: &[u8]) {
    ctx.db.effects.dirty += 1;
    ctx.db.notify(class::STREAM, event, key);
}

/// The stream of the subcommands that need one.
fn existing<'c>(ctx: &'c mut Context<'_>, key: &[u8]) -> Result<RefMut<'c, Stream>, CommandError> {
    stream_of_mut(ctx.db.write(key).ok_or_else(key_required)?)
}

pub fn setid(ctx: &mut Context<'_>) -> Outcome {
    let options = Options::parse(ctx, false)?;
    let (key, name, id) = (ctx.arg(2), ctx.arg(3), ctx.arg(4));
    let too_many = (ctx.args.len() > 7).then(|| subcommand_error(ctx));
    let mut stream = existing(ctx, key)?;
    let last_id = stream.last_id;
    let group = stream.groups.get_mut(name).ok_or_else(|| no_group_of_key(key, name))?;
    if let Some(error) = too_many {
        return Err(error);
    }
    group.last_id = if id == b"$" { last_id } else { parse_any(id, 0)? };
    group.entries_read = options.entries_read;
    drop(stream);
    changed(ctx, "xgroup-setid", key);
    ctx.reply.ok();
    Ok(())
}

pub fn destroy(ctx: &mut Context<'_>) -> Outcome {
    let (key, name) = (ctx.arg(2), ctx.arg(3));
    let mut stream = existing(ctx, key)?;
    let group = stream.groups.remove(name);
    drop(stream);
    let destroyed = group.is_some();
    if let Some(group) = group {
        // The reaper takes values: a group with many pending entries goes there inside an empty stream.
        let mut rest = Stream::new();
        rest.groups.insert(name.into(), group);
        ctx.db.discard(Value::Stream(rest));
        changed(ctx, "xgroup-destroy", key);
        ctx.db.effects.ready(ctx.db.db, key);
    }
    ctx.reply.integer(i64::from(destroyed));
    Ok(())
}

pub fn create_consumer(ctx: &mut Context<'_>) -> Outcome {
    let (key, name, consumer) = (ctx.arg(2), ctx.arg(3), ctx.arg(4));
    let now = ctx.db.now;
    let mut stream = existing(ctx, key)?;
    let group = stream.groups.get_mut(name).ok_or_else(|| no_group_of_key(key, name))?;
    let created = group.create_consumer(consumer, now).is_some();
    drop(stream);
    if created {
        changed(ctx, "xgroup-createconsumer", key);
    }
    ctx.reply.integer(i64::from(created));
    Ok(())
}

pub fn delete_consumer(ctx: &mut Context<'_>) -> Outcome {
    let (key, name, consumer) = (ctx.arg(2), ctx.arg(3), ctx.arg(4));
    let mut stream = existing(ctx, key)?;
    let group = stream.groups.get_mut(name).ok_or_else(|| no_group_of_key(key, name))?;
    let pending = group.remove_consumer(consumer);
    drop(stream);
    if pending.is_some() {
        changed(ctx, "xgroup-delconsumer", key);
    }
    ctx.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

pub fn xack(ctx: &mut Context<'_>) -> Outcome {
    let (key, name) = (ctx.arg(1), ctx.arg(2));
    // Valkey looks for the key as a reader does, although the group changes.
    let Some(entry) = ctx.db.lookup(key, Lookup::READ) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut stream = stream_of_mut(entry)?;
    let Some(group) = stream.groups.get_mut(name) else {
        drop(stream);
        ctx.reply.integer(0);
        return Ok(());
    };
    let ids = parse_all(&ctx.args[3..])?;
    let acknowledged = ids.into_iter().filter(|id| group.acknowledge(*id)).count();
    drop(stream);
    ctx.db.effects.dirty += acknowledged as u64;
    ctx.reply.integer(acknowledged as i64);
    Ok(())
}
