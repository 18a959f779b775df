//! FAILOVER: handing the role of primary over to a replica that has all of our stream.
//!
//! ```text
//!   none --FAILOVER--> waiting: writes paused, stream still --caught up--> handing over --CONTINUE--> none (a replica)
//!                         |  ABORT, TIMEOUT                                    | refused
//!                         v                                                    v
//!                        none (a primary)                                     none (a primary again)
//! ```

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::link::Primary;
use super::role::{self, Resync};
use crate::clock;
use crate::envelope::tell;
use crate::pause::Paused;
use crate::replication_log::{DescribeReplication, Facts, FollowerFacts, Inject};
use crate::server::ServerRef;
use crate::server_commands::{Outcome, Request, tell_all_shards};
use crate::shard::Controlled;

/// How far it is; the numbers of [`Failover::state`].
const NONE: u8 = 0;
const WAITING: u8 = 1;
const HANDING_OVER: u8 = 2;

/// The failover under way, if there is one.
#[derive(Default)]
pub struct Failover {
    state: AtomicU8,
    abort: Mutex<Option<CancellationToken>>,
}

impl Failover {
    pub fn is_under_way(&self) -> bool {
        self.state.load(Ordering::Acquire) != NONE
    }

    /// INFO's word.
    pub fn text(&self) -> &'static str {
        match self.state.load(Ordering::Acquire) {
            NONE => "no-failover",
            WAITING => "waiting-for-sync",
            _ => "failover-in-progress",
        }
    }

    fn abort(&self) -> std::sync::MutexGuard<'_, Option<CancellationToken>> {
        self.abort.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A pause without an end, which the failover itself ends: ten years.
const FOR_EVER_MS: i64 = 10 * 365 * 86_400_000;

#[derive(Clone, Debug, Default)]
struct Asked {
    target: Option<Primary>,
    timeout_ms: Option<i64>,
    force: bool,
}

fn error(text: &'static str) -> CommandError {
    CommandError::fixed(text)
}

async fn facts(server: &ServerRef) -> Facts {
    let (reply, answer) = oneshot::channel();
    tell(server.replication_log(), DescribeReplication { reply });
    answer.await.unwrap_or_default()
}

/// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]
pub async fn command(request: &mut Request) -> Outcome {
    let server = request.server.clone();
    if server.config.load().cluster_enabled {
        return Err(error("ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead."));
    }
    if request.args.len() == 2 && request.is_word(1, "abort") {
        let Some(abort) = server.replication.failover.abort().clone() else {
            return Err(error("ERR No failover in progress."));
        };
        tracing::info!("Failover manually aborted");
        abort.cancel();
        // A transaction holds keys that the end of the failover may need.
        while !request.is_inside() && server.replication.failover.is_under_way() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        request.reply.ok();
        return Ok(());
    }
    let asked = parse(&request.args)?;
    if server.replication.failover.is_under_way() {
        return Err(error("ERR FAILOVER already in progress."));
    }
    if server.replication.is_replica() {
        return Err(error("ERR FAILOVER is not valid when server is a replica."));
    }
    let facts = facts(&server).await;
    if facts.followers.is_empty() {
        return Err(error("ERR FAILOVER requires connected replicas."));
    }
    if asked.force && (asked.timeout_ms.is_none() || asked.target.is_none()) {
        return Err(error("ERR FAILOVER with force option requires both a timeout and target HOST and IP."));
    }
    if let Some(target) = &asked.target {
        match facts.followers.iter().find(|f| is_at(f, target)) {
            None => return Err(error("ERR FAILOVER target HOST and PORT is not a replica.")),
            Some(follower) if !follower.online => {
                return Err(error("ERR FAILOVER target replica is not online."));
            }
            Some(_) => tracing::info!("FAILOVER requested to {}:{}.", target.host, target.port),
        }
    } else {
        tracing::info!("FAILOVER requested to any replica.");
    }
    let abort = CancellationToken::new();
    *server.replication.failover.abort() = Some(abort.clone());
    server.replication.failover.state.store(WAITING, Ordering::Release);
    actix_rt::spawn(run(server, asked, abort));
    request.reply.ok();
    Ok(())
}

fn parse(args: &[Vec<u8>]) -> Result<Asked, CommandError> {
    let mut asked = Asked::default();
    let mut at = 1;
    while at < args.len() {
        let left = args.len() - at - 1;
        match args[at].to_ascii_lowercase().as_slice() {
            b"timeout" if left >= 1 && asked.timeout_ms.is_none() => {
                let timeout = parse_integer(&args[at + 1]).ok_or(CommandError::NotInteger)?;
                if timeout <= 0 {
                    return Err(error("ERR FAILOVER timeout must be greater than 0"));
                }
                asked.timeout_ms = Some(timeout);
                at += 2;
            }
            b"to" if left >= 2 && asked.target.is_none() => {
                let port = parse_integer(&args[at + 2]).ok_or(CommandError::NotInteger)?;
                let host = String::from_utf8_lossy(&args[at + 1]).into_owned();
                asked.target = Some(Primary { host, port: port as u16 });
                at += 3;
            }
            b"force" if !asked.force => {
                asked.force = true;
                at += 1;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(asked)
}

fn is_at(follower: &FollowerFacts, target: &Primary) -> bool {
    follower.port == target.port && follower.ip == target.host
}

async fn run(server: ServerRef, asked: Asked, abort: CancellationToken) {
    let replication = &server.replication;
    replication.stream_stands_still.store(false, Ordering::Release);
    server.pause.begin(Paused::Writes, clock::unix_ms() + FOR_EVER_MS);
    tell_all_shards(&server, Controlled::ConfirmPause).await;
    let began_ms = clock::unix_ms();
    let mut asked_for_acks = false;
    let target = loop {
        let facts = facts(&server).await;
        let end = facts.history.as_ref().map_or(0, |h| h.offset);
        let candidates =
            facts.followers.iter().filter(|f| asked.target.as_ref().is_none_or(|target| is_at(f, target)));
        let synced = candidates.filter(|f| f.online).find(|f| f.offset == end);
        if let Some(follower) = synced {
            tracing::info!("Failover target {}:{} is synced, failing over.", follower.ip, follower.port);
            break Some(Primary { host: follower.ip.clone(), port: follower.port });
        }
        if !asked_for_acks {
            asked_for_acks = true;
            let words = [b"REPLCONF".as_slice(), b"GETACK", b"*"].map(<[u8]>::to_vec).to_vec();
            tell(server.replication_log(), Inject { words });
            replication.stream_stands_still.store(true, Ordering::Release);
        }
        if asked.timeout_ms.is_some_and(|limit| clock::unix_ms() - began_ms >= limit) {
            match &asked.target {
                Some(target) if asked.force => {
                    tracing::info!(
                        "FAILOVER to {}:{} time out exceeded, failing over.",
                        target.host,
                        target.port
                    );
                    break Some(target.clone());
                }
                _ => {
                    say_aborted(&asked, "Replica never caught up before timeout");
                    break None;
                }
            }
        }
        tokio::select! {
            () = abort.cancelled() => {
                say_aborted(&asked, "Failover manually aborted");
                break None;
            }
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    };
    if let Some(target) = target {
        replication.failover.state.store(HANDING_OVER, Ordering::Release);
        let (failover, outcome) = oneshot::channel();
        role::follow(&server, target.clone(), Resync::IfPossible, Some(failover)).await;
        let taken_over = tokio::select! {
            () = abort.cancelled() => {
                say_aborted(&asked, "Failover manually aborted");
                false
            }
            outcome = outcome => outcome.unwrap_or(false),
        };
        if taken_over {
            crate::blocked::end_all_for_role_change(&server, &target);
        } else {
            role::lead(&server).await;
        }
    }
    *replication.failover.abort() = None;
    replication.stream_stands_still.store(false, Ordering::Release);
    replication.failover.state.store(NONE, Ordering::Release);
    server.pause.end();
    tell_all_shards(&server, Controlled::EndPause).await;
}

fn say_aborted(asked: &Asked, why: &str) {
    match &asked.target {
        Some(target) => tracing::info!("FAILOVER to {}:{} aborted: {why}", target.host, target.port),
        None => tracing::info!("FAILOVER to any replica aborted: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_valkey_reads_them() {
        let parse = |line: &str| {
            let args: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            super::parse(&args).map_err(|e| e.to_string())
        };
        let asked = parse("failover to 127.0.0.1 7000 force timeout 100").expect("fine");
        assert!(asked.force && asked.timeout_ms == Some(100));
        assert_eq!(asked.target, Some(Primary { host: "127.0.0.1".into(), port: 7000 }));
        for (line, text) in [
            ("failover force force", "ERR syntax error"),
            ("failover to 127.0.0.1", "ERR syntax error"),
            ("failover timeout 0", "ERR FAILOVER timeout must be greater than 0"),
            ("failover timeout x", "ERR value is not an integer or out of range"),
        ] {
            assert_eq!(parse(line).expect_err(line), text, "{line}");
        }
    }
}
