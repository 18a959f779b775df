//! DEBUG subcommands that look at or make keys: each shard does its part on its own keys.

use std::io::Write;
use std::sync::Arc;

use skuld::commands::context::CommandError;
use skuld::commands::debug_views;
use skuld::config::Config;
use skuld::digest::{self, Digest};
use skuld::keyspace::{Access, NewValue};
use skuld::resp::decode::parse_integer;
use skuld::slot::slot_of;

use super::{Outcome, Request};
use crate::batch::Batch;
use crate::envelope::tell;
use crate::shard::DebugKeys;

/// What a shard is to do.
#[derive(Clone, Debug)]
pub enum KeysJob {
    /// Describe a key's entry; `fast`: without walking over the value.
    Object { db: u32, key: Vec<u8>, fast: bool, config: Arc<Config> },
    /// The inside of a listpack or quicklist as text.
    Inside { db: u32, key: Vec<u8>, of: Inside },
    /// The signature of one key's value.
    DigestValue { db: u32, key: Vec<u8> },
    /// The signatures of all databases, as far as they are here.
    Digest,
    /// Make those of the keys `prefix:0` to `prefix:count-1` that belong to the shard and do not exist.
    Populate { db: u32, count: u64, prefix: Vec<u8>, size: Option<usize> },
}

/// The encodings that DEBUG shows the inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    Listpack,
    Quicklist,
}

/// What a shard found.
#[derive(Debug, Default)]
pub enum KeysAnswer {
    #[default]
    Nothing,
    Text(String),
    /// None: the key has another encoding.
    Inside(Option<String>),
    Value(Digest),
    /// Per database; None for one without keys.
    Databases(Vec<Option<Digest>>),
}

/// Does a shard's part.
pub fn run_on_shard(job: &KeysJob, access: &mut Access<'_>, shard: u16, workers: u16) -> KeysAnswer {
    match job {
        KeysJob::Object { db, key, fast, config } => {
            let Some(entry) = access.peek(*db, key) else { return KeysAnswer::Nothing };
            let idle = access.touch.clock.wrapping_sub(entry.access_word()) & 0xff_ffff;
            KeysAnswer::Text(debug_views::object_line(entry, config, idle, *fast))
        }
        KeysJob::Inside { db, key, of } => {
            let Some(entry) = access.peek(*db, key) else { return KeysAnswer::Nothing };
            KeysAnswer::Inside(match of {
                Inside::Listpack => debug_views::listpack_text(entry),
                Inside::Quicklist => debug_views::quicklist_text(entry),
            })
        }
        KeysJob::DigestValue { db, key } => {
            let entry = access.peek(*db, key).filter(|entry| !access.is_expired(entry));
            KeysAnswer::Value(digest::of_value(entry))
        }
        KeysJob::Digest => {
            let part = &access.keyspace.parts()[0];
            KeysAnswer::Databases((0..part.databases()).map(|db| digest::of_part(part, db)).collect())
        }
        KeysJob::Populate { db, count, prefix, size } => {
            for number in 0..*count {
                let mut key = prefix.clone();
                key.extend_from_slice(format!(":{number}").as_bytes());
                if slot_of(&key).0 % workers != shard || access.peek(*db, &key).is_some() {
                    continue;
                }
                let mut value = format!("value:{number}").into_bytes();
                if let Some(size) = size {
                    value.resize(*size, 0);
                }
                access.insert_in(*db, &key, NewValue::string(&value), None);
            }
            KeysAnswer::Nothing
        }
    }
}

async fn ask(request: &Request, shard: u16, job: KeysJob) -> KeysAnswer {
    let (reply, answer) = tokio::sync::oneshot::channel();
    tell(request.server.shard(shard), DebugKeys { job, reply });
    answer.await.unwrap_or_default()
}

async fn ask_all(request: &Request, job: KeysJob) -> Vec<KeysAnswer> {
    let workers = 0..request.server.workers;
    let asked: Vec<_> = workers
        .map(|shard| {
            let (reply, answer) = tokio::sync::oneshot::channel();
            tell(request.server.shard(shard), DebugKeys { job: job.clone(), reply });
            answer
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        // A shard ends only with the process.
        answers.push(answer.await.unwrap_or_default());
    }
    answers
}

/// DEBUG DIGEST.
pub async fn digest(request: &mut Request) -> Outcome {
    let mut sums: Vec<Option<Digest>> = Vec::new();
    for answer in ask_all(request, KeysJob::Digest).await {
        let KeysAnswer::Databases(databases) = answer else { continue };
        if sums.len() < databases.len() {
            sums.resize(databases.len(), None);
        }
        for (sum, here) in sums.iter_mut().zip(databases) {
            if let Some(here) = here {
                sum.get_or_insert_default().merge(here);
            }
        }
    }
    let numbered = sums.into_iter().enumerate().map(|(db, sum)| (db as u32, sum));
    request.reply.simple(&digest::of_databases(numbered).text());
    Ok(())
}

/// DEBUG DIGEST-VALUE key ...
pub async fn digest_value(request: &mut Request, batch: &Batch) -> Outcome {
    let keys = request.args[2..].to_vec();
    request.reply.array(keys.len());
    for key in keys {
        let shard = slot_of(&key).0 % request.server.workers;
        let answer = ask(request, shard, KeysJob::DigestValue { db: batch.session.db, key }).await;
        let value = if let KeysAnswer::Value(value) = answer { value } else { Digest::default() };
        request.reply.simple(&value.text());
    }
    Ok(())
}

/// DEBUG OBJECT key [FAST].
pub async fn object(request: &mut Request, batch: &Batch) -> Outcome {
    let key = request.args[2].clone();
    let shard = slot_of(&key).0 % request.server.workers;
    let fast = request.args.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"fast"));
    let config = request.server.config.load_full();
    match ask(request, shard, KeysJob::Object { db: batch.session.db, key, fast, config }).await {
        KeysAnswer::Text(text) => request.reply.simple(&text),
        _ => return Err(CommandError::NoSuchKey),
    }
    Ok(())
}

/// DEBUG LISTPACK key, DEBUG QUICKLIST key [0|1]: the structure goes to standard output, as Valkey's does.
pub async fn inside(request: &mut Request, batch: &Batch, of: Inside) -> Outcome {
    let key = request.args[2].clone();
    let shard = slot_of(&key).0 % request.server.workers;
    let name = if of == Inside::Listpack { "listpack" } else { "quicklist" };
    match ask(request, shard, KeysJob::Inside { db: batch.session.db, key, of }).await {
        KeysAnswer::Inside(Some(text)) => {
            // Nobody may be reading; the reply does not depend on it.
            _ = std::io::stdout().write_all(text.as_bytes());
            let name = if of == Inside::Listpack { "Listpack" } else { "Quicklist" };
            request.reply.simple(&format!("{name} structure printed on stdout"));
            Ok(())
        }
        KeysAnswer::Inside(None) => Err(CommandError::text(format!("ERR Not a {name} encoded object."))),
        _ => Err(CommandError::NoSuchKey),
    }
}

/// DEBUG POPULATE count [prefix] [size].
pub async fn populate(request: &mut Request, batch: &Batch) -> Outcome {
    let count = parse_integer(&request.args[2])
        .and_then(|n| u64::try_from(n).ok())
        .ok_or(CommandError::MustBePositive)?;
    let prefix = request.args.get(3).map_or_else(|| b"key".to_vec(), Clone::clone);
    let size = match request.args.get(4) {
        None => None,
        Some(word) => {
            let size = parse_integer(word).and_then(|n| usize::try_from(n).ok());
            // Larger values than clients may send would only exhaust memory.
            let limit = request.server.config.load().proto_max_bulk_len as usize;
            Some(size.filter(|s| *s <= limit).ok_or(CommandError::MustBePositive)?)
        }
    };
    let job = KeysJob::Populate { db: batch.session.db, count, prefix, size };
    ask_all(request, job).await;
    request.reply.ok();
    Ok(())
}
