//! A client's pipeline as a resumable program: everything one read brought, with the client's session as a value. It
//! travels from the connection to a shard, between shards in program order, and back once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor, Addr, AsyncContext, Recipient};
use skuld::commands::Command;
use skuld::config::Config;
use skuld::resp::decode::{ProtocolError, Requests, Span};
use skuld::session::{Origin, Session};

use crate::clients::{ClientNames, ClientShared};
use crate::command_log::Finished;
use crate::connection::{BatchExecuted, Connection};
use crate::envelope::Traced;
use crate::executor::prefetch::Window;
use crate::migration::ImportLink;
use crate::output_limit;
use crate::server::Server;
use crate::subscriptions::Subscribed;
use crate::tracking::Tracked;
use crate::transaction::Transaction;

/// The commands of one read, how far they have been executed, and the replies so far.
pub struct Batch {
    pub session: Session,
    pub shared: Arc<ClientShared>,
    pub connection: Addr<Connection>,
    /// Who gets the batch back instead of the connection: the batch is one of a stream that no client sends.
    pub feeder: Option<Recipient<Traced<BatchExecuted>>>,
    /// The last `Append` that was issued when commands of this client ran: what it has seen and done is in it or before.
    pub appended: u64,
    /// The same, of the last commands that only read the keys they name: what those keys show is in it or before.
    pub shown: u64,
    /// How many of the requests since `reported` those were, if anybody asks (`appendfsync always`).
    pub plain_reads: usize,
    /// The first request whose reply the connection has not been given yet.
    pub reported: usize,
    /// The bytes the requests' spans point into.
    pub input: Vec<u8>,
    pub requests: Requests,
    /// The next request to execute.
    pub next: usize,
    /// Where the keys of the next requests are, while a shard has the batch.
    pub window: Option<Window>,
    /// MULTI's queue and the watched keys.
    pub transaction: Transaction,
    /// What the client is subscribed to; `session.subscriptions` is its length.
    pub subscribed: Subscribed,
    /// The client's part in client-side caching; `session.tracking` says what it asked for.
    pub tracked: Tracked,
    /// Encoded replies that come before `output`, in chunks: so that large ones are neither copied nor grown.
    pub finished: Vec<Vec<u8>>,
    /// Encoded replies.
    pub output: Vec<u8>,
    /// The next request waited and runs again: its wait still ends at this time (Unix milliseconds; 0: never).
    pub wait_ends_ms: Option<i64>,
    /// The last command run: its id in the command table, or `u16::MAX`.
    pub last_command: u16,
    /// Commands run since the session was last published.
    pub commands_run: u32,
    /// The names as others see them.
    pub published: ClientNames,
    /// The batch comes over the link of a slot import.
    pub import: Option<Arc<ImportLink>>,
    /// The first refusal of a command of that link: the error line, and the command's name.
    pub import_error: Option<Box<(Vec<u8>, String)>>,
    /// What ended the requests, to be answered after them.
    pub protocol_error: Option<ProtocolError>,
}

/// Replies are set aside in chunks of this size at least, so that long pipelines do not make one buffer grow, bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// A request as it was before it was given other arguments.
#[derive(Clone, Copy, Debug)]
pub struct Original {
    request: skuld::resp::decode::Request,
    spans: usize,
    input: usize,
}

/// Why a batch came back to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All requests are executed, or the session asked to be closed.
    Done,
    /// Request `next` needs server state; the connection runs it and sends the batch on.
    NeedsServer,
    /// A command of a subscriber or of a client that tracks has run: its reply goes out before the messages it may have caused, then the batch goes on.
    Turn,
    /// The client was killed meanwhile.
    Killed,
}

impl Batch {
    /// An empty batch of a client.
    pub fn of_client(session: Session, shared: Arc<ClientShared>, connection: Addr<Connection>) -> Self {
        Self {
            session,
            published: shared.names(),
            shared,
            connection,
            feeder: None,
            appended: 0,
            shown: 0,
            plain_reads: 0,
            reported: 0,
            input: Vec::new(),
            requests: Requests::default(),
            next: 0,
            window: None,
            transaction: Transaction::default(),
            subscribed: Subscribed::default(),
            tracked: Tracked::default(),
            finished: Vec::new(),
            output: Vec::new(),
            wait_ends_ms: None,
            last_command: u16::MAX,
            commands_run: 0,
            import: None,
            import_error: None,
            protocol_error: None,
        }
    }

    /// An empty batch of a stream of commands without a connection: `feeder` gets it back when its requests are
    /// executed ([`Stop::Done`]) or when it must run one itself ([`Stop::NeedsServer`], see
    /// [`crate::server_commands::run`]). It is in no list of clients.
    pub fn of_stream(server: &Server, origin: Origin, feeder: Recipient<Traced<BatchExecuted>>) -> Self {
        let mut session = Session::new(server.clients.next_id());
        session.origin = origin;
        // The address of an actor that has ended: what is sent there is dropped.
        let nowhere = <Connection as Actor>::Context::new().address();
        let shared = Arc::new(ClientShared::new(&session, -1, nowhere.clone()));
        Self { feeder: Some(feeder), ..Self::of_client(session, shared, nowhere) }
    }

    /// Lets others see what the commands run so far changed in the client.
    pub fn publish(&mut self) {
        let (session, shared) = (&self.session, &self.shared);
        shared.publish(session);
        self.transaction.publish(shared);
        if self.commands_run > 0 {
            shared.last_command.store(u32::from(self.last_command), Ordering::Relaxed);
            crate::stats::bump(&shared.commands, u64::from(self.commands_run));
            self.commands_run = 0;
        }
        let names = &mut self.published;
        let same = names.name == session.name
            && names.lib_name == session.lib_name
            && names.lib_ver == session.lib_ver
            && Arc::ptr_eq(&names.user, &session.user.name);
        if !same {
            names.name.clone_from(&session.name);
            names.lib_name.clone_from(&session.lib_name);
            names.lib_ver.clone_from(&session.lib_ver);
            names.user = session.user.name.clone();
            shared.publish_names(names);
        }
    }

    /// Sets long output aside; true if the replies so far are more than the client may have waiting.
    #[inline]
    pub fn output_is_too_much(&mut self, config: &Config) -> bool {
        self.output.len() >= CHUNK_BYTES && self.set_output_aside(config)
    }

    #[cold]
    fn set_output_aside(&mut self, config: &Config) -> bool {
        self.finished.push(std::mem::take(&mut self.output));
        let unwritten = self.shared.output_bytes.load(Ordering::Relaxed) as usize;
        let waiting = unwritten + self.reply_bytes();
        self.session.origin.is_client() && output_limit::is_beyond_hard(config, &self.shared, waiting)
    }

    /// Bytes of all replies so far.
    pub fn reply_bytes(&self) -> usize {
        self.finished.iter().map(Vec::len).sum::<usize>() + self.output.len()
    }

    /// What the buffers of the replies take, bytes.
    pub fn reply_memory(&self) -> usize {
        self.finished.iter().map(Vec::capacity).sum::<usize>() + self.output.capacity()
    }

    /// If this is the link of a slot import and the reply from `from` on is an error: that fails the job.
    #[inline]
    pub fn note_import_error(&mut self, from: usize, command: &str) {
        if self.import.is_some() && self.import_error.is_none() {
            let line = self.output.get(from..).unwrap_or_default().to_vec();
            self.import_error = Some(Box::new((line, command.to_owned())));
        }
    }

    /// What the command log wants to know about a request of this batch that has just been run.
    pub fn finished<'a>(
        &'a self,
        command: &'static Command,
        nanos: u64,
        reply_bytes: usize,
        args: &'a dyn Fn() -> Vec<Vec<u8>>,
    ) -> Finished<'a> {
        Finished {
            command,
            nanos,
            reply_bytes,
            request_bytes_max: self.input.len(),
            args,
            peer: &self.session.peer,
            name: &self.session.name,
        }
    }

    /// Bytes of `input` before a request of a stream of RESP arrays.
    pub fn bytes_before(&self, request: usize) -> usize {
        let Some(before) = request.checked_sub(1) else { return 0 };
        self.requests.args(before).last().map_or(0, |span| span.start + span.len + 2)
    }

    /// Bytes of a request as the client sent it.
    pub fn request_bytes(&self, request: usize) -> u64 {
        let spans = self.requests.args(request);
        let Some(first) = spans.first() else { return 0 };
        // Before the first word of an array stands its length on a line of its own.
        let before = self.input[..first.start].strip_suffix(b"\r\n").unwrap_or_default();
        let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.first() == Some(&b'$') {
            crate::slot_stats::array_bytes(spans.iter().map(|span| span.len))
        } else {
            // A line of words: blanks between them, and its end.
            spans.iter().map(|span| span.len as u64 + 1).sum::<u64>() + 1
        }
    }

    /// Argument `arg` of request `request`.
    pub fn arg(&self, request: usize, arg: usize) -> &[u8] {
        let span = self.requests.args(request)[arg];
        &self.input[span.start..span.start + span.len]
    }

    /// All arguments of request `request`.
    pub fn words(&self, request: usize) -> Vec<&[u8]> {
        (0..self.requests.args(request).len()).map(|arg| self.arg(request, arg)).collect()
    }

    /// Gives a request other arguments and returns what [`Batch::restore_args`] needs to take that back.
    pub fn set_args(&mut self, request: usize, words: &[Vec<u8>]) -> Original {
        let original = Original {
            request: self.requests.requests[request],
            spans: self.requests.spans.len(),
            input: self.input.len(),
        };
        for word in words {
            self.requests.spans.push(Span { start: self.input.len(), len: word.len() });
            self.input.extend_from_slice(word);
        }
        let changed = &mut self.requests.requests[request];
        changed.first_arg = original.spans as u32;
        changed.args = words.len() as u32;
        original
    }

    /// Takes back the last [`Batch::set_args`].
    pub fn restore_args(&mut self, request: usize, original: Original) {
        self.requests.requests[request] = original.request;
        self.requests.spans.truncate(original.spans);
        self.input.truncate(original.input);
    }

    /// The arguments of request `request`, copied.
    pub fn owned_args(&self, request: usize) -> Vec<Vec<u8>> {
        self.words(request).into_iter().map(<[u8]>::to_vec).collect()
    }
}
