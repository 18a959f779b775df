//! Packets of the cluster bus, byte for byte those of Valkey 9.1 (spec page cluster-bus.md, sections 2 to 6).
//!
//! ```text
//!  normal: [ 2256 bytes: signature, length, version, port, type, count, epochs, offset, sender, slots, ... ][ body ]
//!  light:  [ 16 bytes: signature, length, version, -, type with the high bit, - ][ body ]
//! ```
//!
//! Every multi-byte number is big endian, but the module id of MODULE, which is opaque.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use super::bitmap::SlotBitmap;
use super::id::NodeId;

pub use decode::{Frame, Invalid, decode, frame};
pub use encode::encode;

/// Bytes of a normal header.
pub const HEADER_BYTES: usize = 2256;
/// Bytes of a light header.
pub const LIGHT_HEADER_BYTES: usize = 16;
/// Bytes of one gossip entry.
pub const GOSSIP_BYTES: usize = 104;
/// Bytes of an address as text, padded with zeros.
pub const ADDRESS_BYTES: usize = 46;
/// The bit of the type that says that the header is light.
pub const LIGHT_BIT: u16 = 0x8000;
/// Bytes needed to know a packet's length.
pub const FRAME_BYTES: usize = 14;

/// Message flags, first byte.
pub mod message_flag {
    /// The sender, a primary, holds its clients back for a manual failover.
    pub const PAUSED: u8 = 0x01;
    /// Vote although the primary is not known to have failed.
    pub const FORCE_ACK: u8 = 0x02;
    /// The sender understands ping extensions.
    pub const EXTENSIONS: u8 = 0x04;
}

/// Flags of a node, in headers and gossip (spec page cluster-bus.md, section 4).
pub mod flag {
    pub const PRIMARY: u16 = 0x0001;
    pub const REPLICA: u16 = 0x0002;
    pub const PFAIL: u16 = 0x0004;
    pub const FAIL: u16 = 0x0008;
    pub const MYSELF: u16 = 0x0010;
    pub const HANDSHAKE: u16 = 0x0020;
    pub const NOADDR: u16 = 0x0040;
    pub const MEET: u16 = 0x0080;
    pub const MIGRATE_TO: u16 = 0x0100;
    pub const NOFAILOVER: u16 = 0x0200;
    pub const EXTENSIONS: u16 = 0x0400;
    pub const LIGHT_PUBLISH: u16 = 0x0800;
    /// Light MODULE headers and repeated MEETs.
    pub const LIGHT_MODULE: u16 = 0x1000;
    pub const MY_PRIMARY_FAIL: u16 = 0x2000;
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Ping,
    Pong,
    Meet,
    Fail,
    Publish,
    AuthRequest,
    AuthAck,
    Update,
    ManualFailoverStart,
    Module,
    PublishShard,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Ping,
        Kind::Pong,
        Kind::Meet,
        Kind::Fail,
        Kind::Publish,
        Kind::AuthRequest,
        Kind::AuthAck,
        Kind::Update,
        Kind::ManualFailoverStart,
        Kind::Module,
        Kind::PublishShard,
    ];

    /// The type with this number.
    pub fn from_number(number: u16) -> Option<Kind> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name CLUSTER INFO uses.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping",
            Kind::Pong => "pong",
            Kind::Meet => "meet",
            Kind::Fail => "fail",
            Kind::Publish => "publish",
            Kind::AuthRequest => "auth-req",
            Kind::AuthAck => "auth-ack",
            Kind::Update => "update",
            Kind::ManualFailoverStart => "mfstart",
            Kind::Module => "module",
            Kind::PublishShard => "publishshard",
        }
    }

    /// Whether the type has a form with a light header.
    pub fn may_be_light(self) -> bool {
        matches!(self, Kind::Publish | Kind::Module | Kind::PublishShard)
    }
}

/// What a normal header says of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub sender: NodeId,
    /// The client port of the transport the cluster uses.
    pub port: u16,
    /// The other client port, 0 if there is none.
    pub other_port: u16,
    pub cport: u16,
    /// Empty: the receiver takes the peer's address.
    pub ip: String,
    pub current_epoch: u64,
    /// That of its primary, if the sender is a replica.
    pub config_epoch: u64,
    pub offset: u64,
    /// Those of its primary, if the sender is a replica.
    pub slots: SlotBitmap,
    pub replica_of: Option<NodeId>,
    pub flags: u16,
    pub state_fail: bool,
    pub message_flags: u8,
}

/// What a node tells of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    /// The bytes in an id's place; anybody may have written them.
    pub id: [u8; 40],
    /// Unix seconds; 0 if no ping is pending.
    pub ping_sent: u32,
    /// Unix seconds.
    pub pong_received: u32,
    pub ip: String,
    pub port: u16,
    pub cport: u16,
    pub flags: u16,
    pub other_port: u16,
}

/// What else a PING, PONG or MEET tells of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    Hostname(String),
    HumanName(String),
    /// A node was forgotten; seconds for which it must not come back by gossip.
    Forgotten {
        id: [u8; 40],
        ttl_s: u64,
    },
    ShardId([u8; 40]),
    ClientIpv4(String),
    ClientIpv6(String),
    ClientPort(u16),
    ClientTlsPort(u16),
    AvailabilityZone(String),
    /// Of a type that is not known here.
    Unknown(u16),
}

/// What a message carries behind its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// PING, PONG and MEET.
    Gossip {
        entries: Vec<GossipEntry>,
        extensions: Vec<Extension>,
    },
    Fail {
        id: [u8; 40],
    },
    /// PUBLISH and PUBLISHSHARD.
    Publish {
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    Update {
        config_epoch: u64,
        id: [u8; 40],
        slots: SlotBitmap,
    },
    Module {
        module: [u8; 8],
        kind: u8,
        payload: Vec<u8>,
    },
    /// FAILOVER_AUTH_REQUEST, FAILOVER_AUTH_ACK, MFSTART.
    Empty,
}

/// A packet. Without a header it is a light one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub kind: Kind,
    pub header: Option<Box<Header>>,
    pub body: Body,
}
