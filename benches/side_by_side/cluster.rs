//! The bus of many nodes on one machine: how long they take to agree, and what each costs while nothing happens.
//!
//! Half of the nodes are primaries, each with one replica. `kills` of them, as many primaries as replicas and none of
//! the same shard, are killed at the same moment. All nodes share the processors, so the node timeout is long, and the
//! same for both kinds; how long a failure takes to be noticed is mostly that.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::median;
use crate::servers::{Binaries, Kind, Server};

const NODE_TIMEOUT_MS: &str = "15000";
/// Nobody takes longer to agree.
const PATIENCE: Duration = Duration::from_secs(300);
/// What follows from joining is over after so long.
const SETTLE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(30);
const SLOTS: usize = 16_384;

struct Member {
    server: Server,
    client: BufReader<TcpStream>,
}

impl Member {
    /// The reply to a line; of a bulk its text.
    fn ask(&mut self, line: &str) -> String {
        self.client.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("request");
        let mut head = String::new();
        self.client.read_line(&mut head).expect("reply");
        let Some(length) = head.strip_prefix('$') else { return head.trim().to_owned() };
        let mut body = vec![0; length.trim().parse::<usize>().expect("a length") + 2];
        self.client.read_exact(&mut body).expect("bulk");
        String::from_utf8_lossy(&body).trim_end().to_owned()
    }

    fn order(&mut self, line: &str) {
        let reply = self.ask(line);
        assert_eq!(reply, "+OK", "{line}");
    }

    /// Whether CLUSTER INFO has all these lines.
    fn shows(&mut self, lines: &[String]) -> bool {
        let text = self.ask("CLUSTER INFO");
        lines.iter().all(|line| text.lines().any(|shown| shown == line))
    }
}

/// Waits until all members show these lines of CLUSTER INFO; seconds since `since`.
fn agree(members: &mut [Member], since: Instant, lines: &[String]) -> f64 {
    for member in members.iter_mut() {
        while !member.shows(lines) {
            assert!(since.elapsed() < PATIENCE, "no agreement on {lines:?}: {}", member.ask("CLUSTER INFO"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    since.elapsed().as_secs_f64()
}

fn state(known: usize, failed: usize) -> Vec<String> {
    vec![
        "cluster_state:ok".to_owned(),
        format!("cluster_slots_ok:{SLOTS}"),
        format!("cluster_known_nodes:{known}"),
        format!("cluster_nodes_fail:{failed}"),
        "cluster_nodes_pfail:0".to_owned(),
    ]
}

#[derive(Clone, Copy)]
struct Figures {
    joined_s: f64,
    cpu_percent: f64,
    bus_percent: f64,
    messages: f64,
    resident: f64,
    anonymous: f64,
    after_kills_s: f64,
    forgotten_s: f64,
}

/// Numbers of a line of CLUSTER INFO, of all members.
fn sum(members: &mut [Member], field: &str) -> f64 {
    let of = |member: &mut Member| {
        let text = member.ask("CLUSTER INFO");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
    };
    members.iter_mut().map(of).sum()
}

fn measure(binaries: &Binaries, kind: Kind, nodes: usize, kills: usize) -> Figures {
    let primaries = nodes / 2;
    let options = ["--cluster-node-timeout", NODE_TIMEOUT_MS, "--repl-diskless-sync-delay", "0"];
    let mut members: Vec<Member> = (0..nodes)
        .map(|_| {
            let server = Server::start_member(binaries, kind, 1, &options);
            let client = BufReader::new(server.connect());
            Member { server, client }
        })
        .collect();
    for (index, member) in members.iter_mut().enumerate() {
        member.order(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
        if index < primaries {
            let start = index * SLOTS / primaries;
            let end = (index + 1) * SLOTS / primaries - 1;
            member.order(&format!("CLUSTER ADDSLOTSRANGE {start} {end}"));
        }
    }
    let start = Instant::now();
    let addresses: Vec<String> = members
        .iter()
        .skip(1)
        .map(|member| format!("{} {}", member.server.port, member.server.bus_port()))
        .collect();
    for address in &addresses {
        members[0].order(&format!("CLUSTER MEET 127.0.0.1 {address}"));
    }
    let joined_s = agree(&mut members, start, &state(nodes, 0));
    let ids: Vec<String> = members.iter_mut().map(|member| member.ask("CLUSTER MYID")).collect();
    for index in primaries..nodes {
        members[index].order(&format!("CLUSTER REPLICATE {}", ids[index - primaries]));
    }
    let (start, replicas) = (Instant::now(), nodes - primaries);
    for member in &mut members {
        while member.ask("CLUSTER NODES").matches("slave").count() != replicas {
            assert!(start.elapsed() < PATIENCE, "not all know who follows whom");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    for member in &mut members[primaries..] {
        while !member.ask("INFO replication").contains("master_link_status:up") {
            assert!(start.elapsed() < PATIENCE, "a replica is not connected");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    std::thread::sleep(SETTLE);
    let all = |members: &[Member], name| -> u64 {
        members.iter().map(|member| member.server.threads_ns(name)).sum()
    };
    let sent = sum(&mut members, "cluster_stats_messages_sent");
    let (cpu, bus, start) = (all(&members, None), all(&members, Some("gossip")), Instant::now());
    std::thread::sleep(WINDOW);
    let window_ns = start.elapsed().as_nanos() as f64;
    let percent = |before: u64, after: u64| (after - before) as f64 / window_ns / nodes as f64 * 100.0;
    let (cpu_percent, bus_percent) =
        (percent(cpu, all(&members, None)), percent(bus, all(&members, Some("gossip"))));
    let messages = (sum(&mut members, "cluster_stats_messages_sent") - sent) / nodes as f64 / window_ns * 1e9;
    let mean = |of: fn(&Server) -> u64| {
        members.iter().map(|member| of(&member.server) as f64).sum::<f64>() / nodes as f64
    };
    let (resident, anonymous) = (mean(Server::resident), mean(Server::anonymous));

    // Primaries of the first shards, replicas of the next ones.
    let dies = |index: usize| {
        index < kills.div_ceil(2) || (kills.div_ceil(2)..kills).contains(&(index.wrapping_sub(primaries)))
    };
    let start = Instant::now();
    let (mut left, mut dead) = (Vec::new(), Vec::new());
    for (index, member) in members.into_iter().enumerate() {
        if dies(index) {
            dead.push(ids[index].clone());
        } else {
            left.push(member);
        }
    }
    assert_eq!(dead.len(), kills);
    let after_kills_s = agree(&mut left, start, &state(nodes, kills));
    let start = Instant::now();
    for id in &dead {
        left[0].order(&format!("CLUSTER FORGET {id}"));
    }
    let forgotten_s = agree(&mut left, start, &state(nodes - kills, 0));
    Figures { joined_s, cpu_percent, bus_percent, messages, resident, anonymous, after_kills_s, forgotten_s }
}

type Row = (&'static str, fn(&Figures) -> f64);

const ROWS: [Row; 8] = [
    ("joined, s after the first MEET", |f| f.joined_s),
    ("CPU of a node at rest, % of a processor", |f| f.cpu_percent),
    ("of that the thread of the bus", |f| f.bus_percent),
    ("packets it sends at rest, per s", |f| f.messages),
    ("resident MB of a node", |f| f.resident / 1e6),
    ("of that not of files", |f| f.anonymous / 1e6),
    ("agreed after the kills, s", |f| f.after_kills_s),
    ("forgotten by all after FORGET on one, s", |f| f.forgotten_s),
];

/// Clusters of `nodes` nodes of each kind, in turn.
pub fn run(binaries: &Binaries, runs: usize, nodes: usize, kills: usize) {
    assert!(nodes >= 6 && kills <= nodes / 4, "a quorum must be left, and a replica of each shard");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(measure(binaries, Kind::Skuld, nodes, kills));
        theirs.push(measure(binaries, Kind::Valkey, nodes, kills));
    }
    println!(
        "\n| {nodes} nodes, {kills} kills, node timeout {NODE_TIMEOUT_MS} ms, median of {runs} | Skuld | Valkey |"
    );
    println!("|---|---|---|");
    for (name, of) in ROWS {
        let pick = |all: &[Figures]| median(all.iter().map(of).collect());
        println!("| {name} | {:.2} | {:.2} |", pick(&ours), pick(&theirs));
    }
}
