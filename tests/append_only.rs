//! Append-only files: written, rewritten, loaded, exchanged with a real Valkey, cut off, checked; and what is promised
//! by `appendfsync always` when the process is killed.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::rng::Rng;
use support::server::{Launch, Server, TempDir, free_port, reference_binary, skuld_binary};

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

fn in_directory(launch: Launch, directory: &Path) -> Launch {
    launch.option("dir", &directory.display().to_string()).option("appendonly", "yes")
}

fn random_command(rng: &mut Rng) -> Vec<Vec<u8>> {
    let key = format!("key:{}", rng.below(100));
    let other = format!("key:{}", rng.below(100));
    let number = rng.below(1000).to_string();
    let words: Vec<&str> = match rng.below(16) {
        0 => vec!["SET", &key, &number],
        1 => vec!["INCRBYFLOAT", &key, "0.5"],
        2 => vec!["RPUSH", &key, &number, "b", "c"],
        3 => vec!["LPOP", &key],
        4 => vec!["SADD", &key, &number, "member"],
        5 => vec!["SPOP", &key],
        6 => vec!["ZADD", &key, &number, "member"],
        7 => vec!["ZINCRBY", &key, "1.25", "other"],
        8 => vec!["HSET", &key, &number, "value"],
        9 => vec!["HPEXPIREAT", &key, "4102444800000", "FIELDS", "1", &number],
        10 => vec!["XADD", &key, "*", "field", &number],
        11 => vec!["PEXPIREAT", &key, "4102444800000"],
        12 => vec!["RENAME", &key, &other],
        13 => vec!["SELECT", if rng.one_in(2) { "0" } else { "2" }],
        14 => vec!["DEL", &key],
        _ => vec!["COPY", &key, &other, "REPLACE"],
    };
    command(&words)
}

fn fill(client: &mut Client, seed: u64, commands: usize) {
    let mut rng = Rng::new(seed);
    let mut batch = Vec::new();
    for n in 0..commands {
        if n % 50 == 10 {
            batch.push(command(&["MULTI"]));
        }
        batch.push(random_command(&mut rng));
        if n % 50 == 14 {
            batch.push(command(&["EXEC"]));
        }
    }
    client.pipeline(&batch);
    client.ask("SELECT 0");
}

fn rewritten(client: &mut Client) {
    wait_until("the rewrite has ended", || {
        info(client, "aof_rewrite_in_progress") == "0" && info(client, "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.join("appendonlydir"))
        .expect("the directory of the parts")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_done_is_there_after_a_kill() {
    for (workers, preamble) in [(1, "yes"), (3, "no")] {
        println!("{workers} workers, preamble {preamble}");
        let directory = TempDir::new();
        let launch = in_directory(Launch::skuld(workers), directory.path())
            .option("appendfsync", "always")
            .option("aof-use-rdb-preamble", preamble)
            .option("aof-timestamp-enabled", "yes");
        let mut digest = None;
        for round in 0..3 {
            let server = launch.start();
            let mut client = server.connect();
            if let Some(digest) = digest {
                assert_eq!(text(&mut client, "DEBUG DIGEST"), digest, "round {round}");
                assert!(server.log().contains("DB loaded from append only file: "), "{}", server.log());
            }
            fill(&mut client, round, 500);
            if round == 1 {
                assert_eq!(
                    text(&mut client, "BGREWRITEAOF"),
                    "Background append only file rewriting started"
                );
                fill(&mut client, 77, 300);
                rewritten(&mut client);
            }
            let now = text(&mut client, "DEBUG DIGEST");
            if round == 2 {
                assert_eq!(text(&mut client, "DEBUG LOADAOF"), "OK");
                assert_eq!(text(&mut client, "DEBUG DIGEST"), now);
                client.ask("SET after loadaof");
            }
            digest = Some(text(&mut client, "DEBUG DIGEST"));
        }
        let suffix = if preamble == "yes" { "rdb" } else { "aof" };
        assert_eq!(
            files(directory.path()),
            [
                format!("appendonly.aof.2.base.{suffix}"),
                "appendonly.aof.2.incr.aof".into(),
                "appendonly.aof.manifest".into()
            ]
        );
        let server = launch.start();
        assert_eq!(Some(text(&mut server.connect(), "DEBUG DIGEST")), digest);
    }
}

#[test]
fn directories_pass_between_us_and_valkey() {
    let Some(reference) = reference_binary("exchange of append-only files") else { return };
    for preamble in ["yes", "no"] {
        let directory = TempDir::new();
        let with = |launch: Launch| {
            in_directory(launch, directory.path())
                .option("aof-use-rdb-preamble", preamble)
                .option("appendfsync", "always")
        };
        let (ours, theirs) = (with(Launch::skuld(2)), with(Launch::reference(&reference)));
        let mut digest = None;
        for (round, launch) in [&theirs, &ours, &theirs, &ours].into_iter().enumerate() {
            let server = launch.start();
            let mut client = server.connect();
            if let Some(digest) = digest {
                assert_eq!(text(&mut client, "DEBUG DIGEST"), digest, "round {round}, preamble {preamble}");
            }
            fill(&mut client, round as u64, 300);
            if round < 2 {
                client.ask("BGREWRITEAOF");
                rewritten(&mut client);
                fill(&mut client, 50 + round as u64, 100);
            }
            digest = Some(text(&mut client, "DEBUG DIGEST"));
        }
    }
}

#[test]
fn it_can_be_switched_on_and_off() {
    for workers in [1, 3] {
        let directory = TempDir::new();
        let plain = Launch::skuld(workers).option("dir", &directory.path().display().to_string());
        let digest = {
            let server = plain.start();
            let mut client = server.connect();
            fill(&mut client, 3, 300);
            assert_eq!(text(&mut client, "CONFIG SET appendonly yes"), "OK");
            assert_eq!(info(&mut client, "aof_enabled"), "1");
            fill(&mut client, 4, 300);
            rewritten(&mut client);
            assert_eq!(text(&mut client, "CONFIG SET appendonly no"), "OK");
            assert_eq!(info(&mut client, "aof_enabled"), "0");
            client.ask("SET lost yes");
            assert_eq!(text(&mut client, "CONFIG SET appendonly yes"), "OK");
            rewritten(&mut client);
            fill(&mut client, 5, 100);
            let digest = text(&mut client, "DEBUG DIGEST");
            let mut server = server;
            client.send(&command(&["SHUTDOWN"]));
            assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log());
            digest
        };
        let server = in_directory(Launch::skuld(workers), directory.path()).start();
        assert_eq!(text(&mut server.connect(), "DEBUG DIGEST"), digest, "{workers} workers");
    }
}

#[test]
fn it_can_be_switched_off_and_on_in_one_transaction() {
    for workers in [1, 3] {
        for round in 0..4 {
            let directory = TempDir::new();
            let launch = in_directory(Launch::skuld(workers), directory.path());
            let log = {
                let server = launch.start();
                let mut client = server.connect();
                client.ask("SET before 1");
                if round % 2 == 1 {
                    // With a rewrite of one's own under way.
                    client.ask("BGREWRITEAOF");
                }
                for line in ["MULTI", "CONFIG SET appendonly no", "CONFIG SET appendonly yes", "EXEC"] {
                    client.ask(line);
                }
                rewritten(&mut client);
                wait_until("the scheduled rewrite has ended", || {
                    info(&mut client, "aof_rewrite_scheduled") == "0"
                });
                rewritten(&mut client);
                client.ask("SET after 1");
                client.ask("CONFIG SET appendfsync always");
                client.ask("SET last 1");
                let mut server = server;
                client.send(&command(&["SHUTDOWN"]));
                assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log());
                server.log()
            };
            let server = launch.start();
            let answer = server.connect().ask("EXISTS before after last");
            assert_eq!(answer.integer(), Some(3), "{workers} workers, round {round}: {log}");
        }
    }
}

/// Messages are for those who listen now; and what only a connection could do is left out when a file is loaded.
#[test]
fn a_file_holds_no_messages_and_needs_no_connection() {
    let directory = TempDir::new();
    let launch = in_directory(Launch::skuld(1), directory.path()).option("appendfsync", "always");
    {
        let server = launch.start();
        let mut client = server.connect();
        for line in [
            "PUBLISH channel message",
            "SPUBLISH channel message",
            "MULTI",
            "PUBLISH channel message",
            "SET a 1",
            "EXEC",
            "EVAL return(redis.call('PUBLISH','channel','message')) 0",
            "SET b 2",
        ] {
            client.ask(line);
        }
    }
    let path = incremental(directory.path());
    let written = fs::read(&path).expect("the file was written");
    let words = String::from_utf8_lossy(&written).to_ascii_uppercase();
    assert!(words.contains("SET") && !words.contains("PUBLISH"), "{words}");
    let mut odd = written;
    for name in ["SUBSCRIBE", "MONITOR", "QUIT", "RESET", "BGREWRITEAOF", "SHUTDOWN"] {
        let extra = if name == "SUBSCRIBE" {
            "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n".into()
        } else {
            format!("*1\r\n${}\r\n{name}\r\n", name.len())
        };
        odd.extend_from_slice(extra.as_bytes());
    }
    odd.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n");
    fs::write(&path, odd).expect("the directory is ours");
    let server = launch.start();
    assert_eq!(server.connect().ask("EXISTS a b c").integer(), Some(3));
    let critical = "== CRITICAL == This server is sending an error to its AOF-loading-client: 'SUBSCRIBE isn't allowed for a \
                    DENY BLOCKING client' after processing the command 'subscribe'";
    assert!(server.log().contains(critical), "{}", server.log());
}

/// The disk takes a while. Who reads what nobody has written lately does not wait for it; who reads what was just
/// written sees it when it is in the file.
#[test]
fn readers_wait_for_what_they_are_shown_alone() {
    for workers in [1, 3] {
        let directory = TempDir::new();
        let launch = in_directory(Launch::skuld(workers), directory.path()).option("appendfsync", "always");
        let server = launch.start();
        let mut client = server.connect();
        client.ask("MSET other 1 {other}2 2 elsewhere 3");
        let path = incremental(directory.path());
        assert_eq!(client.ask("DEBUG AOF-FLUSH-SLEEP 500000").text(), "OK");
        let unconcerned = ["GET other", "STRLEN {other}2", "MGET other elsewhere", "TTL nothing"];
        let concerned =
            ["GET written", "MGET other written", "EVAL return(redis.call('GET',KEYS[1])) 1 written"];
        for line in unconcerned.iter().chain(&concerned) {
            let is_written = Arc::new(AtomicUsize::new(0));
            let writer = {
                let (mut client, is_written) = (server.connect(), is_written.clone());
                std::thread::spawn(move || {
                    let reply = client.ask("INCR written");
                    is_written.store(1, Ordering::SeqCst);
                    reply
                })
            };
            let mut reader = server.connect();
            let mut answers = 0;
            while is_written.load(Ordering::SeqCst) == 0 {
                let reply = reader.ask(line).to_string();
                answers += 1;
                if concerned.contains(line) {
                    let number = |c: char| !c.is_ascii_digit();
                    let shown = reply.rsplit(number).find_map(|word| word.parse().ok()).unwrap_or(0);
                    let file = fs::read(&path).expect("the file is written");
                    let written = file.windows(7).filter(|word| *word == b"written").count();
                    assert!(
                        written >= shown,
                        "{workers} workers, {line}: {reply} with {written} in the file"
                    );
                }
            }
            assert!(writer.join().expect("the writer is answered").integer().is_some());
            // It may take the write a moment to arrive; then it takes half a second.
            if unconcerned.contains(line) {
                assert!(answers > 20, "{workers} workers, {line}: {answers} answers during a write");
            }
        }
    }
}

/// Clients that write as fast as they are answered; the process is killed while they do. Whatever was answered must be
/// there, and also what only another client's answer showed.
#[test]
fn nothing_acknowledged_under_always_is_lost_when_killed() {
    const CLIENTS: usize = 8;
    for (round, workers) in [1, 2, 1].into_iter().enumerate() {
        let directory = TempDir::new();
        let launch = in_directory(Launch::skuld(workers), directory.path()).option("appendfsync", "always");
        let acknowledged: Vec<_> = (0..CLIENTS).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let seen = Arc::new(AtomicUsize::new(0));
        let server = launch.start();
        let writers: Vec<_> = acknowledged
            .iter()
            .enumerate()
            .map(|(number, acknowledged)| {
                let (mut client, acknowledged) = (server.connect(), acknowledged.clone());
                std::thread::spawn(move || {
                    for value in 1.. {
                        let set = command(&["SET", &format!("client:{number}"), &value.to_string()]);
                        if client.call(&set).is_err() {
                            return;
                        }
                        acknowledged.store(value, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let reader = {
            let (mut client, seen) = (server.connect(), seen.clone());
            std::thread::spawn(move || {
                while let Ok(reply) = client.call(&command(&["GET", "client:0"])) {
                    if let Ok(value) = reply.value.text().parse() {
                        seen.store(value, Ordering::SeqCst);
                    }
                }
            })
        };
        wait_until("everybody writes", || {
            acknowledged.iter().all(|a| a.load(Ordering::SeqCst) > 20 + 10 * round)
        });
        server.signal("KILL");
        writers.into_iter().chain([reader]).for_each(|thread| thread.join().expect("the client ends"));
        drop(server);
        let server = launch.start();
        let mut client = server.connect();
        for (number, acknowledged) in acknowledged.iter().enumerate() {
            let there: usize = text(&mut client, &format!("GET client:{number}")).parse().expect("a number");
            assert!(there >= acknowledged.load(Ordering::SeqCst), "client {number}: {there}");
        }
        let there: usize = text(&mut client, "GET client:0").parse().expect("a number");
        assert!(there >= seen.load(Ordering::SeqCst), "a reader had seen more than is there");
    }
}

/// Under `everysec` at most what was answered in the last two seconds may be missing, and nothing before something else
/// of the same client.
#[test]
fn two_seconds_at_most_are_lost_under_everysec_when_killed() {
    const LOST_AT_MOST: Duration = Duration::from_secs(2);
    for workers in [1, 2] {
        let directory = TempDir::new();
        let launch = in_directory(Launch::skuld(workers), directory.path()).option("appendfsync", "everysec");
        let server = launch.start();
        let began = Instant::now();
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let mut client = server.connect();
                std::thread::spawn(move || {
                    let mut answered = Vec::new();
                    for value in 1.. {
                        let push = command(&["RPUSH", &format!("client:{number}"), &value.to_string()]);
                        if client.call(&push).is_err() {
                            break;
                        }
                        answered.push(Instant::now());
                    }
                    answered
                })
            })
            .collect();
        wait_until("there is something that must be kept", || {
            began.elapsed() > LOST_AT_MOST + Duration::from_millis(700)
        });
        let killed = Instant::now();
        server.signal("KILL");
        let answered: Vec<Vec<Instant>> =
            writers.into_iter().map(|writer| writer.join().expect("the client ends")).collect();
        drop(server);
        let server = launch.start();
        let mut client = server.connect();
        for (number, answered) in answered.iter().enumerate() {
            let must_be = answered.iter().filter(|at| **at + LOST_AT_MOST < killed).count();
            assert!(must_be > 0, "client {number} wrote nothing in time");
            let there = client.ask(&format!("LRANGE client:{number} 0 -1"));
            let there: Vec<String> = there.items().iter().map(Value::text).collect();
            assert!(there.len() >= must_be, "client {number}: {} of {must_be}", there.len());
            let expected: Vec<String> = (1..=there.len()).map(|n| n.to_string()).collect();
            assert_eq!(there, expected, "client {number}: without gaps");
        }
    }
}

fn refused(launch: &Launch) -> String {
    let mut server = launch.spawn(free_port());
    assert_eq!(server.wait_for_exit().code(), Some(1), "{}", server.log());
    server.log()
}

/// A directory with a few commands and an unfinished transaction at the end.
fn made(directory: &Path) {
    let server = in_directory(Launch::skuld(1), directory).option("appendfsync", "always").start();
    let mut client = server.connect();
    for line in ["SET a 1", "SET b 2", "SET c 3"] {
        assert_eq!(text(&mut client, line), "OK");
    }
}

fn incremental(directory: &Path) -> std::path::PathBuf {
    directory.join("appendonlydir/appendonly.aof.1.incr.aof")
}

#[test]
fn a_torn_part_before_the_last_stops_one_start_and_is_cut_off() {
    let directory = TempDir::new();
    made(directory.path());
    let path = incremental(directory.path());
    let whole = fs::read(&path).expect("the file was written");
    let last = whole.windows(4).rposition(|w| w == b"*3\r\n").expect("the last command");
    fs::write(&path, &whole[..whole.len() - 1]).expect("the directory is ours");
    let part = "appendonly.aof.2.incr.aof";
    let more = b"*3\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n4\r\n";
    fs::write(path.with_file_name(part), more).expect("the directory is ours");
    let manifest = path.with_file_name("appendonly.aof.manifest");
    let mut lines = fs::read_to_string(&manifest).expect("the manifest is there");
    lines += &format!("file {part} seq 2 type i\n");
    fs::write(&manifest, lines).expect("the directory is ours");
    let launch = in_directory(Launch::skuld(1), directory.path());
    let log = refused(&launch);
    assert!(log.trim_end().ends_with("Fatal error: the truncated file is not the last file"), "{log}");
    assert_eq!(fs::metadata(&path).expect("the file is there").len(), last as u64);
    let server = launch.start();
    assert_eq!(server.connect().ask("EXISTS a b c d").integer(), Some(3));
}

#[test]
fn a_torn_end_is_cut_off_or_refused_as_configured() {
    let directory = TempDir::new();
    made(directory.path());
    let path = incremental(directory.path());
    let whole = fs::read(&path).expect("the file was written");
    let last = whole.windows(4).rposition(|w| w == b"*3\r\n").expect("the last command");
    let launch = in_directory(Launch::skuld(1), directory.path());
    for end in last + 1..whole.len() {
        fs::write(&path, &whole[..end]).expect("the directory is ours");
        let server = launch.start();
        let mut client = server.connect();
        assert_eq!(client.ask("EXISTS a b c").integer(), Some(2), "cut at {end}");
        assert_eq!(fs::metadata(&path).expect("the file is there").len(), last as u64);
        assert!(server.log().contains("loaded anyway because aof-load-truncated is enabled"));
    }
    let multi = b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n4\r\n";
    fs::write(&path, [&whole[..], multi].concat()).expect("the directory is ours");
    {
        let server = launch.start();
        assert_eq!(server.connect().ask("EXISTS a b c d").integer(), Some(3));
        assert!(server.log().contains("Revert incomplete MULTI/EXEC transaction in AOF file"));
    }
    assert_eq!(fs::metadata(&path).expect("the file is there").len(), whole.len() as u64);
    fs::write(&path, &whole[..whole.len() - 1]).expect("the directory is ours");
    let log = refused(&launch.clone().option("aof-load-truncated", "no"));
    assert!(log.contains("Unexpected end of file reading the append only file"), "{log}");
    fs::write(&path, [&whole[..], b"nonsense\r\n"].concat()).expect("the directory is ours");
    let log = refused(&launch);
    assert!(log.contains("Bad file format reading the append only file"), "{log}");
    fs::write(&path, [&whole[..], b"*1\r\n$7\r\nNOSUCHX\r\n"].concat()).expect("the directory is ours");
    assert!(refused(&launch).contains("unknown command 'NOSUCHX'"));
    fs::remove_file(&path).expect("the file is there");
    let log = refused(&launch);
    let missing =
        "Unable to obtain the AOF file appendonly.aof.1.incr.aof length. stat: No such file or directory";
    assert!(log.contains(missing) && !log.contains("DB loaded from base file"), "{log}");
    fs::write(directory.path().join("appendonlydir/appendonly.aof.manifest"), "file x seq 1 type q\n")
        .expect("the directory is ours");
    let log = refused(&launch);
    assert!(log.contains("*** FATAL AOF MANIFEST FILE ERROR ***"), "{log}");
    assert!(log.contains("Unknown AOF file type"), "{log}");
}

#[test]
fn a_single_old_file_is_taken_over() {
    let directory = TempDir::new();
    let commands = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$3\r\nold\r\n$4\r\nfile\r\n";
    fs::write(directory.path().join("appendonly.aof"), commands).expect("the directory is ours");
    let server = in_directory(Launch::skuld(1), directory.path()).start();
    let mut client = server.connect();
    assert_eq!(text(&mut client, "GET old"), "file");
    assert!(server.log().contains("Successfully migrated an old-style AOF file (appendonly.aof)"));
    assert_eq!(
        files(directory.path()),
        ["appendonly.aof", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
    );
    client.ask("BGREWRITEAOF");
    rewritten(&mut client);
    assert!(!files(directory.path()).contains(&"appendonly.aof".to_owned()));
}

#[test]
fn growth_starts_a_rewrite() {
    let server = Launch::skuld(1)
        .option("appendonly", "yes")
        .option("auto-aof-rewrite-min-size", "20kb")
        .option("auto-aof-rewrite-percentage", "100")
        .start();
    let mut client = server.connect();
    let batch: Vec<_> = (0..1000).map(|n| command(&["SET", "same", &"x".repeat(n % 100)])).collect();
    client.pipeline(&batch);
    wait_until("the log says so", || server.log().contains("Starting automatic rewriting of AOF on "));
    wait_until("it has ended", || server.log().contains("Background AOF rewrite finished successfully"));
    rewritten(&mut client);
}

fn check(arguments: &[&str], answer: &str) -> (String, i32) {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(skuld_binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("it is piped").write_all(answer.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().unwrap_or(-1))
}

#[test]
fn the_tools_explain_and_repair() {
    let directory = TempDir::new();
    made(directory.path());
    let path = incremental(directory.path());
    let manifest = directory.path().join("appendonlydir/appendonly.aof.manifest").display().to_string();
    let (out, status) = check(&["--check-aof", &manifest], "");
    assert!(out.contains("All AOF files and manifest are valid") && out.contains("RDB looks OK!"), "{out}");
    assert_eq!(status, 0);
    let whole = fs::read(&path).expect("the file was written");
    fs::write(&path, &whole[..whole.len() - 2]).expect("the directory is ours");
    let (out, status) = check(&["--check-aof", &manifest], "");
    assert!(out.contains("AOF analyzed: filename=appendonly.aof.1.incr.aof, size="), "{out}");
    assert!(out.contains("is not valid. Use the --fix option to try fixing it."), "{out}");
    assert_eq!(status, 1);
    let (out, status) = check(&["--check-aof", "--fix", &manifest], "y\n");
    assert!(out.contains("Successfully truncated AOF appendonly.aof.1.incr.aof"), "{out}");
    assert_eq!(status, 0);
    assert_eq!(check(&["--check-aof", &manifest], "").1, 0);
    let timed = directory.path().join("timed.aof");
    let one = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n";
    fs::write(&timed, format!("#TS:100\r\n{one}#TS:200\r\n{one}")).expect("the directory is ours");
    let name = timed.display().to_string();
    let (out, _) = check(&["--check-aof", "--truncate-to-timestamp", "150", &name], "");
    assert!(out.contains("Successfully truncated AOF timed.aof to timestamp 150"), "{out}");
    assert_eq!(fs::read_to_string(&timed).expect("it is there"), format!("#TS:100\r\n{one}"));
    let base = directory.path().join("appendonlydir/appendonly.aof.1.base.rdb");
    let (out, status) = check(&["--check-rdb", &base.display().to_string()], "");
    assert!(out.contains("\\o/ RDB looks OK! \\o/"), "{out}");
    assert_eq!(status, 0);
    let bytes = fs::read(&base).expect("it is there");
    fs::write(&base, &bytes[..bytes.len() - 9]).expect("the directory is ours");
    let (out, status) = check(&["--check-rdb", &base.display().to_string()], "");
    assert!(out.contains("--- RDB ERROR DETECTED ---"), "{out}");
    assert_eq!(status, 1);
}

/// Files that may not grow beyond a size: writing fails as on a full disk, writes are refused, and go on when there is room.
#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let server: Server = Launch::skuld(1).option("appendonly", "yes").start();
    let mut client = server.connect();
    client.ask("SET a 1");
    let limit = |bytes: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &server.process_id().to_string(), &format!("--fsize={bytes}:unlimited")])
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !limit("4096") {
        eprintln!("SKIPPED: limits of a process cannot be changed here");
        return;
    }
    client.ask(&format!("SET big {}", "x".repeat(8192)));
    wait_until("the failure is seen", || info(&mut client, "aof_last_write_status") == "err");
    let refusal = text(&mut client, "SET b 1");
    assert!(refusal.starts_with("MISCONF Errors writing to the AOF file: "), "{refusal}");
    assert_eq!(text(&mut client, "GET a"), "1");
    assert!(limit("unlimited"));
    wait_until("it is written", || info(&mut client, "aof_last_write_status") == "ok");
    assert_eq!(text(&mut client, "SET b 1"), "OK");
    assert_eq!(text(&mut client, "DEBUG LOADAOF"), "OK");
    assert_eq!(client.ask("STRLEN big").integer(), Some(8192));
}
