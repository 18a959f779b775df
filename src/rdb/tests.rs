//! Payloads and what Valkey 9.1.2 made of them.

use super::payload::{PayloadError, dump, restore, seal};
use super::{Compression, DecodeError, Limits, Progress, encode_value};
use crate::config::RdbVersionCheck;
use crate::digest;
use crate::keyspace::{Entry, NewValue};
use crate::types::hash::HashLimits;
use crate::types::set::SetLimits;
use crate::types::zset::ZSetLimits;

struct Recorded {
    name: &'static str,
    payload: Vec<u8>,
    /// `None` if Valkey refused it.
    encoding: Option<&'static str>,
    digest: &'static str,
    dump: Vec<u8>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn recorded() -> impl Iterator<Item = Recorded> {
    include_str!("recorded.txt").lines().filter(|line| !line.starts_with('#')).map(|line| {
        let parts: Vec<&'static str> = line.split(" | ").collect();
        let [name, payload, encoding, digest, dump] = parts[..] else { panic!("five parts: {line}") };
        let payload = bytes(payload);
        let refused = encoding == "refused";
        let dump = if refused || dump == "=" { payload.clone() } else { bytes(dump) };
        Recorded { name, encoding: (!refused).then_some(encoding), digest, dump, payload }
    })
}

fn restored(payload: &[u8], limits: &Limits) -> Result<Entry, PayloadError> {
    let value = restore(payload, RdbVersionCheck::Strict, limits)?;
    Ok(Entry::new(b"key", NewValue::Owned(value), None))
}

fn whole(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    encode_value(&mut out, &entry.value(), Compression::On);
    out
}

/// The value encoded in the smallest steps there are.
fn in_pieces(entry: &Entry) -> Vec<u8> {
    let (mut out, mut progress) = (Vec::new(), Progress::default());
    while !progress.step(&mut out, &entry.value(), Compression::On, 1) {}
    out
}

#[test]
fn payloads_become_what_they_become_in_valkey() {
    assert!(recorded().count() > 40);
    for case in recorded() {
        let name = case.name;
        let entry = match (restored(&case.payload, &Limits::default()), case.encoding) {
            (Err(PayloadError::Value(_)), None) => continue,
            (Ok(entry), Some(_)) => entry,
            (other, _) => panic!("{name}: {other:?}"),
        };
        assert_eq!(Some(entry.encoding_name()), case.encoding, "{name}");
        assert_eq!(digest::of_value(Some(&entry)).text(), case.digest, "{name}");
        let again = dump(&entry.value(), Compression::On);
        let in_order = case.encoding != Some("hashtable") || entry.free_effort() == 1;
        if in_order {
            assert_eq!(again, case.dump, "{name}");
        }
        assert_eq!(in_pieces(&entry), whole(&entry), "{name}");
        let plain = dump(&entry.value(), Compression::Off);
        let reread = restored(&plain, &Limits::default()).expect("its own payload");
        assert_eq!(digest::of_value(Some(&reread)).text(), case.digest, "{name}, uncompressed");
    }
}

/// The smallest limits make every value take its large encoding on the way in and out.
#[test]
fn values_are_the_same_in_their_large_encodings() {
    let limits = Limits {
        set: SetLimits { intset_entries_max: 0, listpack_entries_max: 0, listpack_value_max: 0 },
        hash: HashLimits { listpack_entries_max: 0, listpack_value_max: 0 },
        zset: ZSetLimits { listpack_entries_max: 0, listpack_value_max: 0 },
        ..Limits::default()
    };
    for case in recorded().filter(|case| case.encoding.is_some()) {
        let large = restored(&case.payload, &limits).expect(case.name);
        assert_ne!(large.encoding_name(), "intset", "{}", case.name);
        assert_eq!(digest::of_value(Some(&large)).text(), case.digest, "{}", case.name);
        assert_eq!(in_pieces(&large), whole(&large), "{}", case.name);
        let payload = dump(&large.value(), Compression::On);
        for limits in [&limits, &Limits::default()] {
            let again = restored(&payload, limits).expect(case.name);
            assert_eq!(digest::of_value(Some(&again)).text(), case.digest, "{}", case.name);
        }
    }
}

/// Every single-byte change and every truncation of every recorded value, sealed anew: an error, or a value that can
/// be written, read and read again.
#[test]
fn damaged_values_are_refused_or_sound() {
    let (mut refused, mut accepted) = (0, 0);
    for case in recorded() {
        let body = &case.payload[..case.payload.len() - 10];
        let mut check = |damaged: &[u8]| {
            let mut payload = damaged.to_vec();
            seal(&mut payload, 80);
            match restored(&payload, &Limits::default()) {
                Err(PayloadError::Value(_)) => refused += 1,
                Err(other) => panic!("{}: {other}", case.name),
                Ok(entry) => {
                    accepted += 1;
                    let sum = digest::of_value(Some(&entry));
                    let again = restored(&dump(&entry.value(), Compression::On), &Limits::default());
                    let again = again.unwrap_or_else(|error| panic!("{}: {error}: {damaged:x?}", case.name));
                    assert_eq!(digest::of_value(Some(&again)), sum, "{}: {damaged:x?}", case.name);
                }
            }
        };
        for end in 0..body.len() {
            check(&body[..end]);
        }
        for at in 0..body.len() {
            for change in [0x01, 0x80, 0xff, 0x10] {
                let mut damaged = body.to_vec();
                damaged[at] ^= change;
                check(&damaged);
            }
        }
    }
    assert!(refused > 1000 && accepted > 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn the_footer_decides_first() {
    let limits = Limits::default();
    let sealed = |body: &[u8], version| {
        let mut payload = body.to_vec();
        seal(&mut payload, version);
        payload
    };
    for (version, strict, relaxed) in [
        (0, false, false),
        (1, true, true),
        (11, true, true),
        (12, false, true),
        (79, false, true),
        (80, true, true),
        (81, false, true),
    ] {
        let payload = sealed(b"\x00\x01a", version);
        for (check, accepted) in [(RdbVersionCheck::Strict, strict), (RdbVersionCheck::Relaxed, relaxed)] {
            let error = restore(&payload, check, &limits).err();
            assert_eq!(error, (!accepted).then_some(PayloadError::Footer), "version {version}");
        }
    }
    let relaxed = |payload: &[u8]| restore(payload, RdbVersionCheck::Relaxed, &limits).err();
    assert_eq!(relaxed(&sealed(b"\x16\x00", 79)), Some(PayloadError::ForeignType(22)));
    assert_eq!(relaxed(&sealed(b"\x17\x00", 79)), Some(DecodeError::UnknownType(23).into()));
    assert_eq!(relaxed(&sealed(b"", 80)), Some(DecodeError::UnknownType(80).into()));
    assert_eq!(relaxed(&sealed(b"", 80)[1..]), Some(PayloadError::Footer));
    let mut unchecked = sealed(b"\x00\x01a", 80);
    let end = unchecked.len();
    unchecked[end - 8..].fill(0);
    assert_eq!(relaxed(&unchecked), Some(PayloadError::Footer));
    assert_eq!(relaxed(&sealed(b"\x00\x01abetween", 80)), None);
}

#[test]
fn a_module_type_is_named() {
    // The letters of "ReJSON-RL" and version 3.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place =
        |letter: &u8| letters.iter().position(|l| l == letter).expect("a letter of the alphabet") as u64;
    let id = b"ReJSON-RL".iter().fold(0u64, |id, letter| id << 6 | place(letter)) << 10 | 3;
    let mut payload = vec![7, 0x81];
    payload.extend_from_slice(&id.to_be_bytes());
    payload.push(0);
    seal(&mut payload, 80);
    let error = restored(&payload, &Limits::default()).err();
    assert_eq!(error, Some(DecodeError::Module("ReJSON-RL".to_owned()).into()));
}
