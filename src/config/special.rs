//! Directives with a grammar of their own.

use super::choices::{NotifyFlags, ShutdownFlags};
use super::directive::*;
use super::split::quote;
use super::table::Config;
use super::text::Text;
use super::values::*;

/// The output buffer limits of one class of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes at which the client is closed at once; 0 is no limit.
    pub hard: u64,
    /// Bytes that may not be exceeded for longer than `soft_seconds`; 0 is no limit.
    pub soft: u64,
    pub soft_seconds: u64,
}

impl BufferLimit {
    /// A limit of so many bytes.
    pub const fn new(hard: u64, soft: u64, soft_seconds: u64) -> BufferLimit {
        BufferLimit { hard, soft, soft_seconds }
    }
}

/// Positions in [`Config::client_output_buffer_limit`].
pub const CLASS_NORMAL: usize = 0;
pub const CLASS_REPLICA: usize = 1;
pub const CLASS_PUBSUB: usize = 2;

/// How many addresses one `bind` line may name.
const ADDRESSES_MAX: usize = 16;

fn is_single_empty(words: &[&[u8]]) -> bool {
    matches!(words, [word] if word.is_empty())
}

fn join<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

fn join_bytes(items: &[Text]) -> Vec<u8> {
    items.iter().map(Text::as_bytes).collect::<Vec<_>>().join(&b' ')
}

/// A word as it stands, or quoted if a file could not hold it so.
fn quote_if_needed(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if !word.is_empty() && word.iter().all(plain) { word.to_vec() } else { quote(word) }
}

fn line(text: String) -> Vec<u8> {
    text.into_bytes()
}

pub static SAVE: Special = Special {
    syntax: "pairs of seconds and changes, or \"\"",
    get: |config| line(save_points(config)),
    set: |config, words, earlier| {
        const REFUSED: &str = "Invalid save parameters";
        if is_single_empty(words) || words.is_empty() {
            config.save.clear();
            return Ok(());
        }
        let mut points = Vec::new();
        for pair in words.chunks(2) {
            let [seconds, changes] = pair else { return Err(REFUSED.into()) };
            let seconds = parse_c_integer(seconds).and_then(|seconds| u64::try_from(seconds).ok());
            let changes = parse_c_integer(changes).and_then(|changes| u32::try_from(changes).ok());
            match (seconds, changes) {
                (Some(seconds), Some(changes)) if seconds >= 1 && changes <= i32::MAX as u32 => {
                    points.push((seconds, u64::from(changes)));
                }
                _ => return Err(REFUSED.into()),
            }
        }
        if earlier == Earlier::Replace {
            config.save.clear();
        }
        config.save.extend(points);
        Ok(())
    },
    rewrite: |config, _| {
        let points = if config.save.is_empty() { "\"\"".to_string() } else { save_points(config) };
        Rewrite::always(line(format!("save {points}")))
    },
};

fn save_points(config: &Config) -> String {
    join(config.save.iter().map(|(seconds, changes)| format!("{seconds} {changes}")))
}

pub static CLIENT_OUTPUT_BUFFER_LIMIT: Special = Special {
    syntax: "groups of class (normal, replica, pubsub), hard limit, soft limit, soft seconds",
    get: |config| {
        let names = ["normal", "slave", "pubsub"];
        let limits = names.iter().zip(config.client_output_buffer_limit);
        line(join(
            limits
                .map(|(name, limit)| format!("{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)),
        ))
    },
    set: |config, words, _| {
        let mut limits = config.client_output_buffer_limit;
        let (groups, []) = words.as_chunks::<4>() else {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        };
        for [class, hard, soft, soft_seconds] in groups {
            let class = match class.to_ascii_lowercase().as_slice() {
                b"normal" => CLASS_NORMAL,
                b"slave" | b"replica" => CLASS_REPLICA,
                b"pubsub" => CLASS_PUBSUB,
                _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
            };
            let soft_seconds = parse_c_integer(soft_seconds)
                .filter(|seconds| (0..=i64::from(i32::MAX)).contains(seconds))
                .and_then(|seconds| u64::try_from(seconds).ok());
            match (parse_memory(hard), parse_memory(soft), soft_seconds) {
                (Some(hard), Some(soft), Some(seconds)) => {
                    limits[class] = BufferLimit::new(hard, soft, seconds);
                }
                _ => {
                    return Err(
                        "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                    );
                }
            }
        }
        config.client_output_buffer_limit = limits;
        Ok(())
    },
    rewrite: |config, default| {
        let names = ["normal", "replica", "pubsub"];
        let limits = config.client_output_buffer_limit.iter().zip(default.client_output_buffer_limit);
        let lines = names.iter().zip(limits).map(|(name, (limit, default))| {
            let (hard, soft) = (format_memory(limit.hard), format_memory(limit.soft));
            let text = format!("client-output-buffer-limit {name} {hard} {soft} {}", limit.soft_seconds);
            (line(text), *limit != default)
        });
        Rewrite::Lines(lines.collect())
    },
};

pub static OOM_SCORE_ADJ_VALUES: Special = Special {
    syntax: "three numbers from -2000 to 2000",
    get: |config| line(join(config.oom_score_adj_values)),
    set: |config, words, _| {
        let [a, b, c] = words else { return Err("wrong number of arguments".into()) };
        let mut values = [0; 3];
        for (value, word) in values.iter_mut().zip([a, b, c]) {
            match parse_c_integer(word).and_then(|number| i32::try_from(number).ok()) {
                Some(number) if (-2000..=2000).contains(&number) => *value = number,
                _ => {
                    return Err(
                        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into()
                    );
                }
            }
        }
        config.oom_score_adj_values = values;
        Ok(())
    },
    rewrite: |config, default| {
        let values = join(config.oom_score_adj_values);
        let changed = config.oom_score_adj_values != default.oom_score_adj_values;
        Rewrite::Lines(vec![(line(format!("oom-score-adj-values {values}")), changed)])
    },
};

pub static NOTIFY_KEYSPACE_EVENTS: Special = Special {
    syntax: "letters of Ag$lshzxeKEtmdn, or \"\"",
    get: |config| line(config.notify_keyspace_events.letters()),
    set: |config, words, _| {
        let letters = words.first().copied().unwrap_or_default();
        config.notify_keyspace_events = NotifyFlags::parse(letters)
            .ok_or(Refusal::from("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."))?;
        Ok(())
    },
    rewrite: |config, default| {
        let letters = quote(config.notify_keyspace_events.letters().as_bytes());
        let changed = config.notify_keyspace_events != default.notify_keyspace_events;
        Rewrite::Lines(vec![([b"notify-keyspace-events ", letters.as_slice()].concat(), changed)])
    },
};

fn set_addresses(field: &mut Vec<Text>, words: &[&[u8]]) -> Result<(), Refusal> {
    if words.len() > ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".into());
    }
    let words = if is_single_empty(words) { &[] } else { words };
    *field = words.iter().map(|word| Text::up_to_nul(word)).collect();
    Ok(())
}

fn rewrite_addresses(name: &str, addresses: &[Text], default: &[Text]) -> Rewrite {
    if addresses == default {
        return Rewrite::Remove;
    }
    let mut text = name.as_bytes().to_vec();
    if addresses.is_empty() {
        text.extend_from_slice(b" \"\"");
    }
    for address in addresses {
        text.push(b' ');
        text.extend(quote_if_needed(address.as_bytes()));
    }
    Rewrite::always(text)
}

pub static BIND: Special = Special {
    syntax: "up to 16 addresses; a leading - means \"if it exists here\"",
    get: |config| join_bytes(&config.bind),
    set: |config, words, _| set_addresses(&mut config.bind, words),
    rewrite: |config, default| rewrite_addresses("bind", &config.bind, &default.bind),
};

pub static RDMA_BIND: Special = Special {
    syntax: "up to 16 addresses",
    get: |config| join_bytes(&config.rdma_bind),
    set: |config, words, _| set_addresses(&mut config.rdma_bind, words),
    rewrite: |config, default| rewrite_addresses("rdma-bind", &config.rdma_bind, &default.rdma_bind),
};

pub static ADMIN_BIND: Special = Special {
    syntax: "up to 16 addresses",
    get: |config| join_bytes(&config.admin_bind),
    set: |config, words, _| set_addresses(&mut config.admin_bind, words),
    rewrite: |config, default| rewrite_addresses("admin-bind", &config.admin_bind, &default.admin_bind),
};

/// The primary a replica follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryAddress {
    pub host: Text,
    pub port: u16,
}

pub static REPLICAOF: Special = Special {
    syntax: "host and port, or no one",
    get: |config| match &config.replicaof {
        Some(primary) => [primary.host.as_bytes(), format!(" {}", primary.port).as_bytes()].concat(),
        None => Vec::new(),
    },
    set: |config, words, _| {
        let [host, port] = words else { return Err("wrong number of arguments".into()) };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            config.replicaof = None;
            return Ok(());
        }
        let port = parse_c_integer(port).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or(Refusal::from("Invalid primary port"))?;
        config.replicaof = Some(PrimaryAddress { host: Text::up_to_nul(host), port });
        Ok(())
    },
    rewrite: |config, _| match &config.replicaof {
        // In a cluster the bus says who follows whom.
        Some(primary) if !config.cluster_enabled => {
            let host = quote_if_needed(primary.host.as_bytes());
            Rewrite::always(
                [b"replicaof ", host.as_slice(), format!(" {}", primary.port).as_bytes()].concat(),
            )
        }
        _ => Rewrite::Remove,
    },
};

pub static LATENCY_TRACKING_INFO_PERCENTILES: Special = Special {
    syntax: "numbers from 0 to 100, or \"\"",
    get: |config| line(percentiles(config)),
    set: |config, words, _| {
        let words = if is_single_empty(words) { &[] } else { words };
        let mut percentiles = Vec::new();
        for word in words {
            let value = parse_fraction(word)
                .ok_or(Refusal::from("Invalid latency-tracking-info-percentiles parameters"))?;
            if !(0.0..=100.0).contains(&value) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()
                );
            }
            percentiles.push(value);
        }
        config.latency_tracking_info_percentiles = percentiles;
        Ok(())
    },
    rewrite: |config, _| {
        let values = percentiles(config);
        let values = if values.is_empty() { "\"\"" } else { &values };
        Rewrite::always(line(format!("latency-tracking-info-percentiles {values}")))
    },
};

fn percentiles(config: &Config) -> String {
    join(config.latency_tracking_info_percentiles.iter().map(|value| format_fraction(*value)))
}

pub static DIR: Special = Special {
    syntax: "an existing directory",
    get: |config| config.dir.as_bytes().to_vec(),
    set: |config, words, _| {
        let dir = words.first().copied().unwrap_or_default();
        if dir.is_empty() {
            return Err("dir can't be empty".into());
        }
        config.dir = Text::up_to_nul(dir);
        Ok(())
    },
    rewrite: |config, _| Rewrite::always([b"dir ", quote(config.dir.as_bytes()).as_slice()].concat()),
};

/// What `maxmemory auto` is shown as.
const AUTO: &[u8] = b"auto";

pub static MAXMEMORY: Special = Special {
    syntax: "a size such as 100mb, or auto for a share of the container's limit",
    get: |config| line(config.maxmemory.to_string()),
    set: |config, words, _| {
        let word = words.first().copied().unwrap_or_default();
        if word.eq_ignore_ascii_case(AUTO) {
            config.maxmemory_auto = true;
            return Ok(());
        }
        config.maxmemory = parse_memory(word).ok_or(Refusal::from("argument must be a memory value"))?;
        config.maxmemory_auto = false;
        Ok(())
    },
    rewrite: |config, default| {
        if config.maxmemory_auto {
            return Rewrite::always(b"maxmemory auto".to_vec());
        }
        let text = format!("maxmemory {}", format_memory(config.maxmemory));
        Rewrite::Lines(vec![(line(text), config.maxmemory != default.maxmemory)])
    },
};

pub static WORKER_THREADS: Special = Special {
    syntax: "a number from 1 to 256, or auto",
    get: |config| match config.worker_threads {
        Some(count) => line(count.to_string()),
        None => AUTO.to_vec(),
    },
    set: |config, words, _| {
        let word = words.first().copied().unwrap_or_default();
        config.worker_threads = if word.eq_ignore_ascii_case(AUTO) {
            None
        } else {
            u32::try_from(parse_number(word, NumberForm::Plain, 1, 256)?).ok()
        };
        Ok(())
    },
    rewrite: |config, _| match config.worker_threads {
        Some(count) => Rewrite::always(line(format!("worker-threads {count}"))),
        None => Rewrite::Lines(vec![(b"worker-threads auto".to_vec(), false)]),
    },
};

fn set_shutdown(field: &mut ShutdownFlags, words: &[&[u8]]) -> Result<(), Refusal> {
    let names = ShutdownFlags::NAMES;
    let mut bits = 0;
    for word in words {
        match names.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word)) {
            Some((_, bit)) => bits |= bit,
            None => return Err(one_of(&names.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
        }
    }
    if words.is_empty() {
        return Err(one_of(&names.iter().map(|(name, _)| *name).collect::<Vec<_>>()));
    }
    let flags = ShutdownFlags(bits);
    if flags.has(ShutdownFlags::SAVE | ShutdownFlags::NOSAVE) {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    *field = flags;
    Ok(())
}

fn shutdown_words(flags: ShutdownFlags) -> String {
    if flags.0 == 0 {
        return "default".to_string();
    }
    let set = ShutdownFlags::NAMES.iter().filter(|(_, bit)| flags.0 & bit != 0);
    join(set.map(|(name, _)| name))
}

const SHUTDOWN_SYNTAX: &str = "default, or words of save, nosave, now, force, safe, failover";

pub static SHUTDOWN_ON_SIGINT: Special = Special {
    syntax: SHUTDOWN_SYNTAX,
    get: |config| line(shutdown_words(config.shutdown_on_sigint)),
    set: |config, words, _| set_shutdown(&mut config.shutdown_on_sigint, words),
    rewrite: |config, default| {
        let text = format!("shutdown-on-sigint {}", shutdown_words(config.shutdown_on_sigint));
        Rewrite::Lines(vec![(line(text), config.shutdown_on_sigint != default.shutdown_on_sigint)])
    },
};

pub static SHUTDOWN_ON_SIGTERM: Special = Special {
    syntax: SHUTDOWN_SYNTAX,
    get: |config| line(shutdown_words(config.shutdown_on_sigterm)),
    set: |config, words, _| set_shutdown(&mut config.shutdown_on_sigterm, words),
    rewrite: |config, default| {
        let text = format!("shutdown-on-sigterm {}", shutdown_words(config.shutdown_on_sigterm));
        Rewrite::Lines(vec![(line(text), config.shutdown_on_sigterm != default.shutdown_on_sigterm)])
    },
};
