//! Sequences of commands, one a line in the form of inline requests, so that an input can be read and replayed by
//! hand. Lines that begin with `@` are about the client: `@3` speaks RESP3, `@2` RESP2, `@+<ms>` lets time pass.
//!
//! Checked: nothing panics; every reply is one well-formed reply; counts are right and no collection is left empty;
//! and a replica that executes what was propagated has the same keys.

use crate::digest::digest;
use crate::grammar;
use crate::keeper::{Answer, apply, bench, execute};
use crate::reply;
use skuld::commands::testing::Bench;
use skuld::config::split::split_words;
use skuld::expiry::rules::Situation;
use skuld::resp::Protocol;
use skuld::rng::Rng;
use skuld::session::Session;

/// Later lines are left out.
const LINES_MAX: usize = 200;

pub fn run(data: &[u8]) {
    let Some((&first, text)) = data.split_first() else { return };
    let workers = if first & 1 == 0 { 1 } else { 3 };
    let mut primary = bench(workers, Situation::default());
    let from_primary = Situation { is_replica: true, from_primary: true, ..Situation::default() };
    let mut replica = bench(1, from_primary);
    let mut comparable = true;
    let (mut copied, mut fields_expire) = (false, false);
    for line in text.split(|&b| b == b'\n').take(LINES_MAX) {
        if let Some(order) = line.strip_prefix(b"@") {
            direct(&mut primary, order);
            replica.now = primary.now;
            continue;
        }
        let Some(words) = split_words(line).ok().filter(|words| !words.is_empty()) else { continue };
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        if is_a_flood(&args) {
            continue;
        }
        let shown = || String::from_utf8_lossy(line);
        comparable &= !sets_a_key_twice(&args);
        copied |= args[0].eq_ignore_ascii_case(b"copy");
        fields_expire |= sets_field_deadlines(&args);
        let Answer::Reply(bytes) = execute(&mut primary, &args) else { continue };
        match reply::count(&bytes) {
            // Some answer several times, as SUBSCRIBE to several channels does, or not at all.
            Ok(_) => {}
            Err(fault) => panic!("{fault} in {:?} for {}", bytes.escape_ascii().to_string(), shown()),
        }
        if bytes.first() == Some(&b'-') {
            assert!(reply::count(&bytes) == Ok(1), "an error is all there is: {}", shown());
        }
        for (db, command) in primary.effects.propagation.iter() {
            comparable &= apply(&mut replica, db, command);
        }
        primary.effects.propagation.clear();
        forget(&mut primary);
        forget(&mut replica);
        if primary.session.close_after_reply {
            primary.session = Session::new(8);
        }
    }
    let ours = digest(&primary.keyspace, copied);
    // COPY leaves out fields that have expired; a replica, which waits to be told that they have, does not.
    if comparable && !(copied && fields_expire) {
        assert_eq!(
            ours,
            digest(&replica.keyspace, copied),
            "what was propagated gives other keys (left: here, right: there)"
        );
    }
}

fn direct(bench: &mut Bench, order: &[u8]) {
    match order {
        b"2" => bench.session.protocol = Protocol::Resp2,
        b"3" => bench.session.protocol = Protocol::Resp3,
        _ => {
            let ms = order.strip_prefix(b"+").and_then(skuld::types::number::parse_i64).unwrap_or(0);
            bench.now += ms.clamp(0, 1 << 40);
        }
    }
}

fn forget(bench: &mut Bench) {
    bench.effects.events.clear();
    bench.effects.modified.clear();
    bench.effects.databases.clear();
    bench.effects.garbage.clear();
    bench.effects.propagation.clear();
}

/// Requests for random elements with repetition, which answer as many as the client asks for.
fn is_a_flood(args: &[&[u8]]) -> bool {
    let random = [&b"srandmember"[..], b"hrandfield", b"zrandmember"];
    random.iter().any(|name| args[0].eq_ignore_ascii_case(name))
        && args.get(2).is_some_and(|count| {
            count.starts_with(b"-") && skuld::types::number::parse_i64(count).is_none_or(|count| count < -100)
        })
}

/// MSETEX of one key twice with a deadline that has passed propagates the key's deletion before the command, whose XX
/// then fails at the replica. The reference server's stream is the same, so this stays.
fn sets_a_key_twice(args: &[&[u8]]) -> bool {
    let keys: Vec<&[u8]> = args.iter().skip(2).step_by(2).copied().collect();
    args[0].eq_ignore_ascii_case(b"msetex")
        && keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key))
}

fn sets_field_deadlines(args: &[&[u8]]) -> bool {
    let name = args[0].to_ascii_lowercase();
    let prefixes =
        [&b"hset"[..], b"hgetex", b"hexpire", b"hpexpire", b"restore", b"debug", b"eval", b"fcall"];
    prefixes.iter().any(|prefix| name.starts_with(prefix) && name != b"hset" && name != b"hsetnx")
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let mut data = vec![rng.next_u64() as u8];
    let lines = 1 + rng.below(40);
    let family = grammar::Family::draw(rng);
    for _ in 0..lines {
        match rng.below(24) {
            0 => data.extend(format!("@{}\n", 2 + rng.below(2)).bytes()),
            1 => data.extend(format!("@+{}\n", 1u64 << rng.below(20)).bytes()),
            _ => {
                data.extend(family.request(rng));
                data.push(b'\n');
            }
        }
    }
    data
}
