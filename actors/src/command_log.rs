//! The command log: commands that took long, had large requests, or got large replies.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use skuld::commands::Command;
use skuld::commands::spec::{FAST, SKIP_COMMANDLOG};
use skuld::config::Config;
use skuld::session::Session;

use crate::clock;
use crate::server::Server;

/// Why a command is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Slow = 0,
    LargeRequest = 1,
    LargeReply = 2,
}

impl Kind {
    /// The kind a client names.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        [("slow", Self::Slow), ("large-request", Self::LargeRequest), ("large-reply", Self::LargeReply)]
            .into_iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word))
            .map(|(_, kind)| kind)
    }
}

/// One command that is kept.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub unix_s: i64,
    /// Microseconds or bytes, by kind.
    pub figure: u64,
    pub args: Vec<Vec<u8>>,
    pub peer: String,
    pub name: Vec<u8>,
}

#[derive(Debug, Default)]
struct Log {
    /// Newest first.
    entries: VecDeque<Entry>,
    next_id: u64,
}

/// The three logs.
#[derive(Debug, Default)]
pub struct CommandLog([Mutex<Log>; 3]);

impl CommandLog {
    fn lock(&self, kind: Kind) -> MutexGuard<'_, Log> {
        self.0[kind as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, kind: Kind, mut entry: Entry, max_len: u64) {
        let mut log = self.lock(kind);
        entry.id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(entry);
        log.entries.truncate(usize::try_from(max_len).unwrap_or(usize::MAX));
    }

    /// The newest `count` entries, newest first.
    pub fn newest(&self, kind: Kind, count: usize) -> Vec<Entry> {
        self.lock(kind).entries.iter().take(count).cloned().collect()
    }

    pub fn len(&self, kind: Kind) -> usize {
        self.lock(kind).entries.len()
    }

    pub fn reset(&self, kind: Kind) {
        self.lock(kind).entries.clear();
    }
}

/// What has just been run, as far as the logs want to know.
pub struct Finished<'a> {
    pub command: &'static Command,
    pub nanos: u64,
    pub reply_bytes: usize,
    /// No request of the batch is larger than this, bytes.
    pub request_bytes_max: usize,
    /// The words of the request, given only if it is to be kept.
    pub args: &'a dyn Fn() -> Vec<Vec<u8>>,
    pub peer: &'a str,
    pub name: &'a [u8],
}

impl<'a> Finished<'a> {
    /// A command that ran inside another one, for this client.
    pub fn inside(
        session: &'a Session,
        command: &'static Command,
        (nanos, reply_bytes): (u64, usize),
        words: &[&[u8]],
        args: &'a dyn Fn() -> Vec<Vec<u8>>,
    ) -> Self {
        /// No word takes more beside its bytes.
        const FRAME_BYTES: usize = 25;
        Self {
            command,
            nanos,
            reply_bytes,
            request_bytes_max: words.iter().map(|word| word.len() + FRAME_BYTES).sum::<usize>() + FRAME_BYTES,
            args,
            peer: &session.peer,
            name: &session.name,
        }
    }
}

/// Notes a command that ended in the command log and the latency monitor, if it is remarkable.
#[inline]
pub fn command_ended(server: &Server, config: &Config, finished: &Finished<'_>) {
    let micros = finished.nanos / 1000;
    let reaches = |figure: u64, limit: i64| limit >= 0 && figure >= limit as u64;
    let monitored = config.latency_monitor_threshold;
    if reaches(micros, config.commandlog_execution_slower_than)
        || reaches(finished.reply_bytes as u64, config.commandlog_reply_larger_than)
        || reaches(finished.request_bytes_max as u64, config.commandlog_request_larger_than)
        || (monitored > 0 && micros / 1000 >= monitored)
    {
        keep(server, config, finished, micros);
    }
}

#[cold]
fn keep(server: &Server, config: &Config, finished: &Finished<'_>, micros: u64) {
    let Finished { command, reply_bytes, peer, name, .. } = *finished;
    if config.latency_monitor_threshold > 0 && micros / 1000 >= config.latency_monitor_threshold {
        let event = if command.flags.has(FAST) { "fast-command" } else { "command" };
        server.latency.add(event, micros / 1000);
    }
    if command.flags.has(SKIP_COMMANDLOG) {
        return;
    }
    let args = (finished.args)();
    let figures = [
        (
            Kind::Slow,
            micros,
            config.commandlog_execution_slower_than,
            config.commandlog_slow_execution_max_len,
        ),
        (
            Kind::LargeRequest,
            request_bytes(&args),
            config.commandlog_request_larger_than,
            config.commandlog_large_request_max_len,
        ),
        (
            Kind::LargeReply,
            reply_bytes as u64,
            config.commandlog_reply_larger_than,
            config.commandlog_large_reply_max_len,
        ),
    ];
    let shown = trimmed(redacted(command, args));
    for (kind, figure, limit, max_len) in figures {
        if limit >= 0 && figure >= limit as u64 && max_len > 0 {
            let entry = Entry {
                id: 0,
                unix_s: clock::unix_ms() / 1000,
                figure,
                args: shown.clone(),
                peer: peer.to_owned(),
                name: name.to_vec(),
            };
            server.command_log.push(kind, entry, max_len);
        }
    }
}

/// The bytes of a request in the protocol.
fn request_bytes(args: &[Vec<u8>]) -> u64 {
    let digits = |n: usize| n.checked_ilog10().map_or(1, |d| u64::from(d) + 1);
    let head = 3 + digits(args.len());
    args.iter().map(|a| 5 + digits(a.len()) + a.len() as u64).sum::<u64>() + head
}

/// Keeps passwords out of the logs.
pub fn redacted(command: &Command, mut args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    const HIDDEN: &[u8] = b"(redacted)";
    let hide = |args: &mut Vec<Vec<u8>>, from: usize| {
        args.iter_mut().skip(from).for_each(|a| *a = HIDDEN.to_vec());
    };
    match command.name {
        "auth" => hide(&mut args, 1),
        "hello" => {
            let auth = args.iter().position(|a| a.eq_ignore_ascii_case(b"auth"));
            if let Some(at) = auth {
                args.iter_mut().skip(at + 1).take(2).for_each(|a| *a = HIDDEN.to_vec());
            }
        }
        "config|set" => {
            for at in (2..args.len().saturating_sub(1)).step_by(2) {
                let secret = skuld::config::find(&args[at])
                    .is_some_and(|row| row.flags.has(skuld::config::Flags::SENSITIVE));
                if secret {
                    args[at + 1] = HIDDEN.to_vec();
                }
            }
        }
        "acl|setuser" | "acl|deluser" | "acl|getuser" => hide(&mut args, 2),
        "migrate" => {
            // Behind host, port, key, database and timeout.
            let mut at = 6;
            while at < args.len() && !args[at].eq_ignore_ascii_case(b"keys") {
                let secrets = match args[at].to_ascii_lowercase().as_slice() {
                    b"auth" => 1,
                    b"auth2" => 2,
                    _ => 0,
                };
                args.iter_mut().skip(at + 1).take(secrets).for_each(|a| *a = HIDDEN.to_vec());
                at += 1 + secrets;
            }
        }
        _ => {}
    }
    args
}

/// Cuts long requests to what a log entry may hold.
fn trimmed(mut args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    /// Most words, and most bytes of each.
    const WORDS_MAX: usize = 32;
    const WORD_BYTES_MAX: usize = 128;
    let more = args.len().saturating_sub(WORDS_MAX - 1);
    if more > 1 {
        args.truncate(WORDS_MAX - 1);
        args.push(format!("... ({more} more arguments)").into_bytes());
    }
    for arg in &mut args {
        if arg.len() > WORD_BYTES_MAX {
            let more = arg.len() - WORD_BYTES_MAX;
            arg.truncate(WORD_BYTES_MAX);
            arg.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_trimmed_as_in_valkey() {
        let words = |n: usize| (0..n).map(|i| i.to_string().into_bytes()).collect::<Vec<_>>();
        assert_eq!(trimmed(words(32)).len(), 32);
        let cut = trimmed(words(40));
        assert_eq!((cut.len(), cut[30].as_slice()), (32, b"30".as_slice()));
        assert_eq!(cut[31], b"... (9 more arguments)");
        let long = trimmed(vec![vec![b'x'; 200]]);
        assert_eq!(long[0].len(), 128 + "... (72 more bytes)".len());
    }

    #[test]
    fn request_sizes_are_those_on_the_wire() {
        let args = vec![b"set".to_vec(), b"k".to_vec(), vec![b'v'; 12]];
        assert_eq!(
            request_bytes(&args),
            "*3\r\n$3\r\nset\r\n$1\r\nk\r\n$12\r\nvvvvvvvvvvvv\r\n".len() as u64
        );
    }

    #[test]
    fn logs_are_bounded_and_newest_first() {
        let log = CommandLog::default();
        for figure in 0..5 {
            let entry =
                Entry { id: 0, unix_s: 0, figure, args: Vec::new(), peer: String::new(), name: Vec::new() };
            log.push(Kind::Slow, entry, 3);
        }
        let all = log.newest(Kind::Slow, usize::MAX);
        assert_eq!(all.iter().map(|e| (e.id, e.figure)).collect::<Vec<_>>(), [(4, 4), (3, 3), (2, 2)]);
        log.reset(Kind::Slow);
        assert_eq!(log.len(Kind::Slow), 0);
    }
}
