//! Commands about the server.

use crate::commands::clock;
use crate::commands::generic::{dump, flush};
use crate::commands::spec::*;
use crate::commands::{Handler, help, introspection};
use crate::commands::{lolwut, memory_usage};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("bgrewriteaof", 1, Group::Server, "1.0.0")
        .summary("Rewrites the append-only file in the background.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
        .handler(Handler::Server),
    command("bgsave", -1, Group::Server, "1.0.0")
        .summary("Saves the data to disk in the background.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
        .history(&[("3.2.2", "`SCHEDULE`."), ("8.1.0", "`CANCEL`.")])
        .arguments(&[one_of(
            "operation",
            &[keyword("schedule", "SCHEDULE").since("3.2.2"), keyword("cancel", "CANCEL").since("8.1.0")],
        )
        .optional()])
        .handler(Handler::Server),
    command("command", -1, Group::Server, "2.8.13")
        .summary("Describes all commands.")
        .complexity("O(N), N being the number of commands")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .subcommands(&COMMAND_SUBCOMMANDS)
        .handler(Handler::Engine(introspection::command)),
    command("commandlog", -2, Group::Server, "8.1.0")
        .summary("Groups the commands of the command log.")
        .complexity("Depends on subcommand.")
        .subcommands(&COMMANDLOG_SUBCOMMANDS)
        .handler(Handler::Container),
    command("config", -2, Group::Server, "2.0.0")
        .summary("Groups the commands of the configuration.")
        .complexity("Depends on subcommand.")
        .subcommands(&CONFIG_SUBCOMMANDS)
        .handler(Handler::Container),
    command("dbsize", 1, Group::Server, "1.0.0")
        .summary("Counts the keys of the database.")
        .complexity("O(1)")
        .flags(READONLY | FAST)
        .acl(Categories::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .scope(Scope::AllSlots)
        .handler(Handler::Engine(flush::dbsize)),
    command("debug", -2, Group::Server, "1.0.0")
        .summary("Groups the commands for debugging the server.")
        .complexity("Depends on subcommand.")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .system()
        .handler(Handler::Server),
    command("failover", -1, Group::Server, "6.2.0")
        .summary("Hands the role of primary over to a replica.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | STALE)
        .arguments(&[
            block("target", &[string("host"), integer("port"), keyword("force", "FORCE").optional()])
                .token("TO")
                .optional(),
            keyword("abort", "ABORT").optional(),
            integer("milliseconds").token("TIMEOUT").optional(),
        ])
        .handler(Handler::Server),
    command("flushall", -1, Group::Server, "1.0.0")
        .summary("Deletes all keys of all databases.")
        .complexity("O(N), N being the number of keys in all databases")
        .flags(WRITE | ALL_DBS)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .history(&[("4.0.0", "`ASYNC`."), ("6.2.0", "`SYNC`.")])
        .arguments(&[one_of(
            "flush-type",
            &[keyword("async", "ASYNC").since("4.0.0"), keyword("sync", "SYNC").since("6.2.0")],
        )
        .optional()])
        .scope(Scope::AllSlots)
        .handler(Handler::Engine(flush::flushall)),
    command("flushdb", -1, Group::Server, "1.0.0")
        .summary("Deletes all keys of the database.")
        .complexity("O(N), N being the number of keys in the database")
        .flags(WRITE)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .history(&[("4.0.0", "`ASYNC`."), ("6.2.0", "`SYNC`.")])
        .arguments(&[one_of(
            "flush-type",
            &[keyword("async", "ASYNC").since("4.0.0"), keyword("sync", "SYNC").since("6.2.0")],
        )
        .optional()])
        .scope(Scope::AllSlots)
        .handler(Handler::Engine(flush::flushdb)),
    command("info", -1, Group::Server, "1.0.0")
        .summary("Reports on the server and its statistics.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .history(&[("7.0.0", "Takes several sections.")])
        .arguments(&[string("section").optional().multiple()])
        .handler(Handler::Server),
    command("lastsave", 1, Group::Server, "1.0.0")
        .summary("Tells when the data was last saved, as a Unix time.")
        .complexity("O(1)")
        .flags(LOADING | STALE | FAST)
        .acl(Categories::ADMIN.with(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"])
        .handler(Handler::Server),
    command("latency", -2, Group::Server, "2.8.13")
        .summary("Groups the commands of latency monitoring.")
        .complexity("Depends on subcommand.")
        .subcommands(&LATENCY_SUBCOMMANDS)
        .handler(Handler::Container),
    command("lolwut", -1, Group::Server, "5.0.0")
        .summary("Draws computer art and tells the version.")
        .flags(READONLY | FAST)
        .arguments(&[integer("version").token("VERSION").optional()])
        .handler(Handler::Engine(lolwut::lolwut)),
    command("memory", -2, Group::Server, "4.0.0")
        .summary("Groups the commands about memory.")
        .complexity("Depends on subcommand.")
        .subcommands(&MEMORY_SUBCOMMANDS)
        .handler(Handler::Container),
    command("module", -2, Group::Server, "4.0.0")
        .summary("Groups the commands of modules.")
        .complexity("Depends on subcommand.")
        .subcommands(&MODULE_SUBCOMMANDS)
        .handler(Handler::Container),
    command("monitor", 1, Group::Server, "1.0.0")
        .summary("Shows every command the server runs as it happens.")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Server),
    command("psync", -3, Group::Server, "2.8.0")
        .summary("Starts replication, from an offset if possible; sent by replicas.")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
        .arguments(&[string("replicationid"), integer("offset")])
        .handler(Handler::Server),
    command("replconf", -1, Group::Server, "3.0.0")
        .summary("Negotiates details of replication; sent by replicas.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .system()
        .handler(Handler::Server),
    command("replicaof", 3, Group::Server, "5.0.0")
        .summary("Makes this server a replica of another, or a primary.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .arguments(&[one_of(
            "args",
            &[
                block("host-port", &[string("host"), integer("port")]),
                block("no-one", &[keyword("no", "NO"), keyword("one", "ONE")]),
            ],
        )])
        .handler(Handler::Server),
    command("restore-asking", -4, Group::Server, "3.0.0")
        .summary("Creates a key of a migrating slot from a serialized value.")
        .complexity(
            "O(1) to create the key, then O(N*M) for N parts of average size M; O(N*M*log(N)) \
             for sorted sets",
        )
        .flags(WRITE | DENYOOM | ASKING)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .keys(&[index_key(OW | UPDATE, 1)])
        .system()
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
    command("role", 1, Group::Server, "2.8.12")
        .summary("Tells the role of this server in replication.")
        .complexity("O(1)")
        .flags(NOSCRIPT | LOADING | STALE | FAST)
        .acl(Categories::ADMIN.with(Categories::DANGEROUS))
        .handler(Handler::Server),
    command("save", 1, Group::Server, "1.0.0")
        .summary("Saves the data to disk and waits for the end.")
        .complexity("O(N), N being the number of keys in all databases")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
        .handler(Handler::Server),
    command("shutdown", -1, Group::Server, "1.0.0")
        .summary("Stops the server, saving the data if configured.")
        .complexity("O(N), N being the number of keys in all databases, when saving; otherwise O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
        .history(&[("7.0.0", "`NOW`, `FORCE` and `ABORT`."), ("9.0.0", "`SAFE` and `FAILOVER`.")])
        .arguments(&[one_of(
            "abort-selector",
            &[
                block(
                    "save-selector-block",
                    &[
                        one_of("save-selector", &[keyword("nosave", "NOSAVE"), keyword("save", "SAVE")])
                            .optional(),
                        keyword("now", "NOW").since("7.0.0").optional(),
                        keyword("force", "FORCE").since("7.0.0").optional(),
                        keyword("safe", "SAFE").since("9.0.0").optional(),
                        keyword("failover", "FAILOVER").since("9.0.0").optional(),
                    ],
                ),
                keyword("abort", "ABORT").since("7.0.0"),
            ],
        )
        .optional()])
        .handler(Handler::Server),
    command("slaveof", 3, Group::Server, "1.0.0")
        .summary("Makes this server a replica of another, or a primary; the old name of REPLICAOF.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .deprecated("5.0.0", "`REPLICAOF`")
        .arguments(&[one_of(
            "args",
            &[
                block("host-port", &[string("host"), integer("port")]),
                block("no-one", &[keyword("no", "NO"), keyword("one", "ONE")]),
            ],
        )])
        .handler(Handler::Server),
    command("slowlog", -2, Group::Server, "2.2.12")
        .summary("Groups the commands of the log of slow commands.")
        .complexity("Depends on subcommand.")
        .subcommands(&SLOWLOG_SUBCOMMANDS)
        .handler(Handler::Container),
    command("swapdb", 3, Group::Server, "4.0.0")
        .summary("Exchanges two databases.")
        .complexity("O(N), N being the number of clients that watch or wait for keys of both")
        .flags(WRITE | FAST)
        .acl(Categories::KEYSPACE.with(Categories::DANGEROUS))
        .arguments(&[integer("index1"), integer("index2")])
        .scope(Scope::AllSlots)
        .handler(Handler::Engine(flush::swapdb)),
    command("sync", 1, Group::Server, "1.0.0")
        .summary("Starts replication from scratch; sent by old replicas.")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
        .handler(Handler::Server),
    command("time", 1, Group::Server, "2.6.0")
        .summary("Tells the time of the server.")
        .complexity("O(1)")
        .flags(LOADING | STALE | FAST)
        .tips(&["nondeterministic_output"])
        .handler(Handler::Engine(clock::time)),
    command("actor", -2, Group::Server, "9.1.0")
        .summary("Groups the commands that look into the actors.")
        .complexity("Depends on subcommand.")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .subcommands(&ACTOR_SUBCOMMANDS)
        .handler(Handler::Container),
];

static COMMAND_SUBCOMMANDS: [CommandSpec; 7] = [
    command("command|count", 2, Group::Server, "2.8.13")
        .summary("Counts the commands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(introspection::count)),
    command("command|docs", -2, Group::Server, "7.0.0")
        .summary("Documents commands.")
        .complexity("O(N), N being the number of commands asked for")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .arguments(&[string("command-name").optional().multiple()])
        .handler(Handler::Engine(introspection::docs)),
    command("command|getkeys", -3, Group::Server, "2.8.13")
        .summary("Finds the keys in a command line.")
        .complexity("O(N), N being the number of words")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .arguments(&[string("command"), string("arg").optional().multiple()])
        .handler(Handler::Engine(introspection::getkeys)),
    command("command|getkeysandflags", -3, Group::Server, "7.0.0")
        .summary("Finds the keys in a command line and what happens to them.")
        .complexity("O(N), N being the number of words")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .arguments(&[string("command"), string("arg").optional().multiple()])
        .handler(Handler::Engine(introspection::getkeysandflags)),
    command("command|help", 2, Group::Server, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .handler(Handler::Engine(help::command)),
    command("command|info", -2, Group::Server, "2.8.13")
        .summary("Describes commands.")
        .complexity("O(N), N being the number of commands asked for")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .history(&[("7.0.0", "Without an argument all commands are described.")])
        .arguments(&[string("command-name").optional().multiple()])
        .handler(Handler::Engine(introspection::info)),
    command("command|list", -2, Group::Server, "7.0.0")
        .summary("Lists command names.")
        .complexity("O(N), N being the number of commands")
        .flags(LOADING | STALE)
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .arguments(&[one_of(
            "filterby",
            &[
                string("module-name").token("MODULE"),
                string("category").token("ACLCAT"),
                pattern("pattern").token("PATTERN"),
            ],
        )
        .token("FILTERBY")
        .optional()])
        .handler(Handler::Engine(introspection::list)),
];

static COMMANDLOG_SUBCOMMANDS: [CommandSpec; 4] = [
    command("commandlog|get", 4, Group::Server, "8.1.0")
        .summary("Lists entries of a command log.")
        .complexity("O(N), N being the number of entries returned")
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .arguments(&[
            integer("count"),
            one_of(
                "type",
                &[
                    keyword("slow", "SLOW"),
                    keyword("large-request", "LARGE-REQUEST"),
                    keyword("large-reply", "LARGE-REPLY"),
                ],
            ),
        ])
        .handler(Handler::Server),
    command("commandlog|help", 2, Group::Server, "8.1.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("commandlog|len", 3, Group::Server, "8.1.0")
        .summary("Counts the entries of a command log.")
        .complexity("O(1)")
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .arguments(&[one_of(
            "type",
            &[
                keyword("slow", "SLOW"),
                keyword("large-request", "LARGE-REQUEST"),
                keyword("large-reply", "LARGE-REPLY"),
            ],
        )])
        .handler(Handler::Server),
    command("commandlog|reset", 3, Group::Server, "8.1.0")
        .summary("Empties a command log.")
        .complexity("O(N), N being the number of entries")
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[one_of(
            "type",
            &[
                keyword("slow", "SLOW"),
                keyword("large-request", "LARGE-REQUEST"),
                keyword("large-reply", "LARGE-REPLY"),
            ],
        )])
        .handler(Handler::Server),
];

static CONFIG_SUBCOMMANDS: [CommandSpec; 5] = [
    command("config|get", -3, Group::Server, "2.0.0")
        .summary("Reads parameters by name or pattern.")
        .complexity("O(N), N being the number of parameters given")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .history(&[("7.0.0", "Takes several patterns.")])
        .arguments(&[string("parameter").multiple()])
        .handler(Handler::Server),
    command("config|help", 2, Group::Server, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("config|resetstat", 2, Group::Server, "2.0.0")
        .summary("Sets the statistics back to zero.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .handler(Handler::Server),
    command("config|rewrite", 2, Group::Server, "2.8.0")
        .summary("Writes the configuration in effect to its file.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .handler(Handler::Server),
    command("config|set", -4, Group::Server, "2.0.0")
        .summary("Changes parameters while running.")
        .complexity("O(N), N being the number of parameters given")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[("7.0.0", "Takes several parameters.")])
        .arguments(&[block("data", &[string("parameter"), string("value")]).multiple()])
        .handler(Handler::Server),
];

static LATENCY_SUBCOMMANDS: [CommandSpec; 7] = [
    command("latency|doctor", 2, Group::Server, "2.8.13")
        .summary("Explains the latencies seen and what to do about them.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .handler(Handler::Server),
    command("latency|graph", 3, Group::Server, "2.8.13")
        .summary("Draws the latencies of an event over time.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .arguments(&[string("event")])
        .handler(Handler::Server),
    command("latency|help", 2, Group::Server, "2.8.13")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("latency|histogram", -2, Group::Server, "7.0.0")
        .summary("Shows the distribution of command run times.")
        .complexity("O(N), N being the number of commands shown")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .arguments(&[string("command").optional().multiple()])
        .handler(Handler::Server),
    command("latency|history", 3, Group::Server, "2.8.13")
        .summary("Lists the latencies of an event over time.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .arguments(&[string("event")])
        .handler(Handler::Server),
    command("latency|latest", 2, Group::Server, "2.8.13")
        .summary("Shows the latest latency of every event.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .handler(Handler::Server),
    command("latency|reset", -2, Group::Server, "2.8.13")
        .summary("Forgets the latencies of events.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
        .arguments(&[string("event").optional().multiple()])
        .handler(Handler::Server),
];

static MEMORY_SUBCOMMANDS: [CommandSpec; 6] = [
    command("memory|doctor", 2, Group::Server, "4.0.0")
        .summary("Explains memory problems.")
        .complexity("O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .handler(Handler::Server),
    command("memory|help", 2, Group::Server, "4.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("memory|malloc-stats", 2, Group::Server, "4.0.0")
        .summary("Reports the statistics of the allocator.")
        .complexity("Depends on how much memory is allocated; may be slow")
        .flags(LOADING)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .handler(Handler::Server),
    command("memory|purge", 2, Group::Server, "4.0.0")
        .summary("Asks the allocator to return memory to the system.")
        .complexity("Depends on how much memory is allocated; may be slow")
        .flags(LOADING)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .handler(Handler::Server),
    command("memory|stats", 2, Group::Server, "4.0.0")
        .summary("Reports what memory is used for.")
        .complexity("O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .handler(Handler::Server),
    command("memory|usage", -3, Group::Server, "4.0.0")
        .summary("Estimates the memory of a key.")
        .complexity("O(N), N being the number of samples")
        .flags(READONLY)
        .keys(&[index_key(RO, 2)])
        .arguments(&[key("key", 0), integer("count").token("SAMPLES").optional()])
        .scope(Scope::Keys)
        .handler(Handler::Engine(memory_usage::command)),
];

static MODULE_SUBCOMMANDS: [CommandSpec; 5] = [
    command("module|help", 2, Group::Server, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("module|list", 2, Group::Server, "4.0.0")
        .summary("Lists the loaded modules.")
        .complexity("O(N), N being the number of modules")
        .flags(ADMIN | NOSCRIPT)
        .tips(&["nondeterministic_output_order"])
        .handler(Handler::Server),
    command("module|load", -3, Group::Server, "4.0.0")
        .summary("Loads a module.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
        .arguments(&[string("path"), string("arg").optional().multiple()])
        .handler(Handler::Server),
    command("module|loadex", -3, Group::Server, "7.0.0")
        .summary("Loads a module with configuration parameters.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
        .arguments(&[
            string("path"),
            block("configs", &[string("name"), string("value")])
                .token("CONFIG")
                .optional()
                .multiple()
                .multiple_token(),
            string("args").token("ARGS").optional().multiple(),
        ])
        .handler(Handler::Server),
    command("module|unload", 3, Group::Server, "4.0.0")
        .summary("Unloads a module.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
        .arguments(&[string("name")])
        .handler(Handler::Server),
];

static SLOWLOG_SUBCOMMANDS: [CommandSpec; 4] = [
    command("slowlog|get", -2, Group::Server, "2.2.12")
        .summary("Lists entries of the slow log.")
        .complexity("O(N), N being the number of entries returned")
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .history(&[("4.0.0", "Entries tell the client's address and name.")])
        .arguments(&[integer("count").optional()])
        .handler(Handler::Server),
    command("slowlog|help", 2, Group::Server, "6.2.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("slowlog|len", 2, Group::Server, "2.2.12")
        .summary("Counts the entries of the slow log.")
        .complexity("O(1)")
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .handler(Handler::Server),
    command("slowlog|reset", 2, Group::Server, "2.2.12")
        .summary("Empties the slow log.")
        .complexity("O(N), N being the number of entries")
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .handler(Handler::Server),
];

/// Our own: what the actors of this server do.
static ACTOR_SUBCOMMANDS: [CommandSpec; 9] = [
    command("actor|effects", 2, Group::Server, "9.1.0")
        .summary("Takes the propagated commands collected since the last call.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Server),
    command("actor|events", 2, Group::Server, "9.1.0")
        .summary("Takes the keyspace events collected since the last call.")
        .complexity("O(N), N being the number of events returned")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Server),
    command("actor|help", 2, Group::Server, "9.1.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .handler(Handler::Engine(help::command)),
    command("actor|histogram", -2, Group::Server, "9.1.0")
        .summary("Shows how long messages waited and ran.")
        .complexity("O(N), N being the number of actors and messages shown")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .arguments(&[string("actor").optional(), string("message").optional()])
        .handler(Handler::Server),
    command("actor|info", 3, Group::Server, "9.1.0")
        .summary("Describes the state of an actor.")
        .complexity("O(1)")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .arguments(&[string("actor")])
        .handler(Handler::Server),
    command("actor|list", 2, Group::Server, "9.1.0")
        .summary("Lists the actors.")
        .complexity("O(N), N being the number of actors")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .handler(Handler::Server),
    command("actor|migration", -2, Group::Server, "9.1.0")
        .summary("Lists slot migrations, shows the transitions and figures of one, or steers it.")
        .complexity("O(N), N being the number of migrations or transitions")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .arguments(&[
            string("job").optional(),
            one_of(
                "action",
                &[keyword("hold", "HOLD"), keyword("resume", "RESUME"), integer("rate").token("RATE")],
            )
            .optional(),
        ])
        .handler(Handler::Server),
    command("actor|slow", -2, Group::Server, "9.1.0")
        .summary("Lists the messages that took longest.")
        .complexity("O(N), N being the number of entries returned")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .arguments(&[one_of("what", &[integer("count"), keyword("reset", "RESET")]).optional()])
        .handler(Handler::Server),
    command("actor|trace", -3, Group::Server, "9.1.0")
        .summary("Turns the recording of messages on or off, or returns what was recorded.")
        .complexity("O(N), N being the number of records returned")
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .arguments(&[one_of(
            "action",
            &[
                block("start", &[keyword("start", "START"), string("filter").optional().multiple()]),
                keyword("stop", "STOP"),
                block("get", &[keyword("get", "GET"), integer("count").optional()]),
                block("dump", &[keyword("dump", "DUMP"), string("filename")]),
            ],
        )])
        .handler(Handler::Server),
];
