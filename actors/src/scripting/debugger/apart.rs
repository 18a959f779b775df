//! SCRIPT DEBUG YES: a script is debugged on a copy of the data, and what it changes there is forgotten.
//!
//! Valkey forks for this. Here a snapshot is taken as for a file, and a second process of this program loads it, debugs
//! the script as SCRIPT DEBUG SYNC would, and is gone at the end. Nobody else notices.
//!
//! ```text
//!  client --bytes--> Connection --Conversation--> [ this task ] --unix socket--> process with the copy
//!    ^                   ^                             |
//!    +-------------------+----------- Feed ------------+
//! ```
//!
//! Invariant: the process may do what the client's user may, no more; its directory is only its own user's to read.
//! Invariant: it does not outlive the task, the server, or a crash of the server.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use skuld::commands::context::CommandError;
use skuld::config::Config;
use skuld::effects::encode_command;
use skuld::resp::Protocol;
use skuld::session::{Debugging, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::conversation::Conversation;
use crate::batch::Batch;
use crate::clock;
use crate::connection::{Feed, Waits};
use crate::envelope::tell;
use crate::memory;
use crate::persistence::rdb_stream::{RdbOptions, RdbStream};
use crate::server::ServerRef;
use crate::server_commands::{Outcome, Request};
use crate::start::random_hex;

/// How long between two tries to reach a process that has just been started.
const TRY_EVERY: Duration = Duration::from_millis(5);
const SNAPSHOT: &str = "dump.rdb";
const SOCKET: &str = "socket";
const CONFIGURATION: &str = "skuld.conf";
/// Directives that scripts and values depend on; numbers and words without blanks.
const PASSED_ON: [&[u8]; 8] = [
    b"databases",
    b"hash-max-*",
    b"set-max-*",
    b"zset-max-*",
    b"list-*",
    b"stream-node-*",
    b"hll-sparse-max-bytes",
    b"lua-enable-*",
];
/// Commands that are spoken here to the process: it knows them by their own names.
const SPOKEN: [&str; 7] = ["ping", "hello", "echo", "select", "script", "acl", "auth"];

/// The processes of all sessions.
#[derive(Default)]
pub struct Sessions(Mutex<Vec<(u32, PathBuf)>>);

impl Sessions {
    fn all(&self) -> MutexGuard<'_, Vec<(u32, PathBuf)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends them all: the server ends.
    pub fn kill(&self) {
        for (pid, directory) in self.all().drain(..) {
            tracing::info!("Killing debugging session {pid}");
            if let Ok(pid) = i32::try_from(pid) {
                // It may just have ended.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
            }
            remove(&directory);
        }
    }
}

fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory) {
        tracing::warn!("Can't remove {}: {error}", directory.display());
    }
}

/// The directory of a session, removed with this value.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// A copy of the data and the process that has it. Both go with it.
struct Apart {
    server: ServerRef,
    directory: Arc<Directory>,
    child: Option<Child>,
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            self.server.scripts.debugged_apart.all().retain(|(pid, _)| *pid != child.id());
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            tracing::info!("Lua debugging session child exiting");
        }
    }
}

impl Apart {
    /// Makes a directory for a session, below the working directory.
    fn new(server: &ServerRef, client: u64) -> io::Result<Self> {
        let directory = PathBuf::from(format!("temp-debug-{}-{client}", std::process::id()));
        if directory.exists() {
            // A server with this number has crashed.
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { server: server.clone(), directory: Arc::new(Directory(directory)), child: None })
    }

    /// Writes the data as they are now.
    async fn save(&self) -> io::Result<()> {
        let mut stream = RdbStream::begin(self.server.clone(), RdbOptions::default(), Box::new(|_| ())).await;
        let directory = self.directory.clone();
        let (done, saved) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("save-debugged".into()).spawn(move || {
            memory::register_thread();
            let stopped = || io::Error::other("stopped");
            let mut write = || -> io::Result<()> {
                // Nobody reads it before it is whole, and nobody after a crash.
                let mut file = File::create(directory.0.join(SNAPSHOT))?;
                while let Some(bytes) = stream.next_blocking().map_err(|_| stopped())? {
                    if done.is_closed() {
                        return Err(stopped());
                    }
                    file.write_all(&bytes)?;
                }
                Ok(())
            };
            let written = write();
            drop(directory);
            // The client may have gone.
            let _ = done.send(written);
        })?;
        saved.await.unwrap_or_else(|_| Err(io::Error::other("the thread ended")))
    }

    /// Starts the process and waits until it has loaded the data.
    async fn start(&mut self) -> io::Result<UnixStream> {
        std::fs::write(self.directory.0.join(CONFIGURATION), configuration(&self.server.config.load()))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("skuld-server").arg(CONFIGURATION).current_dir(&self.directory.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: one system call, which allocates nothing.
        unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL)?)) };
        let child = self.child.insert(command.spawn()?);
        self.server.scripts.debugged_apart.all().push((child.id(), self.directory.0.clone()));
        let mut stream = loop {
            match UnixStream::connect(self.directory.0.join(SOCKET)).await {
                Ok(stream) => break stream,
                Err(_) if child.try_wait()?.is_none() => tokio::time::sleep(TRY_EVERY).await,
                Err(error) => return Err(error),
            }
        };
        while let line = ask(&mut stream, &[b"PING"]).await?
            && line != b"+PONG"
        {
            if !line.starts_with(b"-LOADING") {
                return Err(io::Error::other(String::from_utf8_lossy(&line).into_owned()));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        std::fs::remove_file(self.directory.0.join(SNAPSHOT))?;
        Ok(stream)
    }
}

/// The configuration of a process for debugging.
fn configuration(config: &Config) -> Vec<u8> {
    let own = format!(
        "port 0\nunixsocket {SOCKET}\ndbfilename {SNAPSHOT}\nsave \"\"\nworker-threads 1\nlogfile \"\"\n\
         loglevel warning\nmaxmemory 0\nproto-max-bulk-len {}\n",
        config.proto_max_bulk_len
    );
    let mut text = own.into_bytes();
    for (name, value) in skuld::config::access::get(config, &PASSED_ON) {
        text.extend([name.as_slice(), b" ", &value, b"\n"].concat());
    }
    for (old, new) in &config.renamed_commands {
        if !SPOKEN.contains(&old.to_str().to_ascii_lowercase().as_str()) {
            text.extend(format!("rename-command {} \"{}\"\n", old.to_str(), new.to_str()).into_bytes());
        }
    }
    text
}

/// Asks for something that is answered with one line, which is returned without its end.
async fn ask(stream: &mut UnixStream, words: &[&[u8]]) -> io::Result<Vec<u8>> {
    const LINE_MAX: usize = 4096;
    let mut request = Vec::new();
    encode_command(&mut request, words);
    stream.write_all(&request).await?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < LINE_MAX {
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len().saturating_sub(2));
    Ok(line)
}

async fn ask_for_ok(stream: &mut UnixStream, words: &[&[u8]]) -> io::Result<()> {
    let line = ask(stream, words).await?;
    if line == b"+OK" { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&line).into_owned())) }
}

/// Becomes what the client is: its protocol, its database, its user, about to debug.
async fn become_client(stream: &mut UnixStream, session: &Session) -> io::Result<()> {
    if session.protocol == Protocol::Resp3 {
        // What follows tells where the long reply ends.
        let end = random_hex(16);
        let mut request = Vec::new();
        encode_command(&mut request, &[b"HELLO", b"3"]);
        encode_command(&mut request, &[b"ECHO", end.as_bytes()]);
        stream.write_all(&request).await?;
        let (mut reply, end) = (Vec::new(), format!("{end}\r\n"));
        while !reply.ends_with(end.as_bytes()) {
            reply.push(stream.read_u8().await?);
        }
    }
    ask_for_ok(stream, &[b"SELECT", session.db.to_string().as_bytes()]).await?;
    ask_for_ok(stream, &[b"SCRIPT", b"DEBUG", b"SYNC"]).await?;
    let user = &session.user;
    let (rules, password) = (user.rules(), random_hex(32));
    let password_rule = format!(">{password}");
    let mut words: Vec<&[u8]> = vec![b"ACL", b"SETUSER", &user.name, b"reset"];
    words.extend(rules.split(|byte| *byte == b' '));
    words.extend([b"on".as_slice(), b"resetpass", password_rule.as_bytes()]);
    ask_for_ok(stream, &words).await?;
    ask_for_ok(stream, &[b"AUTH", &user.name, password.as_bytes()]).await
}

/// Passes bytes on in both directions until the process has said all.
async fn relay(mut stream: UnixStream, conversation: &Conversation, batch: &Batch) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut bytes) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let (room, made) = tokio::sync::oneshot::channel();
                tell(&batch.connection, Feed { bytes: Bytes::copy_from_slice(&bytes[..read]), room });
                // No room is made for a client that has gone, and then this task is dropped.
                let _ = made.await;
            }
            heard = conversation.take_bytes() => {
                let heard = heard.ok_or_else(|| io::Error::other("the client says too much at once"))?;
                stream.write_all(&heard).await?;
            }
        }
    }
}

/// Runs EVAL for a client that debugs apart from everybody.
pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    batch.session.debugging = Debugging::Off;
    batch.session.close_after_reply = true;
    let began = clock::tick();
    let earlier = request.take_replies();
    if !earlier.is_empty() {
        let mut replies = std::mem::take(&mut batch.finished);
        replies.push(earlier);
        tell(&batch.connection, Waits { replies, appended: batch.appended });
    }
    let conversation = Arc::clone(batch.shared.debugger.get_or_init(Arc::default));
    conversation.begin();
    let result = tokio::select! {
        result = debug(request, batch, &conversation) => result,
        () = conversation.gone() => Ok(()),
        () = std::future::ready(()), if batch.shared.hung_up.load(Ordering::Acquire) => Ok(()),
    };
    conversation.end();
    request.waited_nanos += clock::nanos_between(began, clock::tick());
    result.map_err(|error| {
        tracing::warn!("Can't debug a script on a copy of the data: {error}");
        CommandError::text(format!("ERR can't debug on a copy of the data: {error}"))
    })
}

async fn debug(request: &Request, batch: &Batch, conversation: &Conversation) -> io::Result<()> {
    let mut apart = Apart::new(&request.server, batch.shared.id)?;
    apart.save().await?;
    let mut stream = apart.start().await?;
    tracing::info!("Valkey forked for debugging eval");
    become_client(&mut stream, &batch.session).await?;
    let words: Vec<&[u8]> = request.args.iter().map(Vec::as_slice).collect();
    let mut eval = Vec::new();
    encode_command(&mut eval, &words);
    stream.write_all(&eval).await?;
    relay(stream, conversation, batch).await
}
