//! DEBUG subcommands that look at or make keys: each shard does its part on its own keys. Inside a transaction or a script
//! all keys are at hand, and the same parts are done there at once.

use std::io::Write;
use std::sync::Arc;

use skuld::commands::context::CommandError;
use skuld::commands::debug_views;
use skuld::config::Config;
use skuld::digest::{self, Digest};
use skuld::keyspace::{Access, Keyspace, NewValue};
use skuld::resp::Reply;
use skuld::resp::decode::parse_integer;
use skuld::session::Session;
use skuld::slot::slot_of;

use super::config::is_allowed;
use super::{Outcome, Request, debug, persistence};
use crate::envelope::tell;
use crate::executor::Executor;
use crate::shard::DebugKeys;

/// What a shard is to do.
#[derive(Clone, Debug)]
pub enum KeysJob {
    /// Look at one key.
    Look { db: u32, key: Vec<u8>, at: Look, config: Arc<Config> },
    /// The signatures of those of the keys that are here.
    DigestValues { db: u32, keys: Vec<Vec<u8>> },
    /// The signatures of all databases, as far as they are here.
    Digest,
    /// Make those of the keys `prefix:0` to `prefix:count-1` that belong to the shard and do not exist.
    Populate { db: u32, count: u64, prefix: Vec<u8>, size: Option<usize> },
}

/// What is to be told of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Its entry; `fast`: without walking over the value.
    Object { fast: bool },
    /// The elements of its listpack.
    Listpack,
    /// The nodes of its quicklist.
    Quicklist,
    /// Its hash table.
    Table { full: bool },
    /// Its string.
    String,
}

/// What a shard found.
#[derive(Debug, Default)]
pub enum KeysAnswer {
    #[default]
    Nothing,
    /// None: the key has another encoding.
    Text(Option<String>),
    /// Per key; None for one that is not here.
    Values(Vec<Option<Digest>>),
    /// Per database; None for one without keys.
    Databases(Vec<Option<Digest>>),
}

/// The job of a request, if it looks at keys.
pub fn job_of(words: &[Vec<u8>], db: u32, config: &Arc<Config>) -> Option<Result<KeysJob, CommandError>> {
    let look = |at| Some(Ok(KeysJob::Look { db, key: words[2].clone(), at, config: config.clone() }));
    let subcommand = String::from_utf8_lossy(words.get(1)?).to_ascii_lowercase();
    match (subcommand.as_str(), words.len()) {
        ("object", 3 | 4) => {
            look(Look::Object { fast: words.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"fast")) })
        }
        ("listpack", 3) => look(Look::Listpack),
        ("quicklist", 3 | 4) => look(Look::Quicklist),
        ("htstats-key", 3 | 4) => {
            look(Look::Table { full: words.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"full")) })
        }
        ("sdslen", 3) => look(Look::String),
        ("digest", 2) => Some(Ok(KeysJob::Digest)),
        ("digest-value", 2..) => Some(Ok(KeysJob::DigestValues { db, keys: words[2..].to_vec() })),
        ("populate", 3..=5) => Some(populate(words, db, config)),
        _ => None,
    }
}

fn populate(words: &[Vec<u8>], db: u32, config: &Config) -> Result<KeysJob, CommandError> {
    let count =
        parse_integer(&words[2]).and_then(|n| u64::try_from(n).ok()).ok_or(CommandError::MustBePositive)?;
    let prefix = words.get(3).map_or_else(|| b"key".to_vec(), Clone::clone);
    let size = match words.get(4) {
        None => None,
        Some(word) => {
            let size = parse_integer(word).and_then(|n| usize::try_from(n).ok());
            // Larger values than clients may send would only exhaust memory.
            let limit = config.proto_max_bulk_len as usize;
            Some(size.filter(|s| *s <= limit).ok_or(CommandError::MustBePositive)?)
        }
    };
    Ok(KeysJob::Populate { db, count, prefix, size })
}

/// Does a shard's part: that of shard `shard` of `workers`, or everything with `(0, 1)` and all keys at hand.
pub fn run_on_shard(job: &KeysJob, access: &mut Access<'_>, shard: u16, workers: u16) -> KeysAnswer {
    match job {
        KeysJob::Look { db, key, at, config } => {
            let Some(entry) = access.peek(*db, key) else { return KeysAnswer::Nothing };
            KeysAnswer::Text(match at {
                Look::Object { fast } => {
                    let idle = access.touch.clock.wrapping_sub(entry.access_word()) & 0xff_ffff;
                    Some(debug_views::object_line(entry, config, idle, *fast))
                }
                Look::Listpack => debug_views::listpack_text(entry),
                Look::Quicklist => debug_views::quicklist_text(entry),
                Look::Table { full } => debug_views::table_text(entry, *full),
                Look::String => debug_views::string_line(entry),
            })
        }
        KeysJob::DigestValues { db, keys } => {
            let mut of_key = |key: &Vec<u8>| {
                (slot_of(key).0 % workers == shard).then(|| {
                    let entry = access.peek(*db, key).filter(|entry| !access.is_expired(entry));
                    digest::of_value(entry)
                })
            };
            KeysAnswer::Values(keys.iter().map(&mut of_key).collect())
        }
        KeysJob::Digest => {
            let mut sums = Vec::new();
            for part in access.keyspace.parts() {
                merge(&mut sums, (0..part.databases()).map(|db| digest::of_part(part, db)).collect());
            }
            KeysAnswer::Databases(sums)
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

fn merge(sums: &mut Vec<Option<Digest>>, databases: Vec<Option<Digest>>) {
    if sums.len() < databases.len() {
        sums.resize(databases.len(), None);
    }
    for (sum, here) in sums.iter_mut().zip(databases) {
        if let Some(here) = here {
            sum.get_or_insert_default().merge(here);
        }
    }
}

/// Asks the shards that have to do with a job, and writes the reply.
pub async fn run(request: &mut Request, job: KeysJob) -> Outcome {
    let workers = request.server.workers;
    let shards = match &job {
        KeysJob::Look { key, .. } => {
            let shard = slot_of(key).0 % workers;
            shard..shard + 1
        }
        _ => 0..workers,
    };
    let asked: Vec<_> = shards
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
    write(&job, answers, &mut request.reply)
}

/// DEBUG inside a transaction or a script, as far as it is about keys; false: it is not, and nothing has been done.
pub fn run_inside(
    executor: &mut Executor,
    keyspace: &mut Keyspace,
    session: &Session,
    words: &[Vec<u8>],
    reply: &mut Reply,
) -> bool {
    let config = executor.config.clone();
    let is_reload = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"reload"));
    let job = job_of(words, session.db, &config);
    if job.is_none() && !is_reload {
        return false;
    }
    let outcome = if !is_allowed(config.enable_debug_command, session) {
        Err(debug::NOT_ALLOWED)
    } else {
        match job {
            Some(Ok(job)) => {
                let answer = executor.with_access(keyspace, |access| run_on_shard(&job, access, 0, 1));
                write(&job, vec![answer], reply)
            }
            Some(Err(error)) => Err(error),
            None => persistence::reload_inside(executor, keyspace, words, reply),
        }
    };
    if let Err(error) = outcome {
        error.write_to(reply);
    }
    true
}

fn write(job: &KeysJob, mut answers: Vec<KeysAnswer>, reply: &mut Reply) -> Outcome {
    match job {
        KeysJob::Look { at, .. } => match answers.pop().unwrap_or_default() {
            KeysAnswer::Text(text) => write_look(*at, text, reply),
            _ => Err(CommandError::NoSuchKey),
        },
        KeysJob::Digest => {
            let mut sums: Vec<Option<Digest>> = Vec::new();
            for answer in answers {
                if let KeysAnswer::Databases(databases) = answer {
                    merge(&mut sums, databases);
                }
            }
            let numbered = sums.into_iter().enumerate().map(|(db, sum)| (db as u32, sum));
            reply.simple(&digest::of_databases(numbered).text());
            Ok(())
        }
        KeysJob::DigestValues { keys, .. } => {
            let of_key = |index: usize| {
                answers.iter().find_map(|answer| match answer {
                    KeysAnswer::Values(values) => values.get(index).copied().flatten(),
                    _ => None,
                })
            };
            reply.array(keys.len());
            (0..keys.len()).for_each(|index| reply.simple(&of_key(index).unwrap_or_default().text()));
            Ok(())
        }
        KeysJob::Populate { .. } => {
            reply.ok();
            Ok(())
        }
    }
}

fn write_look(at: Look, text: Option<String>, reply: &mut Reply) -> Outcome {
    let Some(text) = text else {
        return Err(CommandError::fixed(match at {
            Look::Table { .. } => {
                "ERR The value stored at the specified key is not represented using an hash table"
            }
            Look::String => "ERR Not an sds encoded string.",
            Look::Quicklist => "ERR Not a quicklist encoded object.",
            Look::Listpack | Look::Object { .. } => "ERR Not a listpack encoded object.",
        }));
    };
    match at {
        Look::Object { .. } | Look::String => reply.simple(&text),
        Look::Table { .. } => reply.verbatim("txt", text.as_bytes()),
        Look::Listpack | Look::Quicklist => {
            // The structure goes to standard output, as Valkey's does. Nobody may be reading there; the reply does not
            // depend on it.
            _ = std::io::stdout().write_all(text.as_bytes());
            let name = if at == Look::Listpack { "Listpack" } else { "Quicklist" };
            reply.simple(&format!("{name} structure printed on stdout"));
        }
    }
    Ok(())
}
