//! Closed-loop load: some connections, each sending a pipeline, reading all replies, and sending the next.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::servers::{Binaries, Kind, Server, pin};

/// Keys are drawn from this many.
const KEYS: u64 = 100_000;
const CONNECTIONS: usize = 50;

/// A load.
pub struct Scenario {
    pub name: &'static str,
    pub pipeline: usize,
    /// Commands run once before, on every key number below the second part.
    setup: (&'static str, u64),
    command: &'static str,
}

const fn scenario(
    name: &'static str,
    pipeline: usize,
    setup: (&'static str, u64),
    command: &'static str,
) -> Scenario {
    Scenario { name, pipeline, setup, command }
}

const VALUE: &str = "SET key:%k xxxxxxxxxxxxxxxx";

/// A small script, and how it is run.
const SCRIPT: (&str, u64) = ("SCRIPT LOAD return(redis.call('GET',KEYS[1]))", 1);
const RUN_SCRIPT: &str = "EVALSHA bfef805d9dcd9d3857da9372933ef22c17736f58 1 key:%k";
/// A transaction that writes ten keys.
const TEN: &str = "MULTI;SET key:%k a;SET key:%k b;SET key:%k c;SET key:%k d;SET key:%k e;SET key:%k f;SET key:%k g;\
                   SET key:%k h;SET key:%k i;SET key:%k j;EXEC";

/// In a command `%k` is a random key number of twelve digits, `%n` the number of the request. Commands parted by `;` are
/// one request together.
pub const SCENARIOS: &[Scenario] = &[
    scenario("get p1", 1, (VALUE, KEYS), "GET key:%k"),
    scenario("set p1", 1, (VALUE, KEYS), VALUE),
    scenario("get p16", 16, (VALUE, KEYS), "GET key:%k"),
    scenario("set p16", 16, (VALUE, KEYS), VALUE),
    scenario("get p100", 100, (VALUE, KEYS), "GET key:%k"),
    scenario("set p100", 100, (VALUE, KEYS), VALUE),
    scenario("incr p16", 16, ("", 0), "INCR counter:%k"),
    scenario("hset p16", 16, ("", 0), "HSET hash:%k field:%n value"),
    scenario("lpush p16", 16, ("", 0), "LPUSH list:%k value"),
    scenario("sadd p16", 16, ("", 0), "SADD set:%k member:%n"),
    scenario("zadd p16", 16, ("", 0), "ZADD zset:%k %n member:%n"),
    scenario("xadd p16", 16, ("", 0), "XADD stream:%k * field value"),
    scenario("lrange100 p16", 16, ("RPUSH biglist v%n", 100), "LRANGE biglist 0 99"),
    scenario("zrange100 p16", 16, ("ZADD bigzset %n m%n", 100), "ZRANGE bigzset 0 99"),
    scenario("hgetall50 p16", 16, ("HSET bighash f%n v%n", 50), "HGETALL bighash"),
    scenario("exec10 p1", 1, (VALUE, KEYS), TEN),
    scenario("evalsha p1", 1, SCRIPT, RUN_SCRIPT),
    scenario("evalsha p16", 16, SCRIPT, RUN_SCRIPT),
];

/// What one run measured.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How many were measured.
    pub requests: f64,
    pub per_second: f64,
    pub user_us: f64,
    pub system_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn encode(out: &mut Vec<u8>, template: &str, mut key: impl FnMut() -> u64, n: u64) {
    for command in template.split(';') {
        let words: Vec<String> = command
            .split(' ')
            .map(|w| {
                let word = w.replace("%n", &n.to_string());
                if word.contains("%k") { word.replace("%k", &format!("{:012}", key())) } else { word }
            })
            .collect();
        out.extend(format!("*{}\r\n", words.len()).bytes());
        for w in words {
            out.extend(format!("${}\r\n{w}\r\n", w.len()).bytes());
        }
    }
}

/// Bytes of the first complete reply in `bytes`, if there is one. RESP2 only.
fn reply_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|&b| b == b'\n')? + 1;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => match number()? {
            -1 => Some(end),
            n => (bytes.len() >= end + n as usize + 2).then_some(end + n as usize + 2),
        },
        b'*' => {
            let mut at = end;
            for _ in 0..number()?.max(0) {
                at += reply_len(&bytes[at..])?;
            }
            Some(at)
        }
        b'-' => panic!("the server refused: {}", String::from_utf8_lossy(&bytes[..end])),
        _ => Some(end),
    }
}

async fn exchange(
    stream: &mut tokio::net::TcpStream,
    request: &[u8],
    replies: usize,
    buf: &mut Vec<u8>,
) -> io::Result<()> {
    stream.write_all(request).await?;
    buf.clear();
    let (mut at, mut left) = (0, replies);
    while left > 0 {
        if stream.read_buf(buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while left > 0 && at < buf.len() {
            let Some(len) = reply_len(&buf[at..]) else { break };
            at += len;
            left -= 1;
        }
    }
    Ok(())
}

async fn client(port: u16, scenario: &Scenario, pipelines: u64, seed: u64) -> Vec<u32> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let mut random = Random(seed | 1);
    // Requests are encoded beforehand: the generator must not be what limits the server.
    let prepared: Vec<Vec<u8>> = (0..64)
        .map(|_| {
            let mut out = Vec::new();
            for _ in 0..scenario.pipeline {
                let n = random.next() % 1_000_000;
                encode(&mut out, scenario.command, || random.next() % KEYS, n);
            }
            out
        })
        .collect();
    let replies = scenario.pipeline * scenario.command.split(';').count();
    let mut buf = Vec::with_capacity(1 << 16);
    let mut latencies = Vec::with_capacity(pipelines as usize);
    for i in 0..pipelines {
        let start = Instant::now();
        let request = &prepared[(i % 64) as usize];
        exchange(&mut stream, request, replies, &mut buf).await.expect("replies");
        latencies.push(start.elapsed().as_micros().min(u128::from(u32::MAX)) as u32);
    }
    latencies
}

/// Fills a server with a command per number.
pub fn fill(server: &Server, template: &str, count: u64) {
    use std::io::{Read, Write};
    let mut stream = server.connect();
    let mut reader = stream.try_clone().expect("clone");
    let counter = std::thread::spawn(move || {
        let (mut buf, mut seen) = (vec![0; 1 << 16], 0);
        while seen < count {
            let n = reader.read(&mut buf).expect("replies");
            assert!(n > 0, "the server closed the connection");
            seen += buf[..n].iter().filter(|&&b| b == b'\n').count() as u64;
        }
    });
    let mut out = Vec::new();
    for n in 0..count {
        encode(&mut out, template, || n, n);
        if out.len() > 60_000 || n + 1 == count {
            stream.write_all(&out).expect("requests");
            out.clear();
        }
    }
    counter.join().expect("all replies came");
}

/// Runs a load on a fresh server.
pub fn run(binaries: &Binaries, kind: Kind, scenario: &Scenario, requests: u64, workers: u32) -> Figures {
    let server = Server::start(binaries, kind, workers);
    if scenario.setup.1 > 0 {
        fill(&server, scenario.setup.0, scenario.setup.1);
    }
    drive(&server, scenario, requests)
}

pub fn scenario_named(name: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario of the list")
}

/// Runs a load on a server that is ready for it.
pub fn drive(server: &Server, scenario: &Scenario, requests: u64) -> Figures {
    let _ = pin(1, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let requests = if scenario.pipeline == 1 { requests / 3 } else { requests * 2 };
    let pipelines = (requests / (CONNECTIONS * scenario.pipeline) as u64).max(20);
    let port = server.port;
    // Warm up, then measure.
    let phase = |pipelines: u64| {
        runtime.block_on(async {
            let clients =
                (0..CONNECTIONS).map(|c| client(port, scenario, pipelines, 0x9e37 * (c as u64 + 1)));
            let mut all = Vec::new();
            for latencies in join_all(clients.collect()).await {
                all.extend(latencies);
            }
            all
        })
    };
    phase(pipelines / 10 + 1);
    let (user, system) = server.cpu_us();
    let start = Instant::now();
    let mut latencies = phase(pipelines);
    let elapsed = start.elapsed().as_secs_f64();
    let (user_end, system_end) = server.cpu_us();
    latencies.sort_unstable();
    let percentile =
        |p: f64| f64::from(latencies[((latencies.len() as f64 * p) as usize).min(latencies.len() - 1)]);
    let total = (pipelines * (CONNECTIONS * scenario.pipeline) as u64) as f64;
    Figures {
        requests: total,
        per_second: total / elapsed,
        user_us: (user_end - user) / total,
        system_us: (system_end - system) / total,
        p50_us: percentile(0.5),
        p99_us: percentile(0.99),
        p999_us: percentile(0.999),
    }
}

/// Polls all futures to their end on this thread.
pub async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        let mut pending = false;
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *result = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(results.iter_mut().filter_map(Option::take).collect())
        }
    })
    .await
}
