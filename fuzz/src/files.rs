//! Files from outside: RDB files however they are cut into pieces, append-only files, their manifests. The first byte
//! chooses.

use skuld::aof::manifest::Manifest;
use skuld::aof::scan::{Frame, frame};
use skuld::config::RdbVersionCheck;
use skuld::effects::encode_command;
use skuld::keyspace::{Entry, NewValue};
use skuld::rdb::file::{FileError, FileItem, FileReader, FileWriter, Usage};
use skuld::rdb::{Compression, Limits};
use skuld::rng::Rng;

use crate::digest::digest_of;
use crate::one_in;

pub fn run(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    match choice % 3 {
        0 => rdb(choice, body),
        1 => commands(body),
        _ => manifest(body),
    }
}

/// What a reader makes of a file that comes in pieces of this size: counts, digests of keys, and how it ended.
fn read(file: &[u8], piece: usize) -> (Vec<String>, Option<FileError>, u64) {
    let mut reader = FileReader::new(RdbVersionCheck::Relaxed, false, Limits::default());
    let mut pieces = file.chunks(piece);
    let mut seen = Vec::new();
    loop {
        match reader.next_item() {
            Ok(Some(FileItem::End)) => return (seen, None, reader.offset()),
            Ok(Some(FileItem::Key(key))) => {
                let entry = Entry::new(&key.key, NewValue::Owned(key.value), key.deadline);
                let mut again = FileWriter::new(Compression::On, true);
                again.entry(&entry, key.usage);
                assert!(!again.finish().is_empty());
                seen.push(format!("{:?} {:?}", digest_of(&entry), key.usage));
            }
            Ok(Some(FileItem::Database(number))) => seen.push(format!("database {number}")),
            Ok(Some(_)) => seen.push("other".into()),
            Ok(None) => match pieces.next() {
                Some(piece) => reader.push(piece),
                None => reader.complete(),
            },
            Err(error) => return (seen, Some(error), reader.offset()),
        }
        assert!(reader.offset() <= file.len() as u64);
    }
}

fn rdb(choice: u8, body: &[u8]) {
    let file = [b"VALKEY080", body].concat();
    let whole = read(&file, file.len());
    assert_eq!(read(&file, 1 + usize::from(choice)), whole, "pieces change what is read");
    read(body, 64);
}

/// Frames lie one behind the other, are whole, and are found again when they are encoded anew.
fn commands(body: &[u8]) {
    let mut rest = body;
    while !rest.is_empty() {
        match frame(rest) {
            Frame::Command { length, words } => {
                assert!(length <= rest.len() && !words.is_empty());
                let words: Vec<&[u8]> = words.into_iter().map(|w| &rest[w]).collect();
                let mut again = Vec::new();
                encode_command(&mut again, &words);
                let Frame::Command { length: same, .. } = frame(&again) else { panic!("our own command") };
                assert_eq!(same, again.len());
                for end in (1..again.len()).step_by(again.len() / 8 + 1) {
                    assert_eq!(frame(&again[..end]), Frame::Incomplete);
                }
                rest = &rest[length..];
            }
            Frame::Annotation { length } => rest = &rest[length..],
            Frame::Incomplete | Frame::Malformed(_) => return,
        }
    }
}

fn manifest(body: &[u8]) {
    let Ok(manifest) = Manifest::parse(body) else { return };
    if manifest.is_empty() && manifest.history.is_empty() {
        return;
    }
    let again = Manifest::parse(manifest.text().as_bytes()).expect("our own manifest");
    assert_eq!(again.text(), manifest.text());
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let choice = rng.below(256) as u8;
    let mut out = vec![choice];
    match choice % 3 {
        0 => {
            let mut writer = FileWriter::new(Compression::On, true);
            writer.aux(b"valkey-ver", b"9.1.2");
            for db in 0..1 + rng.below(3) as u32 {
                writer.database(db, 5, 1);
                for n in 0..rng.below(5) {
                    let deadline = one_in(rng, 3).then_some(4_102_444_800_000);
                    let usage = if one_in(rng, 2) { Usage::Idle(rng.below(1000)) } else { Usage::Unsaid };
                    let value = NewValue::Int(rng.below(1 << 40) as i64);
                    writer.entry(&Entry::new(format!("key:{n}").as_bytes(), value, deadline), usage);
                }
            }
            out.extend_from_slice(&writer.finish()[9..]);
        }
        1 => {
            for _ in 0..1 + rng.below(6) {
                if one_in(rng, 4) {
                    out.extend_from_slice(format!("#TS:{}\r\n", rng.below(1 << 31)).as_bytes());
                }
                let value = "x".repeat(rng.below(40) as usize);
                encode_command(&mut out, &[b"SET", b"key", value.as_bytes()]);
            }
        }
        _ => {
            let mut manifest = Manifest::default();
            manifest.next_base("a b.aof", "rdb");
            (0..rng.below(4)).for_each(|_| drop(manifest.next_incremental("a b.aof")));
            manifest.retire_before(rng.below(3));
            out.extend_from_slice(manifest.text().as_bytes());
        }
    }
    out
}

pub fn words() -> Vec<&'static [u8]> {
    vec![
        b"file ",
        b" seq ",
        b" type ",
        b"b\n",
        b"*3\r\n",
        b"$3\r\n",
        b"MULTI",
        b"\xfe\x00",
        b"\xfb\x01\x00",
        b"\xff",
        b"\xfa",
        b"\xfc",
        b"\xf5",
        b"\xf3",
        b"\x0b",
        b"\x16",
        b"#TS:",
    ]
}
