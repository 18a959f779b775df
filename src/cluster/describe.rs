//! What CLUSTER NODES, SLOTS, SHARDS, REPLICAS and INFO say (spec page cluster-bus.md, section 18.1).

use std::fmt::Write as _;

use super::config_file::Form;
use super::machine::Machine;
use super::node::NodeIndex;
use super::packet::{Kind, flag};
use super::redirect::{ClientView, client_ip, client_port, endpoint_of};
use super::topology::{Role, Topology, TopologyNode};
use crate::config::ClusterPreferredEndpointType;
use crate::resp::Reply;
use crate::slot::SLOTS;

/// One node's line for a client, without its end.
pub fn node_line(machine: &Machine, index: NodeIndex, view: ClientView) -> String {
    let mut line = machine.saved_node(index);
    let announced = &line.announced;
    let ip = if view.ipv6 { &announced.client_ipv6 } else { &announced.client_ipv4 };
    if !ip.is_empty() {
        line.ip = ip.clone();
    }
    let (own, overriding) = if view.tls {
        (line.tls_port, line.announced.client_tls_port)
    } else {
        (line.tcp_port, line.announced.client_port)
    };
    line.tcp_port = if overriding == 0 { own } else { overriding };
    let mut text = String::new();
    line.write(&mut text, Form::Client);
    text
}

/// CLUSTER NODES.
pub fn nodes_text(machine: &Machine, view: ClientView) -> String {
    let mut text = String::new();
    for (index, _) in machine.nodes() {
        text += &node_line(machine, index, view);
        text.push('\n');
    }
    text
}

/// CLUSTER INFO.
pub fn info_text(machine: &Machine) -> String {
    let (mut assigned, mut ok, mut pfail, mut fail) = (0, 0, 0, 0);
    for (_, node) in machine.nodes() {
        assigned += node.slot_count;
        if node.failed() {
            fail += node.slot_count;
        } else if node.has(flag::PFAIL) {
            pfail += node.slot_count;
        } else {
            ok += node.slot_count;
        }
    }
    let count = |bits: u16, voting: bool| {
        machine.nodes().filter(|(_, node)| node.has(bits) && (!voting || node.votes())).count()
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}:{value}\r\n");
    };
    line("cluster_state", &machine.state().name());
    line("cluster_slots_assigned", &assigned);
    line("cluster_slots_ok", &ok);
    line("cluster_slots_pfail", &pfail);
    line("cluster_slots_fail", &fail);
    line("cluster_nodes_pfail", &count(flag::PFAIL, false));
    line("cluster_nodes_fail", &count(flag::FAIL, false));
    line("cluster_voting_nodes_pfail", &count(flag::PFAIL, true));
    line("cluster_voting_nodes_fail", &count(flag::FAIL, true));
    line("cluster_known_nodes", &machine.known_nodes());
    line("cluster_size", &machine.size());
    line("cluster_current_epoch", &machine.current_epoch);
    line("cluster_my_epoch", &machine.effective_epoch(machine.me_index()));
    let stats = &machine.stats;
    for (what, counts) in [("sent", &stats.sent), ("received", &stats.received)] {
        for kind in Kind::ALL {
            let number = counts[kind as usize];
            if number > 0 {
                line(&format!("cluster_stats_messages_{}_{what}", kind.name()), &number);
            }
        }
        line(&format!("cluster_stats_messages_{what}"), &counts.iter().sum::<u64>());
    }
    line("cluster_stats_bytes_sent", &stats.bytes_sent);
    line("cluster_stats_bytes_received", &stats.bytes_received);
    line("cluster_stats_pubsub_bytes_sent", &stats.publish_bytes_sent);
    line("cluster_stats_pubsub_bytes_received", &stats.publish_bytes_received);
    line("cluster_stats_module_bytes_sent", &stats.module_bytes_sent);
    line("cluster_stats_module_bytes_received", &stats.module_bytes_received);
    line("total_cluster_links_buffer_limit_exceeded", &stats.buffer_limit_exceeded);
    text
}

/// A node's offset as this node knows it.
fn offset_of(machine: &Machine, node: &TopologyNode) -> u64 {
    match machine.find(&node.id) {
        Some(index) if index == machine.me_index() => machine.facts.offset,
        Some(index) => machine.node(index).offset,
        None => 0,
    }
}

fn write_text(reply: &mut Reply, text: &str) {
    reply.bulk(text.as_bytes());
}

/// A node of CLUSTER SLOTS.
fn write_slots_node(
    node: &TopologyNode,
    kind: ClusterPreferredEndpointType,
    view: ClientView,
    reply: &mut Reply,
) {
    reply.array(4);
    match endpoint_of(node, kind, view) {
        Some(endpoint) => write_text(reply, endpoint),
        None => reply.null(),
    }
    reply.integer(i64::from(client_port(node, view)));
    write_text(reply, node.id.as_str());
    let announced = &node.announced;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    if kind != ClusterPreferredEndpointType::Ip {
        pairs.push(("ip", client_ip(node, view)));
    }
    if kind != ClusterPreferredEndpointType::Hostname && !announced.hostname.is_empty() {
        pairs.push(("hostname", &announced.hostname));
    }
    if !announced.availability_zone.is_empty() {
        pairs.push(("availability-zone", &announced.availability_zone));
    }
    reply.map(pairs.len());
    for (name, value) in pairs {
        write_text(reply, name);
        write_text(reply, value);
    }
}

/// CLUSTER SLOTS.
pub fn write_slots(
    machine: &Machine,
    topology: &Topology,
    kind: ClusterPreferredEndpointType,
    view: ClientView,
    reply: &mut Reply,
) {
    let mut ranges: Vec<(u16, u16, usize)> = Vec::new();
    for slot in 0..SLOTS as u16 {
        let Some(owner) = topology.owner_index(crate::slot::Slot(slot)) else { continue };
        match ranges.last_mut() {
            Some((_, end, last)) if *last == owner && *end + 1 == slot => *end = slot,
            _ => ranges.push((slot, slot, owner)),
        }
    }
    reply.array(ranges.len());
    for (start, end, owner) in ranges {
        let replicas: Vec<&TopologyNode> = topology
            .nodes
            .iter()
            .filter(|node| node.primary == Some(owner) && !node.failed() && offset_of(machine, node) != 0)
            .collect();
        reply.array(3 + replicas.len());
        reply.integer(i64::from(start));
        reply.integer(i64::from(end));
        write_slots_node(&topology.nodes[owner], kind, view, reply);
        replicas.into_iter().for_each(|node| write_slots_node(node, kind, view, reply));
    }
}

/// CLUSTER SHARDS.
pub fn write_shards(
    machine: &Machine,
    topology: &Topology,
    kind: ClusterPreferredEndpointType,
    view: ClientView,
    reply: &mut Reply,
) {
    let mut shards: Vec<(super::NodeId, Vec<usize>)> = Vec::new();
    for (index, node) in topology.nodes.iter().enumerate() {
        if node.flags & flag::HANDSHAKE != 0 {
            continue;
        }
        match shards.iter_mut().find(|(id, _)| *id == node.shard_id) {
            Some((_, members)) => members.push(index),
            None => shards.push((node.shard_id, vec![index])),
        }
    }
    reply.array(shards.len());
    for (id, mut members) in shards {
        members.sort_by_key(|&index| topology.nodes[index].role == Role::Replica);
        reply.map(3);
        write_text(reply, "slots");
        let owner = members
            .iter()
            .map(|&index| topology.nodes[index].primary.unwrap_or(index))
            .find(|&index| topology.nodes[index].slots > 0);
        let ranges = owner
            .and_then(|index| machine.find(&topology.nodes[index].id))
            .map(|index| machine.node(index).slots.ranges())
            .unwrap_or_default();
        reply.array(ranges.len() * 2);
        for (start, end) in ranges {
            reply.integer(i64::from(start));
            reply.integer(i64::from(end));
        }
        write_text(reply, "nodes");
        reply.array(members.len());
        for &index in &members {
            write_shards_node(machine, &topology.nodes[index], kind, view, reply);
        }
        write_text(reply, "id");
        write_text(reply, id.as_str());
    }
}

fn write_shards_node(
    machine: &Machine,
    node: &TopologyNode,
    kind: ClusterPreferredEndpointType,
    view: ClientView,
    reply: &mut Reply,
) {
    let head = reply.deferred_array();
    let mut pairs = 0;
    let mut field = |name: &str, write: &mut dyn FnMut(&mut Reply)| {
        write_text(reply, name);
        write(reply);
        pairs += 1;
    };
    field("id", &mut |reply| write_text(reply, node.id.as_str()));
    for (name, port) in [
        ("port", client_port(node, ClientView { tls: false, ..view })),
        ("tls-port", client_port(node, ClientView { tls: true, ..view })),
    ] {
        if port != 0 {
            field(name, &mut |reply| reply.integer(i64::from(port)));
        }
    }
    field("ip", &mut |reply| write_text(reply, client_ip(node, view)));
    field("endpoint", &mut |reply| write_text(reply, endpoint_of(node, kind, view).unwrap_or_default()));
    if !node.announced.hostname.is_empty() {
        field("hostname", &mut |reply| write_text(reply, &node.announced.hostname));
    }
    let role = if node.role == Role::Replica { "replica" } else { "master" };
    field("role", &mut |reply| write_text(reply, role));
    let offset = offset_of(machine, node);
    field("replication-offset", &mut |reply| reply.integer(offset as i64));
    let health = if node.failed() {
        "fail"
    } else if node.role == Role::Replica && offset == 0 {
        "loading"
    } else {
        "online"
    };
    field("health", &mut |reply| write_text(reply, health));
    if !node.announced.availability_zone.is_empty() {
        field("availability-zone", &mut |reply| write_text(reply, &node.announced.availability_zone));
    }
    reply.finish_map(head, pairs);
}
