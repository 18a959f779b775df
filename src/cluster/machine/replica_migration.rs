//! A replica that its primary can spare moves to a primary that has none (spec page cluster-bus.md, section 16).

use super::*;

/// A primary must have been without replicas for so long, milliseconds.
const ORPHANED_MS: i64 = 5000;

impl Machine {
    fn working_replicas(&self, index: NodeIndex) -> usize {
        self.node(index).replicas.iter().filter(|replica| !self.node(**replica).failed()).count()
    }

    /// Moves this replica if it is the one to move.
    pub(super) fn handle_replica_migration(&mut self) {
        let Some(mine) = self.me().primary.filter(|_| self.me().is_replica()) else { return };
        if self.state != ClusterState::Ok || !self.settings.allow_replica_migration {
            return;
        }
        if self.working_replicas(mine) <= self.settings.migration_barrier {
            return;
        }
        let now = self.facts.now;
        let indices = self.indices();
        let mut most = 0;
        let mut target = None;
        for index in indices.iter().copied() {
            let node = self.node(index);
            let working = if node.is_primary() { self.working_replicas(index) } else { 0 };
            let is_orphan = working == 0
                && node.is_primary()
                && node.slot_count > 0
                && !node.failed()
                && node.has(flag::MIGRATE_TO);
            most = most.max(working);
            let since = node.orphaned_since;
            let node = self.node_mut(index);
            if !is_orphan {
                node.orphaned_since = 0;
            } else if since == 0 {
                node.orphaned_since = now;
            }
            if is_orphan && target.is_none() && since != 0 && now - since > ORPHANED_MS {
                target = Some(index);
            }
        }
        let Some(target) = target.filter(|_| most >= 2) else { return };
        let candidates = indices.iter().filter(|index| {
            let node = self.node(**index);
            node.is_replica()
                && !node.failed()
                && node.primary.is_some_and(|primary| self.working_replicas(primary) == most)
        });
        let chosen = candidates.min_by_key(|index| self.node(**index).id);
        if chosen == Some(&self.me) && target != mine {
            let text = format!(
                "Migrating to orphaned primary {} in shard {}",
                self.name(target),
                self.node(target).shard_id
            );
            self.notice(text);
            self.follow(target, true, true);
            self.todo.broadcast = true;
        }
    }
}
