//! ACL LOG: the refusals of the last time. Like refusals within a minute are one entry with a count.

use std::collections::VecDeque;

use super::check::Denial;
use crate::resp::Reply;
use crate::types::number::F64Buffer;

/// Within this time like refusals are one entry, milliseconds.
const SAME_WITHIN_MS: i64 = 60_000;
/// How many of the newest entries are looked at for one alike.
const LOOKED_AT: usize = 10;

/// Where the refused command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    Multi,
    Lua,
    Module,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
            Context::Module => "module",
        }
    }
}

/// One refusal, as it is reported.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub denial: Denial,
    pub context: Context,
    /// The command, key, channel or database.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
    /// The client's line of CLIENT LIST.
    pub client: String,
}

struct Entry {
    refusal: Refusal,
    count: u64,
    id: u64,
    created_ms: i64,
    updated_ms: i64,
}

/// The log, newest first.
#[derive(Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl Log {
    /// Takes note of a refusal at `now` (Unix milliseconds) and keeps at most `max` entries.
    pub fn add(&mut self, refusal: Refusal, now: i64, max: usize) {
        let alike = |entry: &Entry| {
            let (a, b) = (&entry.refusal, &refusal);
            a.denial == b.denial
                && a.context == b.context
                && (now - entry.updated_ms).abs() <= SAME_WITHIN_MS
                && a.object == b.object
                && a.user == b.user
        };
        if max > 0 {
            let found = self.entries.iter().take(LOOKED_AT).position(alike);
            match found.and_then(|at| self.entries.remove(at)) {
                Some(mut entry) => {
                    entry.refusal.client = refusal.client;
                    entry.updated_ms = now;
                    entry.count += 1;
                    self.entries.push_front(entry);
                    // A smaller limit takes effect with the next new entry.
                    return;
                }
                None => {
                    let entry =
                        Entry { refusal, count: 1, id: self.next_id, created_ms: now, updated_ms: now };
                    self.entries.push_front(entry);
                    self.next_id += 1;
                }
            }
        }
        self.entries.truncate(max);
    }

    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// Writes the newest `count` entries as ACL LOG shows them at `now` (Unix milliseconds).
    pub fn write(&self, count: usize, now: i64, reply: &mut Reply) {
        let count = count.min(self.entries.len());
        reply.array(count);
        for entry in self.entries.iter().take(count) {
            reply.map(10);
            reply.bulk(b"count");
            reply.integer(entry.count as i64);
            reply.bulk(b"reason");
            reply.bulk(entry.refusal.denial.reason().as_bytes());
            reply.bulk(b"context");
            reply.bulk(entry.refusal.context.name().as_bytes());
            reply.bulk(b"object");
            reply.bulk(&entry.refusal.object);
            reply.bulk(b"username");
            reply.bulk(&entry.refusal.user);
            reply.bulk(b"age-seconds");
            reply.double_text(F64Buffer::new().format((now - entry.updated_ms) as f64 / 1000.0));
            reply.bulk(b"client-info");
            reply.bulk(entry.refusal.client.as_bytes());
            reply.bulk(b"entry-id");
            reply.integer(entry.id as i64);
            reply.bulk(b"timestamp-created");
            reply.integer(entry.created_ms);
            reply.bulk(b"timestamp-last-updated");
            reply.integer(entry.updated_ms);
        }
    }
}
