//! MIGRATE: keys to another server, one RESTORE each, then deleted here.
//!
//! A key that somebody changes between its dump and its deletion is sent again: no write is lost, though other clients
//! are served meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use skuld::commands::context::CommandError;
use skuld::effects::encode_command;
use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use skuld::resp::decode::parse_integer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Outcome, Request, wait_inside};
use crate::batch::Batch;
use crate::clock;
use crate::envelope::tell;
use crate::executor::Executor;
use crate::shard::{DumpedKey, MoveKeys, MoveStep};

/// Connections kept for the next MIGRATE, at most, and for how long, milliseconds.
const KEPT_MAX: usize = 64;
const KEPT_MS: i64 = 10_000;
/// Times a key is sent that keeps changing; then it stays here.
const ROUNDS_MAX: usize = 16;
/// Used when the client asks for none, milliseconds.
const DEFAULT_TIMEOUT_MS: u64 = 1000;

const CONNECTING: CommandError = CommandError::fixed("IOERR error or timeout connecting to the client");

struct Options {
    host: String,
    port: u16,
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// AUTH or AUTH2, with its words.
    auth: Option<Vec<Vec<u8>>>,
    keys: Vec<Vec<u8>>,
}

impl Options {
    fn parse(args: &[Vec<u8>]) -> Result<Self, CommandError> {
        let (mut copy, mut replace, mut auth, mut keys) = (false, false, None, None);
        let mut at = 6;
        while at < args.len() {
            let more = args.len() - 1 - at;
            match args[at].to_ascii_lowercase().as_slice() {
                b"copy" => copy = true,
                b"replace" => replace = true,
                b"auth" if more >= 1 => {
                    auth = Some(vec![b"AUTH".to_vec(), args[at + 1].clone()]);
                    at += 1;
                }
                b"auth2" if more >= 2 => {
                    auth = Some(vec![b"AUTH".to_vec(), args[at + 1].clone(), args[at + 2].clone()]);
                    at += 2;
                }
                b"keys" => {
                    if !args[3].is_empty() {
                        return Err(CommandError::fixed(
                            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                        ));
                    }
                    keys = Some(args[at + 1..].to_vec());
                    break;
                }
                _ => return Err(CommandError::Syntax),
            }
            at += 1;
        }
        let timeout = parse_integer(&args[5]).ok_or(CommandError::NotInteger)?;
        let db = parse_integer(&args[4]).ok_or(CommandError::NotInteger)?;
        let unreachable = || Failure::Writing { timed_out: false }.error();
        let port =
            parse_integer(&args[2]).and_then(|port| u16::try_from(port).ok()).ok_or_else(unreachable)?;
        Ok(Self {
            host: String::from_utf8_lossy(&args[1]).into_owned(),
            port,
            db,
            timeout: Duration::from_millis(u64::try_from(timeout).unwrap_or(0).max(1)).max(if timeout <= 0 {
                Duration::from_millis(DEFAULT_TIMEOUT_MS)
            } else {
                Duration::ZERO
            }),
            copy,
            replace,
            auth,
            keys: keys.unwrap_or_else(|| vec![args[3].clone()]),
        })
    }
}

/// A connection to a target, in that database.
struct Kept {
    stream: TcpStream,
    db: i64,
    used_ms: i64,
}

/// Between two looks for connections that were kept for too long.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

thread_local! {
    static KEPT: RefCell<HashMap<(String, u16), Kept>> = RefCell::default();
    /// Somebody looks for old ones on this thread.
    static SWEEPING: Cell<bool> = const { Cell::new(false) };
}

/// Connections that all threads keep.
static KEPT_BY_ALL: AtomicUsize = AtomicUsize::new(0);

/// How many connections are kept (INFO).
pub fn cached_sockets() -> usize {
    KEPT_BY_ALL.load(Ordering::Relaxed)
}

/// Does something with this thread's connections, of which those that nobody used for long are closed first.
fn with_kept<T>(act: impl FnOnce(&mut HashMap<(String, u16), Kept>) -> T) -> T {
    KEPT.with_borrow_mut(|kept| {
        let (before, now) = (kept.len(), clock::unix_ms());
        kept.retain(|_, kept| now - kept.used_ms < KEPT_MS);
        let result = act(kept);
        KEPT_BY_ALL.fetch_add(kept.len().wrapping_sub(before), Ordering::Relaxed);
        result
    })
}

fn take_kept(options: &Options) -> Option<Kept> {
    with_kept(|kept| kept.remove(&(options.host.clone(), options.port)))
}

fn keep(options: &Options, mut connection: Kept) {
    connection.used_ms = clock::unix_ms();
    with_kept(|kept| {
        if kept.len() < KEPT_MAX {
            kept.insert((options.host.clone(), options.port), connection);
        }
    });
    if !SWEEPING.replace(true) {
        actix_rt::spawn(async {
            while with_kept(|kept| !kept.is_empty()) {
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
            SWEEPING.set(false);
        });
    }
}

/// Why an exchange failed.
enum Failure {
    Writing {
        timed_out: bool,
    },
    Reading {
        timed_out: bool,
    },
    /// The target refused something that concerns all keys.
    Refused(Vec<u8>),
}

impl Failure {
    fn error(&self) -> CommandError {
        match self {
            Self::Writing { .. } => CommandError::fixed("IOERR error or timeout writing to target instance"),
            Self::Reading { .. } => CommandError::fixed("IOERR error or timeout reading to target instance"),
            Self::Refused(line) => target_error(line),
        }
    }

    fn may_retry(&self) -> bool {
        matches!(self, Self::Writing { timed_out: false } | Self::Reading { timed_out: false })
    }
}

fn target_error(line: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR Target instance replied with error: ".as_slice(), line].concat())
}

/// Runs the command.
pub async fn run(request: &mut Request, batch: &Batch) -> Outcome {
    let options = Options::parse(&request.args)?;
    let asking = request.server.cluster.is_some();
    let db = batch.session.db;
    let mut pending = step(request, db, || MoveStep::Dump(options.keys.clone())).await;
    if pending.is_empty() {
        request.reply.simple("NOKEY");
        return Ok(());
    }
    let mut refused: Option<Vec<u8>> = None;
    let mut replace = options.replace;
    for _ in 0..ROUNDS_MAX {
        let answers = send_all(asking, &options, &pending, replace).await?;
        let mut arrived = Vec::new();
        for (key, answer) in pending.into_iter().zip(answers) {
            match answer {
                Ok(()) => arrived.push(key),
                Err(line) => refused = refused.or(Some(line)),
            }
        }
        if options.copy {
            break;
        }
        pending = step(request, db, || MoveStep::Delete(arrived.clone())).await;
        if pending.is_empty() {
            break;
        }
        // What was changed meanwhile takes the place of what we sent.
        replace = true;
    }
    match refused {
        Some(line) => Err(target_error(&line)),
        None => {
            request.reply.ok();
            Ok(())
        }
    }
}

/// Has all shards do a step.
async fn step(request: &Request, db: u32, make: impl Fn() -> MoveStep) -> Vec<DumpedKey> {
    let mut waiting = Vec::new();
    for shard in request.server.shards() {
        let (reply, answer) = tokio::sync::oneshot::channel();
        tell(shard, MoveKeys { db, step: make(), reply });
        waiting.push(answer);
    }
    let mut keys = Vec::new();
    for answer in waiting {
        // A shard ends only with the process.
        keys.extend(answer.await.unwrap_or_default());
    }
    keys
}

/// Runs the command inside a transaction or a script, which holds the keys: nobody changes them meanwhile.
pub fn run_inside(
    executor: &mut Executor,
    keyspace: &mut Keyspace,
    db: u32,
    args: &[Vec<u8>],
    reply: &mut Reply,
) {
    if let Err(error) = move_held(executor, keyspace, db, args, reply) {
        error.write_to(reply);
    }
}

fn move_held(
    executor: &mut Executor,
    keyspace: &mut Keyspace,
    db: u32,
    args: &[Vec<u8>],
    reply: &mut Reply,
) -> Outcome {
    let options = Options::parse(args)?;
    let asking = executor.server.cluster.is_some();
    let keys = executor.dump_keys(keyspace, db, &options.keys);
    if keys.is_empty() {
        reply.simple("NOKEY");
        return Ok(());
    }
    let answers = wait_inside(send_all(asking, &options, &keys, options.replace)).ok_or(CONNECTING)??;
    let mut refused = None;
    let mut arrived = Vec::new();
    for (key, answer) in keys.into_iter().zip(answers) {
        match answer {
            Ok(()) => arrived.push(key.key),
            Err(line) => refused = refused.or(Some(line)),
        }
    }
    if !options.copy {
        executor.delete_moved(keyspace, db, &arrived);
    }
    match refused {
        Some(line) => Err(target_error(&line)),
        None => {
            reply.ok();
            Ok(())
        }
    }
}

/// Sends keys; for each whether the target took it, or its error line.
async fn send_all(
    asking: bool,
    options: &Options,
    keys: &[DumpedKey],
    replace: bool,
) -> Result<Vec<Result<(), Vec<u8>>>, CommandError> {
    let mut kept = take_kept(options);
    loop {
        let was_kept = kept.is_some();
        let mut connection = match kept.take() {
            Some(kept) => kept,
            None => {
                let called = TcpStream::connect((options.host.as_str(), options.port));
                let stream = tokio::time::timeout(options.timeout, called).await;
                let stream = stream.map_err(|_| CONNECTING)?.map_err(|error| match error.kind() {
                    // As Valkey finds it out: when it writes.
                    std::io::ErrorKind::ConnectionRefused => Failure::Writing { timed_out: false }.error(),
                    _ => CONNECTING,
                })?;
                // Failing means the connection is gone again; writing will tell.
                let _ = stream.set_nodelay(true);
                Kept { stream, db: -1, used_ms: 0 }
            }
        };
        match exchange(asking, options, &mut connection, keys, replace).await {
            Ok(answers) => {
                keep(options, connection);
                return Ok(answers);
            }
            // A kept connection may have been closed by the target: once more, with a new one.
            Err(failure) if was_kept && failure.may_retry() => {}
            Err(failure) => return Err(failure.error()),
        }
    }
}

async fn exchange(
    asking: bool,
    options: &Options,
    connection: &mut Kept,
    keys: &[DumpedKey],
    replace: bool,
) -> Result<Vec<Result<(), Vec<u8>>>, Failure> {
    let mut bytes = Vec::new();
    let mut preliminary = 0;
    if let Some(auth) = &options.auth {
        let words: Vec<&[u8]> = auth.iter().map(Vec::as_slice).collect();
        encode_command(&mut bytes, &words);
        preliminary += 1;
    }
    let selects = connection.db != options.db;
    if selects {
        encode_command(&mut bytes, &[b"SELECT", options.db.to_string().as_bytes()]);
        preliminary += 1;
    }
    let verb: &[u8] = if asking { b"RESTORE-ASKING" } else { b"RESTORE" };
    let now = clock::unix_ms();
    for key in keys {
        // 0 would mean no deadline.
        let ttl = key.expiry.map_or(0, |expiry| (expiry - now).max(1)).to_string();
        let mut words: Vec<&[u8]> = vec![verb, &key.key, ttl.as_bytes(), &key.payload];
        if replace {
            words.push(b"REPLACE");
        }
        encode_command(&mut bytes, &words);
    }
    match tokio::time::timeout(options.timeout, connection.stream.write_all(&bytes)).await {
        Err(_) => return Err(Failure::Writing { timed_out: true }),
        Ok(Err(_)) => return Err(Failure::Writing { timed_out: false }),
        Ok(Ok(())) => {}
    }
    let mut lines = Lines::default();
    for _ in 0..preliminary {
        let line = lines.next(&mut connection.stream, options.timeout).await?;
        if line.first() == Some(&b'-') {
            return Err(Failure::Refused(line[1..].to_vec()));
        }
    }
    if selects {
        connection.db = options.db;
    }
    let mut answers = Vec::with_capacity(keys.len());
    for _ in keys {
        let line = lines.next(&mut connection.stream, options.timeout).await?;
        answers.push(if line.first() == Some(&b'-') { Err(line[1..].to_vec()) } else { Ok(()) });
    }
    Ok(answers)
}

/// Replies of one line each.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    async fn next(&mut self, stream: &mut TcpStream, limit: Duration) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(end) = memchr_line(&self.buffer) {
                let line = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            match tokio::time::timeout(limit, stream.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(Failure::Reading { timed_out: true }),
                Ok(Ok(0) | Err(_)) => return Err(Failure::Reading { timed_out: false }),
                Ok(Ok(_)) => {}
            }
        }
    }
}

fn memchr_line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n")
}
