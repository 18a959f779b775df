//! Compact encodings from outside (RDB files, RESTORE, a primary's snapshot): refused, or sound enough for everything
//! that is done to them later. The first byte chooses the encoding.

use skuld::lzf;
use skuld::rng::Rng;
use skuld::types::Item;
use skuld::types::hyperloglog;
use skuld::types::intset::Intset;
use skuld::types::listpack::Listpack;

const DECOMPRESSED_BYTES_MAX: usize = 1 << 16;

pub fn run(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    match kind % 4 {
        0 => listpack(bytes),
        1 => intset(bytes),
        2 => hyper_log_log(bytes),
        _ => compression(bytes),
    }
}

fn listpack(bytes: &[u8]) {
    let Some(mut pack) = Listpack::from_foreign(bytes) else { return };
    assert_eq!(pack.as_bytes(), bytes);
    let forward: Vec<Vec<u8>> = pack.iter().map(Item::to_vec).collect();
    assert_eq!(pack.len(), forward.len());
    let mut backward = Vec::new();
    let mut at = pack.last();
    while let Some(pos) = at {
        backward.push(pack.get(pos).to_vec());
        at = pack.prev(pos);
    }
    backward.reverse();
    assert_eq!(forward, backward);
    pack.append(b"tail");
    pack.append_int(-1);
    pack.prepend(b"head");
    assert_eq!(pack.len(), forward.len() + 3);
    if let Some(pos) = pack.seek(1) {
        pack.replace(pos, Item::Str(&[b'x'; 5000]));
        pack.remove(pos);
    }
    pack.remove_range(0, 1);
    let rebuilt = Listpack::from_foreign(pack.as_bytes()).expect("what we write is sound");
    assert_eq!(rebuilt.len(), pack.len());
}

fn intset(bytes: &[u8]) {
    let Some(mut set) = Intset::from_foreign(bytes) else { return };
    assert_eq!(set.as_bytes(), bytes);
    let members: Vec<i64> = set.iter().collect();
    assert_eq!(members.len(), set.len());
    assert!(members.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(members.iter().all(|&member| set.contains(member)));
    for value in [0, i64::from(i16::MAX) + 1, i64::MIN, i64::MAX] {
        set.insert(value);
        assert!(set.contains(value));
    }
    for member in members {
        assert!(set.remove(member) && !set.contains(member));
    }
}

/// Any string that begins like a HyperLogLog is taken for one by the PF commands.
fn hyper_log_log(bytes: &[u8]) {
    if !hyperloglog::is_valid(bytes) {
        return;
    }
    let _ = hyperloglog::describe_sparse(bytes);
    let _ = hyperloglog::registers(bytes);
    let _ = hyperloglog::count(&mut bytes.to_vec());
    let mut grown = bytes.to_vec();
    for element in [&b"a"[..], b"b", b"", b"\xff"] {
        if hyperloglog::add(&mut grown, element, 3000).is_err() {
            break;
        }
        assert!(hyperloglog::is_valid(&grown));
    }
    let mut dense = bytes.to_vec();
    if hyperloglog::make_dense(&mut dense).is_ok() {
        assert!(hyperloglog::is_dense(&dense) && hyperloglog::is_valid(&dense));
    }
}

fn compression(bytes: &[u8]) {
    if let Some(packed) = lzf::compress(bytes, bytes.len()) {
        assert!(packed.len() <= bytes.len());
        assert_eq!(lzf::decompress(&packed, bytes.len()).as_deref(), Some(bytes));
    }
    if let Some((size, packed)) = bytes.split_at_checked(2) {
        let size = usize::from(u16::from_le_bytes([size[0], size[1]])).min(DECOMPRESSED_BYTES_MAX);
        assert!(lzf::decompress(packed, size).is_none_or(|plain| plain.len() == size));
    }
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let kind = rng.below(4) as u8;
    let mut data = vec![kind];
    match kind {
        0 => {
            let mut pack = Listpack::new();
            for _ in 0..rng.below(8) {
                match rng.below(3) {
                    0 => pack.append_int(rng.next_u64() as i64 >> rng.below(64)),
                    1 => pack.append(&vec![b'a'; 1 << rng.below(13)]),
                    _ => pack.append(b"ab"),
                };
            }
            data.extend_from_slice(pack.as_bytes());
        }
        1 => {
            let mut set = Intset::new();
            for _ in 0..rng.below(8) {
                set.insert(rng.next_u64() as i64 >> rng.below(64));
            }
            data.extend_from_slice(set.as_bytes());
        }
        2 => {
            let mut log = hyperloglog::create();
            for n in 0..rng.below(20) {
                // A value that was just made is sound.
                let _ = hyperloglog::add(&mut log, &n.to_le_bytes(), 3000);
            }
            data.extend_from_slice(&log);
        }
        _ => {
            let piece: Vec<u8> = (0..rng.below(9)).map(|_| rng.next_u64() as u8).collect();
            for _ in 0..rng.below(9) {
                data.extend_from_slice(&piece);
            }
        }
    }
    data
}

pub fn words() -> Vec<&'static [u8]> {
    vec![b"\0\0", b"\xff", b"\x80", b"\xf0", b"\xf1", b"\xe0", b"\x7f\xff", b"HYLL", b"\x00\x40"]
}
