//! Stream commands.

use crate::commands::spec::*;
use crate::commands::{Handler, help, stream};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("xack", -4, Group::Stream, "5.0.0")
        .summary("Marks stream entries as processed by a consumer group.")
        .complexity("O(1) for each ID")
        .flags(WRITE | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | UPDATE, 1)])
        .arguments(&[key("key", 0), string("group"), string("id").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::group::xack)),
    command("xadd", -5, Group::Stream, "5.0.0")
        .summary("Appends an entry to a stream, creating the key if needed.")
        .complexity("O(1), or O(N) when trimming N entries")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | UPDATE, 1).notes("update, not insert: the stream may be trimmed")])
        .tips(&["nondeterministic_output"])
        .history(&[("6.2.0", "`NOMKSTREAM`, `MINID` and `LIMIT`."), ("7.0.0", "IDs of the form `<ms>-*`.")])
        .arguments(&[
            key("key", 0),
            keyword("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
            block(
                "trim",
                &[
                    one_of(
                        "strategy",
                        &[keyword("maxlen", "MAXLEN"), keyword("minid", "MINID").since("6.2.0")],
                    ),
                    one_of("operator", &[keyword("equal", "="), keyword("approximately", "~")]).optional(),
                    string("threshold"),
                    integer("count").token("LIMIT").since("6.2.0").optional(),
                ],
            )
            .optional(),
            one_of("id-selector", &[keyword("auto-id", "*"), string("id")]),
            block("data", &[string("field"), string("value")]).multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::add::xadd)),
    command("xautoclaim", -6, Group::Stream, "6.2.0")
        .summary("Takes over pending entries that have been idle for a while.")
        .complexity("O(1) with a small COUNT")
        .flags(WRITE | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | DELETE, 1)])
        .tips(&["nondeterministic_output"])
        .history(&[("7.0.0", "The reply lists pending entries that no longer exist.")])
        .arguments(&[
            key("key", 0),
            string("group"),
            string("consumer"),
            string("min-idle-time"),
            string("start"),
            integer("count").token("COUNT").optional(),
            keyword("justid", "JUSTID").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::claim::xautoclaim)),
    command("xclaim", -6, Group::Stream, "5.0.0")
        .summary("Takes over given pending entries.")
        .complexity("O(log N), N being the number of pending entries of the group")
        .flags(WRITE | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | UPDATE, 1)])
        .tips(&["nondeterministic_output"])
        .arguments(&[
            key("key", 0),
            string("group"),
            string("consumer"),
            string("min-idle-time"),
            string("id").multiple(),
            integer("ms").token("IDLE").optional(),
            unix_time("unix-time-milliseconds").token("TIME").optional(),
            integer("count").token("RETRYCOUNT").optional(),
            keyword("force", "FORCE").optional(),
            keyword("justid", "JUSTID").optional(),
            string("lastid").token("LASTID").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::claim::xclaim)),
    command("xdel", -3, Group::Stream, "5.0.0")
        .summary("Deletes entries of a stream.")
        .complexity("O(1) for each entry")
        .flags(WRITE | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | DELETE, 1)])
        .arguments(&[key("key", 0), string("id").multiple()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::edit::xdel)),
    command("xgroup", -2, Group::Stream, "5.0.0")
        .summary("Groups the commands that manage consumer groups.")
        .complexity("Depends on subcommand.")
        .subcommands(&XGROUP_SUBCOMMANDS)
        .handler(Handler::Container),
    command("xinfo", -2, Group::Stream, "5.0.0")
        .summary("Groups the commands that describe streams.")
        .complexity("Depends on subcommand.")
        .subcommands(&XINFO_SUBCOMMANDS)
        .handler(Handler::Container),
    command("xlen", 2, Group::Stream, "5.0.0")
        .summary("Tells the number of entries.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO, 1)])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::range::xlen)),
    command("xpending", -3, Group::Stream, "5.0.0")
        .summary("Shows entries that were delivered but not acknowledged.")
        .complexity(
            "O(N), N being the number of entries returned; with IDLE O(M), M being the number \
             of entries examined; the summary form O(N) over the consumers",
        )
        .flags(READONLY)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO | ACCESS, 1)])
        .tips(&["nondeterministic_output"])
        .history(&[("6.2.0", "`IDLE` and exclusive ranges.")])
        .arguments(&[
            key("key", 0),
            string("group"),
            block(
                "filters",
                &[
                    integer("min-idle-time").token("IDLE").since("6.2.0").optional(),
                    string("start"),
                    string("end"),
                    integer("count"),
                    string("consumer").optional(),
                ],
            )
            .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::pending::xpending)),
    command("xrange", -4, Group::Stream, "5.0.0")
        .summary("Reads the entries within a range of IDs.")
        .complexity("O(N), N being the number of entries returned")
        .flags(READONLY)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("6.2.0", "Exclusive ranges.")])
        .arguments(&[
            key("key", 0),
            string("start"),
            string("end"),
            integer("count").token("COUNT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::range::xrange)),
    command("xread", -4, Group::Stream, "5.0.0")
        .summary("Reads new entries of several streams, waiting for some if asked to.")
        .flags(READONLY | BLOCKING | MOVABLEKEYS)
        .acl(Categories::STREAM)
        .keys(&[keyword_keys(RO | ACCESS, "STREAMS", 1, -1, 2)])
        .arguments(&[
            integer("count").token("COUNT").optional(),
            integer("milliseconds").token("BLOCK").optional(),
            block("streams", &[key("key", 0).multiple(), string("id").multiple()]).token("STREAMS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::read::xread)),
    command("xreadgroup", -7, Group::Stream, "5.0.0")
        .summary(
            "Reads entries of several streams as a member of a consumer group, waiting for \
             some if asked to.",
        )
        .complexity(
            "O(M) for each stream, M being the number of entries returned; when it waits, \
             XADD pays O(N) to serve N waiting clients",
        )
        .flags(WRITE | BLOCKING | MOVABLEKEYS)
        .acl(Categories::STREAM)
        .keys(&[keyword_keys(RO | ACCESS, "STREAMS", 4, -1, 2)])
        .arguments(&[
            block("group-block", &[string("group"), string("consumer")]).token("GROUP"),
            integer("count").token("COUNT").optional(),
            integer("milliseconds").token("BLOCK").optional(),
            keyword("noack", "NOACK").optional(),
            block("streams", &[key("key", 0).multiple(), string("id").multiple()]).token("STREAMS"),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::read::xreadgroup)),
    command("xrevrange", -4, Group::Stream, "5.0.0")
        .summary("Reads the entries within a range of IDs, newest first.")
        .complexity("O(N), N being the number of entries returned")
        .flags(READONLY)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO | ACCESS, 1)])
        .history(&[("6.2.0", "Exclusive ranges.")])
        .arguments(&[
            key("key", 0),
            string("end"),
            string("start"),
            integer("count").token("COUNT").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::range::xrevrange)),
    command("xsetid", -3, Group::Stream, "5.0.0")
        .summary("Sets the last ID of a stream; used by replication.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM | FAST)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | UPDATE, 1)])
        .history(&[("7.0.0", "`entries_added` and `max_deleted_entry_id`.")])
        .arguments(&[
            key("key", 0),
            string("last-id"),
            integer("entries-added").token("ENTRIESADDED").since("7.0.0").optional(),
            string("max-deleted-id").token("MAXDELETEDID").since("7.0.0").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::edit::xsetid)),
    command("xtrim", -4, Group::Stream, "5.0.0")
        .summary("Removes the oldest entries of a stream.")
        .complexity("O(N), N being the number of entries removed, with a small constant")
        .flags(WRITE)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | DELETE, 1)])
        .tips(&["nondeterministic_output"])
        .history(&[("6.2.0", "`MINID` and `LIMIT`.")])
        .arguments(&[
            key("key", 0),
            block(
                "trim",
                &[
                    one_of(
                        "strategy",
                        &[keyword("maxlen", "MAXLEN"), keyword("minid", "MINID").since("6.2.0")],
                    ),
                    one_of("operator", &[keyword("equal", "="), keyword("approximately", "~")]).optional(),
                    string("threshold"),
                    integer("count").token("LIMIT").since("6.2.0").optional(),
                ],
            ),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::trimming::xtrim)),
];

static XGROUP_SUBCOMMANDS: [CommandSpec; 6] = [
    command("xgroup|create", -5, Group::Stream, "5.0.0")
        .summary("Creates a consumer group.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | INSERT, 2)])
        .history(&[("7.0.0", "`entries_read`.")])
        .arguments(&[
            key("key", 0),
            string("group"),
            one_of("id-selector", &[string("id"), keyword("new-id", "$")]),
            keyword("mkstream", "MKSTREAM").optional(),
            integer("entriesread").token("ENTRIESREAD").display("entries-read").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::group::create)),
    command("xgroup|createconsumer", 5, Group::Stream, "6.2.0")
        .summary("Creates a consumer in a group.")
        .complexity("O(1)")
        .flags(WRITE | DENYOOM)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | INSERT, 2)])
        .arguments(&[key("key", 0), string("group"), string("consumer")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::group::create_consumer)),
    command("xgroup|delconsumer", 5, Group::Stream, "5.0.0")
        .summary("Deletes a consumer and its pending entries.")
        .complexity("O(1)")
        .flags(WRITE)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | DELETE, 2)])
        .arguments(&[key("key", 0), string("group"), string("consumer")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::group::delete_consumer)),
    command("xgroup|destroy", 4, Group::Stream, "5.0.0")
        .summary("Deletes a consumer group.")
        .complexity("O(N), N being the number of pending entries of the group")
        .flags(WRITE)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | DELETE, 2)])
        .arguments(&[key("key", 0), string("group")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::group::destroy)),
    command("xgroup|help", 2, Group::Stream, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::STREAM)
        .handler(Handler::Engine(help::command)),
    command("xgroup|setid", -5, Group::Stream, "5.0.0")
        .summary("Sets the last delivered ID of a group.")
        .complexity("O(1)")
        .flags(WRITE)
        .acl(Categories::STREAM)
        .keys(&[index_key(RW | UPDATE, 2)])
        .history(&[("7.0.0", "`entries_read`.")])
        .arguments(&[
            key("key", 0),
            string("group"),
            one_of("id-selector", &[string("id"), keyword("new-id", "$")]),
            integer("entriesread").token("ENTRIESREAD").display("entries-read").optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::group::setid)),
];

static XINFO_SUBCOMMANDS: [CommandSpec; 4] = [
    command("xinfo|consumers", 4, Group::Stream, "5.0.0")
        .summary("Lists the consumers of a group.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO | ACCESS, 2)])
        .tips(&["nondeterministic_output"])
        .history(&[("7.2.0", "Field `inactive`; `idle` has a new meaning.")])
        .arguments(&[key("key", 0), string("group")])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::info::consumers)),
    command("xinfo|groups", 3, Group::Stream, "5.0.0")
        .summary("Lists the consumer groups of a stream.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO | ACCESS, 2)])
        .history(&[("7.0.0", "Fields `entries-read` and `lag`.")])
        .arguments(&[key("key", 0)])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::info::groups)),
    command("xinfo|help", 2, Group::Stream, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::STREAM)
        .handler(Handler::Engine(help::command)),
    command("xinfo|stream", -3, Group::Stream, "5.0.0")
        .summary("Describes a stream.")
        .complexity("O(1)")
        .flags(READONLY)
        .acl(Categories::STREAM)
        .keys(&[index_key(RO | ACCESS, 2)])
        .history(&[
            ("6.0.0", "`FULL`."),
            (
                "7.0.0",
                "Fields `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, \
             `entries-read` and `lag`.",
            ),
            ("7.2.0", "Field `active-time`; `seen-time` has a new meaning."),
        ])
        .arguments(&[
            key("key", 0),
            block("full-block", &[keyword("full", "FULL"), integer("count").token("COUNT").optional()])
                .optional(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Engine(stream::info::stream)),
];
