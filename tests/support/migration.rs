//! Two cluster nodes with slots to move between them, and larger clusters with replicas.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skuld::migration::export::{self, ExportEvent};
use skuld::migration::import::{self, ImportEvent};
use skuld::migration::{ExportState, ImportState, Step};

use super::client::Client;
use super::server::{Launch, Server, free_port, reference_binary};

const LIMIT: Duration = Duration::from_secs(30);
/// The slots that move; `{06S}` is in slot 0 and `{Qi}` in slot 1 or thereabouts: found by trial below.
pub const MOVING: std::ops::RangeInclusive<u16> = 0..=200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    /// With several shards.
    OursOnThreeThreads,
    Valkey,
}

pub fn launch(kind: Kind, options: &[(&str, &str)]) -> Option<Server> {
    let mut launch = match kind {
        Kind::Ours => Launch::skuld(1),
        Kind::OursOnThreeThreads => Launch::skuld(3),
        Kind::Valkey => Launch::reference(&reference_binary("slot migration with a real Valkey")?),
    };
    for (name, value) in options {
        launch = launch.option(name, value);
    }
    let bus = free_port().to_string();
    Some(launch.option("cluster-enabled", "yes").option("cluster-port", &bus).start())
}

/// Two nodes; the first owns slots 0 to 8191, the second the rest.
pub struct Pair {
    pub source: Server,
    pub target: Server,
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Pair {
    pub fn start(source: Kind, target: Kind, options: &[(&str, &str)]) -> Option<Self> {
        let pair = Self { source: launch(source, options)?, target: launch(target, options)? };
        let bus = pair.target.connect().ask("CONFIG GET cluster-port");
        let bus = bus.items()[1].text();
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        assert_eq!(a.ask("CLUSTER ADDSLOTSRANGE 0 8191").text(), "OK");
        assert_eq!(b.ask("CLUSTER ADDSLOTSRANGE 8192 16383").text(), "OK");
        assert_eq!(a.ask("CLUSTER SET-CONFIG-EPOCH 1").text(), "OK");
        assert_eq!(b.ask("CLUSTER SET-CONFIG-EPOCH 2").text(), "OK");
        a.ask(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", pair.target.port));
        for client in [&mut a, &mut b] {
            wait_for("a cluster of two", || client.ask("CLUSTER INFO").text().contains("cluster_state:ok"));
        }
        Some(pair)
    }

    pub fn migrate(&self) {
        let id = self.target.connect().ask("CLUSTER MYID").text();
        let (start, end) = (MOVING.start(), MOVING.end());
        let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {start} {end} NODE {id}");
        assert_eq!(self.source.connect().ask(&line).text(), "OK");
    }

    pub fn logs(&self) -> String {
        format!("source:\n{}\ntarget:\n{}", self.source.log_tail(), self.target.log_tail())
    }
}

/// Each role of ours, with ourselves and with a real Valkey.
pub const PAIRINGS: [(Kind, Kind); 3] =
    [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Valkey), (Kind::Valkey, Kind::Ours)];

pub const TO_TARGET: &str =
    "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information.";
pub const TO_SOURCE: &str =
    "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information.";
pub const SILENCE: &str = "Timed out after too long with no interaction";

pub fn ok(client: &mut Client, line: &str) {
    let reply = client.ask(line);
    assert!(!reply.is_error(), "{line}: {reply}");
}

/// Waits until both nodes serve and see each other.
pub fn wait_for_calm(a: &mut Client, b: &mut Client) {
    wait_for("the nodes see each other", || {
        [&mut *a, &mut *b].into_iter().all(|client| {
            client.ask("CLUSTER INFO").text().contains("cluster_state:ok")
                && !client.ask("CLUSTER NODES").text().contains("disconnected")
        })
    });
}

pub fn wait_for_state(client: &mut Client, state: &str) {
    let mut last = Default::default();
    wait_for(state, || {
        last = job(client);
        last.get("state").is_some_and(|s| s == state)
    });
}

pub fn slot_of(client: &mut Client, tag: &str) -> i64 {
    client.ask(&format!("CLUSTER KEYSLOT {tag}")).integer().expect("a slot")
}

pub fn count(client: &mut Client, slot: i64) -> i64 {
    client.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer().unwrap_or(-1)
}

/// The newest job of a node.
pub fn job(client: &mut Client) -> BTreeMap<String, String> {
    jobs(client).into_iter().next().unwrap_or_default()
}

/// Waits until the newest jobs of both ends are finished; their states and messages.
pub fn wait_for_end(pair: &Pair) -> [(String, String); 2] {
    [&pair.source, &pair.target].map(|server| {
        let mut client = server.connect();
        let deadline = Instant::now() + LIMIT;
        loop {
            let job = job(&mut client);
            let state = job.get("state").cloned().unwrap_or_default();
            if ["success", "failed", "cancelled"].contains(&state.as_str()) {
                return (state, job["message"].clone());
            }
            assert!(Instant::now() < deadline, "{}: {job:?}\n{}", server.label, pair.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// A tag whose keys are in slot `slot`.
pub fn tag(client: &mut Client, wanted: &dyn Fn(i64) -> bool) -> String {
    (0..)
        .map(|n| format!("t{n}"))
        .find(|tag| wanted(client.ask(&format!("CLUSTER KEYSLOT {tag}")).integer().unwrap_or(-1)))
        .expect("there is one")
}

pub fn moving(slot: i64) -> bool {
    MOVING.contains(&(slot as u16))
}

/// Keys of every type under a tag of a moving slot; their names.
pub fn fill(client: &mut Client, tag: &str) -> Vec<String> {
    let commands = "SET {T}str hello; SET {T}int 12345; SET {T}ttl v PX 10000000; RPUSH {T}list a b c 1 2 3; \
         SADD {T}ints 1 2 3; SADD {T}set a b c; ZADD {T}zset 1.5 a 3 b -inf c; HSET {T}hash f v g w; \
         HSET {T}fields f v g w; HPEXPIRE {T}fields 10000000 FIELDS 1 f; XADD {T}stream 1-1 f v; \
         XADD {T}stream 2-1 f v g w; XGROUP CREATE {T}stream group 0; \
         XREADGROUP GROUP group alice COUNT 1 STREAMS {T}stream >; XGROUP CREATECONSUMER {T}stream group bob; \
         XADD {T}empty 5-1 f v; XDEL {T}empty 5-1; SETBIT {T}bits 100 1; PFADD {T}hll a b c; \
         GEOADD {T}geo 13.361389 38.115556 Palermo";
    for command in commands.split(';') {
        let reply = client.ask(&command.trim().replace("{T}", &format!("{{{tag}}}")));
        assert!(!reply.is_error(), "{command}: {reply}");
    }
    for n in 0..300 {
        client.ask(&format!("RPUSH {{{tag}}}long element-{n} {n}"));
        client.ask(&format!("SADD {{{tag}}}large member-{n}"));
        client.ask(&format!("HSET {{{tag}}}wide field-{n} {n}"));
        client.ask(&format!("ZADD {{{tag}}}many {n}.25 member-{n}"));
        client.ask(&format!("SET {{{tag}}}key:{n} value-{n}"));
    }
    let names = "str int ttl list ints set zset hash fields stream empty bits hll geo long large wide many";
    names
        .split(' ')
        .map(|n| format!("{{{tag}}}{n}"))
        .chain((0..300).map(|n| format!("{{{tag}}}key:{n}")))
        .collect()
}

pub fn digests(client: &mut Client, names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| {
            let digest = client.ask(&format!("DEBUG DIGEST-VALUE {name}"));
            let ttl = client.ask(&format!("PEXPIRETIME {name}"));
            format!("{name} {} {ttl}", digest.items()[0].text())
        })
        .collect()
}

/// Primaries with equal shares of the slots, each with a replica: node `n`'s replica is node `n + primaries`.
pub struct Cluster {
    pub nodes: Vec<Server>,
    pub primaries: usize,
}

impl Cluster {
    /// A shard of each of these kinds.
    pub fn start(kinds: &[Kind], options: &[(&str, &str)]) -> Option<Self> {
        let primaries = kinds.len();
        let mut options = options.to_vec();
        options.push(("cluster-allow-replica-migration", "no"));
        let both = kinds.iter().chain(kinds);
        let nodes = both.map(|kind| launch(*kind, &options)).collect::<Option<Vec<_>>>()?;
        let cluster = Self { nodes, primaries };
        let mut clients: Vec<Client> = cluster.nodes.iter().map(Server::connect).collect();
        let share = 16384 / primaries;
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).text(), "OK");
            if number < primaries {
                let last = if number + 1 == primaries { 16383 } else { (number + 1) * share - 1 };
                let line = format!("CLUSTER ADDSLOTSRANGE {} {last}", number * share);
                assert_eq!(client.ask(&line).text(), "OK");
            }
        }
        for node in &cluster.nodes[1..] {
            let bus = node.connect().ask("CONFIG GET cluster-port").items()[1].text();
            clients[0].ask(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port));
        }
        for client in &mut clients {
            wait_for("all nodes know each other", || {
                let text = client.ask("CLUSTER NODES").text();
                text.lines().count() == 2 * primaries && !text.contains("handshake") && !text.contains(" :0@")
            });
        }
        for number in 0..primaries {
            let id = clients[number].ask("CLUSTER MYID").text();
            let replica = &mut clients[number + primaries];
            wait_for("the replica follows", || {
                replica.ask(&format!("CLUSTER REPLICATE {id}")).text() == "OK"
            });
        }
        for client in &mut clients[primaries..] {
            wait_for("the replica is in step", || {
                client.ask("INFO replication").text().contains("master_link_status:up")
            });
        }
        for client in &mut clients {
            wait_for("the cluster is well", || {
                let info = client.ask("CLUSTER INFO").text();
                info.contains("cluster_state:ok")
                    && client.ask("CLUSTER NODES").text().lines().count() == 2 * primaries
            });
        }
        Some(cluster)
    }

    pub fn connect(&self, node: usize) -> Client {
        self.nodes[node].connect()
    }

    pub fn id(&self, node: usize) -> String {
        self.connect(node).ask("CLUSTER MYID").text()
    }

    /// Starts to move [`MOVING`]; the name of the job.
    pub fn migrate(&self, source: usize, target: usize) -> String {
        let id = self.id(target);
        let (start, end) = (MOVING.start(), MOVING.end());
        let mut client = self.connect(source);
        let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {start} {end} NODE {id}");
        assert_eq!(client.ask(&line).text(), "OK");
        job(&mut client)["name"].clone()
    }

    /// A debug switch on all nodes.
    pub fn prevent(&self, what: &str, on: bool) {
        for node in &self.nodes {
            let line = format!("DEBUG SLOTMIGRATION PREVENT-{what} {}", u8::from(on));
            assert_eq!(node.connect().ask(&line).text(), "OK");
        }
    }

    /// Waits until a node shows the job in this state; its message.
    pub fn wait_for_state(&self, node: usize, name: &str, state: &str) -> String {
        let mut client = self.connect(node);
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = jobs(&mut client).into_iter().find(|job| job["name"] == name).unwrap_or_default();
            if found.get("state").is_some_and(|s| s == state) {
                return found["message"].clone();
            }
            assert!(Instant::now() < deadline, "node {node}, no {state}: {found:?}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a node counts so many keys in a slot.
    pub fn wait_for_keys(&self, node: usize, slot: i64, keys: i64) {
        let mut client = self.connect(node);
        let line = format!("CLUSTER COUNTKEYSINSLOT {slot}");
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = client.ask(&line).integer();
            if found == Some(keys) {
                return;
            }
            assert!(Instant::now() < deadline, "node {node}: {found:?}, not {keys}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn logs(&self) -> String {
        let logs = self.nodes.iter().enumerate().map(|(n, node)| format!("node {n}:\n{}", node.log_tail()));
        logs.collect::<Vec<_>>().join("\n")
    }
}

/// All jobs of a node, newest first.
pub fn jobs(client: &mut Client) -> Vec<BTreeMap<String, String>> {
    let row = |job: &super::resp::Value| {
        let pairs = job.entries();
        pairs
            .iter()
            .map(|(name, value)| {
                (name.text(), value.integer().map_or_else(|| value.text(), |n| n.to_string()))
            })
            .collect()
    };
    client.ask("CLUSTER GETSLOTMIGRATIONS").items().iter().map(row).collect()
}

/// Runs the recorded events of all jobs of a node of ours through the state machines: every transition must be the one
/// that the machines take, and so the one that the model checker has seen. How many records there were.
pub fn replay_records(server: &Server) -> usize {
    let mut client = server.connect();
    let mut replayed = 0;
    for name in client.ask("ACTOR MIGRATION").items().iter().map(super::resp::Value::text) {
        let job = client.ask(&format!("ACTOR MIGRATION {name}"));
        let field = |wanted: &str| {
            let pairs = job.entries();
            pairs.into_iter().find(|(key, _)| key.text() == wanted).map(|(_, value)| value)
        };
        let is_export = field("operation").is_some_and(|o| o.text() == "EXPORT");
        let records = field("transitions").expect("the transitions");
        let mut machine = if is_export { Machine::Export(ExportState::Connecting) } else { Machine::Unknown };
        for record in records.items() {
            let text = |wanted: &str| {
                let pairs = record.entries();
                let value = pairs.iter().find(|(key, _)| key.text() == wanted).map(|(_, value)| value.text());
                value.unwrap_or_default()
            };
            machine = machine.after(&text("from"), &text("event"), &text("to"));
            replayed += 1;
        }
    }
    replayed
}

enum Machine {
    Export(ExportState),
    Import(ImportState),
    /// An import before its first record.
    Unknown,
}

impl Machine {
    fn after(self, from: &str, event: &str, to: &str) -> Self {
        let what = format!("{from} + {event} -> {to}");
        match self {
            Self::Export(state) => {
                assert_eq!(state.name(), from, "{what}");
                let found = export_events(event);
                let Step::Taken { state, .. } = export::step(state, found) else { panic!("refused: {what}") };
                assert_eq!(state.name(), to, "{what}");
                Self::Export(state)
            }
            Self::Unknown if from == "waiting-for-ack" => {
                Self::Import(ImportState::WaitingForAck).after(from, event, to)
            }
            Self::Unknown => Self::Import(ImportState::OccurringOnPrimary).after(from, event, to),
            Self::Import(state) => {
                assert_eq!(state.name(), from, "{what}");
                let found = import_events(event);
                let Step::Taken { state, .. } = import::step(state, found) else { panic!("refused: {what}") };
                assert_eq!(state.name(), to, "{what}");
                Self::Import(state)
            }
        }
    }
}

/// The event that was recorded under this name. What texts it carried does not matter to the machine.
fn export_events(name: &str) -> ExportEvent {
    use ExportEvent::*;
    let list = [
        Connected(export::Auth::Needed),
        Connected(export::Auth::NotNeeded),
        AuthSent,
        AuthAccepted,
        AuthUnanswered,
        EstablishSent,
        EstablishAccepted,
        EstablishReplyTooLong,
        LinkLost,
        Ack,
        RequestPause(export::Backlog::WithinLimit),
        RequestPause(export::Backlog::OverLimit),
        RequestFailover,
        UnknownSubcommand,
        CommandFailed,
        SnapshotMayStart,
        SnapshotSent,
        BacklogShrank,
        SlotsFrozen,
        AckOverdue,
        PauseOver,
        GrantOver,
        OwnerChanged(export::NewOwner::Target),
        OwnerChanged(export::NewOwner::Other),
        TargetFailed,
        TargetGaveUp(export::Withdrawal::None),
        TargetGaveUp(export::Withdrawal::PauseOver),
        TargetUnknown,
        Demoted,
        Flushed,
        CancelRequested,
    ];
    if let Some(event) = list.into_iter().find(|event| format!("{event:?}") == name) {
        return event;
    }
    match name.split('(').next().unwrap_or_default() {
        "ConnectFailed" => ConnectFailed(String::new()),
        "AuthRefused" => AuthRefused(Vec::new()),
        "EstablishRefused" => EstablishRefused(Vec::new()),
        other => panic!("an event that nobody knows: {other}"),
    }
}

fn import_events(name: &str) -> ImportEvent {
    use ImportEvent::*;
    let list = [
        Ack,
        SnapshotEof,
        Paused,
        FailoverGranted,
        RequestPause,
        RequestFailover,
        Establish,
        UnknownSubcommand,
        CommandFailed,
        OutOfMemory,
        LinkLost,
        SourceSilent,
        FinishedWithSuccess,
        ClaimAllowed,
        Claimed,
        ClaimFailed,
        KeysDeleted,
        SourceNotOwner,
        AssignedToMyself,
        Demoted,
        Promoted,
        Flushed,
        FullSync,
        Loading,
        Restarted,
    ];
    if let Some(event) = list.into_iter().find(|event| format!("{event:?}") == name) {
        return event;
    }
    assert!(name.starts_with("FinishedWithFailure("), "an event that nobody knows: {name}");
    FinishedWithFailure(Vec::new())
}
