//! Writing packets.

use super::*;

/// Longest channel or message of PUBLISH and payload of MODULE, bytes: their lengths have 32 bits.
const PART_MAX: usize = u32::MAX as usize;

/// The bytes of a packet.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + 1024);
    let (entries, extensions) = match &packet.body {
        Body::Gossip { entries, extensions } => (entries.len(), extensions.len()),
        _ => (0, 0),
    };
    match &packet.header {
        Some(header) => write_header(&mut out, packet.kind, header, entries as u16, extensions as u16),
        None => {
            out.extend_from_slice(b"RCmb\0\0\0\0\0\x01\0\0");
            out.extend_from_slice(&(packet.kind as u16 | LIGHT_BIT).to_be_bytes());
            out.extend_from_slice(&[0, 0]);
        }
    }
    match &packet.body {
        Body::Gossip { entries, extensions } => {
            entries.iter().for_each(|entry| write_entry(&mut out, entry));
            extensions.iter().for_each(|extension| write_extension(&mut out, extension));
        }
        Body::Fail { id } => out.extend_from_slice(id),
        Body::Publish { channel, message } => {
            let (channel, message) = (cut(channel), cut(message));
            out.extend_from_slice(&(channel.len() as u32).to_be_bytes());
            out.extend_from_slice(&(message.len() as u32).to_be_bytes());
            out.extend_from_slice(channel);
            out.extend_from_slice(message);
        }
        Body::Update { config_epoch, id, slots } => {
            out.extend_from_slice(&config_epoch.to_be_bytes());
            out.extend_from_slice(id);
            out.extend_from_slice(slots.as_bytes());
        }
        Body::Module { module, kind, payload } => {
            let payload = cut(payload);
            out.extend_from_slice(module);
            out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            out.push(*kind);
            out.extend_from_slice(payload);
        }
        Body::Empty => {}
    }
    let length = (out.len() as u32).to_be_bytes();
    out[4..8].copy_from_slice(&length);
    out
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(PART_MAX)]
}

fn write_header(out: &mut Vec<u8>, kind: Kind, header: &Header, entries: u16, extensions: u16) {
    out.extend_from_slice(b"RCmb\0\0\0\0\0\x01");
    out.extend_from_slice(&header.port.to_be_bytes());
    out.extend_from_slice(&(kind as u16).to_be_bytes());
    out.extend_from_slice(&entries.to_be_bytes());
    out.extend_from_slice(&header.current_epoch.to_be_bytes());
    out.extend_from_slice(&header.config_epoch.to_be_bytes());
    out.extend_from_slice(&header.offset.to_be_bytes());
    out.extend_from_slice(header.sender.as_bytes());
    out.extend_from_slice(header.slots.as_bytes());
    match &header.replica_of {
        Some(primary) => out.extend_from_slice(primary.as_bytes()),
        None => out.extend_from_slice(&[0; 40]),
    }
    write_text(out, &header.ip, ADDRESS_BYTES);
    out.extend_from_slice(&extensions.to_be_bytes());
    out.extend_from_slice(&[0; 30]);
    out.extend_from_slice(&header.other_port.to_be_bytes());
    out.extend_from_slice(&header.cport.to_be_bytes());
    out.extend_from_slice(&header.flags.to_be_bytes());
    out.push(u8::from(header.state_fail));
    out.extend_from_slice(&[header.message_flags, 0, 0]);
    debug_assert_eq!(out.len(), HEADER_BYTES);
}

/// Text in a field of `width` bytes, ended by at least one zero.
fn write_text(out: &mut Vec<u8>, text: &str, width: usize) {
    let bytes = &text.as_bytes()[..text.len().min(width - 1)];
    out.extend_from_slice(bytes);
    out.resize(out.len() + width - bytes.len(), 0);
}

fn write_entry(out: &mut Vec<u8>, entry: &GossipEntry) {
    out.extend_from_slice(&entry.id);
    out.extend_from_slice(&entry.ping_sent.to_be_bytes());
    out.extend_from_slice(&entry.pong_received.to_be_bytes());
    write_text(out, &entry.ip, ADDRESS_BYTES);
    for number in [entry.port, entry.cport, entry.flags, entry.other_port, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_extension(out: &mut Vec<u8>, extension: &Extension) {
    let mut data = Vec::new();
    let number: u16 = match extension {
        Extension::Hostname(text) => text_data(&mut data, text, 0),
        Extension::HumanName(text) => text_data(&mut data, text, 1),
        Extension::Forgotten { id, ttl_s } => {
            data.extend_from_slice(id);
            data.extend_from_slice(&ttl_s.to_be_bytes());
            2
        }
        Extension::ShardId(id) => {
            data.extend_from_slice(id);
            3
        }
        Extension::ClientIpv4(text) => text_data(&mut data, text, 4),
        Extension::ClientIpv6(text) => text_data(&mut data, text, 5),
        Extension::ClientPort(port) => {
            data.extend_from_slice(&port.to_be_bytes());
            6
        }
        Extension::ClientTlsPort(port) => {
            data.extend_from_slice(&port.to_be_bytes());
            7
        }
        Extension::AvailabilityZone(text) => text_data(&mut data, text, 8),
        Extension::Unknown(number) => *number,
    };
    data.resize(data.len().next_multiple_of(8), 0);
    out.extend_from_slice(&(data.len() as u32 + 8).to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&data);
}

fn text_data(data: &mut Vec<u8>, text: &str, number: u16) -> u16 {
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    number
}
