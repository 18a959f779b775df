use super::*;
use crate::slot::Slot;

fn id(letter: u8) -> [u8; 40] {
    [letter; 40]
}

fn a_header() -> Box<Header> {
    Box::new(Header {
        sender: NodeId(id(b'a')),
        port: 21101,
        other_port: 0,
        cport: 21171,
        ip: String::new(),
        current_epoch: 7,
        config_epoch: 4,
        offset: 99,
        slots: (5461..=10922).map(Slot).collect(),
        replica_of: None,
        flags: 0x1c11,
        state_fail: false,
        message_flags: message_flag::EXTENSIONS,
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("digits"), 16).expect("digits"))
        .collect()
}

/// The two light packets captured in the spec page, section 2.2.
#[test]
fn light_packets_are_those_of_the_reference() {
    let plain = Packet {
        kind: Kind::Publish,
        header: None,
        body: Body::Publish { channel: b"chan".to_vec(), message: b"hello".to_vec() },
    };
    let wire = hex("52436d62 00000021 0001 0000 8004 0000 00000004 00000005 6368616e 68656c6c6f");
    assert_eq!(encode(&plain), wire);
    assert_eq!(decode(&wire), Ok(plain));
    let sharded = Packet {
        kind: Kind::PublishShard,
        header: None,
        body: Body::Publish { channel: b"{06S}x".to_vec(), message: b"hello-shard".to_vec() },
    };
    let wire =
        hex("52436d62 00000029 0001 0000 800a 0000 00000006 0000000b 7b3036537d78 68656c6c6f2d7368617264");
    assert_eq!(encode(&sharded), wire);
    assert_eq!(decode(&wire), Ok(sharded));
}

/// Offsets of the annotated capture, section 24.
#[test]
fn a_ping_with_everything_lies_as_captured() {
    let entry = GossipEntry {
        id: id(b'b'),
        ping_sent: 0,
        pong_received: 0x6b02_4b71,
        ip: "127.0.0.1".into(),
        port: 21103,
        cport: 21173,
        flags: 0x0402,
        other_port: 0,
    };
    let packet = Packet {
        kind: Kind::Ping,
        header: Some(a_header()),
        body: Body::Gossip {
            entries: vec![entry.clone(), entry.clone(), entry],
            extensions: vec![
                Extension::Hostname("node1.example.com".into()),
                Extension::HumanName("human-1".into()),
                Extension::ClientIpv4("10.1.2.3".into()),
                Extension::ClientIpv6("fd00::1".into()),
                Extension::ClientPort(7001),
                Extension::ClientTlsPort(7002),
                Extension::AvailabilityZone("zone-1".into()),
                Extension::Forgotten { id: id(b'f'), ttl_s: 57 },
                Extension::Forgotten { id: id(b'e'), ttl_s: 41 },
                Extension::ShardId(id(b's')),
            ],
        },
    };
    let bytes = encode(&packet);
    assert_eq!(bytes.len(), 2864);
    let at = |offset: usize, wire: &str| {
        let wire = hex(wire);
        assert_eq!(bytes[offset..offset + wire.len()], wire, "at {offset:#x}");
    };
    at(0, "52436d62 00000b30 0001 526d 0000 0003 0000000000000007 0000000000000004");
    at(0x50 + 0x2aa, "e0");
    at(0x8a6, "000a");
    at(0x8c6, "0000 52b3 1c11 00 040000");
    at(0x8fc, "6b024b71");
    at(0x92e, "526f 52b5 0402 0000 0000");
    at(0xa08, "00000020 0000 0000");
    at(0xa28, "00000010 0001 0000");
    at(0xa38, "00000018 0004 0000");
    at(0xa50, "00000010 0005 0000");
    at(0xa60, "00000010 0006 0000 1b59 000000000000");
    at(0xa70, "00000010 0007 0000 1b5a 000000000000");
    at(0xa80, "00000010 0008 0000");
    at(0xa90, "00000038 0002 0000");
    at(0xac0, "0000000000000039");
    at(0xb00, "00000030 0003 0000");
    assert_eq!(frame(&bytes), Frame::Packet(2864));
    assert_eq!(decode(&bytes), Ok(packet));
}

#[test]
fn every_type_is_read_as_it_was_written() {
    let bodies = [
        (Kind::Fail, Body::Fail { id: id(b'x') }, 2296),
        (Kind::Publish, Body::Publish { channel: b"c".to_vec(), message: vec![0; 10] }, 2256 + 8 + 11),
        (Kind::AuthRequest, Body::Empty, 2256),
        (Kind::AuthAck, Body::Empty, 2256),
        (Kind::ManualFailoverStart, Body::Empty, 2256),
        (
            Kind::Update,
            Body::Update { config_epoch: 9, id: id(b'u'), slots: [Slot(7)].into_iter().collect() },
            4352,
        ),
        (Kind::Module, Body::Module { module: *b"12345678", kind: 3, payload: b"abc".to_vec() }, 2256 + 16),
    ];
    for (kind, body, length) in bodies {
        let mut header = a_header();
        header.replica_of = Some(NodeId(id(b'p')));
        header.ip = "10.0.0.1".into();
        header.state_fail = true;
        let packet = Packet { kind, header: Some(header), body };
        let bytes = encode(&packet);
        assert_eq!(bytes.len(), length, "{kind:?}");
        assert_eq!(decode(&bytes), Ok(packet));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode(&longer).is_err(), "{kind:?} with a byte too many");
        assert!(decode(&bytes[..bytes.len() - 1]).is_err(), "{kind:?} with a byte too few");
    }
}

#[test]
fn what_is_not_the_bus_ends_the_connection() {
    assert_eq!(frame(b"RCmb\0\0"), Frame::Incomplete);
    assert_eq!(frame(b"GET / HTTP/1.1\r\n"), Frame::NotTheBus);
    let mut header = b"RCmb\0\0\x08\xcf\0\x01\0\0\0\0".to_vec();
    assert_eq!(frame(&header), Frame::NotTheBus, "one byte below the header");
    header[7] = 0xd0;
    assert_eq!(frame(&header), Frame::Packet(2256));
}

#[test]
fn bad_packets_are_told_apart() {
    let ping = Packet {
        kind: Kind::Ping,
        header: Some(a_header()),
        body: Body::Gossip { entries: vec![], extensions: vec![Extension::Hostname("h".into())] },
    };
    let good = encode(&ping);
    let with = |offset: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[offset..offset + bytes.len()].copy_from_slice(bytes);
        decode(&bad)
    };
    assert_eq!(with(8, &[0, 2]), Err(Invalid::Version(2)));
    assert_eq!(with(12, &[0, 11]), Err(Invalid::UnknownKind(11)));
    assert_eq!(with(12, &[0x80, 0]), Err(Invalid::Light(Kind::Ping)));
    assert!(matches!(with(14, &[0, 9]), Err(Invalid::GossipCount { count: 9, .. })));
    assert!(matches!(with(HEADER_BYTES, &[0, 0, 0, 9]), Err(Invalid::Padding { .. })));
    assert!(matches!(with(HEADER_BYTES, &[0, 0, 0, 0]), Err(Invalid::Exceeds { .. })));
    assert!(matches!(with(HEADER_BYTES, &[0, 0, 1, 0]), Err(Invalid::Exceeds { .. })));
    assert!(matches!(with(2253, &[0]), Err(Invalid::Length { .. })), "extensions without the flag");
    assert_eq!(decode(b"RCmb"), Err(Invalid::Short));
}
