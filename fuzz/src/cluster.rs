//! The cluster: packets of the bus, `nodes.conf`, and a whole node that gets whatever packets.

use skuld::cluster::config_file::Saved;
use skuld::cluster::machine::{Facts, Machine, Output, Settings};
use skuld::cluster::packet::{
    Body, Extension, Frame, GossipEntry, Header, Kind, Packet, decode, encode, flag, frame,
};
use skuld::cluster::{LinkId, NodeId, SlotBitmap};
use skuld::rng::Rng;
use skuld::slot::Slot;

/// A packet that is read is written back as something that reads the same.
pub fn run_packets(data: &[u8]) {
    let _ = frame(data);
    if let Ok(packet) = decode(data) {
        let again = encode(&packet);
        // Texts lose what is behind their end, and unknown extensions their content.
        assert!(again.len() <= data.len().max(again.len()));
        let same = decode(&again).expect("what was written is read");
        let unknown = |p: &Packet| matches!(&p.body, Body::Gossip { extensions, .. } if extensions.iter().any(|e| matches!(e, Extension::Unknown(_))));
        if !unknown(&packet) && !format!("{packet:?}").contains('\u{fffd}') {
            assert_eq!(same.kind, packet.kind);
            assert_eq!(same.header, packet.header);
        }
    }
}

/// A file that is read is written back as one that reads the same.
pub fn run_nodes_conf(data: &[u8]) {
    let Ok(saved) = Saved::parse(data) else { return };
    let facts = Facts { now: 1_760_000_000_000, ..Facts::default() };
    let mut machine = Machine::restore(&saved, Settings::default(), facts, 1);
    machine.start(facts);
    machine.assert_consistent();
    let text = machine.saved().write();
    // Names with blanks or quotes may have been quoted; a node of ours never writes such.
    if !data.iter().any(|b| b"\"'\\".contains(b)) {
        let again = Saved::parse(text.as_bytes()).expect("what was written is read");
        assert_eq!(again.nodes.len(), machine.saved().nodes.len());
    }
}

/// Bytes as a source of decisions; a shorter input makes the rest of them zero.
struct Tape<'a>(&'a [u8]);

impl Tape<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn id(&mut self) -> [u8; 40] {
        match self.below(8) {
            7 => [self.byte(); 40],
            n => [b'a' + n; 40],
        }
    }

    fn small(&mut self) -> u64 {
        u64::from(self.below(6))
    }

    fn slots(&mut self) -> SlotBitmap {
        let (start, long) = (u16::from(self.below(8)), u16::from(self.below(4)));
        (start..start + long).map(Slot).collect()
    }

    fn ip(&mut self) -> String {
        match self.below(5) {
            0 => String::new(),
            1 => "x,y z=1".to_owned(),
            n => format!("10.0.0.{n}"),
        }
    }

    fn flags(&mut self) -> u16 {
        let low = u16::from(self.byte());
        if self.below(2) == 0 { flag::PRIMARY } else { low | u16::from(self.below(64)) << 8 }
    }

    fn packet(&mut self) -> Vec<u8> {
        let kind = Kind::ALL[usize::from(self.below(11))];
        let replica_of = (self.below(3) == 0).then(|| NodeId(self.id()));
        let header = Header {
            sender: NodeId(self.id()),
            port: u16::from(self.below(4)),
            other_port: u16::from(self.below(2)),
            cport: u16::from(self.below(3)),
            ip: self.ip(),
            current_epoch: self.small(),
            config_epoch: self.small(),
            offset: self.small(),
            slots: self.slots(),
            replica_of,
            flags: self.flags(),
            state_fail: self.below(2) == 0,
            message_flags: self.below(8) | 4,
        };
        let body = match kind {
            Kind::Ping | Kind::Pong | Kind::Meet => Body::Gossip {
                entries: (0..self.below(4))
                    .map(|_| GossipEntry {
                        id: self.id(),
                        ping_sent: u32::from(self.byte()),
                        pong_received: u32::from(self.byte()) << 24,
                        ip: self.ip(),
                        port: u16::from(self.below(3)),
                        cport: u16::from(self.below(3)),
                        flags: self.flags(),
                        other_port: 0,
                    })
                    .collect(),
                extensions: (0..self.below(4))
                    .map(|_| match self.below(6) {
                        0 => Extension::Hostname(self.ip()),
                        1 => Extension::AvailabilityZone("a b".into()),
                        2 => Extension::Forgotten { id: self.id(), ttl_s: u64::from(self.byte()) << 56 },
                        3 => Extension::ShardId(self.id()),
                        4 => Extension::ClientPort(9),
                        _ => Extension::Unknown(99),
                    })
                    .collect(),
            },
            Kind::Fail => Body::Fail { id: self.id() },
            Kind::Publish | Kind::PublishShard => {
                Body::Publish { channel: vec![b'c'; usize::from(self.below(4))], message: vec![1, 2] }
            }
            Kind::Update => Body::Update { config_epoch: self.small(), id: self.id(), slots: self.slots() },
            Kind::Module => Body::Module { module: [7; 8], kind: 1, payload: vec![0; 3] },
            Kind::AuthRequest | Kind::AuthAck | Kind::ManualFailoverStart => Body::Empty,
        };
        let header = if self.below(12) == 0 && kind.may_be_light() { None } else { Some(Box::new(header)) };
        encode(&Packet { kind, header, body })
    }
}

/// A node and strangers, acquaintances and forgers on its bus.
pub fn run_node(data: &[u8]) {
    let mut tape = Tape(data);
    let mut facts = Facts { now: 1_760_000_000_000, offset: 5, primary_silent_ms: Some(0) };
    let settings = Settings { node_timeout: 1000, ..Settings::default() };
    let mut node = Machine::new(settings, facts, 3);
    node.start(facts);
    let mut links: Vec<LinkId> = Vec::new();
    let mut steps = 0;
    while !tape.0.is_empty() && steps < 200 {
        steps += 1;
        facts.now += i64::from(tape.byte()) * 4;
        facts.offset = tape.small();
        match tape.below(16) {
            0 => node.tick(facts),
            1 => links.push(node.accepted(facts, "10.0.0.2".into(), "10.0.0.1".into())),
            2 => {
                node.meet(facts, "10.0.0.3", 1, 2);
            }
            3 => {
                // Refusals are fine.
                let slots: Vec<Slot> = tape.slots().iter().collect();
                let _ = node.add_slots(facts, &slots);
            }
            4 => {
                let id = tape.id();
                let _ = node.replicate(facts, &id, true);
            }
            5 => {
                let id = tape.id();
                let _ = node.forget(facts, &id);
            }
            6 => {
                let _ = node.failover(facts, skuld::cluster::machine::FailoverKind::Force, "x");
            }
            7 => {
                if let Some(link) = links.last() {
                    node.disconnected(facts, *link);
                }
            }
            _ => {
                let mut bytes = tape.packet();
                if tape.below(9) == 0 {
                    let at = usize::from(tape.byte()) * 9 % bytes.len();
                    bytes[at] ^= tape.byte();
                }
                if matches!(frame(&bytes), Frame::Packet(length) if length == bytes.len()) {
                    let link = links.get(usize::from(tape.byte()) % links.len().max(1)).copied();
                    node.packet(facts, link.unwrap_or(LinkId(0)), &bytes);
                }
            }
        }
        for output in node.take_outputs() {
            match output {
                Output::Connect { link, .. } => {
                    links.push(link);
                    if tape.below(2) == 0 {
                        node.connected(facts, link, "10.0.0.4".into(), "10.0.0.1".into());
                    }
                }
                Output::Send { bytes, .. } => {
                    decode(&bytes).expect("what a node sends is a good packet");
                }
                Output::Save { .. } => {
                    Saved::parse(node.saved().write().as_bytes()).expect("what a node saves is a good file");
                }
                Output::Pause { .. } => node.paused(facts),
                _ => {}
            }
        }
        node.assert_consistent();
        links.truncate(64);
    }
}

pub fn make_packets(rng: &mut Rng) -> Vec<u8> {
    let bytes: Vec<u8> = (0..64).map(|_| rng.next_u64() as u8).collect();
    Tape(&bytes).packet()
}

pub fn make_nodes_conf(rng: &mut Rng) -> Vec<u8> {
    let mut lines = Vec::new();
    for number in 0..1 + rng.below(4) {
        let id = [b'a' + number as u8; 40];
        lines.extend_from_slice(&id);
        let mut words =
            |choices: &[&'static str]| lines.extend_from_slice(crate::pick(rng, choices).as_bytes());
        words(&[" 10.0.0.1:1@2,", " 10.0.0.1:1@2,host,", " :0@0,", " ::1:6379"]);
        words(&["tls-port=0", "tls-port=0,nodename=n,shard-id=", "availability-zone=z", "tcp-port=5", ""]);
        words(&[" master", " slave", " fail,master", " noaddr,slave", " handshake", " noflags"]);
        if number == 0 {
            lines.extend_from_slice(b",myself");
        }
        let mut words =
            |choices: &[&'static str]| lines.extend_from_slice(crate::pick(rng, choices).as_bytes());
        words(&[
            " -",
            " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            " qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
        ]);
        words(&[" 0 0 1 connected", " 5 6 7 disconnected", " x y z connected"]);
        words(&["", " 0-5", " 7 9-10", " 16383", " [5->-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb]"]);
        lines.push(b'\n');
    }
    lines.extend_from_slice(b"vars currentEpoch 5 lastVoteEpoch 0\n");
    lines
}

pub fn make_node(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(3000)).map(|_| rng.next_u64() as u8).collect()
}

pub fn words() -> Vec<&'static [u8]> {
    vec![
        b"RCmb",
        b"\0\x01",
        b"\x80\x04",
        b"vars",
        b"myself",
        b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"->-",
    ]
}
