//! Whether a command may run on this node, and where else its client should go: Valkey's decisions, in its order
//! (spec page cluster-bus.md, section 19).

use super::topology::{ClusterState, Role, Topology, TopologyNode};
use crate::commands::Command;
use crate::commands::context::CommandError;
use crate::commands::keys::{KeyList, KeyShape, keys_of};
use crate::commands::spec::{ASKING, WRITE};
use crate::config::{ClusterPreferredEndpointType, Config};
use crate::slot::{Slot, slot_of};

/// What a client sees of a node depends on how it is connected.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientView {
    pub tls: bool,
    pub ipv6: bool,
}

/// Why a command does not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    CrossSlot,
    TryAgain,
    Unbound,
    Down,
    DownForWrites,
    /// Once, with ASKING.
    Ask(Slot, usize),
    Moved(Slot, usize),
}

/// One command as it asks for keys.
pub struct Asked<'a> {
    pub command: &'static Command,
    pub args: &'a [&'a [u8]],
}

/// How the client stands to the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    pub asking: bool,
    pub readonly: bool,
    pub db: u32,
    /// The request writes whatever its command's flags say: its script declares so.
    pub writes: bool,
}

/// Decides about one command, or all commands of a transaction. `exists` tells whether a key of a database is here; it
/// is asked only about slots that are being moved. Ok holds the slot, if there are keys.
pub fn decide<'a>(
    topology: &Topology,
    config: &Config,
    standing: Standing,
    commands: impl Iterator<Item = Asked<'a>>,
    exists: &mut dyn FnMut(u32, &[u8]) -> bool,
) -> Result<Option<Slot>, Elsewhere> {
    let mut first: Option<(Slot, &[u8], usize)> = None;
    let (mut migrating, mut importing) = (false, false);
    let (mut multiple, mut missing, mut existing) = (false, false, false);
    let (mut writes, mut sharded, mut asking_flag) = (standing.writes, false, false);
    let (mut is_migrate, mut crosses_databases) = (false, false);
    let mut db = standing.db;
    let mut keys = KeyList::new();
    for Asked { command, args } in commands {
        writes |= command.flags.has(WRITE);
        sharded |= matches!(command.name, "ssubscribe" | "sunsubscribe" | "spublish");
        asking_flag |= command.flags.has(ASKING);
        is_migrate |= command.name == "migrate";
        if command.name == "select"
            && let Some(number) = args.get(1).and_then(|word| crate::resp::decode::parse_integer(word))
        {
            db = u32::try_from(number).unwrap_or(db);
        }
        keys.clear();
        match command.shape {
            KeyShape::None => continue,
            _ => {
                // What cannot be told is refused by the command itself.
                let _ = keys_of(command, args, &mut keys);
            }
        }
        for key in &keys {
            let key = args[key.position as usize];
            let slot = slot_of(key);
            match first {
                None => {
                    let owner = topology.owner_index(slot).ok_or(Elsewhere::Unbound)?;
                    first = Some((slot, key, owner));
                    migrating = topology.migrating.contains_key(&slot.0) && topology.is_mine(slot);
                    importing = !migrating && topology.importing.contains_key(&slot.0);
                }
                Some((known, other, _)) => {
                    if known != slot {
                        return Err(Elsewhere::CrossSlot);
                    }
                    multiple |= other != key;
                }
            }
            if (migrating || importing) && !sharded {
                if exists(db, key) {
                    existing = true;
                } else {
                    missing = true;
                }
            }
        }
        crosses_databases |= crosses(command, args, db);
    }
    let Some((slot, _, owner)) = first else { return Ok(None) };
    if topology.state == ClusterState::Fail {
        if sharded {
            if !config.cluster_allow_pubsubshard_when_down {
                return Err(Elsewhere::Down);
            }
        } else if !config.cluster_allow_reads_when_down {
            return Err(Elsewhere::Down);
        } else if writes {
            return Err(Elsewhere::DownForWrites);
        }
    }
    let me = topology.me();
    if migrating || importing {
        if crosses_databases {
            return Err(Elsewhere::TryAgain);
        }
        if is_migrate && me.role == Role::Primary {
            return Ok(Some(slot));
        }
    }
    if migrating && missing {
        return Err(if existing {
            Elsewhere::TryAgain
        } else {
            Elsewhere::Ask(slot, topology.migrating[&slot.0])
        });
    }
    if importing && (standing.asking || asking_flag) {
        return if multiple && missing { Err(Elsewhere::TryAgain) } else { Ok(Some(slot)) };
    }
    let is_my_primary = me.role == Role::Replica && me.primary == Some(owner);
    if (standing.readonly || sharded) && is_my_primary && !writes {
        return Ok(Some(slot));
    }
    if owner == topology.me { Ok(Some(slot)) } else { Err(Elsewhere::Moved(slot, owner)) }
}

/// Whether a command carries a key to another database.
fn crosses(command: &Command, args: &[&[u8]], db: u32) -> bool {
    match command.name {
        "move" => true,
        "copy" => args.windows(2).skip(3).any(|two| {
            two[0].eq_ignore_ascii_case(b"db")
                && crate::resp::decode::parse_integer(two[1]) != Some(i64::from(db))
        }),
        _ => false,
    }
}

impl Elsewhere {
    /// The error a client gets.
    pub fn error(self, topology: &Topology, config: &Config, view: ClientView) -> CommandError {
        let redirect = |word: &str, slot: Slot, node: usize| {
            let node = &topology.nodes[node];
            let endpoint = endpoint_of(node, config.cluster_preferred_endpoint_type, view);
            let port = client_port(node, view);
            CommandError::text(format!("{word} {} {}:{port}", slot.0, endpoint.unwrap_or_default()))
        };
        match self {
            Self::CrossSlot => CommandError::fixed("CROSSSLOT Keys in request don't hash to the same slot"),
            Self::TryAgain => CommandError::fixed("TRYAGAIN Multiple keys request during rehashing of slot"),
            Self::Unbound => CommandError::fixed("CLUSTERDOWN Hash slot not served"),
            Self::Down => CommandError::fixed("CLUSTERDOWN The cluster is down"),
            Self::DownForWrites => {
                CommandError::fixed("CLUSTERDOWN The cluster is down and only accepts read commands")
            }
            Self::Ask(slot, node) => redirect("ASK", slot, node),
            Self::Moved(slot, node) => redirect("MOVED", slot, node),
        }
    }
}

/// The address clients of this kind are to use.
pub fn client_ip(node: &TopologyNode, view: ClientView) -> &str {
    let announced = if view.ipv6 { &node.announced.client_ipv6 } else { &node.announced.client_ipv4 };
    if announced.is_empty() { &node.ip } else { announced }
}

/// The port clients of this kind are to use.
pub fn client_port(node: &TopologyNode, view: ClientView) -> u16 {
    let announced = &node.announced;
    let (own, overriding) = if view.tls {
        (node.tls_port, announced.client_tls_port)
    } else {
        (node.tcp_port, announced.client_port)
    };
    if overriding == 0 { own } else { overriding }
}

/// What clients are told to connect to; None: what they are connected to now.
pub fn endpoint_of(
    node: &TopologyNode,
    kind: ClusterPreferredEndpointType,
    view: ClientView,
) -> Option<&str> {
    match kind {
        ClusterPreferredEndpointType::Ip => Some(client_ip(node, view)),
        ClusterPreferredEndpointType::Hostname if node.announced.hostname.is_empty() => Some("?"),
        ClusterPreferredEndpointType::Hostname => Some(&node.announced.hostname),
        ClusterPreferredEndpointType::UnknownEndpoint => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::machine::{Facts, Machine, SetSlot, Settings};
    use crate::commands::table::original_table;

    /// Two nodes: slots 0 to 8191 are of this one, the rest but the last are of 10.0.0.2.
    fn topology(change: impl FnOnce(&mut Machine, Facts)) -> Topology {
        let facts = Facts { now: 1_760_000_000_000, ..Facts::default() };
        let mut machine = Machine::new(Settings::default(), facts, 1);
        let saved = crate::cluster::config_file::Saved::parse(
            format!(
                "{} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-8191\n\
                 {} 10.0.0.2:6380@16380 master - 0 0 2 connected 8192-16382\n",
                "a".repeat(40),
                "b".repeat(40)
            )
            .as_bytes(),
        )
        .expect("a good file");
        machine.start(facts);
        let mut machine = Machine::restore(&saved, Settings::default(), facts, 1);
        machine.start(facts);
        let mut later = facts;
        for _ in 0..100 {
            later.now += 100;
            machine.tick(later);
        }
        change(&mut machine, later);
        let mut topology = machine.topology();
        topology.state = ClusterState::Ok;
        topology
    }

    fn ask(topology: &Topology, standing: Standing, here: &[&str], line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = original_table().resolve(&words).expect("a known command");
        let config = Config { cluster_enabled: true, ..Config::default() };
        let asked = std::iter::once(Asked { command, args: &words });
        let mut exists = |_: u32, key: &[u8]| here.iter().any(|known| known.as_bytes() == key);
        match decide(topology, &config, standing, asked, &mut exists) {
            Ok(_) => "here".to_owned(),
            Err(elsewhere) => elsewhere.error(topology, &config, ClientView::default()).to_string(),
        }
    }

    /// `bar` is in slot 5061, `foo` in 12182.
    #[test]
    fn keys_decide_where_a_command_runs() {
        let plain = topology(|_, _| {});
        let asks = |line| ask(&plain, Standing::default(), &[], line);
        assert_eq!(asks("get bar"), "here");
        assert_eq!(asks("get foo"), "MOVED 12182 10.0.0.2:6380");
        assert_eq!(asks("mget bar foo"), "CROSSSLOT Keys in request don't hash to the same slot");
        assert_eq!(asks("ping"), "here");
        assert_eq!(asks("spublish foo x"), "MOVED 12182 10.0.0.2:6380");
    }

    #[test]
    fn slots_that_move_are_shared() {
        let other = "b".repeat(40).into_bytes();
        let moving = topology(|machine, facts| {
            let done = machine.set_slot(facts, Slot(5061), &SetSlot::Migrating(other.clone()), 0);
            assert_eq!(done, Ok(()));
            assert_eq!(machine.set_slot(facts, Slot(12182), &SetSlot::Importing(other), 0), Ok(()));
        });
        let none = Standing::default();
        assert_eq!(ask(&moving, none, &["bar"], "get bar"), "here");
        assert_eq!(ask(&moving, none, &[], "get bar"), "ASK 5061 10.0.0.2:6380");
        let try_again = "TRYAGAIN Multiple keys request during rehashing of slot";
        assert_eq!(ask(&moving, none, &["bar"], "mget bar {bar}1"), try_again);
        assert_eq!(ask(&moving, none, &["bar"], "move bar 1"), try_again);
        assert_eq!(ask(&moving, none, &[], "get foo"), "MOVED 12182 10.0.0.2:6380");
        let asking = Standing { asking: true, ..none };
        assert_eq!(ask(&moving, asking, &[], "get foo"), "here");
        assert_eq!(ask(&moving, asking, &[], "mget foo {foo}1"), try_again);
        assert_eq!(ask(&moving, asking, &["foo", "{foo}1"], "mget foo {foo}1"), "here");
    }

    #[test]
    fn a_cluster_that_is_down_says_so() {
        let mut down = topology(|machine, facts| {
            assert_eq!(machine.delete_slots(facts, &[Slot(1)]), Ok(()));
        });
        down.state = ClusterState::Fail;
        assert_eq!(ask(&down, Standing::default(), &[], "get bar"), "CLUSTERDOWN The cluster is down");
        assert_eq!(ask(&down, Standing::default(), &[], "spublish bar x"), "here");
    }
}
