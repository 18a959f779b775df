//! The visible surface of the server beside a real Valkey: names and rows of commands, their documentation's
//! structure, directives with defaults and mutability, INFO's fields, every HELP.
//!
//! Each difference must stand in `docs/compatibility.md` with its reason, and each entry there must still differ.
//! A failing test prints the items to add or remove; `support/known.rs` describes the format.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use support::client::Client;
use support::known::Known;
use support::parity::listed_commands;
use support::resp::Value;
use support::rules::without_notes;
use support::server::{Launch, Server, reference_binary};
use support::text::words;

struct Both {
    subject: Server,
    reference: Server,
    known: Known,
}

fn start() -> Option<Both> {
    let binary: PathBuf = reference_binary("the surface")?;
    Some(Both {
        subject: Launch::skuld(1).start(),
        reference: Launch::reference(&binary).start(),
        known: Known::load(),
    })
}

/// Fails with everything that is not as `docs/compatibility.md` says.
fn check(known: &Known, areas: &[(&str, &BTreeSet<String>)]) {
    let problems: Vec<String> = areas.iter().filter_map(|(area, found)| known.check(area, found)).collect();
    assert!(problems.is_empty(), "\n{}", problems.concat());
}

/// Names only in the first and only in the second.
fn compare_names<'a>(
    ours: impl IntoIterator<Item = &'a String>,
    theirs: impl IntoIterator<Item = &'a String>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let ours: BTreeSet<String> = ours.into_iter().cloned().collect();
    let theirs: BTreeSet<String> = theirs.into_iter().cloned().collect();
    (theirs.difference(&ours).cloned().collect(), ours.difference(&theirs).cloned().collect())
}

#[test]
fn command_names() {
    let Some(both) = start() else { return };
    let ours = listed_commands(&both.subject);
    let theirs = listed_commands(&both.reference);
    let (missing, extra) = compare_names(&ours, &theirs);
    println!("{} of {} commands are listed", theirs.len() - missing.len(), theirs.len());
    check(&both.known, &[("command.missing", &missing), ("command.extra", &extra)]);
    let count = both.subject.connect().ask("COMMAND COUNT").integer().expect("a count");
    let containers_and_commands = ours.iter().filter(|name| !name.contains('|')).count();
    assert_eq!(count as usize, containers_and_commands, "COMMAND COUNT is the length of COMMAND LIST");
}

/// Rows by name, subcommands among them, each with the texts of its fields.
fn rows(client: &mut Client) -> BTreeMap<String, Vec<String>> {
    const FIELDS: usize = 10;
    fn add(rows: &mut BTreeMap<String, Vec<String>>, row: &Value) {
        let fields = row.items();
        assert_eq!(fields.len(), FIELDS, "a row of COMMAND INFO has ten fields: {row}");
        for sub in fields[FIELDS - 1].items() {
            add(rows, sub);
        }
        // Flags and categories are sets; the order in which they are written carries no meaning.
        let mut texts: Vec<String> =
            fields[1..FIELDS - 1].iter().map(|field| without_notes(field).to_string()).collect();
        for place in [2, 6, 7] {
            let mut parts: Vec<String> = fields[place].items().iter().map(Value::to_string).collect();
            parts.sort();
            texts[place - 1] = parts.join(" ");
        }
        rows.insert(fields[0].text().to_ascii_lowercase(), texts);
    }
    let mut all = BTreeMap::new();
    for row in client.ask("COMMAND").items() {
        add(&mut all, row);
    }
    all
}

#[test]
fn command_rows() {
    const NAMES: [&str; 8] =
        ["arity", "flags", "first-key", "last-key", "step", "categories", "tips", "key-specs"];
    let Some(both) = start() else { return };
    let (ours, theirs) = (rows(&mut both.subject.connect()), rows(&mut both.reference.connect()));
    let mut differing = BTreeSet::new();
    for (name, our_fields) in &ours {
        let Some(their_fields) = theirs.get(name) else { continue };
        for (place, field) in NAMES.iter().enumerate() {
            if our_fields[place] != their_fields[place] {
                println!("{name} {field}: skuld {} reference {}", our_fields[place], their_fields[place]);
                differing.insert(format!("{name}:{field}"));
            }
        }
    }
    check(&both.known, &[("command.row", &differing)]);
}

/// What of COMMAND DOCS is not prose: the path of every map key and, for short words, the value.
fn structure(path: &str, value: &Value, lines: &mut BTreeSet<String>) {
    const PROSE: [&str; 3] = ["summary", "complexity", "history"];
    let entries = match value {
        Value::Map(_) => value.entries(),
        _ => {
            for (index, item) in value.items().iter().enumerate() {
                structure(&format!("{path}[{index}]"), item, lines);
            }
            if value.items().is_empty() {
                lines.insert(format!("{path}={value}"));
            }
            return;
        }
    };
    for (key, inner) in entries {
        let key = key.text();
        if PROSE.contains(&key.as_str()) {
            lines.insert(format!("{path}.{key}"));
        } else {
            structure(&format!("{path}.{key}"), &inner, lines);
        }
    }
}

#[test]
fn command_docs() {
    let Some(both) = start() else { return };
    let docs = |server: &Server| -> BTreeMap<String, BTreeSet<String>> {
        let mut client = server.connect();
        client.ask("HELLO 3");
        let mut all = BTreeMap::new();
        for (name, doc) in client.ask("COMMAND DOCS").entries() {
            let name = name.text();
            for (part, inner) in doc.entries() {
                if part.text() == "subcommands" {
                    for (sub, doc) in inner.entries() {
                        let mut lines = BTreeSet::new();
                        structure("", &doc, &mut lines);
                        all.insert(sub.text().to_ascii_lowercase(), lines);
                    }
                } else {
                    let lines = all.entry(name.to_ascii_lowercase()).or_default();
                    structure("", &Value::Map(vec![(part, inner)]), lines);
                }
            }
        }
        all
    };
    let (ours, theirs) = (docs(&both.subject), docs(&both.reference));
    let listed = listed_commands(&both.subject);
    let mut differing = BTreeSet::new();
    for (name, their_lines) in &theirs {
        if !listed.contains(name) {
            continue;
        }
        let none = BTreeSet::new();
        let our_lines = ours.get(name).unwrap_or(&none);
        if our_lines != their_lines {
            let (missing, extra) = compare_names(our_lines, their_lines);
            println!("{name}: missing {missing:?} extra {extra:?}");
            differing.insert(name.clone());
        }
    }
    check(&both.known, &[("command.docs", &differing)]);
}

/// Values that name this run of the server: paths, ports, process ids.
const DIRECTIVES_OF_THIS_RUN: [&str; 2] = ["port", "dir"];

fn directives(client: &mut Client) -> BTreeMap<String, String> {
    client.ask("CONFIG GET *").entries().iter().map(|(name, value)| (name.text(), value.text())).collect()
}

#[test]
fn directives_and_defaults() {
    let Some(both) = start() else { return };
    let (ours, theirs) = (directives(&mut both.subject.connect()), directives(&mut both.reference.connect()));
    let (missing, extra) = compare_names(ours.keys(), theirs.keys());
    let mut different = BTreeSet::new();
    for (name, our_value) in &ours {
        if let Some(their_value) = theirs.get(name)
            && !DIRECTIVES_OF_THIS_RUN.contains(&name.as_str())
            && our_value != their_value
        {
            println!("{name}: skuld {our_value:?} reference {their_value:?}");
            different.insert(name.clone());
        }
    }
    check(
        &both.known,
        &[("config.missing", &missing), ("config.extra", &extra), ("config.default", &different)],
    );
}

/// Sets every directive to the value it has, on both: changeable directives answer OK, the others say why not.
#[test]
fn mutability_of_directives() {
    let Some(both) = start() else { return };
    let (mut ours, mut theirs) = (both.subject.connect(), both.reference.connect());
    let (our_values, their_values) = (directives(&mut ours), directives(&mut theirs));
    assert!(!our_values.is_empty(), "CONFIG GET * shows nothing");
    let mut different = BTreeSet::new();
    let set = |client: &mut Client, name: &str, value: &str| -> String {
        let mut command = words("CONFIG SET");
        command.extend([name.as_bytes().to_vec(), value.as_bytes().to_vec()]);
        client.call(&command).map_or_else(|none| none.to_string(), |frame| frame.value.to_string())
    };
    for (name, value) in &our_values {
        let Some(their_value) = their_values.get(name) else { continue };
        let (our_reply, their_reply) = (set(&mut ours, name, value), set(&mut theirs, name, their_value));
        if our_reply != their_reply {
            println!("{name}: skuld {our_reply} reference {their_reply}");
            different.insert(name.clone());
        }
    }
    check(&both.known, &[("config.set", &different)]);
}

/// Section and field names in their order. Fields that name a command, a database or an error are represented by the
/// part before the underscore or digit, since which of them appear depends on what was run.
fn info_fields(client: &mut Client) -> Vec<String> {
    let text = client.ask("INFO everything").text();
    let mut section = String::new();
    let mut fields = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            section = name.replace(' ', "_");
            fields.push(format!("#{section}"));
        } else if let Some((name, _)) = line.split_once(':') {
            let family = ["cmdstat_", "errorstat_", "latency_percentiles_usec_", "db", "listener", "module"]
                .into_iter()
                .find(|family| {
                    name.strip_prefix(family).is_some_and(|rest| {
                        family.ends_with('_') || rest.bytes().all(|byte| byte.is_ascii_digit())
                    })
                });
            let field =
                format!("{section}/{}", family.map_or(name.to_owned(), |family| format!("{family}*")));
            if fields.last() != Some(&field) {
                fields.push(field);
            }
        }
    }
    fields
}

#[test]
fn info_sections_and_fields() {
    let Some(both) = start() else { return };
    let fields = |server: &Server| {
        let mut client = server.connect();
        // Something of everything that is shown only once it happened.
        for line in ["SET key value", "GET key", "NOSUCHCOMMAND"] {
            client.ask(line);
        }
        info_fields(&mut client)
    };
    let (ours, theirs) = (fields(&both.subject), fields(&both.reference));
    let (missing, extra) = compare_names(&ours, &theirs);
    let duplicates: Vec<&String> =
        ours.iter().filter(|field| ours.iter().filter(|other| other == field).count() > 1).collect();
    assert!(duplicates.is_empty(), "INFO shows fields twice: {duplicates:?}");
    check(&both.known, &[("info.missing", &missing), ("info.extra", &extra)]);

    let shared = |fields: &[String], other: &[String]| -> Vec<String> {
        fields.iter().filter(|field| other.contains(field)).cloned().collect()
    };
    let (ours, theirs) = (shared(&ours, &theirs), shared(&theirs, &ours));
    let moved = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    assert!(moved.is_none(), "INFO's order differs first at (skuld, reference) {moved:?}");
}

/// The sections that INFO shows for each of its arguments.
#[test]
fn info_sections_by_argument() {
    let Some(both) = start() else { return };
    let (mut ours, mut theirs) = (both.subject.connect(), both.reference.connect());
    let sections = |client: &mut Client, line: &str| -> Vec<String> {
        client.ask(line).text().lines().filter(|line| line.starts_with("# ")).map(str::to_owned).collect()
    };
    let skipped = |section: &String| {
        let item = format!("#{}", section.trim_start_matches("# "));
        !both.known.holds("info.missing", &item) && !both.known.holds("info.extra", &item)
    };
    for line in [
        "INFO",
        "INFO default",
        "INFO all",
        "INFO everything",
        "INFO server",
        "INFO CLIENTS memory",
        "INFO nosuch",
        "INFO commandstats errorstats",
    ] {
        let mut our_sections = sections(&mut ours, line);
        let mut their_sections = sections(&mut theirs, line);
        our_sections.retain(skipped);
        their_sections.retain(skipped);
        assert_eq!(our_sections, their_sections, "{line}");
    }
}

/// The lines of a HELP that show syntax; the indented ones below each are prose.
fn help_lines(client: &mut Client, container: &str) -> Option<Vec<String>> {
    match client.ask(&format!("{container} HELP")) {
        Value::Array(lines) => {
            Some(lines.iter().map(Value::text).filter(|line| !line.starts_with(' ')).collect())
        }
        _ => None,
    }
}

#[test]
fn help_of_every_container() {
    let Some(both) = start() else { return };
    let (mut ours, mut theirs) = (both.subject.connect(), both.reference.connect());
    let listed = listed_commands(&both.subject);
    let mut different = BTreeSet::new();
    for name in listed_commands(&both.reference) {
        if name.contains('|') || !listed.contains(&name) {
            continue;
        }
        // Only containers and DEBUG answer HELP with a list.
        let is_container = name == "debug" || listed.iter().any(|other| other == &format!("{name}|help"));
        if !is_container {
            continue;
        }
        let (our_lines, their_lines) = (help_lines(&mut ours, &name), help_lines(&mut theirs, &name));
        let (Some(our_lines), Some(their_lines)) = (&our_lines, &their_lines) else {
            if our_lines.is_some() != their_lines.is_some() {
                different.insert(format!("{name}:presence"));
            }
            continue;
        };
        let (missing, extra) = compare_names(our_lines, their_lines);
        for line in missing.iter().chain(&extra) {
            println!("{name} HELP: {} {line:?}", if missing.contains(line) { "missing" } else { "extra" });
            let word = line.split_whitespace().next().unwrap_or("empty").to_ascii_lowercase();
            different.insert(format!("{name}:{word}"));
        }
        if missing.is_empty() && extra.is_empty() && our_lines != their_lines {
            println!("{name} HELP: the order differs");
            different.insert(format!("{name}:order"));
        }
    }
    check(&both.known, &[("help", &different)]);
}

#[test]
fn one_version_is_reported_everywhere() {
    let server = Launch::skuld(1).start();
    let mut client = server.connect();
    let info = client.ask("INFO server").text();
    assert!(info.contains("valkey_version:9.1.2\r\n"), "{info}");
    assert!(info.contains("redis_version:7.2.4\r\n"), "{info}");
    let hello = client.ask("HELLO 3");
    let version = hello.entries().into_iter().find(|(name, _)| name.text() == "version");
    assert_eq!(version.map(|(_, version)| version.text()), Some("9.1.2".to_owned()));
}
