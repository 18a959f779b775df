//! Publish/subscribe: conversations of several clients, whose bytes are compared with the reference server, and the
//! orders that are promised.

mod support;

use std::collections::BTreeMap;

use support::client::{Client, NoReply, encode};
use support::server::{Launch, Server, reference_binary};
use support::text::words;

const FENCE: &str = "fence-that-no-test-sends-otherwise";

/// Plays `client: command; command` lines on one server. After each line all clients are asked for a fence, so that
/// whatever the line caused has arrived. Returns what each client got after each line.
fn play(server: &Server, script: &str) -> Vec<String> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let lines: Vec<(&str, &str)> = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("a line names its client"))
        .collect();
    for (who, _) in &lines {
        clients.entry((*who).to_owned()).or_insert_with(|| server.connect());
    }
    let mut transcript = Vec::new();
    for (who, commands) in lines {
        let bytes: Vec<u8> = commands.split("; ").flat_map(|c| encode(&words(c))).collect();
        let mut got: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        // The one that acts comes first: its fence's reply tells that the line is done.
        let acting = clients.get_mut(who).expect("all are connected");
        acting.send_raw(&bytes);
        got.insert(who, until_fence(acting));
        for (name, client) in clients.iter_mut().filter(|(name, _)| *name != who) {
            got.insert(name, until_fence(client));
        }
        for (name, bytes) in got {
            transcript.push(format!("{who}: {commands} -> {name} {:?}", String::from_utf8_lossy(&bytes)));
        }
    }
    transcript
}

fn until_fence(client: &mut Client) -> Vec<u8> {
    client.send_raw(&encode(&words(&format!("PING {FENCE}"))));
    let mut bytes = Vec::new();
    loop {
        match client.read_frame() {
            Ok(frame) if String::from_utf8_lossy(&frame.raw).contains(FENCE) => return bytes,
            Ok(frame) => bytes.extend_from_slice(&frame.raw),
            Err(NoReply::Closed(_)) => {
                bytes.extend_from_slice(b"<closed>");
                return bytes;
            }
            Err(none) => panic!("{none} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Plays a script on the reference and on this server with one and with three workers.
fn compare(script: &str) {
    let Some(binary) = reference_binary("publish/subscribe") else { return };
    let theirs = play(&Launch::reference(&binary).start(), script);
    for workers in [1, 3] {
        let ours = play(&Launch::skuld(workers).start(), script);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
        }
    }
}

#[test]
fn a_subscriber_without_resp3_gets_what_the_reference_sends() {
    compare(
        "a: SUBSCRIBE c d c
         b: PUBLISH c one
         b: PUBLISH e one
         a: PSUBSCRIBE c*
         b: PUBLISH c two
         b: PUBLISH cc three
         a: SSUBSCRIBE s
         b: SPUBLISH s four; PUBLISH s five
         b: PUBSUB NUMPAT; PUBSUB NUMSUB c d x; PUBSUB NUMSUB; PUBSUB SHARDNUMSUB s x; PUBSUB SHARDNUMSUB
         b: PUBSUB CHANNELS d*; PUBSUB SHARDCHANNELS; PUBSUB CHANNELS z; PUBSUB SHARDCHANNELS z
         b: PUBSUB CHANNELS x y; PUBSUB SHARDCHANNELS x y; PUBSUB NUMPAT x; PUBSUB NOPE; PUBSUB
         a: GET k
         a: CONFIG GET port; CLIENT LIST; HELLO 3; PUBLISH c x; MULTI; NOPE
         a: PING; PING x; PING x y
         a: UNSUBSCRIBE c nope; PUNSUBSCRIBE; UNSUBSCRIBE d
         a: GET k; PING
         a: SUNSUBSCRIBE; GET k; PING
         a: UNSUBSCRIBE; PUNSUBSCRIBE; SUNSUBSCRIBE; PUNSUBSCRIBE x
         b: PUBLISH c none; PUBSUB CHANNELS; PUBSUB NUMPAT
         b: SUBSCRIBE; PUBLISH c; SPUBLISH c; PSUBSCRIBE; SSUBSCRIBE",
    );
}

#[test]
fn a_subscriber_in_resp3_gets_what_the_reference_sends() {
    compare(
        "c: SUBSCRIBE news
         d: PSUBSCRIBE n*
         b: PUBLISH news hello; PUBLISH news again; PUBLISH other x
         c: RESET
         b: PUBLISH news hello; PUBSUB NUMSUB news
         d: QUIT",
    );
    let resp3 = "a: SUBSCRIBE c
         a: GET k; PING; PING x
         a: PUBLISH c own
         a: PUBLISH c one; GET k; PUBLISH c two; PUBLISH c three
         b: PUBLISH c other
         a: PSUBSCRIBE x*; SSUBSCRIBE s
         a: PUBLISH xy 1; SPUBLISH s 2; SET k v; GET k
         a: MULTI; PUBLISH c in; SET k w; PUBLISH xx in; EXEC; GET k
         a: MULTI; SUBSCRIBE m; PUBLISH m x; UNSUBSCRIBE m; EXEC
         a: PUBLISH c one; UNSUBSCRIBE c; PUBLISH c two; SUBSCRIBE c; PUBLISH c three
         a: UNSUBSCRIBE; PUNSUBSCRIBE; SUNSUBSCRIBE; UNSUBSCRIBE
         a: CLIENT REPLY OFF; SUBSCRIBE q; CLIENT REPLY ON; CLIENT REPLY SKIP; UNSUBSCRIBE q; PING
         a: SUBSCRIBE q; PUBLISH q x; RESET; PING
         b: PUBLISH q none";
    compare(&in_resp3(resp3));
}

/// The script with client `a` switched to RESP3 first. The reply of HELLO, which has a version and a client id that
/// need not agree, is skipped.
fn in_resp3(script: &str) -> String {
    format!("a: CLIENT REPLY SKIP; HELLO 3\n{script}")
}

#[test]
fn a_transaction_may_publish_and_subscribe() {
    compare(
        "s: SUBSCRIBE c
         a: MULTI; PUBLISH c one; SET k 1; PUBLISH c two; PUBSUB NUMSUB c; EXEC
         a: MULTI; SUBSCRIBE c; PUBLISH c three; EXEC
         s: UNSUBSCRIBE c
         a: UNSUBSCRIBE c
         a: MULTI; SUBSCRIBE c; DISCARD; GET k",
    );
}

#[test]
fn keyspace_events_are_published_as_the_reference_does() {
    compare(
        "s: PSUBSCRIBE __key*
         a: SET k v
         a: CONFIG SET notify-keyspace-events KEA
         a: SET k v; INCR n; LPUSH l a b; DEL k n; DEL k
         a: HSET h f v; EXPIRE h 100; RENAME h g; SADD s x; SREM s x
         a: MSET a 1 b 2 c 3 d 4; MULTI; SET x 1; DEL a b; EXEC
         a: SELECT 3; SET k v; MOVE k 4; SELECT 0
         a: CONFIG SET notify-keyspace-events Kl; SET k v; RPUSH l x
         a: CONFIG SET notify-keyspace-events E$; SET k v; RPUSH l x
         a: CONFIG SET notify-keyspace-events A; SET k v; RPUSH l x
         a: CONFIG SET notify-keyspace-events KEAmn; SET fresh v; GET nothing
         a: SET gone v PXAT 1; SET gone v PX 1000000; PEXPIRE gone -1",
    );
    compare(&in_resp3(
        "a: CONFIG SET notify-keyspace-events KEA; SUBSCRIBE __keyspace@0__:k
         a: PSUBSCRIBE __keyevent@0__:*
         a: SET k v; GET k; DEL k; MSET k 1 l 2 m 3; EXISTS k
         a: MULTI; SET k 1; DEL k l; EXEC; PING",
    ));
}

#[test]
fn client_list_and_info_count_subscribers() {
    let Some(binary) = reference_binary("publish/subscribe") else { return };
    let shown = |server: &Server| {
        let mut subscriber = server.connect();
        subscriber.send_raw(&encode(&words("SUBSCRIBE a b")));
        subscriber.send_raw(&encode(&words("PSUBSCRIBE p")));
        subscriber.send_raw(&encode(&words("SSUBSCRIBE s1 s2 s3")));
        until_fence(&mut subscriber);
        let mut other = server.connect();
        let fields = |text: String, names: &[&str]| -> Vec<String> {
            let is_wanted = |word: &&str| names.iter().any(|name| word.starts_with(name));
            text.split_whitespace().filter(is_wanted).map(str::to_owned).collect()
        };
        let mut out =
            fields(other.ask("CLIENT LIST TYPE pubsub").text(), &["sub=", "psub=", "ssub=", "flags="]);
        out.extend(fields(other.ask("CLIENT LIST TYPE normal").text(), &["sub=", "flags="]));
        out.extend(fields(other.ask("INFO stats").text(), &["pubsub"]));
        out.extend(fields(other.ask("INFO clients").text(), &["pubsub"]));
        out
    };
    let theirs = shown(&Launch::reference(&binary).start());
    for workers in [1, 3] {
        assert_eq!(shown(&Launch::skuld(workers).start()), theirs);
    }
}

#[test]
fn a_client_that_goes_away_is_subscribed_no_more() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut subscriber = server.connect();
        subscriber.ask("SUBSCRIBE c");
        let mut other = server.connect();
        assert_eq!(other.ask("PUBSUB CHANNELS").items().len(), 1);
        drop(subscriber);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !other.ask("PUBSUB CHANNELS").items().is_empty() {
            assert!(std::time::Instant::now() < deadline, "still subscribed");
        }
    }
}

/// Without one order of messages, two subscribers that saw two publishers disagree about who came first.
#[test]
fn all_subscribers_see_one_order_of_messages() {
    const MESSAGES: usize = 300;
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut subscribers: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        for subscriber in &mut subscribers {
            subscriber.ask("SUBSCRIBE c0 c1 c2");
            subscriber.read_frame().expect("of c1");
            subscriber.read_frame().expect("of c2");
        }
        let publishers: Vec<_> = (0..3)
            .map(|p| {
                let mut client = server.connect();
                std::thread::spawn(move || {
                    let lines: Vec<u8> = (0..MESSAGES)
                        .flat_map(|m| encode(&words(&format!("PUBLISH c{} {p}:{m}", m % 3))))
                        .collect();
                    client.send_raw(&lines);
                    for _ in 0..MESSAGES {
                        assert_eq!(client.read_frame().expect("a count").raw, b":4\r\n");
                    }
                })
            })
            .collect();
        let seen: Vec<Vec<String>> = subscribers
            .iter_mut()
            .map(|s| {
                (0..3 * MESSAGES)
                    .map(|_| s.read_frame().expect("a message").value.items()[2].text())
                    .collect()
            })
            .collect();
        publishers.into_iter().for_each(|p| p.join().expect("a publisher failed"));
        for p in 0..3 {
            let own: Vec<&String> = seen[0].iter().filter(|m| m.starts_with(&format!("{p}:"))).collect();
            let sent: Vec<String> = (0..MESSAGES).map(|m| format!("{p}:{m}")).collect();
            assert!(own.iter().zip(&sent).all(|(a, b)| *a == b), "messages of one publisher out of order");
        }
        seen.iter().for_each(|order| assert!(*order == seen[0], "two orders with {workers} workers"));
    }
}

/// Without the order of subscribing and sending, a message comes before the reply to SUBSCRIBE or after that to
/// UNSUBSCRIBE.
#[test]
fn messages_come_between_the_replies_to_subscribe_and_unsubscribe() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let publisher = {
            let (mut client, stop) = (server.connect(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    client.ask("PUBLISH c x");
                }
            })
        };
        let mut client = server.connect();
        let mut messages = 0;
        for _ in 0..300 {
            client.send_raw(&encode(&words("SUBSCRIBE c")));
            let first = client.read_frame().expect("a reply").value.items()[0].text();
            assert_eq!(first, "subscribe");
            client.send_raw(&encode(&words("UNSUBSCRIBE c")));
            client.send_raw(&encode(&words("ECHO end")));
            let mut before = String::new();
            loop {
                let frame = client.read_frame().expect("more");
                if frame.raw.starts_with(b"$") {
                    break;
                }
                messages += 1;
                before = frame.value.items()[0].text();
            }
            assert_eq!(before, "unsubscribe", "a message after the end");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        publisher.join().expect("the publisher failed");
        assert!(messages >= 300);
    }
}

/// A subscriber that does not read is closed at the limit of its class.
#[test]
fn a_slow_subscriber_is_closed_at_its_limit() {
    let server = Launch::skuld(1)
        .argument("--client-output-buffer-limit")
        .argument("pubsub")
        .argument("1mb")
        .argument("0")
        .argument("0")
        .start();
    let mut subscriber = server.connect();
    subscriber.ask("SUBSCRIBE c");
    let mut publisher = server.connect();
    let line = format!("PUBLISH c {}", "x".repeat(100_000));
    let mut left = 1000;
    while publisher.ask(&line).integer() != Some(0) {
        left -= 1;
        assert!(left > 0, "a hundred megabytes wait for one subscriber");
    }
}
