//! INFO: which sections, in which order. What stands in them is in [`super::info_server`] and [`super::info_stats`].

use std::sync::Arc;

use skuld::config::Config;

use super::{Outcome, Request, info_server, info_stats};
use crate::memory;
use crate::server::Server;
use crate::shard::ShardDescription;

/// What the sections are written from.
pub struct View<'a> {
    pub server: &'a Server,
    pub config: Arc<Config>,
    pub shards: Vec<ShardDescription>,
    pub replication: crate::replication_log::Facts,
    /// Bytes in use when the question came: what answering takes is not part of the answer.
    pub used: u64,
}

/// The lines of one section.
#[derive(Default)]
pub struct Lines(String);

impl Lines {
    /// Adds `name:value`.
    pub fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Adds a fraction with so many digits behind the point.
    pub fn fraction(&mut self, name: &str, value: f64, digits: usize) {
        self.add(name, format_args!("{value:.digits$}"));
    }
}

/// When a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    ByDefault,
    WithAll,
    /// Only when it is named.
    Named,
}

struct Section {
    /// How it is asked for.
    name: &'static str,
    heading: &'static str,
    shown: Shown,
    write: fn(&View<'_>, &mut Lines),
}

const fn section(
    name: &'static str,
    heading: &'static str,
    shown: Shown,
    write: fn(&View<'_>, &mut Lines),
) -> Section {
    Section { name, heading, shown, write }
}

/// All sections in the order of their output.
static SECTIONS: &[Section] = &[
    section("server", "Server", Shown::ByDefault, info_server::server),
    section("tls", "TLS", Shown::WithAll, info_server::tls),
    section("clients", "Clients", Shown::ByDefault, info_server::clients),
    section("memory", "Memory", Shown::ByDefault, info_server::memory),
    section("persistence", "Persistence", Shown::ByDefault, super::info_persistence::persistence),
    section("stats", "Stats", Shown::ByDefault, info_stats::stats),
    section("replication", "Replication", Shown::ByDefault, info_stats::replication),
    section("cpu", "CPU", Shown::ByDefault, info_server::cpu),
    section("modules", "Modules", Shown::ByDefault, info_server::modules),
    section("commandstats", "Commandstats", Shown::WithAll, info_stats::command_stats),
    section("errorstats", "Errorstats", Shown::ByDefault, info_stats::error_stats),
    section("latencystats", "Latencystats", Shown::WithAll, info_stats::latency_stats),
    section("cluster", "Cluster", Shown::ByDefault, info_server::cluster),
    section("cluster_info", "Cluster Info", Shown::WithAll, |view, out| {
        if let Some(cluster) = &view.server.cluster {
            out.0 += &cluster.last_info();
        }
    }),
    section("scriptingengines", "Scripting Engines", Shown::WithAll, info_server::scripting_engines),
    section("keyspace", "Keyspace", Shown::ByDefault, info_stats::keyspace),
    section("debug", "Debug", Shown::Named, info_stats::debug),
];

fn is_asked_for(section: &Section, words: &[Vec<u8>]) -> bool {
    let by_default = section.shown == Shown::ByDefault;
    (words.is_empty() && by_default)
        || words.iter().any(|word| {
            let all = word.eq_ignore_ascii_case(b"all") || word.eq_ignore_ascii_case(b"everything");
            (all && section.shown != Shown::Named)
                || (word.eq_ignore_ascii_case(b"default") && by_default)
                || word.eq_ignore_ascii_case(section.name.as_bytes())
        })
}

/// The text for these section names.
pub fn render(view: &View<'_>, words: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for section in SECTIONS.iter().filter(|s| is_asked_for(s, words)) {
        if !text.is_empty() {
            text += "\r\n";
        }
        text += "# ";
        text += section.heading;
        text += "\r\n";
        let mut lines = Lines::default();
        (section.write)(view, &mut lines);
        text += &lines.0;
    }
    text
}

/// About as long is the text for these section names, bytes.
fn text_bytes(words: &[Vec<u8>]) -> usize {
    const SECTION: usize = 2 << 10;
    const DEFAULT: usize = 8 << 10;
    const ALL: usize = 16 << 10;
    let is_all =
        |word: &Vec<u8>| word.eq_ignore_ascii_case(b"all") || word.eq_ignore_ascii_case(b"everything");
    match words.len() {
        0 => DEFAULT,
        _ if words.iter().any(is_all) => ALL,
        few => few.min(8) * SECTION,
    }
}

/// INFO [section ...].
pub async fn run(request: &mut Request) -> Outcome {
    // The connection keeps the memory of its reply for a while: it counts already.
    request.reply.reserve(text_bytes(&request.args[1..]));
    let used = memory::used();
    let shards = request.describe_shards().await;
    if let (Some(cluster), None) = (&request.server.cluster, &request.inside) {
        cluster.renew_info().await;
    }
    let replication = super::replication::facts_for(request).await;
    let config = request.server.config.load_full();
    let view = View { server: &request.server, config, shards, replication, used };
    let text = render(&view, &request.args[1..]);
    request.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// INFO for a crash report: everything but what shards would have to be asked for.
pub fn for_crash_report(server: &Server) -> String {
    let replication = crate::replication_log::Facts::default();
    let (config, used) = (server.config.load_full(), memory::used());
    let view = View { server, config, shards: Vec::new(), replication, used };
    render(&view, &[b"everything".to_vec()])
}

/// Bytes for people: `512B`, `1.38M`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    format!("{:.2}{}", bytes as f64 / 1024f64.powi(unit as i32), UNITS[unit - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human_bytes(0), "0B");
        assert_eq!(human_bytes(1023), "1023B");
        assert_eq!(human_bytes(1450384), "1.38M");
        assert_eq!(human_bytes(25276063744), "23.54G");
    }

    #[test]
    fn sections_are_chosen_as_in_valkey() {
        let names = |words: &[&str]| {
            let words: Vec<Vec<u8>> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
            SECTIONS
                .iter()
                .filter(|s| is_asked_for(s, &words))
                .map(|s| s.heading)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let default =
            "Server Clients Memory Persistence Stats Replication CPU Modules Errorstats Cluster Keyspace";
        assert_eq!(names(&[]), default);
        assert_eq!(names(&["DEFAULT"]), default);
        assert_eq!(
            names(&["all"]),
            "Server TLS Clients Memory Persistence Stats Replication CPU Modules Commandstats Errorstats \
             Latencystats Cluster Cluster Info Scripting Engines Keyspace"
        );
        assert_eq!(names(&["nosuch"]), "");
        assert_eq!(names(&["latencystats", "Server"]), "Server Latencystats");
    }
}
