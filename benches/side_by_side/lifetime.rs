//! How keys end: how late expiry is, what it and big flushes do to others, and which keys eviction keeps.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::gap::with_probe;
use crate::load::fill;
use crate::median;
use crate::servers::{Binaries, Kind, Server};

/// Keys with a deadline far away.
const OTHERS: u64 = 1_000_000;
/// Keys that are watched for being on time, and how long one that does not come is waited for.
const DUE: usize = 100;
const PATIENCE: Duration = Duration::from_secs(120);
const BURST: u64 = 500_000;
const FLUSHED: u64 = 5_000_000;

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64() * 1000.0)
}

/// Sends inline commands and waits for as many lines as `lines` says.
fn ask(stream: &mut TcpStream, request: &str, lines: usize) -> Vec<u8> {
    stream.write_all(request.as_bytes()).expect("request");
    let (mut all, mut buf) = (Vec::new(), [0; 1 << 16]);
    while all.iter().filter(|&&b| b == b'\n').count() < lines {
        let n = stream.read(&mut buf).expect("reply");
        assert!(n > 0, "closed");
        all.extend_from_slice(&buf[..n]);
    }
    all
}

fn keys_left(stream: &mut TcpStream) -> u64 {
    let reply = ask(stream, "DBSIZE\r\n", 1);
    String::from_utf8_lossy(&reply).trim().trim_start_matches(':').parse().expect("a number")
}

/// How late the `expired` event of each due key comes, milliseconds, sorted; what has not come counts as
/// [`PATIENCE`].
fn lateness(binaries: &Binaries, kind: Kind, workers: u32) -> Vec<f64> {
    let server = Server::start(binaries, kind, workers);
    fill(&server, "SET ttl:%k xxxxxxxxxxxxxxxx EX 100000", OTHERS);
    let (mut client, mut events) = (server.connect(), server.connect());
    ask(&mut client, "CONFIG SET notify-keyspace-events Ex\r\n", 1);
    ask(&mut events, "SUBSCRIBE __keyevent@0__:expired\r\n", 6);
    events.set_read_timeout(Some(Duration::from_millis(100))).expect("timeout");
    // Each event is timed when it comes, also while keys are still being set.
    let reader = std::thread::spawn(move || {
        let began = Instant::now();
        let mut came: Vec<Option<f64>> = vec![None; DUE];
        let (mut text, mut buf) = (String::new(), [0; 1 << 16]);
        while came.iter().any(Option::is_none) && began.elapsed() < PATIENCE {
            let Ok(n) = events.read(&mut buf) else { continue };
            let now = unix_ms();
            text += &String::from_utf8_lossy(&buf[..n]);
            while let Some(end) =
                text.find("due:").and_then(|at| text[at..].find("\r\n").map(|end| (at, at + end)))
            {
                let number: usize = text[end.0 + 4..end.1].parse().expect("a number");
                came[number] = Some(now);
                text.drain(..end.1);
            }
        }
        came
    });
    let mut deadlines = Vec::new();
    for i in 0..DUE {
        let deadline = (unix_ms() + 100.0).floor();
        ask(&mut client, &format!("SET due:{i} v PXAT {}\r\n", deadline as i64), 1);
        deadlines.push(deadline);
        std::thread::sleep(Duration::from_millis(7));
    }
    let came = reader.join().expect("the reader ends");
    let late = came.into_iter().zip(deadlines).map(|(came, deadline)| came.map(|came| came - deadline));
    let mut late: Vec<f64> = late.map(|late| late.unwrap_or(PATIENCE.as_secs_f64() * 1000.0)).collect();
    late.sort_by(f64::total_cmp);
    late
}

/// Gap while [`BURST`] keys are due at once, and milliseconds until they are gone.
fn burst(binaries: &Binaries, kind: Kind, workers: u32) -> (f64, f64) {
    let server = Server::start(binaries, kind, workers);
    let mut client = server.connect();
    ask(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0\r\n", 1);
    let due = unix_ms() + 15_000.0;
    fill(&server, &format!("SET burst:%k xxxxxxxxxxxxxxxx PXAT {}", due as i64), BURST);
    ask(&mut client, "DEBUG SET-ACTIVE-EXPIRE 1\r\n", 1);
    assert!(unix_ms() < due, "filling took too long");
    std::thread::sleep(Duration::from_secs_f64((due - unix_ms()).max(0.0) / 1000.0));
    let (gone_ms, gap) = with_probe(&server, || {
        let began = Instant::now();
        while keys_left(&mut client) > 0 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        began.elapsed().as_secs_f64() * 1000.0
    });
    (gap, gone_ms)
}

/// Time of the reply to FLUSHALL and the longest gap until all is freed, microseconds.
fn flush(binaries: &Binaries, kind: Kind, how: &str, workers: u32) -> (f64, f64) {
    let server = Server::start(binaries, kind, workers);
    fill(&server, "SET key:%k xxxxxxxxxxxxxxxx", FLUSHED);
    let mut client = server.connect();
    client.set_read_timeout(Some(Duration::from_secs(120))).expect("timeout");
    with_probe(&server, || {
        let began = Instant::now();
        ask(&mut client, &format!("FLUSHALL {how}\r\n"), 1);
        let reply_us = began.elapsed().as_secs_f64() * 1e6;
        loop {
            let info = ask(&mut client, "INFO memory\r\nPING\r\n", 60);
            if String::from_utf8_lossy(&info).contains("lazyfree_pending_objects:0") {
                return reply_us;
            }
            std::thread::sleep(Duration::from_millis(20));
            let _ = client.set_nonblocking(true);
            // Whatever of the last reply came late.
            let mut rest = [0; 1 << 16];
            while matches!(client.read(&mut rest), Ok(n) if n > 0) {}
            let _ = client.set_nonblocking(false);
        }
    })
}

/// A seeded generator for traces (SplitMix64).
struct Trace {
    state: u64,
    /// Cumulative weights of the keys.
    zipf: Vec<f64>,
    /// Every so many requests one goes to a key that is never used again; 0 for none.
    scan_every: u64,
    count: u64,
}

const ZIPF_KEYS: usize = 100_000;
const REQUESTS: usize = 400_000;

impl Trace {
    fn new(seed: u64, scan_every: u64) -> Self {
        let mut sum = 0.0;
        let zipf = (1..=ZIPF_KEYS)
            .map(|rank| {
                sum += 1.0 / (rank as f64).powf(0.99);
                sum
            })
            .collect();
        Self { state: seed, zipf, scan_every, count: 0 }
    }

    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The next key, and whether its hit counts.
    fn next(&mut self) -> (String, bool) {
        self.count += 1;
        if self.scan_every > 0 && self.count.is_multiple_of(self.scan_every) {
            return (format!("scan:{}", self.count), false);
        }
        let total = self.zipf[ZIPF_KEYS - 1];
        let at = self.unit() * total;
        (format!("zipf:{}", self.zipf.partition_point(|&sum| sum < at)), true)
    }
}

/// Share of reads that found their key, percent, once the memory is full.
fn hit_ratio(binaries: &Binaries, kind: Kind, policy: &str, scan_every: u64, seed: u64) -> f64 {
    const BATCH: usize = 100;
    let server = Server::start(binaries, kind, 1);
    let mut client = server.connect();
    let value = "x".repeat(200);
    // A tenth of the keys fits; the limit is the same for both, whatever a server takes for itself.
    let limit = (1 << 20) + ZIPF_KEYS as u64 / 10 * 300;
    ask(&mut client, &format!("CONFIG SET maxmemory {limit} maxmemory-policy {policy}\r\n"), 1);
    let mut trace = Trace::new(seed, scan_every);
    let (mut hits, mut reads) = (0u64, 0u64);
    for batch in 0..REQUESTS / BATCH {
        let keys: Vec<(String, bool)> = (0..BATCH).map(|_| trace.next()).collect();
        let request: String = keys.iter().map(|(key, _)| format!("STRLEN {key}\r\n")).collect();
        let reply = ask(&mut client, &request, BATCH);
        let found: Vec<bool> =
            String::from_utf8_lossy(&reply).lines().map(|line| line.trim() != ":0").collect();
        let mut sets = String::new();
        for ((key, counts), found) in keys.iter().zip(&found) {
            if *counts && batch > REQUESTS / BATCH / 4 {
                reads += 1;
                hits += u64::from(*found);
            }
            if !found {
                sets += &format!("SET {key} {value}\r\n");
            }
        }
        let misses = found.iter().filter(|found| !**found).count();
        if misses > 0 {
            ask(&mut client, &sets, misses);
        }
    }
    hits as f64 * 100.0 / reads as f64
}

pub fn run(binaries: &Binaries, runs: usize, workers: u32) {
    println!("\n| how keys end | Skuld | Valkey |");
    println!("|---|---|---|");
    let row = |name: &str, figure: &dyn Fn(Kind) -> String| {
        println!("| {name} | {} | {} |", figure(Kind::Skuld), figure(Kind::Valkey));
    };
    row("`expired` among 1,000,000 other keys with a TTL, ms late: p50 / p99", &|kind| {
        let late = lateness(binaries, kind, workers);
        format!("{:.1} / {:.1}", late[DUE / 2], late[DUE * 99 / 100])
    });
    row("500,000 keys due at once: longest gap, us / all gone after, ms", &|kind| {
        let all: Vec<(f64, f64)> = (0..runs).map(|_| burst(binaries, kind, workers)).collect();
        let middle = |f: fn(&(f64, f64)) -> f64| median(all.iter().map(f).collect());
        format!("{:.0} / {:.0}", middle(|x| x.0), middle(|x| x.1))
    });
    for how in ["ASYNC", "SYNC"] {
        row(&format!("FLUSHALL {how} of 5,000,000: reply, us / longest gap, us"), &|kind| {
            let all: Vec<(f64, f64)> = (0..runs).map(|_| flush(binaries, kind, how, workers)).collect();
            let middle = |f: fn(&(f64, f64)) -> f64| median(all.iter().map(f).collect());
            format!("{:.0} / {:.0}", middle(|x| x.0), middle(|x| x.1))
        });
    }
    for (policy, trace, scan_every) in [
        ("allkeys-lru", "Zipf", 0),
        ("allkeys-lfu", "Zipf", 0),
        ("allkeys-lru", "Zipf with a third scanned", 3),
        ("allkeys-lfu", "Zipf with a third scanned", 3),
    ] {
        row(&format!("hit ratio, %, {policy}, {trace}, mean of 5 seeds"), &|kind| {
            let sum: f64 = (1..=5).map(|seed| hit_ratio(binaries, kind, policy, scan_every, seed)).sum();
            format!("{:.2}", sum / 5.0)
        });
    }
}
