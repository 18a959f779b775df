//! Blocked clients: who waits for which key, and the one claim that ends a wait.
//!
//! ```text
//!              no element there                 key ready (its shard, or a unit)
//!   running ---------------------> waiting ------------------------------------> runs again --> replied
//!                                     |  \______________________________________/ (nothing there: waits again)
//!                                     |
//!                                     +-- timeout (timer of a shard), CLIENT UNBLOCK, kill, role or slot lost
//! ```
//!
//! A client's batch lies in its [`Waiter`] while it waits. Whoever wants to end the wait claims it with one
//! compare-and-swap; the winner gets the batch, everybody else finds nothing to do.
//!
//! The queues of the keys are kept here and not in the shards so that a unit reaches them too. Invariant: a waiter is put
//! into the queue of a key only by who holds that key's slot, and a key that is ready is looked at before its slot is given
//! up; so nobody waits for what is there already. Only the end of a wait may take entries out at any time.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::WRITE;
use skuld::effects::{AwaitedType, DatabaseChange, Wait};
use skuld::keyspace::Type;
use skuld::resp::Reply;
use skuld::slot::Slot;
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::clients::{ClientShared, flag};
use crate::clock;
use crate::command_log::command_ended;
use crate::connection::Waits;
use crate::envelope::tell;
use crate::executor::settle_reply_mode;
use crate::replication::link::Primary;
use crate::server::{Server, ServerRef};
use crate::server_commands::Request;
use crate::shard::ExecuteBatch;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A key with something to take.
    Key(AwaitedType),
    /// Something that is no key (WAIT, WAITAOF); the command itself looks for it.
    Outside,
    /// That replicas have a change of slots. Who waits sees itself when this node is a replica.
    Replicas,
}

/// How a wait was ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    TimedOut,
    /// With this error line, code word included.
    Refused(String),
    /// The same, and the connection is closed behind the error.
    RefusedForGood(String),
}

/// What the claim gives to its winner.
pub enum Claimed {
    Batch(Box<Batch>),
    Outside(oneshot::Sender<Ended>),
}

/// One wait of one client.
pub struct Waiter {
    /// In order of arrival.
    pub number: u64,
    pub client: Arc<ClientShared>,
    pub awaited: Awaited,
    pub db: u32,
    /// The keys whose change may help, each once.
    pub keys: Vec<Box<[u8]>>,
    /// The slots of all keys of the command, those it only writes to included.
    pub slots: Vec<Slot>,
    /// Also to be run again when a key is gone.
    pub until_loss: bool,
    /// Unix milliseconds; 0: without limit.
    pub deadline_ms: i64,
    /// The shard whose timer ends the wait, and on which the batch goes on.
    pub home: u16,
    claimed: AtomicBool,
    claim: Mutex<Option<Claimed>>,
}

impl Waiter {
    /// Whether a value of this type is what the client waits for.
    pub fn wants(&self, kind: Type) -> bool {
        let awaited = match kind {
            Type::List => AwaitedType::List,
            Type::ZSet => AwaitedType::SortedSet,
            Type::Stream => AwaitedType::Stream,
            _ => return false,
        };
        self.awaited == Awaited::Key(awaited)
    }
}

/// Who waits for a key, in order of arrival and thus of number.
type Queue = VecDeque<Arc<Waiter>>;
/// A database and a key of it.
pub type Place = (u32, Box<[u8]>);
type Deadlines = BTreeMap<(i64, u64), Arc<Waiter>>;

/// Everybody who waits.
#[derive(Default)]
pub struct Blocked {
    keys: DashMap<Place, Queue>,
    clients: DashMap<u64, Arc<Waiter>>,
    /// Per shard: the waits its timer ends.
    deadlines: Vec<Mutex<Deadlines>>,
    next: AtomicU64,
    /// Clients that wait for keys, and those among them that also want to know when a key is gone.
    on_keys: AtomicUsize,
    on_loss: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Blocked {
    pub fn new(workers: u16) -> Self {
        Self { deadlines: (0..workers).map(|_| Mutex::default()).collect(), ..Self::default() }
    }

    /// Whether anybody waits for keys.
    #[inline]
    pub fn any_on_keys(&self) -> bool {
        self.on_keys.load(Ordering::Relaxed) > 0
    }

    /// Whether anybody waits who wants to know when a key is gone.
    #[inline]
    pub fn any_on_loss(&self) -> bool {
        self.on_loss.load(Ordering::Relaxed) > 0
    }

    /// Clients that wait, those held back by CLIENT PAUSE not counted.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Clients that wait for a limited time.
    pub fn timed(&self) -> usize {
        self.deadlines.iter().map(|d| lock(d).len()).sum()
    }

    /// Keys that somebody waits for, and those of them whose loss somebody wants to know of.
    pub fn key_counts(&self) -> (usize, usize) {
        let on_loss = self.keys.iter().filter(|queue| queue.iter().any(|w| w.until_loss)).count();
        (self.keys.len(), on_loss)
    }

    /// Lets a client wait. The batch's next request is the command that is to run again; nothing of it has been replied.
    pub fn enter(&self, batch: Box<Batch>, wait: Wait, slots: Vec<Slot>, home: u16) -> Arc<Waiter> {
        let mut keys: Vec<Box<[u8]>> = Vec::with_capacity(wait.keys.len());
        for key in wait.keys {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let waiter = Waiter {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            client: batch.shared.clone(),
            awaited: Awaited::Key(wait.awaited),
            db: batch.session.db,
            keys,
            slots,
            until_loss: wait.until_loss,
            deadline_ms: wait.deadline_ms,
            home,
            claimed: AtomicBool::new(false),
            claim: Mutex::new(Some(Claimed::Batch(batch))),
        };
        self.on_keys.fetch_add(1, Ordering::Relaxed);
        self.on_loss.fetch_add(usize::from(waiter.until_loss), Ordering::Relaxed);
        self.register(waiter)
    }

    fn register(&self, waiter: Waiter) -> Arc<Waiter> {
        let waiter = Arc::new(waiter);
        waiter.client.blocked.store(true, Ordering::SeqCst);
        self.clients.insert(waiter.client.id, waiter.clone());
        if waiter.deadline_ms > 0 {
            lock(&self.deadlines[usize::from(waiter.home)])
                .insert((waiter.deadline_ms, waiter.number), waiter.clone());
        }
        for key in &waiter.keys {
            self.keys.entry((waiter.db, key.clone())).or_default().push_back(waiter.clone());
        }
        waiter
    }

    /// Ends a wait. The one caller that wins gets what was waiting; everybody else gets nothing.
    pub fn claim(&self, waiter: &Arc<Waiter>) -> Option<Claimed> {
        if waiter.claimed.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return None;
        }
        for key in &waiter.keys {
            let place = (waiter.db, key.clone());
            if let Some(mut queue) = self.keys.get_mut(&place)
                && let Ok(place) = queue.binary_search_by_key(&waiter.number, |other| other.number)
            {
                queue.remove(place);
            }
            self.keys.remove_if(&place, |_, queue| queue.is_empty());
        }
        if waiter.deadline_ms > 0 {
            lock(&self.deadlines[usize::from(waiter.home)]).remove(&(waiter.deadline_ms, waiter.number));
        }
        self.clients.remove_if(&waiter.client.id, |_, other| other.number == waiter.number);
        if !waiter.keys.is_empty() {
            self.on_keys.fetch_sub(1, Ordering::Relaxed);
            self.on_loss.fetch_sub(usize::from(waiter.until_loss), Ordering::Relaxed);
        }
        waiter.client.blocked.store(false, Ordering::SeqCst);
        lock(&waiter.claim).take()
    }

    /// The first who waits for a key and came after number `after` but not after number `last`.
    pub fn next_of(&self, db: u32, key: &[u8], after: Option<u64>, last: u64) -> Option<Arc<Waiter>> {
        let queue = self.keys.get(&(db, key.into()))?;
        let place = after.map_or(0, |after| queue.partition_point(|waiter| waiter.number <= after));
        queue.get(place).filter(|waiter| waiter.number <= last).cloned()
    }

    /// The number of the last client that came to wait for a key.
    pub fn last_of(&self, db: u32, key: &[u8]) -> Option<u64> {
        self.keys.get(&(db, key.into()))?.back().map(|waiter| waiter.number)
    }

    /// Whether somebody waits for a key.
    pub fn is_awaited(&self, db: u32, key: &[u8]) -> bool {
        self.keys.contains_key(&(db, key.into()))
    }

    /// The awaited keys of databases that were emptied or exchanged.
    pub fn keys_of(&self, changes: &[DatabaseChange]) -> Vec<Place> {
        let concerns = |db: u32| {
            changes.iter().any(|change| match *change {
                DatabaseChange::AllFlushed => true,
                DatabaseChange::Flushed(flushed) => flushed == db,
                DatabaseChange::Swapped(a, b) => a == db || b == db,
            })
        };
        let mut keys: Vec<_> = self
            .keys
            .iter()
            .filter(|entry| concerns(entry.key().0))
            .map(|entry| (entry.value().front().map_or(0, |w| w.number), entry.key().clone()))
            .collect();
        keys.sort_by_key(|(arrival, _)| *arrival);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// What a client waits for, if it does.
    pub fn of_client(&self, id: u64) -> Option<Arc<Waiter>> {
        self.clients.get(&id).map(|waiter| waiter.clone())
    }

    /// All who wait, in order of arrival.
    pub fn all(&self) -> Vec<Arc<Waiter>> {
        let mut all: Vec<_> = self.clients.iter().map(|waiter| waiter.clone()).collect();
        all.sort_by_key(|waiter| waiter.number);
        all
    }

    /// Forgets a client that is gone.
    pub fn abandon(&self, id: u64) {
        if let Some(waiter) = self.of_client(id) {
            drop(self.claim(&waiter));
        }
    }

    /// The waits of a shard's timer that are over at `now_ms`.
    pub fn due(&self, shard: u16, now_ms: i64) -> Vec<Arc<Waiter>> {
        let deadlines = lock(&self.deadlines[usize::from(shard)]);
        deadlines.range(..=(now_ms, u64::MAX)).map(|(_, waiter)| waiter.clone()).collect()
    }

    /// The first deadline of a shard's timer, Unix milliseconds.
    pub fn next_deadline(&self, shard: u16) -> Option<i64> {
        lock(&self.deadlines[usize::from(shard)]).keys().next().map(|&(deadline, _)| deadline)
    }
}

/// Ends a wait as its own timeout would, or with an error; false if somebody else has ended it.
pub fn end(server: &Server, waiter: &Arc<Waiter>, how: Ended) -> bool {
    match server.blocked.claim(waiter) {
        None => false,
        Some(Claimed::Outside(ended)) => {
            // The command's future may be gone with its client.
            let _ = ended.send(how);
            true
        }
        Some(Claimed::Batch(mut batch)) => {
            answer(server, &mut batch, &how);
            tell(server.shard(waiter.home), ExecuteBatch(batch));
            true
        }
    }
}

/// Ends a wait with an error and closes the client's connection behind the reply.
pub fn end_and_close(server: &Server, waiter: &Arc<Waiter>, line: &str) -> bool {
    match server.blocked.claim(waiter) {
        None => false,
        Some(Claimed::Outside(ended)) => {
            // The command's future may be gone with its client.
            let _ = ended.send(Ended::RefusedForGood(line.to_owned()));
            true
        }
        Some(Claimed::Batch(mut batch)) => {
            answer(server, &mut batch, &Ended::Refused(line.to_owned()));
            batch.session.close_after_reply = true;
            tell(server.shard(waiter.home), ExecuteBatch(batch));
            true
        }
    }
}

/// Writes the reply of a wait for keys that was ended, and counts the command as run.
fn answer(server: &Server, batch: &mut Batch, how: &Ended) {
    let start = clock::tick();
    let from = batch.output.len();
    let mut reply = Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
    match how {
        Ended::TimedOut => reply.null_array(),
        Ended::Refused(line) | Ended::RefusedForGood(line) => {
            CommandError::text(line.clone()).write_to(&mut reply);
        }
    }
    batch.output = reply.into_bytes();
    let refused = !matches!(how, Ended::TimedOut);
    if refused {
        server.stats.count_error(&batch.output[from + 1..]);
    }
    if let Ok(command) = server.table.resolve(&batch.words(batch.next)) {
        // The wait itself costs nothing.
        let nanos = clock::nanos_between(start, clock::tick());
        server.stats.record_server_command(usize::from(command.id), nanos, false, false);
        let (reply_bytes, words) = (batch.output.len() - from, || batch.owned_args(batch.next));
        let config = server.config.load();
        command_ended(server, &config, &batch.finished(command, nanos, reply_bytes, &words));
        if refused {
            server.stats.reject_server_command(usize::from(command.id));
        }
        batch.last_command = command.id;
        batch.commands_run += 1;
    }
    settle_reply_mode(&mut batch.output, from, &mut batch.session);
    batch.next += 1;
}

/// Error of CLIENT UNBLOCK ... ERROR.
pub const UNBLOCKED_BY_CLIENT: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
/// Error when the server becomes a replica, or a primary again.
pub const UNBLOCKED_BY_ROLE: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// The server follows `primary` now: nobody waits on, and their connections end, unless they can go on there. In a cluster
/// those who wait for keys are sent to the node that serves them, or go on waiting if they may read here: the owners of
/// slots decide, not the role.
pub fn end_all_for_role_change(server: &Server, primary: &Primary) {
    for waiter in server.blocked.all() {
        if matches!(waiter.awaited, Awaited::Replicas) {
            continue;
        }
        let for_keys = !matches!(waiter.awaited, Awaited::Outside);
        if for_keys && server.cluster.is_some() {
            continue;
        }
        let follows = waiter.client.flags.load(Ordering::Relaxed) & flag::CAPA_REDIRECT != 0;
        if follows && for_keys {
            end(server, &waiter, Ended::Refused(format!("REDIRECT {}:{}", primary.host, primary.port)));
        } else {
            end_and_close(server, &waiter, UNBLOCKED_BY_ROLE);
        }
    }
}

impl Waiter {
    /// Whether the client waits in a command that reads only, and may read on a replica.
    pub fn reads_on_replicas(&self) -> bool {
        let command = Command::by_id(self.client.last_command.load(Ordering::Relaxed) as u16);
        self.client.has(flag::READONLY) && command.is_some_and(|command| !command.flags.has(WRITE))
    }
}

/// Ends the waits for which `line_for` has an error line (MOVED, CLUSTERDOWN ...), for instance because of their slots.
pub fn end_where(server: &Server, mut line_for: impl FnMut(&Waiter) -> Option<String>) {
    for waiter in server.blocked.all() {
        if let Some(line) = line_for(&waiter) {
            end(server, &waiter, Ended::Refused(line));
        }
    }
}

/// How [`wait_outside`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited<T> {
    Ready(T),
    TimedOut,
    /// CLIENT UNBLOCK ... ERROR or the like: the command answers with this error.
    Refused(CommandError),
}

/// Takes the client out of the registry when the command ends, or is dropped with its connection.
struct Entered<'s> {
    server: &'s Server,
    waiter: Arc<Waiter>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        drop(self.server.blocked.claim(&self.waiter));
    }
}

/// Blocks the client of a server command (WAIT, WAITAOF) until `outcome` is there, the deadline has passed (Unix
/// milliseconds; 0: none), or somebody ends the wait. What was replied before goes out first; other commands of the
/// client wait behind this one. Counted and shown like every blocked client.
pub async fn wait_outside<T>(
    request: &mut Request,
    batch: &mut Batch,
    awaited: Awaited,
    deadline_ms: i64,
    outcome: impl Future<Output = T>,
) -> Waited<T> {
    let server: ServerRef = request.server.clone();
    let began = clock::tick();
    let before = request.take_replies();
    let mut replies = std::mem::take(&mut batch.finished);
    replies.push(before);
    batch.publish();
    let (sender, ended) = oneshot::channel();
    let waiter = server.blocked.register(Waiter {
        number: server.blocked.next.fetch_add(1, Ordering::Relaxed),
        client: batch.shared.clone(),
        awaited,
        db: batch.session.db,
        keys: Vec::new(),
        slots: Vec::new(),
        until_loss: false,
        deadline_ms: 0,
        home: 0,
        claimed: AtomicBool::new(false),
        claim: Mutex::new(Some(Claimed::Outside(sender))),
    });
    let _entered = Entered { server: &server, waiter };
    tell(&batch.connection, Waits { replies, appended: batch.appended });
    let timeout = async {
        if deadline_ms == 0 {
            return std::future::pending().await;
        }
        let left = (deadline_ms - clock::unix_ms()).max(0);
        tokio::time::sleep(Duration::from_millis(left as u64)).await;
    };
    let waited = tokio::select! {
        biased;
        ready = outcome => Waited::Ready(ready),
        how = ended => match how {
            Ok(Ended::Refused(line)) => Waited::Refused(CommandError::text(line)),
            Ok(Ended::RefusedForGood(line)) => {
                batch.session.close_after_reply = true;
                Waited::Refused(CommandError::text(line))
            }
            _ => Waited::TimedOut,
        },
        () = timeout => Waited::TimedOut,
    };
    request.waited_nanos += clock::nanos_between(began, clock::tick());
    waited
}
