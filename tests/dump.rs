//! DUMP and RESTORE against a real Valkey: each server understands what the other wrote, for every type and encoding,
//! and damaged payloads hurt nobody.
//!
//! - `SKULD_SEED`: one seed instead of the fixed ones; a failure prints it
//! - `SKULD_DUMP_VALUES`: values per seed (300)

mod support;

use std::path::PathBuf;

use skuld::config::RdbVersionCheck;
use skuld::keyspace::{Entry, NewValue};
use skuld::rdb::file::{FileItem, FileReader, FileWriter};
use skuld::rdb::{Compression, Limits};
use support::client::Client;
use support::parity::listed_commands;
use support::resp::Value;
use support::rng::Rng;
use support::server::{Launch, TempDir, reference_binary};
use support::text::{command_line, escape_short};

type Command = Vec<Vec<u8>>;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

fn words(line: &str) -> Command {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn call(client: &mut Client, command: &[Vec<u8>]) -> Value {
    match client.call(command) {
        Ok(frame) => frame.value,
        Err(none) => panic!("{}: {none}", command_line(command)),
    }
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) -> Value {
    let (command, end) = (format!("RESTORE {key} 0"), payload.to_vec());
    let mut command = words(&command);
    command.extend([end, b"REPLACE".to_vec()]);
    call(client, &command)
}

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    client.ask(&format!("DUMP {key}")).bytes().expect("DUMP of a key that is there").to_vec()
}

/// Encoding and signature of a value.
fn seen(client: &mut Client, key: &str) -> (String, String) {
    let digest = client.ask(&format!("DEBUG DIGEST-VALUE {key}"));
    let digest = digest.items().first().map_or_else(|| digest.text(), Value::text);
    assert!(digest.len() == 40, "not a signature: {digest}");
    (client.ask(&format!("OBJECT ENCODING {key}")).text(), digest)
}

fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(9) {
        0 => rng.range(-200, 200).to_string().into_bytes(),
        1 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into_bytes(),
        2 => Vec::new(),
        3 => b"ab".repeat(1 + rng.below(60)),
        4 => {
            let length = rng.below(200);
            rng.bytes(length)
        }
        5 => (*rng.pick(&["-0", "+1", "01", "1.5", "9223372036854775808", " 1", "inf"])).into(),
        _ => format!("word-{}", rng.below(1000)).into_bytes(),
    }
}

/// Mostly small, and around the limits of the compact encodings.
fn size(rng: &mut Rng) -> usize {
    match rng.below(8) {
        0 => 1,
        1 => 600,
        2 => 126 + rng.below(5),
        _ => 1 + rng.below(20),
    }
}

/// A command with `count` arguments, or groups of them, from `next`.
fn many(head: &str, count: usize, mut next: impl FnMut(usize) -> Command) -> Command {
    let mut command = words(head);
    (0..count).for_each(|index| command.extend(next(index)));
    command
}

/// Commands that make a value under the key `made`. `large`: whether lists may have elements with a node of their own.
fn build(rng: &mut Rng, large: bool) -> Vec<Command> {
    let count = size(rng);
    match rng.below(8) {
        0 => {
            let value = if rng.one_in(10) { b"long ".repeat(30_000) } else { text(rng) };
            vec![vec![b"SET".to_vec(), b"made".to_vec(), value]]
        }
        1 => {
            let mut list = many("RPUSH made", count, |_| vec![text(rng)]);
            if large && rng.one_in(4) {
                list.extend([vec![b'x'; 9000], b"after".to_vec()]);
            }
            vec![list]
        }
        2 => vec![many("SADD made", count, |_| {
            vec![(rng.next_u64() as i64 >> rng.below(60)).to_string().into_bytes()]
        })],
        3 => vec![many("SADD made", count, |_| vec![text(rng)])],
        4 => vec![many("ZADD made", count, |_| {
            let score = match rng.below(6) {
                0 => "inf".to_owned(),
                1 => "-inf".to_owned(),
                2 => format!("{}", rng.range(-1000, 1000) as f64 / 8.0),
                3 => format!("{:e}", rng.range(1, 1000) as f64 * 1e17),
                _ => rng.below(9).to_string(),
            };
            vec![score.into_bytes(), text(rng)]
        })],
        5 => vec![many("HSET made", count, |_| vec![text(rng), text(rng)])],
        6 => {
            let mut commands =
                vec![many("HSET made", count, |index| vec![format!("f{index}").into_bytes(), text(rng)])];
            for _ in 0..1 + rng.below(3) {
                let deadline = 4_000_000_000_000 + rng.below(1000);
                commands.push(words(&format!("HPEXPIREAT made {deadline} FIELDS 1 f{}", rng.below(count))));
            }
            commands
        }
        _ => build_stream(rng, count),
    }
}

fn build_stream(rng: &mut Rng, count: usize) -> Vec<Command> {
    let mut commands = Vec::new();
    let (mut ms, mut ids) = (1000, Vec::new());
    for _ in 0..count {
        ms += 1 + rng.below(3) * rng.below(100_000);
        let id = format!("{ms}-{}", rng.below(3));
        let mut add = words(&format!("XADD made {id}"));
        ids.push(id);
        let names: &[&str] = if rng.one_in(5) { &["other"] } else { &["a", "b"] };
        for name in names {
            add.extend([name.as_bytes().to_vec(), text(rng)]);
        }
        commands.push(add);
    }
    for _ in 0..rng.below(count.min(10) + 1) {
        commands.push(words(&format!("XDEL made {}", rng.pick(&ids))));
    }
    for group in 0..rng.below(3) {
        let read =
            if rng.one_in(2) { format!(" ENTRIESREAD {}", rng.below(count + 1)) } else { String::new() };
        commands
            .push(words(&format!("XGROUP CREATE made g{group} {}{read}", rng.pick(&["0", "$", "1500-1"]))));
        commands.push(words(&format!("XGROUP CREATECONSUMER made g{group} idle")));
        for consumer in 0..rng.below(3) {
            let count = 1 + rng.below(6);
            let read = format!("XREADGROUP GROUP g{group} c{consumer} COUNT {count} STREAMS made >");
            commands.push(words(&read));
        }
    }
    commands
}

/// Sets limits under which values get their large encodings early, or the usual ones. Answers whether lists may have
/// large elements: with `rdbcompression no` only nodes that are compressed in memory are written so, and Skuld does not
/// compress large elements in memory.
fn change_limits(rng: &mut Rng, clients: [&mut Client; 2]) -> bool {
    let small = rng.one_in(2);
    let settings = [
        ("hash-max-listpack-entries", if small { 4 } else { 512 }),
        ("set-max-listpack-entries", if small { 4 } else { 128 }),
        ("set-max-intset-entries", if small { 5 } else { 512 }),
        ("zset-max-listpack-entries", if small { 4 } else { 128 }),
        ("zset-max-listpack-value", if small { 8 } else { 64 }),
        ("list-max-listpack-size", if small { 3 } else { -2 }),
        ("list-compress-depth", if rng.one_in(2) { 1 } else { 0 }),
        ("stream-node-max-entries", if small { 4 } else { 100 }),
    ];
    let compress = if rng.one_in(4) { "no" } else { "yes" };
    for client in clients {
        for (name, value) in settings {
            client.ask(&format!("CONFIG SET {name} {value}"));
        }
        client.ask(&format!("CONFIG SET rdbcompression {compress}"));
    }
    compress == "yes"
}

/// Where the order of elements is part of the value, or of its encoding, bytes can be compared.
fn in_order(encoding: &str) -> bool {
    encoding != "hashtable"
}

struct Servers {
    subject: Client,
    reference: Client,
    listed: std::collections::BTreeSet<String>,
    binary: PathBuf,
    /// Where the reference server saves.
    directory: PathBuf,
}

impl Servers {
    fn can(&self, commands: &[Command]) -> bool {
        commands.iter().all(|command| {
            let name = String::from_utf8_lossy(&command[0]).to_lowercase();
            self.listed.iter().any(|listed| *listed == name)
        })
    }

    /// Makes a value on the reference server, hands it over and back.
    fn check_value(&mut self, commands: &[Command]) {
        let Servers { subject, reference, .. } = self;
        reference.ask("FLUSHALL");
        subject.ask("FLUSHALL");
        for command in commands {
            let reply = call(reference, command);
            assert!(!reply.is_error() || command[0] == b"XADD", "{}: {reply}", command_line(command));
        }
        let written = dump(reference, "made");
        assert_eq!(restore(subject, "came", &written).text(), "OK", "{}", escape_short(&written, 300));
        assert_eq!(restore(reference, "came", &written).text(), "OK");
        let (here, there) = (seen(subject, "came"), seen(reference, "came"));
        assert_eq!(here, there, "{}", escape_short(&written, 300));
        let (again_here, again_there) = (dump(subject, "came"), dump(reference, "came"));
        if in_order(&here.0) {
            assert_eq!(escape_short(&again_here, 2000), escape_short(&again_there, 2000));
            assert!(again_here == again_there);
        } else {
            assert_eq!(again_here.len(), again_there.len());
        }
        assert_eq!(restore(reference, "back", &again_here).text(), "OK");
        assert_eq!(seen(reference, "back").1, there.1);
        assert_eq!(subject.ask("COPY came copied").integer(), Some(1));
        assert_eq!(seen(subject, "copied").1, there.1);
        if self.can(commands) {
            self.check_own_value(commands, &there.1, &written);
        }
    }

    /// Makes the same value on the server under test.
    fn check_own_value(&mut self, commands: &[Command], digest: &str, written: &[u8]) {
        let Servers { subject, reference, .. } = self;
        for command in commands {
            call(subject, command);
        }
        assert_eq!(seen(subject, "made").1, digest);
        let own = dump(subject, "made");
        let has_times = commands.iter().any(|command| command[0] == b"XREADGROUP" || command[0] == b"XGROUP");
        if in_order(&seen(subject, "made").0) && !has_times {
            assert_eq!(escape_short(&own, 2000), escape_short(written, 2000));
            assert!(own == written);
        }
        assert_eq!(restore(reference, "back", &own).text(), "OK");
        assert_eq!(seen(reference, "back").1, digest);
    }

    /// Damages a payload in one place. What either server then makes of it may differ; what Skuld accepts must be
    /// a value that both can read.
    fn check_damage(&mut self, rng: &mut Rng, payload: &[u8]) -> bool {
        let Servers { subject, reference, .. } = self;
        let mut damaged = payload[..payload.len() - 10].to_vec();
        let at = rng.below(damaged.len());
        match rng.below(4) {
            0 => damaged.truncate(at),
            1 => damaged[at] = rng.next_u64() as u8,
            2 => drop(damaged.drain(at..(at + 1 + rng.below(8)).min(payload.len() - 10))),
            _ => damaged[at] ^= 1 << rng.below(8),
        }
        skuld::rdb::payload::seal(&mut damaged, 80);
        let reply = restore(subject, "damaged", &damaged);
        if reply == Value::Error(b"ERR Bad data format".to_vec()) {
            return false;
        }
        assert_eq!(reply.text(), "OK", "{reply}");
        let digest = seen(subject, "damaged").1;
        let own = dump(subject, "damaged");
        for client in [subject, reference] {
            let reply = restore(client, "again", &own);
            assert_eq!(reply.text(), "OK", "{reply} to {}", escape_short(&own, 2000));
            assert_eq!(seen(client, "again").1, digest, "{}", escape_short(&own, 2000));
        }
        true
    }
}

/// Prints the seed if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SKULD_SEED={}", self.0);
        }
    }
}

fn with_servers(
    what: &str,
    default_seed: u64,
    workers: usize,
    test: impl FnOnce(&mut Rng, &mut Servers, u64),
) {
    let Some(binary) = reference_binary(what) else { return };
    let seed = Seed(setting("SKULD_SEED").unwrap_or(default_seed));
    let (subject, reference) = (Launch::skuld(workers).start(), Launch::reference(&binary).start());
    let listed = listed_commands(&subject);
    let listed = listed.iter().map(|name| name.to_lowercase()).collect();
    let mut servers = Servers {
        subject: subject.connect(),
        reference: reference.connect(),
        listed,
        binary,
        directory: reference.dir().to_path_buf(),
    };
    test(&mut Rng::new(seed.0), &mut servers, setting("SKULD_DUMP_VALUES").unwrap_or(300));
}

#[test]
fn values_pass_from_server_to_server_unchanged() {
    for (seed, workers) in [(1, 1), (2, 3)] {
        with_servers("DUMP and RESTORE", seed, workers, |rng, servers, values| {
            let mut large = true;
            for number in 0..values {
                if number % 20 == 0 {
                    large = change_limits(rng, [&mut servers.subject, &mut servers.reference]);
                }
                let commands = build(rng, large);
                servers.check_value(&commands);
            }
        });
    }
}

#[test]
fn damaged_payloads_are_refused_or_become_sound_values() {
    with_servers("damaged payloads", 3, 3, |rng, servers, values| {
        let (mut refused, mut accepted) = (0, 0);
        for _ in 0..values {
            servers.reference.ask("FLUSHALL");
            for command in build(rng, true) {
                call(&mut servers.reference, &command);
            }
            let payload = dump(&mut servers.reference, "made");
            for _ in 0..10 {
                *(if servers.check_damage(rng, &payload) { &mut accepted } else { &mut refused }) += 1;
            }
        }
        println!("{refused} damaged payloads refused, {accepted} accepted");
        assert!(refused > 0 && accepted > 0);
    });
}

/// Reads a file with the engine, in pieces, and writes what it holds into another.
fn rewritten(file: &[u8], piece: usize, compression: Compression) -> Vec<u8> {
    let mut reader = FileReader::new(RdbVersionCheck::Strict, true, Limits::default());
    let mut writer = FileWriter::new(compression, true);
    let (mut out, mut pieces, mut number) = (Vec::new(), file.chunks(piece), 0);
    loop {
        match reader.next_item().unwrap_or_else(|error| panic!("{error}")) {
            None => match pieces.next() {
                Some(piece) => reader.push(piece),
                None => reader.complete(),
            },
            Some(FileItem::Aux { name, value }) => writer.aux(&name, &value),
            Some(FileItem::Function(code)) => writer.function(&code),
            Some(FileItem::Database(database)) => number = database as u32,
            Some(FileItem::Sizes { keys, deadlines }) => writer.database(number, keys, deadlines),
            Some(FileItem::Key(key)) => {
                let entry = Entry::new(&key.key, NewValue::Owned(key.value), key.deadline);
                writer.entry(&entry, key.usage);
            }
            Some(FileItem::SlotImport { .. } | FileItem::Skipped(_)) => panic!("Valkey saved no such thing"),
            Some(FileItem::End) => break,
        }
        if writer.buffered() > 10_000 {
            out.extend(writer.take());
        }
    }
    assert_eq!(reader.rest().len(), 0);
    out.extend(writer.finish());
    out
}

#[test]
fn a_file_of_valkey_read_and_written_again_is_the_same_data_set() {
    with_servers("RDB files", 4, 1, |rng, servers, values| {
        let client = &mut servers.reference;
        client.ask("FLUSHALL");
        for number in 0..values {
            for command in build(rng, true) {
                call(client, &command);
            }
            client.ask(&format!("RENAME made key:{number}"));
            if rng.one_in(3) {
                client.ask(&format!("PEXPIREAT key:{number} {}", 4_000_000_000_000 + rng.below(1000)));
            }
            if rng.one_in(3) {
                client.ask(&format!("MOVE key:{number} {}", 1 + rng.below(3)));
            }
        }
        for policy in ["noeviction", "allkeys-lru", "allkeys-lfu"] {
            client.ask(&format!("CONFIG SET maxmemory-policy {policy}"));
            let expected = client.ask("DEBUG DIGEST").text();
            assert_eq!(client.ask("SAVE").text(), "OK");
            let file = std::fs::read(servers.directory.join("dump.rdb")).expect("it was just saved");
            for (piece, compression) in [(1000, Compression::On), (100_000_000, Compression::Off)] {
                let directory = TempDir::new();
                let path = directory.path().join("dump.rdb");
                std::fs::write(path, rewritten(&file, piece, compression)).expect("a writable directory");
                let directory = directory.path().display().to_string();
                let loaded = Launch::reference(&servers.binary).option("dir", &directory).start();
                assert_eq!(loaded.connect().ask("DEBUG DIGEST").text(), expected, "{}", loaded.log_tail());
            }
        }
    });
}

/// Payloads that only the checksum would give away, and what the log says of them at level verbose. Valkey is asked the
/// same where there is one.
#[test]
fn without_checksums_the_value_itself_is_judged_and_the_log_says_what_is_wrong() {
    // Type, value, version 11 and a checksum of zeros, which fits none of them.
    let payload = |value: &[u8]| [value, b"\x0b\x00", &[0; 8]].concat();
    let cases: [(&[u8], Option<&str>); 19] = [
        (b"\x00\x02ok", None),
        // A length that names an encoding is the number it is.
        (b"\x02\xc2\x01a\x01b", None),
        (b"\x00\x82\x00", Some("Unknown length encoding 2 in rdbLoadLen()")),
        (b"\x00\xc9\x00", Some("Unknown RDB string encoding type 9")),
        (b"\x00\xc3\x02\x09ab", Some("Invalid LZF compressed string")),
        (b"\x02\x02\x01a\x01a", Some("Duplicate set members detected")),
        (b"\x03\x01\x01a\xfd", Some("Zset with NAN score detected")),
        (b"\x04\x02\x01a\x01b\x01a\x01c", Some("Hash with dup elements")),
        (b"\x09\x04\x01\x01a\xff", Some("Zipmap integrity check failed.")),
        (b"\x09\x0c\x02\x01a\x01\0b\x01a\x01\0c\xff", Some("Hash zipmap with dup elements, or big length")),
        (b"\x09\x02\x00\xff", Some("Zipmap integrity check failed.")),
        (b"\x11\x0f\x0f\0\0\0\x02\0\x81m\x02\x83nan\x04\xff", Some("Zset listpack with NAN score detected")),
        (
            b"\x0c\x13\x13\0\0\0\x0d\0\0\0\x02\0\0\x01m\x03\x03nan\xff",
            Some("Zset ziplist with NAN score detected"),
        ),
        // A group whose one consumer has the same entry twice.
        (
            b"\x0f\0\0\x01\x01\x01\x01g\x01\x01\x01AAAAAAAABBBBBBBB\0\0\0\0\0\0\0\0\x01\
              \x01\x01c\0\0\0\0\0\0\0\0\x02AAAAAAAABBBBBBBBAAAAAAAABBBBBBBB",
            Some("Duplicated consumer PEL entry"),
        ),
        (b"\x0a\x03abc", Some("List ziplist integrity check failed.")),
        (b"\x0b\x04\x02\x00\x00\x00", Some("Intset integrity check failed.")),
        (b"\x10\x03abc", Some("Hash listpack integrity check failed.")),
        (b"\x12\x01\x02\x03abc", Some("Listpack integrity check failed.")),
        (b"\x0f\x01\x10aaaaaaaabbbbbbbb\x03abc", Some("Stream listpack integrity check failed.")),
    ];
    let mut servers = vec![Launch::skuld(2).option("loglevel", "verbose").start()];
    servers.extend(
        reference_binary("unchecked payloads")
            .map(|binary| Launch::reference(&binary).option("loglevel", "verbose").start()),
    );
    for server in &servers {
        let mut client = server.connect();
        let refused = restore(&mut client, "key", &payload(cases[0].0));
        assert_eq!(refused, Value::Error(b"ERR DUMP payload version or checksum are wrong".to_vec()));
        assert_eq!(client.ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1").text(), "OK");
        for (value, complaint) in cases {
            let before = server.log().len();
            let reply = restore(&mut client, "key", &payload(value));
            if complaint.is_some() {
                assert_eq!(reply, Value::Error(b"ERR Bad data format".to_vec()), "{value:?}");
            } else {
                assert_eq!(reply.text(), "OK", "{value:?}: {reply}");
            }
            let log = server.log()[before..].to_owned();
            match complaint {
                Some(complaint) => assert!(log.contains(complaint), "{complaint}: {log}"),
                None => assert!(!log.contains("Internal error"), "{log}"),
            }
        }
        client.ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 0");
        assert!(restore(&mut client, "key", &payload(cases[0].0)).is_error());
    }
}

#[test]
fn keys_without_elements_in_a_file_are_skipped_and_named() {
    let mut servers = vec![Launch::skuld(2)];
    servers.extend(reference_binary("empty keys").map(|binary| Launch::reference(&binary)));
    // A hash and a list without elements, and a string; the checksum says that there is none.
    let file = b"REDIS0009\xfe\x00\x04\x05empty\x00\x01\x04none\x00\x00\x04here\x01x\xff\0\0\0\0\0\0\0\0";
    for launch in servers {
        let directory = TempDir::new();
        std::fs::write(directory.path().join("dump.rdb"), file).expect("a writable directory");
        let directory = directory.path().display().to_string();
        let server = launch.option("dir", &directory).option("hide-user-data-from-log", "no").start();
        assert_eq!(server.connect().ask("KEYS *").items().len(), 1);
        let log = server.log();
        for line in ["skipping empty key: empty", "skipping empty key: none", "empty keys skipped: 2"] {
            assert!(log.contains(line), "{line}: {log}");
        }
    }
}
