use super::*;
use crate::keyspace::NewValue;

/// Every type Valkey 9.1.2 writes, saved by it.
fn recorded() -> Vec<u8> {
    let hex: String = include_str!("recorded_file.txt").split_whitespace().collect();
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn reader() -> FileReader {
    FileReader::new(RdbVersionCheck::Strict, true, Limits::default())
}

/// Reads a file in pieces of that size.
fn items(file: &[u8], piece: usize) -> Result<Vec<FileItem>, FileError> {
    let mut reader = reader();
    let mut items = Vec::new();
    let mut pieces = file.chunks(piece);
    loop {
        match reader.next_item()? {
            Some(FileItem::End) => return Ok(items),
            Some(item) => items.push(item),
            None => match pieces.next() {
                Some(piece) => reader.push(piece),
                None => reader.complete(),
            },
        }
    }
}

/// The file that holds these items.
fn written(items: &[FileItem]) -> Vec<u8> {
    let mut writer = FileWriter::new(Compression::On, true);
    let mut out = Vec::new();
    let mut number = 0;
    for item in items {
        match item {
            FileItem::Aux { name, value } => writer.aux(name, value),
            FileItem::Function(code) => writer.function(code),
            FileItem::SlotImport { .. } | FileItem::Skipped(_) | FileItem::End => {}
            FileItem::Database(db) => number = *db as u32,
            FileItem::Sizes { keys, deadlines } => writer.database(number, *keys, *deadlines),
            FileItem::Key(key) => {
                let copy = Entry::new(&key.key, NewValue::Owned(copied(&key.value)), key.deadline);
                writer.entry(&copy, key.usage);
            }
        }
        if writer.buffered() > 100 {
            out.extend(writer.take());
        }
    }
    out.extend(writer.finish());
    out
}

fn copied(value: &Value) -> Value {
    match value {
        Value::Int(n) => Value::Int(*n),
        Value::Str(text, kind) => Value::Str(text.clone(), *kind),
        Value::List(list) => Value::List(list.clone()),
        Value::Set(set) => Value::Set(set.clone()),
        Value::ZSet(zset) => Value::ZSet(zset.clone()),
        Value::Hash(hash) => Value::Hash(hash.clone()),
        Value::Stream(stream) => Value::Stream(stream.clone()),
    }
}

#[test]
fn a_file_of_valkey_is_read_whole_however_it_comes() {
    let file = recorded();
    for piece in [1, 2, 7, 100, file.len()] {
        let items = items(&file, piece).expect("a sound file");
        let keys: Vec<String> = items
            .iter()
            .filter_map(|item| match item {
                FileItem::Key(key) => Some(String::from_utf8_lossy(&key.key).into_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(
            keys,
            [
                "zs:lp", "set:is", "set:ht", "h:lp", "s:int", "s:raw", "h:ht", "list:lp", "set:lp", "zs:sl",
                "h:ttl", "x", "d3"
            ]
        );
        let deadlines: Vec<i64> = items
            .iter()
            .filter_map(|item| if let FileItem::Key(key) = item { key.deadline } else { None })
            .collect();
        assert_eq!(deadlines, [4_102_444_800_000]);
        assert!(
            items.iter().any(|item| matches!(item, FileItem::Function(code) if code.starts_with(b"#!lua")))
        );
        assert!(items.iter().any(|item| matches!(item, FileItem::Aux { name, value }
            if name == b"valkey-ver" && value == b"9.1.2")));
        assert!(items.iter().any(|item| matches!(item, FileItem::Database(3))));
    }
}

#[test]
fn what_is_written_is_read_again_and_written_the_same() {
    let file = written(&items(&recorded(), 50).expect("a sound file"));
    let again = items(&file, 50).expect("our own file");
    assert_eq!(again.len(), items(&recorded(), 50).expect("a sound file").len());
    assert_eq!(written(&again), file);
    // What precedes the keys, whose encodings may differ, is what Valkey wrote.
    assert_eq!(file[..0x9a], recorded()[..0x9a]);
}

#[test]
fn what_follows_the_end_is_left() {
    let mut reader = reader();
    reader.push(&[&recorded()[..], b"*1\r\n"].concat());
    while !matches!(reader.next_item(), Ok(Some(FileItem::End))) {}
    assert_eq!(reader.rest(), b"*1\r\n");
}

#[test]
fn a_damaged_file_is_noticed() {
    let file = recorded();
    for at in 0..file.len() - 8 {
        let mut damaged = file.clone();
        damaged[at] ^= 0x04;
        assert!(items(&damaged, 200).is_err(), "byte {at}");
    }
    for end in 0..file.len() {
        assert_eq!(items(&file[..end], 200).err(), Some(DecodeError::Truncated.into()), "{end} bytes");
    }
    let mut unchecked = file.clone();
    let end = file.len();
    unchecked[end - 8..].fill(0);
    assert!(items(&unchecked, 200).is_ok());
}

#[test]
fn versions_are_judged_by_magic_and_number() {
    let body = b"\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    for (magic, strict, relaxed) in [
        ("REDIS0000", false, false),
        ("REDIS0001", true, true),
        ("REDIS0011", true, true),
        ("REDIS0012", false, true),
        ("REDIS0079", false, true),
        ("REDIS0080", false, false),
        ("VALKEY011", false, false),
        ("VALKEY079", false, false),
        ("VALKEY080", true, true),
        ("VALKEY081", false, true),
        ("REDISxxxx", false, false),
        ("NONSENSE0", false, false),
    ] {
        for (check, readable) in [(RdbVersionCheck::Strict, strict), (RdbVersionCheck::Relaxed, relaxed)] {
            let mut reader = FileReader::new(check, true, Limits::default());
            reader.push(&[magic.as_bytes(), body].concat());
            assert_eq!(matches!(reader.next_item(), Ok(Some(FileItem::Key(_)))), readable, "{magic}");
        }
    }
    let mut reader = reader();
    reader.push(b"REDIS0011\x16\x01k\x01\x01f\x01v");
    assert_eq!(reader.next_item().err(), Some(FileError::ForeignOpcode(22, 11)));
}

#[test]
fn empty_collections_are_skipped_and_legacy_opcodes_read() {
    let mut reader = reader();
    reader.push(b"REDIS0009\x02\x01e\x00\xfd\x01\0\0\0\xf9\x07\x00\x01k\xc0\x05\xf8\x40\xff\x00\x01j\x01v\xff\0\0\0\0\0\0\0\0");
    assert!(matches!(reader.next_item(), Ok(Some(FileItem::Skipped(key))) if key == b"e"));
    let key = |item| match item {
        Ok(Some(FileItem::Key(key))) => key,
        _ => panic!("no key"),
    };
    let first = key(reader.next_item());
    assert_eq!((first.deadline, first.usage), (Some(1000), Usage::Frequency(7)));
    assert!(matches!(first.value, Value::Int(5)));
    assert_eq!(key(reader.next_item()).usage, Usage::Idle(255));
    assert!(matches!(reader.next_item(), Ok(Some(FileItem::End))));
}
