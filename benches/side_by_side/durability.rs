//! What durability and replication cost those who are served meanwhile: gaps during saves, rewrites and full syncs, memory
//! for what is written meanwhile, throughput of saving and loading, processor time with a replica or a log.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::gap::{busy_processors, during, figures};
use crate::load::{self, fill};
use crate::median;
use crate::servers::{Binaries, Kind, Server};

const VALUE: &str = "SET key:%k xxxxxxxxxxxxxxxx";
const PATIENCE: Duration = Duration::from_secs(300);

/// One request, one reply that ends in a line.
pub fn ask(server: &Server, request: &str) -> String {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(format!("{request}\r\n").as_bytes()).expect("request");
    let mut reply = Vec::new();
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = stream.read(&mut buf).expect("reply");
        assert!(n > 0, "closed at {request}");
        reply.extend_from_slice(&buf[..n]);
        let whole = match reply[0] {
            b'$' => reply.iter().position(|&b| b == b'\n').is_some_and(|end| {
                let length = String::from_utf8_lossy(&reply[1..end - 1]).parse::<usize>().unwrap_or(0);
                reply.len() >= end + 1 + length + 2
            }),
            _ => reply.ends_with(b"\n"),
        };
        if whole {
            return String::from_utf8_lossy(&reply).into_owned();
        }
    }
}

/// A field of INFO.
fn info(server: &Server, field: &str) -> String {
    let text = ask(server, "INFO everything");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().to_owned()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn save_in_background(server: &Server) {
    let reply = ask(server, "BGSAVE");
    assert!(reply.starts_with('+'), "{reply}");
    wait_until("BGSAVE", || info(server, "rdb_bgsave_in_progress") == "0");
    assert_eq!(info(server, "rdb_last_bgsave_status"), "ok");
}

fn rewrite_in_background(server: &Server) {
    let reply = ask(server, "BGREWRITEAOF");
    assert!(reply.starts_with('+'), "{reply}");
    wait_until("BGREWRITEAOF", || {
        info(server, "aof_rewrite_in_progress") == "0" && info(server, "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(info(server, "aof_last_bgrewrite_status"), "ok");
}

/// Reads a whole snapshot as a replica without disk would, as fast as it comes.
fn full_sync(server: &Server) {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let (mut buf, mut all) = (vec![0; 1 << 20], Vec::new());
    stream.write_all(b"REPLCONF capa eof capa psync2\r\n").expect("request");
    assert!(stream.read(&mut buf).expect("reply") > 0);
    stream.write_all(b"PSYNC ? -1\r\n").expect("request");
    // +FULLRESYNC, then `$EOF:` and the forty bytes that mark the end.
    let mark = loop {
        let n = stream.read(&mut buf).expect("the snapshot");
        assert!(n > 0, "closed");
        all.extend_from_slice(&buf[..n]);
        let at = all.windows(5).position(|w| w == b"$EOF:");
        if let Some(at) = at.filter(|at| all.len() >= at + 47) {
            break all[at + 5..at + 45].to_vec();
        }
    };
    all.drain(..all.len() - 40.min(all.len()));
    while !all.windows(40).any(|w| w == mark) {
        let n = stream.read(&mut buf).expect("the snapshot");
        assert!(n > 0, "closed");
        all.extend_from_slice(&buf[..n]);
        let keep = all.len().saturating_sub(40 + n);
        all.drain(..keep);
    }
}

type Deed = (&'static str, fn(&Server));

const DEEDS: &[Deed] = &[
    ("at rest", |_| std::thread::sleep(Duration::from_millis(500))),
    ("at rest, processors busy", busy_processors),
    ("BGSAVE", save_in_background),
    ("BGREWRITEAOF", rewrite_in_background),
    ("full sync without disk", full_sync),
];

/// Longest gap of a probing client, microseconds, for each deed.
fn gaps(binaries: &Binaries, kind: Kind, keys: u64) -> Vec<f64> {
    let options = ["--repl-diskless-sync-delay", "0", "--appendonly", "no"];
    let server = Server::start_with(binaries, kind, 1, 2, &options);
    fill(&server, VALUE, keys);
    DEEDS.iter().map(|deed| during(&server, deed.1)).collect()
}

/// How the server saved and loaded so many keys, with 100 bytes each.
struct Throughput {
    save_keys_s: f64,
    load_keys_s: f64,
    /// Processor time of all threads, microseconds a key.
    save_cpu: f64,
    load_cpu: f64,
    bytes: u64,
}

fn throughput(binaries: &Binaries, kind: Kind, workers: u32, keys: u64) -> Throughput {
    let processors = workers as usize;
    let server = Server::start_with(binaries, kind, workers, processors, &[]);
    let value = format!("SET key:%k {}", "0123456789abcdefghijklmnopqrstuvwxyz".repeat(3));
    fill(&server, &value, keys);
    let timed = |request: &str| {
        let (start, before) = (Instant::now(), server.cpu_us());
        assert!(ask(&server, request).starts_with("+OK"));
        let after = server.cpu_us();
        (start.elapsed().as_secs_f64(), (after.0 + after.1 - before.0 - before.1) / keys as f64)
    };
    let (save, save_cpu) = timed("SAVE");
    let bytes = std::fs::metadata(server.dir().join("dump.rdb")).map_or(0, |m| m.len());
    let (load, load_cpu) = timed("DEBUG RELOAD NOSAVE");
    assert_eq!(ask(&server, "DBSIZE").trim(), format!(":{keys}"));
    Throughput { save_keys_s: keys as f64 / save, load_keys_s: keys as f64 / load, save_cpu, load_cpu, bytes }
}

/// Bytes that a save under writes to all keys adds to what the server and its children take.
fn extra_memory(binaries: &Binaries, kind: Kind, keys: u64) -> (f64, f64) {
    let server = Server::start_with(binaries, kind, 1, 2, &[]);
    let value = format!("SET key:%k {}", "x".repeat(500));
    fill(&server, &value, keys);
    let before = server.memory_with_children();
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, mut stream) = (stop.clone(), server.connect());
    let writer = std::thread::spawn(move || {
        let mut reader = stream.try_clone().expect("clone");
        let drain = std::thread::spawn(move || {
            let mut buf = vec![0; 1 << 16];
            while reader.read(&mut buf).is_ok_and(|n| n > 0) {}
        });
        let mut n = 0u64;
        while !flag.load(Ordering::Relaxed) {
            let mut out = String::new();
            for _ in 0..100 {
                n = (n + 7919) % keys;
                out.push_str(&format!("SET key:{n:012} {}\r\n", "y".repeat(500)));
            }
            stream.write_all(out.as_bytes()).expect("writes");
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let _ = drain.join();
    });
    std::thread::sleep(Duration::from_millis(200));
    let mut most = before;
    let reply = ask(&server, "BGSAVE");
    assert!(reply.starts_with('+'), "{reply}");
    wait_until("BGSAVE", || {
        most = most.max(server.memory_with_children());
        info(&server, "rdb_bgsave_in_progress") == "0"
    });
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer ends");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    (mib(before), mib(most.saturating_sub(before)))
}

/// Processor time per request, microseconds, of a primary and its replica.
fn replicated(binaries: &Binaries, kind: Kind, requests: u64) -> (f64, f64) {
    let primary = Server::start_with(binaries, kind, 1, 1, &["--repl-diskless-sync-delay", "0"]);
    let port = primary.port.to_string();
    let replica = Server::start_with(binaries, kind, 1, 2, &["--replicaof", "127.0.0.1", &port]);
    wait_until("the link", || info(&replica, "master_link_status") == "up");
    let scenario = load::scenario_named("set p16");
    load::drive(&primary, scenario, requests / 10);
    let settle = || {
        wait_until("the replica", || {
            info(&primary, "master_repl_offset") == info(&replica, "master_repl_offset")
        });
    };
    settle();
    let sum = |(user, system): (f64, f64)| user + system;
    let (before, before_replica) = (sum(primary.cpu_us()), sum(replica.cpu_us()));
    let written = load::drive(&primary, scenario, requests).requests;
    settle();
    ((sum(primary.cpu_us()) - before) / written, (sum(replica.cpu_us()) - before_replica) / written)
}

/// Processor time per SET at pipeline 16 with a log that is synchronised every second, microseconds.
fn every_second(binaries: &Binaries, kind: Kind, requests: u64) -> f64 {
    let options = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    let server = Server::start_with(binaries, kind, 1, 1, &options);
    let figures = load::drive(&server, load::scenario_named("set p16"), requests);
    figures.user_us + figures.system_us
}

struct Always {
    per_second: f64,
    /// Of a client that reads beside the writers, and at rest; microseconds.
    read_p99: f64,
    rest_p99: f64,
}

/// Fifty writers with a log that is synchronised for every group of writes.
fn always(binaries: &Binaries, kind: Kind, requests: u64) -> Always {
    let options = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    let server = Server::start_with(binaries, kind, 1, 2, &options);
    let reader = || {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut stream, flag) = (server.connect(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (mut all, mut reply) = (Vec::new(), [0; 64]);
            while !flag.load(Ordering::Relaxed) {
                let start = Instant::now();
                stream.write_all(b"GET probe\r\n").expect("probe");
                assert!(stream.read(&mut reply).expect("reply") > 0);
                all.push(start.elapsed().as_secs_f64() * 1e6);
                std::thread::sleep(Duration::from_micros(200));
            }
            all.sort_by(f64::total_cmp);
            all[all.len() * 99 / 100]
        });
        move || {
            stop.store(true, Ordering::Relaxed);
            thread.join().expect("the reader ends")
        }
    };
    let at_rest = reader();
    std::thread::sleep(Duration::from_secs(1));
    let rest_p99 = at_rest();
    let beside = reader();
    let figures = load::drive(&server, load::scenario_named("set p1"), requests);
    Always { per_second: figures.per_second, read_p99: beside(), rest_p99 }
}

/// fdatasync and fsync calls per 1,000 writes of fifty clients; `None` without strace.
fn syncs(binaries: &Binaries, kind: Kind, requests: u64) -> Option<f64> {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    strace.ok().filter(std::process::ExitStatus::success)?;
    let options = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    let (mut server, counts) = Server::start_counting_syncs(binaries, kind, &options);
    let writes = load::drive(&server, load::scenario_named("set p1"), requests).requests;
    let mut stream = server.connect();
    stream.write_all(b"SHUTDOWN NOSAVE\r\n").expect("request");
    server.wait();
    let text = std::fs::read_to_string(counts).ok()?;
    let calls = |line: &str| -> Option<f64> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = *words.last()?;
        (name == "fdatasync" || name == "fsync").then(|| words.get(3)?.parse().ok())?
    };
    Some(text.lines().filter_map(calls).sum::<f64>() * 1000.0 / writes)
}

const KINDS: [Kind; 2] = [Kind::Skuld, Kind::Valkey];

pub fn run(binaries: &Binaries, runs: usize, requests: u64, keys: u64, wanted: &dyn Fn(&str) -> bool) {
    let both = |f: &dyn Fn(Kind) -> f64| {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(f(Kind::Skuld));
            theirs.push(f(Kind::Valkey));
        }
        (median(ours), median(theirs))
    };
    if wanted("gaps") {
        println!(
            "\n| longest gap of a probing client, {keys} keys, us: median (all runs) | Skuld | Valkey |"
        );
        println!("|---|---|---|");
        let all: Vec<Vec<Vec<f64>>> =
            KINDS.iter().map(|&kind| (0..runs).map(|_| gaps(binaries, kind, keys)).collect()).collect();
        for (at, (name, _)) in DEEDS.iter().enumerate() {
            let show = |runs: &[Vec<f64>]| figures(runs.iter().map(|run| run[at]).collect());
            println!("| {name} | {} | {} |", show(&all[0]), show(&all[1]));
        }
    }
    if wanted("throughput") {
        println!(
            "\n| {keys} keys of 108 bytes | save keys/s | load keys/s | MB/s saved | CPU us/key: save | load | file, bytes |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (name, kind, workers) in
            [("Skuld", Kind::Skuld, 1), ("Skuld, 2 workers", Kind::Skuld, 2), ("Valkey", Kind::Valkey, 1)]
        {
            let all: Vec<Throughput> = (0..runs).map(|_| throughput(binaries, kind, workers, keys)).collect();
            let save = median(all.iter().map(|t| t.save_keys_s).collect());
            let load = median(all.iter().map(|t| t.load_keys_s).collect());
            let save_cpu = median(all.iter().map(|t| t.save_cpu).collect());
            let load_cpu = median(all.iter().map(|t| t.load_cpu).collect());
            let bytes = all[0].bytes;
            let mb_s = save / keys as f64 * bytes as f64 / 1e6;
            println!(
                "| {name} | {save:.0} | {load:.0} | {mb_s:.0} | {save_cpu:.2} | {load_cpu:.2} | {bytes} |"
            );
        }
    }
    if wanted("extra") {
        println!("\n| BGSAVE under writes to {} keys of 500 bytes | before, MiB | added, MiB |", keys / 2);
        println!("|---|---|---|");
        for kind in KINDS {
            let (before, added) = extra_memory(binaries, kind, keys / 2);
            println!("| {kind:?} | {before:.0} | {added:.0} |");
        }
    }
    if wanted("replicated") || wanted("everysec") || wanted("always") {
        println!("\n| | Skuld | Valkey | ratio |");
        println!("|---|---|---|---|");
    }
    let row = |name: &str, (ours, theirs): (f64, f64)| {
        println!("| {name} | {ours:.2} | {theirs:.2} | {:.2} |", ours / theirs);
    };
    if wanted("replicated") {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(replicated(binaries, Kind::Skuld, requests));
            theirs.push(replicated(binaries, Kind::Valkey, requests));
        }
        let pick = |of: &[(f64, f64)], f: fn(&(f64, f64)) -> f64| median(of.iter().map(f).collect());
        row("SET p16, CPU of a primary with a replica, us", (pick(&ours, |r| r.0), pick(&theirs, |r| r.0)));
        row("the replica's, us", (pick(&ours, |r| r.1), pick(&theirs, |r| r.1)));
    }
    if wanted("everysec") {
        row("SET p16, CPU with everysec, us", both(&|kind| every_second(binaries, kind, requests)));
    }
    if wanted("always") {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            ours.push(always(binaries, Kind::Skuld, requests / 10));
            theirs.push(always(binaries, Kind::Valkey, requests / 10));
        }
        let pick = |of: &[Always], f: fn(&Always) -> f64| median(of.iter().map(f).collect());
        let of_both = |f: fn(&Always) -> f64| (pick(&ours, f), pick(&theirs, f));
        row("always, 50 clients, writes/s", of_both(|a| a.per_second));
        row("always, a reader beside them, p99 us", of_both(|a| a.read_p99));
        row("the same at rest", of_both(|a| a.rest_p99));
        let counts = KINDS.map(|kind| syncs(binaries, kind, requests / 10));
        if let [Some(ours), Some(theirs)] = counts {
            row("always, syncs per 1,000 writes", (ours, theirs));
        }
    }
}
