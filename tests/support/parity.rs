//! One command list on both servers: comparing the replies, and shrinking a list that shows a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::{Client, Reply};
use super::resp::Value;
use super::rules::{self, Rule};
use super::server::{Launch, Server};
use super::state;
use super::text::{command_line, escape_short};

pub type Command = Vec<Vec<u8>>;

/// Commands sent in one write. Large enough to be quick, small enough that neither side waits with full buffers.
const BATCH: usize = 48;

/// Shrinking stops after this time: a long repro is worth less than a prompt one.
const SHRINK_TIME: Duration = Duration::from_secs(20);

/// Both servers, started alike.
pub struct Pair {
    pub subject: Server,
    pub reference: Server,
    subject_launch: Launch,
    reference_launch: Launch,
}

impl Pair {
    /// Starts both with the same options.
    pub fn start(reference: &Path, workers: usize, options: &[(String, String)]) -> Self {
        let with =
            |launch: Launch| options.iter().fold(launch, |launch, (name, value)| launch.option(name, value));
        let subject_launch = with(Launch::skuld(workers));
        let reference_launch = with(Launch::reference(reference));
        let reference = reference_launch.start();
        let subject = subject_launch.start();
        Self { subject, reference, subject_launch, reference_launch }
    }

    /// New connections to both, on servers that hold no data. Servers that ended are started again.
    pub fn fresh(&mut self) -> Link {
        if self.subject.exit_status().is_some() {
            self.subject = self.subject_launch.start();
        }
        if self.reference.exit_status().is_some() {
            self.reference = self.reference_launch.start();
        }
        let flush = [b"FLUSHALL".to_vec()];
        let flushed = Client::connect(self.subject.address()).is_ok_and(|mut client| {
            client.set_reply_timeout(Duration::from_secs(3));
            client.call(&flush).is_ok_and(|frame| frame.raw == b"+OK\r\n")
        });
        if !flushed {
            // Hung, or a server that does not know FLUSHALL yet.
            self.subject = self.subject_launch.start();
        }
        let _ = self.reference.connect().call(&flush);
        self.link()
    }

    /// One more connection to each.
    pub fn link(&self) -> Link {
        Link { subject: self.subject.connect(), reference: self.reference.connect(), queued: None }
    }
}

/// One connection to each server.
pub struct Link {
    pub subject: Client,
    pub reference: Client,
    /// The commands queued since MULTI, whose rules apply to the elements of EXEC's reply.
    queued: Option<Vec<Command>>,
}

/// What both answered to one command.
pub struct Exchange {
    pub agreed: bool,
    pub subject: Reply,
    pub reference: Reply,
}

impl Exchange {
    pub fn describe(&self) -> String {
        format!("  skuld     {}\n  reference {}", describe(&self.subject), describe(&self.reference))
    }
}

pub fn describe(reply: &Reply) -> String {
    match reply {
        Ok(frame) => format!("\"{}\"", escape_short(&frame.raw, 600)),
        Err(none) => none.to_string(),
    }
}

impl Link {
    /// Runs one command on both and compares under its rule, or under `rule` if one is given.
    pub fn exchange(&mut self, command: &[Vec<u8>], rule: Option<Rule>) -> Exchange {
        let mut exchanges = self.exchange_all(std::slice::from_ref(&command.to_vec()), rule);
        exchanges.pop().expect("one command has one exchange")
    }

    /// Runs the commands as one pipeline on both. Ends early after a missing reply.
    pub fn exchange_all(&mut self, commands: &[Command], rule: Option<Rule>) -> Vec<Exchange> {
        // Questions about encodings go in front of the commands whose order depends on them.
        let mut wire: Vec<Command> = Vec::with_capacity(commands.len());
        let mut places = Vec::with_capacity(commands.len());
        for command in commands {
            let first = wire.len();
            for key in rules::keys_deciding_order(command) {
                wire.push(vec![b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.clone()]);
            }
            places.push((first, wire.len()));
            wire.push(command.clone());
        }
        let mut bytes = Vec::new();
        for command in &wire {
            bytes.extend_from_slice(&super::client::encode(command));
        }
        self.subject.send_raw(&bytes);
        self.reference.send_raw(&bytes);
        let subject = read_all(&mut self.subject, wire.len());
        let reference = read_all(&mut self.reference, wire.len());

        let mut exchanges = Vec::with_capacity(commands.len());
        for (command, (first, place)) in commands.iter().zip(places) {
            let (Some(ours), Some(theirs)) = (subject.get(place), reference.get(place)) else {
                // One side stopped answering within the questions; show where it stopped.
                let (ours, theirs) = (last_or(&subject, place), last_or(&reference, place));
                exchanges.push(Exchange { agreed: false, subject: ours, reference: theirs });
                break;
            };
            let hashtable = reference[first..place].iter().any(|reply| {
                let encoding = reply.as_ref().ok().and_then(|frame| frame.value.bytes());
                encoding.is_some_and(|encoding| rules::has_no_order(command, encoding))
            });
            let rule = rule.unwrap_or_else(|| rules::rule_for(command));
            let agreed =
                rules::agree(rule, hashtable, ours, theirs) || self.transactions_agree(command, ours, theirs);
            for question in first..=place {
                self.follow_transaction(&wire[question], &reference[question]);
            }
            exchanges.push(Exchange { agreed, subject: ours.clone(), reference: theirs.clone() });
        }
        exchanges
    }
}

impl Link {
    /// Keeps track of what EXEC will answer for.
    fn follow_transaction(&mut self, command: &[Vec<u8>], reference: &Reply) {
        let Ok(frame) = reference else { return };
        if frame.raw == b"+QUEUED\r\n" {
            if let Some(queued) = &mut self.queued {
                queued.push(command.to_vec());
            }
            return;
        }
        match command[0].to_ascii_lowercase().as_slice() {
            b"multi" if !frame.value.is_error() => self.queued = Some(Vec::new()),
            b"exec" | b"discard" | b"reset" => self.queued = None,
            _ => {}
        }
    }

    /// Compares the replies within EXEC's reply under the rules of the commands that were queued.
    fn transactions_agree(&self, command: &[Vec<u8>], subject: &Reply, reference: &Reply) -> bool {
        let (Some(queued), Ok(subject), Ok(reference)) = (&self.queued, subject, reference) else {
            return false;
        };
        let (Value::Array(ours), Value::Array(theirs)) = (&subject.value, &reference.value) else {
            return false;
        };
        command[0].eq_ignore_ascii_case(b"exec")
            && ours.len() == theirs.len()
            && theirs.len() == queued.len()
            && queued.iter().zip(ours.iter().zip(theirs)).all(|(command, (ours, theirs))| {
                rules::values_agree(rules::rule_for(command), true, ours, theirs)
            })
    }
}

fn read_all(client: &mut Client, count: usize) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(count);
    while replies.len() < count && replies.last().is_none_or(|reply: &Reply| reply.is_ok()) {
        replies.push(client.read_reply());
    }
    replies
}

fn last_or(replies: &[Reply], place: usize) -> Reply {
    replies.get(place).or(replies.last()).cloned().expect("at least one reply was awaited")
}

/// A difference found in a random run.
pub struct Difference {
    /// What distinguishes it from others, so that one defect is reported once.
    pub title: String,
    pub report: String,
}

/// What a list of commands comes to.
enum Outcome {
    Same,
    /// The index of the command, and what was answered.
    ReplyDiffers(usize, String),
    StateDiffers(String),
}

/// Runs long command lists, comparing every reply, and the whole data set from time to time.
pub struct Runner<'a> {
    pub pair: &'a mut Pair,
    pub listed: &'a BTreeSet<String>,
    /// Databases looked at when comparing the data sets.
    pub databases: usize,
    /// Commands between two comparisons of the data sets.
    pub state_every: usize,
    /// Sent first on every new connection.
    pub prologue: Vec<Command>,
}

/// Counts of what a run did.
#[derive(Default)]
pub struct Tally {
    pub commands: usize,
    pub errors: usize,
    pub state_checks: usize,
    pub by_name: BTreeMap<String, usize>,
}

impl Runner<'_> {
    /// Runs `total` commands taken from `next`, in groups that are not to be torn apart, and collects up to `limit` different differences, starting over with
    /// empty servers after each.
    pub fn run(
        &mut self,
        total: usize,
        limit: usize,
        mut next: impl FnMut() -> Vec<Command>,
    ) -> (Vec<Difference>, Tally) {
        let mut tally = Tally::default();
        let mut found: Vec<Difference> = Vec::new();
        let mut titles = BTreeSet::new();
        let mut repeats = 0;
        while tally.commands < total && found.len() < limit && repeats < 200 {
            let mut history: Vec<Command> = Vec::new();
            let outcome = self.run_until_difference(&mut history, &mut tally, total, &mut next);
            let (title, is_state) = match &outcome {
                Outcome::Same => break,
                Outcome::ReplyDiffers(index, answers) => (title_of(&history[*index], answers), false),
                Outcome::StateDiffers(text) => (format!("data set: {}", generalise(text)), true),
            };
            if !titles.insert(title.clone()) {
                repeats += 1;
                continue;
            }
            let report = self.shrink(history, is_state);
            found.push(Difference { title, report });
        }
        (found, tally)
    }

    fn run_until_difference(
        &mut self,
        history: &mut Vec<Command>,
        tally: &mut Tally,
        total: usize,
        next: &mut impl FnMut() -> Vec<Command>,
    ) -> Outcome {
        let mut link = self.link();
        let mut since_state = 0;
        let mut since_flush = 0;
        while tally.commands < total {
            let mut batch: Vec<Command> = Vec::new();
            while batch.len() < BATCH {
                batch.extend(next());
            }
            let start = history.len();
            history.extend(batch.iter().cloned());
            let exchanges = link.exchange_all(&batch, None);
            for (offset, exchange) in exchanges.iter().enumerate() {
                tally.commands += 1;
                let name = String::from_utf8_lossy(&batch[offset][0]).to_ascii_lowercase();
                *tally.by_name.entry(name).or_default() += 1;
                tally.errors +=
                    usize::from(matches!(&exchange.reference, Ok(frame) if frame.value.is_error()));
                if !exchange.agreed {
                    history.truncate(start + offset + 1);
                    return Outcome::ReplyDiffers(start + offset, exchange.describe());
                }
            }
            since_state += batch.len();
            since_flush += batch.len();
            if since_state >= self.state_every || tally.commands >= total {
                since_state = 0;
                tally.state_checks += 1;
                if let Some(text) = state::difference(
                    &mut self.pair.subject,
                    &mut self.pair.reference,
                    self.databases,
                    self.listed,
                ) {
                    return Outcome::StateDiffers(text);
                }
            }
            // Histories stay short enough to shrink.
            if since_flush >= 20_000 {
                since_flush = 0;
                history.clear();
                link = self.link();
            }
        }
        Outcome::Same
    }

    fn link(&mut self) -> Link {
        let mut link = self.pair.fresh();
        for command in &self.prologue {
            let exchange = link.exchange(command, None);
            assert!(exchange.agreed, "{}\n{}", command_line(command), exchange.describe());
        }
        link
    }

    /// Runs a finite list on empty servers.
    fn replay(&mut self, commands: &[Command], with_state: bool) -> Outcome {
        let mut link = self.link();
        for (number, batch) in commands.chunks(BATCH).enumerate() {
            for (offset, exchange) in link.exchange_all(batch, None).iter().enumerate() {
                if !exchange.agreed {
                    return Outcome::ReplyDiffers(number * BATCH + offset, exchange.describe());
                }
            }
        }
        if with_state
            && let Some(text) = state::difference(
                &mut self.pair.subject,
                &mut self.pair.reference,
                self.databases,
                self.listed,
            )
        {
            return Outcome::StateDiffers(text);
        }
        Outcome::Same
    }

    /// Removes halves, quarters, ... single commands while the list still shows a difference.
    fn shrink(&mut self, mut history: Vec<Command>, is_state: bool) -> String {
        let original = history.len();
        let deadline = Instant::now() + SHRINK_TIME;
        let mut last = match self.replay(&history, is_state) {
            Outcome::Same => {
                let tail: Vec<String> =
                    history.iter().rev().take(15).rev().map(|command| cut(&command_line(command))).collect();
                return format!(
                    "  did not show again when its {original} commands were run a second time; the last of them:\n    {}",
                    tail.join("\n    ")
                );
            }
            outcome => outcome,
        };
        if let Outcome::ReplyDiffers(index, _) = last {
            history.truncate(index + 1);
        }
        let mut chunk = history.len().div_ceil(2);
        while chunk > 0 && Instant::now() < deadline {
            let mut start = 0;
            while start < history.len() && Instant::now() < deadline {
                let end = (start + chunk).min(history.len());
                let mut shorter = history.clone();
                shorter.drain(start..end);
                match if shorter.is_empty() { Outcome::Same } else { self.replay(&shorter, is_state) } {
                    Outcome::Same => start = end,
                    outcome => {
                        if let Outcome::ReplyDiffers(index, _) = outcome {
                            shorter.truncate(index + 1);
                        }
                        history = shorter;
                        last = outcome;
                    }
                }
            }
            chunk /= 2;
        }
        let lines: Vec<String> = history.iter().map(|command| cut(&command_line(command))).collect();
        let answers = match last {
            Outcome::ReplyDiffers(_, answers) => answers,
            Outcome::StateDiffers(text) => format!("  data set differs: {text}"),
            Outcome::Same => String::new(),
        };
        format!("  {} of {original} commands remain:\n    {}\n{answers}", lines.len(), lines.join("\n    "))
    }
}

fn cut(line: &str) -> String {
    if line.len() <= 400 {
        return line.to_owned();
    }
    let at = (0..=400).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    format!("{}... ({} characters)", &line[..at], line.len())
}

/// The command's name and the beginnings of both answers, without numbers.
fn title_of(command: &[Vec<u8>], answers: &str) -> String {
    let name =
        command.first().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).unwrap_or_default();
    let heads: Vec<String> =
        answers.lines().map(|line| generalise(line.trim_start()).chars().take(34).collect()).collect();
    format!("{name}: {}", heads.join(" / "))
}

fn generalise(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).take(60).collect()
}

/// What COMMAND LIST names, in lower case; subcommands as `container|sub`.
pub fn listed_commands(server: &Server) -> BTreeSet<String> {
    match server.connect().ask("COMMAND LIST") {
        Value::Array(names) => names.iter().map(|name| name.text().to_ascii_lowercase()).collect(),
        other => panic!("{}: COMMAND LIST answered {other}", server.label),
    }
}

/// The name under which COMMAND LIST would show a command: `get`, or `client|kill` for a subcommand of a container.
pub fn listed_name(command: &[Vec<u8>], reference: &BTreeSet<String>) -> String {
    let word = |index: usize| {
        command.get(index).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default()
    };
    let with_sub = format!("{}|{}", word(0), word(1));
    if reference.contains(&with_sub) { with_sub } else { word(0) }
}
