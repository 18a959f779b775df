//! Where the cluster and replication touch: offsets that nodes tell each other, and whom to follow.

use std::sync::atomic::Ordering;

use crate::envelope::tell;
use crate::replication_log::DescribePosition;
use crate::server::ServerRef;

/// This node's offset, and for how many milliseconds its primary has been silent.
pub fn facts(server: &ServerRef) -> (u64, Option<i64>) {
    let offset = server.replication.offset.load(Ordering::Relaxed).max(0) as u64;
    (offset, None)
}

/// Waits until the log has everything that was executed so far: then the offset is final, if nobody writes.
pub async fn settle(server: &ServerRef) {
    let (reply, position) = tokio::sync::oneshot::channel();
    tell(server.replication_log(), DescribePosition { reply });
    // The log ends only with the process.
    let _ = position.await;
}

/// Follows a primary from now on.
pub fn follow(server: &ServerRef, ip: String, port: u16, full_sync: bool) {
    let _ = (server, full_sync);
    tracing::warn!("Following {ip}:{port} is not available yet in this version of Skuld.");
}

/// Follows nobody any more.
pub fn follow_nobody(server: &ServerRef) {
    let _ = server;
}
