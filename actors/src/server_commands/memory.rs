//! MEMORY STATS, DOCTOR, MALLOC-STATS, PURGE.

use skuld::commands::context::CommandError;

use super::info::View;
use super::info_server::{MemoryFigures, memory_figures, percent, ratio};
use super::{Outcome, Request};
use crate::memory;

/// Runs the subcommand.
pub async fn run(request: &mut Request) -> Outcome {
    match request.command.spec.name {
        "memory|purge" => {
            if memory::purge() {
                request.reply.ok();
                Ok(())
            } else {
                Err(CommandError::fixed("ERR Error purging dirty pages"))
            }
        }
        "memory|malloc-stats" => {
            let text = memory::report();
            request.reply.verbatim("txt", text.as_bytes());
            Ok(())
        }
        "memory|stats" => stats(request).await,
        "memory|doctor" => doctor(request).await,
        name => Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
}

async fn view(request: &Request) -> View<'_> {
    let used = memory::used();
    let shards = request.describe_shards().await;
    let replication = super::replication::facts_for(request).await;
    View { server: &request.server, config: request.server.config.load_full(), shards, replication, used }
}

/// A value of MEMORY STATS.
enum Value {
    Integer(i64),
    Fraction(f64),
    Database { main: u64 },
}

async fn stats(request: &mut Request) -> Outcome {
    let pairs = {
        let view = view(request).await;
        let figures = memory_figures(&view);
        let keys: u64 = view.shards.iter().flat_map(|s| &s.databases).map(|d| d.keys).sum();
        let databases = view.shards.iter().map(|s| s.databases.len()).max().unwrap_or(0);
        let mut pairs: Vec<(String, Value)> = Vec::new();
        let mut add = |name: &str, value: Value| pairs.push((name.to_owned(), value));
        let whole = |n: u64| Value::Integer(n as i64);
        let difference = |a: u64, b: u64| Value::Integer(a as i64 - b as i64);
        let beyond_startup = figures.used.saturating_sub(figures.startup);
        add("peak.allocated", whole(figures.peak));
        add("total.allocated", whole(figures.used));
        add("startup.allocated", whole(figures.startup));
        add("replication.backlog", whole(view.replication.backlog_bytes));
        add("replicas.repl.buffer", whole(view.server.replication.link().stream_held));
        add("clients.slaves", whole(view.replication.bytes_of_replicas()));
        add("clients.normal", whole(figures.clients));
        add("cluster.links", whole(view.server.cluster.as_ref().map_or(0, |cluster| cluster.link_memory())));
        let [import, export] = view.server.migrations.link_bytes(view.server);
        add("cluster.slot_import", whole(import));
        add("cluster.slot_export", whole(export));
        let waiting = view.server.persistence.aof.buffered_bytes.load(std::sync::atomic::Ordering::Relaxed);
        add("aof.buffer", whole(waiting));
        let of_scripts = view.server.scripts.figures();
        add("lua.caches", whole(of_scripts.scripts_bytes));
        add("functions.caches", whole(of_scripts.libraries_bytes));
        for db in 0..databases {
            let of_db = || view.shards.iter().filter_map(|s| s.databases.get(db));
            let tables: u64 = of_db().map(|d| d.table_bytes).sum();
            let has_keys = of_db().any(|d| d.keys > 0);
            // The little that an empty database keeps for its next keys is not laid to it.
            if db == 0 || tables > 0 {
                add(&format!("db.{db}"), Value::Database { main: if has_keys { tables } else { 0 } });
            }
        }
        add("overhead.db.hashtable.lut", whole(figures.tables));
        add("overhead.db.hashtable.rehashing", whole(0));
        add("overhead.total", whole(figures.overhead));
        add("db.dict.rehashing.count", whole(0));
        add("keys.count", whole(keys));
        add("keys.bytes-per-key", whole(beyond_startup.checked_div(keys).unwrap_or(0)));
        add("dataset.bytes", whole(figures.dataset));
        add("dataset.percentage", Value::Fraction(percent(figures.dataset, beyond_startup).min(100.0)));
        add("peak.percentage", Value::Fraction(percent(figures.used, figures.peak)));
        add("allocator.allocated", whole(figures.allocated));
        add("allocator.active", whole(figures.active));
        add("allocator.resident", whole(figures.allocator_resident));
        add("allocator.muzzy", whole(0));
        add("allocator-fragmentation.ratio", Value::Fraction(ratio(figures.active, figures.allocated)));
        add("allocator-fragmentation.bytes", difference(figures.active, figures.allocated));
        add("allocator-rss.ratio", Value::Fraction(ratio(figures.allocator_resident, figures.active)));
        add("allocator-rss.bytes", difference(figures.allocator_resident, figures.active));
        add("rss-overhead.ratio", Value::Fraction(ratio(figures.resident, figures.allocator_resident)));
        add("rss-overhead.bytes", difference(figures.resident, figures.allocator_resident));
        add("fragmentation", Value::Fraction(ratio(figures.resident, figures.used)));
        add("fragmentation.bytes", difference(figures.resident, figures.used));
        pairs
    };
    let reply = &mut request.reply;
    reply.map(pairs.len());
    for (name, value) in pairs {
        reply.bulk(name.as_bytes());
        match value {
            Value::Integer(n) => reply.integer(n),
            Value::Fraction(n) => reply.double_text(n.to_string().as_bytes()),
            Value::Database { main } => {
                reply.map(2);
                reply.bulk(b"overhead.hashtable.main");
                reply.integer(main as i64);
                // Deadlines live in the entries themselves.
                reply.bulk(b"overhead.hashtable.expires");
                reply.integer(0);
            }
        }
    }
    Ok(())
}

async fn doctor(request: &mut Request) -> Outcome {
    let text = {
        let view = view(request).await;
        findings(&memory_figures(&view), view.server.clients.len())
    };
    request.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What looks wrong, in words.
fn findings(figures: &MemoryFigures, clients: usize) -> String {
    const MIB: u64 = 1 << 20;
    /// Below this, ratios say nothing.
    const TOO_LITTLE: u64 = 5 * MIB;
    if figures.used < TOO_LITTLE {
        return "There is too little data in this server to judge its use of memory.\n".to_owned();
    }
    let mut found = Vec::new();
    if figures.peak as f64 > figures.used as f64 * 1.5 {
        found.push(
            "Peak: at its peak the server used over 150% of what it uses now. The allocator may keep much of that \
             resident; a high fragmentation ratio is harmless then. MEMORY PURGE gives pages back.",
        );
    }
    if figures.resident as f64 > figures.used as f64 * 1.4 && figures.resident > figures.used + 10 * MIB {
        found.push(
            "Fragmentation: resident memory is over 1.4 times what is used. Look at the allocator's ratios in \
             MEMORY STATS.",
        );
    }
    if figures.allocator_resident as f64 > figures.active as f64 * 1.1
        && figures.allocator_resident > figures.active + 10 * MIB
    {
        found.push("Allocator: it keeps many unused pages. MEMORY PURGE gives them back.");
    }
    if clients > 0 && figures.clients / clients as u64 > 200 * 1024 {
        found.push(
            "Clients: their buffers take over 200 KiB each on average. CLIENT LIST shows who sends large requests \
             or does not read its replies.",
        );
    }
    if found.is_empty() {
        return "No problem with memory is to be seen.\n".to_owned();
    }
    let mut text = "What was found about memory:\n\n".to_owned();
    for finding in found {
        text += &format!(" * {finding}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_follow_the_figures() {
        let healthy = MemoryFigures {
            used: 100 << 20,
            peak: 100 << 20,
            startup: 1 << 20,
            overhead: 2 << 20,
            dataset: 98 << 20,
            clients: 0,
            tables: 0,
            resident: 105 << 20,
            allocated: 100 << 20,
            active: 101 << 20,
            allocator_resident: 104 << 20,
        };
        assert!(findings(&healthy, 1).starts_with("No problem"));
        let peak = MemoryFigures { peak: 200 << 20, ..healthy };
        assert!(findings(&peak, 1).contains("Peak"));
        let small = MemoryFigures { used: 1 << 20, ..peak };
        assert!(findings(&small, 1).starts_with("There is too little"));
    }
}
