//! Where the cluster and replication touch: offsets that nodes tell each other, and whom to follow.

use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::envelope::tell;
use crate::replication::link::Primary;
use crate::replication::role::{self, Resync};
use crate::replication_log::DescribePosition;
use crate::server::ServerRef;

/// This node's offset, and for how many milliseconds its primary has been silent.
pub fn facts(server: &ServerRef) -> (u64, Option<i64>) {
    let replication = &server.replication;
    if !replication.is_replica() {
        return (replication.offset.load(Ordering::Relaxed).max(0) as u64, None);
    }
    // Data of another primary's stream, or none, are no reason to be elected.
    let has_data = !replication.has_no_data.load(Ordering::Relaxed);
    let offset = if has_data { replication.executed.load(Ordering::Relaxed).max(0) as u64 } else { 0 };
    let now = clock::unix_ms();
    let view = replication.link();
    let heard = match &view.client {
        Some(client) => client.last_interaction_ms.load(Ordering::Relaxed).max(view.down_since_ms),
        None => view.down_since_ms,
    };
    (offset, Some(now - heard))
}

/// Waits until the log has everything that was executed so far: then the offset is final, if nobody writes.
pub async fn settle(server: &ServerRef) {
    let (reply, position) = oneshot::channel();
    tell(server.replication_log(), DescribePosition { reply });
    // The log ends only with the process.
    let _ = position.await;
}

/// A change of this node's role, made after those before it.
pub enum Change {
    Follow { host: String, port: u16, full_sync: bool },
    Lead { done: oneshot::Sender<()> },
}

/// Makes changes one after the other, for as long as the sender lives. The first waits until the data are loaded.
pub fn start(server: ServerRef) -> mpsc::UnboundedSender<Change> {
    let (sender, mut changes) = mpsc::unbounded_channel();
    actix::spawn(async move {
        while let Some(change) = changes.recv().await {
            if let Some(cluster) = &server.cluster {
                cluster.wait_for_data().await;
            }
            match change {
                Change::Follow { host, port, full_sync } => {
                    let primary = Primary { host, port };
                    let same = server.replication.link().primary.as_ref() == Some(&primary);
                    if same && !full_sync && server.replication.is_replica() {
                        continue;
                    }
                    let resync = if full_sync { Resync::Full } else { Resync::IfPossible };
                    role::follow(&server, primary, resync, None).await;
                }
                Change::Lead { done } => {
                    role::lead(&server).await;
                    // Who asked may have gone.
                    let _ = done.send(());
                }
            }
        }
    });
    sender
}
