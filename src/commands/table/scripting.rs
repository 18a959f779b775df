//! Scripts and functions.

use crate::commands::spec::*;
use crate::commands::{Handler, help};

/// The rows of this group.
pub static ROWS: &[CommandSpec] = &[
    command("eval", -3, Group::Scripting, "2.6.0")
        .summary("Runs a script.")
        .complexity("Depends on the script.")
        .flags(
            NOSCRIPT
                | STALE
                | SKIP_MONITOR
                | NO_MANDATORY_KEYS
                | MOVABLEKEYS
                | MAY_REPLICATE
                | ARBITRARY_KEYS,
        )
        .acl(Categories::SCRIPTING)
        .keys(&[counted_keys(RW | ACCESS | UPDATE, 2, 1)
            .notes("What the script does with its keys is not known: the worst is assumed")])
        .arguments(&[
            string("script"),
            integer("numkeys"),
            key("key", 0).optional().multiple(),
            string("arg").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Script),
    command("eval_ro", -3, Group::Scripting, "7.0.0")
        .summary("Runs a script that only reads.")
        .complexity("Depends on the script.")
        .flags(READONLY | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS | ARBITRARY_KEYS)
        .acl(Categories::SCRIPTING)
        .keys(&[counted_keys(RO | ACCESS, 2, 1)
            .notes("What the script does with its keys is not known: the worst is assumed")])
        .arguments(&[
            string("script"),
            integer("numkeys"),
            key("key", 0).optional().multiple(),
            string("arg").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Script),
    command("evalsha", -3, Group::Scripting, "2.6.0")
        .summary("Runs a cached script by its SHA1.")
        .complexity("Depends on the script.")
        .flags(
            NOSCRIPT
                | STALE
                | SKIP_MONITOR
                | NO_MANDATORY_KEYS
                | MOVABLEKEYS
                | MAY_REPLICATE
                | ARBITRARY_KEYS,
        )
        .acl(Categories::SCRIPTING)
        .keys(&[counted_keys(RW | ACCESS | UPDATE, 2, 1)])
        .arguments(&[
            string("sha1"),
            integer("numkeys"),
            key("key", 0).optional().multiple(),
            string("arg").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Script),
    command("evalsha_ro", -3, Group::Scripting, "7.0.0")
        .summary("Runs a cached script that only reads, by its SHA1.")
        .complexity("Depends on the script.")
        .flags(READONLY | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS | ARBITRARY_KEYS)
        .acl(Categories::SCRIPTING)
        .keys(&[counted_keys(RO | ACCESS, 2, 1)])
        .arguments(&[
            string("sha1"),
            integer("numkeys"),
            key("key", 0).optional().multiple(),
            string("arg").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Script),
    command("fcall", -3, Group::Scripting, "7.0.0")
        .summary("Calls a function.")
        .complexity("Depends on the function.")
        .flags(
            NOSCRIPT
                | STALE
                | SKIP_MONITOR
                | NO_MANDATORY_KEYS
                | MOVABLEKEYS
                | MAY_REPLICATE
                | ARBITRARY_KEYS,
        )
        .acl(Categories::SCRIPTING)
        .keys(&[counted_keys(RW | ACCESS | UPDATE, 2, 1)
            .notes("What the script does with its keys is not known: the worst is assumed")])
        .arguments(&[
            string("function"),
            integer("numkeys"),
            key("key", 0).optional().multiple(),
            string("arg").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Script),
    command("fcall_ro", -3, Group::Scripting, "7.0.0")
        .summary("Calls a function that only reads.")
        .complexity("Depends on the function.")
        .flags(READONLY | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS | ARBITRARY_KEYS)
        .acl(Categories::SCRIPTING)
        .keys(&[counted_keys(RO | ACCESS, 2, 1)
            .notes("What the script does with its keys is not known: the worst is assumed")])
        .arguments(&[
            string("function"),
            integer("numkeys"),
            key("key", 0).optional().multiple(),
            string("arg").optional().multiple(),
        ])
        .scope(Scope::Keys)
        .handler(Handler::Script),
    command("function", -2, Group::Scripting, "7.0.0")
        .summary("Groups the commands that manage functions.")
        .complexity("Depends on subcommand.")
        .subcommands(&FUNCTION_SUBCOMMANDS)
        .handler(Handler::Container),
    command("script", -2, Group::Scripting, "2.6.0")
        .summary("Groups the commands that manage scripts.")
        .complexity("Depends on subcommand.")
        .subcommands(&SCRIPT_SUBCOMMANDS)
        .handler(Handler::Container),
];

static FUNCTION_SUBCOMMANDS: [CommandSpec; 9] = [
    command("function|delete", 3, Group::Scripting, "7.0.0")
        .summary("Deletes a library and its functions.")
        .complexity("O(1)")
        .flags(WRITE | NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[string("library-name")])
        .handler(Handler::Script),
    command("function|dump", 2, Group::Scripting, "7.0.0")
        .summary("Serializes all libraries.")
        .complexity("O(N), N being the number of functions")
        .flags(NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .handler(Handler::Script),
    command("function|flush", -2, Group::Scripting, "7.0.0")
        .summary("Deletes all libraries.")
        .complexity("O(N), N being the number of functions")
        .flags(WRITE | NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[one_of("flush-type", &[keyword("async", "ASYNC"), keyword("sync", "SYNC")]).optional()])
        .handler(Handler::Script),
    command("function|help", 2, Group::Scripting, "7.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::SCRIPTING)
        .handler(Handler::Engine(help::command)),
    command("function|kill", 2, Group::Scripting, "7.0.0")
        .summary("Stops the function that is running.")
        .complexity("O(1)")
        .flags(NOSCRIPT | ALLOW_BUSY)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .handler(Handler::Script),
    command("function|list", -2, Group::Scripting, "7.0.0")
        .summary("Lists the libraries.")
        .complexity("O(N), N being the number of functions")
        .flags(NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .tips(&["nondeterministic_output_order"])
        .arguments(&[
            string("library-name-pattern").token("LIBRARYNAME").optional(),
            keyword("withcode", "WITHCODE").optional(),
        ])
        .handler(Handler::Script),
    command("function|load", -3, Group::Scripting, "7.0.0")
        .summary("Creates a library.")
        .complexity("O(1), compilation aside")
        .flags(WRITE | DENYOOM | NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[keyword("replace", "REPLACE").optional(), string("function-code")])
        .handler(Handler::Script),
    command("function|restore", -3, Group::Scripting, "7.0.0")
        .summary("Restores libraries from a serialized form.")
        .complexity("O(N), N being the number of functions in it")
        .flags(WRITE | DENYOOM | NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[
            string("serialized-value"),
            one_of(
                "policy",
                &[keyword("flush", "FLUSH"), keyword("append", "APPEND"), keyword("replace", "REPLACE")],
            )
            .optional(),
        ])
        .handler(Handler::Script),
    command("function|stats", 2, Group::Scripting, "7.0.0")
        .summary("Tells which function is running.")
        .complexity("O(1)")
        .flags(NOSCRIPT | ALLOW_BUSY)
        .acl(Categories::SCRIPTING)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .handler(Handler::Script),
];

static SCRIPT_SUBCOMMANDS: [CommandSpec; 7] = [
    command("script|debug", -3, Group::Scripting, "3.2.0")
        .summary("Sets the debug mode of scripts.")
        .complexity("O(1)")
        .flags(NOSCRIPT)
        .acl(Categories::SCRIPTING)
        .arguments(&[
            one_of("mode", &[keyword("yes", "YES"), keyword("sync", "SYNC"), keyword("no", "NO")]),
            string("engine").since("9.1.0").optional(),
        ])
        .handler(Handler::Script),
    command("script|exists", -3, Group::Scripting, "2.6.0")
        .summary("Tells which scripts are cached.")
        .complexity("O(N), N being the number of scripts asked for")
        .flags(NOSCRIPT | STALE)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .arguments(&[string("sha1").multiple()])
        .handler(Handler::Script),
    command("script|flush", -2, Group::Scripting, "2.6.0")
        .summary("Empties the script cache.")
        .complexity("O(N), N being the number of scripts")
        .flags(NOSCRIPT | STALE)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[("6.2.0", "`ASYNC` and `SYNC`.")])
        .arguments(&[one_of("flush-type", &[keyword("async", "ASYNC"), keyword("sync", "SYNC")])
            .since("6.2.0")
            .optional()])
        .handler(Handler::Script),
    command("script|help", 2, Group::Scripting, "5.0.0")
        .summary("Describes the subcommands.")
        .complexity("O(1)")
        .flags(LOADING | STALE)
        .acl(Categories::SCRIPTING)
        .handler(Handler::Engine(help::command)),
    command("script|kill", 2, Group::Scripting, "2.6.0")
        .summary("Stops the script that is running.")
        .complexity("O(1)")
        .flags(NOSCRIPT | ALLOW_BUSY)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .handler(Handler::Script),
    command("script|load", 3, Group::Scripting, "2.6.0")
        .summary("Puts a script into the cache.")
        .complexity("O(N), N being the length of the script")
        .flags(NOSCRIPT | STALE)
        .acl(Categories::SCRIPTING)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[string("script")])
        .handler(Handler::Script),
    command("script|show", 3, Group::Scripting, "8.0.0")
        .summary("Returns the text of a cached script.")
        .complexity("O(1)")
        .flags(NOSCRIPT | STALE)
        .acl(Categories::SCRIPTING)
        .arguments(&[string("sha1")])
        .handler(Handler::Script),
];
