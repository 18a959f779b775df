//! `nodes.conf`: what a node remembers of its cluster between two lives, in Valkey's format (spec page
//! cluster-bus.md, section 17).
//!
//! ```text
//! <id> <ip>:<port>@<cport>,<hostname>[,<aux>=<value>]* <flags> <primary|-> <ping> <pong> <epoch> <link> [<slots>]*
//! vars currentEpoch <n> lastVoteEpoch <n>
//! ```

use std::fmt::Write as _;

use super::id::NodeId;
use super::node::Announced;
use super::packet::flag;
use crate::config::split::split_words;
use crate::slot::SLOTS;

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub nodes: Vec<SavedNode>,
    pub current_epoch: u64,
    pub last_vote_epoch: u64,
    /// Variables this version does not know.
    pub unknown_variables: Vec<String>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedNode {
    pub id: NodeId,
    pub ip: String,
    pub tcp_port: u16,
    pub tls_port: u16,
    pub cport: u16,
    pub announced: Announced,
    pub shard_id: Option<NodeId>,
    pub flags: u16,
    pub primary: Option<NodeId>,
    /// Unix milliseconds.
    pub ping_sent: i64,
    pub pong_received: i64,
    pub config_epoch: u64,
    pub connected: bool,
    /// Both ends included.
    pub slots: Vec<(u16, u16)>,
    pub migrating: Vec<(u16, NodeId)>,
    pub importing: Vec<(u16, NodeId)>,
}

/// The file is not one of ours: the server must not start with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    #[error("Unrecoverable error: corrupted cluster config file \"{0}\".")]
    Line(String),
    #[error("Duplicate nodeid detected: {0}")]
    Duplicate(NodeId),
    #[error("Unknown flag in cluster config file: {0}")]
    Flag(String),
    #[error("Unrecoverable error: corrupted cluster config file: no line describes this node.")]
    NoMyself,
}

/// The names of flags, in the order they are written.
pub const FLAG_NAMES: [(u16, &str); 8] = [
    (flag::MYSELF, "myself"),
    (flag::PRIMARY, "master"),
    (flag::REPLICA, "slave"),
    (flag::PFAIL, "fail?"),
    (flag::FAIL, "fail"),
    (flag::HANDSHAKE, "handshake"),
    (flag::NOADDR, "noaddr"),
    (flag::NOFAILOVER, "nofailover"),
];

/// Flags as words.
pub fn flag_names(flags: u16) -> String {
    let names: Vec<&str> = FLAG_NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n).collect();
    if names.is_empty() { "noflags".to_owned() } else { names.join(",") }
}

/// Whether a text that another node announced may enter the file: anything else could make the file unreadable for
/// every node that learnt it.
pub fn is_safe_text(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-./:_`".contains(&b) || b >= 0x80)
        && !text.contains('\u{fffd}')
}

impl Saved {
    /// The text of the file.
    pub fn write(&self) -> String {
        let mut out = String::with_capacity(self.nodes.len() * 256 + 64);
        for node in &self.nodes {
            node.write(&mut out, Form::File);
            out.push('\n');
        }
        // Writing to a string cannot fail.
        let _ =
            writeln!(out, "vars currentEpoch {} lastVoteEpoch {}", self.current_epoch, self.last_vote_epoch);
        out
    }

    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, Corrupt> {
        let mut saved = Self::default();
        for line in text.split(|&b| b == b'\n') {
            let corrupt = || Corrupt::Line(String::from_utf8_lossy(line).into_owned());
            if line.is_empty() || line == b"\r" {
                continue;
            }
            let words = split_words(line).map_err(|_| corrupt())?;
            let words: Vec<&str> = words
                .iter()
                .map(|word| std::str::from_utf8(word))
                .collect::<Result<_, _>>()
                .map_err(|_| corrupt())?;
            match words.first() {
                None => return Err(corrupt()),
                Some(&"vars") => saved.variables(&words[1..]).ok_or_else(corrupt)?,
                Some(_) => {
                    let node = SavedNode::parse(&words, &corrupt)?;
                    if saved.nodes.iter().any(|other| other.id == node.id) {
                        return Err(Corrupt::Duplicate(node.id));
                    }
                    saved.nodes.push(node);
                }
            }
        }
        if saved.nodes.iter().filter(|node| node.flags & flag::MYSELF != 0).count() != 1 {
            return Err(Corrupt::NoMyself);
        }
        Ok(saved)
    }

    fn variables(&mut self, words: &[&str]) -> Option<()> {
        if !words.len().is_multiple_of(2) {
            return None;
        }
        for pair in words.chunks_exact(2) {
            // As C reads numbers: what is no number is 0.
            let value = pair[1].parse().unwrap_or(0);
            match pair[0] {
                "currentEpoch" => self.current_epoch = value,
                "lastVoteEpoch" => self.last_vote_epoch = value,
                other => self.unknown_variables.push(other.to_owned()),
            }
        }
        Some(())
    }
}

/// Which form of a node's line is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For the file: with everything.
    File,
    /// For clients (CLUSTER NODES): the address only, with the hostname if there is one.
    Client,
}

impl SavedNode {
    /// Appends the line, without its end.
    pub fn write(&self, out: &mut String, form: Form) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{} {}:{}@{}", self.id, self.ip, self.tcp_port, self.cport);
        let announced = &self.announced;
        match form {
            Form::Client if announced.hostname.is_empty() => {}
            Form::Client => {
                let _ = write!(out, ",{}", announced.hostname);
            }
            Form::File => {
                let _ = write!(out, ",{}", announced.hostname);
                self.write_aux(out);
            }
        }
        let primary = self.primary.as_ref().map_or("-", NodeId::as_str);
        let link = if self.connected { "connected" } else { "disconnected" };
        let _ = write!(
            out,
            " {} {primary} {} {} {} {link}",
            flag_names(self.flags),
            self.ping_sent,
            self.pong_received,
            self.config_epoch
        );
        for &(start, end) in &self.slots {
            let _ = if start == end { write!(out, " {start}") } else { write!(out, " {start}-{end}") };
        }
        let open = self.migrating.iter().map(|(slot, id)| (*slot, "->-", id));
        let mut open: Vec<_> = open.chain(self.importing.iter().map(|(s, id)| (*s, "-<-", id))).collect();
        open.sort_by_key(|(slot, ..)| *slot);
        for (slot, arrow, id) in open {
            let _ = write!(out, " [{slot}{arrow}{id}]");
        }
    }

    fn write_aux(&self, out: &mut String) {
        let announced = &self.announced;
        let mut text = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = write!(out, ",{name}={value}");
            }
        };
        let port = |port: u16| if port == 0 { String::new() } else { port.to_string() };
        text("availability-zone", &announced.availability_zone);
        text("client-tls-port", &port(announced.client_tls_port));
        text("client-tcp-port", &port(announced.client_port));
        text("client-ipv6", &announced.client_ipv6);
        text("client-ipv4", &announced.client_ipv4);
        text("tls-port", &self.tls_port.to_string());
        text("nodename", &announced.human_name);
        if let Some(shard) = &self.shard_id {
            text("shard-id", shard.as_str());
        }
    }

    fn parse(words: &[&str], corrupt: &dyn Fn() -> Corrupt) -> Result<Self, Corrupt> {
        if words.len() < 8 {
            return Err(corrupt());
        }
        let mut node = Self {
            id: NodeId::parse(words[0].as_bytes()).ok_or_else(corrupt)?,
            ip: String::new(),
            tcp_port: 0,
            tls_port: 0,
            cport: 0,
            announced: Announced::default(),
            shard_id: None,
            flags: 0,
            primary: None,
            ping_sent: number(words[4]),
            pong_received: number(words[5]),
            config_epoch: number(words[6]),
            connected: words[7] == "connected",
            slots: Vec::new(),
            migrating: Vec::new(),
            importing: Vec::new(),
        };
        node.parse_address(words[1]).ok_or_else(corrupt)?;
        for name in words[2].split(',') {
            node.flags |= match name {
                "noflags" => 0,
                "primary" => flag::PRIMARY,
                "replica" => flag::REPLICA,
                name => FLAG_NAMES
                    .iter()
                    .find(|(_, known)| *known == name)
                    .map(|(bit, _)| *bit)
                    .ok_or_else(|| Corrupt::Flag(name.to_owned()))?,
            };
        }
        if words[3] != "-" {
            node.primary = Some(NodeId::parse(words[3].as_bytes()).ok_or_else(corrupt)?);
        }
        for word in &words[8..] {
            node.parse_slots(word).ok_or_else(corrupt)?;
        }
        Ok(node)
    }

    fn parse_address(&mut self, word: &str) -> Option<()> {
        let mut fields = word.split(',');
        let address = fields.next()?;
        if let Some(hostname) = fields.next() {
            self.announced.hostname = hostname.to_owned();
        }
        let (ip, ports) = address.rsplit_once(':')?;
        self.ip = ip.to_owned();
        let (port, cport) = match ports.split_once('@') {
            Some((port, cport)) => (number(port), number(cport)),
            None => {
                let port: u16 = number(ports);
                (port, port.wrapping_add(10_000))
            }
        };
        self.tcp_port = port;
        self.cport = cport;
        for field in fields {
            let (name, value) = field.split_once('=')?;
            if value.contains('=') || field.bytes().any(|b| b"!#$%&()*+;<>?@[]^{|}~".contains(&b)) {
                return None;
            }
            let announced = &mut self.announced;
            match name {
                "availability-zone" => announced.availability_zone = value.to_owned(),
                "client-tls-port" => announced.client_tls_port = number(value),
                "client-tcp-port" => announced.client_port = number(value),
                "client-ipv6" => announced.client_ipv6 = value.to_owned(),
                "client-ipv4" => announced.client_ipv4 = value.to_owned(),
                "tls-port" => self.tls_port = number(value),
                "tcp-port" => {
                    // Then the address names the TLS port.
                    self.tls_port = self.tcp_port;
                    self.tcp_port = number(value);
                }
                "nodename" => announced.human_name = value.to_owned(),
                "shard-id" => self.shard_id = Some(NodeId::parse(value.as_bytes())?),
                _ => return None,
            }
        }
        Some(())
    }

    fn parse_slots(&mut self, word: &str) -> Option<()> {
        let slot = |text: &str| text.parse::<u16>().ok().filter(|slot| usize::from(*slot) < SLOTS);
        if let Some(open) = word.strip_prefix('[') {
            let open = open.strip_suffix(']')?;
            let (list, (number, id)) = match open.split_once("->-") {
                Some(parts) => (&mut self.migrating, parts),
                None => (&mut self.importing, open.split_once("-<-")?),
            };
            list.push((slot(number)?, NodeId::parse(id.as_bytes())?));
            return Some(());
        }
        let (start, end) = match word.split_once('-') {
            Some((start, end)) => (slot(start)?, slot(end)?),
            None => (slot(word)?, slot(word)?),
        };
        if start <= end {
            self.slots.push((start, end));
        }
        Some(())
    }
}

/// A number as C reads it: 0 if it is none.
fn number<T: std::str::FromStr + Default>(text: &str) -> T {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by a Valkey 9.1.2 node with every announcement configured, its names changed to ours.
    const FILE: &str = "\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 127.0.0.1:21104@21174,node4.example.com,availability-zone=zone-4,tls-port=0,nodename=human-4,shard-id=ssssssssssssssssssssssssssssssssssssssss master - 0 1795312281862 0 connected
bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 127.0.0.1:21101@21171,,tls-port=0,shard-id=ssssssssssssssssssssssssssssssssssssssst myself,master - 0 0 7 connected 0-5 9 [7->-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa] [8-<-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]
cccccccccccccccccccccccccccccccccccccccc ::1:21102@21172,,client-tls-port=7,client-tcp-port=8,client-ipv6=fd00::1,client-ipv4=10.0.0.1,tls-port=0 slave,fail,nofailover bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 12 13 7 disconnected
vars currentEpoch 7 lastVoteEpoch 6
";

    #[test]
    fn the_file_is_read_and_written_as_by_the_reference() {
        let saved = Saved::parse(FILE.as_bytes()).expect("a good file");
        assert_eq!(saved.nodes.len(), 3);
        assert_eq!((saved.current_epoch, saved.last_vote_epoch), (7, 6));
        assert_eq!(saved.nodes[0].announced.availability_zone, "zone-4");
        assert_eq!(saved.nodes[1].slots, [(0, 5), (9, 9)]);
        assert_eq!(saved.nodes[2].ip, "::1");
        assert_eq!(saved.write(), FILE);
    }

    #[test]
    fn older_files_are_read() {
        let text = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1.2.3.4:6379 myself,primary - 0 0 3 connected\n\
                    vars currentEpoch 9 lastVoteEpoch 1 newThing 5\n";
        let saved = Saved::parse(text.as_bytes()).expect("a good file");
        assert_eq!(saved.nodes[0].cport, 16379);
        assert_eq!(saved.nodes[0].shard_id, None);
        assert_eq!(saved.unknown_variables, ["newThing"]);
        let tls = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1.2.3.4:7000@17000,h,tcp-port=6999 myself,master - 0 0 3 connected";
        let saved = Saved::parse(tls.as_bytes()).expect("a good file");
        assert_eq!((saved.nodes[0].tcp_port, saved.nodes[0].tls_port), (6999, 7000));
    }

    #[test]
    fn damaged_files_are_refused() {
        let me = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1.2.3.4:6379@16379,,tls-port=0 myself,master - 0 0 3 connected";
        assert!(Saved::parse(me.as_bytes()).is_ok());
        for damaged in [
            String::new(),
            me.replace("myself,", ""),
            me.replace("aaaa", "AAAA"),
            me.replace("tls-port", "tls-pot"),
            me.replace("tls-port=0", "tls-port"),
            me.replace("tls-port=0", "availability-zone=x#y"),
            me.replace("myself,master", "myself,mister"),
            format!("{me} 16384"),
            format!("{me} [5-?-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]"),
            format!("{me}\n{me}"),
            format!("{me}\nvars currentEpoch"),
            me.replace(" connected", ""),
        ] {
            assert!(Saved::parse(damaged.as_bytes()).is_err(), "{damaged}");
        }
    }

    #[test]
    fn unsafe_texts_are_told_from_safe_ones() {
        assert!(is_safe_text("zone-1.eu_west") && is_safe_text(""));
        for text in ["x,y", "a b", "a=b", "a#", "a\n", "a\"b"] {
            assert!(!is_safe_text(text), "{text}");
        }
    }
}
