//! Connections of the bus. For each pair of nodes there are two, each opened by one of them.

use super::*;

/// A connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whose it is: for outbound links always known, for inbound ones once the peer has said who it is.
    pub node: Option<NodeIndex>,
    pub inbound: bool,
    pub created: i64,
    /// The peer understands ping extensions.
    pub extensions: bool,
    /// Addresses of the peer's and of our end.
    pub peer_ip: String,
    pub local_ip: String,
}

impl Machine {
    pub fn links(&self) -> &BTreeMap<LinkId, Link> {
        &self.links
    }

    /// `id:outbound` and the name of whose connection it is, as log lines show connections.
    pub fn name_of_link(&self, id: LinkId) -> (String, String) {
        let Some(link) = self.links.get(&id) else { return Default::default() };
        let direction = if link.inbound { "inbound" } else { "outbound" };
        let node = link.node.map(|index| self.node(index));
        let number = node.map_or_else(|| "NULL".to_owned(), |node| node.id.to_string());
        (format!("{number}:{direction}"), node.map_or_else(String::new, Node::shown_name))
    }

    fn new_link(&mut self, node: Option<NodeIndex>, inbound: bool) -> LinkId {
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let link = Link {
            node,
            inbound,
            created: self.facts.now,
            extensions: false,
            peer_ip: String::new(),
            local_ip: String::new(),
        };
        self.links.insert(id, link);
        id
    }

    /// A peer has connected.
    pub fn accepted(&mut self, facts: Facts, peer_ip: String, local_ip: String) -> LinkId {
        self.facts = facts;
        let id = self.new_link(None, true);
        let link = self.links.get_mut(&id).expect("just made");
        (link.peer_ip, link.local_ip) = (peer_ip, local_ip);
        id
    }

    /// Begins to connect to a node.
    pub(super) fn dial(&mut self, index: NodeIndex) {
        let link = self.new_link(Some(index), false);
        let now = self.facts.now;
        let node = self.node_mut(index);
        node.outbound = Some(link);
        node.last_attempt = now;
        let (ip, port) = (node.ip.clone(), node.cport);
        self.out.push(Output::Connect { link, ip, port });
    }

    /// A connection that this node asked for stands.
    pub fn connected(&mut self, facts: Facts, id: LinkId, peer_ip: String, local_ip: String) {
        self.facts = facts;
        let Some(link) = self.links.get_mut(&id) else { return };
        (link.peer_ip, link.local_ip) = (peer_ip, local_ip);
        let Some(index) = link.node else { return };
        let ping_sent = self.node(index).ping_sent;
        let kind = if self.node(index).has(flag::MEET) { Kind::Meet } else { Kind::Ping };
        self.send_ping(id, kind);
        if ping_sent != 0 {
            // A ping that waits since the connection before is as old as it is.
            self.node_mut(index).ping_sent = ping_sent;
        }
        self.finish();
    }

    /// A connection is gone, or could not be made.
    pub fn disconnected(&mut self, facts: Facts, id: LinkId) {
        self.facts = facts;
        let dialled = self.links.get(&id).filter(|link| !link.inbound).and_then(|link| link.node);
        self.drop_link(id);
        if let Some(index) = dialled
            && self.node(index).ping_sent == 0
        {
            // A node that cannot be reached must come under suspicion too.
            self.node_mut(index).ping_sent = self.facts.now;
        }
        self.finish();
    }

    /// Closes a connection.
    pub(super) fn close_link(&mut self, id: LinkId) {
        if self.drop_link(id) {
            self.out.push(Output::Close { link: id });
        }
    }

    fn drop_link(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.remove(&id) else { return false };
        let now = self.facts.now;
        if let Some(index) = link.node {
            let node = self.node_mut(index);
            if node.outbound == Some(id) {
                node.outbound = None;
            }
            if node.inbound == Some(id) {
                node.inbound = None;
                node.inbound_gone = now;
            }
        }
        true
    }

    /// An inbound connection turns out to be that of a node; so far it may have been that of a node in handshake.
    pub(super) fn bind(&mut self, id: LinkId, index: NodeIndex) {
        let former = self.links.get(&id).and_then(|link| link.node).filter(|former| *former != index);
        if let Some(former) = former.filter(|former| self.node(*former).inbound == Some(id)) {
            self.node_mut(former).inbound = None;
        }
        if let Some(older) = self.node(index).inbound.filter(|older| *older != id) {
            self.close_link(older);
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.node = Some(index);
            self.node_mut(index).inbound = Some(id);
        }
    }

    /// The actor closed a connection because its peer does not read.
    pub fn buffer_exceeded(&mut self, facts: Facts, id: LinkId, bytes: usize) {
        self.facts = facts;
        self.stats.buffer_limit_exceeded += 1;
        let direction = if self.links.get(&id).is_some_and(|link| link.inbound) { "from" } else { "to" };
        let node = self.links.get(&id).and_then(|link| link.node);
        let name = node.map_or_else(|| "<unknown> ()".to_owned(), |index| self.name(index));
        self.log(
            Level::Warning,
            format!(
                "Freeing cluster link({direction} node {name}, used memory: {bytes}) due to exceeding send buffer memory limit."
            ),
        );
        self.close_link(id);
        self.finish();
    }

    /// DEBUG CLUSTERLINK KILL.
    pub fn kill_links(&mut self, facts: Facts, index: NodeIndex, to: bool, from: bool) {
        self.facts = facts;
        let node = self.node(index);
        let (outbound, inbound) = (node.outbound, node.inbound);
        for link in [outbound.filter(|_| to), inbound.filter(|_| from)].into_iter().flatten() {
            self.close_link(link);
        }
        self.finish();
    }
}
