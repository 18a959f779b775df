//! Many nodes in one thread, on a network that delays, loses and repeats packets, breaks connections, splits, and
//! on machines whose clocks differ and that die and start again. Everything follows from one seed.
//!
//! Checked all the time: nobody votes twice in an epoch; for each slot and epoch there is at most one node that takes
//! itself for the owner. Checked once the faults have stopped: all views agree, every node is known to every other, and
//! the cluster takes queries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::config_file::Saved;
use super::machine::{Facts, Machine, Output, Settings};
use super::packet::Kind;
use super::topology::ClusterState;
use super::{LinkId, NodeId};
use crate::rng::Rng;
use crate::slot::{SLOTS, Slot};

/// Node timeout of the simulated nodes, milliseconds.
const TIMEOUT: i64 = 1000;
/// Where the simulated clock begins, Unix milliseconds.
const BEGIN: i64 = 1_760_000_000_000;
/// Between two looks at everybody's slots, milliseconds.
const LOOK_MS: i64 = 50;

/// How bad the network and the machines are.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Of a thousand packets, so many are lost and so many come twice.
    pub lost: u64,
    pub repeated: u64,
    /// Longest delay of a packet, milliseconds.
    pub delay_max: u64,
    /// Of a thousand fault times (ten a second), so many bring each of these.
    pub crashes: u64,
    pub splits: u64,
    pub broken_links: u64,
    pub manual_failovers: u64,
    /// Largest difference of a clock, milliseconds.
    pub skew_max: u64,
}

/// Each kind of fault now and then.
pub const ROUGH: Faults = Faults {
    lost: 10,
    repeated: 10,
    delay_max: 40,
    crashes: 15,
    splits: 10,
    broken_links: 40,
    manual_failovers: 10,
    skew_max: 400,
};

enum Event {
    Tick(usize),
    /// For the receiving end of a connection.
    Deliver {
        conn: usize,
        to_dialler: bool,
        bytes: Arc<[u8]>,
    },
    Connected {
        node: usize,
        life: u64,
        link: LinkId,
        peer: Option<usize>,
    },
    Disconnected {
        node: usize,
        life: u64,
        link: LinkId,
    },
    Start(usize),
    Heal,
    Fault,
    Look,
}

struct Conn {
    dialler: (usize, u64, LinkId),
    acceptor: (usize, u64, LinkId),
    alive: bool,
    /// Nothing overtakes on a connection.
    last: [i64; 2],
}

struct Host {
    machine: Option<Machine>,
    /// Raised at each start: what was meant for an earlier life is lost.
    life: u64,
    disk: Saved,
    skew: i64,
    offset: u64,
    /// When it last heard its primary.
    heard: i64,
}

/// The simulation.
pub struct Simulation {
    rng: Rng,
    faults: Faults,
    now: i64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(i64, u64, usize)>>,
    events: Vec<Option<Event>>,
    hosts: Vec<Host>,
    conns: Vec<Conn>,
    by_link: BTreeMap<(usize, u64, LinkId), usize>,
    /// The side of each host while the network is split.
    sides: Option<Vec<bool>>,
    quiet: bool,
    /// Who voted for whom: (voter, epoch).
    votes: BTreeMap<(NodeId, u64), NodeId>,
    /// Who took itself for the owner: (first slot of a shard, epoch).
    owners: BTreeMap<(u16, u64), NodeId>,
    /// One slot of each shard stands for all of them.
    probes: Vec<u16>,
    /// Elections won.
    pub elections: u64,
}

fn ip(host: usize) -> String {
    format!("10.0.0.{}", host + 1)
}

fn settings() -> Settings {
    Settings {
        node_timeout: TIMEOUT,
        replica_validity_factor: 0,
        tcp_port: 7000,
        cport: 17_000,
        ..Settings::default()
    }
}

impl Simulation {
    /// A cluster of `shards` shards with `replicas` replicas each, formed as the tools form one.
    pub fn new(seed: u64, shards: usize, replicas: usize, faults: Faults) -> Self {
        let mut simulation = Self {
            rng: Rng::new(seed),
            faults,
            now: BEGIN,
            sequence: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            hosts: Vec::new(),
            conns: Vec::new(),
            by_link: BTreeMap::new(),
            sides: None,
            quiet: true,
            votes: BTreeMap::new(),
            owners: BTreeMap::new(),
            probes: (0..shards).map(|shard| (shard * SLOTS / shards) as u16).collect(),
            elections: 0,
        };
        for host in 0..shards * (1 + replicas) {
            let skew = simulation.rng.below(faults.skew_max + 1) as i64;
            let facts = Facts { now: BEGIN + skew, ..Facts::default() };
            let mut machine = Machine::new(settings(), facts, simulation.rng.next_u64());
            machine.start(facts);
            simulation.hosts.push(Host {
                machine: Some(machine),
                life: 0,
                disk: Saved::default(),
                skew,
                offset: 1,
                heard: BEGIN,
            });
            let first = simulation.rng.below(100) as i64;
            simulation.at(first, Event::Tick(host));
        }
        simulation.form(shards);
        simulation.at(0, Event::Look);
        simulation.run_for(8_000);
        for host in shards..simulation.hosts.len() {
            let primary = simulation.machine(host % shards).me().id;
            let facts = simulation.facts(host);
            let done = simulation.machine_mut(host).replicate(facts, primary.as_bytes(), true);
            assert_eq!(done, Ok(()));
            simulation.perform(host);
        }
        simulation.run_for(3_000);
        simulation.assert_converged();
        simulation.at(100, Event::Fault);
        simulation
    }

    fn form(&mut self, shards: usize) {
        for host in 0..self.hosts.len() {
            let facts = self.facts(host);
            let machine = self.machine_mut(host);
            assert_eq!(machine.set_config_epoch(facts, host as i64 + 1), Ok(()));
            if host < shards {
                let slots: Vec<Slot> = (host * SLOTS / shards..(host + 1) * SLOTS / shards)
                    .map(|slot| Slot(slot as u16))
                    .collect();
                assert_eq!(machine.add_slots(facts, &slots), Ok(()));
            }
            if host > 0 {
                assert!(machine.meet(facts, &ip(0), 7000, 17_000));
            }
            self.perform(host);
        }
    }

    fn machine(&self, host: usize) -> &Machine {
        self.hosts[host].machine.as_ref().expect("the host runs")
    }

    fn machine_mut(&mut self, host: usize) -> &mut Machine {
        self.hosts[host].machine.as_mut().expect("the host runs")
    }

    fn at(&mut self, delay: i64, event: Event) {
        self.sequence += 1;
        self.events.push(Some(event));
        self.queue.push(Reverse((self.now + delay, self.sequence, self.events.len() - 1)));
    }

    fn facts(&self, host: usize) -> Facts {
        let state = &self.hosts[host];
        Facts {
            now: self.now + state.skew,
            offset: state.offset,
            primary_silent_ms: Some(self.now - state.heard),
        }
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        self.sides.as_ref().is_none_or(|sides| sides[a] == sides[b])
    }

    fn chance(&mut self, per_thousand: u64) -> bool {
        !self.quiet && self.rng.below(1000) < per_thousand
    }

    /// Lets that many milliseconds pass.
    pub fn run_for(&mut self, ms: i64) {
        let end = self.now + ms;
        while let Some(&Reverse((time, _, index))) = self.queue.peek() {
            if time > end {
                break;
            }
            self.queue.pop();
            self.now = time;
            if let Some(event) = self.events[index].take() {
                self.happen(event);
            }
        }
        self.now = end;
        if self.queue.is_empty() {
            self.events.clear();
        }
    }

    /// Faults happen from now on, or no more.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
        if quiet {
            self.sides = None;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(host) => {
                self.at(100, Event::Tick(host));
                self.replicate_data(host);
                let facts = self.facts(host);
                if let Some(machine) = &mut self.hosts[host].machine {
                    machine.tick(facts);
                    self.perform(host);
                }
            }
            Event::Deliver { conn, to_dialler, bytes } => self.deliver(conn, to_dialler, &bytes),
            Event::Connected { node, life, link, peer } => self.connect(node, life, link, peer),
            Event::Disconnected { node, life, link } => {
                let facts = self.facts(node);
                if self.hosts[node].life == life
                    && let Some(machine) = &mut self.hosts[node].machine
                {
                    machine.disconnected(facts, link);
                    self.perform(node);
                }
            }
            Event::Start(host) => self.start(host),
            Event::Heal => self.sides = None,
            Event::Fault => {
                self.at(100, Event::Fault);
                self.cause_fault();
            }
            Event::Look => {
                self.at(LOOK_MS, Event::Look);
                self.look();
            }
        }
    }

    /// A replica that can reach its primary has what it has.
    fn replicate_data(&mut self, host: usize) {
        let Some(machine) = &self.hosts[host].machine else { return };
        let primary = machine.me().primary.map(|index| machine.node(index).id);
        let Some(id) = primary else {
            self.hosts[host].offset += 1 + self.rng.below(10);
            return;
        };
        let found = (0..self.hosts.len())
            .find(|other| self.hosts[*other].machine.as_ref().is_some_and(|m| m.me().id == id));
        if let Some(other) = found.filter(|other| self.reachable(host, *other)) {
            self.hosts[host].heard = self.now;
            self.hosts[host].offset = self.hosts[other].offset;
        }
    }

    fn deliver(&mut self, conn: usize, to_dialler: bool, bytes: &[u8]) {
        let Conn { dialler, acceptor, alive, .. } = self.conns[conn];
        let (host, life, link) = if to_dialler { dialler } else { acceptor };
        if !alive || self.hosts[host].life != life || !self.reachable(dialler.0, acceptor.0) {
            return;
        }
        let facts = self.facts(host);
        if let Some(machine) = &mut self.hosts[host].machine {
            machine.packet(facts, link, bytes);
            self.perform(host);
        }
    }

    fn connect(&mut self, host: usize, life: u64, link: LinkId, peer: Option<usize>) {
        if self.hosts[host].life != life || self.hosts[host].machine.is_none() {
            return;
        }
        let facts = self.facts(host);
        let up = peer.filter(|peer| self.hosts[*peer].machine.is_some() && self.reachable(host, *peer));
        let Some(peer) = up else {
            self.machine_mut(host).disconnected(facts, link);
            return self.perform(host);
        };
        let theirs = self.facts(peer);
        let accepted = self.machine_mut(peer).accepted(theirs, ip(host), ip(peer));
        let acceptor = (peer, self.hosts[peer].life, accepted);
        self.conns.push(Conn { dialler: (host, life, link), acceptor, alive: true, last: [0; 2] });
        let conn = self.conns.len() - 1;
        self.by_link.insert((host, life, link), conn);
        self.by_link.insert(acceptor, conn);
        self.machine_mut(host).connected(facts, link, ip(peer), ip(host));
        self.perform(host);
        self.perform(peer);
    }

    fn break_conn(&mut self, conn: usize, except: Option<usize>) {
        if !std::mem::replace(&mut self.conns[conn].alive, false) {
            return;
        }
        let Conn { dialler, acceptor, .. } = self.conns[conn];
        for (node, life, link) in [dialler, acceptor] {
            self.by_link.remove(&(node, life, link));
            if Some(node) != except {
                self.at(1, Event::Disconnected { node, life, link });
            }
        }
    }

    /// Carries out what a machine asked for.
    fn perform(&mut self, host: usize) {
        let life = self.hosts[host].life;
        for output in self.machine_mut(host).take_outputs() {
            match output {
                Output::Connect { link, ip: to, port } => {
                    let peer = (0..self.hosts.len()).find(|peer| ip(*peer) == to && port == 17_000);
                    let delay = 1 + self.rng.below(5) as i64;
                    self.at(delay, Event::Connected { node: host, life, link, peer });
                }
                Output::Send { link, kind, bytes } => self.transmit(host, life, link, kind, bytes),
                Output::Close { link } => {
                    if let Some(&conn) = self.by_link.get(&(host, life, link)) {
                        self.break_conn(conn, Some(host));
                    }
                }
                Output::Save { .. } => {
                    let saved = self.machine(host).saved();
                    // What is written must be readable.
                    let text = saved.write();
                    if self.rng.below(50) == 0 {
                        let read = Saved::parse(text.as_bytes()).expect("our own file is a good one");
                        assert_eq!(read.nodes.len(), saved.nodes.len());
                    }
                    self.hosts[host].disk = saved;
                }
                Output::Pause { .. } => {
                    let facts = self.facts(host);
                    self.machine_mut(host).paused(facts);
                    self.perform(host);
                }
                Output::Log(_, text) => {
                    if text.starts_with("Failover election won") {
                        self.elections += 1;
                    }
                    if std::env::var_os("SKULD_SIMULATION_LOG").is_some() {
                        println!("{:8} {host}: {text}", self.now - BEGIN);
                    }
                }
                Output::TopologyChanged
                | Output::Publish { .. }
                | Output::Replicate(_)
                | Output::StopReplicating
                | Output::FlushAll
                | Output::DeleteKeys { .. }
                | Output::Unpause => {}
            }
        }
    }

    fn transmit(&mut self, host: usize, life: u64, link: LinkId, kind: Kind, bytes: Arc<[u8]>) {
        let Some(&conn) = self.by_link.get(&(host, life, link)) else { return };
        let Conn { dialler, acceptor, .. } = self.conns[conn];
        let to_dialler = dialler.0 != host;
        if kind == Kind::AuthAck {
            let voter = self.machine(host).me().id;
            let epoch = self.machine(host).last_vote_epoch;
            let receiver = if to_dialler { dialler.0 } else { acceptor.0 };
            if let Some(machine) = &self.hosts[receiver].machine {
                let candidate = machine.me().id;
                let before = self.votes.insert((voter, epoch), candidate);
                assert!(before.is_none(), "{voter} votes twice in epoch {epoch}");
            }
        }
        let times = if self.chance(self.faults.lost) {
            0
        } else if self.chance(self.faults.repeated) {
            2
        } else {
            1
        };
        for _ in 0..times {
            let longest = if self.quiet { 2 } else { self.faults.delay_max };
            let due = self.now + 1 + self.rng.below(longest + 1) as i64;
            let last = &mut self.conns[conn].last[usize::from(to_dialler)];
            *last = due.max(*last);
            let delay = *last - self.now;
            self.at(delay, Event::Deliver { conn, to_dialler, bytes: bytes.clone() });
        }
    }

    fn cause_fault(&mut self) {
        let hosts = self.hosts.len() as u64;
        if self.chance(self.faults.crashes) {
            let host = self.rng.below(hosts) as usize;
            self.kill(host);
            let away = 50 + self.rng.below(5000) as i64;
            self.at(away, Event::Start(host));
        }
        if self.sides.is_none() && self.chance(self.faults.splits) {
            self.sides = Some((0..hosts).map(|_| self.rng.below(3) == 0).collect());
            let long = 200 + self.rng.below(6000) as i64;
            self.at(long, Event::Heal);
        }
        if self.chance(self.faults.broken_links) && !self.conns.is_empty() {
            let conn = self.rng.below(self.conns.len() as u64) as usize;
            self.break_conn(conn, None);
        }
        if self.chance(self.faults.manual_failovers) {
            let host = self.rng.below(hosts) as usize;
            let force = self.rng.below(2) == 0;
            let facts = self.facts(host);
            if let Some(machine) = &mut self.hosts[host].machine {
                let kind = if force {
                    super::machine::FailoverKind::Force
                } else {
                    super::machine::FailoverKind::Default
                };
                // A primary refuses.
                let _ = machine.failover(facts, kind, "simulation");
                self.perform(host);
            }
        }
    }

    /// The process dies without a word.
    pub fn kill(&mut self, host: usize) {
        if self.hosts[host].machine.take().is_none() {
            return;
        }
        self.hosts[host].life += 1;
        let conns: Vec<usize> =
            self.by_link.iter().filter(|((node, ..), _)| *node == host).map(|(_, conn)| *conn).collect();
        conns.into_iter().for_each(|conn| self.break_conn(conn, Some(host)));
    }

    /// The process starts again with what is on its disk.
    pub fn start(&mut self, host: usize) {
        if self.hosts[host].machine.is_some() {
            return;
        }
        self.hosts[host].life += 1;
        let facts = self.facts(host);
        let seed = self.rng.next_u64();
        let mut machine = Machine::restore(&self.hosts[host].disk, settings(), facts, seed);
        machine.start(facts);
        self.hosts[host].machine = Some(machine);
        self.perform(host);
    }

    /// Who takes itself for the owner of what.
    fn look(&mut self) {
        for host in 0..self.hosts.len() {
            let Some(machine) = &self.hosts[host].machine else { continue };
            let me = machine.me();
            for &probe in &self.probes {
                if me.is_primary() && machine.owner(Slot(probe)) == Some(machine.me_index()) {
                    let owner = *self.owners.entry((probe, me.config_epoch)).or_insert(me.id);
                    assert_eq!(owner, me.id, "slot {probe} in epoch {} has two owners", me.config_epoch);
                }
            }
        }
    }

    /// Fails unless all nodes see the same, and all is well.
    pub fn assert_converged(&self) {
        let view = |host: usize| {
            let machine = self.machine(host);
            let owners: Vec<Option<NodeId>> = self
                .probes
                .iter()
                .map(|probe| machine.owner(Slot(*probe)).map(|index| machine.node(index).id))
                .collect();
            let roles: Vec<_> = machine
                .nodes()
                .map(|(_, node)| {
                    let primary = node.primary.map(|primary| machine.node(primary).id);
                    (node.id, node.is_primary(), primary, node.slot_count, node.shard_id)
                })
                .collect();
            (owners, roles)
        };
        (0..self.hosts.len()).for_each(|host| self.machine(host).assert_consistent());
        let first = view(0);
        assert!(first.0.iter().all(Option::is_some), "a slot without owner: {:?}", first.0);
        for host in 0..self.hosts.len() {
            let machine = self.machine(host);
            assert_eq!(machine.known_nodes(), self.hosts.len(), "node {host} has lost somebody");
            assert_eq!(view(host), first, "nodes 0 and {host} see different clusters");
            let failing: Vec<_> =
                machine.nodes().filter(|(_, node)| node.failed()).map(|(_, node)| node.id).collect();
            assert!(failing.is_empty(), "node {host} takes {failing:?} for failed");
            assert_eq!(machine.state(), ClusterState::Ok, "node {host}");
        }
    }

    /// Stops the faults, starts everybody, and gives them time.
    pub fn heal(&mut self) {
        self.set_quiet(true);
        for host in 0..self.hosts.len() {
            self.start(host);
        }
        self.run_for(20_000);
    }
}

/// Six to ten machines for fifteen seconds of [`ROUGH`] faults, and what follows. Panics if anything goes wrong.
pub fn rough_weather(seed: u64) {
    let (shards, replicas) = if seed.is_multiple_of(3) { (5, 1) } else { (3, 1 + (seed % 2) as usize) };
    let mut simulation = Simulation::new(seed, shards, replicas, ROUGH);
    simulation.set_quiet(false);
    simulation.run_for(15_000);
    simulation.heal();
    simulation.assert_converged();
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Faults = Faults {
        lost: 0,
        repeated: 0,
        delay_max: 5,
        crashes: 0,
        splits: 0,
        broken_links: 0,
        manual_failovers: 0,
        skew_max: 0,
    };

    #[test]
    fn a_replica_takes_over_from_a_dead_primary() {
        let mut simulation = Simulation::new(7, 3, 1, CALM);
        simulation.kill(1);
        simulation.run_for(4_000);
        assert_eq!(simulation.elections, 1);
        simulation.start(1);
        simulation.run_for(4_000);
        simulation.assert_converged();
        assert!(simulation.machine(1).me().is_replica() && simulation.machine(4).me().is_primary());
    }

    #[test]
    fn a_manual_failover_changes_places() {
        let mut simulation = Simulation::new(8, 3, 1, CALM);
        let facts = simulation.facts(4);
        let done =
            simulation.machine_mut(4).failover(facts, crate::cluster::machine::FailoverKind::Default, "test");
        assert_eq!(done, Ok(()));
        simulation.perform(4);
        simulation.run_for(2_000);
        simulation.assert_converged();
        assert!(simulation.machine(1).me().is_replica() && simulation.machine(4).me().is_primary());
    }

    #[test]
    fn a_minority_stops_and_comes_back() {
        let mut simulation = Simulation::new(9, 3, 1, CALM);
        simulation.sides = Some((0..6).map(|host| host == 0).collect());
        simulation.run_for(5_000);
        assert_eq!(simulation.machine(0).state(), ClusterState::Fail);
        assert_eq!(simulation.machine(1).state(), ClusterState::Ok);
        simulation.sides = None;
        simulation.run_for(6_000);
        simulation.assert_converged();
        assert!(simulation.machine(0).me().is_replica());
    }

    /// Two seeds with debug assertions; `tests/cluster_simulation.rs` tries many.
    #[test]
    fn nothing_goes_wrong_in_rough_weather() {
        (1..=2).for_each(rough_weather);
    }
}
