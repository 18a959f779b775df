//! Commands on keys of any type.

use crate::commands::generic::{copy, delete, dump, expire, object, rename, scan};
use crate::commands::spec::*;
use crate::commands::{Handler, help, sort};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("copy", -3, Group::Generic, "6.2.0")
        .summary("Copies a value to another key.")
        .complexity("O(N) for collections of N elements, O(1) for strings")
        .flags(WRITE | DENYOOM)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO | ACCESS, 1), index_key(OW | UPDATE, 2)])
        .arguments(&[
            key("source", 0),
            key("destination", 1),
            integer("destination-db").token("DB").optional(),
            keyword("replace", "REPLACE").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(copy::copy)),
    command("del", -2, Group::Generic, "1.0.0")
        .summary("Deletes keys.")
        .complexity("O(N), N being the number of keys, plus O(M) for each collection of M elements")
        .flags(WRITE)
        .acl(Categories::KEYSPACE)
        .keys(&[index_range(RM | DELETE, 1, -1, 1)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(delete::del)),
    command("dump", 2, Group::Generic, "2.6.0")
        .summary("Serializes the value of a key.")
        .complexity("O(1) to find the key, then O(N*M) for N parts of average size M")
        .flags(READONLY)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(dump::dump)),
    command("exists", -2, Group::Generic, "1.0.0")
        .summary("Counts which of the given keys exist.")
        .complexity("O(N), N being the number of keys")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_range(RO, 1, -1, 1)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .history(&[("3.0.3", "Takes several keys.")])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(delete::exists)),
    command("expire", -3, Group::Generic, "1.0.0")
        .summary("Sets the time to live of a key in seconds.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("7.0.0", "`NX`, `XX`, `GT` and `LT`.")])
        .arguments(&[
            key("key", 0),
            integer("seconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::expire)),
    command("expireat", -3, Group::Generic, "1.2.0")
        .summary("Sets the expiry of a key to a Unix time in seconds.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("7.0.0", "`NX`, `XX`, `GT` and `LT`.")])
        .arguments(&[
            key("key", 0),
            unix_time("unix-time-seconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::expireat)),
    command("expiretime", 2, Group::Generic, "7.0.0")
        .summary("Tells the expiry of a key as a Unix time in seconds.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::expiretime)),
    command("keys", 2, Group::Generic, "1.0.0")
        .summary("Lists the keys that match a pattern.")
        .complexity("O(N), N being the number of keys in the database")
        .flags(READONLY)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .arguments(&[pattern("pattern")])
        .scope(Scope::AllSlots)
        .handler(Handler::Engine(scan::keys)),
    command("migrate", -6, Group::Generic, "2.6.0")
        .summary("Moves keys to another server in one step.")
        .complexity(
            "The cost of DUMP and DEL here and of RESTORE there, plus O(N) to transfer the \
             data",
        )
        .flags(WRITE | MOVABLEKEYS)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .keys(&[
            index_key(RW | ACCESS | DELETE, 3),
            keyword_keys(RW | ACCESS | DELETE | INCOMPLETE, "KEYS", -2, -1, 0),
        ])
        .tips(&["nondeterministic_output"])
        .history(&[
            ("3.0.0", "`COPY` and `REPLACE`."),
            ("3.0.6", "`KEYS`."),
            ("4.0.7", "`AUTH`."),
            ("6.0.0", "`AUTH2`."),
        ])
        .arguments(&[
            string("host"),
            integer("port"),
            one_of("key-selector", &[key("key", 0), keyword("empty-string", "")]),
            integer("destination-db"),
            integer("timeout"),
            keyword("copy", "COPY").since("3.0.0").optional(),
            keyword("replace", "REPLACE").since("3.0.0").optional(),
            one_of(
                "authentication",
                &[
                    string("auth").token("AUTH").display("password").since("4.0.7"),
                    block("auth2", &[string("username"), string("password")]).token("AUTH2").since("6.0.0"),
                ],
            )
            .optional(),
            key("keys", 1).token("KEYS").display("key").since("3.0.6").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Server),
    command("move", 3, Group::Generic, "1.0.0")
        .summary("Moves a key to another database.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("db")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(rename::move_key)),
    command("object", -2, Group::Generic, "2.2.3")
        .summary("Groups the commands that look inside a value's representation.")
        .complexity("Depends on subcommand.")
        .subcommands(&OBJECT_SUBCOMMANDS)
        .handler(Handler::Container),
    command("persist", 2, Group::Generic, "2.2.0")
        .summary("Removes the expiry of a key.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::persist)),
    command("pexpire", -3, Group::Generic, "2.6.0")
        .summary("Sets the time to live of a key in milliseconds.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("7.0.0", "`NX`, `XX`, `GT` and `LT`.")])
        .arguments(&[
            key("key", 0),
            integer("milliseconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::pexpire)),
    command("pexpireat", -3, Group::Generic, "2.6.0")
        .summary("Sets the expiry of a key to a Unix time in milliseconds.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("7.0.0", "`NX`, `XX`, `GT` and `LT`.")])
        .arguments(&[
            key("key", 0),
            unix_time("unix-time-milliseconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::pexpireat)),
    command("pexpiretime", 2, Group::Generic, "7.0.0")
        .summary("Tells the expiry of a key as a Unix time in milliseconds.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::pexpiretime)),
    command("pttl", 2, Group::Generic, "2.6.0")
        .summary("Tells the time to live of a key in milliseconds.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .history(&[("2.8.0", "Answers -2 for a missing key.")])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::pttl)),
    command("randomkey", 1, Group::Generic, "1.0.0")
        .summary("Picks a key at random.")
        .complexity("O(1)")
        .flags(READONLY | ARBITRARY_KEYS)
        .acl(Categories::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .scope(Scope::AllSlots)
        .handler(Handler::Engine(scan::randomkey)),
    command("rename", 3, Group::Generic, "1.0.0")
        .summary("Renames a key, replacing what the new name held.")
        .complexity("O(1)")
        .flags(WRITE)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | ACCESS | DELETE, 1), index_key(OW | UPDATE, 2)])
        .arguments(&[key("key", 0), key("newkey", 1)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(rename::rename)),
    command("renamenx", 3, Group::Generic, "1.0.0")
        .summary("Renames a key if the new name is free.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RW | ACCESS | DELETE, 1), index_key(OW | INSERT, 2)])
        .history(&[("3.2.0", "Equal names are no error.")])
        .arguments(&[key("key", 0), key("newkey", 1)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(rename::renamenx)),
    command("restore", -4, Group::Generic, "2.6.0")
        .summary("Creates a key from a serialized value.")
        .complexity(
            "O(1) to create the key, then O(N*M) for N parts of average size M; O(N*M*log(N)) \
             for sorted sets",
        )
        .flags(WRITE | DENYOOM)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .keys(&[index_key(OW | UPDATE, 1)])
        .history(&[("3.0.0", "`REPLACE`."), ("5.0.0", "`ABSTTL`."), ("5.0.0", "`IDLETIME` and `FREQ`.")])
        .arguments(&[
            key("key", 0),
            integer("ttl"),
            string("serialized-value"),
            keyword("replace", "REPLACE").since("3.0.0").optional(),
            keyword("absttl", "ABSTTL").since("5.0.0").optional(),
            integer("seconds").token("IDLETIME").since("5.0.0").optional(),
            integer("frequency").token("FREQ").since("5.0.0").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(dump::restore)),
    command("scan", -2, Group::Generic, "2.8.0")
        .summary("Walks through the keys of the database step by step.")
        .complexity("O(1) for each call, O(N) for a whole walk over N keys")
        .flags(READONLY | ARBITRARY_KEYS)
        .acl(Categories::KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .history(&[("6.0.0", "`TYPE`.")])
        .arguments(&[
            integer("cursor"),
            pattern("pattern").token("MATCH").optional(),
            integer("count").token("COUNT").optional(),
            string("type").token("TYPE").since("6.0.0").optional(),
        ])
        .scope(Scope::Cursor)
        .handler(Handler::Engine(scan::scan)),
    command("sort", -2, Group::Generic, "1.0.0")
        .summary("Sorts a list, set or sorted set, and may store the result.")
        .complexity(
            "O(N+M*log(M)), N being the size of the collection and M the number of results; \
             O(N) without sorting",
        )
        .flags(WRITE | DENYOOM | MOVABLEKEYS | ARBITRARY_KEYS)
        .acl(Categories::SET.with(Categories::SORTEDSET).with(Categories::LIST).with(Categories::DANGEROUS))
        .keys(&[
            index_key(RO | ACCESS, 1),
            unknown_keys(RO | ACCESS).notes("BY and GET: these names come from the data that is sorted"),
            unknown_keys(OW | UPDATE).notes("STORE: the word may stand anywhere"),
        ])
        .arguments(&[
            key("key", 0),
            pattern("by-pattern").key_spec(1).token("BY").display("pattern").optional(),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
            pattern("get-pattern")
                .key_spec(1)
                .token("GET")
                .display("pattern")
                .optional()
                .multiple()
                .multiple_token(),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
            keyword("sorting", "ALPHA").optional(),
            key("destination", 2).token("STORE").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(sort::sort)),
    command("sort_ro", -2, Group::Generic, "7.0.0")
        .summary("Sorts a list, set or sorted set.")
        .complexity(
            "O(N+M*log(M)), N being the size of the collection and M the number of results; \
             O(N) without sorting",
        )
        .flags(READONLY | MOVABLEKEYS | ARBITRARY_KEYS)
        .acl(Categories::SET.with(Categories::SORTEDSET).with(Categories::LIST).with(Categories::DANGEROUS))
        .keys(&[
            index_key(RO | ACCESS, 1),
            unknown_keys(RO | ACCESS).notes("BY and GET: these names come from the data that is sorted"),
        ])
        .arguments(&[
            key("key", 0),
            pattern("by-pattern").key_spec(1).token("BY").display("pattern").optional(),
            block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
            pattern("get-pattern")
                .key_spec(1)
                .token("GET")
                .display("pattern")
                .optional()
                .multiple()
                .multiple_token(),
            one_of("order", &[keyword("asc", "ASC"), keyword("desc", "DESC")]).optional(),
            keyword("sorting", "ALPHA").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(sort::sort_ro)),
    command("touch", -2, Group::Generic, "3.2.1")
        .summary("Marks keys as just used and counts those that exist.")
        .complexity("O(N), N being the number of keys")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_range(RO, 1, -1, 1)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(delete::touch)),
    command("ttl", 2, Group::Generic, "1.0.0")
        .summary("Tells the time to live of a key in seconds.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .history(&[("2.8.0", "Answers -2 for a missing key.")])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(expire::ttl)),
    command("type", 2, Group::Generic, "1.0.0")
        .summary("Tells the type of a value.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(delete::type_of)),
    command("unlink", -2, Group::Generic, "4.0.0")
        .summary("Deletes keys and frees their memory in the background.")
        .complexity("O(1) for each key; the memory of N allocations is freed elsewhere in O(N)")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE)
        .keys(&[index_range(RM | DELETE, 1, -1, 1)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(delete::unlink)),
    command("wait", 3, Group::Generic, "3.0.0")
        .summary("Blocks until enough replicas have received the writes of this connection.")
        .complexity("O(1)")
        .flags(BLOCKING)
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .arguments(&[integer("numreplicas"), integer("timeout")])
        .handler(Handler::Server),
    command("waitaof", 4, Group::Generic, "7.2.0")
        .summary(
            "Blocks until the writes of this connection are synced to the append-only files \
             here and on enough replicas.",
        )
        .complexity("O(1)")
        .flags(BLOCKING)
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .arguments(&[integer("numlocal"), integer("numreplicas"), integer("timeout")])
        .handler(Handler::Server),
];

static OBJECT_SUBCOMMANDS: [CommandSpec; 5] = [
    command("object|encoding", 3, Group::Generic, "2.2.3")
        .summary("Tells how a value is represented.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO, 2)])
        .tips(&["nondeterministic_output"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(object::encoding)),
    command("object|freq", 3, Group::Generic, "4.0.0")
        .summary("Tells the logarithmic access counter of a key.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO, 2)])
        .tips(&["nondeterministic_output"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(object::freq)),
    command("object|help", 2, Group::Generic, "6.2.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::KEYSPACE)
        .handler(Handler::Engine(help::command)),
    command("object|idletime", 3, Group::Generic, "2.2.3")
        .summary("Tells for how many seconds a key has not been used.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO, 2)])
        .tips(&["nondeterministic_output"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(object::idletime)),
    command("object|refcount", 3, Group::Generic, "2.2.3")
        .summary("Tells how many references to a value exist.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::KEYSPACE)
        .keys(&[index_key(RO, 2)])
        .tips(&["nondeterministic_output"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(object::refcount)),
];
