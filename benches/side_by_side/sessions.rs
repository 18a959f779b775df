//! Many clients at once: what a delivered message costs, and what clients cost that only listen or wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use crate::load::join_all;
use crate::median;
use crate::servers::{Binaries, Kind, Server, pin};

const SUBSCRIBERS: usize = 1000;
const MESSAGES: u64 = 500;
const LISTENING: usize = 10_000;
const WAITING: usize = 5_000;
const IDLE: usize = 10_000;
/// After this long without a word, buffers are as small as they get.
const SETTLED: Duration = Duration::from_secs(17);

fn send(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).expect("request");
}

/// Waits for so many lines.
fn lines(stream: &mut TcpStream, mut count: usize) {
    let mut buf = [0; 1 << 14];
    while count > 0 {
        let n = stream.read(&mut buf).expect("reply");
        assert!(n > 0, "closed");
        count = count.saturating_sub(buf[..n].iter().filter(|&&b| b == b'\n').count());
    }
}

/// Server time per message delivered, microseconds, user and system.
fn fan_out(binaries: &Binaries, kind: Kind) -> (f64, f64) {
    const MESSAGE: usize = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$16\r\nxxxxxxxxxxxxxxxx\r\n".len();
    let server = Server::start(binaries, kind, 1);
    let _ = pin(1, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let subscribers: Vec<TcpStream> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut stream = server.connect();
            send(&mut stream, "SUBSCRIBE news\r\n");
            lines(&mut stream, 6);
            stream.set_nonblocking(true).expect("nonblocking");
            stream
        })
        .collect();
    let mut publisher = server.connect();
    let before = server.cpu_us();
    let listen = |stream: TcpStream| async move {
        let mut stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
        let (mut buf, mut left) = (vec![0; 1 << 14], MESSAGE * MESSAGES as usize);
        while left > 0 {
            let n = stream.read(&mut buf).await.expect("messages");
            assert!(n > 0, "closed");
            left -= n.min(left);
        }
    };
    let publish = std::thread::spawn(move || {
        for _ in 0..MESSAGES {
            send(&mut publisher, "PUBLISH news xxxxxxxxxxxxxxxx\r\n");
            lines(&mut publisher, 1);
        }
    });
    runtime.block_on(async { join_all(subscribers.into_iter().map(listen).collect()).await });
    publish.join().expect("published");
    let after = server.cpu_us();
    let delivered = (SUBSCRIBERS as u64 * MESSAGES) as f64;
    ((after.0 - before.0) / delivered, (after.1 - before.1) / delivered)
}

/// Resident bytes per client of so many that send `request` (which is answered by so many lines) and then nothing.
fn bytes_per_client(
    server: &Server,
    clients: usize,
    request: impl Fn(usize) -> String,
    answer: usize,
) -> (f64, Vec<TcpStream>) {
    let before = server.resident();
    let sockets = (0..clients)
        .map(|n| {
            let mut stream = server.connect();
            send(&mut stream, &request(n));
            lines(&mut stream, answer);
            stream
        })
        .collect();
    std::thread::sleep(SETTLED);
    (server.resident().saturating_sub(before) as f64 / clients as f64, sockets)
}

/// The longest run of a shard's message, milliseconds, from ACTOR HISTOGRAM.
fn longest_shard_run(server: &Server) -> f64 {
    let mut stream = server.connect();
    send(&mut stream, "ACTOR HISTOGRAM shard\r\nECHO the-end\r\n");
    let (mut text, mut buf) = (String::new(), [0; 1 << 14]);
    while !text.ends_with("the-end\r\n") {
        let n = stream.read(&mut buf).expect("reply");
        text.push_str(&String::from_utf8_lossy(&buf[..n]));
    }
    // Each message's map of runs has its maximum, in microseconds, two lines behind the word.
    let runs = text.split("run-usec").skip(1);
    let longest =
        runs.filter_map(|run| run.split("max\r\n").nth(1)?.split("\r\n").nth(1)?.parse::<f64>().ok());
    longest.fold(0.0, f64::max) / 1000.0
}

/// A server that takes them all.
fn roomy(binaries: &Binaries, kind: Kind) -> Server {
    let server = Server::start(binaries, kind, 1);
    let mut stream = server.connect();
    send(&mut stream, "CONFIG SET maxclients 16000\r\n");
    let mut reply = [0; 64];
    let n = stream.read(&mut reply).expect("reply");
    assert!(reply[..n].starts_with(b"+OK"), "{}", String::from_utf8_lossy(&reply[..n]));
    server
}

/// Prints the table.
pub fn run(binaries: &Binaries, runs: usize) {
    // Each client is a socket here and one there.
    let files = nix::sys::resource::Resource::RLIMIT_NOFILE;
    if let Ok((_, most)) = nix::sys::resource::getrlimit(files) {
        let _ = nix::sys::resource::setrlimit(files, most, most);
    }
    println!("\n| sessions | Skuld | Valkey | ratio |\n|---|---|---|---|");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(fan_out(binaries, Kind::Skuld));
        theirs.push(fan_out(binaries, Kind::Valkey));
    }
    let total = |rows: &[(f64, f64)]| median(rows.iter().map(|(user, system)| user + system).collect());
    let ratio = median(ours.iter().zip(&theirs).map(|(a, b)| (a.0 + a.1) / (b.0 + b.1)).collect());
    println!(
        "| PUBLISH to {SUBSCRIBERS}: CPU us per delivered message | {:.2} | {:.2} | {ratio:.2} |",
        total(&ours),
        total(&theirs)
    );
    let mut rows: Vec<[f64; 3]> = Vec::new();
    for kind in [Kind::Skuld, Kind::Valkey] {
        let server = roomy(binaries, kind);
        let began = Instant::now();
        let (idle, sockets) = bytes_per_client(&server, IDLE, |_| "PING\r\n".to_owned(), 1);
        drop(sockets);
        std::thread::sleep(Duration::from_secs(2));
        drop(server);
        let server = roomy(binaries, kind);
        let (listening, _listeners) =
            bytes_per_client(&server, LISTENING, |n| format!("SUBSCRIBE channel:{n}\r\n"), 6);

        let (waiting, _waiters) =
            bytes_per_client(&server, WAITING, |n| format!("PING\r\nBLPOP list:{n} 0\r\n"), 1);
        rows.push([idle, listening, waiting]);
        if kind == Kind::Skuld {
            eprintln!(
                "longest message of a shard with all of them: {:.2} ms ({:.0} s)",
                longest_shard_run(&server),
                began.elapsed().as_secs_f64()
            );
        }
    }
    for (n, name) in ["connected, idle", "subscribed", "blocked"].into_iter().enumerate() {
        println!(
            "| resident bytes per client, {name} | {:.0} | {:.0} | {:.2} |",
            rows[0][n],
            rows[1][n],
            rows[0][n] / rows[1][n]
        );
    }
}
