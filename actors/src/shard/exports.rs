//! A shard's share of exports: slices between batches; and tasks that need all keys of all shards at once.

use std::sync::Arc;

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::keys::{KeyList, keys_of};
use skuld::commands::spec::WRITE;
use skuld::effects::{Freeing, Garbage};
use skuld::export::{Chunk, Format, Ground, Walk, Walked};
use skuld::hash::hash;
use skuld::keyspace::{Database, Keyspace, SlotTable};
use skuld::resp::decode::parse_integer;
use skuld::slot::slot_of;

use super::{SLICE_US_MAX, Shard, Slots};
use crate::batch::Batch;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::Receive;
use crate::executor::Executor;
use crate::export::Export;
use crate::routing::{self, Route};
use crate::scheduling::give_way;
use crate::scripting::runs_code;

/// What to do with all keys of all shards at hand and nobody else running anything. What it records as effects is
/// performed as those of a command are.
pub type Task = Box<dyn FnOnce(&mut Keyspace, &mut Executor) + Send>;

/// Do something while all slots of all shards are held. Sent to any shard, by convention the first.
pub struct RunOverAll {
    pub task: Task,
}

/// Begin to walk for an export whose cut was just made.
pub struct StartWalk {
    pub export: Arc<Export>,
    /// Identities of this shard's databases at the cut, the last one first.
    pub databases: Vec<u32>,
}

/// Go on with exports.
pub struct ContinueExports;

/// There may be credit again, or an export was stopped.
pub struct ResumeExports;

/// A database was flushed while an export had not finished with it: keep it until it has.
pub struct KeepExporting {
    pub database: Box<Database>,
    pub freeing: Freeing,
}

struct Job {
    export: Arc<Export>,
    walk: Walk,
}

/// The exports of one shard.
#[derive(Default)]
pub(super) struct ShardExports {
    jobs: Vec<Job>,
    /// Flushed databases that exports need, and how they are to be freed.
    orphans: Vec<Database>,
    freeing: Vec<Freeing>,
    /// A `ContinueExports` is on its way.
    continuing: bool,
    /// Tasks that wait for a KEYS to end.
    waiting_tasks: Vec<Task>,
}

/// Bytes collected in one slice.
const SLICE_BYTES: usize = 128 * 1024;

impl Shard {
    /// Gives each export a share of one slice.
    fn advance_exports(&mut self, ctx: &mut Context<Self>) {
        self.executor.refresh();
        let touch = self.executor.touch_now();
        let exports = &mut self.exports;
        let share = SLICE_US_MAX / exports.jobs.len().max(1) as u64;
        let held = &self.held;
        let is_held = |slot| held.iter().any(|(_, slots)| slots.contains_any(&[slot]));
        let everything_held = held.iter().any(|(_, slots)| matches!(slots, Slots::All));
        let (mut more, mut hastened) = (false, false);
        let mut index = 0;
        while index < exports.jobs.len() && !everything_held {
            let Job { export, walk } = &mut exports.jobs[index];
            let stopped = export.is_stopped();
            let is_hastened = walk.is_hastened();
            if !stopped && !is_hastened && !export.has_room() {
                index += 1;
                continue;
            }
            let started = clock::tick();
            let format: Format = export.format;
            let chunk = std::cell::RefCell::new(Chunk::default());
            let mut large = Vec::new();
            let walked = walk.advance(&mut Ground {
                part: &mut self.keyspace.parts_mut()[0],
                orphans: &mut exports.orphans,
                is_held: &is_held,
                put: &mut |db, entry, staged| {
                    let is_through =
                        stopped || staged.step(&mut chunk.borrow_mut(), format, db, entry, touch);
                    if is_through {
                        large.extend(Some(staged.take_chunks(db)).filter(|pieces| !pieces.is_empty()));
                    }
                    is_through
                },
                announce: &mut |db, slot, table| {
                    if !stopped {
                        chunk.borrow_mut().announce(format, db, slot, table.table());
                    }
                },
                go_on: &mut || {
                    clock::micros_between(started, clock::tick()) < share
                        && chunk.borrow().bytes.len() < SLICE_BYTES
                },
            });
            hastened |= is_hastened && !walk.is_hastened();
            export.send(chunk.into_inner());
            large.into_iter().for_each(|pieces| export.send_together(pieces));
            match walked {
                Walked::Done => {
                    let job = exports.jobs.remove(index);
                    self.server.exports.shard_done(&job.export);
                    continue;
                }
                Walked::More => more = true,
                Walked::Waiting => {}
            }
            index += 1;
        }
        if exports.jobs.is_empty() && !exports.orphans.is_empty() {
            let orphans = exports.orphans.drain(..).zip(exports.freeing.drain(..));
            let garbage =
                orphans.map(|(d, freeing)| freeing.apply(Garbage::Tables(d.into_tables()))).collect();
            crate::reaper::give(&self.server, garbage, None);
        }
        self.exports.continuing = more;
        if more {
            give_way();
            continue_later(self, ContinueExports, ctx);
        }
        if hastened {
            self.retry_parked(ctx);
        }
    }

    /// Goes on with exports unless a slice is on its way.
    pub(super) fn resume_exports(&mut self, ctx: &mut Context<Self>) {
        if !self.exports.jobs.is_empty() && !self.exports.continuing {
            self.advance_exports(ctx);
        }
    }

    /// Whether a command would add old values to an export whose receiver is too far behind.
    pub(super) fn must_wait_for_export(&self, batch: &Batch, command: &'static Command) -> bool {
        if !self.executor.effects.exports.active
            || !(may_change(command) || command.name == "exec")
            || !batch.session.authenticated
        {
            return false;
        }
        let crowded = self.server.exports.crowded();
        if crowded == 0 {
            return false;
        }
        let part = &self.keyspace.parts()[0];
        let is_open = |slot| {
            (0..part.databases())
                .filter_map(|db| part.database(db)?.slot(slot))
                .any(|t| t.lanes().open_among(crowded))
        };
        match routing::route(command, batch, self.server.workers, &self.server.scripts) {
            // A script that begins with its declared keys only reads.
            Route::Anywhere | Route::Shard(_) | Route::Script(_) => false,
            // Those of other shards are looked at there.
            Route::Slots(slots) => slots.into_iter().any(|slot| part.owns(slot) && is_open(slot)),
            // Flushing hands tables over, which takes nothing; anything else over all slots is rare.
            Route::All => false,
        }
    }

    /// Whether a command would change or remove a large value that an export has not come to: it would have to be encoded
    /// at once, and everybody would wait. The export takes it next instead, in slices, and only the command waits. Of a
    /// transaction its commands are looked at, of a script the keys it declares.
    pub(super) fn must_wait_for_large_value(
        &mut self,
        batch: &Batch,
        command: &'static Command,
        ctx: &mut Context<Self>,
    ) -> bool {
        if !self.executor.effects.exports.active || !batch.session.origin.is_client() {
            return false;
        }
        let mut db = batch.session.db;
        let mut must_wait = false;
        if let Some(queue) = batch.transaction.queue.as_ref().filter(|_| command.name == "exec") {
            for (command, words) in &queue.commands {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                if command.name == "select" {
                    db = words.get(1).and_then(|word| parse_integer(word)?.try_into().ok()).unwrap_or(db);
                }
                must_wait |= may_change(command) && self.hasten_large_values(db, command, &words);
            }
        } else if may_change(command) {
            must_wait = self.hasten_large_values(db, command, &batch.words(batch.next));
        }
        if must_wait && !self.exports.continuing {
            self.exports.continuing = true;
            continue_later(self, ContinueExports, ctx);
        }
        must_wait
    }

    /// Has exports take the large values next that a command may change. Whether there are any.
    fn hasten_large_values(&mut self, db: u32, command: &'static Command, words: &[&[u8]]) -> bool {
        let part = &self.keyspace.parts()[0];
        let Some(database) = part.database(db).filter(|d| d.is_exporting()) else { return false };
        let mut keys = KeyList::new();
        // What is wrong with the request is found when it runs.
        let _ = keys_of(command, words, &mut keys);
        let mut any = false;
        for key in &keys {
            let key = words[key.position as usize];
            let slot = slot_of(key);
            let open = database.slot(slot).map(SlotTable::lanes).filter(|lanes| lanes.any_open());
            let Some((lanes, entry)) = open.zip(database.find(slot, hash(key), key)) else { continue };
            let due = lanes.due(entry.marks());
            if due == 0 || !entry.is_slow_to_encode() {
                continue;
            }
            let jobs = self.exports.jobs.iter_mut();
            for job in jobs.filter(|job| due & 1 << job.export.lane.index() != 0) {
                job.walk.hasten(database.id(), slot, key);
                any = true;
            }
        }
        any
    }

    /// Runs tasks that waited for a KEYS or a script.
    pub(super) fn run_waiting_tasks(&mut self, ctx: &mut Context<Self>) {
        if self.collecting.is_empty() && self.held.is_empty() {
            for task in std::mem::take(&mut self.exports.waiting_tasks) {
                self.run_task_here(task, ctx);
            }
        }
    }

    fn run_task_here(&mut self, task: Task, ctx: &mut Context<Self>) {
        self.perform_effects();
        self.executor.refresh();
        self.executor.run_task(&mut self.keyspace, task);
        self.serve_ready(None, ctx);
        self.perform_effects();
    }
}

/// Whether a command may change a value.
fn may_change(command: &'static Command) -> bool {
    command.flags.has(WRITE) || runs_code(command)
}

impl Receive<RunOverAll> for Shard {
    fn receive(&mut self, RunOverAll { task }: RunOverAll, ctx: &mut Context<Self>) {
        if self.server.workers > 1 {
            return self.start_task(task, ctx);
        }
        self.exports.waiting_tasks.push(task);
        self.run_waiting_tasks(ctx);
    }
}

impl Receive<StartWalk> for Shard {
    fn receive(&mut self, StartWalk { export, databases }: StartWalk, ctx: &mut Context<Self>) {
        let walk = Walk::new(export.lane, databases);
        self.exports.jobs.push(Job { export, walk });
        self.resume_exports(ctx);
    }
}

impl Receive<ContinueExports> for Shard {
    fn receive(&mut self, _: ContinueExports, ctx: &mut Context<Self>) {
        self.advance_exports(ctx);
    }
}

impl Receive<ResumeExports> for Shard {
    fn receive(&mut self, _: ResumeExports, ctx: &mut Context<Self>) {
        self.resume_exports(ctx);
        self.retry_parked(ctx);
    }
}

impl Receive<KeepExporting> for Shard {
    fn receive(&mut self, KeepExporting { database, freeing }: KeepExporting, ctx: &mut Context<Self>) {
        self.exports.orphans.push(*database);
        self.exports.freeing.push(freeing);
        if self.exports.jobs.is_empty() {
            // It came after the last export had been stopped and walked past it.
            return self.advance_exports(ctx);
        }
        self.resume_exports(ctx);
    }
}
