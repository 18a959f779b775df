//! Client-side caching: who has read which keys, and telling them when a key changes.
//!
//! ```text
//!  read by a tracking client --> [ stripe of the key: key -> client ids ]
//!  key changed ----------------> its clients are told and forgotten; clients that track by prefix are told always
//! ```
//!
//! The order is that of the shard: a message about a key leaves for the client in the same handler that changed it, a
//! reply leaves in the same handler that read, both to the same mailbox; and the batch of a tracking client comes home
//! after every command. So a message can be written as soon as it arrives: it belongs behind every reply that has arrived
//! and before all others. What a client's own command invalidates is put behind that command's reply at once.
//!
//! Invariant: no lock of this module is held while another is taken, nor across a send to anything but a mailbox.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skuld::effects::Modified;
use skuld::resp::{Protocol, Reply};
use skuld::session::Session;

use crate::clients::{ClientShared, Clients, flag};
use crate::connection::Invalidate;
use crate::envelope::tell;

/// Parts of the table, each under a lock of its own.
const STRIPES: usize = 64;
/// Most keys that one visit takes out of a table that has grown too large.
const EVICTED_PER_VISIT: usize = 100;

type Readers = Vec<u64>;
type Stripe = HashMap<Box<[u8]>, Readers>;
/// Who wants to hear of keys with a prefix.
type Prefixes = BTreeMap<Box<[u8]>, BTreeSet<u64>>;

/// The table and those who track.
pub struct Tracking {
    stripes: [Mutex<Stripe>; STRIPES],
    prefixes: Mutex<Prefixes>,
    /// Clients that track; read once per batch.
    clients: AtomicUsize,
    keys: AtomicUsize,
    /// Pairs of key and client.
    items: AtomicUsize,
    /// Where the next visit to a table that is too large begins.
    cursor: AtomicUsize,
    /// Bytes of messages that have not arrived at the connections yet.
    under_way: Arc<AtomicU64>,
}

/// Bytes that are counted as long as this lives.
pub struct UnderWay(Arc<AtomicU64>, u64);

impl UnderWay {
    fn new(all: &Arc<AtomicU64>, bytes: usize) -> Self {
        all.fetch_add(bytes as u64, Ordering::Relaxed);
        Self(all.clone(), bytes as u64)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A message for any number of clients.
pub struct Body {
    pub bytes: Vec<u8>,
    _counted: UnderWay,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            stripes: std::array::from_fn(|_| Mutex::default()),
            prefixes: Mutex::default(),
            clients: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            cursor: AtomicUsize::new(0),
            under_way: Arc::default(),
        }
    }
}

/// The client whose command is being run: what concerns itself goes behind its reply.
pub struct Writer<'a> {
    pub id: u64,
    pub pushes: &'a mut Vec<u8>,
}

/// Keys, or all there are.
#[derive(Clone, Copy)]
enum Stale<'a> {
    Keys(&'a [&'a [u8]]),
    All,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tracking {
    /// Whether anybody tracks.
    #[inline]
    pub fn any(&self) -> bool {
        self.clients.load(Ordering::Relaxed) > 0
    }

    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    pub fn items(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    /// Distinct prefixes.
    pub fn prefixes(&self) -> usize {
        lock(&self.prefixes).len()
    }

    /// Bytes of messages on their way to connections, which write them and then need them no more.
    pub fn bytes_under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    fn stripe(&self, key: &[u8]) -> &Mutex<Stripe> {
        &self.stripes[skuld::hash::hash(key) as usize % STRIPES]
    }

    /// Takes note that a client has read these keys.
    pub fn remember<'k>(&self, client: u64, keys: impl Iterator<Item = &'k [u8]>) {
        for key in keys {
            let mut stripe = lock(self.stripe(key));
            let readers = match stripe.get_mut(key) {
                Some(readers) => readers,
                None => {
                    self.keys.fetch_add(1, Ordering::Relaxed);
                    stripe.entry(key.into()).or_default()
                }
            };
            if !readers.contains(&client) {
                readers.push(client);
                self.items.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn forget(&self, readers: &Readers) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.items.fetch_sub(readers.len(), Ordering::Relaxed);
    }

    /// Tells whoever has read these keys, or tracks their prefixes. Nobody's command has changed them.
    pub fn invalidate(&self, clients: &Clients, modified: &[Modified]) {
        self.tell_readers(clients, modified, None);
        self.tell_prefixes(clients, modified, None);
    }

    /// Tells whoever has read these keys.
    pub fn tell_readers(&self, clients: &Clients, modified: &[Modified], mut writer: Option<Writer<'_>>) {
        for change in modified {
            let readers = lock(self.stripe(&change.key)).remove(&change.key);
            let Some(readers) = readers else { continue };
            self.forget(&readers);
            let keys: [&[u8]; 1] = [&change.key];
            let mut message =
                Message { stale: Stale::Keys(&keys), under_way: &self.under_way, made: [None, None] };
            for id in readers {
                let Some(client) = clients.get(id).filter(|c| c.tracks() && !c.has(flag::TRACKING_BROADCAST))
                else {
                    continue;
                };
                if client.has(flag::TRACKING_NO_LOOP) && writer.as_ref().is_some_and(|w| w.id == id) {
                    continue;
                }
                send(clients, &client, &mut message, &mut writer);
            }
        }
    }

    /// Tells who tracks by prefix: one message for each prefix and client, with all its keys in order.
    pub fn tell_prefixes(&self, clients: &Clients, modified: &[Modified], mut writer: Option<Writer<'_>>) {
        let concerned: Vec<(Vec<&[u8]>, Vec<u64>)> = {
            let prefixes = lock(&self.prefixes);
            if prefixes.is_empty() {
                return;
            }
            let keys: BTreeSet<&[u8]> = modified.iter().map(|change| &*change.key).collect();
            let with =
                |prefix: &[u8]| keys.iter().copied().filter(|k| k.starts_with(prefix)).collect::<Vec<_>>();
            let all = prefixes.iter().map(|(prefix, ids)| (with(prefix), ids.iter().copied().collect()));
            all.filter(|(keys, _)| !keys.is_empty()).collect()
        };
        for (keys, ids) in concerned {
            let mut message =
                Message { stale: Stale::Keys(&keys), under_way: &self.under_way, made: [None, None] };
            for id in ids {
                let Some(client) = clients.get(id) else { continue };
                if client.has(flag::TRACKING_NO_LOOP) && writer.as_ref().is_some_and(|w| w.id == id) {
                    continue;
                }
                send(clients, &client, &mut message, &mut writer);
            }
        }
    }

    /// A database was emptied: everybody who tracks forgets everything. Returns what nobody needs any more.
    pub fn flushed(
        &self,
        clients: &Clients,
        mut writer: Option<Writer<'_>>,
    ) -> Vec<Box<dyn std::any::Any + Send>> {
        let mut garbage: Vec<Box<dyn std::any::Any + Send>> = Vec::new();
        for stripe in &self.stripes {
            let old = std::mem::take(&mut *lock(stripe));
            if !old.is_empty() {
                self.keys.fetch_sub(old.len(), Ordering::Relaxed);
                self.items.fetch_sub(old.values().map(Vec::len).sum::<usize>(), Ordering::Relaxed);
                garbage.push(Box::new(old));
            }
        }
        let mut message = Message { stale: Stale::All, under_way: &self.under_way, made: [None, None] };
        for client in clients.all().iter().filter(|client| client.tracks()) {
            send(clients, client, &mut message, &mut writer);
        }
        garbage
    }

    /// Takes keys out while there are more than `max` (0: any number), telling their readers. At most as many as is quickly
    /// done; whether more are left to do.
    pub fn shrink(&self, clients: &Clients, max: usize, mut writer: Option<Writer<'_>>) -> bool {
        if max == 0 {
            return false;
        }
        for _ in 0..EVICTED_PER_VISIT {
            if self.keys() <= max {
                return false;
            }
            let at = self.cursor.fetch_add(1, Ordering::Relaxed);
            let taken = (0..STRIPES).find_map(|step| {
                let mut stripe = lock(&self.stripes[(at + step) % STRIPES]);
                let key = stripe.keys().next()?.clone();
                stripe.remove(&key).map(|readers| (key, readers))
            });
            let Some((key, readers)) = taken else { return false };
            self.forget(&readers);
            let keys: [&[u8]; 1] = [&key];
            let mut message =
                Message { stale: Stale::Keys(&keys), under_way: &self.under_way, made: [None, None] };
            for client in readers.into_iter().filter_map(|id| clients.get(id)).filter(|c| c.tracks()) {
                send(clients, &client, &mut message, &mut writer);
            }
        }
        self.keys() > max
    }
}

/// What takes part in a message beside its bytes: the letter to each of its readers, bytes.
const LETTER_BYTES: usize = 320;

/// A message for any number of clients, made once for each protocol.
struct Message<'a> {
    stale: Stale<'a>,
    under_way: &'a Arc<AtomicU64>,
    made: [Option<Arc<Body>>; 2],
}

impl<'a> Message<'a> {
    fn body(&mut self, resp3: bool) -> &Arc<Body> {
        let under_way = self.under_way;
        self.made[usize::from(resp3)].get_or_insert_with(|| {
            let mut reply = Reply::new(if resp3 { Protocol::Resp3 } else { Protocol::Resp2 });
            if resp3 {
                reply.push(2);
                reply.bulk(b"invalidate");
            } else {
                reply.array(3);
                reply.bulk(b"message");
                reply.bulk(b"__redis__:invalidate");
            }
            match self.stale {
                Stale::All => reply.null(),
                Stale::Keys(keys) => {
                    reply.array(keys.len());
                    keys.iter().for_each(|key| reply.bulk(key));
                }
            }
            let bytes = reply.into_bytes();
            Arc::new(Body { _counted: UnderWay::new(under_way, bytes.len()), bytes })
        })
    }
}

/// Tells a client that tracks, or the one it has its messages sent to.
fn send(
    clients: &Clients,
    client: &Arc<ClientShared>,
    message: &mut Message<'_>,
    writer: &mut Option<Writer<'_>>,
) {
    let redirect = client.redirect.load(Ordering::Relaxed);
    let target = match redirect {
        0 => client.clone(),
        id => match clients.get(id) {
            Some(target) => target,
            None => return redirection_broken(client, id, message.under_way, writer),
        },
    };
    let resp3 = target.resp.load(Ordering::Relaxed) == 3;
    if !resp3 && (redirect == 0 || !target.is_subscriber()) {
        // It could not tell the message from a reply.
        return;
    }
    let under_way = message.under_way;
    deliver(&target, message.body(resp3), under_way, writer);
}

fn redirection_broken(
    client: &Arc<ClientShared>,
    id: u64,
    under_way: &Arc<AtomicU64>,
    writer: &mut Option<Writer<'_>>,
) {
    client.redirect_broken.store(true, Ordering::Relaxed);
    if client.resp.load(Ordering::Relaxed) == 3 {
        let mut reply = Reply::new(Protocol::Resp3);
        reply.push(2);
        reply.bulk(b"tracking-redir-broken");
        reply.integer(id as i64);
        let body = Body { bytes: reply.into_bytes(), _counted: UnderWay::new(under_way, 0) };
        deliver(client, &Arc::new(body), under_way, writer);
    }
}

fn deliver(
    to: &Arc<ClientShared>,
    body: &Arc<Body>,
    under_way: &Arc<AtomicU64>,
    writer: &mut Option<Writer<'_>>,
) {
    match writer {
        Some(writer) if writer.id == to.id => writer.pushes.extend_from_slice(&body.bytes),
        _ => {
            let letter = UnderWay::new(under_way, LETTER_BYTES);
            tell(&to.connection, Invalidate { body: body.clone(), letter });
        }
    }
}

/// A client's part in the registry. It ends when this is dropped, that is, with the client's batch.
#[derive(Default)]
pub struct Tracked {
    registered: Option<(Arc<Tracking>, u64)>,
    prefixes: Vec<Box<[u8]>>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.end();
    }
}

impl Tracked {
    /// The client tracks from now on. `prefixes` are those that are new.
    pub fn begin(&mut self, registry: &Arc<Tracking>, client: u64, prefixes: &[Vec<u8>]) {
        if self.registered.is_none() {
            registry.clients.fetch_add(1, Ordering::AcqRel);
            self.registered = Some((registry.clone(), client));
        }
        let mut all = lock(&registry.prefixes);
        for prefix in prefixes {
            let prefix: Box<[u8]> = prefix.as_slice().into();
            all.entry(prefix.clone()).or_default().insert(client);
            self.prefixes.push(prefix);
        }
    }

    /// The client tracks no more. Keys it has read stay in the table until they change.
    pub fn end(&mut self) {
        let Some((registry, client)) = self.registered.take() else { return };
        registry.clients.fetch_sub(1, Ordering::AcqRel);
        let mut all = lock(&registry.prefixes);
        for prefix in self.prefixes.drain(..) {
            if let Some(ids) = all.get_mut(&prefix) {
                ids.remove(&client);
                if ids.is_empty() {
                    all.remove(&prefix);
                }
            }
        }
    }
}

/// Whether the keys that a client's next reading command reads are to be remembered.
#[inline]
pub fn remembers(session: &Session) -> bool {
    let tracking = &session.tracking;
    let chosen = match (tracking.opt_in, tracking.opt_out) {
        (true, _) => tracking.caching,
        (_, true) => !tracking.caching,
        _ => true,
    };
    tracking.on && !tracking.broadcast && chosen
}
