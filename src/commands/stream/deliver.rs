//! What a consumer group is given: new entries and a consumer's own history; and the record of what a group command did.

use super::id::IdText;
use super::reply_entry;
use crate::commands::Context;
use crate::effects::class;
use crate::resp::Reply;
use crate::types::stream::{ConsumerKey, Group, Pending, StreamData, StreamId};
use std::ops::ControlFlow;

/// What a command did to a group, recorded while the stream is borrowed.
pub(super) struct Record {
    /// Somebody wants the commands to propagate.
    listening: bool,
    /// A consumer was made.
    created: bool,
    /// Replicas are told about a new consumer by a command of its own.
    pub announce_consumer: bool,
    claims: Vec<Claim>,
    /// The group's last id and its count of entries read, if replicas must be told.
    position: Option<(StreamId, Option<u64>)>,
    /// Changes besides the new consumer.
    pub changes: u64,
}

/// A pending entry as it is after the command.
struct Claim {
    id: Box<[u8]>,
    /// `None`: the consumer of the command.
    consumer: Option<Box<[u8]>>,
    delivered_ms: i64,
    deliveries: u64,
    last_id: StreamId,
}

impl Record {
    pub fn new(ctx: &Context<'_>) -> Self {
        Record {
            listening: ctx.db.effects.listening.propagation,
            created: false,
            announce_consumer: false,
            claims: Vec::new(),
            position: None,
            changes: 0,
        }
    }

    /// Finds the consumer, or makes it, and notes that it was seen.
    pub fn consumer(&mut self, group: &mut Group, name: &[u8], now_ms: i64) -> ConsumerKey {
        if let Some(consumer) = group.consumer_mut(name) {
            consumer.seen_ms = now_ms;
            return consumer.key;
        }
        self.created = true;
        group.create_consumer(name, now_ms).expect("the name was not found")
    }

    /// Records a pending entry of the command's consumer.
    pub fn claimed(&mut self, id: &[u8], pending: &Pending, last_id: StreamId) {
        if self.listening {
            let (delivered_ms, deliveries) = (pending.delivered_ms, pending.deliveries);
            self.claims.push(Claim { id: id.into(), consumer: None, delivered_ms, deliveries, last_id });
        }
    }

    /// Records that a pending entry is removed because the stream does not hold it any more: replicas find out by
    /// claiming it for whoever had it.
    pub fn gone(&mut self, id: &[u8], pending: &Pending, group: &Group) {
        self.changes += 1;
        if self.listening {
            self.claims.push(Claim {
                id: id.into(),
                consumer: Some(group.name_of(pending.consumer).into()),
                delivered_ms: pending.delivered_ms,
                deliveries: pending.deliveries,
                last_id: group.last_id,
            });
        }
    }

    /// Records the group's position.
    pub fn moved(&mut self, group: &Group) {
        self.position = Some((group.last_id, group.entries_read));
    }

    /// Performs the record: counts, event, and what replicas get instead of the command.
    pub fn apply(self, ctx: &mut Context<'_>, key: &[u8], group: &[u8], consumer: &[u8]) {
        if self.created {
            ctx.db.effects.dirty += 1;
            ctx.db.notify(class::STREAM, "xgroup-createconsumer", key);
            if self.announce_consumer {
                ctx.db.rewrite(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
            }
        }
        ctx.db.effects.dirty += self.changes;
        let (mut delivered, mut deliveries) = (itoa::Buffer::new(), itoa::Buffer::new());
        for claim in &self.claims {
            ctx.db.rewrite(&[
                b"XCLAIM",
                key,
                group,
                claim.consumer.as_deref().unwrap_or(consumer),
                b"0",
                &claim.id,
                b"TIME",
                delivered.format(claim.delivered_ms).as_bytes(),
                b"RETRYCOUNT",
                deliveries.format(claim.deliveries).as_bytes(),
                b"FORCE",
                b"JUSTID",
                b"LASTID",
                IdText::new(claim.last_id).as_bytes(),
            ]);
        }
        if let Some((id, entries_read)) = self.position {
            let entries_read = entries_read.map_or(-1, |read| read as i64);
            ctx.db.rewrite(&[
                b"XGROUP",
                b"SETID",
                key,
                group,
                IdText::new(id).as_bytes(),
                b"ENTRIESREAD",
                itoa::Buffer::new().format(entries_read).as_bytes(),
            ]);
        }
    }
}

/// Who reads, and how.
pub(super) struct Reader<'a> {
    pub consumer: &'a [u8],
    /// At most so many entries; 0: all.
    pub count: u64,
    pub no_ack: bool,
    pub now_ms: i64,
}

impl Reader<'_> {
    /// Replies with the entries behind the group's position as an array, moves the position, and makes the entries
    /// pending unless they need no acknowledgement.
    pub fn deliver_new(
        &self,
        stream: &StreamData,
        group: &mut Group,
        record: &mut Record,
        reply: &mut Reply,
    ) {
        let consumer = record.consumer(group, self.consumer, self.now_ms);
        let mut ids = Vec::new();
        let array = reply.deferred_array();
        if let Some(start) = group.last_id.successor() {
            stream.visit(start, StreamId::MAX, |entry| {
                reply_entry(reply, entry);
                ids.push(entry.id);
                if ids.len() as u64 == self.count {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        }
        reply.finish_array(array, ids.len());
        record.changes += 1;
        if ids.is_empty() {
            return;
        }
        let pending = Pending { consumer, delivered_ms: self.now_ms, deliveries: 1 };
        for id in ids {
            stream.advance(group, id);
            if !self.no_ack {
                group.assign(id, pending);
                record.claimed(IdText::new(id).as_bytes(), &pending, group.last_id);
            }
        }
        if !self.no_ack
            && let Some(consumer) = group.consumer_mut(self.consumer)
        {
            consumer.active_ms = self.now_ms;
        }
        record.moved(group);
    }

    /// Replies with the consumer's pending entries behind `after` as an array and counts the delivery. An entry that
    /// was deleted has no fields.
    pub fn deliver_history(
        &self,
        stream: &StreamData,
        group: &mut Group,
        after: StreamId,
        record: &mut Record,
        reply: &mut Reply,
    ) {
        record.consumer(group, self.consumer, self.now_ms);
        let limit =
            if self.count == 0 { usize::MAX } else { usize::try_from(self.count).unwrap_or(usize::MAX) };
        let ids: Vec<StreamId> = match (group.consumer(self.consumer), after.successor()) {
            (Some(consumer), Some(start)) => consumer.pending().range(start..).take(limit).copied().collect(),
            _ => Vec::new(),
        };
        reply.array(ids.len());
        for id in ids {
            let mut found = false;
            stream.visit(id, id, |entry| {
                reply_entry(reply, entry);
                found = true;
                ControlFlow::Break(())
            });
            if !found {
                reply.array(2);
                super::reply_id(reply, id);
                reply.null_array();
            } else if let Some(pending) = group.pending().get(&id).copied() {
                let deliveries = pending.deliveries + 1;
                group.assign(id, Pending { delivered_ms: self.now_ms, deliveries, ..pending });
            }
        }
        record.changes += 1;
    }
}
