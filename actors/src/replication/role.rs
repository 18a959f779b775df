//! Changing sides: from primary to replica and back.
//!
//! Turning into a replica has two steps, so that every write that a client was promised is in the stream and none comes
//! after: first shards refuse what a replica refuses while what runs is still recorded; when all of them have confirmed
//! that nothing of it is left, the stream is the primary's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::config::Text;
use skuld::config::special::PrimaryAddress;
use tokio::sync::oneshot;

use super::bit;
use super::link::{FollowPrimary, Have, Primary, StopFollowing};
use crate::envelope::tell;
use crate::replication_log::{BecomePrimary, BecomeReplica, DescribePosition};
use crate::server::ServerRef;
use crate::server_commands::tell_all_shards;
use crate::shard::Controlled;

/// Whether what we have may be gone on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    IfPossible,
    /// Ask for everything.
    Full,
}

/// Follows a primary from now on. `failover` is told whether it took over from us.
pub async fn follow(
    server: &ServerRef,
    primary: Primary,
    resync: Resync,
    failover: Option<oneshot::Sender<bool>>,
) {
    let was_primary = !server.replication.is_replica();
    stop_link(server).await;
    if was_primary {
        {
            let mut view = server.replication.link();
            view.primary = Some(primary.clone());
            view.state = super::link::LinkState::Connect;
            view.down_since_ms = crate::clock::unix_ms();
        }
        server.replication.set(bit::BECOMING_REPLICA);
        tell_all_shards(server, Controlled::ConfirmPause).await;
        server.replication.set(bit::REPLICA);
        server.replication.clear(bit::BECOMING_REPLICA);
        role_changed(server);
        crate::log::set_role(b'S');
        tracing::info!(
            "Before turning into a replica, using my own primary parameters to synthesize a cached primary: I may be able \
             to synchronize with the new primary with just a partial transfer."
        );
        tell(server.replication_log(), BecomeReplica);
        if failover.is_none() {
            crate::blocked::end_all_for_role_change(server, &primary);
        }
    }
    set_directive(server, Some(&primary)).await;
    let (reply, position) = oneshot::channel();
    tell(server.replication_log(), DescribePosition { reply });
    let have = match (resync, position.await) {
        (Resync::IfPossible, Ok(position)) => {
            let db = if was_primary { position.db.max(0) as u32 } else { server.replication.link().db };
            Some(Have { history: position.replication_id, offset: position.offset, db })
        }
        _ => None,
    };
    if let Some(have) = &have {
        server.replication.executed.store(have.offset, Ordering::Relaxed);
    }
    {
        let mut view = server.replication.link();
        view.primary = Some(primary.clone());
        view.state = super::link::LinkState::Connect;
    }
    tell(server.replica_link(), FollowPrimary { primary, have, failover });
}

/// Follows the configured primary after the start, with what the data file says about its history.
pub fn follow_at_start(server: &ServerRef, have: Option<Have>) {
    let config = server.config.load();
    let Some(address) = &config.replicaof else { return };
    let primary = Primary { host: address.host.to_str().into_owned(), port: address.port };
    server.replication.set(bit::REPLICA);
    crate::log::set_role(b'S');
    tell(server.replication_log(), BecomeReplica);
    if have.is_some() {
        tracing::info!(
            "Before turning into a replica, using my own primary parameters to synthesize a cached primary: I may be able \
             to synchronize with the new primary with just a partial transfer."
        );
    }
    {
        let mut view = server.replication.link();
        view.primary = Some(primary.clone());
        view.db = have.as_ref().map_or(0, |have| have.db);
        view.state = super::link::LinkState::Connect;
        view.down_since_ms = crate::clock::unix_ms();
    }
    tell(server.replica_link(), FollowPrimary { primary, have, failover: None });
}

/// Follows nobody any more.
pub async fn lead(server: &ServerRef) {
    if !server.replication.is_replica() {
        return;
    }
    stop_link(server).await;
    server.replication.link().lost_ms = 0;
    set_directive(server, None).await;
    let (reply, renamed) = oneshot::channel();
    tell(server.replication_log(), BecomePrimary { reply });
    // The log ends only with the process.
    let _ = renamed.await;
    crate::shard::tracked::forget_everywhere(server, skuld::effects::Freeing::Counted);
    *server.replication.link() = super::link::LinkView::default();
    crate::log::set_role(b'M');
    server.replication.clear(bit::REPLICA | bit::LINK_UP);
    server.replication.has_no_data.store(false, Ordering::Relaxed);
    role_changed(server);
    tell_all_shards(server, Controlled::ConfirmFlags).await;
    // A synchronization that was not finished may have stopped it.
    crate::append_only::resume(server, None).await;
}

async fn stop_link(server: &ServerRef) {
    let (reply, stopped) = oneshot::channel();
    tell(server.replica_link(), StopFollowing { reply });
    // The link's actor ends only with the process.
    let _ = stopped.await;
}

/// Has CONFIG GET and CONFIG REWRITE show what REPLICAOF did.
async fn set_directive(server: &ServerRef, primary: Option<&Primary>) {
    let _change = server.config_change.lock().await;
    set_directive_now(server, primary);
}

/// The same from inside a transaction, where nothing can be waited for.
pub fn set_directive_now(server: &ServerRef, primary: Option<&Primary>) {
    let mut config = (**server.config.load()).clone();
    config.replicaof = primary.map(|p| PrimaryAddress { host: Text::from(p.host.as_str()), port: p.port });
    server.config.store(Arc::new(config));
}

/// What depends on the role outside of replication. A refusal of the kernel is logged there.
fn role_changed(server: &ServerRef) {
    let _ = crate::process::apply_oom_score(&server.config.load(), server.replication.is_replica());
}
