//! Client-side caching where commands run: who is told what a command changed, and what it read is remembered.

use skuld::commands::Command;
use skuld::commands::keys::{KeyList, keys_of};
use skuld::commands::spec::{Categories, NOT_KEY, READONLY};
use skuld::effects::{Freeing, Garbage};
use skuld::session::Session;

use super::{Executor, empties};
use crate::batch::Batch;
use crate::tracking::{self, Writer};

impl Executor {
    /// Takes keys that are too many out of the table of who has read what, before a command runs. What the client itself
    /// is told of them stands before the command's reply.
    pub(super) fn limit_tracking(&self, batch: &mut Batch) {
        let max = usize::try_from(self.config.tracking_table_max_keys).unwrap_or(usize::MAX);
        let own = Writer { id: batch.session.id, pushes: &mut batch.output };
        self.server.tracking.shrink(&self.server.clients, max, Some(own));
    }

    /// Client-side caching: tells who has read what the command changed, then remembers what it read.
    pub(super) fn track(&mut self, session: &Session, command: &'static Command, args: &[&[u8]]) {
        self.tell_modified(session.id);
        let reads = command.flags.has(READONLY) && !command.categories.contains(Categories::SCRIPTING);
        if reads && tracking::remembers(session) {
            // What was emptied before, in the same transaction, is forgotten before.
            let untold = self.effects.databases.get(self.flushes_told..).unwrap_or_default();
            if untold.iter().any(empties) {
                self.flushes_told = self.effects.databases.len();
                self.flushed = true;
                self.tell_flushed(session.id);
            }
            let mut keys = KeyList::new();
            if keys_of(command, args, &mut keys).is_ok() {
                let keys = keys.iter().filter(|key| !key.flags.has(NOT_KEY));
                self.server.tracking.remember(session.id, keys.map(|key| args[key.position as usize]));
            }
        }
    }

    /// Tells who watches or has read what was changed since the last call. What client `own` is to hear waits in
    /// `pushes`.
    pub(super) fn tell_modified(&mut self, own: u64) {
        if !self.effects.modified.is_empty() {
            self.server.watches.tell(&self.effects.modified);
            let writer = Some(Writer { id: own, pushes: &mut self.pushes });
            self.server.tracking.tell_readers(&self.server.clients, &self.effects.modified, writer);
            // Who tracks by prefix gets one message for all that the command changes.
            self.changed.append(&mut self.effects.modified);
        }
    }

    pub(super) fn tell_flushed(&mut self, own: u64) {
        if std::mem::take(&mut self.flushed) {
            let writer = Some(Writer { id: own, pushes: &mut self.pushes });
            let old = self.server.tracking.flushed(&self.server.clients, writer);
            let old = old.into_iter().map(|part| Freeing::Uncounted.apply(Garbage::Other(part)));
            self.effects.garbage.extend(old);
        }
    }

    /// What is left to do when a command of a server where somebody tracks has been answered.
    pub(super) fn settle_tracking(&mut self, batch: &mut Batch, command: &'static Command) {
        self.tell_modified(batch.session.id);
        if !self.changed.is_empty() {
            let writer = Some(Writer { id: batch.session.id, pushes: &mut self.pushes });
            self.server.tracking.tell_prefixes(&self.server.clients, &self.changed, writer);
            self.changed.clear();
        }
        self.tell_flushed(batch.session.id);
        if !self.server.periodic_work_paused.load(std::sync::atomic::Ordering::Relaxed) {
            let max = usize::try_from(self.config.tracking_table_max_keys).unwrap_or(usize::MAX);
            let own = Writer { id: batch.session.id, pushes: &mut self.pushes };
            self.server.tracking.shrink(&self.server.clients, max, Some(own));
        }
        batch.output.append(&mut self.pushes);
        if batch.session.tracking.caching
            && !batch.transaction.is_queueing()
            && !command.name.starts_with("client|")
        {
            batch.session.tracking.caching = false;
        }
    }
}
