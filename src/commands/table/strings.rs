//! String commands.

use crate::commands::Handler;
use crate::commands::spec::*;
use crate::commands::strings;

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("append", 3, Group::String, "2.0.0")
        .summary("Adds text to the end of a string, creating the key if needed.")
        .complexity("O(1) amortized")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | INSERT, 1)])
        .arguments(&[key("key", 0), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::edit::append)),
    command("decr", 2, Group::String, "1.0.0")
        .summary("Subtracts one from an integer value.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::counter::decr)),
    command("decrby", 3, Group::String, "1.0.0")
        .summary("Subtracts a given amount from an integer value.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("decrement")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::counter::decrby)),
    command("delifeq", 3, Group::String, "9.0.0")
        .summary("Deletes a key if its string equals the given value.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RM | DELETE, 1)])
        .arguments(&[key("key", 0), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::delifeq)),
    command("get", 2, Group::String, "1.0.0")
        .summary("Reads a string.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::get)),
    command("getdel", 2, Group::String, "6.2.0")
        .summary("Reads a string and deletes the key.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | DELETE, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::getdel)),
    command("getex", -2, Group::String, "6.2.0")
        .summary("Reads a string and changes or clears its expiry.")
        .complexity("O(1)")
        .flags(WRITE | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1).notes("RW and update: the expiry may change")])
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
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::getex)),
    command("getrange", 4, Group::String, "2.4.0")
        .summary("Reads part of a string.")
        .complexity("O(N), N being the length of the part")
        .flags(READONLY)
        .acl(Categories::STRING)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), integer("start"), integer("end")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::getrange)),
    command("getset", 3, Group::String, "1.0.0")
        .summary("Replaces a string and returns the old one.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::set::getset)),
    command("incr", 2, Group::String, "1.0.0")
        .summary("Adds one to an integer value.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::counter::incr)),
    command("incrby", 3, Group::String, "1.0.0")
        .summary("Adds a given amount to an integer value.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("increment")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::counter::incrby)),
    command("incrbyfloat", 3, Group::String, "2.6.0")
        .summary("Adds a given amount to a floating-point value.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE, 1)])
        .arguments(&[key("key", 0), double("increment")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::counter::incrbyfloat)),
    command("lcs", -3, Group::String, "7.0.0")
        .summary("Computes the longest common subsequence of two strings.")
        .complexity("O(N*M), N and M being the lengths of the strings")
        .flags(READONLY)
        .acl(Categories::STRING)
        .keys(&[index_range(RO | ACCESS, 1, 1, 1)])
        .arguments(&[
            key("key1", 0),
            key("key2", 0),
            keyword("len", "LEN").optional(),
            keyword("idx", "IDX").optional(),
            integer("min-match-len").token("MINMATCHLEN").optional(),
            keyword("withmatchlen", "WITHMATCHLEN").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::lcs::lcs)),
    command("mget", -2, Group::String, "1.0.0")
        .summary("Reads several strings at once.")
        .complexity("O(N), N being the number of keys")
        .flags(READONLY | FAST)
        .acl(Categories::STRING)
        .keys(&[index_range(RO | ACCESS, 1, -1, 1)])
        .tips(&["request_policy:multi_shard"])
        .arguments(&[key("key", 0).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::mget)),
    command("mset", -3, Group::String, "1.0.1")
        .summary("Writes several strings at once.")
        .complexity("O(N), N being the number of keys")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STRING)
        .keys(&[index_range(OW | UPDATE, 1, -1, 2)])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .arguments(&[block("data", &[key("key", 0), string("value")]).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::many::mset)),
    command("msetex", -4, Group::String, "9.1.0")
        .summary("Writes several strings at once, with a shared condition and expiry.")
        .complexity("O(N), N being the number of keys")
        .flags(WRITE | DENYOOM | MOVABLEKEYS)
        .acl(Categories::STRING)
        .keys(&[counted_keys(OW | UPDATE, 1, 2)])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .arguments(&[
            integer("numkeys"),
            block("data", &[key("key", 0), string("value")]).multiple(),
            one_of("condition", &[keyword("nx", "NX"), keyword("xx", "XX")]).optional(),
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
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::many::msetex)),
    command("msetnx", -3, Group::String, "1.0.1")
        .summary("Writes several strings at once if none of the keys exists.")
        .complexity("O(N), N being the number of keys")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STRING)
        .keys(&[index_range(OW | INSERT, 1, -1, 2)])
        .arguments(&[block("data", &[key("key", 0), string("value")]).multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::many::msetnx)),
    command("psetex", 4, Group::String, "2.6.0")
        .summary("Writes a string with an expiry in milliseconds.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STRING)
        .keys(&[index_key(OW | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("milliseconds"), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::set::psetex)),
    command("set", -3, Group::String, "1.0.0")
        .summary("Writes a string, whatever the key held before.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | ACCESS | UPDATE | VARIABLE_FLAGS, 1)
            .notes("RW and access: with GET the old value is returned")])
        .history(&[
            ("2.6.12", "`EX`, `PX`, `NX` and `XX`."),
            ("6.0.0", "`KEEPTTL`."),
            ("6.2.0", "`GET`, `EXAT` and `PXAT`."),
            ("7.0.0", "`NX` works together with `GET`."),
            ("8.1.0", "`IFEQ`."),
        ])
        .arguments(&[
            key("key", 0),
            string("value"),
            one_of(
                "condition",
                &[
                    keyword("nx", "NX").since("2.6.12"),
                    keyword("xx", "XX").since("2.6.12"),
                    string("comparison-value")
                        .token("IFEQ")
                        .summary("Only if the key holds this value.")
                        .since("8.1.0"),
                ],
            )
            .optional(),
            keyword("get", "GET").since("6.2.0").optional(),
            one_of(
                "expiration",
                &[
                    integer("seconds").token("EX").since("2.6.12"),
                    integer("milliseconds").token("PX").since("2.6.12"),
                    unix_time("unix-time-seconds").token("EXAT").since("6.2.0"),
                    unix_time("unix-time-milliseconds").token("PXAT").since("6.2.0"),
                    keyword("keepttl", "KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::set::set)),
    command("setex", 4, Group::String, "2.0.0")
        .summary("Writes a string with an expiry in seconds.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STRING)
        .keys(&[index_key(OW | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("seconds"), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::set::setex)),
    command("setnx", 3, Group::String, "1.0.0")
        .summary("Writes a string if the key does not exist.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(OW | INSERT, 1)])
        .arguments(&[key("key", 0), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::set::setnx)),
    command("setrange", 4, Group::String, "2.2.0")
        .summary("Overwrites part of a string from an offset on.")
        .complexity("O(1), or O(M) for a long value of length M")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STRING)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[key("key", 0), integer("offset"), string("value")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::edit::setrange)),
    command("strlen", 2, Group::String, "2.2.0")
        .summary("Tells the length of a string.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::STRING)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::strlen)),
    command("substr", 4, Group::String, "1.0.0")
        .summary("Reads part of a string; the old name of GETRANGE.")
        .complexity("O(N), N being the length of the part")
        .flags(READONLY)
        .acl(Categories::STRING)
        .keys(&[index_key(RO | ACCESS, 1)])
        .arguments(&[key("key", 0), integer("start"), integer("end")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(strings::read::getrange)),
];
