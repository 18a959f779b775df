//! The written cases in `tests/cases`: one text file per command family.
//!
//! Each line is a command in the syntax of redis-cli (`"\x00\n"`, `'...'`; `{1000*a}` stands for a thousand `a`). It is
//! sent to both servers and the raw replies are compared. Empty lines and lines that begin with `#` say nothing, except
//! that `# ---` begins a section. Commands that the reference lists and Skuld does not are left out on both sides, and
//! with them, up to the end of the section, what waits for consequences. Lines that begin with `@`:
//!
//! | line | meaning |
//! |---|---|
//! | `@option name value` | both servers are started with this option (anywhere in the file) |
//! | `@resp 2`, `@resp 3`, `@resp any` | what follows runs only in that protocol |
//! | `@reset` | empties the servers and drops all connections |
//! | `@conn name` | continues on that connection, opening it if it is new |
//! | `@config name value` | CONFIG SET on both, from a connection of its own |
//! | `@both command` | runs a command on both without comparing |
//! | `@unordered command` | compares the elements of the reply as a set |
//! | `@shape command`, `@kind command` | compares types and lengths, or only the type of the whole |
//! | `@near n command` | integers may differ by n |
//! | `@scan command` | follows the cursor (the argument `0`) to the end and compares all elements as a set |
//! | `@until reply command` | repeats the command on both until it answers that (raw, without the last CRLF) |
//! | `@send command` | sends without waiting for a reply |
//! | `@read n` | reads and compares n replies or pushes |
//! | `@frames n command` | sends and reads n replies or pushes |
//! | `@raw n "bytes"` | sends bytes as they are, then reads n replies |
//! | `@blocked n` | waits until INFO shows n blocked clients on both |
//! | `@closed` | both servers have closed the connection, having sent the same rest |
//! | `@skip-skuld item command` | left out; the item must stand in `docs/compatibility.md`, area `cases.skipped` |

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::client::{Client, Reply};
use super::known::Known;
use super::parity::{Command, Pair, describe, listed_name};
use super::resp::Value;
use super::rules::{self, Rule};
use super::server::{Server, repository};
use super::text;

/// How long `@until` and `@blocked` wait.
const FACT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Resp2,
    Resp3,
}

enum Action {
    Exchange { command: Command, rule: Option<Rule>, frames: usize },
    Both(Command),
    Send(Command),
    Read(usize),
    Raw { bytes: Vec<u8>, frames: usize },
    Scan(Command),
    Until { reply: Vec<u8>, command: Command },
    Config(Command),
    Connection(String),
    Blocked(i64),
    Closed,
    Reset,
    Section,
}

struct Line {
    number: usize,
    text: String,
    only: Option<Protocol>,
    action: Action,
}

/// One parsed file.
pub struct CaseFile {
    pub name: String,
    pub options: Vec<(String, String)>,
    lines: Vec<Line>,
}

/// The files to run: all, or those whose names are in `SKULD_CASES`, separated by commas.
pub fn case_files() -> Vec<PathBuf> {
    let wanted = std::env::var("SKULD_CASES").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let mut files: Vec<PathBuf> = std::fs::read_dir(repository().join("tests/cases"))
        .expect("tests/cases is there")
        .map(|entry| entry.expect("tests/cases is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            wanted.is_empty() || wanted.contains(&stem.as_str())
        })
        .collect();
    files.sort();
    files
}

impl CaseFile {
    pub fn read(path: &Path, known: &Known) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut file = Self { name, options: Vec::new(), lines: Vec::new() };
        let mut only = None;
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.starts_with("# ---") {
                file.lines.push(Line {
                    number: index + 1,
                    text: String::new(),
                    only: None,
                    action: Action::Section,
                });
            }
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            match file.parse_line(trimmed, &mut only, known) {
                Ok(None) => {}
                Ok(Some(action)) => {
                    file.lines.push(Line { number: index + 1, text: trimmed.to_owned(), only, action });
                }
                Err(reason) => panic!("{}:{}: {reason}: {trimmed}", file.name, index + 1),
            }
        }
        file
    }

    fn parse_line(
        &mut self,
        line: &str,
        only: &mut Option<Protocol>,
        known: &Known,
    ) -> Result<Option<Action>, String> {
        if !line.starts_with('@') {
            let command = text::split(line)?;
            let frames = frames_of(&command);
            return Ok(Some(Action::Exchange { command, rule: None, frames }));
        }
        let (directive, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let first_and_rest = || rest.split_once(' ').ok_or("an argument is missing");
        let ruled = |rule: Rule, line: &str| -> Result<Option<Action>, String> {
            Ok(Some(Action::Exchange { command: text::split(line)?, rule: Some(rule), frames: 1 }))
        };
        let number = |word: &str| word.parse::<usize>().map_err(|_| format!("not a number: {word}"));
        match directive {
            "@option" => {
                let (name, value) = first_and_rest()?;
                let value =
                    text::split(value)?.first().map(|value| String::from_utf8_lossy(value).into_owned());
                self.options.push((name.to_owned(), value.unwrap_or_default()));
                Ok(None)
            }
            "@resp" => {
                *only = match rest {
                    "2" => Some(Protocol::Resp2),
                    "3" => Some(Protocol::Resp3),
                    "any" => None,
                    _ => return Err("expected 2, 3 or any".to_owned()),
                };
                Ok(None)
            }
            "@reset" => Ok(Some(Action::Reset)),
            "@closed" => Ok(Some(Action::Closed)),
            "@conn" => Ok(Some(Action::Connection(rest.to_owned()))),
            "@config" => {
                let mut command = vec![b"CONFIG".to_vec(), b"SET".to_vec()];
                command.extend(text::split(rest)?);
                Ok(Some(Action::Config(command)))
            }
            "@both" => Ok(Some(Action::Both(text::split(rest)?))),
            "@unordered" => ruled(Rule::Unordered, rest),
            "@shape" => ruled(Rule::Shape, rest),
            "@kind" => ruled(Rule::Kind, rest),
            "@near" => {
                let (tolerance, line) = first_and_rest()?;
                ruled(Rule::Near(number(tolerance)? as i64), line)
            }
            "@scan" => Ok(Some(Action::Scan(text::split(rest)?))),
            "@until" => {
                let mut words = text::split(rest)?;
                if words.len() < 2 {
                    return Err("a reply and a command are needed".to_owned());
                }
                let mut reply = words.remove(0);
                reply.extend_from_slice(b"\r\n");
                Ok(Some(Action::Until { reply, command: words }))
            }
            "@send" => Ok(Some(Action::Send(text::split(rest)?))),
            "@read" => Ok(Some(Action::Read(number(rest)?))),
            "@frames" => {
                let (frames, line) = first_and_rest()?;
                let command = text::split(line)?;
                Ok(Some(Action::Exchange { command, rule: None, frames: number(frames)? }))
            }
            "@raw" => {
                let (frames, line) = first_and_rest()?;
                Ok(Some(Action::Raw { bytes: text::split(line)?.concat(), frames: number(frames)? }))
            }
            "@blocked" => Ok(Some(Action::Blocked(number(rest)? as i64))),
            "@skip-skuld" => {
                let (item, _) = first_and_rest()?;
                assert!(
                    known.holds("cases.skipped", item),
                    "{}: {item} is not in docs/compatibility.md, area cases.skipped",
                    self.name
                );
                Ok(None)
            }
            _ => Err("unknown directive".to_owned()),
        }
    }
}

/// Subscriptions answer once per name.
fn frames_of(command: &[Vec<u8>]) -> usize {
    let name = command[0].to_ascii_lowercase();
    match name.as_slice() {
        b"subscribe" | b"psubscribe" | b"ssubscribe" | b"unsubscribe" | b"punsubscribe" | b"sunsubscribe" => {
            (command.len() - 1).max(1)
        }
        _ => 1,
    }
}

/// What running a file came to.
#[derive(Default)]
pub struct CaseReport {
    pub compared: usize,
    pub failures: Vec<String>,
    pub left_out: BTreeSet<String>,
}

struct Connections {
    ours: Client,
    theirs: Client,
}

/// Runs one file.
pub struct CaseRunner<'a> {
    pub pair: &'a mut Pair,
    pub protocol: Protocol,
    pub subject_lists: &'a BTreeSet<String>,
    pub reference_lists: &'a BTreeSet<String>,
    open: BTreeMap<String, Connections>,
    report: CaseReport,
    reference_timeouts: usize,
}

impl<'a> CaseRunner<'a> {
    pub fn new(
        pair: &'a mut Pair,
        protocol: Protocol,
        subject_lists: &'a BTreeSet<String>,
        reference_lists: &'a BTreeSet<String>,
    ) -> Self {
        let (open, report) = (BTreeMap::new(), CaseReport::default());
        Self { pair, protocol, subject_lists, reference_lists, open, report, reference_timeouts: 0 }
    }

    pub fn run(mut self, file: &CaseFile) -> CaseReport {
        let mut current = "main".to_owned();
        let mut before: Vec<&str> = Vec::new();
        // After a command was left out, what waits for its consequences is left out too, up to the next section.
        let mut incomplete = false;
        for line in &file.lines {
            if line.only.is_some_and(|only| only != self.protocol) {
                continue;
            }
            if let Action::Connection(name) = &line.action {
                current.clone_from(name);
                continue;
            }
            if matches!(line.action, Action::Section) {
                incomplete = false;
                continue;
            }
            if let Some(missing) = self.missing(&line.action) {
                self.report.left_out.insert(missing);
                incomplete = true;
                continue;
            }
            let depends = matches!(
                line.action,
                Action::Read(_) | Action::Raw { .. } | Action::Closed | Action::Blocked(_)
            );
            if incomplete && depends {
                continue;
            }
            if let Err(reason) = self.perform(&line.action, &current) {
                let context = before[before.len().saturating_sub(3)..].join("\n      ");
                self.report.failures.push(format!(
                    "{}:{} ({:?})\n      {context}\n    > {}\n{reason}",
                    file.name, line.number, self.protocol, line.text
                ));
                if self.report.failures.len() > 40 || self.reference_timeouts > 1 || !self.both_alive() {
                    self.report.failures.push(format!(
                        "{}: the rest was not run; skuld's log:\n{}",
                        file.name,
                        self.pair.subject.log_tail()
                    ));
                    break;
                }
            }
            before.push(&line.text);
        }
        self.report
    }

    fn both_alive(&mut self) -> bool {
        self.pair.subject.exit_status().is_none() && self.pair.reference.exit_status().is_none()
    }

    /// A command that the reference lists and Skuld does not.
    fn missing(&self, action: &Action) -> Option<String> {
        let command = match action {
            Action::Exchange { command, .. } | Action::Both(command) | Action::Send(command) => command,
            Action::Scan(command) | Action::Until { command, .. } | Action::Config(command) => command,
            _ => return None,
        };
        let name = listed_name(command, self.reference_lists);
        if matches!(name.as_str(), "command|info" | "command|getkeys" | "command|getkeysandflags") {
            let asked = command[2..].iter().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
            let asked = asked.take(if name == "command|info" { usize::MAX } else { 1 });
            for asked in asked {
                if self.reference_lists.contains(&asked) && !self.subject_lists.contains(&asked) {
                    return Some(asked);
                }
            }
        }
        (self.reference_lists.contains(&name) && !self.subject_lists.contains(&name)).then_some(name)
    }

    fn connection(&mut self, name: &str) -> &mut Connections {
        let protocol = self.protocol;
        self.open.entry(name.to_owned()).or_insert_with(|| {
            let connect = |server: &Server| {
                let mut client = server.connect();
                client.set_reply_timeout(Duration::from_secs(5));
                if protocol == Protocol::Resp3 {
                    client.ask("HELLO 3");
                }
                client
            };
            Connections { ours: connect(&self.pair.subject), theirs: connect(&self.pair.reference) }
        })
    }

    fn perform(&mut self, action: &Action, current: &str) -> Result<(), String> {
        match action {
            Action::Exchange { command, rule, frames } => self.exchange(current, command, *rule, *frames),
            Action::Both(command) => {
                let open = self.connection(current);
                open.ours.call(command).map_err(|none| format!("  skuld {none}"))?;
                open.theirs.call(command).map_err(|none| format!("  reference {none}"))?;
                Ok(())
            }
            Action::Send(command) => {
                let open = self.connection(current);
                open.ours.send(command);
                open.theirs.send(command);
                Ok(())
            }
            Action::Read(frames) => self.read(current, *frames, Rule::Exact, false),
            Action::Raw { bytes, frames } => {
                let open = self.connection(current);
                open.ours.send_raw(bytes);
                open.theirs.send_raw(bytes);
                self.read(current, *frames, Rule::Exact, false)
            }
            Action::Scan(command) => self.scan(current, command),
            Action::Until { reply, command } => self.until(current, reply, command),
            Action::Config(command) => {
                let ours = self.pair.subject.connect().call(command);
                let theirs = self.pair.reference.connect().call(command);
                self.judge(&ours, &theirs, Rule::Exact, false)
            }
            Action::Blocked(count) => self.blocked(*count),
            Action::Closed => {
                let open = self.connection(current);
                let ours = open.ours.read_to_close();
                let theirs = open.theirs.read_to_close();
                self.open.remove(current);
                self.report.compared += 1;
                if ours == theirs && ours.is_ok() {
                    return Ok(());
                }
                Err(format!("  skuld     {ours:?}\n  reference {theirs:?}"))
            }
            Action::Reset => {
                self.open.clear();
                self.pair.fresh();
                Ok(())
            }
            Action::Connection(_) | Action::Section => Ok(()),
        }
    }

    fn exchange(
        &mut self,
        current: &str,
        command: &Command,
        rule: Option<Rule>,
        frames: usize,
    ) -> Result<(), String> {
        let mut hashtable = false;
        for key in rules::keys_deciding_order(command) {
            let question = vec![b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.clone()];
            if let Ok(frame) = self.pair.reference.connect().call(&question) {
                hashtable |=
                    frame.value.bytes().is_some_and(|encoding| rules::has_no_order(command, encoding));
            }
        }
        let open = self.connection(current);
        open.ours.send(command);
        open.theirs.send(command);
        let rule = rule.unwrap_or_else(|| rules::rule_for(command));
        self.read(current, frames, rule, hashtable)
    }

    fn read(&mut self, current: &str, frames: usize, rule: Rule, hashtable: bool) -> Result<(), String> {
        for _ in 0..frames {
            let open = self.connection(current);
            let theirs = open.theirs.read_frame();
            // What the reference does not answer within its time need not be awaited as long again.
            if theirs.is_err() {
                open.ours.set_reply_timeout(Duration::from_millis(200));
            }
            let ours = open.ours.read_frame();
            open.ours.set_reply_timeout(Duration::from_secs(5));
            let verdict = self.judge(&ours, &theirs, rule, hashtable);
            if ours.is_err() || theirs.is_err() {
                // The two are no longer in step.
                self.open.remove(current);
            }
            verdict?;
        }
        Ok(())
    }

    fn judge(&mut self, ours: &Reply, theirs: &Reply, rule: Rule, hashtable: bool) -> Result<(), String> {
        self.report.compared += 1;
        self.reference_timeouts += usize::from(theirs.is_err());
        // A case in which the reference does not answer is a broken case, even if Skuld does the same.
        if theirs.is_ok() && rules::agree(rule, hashtable, ours, theirs) {
            return Ok(());
        }
        Err(format!("      skuld     {}\n      reference {}", describe(ours), describe(theirs)))
    }

    fn scan(&mut self, current: &str, command: &Command) -> Result<(), String> {
        let place = command.iter().position(|word| word == b"0").ok_or("no cursor 0 in the command")?;
        let pairs = matches!(rules::rule_for(command), Rule::ScanPairs);
        let all = |client: &mut Client| -> Result<BTreeSet<String>, String> {
            let mut found = BTreeSet::new();
            let mut command = command.clone();
            for _ in 0..100_000 {
                let value = client.call(&command).map_err(|none| none.to_string())?.value;
                let [cursor, page] = value.items() else { return Err(format!("answered {value}")) };
                let width = if pairs { 2 } else { 1 };
                found.extend(
                    page.items()
                        .chunks(width)
                        .map(|part| part.iter().map(Value::to_string).collect::<Vec<_>>().join(" ")),
                );
                command[place] = cursor.bytes().unwrap_or_default().to_vec();
                if command[place] == b"0" {
                    return Ok(found);
                }
            }
            Err("the cursor never came back to 0".to_owned())
        };
        let open = self.connection(current);
        let (ours, theirs) = (all(&mut open.ours), all(&mut open.theirs));
        self.report.compared += 1;
        if theirs.is_ok() && ours == theirs {
            return Ok(());
        }
        Err(format!("      skuld     {ours:?}\n      reference {theirs:?}"))
    }

    fn until(&mut self, current: &str, reply: &[u8], command: &Command) -> Result<(), String> {
        let open = self.connection(current);
        for client in [&mut open.theirs, &mut open.ours] {
            let deadline = Instant::now() + FACT_TIMEOUT;
            loop {
                let answer = client.call(command);
                match &answer {
                    Ok(frame) if frame.raw == reply => break,
                    Ok(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                    _ => return Err(format!("      still answered {}", describe(&answer))),
                }
            }
        }
        self.report.compared += 1;
        Ok(())
    }

    fn blocked(&mut self, count: i64) -> Result<(), String> {
        let wanted = format!("\r\nblocked_clients:{count}\r\n");
        for server in [&self.pair.reference, &self.pair.subject] {
            let mut client = server.connect();
            let deadline = Instant::now() + FACT_TIMEOUT;
            while !client.ask("INFO clients").text().contains(&wanted) {
                if Instant::now() > deadline {
                    return Err(format!("      {} never showed {count} blocked clients", server.label));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}
