//! The longest silence a probing client notices while another client asks for something big.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::fill;
use crate::median;
use crate::servers::{Binaries, Kind, Server};

const KEYS: u64 = 500_000;
const VALUE: &str = "SET key:%k xxxxxxxxxxxxxxxx";

/// Name, and what the busy client does to a server that holds [`KEYS`] keys.
type Deed = (&'static str, fn(&Server));

fn ask(server: &Server, request: &str) {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
    stream.write_all(request.as_bytes()).expect("request");
    let mut buf = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let n = stream.read(&mut buf).expect("reply");
        total += n;
        // The probe's own sentinel: a PING is sent along, and its reply ends the exchange.
        if n == 0 || buf[..n].ends_with(b"+PONG\r\n") {
            assert!(total > 7, "no reply to {request}");
            return;
        }
    }
}

const DEEDS: &[Deed] = &[
    ("at rest", |_| std::thread::sleep(Duration::from_millis(300))),
    ("FLUSHALL SYNC of 500,000", |s| ask(s, "FLUSHALL SYNC\r\nPING\r\n")),
    ("FLUSHALL ASYNC of 500,000", |s| ask(s, "FLUSHALL ASYNC\r\nPING\r\n")),
    ("KEYS * over 500,000", |s| ask(s, "KEYS *\r\nPING\r\n")),
    ("growing by 500,000", |s| fill(s, "SET more:%k xxxxxxxxxxxxxxxx", KEYS)),
    ("UNLINK of 500,000, 100 at a time", |s| {
        let mut request = String::new();
        for chunk in 0..KEYS / 100 {
            request.push_str("UNLINK");
            for n in 0..100 {
                request.push_str(&format!(" key:{:012}", chunk * 100 + n));
            }
            request.push_str("\r\n");
        }
        let mut stream = s.connect();
        let mut reader = stream.try_clone().expect("clone");
        let replies = std::thread::spawn(move || {
            let (mut buf, mut seen) = (vec![0; 1 << 16], 0);
            while seen < KEYS / 100 {
                let n = reader.read(&mut buf).expect("replies");
                assert!(n > 0, "closed");
                seen += buf[..n].iter().filter(|&&b| b == b'\n').count() as u64;
            }
        });
        stream.write_all(request.as_bytes()).expect("requests");
        replies.join().expect("replies");
    }),
];

/// What the machine alone does to a client when its processors are busy: one thread for each spins for a second, and
/// gives way to anybody at once (SCHED_IDLE). On a shared host even that client waits: its processors are taken away.
pub fn busy_processors(_: &Server) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let until = Instant::now() + Duration::from_secs(1);
    let spin = move || {
        give_way_to_everybody();
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    };
    let threads: Vec<_> = (0..processors).map(|_| std::thread::spawn(spin)).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it spins and ends"));
}

/// This thread, and those it starts, run when nobody else wants the processor.
fn give_way_to_everybody() {
    // SAFETY: an all-zero structure is valid (SCHED_IDLE wants priority 0); 0 is this thread.
    let given = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &std::mem::zeroed()) };
    assert_eq!(given, 0, "any thread may take less");
}

/// Probes until told to stop; the longest round trip, microseconds.
fn probe(mut stream: TcpStream, stop: &AtomicBool) -> f64 {
    let mut longest = Duration::ZERO;
    let mut reply = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        stream.write_all(b"GET probe\r\n").expect("probe");
        let n = stream.read(&mut reply).expect("probe reply");
        assert!(n > 0, "the server closed the probe");
        longest = longest.max(start.elapsed());
        std::thread::sleep(Duration::from_micros(100));
    }
    longest.as_secs_f64() * 1e6
}

/// The longest gap while `deed` is done, microseconds.
pub fn during(server: &Server, deed: impl FnOnce(&Server) + Send) -> f64 {
    with_probe(server, || deed(server)).1
}

/// Runs `deed` while a client probes; its result, and the longest gap in microseconds. The client that does the deed
/// shares a processor with the probe, and gives way to it: what the server does is measured, not what a client does to
/// another one.
pub fn with_probe<T: Send>(server: &Server, deed: impl FnOnce() -> T + Send) -> (T, f64) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stream, flag) = (server.connect(), stop.clone());
    let prober = std::thread::spawn(move || probe(stream, &flag));
    std::thread::sleep(Duration::from_millis(50));
    let give_way = || {
        give_way_to_everybody();
        deed()
    };
    let done = std::thread::scope(|scope| scope.spawn(give_way).join()).expect("the deed is done");
    std::thread::sleep(Duration::from_millis(50));
    stop.store(true, Ordering::Relaxed);
    (done, prober.join().expect("the probe ends"))
}

fn measure(binaries: &Binaries, kind: Kind, deed: &Deed, workers: u32) -> f64 {
    let server = Server::start(binaries, kind, workers);
    fill(&server, VALUE, KEYS);
    during(&server, deed.1)
}

/// Collections, and the command that adds an element to one.
const COLLECTIONS: [(&str, &str); 5] = [
    ("hash", "HSET big field:%k value:%k"),
    ("set", "SADD big member:%k"),
    ("sorted set", "ZADD big %n member:%k"),
    ("list", "RPUSH big element:%k"),
    ("stream", "XADD big 1-%n field value"),
];
const ELEMENTS: u64 = 1_000_000;
const ENDS: [(&str, &str); 4] = [
    ("DEL", "DEL big"),
    ("UNLINK", "UNLINK big"),
    ("overwriting", "SET big x"),
    ("expiring", "PEXPIRE big 1"),
];

/// Longest gaps, microseconds: growing each of [`COLLECTIONS`] to [`ELEMENTS`], and each way to end it.
fn of_collections(binaries: &Binaries, kind: Kind, workers: u32) -> Vec<(String, f64)> {
    let server = Server::start(binaries, kind, workers);
    let rest = during(&server, |_| std::thread::sleep(Duration::from_secs(1)));
    let mut all = vec![("at rest".to_owned(), rest)];
    for (name, add) in COLLECTIONS {
        for (index, (end, request)) in ENDS.iter().enumerate() {
            let growing = during(&server, |server| fill(server, add, ELEMENTS));
            if index == 0 {
                all.push((format!("{name}: growing"), growing));
            }
            let gap = during(&server, |server| {
                ask(server, &format!("{request}\r\nPING\r\n"));
                // What is freed behind it counts as well.
                std::thread::sleep(Duration::from_millis(300));
            });
            all.push((format!("{name}: {end}"), gap));
            ask(&server, "DEL big\r\nPING\r\n");
        }
    }
    all
}

/// Gaps because of single collections of a million elements.
pub fn run_collections(binaries: &Binaries, runs: usize, workers: u32) {
    println!("\n| longest gap, one collection of {ELEMENTS}, us: median (all runs) | Skuld | Valkey |");
    println!("|---|---|---|");
    let all = [Kind::Skuld, Kind::Valkey]
        .map(|kind| (0..runs).map(|_| of_collections(binaries, kind, workers)).collect::<Vec<_>>());
    for (at, (name, _)) in all[0][0].iter().enumerate() {
        let show = |runs: &Vec<Vec<(String, f64)>>| figures(runs.iter().map(|run| run[at].1).collect());
        println!("| {name} | {} | {} |", show(&all[0]), show(&all[1]));
    }
}

/// The median, and all of them.
pub fn figures(values: Vec<f64>) -> String {
    let all: Vec<String> = values.iter().map(|v| format!("{v:.0}")).collect();
    format!("{:.0} ({})", median(values), all.join(" "))
}

pub fn run(binaries: &Binaries, runs: usize, workers: u32) {
    println!("\n| longest gap of a probing client, us: median (all runs) | Skuld | Valkey |");
    println!("|---|---|---|");
    for deed in DEEDS {
        let of = |kind| figures((0..runs).map(|_| measure(binaries, kind, deed, workers)).collect());
        println!("| {} | {} | {} |", deed.0, of(Kind::Skuld), of(Kind::Valkey));
    }
}
