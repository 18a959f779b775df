//! Before the process ends, replicas get the time to catch up (`shutdown-timeout`), so that one of them can take over
//! without losing a write.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skuld::cluster::NodeId;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::envelope::tell;
use crate::pause::Paused;
use crate::replication_log::{FollowerFacts, Inject};
use crate::server::ServerRef;
use crate::server_commands::replication::facts;
use crate::server_commands::tell_all_shards;
use crate::shard::Controlled;

/// The wait under way, if there is one.
#[derive(Default)]
pub struct Farewell(Mutex<Option<(CancellationToken, i64)>>);

impl Farewell {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(CancellationToken, i64)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends the wait, and with it the shutdown (SHUTDOWN ABORT). False if there is none.
    pub fn abort(&self) -> bool {
        let aborted = self.lock().as_ref().inspect(|(token, _)| token.cancel()).is_some();
        if aborted {
            // Whoever asked may look for it as soon as there is an answer.
            tracing::warn!("Shutdown manually aborted.");
        }
        aborted
    }

    /// When the wait under way ends at the latest, Unix milliseconds.
    pub fn ends_ms(&self) -> Option<i64> {
        self.lock().as_ref().map(|(_, ends_ms)| *ends_ms)
    }

    /// A signal asks for the end, which is looked at by the periodic work; that may be paused (DEBUG PAUSE-CRON). False
    /// if the shutdown was called off meanwhile.
    pub async fn wait_for_periodic_work(&self, server: &ServerRef) -> bool {
        if !server.periodic_work_paused.load(Ordering::Relaxed) {
            return true;
        }
        let abort = CancellationToken::new();
        *self.lock() = Some((abort.clone(), clock::unix_ms()));
        let goes_on = loop {
            tokio::select! {
                () = abort.cancelled() => break false,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
            if !server.periodic_work_paused.load(Ordering::Relaxed) {
                break true;
            }
        };
        *self.lock() = None;
        goes_on
    }
}

/// Replicas from this version on take over when they are told by the stream.
const TAKES_OVER: u32 = 0x9_00_00;
/// Longest wait for the chosen replica to have read that it is chosen.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);

/// A primary of a cluster that is about to end tells a replica that has the whole stream to take over. It is told in
/// the stream, which all replicas read: so all must understand it.
pub async fn hand_over(server: &ServerRef) {
    let Some(cluster) = &server.cluster else { return };
    if cluster.topology().me().role != skuld::cluster::Role::Primary {
        return;
    }
    let known = facts(server).await;
    let end = known.history.as_ref().map_or(0, |history| history.offset);
    let complete = |f: &&FollowerFacts| f.online && f.offset == end && NodeId::parse(&f.node_id).is_some();
    let chosen = known.followers.iter().find(complete);
    let all_understand = known.followers.iter().all(|f| f.version >= TAKES_OVER);
    if !all_understand {
        tracing::info!("Unable to perform auto failover on shutdown since there are legacy replicas.");
        return;
    }
    let Some(chosen) = chosen.map(|f| f.node_id.clone()) else {
        tracing::info!("Unable to find a replica to perform the auto failover on shutdown.");
        return;
    };
    tracing::info!("Perform auto failover to replica {} on shutdown.", String::from_utf8_lossy(&chosen));
    let order = [b"CLUSTER".as_slice(), b"FAILOVER", b"FORCE", b"REPLICAID", &chosen];
    let ask = [b"REPLCONF".as_slice(), b"GETACK", b"*"];
    for words in [order.as_slice(), ask.as_slice()] {
        tell(server.replication_log(), Inject { words: words.iter().map(|word| word.to_vec()).collect() });
    }
    // The process must not end before the order has left.
    let read = async {
        while !facts(server).await.followers.iter().any(|f| f.node_id == chosen && f.offset > end) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = tokio::time::timeout(HAND_OVER_MAX, read).await;
}

/// Waits until all replicas have the whole stream or the time is over. False if the shutdown was called off.
pub async fn wait_for_replicas(server: &ServerRef) -> bool {
    let seconds = server.config.load().shutdown_timeout;
    let behind = || async {
        let facts = facts(server).await;
        let end = facts.history.as_ref().map_or(0, |h| h.offset);
        let lagging: Vec<_> = facts.followers.iter().filter(|f| f.offset != end).cloned().collect();
        (facts.followers.len(), end, lagging)
    };
    if server.replication.is_replica() || seconds == 0 || behind().await.2.is_empty() {
        return true;
    }
    tracing::info!("Waiting for replicas before shutting down.");
    let abort = CancellationToken::new();
    let limit_ms = i64::from(seconds) * 1000;
    let began_ms = clock::unix_ms();
    *server.replication.farewell.lock() = Some((abort.clone(), began_ms + limit_ms));
    server.pause.begin(Paused::Writes, began_ms + limit_ms + 60_000);
    tell_all_shards(server, Controlled::ConfirmPause).await;
    let words = [b"REPLCONF".as_slice(), b"GETACK", b"*"].map(<[u8]>::to_vec).to_vec();
    tell(server.replication_log(), Inject { words });
    server.replication.stream_stands_still.store(true, Ordering::Release);
    let ends = loop {
        let (_, _, lagging) = behind().await;
        if lagging.is_empty() || clock::unix_ms() - began_ms >= limit_ms {
            break true;
        }
        tokio::select! {
            () = abort.cancelled() => break false,
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    };
    *server.replication.farewell.lock() = None;
    if ends {
        let (all, end, lagging) = behind().await;
        for replica in &lagging {
            tracing::info!(
                "Lagging replica {}:{} reported offset {} behind master, lag={}, state={}.",
                replica.ip,
                replica.port,
                end - replica.offset,
                replica.lag_s,
                replica.state
            );
        }
        tracing::info!("{} of {all} replicas are in sync when shutting down.", all - lagging.len());
        return true;
    }
    server.replication.stream_stands_still.store(false, Ordering::Release);
    server.pause.end();
    tell_all_shards(server, Controlled::EndPause).await;
    false
}
