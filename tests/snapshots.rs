//! RDB files: saved while clients write, loaded by us and by a real Valkey, refused when damaged.

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::rng::Rng;
use support::server::{Launch, Server, TempDir, reference_binary};

fn text(client: &mut Client, request: &str) -> String {
    match client.ask(request) {
        Value::Error(text) | Value::BulkError(text) => String::from_utf8_lossy(&text).into_owned(),
        Value::Integer(number) => number.to_string(),
        other => other.text(),
    }
}

fn info(client: &mut Client, field: &str) -> String {
    let all = text(client, "INFO everything");
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {all}")).to_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn command(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|w| w.as_bytes().to_vec()).collect()
}

/// A command that makes or changes a key of some type, in sizes on both sides of the compact encodings.
fn random_command(rng: &mut Rng) -> Vec<Vec<u8>> {
    let key = format!("key:{}", rng.below(300));
    let many = *rng.pick(&[1, 3, 20, 700]);
    let mut words: Vec<String> = Vec::new();
    let far = || "4102444800000".to_owned();
    match rng.below(10) {
        0 => words.extend(["SET".into(), key, "x".repeat(rng.below(400))]),
        1 => words.extend(["SET".into(), key, rng.range(-1000, 1 << 40).to_string()]),
        2 => {
            words.extend(["RPUSH".into(), key]);
            words.extend((0..many).map(|n| format!("element-{n}-{}", rng.below(1000))));
        }
        3 => {
            words.extend(["SADD".into(), key]);
            words.extend((0..many).map(|_| rng.range(-70_000, 70_000).to_string()));
        }
        4 => {
            words.extend(["SADD".into(), key]);
            words.extend((0..many.min(200)).map(|_| format!("member-{}", rng.below(5000))));
        }
        5 => {
            words.extend(["ZADD".into(), key]);
            for _ in 0..many.min(200) {
                words.extend([format!("{}.5", rng.range(-900, 900)), format!("member-{}", rng.below(5000))]);
            }
        }
        6 => {
            words.extend(["HSET".into(), key]);
            for _ in 0..many {
                words.extend([format!("field-{}", rng.below(3000)), rng.below(1 << 30).to_string()]);
            }
        }
        7 => words
            .extend(["XADD", &key, "*", "field", &rng.below(100).to_string(), "b", "c"].map(String::from)),
        8 => words.extend(["PEXPIREAT".into(), key, far()]),
        _ => words.extend(
            ["HSETEX", &key, "PXAT", &far(), "FIELDS", "1", "with-deadline", "value"].map(String::from),
        ),
    }
    words.into_iter().map(String::into_bytes).collect()
}

fn fill(client: &mut Client, seed: u64, commands: usize) {
    let mut rng = Rng::new(seed);
    for db in ["0", "3"] {
        client.ask(&format!("SELECT {db}"));
        let batch: Vec<_> = (0..commands).map(|_| random_command(&mut rng)).collect();
        client.pipeline(&batch);
        for n in 0..20 {
            client.ask(&format!("XADD stream {n}-1 a {n}"));
        }
        client.ask("XGROUP CREATE stream group 0");
        client.ask("XREADGROUP GROUP group alice COUNT 5 STREAMS stream >");
        client.ask("XDEL stream 3-1 19-1");
    }
}

fn in_directory(launch: Launch, directory: &Path) -> Launch {
    launch.option("dir", &directory.display().to_string())
}

/// Waits for the end of a background save and says whether it went well.
fn saved_in_background(client: &mut Client) -> bool {
    assert_eq!(text(client, "BGSAVE"), "Background saving started");
    wait_until("the save has ended", || info(client, "rdb_bgsave_in_progress") == "0");
    info(client, "rdb_last_bgsave_status") == "ok"
}

#[test]
fn random_data_sets_pass_between_us_and_valkey_unchanged() {
    let Some(reference) = reference_binary("exchange of RDB files") else { return };
    for (seed, workers) in [(1, 1), (2, 3)] {
        println!("seed {seed}, {workers} workers");
        let directory = TempDir::new();
        let ours = in_directory(Launch::skuld(workers), directory.path());
        let theirs = in_directory(Launch::reference(&reference), directory.path());
        let digest = {
            let server = ours.start();
            let mut client = server.connect();
            fill(&mut client, seed, 400);
            assert!(saved_in_background(&mut client));
            assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
            let before = text(&mut client, "DEBUG DIGEST");
            assert_eq!(text(&mut client, "DEBUG RELOAD"), "OK");
            assert_eq!(text(&mut client, "DEBUG DIGEST"), before);
            before
        };
        {
            let server = theirs.start();
            let mut client = server.connect();
            assert_eq!(text(&mut client, "DEBUG DIGEST"), digest);
            assert_eq!(text(&mut client, "SAVE"), "OK");
        }
        let server = ours.start();
        let mut client = server.connect();
        assert_eq!(text(&mut client, "DEBUG DIGEST"), digest);
        assert!(server.log().contains("DB loaded from disk: "), "{}", server.log());
        assert!(server.log().contains("Loading RDB produced by Valkey version 9.1.2"));
    }
}

/// A counter in many slots, always raised everywhere in one transaction: a file that is not of one point in time holds
/// two values of it.
#[test]
fn a_snapshot_is_of_one_point_in_time_while_clients_write() {
    const COPIES: usize = 200;
    for workers in [1, 3] {
        let directory = TempDir::new();
        let launch = in_directory(Launch::skuld(workers), directory.path());
        let saved = {
            let server = launch.start();
            let mut admin = server.connect();
            admin.ask("DEBUG POPULATE 20000");
            admin.ask("CONFIG SET rdb-key-save-delay 5");
            let mut writer = server.connect();
            let raise = |writer: &mut Client, value: usize| {
                let mut batch = vec![command(&["MULTI"])];
                for copy in 0..COPIES {
                    batch.push(command(&["SET", &format!("copy:{copy}"), &value.to_string()]));
                }
                batch.push(command(&["SET", &format!("new:{value}"), "x"]));
                batch.push(command(&["DEL", &format!("key:{value}")]));
                batch.push(command(&["EXEC"]));
                writer.pipeline(&batch);
            };
            (1..20).for_each(|value| raise(&mut writer, value));
            assert_eq!(text(&mut admin, "BGSAVE"), "Background saving started");
            let mut value = 20;
            while info(&mut admin, "rdb_bgsave_in_progress") == "1" {
                raise(&mut writer, value);
                value += 1;
            }
            assert!(value > 25, "the save was over before anything was written");
            assert_eq!(info(&mut admin, "rdb_last_bgsave_status"), "ok");
            value
        };
        let server = launch.start();
        let mut client = server.connect();
        let at_cut: usize = text(&mut client, "GET copy:0").parse().expect("a number");
        assert!(at_cut < saved);
        for copy in 0..COPIES {
            assert_eq!(text(&mut client, &format!("GET copy:{copy}")), at_cut.to_string(), "copy {copy}");
        }
        for value in 1..saved {
            let there = i64::from(value <= at_cut);
            assert_eq!(client.ask(&format!("EXISTS new:{value}")).integer(), Some(there), "new:{value}");
            assert_eq!(client.ask(&format!("EXISTS key:{value}")).integer(), Some(1 - there), "key:{value}");
        }
        assert_eq!(client.ask("EXISTS key:19999").integer(), Some(1));
    }
}

/// Makes large values of each kind, as `<kind>:<tag>`.
fn fill_large(client: &mut Client, tag: &str) {
    let make = "for i = 1, 4000 do local v = 'an element, number ' .. i .. string.rep('.', i % 40) \
                redis.call('HSET', KEYS[1], v, i) redis.call('SADD', KEYS[2], v) redis.call('ZADD', KEYS[3], i / 3, v) \
                redis.call('RPUSH', KEYS[4], v) redis.call('XADD', KEYS[5], i .. '-1', 'field', v) end \
                redis.call('XGROUP', 'CREATE', KEYS[5], 'group', 0) \
                redis.call('XREADGROUP', 'GROUP', 'group', 'c', 'COUNT', 500, 'STREAMS', KEYS[5], '>')";
    let mut words = vec!["EVAL".to_owned(), make.to_owned(), "5".to_owned()];
    words.extend(["hash", "set", "zset", "list", "stream"].map(|kind| format!("{kind}:{tag}")));
    let _ = client.call(&words.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    // One that can be compressed, and one that cannot.
    let words = (0u32..60_000).flat_map(|n| format!("{} ", n.wrapping_mul(2_654_435_761) >> 20).into_bytes());
    let mut rng = Rng::new(1);
    let noise = (0..200_000).map(|_| rng.below(256) as u8);
    for (kind, value) in [("text", words.collect::<Vec<_>>()), ("noise", noise.collect())] {
        let _ = client.call(&[b"SET".to_vec(), format!("{kind}:{tag}").into_bytes(), value]);
    }
}

/// A tag that puts keys into one of the last slots, which an export comes to last.
fn late_tag() -> String {
    let is_late = |tag: &String| skuld::slot::slot_of(tag.as_bytes()).0 > 16_370;
    (0..).map(|n| format!("{{{n}}}")).find(is_late).expect("there are such numbers")
}

/// What the file says of slots: the text behind each name of the field.
fn slot_hints(file: &[u8]) -> Vec<String> {
    const NAME: &[u8] = b"slot-info";
    let at = (0..file.len()).filter(|&at| file[at..].starts_with(NAME)).map(|at| at + NAME.len());
    let mut hints: Vec<String> = at
        .map(|at| String::from_utf8_lossy(&file[at + 1..at + 1 + usize::from(file[at])]).into_owned())
        .collect();
    hints.sort();
    hints
}

#[test]
fn files_of_a_cluster_announce_the_keys_of_each_slot() {
    let Some(reference) = reference_binary("hints about slots in RDB files") else { return };
    let launches = [Launch::skuld(1), Launch::skuld(3), Launch::reference(&reference)];
    let saved = launches.map(|launch| {
        let directory = TempDir::new();
        let server = in_directory(launch.option("cluster-enabled", "yes"), directory.path()).start();
        let mut client = server.connect();
        assert_eq!(text(&mut client, "CLUSTER ADDSLOTSRANGE 0 16383"), "OK");
        wait_until("the cluster is up", || text(&mut client, "CLUSTER INFO").contains("cluster_state:ok"));
        for line in [
            "SET {a}1 x",
            "SET {a}2 x EX 1000",
            "SET b y",
            "HSET {a}h f v g w",
            "HEXPIRE {a}h 1000 FIELDS 1 f",
        ] {
            client.ask(line);
        }
        assert_eq!(text(&mut client, "SAVE"), "OK");
        let at_once = fs::read(directory.path().join("dump.rdb")).expect("a file");
        assert!(saved_in_background(&mut client));
        let in_slices = fs::read(directory.path().join("dump.rdb")).expect("a file");
        let hints = slot_hints(&at_once);
        assert_eq!(slot_hints(&in_slices), hints);
        hints
    });
    assert_eq!(saved[2], ["15495,3,1,1", "3300,1,0,0"]);
    assert_eq!((&saved[0], &saved[1]), (&saved[2], &saved[2]));
}

/// What is long leaves in slices. Whoever writes to it before it has left waits for that, by itself, in a transaction or in
/// a script. Nobody's write is in the file.
#[test]
fn large_values_are_saved_as_they_were() {
    for (workers, rewrite) in [(1, false), (3, false), (1, true)] {
        let directory = TempDir::new();
        let mut launch = in_directory(Launch::skuld(workers), directory.path());
        if rewrite {
            launch = launch.option("appendonly", "yes").option("aof-use-rdb-preamble", "no");
        }
        let (before, after) = {
            let server = launch.start();
            let mut client = server.connect();
            let tag = late_tag();
            client.ask("DEBUG POPULATE 20000 key 1000");
            ["", "~"].iter().for_each(|more| fill_large(&mut client, &format!("{tag}{more}")));
            let before = text(&mut client, "DEBUG DIGEST");
            client.ask("CONFIG SET rdb-key-save-delay 100");
            assert!(
                text(&mut client, if rewrite { "BGREWRITEAOF" } else { "BGSAVE" }).starts_with("Background")
            );
            let running = if rewrite { "aof_rewrite_in_progress" } else { "rdb_bgsave_in_progress" };
            wait_until("it runs", || info(&mut client, running) == "1");
            for write in [
                "HSET hash:T new f",
                "SREM set:T nobody",
                "ZADD zset:T 1 new",
                "LPOP list:T",
                "DEL stream:T",
                "SETRANGE text:T 5 changed",
                "APPEND noise:T more",
            ] {
                let reply = text(&mut client, &write.replace(":T", &format!(":{tag}")));
                assert!(!reply.starts_with("ERR"), "{write}: {reply}");
            }
            let other = format!("{tag}~");
            client.ask("MULTI");
            client.ask(&format!("SADD set:{other} new"));
            client.ask(&format!("RENAME zset:{other} hash:{other}"));
            assert_eq!(client.ask("EXEC").items().len(), 2);
            let script = format!("return redis.call('LTRIM', 'list:{other}', 0, 10)");
            let _ = client.call(&command(&["EVAL", &script, "1", &format!("list:{other}")]));
            client.ask(&format!("XTRIM stream:{other} MAXLEN 10"));
            assert_eq!(info(&mut client, running), "1", "nothing was written meanwhile");
            let after = text(&mut client, "DEBUG DIGEST");
            client.ask("CONFIG SET rdb-key-save-delay 0");
            wait_until("it has ended", || info(&mut client, running) == "0");
            assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
            assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "ok");
            (before, after)
        };
        assert_ne!(before, after);
        let server = launch.start();
        let mut client = server.connect();
        // A log has what was written meanwhile as well.
        assert_eq!(text(&mut client, "DEBUG DIGEST"), if rewrite { after } else { before });
    }
}

/// FLUSHDB and SWAPDB while a snapshot is saved do not change what is in it; FLUSHALL ends it.
#[test]
fn whole_databases_may_change_during_a_save() {
    for workers in [1, 3] {
        let directory = TempDir::new();
        let launch = in_directory(Launch::skuld(workers), directory.path());
        let digest = {
            let server = launch.start();
            let mut client = server.connect();
            client.ask("DEBUG POPULATE 3000");
            fill(&mut client, 7, 50);
            let digest = text(&mut client, "DEBUG DIGEST");
            client.ask("CONFIG SET rdb-key-save-delay 100");
            assert_eq!(text(&mut client, "BGSAVE"), "Background saving started");
            client.ask("SELECT 0");
            assert_eq!(text(&mut client, "SWAPDB 0 3"), "OK");
            assert_eq!(text(&mut client, "FLUSHDB"), "OK");
            client.ask("SET after the-flush");
            client.ask("SELECT 3");
            assert_eq!(text(&mut client, "FLUSHDB"), "OK");
            client.ask("DEBUG POPULATE 1000 other");
            assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "1");
            client.ask("CONFIG SET rdb-key-save-delay 0");
            wait_until("the save has ended", || info(&mut client, "rdb_bgsave_in_progress") == "0");
            assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
            digest
        };
        let server = launch.start();
        let mut client = server.connect();
        assert_eq!(text(&mut client, "DEBUG DIGEST"), digest);
        client.ask("CONFIG SET rdb-key-save-delay 1000");
        assert_eq!(text(&mut client, "BGSAVE"), "Background saving started");
        assert_eq!(text(&mut client, "FLUSHALL"), "OK");
        wait_until("the save has ended", || info(&mut client, "rdb_bgsave_in_progress") == "0");
        client.ask("SET k v");
        client.ask("CONFIG SET rdb-key-save-delay 0");
        assert!(saved_in_background(&mut client));
    }
}

#[test]
fn saves_can_be_cancelled_and_only_one_runs() {
    let server = Launch::skuld(1).start();
    let mut client = server.connect();
    assert_eq!(
        text(&mut client, "BGSAVE CANCEL"),
        "ERR Background saving is currently not in progress or scheduled"
    );
    assert_eq!(text(&mut client, "BGSAVE NOW"), "ERR syntax error");
    client.ask("DEBUG POPULATE 1000");
    client.ask("CONFIG SET rdb-key-save-delay 100000");
    assert_eq!(text(&mut client, "BGSAVE"), "Background saving started");
    assert_eq!(text(&mut client, "BGSAVE"), "ERR Background save already in progress");
    assert_eq!(text(&mut client, "SAVE"), "ERR Background save already in progress");
    assert_eq!(info(&mut client, "current_save_keys_total"), "1000");
    assert_eq!(text(&mut client, "BGSAVE CANCEL"), "Background saving cancelled");
    wait_until("the save has ended", || info(&mut client, "rdb_bgsave_in_progress") == "0");
    wait_until("another can begin", || {
        client.ask("CONFIG SET rdb-key-save-delay 0");
        text(&mut client, "SAVE") == "OK"
    });
    let left: Vec<_> = fs::read_dir(server.dir())
        .expect("the server's directory")
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("temp-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn writes_are_refused_while_snapshots_fail() {
    let server = Launch::skuld(1).option("save", "3600 100000").start();
    // A directory where the file should be: no rename can replace it.
    fs::create_dir_all(server.dir().join("dump.rdb/full")).expect("the server's directory");
    let mut client = server.connect();
    assert_eq!(text(&mut client, "SET k v"), "OK");
    assert!(!saved_in_background(&mut client));
    let refusal = text(&mut client, "SET k w");
    assert!(refusal.starts_with("MISCONF Valkey is configured to save RDB snapshots"), "{refusal}");
    assert!(text(&mut client, "PING").starts_with("MISCONF"));
    assert_eq!(text(&mut client, "GET k"), "v");
    client.ask("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(text(&mut client, "SET k w"), "OK");
    client.ask("CONFIG SET stop-writes-on-bgsave-error yes");
    fs::remove_dir_all(server.dir().join("dump.rdb")).expect("the server's directory");
    assert!(saved_in_background(&mut client));
    assert_eq!(text(&mut client, "SET k x"), "OK");
}

#[test]
fn a_save_point_saves() {
    let server = Launch::skuld(1).option("save", "1 2").start();
    let mut client = server.connect();
    client.ask("SET a 1");
    client.ask("SET b 1");
    wait_until("the save point is reached", || server.dir().join("dump.rdb").exists());
    wait_until("the log says so", || server.log().contains("2 changes in 1 seconds. Saving..."));
    wait_until("the log says it ended", || {
        server.log().contains("Background saving terminated with success")
    });
}

fn restarted(directory: &Path, end: impl FnOnce(&mut Server)) -> String {
    let launch = in_directory(Launch::skuld(1), directory).option("save", "3600 1");
    let mut server = launch.start();
    let mut client = server.connect();
    client.ask("SET kept yes");
    end(&mut server);
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log());
    let server = launch.start();
    text(&mut server.connect(), "EXISTS kept")
}

#[test]
fn the_end_of_the_process_saves_as_asked() {
    let send = |server: &mut Server, line: &str| {
        server.connect().send(&command(&line.split(' ').collect::<Vec<_>>()))
    };
    for (line, kept) in [("SHUTDOWN", "1"), ("SHUTDOWN SAVE", "1"), ("SHUTDOWN NOSAVE", "0")] {
        let directory = TempDir::new();
        assert_eq!(restarted(directory.path(), |server| send(server, line)), kept, "{line}");
    }
    let directory = TempDir::new();
    assert_eq!(restarted(directory.path(), |server| server.signal("TERM")), "1", "SIGTERM");
}

/// Starts on a directory whose file cannot be loaded; returns the log.
fn refused(directory: &Path) -> String {
    let mut server = in_directory(Launch::skuld(1), directory).spawn(support::server::free_port());
    assert_eq!(server.wait_for_exit().code(), Some(1), "{}", server.log());
    server.log()
}

#[test]
fn damaged_files_are_refused_with_place_and_reason() {
    let directory = TempDir::new();
    let path = directory.path().join("dump.rdb");
    {
        let server = in_directory(Launch::skuld(1), directory.path()).start();
        let mut client = server.connect();
        client.ask("SET key value");
        assert_eq!(text(&mut client, "SAVE"), "OK");
    }
    let whole = fs::read(&path).expect("the file was saved");
    fs::write(&path, &whole[..whole.len() - 12]).expect("the directory is ours");
    let log = refused(directory.path());
    assert!(log.contains("Short read or OOM loading DB. Unrecoverable error, aborting now."), "{log}");
    assert!(log.contains("Internal error in RDB reading offset "), "{log}");
    assert!(log.contains("Terminating server after rdb file reading failure."), "{log}");
    let mut changed = whole.clone();
    let at = changed.windows(5).position(|w| w == b"value").expect("the value is in the file");
    changed[at] = b'V';
    fs::write(&path, &changed).expect("the directory is ours");
    let log = refused(directory.path());
    let in_file = changed[changed.len() - 8..].try_into().map(u64::from_le_bytes).expect("eight bytes");
    assert!(log.contains(&format!(") but got ({in_file:x}). Aborting now.")), "{log}");
    // Type 7 with the id of a module type, instead of the string.
    let mut module = whole.clone();
    let at = module.windows(4).position(|w| w == b"\x00\x03ke").expect("the key is in the file");
    module.splice(at..at + 1, [7]);
    module.splice(at + 5..at + 11, [0x81, 0x45, 0xe4, 0x89, 0x0f, 0x8b, 0x11, 0xf8, 0x03]);
    fs::write(&path, &module).expect("the directory is ours");
    let log = refused(directory.path());
    assert!(
        log.contains("The RDB file contains module data I can't load: no matching module type '"),
        "{log}"
    );
    fs::write(&path, b"NONSENSE").expect("the directory is ours");
    refused(directory.path());
}

#[test]
fn while_loading_most_commands_are_refused() {
    let directory = TempDir::new();
    {
        let server = in_directory(Launch::skuld(1), directory.path()).start();
        let mut client = server.connect();
        client.ask("DEBUG POPULATE 2000");
        client.ask("SET expired x PX 1");
        assert_eq!(text(&mut client, "SAVE"), "OK");
    }
    let launch = in_directory(Launch::skuld(1), directory.path()).option("key-load-delay", "2000");
    let mut server = launch.spawn(support::server::free_port());
    server.wait_for_log("Server initialized");
    let mut client = server.connect();
    assert_eq!(text(&mut client, "GET key:1"), "LOADING Valkey is loading the dataset in memory");
    assert_eq!(info(&mut client, "loading"), "1");
    assert_ne!(info(&mut client, "loading_total_bytes"), "0");
    assert_eq!(text(&mut client, "CONFIG SET key-load-delay 0"), "OK");
    server.wait_for_log("Ready to accept connections tcp");
    assert_eq!(text(&mut client, "GET key:1"), "value:1");
    assert_eq!(info(&mut client, "loading"), "0");
    assert_eq!(client.ask("DBSIZE").integer(), Some(2000));
}
