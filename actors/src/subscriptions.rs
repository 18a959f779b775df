//! Who is subscribed to what, and the sending of messages.
//!
//! Invariant: messages are sent while the registry is locked. That is what gives all subscribers one order of messages,
//! over all channels and patterns, and makes a subscription begin and end at one place of that order. Sending only
//! enqueues, and nothing else is locked meanwhile, so the lock is held for as long as it takes to fill the mailboxes.
//!
//! A client's connection keeps arriving messages while a batch of the client is away, and batches of subscribers come
//! home after each command: so a message follows the reply of the command that caused it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skuld::effects::{Event, class};
use skuld::glob;
use skuld::resp::{Protocol, Reply};

use crate::clients::ClientShared;
use crate::connection::Deliver;
use crate::envelope::tell;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Channel,
    Pattern,
    ShardChannel,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::ShardChannel];
}

/// A client and some of its channels.
pub type Holder = (Arc<ClientShared>, Vec<Arc<[u8]>>);

type Members = HashMap<Arc<[u8]>, Vec<Arc<ClientShared>>>;

/// The registry.
#[derive(Default)]
pub struct Subscriptions {
    members: Mutex<[Members; 3]>,
    /// Subscriptions of all clients; lets publishers pass by while there are none.
    count: AtomicUsize,
    /// Clients with at least one subscription.
    clients: AtomicUsize,
}

/// A message in the forms clients of both protocols get it, made when the first of them wants it.
struct Message<'a> {
    words: &'a [&'a [u8]],
    encoded: [Option<Arc<[u8]>>; 2],
}

impl<'a> Message<'a> {
    fn new(words: &'a [&'a [u8]]) -> Self {
        Self { words, encoded: [None, None] }
    }

    fn send(&mut self, to: &ClientShared) {
        let resp3 = to.resp.load(Ordering::Relaxed) == 3;
        let words = self.words;
        let bytes = self.encoded[usize::from(resp3)].get_or_insert_with(|| {
            let mut reply = Reply::new(if resp3 { Protocol::Resp3 } else { Protocol::Resp2 });
            reply.push(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            reply.into_bytes().into()
        });
        tell(&to.connection, Deliver { bytes: bytes.clone() });
    }
}

impl Subscriptions {
    fn lock(&self) -> MutexGuard<'_, [Members; 3]> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody is subscribed to anything.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Clients with at least one subscription.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Distinct names with subscribers.
    pub fn len(&self, kind: Kind) -> usize {
        self.lock()[kind as usize].len()
    }

    /// The names that have subscribers and match the pattern, if there is one.
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let wanted = |name: &&Arc<[u8]>| pattern.is_none_or(|p| glob::matches(p, name));
        self.lock()[kind as usize].keys().filter(wanted).cloned().collect()
    }

    /// The number of subscribers of one name.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.lock()[kind as usize].get(name).map_or(0, Vec::len)
    }

    /// The clients with a subscription of which this is true, each once.
    pub fn holders(&self, wanted: impl Fn(&ClientShared, Kind, &[u8]) -> bool) -> Vec<Arc<ClientShared>> {
        let mut found: Vec<Arc<ClientShared>> = Vec::new();
        let members = self.lock();
        for kind in Kind::ALL {
            for (name, clients) in &members[kind as usize] {
                for client in clients {
                    if !found.iter().any(|known| known.id == client.id) && wanted(client, kind, name) {
                        found.push(client.clone());
                    }
                }
            }
        }
        found
    }

    /// The clients with shard channels of which this is true, with these channels.
    pub fn holders_of_channels(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Holder> {
        let mut found: HashMap<u64, Holder> = HashMap::new();
        for (name, clients) in &self.lock()[Kind::ShardChannel as usize] {
            if wanted(name) {
                for client in clients {
                    let (_, names) = found.entry(client.id).or_insert_with(|| (client.clone(), Vec::new()));
                    names.push(name.clone());
                }
            }
        }
        found.into_values().collect()
    }

    /// Sends a message to the subscribers of a channel and, unless it is a shard channel, of the patterns that match
    /// it. Returns how many times it was sent.
    pub fn publish(&self, kind: Kind, channel: &[u8], message: &[u8]) -> usize {
        if !self.any() {
            return 0;
        }
        let members = self.lock();
        let verb: &[u8] = if kind == Kind::ShardChannel { b"smessage" } else { b"message" };
        let mut sent = 0;
        if let Some(clients) = members[kind as usize].get(channel) {
            let words = [verb, channel, message];
            let mut message = Message::new(&words);
            clients.iter().for_each(|client| message.send(client));
            sent += clients.len();
        }
        if kind == Kind::Channel {
            for (pattern, clients) in &members[Kind::Pattern as usize] {
                if glob::matches(pattern, channel) {
                    let words = [b"pmessage".as_slice(), pattern, channel, message];
                    let mut message = Message::new(&words);
                    clients.iter().for_each(|client| message.send(client));
                    sent += clients.len();
                }
            }
        }
        sent
    }

    /// Publishes keyspace events whose classes are in `chosen`, the flags of `notify-keyspace-events`.
    pub fn publish_events(&self, chosen: u32, events: &[Event]) {
        if !self.any() {
            return;
        }
        for event in events.iter().filter(|event| event.class & chosen != 0) {
            if chosen & class::KEYSPACE != 0 {
                let mut channel = format!("__keyspace@{}__:", event.db).into_bytes();
                channel.extend_from_slice(&event.key);
                self.publish(Kind::Channel, &channel, event.name.as_bytes());
            }
            if chosen & class::KEYEVENT != 0 {
                let channel = format!("__keyevent@{}__:{}", event.db, event.name);
                self.publish(Kind::Channel, channel.as_bytes(), &event.key);
            }
        }
    }
}

/// The subscriptions of one client. They end when this is dropped, that is, with the client's batch.
#[derive(Default)]
pub struct Subscribed {
    names: [BTreeSet<Arc<[u8]>>; 3],
    /// Where they are registered and for whom, once there are any.
    registered: Option<(Arc<Subscriptions>, Arc<ClientShared>)>,
}

/// What a subscription takes beside the name, roughly.
const NAME_BYTES: usize = 96;

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Subscribed {
    /// Subscriptions of all kinds.
    pub fn len(&self) -> usize {
        self.names.iter().map(BTreeSet::len).sum()
    }

    /// What replies to a change of this kind count: channels and patterns together, shard channels apart.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::ShardChannel => self.names[kind as usize].len(),
            Kind::Channel | Kind::Pattern => self.names[0].len() + self.names[1].len(),
        }
    }

    /// The client's names of one kind.
    pub fn names(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.names[kind as usize].iter().cloned().collect()
    }

    /// Whether the client is subscribed to a name.
    pub fn has(&self, kind: Kind, name: &[u8]) -> bool {
        self.names[kind as usize].contains(name)
    }

    /// Subscribes the client to a name.
    pub fn add(
        &mut self,
        registry: &Arc<Subscriptions>,
        client: &Arc<ClientShared>,
        kind: Kind,
        name: &[u8],
    ) {
        let (registry, client) =
            self.registered.get_or_insert_with(|| (registry.clone(), client.clone())).clone();
        if self.names[kind as usize].contains(name) {
            return;
        }
        client.subscribed_bytes.fetch_add((name.len() + NAME_BYTES) as u64, Ordering::Relaxed);
        let mut members = registry.lock();
        let members = &mut members[kind as usize];
        let name: Arc<[u8]> =
            members.get_key_value(name).map_or_else(|| name.into(), |(known, _)| known.clone());
        members.entry(name.clone()).or_default().push(client.clone());
        registry.count.fetch_add(1, Ordering::AcqRel);
        if self.len() == 0 {
            registry.clients.fetch_add(1, Ordering::Relaxed);
        }
        self.names[kind as usize].insert(name);
        self.show(&client);
    }

    /// Ends a subscription, if there is one. Messages sent before may still be on their way.
    pub fn remove(&mut self, kind: Kind, name: &[u8]) {
        let Some((registry, client)) = self.registered.clone() else { return };
        if !self.names[kind as usize].remove(name) {
            return;
        }
        client.subscribed_bytes.fetch_sub((name.len() + NAME_BYTES) as u64, Ordering::Relaxed);
        let mut members = registry.lock();
        let members = &mut members[kind as usize];
        if let Some(clients) = members.get_mut(name) {
            if let Some(place) = clients.iter().position(|c| c.id == client.id) {
                clients.swap_remove(place);
            }
            if clients.is_empty() {
                members.remove(name);
            }
        }
        registry.count.fetch_sub(1, Ordering::AcqRel);
        if self.len() == 0 {
            registry.clients.fetch_sub(1, Ordering::Relaxed);
        }
        self.show(&client);
    }

    /// Ends all subscriptions.
    pub fn clear(&mut self) {
        for kind in Kind::ALL {
            for name in self.names(kind) {
                self.remove(kind, &name);
            }
        }
    }

    /// Lets CLIENT LIST see the counts.
    fn show(&self, client: &ClientShared) {
        for (names, cell) in self.names.iter().zip(&client.subscriptions) {
            cell.store(names.len() as u32, Ordering::Relaxed);
        }
    }
}
