//! One scenario on several servers: the reference and Skuld with one and with several workers. What a scenario sees of
//! a server is text, so that it reads like the specification: replies, events (`expired:k`), propagated commands
//! (`UNLINK k`).

use std::time::{Duration, Instant};

use super::client::Client;
use super::effects::{EventListener, appended, command_of, comparable};
use super::parity::Command;
use super::resp::Value;
use super::server::{Launch, Server, reference_binary, testing_the_reference};
use super::text::{escape, split};

/// How long a scenario waits for something to happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// From now to a deadline that is still to come when a command sets it, milliseconds.
pub const LEAD_MS: i64 = 80;

/// Who sends a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// An ordinary client.
    Client,
    /// A second one, which scenarios of import mode make the import source.
    Source,
    /// The one that changes settings and reads INFO.
    Admin,
}

/// A server with what scenarios need around it.
pub struct Rig {
    pub server: Server,
    /// Whether it is the real Valkey.
    pub is_reference: bool,
    client: Client,
    source: Client,
    admin: Client,
    listener: Option<EventListener>,
    seen: usize,
}

/// Runs a scenario on the reference (if there is one) and on ours.
pub fn on_all(options: &[(&str, &str)], scenario: impl Fn(&mut Rig)) {
    if let Some(binary) = reference_binary("the scenario")
        && !testing_the_reference()
    {
        let launch = Launch::reference(&binary)
            .option("appendonly", "yes")
            .option("aof-use-rdb-preamble", "no")
            .option("appendfsync", "no");
        scenario(&mut Rig::start(launch, options, true));
    }
    on_ours(options, scenario);
}

/// Runs a scenario on ours alone: where we differ on purpose.
pub fn on_ours(options: &[(&str, &str)], scenario: impl Fn(&mut Rig)) {
    for workers in [1, 3] {
        scenario(&mut Rig::start(Launch::skuld(workers), options, false));
    }
}

impl Rig {
    fn start(launch: Launch, options: &[(&str, &str)], is_reference: bool) -> Self {
        let launch = options.iter().fold(launch, |launch, (name, value)| launch.option(name, value));
        let server = launch.start();
        println!("-- {}", server.label);
        let mut rig = Rig {
            client: server.connect(),
            source: server.connect(),
            admin: server.connect(),
            server,
            is_reference,
            listener: None,
            seen: 0,
        };
        if !is_reference {
            // The first look is what starts the recording.
            rig.effects();
            rig.events();
        }
        rig
    }

    /// One of the connections.
    pub fn connection(&mut self, who: Who) -> &mut Client {
        match who {
            Who::Client => &mut self.client,
            Who::Source => &mut self.source,
            Who::Admin => &mut self.admin,
        }
    }

    /// The reply to a command line in the syntax of redis-cli.
    pub fn by(&mut self, who: Who, line: &str) -> String {
        let words = split(line).unwrap_or_else(|problem| panic!("{line}: {problem}"));
        match self.connection(who).call(&words) {
            Ok(frame) => show(&frame.value),
            Err(none) => panic!("{line}: {none}\n{}", self.server.log_tail()),
        }
    }

    /// The reply to the ordinary client.
    pub fn ask(&mut self, line: &str) -> String {
        self.by(Who::Client, line)
    }

    /// Checks a reply to the ordinary client.
    #[track_caller]
    pub fn expect(&mut self, line: &str, reply: &str) {
        self.expect_by(Who::Client, line, reply);
    }

    /// Checks a reply.
    #[track_caller]
    pub fn expect_by(&mut self, who: Who, line: &str, reply: &str) {
        let label = self.server.label;
        assert_eq!(self.by(who, line), reply, "{label}: {who:?}: {line}");
    }

    /// Checks several replies to the ordinary client, each line `command => reply`.
    #[track_caller]
    pub fn script(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (who, line) = match line.split_once(": ") {
                Some(("S", rest)) => (Who::Source, rest),
                Some(("A", rest)) => (Who::Admin, rest),
                Some(("N", rest)) => (Who::Client, rest),
                _ => (Who::Client, line),
            };
            let (command, reply) = line.split_once(" => ").unwrap_or((line, "OK"));
            self.expect_by(who, command.trim(), reply.trim());
        }
    }

    /// A setting.
    #[track_caller]
    pub fn set(&mut self, settings: &str) {
        self.expect_by(Who::Admin, &format!("CONFIG SET {settings}"), "OK");
    }

    /// Keys that expire stay until somebody asks for them.
    pub fn stop_active_expiry(&mut self) {
        self.expect_by(Who::Admin, "DEBUG SET-ACTIVE-EXPIRE 0", "OK");
    }

    /// The text of a line of INFO.
    #[track_caller]
    pub fn info(&mut self, name: &str) -> String {
        let all = self.by(Who::Admin, "INFO everything");
        let prefix = format!("{name}:");
        let line = all.split("\\r\\n").find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {all}")).to_owned()
    }

    /// The number of a line of INFO.
    #[track_caller]
    pub fn number(&mut self, name: &str) -> u64 {
        self.info(name).parse().unwrap_or_else(|_| panic!("{name} is no whole number"))
    }

    /// What a line of INFO keyspace says of database 0.
    pub fn keyspace(&mut self, field: &str) -> u64 {
        let all = self.by(Who::Admin, "INFO keyspace");
        let line = all.split("\\r\\n").find_map(|line| line.strip_prefix("db0:")).unwrap_or("");
        let value = line.split(',').find_map(|pair| pair.strip_prefix(&format!("{field}=")));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// The events since the last call, as `event:key`, with `db/` in front unless the database is 0. The first call
    /// begins to listen.
    pub fn events(&mut self) -> Vec<String> {
        let events = match (&mut self.listener, self.is_reference) {
            (None, true) => {
                self.listener = Some(EventListener::new(self.server.connect()));
                Vec::new()
            }
            (Some(listener), _) => listener.drain(&mut self.admin),
            (None, false) => {
                let value = self.admin.ask("ACTOR EVENTS");
                value.items().iter().filter_map(|event| event.bytes().map(<[u8]>::to_vec)).collect()
            }
        };
        let text = events.iter().map(|event| escape(event));
        text.map(|event| {
            let (db, rest) = event.split_once(':').expect("database first");
            if db == "0" { rest.to_owned() } else { format!("{db}/{rest}") }
        })
        .collect()
    }

    /// The commands propagated since the last call, SELECT left out.
    pub fn effects(&mut self) -> Vec<String> {
        let effects: Vec<Command> = if self.is_reference {
            // Writing the file comes before the reply to whatever is asked after the effect.
            self.admin.ask("PING");
            appended(&self.server.dir().join("appendonlydir"), &mut self.seen)
        } else {
            self.admin.ask("ACTOR EFFECTS").items().iter().map(command_of).collect()
        };
        effects.iter().filter(|effect| !effect[0].eq_ignore_ascii_case(b"SELECT")).map(comparable).collect()
    }

    /// Forgets events and effects so far.
    pub fn forget(&mut self) {
        self.events();
        self.effects();
    }

    /// Checks the effects since the last look.
    #[track_caller]
    pub fn expect_effects(&mut self, expected: &[&str]) {
        let label = self.server.label;
        assert_eq!(self.effects(), expected, "{label}: effects");
    }

    /// Checks the events since the last look.
    #[track_caller]
    pub fn expect_events(&mut self, expected: &[&str]) {
        let label = self.server.label;
        assert_eq!(self.events(), expected, "{label}: events");
    }

    /// The server's clock, Unix milliseconds.
    pub fn now_ms(&mut self) -> i64 {
        let value = self.admin.ask("TIME");
        let part = |at: usize| value.items()[at].text().parse::<i64>().expect("a number");
        part(0) * 1000 + part(1) / 1000
    }

    /// Waits until the server's clock is past a moment.
    pub fn wait_past(&mut self, unix_ms: i64) {
        while self.now_ms() <= unix_ms {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Gives each of these keys a deadline and waits until it is over.
    #[track_caller]
    pub fn expire(&mut self, keys: &[&str]) {
        // Far enough that a busy machine does not make it a deadline of the past.
        let deadline = self.now_ms() + LEAD_MS;
        for key in keys {
            self.expect_by(Who::Admin, &format!("PEXPIREAT {key} {deadline}"), "1");
        }
        self.wait_past(deadline);
    }

    /// Waits for something to become true.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let label = self.server.label;
            assert!(Instant::now() < deadline, "{label}: waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Whether the server knows a command.
    pub fn knows(&mut self, command: &str) -> bool {
        self.by(Who::Admin, &format!("COMMAND INFO {command}")) != "[nil]"
    }
}

/// A reply as text: `OK`, `1`, `nil`, `[a b]`, an error as it is.
pub fn show(value: &Value) -> String {
    match value {
        Value::Simple(text) | Value::Error(text) | Value::Bulk(text) | Value::Double(text) => escape(text),
        Value::Verbatim(_, text) => escape(text),
        Value::Integer(number) => number.to_string(),
        Value::NullBulk | Value::NullArray | Value::Null => "nil".to_owned(),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}
