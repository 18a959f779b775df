//! Keys on their way to another server by MIGRATE: dumped here, and deleted when they have arrived, unless somebody changed
//! them meanwhile.

use actix::prelude::*;
use skuld::effects::{Freeing, Grouping, class};
use skuld::keyspace::Keyspace;
use skuld::rdb::Compression;
use skuld::rdb::payload::dump;
use skuld::slot::slot_of;

use super::Shard;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::Receive;
use crate::executor::Executor;

/// A key with what travels.
#[derive(Clone, Debug)]
pub struct DumpedKey {
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
    /// Unix milliseconds.
    pub expiry: Option<i64>,
}

/// What is to be done with keys of this shard; keys of others are left out.
pub enum MoveStep {
    /// Answers with those that exist.
    Dump(Vec<Vec<u8>>),
    /// Answers with those that are not as they were dumped any more, and are still here.
    Delete(Vec<DumpedKey>),
}

/// A step of MIGRATE.
pub struct MoveKeys {
    pub db: u32,
    pub step: MoveStep,
    pub reply: tokio::sync::oneshot::Sender<Vec<DumpedKey>>,
}

impl Executor {
    /// Those of the keys that exist, as they travel.
    pub fn dump_keys(&mut self, keyspace: &mut Keyspace, db: u32, keys: &[Vec<u8>]) -> Vec<DumpedKey> {
        let compression = Compression::on_if(self.config.rdbcompression);
        let now = clock::unix_ms();
        self.with_access(keyspace, |access| {
            keys.iter()
                .filter_map(|key| {
                    let entry = access.peek(db, key)?;
                    let expiry = entry.expiry();
                    if expiry.is_some_and(|expiry| expiry <= now) {
                        return None;
                    }
                    Some(DumpedKey { key: key.clone(), payload: dump(&entry.value(), compression), expiry })
                })
                .collect()
        })
    }

    /// Deletes keys that have arrived elsewhere.
    pub fn delete_moved(&mut self, keyspace: &mut Keyspace, db: u32, keys: &[Vec<u8>]) {
        self.with_access(keyspace, |access| {
            for key in keys {
                let Some(entry) = access.take_in(db, key) else { continue };
                access.effects.modified(db, slot_of(key), key);
                access.effects.notify(class::GENERIC, "del", db, key);
                access.effects.dirty += 1;
                access.discard_entry_as(entry, Freeing::Counted);
            }
            if !keys.is_empty() {
                let mut words: Vec<&[u8]> = vec![b"DEL"];
                words.extend(keys.iter().map(Vec::as_slice));
                access.effects.also_propagate(db, &words);
            }
        });
    }
}

impl Shard {
    /// Deletes what has arrived elsewhere as it is here; the rest was changed meanwhile and is given back.
    fn delete_unchanged(&mut self, db: u32, moved: Vec<DumpedKey>) -> Vec<DumpedKey> {
        let keys: Vec<Vec<u8>> = moved.iter().map(|moved| moved.key.clone()).collect();
        let now = self.executor.dump_keys(&mut self.keyspace, db, &keys);
        let mut changed = Vec::new();
        let mut deleted = Vec::new();
        for current in now {
            let same = moved.iter().any(|moved| {
                moved.key == current.key && moved.payload == current.payload && moved.expiry == current.expiry
            });
            if same {
                deleted.push(current.key);
            } else {
                changed.push(current);
            }
        }
        for key in &deleted {
            self.visit_names(&[slot_of(key)]);
        }
        if !deleted.is_empty() {
            self.executor.delete_moved(&mut self.keyspace, db, &deleted);
            self.executor.effects.propagation.close_group(Grouping::Together);
        }
        changed
    }
}

impl Receive<MoveKeys> for Shard {
    fn receive(&mut self, MoveKeys { db, step, reply }: MoveKeys, ctx: &mut Context<Self>) {
        let (index, workers) = (self.index, self.server.workers);
        if !self.held.is_empty() {
            // A unit has tables: they come back soon.
            return continue_later(self, MoveKeys { db, step, reply }, ctx);
        }
        self.executor.refresh();
        let is_mine = |key: &[u8]| slot_of(key).0 % workers == index;
        let answer = match step {
            MoveStep::Dump(mut keys) => {
                keys.retain(|key| is_mine(key));
                self.executor.dump_keys(&mut self.keyspace, db, &keys)
            }
            MoveStep::Delete(mut moved) => {
                moved.retain(|moved| is_mine(&moved.key));
                self.delete_unchanged(db, moved)
            }
        };
        self.perform_effects();
        // Who asked may have gone.
        let _ = reply.send(answer);
    }
}
