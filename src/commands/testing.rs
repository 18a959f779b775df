//! Runs engine commands in tests and fuzz targets, without a server: replies as text, effects as lists.

use super::context::Context;
use super::spec::ARBITRARY_KEYS;
use super::{Command, Handler, table};
use crate::config::Config;
use crate::effects::{Effects, Grouping};
use crate::expiry::rules::Situation;
use crate::keyspace::{Access, ExpiryRules, Keyspace, Part, Touch};
use crate::resp::Reply;
use crate::rng::Rng;
use crate::session::Session;

/// A keyspace with one client.
pub struct Bench {
    pub keyspace: Keyspace,
    pub effects: Effects,
    pub session: Session,
    pub config: Config,
    pub acl: crate::acl::Acl,
    pub rng: Rng,
    /// Unix milliseconds.
    pub now: i64,
    pub rules: ExpiryRules,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// One part; everything is listened to.
    pub fn new() -> Self {
        Self::on(Keyspace::of_shard(Part::new(0, 1)))
    }

    /// As a unit sees it: all parts of `workers` workers.
    pub fn with_workers(workers: u16) -> Self {
        Self::on(Keyspace::of_unit((0..workers).map(|index| Part::new(index, workers)).collect()))
    }

    fn on(keyspace: Keyspace) -> Self {
        let mut effects = Effects::default();
        effects.listening.propagation = true;
        effects.listening.events = u32::MAX;
        effects.listening.modified = true;
        Self {
            keyspace,
            effects,
            session: Session::new(7),
            config: Config::default(),
            acl: crate::acl::Acl::new(),
            rng: Rng::new(1),
            now: 1_000_000,
            rules: Situation::default().rules(),
        }
    }

    /// Runs one command and returns its raw reply as text.
    pub fn run(&mut self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8_lossy(&self.run_bytes(&words)).into_owned()
    }

    /// Runs one command, words separated by blanks.
    pub fn say(&mut self, line: &str) -> String {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs one command and returns its raw reply.
    pub fn run_bytes(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let command = table().resolve(args).expect("tests send commands that exist");
        self.run_command(command, args)
    }

    /// Runs a command that was looked up and returns its raw reply.
    pub fn run_command(&mut self, command: &Command, args: &[&[u8]]) -> Vec<u8> {
        let spec = command.spec;
        let Handler::Engine(function) = spec.handler else { panic!("{} is no engine command", spec.name) };
        let mut reply = Reply::new(self.session.protocol);
        let dirty = self.effects.dirty;
        let db = self.session.db;
        let mut context = Context {
            args,
            spec,
            db: Access {
                keyspace: &mut self.keyspace,
                effects: &mut self.effects,
                db,
                now: self.now,
                rules: self.rules,
                touch: Touch { clock: (self.now / 1000) as u32 & 0xff_ffff, ..Touch::default() },
                lazy_expire: self.config.lazyfree_lazy_expire,
                lazy_server_del: self.config.lazyfree_lazy_server_del,
                client_no_touch: self.session.no_touch,
                hint: None,
            },
            session: &mut self.session,
            reply: &mut reply,
            config: &self.config,
            acl: &self.acl,
            rng: &mut self.rng,
            now_us: self.now * 1000,
            node: None,
            is_replica: false,
        };
        let result = function(&mut context);
        let grouping = if command.flags.has(ARBITRARY_KEYS) { Grouping::Apart } else { Grouping::Together };
        self.effects.finish_command(db, args, dirty);
        self.effects.propagation.close_group(grouping);
        if let Err(error) = result {
            reply.truncate(0);
            error.write_to(&mut reply);
        }
        reply.into_bytes()
    }

    /// The commands propagated since the last call, as `db:WORD word`.
    pub fn stream(&mut self) -> Vec<String> {
        let text = |command: &[u8]| {
            let lines: Vec<String> =
                String::from_utf8_lossy(command).split("\r\n").map(str::to_string).collect();
            lines.iter().skip(2).step_by(2).cloned().collect::<Vec<_>>().join(" ")
        };
        let all =
            self.effects.propagation.iter().map(|(db, command)| format!("{db}:{}", text(command))).collect();
        self.effects.propagation.clear();
        all
    }

    /// The events since the last call, as `db:name key`.
    pub fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects.events)
            .iter()
            .map(|event| format!("{}:{} {}", event.db, event.name, String::from_utf8_lossy(&event.key)))
            .collect()
    }

    /// The modified keys since the last call, as `db:key`.
    pub fn modified(&mut self) -> Vec<String> {
        std::mem::take(&mut self.effects.modified)
            .iter()
            .map(|m| format!("{}:{}", m.db, String::from_utf8_lossy(&m.key)))
            .collect()
    }

    /// Adds a string, without effects.
    pub fn put(&mut self, db: u32, key: &str, value: &str, expiry: Option<i64>) {
        use crate::keyspace::{NewValue, StringKind};
        let mut silent = Effects::default();
        let mut access = Access {
            keyspace: &mut self.keyspace,
            effects: &mut silent,
            db,
            now: self.now,
            rules: self.rules,
            touch: Touch::default(),
            lazy_expire: true,
            lazy_server_del: true,
            client_no_touch: true,
            hint: None,
        };
        access.insert(key.as_bytes(), NewValue::Str(value.as_bytes(), StringKind::Embstr), expiry);
    }
}

impl Bench {
    /// Runs commands and compares their effects. Each line is `command | changes | propagated; ... | event key; ...`,
    /// all in database 0; `NOW` stands for the bench's time. The lines are recorded from Valkey's append-only file,
    /// events and `rdb_changes_since_last_save`.
    pub fn check_effects(&mut self, golden: &str) {
        for line in golden.lines().filter(|line| !line.trim().is_empty()) {
            let line = line.trim().replace("NOW", &self.now.to_string());
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [command, changes, propagated, events] = parts[..] else { panic!("four parts: {line}") };
            let dirty = self.effects.dirty;
            let reply = self.say(command);
            let changed = self.effects.dirty - dirty;
            let without_db = |list: Vec<String>| {
                let list: Vec<&str> =
                    list.iter().map(|text| text.strip_prefix("0:").expect("database 0")).collect();
                list.join("; ")
            };
            let found = (changed.to_string(), without_db(self.stream()), without_db(self.events()));
            assert_eq!(
                found,
                (changes.to_owned(), propagated.to_owned(), events.to_owned()),
                "{command}: {reply}"
            );
        }
    }
}
