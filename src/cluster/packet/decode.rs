//! Reading packets. Nothing here trusts a length: a packet is taken only if its parts fill it exactly.

use super::*;

/// What the first bytes of a stream say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// More bytes are needed to tell.
    Incomplete,
    /// A packet of so many bytes begins here.
    Packet(usize),
    /// This is not the bus: the connection is to be closed.
    NotTheBus,
}

/// Looks at the beginning of a stream for a packet.
pub fn frame(bytes: &[u8]) -> Frame {
    if bytes.len() < FRAME_BYTES {
        return Frame::Incomplete;
    }
    let length = number32(bytes, 4) as usize;
    let minimum = if number16(bytes, 12) & LIGHT_BIT != 0 { LIGHT_HEADER_BYTES } else { HEADER_BYTES };
    if &bytes[..4] != b"RCmb" || length < minimum { Frame::NotTheBus } else { Frame::Packet(length) }
}

/// Why a packet is dropped. The connection stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Another version of the bus: dropped without a word.
    #[error("version {0} of the bus is not spoken here")]
    Version(u16),
    #[error("Received unknown packet type: {0}")]
    UnknownKind(u16),
    #[error("Packet of type '{}' ({}) does not support light cluster header. Marking packet as invalid.", .0.name(), *.0 as u16)]
    Light(Kind),
    #[error("Received invalid {} packet of length {length} but expected length {expected}", .kind.name())]
    Length { kind: Kind, length: usize, expected: usize },
    #[error("Received invalid {} packet with gossip count {count} that exceeds total packet length ({length})", .kind.name())]
    GossipCount { kind: Kind, count: usize, length: usize },
    #[error("Received invalid {} packet with {what} that exceeds total packet length ({length})", .kind.name())]
    Exceeds { kind: Kind, what: &'static str, length: usize },
    #[error("Received a {} packet without proper padding ({length} bytes)", .kind.name())]
    Padding { kind: Kind, length: usize },
    #[error("a packet is shorter than its header")]
    Short,
}

/// Decodes one whole packet.
pub fn decode(bytes: &[u8]) -> Result<Packet, Invalid> {
    if bytes.len() < LIGHT_HEADER_BYTES {
        return Err(Invalid::Short);
    }
    let number = number16(bytes, 12);
    let light = number & LIGHT_BIT != 0;
    let kind = Kind::from_number(number & !LIGHT_BIT);
    if let (true, Some(kind)) = (light, kind.filter(|kind| !kind.may_be_light())) {
        return Err(Invalid::Light(kind));
    }
    let version = number16(bytes, 8);
    if version != 1 {
        return Err(Invalid::Version(version));
    }
    let kind = kind.ok_or(Invalid::UnknownKind(number & !LIGHT_BIT))?;
    let start = if light { LIGHT_HEADER_BYTES } else { HEADER_BYTES };
    if bytes.len() < start {
        return Err(Invalid::Short);
    }
    let rest = &bytes[start..];
    let exactly = |expected: usize| {
        if rest.len() == expected {
            Ok(())
        } else {
            Err(Invalid::Length { kind, length: bytes.len(), expected: start + expected })
        }
    };
    let body = match kind {
        Kind::Ping | Kind::Pong | Kind::Meet => gossip(kind, bytes)?,
        Kind::Fail => {
            exactly(40)?;
            Body::Fail { id: array(rest, 0) }
        }
        Kind::Publish | Kind::PublishShard => {
            let exceeds = |what| Invalid::Exceeds { kind, what, length: bytes.len() };
            if rest.len() < 8 {
                return Err(exceeds("channel length"));
            }
            let (channel, message) = (number32(rest, 0) as usize, number32(rest, 4) as usize);
            if channel > rest.len() - 8 {
                return Err(exceeds("channel length"));
            }
            if message > rest.len() - 8 - channel {
                return Err(exceeds("message length"));
            }
            exactly(8 + channel + message)?;
            Body::Publish { channel: rest[8..8 + channel].to_vec(), message: rest[8 + channel..].to_vec() }
        }
        Kind::AuthRequest | Kind::AuthAck | Kind::ManualFailoverStart => {
            exactly(0)?;
            Body::Empty
        }
        Kind::Update => {
            exactly(8 + 40 + BITMAP)?;
            let slots = SlotBitmap::from_bytes(&rest[48..]).unwrap_or_default();
            Body::Update { config_epoch: number64(rest, 0), id: array(rest, 8), slots }
        }
        Kind::Module => {
            let exceeds = Invalid::Exceeds { kind, what: "module payload length", length: bytes.len() };
            if rest.len() < 13 {
                return Err(exceeds);
            }
            let payload = number32(rest, 8) as usize;
            if payload > rest.len() - 13 {
                return Err(exceeds);
            }
            exactly(13 + payload)?;
            Body::Module { module: array(rest, 0), kind: rest[12], payload: rest[13..].to_vec() }
        }
    };
    let header = (!light).then(|| Box::new(header(bytes)));
    Ok(Packet { kind, header, body })
}

const BITMAP: usize = crate::cluster::bitmap::BITMAP_BYTES;

/// The header of a packet that is at least as long.
fn header(bytes: &[u8]) -> Header {
    let replica_of: [u8; 40] = array(bytes, 2128);
    Header {
        sender: NodeId(array(bytes, 40)),
        port: number16(bytes, 10),
        other_port: number16(bytes, 2246),
        cport: number16(bytes, 2248),
        ip: text(&bytes[2168..2168 + ADDRESS_BYTES]),
        current_epoch: number64(bytes, 16),
        config_epoch: number64(bytes, 24),
        offset: number64(bytes, 32),
        slots: SlotBitmap::from_bytes(&bytes[80..80 + BITMAP]).unwrap_or_default(),
        replica_of: (replica_of != [0; 40]).then_some(NodeId(replica_of)),
        flags: number16(bytes, 2250),
        state_fail: bytes[2252] != 0,
        message_flags: bytes[2253],
    }
}

fn gossip(kind: Kind, bytes: &[u8]) -> Result<Body, Invalid> {
    let length = bytes.len();
    let count = usize::from(number16(bytes, 14));
    let end = HEADER_BYTES + count * GOSSIP_BYTES;
    if end > length {
        return Err(Invalid::GossipCount { kind, count, length });
    }
    let entries = bytes[HEADER_BYTES..end].chunks_exact(GOSSIP_BYTES).map(entry).collect();
    let mut extensions = Vec::new();
    let mut at = end;
    if bytes[2253] & message_flag::EXTENSIONS != 0 {
        for _ in 0..number16(bytes, 2214) {
            let left = length - at;
            if left < 8 {
                return Err(Invalid::Exceeds { kind, what: "extension data", length });
            }
            let size = number32(bytes, at) as usize;
            if !size.is_multiple_of(8) {
                return Err(Invalid::Padding { kind, length: size });
            }
            // A length below its own header would make no progress.
            if size > left || size < 8 {
                return Err(Invalid::Exceeds { kind, what: "extension data", length });
            }
            extensions.push(extension(number16(bytes, at + 4), &bytes[at + 8..at + size]));
            at += size;
        }
    }
    if at != length {
        return Err(Invalid::Length { kind, length, expected: at });
    }
    Ok(Body::Gossip { entries, extensions })
}

fn entry(bytes: &[u8]) -> GossipEntry {
    GossipEntry {
        id: array(bytes, 0),
        ping_sent: number32(bytes, 40),
        pong_received: number32(bytes, 44),
        ip: text(&bytes[48..48 + ADDRESS_BYTES]),
        port: number16(bytes, 94),
        cport: number16(bytes, 96),
        flags: number16(bytes, 98),
        other_port: number16(bytes, 100),
    }
}

/// An extension of this type; one that is too short for its type counts as unknown.
fn extension(number: u16, data: &[u8]) -> Extension {
    match number {
        0 => Extension::Hostname(text(data)),
        1 => Extension::HumanName(text(data)),
        2 if data.len() >= 48 => Extension::Forgotten { id: array(data, 0), ttl_s: number64(data, 40) },
        3 if data.len() >= 40 => Extension::ShardId(array(data, 0)),
        4 => Extension::ClientIpv4(text(data)),
        5 => Extension::ClientIpv6(text(data)),
        6 if data.len() >= 2 => Extension::ClientPort(number16(data, 0)),
        7 if data.len() >= 2 => Extension::ClientTlsPort(number16(data, 0)),
        8 => Extension::AvailabilityZone(text(data)),
        number => Extension::Unknown(number),
    }
}

/// The text up to the first zero. What is not UTF-8 is replaced, so that no byte of it survives into our files.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has that length")
}

fn number16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}
