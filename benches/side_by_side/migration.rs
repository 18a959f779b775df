//! Half the slots of a node move to another while clients write: keys per second and per CPU second, and the longest time
//! a write takes, for Skuld, Valkey, and each with the other.
//!
//! `--keys N` (of `--size` bytes) are on the source; those of slots 0 to 8191 move. Two clients write to the slots that
//! move and one to slots that stay, one command at a time; with the word `flood` the two send 64 at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use skuld::slot::slot_of;

use crate::median;
use crate::servers::{Binaries, Kind, Server};

/// The first slot that stays.
const STAYS: u16 = 8192;
/// How long clients write before anything moves.
const AT_REST: Duration = Duration::from_millis(1500);
/// Different keys a client writes.
const KEYS_WRITTEN: u64 = 1000;

/// What is moved.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub keys: u64,
    pub bytes: usize,
    pub flood: bool,
}

struct Link {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Link {
    fn to(server: &Server) -> Self {
        let stream = server.connect();
        let reader = BufReader::new(stream.try_clone().expect("clone"));
        Self { stream, reader }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("request");
    }

    /// A reply without its line ends; of arrays the elements, one a line.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("reply");
        let line = line.trim_end().to_owned();
        let number = line.get(1..).and_then(|n| n.parse::<i64>().ok()).unwrap_or(-1);
        match line.as_bytes().first() {
            Some(b'$') if number >= 0 => {
                let mut bytes = vec![0; number as usize + 2];
                self.reader.read_exact(&mut bytes).expect("reply");
                String::from_utf8_lossy(&bytes[..number as usize]).into_owned()
            }
            Some(b'*') if number >= 0 => (0..number).map(|_| self.reply() + "\n").collect(),
            _ => line,
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }
}

/// What one migration took.
struct Figures {
    keys_per_second: f64,
    keys_per_cpu_second: f64,
    /// Longest writes to slots that move and to those that stay, milliseconds.
    longest_moving: f64,
    longest_staying: f64,
    /// The same of all clients before anything moves: what the machine does.
    longest_at_rest: f64,
    writes_per_second: f64,
}

fn set(key: &str, value: &str) -> Vec<u8> {
    let mut out = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len()).into_bytes();
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

/// Fills the source; how many keys are in slots that move.
fn fill(server: &Server, size: Size) -> u64 {
    let mut link = Link::to(server);
    let value = "v".repeat(size.bytes);
    let (mut moving, mut sent, mut at) = (0, 0u64, 0u64);
    while sent < size.keys {
        let mut bytes = Vec::new();
        let batch = (size.keys - sent).min(1000);
        for _ in 0..batch {
            let key = format!("key:{at:012}");
            moving += u64::from(slot_of(key.as_bytes()).0 < STAYS);
            bytes.extend(set(&key, &value));
            at += 1;
        }
        link.send(&bytes);
        (0..batch).for_each(|_| assert_eq!(link.reply(), "+OK"));
        sent += batch;
    }
    moving
}

/// Writes until told to stop, at whichever server has the slots; the longest write and how many there were.
fn write(servers: [u16; 2], moving: bool, number: u64, size: Size, stop: &AtomicBool) -> (Duration, u64) {
    let connect = |port: u16| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("nodelay");
        let reader = BufReader::new(stream.try_clone().expect("clone"));
        Link { stream, reader }
    };
    let mut links = servers.map(connect);
    let value = "w".repeat(size.bytes);
    let requests: Vec<Vec<u8>> = (0..)
        .map(|n: u64| format!("written:{number}:{n}"))
        .filter(|key| (slot_of(key.as_bytes()).0 < STAYS) == moving)
        .take(KEYS_WRITTEN as usize)
        .map(|key| set(&key, &value))
        .collect();
    let depth = if size.flood && moving { 64 } else { 1 };
    let (mut at, mut longest, mut count) = (0, Duration::ZERO, 0u64);
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let batch: Vec<&Vec<u8>> =
            (0..depth).map(|n| &requests[((count + n) % KEYS_WRITTEN) as usize]).collect();
        loop {
            let bytes: Vec<u8> = batch.iter().flat_map(|request| request.iter().copied()).collect();
            links[at].send(&bytes);
            let moved = (0..depth).filter(|_| links[at].reply() != "+OK").count();
            if moved == 0 {
                break;
            }
            at = 1 - at;
        }
        longest = longest.max(begin.elapsed());
        count += depth;
    }
    (longest, count)
}

fn migrate(binaries: &Binaries, kinds: [Kind; 2], size: Size, workers: u32) -> Figures {
    let [source, target] = kinds.map(|kind| Server::start_node(binaries, kind, workers));
    let (mut a, mut b) = (Link::to(&source), Link::to(&target));
    a.ask("CLUSTER ADDSLOTSRANGE 0 16383");
    a.ask("CLUSTER SET-CONFIG-EPOCH 1");
    b.ask("CLUSTER SET-CONFIG-EPOCH 2");
    a.ask(&format!("CLUSTER MEET 127.0.0.1 {} {}", target.port, target.bus_port()));
    let wait = |link: &mut Link, line: &str, wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let reply = link.ask(line);
            if reply.contains(wanted) {
                return;
            }
            assert!(Instant::now() < deadline && !reply.contains("failed"), "{line}: {reply}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&mut a, "CLUSTER INFO", "cluster_state:ok");
    wait(&mut b, "CLUSTER INFO", "cluster_state:ok");
    wait(&mut b, "CLUSTER INFO", "cluster_slots_assigned:16384");
    let keys = fill(&source, size);
    let (at_rest, _) = with_writers([source.port, target.port], size, || std::thread::sleep(AT_REST));
    let (wrote, moved) = with_writers([source.port, target.port], size, || {
        std::thread::sleep(Duration::from_millis(200));
        let moved = hand_over(&mut a, &mut b, [&source, &target], wait);
        // What the source does about what moved belongs to it.
        std::thread::sleep(Duration::from_millis(500));
        moved
    });
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Figures {
        keys_per_second: keys as f64 / moved.seconds,
        keys_per_cpu_second: keys as f64 / (moved.cpu_us / 1e6),
        longest_moving: ms(wrote[0].0.max(wrote[1].0)),
        longest_staying: ms(wrote[2].0),
        longest_at_rest: ms(at_rest.iter().map(|wrote| wrote.0).max().unwrap_or_default()),
        writes_per_second: (wrote[0].1 + wrote[1].1) as f64 / (moved.seconds + 0.7),
    }
}

/// Does something while two clients write to the slots that move and one to those that stay; each one's longest write and
/// number of writes.
fn with_writers<T>(ports: [u16; 2], size: Size, act: impl FnOnce() -> T) -> (Vec<(Duration, u64)>, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let write = |(number, moving)| {
        let stop = stop.clone();
        std::thread::spawn(move || write(ports, moving, number, size, &stop))
    };
    let writers: Vec<_> = (0..).zip([true, true, false]).map(write).collect();
    let result = act();
    stop.store(true, Ordering::Relaxed);
    (writers.into_iter().map(|writer| writer.join().expect("the writer ends")).collect(), result)
}

/// What a hand-over took.
struct Moved {
    seconds: f64,
    cpu_us: f64,
}

fn hand_over(
    a: &mut Link,
    b: &mut Link,
    servers: [&Server; 2],
    wait: impl Fn(&mut Link, &str, &str),
) -> Moved {
    let id = b.ask("CLUSTER MYID");
    let cpu = || servers.map(Server::cpu_us).iter().map(|(user, system)| user + system).sum::<f64>();
    let (cpu_before, begin) = (cpu(), Instant::now());
    let reply = a.ask(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 {} NODE {id}", STAYS - 1));
    assert_eq!(reply, "+OK");
    wait(a, "CLUSTER GETSLOTMIGRATIONS", "success");
    Moved { seconds: begin.elapsed().as_secs_f64(), cpu_us: cpu() - cpu_before }
}

/// Prints the table; the pairs take turns.
pub fn run(binaries: &Binaries, runs: usize, workers: u32, size: Size) {
    println!(
        "\n{} keys of {} bytes, half of them move{}; medians of {runs} runs (the worst in brackets)",
        size.keys,
        size.bytes,
        if size.flood { ", under a flood of writes" } else { "" }
    );
    println!(
        "\n| from, to | keys/s | keys/CPU s | longest write, moving slots, ms | other slots, ms | nothing moving, ms | writes/s |"
    );
    println!("|---|---|---|---|---|---|---|");
    use Kind::{Skuld, Valkey};
    let pairs = [[Skuld, Skuld], [Valkey, Valkey], [Skuld, Valkey], [Valkey, Skuld]];
    let mut rows: Vec<Vec<Figures>> = pairs.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (pair, rows) in pairs.iter().zip(&mut rows) {
            rows.push(migrate(binaries, *pair, size, workers));
        }
    }
    for (pair, rows) in pairs.iter().zip(&rows) {
        let middle = |f: fn(&Figures) -> f64| median(rows.iter().map(f).collect());
        let worst = |f: fn(&Figures) -> f64| rows.iter().map(f).fold(0.0, f64::max);
        println!(
            "| {:?}, {:?} | {:.0} | {:.0} | {:.1} ({:.1}) | {:.1} ({:.1}) | {:.1} ({:.1}) | {:.0} |",
            pair[0],
            pair[1],
            middle(|f| f.keys_per_second),
            middle(|f| f.keys_per_cpu_second),
            middle(|f| f.longest_moving),
            worst(|f| f.longest_moving),
            middle(|f| f.longest_staying),
            worst(|f| f.longest_staying),
            middle(|f| f.longest_at_rest),
            worst(|f| f.longest_at_rest),
            middle(|f| f.writes_per_second),
        );
    }
}
