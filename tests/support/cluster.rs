//! Clusters of servers of both kinds.

use std::time::{Duration, Instant};

use super::client::encode;
use super::server::{Launch, Server, free_port};
use super::text::words;

/// Longest time a cluster may take to agree.
pub const PATIENCE: Duration = Duration::from_secs(40);
pub const NODE_TIMEOUT_MS: &str = "2000";

pub fn node(launch: Launch) -> Server {
    launch
        .option("cluster-enabled", "yes")
        .option("cluster-node-timeout", NODE_TIMEOUT_MS)
        .option("cluster-port", &free_port().to_string())
        .start()
}

/// Waits until `look` finds something.
pub fn until<T>(what: &str, nodes: &[Server], mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() > deadline {
            for node in nodes {
                eprintln!("{} {}:\n{}", node.label, node.port, node.log_tail());
            }
            panic!("{what} did not happen within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

pub fn ask(node: &Server, line: &str) -> String {
    node.connect().ask(line).text()
}

/// One field of CLUSTER INFO.
pub fn info(node: &Server, field: &str) -> String {
    let text = ask(node, "CLUSTER INFO");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

/// The port of a node's bus.
pub fn bus_port(node: &Server) -> u16 {
    let line = ask(node, "CLUSTER NODES");
    let (_, rest) = line.split_once('@').expect("an address with a bus port");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}

/// Makes one cluster of the nodes: the first `primaries` share the slots.
pub fn form(nodes: &[Server], primaries: usize) {
    for (index, node) in nodes.iter().enumerate() {
        assert_eq!(ask(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), "OK");
        if index < primaries {
            let (start, end) = (index * 16384 / primaries, (index + 1) * 16384 / primaries - 1);
            assert_eq!(ask(node, &format!("CLUSTER ADDSLOTSRANGE {start} {end}")), "OK");
        }
    }
    for node in &nodes[1..] {
        let (port, bus) = (node.port, bus_port(node));
        assert_eq!(ask(&nodes[0], &format!("CLUSTER MEET 127.0.0.1 {port} {bus}")), "OK");
    }
    let count = nodes.len().to_string();
    until("everybody knows everybody and all slots are served", nodes, || {
        nodes
            .iter()
            .all(|node| info(node, "cluster_known_nodes") == count && info(node, "cluster_state") == "ok")
            .then_some(())
    });
}

/// Whom a key belongs to, as a node tells: the port of a redirection, or the node's own.
pub fn owner(node: &Server, key: &str) -> u16 {
    let mut client = node.connect();
    client.send_raw(&encode(&words(&format!("GET {key}"))));
    let reply = String::from_utf8_lossy(&client.read_frame().expect("a reply").raw).into_owned();
    match reply.trim().rsplit_once(':') {
        Some((moved, port)) if moved.starts_with("-MOVED") => port.parse().expect("a port"),
        _ => node.port,
    }
}

/// One field of INFO replication.
pub fn replication(node: &Server, field: &str) -> String {
    let text = ask(node, "INFO replication");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}
