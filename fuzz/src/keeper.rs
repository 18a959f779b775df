//! Executes requests on a keyspace in the way a shard does: looked up, checked, run with its effects recorded. What is
//! executed by actors instead of the engine is not.

use skuld::commands::testing::Bench;
use skuld::commands::{Handler, check, table};
use skuld::config::Config;
use skuld::expiry::rules::Situation;
use skuld::resp::Reply;
use skuld::resp::decode::{DecodeLimits, Decoder, Requests};
use skuld::session::ReplyMode;

/// What became of a request.
pub enum Answer {
    /// The bytes of its reply.
    Reply(Vec<u8>),
    /// It is run by actors.
    NotEngine,
}

/// An empty keyspace of `workers` parts, with limits so low that every encoding and every limit is reached soon.
pub fn bench(workers: u16, situation: Situation) -> Bench {
    let mut bench = if workers == 1 { Bench::new() } else { Bench::with_workers(workers) };
    bench.now = 1_700_000_000_000;
    bench.rules = situation.rules();
    bench.config = Config {
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
    bench
}

/// Runs one request, which has at least one word.
pub fn execute(bench: &mut Bench, args: &[&[u8]]) -> Answer {
    let command = match check::admit(table(), args, &bench.session) {
        Ok(command) => command,
        Err((_, error)) => {
            let mut reply = Reply::new(bench.session.protocol);
            error.write_to(&mut reply);
            return Answer::Reply(reply.into_bytes());
        }
    };
    if !matches!(command.spec.handler, Handler::Engine(_)) {
        return Answer::NotEngine;
    }
    let reply = bench.run_command(command, args);
    // Replies are wanted here whatever the client says.
    bench.session.reply_mode = ReplyMode::On;
    Answer::Reply(reply)
}

/// Executes what another keyspace propagated. False if it uses a command that is not built.
pub fn apply(bench: &mut Bench, db: u32, command: &[u8]) -> bool {
    let mut wire = command.to_vec();
    let mut requests = Requests::default();
    let limits = DecodeLimits { bulk_max: i64::MAX, authenticated: true };
    Decoder::default().decode(&mut wire, limits, &mut requests).expect("what is propagated is a request");
    assert_eq!(requests.len(), 1);
    let args: Vec<&[u8]> = requests.args(0).iter().map(|s| &wire[s.start..s.start + s.len]).collect();
    bench.session.db = db;
    if table().resolve(&args).is_err() {
        return false;
    }
    let shown = || String::from_utf8_lossy(command).replace("\r\n", " ");
    match execute(bench, &args) {
        // XADD and XTRIM propagate `~ n LIMIT m` as `= k LIMIT m`, which is valid only from a primary. Commands cannot tell
        // yet that theirs comes from one.
        Answer::Reply(reply) if reply.starts_with(b"-ERR syntax error, LIMIT cannot be used") => false,
        Answer::Reply(reply) => {
            assert!(reply.first() != Some(&b'-'), "{} for {}", String::from_utf8_lossy(&reply), shown());
            true
        }
        Answer::NotEngine => false,
    }
}
