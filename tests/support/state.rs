//! Comparing whole data sets: every key of every database, with its type, deadline, encoding and value.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::client::Client;
use super::parity::Command;
use super::resp::Value;
use super::rules;
use super::server::Server;
use super::text::{command_line, escape_short};

/// What differs first, or `None` if the data sets are equal. Uses connections of its own.
pub fn difference(
    subject: &mut Server,
    reference: &mut Server,
    databases: usize,
    listed: &BTreeSet<String>,
) -> Option<String> {
    let Ok(mut ours) = Client::connect(subject.address()) else {
        return Some(format!("skuld takes no connection:\n{}", subject.log_tail()));
    };
    let mut theirs = reference.connect();
    (0..databases).find_map(|database| {
        if databases > 1 {
            let select = command(&["SELECT", &database.to_string()]);
            let difference = compare(&mut ours, &mut theirs, &[select], |_| None);
            if difference.is_some() {
                return difference;
            }
        }
        database_difference(&mut ours, &mut theirs, listed).map(|text| format!("db{database}: {text}"))
    })
}

fn command(words: &[&str]) -> Command {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn database_difference(ours: &mut Client, theirs: &mut Client, listed: &BTreeSet<String>) -> Option<String> {
    let keys = |client: &mut Client| -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = match client.call(&command(&["KEYS", "*"])) {
            Ok(frame) => {
                frame.value.items().iter().filter_map(|key| key.bytes().map(<[u8]>::to_vec)).collect()
            }
            Err(_) => Vec::new(),
        };
        keys.sort_unstable();
        keys
    };
    let (our_keys, their_keys) = (keys(ours), keys(theirs));
    if our_keys != their_keys {
        let only = |these: &[Vec<u8>], those: &[Vec<u8>]| {
            let only: Vec<String> =
                these.iter().filter(|key| !those.contains(key)).map(|key| escape_short(key, 40)).collect();
            only.join(" ")
        };
        return Some(format!(
            "keys only in skuld: [{}], only in the reference: [{}]",
            only(&our_keys, &their_keys),
            only(&their_keys, &our_keys)
        ));
    }
    // DBSIZE counts keys whose deadline has passed until the server comes round to deleting them; KEYS does not.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Some(difference) = compare(ours, theirs, &[command(&["DBSIZE"])], |_| None) {
        if Instant::now() > deadline {
            return Some(difference);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    their_keys.iter().find_map(|key| key_difference(ours, theirs, key, listed))
}

fn key_difference(
    ours: &mut Client,
    theirs: &mut Client,
    key: &[u8],
    listed: &BTreeSet<String>,
) -> Option<String> {
    let with_key = |before: &[&str], after: &[&str]| {
        let mut command = command(before);
        command.push(key.to_vec());
        command.extend(after.iter().map(|word| word.as_bytes().to_vec()));
        command
    };
    let mut about = vec![with_key(&["TYPE"], &[])];
    if listed.contains("pexpiretime") {
        about.push(with_key(&["PEXPIRETIME"], &[]));
    }
    if listed.contains("object|encoding") {
        about.push(with_key(&["OBJECT", "ENCODING"], &[]));
    }
    let mut kind = String::new();
    let mut encoding = String::new();
    let difference = compare(ours, theirs, &about, |replies| {
        kind = replies[0].text();
        encoding = replies.last().map(Value::text).unwrap_or_default();
        None
    });
    if difference.is_some() {
        return difference;
    }
    let mut reads = match kind.as_str() {
        "string" => vec![with_key(&["GET"], &[])],
        "list" => vec![with_key(&["LRANGE"], &["0", "-1"])],
        "set" => vec![with_key(&["SMEMBERS"], &[])],
        "hash" => vec![with_key(&["HGETALL"], &[])],
        "zset" => vec![with_key(&["ZRANGE"], &["0", "-1", "WITHSCORES"])],
        "stream" => {
            vec![with_key(&["XRANGE"], &["-", "+"]), with_key(&["XINFO", "STREAM"], &["FULL", "COUNT", "0"])]
        }
        _ => Vec::new(),
    };
    // Serialized bytes of hash tables (or of listpacks made of them) and streams hold an order or times that
    // legitimately differ.
    let has_order =
        !matches!((kind.as_str(), encoding.as_str()), (_, "hashtable" | "stream") | ("set", "listpack"));
    if listed.contains("dump") && has_order {
        reads.push(with_key(&["DUMP"], &[]));
    }
    let is_hash = kind == "hash" && listed.contains("hpexpiretime");
    let mut fields = Vec::new();
    let difference = compare(ours, theirs, &reads, |replies| {
        if is_hash {
            fields = replies[0]
                .entries()
                .iter()
                .filter_map(|(field, _)| field.bytes().map(<[u8]>::to_vec))
                .collect();
        }
        None
    });
    if difference.is_some() || fields.is_empty() {
        return difference;
    }
    let mut deadlines = with_key(&["HPEXPIRETIME"], &["FIELDS", &fields.len().to_string()]);
    deadlines.extend(fields);
    compare(ours, theirs, &[deadlines], |_| None)
}

/// Runs the commands on both; the first disagreement, else what `then` makes of the reference's replies.
fn compare(
    ours: &mut Client,
    theirs: &mut Client,
    commands: &[Command],
    then: impl FnOnce(&[Value]) -> Option<String>,
) -> Option<String> {
    let our_replies = ours.pipeline(commands);
    let their_replies = theirs.pipeline(commands);
    let mut values = Vec::with_capacity(commands.len());
    for (index, command) in commands.iter().enumerate() {
        let (Some(ours), Some(theirs)) = (our_replies.get(index), their_replies.get(index)) else {
            return Some(format!("{}: no reply", command_line(command)));
        };
        // Order within sets and hashes is compared with the commands of the test; here it is enough that the
        // elements are the same.
        if !rules::agree(rules::rule_for(command), true, ours, theirs) {
            return Some(format!(
                "{}\n  skuld     {}\n  reference {}",
                command_line(command),
                super::parity::describe(ours),
                super::parity::describe(theirs)
            ));
        }
        values.push(theirs.as_ref().map(|frame| frame.value.clone()).unwrap_or(Value::Null));
    }
    then(&values)
}
