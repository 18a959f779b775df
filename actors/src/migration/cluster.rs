//! What migrations ask of the cluster, in one place: who owns what, where nodes are, claiming and granting slots.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Addr;
use skuld::cluster::{NodeId, Role, Topology};
use skuld::effects::encode_command;
use skuld::migration::arguments::View;
use skuld::migration::ranges::Owners;
use skuld::migration::{Id40, JobName, SlotRanges, SlotSet};
use skuld::slot::Slot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::export::{MigrationExport, TargetAnswered};
use super::import::{Claimed, MigrationImport};
use crate::envelope::tell;
use crate::gossip::{ClaimSlots, ClusterEvent, GrantSlots};
use crate::server::ServerRef;

/// How long the target may take to answer what became of a job.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// A change that concerns jobs.
#[derive(Clone, Debug)]
pub enum Change {
    /// Some slots changed hands.
    Ownership,
    Demoted,
    Promoted,
    NodeFailed(Id40),
}

fn topology(server: &ServerRef) -> Option<Arc<Topology>> {
    server.cluster.as_ref().map(|cluster| cluster.topology())
}

/// The view of now, for checking arguments; None without cluster mode.
pub fn view(server: &ServerRef) -> Option<TopologyView> {
    topology(server).map(TopologyView)
}

/// A snapshot of the cluster as the checks of arguments want it.
pub struct TopologyView(Arc<Topology>);

impl Owners for TopologyView {
    fn owner(&self, slot: Slot) -> Option<Id40> {
        self.0.owner(slot).map(|node| Id40(node.id.0))
    }
}

impl View for TopologyView {
    fn myself(&self) -> Id40 {
        Id40(self.0.me().id.0)
    }
    fn is_known(&self, node: &Id40) -> bool {
        self.0.node(&NodeId(node.0)).is_some()
    }
    fn is_primary(&self) -> bool {
        self.0.me().role == Role::Primary
    }
    fn has_manual_imports(&self) -> bool {
        !self.0.importing.is_empty()
    }
    fn has_manual_migrations(&self) -> bool {
        !self.0.migrating.is_empty()
    }
}

/// Whether this node is a primary of a cluster.
pub fn is_primary(server: &ServerRef) -> bool {
    view(server).is_some_and(|view| view.is_primary())
}

/// This node's id.
pub fn myself(server: &ServerRef) -> Option<Id40> {
    view(server).map(|view| view.myself())
}

/// The name of a node for logs.
pub fn human_name(server: &ServerRef, id: &Id40) -> String {
    topology(server)
        .and_then(|t| t.node(&NodeId(id.0)).map(|n| n.announced.human_name.clone()))
        .unwrap_or_default()
}

/// `host:port` of a node's clients.
pub fn address_of(server: &ServerRef, id: &Id40) -> Option<String> {
    let topology = topology(server)?;
    let node = topology.node(&NodeId(id.0))?;
    let port = if server.config.load().tls_replication { node.tls_port } else { node.tcp_port };
    Some(if node.ip.contains(':') { format!("[{}]:{port}", node.ip) } else { format!("{}:{port}", node.ip) })
}

/// The one node that owns all the slots, if there is one.
pub fn owner_of_all(server: &ServerRef, ranges: &SlotRanges) -> Option<Id40> {
    let view = view(server)?;
    let mut slots = ranges.slots();
    let first = view.owner(slots.next()?)?;
    slots.all(|slot| view.owner(slot) == Some(first)).then_some(first)
}

/// Those of the slots that this node does not own.
pub fn not_mine(server: &ServerRef, slots: &SlotSet) -> Vec<Slot> {
    let topology = topology(server);
    slots.iter().filter(|slot| topology.as_ref().is_none_or(|t| !t.is_mine(*slot))).collect()
}

/// Lets the target claim the slots whatever the epochs, or no longer.
pub fn grant(server: &ServerRef, slots: &SlotSet, to: Option<Id40>) {
    if let Some(cluster) = &server.cluster {
        let to = to.map(|id| NodeId(id.0));
        tell(cluster.gossip(), GrantSlots { slots: slots.iter().collect(), to });
    }
}

/// Claims the slots for this node; the import hears of it as `Claimed`.
pub fn claim(server: &ServerRef, slots: &SlotSet, job: Addr<MigrationImport>) {
    let Some(cluster) = &server.cluster else {
        return tell(&job, Claimed { result: Err("cluster support is disabled".into()) });
    };
    let (reply, answer) = tokio::sync::oneshot::channel();
    tell(cluster.gossip(), ClaimSlots { slots: slots.iter().collect(), reply });
    tokio::task::spawn_local(async move {
        let result = answer.await.unwrap_or_else(|_| Err("the claim was not answered".into()));
        tell(&job, Claimed { result });
    });
}

/// Tells the cluster how many jobs run: SETSLOT is refused meanwhile.
pub fn count_jobs(server: &ServerRef) {
    let Some(cluster) = &server.cluster else { return };
    let log = server.migrations.log();
    cluster.imports.store(log.unfinished_imports().count() as u32, Ordering::Relaxed);
    cluster.exports.store(log.unfinished_exports().count() as u32, Ordering::Relaxed);
}

/// Tells jobs of what happens in the cluster, for as long as the server runs.
pub async fn watch(server: ServerRef) {
    let Some(mut events) = server.cluster.as_ref().map(|cluster| cluster.subscribe()) else { return };
    while let Some(event) = events.recv().await {
        let change = match event {
            ClusterEvent::OwnershipChanged { .. } => Change::Ownership,
            ClusterEvent::RoleChanged { role: Role::Replica, .. } => Change::Demoted,
            ClusterEvent::RoleChanged { role: Role::Primary, .. } => Change::Promoted,
            ClusterEvent::NodeFailed(node) => Change::NodeFailed(Id40(node.0)),
            ClusterEvent::SlotsLost { .. }
            | ClusterEvent::SlotsGained { .. }
            | ClusterEvent::NodeRecovered(_)
            | ClusterEvent::NodeRemoved(_)
            | ClusterEvent::StateChanged(_) => continue,
        };
        server.migrations.cluster_changed(&change);
    }
}

/// Asks the target whether the job has ended there without the slots. It is asked for its log of jobs first and for what
/// it owns second: with the job gone it will claim nothing any more, so what it does not own then it never will.
pub fn ask_target(
    server: &ServerRef,
    target: Id40,
    name: JobName,
    ranges: SlotRanges,
    job: Addr<MigrationExport>,
) {
    let Some(address) = address_of(server, &target) else { return };
    let config = server.config.load_full();
    let server = server.clone();
    tokio::task::spawn_local(async move {
        let mut question = Vec::new();
        if !config.primaryauth.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            if !config.primaryuser.is_empty() {
                words.push(config.primaryuser.as_bytes());
            }
            words.push(config.primaryauth.as_bytes());
            encode_command(&mut question, &words);
        }
        encode_command(&mut question, &[b"CLUSTER", b"GETSLOTMIGRATIONS"]);
        encode_command(&mut question, &[b"CLUSTER", b"NODES"]);
        encode_command(&mut question, &[b"QUIT"]);
        let talk = async {
            let (mut stream, _) = super::link::connect(&server, &address, None).await?;
            stream.write_all(&question).await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_TIME, talk).await else { return };
        tell(&job, TargetAnswered { gave_up: gave_up(&answer, &name, &ranges) });
    });
}

/// Reads the answer to [`ask_target`]'s question: the job is unknown or has failed, and the node owns none of its slots.
/// What cannot be read means no.
fn gave_up(answer: &[u8], name: &JobName, ranges: &SlotRanges) -> bool {
    let text = String::from_utf8_lossy(answer);
    if text.contains("\r\n-") || text.starts_with('-') {
        return false;
    }
    let Some(line) = text.lines().find(|line| line.split(' ').nth(2).is_some_and(|f| f.contains("myself")))
    else {
        return false;
    };
    let owns = line.split(' ').skip(8).filter(|word| !word.starts_with('[')).any(|word| {
        let (start, end) = word.trim().split_once('-').unwrap_or((word.trim(), word.trim()));
        match (start.parse::<u16>(), end.parse::<u16>()) {
            (Ok(start), Ok(end)) => ranges.0.iter().any(|r| r.start <= end && start <= r.end),
            _ => true,
        }
    });
    let state = text.find(&name.to_string()).and_then(|at| {
        let row = &text[at..];
        let state = &row[row.find("$5\r\nstate\r\n")? + 11..];
        state.split("\r\n").nth(1).map(str::to_owned)
    });
    !owns && state.is_none_or(|state| state == "failed" || state == "cleaning-up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skuld::migration::SlotRange;

    #[test]
    fn only_a_target_without_job_and_slots_has_given_up() {
        let name = Id40([b'n'; 40]);
        let ranges = SlotRanges(vec![SlotRange { start: 5, end: 9 }]);
        let answer = |state: &str, slots: &str| {
            let row = match state {
                "" => "*0\r\n".to_owned(),
                state => format!(
                    "*1\r\n*24\r\n$4\r\nname\r\n$40\r\n{name}\r\n$5\r\nstate\r\n${}\r\n{state}\r\n",
                    state.len()
                ),
            };
            let nodes = format!("{0} :0@0 myself,master - 0 0 1 connected{slots}\n", "a".repeat(40));
            format!("+OK\r\n{row}${}\r\n{nodes}\r\n+OK\r\n", nodes.len())
        };
        let gave_up = |state: &str, slots: &str| gave_up(answer(state, slots).as_bytes(), &name, &ranges);
        assert!(gave_up("failed", "") && gave_up("cleaning-up", " 0-4 10-11") && gave_up("", " 10"));
        assert!(!gave_up("failover-granted", "") && !gave_up("success", ""));
        assert!(!gave_up("failed", " 7") && !gave_up("", " 0-5"));
        assert!(!super::gave_up(b"-NOAUTH Authentication required.\r\n", &name, &ranges));
        assert!(!super::gave_up(b"", &name, &ranges));
    }
}
