//! Executes requests on a keyspace in the way a shard does: looked up, checked, run with its effects recorded. What is
//! executed by actors instead of the engine is not.

use skuld::commands::context::Context;
use skuld::commands::spec::ARBITRARY_KEYS;
use skuld::commands::{Handler, check, table};
use skuld::config::Config;
use skuld::effects::{Effects, Grouping, class};
use skuld::expiry::rules::Situation;
use skuld::keyspace::{Access, Keyspace, Part, Touch};
use skuld::resp::Reply;
use skuld::resp::decode::{DecodeLimits, Decoder, Requests};
use skuld::rng::Rng;
use skuld::session::{ReplyMode, Session};

/// A keyspace, its one client, and the clock.
pub struct Keeper {
    pub keyspace: Keyspace,
    pub effects: Effects,
    pub session: Session,
    pub config: Config,
    /// Whether requests come from a client or from the primary.
    pub situation: Situation,
    /// Unix milliseconds.
    pub now: i64,
    rng: Rng,
}

/// What became of a request.
pub enum Answer {
    /// The bytes of its reply, which are none after CLIENT REPLY OFF.
    Reply(Vec<u8>),
    /// It is run by actors.
    NotEngine,
}

impl Keeper {
    /// An empty keyspace of `workers` parts, with limits so low that every encoding and every limit is reached soon.
    pub fn new(workers: u16, situation: Situation) -> Self {
        let mut effects = Effects::default();
        effects.listening.propagation = true;
        effects.listening.events = class::ALL | class::KEY_MISS | class::NEW;
        effects.listening.modified = true;
        let parts: Vec<Part> = (0..workers).map(|index| Part::new(index, workers)).collect();
        let config = Config {
            proto_max_bulk_len: 4096,
            hash_max_listpack_entries: 6,
            hash_max_listpack_value: 12,
            zset_max_listpack_entries: 6,
            zset_max_listpack_value: 12,
            set_max_intset_entries: 4,
            set_max_listpack_entries: 6,
            set_max_listpack_value: 12,
            list_max_listpack_size: 4,
            list_compress_depth: 1,
            stream_node_max_entries: 3,
            hll_sparse_max_bytes: 100,
            ..Config::default()
        };
        Self {
            keyspace: if workers == 1 {
                Keyspace::of_shard(Part::new(0, 1))
            } else {
                Keyspace::of_unit(parts)
            },
            effects,
            session: Session::new(7),
            config,
            situation,
            now: 1_700_000_000_000,
            rng: Rng::new(42),
        }
    }

    /// Runs one request, which has at least one word.
    pub fn execute(&mut self, args: &[&[u8]]) -> Answer {
        let mut reply = Reply::new(self.session.protocol);
        let command = match check::admit(table(), args, &self.session) {
            Ok(command) => command,
            Err((_, error)) => {
                error.write_to(&mut reply);
                return Answer::Reply(reply.into_bytes());
            }
        };
        let Handler::Engine(function) = command.spec.handler else { return Answer::NotEngine };
        let (db, dirty) = (self.session.db, self.effects.dirty);
        let mut context = Context {
            args,
            spec: command.spec,
            db: Access {
                keyspace: &mut self.keyspace,
                effects: &mut self.effects,
                db,
                now: self.now,
                rules: self.situation.rules(),
                touch: Touch { clock: (self.now / 1000) as u32 & 0xff_ffff, ..Touch::default() },
                lazy_expire: self.config.lazyfree_lazy_expire,
                client_no_touch: self.session.no_touch,
            },
            session: &mut self.session,
            reply: &mut reply,
            config: &self.config,
            rng: &mut self.rng,
            now_us: self.now * 1000,
        };
        let result = function(&mut context);
        let grouping = if command.flags.has(ARBITRARY_KEYS) { Grouping::Apart } else { Grouping::Together };
        self.effects.finish_command(db, args, dirty, grouping);
        if let Err(error) = result {
            reply.truncate(0);
            error.write_to(&mut reply);
        }
        // Replies are wanted here whatever the client says.
        self.session.reply_mode = ReplyMode::On;
        Answer::Reply(reply.into_bytes())
    }

    /// Takes over what another keyspace propagated. False if it uses a command that is not built.
    pub fn apply(&mut self, db: u32, command: &[u8]) -> bool {
        let mut wire = command.to_vec();
        let mut requests = Requests::default();
        let limits = DecodeLimits { bulk_max: i64::MAX, authenticated: true };
        Decoder::default().decode(&mut wire, limits, &mut requests).expect("what is propagated is a request");
        assert_eq!(requests.len(), 1);
        let args: Vec<&[u8]> = requests.args(0).iter().map(|s| &wire[s.start..s.start + s.len]).collect();
        self.session.db = db;
        if table().resolve(&args).is_err() {
            return false;
        }
        let shown = || String::from_utf8_lossy(command).replace("\r\n", " ");
        match self.execute(&args) {
            Answer::Reply(reply) => {
                assert!(reply.first() != Some(&b'-'), "{} for {}", String::from_utf8_lossy(&reply), shown());
                true
            }
            Answer::NotEngine => false,
        }
    }
}
