//! Commands on streams.
//!
//! Reading (`read`) and delivering to consumer groups (`deliver`) are functions of their own, for the commands here and
//! for clients that waited. Effects of a group command are collected while the stream is borrowed and recorded after.

pub mod add;
pub mod claim;
pub mod deliver;
pub mod edit;
pub mod group;
pub mod id;
pub mod info;
pub mod pending;
pub mod range;
pub mod read;
pub mod trimming;

#[cfg(test)]
mod tests;

use crate::commands::list::reply_item;
use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::keyspace::entry::{Ref, RefMut};
use crate::keyspace::{Entry, ValueRef};
use crate::resp::Reply;
use crate::types::stream::{Stream, StreamEntry, StreamId, StreamLimits};
use id::IdText;

/// The directives that shape streams.
fn limits(config: &Config) -> StreamLimits {
    StreamLimits {
        node_bytes_max: usize::try_from(config.stream_node_max_bytes).unwrap_or(usize::MAX),
        node_entries_max: i64::try_from(config.stream_node_max_entries).unwrap_or(i64::MAX),
    }
}

/// The stream for reading; other types are refused.
fn stream_of(entry: &Entry) -> Result<Ref<'_, Stream>, CommandError> {
    match entry.value() {
        ValueRef::Stream(stream) => Ok(stream),
        _ => Err(CommandError::WrongType),
    }
}

/// The stream for changing; other types are refused.
fn stream_of_mut(entry: &mut Entry) -> Result<RefMut<'_, Stream>, CommandError> {
    entry.stream_mut().ok_or(CommandError::WrongType)
}

/// An id as a bulk string.
fn reply_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(IdText::new(id).as_bytes());
}

/// An entry as an array of its id and its fields and values.
fn reply_entry(reply: &mut Reply, entry: &StreamEntry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.len());
    entry.for_each(|field, value| {
        reply_item(reply, field);
        reply_item(reply, value);
    });
}

/// A client's bytes as Valkey quotes them in errors: only up to a zero byte.
fn quoted(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// `No such key ... or consumer group ...`, with more words behind it.
fn no_group(key: &[u8], group: &[u8], rest: &[u8]) -> CommandError {
    let parts: [&[u8]; 6] =
        [b"NOGROUP No such key '", quoted(key), b"' or consumer group '", quoted(group), b"'", rest];
    CommandError::Bytes(parts.concat())
}

/// `No such consumer group ... for key name ...`.
fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    let parts: [&[u8]; 5] =
        [b"NOGROUP No such consumer group '", quoted(group), b"' for key name '", quoted(key), b"'"];
    CommandError::Bytes(parts.concat())
}

/// The error of a subcommand with arguments that it does not know.
fn subcommand_error(ctx: &Context<'_>) -> CommandError {
    /// Valkey shows at most this much of the subcommand, bytes.
    const SHOWN_MAX: usize = 128;
    let word = quoted(ctx.arg(1));
    let container = ctx.arg(0).to_ascii_uppercase();
    let parts: [&[u8]; 5] = [
        b"ERR unknown subcommand or wrong number of arguments for '",
        &word[..word.len().min(SHOWN_MAX)],
        b"'. Try ",
        quoted(&container),
        b" HELP.",
    ];
    CommandError::Bytes(parts.concat())
}
