//! Keys and the slots they are in: counting them, and what is done with keys of slots that are not this node's.

use std::sync::Arc;

use skuld::cluster::Role;
use skuld::slot::{SLOTS, Slot};

use super::ClusterShared;
use crate::envelope::tell;
use crate::server::{Server, ServerRef};
use crate::shard::{CountSlotKeys, DeleteSlots};

/// Keys of each of these slots, in all databases, as of now.
pub fn key_counts(server: &Server, slots: Vec<Slot>) -> impl Future<Output = Vec<(Slot, u64)>> + 'static {
    let slots: Arc<[Slot]> = slots.into();
    let ask = |shard| {
        let (reply, answer) = tokio::sync::oneshot::channel();
        tell(shard, CountSlotKeys { slots: slots.clone(), reply });
        answer
    };
    let waiting: Vec<_> = server.shards().iter().map(ask).collect();
    async move {
        let mut counts = Vec::with_capacity(slots.len());
        for answer in waiting {
            // A shard ends only with the process.
            counts.extend(answer.await.unwrap_or_default());
        }
        counts.sort_by_key(|(slot, _)| *slot);
        counts
    }
}

/// Logs which of these slots, which are another node's now, have keys here. Call it before they are deleted.
pub fn tell_of_dirty_slots(server: &ServerRef, slots: Vec<Slot>) {
    let counts = key_counts(server, slots);
    let me = server.cluster.as_ref().map(|cluster| cluster.topology());
    actix::spawn(async move {
        for (slot, _) in counts.await.into_iter().filter(|(_, keys)| *keys > 0) {
            if let Some(me) = me.as_ref().map(|topology| topology.me()) {
                tracing::info!(
                    "Deleting keys in dirty slot {} on node {} ({}) in shard {}",
                    slot.0,
                    me.id,
                    me.shown_name(),
                    me.shard_id
                );
            }
        }
    });
}

/// The data were loaded and need not agree with `nodes.conf`: this node takes slots that have keys here and no owner,
/// and deletes keys that are another node's. A replica leaves that to its primary.
pub async fn match_slots_with_keys(server: &ServerRef, cluster: &Arc<ClusterShared>) {
    let topology = cluster.topology();
    if topology.me().role == Role::Replica {
        return;
    }
    let counts = key_counts(server, (0..SLOTS as u16).map(Slot).collect()).await;
    let (mut free, mut foreign) = (Vec::new(), Vec::new());
    for (slot, _) in counts.into_iter().filter(|(_, keys)| *keys > 0) {
        let owner = topology.owner_index(slot);
        let source = topology.importing.get(&slot.0).copied();
        match owner {
            Some(owner) if owner == topology.me || Some(owner) == source => {}
            None if source.is_some() => {}
            None => {
                tracing::info!("I have keys for unassigned slot {}. Taking responsibility for it.", slot.0);
                free.push(slot);
            }
            Some(owner) => {
                match source.map(|source| (&topology.nodes[source], &topology.nodes[owner])) {
                    None => tracing::info!(
                        "I have keys for slot {}, but the slot is assigned to another node. Deleting keys in the slot.",
                        slot.0
                    ),
                    Some((source, owner)) => tracing::info!(
                        "I am importing keys from node {} ({}) in shard {} to slot {}, but the slot is now owned by node \
                         {} ({}) in shard {}. Deleting keys in the slot",
                        source.id,
                        source.announced.human_name,
                        source.shard_id,
                        slot.0,
                        owner.id,
                        owner.announced.human_name,
                        owner.shard_id
                    ),
                }
                foreign.push(slot);
            }
        }
    }
    if !free.is_empty() {
        // Whoever has taken one of them meanwhile keeps all; nothing is lost by that, and the next start looks again.
        let _ = cluster.with(move |machine, facts, _| machine.add_slots(facts, &free)).await;
    }
    if !foreign.is_empty() {
        let slots: Arc<[Slot]> = foreign.into();
        for shard in server.shards() {
            let (done, deleted) = tokio::sync::oneshot::channel();
            tell(shard, DeleteSlots { slots: slots.clone(), done: Some(done) });
            // A shard ends only with the process.
            let _ = deleted.await;
        }
    }
}
