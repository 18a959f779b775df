//! Texts for people that are made from the table of directives, so that they cannot fall behind it.

use super::directive::{Effect, Flags, Rewrite};
use super::table::{Config, TABLE};
use crate::version::VERSION;

/// The commented configuration file: every directive that is not for tests, with its built-in value.
pub fn configuration_file() -> String {
    let mut out = String::from(HEAD);
    let config = Config::default();
    let mut topic = "";
    for row in TABLE.iter().filter(|row| !row.flags.has(Flags::HIDDEN)) {
        if row.topic != topic {
            topic = row.topic;
            out += &format!("\n{}\n# {topic}\n{}\n", "#".repeat(78), "#".repeat(78));
        }
        out.push('\n');
        for line in row.about {
            out += &format!("#{line}\n");
        }
        if let Effect::NoEffect(reason) = row.effect {
            out += &format!("# (Accepted without effect: {reason}.)\n");
        }
        if row.flags.has(Flags::OURS) {
            out += "# (Skuld's own.)\n";
        }
        if let Some(alias) = row.alias {
            out += &format!("# Also called {alias}.\n");
        }
        match row.rewrite(&config, &config) {
            // Unset: shown as a comment.
            Rewrite::Remove if row.get(&config).is_empty() => out += &format!("# {} \"\"\n", row.name),
            Rewrite::Remove => {
                out += &format!("{} {}\n", row.name, String::from_utf8_lossy(&row.get(&config)))
            }
            Rewrite::Lines(lines) => {
                // Saying `io-threads` at all sets the number of workers.
                let mark = if row.name == "io-threads" { "# " } else { "" };
                for (line, _) in lines {
                    out += &format!("{mark}{}\n", String::from_utf8_lossy(&line));
                }
            }
        }
    }
    out
}

const HEAD: &str = "\
# Configuration of Skuld. Every directive is here with its built-in value, so this file changes nothing until you
# do. Directives of Valkey have Valkey's names and meanings; those that Skuld adds say so.
#
# Grammar: one directive and its value per line. Words are parted by blanks; a word with blanks in it is quoted, in
# '...' or in \"...\" with escapes like \\n and \\x41. # begins a comment at the beginning of a line only. Sizes may be
# written 1k (1000), 1kb (1024), 1m, 1mb, 1g, 1gb. Later lines override earlier ones; lines of save and
# client-output-buffer-limit add up.
#
# The environment overrides this file: SKULD_CONF_MAXMEMORY=1gb, or SKULD_CONF_REQUIREPASS_FILE=/run/secrets/password
# to read a value from a file. The command line overrides both: --maxmemory 1gb.
#
# Lines that may stand here too:
#   include <file or pattern>            reads other files at this place
#   user <name> <rules ...>              defines a user, as ACL SETUSER does
#   rename-command <name> <new name>     renames a command; \"\" removes it
";

/// The table of directives in the compatibility page.
pub fn compatibility_table() -> String {
    let mut out = format!(
        "Every directive of Valkey {VERSION} is known, in files, in CONFIG GET and in CONFIG SET, under all its names. \
         \"Honoured\"\nmeans that it does what it does there. Directives that are marked \"ours\" are additions. Hidden \
         ones are shown by CONFIG\nGET only when asked for by name, as in Valkey.\n\n\
         | directive | also called | default | set at run time | effect |\n|---|---|---|---|---|\n"
    );
    let config = Config::default();
    let mut rows: Vec<_> = TABLE.iter().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let value = String::from_utf8_lossy(&row.get(&config)).into_owned();
        let value = if value.is_empty() { "\"\"".to_string() } else { value };
        let settable = match row.flags {
            flags if flags.has(Flags::IMMUTABLE) => "no",
            flags if flags.has(Flags::PROTECTED) => "protected",
            _ => "yes",
        };
        let effect = match row.effect {
            Effect::Honoured => "honoured".to_string(),
            Effect::NoEffect(reason) => format!("accepted without effect: {reason}"),
        };
        let ours = if row.flags.has(Flags::OURS) { "; ours" } else { "" };
        let hidden = if row.flags.has(Flags::HIDDEN) { "; hidden" } else { "" };
        let alias = row.alias.unwrap_or_default();
        out += &format!("| {} | {alias} | {value} | {settable} | {effect}{ours}{hidden} |\n", row.name);
    }
    out
}
