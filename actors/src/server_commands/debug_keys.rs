//! DEBUG subcommands that look at or make keys: each shard does its part on its own keys.

use skuld::commands::context::CommandError;
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
    /// Describe a key's entry.
    Object { db: u32, key: Vec<u8> },
    /// Make those of the keys `prefix:0` to `prefix:count-1` that belong to the shard and do not exist.
    Populate { db: u32, count: u64, prefix: Vec<u8>, size: Option<usize> },
}

/// Does a shard's part. The text is that of the answer, if it is this shard that has one.
pub fn run_on_shard(job: &KeysJob, access: &mut Access<'_>, shard: u16, workers: u16) -> Option<String> {
    match job {
        KeysJob::Object { db, key } => {
            let entry = access.peek(*db, key)?;
            let lru = entry.access_word();
            let idle = access.touch.clock.wrapping_sub(lru) & 0xff_ffff;
            Some(format!(
                "Value at:{:p} refcount:1 encoding:{} lru:{lru} lru_seconds_idle:{idle}",
                entry.key().as_ptr(),
                entry.encoding_name()
            ))
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
            None
        }
    }
}

async fn ask(request: &Request, shard: u16, job: KeysJob) -> Option<String> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    tell(request.server.shard(shard), DebugKeys { job, reply });
    answer.await.ok().flatten()
}

/// DEBUG OBJECT key [FAST].
pub async fn object(request: &mut Request, batch: &Batch) -> Outcome {
    let key = request.args[2].clone();
    let shard = slot_of(&key).0 % request.server.workers;
    let text = ask(request, shard, KeysJob::Object { db: batch.session.db, key }).await;
    request.reply.simple(&text.ok_or(CommandError::NoSuchKey)?);
    Ok(())
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
    let workers = 0..request.server.workers;
    let asked: Vec<_> = workers
        .map(|shard| {
            let (reply, answer) = tokio::sync::oneshot::channel();
            tell(request.server.shard(shard), DebugKeys { job: job.clone(), reply });
            answer
        })
        .collect();
    for answer in asked {
        // A shard ends only with the process.
        let _ = answer.await;
    }
    request.reply.ok();
    Ok(())
}
