//! Hash commands.

use crate::commands::spec::*;
use crate::commands::{Handler, hash};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("hdel", -3, Group::Hash, "2.0.0")
        .summary("Removes fields of a hash.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | DELETE, 1)])
        .history(&[("2.4.0", "Takes several fields.")])
        .arguments(&[key("key", 0), string("field").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::edit::hdel)),
    command("hexists", 3, Group::Hash, "2.0.0")
        .summary("Tells whether a hash has a field.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0), string("field")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hexists)),
    command("hexpire", -6, Group::Hash, "9.0.0")
        .summary("Sets the time to live of fields in seconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[
            key("key", 0),
            integer("seconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .optional(),
            block("fields", &[integer("numfields"), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hexpire)),
    command("hexpireat", -6, Group::Hash, "9.0.0")
        .summary("Sets the expiry of fields to a Unix time in seconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[
            key("key", 0),
            integer("unix-time-seconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("9.0.0")
            .optional(),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hexpireat)),
    command("hexpiretime", -5, Group::Hash, "9.0.0")
        .summary("Tells the expiry of fields as Unix times in seconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hexpiretime)),
    command("hget", 3, Group::Hash, "2.0.0")
        .summary("Reads a field of a hash.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("field")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hget)),
    command("hgetall", 2, Group::Hash, "2.0.0")
        .summary("Lists all fields and values.")
        .complexity("O(N), N being the size of the hash")
        .flags(READONLY)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output_order"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hgetall)),
    command("hgetdel", -5, Group::Hash, "9.1.0")
        .summary("Reads fields and deletes them.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | ACCESS | DELETE, 1)])
        .arguments(&[
            key("key", 0),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::getex::hgetdel)),
    command("hgetex", -5, Group::Hash, "9.0.0")
        .summary("Reads fields and changes or clears their expiry.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[
            key("key", 0),
            one_of(
                "expiration",
                &[
                    integer("seconds").token("EX"),
                    integer("milliseconds").token("PX"),
                    unix_time("unix-time-seconds").token("EXAT"),
                    unix_time("unix-time-milliseconds").token("PXAT"),
                    keyword("persist", "PERSIST"),
                ],
            )
            .optional(),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::getex::hgetex)),
    command("hincrby", 4, Group::Hash, "2.0.0")
        .summary("Adds a given amount to an integer field.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), string("field"), integer("increment")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::counter::hincrby)),
    command("hincrbyfloat", 4, Group::Hash, "2.6.0")
        .summary("Adds a given amount to a floating-point field.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), string("field"), double("increment")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::counter::hincrbyfloat)),
    command("hkeys", 2, Group::Hash, "2.0.0")
        .summary("Lists the field names.")
        .complexity("O(N), N being the size of the hash")
        .flags(READONLY)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output_order"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hkeys)),
    command("hlen", 2, Group::Hash, "2.0.0")
        .summary("Tells the number of fields.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hlen)),
    command("hmget", -3, Group::Hash, "2.0.0")
        .summary("Reads several fields.")
        .complexity("O(N), N being the number of fields given")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), string("field").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hmget)),
    command("hmset", -4, Group::Hash, "2.0.0")
        .summary("Writes several fields; HSET does the same.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[key("key", 0), block("data", &[string("field"), string("value")]).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::edit::hmset)),
    command("hpersist", -5, Group::Hash, "9.0.0")
        .summary("Removes the expiry of fields.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[
            key("key", 0),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hpersist)),
    command("hpexpire", -6, Group::Hash, "9.0.0")
        .summary("Sets the time to live of fields in milliseconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[
            key("key", 0),
            integer("milliseconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("9.0.0")
            .optional(),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hpexpire)),
    command("hpexpireat", -6, Group::Hash, "9.0.0")
        .summary("Sets the expiry of fields to a Unix time in milliseconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[
            key("key", 0),
            integer("unix-time-milliseconds"),
            one_of(
                "condition",
                &[keyword("nx", "NX"), keyword("xx", "XX"), keyword("gt", "GT"), keyword("lt", "LT")],
            )
            .since("9.0.0")
            .optional(),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hpexpireat)),
    command("hpexpiretime", -5, Group::Hash, "9.0.0")
        .summary("Tells the expiry of fields as Unix times in milliseconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hpexpiretime)),
    command("hpttl", -5, Group::Hash, "9.0.0")
        .summary("Tells the time to live of fields in milliseconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::hpttl)),
    command("hrandfield", -2, Group::Hash, "6.2.0")
        .summary("Returns random fields.")
        .complexity("O(N), N being the number of fields returned")
        .flags(READONLY)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .arguments(&[
            key("key", 0),
            block("options", &[integer("count"), keyword("withvalues", "WITHVALUES").optional()]).optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::random::hrandfield)),
    command("hscan", -3, Group::Hash, "2.8.0")
        .summary("Walks through a hash step by step.")
        .complexity("O(1) for each call, O(N) for a whole walk over N fields")
        .flags(READONLY)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .arguments(&[
            key("key", 0),
            integer("cursor"),
            pattern("pattern").token("MATCH").optional(),
            integer("count").token("COUNT").optional(),
            keyword("novalues", "NOVALUES").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hscan)),
    command("hset", -4, Group::Hash, "2.0.0")
        .summary("Writes fields of a hash, creating the key if needed.")
        .complexity("O(1) for each field")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("4.0.0", "Takes several fields.")])
        .arguments(&[key("key", 0), block("data", &[string("field"), string("value")]).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::edit::hset)),
    command("hsetex", -6, Group::Hash, "9.0.0")
        .summary("Writes fields with a shared condition and expiry.")
        .complexity("O(N), N being the number of fields given")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | INSERT, 1)])
        .arguments(&[
            key("key", 0),
            one_of("key-condition", &[keyword("nx", "NX"), keyword("xx", "XX")]).optional(),
            one_of("fields-condition", &[keyword("fnx", "FNX"), keyword("fxx", "FXX")]).optional(),
            one_of(
                "expiration",
                &[
                    integer("seconds").token("EX"),
                    integer("milliseconds").token("PX"),
                    unix_time("unix-time-seconds").token("EXAT"),
                    unix_time("unix-time-milliseconds").token("PXAT"),
                    keyword("keepttl", "KEEPTTL"),
                ],
            )
            .optional(),
            block(
                "fields",
                &[
                    integer("numfields").key_spec(0),
                    block("data", &[string("field"), string("value")]).multiple(),
                ],
            )
            .token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::setex::hsetex)),
    command("hsetnx", 4, Group::Hash, "2.0.0")
        .summary("Writes a field if the hash does not have it.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RW | INSERT, 1)])
        .arguments(&[key("key", 0), string("field"), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::edit::hsetnx)),
    command("hstrlen", 3, Group::Hash, "3.2.0")
        .summary("Tells the length of a field's value.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0), string("field")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hstrlen)),
    command("httl", -5, Group::Hash, "9.0.0")
        .summary("Tells the time to live of fields in seconds.")
        .complexity("O(N), N being the number of fields given")
        .flags(READONLY | FAST)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[
            key("key", 0),
            block("fields", &[integer("numfields").key_spec(0), string("field").multiple()]).token("FIELDS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::deadline::httl)),
    command("hvals", 2, Group::Hash, "2.0.0")
        .summary("Lists the values.")
        .complexity("O(N), N being the size of the hash")
        .flags(READONLY)
        .acl(Categories::HASH)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output_order"])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(hash::read::hvals)),
];
